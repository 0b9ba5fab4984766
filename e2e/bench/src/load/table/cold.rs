//! The goals of cold translation: a fifth of what the reference's generators take for the same, clusters, listeners and
//! routes together. The bench `cold` measures; its results are where criterion leaves them. Judged is the pure
//! translation, which is what those generators do; what the engine takes for the same is told beside it.

use std::{
    io::{self, Write},
    path::Path,
};

use serde_json::Value;

/// A case of the bench, and what the reference takes for it, in milliseconds.
const CASES: [(&str, f64); 6] = [
    ("1000 VirtualServices on one Gateway", 139.0 + 17.6),
    ("1000 Gateways with 1000 VirtualServices", 39.0 + 22.0 + 24.0),
    ("100 HTTP services", 0.93 + 2.5 + 0.17),
    ("100 services of sniffed protocol", 1.8 + 2.7 + 2.4),
    ("100 TCP services", 2.9 + 1.0),
    ("1000 TLS secrets", 25.0),
];

/// Ours must take at most this share.
const SHARE: f64 = 0.2;

/// The group of pure translation.
const PURE: &str = "cold";

/// The group of the same through the engine's graph.
const GRAPH: &str = "cold graph";

/// Writes the rows of the cases that were measured.
pub(super) fn write(results: &Path, out: &mut impl Write) -> io::Result<()> {
    for (case, reference) in CASES {
        let Some(measured) = median(results, PURE, case) else { continue };
        let must = reference * SHARE;
        let verdict = match measured <= must {
            true => "ok".to_owned(),
            false => format!("**missed**: {:.2} times that", measured / must),
        };
        let graph = median(results, GRAPH, case);
        let graph = graph.map_or_else(String::new, |ms| format!(" (with the graph's bookkeeping {ms:.2} ms)"));
        writeln!(out, "| cold: {case} | ≤ {must:.2} ms | | {measured:.2} ms{graph} | {verdict} |")?;
    }
    Ok(())
}

/// The median of a case in a group by criterion's estimates, in milliseconds; `None` when it was not measured.
fn median(results: &Path, group: &str, case: &str) -> Option<f64> {
    let file = results.join(group).join(case).join("new/estimates.json");
    let estimates: Value = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    Some(estimates["median"]["point_estimate"].as_f64()? / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_that_were_measured_are_judged_by_the_pure_part() {
        let dir = tempfile::tempdir().unwrap();
        let measure = |group: &str, case: &str, nanoseconds: f64| {
            let folder = dir.path().join(group).join(case).join("new");
            std::fs::create_dir_all(&folder).unwrap();
            let estimates = serde_json::json!({"median": {"point_estimate": nanoseconds}});
            std::fs::write(folder.join("estimates.json"), estimates.to_string()).unwrap();
        };
        measure("cold", "1000 TLS secrets", 4e6);
        measure("cold", "100 TCP services", 7.8e6);
        measure("cold", "100 HTTP services", 0.61e6);
        measure("cold graph", "100 HTTP services", 6.2e6);
        // Without the pure part there is nothing to judge.
        measure("cold graph", "100 services of sniffed protocol", 6.2e6);
        let mut out = Vec::new();
        write(dir.path(), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "| cold: 100 HTTP services | ≤ 0.72 ms | | 0.61 ms (with the graph's bookkeeping 6.20 ms) | ok |\n\
             | cold: 100 TCP services | ≤ 0.78 ms | | 7.80 ms | **missed**: 10.00 times that |\n\
             | cold: 1000 TLS secrets | ≤ 5.00 ms | | 4.00 ms | ok |\n"
        );
    }
}
