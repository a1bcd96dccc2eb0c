//! What went wrong, as `application/problem+json` (RFC 9457). The catalogue is closed: each kind has a type URI, a status, and
//! words of both languages that say what to do; `docs/ERRORS.md` is written from it.

use std::{fmt::Write as _, time::Duration};

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use truc_proto::{Reason, node_v1, wire_v1};
use utoipa::ToSchema;

use crate::service::{Error, ErrorKind};

/// Before a kind's name in its type URI.
pub const TYPE_PREFIX: &str = "urn:truc:problem:";
/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// Seconds after which what is busy or away may be asked again.
const RETRY_S: &str = "5";

/// The catalogue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// The request cannot be understood, or lacks something.
    InvalidRequest,
    /// No token, or one that is not in force.
    Unauthorised,
    /// The token does not cover that agency.
    NotEntitled,
    /// The token's role does not cover it.
    WrongRole,
    /// Nothing of that name for this token.
    NotFound,
    /// No such path.
    NoSuchPath,
    /// The path is there, the method is not.
    MethodNotAllowed,
    /// The client took too long to send.
    TooSlow,
    /// The document is not in a state for that.
    NotNow,
    /// Too large.
    TooLarge,
    /// The upload is not by the version of tus that is spoken here.
    UploadProtocol,
    /// A body of another media type is wanted.
    UnsupportedMediaType,
    /// The idempotency key stands for another request.
    KeyReused,
    /// The document is refused; `reason` says why.
    Refused,
    /// The token has used up what it may use for now.
    QuotaExceeded,
    /// This node's own fault.
    Internal,
    /// Too much is open, or the disk is nearly full.
    Busy,
    /// Something that is needed is away.
    Unavailable,
}

impl Kind {
    /// Every kind, in order of status.
    pub const ALL: &'static [Self] = &[
        Self::InvalidRequest,
        Self::Unauthorised,
        Self::NotEntitled,
        Self::WrongRole,
        Self::NotFound,
        Self::NoSuchPath,
        Self::MethodNotAllowed,
        Self::TooSlow,
        Self::NotNow,
        Self::UploadProtocol,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::KeyReused,
        Self::Refused,
        Self::QuotaExceeded,
        Self::Internal,
        Self::Busy,
        Self::Unavailable,
    ];

    /// Its name, the last part of its type URI.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid-request",
            Self::Unauthorised => "unauthorised",
            Self::NotEntitled => "not-entitled",
            Self::WrongRole => "wrong-role",
            Self::NotFound => "not-found",
            Self::NoSuchPath => "no-such-path",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::TooSlow => "too-slow",
            Self::NotNow => "not-now",
            Self::TooLarge => "too-large",
            Self::UploadProtocol => "upload-protocol",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::KeyReused => "idempotency-key-reused",
            Self::Refused => "refused",
            Self::QuotaExceeded => "quota-exceeded",
            Self::Internal => "internal",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }

    /// HTTP's status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorised => StatusCode::UNAUTHORIZED,
            Self::NotEntitled | Self::WrongRole => StatusCode::FORBIDDEN,
            Self::NotFound | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NotNow => StatusCode::CONFLICT,
            Self::UploadProtocol => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::KeyReused | Self::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Title in English and in Vietnamese.
    #[must_use]
    pub const fn titles(self) -> (&'static str, &'static str) {
        match self {
            Self::InvalidRequest => ("The request is not valid", "Yêu cầu không hợp lệ"),
            Self::Unauthorised => ("A valid token is missing", "Thiếu thẻ truy cập hợp lệ"),
            Self::NotEntitled => ("The token does not cover this agency", "Thẻ truy cập không dùng được cho mã này"),
            Self::WrongRole => {
                ("The token's role does not cover this", "Vai trò của thẻ truy cập không được làm việc này")
            }
            Self::NotFound => ("There is no such thing", "Không tìm thấy"),
            Self::NoSuchPath => ("There is no such path", "Không có đường dẫn này"),
            Self::MethodNotAllowed => ("This path has no such method", "Đường dẫn này không có phương thức đó"),
            Self::TooSlow => ("The request came too slowly", "Yêu cầu gửi lên quá chậm"),
            Self::NotNow => ("Not possible in this state", "Chưa thực hiện được ở trạng thái này"),
            Self::UploadProtocol => ("Another version of the upload protocol", "Khác phiên bản giao thức tải lên"),
            Self::TooLarge => ("Too large", "Quá dung lượng cho phép"),
            Self::UnsupportedMediaType => ("Another media type is wanted", "Sai kiểu nội dung"),
            Self::KeyReused => ("The idempotency key was used before", "Khóa chống trùng đã dùng cho yêu cầu khác"),
            Self::Refused => ("The document is refused", "Văn bản bị từ chối"),
            Self::QuotaExceeded => ("The token's limit is reached", "Thẻ truy cập đã hết hạn mức"),
            Self::Internal => ("The node failed", "Nút gặp lỗi"),
            Self::Busy => ("The node is full", "Nút đang quá tải"),
            Self::Unavailable => ("Not available now", "Tạm thời chưa thực hiện được"),
        }
    }

    /// Who does what next, in English and in Vietnamese.
    #[must_use]
    pub const fn advice(self) -> (&'static str, &'static str) {
        match self {
            Self::InvalidRequest => (
                "Correct what `detail` names; the same request will be refused again.",
                "Sửa chỗ mà `detail` nêu; gửi lại nguyên như cũ sẽ vẫn bị từ chối.",
            ),
            Self::Unauthorised => (
                "Send `Authorization: Bearer <token>`; the node's administrator makes tokens with `truc-node token add`.",
                "Gửi kèm `Authorization: Bearer <thẻ>`; quản trị viên của nút tạo thẻ bằng `truc-node token add`.",
            ),
            Self::NotEntitled => (
                "Use a token that covers the agency, or ask the node's administrator for one.",
                "Dùng thẻ có quyền với mã đó, hoặc xin quản trị viên của nút cấp.",
            ),
            Self::WrongRole => (
                "Use a token of a role that `detail` names, or ask the node's administrator for one (`truc-node token add --role`).",
                "Dùng thẻ có vai trò mà `detail` nêu, hoặc xin quản trị viên của nút cấp (`truc-node token add --role`).",
            ),
            Self::NotFound => (
                "Check the id, and whose token is used: what belongs to other agencies is not shown.",
                "Kiểm tra mã, và thẻ đang dùng là của cơ quan nào: tài liệu của cơ quan khác không hiện ra.",
            ),
            Self::NoSuchPath => {
                ("See `/api/v1/docs` for the paths there are.", "Xem các đường dẫn hiện có tại `/api/v1/docs`.")
            }
            Self::MethodNotAllowed => {
                ("The header `Allow` names the methods.", "Xem các phương thức ở tiêu đề `Allow`.")
            }
            Self::TooSlow => (
                "Send again; check the network between document system and node.",
                "Gửi lại; kiểm tra đường truyền giữa hệ thống và nút.",
            ),
            Self::NotNow => (
                "`detail` says which state it is in and what is possible.",
                "`detail` cho biết trạng thái hiện tại và việc có thể làm.",
            ),
            Self::UploadProtocol => (
                "Send `Tus-Resumable: 1.0.0`; `Tus-Version` names the version that is spoken (https://tus.io/protocols/resumable-upload).",
                "Gửi kèm `Tus-Resumable: 1.0.0`; `Tus-Version` cho biết phiên bản được hỗ trợ (https://tus.io/protocols/resumable-upload).",
            ),
            Self::TooLarge => ("Make it smaller, or split it.", "Giảm dung lượng hoặc chia nhỏ."),
            Self::UnsupportedMediaType => {
                ("Send the `Content-Type` that the operation names.", "Gửi đúng `Content-Type` mà thao tác yêu cầu.")
            }
            Self::KeyReused => (
                "A key stands for one request for ever: send the new document under a new key.",
                "Mỗi khóa chỉ dùng cho một yêu cầu: gửi văn bản mới bằng khóa mới.",
            ),
            Self::Refused => (
                "`reason` is of the list below; correct the document or the recipients and send under a new key.",
                "`reason` thuộc danh sách bên dưới; sửa văn bản hoặc nơi nhận rồi gửi lại bằng khóa mới.",
            ),
            Self::QuotaExceeded => (
                "Send again later, under the same key; `Retry-After` says when. `GET /api/v1/token` shows the limits; the node's administrator changes them with `truc-node token limit`.",
                "Gửi lại sau với cùng khóa; tiêu đề `Retry-After` cho biết khi nào. `GET /api/v1/token` cho biết hạn mức; quản trị viên của nút thay đổi bằng `truc-node token limit`.",
            ),
            Self::Internal => (
                "Send again under the same key; if it stays, the node's administrator finds the reason in the log.",
                "Gửi lại với cùng khóa; nếu vẫn lỗi, quản trị viên của nút xem nhật ký.",
            ),
            Self::Busy => (
                "Send again later, under the same key; `Retry-After` says when.",
                "Gửi lại sau với cùng khóa; tiêu đề `Retry-After` cho biết khi nào.",
            ),
            Self::Unavailable => (
                "Send again later, under the same key; `detail` says what is away.",
                "Gửi lại sau với cùng khóa; `detail` cho biết thiếu gì.",
            ),
        }
    }
}

/// A problem on its way to the client.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    kind: Kind,
    english: String,
    vietnamese: String,
    refusal: Option<Box<wire_v1::Refusal>>,
    rejection: Option<String>,
    retry_after: Option<Duration>,
}

impl Problem {
    pub(super) fn new(kind: Kind, english: impl Into<String>, vietnamese: impl Into<String>) -> Self {
        Self {
            kind,
            english: english.into(),
            vietnamese: vietnamese.into(),
            refusal: None,
            rejection: None,
            retry_after: None,
        }
    }

    /// In the words of the catalogue alone.
    pub(super) fn of(kind: Kind) -> Self {
        let (english, vietnamese) = kind.advice();
        Self::new(kind, english, vietnamese)
    }

    pub(super) fn invalid(english: impl Into<String>, vietnamese: impl Into<String>) -> Self {
        Self::new(Kind::InvalidRequest, english, vietnamese)
    }

    /// Of a Send that was refused.
    pub(super) fn refused(reply: node_v1::SendReply) -> Self {
        let refusal = reply.refused.unwrap_or_default();
        let kind = match refusal.reason.parse() {
            Ok(Reason::IdReused) => Kind::KeyReused,
            Ok(Reason::NotEntitled) => Kind::NotEntitled,
            Ok(Reason::TooLarge) => Kind::TooLarge,
            _ => Kind::Refused,
        };
        let rejection = (!reply.rejection.is_empty()).then(|| data_encoding::HEXLOWER.encode(&reply.rejection));
        Self {
            kind,
            english: refusal.english.clone(),
            vietnamese: refusal.vietnamese.clone(),
            refusal: Some(Box::new(refusal)),
            rejection,
            retry_after: None,
        }
    }

    /// Of the catalogue.
    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    fn details(self, language: Language) -> Details {
        let Self { kind, english, vietnamese, refusal, rejection, retry_after: _ } = self;
        let (title_en, title_vi) = kind.titles();
        let en = Words { title: title_en.to_owned(), detail: english };
        let vi = Words { title: title_vi.to_owned(), detail: vietnamese };
        let shown = match language {
            Language::Vietnamese => vi.clone(),
            Language::English => en.clone(),
        };
        let refusal = refusal.map(|refusal| *refusal).unwrap_or_default();
        Details {
            r#type: format!("{TYPE_PREFIX}{}", kind.name()),
            status: kind.status().as_u16(),
            title: shown.title,
            detail: shown.detail,
            vi,
            en,
            reason: refusal.reason,
            successor: refusal.successor,
            nearest: refusal.nearest,
            rejection: rejection.unwrap_or_default(),
        }
    }

    /// The answer, in the language that the client prefers.
    pub(super) fn render(self, request: &HeaderMap) -> Response {
        let (kind, retry_after, language) = (self.kind, self.retry_after, Language::preferred(request));
        let body = serde_json::to_vec(&self.details(language)).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
        } else if matches!(kind, Kind::Busy | Kind::Unavailable) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_S));
        }
        if kind == Kind::UploadProtocol {
            headers.insert("tus-version", HeaderValue::from_static(super::uploads::VERSION));
        }
        if kind == Kind::Unauthorised {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"truc\""));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Invalid => Kind::InvalidRequest,
            ErrorKind::Unknown => Kind::Unauthorised,
            ErrorKind::Exhausted => Kind::QuotaExceeded,
            ErrorKind::NotEntitled => Kind::NotEntitled,
            ErrorKind::WrongRole => Kind::WrongRole,
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::NotNow => Kind::NotNow,
            ErrorKind::Reused => Kind::KeyReused,
            ErrorKind::Busy => Kind::Busy,
            // The caller that is gone reads no answer.
            ErrorKind::Unavailable | ErrorKind::Gone => Kind::Unavailable,
            ErrorKind::Internal => Kind::Internal,
        };
        let english = match error.refusal() {
            Some(refusal) => refusal.english.clone(),
            None => error.text().rsplit_once(" / ").map_or(error.text(), |(english, _)| english).to_owned(),
        };
        let refusal = error.refusal().cloned().map(Box::new);
        let retry_after = error.retry_after();
        Self { kind, english, vietnamese: error.vietnamese(), refusal, rejection: None, retry_after }
    }
}

/// Rendered by the outermost layer, which knows the client's language.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Language {
    Vietnamese,
    English,
}

impl Language {
    const fn tag(self) -> &'static str {
        match self {
            Self::Vietnamese => "vi",
            Self::English => "en",
        }
    }

    /// By `Accept-Language` (RFC 9110 12.5.4); Vietnamese unless English is wanted more.
    fn preferred(request: &HeaderMap) -> Self {
        let header = request.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut weights = (0.0_f32, 0.0_f32); // Vietnamese, English
        for range in header.split(',').take(32) {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse::<f32>().ok());
            let weight = weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0);
            match tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "vi" => weights.0 = weights.0.max(weight),
                "en" => weights.1 = weights.1.max(weight),
                _ => {}
            }
        }
        if weights.1 > weights.0 { Self::English } else { Self::Vietnamese }
    }
}

/// What went wrong and what to do (RFC 9457). `title` and `detail` are in the language that `Accept-Language` prefers, Vietnamese
/// where it says nothing; `vi` and `en` hold both.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Details {
    /// URI of the kind of problem; `docs/ERRORS.md` lists them all.
    #[schema(example = "urn:truc:problem:not-found")]
    r#type: String,
    /// HTTP's status.
    status: u16,
    /// The kind in short.
    title: String,
    /// What happened, why, and who must do what next.
    detail: String,
    /// In Vietnamese.
    vi: Words,
    /// In English.
    en: Words,
    /// Where a document is refused: why, by the list of `docs/ERRORS.md`.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false, example = "closed-code")]
    reason: String,
    /// Who took over from a code that is closed.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    successor: String,
    /// Codes like one that nobody has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    nearest: Vec<String>,
    /// Leaf hash of the receipt of the refusal, where there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    rejection: String,
}

/// Words in one language.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Words {
    /// The kind in short.
    title: String,
    /// What happened, why, and who must do what next.
    detail: String,
}

/// `docs/ERRORS.md`.
#[must_use]
pub fn catalogue() -> String {
    let mut text = String::from(
        "# Problems of the REST API\n\n\
         Every answer that is no success is `application/problem+json` (RFC 9457). `type` is the URI below; `title` and `detail` are in the \
         language that `Accept-Language` prefers (Vietnamese where it says nothing); `vi` and `en` hold both. Programs decide by `type` and \
         `reason`, people read `detail`. This file is written from the code; a test compares them.\n",
    );
    for kind in Kind::ALL {
        let ((title_en, title_vi), (english, vietnamese)) = (kind.titles(), kind.advice());
        let (name, status) = (kind.name(), kind.status().as_u16());
        let _ = write!(
            text,
            "\n## `{TYPE_PREFIX}{name}` – {status}\n\n{title_en}. {english}\n\n{title_vi}. {vietnamese}\n"
        ); // into a String: never fails
    }
    text.push_str(
        "\n## Reasons of a refusal\n\n`reason` of a refused document, and of a recipient whose delivery failed.\n\n\
         | `reason` | English | Tiếng Việt |\n|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let _ = writeln!(text, "| `{reason}` | {} | {} |", reason.english(), reason.vietnamese()); // as above
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_in_the_documentation_is_the_one_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ERRORS.md");
        if std::env::var_os("TRUC_WRITE_DOCS").is_some() {
            std::fs::write(path, catalogue()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(written == catalogue(), "run this test with TRUC_WRITE_DOCS=1 and commit docs/ERRORS.md");
    }

    #[test]
    fn the_language_is_the_clients_and_vietnamese_without_one() {
        #[track_caller]
        fn check(header: &str, expected: Language) {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_str(header).unwrap());
            assert_eq!(Language::preferred(&headers), expected, "{header}");
        }
        assert_eq!(Language::preferred(&HeaderMap::new()), Language::Vietnamese);
        check("en", Language::English);
        check("en-GB,en;q=0.9,vi;q=0.5", Language::English);
        check("vi-VN,vi;q=0.9,en;q=0.8", Language::Vietnamese);
        check("fr, en;q=0.2", Language::English);
        check("en;q=2, *;q=x, ;;;,", Language::Vietnamese);
        check("de", Language::Vietnamese);
    }

    #[test]
    fn a_refusal_says_why_in_both_languages_and_to_whom_to_send_instead() {
        let refusal = wire_v1::Refusal {
            reason: "closed-code".into(),
            english: "H02 closed".into(),
            vietnamese: "H02 đã đóng".into(),
            successor: "H05".into(),
            ..wire_v1::Refusal::default()
        };
        let reply =
            node_v1::SendReply { refused: Some(refusal), rejection: vec![0xab; 32].into(), ..Default::default() };
        let details = serde_json::to_value(Problem::refused(reply).details(Language::English)).unwrap();
        assert_eq!(details["type"], "urn:truc:problem:refused");
        assert_eq!((&details["status"], &details["detail"]), (&422.into(), &"H02 closed".into()));
        assert_eq!((&details["vi"]["detail"], &details["successor"]), (&"H02 đã đóng".into(), &"H05".into()));
        assert_eq!(details["rejection"], "ab".repeat(32));
    }
}
