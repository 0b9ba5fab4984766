//! The rig itself, against a real Envoy with a configuration of its own: what the other tests rely on.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use mizzen_e2e::{
    Authority, Client, Envoy, EnvoyOptions, HttpVersion, Link, Load, Node, PATIENCE, Request, Tls, Upstream,
    UpstreamOptions, Wire, eventually, free_port,
};
use serde_json::{Value, json};

/// A listener on `port` that sends everything to `upstream` by cluster `up`.
fn forward(port: u16, upstream: &Upstream) -> Value {
    json!({
        "listeners": [{
            "name": "in",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "in",
                    "access_log": [{"name": "envoy.access_loggers.stdout", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                        "log_format": {"text_format_source": {"inline_string": "%RESPONSE_CODE% %UPSTREAM_CLUSTER%\n"}},
                    }}],
                    "route_config": {"virtual_hosts": [{
                        "name": "all", "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}],
                    }]},
                    "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    }}],
                },
            }]}],
        }],
        "clusters": [{
            "name": "up",
            "type": "STATIC",
            "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
                "socket_address": {"address": "127.0.0.1", "port_value": upstream.port()},
            }}}]}]},
        }],
    })
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test]
async fn envoy_forwards_to_an_upstream_and_tells_about_it() -> Result<()> {
    let upstream = Upstream::http("one").await?;
    let port = free_port()?;
    let envoy =
        Envoy::start_ready(&EnvoyOptions::fixed(Node::router("gw", "default"), forward(port, &upstream))).await?;
    envoy.wait_warm(PATIENCE).await?;

    let request = Request::get("/a?b=c").host("a.test").header("x-mine", "1").header("x-mine", "2").body("hello");
    let reply = Client::http(local(port)).send(&request).await?;
    assert_eq!((reply.status, reply.upstream()), (200, "one"));
    let echo = reply.echo()?;
    assert_eq!((&*echo.path, &*echo.host, &*echo.body), ("/a?b=c", "a.test", "hello"));
    assert_eq!(echo.headers["x-mine"], "1,2");

    assert_eq!(envoy.admin().hosts("up").await?, [format!("127.0.0.1:{}", upstream.port())]);
    assert_eq!(envoy.admin().stat("cluster.up.upstream_rq_2xx").await?, 1);
    let listeners = envoy.admin().config_of("ListenersConfigDump").await?;
    assert_eq!(listeners["static_listeners"][0]["listener"]["name"], "in");
    eventually("the access log", PATIENCE, || async {
        let log = envoy.access_log();
        ensure!(log == "200 up\n", "{log:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn load_counts_what_fails() -> Result<()> {
    let upstream = Upstream::http("one").await?;
    let port = free_port()?;
    let _envoy =
        Envoy::start_ready(&EnvoyOptions::fixed(Node::router("gw", "default"), forward(port, &upstream))).await?;
    let client = Client::http(local(port));

    let load = Load::start(&client, &Request::get("/"), 3);
    load.more(50).await?;
    let tally = load.stop_unharmed().await?;
    assert_eq!(tally.of("one"), tally.replies());
    assert_eq!(upstream.requests(), tally.replies());

    drop(upstream);
    let load = Load::start(&client, &Request::get("/"), 1);
    load.more(3).await?;
    let tally = load.stop().await;
    assert_eq!(tally.failures(), tally.statuses[&503], "{tally}");
    Ok(())
}

#[tokio::test]
async fn upstreams_speak_tls_http2_and_tcp() -> Result<()> {
    let authority = Authority::new("test")?;
    let options = UpstreamOptions {
        wire: Wire::Http2,
        identity: Some(authority.issue(&["up.test"])?),
        client_ca: Some(authority.pem().to_owned()),
        ..UpstreamOptions::default()
    };
    let upstream = Upstream::start("secure", options).await?;
    let identity = Some(authority.issue(&["spiffe://cluster.local/ns/default/sa/client"])?);
    let mut tls = Tls { server_name: "up.test".to_owned(), ca: authority.pem().to_owned(), identity };
    let client = Client::https(upstream.address(), &tls)?.version(HttpVersion::Http2);
    let mut connection = client.connect().await?;
    assert!(connection.peer_certificate().is_some());
    let reply = connection.send(&Request::get("/").host("up.test")).await?;
    assert_eq!((reply.status, reply.upstream(), &*reply.echo()?.host), (200, "secure", "up.test"));

    tls.identity = None;
    let client = Client::https(upstream.address(), &tls)?.version(HttpVersion::Http2);
    assert!(client.send(&Request::get("/")).await.is_err(), "served without a client certificate");

    let tcp = Upstream::start("bytes", UpstreamOptions { wire: Wire::Tcp, ..UpstreamOptions::default() }).await?;
    let mut stream = tokio::net::TcpStream::connect(tcp.address()).await?;
    let mut said = vec![0; 6];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut said).await?;
    assert_eq!(said, b"bytes\n");
    Ok(())
}

#[tokio::test]
async fn a_link_can_be_cut_and_mended() -> Result<()> {
    let upstream = Upstream::http("far").await?;
    let link = Link::open(upstream.address()).await?;
    let client = Client::http(link.address());
    let mut connection = client.connect().await?;
    assert_eq!(connection.send(&Request::get("/")).await?.upstream(), "far");
    link.cut();
    assert!(client.send(&Request::get("/")).await.is_err());
    let ended = async {
        while connection.ready().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await?;
    link.mend();
    assert_eq!(client.send(&Request::get("/")).await?.upstream(), "far");
    Ok(())
}

#[tokio::test]
async fn what_does_not_come_is_told() {
    let waited = eventually("nothing", Duration::from_millis(50), || async { Err::<(), _>("not yet") }).await;
    assert_eq!(waited.unwrap_err().to_string(), "waited 50ms for nothing: not yet");
}
