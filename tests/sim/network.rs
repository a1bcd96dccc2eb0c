//! Calls between nodes and the relay, and what a bad line does to them: lost, doubled, late, out of order.

use prost::bytes::Bytes;
use truc_node::core::Key;
use truc_proto::{
    AgencyId, Digest, Reason,
    relay_v1::{KeyEnvelope, LeaseReply, OfferRequest},
    wire_v1::{EvidenceBatch, ProvenLeaf},
};
use truc_relay::core::{Cursor, WaitingItem};

use crate::context::{Context, Event};

/// Who calls: a node, in which life, over which connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) session: u64,
    pub(crate) call: u64,
}

/// A message on the line.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Call {
        from: Caller,
        request: Request,
    },
    Answer {
        to: Caller,
        reply: Reply,
    },
    /// The relay has something for a node.
    Wake {
        node: usize,
    },
}

/// From a node.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Hello {
        held_of_you: Bytes,
        mine: Bytes,
    },
    /// `payload`: inline, or as the upload would bring it.
    Offer {
        offer: OfferRequest,
        upload: Bytes,
    },
    Pull(Cursor),
    Lease(Key),
    TakeKeys {
        key: Key,
        acceptances: EvidenceBatch,
    },
    Push(Vec<EvidenceBatch>),
    Acknowledge(Vec<u64>),
    Reconcile(Vec<Key>),
    Undelivered,
    Checkpoint {
        from: u64,
    },
    /// Not from a node's shell: other content under an id that stands for something (I4).
    Forged(Key),
}

/// From the relay.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Hello {
        held_of_you: Bytes,
        checkpoint: Bytes,
        consistency: Vec<Digest>,
    },
    Decided(ProvenLeaf),
    Page {
        waiting: Vec<WaitingItem>,
        deliveries: Vec<(u64, usize, EvidenceBatch)>,
        cursor: Cursor,
    },
    Leased(LeaseReply, Bytes),
    Gone,
    /// The key envelopes; and codes for which it is too late, with the reason.
    Keys(Vec<KeyEnvelope>, Vec<(AgencyId, Reason)>),
    Done,
    Unknown(Vec<Key>),
    Undelivered(Vec<Key>),
    Checkpoint {
        checkpoint: Bytes,
        consistency: Vec<Digest>,
    },
    Refused(String),
}

impl Context {
    /// Puts a message on the line of a node.
    pub(crate) fn send(&mut self, node: usize, message: Message) {
        let faults = self.faults;
        if self.cut[node] || (!self.healed && self.once_in(faults.drop)) {
            return;
        }
        let doubled = !self.healed && self.once_in(faults.duplicate);
        for _ in 0..=u8::from(doubled) {
            let delay = 1 + self.random.below(40);
            let long = !self.healed && self.once_in(faults.long_delay);
            let more = if long { self.random.below(60_000) } else { 0 };
            self.after(delay + more, Event::Arrive(message.clone()));
        }
    }
}
