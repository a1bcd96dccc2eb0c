//! The ledger as others hold it: submit, read back, prove, snapshot, close. The thread behind it stands in `committer`, the start in `opening`.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{SyncSender, TrySendError},
    },
    thread::JoinHandle,
};

use truc_proto::{
    Digest, NoteKey,
    limits::{COMMIT_QUEUE_BYTES_MAX, RECORD_BYTES_MAX, SUBMISSION_RECORDS_BYTES_MAX, SUBMISSION_RECORDS_MAX},
};

use crate::{
    Committed, Position, Record, SnapshotError,
    committer::{Job, Submission},
    frame::{BATCH_HEADER, FRAME_HEADER},
    journal::{JournalReader, ReadError, SCAN_AHEAD},
    merkle::{self, Frontier, ProofError},
    snapshot::{self, SnapshotHead},
    tree::{Growth, TreeFiles},
    volume::{Lock, Volume},
};

/// Runs on the committer's thread once its submission, and everything submitted before it, is on the device. It must not block.
pub type Release = Box<dyn FnOnce(&Committed) + Send>;

/// What a process cannot live on after: a write or sync of the journal failed, so that nobody knows what is on the device.
#[derive(Debug, Clone)]
pub struct Fatal {
    /// What failed, with the system's words.
    pub what: String,
}

/// What may differ between ledgers.
#[derive(Clone)]
pub struct Settings {
    /// The journal's identity, used when the store is empty; `None` draws one from the system's randomness.
    pub journal_id: Option<[u8; 16]>,
    /// Called when a write or sync of the journal fails. The default logs and aborts the process: a failed sync is never retried. When it returns
    /// (the simulator's does) the ledger is stopped and answers nothing more.
    pub on_fatal: Arc<dyn Fn(&Fatal) + Send + Sync>,
}

impl Default for Settings {
    fn default() -> Self {
        let abort = |fatal: &Fatal| {
            tracing::error!(
                what = fatal.what,
                "the journal cannot be written: the process stops, start it again when the disk is well"
            );
            std::process::abort();
        };
        Self { journal_id: None, on_fatal: Arc::new(abort) }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("journal_id", &self.journal_id).finish_non_exhaustive()
    }
}

/// Why a submission was not taken. Nothing of it happened; the positions counted for it are free again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too much waits already; try again soon.
    #[error("the journal is busy: too much waits to be written, try again soon")]
    Busy,
    /// The disk has no room for more journal.
    #[error("the disk is full: free space on the store's disk, the ledger goes on by itself")]
    Full,
    /// More or longer records than the limits allow.
    #[error(
        "a submission holds at most {SUBMISSION_RECORDS_MAX} records of {RECORD_BYTES_MAX} bytes, {SUBMISSION_RECORDS_BYTES_MAX} together"
    )]
    TooLarge,
    /// The ledger was closed or met a fatal error.
    #[error("the ledger is stopped")]
    Stopped,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofFailure {
    /// The tree is smaller than that.
    #[error("the ledger has {durable} durable leaves, fewer than the {asked} asked for")]
    NotThere {
        /// What was asked for.
        asked: u64,
        /// What there is.
        durable: u64,
    },
    /// Not a place in such a tree.
    #[error("there is no such proof")]
    NoSuchProof(#[source] ProofError),
    /// Even the tree made anew from the journal does not lead to the root: the journal's leaves changed after they were committed.
    #[error(
        "the journal's leaves do not give the root that was signed: stop, keep the store as it is, and restore it from its backup"
    )]
    Corrupt(#[source] ProofError),
    /// The journal cannot be read to make the tree anew.
    #[error("cannot make the tree anew from the journal")]
    Journal(#[from] ReadError),
    /// The tree files cannot be read.
    #[error("cannot read the tree files")]
    Tree(#[from] io::Error),
}

/// How much room the store's disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceLeft {
    /// A tenth or more is free.
    Ample,
    /// Less than a tenth: refuse new work, so that receipts of the old still find room.
    Low,
}

/// An open ledger. Clones are handles to the same one.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: SyncSender<Job>,
    pub(crate) workers: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// What handles and committer have in common.
pub(crate) struct Shared {
    pub(crate) volume: Arc<dyn Volume>,
    pub(crate) journal_id: [u8; 16],
    pub(crate) public: NoteKey,
    pub(crate) reader: JournalReader,
    pub(crate) tree: TreeFiles,
    pub(crate) head: RwLock<Arc<Committed>>,
    /// Sizes and roots that were committed lately: trusted, since they come from the journal.
    pub(crate) recent: Mutex<VecDeque<(u64, Digest)>>,
    pub(crate) queued_bytes: AtomicUsize,
    /// No further segment could be made.
    pub(crate) exhausted: AtomicBool,
    /// Bytes left in the segments there are.
    pub(crate) room: AtomicU64,
    pub(crate) stopped: AtomicBool,
    pub(crate) settings: Settings,
    pub(crate) snapshots: Mutex<()>,
    pub(crate) rebuilding: Mutex<()>,
    pub(crate) lock: Mutex<Option<Lock>>,
}

/// Committed roots that are remembered.
const RECENT_ROOTS: usize = 256;

impl Ledger {
    /// Takes records to be appended, in the order of the calls: the first record of the first call has the position that [`crate::Recovered`] told,
    /// and so on without gaps; leaf indices likewise. All records of one call are recovered after a crash, or none. `release` runs when they and all
    /// before them are on the device; without records it runs behind everything submitted before. Does not block.
    ///
    /// # Errors
    /// [`SubmitError`]; then `release` is dropped without being called, and no position was used.
    pub fn submit(&self, records: Vec<Record>, release: Release) -> Result<(), SubmitError> {
        let shared = &self.shared;
        let bytes: usize = records.iter().map(|record| record.bytes() + FRAME_HEADER).sum();
        if records.len() > SUBMISSION_RECORDS_MAX
            || bytes > SUBMISSION_RECORDS_BYTES_MAX
            || records.iter().any(|record| record.bytes() > RECORD_BYTES_MAX)
        {
            return Err(SubmitError::TooLarge);
        }
        if shared.stopped.load(Ordering::Acquire) {
            return Err(SubmitError::Stopped);
        }
        let queued = shared.queued_bytes.fetch_add(bytes, Ordering::AcqRel) + bytes;
        // Each queued submission may become a batch of its own.
        let needed = queued as u64 + (BATCH_HEADER * truc_proto::limits::COMMIT_QUEUE_MAX) as u64;
        let refused = if queued > COMMIT_QUEUE_BYTES_MAX {
            Some(SubmitError::Busy)
        } else if bytes > 0 && shared.exhausted.load(Ordering::Acquire) && needed > shared.room.load(Ordering::Acquire)
        {
            Some(SubmitError::Full)
        } else {
            None
        };
        let sent = match refused {
            Some(refusal) => Err(refusal),
            None => {
                self.queue.try_send(Job::Append(Submission { records, bytes, release })).map_err(|error| match error {
                    TrySendError::Full(_) => SubmitError::Busy,
                    TrySendError::Disconnected(_) => SubmitError::Stopped,
                })
            }
        };
        if sent.is_err() {
            shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
        sent
    }

    /// The newest checkpoint that is on the device, with the ledger key's line.
    #[must_use]
    pub fn head(&self) -> Arc<Committed> {
        self.shared.head()
    }

    /// The record at `position`, checked against its CRC and the one before it.
    ///
    /// # Errors
    /// [`ReadError`]: not durable yet, or the disk fails.
    pub fn read(&self, position: Position) -> Result<Record, ReadError> {
        self.shared.durable(position)?;
        Ok(self.shared.reader.read(position)?.record)
    }

    /// Shows up to `limit` durable records from `position` on, with leaf indices; tells the position after the last one shown.
    ///
    /// # Errors
    /// [`ReadError`], when the disk fails.
    pub fn read_on(
        &self,
        position: Position,
        limit: u64,
        mut see: impl FnMut(Position, Option<u64>, Record),
    ) -> Result<Position, ReadError> {
        let end = self.head().position.min(position.plus(limit));
        let mut at = position;
        if at >= end {
            return Ok(at);
        }
        let mut run = self.shared.reader.run(position, SCAN_AHEAD)?;
        while at < end {
            let found = run.next().ok_or(ReadError::NotThere { position: at })??;
            let leaf = found.record.leaf.is_some().then_some(found.leaf_index);
            see(at, leaf, found.record);
            at = at.plus(1);
        }
        Ok(at)
    }

    /// Proof that leaf `leaf_index` is in the tree of the first `size` leaves, checked against its root.
    ///
    /// # Errors
    /// [`ProofFailure`].
    pub fn inclusion(&self, leaf_index: u64, size: u64) -> Result<Vec<Digest>, ProofFailure> {
        self.proven_leaf(leaf_index, size).map(|(_, proof)| proof)
    }

    /// As [`Ledger::inclusion`], with the leaf's hash: who needs that alone need not read the record.
    ///
    /// # Errors
    /// [`ProofFailure`].
    pub fn proven_leaf(&self, leaf_index: u64, size: u64) -> Result<(Digest, Vec<Digest>), ProofFailure> {
        if leaf_index >= size {
            return Err(ProofFailure::NoSuchProof(ProofError::OutOfTree { index: leaf_index, size }));
        }
        self.shared.proven(size, |tree, root| {
            let leaf = merkle::Nodes::node(tree, 0, leaf_index)?;
            let proof = merkle::inclusion_path(tree, leaf_index, size)?;
            Ok(merkle::verify_inclusion(&leaf, leaf_index, size, &proof, root).map(|()| (leaf, proof)))
        })
    }

    /// Proof that the first `to` leaves begin with the first `from`, checked against both roots.
    ///
    /// # Errors
    /// [`ProofFailure`].
    pub fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, ProofFailure> {
        if from > to {
            return Err(ProofFailure::NoSuchProof(ProofError::Shrunk { from, to }));
        }
        self.shared.proven(to, |tree, root| {
            let old = root_of(tree, from)?;
            let proof = merkle::consistency_path(tree, from, to)?;
            Ok(merkle::verify_consistency(from, &old, to, root, &proof).map(|()| proof))
        })
    }

    /// The root over the first `size` leaves, proven to lead to the newest one.
    ///
    /// # Errors
    /// [`ProofFailure`].
    pub fn root_at(&self, size: u64) -> Result<Digest, ProofFailure> {
        self.shared.proven(size, |_, root| Ok(Ok(*root)))
    }

    /// Writes a snapshot of the owner's state, in which exactly the records before `at` are folded. Runs on the caller's thread: give it one of its
    /// own when the state is large. At position 0 there is nothing to write.
    ///
    /// # Errors
    /// [`SnapshotError`]; the ledger goes on as before.
    pub fn snapshot(&self, at: Position, entries: impl Iterator<Item = Vec<u8>>) -> Result<(), SnapshotError> {
        let shared = &self.shared;
        let durable = self.head().position;
        if at > durable {
            return Err(SnapshotError::NotDurable { position: at, durable });
        }
        let Some(last) = at.0.checked_sub(1) else { return Ok(()) };
        let _one_at_a_time = shared.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut run = shared.reader.run(Position(last), 4096)?;
        run.next().ok_or(ReadError::NotThere { position: Position(last) })??;
        let end = run.place();
        let anchors = shared.reader.anchors.up_to(at.0);
        let batch = anchors.last().copied().ok_or(ReadError::NotThere { position: at })?;
        let head = SnapshotHead {
            journal: shared.journal_id,
            position: at.0,
            chain: end.chain,
            segment: batch.segment,
            batch: batch.batch,
            frontier: self.frontier(end.leaf)?,
            anchors,
        };
        shared
            .tree
            .sync()
            .or_else(|_| shared.rebuild_tree().map_err(io::Error::other).and_then(|()| shared.tree.sync()))?;
        snapshot::write(shared.volume.as_ref(), &head, entries)
    }

    /// How much room the store's disk has. A disk that cannot be asked counts as low.
    #[must_use]
    pub fn space(&self) -> SpaceLeft {
        match self.shared.volume.space() {
            Ok(space) if !space.is_low() => SpaceLeft::Ample,
            _ => SpaceLeft::Low,
        }
    }

    /// The key that checks this ledger's checkpoints; its name is the origin.
    #[must_use]
    pub fn public_key(&self) -> &NoteKey {
        &self.shared.public
    }

    /// The journal's identity, drawn when the store was made.
    #[must_use]
    pub fn journal_id(&self) -> [u8; 16] {
        self.shared.journal_id
    }

    /// The chain value of the journal behind the record before `position`: two journals that agree on it agree on everything before.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn chain_at(&self, position: Position) -> Result<u32, ReadError> {
        let Some(last) = position.0.checked_sub(1) else { return Ok(0) };
        self.shared.durable(Position(last))?;
        let mut run = self.shared.reader.run(Position(last), 4096)?;
        run.next().ok_or(ReadError::NotThere { position: Position(last) })??;
        Ok(run.place().chain)
    }

    /// Writes what is queued, then a last empty batch that vouches for it, and stops. Other handles answer `Stopped` from then on. The store's lock
    /// is given back when the last handle is dropped. Not to be called from a release.
    pub fn close(self) {
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        if workers.is_empty() {
            self.shared.stopped.store(true, Ordering::Release); // stepped: its driver does the rest, or closed already
            return;
        }
        // A full queue: the committer takes from it, so that this ends.
        let _ = self.queue.send(Job::Close);
        for worker in workers {
            let _ = worker.join();
        }
        // Nothing appends any more: whoever still reads through another handle does not keep the store from being opened anew.
        drop(self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The frontier at `size`, proven like any proof.
    fn frontier(&self, size: u64) -> Result<Frontier, SnapshotError> {
        let frontier = self.shared.proven(size, |tree, root| {
            let frontier = tree.frontier(size)?;
            Ok(if frontier.root() == *root { Ok(frontier) } else { Err(ProofError::WrongRoot) })
        });
        frontier.map_err(|failure| SnapshotError::Io(io::Error::other(failure)))
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({})", self.shared.public.name())
    }
}

fn root_of(tree: &TreeFiles, size: u64) -> io::Result<Digest> {
    if size == 0 { Ok(merkle::empty_root()) } else { merkle::subtree_root(tree, 0, size) }
}

impl Shared {
    pub(crate) fn head(&self) -> Arc<Committed> {
        Arc::clone(&self.head.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes `committed` the newest.
    pub(crate) fn publish(&self, committed: Arc<Committed>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.back().is_none_or(|(size, _)| *size != committed.size) {
            recent.push_back((committed.size, committed.root));
        }
        if recent.len() > RECENT_ROOTS {
            recent.pop_front();
        }
        drop(recent);
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = committed;
    }

    fn durable(&self, position: Position) -> Result<(), ReadError> {
        if position < self.head().position { Ok(()) } else { Err(ReadError::NotThere { position }) }
    }

    /// Runs `make` with the root of the first `size` leaves; when files or result turn out wrong, makes the tree anew and tries once more.
    fn proven<T>(
        &self,
        size: u64,
        make: impl Fn(&TreeFiles, &Digest) -> io::Result<Result<T, ProofError>>,
    ) -> Result<T, ProofFailure> {
        let durable = self.head().size;
        if size > durable {
            return Err(ProofFailure::NotThere { asked: size, durable });
        }
        let attempt = || -> io::Result<Result<T, ProofError>> {
            match self.trusted_root(size)? {
                Ok(root) => make(&self.tree, &root),
                Err(error) => Ok(Err(error)),
            }
        };
        let why = match attempt() {
            Ok(Ok(made)) => return Ok(made),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(size, why, "the tree files do not hold, they are made anew from the journal");
        self.rebuild_tree()?;
        attempt()?.map_err(ProofFailure::Corrupt)
    }

    /// The root of the first `size` leaves: one committed lately, or computed from the files and proven to lead to the newest.
    fn trusted_root(&self, size: u64) -> io::Result<Result<Digest, ProofError>> {
        let known = {
            let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.iter().rev().find(|(known, _)| *known == size).map(|(_, root)| *root)
        };
        if let Some(root) = known {
            return Ok(Ok(root));
        }
        let head = self.head();
        let root = root_of(&self.tree, size)?;
        let proof = merkle::consistency_path(&self.tree, size, head.size)?;
        Ok(merkle::verify_consistency(size, &root, head.size, &head.root, &proof).map(|()| root))
    }

    /// Writes all hashes of durable leaves again. The committer meanwhile writes only hashes that end behind them.
    pub(crate) fn rebuild_tree(&self) -> Result<(), ReadError> {
        let _one_at_a_time = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        self.tree.forget_recent();
        let (mut frontier, mut growth) = (Frontier::default(), Growth::default());
        let end = self.head().position;
        if end > Position(0) {
            let run = self.reader.run(Position(0), SCAN_AHEAD)?;
            for (index, found) in run.take(usize::try_from(end.0).unwrap_or(usize::MAX)).enumerate() {
                if let Some(leaf) = found?.record.leaf {
                    growth.push(&mut frontier, merkle::leaf_hash(&leaf));
                }
                if index % 1024 == 1023 {
                    self.tree.write_past(&mut growth);
                }
            }
        }
        self.tree.write_past(&mut growth);
        self.tree.mended();
        Ok(())
    }
}
