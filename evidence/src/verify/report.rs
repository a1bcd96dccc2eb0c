//! What verification found.

use std::collections::BTreeMap;

use truc_proto::{AgencyId, AxisId, Checkpoint, Digest, EnvelopeId, EventUri, Lane, NodeId, Reason, Role, Timestamp};

use super::{Check, EvidenceLevel};

/// What came of one check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold.
    Failed,
    /// It cannot be told.
    Unknown,
    /// There is nothing to check: what it is about is not there, and need not be.
    NotApplicable,
    /// What it is about cannot be read at all.
    NotReached,
    /// Left out by choice.
    Off,
}

impl Outcome {
    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::NotApplicable => "not-applicable",
            Self::NotReached => "not-reached",
            Self::Off => "off",
        }
    }
}

/// One check and what came of it: of a receipt, or with another list of checks of something else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step<C = Check> {
    /// Which check.
    pub check: C,
    /// What came of it.
    pub outcome: Outcome,
    /// Values and causes, for the technically minded; may be empty.
    pub detail: String,
}

/// Whether the receipt proves what it says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ReceiptVerdict {
    /// Every check holds.
    Valid,
    /// A check does not hold.
    Invalid,
    /// No check fails, and one cannot be told.
    CannotTell,
}

impl ReceiptVerdict {
    /// What the outcomes of all checks come to.
    pub(crate) fn of<C>(steps: &[Step<C>]) -> Self {
        let any = |wanted: &[Outcome]| steps.iter().any(|step| wanted.contains(&step.outcome));
        if any(&[Outcome::Failed]) {
            Self::Invalid
        } else if any(&[Outcome::Unknown, Outcome::NotReached]) {
            Self::CannotTell
        } else {
            Self::Valid
        }
    }

    /// Exit code of `truc receipt verify`.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::CannotTell => 2,
        }
    }

    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::CannotTell => "cannot-tell",
        }
    }
}

/// What an envelope is, by hash: receipts about one envelope name the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EnvelopeHashes {
    /// Leaf hash of the submission; about what came from today's axis, of its ReceivedFromNonERDS.
    pub submission: Digest,
    /// SHA-256 of the preamble's bytes.
    pub preamble: Digest,
    /// SHA-256 of the sealed payload.
    pub payload: Digest,
    /// The content commitment.
    pub commitment: Digest,
}

/// A certificate that the directory binds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BoundDigest {
    /// SHA-256 of its DER.
    pub sha256: Digest,
    /// Start of use, by the operator.
    pub valid_from: Timestamp,
    /// End of use, by the operator.
    pub valid_to: Timestamp,
    /// Since when it is revoked or suspended there, where it is.
    pub ended: Option<Timestamp>,
}

/// What the receipt says. Worth believing only when the verdict is [`ReceiptVerdict::Valid`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceiptSummary {
    /// What happened.
    pub event: EventUri,
    /// In which role it is stated.
    pub role: Role,
    /// The agency that states it; none for the relay.
    pub actor: Option<AgencyId>,
    /// Its official name in the directory.
    pub actor_name: Option<String>,
    /// The node or relay.
    pub node: NodeId,
    /// When.
    pub time: Timestamp,
    /// The envelope.
    pub envelope: Option<EnvelopeId>,
    /// The sender.
    pub sender: Option<AgencyId>,
    /// The recipient it is about.
    pub recipient: Option<AgencyId>,
    /// RFC 6962 hash of the leaf: names the receipt.
    pub leaf_hash: Digest,
    /// What the envelope is; none in a refusal before there was one.
    pub hashes: Option<EnvelopeHashes>,
    /// SHA-256 of the key envelopes it names: the submission of all, another event of its recipient's.
    pub key_envelopes: BTreeMap<AgencyId, Digest>,
    /// When the certificate signed, as it says.
    pub signed_at: Option<Timestamp>,
    /// The moment by which the signature was there, as the believed time-stamp on it that puts it earliest shows.
    pub proven_by: Option<Timestamp>,
    /// Axis and lane of the directory relied on.
    pub domain: Option<(AxisId, Lane)>,
    /// The certificates that the actor's directory entry binds for the agency's own signatures.
    pub service_certificates: Vec<BoundDigest>,
    /// Those that the actor's node or relay entry binds for signing checkpoints.
    pub node_certificates: Vec<BoundDigest>,
    /// The certificate that signed the checkpoint, where its signature holds.
    pub certificate: Option<Digest>,
    /// The directory version relied on.
    pub directory_version: Option<u64>,
    /// When that version was issued: revocation is known as of then.
    pub directory_issued: Option<Timestamp>,
    /// Why, in refusals and failures.
    pub reason: Option<Reason>,
    /// With a closed code: who took over.
    pub successor: Option<AgencyId>,
    /// In the submission's receipt: for whom the envelope is sealed.
    pub recipients: Vec<AgencyId>,
    /// In the submission's receipt: who is reached through today's axis.
    pub legacy: Vec<AgencyId>,
    /// The checkpoint that the leaf is proven into.
    pub checkpoint: Option<Checkpoint>,
    /// The ledger's key, as the directory entry shown says.
    pub ledger_key: Option<[u8; 32]>,
    /// What it rests on, by the checks that passed.
    pub levels: Vec<EvidenceLevel>,
}

/// The verdict with every step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceiptReport {
    /// Whether the receipt proves what it says.
    pub verdict: ReceiptVerdict,
    /// Every check, in order.
    pub steps: Vec<Step>,
    /// What it says, as far as it can be read.
    pub summary: Option<ReceiptSummary>,
}

impl ReceiptReport {
    pub(super) fn of(steps: Vec<Step>, mut summary: Option<ReceiptSummary>) -> Self {
        if let Some(summary) = &mut summary {
            summary.levels = EvidenceLevel::of(&steps);
        }
        let verdict = match ReceiptVerdict::of(&steps) {
            ReceiptVerdict::Valid if summary.is_none() => ReceiptVerdict::CannotTell,
            verdict => verdict,
        };
        Self { verdict, steps, summary }
    }

    /// The steps that stand against the receipt: failed or unknown, in order.
    pub fn against(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.outcome, Outcome::Failed | Outcome::Unknown))
    }
}
