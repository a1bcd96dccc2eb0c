//! What a peer hears when something is refused: a gRPC status with an encoded `Refusal` in its details, in both languages.

use prost::Message as _;
use tonic::{Code, Status};
use truc_evidence::{EvidenceError, ResolveError};
use truc_proto::{AgencyId, NodeId, Reason, StatementError, wire_v1};

use crate::{core::Refused, store::StoreError};

/// A refusal on its way to a peer.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    code: Code,
    wire: Box<wire_v1::Refusal>,
}

impl Refusal {
    /// For a reason of the closed list; `what` says what in particular.
    pub(super) fn because(reason: Reason, what: impl Into<String>) -> Self {
        let what = what.into();
        let english =
            if what.is_empty() { reason.english().to_owned() } else { format!("{} ({what})", reason.english()) };
        let wire = wire_v1::Refusal {
            reason: reason.as_str().to_owned(),
            english,
            vietnamese: reason.vietnamese().to_owned(),
            ..wire_v1::Refusal::default()
        };
        Self { code: Code::FailedPrecondition, wire: Box::new(wire) }
    }

    pub(super) fn invalid(what: impl Into<String>) -> Self {
        Self { code: Code::InvalidArgument, ..Self::because(Reason::Invalid, what) }
    }

    fn of_state(code: Code, reason: &str, english: &str, vietnamese: &str) -> Self {
        let wire = wire_v1::Refusal {
            reason: reason.into(),
            english: english.into(),
            vietnamese: vietnamese.into(),
            ..wire_v1::Refusal::default()
        };
        Self { code, wire: Box::new(wire) }
    }

    pub(super) fn no_hello() -> Self {
        Self::of_state(
            Code::FailedPrecondition,
            "hello-first",
            "Say Hello on this connection first.",
            "Phải gọi Hello trên kết nối này trước.",
        )
    }

    pub(super) fn no_directory() -> Self {
        Self::of_state(
            Code::FailedPrecondition,
            "no-directory",
            "The relay has no directory yet; the axis operator must publish version 1.",
            "Trục chưa có danh bạ; đơn vị vận hành trục phải công bố phiên bản 1.",
        )
    }

    pub(super) fn silenced() -> Self {
        Self::of_state(
            Code::Unavailable,
            "relay-behind",
            "The relay's ledger is an older copy than a peer has seen; it signs nothing until its operator has recovered it.",
            "Sổ cái của trục cũ hơn bản mà một nút đã thấy; trục không ký gì cho tới khi đơn vị vận hành khôi phục.",
        )
    }

    pub(super) fn restored(unheard: &[NodeId]) -> Self {
        const SHOWN: usize = 5;
        let mut nodes = unheard.iter().take(SHOWN).map(NodeId::as_str).collect::<Vec<_>>().join(", ");
        if unheard.len() > SHOWN {
            nodes.push_str(&format!(" (+{})", unheard.len() - SHOWN));
        }
        Self::of_state(
            Code::Unavailable,
            "relay-behind",
            &format!(
                "The relay was restored from a backup; it signs nothing before these nodes have called and shown what they hold of it: {nodes}."
            ),
            &format!(
                "Trục vừa khôi phục từ bản sao lưu; trục không ký gì cho tới khi các nút sau đã kết nối và cho biết giữ gì của trục: {nodes}."
            ),
        )
    }

    pub(super) fn new_origin() -> Self {
        Self::of_state(
            Code::Unavailable,
            "relay-behind",
            "The relay's ledger has a new origin that the directory does not name yet; the axis operator must publish it.",
            "Sổ cái của trục đã sang kỳ mới nhưng danh bạ chưa ghi; đơn vị vận hành trục phải công bố phiên bản mới.",
        )
    }

    pub(super) fn not_waiting() -> Self {
        Self::of_state(
            Code::NotFound,
            "not-waiting",
            "No such envelope waits for this node; watch for what does.",
            "Không có gói tin này đang chờ nút này; theo dõi danh sách chờ.",
        )
    }

    /// Not final: the relay may have lost it, and its sender uploads it again.
    pub(super) fn unknown_envelope() -> Self {
        Self::of_state(
            Code::NotFound,
            "unknown-envelope",
            "The relay does not know this envelope; once its sender has uploaded it again, send this once more.",
            "Trục không có gói tin này; khi bên gửi đã tải lên lại thì gửi lại bằng chứng này.",
        )
    }

    pub(super) fn offer_first() -> Self {
        Self::of_state(
            Code::FailedPrecondition,
            "offer-first",
            "No offer of this envelope is open; offer it again and go on from where the answer says.",
            "Không có đề nghị gửi đang mở cho gói tin này; đề nghị lại rồi gửi tiếp từ vị trí được trả lời.",
        )
    }

    pub(super) fn upload_busy() -> Self {
        Self::of_state(
            Code::Aborted,
            "upload-busy",
            "This payload is being uploaded over another connection; try again soon.",
            "Nội dung này đang được tải lên qua kết nối khác; hãy thử lại sau.",
        )
    }

    pub(super) fn statement(error: &StatementError) -> Self {
        let reason = if matches!(error, StatementError::TooLarge { .. }) { Reason::TooLarge } else { Reason::Invalid };
        Self { code: Code::InvalidArgument, ..Self::because(reason, error.to_string()) }
    }

    pub(super) fn resolve(error: &ResolveError) -> Self {
        let mut refusal = Self::because(error.reason(), error.to_string());
        refusal.wire.english = error.to_string();
        refusal.wire.vietnamese = error.vietnamese();
        if let ResolveError::Unknown { nearest, .. } = error {
            refusal.wire.nearest = nearest.iter().map(ToString::to_string).collect();
        }
        refusal
    }

    /// With the leaf that proves it.
    pub(super) fn with_evidence(reason: Reason, successor: Option<AgencyId>, evidence: wire_v1::ProvenLeaf) -> Self {
        let mut refusal = Self::because(reason, "");
        refusal.wire.successor = successor.map(|code| code.to_string()).unwrap_or_default();
        refusal.wire.evidence = Some(evidence);
        refusal
    }

    pub(super) fn into_wire(self) -> wire_v1::Refusal {
        *self.wire
    }
}

impl From<EvidenceError> for Refusal {
    fn from(error: EvidenceError) -> Self {
        use std::error::Error as _;
        let what = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        Self::because(error.reason(), what)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let busy = "Trục đang quá tải; hãy thử lại sau.";
        match &error {
            StoreError::Busy | StoreError::Refused(Refused::Busy) => {
                Self::of_state(Code::ResourceExhausted, "busy", &error.to_string(), busy)
            }
            StoreError::Full => Self::of_state(
                Code::ResourceExhausted,
                "full",
                &error.to_string(),
                "Đĩa của trục gần đầy; trục chưa nhận gói tin mới cho tới khi đơn vị vận hành dọn chỗ.",
            ),
            StoreError::Indeterminate => Self::of_state(
                Code::Unavailable,
                "indeterminate",
                &error.to_string(),
                "Trục dừng trước khi kịp trả lời; hãy hỏi lại khi trục hoạt động.",
            ),
            StoreError::Corrupt(what) => {
                tracing::error!(what, "the store gave something else than was put there");
                Self::of_state(
                    Code::DataLoss,
                    "corrupt",
                    "The relay's store is damaged; its operator must look into it.",
                    "Kho của trục bị hỏng; đơn vị vận hành trục phải kiểm tra.",
                )
            }
            StoreError::Refused(Refused::Forked { .. }) => Self::of_state(
                Code::FailedPrecondition,
                "forked",
                &error.to_string(),
                "Nút đã đưa ra hai lịch sử sổ cái khác nhau; trục không nhận gì từ nút này cho tới khi đơn vị vận hành xử lý.",
            ),
            StoreError::Refused(Refused::NotWaiting) => Self::not_waiting(),
            StoreError::Refused(
                Refused::VersionDoesNotFollow { .. } | Refused::NoDirectory | Refused::UnfitDeed { .. },
            ) => Self::because(Reason::Invalid, error.to_string()),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        tracing::debug!(refusal = refusal.wire.reason, "refused");
        let message = format!("{} / {}", refusal.wire.english, refusal.wire.vietnamese);
        Self::with_details(refusal.code, message, refusal.wire.encode_to_vec().into())
    }
}
