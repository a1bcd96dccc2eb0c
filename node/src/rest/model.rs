//! The JSON of answers and requests. Field names are those of `truc.node.v1`; what is empty is left away; times are RFC 3339;
//! hashes are 64 hexadecimal digits.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use truc_proto::node_v1::{self, send_reply};
use utoipa::ToSchema;

use super::{groups::GroupName, uploads::UploadName};

/// Code of an agency (QĐ 20/2020/QĐ-TTg).
#[derive(ToSchema)]
#[schema(pattern = r"^([A-Y][0-9]{2}(\.[0-9A-Z]+)*|Z[0-9]{2}(\.?[0-9A-Z])*)$", max_length = 35, example = "H37.DN.001")]
#[expect(dead_code, reason = "stands for its schema; codes are read by truc_proto::AgencyId")]
pub(super) struct AgencyCode(String);

/// Id of an envelope: a UUID of version 7.
#[derive(ToSchema)]
#[schema(
    pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
    example = "019373f0-5a00-7000-8000-000000000001"
)]
#[expect(dead_code, reason = "stands for its schema; ids are read by truc_proto::EnvelopeId")]
pub(super) struct Envelope(String);

/// Where a list goes on; opaque.
#[derive(ToSchema)]
#[schema(pattern = "^[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]$", example = "__________8")]
#[expect(dead_code, reason = "stands for its schema")]
pub(super) struct PageToken(String);

/// A SHA-256 hash.
#[derive(ToSchema)]
#[schema(pattern = "^[0-9a-f]{64}$")]
#[expect(dead_code, reason = "stands for its schema")]
pub(super) struct Hash(String);

/// Names a request: the same key with the same request gets the same answer, with another request a refusal.
#[derive(ToSchema)]
#[schema(
    pattern = r#"^([0-9A-Za-z._:/@+=-]{1,128}|"[0-9A-Za-z._:/@+=-]{1,128}")$"#,
    example = "15/VPCP-KSTT.2026-11-22"
)]
#[expect(dead_code, reason = "stands for its schema")]
pub(super) struct IdempotencyKey(String);

/// Secrecy level. There is no default: nobody may forget to choose.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    /// No state secret.
    Ordinary,
    /// Mật.
    Mat,
    /// Tối mật.
    ToiMat,
}

impl Level {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Mat => "mat",
            Self::ToiMat => "toi-mat",
        }
    }
}

/// A document by its fields; its files follow as further parts.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DocumentRequest {
    /// The sending agency; the token must cover it.
    #[schema(value_type = AgencyCode)]
    pub(super) sender: String,
    /// The receiving agencies; may be left away where `groups` names some.
    #[serde(default)]
    #[schema(value_type = Vec<AgencyCode>, max_items = 1000)]
    pub(super) recipients: Vec<String>,
    /// Receiver groups of the sender, by name: who is in them when the request first comes.
    #[serde(default)]
    #[schema(value_type = Vec<GroupName>, max_items = 20)]
    pub(super) groups: Vec<String>,
    /// Secrecy level.
    pub(super) level: Level,
    /// Urgency: 0 thường, 1 khẩn, 2 thượng khẩn, 3 hỏa tốc, 4 hỏa tốc hẹn giờ.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 4)]
    pub(super) priority: u32,
    /// How long it may be under way, in seconds, up to 30 days; 0: as the node's settings say.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2_592_000)]
    pub(super) ttl_s: u64,
    /// Trích yếu.
    #[schema(max_length = 500, example = "Kế hoạch chuyển đổi số")]
    pub(super) subject: String,
    /// Số.
    #[schema(example = "15")]
    pub(super) code_number: String,
    /// Ký hiệu.
    #[schema(example = "VPCP-KSTT")]
    pub(super) code_notation: String,
    /// Ngày ban hành, yyyy/MM/dd.
    #[serde(default)]
    #[schema(example = "2026/11/22")]
    pub(super) promulgation_date: String,
    /// Nơi ban hành.
    #[serde(default)]
    pub(super) place: String,
    /// Loại văn bản, by name.
    #[serde(default)]
    #[schema(example = "Công văn")]
    pub(super) type_name: String,
    /// Nội dung tóm tắt.
    #[serde(default)]
    pub(super) content: String,
    /// Người ký.
    #[serde(default)]
    pub(super) signer_name: String,
    /// Chức vụ người ký.
    #[serde(default)]
    pub(super) signer_position: String,
    /// The document's id in edXML; made from code, date and number when it is empty.
    #[serde(default)]
    pub(super) document_id: String,
    /// The earlier document of the sender that this one updates: its envelope, or its edXML DocumentId. It stays readable.
    #[serde(default)]
    #[schema(max_length = 200, example = "H37.DN.001,2026/11/20,12/KH-SKHCN")]
    pub(super) updates: String,
    /// Those that this one replaces, named likewise; not together with `updates`. They stay readable.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub(super) replaces: Vec<String>,
    /// Why they are updated or replaced; needed with either.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub(super) change_reason: String,
    /// Uploads of this token that are whole: they become the first files, in this order, under their `filename`.
    #[serde(default)]
    #[schema(value_type = Vec<UploadName>, max_items = 100)]
    pub(super) uploads: Vec<String>,
}

impl DocumentRequest {
    pub(super) fn into_header(self, idempotency_key: String) -> node_v1::SendHeader {
        let form = node_v1::DocumentForm {
            subject: self.subject,
            code_number: self.code_number,
            code_notation: self.code_notation,
            promulgation_date: self.promulgation_date,
            place: self.place,
            type_name: self.type_name,
            content: self.content,
            signer_name: self.signer_name,
            signer_position: self.signer_position,
            document_id: self.document_id,
            updates: self.updates,
            replaces: self.replaces,
            change_reason: self.change_reason,
        };
        node_v1::SendHeader {
            idempotency_key,
            sender: self.sender,
            recipients: self.recipients,
            groups: self.groups,
            priority: self.priority,
            priority_from_packet: false,
            level: self.level.as_str().to_owned(),
            ttl_s: self.ttl_s,
            form: Some(node_v1::send_header::Form::Document(form)),
        }
    }
}

/// A multipart body: first the part `document`, then each file as a part `file` with its name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "stands for its schema; the body is read as it streams by")]
pub(super) struct DocumentForm {
    /// The fields, as JSON. The first part.
    document: DocumentRequest,
    /// The files, each with a `filename`; in their order.
    #[schema(value_type = Vec<String>, format = Binary, content_media_type = "application/octet-stream", max_items = 500)]
    file: Vec<Vec<u8>>,
}

/// What became of a document that was handed over.
#[derive(Serialize, ToSchema)]
pub(super) struct Sent {
    /// Its envelope's id: names it from now on.
    envelope: String,
    /// accepted: on the device and signed. held: on the device; the node signs and sends by itself once it can.
    state: SentState,
    /// Per recipient.
    recipients: Vec<Recipient>,
    /// What the reader of the packet noticed.
    warnings: Vec<String>,
}

/// State of a document that was handed over.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SentState {
    /// On the device and signed.
    Accepted,
    /// On the device; waits for the signing key or the directory.
    Held,
}

impl Sent {
    pub(super) fn is_held(&self) -> bool {
        self.state == SentState::Held
    }

    pub(super) fn of(reply: node_v1::SendReply) -> Self {
        let held = reply.state() == send_reply::State::Held;
        Self {
            envelope: reply.envelope,
            state: if held { SentState::Held } else { SentState::Accepted },
            recipients: reply.recipients.into_iter().map(Into::into).collect(),
            warnings: reply.warnings,
        }
    }
}

/// Where a document stands with one recipient.
#[derive(Serialize, ToSchema)]
pub(super) struct Recipient {
    /// Its code.
    recipient: String,
    /// sealed, submitted, relayed, taken, passed-on (to today's axis), consigned, handed-over, or failed.
    #[schema(example = "consigned")]
    state: String,
    /// Why it failed, by the list of `docs/ERRORS.md`.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    reason: String,
    /// For people, in Vietnamese.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    text: String,
    /// It was delivered after it had expired.
    late: bool,
    /// The last business status, 01 … 16.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    business_status: String,
    /// Reached through today's axis: nothing is sealed, and no signed receipt comes beyond `passed-on`.
    legacy: bool,
    /// That axis's name for the document, once it has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    legacy_doc_id: String,
    /// Every business status, where one document alone is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    statuses: Vec<StatusNote>,
    /// Whether it was asked back: asked, agreed or refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    withdrawal: String,
    /// Where the document changes an earlier one: asked, agreed (15) or refused (16).
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    change: String,
    /// Every event, oldest first. Each has a receipt.
    ladder: Vec<Step>,
}

impl From<node_v1::RecipientState> for Recipient {
    fn from(state: node_v1::RecipientState) -> Self {
        Self {
            recipient: state.recipient,
            state: state.state,
            reason: state.reason,
            text: state.text,
            late: state.late,
            business_status: state.business_status,
            legacy: state.legacy,
            legacy_doc_id: state.legacy_doc_id,
            statuses: state.statuses.into_iter().map(Into::into).collect(),
            withdrawal: state.withdrawal,
            change: state.change,
            ladder: state.ladder.into_iter().map(Into::into).collect(),
        }
    }
}

/// One event on a document's way.
#[derive(Serialize, ToSchema)]
pub(super) struct Step {
    /// Its name in ETSI EN 319 522-3.
    #[schema(example = "ContentConsignment")]
    event: String,
    /// Whose event: sender, relay or recipient.
    role: String,
    /// When.
    time: String,
    /// Why, where it is a failure.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    reason: String,
    /// What happened, in Vietnamese.
    text: String,
    /// Where there is a reason, what it means and what to do: English / Vietnamese.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    reason_text: String,
    /// Its receipt carries the certificate's signature.
    r#final: bool,
    /// Names its receipt.
    leaf_hash: String,
}

impl From<node_v1::LadderStep> for Step {
    fn from(step: node_v1::LadderStep) -> Self {
        Self {
            event: step.event,
            role: step.role,
            time: step.time,
            reason: step.reason,
            text: step.text,
            reason_text: step.reason_text,
            r#final: step.r#final,
            leaf_hash: hex(&step.leaf_hash),
        }
    }
}

/// A page of the inbox, newest first. It goes on while there is a `next_page_token`, even where `items` is short or empty.
#[derive(Serialize, ToSchema)]
pub(super) struct InboxPage {
    /// The entries.
    pub(super) items: Vec<InboxItem>,
    /// Where the list goes on.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub(super) next_page_token: String,
}

/// What is new, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Arrivals {
    /// The entries; empty when nothing came in time.
    pub(super) items: Vec<InboxItem>,
    /// To be given back as `cursor`.
    pub(super) cursor: String,
}

/// A received document, or status, for one agency.
#[derive(Serialize, ToSchema)]
pub(super) struct InboxItem {
    /// Id of its envelope.
    envelope: String,
    /// The sending agency.
    sender: String,
    /// The receiving agency.
    recipient: String,
    /// document or status.
    kind: String,
    /// Urgency, 0 … 4.
    priority: u32,
    /// Secrecy level.
    level: String,
    /// Trích yếu.
    subject: String,
    /// The document's id in edXML.
    document_id: String,
    /// When it was consigned to the agency.
    consigned_at: String,
    /// Whether a document system has taken it.
    confirmed: bool,
    /// When.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    confirmed_at: String,
    /// Its files.
    attachments: Vec<Attachment>,
    /// The sender's certificate when it was checked: good or unknown.
    verdict: String,
    /// Why it is not known.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    verdict_text: String,
    /// Business statuses about it.
    statuses: Vec<StatusNote>,
    /// Where this is a status: what it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<StatusNote>,
    /// Length of the whole container in bytes.
    container_length: u64,
    /// What the reader of the packet noticed.
    warnings: Vec<String>,
    /// When the node removed the payload; lists and receipts stay.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    payload_removed_at: String,
    /// Whether its sender asked it back: asked (answer with status 15 or 16), agreed (it is closed), refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    withdrawal: String,
    /// Why, in the sender's words.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    withdrawal_reason: String,
    /// When this agency agreed.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    withdrawn_at: String,
    /// It came from today's axis: not sealed, and no signed receipt exists from before it came here.
    legacy: bool,
    /// That axis's name for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    legacy_doc_id: String,
    /// Where it revokes, updates or replaces earlier documents of its sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Change>,
    /// Later documents of its sender that update, replace or revoke it, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    changed_by: Vec<ChangedBy>,
}

/// What a document does to earlier ones, as its packet says. It is answered with status 15 or 16.
#[derive(Serialize, ToSchema)]
pub(super) struct Change {
    /// revokes, updates or replaces.
    kind: String,
    /// Their edXML DocumentIds, as written.
    document_ids: Vec<String>,
    /// Why, in the sender's words.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    reason: String,
    /// Where this agency stands: asked, agreed or refused. In the outbox each recipient has its own.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    answer: String,
    /// Each of `document_ids`, and what it is here.
    targets: Vec<ChangeTarget>,
    /// Whom it is for, where the packet says it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    receivers: Vec<ChangeReceiver>,
}

/// An earlier document that a later one names.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangeTarget {
    /// Its edXML DocumentId.
    document_id: String,
    /// Its envelope here; left away where the agency does not have it.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    envelope: String,
}

/// An agency that a change is for.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangeReceiver {
    /// Its code, as written.
    code: String,
    /// added or dropped; left away where the change is for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    what: String,
}

/// A later document of the same sender that updates, replaces or revokes this one. Neither an update nor a replacement takes it away.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangedBy {
    /// revokes, updates or replaces.
    kind: String,
    /// Its envelope.
    envelope: String,
    /// Its edXML DocumentId.
    document_id: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    reason: String,
    /// When it came to this agency; in the outbox, when it was accepted.
    time: String,
}

impl From<node_v1::ChangedBy> for ChangedBy {
    fn from(change: node_v1::ChangedBy) -> Self {
        let node_v1::ChangedBy { kind, envelope, document_id, reason, time } = change;
        Self { kind, envelope, document_id, reason, time }
    }
}

impl From<node_v1::Change> for Change {
    fn from(change: node_v1::Change) -> Self {
        let node_v1::Change { kind, document_ids, reason, answer, targets, receivers } = change;
        let target =
            |target: node_v1::ChangeTarget| ChangeTarget { document_id: target.document_id, envelope: target.envelope };
        let receiver = |receiver: node_v1::ChangeReceiver| ChangeReceiver { code: receiver.code, what: receiver.what };
        Self {
            kind,
            document_ids,
            reason,
            answer,
            targets: targets.into_iter().map(target).collect(),
            receivers: receivers.into_iter().map(receiver).collect(),
        }
    }
}

impl From<node_v1::InboxItem> for InboxItem {
    fn from(item: node_v1::InboxItem) -> Self {
        Self {
            envelope: item.envelope,
            sender: item.sender,
            recipient: item.recipient,
            kind: item.kind,
            priority: item.priority,
            level: item.level,
            subject: item.subject,
            document_id: item.document_id,
            consigned_at: item.consigned_at,
            confirmed: item.confirmed,
            confirmed_at: item.confirmed_at,
            attachments: item.attachments.into_iter().map(Into::into).collect(),
            verdict: item.verdict,
            verdict_text: item.verdict_text,
            statuses: item.statuses.into_iter().map(Into::into).collect(),
            status: item.status.map(Into::into),
            container_length: item.container_length,
            warnings: item.warnings,
            payload_removed_at: item.payload_removed_at,
            withdrawal: item.withdrawal,
            withdrawal_reason: item.withdrawal_reason,
            withdrawn_at: item.withdrawn_at,
            legacy: item.legacy,
            legacy_doc_id: item.legacy_doc_id,
            change: item.change.map(Into::into),
            changed_by: item.changed_by.into_iter().map(Into::into).collect(),
        }
    }
}

/// A file of a document.
#[derive(Serialize, ToSchema)]
pub(super) struct Attachment {
    /// Its name.
    name: String,
    /// Bytes.
    length: u64,
    /// SHA-256 of its bytes.
    sha256: String,
}

impl From<node_v1::Attachment> for Attachment {
    fn from(attachment: node_v1::Attachment) -> Self {
        Self { name: attachment.name, length: attachment.length, sha256: hex(&attachment.sha256) }
    }
}

/// A business status.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusNote {
    /// 01 … 16 (QĐ 28/2018/QĐ-TTg).
    code: String,
    /// What the code means, in Vietnamese.
    text: String,
    /// The same in English.
    english: String,
    /// The officer who set it.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    staff: String,
    /// Envelope of the status itself: its own receipts prove who said it and when.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    envelope: String,
    /// Who says it.
    from: String,
    /// To whom.
    to: String,
    /// When.
    time: String,
    /// Why, in the words of who says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    reason: String,
    /// Envelope of the document that it is about.
    document: String,
    /// Statuses of one agency about one document are numbered.
    sequence: u64,
    /// It changed nothing: it came after a later one, or may not follow what was said before.
    late: bool,
}

impl From<node_v1::StatusNote> for StatusNote {
    fn from(note: node_v1::StatusNote) -> Self {
        let node_v1::StatusNote {
            code,
            from,
            to,
            time,
            reason,
            document,
            sequence,
            late,
            text,
            english,
            staff,
            envelope,
        } = note;
        Self { code, text, english, staff, envelope, from, to, time, reason, document, sequence, late }
    }
}

/// That a document is to be taken back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WithdrawRequest {
    /// Its sender; needed where the token covers several.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = AgencyCode, required = false)]
    pub(super) from: String,
    /// Only from these recipients; none: from all.
    #[serde(default)]
    #[schema(value_type = Vec<AgencyCode>, max_items = 500, required = false)]
    pub(super) recipients: Vec<String>,
    /// Why, for the recipients and the records.
    #[schema(min_length = 1, max_length = 1000)]
    pub(super) reason: String,
    /// The officer.
    #[serde(default)]
    #[schema(max_length = 1000)]
    pub(super) staff: String,
}

/// What becomes of the wish to take a document back.
#[derive(Serialize, ToSchema)]
pub(super) struct Withdrawal {
    /// Each recipient.
    recipients: Vec<WithdrawnRecipient>,
}

/// What becomes of it for one recipient.
#[derive(Serialize, ToSchema)]
pub(super) struct WithdrawnRecipient {
    /// It.
    recipient: String,
    /// withdrawn: never left, and never will; asked: it answers with status 15 or 16; agreed: it had agreed before; not-there: the
    /// document never became readable there; failed: it could not be asked.
    outcome: String,
    /// For people, in Vietnamese.
    text: String,
    /// The envelope that was withdrawn or asked for.
    document: String,
    /// Envelope of the request to the recipient, where there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    status_envelope: String,
}

impl From<node_v1::WithdrawReply> for Withdrawal {
    fn from(reply: node_v1::WithdrawReply) -> Self {
        let recipients = reply.recipients.into_iter().map(|recipient| WithdrawnRecipient {
            recipient: recipient.recipient,
            outcome: recipient.outcome,
            text: recipient.text,
            document: recipient.document,
            status_envelope: recipient.status_envelope,
        });
        Self { recipients: recipients.collect() }
    }
}

/// That a document system took a document, or did not.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmRequest {
    /// The receiving agency; the token must cover it.
    #[schema(value_type = AgencyCode)]
    pub(super) recipient: String,
    /// The sender; needed where several senders used this envelope id.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = AgencyCode, required = false)]
    pub(super) sender: String,
    /// The document system did not take it: recorded as a failure with `reason`, and it stays in the inbox.
    #[serde(default)]
    pub(super) refused: bool,
    /// Why it was not taken.
    #[serde(default)]
    #[schema(max_length = 1000)]
    pub(super) reason: String,
}

/// A hand-over that is on record.
#[derive(Serialize, ToSchema)]
pub(super) struct Confirmed {
    /// When it was recorded first.
    confirmed_at: String,
    /// False when it had been recorded before.
    first: bool,
}

impl From<node_v1::ConfirmReply> for Confirmed {
    fn from(reply: node_v1::ConfirmReply) -> Self {
        Self { confirmed_at: reply.confirmed_at, first: reply.first }
    }
}

/// A business status to be sent to the counterpart.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusRequest {
    /// The agency that speaks; the token must cover it.
    #[schema(value_type = AgencyCode)]
    pub(super) from: String,
    /// The counterpart; needed by a sender with several recipients.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = AgencyCode, required = false)]
    pub(super) to: String,
    /// 01 đã đến, 02 từ chối, 03 đã tiếp nhận, 04 phân công, 05 đang xử lý, 06 hoàn thành, 13 lấy lại, 15 đồng ý, 16 từ chối lấy lại.
    #[schema(pattern = "^(0[1-6]|13|15|16)$", example = "03")]
    pub(super) code: String,
    /// In the agency's words; required with 02.
    #[serde(default)]
    #[schema(max_length = 1000)]
    pub(super) reason: String,
    /// Who dealt with it.
    #[serde(default)]
    #[schema(max_length = 1000)]
    pub(super) staff: String,
    /// The document's sender; needed where several senders used this envelope id.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = AgencyCode, required = false)]
    pub(super) sender: String,
}

/// A status on its way.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusSent {
    /// Envelope of the status itself.
    envelope: String,
    /// Its number among the agency's statuses about the document.
    sequence: u64,
}

impl From<node_v1::SetStatusReply> for StatusSent {
    fn from(reply: node_v1::SetStatusReply) -> Self {
        Self { envelope: reply.envelope, sequence: reply.sequence }
    }
}

/// A page of the outbox, newest first. It goes on while there is a `next_page_token`, even where `items` is short or empty.
#[derive(Serialize, ToSchema)]
pub(super) struct OutboxPage {
    /// The entries.
    pub(super) items: Vec<OutboxItem>,
    /// Where the list goes on.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub(super) next_page_token: String,
}

/// What was sent.
#[derive(Serialize, ToSchema)]
pub(super) struct OutboxItem {
    /// Id of its envelope.
    envelope: String,
    /// The sending agency.
    sender: String,
    /// document or status.
    kind: String,
    /// When the node accepted it.
    accepted_at: String,
    /// Trích yếu.
    subject: String,
    /// held, sending, relayed or final.
    state: String,
    /// Per recipient.
    recipients: Vec<Recipient>,
    /// What last kept it from the relay.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    last_error: String,
    /// Bytes of the payload that the relay has.
    bytes_sent: u64,
    /// Bytes of the payload.
    payload_length: u64,
    /// The document's id in edXML.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    document_id: String,
    /// What the reader of the packet noticed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
    /// What it does to earlier documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Change>,
    /// Later documents that update, replace or revoke it, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    changed_by: Vec<ChangedBy>,
}

impl From<node_v1::OutboxItem> for OutboxItem {
    fn from(item: node_v1::OutboxItem) -> Self {
        Self {
            envelope: item.envelope,
            sender: item.sender,
            kind: item.kind,
            accepted_at: item.accepted_at,
            subject: item.subject,
            state: item.state,
            recipients: item.recipients.into_iter().map(Into::into).collect(),
            last_error: item.last_error,
            bytes_sent: item.bytes_sent,
            payload_length: item.payload_length,
            document_id: item.document_id,
            warnings: item.warnings,
            change: item.change.map(Into::into),
            changed_by: item.changed_by.into_iter().map(Into::into).collect(),
        }
    }
}

/// The receipts there are, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct ReceiptList {
    /// One each.
    pub(super) items: Vec<ReceiptItem>,
    /// Business statuses about the document, by time; each is an envelope with receipts of its own.
    pub(super) statuses: Vec<StatusNote>,
}

/// A receipt.
#[derive(Serialize, ToSchema)]
pub(super) struct ReceiptItem {
    /// Names it.
    leaf_hash: String,
    /// The event, as ETSI EN 319 522-3 names it.
    event: String,
    /// Whose event: sender, relay or recipient.
    role: String,
    /// Who attests it.
    actor: String,
    /// The recipient that it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    recipient: String,
    /// When.
    time: String,
    /// It carries the certificate's signature.
    r#final: bool,
}

impl From<node_v1::ReceiptItem> for ReceiptItem {
    fn from(item: node_v1::ReceiptItem) -> Self {
        Self {
            leaf_hash: hex(&item.leaf_hash),
            event: item.event,
            role: item.role,
            actor: item.actor,
            recipient: item.recipient,
            time: item.time,
            r#final: item.r#final,
        }
    }
}

/// A text that may be left away, but says something where it stands.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Err(D::Error::custom("an empty code; leave the field away")) } else { Ok(text) }
}

fn hex(bytes: &Bytes) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
