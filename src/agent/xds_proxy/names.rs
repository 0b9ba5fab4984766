//! The agent's own part in a stream of configuration: it asks for the table of names after Envoy's first request for
//! listeners, and takes what comes (contract §6.3). Envoy knows nothing of it.

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::{
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
    },
    google::{protobuf::Any, rpc::Status},
};
use prost::{DecodeError, Message};

use super::frames::{content, framed};
use crate::{agent::names::Learner, pb::nds::NameTable};

const NAMES: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";
const LISTENERS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// gRPC's code of what cannot be read.
const INVALID_ARGUMENT: i32 = 3;

/// The two forms of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Delta,
    StateOfTheWorld,
}

/// Looks at what Envoy says.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) protocol: Protocol,
    pub(super) learner: Arc<Learner>,
    /// Whether it has asked.
    pub(super) has_asked: bool,
}

/// The type of a message, whose other fields are not read.
#[derive(Clone, PartialEq, Message)]
struct DeltaRequestType {
    #[prost(string, tag = "2")]
    type_url: String,
}

/// The same of all other messages.
#[derive(Clone, PartialEq, Message)]
struct OtherType {
    #[prost(string, tag = "4")]
    type_url: String,
}

impl Asker {
    /// What is to be said after a message of Envoy's.
    pub(super) fn after(&mut self, message: &Bytes) -> Option<Bytes> {
        if self.has_asked || !self.asks_for_listeners(content(message)?) {
            return None;
        }
        self.has_asked = true;
        Some(match self.protocol {
            Protocol::Delta => framed(&DeltaDiscoveryRequest {
                type_url: NAMES.to_owned(),
                initial_resource_versions: self.held(),
                ..DeltaDiscoveryRequest::default()
            }),
            Protocol::StateOfTheWorld => {
                framed(&DiscoveryRequest { type_url: NAMES.to_owned(), ..DiscoveryRequest::default() })
            }
        })
    }

    fn asks_for_listeners(&self, request: &[u8]) -> bool {
        let of_type = match self.protocol {
            Protocol::Delta => DeltaRequestType::decode(request).map(|request| request.type_url),
            Protocol::StateOfTheWorld => OtherType::decode(request).map(|request| request.type_url),
        };
        of_type.is_ok_and(|type_url| type_url == LISTENERS)
    }

    /// What an earlier stream gave.
    fn held(&self) -> std::collections::HashMap<String, String> {
        let known = self.learner.known().filter(|known| !known.version.is_empty());
        known.map(|known| (known.resource.clone(), known.version.clone())).into_iter().collect()
    }
}

/// Looks at what the control plane says.
#[derive(Debug)]
pub(super) struct Taker {
    pub(super) protocol: Protocol,
    pub(super) learner: Arc<Learner>,
}

impl Taker {
    /// The answer to a message that is the agent's; `None` for one of Envoy's.
    pub(super) fn take(&self, message: &Bytes) -> Option<Bytes> {
        let bytes = content(message)?;
        if OtherType::decode(bytes).ok()?.type_url != NAMES {
            return None;
        }
        Some(match self.protocol {
            Protocol::Delta => framed(&self.take_delta(bytes)),
            Protocol::StateOfTheWorld => framed(&self.take_whole(bytes)),
        })
    }

    fn take_delta(&self, bytes: &[u8]) -> DeltaDiscoveryRequest {
        let (nonce, taken) = match DeltaDiscoveryResponse::decode(bytes) {
            Ok(response) => (response.nonce.clone(), self.learn_delta(response)),
            Err(error) => (String::new(), Err(error)),
        };
        DeltaDiscoveryRequest {
            type_url: NAMES.to_owned(),
            response_nonce: nonce,
            error_detail: refusal(taken),
            ..DeltaDiscoveryRequest::default()
        }
    }

    fn learn_delta(&self, response: DeltaDiscoveryResponse) -> Result<(), DecodeError> {
        let known = self.learner.known();
        match response.resources.into_iter().next() {
            Some(Resource { name, version, resource: Some(any), .. }) => self.learn(name, version, &any)?,
            // The first answer may be that there is none; later ones may take it away.
            _ if known.is_none_or(|known| response.removed_resources.contains(&known.resource)) => {
                self.learner.learn(String::new(), String::new(), NameTable::default());
            }
            _ => {}
        }
        Ok(())
    }

    fn take_whole(&self, bytes: &[u8]) -> DiscoveryRequest {
        let mut request = DiscoveryRequest { type_url: NAMES.to_owned(), ..DiscoveryRequest::default() };
        let taken = DiscoveryResponse::decode(bytes).and_then(|response| {
            (request.response_nonce, request.version_info) = (response.nonce, response.version_info);
            let table = response.resources.into_iter().next();
            self.learn(String::new(), String::new(), &table.unwrap_or_default())
        });
        request.error_detail = refusal(taken);
        request
    }

    fn learn(&self, resource: String, version: String, any: &Any) -> Result<(), DecodeError> {
        self.learner.learn(resource, version, NameTable::decode(&any.value[..])?);
        Ok(())
    }
}

fn refusal(taken: Result<(), DecodeError>) -> Option<Status> {
    let error = taken.err()?;
    tracing::warn!(%error, "the control plane's table of names cannot be read");
    Some(Status { code: INVALID_ARGUMENT, message: error.to_string(), ..Status::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::names::{Lookup, Place},
        pb::nds::name_table::NameInfo,
    };

    fn parts(protocol: Protocol) -> (Asker, Taker, Lookup) {
        let (learner, lookup) = Learner::new(Place::new("shop", "shop.svc.cluster.local", ""));
        let learner = Arc::new(learner);
        let asker = Asker { protocol, learner: Arc::clone(&learner), has_asked: false };
        (asker, Taker { protocol, learner }, lookup)
    }

    fn delta(type_url: &str) -> Bytes {
        framed(&DeltaDiscoveryRequest { type_url: type_url.to_owned(), ..DeltaDiscoveryRequest::default() })
    }

    fn any(host: &str) -> Any {
        let info = NameInfo { ips: vec!["10.0.0.1".to_owned()], ..NameInfo::default() };
        let table = NameTable { table: [(host.to_owned(), info)].into() };
        Any { type_url: NAMES.to_owned(), value: table.encode_to_vec() }
    }

    fn response(host: &str, nonce: &str) -> DeltaDiscoveryResponse {
        let resource = Resource {
            name: "name-table".to_owned(),
            version: "v1".to_owned(),
            resource: Some(any(host)),
            ..Resource::default()
        };
        DeltaDiscoveryResponse {
            type_url: NAMES.to_owned(),
            nonce: nonce.to_owned(),
            resources: vec![resource],
            ..DeltaDiscoveryResponse::default()
        }
    }

    fn decoded<M: Message + Default>(framed: Option<Bytes>) -> M {
        M::decode(content(&framed.expect("a message")).expect("it is not compressed")).expect("it can be read")
    }

    fn knows(lookup: &Lookup, host: &str) -> bool {
        lookup.borrow().as_ref().is_some_and(|known| known.table.find(host).is_some())
    }

    #[test]
    fn names_are_asked_for_once_after_listeners() {
        let (mut asker, taker, lookup) = parts(Protocol::Delta);
        assert_eq!(asker.after(&delta("type.googleapis.com/envoy.config.cluster.v3.Cluster")), None);
        let asked: DeltaDiscoveryRequest = decoded(asker.after(&delta(LISTENERS)));
        assert_eq!((&*asked.type_url, asked.initial_resource_versions.len()), (NAMES, 0));
        assert_eq!(asker.after(&delta(LISTENERS)), None);
        let ack: DeltaDiscoveryRequest = decoded(taker.take(&framed(&response("a.com", "n1"))));
        assert_eq!((&*ack.response_nonce, ack.error_detail), ("n1", None));
        assert!(knows(&lookup, "a.com"));
        // The next stream begins with what this one gave.
        let mut next = Asker { has_asked: false, ..asker };
        let asked: DeltaDiscoveryRequest = decoded(next.after(&delta(LISTENERS)));
        assert_eq!(asked.initial_resource_versions["name-table"], "v1");
    }

    #[test]
    fn what_is_envoys_is_left_alone() {
        let (_, taker, lookup) = parts(Protocol::Delta);
        let mut other = response("a.com", "n");
        LISTENERS.clone_into(&mut other.type_url);
        assert_eq!(taker.take(&framed(&other)), None);
        assert_eq!(taker.take(&Bytes::from_static(b"\0\0\0\0\x02\xff\xff")), None);
        assert!(lookup.borrow().is_none());
    }

    #[test]
    fn a_table_that_cannot_be_read_is_refused_and_the_last_one_stays() {
        let (_, taker, lookup) = parts(Protocol::Delta);
        taker.take(&framed(&response("a.com", "n1")));
        let mut broken = response("b.com", "n2");
        broken.resources[0].resource.as_mut().expect("a body").value = vec![0xff];
        let nack: DeltaDiscoveryRequest = decoded(taker.take(&framed(&broken)));
        assert_eq!((&*nack.response_nonce, nack.error_detail.is_some()), ("n2", true));
        assert!(knows(&lookup, "a.com"));
    }

    #[test]
    fn no_table_is_an_empty_one() {
        let (_, taker, lookup) = parts(Protocol::Delta);
        let nothing = DeltaDiscoveryResponse { resources: Vec::new(), ..response("", "n1") };
        taker.take(&framed(&nothing));
        assert!(lookup.borrow().is_some(), "who waits for the table need not wait any longer");
        taker.take(&framed(&response("a.com", "n2")));
        taker.take(&framed(&nothing));
        assert!(knows(&lookup, "a.com"), "nothing new is not nothing");
        let removed_resources = vec!["name-table".to_owned()];
        taker.take(&framed(&DeltaDiscoveryResponse { removed_resources, ..nothing }));
        assert!(!knows(&lookup, "a.com"));
    }

    #[test]
    fn the_state_of_the_world_is_taken_too() {
        let (mut asker, taker, lookup) = parts(Protocol::StateOfTheWorld);
        let listeners = DiscoveryRequest { type_url: LISTENERS.to_owned(), ..DiscoveryRequest::default() };
        let asked: DiscoveryRequest = decoded(asker.after(&framed(&listeners)));
        assert_eq!(asked.type_url, NAMES);
        let response = DiscoveryResponse {
            type_url: NAMES.to_owned(),
            version_info: "v".to_owned(),
            nonce: "n".to_owned(),
            resources: vec![any("a.com")],
            ..DiscoveryResponse::default()
        };
        let ack: DiscoveryRequest = decoded(taker.take(&framed(&response)));
        assert_eq!((&*ack.version_info, &*ack.response_nonce), ("v", "n"));
        assert!(knows(&lookup, "a.com"));
    }
}
