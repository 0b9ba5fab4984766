//! The certificate authority on a real API server: who gets which certificate, where its root is kept, and how it is
//! renewed.

mod names;
mod nodes;
mod plugged_in;
mod streams;
mod world;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    KeyPairPem, Mizzen, PATIENCE, eventually,
    workload::{Issued, ask, connect, openssl, send},
};
use serde_json::{Value, json};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use self::world::World;

/// Replicas.
const NAMES: [&str; 3] = ["one", "two", "three"];
/// How long a lock is held by one that does not say that it ends (contract §9).
const LEASE: Duration = Duration::from_secs(30);

const WEB: &str = "URI:spiffe://cluster.local/ns/shop/sa/web";

/// The one name of a certificate is that of the service account.
fn is_of_web(issued: &Issued) -> Result<()> {
    let names = issued.names()?;
    let shown: Vec<&str> = names.lines().map(str::trim).collect();
    ensure!(shown == ["X509v3 Subject Alternative Name: critical", WEB], "{names}");
    Ok(())
}

#[tokio::test]
async fn a_workload_gets_a_certificate_of_its_own_identity_and_renews_it_with_that() -> Result<()> {
    let world = World::start().await?;
    let mizzen = world.mizzen().await?;
    let root = world.kept_root()?;
    world.until_roots("shop", &root).await?;
    let channel = connect(mizzen.secure_grpc(), &root, None).await?;
    let first = ask(&channel, Some(&world.token("web", "istio-ca")?)).await?;
    assert_eq!(first.chain.len(), 2, "a leaf and the root");
    assert_eq!(first.chain[1], root);
    is_of_web(&first)?;
    first.verify(&root)?;

    // With the certificate alone; what a token says does not matter then.
    let renewing = connect(mizzen.secure_grpc(), &root, Some(&first.pair)).await?;
    is_of_web(&ask(&renewing, None).await?)?;
    is_of_web(&ask(&renewing, Some(&world.token("other", "istio-ca")?)).await?)?;

    // One that somebody else issued is turned away by TLS.
    let foreign = mizzen_e2e::Authority::new("foreign")?.issue(&["spiffe://cluster.local/ns/shop/sa/web"])?;
    let refused = match connect(mizzen.secure_grpc(), &root, Some(&foreign)).await {
        Ok(channel) => ask(&channel, None).await.is_err(),
        Err(_) => true,
    };
    assert!(refused, "a certificate of a foreign authority was taken");
    let metrics = mizzen.metrics().await?;
    for line in ["citadel_server_csr_count 3", "citadel_server_success_cert_issuance_count 3"] {
        assert!(metrics.lines().any(|l| l == line), "no {line:?} in\n{metrics}");
    }
    let left = mizzen.metric("citadel_server_root_cert_expiry_seconds").await?.context("a gauge")?;
    let ten_years = 3650.0 * 86_400.0;
    assert!((ten_years - 600.0..=ten_years).contains(&left), "{left}");
    Ok(())
}

/// Seconds since 1970, by the clock that certificates are made by.
fn now() -> Result<u64> {
    let date = std::process::Command::new("date").arg("+%s").output().context("run date")?;
    Ok(String::from_utf8(date.stdout)?.trim().parse()?)
}

#[tokio::test]
async fn bad_actors_are_refused_and_the_server_is_unharmed() -> Result<()> {
    let world = World::start().await?;
    let mizzen = world.mizzen().await?;
    let root = world.kept_root()?;
    let channel = connect(mizzen.secure_grpc(), &root, None).await?;
    let now: u64 = now()?;
    let uid = world.field("shop", "serviceaccount/web", ".metadata.uid")?;
    let signed = |until: u64| {
        world.server.sign_token(&json!({
            "iss": "https://kubernetes.default.svc.cluster.local", "aud": ["istio-ca"],
            "sub": "system:serviceaccount:shop:web", "iat": now - 7200, "nbf": now - 7200, "exp": until,
            "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "web", "uid": uid}},
        }))
    };
    // The same token is taken before its end.
    is_of_web(&ask(&channel, Some(&signed(now + 3600)?)).await?)?;
    let (expired, another) = (signed(now - 3600)?, world.token("web", "vault")?);
    let forged = signed(now + 3600)?.replace('A', "B");
    for (what, token, message) in [
        ("no token", None, "no bearer token"),
        ("garbage", Some("garbage"), "no JSON web token"),
        ("three parts of garbage", Some("a.b.c"), "the token is not valid for istio-ca"),
        ("a forged token", Some(forged.as_str()), "the token is not valid for istio-ca"),
        ("an expired token", Some(expired.as_str()), "expired"),
        ("a token for somebody else", Some(another.as_str()), "the token is not valid for istio-ca"),
        ("the administrator's token", Some("admin-token"), "no JSON web token"),
    ] {
        let Err(refused) = ask(&channel, token).await else { panic!("{what} was taken") };
        assert_eq!(refused.code(), Code::Unauthenticated, "{what}: {refused:?}");
        assert!(refused.message().contains(message), "{what}: not {message:?} in {refused:?}");
        assert!(token.is_none_or(|token| token.len() < 8 || !refused.message().contains(token)), "{refused:?}");
    }
    // What is too large for a header is refused by HTTP/2.
    assert!(ask(&channel, Some(&"x.".repeat(20_000))).await.is_err(), "a huge token was taken");
    let channel = connect(mizzen.secure_grpc(), &root, None).await?;
    let token = world.token("web", "istio-ca")?;
    bad_requests(&mizzen, &channel, &token).await?;
    is_of_web(&ask(&channel, Some(&token)).await?)?;
    let failures = mizzen.metric("citadel_server_authentication_failure_count").await?.unwrap_or_default();
    assert!(failures >= 7.0, "{failures}");
    assert_eq!(mizzen.metric("citadel_server_csr_parsing_err_count").await?, Some(3.0));
    let log = mizzen.log();
    assert!(!log.contains(&token) && !log.contains(&expired) && !log.contains("PRIVATE KEY"), "a secret is logged");
    Ok(())
}

/// Requests of somebody who may ask.
async fn bad_requests(mizzen: &Mizzen, channel: &Channel, token: &str) -> Result<()> {
    for (csr, code, message) in [
        (String::new(), Code::InvalidArgument, "is not valid PEM with a block CERTIFICATE REQUEST"),
        ("no request".to_owned(), Code::InvalidArgument, "is not valid PEM with a block CERTIFICATE REQUEST"),
        ("x".repeat(20_000), Code::InvalidArgument, "the certificate signing request has 20000 bytes"),
        ("x".repeat(5_000_000), Code::OutOfRange, "message length too large"),
    ] {
        let refused = send(channel, Some(token), csr).await.expect_err("refused");
        assert!(refused.code() == code && refused.message().contains(message), "not {code:?} {message:?}: {refused:?}");
    }

    // Plaintext to the port with TLS, and the service on the port without.
    let plain = Endpoint::from_shared(format!("http://{}", mizzen.secure_grpc()))?;
    let answered = match plain.connect().await {
        Ok(channel) => send(&channel, Some(token), String::new()).await.map_err(|e| e.code()),
        Err(_) => Err(Code::Unavailable),
    };
    assert!(matches!(answered, Err(Code::Unavailable | Code::Unknown | Code::Internal)), "{answered:?}");
    let open = Endpoint::from_shared(format!("http://{}", mizzen.grpc()))?.connect().await?;
    assert_eq!(ask(&open, Some(token)).await.err().context("refused")?.code(), Code::Unimplemented);

    Ok(())
}

#[tokio::test]
async fn the_root_outlives_restarts_and_replicas_agree_on_it() -> Result<()> {
    let world = World::start().await?;
    // At once: the first to write wins.
    let mut replicas = Vec::new();
    for name in NAMES {
        replicas.push(Mizzen::launch(world.options(name))?);
    }
    for replica in &mut replicas {
        replica.wait_ready(PATIENCE).await?;
    }
    let root = world.kept_root()?;
    let token = world.token("web", "istio-ca")?;
    for replica in &mut replicas {
        let issued = ask(&connect(replica.secure_grpc(), &root, None).await?, Some(&token)).await?;
        assert_eq!(issued.chain[1], root);
        issued.verify(&root)?;
    }
    let keys = world.field("istio-system", "secret/istio-ca-secret", ".data")?;
    let keys: Value = serde_json::from_str(&keys)?;
    let keys: Vec<&String> = keys.as_object().context("keys")?.keys().collect();
    assert_eq!(keys, ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "key.pem", "root-cert.pem"]);
    assert_eq!(world.field("istio-system", "secret/istio-ca-secret", ".type")?, "istio.io/ca-root");
    world.until_roots("shop", &root).await?;
    let version = |w: &World| w.field("shop", "configmap/istio-ca-root-cert", ".metadata.resourceVersion");
    let before = version(&world)?;

    replicas[0].restart().await?;
    assert_eq!(world.kept_root()?, root);
    let issued = ask(&connect(replicas[0].secure_grpc(), &root, None).await?, Some(&token)).await?;
    assert_eq!(issued.chain[1], root);

    // Another one leads when the leader ends, at once and not when the lock's lease is over; nothing is written that is
    // right already.
    let leader = |w: &World| {
        let path = ".metadata.annotations.control-plane\\.alpha\\.kubernetes\\.io/leader";
        let record = w.field("istio-system", "configmap/istio-namespace-controller-election", path)?;
        let record: Value = serde_json::from_str(&record)?;
        anyhow::Ok(record["holderIdentity"].as_str().unwrap_or_default().to_owned())
    };
    let first = leader(&world)?;
    let position = NAMES.iter().position(|name| *name == first).context("one of them leads")?;
    replicas[position].terminate().await?;
    world.server.kubectl(&["create", "namespace", "late"])?;
    eventually("another leader", LEASE / 2, || async {
        let now = leader(&world)?;
        ensure!(NAMES.contains(&now.as_str()) && now != first, "{now}");
        anyhow::Ok(())
    })
    .await?;
    world.until_roots("late", &root).await?;
    assert_eq!(version(&world)?, before);
    Ok(())
}

#[tokio::test]
async fn certificates_are_renewed_while_the_api_server_is_away() -> Result<()> {
    let mut world = World::start().await?;
    let mizzen = world.mizzen().await?;
    let (root, token) = (world.kept_root()?, world.token("web", "istio-ca")?);
    let first = ask(&connect(mizzen.secure_grpc(), &root, None).await?, Some(&token)).await?;
    world.server.kill();
    is_of_web(&ask(&connect(mizzen.secure_grpc(), &root, Some(&first.pair)).await?, None).await?)?;
    // Nobody can say whose a token is: that is not the caller's fault.
    let channel = connect(mizzen.secure_grpc(), &root, None).await?;
    let refused = ask(&channel, Some(&token)).await.err().context("refused")?;
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    world.server.start_again().await?;
    eventually("tokens to be reviewed again", PATIENCE, || async { is_of_web(&ask(&channel, Some(&token)).await?) })
        .await
}

#[tokio::test]
async fn roots_are_in_every_namespace_and_repaired() -> Result<()> {
    let world = World::start().await?;
    for namespace in ["kube-public", "kube-node-lease", "local-path-storage", "kube-system"] {
        world.server.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"))?;
    }
    // One that somebody else wrote first, with something beside.
    world.server.apply(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: istio-ca-root-cert, namespace: shop}, \
         data: {root-cert.pem: old, other: kept}}",
    )?;
    let _mizzen = world.mizzen().await?;
    let root = world.kept_root()?;
    for namespace in ["shop", "istio-system", "kube-system"] {
        world.until_roots(namespace, &root).await?;
    }
    let map = "configmap/istio-ca-root-cert";
    assert_eq!(world.field("shop", map, ".data.other")?, "kept");
    assert_eq!(world.field("shop", map, ".metadata.labels.istio\\.io/config")?, "true");

    world.server.kubectl(&["patch", map, "-nshop", "--type=merge", "-p", r#"{"data":{"root-cert.pem":"x"}}"#])?;
    world.until_roots("shop", &root).await?;
    world.server.kubectl(&["delete", map, "-nkube-system"])?;
    world.until_roots("kube-system", &root).await?;
    world.server.kubectl(&["create", "namespace", "new"])?;
    world.until_roots("new", &root).await?;
    assert_eq!(world.field("shop", map, ".data.other")?, "kept");
    for namespace in ["kube-public", "kube-node-lease", "local-path-storage"] {
        assert!(world.roots(namespace).is_err(), "{namespace} has one");
    }
    Ok(())
}

#[tokio::test]
async fn a_root_is_renewed_while_workloads_keep_calling() -> Result<()> {
    let world = World::start().await?;
    // A lifetime of ten minutes, of which all but a few seconds count as its end; looked at each second.
    let options = |name: &str| {
        [
            ("CITADEL_SELF_SIGNED_CA_CERT_TTL", "10m"),
            ("CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", "82"),
            ("CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL", "1s"),
        ]
        .iter()
        .fold(world.options(name), |options, (name, value)| options.env(name, value))
    };
    let one = Mizzen::start(options("one")).await?;
    let two = Mizzen::start(options("two")).await?;
    let old = world.kept_root()?;
    let token = world.token("web", "istio-ca")?;
    let before = ask(&connect(one.secure_grpc(), &old, None).await?, Some(&token)).await?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut calls, mut renewed) = (0, None);
    // Each time a new connection, verified with the old root, with the certificate of before.
    while renewed.is_none() {
        ensure!(Instant::now() < deadline, "it is not renewed: {}", one.log());
        for replica in [&one, &two] {
            let own: Option<&KeyPairPem> = (calls % 2 == 0).then_some(&before.pair);
            let channel = connect(replica.secure_grpc(), &old, own).await.context("connect")?;
            let issued = ask(&channel, own.is_none().then_some(token.as_str())).await.context("ask")?;
            is_of_web(&issued)?;
            issued.verify(&old)?;
            calls += 1;
            if issued.chain[1] != old {
                renewed = Some(issued);
            }
        }
    }
    let after = renewed.context("renewed")?;
    let new = after.chain[1].clone();
    before.verify(&new)?;
    after.verify(&new)?;
    let key_of = |root: &str| openssl(&["x509", "-noout", "-pubkey"], root);
    assert_eq!(key_of(&old)?, key_of(&new)?);
    // The other replica and all namespaces follow, without a restart.
    world.until_roots("shop", &world.kept_root()?).await?;
    eventually("both replicas to have the same root", PATIENCE, || async {
        let kept = world.kept_root()?;
        for replica in [&one, &two] {
            let issued = ask(&connect(replica.secure_grpc(), &new, None).await?, Some(&token)).await?;
            ensure!(issued.chain[1] == kept, "another root");
        }
        anyhow::Ok(())
    })
    .await
}
