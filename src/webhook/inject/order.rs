//! The order of containers: what redirects traffic runs last before the workload, and a proxy that the workload waits for
//! is the first of its containers (contract §5.3).

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{Context, INIT, PROXY, sidecar};

/// Puts them in order.
pub(super) fn apply(context: &Context<'_>, pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    let init = spec.init_containers.get_or_insert_default();
    if context.native {
        // The proxy is there from the first of the Pod's own on.
        init.sort_by_key(|c| rank(c, &[INIT, PROXY]));
    } else {
        init.sort_by_key(|c| usize::from(c.name == INIT));
    }
    if init.is_empty() {
        spec.init_containers = None;
    }
    // An annotation that is wrong was told before.
    let first = sidecar::holds(context).unwrap_or(false);
    spec.containers.sort_by_key(|c| if first { rank(c, &[PROXY]) } else { usize::from(c.name == PROXY) });
}

fn rank(container: &Container, first: &[&str]) -> usize {
    first.iter().position(|name| container.name == *name).unwrap_or(first.len())
}
