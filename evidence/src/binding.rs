//! Binding requests: a node asks to be listed, and proves that it holds the keys it names.
//!
//! The ledger's key and every signing certificate (service, node) sign the request. A TLS key proves itself at each handshake, so its signature
//! is welcome and not demanded. A sealing certificate may be unable to sign by its keyUsage: it counts as proven when it comes from the same
//! authority and names the same organisation (O) as a service certificate of the same entry whose key is proven; otherwise the operator
//! must confirm it, and the draft says so.

use ring::signature::{ED25519, UnparsedPublicKey};
use truc_ledger::LedgerKey;
use truc_proto::{
    AgencyId, AxisId, BindingRequest, CertificateBinding, Digest, Entry, KeyStatus, KeyUse, Lane, NodeEntry, NodeId,
    Possession, Raw, SealingAlgorithm, SignedBinding, StatementError, Timestamp,
};
use truc_signer::{
    Certificate, CertificateError, CertificateUse, CmsError, KeyKind, PathError, SignError, SigningKey, TrustStore,
    Verdict, sign_detached, validate, verify_detached,
};

use crate::{
    Agency, CertificateLookupError, Directory, DirectoryReadError, checkpoint::ledger_origin, directory::skew,
};

/// What stands before the request in the message that the ledger's key signs.
pub const BINDING_CONTEXT: &str = "truc/binding/1";

/// Why no binding request was written.
#[derive(Debug, thiserror::Error)]
pub enum MakeBindingError {
    /// The request contradicts itself.
    #[error("the binding request cannot be written")]
    Statement(#[from] StatementError),
    /// A key is away or refused.
    #[error("a key did not sign the binding request")]
    Sign(#[from] SignError),
}

/// Why a binding request is refused. Its writer must correct it and send it again.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// The file or the request in it.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The directory in force.
    #[error("the directory cannot be read")]
    Directory(#[from] DirectoryReadError),
    /// Another domain.
    #[error("the request is for {stated}, this directory is for {expected}")]
    Domain {
        /// In the request.
        stated: String,
        /// Of the directory.
        expected: String,
    },
    /// Ahead of our clock.
    #[error("the request is of {time}, more than five minutes ahead; its writer must set the clock")]
    FromFuture {
        /// Its time.
        time: Timestamp,
    },
    /// Not one node and its agencies.
    #[error("the request must name one node or relay and agencies at it: {why}")]
    Shape {
        /// What is wrong.
        why: String,
    },
    /// The ledger's key did not sign.
    #[error("the ledger key of {node} did not sign the request")]
    LedgerKey {
        /// Whose key.
        node: NodeId,
    },
    /// A signing certificate without proof.
    #[error("{entry}: the key of the certificate of {subject} did not sign the request; sign with it, too")]
    NotProven {
        /// Key of the entry.
        entry: String,
        /// Whose certificate.
        subject: String,
    },
    /// A proof that does not hold.
    #[error("{entry}: the proof by the key of {subject} does not hold")]
    Proof {
        /// Key of the entry.
        entry: String,
        /// Whose certificate.
        subject: String,
        /// What is wrong.
        source: CmsError,
    },
    /// A certificate that cannot be read.
    #[error("{entry}: a certificate cannot be used")]
    Certificate {
        /// Key of the entry.
        entry: String,
        /// What is wrong.
        source: CertificateError,
    },
    /// A certificate that is not believed.
    #[error("{entry}: a certificate is not believed")]
    Path {
        /// Key of the entry.
        entry: String,
        /// Why.
        source: PathError,
    },
    /// A revoked certificate.
    #[error("{entry}: the certificate of {subject} is revoked since {at}; ask for a new one")]
    Revoked {
        /// Key of the entry.
        entry: String,
        /// Whose certificate.
        subject: String,
        /// Since when.
        at: Timestamp,
    },
    /// Algorithms that do not fit the key, or times outside the certificate's.
    #[error("{entry}: the binding of the certificate of {subject} says {what}")]
    Terms {
        /// Key of the entry.
        entry: String,
        /// Whose certificate.
        subject: String,
        /// What does not fit.
        what: &'static str,
    },
}

/// A sealing certificate whose holder could not be shown to be the same as that of a proven one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnprovenSealing {
    /// For which code.
    pub code: AgencyId,
    /// SHA-256 of the certificate.
    pub certificate: Digest,
    /// Whom it names.
    pub subject: String,
}

/// A request whose proofs hold.
#[derive(Clone, Debug)]
pub struct VerifiedBinding {
    request: Raw<BindingRequest>,
    unproven_sealing: Vec<UnprovenSealing>,
    unendorsed: Vec<String>,
}

impl VerifiedBinding {
    /// The request.
    #[must_use]
    pub const fn request(&self) -> &Raw<BindingRequest> {
        &self.request
    }

    /// Sealing certificates that the operator must confirm by other means.
    #[must_use]
    pub fn unproven_sealing(&self) -> &[UnprovenSealing] {
        &self.unproven_sealing
    }

    /// Keys of the entries that change or add a binding without a signature of the current or the parent agency's (or the node's current) key.
    /// In version 1, where the operator alone binds, these are all.
    #[must_use]
    pub fn unendorsed(&self) -> &[String] {
        &self.unendorsed
    }
}

/// How a certificate stands in an entry: good, for as long as it says itself. Sealing algorithms are added by who knows them.
#[must_use]
pub fn bind_certificate(certificate: &Certificate, uses: Vec<KeyUse>) -> CertificateBinding {
    CertificateBinding {
        uses,
        der: certificate.der().to_vec(),
        sha256: certificate.sha256(),
        algorithms: Vec::new(),
        valid_from: certificate.not_before(),
        valid_to: certificate.not_after(),
        status: KeyStatus::Good,
        status_since: None,
    }
}

/// Writes a `*.binding` file: the request signed by the ledger's key and by every key in `keys`.
///
/// # Errors
/// When the request contradicts itself, or a key is away or refuses.
pub fn make_binding(
    request: BindingRequest,
    ledger: &LedgerKey,
    keys: &[&dyn SigningKey],
) -> Result<Raw<SignedBinding>, MakeBindingError> {
    let time = request.time;
    let request = Raw::write(request)?;
    let mut possession = Vec::with_capacity(keys.len());
    for key in keys {
        let cms = sign_detached(*key, request.bytes(), Some(time))?;
        possession.push(Possession { certificate: key.certificate().sha256(), cms });
    }
    let ledger_signature = ledger.sign_message(BINDING_CONTEXT, request.bytes());
    Ok(Raw::write(SignedBinding { request: request.bytes().to_vec(), ledger_signature, possession })?)
}

/// Verifies a `*.binding` file against the directory that it is to change; none when there is no version yet.
///
/// # Errors
/// [`BindingError`]: what does not hold, and what its writer must do.
pub fn verify_binding(
    binding: &Raw<SignedBinding>,
    directory: Option<&Directory>,
    trust: &TrustStore,
    axis: &AxisId,
    lane: Lane,
    now: Timestamp,
) -> Result<VerifiedBinding, BindingError> {
    let request = Raw::<BindingRequest>::parse(binding.request.clone())?;
    if request.axis != *axis || request.lane != lane {
        let stated = format!("{} {}", request.axis, request.lane);
        return Err(BindingError::Domain { stated, expected: format!("{axis} {lane}") });
    }
    if request.time > now + skew() {
        return Err(BindingError::FromFuture { time: request.time });
    }
    let node = node_of(&request, directory)?;
    check_ledger_key(node, binding)?;
    let mut unproven_sealing = Vec::new();
    let mut unendorsed = Vec::new();
    let judge = Judge { binding, request: &request, trust, now };
    for entry in &request.entries {
        judge.certificates(entry, &mut unproven_sealing)?;
        if !judge.is_endorsed(entry, directory)? {
            unendorsed.push(entry.key());
        }
    }
    Ok(VerifiedBinding { request, unproven_sealing, unendorsed })
}

/// The one node or relay that the request is about: in it, or in the directory when it only adds agencies.
fn node_of<'a>(request: &'a BindingRequest, directory: Option<&'a Directory>) -> Result<&'a NodeEntry, BindingError> {
    let shape = |why: String| BindingError::Shape { why };
    let mut nodes = request.entries.iter().filter_map(Entry::as_node);
    let mut agencies = request.entries.iter().filter_map(Entry::as_agency);
    let first_agency = agencies.clone().next().and_then(|agency| agency.node.as_ref());
    let node = match (nodes.next(), nodes.next()) {
        (Some(_), Some(_)) => return Err(shape("it names several nodes".into())),
        (Some(node), None) => node,
        (None, _) => first_agency
            .and_then(|id| directory?.node(id))
            .map(|(_, node)| node)
            .ok_or_else(|| shape("it names no node, and the directory does not know the agencies'".into()))?,
    };
    if let Some(other) = agencies.find(|agency| agency.node.as_ref() != Some(&node.id)) {
        return Err(shape(format!("{} is not at {}", other.code, node.id)));
    }
    if request.entries.iter().any(|entry| matches!(entry, Entry::Operator(_))) {
        return Err(shape("the operator is bound by itself alone".into()));
    }
    let expected = ledger_origin(&request.axis, request.lane, &node.id, node.epoch);
    if node.lane != request.lane || node.origin != expected {
        return Err(shape(format!("lane and origin of {} must be {} and {expected}", node.id, request.lane)));
    }
    Ok(node)
}

fn check_ledger_key(node: &NodeEntry, binding: &SignedBinding) -> Result<(), BindingError> {
    let message = [BINDING_CONTEXT.as_bytes(), b"\n", &binding.request].concat();
    UnparsedPublicKey::new(&ED25519, node.ledger_key)
        .verify(&message, &binding.ledger_signature)
        .map_err(|_| BindingError::LedgerKey { node: node.id.clone() })
}

struct Judge<'a> {
    binding: &'a SignedBinding,
    request: &'a Raw<BindingRequest>,
    trust: &'a TrustStore,
    now: Timestamp,
}

impl Judge<'_> {
    /// Every certificate of an entry: believed for its uses, its key proven, its terms sensible.
    fn certificates(&self, entry: &Entry, unproven: &mut Vec<UnprovenSealing>) -> Result<(), BindingError> {
        let mut proven = Vec::new();
        let mut sealing_only = Vec::new();
        for binding in entry.certificates() {
            let certificate = self.certificate(entry, binding)?;
            if self.proves(entry, &certificate)? {
                proven.push(certificate);
            } else if binding.uses.iter().any(|key_use| matches!(key_use, KeyUse::Service | KeyUse::Node)) {
                return Err(BindingError::NotProven { entry: entry.key(), subject: certificate.subject().to_owned() });
            } else if binding.uses.contains(&KeyUse::Sealing) {
                sealing_only.push(certificate);
            }
        }
        let Some(agency) = entry.as_agency() else { return Ok(()) };
        let alike = |one: &Certificate, other: &Certificate| {
            one.issuer_der() == other.issuer_der()
                && organisation(one.subject()).is_some_and(|name| organisation(other.subject()) == Some(name))
        };
        for certificate in sealing_only.iter().filter(|sealing| !proven.iter().any(|known| alike(known, sealing))) {
            let (certificate, subject) = (certificate.sha256(), certificate.subject().to_owned());
            unproven.push(UnprovenSealing { code: agency.code.clone(), certificate, subject });
        }
        Ok(())
    }

    fn certificate(&self, entry: &Entry, binding: &CertificateBinding) -> Result<Certificate, BindingError> {
        let entry = || entry.key();
        let certificate = Certificate::from_der(&binding.der)
            .map_err(|source| BindingError::Certificate { entry: entry(), source })?;
        let subject = || certificate.subject().to_owned();
        for key_use in &binding.uses {
            let verdict = validate(self.trust, &certificate, use_of(*key_use), self.now)
                .map_err(|source| BindingError::Path { entry: entry(), source })?;
            if let Verdict::Revoked { at, subject, .. } = verdict {
                return Err(BindingError::Revoked { entry: entry(), subject, at });
            }
        }
        let terms = |what| Err(BindingError::Terms { entry: entry(), subject: subject(), what });
        if binding.valid_from < certificate.not_before() || binding.valid_to > certificate.not_after() {
            return terms("a time outside the certificate's own");
        }
        let fits = |algorithm: &SealingAlgorithm| match algorithm {
            SealingAlgorithm::RsaOaepSha256 => matches!(certificate.public_key().kind(), KeyKind::Rsa { .. }),
            SealingAlgorithm::EcdhP256 => certificate.public_key().kind() == KeyKind::P256,
        };
        if !binding.algorithms.iter().all(fits) {
            return terms("a sealing algorithm that its key cannot open");
        }
        Ok(certificate)
    }

    /// Whether the request is signed by this certificate's key. A signature that is there and does not hold is an error.
    fn proves(&self, entry: &Entry, certificate: &Certificate) -> Result<bool, BindingError> {
        let Some(possession) = self.binding.possession.iter().find(|p| p.certificate == certificate.sha256()) else {
            return Ok(false);
        };
        let failed = |source| {
            let subject = certificate.subject().to_owned();
            BindingError::Proof { entry: entry.key(), subject, source }
        };
        let signature = verify_detached(&possession.cms, self.request.bytes(), std::slice::from_ref(certificate))
            .map_err(failed)?;
        if signature.certificate != *certificate {
            return Err(failed(CmsError::CertificateMismatch { subject: certificate.subject().to_owned() }));
        }
        Ok(true)
    }

    /// Whether someone who may speak for the entry today signed the request: the code's current key, else its parent's; the node's own.
    fn is_endorsed(&self, entry: &Entry, directory: Option<&Directory>) -> Result<bool, BindingError> {
        let Some(directory) = directory else { return Ok(false) };
        match entry {
            Entry::Agency(agency) => {
                let parent = agency.superior();
                let speakers = std::iter::once(&agency.code).chain(&parent).filter_map(|code| directory.agency(code));
                for speaker in speakers {
                    if self.signed_by_agency(speaker, directory)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Entry::Node(node) | Entry::Relay(node) => {
                let known = directory.node(&node.id);
                Ok(known.is_some_and(|(_, known)| self.signed_by_node(&known.certificates)))
            }
            Entry::Operator(_) => Ok(false),
        }
    }

    fn signed_by_agency(&self, agency: &Agency, directory: &Directory) -> Result<bool, BindingError> {
        for bound in agency.certificates.iter().filter(|bound| bound.serves(KeyUse::Service, self.now)) {
            if self.proofs_of(&bound.sha256).next().is_none() {
                continue;
            }
            match directory.bound_certificate(&agency.code, &bound.sha256) {
                Ok(certificate) if self.signed_by(&certificate) => return Ok(true),
                Err(CertificateLookupError::Unread { source, .. }) => return Err(source.into()),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(false)
    }

    fn signed_by_node(&self, bindings: &[CertificateBinding]) -> bool {
        let in_force = bindings.iter().filter(|binding| binding.serves(KeyUse::Node, self.now));
        in_force.filter_map(|binding| Certificate::from_der(&binding.der).ok()).any(|own| self.signed_by(&own))
    }

    fn signed_by(&self, certificate: &Certificate) -> bool {
        self.proofs_of(&certificate.sha256()).any(|possession| {
            verify_detached(&possession.cms, self.request.bytes(), std::slice::from_ref(certificate))
                .is_ok_and(|signature| signature.certificate == *certificate)
        })
    }

    fn proofs_of(&self, certificate: &Digest) -> impl Iterator<Item = &Possession> {
        self.binding.possession.iter().filter(move |possession| possession.certificate == *certificate)
    }
}

const fn use_of(key_use: KeyUse) -> CertificateUse {
    match key_use {
        KeyUse::Service => CertificateUse::Service,
        KeyUse::Sealing => CertificateUse::Sealing,
        KeyUse::Node => CertificateUse::Node,
        KeyUse::Tls => CertificateUse::Tls,
        KeyUse::Operator => CertificateUse::Operator,
    }
}

/// The organisation in a subject as text (RFC 4514), escapes left as they stand: only compared.
fn organisation(subject: &str) -> Option<&str> {
    let mut start = 0;
    let mut escaped = false;
    let mut parts = Vec::new();
    for (place, byte) in subject.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(subject.get(start..place)?);
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(subject.get(start..)?);
    parts.into_iter().find_map(|part| part.trim_start().strip_prefix("O="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_organisation_is_read_between_escaped_commas() {
        assert_eq!(organisation(r"CN=Dịch vụ\, O=giả,O=UBND TP\, Hà Nội,C=VN"), Some(r"UBND TP\, Hà Nội"));
        assert_eq!(organisation("CN=x,OU=y"), None);
    }
}
