//! Strict DER reading and plain DER writing over byte slices, and the BER → DER normaliser.
//!
//! CMS structures and CRLs are read from here rather than through typed decoders because what was signed must be
//! verified over the bytes received (I8): every element keeps its exact bytes. Only low tag numbers exist in these formats.

use der::asn1::ObjectIdentifier;
use truc_proto::{Timestamp, limits::CMS_DEPTH_MAX};
use x509_cert::der::Decode;

/// The bytes are not the DER (or, for the normaliser, BER) that was expected. Carries no detail: callers name the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
const CONSTRUCTED_OCTET_STRING: u8 = 0x24;

/// `[n]`, constructed: an EXPLICIT tag, or an IMPLICIT one over SEQUENCE or SET.
pub(crate) const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// `[n]`, primitive: an IMPLICIT tag over a string.
pub(crate) const fn context_primitive(n: u8) -> u8 {
    0x80 | n
}

/// One element: its tag, its content, and all its bytes as they stood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tlv<'a> {
    pub(crate) tag: u8,
    pub(crate) whole: &'a [u8],
    pub(crate) content: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// Exactly one element, nothing behind it.
    pub(crate) fn parse(bytes: &'a [u8], tag: u8) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let tlv = reader.expect(tag)?;
        reader.finish()?;
        Ok(tlv)
    }

    pub(crate) fn reader(self) -> Reader<'a> {
        Reader::new(self.content)
    }

    pub(crate) fn is_oid(self, oid: ObjectIdentifier) -> bool {
        self.tag == OID && self.content == oid.as_bytes()
    }

    /// UTCTime or GeneralizedTime.
    pub(crate) fn time(self) -> Result<Timestamp, Malformed> {
        let time = x509_cert::time::Time::from_der(self.whole).map_err(|_| Malformed)?;
        let ms = i64::try_from(time.to_unix_duration().as_millis()).map_err(|_| Malformed)?;
        Ok(Timestamp::from_unix_ms(ms))
    }

    /// The bytes of a BIT STRING without unused bits.
    pub(crate) fn bit_string(self) -> Result<&'a [u8], Malformed> {
        match self.content.split_first() {
            Some((0, bytes)) if self.tag == BIT_STRING => Ok(bytes),
            _ => Err(Malformed),
        }
    }
}

/// Reads the elements of one content in turn.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The tag of the next element, if there is one.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element, whatever its tag.
    pub(crate) fn any(&mut self) -> Result<Tlv<'a>, Malformed> {
        let start = self.rest;
        let tag = take_tag(&mut self.rest)?;
        let length = match take_length(&mut self.rest)? {
            Length::Definite { bytes, minimal: true } => bytes,
            _ => return Err(Malformed),
        };
        let (content, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        let whole = start.get(..start.len() - rest.len()).ok_or(Malformed)?;
        Ok(Tlv { tag, whole, content })
    }

    pub(crate) fn expect(&mut self, tag: u8) -> Result<Tlv<'a>, Malformed> {
        let tlv = self.any()?;
        if tlv.tag == tag { Ok(tlv) } else { Err(Malformed) }
    }

    /// The next element if it carries `tag`.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Tlv<'a>>, Malformed> {
        if self.peek() == Some(tag) { self.any().map(Some) } else { Ok(None) }
    }

    pub(crate) fn sequence(&mut self) -> Result<Reader<'a>, Malformed> {
        self.expect(SEQUENCE).map(Tlv::reader)
    }

    /// An INTEGER between 0 and 127.
    pub(crate) fn small_integer(&mut self) -> Result<u8, Malformed> {
        match self.expect(INTEGER)?.content {
            [value] if *value < 0x80 => Ok(*value),
            _ => Err(Malformed),
        }
    }

    /// A BOOLEAN that is there only when true, or (some write it) as FALSE.
    pub(crate) fn default_false(&mut self) -> Result<bool, Malformed> {
        truth(self.optional(BOOLEAN)?)
    }

    /// `[n]` IMPLICIT BOOLEAN DEFAULT FALSE.
    pub(crate) fn tagged_default_false(&mut self, n: u8) -> Result<bool, Malformed> {
        truth(self.optional(context_primitive(n))?)
    }

    pub(crate) fn oid(&mut self, expected: ObjectIdentifier) -> Result<(), Malformed> {
        if self.any()?.is_oid(expected) { Ok(()) } else { Err(Malformed) }
    }

    pub(crate) fn finish(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// DER writes TRUE as 0xff (X.690 11.1).
fn truth(flag: Option<Tlv<'_>>) -> Result<bool, Malformed> {
    match flag.map(|flag| flag.content) {
        None | Some([0]) => Ok(false),
        Some([0xff]) => Ok(true),
        Some(_) => Err(Malformed),
    }
}

/// An AlgorithmIdentifier: the OID element and the parameters, if any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Algorithm<'a> {
    pub(crate) oid: Tlv<'a>,
    pub(crate) parameters: Option<Tlv<'a>>,
}

impl<'a> Algorithm<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Self::of(&mut reader.sequence()?)
    }

    /// From the inside of its SEQUENCE.
    pub(crate) fn of(inside: &mut Reader<'a>) -> Result<Self, Malformed> {
        let oid = inside.expect(OID)?;
        let parameters = if inside.is_empty() { None } else { Some(inside.any()?) };
        inside.finish()?;
        Ok(Self { oid, parameters })
    }

    /// Parameters absent or NULL, the two spellings of "none".
    pub(crate) fn has_no_parameters(&self) -> bool {
        self.parameters.is_none_or(|p| p.tag == NULL && p.content.is_empty())
    }

    /// This algorithm without parameters.
    pub(crate) fn is_plain(&self, oid: ObjectIdentifier) -> bool {
        self.oid.is_oid(oid) && self.has_no_parameters()
    }

    /// The OID in dotted form, for messages.
    pub(crate) fn name(&self) -> String {
        ObjectIdentifier::from_bytes(self.oid.content)
            .map_or_else(|_| "a malformed algorithm".into(), |o| o.to_string())
    }
}

fn take_tag(rest: &mut &[u8]) -> Result<u8, Malformed> {
    match rest.split_first() {
        Some((tag, tail)) if tag & 0x1f != 0x1f => {
            *rest = tail;
            Ok(*tag)
        }
        _ => Err(Malformed),
    }
}

enum Length {
    Definite { bytes: usize, minimal: bool },
    Indefinite,
}

fn take_length(rest: &mut &[u8]) -> Result<Length, Malformed> {
    let (first, tail) = rest.split_first().ok_or(Malformed)?;
    *rest = tail;
    match *first {
        short @ 0..=0x7f => Ok(Length::Definite { bytes: usize::from(short), minimal: true }),
        0x80 => Ok(Length::Indefinite),
        long @ 0x81..=0x84 => {
            let (digits, tail) = rest.split_at_checked(usize::from(long & 0x7f)).ok_or(Malformed)?;
            *rest = tail;
            let bytes = digits.iter().fold(0, |n: usize, digit| (n << 8) | usize::from(*digit));
            let minimal = digits.first() != Some(&0) && bytes > 0x7f;
            Ok(Length::Definite { bytes, minimal })
        }
        _ => Err(Malformed),
    }
}

/// DER of one element whose content is the concatenation of `parts`.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    put_header(&mut out, tag, length);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// DER of a SET OF: the elements in ascending order of their encodings (X.690 11.6).
pub(crate) fn set_of(tag: u8, mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    let parts: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
    tlv(tag, &parts)
}

pub(crate) fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    tlv(OID, &[oid.as_bytes()])
}

/// DER of an AlgorithmIdentifier without parameters.
pub(crate) fn algorithm(id: ObjectIdentifier) -> Vec<u8> {
    tlv(SEQUENCE, &[&oid(id)])
}

/// DER of an AlgorithmIdentifier with these parameters.
pub(crate) fn algorithm_with(id: ObjectIdentifier, parameters: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[&oid(id), parameters])
}

fn put_header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    let digits = length.to_be_bytes();
    if length < 0x80 {
        out.extend(digits.last());
    } else {
        let used: Vec<u8> = digits.into_iter().skip_while(|digit| *digit == 0).collect();
        out.push(0x80 | u8::try_from(used.len()).expect("a length has at most eight bytes"));
        out.extend(used);
    }
}

/// Turns BER into DER as far as streaming writers need it: definite minimal lengths, OCTET STRING segments joined.
///
/// Implicitly tagged constructed strings keep their segments: only the reader who knows the schema can tell them from
/// SEQUENCEs ([`implicit_octets`]). Exactly one element is taken; what stands behind it is an error. Depth is bounded.
pub(crate) fn normalise(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut rest = bytes;
    let mut out = Vec::with_capacity(bytes.len());
    copy_element(&mut rest, &mut out, CMS_DEPTH_MAX)?;
    if rest.is_empty() { Ok(out) } else { Err(Malformed) }
}

fn copy_element(rest: &mut &[u8], out: &mut Vec<u8>, depth_left: usize) -> Result<(), Malformed> {
    let depth_left = depth_left.checked_sub(1).ok_or(Malformed)?;
    let tag = take_tag(rest)?;
    let constructed = tag & 0x20 != 0;
    let length = take_length(rest)?;
    if !constructed {
        let Length::Definite { bytes, .. } = length else { return Err(Malformed) };
        let (content, tail) = rest.split_at_checked(bytes).ok_or(Malformed)?;
        *rest = tail;
        put_header(out, tag, content.len());
        out.extend_from_slice(content);
        return Ok(());
    }
    let mut children = Vec::new();
    match length {
        Length::Definite { bytes, .. } => {
            let (mut content, tail) = rest.split_at_checked(bytes).ok_or(Malformed)?;
            *rest = tail;
            while !content.is_empty() {
                copy_element(&mut content, &mut children, depth_left)?;
            }
        }
        Length::Indefinite => loop {
            if let Some(tail) = rest.strip_prefix(&[0, 0]) {
                *rest = tail;
                break;
            }
            copy_element(rest, &mut children, depth_left)?;
        },
    }
    if tag == CONSTRUCTED_OCTET_STRING {
        let joined = join_octets(&children)?;
        put_header(out, OCTET_STRING, joined.len());
        out.extend(joined);
    } else {
        put_header(out, tag, children.len());
        out.extend(children);
    }
    Ok(())
}

/// The content of an OCTET STRING under `[n] IMPLICIT`: one primitive string, or (BER) segments to be joined.
pub(crate) fn implicit_octets(tlv: Tlv<'_>, n: u8) -> Result<Vec<u8>, Malformed> {
    if tlv.tag == context_primitive(n) {
        Ok(tlv.content.to_vec())
    } else if tlv.tag == context(n) {
        join_octets(tlv.content)
    } else {
        Err(Malformed)
    }
}

fn join_octets(segments: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(segments);
    let mut joined = Vec::with_capacity(segments.len());
    while !reader.is_empty() {
        joined.extend_from_slice(reader.expect(OCTET_STRING)?.content);
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], expected: Option<&[u8]>) {
        assert_eq!(normalise(input).ok().as_deref(), expected);
    }

    #[test]
    fn indefinite_lengths_and_segments_become_der() {
        check(&[0x30, 0x80, 0x02, 0x01, 0x05, 0, 0], Some(&[0x30, 3, 2, 1, 5]));
        check(&[0x24, 0x80, 4, 2, 1, 2, 4, 1, 3, 0, 0], Some(&[4, 3, 1, 2, 3]));
        check(&[0x24, 0x80, 0x24, 3, 4, 1, 9, 4, 1, 3, 0, 0], Some(&[4, 2, 9, 3]));
        check(&[0x30, 0x81, 0x03, 2, 1, 5], Some(&[0x30, 3, 2, 1, 5]));
    }

    #[test]
    fn truncation_trailing_bytes_and_wrong_segments_are_refused() {
        check(&[0x30, 0x80, 2, 1, 5], None);
        check(&[0x30, 0x80, 2, 1, 5, 0], None);
        check(&[0x30, 3, 2, 1, 5, 0], None);
        check(&[0x24, 0x80, 2, 1, 5, 0, 0], None);
        check(&[0x04, 0x80, 0, 0], None);
        check(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], None);
        check(&[], None);
    }

    #[test]
    fn nesting_ends_at_the_bound() {
        let nested = |depth: usize| {
            let mut bytes = [0x30, 0x80].repeat(depth);
            bytes.extend([0u8; 2].repeat(depth));
            bytes
        };
        assert!(normalise(&nested(CMS_DEPTH_MAX)).is_ok());
        assert_eq!(normalise(&nested(CMS_DEPTH_MAX + 1)), Err(Malformed));
        assert_eq!(normalise(&nested(1_000_000)), Err(Malformed));
    }

    #[test]
    fn long_lengths_are_written_minimal_and_read_strictly() {
        let long = tlv(OCTET_STRING, &[&[7; 300]]);
        assert_eq!(long.get(..4), Some(&[4, 0x82, 1, 44][..]));
        assert_eq!(Tlv::parse(&long, OCTET_STRING).unwrap().content, [7; 300]);
        assert!(Tlv::parse(&[4, 0x81, 1, 7], OCTET_STRING).is_err());
        assert!(Tlv::parse(&[4, 0x82, 0, 200], OCTET_STRING).is_err());
    }
}
