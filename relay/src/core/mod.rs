//! The relay's pure core: what it knows, and what it decides.
//!
//! Time, verified facts and identities come in as values ([`Input`]); records to append, the answer and everything else to be done go out as
//! values ([`Effect`]). Nothing here does I/O, reads a clock, or checks a signature: what comes in through [`Input`] has been verified.
//!
//! State is a fold of the journal. [`Core::apply`] is that fold; [`Core::handle`] makes records and applies them at once by the same code, so
//! the live state is always the state that a recovery of the same journal gives. Effects of a `handle` may leave the process only after the
//! records returned with them, and all before them, are on the device.

mod administration;
mod apply;
mod decide;
mod evidence;
mod input;
mod queries;
mod snapshot;
mod state;
mod table;
mod witness;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use truc_evidence::{Attestations, Attested};
use truc_ledger::{Position, Record};
use truc_proto::{AgencyId, Digest, NodeId, Raw, Statement, Timestamp, limits};

pub use apply::ApplyError;
pub use input::{
    Acceptance, Alarm, CosignOutcome, Cursor, DeliveryItem, DeliveryPage, DirectoryLeaf, Effect, EnvelopeKey,
    EvidenceOutcome, FinalisedLeaf, Found, FoundLive, FoundPair, Input, LiveFacts, Mark, NewDirectory, OfferOutcome,
    OfferedRecipient, OwnProof, Recall, Refused, Reply, Undelivered, VerifiedEvidence, VerifiedFinalisation,
    VerifiedOffer, WaitingItem,
};
pub use table::{Fact, PairState, Step, step};

use crate::records::{Body, RelayRecord};
use state::{AgencyRef, Book, Envelope, KeyRef, NodeRef, Peer, Queue, Remembered};

/// How long an id is remembered, counted from the moment it says it was made, in milliseconds: the longest life of an envelope, the skew
/// that clocks are allowed, and a day, so that the window of what is accepted ends well inside it.
pub const ID_MEMORY_MS: i64 = limits::ENVELOPE_TTL_MAX_MS + 2 * limits::FUTURE_SKEW_MAX_MS + 86_400_000;

/// What the core is told once.
#[derive(Clone, Debug)]
pub struct CoreSettings {
    /// The relay's own id, the actor of its leaves.
    pub relay: NodeId,
    /// Most envelopes that may be open at once.
    pub open_envelopes_max: usize,
    /// How long a lease holds without a sign of life, in milliseconds.
    pub lease_ms: u64,
}

/// Which content an id stands for: SHA-256 over preamble hash, payload hash and commitment.
#[must_use]
pub fn content_identity(preamble: &Digest, payload: &Digest, commitment: &Digest) -> Digest {
    Digest::of_parts(&[b"truc/relay/content/1", &preamble.0, &payload.0, &commitment.0])
}

/// Where a directory version stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryMark {
    /// The version.
    pub version: u64,
    /// SHA-256 of its root statement.
    pub statement: Digest,
    /// Record whose leaf is the root statement.
    pub position: Position,
    /// Index of that leaf.
    pub leaf_index: u64,
}

/// A checkpoint that the certificate signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedMark {
    /// The record with its note.
    pub position: Position,
    /// Leaves it covers.
    pub size: u64,
    /// What others said of it.
    pub said: Attestations,
}

/// The state and its rules.
pub struct Core {
    settings: CoreSettings,
    next_position: Position,
    next_leaf: u64,
    next_delivery: u64,
    /// Latest time that a record carries; what is old is judged by it, so that recovery forgets exactly what the live core forgot.
    clock: Timestamp,
    book: Book,
    envelopes: BTreeMap<KeyRef, Envelope>,
    open: usize,
    remembered: BTreeMap<KeyRef, Remembered>,
    /// The refusals of other contents under an id that stands for something already; never more than `REFUSALS_PER_ID_MAX`.
    reused: BTreeMap<KeyRef, Vec<Remembered>>,
    /// Late evidence about envelopes that are forgotten otherwise, by the first bytes of its leaf hash.
    recalled: BTreeMap<KeyRef, Vec<u64>>,
    /// Pairs of older envelopes for which another one stands in.
    superseded: BTreeSet<(KeyRef, AgencyRef)>,
    queues: BTreeMap<NodeRef, Queue>,
    peers: BTreeMap<NodeRef, Peer>,
    /// How many envelopes hold each payload in the blob store.
    payloads: BTreeMap<Digest, u32>,
    directory: Option<DirectoryMark>,
    /// The note on an administrator's deed that was taken last.
    noted: Option<Digest>,
    signed: Option<SignedMark>,
    unsigned: usize,
    /// Leaves in the queues' `unattested`; at most [`truc_proto::limits::RELAY_UNATTESTED_MAX`].
    unattested: usize,
    /// Volatile: who is working on what until when. A restart forgets it; nodes lease again.
    leases: BTreeMap<(KeyRef, NodeRef), Timestamp>,
    /// Volatile, as the directory says by the clock: codes that take nothing more, with who has their mail now.
    out_of_service: BTreeMap<AgencyId, Option<AgencyId>>,
    /// Volatile: when to look at which open envelope next; its end, or the end of a lease that outlives it.
    due: BTreeSet<(Timestamp, KeyRef)>,
}

impl Core {
    /// A core that knows nothing.
    #[must_use]
    pub fn new(settings: CoreSettings) -> Self {
        Self {
            settings,
            next_position: Position(0),
            next_leaf: 0,
            next_delivery: 1,
            clock: Timestamp::EPOCH,
            book: Book::default(),
            envelopes: BTreeMap::new(),
            open: 0,
            remembered: BTreeMap::new(),
            reused: BTreeMap::new(),
            recalled: BTreeMap::new(),
            superseded: BTreeSet::new(),
            due: BTreeSet::new(),
            queues: BTreeMap::new(),
            peers: BTreeMap::new(),
            payloads: BTreeMap::new(),
            directory: None,
            noted: None,
            signed: None,
            unsigned: 0,
            unattested: 0,
            leases: BTreeMap::new(),
            out_of_service: BTreeMap::new(),
        }
    }

    /// Decides. The effects are in order; at most one is a [`Effect::Reply`].
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        let mut turn = Turn::default();
        let reply = match input {
            Input::Find(keys) => Some(Reply::Found(self.find(&keys))),
            Input::FindIds(ids) => Some(Reply::FoundIds(ids.iter().map(|id| self.with_id(*id)).collect())),
            Input::Offered(offer) => Some(Reply::Offer(self.offered(now, *offer, &mut turn))),
            Input::OfferRefused { offer, reason, successor } => {
                Some(Reply::Offer(self.offer_refused(now, &offer, reason, successor, &mut turn)))
            }
            Input::Lease { node, key } => Some(Reply::Lease(self.lease(now, &node, &key))),
            Input::Evidence { from, items } => Some(Reply::Evidence(self.evidence(now, &from, items, &mut turn))),
            Input::Finalised { from, items } => Some(Reply::Done(self.finalised(now, &from, items, &mut turn))),
            Input::Acknowledged { node, numbers } => {
                self.acknowledged(&node, numbers, &mut turn);
                Some(Reply::Done(Ok(())))
            }
            Input::PeerSeen { node, mark, note } => Some(Reply::Done(self.peer_seen(&node, &mark, note, &mut turn))),
            Input::HistoryShown { node, mark, note, proofs } => {
                Some(Reply::History(self.history_shown(&node, &mark, &note, &proofs, &mut turn)))
            }
            Input::Cosign { node, origin, mark, note, proofs } => {
                let shown = witness::Shown { node: &node, origin, mark: &mark, note };
                Some(Reply::Cosign(self.cosign(now, shown, &proofs, &mut turn)))
            }
            Input::Signed { size, note, said } => {
                self.signed(size, note, said, &mut turn);
                Some(Reply::Done(Ok(())))
            }
            Input::Published(directory) => Some(Reply::Published(self.published(now, *directory, &mut turn))),
            Input::Administered { deed, note } => Some(Reply::Done(self.administer(now, deed, note, &mut turn))),
            Input::Pull { node, cursor, limit } => Some(Reply::Page(self.pull(&node, &cursor, limit))),
            Input::Undelivered { node } => Some(Reply::Undelivered(self.undelivered(&node))),
            Input::Forks => Some(Reply::Forks(self.forks())),
            Input::HeldOf { node } => Some(Reply::Held(self.held_of(&node))),
            Input::OutOfService(codes) => {
                self.out_of_service = codes.into_iter().collect();
                self.look_for_ended(now);
                Some(Reply::Done(Ok(())))
            }
            Input::Tick => {
                self.tick(now, &mut turn);
                None
            }
        };
        turn.into_effects(reply)
    }

    /// Where the next record goes.
    #[must_use]
    pub const fn next_position(&self) -> Position {
        self.next_position
    }

    /// Index of the next leaf.
    #[must_use]
    pub const fn next_leaf(&self) -> u64 {
        self.next_leaf
    }

    /// How many envelopes have a recipient that is not served.
    #[must_use]
    pub const fn open_envelopes(&self) -> usize {
        self.open
    }

    /// Leaves about which a node still wants the certificate's word, and the size that it has signed: the signer's cue.
    #[must_use]
    pub const fn unsigned_leaves(&self) -> usize {
        self.unsigned
    }

    /// Leaves that nodes are to be shown once more, under a checkpoint of which others say more.
    #[must_use]
    pub const fn unattested_leaves(&self) -> usize {
        self.unattested
    }

    /// The newest checkpoint that the certificate signed.
    #[must_use]
    pub const fn signed_mark(&self) -> Option<SignedMark> {
        self.signed
    }

    /// Its size, and what others said of it; nothing where there is none.
    fn signed_so_far(&self) -> (u64, Attested) {
        self.signed.map_or((0, Attested::NONE), |signed| (signed.size, signed.said.there()))
    }

    /// The newest directory version.
    #[must_use]
    pub const fn directory(&self) -> Option<DirectoryMark> {
        self.directory
    }

    /// True when the blob store must keep this payload.
    #[must_use]
    pub fn needs_payload(&self, payload: &Digest) -> bool {
        self.payloads.contains_key(payload)
    }

    /// All payloads that the blob store must keep.
    pub fn payloads(&self) -> impl Iterator<Item = Digest> {
        self.payloads.keys().copied()
    }

    /// When [`Input::Tick`] has something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Makes a record of `body`, applies it, and remembers what is to be done about it.
    fn append(&mut self, body: Body, leaf: Option<Vec<u8>>, turn: &mut Turn) -> (Position, u64) {
        let at = (self.next_position, self.next_leaf);
        let leaf_index = leaf.as_ref().map(|_| at.1);
        self.apply_body(at.0, leaf_index, &body, &mut turn.after)
            .expect("a record that the core itself has just made is complete");
        turn.records.push(Record { state: RelayRecord::encoded(body), leaf });
        at
    }

    fn queue(&mut self, node: NodeRef) -> &mut Queue {
        self.queues.entry(node).or_default()
    }
}

/// What one `handle` gathers.
#[derive(Default)]
struct Turn {
    records: Vec<Record>,
    after: Vec<Effect>,
}

impl Turn {
    fn into_effects(self, reply: Option<Reply>) -> Vec<Effect> {
        let mut effects = Vec::with_capacity(2 + self.after.len());
        if !self.records.is_empty() {
            effects.push(Effect::Append(self.records));
        }
        effects.extend(reply.map(Effect::Reply));
        effects.extend(self.after);
        effects
    }
}

/// The bytes of a statement that the relay itself makes from checked values.
fn statement<T: Statement>(value: T) -> Vec<u8> {
    Raw::write(value).expect("statements of the relay are made of checked values").bytes().to_vec()
}
