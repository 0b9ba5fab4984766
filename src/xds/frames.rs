//! What many clients are sent: gathered into chunks of the size of an HTTP/2 frame once, and shared by all of them.
//!
//! Proxies of a class are sent the same resources, at about the same time. What is the same is found by its content. It is
//! kept while it is asked for, and no longer than a moment.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};

use super::{Protocol, Response};
use crate::snapshot::{ResourceType, Version};

/// The default size of an HTTP/2 frame: what is gathered into one chunk, in bytes.
pub(super) const FRAME: usize = 16 * 1024;

/// A chunk of at least this size is not copied.
pub(super) const LARGE: usize = 2 * 1024;

/// How much is kept at the most, in bytes.
const LIMIT: usize = 32 * 1024 * 1024;

type Key = (ResourceType, Protocol, Version);

#[derive(Debug)]
struct Entry {
    chunks: Arc<[Bytes]>,
    len: usize,
    /// Since the last sweep.
    used: bool,
}

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    /// The keys, the oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

/// The resources of responses, as chunks that are shared.
#[derive(Debug, Default)]
pub(super) struct Frames(Mutex<Kept>);

impl Frames {
    /// The chunks of a response's resources, `len` bytes in all: those of another client, or else made now.
    pub(super) fn of(
        &self,
        response: &Response,
        protocol: Protocol,
        len: usize,
        make: impl Iterator<Item = Bytes>,
    ) -> Vec<Bytes> {
        // The version says what the response says.
        let key = (response.resource_type, protocol, response.version);
        let known = self.with(|kept| {
            let entry = kept.entries.get_mut(&key)?;
            entry.used = true;
            Some(Arc::clone(&entry.chunks))
        });
        let chunks = known.unwrap_or_else(|| {
            let chunks: Arc<[Bytes]> = gather(make).into();
            self.with(|kept| kept.add(key, &chunks, len));
            chunks
        });
        chunks.to_vec()
    }

    /// Forgets what nobody asked for since the last call. To be called now and then.
    pub(super) fn sweep(&self) {
        self.with(|kept| {
            let bytes = &mut kept.bytes;
            kept.entries.retain(|_, entry| {
                let stays = std::mem::take(&mut entry.used);
                *bytes -= if stays { 0 } else { entry.len };
                stays
            });
            kept.order.retain(|key| kept.entries.contains_key(key));
            kept.entries.shrink_to_fit();
        });
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.with(|kept| kept.entries.is_empty() && kept.bytes == 0)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Kept) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Kept {
    /// The oldest make room: what is newest is what others will ask for.
    fn add(&mut self, key: Key, chunks: &Arc<[Bytes]>, len: usize) {
        if len > LIMIT || self.entries.contains_key(&key) {
            return;
        }
        while self.bytes + len > LIMIT
            && let Some(oldest) = self.order.pop_front().and_then(|key| self.entries.remove(&key))
        {
            self.bytes -= oldest.len;
        }
        self.entries.insert(key, Entry { chunks: Arc::clone(chunks), len, used: true });
        self.order.push_back(key);
        self.bytes += len;
    }
}

/// Puts small chunks together, up to a frame each; large ones stay as they are.
pub(super) fn gather(chunks: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
    let (mut all, mut open) = (Vec::new(), BytesMut::new());
    for chunk in chunks {
        let is_large = chunk.len() >= LARGE;
        if !open.is_empty() && (is_large || open.len() + chunk.len() > FRAME) {
            all.push(open.split().freeze());
        }
        if is_large {
            all.push(chunk);
        } else {
            open.reserve(if open.is_empty() { FRAME } else { 0 });
            open.extend_from_slice(&chunk);
        }
    }
    if !open.is_empty() {
        all.push(Bytes::copy_from_slice(&open));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Encoder, Refs};

    fn response(names: &[&str], size: usize) -> Response {
        let make = |name: &&str| {
            let body = vec![(Version(1), vec![7; size].into())];
            Arc::new(Encoder::pieces(ResourceType::Route, (*name).into(), body, Refs::default()))
        };
        let resources: Arc<[_]> = names.iter().map(make).collect();
        let version = Version::of(names.concat().as_bytes());
        Response { resource_type: ResourceType::Route, nonce: String::new(), version, resources, removed: Vec::new() }
    }

    fn chunks(frames: &Frames, response: &Response) -> Vec<Bytes> {
        let len = response.resources.iter().map(|r| r.delta_len()).sum();
        frames.of(response, Protocol::Delta, len, response.resources.iter().flat_map(|r| r.delta_entry()))
    }

    #[test]
    fn what_says_the_same_is_the_same_memory_while_it_is_asked_for() {
        let (frames, made) = (Frames::default(), response(&["a", "b", "c"], FRAME / 2));
        let first = chunks(&frames, &made);
        assert_eq!(first.concat(), made.resources.iter().flat_map(|r| r.delta_entry()).collect::<Vec<_>>().concat());
        let is_shared = |again: &[Bytes]| again.iter().zip(&first).all(|(a, b)| a.as_ptr() == b.as_ptr());
        let equal = response(&["a", "b", "c"], FRAME / 2);
        assert!(is_shared(&chunks(&frames, &equal)));
        assert_ne!(chunks(&frames, &response(&["a", "b"], FRAME)).concat(), first.concat());
        frames.sweep();
        assert!(is_shared(&chunks(&frames, &equal)), "asked for since");
        frames.sweep();
        frames.sweep();
        assert_eq!(frames.with(|kept| (kept.entries.len(), kept.bytes)), (0, 0));
    }

    #[test]
    fn small_ones_are_gathered_large_ones_stay() {
        let large = Bytes::from(vec![1; LARGE]);
        let small = || Bytes::from(vec![2; 1000]);
        let mut all: Vec<Bytes> = (0..40).map(|_| small()).collect();
        all.extend([large.clone(), small()]);
        let made = gather(all.iter().cloned());
        assert_eq!(made.iter().map(Bytes::len).collect::<Vec<_>>(), [16_000, 16_000, 8_000, LARGE, 1000]);
        assert_eq!(made[3].as_ptr(), large.as_ptr());
        assert_eq!(made.concat(), all.concat());
    }

    #[test]
    fn no_more_is_kept_than_the_limit_and_the_newest_is() {
        let (frames, few) = (Frames::default(), LIMIT / FRAME + 10);
        let made = |n: usize| chunks(&frames, &response(&[&n.to_string()], FRAME));
        let all: Vec<_> = (0..few).map(made).collect();
        assert!(frames.with(|kept| kept.bytes <= LIMIT && kept.entries.len() == kept.order.len()));
        assert_eq!(made(few - 1)[0].as_ptr(), all[few - 1][0].as_ptr());
        assert_ne!(made(0)[0].as_ptr(), all[0][0].as_ptr(), "it made room");
    }
}
