//! HTTP rules.

use super::{names, reader::Reader};
use crate::{
    api::http_route as spec,
    model::{
        Code,
        virtual_service::{HttpAction, HttpDestination, HttpRoute, Mirror},
    },
};

pub(super) fn route(reader: &mut Reader<'_>, index: usize, given: &spec::HttpRoute) -> Option<HttpRoute> {
    let matches = given.r#match.iter().enumerate().map(|(i, m)| reader.http_match(&format!("match[{i}]"), m)).collect();
    let action = action(reader, given);
    check_mirrors(reader, given);
    let mirror = given.mirror.as_ref().and_then(|m| reader.destination("mirror", m));
    let older = given.mirror_percent.map(|p| reader.whole_percent("mirrorPercent", p.into()));
    let mirror_percent = reader.percent("mirrorPercentage", given.mirror_percentage.as_ref()).or(older);
    let mirrors = given.mirrors.iter().enumerate().filter_map(|(i, m)| mirrors(reader, i, m)).collect();
    let timeout = timeout(reader, given);
    check_authority(reader, given);
    Some(HttpRoute {
        name: given.name.as_str().into(),
        index,
        delegate: None,
        matches,
        rewrite: given.rewrite.as_ref().and_then(|r| reader.rewrite(r)),
        timeout,
        retries: given.retries.as_ref().map(|r| reader.retries("retries.", r)),
        fault: given.fault.as_ref().map(|f| reader.fault(f)),
        mirror,
        mirror_percent,
        mirrors,
        cors: given.cors_policy.as_ref().map(|c| reader.cors(c)),
        headers: given.headers.as_ref().map(|h| reader.headers("headers", h)),
        action: action?,
    })
}

/// Reports what only has an effect on requests that are forwarded.
fn check_effect(reader: &mut Reader<'_>, given: &spec::HttpRoute, answered_by: &str) {
    let others = [("rewrite", given.rewrite.is_some()), ("fault", given.fault.is_some())];
    for (field, _) in others.into_iter().filter(|(_, set)| *set) {
        reader.note(Code::FieldsExclusive, field, format!("cannot be set beside {answered_by}"));
    }
    let fields = [
        ("timeout", given.timeout.is_some()),
        ("retries", given.retries.is_some()),
        ("mirror", given.mirror.is_some()),
        ("mirrors", !given.mirrors.is_empty()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
        reader.note(Code::FieldWithoutEffect, field, format!("has no effect beside {answered_by}"));
    }
}

fn check_mirrors(reader: &mut Reader<'_>, given: &spec::HttpRoute) {
    let shares =
        [("mirrorPercentage", given.mirror_percentage.is_some()), ("mirrorPercent", given.mirror_percent.is_some())];
    if given.mirror.is_some() && !given.mirrors.is_empty() {
        reader.error(Code::MirrorAmbiguous, "mirrors", "cannot be set beside mirror");
    }
    if given.mirror_percent.is_some() {
        reader.note(Code::FieldDeprecated, "mirrorPercent", "is deprecated: use mirrorPercentage");
    }
    if given.mirror.is_none() {
        // A delegate's own entries may say which service gets the copies.
        for (field, _) in shares.into_iter().filter(|(_, set)| *set && given.delegate.is_none()) {
            reader.note(Code::FieldWithoutEffect, field, "has no effect without mirror");
        }
    } else if shares.iter().all(|(_, set)| *set) {
        reader.note(Code::FieldWithoutEffect, "mirrorPercent", "has no effect beside mirrorPercentage");
    }
}

/// The beginning of a text, enough to know it.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(64)]
}

/// The host is changed in one place.
fn check_authority(reader: &mut Reader<'_>, given: &spec::HttpRoute) {
    let mut taken = given.rewrite.as_ref().map_or("", |r| &r.authority);
    let ops = given.headers.as_ref().and_then(|h| h.request.as_ref());
    let changes = ops.into_iter().flat_map(|ops| [("set", &ops.set), ("add", &ops.add)]);
    for (list, name, value) in changes.flat_map(|(list, map)| map.iter().map(move |(name, value)| (list, name, value)))
    {
        if !(name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")) {
            continue;
        }
        if taken.is_empty() {
            taken = value;
        } else {
            let reason = format!("{value:?}: the host is already changed to {:?}", cut(taken));
            reader.error(Code::AuthorityAmbiguous, &format!("headers.request.{list}[{name:?}]"), reason);
        }
    }
}

/// The reference takes no zero, although Envoy does: none is what holds without the field. A stored one is used.
fn timeout(reader: &mut Reader<'_>, given: &spec::HttpRoute) -> Option<std::time::Duration> {
    let zero = given.timeout.as_ref().and_then(|t| std::time::Duration::try_from(t).ok()).filter(|t| t.is_zero());
    if zero.is_some() {
        reader.note(Code::DurationTooShort, "timeout", "0s is no timeout, which is the default: leave it out");
    }
    zero.or_else(|| reader.duration("timeout", given.timeout.as_ref()))
}

fn mirrors(reader: &mut Reader<'_>, index: usize, given: &spec::HttpMirrorPolicy) -> Option<Mirror> {
    let percent = reader.percent(&format!("mirrors[{index}].percentage"), given.percentage.as_ref());
    let destination = reader.destination(&format!("mirrors[{index}].destination"), &given.destination)?;
    Some(Mirror { destination, percent })
}

/// Exactly one of `route`, `redirect`, `directResponse` and `delegate`.
fn action(reader: &mut Reader<'_>, given: &spec::HttpRoute) -> Option<HttpAction> {
    let set = [
        ("route", !given.route.is_empty()),
        ("redirect", given.redirect.is_some()),
        ("directResponse", given.direct_response.is_some()),
        ("delegate", given.delegate.is_some()),
    ];
    let set: Vec<&str> = set.into_iter().filter_map(|(name, set)| set.then_some(name)).collect();
    if set.len() != 1 {
        let found = if set.is_empty() { "none is set".to_owned() } else { format!("{} are set", set.join(" and ")) };
        reader.error(
            Code::ActionAmbiguous,
            "",
            format!("exactly one of route, redirect, directResponse and delegate is needed, {found}"),
        );
        // What is wrong with each of them is told all the same.
        drop(given.redirect.as_ref().map(|to| reader.redirect(to, &given.r#match)));
        drop(given.direct_response.as_ref().map(|answer| reader.direct_response(answer)));
        drop(given.delegate.as_ref().map(|delegate| reader.delegate(delegate)));
        drop(destinations(reader, &given.route));
        return None;
    }
    if given.redirect.is_some() || given.direct_response.is_some() {
        check_effect(reader, given, set[0]);
    }
    match given {
        spec::HttpRoute { redirect: Some(to), .. } => reader.redirect(to, &given.r#match).map(HttpAction::Redirect),
        spec::HttpRoute { direct_response: Some(answer), .. } => {
            reader.direct_response(answer).map(HttpAction::DirectResponse)
        }
        spec::HttpRoute { delegate: Some(delegate), .. } => reader.delegate(delegate),
        _ => destinations(reader, &given.route).map(HttpAction::Route),
    }
}

fn destinations(reader: &mut Reader<'_>, given: &[spec::HttpRouteDestination]) -> Option<Vec<HttpDestination>> {
    let weights: Vec<i32> = given.iter().map(|d| d.weight).collect();
    let (weights, flaws) = names::weights(&weights);
    flaws.into_iter().for_each(|(at, flaw)| reader.flaw(&format!("route[{at}].weight"), flaw));
    let mut made = Vec::with_capacity(given.len());
    for (at, (to, weight)) in given.iter().zip(weights).enumerate() {
        let headers = to.headers.as_ref().map(|h| reader.headers(&format!("route[{at}].headers"), h));
        let destination = reader.destination(&format!("route[{at}].destination"), &to.destination);
        made.extend(destination.map(|destination| HttpDestination {
            destination,
            weight,
            headers: headers.unwrap_or_default(),
        }));
    }
    Some(made)
}

impl Reader<'_> {
    fn delegate(&mut self, given: &spec::Delegate) -> Option<HttpAction> {
        if self.site.delegate {
            self.error(Code::DelegateChained, "delegate", "a VirtualService without hosts cannot delegate further");
        }
        if given.name.is_empty() {
            self.error(Code::FieldMissing, "delegate.name", "the name of a VirtualService is needed");
        }
        let namespace = match given.namespace.as_str() {
            "" => self.site.namespace.clone(),
            other => other.into(),
        };
        Some(HttpAction::Delegate { namespace, name: given.name.as_str().into() })
    }
}
