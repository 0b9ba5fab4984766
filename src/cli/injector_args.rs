//! What decides on the injector. istiod takes it from environment variables; here each has a flag too.

use clap::{ArgAction, Args, ValueEnum};

use super::control_plane::InjectorSettings;
use crate::webhook::inject::live::NativeSidecars;

/// Settings of the injector, under istiod's names of environment variables.
#[derive(Args, Clone, Debug)]
pub(super) struct InjectorArgs {
    /// Where Pods are injected and objects validated, over HTTPS; empty: on the HTTP address
    #[arg(long = "httpsAddr", value_name = "ADDR", default_value = ":15017")]
    pub(super) https_addr: String,
    /// Whether Pods are injected
    #[arg(long = "inject", value_name = "BOOL", env = "INJECT_ENABLED", default_value_t = true, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    injects: bool,
    /// Empty leaves webhook configurations alone; which are ours is said by their label istio.io/rev
    #[arg(
        long = "injection-webhook-config",
        value_name = "NAME",
        env = "INJECTION_WEBHOOK_CONFIG_NAME",
        default_value = "istio-sidecar-injector",
        hide_short_help = true
    )]
    webhook_config: String,
    /// Whether sidecars are native ones, which run before the workload's own containers start; auto: when all nodes have
    /// Kubernetes 1.29 or newer
    #[arg(long = "native-sidecars", env = "ENABLE_NATIVE_SIDECARS", default_value = "auto", ignore_case = true)]
    native_sidecars: Native,
    /// Handed on to proxies; nothing here restricts TLS by it
    #[arg(
        long = "compliance-policy",
        value_name = "NAME",
        env = "COMPLIANCE_POLICY",
        default_value = "",
        hide_short_help = true
    )]
    compliance_policy: String,
}

/// Whether sidecars are native.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Native {
    Auto,
    True,
    False,
}

impl InjectorArgs {
    /// `None` when there is to be no injector.
    pub(super) fn settings(&self, revision: &str) -> Option<InjectorSettings> {
        // Manifests give the default one a name.
        let revision = if revision == "default" { "" } else { revision };
        if !self.compliance_policy.is_empty() {
            tracing::warn!(
                policy = self.compliance_policy,
                "COMPLIANCE_POLICY is handed on to proxies, and nothing else follows from it: TLS is not restricted"
            );
        }
        let suffix = if revision.is_empty() { String::new() } else { format!("-{revision}") };
        self.injects.then(|| InjectorSettings {
            config_map: format!("istio-sidecar-injector{suffix}"),
            mends_webhooks: !self.webhook_config.is_empty(),
            native_sidecars: match self.native_sidecars {
                Native::Auto => NativeSidecars::ByNodes,
                Native::True => NativeSidecars::Fixed(true),
                Native::False => NativeSidecars::Fixed(false),
            },
            revision: revision.to_owned(),
            compliance_policy: self.compliance_policy.clone(),
        })
    }
}
