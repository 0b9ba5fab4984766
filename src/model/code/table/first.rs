//! Codes of objects, of fields that many kinds have, of Gateways and of VirtualServices.

/// Puts these codes before others, and makes the table of all of them by a macro.
macro_rules! with_first_codes {
    ($table:ident! $($others:tt)*) => { $table! {
    // Objects and decoding.
    TypeMissing "MZ0001" "type-missing" Error
        "An object says its apiVersion and kind."
        "Add apiVersion and kind, or leave the document out.";
    UnrecognizedType "MZ0002" "unrecognized-type" Error
        "An object is of a group and kind that is known."
        "Correct apiVersion and kind.";
    UnknownVersion "MZ0003" "unknown-version" Warning
        "An object is of a version that its kind is served in."
        "Use a version that the kind is served in.";
    Undecodable "MZ0004" "undecodable" Error
        "Every required field is there, and every field has the type that its kind gives it."
        "Give the field a value of the expected type.";
    UnknownTopLevelField "MZ0005" "unknown-top-level-field" Error
        "At its top an object has only apiVersion, kind, metadata, spec and status."
        "Move the field into spec, or remove it.";
    UnknownField "MZ0006" "unknown-field" Warning
        "Every field is one that its kind has; an API server drops others."
        "Correct the name of the field, or remove it.";
    NameMissing "MZ0007" "name-missing" Error
        "An object has a name."
        "Set metadata.name.";
    NameInvalid "MZ0008" "name-invalid" Error
        "Names of objects and namespaces are labels of a DNS name."
        "Use letters, digits and '-', at most 63 of them.";
    DryRunInvalid "MZ0009" "dry-run-invalid" Error
        "The annotation istio.io/dry-run stands on AuthorizationPolicies with action ALLOW or DENY, and is true or false."
        "Remove the annotation, or set it to \"true\" or \"false\".";
    ReservedAnnotation "MZ0010" "reserved-annotation" Error
        "Annotations of internal.istio.io that the control plane itself writes are not set by users."
        "Remove the annotation.";
    SchemaViolated "MZ0011" "schema-violated" Error
        "An object follows the schema of its CustomResourceDefinition, with the rules in it."
        "Change the value so that the rule holds.";
    DocumentUnreadable "MZ0012" "document-unreadable" Error
        "A file is YAML or JSON that can be read."
        "Correct the syntax at the line that is named.";
    ObjectDuplicate "MZ0013" "object-duplicate" Warning
        "Each object stands once in the files of a directory."
        "Remove one of the two.";
    SourceUnreadable "MZ0014" "source-unreadable" Error
        "The directory, or each kind in the cluster, can be read."
        "Give the rights that the message names, or wait until the API server can be reached.";
    RefusedByEnvoy "MZ0015" "refused-by-envoy" Error
        "Envoy accepts what is made of the object."
        "Correct what Envoy complains about; the proxies that refuse keep what they had.";
    KindNotHonoured "MZ0016" "kind-not-honoured" Warning
        "An object is of a kind that mizzen honours."
        "Do without the object, or accept that nothing follows from it yet.";

    // Fields that many kinds have.
    FieldNotHonoured "MZ0101" "field-not-honoured" Warning
        "A field that is set is one that mizzen honours."
        "Do without the field, or accept that nothing follows from it yet.";
    FieldWithoutEffect "MZ0102" "field-without-effect" Warning
        "A field that is set has an effect beside the others."
        "Remove the field, or the one that leaves no use for it.";
    FieldDeprecated "MZ0103" "field-deprecated" Warning
        "A field is not one of those that newer ones replace."
        "Use the field that the message names.";
    FieldMissing "MZ0104" "field-missing" Error
        "A field that the others need is set."
        "Set the field.";
    FieldsExclusive "MZ0105" "fields-exclusive" Error
        "Of fields that exclude each other one is set."
        "Keep one of the fields.";
    PortOutOfRange "MZ0106" "port-out-of-range" Error
        "A port is a number from 1 to 65535."
        "Use a number from 1 to 65535.";
    PortNameInvalid "MZ0107" "port-name-invalid" Error
        "The name of a port is a label of a DNS name."
        "Use letters, digits and '-', at most 63 of them.";
    PortDuplicate "MZ0108" "port-duplicate" Error
        "Names and numbers of ports are unique within the object."
        "Give each port its own name and number.";
    ProtocolUnknown "MZ0109" "protocol-unknown" Error
        "The protocol of a port is one that is known."
        "Use HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, MONGO, TCP or TLS.";
    HostMalformed "MZ0110" "host-malformed" Error
        "A host is a DNS name of at most 255 characters; where wildcards are allowed, `*` is its whole first label."
        "Write a name such as web.example.com or *.example.com.";
    HostDuplicate "MZ0111" "host-duplicate" Error
        "Each host of an object is there once."
        "Remove one of the two.";
    NamespaceInvalid "MZ0112" "namespace-invalid" Error
        "The namespace of a host is the name of one, `.` or `*`."
        "Write namespace/host, ./host or */host.";
    AddressInvalid "MZ0113" "address-invalid" Error
        "An address is an IP address, or a range where ranges are allowed."
        "Write an address such as 10.0.0.1 or 2001:db8::1, or a range such as 10.0.0.0/8.";
    BindInvalid "MZ0114" "bind-invalid" Error
        "What is bound to is an IP address or unix:// with a path."
        "Write an IP address, or unix:// and an absolute path.";
    HeaderNameInvalid "MZ0115" "header-name-invalid" Error
        "The name of a header has only the characters that HTTP allows."
        "Use letters, digits and '-'.";
    HeaderProtected "MZ0116" "header-protected" Error
        "Headers that begin with a colon are not changed; Host is only set in requests."
        "Remove the header; rewrite.authority changes the host.";
    HeaderValueInvalid "MZ0117" "header-value-invalid" Error
        "The value of a header has no control characters, and each `%` is doubled or starts a command such as %REQ(name)%."
        "Remove control characters, and write %% for a percent sign.";
    RegexInvalid "MZ0118" "regex-invalid" Error
        "A regular expression is one of RE2."
        "Correct the expression; RE2 has no look-around and no back-references.";
    RegexTooLong "MZ0119" "regex-too-long" Error
        "A regular expression has at most 1024 bytes, repeats at most 1000 times, and becomes a program that Envoy takes."
        "Shorten the expression, repeat less, or use several conditions.";
    DurationMalformed "MZ0120" "duration-malformed" Error
        "A duration is a sequence of numbers with units, and not negative."
        "Write a duration such as 500ms, 10s or 1h30m.";
    DurationTooShort "MZ0121" "duration-too-short" Error
        "A duration is at least one millisecond."
        "Use at least 1ms.";
    DurationTooFine "MZ0122" "duration-too-fine" Error
        "A duration is a whole number of milliseconds."
        "Round it to milliseconds.";
    PercentOutOfRange "MZ0123" "percent-out-of-range" Error
        "A percentage is from 0 to 100."
        "Use a number from 0 to 100.";
    WeightNegative "MZ0124" "weight-negative" Error
        "A weight is 0 or more."
        "Use 0 or more.";
    WeightsZero "MZ0125" "weights-zero" Error
        "Of several destinations one has a weight."
        "Give at least one destination a weight above 0.";
    WeightsTooLarge "MZ0126" "weights-too-large" Error
        "Weights add up to at most 4294967295."
        "Use smaller weights.";
    ExportToInvalid "MZ0127" "export-to-invalid" Error
        "exportTo lists namespaces, or `.`, or is `*` alone, or `~` alone where the kind allows it."
        "Write names of namespaces or \".\", or one of \"*\" and \"~\" alone.";
    ExportToDuplicate "MZ0128" "export-to-duplicate" Error
        "exportTo names each namespace once; `.` is the object's own."
        "Remove one of the two.";
    SelectorLabelInvalid "MZ0129" "selector-label-invalid" Error
        "The labels of a selector have names, and no `*`: they are compared as they are written."
        "Name labels and values that workloads have.";
    SelectorEmpty "MZ0130" "selector-empty" Warning
        "A selector that is there names labels; an empty one selects every workload."
        "Name labels, or remove the selector to say that every workload is meant.";
    TargetKindInvalid "MZ0131" "target-kind-invalid" Error
        "A policy attaches to a Service, ServiceEntry, Gateway or GatewayClass, by its group and kind."
        "Correct group and kind of the target.";
    TargetNamespaceForeign "MZ0132" "target-namespace-foreign" Error
        "A policy attaches to objects of its own namespace."
        "Remove the namespace of the target, or move the policy.";
    ValueUnknown "MZ0133" "value-unknown" Error
        "A word is one of those that the field knows."
        "Use one of the words that the message lists.";
    NumberOutOfRange "MZ0134" "number-out-of-range" Error
        "A number is within the bounds that its field has."
        "Use a number within the bounds.";
    ControlCharacter "MZ0135" "control-character" Error
        "A text that becomes part of a request has no control characters."
        "Remove the control characters.";
    EntryEmpty "MZ0136" "entry-empty" Error
        "Entries of a list say something."
        "Remove the empty entry.";
    LabelInvalid "MZ0137" "label-invalid" Error
        "Names and values of labels are what Kubernetes allows."
        "Use at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit.";
    UriInvalid "MZ0138" "uri-invalid" Error
        "A URI has a scheme that the field allows, and a host."
        "Write a URI such as https://example.com/path.";
    NameDuplicate "MZ0139" "name-duplicate" Error
        "Names tell the entries of a list apart."
        "Give each entry its own name.";
    ListInvalid "MZ0140" "list-invalid" Error
        "A list has as many entries as the field allows."
        "Use fewer entries.";
    LocalityInvalid "MZ0141" "locality-invalid" Error
        "A locality is region/zone/sub-zone; `*` stands only in place of a whole last part."
        "Write region, region/zone, or region/zone/sub-zone.";
    StringMatchEmpty "MZ0142" "string-match-empty" Error
        "A condition on a text says exact, prefix or regex, and a prefix is not empty."
        "Set one of exact, prefix and regex; to ask for presence of a header leave the whole condition empty.";
    CommandInvalid "MZ0199" "command-invalid" Error
        "A command between percent signs is one that Envoy has, with the parameters that it takes."
        "Correct the command, or write %% for a percent sign.";

    // Gateway.
    ServersMissing "MZ0201" "servers-missing" Error
        "A Gateway has servers."
        "Add a server with a port and hosts.";
    ServerHostsMissing "MZ0202" "server-hosts-missing" Error
        "A server has a host that can be used."
        "Add a host; \"*\" is any.";
    ServerHostShort "MZ0203" "server-host-short" Error
        "The hosts of a server are fully qualified: short names have no namespace there."
        "Write the full name of the host.";
    ServerNameDuplicate "MZ0204" "server-name-duplicate" Error
        "Names tell the servers of a Gateway apart."
        "Give each server its own name, or none.";
    ServerPortNameDuplicate "MZ0205" "server-port-name-duplicate" Error
        "The servers of a Gateway have ports of different names."
        "Give each port its own name.";
    ServerTlsMissing "MZ0206" "server-tls-missing" Error
        "A server of protocol HTTPS or TLS says tls."
        "Add tls with a mode, or use HTTP or TCP.";
    ServerTlsUnexpected "MZ0207" "server-tls-unexpected" Error
        "A server of a plaintext protocol says no tls, except httpsRedirect of HTTP."
        "Remove tls, or use protocol HTTPS or TLS.";
    ServerTargetPort "MZ0208" "server-target-port" Error
        "The port of a server has no targetPort."
        "Remove targetPort: the Service of the gateway maps ports.";
    CertificateMissing "MZ0209" "certificate-missing" Error
        "Modes SIMPLE, MUTUAL and OPTIONAL_MUTUAL have a certificate with its key."
        "Set credentialName, credentialNames, tlsCertificates, or serverCertificate with privateKey.";
    CertificateAmbiguous "MZ0210" "certificate-ambiguous" Error
        "The certificate of a server comes from one source."
        "Keep one of credentialName, credentialNames, tlsCertificates and serverCertificate.";
    CertificateUnexpected "MZ0211" "certificate-unexpected" Error
        "Mode ISTIO_MUTUAL uses the certificates of the mesh, and no others."
        "Remove the certificates, or use mode MUTUAL.";
    CertificateUnused "MZ0212" "certificate-unused" Warning
        "Where TLS passes through, no certificate is named."
        "Remove the certificate, or end TLS at the gateway by mode SIMPLE.";
    CertificatesTooMany "MZ0213" "certificates-too-many" Error
        "A server has at most two certificates, one for each kind of key."
        "Keep one with an RSA key and one with an ECDSA key.";
    ClientAuthorityMissing "MZ0214" "client-authority-missing" Error
        "Modes MUTUAL and OPTIONAL_MUTUAL say who signs the certificates of clients."
        "Set caCertificates, caCertCredentialName or a credential that holds one.";
    CertificateHashInvalid "MZ0215" "certificate-hash-invalid" Error
        "Hashes of certificates are SHA-256, of keys in base64 and of certificates in hexadecimal digits."
        "Compute the hash anew.";
    TlsVersionsCrossed "MZ0216" "tls-versions-crossed" Error
        "The lowest TLS version is not above the highest."
        "Lower minProtocolVersion, or raise maxProtocolVersion.";
    TlsVersionOld "MZ0217" "tls-version-old" Warning
        "TLS is at least version 1.2; Envoy offers no ciphers for older ones unless it is told to."
        "Use TLSV1_2 or TLSV1_3.";
    CipherUnknown "MZ0218" "cipher-unknown" Warning
        "A cipher suite is one that Envoy knows."
        "Use names such as ECDHE-RSA-AES128-GCM-SHA256.";
    CipherDuplicate "MZ0219" "cipher-duplicate" Warning
        "A cipher suite is listed once."
        "Remove one of the two.";
    RedirectNotHttp "MZ0220" "redirect-not-http" Warning
        "httpsRedirect stands on a server of plaintext HTTP."
        "Remove httpsRedirect, or put it on the HTTP server.";
    CertificateIncomplete "MZ0221" "certificate-incomplete" Error
        "A certificate has its key, and a key its certificate."
        "Set both serverCertificate and privateKey.";
    TlsModeUnsupported "MZ0222" "tls-mode-unsupported" Warning
        "The TLS mode of a server is one that is programmed."
        "Use PASSTHROUGH, SIMPLE, MUTUAL, OPTIONAL_MUTUAL or ISTIO_MUTUAL.";

    // VirtualService.
    RulesMissing "MZ0301" "rules-missing" Error
        "A VirtualService has rules: http, tls or tcp."
        "Add rules.";
    DelegateWithGateways "MZ0302" "delegate-with-gateways" Error
        "A VirtualService without hosts is a delegate, which applies where its root does: it names no gateways."
        "Remove gateways, or add hosts.";
    DelegateWithConnections "MZ0303" "delegate-with-connections" Error
        "A VirtualService without hosts is a delegate, which has only http rules."
        "Remove tls and tcp, or add hosts.";
    GatewayNameInvalid "MZ0304" "gateway-name-invalid" Error
        "A gateway is named by namespace/name, name, or mesh."
        "Write namespace/name.";
    GatewayNameQualified "MZ0305" "gateway-name-qualified" Warning
        "A gateway is named by namespace/name, not by a DNS name."
        "Write namespace/name.";
    WildcardInMesh "MZ0306" "wildcard-in-mesh" Error
        "Host `*` is routed by gateways only, not in the mesh."
        "Name gateways without mesh, or hosts.";
    ActionAmbiguous "MZ0307" "action-ambiguous" Error
        "An HTTP rule has one of route, redirect, directResponse and delegate."
        "Keep one of them.";
    DestinationMissing "MZ0308" "destination-missing" Error
        "A rule for connections has destinations."
        "Add a destination.";
    MirrorAmbiguous "MZ0309" "mirror-ambiguous" Error
        "A rule has mirror or mirrors, not both."
        "Move mirror into mirrors.";
    RedirectCodeInvalid "MZ0310" "redirect-code-invalid" Error
        "The code of a redirect is 301, 302, 303, 307 or 308."
        "Use one of them, or leave redirectCode out for 301.";
    RedirectEmpty "MZ0311" "redirect-empty" Error
        "A redirect leads somewhere else."
        "Set uri, prefixRewrite, authority, scheme, port or derivePort.";
    ResponseTooLarge "MZ0312" "response-too-large" Error
        "The body of a direct response has at most 1 MiB."
        "Shorten the body, or serve it by a service.";
    ResponseLarge "MZ0313" "response-large" Warning
        "The body of a direct response has at most 100 KiB: every proxy holds it in memory."
        "Shorten the body, or serve it by a service.";
    StatusOutOfRange "MZ0314" "status-out-of-range" Error
        "The status of a response is from 200 to 599."
        "Use a status from 200 to 599.";
    RetryConditionUnknown "MZ0315" "retry-condition-unknown" Error
        "retryOn lists statuses and conditions that Envoy knows."
        "Use statuses or conditions such as 5xx, reset, connect-failure, unavailable.";
    RewriteEmpty "MZ0316" "rewrite-empty" Error
        "A rewrite changes something."
        "Set uri, uriRegexRewrite or authority, or remove rewrite.";
    AuthorityAmbiguous "MZ0317" "authority-ambiguous" Error
        "The host of a request is changed in one place: rewrite.authority, or the header Host."
        "Keep one of them.";
    SubstitutionInvalid "MZ0318" "substitution-invalid" Error
        "A substitution refers to groups that its expression has; a backslash stands before a digit or a backslash."
        "Correct the substitution.";
    ClaimInMesh "MZ0319" "claim-in-mesh" Error
        "Claims of tokens are matched on gateways only: sidecars do not verify tokens of clients."
        "Remove mesh from the gateways, or the condition.";
    SniHostsMissing "MZ0320" "sni-hosts-missing" Error
        "A TLS rule has conditions with sniHosts."
        "Add a condition with sniHosts.";
    SniOutsideHosts "MZ0321" "sni-outside-hosts" Error
        "The sniHosts of a TLS rule are within the hosts of the object."
        "Add the name to spec.hosts, or correct it.";
    DelegateChained "MZ0322" "delegate-chained" Error
        "A delegate does not delegate further."
        "Name the last VirtualService directly.";
    SubsetNameInvalid "MZ0323" "subset-name-invalid" Error
        "The name of a subset has letters, digits, '-', '.' and '_'."
        "Correct the name.";
    RuleUnreachable "MZ0324" "rule-unreachable" Warning
        "Requests can reach a rule: no earlier one takes them all."
        "Move the rule up, or remove it.";
    MatchUnreachable "MZ0325" "match-unreachable" Warning
        "A condition is not within one that comes before it."
        "Move the condition up, or remove it.";
    FaultEmpty "MZ0326" "fault-empty" Warning
        "A fault injects something."
        "Set delay or abort with a percentage, or remove fault.";
    HostOverlap "MZ0327" "host-overlap" Error
        "Hosts of an object do not stand for the same service."
        "Keep one of the forms.";
    FaultMissing "MZ0328" "fault-missing" Error
        "A fault is a delay or an abort of a kind that Envoy knows."
        "Set delay with fixedDelay, or abort with httpStatus or grpcStatus.";
    RetriesDisabled "MZ0329" "retries-disabled" Error
        "A retry policy with 0 attempts, which turns retries off, says nothing else."
        "Set attempts, or remove the other fields.";
    RedirectPrefixUnfit "MZ0330" "redirect-prefix-unfit" Error
        "A redirect that rewrites the prefix stands beside conditions on prefixes."
        "Match uri by prefix, or use redirect.uri.";
    SniAddress "MZ0331" "sni-address" Warning
        "Server names are DNS names; clients send no addresses."
        "Use a DNS name.";


    $($others)*
    } };
}
