//! The store in the relay's own folder: journal and fold, blobs, look-up index.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{Notify, oneshot, watch};
use truc_ledger::{
    Committed, Fold, FoldError, Ledger, LedgerKey, Position, ProofFailure, Recovered, Replayed, Settings, StoreTag,
    blobs::BlobStore,
    index::{Index, IndexChange, IndexSettings, SledIndex},
    volume::Volume,
};
use truc_proto::{Digest, NodeId, Timestamp, limits::RELAY_QUESTIONS_MAX};

use super::{
    Store, StoreError, StoredRecord,
    engine::{Engine, InFlight, Message, Outside},
};
use crate::{
    core::{Alarm, Core, CoreSettings, DirectoryMark, Effect, EnvelopeKey, Input, Reply, SignedMark},
    metrics::Gauges,
    records::{Body, RelayRecord},
};

/// How the embedded store works.
pub struct EmbeddedSettings {
    /// What the core is told.
    pub core: CoreSettings,
    /// Whose store it is.
    pub tag: StoreTag,
    /// Origin of its checkpoints.
    pub origin: String,
    /// Records between two snapshots.
    pub snapshot_every: u64,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// The ledger's own.
    pub ledger: Settings,
    /// Folder of the look-up index; none where nothing is as old as to need it (tests).
    pub index: Option<PathBuf>,
}

/// Why the store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The journal.
    #[error(transparent)]
    Ledger(#[from] truc_ledger::OpenError),
    /// The folder of payloads, or a thread.
    #[error("cannot open the store's folder of payloads")]
    Io(#[from] std::io::Error),
}

/// See the module.
pub struct Embedded {
    ledger: Ledger,
    blobs: Arc<BlobStore>,
    questions: SyncSender<Message>,
    outside: Arc<Shell>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recovered: Recovered,
    directory: Option<DirectoryMark>,
    index: Option<SledIndex>,
}

/// What the core's thread tells the rest.
struct Shell {
    clock: fn() -> Timestamp,
    news: Mutex<HashMap<NodeId, watch::Sender<u64>>>,
    unsigned: AtomicUsize,
    unattested: AtomicUsize,
    signed: Mutex<Option<SignedMark>>,
    to_sign: Notify,
    /// Payloads that an offer in progress counts on.
    claims: Mutex<HashMap<Digest, usize>>,
    unneeded: SyncSender<Chore>,
    died: watch::Sender<bool>,
    forked: watch::Sender<u64>,
    gauges: Gauges,
}

impl Embedded {
    /// Opens the store in `volume`, or makes it.
    ///
    /// # Errors
    /// [`OpenStoreError`]; nothing was changed, except that a torn tail may have been cut.
    pub fn open(volume: Arc<dyn Volume>, key: LedgerKey, settings: EmbeddedSettings) -> Result<Self, OpenStoreError> {
        let mut fold = Folding::new(settings.core);
        let (ledger, recovered) =
            truc_ledger::open(Arc::clone(&volume), settings.tag, settings.origin, key, settings.ledger, &mut fold)?;
        let core = fold.core;
        let blobs = Arc::new(BlobStore::open(volume)?);
        let (questions, asked) = sync_channel(RELAY_QUESTIONS_MAX);
        let (unneeded, to_remove) = sync_channel(RELAY_QUESTIONS_MAX);
        let outside = Arc::new(Shell {
            clock: settings.clock,
            news: Mutex::default(),
            unsigned: AtomicUsize::new(core.unsigned_leaves()),
            unattested: AtomicUsize::new(core.unattested_leaves()),
            signed: Mutex::new(core.signed_mark()),
            to_sign: Notify::new(),
            claims: Mutex::default(),
            unneeded,
            died: watch::Sender::new(false),
            forked: watch::Sender::new(0),
            gauges: Gauges::default(),
        });
        outside.turned(&core);
        let directory = core.directory();
        let engine = Engine {
            core,
            ledger: ledger.clone(),
            outside: Arc::clone(&outside),
            in_flight: Arc::new(InFlight::default()),
            snapshot_every: settings.snapshot_every.max(1),
            last_snapshot: recovered.from_snapshot.unwrap_or_default(),
        };
        let spawn = |name: &str| std::thread::Builder::new().name(name.into());
        let janitor =
            Janitor { blobs: Arc::clone(&blobs), outside: Arc::clone(&outside), questions: questions.clone() };
        let threads = vec![
            spawn("relay-core").spawn(move || engine.run(&asked))?,
            spawn("relay-janitor").spawn(move || janitor.run(&to_remove))?,
        ];
        let threads = Mutex::new(threads);
        let index = settings.index.map(|folder| SledIndex::follow(index_settings(&ledger, folder))).transpose()?;
        Ok(Self { ledger, blobs, index, questions, outside, threads, recovered, directory })
    }

    /// What recovery found.
    #[must_use]
    pub const fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// The directory version that was in force when the store was opened.
    #[must_use]
    pub const fn directory_at_start(&self) -> Option<DirectoryMark> {
        self.directory
    }

    /// The ledger, for proofs.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Completes when a node waits for a tree that the certificate signed.
    pub async fn to_sign(&self) {
        loop {
            let told = self.outside.to_sign.notified();
            if self.outside.unsigned.load(Ordering::Acquire) > 0 {
                return;
            }
            told.await;
        }
    }

    /// For monitoring.
    pub(crate) fn gauges(&self) -> &Gauges {
        &self.outside.gauges
    }

    /// Leaves about which a node wants the certificate's word.
    pub(crate) fn unsigned(&self) -> u64 {
        self.outside.unsigned.load(Ordering::Acquire) as u64
    }

    /// Leaves that nodes have under the certificate without the time-stamp or the cosignatures that were wanted.
    pub(crate) fn unattested(&self) -> u64 {
        self.outside.unattested.load(Ordering::Acquire) as u64
    }

    /// The newest checkpoint that the certificate signed.
    pub(crate) fn signed_mark(&self) -> Option<SignedMark> {
        *self.outside.signed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when the store stopped by itself: the process should end and be started again.
    pub async fn died(&self) {
        let mut died = self.outside.died.subscribe();
        let _ = died.wait_for(|died| *died).await.map(drop);
    }

    /// Removes payloads without a record. Called once a day it never takes one that is younger.
    ///
    /// # Errors
    /// When the store stopped or the disk fails.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        let (answer, told) = oneshot::channel();
        self.questions.try_send(Message::Payloads(answer)).map_err(|_| StoreError::Busy)?;
        let needed = told.await.map_err(|_| StoreError::Indeterminate)?;
        let blobs = Arc::clone(&self.blobs);
        let sweep = tokio::task::spawn_blocking(move || blobs.sweep(|digest| needed.contains(digest)));
        let swept = sweep.await.map_err(|_| StoreError::Indeterminate)?;
        swept.map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    /// How the look-up index is, for people.
    #[must_use]
    pub fn index_state(&self) -> String {
        self.index.as_ref().map_or_else(|| "none".to_owned(), |index| index.state().to_string())
    }

    /// Has the look-up index take in what is new in the journal. What it is asked about left memory weeks ago, so now and then is enough.
    pub(crate) fn advance_index(&self) {
        if let Some(index) = &self.index {
            index.advance();
        }
    }

    /// Waits until the look-up index has everything that is durable now. Blocks.
    pub fn wait_indexed(&self) {
        if let Some(index) = &self.index {
            index.wait_applied();
        }
    }

    /// Writes a snapshot soon.
    pub fn snapshot_soon(&self) {
        let _ = self.questions.try_send(Message::Snapshot);
    }

    /// Finishes what was asked, writes a snapshot and closes the journal. Blocks.
    pub fn close(&self) {
        let _ = self.questions.send(Message::Stop);
        let _ = self.outside.unneeded.send(Chore::Stop);
        for thread in std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner)) {
            let _ = thread.join();
        }
        if let Some(index) = &self.index {
            index.close();
        }
        self.ledger.clone().close();
    }
}

impl Store for Embedded {
    async fn ask(&self, input: Input) -> Result<Reply, StoreError> {
        let (answer, told) = oneshot::channel();
        self.questions.try_send(Message::Ask(input, answer)).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Indeterminate,
        })?;
        told.await.map_err(|_| StoreError::Indeterminate)?
    }

    fn read(&self, position: Position) -> Result<StoredRecord, StoreError> {
        let record = self.ledger.read(position).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let decoded = RelayRecord::decode(Bytes::from(record.state));
        let body = decoded.ok().and_then(|record| record.body);
        let body = body.ok_or_else(|| StoreError::Corrupt(format!("record {position} cannot be read")))?;
        Ok(StoredRecord { body, leaf: record.leaf.map(Into::into) })
    }

    fn look_up(&self, key: &EnvelopeKey) -> Result<Option<Position>, StoreError> {
        let Some(index) = &self.index else { return Ok(None) };
        let Some(position) = index.find(&index_key(key)).map_err(|_| StoreError::Busy)? else { return Ok(None) };
        // The index is never believed: the journal says what stands there. That it cannot be read just now does not say that it is not there.
        if position >= self.ledger.head().position {
            return Ok(None);
        }
        let record = self.read(position)?;
        Ok((accepted_key(&record.body).as_ref() == Some(key)).then_some(position))
    }

    fn leaf_index(&self, position: Position) -> Result<u64, StoreError> {
        let mut found = None;
        let read = self.ledger.read_on(position, 1, |_, leaf_index, _| found = leaf_index);
        read.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        found.ok_or_else(|| StoreError::Corrupt(format!("record {position} has no leaf")))
    }

    fn head(&self) -> Arc<Committed> {
        self.ledger.head()
    }

    fn proven_leaf(&self, leaf_index: u64, size: u64) -> Result<(Digest, Vec<Digest>), ProofFailure> {
        self.ledger.proven_leaf(leaf_index, size)
    }

    fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, ProofFailure> {
        self.ledger.consistency(from, to)
    }

    fn root_at(&self, size: u64) -> Result<Digest, ProofFailure> {
        self.ledger.root_at(size)
    }

    fn blobs(&self) -> &Arc<BlobStore> {
        &self.blobs
    }

    fn claim(&self, payload: &Digest) -> Claim {
        *self.outside.claims.lock().unwrap_or_else(PoisonError::into_inner).entry(*payload).or_default() += 1;
        Claim { outside: Arc::clone(&self.outside), payload: *payload }
    }

    fn forked(&self) -> watch::Receiver<u64> {
        self.outside.forked.subscribe()
    }

    fn news(&self, node: &NodeId) -> watch::Receiver<u64> {
        let mut news = self.outside.news.lock().unwrap_or_else(PoisonError::into_inner);
        news.entry(node.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }
}

impl Outside for Shell {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn effect(&self, effect: Effect) {
        match effect {
            Effect::Wake(node) => {
                let news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(sender) = news.get(&node) {
                    sender.send_modify(|count| *count += 1);
                }
            }
            // A full queue leaves an orphan, which the next sweep takes.
            Effect::RemovePayload(payload) => drop(self.unneeded.try_send(Chore::Remove(payload))),
            Effect::Alarm(Alarm::PeerForked { node }) => {
                tracing::error!(%node, "alarm: the node showed two histories of its ledger; nothing more is accepted from it");
                self.forked.send_modify(|count| *count += 1);
            }
            Effect::DirectoryChanged(version) => tracing::info!(version, "directory version recorded"),
            Effect::Append(_) | Effect::Reply(_) => {}
        }
    }

    fn died(&self) {
        self.died.send_replace(true);
    }

    fn turned(&self, core: &Core) {
        self.gauges.open.store(core.open_envelopes() as u64, Ordering::Relaxed);
        let signed = core.signed_mark();
        self.gauges.signed.store(signed.map_or(0, |signed| signed.size), Ordering::Relaxed);
        *self.signed.lock().unwrap_or_else(PoisonError::into_inner) = signed;
        let unsigned = core.unsigned_leaves();
        self.unsigned.store(unsigned, Ordering::Release);
        self.unattested.store(core.unattested_leaves(), Ordering::Release);
        if unsigned > 0 {
            self.to_sign.notify_one();
        }
    }
}

/// Removes payloads, off the committer's thread. The same ciphertext may stand under two envelopes, so it asks before each.
struct Janitor {
    blobs: Arc<BlobStore>,
    outside: Arc<Shell>,
    questions: SyncSender<Message>,
}

impl Janitor {
    fn run(&self, unneeded: &Receiver<Chore>) {
        while let Ok(Chore::Remove(payload)) = unneeded.recv() {
            if let Err(error) = self.remove(&payload) {
                tracing::warn!(%error, %payload, "cannot remove a payload that is no longer needed; the next sweep tries again");
            }
        }
    }

    fn remove(&self, payload: &Digest) -> std::io::Result<()> {
        // Held while the core is asked: an offer that comes now waits, and then finds no payload, rather than one that is about to go.
        let claims = self.outside.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, told) = oneshot::channel();
        let asked = self.questions.send(Message::NeedsPayload(*payload, answer));
        let needed = asked.is_err() || told.blocking_recv().unwrap_or(true);
        if needed || claims.contains_key(payload) { Ok(()) } else { self.blobs.remove(payload) }
    }
}

/// What the janitor is told.
enum Chore {
    Remove(Digest),
    Stop,
}

/// Keeps a payload from being removed while an offer counts on it.
pub struct Claim {
    outside: Arc<Shell>,
    payload: Digest,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = self.outside.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = claims.get_mut(&self.payload) {
            *count -= 1;
            if *count == 0 {
                claims.remove(&self.payload);
            }
        }
    }
}

/// The core as the ledger's fold.
pub(super) struct Folding {
    settings: CoreSettings,
    pub(super) core: Core,
}

impl Folding {
    pub(super) fn new(settings: CoreSettings) -> Self {
        Self { core: Core::new(settings.clone()), settings }
    }
}

impl Fold for Folding {
    fn reset(&mut self) {
        self.core = Core::new(self.settings.clone());
    }

    fn load_snapshot(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        Ok(self.core.load_snapshot(entries)?)
    }

    fn apply(&mut self, record: Replayed<'_>) -> Result<(), FoldError> {
        Ok(self.core.apply(record.position, record.leaf_index, record.state)?)
    }
}

/// Memory of the look-up index.
const INDEX_CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Grows when keys or what they lead to change.
const INDEX_SCHEMA: u32 = 1;

fn index_settings(ledger: &Ledger, folder: PathBuf) -> IndexSettings {
    let extract = |position: Position, record: &truc_ledger::Record| {
        let body = RelayRecord::decode(record.state.as_slice()).ok().and_then(|record| record.body);
        let key = body.as_ref().and_then(accepted_key);
        key.map(|key| IndexChange::Put { key: index_key(&key), position }).into_iter().collect()
    };
    let (ledger, extract) = (ledger.clone(), Arc::new(extract));
    IndexSettings { ledger, folder, cache_bytes: INDEX_CACHE_BYTES, extract, schema: INDEX_SCHEMA }
}

/// `e`, the 16 bytes of the id, the sender's code: leads to the record that accepted the envelope.
fn index_key(key: &EnvelopeKey) -> Vec<u8> {
    [b"e".as_slice(), key.envelope.as_bytes(), key.sender.as_str().as_bytes()].concat()
}

/// The key of an envelope that was accepted, as its record says.
pub(crate) fn accepted_key(body: &Body) -> Option<EnvelopeKey> {
    let Body::Accepted(record) = body else { return None };
    let key = record.key.as_ref()?;
    let envelope = truc_proto::EnvelopeId::from_bytes(&key.envelope).ok()?;
    Some(EnvelopeKey { sender: key.sender.parse().ok()?, envelope })
}
