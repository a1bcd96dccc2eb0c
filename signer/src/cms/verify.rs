//! Verification of CMS signatures over the bytes received (I8).

use truc_proto::{
    Digest, Timestamp,
    limits::{CMS_ATTRIBUTES_MAX, CMS_BYTES_MAX, CMS_CERTIFICATES_MAX},
};

use crate::{
    asn1::{
        self, Algorithm, INTEGER, Malformed, OCTET_STRING, OID, Reader, SEQUENCE, SET, Tlv, context, context_primitive,
    },
    certificate::Certificate,
    oid,
    public_key::SignatureScheme,
};

/// Why a CMS signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CmsError {
    /// Larger than the bound.
    #[error("a CMS signature of {bytes} bytes is refused, at most {CMS_BYTES_MAX} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not a CMS SignedData of the shape CAdES prescribes.
    #[error("not a well-formed CMS signature: {part}; the signer's software must be corrected")]
    Malformed {
        /// Which part could not be read.
        part: &'static str,
    },
    /// No or several signers.
    #[error("the CMS carries {signers} signatures, exactly one is expected")]
    NotOneSigner {
        /// How many, counted up to two.
        signers: usize,
    },
    /// More certificates or attributes than anybody needs.
    #[error("the CMS carries too many {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
    },
    /// A detached signature was expected, and the content is inside.
    #[error("the CMS carries its content, a detached signature is expected")]
    ContentAttached,
    /// An attached signature was expected, and the content is not inside.
    #[error("the CMS does not carry its content, which was expected inside")]
    ContentMissing,
    /// Outside the closed list of algorithms.
    #[error(
        "the signature uses {algorithm}; SHA-256 with RSA (PKCS#1 v1.5, or PSS with a salt of 32 bytes) \
         or with ECDSA on P-256 is accepted"
    )]
    Algorithm {
        /// OID in dotted form, or what is wrong with its parameters.
        algorithm: String,
    },
    /// The certificate the signature names is neither inside nor supplied.
    #[error("the signer's certificate is not in the CMS; the signer must include it")]
    SignerCertificateMissing,
    /// The signer's certificate is there and cannot be used.
    #[error("the signer's certificate cannot be used")]
    SignerCertificate(#[source] crate::certificate::CertificateError),
    /// An attribute that must be signed is missing, repeated or malformed.
    #[error(
        "the signed attribute {attribute} is missing, repeated or malformed; the signature is not CAdES-B (EN 319 122-1)"
    )]
    Attribute {
        /// Its name.
        attribute: &'static str,
    },
    /// The content is not what was signed.
    #[error("the content is not what was signed: its SHA-256 is {actual}, the signature covers {signed}")]
    ContentMismatch {
        /// The digest of the content at hand.
        actual: Digest,
        /// The digest inside the signature.
        signed: Digest,
    },
    /// signing-certificate-v2 names another certificate: somebody exchanged it.
    #[error("the signature was made under another certificate than that of {subject}")]
    CertificateMismatch {
        /// The certificate the signature is presented with.
        subject: String,
    },
    /// The signature value itself does not hold.
    #[error("the signature does not hold under the certificate of {subject}: it was altered or made with another key")]
    SignatureInvalid {
        /// Whose certificate.
        subject: String,
    },
}

/// A CMS signature that holds. Says nothing about whether its certificate may be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CmsSignature {
    /// The signer's certificate, confirmed by the signing-certificate-v2 attribute.
    pub certificate: Certificate,
    /// The other readable certificates inside: hints for path building, not covered by the signature.
    pub others: Vec<Certificate>,
    /// The time the signer claims.
    pub signing_time: Option<Timestamp>,
    /// How it was signed.
    pub scheme: SignatureScheme,
    /// SHA-256 of the content that was signed.
    pub content: Digest,
    /// The signature value: what a signature time-stamp covers.
    pub signature: Vec<u8>,
    /// DER of the signature time-stamp tokens (RFC 3161) it carries; not verified here.
    pub time_stamp_tokens: Vec<Vec<u8>>,
}

/// Verifies a detached signature over `content`. `supplied` are certificates to look for the signer in, beside those inside.
///
/// # Errors
/// See [`CmsError`]; nothing is accepted in part.
pub fn verify_detached(cms: &[u8], content: &[u8], supplied: &[Certificate]) -> Result<CmsSignature, CmsError> {
    verify_detached_digest(cms, Digest::of(content), supplied)
}

/// As [`verify_detached`], for content whose SHA-256 is known already.
///
/// # Errors
/// See [`CmsError`].
pub fn verify_detached_digest(cms: &[u8], content: Digest, supplied: &[Certificate]) -> Result<CmsSignature, CmsError> {
    let der = normalised(cms)?;
    let parts = Parts::read(&der)?;
    if parts.content.is_some() {
        return Err(CmsError::ContentAttached);
    }
    verify(&parts, content, supplied)
}

/// Verifies a signature that carries its content, and gives both.
///
/// # Errors
/// See [`CmsError`].
pub fn verify_attached(cms: &[u8], supplied: &[Certificate]) -> Result<(CmsSignature, Vec<u8>), CmsError> {
    let der = normalised(cms)?;
    let parts = Parts::read(&der)?;
    let content = parts.content.ok_or(CmsError::ContentMissing)?;
    let signature = verify(&parts, Digest::of(content), supplied)?;
    Ok((signature, content.to_vec()))
}

fn normalised(cms: &[u8]) -> Result<Vec<u8>, CmsError> {
    if cms.len() > CMS_BYTES_MAX {
        return Err(CmsError::TooLarge { bytes: cms.len() });
    }
    asn1::normalise(cms).map_err(malformed("ASN.1 encoding"))
}

const fn malformed(part: &'static str) -> impl Fn(Malformed) -> CmsError {
    move |Malformed| CmsError::Malformed { part }
}

/// The SignedData taken apart; slices of the received bytes.
struct Parts<'a> {
    content_type: Tlv<'a>,
    content: Option<&'a [u8]>,
    certificates: Vec<&'a [u8]>,
    signer: SignerInfo<'a>,
}

struct SignerInfo<'a> {
    identifier: Tlv<'a>,
    digest_algorithm: Algorithm<'a>,
    attributes: Tlv<'a>,
    signature_algorithm: Algorithm<'a>,
    signature: &'a [u8],
    unsigned: Option<Tlv<'a>>,
}

impl<'a> Parts<'a> {
    fn read(der: &'a [u8]) -> Result<Self, CmsError> {
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

fn verify(parts: &Parts<'_>, content: Digest, supplied: &[Certificate]) -> Result<CmsSignature, CmsError> {
    let signer = &parts.signer;
    let scheme = scheme_of(signer)?;
    let attributes = SignedAttributes::read(signer.attributes)?;
    let (certificate, others) = find_signer(parts, supplied, &attributes.certificate_hash)?;
    if attributes.content_type != parts.content_type.whole || !parts.content_type.is_oid(oid::DATA) {
        return Err(CmsError::Attribute { attribute: "content-type" });
    }
    if attributes.message_digest != content {
        return Err(CmsError::ContentMismatch { actual: content, signed: attributes.message_digest });
    }
    if attributes.certificate_hash != certificate.sha256() {
        return Err(CmsError::CertificateMismatch { subject: certificate.subject().into() });
    }
    // RFC 5652 5.4: signed is the SET OF, so the received bytes change their first byte and nothing else.
    let signed = asn1::tlv(SET, &[signer.attributes.content]);
    certificate
        .public_key()
        .verify(scheme, &signed, signer.signature)
        .map_err(|_| CmsError::SignatureInvalid { subject: certificate.subject().into() })?;
    Ok(CmsSignature {
        signing_time: attributes.signing_time,
        others,
        scheme,
        content,
        signature: signer.signature.to_vec(),
        time_stamp_tokens: time_stamp_tokens(signer.unsigned)?,
        certificate,
    })
}

/// The certificate the SignerInfo names, and the other readable ones. What does not parse is passed over: it is only a hint.
///
/// Nobody signs what lies in the bag, so of several under one name the one counts that the signed attributes name by its hash, wherever it
/// stands; another is taken only to say that it is another.
fn find_signer(
    parts: &Parts<'_>,
    supplied: &[Certificate],
    hash: &Digest,
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
    let found = named().find(|certificate| certificate.sha256() == *hash).or_else(|| named().next()).cloned();
    match (found, unusable) {
        (Some(certificate), _) => {
            others.retain(|other| *other != certificate);
            Ok((certificate, others))
        }
        (None, Some(error)) => Err(CmsError::SignerCertificate(error)),
        (None, None) => Err(CmsError::SignerCertificateMissing),
    }
}

fn scheme_of(signer: &SignerInfo<'_>) -> Result<SignatureScheme, CmsError> {
    let refused = |algorithm: String| Err(CmsError::Algorithm { algorithm });
    if !signer.digest_algorithm.is_plain(oid::SHA256) {
        return refused(signer.digest_algorithm.name());
    }
    let algorithm = &signer.signature_algorithm;
    // openssl writes the bare rsaEncryption here; the digest algorithm then completes it (RFC 3370 3.2).
    if algorithm.is_plain(oid::RSA_SHA256) || algorithm.is_plain(oid::RSA) {
        Ok(SignatureScheme::RsaPkcs1Sha256)
    } else if algorithm.is_plain(oid::ECDSA_SHA256) {
        Ok(SignatureScheme::EcdsaP256Sha256)
    } else if algorithm.oid.is_oid(oid::RSA_PSS) {
        match algorithm.parameters.ok_or(Malformed).and_then(pss_is_ours) {
            Ok(true) => Ok(SignatureScheme::RsaPssSha256),
            _ => refused("RSASSA-PSS with other parameters than SHA-256, MGF1-SHA-256 and salt 32".into()),
        }
    } else {
        refused(algorithm.name())
    }
}

/// RSASSA-PSS-params (RFC 4055 3.1) for SHA-256, MGF1 with SHA-256, salt 32, trailer 1.
fn pss_is_ours(parameters: Tlv<'_>) -> Result<bool, Malformed> {
    if parameters.tag != SEQUENCE {
        return Err(Malformed);
    }
    let mut reader = parameters.reader();
    let hash = explicit_algorithm(reader.expect(context(0))?)?;
    let mask = explicit_algorithm(reader.expect(context(1))?)?;
    let salt = Tlv::parse(reader.expect(context(2))?.content, INTEGER)?.content;
    let trailer_is_default = match reader.optional(context(3))? {
        Some(trailer) => Tlv::parse(trailer.content, INTEGER)?.content == [1],
        None => true,
    };
    reader.finish()?;
    Ok(hash.is_plain(oid::SHA256) && is_mgf1_sha256(&mask)? && salt == [32] && trailer_is_default)
}

/// MGF1 over SHA-256.
pub(crate) fn is_mgf1_sha256(mask: &Algorithm<'_>) -> Result<bool, Malformed> {
    let inner = mask.parameters.ok_or(Malformed)?;
    if inner.tag != SEQUENCE {
        return Err(Malformed);
    }
    Ok(mask.oid.is_oid(oid::MGF1) && Algorithm::of(&mut inner.reader())?.is_plain(oid::SHA256))
}

/// An AlgorithmIdentifier under an explicit tag.
pub(crate) fn explicit_algorithm(explicit: Tlv<'_>) -> Result<Algorithm<'_>, Malformed> {
    let mut reader = explicit.reader();
    let algorithm = Algorithm::read(&mut reader)?;
    reader.finish()?;
    Ok(algorithm)
}

/// What the signed attributes say; each attribute once, with one value.
struct SignedAttributes<'a> {
    content_type: &'a [u8],
    message_digest: Digest,
    certificate_hash: Digest,
    signing_time: Option<Timestamp>,
}

impl<'a> SignedAttributes<'a> {
    fn read(attributes: Tlv<'a>) -> Result<Self, CmsError> {
        let all = elements(Some(attributes), CMS_ATTRIBUTES_MAX, "attributes")?;
        // X.690 11.6: DER sorts a SET OF. Other orders are signed by nobody and would make two readings of one signature.
        if !all.is_sorted_by(|a, b| a.whole <= b.whole) {
            return Err(CmsError::Malformed { part: "order of the signed attributes" });
        }
        let mut content_type = Err(CmsError::Attribute { attribute: "content-type" });
        let mut message_digest = Err(CmsError::Attribute { attribute: "message-digest" });
        let mut certificate_hash = Err(CmsError::Attribute { attribute: "signing-certificate-v2" });
        let mut signing_time = None;
        for attribute in all {
            let (id, value) = single_value(attribute).map_err(malformed("signed attributes"))?;
            let id_is = |oid| id.is_oid(oid);
            if id_is(oid::CONTENT_TYPE) {
                set_once(&mut content_type, Ok(value.whole), "content-type")?;
            } else if id_is(oid::MESSAGE_DIGEST) {
                set_once(&mut message_digest, octets_digest(value), "message-digest")?;
            } else if id_is(oid::SIGNING_CERTIFICATE_V2) {
                set_once(&mut certificate_hash, first_certificate_hash(value), "signing-certificate-v2")?;
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
            certificate_hash: certificate_hash?,
            signing_time,
        })
    }
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

/// Attribute ::= SEQUENCE { type, SET OF value } with exactly one value.
fn single_value(attribute: Tlv<'_>) -> Result<(Tlv<'_>, Tlv<'_>), Malformed> {
    let (id, mut values) = type_and_values(attribute)?;
    let value = values.any()?;
    values.finish()?;
    Ok((id, value))
}

fn type_and_values(attribute: Tlv<'_>) -> Result<(Tlv<'_>, Reader<'_>), Malformed> {
    if attribute.tag != SEQUENCE {
        return Err(Malformed);
    }
    let mut reader = attribute.reader();
    let id = reader.expect(OID)?;
    let values = reader.expect(SET)?.reader();
    reader.finish()?;
    Ok((id, values))
}

fn octets_digest(value: Tlv<'_>) -> Result<Digest, Malformed> {
    if value.tag != OCTET_STRING {
        return Err(Malformed);
    }
    Digest::from_slice(value.content).map_err(|_| Malformed)
}

/// The hash in the first ESSCertIDv2, the one of the signer (RFC 5035 3); SHA-256, by default or by name.
fn first_certificate_hash(value: Tlv<'_>) -> Result<Digest, Malformed> {
    if value.tag != SEQUENCE {
        return Err(Malformed);
    }
    let mut first = value.reader().sequence()?.sequence()?;
    if let Some(algorithm) = first.optional(SEQUENCE)?
        && !Algorithm::of(&mut algorithm.reader())?.is_plain(oid::SHA256)
    {
        return Err(Malformed);
    }
    octets_digest(first.expect(OCTET_STRING)?)
}

fn time_stamp_tokens(unsigned: Option<Tlv<'_>>) -> Result<Vec<Vec<u8>>, CmsError> {
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
fn elements<'a>(set: Option<Tlv<'a>>, count_max: usize, what: &'static str) -> Result<Vec<Tlv<'a>>, CmsError> {
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
