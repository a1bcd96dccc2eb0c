//! One verified directory version: who holds a code, at which node, with which certificates.
//!
//! [`Directory::verify`], [`Directory::load`], [`Directory::open`] and [`DirectoryWriter::finish`] are the only ways to one, so holding it is the proof: operator's signature, sorted unique entries,
//! tree. It never changes; a newer version is a new value. Whether a version was logged by the relay is a question of its own
//! ([`Directory::verify_logged`]).
//!
//! At national size the entries' bytes stay on the disk: in memory are the facts of each code, the nodes, the tree, and once somebody searches
//! the index. What is read later must hash to its leaf again.

mod agency;
mod delta;
mod error;
mod file;
mod lookup;
mod places;
mod reading;
mod search;
mod store;
mod witnesses;

pub(crate) use agency::CodeTimes;
pub use agency::{Agency, BoundCertificate, Lanes};
pub use delta::DirectoryDelta;
pub use error::{AdmissionError, CertificateLookupError, DirectoryError, DirectoryFileError, ResolveError};
pub use file::{DirectoryWriter, encode_directory};
pub use lookup::{BindingChange, Freshness};
pub use places::{Neighbours, VersionFile};
use search::DirectorySearch;
pub use search::{DirectoryHit, DirectoryQuery, HitClass};
pub use store::DirectoryReadError;
pub use witnesses::{WitnessPolicyError, witness_of};

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use truc_ledger::merkle::{MemTree, leaf_hash, verify_inclusion};
use truc_proto::{
    AgencyId, AxisId, Checkpoint, Digest, DirectoryRef, Entry, ForeignCode, Lane, NodeEntry, NodeId, NoteKey,
    OperatorEntry, ProvenEntry, Raw, RootStatement, SignedDirectory, Timestamp,
    limits::{DIRECTORY_CERTIFICATES_CACHED_MAX, DIRECTORY_ENTRIES_MAX, FUTURE_SKEW_MAX_MS},
    wire_v1,
};
use truc_signer::{Certificate, TrustStore, Verdict};

use crate::{PinnedOperator, proven::proof_of};
use reading::Reading;
pub(crate) use reading::{check_domain, verify_operator};
use store::EntryStore;

/// Whether a ledger is a node's or the relay's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NodeKind {
    /// A node of agencies.
    Node,
    /// The relay.
    Relay,
}

impl NodeKind {
    /// The key of such a node's entry.
    #[must_use]
    pub fn key(self, id: &NodeId) -> String {
        match self {
            Self::Node => format!("node/{id}"),
            Self::Relay => format!("relay/{id}"),
        }
    }
}

/// A verified directory version. Shared by `Arc`.
pub struct Directory {
    statement: Raw<RootStatement>,
    cms: Bytes,
    /// Sorted by code. Keys sort `agency/…` before all others, so agency *i* is entry *i*, and `others` follow.
    agencies: Vec<Agency>,
    /// Nodes, relay and operator, whole, sorted by key.
    others: Vec<(String, Entry)>,
    store: EntryStore,
    tree: MemTree,
    operator: Certificate,
    operator_verdict: Verdict,
    /// Index into `others`, as are those of the next two.
    relay: usize,
    by_tls: HashMap<Digest, usize>,
    by_origin: HashMap<String, usize>,
    /// (agency, which of its old codes), sorted by old code.
    by_old_code: Vec<(u32, u8)>,
    codes: BTreeMap<NodeId, Vec<AgencyId>>,
    search: OnceLock<DirectorySearch>,
    /// Certificates of agencies that were asked for last.
    certificates: Mutex<CachedCertificates>,
    /// Per ledger, the checkpoints whose signatures were checked last: evidence comes in runs under a few of them.
    checked: Mutex<HashMap<NodeId, CheckedNotes>>,
}

impl Directory {
    /// Verifies a directory version as received: the operator's signature, every entry, their order and the tree. Its bytes stay in memory;
    /// for a large one see [`DirectoryWriter`].
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
        let mut reading = Reading::start(signed.statement, signed.cms, operator, trust, Some((axis, lane)), now)?;
        let found = u64::try_from(signed.entries.len()).unwrap_or(u64::MAX);
        if signed.entries.len() > DIRECTORY_ENTRIES_MAX {
            return Err(DirectoryError::TooLarge { entries: signed.entries.len() });
        }
        if reading.size() != found {
            return Err(DirectoryError::Size { stated: reading.size(), found });
        }
        for entry in &signed.entries {
            reading.take(entry)?;
        }
        reading.finish(EntryStore::Memory(signed.entries))
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

    /// The operator's detached CMS over the statement.
    #[must_use]
    pub const fn cms(&self) -> &Bytes {
        &self.cms
    }

    /// The whole version as it travels, all in memory.
    ///
    /// # Errors
    /// When the copy on the disk cannot be read.
    pub fn read_signed(&self) -> Result<SignedDirectory, DirectoryReadError> {
        let entries = self.read_all().collect::<Result<_, _>>()?;
        Ok(SignedDirectory { statement: self.statement.bytes().clone(), cms: self.cms.clone(), entries })
    }

    /// The bytes of every entry in order, one at a time.
    pub fn read_all(&self) -> impl Iterator<Item = Result<Bytes, DirectoryReadError>> {
        (0..self.size()).map(|place| self.read_at(place))
    }

    /// The bytes of the entry at `place`, which is below [`Directory::size`].
    ///
    /// # Errors
    /// When the copy on the disk cannot be read.
    ///
    /// # Panics
    /// When there is no such place.
    pub fn read_at(&self, place: usize) -> Result<Bytes, DirectoryReadError> {
        self.store.read(place, &self.tree)
    }

    /// An entry by its key, e.g. `agency/H26`, whole.
    ///
    /// # Errors
    /// When the copy on the disk cannot be read.
    pub fn read_entry(&self, key: &str) -> Result<Option<Entry>, DirectoryReadError> {
        self.place(key).map(|place| self.entry_at(place)).transpose()
    }

    /// The bytes of an entry by its key.
    ///
    /// # Errors
    /// When the copy on the disk cannot be read.
    pub fn read_bytes(&self, key: &str) -> Result<Option<Bytes>, DirectoryReadError> {
        self.place(key).map(|place| self.read_at(place)).transpose()
    }

    /// Number of entries.
    #[must_use]
    pub fn size(&self) -> usize {
        self.agencies.len() + self.others.len()
    }

    /// SHA-256 leaf hash of the entry at `place`.
    #[must_use]
    pub fn leaf_at(&self, place: usize) -> Option<Digest> {
        self.tree.leaf(u64::try_from(place).ok()?)
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
        match self.other("operator")? {
            Entry::Operator(operator) => Some(operator),
            _ => None,
        }
    }

    /// A code's facts, open or closed.
    #[must_use]
    pub fn agency(&self, code: &AgencyId) -> Option<&Agency> {
        self.agencies.get(self.agency_place(code.as_str())?)
    }

    /// All agencies, sorted by code.
    #[must_use]
    pub fn agencies(&self) -> &[Agency] {
        &self.agencies
    }

    /// All nodes and the relay.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeKind, &NodeEntry)> {
        (0..self.others.len()).filter_map(|place| self.node_at(place))
    }

    /// The facts of a code as somebody else wrote it: the code itself or one of its old forms.
    #[must_use]
    pub fn agency_by_any_code(&self, code: &ForeignCode) -> Option<&Agency> {
        if let Some(agency) = code.as_agency().and_then(|code| self.agency(&code)) {
            return Some(agency);
        }
        let place = self.by_old_code.binary_search_by_key(&Some(code), |key| self.old_code(*key)).ok()?;
        self.agencies.get(usize::try_from(self.by_old_code.get(place)?.0).ok()?)
    }

    /// The present form of a code as somebody else wrote it; where the directory does not know it, the code itself when it is one.
    #[must_use]
    pub fn present_code(&self, code: &ForeignCode) -> Option<AgencyId> {
        self.agency_by_any_code(code).map(|agency| agency.code.clone()).or_else(|| code.as_agency())
    }

    /// A node or the relay by its id.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<(NodeKind, &NodeEntry)> {
        let place = self.other_place(&format!("node/{id}")).or_else(|| self.other_place(&format!("relay/{id}")))?;
        self.node_at(place)
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

    /// An entry with its bytes and its proof to this version's root; none when there is no such entry.
    ///
    /// # Errors
    /// When the copy on the disk cannot be read.
    pub fn proven(&self, key: &str) -> Result<Option<ProvenEntry>, DirectoryReadError> {
        let found = self.place(key).and_then(|place| {
            let index = u64::try_from(place).ok()?;
            Some((place, index, self.tree.inclusion(index, self.tree.size())?))
        });
        let Some((place, index, proof)) = found else { return Ok(None) };
        Ok(Some(ProvenEntry { bytes: self.read_at(place)?.to_vec(), index, proof }))
    }

    /// What a submission says about the directory that its sender relied on.
    #[must_use]
    pub fn reference(&self, code: &AgencyId) -> Option<DirectoryRef> {
        let entry = self.leaf_at(self.agency_place(code.as_str())?)?;
        Some(DirectoryRef { version: self.version(), root: self.statement.root, entry })
    }

    /// Makes the index for searching (a moment at national size), so that nobody waits for it at the first search.
    pub fn prepare_search(&self) {
        self.search_index();
    }

    fn search_index(&self) -> &DirectorySearch {
        self.search.get_or_init(|| DirectorySearch::over(&self.agencies))
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
        if logged.leaf != *self.statement.bytes() {
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
        verify_inclusion(&leaf_hash(self.statement.bytes()), logged.index, checkpoint.size, &proof, &checkpoint.root)
            .map_err(|e| refused(e.to_string()))?;
        Ok(checkpoint)
    }

    pub(crate) const fn checked_checkpoints(&self) -> &Mutex<HashMap<NodeId, CheckedNotes>> {
        &self.checked
    }

    /// The node or relay at a place of `others`.
    fn node_at(&self, place: usize) -> Option<(NodeKind, &NodeEntry)> {
        match &self.others.get(place)?.1 {
            Entry::Node(node) => Some((NodeKind::Node, node)),
            Entry::Relay(relay) => Some((NodeKind::Relay, relay)),
            Entry::Agency(_) | Entry::Operator(_) => None,
        }
    }

    /// Place of an entry by its key.
    fn place(&self, key: &str) -> Option<usize> {
        match key.strip_prefix("agency/") {
            Some(code) => self.agency_place(code),
            None => Some(self.agencies.len() + self.other_place(key)?),
        }
    }

    /// Key of the entry at a place; empty when there is no such place.
    fn key_at(&self, place: usize) -> String {
        match (self.agencies.get(place), place.checked_sub(self.agencies.len())) {
            (Some(agency), _) => format!("agency/{}", agency.code),
            (None, Some(other)) => self.others.get(other).map(|(key, _)| key.clone()).unwrap_or_default(),
            (None, None) => String::new(),
        }
    }

    fn agency_place(&self, code: &str) -> Option<usize> {
        self.agencies.binary_search_by(|agency| agency.code.as_str().cmp(code)).ok()
    }

    fn other_place(&self, key: &str) -> Option<usize> {
        self.others.binary_search_by(|(own, _)| own.as_str().cmp(key)).ok()
    }

    fn other(&self, key: &str) -> Option<&Entry> {
        self.others.get(self.other_place(key)?).map(|(_, entry)| entry)
    }

    fn old_code(&self, place: (u32, u8)) -> Option<&ForeignCode> {
        old_code_of(&self.agencies, place)
    }

    fn entry_at(&self, place: usize) -> Result<Entry, DirectoryReadError> {
        let bytes = self.read_at(place)?;
        Ok(Raw::<Entry>::parse(bytes).expect("the same bytes were parsed when the directory was verified").into_value())
    }
}

/// The old code at a place of the table, which holds nothing else.
fn old_code_of(agencies: &[Agency], (agency, which): (u32, u8)) -> Option<&ForeignCode> {
    agencies.get(usize::try_from(agency).ok()?)?.old_codes.get(usize::from(which))
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RootStatement { axis, lane, version, size, .. } = self.statement.value();
        write!(f, "Directory({axis} {lane}, version {version}, {size} entries)")
    }
}

/// Five minutes: how far clocks may differ.
pub(crate) fn skew() -> Duration {
    Duration::from_millis(u64::try_from(FUTURE_SKEW_MAX_MS).unwrap_or_default())
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

/// Parsed certificates by their SHA-256; who came first goes first.
#[derive(Default)]
struct CachedCertificates {
    known: HashMap<Digest, Certificate>,
    order: VecDeque<Digest>,
}

impl CachedCertificates {
    fn add(&mut self, certificate: Certificate) {
        let sha256 = certificate.sha256();
        if self.known.insert(sha256, certificate).is_some() {
            return;
        }
        self.order.push_back(sha256);
        if self.order.len() > DIRECTORY_CERTIFICATES_CACHED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
