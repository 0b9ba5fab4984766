//! From what is installed to what should be: the text of `iptables-restore --noflush`.

use std::{collections::BTreeMap, fmt::Write as _};

use super::Rules;

/// All of our chains, and none of others, begin so.
const OURS: &str = "ISTIO_";

/// The tables that we write, in the order in which they are written: redirection comes last, when what it relies on is
/// there.
const TABLES: [&str; 3] = ["raw", "mangle", "nat"];

/// What `iptables-save` printed: rules by table and chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    tables: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Installed {
    /// Reads it. Lines that are none of chains and rules are comments.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut installed = Self::default();
        let mut table = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                name.clone_into(&mut table);
            } else if let Some(chain) = line.strip_prefix(':') {
                let name = chain.split(' ').next().unwrap_or_default();
                installed.chain(&table, name);
            } else if let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|rest| rest.split_once(' ')) {
                installed.chain(&table, chain).push(rule.trim_end().to_owned());
            }
        }
        installed
    }

    fn chain(&mut self, table: &str, chain: &str) -> &mut Vec<String> {
        self.tables.entry(table.to_owned()).or_default().entry(chain.to_owned()).or_default()
    }
}

/// What makes the installed rules the wanted ones; `None` when they are. Of chains that are not ours, only rules that
/// lead to ours, or that are written exactly as we would, are taken for ours.
#[must_use]
pub fn plan(installed: &Installed, wanted: &Rules) -> Option<String> {
    transaction(installed, wanted, wanted)
}

/// What removes all of ours; `known` are the rules that were installed last, if that is known. `None` when there is
/// nothing.
#[must_use]
pub fn removal(installed: &Installed, known: &Rules) -> Option<String> {
    transaction(installed, known, &Rules::default())
}

fn transaction(installed: &Installed, known: &Rules, wanted: &Rules) -> Option<String> {
    let nothing = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut text = String::new();
    for table in TABLES {
        let now = installed.tables.get(table).unwrap_or(&nothing.0);
        let known = known.tables.get(table).unwrap_or(&nothing.1);
        let wanted = wanted.tables.get(table).unwrap_or(&nothing.2);
        let ours = ours(now, known);
        if !same(&ours, wanted) {
            write_table(&mut text, table, &ours, wanted);
        }
    }
    (!text.is_empty()).then_some(text)
}

type Wanted = BTreeMap<&'static str, Vec<String>>;
type Ours<'a> = BTreeMap<&'a str, Vec<&'a str>>;

fn ours<'a>(now: &'a BTreeMap<String, Vec<String>>, known: &Wanted) -> Ours<'a> {
    let is_ours = |chain: &str, rule: &str| {
        leads_to_ours(rule) || known.get(chain).is_some_and(|rules| rules.iter().any(|known| known == rule))
    };
    let chains = now.iter().map(|(chain, rules)| {
        let whole = chain.starts_with(OURS);
        let rules = rules.iter().map(String::as_str).filter(|rule| whole || is_ours(chain, rule));
        (chain.as_str(), rules.collect::<Vec<_>>())
    });
    chains.filter(|(chain, rules)| chain.starts_with(OURS) || !rules.is_empty()).collect()
}

fn leads_to_ours(rule: &str) -> bool {
    let target = rule.rsplit_once(" -j ").map(|(_, target)| target).or_else(|| rule.strip_prefix("-j "));
    target.is_some_and(|target| target.starts_with(OURS))
}

fn same(ours: &Ours<'_>, wanted: &Wanted) -> bool {
    ours.len() == wanted.len() && ours.iter().zip(wanted).all(|(a, b)| a.0 == b.0 && a.1 == b.1)
}

fn write_table(text: &mut String, table: &str, ours: &Ours<'_>, wanted: &Wanted) {
    let is_ours = |chain: &str| chain.starts_with(OURS);
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{line}");
    };
    line(format_args!("*{table}"));
    // One that is there already is emptied.
    for chain in wanted.keys().filter(|chain| is_ours(chain)) {
        line(format_args!(":{chain} - [0:0]"));
    }
    let stale = || ours.keys().filter(|chain| is_ours(chain) && !wanted.contains_key(**chain));
    for chain in stale() {
        line(format_args!("-F {chain}"));
    }
    for (chain, rules) in ours.iter().filter(|(chain, _)| !is_ours(chain)) {
        rules.iter().for_each(|rule| line(format_args!("-D {chain} {rule}")));
    }
    for (chain, rules) in wanted {
        rules.iter().for_each(|rule| line(format_args!("-A {chain} {rule}")));
    }
    for chain in stale() {
        line(format_args!("-X {chain}"));
    }
    line(format_args!("COMMIT"));
}
