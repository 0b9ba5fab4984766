//! Copies of requests.

use envoy_types::pb::envoy::config::route::v3::route_action::RequestMirrorPolicy;

use super::percent;
use crate::{model::virtual_service::Percent, translate::listeners::wire};

pub(super) fn policy(cluster: &str, share: Option<Percent>) -> RequestMirrorPolicy {
    RequestMirrorPolicy {
        cluster: cluster.to_owned(),
        runtime_fraction: Some(percent::runtime(share.unwrap_or(Percent::ALL))),
        trace_sampled: wire::boolean(false),
        disable_shadow_host_suffix_append: true,
        ..RequestMirrorPolicy::default()
    }
}
