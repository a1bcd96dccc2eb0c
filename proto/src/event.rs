//! Evidence: what an actor writes into its own ledger about an envelope.
//!
//! Event names are those of ETSI EN 319 522-3; vocabulary only, no conformance is claimed.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{AgencyId, Digest, EnvelopeId, NodeId, Statement, Timestamp, ids::closed, limits::RECIPIENTS_MAX};

closed! {
    /// The event, by its full URI.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    EventUri, "an event URI of ETSI EN 319 522-3 that this axis uses" {
        /// The sender's node has sealed the document and answers for it.
        SubmissionAcceptance = "http://uri.etsi.org/19522/Event/SubmissionAcceptance",
        /// A request was refused before an envelope existed.
        SubmissionRejection = "http://uri.etsi.org/19522/Event/SubmissionRejection",
        /// The relay, or the recipient's node, has the sealed envelope on its device.
        RelayAcceptance = "http://uri.etsi.org/19522/Event/RelayAcceptance",
        /// The relay refuses the envelope.
        RelayRejection = "http://uri.etsi.org/19522/Event/RelayRejection",
        /// The relay could not deliver in time.
        RelayFailure = "http://uri.etsi.org/19522/Event/RelayFailure",
        /// The recipient's node opened and checked the content and made it available.
        ContentConsignment = "http://uri.etsi.org/19522/Event/ContentConsignment",
        /// The recipient's node could not open or refused the content.
        ContentConsignmentFailure = "http://uri.etsi.org/19522/Event/ContentConsignmentFailure",
        /// The agency's document system confirmed that it took the document.
        ContentHandover = "http://uri.etsi.org/19522/Event/ContentHandover",
        /// The document system did not take the document.
        ContentHandoverFailure = "http://uri.etsi.org/19522/Event/ContentHandoverFailure",
        /// Passed on to a system without sealing and signed receipts.
        RelayToNonErds = "http://uri.etsi.org/19522/Event/RelayToNonERDS",
        /// Came from such a system.
        ReceivedFromNonErds = "http://uri.etsi.org/19522/Event/ReceivedFromNonERDS",
    }
}

impl EventUri {
    /// The last part of the URI, e.g. `ContentConsignment`: what people read.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.as_str().rsplit('/').next().unwrap_or(self.as_str())
    }

    /// What happened, in Vietnamese, as its actor in this role states it.
    #[must_use]
    pub const fn vietnamese(self, role: Role) -> &'static str {
        match (self, role) {
            (Self::SubmissionAcceptance, _) => "Bên gửi đã ký, niêm phong và chịu trách nhiệm gửi",
            (Self::SubmissionRejection, _) => "Yêu cầu gửi bị từ chối trước khi lập gói tin",
            (Self::RelayAcceptance, Role::Recipient) => "Nút của nơi nhận đã nhận gói tin còn niêm phong",
            (Self::RelayAcceptance, _) => "Trục đã nhận gói tin còn niêm phong",
            (Self::RelayRejection, _) => "Trục từ chối gói tin",
            (Self::RelayFailure, _) => "Trục đã nhận nhưng không chuyển tới được",
            (Self::ContentConsignment, _) => "Nơi nhận đã mở, kiểm tra và có văn bản",
            (Self::ContentConsignmentFailure, _) => "Nơi nhận không mở được hoặc từ chối nội dung",
            (Self::ContentHandover, _) => "Hệ thống quản lý văn bản của nơi nhận đã tiếp nhận",
            (Self::ContentHandoverFailure, _) => "Hệ thống quản lý văn bản của nơi nhận từ chối",
            (Self::RelayToNonErds, _) => "Đã chuyển sang trục hiện hành",
            (Self::ReceivedFromNonErds, _) => "Đã nhận từ trục hiện hành",
        }
    }

    /// What people must know of an event at the border to a system without sealing and receipts, in English and Vietnamese.
    #[must_use]
    pub const fn border(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::RelayToNonErds => Some((
                "passed on to today's axis: no sealing, no signed receipt beyond this point",
                "Đã chuyển sang trục hiện hành: từ điểm này không được niêm phong, không có giấy báo nhận ký số",
            )),
            Self::ReceivedFromNonErds => Some((
                "came from today's axis: not sealed, no signed receipt before this point",
                "Đến từ trục hiện hành: trước điểm này không được niêm phong, không có giấy báo nhận ký số",
            )),
            _ => None,
        }
    }
}

closed! {
    /// In which role an actor speaks. States key on (event URI, role).
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    Role, "a role: `sender`, `relay` or `recipient`" {
        /// The sending agency's node.
        Sender = "sender",
        /// The relay.
        Relay = "relay",
        /// A receiving agency's node.
        Recipient = "recipient",
    }
}

closed! {
    /// Why something was refused or failed: a closed list. Texts for people: [`Reason::vietnamese`], [`Reason::english`].
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    Reason, "a reason code of docs/FORMATS.md" {
        /// The recipient's code is not in the directory.
        UnknownCode = "unknown-code",
        /// The recipient's code is closed.
        ClosedCode = "closed-code",
        /// The sender may not use this code.
        NotEntitled = "not-entitled",
        /// Another lane, axis or network.
        WrongLane = "wrong-lane",
        /// Secrecy level that this lane does not carry.
        LevelRefused = "level-refused",
        /// Same id, other content.
        IdReused = "id-reused",
        /// A signature, proof, hash or field does not hold.
        Invalid = "invalid",
        /// A certificate is expired, revoked or of the wrong use.
        CertificateRefused = "certificate-refused",
        /// The recipient has no key that opens it.
        CannotOpen = "cannot-open",
        /// The opened content is not what was announced.
        ContentMismatch = "content-mismatch",
        /// The content's form is refused (hostile XML or ZIP, uncovered entry).
        ContentRefused = "content-refused",
        /// Not delivered before it expired.
        Expired = "expired",
        /// The id is older than the longest life of an envelope.
        TooOld = "too-old",
        /// Its time lies more than five minutes ahead.
        FromFuture = "from-future",
        /// Too large for the receiving side.
        TooLarge = "too-large",
        /// Another envelope for the same document and recipient is already final.
        Superseded = "superseded",
        /// The document system refused it (text in the details).
        RefusedBySystem = "refused-by-system",
        /// Withdrawn by the sender before it left.
        Withdrawn = "withdrawn",
        /// Today's axis refused it (its words in the details).
        RefusedByLegacy = "refused-by-legacy",
        /// Given to today's axis, which neither answered nor shows it: it may have been delivered.
        LegacyInDoubt = "legacy-in-doubt",
        /// The signing key or the directory does not allow sending now.
        HeldTooLong = "held-too-long",
    }
}

impl Reason {
    /// What happened and what to do, in Vietnamese.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::UnknownCode => "Mã định danh nơi nhận không có trong danh bạ; kiểm tra lại mã.",
            Self::ClosedCode => "Mã định danh nơi nhận đã đóng; gửi tới mã kế thừa.",
            Self::NotEntitled => {
                "Nút gửi không được dùng mã định danh này; đề nghị đơn vị vận hành trục kiểm tra danh bạ."
            }
            Self::WrongLane => "Sai luồng hoặc sai trục; gửi bằng nút thuộc đúng luồng.",
            Self::LevelRefused => "Độ mật không được phép trên luồng này; gửi theo quy định về bí mật nhà nước.",
            Self::IdReused => "Mã gói tin đã dùng cho nội dung khác; bên gửi phải tạo gói tin mới.",
            Self::Invalid => "Chữ ký, bằng chứng hoặc trường dữ liệu không hợp lệ; bên gửi kiểm tra phần mềm.",
            Self::CertificateRefused => {
                "Chứng thư số hết hạn, bị thu hồi hoặc sai mục đích; quản trị viên mật mã bên gửi thay chứng thư."
            }
            Self::CannotOpen => "Bên nhận không có khóa để mở; bên gửi mã hóa lại theo chứng thư mới.",
            Self::ContentMismatch => "Nội dung mở ra không khớp với thông tin đã ký; không tiếp nhận.",
            Self::ContentRefused => "Nội dung có dạng không an toàn; bên gửi tạo lại gói tin.",
            Self::Expired => "Không giao được trước khi hết hạn; bên gửi liên hệ nơi nhận rồi gửi lại.",
            Self::TooOld => "Gói tin cũ hơn thời hạn cho phép; bên gửi tạo gói tin mới.",
            Self::FromFuture => "Thời gian của gói tin ở tương lai; chỉnh lại đồng hồ máy gửi.",
            Self::TooLarge => "Gói tin vượt quá dung lượng cho phép; chia nhỏ tệp đính kèm.",
            Self::Superseded => "Văn bản này đã có gói tin khác kết thúc cho nơi nhận; không cần làm gì.",
            Self::RefusedBySystem => "Hệ thống quản lý văn bản từ chối; xem lý do kèm theo.",
            Self::Withdrawn => "Bên gửi đã lấy lại trước khi chuyển đi.",
            Self::RefusedByLegacy => "Trục hiện hành từ chối; xem lý do kèm theo, sửa rồi gửi lại.",
            Self::LegacyInDoubt => {
                "Đã gửi sang trục hiện hành nhưng không có trả lời và danh sách đã gửi của trục không có: có thể đã đến. Hỏi nơi nhận trước khi gửi lại."
            }
            Self::HeldTooLong => "Không ký được trong thời hạn; kiểm tra khóa ký và danh bạ rồi gửi lại.",
        }
    }

    /// What happened and what to do, in English.
    #[must_use]
    pub const fn english(self) -> &'static str {
        match self {
            Self::UnknownCode => "The recipient's code is not in the directory; check the code.",
            Self::ClosedCode => "The recipient's code is closed; send to its successor.",
            Self::NotEntitled => {
                "The sending node may not use this code; ask the axis operator to check the directory."
            }
            Self::WrongLane => "Wrong lane or axis; send from a node of the right lane.",
            Self::LevelRefused => "This lane does not carry that secrecy level; follow the state-secrets rules.",
            Self::IdReused => "The envelope id was used for other content; the sender must make a new envelope.",
            Self::Invalid => "A signature, proof or field does not hold; the sender must check its software.",
            Self::CertificateRefused => {
                "A certificate is expired, revoked or of the wrong use; the sender's cipher administrator must replace it."
            }
            Self::CannotOpen => {
                "The recipient has no key that opens it; the sender must seal again to the present certificate."
            }
            Self::ContentMismatch => "The opened content is not what was signed; it is not accepted.",
            Self::ContentRefused => "The content's form is unsafe; the sender must make the packet again.",
            Self::Expired => "Not delivered before it expired; contact the recipient and send again.",
            Self::TooOld => "Older than the longest life of an envelope; make a new one.",
            Self::FromFuture => "Its time lies in the future; set the sender's clock.",
            Self::TooLarge => "Larger than the receiving side allows; split the attachments.",
            Self::Superseded => "Another envelope for this document and recipient is final already; nothing to do.",
            Self::RefusedBySystem => "The document system refused it; see the reason given.",
            Self::Withdrawn => "The sender withdrew it before it left.",
            Self::RefusedByLegacy => "Today's axis refused it; see its words, correct and send again.",
            Self::LegacyInDoubt => {
                "Given to today's axis, which did not answer and does not list it: it may have arrived. Ask the recipient before sending again."
            }
            Self::HeldTooLong => {
                "It could not be signed in time; check the signing key and the directory, then send again."
            }
        }
    }
}

/// Who speaks: the node whose ledger it is, in a role, for an agency code (the relay speaks for none).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Actor {
    /// The agency whose code is used; absent for the relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<AgencyId>,
    /// The node or relay whose ledger holds the leaf.
    pub node: NodeId,
    /// The role.
    pub role: Role,
}

impl Actor {
    fn check(&self) -> Result<(), String> {
        match (self.role, &self.code) {
            (Role::Relay, Some(_)) => Err("the relay speaks for no agency code".into()),
            (Role::Sender | Role::Recipient, None) => Err(format!("an actor in the role {} names its code", self.role)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{code} ({} at {})", self.role, self.node),
            None => write!(f, "{} ({})", self.node, self.role),
        }
    }
}

/// The directory version an actor relied on, and its own entry there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DirectoryRef {
    /// The directory's version.
    pub version: u64,
    /// Its Merkle root.
    pub root: Digest,
    /// The leaf hash of the actor's code entry.
    pub entry: Digest,
}

/// The sender's SubmissionAcceptance: a leaf of its ledger, uploaded to the relay with proof and checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Submission {
    /// Always [`EventUri::SubmissionAcceptance`].
    pub event: EventUri,
    /// The sending agency and node.
    pub actor: Actor,
    /// When the node accepted the document.
    pub time: Timestamp,
    /// The envelope's id.
    pub envelope: EnvelopeId,
    /// SHA-256 of the preamble's bytes.
    pub preamble: Digest,
    /// SHA-256 of the sealed payload.
    pub payload: Digest,
    /// Length of the sealed payload in bytes.
    pub payload_length: u64,
    /// The content commitment (docs/FORMATS.md).
    pub commitment: Digest,
    /// SHA-256 of every key envelope, by recipient. Empty when all recipients are reached through today's axis.
    pub key_envelopes: BTreeMap<AgencyId, Digest>,
    /// The directory the sender relied on.
    pub directory: DirectoryRef,
}

impl Statement for Submission {
    const TYPE: &'static str = "submission";

    fn check(&self) -> Result<(), String> {
        self.actor.check()?;
        if self.event != EventUri::SubmissionAcceptance || self.actor.role != Role::Sender {
            return Err("a submission is a SubmissionAcceptance by the sender".into());
        }
        if self.key_envelopes.len() > RECIPIENTS_MAX {
            return Err(format!("a submission has at most {RECIPIENTS_MAX} key envelopes"));
        }
        Ok(())
    }
}

/// One fact about an envelope, a leaf of the actor's ledger.
///
/// The relay writes one RelayAcceptance per envelope (no recipient), the recipient one per code; all later events
/// are per code. A SubmissionRejection has no envelope hashes but the hash of the refused request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub event: EventUri,
    /// Who says so.
    pub actor: Actor,
    /// When, by the actor's clock.
    pub time: Timestamp,
    /// The envelope. Absent only in a SubmissionRejection of a request that never became one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<EnvelopeId>,
    /// The sending agency.
    pub sender: AgencyId,
    /// The receiving agency this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<AgencyId>,
    /// Leaf hash of the submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<Digest>,
    /// SHA-256 of the preamble's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preamble: Option<Digest>,
    /// SHA-256 of the sealed payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Digest>,
    /// The content commitment: as claimed by the submission, and in a consignment as recomputed by the recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commitment: Option<Digest>,
    /// SHA-256 of the key envelope handed over or asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_envelope: Option<Digest>,
    /// Why, where something was refused or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// SHA-256(32-byte salt ‖ details), where details exist that are not for everyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Digest>,
    /// In a SubmissionRejection, SHA-256 of the refused request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Digest>,
    /// The successor of a closed code, where the relay knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<AgencyId>,
}

impl Event {
    const fn is_refusal(&self) -> bool {
        matches!(
            self.event,
            EventUri::SubmissionRejection
                | EventUri::RelayRejection
                | EventUri::RelayFailure
                | EventUri::ContentConsignmentFailure
                | EventUri::ContentHandoverFailure
        )
    }

    fn check_role(&self) -> Result<(), String> {
        use EventUri as E;
        let allowed: &[Role] = match self.event {
            E::SubmissionAcceptance => return Err("a SubmissionAcceptance is a `submission`".into()),
            E::SubmissionRejection => &[Role::Sender],
            E::RelayAcceptance => &[Role::Relay, Role::Recipient],
            E::RelayRejection | E::RelayFailure => &[Role::Relay],
            E::ContentConsignment | E::ContentConsignmentFailure | E::ContentHandover | E::ContentHandoverFailure => {
                &[Role::Recipient]
            }
            // The node that passes it on is the sender's, the one that takes it over the recipient's: nobody states either for another.
            E::RelayToNonErds => &[Role::Sender],
            E::ReceivedFromNonErds => &[Role::Recipient],
        };
        if allowed.contains(&self.actor.role) {
            return Ok(());
        }
        Err(format!("a {} is not written in the role {}", self.event.name(), self.actor.role))
    }
}

impl Statement for Event {
    const TYPE: &'static str = "event";

    fn check(&self) -> Result<(), String> {
        self.actor.check()?;
        self.check_role()?;
        if self.is_refusal() != self.reason.is_some() {
            return Err(format!(
                "a {} {} a reason",
                self.event.name(),
                if self.is_refusal() { "needs" } else { "has no" }
            ));
        }
        if self.event == EventUri::SubmissionRejection {
            return if self.request.is_some() {
                Ok(())
            } else {
                Err("a SubmissionRejection names the refused request".into())
            };
        }
        // What came from today's axis was never submitted here.
        let submission = self.submission.is_some() || self.event == EventUri::ReceivedFromNonErds;
        let hashes = [&self.preamble, &self.payload, &self.commitment];
        if !submission || self.envelope.is_none() || hashes.iter().any(|h| h.is_none()) {
            return Err(format!(
                "a {} names envelope, submission, preamble, payload and commitment",
                self.event.name()
            ));
        }
        match self.actor.role {
            Role::Recipient if self.recipient.is_none() || self.recipient != self.actor.code => {
                Err("a recipient speaks about its own code".into())
            }
            Role::Sender if self.event == EventUri::RelayToNonErds && self.recipient.is_none() => {
                Err("a RelayToNonERDS names the agency it was passed on for".into())
            }
            Role::Sender if self.actor.code.as_ref() != Some(&self.sender) => {
                Err("a sender speaks for its own code".into())
            }
            _ => Ok(()),
        }
    }
}

/// The relay's leaf about evidence it received: when it came, and whether that was late.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Arrival {
    /// Leaf hash of the evidence in its actor's ledger.
    pub leaf: Digest,
    /// The node it came from.
    pub node: NodeId,
    /// The envelope it is about.
    pub envelope: EnvelopeId,
    /// When it arrived, by the relay's clock.
    pub time: Timestamp,
    /// True when the envelope had already failed or the evidence is older than it should be.
    pub late: bool,
}

impl Statement for Arrival {
    const TYPE: &'static str = "arrival";
}

/// The relay's leaf about a checkpoint of a node that it cosigned: whoever sees the relay's ledger sees every node's history in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LoggedCheckpoint {
    /// Whose ledger.
    pub node: NodeId,
    /// Its origin.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// When, by the relay's clock.
    pub time: Timestamp,
}

impl Statement for LoggedCheckpoint {
    const TYPE: &'static str = "checkpoint";
}
