//! What is odd about a packet that was read all the same.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::limits::XML_WARNINGS_MAX;

/// One oddity, with the element it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Path of local names, e.g. `MessageHeader/To[2]/OrganId`.
    pub path: String,
    /// What is odd.
    pub kind: WarningKind,
}

/// What is odd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarningKind {
    /// No part of the format; ignored.
    UnknownElement,
    /// Written several times; the last one counts, as in the SDK.
    Duplicate,
    /// No day as `yyyy/MM/dd`; kept as text.
    BadDate(String),
    /// No time as `yyyy/MM/dd HH:mm:ss`; kept as text.
    BadTime(String),
    /// No whole number; left out.
    BadNumber(String),
    /// No agency code of any form; left out.
    BadCode(String),
    /// The text `null`; left out.
    Null,
    /// Longer than validators allow, in characters.
    TooLong {
        /// How long.
        characters: usize,
        /// The usual bound.
        max: usize,
    },
    /// Required, and not there.
    Missing,
    /// The prefix is not declared here; read by its local name.
    UndeclaredPrefix(String),
    /// Another namespace; read by its local name. Existing clients fail on an envelope in another namespace.
    OtherNamespace(String),
    /// UTF-16; existing clients destroy it.
    Utf16,
    /// AttachmentEncoded inside the envelope: existing clients do not find it.
    Misplaced,
    /// An attachment the manifest does not list.
    Unlisted(String),
    /// Found by name or order, because the ids do not match.
    LooseMatch(String),
    /// Declared `application/zip` but no ZIP: kept as it is; existing clients fail on it.
    NotZip,
    /// Characters that base64 does not know were skipped: how many.
    Junk(u64),
    /// The name holds path or control characters: never use it as a file name as it stands.
    UnsafeName(String),
    /// A status packet with recipients, body or attachments.
    MixedKinds,
    /// So many more warnings were left out.
    More(usize),
}

impl WarningKind {
    /// A stable name.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::UnknownElement => "unknown-element",
            Self::Duplicate => "duplicate",
            Self::BadDate(_) => "bad-date",
            Self::BadTime(_) => "bad-time",
            Self::BadNumber(_) => "bad-number",
            Self::BadCode(_) => "bad-code",
            Self::Null => "null",
            Self::TooLong { .. } => "too-long",
            Self::Missing => "missing",
            Self::UndeclaredPrefix(_) => "undeclared-prefix",
            Self::OtherNamespace(_) => "other-namespace",
            Self::Utf16 => "utf16",
            Self::Misplaced => "misplaced",
            Self::Unlisted(_) => "unlisted",
            Self::LooseMatch(_) => "loose-match",
            Self::NotZip => "not-zip",
            Self::Junk(_) => "junk",
            Self::UnsafeName(_) => "unsafe-name",
            Self::MixedKinds => "mixed-kinds",
            Self::More(_) => "more",
        }
    }

    /// The text for a Vietnamese reader.
    #[must_use]
    pub fn vietnamese(&self) -> String {
        match self {
            Self::UnknownElement => "phần tử lạ, đã bỏ qua".into(),
            Self::Duplicate => "ghi nhiều lần, lấy lần cuối".into(),
            Self::BadDate(text) => format!("{text:?} không phải ngày dạng yyyy/MM/dd"),
            Self::BadTime(text) => format!("{text:?} không phải thời điểm dạng yyyy/MM/dd HH:mm:ss"),
            Self::BadNumber(text) => format!("{text:?} không phải số nguyên"),
            Self::BadCode(text) => format!("{text:?} không phải mã định danh"),
            Self::Null => "ghi chữ null, coi như để trống".into(),
            Self::TooLong { characters, max } => format!("dài {characters} ký tự, thường tối đa {max}"),
            Self::Missing => "bắt buộc nhưng không có".into(),
            Self::UndeclaredPrefix(prefix) => format!("tiền tố {prefix} chưa khai báo"),
            Self::OtherNamespace(uri) => format!("không gian tên khác: {uri:?}"),
            Self::Utf16 => "gói tin ghi bằng UTF-16, phần mềm đang dùng đọc sẽ hỏng".into(),
            Self::Misplaced => "AttachmentEncoded nằm trong phong bì, phần mềm đang dùng không thấy".into(),
            Self::Unlisted(name) => format!("tệp {name:?} không có trong bảng kê"),
            Self::LooseMatch(name) => format!("tệp {name:?} khớp theo tên hoặc thứ tự, không theo mã"),
            Self::NotZip => "khai là application/zip nhưng không phải ZIP, giữ nguyên".into(),
            Self::Junk(count) => format!("đã bỏ qua {count} ký tự lạ trong base64"),
            Self::UnsafeName(name) => format!("tên {name:?} có ký tự đường dẫn hoặc điều khiển"),
            Self::MixedKinds => "gói trạng thái lại có nơi nhận, thân hoặc tệp đính kèm".into(),
            Self::More(count) => format!("còn {count} cảnh báo nữa"),
        }
    }
}

impl fmt::Display for WarningKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownElement => f.write_str("unknown element, ignored"),
            Self::Duplicate => f.write_str("written several times, the last one counts"),
            Self::BadDate(text) => write!(f, "{text:?} is no day as yyyy/MM/dd"),
            Self::BadTime(text) => write!(f, "{text:?} is no time as yyyy/MM/dd HH:mm:ss"),
            Self::BadNumber(text) => write!(f, "{text:?} is no whole number"),
            Self::BadCode(text) => write!(f, "{text:?} is no agency code"),
            Self::Null => f.write_str("says null, read as absent"),
            Self::TooLong { characters, max } => write!(f, "{characters} characters long, usually at most {max}"),
            Self::Missing => f.write_str("required, but missing"),
            Self::UndeclaredPrefix(prefix) => write!(f, "prefix {prefix} is not declared here"),
            Self::OtherNamespace(uri) => write!(f, "another namespace: {uri:?}"),
            Self::Utf16 => f.write_str("the packet is UTF-16, which existing clients destroy"),
            Self::Misplaced => {
                f.write_str("AttachmentEncoded inside the envelope, where existing clients do not find it")
            }
            Self::Unlisted(name) => write!(f, "{name:?} is not in the manifest"),
            Self::LooseMatch(name) => write!(f, "{name:?} was matched by name or order, not by id"),
            Self::NotZip => f.write_str("declared application/zip but no ZIP, kept as it is"),
            Self::Junk(count) => write!(f, "{count} characters that base64 does not know were skipped"),
            Self::UnsafeName(name) => write!(f, "the name {name:?} holds path or control characters"),
            Self::MixedKinds => f.write_str("a status packet with recipients, body or attachments"),
            Self::More(count) => write!(f, "{count} more warnings"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.kind)
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut warning = serializer.serialize_struct("Warning", 4)?;
        warning.serialize_field("path", &self.path)?;
        warning.serialize_field("kind", self.kind.key())?;
        warning.serialize_field("text", &self.kind.to_string())?;
        warning.serialize_field("text_vi", &self.kind.vietnamese())?;
        warning.end()
    }
}

/// Warnings as they come up, bounded.
#[derive(Debug, Default)]
pub(super) struct Notes {
    warnings: Vec<Warning>,
    left_out: usize,
}

impl Notes {
    pub(super) fn add(&mut self, path: &str, kind: WarningKind) {
        if self.warnings.len() < XML_WARNINGS_MAX {
            self.warnings.push(Warning { path: path.to_owned(), kind });
        } else {
            self.left_out += 1;
        }
    }

    /// Like [`Notes::add`], once however often it comes up.
    pub(super) fn add_once(&mut self, path: &str, kind: WarningKind) {
        if !self.warnings.iter().any(|warning| warning.kind == kind) {
            self.add(path, kind);
        }
    }

    pub(super) fn finish(mut self) -> Vec<Warning> {
        if self.left_out > 0 {
            self.warnings.push(Warning { path: String::new(), kind: WarningKind::More(self.left_out) });
        }
        self.warnings
    }
}
