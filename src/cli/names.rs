//! The names under which Istio's images and manifests start the programs that this one stands for.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use clap::{ArgAction, Command};

/// The arguments as this program's own, by the name it was started under:
///
/// | started as | becomes |
/// |---|---|
/// | `pilot-discovery …` | `mizzen …` |
/// | `pilot-agent proxy sidecar …`, `mizzen proxy sidecar …` | `mizzen agent sidecar …` |
/// | `pilot-agent wait …`, `pilot-agent request …` | `mizzen agent wait …`, `mizzen agent request …` |
/// | `pilot-agent istio-iptables …`, `istio-iptables …` | `mizzen iptables …` |
/// | `pilot-agent istio-clean-iptables …`, `istio-clean-iptables …` | `mizzen iptables --cleanup-only …` |
pub(super) fn resolve(args: Vec<OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let Some(program) = args.next() else { return vec!["mizzen".into()] };
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut rest: Vec<OsString> = args.collect();
    let is_agent = name == "pilot-agent";
    if name.starts_with("istio-") {
        rest.insert(0, name.into());
    }
    let replaced: &[&str] = match rest.first().and_then(|first| first.to_str()) {
        Some("proxy") => &["agent"],
        Some("wait") if is_agent => &["agent", "wait"],
        Some("request") if is_agent => &["agent", "request"],
        Some("istio-iptables") => &["iptables"],
        Some("istio-clean-iptables") => &["iptables", "--cleanup-only"],
        _ => return std::iter::once(program).chain(rest).collect(),
    };
    let before = std::iter::once(program).chain(replaced.iter().map(OsString::from));
    before.chain(rest.into_iter().skip(1)).collect()
}

/// Flags that are on or off as Go writes them, `--flag=true` and `--flag=false`, as this program does: with the flag or
/// without it.
pub(super) fn switches(command: &Command, args: Vec<OsString>) -> Vec<OsString> {
    let mut command = command;
    let mut all = Vec::with_capacity(args.len());
    for arg in args {
        if let Some(inner) = command.find_subcommand(&arg) {
            command = inner;
        }
        match arg.to_str().and_then(|text| text.split_once('=')) {
            Some((flag, value)) if is_switch(command, flag) => match value {
                "true" | "1" => all.push(flag.into()),
                "false" | "0" => {}
                _ => all.push(arg),
            },
            _ => all.push(arg),
        }
    }
    all
}

fn is_switch(command: &Command, flag: &str) -> bool {
    let Some(name) = flag.strip_prefix("--") else { return false };
    let mut found = command.get_arguments().filter(|arg| arg.get_long() == Some(name));
    found.any(|arg| matches!(arg.get_action(), ArgAction::SetTrue))
}

/// Whether flags that this program does not know are passed over, as manifests for another version have them.
pub(super) fn tolerates_unknown_flags(command: Option<&OsString>) -> bool {
    command
        .map(OsString::as_os_str)
        .and_then(OsStr::to_str)
        .is_some_and(|name| matches!(name, "discovery" | "agent" | "iptables"))
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn names_of_istio_lead_to_commands() {
        for (given, expected) in [
            ("/usr/local/bin/pilot-discovery discovery -n x", "/usr/local/bin/pilot-discovery discovery -n x"),
            (
                "/usr/local/bin/pilot-agent proxy sidecar --domain d",
                "/usr/local/bin/pilot-agent agent sidecar --domain d",
            ),
            ("mizzen proxy router", "mizzen agent router"),
            ("pilot-agent wait --url u", "pilot-agent agent wait --url u"),
            (
                "pilot-agent request --debug-port=15020 POST drain",
                "pilot-agent agent request --debug-port=15020 POST drain",
            ),
            ("pilot-agent version", "pilot-agent version"),
            ("pilot-agent istio-iptables -p 1", "pilot-agent iptables -p 1"),
            ("istio-iptables -p 1", "istio-iptables iptables -p 1"),
            ("istio-clean-iptables", "istio-clean-iptables iptables --cleanup-only"),
            ("mizzen wait", "mizzen wait"),
        ] {
            assert_eq!(resolve(words(given)), words(expected));
        }
        assert_eq!(resolve(Vec::new()), words("mizzen"));
    }

    #[test]
    fn switches_may_have_a_value() {
        let inner = Command::new("in")
            .arg(Arg::new("dry").long("dry-run").action(ArgAction::SetTrue))
            .arg(Arg::new("x").long("x"));
        let command = Command::new("out").subcommand(inner);
        let given = words("out in --dry-run=true --x=true --dry-run=maybe --dry-run=false");
        assert_eq!(switches(&command, given), words("out in --dry-run --x=true --dry-run=maybe"));
    }
}
