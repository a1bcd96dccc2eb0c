//! Leaves as they arrive from a peer: is it in that node's ledger, and may the node say it?
//!
//! Checked here: the ledger key's line, the origin, the recomputed leaf hash, inclusion, actor against ledger, role against event, entitlement of
//! the code, time. Not checked: what the evidence says about an envelope (hashes, states); that is the receiver's business, who knows it.

use std::sync::PoisonError;

use bytes::Bytes;
use truc_ledger::{
    Committed, Ledger, ProofFailure,
    merkle::{ProofError, leaf_hash, verify_inclusion},
};
use truc_proto::{
    Actor, AgencyId, Checkpoint, CheckpointNoteError, Digest, DigestParseError, EnvelopeId, EventUri, NodeEntry,
    NodeId, NoteKey, NoteVerifyError, Reason, Role, SignedNote, Timestamp,
    limits::{EVIDENCE_ITEMS_MAX, PROOF_HASHES_MAX},
    wire_v1,
};
use truc_signer::TrustStore;

use crate::{
    Attested, CheckpointCmsError, Directory, Leaf, LeafError, NodeKind,
    checkpoint::{find_cms_line, verify_checkpoint_cms},
    directory::skew,
};

/// A leaf that stands in its actor's ledger, written by who may write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The leaf.
    pub leaf: Leaf,
    /// Its RFC 6962 hash.
    pub leaf_hash: Digest,
    /// Its index in the ledger.
    pub index: u64,
    /// Inclusion proof to `checkpoint`.
    pub proof: Vec<Digest>,
    /// Whose ledger.
    pub node: NodeId,
    /// The ledger's checkpoint.
    pub checkpoint: Checkpoint,
    /// The checkpoint's note as received.
    pub note: SignedNote,
    /// Whether the note also carries the certificate's line, and it was verified: only then is a receipt final.
    pub cms: bool,
}

/// A batch under one checkpoint whose signature holds.
#[derive(Debug)]
pub struct ProvenBatch {
    /// Whose ledger.
    pub node: NodeId,
    /// The ledger's checkpoint.
    pub checkpoint: Checkpoint,
    /// The checkpoint's note as received.
    pub note: SignedNote,
    /// As [`Proven::cms`].
    pub cms: bool,
    /// What others said of a checkpoint with the certificate's line: a time-stamp on it that is not wrong (whether it is believed is for who verifies the
    /// receipt), and cosignatures of enough of the witnesses that the directory lists.
    pub attested: Attested,
    /// Every item, or why it is refused; one's failure does not touch another's.
    pub items: Vec<Result<ProvenItem, EvidenceError>>,
}

/// One item of a batch: proven to be in the ledger and, where the leaf came along, checked as [`verify_leaf`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenItem {
    /// The leaf; none where only its hash came (finalisation): the receiver holds it already.
    pub leaf: Option<Leaf>,
    /// Its hash.
    pub leaf_hash: Digest,
    /// Its index in the ledger.
    pub index: u64,
    /// Inclusion proof to the batch's checkpoint.
    pub proof: Vec<Digest>,
    /// The envelope: the leaf's own, or as the sender of the batch says.
    pub envelope: Option<EnvelopeId>,
}

/// Why evidence is not believed. Its writer must correct its software, or the axis operator the directory.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The checkpoint's form.
    #[error("the evidence has no readable checkpoint")]
    Checkpoint(#[from] CheckpointNoteError),
    /// A ledger that the directory does not know.
    #[error("the directory knows no ledger {origin}; its node must be bound first")]
    UnknownLedger {
        /// The origin shown.
        origin: String,
    },
    /// Evidence of another node than the one that must speak.
    #[error("evidence of {expected} was expected, this is of {found}")]
    OtherNode {
        /// Who must speak.
        expected: NodeId,
        /// Whose ledger it is.
        found: NodeId,
    },
    /// The ledger key's line.
    #[error("the checkpoint of {origin} is not signed by its ledger's key")]
    Signature {
        /// Which ledger.
        origin: String,
        /// What is wrong.
        source: NoteVerifyError,
    },
    /// The certificate's line.
    #[error(transparent)]
    Certificate(#[from] CheckpointCmsError),
    /// More items than a batch may have.
    #[error("a batch of {0} items is refused, at most {EVIDENCE_ITEMS_MAX} are taken; send several")]
    TooMany(usize),
    /// A hash of the proof or the item.
    #[error("the evidence holds something that is not a SHA-256 digest")]
    Hash(#[from] DigestParseError),
    /// The inclusion proof.
    #[error("the leaf is not proven to be in the ledger")]
    Inclusion(#[from] ProofError),
    /// The leaf hashes to something else than stated.
    #[error("the leaf is not the one whose hash was stated")]
    LeafHash,
    /// The leaf's form.
    #[error("the leaf is refused")]
    Leaf(#[from] LeafError),
    /// The envelope named beside the leaf is another than the leaf's.
    #[error("the evidence is about another envelope than stated beside it")]
    Envelope,
    /// The leaf names another node than the one whose ledger holds it.
    #[error("the leaf says it is written by {actor}, and stands in the ledger of {node}")]
    OtherActor {
        /// Who it says.
        actor: NodeId,
        /// Whose ledger.
        node: NodeId,
    },
    /// A relay's role at a node, or the other way round.
    #[error("{node} may not speak in the role {role}")]
    Role {
        /// Who.
        node: NodeId,
        /// As what.
        role: Role,
    },
    /// The node may not use the code.
    #[error("{node} may not speak for {code}; the directory does not bind the code to it at that time")]
    NotEntitled {
        /// Who.
        node: NodeId,
        /// For which code.
        code: AgencyId,
    },
    /// Ahead of our clock.
    #[error("the evidence is of {time}, more than five minutes ahead; its writer must set the clock")]
    FromFuture {
        /// Its time.
        time: Timestamp,
    },
}

impl EvidenceError {
    /// The code of the closed list of reasons.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::OtherNode { .. }
            | Self::UnknownLedger { .. }
            | Self::OtherActor { .. }
            | Self::Role { .. }
            | Self::NotEntitled { .. } => Reason::NotEntitled,
            Self::Certificate(_) => Reason::CertificateRefused,
            Self::FromFuture { .. } => Reason::FromFuture,
            Self::TooMany(_) => Reason::TooLarge,
            Self::Checkpoint(_)
            | Self::Signature { .. }
            | Self::Hash(_)
            | Self::Inclusion(_)
            | Self::LeafHash
            | Self::Leaf(_)
            | Self::Envelope => Reason::Invalid,
        }
    }
}

impl EvidenceError {
    /// Whether the very same bytes may hold later: under a newer directory, with the authorities or the clock set right here. Such evidence is not
    /// thrown away; everything else is as wrong tomorrow as it is today.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::UnknownLedger { .. } | Self::NotEntitled { .. } | Self::FromFuture { .. } => true,
            Self::Certificate(error) => error.may_pass(),
            Self::Checkpoint(_)
            | Self::OtherNode { .. }
            | Self::Signature { .. }
            | Self::TooMany(_)
            | Self::Hash(_)
            | Self::Inclusion(_)
            | Self::LeafHash
            | Self::Leaf(_)
            | Self::Envelope
            | Self::OtherActor { .. }
            | Self::Role { .. } => false,
        }
    }
}

/// Verifies a leaf against the directory. `from`: whose ledger it must be of; none: any that the directory knows.
///
/// The certificate's line, if there is one, is not looked at: relay and recipient act on the ledger key's line alone.
///
/// # Errors
/// [`EvidenceError`]: the first thing that does not hold.
pub fn verify_leaf(
    wire: &wire_v1::ProvenLeaf,
    directory: &Directory,
    from: Option<&NodeId>,
    now: Timestamp,
) -> Result<Proven, EvidenceError> {
    let verified = verify_note(&wire.checkpoint, directory, from)?;
    let leaf = Leaf::parse(wire.leaf.clone())?;
    let leaf_hash = leaf.hash();
    let proof = proof_of(&wire.proof)?;
    verify_inclusion(&leaf_hash, wire.index, verified.checkpoint.size, &proof, &verified.checkpoint.root)?;
    check_leaf(&leaf, verified.kind, verified.node, directory, now)?;
    let Verified { node, checkpoint, note, .. } = verified;
    Ok(Proven { leaf, leaf_hash, index: wire.index, proof, node: node.id.clone(), checkpoint, note, cms: false })
}

/// Verifies a batch: the checkpoint's signature once, then every item by itself.
///
/// With `trust`, a certificate's line is verified, too, and must hold when it is there; without, it is not looked at.
///
/// # Errors
/// When the checkpoint does not hold; then nothing of the batch does.
pub fn verify_batch(
    wire: &wire_v1::EvidenceBatch,
    directory: &Directory,
    from: Option<&NodeId>,
    trust: Option<&TrustStore>,
    now: Timestamp,
) -> Result<ProvenBatch, EvidenceError> {
    if wire.items.len() > EVIDENCE_ITEMS_MAX {
        return Err(EvidenceError::TooMany(wire.items.len()));
    }
    let Verified { kind, node, checkpoint, note } = verify_note(&wire.checkpoint, directory, from)?;
    let (cms, attested) = match trust.filter(|_| find_cms_line(&note, checkpoint.origin(), node, now).is_some()) {
        Some(trust) => {
            let (signature, _) = verify_checkpoint_cms(&note, node, trust, now)?;
            let stamped = !signature.time_stamp_tokens.is_empty();
            (true, Attested { stamped, cosigned: directory.is_cosigned(kind, &note, signature.signing_time, now) })
        }
        None => (false, Attested::NONE),
    };
    let item = |item| verify_item(item, &checkpoint, kind, node, directory, now);
    let items = wire.items.iter().map(item).collect();
    Ok(ProvenBatch { node: node.id.clone(), checkpoint, note, cms, attested, items })
}

/// A leaf of our own with its proof to `head`, for a peer.
///
/// # Errors
/// When the tree has no such leaf or cannot be read.
pub fn prove(
    ledger: &Ledger,
    leaf: impl Into<Vec<u8>>,
    index: u64,
    head: &Committed,
) -> Result<wire_v1::ProvenLeaf, ProofFailure> {
    let proof = ledger.inclusion(index, head.size)?;
    let proof = proof.iter().map(|hash| hash.as_bytes().to_vec().into()).collect();
    Ok(wire_v1::ProvenLeaf {
        leaf: leaf.into().into(),
        index,
        proof,
        checkpoint: head.note.to_string().into_bytes().into(),
    })
}

/// The item of a batch for a leaf of our own; without `leaf`, the receiver must hold it already.
#[must_use]
pub fn item_of(
    leaf: Option<&[u8]>,
    hash: Digest,
    index: u64,
    proof: &[Digest],
    envelope: Option<EnvelopeId>,
) -> wire_v1::EvidenceItem {
    wire_v1::EvidenceItem {
        leaf: leaf.unwrap_or_default().to_vec().into(),
        leaf_hash: hash.as_bytes().to_vec().into(),
        index,
        proof: proof.iter().map(|hash| hash.as_bytes().to_vec().into()).collect(),
        envelope: envelope.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// The hashes of a proof.
pub(crate) fn proof_of<B: AsRef<[u8]>>(proof: &[B]) -> Result<Vec<Digest>, EvidenceError> {
    if proof.len() > PROOF_HASHES_MAX {
        return Err(ProofError::WrongLength.into());
    }
    Ok(proof.iter().map(|hash| Digest::from_slice(hash.as_ref())).collect::<Result<_, _>>()?)
}

struct Verified<'a> {
    kind: NodeKind,
    node: &'a NodeEntry,
    checkpoint: Checkpoint,
    note: SignedNote,
}

/// Reads the note and checks the ledger key's line, unless these very bytes were checked last for this ledger.
fn verify_note<'a>(
    bytes: &[u8],
    directory: &'a Directory,
    from: Option<&NodeId>,
) -> Result<Verified<'a>, EvidenceError> {
    let (note, checkpoint) = Checkpoint::parse_note(bytes)?;
    let origin = checkpoint.origin();
    let (kind, node) =
        directory.by_origin(origin).ok_or_else(|| EvidenceError::UnknownLedger { origin: origin.to_owned() })?;
    if let Some(expected) = from.filter(|expected| **expected != node.id) {
        return Err(EvidenceError::OtherNode { expected: expected.clone(), found: node.id.clone() });
    }
    let digest = Digest::of(bytes);
    let cache = || directory.checked_checkpoints().lock().unwrap_or_else(PoisonError::into_inner);
    if !cache().get(&node.id).is_some_and(|notes| notes.holds(&digest)) {
        let key = NoteKey::new(origin, node.ledger_key).map_err(CheckpointNoteError::Note)?;
        key.verify(&note).map_err(|source| EvidenceError::Signature { origin: origin.to_owned(), source })?;
        cache().entry(node.id.clone()).or_default().add(digest);
    }
    Ok(Verified { kind, node, checkpoint, note })
}

fn verify_item(
    item: &wire_v1::EvidenceItem,
    checkpoint: &Checkpoint,
    kind: NodeKind,
    node: &NodeEntry,
    directory: &Directory,
    now: Timestamp,
) -> Result<ProvenItem, EvidenceError> {
    let leaf_hash_stated = Digest::from_slice(&item.leaf_hash)?;
    let proof = proof_of(&item.proof)?;
    verify_inclusion(&leaf_hash_stated, item.index, checkpoint.size, &proof, &checkpoint.root)?;
    let stated = match item.envelope.as_str() {
        "" => None,
        id => Some(id.parse::<EnvelopeId>().map_err(|_| EvidenceError::Envelope)?),
    };
    let leaf = if item.leaf.is_empty() { None } else { Some(read_item_leaf(&item.leaf, &leaf_hash_stated)?) };
    if let Some(leaf) = &leaf {
        check_leaf(leaf, kind, node, directory, now)?;
        if stated.is_some() && stated != leaf.envelope() {
            return Err(EvidenceError::Envelope);
        }
    }
    let envelope = leaf.as_ref().and_then(Leaf::envelope).or(stated);
    Ok(ProvenItem { leaf, leaf_hash: leaf_hash_stated, index: item.index, proof, envelope })
}

fn read_item_leaf(bytes: &Bytes, stated: &Digest) -> Result<Leaf, EvidenceError> {
    if leaf_hash(bytes) != *stated {
        return Err(EvidenceError::LeafHash);
    }
    Ok(Leaf::parse(bytes.clone())?)
}

/// Who may write this leaf, and when.
fn check_leaf(
    leaf: &Leaf,
    kind: NodeKind,
    node: &NodeEntry,
    directory: &Directory,
    now: Timestamp,
) -> Result<(), EvidenceError> {
    if leaf.time() > now + skew() {
        return Err(EvidenceError::FromFuture { time: leaf.time() });
    }
    let Some(actor) = leaf.actor() else {
        // Arrivals and directory roots are the relay's records.
        return match kind {
            NodeKind::Relay => Ok(()),
            NodeKind::Node => Err(EvidenceError::Role { node: node.id.clone(), role: Role::Relay }),
        };
    };
    if actor.node != node.id {
        return Err(EvidenceError::OtherActor { actor: actor.node.clone(), node: node.id.clone() });
    }
    if (kind == NodeKind::Relay) != (actor.role == Role::Relay) {
        return Err(EvidenceError::Role { node: node.id.clone(), role: actor.role });
    }
    check_entitled(actor, leaf.event(), directory, leaf.time())
}

/// The directory binds the actor's code to its node at `at`. Roles and codes fit each other: the statement's own check saw to that.
fn check_entitled(
    actor: &Actor,
    event: Option<EventUri>,
    directory: &Directory,
    at: Timestamp,
) -> Result<(), EvidenceError> {
    let Some(code) = &actor.code else { return Ok(()) };
    let entitled = directory.agency(code).is_some_and(|agency| {
        agency.may_state(actor.role, event, at)
            && agency.node.as_ref() == Some(&actor.node)
            && agency.lanes.contains(&directory.statement().lane)
    });
    if entitled { Ok(()) } else { Err(EvidenceError::NotEntitled { node: actor.node.clone(), code: code.clone() }) }
}
