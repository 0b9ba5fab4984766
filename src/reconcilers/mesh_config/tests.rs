use super::*;
use crate::model::code::without_code;

fn converted(mesh: &str, networks: &str) -> (Option<MeshConfig>, Vec<String>) {
    let data = [(KEY, mesh), ("meshNetworks", networks)].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let mut map = ConfigMap { data: Some(data.into()), ..ConfigMap::default() };
    map.metadata.name = Some("istio".to_owned());
    map.metadata.namespace = Some("istio-system".to_owned());
    let (made, problems) = convert(&map, &MeshConfig::default());
    (made, problems.iter().map(|p| without_code(p).replace("ConfigMap istio-system/istio: ", "")).collect())
}

#[test]
fn fields_go_over_the_defaults() {
    let (made, problems) = converted(
        "trustDomain: example.org\nrootNamespace: root\nproxyListenPort: 15101\nconnectTimeout: 3s\n\
         outboundTrafficPolicy: {mode: REGISTRY_ONLY}\nlocalityLbSetting: {enabled: false}\nh2UpgradePolicy: UPGRADE\n\
         accessLogFile: /dev/stdout\naccessLogEncoding: JSON\ndefaultServiceExportTo: ['.', x]\n\
         defaultHttpRetryPolicy: {attempts: 5, retryOn: 'reset,503', perTryTimeout: 2s}\n\
         tcpKeepalive: {probes: 3}\ndefaultTrafficPolicy: {connectionPool: {tcp: {maxConnections: 9}}}\n\
         tlsDefaults: {cipherSuites: [AES128-SHA, AES256-SHA], ecdhCurves: [P-256], minProtocolVersion: TLSV1_3}\n\
         enableAutoMtls: false\ntrustDomainAliases: [old.org]\ninboundTrafficPolicy: {mode: LOCALHOST}\n\
         meshMTLS: {minProtocolVersion: TLSV1_3}\nextensionProviders:\npathNormalization: {normalization: MERGE_SLASHES}\n\
         defaultProviders: {metrics: []}\n",
        "networks: {}",
    );
    assert_eq!(problems, Vec::<String>::new());
    let made = made.expect("a configuration");
    assert_eq!((&*made.trust_domain, &*made.root_namespace, made.proxy_listen_port), ("example.org", "root", 15101));
    assert_eq!((made.connect_timeout, made.outbound_policy), (Duration::from_secs(3), OutboundPolicy::RegistryOnly));
    assert!(!made.locality_lb.enabled && made.h2_upgrade);
    assert_eq!((made.access_log_encoding, &*made.access_log_file), (AccessLogEncoding::Json, "/dev/stdout"));
    let named = ["x".into()].into();
    assert_eq!(made.export_defaults.services, DefaultVisibility::Namespaces { own: true, named });
    assert_eq!(made.export_defaults.virtual_services, DefaultVisibility::Public);
    let retries = made.default_retries.expect("retries");
    assert_eq!((retries.attempts, &retries.status_codes[..]), (5, &[503][..]));
    assert_eq!(retries.per_try_timeout, Some(Duration::from_secs(2)));
    assert_eq!(made.default_connection_pool.map(|p| p.max_connections), Some(9));
    assert_eq!((made.tcp_keepalive.and_then(|k| k.probes), made.tls_cipher_suites.len()), (Some(3), 2));
    assert_eq!((made.tls_ecdh_curves, made.tls_min_version), (vec!["P-256".into()], Some(TlsVersion::V1_3)));
    assert_eq!((made.path_normalization, made.metrics), (PathNormalization::MergeSlashes, false));
    assert_eq!(
        (made.auto_mtls, made.inbound_localhost, &made.trust_domain_aliases[..]),
        (false, true, &["old.org".into()][..])
    );
    assert_eq!(made.mtls_min_version, Some(TlsVersion::V1_3));
}

#[test]
fn wrong_and_unknown_fields_are_reported_and_keep_their_defaults() {
    let (made, problems) = converted(
        "connectTimeout: 0s\nproxyListenPort: high\noutboundTrafficPolicy: {mode: MAYBE, x: 1}\nenableTracing: true\n\
         defaultHttpRetryPolicy: {attempts: -1}\ndefaultServiceExportTo: '.'\nproxyInboundListenPort: 0\n\
         trustDomain: ''\nenableAutoMtls: maybe\ninboundTrafficPolicy: {mode: X}\nmeshMTLS: {ecdhCurves: [P-256]}\n\
         tlsDefaults: {cipherSuites: [NULL-MD5], ecdhCurves: [P-1], minProtocolVersion: TLSV1_1}\n",
        "networks: {n1: {}}",
    );
    assert_eq!(made, Some(MeshConfig::default()));
    assert_eq!(
        problems,
        [
            "data.meshNetworks: not honoured yet",
            "data.mesh: connectTimeout: 0ns is less than 1ms",
            "data.mesh: proxyListenPort: invalid type: string \"high\", expected u16",
            "data.mesh: outboundTrafficPolicy.mode: \"MAYBE\" is not one of ALLOW_ANY, REGISTRY_ONLY",
            "data.mesh: outboundTrafficPolicy.x: not honoured yet",
            "data.mesh: enableTracing: not honoured yet",
            "data.mesh: defaultHttpRetryPolicy.attempts: -1 is below zero: use 0 to turn retries off; the entry is left out",
            "data.mesh: defaultServiceExportTo: invalid type: string \".\", expected a sequence",
            "data.mesh: proxyInboundListenPort: 0 is not a port: 15006 is used",
            "data.mesh: trustDomain: \"\" is not the name of a trust domain: \"cluster.local\" is used",
            "data.mesh: enableAutoMtls: invalid type: string \"maybe\", expected a boolean",
            "data.mesh: inboundTrafficPolicy.mode: \"X\" is not one of PASSTHROUGH, LOCALHOST",
            "data.mesh: meshMTLS.ecdhCurves: connections inside the mesh have no such setting: tlsDefaults has",
            "data.mesh: tlsDefaults.cipherSuites[0]: \"NULL-MD5\" is not known; it is left out",
            "data.mesh: tlsDefaults.ecdhCurves[0]: \"P-1\" is not known; it is left out",
            "data.mesh: tlsDefaults.minProtocolVersion: \"TLSV1_1\" is not one of TLS_AUTO, TLSV1_2, TLSV1_3",
        ]
    );
}

#[test]
fn unreadable_text_is_no_configuration_and_empty_text_is_the_default() {
    let (made, problems) = converted("a: [", "");
    assert_eq!((made, problems.len()), (None, 1));
    assert_eq!(converted("- a", "").0, None);
    assert_eq!(converted("", ""), (Some(MeshConfig::default()), Vec::new()));
}

#[test]
fn what_is_not_programmed_is_judged() {
    let (_, problems) = converted(
        "connectTimeout: 2h\ndnsRefreshRate: 1.5ms\ntrustDomainAliases: [a.b, 'x/y']\n\
         defaultConfig: {drainDuration: 1500ms, discoveryAddress: 'a b:1', statusPort: 0, binaryPath: '', concurrency: -1, \
         proxyMetadata: {ISTIO_META_DNS_AUTO_ALLOCATE: 'true'}, controlPlaneAuthPolicy: X, tracing: {zipkin: {address: z}}, \
         connectionSettings: {http2InitialStreamWindowSize: 1, httpIdleTimeout: 1}, privateKeyProvider: {qat: {}}, new: 1}\n\
         extensionProviders: [{name: a, zipkin: {service: z.b, port: 9411}}, {name: a}, {zipkin: {port: 0}, prometheus: {}}]\n\
         discoverySelectors: [{matchLabels: {a: b}}, {matchExpressions: [{key: a, operator: In}]}]\n\
         serviceSettings: [{hosts: ['*', 'a b']}]\n",
        "",
    );
    let short: Vec<&str> = problems.iter().filter_map(|line| line.strip_prefix("data.mesh: ")).collect();
    let starts = [
        "connectTimeout: 7200s is more than 3600s",
        "dnsRefreshRate: 1.5ms is not a whole number of milliseconds",
        "trustDomainAliases[1]: \"x/y\" is not the name of a trust domain",
        "defaultConfig.drainDuration: 1.5s is not a whole number of seconds",
        "defaultConfig.discoveryAddress: \"a b:1\" has a host",
        "defaultConfig.statusPort: 0 is not a port",
        "defaultConfig.binaryPath: is empty",
        "defaultConfig.concurrency: -1 is not",
        "defaultConfig.proxyMetadata.ISTIO_META_DNS_AUTO_ALLOCATE: addresses are allocated",
        "defaultConfig.controlPlaneAuthPolicy: \"X\" is not one of",
        "defaultConfig.tracing.zipkin.address: \"z\" is not of the form",
        "defaultConfig.connectionSettings.http2InitialStreamWindowSize: 1 is not",
        "defaultConfig.connectionSettings.httpIdleTimeout: 1 is not a text",
        "defaultConfig.privateKeyProvider.qat: has no pollDelay",
        "defaultConfig.new: a ProxyConfig has no such field",
        "extensionProviders[1]: another provider is named \"a\"",
        "extensionProviders[1]: has no type",
        "extensionProviders[2].zipkin: has no service",
        "extensionProviders[2].zipkin: port 0 is not",
        "extensionProviders[2]: has no name",
        "extensionProviders[2]: only one of zipkin, prometheus",
        "extensionProviders: not honoured yet",
        "discoverySelectors[1].matchExpressions[0]: operator In needs values",
        "discoverySelectors: not honoured yet",
        "serviceSettings[0].hosts[1]: \"a b\"",
        "serviceSettings: not honoured yet",
    ];
    assert_eq!(short.len(), starts.len(), "{short:#?}");
    for (line, start) in short.iter().zip(starts) {
        assert!(line.starts_with(start), "{line} / {start}");
    }
}
