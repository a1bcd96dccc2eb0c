//! As much DER as the authorities here write and read: low tags, lengths below 64 KiB, times.

use data_encoding::BASE64;
use time::OffsetDateTime;
use truc_proto::Timestamp;

/// RFC 3161 2.4.2: UTC, a fraction without zeros at its end.
pub(crate) fn general_time(time: Timestamp) -> String {
    let date = OffsetDateTime::from_unix_timestamp(time.unix_s()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second) = date.to_hms();
    let ms = time.unix_ms().rem_euclid(1_000);
    let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}").trim_end_matches('0').to_owned() };
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{fraction}Z")
}

/// DER of an OBJECT IDENTIFIER.
pub(crate) fn oid(content: &[u8]) -> Vec<u8> {
    tlv(0x06, &[content])
}

/// DER of one element.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 128 => out.push(short),
        Ok(one) => out.extend([0x81, one]),
        Err(_) => {
            let two = u16::try_from(length).expect("tokens are shorter than 64 KiB").to_be_bytes();
            out.push(0x82);
            out.extend(two);
        }
    }
    out.extend(content);
    out
}

/// What stands between the lines that begin and end PEM blocks.
pub(crate) fn blocks(pem: &str) -> Vec<Vec<u8>> {
    let bodies = pem.split("-----BEGIN ").skip(1).filter_map(|block| block.split("-----").nth(1));
    let plain = |body: &str| body.split_whitespace().collect::<String>();
    bodies.filter_map(|body| BASE64.decode(plain(body).as_bytes()).ok()).collect()
}

/// Tag, content, and what follows.
pub(crate) fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        0x81 => rest.split_first().map(|(one, rest)| (usize::from(*one), rest))?,
        0x82 => rest.split_first_chunk::<2>().map(|(two, rest)| (usize::from(u16::from_be_bytes(*two)), rest))?,
        short => (usize::from(short), rest),
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}
