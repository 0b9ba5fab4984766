//! Any policy yields a cluster, always the same bytes.

use proptest::prelude::*;

use super::*;
use crate::model::destination_rule::PolicyBlocks;

fn maybe<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(strategy)
}

fn duration() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

fn pool() -> impl Strategy<Value = ConnectionPool> {
    let upgrade = prop::sample::select(vec![H2Upgrade::Default, H2Upgrade::DoNotUpgrade, H2Upgrade::Upgrade]);
    let times = (maybe(duration()), maybe(duration()), maybe(duration()), maybe(duration()));
    (any::<[u32; 6]>(), times, upgrade, any::<bool>(), maybe(any::<u32>())).prop_map(
        |(counts, times, h2_upgrade, use_client_protocol, probes)| ConnectionPool {
            max_connections: counts[0],
            max_pending_requests: counts[1],
            max_requests: counts[2],
            max_requests_per_connection: counts[3],
            max_retries: counts[4],
            max_concurrent_streams: counts[5],
            connect_timeout: times.0,
            tcp_idle_timeout: times.1,
            http_idle_timeout: times.2,
            max_connection_duration: times.3,
            keepalive: probes.map(|p| TcpKeepalive { probes: Some(p), time: times.0, interval: times.1 }),
            http2_keepalive: times.2.map(|t| Http2Keepalive { interval: times.3, timeout: Some(t) }),
            h2_upgrade,
            use_client_protocol,
        },
    )
}

fn outlier() -> impl Strategy<Value = OutlierDetection> {
    let codes = prop::collection::vec(any::<u32>(), 0..3);
    (maybe(any::<u32>()), any::<bool>(), maybe(duration()), any::<(u32, u32)>(), codes).prop_map(
        |(count, split_local_origin, interval, (max_ejection_percent, min_health_percent), http_error_codes)| {
            OutlierDetection {
                consecutive_5xx: count,
                consecutive_gateway: count,
                consecutive_local_origin: count,
                split_local_origin,
                interval,
                base_ejection_time: interval,
                max_ejection_percent,
                min_health_percent,
                http_error_codes,
            }
        },
    )
}

fn balancer() -> impl Strategy<Value = LoadBalancer> {
    let ring = prop_oneof![
        any::<u64>().prop_map(|minimum_size| HashRing::Ring { minimum_size }),
        maybe(any::<u64>()).prop_map(|table_size| HashRing::Maglev { table_size }),
    ];
    let algorithm = prop_oneof![
        Just(LbAlgorithm::LeastRequest),
        Just(LbAlgorithm::RoundRobin),
        Just(LbAlgorithm::Passthrough),
        ring.prop_map(|ring| LbAlgorithm::ConsistentHash { key: None, ring }),
    ];
    let warmup = (duration(), maybe(any::<f64>())).prop_map(|(duration, number)| Warmup {
        duration,
        minimum_percent: number.map(Decimal::from_f64),
        aggression: number.map(Decimal::from_f64),
    });
    (algorithm, maybe(warmup)).prop_map(|(algorithm, warmup)| LoadBalancer { algorithm, locality: None, warmup })
}

fn tls() -> impl Strategy<Value = ClientTls> {
    let modes = [ClientTlsMode::Disable, ClientTlsMode::Simple, ClientTlsMode::Mutual, ClientTlsMode::IstioMutual];
    (prop::sample::select(modes.to_vec()), any::<[String; 3]>(), any::<bool>()).prop_map(|(mode, texts, skip)| {
        ClientTls {
            mode,
            credential_name: texts[0].as_str().into(),
            sni: texts[1].as_str().into(),
            subject_alt_names: vec![texts[2].as_str().into()],
            insecure_skip_verify: skip,
            ..ClientTls::default()
        }
    })
}

fn any_case() -> impl Strategy<Value = Case> {
    let blocks =
        (maybe(pool()), maybe(outlier()), maybe(balancer()), maybe(tls())).prop_map(|(pool, outlier, lb, tls)| {
            PolicyBlocks {
                connection_pool: pool.map(Arc::new),
                outlier_detection: outlier.map(Arc::new),
                load_balancer: lb.map(Arc::new),
                tls: tls.map(Arc::new),
            }
        });
    let protocol = prop::sample::select(vec![Protocol::Http, Protocol::Grpc, Protocol::Auto, Protocol::Tcp]);
    let resolution = prop::sample::select(vec![
        Resolution::ClientSideLb,
        Resolution::Dns,
        Resolution::DnsRoundRobin,
        Resolution::Passthrough,
    ]);
    (blocks, protocol, resolution, any::<bool>(), any::<bool>()).prop_map(
        |(blocks, protocol, resolution, router, v2)| {
            let mut made = with_protocol(protocol);
            made.service.resolution = resolution;
            made.members = vec![Arc::new(endpoint("a.example", "r/z/s"))];
            made.rule = Some(rule(None));
            made.policy.blocks = blocks;
            made.policy.proxy_protocol = v2.then_some(ProxyProtocol::V2);
            if router { made.of_router() } else { made }
        },
    )
}

proptest! {
    #[test]
    fn any_policy_yields_a_cluster_and_always_the_same_bytes(made in any_case()) {
        let versions: BTreeSet<_> = (0..8).map(|_| made.try_build().expect("a cluster").resource().version).collect();
        prop_assert_eq!(versions.len(), 1);
    }
}
