//! Who is given the secrets of a cluster: a proxy whose certificate is verified, of a service account that may list
//! them in its namespace; nobody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{DataSource, Node, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{Secret, secret::Type as SecretType},
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::protobuf::{Struct, Value, value::Kind},
};
use mizzen_e2e::{ApiServer, Authority, KeyPairPem, MeshTls, Mizzen, MizzenOptions, PATIENCE, eventually};
use prost::Message;
use serde_json::json;
use tokio::sync::mpsc;
use tonic::{
    Code, Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

const CREDENTIAL: &str = "kubernetes://cert";
const AUTHORITIES: &str = "kubernetes://cert-cacert";
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// A rule that is asked about again is granted at most so long after it is there: see the retries of reviews.
const REVIEW_PATIENCE: Duration = Duration::from_secs(90);

/// A control plane on an API server, with a Gateway of namespace `web` that needs a certificate and authorities.
struct World {
    server: ApiServer,
    mizzen: Mizzen,
    tls: MeshTls,
    issuer: Authority,
}

impl World {
    async fn start() -> Result<Self> {
        let server = ApiServer::start().await?;
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
        server.apply_path(&crds.join("networking.istio.io_gateways.yaml"))?;
        server.kubectl(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"])?;
        for namespace in ["istio-system", "web", "other"] {
            server.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"))?;
        }
        server.apply(
            "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: gateway, namespace: web}, \
             spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, \
             hosts: ['*'], tls: {mode: MUTUAL, credentialName: cert}}]}}",
        )?;
        let (tls, issuer) = (MeshTls::new()?, Authority::new("servers")?);
        let mizzen = Mizzen::start(tls.options(MizzenOptions::cluster(&server.kubeconfig()))).await?;
        let world = Self { server, mizzen, tls, issuer };
        world.rotate()?;
        Ok(world)
    }

    /// Writes a new certificate into the Secret.
    fn rotate(&self) -> Result<KeyPairPem> {
        let pair = self.issuer.issue(&["web.test"])?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert", "namespace": "web"},
            "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": pair.cert, "tls.key": pair.key, "ca.crt": self.issuer.pem()},
        });
        self.server.apply(&secret.to_string())?;
        Ok(pair)
    }

    /// Lets a service account of namespace `web` list its Secrets.
    fn allow(&self, account: &str) -> Result<()> {
        let rbac = "rbac.authorization.k8s.io";
        let role = json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": "secrets", "namespace": "web"},
            "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}],
        });
        let binding = json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
            "metadata": {"name": account, "namespace": "web"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "secrets"},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "web"}],
        });
        self.server.apply(&format!("{role}\n---\n{binding}")).map(drop)
    }

    /// A Service that nobody uses: proxies are told of its cluster.
    fn make_noise(&self, name: &str) -> Result<()> {
        self.server.apply(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: web}}, \
             spec: {{ports: [{{name: http, port: 80}}]}}}}"
        ))?;
        Ok(())
    }

    /// The gateway of namespace `web` and a service account, over TLS with the identity of another or the same.
    async fn gateway(&self, account: &str, identity: &str) -> Result<Proxy> {
        let pair = self.tls.authority().issue(&[&format!("spiffe://cluster.local/{identity}")])?;
        let tls = ClientTlsConfig::new()
            .domain_name(MeshTls::SERVER)
            .ca_certificate(Certificate::from_pem(self.tls.authority().pem()))
            .identity(Identity::from_pem(pair.cert, pair.key));
        let endpoint = Endpoint::from_shared(format!("https://{}", self.mizzen.secure_grpc()))?.tls_config(tls)?;
        Proxy::open(endpoint, account).await
    }

    async fn own_gateway(&self, account: &str) -> Result<Proxy> {
        self.gateway(account, &format!("ns/web/sa/{account}")).await
    }

    async fn until_logged(&self, text: &str) -> Result<()> {
        eventually(text, PATIENCE, || async {
            let log = self.mizzen.log();
            ensure!(log.contains(text), "{log}");
            anyhow::Ok(())
        })
        .await
    }
}

/// A gateway that asks for clusters and secrets.
struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    secrets: BTreeMap<String, Secret>,
    clusters: BTreeSet<String>,
}

impl Proxy {
    async fn plaintext(address: SocketAddr, account: &str) -> Result<Self> {
        Self::open(Endpoint::from_shared(format!("http://{address}"))?, account).await
    }

    /// Asks for the secrets first, and for clusters, so that something comes in any case.
    async fn open(endpoint: Endpoint, account: &str) -> Result<Self> {
        let channel: Channel = endpoint.connect().await?;
        let (requests, received) = mpsc::channel(16);
        let ask = |type_url: &str, names: &[&str]| DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_subscribe: names.iter().map(|&n| n.to_owned()).collect(),
            ..DeltaDiscoveryRequest::default()
        };
        requests
            .send(DeltaDiscoveryRequest { node: Some(node(account)), ..ask(SECRET, &[CREDENTIAL, AUTHORITIES]) })
            .await?;
        requests.send(ask(CLUSTER, &[])).await?;
        let sent = futures::stream::unfold(received, |mut r| async { r.recv().await.map(|request| (request, r)) });
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let responses = client.delta_aggregated_resources(sent).await?.into_inner();
        Ok(Self { requests, responses, secrets: BTreeMap::new(), clusters: BTreeSet::new() })
    }

    /// Takes the next response and acknowledges it.
    async fn take(&mut self) -> Result<(), Status> {
        let ended = || Status::unavailable("the stream ended");
        let response = self.responses.message().await?.ok_or_else(ended)?;
        for resource in response.resources {
            let body = resource.resource.unwrap_or_default();
            match response.type_url.as_str() {
                SECRET => {
                    let secret = Secret::decode(&body.value[..]).map_err(|e| Status::internal(e.to_string()))?;
                    self.secrets.insert(resource.name, secret);
                }
                _ => _ = self.clusters.insert(resource.name),
            }
        }
        let (type_url, response_nonce) = (response.type_url, response.nonce);
        let ack = DeltaDiscoveryRequest { type_url, response_nonce, ..DeltaDiscoveryRequest::default() };
        self.requests.send(ack).await.map_err(|_| ended())
    }

    /// Takes responses until something is so.
    async fn until(&mut self, what: &str, patience: Duration, is_so: impl Fn(&Self) -> bool) -> Result<()> {
        let wait = async {
            while !is_so(self) {
                self.take().await?;
            }
            anyhow::Ok(())
        };
        let waited = tokio::time::timeout(patience, wait).await;
        waited.with_context(|| format!("waited for {what}"))?
    }

    /// Takes responses until it knows this service: everything of before has come then.
    async fn until_noise(&mut self, name: &str) -> Result<()> {
        let cluster = format!("outbound|80||{name}.web.svc.cluster.local");
        self.until(name, PATIENCE, |p| p.clusters.contains(&cluster)).await
    }

    async fn until_chain(&mut self, chain: &str, patience: Duration) -> Result<()> {
        self.until("the certificate", patience, |p| p.chain().as_deref() == Some(chain)).await
    }

    fn names(&self) -> Vec<&str> {
        self.secrets.keys().map(String::as_str).collect()
    }

    /// The certificate that it was given.
    fn chain(&self) -> Option<String> {
        match self.secrets.get(CREDENTIAL)?.r#type.as_ref()? {
            SecretType::TlsCertificate(made) => text(made.certificate_chain.as_ref()?),
            _ => None,
        }
    }
}

fn text(data: &DataSource) -> Option<String> {
    match data.specifier.as_ref()? {
        Specifier::InlineBytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

fn node(account: &str) -> Node {
    let text = |s: &str| Value { kind: Some(Kind::StringValue(s.to_owned())) };
    let labels = Struct { fields: [("istio".to_owned(), text("ingressgateway"))].into() };
    let fields = [
        ("NAMESPACE", text("web")),
        ("SERVICE_ACCOUNT", text(account)),
        ("LABELS", Value { kind: Some(Kind::StructValue(labels)) }),
    ];
    let metadata = Struct { fields: fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect() };
    Node {
        id: format!("router~10.0.0.1~{account}.web~web.svc.cluster.local"),
        metadata: Some(metadata),
        ..Node::default()
    }
}

#[tokio::test]
async fn only_a_verified_identity_that_may_list_them_is_given_secrets() -> Result<()> {
    let world = World::start().await?;
    world.allow("gw")?;

    // Not over plaintext, not even from this machine.
    let mut plain = Proxy::plaintext(world.mizzen.grpc(), "gw").await?;
    world.make_noise("one")?;
    plain.until_noise("one").await?;
    assert_eq!(plain.names(), Vec::<&str>::new());

    // Not to somebody else, who is not served at all.
    for identity in ["ns/other/sa/gw", "ns/web/sa/other"] {
        let mut foreign = world.gateway("gw", identity).await;
        let refused = match &mut foreign {
            Ok(proxy) => proxy.take().await.expect_err("refused").code(),
            Err(error) => error.downcast_ref::<Status>().context("a status")?.code(),
        };
        assert_eq!(refused, Code::PermissionDenied, "{identity}");
    }

    let mut own = world.own_gateway("gw").await?;
    own.until("both secrets", PATIENCE, |p| p.names() == [CREDENTIAL, AUTHORITIES]).await?;

    // Without a rule, authorities only; nothing else waits for it.
    let mut late = world.own_gateway("late").await?;
    late.until("authorities", PATIENCE, |p| p.names() == [AUTHORITIES]).await?;
    world.until_logged("service account web/late may not list secrets").await?;
    world.make_noise("two")?;
    late.until_noise("two").await?;
    assert_eq!(late.names(), [AUTHORITIES]);
    let denied = eventually("the metric", PATIENCE, || async {
        let count = world.mizzen.metric("pilot_sds_certificate_errors_total").await?.unwrap_or_default();
        ensure!(count > 0.0, "{count}");
        anyhow::Ok(count)
    });
    denied.await?;

    // With it, without connecting again.
    world.allow("late")?;
    late.until("the certificate", REVIEW_PATIENCE, |p| p.names() == [CREDENTIAL, AUTHORITIES]).await?;
    plain.until_noise("two").await?;
    assert_eq!(plain.names(), Vec::<&str>::new());
    let log = world.mizzen.log();
    assert_eq!(log.matches("service account web/late may not list secrets").count(), 1, "{log}");
    Ok(())
}

#[tokio::test]
async fn a_secret_is_pushed_when_it_changes_kept_when_it_is_gone_and_waited_for() -> Result<()> {
    let mut world = World::start().await?;
    world.allow("gw")?;
    let mut own = world.own_gateway("gw").await?;
    own.until("the certificate", PATIENCE, |p| p.chain().is_some()).await?;
    let rotated = world.rotate()?;
    own.until_chain(&rotated.cert, PATIENCE).await?;

    world.server.kubectl(&["delete", "secret", "cert", "--namespace", "web"])?;
    world.make_noise("one")?;
    own.until_noise("one").await?;
    assert_eq!(own.chain().as_deref(), Some(&*rotated.cert));
    let mut second = world.own_gateway("gw").await?;
    second.until_chain(&rotated.cert, PATIENCE).await?;

    // An API server that is away gives nothing to accounts that it was not asked about, and takes nothing.
    world.allow("new")?;
    world.server.kill();
    let mut new = world.own_gateway("new").await?;
    new.until("authorities", PATIENCE, |p| p.names() == [AUTHORITIES]).await?;
    world.until_logged("cannot review whether service account web/new may list secrets").await?;
    let mut third = world.own_gateway("gw").await?;
    third.until_chain(&rotated.cert, PATIENCE).await?;
    assert_eq!(new.names(), [AUTHORITIES]);
    world.server.start_again().await?;
    new.until_chain(&rotated.cert, REVIEW_PATIENCE).await
}
