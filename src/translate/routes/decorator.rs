//! The name of a route's operation in traces.

use envoy_types::pb::envoy::config::route::v3::{
    Route, route::Action, route_action::ClusterSpecifier, route_match::PathSpecifier,
};

/// `<host>:<port><path>` of a single destination, else `<object>:<listener's port><path>` (translation §6.4).
pub(super) fn operation(route: &Route, object: &str, listener_port: u16) -> String {
    let path = match route.r#match.as_ref().and_then(|m| m.path_specifier.as_ref()) {
        Some(PathSpecifier::Prefix(prefix)) => format!("{prefix}*"),
        Some(PathSpecifier::Path(path)) => path.clone(),
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex.clone(),
        _ => "/*".to_owned(),
    };
    let cluster = match &route.action {
        Some(Action::Route(action)) => match &action.cluster_specifier {
            Some(ClusterSpecifier::Cluster(name)) => name.as_str(),
            _ => "",
        },
        _ => "",
    };
    match cluster.split('|').collect::<Vec<_>>()[..] {
        [_, port, _, host] => format!("{host}:{port}{path}"),
        _ => format!("{object}:{listener_port}{path}"),
    }
}
