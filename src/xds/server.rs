//! The gRPC services: aggregated discovery, health and reflection.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use futures::future::{Ready, ready};
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status, Streaming,
    body::Body,
    codec::Codec,
    server::NamedService,
    service::{Routes, RoutesBuilder},
};
use tonic_prost::ProstCodec;
use tower::Service;

use super::{
    Feedback, Peer, Proxies, SecretAccess, Settings,
    auth::Access,
    body::GrpcBody,
    clients::Clients,
    debug::DebugSource,
    stream::{self, Wire},
};

/// The largest request that is taken, 4 MiB (contract §1).
const MAX_REQUEST: usize = 4 * 1024 * 1024;

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

impl Service<Request<Body>> for Ads {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        ready(Ok(match method {
            "DeltaAggregatedResources" => self.open::<DeltaDiscoveryRequest>(request),
            "StreamAggregatedResources" => self.open::<DiscoveryRequest>(request),
            _ => Status::unimplemented("no such method").into_http(),
        }))
    }
}

impl Ads {
    fn open<R: Wire>(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let Some(peer) = parts.extensions.get::<Peer>().cloned() else {
            self.0.clients.counters.internal_errors.add(1);
            return Status::internal("the connection is not known").into_http();
        };
        let decoder = ProstCodec::<R, R>::default().decoder();
        let requests = Streaming::new_request(decoder, body, None, Some(MAX_REQUEST));
        let answers = stream::answer::<R>(Arc::clone(&self.0), peer, requests);
        let mut response = Response::new(Body::new(GrpcBody::new(answers)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

/// The services of a listener: discovery, health and reflection. More can be added to what is returned.
pub async fn services(shared: Arc<Shared>) -> RoutesBuilder {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<Ads>().await;
    let mut routes = Routes::builder();
    routes.add_service(Ads(shared)).add_service(health);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(DISCOVERY)
    };
    if let (Ok(v1), Ok(v1alpha)) = (reflection().build_v1(), reflection().build_v1alpha()) {
        routes.add_service(v1).add_service(v1alpha);
    }
    routes
}

#[cfg(test)]
mod tests;
