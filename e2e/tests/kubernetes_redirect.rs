//! `mizzen iptables` in network namespaces of their own: what the kernel then holds, and where connections go.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::mizzen_program;

/// Runs a script as root in a fresh network namespace with loopback and 192.0.2.1; `$MIZZEN` is the program.
fn in_namespace(script: &str) -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("tools/netns"));
    command.args(["bash", "-euo", "pipefail", "-c", script]).env("MIZZEN", mizzen_program()?);
    command.stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().context("run e2e/tools/netns")?;
    let text = String::from_utf8_lossy(&stdout).into_owned();
    ensure!(status.success(), "{status}\n{text}\n{}", String::from_utf8_lossy(&stderr));
    Ok(text)
}

const INJECTED: &str = "$MIZZEN iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i '*' -x '' -b '*' -d 15090,15021,15020 \
                        --log_output_level=default:error --unknown-flag 1";

/// Rules and chains without counters and comments.
const SAVE: &str =
    "save() { { iptables-save; ip6tables-save; } | grep -e ^-A -e ^:ISTIO | sed 's/ \\[.*//' || true; }; ";

/// A server of one line on a port; who asks gets the port, and where the kernel says that they wanted to go when it is
/// elsewhere. A client that runs as user and group 1000, or as the proxy.
const TRAFFIC: &str = r#"
serve() { python3 - "$@" <<'PYTHON' &
import ipaddress, socket, sys, threading
ORIGINAL_DST, IPV6_TRANSPARENT = 80, 75
def wanted(peer, has_ipv6):
    try:
        said = peer.getsockopt(socket.IPPROTO_IPV6 if has_ipv6 else socket.SOL_IP, ORIGINAL_DST, 28)
    except OSError:
        return peer.getsockname()[:2]
    address = said[8:24] if has_ipv6 else said[4:8]
    return str(ipaddress.ip_address(address)), int.from_bytes(said[2:4], "big")
def serve(address, port):
    has_ipv6 = ":" in address
    server = socket.socket(socket.AF_INET6 if has_ipv6 else socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # As Envoy's listener in the mode TPROXY.
    if has_ipv6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    else:
        server.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)
    server.bind((address, port))
    server.listen(50)
    while True:
        peer, _ = server.accept()
        address, original = wanted(peer, has_ipv6)
        peer.sendall((f"{port}" if original == port else f"{port} for {address} {original}").encode())
        peer.close()
for argument in sys.argv[1:]:
    address, _, port = argument.rpartition("@")
    threading.Thread(target=serve, args=(address, int(port))).start()
PYTHON
SERVER=$!; trap 'kill $SERVER' EXIT; }
ask() { python3 - "$@" <<'PYTHON'
import encodings.idna, os, socket, sys, time
user, address, port, source = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), (sys.argv[4:] or [None])[0]
os.setgroups([])
os.setgid(user)
os.setuid(user)
for attempt in range(200):
    try:
        peer = socket.create_connection((address, port), 5, (source, 0) if source else None)
        print(peer.recv(100).decode())
        sys.exit()
    except ConnectionRefusedError:
        time.sleep(0.02)
print("refused")
PYTHON
}
"#;

#[test]
fn connections_go_to_the_proxy_and_come_back_when_the_rules_are_removed() -> Result<()> {
    let script = format!(
        "{TRAFFIC}{SAVE}
        serve 0.0.0.0@15001 0.0.0.0@15006 0.0.0.0@8080 0.0.0.0@15021
        echo before $(ask 1000 192.0.2.1 8080)
        {INJECTED}
        echo elsewhere $(ask 1000 203.0.113.9 80)
        echo itself $(ask 1000 192.0.2.1 8080)
        echo local $(ask 1000 127.0.0.1 8080)
        echo proxy-to-service $(ask 1337 192.0.2.1 8080)
        echo proxy-to-workload $(ask 1337 192.0.2.1 8080 127.0.0.6)
        $MIZZEN iptables --cleanup-only --log_output_level default:error
        echo after $(ask 1000 192.0.2.1 8080)
        echo left $(save | wc -l)"
    );
    // 203.0.113.9 is nowhere: only a redirected connection is answered.
    let with_route =
        format!("ip link add away type bridge; ip address add 203.0.113.1/24 dev away; ip link set away up\n{script}");
    let answers = in_namespace(&with_route)?;
    let expected = "before 8080\nelsewhere 15001 for 203.0.113.9 80\nitself 8080\nlocal 8080\n\
                    proxy-to-service 15006 for 192.0.2.1 8080\nproxy-to-workload 8080\nafter 8080\nleft 0\n";
    assert_eq!(answers, expected);
    Ok(())
}

#[test]
fn connections_of_ipv6_go_the_same_ways() -> Result<()> {
    let answers = in_namespace(&format!(
        "{TRAFFIC}{SAVE}
        ip address add fd00::1/128 dev lo nodad; ip address add ::6/128 dev lo nodad
        ip link add away type bridge; ip address add fd00:9::1/64 dev away nodad; ip link set away up
        serve ::@15001 ::@15006 ::@8080 ::@15021
        echo before $(ask 1000 fd00::1 8080)
        {INJECTED} --dual-stack
        echo elsewhere $(ask 1000 fd00:9::9 80)
        echo itself $(ask 1000 fd00::1 8080)
        echo local $(ask 1000 ::1 8080)
        echo proxy-to-service $(ask 1337 fd00::1 8080)
        echo proxy-to-workload $(ask 1337 fd00::1 8080 ::6)
        $MIZZEN iptables --cleanup-only --dual-stack --log_output_level default:error
        echo after $(ask 1000 fd00::1 8080)
        echo left $(save | wc -l)"
    ))?;
    let expected = "before 8080\nelsewhere 15001 for fd00:9::9 80\nitself 8080\nlocal 8080\n\
                    proxy-to-service 15006 for fd00::1 8080\nproxy-to-workload 8080\nafter 8080\nleft 0\n";
    assert_eq!(answers, expected);
    Ok(())
}

/// This machine, the other one, and all addresses.
const FAMILIES: [[&str; 3]; 2] =
    [["198.51.100.1/24", "198.51.100.2/24", "0.0.0.0"], ["fd00:51::1/64 nodad", "fd00:51::2/64 nodad", "::"]];

#[test]
fn inbound_connections_of_another_machine_go_to_the_proxy() -> Result<()> {
    for (mode, tproxy) in [("REDIRECT", ""), ("TPROXY", "--drop-invalid")] {
        for [this, other, all] in FAMILIES {
            let address = this.split('/').next().context("an address")?;
            let answers = in_namespace(&format!(
                "{TRAFFIC}{SAVE}
                ip link add here type veth peer name there
                unshare --net sleep 1000 & OTHER=$!
                until [ \"$(readlink /proc/$OTHER/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.02; done
                ip link set there netns $OTHER
                ip address add {this} dev here; ip link set here up
                nsenter --net=/proc/$OTHER/ns/net bash -c 'ip link set lo up; ip address add {other} dev there; ip link set there up'
                serve {all}@15006 {all}@8080 {all}@15021
                trap 'kill $SERVER $OTHER' EXIT
                there() {{ nsenter --net=/proc/$OTHER/ns/net bash -c \"$(declare -f ask); ask 1000 {address} $1\"; }}
                echo before $(there 8080)
                {rules} {tproxy}
                {rules} {tproxy}
                echo status $(there 15021)
                echo workload $(there 8080)
                {rules} {tproxy} --run-validation --skip-rule-apply
                {rules} {tproxy} --cleanup-only
                echo after $(there 8080), left $(save | wc -l) $({{ ip rule; ip -6 rule; }} | grep -c 'lookup 133' || true)",
                rules = INJECTED.replace("REDIRECT", mode) + " --dual-stack",
            ))?;
            let expected =
                format!("before 8080\nstatus 15021\nworkload 15006 for {address} 8080\nafter 8080, left 0 0\n");
            assert_eq!(answers, expected, "{mode} {address}");
        }
    }
    Ok(())
}

#[test]
fn a_second_run_changes_nothing_and_other_flags_change_all() -> Result<()> {
    let sets = [
        INJECTED.to_owned(),
        INJECTED.replace("'*' -d", "80,443 -d").replace("-i '*'", "-i 10.0.0.0/8,fd00::/8"),
        INJECTED.replace("REDIRECT", "TPROXY") + " --drop-invalid -c eth9 -k net1",
        format!("{INJECTED} --redirect-dns --resolv-conf=<(echo nameserver 10.96.0.10; echo nameserver fd00::10)"),
        format!("{INJECTED} --redirect-dns=true --capture-all-dns -o 25 -q 9000 -x 10.1.2.3/16 -g 5 -u 6,7"),
        format!("ISTIO_OUTBOUND_OWNER_GROUPS=root,202 {INJECTED}"),
    ];
    for set in &sets {
        let set = &format!("{set} --dual-stack");
        let said = in_namespace(&format!(
            "{SAVE}
            iptables -A OUTPUT -p icmp -j ACCEPT
            {set}; first=$(save)
            if {INJECTED} --run-validation --skip-rule-apply --dual-stack; then same=1; else [ $? = 126 ]; same=0; fi
            {quiet}; [ \"$first\" = \"$(save)\" ] || {{ echo 'second run changed:'; save; }}
            {set} --run-validation --skip-rule-apply
            {INJECTED}; {set}; [ \"$(sort <<<\"$first\")\" = \"$(save | sort)\" ] || {{ echo 'changed back:'; save; }}
            {set} --cleanup-only; [ \"$(save)\" = '-A OUTPUT -p icmp -j ACCEPT' ] || {{ echo 'left:'; save; }}",
            quiet = set.replace("default:error", "default:info") + " | grep -c 'in place already' | grep -q 2",
        ))
        .with_context(|| set.clone())?;
        assert_eq!(said, "", "{set}");
    }
    Ok(())
}

#[test]
fn a_dry_run_needs_no_rights_and_a_wrong_flag_is_told() -> Result<()> {
    let said = in_namespace(&format!("{SAVE}{INJECTED} --dry-run | grep -c ISTIO_IN_REDIRECT; save"))?;
    assert_eq!(said, "5\n");
    let told = in_namespace("$MIZZEN iptables -b 80,99999 2>&1 || echo code $?")?;
    assert!(told.contains("'80,99999' for '--istio-inbound-ports") && told.ends_with("code 2\n"), "{told}");
    let told = in_namespace("PATH=/nowhere $MIZZEN iptables -b 80 2>&1 || echo code $?")?;
    assert!(told.contains("none of iptables, iptables-nft, iptables-legacy can read"), "{told}");
    Ok(())
}
