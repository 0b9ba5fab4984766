//! AuthorizationPolicy: who may do what.

use super::common::{MatchLabels, PolicyTargetReference, Status};
use super::rules::{at_most_one, rule};
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const SERVICE_ACCOUNTS: &str = "!(has(self.serviceAccounts) || has(self.notServiceAccounts)) || \
!(has(self.principals) || has(self.notPrincipals) || has(self.namespaces) || has(self.notNamespaces))";

/// Allows, denies, audits or delegates requests to some workloads.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "security.istio.io",
    version = "v1",
    kind = "AuthorizationPolicy",
    plural = "authorizationpolicies",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    shortname = "ap",
    category = "istio-io",
    category = "security-istio-io",
    printcolumn = r#"{"name": "Action", "type": "string", "jsonPath": ".spec.action"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = at_most_one(&["selector", "targetRef", "targetRefs"]))]
pub struct AuthorizationPolicySpec {
    /// Workloads it is for; by default all of the namespace.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub selector: Option<MatchLabels>,
    /// Resource it is for. Deprecated, see `targetRefs`.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub target_ref: Option<PolicyTargetReference>,
    /// Resources it is for.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<PolicyTargetReference>,
    /// Requests that match; none match without rules.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 512))]
    pub rules: Vec<Rule>,
    /// What happens to them.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub action: Action,
    /// Who decides, with `CUSTOM`.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub provider: Option<ExtensionProvider>,
}

/// What happens to requests that match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// They pass; others are refused.
    #[default]
    Allow,
    /// They are refused.
    Deny,
    /// They are recorded.
    Audit,
    /// A provider decides.
    Custom,
}

/// A provider of the mesh configuration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionProvider {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
}

/// Requests that match: from, to and when must all hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Sources, of which one must match; any by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(with = "Vec<RuleFrom>", length(max = 512))]
    pub from: Option<Vec<RuleFrom>>,
    /// Operations, of which one must match; any by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(with = "Vec<RuleTo>")]
    pub to: Option<Vec<RuleTo>>,
    /// Conditions, all of which must hold.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub when: Vec<Condition>,
}

/// A source.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleFrom {
    /// Its properties.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub source: Option<Source>,
}

/// An operation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleTo {
    /// Its properties.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub operation: Option<Operation>,
}

/// Properties of the client; all members must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(SERVICE_ACCOUNTS, "serviceAccounts exclude principals and namespaces"))]
pub struct Source {
    /// Identities of its certificate, `domain/ns/namespace/sa/account`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub principals: Vec<String>,
    /// Identities that it must not have.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub not_principals: Vec<String>,
    /// Identities of its token, `issuer/subject`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub request_principals: Vec<String>,
    /// Identities that its token must not have.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub not_request_principals: Vec<String>,
    /// Namespaces of its certificate.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub namespaces: Vec<String>,
    /// Namespaces that it must not be in.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub not_namespaces: Vec<String>,
    /// Addresses of the connection, as CIDR.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub ip_blocks: Vec<String>,
    /// Addresses that the connection must not have.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub not_ip_blocks: Vec<String>,
    /// Addresses of the original client, as CIDR.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub remote_ip_blocks: Vec<String>,
    /// Addresses that the original client must not have.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub not_remote_ip_blocks: Vec<String>,
    /// Service accounts, `name` or `namespace/name`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 16), inner(length(max = 320)))]
    pub service_accounts: Vec<String>,
    /// Service accounts that it must not have.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 16), inner(length(max = 320)))]
    pub not_service_accounts: Vec<String>,
    /// Trust domains of its certificate.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub trust_domains: Vec<String>,
    /// Trust domains that it must not be of.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub not_trust_domains: Vec<String>,
}

/// Properties of the request; all members must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Host headers.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub hosts: Vec<String>,
    /// Host headers that it must not have.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub not_hosts: Vec<String>,
    /// Ports.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub ports: Vec<String>,
    /// Ports that it must not be for.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub not_ports: Vec<String>,
    /// Methods.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub methods: Vec<String>,
    /// Methods that it must not have.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub not_methods: Vec<String>,
    /// Paths, or templates with `{*}` and `{**}`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub paths: Vec<String>,
    /// Paths that it must not have.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub not_paths: Vec<String>,
}

/// A condition on an attribute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The attribute, such as `request.headers[x]`.
    pub key: String,
    /// Values of which it must have one.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub values: Vec<String>,
    /// Values that it must not have.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub not_values: Vec<String>,
}
