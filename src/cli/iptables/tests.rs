//! What flags and variables come to.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: IptablesArgs,
}

/// The command line of an init container, with variables of the pod.
fn args(flags: &[&str], variables: &[(&str, &str)]) -> IptablesArgs {
    let line = ["iptables"].iter().chain(flags);
    let mut args = Line::try_parse_from(line).expect("flags").args;
    args.switches.turn_on(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()));
    args
}

#[test]
fn requests_for_names_are_redirected_where_the_pod_has_its_agent_answer_them() {
    let dns = |flags: &[&str], value: &str| {
        let all = [&["--resolv-conf", "/dev/null"][..], flags].concat();
        args(&all, &[("ISTIO_META_DNS_CAPTURE", value)]).redirection().expect("rules").dns
    };
    let servers = Dns::Servers(Vec::new());
    assert_eq!((dns(&[], "true"), dns(&[], "1")), (servers.clone(), servers.clone()));
    assert_eq!(dns(&["--capture-all-dns"], "true"), Dns::All);
    assert_eq!(dns(&["--redirect-dns"], "false"), servers, "the flag says so");
    for off in ["", "false", "0", "ALL"] {
        assert_eq!(dns(&[], off), Dns::Off, "{off:?}");
    }
}

#[test]
fn second_names_of_variables_count() {
    let made = args(&[], &[("INVALID_DROP", "true"), ("ISTIO_DUAL_STACK", "True")]);
    assert!(made.switches.drop_invalid && made.switches.dual_stack && !made.switches.redirect_dns);
}

#[test]
fn a_backend_that_there_is_not_is_refused_and_what_is_done_anyway_may_be_asked_for() {
    for flags in [&["--reconcile"][..], &["--reconcile=true"], &["--native-nftables=false"]] {
        let made = args(flags, &[]);
        assert!(made.reconcile && !made.native_nftables, "{flags:?}");
    }
    assert!(args(&["--native-nftables"], &[]).native_nftables);
}
