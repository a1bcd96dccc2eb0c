//! Agency codes: the ones we issue ([`AgencyId`]) and the ones others wrote ([`ForeignCode`]).
//!
//! Which code exists, since when and who succeeds it is the directory's business, not this module's. Old and new codes
//! map by the directory's table, never by turning the groups round.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::UnicodeNormalization;

use crate::limits::{AGENCY_ID_BYTES_MAX, FOREIGN_CODE_CHARACTERS_MAX, NEAREST_CODES_MAX};

/// An agency's code, e.g. `H37.DN.001` (Quyết định 20/2020/QĐ-TTg).
///
/// Invariant: at most 35 bytes, groups of `[0-9A-Z]` joined by single dots, the first group `[A-Y][0-9]{2}`; or the
/// scheme form for organisations outside the list, `Z[0-9]{2}` and up to 32 characters of `[0-9A-Z]` and single dots.
/// Each further group is a direct subordinate of the one before. `FromStr` is the only way in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgencyId(Box<str>);

/// Why a text is not an agency code that may be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgencyIdError {
    /// Nothing there.
    #[error("an agency code is missing; write one such as H37.DN.001")]
    Empty,
    /// Longer than QĐ 20/2020 allows.
    #[error("this agency code has {bytes} bytes, but QĐ 20/2020 allows 35; shorten it")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A character outside `0-9`, `A-Z` and the dot.
    #[error("character {position} of the agency code, {character:?}, is none of 0-9, A-Z and the dot; correct it")]
    Character {
        /// The character met.
        character: char,
        /// Its place, counted from 1.
        position: usize,
    },
    /// Two dots in a row, or a dot at an end.
    #[error("group {group} of the agency code is empty; single dots stand between groups, none at the ends")]
    EmptyGroup {
        /// Which group, counted from 1.
        group: usize,
    },
    /// `000.00.00.H49`: the form of QCVN 102:2016, received but never issued.
    #[error("{code} is written in the old form of QCVN 102:2016; use the code that the directory gives for it")]
    OldForm {
        /// The text.
        code: String,
    },
    /// The first group is no level-1 code.
    #[error("the first group of an agency code is a letter and two digits such as G22 or H37, not {group}; correct it")]
    FirstGroup {
        /// The first group met.
        group: String,
    },
}

impl AgencyIdError {
    /// The same message for a Vietnamese reader.
    #[must_use]
    pub fn vietnamese(&self) -> String {
        match self {
            Self::Empty => "Thiếu mã định danh cơ quan; hãy ghi mã, ví dụ H37.DN.001.".into(),
            Self::TooLong { bytes } => {
                format!("Mã định danh dài {bytes} byte, trong khi QĐ 20/2020 cho phép 35; hãy rút ngắn.")
            }
            Self::Character { character, position } => {
                format!(
                    "Ký tự thứ {position} của mã định danh ({character:?}) không thuộc 0-9, A-Z, dấu chấm; hãy sửa."
                )
            }
            Self::EmptyGroup { group } => {
                format!("Nhóm thứ {group} của mã định danh rỗng; giữa các nhóm có đúng một dấu chấm, hai đầu không có.")
            }
            Self::OldForm { code } => {
                format!("{code} là mã kiểu cũ theo QCVN 102:2016; hãy dùng mã tương ứng trong danh bạ.")
            }
            Self::FirstGroup { group } => {
                format!(
                    "Nhóm đầu của mã định danh gồm một chữ cái và hai chữ số như G22, H37, không phải {group}; hãy sửa."
                )
            }
        }
    }
}

impl AgencyId {
    /// The code of level 1 this one belongs to: `H37` of `H37.DN.001`.
    #[must_use]
    pub fn level1(&self) -> Self {
        Self(self.groups().next().unwrap_or(&self.0).into())
    }

    /// The code one level up: `H37.DN` of `H37.DN.001`; none above level 1.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('.').map(|(parent, _)| Self(parent.into()))
    }

    /// The groups from the left, most significant first; never empty.
    pub fn groups(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether `other` lies strictly below this code: `H26` is an ancestor of `H26.18.4`, not of `H26` or `H261`.
    #[must_use]
    pub fn is_ancestor_of(&self, other: &Self) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.starts_with('.'))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgencyId {
    type Err = AgencyIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(AgencyIdError::Empty);
        }
        if text.len() > AGENCY_ID_BYTES_MAX {
            return Err(AgencyIdError::TooLong { bytes: text.len() });
        }
        let allowed = |c: char| c.is_ascii_digit() || c.is_ascii_uppercase() || c == '.';
        if let Some((position, character)) = text.chars().enumerate().find(|(_, c)| !allowed(*c)) {
            return Err(AgencyIdError::Character { character, position: position + 1 });
        }
        if let Some(group) = text.split('.').position(str::is_empty) {
            return Err(AgencyIdError::EmptyGroup { group: group + 1 });
        }
        if is_old_form(text) {
            return Err(AgencyIdError::OldForm { code: text.into() });
        }
        let first = text.split('.').next().unwrap_or_default();
        if !is_level1(first) && !is_scheme(first) {
            return Err(AgencyIdError::FirstGroup { group: first.into() });
        }
        Ok(Self(text.into()))
    }
}

/// `[A-Y][0-9]{2}`
fn is_level1(group: &str) -> bool {
    matches!(group.as_bytes(), [b'A'..=b'Y', b'0'..=b'9', b'0'..=b'9'])
}

/// `Z[0-9]{2}` and whatever follows; 3 + 32 characters are the 35 that the length check leaves.
fn is_scheme(group: &str) -> bool {
    matches!(group.as_bytes(), [b'Z', b'0'..=b'9', b'0'..=b'9', ..])
}

/// QCVN 102:2016: groups of 3, 2, 2 and 3 characters, the most significant on the right.
fn is_old_form(text: &str) -> bool {
    let mut groups = text.split('.');
    let lengths = [3, 2, 2, 3];
    groups.clone().count() == lengths.len()
        && groups.clone().map(str::len).eq(lengths)
        && !groups.next().is_some_and(is_level1)
        && groups.next_back().is_some_and(is_level1)
}

/// A code as somebody else wrote it: old form `000.00.00.H49`, loose form `14.00.W00`, or a good one. Never issued by us.
///
/// Invariant: 1 to 100 characters, NFC, no control characters, no zero-width ones, no white space at the ends.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForeignCode(Box<str>);

/// Why a text cannot even be a foreign code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForeignCodeError {
    /// Nothing but white space.
    #[error("the agency code is empty; the sender must write it")]
    Empty,
    /// Longer than any code met.
    #[error("the agency code is longer than {FOREIGN_CODE_CHARACTERS_MAX} characters; the sender must correct it")]
    TooLong,
    /// A control character.
    #[error("the agency code holds the control character U+{:04X}; the sender must remove it", u32::from(*character))]
    Control {
        /// The character met.
        character: char,
    },
}

impl ForeignCodeError {
    /// The same message for a Vietnamese reader.
    #[must_use]
    pub fn vietnamese(&self) -> String {
        match self {
            Self::Empty => "Mã định danh để trống; nơi gửi phải ghi mã.".into(),
            Self::TooLong => format!("Mã định danh dài quá {FOREIGN_CODE_CHARACTERS_MAX} ký tự; nơi gửi phải sửa."),
            Self::Control { character } => {
                format!("Mã định danh chứa ký tự điều khiển U+{:04X}; nơi gửi phải bỏ đi.", u32::from(*character))
            }
        }
    }
}

impl ForeignCode {
    /// The code as one that may be issued, when it is written so.
    #[must_use]
    pub fn as_agency(&self) -> Option<AgencyId> {
        self.0.parse().ok()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ForeignCode {
    type Err = ForeignCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim_matches(|c: char| c.is_whitespace() || is_zero_width(c));
        // Checked before normalising, so that a hostile text costs no more than a look at its first characters.
        if trimmed.chars().nth(2 * FOREIGN_CODE_CHARACTERS_MAX).is_some() {
            return Err(ForeignCodeError::TooLong);
        }
        let code: String = trimmed.nfc().filter(|c| !is_zero_width(*c)).collect();
        if let Some(character) = code.chars().find(|c| c.is_control()) {
            return Err(ForeignCodeError::Control { character });
        }
        match code.chars().count() {
            0 => Err(ForeignCodeError::Empty),
            n if n > FOREIGN_CODE_CHARACTERS_MAX => Err(ForeignCodeError::TooLong),
            _ => Ok(Self(code.into())),
        }
    }
}

impl From<AgencyId> for ForeignCode {
    fn from(agency: AgencyId) -> Self {
        Self(agency.0)
    }
}

/// Zero-width space, joiners and the byte order mark: real directory names hold them, nobody sees them.
pub(crate) fn is_zero_width(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}')
}

macro_rules! code_text_form {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
code_text_form!(AgencyId);
code_text_form!(ForeignCode);

/// A name as it belongs in a directory: NFC, single spaces, nothing invisible.
#[must_use]
pub fn tidy_name(text: &str) -> String {
    let visible: String = text.nfc().filter(|c| !is_zero_width(*c)).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The candidates most like a code nobody knows, nearest first, for "unknown code, did you mean".
///
/// At most [`NEAREST_CODES_MAX`]; only those within a third of the code's length (at least two changes). Ties by code.
#[must_use]
pub fn nearest<'a>(code: &ForeignCode, candidates: impl IntoIterator<Item = &'a AgencyId>) -> Vec<&'a AgencyId> {
    let wanted = code.as_str().to_uppercase();
    let wanted: Vec<char> = wanted.chars().take(FOREIGN_CODE_CHARACTERS_MAX).collect();
    let farthest = (wanted.len() / 3).max(2);
    let mut best: Vec<(usize, &AgencyId)> = Vec::new();
    for candidate in candidates {
        let Some(distance) = edit_distance(&wanted, candidate.as_str(), farthest) else { continue };
        let place = best.partition_point(|held| *held <= (distance, candidate));
        if place < NEAREST_CODES_MAX {
            best.insert(place, (distance, candidate));
            best.truncate(NEAREST_CODES_MAX);
        }
    }
    best.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Levenshtein distance, or none when it exceeds `farthest`.
fn edit_distance(wanted: &[char], candidate: &str, farthest: usize) -> Option<usize> {
    if wanted.len().abs_diff(candidate.len()) > farthest {
        return None;
    }
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for (line, letter) in candidate.chars().enumerate() {
        let mut diagonal = std::mem::replace(row.first_mut()?, line + 1);
        let mut left = line + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(wanted) {
            let changed = diagonal + usize::from(*other != letter);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if row.iter().all(|cell| *cell > farthest) {
            return None;
        }
    }
    row.last().copied().filter(|distance| *distance <= farthest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> AgencyId {
        text.parse().unwrap()
    }

    #[track_caller]
    fn refused(text: &str) -> AgencyIdError {
        text.parse::<AgencyId>().unwrap_err()
    }

    #[test]
    fn codes_of_the_decision_are_read() {
        for text in ["H37.DN.001", "H26", "H26.18.4", "G06.01", "H29.0.162", "A45", "Z01", "Z010123456789", "Z12.AB.9"]
        {
            assert_eq!(id(text).to_string(), text);
        }
        assert_eq!(id(&format!("H26.{}", "1".repeat(31))).as_str().len(), 35);
    }

    #[test]
    fn what_is_wrong_with_a_code_is_named() {
        assert_eq!(refused(""), AgencyIdError::Empty);
        assert_eq!(refused(&format!("H26.{}", "1".repeat(32))), AgencyIdError::TooLong { bytes: 36 });
        assert_eq!(refused("H26.a1"), AgencyIdError::Character { character: 'a', position: 5 });
        assert_eq!(refused("H26.Đ1"), AgencyIdError::Character { character: 'Đ', position: 5 });
        assert_eq!(refused("H26 "), AgencyIdError::Character { character: ' ', position: 4 });
        assert_eq!(refused("H26..1"), AgencyIdError::EmptyGroup { group: 2 });
        assert_eq!(refused(".H26"), AgencyIdError::EmptyGroup { group: 1 });
        assert_eq!(refused("H26."), AgencyIdError::EmptyGroup { group: 2 });
        assert_eq!(refused("000.00.00.H49"), AgencyIdError::OldForm { code: "000.00.00.H49".into() });
        for loose in ["01.02.G22", "14.00.W00", "001.00.20.TT2", "H2", "H266", "1H2", "Z1", "Z1A"] {
            let first = loose.split('.').next().unwrap().to_owned();
            assert_eq!(refused(loose), AgencyIdError::FirstGroup { group: first }, "{loose}");
        }
        assert!(refused("000.00.00.H49").vietnamese().contains("kiểu cũ"));
    }

    #[test]
    fn the_tree_of_codes_is_walked() {
        let code = id("H37.DN.001");
        assert_eq!(code.level1(), id("H37"));
        assert_eq!(code.parent(), Some(id("H37.DN")));
        assert_eq!(id("H37").parent(), None);
        assert_eq!(code.groups().collect::<Vec<_>>(), ["H37", "DN", "001"]);
        assert!(id("H37").is_ancestor_of(&code) && id("H37.DN").is_ancestor_of(&code));
        assert!(!code.is_ancestor_of(&code) && !id("H37.D").is_ancestor_of(&code));
    }

    #[test]
    fn serde_lets_no_bad_code_in() {
        assert_eq!(serde_json::from_str::<AgencyId>("\"H26.18\"").unwrap(), id("H26.18"));
        assert_eq!(serde_json::to_string(&id("H26.18")).unwrap(), "\"H26.18\"");
        assert!(serde_json::from_str::<AgencyId>("\"000.00.00.H49\"").is_err());
    }

    #[test]
    fn foreign_codes_are_cleaned_and_bounded() {
        let code = |text: &str| text.parse::<ForeignCode>();
        for text in ["000.00.00.H49", "01.02.G22", "001.00.20.TT2", "000.00.01.A53"] {
            let foreign = code(text).unwrap();
            assert_eq!(foreign.as_str(), text);
            assert_eq!(foreign.as_agency(), None);
        }
        assert_eq!(code(" \u{200B}H26.18\u{FEFF}\n").unwrap().as_agency(), Some(id("H26.18")));
        assert_eq!(code("D\u{0323}").unwrap().as_str(), "Ḍ");
        assert_eq!(code(" \u{200B} "), Err(ForeignCodeError::Empty));
        assert_eq!(code("A\u{7}B"), Err(ForeignCodeError::Control { character: '\u{7}' }));
        assert_eq!(code(&"9".repeat(101)), Err(ForeignCodeError::TooLong));
        assert_eq!(code(&"9".repeat(10_000_000)), Err(ForeignCodeError::TooLong));
        assert!(code(&"9".repeat(100)).is_ok());
    }

    #[test]
    fn names_are_tidied() {
        assert_eq!(tidy_name(" U\u{0309}y\u{200B}  ban\tnhân dân\u{FEFF} "), "Ủy ban nhân dân");
        assert_eq!(tidy_name("\u{200B} "), "");
    }

    #[test]
    fn the_nearest_codes_come_first() {
        let codes: Vec<AgencyId> = ["H26", "H26.18", "H26.18.4", "H26.19", "G22"].map(id).into();
        let of =
            |text: &str| nearest(&text.parse().unwrap(), &codes).into_iter().map(AgencyId::as_str).collect::<Vec<_>>();
        assert_eq!(of("h26.18"), ["H26.18", "H26.19", "H26.18.4"]);
        assert_eq!(of("H2618"), ["H26.18", "H26", "H26.19"]);
        assert!(of("QQQQQQQQQQQQ").is_empty());
        assert!(of(&"9".repeat(100)).is_empty());
    }
}
