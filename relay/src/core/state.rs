//! What the core remembers, packed for a million open envelopes: names are numbers, bodies are positions in the journal.

use std::collections::{BTreeMap, BTreeSet};

use truc_evidence::Unattested;
use truc_ledger::Position;
use truc_proto::{AgencyId, Digest, EnvelopeId, NodeId, Timestamp, limits::PEER_MARKS_MAX};

use super::table::PairState;

/// An agency's code as a number; numbers follow the order in which the journal first named them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct AgencyRef(pub(super) u32);

/// A node as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct NodeRef(pub(super) u32);

/// An envelope as the core keys it: ids sort by the time they were made, so that what is old lies together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct KeyRef {
    pub(super) envelope: EnvelopeId,
    pub(super) sender: AgencyRef,
}

/// Names and their numbers.
#[derive(Debug)]
pub(super) struct Names<T> {
    numbers: BTreeMap<T, u32>,
    names: Vec<T>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { numbers: BTreeMap::new(), names: Vec::new() }
    }
}

impl<T: Ord + Clone> Names<T> {
    pub(super) fn number(&mut self, name: &T) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("fewer names than the directory's bound");
        self.numbers.insert(name.clone(), number);
        self.names.push(name.clone());
        number
    }

    pub(super) fn known(&self, name: &T) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(super) fn name(&self, number: u32) -> &T {
        let index = usize::try_from(number).expect("32 bits fit");
        self.names.get(index).expect("numbers are only made by `number`")
    }

    pub(super) fn all(&self) -> &[T] {
        &self.names
    }
}

/// The agencies and nodes that the journal has named.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) agencies: Names<AgencyId>,
    pub(super) nodes: Names<NodeId>,
}

impl Book {
    pub(super) fn agency(&mut self, code: &AgencyId) -> AgencyRef {
        AgencyRef(self.agencies.number(code))
    }
    pub(super) fn node(&mut self, id: &NodeId) -> NodeRef {
        NodeRef(self.nodes.number(id))
    }
    pub(super) fn known_agency(&self, code: &AgencyId) -> Option<AgencyRef> {
        self.agencies.known(code).map(AgencyRef)
    }
    pub(super) fn known_node(&self, id: &NodeId) -> Option<NodeRef> {
        self.nodes.known(id).map(NodeRef)
    }
    pub(super) fn agency_name(&self, agency: AgencyRef) -> &AgencyId {
        self.agencies.name(agency.0)
    }
    pub(super) fn node_name(&self, node: NodeRef) -> &NodeId {
        self.nodes.name(node.0)
    }
}

/// One recipient of an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pair {
    pub(super) recipient: AgencyRef,
    /// Whose turn it is; none for a code that was closed on arrival.
    pub(super) node: Option<NodeRef>,
    pub(super) state: PairState,
    /// How much evidence about it was kept that moved nothing.
    pub(super) kept: u8,
}

/// A final proof that was passed on: whose, and the first eight bytes of a hash over its leaf, the node it went to and what others said of its checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Final {
    pub(super) from: NodeRef,
    pub(super) seen: [u8; 8],
}

/// An accepted envelope that is not complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Envelope {
    pub(super) sender_node: NodeRef,
    /// The record with preamble, submission, key envelopes and inline payload; its leaf is the RelayAcceptance.
    pub(super) position: Position,
    pub(super) leaf_index: u64,
    pub(super) submission: Digest,
    pub(super) preamble: Digest,
    pub(super) payload: Digest,
    pub(super) commitment: Digest,
    pub(super) payload_length: u64,
    pub(super) expires: Timestamp,
    pub(super) priority: u8,
    pub(super) status: bool,
    pub(super) blob: bool,
    pub(super) pairs: Box<[Pair]>,
    /// First eight bytes of the leaf hash of each piece of evidence taken.
    pub(super) evidence: Vec<u64>,
    /// Final proofs passed on.
    pub(super) finals: Vec<Final>,
    /// Counted among the open ones.
    pub(super) counted_open: bool,
}

impl Envelope {
    pub(super) fn is_open(&self) -> bool {
        self.pairs.iter().any(|pair| pair.state.is_open())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.pairs.iter().all(|pair| pair.state.is_complete(self.status))
    }

    pub(super) fn waits_at(&self, node: NodeRef) -> bool {
        self.pairs.iter().any(|pair| pair.node == Some(node) && pair.state.is_open())
    }

    pub(super) fn content(&self) -> Digest {
        super::content_identity(&self.preamble, &self.payload, &self.commitment)
    }

    /// Most urgent first, then in order of acceptance.
    pub(super) fn rank(&self) -> (u8, Position) {
        (4_u8.saturating_sub(self.priority), self.position)
    }
}

/// What remains of an envelope that is complete or was refused as a whole: enough to answer its id, for as long as ids are taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Remembered {
    pub(super) content: Digest,
    pub(super) accepted: bool,
    pub(super) position: Position,
    pub(super) leaf_index: u64,
    /// Recipients that did not get it: those that another envelope may stand in for.
    pub(super) undelivered: Box<[AgencyRef]>,
    pub(super) evidence: Box<[u64]>,
    pub(super) finals: Box<[Final]>,
    /// How many recipients it had.
    pub(super) recipients: u16,
}

/// A leaf of the relay about an envelope, waiting for a tree that the certificate signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OwnLeaf {
    pub(super) position: Position,
    pub(super) envelope: EnvelopeId,
}

/// Something to be handed to a node, kept until it is acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Delivery {
    /// A batch of another node, as it stands in the record.
    Forwarded { from: NodeRef, position: Position },
    /// A leaf of the relay itself, in the record.
    Own { position: Position, leaf_index: u64, envelope: EnvelopeId },
    /// Proofs of the relay's leaves into the tree whose signed note stands in the record `signed`.
    Final { signed: Position, size: u64, leaves: Vec<(u64, OwnLeaf)> },
}

/// All that concerns one node.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Envelopes that wait for it, most urgent first.
    pub(super) waiting: BTreeMap<(u8, Position), KeyRef>,
    /// The same by id: what the undelivered statement hashes.
    pub(super) undelivered: BTreeSet<KeyRef>,
    /// Counts changes of `undelivered`, so that an unchanged root is not computed again. Not persisted.
    pub(super) changes: u64,
    pub(super) deliveries: BTreeMap<u64, Delivery>,
    /// The relay's leaves by index that this node still needs under the certificate.
    pub(super) unsigned: BTreeMap<u64, OwnLeaf>,
    /// Those that it has under the certificate, but without the time-stamp or the cosignatures that were wanted.
    pub(super) unattested: Unattested<OwnLeaf>,
}

/// A state of a node's ledger that was seen, and the record with its note.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) size: u64,
    pub(super) root: Digest,
    pub(super) position: Position,
}

/// What is known of a node's ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    /// The state that everything before it is proven to lead to, or the first that was seen.
    pub(super) proven: Seen,
    /// Larger ones seen since, in rising order; the node has still to prove that they are of one history.
    pub(super) unproven: Vec<Seen>,
    /// The record with the proof that it showed two histories.
    pub(super) fork: Option<Position>,
    /// The newest that the relay cosigned.
    pub(super) cosigned: Option<Cosigned>,
}

/// A node's checkpoint that the relay cosigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cosigned {
    pub(super) size: u64,
    pub(super) root: Digest,
    /// Size and time (milliseconds since 1970) of the newest that stands in the relay's own ledger.
    pub(super) logged: Option<(u64, i64)>,
}

impl Peer {
    pub(super) const fn new(seen: Seen) -> Self {
        Self { proven: seen, unproven: Vec::new(), fork: None, cosigned: None }
    }

    /// The newest state seen.
    pub(super) fn newest(&self) -> Seen {
        self.unproven.last().copied().unwrap_or(self.proven)
    }

    /// All states kept, in rising order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Seen> {
        std::iter::once(&self.proven).chain(&self.unproven)
    }

    /// Keeps a larger one. When there are too many it takes the place of the last: the oldest are those that a new history would contradict.
    pub(super) fn see(&mut self, seen: Seen) {
        if self.newest().size >= seen.size {
            return;
        }
        if self.unproven.len() + 1 >= PEER_MARKS_MAX {
            self.unproven.pop();
        }
        self.unproven.push(seen);
    }

    /// The relay cosigned this one: all up to it are proven to lead to it.
    pub(super) fn cosign(&mut self, seen: Seen, logged: Option<(u64, i64)>) {
        self.unproven.retain(|later| later.size > seen.size);
        if self.proven.size < seen.size {
            self.proven = seen;
        }
        let logged = logged.or_else(|| self.cosigned.and_then(|before| before.logged));
        self.cosigned = Some(Cosigned { size: seen.size, root: seen.root, logged });
    }

    /// Everything up to `size` is of one history.
    pub(super) fn prove(&mut self, size: u64) {
        let later = self.unproven.split_off(self.unproven.partition_point(|seen| seen.size <= size));
        if let Some(last) = std::mem::replace(&mut self.unproven, later).pop() {
            self.proven = last;
        }
    }
}
