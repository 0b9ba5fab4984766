//! gRPC messages out of a request body, each as soon as it is complete.
//!
//! Beside tonic's reader: that one keeps, for as long as the stream lives, a buffer of the size of the largest message. The
//! first requests of a reconnecting proxy are a thousand times the size of all later ones. Here nothing is kept, and a
//! message that came in one piece is not copied.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use tonic::Status;

/// The largest request that is taken, 4 MiB (contract §1).
const LARGEST: usize = 4 * 1024 * 1024;

/// Compressed or not, and the length.
const PREFIX: usize = 5;

/// The messages of a body.
pub(super) struct Incoming<B> {
    body: B,
    /// What was received and not handed out, when it is in one piece.
    chunk: Bytes,
    /// As `chunk`, of several pieces. One of the two is empty.
    gathered: BytesMut,
}

impl<B> Incoming<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn new(body: B) -> Self {
        Self { body, chunk: Bytes::new(), gathered: BytesMut::new() }
    }

    /// The next message; `None` at the end.
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            if let Some(message) = self.complete()? {
                return Poll::Ready(Ok(Some(message)));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers of a request say nothing.
                    if let Ok(data) = frame.into_data() {
                        self.take_in(data);
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(Status::from_error(error.into()))),
                None if self.received().is_empty() => return Poll::Ready(Ok(None)),
                None => return Poll::Ready(Err(Status::internal("the stream ended within a message"))),
            }
        }
    }

    fn received(&self) -> &[u8] {
        if self.gathered.is_empty() { &self.chunk } else { &self.gathered }
    }

    /// How long the message is that comes first, its prefix included, once that is known.
    fn length(&self) -> Result<Option<usize>, Status> {
        let Some((prefix, _)) = self.received().split_first_chunk::<PREFIX>() else { return Ok(None) };
        let [compressed, length @ ..] = *prefix;
        if compressed != 0 {
            return Err(Status::unimplemented("a compressed message: no encoding is accepted"));
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > LARGEST {
            let text = format!("a message of {length} bytes: the limit is {LARGEST}");
            return Err(Status::out_of_range(text));
        }
        Ok(Some(PREFIX + length))
    }

    fn complete(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(length) = self.length()? else { return Ok(None) };
        if self.received().len() < length {
            // It is known what is to come: the buffer need not grow step by step.
            if !self.gathered.is_empty() {
                self.gathered.reserve(length - self.gathered.len());
            }
            return Ok(None);
        }
        if !self.gathered.is_empty() {
            self.chunk = std::mem::take(&mut self.gathered).freeze();
        }
        let mut message = self.chunk.split_to(length);
        message.advance(PREFIX);
        Ok(Some(message))
    }

    fn take_in(&mut self, data: Bytes) {
        if self.received().is_empty() {
            self.chunk = data;
            return;
        }
        if self.gathered.is_empty() {
            self.gathered = BytesMut::from(&*std::mem::take(&mut self.chunk));
        }
        self.gathered.extend_from_slice(&data);
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::poll_fn};

    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use proptest::prelude::*;

    use super::*;

    fn prefixed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).expect("short").to_be_bytes();
        [&[0], &length[..], message].concat()
    }

    /// What is read of a body that comes in pieces of so many bytes.
    fn read(bytes: &[u8], pieces: usize) -> Result<Vec<Bytes>, Status> {
        let pieces: Vec<_> = bytes.chunks(pieces).map(Bytes::copy_from_slice).collect();
        let frames = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
        let mut incoming = Incoming::new(StreamBody::new(stream::iter(frames)));
        futures::executor::block_on(async {
            let mut messages = Vec::new();
            while let Some(message) = poll_fn(|cx| incoming.poll_message(cx)).await? {
                messages.push(message);
            }
            assert_eq!((incoming.chunk.len(), incoming.gathered.capacity()), (0, 0), "nothing is kept");
            Ok(messages)
        })
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6), pieces in 1usize..60,
        ) {
            let bytes = messages.iter().flat_map(|m| prefixed(m)).collect::<Vec<_>>();
            prop_assert_eq!(read(&bytes, pieces).expect("messages"), messages);
        }
    }

    #[test]
    fn what_cannot_be_taken_is_refused() {
        let huge = [&[0][..], &u32::MAX.to_be_bytes()].concat();
        let cases = [
            (prefixed(b"abc")[..6].to_vec(), tonic::Code::Internal),
            (vec![0, 0], tonic::Code::Internal),
            (vec![1, 0, 0, 0, 1, 7], tonic::Code::Unimplemented),
            (huge, tonic::Code::OutOfRange),
        ];
        for (bytes, code) in cases {
            assert_eq!(read(&bytes, 4).expect_err("refused").code(), code, "{bytes:?}");
        }
    }
}
