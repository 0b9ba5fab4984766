//! RequestAuthentication: which tokens are valid.

use super::common::{MatchLabels, PolicyTargetReference, Status};
use super::rules::{alias, at_most_one, pattern, rule};
use super::{Duration, is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which JSON web tokens are valid. Requests with an invalid one are refused; those without pass.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "security.istio.io",
    version = "v1",
    kind = "RequestAuthentication",
    plural = "requestauthentications",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    shortname = "ra",
    category = "istio-io",
    category = "security-istio-io"
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = at_most_one(&["selector", "targetRef", "targetRefs"]))]
pub struct RequestAuthenticationSpec {
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
    /// Kinds of tokens that are valid.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 4096))]
    pub jwt_rules: Vec<JwtRule>,
}

/// A kind of token that is valid.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = alias("jwksUri", "jwks_uri"))]
#[schemars(transform = at_most_one(&["jwksUri", "jwks_uri", "jwks"]))]
pub struct JwtRule {
    /// Who issues it.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(min = 1))]
    pub issuer: String,
    /// Audiences of which it must name one; by default any.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(inner(length(min = 1)))]
    pub audiences: Vec<String>,
    /// Where the issuer's keys are; by default asked of the issuer.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[serde(alias = "jwks_uri")]
    #[schemars(length(min = 1, max = 2048))]
    #[schemars(transform = rule("url(self).getScheme() in ['http', 'https']", "the scheme must be http or https"))]
    pub jwks_uri: String,
    /// The issuer's keys.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub jwks: String,
    /// Headers it is read from; by default `Authorization` with `Bearer`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters it is read from; by default `access_token`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(inner(length(min = 1)))]
    pub from_params: Vec<String>,
    /// Header that gets the payload, base64url.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub output_payload_to_header: String,
    /// Whether it is forwarded.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub forward_original_token: bool,
    /// Claims that are copied into headers.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// How long fetching keys may take; 5 s by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub timeout: Option<Duration>,
    /// Cookies it is read from.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(inner(length(min = 1)))]
    pub from_cookies: Vec<String>,
    /// Claims that are lists separated by spaces, besides `scope` and `permission`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 64), inner(length(min = 1)))]
    pub space_delimited_claims: Vec<String>,
}

/// A header that holds a token.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtHeader {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What stands before the token, such as `Bearer ` with the space.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub prefix: String,
}

/// A claim that is copied into a header.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimToHeader {
    /// Name of the header.
    #[schemars(length(min = 1), transform = pattern("^[-_A-Za-z0-9]+$"))]
    pub header: String,
    /// Name of the claim, `.` for nested ones.
    #[schemars(length(min = 1))]
    pub claim: String,
}
