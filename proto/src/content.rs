//! What stands inside a sealed envelope beside the document itself: `envelope.json`, `status.json`, the key manifest.

use serde::{Deserialize, Serialize};

use crate::{
    AgencyId, AxisId, Digest, EnvelopeId, EnvelopeKind, Lane, Statement, Suite, Supersedes, Timestamp, WireLevel,
    ids::closed,
    json::base64,
    limits::{ATTACHMENTS_MAX, NAME_BYTES_MAX, RECIPIENTS_MAX, STATUS_TEXT_CHARS_MAX},
};

/// Name of the received packet in a container.
pub const PACKET_ENTRY: &str = "packet.edxml";
/// Name of the header that the node wrote itself.
pub const DOCUMENT_ENTRY: &str = "document.edxml";
/// Folder of the attachments that stand beside [`DOCUMENT_ENTRY`].
pub const ATTACHMENTS_FOLDER: &str = "attachments/";
/// Name of [`EnvelopeJson`] in a container.
pub const ENVELOPE_ENTRY: &str = "envelope.json";
/// Name of [`BusinessStatus`] in a container of kind `status`.
pub const STATUS_ENTRY: &str = "status.json";

/// A recipient and the certificate the content is sealed to: what stops a signed document from being re-targeted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SealedTo {
    /// The receiving agency.
    pub code: AgencyId,
    /// SHA-256 of the sealing certificate's DER.
    pub certificate: Digest,
}

/// A hop of the document: who handled it, when. Rendered as an edXML `TraceHeader` on delivery.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TraceStamp {
    /// The agency.
    pub organ: AgencyId,
    /// When.
    pub time: Timestamp,
}

/// One decoded attachment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttachmentDigest {
    /// Its name as the sender wrote it.
    pub name: String,
    /// Length of the decoded bytes.
    pub length: u64,
    /// SHA-256 of the decoded bytes.
    pub sha256: Digest,
}

/// `envelope.json`: written after the content, covered by the agency's signature; repeats what the preamble says so
/// that the label and addresses are signed inside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EnvelopeJson {
    /// SHA-256 of the preamble's bytes.
    pub preamble: Digest,
    /// As in the preamble.
    pub axis: AxisId,
    /// As in the preamble.
    pub envelope: EnvelopeId,
    /// As in the preamble.
    pub lane: Lane,
    /// As in the preamble.
    pub level: WireLevel,
    /// As in the preamble.
    pub kind: EnvelopeKind,
    /// As in the preamble.
    pub sender: AgencyId,
    /// The preamble's recipients, each with the certificate its key envelope is made for.
    pub recipients: Vec<SealedTo>,
    /// As in the preamble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<Supersedes>,
    /// The sender's stamps.
    pub trace: Vec<TraceStamp>,
    /// Every decoded attachment, in order.
    pub attachments: Vec<AttachmentDigest>,
}

impl Statement for EnvelopeJson {
    const TYPE: &'static str = "envelope";

    fn check(&self) -> Result<(), String> {
        // None: all recipients are reached through today's axis (see the preamble, which this must agree with).
        if self.recipients.len() > RECIPIENTS_MAX {
            return Err(format!("at most {RECIPIENTS_MAX} recipients"));
        }
        if self.attachments.len() > ATTACHMENTS_MAX {
            return Err(format!("at most {ATTACHMENTS_MAX} attachments"));
        }
        if self.attachments.iter().any(|a| a.name.is_empty() || a.name.len() > NAME_BYTES_MAX) {
            return Err(format!("an attachment's name has 1 to {NAME_BYTES_MAX} bytes"));
        }
        Ok(())
    }
}

/// What a key envelope contains, sealed to one recipient's certificate (suite S1).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyManifest {
    /// For whom.
    pub recipient: AgencyId,
    /// The suite.
    pub suite: Suite,
    /// SHA-256 of the preamble's bytes.
    pub preamble: Digest,
    /// The 256-bit file key. Secret.
    #[serde(with = "base64")]
    pub file_key: [u8; 32],
    /// The 7-byte nonce prefix of the STREAM.
    #[serde(with = "base64")]
    pub prefix: [u8; 7],
    /// Plaintext bytes per chunk.
    pub chunk_bytes: u32,
    /// Length of the container in bytes.
    pub length: u64,
    /// SHA-256 of the container.
    pub container: Digest,
    /// Salt of the content commitment. Secret from all but the recipients.
    #[serde(with = "base64")]
    pub salt: [u8; 32],
}

impl std::fmt::Debug for KeyManifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyManifest")
            .field("recipient", &self.recipient)
            .field("preamble", &self.preamble)
            .field("file_key", &"[redacted]")
            .field("salt", &"[redacted]")
            .finish_non_exhaustive()
    }
}

impl Drop for KeyManifest {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.file_key);
        zeroize::Zeroize::zeroize(&mut self.salt);
    }
}

impl Statement for KeyManifest {
    const TYPE: &'static str = "key";
}

closed! {
    /// Business statuses (QCVN 102 StatusCode). 07 to 12 and 14 were never seen on the axis: who sends one is heard and shown, and it
    /// changes nothing; we set none of them ([`StatusCode::is_known`]).
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    StatusCode, "a status code: 01, 02, 03, 04, 05, 06, 13, 15 or 16" {
        /// Đã đến.
        Arrived = "01",
        /// Từ chối tiếp nhận; final, needs a reason.
        Refused = "02",
        /// Đã tiếp nhận.
        Accepted = "03",
        /// Phân công.
        Assigned = "04",
        /// Đang xử lý.
        InProgress = "05",
        /// Hoàn thành; final.
        Done = "06",
        /// Unknown.
        Unknown07 = "07",
        /// Unknown.
        Unknown08 = "08",
        /// Unknown.
        Unknown09 = "09",
        /// Unknown.
        Unknown10 = "10",
        /// Unknown.
        Unknown11 = "11",
        /// Unknown.
        Unknown12 = "12",
        /// Lấy lại: the sender asks to withdraw.
        WithdrawalRequested = "13",
        /// Unknown.
        Unknown14 = "14",
        /// Đồng ý cập nhật / lấy lại.
        WithdrawalAgreed = "15",
        /// Từ chối cập nhật / lấy lại.
        WithdrawalRefused = "16",
    }
}

impl StatusCode {
    /// The status as a URI of our own, the form in `status.json`.
    #[must_use]
    pub fn uri(self) -> String {
        format!("{STATUS_URI_PREFIX}{self}")
    }

    /// False for the codes of which nobody says what they mean: heard, never set.
    #[must_use]
    pub const fn is_known(self) -> bool {
        !matches!(
            self,
            Self::Unknown07
                | Self::Unknown08
                | Self::Unknown09
                | Self::Unknown10
                | Self::Unknown11
                | Self::Unknown12
                | Self::Unknown14
        )
    }

    /// True for 13, which goes from the document's sender to its receiver; all others go back.
    #[must_use]
    pub const fn is_from_sender(self) -> bool {
        matches!(self, Self::WithdrawalRequested)
    }

    /// The same in English.
    #[must_use]
    pub const fn english(self) -> &'static str {
        match self {
            Self::Arrived => "Arrived",
            Self::Refused => "Refused",
            Self::Accepted => "Accepted",
            Self::Assigned => "Assigned",
            Self::InProgress => "In progress",
            Self::Done => "Done",
            Self::WithdrawalRequested => "Asked back",
            Self::WithdrawalAgreed => "Agreed to the update or withdrawal",
            Self::WithdrawalRefused => "Refused the update or withdrawal",
            Self::Unknown07
            | Self::Unknown08
            | Self::Unknown09
            | Self::Unknown10
            | Self::Unknown11
            | Self::Unknown12
            | Self::Unknown14 => "Unknown status",
        }
    }

    /// What văn thư read.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::Arrived => "Đã đến",
            Self::Refused => "Từ chối tiếp nhận",
            Self::Accepted => "Đã tiếp nhận",
            Self::Assigned => "Phân công",
            Self::InProgress => "Đang xử lý",
            Self::Done => "Hoàn thành",
            Self::WithdrawalRequested => "Lấy lại",
            Self::WithdrawalAgreed => "Đồng ý cập nhật / lấy lại",
            Self::WithdrawalRefused => "Từ chối cập nhật / lấy lại",
            Self::Unknown07
            | Self::Unknown08
            | Self::Unknown09
            | Self::Unknown10
            | Self::Unknown11
            | Self::Unknown12
            | Self::Unknown14 => "Mã trạng thái không rõ",
        }
    }
}

/// What stands before the code in a status URI.
pub const STATUS_URI_PREFIX: &str = "urn:truc:status:";

/// `status.json`: a business status about one document between two agencies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BusinessStatus {
    /// [`StatusCode::uri`].
    pub status: String,
    /// The code, `01` … `16`.
    pub code: StatusCode,
    /// The agency that sets the status.
    pub from: AgencyId,
    /// Its counterpart.
    pub to: AgencyId,
    /// The envelope of the document.
    pub document: EnvelopeId,
    /// The document's own edXML DocumentId, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_id: Option<String>,
    /// Description or reason in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The officer, where the document system says who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staff: Option<String>,
    /// Counts 1, 2, 3 … per (document, agency that sets it): late and double statuses are recognised by it.
    pub sequence: u64,
    /// When it was set.
    pub time: Timestamp,
}

impl Statement for BusinessStatus {
    const TYPE: &'static str = "status";

    fn check(&self) -> Result<(), String> {
        if self.status != self.code.uri() {
            return Err(format!("status URI and code disagree: `{}` and {}", self.status, self.code));
        }
        if self.from == self.to {
            return Err("a status goes to another agency".into());
        }
        let texts = [&self.document_id, &self.reason, &self.staff];
        if texts.iter().filter_map(|t| t.as_ref()).any(|t| t.chars().count() > STATUS_TEXT_CHARS_MAX) {
            return Err(format!("a text of a status has at most {STATUS_TEXT_CHARS_MAX} characters"));
        }
        if self.code == StatusCode::Refused && self.reason.as_deref().is_none_or(|r| r.trim().is_empty()) {
            return Err("status 02 (Từ chối tiếp nhận) needs a reason".into());
        }
        if self.sequence == 0 {
            return Err("the sequence starts at 1".into());
        }
        Ok(())
    }
}
