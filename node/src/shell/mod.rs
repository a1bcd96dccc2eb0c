//! The part of the node that acts: journal, blobs, link to the relay, signing, timers. It decides nothing that outlives it.

pub mod clock;
pub mod engine;

mod bodies;
mod directory;
mod effects;
mod offer;
mod peer;
mod push;
mod relay_link;
mod signing;
mod take;
mod undelivered;
mod witness;

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, watch},
};
use truc_custody::{Keyring, SignedCheckpoints, Witness};
use truc_evidence::{Directory, PinnedOperator};
use truc_ledger::{
    Ledger,
    blobs::{BlobStore, StoredBlob},
};
use truc_link::{Breaker, Link, Revocations, Stamper};
use truc_proto::{
    AdminAction, AgencyId, AxisId, Digest, Lane, NodeId, Restored, Timestamp, relay_v1::relay_client::RelayClient,
};
use truc_signer::{SigningKey, path::TrustStore};

use crate::{archive::Archive, core::Key, pipeline::Pipeline, service::certificates::Held, settings::Settings};
use engine::Engine;

pub use bodies::{Bodies, BodyError};
pub use effects::run_effects;
pub use effects::run_timer;
pub(crate) use offer::describe;
pub use relay_link::run_link;
pub(crate) use signing::time_stamp;
pub use signing::{SIGN_EVERY, run_signer};
pub use witness::run_witness;

/// The client to a relay that has said Hello.
pub type Relay = RelayClient<tonic::transport::Channel>;

/// Everything that the tasks of a node share.
pub struct Shell {
    /// Trust domain.
    pub axis: AxisId,
    /// Lane.
    pub lane: Lane,
    /// This node.
    pub node: NodeId,
    /// The relay's id.
    pub relay_id: NodeId,
    /// `host:port` of the relay.
    pub relay_address: String,
    /// Where the verified copy of the directory lies.
    pub directory_folder: PathBuf,
    /// The core.
    pub engine: Engine,
    /// The journal.
    pub ledger: Ledger,
    /// Documents that left memory.
    pub archive: Archive,
    /// Sealed payloads.
    pub blobs: Arc<BlobStore>,
    /// The way to today's axis, where settings name one.
    pub gateway: Option<Arc<crate::gateway::Gateway>>,
    /// The pipelines.
    pub pipeline: Arc<dyn Pipeline>,
    /// Tells the pipelines of newer trust files.
    pub set_trust: Box<dyn Fn(Arc<TrustStore>) + Send + Sync>,
    /// Has the pipelines read the agencies' keys again.
    pub reload_pipeline_keys: crate::run::ReloadKeys,
    /// TLS.
    pub link: Link,
    /// Anchors and revocation lists.
    pub trust: Arc<ArcSwap<TrustStore>>,
    /// Keeps lists and OCSP answers current, where settings have it.
    pub revocations: Option<Arc<Revocations>>,
    /// Where lists and answers that were fetched or imported lie.
    pub revocation_folder: PathBuf,
    /// A newer list lies in the folder.
    pub lists_changed: Notify,
    /// Own certificates and lists want a look.
    pub revocation_changed: Notify,
    /// Where they come from.
    pub trust_files: crate::settings::TrustFiles,
    /// Who signs directories.
    pub operator: PinnedOperator,
    /// The directory in force; none before the first one came. Shared with the link's admission.
    pub directory: Arc<ArcSwapOption<Directory>>,
    /// The keys that settings name, with their certificates, as they were read last: a binding of any other to its codes raises an alarm.
    pub(crate) held: ArcSwap<Vec<Held>>,
    /// Signs checkpoints: what the keyring says.
    pub(crate) node_key: RwLock<Arc<dyn SigningKey>>,
    /// The node's own keys.
    pub(crate) keyring: ArcSwap<Keyring>,
    /// Held by who changes keys: one at a time.
    pub(crate) changing_keys: tokio::sync::Mutex<()>,
    /// Sent when other keys are in use, or one is not used any more.
    pub(crate) keys_changed: watch::Sender<()>,
    /// Told when another version of the directory is in use.
    pub(crate) directory_taken: Notify,
    /// What the settings' file said when it was read last; of that, only keys and trust change while the node runs.
    pub(crate) settings: ArcSwap<Settings>,
    /// Stamps them, where settings name authorities.
    pub stamper: Option<Stamper>,
    /// Least time between two signatures of checkpoints.
    pub sign_every: Duration,
    /// The relay, while it is there.
    pub relay: watch::Sender<Option<Relay>>,
    /// For people: what the link is doing.
    pub relay_state: ArcSwap<String>,
    /// No signature leaves before the first Hello after a start (docs/ARCHITECTURE.md, No fork).
    pub may_sign: AtomicBool,
    /// When the certificate's key last signed, in milliseconds since 1970; 0: not since this start.
    pub(crate) signed_at_ms: AtomicI64,
    /// What became of the checkpoints that it signed.
    pub(crate) signed: SignedCheckpoints,
    /// How many times in a row the relay was asked to cosign and did not.
    pub(crate) witness_misses: AtomicU32,
    /// Since it did not: a checkpoint that lacks its line is not shown to it again and again.
    pub(crate) witness_rests: Mutex<Breaker>,
    /// Journal, blobs, notes about the store itself.
    pub store_folder: PathBuf,
    /// From which backup this node was restored, until the relay has said that it knows of nothing newer.
    pub restored: Mutex<Option<Restored>>,
    /// Where proofs of two histories are kept as files.
    pub forks_folder: PathBuf,
    /// Where commands leave notes on what was done at the machine.
    pub notes_folder: PathBuf,
    /// What a second administrator has to agree to.
    pub two_persons: BTreeSet<AdminAction>,
    /// Held while something that two agreed to is carried out: it is, once.
    pub(crate) administering: Arc<tokio::sync::Mutex<()>>,
    /// Held while the relay's newest checkpoint is compared with the one held: two at once would take each other's steps for a ledger cut back.
    pub(crate) comparing: tokio::sync::Mutex<()>,
    /// Cosigns the relay's checkpoints, as soon as it has a key.
    pub witness: Witness,
    /// The checkpoint that the relay asked to be cosigned last.
    pub to_cosign: watch::Sender<Option<bytes::Bytes>>,
    /// Wakes the signer.
    pub sign: Notify,
    /// What is new in the inbox.
    pub arrivals: broadcast::Sender<(Key, AgencyId)>,
    /// Blobs just downloaded, kept from the sweep until their record is on the device.
    pub fresh_blobs: Mutex<HashMap<Key, StoredBlob>>,
    /// Work that blocks: sealing, opening, verifying.
    pub workers: Arc<Semaphore>,
    /// Work that goes at the pace of clients of the local APIs.
    pub streams: Arc<Semaphore>,
    /// True once the node is to stop.
    pub stopping: watch::Receiver<bool>,
    /// Checkpoints of the relay seen under evidence, not yet proven to be of one history.
    pub(crate) seen: Mutex<peer::Seen>,
    /// Numbers given out for statuses about documents that left memory.
    pub(crate) archived_sequences: Mutex<HashMap<(Key, AgencyId, AgencyId), u64>>,
    /// Tokens whose statistics are being made.
    pub(crate) statistics: crate::service::statistics::Running,
    /// Actors whose entitlement was handed to the core, under which directory version.
    pub(crate) entitled: Mutex<HashMap<(NodeId, Option<AgencyId>), u64>>,
}

impl Shell {
    /// The directory in force.
    #[must_use]
    pub fn directory(&self) -> Option<Arc<Directory>> {
        self.directory.load_full()
    }

    /// The key that signs checkpoints, as it is now.
    #[must_use]
    pub fn node_key(&self) -> Arc<dyn SigningKey> {
        Arc::clone(&self.node_key.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// SHA-256 of the certificates of its agencies' keys.
    pub(crate) fn own_certificates(&self) -> BTreeSet<Digest> {
        let held = self.held.load();
        let of_agencies = held.iter().filter(|key| key.slot.code().is_some());
        of_agencies.map(|key| key.certificate.sha256()).collect()
    }

    /// Takes those of the node's own keys into use that serve now.
    pub(crate) fn use_keys(&self) {
        let (keyring, directory, now) = (self.keyring.load(), self.directory(), clock::now());
        let entry = directory.as_deref().and_then(|directory| directory.node(&self.node)).map(|(_, entry)| entry);
        if let Some(tls) = keyring.tls(entry, now)
            && !self.link.presents(tls)
        {
            self.link.replace_identity(tls.clone());
            self.keys_changed.send_replace(());
        }
        self.link.stop_presenting(keyring.stopped_tls());
        if let Some(key) = keyring.node(entry, now)
            && !Arc::ptr_eq(key, &self.node_key())
        {
            let mut held = self.node_key.write().unwrap_or_else(PoisonError::into_inner);
            if held.certificate() != key.certificate() {
                tracing::info!(
                    subject = key.certificate().subject(),
                    "checkpoints are signed with another key from now on"
                );
            }
            *held = Arc::clone(key);
            drop(held);
            self.keys_changed.send_replace(());
            self.sign.notify_one();
        }
    }

    /// Whether a certificate's key was declared stolen or lost, here.
    pub(crate) fn is_declared(&self, certificate: &Digest) -> bool {
        self.settings.load().stopped.contains(certificate)
    }

    /// Whether the directory has a certificate of this node, or of a code at it, revoked or suspended now.
    pub(crate) fn is_taken_away(&self, certificate: &Digest) -> bool {
        self.stopped_in_directory(certificate).is_some()
    }

    /// Since when it has.
    pub(crate) fn stopped_in_directory(&self, certificate: &Digest) -> Option<Timestamp> {
        let directory = self.directory()?;
        let of_node = directory.node(&self.node).and_then(|(_, entry)| {
            entry.certificates.iter().find(|bound| bound.sha256 == *certificate).and_then(|bound| bound.status_since)
        });
        let settings = self.settings.load();
        let of_codes = settings.codes().filter_map(|code| directory.agency(code)).find_map(|agency| {
            agency.certificates.iter().find(|bound| bound.sha256 == *certificate).and_then(|bound| bound.status_since)
        });
        of_node.into_iter().chain(of_codes).min().filter(|since| *since <= clock::now())
    }

    /// Reads all keys as the settings' file names them now, and takes them into use; the old ones stay when one cannot be read.
    ///
    /// # Errors
    /// When the settings or a key cannot be used.
    pub(crate) fn reload_keys(&self) -> anyhow::Result<()> {
        let held = self.settings.load();
        let read = Settings::load(&held.folder).context("read the settings")?;
        let codes = |settings: &Settings| settings.codes().cloned().collect::<BTreeSet<_>>();
        anyhow::ensure!(codes(&read) == codes(&held), "the settings name other agencies now: start the node again");
        let settings = Settings {
            agencies: read.agencies,
            tls_keys: read.tls_keys,
            node_keys: read.node_keys,
            ..Settings::clone(&held)
        };
        // All is read before anything is used.
        let keyring = Keyring::load(&settings.tls_keys, &settings.node_keys, &settings.stopped)?;
        let held = Held::all(&settings).context("load the certificates")?;
        (self.reload_pipeline_keys)(&settings).context("load the agencies' keys")?;
        self.held.store(Arc::new(held));
        self.keyring.store(Arc::new(keyring));
        self.settings.store(Arc::new(settings));
        self.use_keys();
        Ok(())
    }

    /// The relay, when it is there.
    #[must_use]
    pub fn relay(&self) -> Option<Relay> {
        self.relay.borrow().clone()
    }

    /// Whether signatures may leave.
    #[must_use]
    pub fn may_sign(&self) -> bool {
        self.may_sign.load(Ordering::SeqCst)
    }

    /// A number for a status about a document that left memory: above what its records and this process gave out.
    pub(crate) fn next_archived_sequence(&self, document: &Key, from: &AgencyId, to: &AgencyId, said: u64) -> u64 {
        let mut given = lock(&self.archived_sequences);
        let last = given.entry((document.clone(), from.clone(), to.clone())).or_default();
        *last = said.max(*last) + 1;
        *last
    }

    /// How the look-up index is, for people.
    #[must_use]
    pub fn index_state(&self) -> String {
        self.archive.state()
    }

    /// The journal's bodies, for threads that may block.
    #[must_use]
    pub fn bodies(&self) -> Bodies {
        Bodies(self.ledger.clone())
    }

    /// As [`Shell::work`], for what goes at the pace of a client: while it waits for one it is no worker, so that slow clients keep
    /// nobody else waiting. None: there are too many of them.
    pub(crate) async fn work_with_client<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Option<Result<T, WorkFailed>> {
        let stream = Arc::clone(&self.streams).try_acquire_owned().ok()?;
        let workers = Arc::clone(&self.workers);
        let Ok(permit) = Arc::clone(&workers).acquire_owned().await else { return Some(Err(WorkFailed(what))) };
        let run = blocking(what, move || {
            let _stream = stream;
            work(&mut Worker { workers, permit: Some(permit) })
        });
        Some(run.await)
    }

    /// Runs what blocks on a thread of its own; a bounded number at once, so that hostile documents cannot take all
    /// threads. A panic there becomes an error here.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkFailed> {
        let permit = Arc::clone(&self.workers).acquire_owned().await.map_err(|_| WorkFailed(what))?;
        blocking(what, move || {
            let _permit = permit;
            work()
        })
        .await
    }
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shell({})", self.node)
    }
}

/// Runs what blocks on a thread of its own, outside the count of workers: for short work on the disk, which they may all be waiting for. A panic
/// there becomes an error here.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WorkFailed> {
    tokio::task::spawn_blocking(work).await.map_err(|_| WorkFailed(what))
}

/// A place among the workers, on a thread that may block.
pub(crate) struct Worker {
    workers: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Worker {
    /// Waits for a client, and is a worker again behind that.
    pub(crate) fn wait<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        self.permit = None;
        let waited = wait();
        // Closed only when the node stops: then it does not matter who works.
        self.permit = Handle::current().block_on(Arc::clone(&self.workers).acquire_owned()).ok();
        waited
    }
}

/// What a panic left behind is whole all the same: nothing is held over a step that may fail.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker panicked, or the node stops.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{0} broke off; see the log")]
pub struct WorkFailed(pub(crate) &'static str);
