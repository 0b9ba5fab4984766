//! The table of `mizzen proxy-status`, with the columns of istioctl's.

use std::time::SystemTime;

use super::{
    age::age,
    state::{Proxy, State, TypeState},
};

/// The types that have a column, each with those whose state it shows too: virtual hosts are parts of routes.
const COLUMNS: [(&str, &[&str]); 5] =
    [("CDS", &["CDS"]), ("LDS", &["LDS"]), ("EDS", &["EDS"]), ("RDS", &["RDS", "VHDS"]), ("ECDS", &["ECDS"])];

/// Between two columns.
const GAP: usize = 5;

/// One line per proxy, and below why proxies refuse what they were sent.
pub(super) fn table(proxies: &[Proxy], now: SystemTime) -> String {
    let head = ["NAME", "CLUSTER"].into_iter().chain(COLUMNS.map(|(name, _)| name)).chain(["ISTIOD", "VERSION"]);
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).collect()];
    rows.extend(proxies.iter().map(|proxy| {
        let ends = |texts: [&str; 2]| texts.map(|text| if text.is_empty() { "-" } else { text }.to_owned());
        let types = COLUMNS.iter().map(|(_, of)| cell(worst(proxy, of), now));
        ends([&proxy.name, &proxy.cluster])
            .into_iter()
            .chain(types)
            .chain(ends([&proxy.istiod, &proxy.version]))
            .collect()
    }));
    aligned(&rows) + &refusals(proxies)
}

fn worst<'a>(proxy: &'a Proxy, types: &[&str]) -> Option<&'a TypeState> {
    types.iter().filter_map(|t| proxy.types.get(*t)).max_by_key(|state| state.status)
}

fn cell(state: Option<&TypeState>, now: SystemTime) -> String {
    let Some(state) = state else { return State::Ignored.name().to_owned() };
    let name = state.status.name();
    match state.last_sent.filter(|_| !matches!(state.status, State::NotSent | State::Ignored)) {
        // Clocks of two machines may differ a little.
        Some(at) => format!("{name} ({})", age(now.duration_since(at).unwrap_or_default())),
        None => name.to_owned(),
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0) + GAP;
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn refusals(proxies: &[Proxy]) -> String {
    let errors = proxies.iter().flat_map(|proxy| {
        let of_it = proxy.types.iter().filter(|(_, state)| state.status == State::Error);
        of_it.map(move |(t, state)| {
            let reason = state.error.as_deref().unwrap_or("no reason was given");
            format!("{} refuses {t}: {reason}\n", proxy.name)
        })
    });
    let lines: String = errors.collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn state(status: State, seconds: u64, error: Option<&str>) -> TypeState {
        let last_sent = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        TypeState { status, last_sent, error: error.map(str::to_owned) }
    }

    fn proxy(name: &str, types: &[(&str, TypeState)]) -> Proxy {
        Proxy {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            cluster: "Kubernetes".to_owned(),
            istiod: "istiod-1".to_owned(),
            version: String::new(),
            types: types.iter().map(|(t, state)| ((*t).to_owned(), state.clone())).collect(),
        }
    }

    #[test]
    fn each_proxy_has_a_line_and_refusals_have_reasons() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let all = [
            proxy(
                "gw.default",
                &[
                    ("CDS", state(State::Synced, 758, None)),
                    ("LDS", state(State::Error, 990, Some("no such filter"))),
                    ("RDS", state(State::Synced, 999, None)),
                    ("VHDS", state(State::Stale, 1001, None)),
                ],
            ),
            proxy("w.default", &[("EDS", TypeState { last_sent: None, ..state(State::NotSent, 0, None) })]),
        ];
        let expected = "\
NAME           CLUSTER        CDS               LDS             EDS          RDS            ECDS        ISTIOD       VERSION
gw.default     Kubernetes     SYNCED (4m2s)     ERROR (10s)     IGNORED      STALE (0s)     IGNORED     istiod-1     -
w.default      Kubernetes     IGNORED           IGNORED         NOT SENT     IGNORED        IGNORED     istiod-1     -

gw.default refuses LDS: no such filter
";
        assert_eq!(table(&all, now), expected);
    }
}
