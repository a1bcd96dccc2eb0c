//! Writes receipt files. What a receipt proves is decided by [`crate::verify_receipt`], never by who wrote it.

use bytes::Bytes;
use truc_proto::{Digest, Opening, Raw, Receipt, ReceiptBody, SignedNote, StatementError, limits::RECEIPT_BYTES_MAX};

use crate::Entitlement;

/// All that goes into a receipt.
#[derive(Clone, Debug)]
pub struct ReceiptParts<'a> {
    /// Bytes of the submission or event.
    pub leaf: &'a [u8],
    /// Its index in the actor's ledger.
    pub index: u64,
    /// Its inclusion proof to `checkpoint`.
    pub proof: &'a [Digest],
    /// The checkpoint; with the certificate's line the receipt is final, without it provisional.
    pub checkpoint: &'a SignedNote,
    /// What entitled the actor when it spoke.
    pub entitlement: &'a Entitlement,
    /// The preamble's bytes; a submission's receipt needs them.
    pub preamble: Option<&'a [u8]>,
    /// What proves single files, where the receiver of the receipt may see it.
    pub opening: Option<Opening>,
}

/// Why no receipt was written.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptWriteError {
    /// The parts do not fit into a statement.
    #[error("the receipt cannot be written")]
    Statement(#[from] StatementError),
    /// Larger than a reader takes.
    #[error(
        "the receipt would have {bytes} bytes, more than the {RECEIPT_BYTES_MAX} that a reader takes; leave the opening out"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Writes a `*.receipt` file.
///
/// # Errors
/// When the parts are larger than a receipt may be.
pub fn receipt(parts: ReceiptParts<'_>) -> Result<String, ReceiptWriteError> {
    let body = Raw::write(ReceiptBody {
        leaf: parts.leaf.to_vec(),
        preamble: parts.preamble.unwrap_or_default().to_vec(),
        directory: parts.entitlement.directory.clone(),
        directory_cms: parts.entitlement.directory_cms.clone(),
        node: parts.entitlement.node.clone(),
        agency: parts.entitlement.agency.clone(),
        opening: parts.opening,
    })?;
    let body: Bytes = body.bytes().clone();
    let receipt =
        Receipt { body, index: parts.index, proof: parts.proof.to_vec(), checkpoint: parts.checkpoint.to_string() };
    let text = receipt.to_string();
    if text.len() > RECEIPT_BYTES_MAX {
        return Err(ReceiptWriteError::TooLarge { bytes: text.len() });
    }
    Ok(text)
}
