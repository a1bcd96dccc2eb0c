//! A SignedData (RFC 5652 5) taken apart into slices of the bytes received.

use truc_proto::limits::{CMS_ATTRIBUTES_MAX, CMS_BYTES_MAX, CMS_CERTIFICATES_MAX};

use super::CmsError;
use crate::{
    asn1::{self, Algorithm, Malformed, OCTET_STRING, OID, Reader, SEQUENCE, SET, Tlv, context, context_primitive},
    certificate::Certificate,
    oid,
};

pub(super) fn normalised(cms: &[u8]) -> Result<Vec<u8>, CmsError> {
    if cms.len() > CMS_BYTES_MAX {
        return Err(CmsError::TooLarge { bytes: cms.len() });
    }
    asn1::normalise(cms).map_err(malformed("ASN.1 encoding"))
}

pub(super) const fn malformed(part: &'static str) -> impl Fn(Malformed) -> CmsError {
    move |Malformed| CmsError::Malformed { part }
}

/// The SignedData taken apart; slices of the received bytes.
pub(super) struct Parts<'a> {
    pub(super) content_type: Tlv<'a>,
    pub(super) content: Option<&'a [u8]>,
    pub(super) certificates: Vec<&'a [u8]>,
    pub(super) signer: SignerInfo<'a>,
}

pub(super) struct SignerInfo<'a> {
    pub(super) identifier: Tlv<'a>,
    pub(super) digest_algorithm: Algorithm<'a>,
    pub(super) attributes: Tlv<'a>,
    pub(super) signature_algorithm: Algorithm<'a>,
    pub(super) signature: &'a [u8],
    pub(super) unsigned: Option<Tlv<'a>>,
}

impl<'a> Parts<'a> {
    pub(super) fn read(der: &'a [u8]) -> Result<Self, CmsError> {
        let (content_type, content, certificates, signers) =
            Self::read_signed_data(der).map_err(malformed("SignedData"))?;
        let certificates = elements(certificates, CMS_CERTIFICATES_MAX, "certificates")?;
        let mut signers = signers.reader();
        let signer = match signers.any() {
            Ok(signer) if signers.is_empty() => SignerInfo::read(signer).map_err(malformed("SignerInfo"))?,
            Ok(_) => return Err(CmsError::NotOneSigner { signers: 2 }),
            Err(_) if signers.is_empty() => return Err(CmsError::NotOneSigner { signers: 0 }),
            Err(error) => return Err(malformed("SignerInfo")(error)),
        };
        let certificates = certificates.iter().map(|certificate| certificate.whole).collect();
        Ok(Self { content_type, content, certificates, signer })
    }

    #[expect(clippy::type_complexity, reason = "taken apart by the one caller at once")]
    fn read_signed_data(der: &'a [u8]) -> Result<(Tlv<'a>, Option<&'a [u8]>, Option<Tlv<'a>>, Tlv<'a>), Malformed> {
        let mut info = Tlv::parse(der, SEQUENCE)?.reader();
        info.oid(oid::SIGNED_DATA)?;
        let data = info.expect(context(0))?;
        info.finish()?;
        let mut data = Tlv::parse(data.content, SEQUENCE)?.reader();
        if !matches!(data.small_integer()?, 1..=5) {
            return Err(Malformed);
        }
        data.expect(SET)?; // digestAlgorithms: a hint for one-pass readers, superseded by the SignerInfo
        let mut encapsulated = data.sequence()?;
        let content_type = encapsulated.expect(OID)?;
        let content = match encapsulated.optional(context(0))? {
            Some(explicit) => Some(Tlv::parse(explicit.content, OCTET_STRING)?.content),
            None => None,
        };
        encapsulated.finish()?;
        let certificates = data.optional(context(0))?;
        data.optional(context(1))?; // CRLs inside are passed over: ours come from the trust store
        let signers = data.expect(SET)?;
        data.finish()?;
        Ok((content_type, content, certificates, signers))
    }
}

impl<'a> SignerInfo<'a> {
    fn read(signer: Tlv<'a>) -> Result<Self, Malformed> {
        if signer.tag != SEQUENCE {
            return Err(Malformed);
        }
        let mut signer = signer.reader();
        let version = signer.small_integer()?;
        let identifier = signer.any()?;
        // RFC 5652 5.3: version 1 goes with issuerAndSerialNumber, 3 with subjectKeyIdentifier.
        if !matches!((version, identifier.tag), (1, SEQUENCE) | (3, 0x80)) {
            return Err(Malformed);
        }
        let digest_algorithm = Algorithm::read(&mut signer)?;
        let attributes = signer.expect(context(0))?;
        let signature_algorithm = Algorithm::read(&mut signer)?;
        let signature = signer.expect(OCTET_STRING)?.content;
        let unsigned = signer.optional(context(1))?;
        signer.finish()?;
        Ok(Self { identifier, digest_algorithm, attributes, signature_algorithm, signature, unsigned })
    }

    fn is_signer(&self, certificate: &Certificate) -> bool {
        if self.identifier.tag == context_primitive(0) {
            return certificate.subject_key_id() == Some(self.identifier.content);
        }
        self.identifier.whole == super::issuer_and_serial(certificate)
    }
}

/// The certificate the SignerInfo names, and the other readable ones. What does not parse is passed over: it is only a hint.
///
/// Nobody signs what lies in the bag, so of several under one name the one counts that the signed attributes name by its hash, wherever it
/// stands; another is taken only to say that it is another.
pub(super) fn find_signer(
    parts: &Parts<'_>,
    supplied: &[Certificate],
    named_by_hash: impl Fn(&Certificate) -> bool,
) -> Result<(Certificate, Vec<Certificate>), CmsError> {
    let mut others = Vec::new();
    let mut unusable = None;
    for der in &parts.certificates {
        match Certificate::from_der(der) {
            Ok(certificate) => others.push(certificate),
            Err(error) => unusable = Some(error),
        }
    }
    let is_signer = |certificate: &&Certificate| parts.signer.is_signer(certificate);
    let named = || others.iter().chain(supplied).filter(is_signer);
    let found = named().find(|certificate| named_by_hash(certificate)).or_else(|| named().next()).cloned();
    match (found, unusable) {
        (Some(certificate), _) => {
            others.retain(|other| *other != certificate);
            Ok((certificate, others))
        }
        (None, Some(error)) => Err(CmsError::SignerCertificate(error)),
        (None, None) => Err(CmsError::SignerCertificateMissing),
    }
}

/// Attribute ::= SEQUENCE { type, SET OF value } with exactly one value.
pub(super) fn single_value(attribute: Tlv<'_>) -> Result<(Tlv<'_>, Tlv<'_>), Malformed> {
    let (id, mut values) = type_and_values(attribute)?;
    let value = values.any()?;
    values.finish()?;
    Ok((id, value))
}

pub(super) fn type_and_values(attribute: Tlv<'_>) -> Result<(Tlv<'_>, Reader<'_>), Malformed> {
    if attribute.tag != SEQUENCE {
        return Err(Malformed);
    }
    let mut reader = attribute.reader();
    let id = reader.expect(OID)?;
    let values = reader.expect(SET)?.reader();
    reader.finish()?;
    Ok((id, values))
}

pub(super) fn time_stamp_tokens(unsigned: Option<Tlv<'_>>) -> Result<Vec<Vec<u8>>, CmsError> {
    let mut tokens = Vec::new();
    for attribute in elements(unsigned, CMS_ATTRIBUTES_MAX, "attributes")? {
        let (id, mut values) = type_and_values(attribute).map_err(malformed("unsigned attributes"))?;
        while id.is_oid(oid::TIME_STAMP_TOKEN) && !values.is_empty() {
            if tokens.len() == CMS_ATTRIBUTES_MAX {
                return Err(CmsError::TooMany { what: "time-stamps" });
            }
            tokens.push(values.any().map_err(malformed("time-stamp attribute"))?.whole.to_vec());
        }
    }
    Ok(tokens)
}

/// The elements of an optional SET OF, counted.
pub(super) fn elements<'a>(
    set: Option<Tlv<'a>>,
    count_max: usize,
    what: &'static str,
) -> Result<Vec<Tlv<'a>>, CmsError> {
    let mut reader = set.map_or_else(|| Reader::new(&[]), Tlv::reader);
    let mut elements = Vec::new();
    while !reader.is_empty() {
        if elements.len() == count_max {
            return Err(CmsError::TooMany { what });
        }
        elements.push(reader.any().map_err(malformed(what))?);
    }
    Ok(elements)
}
