//! What the core remembers of open documents: hashes, states and journal positions; bodies stay in the journal.
//!
//! The serde form is that of snapshots, which may be thrown away at any time (I12); nothing persisted depends on it.
//! Fields marked `skip` are volatile: what is under way now, forgotten by a restart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use truc_evidence::Attested;
use truc_proto::{
    AgencyId, Digest, EnvelopeId, EnvelopeKind, EventUri, Priority, Reason, Role, StatusCode, Supersedes, Timestamp,
};

use crate::records::Place;

use super::{
    duties::Told,
    gateway::Passage,
    table::{Asking, CodeState, PairState, Standing},
    takeover::Origin,
};

/// Names an envelope: the key of deduplication everywhere, so that nobody can poison another's id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Key {
    /// The envelope's id; first, so that keys sort by it.
    pub envelope: EnvelopeId,
    /// The sending agency.
    pub sender: AgencyId,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.sender, self.envelope)
    }
}

/// What every event about an envelope must repeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hashes {
    /// Leaf hash of the submission.
    pub submission: Digest,
    /// SHA-256 of the preamble's bytes.
    pub preamble: Digest,
    /// SHA-256 of the sealed payload.
    pub payload: Digest,
    /// The content commitment that the sender stated.
    pub commitment: Digest,
}

/// Where in our journal something of others stands: a record, and which of its items.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ItemRef {
    /// Position of the record.
    pub position: u64,
    /// Index among its items.
    pub item: u32,
    /// Of a final proof: what others said of its checkpoint.
    #[serde(default, skip_serializing_if = "Attested::is_none")]
    pub attested: Attested,
}

/// Where a leaf stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Source {
    /// In our own ledger.
    Own {
        /// Journal position.
        position: u64,
        /// Leaf index.
        index: u64,
    },
    /// In an evidence record.
    Peer(ItemRef),
    /// Came with the lease, in the record of the incoming envelope.
    Lease {
        /// Journal position.
        position: u64,
    },
}

/// One rung of the ladder of events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What happened.
    pub event: EventUri,
    /// Who says so.
    pub role: Role,
    /// The actor's agency; none for the relay.
    pub actor: Option<AgencyId>,
    /// When, by the actor's clock.
    pub time: Timestamp,
    /// About which recipient; none: all.
    pub recipient: Option<AgencyId>,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// Leaf hash: names the receipt.
    pub leaf: Digest,
    /// Where the leaf is.
    pub source: Source,
}

impl Step {
    /// Whether it can only be if the relay accepted the envelope.
    #[must_use]
    pub const fn shows_acceptance(&self) -> bool {
        match self.role {
            Role::Recipient => true,
            Role::Relay => matches!(self.event, EventUri::RelayAcceptance | EventUri::RelayFailure),
            Role::Sender => false,
        }
    }
}

/// The business statuses between the two agencies of a document.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Business {
    /// Highest sequence number of ours.
    pub said: u64,
    /// Highest sequence number of theirs.
    pub heard: u64,
    /// Numbers given out to requests that are still being sealed.
    #[serde(skip)]
    pub reserved: u64,
    /// Last of the receiver's 01 … 06.
    pub progress: Option<StatusCode>,
    /// Last of all, for people.
    pub current: Option<StatusCode>,
    /// Whether a withdrawal is under way.
    pub withdrawal: Asking,
    /// Where the document is a request by itself, to change an earlier one: what became of that.
    #[serde(default)]
    pub change: Asking,
    /// All of them, late ones included, in order of arrival; at most [`truc_proto::limits::STATUS_NOTES_MAX`].
    pub notes: Vec<StatusNote>,
}

impl Business {
    /// What the next status depends on.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        Standing { progress: self.progress, withdrawal: self.withdrawal, change: self.change }
    }

    /// True once the recipient agreed to give the document back: it is closed.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawal == Asking::Agreed
    }
}

/// A business status as the journal has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StatusNote {
    /// The envelope that carried it.
    pub envelope: EnvelopeId,
    /// The code.
    pub code: StatusCode,
    /// Who set it.
    pub from: AgencyId,
    /// Its sequence number.
    pub sequence: u64,
    /// When it was set.
    pub time: Timestamp,
    /// Journal position of the record with its text.
    pub position: u64,
    /// True when it changed nothing: it came after a later one, or may not follow what was said before.
    pub late: bool,
}

/// A request to withdraw that came before its document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EarlyStatus {
    /// What it says.
    pub note: StatusNote,
    /// Place of its record.
    pub place: Place,
}

/// One recipient of a document of ours.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pair {
    /// Where it stands.
    pub state: PairState,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// Who took over the code, as the relay says.
    pub successor: Option<AgencyId>,
    /// Delivered after it had been given up.
    pub late: bool,
    /// The envelope that replaces this one for this recipient.
    pub superseded_by: Option<EnvelopeId>,
    /// SHA-256 of its key envelope.
    pub key_envelope: Option<Digest>,
    /// Business statuses.
    pub business: Business,
    /// For a recipient on today's axis: how it is handed over there. None: it is sealed to the recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passage: Option<Passage>,
    /// Position of the record that says in words why it failed here.
    #[serde(default)]
    pub words: Option<u64>,
    /// What was said of deadlines.
    #[serde(default)]
    pub told: Told,
    /// A replacement is being sealed.
    #[serde(skip)]
    pub resealing: bool,
    /// Not consigned by the deadline, and said so.
    #[serde(skip)]
    pub overdue: bool,
}

/// What the business status in an envelope of kind `status` says about which document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StatusAbout {
    /// The document.
    pub document: Key,
    /// The code.
    pub code: StatusCode,
    /// The number.
    pub sequence: u64,
}

/// How far the upload of an envelope is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Delivery {
    /// Waits for its turn, or nothing is to be done.
    #[default]
    Idle,
    /// Being offered or uploaded.
    InFlight,
    /// Failed so many times; tried again then.
    BackOff(Timestamp),
}

/// A document or status of ours.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// Its name.
    pub key: Key,
    /// Position of the record with its body ([`crate::records::Outgoing`] or `Held`).
    pub body: u64,
    /// The document system's key.
    pub idempotency_key: String,
    /// Document or status.
    pub kind: EnvelopeKind,
    /// Urgency.
    pub priority: Priority,
    /// When this node accepted or held it.
    pub accepted_at: Timestamp,
    /// When the relay stops trying.
    pub expires: Timestamp,
    /// Once sealed.
    pub hashes: Option<Hashes>,
    /// Length of the sealed payload in bytes.
    pub payload_length: u64,
    /// What it replaces.
    pub supersedes: Option<Supersedes>,
    /// The divided envelope of ours that it goes on for.
    #[serde(default)]
    pub continues: Option<EnvelopeId>,
    /// The relay's time of acceptance: deadlines count from there.
    pub relayed_at: Option<Timestamp>,
    /// Its recipients.
    pub pairs: BTreeMap<AgencyId, Pair>,
    /// The ladder of events.
    pub steps: Vec<Step>,
    /// Finalisations of others' leaves, by leaf hash; may come before the leaf.
    pub finals: BTreeMap<Digest, ItemRef>,
    /// Places of all records about it.
    pub places: Vec<Place>,
    /// For kind `status`.
    pub about: Option<StatusAbout>,
    /// This node has received it, too, and reads the same payload.
    pub shared: bool,
    /// The encrypted content, while it is held.
    #[serde(default)]
    pub held_blob: Option<Digest>,
    /// Some recipients were withdrawn from it before it left: it stays here, and goes on to the others as another envelope.
    #[serde(default)]
    pub divided: bool,
    /// Last change.
    pub changed_at: Timestamp,
    /// The relay may have it: it was offered, or is older than this process.
    #[serde(skip)]
    pub may_have_left: bool,
    /// That other envelope is being sealed.
    #[serde(skip)]
    pub dividing: bool,
    /// Upload under way.
    #[serde(skip)]
    pub delivery: Delivery,
    /// The relay says that it lost it: offered again.
    #[serde(skip)]
    pub lost: bool,
    /// Attempts since the last success.
    #[serde(skip)]
    pub attempts: u32,
    /// What went wrong last, for people.
    #[serde(skip)]
    pub last_error: String,
    /// Bytes uploaded, for people.
    #[serde(skip)]
    pub bytes_sent: u64,
}

impl Sent {
    /// True while it is not signed.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.hashes.is_none()
    }

    /// True when every recipient is consigned, handed over or failed.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.pairs.values().all(|pair| pair.state.is_settled())
    }

    /// True when it must go to the relay: it is not there yet, or was lost there; or others' word shows that it is there while
    /// the relay's own answer, which it gives again, is missing here.
    #[must_use]
    pub fn needs_offer(&self) -> bool {
        let is_there = || self.steps.iter().any(Step::shows_acceptance);
        !self.is_held()
            && self.has_native()
            && if self.native_is_settled() {
                !self.is_answered() && is_there()
            } else {
                !self.divided && (self.lost || !self.is_answered())
            }
    }

    /// True when every recipient on this axis is settled: what is left goes through today's.
    #[must_use]
    pub fn native_is_settled(&self) -> bool {
        self.open_native().next().is_none()
    }

    /// Recipients on this axis that it is still on its way to.
    pub fn open_native(&self) -> impl Iterator<Item = &AgencyId> {
        let open = self.pairs.iter().filter(|(_, pair)| pair.passage.is_none() && !pair.state.is_settled());
        open.map(|(code, _)| code)
    }

    /// Recipients that it is still on its way to.
    pub fn open_recipients(&self) -> impl Iterator<Item = &AgencyId> {
        self.pairs.iter().filter(|(_, pair)| !pair.state.is_settled()).map(|(code, _)| code)
    }

    /// True when the relay has said whether it takes the envelope.
    fn is_answered(&self) -> bool {
        let refuses = |step: &Step| step.event == EventUri::RelayRejection && step.recipient.is_none();
        self.relayed_at.is_some() || self.steps.iter().any(refuses)
    }

    /// The recipients that failed and for whom a new envelope is to be sealed, with the code it goes to: the successor of a closed code; the
    /// recipient itself when it could not open, once.
    ///
    /// None for a successor that has the document anyway: as a recipient of its own, or in the place of another code that closed; and none for the
    /// sender itself.
    #[must_use]
    pub fn replacements(&self) -> Vec<(AgencyId, AgencyId)> {
        let failed =
            self.pairs.iter().filter(|(_, pair)| pair.state == PairState::Failed && pair.superseded_by.is_none());
        let mut wanted: Vec<(AgencyId, AgencyId)> = Vec::new();
        for (code, pair) in failed {
            match (pair.reason, &pair.successor) {
                (Some(Reason::ClosedCode), Some(to)) => {
                    let asked = wanted.iter().any(|(_, other)| other == to);
                    if !asked && *to != self.key.sender && self.has(to).is_none() {
                        wanted.push((code.clone(), to.clone()));
                    }
                }
                (Some(Reason::CannotOpen), _) if self.supersedes.is_none() => wanted.push((code.clone(), code.clone())),
                _ => {}
            }
        }
        wanted
    }

    /// The envelope by which a code that took over has the document already, or will have it: this one, or one that stands in for another code.
    #[must_use]
    pub fn has(&self, successor: &AgencyId) -> Option<EnvelopeId> {
        if self.pairs.get(successor).is_some_and(|pair| pair.reason != Some(Reason::ClosedCode)) {
            return Some(self.key.envelope);
        }
        let closed =
            |pair: &&Pair| pair.reason == Some(Reason::ClosedCode) && pair.successor.as_ref() == Some(successor);
        self.pairs.values().filter(closed).find_map(|pair| pair.superseded_by)
    }

    /// `held`, `sending`, `relayed` or `final`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        if self.is_settled() {
            "final"
        } else if self.is_held() {
            "held"
        } else if self.relayed_at.is_none() || !self.has_native() {
            "sending"
        } else {
            "relayed"
        }
    }
}

/// One of our codes that an envelope is addressed to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Code {
    /// Where it stands.
    pub state: CodeState,
    /// SHA-256 of its key envelope, from the submission.
    pub key_envelope: Digest,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// When it was made available.
    pub consigned_at: Option<Timestamp>,
    /// When the document system took it.
    pub confirmed_at: Option<Timestamp>,
    /// When the document system took it, for kind `status`, which is not handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Timestamp>,
    /// Business statuses.
    pub business: Business,
    /// What was said of deadlines.
    #[serde(default)]
    pub told: Told,
}

/// A payload was removed because it was kept as long as it had to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Removal {
    /// When.
    pub at: Timestamp,
    /// How long it was to be kept, in milliseconds.
    pub kept_ms: u64,
}

/// Work on a received envelope that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Work {
    /// None.
    #[default]
    Idle,
    /// Keys are being taken and the envelope opened.
    Opening,
    /// Failed so many times; tried again then.
    BackOff(Timestamp),
}

/// An envelope for us.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Received {
    /// Its name.
    pub key: Key,
    /// Position of the [`crate::records::Incoming`] record.
    pub body: u64,
    /// Position of the [`crate::records::Content`] record, once opened.
    pub content: Option<u64>,
    /// Document or status.
    pub kind: EnvelopeKind,
    /// Urgency.
    pub priority: Priority,
    /// The hashes its events repeat.
    pub hashes: Hashes,
    /// Length of the sealed payload in bytes.
    pub payload_length: u64,
    /// Our codes.
    pub codes: BTreeMap<AgencyId, Code>,
    /// The ladder of events.
    pub steps: Vec<Step>,
    /// Finalisations of others' leaves.
    pub finals: BTreeMap<Digest, ItemRef>,
    /// Places of all records about it.
    pub places: Vec<Place>,
    /// For kind `status`.
    pub about: Option<StatusAbout>,
    /// It came from today's axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Its payload is not kept any more.
    #[serde(default)]
    pub removed: Option<Removal>,
    /// Last change.
    pub changed_at: Timestamp,
    /// Work under way.
    #[serde(skip)]
    pub work: Work,
    /// Attempts since the last success.
    #[serde(skip)]
    pub attempts: u32,
}

impl Received {
    /// True while a code waits to be opened.
    #[must_use]
    pub fn needs_opening(&self) -> bool {
        self.codes.values().any(|code| code.state == CodeState::Taken)
    }

    /// True when no code waits for anything: failed, handed over, withdrawn, or a consigned status.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let done = |code: &Code| match code.state {
            CodeState::Taken => false,
            CodeState::HandoverFailed => code.business.is_withdrawn(),
            CodeState::Consigned => self.kind == EnvelopeKind::Status || code.business.is_withdrawn(),
            CodeState::Failed | CodeState::HandedOver => true,
        };
        self.codes.values().all(done)
    }
}

/// An own leaf that others still have to hear about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unsent {
    /// The envelope.
    pub key: Key,
    /// Its hash.
    pub leaf: Digest,
    /// Its journal position.
    pub position: u64,
    /// What is still to be done.
    pub stage: Stage,
}

/// An own leaf that others have finally, but without the time-stamp or the cosignatures that were wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// The envelope.
    pub envelope: EnvelopeId,
    /// Its hash.
    pub leaf: Digest,
    /// Its journal position.
    pub position: u64,
}

/// How far others have heard of an own leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Stage {
    /// A submission that the relay has not accepted yet: it goes with the offer.
    WithOffer,
    /// The leaf itself is to be pushed.
    Leaf,
    /// The leaf is there; its finalisation is to be pushed.
    Final,
}
