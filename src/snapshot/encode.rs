//! Deterministic encoding of resources into shared bytes.

use bytes::Bytes;
use prost::{
    Message, Name as MessageName,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};

use super::{Name, Refs, Resource, ResourceType, Version, canonical::sort_maps};

/// Field numbers of `google.protobuf.Any`, `envoy.service.discovery.v3.Resource` and `DeltaDiscoveryResponse`.
mod field {
    pub(super) const ANY_TYPE_URL: u32 = 1;
    pub(super) const ANY_VALUE: u32 = 2;
    pub(super) const RESOURCE_VERSION: u32 = 1;
    pub(super) const RESOURCE_RESOURCE: u32 = 2;
    pub(super) const RESOURCE_NAME: u32 = 3;
    pub(super) const RESPONSE_RESOURCES: u32 = 2;
}

/// Makes [`Resource`]s.
#[derive(Debug)]
pub struct Encoder;

impl Encoder {
    /// Encodes a message.
    #[must_use]
    pub fn message<M: Message + MessageName>(t: ResourceType, name: Name, message: &M, refs: Refs) -> Resource {
        Self::bytes(t, name, canonical_bytes(message), refs)
    }

    /// Makes a resource of a message that is encoded already.
    #[must_use]
    pub fn bytes(t: ResourceType, name: Name, body: Bytes, refs: Refs) -> Resource {
        let version = Version::of(&body);
        Self::assemble(t, name, version, vec![body], refs, true)
    }

    /// Makes a resource of encoded pieces, each a whole field or several of the message (protobuf allows fields
    /// to be concatenated): the virtual hosts of a route configuration, the chains of a listener. The pieces are
    /// shared, not copied. The version is the hash of the pieces' hashes, in order.
    #[must_use]
    pub fn pieces(t: ResourceType, name: Name, pieces: Vec<(Version, Bytes)>, refs: Refs) -> Resource {
        let mut hashes = Vec::with_capacity(pieces.len() * 16);
        pieces.iter().for_each(|(v, _)| hashes.extend_from_slice(&v.0.to_be_bytes()));
        let version = Version::of(&hashes);
        Self::assemble(t, name, version, pieces.into_iter().map(|(_, b)| b).collect(), refs, false)
    }

    /// Wraps one piece of a resource, so that parts can hold it: [`Resource::body_bytes`] gives it back. It is
    /// never sent on its own.
    #[must_use]
    pub fn piece(name: Name, piece: (Version, Bytes), refs: Refs) -> Resource {
        Resource { name, version: piece.0, refs, entry: vec![piece.1], any_offset: 0, body_offset: 0 }
    }

    fn assemble(
        t: ResourceType,
        name: Name,
        version: Version,
        body: Vec<Bytes>,
        refs: Refs,
        flatten: bool,
    ) -> Resource {
        let body_len: usize = body.iter().map(Bytes::len).sum();
        let url = t.type_url();
        let text = version.to_string();
        let any_len = field_len(field::ANY_TYPE_URL, url.len()) + field_len(field::ANY_VALUE, body_len);
        let resource_len = field_len(field::RESOURCE_NAME, name.len())
            + field_len(field::RESOURCE_VERSION, text.len())
            + field_len(field::RESOURCE_RESOURCE, any_len);
        let mut head = Vec::with_capacity(if flatten { resource_len + 8 } else { resource_len - body_len + 8 });
        put_len(field::RESPONSE_RESOURCES, resource_len, &mut head);
        put_field(field::RESOURCE_NAME, name.as_bytes(), &mut head);
        put_field(field::RESOURCE_VERSION, text.as_bytes(), &mut head);
        put_len(field::RESOURCE_RESOURCE, any_len, &mut head);
        let any_offset = head.len();
        put_field(field::ANY_TYPE_URL, url.as_bytes(), &mut head);
        put_len(field::ANY_VALUE, body_len, &mut head);
        let body_offset = head.len();
        let entry = if flatten {
            body.iter().for_each(|b| head.extend_from_slice(b));
            vec![head.into()]
        } else {
            std::iter::once(head.into()).chain(body).collect()
        };
        Resource { name, version, refs, entry, any_offset, body_offset }
    }
}

/// A message as an `Any`, encoded deterministically.
#[must_use]
pub fn pack_any<M: Message + MessageName>(message: &M) -> envoy_types::pb::google::protobuf::Any {
    envoy_types::pb::google::protobuf::Any { type_url: M::type_url(), value: canonical_vec(message) }
}

/// The bytes of a message: the same for equal messages, in every process.
#[must_use]
pub fn canonical_bytes<M: Message + MessageName>(message: &M) -> Bytes {
    canonical_vec(message).into()
}

fn canonical_vec<M: Message + MessageName>(message: &M) -> Vec<u8> {
    let mut encoded = message.encode_to_vec();
    sort_maps(&M::full_name(), &mut encoded);
    encoded
}

/// The bytes of a field of another message that holds this one: tag, length and content.
#[must_use]
pub fn canonical_field<M: Message + MessageName>(number: u32, message: &M) -> Bytes {
    let len = message.encoded_len();
    let mut field = Vec::with_capacity(field_len(number, len));
    put_len(number, len, &mut field);
    let content = field.len();
    message.encode_raw(&mut field);
    sort_maps(&M::full_name(), &mut field[content..]);
    field.into()
}

/// As [`canonical_bytes`], for a message that is encoded already, known by its full name (`envoy.config.core.v3.Metadata`).
#[must_use]
pub fn canonical_bytes_of(full_name: &str, mut encoded: Vec<u8>) -> Bytes {
    sort_maps(full_name, &mut encoded);
    encoded.into()
}

/// The tag and length of a length-delimited field.
pub(super) fn put_len(number: u32, len: usize, out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

fn put_field(number: u32, value: &[u8], out: &mut Vec<u8>) {
    put_len(number, value.len(), out);
    out.extend_from_slice(value);
}

fn field_len(number: u32, len: usize) -> usize {
    key_len(number) + encoded_len_varint(len as u64) + len
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::{
        config::cluster::v3::Cluster,
        service::discovery::v3::{DeltaDiscoveryResponse, Resource as WireResource},
    };

    use super::*;

    fn cluster(name: &str) -> Cluster {
        Cluster { name: name.to_owned(), alt_stat_name: "x;".to_owned(), ..Cluster::default() }
    }

    fn decode(resource: &Resource) -> WireResource {
        let bytes: Vec<u8> = resource.delta_entry().flatten().collect();
        DeltaDiscoveryResponse::decode(&bytes[..]).expect("decodes").resources.remove(0)
    }

    #[test]
    fn an_entry_is_a_field_of_a_delta_response() {
        let made = Encoder::message(ResourceType::Cluster, "a".into(), &cluster("a"), Refs::default());
        let wire = decode(&made);
        assert_eq!(wire.name, "a");
        assert_eq!(Version::parse(&wire.version), Some(made.version));
        let any = wire.resource.expect("a body");
        assert_eq!(any.type_url, ResourceType::Cluster.type_url());
        assert_eq!(Cluster::decode(&any.value[..]).expect("a cluster"), cluster("a"));
        assert_eq!(made.any().flatten().count(), made.any_len());
    }

    #[test]
    fn pieces_make_the_same_message() {
        let name = Cluster { name: "a".to_owned(), ..Cluster::default() }.encode_to_vec();
        let stat = Cluster { alt_stat_name: "x;".to_owned(), ..Cluster::default() }.encode_to_vec();
        let pieces = [name, stat].map(|b| (Version::of(&b), Bytes::from(b))).to_vec();
        let made = Encoder::pieces(ResourceType::Cluster, "a".into(), pieces, Refs::default());
        assert_eq!(Cluster::decode(&decode(&made).resource.expect("a body").value[..]).expect("ok"), cluster("a"));
        assert_eq!(Cluster::decode(made.body_bytes()).expect("ok"), cluster("a"));
    }
}
