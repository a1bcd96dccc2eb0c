//! Certificate revocation lists (RFC 5280 5): parsed once into a sorted table, whole lists only.
//!
//! Delta, indirect and partitioned lists are refused at loading: taken for whole ones they would call revoked certificates good.

use std::collections::HashSet;

use der::asn1::ObjectIdentifier;
use rustls_pki_types::CertificateRevocationListDer;
use truc_proto::{
    Digest, Timestamp,
    limits::{CRL_BYTES_MAX, CRL_ENTRIES_MAX},
};

use crate::{
    asn1::{
        Algorithm, BIT_STRING, ENUMERATED, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, OID, Reader, SEQUENCE,
        Tlv, UTC_TIME, context,
    },
    certificate::{PemError, pem_blocks, significant},
    oid,
    public_key::{PublicKey, SignatureScheme},
};

const BOOLEAN: u8 = 0x01;

/// Why bytes are not a revocation list we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// Larger than the bound.
    #[error("a revocation list of {bytes} bytes is refused, at most {CRL_BYTES_MAX} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// More entries than the bound.
    #[error("the revocation list has more than {CRL_ENTRIES_MAX} entries")]
    TooManyEntries,
    /// Not a version 2 CRL.
    #[error("not a well-formed version 2 certificate revocation list (RFC 5280 5.1)")]
    Malformed,
    /// Delta, indirect or partitioned.
    #[error("the revocation list carries {extension}, so it is not a whole list; load the complete CRL of the issuer")]
    NotWhole {
        /// The extension in dotted form.
        extension: String,
    },
    /// Signed with something outside the closed list.
    #[error("the revocation list is signed with the unsupported algorithm {algorithm}")]
    Algorithm {
        /// OID in dotted form.
        algorithm: String,
    },
    /// Not PEM.
    #[error("cannot read the PEM of a revocation list")]
    Pem(#[from] PemError),
}

/// Why a certificate was revoked (RFC 5280 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevocationReason {
    /// None given.
    Unspecified,
    /// The private key is or may be in other hands.
    KeyCompromise,
    /// The authority's own key is or may be in other hands.
    CaCompromise,
    /// Name or other data in the certificate changed.
    AffiliationChanged,
    /// Replaced by another certificate.
    Superseded,
    /// No longer needed.
    CessationOfOperation,
    /// Suspended; may be restored (NĐ 68/2024/NĐ-CP: tạm dừng).
    CertificateHold,
    /// A right stated in the certificate was withdrawn.
    PrivilegeWithdrawn,
    /// The attribute authority's key is or may be in other hands.
    AaCompromise,
}

impl RevocationReason {
    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Unspecified,
            1 => Self::KeyCompromise,
            2 => Self::CaCompromise,
            3 => Self::AffiliationChanged,
            4 => Self::Superseded,
            5 => Self::CessationOfOperation,
            6 => Self::CertificateHold,
            9 => Self::PrivilegeWithdrawn,
            10 => Self::AaCompromise,
            // 7 is unused, 8 (removeFromCRL) exists in delta lists only.
            _ => return None,
        })
    }

    /// The name RFC 5280 gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "aACompromise",
        }
    }
}

/// One certificate revocation list. Its signature is checked against its issuer when it is used.
pub struct Crl {
    sha256: Digest,
    tbs: Box<[u8]>,
    scheme: SignatureScheme,
    signature: Box<[u8]>,
    issuer_der: Box<[u8]>,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    /// Sorted by serial number.
    entries: Box<[Entry]>,
}

struct Entry {
    serial: Box<[u8]>,
    at: Timestamp,
    reason: RevocationReason,
}

impl Crl {
    /// Reads the DER of one list.
    ///
    /// # Errors
    /// See [`CrlError`].
    pub fn from_der(der: &[u8]) -> Result<Self, CrlError> {
        if der.len() > CRL_BYTES_MAX {
            return Err(CrlError::TooLarge { bytes: der.len() });
        }
        let mut outer = Tlv::parse(der, SEQUENCE)?.reader();
        let tbs = outer.expect(SEQUENCE)?;
        let algorithm_whole = outer.expect(SEQUENCE)?;
        let signature = outer.expect(BIT_STRING)?.bit_string()?;
        outer.finish()?;
        let scheme = scheme_of(&Algorithm::of(&mut algorithm_whole.reader())?)?;

        let mut fields = tbs.reader();
        if fields.small_integer()? != 1 || fields.expect(SEQUENCE)?.whole != algorithm_whole.whole {
            return Err(CrlError::Malformed);
        }
        let issuer_der = fields.expect(SEQUENCE)?.whole.into();
        let this_update = fields.any()?.time()?;
        let next_update = match fields.peek() {
            Some(UTC_TIME | GENERALIZED_TIME) => Some(fields.any()?.time()?),
            _ => None,
        };
        let entries = match fields.optional(SEQUENCE)? {
            Some(revoked) => read_entries(revoked.reader())?,
            None => Box::default(),
        };
        if let Some(extensions) = fields.optional(context(0))? {
            let mut extensions = Tlv::parse(extensions.content, SEQUENCE)?.reader();
            each_extension(&mut extensions, check_list_extension)?;
        }
        fields.finish()?;
        let (sha256, tbs, signature) = (Digest::of(der), tbs.whole.into(), signature.into());
        Ok(Self { sha256, tbs, scheme, signature, issuer_der, this_update, next_update, entries })
    }

    /// All lists of a PEM file.
    ///
    /// # Errors
    /// See [`CrlError`].
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, CrlError> {
        // Base64 makes a list a third longer.
        let blocks = pem_blocks::<CertificateRevocationListDer<'static>>(pem, "X509 CRL", CRL_BYTES_MAX / 3 * 4)?;
        blocks.iter().map(|der| Self::from_der(der)).collect()
    }

    /// The lists of a file in either form: authorities publish DER, administrators keep PEM.
    ///
    /// # Errors
    /// See [`CrlError`].
    pub fn from_file_bytes(bytes: &[u8]) -> Result<Vec<Self>, CrlError> {
        if bytes.first() == Some(&SEQUENCE) { Ok(vec![Self::from_der(bytes)?]) } else { Self::from_pem(bytes) }
    }

    /// SHA-256 of the DER: names the list a verdict was reached against.
    #[must_use]
    pub const fn sha256(&self) -> Digest {
        self.sha256
    }

    /// DER of the issuer's Name.
    #[must_use]
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer_der
    }

    /// When it was issued.
    #[must_use]
    pub const fn this_update(&self) -> Timestamp {
        self.this_update
    }

    /// When the next one is due at the latest.
    #[must_use]
    pub const fn next_update(&self) -> Option<Timestamp> {
        self.next_update
    }

    /// How many certificates it lists.
    #[must_use]
    pub fn revoked_count(&self) -> usize {
        self.entries.len()
    }

    /// Whether `issuer` signed it.
    pub(crate) fn is_signed_by(&self, issuer: &PublicKey) -> bool {
        issuer.verify(self.scheme, &self.tbs, &self.signature).is_ok()
    }

    /// When and why this serial number (as it stands in the certificate) was revoked.
    pub(crate) fn revocation(&self, serial: &[u8]) -> Option<(Timestamp, RevocationReason)> {
        let serial = significant(serial);
        let found = self.entries.binary_search_by(|entry| (*entry.serial).cmp(serial)).ok()?;
        self.entries.get(found).map(|entry| (entry.at, entry.reason))
    }
}

impl std::fmt::Debug for Crl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crl({} revoked, issued {}, sha256 {})", self.entries.len(), self.this_update, self.sha256)
    }
}

impl From<Malformed> for CrlError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// Of lists, OCSP answers and their responders' certificates.
pub(crate) fn scheme_of(algorithm: &Algorithm<'_>) -> Result<SignatureScheme, CrlError> {
    let schemes = [
        (oid::RSA_SHA256, SignatureScheme::RsaPkcs1Sha256),
        (oid::RSA_SHA384, SignatureScheme::RsaPkcs1Sha384),
        (oid::RSA_SHA512, SignatureScheme::RsaPkcs1Sha512),
        (oid::ECDSA_SHA256, SignatureScheme::EcdsaP256Sha256),
        (oid::ECDSA_SHA384, SignatureScheme::EcdsaP384Sha384),
    ];
    schemes
        .into_iter()
        .find(|(id, _)| algorithm.is_plain(*id))
        .map(|(_, scheme)| scheme)
        .ok_or_else(|| CrlError::Algorithm { algorithm: algorithm.name() })
}

fn read_entries(mut revoked: Reader<'_>) -> Result<Box<[Entry]>, CrlError> {
    let mut entries = Vec::new();
    while !revoked.is_empty() {
        if entries.len() == CRL_ENTRIES_MAX {
            return Err(CrlError::TooManyEntries);
        }
        entries.push(read_entry(revoked.sequence()?)?);
    }
    // The earliest revocation of a serial number stands, should a list name it twice.
    entries.sort_unstable_by(|a, b| (&a.serial, a.at).cmp(&(&b.serial, b.at)));
    entries.dedup_by(|later, earlier| later.serial == earlier.serial);
    Ok(entries.into_boxed_slice())
}

fn read_entry(mut fields: Reader<'_>) -> Result<Entry, CrlError> {
    let serial = significant(fields.expect(INTEGER)?.content).into();
    let at = fields.any()?.time()?;
    let mut reason = RevocationReason::Unspecified;
    if let Some(extensions) = fields.optional(SEQUENCE)? {
        each_extension(&mut extensions.reader(), |extension| {
            if extension.id.is_oid(oid::CRL_REASON) {
                let code = Tlv::parse(extension.value, ENUMERATED)?.content;
                let &[code] = code else { return Err(CrlError::Malformed) };
                reason = RevocationReason::from_code(code).ok_or(CrlError::Malformed)?;
                return Ok(());
            }
            // certificateIssuer (indirect lists) is critical and ends here.
            extension.must_be_passable(&[oid::CRL_INVALIDITY_DATE])
        })?;
    }
    fields.finish()?;
    Ok(Entry { serial, at, reason })
}

fn check_list_extension(extension: Extension<'_>) -> Result<(), CrlError> {
    // Not always critical in the wild, always changing what the list means.
    if extension.id.is_oid(oid::CRL_DELTA_INDICATOR) || extension.id.is_oid(oid::CRL_ISSUING_DISTRIBUTION_POINT) {
        return Err(CrlError::NotWhole { extension: extension.name() });
    }
    extension.must_be_passable(&[oid::CRL_NUMBER, oid::AUTHORITY_KEY_IDENTIFIER])
}

struct Extension<'a> {
    id: Tlv<'a>,
    critical: bool,
    value: &'a [u8],
}

impl Extension<'_> {
    fn name(&self) -> String {
        ObjectIdentifier::from_bytes(self.id.content)
            .map_or_else(|_| "a malformed extension".into(), |id| id.to_string())
    }

    fn must_be_passable(&self, known: &[ObjectIdentifier]) -> Result<(), CrlError> {
        if self.critical && !known.iter().any(|id| self.id.is_oid(*id)) {
            return Err(CrlError::NotWhole { extension: self.name() });
        }
        Ok(())
    }
}

fn each_extension<'a>(
    extensions: &mut Reader<'a>,
    mut check: impl FnMut(Extension<'a>) -> Result<(), CrlError>,
) -> Result<(), CrlError> {
    let mut seen = HashSet::new();
    while !extensions.is_empty() {
        let mut fields = extensions.sequence()?;
        let id = fields.expect(OID)?;
        let critical = fields.optional(BOOLEAN)?.is_some_and(|flag| flag.content != [0]);
        let value = fields.expect(OCTET_STRING)?.content;
        fields.finish()?;
        if !seen.insert(id.content) {
            return Err(CrlError::Malformed);
        }
        check(Extension { id, critical, value })?;
    }
    Ok(())
}
