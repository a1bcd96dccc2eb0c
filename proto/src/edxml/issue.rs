//! What a packet of our own must fulfil before it may leave: required fields, lengths, codes of the form we issue.
//!
//! Reading warns of the same things and goes on; issuing refuses and lists every problem at once.

use std::fmt;

use super::{
    date::DateError,
    element::Element,
    model::{Attachment, BusinessKind, Message, Organization, Packet, ResponseFor, StatusPacket},
    reader::Parsed,
    to_element::header_element,
    warning::WarningKind,
};
use crate::{ForeignCode, StatusCode, limits::RECIPIENTS_MAX};

/// Longest texts in characters, by element (or parent/element). Sources disagree on them, so they are a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldLengths(Vec<(String, usize)>);

impl Default for FieldLengths {
    /// The bounds that validators met on the axis use.
    fn default() -> Self {
        let usual = [
            ("OrganName", 200),
            ("OrganizationInCharge", 500),
            ("OrganAdd", 500),
            ("Email", 100),
            ("Telephone", 50),
            ("CodeNumber", 11),
            ("CodeNotation", 30),
            ("PromulgationInfo/Place", 50),
            ("TypeName", 100),
            ("Subject", 500),
            ("MessageHeader/Content", 500),
            ("Competence", 100),
            ("SignerInfo/Position", 100),
            ("FullName", 50),
            ("BussinessDocReason", 500),
            ("AttachmentName", 500),
            ("DocumentId", 200),
        ];
        Self(usual.map(|(name, max)| (name.to_owned(), max)).into())
    }
}

impl FieldLengths {
    /// With another bound for one element (`Subject`) or an element of one parent (`PromulgationInfo/Place`).
    #[must_use]
    pub fn with(mut self, element: &str, characters_max: usize) -> Self {
        self.0.insert(0, (element.to_owned(), characters_max));
        self
    }

    /// The bound of the element at a path.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<usize> {
        let mut names = path.rsplit('/').map(|name| name.split('[').next().unwrap_or(name));
        let (name, parent) = (names.next()?, names.next().unwrap_or_default());
        let fits = |key: &str| match key.split_once('/') {
            Some((wanted_parent, wanted)) => wanted == name && wanted_parent == parent,
            None => key == name,
        };
        self.0.iter().find(|(key, _)| fits(key)).map(|(_, max)| *max)
    }
}

/// Why a packet may not be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the packet may not be issued: {}", Listed(problems))]
pub struct IssueError {
    /// All problems, in document order.
    pub problems: Vec<IssueProblem>,
}

impl IssueError {
    /// The same message for a Vietnamese reader.
    #[must_use]
    pub fn vietnamese(&self) -> String {
        let problems: Vec<String> = self.problems.iter().map(IssueProblem::vietnamese).collect();
        format!("Chưa được phát hành gói tin: {}", problems.join("; "))
    }
}

struct Listed<'a>(&'a [IssueProblem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// One reason why a packet may not be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueProblem {
    /// A required field is missing.
    #[error("{0} is missing: fill it in")]
    Missing(String),
    /// Longer than receivers' validators allow.
    #[error("{path} has {characters} characters, receivers allow {max}: shorten it")]
    TooLong {
        /// The field.
        path: String,
        /// How long it is.
        characters: usize,
        /// How long it may be.
        max: usize,
    },
    /// A code of a form we do not issue.
    #[error("{path} is {code}, a form that is received but not issued: use the code of the directory")]
    Code {
        /// The field.
        path: String,
        /// The code.
        code: ForeignCode,
    },
    /// No day or time that exists.
    #[error("{path} is {text:?}, {DateError}: correct it")]
    Date {
        /// The field.
        path: String,
        /// The text.
        text: String,
    },
    /// A character XML cannot carry.
    #[error("{0} holds a control character: remove it")]
    Character(String),
    /// More recipients than one envelope takes.
    #[error("the packet names more than {RECIPIENTS_MAX} recipients: split it")]
    TooManyRecipients,
    /// Addressed twice.
    #[error("{0} is addressed twice: name it once")]
    Twice(ForeignCode),
    /// A status nobody knows.
    #[error("status {0} is none of 01, 02, 03, 04, 05, 06, 13, 15, 16: choose one")]
    Status(String),
    /// Refusal, withdrawal, update or replacement without a reason.
    #[error("{0} is missing: give the reason")]
    Reason(String),
    /// Replaces, but does not say what.
    #[error("ReplacementInfo is missing: name the documents that are replaced")]
    NothingReplaced,
    /// A file the manifest does not list.
    #[error("the manifest does not list {0:?}: list it or leave it out")]
    Unlisted(String),
}

impl IssueProblem {
    /// The text for a Vietnamese reader.
    #[must_use]
    pub fn vietnamese(&self) -> String {
        match self {
            Self::Missing(path) => format!("thiếu {path}, hãy điền"),
            Self::TooLong { path, characters, max } => {
                format!("{path} dài {characters} ký tự, nơi nhận chỉ cho {max}, hãy rút ngắn")
            }
            Self::Code { path, code } => {
                format!("{path} ghi mã {code} kiểu không còn phát hành, hãy dùng mã trong danh bạ")
            }
            Self::Date { path, text } => format!("{path} ghi {text:?} không phải ngày giờ hợp lệ, hãy sửa"),
            Self::Character(path) => format!("{path} chứa ký tự điều khiển, hãy bỏ đi"),
            Self::TooManyRecipients => format!("quá {RECIPIENTS_MAX} nơi nhận, hãy tách gói tin"),
            Self::Twice(code) => format!("{code} được ghi nơi nhận hai lần, hãy giữ một"),
            Self::Status(code) => format!("mã trạng thái {code} không thuộc 01–06, 13, 15, 16, hãy chọn lại"),
            Self::Reason(path) => format!("thiếu {path}, hãy ghi lý do"),
            Self::NothingReplaced => "thiếu ReplacementInfo, hãy ghi văn bản bị thay thế".into(),
            Self::Unlisted(name) => format!("tệp {name:?} không có trong bảng kê, hãy ghi vào hoặc bỏ ra"),
        }
    }
}

/// Checks a packet of our own making before it is written.
///
/// # Errors
/// [`IssueError`] with every problem found.
pub fn issue_check(message: &Message, lengths: &FieldLengths) -> Result<(), IssueError> {
    let mut problems: Vec<IssueProblem> = missing(message).into_iter().map(IssueProblem::Missing).collect();
    for (path, characters, max) in overlong(message, &[], lengths) {
        problems.push(IssueProblem::TooLong { path, characters, max });
    }
    header_element(message).walk("", &mut |path, leaf| {
        if !leaf.text.chars().all(is_xml_character) {
            problems.push(IssueProblem::Character(path.trim_start_matches('/').to_owned()));
        }
    });
    match message {
        Message::Document(packet) => document_problems(packet, &mut problems),
        Message::Status(status) => status_problems(status, &mut problems),
    }
    if problems.is_empty() { Ok(()) } else { Err(IssueError { problems }) }
}

/// Checks a packet that a document system handed us for sending: [`issue_check`], and every file is listed.
///
/// # Errors
/// [`IssueError`] with every problem found.
pub fn issue_check_received(parsed: &Parsed, lengths: &FieldLengths) -> Result<(), IssueError> {
    let mut problems = issue_check(&parsed.message, lengths).err().map(|error| error.problems).unwrap_or_default();
    for (path, characters, max) in overlong_names(&parsed.attachments, lengths) {
        problems.push(IssueProblem::TooLong { path, characters, max });
    }
    for warning in &parsed.warnings {
        if let WarningKind::Unlisted(name) = &warning.kind {
            problems.push(IssueProblem::Unlisted(name.clone()));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(IssueError { problems }) }
}

/// XML 1.0's Char.
pub(super) fn is_xml_character(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}')
}

fn document_problems(packet: &Packet, problems: &mut Vec<IssueProblem>) {
    let header = &packet.header;
    check_code("From/OrganId", header.from.organ_id.as_ref(), problems);
    if header.to.len() > RECIPIENTS_MAX {
        problems.push(IssueProblem::TooManyRecipients);
    }
    let mut addressed = std::collections::BTreeSet::new();
    for (n, to) in header.to.iter().enumerate() {
        check_code(&format!("To[{}]/OrganId", n + 1), to.organ_id.as_ref(), problems);
        if let Some(code) = to.organ_id.as_ref().filter(|code| !addressed.insert(*code)) {
            problems.push(IssueProblem::Twice(code.clone()));
        }
    }
    // A trace names whoever handled the document: the relay too, which has an id of its own and no agency code.
    for trace in &packet.trace.traces {
        check_date("TraceHeader/Timestamp", trace.timestamp.as_ref(), problems);
    }
    check_date("PromulgationDate", header.promulgation_date.as_ref(), problems);
    check_date("DueDate", header.due_date.as_ref(), problems);
    for response in &header.response_for {
        // The document answered may be older than today's codes: its agency is named as it was then.
        check_date("ResponseFor/PromulgationDate", response.promulgation_date.as_ref(), problems);
    }
    let Some(business) = &packet.trace.business else { return };
    let codes = business.document_infos.iter().flat_map(|info| info.receivers.iter().map(|r| r.organ_id.as_ref()));
    let replaced = business.replacements.iter().flat_map(|replacement| replacement.organ_ids.iter().map(Some));
    codes.chain(replaced).for_each(|code| check_code("Bussiness/OrganId", code, problems));
    match business.kind() {
        None | Some(BusinessKind::New) => {}
        Some(_) if business.reason.is_none() => problems.push(IssueProblem::Reason("BussinessDocReason".into())),
        Some(BusinessKind::Replace) if business.replacements.is_empty() => problems.push(IssueProblem::NothingReplaced),
        Some(_) => {}
    }
}

fn status_problems(status: &StatusPacket, problems: &mut Vec<IssueProblem>) {
    check_code("From/OrganId", status.from.organ_id.as_ref(), problems);
    check_date("Timestamp", status.timestamp.as_ref(), problems);
    let Some(code) = &status.status_code else { return };
    let known = code.parse::<StatusCode>().ok().filter(|code| code.is_known());
    if known.is_none() {
        problems.push(IssueProblem::Status(code.clone()));
    }
    // A refusal carries its reason (QĐ 28/2018/QĐ-TTg).
    if known == Some(StatusCode::Refused) && status.description.is_none() {
        problems.push(IssueProblem::Reason("Description".into()));
    }
}

fn check_code(path: &str, code: Option<&ForeignCode>, problems: &mut Vec<IssueProblem>) {
    if let Some(code) = code.filter(|code| code.as_agency().is_none()) {
        problems.push(IssueProblem::Code { path: path.to_owned(), code: code.clone() });
    }
}

fn check_date<T>(path: &str, date: Option<&super::Dated<T>>, problems: &mut Vec<IssueProblem>) {
    if let Some(date) = date.filter(|date| date.value.is_none()) {
        problems.push(IssueProblem::Date { path: path.to_owned(), text: date.text.clone() });
    }
}

/// Paths of required fields that are missing.
pub(super) fn missing(message: &Message) -> Vec<String> {
    let mut paths = Vec::new();
    let mut need = |there: bool, path: String| {
        if !there {
            paths.push(format!("MessageHeader/{path}"));
        }
    };
    match message {
        Message::Document(packet) => {
            let header = &packet.header;
            need(header.from.organ_id.is_some(), "From/OrganId".into());
            need(header.from.organ_name.is_some(), "From/OrganName".into());
            need(!header.to.is_empty(), "To".into());
            for (n, Organization { organ_id, .. }) in header.to.iter().enumerate() {
                need(organ_id.is_some(), format!("To[{}]/OrganId", n + 1));
            }
            need(header.document_id.is_some(), "DocumentId".into());
            need(header.code_number.is_some(), "Code/CodeNumber".into());
            need(header.code_notation.is_some(), "Code/CodeNotation".into());
            need(header.promulgation_date.is_some(), "PromulgationInfo/PromulgationDate".into());
            need(header.subject.is_some(), "Subject".into());
        }
        Message::Status(status) => {
            let ResponseFor { organ_id, code, document_id, .. } = &status.response_for;
            need(status.from.organ_id.is_some(), "From/OrganId".into());
            need(organ_id.is_some(), "ResponseFor/OrganId".into());
            need(code.is_some(), "ResponseFor/Code".into());
            need(document_id.is_some(), "ResponseFor/DocumentId".into());
            need(status.status_code.is_some(), "StatusCode".into());
        }
    }
    paths
}

/// Path, length and bound of every text that is too long, in characters.
pub(super) fn overlong(
    message: &Message,
    attachments: &[Attachment],
    lengths: &FieldLengths,
) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    header_element(message).walk("", &mut |path: &str, leaf: &Element| {
        let path = path.trim_start_matches('/');
        found.extend(too_long(path, &leaf.text, lengths));
    });
    found.extend(overlong_names(attachments, lengths));
    found
}

fn overlong_names(attachments: &[Attachment], lengths: &FieldLengths) -> Vec<(String, usize, usize)> {
    let path = |n: usize| format!("Attachment[{}]/AttachmentName", n + 1);
    attachments.iter().enumerate().filter_map(|(n, a)| too_long(&path(n), &a.name, lengths)).collect()
}

fn too_long(path: &str, text: &str, lengths: &FieldLengths) -> Option<(String, usize, usize)> {
    let (characters, max) = (text.chars().count(), lengths.of(path)?);
    (characters > max).then(|| (path.to_owned(), characters, max))
}
