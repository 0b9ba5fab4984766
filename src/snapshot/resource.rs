//! One encoded resource, shared by every proxy that has it.

use std::{fmt, sync::Arc};

use bytes::Bytes;

/// The name of a resource: cheap to clone, compared by content.
pub type Name = Arc<str>;

/// A content hash: equal on every replica and after a restart, so that `initial_resource_versions` of a
/// reconnecting proxy says what it really has (design §1, Snapshot).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Version(pub u128);

impl Version {
    /// The hash of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(bytes))
    }

    /// Reads what [`Version`]'s `Display` wrote; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // A reconnecting proxy claims thousands of them: this is several times as fast as `from_str_radix`.
        let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
        let half = |digits: &[u8]| {
            digits.iter().try_fold(0_u64, |value, digit| {
                let digit = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return None,
                };
                Some(value << 4 | u64::from(digit))
            })
        };
        Some(Self(u128::from(half(&digits[..16])?) << 64 | u128::from(half(&digits[16..])?)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

/// The names of other resources that a resource makes Envoy ask for or use. They order pushes (make before
/// break, design §2 truth 2). Sorted, without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refs {
    /// Clusters that routes, TCP proxies, mirrors… lead to.
    pub clusters: Arc<[Name]>,
    /// The assignment that an EDS cluster asks for.
    pub endpoints: Option<Name>,
    /// Route configurations that a listener asks for.
    pub routes: Arc<[Name]>,
    /// Secrets asked for over ADS.
    pub secrets: Arc<[Name]>,
    /// Virtual hosts of the same route configuration that have, or may have had, a domain which this one would have
    /// else: Envoy refuses a domain that stands twice, so such a domain moves in one response.
    pub hosts: Arc<[Name]>,
}

/// A resource as it goes over the wire.
///
/// `entry` is the complete `resources` field of a `DeltaDiscoveryResponse` (tag, length and `Resource`
/// message), so that a response is made by chaining shared bytes. The `Any` inside is its suffix and serves
/// state-of-the-world streams.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its name.
    pub name: Name,
    /// The hash of its content.
    pub version: Version,
    /// What it refers to.
    pub refs: Refs,
    pub(super) entry: Vec<Bytes>,
    pub(super) any_offset: usize,
    pub(super) body_offset: usize,
}

impl Resource {
    /// The `resources` field of a delta response, in chunks to be sent one after the other.
    pub fn delta_entry(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.entry.iter().cloned()
    }

    /// The `google.protobuf.Any` without tag and length, in chunks.
    pub fn any(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.chunks_from(self.any_offset)
    }

    /// The encoded message itself (the `value` of the `Any`), in chunks.
    pub fn body(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.chunks_from(self.body_offset)
    }

    /// Length of [`Self::delta_entry`] in bytes.
    #[must_use]
    pub fn delta_len(&self) -> usize {
        self.entry.iter().map(Bytes::len).sum()
    }

    /// Length of [`Self::any`] in bytes.
    #[must_use]
    pub fn any_len(&self) -> usize {
        self.delta_len() - self.any_offset
    }

    /// The encoded message in one piece; copies when the resource is made of several.
    #[must_use]
    pub fn body_bytes(&self) -> Bytes {
        let mut chunks = self.body();
        match (chunks.next(), chunks.next()) {
            (Some(only), None) => only,
            (None, _) => Bytes::new(),
            (Some(first), Some(second)) => {
                let mut all = Vec::with_capacity(self.delta_len() - self.body_offset);
                all.extend_from_slice(&first);
                all.extend_from_slice(&second);
                chunks.for_each(|c| all.extend_from_slice(&c));
                all.into()
            }
        }
    }

    fn chunks_from(&self, offset: usize) -> impl Iterator<Item = Bytes> + '_ {
        let mut skip = offset;
        self.entry.iter().filter_map(move |chunk| {
            let cut = skip.min(chunk.len());
            skip -= cut;
            (cut < chunk.len()).then(|| chunk.slice(cut..))
        })
    }
}

/// The route configuration that a virtual host is of, and what people call it, of its resource's name.
#[must_use]
pub fn host_name_parts(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("", name))
}

/// The name of the resource of a virtual host.
#[must_use]
pub fn host_resource_name(route_configuration: &str, host: &str) -> Name {
    format!("{route_configuration}/{host}").into()
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the bytes: a Secret's are a private key.
        write!(f, "Resource({} {} {} bytes)", self.name, self.version, self.delta_len())
    }
}
