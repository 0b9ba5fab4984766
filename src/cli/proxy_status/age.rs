//! How long something is ago, as kubectl writes it: the larger the coarser.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// `42s`, `4m2s`, `3h12m`, `5d2h`, `2y40d`.
pub(super) fn age(of: Duration) -> String {
    let seconds = of.as_secs();
    let (large, small) = match seconds {
        0..120 => ((1, "s"), None),
        120..600 => ((MINUTE, "m"), Some((1, "s"))),
        600..10_800 => ((MINUTE, "m"), None),
        10_800..28_800 => ((HOUR, "h"), Some((MINUTE, "m"))),
        28_800..172_800 => ((HOUR, "h"), None),
        172_800..691_200 => ((DAY, "d"), Some((HOUR, "h"))),
        691_200..63_072_000 => ((DAY, "d"), None),
        63_072_000..252_288_000 => ((YEAR, "y"), Some((DAY, "d"))),
        _ => ((YEAR, "y"), None),
    };
    let first = format!("{}{}", seconds / large.0, large.1);
    match small.map(|(unit, name)| (seconds % large.0 / unit, name)) {
        Some((rest, name)) if rest > 0 => format!("{first}{rest}{name}"),
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_as_by_kubectl() {
        for (seconds, written) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (242, "4m2s"),
            (3661, "61m"),
            (3 * HOUR + 12 * MINUTE, "3h12m"),
            (9 * HOUR + 5, "9h"),
            (5 * DAY + 2 * HOUR, "5d2h"),
            (100 * DAY, "100d"),
            (2 * YEAR + 40 * DAY, "2y40d"),
            (9 * YEAR, "9y"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), written);
        }
    }
}
