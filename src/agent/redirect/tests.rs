//! One golden file for each set of flags, and what plans do to what is installed.

use std::{fmt::Write as _, path::Path};

use super::*;

fn ports(ports: &[u16]) -> Vec<u16> {
    ports.to_vec()
}

fn nets(nets: &[&str]) -> Vec<IpNet> {
    nets.iter().map(|net| net.parse().expect("a range")).collect()
}

/// What the injector asks for.
fn injected() -> Redirection {
    Redirection {
        inbound: Inbound::AllBut(ports(&[15090, 15021, 15020])),
        outbound_ranges: Ranges::All,
        ..Redirection::default()
    }
}

fn cases() -> Vec<(&'static str, Redirection)> {
    let virtual_machine = vec!["net1".to_owned()];
    vec![
        ("injected", injected()),
        ("nothing", Redirection::default()),
        (
            "lists",
            Redirection {
                inbound: Inbound::Only(ports(&[80, 443])),
                outbound_ports: ports(&[9000]),
                outbound_ports_excluded: ports(&[25]),
                outbound_ranges: Ranges::Only(nets(&["10.96.1.1/12", "fd00::/8"])),
                outbound_ranges_excluded: nets(&["10.96.0.1/32", "fd00::1/128"]),
                interfaces_excluded: vec!["eth1".to_owned()],
                interfaces_rerouted: virtual_machine.clone(),
                owners: Owners::AllBut(vec![202]),
                ..Redirection::default()
            },
        ),
        ("loopback", Redirection { outbound_ranges: Ranges::Only(nets(&["127.0.0.0/8"])), ..injected() }),
        (
            "owners",
            Redirection { users: vec![1, 2], groups: vec![3], owners: Owners::Only(vec![202, 203]), ..injected() },
        ),
        ("dns", Redirection { dns: Dns::Servers(vec!["10.96.0.10".parse().expect("an address")]), ..injected() }),
        ("dns-all", Redirection { dns: Dns::All, interfaces_rerouted: virtual_machine, ..injected() }),
        (
            "tproxy",
            Redirection {
                mode: Mode::Tproxy,
                interfaces_excluded: vec!["eth1".to_owned()],
                drop_invalid: true,
                ..injected()
            },
        ),
        ("tproxy-ports", Redirection { mode: Mode::Tproxy, inbound: Inbound::Only(ports(&[80])), ..injected() }),
    ]
}

fn fresh(redirection: &Redirection, family: Family) -> String {
    plan(&Installed::default(), &Rules::new(redirection, family)).expect("nothing is installed")
}

#[test]
fn rules_are_those_of_the_golden_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/agent/redirect/golden");
    let mut wrong = String::new();
    for (name, redirection) in cases() {
        let (v4, v6) = (fresh(&redirection, Family::V4), fresh(&redirection, Family::V6));
        let text = format!("# iptables-restore\n{v4}# ip6tables-restore\n{v6}");
        let file = folder.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &text).expect("written");
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        if golden != text {
            let _infallible = write!(wrong, "{}:\n{text}\n", file.display());
        }
    }
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 writes them\n{wrong}");
}

/// What `iptables-save` prints after a transaction on a fresh namespace.
fn saved(text: &str) -> Installed {
    Installed::parse(&text.replace("*nat\n", "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [7:420]\n"))
}

#[test]
fn what_is_in_place_is_left_alone() {
    for (name, redirection) in cases() {
        for family in [Family::V4, Family::V6] {
            let rules = Rules::new(&redirection, family);
            let installed = saved(&fresh(&redirection, family));
            assert_eq!(plan(&installed, &rules), None, "{name}");
        }
    }
}

#[test]
fn a_change_takes_back_what_stood_and_leaves_what_is_not_ours() {
    let others = "*nat\n:KUBE-X - [0:0]\n-A OUTPUT -j KUBE-X\n-A KUBE-X -j RETURN\nCOMMIT\n";
    let before = fresh(&Redirection { dns: Dns::All, ..injected() }, Family::V4);
    let text = plan(&saved(&(before + others)), &Rules::new(&injected(), Family::V4)).expect("a change");
    assert!(text.contains("*raw\n-F ISTIO_INBOUND\n-F ISTIO_OUTPUT_DNS\n-D OUTPUT -j ISTIO_OUTPUT_DNS\n"), "{text}");
    assert!(text.contains("-X ISTIO_INBOUND\n-X ISTIO_OUTPUT_DNS\nCOMMIT\n*nat\n"), "{text}");
    assert_eq!(text.matches("-D OUTPUT -j ISTIO_OUTPUT\n").count(), 1, "{text}");
    assert!(!text.contains("KUBE-X"), "{text}");
}

#[test]
fn removal_takes_all_of_ours_and_nothing_else() {
    let redirection = Redirection { interfaces_excluded: vec!["eth1".to_owned()], ..injected() };
    let rules = Rules::new(&redirection, Family::V4);
    let others = "*nat\n-A OUTPUT -p tcp -j ACCEPT\nCOMMIT\n";
    let text = removal(&saved(&(fresh(&redirection, Family::V4) + others)), &rules).expect("something is there");
    let deleted: Vec<_> = text.lines().filter(|line| line.starts_with("-D")).collect();
    let expected = [
        "-D OUTPUT -o eth1 -j RETURN",
        "-D OUTPUT -j ISTIO_OUTPUT",
        "-D PREROUTING -i eth1 -j RETURN",
        "-D PREROUTING -p tcp -j ISTIO_INBOUND",
    ];
    assert_eq!(deleted, expected);
    assert!(!text.contains("-A"), "{text}");
    assert_eq!(text.matches("-X ISTIO_").count(), 4, "{text}");
    assert_eq!(removal(&saved(others), &rules), None);
}
