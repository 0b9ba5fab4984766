//! Values as istiod's command line writes them: Go's durations and addresses, unknown flags.

use std::{ffi::OsString, net::SocketAddr, time::Duration};

use clap::{ArgAction, Command};
use tokio::net::{TcpListener, lookup_host};

use crate::xds::listen::bind;

/// Go's units and their nanoseconds; longer names first where one is the prefix of another.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Parses a duration such as `30s`, `1m30s`, `1.5h` or `0`.
///
/// # Errors
/// It is none.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 10s or 1m30s");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut nanos) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        rest = &rest[end..];
        let unit = UNITS.iter().find(|(unit, _)| {
            let after = rest.strip_prefix(unit);
            after.is_some_and(|after| after.is_empty() || after.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
        });
        let (unit, scale) = unit.ok_or_else(wrong)?;
        nanos += number * scale;
        rest = &rest[unit.len()..];
    }
    if text.is_empty() { Err(wrong()) } else { Duration::try_from_secs_f64(nanos / 1e9).map_err(|_| wrong()) }
}

/// Listens on an address such as `:8080`, which is every interface, or `127.0.0.1:0`.
///
/// # Errors
/// It is no address, or is in use.
pub(super) async fn listen(flag: &str, address: &str) -> anyhow::Result<TcpListener> {
    let candidates: Vec<SocketAddr> = match address.strip_prefix(':') {
        // Where there is no IPv6, the second one works.
        Some(port) => {
            let port = port.parse().map_err(|_| anyhow::anyhow!("{flag} {address}: not a port"))?;
            vec![SocketAddr::from(([0_u16; 8], port)), SocketAddr::from(([0_u8; 4], port))]
        }
        None => lookup_host(address).await.map_err(|error| anyhow::anyhow!("{flag} {address}: {error}"))?.collect(),
    };
    let mut failed = anyhow::anyhow!("{flag} {address}: no such address");
    for candidate in candidates {
        match bind(candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = anyhow::anyhow!("{flag} {address}: {error}"),
        }
    }
    Err(failed)
}

/// Splits off flags that the command does not know, each with its value, as istiod does: manifests written for
/// another version must not stop the process.
#[must_use]
pub(super) fn split_unknown(command: &Command, args: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let Some(position) = args.iter().skip(1).position(|arg| command.find_subcommand(arg).is_some()) else {
        return (args, Vec::new());
    };
    let mut start = position + 2;
    let Some(mut command) = command.find_subcommand(&args[start - 1]) else { return (args, Vec::new()) };
    while let Some(inner) = args.get(start).and_then(|name| command.find_subcommand(name)) {
        command = inner;
        start += 1;
    }
    let (mut known, mut unknown) = (args[..start].to_vec(), Vec::new());
    let mut rest = args.into_iter().skip(start).peekable();
    while let Some(arg) = rest.next() {
        let text = arg.to_string_lossy().into_owned();
        let (name, has_value) = text.split_once('=').map_or((text.as_str(), false), |(name, _)| (name, true));
        match flag(command, name) {
            Some(takes_value) => {
                known.push(arg);
                if takes_value && !has_value {
                    known.extend(rest.next());
                }
            }
            None if text.starts_with('-') && text != "-" => {
                unknown.push(name.to_owned());
                if !has_value {
                    rest.next_if(|next| !next.to_string_lossy().starts_with('-'));
                }
            }
            None => known.push(arg),
        }
    }
    (known, unknown)
}

/// Whether the next argument is the flag's value; `None` when the command has no such flag.
fn flag(command: &Command, name: &str) -> Option<bool> {
    let is_help = matches!(name, "--help" | "-h" | "--version" | "-V");
    let is_named = |arg: &&clap::Arg| match name.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => name.strip_prefix('-').is_some_and(|s| arg.get_short().is_some_and(|c| s.starts_with(c))),
    };
    let Some(arg) = command.get_arguments().find(is_named) else { return is_help.then_some(false) };
    let is_attached = !name.starts_with("--") && name.chars().count() > 2;
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    Some(takes && !arg.is_require_equals_set() && !is_attached)
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("2562047h47m16.854775807s").is_ok());
        for wrong in ["", "10", "s", "-1s", "1x", "1s1", "ten"] {
            let message = format!("{wrong:?} is not a duration such as 10s or 1m30s");
            assert_eq!(duration(wrong), Err(message));
        }
    }

    #[test]
    fn unknown_flags_go_with_their_values() {
        let serve = Command::new("serve")
            .arg(Arg::new("a").long("addr"))
            .arg(Arg::new("n").short('n').long("namespace"))
            .arg(Arg::new("p").long("profile").num_args(0..=1).require_equals(true).default_missing_value("true"))
            .arg(Arg::new("q").long("quiet").action(ArgAction::SetTrue));
        let command = Command::new("x").subcommand(serve);
        let split = |line: &str| {
            let (known, unknown) = split_unknown(&command, line.split(' ').map(OsString::from).collect());
            let known: Vec<_> = known.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
            (known.join(" "), unknown.join(" "))
        };
        let kept = |line: &str| assert_eq!(split(line), (line.to_owned(), String::new()));
        kept("x serve --addr --weird -n ns --profile --quiet file");
        kept("x serve -nns --addr=:80 --help");
        let expected = ("x serve --addr a pos".to_owned(), "--new --bool --last".to_owned());
        assert_eq!(split("x serve --new value --addr a pos --bool --last=1"), expected);
        assert_eq!(split("x serve --profile=false --zed 1").0, "x serve --profile=false");
    }
}
