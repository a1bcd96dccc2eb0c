//! The node's decisions. Pure: time, randomness and the outcome of every check come in as values; all that is to be
//! done goes out as values. The same [`Core::apply`] folds the journal live, in recovery and in the simulator.
//!
//! Nothing here knows sockets, keys, files or clocks.

mod administration;
mod duties;
mod evidence;
mod gateway;
mod groups;
mod inbox;
mod outbox;
mod retention;
mod snapshot;
mod state;
mod status;
mod table;
mod takeover;
mod timers;
mod types;
mod unread;
mod unsent;
mod wishes;
mod withdraw;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use truc_evidence::{Attestations, Unattested};
use truc_ledger::Record;
use truc_proto::{AgencyId, Checkpoint, Digest, Event, NodeId, Raw, Submission, Timestamp};

use crate::records::{Body, NodeRecord, Place, RecordError};

pub use administration::Deed;
pub use duties::{Counted, Counters, OpenDuty, Told};
pub use gateway::{PassOutcome, Passage};
pub use groups::Group;
pub use state::{
    Business, Code, Delivery, EarlyStatus, Hashes, ItemRef, Key, Pair, Received, Removal, Sent, Shown, Source, Stage,
    StatusAbout, StatusNote, Step, Unsent, Work,
};
pub use table::{Asking, CodeState, Move, PairState, Standing, StatusRefused, code_move, pair_move, status_move};
pub use takeover::Origin;
pub use types::{
    Alarm, Answer, Effect, Failure, HeldRequest, Input, Kept, Leased, OwnLeaf, Policy, ReceivedItem, ReceivedLeaves,
    RefusedLeaf, Rejection, Sealed, StatusRequest, Token, Waiting,
};

pub use wishes::{Asked, Wish, WishAnswer, WishState};
pub use withdraw::{Withdrawing, withdrawing};

use gateway::Outside;
use inbox::WaitingState;
use timers::Timers;
use unsent::UnsentLeaves;

/// The node's state: a fold of its journal, and what is under way.
#[derive(Debug)]
pub struct Core {
    policy: Policy,
    next_position: u64,
    next_leaf: u64,

    // Folded.
    sent: BTreeMap<u64, Sent>,
    received: BTreeMap<u64, Received>,
    requests: BTreeMap<(AgencyId, String), Request>,
    unsent: UnsentLeaves,
    /// Own leaves that others have finally, but without the time-stamp or the cosignatures that were wanted; at most
    /// [`truc_proto::limits::NODE_UNATTESTED_MAX`].
    unattested: Unattested<Shown>,
    own_checkpoint: Option<OwnCheckpoint>,
    peers: BTreeMap<NodeId, Bytes>,
    /// The largest checkpoint that came with evidence, by node.
    seen: BTreeMap<NodeId, (u64, Bytes)>,
    forks: BTreeMap<NodeId, u64>,
    /// The newest checkpoint of each peer that this node cosigned.
    cosigned: BTreeMap<NodeId, Checkpoint>,
    directory: Option<(u64, Digest)>,
    parked: BTreeMap<Digest, ItemRef>,
    /// Requests to withdraw that came before their document, by it and its recipient.
    early: BTreeMap<(Key, AgencyId), EarlyStatus>,
    entitlements: BTreeMap<(NodeId, String), Vec<EntitledRef>>,
    groups: groups::Groups,
    /// The newest of what administrators did.
    deeds: administration::Newest,
    /// What waits for a second administrator, by its position.
    wishes: BTreeMap<u64, Wish>,

    // Found again from the above at start.
    sent_keys: BTreeMap<Key, u64>,
    received_keys: BTreeMap<Key, u64>,
    sent_leaves: BTreeMap<Digest, u64>,
    received_leaves: BTreeMap<Digest, u64>,
    /// Positions of what a code's document system has still to take.
    unread: BTreeMap<AgencyId, BTreeSet<u64>>,
    /// Positions of what a duty's deadline was told about.
    warned: duties::Warned,

    // Volatile: under way now.
    connected: bool,
    /// Own leaves in the push under way.
    pushing: BTreeSet<u64>,
    /// What others had said of its checkpoint.
    pushing_under: Attestations,
    /// The last push failed: the next one waits for its timer.
    push_waits: bool,
    /// Own leaves that the relay did not take when it was last shown them; true: left out until their timer.
    deferred: BTreeMap<u64, bool>,
    offering: BTreeSet<u64>,
    ready: BTreeSet<(std::cmp::Reverse<u8>, u64)>,
    waiting: BTreeMap<Key, WaitingState>,
    waiting_ready: BTreeSet<(std::cmp::Reverse<u8>, Key)>,
    openable: BTreeSet<(std::cmp::Reverse<u8>, u64)>,
    /// What waits to be handed over to today's axis.
    passable: BTreeSet<(std::cmp::Reverse<u8>, u64, AgencyId)>,
    outside: Outside,
    /// What came from today's axis and is in memory, by its name there and our code.
    taken_over: BTreeMap<(String, AgencyId), Key>,
    taking: BTreeSet<Key>,
    suspects: BTreeSet<Key>,
    status_readers: BTreeSet<AgencyId>,
    wants_leaf: BTreeSet<u64>,
    wants_final: BTreeSet<u64>,
    timers: Timers,
    alarms: BTreeMap<Alarm, String>,
    batch: Vec<Record>,
    effects: Vec<Effect>,
}

/// An idempotency key that was used.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Request {
    pub(crate) hash: Digest,
    /// Its envelope, or, when it was refused with evidence, none.
    pub(crate) key: Option<Key>,
    pub(crate) reason: Option<truc_proto::Reason>,
    /// The rejection's leaf, when it was refused.
    #[serde(default)]
    pub(crate) leaf: Option<Digest>,
    pub(crate) place: Place,
}

/// The newest checkpoint of ours that carries the certificate's line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct OwnCheckpoint {
    /// Position of its record.
    pub position: u64,
    /// Leaves it covers.
    pub size: u64,
    /// What others said of it.
    #[serde(default)]
    pub said: Attestations,
}

/// What entitled an actor, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct EntitledRef {
    /// Position of its record.
    pub position: u64,
    /// When the directory's root was issued.
    pub issued: Timestamp,
    /// Until when it is valid.
    pub valid_until: Timestamp,
    /// Hash over the entries.
    pub entries: Digest,
}

impl Core {
    /// A node that has seen nothing.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            next_position: 0,
            next_leaf: 0,
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            requests: BTreeMap::new(),
            unsent: UnsentLeaves::default(),
            unattested: Unattested::default(),
            own_checkpoint: None,
            peers: BTreeMap::new(),
            seen: BTreeMap::new(),
            forks: BTreeMap::new(),
            cosigned: BTreeMap::new(),
            directory: None,
            parked: BTreeMap::new(),
            early: BTreeMap::new(),
            entitlements: BTreeMap::new(),
            groups: groups::Groups::default(),
            deeds: administration::Newest::default(),
            wishes: BTreeMap::new(),
            sent_keys: BTreeMap::new(),
            received_keys: BTreeMap::new(),
            sent_leaves: BTreeMap::new(),
            received_leaves: BTreeMap::new(),
            unread: BTreeMap::new(),
            warned: duties::Warned::default(),
            connected: false,
            pushing: BTreeSet::new(),
            pushing_under: Attestations::default(),
            push_waits: false,
            deferred: BTreeMap::new(),
            offering: BTreeSet::new(),
            ready: BTreeSet::new(),
            waiting: BTreeMap::new(),
            waiting_ready: BTreeSet::new(),
            openable: BTreeSet::new(),
            passable: BTreeSet::new(),
            outside: Outside::default(),
            taken_over: BTreeMap::new(),
            taking: BTreeSet::new(),
            suspects: BTreeSet::new(),
            status_readers: BTreeSet::new(),
            wants_leaf: BTreeSet::new(),
            wants_final: BTreeSet::new(),
            timers: Timers::default(),
            alarms: BTreeMap::new(),
            batch: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// Takes what happened; gives back what is to be done, in order. Everything behind an [`Effect::Append`] waits until
    /// those records are on the device (I1).
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        match input {
            Input::Prepared { sealed, reply } => self.prepared(now, *sealed, reply),
            Input::Held { request, reply } => self.held(now, *request, reply),
            Input::Refused { sender, idempotency_key, reused, request_hash, reason, reply } => {
                self.refused(now, &sender, (idempotency_key, reused), request_hash, reason, reply);
            }
            Input::ReserveStatus { request, reply } => self.reserve_status(&request, reply),
            Input::Confirm { key, code, refused, reply } => self.confirm(now, &key, &code, refused, reply),
            Input::StatusTaken { key, code, failed, reply } => self.status_taken(now, &key, &code, failed, reply),
            Input::StatusReaders(codes) => self.set_status_readers(codes),
            Input::Connected => self.now_connected(),
            Input::Disconnected => self.now_disconnected(),
            Input::LostByRelay(keys) => self.lost_by_relay(&keys),
            Input::Offered { key, acceptance } => self.offered(now, &key, acceptance),
            Input::OfferFailed { key, error, jitter } => self.offer_failed(now, &key, error, jitter),
            Input::Uploaded { key, bytes } => self.uploaded(&key, bytes),
            Input::TakeOver { record, reply } => self.take_over(now, *record, reply),
            Input::Passed { key, recipient, outcome, jitter } => self.passed(now, &key, &recipient, outcome, jitter),
            Input::ResealFailed { key, recipient, error } => self.reseal_failed(now, &key, &recipient, error),
            Input::Withdraw { key, recipients, text, reply } => self.withdraw(now, &key, &recipients, text, reply),
            Input::DivideFailed { key, error } => self.divide_failed(now, &key, error),
            Input::HeldFailed { key, error, jitter } => self.offer_failed(now, &key, error, jitter),
            Input::KeyBack => self.key_back(),
            Input::Waiting(waiting) => self.announce(waiting),
            Input::Leased(leased) => self.leased(now, *leased),
            Input::TakeFailed { key, error, jitter, gone } => self.take_failed(now, &key, error, jitter, gone),
            Input::Opened { key, content, outcomes } => self.opened(now, &key, content.map(|c| *c), outcomes),
            Input::Evidence { numbers, leaves } => self.evidence(now, numbers, leaves),
            Input::Pushed { leaves, finally } => self.pushed(leaves, finally),
            Input::PushRefused { leaves } => self.push_refused(now, leaves),
            Input::PushFailed => self.push_failed(now),
            Input::CheckpointSigned { note, said } => self.checkpoint_signed(note, said),
            Input::PeerCheckpoint { node, note } => self.peer_checkpoint(node, note),
            Input::Cosign { node, checkpoint, reply } => self.cosign(&node, &checkpoint, reply),
            Input::PeerFork { node, held, shown } => self.peer_fork(now, node, held, shown),
            Input::DirectoryTaken { version, statement } => self.directory_taken(version, statement),
            Input::Entitled(entitled) => self.entitled(*entitled),
            Input::Undelivered { listed, complete } => self.undelivered(listed, complete),
            Input::Alarm { alarm, text } => self.set_alarm(alarm, text),
            Input::Kept(kept) => self.kept(now, kept),
            Input::PutGroup { owner, name, codes, reply } => self.put_group(now, &owner, name, &codes, reply),
            Input::Administer { deed, note, wish, reply } => self.administer(now, *deed, note, wish, reply),
            Input::AskFor { deed, reply } => self.ask_for(now, *deed, reply),
            Input::AnswerWish { wish, approved, who, why, reply } => {
                self.answer_wish(now, wish, approved, (who, why), reply);
            }
            Input::Tick => self.tick(now),
        }
        self.pump(now);
        self.finish()
    }

    /// Folds one record of the journal.
    ///
    /// # Errors
    /// When it cannot be understood: damaged, or of a later version.
    pub fn apply(&mut self, place: Place, state: &[u8], leaf: Option<&[u8]>) -> Result<(), RecordError> {
        let body = NodeRecord::read(state)?;
        self.fold(place, body, leaf.map(Bytes::copy_from_slice))
    }

    /// To be called once after the last record at start: finds the volatile parts again.
    pub fn recovered(&mut self) {
        self.rebuild();
    }

    /// Position of the next record.
    #[must_use]
    pub const fn next_position(&self) -> u64 {
        self.next_position
    }

    /// Index of the next leaf.
    #[must_use]
    pub const fn next_leaf(&self) -> u64 {
        self.next_leaf
    }

    /// The earliest moment at which [`Input::Tick`] has something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// What we sent, by journal position.
    #[must_use]
    pub const fn sent(&self) -> &BTreeMap<u64, Sent> {
        &self.sent
    }

    /// What we received, by journal position.
    #[must_use]
    pub const fn received(&self) -> &BTreeMap<u64, Received> {
        &self.received
    }

    /// One of ours.
    #[must_use]
    pub fn find_sent(&self, key: &Key) -> Option<&Sent> {
        self.sent.get(self.sent_keys.get(key)?)
    }

    /// One of theirs.
    #[must_use]
    pub fn find_received(&self, key: &Key) -> Option<&Received> {
        self.received.get(self.received_keys.get(key)?)
    }

    /// The document of ours that a leaf is about.
    #[must_use]
    pub fn sent_by_leaf(&self, leaf: &Digest) -> Option<&Sent> {
        self.sent.get(self.sent_leaves.get(leaf)?)
    }

    /// The received document that a leaf is about.
    #[must_use]
    pub fn received_by_leaf(&self, leaf: &Digest) -> Option<&Received> {
        self.received.get(self.received_leaves.get(leaf)?)
    }

    /// Our newest checkpoint with the certificate's line.
    #[must_use]
    pub const fn own_checkpoint(&self) -> Option<OwnCheckpoint> {
        self.own_checkpoint
    }

    /// The newest checkpoint held of a peer, as the note's bytes.
    #[must_use]
    pub fn peer(&self, node: &NodeId) -> Option<&Bytes> {
        self.peers.get(node)
    }

    /// The largest checkpoint of a peer that came with evidence: signed by it, not necessarily proven yet to continue [`Core::peer`].
    #[must_use]
    pub fn seen_of(&self, node: &NodeId) -> Option<&Bytes> {
        self.seen.get(node).map(|(_, note)| note)
    }

    /// Position of the proof that a peer showed two histories.
    #[must_use]
    pub fn fork_of(&self, node: &NodeId) -> Option<u64> {
        self.forks.get(node).copied()
    }

    /// Version and statement digest of the directory in use.
    #[must_use]
    pub const fn directory(&self) -> Option<(u64, Digest)> {
        self.directory
    }

    /// Own leaves that others are to be shown once more, under a checkpoint of which others say more.
    #[must_use]
    pub fn unattested_leaves(&self) -> usize {
        self.unattested.len()
    }

    /// Own leaves of which others have still to hear.
    #[must_use]
    pub const fn unsent(&self) -> &BTreeMap<u64, Unsent> {
        self.unsent.leaves()
    }

    /// True while the relay is there.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.connected
    }

    /// What needs a person's attention, with words.
    #[must_use]
    pub const fn alarms(&self) -> &BTreeMap<Alarm, String> {
        &self.alarms
    }

    /// Envelopes that the relay announced and that are not here yet.
    pub fn announced(&self) -> impl Iterator<Item = &Key> {
        self.waiting.keys()
    }

    /// The bounds it works under.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// True when no more work is taken on (OPEN_ENVELOPES_MAX).
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sent.len() + self.received.len() >= self.policy.open_envelopes_max
    }

    /// Whether an own leaf, or one received, has been proven under a certificate's signature.
    #[must_use]
    pub fn is_final(&self, step: &Step, finals: &BTreeMap<Digest, ItemRef>) -> bool {
        is_final(self.own_checkpoint, step, finals)
    }

    /// Appends a record: folds it now, and hands it to the journal with this call's effects.
    fn commit(&mut self, body: Body, leaf: Option<Bytes>) -> Option<Place> {
        let place = Place { position: self.next_position, leaf: leaf.as_ref().map(|_| self.next_leaf) };
        let record = Record { state: body.clone().write(), leaf: leaf.as_ref().map(|l| l.to_vec()) };
        match self.fold(place, body, leaf) {
            Ok(()) => {
                self.batch.push(record);
                Some(place)
            }
            // What we write ourselves folds; if ever not, nothing of it may reach the journal.
            Err(error) => {
                self.effects.push(Effect::Broken(error.to_string()));
                None
            }
        }
    }

    fn fold(&mut self, place: Place, body: Body, leaf: Option<Bytes>) -> Result<(), RecordError> {
        match body {
            Body::Outgoing(record) => self.fold_outgoing(place, &record, leaf)?,
            Body::Held(record) => self.fold_held(place, &record)?,
            Body::Refused(record) => self.fold_refused(place, record, leaf)?,
            Body::Evidence(record) => self.fold_evidence(place, &record)?,
            Body::Incoming(record) => self.fold_incoming(place, &record)?,
            Body::Accepted(_) | Body::Consigned(_) | Body::ConsignmentFailed(_) | Body::HandedOver(_) => {
                self.fold_code_fact(place, leaf)?;
            }
            Body::Content(record) => self.fold_content(place, &record)?,
            Body::Pushed(record) => self.fold_pushed(&record),
            Body::OwnCheckpoint(record) => self.fold_own_checkpoint(place, &record)?,
            Body::PeerCheckpoint(record) => {
                let node = parsed(&record.node, "node")?;
                self.peers.insert(node, record.note.into());
            }
            Body::Cosigned(record) => self.fold_cosigned(&record)?,
            Body::PeerFork(record) => {
                self.forks.entry(parsed(&record.node, "node")?).or_insert(place.position);
            }
            Body::DirectoryTaken(record) => {
                self.directory = Some((record.version, digest(&record.statement, "statement")?));
            }
            Body::SentFailed(record) => self.fold_sent_failed(place, &record)?,
            Body::Closed(record) => self.fold_closed(&record)?,
            Body::Entitled(record) => self.fold_entitled(place, &record)?,
            Body::StatusTaken(record) => self.fold_status_taken(place, &record)?,
            Body::Group(record) => self.fold_group(record)?,
            Body::PayloadRemoved(record) => self.fold_payload_removed(place, &record)?,
            Body::PassageNote(record) => self.fold_passage_note(place, &record)?,
            Body::PassedOn(record) => self.fold_passed_on(place, &record, leaf)?,
            Body::TakenOver(record) => self.fold_taken_over(place, &record, leaf)?,
            Body::DutyTold(record) => self.fold_duty_told(place, &record)?,
            Body::Administered(record) => self.fold_administered(place, &record, leaf.as_deref())?,
            Body::Wished(record) => self.fold_wished(place, &record)?,
        }
        self.next_position = place.position + 1;
        if let Some(index) = place.leaf {
            self.next_leaf = index + 1;
        }
        Ok(())
    }

    fn finish(&mut self) -> Vec<Effect> {
        let after = std::mem::take(&mut self.effects);
        let records = std::mem::take(&mut self.batch);
        if after.is_empty() && records.is_empty() {
            return after;
        }
        let mut effects = Vec::with_capacity(after.len() + 1);
        effects.push(Effect::Append(records));
        effects.extend(after);
        effects
    }

    fn reply(&mut self, token: Option<Token>, answer: Answer) {
        if let Some(token) = token {
            self.effects.push(Effect::Reply { token, answer });
        }
    }

    /// Starts whatever can be started now.
    fn pump(&mut self, now: Timestamp) {
        self.pump_offers(now);
        self.pump_takes();
        self.pump_passages(now);
        self.pump_pushes();
    }
}

/// As [`Core::is_final`], with the own checkpoint of another moment.
#[must_use]
pub fn is_final(own: Option<OwnCheckpoint>, step: &Step, finals: &BTreeMap<Digest, ItemRef>) -> bool {
    match step.source {
        Source::Own { index, .. } => own.is_some_and(|own| index < own.size),
        Source::Peer(_) | Source::Lease { .. } => finals.contains_key(&step.leaf),
    }
}

/// Index key of a record about a document that left memory; the document's own begin is the prefix of all of them.
fn stray_key(sent: bool, key: &Key, position: u64) -> String {
    format!("{}/{key}/{position:020}", if sent { "s" } else { "r" })
}

fn parsed<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, RecordError> {
    text.parse().map_err(|_| RecordError::Inconsistent(format!("`{text}` is no {what}")))
}

fn digest(bytes: &[u8], what: &str) -> Result<Digest, RecordError> {
    Digest::from_slice(bytes).map_err(|_| RecordError::Inconsistent(format!("the hash `{what}` has not 32 bytes")))
}

fn event_of(leaf: Option<Bytes>) -> Result<Raw<Event>, RecordError> {
    let leaf = leaf.ok_or_else(|| RecordError::Inconsistent("an event's leaf is missing".into()))?;
    Raw::parse(leaf).map_err(|e| RecordError::Inconsistent(e.to_string()))
}

fn submission_of(leaf: Bytes) -> Result<Raw<Submission>, RecordError> {
    Raw::parse(leaf).map_err(|e| RecordError::Inconsistent(e.to_string()))
}
