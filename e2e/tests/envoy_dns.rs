//! The agent as a server of names: a table from a real control plane, on the stream of a real Envoy.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use domain::{
    base::{Message, MessageBuilder, Name, Rtype, iana::Rcode},
    rdata::AllRecordData,
};
use mizzen_e2e::{
    ConfigDir, Mizzen, MizzenOptions, PATIENCE, Pod, PodOptions, Request, WITHOUT_MTLS, eventually, free_port,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

const TYPE: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);

const OBJECTS: &str = r#"apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, "fd00::1"], ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: bank}
spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, ports: [{name: tcp, port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: tcp, port: 5432}]
endpoints:
- {addresses: [10.1.0.1], hostname: db-0, conditions: {ready: true}}
- {addresses: [10.1.0.2], hostname: db-1, conditions: {ready: true}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: out, namespace: shop}
spec:
  hosts: ["*.example.com"]
  addresses: [240.0.0.1]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: STATIC
"#;

/// A control plane, and how a sidecar of it is started.
struct Mesh {
    config: ConfigDir,
    mizzen: Mizzen,
}

impl Mesh {
    async fn new() -> Result<Self> {
        let config = ConfigDir::new()?;
        config.write("objects.yaml", OBJECTS)?;
        config.write("plaintext.yaml", WITHOUT_MTLS)?;
        let ports = format!("proxyListenPort: {}\n    proxyInboundListenPort: {}", free_port()?, free_port()?);
        config.write(
            "mesh.yaml",
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    \
                 {ports}\n"
            ),
        )?;
        let mizzen = Mizzen::start(MizzenOptions::files(config.path())).await?;
        Ok(Self { config, mizzen })
    }

    /// A sidecar whose agent answers at an address.
    fn pod(&self) -> Result<(PodOptions, Names)> {
        let names = Names(SocketAddr::from(([127, 0, 0, 1], free_port()?)));
        let options = PodOptions::plaintext("sidecar", self.mizzen.grpc())
            .env("ISTIO_META_DNS_CAPTURE", "true")
            .env("DNS_PROXY_ADDR", names.0.to_string());
        Ok((options, names))
    }

    /// Waits until the pod has asked for the table.
    async fn is_subscribed(&self) -> Result<()> {
        eventually("a subscription", PATIENCE, || async {
            let connections = self.mizzen.json("/debug/connections").await?;
            let names = &connections["clients"][0]["watches"][TYPE];
            ensure!(names["wildcard"] == true, "{connections}");
            anyhow::Ok(())
        })
        .await
    }

    /// What the control plane knows of the pod's table: the nonces that were sent and acknowledged.
    async fn nonces(&self) -> Result<(String, String)> {
        let status = self.mizzen.json("/debug/syncz").await?;
        let names = &status[0]["resources"][TYPE];
        let text = |key: &str| names[key].as_str().unwrap_or_default().to_owned();
        Ok((text("sent"), text("acked")))
    }
}

/// An agent's server of names.
#[derive(Clone, Copy)]
struct Names(SocketAddr);

impl Names {
    async fn udp(self, name: &str, kind: Rtype) -> Result<(Rcode, Vec<String>)> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(self.0).await?;
        socket.send(&question(name, kind)?).await?;
        let mut answer = vec![0; 4096];
        let length = timeout(ANSWER, socket.recv(&mut answer)).await.context("no answer")??;
        read(&answer[..length])
    }

    async fn tcp(self, name: &str, kind: Rtype) -> Result<(Rcode, Vec<String>)> {
        let mut stream = TcpStream::connect(self.0).await?;
        let question = question(name, kind)?;
        stream.write_u16(u16::try_from(question.len())?).await?;
        stream.write_all(&question).await?;
        let mut answer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut answer).await?;
        read(&answer)
    }

    /// Expects the same over both.
    async fn are(self, name: &str, kind: Rtype, expected: &[&str]) -> Result<()> {
        for (code, mut found) in [self.udp(name, kind).await?, self.tcp(name, kind).await?] {
            found.sort();
            ensure!(code == Rcode::NOERROR && found == expected, "{kind} of {name}: {code}, {found:?}");
        }
        Ok(())
    }
}

fn question(name: &str, kind: Rtype) -> Result<Vec<u8>> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_rd(true);
    let mut questions = builder.question();
    questions.push((name.parse::<Name<Vec<u8>>>()?, kind))?;
    Ok(questions.finish())
}

/// The result, and the data of each record.
fn read(answer: &[u8]) -> Result<(Rcode, Vec<String>)> {
    let message = Message::from_slice(answer)?;
    let records = message.answer()?.limit_to::<AllRecordData<_, _>>();
    let shown = records.map(|record| Ok(record?.data().to_string())).collect::<Result<_>>()?;
    Ok((message.header().rcode(), shown))
}

async fn answers_of_all_kinds(names: Names) -> Result<()> {
    for name in ["web.shop.svc.cluster.local", "web.shop.svc", "web.shop", "web", "WEB.Shop"] {
        names.are(name, Rtype::A, &["10.96.0.1"]).await?;
        // The pod has no IPv6: what it could not use is not told, and the name is there all the same.
        names.are(name, Rtype::AAAA, &[]).await?;
    }
    names.are("pay.bank", Rtype::A, &["10.96.0.2"]).await?;
    names.are("db.shop", Rtype::A, &["10.1.0.1", "10.1.0.2"]).await?;
    names.are("db-1.db.shop.svc.cluster.local", Rtype::A, &["10.1.0.2"]).await?;
    names.are("any.deep.example.com", Rtype::A, &["240.0.0.1"]).await
}

/// A workload's questions, a changed table, an absent control plane, and what is told about all that.
async fn names_are_answered(change: impl FnOnce(PodOptions) -> PodOptions) -> Result<()> {
    let mut mesh = Mesh::new().await?;
    let (options, names) = mesh.pod()?;
    mesh.mizzen.kill();
    let mut pod = Pod::start(&change(options))?;
    eventually("a server of names without a table", PATIENCE, || async {
        let (code, _) = names.udp("web.shop", Rtype::A).await?;
        ensure!(code == Rcode::SERVFAIL, "{code}");
        anyhow::Ok(())
    })
    .await?;
    let unready = pod.page(&Request::get("/healthz/ready")).await?;
    assert_eq!((unready.status, unready.text().trim()), (503, "no table of names has come yet"));
    mesh.mizzen.restart().await?;
    pod.wait_ready().await?;
    answers_of_all_kinds(names).await?;
    shown_on_pages(&mesh, &pod).await?;
    // A new service has a name at once.
    mesh.config.edit("objects.yaml", |yaml| yaml.replace("name: pay", "name: pays"))?;
    eventually("the new name", PATIENCE, || async { names.are("pays.bank", Rtype::A, &["10.96.0.2"]).await }).await?;
    // Without a control plane what is known goes on, and comes to nothing new when it is back.
    mesh.mizzen.kill();
    pod.logs("the stream of configuration from").await?;
    answers_after_changes(names).await?;
    mesh.mizzen.restart().await?;
    mesh.is_subscribed().await?;
    mesh.config.edit("objects.yaml", |yaml| yaml.replace("name: pays", "name: paid"))?;
    eventually("the newest name", PATIENCE, || async { names.are("paid.bank", Rtype::A, &["10.96.0.2"]).await })
        .await?;
    // Envoy has seen nothing of it.
    let rejected = pod.admin().stats("update_rejected$").await?;
    assert!(rejected.values().all(|count| *count == 0), "{rejected:?}");
    Ok(())
}

async fn answers_after_changes(names: Names) -> Result<()> {
    names.are("pays.bank.svc.cluster.local", Rtype::A, &["10.96.0.2"]).await?;
    names.are("web", Rtype::A, &["10.96.0.1"]).await
}

async fn shown_on_pages(mesh: &Mesh, pod: &Pod) -> Result<()> {
    eventually("an acknowledged table", PATIENCE, || async {
        let (sent, acked) = mesh.nonces().await?;
        ensure!(!sent.is_empty() && sent == acked, "{sent:?} {acked:?}");
        anyhow::Ok(())
    })
    .await?;
    let own: Value = serde_json::from_str(&pod.page(&Request::get("/debug/ndsz")).await?.text())?;
    let told = mesh.mizzen.json("/debug/ndsz?proxyID=web-1.shop").await?;
    assert_eq!(own, told);
    assert_eq!(own["table"]["web.shop.svc.cluster.local"]["shortname"], "web", "{own}");
    let metrics = pod.page(&Request::get("/metrics")).await?.text();
    assert!(metrics.contains("istio_agent_dns_requests_total"), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn names_of_the_mesh_are_answered_by_the_agent() -> Result<()> {
    names_are_answered(|options| options).await
}

#[tokio::test]
async fn names_come_over_state_of_the_world_streams_too() -> Result<()> {
    names_are_answered(|options| options.env("ISTIO_DELTA_XDS", "false")).await
}

#[tokio::test]
async fn a_reconnect_brings_no_table_that_is_there_already() -> Result<()> {
    let mut mesh = Mesh::new().await?;
    let (options, names) = mesh.pod()?;
    let mut pod = Pod::start(&options)?;
    pod.wait_ready().await?;
    mesh.mizzen.restart().await?;
    mesh.is_subscribed().await?;
    names.are("web", Rtype::A, &["10.96.0.1"]).await?;
    assert_eq!(mesh.nonces().await?, (String::new(), String::new()), "nothing was sent");
    Ok(())
}

#[tokio::test]
async fn an_agent_that_answers_no_questions_asks_for_no_table() -> Result<()> {
    let mesh = Mesh::new().await?;
    let mut pod = Pod::start(&PodOptions::plaintext("sidecar", mesh.mizzen.grpc()))?;
    pod.wait_ready().await?;
    assert_eq!(mesh.nonces().await?, (String::new(), String::new()));
    assert_eq!(mesh.mizzen.json("/debug/ndsz?proxyID=web-1.shop").await?, Value::Null);
    assert_eq!(pod.page(&Request::get("/debug/ndsz")).await?.text(), "{}");
    Ok(())
}
