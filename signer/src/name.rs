//! Distinguished names as they are compared (RFC 5280 7.1): case and runs of spaces do not count, composed and decomposed letters are the same.
//!
//! Two things differ from the full string preparation of RFC 4518, on purpose: nothing invisible is dropped and no compatibility form is folded. So
//! letters that only look alike (Cyrillic А, full-width Ａ, a zero-width space) never make two names equal.

use unicode_normalization::{UnicodeNormalization, is_nfkc};

use crate::{
    asn1::{Malformed, OID, Reader, SEQUENCE, SET, Tlv, set_of, tlv},
    oid,
};

const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const UNIVERSAL_STRING: u8 = 0x1c;
const BMP_STRING: u8 = 0x1e;

/// A Name in the form in which equal names have equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ComparableName {
    /// One per RelativeDistinguishedName.
    parts: Vec<Vec<u8>>,
    has_look_alikes: bool,
}

impl ComparableName {
    /// From the DER of a Name.
    pub(crate) fn of(der: &[u8]) -> Result<Self, Malformed> {
        let mut name = Tlv::parse(der, SEQUENCE)?.reader();
        let mut made = Self { parts: Vec::new(), has_look_alikes: false };
        while !name.is_empty() {
            made.push(name.expect(SET)?.content)?;
        }
        Ok(made)
    }

    /// A name that is equal to the same bytes alone.
    pub(crate) fn opaque(der: &[u8]) -> Self {
        Self { parts: vec![der.to_vec()], has_look_alikes: false }
    }

    /// This name with one more RelativeDistinguishedName (the content of its SET) behind it.
    pub(crate) fn with(&self, relative: &[u8]) -> Result<Self, Malformed> {
        let mut longer = self.clone();
        longer.push(relative)?;
        Ok(longer)
    }

    /// No part at all, as in a certificate that names its subject in subjectAltName only.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Equal to `subtree`, or below it.
    pub(crate) fn is_within(&self, subtree: &Self) -> bool {
        self.parts.starts_with(&subtree.parts)
    }

    /// Whether a value mixes alphabets that have letters of the same look, or has invisible characters or compatibility forms.
    pub(crate) const fn has_look_alikes(&self) -> bool {
        self.has_look_alikes
    }

    fn push(&mut self, relative: &[u8]) -> Result<(), Malformed> {
        let mut values = Vec::new();
        for attribute in attributes(relative)? {
            let folded = match text(attribute.value)? {
                Some(text) => {
                    self.has_look_alikes |= looks_like_another(&text);
                    tlv(UTF8_STRING, &[folded(&text).as_bytes()])
                }
                None => attribute.value.whole.to_vec(),
            };
            values.push(tlv(SEQUENCE, &[attribute.id.whole, &folded]));
        }
        self.parts.push(set_of(SET, values));
        Ok(())
    }
}

struct Attribute<'a> {
    id: Tlv<'a>,
    value: Tlv<'a>,
}

/// The attributes of a RelativeDistinguishedName.
fn attributes(relative: &[u8]) -> Result<Vec<Attribute<'_>>, Malformed> {
    let mut reader = Reader::new(relative);
    let mut all = Vec::new();
    while !reader.is_empty() {
        let mut fields = reader.sequence()?;
        let (id, value) = (fields.expect(OID)?, fields.any()?);
        fields.finish()?;
        all.push(Attribute { id, value });
    }
    if all.is_empty() { Err(Malformed) } else { Ok(all) }
}

/// The emailAddress attributes of a Name: constraints on e-mail names hold for them too (RFC 5280 4.2.1.10).
pub(crate) fn email_addresses(der: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut name = Tlv::parse(der, SEQUENCE)?.reader();
    let mut found = Vec::new();
    while !name.is_empty() {
        for attribute in attributes(name.expect(SET)?.content)? {
            if attribute.id.is_oid(oid::EMAIL_ADDRESS) {
                found.push(text(attribute.value)?.ok_or(Malformed)?);
            }
        }
    }
    Ok(found)
}

/// The value as text; `None` for what is no text, or (TeletexString) text that nobody reads alike.
fn text(value: Tlv<'_>) -> Result<Option<String>, Malformed> {
    let content = value.content;
    Ok(Some(match value.tag {
        UTF8_STRING => std::str::from_utf8(content).map_err(|_| Malformed)?.to_owned(),
        PRINTABLE_STRING | IA5_STRING => {
            std::str::from_utf8(content).ok().filter(|text| text.is_ascii()).ok_or(Malformed)?.to_owned()
        }
        BMP_STRING => {
            let (units, []) = content.as_chunks::<2>() else { return Err(Malformed) };
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            char::decode_utf16(units).collect::<Result<_, _>>().map_err(|_| Malformed)?
        }
        UNIVERSAL_STRING => {
            let (units, []) = content.as_chunks::<4>() else { return Err(Malformed) };
            let units = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            units.collect::<Option<_>>().ok_or(Malformed)?
        }
        _ => return Ok(None),
    }))
}

fn folded(text: &str) -> String {
    let lower: String = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.nfc().collect::<String>().to_lowercase().nfc().collect()
    };
    let words: Vec<&str> = lower.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn looks_like_another(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    let composed: String = text.nfc().collect();
    let mut alphabets = composed.chars().filter_map(alphabet);
    let first = alphabets.next();
    !is_nfkc(&composed) || composed.chars().any(is_invisible) || alphabets.any(|other| Some(other) != first)
}

#[derive(PartialEq, Eq)]
enum Alphabet {
    Latin,
    Greek,
    Cyrillic,
    Armenian,
    Cherokee,
}

/// The alphabets whose letters pass for one another.
fn alphabet(letter: char) -> Option<Alphabet> {
    if !letter.is_alphabetic() {
        return None;
    }
    Some(match letter {
        '\u{0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{2c60}'..='\u{2c7f}' | '\u{a720}'..='\u{a7ff}' => {
            Alphabet::Latin
        }
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Alphabet::Greek,
        '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{2de0}'..='\u{2dff}' | '\u{a640}'..='\u{a69f}' => {
            Alphabet::Cyrillic
        }
        '\u{530}'..='\u{58f}' => Alphabet::Armenian,
        '\u{13a0}'..='\u{13ff}' | '\u{ab70}'..='\u{abbf}' => Alphabet::Cherokee,
        _ => return None,
    })
}

fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(values: &[(u8, &str)]) -> ComparableName {
        let common_name = tlv(OID, &[&[0x55, 4, 3]]);
        let parts: Vec<Vec<u8>> = values
            .iter()
            .map(|(tag, value)| tlv(SET, &[&tlv(SEQUENCE, &[&common_name, &tlv(*tag, &[value.as_bytes()])])]))
            .collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        ComparableName::of(&tlv(SEQUENCE, &parts)).unwrap()
    }

    #[track_caller]
    fn check(one: &str, other: &str, equal: bool) {
        assert_eq!(name(&[(UTF8_STRING, one)]) == name(&[(UTF8_STRING, other)]), equal, "{one:?} and {other:?}");
    }

    #[test]
    fn case_spaces_composition_and_string_types_do_not_count() {
        check("UBND THÀNH PHỐ HÀ NỘI", "ubnd  thành phố hà nội ", true);
        check("Ha\u{300} No\u{323}\u{302}i", "Hà Nội", true);
        check("Hà Nội", "Ha Noi", false);
        check("AB", "A B", false);
        assert_eq!(name(&[(PRINTABLE_STRING, "Root CA")]), name(&[(UTF8_STRING, "ROOT  CA")]));
        let bmp = tlv(BMP_STRING, &[&[0, b'R', 0, b'a']]);
        assert_eq!(text(Tlv::parse(&bmp, BMP_STRING).unwrap()), Ok(Some("Ra".into())));
    }

    #[test]
    fn letters_that_look_alike_are_not_equal_and_a_name_that_mixes_them_is_told() {
        for (real, posing) in [
            ("BAN", "ВАN"),            // Cyrillic В and А
            ("BAN", "BAN\u{200b}"),    // zero-width space
            ("BAN", "ＢＡＮ"),         // full width
            ("BAN CO", "BAN\u{a0}CO"), // no-break space
            ("BAN", "\u{202e}NAB"),    // written from right to left
        ] {
            check(real, posing, false);
            assert!(name(&[(UTF8_STRING, posing)]).has_look_alikes(), "{posing:?}");
        }
        for plain in ["Ban Cơ yếu Chính phủ", "ỦY BAN NHÂN DÂN", "Правительство", "東京 KK", "Ha\u{300}"]
        {
            assert!(!name(&[(UTF8_STRING, plain)]).has_look_alikes(), "{plain:?}");
        }
    }

    #[test]
    fn a_name_is_within_what_it_begins_with() {
        let (outer, inner) = (name(&[(UTF8_STRING, "a")]), name(&[(UTF8_STRING, "A"), (UTF8_STRING, "b")]));
        assert!(inner.is_within(&outer) && outer.is_within(&outer) && !outer.is_within(&inner));
        assert!(inner.is_within(&name(&[])));
    }
}
