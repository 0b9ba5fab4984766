//! RequestAuthentications (translation §8.4). They are not enforced yet, and never silently ignored: the workloads that one
//! selects deny all inbound (design §2, truth 5). What is wrong with their rules is told all the same (contract §10).

mod jwks;
mod uri;

use super::{Flaw, Problems, checks, target::For, unenforced};
use crate::{
    api::{self, request_authentication::JwtRule},
    model::{Code, Problem, UnenforcedPolicy},
};

/// As many rules as the CRD allows.
const MAX_RULES: usize = 4096;
const MAX_CLAIMS: usize = 64;

/// The policy of an object; `None` when it names no tokens, which refuses nothing.
#[must_use]
pub fn convert(policy: &api::RequestAuthentication) -> (Option<UnenforcedPolicy>, Vec<Problem>) {
    let mut problems = Problems::of("RequestAuthentication", &policy.metadata);
    let spec = &policy.spec;
    let whom = For { selector: spec.selector.as_ref(), target: spec.target_ref.as_ref(), targets: &spec.target_refs };
    whom.check(&mut problems);
    checks::list_of_at_most("spec.jwtRules", &spec.jwt_rules, MAX_RULES, &mut problems);
    for (i, rule) in spec.jwt_rules.iter().enumerate() {
        check_rule(&format!("spec.jwtRules[{i}]"), rule, &mut problems);
    }
    if spec.jwt_rules.is_empty() {
        return (None, problems.into_vec());
    }
    let made = unenforced::policy(&policy.metadata, &whom, &mut problems);
    (Some(made), problems.into_vec())
}

fn check_rule(field: &str, rule: &JwtRule, problems: &mut Problems) {
    let at = |name: &str| format!("{field}.{name}");
    if rule.issuer.is_empty() && rule.jwks_uri.is_empty() {
        problems.add(
            Code::IssuerMissing,
            at("issuer"),
            "is empty, and so is jwksUri: nothing says whose tokens these are",
        );
    }
    check_keys(field, rule, problems);
    checks::no_empty_entry(&at("audiences"), &rule.audiences, problems);
    checks::no_empty_entry(&at("fromParams"), &rule.from_params, problems);
    checks::no_empty_entry(&at("fromCookies"), &rule.from_cookies, problems);
    checks::no_empty_entry(&at("spaceDelimitedClaims"), &rule.space_delimited_claims, problems);
    checks::list_of_at_most(&at("spaceDelimitedClaims"), &rule.space_delimited_claims, MAX_CLAIMS, problems);
    for (i, location) in rule.from_headers.iter().enumerate() {
        let field = at(&format!("fromHeaders[{i}]"));
        checks::header_name(&format!("{field}.name"), &location.name, problems);
        if let Some(c) = location.prefix.chars().find(|c| c.is_control()) {
            let reason = format!("{:?} has the control character {c:?}", location.prefix);
            problems.add(Code::ControlCharacter, format!("{field}.prefix"), reason);
        }
    }
    if !rule.output_payload_to_header.is_empty() {
        checks::header_name(&at("outputPayloadToHeader"), &rule.output_payload_to_header, problems);
    }
    for (i, claim) in rule.output_claim_to_headers.iter().enumerate() {
        let field = at(&format!("outputClaimToHeaders[{i}]"));
        checks::header_name(&format!("{field}.header"), &claim.header, problems);
        checks::required(&format!("{field}.claim"), &claim.claim, problems);
    }
    if let Some(timeout) = &rule.timeout {
        checks::duration(&at("timeout"), timeout, problems);
    }
}

/// Where the keys of the issuer are.
fn check_keys(field: &str, rule: &JwtRule, problems: &mut Problems) {
    if !rule.jwks.is_empty() && !rule.jwks_uri.is_empty() {
        problems.add(Code::FieldsExclusive, format!("{field}.jwks"), "cannot be set with jwksUri: keep one of them");
    }
    if !rule.jwks_uri.is_empty()
        && let Err(Flaw { code, reason }) = uri::check(&rule.jwks_uri)
    {
        problems.add(code, format!("{field}.jwksUri"), reason);
    }
    if rule.jwks.is_empty() {
        return;
    }
    match jwks::check(&rule.jwks) {
        Err(why) => problems.add(Code::JwksInvalid, format!("{field}.jwks"), why),
        Ok(private) => {
            for i in private {
                let reason = format!("key {i} has private parts: only public ones are used");
                problems.add(Code::JwksPrivate, format!("{field}.jwks"), reason);
            }
        }
    }
}
