//! Questions to a directory: may mail go there, with which certificate, who may connect, what changed.

use std::{ops::Range, time::Duration};

use truc_proto::{
    AgencyId, Digest, ForeignCode, KeyStatus, KeyUse, NodeEntry, NodeId, Route, Timestamp,
    limits::{DIRECTORY_GRACE_MS, FUTURE_SKEW_MAX_MS, SUCCESSIONS_MAX},
    nearest,
};
use truc_signer::Certificate;

use super::{
    AdmissionError, Agency, BoundCertificate, CertificateLookupError, Directory, NodeKind, ResolveError, store::lock,
};

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
    pub fn resolve(&self, code: &AgencyId, at: Timestamp) -> Result<&Agency, ResolveError> {
        let of = || code.clone();
        let Some(agency) = self.agency(code) else {
            let nearest = self.nearest_codes(&ForeignCode::from(code.clone()), at);
            return Err(ResolveError::Unknown { code: of(), nearest });
        };
        if at < agency.valid_from {
            return Err(ResolveError::NotYet { code: of(), from: agency.valid_from });
        }
        if let Some(closed) = agency.valid_to.filter(|end| *end <= at) {
            return Err(ResolveError::Closed { code: of(), closed, successor: self.successor_of(agency, at) });
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

    /// As [`Directory::resolve`], for mail that was sealed at `sealed`: a code that closed since still takes it while it serves.
    ///
    /// # Errors
    /// As [`Directory::resolve`].
    pub fn resolve_sealed(
        &self,
        code: &AgencyId,
        sealed: Timestamp,
        is_status: bool,
        at: Timestamp,
    ) -> Result<&Agency, ResolveError> {
        match self.resolve(code, at) {
            Err(ResolveError::Closed { .. }) if self.agency(code).is_some_and(|a| a.takes(sealed, is_status, at)) => {
                // As it was while it was open: its lane and its node are still to be looked at.
                let opened = self.agency(code).map_or(at, |agency| agency.valid_from);
                self.resolve(code, opened)
            }
            resolved => resolved,
        }
    }

    /// Who has the mail of a closed code at `at`: its successor, or that one's where it is closed, too. None where the last of them has none.
    #[must_use]
    pub fn successor_of(&self, agency: &Agency, at: Timestamp) -> Option<AgencyId> {
        let mut successor = agency.successor.as_ref()?;
        for _ in 0..SUCCESSIONS_MAX {
            match self.agency(successor) {
                Some(next) if next.valid_to.is_some_and(|closed| closed <= at) => {
                    successor = next.successor.as_ref()?
                }
                _ => return Some(successor.clone()),
            }
        }
        None // a circle, or as good as one
    }

    /// Whether `successor` took over `code`, at once or by way of others that closed, too, as far as anybody's clock may say at `at`.
    #[must_use]
    pub fn took_over(&self, code: &AgencyId, successor: &AgencyId, at: Timestamp) -> bool {
        let by = Timestamp::from_unix_ms(at.unix_ms() + FUTURE_SKEW_MAX_MS);
        let mut next = self.agency(code);
        for _ in 0..SUCCESSIONS_MAX {
            let closed = next.filter(|agency| agency.valid_to.is_some_and(|closed| closed <= by));
            let Some(to) = closed.and_then(|agency| agency.successor.as_ref()) else { return false };
            if to == successor {
                return true;
            }
            next = self.agency(to);
        }
        false
    }

    /// The codes that take nothing more at `at`, not even what was sealed to them before they closed, with those that have their mail now; and
    /// when there will be another one.
    #[must_use]
    pub fn out_of_service(&self, at: Timestamp) -> (Vec<(AgencyId, Option<AgencyId>)>, Option<Timestamp>) {
        let (mut out, mut next) = (Vec::new(), None::<Timestamp>);
        for agency in self.agencies() {
            let Some(closed) = agency.valid_to else { continue };
            let end = agency.serves_until.map_or(closed, |until| until.max(closed));
            if end <= at {
                out.push((agency.code.clone(), self.successor_of(agency, at)));
            } else {
                next = Some(next.map_or(end, |next| next.min(end)));
            }
        }
        (out, next)
    }

    /// Open codes most like one that is not in the directory, for "did you mean".
    ///
    /// Looked for below the code's own level 1, or among the codes of level 1 when there is no such one: to compare a code with all of a national
    /// directory takes tens of milliseconds, and a stranger may ask a thousand times in one offer.
    #[must_use]
    pub fn nearest_codes(&self, code: &ForeignCode, at: Timestamp) -> Vec<AgencyId> {
        let first = code.as_str().split('.').next().unwrap_or_default().to_uppercase();
        let below = first.parse::<AgencyId>().map(|level1| self.below(&level1)).unwrap_or_default();
        let open = |agency: &&Agency| agency.is_open(at);
        let found = if below.is_empty() {
            nearest(code, self.level1().filter(open).map(|agency| &agency.code))
        } else {
            nearest(code, below.iter().filter(open).map(|agency| &agency.code))
        };
        found.into_iter().cloned().collect()
    }

    /// A code and all below it by its form, sorted; empty when there are none.
    #[must_use]
    pub fn below(&self, code: &AgencyId) -> &[Agency] {
        self.agencies().get(self.places_below(code)).unwrap_or_default()
    }

    /// Where [`Directory::below`] lies among the agencies.
    pub(super) fn places_below(&self, code: &AgencyId) -> Range<usize> {
        let all = self.agencies();
        let start = all.partition_point(|agency| agency.code < *code);
        let is_below = |agency: &Agency| agency.code == *code || code.is_ancestor_of(&agency.code);
        let rest = all.get(start..).unwrap_or_default();
        // `H26` may be followed by `H26.1` alone: no character that a code may hold sorts before the dot.
        start..start + rest.partition_point(is_below)
    }

    /// The agencies whose codes have a single group: where the trees of codes begin.
    fn level1(&self) -> impl Iterator<Item = &Agency> {
        let all = self.agencies();
        let mut place = 0;
        std::iter::from_fn(move || {
            let agency = all.get(place)?;
            place += self.below(&agency.code.level1()).len().max(1);
            Some(agency)
        })
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
    ) -> Result<&BoundCertificate, CertificateLookupError> {
        let agency = self.agency(code).ok_or_else(|| CertificateLookupError::UnknownCode { code: code.clone() })?;
        let in_force = agency.certificates.iter().filter(|binding| binding.serves(key_use, at));
        in_force.max_by_key(|binding| binding.valid_from).ok_or_else(|| CertificateLookupError::None {
            code: code.clone(),
            key_use,
            at,
        })
    }

    /// Whether a code had a certificate for this that is revoked or suspended now, and has no other in force: there will be another.
    #[must_use]
    pub fn is_taken_away(&self, code: &AgencyId, key_use: KeyUse, at: Timestamp) -> bool {
        let Some(agency) = self.agency(code) else { return false };
        let mut bound = agency.certificates.iter().filter(|binding| binding.is_for(key_use));
        bound.clone().all(|binding| !binding.serves(key_use, at))
            && bound.any(|binding| binding.status != KeyStatus::Good)
    }

    /// The certificate of [`Directory::binding`]. Its bytes may be read from the disk.
    ///
    /// # Errors
    /// As [`Directory::binding`], or when the bound bytes are no usable certificate or cannot be read.
    pub fn certificate(
        &self,
        code: &AgencyId,
        key_use: KeyUse,
        at: Timestamp,
    ) -> Result<Certificate, CertificateLookupError> {
        let sha256 = self.binding(code, key_use, at)?.sha256;
        self.bound_certificate(code, &sha256)
    }

    /// A certificate bound to a code, in force or not, by its SHA-256.
    ///
    /// # Errors
    /// When it is not bound to the code, is unusable or cannot be read.
    pub fn bound_certificate(&self, code: &AgencyId, sha256: &Digest) -> Result<Certificate, CertificateLookupError> {
        let not_bound = || CertificateLookupError::NotBound { code: code.clone(), certificate: *sha256 };
        let place = self.agency_place(code.as_str()).ok_or_else(not_bound)?;
        self.binding_of(code, sha256).ok_or_else(not_bound)?;
        if let Some(known) = lock(&self.certificates).known.get(sha256) {
            return Ok(known.clone());
        }
        let read = self.entry_at(place);
        let entry = read.map_err(|source| CertificateLookupError::Unread { code: code.clone(), source })?;
        let bound = entry.certificates().iter().find(|binding| binding.sha256 == *sha256).ok_or_else(not_bound)?;
        let unusable = |source| CertificateLookupError::Unusable { code: code.clone(), source };
        let certificate = Certificate::from_der(&bound.der).map_err(unusable)?;
        lock(&self.certificates).add(certificate.clone());
        Ok(certificate)
    }

    /// The binding of exactly this certificate to a code, in force or not: whose signature or seal is it?
    #[must_use]
    pub fn binding_of(&self, code: &AgencyId, certificate: &Digest) -> Option<&BoundCertificate> {
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
        let known = previous.codes_of(node); // sorted
        let gained = self.codes_of(node).iter().filter(|code| known.binary_search(code).is_err());
        changes.extend(gained.map(|code| BindingChange::CodeGained { code: code.clone() }));
        for code in previous.codes_of(node) {
            let (Some(old), Some(new)) = (previous.agency(code), self.agency(code)) else { continue };
            let digests = |agency: &Agency| agency.certificates.iter().map(|binding| binding.sha256).collect();
            changes.extend(added(&format!("agency/{code}"), digests(old), digests(new)));
        }
        if let (Some((_, old)), Some((kind, new))) = (previous.node(node), self.node(node)) {
            let digests = |entry: &NodeEntry| entry.certificates.iter().map(|binding| binding.sha256).collect();
            changes.extend(added(&kind.key(node), digests(old), digests(new)));
            let ledger = |entry: &NodeEntry| (entry.ledger_key, entry.origin.clone(), entry.epoch);
            if ledger(old) != ledger(new) {
                changes.push(BindingChange::LedgerChanged { node: node.clone() });
            }
        }
        changes
    }
}

/// The certificates of an entry that it did not have before.
fn added(entry: &str, old: Vec<Digest>, new: Vec<Digest>) -> impl Iterator<Item = BindingChange> {
    let added = new.into_iter().filter(move |certificate| !old.contains(certificate));
    added.map(move |certificate| BindingChange::CertificateAdded { entry: entry.to_owned(), certificate })
}
