//! What the signed attributes of a SignerInfo say; each attribute once, with one value.

use truc_proto::{Timestamp, limits::CMS_ATTRIBUTES_MAX};

use super::{
    CmsError,
    parts::{elements, malformed, single_value},
};
use crate::{
    asn1::{Algorithm, Malformed, OCTET_STRING, SEQUENCE, Tlv},
    certificate::Certificate,
    hash::Hash,
    oid,
};

pub(super) struct SignedAttributes<'a> {
    pub(super) content_type: &'a [u8],
    pub(super) message_digest: &'a [u8],
    pub(super) signer: CertificateName<'a>,
    pub(super) signing_time: Option<Timestamp>,
}

/// A certificate named by its hash.
#[derive(Clone, Copy)]
pub(super) struct CertificateName<'a> {
    hash: Hash,
    value: &'a [u8],
}

impl CertificateName<'_> {
    pub(super) fn is_of(&self, certificate: &Certificate) -> bool {
        match self.hash {
            Hash::Sha256 => self.value == certificate.sha256().as_bytes(),
            hash => self.value == hash.of(certificate.der()),
        }
    }
}

impl<'a> SignedAttributes<'a> {
    /// `digest`: the hash of the message digest. `old`: signing-certificate (RFC 2634 5.4, SHA-1) will do where signing-certificate-v2 is missing, and
    /// that may name the certificate by any hash of SHA-2.
    pub(super) fn read(attributes: Tlv<'a>, digest: Hash, old: bool) -> Result<Self, CmsError> {
        let all = elements(Some(attributes), CMS_ATTRIBUTES_MAX, "attributes")?;
        // X.690 11.6: DER sorts a SET OF. Other orders are signed by nobody and would make two readings of one signature.
        if !all.is_sorted_by(|a, b| a.whole <= b.whole) {
            return Err(CmsError::Malformed { part: "order of the signed attributes" });
        }
        let mut content_type = missing("content-type");
        let mut message_digest = missing("message-digest");
        let mut signer = missing("signing-certificate-v2");
        let mut old_signer = missing("signing-certificate");
        let mut signing_time = None;
        for attribute in all {
            let (id, value) = single_value(attribute).map_err(malformed("signed attributes"))?;
            let id_is = |oid| id.is_oid(oid);
            if id_is(oid::CONTENT_TYPE) {
                set_once(&mut content_type, Ok(value.whole), "content-type")?;
            } else if id_is(oid::MESSAGE_DIGEST) {
                set_once(&mut message_digest, octets(value, digest), "message-digest")?;
            } else if id_is(oid::SIGNING_CERTIFICATE_V2) {
                set_once(&mut signer, first_certificate(value, old), "signing-certificate-v2")?;
            } else if old && id_is(oid::SIGNING_CERTIFICATE) {
                set_once(&mut old_signer, first_old_certificate(value), "signing-certificate")?;
            } else if id_is(oid::SIGNING_TIME) {
                let invalid = CmsError::Attribute { attribute: "signing-time" };
                let time = value.time().map_err(|Malformed| invalid.clone())?;
                if signing_time.replace(time).is_some() {
                    return Err(invalid);
                }
            }
        }
        Ok(Self {
            content_type: content_type?,
            message_digest: message_digest?,
            signer: signer.or_else(|error| old_signer.map_err(|_| error))?,
            signing_time,
        })
    }
}

const fn missing<T>(attribute: &'static str) -> Result<T, CmsError> {
    Err(CmsError::Attribute { attribute })
}

fn set_once<T>(
    slot: &mut Result<T, CmsError>,
    value: Result<T, Malformed>,
    attribute: &'static str,
) -> Result<(), CmsError> {
    match (&slot, value) {
        (Err(_), Ok(value)) => {
            *slot = Ok(value);
            Ok(())
        }
        _ => Err(CmsError::Attribute { attribute }),
    }
}

/// A value of this hash in an OCTET STRING.
fn octets(value: Tlv<'_>, hash: Hash) -> Result<&[u8], Malformed> {
    let fits = value.tag == OCTET_STRING && value.content.len() == usize::from(hash.bytes());
    if fits { Ok(value.content) } else { Err(Malformed) }
}

/// The first ESSCertIDv2, the one of the signer (RFC 5035 3): SHA-256 by default or by name, or with `any` another of SHA-2.
fn first_certificate(value: Tlv<'_>, any: bool) -> Result<CertificateName<'_>, Malformed> {
    if value.tag != SEQUENCE {
        return Err(Malformed);
    }
    let mut first = value.reader().sequence()?.sequence()?;
    let hash = match first.optional(SEQUENCE)? {
        Some(algorithm) => Hash::sha2(&Algorithm::of(&mut algorithm.reader())?).ok_or(Malformed)?,
        None => Hash::Sha256,
    };
    if !any && hash != Hash::Sha256 {
        return Err(Malformed);
    }
    Ok(CertificateName { hash, value: octets(first.expect(OCTET_STRING)?, hash)? })
}

/// The first ESSCertID (RFC 2634 5.4.1): SHA-1, which names the certificate and protects nothing; the signature does.
fn first_old_certificate(value: Tlv<'_>) -> Result<CertificateName<'_>, Malformed> {
    if value.tag != SEQUENCE {
        return Err(Malformed);
    }
    let mut first = value.reader().sequence()?.sequence()?;
    Ok(CertificateName { hash: Hash::Sha1, value: octets(first.expect(OCTET_STRING)?, Hash::Sha1)? })
}
