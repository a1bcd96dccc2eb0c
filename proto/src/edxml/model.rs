//! What a packet says: plain values in the format's own nouns. Absent and empty are the same, as in the SDK.
//!
//! Numbers and dates that could not be read are absent or kept as text; the reader's warnings say so.

use super::{
    date::{Date, Dated},
    element::Element,
};
use crate::{Digest, ForeignCode, Timestamp};

/// Either kind of edXML file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A document: new, revoked, updated or replacing.
    Document(Box<Packet>),
    /// A business status about a document.
    Status(Box<StatusPacket>),
}

impl Message {
    /// Who sends it.
    #[must_use]
    pub fn from(&self) -> &Organization {
        match self {
            Self::Document(packet) => &packet.header.from,
            Self::Status(status) => &status.from,
        }
    }
}

/// A document packet without its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packet {
    /// MessageHeader.
    pub header: MessageHeader,
    /// TraceHeaderList.
    pub trace: TraceHeaderList,
    /// Signature, as it stood: signatures met on the axis prove nothing, so it is data to show, never to trust.
    pub signature: Option<Element>,
    /// The manifest's References.
    pub references: Vec<Reference>,
}

/// MessageHeader of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageHeader {
    /// From.
    pub from: Organization,
    /// To, one each.
    pub to: Vec<Organization>,
    /// DocumentId, exactly as written: the key that statuses refer to.
    pub document_id: Option<String>,
    /// Code/CodeNumber.
    pub code_number: Option<String>,
    /// Code/CodeNotation.
    pub code_notation: Option<String>,
    /// PromulgationInfo/Place.
    pub place: Option<String>,
    /// PromulgationInfo/PromulgationDate.
    pub promulgation_date: Option<Dated<Date>>,
    /// DocumentType/Type, an opaque number.
    pub document_type: Option<i32>,
    /// DocumentType/TypeDetail, an opaque number.
    pub type_detail: Option<i32>,
    /// DocumentType/TypeName: what people trust.
    pub type_name: Option<String>,
    /// Subject.
    pub subject: Option<String>,
    /// Content: the abstract.
    pub content: Option<String>,
    /// SignerInfo.
    pub signer: SignerInfo,
    /// DueDate.
    pub due_date: Option<Dated<Date>>,
    /// OtherInfo.
    pub other: OtherInfo,
    /// ResponseFor, one each.
    pub response_for: Vec<ResponseFor>,
    /// SteeringType, an opaque number.
    pub steering_type: Option<i32>,
    /// ResponseForTask/TaskCode.
    pub task_codes: Vec<String>,
    /// ApplicationType.
    pub application_type: Option<String>,
    /// ToPlaces/Place: the recipients as the document prints them.
    pub to_places: Vec<String>,
}

/// From or To. Texts are trimmed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Organization {
    /// OrganId.
    pub organ_id: Option<ForeignCode>,
    /// OrganizationInCharge: the body above.
    pub organization_in_charge: Option<String>,
    /// OrganName.
    pub organ_name: Option<String>,
    /// OrganAdd: the address.
    pub organ_add: Option<String>,
    /// Email.
    pub email: Option<String>,
    /// Telephone.
    pub telephone: Option<String>,
    /// Fax.
    pub fax: Option<String>,
    /// Website.
    pub website: Option<String>,
}

/// SignerInfo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignerInfo {
    /// Competence, e.g. `TM. ỦY BAN NHÂN DÂN`.
    pub competence: Option<String>,
    /// Position.
    pub position: Option<String>,
    /// FullName.
    pub full_name: Option<String>,
}

/// OtherInfo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtherInfo {
    /// Priority: 0 thường, 1 khẩn, 2 thượng khẩn, 3 hỏa tốc, 4 hỏa tốc hẹn giờ.
    pub priority: Option<i32>,
    /// SphereOfPromulgation.
    pub sphere: Option<String>,
    /// TyperNotation.
    pub typer_notation: Option<String>,
    /// PromulgationAmount: copies.
    pub promulgation_amount: Option<i32>,
    /// PageAmount.
    pub page_amount: Option<i32>,
    /// ReplyFors, as text.
    pub reply_fors: Option<String>,
    /// Direction.
    pub direction: Option<bool>,
    /// ReferenceCodes, as text.
    pub reference_codes: Option<String>,
    /// Appendixes/Appendix.
    pub appendixes: Vec<String>,
}

/// ResponseFor: the document answered, or the one a status speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseFor {
    /// OrganId of the agency that issued it.
    pub organ_id: Option<ForeignCode>,
    /// Code: number/notation.
    pub code: Option<String>,
    /// DocumentId, exactly as written.
    pub document_id: Option<String>,
    /// PromulgationDate.
    pub promulgation_date: Option<Dated<Date>>,
}

/// TraceHeaderList.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceHeaderList {
    /// Attribute id.
    pub id: Option<String>,
    /// Attribute version.
    pub version: Option<String>,
    /// Paper.
    pub paper: Option<String>,
    /// Bussiness (sic).
    pub business: Option<Business>,
    /// TraceHeader, oldest first: every hop appends one.
    pub traces: Vec<TraceHeader>,
}

/// TraceHeader: one hop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceHeader {
    /// OrganId; real packets hold trace headers without one.
    pub organ_id: Option<ForeignCode>,
    /// Timestamp.
    pub timestamp: Option<Dated<Timestamp>>,
}

/// What a document does to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusinessKind {
    /// 0: a new document.
    New,
    /// 1: withdraws one.
    Revoke,
    /// 2: updates one.
    Update,
    /// 3: replaces one or more.
    Replace,
}

impl BusinessKind {
    /// BussinessDocType.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::New => 0,
            Self::Revoke => 1,
            Self::Update => 2,
            Self::Replace => 3,
        }
    }
}

/// Bussiness (sic).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Business {
    /// DocumentId: the document meant (update).
    pub document_id: Option<String>,
    /// BussinessDocType.
    pub doc_type: Option<i32>,
    /// BussinessDocReason.
    pub reason: Option<String>,
    /// Paper: 0 or 1, whether paper follows.
    pub paper: Option<String>,
    /// BussinessDocumentInfo, one each (update).
    pub document_infos: Vec<BusinessDocumentInfo>,
    /// ReplacementInfoList/ReplacementInfo (replace).
    pub replacements: Vec<ReplacementInfo>,
    /// StaffInfo, one each.
    pub staff: Vec<StaffInfo>,
}

impl Business {
    /// What BussinessDocType says; none when it is absent or unknown.
    #[must_use]
    pub fn kind(&self) -> Option<BusinessKind> {
        match self.doc_type? {
            0 => Some(BusinessKind::New),
            1 => Some(BusinessKind::Revoke),
            2 => Some(BusinessKind::Update),
            3 => Some(BusinessKind::Replace),
            _ => None,
        }
    }
}

/// BussinessDocumentInfo: what an update changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BusinessDocumentInfo {
    /// DocumentInfo: 1 when the document's fields change.
    pub document_info: Option<String>,
    /// DocumentReceiver: 1 when recipients change.
    pub document_receiver: Option<String>,
    /// ReceiverList/Receiver.
    pub receivers: Vec<Receiver>,
}

/// Receiver of an update.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receiver {
    /// OrganId.
    pub organ_id: Option<ForeignCode>,
    /// ReceiverType: 0 dropped, 1 added.
    pub receiver_type: Option<String>,
}

/// ReplacementInfo: a document replaced, and for whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplacementInfo {
    /// DocumentId.
    pub document_id: Option<String>,
    /// OrganIdList/OrganId.
    pub organ_ids: Vec<ForeignCode>,
}

/// StaffInfo: the officer in charge. Texts are kept exactly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StaffInfo {
    /// Department.
    pub department: Option<String>,
    /// DepartmentId.
    pub department_id: Option<String>,
    /// Staff: the name.
    pub staff: Option<String>,
    /// StaffId.
    pub staff_id: Option<String>,
    /// Email.
    pub email: Option<String>,
    /// Mobile.
    pub mobile: Option<String>,
}

/// Reference of the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// ContentId without any `cid:`.
    pub content_id: Option<String>,
    /// ContentType; the SDK always says application/zip here: trust the attachment's.
    pub content_type: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// AttachmentName.
    pub name: Option<String>,
}

/// A status packet: header only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusPacket {
    /// From: who reports.
    pub from: Organization,
    /// ResponseFor: the document it speaks of.
    pub response_for: ResponseFor,
    /// StaffInfo.
    pub staff: StaffInfo,
    /// StatusCode, trimmed: 01 … 06, 13, 15, 16; any text is read.
    pub status_code: Option<String>,
    /// Description; with 02 the reason for the refusal.
    pub description: Option<String>,
    /// Timestamp.
    pub timestamp: Option<Dated<Timestamp>>,
}

/// How an attachment travelled inside its base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Raw,
    /// Wrapped in a ZIP of one entry, of this name.
    Zipped {
        /// The entry's name: an accident of the sender's software, AttachmentName is the real one.
        entry: String,
    },
}

/// An attachment after its content went to the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// ContentId without any `cid:`.
    pub content_id: Option<String>,
    /// AttachmentName, or the manifest's when it is absent. Not a safe file name.
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// FieldName.
    pub field_name: Option<String>,
    /// MimeType.
    pub mime_type: Option<String>,
    /// Format: an extension.
    pub format: Option<String>,
    /// ContentType.
    pub content_type: Option<String>,
    /// How it travelled.
    pub form: Form,
    /// Length of the decoded content in bytes.
    pub bytes: u64,
    /// SHA-256 of the decoded content.
    pub sha256: Digest,
}

impl Attachment {
    /// The extension of the name, in lower case.
    #[must_use]
    pub fn extension(&self) -> Option<String> {
        extension_of(&self.name)
    }
}

pub(super) fn extension_of(name: &str) -> Option<String> {
    name.trim()
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_lowercase())
        .filter(|extension| !extension.is_empty())
}
