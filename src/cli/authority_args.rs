//! What decides on the certificate authority. istiod takes it from environment variables; here each has a flag too.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args};

use super::{control_plane::AuthoritySettings, values::duration};
use crate::ca::{authority, distribute, key::KeyKind, service::Lifetimes, serving};

/// Settings of the certificate authority, under istiod's names of environment variables.
#[derive(Args, Clone, Debug)]
pub(super) struct AuthorityArgs {
    /// Whether there is a certificate authority
    #[arg(long = "ca", value_name = "BOOL", env = "ENABLE_CA_SERVER", default_value_t = true, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    enabled: bool,
    /// Directory of a plugged-in authority: ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem
    #[arg(long = "ca-dir", value_name = "DIR", env = "ROOT_CA_DIR", default_value = "./etc/cacerts")]
    directory: PathBuf,
    /// How long certificates are valid that do not say
    #[arg(long = "workload-cert-ttl", env = "DEFAULT_WORKLOAD_CERT_TTL", default_value = "24h", value_parser = duration)]
    workload_ttl: Duration,
    /// How long certificates may be valid
    #[arg(long = "max-workload-cert-ttl", env = "MAX_WORKLOAD_CERT_TTL", default_value = "2160h",
          value_parser = duration)]
    max_workload_ttl: Duration,
    /// How long a root of our own is valid
    #[arg(long = "root-cert-ttl", env = "CITADEL_SELF_SIGNED_CA_CERT_TTL", default_value = "87600h",
          value_parser = duration)]
    root_ttl: Duration,
    /// Makes the key of a new root of our own RSA with so many bits; the default is ECDSA on P-256
    #[arg(long = "root-rsa-key-size", value_name = "BITS", env = "CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE")]
    root_rsa_bits: Option<u16>,
    /// How often it is looked whether a root of our own is to be renewed
    #[arg(long = "root-cert-check-interval", env = "CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL", default_value = "1h",
          value_parser = duration, hide_short_help = true)]
    root_check_interval: Duration,
    /// The share of a root's lifetime before its end in which it is renewed
    #[arg(long = "root-cert-grace", value_name = "PERCENT", default_value_t = 20, hide_short_help = true,
          env = "CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", value_parser = clap::value_parser!(u32).range(..=100))]
    root_grace: u32,
    /// Whether replicas look at the root at random times
    #[arg(long = "root-cert-jitter", value_name = "BOOL", env = "CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR",
          default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = ArgAction::Set, hide_short_help = true)]
    root_jitter: bool,
    /// Keep a root of our own in the Secret cacerts
    #[arg(long = "root-in-cacerts", value_name = "BOOL", env = "USE_CACERTS_FOR_SELF_SIGNED_CA",
          default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = ArgAction::Set, hide_short_help = true)]
    root_in_cacerts: bool,
    /// What tokens of workloads are for
    #[arg(
        long = "token-audiences",
        value_name = "NAME,…",
        env = "TOKEN_AUDIENCES",
        value_delimiter = ',',
        default_value = "istio-ca",
        hide_short_help = true
    )]
    token_audiences: Vec<String>,
    /// Accounts that may ask for certificates of the workloads on their node
    #[arg(
        long = "trusted-node-accounts",
        value_name = "NAMESPACE/NAME,…",
        env = "CA_TRUSTED_NODE_ACCOUNTS",
        value_delimiter = ',',
        hide_short_help = true
    )]
    trusted_node_accounts: Vec<String>,
    /// ConfigMap with the root certificates, in every namespace
    #[arg(
        long = "root-cert-config-map",
        value_name = "NAME",
        env = "PILOT_CA_CERT_CONFIGMAP",
        default_value = "istio-ca-root-cert",
        hide_short_help = true
    )]
    roots_map: String,
    /// Whether revoked certificates are distributed
    #[arg(long = "ca-crl", value_name = "BOOL", env = "PILOT_ENABLE_CA_CRL", default_value_t = true, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", action = ArgAction::Set, hide_short_help = true)]
    with_crl: bool,
    /// More names in the certificate of the TLS server
    #[arg(
        long = "serving-hosts",
        value_name = "HOST,…",
        env = "ISTIOD_CUSTOM_HOST",
        value_delimiter = ',',
        hide_short_help = true
    )]
    hosts: Vec<String>,
    /// Whether only one replica at a time writes what all would write
    #[arg(long = "leader-election", value_name = "BOOL", env = "ENABLE_LEADER_ELECTION", default_value_t = true,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set,
          hide_short_help = true)]
    pub(super) elect_leader: bool,
}

impl AuthorityArgs {
    /// `None` when there is to be no authority.
    pub(super) fn settings(self, namespace: &str, revision: &str) -> Option<AuthoritySettings> {
        // Manifests set variables to nothing.
        let given = |values: Vec<String>| -> Vec<String> {
            values.iter().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect()
        };
        self.enabled.then(|| AuthoritySettings {
            source: authority::Settings {
                namespace: namespace.to_owned(),
                directory: self.directory,
                root_lifetime: self.root_ttl,
                root_key: self.root_rsa_bits.map_or(KeyKind::EcdsaP256, KeyKind::Rsa),
                check_interval: self.root_check_interval,
                jitter: self.root_jitter,
                grace_percent: self.root_grace,
                keep_in_cacerts: self.root_in_cacerts,
            },
            lifetimes: Lifetimes { default: self.workload_ttl, longest: self.max_workload_ttl },
            token_audiences: given(self.token_audiences),
            trusted_node_accounts: given(self.trusted_node_accounts),
            distribute: distribute::Settings { roots_map: self.roots_map, with_crl: self.with_crl },
            hosts: serving::hosts(namespace, revision, &given(self.hosts)),
            revision: revision.to_owned(),
            elect_leader: self.elect_leader,
        })
    }
}
