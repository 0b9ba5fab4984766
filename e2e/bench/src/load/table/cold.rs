//! The goals of cold translation: a fifth of what the reference's generators take for the same, clusters, listeners and
//! routes together. The bench `cold` measures; its results are where criterion leaves them.

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

/// Writes the rows of the cases that were measured.
pub(super) fn write(results: &Path, out: &mut impl Write) -> io::Result<()> {
    for (case, reference) in CASES {
        let file = results.join("cold").join(case).join("new/estimates.json");
        let Some(measured) = std::fs::read_to_string(file).ok().and_then(|text| median(&text)) else { continue };
        let must = reference * SHARE;
        let verdict = match measured <= must {
            true => "ok".to_owned(),
            false => format!("**missed**: {:.2} times that", measured / must),
        };
        writeln!(out, "| cold: {case} | ≤ {must:.2} ms | | {measured:.2} ms | {verdict} |")?;
    }
    Ok(())
}

/// The median of criterion's estimates, in milliseconds.
fn median(estimates: &str) -> Option<f64> {
    let estimates: Value = serde_json::from_str(estimates).ok()?;
    Some(estimates["median"]["point_estimate"].as_f64()? / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_that_were_measured_are_judged() {
        let dir = tempfile::tempdir().unwrap();
        let measure = |case: &str, nanoseconds: f64| {
            let folder = dir.path().join("cold").join(case).join("new");
            std::fs::create_dir_all(&folder).unwrap();
            let estimates = serde_json::json!({"median": {"point_estimate": nanoseconds}});
            std::fs::write(folder.join("estimates.json"), estimates.to_string()).unwrap();
        };
        measure("1000 TLS secrets", 4e6);
        measure("100 TCP services", 7.8e6);
        let mut out = Vec::new();
        write(dir.path(), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "| cold: 100 TCP services | ≤ 0.78 ms | | 7.80 ms | **missed**: 10.00 times that |\n\
             | cold: 1000 TLS secrets | ≤ 5.00 ms | | 4.00 ms | ok |\n"
        );
    }
}
