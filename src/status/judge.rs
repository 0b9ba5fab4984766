//! On how many proxies an object is live. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::identities::Identity;
use crate::{
    api::status::ObjectReport,
    model::{ObjectRef, Problem, Severity},
    snapshot::{ClassId, Generation},
};

/// A text of a status is for people; longer ones are cut.
const LONGEST_TEXT: usize = 1024;

/// What the engine knows of an object.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The object.
    pub object: ObjectRef,
    /// Its version, read before the rest was asked for.
    pub identity: Identity,
    /// The round in which what it says changed last; `None` when it has no effect.
    pub changed: Option<Generation>,
    /// The classes of proxies that have something made of it, each with the generation of its newest snapshot.
    pub classes: Vec<(ClassId, Generation)>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// How far a proxy is.
#[derive(Clone, Debug)]
pub struct Member {
    /// The class of the snapshot that it is sent.
    pub class: ClassId,
    /// The generation of that snapshot.
    pub generation: Generation,
    /// The last generation of which it has acknowledged everything, if that is not the snapshot's.
    pub outstanding: Option<Generation>,
    /// Which of the fleet's refusals keep it from having something.
    pub refusals: Vec<usize>,
}

/// A resource that proxies refuse.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The objects of which a proxy that refuses it does not have what they say now.
    pub objects: BTreeSet<ObjectRef>,
    /// Who, what and why.
    pub reason: Arc<str>,
}

/// The proxies of a replica at a moment.
#[derive(Debug, Default)]
pub struct Fleet {
    classes: HashMap<ClassId, Class>,
    refusals: Vec<Refusal>,
}

#[derive(Debug, Default)]
struct Class {
    /// How many have acknowledged all of a generation.
    at_rest: BTreeMap<Generation, u32>,
    others: Vec<Member>,
}

#[derive(Debug, Default)]
struct Count {
    proxies: u32,
    programmed: u32,
    rejected: u32,
    reason: Option<Arc<str>>,
}

impl Fleet {
    /// Adds a refusal; its number.
    pub fn refusal(&mut self, refusal: Refusal) -> usize {
        self.refusals.push(refusal);
        self.refusals.len() - 1
    }

    /// Adds a proxy.
    pub fn add(&mut self, member: Member) {
        let class = self.classes.entry(member.class).or_default();
        if member.outstanding.is_none() && member.refusals.is_empty() {
            *class.at_rest.entry(member.generation).or_insert(0) += 1;
        } else {
            class.others.push(member);
        }
    }

    /// What is to be reported of an object.
    #[must_use]
    pub fn judge(&self, facts: &Facts) -> ObjectReport {
        let mut count = Count::default();
        for (class, newest) in &facts.classes {
            let Some(class) = self.classes.get(class) else { continue };
            count.proxies += class.at_rest.values().sum::<u32>();
            count.programmed += class.at_rest.range(newest..).map(|(_, proxies)| proxies).sum::<u32>();
            class.others.iter().for_each(|member| self.count(&mut count, member, facts, *newest));
        }
        // As validation tells it.
        let text = |problem: &Problem| match problem.field.as_str() {
            "" => format!("{} [{}]", problem.reason, problem.code),
            field => format!("{field}: {} [{}]", problem.reason, problem.code),
        };
        let told = |errors: bool| -> Vec<String> {
            let of = facts.problems.iter().filter(|p| (p.code.severity() == Severity::Error) == errors);
            of.map(text).collect()
        };
        ObjectReport {
            kind: facts.object.kind.to_owned(),
            name: facts.object.name.to_string(),
            uid: facts.identity.uid.to_string(),
            generation: facts.identity.generation,
            proxies: count.proxies,
            // What proxies have is of an earlier version, if that could be read.
            programmed: if facts.identity.is_read { count.programmed } else { 0 },
            rejected: count.rejected,
            reason: cut(count.reason.as_deref().unwrap_or_default()).to_owned(),
            problem: cut(&told(true).join("; ")).to_owned(),
            warning: cut(&told(false).join("; ")).to_owned(),
        }
    }

    fn count(&self, count: &mut Count, member: &Member, facts: &Facts, newest: Generation) {
        count.proxies += 1;
        let mut refusals = member.refusals.iter().map(|n| &self.refusals[*n]);
        if let Some(refusal) = refusals.find(|refusal| refusal.objects.contains(&facts.object)) {
            count.rejected += 1;
            count.reason.get_or_insert_with(|| refusal.reason.clone());
        } else if member.generation >= newest
            && member.outstanding >= facts.changed.filter(|_| member.outstanding.is_some())
        {
            count.programmed += 1;
        }
    }
}

/// A text, or the beginning of a long one.
#[must_use]
pub fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;

    fn facts(changed: Generation, newest: Generation) -> Facts {
        Facts {
            object: ObjectRef::new("VirtualService", "ns", "v"),
            identity: Identity { uid: "u".into(), generation: 3, is_read: true },
            changed: Some(changed),
            classes: vec![(1, newest), (9, newest)],
            problems: Vec::new(),
        }
    }

    fn member(generation: Generation, outstanding: Option<Generation>, refusals: &[usize]) -> Member {
        Member { class: 1, generation, outstanding, refusals: refusals.to_vec() }
    }

    fn numbers(fleet: &Fleet, facts: &Facts) -> [u32; 3] {
        let report = fleet.judge(facts);
        [report.proxies, report.programmed, report.rejected]
    }

    #[test]
    fn who_has_acknowledged_the_last_change_has_it() {
        let mut fleet = Fleet::default();
        fleet.add(member(7, None, &[]));
        fleet.add(Member { class: 2, ..member(7, None, &[]) });
        assert_eq!(numbers(&fleet, &facts(5, 7)), [1, 1, 0]);
        assert_eq!(numbers(&fleet, &facts(8, 7)), [1, 1, 0], "it changed, and what is made of it did not");
        assert_eq!(numbers(&fleet, &facts(8, 8)), [1, 0, 0], "the stream has not looked at the newest snapshot yet");
        // On its way are changes after generation 5.
        fleet.add(member(8, Some(5), &[]));
        assert_eq!(numbers(&fleet, &facts(5, 7)), [2, 2, 0]);
        assert_eq!(numbers(&fleet, &facts(6, 7)), [2, 1, 0]);
        assert_eq!(numbers(&Fleet::default(), &facts(1, 1)), [0, 0, 0]);
    }

    #[test]
    fn nobody_has_a_version_that_cannot_be_read() {
        let mut fleet = Fleet::default();
        fleet.add(member(7, None, &[]));
        let read = facts(5, 7);
        let unread = Facts { identity: Identity { is_read: false, ..read.identity.clone() }, ..read.clone() };
        assert_eq!([numbers(&fleet, &read), numbers(&fleet, &unread)], [[1, 1, 0], [1, 0, 0]]);
    }

    #[test]
    fn who_refuses_a_resource_lacks_the_objects_that_changed() {
        let mut fleet = Fleet::default();
        let objects = BTreeSet::from([ObjectRef::new("VirtualService", "ns", "v")]);
        let number = fleet.refusal(Refusal { objects, reason: "gw.ns refuses it".into() });
        fleet.add(member(7, None, &[number]));
        fleet.add(member(7, None, &[]));
        assert_eq!(numbers(&fleet, &facts(5, 7)), [2, 1, 1]);
        assert_eq!(fleet.judge(&facts(5, 7)).reason, "gw.ns refuses it");
        let other = Facts { object: ObjectRef::new("Gateway", "ns", "g"), ..facts(5, 7) };
        assert_eq!(numbers(&fleet, &other), [2, 2, 0], "it has what the other object says");
    }

    #[test]
    fn problems_are_told_with_their_fields() {
        let object = ObjectRef::new("VirtualService", "ns", "v");
        let problem = |field: &str| Problem {
            object: object.clone(),
            field: field.to_owned(),
            reason: "é".repeat(400),
            code: Code::EntryEmpty,
        };
        let report = Fleet::default().judge(&Facts { problems: vec![problem(""), problem("spec.x")], ..facts(1, 1) });
        assert!(report.problem.starts_with("éé") && report.problem.contains("; spec.x: é"), "{}", report.problem);
        assert!(report.problem.len() <= LONGEST_TEXT);
        let warning = Problem { code: Code::FieldNotHonoured, ..problem("spec.y") };
        let report = Fleet::default().judge(&Facts { problems: vec![warning], ..facts(1, 1) });
        assert_eq!(report.problem, "", "who has only warnings is accepted");
    }
}
