//! A request of either form of ADS, decoded where it lies: a reconnecting proxy names thousands of resources, and what it
//! says is looked at once.

use bytes::Buf;
use envoy_types::pb::{envoy::config::core::v3::Node, google::rpc::Status};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::Protocol;

/// Why bytes are not a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// They are no message.
    #[error("malformed request: {0}")]
    Malformed(#[from] DecodeError),
    /// A field that must be text or a message is something else, or ends behind the request.
    #[error("malformed request: field {0} is cut off or of another type")]
    Field(u32),
    /// A field that must be text is not.
    #[error("malformed request: field {0} is not UTF-8")]
    Text(u32),
}

/// A `DeltaDiscoveryRequest` or a `DiscoveryRequest`.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// Who asks; in the first request of a stream.
    pub node: Option<Node>,
    /// The type of the resources.
    pub type_url: &'a str,
    /// The names that it asks for: all of them (state of the world), or those that are new.
    pub names: Vec<&'a str>,
    /// The names that it asks for no longer (delta).
    pub unsubscribed: Vec<&'a str>,
    /// Names and versions of what it has from an earlier stream (delta).
    pub versions: Vec<(&'a str, &'a str)>,
    /// The version of what it has of the type, perhaps from an earlier stream (state of the world).
    pub version: &'a str,
    /// The response that it answers; empty when none.
    pub nonce: &'a str,
    /// Why it refuses that response.
    pub refused: Option<String>,
}

/// What a field means.
#[derive(Clone, Copy)]
enum Field {
    Node,
    TypeUrl,
    Names,
    Unsubscribed,
    Versions,
    Version,
    Nonce,
    Error,
    /// The rest is of no interest.
    Other,
}

impl Field {
    fn of(protocol: Protocol, number: u32) -> Self {
        match (protocol, number) {
            (Protocol::Sotw, 1) => Self::Version,
            (Protocol::Delta, 1) | (Protocol::Sotw, 2) => Self::Node,
            (Protocol::Delta, 2) | (Protocol::Sotw, 4) => Self::TypeUrl,
            (_, 3) => Self::Names,
            (Protocol::Delta, 4) => Self::Unsubscribed,
            (Protocol::Delta, 5) => Self::Versions,
            (Protocol::Delta, 6) | (Protocol::Sotw, 5) => Self::Nonce,
            (Protocol::Delta, 7) | (Protocol::Sotw, 6) => Self::Error,
            _ => Self::Other,
        }
    }
}

impl<'a> Request<'a> {
    /// Decodes a request.
    ///
    /// # Errors
    /// When it is no protobuf message, or a field that is looked at is of another type.
    pub fn decode(protocol: Protocol, mut rest: &'a [u8]) -> Result<Self, RequestError> {
        let mut request = Self::default();
        while !rest.is_empty() {
            let (number, wire) = decode_key(&mut rest)?;
            match Field::of(protocol, number) {
                Field::Node => request.node = Some(Node::decode(bytes(number, wire, &mut rest)?)?),
                Field::TypeUrl => request.type_url = text(number, wire, &mut rest)?,
                Field::Names => request.names.push(text(number, wire, &mut rest)?),
                Field::Unsubscribed => request.unsubscribed.push(text(number, wire, &mut rest)?),
                Field::Versions => request.versions.push(entry(bytes(number, wire, &mut rest)?)?),
                Field::Version => request.version = text(number, wire, &mut rest)?,
                Field::Nonce => request.nonce = text(number, wire, &mut rest)?,
                Field::Error => {
                    request.refused = Some(Status::decode(bytes(number, wire, &mut rest)?)?.message);
                }
                Field::Other => skip_field(wire, number, &mut rest, DecodeContext::default())?,
            }
        }
        Ok(request)
    }
}

/// An entry of a map of texts.
fn entry(mut rest: &[u8]) -> Result<(&str, &str), RequestError> {
    let (mut key, mut value) = ("", "");
    while !rest.is_empty() {
        let (number, wire) = decode_key(&mut rest)?;
        match number {
            1 => key = text(number, wire, &mut rest)?,
            2 => value = text(number, wire, &mut rest)?,
            _ => skip_field(wire, number, &mut rest, DecodeContext::default())?,
        }
    }
    Ok((key, value))
}

fn text<'a>(number: u32, wire: WireType, rest: &mut &'a [u8]) -> Result<&'a str, RequestError> {
    std::str::from_utf8(bytes(number, wire, rest)?).map_err(|_| RequestError::Text(number))
}

fn bytes<'a>(number: u32, wire: WireType, rest: &mut &'a [u8]) -> Result<&'a [u8], RequestError> {
    if wire != WireType::LengthDelimited {
        return Err(RequestError::Field(number));
    }
    let len = usize::try_from(decode_varint(rest)?).map_err(|_| RequestError::Field(number))?;
    let whole: &'a [u8] = rest;
    let value = whole.get(..len).ok_or(RequestError::Field(number))?;
    rest.advance(len);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> Option<Status> {
        Some(Status { message: text.to_owned(), ..Status::default() })
    }

    proptest! {
        #[test]
        fn delta_requests_are_read_as_the_generated_code_reads_them(
            names in prop::collection::vec("[a-z|*.é]{0,9}", 0..4),
            unsubscribed in prop::collection::vec("[a-z]{0,5}", 0..3),
            versions in prop::collection::btree_map("[a-z]{0,5}", "[0-9a-f]{0,32}", 0..4),
            (type_url, nonce) in ("[a-z.]{0,9}", "[0-9-]{0,5}"),
            reason in prop::option::of("[a-z]{0,9}"),
            id in prop::option::of("[a-z~]{0,9}"),
        ) {
            let node = id.map(|id| Node { id, ..Node::default() });
            let sent = DeltaDiscoveryRequest {
                node: node.clone(),
                type_url: type_url.clone(),
                resource_names_subscribe: names.clone(),
                resource_names_unsubscribe: unsubscribed.clone(),
                initial_resource_versions: versions.clone().into_iter().collect(),
                response_nonce: nonce.clone(),
                error_detail: reason.as_deref().and_then(refusal),
                ..Default::default()
            };
            let bytes = sent.encode_to_vec();
            let read = Request::decode(Protocol::Delta, &bytes).expect("a request");
            prop_assert_eq!((read.node, read.type_url, read.nonce), (node, &*type_url, &*nonce));
            prop_assert_eq!((read.names, read.unsubscribed, read.refused), (
                names.iter().map(String::as_str).collect(), unsubscribed.iter().map(String::as_str).collect(), reason,
            ));
            let mut claims = read.versions;
            claims.sort_unstable();
            prop_assert_eq!(claims, versions.iter().map(|(n, v)| (&**n, &**v)).collect::<Vec<_>>());
        }

        #[test]
        fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), delta in any::<bool>()) {
            let protocol = if delta { Protocol::Delta } else { Protocol::Sotw };
            drop(Request::decode(protocol, &bytes));
        }
    }

    #[test]
    fn state_of_the_world() {
        let sent = DiscoveryRequest {
            version_info: "7".to_owned(),
            node: Some(Node { id: "me".to_owned(), ..Node::default() }),
            resource_names: vec!["a".to_owned(), "b".to_owned()],
            type_url: "t".to_owned(),
            response_nonce: "n".to_owned(),
            error_detail: refusal("bad"),
            ..Default::default()
        };
        let bytes = sent.encode_to_vec();
        let read = Request::decode(Protocol::Sotw, &bytes).expect("a request");
        assert_eq!((read.node, read.type_url, read.nonce), (sent.node, "t", "n"));
        assert_eq!((read.version, read.versions, read.unsubscribed), ("7", vec![], vec![]));
        assert_eq!((read.names, read.refused.as_deref()), (vec!["a", "b"], Some("bad")));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases: [(&[u8], &str); 4] = [
            (&[0x12, 5, b'a'], "malformed request: field 2 is cut off or of another type"),
            (&[0x10, 5], "malformed request: field 2 is cut off or of another type"),
            (&[0x1a, 1, 0xff], "malformed request: field 3 is not UTF-8"),
            (&[0x00], "malformed request: failed to decode Protobuf message: invalid tag value: 0"),
        ];
        for (bytes, expected) in cases {
            let error = Request::decode(Protocol::Delta, bytes).expect_err("not a request");
            assert_eq!(error.to_string(), expected);
        }
    }
}
