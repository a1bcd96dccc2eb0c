//! The certificate's line under a checkpoint: type 0xff, `truc/cms/1`, a detached CMS over the note's text.
//!
//! `openssl cms -verify -binary -inform DER` checks the same bytes. The ledger key's line (type 0x01) is the ledger's own work.

use truc_proto::{
    AxisId, CertificateBinding, Checkpoint, Digest, KeyId, KeyUse, Lane, NodeEntry, NodeId, NoteError, NoteSignature,
    SignedNote, Timestamp,
};
use truc_signer::{
    Certificate, CertificateUse, CmsError, CmsSignature, PathError, SignError, SigningKey, TimeStampError, TrustStore,
    Verdict,
    cms::{embed_time_stamp, has_time_stamp, signature_value},
    path::validate_with,
    sign_detached,
    timestamp::refuse_wrong,
    verify_detached,
};

/// Origin of a ledger: `truc/<axis>/<lane>/<node id>/<epoch>` (docs/FORMATS.md). Names the ledger key and every line under its checkpoints.
#[must_use]
pub fn ledger_origin(axis: &AxisId, lane: Lane, node: &NodeId, epoch: u64) -> String {
    format!("truc/{axis}/{lane}/{node}/{epoch}")
}

/// A certificate's line that stands in a note, with the binding it points at. Not verified.
#[derive(Clone, Copy, Debug)]
pub struct CmsLine<'a> {
    /// The certificate that the line's key id names.
    pub binding: &'a CertificateBinding,
    /// DER of the detached CMS.
    pub cms: &'a [u8],
}

/// Why a certificate's line was not added or is not believed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointCmsError {
    /// The key is away or refused.
    #[error("the checkpoint of {origin} could not be signed by the certificate")]
    Sign {
        /// Whose checkpoint.
        origin: String,
        /// What the key said.
        source: SignError,
    },
    /// The note's text is no checkpoint, or the line cannot be added.
    #[error("the note takes no certificate's line: {why}")]
    Note {
        /// Why.
        why: String,
    },
    /// No line by a certificate of the node's entry.
    #[error(
        "the checkpoint of {origin} carries no line by a certificate of {node}; it is provisional until that node signs it"
    )]
    Absent {
        /// Whose checkpoint.
        origin: String,
        /// Whose certificate was looked for.
        node: NodeId,
    },
    /// The signature does not hold over the note's text.
    #[error("the certificate's signature under the checkpoint of {origin} does not hold")]
    Signature {
        /// Whose checkpoint.
        origin: String,
        /// What is wrong with it.
        source: CmsError,
    },
    /// It holds, but another certificate made it.
    #[error(
        "the checkpoint of {origin} is signed by the certificate of {subject}, which the directory does not bind to {node}"
    )]
    Signer {
        /// Whose checkpoint.
        origin: String,
        /// Who signed.
        subject: String,
        /// Whose ledger it is.
        node: NodeId,
    },
    /// The operator had not bound the certificate then, or had stopped it.
    #[error("the certificate under the checkpoint of {origin} was not in force at {at}, as the directory says")]
    NotInForce {
        /// Whose checkpoint.
        origin: String,
        /// When it signed.
        at: Timestamp,
    },
    /// No valid path.
    #[error("the certificate under the checkpoint of {origin} is not believed")]
    Path {
        /// Whose checkpoint.
        origin: String,
        /// Why.
        source: PathError,
    },
    /// A time-stamp on it that cannot be right.
    #[error("a time-stamp on the certificate's signature under the checkpoint of {origin} is wrong")]
    TimeStamp {
        /// Whose checkpoint.
        origin: String,
        /// What is wrong.
        source: TimeStampError,
    },
    /// Revoked (I11).
    #[error(
        "the certificate of {subject} under the checkpoint of {origin} is revoked since {at}; its holder must get a new one"
    )]
    Revoked {
        /// Whose checkpoint.
        origin: String,
        /// Whose certificate.
        subject: String,
        /// Since when.
        at: Timestamp,
    },
}

impl CheckpointCmsError {
    /// Whether the very same note may hold later: under a newer directory, or with authorities that are not known here yet.
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::Signer { .. } | Self::NotInForce { .. } => true,
            Self::Path { source, .. } => {
                matches!(source, PathError::UnknownIssuer { .. } | PathError::NotYetValid { .. })
            }
            Self::Sign { .. }
            | Self::Note { .. }
            | Self::Absent { .. }
            | Self::Signature { .. }
            | Self::TimeStamp { .. }
            | Self::Revoked { .. } => false,
        }
    }
}

/// Adds the certificate's line over the note's text. `at` becomes the CMS's signing time.
///
/// # Errors
/// When the key is away or refuses, when the text is no checkpoint, or when that certificate has a line already.
pub fn sign_checkpoint(note: &mut SignedNote, key: &dyn SigningKey, at: Timestamp) -> Result<(), CheckpointCmsError> {
    let unfit = |why: String| CheckpointCmsError::Note { why };
    let checkpoint = Checkpoint::of_note(note).map_err(|error| unfit(error.to_string()))?;
    let origin = checkpoint.origin().to_owned();
    let signature = sign_detached(key, note.text().as_bytes(), Some(at))
        .map_err(|source| CheckpointCmsError::Sign { origin: origin.clone(), source })?;
    let key_id = KeyId::cms(&origin, &key.certificate().sha256());
    note.add_signature(NoteSignature { name: origin, key_id, signature })
        .map_err(|error: NoteError| unfit(error.to_string()))
}

/// The value of a certificate's signature under a checkpoint: what a time-stamp is asked for. None where it has no line.
#[must_use]
pub fn checkpoint_signature(note: &SignedNote, certificate: &Digest) -> Option<Vec<u8>> {
    let origin = Checkpoint::of_note(note).ok()?.origin().to_owned();
    let line = note.find(&origin, KeyId::cms(&origin, certificate))?;
    signature_value(&line.signature).ok()
}

/// Whether a line under a checkpoint carries a time-stamp, for those who choose among their own checkpoints; nothing is verified.
#[must_use]
pub fn is_stamped(note: &SignedNote) -> bool {
    note.signatures().iter().any(|line| has_time_stamp(&line.signature))
}

/// Embeds a time-stamp token over that value into the certificate's line (docs/FORMATS.md, "Time-stamps").
///
/// # Errors
/// When that certificate has no line, or the token cannot be embedded.
pub fn stamp_checkpoint(note: &mut SignedNote, certificate: &Digest, token: &[u8]) -> Result<(), CheckpointCmsError> {
    let unfit = |why: String| CheckpointCmsError::Note { why };
    let checkpoint = Checkpoint::of_note(note).map_err(|error| unfit(error.to_string()))?;
    let (origin, key_id) = (checkpoint.origin(), KeyId::cms(checkpoint.origin(), certificate));
    let line = note.find(origin, key_id).ok_or_else(|| unfit("it has no line of that certificate".into()))?;
    let stamped = embed_time_stamp(&line.signature, token).map_err(|error| unfit(error.to_string()))?;
    note.replace_signature(origin, key_id, stamped);
    Ok(())
}

/// The line by a certificate that `node` has for signing checkpoints; of several, one in force at `at` before others.
#[must_use]
pub fn find_cms_line<'a>(
    note: &'a SignedNote,
    origin: &str,
    node: &'a NodeEntry,
    at: Timestamp,
) -> Option<CmsLine<'a>> {
    let of_node = node.certificates.iter().filter(|binding| binding.uses.contains(&KeyUse::Node));
    let mut lines: Vec<CmsLine<'a>> = of_node
        .filter_map(|binding| {
            let line = note.find(origin, KeyId::cms(origin, &binding.sha256))?;
            Some(CmsLine { binding, cms: &line.signature })
        })
        .collect();
    lines.sort_by_key(|line| !line.binding.serves(KeyUse::Node, at));
    lines.into_iter().next()
}

/// Verifies the certificate's line of a checkpoint against the node's directory entry, at the time it says it was signed.
///
/// An unknown revocation state is accepted and handed back; a revoked certificate never is (I11).
///
/// # Errors
/// [`CheckpointCmsError::Absent`] when there is no such line, else what does not hold.
pub fn verify_checkpoint_cms(
    note: &SignedNote,
    node: &NodeEntry,
    trust: &TrustStore,
    now: Timestamp,
) -> Result<(CmsSignature, Verdict), CheckpointCmsError> {
    let checkpoint = Checkpoint::of_note(note).map_err(|error| CheckpointCmsError::Note { why: error.to_string() })?;
    let origin = || checkpoint.origin().to_owned();
    let line = find_cms_line(note, checkpoint.origin(), node, now)
        .ok_or_else(|| CheckpointCmsError::Absent { origin: origin(), node: node.id.clone() })?;
    let supplied: Vec<Certificate> = Certificate::from_der(&line.binding.der).into_iter().collect();
    let signature = verify_detached(line.cms, note.text().as_bytes(), &supplied)
        .map_err(|source| CheckpointCmsError::Signature { origin: origin(), source })?;
    if signature.certificate.sha256() != line.binding.sha256 {
        let subject = signature.certificate.subject().to_owned();
        return Err(CheckpointCmsError::Signer { origin: origin(), subject, node: node.id.clone() });
    }
    let at = signature.signing_time.unwrap_or(now).min(now);
    // The signing time is the signer's own word: whoever holds a stopped key may date back, so what is stopped today counts today.
    let stopped = line.binding.status_since.is_some_and(|since| since <= now);
    if stopped || !line.binding.serves(KeyUse::Node, at) {
        return Err(CheckpointCmsError::NotInForce { origin: origin(), at });
    }
    refuse_wrong(&signature, at, trust, now)
        .map_err(|source| CheckpointCmsError::TimeStamp { origin: origin(), source })?;
    let verdict = validate_with(trust, &signature.certificate, &signature.others, CertificateUse::Node, at)
        .map_err(|source| CheckpointCmsError::Path { origin: origin(), source })?;
    match verdict {
        Verdict::Revoked { at, subject, .. } => Err(CheckpointCmsError::Revoked { origin: origin(), subject, at }),
        verdict => Ok((signature, verdict)),
    }
}
