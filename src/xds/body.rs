//! Answers on the wire: a gRPC body made of shared bytes.
//!
//! tonic's codec would encode and so copy every answer for every proxy. Here an answer is a list of chunks that
//! all proxies share. Large chunks go out as they are; small ones are gathered into one HTTP/2 frame when the
//! transport asks for it, because a frame for each of a thousand small resources costs more than copying them.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::HeaderMap;
use http_body::{Body, Frame};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::Status;

use super::{
    Protocol, Response,
    frames::{FRAME, Frames, LARGE},
};

/// Field numbers of `DeltaDiscoveryResponse` and `DiscoveryResponse`.
mod field {
    pub(super) const VERSION: u32 = 1;
    pub(super) const RESOURCES: u32 = 2;
    pub(super) const TYPE_URL: u32 = 4;
    pub(super) const NONCE: u32 = 5;
    pub(super) const REMOVED: u32 = 6;
}

/// Compressed or not (never), and the length.
const PREFIX: usize = 5;

/// More than a response says before its resources, in bytes.
const HEAD: usize = 160;

/// A gRPC message as chunks, its prefix included.
#[derive(Debug)]
pub(super) struct Message {
    chunks: VecDeque<Bytes>,
    len: usize,
}

impl Message {
    /// A message of encoded protobuf.
    pub(super) fn new(body: impl IntoIterator<Item = Bytes>) -> Self {
        Self::begin(0).end(body)
    }

    /// A `DeltaDiscoveryResponse`.
    pub(super) fn delta(response: &Response, frames: &Frames) -> Self {
        let mut tail = Vec::new();
        response.removed.iter().for_each(|n| put_field(field::REMOVED, n.as_bytes(), &mut tail));
        let resources = response.resources.iter().flat_map(|r| r.delta_entry());
        let len = response.resources.iter().map(|r| r.delta_len()).sum();
        Self::discovery(response, (Protocol::Delta, frames), (resources, len), tail)
    }

    /// A `DiscoveryResponse`.
    pub(super) fn sotw(response: &Response, frames: &Frames) -> Self {
        let resources = response.resources.iter().flat_map(|r| {
            let mut tag = Vec::with_capacity(6);
            put_len(field::RESOURCES, r.any_len(), &mut tag);
            std::iter::once(Bytes::from(tag)).chain(r.any())
        });
        // With their tags.
        let len = response.resources.iter().map(|r| 6 + r.any_len()).sum();
        Self::discovery(response, (Protocol::Sotw, frames), (resources, len), Vec::new())
    }

    /// What both forms begin with, then resources of about so many bytes, then a tail.
    fn discovery(
        response: &Response,
        (protocol, frames): (Protocol, &Frames),
        (resources, len): (impl Iterator<Item = Bytes>, usize),
        tail: Vec<u8>,
    ) -> Self {
        // Most responses are of one resource: they are one piece of memory, made for one client.
        let is_small = len < FRAME;
        let mut begin = Self::begin(HEAD + if is_small { len + tail.len() } else { 0 });
        put_head(response, &mut begin.0);
        if is_small {
            resources.for_each(|chunk| begin.0.extend_from_slice(&chunk));
            begin.0.extend_from_slice(&tail);
            return begin.end([]);
        }
        begin.end(frames.of(response, protocol, len, resources).into_iter().chain([tail.into()]))
    }

    fn begin(room: usize) -> Begin {
        let mut bytes = Vec::with_capacity(PREFIX + room);
        bytes.resize(PREFIX, 0);
        Begin(bytes)
    }

    /// How many bytes it is on the wire.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The next chunk for the transport.
    fn next_chunk(&mut self) -> Option<Bytes> {
        let first = self.chunks.pop_front()?;
        if first.len() >= LARGE || self.chunks.is_empty() {
            return Some(first);
        }
        let mut size = first.len();
        let fits = |next: &&Bytes| {
            let fits = next.len() < LARGE && size + next.len() <= FRAME;
            size += if fits { next.len() } else { 0 };
            fits
        };
        let together = self.chunks.iter().take_while(fits).count();
        let mut gathered = BytesMut::with_capacity(size);
        gathered.extend_from_slice(&first);
        self.chunks.drain(..together).for_each(|next| gathered.extend_from_slice(&next));
        Some(gathered.freeze())
    }
}

/// The first bytes of a message, with room for its prefix.
struct Begin(Vec<u8>);

impl Begin {
    fn end(mut self, rest: impl IntoIterator<Item = Bytes>) -> Message {
        let mut chunks = VecDeque::from([Bytes::new()]);
        // An empty one would be an empty DATA frame. Peers take few of those for an attack: h2, which our agents have,
        // a hundred in the life of a connection, Envoy one in a row.
        chunks.extend(rest.into_iter().filter(|chunk| !chunk.is_empty()));
        let len = self.0.len() + chunks.iter().map(Bytes::len).sum::<usize>();
        // A gRPC message cannot be longer than this, and no mesh comes near.
        let told = u32::try_from(len - PREFIX).unwrap_or(u32::MAX);
        self.0[1..PREFIX].copy_from_slice(&told.to_be_bytes());
        chunks[0] = self.0.into();
        Message { chunks, len }
    }
}

fn put_head(response: &Response, out: &mut Vec<u8>) {
    put_field(field::VERSION, response.version.to_string().as_bytes(), out);
    put_field(field::TYPE_URL, response.resource_type.type_url().as_bytes(), out);
    put_field(field::NONCE, response.nonce.as_bytes(), out);
}

fn put_len(number: u32, len: usize, out: &mut Vec<u8>) {
    out.reserve(key_len(number) + encoded_len_varint(len as u64));
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

fn put_field(number: u32, value: &[u8], out: &mut Vec<u8>) {
    put_len(number, value.len(), out);
    out.extend_from_slice(value);
}

type Messages = Pin<Box<dyn Stream<Item = Result<Message, Status>> + Send>>;

/// A response body that yields the messages of a stream and ends with its status. The stream is polled only when
/// the transport can take more.
#[derive(Default)]
pub(super) struct GrpcBody {
    /// `None` when it has ended.
    stream: Option<Messages>,
    message: Option<Message>,
}

impl GrpcBody {
    pub(super) fn new(stream: impl Stream<Item = Result<Message, Status>> + Send + 'static) -> Self {
        Self { stream: Some(Box::pin(stream)), message: None }
    }
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        loop {
            if let Some(chunk) = self.message.as_mut().and_then(Message::next_chunk) {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            self.message = None;
            let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
            let status = match ready!(stream.as_mut().poll_next(cx)) {
                Some(Ok(message)) => {
                    self.message = Some(message);
                    continue;
                }
                Some(Err(status)) => status,
                None => Status::ok(""),
            };
            self.stream = None;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none() && self.message.is_none()
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    if status.add_header(&mut trailers).is_err() {
        // Its text cannot be a header; the code always can.
        trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from(status.code() as i32));
    }
    trailers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
    use futures::{StreamExt, stream};
    use http_body_util::BodyExt;
    use prost::Message as _;

    use super::*;
    use crate::snapshot::{Encoder, Refs, ResourceType, Version};

    fn response(sizes: &[usize]) -> Response {
        let make = |(i, size): (usize, &usize)| {
            let (name, body) = (format!("r{i}").into(), vec![u8::try_from(i % 250).expect("small"); *size].into());
            Arc::new(Encoder::pieces(ResourceType::Route, name, vec![(Version(1), body)], Refs::default()))
        };
        Response {
            resource_type: ResourceType::Route,
            nonce: "n1".to_owned(),
            version: Version(7),
            resources: sizes.iter().enumerate().map(make).collect(),
            removed: vec!["gone".into(), "more".into()],
        }
    }

    async fn through(messages: Vec<Message>) -> (Vec<Bytes>, HeaderMap) {
        let mut body = GrpcBody::new(stream::iter(messages.into_iter().map(Ok)));
        let (mut chunks, mut trailers) = (Vec::new(), HeaderMap::new());
        while let Some(Ok(frame)) = body.frame().await {
            match frame.into_data() {
                Ok(data) => chunks.push(data),
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        (chunks, trailers)
    }

    fn message(bytes: &[u8]) -> &[u8] {
        let len = u32::from_be_bytes(bytes[1..5].try_into().expect("four bytes")) as usize;
        assert_eq!((bytes[0], bytes.len()), (0, len + 5));
        &bytes[5..]
    }

    #[tokio::test]
    async fn both_forms_decode() {
        let made = response(&[10, 100_000, 0, 5000]);
        let (chunks, trailers) = through(vec![Message::delta(&made, &Frames::default())]).await;
        assert_eq!(trailers["grpc-status"], "0");
        let delta = DeltaDiscoveryResponse::decode(message(&chunks.concat())).expect("decodes");
        assert_eq!((&*delta.nonce, delta.resources.len(), delta.removed_resources.len()), ("n1", 4, 2));
        assert_eq!(delta.resources[1].resource.as_ref().map(|a| a.value.len()), Some(100_000));
        assert_eq!(delta.type_url, ResourceType::Route.type_url());
        let (chunks, _) = through(vec![Message::sotw(&made, &Frames::default())]).await;
        let sotw = DiscoveryResponse::decode(message(&chunks.concat())).expect("decodes");
        assert_eq!(sotw.resources.iter().map(|a| a.value.len()).collect::<Vec<_>>(), [10, 100_000, 0, 5000]);
        assert_eq!((sotw.version_info, &*sotw.nonce), (Version(7).to_string(), "n1"));
    }

    #[tokio::test]
    async fn small_chunks_are_gathered_and_large_ones_are_shared() {
        let made = response(&[vec![300; 1000], vec![50_000]].concat());
        let large: Vec<Bytes> = made.resources[1000].body().collect();
        let (chunks, _) = through(vec![Message::delta(&made, &Frames::default())]).await;
        assert!(chunks.len() < 40, "{} chunks", chunks.len());
        assert!(chunks.iter().any(|c| c.as_ptr() == large[0].as_ptr()), "the large chunk was copied");
    }

    #[tokio::test]
    async fn no_chunk_is_empty() {
        for removed in [Vec::new(), vec!["gone".into()]] {
            let made = Response { removed, ..response(&[50_000]) };
            for message in [Message::delta(&made, &Frames::default()), Message::sotw(&made, &Frames::default())] {
                let (chunks, _) = through(vec![message, Message::new([])]).await;
                assert!(chunks.iter().all(|chunk| !chunk.is_empty()), "{:?}", made.removed);
            }
        }
    }

    #[tokio::test]
    async fn an_error_ends_the_body_with_its_status() {
        let statuses = stream::iter([Err(Status::invalid_argument("missing node information"))]);
        let body = GrpcBody::new(statuses.chain(stream::pending()));
        let trailers = body.collect().await.expect("infallible").trailers().cloned().expect("trailers");
        assert_eq!(trailers["grpc-status"], "3");
        assert_eq!(trailers["grpc-message"], "missing%20node%20information");
    }
}
