//! The sled index as others hold it: a thread that follows the journal, and one that watches it. Whatever goes wrong with sled (an error, a panic, a
//! stall), the generation is left alone and a new one is built from the journal in the background.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use truc_proto::limits::{INDEX_BLOCKS_MAX, INDEX_HITS_MAX, INDEX_LOOK_UPS_MAX};

use super::{
    Common, Effort, Index, IndexError, IndexSettings, IndexState,
    postings::common,
    sled_driver::{Bad, Generation, View, find, generation_folder, generations, scan},
};
use crate::Position;

/// Without progress for this long, a working sled counts as stuck: without a record taken in, or a few keys written.
const STALL: Duration = Duration::from_secs(10);
/// Opening a large one takes seconds.
const OPEN_STALL: Duration = Duration::from_secs(60);
/// What comes within this time of a record is taken in with it, unless somebody waits for it: each turn costs the same, whether for one or for many.
const GATHER: Duration = Duration::from_millis(5);
/// After a failed build.
const RETRY: Duration = Duration::from_secs(30);

/// The index on sled 0.34.
pub struct SledIndex {
    shared: Arc<Shared>,
    watcher: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    settings: IndexSettings,
    control: Mutex<Control>,
    changed: Condvar,
    /// Present while the index answers.
    view: RwLock<Option<View>>,
    /// Grows with every bit of work done: the watcher's pulse.
    pulse: AtomicU64,
    /// Look-ups that are inside the current generation's sled, by number. One that sled never gives back costs its caller's thread: so they are
    /// counted, and what is too many is answered without sled.
    looking: Mutex<BTreeSet<u64>>,
    look_ups: AtomicU64,
}

struct Control {
    state: IndexState,
    /// The generation whose worker may act; workers of others stop.
    current: u64,
    /// The worker is inside sled.
    busy: Option<Duration>,
    grown: bool,
    /// Who waits until what is durable is taken in.
    waiting: usize,
    closing: bool,
    ended: Option<Result<(), Bad>>,
}

impl SledIndex {
    /// Opens or builds the index, in the background.
    ///
    /// # Errors
    /// When its folder cannot be made, or no thread started.
    pub fn follow(settings: IndexSettings) -> std::io::Result<Self> {
        let newest = generations(&settings.folder)?.last().copied().unwrap_or(1);
        let control = Control {
            state: IndexState::Opening,
            current: newest,
            busy: None,
            grown: true,
            waiting: 0,
            closing: false,
            ended: None,
        };
        let shared = Arc::new(Shared {
            settings,
            control: Mutex::new(control),
            changed: Condvar::new(),
            view: RwLock::new(None),
            pulse: AtomicU64::new(0),
            looking: Mutex::default(),
            look_ups: AtomicU64::new(0),
        });
        let watched = Arc::clone(&shared);
        let watcher = thread::Builder::new().name("truc-index-watch".into()).spawn(move || watch(&watched))?;
        Ok(Self { shared, watcher: Mutex::new(Some(watcher)) })
    }

    /// Waits until everything that is durable in the journal now is in the index, or it fails or is closed.
    pub fn wait_applied(&self) {
        let target = self.shared.settings.ledger.head().position;
        let behind = |control: &mut Control| match &control.state {
            IndexState::Ready { applied } => *applied < target,
            IndexState::Failed { .. } | IndexState::Closed => false,
            IndexState::Opening | IndexState::Rebuilding { .. } => true,
        };
        let waited = self.shared.changed.wait_while(self.hurried(), behind);
        waited.unwrap_or_else(PoisonError::into_inner).waiting -= 1;
    }

    fn hurried(&self) -> MutexGuard<'_, Control> {
        let mut control = self.shared.control();
        (control.grown, control.waiting) = (true, control.waiting + 1);
        self.shared.changed.notify_all();
        control
    }

    /// As [`SledIndex::wait_applied`], at most so long: an index that is being built again may take minutes. Says whether
    /// everything is in it now.
    #[must_use]
    pub fn wait_applied_within(&self, limit: Duration) -> bool {
        let target = self.shared.settings.ledger.head().position;
        let behind = |control: &mut Control| match &control.state {
            IndexState::Ready { applied } => *applied < target,
            IndexState::Opening => true,
            IndexState::Rebuilding { .. } | IndexState::Failed { .. } | IndexState::Closed => false,
        };
        let waited = self.shared.changed.wait_timeout_while(self.hurried(), limit, behind);
        let (mut control, _) = waited.unwrap_or_else(PoisonError::into_inner);
        control.waiting -= 1;
        matches!(control.state, IndexState::Ready { applied } if applied >= target)
    }

    pub(super) fn look_up<T>(&self, work: impl FnOnce(&View) -> Result<T, Bad>) -> Result<T, IndexError> {
        let shared = &self.shared;
        let unavailable = || IndexError::Unavailable { state: shared.control().state.clone() };
        let generation = shared.control().current;
        let view = shared.view.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(unavailable)?;
        let Some(number) = shared.begin_looking() else {
            std::mem::forget(view); // should it be stuck: the last one to let go would flush it
            return Err(unavailable());
        };
        let looked = catch_unwind(AssertUnwindSafe(|| work(&view)));
        shared.looking().remove(&number);
        match looked {
            Ok(Ok(found)) => Ok(found),
            failed => {
                std::mem::forget(view);
                let bad = failed.map_or(Bad::Panic, |result| result.err().unwrap_or(Bad::Panic));
                shared.end(generation, Err(bad));
                Err(unavailable())
            }
        }
    }
}

impl Index for SledIndex {
    fn find(&self, key: &[u8]) -> Result<Option<Position>, IndexError> {
        self.look_up(|view| find(&view.db, key))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Position)>, IndexError> {
        self.look_up(|view| scan(&view.db, prefix, after, limit.min(INDEX_HITS_MAX)))
    }

    fn common(&self, groups: &[Vec<u64>], below: Position, effort: Effort) -> Result<Common, IndexError> {
        let effort = Effort { hits: effort.hits.min(INDEX_HITS_MAX), blocks: effort.blocks.min(INDEX_BLOCKS_MAX) };
        self.look_up(|view| common(view, groups, below, effort))
    }

    fn state(&self) -> IndexState {
        self.shared.control().state.clone()
    }

    fn advance(&self) {
        // Who was told and has not looked since will see this, too.
        if !std::mem::replace(&mut self.shared.control().grown, true) {
            self.shared.changed.notify_all();
        }
    }

    fn close(&self) {
        self.shared.control().closing = true;
        self.shared.changed.notify_all();
        if let Some(watcher) = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = watcher.join();
        }
    }
}

impl Drop for SledIndex {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for SledIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SledIndex({})", self.state())
    }
}

impl Shared {
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looking(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_looking(&self) -> Option<u64> {
        let mut looking = self.looking();
        let number = self.look_ups.fetch_add(1, Ordering::Relaxed);
        (looking.len() < INDEX_LOOK_UPS_MAX && looking.insert(number)).then_some(number)
    }

    fn set_state(&self, generation: u64, state: IndexState) {
        let mut control = self.control();
        if control.current == generation {
            control.state = state;
            self.changed.notify_all();
        }
    }

    fn show(&self, view: Option<View>) {
        let old = std::mem::replace(&mut *self.view.write().unwrap_or_else(PoisonError::into_inner), view);
        drop(old);
    }

    /// The generation's work is over.
    fn end(&self, generation: u64, how: Result<(), Bad>) {
        let mut control = self.control();
        if control.current == generation && control.ended.is_none() {
            control.ended = Some(how);
            self.changed.notify_all();
        }
    }

    fn busy(&self, limit: Option<Duration>) {
        self.pulse.fetch_add(1, Ordering::Relaxed);
        self.control().busy = limit;
    }
}

/// One generation after the other, until closed.
fn watch(shared: &Arc<Shared>) {
    loop {
        let generation = shared.control().current;
        let worker = {
            let shared = Arc::clone(shared);
            thread::Builder::new().name("truc-index".into()).spawn(move || work(&shared, generation))
        };
        let ended = match worker {
            Ok(worker) => {
                let ended = watch_one(shared);
                if ended.is_ok() {
                    let _ = worker.join();
                }
                ended
            }
            Err(error) => Err(Bad::Io(error)),
        };
        let old = shared.view.write().unwrap_or_else(PoisonError::into_inner).take();
        let Err(bad) = ended else {
            shared.set_state(generation, IndexState::Closed);
            return;
        };
        // A failed database is never dropped: that may flush, block or panic.
        std::mem::forget(old);
        tracing::warn!(generation, why = %bad, "the look-up index is thrown away and built again from the journal");
        let failed_building = matches!(shared.control().state, IndexState::Rebuilding { .. })
            || matches!(bad, Bad::Io(_) | Bad::Journal(_));
        if failed_building {
            shared.set_state(generation, IndexState::Failed { why: bad.to_string() });
            wait_to_retry(shared);
        }
        let mut control = shared.control();
        if control.closing {
            control.state = IndexState::Closed;
            shared.changed.notify_all();
            return;
        }
        (control.current, control.busy, control.ended, control.grown) = (generation + 1, None, None, true);
        let total = shared.settings.ledger.head().position;
        control.state = IndexState::Rebuilding { applied: Position(0), total };
        shared.looking().clear();
        shared.changed.notify_all();
        drop(control);
        let _ = fs::remove_dir_all(generation_folder(&shared.settings.folder, generation));
    }
}

/// Waits for the worker's end, or for a stall.
fn watch_one(shared: &Shared) -> Result<(), Bad> {
    let mut control = shared.control();
    loop {
        if let Some(ended) = control.ended.take() {
            // Whoever ended it, its worker stops at its next step: it sees that `ended` was set, or that another generation is current.
            return ended;
        }
        let (pulse, eldest) = (shared.pulse.load(Ordering::Relaxed), shared.looking().first().copied());
        let limit = control.busy.unwrap_or(STALL);
        // Over the whole time, however often the journal grows meanwhile and wakes everybody.
        let waited = shared.changed.wait_timeout_while(control, limit, |control| control.ended.is_none());
        (control, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if control.ended.is_some() {
            continue;
        }
        let working = control.busy.is_some() && shared.pulse.load(Ordering::Relaxed) == pulse;
        let looking = eldest.is_some_and(|eldest| shared.looking().contains(&eldest));
        if working || looking {
            return Err(Bad::Stalled);
        }
    }
}

fn wait_to_retry(shared: &Shared) {
    let control = shared.control();
    let _ = shared.changed.wait_timeout_while(control, RETRY, |control| !control.closing);
}

/// The worker of one generation.
fn work(shared: &Arc<Shared>, generation: u64) {
    let how = catch_unwind(AssertUnwindSafe(|| follow(shared, generation))).unwrap_or(Err(Bad::Panic));
    shared.end(generation, how);
}

fn follow(shared: &Shared, generation: u64) -> Result<(), Bad> {
    let settings = &shared.settings;
    shared.busy(Some(OPEN_STALL));
    remove_older(settings, generation);
    let alive = || _ = shared.pulse.fetch_add(1, Ordering::Relaxed);
    let mut open = Generation::open(settings, generation, &alive)?;
    let mut building = open.applied() == Position(0) && settings.ledger.head().position > Position(0);
    if !building {
        shared.show(Some(open.view.clone()));
    }
    loop {
        shared.busy(Some(STALL));
        let advanced = open.advance(settings, &alive);
        let more = match advanced {
            Ok(more) => more,
            Err(bad) => {
                std::mem::forget(open);
                return Err(bad);
            }
        };
        shared.busy(None);
        if building && !more {
            building = false;
            shared.show(Some(open.view.clone()));
        }
        let applied = open.applied();
        let state = if building {
            IndexState::Rebuilding { applied, total: settings.ledger.head().position }
        } else {
            IndexState::Ready { applied }
        };
        shared.set_state(generation, state);
        let mut control = shared.control();
        let mut gathered = false;
        loop {
            if control.current != generation || control.ended.is_some() {
                drop(control);
                std::mem::forget(open); // given up by the watcher or by a look-up
                return Ok(());
            }
            if control.closing {
                drop(control);
                shared.show(None);
                shared.busy(Some(STALL));
                return open.close(&alive);
            }
            if more || gathered {
                break;
            }
            if control.grown {
                let alone = |control: &mut Control| {
                    let goes_on = control.current == generation && control.ended.is_none() && !control.closing;
                    goes_on && control.waiting == 0
                };
                let waited = shared.changed.wait_timeout_while(control, GATHER, alone);
                (control, _) = waited.unwrap_or_else(PoisonError::into_inner);
                (control.grown, gathered) = (false, true);
            } else {
                control = shared.changed.wait(control).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

fn remove_older(settings: &IndexSettings, generation: u64) {
    for old in generations(&settings.folder).unwrap_or_default().into_iter().filter(|old| *old < generation) {
        let _ = fs::remove_dir_all(generation_folder(&settings.folder, old));
    }
}
