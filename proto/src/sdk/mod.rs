//! The wire form of the axis SDK's API: what document systems built on the vendor's Java SDK send, and what that SDK reads.
//!
//! Every parameter travels in the `XroadVnpt-…` headers; the one that counts is the signed JSON text of
//! `XroadVnpt-sign-header` ([`Parameters`]). Replies are JSON of a fixed shape ([`Reply`]). What the operations mean is the node's
//! business; nothing here knows documents, keys or sockets.

pub mod client;
mod edoc_reply;
mod item;
mod operation;
mod packet_file;
mod parameters;
mod reply;

pub use edoc_reply::{EdocError, EdocReply};
pub use item::{Agency, AgencyQd20, Received, Sent, Unit};
pub use operation::Operation;
pub use packet_file::{FileDigests, FileHash, PacketHasher, unpadded_hex};
pub use parameters::{Parameters, ParametersError, SIGNATURE_HEADER, SIGNED_HEADER, read_signature};
pub use reply::{ErrorCode, Reply, ascii};

/// What documents and statuses are called in `messagetype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// `edoc`: a document.
    Document,
    /// `status`: a business status.
    Status,
}

impl MessageType {
    /// The kind that a parameter names; any case, as clients write it.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "edoc" => Some(Self::Document),
            "status" => Some(Self::Status),
            _ => None,
        }
    }

    /// As the axis writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Document => "edoc",
            Self::Status => "status",
        }
    }
}

/// The one service type there is.
pub const SERVICE_TYPE: &str = "eDoc";

/// What a document system says of an item it has listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is being taken. A claim only: it hides nothing.
    Processing,
    /// It was taken.
    Done,
    /// It could not be taken.
    Fail,
}

impl Progress {
    /// As clients write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Done => "done",
            Self::Fail => "fail",
        }
    }

    /// What the parameter `status` of updateStatus says.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "processing" => Some(Self::Processing),
            "done" => Some(Self::Done),
            "fail" => Some(Self::Fail),
            _ => None,
        }
    }
}
