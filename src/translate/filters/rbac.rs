//! Refusal of everything: the answer to a policy that cannot be enforced yet (design §2, truth 5).

use envoy_types::pb::envoy::{
    config::{
        listener::v3::{Filter, filter::ConfigType},
        rbac::v3::{Rbac as Rules, rbac::Action},
    },
    extensions::filters::{
        http::rbac::v3::Rbac as HttpRbac,
        network::{http_connection_manager::v3::HttpFilter, rbac::v3::Rbac as NetworkRbac},
    },
};

use super::http_filter;
use crate::snapshot::pack_any;

/// Only what a policy allows passes, and there is no policy.
fn deny_all() -> Option<Rules> {
    Some(Rules { action: Action::Allow.into(), ..Rules::default() })
}

/// Answers every request with 403.
#[must_use]
pub fn http_deny_all() -> HttpFilter {
    http_filter("envoy.filters.http.rbac", pack_any(&HttpRbac { rules: deny_all(), ..HttpRbac::default() }))
}

/// Closes every connection.
#[must_use]
pub fn network_deny_all() -> Filter {
    let config = NetworkRbac { rules: deny_all(), stat_prefix: "tcp.".to_owned(), ..NetworkRbac::default() };
    Filter {
        name: "envoy.filters.network.rbac".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(&config))),
    }
}
