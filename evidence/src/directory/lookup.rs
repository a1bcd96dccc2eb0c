//! Questions to a directory: may mail go there, with which certificate, who may connect, what changed.

use std::time::Duration;

use truc_proto::{
    AgencyEntry, AgencyId, CertificateBinding, Digest, ForeignCode, KeyUse, NodeEntry, NodeId, Route, Timestamp,
    limits::DIRECTORY_GRACE_MS, nearest,
};
use truc_signer::Certificate;

use super::{AdmissionError, CertificateLookupError, Directory, NodeKind, ResolveError};

/// How far a version is from its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// Before `valid_until`.
    Fresh,
    /// Past it: still in force with an alarm, and no newly seen binding is believed.
    Grace {
        /// Until when.
        until: Timestamp,
    },
    /// Past the grace, too: new sends are held.
    Stale {
        /// Since when.
        since: Timestamp,
    },
}

/// A difference between two versions in what concerns one node: what it watches for bindings that it did not ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BindingChange {
    /// One of the node's codes has another node now, or none.
    CodeMoved {
        /// The code.
        code: AgencyId,
        /// Its node in the newer version.
        to: Option<NodeId>,
    },
    /// The node serves a code that it did not serve.
    CodeGained {
        /// The code.
        code: AgencyId,
    },
    /// A certificate is bound to one of the node's codes or to the node, and was not.
    CertificateAdded {
        /// Key of the entry.
        entry: String,
        /// SHA-256 of the certificate.
        certificate: Digest,
    },
    /// The ledger's key, origin or epoch changed.
    LedgerChanged {
        /// Whose.
        node: NodeId,
    },
}

impl Directory {
    /// The entry of a code that mail may go to at `at`.
    ///
    /// # Errors
    /// [`ResolveError`], for the asker: the nearest codes of an unknown one, the successor of a closed one.
    pub fn resolve(&self, code: &AgencyId, at: Timestamp) -> Result<&AgencyEntry, ResolveError> {
        let of = || code.clone();
        let Some(agency) = self.agency(code) else {
            let asked = ForeignCode::from(code.clone());
            let candidates = self.agencies().filter(|agency| agency.is_open(at)).map(|agency| &agency.code);
            return Err(ResolveError::Unknown {
                code: of(),
                nearest: nearest(&asked, candidates).into_iter().cloned().collect(),
            });
        };
        if at < agency.valid_from {
            return Err(ResolveError::NotYet { code: of(), from: agency.valid_from });
        }
        if let Some(closed) = agency.valid_to.filter(|end| *end <= at) {
            return Err(ResolveError::Closed { code: of(), closed, successor: agency.successor.clone() });
        }
        if !agency.lanes.contains(&self.statement().lane) {
            return Err(ResolveError::WrongLane { code: of(), lane: self.statement().lane });
        }
        match (agency.route, &agency.node) {
            (Route::Legacy, _) => Err(ResolveError::Legacy { code: of() }),
            (Route::Native, None) => Err(ResolveError::NoNode { code: of() }),
            (Route::Native, Some(_)) => Ok(agency),
        }
    }

    /// The binding of a code's certificate for `key_use` that is in force at `at`; of several, the one that came last.
    ///
    /// # Errors
    /// When the code is unknown or has none.
    pub fn binding(
        &self,
        code: &AgencyId,
        key_use: KeyUse,
        at: Timestamp,
    ) -> Result<&CertificateBinding, CertificateLookupError> {
        let agency = self.agency(code).ok_or_else(|| CertificateLookupError::UnknownCode { code: code.clone() })?;
        let in_force = agency.certificates.iter().filter(|binding| binding.serves(key_use, at));
        in_force.max_by_key(|binding| binding.valid_from).ok_or_else(|| CertificateLookupError::None {
            code: code.clone(),
            key_use,
            at,
        })
    }

    /// The certificate of [`Directory::binding`].
    ///
    /// # Errors
    /// As [`Directory::binding`], or when the bound bytes are no usable certificate.
    pub fn certificate(
        &self,
        code: &AgencyId,
        key_use: KeyUse,
        at: Timestamp,
    ) -> Result<Certificate, CertificateLookupError> {
        let binding = self.binding(code, key_use, at)?;
        Certificate::from_der(&binding.der)
            .map_err(|source| CertificateLookupError::Unusable { code: code.clone(), source })
    }

    /// The binding of exactly this certificate to a code, in force or not: whose signature or seal is it?
    #[must_use]
    pub fn binding_of(&self, code: &AgencyId, certificate: &Digest) -> Option<&CertificateBinding> {
        self.agency(code)?.certificates.iter().find(|binding| binding.sha256 == *certificate)
    }

    /// Who connects with this TLS certificate, when it may at `at`.
    ///
    /// # Errors
    /// [`AdmissionError`]: not on the list, or stopped there.
    pub fn admit(&self, certificate: &Digest, at: Timestamp) -> Result<(NodeKind, &NodeEntry), AdmissionError> {
        let (kind, node) = self.by_tls(certificate).ok_or(AdmissionError::Unknown { certificate: *certificate })?;
        let bound = node.certificates.iter().find(|binding| binding.sha256 == *certificate);
        if bound.is_some_and(|binding| binding.serves(KeyUse::Tls, at)) {
            Ok((kind, node))
        } else {
            Err(AdmissionError::NotInForce { node: node.id.clone() })
        }
    }

    /// How far this version is from its end.
    #[must_use]
    pub fn freshness(&self, now: Timestamp) -> Freshness {
        let valid_until = self.statement().valid_until;
        let until = valid_until + Duration::from_millis(u64::try_from(DIRECTORY_GRACE_MS).unwrap_or_default());
        if now <= valid_until {
            Freshness::Fresh
        } else if now <= until {
            Freshness::Grace { until }
        } else {
            Freshness::Stale { since: until }
        }
    }

    /// What is different for `node` and its codes since `previous`.
    #[must_use]
    pub fn changes_for(&self, previous: &Self, node: &NodeId) -> Vec<BindingChange> {
        let mut changes = Vec::new();
        for code in previous.codes_of(node) {
            let to = self.agency(code).and_then(|agency| agency.node.clone());
            if to.as_ref() != Some(node) {
                changes.push(BindingChange::CodeMoved { code: code.clone(), to });
            }
        }
        let gained = self.codes_of(node).iter().filter(|code| !previous.codes_of(node).contains(code));
        changes.extend(gained.map(|code| BindingChange::CodeGained { code: code.clone() }));
        let both = previous.codes_of(node).iter().map(|code| format!("agency/{code}"));
        for key in both.chain([format!("node/{node}"), format!("relay/{node}")]) {
            let (Some(old), Some(new)) = (previous.entry(&key), self.entry(&key)) else { continue };
            for binding in new.certificates() {
                if !old.certificates().iter().any(|known| known.sha256 == binding.sha256) {
                    changes.push(BindingChange::CertificateAdded { entry: key.clone(), certificate: binding.sha256 });
                }
            }
            let ledger = |entry: &NodeEntry| (entry.ledger_key, entry.origin.clone(), entry.epoch);
            if old.as_node().map(ledger) != new.as_node().map(ledger) {
                changes.push(BindingChange::LedgerChanged { node: node.clone() });
            }
        }
        changes
    }
}
