//! The route configuration within a chain: all requests to the workload, without limits of time.

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3::{
    Decorator, RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
    route::Action,
    route_action::{ClusterSpecifier, MaxStreamDuration},
    route_match::PathSpecifier,
};

use super::chains::Target;
use crate::{model::Protocol, translate::listeners::wire};

/// A request that was not sent may be sent again, for instance on a connection that the workload has just closed.
const RETRY_ON: &str = "reset-before-request";
const RETRIES: u32 = 2;

/// Leads all requests to a cluster, by whose name the configuration goes.
pub(super) fn to(target: &Target<'_>, cluster: &str) -> RouteConfiguration {
    let (port, operation, retry_policy) = match target {
        Target::Service(port) => {
            let grpc = matches!(port.protocol, Protocol::Grpc | Protocol::GrpcWeb);
            (port.service_port, format!("{}:{}/*", port.host, port.service_port), (!grpc).then(retries))
        }
        Target::Other(_) => (0, ":0/*".to_owned(), None),
    };
    let unlimited = wire::duration(Duration::ZERO);
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        timeout: unlimited,
        max_stream_duration: Some(MaxStreamDuration {
            max_stream_duration: unlimited,
            grpc_timeout_header_max: unlimited,
            ..MaxStreamDuration::default()
        }),
        retry_policy,
        ..RouteAction::default()
    };
    let route = Route {
        name: "default".to_owned(),
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(Action::Route(action)),
        decorator: Some(Decorator { operation, ..Decorator::default() }),
        ..Route::default()
    };
    let host = VirtualHost {
        name: format!("inbound|http|{port}"),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..VirtualHost::default()
    };
    RouteConfiguration {
        name: cluster.to_owned(),
        virtual_hosts: vec![host],
        validate_clusters: wire::boolean(false),
        ..RouteConfiguration::default()
    }
}

fn retries() -> RetryPolicy {
    RetryPolicy { retry_on: RETRY_ON.to_owned(), num_retries: wire::uint32(RETRIES), ..RetryPolicy::default() }
}
