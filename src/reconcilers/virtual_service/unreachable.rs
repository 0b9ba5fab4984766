//! Rules and conditions that no request reaches, because earlier ones take all of them. What can be told for certain
//! is told: a rule without conditions takes everything, a condition takes what the same one with more behind its prefix
//! would, and the same condition twice takes nothing the second time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
};

use serde::Serialize;

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
    rules("http", http, problems, &mut |at, condition: &HttpMatch, remember| seen.covered(at, condition, remember));
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
    covered: &mut dyn FnMut(Place, &M, bool) -> Option<Place>,
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

fn one<M>(
    list: &str,
    index: usize,
    rule: &Rule<'_, M>,
    problems: &mut Problems,
    covered: &mut dyn FnMut(Place, &M, bool) -> Option<Place>,
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
fn once<M: Serialize>(count: usize) -> impl FnMut(Place, &M, bool) -> Option<Place> {
    let mut seen: HashMap<String, Place> = HashMap::new();
    move |at, condition, _| {
        if count < 2 {
            return None;
        }
        let text = serde_json::to_string(condition).ok()?;
        if let Some(first) = seen.get(&text) {
            return Some(*first);
        }
        seen.insert(text, at);
        None
    }
}

/// Earlier conditions, by all that they ask but of the path.
#[derive(Default)]
struct Seen {
    started: bool,
    first: Option<(Place, HttpMatch)>,
    groups: HashMap<String, Group>,
}

/// What conditions ask of the path that ask the same of everything else.
#[derive(Default)]
struct Group {
    /// None of them is the beginning of another one.
    prefixes: BTreeMap<String, Place>,
    others: HashMap<String, Place>,
    any: Option<Place>,
}

impl Seen {
    fn covered(&mut self, at: Place, condition: &HttpMatch, takes_all: bool) -> Option<Place> {
        // Most objects have one condition: nothing is written for them.
        if !self.started {
            self.started = true;
            self.first = takes_all.then(|| (at, condition.clone()));
            return None;
        }
        if let Some((place, first)) = self.first.take() {
            self.look(place, &first, true);
        }
        self.look(at, condition, takes_all)
    }

    fn look(&mut self, at: Place, condition: &HttpMatch, takes_all: bool) -> Option<Place> {
        let path = condition.uri.clone();
        let rest = HttpMatch { uri: None, name: String::new(), stat_prefix: String::new(), ..condition.clone() };
        let key = serde_json::to_string(&rest).ok()?;
        let mut keys = HashSet::from([key.as_str()]);
        // What asks nothing but a path takes whatever else is asked, but not in another case.
        keys.extend((!condition.ignore_uri_case).then_some("{}"));
        let found = keys.iter().filter_map(|key| self.groups.get(*key)?.covers(path.as_ref())).min();
        if found.is_none() && takes_all {
            self.groups.entry(key).or_default().add(path, at);
        }
        found
    }
}

impl Group {
    fn covers(&self, path: Option<&StringMatch>) -> Option<Place> {
        if self.any.is_some() {
            return self.any;
        }
        let path = path?;
        let the_same = || self.others.get(&serde_json::to_string(path).ok()?).copied();
        let (StringMatch { prefix: Some(text), .. } | StringMatch { exact: Some(text), .. }) = path else {
            return the_same();
        };
        // Of texts none of which begins another, only the last one up to here can be the beginning.
        let last = self.prefixes.range::<str, _>((Bound::Unbounded, Bound::Included(text.as_str()))).next_back();
        let begins = last.filter(|(prefix, _)| text.starts_with(prefix.as_str())).map(|(_, place)| *place);
        begins.or_else(the_same)
    }

    fn add(&mut self, path: Option<StringMatch>, at: Place) {
        let Some(path) = path else {
            self.any = Some(at);
            return;
        };
        if let Some(prefix) = path.prefix {
            let longer: Vec<String> = self
                .prefixes
                .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
                .take_while(|(text, _)| text.starts_with(&prefix))
                .map(|(text, _)| text.clone())
                .collect();
            longer.iter().for_each(|text| _ = self.prefixes.remove(text));
            self.prefixes.insert(prefix, at);
        } else if let Ok(text) = serde_json::to_string(&path) {
            self.others.insert(text, at);
        }
    }
}
