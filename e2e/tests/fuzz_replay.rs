//! The entry points of the fuzzer without it: its corpora, and what random edits make of them.

use std::{collections::BTreeSet, fs, path::Path};

use mizzen::api::Kind;
use mizzen_e2e::fuzz;
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::FileFailurePersistence};

/// What is often at the edge of something.
const NASTY: [&str; 24] = [
    "",
    "~",
    "0",
    "-1",
    "65536",
    "18446744073709551616",
    "1e400",
    "[]",
    "{}",
    "[{}]",
    "\"\"",
    "*",
    "*.",
    ".",
    "::1",
    "0.0.0.0",
    "10.0.0.1/33",
    "a:b",
    "\u{e4}\u{0}",
    "((((",
    "9999999999h",
    "-1s",
    "istio-system",
    "../../x",
];

/// An edit of bytes.
#[derive(Clone, Debug)]
enum Edit {
    Replace(Index, u8),
    Cut(Index, u8),
    Repeat(Index, u8),
    /// The value after the next colon.
    Value(Index, usize),
    SwapLines(Index, Index),
    /// The rest is of another file.
    Splice(Index, Index, Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        2 => (at(), any::<u8>()).prop_map(|(i, b)| Edit::Replace(i, b)),
        2 => (at(), any::<u8>()).prop_map(|(i, n)| Edit::Cut(i, n)),
        1 => (at(), any::<u8>()).prop_map(|(i, n)| Edit::Repeat(i, n)),
        6 => (at(), 0..NASTY.len()).prop_map(|(i, n)| Edit::Value(i, n)),
        2 => (at(), at()).prop_map(|(a, b)| Edit::SwapLines(a, b)),
        1 => (at(), at(), at()).prop_map(|(i, file, j)| Edit::Splice(i, file, j)),
    ]
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit, corpus: &[Vec<u8>]) {
    if bytes.is_empty() {
        return;
    }
    match edit {
        Edit::Replace(at, byte) => *at.get_mut(bytes) = *byte,
        Edit::Cut(at, len) => {
            let start = at.index(bytes.len());
            bytes.drain(start..bytes.len().min(start + usize::from(*len)));
        }
        Edit::Repeat(at, len) => {
            let start = at.index(bytes.len());
            let copy = bytes[start..bytes.len().min(start + usize::from(*len))].to_vec();
            bytes.splice(start..start, copy);
        }
        Edit::Value(at, which) => {
            let from = at.index(bytes.len());
            let Some(colon) = bytes[from..].windows(2).position(|w| w == b": ") else { return };
            let start = from + colon + 2;
            let end = bytes[start..].iter().position(|b| b"\n,}]".contains(b)).map_or(bytes.len(), |n| start + n);
            bytes.splice(start..end, NASTY[*which].bytes());
        }
        Edit::SwapLines(a, b) => {
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
            *bytes = lines.concat();
        }
        Edit::Splice(at, file, from) => {
            let other = file.get(corpus);
            bytes.truncate(at.index(bytes.len()));
            bytes.extend_from_slice(&other[from.index(other.len().max(1)).min(other.len())..]);
        }
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).expect("the corpus").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|path| fs::read(path).expect("a file of the corpus")).collect()
}

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = corpus(target);
    corpus.iter().for_each(|bytes| run(bytes));
    let config = ProptestConfig {
        cases: 256,
        max_shrink_iters: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    proptest!(config, |(seed in any::<Index>(), edits in vec(edit(), 1..8))| {
        let mut bytes = seed.get(&corpus).clone();
        edits.iter().for_each(|edit| apply(&mut bytes, edit, &corpus));
        run(&bytes);
    });
}

/// Edits do not invent kinds.
#[test]
fn every_kind_is_in_the_corpus() {
    let kinds = corpus("crd_yaml").iter().flat_map(|bytes| fuzz::kinds(bytes)).collect::<BTreeSet<_>>();
    assert_eq!(kinds, BTreeSet::from(Kind::ALL));
}

#[test]
fn no_file_of_objects_panics() {
    replay("crd_yaml", fuzz::crd_yaml);
}

#[test]
fn no_object_panics_when_it_is_judged() {
    replay("validate", fuzz::validate);
}

#[test]
fn no_sequence_of_delta_requests_panics() {
    replay("delta_request", fuzz::delta_request);
}
