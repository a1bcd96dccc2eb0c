//! Whom the directory lets connect.

use std::collections::HashMap;

use truc_proto::{Digest, NodeId};

/// Why a certificate that is good in itself may not connect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The directory in force does not list it on this lane.
    #[error(
        "the directory lists no node or relay of this lane with TLS certificate {0}; its administrator must have the operator publish it"
    )]
    Unlisted(Digest),
    /// Listed, but not now.
    #[error("TLS certificate {fingerprint} of {name} is listed but not in force: {why}")]
    NotInForce {
        /// SHA-256 of the certificate.
        fingerprint: Digest,
        /// Whose it is.
        name: NodeId,
        /// What the entry says, e.g. `revoked` or `valid from …`.
        why: String,
    },
}

/// Decides by the certificate's fingerprint who its holder is. Asked at each handshake and again for every open
/// connection when something is swapped, so it must be quick and must not block.
pub trait Admission: Send + Sync + 'static {
    /// The node or relay whose TLS certificate has this SHA-256.
    ///
    /// # Errors
    /// When none may connect with it now.
    fn admit(&self, fingerprint: &Digest) -> Result<NodeId, NotAdmitted>;
}

impl<F: Fn(&Digest) -> Result<NodeId, NotAdmitted> + Send + Sync + 'static> Admission for F {
    fn admit(&self, fingerprint: &Digest) -> Result<NodeId, NotAdmitted> {
        self(fingerprint)
    }
}

/// A fixed list of fingerprints and their holders.
#[derive(Clone, Debug, Default)]
pub struct AdmissionList(HashMap<Digest, NodeId>);

impl FromIterator<(Digest, NodeId)> for AdmissionList {
    fn from_iter<I: IntoIterator<Item = (Digest, NodeId)>>(list: I) -> Self {
        Self(list.into_iter().collect())
    }
}

impl Admission for AdmissionList {
    fn admit(&self, fingerprint: &Digest) -> Result<NodeId, NotAdmitted> {
        self.0.get(fingerprint).cloned().ok_or(NotAdmitted::Unlisted(*fingerprint))
    }
}
