//! OCSPResponse (RFC 6960 4.2), read strictly over the bytes received.

use truc_proto::{
    Digest,
    limits::{OCSP_BYTES_MAX, OCSP_CERTIFICATES_MAX, OCSP_SINGLES_MAX},
};

use super::{Fields, OcspAnswer, OcspError, OcspStatement, OcspStatus, Single, responder::Name};
use crate::{
    asn1::{
        Algorithm, BIT_STRING, ENUMERATED, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, OID, Reader, SEQUENCE,
        Tlv, context, context_primitive,
    },
    certificate::Certificate,
    crl::{RevocationReason, minimal, scheme_of},
    hash::Hash,
    oid,
};

const BOOLEAN: u8 = 0x01;
/// RFC 9654 2.1.
const NONCE_BYTES_MAX: usize = 128;
/// RFC 6960 4.2.1; 0 is success, 4 is not used.
const STATUSES: [(u8, &str); 5] =
    [(1, "malformedRequest"), (2, "internalError"), (3, "tryLater"), (5, "sigRequired"), (6, "unauthorized")];

impl OcspAnswer {
    /// Reads the DER of an OCSPResponse.
    ///
    /// # Errors
    /// When it is too large, malformed, signed with an unknown algorithm, or an error of the responder's.
    pub fn from_der(der: &[u8]) -> Result<Self, OcspError> {
        if der.len() > OCSP_BYTES_MAX {
            return Err(OcspError::TooLarge { bytes: der.len() });
        }
        let malformed = |part| move |_: Malformed| OcspError::Malformed { part };
        let basic = basic_response(der)?;
        let mut outer = basic.reader();
        let (tbs, algorithm, signature, certificates) =
            signed_parts(&mut outer).map_err(malformed("BasicOCSPResponse"))?;
        let scheme = scheme_of(&algorithm).map_err(|_| OcspError::Algorithm { algorithm: algorithm.name() })?;
        let mut data = tbs.reader();
        let (responder, produced_at) = head(&mut data).map_err(malformed("ResponseData"))?;
        let singles = data.sequence().and_then(singles).map_err(malformed("SingleResponse"))?;
        let mut nonce = None;
        if let Some(extensions) = data.optional(context(1)).map_err(malformed("responseExtensions"))? {
            nonce = read_nonce(extensions).map_err(malformed("responseExtensions"))?;
        }
        data.finish().map_err(malformed("ResponseData"))?;
        Ok(Self(
            Fields {
                der: der.into(),
                sha256: Digest::of(der),
                tbs: tbs.whole.into(),
                scheme,
                signature: signature.into(),
                responder,
                produced_at,
                nonce,
                singles,
                certificates,
            }
            .into(),
        ))
    }
}

/// The BasicOCSPResponse inside an answer that was successful.
fn basic_response(der: &[u8]) -> Result<Tlv<'_>, OcspError> {
    let malformed = |_: Malformed| OcspError::Malformed { part: "OCSPResponse" };
    let mut outer = Tlv::parse(der, SEQUENCE).map_err(malformed)?.reader();
    let status = outer.expect(ENUMERATED).map_err(malformed)?.content;
    if status != [0] {
        let known = STATUSES.iter().find(|(code, _)| status == [*code]);
        let &(_, status) = known.ok_or(OcspError::Malformed { part: "responseStatus" })?;
        return Err(OcspError::Refused { status });
    }
    let read = || {
        let bytes = outer.expect(context(0))?;
        outer.finish()?;
        let mut bytes = Tlv::parse(bytes.content, SEQUENCE)?.reader();
        bytes.oid(oid::OCSP_BASIC)?;
        let basic = bytes.expect(OCTET_STRING)?;
        bytes.finish()?;
        Tlv::parse(basic.content, SEQUENCE)
    };
    let mut read = read;
    read().map_err(malformed)
}

type Signed<'a> = (Tlv<'a>, Algorithm<'a>, &'a [u8], Vec<Certificate>);

fn signed_parts<'a>(outer: &mut Reader<'a>) -> Result<Signed<'a>, Malformed> {
    let tbs = outer.expect(SEQUENCE)?;
    let algorithm = Algorithm::read(outer)?;
    let signature = outer.expect(BIT_STRING)?.bit_string()?;
    let mut certificates = Vec::new();
    if let Some(given) = outer.optional(context(0))? {
        let mut given = Tlv::parse(given.content, SEQUENCE)?.reader();
        let mut count = 0;
        while !given.is_empty() {
            count += 1;
            if count > OCSP_CERTIFICATES_MAX {
                return Err(Malformed);
            }
            // One that cannot be read cannot be the responder's; it is passed over.
            certificates.extend(Certificate::from_der(given.expect(SEQUENCE)?.whole).ok());
        }
    }
    outer.finish()?;
    Ok((tbs, algorithm, signature, certificates))
}

fn head(data: &mut Reader<'_>) -> Result<(Name, truc_proto::Timestamp), Malformed> {
    if let Some(version) = data.optional(context(0))?
        && Reader::new(version.content).small_integer()? != 0
    {
        return Err(Malformed);
    }
    let name = match data.peek() {
        Some(tag) if tag == context(1) => Name::ByName(Tlv::parse(data.any()?.content, SEQUENCE)?.whole.into()),
        Some(tag) if tag == context(2) => Name::ByKey(Tlv::parse(data.any()?.content, OCTET_STRING)?.content.into()),
        _ => return Err(Malformed),
    };
    Ok((name, data.expect(GENERALIZED_TIME)?.time()?))
}

fn singles(mut list: Reader<'_>) -> Result<Vec<Single>, Malformed> {
    let mut singles = Vec::new();
    while !list.is_empty() {
        if singles.len() == OCSP_SINGLES_MAX {
            return Err(Malformed);
        }
        singles.extend(single(list.sequence()?)?);
    }
    Ok(singles)
}

/// None: it names its certificate under a hash we do not know, so it is about none of ours.
fn single(mut fields: Reader<'_>) -> Result<Option<Single>, Malformed> {
    let mut named = fields.sequence()?;
    let algorithm = Algorithm::read(&mut named)?;
    let issuer_name = named.expect(OCTET_STRING)?.content.into();
    let issuer_key = named.expect(OCTET_STRING)?.content.into();
    let serial = minimal(named.expect(INTEGER)?.content).into();
    named.finish()?;
    let status = status(fields.any()?)?;
    let this_update = fields.expect(GENERALIZED_TIME)?.time()?;
    let next_update = match fields.optional(context(0))? {
        Some(next) => Some(Tlv::parse(next.content, GENERALIZED_TIME)?.time()?),
        None => None,
    };
    if let Some(extensions) = fields.optional(context(1))? {
        each_extension(extensions, |_, critical, _| if critical { Err(Malformed) } else { Ok(()) })?;
    }
    fields.finish()?;
    let hash = [Hash::Sha1, Hash::Sha256].into_iter().find(|hash| algorithm.is_plain(hash.oid()));
    let statement = OcspStatement { status, this_update, next_update };
    Ok(hash.map(|hash| Single { hash, issuer_name, issuer_key, serial, statement }))
}

fn status(status: Tlv<'_>) -> Result<OcspStatus, Malformed> {
    if status.tag == context_primitive(0) && status.content.is_empty() {
        return Ok(OcspStatus::Good);
    }
    if status.tag == context_primitive(2) && status.content.is_empty() {
        return Ok(OcspStatus::Unknown);
    }
    if status.tag != context(1) {
        return Err(Malformed);
    }
    let mut revoked = status.reader();
    let at = revoked.expect(GENERALIZED_TIME)?.time()?;
    let reason = match revoked.optional(context(0))? {
        Some(reason) => match Tlv::parse(reason.content, ENUMERATED)?.content {
            [code] => RevocationReason::from_code(*code).ok_or(Malformed)?,
            _ => return Err(Malformed),
        },
        None => RevocationReason::Unspecified,
    };
    revoked.finish()?;
    Ok(OcspStatus::Revoked { at, reason })
}

fn read_nonce(extensions: Tlv<'_>) -> Result<Option<Box<[u8]>>, Malformed> {
    let mut nonce = None;
    each_extension(extensions, |id, critical, value| {
        if id.is_oid(oid::OCSP_NONCE) {
            let found = Tlv::parse(value, OCTET_STRING)?.content;
            if nonce.is_some() || !(1..=NONCE_BYTES_MAX).contains(&found.len()) {
                return Err(Malformed);
            }
            nonce = Some(found.into());
            return Ok(());
        }
        if critical { Err(Malformed) } else { Ok(()) }
    })?;
    Ok(nonce)
}

/// `[n] EXPLICIT SEQUENCE OF Extension`.
fn each_extension<'a>(
    explicit: Tlv<'a>,
    mut look: impl FnMut(Tlv<'a>, bool, &'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut extensions = Tlv::parse(explicit.content, SEQUENCE)?.reader();
    while !extensions.is_empty() {
        let mut extension = extensions.sequence()?;
        let id = extension.expect(OID)?;
        let critical = extension.optional(BOOLEAN)?.is_some_and(|flag| flag.content != [0]);
        let value = extension.expect(OCTET_STRING)?.content;
        extension.finish()?;
        look(id, critical, value)?;
    }
    Ok(())
}
