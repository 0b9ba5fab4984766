//! The mesh moves to a root of another key, as an operator does who has plugged in an authority (contract §4.4): both roots
//! are trusted, then the new one signs, then the old one is dropped. No request fails.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mizzen_e2e::{Authority, KeyPairPem, Load, PATIENCE, Tally, eventually};
use serde_json::{Value, json};

use super::{
    traffic::{Outcome, Traffic},
    world::{SHORT_LIVES, World, client_with, echo_with, exposed, many_handshakes, openssl, report},
};

/// Between two requests to the gateway.
const PAUSE: Duration = Duration::from_millis(50);
/// What the kubelet and certificates of a minute may take.
const MOVING: Duration = Duration::from_secs(180);
const GATEWAY: &str = "istio-ingressgateway";
/// The certificates of the gateway live as those of the workloads do.
const SHORT: [&str; 2] = ["SECRET_TTL=60s", "SECRET_GRACE_PERIOD_RATIO=0.9"];
const USUAL: [&str; 2] = ["SECRET_TTL-", "SECRET_GRACE_PERIOD_RATIO-"];

const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
---
";

#[tokio::test]
async fn the_mesh_moves_to_a_root_of_another_key_and_no_request_fails() -> Result<()> {
    let world = World::enter("new-root").await?;
    let (old, new) = (Authority::new("old")?, Authority::new("new")?);
    let both = [old.pem(), new.pem()].concat();
    let plugged = Plugged::start(&world, &old).await?;
    let sidecars = [client_with(SHORT_LIVES), echo_with("echo", 1, SHORT_LIVES), many_handshakes("echo")];
    world.run(&[&sidecars.concat(), STRICT, &exposed("echo", "")].concat())?;
    let load = Requests::start(&world).await?;
    let (old_peer, new_peer) = (peer(&old)?, peer(&new)?);
    until(&world, "the old root", old.pem(), [&old, &new]).await?;
    ensure!(is_answered(&world, &old_peer)? && !is_answered(&world, &new_peer)?, "another root is trusted");
    let mut load = load.more().await?;

    plugged.put(&old, &both)?;
    until(&world, "both roots, the old one's certificates", &both, [&old, &new]).await?;
    until_the_agents_trust(&world, &both).await?;
    load = load.more().await?;

    plugged.put(&new, &both)?;
    until(&world, "both roots, the new one's certificates", &both, [&new, &old]).await?;
    ensure!(is_answered(&world, &old_peer)? && is_answered(&world, &new_peer)?, "one of the roots is not trusted");
    load = load.more().await?;

    plugged.put(&new, new.pem())?;
    until(&world, "the new root alone", new.pem(), [&new, &old]).await?;
    until_the_agents_trust(&world, new.pem()).await?;
    ensure!(!is_answered(&world, &old_peer)? && is_answered(&world, &new_peer)?, "the old root is trusted still");
    load = load.more().await?;
    // A proxy that starts now knows nothing of the old one.
    world.cluster.kubectl(&["rollout", "restart", "deployment/echo"])?;
    world.rolled_out(world.namespace, "echo")?;
    let (sidecar, gateway) = load.more().await?.stop_unharmed().await?;
    report(&format!("another root: sidecar {sidecar}; gateway {gateway}"))
}

/// Requests of a sidecar, and of a client of the gateway.
struct Requests<'a>(Traffic<'a>, Load);

impl<'a> Requests<'a> {
    async fn start(world: &'a World) -> Result<Self> {
        let (client, request) = world.served("echo").await?;
        Ok(Self(Traffic::start(world, "new-root", "http://echo/")?, Load::paced(&client, &request, 1, PAUSE)))
    }

    async fn more(mut self) -> Result<Self> {
        let Self(sidecar, gateway) = &mut self;
        tokio::try_join!(sidecar.more(60), gateway.more(60))?;
        Ok(self)
    }

    async fn stop_unharmed(self) -> Result<(Outcome, Tally)> {
        Ok((self.0.stop_unharmed().await?, self.1.stop_unharmed().await?))
    }
}

/// The mesh with a plugged-in authority, until dropped.
struct Plugged<'a>(&'a World);

impl<'a> Plugged<'a> {
    async fn start(world: &'a World, operator: &Authority) -> Result<Self> {
        world.system(&["create", "secret", "generic", "cacerts"])?;
        let plugged = Self(world);
        plugged.put(operator, operator.pem())?;
        plugged.restart()?;
        plugged.until_roots(operator.pem()).await?;
        world.system(&[&["set", "env", &format!("deployment/{GATEWAY}")], &SHORT[..]].concat())?;
        world.rolled_out("istio-system", GATEWAY)?;
        Ok(plugged)
    }

    /// Puts an authority there, which a control plane that runs takes without a restart.
    fn put(&self, operator: &Authority, roots: &str) -> Result<()> {
        let files = operator.plug_in(roots)?.files;
        let data: serde_json::Map<_, _> =
            files.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
        let patch = json!({"stringData": data}).to_string();
        self.0.system(&["patch", "secret/cacerts", "--type=merge", "-p", &patch]).map(drop)
    }

    fn restart(&self) -> Result<()> {
        self.0.system(&["rollout", "restart", "deployment/istiod"])?;
        self.0.rolled_out("istio-system", "istiod")
    }

    async fn until_roots(&self, roots: &str) -> Result<()> {
        eventually("the roots in the namespaces", PATIENCE, || async {
            let found = [self.0.roots()?, self.0.system(&["get", "configmap/istio-ca-root-cert", ROOTS])?];
            ensure!(found.iter().all(|found| same(found, roots)), "others");
            anyhow::Ok(())
        })
        .await
    }
}

const ROOTS: &str = "-o=jsonpath={.data.root-cert\\.pem}";

impl Drop for Plugged<'_> {
    /// Other tests have the mesh as it was installed.
    fn drop(&mut self) {
        let undo = || {
            self.0.system(&["delete", "secret/cacerts"])?;
            self.restart()?;
            self.0.system(&[&["set", "env", &format!("deployment/{GATEWAY}")], &USUAL[..]].concat())?;
            self.0.rolled_out("istio-system", GATEWAY)
        };
        if let Err(error) = undo() {
            let _ = report(&format!("the mesh is not as it was: {error:#}"));
        }
    }
}

/// Waits until all proxies trust exactly those roots, and show certificates of the first authority and not of the other.
async fn until(world: &World, what: &str, roots: &str, [signer, other]: [&Authority; 2]) -> Result<()> {
    eventually(what, MOVING, || async {
        for proxy in ["deploy/client", "deploy/echo", "gateway"] {
            let shown = Shown::by(world, proxy)?;
            ensure!(same(&shown.roots, roots), "{proxy} trusts others");
            shown.verify(signer.pem()).with_context(|| format!("{proxy} shows another one's certificate"))?;
            ensure!(shown.verify(other.pem()).is_err(), "{proxy} shows a certificate of both");
        }
        let wire = Shown { chain: on_the_wire(world)?, roots: String::new() };
        wire.verify(signer.pem()).context("what is on the wire")
    })
    .await
}

/// Waits until the agents would take a control plane that one of the roots vouches for, and no other.
async fn until_the_agents_trust(world: &World, roots: &str) -> Result<()> {
    eventually("the roots in the Pods", MOVING, || async {
        for proxy in ["deploy/client", "deploy/echo", "gateway"] {
            let found = in_proxy(world, proxy, &["cat", "/var/run/secrets/istio/root-cert.pem"])?;
            ensure!(same(&found, roots), "{proxy} has others");
        }
        anyhow::Ok(())
    })
    .await
}

fn in_proxy(world: &World, proxy: &str, command: &[&str]) -> Result<String> {
    match proxy {
        "gateway" => world.system(&[&["exec", &format!("deploy/{GATEWAY}"), "--"], command].concat()),
        workload => world.exec(workload, "istio-proxy", command),
    }
}

fn same(one: &str, other: &str) -> bool {
    let sorted = |pem: &str| {
        let mut all: Vec<String> = pem.split_inclusive("-----END CERTIFICATE-----").map(squeezed).collect();
        all.retain(|certificate| !certificate.is_empty());
        all.sort();
        all
    };
    sorted(one) == sorted(other)
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

/// What an Envoy shows to others, and whom it trusts (PEM).
struct Shown {
    chain: String,
    roots: String,
}

impl Shown {
    fn by(world: &World, proxy: &str) -> Result<Self> {
        let url = "http://localhost:15000/config_dump?resource=dynamic_active_secrets";
        let dump: Value = serde_json::from_str(&in_proxy(world, proxy, &["curl", "-sS", url])?)?;
        let text = |name: &str, path: &str| -> Result<String> {
            let mut secrets = dump["configs"].as_array().into_iter().flatten();
            let secret = secrets.find(|secret| secret["name"] == name);
            let bytes = secret.and_then(|secret| secret["secret"].pointer(path)?["inline_bytes"].as_str());
            let bytes = STANDARD.decode(bytes.with_context(|| format!("{proxy} has no secret {name}: {dump}"))?)?;
            Ok(String::from_utf8(bytes)?)
        };
        Ok(Self {
            chain: text("default", "/tls_certificate/certificate_chain")?,
            roots: text("ROOTCA", "/validation_context/trusted_ca")?,
        })
    }

    fn verify(&self, root: &str) -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).map(|()| path.display().to_string())
        };
        let (root, chain) = (file("root", root)?, file("chain", &self.chain)?);
        openssl(&["verify", "-x509_strict", "-CAfile", &root, "-untrusted", &chain, &chain]).map(drop)
    }
}

/// The certificate of a workload that an operator has made itself.
fn peer(operator: &Authority) -> Result<KeyPairPem> {
    operator.issue(&["spiffe://cluster.local/ns/new-root/sa/client"])
}

/// Whether the workload answers a peer.
fn is_answered(world: &World, peer: &KeyPairPem) -> Result<bool> {
    let dir = tempfile::tempdir()?;
    let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
    fs::write(&cert, &peer.cert)?;
    fs::write(&key, &peer.key)?;
    let own = ["-cert", &cert.display().to_string(), "-key", &key.display().to_string()];
    Ok(s_client(world, &own)?.contains("HTTP/1.1 200 OK"))
}

/// The certificates that the workload shows to somebody without one.
fn on_the_wire(world: &World) -> Result<String> {
    let said = s_client(world, &[])?;
    let mut parts = said.split("-----BEGIN CERTIFICATE-----").skip(1);
    let chain: String = parts
        .by_ref()
        .filter_map(|part| part.split_once("-----END CERTIFICATE-----"))
        .map(|(body, _)| format!("-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n"))
        .collect();
    ensure!(!chain.is_empty(), "no certificates: {said}");
    Ok(chain)
}

fn s_client(world: &World, own: &[&str]) -> Result<String> {
    let target = format!("{}:8080", world.pod_address("app=echo")?);
    let mut session = Command::new("timeout")
        .args(["10", "openssl", "s_client", "-ign_eof", "-showcerts", "-alpn", "istio-http/1.1", "-connect", &target])
        .args(own)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("run openssl")?;
    // It may have been turned away already.
    let _ = session
        .stdin
        .take()
        .context("no input")?
        .write_all(b"GET / HTTP/1.1\r\nHost: echo\r\nConnection: close\r\n\r\n");
    Ok(String::from_utf8_lossy(&session.wait_with_output()?.stdout).into_owned())
}
