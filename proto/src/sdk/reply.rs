//! Replies: three fields always, never a null, never an error that only HTTP knows.

use serde::Serialize;
use serde_json::{Map, Value};

/// What `ErrorCode` says. The vocabulary is ours: clients look for `0` alone, people read `ErrorDesc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Done.
    Success,
    /// A parameter is missing or cannot be read.
    Parameter,
    /// The signature does not hold, or nobody of that system id is known.
    Signature,
    /// The system may not act for that agency.
    NotEntitled,
    /// The file is not the one whose hash was sent, or too long, or did not come whole.
    File,
    /// The packet, or what it asks for, is refused.
    Refused,
    /// Nothing of that id for this system.
    NotFound,
    /// It is not in a state for that.
    NotNow,
    /// Too much is under way, or something is being rebuilt: again later.
    TryAgain,
    /// There is no such operation.
    Operation,
    /// The node's own fault.
    Internal,
}

impl ErrorCode {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "0",
            Self::Parameter => "1",
            Self::Signature => "2",
            Self::NotEntitled => "3",
            Self::File => "4",
            Self::Refused => "5",
            Self::NotFound => "6",
            Self::NotNow => "7",
            Self::TryAgain => "8",
            Self::Operation => "9",
            Self::Internal => "99",
        }
    }
}

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    code: ErrorCode,
    description: String,
    fields: Map<String, Value>,
}

impl Reply {
    /// Success, without further fields.
    #[must_use]
    pub fn ok() -> Self {
        Self { code: ErrorCode::Success, description: "Success".to_owned(), fields: Map::new() }
    }

    /// A failure, in words that a clerk can act on.
    #[must_use]
    pub fn fail(code: ErrorCode, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), fields: Map::new() }
    }

    /// The same with the DocId that a sendEdoc must always have, in failures too: empty there.
    #[must_use]
    pub fn with_doc_id(self, id: &str) -> Self {
        self.with("DocId", Value::from(id))
    }

    /// The same with a number of items.
    #[must_use]
    pub fn with_count(self, count: u32) -> Self {
        // Above 2^31 - 1 it wraps in the client.
        self.with("count", Value::from(count.min(i32::MAX.unsigned_abs())))
    }

    /// The same with a list, `[]` when it is empty: without it the client hands its caller nothing at all.
    #[must_use]
    pub fn with_list<T: Serialize>(self, items: &[T]) -> Self {
        let list = items.iter().filter_map(|item| serde_json::to_value(item).ok()).collect();
        self.with("data", Value::Array(list))
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// Whether it is a success.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.code == ErrorCode::Success
    }

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// Its words.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The JSON text, the common fields first, all of it ASCII: sendEdoc's reply is read as US-ASCII, and every other operation reads the
    /// same text as well.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = self.head();
        for (name, value) in &self.fields {
            json.push_str(&ascii(&format!(",{}:{value}", Value::from(name.as_str()))));
        }
        json.push('}');
        json
    }

    /// The JSON text up to its last field, without the closing brace: for replies whose `data` is written as it is read.
    #[must_use]
    pub fn head(&self) -> String {
        let status = if self.is_ok() { "OK" } else { "FAIL" };
        let words = Value::from(self.description.as_str()).to_string();
        format!(r#"{{"status":"{status}","ErrorCode":"{}","ErrorDesc":{}"#, self.code.as_str(), ascii(&words))
    }
}

/// JSON text with everything outside ASCII escaped (`\u0110`; beyond the basic plane as surrogates).
#[must_use]
pub fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Received;
    use super::*;

    #[test]
    fn pitfall_8_the_three_fields_are_always_there_and_never_null() {
        assert_eq!(Reply::ok().to_json(), r#"{"status":"OK","ErrorCode":"0","ErrorDesc":"Success"}"#);
        for code in [ErrorCode::Parameter, ErrorCode::Signature, ErrorCode::Internal] {
            let json: Value = serde_json::from_str(&Reply::fail(code, "Lỗi").to_json()).unwrap();
            assert_eq!(json["status"], "FAIL");
            assert_eq!(json["ErrorCode"], code.as_str());
            assert_eq!(json["ErrorDesc"], "Lỗi");
        }
    }

    #[test]
    fn pitfall_5_a_reply_is_pure_ascii_and_says_the_same() {
        let reply = Reply::fail(ErrorCode::Refused, "Đã từ chối \"𝄞\" \n").with_doc_id("");
        let json = reply.to_json();
        assert!(json.is_ascii(), "{json}");
        assert!(json.contains(r"\u0110\u00e3"), "{json}");
        assert!(json.contains(r"\ud834\udd1e"), "{json}");
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["ErrorDesc"], "Đã từ chối \"𝄞\" \n");
        assert_eq!(read["DocId"], "", "in errors too: without it the caller loses the code and the words");
    }

    #[test]
    fn an_empty_list_is_a_list_and_an_absent_field_is_left_out() {
        assert!(Reply::ok().with_list::<Received>(&[]).to_json().ends_with(r#","data":[]}"#));
        let item = Received { doc_id: "1".into(), ..Received::default() };
        let json = Reply::ok().with_list(&[item]).to_json();
        assert!(json.ends_with(r#""data":[{"docId":"1"}]}"#), "{json}");
        assert!(!json.contains("null"));
    }

    #[test]
    fn a_count_is_an_integer_that_the_client_can_hold() {
        assert!(Reply::ok().with_count(7).to_json().contains(r#""count":7}"#));
        assert!(Reply::ok().with_count(u32::MAX).to_json().contains(r#""count":2147483647}"#));
    }
}
