//! Rules and conditions that no request reaches, because earlier ones take all of them. What can be told for certain
//! is told: a rule without conditions takes everything, a condition takes what the same one with more behind its prefix
//! would, and the same condition twice takes nothing the second time.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    hash::{Hash, Hasher},
    ops::Bound,
    sync::LazyLock,
};

use crate::{
    api::{common::StringMatch, http_route::HttpMatch, virtual_service as spec},
    model::Code,
    reconcilers::Problems,
};

/// Reports them.
pub(super) fn check(spec: &spec::VirtualServiceSpec, problems: &mut Problems) {
    let http = spec.http.iter().map(|rule| Rule {
        conditions: &rule.r#match,
        // What its delegate does not take goes on to the next rule.
        takes_all: rule.delegate.is_none(),
    });
    let mut seen = Seen::default();
    rules("http", http, problems, &mut |at, condition, takes_all| seen.covered(at, condition, takes_all));
    let tls = spec.tls.iter().map(|rule| Rule { conditions: &rule.r#match, takes_all: true });
    rules("tls", tls, problems, &mut once(spec.tls.iter().map(|r| r.r#match.len()).sum()));
    let tcp = spec.tcp.iter().map(|rule| Rule { conditions: &rule.r#match, takes_all: true });
    rules("tcp", tcp, problems, &mut once(spec.tcp.iter().map(|r| r.r#match.len()).sum()));
}

struct Rule<'a, M> {
    conditions: &'a [M],
    takes_all: bool,
}

/// Where a condition stands: rule and condition.
type Place = (usize, usize);

/// `covered` says which earlier condition takes all that one would.
fn rules<'a, M: 'a>(
    list: &str,
    rules: impl ExactSizeIterator<Item = Rule<'a, M>>,
    problems: &mut Problems,
    covered: &mut dyn FnMut(Place, &'a M, bool) -> Option<Place>,
) {
    if rules.len() == 1 {
        let only = rules.into_iter().next();
        return only.into_iter().for_each(|rule| one(list, 0, &rule, problems, covered));
    }
    let mut everything: Option<usize> = None;
    for (index, rule) in rules.enumerate() {
        if let Some(first) = everything {
            let reason = format!("no request reaches it: spec.{list}[{first}] has no conditions and takes all");
            problems.add(Code::RuleUnreachable, format!("spec.{list}[{index}]"), reason);
            continue;
        }
        if rule.conditions.is_empty() && rule.takes_all && list != "tls" {
            everything = Some(index);
        }
        one(list, index, &rule, problems, covered);
    }
}

fn one<'a, M>(
    list: &str,
    index: usize,
    rule: &Rule<'a, M>,
    problems: &mut Problems,
    covered: &mut dyn FnMut(Place, &'a M, bool) -> Option<Place>,
) {
    let conditions = rule.conditions.iter().enumerate();
    let lost: Vec<(usize, Place)> =
        conditions.filter_map(|(at, m)| Some((at, covered((index, at), m, rule.takes_all)?))).collect();
    let text = |(rule, at): Place| format!("spec.{list}[{rule}].match[{at}]");
    if lost.len() == rule.conditions.len() && lost.iter().any(|(_, by)| by.0 != index) {
        let reason = format!("no request reaches it: {} takes all that its conditions would", text(lost[0].1));
        problems.add(Code::RuleUnreachable, format!("spec.{list}[{index}]"), reason);
        return;
    }
    for (at, by) in lost {
        let reason = format!("no request reaches it: {} takes all that it would", text(by));
        problems.add(Code::MatchUnreachable, text((index, at)), reason);
    }
}

/// The same condition twice, for lists of at least two.
fn once<'a, M: Hash + Eq + 'a>(count: usize) -> impl FnMut(Place, &'a M, bool) -> Option<Place> {
    let mut seen: HashMap<&M, Place> = HashMap::new();
    move |at, condition, _| {
        if count < 2 {
            return None;
        }
        match seen.entry(condition) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(free) => {
                free.insert(at);
                None
            }
        }
    }
}

/// What a condition asks of everything but the path; its names do not matter.
struct Rest<'a>(&'a HttpMatch);

impl<'a> Rest<'a> {
    fn parts(&self) -> impl Hash + Eq + use<'a> {
        let HttpMatch {
            name: _,
            uri: _,
            scheme,
            method,
            authority,
            headers,
            port,
            source_labels,
            gateways,
            query_params,
            ignore_uri_case,
            without_headers,
            source_namespace,
            stat_prefix: _,
        } = self.0;
        let of_request = (scheme, method, authority, headers, query_params, without_headers, ignore_uri_case);
        (of_request, (port, source_labels, gateways, source_namespace))
    }
}

impl Hash for Rest<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for Rest<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Rest<'_> {}

/// Earlier conditions, by all that they ask but of the path.
#[derive(Default)]
struct Seen<'a> {
    groups: HashMap<Rest<'a>, Group<'a>>,
}

/// What conditions ask of the path that ask the same of everything else.
#[derive(Default)]
struct Group<'a> {
    /// None of them is the beginning of another one.
    prefixes: BTreeMap<&'a str, Place>,
    others: HashMap<&'a StringMatch, Place>,
    any: Option<Place>,
}

/// Asks nothing.
static NOTHING: LazyLock<HttpMatch> = LazyLock::new(HttpMatch::default);

impl<'a> Seen<'a> {
    fn covered(&mut self, at: Place, condition: &'a HttpMatch, takes_all: bool) -> Option<Place> {
        let path = condition.uri.as_ref();
        let covers = |rest: &Rest<'_>| self.groups.get(rest)?.covers(path);
        // What asks nothing but a path takes whatever else is asked, but not in another case.
        let by_path = if condition.ignore_uri_case { None } else { covers(&Rest(&NOTHING)) };
        let found = covers(&Rest(condition)).into_iter().chain(by_path).min();
        if found.is_none() && takes_all {
            self.groups.entry(Rest(condition)).or_default().add(path, at);
        }
        found
    }
}

impl<'a> Group<'a> {
    fn covers(&self, path: Option<&StringMatch>) -> Option<Place> {
        if self.any.is_some() {
            return self.any;
        }
        let path = path?;
        let the_same = || self.others.get(path).copied();
        let (StringMatch { prefix: Some(text), .. } | StringMatch { exact: Some(text), .. }) = path else {
            return the_same();
        };
        // Of texts none of which begins another, only the last one up to here can be the beginning.
        let last = self.prefixes.range::<str, _>((Bound::Unbounded, Bound::Included(text.as_str()))).next_back();
        let begins = last.filter(|(prefix, _)| text.starts_with(**prefix)).map(|(_, place)| *place);
        begins.or_else(the_same)
    }

    fn add(&mut self, path: Option<&'a StringMatch>, at: Place) {
        let Some(path) = path else {
            self.any = Some(at);
            return;
        };
        let Some(prefix) = path.prefix.as_deref() else {
            self.others.insert(path, at);
            return;
        };
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let longer = self.prefixes.range::<str, _>(from).map(|(text, _)| *text);
        let longer: Vec<&str> = longer.take_while(|text| text.starts_with(prefix)).collect();
        longer.iter().for_each(|text| _ = self.prefixes.remove(text));
        self.prefixes.insert(prefix, at);
    }
}
