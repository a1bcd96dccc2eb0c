//! Strict JSON for signed statements, and the one way in and out of it.
//!
//! We write RFC 8785 (JCS). We read any JSON text that is unambiguous: UTF-8, no duplicate names, no null, no
//! fraction, no integer beyond 2^53, bounded depth and size. The received bytes are kept and are what is hashed
//! and verified (I8); the value is only a view of them.

use std::{borrow::Cow, collections::HashSet, fmt, marker::PhantomData};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

use crate::{
    Digest,
    limits::{JSON_DEPTH_MAX, STATEMENT_BYTES_MAX},
};

/// Largest integer that every JSON reader represents exactly: 2^53 - 1 (RFC 8785 3.2.2.3, I-JSON).
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// A kind of statement: the value of its `type` and what its fields must satisfy together.
pub trait Statement: Serialize + DeserializeOwned {
    /// The value of the `type` member, e.g. `event`.
    const TYPE: &'static str;

    /// Most bytes that are read or written.
    const BYTES_MAX: usize = STATEMENT_BYTES_MAX;

    /// Checks what the field types alone cannot say. The text names the field and what it must be.
    ///
    /// # Errors
    /// When fields contradict each other or exceed a bound of [`crate::limits`].
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Why bytes are not the statement they should be. Always the writer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Larger than [`Statement::BYTES_MAX`].
    #[error("the {statement} has {bytes} bytes, more than such a statement may have")]
    TooLarge {
        /// Which statement was expected.
        statement: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// Not JSON, ambiguous JSON, or a field that is missing or of the wrong form.
    #[error("not a valid {statement}: {why}")]
    Malformed {
        /// Which statement was expected.
        statement: &'static str,
        /// What is wrong and where.
        why: String,
    },
    /// Another statement, or a later version of this one.
    #[error("expected a {statement} of version 1, found {found}")]
    OtherType {
        /// Which statement was expected.
        statement: &'static str,
        /// What its `type` and `v` say.
        found: String,
    },
    /// `crit` names a field that this version does not know; ignoring it could change the meaning.
    #[error(
        "the {statement} marks `{field}` as critical, which this version does not know; update the software that reads it"
    )]
    UnknownCritical {
        /// Which statement was expected.
        statement: &'static str,
        /// The unknown field.
        field: String,
    },
    /// The fields contradict each other.
    #[error("the {statement} is inconsistent: {why}")]
    Inconsistent {
        /// Which statement was expected.
        statement: &'static str,
        /// What contradicts what.
        why: String,
    },
}

#[derive(Serialize)]
struct FramedRef<'a, T> {
    #[serde(rename = "type")]
    statement: &'a str,
    v: u32,
    #[serde(flatten)]
    body: &'a T,
}

/// The members that frame every statement.
struct Frame {
    statement: String,
    v: u32,
    crit: Vec<String>,
}

/// A statement together with the exact bytes it was read from or written as.
pub struct Raw<T> {
    bytes: Bytes,
    value: T,
}

impl<T: Statement> Raw<T> {
    /// Reads a statement, keeping its bytes.
    ///
    /// # Errors
    /// See [`StatementError`]: every variant names the statement and what is wrong with it.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, StatementError> {
        let bytes = bytes.into();
        let statement = T::TYPE;
        if bytes.len() > T::BYTES_MAX {
            return Err(StatementError::TooLarge { statement, bytes: bytes.len() });
        }
        let frame = read_frame(&bytes).map_err(|why| StatementError::Malformed { statement, why })?;
        Self::framed(bytes, frame)
    }

    /// Of bytes that were found unambiguous.
    fn framed(bytes: Bytes, frame: Frame) -> Result<Self, StatementError> {
        let statement = T::TYPE;
        if frame.statement != T::TYPE || frame.v != 1 {
            return Err(StatementError::OtherType {
                statement,
                found: format!("`{}` version {}", frame.statement, frame.v),
            });
        }
        if let Some(field) = frame.crit.into_iter().next() {
            return Err(StatementError::UnknownCritical { statement, field });
        }
        let value: T =
            serde_json::from_slice(&bytes).map_err(|e| StatementError::Malformed { statement, why: e.to_string() })?;
        value.check().map_err(|why| StatementError::Inconsistent { statement, why })?;
        Ok(Self { bytes, value })
    }

    /// Writes a statement in RFC 8785 form.
    ///
    /// # Errors
    /// When the value contradicts itself or exceeds a bound: the caller must not issue it.
    pub fn write(value: T) -> Result<Self, StatementError> {
        let statement = T::TYPE;
        value.check().map_err(|why| StatementError::Inconsistent { statement, why })?;
        let framed = FramedRef { statement, v: 1, body: &value };
        let bytes = serde_json_canonicalizer::to_vec(&framed)
            .map_err(|e| StatementError::Malformed { statement, why: e.to_string() })?;
        if bytes.len() > T::BYTES_MAX {
            return Err(StatementError::TooLarge { statement, bytes: bytes.len() });
        }
        Ok(Self { bytes: bytes.into(), value })
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

impl<T> Raw<T> {
    /// The bytes as received or written: what hashes and signatures cover.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The value, for reading.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value alone.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> std::ops::Deref for Raw<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Clone> Clone for Raw<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), value: self.value.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Raw<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> PartialEq for Raw<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for Raw<T> {}

/// A statement whose kind was not known beforehand: its bytes, found unambiguous, and their `type`.
pub struct Framed {
    bytes: Bytes,
    frame: Frame,
}

impl Framed {
    /// Reads what frames a statement.
    ///
    /// # Errors
    /// When the bytes are not an unambiguous JSON object with a `type`.
    pub fn read(bytes: impl Into<Bytes>) -> Result<Self, StatementError> {
        let (statement, bytes) = ("statement", bytes.into());
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(StatementError::TooLarge { statement, bytes: bytes.len() });
        }
        let frame = read_frame(&bytes).map_err(|why| StatementError::Malformed { statement, why })?;
        Ok(Self { bytes, frame })
    }

    /// The value of its `type` member.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.frame.statement
    }

    /// Reads it as a statement of this kind.
    ///
    /// # Errors
    /// As [`Raw::parse`].
    pub fn parse<T: Statement>(self) -> Result<Raw<T>, StatementError> {
        Raw::framed(self.bytes, self.frame)
    }
}

/// Refuses what two JSON readers could understand differently, and tells what frames the statement: one pass does both.
fn read_frame(bytes: &[u8]) -> Result<Frame, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let frame = (&mut reader).deserialize_map(Framing).map_err(|e| e.to_string())?;
    reader.end().map_err(|e| e.to_string())?;
    Ok(frame)
}

struct Framing;

impl<'de> Visitor<'de> for Framing {
    type Value = Frame;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a statement")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Frame, A::Error> {
        let inner = Unambiguous { depth: 0, marker: PhantomData }.inner()?;
        let (mut statement, mut v, mut crit) = (None, None, Vec::new());
        let mut names = Names::default();
        while let Some(name) = names.next(&mut members)? {
            match name.as_ref() {
                "type" => statement = Some(members.next_value()?),
                "v" => v = Some(members.next_value()?),
                "crit" => crit = members.next_value()?,
                _ => members.next_value_seed(inner)?,
            }
        }
        let missing = serde::de::Error::missing_field;
        Ok(Frame { statement: statement.ok_or_else(|| missing("type"))?, v: v.ok_or_else(|| missing("v"))?, crit })
    }
}

#[derive(Clone, Copy)]
struct Unambiguous<'a> {
    depth: usize,
    marker: PhantomData<&'a ()>,
}

impl Unambiguous<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > JSON_DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {JSON_DEPTH_MAX}")));
        }
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Unambiguous<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unambiguous<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value without null or fractions")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        if value > INTEGER_MAX {
            return Err(E::custom("an integer beyond 2^53 must be written as a string"));
        }
        Ok(())
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.visit_u64(value.unsigned_abs())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        let mut names = Names::default();
        while names.next(&mut members)?.is_some() {
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// A member's name; borrowed where it is written without escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;
        impl<'de> Visitor<'de> for Borrowing {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrowing)
    }
}

/// The names of one object. Statements have a dozen; a set would cost more than it saves until there are many.
#[derive(Default)]
struct Names<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
}

/// Beyond so many names, a set.
const FEW_NAMES: usize = 32;

impl<'a> Names<'a> {
    /// The next name of the object, which must be another than those before.
    fn next<A: MapAccess<'a>>(&mut self, members: &mut A) -> Result<Option<Cow<'a, str>>, A::Error> {
        let Some(Name(name)) = members.next_key()? else { return Ok(None) };
        if self.few.contains(&name) || self.many.contains(&name) {
            return Err(serde::de::Error::custom(format_args!("the name `{name}` stands twice in one object")));
        }
        if self.few.len() < FEW_NAMES {
            self.few.push(name.clone());
        } else {
            self.many.insert(name.clone());
        }
        Ok(Some(name))
    }
}

/// Serde form of byte strings: RFC 4648 base64 with padding, read strictly.
pub mod base64 {
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes base64.
    ///
    /// # Errors
    /// Only the serializer's own.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    /// Reads base64.
    ///
    /// # Errors
    /// When the text is not strict base64 or not of the length of `T`.
    pub fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<Vec<u8>>>(deserializer: D) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = decode(text.as_bytes()).ok_or_else(|| serde::de::Error::custom("not strict base64"))?;
        T::try_from(bytes).map_err(|_| serde::de::Error::custom("base64 of a wrong length"))
    }

    /// The bytes of one text alone: padding stands at its end and nowhere else. The decoder would take several padded texts in a row for one.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
        let digits = text.len() - text.iter().rev().take_while(|byte| **byte == b'=').count();
        if text.iter().take(digits).any(|byte| *byte == b'=') {
            return None;
        }
        BASE64.decode(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
    struct Sample {
        count: u64,
        name: String,
    }
    impl Statement for Sample {
        const TYPE: &'static str = "sample";
    }

    #[track_caller]
    fn refused(text: &str, because: &str) {
        let error = Raw::<Sample>::parse(text.as_bytes().to_vec()).unwrap_err().to_string();
        assert!(error.contains(because), "{text}: {error}");
    }

    #[test]
    fn what_is_written_is_rfc_8785_and_reads_back() {
        let raw = Raw::write(Sample { count: 3, name: "Đà Nẵng".into() }).unwrap();
        assert_eq!(raw.bytes().as_ref(), r#"{"count":3,"name":"Đà Nẵng","type":"sample","v":1}"#.as_bytes());
        assert_eq!(Raw::<Sample>::parse(raw.bytes().clone()).unwrap().value(), raw.value());
    }

    #[test]
    fn the_received_bytes_are_kept_not_rewritten() {
        let text = r#"{ "v":1, "name":"x", "type":"sample", "count":3, "later":[true] }"#;
        let raw = Raw::<Sample>::parse(text.as_bytes().to_vec()).unwrap();
        assert_eq!(raw.digest(), Digest::of(text.as_bytes()));
    }

    #[test]
    fn base64_has_one_text_for_the_same_bytes() {
        assert_eq!(super::base64::decode(b"SGVsbG8="), Some(b"Hello".to_vec()));
        for other in [&b"SGU=bGxv"[..], b"SGVsbG9=", b"SGVsbG8", b"SGVs bG8=", b"SGVsbG8====", b"====", b"="] {
            assert_eq!(super::base64::decode(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn ambiguous_json_is_refused() {
        refused(r#"{"v":1,"type":"sample","name":"a","count":1,"count":2}"#, "twice");
        refused(r#"{"v":1,"type":"sample","name":"a","count":1,"x":{"y":1,"y":1}}"#, "twice");
        refused(r#"{"v":1,"type":"sample","name":null,"count":1}"#, "null");
        refused(r#"{"v":1,"type":"sample","name":"a","count":1.5}"#, "floating");
        refused(r#"{"v":1,"type":"sample","name":"a","count":9007199254740992}"#, "2^53");
        refused(r#"{"v":1,"type":"sample","name":"a","count":1} x"#, "trailing");
        refused(
            &format!(r#"{{"v":1,"type":"sample","name":"a","count":1,"x":{}{}}}"#, "[".repeat(40), "]".repeat(40)),
            "deeper",
        );
        refused(r#"{"v":2,"type":"sample","name":"a","count":1}"#, "version 2");
        refused(r#"{"v":1,"type":"other","name":"a","count":1}"#, "`other`");
        refused(r#"{"v":1,"type":"sample","name":"a","count":1,"crit":["hold"],"hold":true}"#, "critical");
    }
}
