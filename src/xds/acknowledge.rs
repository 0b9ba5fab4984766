//! What a client says to a response: it takes it, or refuses it.

use super::{machine::Machine, subscription::InFlight};
use crate::snapshot::ResourceType;

/// What an acknowledgement's nonce was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nonce {
    /// An awaited response, the last one sent of its type.
    Newest,
    /// An awaited response, though a newer one was sent.
    Older,
    /// The last response sent; it was acknowledged before.
    Repeated,
    Unknown,
}

impl Machine {
    /// Takes an acknowledgement, or a refusal when there is a reason.
    pub(super) fn acknowledge(&mut self, t: ResourceType, nonce: &str, refused: Option<&str>) -> Nonce {
        let Some(seq) = nonce.strip_prefix(&self.nonce_prefix).and_then(|s| s.parse::<u64>().ok()) else {
            return Nonce::Unknown;
        };
        let Some(watch) = &mut self.watches[t] else { return Nonce::Unknown };
        let found = watch.in_flight.iter().enumerate().find(|(_, f)| f.holds(seq));
        let Some((at, newest_of)) = found.map(|(at, f)| (at, f.seq)) else {
            return if nonce == watch.status.nonce_sent { Nonce::Repeated } else { Nonce::Unknown };
        };
        // Of several that count as one, all are taken with the last of them, or refused with any.
        let complete = refused.is_some() || seq == newest_of;
        // A client answers in order, so what was sent before is settled too.
        let mut settled: Vec<InFlight> = watch.in_flight.drain(..at + usize::from(complete)).collect();
        let newest = watch.in_flight.is_empty();
        if newest {
            // Nothing is under way most of the time, and there are thousands of streams: the room is given back.
            watch.in_flight.shrink_to_fit();
        }
        let last = if complete { settled.pop() } else { None };
        settled.into_iter().for_each(|f| self.accepted(t, &f));
        if let Some(last) = last {
            match refused {
                None => self.accepted(t, &last),
                Some(reason) => self.refused(t, &last, reason),
            }
        }
        self.barriers.settle(&self.watches, &self.snapshot);
        if newest { Nonce::Newest } else { Nonce::Older }
    }

    fn accepted(&mut self, t: ResourceType, response: &InFlight) {
        self.note_accepted(t, response);
        let nonce = self.nonce(response.seq);
        let Some(watch) = &mut self.watches[t] else { return };
        watch.status.nonce_acked = nonce;
        let fixed: Vec<_> = match watch.refused.is_empty() {
            true => Vec::new(),
            false => response.items.iter().filter_map(|i| watch.refused.remove_entry(&i.name)).collect(),
        };
        watch.forget_error();
        if t == ResourceType::Endpoint {
            self.barriers.endpoints_settled(response.items.iter().map(|i| &i.name), response.seq);
        }
        self.withdraw(t, fixed);
        if t == ResourceType::VirtualHost {
            self.retry_rivals(response);
        }
    }
}
