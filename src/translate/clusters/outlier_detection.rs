//! Outlier detection: members that fail are left out for a while (translation §4.3).

use envoy_types::pb::envoy::{
    config::{
        cluster::v3::{Cluster, OutlierDetection as EnvoyDetection},
        common::matcher::v3::{
            HttpHeadersMatch, MatchPredicate,
            match_predicate::{MatchSet, Rule},
        },
        route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier},
    },
    r#type::{
        matcher::v3::{StringMatcher, string_matcher::MatchPattern},
        v3::Percent,
    },
};

use super::{
    ClusterInput,
    convert::{duration, set, uint32},
    http_protocol::HttpProtocol,
};
use crate::{model::destination_rule::OutlierDetection, translate::endpoints::sends_unhealthy};

const ALWAYS: u32 = 100;

pub(super) fn apply(cluster: &mut Cluster, http: &mut HttpProtocol, input: &ClusterInput<'_>) {
    let outlier = input.policy.blocks.outlier_detection.as_deref();
    if let Some(panic) = panic_threshold(outlier, input)
        && let Some(common) = cluster.common_lb_config.as_mut()
    {
        common.healthy_panic_threshold = Some(Percent { value: panic });
    }
    let Some(outlier) = outlier else { return };
    cluster.outlier_detection = Some(detection(outlier));
    if !outlier.http_error_codes.is_empty() {
        http.outlier_detection().error_matcher = Some(error_matcher(&outlier.http_error_codes));
    }
}

/// Below which share of healthy members Envoy uses all of them: never, unless the user wants it, and never where
/// members are sent that are known not to be ready.
fn panic_threshold(outlier: Option<&OutlierDetection>, input: &ClusterInput<'_>) -> Option<f64> {
    let percent = outlier.map(|o| o.min_health_percent);
    if sends_unhealthy(input.service, input.policy) {
        return Some(0.0);
    }
    percent.map(|p| f64::from(p.min(ALWAYS)))
}

fn detection(outlier: &OutlierDetection) -> EnvoyDetection {
    let enforcing = |count: Option<u32>| count.map(|c| uint32(if c > 0 { ALWAYS } else { 0 }));
    let mut made = EnvoyDetection {
        consecutive_5xx: outlier.consecutive_5xx.map(uint32),
        enforcing_consecutive_5xx: enforcing(outlier.consecutive_5xx),
        consecutive_gateway_failure: outlier.consecutive_gateway.map(uint32),
        enforcing_consecutive_gateway_failure: enforcing(outlier.consecutive_gateway),
        interval: outlier.interval.map(duration),
        base_ejection_time: outlier.base_ejection_time.map(duration),
        max_ejection_percent: set(outlier.max_ejection_percent.min(ALWAYS)),
        enforcing_success_rate: Some(uint32(0)),
        ..EnvoyDetection::default()
    };
    if outlier.split_local_origin {
        let count = outlier.consecutive_local_origin.filter(|c| *c > 0);
        made.split_external_local_origin_errors = true;
        made.consecutive_local_origin_failure = count.map(uint32);
        made.enforcing_consecutive_local_origin_failure = count.map(|_| uint32(ALWAYS));
        made.enforcing_local_origin_success_rate = Some(uint32(0));
    }
    made
}

/// Which responses are errors.
fn error_matcher(codes: &[u32]) -> MatchPredicate {
    let mut rules: Vec<MatchPredicate> = codes.iter().map(|code| status_is(*code)).collect();
    match (rules.len(), rules.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            rules.extend(last);
            MatchPredicate { rule: Some(Rule::OrMatch(MatchSet { rules })) }
        }
    }
}

fn status_is(code: u32) -> MatchPredicate {
    let exact =
        StringMatcher { match_pattern: Some(MatchPattern::Exact(code.to_string())), ..StringMatcher::default() };
    let header = HeaderMatcher {
        name: ":status".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(exact)),
        ..HeaderMatcher::default()
    };
    MatchPredicate { rule: Some(Rule::HttpResponseHeadersMatch(HttpHeadersMatch { headers: vec![header] })) }
}
