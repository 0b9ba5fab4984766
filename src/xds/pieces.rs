//! Long DATA frames of HTTP/2, cut up before HTTP/2 reads them.
//!
//! It takes in a frame as a whole, into a buffer that grows to the longest and stays so as long as the connection lives.
//! A proxy's first requests fill frames of 16 KiB, which is the smallest limit that a server may set; what follows are
//! acknowledgements. So long frames arrive here as if the peer had sent shorter ones (RFC 9113 §6.1): that saves 10 KB a
//! connection, and no round trip, as a small window would.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What HTTP/2's buffer holds before it grows, in bytes: a frame with its head.
const WHOLE: usize = 8 * 1024;

/// Length (24 bits), type, flags, stream (RFC 9113 §4.1).
const HEAD: usize = 9;

/// The longest payload that is left as it is.
const PIECE: usize = WHOLE - HEAD;

/// What a client sends before its first frame (RFC 9113 §3.4), in bytes.
const PREFACE: usize = 24;

/// The type of a DATA frame, and two of its flags.
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;

/// A connection of which what is read comes in pieces. What is written goes as it is.
pub(super) struct Pieces<T> {
    io: T,
    cutter: Cutter,
}

impl<T> Pieces<T> {
    /// Of a connection that carries HTTP/2.
    pub(super) fn new(io: T) -> Self {
        Self { io, cutter: Cutter { left: PREFACE, ..Cutter::default() } }
    }

    /// Of a connection that may carry something else: it stays as it is.
    pub(super) fn whole(io: T) -> Self {
        Self { io, cutter: Cutter { left: usize::MAX, ..Cutter::default() } }
    }
}

/// Where in the frames that is which was read.
#[derive(Debug, Default)]
struct Cutter {
    /// How much is to come before the next head.
    left: usize,
    /// How much of a long frame comes after that.
    rest: usize,
    /// The head of the long frame; or one of which not all was read.
    head: [u8; HEAD],
    /// How much of it was read, and is handed on when the rest is there.
    held: usize,
    /// A head that is to be handed on, and how much of it is.
    due: ([u8; HEAD], usize),
}

impl Cutter {
    /// How much may be read at once: nothing behind a piece that another one follows.
    fn limit(&self) -> usize {
        if self.rest > 0 { self.left } else { WHOLE }
    }

    /// Cuts what was read; how much of it can be handed on, which is all but the part of a head at its end.
    fn pass(&mut self, read: &mut [u8]) -> usize {
        let mut at = 0;
        loop {
            let payload = self.left.min(read.len() - at);
            self.left -= payload;
            at += payload;
            if at == read.len() {
                return at;
            }
            let Some(head) = read[at..].first_chunk_mut() else { break };
            *head = self.begin(*head);
            at += HEAD;
        }
        self.held = read.len() - at;
        self.head[..self.held].copy_from_slice(&read[at..]);
        at
    }

    /// What is handed on as the head of a frame: that of its first piece if it is long.
    fn begin(&mut self, head: [u8; HEAD]) -> [u8; HEAD] {
        let [high, mid, low, kind, flags, ..] = head;
        let length = u32::from_be_bytes([0, high, mid, low]) as usize;
        if kind != DATA || flags & PADDED != 0 || length <= PIECE {
            (self.left, self.rest) = (length, 0);
            return head;
        }
        (self.left, self.rest, self.head) = (PIECE, length - PIECE, head);
        with_length(head, PIECE, flags & !END_STREAM)
    }

    /// Sees to it that the head of what comes next is due, if that is no matter of reading on.
    fn proceed(&mut self) {
        if self.held == HEAD {
            self.held = 0;
            self.due = (self.begin(self.head), HEAD);
        } else if self.left == 0 && self.rest > 0 {
            let rest = with_length(self.head, self.rest, self.head[4]);
            self.due = (self.begin(rest), HEAD);
        }
    }
}

fn with_length(head: [u8; HEAD], length: usize, flags: u8) -> [u8; HEAD] {
    let [.., high, mid, low] = length.to_be_bytes();
    let [_, _, _, kind, _, stream @ ..] = head;
    let [a, b, c, d] = stream;
    [high, mid, low, kind, flags, a, b, c, d]
}

impl<T: AsyncRead + Unpin> AsyncRead for Pieces<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, cutter } = self.get_mut();
        let before = buf.filled().len();
        loop {
            cutter.proceed();
            let (head, due) = &mut cutter.due;
            if *due > 0 {
                let some = buf.remaining().min(*due);
                buf.put_slice(&head[HEAD - *due..][..some]);
                *due -= some;
                return Poll::Ready(Ok(()));
            }
            if cutter.held > 0 {
                let mut missing = ReadBuf::new(&mut cutter.head[cutter.held..]);
                ready!(Pin::new(&mut *io).poll_read(cx, &mut missing))?;
                match missing.filled().len() {
                    0 => return Poll::Ready(Ok(())),
                    more => cutter.held += more,
                }
                continue;
            }
            ready!(read_at_most(io, cx, buf, cutter.limit()))?;
            let read = &mut buf.filled_mut()[before..];
            let is_end = read.is_empty();
            let whole = cutter.pass(read);
            buf.set_filled(before + whole);
            if is_end || whole > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

fn read_at_most<T: AsyncRead + Unpin>(
    io: &mut T,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
    limit: usize,
) -> Poll<io::Result<()>> {
    // Most have less room than that: what they have is not cleared first.
    if buf.remaining() <= limit {
        return Pin::new(io).poll_read(cx, buf);
    }
    let mut part = ReadBuf::new(buf.initialize_unfilled_to(limit));
    ready!(Pin::new(io).poll_read(cx, &mut part))?;
    let read = part.filled().len();
    buf.advance(read);
    Poll::Ready(Ok(()))
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Pieces<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, task::Waker};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Frame {
        kind: u8,
        flags: u8,
        stream: u8,
        payload: Vec<u8>,
    }

    impl Frame {
        fn bytes(&self) -> Vec<u8> {
            let head = with_length([0, 0, 0, self.kind, 0, 0, 0, 0, self.stream], self.payload.len(), self.flags);
            [&head, &*self.payload].concat()
        }
    }

    /// The frames that bytes are, those of which not all is there at the end left out.
    fn frames(mut bytes: &[u8]) -> Vec<Frame> {
        let mut all = Vec::new();
        while let Some((&[high, mid, low, kind, flags, _, _, _, stream], rest)) = bytes.split_first_chunk() {
            let length = u32::from_be_bytes([0, high, mid, low]) as usize;
            let Some((payload, rest)) = rest.split_at_checked(length) else { break };
            all.push(Frame { kind, flags, stream, payload: payload.to_vec() });
            bytes = rest;
        }
        all
    }

    /// The frames that a frame is to come as.
    fn pieces(frame: Frame) -> Vec<Frame> {
        if frame.kind != DATA || frame.flags & PADDED != 0 || frame.payload.len() <= PIECE {
            return vec![frame];
        }
        let piece = |payload: &[u8]| Frame { flags: frame.flags & !END_STREAM, payload: payload.to_vec(), ..frame };
        let mut all: Vec<Frame> = frame.payload.chunks(PIECE).map(piece).collect();
        all.last_mut().expect("a payload").flags = frame.flags;
        all
    }

    /// A peer that sent these chunks, and no more.
    struct Peer(VecDeque<Vec<u8>>);

    impl Peer {
        fn new(bytes: &[u8], chunk: usize) -> Self {
            Self(bytes.chunks(chunk).map(<[u8]>::to_vec).collect())
        }
    }

    impl AsyncRead for Peer {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if let Some(mut chunk) = self.0.pop_front() {
                let rest = chunk.split_off(chunk.len().min(buf.remaining()));
                buf.put_slice(&chunk);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    /// What is read of a connection until its end, into buffers of so many bytes.
    fn read(mut connection: Pieces<Peer>, room: usize) -> Vec<u8> {
        let (mut all, mut space) = (Vec::new(), vec![0; room]);
        loop {
            let mut buf = ReadBuf::new(&mut space);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(matches!(Pin::new(&mut connection).poll_read(&mut cx, &mut buf), Poll::Ready(Ok(()))));
            if buf.filled().is_empty() {
                return all;
            }
            all.extend_from_slice(buf.filled());
        }
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let length = prop_oneof![0usize..40, PIECE - 2..PIECE + 20, Just(16 * 1024), 2 * PIECE - 2..2 * PIECE + 2];
        let flags = prop_oneof![Just(0), Just(END_STREAM), Just(PADDED)];
        let kind = prop_oneof![3 => Just(DATA), 1 => 1u8..9];
        (kind, flags, any::<u8>(), length).prop_map(|(kind, flags, stream, length)| {
            let payload = (0..=250).cycle().take(length).collect();
            Frame { kind, flags, stream, payload }
        })
    }

    proptest! {
        #[test]
        fn long_frames_come_in_pieces(
            sent in prop::collection::vec(frame(), 0..6),
            chunk in prop_oneof![1usize..30, 1000usize..40_000],
            room in prop_oneof![1usize..30, 1000usize..40_000],
        ) {
            let mut bytes = vec![b'P'; PREFACE];
            sent.iter().for_each(|frame| bytes.extend(frame.bytes()));
            let got = read(Pieces::new(Peer::new(&bytes, chunk)), room);
            prop_assert_eq!(&got[..PREFACE], &bytes[..PREFACE]);
            let expected: Vec<Frame> = sent.into_iter().flat_map(pieces).collect();
            prop_assert_eq!(frames(&got[PREFACE..]), expected);
            prop_assert_eq!(read(Pieces::whole(Peer::new(&bytes, chunk)), room), bytes);
        }
    }

    #[test]
    fn a_connection_may_break_off_anywhere() {
        let frame = Frame { kind: DATA, flags: END_STREAM, stream: 1, payload: vec![7; 2 * PIECE + 5] };
        let bytes = [&[b'P'; PREFACE][..], &frame.bytes()].concat();
        for end in [0, 5, PREFACE, PREFACE + 4, PREFACE + HEAD, PREFACE + HEAD + PIECE, bytes.len() - 1] {
            let got = read(Pieces::new(Peer::new(&bytes[..end], 100)), 4096);
            assert_eq!(
                frames(got.get(PREFACE..).unwrap_or_default()).len(),
                end.saturating_sub(PREFACE + HEAD) / PIECE
            );
        }
    }
}
