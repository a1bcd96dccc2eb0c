//! Adds a time-stamp to a signature that is there: CAdES-B-B becomes CAdES-B-T (EN 319 122-1 5.3), the signed bytes stay as they are.

use super::{
    CmsError, attribute,
    parts::{malformed, normalised},
};
use crate::{
    asn1::{self, Malformed, SEQUENCE, SET, Tlv, context},
    oid,
};

/// The signature with a time-stamp token over its signature value among the unsigned attributes. Whether the token fits is the caller's question.
///
/// # Errors
/// When `cms` or `token` is not well-formed.
pub fn embed_time_stamp(cms: &[u8], token: &[u8]) -> Result<Vec<u8>, CmsError> {
    let cms = normalised(cms)?;
    let token = Tlv::parse(token, SEQUENCE).map_err(malformed("time-stamp token"))?;
    let stamped = embed(&cms, attribute(oid::TIME_STAMP_TOKEN, token.whole)).map_err(malformed("SignedData"))?;
    // Bounded as everything that is read; and what was written is readable.
    super::parts::Parts::read(&normalised(&stamped)?)?;
    Ok(stamped)
}

fn embed(cms: &[u8], added: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    let mut info = Tlv::parse(cms, SEQUENCE)?.reader();
    let content_type = info.any()?;
    let data = Tlv::parse(info.expect(context(0))?.content, SEQUENCE)?;
    let (before, signers) = last_element(data)?;
    if signers.tag != SET {
        return Err(Malformed);
    }
    let signer = Tlv::parse(signers.content, SEQUENCE)?;
    let (signed, last) = last_element(signer)?;
    let (signed, mut attributes) =
        if last.tag == context(1) { (signed, elements(last)?) } else { (signer.content, Vec::new()) };
    attributes.push(added);
    let signer = asn1::tlv(SEQUENCE, &[signed, &asn1::set_of(context(1), attributes)]);
    let data = asn1::tlv(SEQUENCE, &[before, &asn1::tlv(SET, &[&signer])]);
    Ok(asn1::tlv(SEQUENCE, &[content_type.whole, &asn1::tlv(context(0), &[&data])]))
}

/// What stands before the last element, and that element.
fn last_element(parent: Tlv<'_>) -> Result<(&[u8], Tlv<'_>), Malformed> {
    let mut reader = parent.reader();
    let mut last = reader.any()?;
    while !reader.is_empty() {
        last = reader.any()?;
    }
    let before = parent.content.len() - last.whole.len();
    Ok((parent.content.get(..before).ok_or(Malformed)?, last))
}

fn elements(set: Tlv<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut reader = set.reader();
    let mut elements = Vec::new();
    while !reader.is_empty() {
        elements.push(reader.any()?.whole.to_vec());
    }
    Ok(elements)
}
