//! What stands between a proxy and its control plane and ends a stream of discovery after so many responses.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
};
use futures::{StreamExt, future, stream::BoxStream};
use tokio::task::JoinSet;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

/// Forwards streams of delta ADS, each message as it is.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    limits: Arc<Limits>,
    _tasks: JoinSet<()>,
}

/// How many responses each stream passes on before it ends, those of the stream that is open first; streams without a
/// limit never end. Of one proxy there is one stream at a time.
#[derive(Debug, Default)]
struct Limits(Mutex<VecDeque<usize>>);

impl Relay {
    /// Listens on a loopback port for proxies of the control plane at `target`, in plaintext.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn open(target: SocketAddr) -> Result<Self> {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = incoming.local_addr()?;
        let limits = Arc::<Limits>::default();
        let service = AggregatedDiscoveryServiceServer::new(Forward { target, limits: Arc::clone(&limits) });
        let service = service.max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX);
        let mut tasks = JoinSet::new();
        // It ends with the tasks.
        tasks.spawn(async move { _ = Server::builder().add_service(service).serve_with_incoming(incoming).await });
        Ok(Self { address, limits, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the stream that is open instead of passing on one more response than this, the next stream likewise, and so
    /// on; replaces the limits before.
    pub fn end_after(&self, limits: &[usize]) {
        *self.limits.all() = limits.iter().copied().collect();
    }

    /// How many streams have yet to end.
    #[must_use]
    pub fn left(&self) -> usize {
        self.limits.all().len()
    }
}

impl Limits {
    fn all(&self) -> std::sync::MutexGuard<'_, VecDeque<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more response may pass.
    fn pass(&self) -> bool {
        let mut all = self.all();
        match all.front_mut() {
            None => true,
            Some(0) => {
                all.pop_front();
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

struct Forward {
    target: SocketAddr,
    limits: Arc<Limits>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Forward {
    type StreamAggregatedResourcesStream = BoxStream<'static, Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream = BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("only delta ADS is forwarded"))
    }

    async fn delta_aggregated_resources(
        &self,
        requests: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let client = AggregatedDiscoveryServiceClient::connect(format!("http://{}", self.target)).await;
        let mut client = client
            .map_err(|error| Status::unavailable(error.to_string()))?
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        // Ends with the first error, as the stream does that it comes from.
        let requests = requests.into_inner().take_while(|request| future::ready(request.is_ok()));
        let requests = requests.filter_map(|request| future::ready(request.ok()));
        let responses = client.delta_aggregated_resources(requests).await?.into_inner();
        let limits = Arc::clone(&self.limits);
        Ok(Response::new(responses.take_while(move |_| future::ready(limits.pass())).boxed()))
    }
}
