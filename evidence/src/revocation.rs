//! Requests to revoke or suspend: a node tells the operator that one of its keys is stolen, lost, or suspected to be.
//!
//! The ledger's key signs, which the directory names for the node; and whichever certificates of the node and its agencies can still sign, the one it is
//! about among them. They may all be lost at once: then the operator has to make sure by other means.

use ring::signature::{ED25519, UnparsedPublicKey};
use truc_ledger::LedgerKey;
use truc_proto::{
    Digest, KeyUse, NodeId, Possession, Raw, RevocationRequest, SignedRevocation, StatementError, Timestamp,
};
use truc_signer::{Certificate, CmsError, SigningKey, sign_detached, verify_detached};

use crate::{CertificateLookupError, Directory, directory::skew};

/// What stands before the request in the message that the ledger's key signs.
pub const REVOCATION_CONTEXT: &str = "truc/revocation/1";

/// Why a request to revoke is refused.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// The file or the request in it.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Another axis or lane.
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
    /// No such node.
    #[error("the directory has no node {0}")]
    UnknownNode(NodeId),
    /// Nobody asks for another's.
    #[error("the directory binds the certificate {certificate} neither to {node} nor to a code of that node")]
    NotTheirs {
        /// Which one.
        certificate: Digest,
        /// Who asks.
        node: NodeId,
    },
    /// The ledger's key did not sign.
    #[error("the ledger key of {0} did not sign the request")]
    LedgerKey(NodeId),
    /// A signature by nobody who may speak for the node.
    #[error(
        "the request is signed by {certificate}, which the directory binds neither to {node} nor to a code of that node"
    )]
    UnknownSigner {
        /// Who.
        certificate: Digest,
        /// Who asks.
        node: NodeId,
    },
    /// A signature that does not hold.
    #[error("the signature of {subject} does not hold")]
    Signature {
        /// Whose.
        subject: String,
        /// What is wrong.
        source: CmsError,
    },
    /// The directory's copy on the disk.
    #[error("the directory cannot be read")]
    Directory(#[from] CertificateLookupError),
}

/// A request whose signatures hold.
#[derive(Clone, Debug)]
pub struct VerifiedRevocation {
    /// What is asked for.
    pub request: RevocationRequest,
    /// Which certificates of the node and its agencies signed it. None: by the ledger's key alone.
    pub signers: Vec<Certificate>,
}

/// Writes a `*.revocation` file: the request signed by the ledger's key, and by those of `keys` that can. A key that is away keeps nobody from telling.
///
/// # Errors
/// When the request contradicts itself.
pub fn make_revocation(
    request: RevocationRequest,
    ledger: &LedgerKey,
    keys: &[&dyn SigningKey],
) -> Result<Raw<SignedRevocation>, StatementError> {
    let time = request.time;
    let request = Raw::write(request)?;
    let signed = |key: &&dyn SigningKey| {
        let cms = sign_detached(*key, request.bytes(), Some(time)).ok()?;
        Some(Possession { certificate: key.certificate().sha256(), cms })
    };
    Raw::write(SignedRevocation {
        request: request.bytes().to_vec(),
        ledger_signature: ledger.sign_message(REVOCATION_CONTEXT, request.bytes()),
        signatures: keys.iter().filter_map(signed).collect(),
    })
}

/// Verifies a `*.revocation` file against the directory in force.
///
/// # Errors
/// [`RevocationError`]: what does not hold.
pub fn verify_revocation(
    signed: &Raw<SignedRevocation>,
    directory: &Directory,
    now: Timestamp,
) -> Result<VerifiedRevocation, RevocationError> {
    let request = Raw::<RevocationRequest>::parse(signed.request.clone())?;
    let statement = directory.statement();
    if request.axis != statement.axis || request.lane != statement.lane {
        let (stated, expected) =
            (format!("{} {}", request.axis, request.lane), format!("{} {}", statement.axis, statement.lane));
        return Err(RevocationError::Domain { stated, expected });
    }
    if request.time > now + skew() {
        return Err(RevocationError::FromFuture { time: request.time });
    }
    let node = request.node.clone();
    let (_, entry) = directory.node(&node).ok_or_else(|| RevocationError::UnknownNode(node.clone()))?;
    let message = [REVOCATION_CONTEXT.as_bytes(), b"\n", &signed.request].concat();
    UnparsedPublicKey::new(&ED25519, entry.ledger_key)
        .verify(&message, &signed.ledger_signature)
        .map_err(|_| RevocationError::LedgerKey(node.clone()))?;
    let certificate = request.certificate;
    if own(directory, &node, &certificate)?.is_none() {
        return Err(RevocationError::NotTheirs { certificate, node });
    }
    let mut signers = Vec::with_capacity(signed.signatures.len());
    for possession in &signed.signatures {
        let own = own(directory, &node, &possession.certificate)?;
        let Some((signer, in_force)) = own.map(|(signer, serves)| (signer, serves(now))) else {
            return Err(RevocationError::UnknownSigner { certificate: possession.certificate, node });
        };
        let failed = |source| RevocationError::Signature { subject: signer.subject().to_owned(), source };
        let signature =
            verify_detached(&possession.cms, request.bytes(), std::slice::from_ref(&signer)).map_err(failed)?;
        if signature.certificate != signer {
            return Err(failed(CmsError::CertificateMismatch { subject: signer.subject().to_owned() }));
        }
        // Whoever holds the very key may say that it is not to be used any more; of others, only those in force count.
        if (in_force || signer.sha256() == certificate) && !signers.contains(&signer) {
            signers.push(signer);
        }
    }
    Ok(VerifiedRevocation { request: request.into_value(), signers })
}

/// A certificate that the directory binds to a node or one of its codes, and whether it signs for it at a time.
fn own<'d>(
    directory: &'d Directory,
    node: &'d NodeId,
    certificate: &'d Digest,
) -> Result<Option<(Certificate, impl Fn(Timestamp) -> bool + use<'d>)>, CertificateLookupError> {
    let (_, entry) = match directory.node(node) {
        Some(found) => found,
        None => return Ok(None),
    };
    let of_node = entry.certificates.iter().find(|bound| bound.sha256 == *certificate);
    let codes = directory.agencies().iter().filter(|agency| agency.node.as_ref() == Some(node));
    let of_code = codes.filter_map(|agency| Some((&agency.code, directory.binding_of(&agency.code, certificate)?)));
    let of_code = of_code.into_iter().next();
    let found = match (of_node, of_code) {
        (Some(bound), _) => Certificate::from_der(&bound.der).ok(),
        (None, Some((code, _))) => Some(directory.bound_certificate(code, certificate)?),
        (None, None) => None,
    };
    let serves = move |at| {
        of_node.is_some_and(|bound| bound.serves(KeyUse::Node, at))
            || of_code.is_some_and(|(_, bound)| bound.serves(KeyUse::Service, at))
    };
    Ok(found.map(|certificate| (certificate, serves)))
}
