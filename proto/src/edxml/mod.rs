//! edXML (QCVN 102:2016/BTTTT, amended 2022): reading, checking, writing and delivering packets.
//!
//! Reading is one pass in constant memory and tolerant of what real senders do ([`read()`]); writing keeps the order and
//! form of the vendor's SDK ([`write_packet`]), because the document systems behind us parse with it; delivery copies a
//! packet byte for byte and adds our hops ([`render_delivery`]). Signatures inside packets are shown, never trusted.

mod attachment;
pub(crate) mod base64;
mod date;
mod delivery;
mod element;
mod error;
mod from_element;
mod issue;
mod model;
mod picker;
mod reader;
mod report;
mod scanner;
mod source;
mod to_element;
mod unzip;
mod warning;
mod writer;

#[cfg(test)]
mod tests;

pub use attachment::{AttachmentSink, AttachmentStart, Collect, Discard};
pub use date::{Date, DateError, Dated, DocumentId};
pub use delivery::{DeliveryError, render_delivery};
pub use element::Element;
pub use error::{Defect, Position, ReadError, ZipDefect};
pub use issue::{FieldLengths, IssueError, IssueProblem, issue_check, issue_check_received};
pub use model::{
    Attachment, Business, BusinessDocumentInfo, BusinessKind, Form, Message, MessageHeader, Organization, OtherInfo,
    Packet, Receiver, Reference, ReplacementInfo, ResponseFor, SignerInfo, StaffInfo, StatusPacket, TraceHeader,
    TraceHeaderList,
};
pub use reader::{Parsed, read, read_with};
pub use report::{Field, Report};
pub use scanner::NAMESPACE;
pub use to_element::header_element;
pub use warning::{Warning, WarningKind};
pub use writer::{OutgoingAttachment, WriteError, write_packet};
