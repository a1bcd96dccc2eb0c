//! TSTInfo (RFC 3161 2.4.2): what a token states.

use std::time::Duration;

use data_encoding::HEXLOWER;
use der::asn1::ObjectIdentifier;
use truc_proto::Timestamp;

use crate::{
    asn1::{
        Algorithm, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, OID, Reader, SEQUENCE, Tlv, context,
        context_primitive,
    },
    hash::Hash,
};

const BOOLEAN: u8 = 0x01;

pub(super) struct TstInfo {
    pub(super) policy: String,
    pub(super) hash: Hash,
    pub(super) imprint: Vec<u8>,
    pub(super) time: Timestamp,
    pub(super) accuracy: Option<Duration>,
    pub(super) nonce: Option<Vec<u8>>,
}

impl TstInfo {
    pub(super) fn read(der: &[u8]) -> Result<Self, Malformed> {
        let mut info = Tlv::parse(der, SEQUENCE)?.reader();
        if info.small_integer()? != 1 {
            return Err(Malformed);
        }
        let policy = policy_text(info.expect(OID)?.content)?;
        let mut message = info.sequence()?;
        let hash = Hash::sha2(&Algorithm::read(&mut message)?).ok_or(Malformed)?;
        let imprint = message.expect(OCTET_STRING)?.content.to_vec();
        message.finish()?;
        info.expect(INTEGER)?; // the serial number: the authority's own affair
        let time = gen_time(info.expect(GENERALIZED_TIME)?.content)?;
        let accuracy = info.optional(SEQUENCE)?.map(|accuracy| read_accuracy(accuracy.reader())).transpose()?;
        info.optional(BOOLEAN)?; // ordering: nobody compares serial numbers here
        let nonce = info.optional(INTEGER)?.map(|nonce| nonce.content.to_vec());
        info.optional(context(0))?; // tsa: a hint of its name; the certificate is named in the signed attributes
        if let Some(extensions) = info.optional(context(1))? {
            no_critical(extensions.reader())?;
        }
        info.finish()?;
        Ok(Self { policy, hash, imprint, time, accuracy, nonce })
    }
}

/// Dotted; of what the library cannot show, the bytes.
fn policy_text(content: &[u8]) -> Result<String, Malformed> {
    if content.last().is_none_or(|last| last & 0x80 != 0) {
        return Err(Malformed);
    }
    let shown = ObjectIdentifier::from_bytes(content).map(|oid| oid.to_string());
    Ok(shown.unwrap_or_else(|_| format!("OID {}", HEXLOWER.encode(content))))
}

/// `YYYYMMDDhhmmss[.f]Z` with up to nine digits of a fraction, rounded up to the millisecond.
fn gen_time(content: &[u8]) -> Result<Timestamp, Malformed> {
    let text = std::str::from_utf8(content).ok().and_then(|text| text.strip_suffix('Z')).ok_or(Malformed)?;
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if (1..=9).contains(&fraction.len()) => (whole, fraction),
        Some(_) => return Err(Malformed),
        None => (text, "0"),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(fraction) {
        return Err(Malformed);
    }
    let part = |from: usize, to: usize| whole.get(from..to).and_then(|text| text.parse::<u8>().ok()).ok_or(Malformed);
    let year = whole.get(..4).and_then(|text| text.parse::<u16>().ok()).ok_or(Malformed)?;
    let date = der::DateTime::new(year, part(4, 6)?, part(6, 8)?, part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let seconds = date.map_err(|_| Malformed)?.unix_duration();
    let nanoseconds: u64 = format!("{fraction:0<9}").parse().map_err(|_| Malformed)?;
    let since = seconds + Duration::from_millis(nanoseconds.div_ceil(1_000_000));
    Ok(Timestamp::from_unix_ms(i64::try_from(since.as_millis()).map_err(|_| Malformed)?))
}

/// Accuracy ::= SEQUENCE { seconds, millis [0], micros [1], each optional }; a fraction of a millisecond counts as one.
fn read_accuracy(mut fields: Reader<'_>) -> Result<Duration, Malformed> {
    let mut number = |tag| fields.optional(tag).and_then(|found| found.map_or(Ok(0), |found| unsigned(found.content)));
    let (seconds, millis, micros) = (number(INTEGER)?, number(context_primitive(0))?, number(context_primitive(1))?);
    fields.finish()?;
    if millis > 999 || micros > 999 {
        return Err(Malformed);
    }
    Ok(Duration::from_secs(seconds) + Duration::from_millis(millis + micros.min(1)))
}

/// A non-negative INTEGER of up to four bytes.
fn unsigned(content: &[u8]) -> Result<u64, Malformed> {
    match content {
        [first, ..] if *first < 0x80 && content.len() <= 4 => {
            Ok(content.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
        }
        _ => Err(Malformed),
    }
}

/// An extension that must be understood is not.
fn no_critical(mut extensions: Reader<'_>) -> Result<(), Malformed> {
    while !extensions.is_empty() {
        let mut extension = extensions.sequence()?;
        extension.expect(OID)?;
        if extension.optional(BOOLEAN)?.is_some_and(|critical| critical.content != [0]) {
            return Err(Malformed);
        }
        extension.expect(OCTET_STRING)?;
        extension.finish()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let found = gen_time(text.as_bytes()).ok();
        assert_eq!(found.map(|time| time.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn times_are_read_to_the_millisecond_and_rounded_up() {
        check("20261122033000Z", Some("2026-11-22T03:30:00.000Z"));
        check("20261122033000.5Z", Some("2026-11-22T03:30:00.500Z"));
        check("20261122033000.1230001Z", Some("2026-11-22T03:30:00.124Z"));
        check("20261231235959.999999999Z", Some("2027-01-01T00:00:00.000Z"));
        for bad in
            ["20261122033000", "20261122033000.Z", "202611220330Z", "20261322033000Z", "2026112203300aZ", "Z", ""]
        {
            check(bad, None);
        }
        check("20261122033000.1234567891Z", None);
        check("20261122033000+0700", None);
    }

    #[test]
    fn accuracy_is_a_sum_and_bounded_in_its_parts() {
        let read = |bytes: &[u8]| read_accuracy(Reader::new(bytes)).ok();
        assert_eq!(read(&[]), Some(Duration::ZERO));
        assert_eq!(read(&[2, 1, 1, 0x80, 2, 1, 244, 0x81, 1, 9]), Some(Duration::from_millis(1_501)));
        assert_eq!(read(&[0x80, 2, 3, 232]), None, "1000 ms");
        assert_eq!(read(&[2, 1, 0xff]), None, "negative");
        assert_eq!(read(&[2, 5, 1, 0, 0, 0, 0]), None, "136 years");
        assert_eq!(read(&[0x81, 1, 1, 0x80, 1, 1]), None, "out of order");
    }
}
