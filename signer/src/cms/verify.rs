//! Verification of CMS signatures over the bytes received (I8).

use data_encoding::HEXLOWER;
use der::asn1::ObjectIdentifier;
use truc_proto::{Digest, Timestamp, limits::CMS_BYTES_MAX};

use super::{
    attributes::SignedAttributes,
    parts::{Parts, SignerInfo, find_signer, normalised, time_stamp_tokens},
};
use crate::{
    asn1::{self, Algorithm, INTEGER, Malformed, SEQUENCE, SET, Tlv, context},
    certificate::Certificate,
    hash::Hash,
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
    #[error("the content is not what was signed: its hash is {actual}, the signature covers {signed}")]
    ContentMismatch {
        /// The hash of the content at hand, in hexadecimal digits.
        actual: String,
        /// The hash inside the signature.
        signed: String,
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

/// What a signature must be like beside holding.
#[derive(Clone, Copy)]
struct Rules {
    content_type: ObjectIdentifier,
    /// Of time-stamping authorities, which are not ours to change: any of SHA-2, P-384 too, and the certificate named as it was done before SHA-2.
    wide: bool,
}

/// Of documents, checkpoints, directories: all that is written on the axis.
const DOCUMENT: Rules = Rules { content_type: oid::DATA, wide: false };
/// Of time-stamp tokens.
const TIME_STAMP: Rules = Rules { content_type: oid::TST_INFO, wide: true };

/// Whether it carries a time-stamp; nothing is verified.
#[must_use]
pub fn has_time_stamp(cms: &[u8]) -> bool {
    let Ok(der) = normalised(cms) else { return false };
    let unsigned = Parts::read(&der).ok().and_then(|parts| time_stamp_tokens(parts.signer.unsigned).ok());
    unsigned.is_some_and(|tokens| !tokens.is_empty())
}

/// The signature value inside, with the time-stamp tokens on it; nothing is verified.
pub(crate) fn tokens(cms: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>), CmsError> {
    let der = normalised(cms)?;
    let signer = Parts::read(&der)?.signer;
    Ok((signer.signature.to_vec(), time_stamp_tokens(signer.unsigned)?))
}

/// The signature value inside, what a time-stamp is asked for; nothing is verified.
///
/// # Errors
/// When it is no well-formed CMS signature.
pub fn signature_value(cms: &[u8]) -> Result<Vec<u8>, CmsError> {
    let der = normalised(cms)?;
    Ok(Parts::read(&der)?.signer.signature.to_vec())
}

fn verify(parts: &Parts<'_>, content: Digest, supplied: &[Certificate]) -> Result<CmsSignature, CmsError> {
    let signed = verify_signer(parts, DOCUMENT, |_| content.as_bytes().to_vec(), supplied)?;
    Ok(CmsSignature {
        signing_time: signed.signing_time,
        others: signed.others,
        scheme: signed.scheme,
        content,
        signature: parts.signer.signature.to_vec(),
        time_stamp_tokens: time_stamp_tokens(parts.signer.unsigned)?,
        certificate: signed.certificate,
    })
}

/// A time-stamp token whose signature holds: by whom, with which certificates beside, over which TSTInfo.
pub(crate) struct SignedToken {
    pub(crate) certificate: Certificate,
    pub(crate) others: Vec<Certificate>,
    pub(crate) info: Vec<u8>,
}

/// Verifies the signature of a time-stamp token over the TSTInfo inside.
pub(crate) fn verify_token(token: &[u8]) -> Result<SignedToken, CmsError> {
    let der = normalised(token)?;
    let parts = Parts::read(&der)?;
    let info = parts.content.ok_or(CmsError::ContentMissing)?;
    let signed = verify_signer(&parts, TIME_STAMP, |hash| hash.of(info), &[])?;
    Ok(SignedToken { certificate: signed.certificate, others: signed.others, info: info.to_vec() })
}

struct Signed {
    certificate: Certificate,
    others: Vec<Certificate>,
    scheme: SignatureScheme,
    signing_time: Option<Timestamp>,
}

fn verify_signer(
    parts: &Parts<'_>,
    rules: Rules,
    content: impl FnOnce(Hash) -> Vec<u8>,
    supplied: &[Certificate],
) -> Result<Signed, CmsError> {
    let signer = &parts.signer;
    let (hash, scheme) = scheme_of(signer, rules.wide)?;
    let attributes = SignedAttributes::read(signer.attributes, hash, rules.wide)?;
    let (certificate, others) = find_signer(parts, supplied, |certificate| attributes.signer.is_of(certificate))?;
    if attributes.content_type != parts.content_type.whole || !parts.content_type.is_oid(rules.content_type) {
        return Err(CmsError::Attribute { attribute: "content-type" });
    }
    let content = content(hash);
    if attributes.message_digest != content {
        let [actual, signed] = [&content, attributes.message_digest].map(|bytes| HEXLOWER.encode(bytes));
        return Err(CmsError::ContentMismatch { actual, signed });
    }
    if !attributes.signer.is_of(&certificate) {
        return Err(CmsError::CertificateMismatch { subject: certificate.subject().into() });
    }
    // RFC 5652 5.4: signed is the SET OF, so the received bytes change their first byte and nothing else.
    let signed = asn1::tlv(SET, &[signer.attributes.content]);
    certificate
        .public_key()
        .verify(scheme, &signed, signer.signature)
        .map_err(|_| CmsError::SignatureInvalid { subject: certificate.subject().into() })?;
    Ok(Signed { certificate, others, scheme, signing_time: attributes.signing_time })
}

fn scheme_of(signer: &SignerInfo<'_>, wide: bool) -> Result<(Hash, SignatureScheme), CmsError> {
    let refused = |algorithm: String| Err(CmsError::Algorithm { algorithm });
    let hash = Hash::sha2(&signer.digest_algorithm).filter(|hash| wide || *hash == Hash::Sha256);
    let Some(hash) = hash else { return refused(signer.digest_algorithm.name()) };
    let algorithm = &signer.signature_algorithm;
    if algorithm.oid.is_oid(oid::RSA_PSS) {
        return match algorithm.parameters.ok_or(Malformed).and_then(|parameters| pss_is_of(parameters, hash)) {
            Ok(true) => Ok((hash, by_hash(hash).pss)),
            _ => refused("RSASSA-PSS with other parameters than one hash for all and a salt as long".into()),
        };
    }
    let known = by_hash(hash);
    // openssl writes the bare rsaEncryption here; the digest algorithm then completes it (RFC 3370 3.2).
    if algorithm.is_plain(known.rsa_oid) || algorithm.is_plain(oid::RSA) {
        return Ok((hash, known.rsa));
    }
    match known.ecdsa {
        Some((oid, scheme)) if algorithm.is_plain(oid) => Ok((hash, scheme)),
        _ => refused(algorithm.name()),
    }
}

/// The schemes that go with a hash.
struct Schemes {
    rsa_oid: ObjectIdentifier,
    rsa: SignatureScheme,
    pss: SignatureScheme,
    ecdsa: Option<(ObjectIdentifier, SignatureScheme)>,
}

const fn by_hash(hash: Hash) -> Schemes {
    use SignatureScheme as S;
    match hash {
        Hash::Sha384 => Schemes {
            rsa_oid: oid::RSA_SHA384,
            rsa: S::RsaPkcs1Sha384,
            pss: S::RsaPssSha384,
            ecdsa: Some((oid::ECDSA_SHA384, S::EcdsaP384Sha384)),
        },
        Hash::Sha512 => Schemes { rsa_oid: oid::RSA_SHA512, rsa: S::RsaPkcs1Sha512, pss: S::RsaPssSha512, ecdsa: None },
        // SHA-1 never gets here: it is not among those that `Hash::sha2` gives.
        Hash::Sha1 | Hash::Sha256 => Schemes {
            rsa_oid: oid::RSA_SHA256,
            rsa: S::RsaPkcs1Sha256,
            pss: S::RsaPssSha256,
            ecdsa: Some((oid::ECDSA_SHA256, S::EcdsaP256Sha256)),
        },
    }
}

/// RSASSA-PSS-params (RFC 4055 3.1) for this hash, MGF1 with the same, a salt as long, trailer 1.
fn pss_is_of(parameters: Tlv<'_>, hash: Hash) -> Result<bool, Malformed> {
    if parameters.tag != SEQUENCE {
        return Err(Malformed);
    }
    let mut reader = parameters.reader();
    let message = explicit_algorithm(reader.expect(context(0))?)?;
    let mask = explicit_algorithm(reader.expect(context(1))?)?;
    let salt = Tlv::parse(reader.expect(context(2))?.content, INTEGER)?.content;
    let trailer_is_default = match reader.optional(context(3))? {
        Some(trailer) => Tlv::parse(trailer.content, INTEGER)?.content == [1],
        None => true,
    };
    reader.finish()?;
    Ok(message.is_plain(hash.oid()) && is_mgf1(&mask, hash)? && salt == [hash.bytes()] && trailer_is_default)
}

/// RSASSA-PSS with SHA-256 throughout and a salt of 32 bytes, as a certificate may be signed.
pub(crate) fn is_pss_sha256(algorithm: &Algorithm<'_>) -> bool {
    algorithm.oid.is_oid(oid::RSA_PSS)
        && algorithm.parameters.is_some_and(|parameters| pss_is_of(parameters, Hash::Sha256) == Ok(true))
}

/// MGF1 over this hash.
fn is_mgf1(mask: &Algorithm<'_>, hash: Hash) -> Result<bool, Malformed> {
    let inner = mask.parameters.ok_or(Malformed)?;
    if inner.tag != SEQUENCE {
        return Err(Malformed);
    }
    Ok(mask.oid.is_oid(oid::MGF1) && Algorithm::of(&mut inner.reader())?.is_plain(hash.oid()))
}

/// MGF1 over SHA-256.
pub(crate) fn is_mgf1_sha256(mask: &Algorithm<'_>) -> Result<bool, Malformed> {
    is_mgf1(mask, Hash::Sha256)
}

/// An AlgorithmIdentifier under an explicit tag.
pub(crate) fn explicit_algorithm(explicit: Tlv<'_>) -> Result<Algorithm<'_>, Malformed> {
    let mut reader = explicit.reader();
    let algorithm = Algorithm::read(&mut reader)?;
    reader.finish()?;
    Ok(algorithm)
}
