//! What comes into the core and what goes out of it.

use bytes::Bytes;
use truc_custody::deeds::Deed;
use truc_evidence::{Attestations, Attested};
use truc_ledger::{Position, Record};
use truc_proto::{AgencyId, Digest, EnvelopeId, NodeId, Reason, Supersedes, Timestamp, wire_v1::EvidenceItem};

use super::table::{Fact, PairState};

/// What deduplication keys on: nobody can poison another sender's id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EnvelopeKey {
    /// Sender's code.
    pub sender: AgencyId,
    /// The envelope's id.
    pub envelope: EnvelopeId,
}

/// Size and root that a verified checkpoint of a node's ledger states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
}

/// A recipient as the directory resolves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OfferedRecipient {
    /// Served by this node.
    Open {
        /// The code.
        code: AgencyId,
        /// Its node.
        node: NodeId,
    },
    /// Closed; what was sealed to it is no longer opened.
    Closed {
        /// The code.
        code: AgencyId,
        /// Who took over.
        successor: Option<AgencyId>,
    },
}

impl OfferedRecipient {
    /// The code.
    #[must_use]
    pub const fn code(&self) -> &AgencyId {
        match self {
            Self::Open { code, .. } | Self::Closed { code, .. } => code,
        }
    }
}

/// An offer whose every signature, hash and entitlement holds, and whose payload is on the device (or inline in `body`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedOffer {
    /// Which envelope.
    pub key: EnvelopeKey,
    /// The node that uploads it, entitled to the sender's code.
    pub sender_node: NodeId,
    /// Leaf hash of the submission.
    pub submission: Digest,
    /// SHA-256 of the preamble.
    pub preamble: Digest,
    /// SHA-256 of the payload.
    pub payload: Digest,
    /// Content commitment.
    pub commitment: Digest,
    /// Bytes of the payload.
    pub payload_length: u64,
    /// True when the payload lies in the blob store.
    pub blob: bool,
    /// When the relay stops trying.
    pub expires: Timestamp,
    /// 0 to 4.
    pub priority: u8,
    /// A business status.
    pub status: bool,
    /// In the preamble's order.
    pub recipients: Vec<OfferedRecipient>,
    /// What it replaces.
    pub supersedes: Option<Supersedes>,
    /// The submission's checkpoint.
    pub mark: Mark,
    /// That checkpoint's note, kept should it contradict another.
    pub note: Bytes,
    /// An encoded [`crate::records::AcceptedBody`]. Empty when the offer is refused: nothing of it may be stored then.
    pub body: Bytes,
}

/// One piece of evidence of a recipient's node, verified against the envelope it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedEvidence {
    /// Which envelope.
    pub key: EnvelopeKey,
    /// For which recipient.
    pub recipient: AgencyId,
    /// What it says.
    pub fact: Fact,
    /// Leaf hash.
    pub leaf: Digest,
    /// The sender's node, to which it goes on.
    pub to: NodeId,
    /// The checkpoint it is proven into.
    pub mark: Mark,
    /// An encoded `EvidenceBatch` with this item alone.
    pub batch: Bytes,
    /// Set when the envelope is no longer in memory and the shell found it in the journal.
    pub recalled: Option<Recall>,
}

/// Word of the shell that an envelope which the core has forgotten was accepted once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recall {
    /// Its record.
    pub position: Position,
}

/// Proofs of one node's leaves into a tree that its certificate signed, for one other node.
#[derive(Clone, PartialEq, Debug)]
pub struct VerifiedFinalisation {
    /// The node that holds the leaves.
    pub to: NodeId,
    /// The signed tree.
    pub mark: Mark,
    /// Its note.
    pub note: Bytes,
    /// What others said of it, verified.
    pub attested: Attested,
    /// The leaves.
    pub items: Vec<FinalisedLeaf>,
}

/// One leaf of a [`VerifiedFinalisation`].
#[derive(Clone, PartialEq, Debug)]
pub struct FinalisedLeaf {
    /// The envelopes it may be about: those of that id between the two nodes.
    pub keys: Vec<EnvelopeKey>,
    /// Its hash.
    pub leaf: Digest,
    /// The proof, as it goes on.
    pub item: EvidenceItem,
}

/// A directory version that the pinned operator signed and that follows the one before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewDirectory {
    /// Its version.
    pub version: u64,
    /// The root statement's bytes: the leaf.
    pub statement: Bytes,
    /// SHA-256 of the statement before, as it names it.
    pub previous: Option<Digest>,
    /// Codes that another node serves now.
    pub moved: Vec<(AgencyId, NodeId)>,
    /// Nodes that began a new ledger.
    pub renewed: Vec<NodeId>,
    /// Who brought it, for the ledger; none: not said.
    pub published_by: Option<NodeId>,
}

/// How far a Watch stream has come. Starts at the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    /// Per urgency, most urgent first: the last position shown, plus one.
    pub waiting: [u64; 5],
    /// The last delivery shown.
    pub delivery: u64,
}

/// What happens to the core.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// What is known of these envelopes?
    Find(Vec<EnvelopeKey>),
    /// What is known under these ids, whoever sent them? (Finalisations name the id alone.)
    FindIds(Vec<EnvelopeId>),
    /// A verified offer.
    Offered(Box<VerifiedOffer>),
    /// An offer that is genuine and must be refused with evidence.
    OfferRefused {
        /// The offer, without body.
        offer: Box<VerifiedOffer>,
        /// Why.
        reason: Reason,
        /// Of a closed code.
        successor: Option<AgencyId>,
    },
    /// A node takes an envelope for delivery, or shows that it is still at it.
    Lease {
        /// Which node.
        node: NodeId,
        /// Which envelope.
        key: EnvelopeKey,
    },
    /// Evidence of a recipient's node.
    Evidence {
        /// Whose ledger.
        from: NodeId,
        /// In the order in which it was pushed.
        items: Vec<VerifiedEvidence>,
    },
    /// Final proofs.
    Finalised {
        /// Whose ledger.
        from: NodeId,
        /// One per receiving node.
        items: Vec<VerifiedFinalisation>,
    },
    /// A node has these deliveries on its device.
    Acknowledged {
        /// Which node.
        node: NodeId,
        /// Their numbers.
        numbers: Vec<u64>,
    },
    /// A node showed a checkpoint of its own ledger, its key's line verified.
    PeerSeen {
        /// Which node.
        node: NodeId,
        /// What it states.
        mark: Mark,
        /// The note.
        note: Bytes,
    },
    /// A node showed its newest checkpoint, its key's line verified, with proofs that it continues what was seen of it.
    HistoryShown {
        /// Which node.
        node: NodeId,
        /// What the checkpoint states.
        mark: Mark,
        /// The note.
        note: Bytes,
        /// Consistency proofs by the size that they start from.
        proofs: Vec<(u64, Vec<Digest>)>,
    },
    /// A node asks the relay to cosign its checkpoint, its key's line verified.
    Cosign {
        /// Which node.
        node: NodeId,
        /// Its ledger's origin.
        origin: String,
        /// What the checkpoint states.
        mark: Mark,
        /// The note.
        note: Bytes,
        /// Consistency proofs by the size that they start from.
        proofs: Vec<(u64, Vec<Digest>)>,
    },
    /// The relay's certificate signed a checkpoint.
    Signed {
        /// Leaves in it.
        size: u64,
        /// The note.
        note: Bytes,
        /// What others said of it.
        said: Attestations,
    },
    /// The operator published a directory.
    Published(Box<NewDirectory>),
    /// An administrator did something to the relay.
    Administered {
        /// What.
        deed: Deed,
        /// SHA-256 of the note that it was left as.
        note: Option<Digest>,
    },
    /// What waits for a node beyond the cursor?
    Pull {
        /// Which node.
        node: NodeId,
        /// How far it has seen.
        cursor: Cursor,
        /// Most items of each kind.
        limit: usize,
    },
    /// Which ids wait for a node?
    Undelivered {
        /// Which node.
        node: NodeId,
    },
    /// Which nodes showed two histories, and where does the proof stand?
    Forks,
    /// Which checkpoint of this node is held?
    HeldOf {
        /// Which node.
        node: NodeId,
    },
    /// The codes that are out of service now, with who has their mail: in place of those told before.
    OutOfService(Vec<(AgencyId, Option<AgencyId>)>),
    /// Time has passed.
    Tick,
}

/// What is to be done, once everything appended so far is on the device.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Append these; the effects behind it wait until they are durable.
    Append(Vec<Record>),
    /// The answer to this input.
    Reply(Reply),
    /// There is something new for a node.
    Wake(NodeId),
    /// No envelope needs this payload any more.
    RemovePayload(Digest),
    /// A newer directory is in force.
    DirectoryChanged(u64),
    /// Somebody must look.
    Alarm(Alarm),
}

/// What people must be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Alarm {
    /// A node showed two histories of its ledger. Nothing more is accepted from it; both notes stand in the journal.
    PeerForked {
        /// Which node.
        node: NodeId,
    },
}

/// Answers.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// To [`Input::Find`], in the same order.
    Found(Vec<Option<Found>>),
    /// To [`Input::FindIds`], in the same order.
    FoundIds(Vec<Vec<(EnvelopeKey, Found)>>),
    /// To [`Input::Offered`] and [`Input::OfferRefused`].
    Offer(Result<OfferOutcome, Refused>),
    /// To [`Input::Lease`].
    Lease(Result<Found, Refused>),
    /// To [`Input::Evidence`], in the same order.
    Evidence(Result<Vec<EvidenceOutcome>, Refused>),
    /// To [`Input::HistoryShown`]: the sizes from which a proof is still wanted.
    History(Result<Vec<u64>, Refused>),
    /// To [`Input::Cosign`].
    Cosign(Result<CosignOutcome, Refused>),
    /// To inputs that either work or do not.
    Done(Result<(), Refused>),
    /// To [`Input::Published`].
    Published(Result<DirectoryLeaf, Refused>),
    /// To [`Input::Pull`].
    Page(DeliveryPage),
    /// To [`Input::Undelivered`].
    Undelivered(Undelivered),
    /// To [`Input::Forks`]: the records with what contradicts the note held.
    Forks(Vec<(NodeId, Position)>),
    /// To [`Input::HeldOf`]: the position of the record with the note.
    Held(Option<(Position, Mark)>),
}

/// Record and leaf index of a published root.
pub type DirectoryLeaf = Acceptance;

/// Where a leaf of the relay stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acceptance {
    /// Its record.
    pub position: Position,
    /// Its index in the tree.
    pub leaf_index: u64,
    /// Its bytes, when they were made just now.
    pub leaf: Option<Bytes>,
}

/// What became of an offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OfferOutcome {
    /// Accepted, now or before: the one RelayAcceptance.
    Accepted(Acceptance),
    /// Refused with evidence, now or before: a RelayRejection.
    Rejected(Acceptance),
}

/// What became of a request to cosign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CosignOutcome {
    /// The relay may sign: that it will is on the device.
    Granted,
    /// Proofs from these sizes are missing.
    Wanted(Vec<u64>),
    /// The relay has seen or cosigned a later one.
    Behind,
}

/// What the core knows of an envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its record.
    pub position: Position,
    /// Its RelayAcceptance or RelayRejection.
    pub leaf_index: u64,
    /// False: it was refused as a whole.
    pub accepted: bool,
    /// Which content the id stands for.
    pub content: Digest,
    /// Refused contents under the same id, with position and index of each refusal.
    pub reused: Vec<(Digest, Position, u64)>,
    /// Set while it is not complete.
    pub live: Option<FoundLive>,
}

impl Found {
    /// How far it has come for one code of a node; none when it is complete, or not (any more) for that node.
    #[must_use]
    pub fn state_for(&self, node: &NodeId, code: &AgencyId) -> Option<PairState> {
        let pairs = &self.live.as_ref()?.pairs;
        let pair = pairs.iter().find(|pair| pair.node.as_ref() == Some(node) && pair.recipient == *code)?;
        Some(pair.state)
    }
}

/// Facts of an envelope that is not complete.
pub type FoundLive = Box<LiveFacts>;

/// See [`Found::live`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveFacts {
    /// Who sent it.
    pub sender_node: NodeId,
    /// Leaf hash of the submission.
    pub submission: Digest,
    /// SHA-256 of the preamble.
    pub preamble: Digest,
    /// SHA-256 of the payload.
    pub payload: Digest,
    /// Content commitment.
    pub commitment: Digest,
    /// Bytes of the payload.
    pub payload_length: u64,
    /// In the blob store.
    pub blob: bool,
    /// Its recipients.
    pub pairs: Vec<FoundPair>,
}

/// One recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundPair {
    /// The code.
    pub recipient: AgencyId,
    /// Its node; none for a closed code.
    pub node: Option<NodeId>,
    /// How far it has come.
    pub state: PairState,
}

/// What became of one piece of evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvidenceOutcome {
    /// On the device, now or before.
    Taken,
    /// It contradicts what the same node signed before, or is about an envelope that this node was not to have.
    Contradiction,
    /// The relay does not know the envelope; its sender must upload it again.
    UnknownEnvelope,
    /// So much was said about this recipient already without saying anything new that no more of it is kept.
    TooMuch,
}

/// Why the core does nothing. The shell tells the peer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// A deed before the first directory version, whose root is the ledger's first leaf.
    #[error("what administrators do is written down once the first directory version is in force")]
    NoDirectory,
    /// A deed that could not stand in the ledger.
    #[error("this cannot stand in the ledger: {why}")]
    UnfitDeed {
        /// Why.
        why: String,
    },
    /// Too much is open or queued.
    #[error("the relay holds as much open work as it may; try again later")]
    Busy,
    /// The peer showed two histories.
    #[error(
        "node {node} showed two histories of its ledger; nothing is accepted from it until the operator has looked into it"
    )]
    Forked {
        /// Which node.
        node: NodeId,
    },
    /// Nothing of that name waits for this node.
    #[error("no such envelope waits for this node")]
    NotWaiting,
    /// A version that does not follow.
    #[error("directory version {offered} does not follow version {held}")]
    VersionDoesNotFollow {
        /// What came.
        offered: u64,
        /// What is in force; 0: none.
        held: u64,
    },
}

/// One envelope that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitingItem {
    /// Which.
    pub key: EnvelopeKey,
    /// 0 to 4.
    pub priority: u8,
    /// Bytes.
    pub payload_length: u64,
    /// A business status.
    pub status: bool,
}

/// What a delivery consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeliveryItem {
    /// The batch of another node in the record.
    Forwarded {
        /// Whose ledger.
        from: NodeId,
        /// The record.
        position: Position,
    },
    /// A leaf of the relay.
    Own(OwnProof),
    /// The relay's leaves proven into the signed tree of the record `signed`.
    Final {
        /// Record with the note.
        signed: Position,
        /// Leaves in that tree.
        size: u64,
        /// Which leaves.
        leaves: Vec<OwnProof>,
    },
}

/// A leaf of the relay that is to be proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnProof {
    /// Its record.
    pub position: Position,
    /// Its index.
    pub leaf_index: u64,
    /// The envelope it is about.
    pub envelope: EnvelopeId,
}

/// Answer to [`Input::Pull`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeliveryPage {
    /// Most urgent first.
    pub waiting: Vec<WaitingItem>,
    /// With their numbers.
    pub deliveries: Vec<(u64, DeliveryItem)>,
    /// Where to go on.
    pub cursor: Cursor,
    /// True when a limit cut the page.
    pub more: bool,
}

/// Answer to [`Input::Undelivered`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Undelivered {
    /// Sorted by id, with the sender.
    pub envelopes: Vec<(EnvelopeId, AgencyId)>,
    /// Changes when the list does, within one run of the process.
    pub changes: u64,
}
