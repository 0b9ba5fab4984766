//! What decides on validation.

use clap::Args;

use super::control_plane::ValidatorSettings;

/// Settings of validation, under istiod's names of environment variables.
#[derive(Args, Clone, Debug)]
pub(super) struct ValidatorArgs {
    /// Empty leaves webhook configurations alone; which are ours is said by their label istio.io/rev
    #[arg(
        long = "validation-webhook-config",
        value_name = "NAME",
        env = "VALIDATION_WEBHOOK_CONFIG_NAME",
        default_value = "istio-istio-system",
        hide_short_help = true
    )]
    configuration: String,
}

impl ValidatorArgs {
    pub(super) fn settings(&self, revision: &str) -> ValidatorSettings {
        // Manifests give the default one a name.
        let revision = if revision == "default" { "" } else { revision };
        ValidatorSettings { mends_webhooks: !self.configuration.is_empty(), revision: revision.to_owned() }
    }
}
