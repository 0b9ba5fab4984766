//! What the files say, and what changes when a file does. No I/O.
//!
//! An object counts once: the first file by path that gives it wins. What was delivered is remembered as the bytes it
//! was read from, so an edit delivers only the objects that it changed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::document::{Document, SyntaxError};
use crate::{
    api::{Kind, Object},
    model::{Code, ObjectRef},
    sources::{
        Delivery, Origin, ProblemKey, SourceProblem,
        decode::{self, Reading},
    },
};

/// A file has other content than before.
pub(super) struct Change {
    /// The path as the user writes it.
    pub(super) path: Arc<str>,
    /// The new content.
    pub(super) content: Content,
}

/// What a file holds now.
pub(super) enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// It is there but cannot be read, and why.
    Unreadable(String),
    /// The file is gone.
    Gone,
}

/// The name of what is given without a file: sorts after every path, so every file wins.
pub(super) const BUILTIN: &str = "\u{10ffff}built-in";

/// The state of all files.
#[derive(Default)]
pub(super) struct Store {
    files: BTreeMap<Arc<str>, File>,
    /// Which entries give an object: the first one counts.
    owners: BTreeMap<ObjectRef, BTreeSet<Place>>,
    /// What is said about the others.
    shadowed: BTreeMap<ObjectRef, Vec<SourceProblem>>,
    /// The bytes of what counts.
    delivered: HashMap<ObjectRef, Arc<[u8]>>,
}

/// An entry: path of the file and index within.
type Place = (Arc<str>, usize);

#[derive(Default)]
struct File {
    entries: Vec<Entry>,
    /// What is wrong within documents.
    flaws: Vec<SourceProblem>,
    /// Why the newest content was not taken as a whole.
    broken: Vec<SourceProblem>,
    /// Whether `entries` come from content that could be parsed as a whole.
    good: bool,
}

/// An object of a file.
#[derive(Clone)]
struct Entry {
    reference: ObjectRef,
    /// The document as JSON: to compare with, and to read again when the file that hid it goes.
    json: Arc<[u8]>,
    line: u32,
}

/// Work in progress of one [`Store::take`].
#[derive(Default)]
struct Round {
    touched: BTreeSet<ObjectRef>,
    /// Objects just decoded.
    fresh: HashMap<Place, Object>,
    /// Problems of all that is touched, before and after, with their lines.
    before: BTreeMap<ProblemKey, Option<u32>>,
    after: BTreeMap<ProblemKey, Option<u32>>,
}

impl Store {
    /// Takes the first content of all files: one reset per kind, then the problems.
    pub(super) fn take_first(&mut self, changes: Vec<Change>) -> Vec<Delivery> {
        let mut live: HashMap<Kind, Vec<Object>> = HashMap::new();
        let mut rest = Vec::new();
        for delivery in self.take(changes) {
            match delivery {
                Delivery::Apply(object) => live.entry(object.kind()).or_default().push(object),
                other => rest.push(other),
            }
        }
        let reset =
            |&kind: &Kind| Delivery::Reset { kind, live: live.remove(&kind).unwrap_or_default(), kept: Vec::new() };
        let mut deliveries: Vec<_> = Kind::ALL.iter().map(reset).collect();
        deliveries.append(&mut rest);
        deliveries
    }

    /// Takes changes of files and says what follows: applies, then deletes (an object that moved from one file to
    /// another is never gone in between), then problems.
    pub(super) fn take(&mut self, changes: Vec<Change>) -> Vec<Delivery> {
        let mut round = Round::default();
        for change in changes {
            self.take_file(change, &mut round);
        }
        let (mut deliveries, mut deletes) = (Vec::new(), Vec::new());
        for reference in std::mem::take(&mut round.touched) {
            self.settle_shadows(&reference, &mut round);
            match self.settle_object(reference, &mut round) {
                Some(delete @ Delivery::Delete(_)) => deletes.push(delete),
                Some(apply) => deliveries.push(apply),
                None => {}
            }
        }
        deliveries.append(&mut deletes);
        deliveries.extend(problem_changes(&round.before, round.after));
        deliveries
    }

    fn take_file(&mut self, Change { path, content }: Change, round: &mut Round) {
        let old = self.files.remove(&path).unwrap_or_default();
        note(&mut round.before, old.problems());
        for (index, entry) in old.entries.iter().enumerate() {
            round.touched.insert(entry.reference.clone());
            if let Some(owners) = self.owners.get_mut(&entry.reference) {
                owners.remove(&(path.clone(), index));
            }
        }
        let new = match content {
            Content::Gone => return,
            Content::Unreadable(reason) => {
                old.with_broken(vec![problem(Code::DocumentUnreadable, &path, None, None, ("", &reason))])
            }
            Content::Bytes(bytes) => old.read(&path, &bytes, &mut round.fresh),
        };
        note(&mut round.after, new.problems());
        for (index, entry) in new.entries.iter().enumerate() {
            round.touched.insert(entry.reference.clone());
            self.owners.entry(entry.reference.clone()).or_default().insert((path.clone(), index));
        }
        self.files.insert(path, new);
    }

    /// Delivers the object when what counts differs from what was delivered.
    fn settle_object(&mut self, reference: ObjectRef, round: &mut Round) -> Option<Delivery> {
        let winner = self.owners.get(&reference).and_then(BTreeSet::first);
        let Some((place, json)) = winner.and_then(|place| Some((place.clone(), self.entry(place)?.json.clone())))
        else {
            self.owners.remove(&reference);
            return self.delivered.remove(&reference).map(|_| Delivery::Delete(reference));
        };
        if self.delivered.get(&reference) == Some(&json) {
            return None;
        }
        let object = round.fresh.remove(&place).or_else(|| decode_again(&json))?;
        self.delivered.insert(reference, json);
        Some(Delivery::Apply(object))
    }

    /// Says of every entry but the first that it does not count.
    fn settle_shadows(&mut self, reference: &ObjectRef, round: &mut Round) {
        note(&mut round.before, self.shadowed.remove(reference).iter().flatten());
        let Some(owners) = self.owners.get(reference).filter(|owners| owners.len() > 1) else { return };
        let Some((winner, _)) = owners.first() else { return };
        let reason = format!("is already given in {winner}: this one is ignored");
        let say = |place: &Place| {
            let line = self.entry(place).map(|entry| entry.line);
            problem(Code::ObjectDuplicate, &place.0, line, Some(reference.clone()), ("", &reason))
        };
        let problems: Vec<_> = owners.iter().skip(1).filter(|(path, _)| &**path != BUILTIN).map(say).collect();
        note(&mut round.after, &problems);
        self.shadowed.insert(reference.clone(), problems);
    }

    fn entry(&self, (path, index): &Place) -> Option<&Entry> {
        self.files.get(path)?.entries.get(*index)
    }
}

impl File {
    fn problems(&self) -> impl Iterator<Item = &SourceProblem> {
        self.flaws.iter().chain(&self.broken)
    }

    fn with_broken(self, broken: Vec<SourceProblem>) -> Self {
        Self { broken, ..self }
    }

    /// The file with new content. What cannot be parsed keeps the last good content; without any, what can be parsed
    /// counts.
    fn read(self, path: &Arc<str>, bytes: &[u8], fresh: &mut HashMap<Place, Object>) -> Self {
        let parsed = super::parse(path, bytes);
        let broken =
            |error: &SyntaxError| problem(Code::DocumentUnreadable, path, Some(error.line), None, ("", &error.reason));
        let broken: Vec<_> = parsed.errors.iter().map(broken).collect();
        if !broken.is_empty() && self.good {
            return self.with_broken(broken);
        }
        let mut file = Self { good: broken.is_empty(), broken, ..Self::default() };
        for document in parsed.documents {
            file.add(path, document, &self.entries, fresh);
        }
        file
    }

    /// Adds a document. One that is refused keeps the last good one of the same object in this file.
    fn add(
        &mut self,
        path: &Arc<str>,
        Document { spot, value }: Document,
        last: &[Entry],
        fresh: &mut HashMap<Place, Object>,
    ) {
        let line = spot.line;
        let json: Arc<[u8]> = value.to_string().into_bytes().into();
        match decode::read(value) {
            Reading::Ignored => {}
            Reading::Object { reference, object, unknown_fields } => {
                for field in unknown_fields {
                    let what = (field.as_str(), "unknown field");
                    self.flaws.push(problem(Code::UnknownField, path, Some(line), Some(reference.clone()), what));
                }
                fresh.insert((path.clone(), self.entries.len()), object);
                self.entries.push(Entry { reference, json, line });
            }
            Reading::Refused { reference, field, reason, code } => {
                let kept = last.iter().find(|entry| Some(&entry.reference) == reference.as_ref());
                self.entries.extend(kept.map(|entry| Entry { line, ..entry.clone() }));
                self.flaws.push(problem(code, path, Some(line), reference, (&field, &reason)));
            }
        }
    }
}

/// Decodes what was decoded before.
fn decode_again(json: &[u8]) -> Option<Object> {
    match decode::read(serde_json::from_slice(json).ok()?) {
        Reading::Object { object, .. } => Some(object),
        Reading::Ignored | Reading::Refused { .. } => None,
    }
}

fn problem(
    code: Code,
    path: &Arc<str>,
    line: Option<u32>,
    object: Option<ObjectRef>,
    (field, reason): (&str, &str),
) -> SourceProblem {
    let origin = Origin::File(path.clone());
    let key = ProblemKey { origin, object, field: field.to_owned(), reason: reason.to_owned(), code };
    SourceProblem { key, line }
}

fn note<'a>(into: &mut BTreeMap<ProblemKey, Option<u32>>, problems: impl IntoIterator<Item = &'a SourceProblem>) {
    into.extend(problems.into_iter().map(|problem| (problem.key.clone(), problem.line)));
}

fn problem_changes(
    before: &BTreeMap<ProblemKey, Option<u32>>,
    after: BTreeMap<ProblemKey, Option<u32>>,
) -> impl Iterator<Item = Delivery> {
    let gone: Vec<_> = before.keys().filter(|key| !after.contains_key(key)).cloned().collect();
    let new = after.into_iter().filter(|(key, line)| before.get(key) != Some(line));
    gone.into_iter()
        .map(Delivery::ProblemGone)
        .chain(new.map(|(key, line)| Delivery::Problem(SourceProblem { key, line })))
}
