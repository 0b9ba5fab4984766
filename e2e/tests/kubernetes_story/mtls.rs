//! Connections between Pods of the mesh are mutual TLS, and who may do without it is said by PeerAuthentication.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Client, Echo, PATIENCE, Process, Request, eventually};

use super::world::{World, client, echo, openssl};

/// Prints what is seen on the node of connections to an address and port: for each segment `to` or `from`, the other
/// port, and the bytes.
const CAPTURE: &str = "
import socket, sys
address, port = socket.inet_aton(sys.argv[1]), int(sys.argv[2])
# All protocols: what the bridge hands on between Pods is seen by such a socket only.
seen = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
print('ready', flush=True)
while True:
    packet, (_, protocol, *_) = seen.recvfrom(65535)
    if protocol != 0x0800 or packet[9] != 6:
        continue
    ip = (packet[0] & 15) * 4
    source, target = (int.from_bytes(packet[ip + at:ip + at + 2], 'big') for at in (0, 2))
    data = packet[ip + (packet[ip + 12] >> 4) * 4:int.from_bytes(packet[2:4], 'big')]
    if data and packet[16:20] == address and target == port:
        print('to', source, data.hex(), flush=True)
    if data and packet[12:16] == address and source == port:
        print('from', target, data.hex(), flush=True)
";

/// A word that nobody on the way may read.
const SECRET: &str = "swordfish";
/// The port of the workload.
const PORT: u16 = 8080;

#[tokio::test]
async fn connections_are_tls_with_identities_and_plaintext_is_as_wanted() -> Result<()> {
    let world = World::enter("mutual").await?;
    world.run(&[client(), echo("echo", 1)].concat())?;
    let address = world.pod_address("app=echo")?;
    what_is_on_the_wire_is_tls(&world, &address).await?;
    openssl_verifies_the_chain(&world, &address)?;
    plaintext_is_taken_or_refused(&world, &address).await
}

/// A request through both sidecars; what the workload saw of it.
async fn ask(world: &World) -> Result<Echo> {
    let header = format!("x-secret: {SECRET}");
    let command = ["curl", "-sS", "--fail", "--max-time", "10", "-H", &header, "http://echo/"];
    let said = eventually("an answer", PATIENCE, || async { world.exec("deploy/client", "curl", &command) }).await?;
    Ok(serde_json::from_str(&said)?)
}

async fn what_is_on_the_wire_is_tls(world: &World, address: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut command = Command::new("python3");
    command.args(["-c", CAPTURE, address, &PORT.to_string()]).stdin(Stdio::null());
    let mut capture = Process::spawn("capture", &mut command, dir.path())?;
    let out = dir.path().join("capture.out");
    capture
        .until("the capture", PATIENCE, || async {
            ensure!(fs::read_to_string(&out)?.contains("ready"), "not yet");
            anyhow::Ok(())
        })
        .await?;
    let echo = ask(world).await?;
    assert_eq!(echo.headers["x-secret"], SECRET);
    let told = &echo.headers["x-forwarded-client-cert"];
    for part in ["By=spiffe://cluster.local/ns/mutual/sa/echo;", "URI=spiffe://cluster.local/ns/mutual/sa/client"] {
        assert!(told.contains(part), "{told}");
    }
    eventually("the segments", PATIENCE, || async {
        let seen = capture.stdout();
        ensure!(seen.lines().any(|line| line.starts_with("from ")), "{seen}");
        anyhow::Ok(())
    })
    .await?;
    let seen = capture.stdout();
    let secret: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(!seen.contains(&secret), "it can be read on the wire:\n{seen}");
    // A record of a handshake: ClientHello (1), and ServerHello (2) with the extension that says TLS 1.3.
    let first = |way: &str| seen.lines().find(|line| line.starts_with(way)).and_then(|line| line.split(' ').nth(2));
    let (hello, answer) = (first("to ").context("no request")?, first("from ").context("no answer")?);
    assert!(hello.starts_with("160301") && &hello[10..12] == "01", "{hello}");
    assert!(answer.starts_with("160303") && &answer[10..12] == "02" && answer.contains("002b00020304"), "{answer}");
    Ok(())
}

/// As a stranger sees it who has the roots.
fn openssl_verifies_the_chain(world: &World, address: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = |name: &str| dir.path().join(name).display().to_string();
    fs::write(file("roots"), world.roots()?)?;
    let target = format!("{address}:{PORT}");
    let session = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &target,
            "-alpn",
            "istio-http/1.1,istio-peer-exchange,istio",
            "-showcerts",
            "-CAfile",
        ])
        .arg(file("roots"))
        .stdin(Stdio::null())
        .output()
        .context("run openssl")?;
    let said = String::from_utf8_lossy(&session.stdout).into_owned();
    assert!(said.contains("New, TLSv1.3, Cipher is "), "{said}");
    assert!(said.contains("Verification: OK"), "{said}");
    fs::write(file("leaf"), &said)?;
    let names = openssl(&["x509", "-noout", "-ext", "subjectAltName", "-in", &file("leaf")])?;
    assert!(names.contains("URI:spiffe://cluster.local/ns/mutual/sa/echo"), "{names}");
    openssl(&["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", &file("roots"), &file("leaf")]).map(drop)
}

/// The node is not of the mesh.
async fn plaintext_is_taken_or_refused(world: &World, address: &str) -> Result<()> {
    let stranger = Client::http(format!("{address}:{PORT}").parse()?);
    let request = Request::get("/plain");
    assert_eq!(stranger.send(&request).await?.echo()?.path, "/plain", "PERMISSIVE is what holds if nothing is said");
    for (mode, takes) in [("STRICT", false), ("PERMISSIVE", true)] {
        world.cluster.apply(&format!(
            "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {{name: default}}, \
             spec: {{mtls: {{mode: {mode}}}}}}}"
        ))?;
        eventually(&format!("{mode} to hold"), PATIENCE, || async {
            let answered = stranger.send(&request).await.is_ok();
            ensure!(answered == takes, "plaintext is {}", if answered { "taken" } else { "refused" });
            anyhow::Ok(())
        })
        .await?;
        ask(world).await.with_context(|| format!("within the mesh, {mode}"))?;
    }
    Ok(())
}
