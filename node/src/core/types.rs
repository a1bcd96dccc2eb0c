//! What comes into the core and what goes out of it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use truc_evidence::{Attestations, Attested};
use truc_ledger::Record;
use truc_proto::{
    Administrator, AgencyId, Checkpoint, Digest, DirectoryRef, EnvelopeId, EnvelopeKind, NodeId, Priority, Reason,
    StatusCode, Timestamp, limits,
};

use super::{Asked, Deed, Key, PassOutcome, StatusRefused, Withdrawing};
use crate::{duties::DutyRules, records};

/// Bounds and intervals. All have defaults; tests and the simulator choose their own.
#[derive(Clone, Debug)]
pub struct Policy {
    /// This node.
    pub node: NodeId,
    /// Most open envelopes, sent and received together; beyond it the answer is Busy.
    pub open_envelopes_max: usize,
    /// Most envelopes being offered or uploaded at once.
    pub offers_in_flight_max: usize,
    /// Most documents being handed over to today's axis at once.
    pub passages_in_flight_max: usize,
    /// So often today's axis is asked for a document that it took without an answer.
    pub look_ups_max: u32,
    /// Time to the second look-up, in milliseconds; doubles with each.
    pub look_up_min_ms: u64,
    /// Most envelopes being taken and opened at once.
    pub takes_in_flight_max: usize,
    /// Most announced envelopes remembered; the relay announces the rest again.
    pub waiting_max: usize,
    /// Most leaves in one push.
    pub push_leaves_max: usize,
    /// First delay of a back-off, in milliseconds; doubles with each failure.
    pub retry_min_ms: u64,
    /// Longest delay of a back-off, in milliseconds.
    pub retry_max_ms: u64,
    /// No consignment this long after the relay's acceptance raises an alarm, in milliseconds.
    pub consignment_deadline_ms: u64,
    /// A settled document leaves memory so long after its last change, in milliseconds.
    pub close_after_ms: u64,
    /// Most documents that leave memory in one step.
    pub close_batch_max: usize,
    /// How long payloads of received documents are kept that left memory; none: for ever.
    pub retention: Option<Duration>,
    /// What has to be done by when; none: nobody is told of deadlines.
    pub duties: Option<Arc<DutyRules>>,
}

impl Policy {
    /// The defaults for a node.
    #[must_use]
    pub const fn new(node: NodeId) -> Self {
        Self {
            node,
            open_envelopes_max: limits::OPEN_ENVELOPES_MAX,
            offers_in_flight_max: 16,
            passages_in_flight_max: 4,
            look_ups_max: 4,
            look_up_min_ms: 10_000,
            takes_in_flight_max: 16,
            waiting_max: 65_536,
            push_leaves_max: 1_024,
            retry_min_ms: 500,
            retry_max_ms: 60_000,
            consignment_deadline_ms: 4 * 3_600_000,
            close_after_ms: 7 * 86_400_000,
            close_batch_max: 256,
            retention: None,
            duties: None,
        }
    }
}

/// Names a caller of the local API who waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// A sealed envelope, ready to be accepted.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The record to be.
    pub outgoing: records::Outgoing,
    /// The content commitment.
    pub commitment: Digest,
    /// The directory relied on, and the sender's entry in it.
    pub directory: DirectoryRef,
}

/// A request that cannot be signed now.
#[derive(Clone, Debug)]
pub struct HeldRequest {
    /// The record to be; its `held_at_ms` is set by the core.
    pub held: records::Held,
}

/// What an officer or document system wants to say about a document.
#[derive(Clone, Debug)]
pub struct StatusRequest {
    /// The document's envelope.
    pub document: EnvelopeId,
    /// Its sender; none: the only one that used this id.
    pub sender: Option<AgencyId>,
    /// Who speaks.
    pub from: AgencyId,
    /// To whom; none: the document's sender, or its only recipient.
    pub to: Option<AgencyId>,
    /// The code.
    pub code: StatusCode,
    /// The document system's key.
    pub idempotency_key: String,
    /// Hash of the request.
    pub request_hash: Digest,
}

/// An envelope that waits at the relay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Its name.
    pub key: Key,
    /// Urgency.
    pub priority: Priority,
    /// Length of the sealed payload in bytes.
    pub payload_length: u64,
    /// Document or status.
    pub kind: EnvelopeKind,
}

/// A leased envelope: payload on the device, submission and relay's acceptance verified.
#[derive(Clone, Debug)]
pub struct Leased {
    /// The record to be; its `at_ms` is set by the core.
    pub incoming: records::Incoming,
}

/// Why an envelope did not become a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Of the closed list; goes into the evidence.
    pub reason: Reason,
    /// For people of this node.
    pub detail: String,
}

/// Leaves of one peer's ledger under one checkpoint, verified: signature, inclusion, entitlement.
#[derive(Clone, Debug)]
pub struct ReceivedLeaves {
    /// Whose ledger.
    pub from: NodeId,
    /// The signed checkpoint.
    pub checkpoint: Bytes,
    /// True when it carries the certificate's line.
    pub cms: bool,
    /// What others said of it, verified.
    pub attested: Attested,
    /// The leaves.
    pub items: Vec<ReceivedItem>,
}

/// One of [`ReceivedLeaves`].
#[derive(Clone, Debug)]
pub struct ReceivedItem {
    /// Its bytes; none when only the finalisation of a known leaf came.
    pub leaf: Option<Bytes>,
    /// Its hash.
    pub leaf_hash: Digest,
    /// Its index.
    pub index: u64,
    /// Inclusion proof.
    pub proof: Vec<Digest>,
    /// The envelope it is about.
    pub envelope: EnvelopeId,
}

/// An own leaf that is to be shown to others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnLeaf {
    /// Its index.
    pub index: u64,
    /// Its journal position.
    pub position: u64,
    /// Its hash.
    pub leaf: Digest,
    /// The envelope it is about.
    pub envelope: EnvelopeId,
    /// True when the others hold the leaf and want its finalisation alone.
    pub known: bool,
}

/// An own leaf that the relay did not take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedLeaf {
    /// Its index.
    pub index: u64,
    /// Whether it may be taken later.
    pub kind: Rejection,
    /// For people.
    pub why: String,
}

/// How the relay refuses an own leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// The same bytes would be refused again.
    Final,
    /// The relay does not know the envelope; it may come to know it (again) while its id is not too old.
    UnknownEnvelope,
    /// For a reason that passes.
    NotNow,
}

/// A payload of a received document that left memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The envelope.
    pub key: Key,
    /// Position of its [`records::Incoming`].
    pub body: u64,
    /// The blob.
    pub payload: Digest,
    /// When the last thing happened to it: retention counts from there.
    pub changed_at: Timestamp,
    /// No other record needs the blob.
    pub alone: bool,
}

/// What may happen to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// A document or status is sealed; its payload is on the device.
    Prepared {
        /// It.
        sealed: Box<Sealed>,
        /// Who waits.
        reply: Option<Token>,
    },
    /// It is on the device, encrypted, and waits for the signing key or the directory.
    Held {
        /// It.
        request: Box<HeldRequest>,
        /// Who waits.
        reply: Option<Token>,
    },
    /// It was refused, and the refusal is to be evidence.
    Refused {
        /// Sending agency.
        sender: AgencyId,
        /// The document system's key.
        idempotency_key: String,
        /// True when that key led to another request before, which keeps it.
        reused: bool,
        /// Hash of the request.
        request_hash: Digest,
        /// Why.
        reason: Reason,
        /// Who waits.
        reply: Option<Token>,
    },
    /// May this status be set, and under which number?
    ReserveStatus {
        /// It.
        request: StatusRequest,
        /// Who waits.
        reply: Option<Token>,
    },
    /// The document system took the document, or refused it.
    Confirm {
        /// The envelope.
        key: Key,
        /// Which of our codes.
        code: AgencyId,
        /// Why it was refused, when it was.
        refused: Option<String>,
        /// Who waits.
        reply: Option<Token>,
    },
    /// The document system took a business status, or could not use it.
    StatusTaken {
        /// The status's envelope.
        key: Key,
        /// Which of our codes.
        code: AgencyId,
        /// It could not use it.
        failed: bool,
        /// Who waits.
        reply: Option<Token>,
    },
    /// The codes whose document systems take statuses one by one.
    StatusReaders(std::collections::BTreeSet<AgencyId>),
    /// The relay is there and Hello succeeded.
    Connected,
    /// The relay is gone.
    Disconnected,
    /// The relay does not know these envelopes that it had accepted.
    LostByRelay(Vec<Key>),
    /// The relay has decided about an offer; its leaf is verified.
    Offered {
        /// The envelope.
        key: Key,
        /// RelayAcceptance or RelayRejection.
        acceptance: ReceivedLeaves,
    },
    /// The offer or the upload did not come to an end; also a refusal without evidence.
    OfferFailed {
        /// The envelope.
        key: Key,
        /// For people.
        error: String,
        /// A random number.
        jitter: u32,
    },
    /// Progress, for people.
    Uploaded {
        /// The envelope.
        key: Key,
        /// Bytes that the relay has.
        bytes: u64,
    },
    /// A document from today's axis was read whole; its payload is on the device.
    TakeOver {
        /// The record to be; its `at_ms` is set by the core.
        record: Box<records::TakenOver>,
        /// Who waits.
        reply: Option<Token>,
    },
    /// An attempt to hand a document over to today's axis has ended.
    Passed {
        /// The envelope.
        key: Key,
        /// For whom.
        recipient: AgencyId,
        /// What came of it.
        outcome: PassOutcome,
        /// A random number.
        jitter: u32,
    },
    /// A replacement could not be made.
    ResealFailed {
        /// The envelope to be replaced.
        key: Key,
        /// For which recipient.
        recipient: AgencyId,
        /// For people.
        error: String,
    },
    /// A document of ours is to be taken back.
    Withdraw {
        /// The envelope.
        key: Key,
        /// From which recipients; none: from all.
        recipients: Vec<AgencyId>,
        /// Why, in words.
        text: String,
        /// Who waits.
        reply: Option<Token>,
    },
    /// What is left of a divided envelope could not be sealed.
    DivideFailed {
        /// The envelope.
        key: Key,
        /// For people.
        error: String,
    },
    /// A held request could still not be finished.
    HeldFailed {
        /// The envelope.
        key: Key,
        /// For people.
        error: String,
        /// A random number.
        jitter: u32,
    },
    /// The signing key or the directory is back: finish what is held.
    KeyBack,
    /// Envelopes wait at the relay.
    Waiting(Vec<Waiting>),
    /// One was leased and downloaded.
    Leased(Box<Leased>),
    /// It could not be leased, downloaded, verified or opened now.
    TakeFailed {
        /// The envelope.
        key: Key,
        /// For people.
        error: String,
        /// A random number.
        jitter: u32,
        /// The relay does not have it for us any more.
        gone: bool,
    },
    /// The envelope was opened for our codes, or not.
    Opened {
        /// The envelope.
        key: Key,
        /// What was in it, when any code could open it.
        content: Option<Box<records::Content>>,
        /// Per code.
        outcomes: Vec<(AgencyId, Result<(), Failure>)>,
    },
    /// Verified evidence of others.
    Evidence {
        /// The relay's numbers for it, to be acknowledged; none for what came as an answer.
        numbers: Vec<u64>,
        /// It.
        leaves: ReceivedLeaves,
    },
    /// The relay has these own leaves on its device.
    Pushed {
        /// Indices.
        leaves: Vec<u64>,
        /// They went under a checkpoint with the certificate's line.
        finally: bool,
    },
    /// The relay did not take some leaves of a push.
    PushRefused {
        /// Which, and why.
        leaves: Vec<RefusedLeaf>,
    },
    /// The push did not come to an end.
    PushFailed,
    /// The node certificate's key signed our newest checkpoint.
    CheckpointSigned {
        /// The note.
        note: Bytes,
        /// What others said of it.
        said: Attestations,
    },
    /// A newer checkpoint of a peer, proven consistent with the one held.
    PeerCheckpoint {
        /// Whose.
        node: NodeId,
        /// The note.
        note: Bytes,
    },
    /// May this node cosign a peer's checkpoint, found consistent with all that it has seen of that ledger?
    Cosign {
        /// Whose.
        node: NodeId,
        /// What it states.
        checkpoint: Checkpoint,
        /// Who waits for the word.
        reply: Option<Token>,
    },
    /// A peer showed two histories.
    PeerFork {
        /// Who.
        node: NodeId,
        /// The checkpoint held.
        held: Bytes,
        /// The one that contradicts it.
        shown: Bytes,
    },
    /// A directory version was verified and is in use.
    DirectoryTaken {
        /// The version.
        version: u64,
        /// SHA-256 of its root statement.
        statement: Digest,
    },
    /// What entitles an actor, as the directory in force says.
    Entitled(Box<records::Entitled>),
    /// The relay's signed list of what waits for us.
    Undelivered {
        /// The envelopes.
        listed: Vec<Key>,
        /// True when the list hashes to the signed root.
        complete: bool,
    },
    /// Raises an alarm, or, without text, clears it.
    Alarm {
        /// Which.
        alarm: Alarm,
        /// For people.
        text: Option<String>,
    },
    /// A received document left memory, and its payload is still here.
    Kept(Kept),
    /// A receiver group is to have these codes; none: it is to be gone.
    PutGroup {
        /// The agency that sends to it.
        owner: AgencyId,
        /// Its name.
        name: String,
        /// Sorted, each once.
        codes: Vec<AgencyId>,
        /// Who waits.
        reply: Option<Token>,
    },
    /// An administrator did something to this node.
    Administer {
        /// What, and why.
        deed: Box<Deed>,
        /// SHA-256 of the note that it was taken from, where it was left as one.
        note: Option<Digest>,
        /// The request that a second administrator approved, where one had to.
        wish: Option<u64>,
        /// Who waits.
        reply: Option<Token>,
    },
    /// An administrator wants to do what a second one has to agree to.
    AskFor {
        /// What, and why.
        deed: Box<Deed>,
        /// Who waits.
        reply: Option<Token>,
    },
    /// A second administrator's word about such a request.
    AnswerWish {
        /// Its number.
        wish: u64,
        /// He agrees.
        approved: bool,
        /// Who.
        who: Administrator,
        /// Why.
        why: String,
        /// Who waits.
        reply: Option<Token>,
    },
    /// Time passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Append to the journal; all effects behind this one wait until it is on the device. May be empty: then they wait
    /// for what was appended before.
    Append(Vec<Record>),
    /// Answer a caller.
    Reply {
        /// Whom.
        token: Token,
        /// What.
        answer: Answer,
    },
    /// Offer this envelope to the relay, and upload what it needs.
    Offer {
        /// The envelope.
        key: Key,
        /// Position of its [`records::Outgoing`].
        body: u64,
        /// Index of its submission in our ledger.
        index: u64,
    },
    /// Hand it over to today's axis; where it may have been before, ask for it there instead.
    Pass {
        /// The envelope.
        key: Key,
        /// For whom.
        recipient: AgencyId,
        /// Position of its [`records::Outgoing`].
        body: u64,
        /// When it was posted without an answer: it is not posted again but looked for.
        since: Option<Timestamp>,
    },
    /// Lease and download.
    Take {
        /// The envelope.
        key: Key,
    },
    /// Show our RelayAcceptance, take the key envelopes, verify and open.
    Open {
        /// The envelope.
        key: Key,
        /// Position of its [`records::Incoming`].
        body: u64,
        /// The acceptances, by code.
        acceptances: Vec<(AgencyId, OwnLeaf)>,
    },
    /// Show own leaves to the relay, who passes them on.
    Push {
        /// Under our newest checkpoint.
        leaves: Vec<OwnLeaf>,
        /// Under the newest checkpoint with the certificate's line, at this position.
        finals: Option<(u64, Vec<OwnLeaf>)>,
    },
    /// Own leaves wait for the certificate's signature.
    Sign,
    /// Tell the relay that evidence is on our device.
    Acknowledge(Vec<u64>),
    /// Ask the relay which of these it does not know.
    Reconcile(Vec<Key>),
    /// Something new for those who watch the inbox.
    Arrived {
        /// The envelope.
        key: Key,
        /// Which of our codes.
        code: AgencyId,
    },
    /// Make a new envelope for one recipient.
    Reseal {
        /// The envelope to be replaced.
        key: Key,
        /// Position of its body.
        body: u64,
        /// Its recipient that failed.
        recipient: AgencyId,
        /// To whom the new one goes: the successor, or the same again.
        to: AgencyId,
    },
    /// Make a new envelope for what is left of one that some recipients were withdrawn from.
    Divide {
        /// The envelope.
        key: Key,
        /// Position of its body.
        body: u64,
        /// To whom it still goes.
        recipients: Vec<AgencyId>,
    },
    /// Try to sign and seal a held request.
    FinishHeld {
        /// The envelope.
        key: Key,
        /// Position of its [`records::Held`].
        body: u64,
        /// To whom it still goes.
        recipients: Vec<AgencyId>,
    },
    /// What kept a payload has ended: a document left memory, was held and is sealed, or was kept long enough.
    Closed {
        /// The envelope.
        key: Key,
        /// The sealed payload that may go; none when it is still of use.
        payload: Option<Digest>,
    },
    /// A defect of this program, to be reported; nothing was changed.
    Broken(String),
}

/// What a caller hears.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is on the device and signed.
    Accepted {
        /// The envelope.
        key: Key,
        /// False when the same request had come before.
        first: bool,
    },
    /// It is on the device and waits for the key or the directory.
    Held {
        /// The envelope.
        key: Key,
        /// False when the same request had come before.
        first: bool,
    },
    /// Refused with evidence.
    Refused {
        /// Why.
        reason: Reason,
        /// The leaf that says so.
        leaf: Option<Digest>,
    },
    /// The idempotency key was used for another request.
    RequestReused,
    /// Too much is open.
    Busy,
    /// Handed over, or refused by the document system.
    Confirmed {
        /// When.
        at: Timestamp,
        /// False when it had been recorded before.
        first: bool,
    },
    /// The checkpoint may be cosigned: that it is stands on the device.
    Cosigned,
    /// Nothing of that name here.
    NotFound,
    /// It is not in a state for that.
    NotNow(&'static str),
    /// The status may be set.
    StatusReserved {
        /// Under this number.
        sequence: u64,
        /// The document.
        document: Key,
        /// To this agency.
        to: AgencyId,
        /// Position of the record with the document's `About`.
        body: u64,
    },
    /// The same status request had come before.
    StatusKnown {
        /// The status's envelope.
        key: Key,
        /// Its number.
        sequence: u64,
    },
    /// The status may not be set.
    StatusRefused(StatusRefused),
    /// A receiver group is as asked.
    Group {
        /// There was one of this name.
        existed: bool,
        /// Since when it is so.
        at: Timestamp,
    },
    /// What an administrator did stands in the ledger.
    Administered {
        /// Position of the record.
        position: u64,
    },
    /// Whether what two have to agree to may be done.
    Asked(Asked),
    /// It cannot be written down as it is, and why.
    Unfit(String),
    /// What becomes of a wish to take a document back, by recipient.
    Withdrawing(std::collections::BTreeMap<AgencyId, Withdrawing>),
}

/// What needs a person's attention.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Alarm {
    /// A peer showed two histories.
    Fork(NodeId),
    /// The relay holds a newer history of us than we have: a restored backup.
    BehindOwnHistory,
    /// Restored from a backup, and the relay has not said yet whether it knows of anything newer.
    Restored,
    /// The ledger has a new origin that the directory does not name yet.
    NewOrigin,
    /// The relay's list of undelivered envelopes does not agree with what it said before.
    Withholding,
    /// The directory is past its valid-until.
    DirectoryStale,
    /// A directory version was refused.
    DirectoryRefused,
    /// A newer directory came without the versions between, so nobody looked at what they bound.
    DirectoryGap,
    /// One of our codes got a binding that this node did not ask for.
    ForeignBinding(AgencyId),
    /// Not consigned by the deadline.
    Overdue(EnvelopeId),
    /// An envelope for us that cannot be handled.
    Unusable(EnvelopeId),
    /// Today's axis does not take documents.
    Gateway,
    /// Today's axis gives no mail.
    GatewayMail,
    /// A document from today's axis was refused: the last one.
    GatewayRefused,
    /// Handed over to today's axis without an answer, and not shown there.
    LegacyInDoubt(EnvelopeId, AgencyId),
    /// A replacement for a failed recipient could not be made.
    Reseal(EnvelopeId, AgencyId),
    /// The signing key is away.
    KeyAway,
    /// The TLS key does not sign, so no connection is made.
    TlsKeyAway,
    /// No time-stamping authority answers.
    TimeStamps,
    /// A revocation list is missing or stale.
    RevocationUnknown,
    /// A revocation list is past its next update.
    RevocationLate,
    /// A certificate of this node's own is revoked or suspended.
    OwnRevoked,
    /// Evidence that contradicts what we sent.
    BadEvidence(NodeId),
    /// Evidence that does not hold under the directory, the authorities or the clock here, and may later.
    EvidenceHeld(NodeId),
    /// The relay refused evidence of ours for good.
    EvidenceRefused(EnvelopeId),
    /// The relay does not take evidence of ours now.
    EvidenceWaits(EnvelopeId),
    /// Certificates of this node end soon.
    CertificatesEnd,
    /// The look-up index is being rebuilt.
    Index,
    /// The disk is nearly full.
    DiskFull,
}

impl Alarm {
    /// The words of [`Alarm::kind`], all of them.
    pub const KINDS: [&str; 29] = [
        "fork",
        "behind-own-history",
        "restored",
        "new-origin",
        "withholding",
        "directory-stale",
        "directory-refused",
        "directory-gap",
        "foreign-binding",
        "overdue",
        "unusable",
        "gateway",
        "gateway-mail",
        "gateway-refused",
        "legacy-in-doubt",
        "reseal",
        "key-away",
        "tls-key-away",
        "time-stamps",
        "revocation-unknown",
        "revocation-late",
        "own-revoked",
        "bad-evidence",
        "evidence-held",
        "evidence-refused",
        "evidence-waits",
        "certificates-end",
        "index",
        "disk-full",
    ];

    /// Which, without what it is about: for monitoring.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Fork(_) => "fork",
            Self::BehindOwnHistory => "behind-own-history",
            Self::Restored => "restored",
            Self::NewOrigin => "new-origin",
            Self::Withholding => "withholding",
            Self::DirectoryStale => "directory-stale",
            Self::DirectoryRefused => "directory-refused",
            Self::DirectoryGap => "directory-gap",
            Self::ForeignBinding(_) => "foreign-binding",
            Self::Overdue(_) => "overdue",
            Self::Unusable(_) => "unusable",
            Self::Gateway => "gateway",
            Self::GatewayMail => "gateway-mail",
            Self::GatewayRefused => "gateway-refused",
            Self::LegacyInDoubt(..) => "legacy-in-doubt",
            Self::Reseal(..) => "reseal",
            Self::KeyAway => "key-away",
            Self::TlsKeyAway => "tls-key-away",
            Self::TimeStamps => "time-stamps",
            Self::RevocationUnknown => "revocation-unknown",
            Self::RevocationLate => "revocation-late",
            Self::OwnRevoked => "own-revoked",
            Self::BadEvidence(_) => "bad-evidence",
            Self::EvidenceHeld(_) => "evidence-held",
            Self::EvidenceRefused(_) => "evidence-refused",
            Self::EvidenceWaits(_) => "evidence-waits",
            Self::CertificatesEnd => "certificates-end",
            Self::Index => "index",
            Self::DiskFull => "disk-full",
        }
    }
}
