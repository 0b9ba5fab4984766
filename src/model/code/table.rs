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
    AddressAdvised "MZ0513" "address-advised" Warning
        "A port of protocol TCP goes with addresses, unless addresses are allocated: nothing else tells its connections apart."
        "Add addresses, or remove the label that turns allocation off.";
    HostPartialWildcard "MZ0514" "host-partial-wildcard" Warning
        "A wildcard is the whole first label of a host; Envoy matches no part of a label, so the host is left out."
        "Write *.example.com, or full names.";
    HostsAmbiguous "MZ0515" "hosts-ambiguous" Error
        "Several hosts go with ports of HTTP or TLS, which name the host, or with resolution NONE."
        "Write one ServiceEntry for each host, or change the protocol.";
    HostsShareAddress "MZ0516" "hosts-share-address" Warning
        "Connections to an address are for one host, unless requests name it."
        "Write one ServiceEntry for each host, with its own address.";
    HostNotWildcard "MZ0517" "host-not-wildcard" Error
        "With resolution DYNAMIC_DNS hosts have a wildcard."
        "Use *.example.com, or resolution DNS.";
    AddressesUnexpected "MZ0518" "addresses-unexpected" Error
        "With resolution DYNAMIC_DNS there are no addresses: each request says its host."
        "Remove addresses, or use another resolution.";
    ProtocolUnfit "MZ0519" "protocol-unfit" Error
        "With resolution DYNAMIC_DNS ports are of HTTP, HTTP2, GRPC or TLS, which name the host."
        "Change the protocol, or use another resolution.";
    EndpointPortUnknown "MZ0520" "endpoint-port-unknown" Error
        "The ports of an endpoint have names of ports of the service."
        "Correct the name, or add the port to the service.";
    SocketPortsMany "MZ0521" "socket-ports-many" Error
        "A service with Unix sockets as endpoints has one port."
        "Write one ServiceEntry for each port.";
    ProbeMissing "MZ0522" "probe-missing" Error
        "A probe has one of httpGet, tcpSocket, exec and grpc."
        "Add one of them, or remove the probe.";
    EntryTooLarge "MZ0523" "entry-too-large" Error
        "What the hosts, ports and addresses of a ServiceEntry multiply to is no more than proxies can hold."
        "Write several ServiceEntries, each for some of the hosts.";

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
    SidecarEmpty "MZ0604" "sidecar-empty" Error
        "A Sidecar says something: ingress, egress, outboundTrafficPolicy or inboundConnectionPool."
        "Add one of them, or remove the object.";
    DefaultEndpointInvalid "MZ0605" "default-endpoint-invalid" Error
        "Inbound traffic goes to the workload itself: to 127.0.0.1, [::1], 0.0.0.0 or [::] with a port, or to unix:// with a path."
        "Write 127.0.0.1 and the port of the application.";
    IngressTlsUnsupported "MZ0606" "ingress-tls-unsupported" Error
        "TLS of an inbound listener has certificates in files, and a mode that ends it there."
        "Use mode SIMPLE or MUTUAL with serverCertificate and privateKey.";
    SocketCaptured "MZ0607" "socket-captured" Error
        "Nothing is redirected to a Unix socket: applications connect to it."
        "Use captureMode NONE, or leave it out.";
    SocketDuplicate "MZ0608" "socket-duplicate" Error
        "Listeners on Unix sockets have different paths."
        "Give each listener its own path.";
    EgressProxyUnfit "MZ0609" "egress-proxy-unfit" Error
        "An egress proxy takes what mode ALLOW_ANY lets through, and has a host and a port."
        "Use mode ALLOW_ANY, and name host and port.";
    EgressHostDuplicate "MZ0610" "egress-host-duplicate" Warning
        "Each host of an egress listener stands for something that no other one does."
        "Remove the host.";
    ListenerTargetPort "MZ0611" "listener-target-port" Error
        "The port of a listener has no targetPort."
        "Remove targetPort; defaultEndpoint says where inbound traffic goes.";

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
    PolicyRulesMissing "MZ0704" "policy-rules-missing" Error
        "A policy with action DENY or CUSTOM has rules: without any it never applies."
        "Add rules; an empty rule {} is every request.";
    AuthorizerMissing "MZ0705" "authorizer-missing" Error
        "A policy with action CUSTOM names the provider that decides."
        "Set provider.name to one of extensionProviders in the mesh configuration.";
    AuthorizerUnexpected "MZ0706" "authorizer-unexpected" Error
        "Only a policy with action CUSTOM has a provider."
        "Remove provider, or use action CUSTOM.";
    IdentityUnsupported "MZ0707" "identity-unsupported" Error
        "A policy with action CUSTOM does not ask for identities of clients or tokens."
        "Ask for them by another policy with action ALLOW or DENY.";
    ClauseEmpty "MZ0708" "clause-empty" Error
        "A clause that is there says something: from, to, source, operation, portLevelMtls."
        "Add a condition, or remove the clause.";
    ServiceAccountInvalid "MZ0709" "service-account-invalid" Error
        "A service account is name or namespace/name, without wildcard, of at most 320 characters."
        "Write namespace/name.";
    PathTemplateInvalid "MZ0710" "path-template-invalid" Error
        "In a path template {*} and {**} are whole segments, {**} is the last of them, and other segments are plain."
        "Correct the template.";
    ConditionKeyUnknown "MZ0711" "condition-key-unknown" Error
        "The key of a condition is one that is known."
        "Use keys such as request.headers[x], source.ip, destination.port or request.auth.claims[x].";
    ConditionValuesMissing "MZ0712" "condition-values-missing" Error
        "A condition has values or notValues."
        "Add values or notValues.";
    WildcardMisplaced "MZ0713" "wildcard-misplaced" Error
        "A pattern has one `*`, at its beginning or its end."
        "Write prefix*, *suffix or *.";
    TrustDomainInvalid "MZ0714" "trust-domain-invalid" Error
        "A trust domain is a name such as cluster.local, without slash."
        "Correct the name.";
    DenyTooBroad "MZ0715" "deny-too-broad" Warning
        "A rule with action DENY that asks for parts of HTTP names ports: without them it refuses every connection to ports of TCP."
        "Add ports to the operation, or ask for nothing of HTTP.";
    IssuerMissing "MZ0716" "issuer-missing" Error
        "A kind of token has an issuer, or jwksUri."
        "Set issuer.";
    JwksInvalid "MZ0717" "jwks-invalid" Error
        "jwks is a set of JSON web keys."
        "Correct the set; the message names what is wrong.";
    JwksPrivate "MZ0718" "jwks-private" Warning
        "jwks has public keys only: whoever may read the object could sign tokens with others."
        "Remove the private parts, and make a new key.";

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
    InternalApi "MZ0806" "internal-api" Warning
        "What an object depends on is documented; EnvoyFilters depend on how the control plane makes its configuration, which may change."
        "Use another kind where one does the same, and test before each upgrade.";
    PatchFieldDeprecated "MZ0807" "patch-field-deprecated" Warning
        "Fields of a patch are not deprecated by Envoy, which removes those that are."
        "Use the field that the documentation of Envoy names instead.";
    TypedConfigMissing "MZ0808" "typed-config-missing" Warning
        "An extension has typed_config: Envoy knows it by the type, not by its name."
        "Add typed_config with an @type.";
    FilterNameDeprecated "MZ0809" "filter-name-deprecated" Warning
        "A filter is matched by the name that it has now."
        "Use the name in the message.";
    MatchIncomplete "MZ0810" "match-incomplete" Error
        "A match on a filter names the filter."
        "Set name, or remove the match.";
    SubFilterUnfit "MZ0811" "sub-filter-unfit" Error
        "subFilter goes with applyTo HTTP_FILTER and the filter envoy.filters.network.http_connection_manager."
        "Correct applyTo or the name of the filter, or remove subFilter.";
    ModuleUrlInvalid "MZ0812" "module-url-invalid" Error
        "A module is at a URL with scheme http, https, file or oci, or is an OCI reference without scheme."
        "Write a URL such as oci://registry.example.com/plugin:1.";
    ChecksumInvalid "MZ0813" "checksum-invalid" Error
        "The checksum of a module is a SHA-256: 64 digits from 0 to 9 and a to f."
        "Compute it by sha256sum.";
    TextTooLong "MZ0814" "text-too-long" Error
        "A text is no longer than its field allows."
        "Shorten the text.";
    VariableValueUnexpected "MZ0815" "variable-value-unexpected" Error
        "A variable that comes from the proxy has no value of its own."
        "Remove value, or valueFrom.";
    ExtensionAmbiguous "MZ0816" "extension-ambiguous" Error
        "A TrafficExtension is one filter: wasm or lua."
        "Set one of them.";
    RouterRemoved "MZ0899" "router-removed" Error
        "The router, which ends each chain of HTTP filters, is not removed: Envoy takes no chain without an end."
        "Use operation REPLACE with another filter that ends the chain, or remove the patch.";

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
    ProviderNameEmpty "MZ0905" "provider-name-empty" Error
        "A provider is named."
        "Set the name of one of extensionProviders in the mesh configuration.";
    TracingAmbiguous "MZ0906" "tracing-ambiguous" Warning
        "Spans go to one provider, by one entry: of several the first counts."
        "Keep one entry with one provider.";
    TagSourceMissing "MZ0907" "tag-source-missing" Error
        "A tag says where its value comes from."
        "Set one of literal, environment, header and formatter.";
    TagValueUnfit "MZ0908" "tag-value-unfit" Error
        "A tag that is set has a value, and one that is removed has none."
        "Set value with UPSERT, and remove it with REMOVE.";
    ExpressionInvalid "MZ0909" "expression-invalid" Error
        "A condition or value is an expression of CEL."
        "Correct the expression.";
    TagNameEmpty "MZ0910" "tag-name-empty" Warning
        "A tag that is changed has a name."
        "Set the name.";
    ProviderInvalid "MZ0911" "provider-invalid" Warning
        "A provider in the mesh configuration has a name of its own, one type, and a service with its port; otherwise it cannot be used."
        "Correct the provider.";
    ProxyAddressInvalid "MZ0912" "proxy-address-invalid" Error
        "An address of a service is host:port."
        "Write a host name or IP address, a colon and a port.";
    DurationTooLong "MZ0913" "duration-too-long" Error
        "A duration is not longer than its field allows."
        "Use a shorter duration.";
    DrainTooFine "MZ0914" "drain-too-fine" Error
        "The time in which connections drain is a whole number of seconds."
        "Round it to seconds.";
    LabelSelectorInvalid "MZ0915" "label-selector-invalid" Error
        "A requirement of a label selector has a key and an operator, and values if the operator needs them."
        "Use In or NotIn with values, or Exists or DoesNotExist without.";
    TagExpressionInvalid "MZ0916" "tag-expression-invalid" Warning
        "The value of a tag is an expression of CEL; a text stands in quotes."
        "Correct the expression.";

    // IstioOperator.
    InstallationRefused "MZ0917" "installation-refused" Error
        "An IstioOperator says what can be installed."
        "Correct the key that the message names.";
    InstallationPartial "MZ0918" "installation-partial" Warning
        "Each key of an IstioOperator is one that decides on something here."
        "Do without the key, or accept that nothing follows from it.";
    InjectorTemplateUnused "MZ0919" "injector-template-unused" Warning
        "The templates sidecar and gateway are mizzen's own; texts of these names are not used."
        "Give the template another name, and name it in defaultTemplates besides sidecar: it is laid over the proxy.";

    // What needs more than one object.
    GatewayUnknown "MZ1001" "gateway-unknown" Warning
        "A Gateway that is named exists."
        "Create the Gateway, or correct the name.";
    DestinationHostUnknown "MZ1002" "destination-host-unknown" Warning
        "The host of a destination is that of a service which clients see."
        "Create or export the service, or correct the host; short names are completed by the namespace of the object.";
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
    DestinationSubsetUnknown "MZ1013" "destination-subset-unknown" Warning
        "The subset of a destination is one of a DestinationRule of its host."
        "Add the subset to the DestinationRule, export the rule, or correct the name.";
    DestinationPortUnknown "MZ1014" "destination-port-unknown" Warning
        "The port of a destination is one of its service."
        "Correct the number, or add the port to the service.";

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
        "For the same workloads there is one Sidecar, one PeerAuthentication and one Telemetry: of several the oldest counts."
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
