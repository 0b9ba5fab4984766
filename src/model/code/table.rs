//! The table of codes. Ids are for ever: a code that is no longer used keeps its number. Its first half is in `first.rs`.

#[macro_use]
mod first;

use super::Severity;

/// Writes the enum and its columns.
macro_rules! codes {
    ($($code:ident $id:literal $name:literal $severity:ident $rule:literal $hint:literal;)*) => {
        /// A rule that objects have to follow.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $rule] $code,)*
        }

        impl Code {
            /// All codes, by id.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// The stable id, such as `MZ0106`.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$code => $id,)* }
            }

            /// The name, such as `port-out-of-range`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }

            /// How much it matters.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$code => Severity::$severity,)* }
            }

            /// What has to hold.
            #[must_use]
            pub const fn rule(self) -> &'static str {
                match self { $(Self::$code => $rule,)* }
            }

            /// What to do.
            #[must_use]
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$code => $hint,)* }
            }
        }
    };
}

#[rustfmt::skip]
with_first_codes! { codes!
    // DestinationRule.
    PolicyEmpty "MZ0401" "policy-empty" Error
        "A traffic policy says something."
        "Set a field of the policy, or remove it.";
    TunnelWithProxyProtocol "MZ0402" "tunnel-with-proxy-protocol" Error
        "A policy has tunnel or proxyProtocol, not both."
        "Keep one of them.";
    SubsetDuplicate "MZ0403" "subset-duplicate" Error
        "Names tell the subsets of a rule apart."
        "Give each subset its own name.";
    HashKeyMissing "MZ0404" "hash-key-missing" Warning
        "A consistent hash says what is hashed."
        "Set one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName.";
    HashCookieInvalid "MZ0405" "hash-cookie-invalid" Error
        "The cookie of a consistent hash has a name."
        "Set httpCookie.name.";
    HashTableInvalid "MZ0406" "hash-table-invalid" Error
        "The size of a Maglev table is a prime below 5000011."
        "Use a prime such as 65537.";
    LocalityAmbiguous "MZ0407" "locality-ambiguous" Error
        "Of distribute, failover and failoverPriority those that go together are set; zone-aware balancing stands alone."
        "Keep one way of balancing between localities.";
    LocalityShares "MZ0408" "locality-shares" Error
        "The shares of a locality are above 0 and add up to 100."
        "Correct the shares.";
    LocalityOverlap "MZ0409" "locality-overlap" Error
        "Localities of a list do not overlap."
        "Keep one of the entries.";
    CredentialWithFiles "MZ0410" "credential-with-files" Error
        "Certificates come from credentialName or from files, not from both."
        "Remove clientCertificate, privateKey, caCertificates and caCrl, or credentialName.";
    ClientCertificateMissing "MZ0411" "client-certificate-missing" Error
        "Mode MUTUAL has a certificate and its key."
        "Set clientCertificate and privateKey, or credentialName.";
    CredentialForeign "MZ0412" "credential-foreign" Error
        "A configmap:// credential is in the namespace of the rule."
        "Copy the ConfigMap into the namespace of the rule.";
    ServerNameTooLong "MZ0413" "server-name-too-long" Error
        "A server name has at most 255 bytes."
        "Shorten sni.";
    FailoverWithoutDetection "MZ0414" "failover-without-detection" Warning
        "Failover between localities stands beside outlierDetection, which tells who is unhealthy."
        "Add outlierDetection to the policy.";
    TunnelInvalid "MZ0415" "tunnel-invalid" Error
        "A tunnel has protocol CONNECT or POST, a target host and a target port."
        "Correct the field.";
    CredentialForGatewaysOnly "MZ0416" "credential-for-gateways-only" Warning
        "A rule with credentialName selects workloads by workloadSelector, unless it is meant for gateways."
        "Add workloadSelector, or use files.";
    OutlierStatusInvalid "MZ0417" "outlier-status-invalid" Error
        "Statuses that count as errors are from 100 to 599."
        "Correct the statuses.";
    FailoverInvalid "MZ0418" "failover-invalid" Error
        "Failover goes from one region to another, each named in full and without zone."
        "Name two different regions.";

    // Services, ServiceEntry and workloads.
    HostsMissing "MZ0501" "hosts-missing" Error
        "A ServiceEntry has hosts."
        "Add a host.";
    HostUnresolvable "MZ0502" "host-unresolvable" Error
        "With resolution by DNS and without endpoints, hosts are names that can be resolved."
        "Use names without wildcard, or add endpoints.";
    RangeUnsupported "MZ0503" "range-unsupported" Error
        "Ranges of addresses go with resolution NONE or STATIC."
        "Use single addresses, or another resolution.";
    EndpointsUnexpected "MZ0504" "endpoints-unexpected" Error
        "Endpoints are listed with resolutions that use them, and not beside workloadSelector."
        "Remove endpoints, or change resolution.";
    EndpointsTooMany "MZ0505" "endpoints-too-many" Error
        "Resolution DNS_ROUND_ROBIN has at most one endpoint."
        "Keep one endpoint, or use resolution DNS.";
    EndpointAddressUnfit "MZ0506" "endpoint-address-unfit" Error
        "The address of an endpoint is of the form that the resolution needs."
        "Use IP addresses and unix:// with STATIC, host names with DNS.";
    WorkloadAddressMissing "MZ0507" "workload-address-missing" Error
        "A workload has an address, or a network through whose gateway it is reached."
        "Set address.";
    SocketInvalid "MZ0508" "socket-invalid" Error
        "A Unix socket is unix:// with an absolute path of a file, and has no ports."
        "Correct the path, and remove ports.";
    PortsMissing "MZ0509" "ports-missing" Warning
        "A service has ports: without them nothing is reachable."
        "Add ports.";
    ServiceUnusable "MZ0510" "service-unusable" Error
        "A Service or EndpointSlice says what the control plane needs."
        "Add what is missing.";
    NetworkUnreachable "MZ0511" "network-unreachable" Warning
        "A workload has an address: gateways of networks are not used yet."
        "Set address.";
    ResolutionUnsupported "MZ0512" "resolution-unsupported" Warning
        "The resolution of a ServiceEntry is one that is honoured."
        "Use NONE, STATIC, DNS or DNS_ROUND_ROBIN.";

    // Sidecar.
    EgressBindWithoutPort "MZ0601" "egress-bind-without-port" Error
        "An egress listener with bind has a port."
        "Add port, or remove bind.";
    EgressOrder "MZ0602" "egress-order" Error
        "One egress listener is without a port, and it is the last one."
        "Move it to the end, and merge several of them.";
    EgressHostsMissing "MZ0603" "egress-hosts-missing" Error
        "An egress listener has a host that can be used."
        "Add a host such as \"./*\" or \"*/*\".";

    // Security.
    PolicyNotEnforced "MZ0701" "policy-not-enforced" Warning
        "A policy is of a kind that is enforced."
        "Wait for the kind to be enforced, or start mizzen with --allow-unenforced-policy to let the traffic through.";
    PortMtlsWithoutSelector "MZ0702" "port-mtls-without-selector" Error
        "portLevelMtls stands beside a selector with labels."
        "Add a selector, or remove portLevelMtls.";
    SecretUnusable "MZ0703" "secret-unusable" Error
        "A Secret or ConfigMap with certificates has what Envoy can load: a chain with its key, authorities, revocations."
        "Correct the key that the message names.";

    // EnvoyFilter and extensions.
    PatchIncomplete "MZ0801" "patch-incomplete" Error
        "A patch has applyTo, an operation, and a value unless it removes."
        "Add what is missing.";
    MatchUnfit "MZ0802" "match-unfit" Error
        "The match of a patch is about what the patch applies to."
        "Use listener, routeConfiguration or cluster, as applyTo says.";
    PatchUnusable "MZ0803" "patch-unusable" Error
        "The value of a patch is a message of the type that is patched, and can be applied to it."
        "Correct the value.";
    PatchNotHonoured "MZ0804" "patch-not-honoured" Warning
        "What a patch applies to is something that mizzen patches."
        "Use HTTP_FILTER, NETWORK_FILTER or CLUSTER.";
    PatchFieldUnknown "MZ0805" "patch-field-unknown" Warning
        "Every field in the value of a patch is one that its message has."
        "Correct the name of the field, or remove it.";

    // Mesh configuration, Telemetry, ProxyConfig.
    MeshConfigUnreadable "MZ0901" "mesh-config-unreadable" Error
        "The mesh configuration is a map of fields in YAML; until it is, the last good one stays."
        "Correct the text.";
    MeshFieldInvalid "MZ0902" "mesh-field-invalid" Error
        "A field of the mesh configuration has the type that it is given; otherwise its default stays."
        "Correct the value.";
    ProviderUnknown "MZ0903" "provider-unknown" Warning
        "A provider of metrics is one that is honoured."
        "Use prometheus.";
    InjectorConfigInvalid "MZ0904" "injector-config-invalid" Error
        "The configuration of injection can be read; until it can, Pods are injected as before."
        "Correct the text that the message names.";

    // IstioOperator.
    InstallationRefused "MZ0911" "installation-refused" Error
        "An IstioOperator says what can be installed."
        "Correct the key that the message names.";
    InstallationPartial "MZ0912" "installation-partial" Warning
        "Each key of an IstioOperator is one that decides on something here."
        "Do without the key, or accept that nothing follows from it.";

    // What needs more than one object.
    GatewayUnknown "MZ1001" "gateway-unknown" Warning
        "A Gateway that is named exists."
        "Create the Gateway, or correct the name.";
    DestinationUnknown "MZ1002" "destination-unknown" Warning
        "A destination is a service that is visible, with its subset and port."
        "Create the service, subset or port, or correct the destination.";
    DelegateUnknown "MZ1003" "delegate-unknown" Warning
        "The delegate of an entry exists, has no hosts, and is exported to its root."
        "Create the delegate, remove its hosts, or export it.";
    DelegateConflict "MZ1004" "delegate-conflict" Warning
        "The conditions of a delegate are within those of the entry that delegates."
        "Narrow the conditions of the delegate, or widen those of the entry.";
    HostTaken "MZ1005" "host-taken" Warning
        "One object decides about the requests for a host: of several the oldest does."
        "Merge the objects, or give them different hosts.";
    CredentialUnknown "MZ1006" "credential-unknown" Warning
        "A secret that is named exists, and can be used."
        "Create the secret, or correct its name or content.";
    PodUnknown "MZ1007" "pod-unknown" Warning
        "The Pods of an EndpointSlice are known."
        "Wait for the Pods.";
    AddressFamilyUnused "MZ1008" "address-family-unused" Info
        "The addresses of an EndpointSlice are of the first family of its Service."
        "Order ipFamilies of the Service as traffic should flow.";
    AddressTaken "MZ1009" "address-taken" Warning
        "One service has an address and port: of several the oldest does."
        "Give the services different addresses.";
    PortConflict "MZ1010" "port-conflict" Warning
        "Those that share a port go together: server by server, and protocol by protocol."
        "Use another port, or the protocol and TLS of the older one.";
    PortPrivileged "MZ1011" "port-privileged" Warning
        "A proxy that may not bind ports below 1024 is asked for higher ones."
        "Use a higher port, and map it by the Service.";
    ConnectionsTaken "MZ1012" "connections-taken" Warning
        "One rule takes the connections of a port, server name and address: of several the oldest does."
        "Merge the rules, or make their conditions differ.";

    // What only `mizzen analyze` finds.
    GatewaySelectsNothing "MZ1101" "gateway-selects-nothing" Warning
        "The selector of a Gateway has the labels of Pods, which serve it."
        "Correct the selector, or deploy a gateway with these labels.";
    GatewayPortUnserved "MZ1102" "gateway-port-unserved" Warning
        "The port of a Gateway's server is a port of a Service of its Pods."
        "Add the port to the Service of the gateway, or correct the number.";
    GatewayHostUnserved "MZ1103" "gateway-host-unserved" Warning
        "The hosts of a VirtualService are among those that its Gateways serve for its namespace."
        "Add the host to a server of the Gateway, or correct it.";
    RouteShadowed "MZ1104" "route-shadowed" Warning
        "Of several VirtualServices for one host of a Gateway, rules of the older ones leave requests for those of the younger."
        "Merge the objects, and put the narrower rules first.";
    RuleHostUnknown "MZ1105" "rule-host-unknown" Warning
        "The host of a DestinationRule is that of a service."
        "Create the service, or correct the host; short names are completed by the namespace of the object.";
    SubsetSelectsNothing "MZ1106" "subset-selects-nothing" Warning
        "The labels of a subset are those of Pods of the service."
        "Correct the labels, or deploy Pods that have them.";
    RuleConflict "MZ1107" "rule-conflict" Warning
        "One DestinationRule of a namespace says the policy of a host, and each subset: of several the oldest does."
        "Merge the objects.";
    SelectorSelectsNothing "MZ1108" "selector-selects-nothing" Warning
        "A selector has the labels of a workload."
        "Correct the labels, or remove the object.";
    SelectorTaken "MZ1109" "selector-taken" Warning
        "For the same workloads there is one Sidecar and one PeerAuthentication: of several the oldest counts."
        "Merge the objects.";
    PortProtocolGuessed "MZ1110" "port-protocol-guessed" Info
        "The name of a port begins with its protocol, or appProtocol says it."
        "Call the port http-web, grpc-api, tcp-db or the like, or set appProtocol.";
    ServiceSelectsNothing "MZ1111" "service-selects-nothing" Info
        "The selector of a Service has the labels of Pods."
        "Correct the selector, or deploy the Pods.";
    TargetPortUnknown "MZ1112" "target-port-unknown" Warning
        "The targetPort of a Service is the name of a port of its Pods' containers."
        "Name the container's port so, or use its number.";
    NamespaceUnknown "MZ1113" "namespace-unknown" Warning
        "A namespace that is named exists."
        "Correct the name, or create the namespace.";
    EgressHostUnknown "MZ1114" "egress-host-unknown" Warning
        "A host that a Sidecar imports is that of a service."
        "Correct the host, or the namespace before it.";
    TargetUnknown "MZ1115" "target-unknown" Warning
        "What a policy is attached to exists in its namespace."
        "Correct the name, or create the target.";
    MtlsContradiction "MZ1116" "mtls-contradiction" Error
        "Clients speak what servers take: TLS settings of DestinationRules go with the PeerAuthentications of the service."
        "Remove tls from the DestinationRule, so that mutual TLS is used where the server takes it, or change the PeerAuthentication.";
    InjectionContradicted "MZ1117" "injection-contradicted" Warning
        "What says whether Pods are injected does not contradict itself."
        "Keep one of the labels istio-injection and istio.io/rev.";
    NamespaceNotInjected "MZ1118" "namespace-not-injected" Info
        "A namespace with Pods says whether they get a proxy."
        "Label the namespace istio-injection=enabled, or disabled if that is meant.";
    ProxyMissing "MZ1119" "proxy-missing" Warning
        "Pods of an injected namespace have a proxy."
        "Restart the workload (kubectl rollout restart).";
    HostNetwork "MZ1120" "host-network" Warning
        "Pods that are to have a proxy have a network of their own."
        "Remove hostNetwork, or set the label sidecar.istio.io/inject to \"false\".";
    ProxyUser "MZ1121" "proxy-user" Warning
        "No container but the proxy runs as user 1337, whose traffic is not redirected."
        "Use another user.";
    AnnotationDeprecated "MZ1122" "annotation-deprecated" Info
        "Whether a Pod is injected is said by a label."
        "Make a label of the annotation.";
}
