//! Why a request of a document system was not carried out; each face puts it into its own protocol's words.

use std::time::Duration;

use truc_proto::wire_v1;

use crate::{
    pipeline::Refusal,
    quota::{Exhausted, Measure},
    shell::{WorkFailed, engine::Stopped},
};

/// Who is at fault, and what can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request cannot be understood, or lacks something.
    Invalid,
    /// Nobody knows the caller: no token, or one that is not in force.
    Unknown,
    /// The caller may not act for that agency.
    NotEntitled,
    /// The caller's role does not cover it.
    WrongRole,
    /// Nothing of that name for this caller.
    NotFound,
    /// It is not in a state for that.
    NotNow,
    /// The key of the request stands for another one.
    Reused,
    /// The caller has used up what it may use for now.
    Exhausted,
    /// Too much is open, or the disk is nearly full.
    Busy,
    /// Something it needs is away: again later.
    Unavailable,
    /// The caller went away.
    Gone,
    /// This node's own fault.
    Internal,
}

/// A request that was not carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    kind: ErrorKind,
    text: String,
    refusal: Option<Box<wire_v1::Refusal>>,
    retry_after: Option<Duration>,
}

impl Error {
    fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), refusal: None, retry_after: None }
    }

    /// Carries a refusal of the closed list.
    pub(crate) fn refused(kind: ErrorKind, refusal: &Refusal) -> Self {
        Self::of_wire(kind, refusal.to_wire())
    }

    /// As [`Error::refused`].
    pub(crate) fn of_wire(kind: ErrorKind, refusal: wire_v1::Refusal) -> Self {
        let text = format!("{} / {}", refusal.english, refusal.vietnamese);
        Self { kind, text, refusal: Some(Box::new(refusal)), retry_after: None }
    }

    pub(crate) fn unknown_caller(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unknown, text)
    }

    pub(crate) fn wrong_role(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::WrongRole, text)
    }

    pub(crate) fn forbidden(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotEntitled, text)
    }

    /// A limit of the caller's token is reached.
    pub(crate) fn exhausted(by: &Exhausted) -> Self {
        let Exhausted { what, limit, retry_after } = *by;
        let seconds = retry_after.as_secs() + 1;
        let (english, vietnamese) = match what {
            Measure::Requests => ("requests a minute", "yêu cầu mỗi phút"),
            Measure::Documents => ("documents a day", "văn bản mỗi ngày"),
            Measure::Bytes => ("bytes a day", "byte mỗi ngày"),
        };
        let text = format!(
            "this token may use {limit} {english}, and did; try again in {seconds} s, or ask the node's administrator for more (truc-node token limit) / Thẻ truy cập đã dùng hết {limit} {vietnamese}; thử lại sau {seconds} giây, hoặc xin quản trị viên của nút tăng hạn mức"
        );
        Self { retry_after: Some(Duration::from_secs(seconds)), ..Self::new(ErrorKind::Exhausted, text) }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, text)
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, text)
    }

    pub(crate) fn not_now(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotNow, text)
    }

    pub(crate) fn busy(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Busy, text)
    }

    pub(crate) fn unavailable(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, text)
    }

    pub(crate) fn gone(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Gone, text)
    }

    pub(crate) fn internal(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, text)
    }

    /// Of what kind.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// When it is worth trying again, where that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What happened, why, and who must do what: in English, behind ` / ` in Vietnamese.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The Vietnamese words alone; where a text has none, those of its kind with the English ones.
    #[must_use]
    pub fn vietnamese(&self) -> String {
        if let Some(refusal) = self.refusal.as_ref().filter(|refusal| !refusal.vietnamese.is_empty()) {
            return refusal.vietnamese.clone();
        }
        match self.text.rsplit_once(" / ") {
            Some((_, vietnamese)) => vietnamese.to_owned(),
            None => format!("{} ({})", self.kind.vietnamese(), self.text),
        }
    }

    /// For programs: the refusal, where there is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&wire_v1::Refusal> {
        self.refusal.as_deref()
    }
}

impl ErrorKind {
    const fn vietnamese(self) -> &'static str {
        match self {
            Self::Invalid => "Yêu cầu thiếu hoặc sai tham số; hãy kiểm tra lại rồi gửi lại",
            Self::Unknown => "Thẻ truy cập không đúng hoặc đã bị thu hồi; xin quản trị viên của nút cấp thẻ mới",
            Self::NotEntitled => "Hệ thống này không được thay mặt mã cơ quan đó; hãy liên hệ quản trị viên của nút",
            Self::WrongRole => "Vai trò của thẻ truy cập không được làm việc này; hãy dùng thẻ có vai trò phù hợp",
            Self::NotFound => "Không tìm thấy văn bản này",
            Self::NotNow => "Văn bản không ở trạng thái cho phép thao tác này",
            Self::Reused => "Khóa chống trùng đã dùng cho yêu cầu khác",
            Self::Exhausted => "Thẻ truy cập đã dùng hết hạn mức; hãy thử lại sau",
            Self::Busy => "Nút đang quá tải; hãy thử lại sau",
            Self::Unavailable => "Nút tạm thời chưa thực hiện được; hãy thử lại sau",
            Self::Gone => "Kết nối đã bị ngắt",
            Self::Internal => "Lỗi nội bộ của nút; hãy báo quản trị viên xem nhật ký",
        }
    }
}

impl From<Stopped> for Error {
    fn from(error: Stopped) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl From<WorkFailed> for Error {
    fn from(error: WorkFailed) -> Self {
        Self::internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_either_language_are_found_in_a_text() {
        let both = Error::not_found("there is none / Không có");
        assert_eq!(both.vietnamese(), "Không có");
        assert_eq!(both.text(), "there is none / Không có");
        let english = Error::internal("a leaf is missing");
        assert!(
            english.vietnamese().starts_with("Lỗi nội bộ") && english.vietnamese().ends_with("(a leaf is missing)")
        );
        let refused = Error::refused(ErrorKind::NotNow, &Refusal::new(truc_proto::Reason::IdReused, "used before"));
        assert_eq!(refused.vietnamese(), truc_proto::Reason::IdReused.vietnamese());
        assert_eq!(refused.refusal().map(|refusal| refusal.english.as_str()), Some("used before"));
    }
}
