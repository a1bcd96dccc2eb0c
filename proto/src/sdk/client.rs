//! The client's side: what a node that is itself a document system of another axis writes and reads.
//!
//! What comes from there is untrusted and often not what it should be: HTML, nothing, half of it. Nothing is taken for an answer
//! but the JSON object that the protocol has.

use serde_json::{Map, Value};

use super::{MessageType, SERVICE_TYPE};
use crate::{
    Timestamp,
    edxml::Dated,
    limits::{SDK_DOC_ID_BYTES_MAX, SDK_LIST_ITEMS_MAX},
};

/// Header that lists the names of what is signed.
pub const SIGNED_KEYS_HEADER: &str = "XroadVnpt-sign-header-key";
const PREFIX: &str = "XroadVnpt-";

/// The parameters of a call that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing(Vec<(String, String)>);

impl Outgoing {
    /// A call of this system; `at` as its clock says.
    #[must_use]
    pub fn new(system: &str, message: MessageType, at: Timestamp) -> Self {
        let call = Self(Vec::new()).with("systemid", system).with("servicetype", SERVICE_TYPE);
        call.with("messagetype", message.as_str()).with("timestamp", &timestamp(at))
    }

    /// With one more parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a list, as `to` is one.
    #[must_use]
    pub fn with_list(self, name: &str, values: &[&str]) -> Self {
        let list = Value::from(values.to_vec()).to_string();
        self.with(name, &list)
    }

    /// The text that is signed: [`super::SIGNED_HEADER`].
    #[must_use]
    pub fn signed(&self) -> String {
        let fields = self.0.iter().map(|(name, value)| (format!("{PREFIX}{name}"), Value::from(value.as_str())));
        Value::Object(fields.collect::<Map<_, _>>()).to_string()
    }

    /// The names of what is signed: [`SIGNED_KEYS_HEADER`].
    #[must_use]
    pub fn signed_keys(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.join(";")
    }

    /// Each parameter as a header of its own, as existing servers may read it.
    pub fn headers(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().map(|(name, value)| (format!("{PREFIX}{name}"), value.as_str()))
    }
}

/// `22112026T073009+0983`: day, month, year, Vietnam's time, milliseconds.
fn timestamp(at: Timestamp) -> String {
    let shown = Dated::<Timestamp>::from(at).text; // 2026/11/22 07:30:09
    let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    let (year, month, day, time) = (part(0..4), part(4..6), part(6..8), part(8..14));
    format!("{day}{month}{year}T{time}+{:04}", at.unix_ms().rem_euclid(1_000))
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `ErrorCode` is 0 and `status` is not FAIL.
    pub ok: bool,
    /// `ErrorCode`.
    pub code: String,
    /// `ErrorDesc`, cut to what a person reads.
    pub description: String,
}

/// An answer that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Nothing came.
    #[error("the answer is empty")]
    Empty,
    /// HTML or another text.
    #[error("the answer is no JSON object but begins with {0:?}")]
    NotJson(String),
    /// An object without what must be in it.
    #[error("the answer has no {0}")]
    Missing(&'static str),
}

/// Most characters of foreign words that are shown.
const WORDS_CHARS_MAX: usize = 300;

/// Foreign words as they may be shown: no control characters, bounded.
#[must_use]
pub fn shown_words(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(WORDS_CHARS_MAX).collect::<String>().trim().to_owned()
}

/// An answer: the object, and what it says of success.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What it says.
    pub verdict: Verdict,
    fields: Map<String, Value>,
}

impl Answer {
    /// Reads a whole answer.
    ///
    /// # Errors
    /// When it is none: then nothing is known of what was asked.
    pub fn read(bytes: &[u8]) -> Result<Self, AnswerError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(AnswerError::Empty);
        }
        let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else {
            let begin = bytes.get(..bytes.len().min(80)).unwrap_or_default();
            return Err(AnswerError::NotJson(shown_words(&String::from_utf8_lossy(begin))));
        };
        let verdict = verdict(|name| fields.get(name).map(text).filter(|text| !text.is_empty()))?;
        Ok(Self { verdict, fields })
    }

    /// The DocId of sendEdoc.
    #[must_use]
    pub fn doc_id(&self) -> Option<String> {
        let names = ["DocId", "docId", "docid"];
        names.iter().find_map(|name| self.fields.get(*name)).map(text).filter(|id| is_doc_id(id))
    }

    /// The items of a list; none when there is no list. Items that are no objects are left out.
    #[must_use]
    pub fn items(&self) -> Option<Vec<Item>> {
        let Some(Value::Array(items)) = self.fields.get("data") else { return None };
        let objects = items.iter().filter_map(Value::as_object).take(SDK_LIST_ITEMS_MAX);
        Some(objects.map(|object| Item(object.clone())).collect())
    }
}

/// What the three common fields say.
pub(super) fn verdict(field: impl Fn(&str) -> Option<String>) -> Result<Verdict, AnswerError> {
    let code = field("ErrorCode").ok_or(AnswerError::Missing("ErrorCode"))?;
    let ok = code == "0" && field("status").as_deref() != Some("FAIL");
    Ok(Verdict { ok, code: shown_words(&code), description: shown_words(&field("ErrorDesc").unwrap_or_default()) })
}

/// Scalars as text, null and structures as nothing.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        // A code alone in an array.
        Value::Array(one) if one.len() == 1 => one.first().map(text).unwrap_or_default(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

/// An item of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Item(Map<String, Value>);

impl Item {
    /// A field; empty when it is not there.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.0.get(name).map(text).unwrap_or_default()
    }
}

/// Whether a name that another axis gives a document can be said back in a header. Whatever it looks like, it never becomes a file's name.
#[must_use]
pub fn is_doc_id(text: &str) -> bool {
    (1..=SDK_DOC_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdk::Parameters;

    #[test]
    fn what_is_signed_reads_back_as_the_servers_side_reads_it() {
        let at = Timestamp::from_unix_ms(1_795_307_409_983);
        let call = Outgoing::new("gw.h26", MessageType::Document, at).with_list("to", &["H98", "000.00.02.H98"]);
        let read = Parameters::read(call.signed().as_bytes()).unwrap();
        assert_eq!(read.text("systemid"), Some("gw.h26"));
        assert_eq!(read.list("to").unwrap().unwrap(), ["H98", "000.00.02.H98"]);
        assert_eq!(call.signed_keys(), "systemid;servicetype;messagetype;timestamp;to");
        let stamp = read.text("timestamp").unwrap();
        assert_eq!((stamp.len(), stamp.get(8..9), stamp.get(15..)), (20, Some("T"), Some("+0983")), "{stamp}");
    }

    #[test]
    fn only_the_protocols_object_is_an_answer() {
        let ok = Answer::read(br#"{"status":"OK","ErrorCode":0,"ErrorDesc":"Success","DocId":"2f1c"}"#).unwrap();
        assert!(ok.verdict.ok && ok.doc_id().as_deref() == Some("2f1c") && ok.items().is_none());
        let fail = Answer::read(br#"{"status":"FAIL","ErrorCode":"15","ErrorDesc":"no\u0000 such"}"#).unwrap();
        assert_eq!((fail.verdict.ok, fail.verdict.code.as_str()), (false, "15"));
        assert_eq!(fail.verdict.description, "no  such");
        assert_eq!(Answer::read(b" \r\n").unwrap_err(), AnswerError::Empty);
        assert!(
            matches!(Answer::read(b"<html><body>502"), Err(AnswerError::NotJson(text)) if text.starts_with("<html>"))
        );
        assert!(matches!(
            Answer::read(br#"{"status":"OK","ErrorCode":"0","ErrorDesc":"Suc"#),
            Err(AnswerError::NotJson(_))
        ));
        assert_eq!(Answer::read(br#"{"status":"OK"}"#).unwrap_err(), AnswerError::Missing("ErrorCode"));
    }

    #[test]
    fn lists_with_nulls_and_numbers_are_read_and_names_that_no_header_can_hold_are_not_names() {
        let list = br#"{"status":"OK","ErrorCode":"0","ErrorDesc":"","data":[{"docId":7,"from":null,"to":["H26"]},5]}"#;
        let items = Answer::read(list).unwrap().items().unwrap();
        assert_eq!(items.len(), 1);
        assert_eq!(
            (items[0].text("docId"), items[0].text("from"), items[0].text("to")),
            ("7".into(), String::new(), "H26".into())
        );
        assert!(is_doc_id("../x"), "never a file's name, so it may look like one");
        assert!(!is_doc_id("a b") && !is_doc_id("") && !is_doc_id("a\r\nb") && !is_doc_id(&"x".repeat(1_000)));
    }
}
