//! X.509 certificates as received: the bytes are kept, the fields that decisions need are read once.
//!
//! Leaves out trust: whether a certificate may be believed is [`crate::path`]'s question.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError},
};

use data_encoding::HEXLOWER;
use der::asn1::ObjectIdentifier;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use truc_proto::{
    Digest, Timestamp,
    limits::{CERTIFICATE_BYTES_MAX, CERTIFICATES_READ_MAX, PEM_BYTES_MAX, PEM_CERTIFICATES_MAX},
};
use x509_cert::{
    der::Decode,
    ext::pkix::{
        AuthorityInfoAccessSyntax, BasicConstraints, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage,
        SubjectKeyIdentifier,
        name::{DistributionPointName, GeneralName},
    },
    name::Name,
};

use crate::{
    asn1::{Algorithm, BIT_STRING, INTEGER, Malformed, Reader, SEQUENCE, Tlv, context, context_primitive},
    extension::{self, Extension},
    name::ComparableName,
    oid,
    public_key::{CertificateSignature, PublicKey, PublicKeyError},
};

/// Why bytes are not a certificate we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Larger than any certificate has a reason to be.
    #[error("a certificate of {bytes} bytes is refused, at most {CERTIFICATE_BYTES_MAX} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not the DER of an X.509 version 3 certificate.
    #[error("not a well-formed X.509 certificate (RFC 5280)")]
    Malformed,
    /// Signed with a broken hash.
    #[error("the certificate of {subject} is signed with {algorithm}, which is broken; its owner must get a new one")]
    WeakSignature {
        /// Whose certificate.
        subject: String,
        /// `SHA-1` or `MD5`.
        algorithm: &'static str,
    },
    /// Signed with an algorithm we do not know.
    #[error("the certificate of {subject} is signed with the unsupported algorithm {algorithm}")]
    UnsupportedSignature {
        /// Whose certificate.
        subject: String,
        /// OID in dotted form.
        algorithm: String,
    },
    /// Its key is weak or of an unsupported kind.
    #[error("the key in the certificate of {subject} cannot be used")]
    Key {
        /// Whose certificate.
        subject: String,
        /// What is wrong with it.
        source: PublicKeyError,
    },
}

/// Why a PEM file could not be read as certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// Larger than the bound.
    #[error("a PEM file of {bytes} bytes is refused, at most {bytes_max} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// More than the bound.
    #[error("the PEM file holds more than {PEM_CERTIFICATES_MAX} items")]
    TooMany,
    /// Not PEM.
    #[error("not a well-formed PEM file (RFC 7468)")]
    Malformed,
    /// No block of the wanted kind.
    #[error("the PEM file holds no {wanted}; check that it is the right file")]
    Empty {
        /// The label looked for.
        wanted: &'static str,
    },
    /// One block is not a usable certificate.
    #[error("certificate number {number} of the PEM file cannot be used")]
    Certificate {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        source: CertificateError,
    },
}

/// An X.509 certificate: its DER as received and what was read from it. Cheap to clone.
#[derive(Clone)]
pub struct Certificate(Arc<Fields>);

/// Everything here is read from `der`.
struct Fields {
    der: Box<[u8]>,
    sha256: Digest,
    /// Names as text are for people, and cost as much as all the rest: made when they are first asked for.
    subject: OnceLock<String>,
    issuer: OnceLock<String>,
    subject_der: Box<[u8]>,
    issuer_der: Box<[u8]>,
    /// Names as they are compared: made when a path is first looked for.
    subject_name: OnceLock<ComparableName>,
    issuer_name: OnceLock<ComparableName>,
    serial: Box<[u8]>,
    not_before: Timestamp,
    not_after: Timestamp,
    public_key: PublicKey,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<(bool, Vec<ObjectIdentifier>)>,
    subject_key_id: Option<Box<[u8]>>,
    is_ca: bool,
    path_length: Option<u8>,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

/// Certificates read last, by the SHA-256 of all their bytes: the same few come with every signature, and to read one takes as long as to verify with it.
fn read_last() -> MutexGuard<'static, HashMap<Digest, Certificate>> {
    static READ: LazyLock<Mutex<HashMap<Digest, Certificate>>> = LazyLock::new(Mutex::default);
    READ.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Certificate {
    /// Reads the DER of one certificate.
    ///
    /// A self-issued certificate may carry a signature of any kind: nobody relies on it, an anchor is believed because it is pinned.
    ///
    /// # Errors
    /// When it is too large, malformed, signed with SHA-1 or MD5, or its key is weak.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::TooLarge { bytes: der.len() });
        }
        let sha256 = Digest::of(der);
        if let Some(known) = read_last().get(&sha256) {
            return Ok(known.clone());
        }
        let certificate = Self::read(der, sha256)?;
        let mut read = read_last();
        // Whoever sends signatures chooses what comes with them.
        if read.len() >= CERTIFICATES_READ_MAX {
            read.clear();
        }
        read.insert(sha256, certificate.clone());
        Ok(certificate)
    }

    fn read(der: &[u8], sha256: Digest) -> Result<Self, CertificateError> {
        let raw = RawFields::read(der).map_err(|Malformed| CertificateError::Malformed)?;
        // The typed decoder is the second opinion on well-formedness, and reads names and extensions.
        let parsed = x509_cert::Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        let tbs = parsed.tbs_certificate();
        let subject = || tbs.subject().to_string();
        if raw.subject != raw.issuer {
            check_signature_algorithm(&raw.signature_algorithm, subject)?;
        }
        let public_key = PublicKey::from_spki_der(raw.spki)
            .map_err(|source| CertificateError::Key { subject: subject(), source })?;
        let malformed = |_| CertificateError::Malformed;
        let basic = tbs.get_extension::<BasicConstraints>().map_err(malformed)?;
        let extended = tbs.get_extension::<ExtendedKeyUsage>().map_err(malformed)?;
        Ok(Self(Arc::new(Fields {
            der: der.into(),
            sha256,
            issuer: OnceLock::new(),
            subject: OnceLock::new(),
            subject_name: OnceLock::new(),
            issuer_name: OnceLock::new(),
            subject_der: raw.subject.into(),
            issuer_der: raw.issuer.into(),
            serial: raw.serial.into(),
            not_before: raw.not_before,
            not_after: raw.not_after,
            public_key,
            key_usage: tbs.get_extension::<KeyUsage>().map_err(malformed)?.map(|(_, usage)| usage),
            extended_key_usage: extended.map(|(critical, usage)| (critical, usage.0)),
            subject_key_id: tbs
                .get_extension::<SubjectKeyIdentifier>()
                .map_err(malformed)?
                .map(|(_, id)| id.0.as_bytes().into()),
            is_ca: basic.as_ref().is_some_and(|(_, basic)| basic.ca),
            path_length: basic.and_then(|(_, basic)| basic.path_len_constraint),
        })))
    }

    /// All certificates of a PEM file, in its order; other blocks are passed over.
    ///
    /// # Errors
    /// When the file is too large, not PEM, holds no certificate, or one that cannot be used.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, PemError> {
        let mut certificates = Vec::new();
        for block in pem_blocks::<CertificateDer<'static>>(pem, "CERTIFICATE", PEM_BYTES_MAX)? {
            let number = certificates.len() + 1;
            certificates.push(Self::from_der(&block).map_err(|source| PemError::Certificate { number, source })?);
        }
        Ok(certificates)
    }

    /// The certificates of a file in either form: authorities publish DER, administrators keep PEM.
    ///
    /// # Errors
    /// As [`Certificate::from_pem`].
    pub fn from_file_bytes(bytes: &[u8]) -> Result<Vec<Self>, PemError> {
        if bytes.first() == Some(&SEQUENCE) {
            return Ok(vec![Self::from_der(bytes).map_err(|source| PemError::Certificate { number: 1, source })?]);
        }
        Self::from_pem(bytes)
    }

    /// The bytes received.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// PEM of the bytes received.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem_text("CERTIFICATE", self.der())
    }

    /// SHA-256 of the DER: how directory, preamble and receipts name a certificate.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.0.sha256
    }

    /// The subject as text, most specific part first (RFC 4514), e.g. `CN=UBND THÀNH PHỐ HÀ NỘI,L=Hà Nội,C=VN`.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.0.subject.get_or_init(|| name_text(&self.0.subject_der))
    }

    /// The issuer as text (RFC 4514).
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.issuer.get_or_init(|| name_text(&self.0.issuer_der))
    }

    /// DER of the subject Name.
    #[must_use]
    pub fn subject_der(&self) -> &[u8] {
        &self.0.subject_der
    }

    /// DER of the issuer Name.
    #[must_use]
    pub fn issuer_der(&self) -> &[u8] {
        &self.0.issuer_der
    }

    /// The serial number as it stands in the certificate: big-endian, with the leading zero DER demands.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// The serial number in hexadecimal, without a leading zero byte, as `openssl x509 -serial` prints it (in lower case).
    #[must_use]
    pub fn serial_text(&self) -> String {
        HEXLOWER.encode(significant(&self.0.serial))
    }

    /// First moment of validity.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.0.not_before
    }

    /// Last moment of validity (inclusive).
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// The keyUsage extension (RFC 5280 4.2.1.3), if present.
    #[must_use]
    pub fn key_usage(&self) -> Option<&KeyUsage> {
        self.0.key_usage.as_ref()
    }

    /// The extended key usages (RFC 5280 4.2.1.12), if the extension is present.
    #[must_use]
    pub fn extended_key_usage(&self) -> Option<&[ObjectIdentifier]> {
        self.0.extended_key_usage.as_ref().map(|(_, usages)| usages.as_slice())
    }

    /// Whether extended key usage is present and critical.
    #[must_use]
    pub fn extended_key_usage_is_critical(&self) -> bool {
        self.0.extended_key_usage.as_ref().is_some_and(|(critical, _)| *critical)
    }

    /// The subject key identifier, if present.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.subject_key_id.as_deref()
    }

    /// Whether basicConstraints makes it a certification authority.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.0.is_ca
    }

    /// How many authorities may follow below this one, where basicConstraints says so (RFC 5280 4.2.1.9).
    #[must_use]
    pub fn path_length(&self) -> Option<u8> {
        self.0.path_length
    }

    /// Whether subject and issuer are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.0.subject_der == self.0.issuer_der
    }

    /// Whether it carries an extension of this name.
    pub(crate) fn carries(&self, extension: ObjectIdentifier) -> bool {
        let parsed = x509_cert::Certificate::from_der(self.der()).ok();
        let extensions = parsed.as_ref().and_then(|parsed| parsed.tbs_certificate().extensions());
        extensions.is_some_and(|all| all.iter().any(|one| one.extn_id == extension))
    }

    /// Where it says an OCSP responder answers about it (RFC 5280 4.2.2.1), as it writes it. Whoever made the certificate chose these.
    #[must_use]
    pub fn ocsp_addresses(&self) -> Vec<String> {
        let parsed = x509_cert::Certificate::from_der(self.der()).ok();
        let access =
            parsed.and_then(|parsed| parsed.tbs_certificate().get_extension::<AuthorityInfoAccessSyntax>().ok()?);
        let ways = access.into_iter().flat_map(|(_, access)| access.0);
        ways.filter(|way| way.access_method == oid::AD_OCSP).filter_map(|way| address(&way.access_location)).collect()
    }

    /// Where it says its issuer's revocation lists are (RFC 5280 4.2.1.13), as above.
    #[must_use]
    pub fn crl_addresses(&self) -> Vec<String> {
        let parsed = x509_cert::Certificate::from_der(self.der()).ok();
        let points =
            parsed.and_then(|parsed| parsed.tbs_certificate().get_extension::<CrlDistributionPoints>().ok()?);
        let points = points.into_iter().flat_map(|(_, points)| points.0);
        let names = points.filter_map(|point| match point.distribution_point? {
            DistributionPointName::FullName(names) => Some(names),
            DistributionPointName::NameRelativeToCRLIssuer(_) => None,
        });
        names.flatten().filter_map(|name| address(&name)).collect()
    }

    /// Whether `issuer`'s subject is this certificate's issuer, byte for byte. Says nothing about signatures.
    #[must_use]
    pub fn names_issuer(&self, issuer: &Self) -> bool {
        self.0.issuer_der == issuer.0.subject_der
    }
}

impl Certificate {
    /// The subject as RFC 5280 7.1 compares it.
    pub(crate) fn subject_name(&self) -> &ComparableName {
        self.0.subject_name.get_or_init(|| comparable(&self.0.subject_der))
    }

    /// The issuer as RFC 5280 7.1 compares it.
    pub(crate) fn issuer_name(&self) -> &ComparableName {
        self.0.issuer_name.get_or_init(|| comparable(&self.0.issuer_der))
    }

    /// The extensions as they stand.
    pub(crate) fn extensions(&self) -> Result<Vec<Extension<'_>>, Malformed> {
        self.raw().extensions.map_or(Ok(Vec::new()), extension::all)
    }

    /// How it is signed, if that is something a path may rest on.
    pub(crate) fn signature_kind(&self) -> Option<CertificateSignature> {
        CertificateSignature::of(&self.raw().signature_algorithm)
    }

    /// Whether `issuer`'s key signed it. Says nothing about names.
    pub(crate) fn is_signed_by(&self, issuer: &Self) -> bool {
        let raw = self.raw();
        self.signature_kind()
            .is_some_and(|kind| issuer.public_key().verify_certificate(kind, raw.tbs, raw.signature).is_ok())
    }

    fn raw(&self) -> RawFields<'_> {
        RawFields::read(&self.0.der).expect("it was read when the certificate was made")
    }
}

/// A name the typed decoder took and we cannot compare equals none but itself.
fn comparable(der: &[u8]) -> ComparableName {
    ComparableName::of(der).unwrap_or_else(|Malformed| ComparableName::opaque(der))
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, sha256 {})", self.subject(), self.sha256())
    }
}

fn address(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::UniformResourceIdentifier(address) => Some(address.to_string()),
        _ => None,
    }
}

/// RFC 4514 text of a Name that was read before.
fn name_text(der: &[u8]) -> String {
    Name::from_der(der).map(|name| name.to_string()).unwrap_or_default()
}

/// PEM (RFC 7468) of `der` under this label.
#[must_use]
pub fn pem_text(label: &str, der: &[u8]) -> String {
    let body = zeroize::Zeroizing::new(data_encoding::BASE64.encode(der));
    // Full capacity at once: it may be a private key, and a growing text would leave copies of it behind.
    let mut out = String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 64);
    out.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64)); // base64 is ASCII
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// An INTEGER's bytes without the leading zero DER puts before a high bit.
pub(crate) fn significant(integer: &[u8]) -> &[u8] {
    match integer {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    }
}

pub(crate) fn pem_blocks<T: PemObject>(pem: &[u8], wanted: &'static str, bytes_max: usize) -> Result<Vec<T>, PemError> {
    if pem.len() > bytes_max {
        return Err(PemError::TooLarge { bytes: pem.len(), bytes_max });
    }
    let mut blocks = Vec::new();
    // What some editors put at the beginning of a text.
    let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem);
    for block in T::pem_slice_iter(pem) {
        if blocks.len() == PEM_CERTIFICATES_MAX {
            return Err(PemError::TooMany);
        }
        blocks.push(block.map_err(|_| PemError::Malformed)?);
    }
    if blocks.is_empty() { Err(PemError::Empty { wanted }) } else { Ok(blocks) }
}

/// The slices a decision or a foreign tool needs byte for byte.
struct RawFields<'a> {
    tbs: &'a [u8],
    signature: &'a [u8],
    /// Content of the SEQUENCE of extensions.
    extensions: Option<&'a [u8]>,
    serial: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
    not_before: Timestamp,
    not_after: Timestamp,
    signature_algorithm: Algorithm<'a>,
}

impl<'a> RawFields<'a> {
    fn read(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut certificate = Tlv::parse(der, SEQUENCE)?.reader();
        let whole = certificate.expect(SEQUENCE)?;
        let mut tbs = whole.reader();
        // Version 3 only: without extensions there is no keyUsage to check.
        let mut version = tbs.expect(context(0))?.reader();
        if version.small_integer()? != 2 {
            return Err(Malformed);
        }
        let serial = tbs.expect(INTEGER)?.content;
        let inner_algorithm = tbs.expect(SEQUENCE)?;
        let issuer = tbs.expect(SEQUENCE)?.whole;
        let mut validity = tbs.sequence()?;
        let (not_before, not_after) = (validity.any()?.time()?, validity.any()?.time()?);
        validity.finish()?;
        let subject = tbs.expect(SEQUENCE)?.whole;
        let spki = tbs.expect(SEQUENCE)?.whole;
        // issuerUniqueID and subjectUniqueID say nothing that is used here.
        tbs.optional(context_primitive(1))?;
        tbs.optional(context_primitive(2))?;
        let extensions = match tbs.optional(context(3))? {
            Some(explicit) => Some(Tlv::parse(explicit.content, SEQUENCE)?.content),
            None => None,
        };
        tbs.finish()?;
        let outer_algorithm = certificate.expect(SEQUENCE)?;
        let signature = certificate.expect(BIT_STRING)?.bit_string()?;
        certificate.finish()?;
        // RFC 5280 4.1.1.2: both must be the same.
        if inner_algorithm.whole != outer_algorithm.whole || serial.is_empty() {
            return Err(Malformed);
        }
        let signature_algorithm = Algorithm::of(&mut Reader::new(outer_algorithm.content))?;
        Ok(Self {
            tbs: whole.whole,
            signature,
            extensions,
            serial,
            issuer,
            subject,
            spki,
            not_before,
            not_after,
            signature_algorithm,
        })
    }
}

fn check_signature_algorithm(algorithm: &Algorithm<'_>, subject: impl Fn() -> String) -> Result<(), CertificateError> {
    let is_any = |oids: &[ObjectIdentifier]| oids.iter().any(|oid| algorithm.oid.is_oid(*oid));
    let weak = |algorithm| Err(CertificateError::WeakSignature { subject: subject(), algorithm });
    if is_any(&[oid::RSA_SHA1, oid::ECDSA_SHA1]) {
        weak("SHA-1")
    } else if is_any(&[oid::RSA_MD5, oid::RSA_MD2]) {
        weak("MD5")
    } else if is_any(&[
        oid::RSA_SHA256,
        oid::RSA_SHA384,
        oid::RSA_SHA512,
        oid::RSA_PSS,
        oid::ECDSA_SHA256,
        oid::ECDSA_SHA384,
        oid::ECDSA_SHA512,
    ]) {
        Ok(())
    } else {
        Err(CertificateError::UnsupportedSignature { subject: subject(), algorithm: algorithm.name() })
    }
}
