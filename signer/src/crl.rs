//! Certificate revocation lists (RFC 5280 5): parsed once into a sorted table over the bytes received.
//!
//! Whole lists, delta lists (5.2.4), lists of one distribution point, of one kind of certificate or of some reasons (5.2.5), and indirect ones. What a list
//! does not cover it does not answer: which lists together tell something is for `path/revocation.rs`.
//!
//! Memory: the signed bytes as received and 16 bytes an entry; a list of 120,000 entries takes about 8 MB.

mod scope;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use rustls_pki_types::CertificateRevocationListDer;
use truc_proto::{
    Digest, Timestamp,
    limits::{CRL_BYTES_MAX, CRL_ENTRIES_MAX, CRL_ISSUERS_MAX},
};

use crate::{
    asn1::{
        Algorithm, BIT_STRING, ENUMERATED, GENERALIZED_TIME, INTEGER, Malformed, Reader, SEQUENCE, Tlv, UTC_TIME,
        context,
    },
    certificate::{PemError, pem_blocks, significant},
    extension::{self, Extension},
    name::ComparableName,
    oid,
    public_key::{PublicKey, SignatureScheme},
};
pub(crate) use scope::{DistributionPoint, Reasons, Scope};

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
    /// A critical extension that is not known: it may change what the list means.
    #[error(
        "the revocation list carries the critical extension {extension}, which is not understood; load another list of the issuer"
    )]
    UnknownExtension {
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
            // 7 is unused, 8 (removeFromCRL) is no reason.
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
    issuer: ComparableName,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    number: Option<Number>,
    /// Of a delta list: the oldest whole list it may be added to.
    base: Option<Number>,
    scope: Scope,
    /// Issuers of listed certificates: the list's own, and of an indirect list others.
    issuers: Vec<ComparableName>,
    /// Sorted by issuer and serial number.
    entries: Box<[Entry]>,
}

/// A cRLNumber: big-endian digits without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Number(Box<[u8]>);

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

/// 16 bytes: the serial number stays where it is in the signed bytes.
#[derive(Clone, Copy)]
struct Entry {
    at: Timestamp,
    serial_start: u32,
    serial_bytes: u8,
    state: Listed,
    issuer: u16,
}

const _: () = assert!(size_of::<Entry>() == 16, "what is said of memory above rests on it");

/// What a list says of a certificate that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Revoked, and why.
    Revoked(RevocationReason),
    /// removeFromCRL, in a delta list: no longer suspended.
    Removed,
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
        let issuer_der = fields.expect(SEQUENCE)?.whole;
        let issuer = ComparableName::of(issuer_der)?;
        let this_update = fields.any()?.time()?;
        let next_update = match fields.peek() {
            Some(UTC_TIME | GENERALIZED_TIME) => Some(fields.any()?.time()?),
            _ => None,
        };
        let revoked = fields.optional(SEQUENCE)?;
        let about = match fields.optional(context(0))? {
            Some(extensions) => About::read(Tlv::parse(extensions.content, SEQUENCE)?, &issuer)?,
            None => About::WHOLE,
        };
        fields.finish()?;
        let mut entries = Entries::new(tbs.whole, &issuer, &about);
        if let Some(revoked) = revoked {
            entries.read(revoked.reader())?;
        }
        let (issuers, entries) = entries.sorted();
        Ok(Self {
            sha256: Digest::of(der),
            tbs: tbs.whole.into(),
            scheme,
            signature: signature.into(),
            issuer_der: issuer_der.into(),
            issuer,
            this_update,
            next_update,
            number: about.number,
            base: about.base,
            scope: about.scope,
            issuers,
            entries,
        })
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

    /// Whether it is a delta list, which says what changed since a whole one.
    #[must_use]
    pub const fn is_delta(&self) -> bool {
        self.base.is_some()
    }

    /// The issuer as RFC 5280 7.1 compares it.
    pub(crate) const fn issuer(&self) -> &ComparableName {
        &self.issuer
    }

    /// Which certificates it covers.
    pub(crate) const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether this delta list, added to the whole list `base` of the same scope, makes a list of its own date (RFC 5280 5.2.4).
    pub(crate) fn continues(&self, base: &Self) -> bool {
        let (Some(oldest), Some(number), Some(of_base)) = (&self.base, &self.number, &base.number) else {
            return false;
        };
        base.base.is_none() && oldest <= of_base && of_base < number
    }

    /// Whether this one is issued after `other`.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        (self.this_update, &self.number) > (other.this_update, &other.number)
    }

    /// Whether it takes the place of `other`: of the same issuer and scope, whole as that or a delta list as that, and issued after it.
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        self.issuer == other.issuer
            && self.scope == other.scope
            && self.is_delta() == other.is_delta()
            && self.is_newer_than(other)
    }

    /// Whether `issuer` signed it.
    pub(crate) fn is_signed_by(&self, issuer: &PublicKey) -> bool {
        issuer.verify(self.scheme, &self.tbs, &self.signature).is_ok()
    }

    /// What it says of the certificate of this issuer with this serial number (as it stands in the certificate).
    pub(crate) fn look_up(&self, issuer: &ComparableName, serial: &[u8]) -> Option<(Timestamp, Listed)> {
        let issuer = u16::try_from(self.issuers.iter().position(|known| known == issuer)?).ok()?;
        let wanted = (issuer, minimal(serial));
        let found = self.entries.binary_search_by(|entry| (entry.issuer, entry.serial(&self.tbs)).cmp(&wanted)).ok()?;
        self.entries.get(found).map(|entry| (entry.at, entry.state))
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

/// What the extensions of a list say of it.
struct About {
    number: Option<Number>,
    base: Option<Number>,
    scope: Scope,
}

impl About {
    const WHOLE: Self = Self { number: None, base: None, scope: Scope::WHOLE };

    fn read(extensions: Tlv<'_>, issuer: &ComparableName) -> Result<Self, CrlError> {
        let mut about = Self::WHOLE;
        for one in extension::all(extensions.content)? {
            if one.is(oid::CRL_NUMBER) {
                about.number = Some(Number::read(one.value)?);
            } else if one.is(oid::CRL_DELTA_INDICATOR) {
                about.base = Some(Number::read(one.value)?);
            } else if one.is(oid::CRL_ISSUING_DISTRIBUTION_POINT) {
                about.scope = Scope::of(one.value, issuer)?;
            } else {
                must_be_passable(&one, &[oid::AUTHORITY_KEY_IDENTIFIER])?;
            }
        }
        Ok(about)
    }
}

impl Number {
    fn read(value: &[u8]) -> Result<Self, Malformed> {
        match Tlv::parse(value, INTEGER)?.content {
            // RFC 5280 5.2.3: at most 20 octets, not negative.
            digits @ [first, ..] if digits.len() <= 20 && *first < 0x80 => Ok(Self(significant(digits).into())),
            _ => Err(Malformed),
        }
    }
}

impl Entry {
    fn serial<'a>(&self, tbs: &'a [u8]) -> &'a [u8] {
        let start = self.serial_start as usize;
        tbs.get(start..start + usize::from(self.serial_bytes)).expect("it was found there")
    }
}

/// A serial number without zeros that DER would not write: with them a list could name a certificate and not be found to. The sign stays: -1 is not 255.
pub(crate) fn minimal(mut serial: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = serial
        && rest.first().is_some_and(|next| *next < 0x80)
    {
        serial = rest;
    }
    serial
}

/// Entries as they are read: where an indirect list names an issuer, it holds for those that follow, too (RFC 5280 5.3.3).
struct Entries<'a> {
    tbs: &'a [u8],
    indirect: bool,
    delta: bool,
    issuers: Vec<ComparableName>,
    places: HashMap<ComparableName, u16>,
    issuer: u16,
    entries: Vec<Entry>,
}

impl<'a> Entries<'a> {
    fn new(tbs: &'a [u8], issuer: &ComparableName, about: &About) -> Self {
        let places = HashMap::from([(issuer.clone(), 0)]);
        let (indirect, delta) = (about.scope.indirect, about.base.is_some());
        Self { tbs, indirect, delta, issuers: vec![issuer.clone()], places, issuer: 0, entries: Vec::new() }
    }

    fn read(&mut self, mut revoked: Reader<'a>) -> Result<(), CrlError> {
        while !revoked.is_empty() {
            if self.entries.len() == CRL_ENTRIES_MAX {
                return Err(CrlError::TooManyEntries);
            }
            let entry = self.entry(revoked.sequence()?)?;
            self.entries.push(entry);
        }
        Ok(())
    }

    fn entry(&mut self, mut fields: Reader<'a>) -> Result<Entry, CrlError> {
        let serial = minimal(fields.expect(INTEGER)?.content);
        let at = fields.any()?.time()?;
        let mut state = Listed::Revoked(RevocationReason::Unspecified);
        if let Some(extensions) = fields.optional(SEQUENCE)? {
            for one in extension::all(extensions.content)? {
                if one.is(oid::CRL_REASON) {
                    state = self.state(one.value)?;
                } else if one.is(oid::CRL_CERTIFICATE_ISSUER) && self.indirect {
                    self.issuer = self.place(one.value)?;
                } else {
                    must_be_passable(&one, &[oid::CRL_INVALIDITY_DATE])?;
                }
            }
        }
        fields.finish()?;
        // The serial is a part of the signed bytes; where it stands there is kept instead of a copy.
        let start = serial.as_ptr().addr() - self.tbs.as_ptr().addr();
        let serial_start = u32::try_from(start).map_err(|_| CrlError::Malformed)?;
        let serial_bytes = u8::try_from(serial.len()).map_err(|_| CrlError::Malformed)?;
        Ok(Entry { at, serial_start, serial_bytes, state, issuer: self.issuer })
    }

    fn state(&self, value: &[u8]) -> Result<Listed, Malformed> {
        const REMOVE_FROM_CRL: u8 = 8;
        match Tlv::parse(value, ENUMERATED)?.content {
            [REMOVE_FROM_CRL] if self.delta => Ok(Listed::Removed),
            [code] => RevocationReason::from_code(*code).map(Listed::Revoked).ok_or(Malformed),
            _ => Err(Malformed),
        }
    }

    fn place(&mut self, value: &[u8]) -> Result<u16, CrlError> {
        let names = scope::directories(Tlv::parse(value, SEQUENCE)?.content)?;
        let name = names.into_iter().next().ok_or(CrlError::Malformed)?;
        if let Some(place) = self.places.get(&name) {
            return Ok(*place);
        }
        let place = u16::try_from(self.issuers.len()).ok().filter(|place| usize::from(*place) < CRL_ISSUERS_MAX);
        let place = place.ok_or(CrlError::TooManyEntries)?;
        self.places.insert(name.clone(), place);
        self.issuers.push(name);
        Ok(place)
    }

    fn sorted(mut self) -> (Vec<ComparableName>, Box<[Entry]>) {
        // The earliest revocation of a serial number stands, should a list name it twice; a removal only where it stands alone.
        let key = |entry: &Entry| (entry.issuer, entry.serial(self.tbs), entry.state == Listed::Removed, entry.at);
        self.entries.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        let same = |a: &Entry, b: &Entry| a.issuer == b.issuer && a.serial(self.tbs) == b.serial(self.tbs);
        self.entries.dedup_by(|later, earlier| same(later, earlier));
        (self.issuers, self.entries.into_boxed_slice())
    }
}

fn must_be_passable(extension: &Extension<'_>, known: &[der::asn1::ObjectIdentifier]) -> Result<(), CrlError> {
    if extension.is_passable(known) {
        return Ok(());
    }
    Err(CrlError::UnknownExtension { extension: extension.name() })
}
