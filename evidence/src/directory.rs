//! One verified directory version: who holds a code, at which node, with which certificates.
//!
//! [`Directory::verify`] is the only way to one, so holding it is the proof: operator's signature, sorted unique entries, tree. It never changes;
//! a newer version is a new value. Whether a version was logged by the relay is a question of its own ([`Directory::verify_logged`]).

mod error;
mod file;
mod lookup;

pub use error::{AdmissionError, CertificateLookupError, DirectoryError, DirectoryFileError, ResolveError};
pub use file::{decode_directory, encode_directory};
pub use lookup::{BindingChange, Freshness};

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use bytes::Bytes;
use truc_ledger::merkle::{MemTree, leaf_hash, verify_inclusion};
use truc_proto::{
    AgencyEntry, AgencyId, AxisId, Checkpoint, Digest, DirectoryRef, Entry, ForeignCode, KeyUse, Lane, NodeEntry,
    NodeId, NoteKey, OperatorEntry, ProvenEntry, Raw, RootStatement, SignedDirectory, Timestamp,
    limits::{DIRECTORY_BYTES_MAX, DIRECTORY_ENTRIES_MAX, FUTURE_SKEW_MAX_MS},
    wire_v1,
};
use truc_signer::{Certificate, CertificateUse, TrustStore, Verdict, path::validate_with, verify_detached};

use crate::{PinnedOperator, proven::proof_of};

/// Whether a ledger is a node's or the relay's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NodeKind {
    /// A node of agencies.
    Node,
    /// The relay.
    Relay,
}

/// A verified directory version. Shared by `Arc`.
pub struct Directory {
    statement: Raw<RootStatement>,
    signed: SignedDirectory,
    entries: Vec<Entry>,
    tree: MemTree,
    operator: Certificate,
    operator_verdict: Verdict,
    keys: BTreeMap<String, usize>,
    relay: usize,
    by_tls: HashMap<Digest, usize>,
    by_origin: HashMap<String, usize>,
    by_old_code: HashMap<ForeignCode, usize>,
    codes: BTreeMap<NodeId, Vec<AgencyId>>,
    /// Per ledger, the checkpoints whose signatures were checked last: evidence comes in runs under a few of them.
    checked: Mutex<HashMap<NodeId, CheckedNotes>>,
}

impl Directory {
    /// Verifies a directory version as received: the operator's signature, every entry, their order and the tree.
    ///
    /// # Errors
    /// [`DirectoryError`] names what does not hold; nothing of it may then be used.
    pub fn verify(
        signed: SignedDirectory,
        operator: &PinnedOperator,
        trust: &TrustStore,
        axis: &AxisId,
        lane: Lane,
        now: Timestamp,
    ) -> Result<Self, DirectoryError> {
        let statement = Raw::<RootStatement>::parse(signed.statement.clone())?;
        check_domain(&statement, axis, lane, now)?;
        let (certificate, operator_verdict) = verify_operator(&signed, &statement, operator, trust)?;
        let entries = read_entries(&signed.entries, &statement)?;
        let tree = MemTree::of(&signed.entries);
        if tree.root() != statement.root {
            return Err(DirectoryError::Root { stated: statement.root, found: tree.root() });
        }
        let mut directory = Self {
            statement,
            signed,
            entries: Vec::new(),
            tree,
            operator: certificate,
            operator_verdict,
            keys: BTreeMap::new(),
            relay: 0,
            by_tls: HashMap::new(),
            by_origin: HashMap::new(),
            by_old_code: HashMap::new(),
            codes: BTreeMap::new(),
            checked: Mutex::default(),
        };
        directory.index(entries)?;
        Ok(directory)
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.statement.version
    }

    /// The signed root statement.
    #[must_use]
    pub const fn statement(&self) -> &Raw<RootStatement> {
        &self.statement
    }

    /// The whole version as it travels.
    #[must_use]
    pub const fn signed(&self) -> &SignedDirectory {
        &self.signed
    }

    /// The operator's certificate that signed it.
    #[must_use]
    pub const fn operator(&self) -> &Certificate {
        &self.operator
    }

    /// What was known about revocation of the operator's certificate when this version was verified: good or unknown.
    #[must_use]
    pub const fn operator_verdict(&self) -> &Verdict {
        &self.operator_verdict
    }

    /// All entries, sorted by key.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The relay of this lane.
    #[must_use]
    pub fn relay(&self) -> &NodeEntry {
        self.node_at(self.relay)
            .map(|(_, entry)| entry)
            .expect("a verified directory has one relay, and `relay` is its index")
    }

    /// The operator's own entry, where it has one.
    #[must_use]
    pub fn operator_entry(&self) -> Option<&OperatorEntry> {
        match self.entry("operator")? {
            Entry::Operator(operator) => Some(operator),
            _ => None,
        }
    }

    /// An entry by its key, e.g. `agency/H26`.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(*self.keys.get(key)?)
    }

    /// A code's entry, open or closed.
    #[must_use]
    pub fn agency(&self, code: &AgencyId) -> Option<&AgencyEntry> {
        self.entry(&format!("agency/{code}"))?.as_agency()
    }

    /// All agencies, sorted by code.
    pub fn agencies(&self) -> impl Iterator<Item = &AgencyEntry> {
        self.entries.iter().filter_map(Entry::as_agency)
    }

    /// The code's entry for a code as somebody else wrote it: the code itself or one of its old forms.
    #[must_use]
    pub fn agency_by_any_code(&self, code: &ForeignCode) -> Option<&AgencyEntry> {
        match code.as_agency().and_then(|code| self.agency(&code)) {
            Some(agency) => Some(agency),
            None => self.entries.get(*self.by_old_code.get(code)?)?.as_agency(),
        }
    }

    /// A node or the relay by its id.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<(NodeKind, &NodeEntry)> {
        let index = self.keys.get(&format!("node/{id}")).or_else(|| self.keys.get(&format!("relay/{id}")))?;
        self.node_at(*index)
    }

    /// The node or relay whose TLS certificate has this SHA-256, in force or not. For admission: [`Directory::admit`].
    #[must_use]
    pub fn by_tls(&self, certificate: &Digest) -> Option<(NodeKind, &NodeEntry)> {
        self.node_at(*self.by_tls.get(certificate)?)
    }

    /// The node or relay whose ledger has this origin.
    #[must_use]
    pub fn by_origin(&self, origin: &str) -> Option<(NodeKind, &NodeEntry)> {
        self.node_at(*self.by_origin.get(origin)?)
    }

    /// The codes that a node serves, sorted.
    #[must_use]
    pub fn codes_of(&self, node: &NodeId) -> &[AgencyId] {
        self.codes.get(node).map_or(&[], Vec::as_slice)
    }

    /// An entry with its bytes and its proof to this version's root.
    #[must_use]
    pub fn proven(&self, key: &str) -> Option<ProvenEntry> {
        let place = *self.keys.get(key)?;
        let index = u64::try_from(place).ok()?;
        let proof = self.tree.inclusion(index, self.tree.size())?;
        Some(ProvenEntry { bytes: self.signed.entries.get(place)?.to_vec(), index, proof })
    }

    /// What a submission says about the directory that its sender relied on.
    #[must_use]
    pub fn reference(&self, code: &AgencyId) -> Option<DirectoryRef> {
        let entry = self.signed.entries.get(*self.keys.get(&format!("agency/{code}"))?)?;
        Some(DirectoryRef { version: self.version(), root: self.statement.root, entry: leaf_hash(entry) })
    }

    /// That this version may follow `previous`: same domain, greater version, and the hash chain where the versions are neighbours.
    ///
    /// # Errors
    /// [`DirectoryError::Domain`], [`DirectoryError::NotGrowing`] or [`DirectoryError::Chain`].
    pub fn check_follows(&self, previous: &RootStatement, previous_digest: &Digest) -> Result<(), DirectoryError> {
        let statement = self.statement.value();
        if (&statement.axis, statement.lane) != (&previous.axis, previous.lane) {
            return Err(DirectoryError::Domain {
                stated: format!("{} {}", statement.axis, statement.lane),
                expected: format!("{} {}", previous.axis, previous.lane),
            });
        }
        if statement.version <= previous.version || statement.issued < previous.issued {
            return Err(DirectoryError::NotGrowing { held: previous.version, offered: statement.version });
        }
        if statement.version == previous.version + 1 && statement.previous != Some(*previous_digest) {
            return Err(DirectoryError::Chain { version: statement.version });
        }
        Ok(())
    }

    /// That this version's root statement is a leaf of its relay's ledger; version 1 must be leaf 0. Gives the relay's checkpoint.
    ///
    /// # Errors
    /// [`DirectoryError::NotLogged`] with what does not hold.
    pub fn verify_logged(&self, logged: &wire_v1::ProvenLeaf) -> Result<Checkpoint, DirectoryError> {
        let refused = |why: String| DirectoryError::NotLogged { version: self.version(), why };
        if logged.leaf != self.signed.statement {
            return Err(refused("another leaf was shown".into()));
        }
        if self.version() == 1 && logged.index != 0 {
            return Err(refused(format!("version 1 stands at leaf {}, not 0", logged.index)));
        }
        let (note, checkpoint) = Checkpoint::parse_note(&logged.checkpoint).map_err(|e| refused(e.to_string()))?;
        let relay = self.relay();
        if checkpoint.origin() != relay.origin {
            return Err(refused(format!("the checkpoint is of {}, not of {}", checkpoint.origin(), relay.origin)));
        }
        let key = NoteKey::new(relay.origin.as_str(), relay.ledger_key).map_err(|e| refused(e.to_string()))?;
        key.verify(&note).map_err(|e| refused(e.to_string()))?;
        let proof = proof_of(&logged.proof).map_err(|e| refused(e.to_string()))?;
        verify_inclusion(&leaf_hash(&self.signed.statement), logged.index, checkpoint.size, &proof, &checkpoint.root)
            .map_err(|e| refused(e.to_string()))?;
        Ok(checkpoint)
    }

    pub(crate) const fn checked_checkpoints(&self) -> &Mutex<HashMap<NodeId, CheckedNotes>> {
        &self.checked
    }

    fn node_at(&self, index: usize) -> Option<(NodeKind, &NodeEntry)> {
        match self.entries.get(index)? {
            Entry::Node(node) => Some((NodeKind::Node, node)),
            Entry::Relay(relay) => Some((NodeKind::Relay, relay)),
            Entry::Agency(_) | Entry::Operator(_) => None,
        }
    }

    /// Fills the look-up tables and refuses what would make an answer ambiguous.
    fn index(&mut self, entries: Vec<Entry>) -> Result<(), DirectoryError> {
        let mut relays = 0_usize;
        for (place, entry) in entries.iter().enumerate() {
            self.keys.insert(entry.key(), place);
            match entry {
                Entry::Agency(agency) => self.index_agency(place, agency)?,
                Entry::Node(node) => self.index_node(place, node)?,
                Entry::Relay(relay) => {
                    relays += 1;
                    self.relay = place;
                    self.index_node(place, relay)?;
                }
                Entry::Operator(_) => {}
            }
        }
        if relays != 1 {
            return Err(DirectoryError::Relays { count: relays });
        }
        self.entries = entries;
        for agency in self.entries.iter().filter_map(Entry::as_agency) {
            let known = agency.node.as_ref().is_none_or(|node| self.keys.contains_key(&format!("node/{node}")));
            if !known {
                return Err(DirectoryError::UnknownNode { code: agency.code.clone() });
            }
        }
        Ok(())
    }

    fn index_agency(&mut self, place: usize, agency: &AgencyEntry) -> Result<(), DirectoryError> {
        for old in &agency.old_codes {
            if self.by_old_code.insert(old.clone(), place).is_some() {
                return Err(DirectoryError::Ambiguous { what: format!("old code {old}") });
            }
        }
        if let Some(node) = &agency.node {
            self.codes.entry(node.clone()).or_default().push(agency.code.clone());
        }
        Ok(())
    }

    fn index_node(&mut self, place: usize, node: &NodeEntry) -> Result<(), DirectoryError> {
        let ambiguous = |what: String| Err(DirectoryError::Ambiguous { what });
        if node.lane != self.statement.lane {
            return Err(DirectoryError::NodeLane { node: node.id.clone(), lane: node.lane });
        }
        if self.keys.contains_key(&format!("node/{}", node.id)) && self.keys.contains_key(&format!("relay/{}", node.id))
        {
            return ambiguous(format!("id {}", node.id));
        }
        if self.by_origin.insert(node.origin.clone(), place).is_some() {
            return ambiguous(format!("ledger origin {}", node.origin));
        }
        for binding in node.certificates.iter().filter(|binding| binding.uses.contains(&KeyUse::Tls)) {
            if self.by_tls.insert(binding.sha256, place).is_some_and(|other| other != place) {
                return ambiguous(format!("TLS certificate {}", binding.sha256));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RootStatement { axis, lane, version, size, .. } = self.statement.value();
        write!(f, "Directory({axis} {lane}, version {version}, {size} entries)")
    }
}

fn check_domain(root: &RootStatement, axis: &AxisId, lane: Lane, now: Timestamp) -> Result<(), DirectoryError> {
    if root.axis != *axis || root.lane != lane {
        let stated = format!("{} {}", root.axis, root.lane);
        return Err(DirectoryError::Domain { stated, expected: format!("{axis} {lane}") });
    }
    if root.issued > now + skew() {
        return Err(DirectoryError::FromFuture { issued: root.issued });
    }
    Ok(())
}

/// Five minutes: how far clocks may differ.
pub(crate) fn skew() -> Duration {
    Duration::from_millis(u64::try_from(FUTURE_SKEW_MAX_MS).unwrap_or_default())
}

fn verify_operator(
    signed: &SignedDirectory,
    root: &RootStatement,
    operator: &PinnedOperator,
    trust: &TrustStore,
) -> Result<(Certificate, Verdict), DirectoryError> {
    let signature =
        verify_detached(&signed.cms, &signed.statement, operator.certificates()).map_err(DirectoryError::Signature)?;
    if !operator.pins(&signature.certificate.sha256()) {
        return Err(DirectoryError::NotOperator { subject: signature.certificate.subject().to_owned() });
    }
    let verdict =
        validate_with(trust, &signature.certificate, &signature.others, CertificateUse::Operator, root.issued)
            .map_err(DirectoryError::OperatorPath)?;
    match verdict {
        // Even when signed before that date: whoever has the key can date a root back, and a newer root is easily made.
        Verdict::Revoked { at, subject, .. } => Err(DirectoryError::OperatorRevoked { subject, at }),
        verdict => Ok((signature.certificate, verdict)),
    }
}

fn read_entries(bytes: &[Bytes], root: &RootStatement) -> Result<Vec<Entry>, DirectoryError> {
    let total: usize = bytes.iter().map(Bytes::len).sum();
    if bytes.len() > DIRECTORY_ENTRIES_MAX || total > DIRECTORY_BYTES_MAX {
        return Err(DirectoryError::TooLarge { entries: bytes.len() });
    }
    let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if root.size != found {
        return Err(DirectoryError::Size { stated: root.size, found });
    }
    let mut entries = Vec::with_capacity(bytes.len());
    let mut last = String::new();
    for (number, bytes) in bytes.iter().enumerate() {
        let entry = Raw::<Entry>::parse(bytes.clone()).map_err(|source| DirectoryError::Entry { number, source })?;
        let key = entry.key();
        if key <= last {
            return Err(DirectoryError::Order { key });
        }
        last = key;
        entries.push(entry.into_value());
    }
    Ok(entries)
}

/// So many notes are remembered for one ledger.
const CHECKED_NOTES_MAX: usize = 16;

/// The digests of notes whose ledger-key line holds, the newest last.
#[derive(Debug, Default)]
pub(crate) struct CheckedNotes(VecDeque<Digest>);

impl CheckedNotes {
    pub(crate) fn holds(&self, note: &Digest) -> bool {
        self.0.iter().rev().any(|known| known == note)
    }

    pub(crate) fn add(&mut self, note: Digest) {
        if self.0.len() >= CHECKED_NOTES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(note);
    }
}
