//! The operator's side of the directory: from one version to the next.
//!
//! Entries that do not change keep their bytes. Nothing here publishes; [`DirectoryDraft::sign`] gives a version that
//! [`crate::Directory::verify`] then judges like anybody's.

use std::collections::BTreeMap;

use bytes::Bytes;
use truc_ledger::merkle::MemTree;
use truc_proto::{
    AgencyId, AxisId, CertificateBinding, Digest, Entry, KeyStatus, KeyUse, Lane, OperatorEntry, Raw, RootStatement,
    SignedDirectory, StatementError, Timestamp,
};
use truc_signer::{Certificate, SignError, SigningKey, sign_detached};

use crate::{CodeList, Directory, DirectoryReadError, ImportPlan, VerifiedBinding, bind_certificate};

/// A directory version in the making.
#[derive(Clone, Debug)]
pub struct DirectoryDraft {
    axis: AxisId,
    lane: Lane,
    /// Version and digest of the statement that this one follows.
    previous: Option<(u64, Digest)>,
    entries: BTreeMap<String, Raw<Entry>>,
}

/// What the operator says it has checked by other means than the request's signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Confirmation {
    /// The sealing certificates of [`VerifiedBinding::unproven_sealing`] belong to the agencies.
    pub sealing: bool,
    /// The entries of [`VerifiedBinding::unendorsed`] may be bound without a signature of the current or parent agency's key.
    pub endorsement: bool,
}

/// Why a draft was not changed or signed.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The operator must look first.
    #[error("{} were not proven by a signature; check with the agency on a known number and confirm the sealing certificates (--confirm-sealing)", .0.join(", "))]
    SealingNotConfirmed(Vec<String>),
    /// The operator must look first.
    #[error("{} are not signed by the current or the parent agency's key; check with the agency on a known number and confirm (--confirm-endorsement)", .0.join(", "))]
    EndorsementNotConfirmed(Vec<String>),
    /// No such entry.
    #[error("{0} is not in the directory; check the code")]
    UnknownCode(AgencyId),
    /// A list of codes that is not right.
    #[error("the list of codes has {problems} problems; correct them, nothing was taken")]
    ImportRefused {
        /// How many.
        problems: usize,
    },
    /// No such certificate.
    #[error("no entry has the certificate {0}; check its SHA-256")]
    UnknownCertificate(Digest),
    /// The version before.
    #[error("the version before cannot be read")]
    Read(#[from] DirectoryReadError),
    /// An entry or the root contradicts itself.
    #[error("the directory cannot be written")]
    Statement(#[from] StatementError),
    /// The operator's key.
    #[error("the operator's key did not sign the directory")]
    Sign(#[from] SignError),
}

impl DirectoryDraft {
    /// Version 1, empty: here the operator alone binds.
    #[must_use]
    pub const fn new(axis: AxisId, lane: Lane) -> Self {
        Self { axis, lane, previous: None, entries: BTreeMap::new() }
    }

    /// The version after `previous`, with all its entries.
    ///
    /// # Errors
    /// When the directory's copy on the disk cannot be read: its entries are read again from their bytes.
    pub fn following(previous: &Directory) -> Result<Self, DraftError> {
        let mut entries = BTreeMap::new();
        for bytes in previous.read_all() {
            let entry = Raw::<Entry>::parse(bytes?)?;
            entries.insert(entry.key(), entry);
        }
        let statement = previous.statement();
        let previous = Some((statement.version, statement.digest()));
        Ok(Self { axis: statement.axis.clone(), lane: statement.lane, previous, entries })
    }

    /// The version that signing will make.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.previous.map_or(1, |(version, _)| version + 1)
    }

    /// The entries as they stand, sorted by key.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(Raw::value)
    }

    /// Takes the entries of a verified request. Certificates bound before stay as they are, with their status, beside the new ones: rotation
    /// needs the overlap, and nobody lifts a revocation by asking again. A request may end them earlier, not before its own time.
    ///
    /// # Errors
    /// When something needs the operator's confirmation and does not have it; then nothing is changed.
    pub fn add(&mut self, binding: &VerifiedBinding, confirmed: Confirmation) -> Result<(), DraftError> {
        let sealing: Vec<String> =
            binding.unproven_sealing().iter().map(|u| format!("{} ({})", u.code, u.subject)).collect();
        if !sealing.is_empty() && !confirmed.sealing {
            return Err(DraftError::SealingNotConfirmed(sealing));
        }
        if !binding.unendorsed().is_empty() && !confirmed.endorsement {
            return Err(DraftError::EndorsementNotConfirmed(binding.unendorsed().to_vec()));
        }
        let mut merged = Vec::new();
        for entry in &binding.request().entries {
            let mut entry = entry.clone();
            if let Some(known) = self.entries.get(&entry.key()) {
                merge(certificates_mut(&mut entry), known.certificates(), binding.request().time);
            }
            merged.push(Raw::write(entry)?);
        }
        self.entries.extend(merged.into_iter().map(|entry| (entry.key(), entry)));
        Ok(())
    }

    /// Puts an entry as the operator says, in place of the one of the same key. For what no agency asks for: legacy codes, the operator itself.
    ///
    /// # Errors
    /// When the entry contradicts itself.
    pub fn put(&mut self, entry: Entry) -> Result<(), DraftError> {
        let entry = Raw::write(entry)?;
        self.entries.insert(entry.key(), entry);
        Ok(())
    }

    /// Trust domain and lane.
    #[must_use]
    pub const fn domain(&self) -> (&AxisId, Lane) {
        (&self.axis, self.lane)
    }

    /// What taking a list of codes would change, and what speaks against it. Nothing is changed.
    #[must_use]
    pub fn plan_import(&self, list: &CodeList) -> ImportPlan {
        ImportPlan::of(list, self.entries().filter_map(Entry::as_agency), self.lane)
    }

    /// Takes a plan that nothing speaks against. Nodes, lanes and certificates of codes that are there stay.
    ///
    /// # Errors
    /// [`DraftError::ImportRefused`] when something speaks against it; then nothing is changed.
    pub fn import(&mut self, plan: &ImportPlan) -> Result<(), DraftError> {
        if !plan.problems().is_empty() {
            return Err(DraftError::ImportRefused { problems: plan.problems().count() });
        }
        let entries = plan.entries.iter().cloned().map(Raw::write).collect::<Result<Vec<_>, _>>()?;
        self.entries.extend(entries.into_iter().map(|entry| (entry.key(), entry)));
        Ok(())
    }

    /// Puts the operator's own entry: who signs, by the certificate it signs with.
    ///
    /// # Errors
    /// When the certificate's subject is no name for an entry.
    pub fn put_operator(&mut self, certificate: &Certificate) -> Result<(), DraftError> {
        let binding = bind_certificate(certificate, vec![KeyUse::Operator]);
        self.put(Entry::Operator(OperatorEntry { name: certificate.subject().to_owned(), certificates: vec![binding] }))
    }

    /// Closes a code: no new mail from `closed` on; what was sealed to it is opened until `serves_until`.
    ///
    /// # Errors
    /// When the code is not there, or the times contradict each other.
    pub fn close(
        &mut self,
        code: &AgencyId,
        closed: Timestamp,
        serves_until: Option<Timestamp>,
        successor: Option<AgencyId>,
    ) -> Result<(), DraftError> {
        let key = format!("agency/{code}");
        let Some(Entry::Agency(mut agency)) = self.entries.get(&key).map(|entry| entry.value().clone()) else {
            return Err(DraftError::UnknownCode(code.clone()));
        };
        agency.valid_to = Some(closed);
        agency.serves_until = serves_until;
        agency.successor = successor;
        self.put(Entry::Agency(agency))
    }

    /// States that a certificate is revoked or suspended since a moment, or good again, in every entry that has it.
    ///
    /// # Errors
    /// When no entry has it.
    pub fn set_status(&mut self, certificate: &Digest, status: KeyStatus, since: Timestamp) -> Result<(), DraftError> {
        self.change(certificate, |binding| {
            binding.status = status;
            binding.status_since = (status != KeyStatus::Good).then_some(since);
        })
    }

    fn change(&mut self, certificate: &Digest, change: impl Fn(&mut CertificateBinding)) -> Result<(), DraftError> {
        let has = |entry: &Raw<Entry>| entry.certificates().iter().any(|binding| binding.sha256 == *certificate);
        let changed: Vec<Entry> = self.entries.values().filter(|entry| has(entry)).map(|e| e.value().clone()).collect();
        if changed.is_empty() {
            return Err(DraftError::UnknownCertificate(*certificate));
        }
        for mut entry in changed {
            let own = certificates_mut(&mut entry).iter_mut();
            own.filter(|binding| binding.sha256 == *certificate).for_each(&change);
            self.put(entry)?;
        }
        Ok(())
    }

    /// Ends a certificate's use in every entry that has it, not before `now`.
    ///
    /// # Errors
    /// When no entry has it, or it would end before it begins.
    pub fn end_certificate(&mut self, certificate: &Digest, end: Timestamp, now: Timestamp) -> Result<(), DraftError> {
        self.change(certificate, |binding| binding.valid_to = binding.valid_to.min(end.max(now)))
    }

    /// Signs the version with the operator's key.
    ///
    /// # Errors
    /// When the times contradict each other, or the key is away or refuses.
    pub fn sign(
        &self,
        key: &dyn SigningKey,
        issued: Timestamp,
        valid_until: Timestamp,
    ) -> Result<SignedDirectory, DraftError> {
        let entries: Vec<Bytes> = self.entries.values().map(|entry| entry.bytes().clone()).collect();
        let tree = MemTree::of(&entries);
        let statement = Raw::write(RootStatement {
            axis: self.axis.clone(),
            lane: self.lane,
            version: self.version(),
            issued,
            valid_until,
            size: tree.size(),
            root: tree.root(),
            previous: self.previous.map(|(_, digest)| digest),
        })?;
        let cms = sign_detached(key, statement.bytes(), Some(issued))?;
        Ok(SignedDirectory { statement: statement.bytes().clone(), cms: cms.into(), entries })
    }
}

const fn certificates_mut(entry: &mut Entry) -> &mut Vec<CertificateBinding> {
    match entry {
        Entry::Agency(agency) => &mut agency.certificates,
        Entry::Node(node) | Entry::Relay(node) => &mut node.certificates,
        Entry::Operator(operator) => &mut operator.certificates,
    }
}

fn merge(asked: &mut Vec<CertificateBinding>, known: &[CertificateBinding], requested: Timestamp) {
    let ended = |old: &CertificateBinding| {
        let mut kept = old.clone();
        if let Some(again) = asked.iter().find(|binding| binding.sha256 == old.sha256) {
            let end = again.valid_to.max(requested);
            // What is over stays over, and what has not begun is not turned around.
            if end < old.valid_to && old.valid_from < end {
                kept.valid_to = end;
            }
        }
        kept
    };
    let known: Vec<_> = known.iter().map(ended).collect();
    asked.retain(|binding| !known.iter().any(|old| old.sha256 == binding.sha256));
    asked.extend(known);
}
