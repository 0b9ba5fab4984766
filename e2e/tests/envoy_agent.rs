//! `mizzen agent` with a real Envoy and a real control plane, on loopback.

use std::{collections::BTreeSet, path::Path, process::Command, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use http::Method;
use mizzen_e2e::{
    Authority, CONTROL_PLANE, Client, ConfigDir, KeyPairPem, Load, Mizzen, MizzenOptions, PATIENCE, Pod, PodOptions,
    Request, Signal, Signer, Upstream, WITHOUT_MTLS, eventually, free_port, http_gateway, route_all, service, tool,
};
use serde_json::Value;

const HOST: &str = "agent.example";

/// A gateway, its control plane and a workload behind it.
struct Gateway {
    config: ConfigDir,
    mizzen: Mizzen,
    port: u16,
    _upstream: Upstream,
}

impl Gateway {
    async fn new() -> Result<Self> {
        Self::with(|options| options).await
    }

    async fn with(change: impl FnOnce(MizzenOptions) -> MizzenOptions) -> Result<Self> {
        let (config, port, upstream) = (ConfigDir::new()?, free_port()?, Upstream::http("web").await?);
        config.write("gateway.yaml", http_gateway(port))?;
        config.write("plaintext.yaml", WITHOUT_MTLS)?;
        config.write("web.yaml", service("web", "http", &[&upstream]) + &route_all("web", HOST, "web"))?;
        let mizzen = Mizzen::start(change(MizzenOptions::files(config.path()))).await?;
        Ok(Self { config, mizzen, port, _upstream: upstream })
    }

    fn pod(&self) -> PodOptions {
        PodOptions::plaintext("router", self.mizzen.grpc()).label("istio", "ingressgateway").label("app", "gateway")
    }

    async fn answers(&self) -> Result<()> {
        let client = Client::http(([127, 0, 0, 1], self.port).into());
        eventually("an answer through the gateway", PATIENCE, || async {
            let reply = client.send(&Request::get("/").host(HOST)).await?;
            ensure!((reply.status, reply.upstream()) == (200, "web"), "{} {}", reply.status, reply.text());
            anyhow::Ok(())
        })
        .await
    }
}

fn is_alive(process: &str) -> bool {
    // One that has ended and that nobody has waited for is gone, too.
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// The children of a process.
fn children(process: u32) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let text = text.or_else(|_| {
        let listed = Command::new("pgrep").args(["-P", &process.to_string()]).output()?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&listed.stdout).into_owned())
    })?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

#[tokio::test]
async fn a_gateway_is_ready_when_it_is_configured_and_survives_its_control_plane() -> Result<()> {
    let mut gateway = Gateway::new().await?;
    gateway.mizzen.kill();
    let mut pod = Pod::start(&gateway.pod().env("ISTIO_META_MESH_ID", "m"))?;
    pod.logs("no stream of configuration").await?;
    let unready = pod.page(&Request::get("/healthz/ready")).await?;
    assert_eq!(unready.status, 503, "{}", unready.text());
    gateway.mizzen.restart().await?;
    pod.wait_ready().await?;
    gateway.answers().await?;
    let client = gateway.mizzen.json("/debug/syncz").await?;
    assert_eq!(client[0]["proxy"], "web-1.shop", "{client}");
    // The control plane is gone: everything goes on; it is back: configuration comes again.
    gateway.mizzen.kill();
    pod.logs("the stream of configuration from").await?;
    gateway.answers().await?;
    assert_eq!(pod.page(&Request::get("/healthz/ready")).await?.status, 200);
    gateway.config.edit("web.yaml", |yaml| yaml.replace(HOST, "other.example"))?;
    gateway.mizzen.restart().await?;
    let client = Client::http(([127, 0, 0, 1], gateway.port).into());
    eventually("the new route", PATIENCE, || async {
        let reply = client.send(&Request::get("/").host("other.example")).await?;
        ensure!(reply.status == 200, "{}", reply.status);
        anyhow::Ok(())
    })
    .await?;
    let rejected = pod.admin().stats("update_rejected$").await?;
    assert!(rejected.values().all(|count| *count == 0), "{rejected:?}");
    Ok(())
}

#[tokio::test]
async fn the_end_lets_requests_finish_and_leaves_nothing() -> Result<()> {
    let gateway = Gateway::new().await?;
    let mut pod = Pod::start(&gateway.pod())?;
    pod.wait_ready().await?;
    gateway.answers().await?;
    let envoys = children(pod.id())?;
    assert_eq!(envoys.len(), 1, "{envoys:?}");
    // A request that takes longer than asking to end, on a connection that is there already.
    let slow = Request::get("/").host(HOST).header("x-echo-delay-ms", "1500");
    let mut connection = Client::http(([127, 0, 0, 1], gateway.port).into()).connect().await?;
    let (reply, ended) = tokio::join!(connection.send(&slow), async {
        eventually("the request to be under way", PATIENCE, || async {
            let active = pod.admin().stats("downstream_rq_active$").await?;
            let open: u64 = active.iter().filter(|(name, _)| name.contains("outbound_")).map(|(_, n)| n).sum();
            ensure!(open > 0 || active.is_empty(), "{active:?}");
            anyhow::Ok(())
        })
        .await?;
        pod.signal(Signal::Term)?;
        pod.ended().await
    });
    let (reply, ended) = (reply.context("the request under way")?, ended?);
    assert_eq!(reply.status, 200);
    assert!(ended.success(), "{ended}\n{}", pod.log());
    assert!(!is_alive(&envoys[0]), "Envoy is left behind");
    Ok(())
}

#[tokio::test]
async fn the_agent_ends_as_envoy_does() -> Result<()> {
    let gateway = Gateway::new().await?;
    let mut pod = Pod::start(&gateway.pod())?;
    pod.wait_ready().await?;
    let envoys = children(pod.id())?;
    let killed = Command::new("bash").args(["-c", "kill -KILL $0", &envoys[0]]).status()?;
    assert!(killed.success());
    assert_eq!(pod.ended().await?.code(), Some(137), "{}", pod.log());
    // And the other way round, even if it is killed.
    let mut pod = Pod::start(&gateway.pod())?;
    pod.wait_ready().await?;
    let envoys = children(pod.id())?;
    drop(pod);
    eventually("the end of Envoy", PATIENCE, || async {
        ensure!(!is_alive(&envoys[0]), "it goes on");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn quitting_is_for_this_pod_only_by_post() -> Result<()> {
    let gateway = Gateway::new().await?;
    let mut options = gateway.pod();
    options.config["terminationDrainDuration"] = "0s".into();
    let mut pod = Pod::start(&options)?;
    pod.wait_ready().await?;
    assert_eq!(pod.page(&Request::get("/quitquitquit")).await?.status, 405);
    assert_eq!(pod.page(&Request::get("/drain").method(Method::POST)).await?.status, 200);
    assert_eq!(pod.page(&Request::get("/quitquitquit").method(Method::POST)).await?.status, 200);
    assert!(pod.ended().await?.success(), "{}", pod.log());
    Ok(())
}

#[tokio::test]
async fn metrics_of_envoy_the_workload_and_the_agent_are_on_one_page() -> Result<()> {
    let gateway = Gateway::new().await?;
    let workload = Upstream::http("metrics").await?;
    let annotations = format!(r#"{{"scrape":"true","path":"/own-metrics","port":"{}"}}"#, workload.port());
    let probers = format!(
        r#"{{"/app-health/web/livez":{{"httpGet":{{"path":"/alive","port":{0}}}}},"/app-health/web/readyz":{{"tcpSocket":{{"port":{0}}}}}}}"#,
        workload.port()
    );
    let options = gateway.pod().env("ISTIO_PROMETHEUS_ANNOTATIONS", annotations).env("ISTIO_KUBE_APP_PROBERS", probers);
    let mut pod = Pod::start(&options)?;
    pod.wait_ready().await?;
    let text = pod.page(&Request::get("/stats/prometheus")).await?.text();
    for part in ["envoy_cluster_manager_cds_update_success", "/own-metrics", "istio_agent_xds_streams_total"] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
    let plain = pod.envoy_page("/stats/prometheus").await?;
    assert!(plain.text().contains("envoy_server_live") && plain.header("content-encoding").is_none());
    for encoding in ["br", "zstd", "gzip"] {
        let compressed = pod.metrics_in(encoding).await?;
        assert_eq!((compressed.status, compressed.header("content-encoding")), (200, Some(encoding)));
    }
    for path in ["/app-health/web/livez", "/app-health/web/readyz"] {
        assert_eq!(pod.page(&Request::get(path)).await?.status, 200, "{path}");
    }
    assert_eq!(pod.page(&Request::get("/app-health/other/livez")).await?.status, 404);
    Ok(())
}

/// What a secret of Envoy looks like: the certificates of its chain or of its roots.
async fn certificates(pod: &Pod, kind: &str) -> Result<BTreeSet<String>> {
    let all: Value = serde_json::from_str(&pod.admin().get("/certs").await?)?;
    let of_kind = all["certificates"].as_array().into_iter().flatten().filter_map(|one| one[kind].as_array()).flatten();
    Ok(of_kind.filter_map(|one| one["serial_number"].as_str().map(str::to_owned)).collect())
}

/// TLS to the control plane, and a listener that presents the workload's certificate.
struct Mesh {
    gateway: Gateway,
    authority: Arc<Authority>,
    own: KeyPairPem,
    _files: tempfile::TempDir,
}

impl Mesh {
    async fn new() -> Result<Self> {
        let authority = Arc::new(Authority::new("mesh")?);
        let (own, files) = (authority.issue(&[CONTROL_PLANE])?, tempfile::tempdir()?);
        let flags = [("tlsCertFile", own.cert.as_str()), ("tlsKeyFile", &own.key), ("caCertFile", authority.pem())];
        for (flag, text) in flags {
            std::fs::write(files.path().join(flag), text)?;
        }
        let gateway = Gateway::with(|options| {
            flags
                .iter()
                .fold(options, |all, (flag, _)| all.arg(format!("--{flag}={}", files.path().join(flag).display())))
        })
        .await?;
        // Mutual TLS by the workload's own certificate.
        gateway.config.edit("gateway.yaml", |yaml| {
            yaml.replace("protocol: HTTP}", "protocol: HTTPS}, tls: {mode: ISTIO_MUTUAL}")
        })?;
        Ok(Self { gateway, authority, own, _files: files })
    }

    fn pod(&self, signer: &Signer) -> PodOptions {
        let mut options = self.gateway.pod();
        options.discovery = format!("localhost:{}", self.gateway.mizzen.secure_grpc().port());
        options.authority = Some(signer.address());
        options.config = Value::Object(serde_json::Map::new());
        options.roots = self.authority.pem().to_owned();
        options
    }
}

#[tokio::test]
async fn certificates_are_issued_renewed_and_come_with_a_changed_root() -> Result<()> {
    let mesh = Mesh::new().await?;
    let signer = Signer::start(Arc::clone(&mesh.authority), &mesh.own, Duration::from_secs(6)).await?;
    signer.refuse(true);
    let mut pod = Pod::start(&mesh.pod(&signer))?;
    pod.logs("the authority refused: not now").await?;
    signer.refuse(false);
    pod.wait_ready().await?;
    let listener = "the listener's certificate";
    let first = eventually(listener, PATIENCE, || async {
        let chain = certificates(&pod, "cert_chain").await?;
        ensure!(!chain.is_empty(), "none; {}", pod.log());
        anyhow::Ok(chain)
    })
    .await?;
    eventually("a renewed certificate", PATIENCE, || async {
        let now = certificates(&pod, "cert_chain").await?;
        ensure!(!now.is_empty() && now.is_disjoint(&first), "{now:?}");
        anyhow::Ok(())
    })
    .await?;
    let root = certificates(&pod, "ca_cert").await?;
    assert!(signer.signed() >= 2);
    signer.change(Arc::new(Authority::new("next")?));
    eventually("another root", PATIENCE, || async {
        let now = certificates(&pod, "ca_cert").await?;
        ensure!(now.difference(&root).next().is_some(), "{now:?} {root:?}");
        // The mounted one is trusted still: others have not moved.
        ensure!(now.is_superset(&root), "{now:?} {root:?}");
        anyhow::Ok(())
    })
    .await?;
    let text = pod.page(&Request::get("/metrics")).await?.text();
    assert!(
        text.contains("istio_agent_certificate_failures_total") && text.contains("istio_agent_cert_expiry"),
        "{text}"
    );
    Ok(())
}

/// What the gateway answers a client with this certificate; nothing when it does not speak with him.
async fn answer(folder: &Path, port: u16, client: &KeyPairPem) -> Result<String> {
    let (cert, key) = (folder.join("client.pem"), folder.join("client.key"));
    std::fs::write(&cert, &client.cert)?;
    std::fs::write(&key, &client.key)?;
    // The gateway's name is an identity of the mesh, which is none of DNS.
    let curl = tokio::process::Command::new("curl")
        .args(["-sSk", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", "--resolve"])
        .arg(format!("{HOST}:{port}:127.0.0.1"))
        .args(["--cert".as_ref(), cert.as_os_str(), "--key".as_ref(), key.as_os_str()])
        .arg(format!("https://{HOST}:{port}/"))
        .output()
        .await?;
    ensure!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
    Ok(String::from_utf8(curl.stdout)?)
}

#[tokio::test]
async fn a_revoked_client_is_refused_as_soon_as_a_list_names_him() -> Result<()> {
    let mesh = Mesh::new().await?;
    let signer = Signer::start(Arc::clone(&mesh.authority), &mesh.own, Duration::from_secs(3600)).await?;
    let mut pod = Pod::start(&mesh.pod(&signer))?;
    pod.wait_ready().await?;
    let name = "spiffe://cluster.local/ns/shop/sa/client";
    let (first, second, third) =
        (mesh.authority.issue(&[name])?, mesh.authority.issue(&[name])?, mesh.authority.issue(&[name])?);
    let (folder, port) = (tempfile::tempdir()?, mesh.gateway.port);
    let clients = [&first, &second, &third];
    let served = async |expected: [bool; 3]| {
        eventually(&format!("who is served: {expected:?}"), PATIENCE, || async {
            for (client, expected) in clients.iter().zip(expected) {
                let said = answer(folder.path(), port, client).await;
                ensure!(said.is_ok() == expected, "{said:?}");
                ensure!(said.as_deref().unwrap_or("200") == "200", "{said:?}");
            }
            anyhow::Ok(())
        })
        .await
    };
    served([true, true, true]).await.with_context(|| pod.log())?;
    let lists = pod.folder().join("var/run/secrets/istio/crl");
    std::fs::create_dir(&lists)?;
    std::fs::write(lists.join("ca-crl.pem"), mesh.authority.revoke(&[&first])?)?;
    served([false, true, true]).await.with_context(|| pod.log())?;
    // A broken list leaves the last good one.
    std::fs::write(lists.join("ca-crl.pem"), "nonsense")?;
    pod.logs("ca-crl.pem is no PEM of revocation lists").await?;
    served([false, true, true]).await?;
    std::fs::write(lists.join("ca-crl.pem"), mesh.authority.revoke(&[&first, &second])?)?;
    served([false, false, true]).await.with_context(|| pod.log())?;
    let rejected = pod.admin().stats("update_rejected$").await?;
    assert!(rejected.values().all(|count| *count == 0), "{rejected:?}");
    Ok(())
}

#[tokio::test]
async fn requests_under_load_do_not_fail_while_the_control_plane_is_killed() -> Result<()> {
    let mut gateway = Gateway::new().await?;
    let mut pod = Pod::start(&gateway.pod())?;
    pod.wait_ready().await?;
    gateway.answers().await?;
    let load = Load::start(&Client::http(([127, 0, 0, 1], gateway.port).into()), &Request::get("/").host(HOST), 4);
    gateway.mizzen.restart().await?;
    pod.logs("the stream of configuration from").await?;
    gateway.answers().await?;
    load.stop_unharmed().await?;
    Ok(())
}

#[tokio::test]
async fn a_sidecar_is_configured_and_its_bootstrap_is_what_envoy_takes() -> Result<()> {
    let gateway = Gateway::new().await?;
    let (outbound, inbound) = (free_port()?, free_port()?);
    gateway.config.write(
        "mesh.yaml",
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    \
             proxyListenPort: {outbound}\n    proxyInboundListenPort: {inbound}\n"
        ),
    )?;
    let mut options = PodOptions::plaintext("sidecar", gateway.mizzen.grpc()).label("app", "web");
    options.config["proxyMetadata"] = serde_json::json!({"ISTIO_META_NETWORK": "n1"});
    let mut pod = Pod::start(&options)?;
    pod.wait_ready().await?;
    eventually("the inbound listener", PATIENCE, || async {
        let listeners = pod.admin().get("/listeners").await?;
        ensure!(listeners.contains("virtualInbound") && listeners.contains("virtualOutbound"), "{listeners}");
        anyhow::Ok(())
    })
    .await?;
    let bootstrap = std::fs::read_to_string(pod.folder().join("etc/istio/proxy/envoy-rev.json"))?;
    let bootstrap: Value = serde_json::from_str(&bootstrap)?;
    assert_eq!(bootstrap["node"]["metadata"]["NETWORK"], "n1");
    assert_eq!(bootstrap["node"]["id"], "sidecar~127.0.0.1~web-1.shop~shop.svc.cluster.local");
    // One key of the runtime is old, and clients look for it.
    let log = pod.log();
    let complaints =
        log.lines().filter(|line| line.contains("\tcritical\t") || line.to_lowercase().contains("deprecated"));
    let complaints: Vec<_> =
        complaints.filter(|line| !line.contains("overload.global_downstream_max_connections")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_laid_over_the_bootstrap_is_what_envoy_runs_with() -> Result<()> {
    let (gateway, folder) = (Gateway::new().await?, tempfile::tempdir()?);
    let overlay = folder.path().join("custom_bootstrap.json");
    std::fs::write(&overlay, r#"{"node": {"metadata": {"OWN": "laid over"}}, "stats_flush_interval": "7s"}"#)?;
    let options = gateway.pod().env("ISTIO_BOOTSTRAP_OVERRIDE", overlay.display().to_string());
    let mut pod = Pod::start(&options)?;
    pod.wait_ready().await?;
    gateway.answers().await?;
    let dump = pod.admin().config_dump().await?;
    let parts = dump["configs"].as_array().context("no parts")?;
    let bootstrap = parts.iter().find_map(|part| part.get("bootstrap")).context("no bootstrap")?;
    assert_eq!(bootstrap["stats_flush_interval"], "7s", "{dump:#}");
    assert_eq!(bootstrap["node"]["metadata"]["OWN"], "laid over", "{dump:#}");
    assert_eq!(bootstrap["node"]["metadata"]["NAMESPACE"], "shop", "the rest is there");
    Ok(())
}

#[test]
fn a_real_envoy_takes_the_bootstrap_of_the_golden_file() -> Result<()> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/agent/bootstrap/sidecar.json");
    let checked = Command::new(tool("envoy")?).args(["--mode", "validate", "-c"]).arg(golden).output()?;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    Ok(())
}
