//! The one thread that writes the journal: takes what queued during the last sync, appends it in one write, and lets one `fdatasync` run while the
//! tree grows and the checkpoint is signed; then releases, in order. No timer on the answer's path.
//!
//! The same code runs without threads under a [`Driver`], step by step, for the simulator.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use truc_proto::{
    Checkpoint,
    limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX},
};

use crate::{
    Committed, Fatal, LedgerKey, Position, Record, Release,
    frame::BATCH_HEADER,
    journal::{Identity, Journal},
    ledger::Shared,
    merkle::{Frontier, leaf_hash},
    segment::{Segment, make_segment},
    tree::Growth,
    volume::{Volume, VolumeFile},
};

/// After this long without work the last batch is vouched for.
const IDLE: Duration = Duration::from_millis(500);
/// With a full disk the committer looks for room this often.
const FULL_RETRY: Duration = Duration::from_millis(200);

/// What the committer is asked to do.
pub(crate) enum Job {
    Append(Submission),
    Close,
}

/// Records that are recovered all or none.
pub(crate) struct Submission {
    pub(crate) records: Vec<Record>,
    pub(crate) bytes: usize,
    pub(crate) release: Release,
}

/// The committer's belongings.
pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) journal: Journal,
    pub(crate) frontier: Frontier,
    pub(crate) key: LedgerKey,
    growth: Growth,
    batch: Vec<Submission>,
    closing: bool,
}

/// Whether a step went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Done,
    /// No room: the batch waits.
    NoRoom,
    /// Fatal; the hook was called.
    Stopped,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, journal: Journal, frontier: Frontier, key: LedgerKey) -> Self {
        let committer =
            Self { shared, journal, frontier, key, growth: Growth::default(), batch: Vec::new(), closing: false };
        committer.tell_room();
        committer
    }

    /// Takes `first` and what else is queued, up to a batch.
    fn collect(&mut self, first: Option<Job>, queue: &Receiver<Job>) {
        let (mut records, mut bytes) = (0, 0);
        let mut next = first;
        loop {
            match next.take() {
                Some(Job::Append(submission)) => {
                    (records, bytes) = (records + submission.records.len(), bytes + submission.bytes);
                    self.batch.push(submission);
                }
                Some(Job::Close) => {
                    self.closing = true;
                    return;
                }
                None => {}
            }
            if records >= BATCH_RECORDS_MAX || bytes >= BATCH_BYTES_MAX {
                return;
            }
            match queue.try_recv() {
                Ok(job) => next = Some(job),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.closing = true;
                    return;
                }
            }
        }
    }

    /// Nothing to write: only answers that wait behind what was written before.
    fn has_no_records(&self) -> bool {
        self.batch.iter().all(|submission| submission.records.is_empty())
    }

    /// Writes the batch, unsynced.
    fn append(&mut self) -> Step {
        if self.has_no_records() {
            return Step::Done;
        }
        let appended = self.journal.append(self.batch.iter().map(|submission| submission.records.as_slice()));
        self.tell_room();
        match appended {
            Ok(()) => Step::Done,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.shared.exhausted.store(true, Ordering::Release);
                Step::NoRoom
            }
            Err(error) => self.fatal("write", &error),
        }
    }

    /// Grows the tree and signs: what the batch will be once it is on the device.
    fn seal(&mut self) -> Arc<Committed> {
        let head = self.shared.head();
        let position = Position(self.journal.end().position);
        for leaf in
            self.batch.iter().flat_map(|submission| &submission.records).filter_map(|record| record.leaf.as_deref())
        {
            self.growth.push(&mut self.frontier, leaf_hash(leaf));
        }
        if self.frontier.size() == head.size {
            return Arc::new(Committed { position, ..(*head).clone() });
        }
        self.shared.tree.write(&mut self.growth);
        Arc::new(sign(&self.key, &self.frontier, position))
    }

    /// Makes the batch known and lets the answers go, in order.
    fn release(&mut self, committed: Arc<Committed>) {
        self.shared.publish(Arc::clone(&committed));
        for submission in self.batch.drain(..) {
            self.shared.queued_bytes.fetch_sub(submission.bytes, Ordering::AcqRel);
            if catch_unwind(AssertUnwindSafe(|| (submission.release)(&committed))).is_err() {
                tracing::error!("an answer panicked after its records were committed");
            }
        }
    }

    /// Writes the empty batch whose header vouches for the last one.
    fn vouch(&mut self) -> Step {
        if !self.journal.is_unvouched() || self.shared.stopped.load(Ordering::Acquire) {
            return Step::Done;
        }
        match self.journal.append(std::iter::empty()) {
            Ok(()) => match self.journal.file().sync_data() {
                Ok(()) => Step::Done,
                Err(error) => self.fatal("sync", &error),
            },
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Step::NoRoom,
            Err(error) => self.fatal("write", &error),
        }
    }

    fn fatal(&mut self, what: &str, error: &io::Error) -> Step {
        self.shared.stopped.store(true, Ordering::Release);
        (self.shared.settings.on_fatal)(&Fatal { what: format!("{what} of the journal: {error}") });
        self.batch.clear();
        Step::Stopped
    }

    /// What the batch takes in the journal, with its header.
    fn batch_bytes(&self) -> u64 {
        (BATCH_HEADER + self.batch.iter().map(|submission| submission.bytes).sum::<usize>()) as u64
    }

    fn tell_room(&self) {
        self.shared.room.store(self.journal.room(), Ordering::Release);
    }

    /// Takes the outcome of preparing a segment ahead.
    fn prepared(&mut self, made: io::Result<Segment>) {
        self.shared.exhausted.store(made.is_err(), Ordering::Release);
        match made {
            Ok(segment) => self.journal.give_segment(segment),
            Err(error) => {
                tracing::warn!(%error, "no room to prepare the next journal segment: free space on the store's disk")
            }
        }
    }
}

/// The checkpoint over `frontier`, signed.
pub(crate) fn sign(key: &LedgerKey, frontier: &Frontier, position: Position) -> Committed {
    let (size, root) = (frontier.size(), frontier.root());
    let checkpoint =
        Checkpoint::new(key.public().name(), size, root).expect("the origin was checked when the ledger was opened");
    Committed { note: key.sign(&checkpoint), size, root, position }
}

/// Starts the threads: committer, sync, and the one that prepares segments.
pub(crate) fn start(committer: Committer, queue: Receiver<Job>) -> io::Result<Vec<thread::JoinHandle<()>>> {
    let (sync_tx, sync_rx) = sync_channel::<Arc<dyn VolumeFile>>(1);
    let (synced_tx, synced_rx) = sync_channel::<io::Result<()>>(1);
    let sync = thread::Builder::new().name("truc-sync".into()).spawn(move || {
        for file in sync_rx {
            if synced_tx.send(file.sync_data()).is_err() {
                return;
            }
        }
    })?;
    let (want_tx, want_rx) = sync_channel::<u32>(1);
    let (made_tx, made_rx) = sync_channel::<io::Result<Segment>>(1);
    let (volume, identity) = (Arc::clone(&committer.shared.volume), committer.journal.identity().clone());
    let prepare = thread::Builder::new().name("truc-segments".into()).spawn(move || {
        for number in want_rx {
            if made_tx.send(prepare_segment(volume.as_ref(), &identity, number)).is_err() {
                return;
            }
        }
    })?;
    let mut threads =
        Threads { committer, queue, sync: sync_tx, synced: synced_rx, want: want_tx, made: made_rx, asked: false };
    let commit = thread::Builder::new().name("truc-committer".into()).spawn(move || threads.run())?;
    Ok(vec![commit, sync, prepare])
}

fn prepare_segment(volume: &dyn Volume, identity: &Identity, number: u32) -> io::Result<Segment> {
    make_segment(volume, &identity.header(number), 0)
}

struct Threads {
    committer: Committer,
    queue: Receiver<Job>,
    sync: SyncSender<Arc<dyn VolumeFile>>,
    synced: Receiver<io::Result<()>>,
    want: SyncSender<u32>,
    made: Receiver<io::Result<Segment>>,
    /// A segment is being prepared.
    asked: bool,
}

impl Threads {
    fn run(&mut self) {
        while !self.committer.closing {
            self.prepare();
            let Some(first) = self.wait() else { break };
            self.committer.collect(Some(first), &self.queue);
            if self.commit() == Step::Stopped {
                return;
            }
        }
        // What other handles sent before they saw the end is still written; what comes later is told that the ledger is stopped.
        self.committer.shared.stopped.store(true, Ordering::Release);
        while let Ok(job) = self.queue.try_recv() {
            self.committer.collect(Some(job), &self.queue);
            if self.commit() == Step::Stopped {
                return;
            }
        }
        self.committer.shared.stopped.store(false, Ordering::Release);
        self.committer.vouch();
        self.committer.shared.stopped.store(true, Ordering::Release);
    }

    /// The next job; while there is none the last batch is vouched for, once.
    fn wait(&mut self) -> Option<Job> {
        if !self.committer.journal.is_unvouched() {
            return self.queue.recv().ok();
        }
        match self.queue.recv_timeout(IDLE) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => match self.committer.vouch() {
                Step::Stopped => None,
                Step::Done | Step::NoRoom => self.queue.recv().ok(),
            },
        }
    }

    fn commit(&mut self) -> Step {
        if self.committer.has_no_records() {
            // Whatever came before is on the device: one batch is synced before the next is collected.
            let head = self.committer.shared.head();
            self.committer.release(head);
            return Step::Done;
        }
        // Two must not make the same segment.
        if self.asked
            && self.committer.batch_bytes() > self.committer.journal.room()
            && let Ok(made) = self.made.recv()
        {
            self.asked = false;
            self.committer.prepared(made);
        }
        loop {
            match self.committer.append() {
                Step::NoRoom => thread::sleep(FULL_RETRY), // nothing is answered until there is room; the queue fills and new work hears Full
                Step::Stopped => return Step::Stopped,
                Step::Done => break,
            }
        }
        if self.sync.send(self.committer.journal.file()).is_err() {
            return self.committer.fatal("sync", &io::Error::other("the sync thread is gone"));
        }
        let committed = self.committer.seal();
        match self.synced.recv().unwrap_or_else(|_| Err(io::Error::other("the sync thread is gone"))) {
            Ok(()) => self.committer.release(committed),
            Err(error) => return self.committer.fatal("sync", &error),
        }
        Step::Done
    }

    /// Has the next segment zeroed while this one fills.
    fn prepare(&mut self) {
        if let Ok(made) = self.made.try_recv() {
            self.asked = false;
            self.committer.prepared(made);
        }
        let exhausted = self.committer.shared.exhausted.load(Ordering::Acquire);
        if let Some(number) = self.committer.journal.wants_segment().filter(|_| !self.asked)
            && (!exhausted || has_room(self.committer.shared.volume.as_ref()))
            && self.want.try_send(number).is_ok()
        {
            self.asked = true;
        }
    }
}

fn has_room(volume: &dyn Volume) -> bool {
    volume.space().is_ok_and(|space| space.free_bytes > 2 * truc_proto::limits::SEGMENT_BYTES_MIN)
}

/// Drives a ledger without threads, in steps that a simulator can cut between. The same code as behind the threads.
pub struct Driver {
    pub(crate) committer: Committer,
    pub(crate) queue: Receiver<Job>,
    sealed: Option<Arc<Committed>>,
}

impl Driver {
    pub(crate) fn new(committer: Committer, queue: Receiver<Job>) -> Self {
        Self { committer, queue, sealed: None }
    }

    /// Takes what is queued, at most one batch, and writes it without syncing. False when there was nothing, no room, or a fatal error.
    pub fn append(&mut self) -> bool {
        if self.sealed.is_some() || self.committer.shared.stopped.load(Ordering::Acquire) {
            return false;
        }
        if self.committer.batch.is_empty() {
            self.committer.collect(None, &self.queue);
        }
        if self.committer.batch.is_empty() {
            return false;
        }
        let room = has_room(self.committer.shared.volume.as_ref());
        if self.committer.shared.exhausted.load(Ordering::Acquire) && room {
            self.committer.shared.exhausted.store(false, Ordering::Release);
        }
        if self.committer.append() != Step::Done {
            return false;
        }
        self.sealed = Some(self.committer.seal());
        true
    }

    /// Syncs what [`Driver::append`] wrote. False after a fatal error.
    pub fn sync(&mut self) -> bool {
        match self.committer.journal.file().sync_data() {
            Ok(()) => true,
            Err(error) => {
                self.sealed = None;
                self.committer.fatal("sync", &error);
                false
            }
        }
    }

    /// Runs the releases of what [`Driver::sync`] made durable.
    pub fn release(&mut self) {
        if let Some(committed) = self.sealed.take() {
            self.committer.release(committed);
        }
    }

    /// All three, for one batch. False when nothing was committed.
    pub fn step(&mut self) -> bool {
        let committed = self.append() && self.sync();
        if committed {
            self.release();
        }
        committed
    }

    #[cfg(test)]
    pub(crate) fn committer_vouch(&mut self) {
        self.committer.vouch();
    }

    /// What an idle ledger does: the empty batch that vouches for the last one, and the next segment made ready.
    pub fn idle(&mut self) {
        self.committer.vouch();
        if let Some(number) = self.committer.journal.wants_segment() {
            let made =
                prepare_segment(self.committer.shared.volume.as_ref(), self.committer.journal.identity(), number);
            self.committer.prepared(made);
        }
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}
