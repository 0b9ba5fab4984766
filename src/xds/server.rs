//! The gRPC services: aggregated discovery, health and reflection.

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::Body;
use tokio_util::sync::CancellationToken;
use tonic::{Status, server::NamedService, service::Routes};

use super::{
    Feedback, Peer, Protocol, Proxies, SecretAccess, Settings, Tokens, auth::Access, body::GrpcBody, clients::Clients,
    debug::DebugSource, incoming::Incoming, stream,
};

/// The descriptors of the discovery service and of the messages that it names, written by `just gen`. Those of the
/// resources inside an `Any` would be fifty times as large.
static DISCOVERY: &[u8] = include_bytes!("discovery.bin");

/// What streams share.
pub struct Shared {
    /// Where proxies get their snapshots.
    pub proxies: Arc<dyn Proxies>,
    /// Who hears what proxies refuse.
    pub feedback: Arc<dyn Feedback>,
    /// Who may read which secret.
    pub secrets: Arc<dyn SecretAccess>,
    /// What debug surfaces show beyond streams.
    pub debug: Arc<dyn DebugSource>,
    /// Whose tokens are, where somebody can tell.
    pub tokens: Option<Arc<dyn Tokens>>,
    /// What is asked of peers.
    pub access: Access,
    /// How long things wait.
    pub settings: Settings,
    /// Ends all streams.
    pub shutdown: CancellationToken,
    /// The connected streams.
    pub clients: Clients,
}

/// The aggregated discovery service.
#[derive(Clone)]
pub struct Ads(Arc<Shared>);

impl NamedService for Ads {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Ads {
    /// Whether a request is one for this service.
    pub(super) fn is_for<B>(request: &Request<B>) -> bool {
        let service = request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(Self::NAME));
        service.is_some_and(|method| method.starts_with('/'))
    }

    /// Opens the stream that a request asks for.
    pub(super) fn open<B>(&self, request: Request<B>, peer: Peer) -> Response<GrpcBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let protocol = match request.uri().path().rsplit('/').next() {
            Some("DeltaAggregatedResources") => Protocol::Delta,
            Some("StreamAggregatedResources") => Protocol::Sotw,
            _ => return Status::unimplemented("no such method").into_http(),
        };
        // Plaintext has no identity, whatever it carries (contract §4.2).
        let asks = peer.tls && self.0.access.identity(&peer).is_none();
        let tokens = self.0.tokens.as_ref().filter(|_| asks);
        let proof = tokens.and_then(|tokens| tokens.identify(request.headers()));
        let requests = Incoming::new(request.into_body());
        let answers = stream::answer(Arc::clone(&self.0), peer, proof, protocol, requests);
        let mut response = Response::new(GrpcBody::new(answers));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }

    /// Lets all streams see that the server is shutting down.
    pub(super) fn wake_all(&self) {
        self.0.clients.wake_all();
    }
}

/// What a listener serves.
#[derive(Clone)]
pub struct Services {
    /// Discovery.
    pub ads: Ads,
    /// Health and reflection. Others can be put beside them.
    pub others: Routes,
}

/// The services of a listener: discovery, health and reflection.
pub async fn services(shared: Arc<Shared>) -> Services {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<Ads>().await;
    let mut routes = Routes::builder();
    routes.add_service(health);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(DISCOVERY)
    };
    if let (Ok(v1), Ok(v1alpha)) = (reflection().build_v1(), reflection().build_v1alpha()) {
        routes.add_service(v1).add_service(v1alpha);
    }
    Services { ads: Ads(shared), others: routes.routes() }
}

#[cfg(test)]
mod tests;
