//! The conditions of an object, of what all replicas report of it. No I/O.

use k8s_openapi::{
    apimachinery::pkg::{apis::meta::v1::Time, util::intstr::IntOrString},
    jiff::Timestamp,
};
use serde_json::{Value, json};

use crate::api::{
    common::{Condition, Status},
    status::ObjectReport,
};

/// That nothing is wrong with an object.
pub(super) const ACCEPTED: &str = "Accepted";
/// That all proxies that it concerns have it.
pub(super) const PROGRAMMED: &str = "Programmed";

/// Why an object is not accepted.
pub(super) const INVALID: &str = "Invalid";

/// What is to be said of an object: status, reason and message of each condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) uid: String,
    pub(super) generation: i64,
    accepted: Said,
    programmed: Option<Said>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    is_true: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    /// Of reports about one object; `None` without any. The newest version counts: who reports an older one has nothing of
    /// the newest yet. Of some kinds it is not known which proxies have an object.
    pub(super) fn of<'a>(is_programmed: bool, reports: impl Iterator<Item = &'a ObjectReport> + Clone) -> Option<Self> {
        let newest = reports.clone().max_by_key(|report| report.generation)?;
        let of_newest = reports.clone().filter(|report| report.generation == newest.generation);
        let proxies: u32 = reports.map(|report| report.proxies).sum();
        let programmed: u32 = of_newest.clone().map(|report| report.programmed).sum();
        let rejected: u32 = of_newest.clone().map(|report| report.rejected).sum();
        let reason = of_newest.clone().map(|report| report.reason.as_str()).find(|reason| !reason.is_empty());
        let first = |text: fn(&ObjectReport) -> &str| of_newest.clone().map(text).find(|text| !text.is_empty());
        let problem = first(|report| &report.problem);
        let warning = first(|report| &report.warning);
        Some(Self {
            uid: newest.uid.clone(),
            generation: newest.generation,
            accepted: Said {
                is_true: problem.is_none(),
                reason: if problem.is_none() { "Accepted" } else { INVALID },
                message: problem.or(warning).unwrap_or_default().to_owned(),
            },
            programmed: is_programmed.then(|| programmed_said(proxies, programmed, rejected, reason)),
        })
    }

    /// What is wrong with the object.
    pub(super) fn problem(&self) -> Option<&str> {
        (!self.accepted.is_true).then_some(&*self.accepted.message)
    }

    /// Whether a status says the same. Where nothing but acceptance is told, that goes without saying, unless
    /// there is something to say.
    pub(super) fn is_said_by(&self, status: &Status) -> bool {
        self.agrees(status, |condition, said| condition.message == said.message)
            || self.programmed.is_none()
                && self.accepted.is_true
                && self.accepted.message.is_empty()
                && condition_of(status, ACCEPTED).is_none()
    }

    /// Whether only numbers differ from what a status says: that can wait.
    pub(super) fn is_meant_by(&self, status: &Status) -> bool {
        self.agrees(status, |_, _| true)
    }

    fn agrees(&self, status: &Status, more: impl Fn(&Condition, &Said) -> bool) -> bool {
        self.said().all(|(name, said)| {
            condition_of(status, name).is_some_and(|condition| {
                condition.status == said.status()
                    && condition.reason == said.reason
                    && number(&condition.observed_generation) == Some(self.generation)
                    && more(condition, said)
            })
        })
    }

    /// Each condition that is to be there.
    fn said(&self) -> impl Iterator<Item = (&'static str, &Said)> {
        let programmed = self.programmed.iter().map(|said| (PROGRAMMED, said));
        [(ACCEPTED, &self.accepted)].into_iter().chain(programmed)
    }

    /// The status that says it. A condition that stays what it was keeps the time of its last transition.
    pub(super) fn status(&self, before: &Status, now: Timestamp) -> Status {
        let generation = i32::try_from(self.generation).map(IntOrString::Int);
        let observed_generation = Some(generation.unwrap_or_else(|_| IntOrString::String(self.generation.to_string())));
        let condition = |(name, said): (&str, &Said)| {
            let was = condition_of(before, name).filter(|c| c.status == said.status());
            Condition {
                condition_type: name.to_owned(),
                status: said.status().to_owned(),
                last_transition_time: was.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
                reason: said.reason.to_owned(),
                message: said.message.clone(),
                observed_generation: observed_generation.clone(),
                ..Condition::default()
            }
        };
        // Conditions are one list: what others have said stays.
        let others = before.conditions.iter().filter(|c| self.said().all(|(name, _)| name != c.condition_type));
        Status {
            conditions: self.said().map(condition).chain(others.cloned()).collect(),
            observed_generation: observed_generation.clone(),
            ..Status::default()
        }
    }
}

/// What a status says is wrong with the object.
pub(super) fn told(status: &Status) -> Option<&str> {
    condition_of(status, ACCEPTED).filter(|c| c.status == "False").map(|c| &*c.message)
}

fn condition_of<'a>(status: &'a Status, name: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.condition_type == name)
}

impl Said {
    fn status(&self) -> &'static str {
        if self.is_true { "True" } else { "False" }
    }
}

fn programmed_said(proxies: u32, programmed: u32, rejected: u32, reason: Option<&str>) -> Said {
    let of_all = format!("{programmed}/{proxies} proxies");
    match (proxies, rejected) {
        (0, _) => Said {
            is_true: false,
            reason: "NoProxies",
            message: format!("{of_all}: nothing that a connected proxy has is made of it"),
        },
        (_, 0) => Said {
            is_true: programmed == proxies,
            reason: if programmed == proxies { "Programmed" } else { "Pending" },
            message: of_all,
        },
        _ => {
            let message = format!("{of_all}, {rejected} refuse it: {}", reason.unwrap_or("no reason was given"));
            Said { is_true: false, reason: "Rejected", message }
        }
    }
}

fn number(text: &Option<IntOrString>) -> Option<i64> {
    match text {
        Some(IntOrString::Int(number)) => Some(i64::from(*number)),
        Some(IntOrString::String(text)) => text.parse().ok(),
        None => None,
    }
}

/// What is applied to an object that is still the same one.
pub(super) fn patch(api_version: &str, kind: &str, name: &str, uid: &str, status: &Status) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "uid": uid},
        "status": status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(generation: i64, proxies: u32, programmed: u32, rejected: u32) -> ObjectReport {
        ObjectReport {
            uid: "u".to_owned(),
            generation,
            proxies,
            programmed,
            rejected,
            reason: if rejected > 0 { "gw.ns refuses it".to_owned() } else { String::new() },
            ..ObjectReport::default()
        }
    }

    fn said(reports: &[ObjectReport]) -> (bool, &'static str, String) {
        let programmed = Verdict::of(true, reports.iter()).and_then(|verdict| verdict.programmed).expect("reports");
        (programmed.is_true, programmed.reason, programmed.message)
    }

    #[test]
    fn replicas_are_summed() {
        let all = [report(2, 3, 3, 0), report(2, 2, 2, 0)];
        assert_eq!(said(&all), (true, "Programmed", "5/5 proxies".to_owned()));
        assert_eq!(said(&[report(2, 3, 3, 0), report(2, 2, 1, 0)]), (false, "Pending", "4/5 proxies".to_owned()));
        assert_eq!(
            said(&[report(2, 3, 3, 0), report(2, 2, 1, 1)]),
            (false, "Rejected", "4/5 proxies, 1 refuse it: gw.ns refuses it".to_owned())
        );
        assert_eq!(said(&[report(2, 0, 0, 0)]).1, "NoProxies");
        assert_eq!(Verdict::of(true, [].iter()), None);
    }

    #[test]
    fn who_has_not_read_the_newest_version_has_nothing_of_it() {
        let all = [report(3, 3, 3, 0), report(2, 2, 2, 0)];
        assert_eq!(said(&all), (false, "Pending", "3/5 proxies".to_owned()));
        assert_eq!(Verdict::of(true, all.iter()).map(|verdict| verdict.generation), Some(3));
    }

    #[test]
    fn times_move_with_the_status_of_a_condition_only() {
        let times = [10, 20, 30].map(|second| Timestamp::from_second(second).expect("a time"));
        let verdict = |report: ObjectReport| Verdict::of(true, [report].iter()).expect("a report");
        let pending = verdict(report(1, 2, 1, 0)).status(&Status::default(), times[0]);
        let time = |status: &Status, name: &str| {
            let found = status.conditions.iter().find(|c| c.condition_type == name);
            found.and_then(|c| c.last_transition_time.clone()).map(|time| time.0)
        };
        assert_eq!(time(&pending, PROGRAMMED), Some(times[0]));
        let done = verdict(report(1, 2, 2, 0)).status(&pending, times[1]);
        assert_eq!([ACCEPTED, PROGRAMMED].map(|name| time(&done, name)), [Some(times[0]), Some(times[1])]);
        let more = verdict(report(1, 3, 3, 0));
        assert!(!more.is_said_by(&done) && more.is_meant_by(&done));
        let more = more.status(&done, times[2]);
        assert_eq!(time(&more, PROGRAMMED), Some(times[1]));
        assert!(verdict(report(1, 3, 3, 0)).is_said_by(&more));
        let newer = verdict(report(2, 3, 3, 0));
        assert!(!newer.is_meant_by(&more) && !newer.is_said_by(&more));
        assert_eq!(newer.status(&more, times[2]).observed_generation, Some(IntOrString::Int(2)));
    }

    #[test]
    fn a_warning_leaves_an_object_accepted() {
        let warned = ObjectReport { warning: "spec.x: has no effect".to_owned(), ..report(1, 0, 0, 0) };
        let status =
            Verdict::of(true, [warned].iter()).expect("a report").status(&Status::default(), Timestamp::UNIX_EPOCH);
        let accepted = &status.conditions[0];
        assert_eq!((&*accepted.status, &*accepted.message), ("True", "spec.x: has no effect"));
    }

    #[test]
    fn a_problem_makes_an_object_not_accepted() {
        let bad = ObjectReport { problem: "spec.hosts: is empty".to_owned(), ..report(1, 0, 0, 0) };
        let status =
            Verdict::of(true, [bad].iter()).expect("a report").status(&Status::default(), Timestamp::UNIX_EPOCH);
        let accepted = &status.conditions[0];
        assert_eq!((&*accepted.status, &*accepted.reason), ("False", "Invalid"));
        assert_eq!(accepted.message, "spec.hosts: is empty");
    }

    #[test]
    fn where_nothing_but_acceptance_is_known_only_what_is_wrong_is_told() {
        let verdict = |problem: &str, generation: i64| {
            let report = ObjectReport { problem: problem.to_owned(), ..report(generation, 0, 0, 0) };
            Verdict::of(false, [report].iter()).expect("a report")
        };
        let healthy =
            Condition { condition_type: "Healthy".to_owned(), status: "True".to_owned(), ..Condition::default() };
        let none = Status { conditions: vec![healthy.clone()], ..Status::default() };
        assert!(verdict("", 1).is_said_by(&none));
        let bad = verdict("spec.hosts: is empty", 2);
        assert!(!bad.is_said_by(&none) && told(&none).is_none());
        let said = bad.status(&none, Timestamp::UNIX_EPOCH);
        assert_eq!((said.conditions.len(), &said.conditions[1]), (2, &healthy), "what others say stays");
        assert_eq!((told(&said), bad.problem()), (Some("spec.hosts: is empty"), told(&said)));
        assert!(bad.is_said_by(&said));
        let good = verdict("", 3);
        assert!(!good.is_said_by(&said), "it is to be taken back");
        assert_eq!(told(&good.status(&said, Timestamp::UNIX_EPOCH)), None);
    }
}
