//! Small closed types that every statement uses.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Text that is not the value it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct IdParseError {
    text: String,
    expected: &'static str,
}

impl IdParseError {
    pub(crate) fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), expected }
    }
}

macro_rules! serde_by_text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// An envelope's id: UUID version 7 (RFC 9562), so that ids sort by the time they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvelopeId(uuid::Uuid);

impl EnvelopeId {
    /// From the moment it is made and 80 random bits.
    #[must_use]
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let ms = u64::try_from(now.unix_ms()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
    }

    /// The moment it says it was made.
    #[must_use]
    pub fn made_at(self) -> Timestamp {
        let mut ms = [0; 8];
        for (to, from) in ms.iter_mut().skip(2).zip(self.0.as_bytes()) {
            *to = *from;
        }
        Timestamp::from_unix_ms(i64::try_from(u64::from_be_bytes(ms)).unwrap_or(i64::MAX))
    }

    /// The 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// From its 16 bytes.
    ///
    /// # Errors
    /// When they are not a version 7 UUID.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdParseError> {
        let uuid = uuid::Uuid::from_slice(bytes).map_err(|_| IdParseError::new("?", "16 bytes of a UUID"))?;
        if uuid.get_version_num() != 7 || uuid.get_variant() != uuid::Variant::RFC4122 {
            return Err(IdParseError::new(&uuid.to_string(), "a version 7 UUID"));
        }
        Ok(Self(uuid))
    }
}

impl FromStr for EnvelopeId {
    type Err = IdParseError;
    fn from_str(text: &str) -> Result<Self, IdParseError> {
        let uuid = uuid::Uuid::try_parse(text).map_err(|_| IdParseError::new(text, "a UUID"))?;
        if uuid.hyphenated().to_string() != text {
            return Err(IdParseError::new(text, "a lower-case hyphenated UUID"));
        }
        Self::from_bytes(uuid.as_bytes())
    }
}

impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}
impl fmt::Debug for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
serde_by_text!(EnvelopeId);

/// The id of a node or relay in the directory: 1 to 40 of `A-Z 0-9 -`, not starting or ending with `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Box<str>);

impl NodeId {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that its TLS certificate carries: the id in lower case.
    #[must_use]
    pub fn dns_name(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for NodeId {
    type Err = IdParseError;
    fn from_str(text: &str) -> Result<Self, IdParseError> {
        let good = (1..=40).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if good {
            Ok(Self(text.into()))
        } else {
            Err(IdParseError::new(text, "a node id: 1 to 40 of A-Z, 0-9 and inner `-`"))
        }
    }
}
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
serde_by_text!(NodeId);

/// The trust domain: `vn` in production, another name for every test network, so that test mail never replays.
/// 1 to 30 of `a-z 0-9 -`, starting with a letter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AxisId(Box<str>);

impl AxisId {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl FromStr for AxisId {
    type Err = IdParseError;
    fn from_str(text: &str) -> Result<Self, IdParseError> {
        let good = (1..=30).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text.starts_with(|c: char| c.is_ascii_lowercase());
        if good {
            Ok(Self(text.into()))
        } else {
            Err(IdParseError::new(text, "an axis id: 1 to 30 of a-z, 0-9 and `-`, a letter first"))
        }
    }
}
impl fmt::Display for AxisId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for AxisId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
serde_by_text!(AxisId);

macro_rules! closed {
    ($(#[$doc:meta])* $name:ident, $expected:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        pub enum $name { $($(#[$vdoc])* $variant),+ }
        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The text used in statements, configuration and on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $text),+ } }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::IdParseError;
            fn from_str(text: &str) -> Result<Self, $crate::IdParseError> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err($crate::IdParseError::new(text, $expected)) }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.as_str()) }
        }
        $crate::ids::serde_by_text!($name);
    };
}
pub(crate) use {closed, serde_by_text};

closed! {
    /// The lane a store, process or envelope belongs to, for life (docs/ARCHITECTURE.md, lanes). No default: nobody may forget to choose.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    Lane, "a lane: `ordinary` or `classified`" {
        /// Documents that are not state secrets.
        Ordinary = "ordinary",
        /// Mật and Tối mật, segregated.
        Classified = "classified",
    }
}

impl Lane {
    /// Its name in Vietnamese.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::Ordinary => "thường",
            Self::Classified => "mật",
        }
    }
}

closed! {
    /// The secrecy label on the wire, in rising order. `tuyet-mat` can be read so that it can be refused with evidence.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    WireLevel, "a secrecy level: `ordinary`, `mat`, `toi-mat` or `tuyet-mat`" {
        /// Not a state secret.
        Ordinary = "ordinary",
        /// Mật (C).
        Mat = "mat",
        /// Tối mật (B).
        ToiMat = "toi-mat",
        /// Tuyệt mật (A): never carried.
        TuyetMat = "tuyet-mat",
    }
}

/// A secrecy level that may be carried, in rising order. No default: nobody may forget to choose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SecrecyLevel {
    /// Not a state secret.
    Ordinary,
    /// Mật (mark C), classified lane only.
    Mat,
    /// Tối mật (mark B), classified lane only.
    ToiMat,
}

/// Why a level may not travel on a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LevelRefused {
    /// No networked lane carries Tuyệt mật.
    #[error("a document marked Tuyệt mật is carried by no lane; deliver it by hand under the state-secrets rules")]
    TopSecret,
    /// Mật and Tối mật need the classified lane.
    #[error("a document marked {0} must go over the classified lane; send it from the classified node")]
    NeedsClassifiedLane(WireLevel),
}

impl WireLevel {
    /// The level, when `lane` may carry it.
    ///
    /// # Errors
    /// Tuyệt mật on either lane; Mật and Tối mật on the ordinary one.
    pub const fn on(self, lane: Lane) -> Result<SecrecyLevel, LevelRefused> {
        match (self, lane) {
            (Self::Ordinary, _) => Ok(SecrecyLevel::Ordinary),
            (Self::Mat, Lane::Classified) => Ok(SecrecyLevel::Mat),
            (Self::ToiMat, Lane::Classified) => Ok(SecrecyLevel::ToiMat),
            (Self::Mat | Self::ToiMat, Lane::Ordinary) => Err(LevelRefused::NeedsClassifiedLane(self)),
            (Self::TuyetMat, _) => Err(LevelRefused::TopSecret),
        }
    }
}

/// Urgency as in edXML `Priority`: 0 thường, 1 khẩn, 2 thượng khẩn, 3 hỏa tốc, 4 hỏa tốc hẹn giờ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// Thường.
    pub const ORDINARY: Self = Self(0);
    /// The number, 0 to 4.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}
impl TryFrom<u8> for Priority {
    type Error = IdParseError;
    fn try_from(value: u8) -> Result<Self, IdParseError> {
        if value <= 4 { Ok(Self(value)) } else { Err(IdParseError::new(&value.to_string(), "a priority from 0 to 4")) }
    }
}
impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_id_carries_its_time_and_only_version_7_is_read() {
        let now: Timestamp = "2026-11-22T01:30:00.123Z".parse().unwrap();
        let id = EnvelopeId::new(now, [0xff; 10]);
        assert_eq!(id.made_at(), now);
        assert_eq!(id.to_string().parse::<EnvelopeId>().unwrap(), id);
        assert!("00000000-0000-4000-8000-000000000000".parse::<EnvelopeId>().is_err());
        assert!(id.to_string().to_uppercase().parse::<EnvelopeId>().is_err());
    }

    #[test]
    fn secrets_travel_on_the_classified_lane_alone_and_top_secret_on_none() {
        assert_eq!(WireLevel::Mat.on(Lane::Classified), Ok(SecrecyLevel::Mat));
        assert!(matches!(WireLevel::Mat.on(Lane::Ordinary), Err(LevelRefused::NeedsClassifiedLane(_))));
        for lane in Lane::ALL {
            assert_eq!(WireLevel::TuyetMat.on(*lane), Err(LevelRefused::TopSecret));
        }
    }

    #[test]
    fn ids_refuse_what_could_be_mistaken() {
        for bad in ["", "-A", "a", "A_B", "Đ", &"A".repeat(41)] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad}");
        }
        assert!("Vn".parse::<AxisId>().is_err());
        assert!(Priority::try_from(5).is_err());
    }
}
