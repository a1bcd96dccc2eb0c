//! The parameters of a call: the signed JSON object of its `XroadVnpt-sign-header`.
//!
//! Single headers beside it are not looked at: they are not what was signed, the client's HTTP library merges `docId` with `docid`,
//! and a service object goes on sending what earlier calls put into it. So each operation asks for the names it needs and no more.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

use crate::limits::{SDK_PARAMETER_BYTES_MAX, SDK_PARAMETERS_MAX, SDK_SIGNED_BYTES_MAX};

/// Header whose bytes are signed. HTTP compares header names without regard to case.
pub const SIGNED_HEADER: &str = "xroadvnpt-sign-header";
/// Header with the signature: HMAC-SHA256 under the system's secret, 64 lower-case hexadecimal digits.
pub const SIGNATURE_HEADER: &str = "xroadvnpt-hash-header";

const PREFIX: &str = "XroadVnpt-";

/// Why a signed header holds no parameters.
#[derive(Debug, thiserror::Error)]
pub enum ParametersError {
    /// Longer than the bound.
    #[error("the signed header has {bytes} bytes, at most {SDK_SIGNED_BYTES_MAX} are read")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Not an object of plain values.
    #[error("the signed header is not a JSON object of plain values")]
    Json(#[from] serde_json::Error),
}

/// The parameters of one call, by name without `XroadVnpt-`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads a signed header. Whoever calls has verified its bytes, or is about to and trusts nothing of it before.
    ///
    /// # Errors
    /// [`ParametersError`].
    pub fn read(signed: &[u8]) -> Result<Self, ParametersError> {
        if signed.len() > SDK_SIGNED_BYTES_MAX {
            return Err(ParametersError::TooLong { bytes: signed.len() });
        }
        Ok(serde_json::from_slice(signed)?)
    }

    /// A parameter, without white space around it; none when it is absent or empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// The first of these names that is there.
    #[must_use]
    pub fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.text(name))
    }

    /// A parameter that is a list: a JSON array of texts, or one text alone. None when it is absent; an array of anything else is an error.
    ///
    /// # Errors
    /// When it begins like an array and is none of texts.
    pub fn list(&self, name: &str) -> Result<Option<Vec<String>>, ParametersError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        if !text.starts_with('[') {
            return Ok(Some(vec![text.to_owned()]));
        }
        let list: Vec<String> = serde_json::from_str(text)?;
        Ok(Some(list.into_iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()))
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Parameters;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of plain values")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
                let mut found = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    let value = plain(value).ok_or_else(|| A::Error::custom(format!("`{name}` is no plain value")))?;
                    if found.len() >= SDK_PARAMETERS_MAX || value.len() > SDK_PARAMETER_BYTES_MAX {
                        return Err(A::Error::custom("too much in it"));
                    }
                    let name = without_prefix(&name).to_owned();
                    if found.insert(name.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("`{name}` stands there twice")));
                    }
                }
                Ok(Parameters(found))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Scalars as text; an array, which `to` may be, as its JSON.
fn plain(value: serde_json::Value) -> Option<String> {
    use serde_json::Value;
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Array(_) => Some(value.to_string()),
        Value::Null | Value::Object(_) => None,
    }
}

fn without_prefix(name: &str) -> &str {
    match name.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => name,
    }
}

/// The bytes of a signature header; none when it is not 64 lower-case hexadecimal digits.
#[must_use]
pub fn read_signature(header: &[u8]) -> Option<[u8; 32]> {
    data_encoding::HEXLOWER.decode(header).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parameters {
        Parameters::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn parameters_are_the_signed_object_without_the_prefix() {
        let parameters = read(
            r#"{"XroadVnpt-systemid":"test.node.01","XroadVnpt-docId":"2f1c","XroadVnpt-timestamp":"22112026T073009+0983","XroadVnpt-Content-Type":"application/json","XroadVnpt-level":1}"#,
        );
        assert_eq!(parameters.text("systemid"), Some("test.node.01"));
        assert_eq!(parameters.text("docId"), Some("2f1c"));
        assert_eq!(parameters.text("level"), Some("1"));
        assert_eq!(parameters.text("docid"), None, "names are told apart by case");
    }

    #[test]
    fn pitfall_3_of_two_spellings_the_one_asked_for_first_counts() {
        let both = read(r#"{"XroadVnpt-docId":"stale","XroadVnpt-docid":"meant","XroadVnpt-status":"done"}"#);
        assert_eq!(both.first(&["docid", "docId"]), Some("meant"));
        assert_eq!(both.first(&["docId"]), Some("stale"));
        assert_eq!(read(r#"{"XroadVnpt-docId":"only"}"#).first(&["docid", "docId"]), Some("only"));
        assert_eq!(
            read(r#"{"XroadVnpt-docid":"  ","XroadVnpt-docId":"only"}"#).first(&["docid", "docId"]),
            Some("only")
        );
    }

    #[test]
    fn recipients_are_an_array_as_text_an_array_or_one_code() {
        for text in
            [r#"{"XroadVnpt-to":"[\"000.00.02.H98\",\"H98.3\"]"}"#, r#"{"XroadVnpt-to":["000.00.02.H98"," H98.3",""]}"#]
        {
            assert_eq!(read(text).list("to").unwrap().unwrap(), ["000.00.02.H98", "H98.3"]);
        }
        assert_eq!(read(r#"{"XroadVnpt-to":"H98.3"}"#).list("to").unwrap().unwrap(), ["H98.3"]);
        assert_eq!(read("{}").list("to").unwrap(), None);
        assert!(read(r#"{"XroadVnpt-to":"[1]"}"#).list("to").is_err());
    }

    #[test]
    fn what_is_no_object_of_plain_values_is_refused() {
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(SDK_SIGNED_BYTES_MAX));
        let many =
            format!("{{{}}}", (0..=SDK_PARAMETERS_MAX).map(|n| format!(r#""k{n}":1"#)).collect::<Vec<_>>().join(","));
        for bad in ["", "x", "[]", r#"{"a":null}"#, r#"{"a":{}}"#, r#"{"a":1,"XroadVnpt-a":2}"#, "{} x", &long, &many] {
            assert!(Parameters::read(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Parameters::read(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_signature_is_64_lower_case_digits() {
        assert_eq!(read_signature("0f".repeat(32).as_bytes()), Some([0x0f; 32]));
        for bad in ["", &"0F".repeat(32), &"0f".repeat(31), &"0f".repeat(33)] {
            assert_eq!(read_signature(bad.as_bytes()), None, "{bad}");
        }
    }
}
