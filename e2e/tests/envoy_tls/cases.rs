//! The cases, whatever the objects come from: see `SOURCE` and `start` of the test that includes them.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    Authority, Client, KeyPairPem, Load, PATIENCE, Request, Scene, Tls, UpstreamOptions, Wire, eventually, free_port,
    gateway, route_all, secret, service, tls_secret, virtual_service,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{SOURCE, start};

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A server of a Gateway: its name, port, host, protocol and TLS settings.
pub(crate) fn server(name: &str, port: u16, host: &str, protocol: &str, tls: &str) -> String {
    let tls = if tls.is_empty() { String::new() } else { format!(", tls: {{{tls}}}") };
    format!("  - {{port: {{number: {port}, name: {name}, protocol: {protocol}}}, hosts: ['{host}']{tls}}}\n")
}

/// A client that asks for a name and trusts an authority.
pub(crate) fn client(port: u16, name: &str, authority: &Authority, identity: Option<KeyPairPem>) -> Result<Client> {
    let tls = Tls { server_name: name.to_owned(), ca: authority.pem().to_owned(), identity };
    Client::https(local(port), &tls)
}

/// Waits until a client is answered by an upstream.
pub(crate) async fn answered(client: &Client, host: &str, upstream: &str) -> Result<()> {
    eventually(&format!("an answer of {upstream} for {host}"), PATIENCE, || async {
        let reply = client.send(&Request::get("/").host(host)).await?;
        ensure!((reply.status, reply.upstream()) == (200, upstream), "{} {}", reply.status, reply.upstream());
        anyhow::Ok(())
    })
    .await
}

/// The certificate that a new connection sees, DER.
async fn certificate(client: &Client) -> Result<Vec<u8>> {
    let connection = client.connect().await?;
    Ok(connection.peer_certificate().context("no certificate")?.to_vec())
}

/// Route to service `a` at Gateway `tls`.
pub(crate) fn to_a(name: &str, host: &str) -> String {
    route_all(name, host, "a").replace("[gateway]", "[tls]")
}

#[tokio::test]
async fn simple_and_mutual_by_name_while_what_has_no_secret_is_withheld() -> Result<()> {
    let upstream = SOURCE.upstream("a").await?;
    let (servers, clients) = (Authority::new("servers")?, Authority::new("clients")?);
    let port = free_port()?;
    let tls = server("one", port, "one.test", "HTTPS", "mode: SIMPLE, credentialName: one")
        + &server("two", port, "two.test", "HTTPS", "mode: MUTUAL, credentialName: two")
        + &server("late", port, "late.test", "HTTPS", "mode: SIMPLE, credentialName: late");
    let objects = gateway("tls", &tls)
        + &service("a", "http", &[&upstream])
        + &to_a("v", "*")
        + &tls_secret("one", &servers.issue(&["one.test"])?)
        + &tls_secret("two", &servers.issue(&["two.test"])?)
        + &secret("two-cacert", &[("ca.crt", clients.pem())]);
    let scene = start(&objects).await?;
    answered(&client(port, "one.test", &servers, None)?, "one.test", "a").await?;

    let identity = clients.issue(&["spiffe://cluster.local/ns/default/sa/client"])?;
    answered(&client(port, "two.test", &servers, Some(identity))?, "two.test", "a").await?;
    let stranger = servers.issue(&["stranger"])?;
    for identity in [None, Some(stranger)] {
        let reply = client(port, "two.test", &servers, identity)?.send(&Request::get("/").host("two.test")).await;
        assert!(reply.is_err(), "served without a client certificate of the authority: {reply:?}");
    }

    let late = client(port, "late.test", &servers, None)?;
    assert!(late.connect().await.is_err(), "served without a secret");
    scene.config.write("late.yaml", tls_secret("late", &servers.issue(&["late.test"])?))?;
    answered(&late, "late.test", "a").await?;
    scene.nothing_refused().await
}

/// Waits until mizzen tells of a problem whose line contains a text.
async fn problem(scene: &Scene, text: &str) -> Result<()> {
    eventually(&format!("a problem about {text:?}"), PATIENCE, || async {
        let problems = scene.mizzen.json("/debug/problems").await?;
        let lines = problems.as_array().context("no list")?.iter().filter_map(|p| p["message"].as_str());
        ensure!(lines.into_iter().any(|line| line.contains(text)), "{problems}");
        anyhow::Ok(())
    })
    .await
}

/// Connections that are kept over all that happens.
const CONNECTIONS: u64 = 2;

#[tokio::test]
async fn a_secret_is_rotated_without_dropping_a_request_and_a_broken_one_is_not_used() -> Result<()> {
    let upstream = SOURCE.upstream("a").await?;
    let authority = Authority::new("servers")?;
    let port = free_port()?;
    let objects = gateway("tls", &server("one", port, "*", "HTTPS", "mode: SIMPLE, credentialName: one"))
        + &service("a", "http", &[&upstream])
        + &to_a("v", "*");
    let mut scene = start(&objects).await?;
    let first = authority.issue(&["one.test"])?;
    scene.config.write("secret.yaml", tls_secret("one", &first))?;
    let client = client(port, "one.test", &authority, None)?;
    answered(&client, "one.test", "a").await?;

    let request = Request::get("/").host("one.test");
    let mut kept = client.connect().await?;
    assert_eq!(kept.send(&request).await?.status, 200);
    let load = Load::start(&client, &request, CONNECTIONS.try_into()?);
    load.more(20).await?;
    let old = certificate(&client).await?;
    let second = authority.issue(&["one.test"])?;
    scene.config.write("secret.yaml", tls_secret("one", &second))?;
    let new = eventually("the new certificate", PATIENCE, || async {
        let now = certificate(&client).await?;
        ensure!(now != old, "still the old one");
        anyhow::Ok(now)
    })
    .await?;
    assert_eq!(kept.send(&request).await?.status, 200, "the old connection goes on");

    let broken = secret("one", &[("tls.crt", &first.cert), ("tls.key", "no key at all")]);
    scene.config.write("secret.yaml", broken)?;
    problem(&scene, "tls.key").await?;
    assert_eq!(certificate(&client).await?, new);
    scene.config.remove("secret.yaml")?;
    eventually("nothing to be told of it any more", PATIENCE, || async {
        let problems = scene.mizzen.json("/debug/problems").await?;
        ensure!(problems == serde_json::json!([]), "{problems}");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(certificate(&client).await?, new, "a deleted secret keeps its last good bytes");
    assert_eq!(kept.send(&request).await?.status, 200);

    let third = authority.issue(&["one.test"])?;
    scene.config.write("secret.yaml", tls_secret("one", &third))?;
    eventually("the third certificate", PATIENCE, || async {
        ensure!(certificate(&client).await? != new, "still the second one");
        anyhow::Ok(())
    })
    .await?;

    // What was served stays while nobody can be asked, and after it comes back the next one arrives.
    let (third, fourth) = (certificate(&client).await?, authority.issue(&["one.test"])?);
    scene.mizzen.kill();
    load.more(20).await?;
    assert_eq!(certificate(&client).await?, third);
    scene.config.write("secret.yaml", tls_secret("one", &fourth))?;
    scene.mizzen.restart().await?;
    eventually("the fourth certificate", PATIENCE, || async {
        ensure!(certificate(&client).await? != third, "still the third one");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(kept.send(&request).await?.status, 200);
    load.more(20).await?;
    let tally = load.stop_unharmed().await?;
    assert_eq!(tally.connections, CONNECTIONS, "connections were dropped: {tally}");
    scene.nothing_refused().await
}

#[tokio::test]
async fn connections_are_passed_through_by_name_and_bytes_by_port() -> Result<()> {
    let authority = Authority::new("upstreams")?;
    let secure = async |name: &str| {
        let identity = Some(authority.issue(&[&format!("{name}.test")])?);
        SOURCE.upstream_with(name, UpstreamOptions { identity, ..UpstreamOptions::default() }).await
    };
    let (one, two) = (secure("one").await?, secure("two").await?);
    let bytes =
        SOURCE.upstream_with("bytes", UpstreamOptions { wire: Wire::Tcp, ..UpstreamOptions::default() }).await?;
    let (pass, tcp) = (free_port()?, free_port()?);
    let servers = server("pass", pass, "*.test", "TLS", "mode: PASSTHROUGH") + &server("tcp", tcp, "*", "TCP", "");
    let by_name = |name: &str| {
        let spec = format!(
            "  tls: [{{match: [{{sniHosts: [{name}.test]}}], route: [{{destination: {{host: {name}, port: {{number: 80}}}}}}]}}]\n"
        );
        virtual_service(name, &format!("{name}.test"), &spec).replace("[gateway]", "[tls]")
    };
    let by_port = format!("  tcp: [{{match: [{{port: {tcp}}}], route: [{{destination: {{host: bytes}}}}]}}]\n");
    let objects = gateway("tls", &servers)
        + &service("one", "tls", &[&one])
        + &service("two", "tls", &[&two])
        + &service("bytes", "tcp", &[&bytes])
        + &by_name("one")
        + &by_name("two")
        + &virtual_service("bytes", "*", &by_port).replace("[gateway]", "[tls]");
    let scene = start(&objects).await?;
    for name in ["one", "two"] {
        let host = format!("{name}.test");
        answered(&client(pass, &host, &authority, None)?, &host, name).await?;
    }
    assert!(client(pass, "three.test", &authority, None)?.connect().await.is_err());

    let mut stream = eventually("the TCP port", PATIENCE, || tokio::net::TcpStream::connect(local(tcp))).await?;
    stream.write_all(b"ping").await?;
    let mut said = vec![0; 10];
    stream.read_exact(&mut said).await?;
    assert_eq!(said, b"bytes\nping");
    scene.nothing_refused().await
}

#[tokio::test]
async fn the_gateway_redirects_to_https_and_speaks_tls_to_an_upstream() -> Result<()> {
    let authority = Authority::new("upstreams")?;
    let identity = Some(authority.issue(&["up.test"])?);
    let secure = SOURCE.upstream_with("secure", UpstreamOptions { identity, ..UpstreamOptions::default() }).await?;
    let port = free_port()?;
    let rule = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
                metadata: {name: secure, namespace: default}\nspec:\n  host: secure\n  \
                trafficPolicy: {tls: {mode: SIMPLE, sni: up.test, insecureSkipVerify: true}}\n";
    let objects = gateway("tls", &server("plain", port, "*", "HTTP", "httpsRedirect: true"))
        + &service("secure", "http", &[&secure])
        + rule
        + &route_all("v", "v.test", "secure").replace("[gateway]", "[gateway, tls]");
    let scene = start(&objects).await?;
    scene.answered_by("secure", &Request::get("/").host("v.test")).await?;
    let reply = Client::http(local(port)).send(&Request::get("/x").host("v.test")).await?;
    assert_eq!((reply.status, reply.header("location")), (301, Some("https://v.test/x")));
    scene.nothing_refused().await
}
