//! One client: a connection, its stream, and the task that drives both.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Instant,
};

use anyhow::{Context, Result, anyhow};
use bytes::{Buf, Bytes};
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Duration, sleep},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming},
    transport::Endpoint,
};

use super::{
    names::SharedNames,
    proxy::Proxy,
    tally::Tally,
    wire::{Response, Type},
};

/// The gRPC method.
const METHOD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// gRPC writes compression and length before each message.
const PREFIX: usize = 5;

/// Before a client whose stream has broken connects again.
const BACKOFF: Duration = Duration::from_millis(500);

/// What all clients share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) names: SharedNames,
    pub(super) tally: Tally,
    /// Bounds the handshakes that are under way: the kernel drops those that it cannot queue, and tries again only
    /// after a second.
    pub(super) handshakes: Semaphore,
    /// The last reason for which a stream has broken.
    pub(super) complaint: RwLock<String>,
}

/// What a client has, and whether it is what it waits for.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) proxy: Proxy,
    /// Whether what happens concerns it.
    pub(super) is_concerned: bool,
    /// When it had what it waits for.
    pub(super) reached: Option<Instant>,
}

impl Seat {
    /// Notes the time when the goal is reached.
    pub(super) fn look(&mut self) {
        if self.is_concerned && self.reached.is_none() && self.proxy.is_content() {
            self.reached = Some(Instant::now());
        }
    }
}

/// One client.
pub(super) struct Client {
    pub(super) endpoint: Endpoint,
    pub(super) seat: Arc<Mutex<Seat>>,
    pub(super) shared: Arc<Shared>,
    /// Changes when all clients shall reconnect.
    pub(super) epoch: watch::Receiver<u64>,
}

impl Client {
    /// Stays connected for ever.
    pub(super) async fn run(mut self) {
        loop {
            if let Err(error) = self.connection().await {
                self.shared.tally.broken();
                let complaint = format!("{}: {error:#}", self.seat().proxy.id());
                *self.shared.complaint.write().unwrap_or_else(PoisonError::into_inner) = complaint;
                sleep(BACKOFF).await;
            }
        }
    }

    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects, and stays connected until it shall reconnect.
    async fn connection(&mut self) -> Result<()> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let opening = self.seat().proxy.open(&self.shared.names.lock());
        for request in opening {
            requests.send(request)?;
        }
        let mut incoming = self.stream(outgoing).await?;
        loop {
            tokio::select! {
                message = incoming.message() => {
                    let message = message?.ok_or_else(|| anyhow!("the server has ended the stream"))?;
                    self.receive(&message, &requests)?;
                }
                changed = self.epoch.changed() => return Ok(changed?),
            }
        }
    }

    async fn stream(&self, outgoing: mpsc::UnboundedReceiver<DeltaDiscoveryRequest>) -> Result<Streaming<Bytes>> {
        let permit = self.shared.handshakes.acquire().await?;
        let channel = self.endpoint.connect().await.context("connect")?;
        drop(permit);
        let mut grpc = Grpc::new(channel).max_decoding_message_size(usize::MAX);
        grpc.ready().await?;
        let requests = tonic::Request::new(UnboundedReceiverStream::new(outgoing));
        let response = grpc.streaming(requests, PathAndQuery::from_static(METHOD), RawResponses).await?;
        Ok(response.into_inner())
    }

    fn receive(&self, message: &Bytes, requests: &mpsc::UnboundedSender<DeltaDiscoveryRequest>) -> Result<()> {
        let malformed = |error: super::wire::Malformed| anyhow!("malformed response: {}", error.0);
        let response = Response::parse(message).map_err(malformed)?;
        if let Some(t) = Type::from_url(response.type_url) {
            self.shared.tally.count(t, &response, message.len() + PREFIX);
        }
        let mut seat = self.seat();
        if !seat.is_concerned {
            self.shared.tally.stray(&response);
        }
        let answers = seat.proxy.receive(&response, &mut self.shared.names.lock()).map_err(malformed)?;
        seat.look();
        drop(seat);
        for answer in answers {
            requests.send(answer)?;
        }
        Ok(())
    }
}

/// Encodes requests and hands out responses as they are.
struct RawResponses;

impl Codec for RawResponses {
    type Encode = DeltaDiscoveryRequest;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawResponses {
    type Item = DeltaDiscoveryRequest;
    type Error = Status;

    fn encode(&mut self, request: DeltaDiscoveryRequest, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        request.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for RawResponses {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
