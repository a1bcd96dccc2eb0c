//! A core on the real journal over a simulated disk: what a shell's engine does, in steps that can be cut between.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use truc_ledger::{
    Driver, Fold, FoldError, Ledger, Position, Record, Replayed, Settings, SubmitError, simdisk::SimDisk,
};

use crate::context::{Context, Event, Sabotage, ledger_key, origin, tag};

/// What a store needs of a core.
pub(crate) trait Brain {
    fn load(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError>;
    fn take(&mut self, record: Replayed<'_>) -> Result<(), FoldError>;
    fn entries(&self) -> Vec<Vec<u8>>;
    fn place(&self) -> (u64, u64);
    fn recovered(&mut self) {}
    /// What a sabotaged fold sees instead of this record.
    fn forgets(state: &[u8], sabotage: Sabotage) -> Option<Vec<u8>>;
}

struct Folding<'a, B> {
    fresh: &'a dyn Fn() -> B,
    brain: B,
    sabotage: Sabotage,
}

impl<B: Brain> Fold for Folding<'_, B> {
    fn reset(&mut self) {
        self.brain = (self.fresh)();
    }

    fn load_snapshot(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        self.brain.load(entries)
    }

    fn apply(&mut self, record: Replayed<'_>) -> Result<(), FoldError> {
        match B::forgets(record.state, self.sabotage) {
            Some(state) => self.brain.take(Replayed { state: &state, ..record }),
            None => self.brain.take(record),
        }
    }
}

/// How far the journal's batch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Idle,
    Written,
    Synced,
    /// Only with [`Sabotage::AnswerBeforeSync`].
    AnsweredUnsynced,
}

/// Effects behind a durable append, with the position before which everything is on the device.
type Released<X> = Arc<Mutex<Vec<(u64, X)>>>;

/// The journal could not take it: the process ends, as the shells' do.
#[derive(Debug)]
pub(crate) struct Dead(pub(crate) String);

/// An open store. `X`: what waits behind appends.
pub(crate) struct Store<B, X> {
    pub(crate) core: B,
    pub(crate) ledger: Ledger,
    machine: usize,
    life: u64,
    driver: Driver,
    /// A write or sync of the journal failed: the product aborts there.
    fatal: Arc<AtomicBool>,
    released: Released<X>,
    stage: Stage,
    outstanding: usize,
    scheduled: bool,
    snapshot_at: u64,
}

impl<B: Brain, X: Send + 'static> Store<B, X> {
    /// Recovers, and checks what came back against everything that ever left (I1, I5, and that snapshots change nothing, I12).
    pub(crate) fn open(
        cx: &mut Context,
        machine: usize,
        life: u64,
        disk: &SimDisk,
        fresh: &dyn Fn() -> B,
    ) -> Result<Self, Dead> {
        let mut fold = Folding { fresh, brain: fresh(), sabotage: cx.sabotage };
        let fatal = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&fatal);
        let on_fatal = Arc::new(move |_: &truc_ledger::Fatal| flag.store(true, Ordering::Relaxed));
        let settings = Settings { journal_id: Some([u8::try_from(machine).expect("few"); 16]), on_fatal };
        let volume = Arc::new(disk.clone());
        let opened = truc_ledger::open_stepped(
            volume,
            tag(&cx.map, machine),
            origin(machine),
            ledger_key(machine),
            settings,
            &mut fold,
        );
        let (ledger, driver, recovered) = opened.map_err(|error| Dead(format!("does not open: {error}")))?;
        cx.book.counts.starts += 1;
        cx.book.counts.torn += u64::from(recovered.cut_bytes > 0);
        cx.book.counts.from_snapshot += u64::from(recovered.from_snapshot.is_some());
        let mut records = Vec::new();
        ledger
            .read_on(Position(0), u64::MAX / 2, |_, leaf, record| records.push((leaf, record)))
            .map_err(|e| Dead(e.to_string()))?;
        cx.say(format_args!(
            "machine {machine} starts with {} records, {} leaves, snapshot {:?}, {} bytes cut",
            records.len(),
            recovered.next_leaf,
            recovered.from_snapshot,
            recovered.cut_bytes
        ));
        let mut core = fold.brain;
        if core.place() != (recovered.next_position.0, recovered.next_leaf) {
            cx.book.violated(format!(
                "I1: machine {machine}'s fold stands at {:?}, its journal at {recovered:?}",
                core.place()
            ));
        }
        if recovered.from_snapshot.is_some() && cx.sabotage == Sabotage::None {
            let mut whole = fresh();
            for ((leaf_index, record), position) in records.iter().zip(0..) {
                let leaf = record.leaf.as_deref();
                let replayed =
                    Replayed { position: Position(position), leaf_index: *leaf_index, state: &record.state, leaf };
                whole.take(replayed).map_err(|e| Dead(e.to_string()))?;
            }
            if whole.entries() != core.entries() {
                cx.book.violated(format!("I12: machine {machine} is another with its snapshot than without"));
            }
        }
        core.recovered();
        let records: Vec<Record> = records.into_iter().map(|(_, record)| record).collect();
        cx.book.recovered(machine, &records);
        for (size, root) in cx.book.checkpoints_of(machine) {
            if ledger.root_at(size).ok() != Some(root) {
                cx.book.violated(format!(
                    "I5: machine {machine} came back and its first {size} leaves are not those it signed"
                ));
            }
        }
        Ok(Self {
            core,
            ledger,
            machine,
            life,
            driver,
            fatal,
            released: Arc::default(),
            stage: Stage::Idle,
            outstanding: 0,
            scheduled: false,
            snapshot_at: 0,
        })
    }

    /// Hands records to the journal; `behind` comes out of [`Store::step`] once they, and all before them, are on the device.
    pub(crate) fn submit(&mut self, cx: &mut Context, records: Vec<Record>, behind: X) -> Result<(), Dead> {
        let released = Arc::clone(&self.released);
        let copy = records.clone();
        let release = Box::new(move |committed: &truc_ledger::Committed| {
            released.lock().expect("no panics here").push((committed.position.0, behind));
        });
        match self.ledger.submit(records, release) {
            Ok(()) => {
                cx.book.wrote(self.machine, &copy);
                self.outstanding += 1;
                self.schedule(cx, 1);
                Ok(())
            }
            Err(error @ (SubmitError::Busy | SubmitError::Full | SubmitError::TooLarge | SubmitError::Stopped)) => {
                Err(Dead(format!("the journal refuses: {error}")))
            }
        }
    }

    fn schedule(&mut self, cx: &mut Context, least_ms: u64) {
        if !self.scheduled {
            self.scheduled = true;
            let ms = least_ms + cx.random.below(6);
            cx.after(ms, Event::Disk { machine: self.machine, life: self.life });
        }
    }

    /// One step of the journal; gives what may now leave.
    pub(crate) fn step(&mut self, cx: &mut Context) -> Result<Vec<X>, Dead> {
        self.scheduled = false;
        match self.stage {
            Stage::Idle => {
                if cx.once_in(6) {
                    self.driver.idle();
                }
                if self.driver.append() {
                    self.stage = Stage::Written;
                    if cx.sabotage == Sabotage::AnswerBeforeSync {
                        self.driver.release();
                        self.stage = Stage::AnsweredUnsynced;
                    }
                    self.schedule(cx, 1);
                } else if self.outstanding > 0 {
                    cx.book.counts.full += 1;
                    self.schedule(cx, 200); // no room: looked at again, as the committer does
                }
            }
            Stage::Written | Stage::AnsweredUnsynced => {
                self.driver.sync();
                self.stage = if self.stage == Stage::Written { Stage::Synced } else { Stage::Idle };
                self.schedule(cx, 0);
            }
            Stage::Synced => {
                self.driver.release();
                self.stage = Stage::Idle;
            }
        }
        if self.fatal.load(Ordering::Relaxed) {
            return Err(Dead("a write or sync of the journal failed".into()));
        }
        let released = std::mem::take(&mut *self.released.lock().expect("no panics here"));
        self.outstanding -= released.len();
        if self.outstanding > 0 {
            self.schedule(cx, 1);
        }
        let mut out = Vec::with_capacity(released.len());
        for (position, behind) in released {
            cx.book.promised(self.machine, position);
            out.push(behind);
        }
        self.maybe_snapshot(cx);
        Ok(out)
    }

    /// Shells write one when nothing is outstanding.
    fn maybe_snapshot(&mut self, cx: &mut Context) {
        let (position, _) = self.core.place();
        let due = position >= self.snapshot_at + 150 && self.outstanding == 0 && self.stage == Stage::Idle;
        if due && cx.sabotage == Sabotage::None && cx.once_in(4) {
            self.snapshot_at = position;
            let written = self.ledger.snapshot(Position(position), self.core.entries().into_iter());
            cx.say(format_args!("machine {} writes a snapshot at {position}: {}", self.machine, written.is_ok()));
        }
    }
}
