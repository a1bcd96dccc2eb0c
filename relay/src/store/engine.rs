//! The thread that owns the core. Questions come in over a bounded queue; answers leave from the journal's committer when everything before them
//! is on the device.

use std::{
    collections::HashSet,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use tokio::sync::oneshot;
use truc_ledger::{Committed, Ledger, Position, Record, SpaceLeft};
use truc_proto::{Digest, Timestamp, limits::COMMIT_QUEUE_MAX};

use super::StoreError;
use crate::core::{Core, Effect, Input, Reply};

/// Submissions that may wait for the device before the core pauses. Well below the ledger's own bound, so that it never refuses.
const IN_FLIGHT_MAX: usize = COMMIT_QUEUE_MAX / 2;
/// Bytes that may wait for the device before the core pauses.
const IN_FLIGHT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long the core sleeps when nothing is due, at most: a clock that was set back must not put expiry off for ever.
const NAP_MAX: Duration = Duration::from_secs(60);

/// What the thread is asked.
pub(super) enum Message {
    Ask(Input, oneshot::Sender<Result<Reply, StoreError>>),
    /// Which payloads must stay.
    Payloads(oneshot::Sender<HashSet<Digest>>),
    /// Must this payload stay?
    NeedsPayload(Digest, oneshot::Sender<bool>),
    /// Write a snapshot when the journal has caught up.
    Snapshot,
    /// Finish: a last snapshot, then the thread ends.
    Stop,
}

/// What happens outside core and journal.
pub(super) trait Outside: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
    /// Runs on the committer's thread; must not block.
    fn effect(&self, effect: Effect);
    /// The core stopped without being told to.
    fn died(&self);
    /// Runs on the core's thread after every turn.
    fn turned(&self, core: &Core);
}

pub(super) struct Engine<O> {
    pub(super) core: Core,
    pub(super) ledger: Ledger,
    pub(super) outside: Arc<O>,
    pub(super) in_flight: Arc<InFlight>,
    /// Records between two snapshots.
    pub(super) snapshot_every: u64,
    pub(super) last_snapshot: Position,
}

impl<O: Outside> Engine<O> {
    /// Runs until told to stop, or until the journal refuses: then memory is ahead of the device and nothing more may be answered.
    pub(super) fn run(mut self, questions: &Receiver<Message>) {
        loop {
            let message = questions.recv_timeout(self.nap());
            let alive = match message {
                Ok(Message::Ask(input, answer)) => self.ask(input, answer),
                Ok(Message::Payloads(answer)) => {
                    let _ = answer.send(self.core.payloads().collect());
                    true
                }
                Ok(Message::NeedsPayload(payload, answer)) => {
                    let _ = answer.send(self.core.needs_payload(&payload));
                    true
                }
                Ok(Message::Snapshot) => self.snapshot(),
                Err(RecvTimeoutError::Timeout) => self.turn(Input::Tick, None),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            };
            if !alive {
                tracing::error!(
                    "the journal took no more records: the relay stops answering; make room or repair the disk and start it again"
                );
                self.in_flight.wait_until_empty();
                self.outside.died();
                return;
            }
            self.outside.turned(&self.core);
            if self.core.next_position().0 >= self.last_snapshot.0 + self.snapshot_every && !self.snapshot() {
                self.outside.died();
                return;
            }
        }
        self.in_flight.wait_until_empty();
        self.write_snapshot();
    }

    fn nap(&self) -> Duration {
        let now = self.outside.now();
        self.core.next_due().map_or(NAP_MAX, |due| due.since(now).min(NAP_MAX))
    }

    fn ask(&mut self, input: Input, answer: oneshot::Sender<Result<Reply, StoreError>>) -> bool {
        // New work only: evidence and acknowledgements of the old still go.
        if matches!(input, Input::Offered(_)) && self.ledger.space() == SpaceLeft::Low {
            let _ = answer.send(Err(StoreError::Full));
            return true;
        }
        self.turn(input, Some(answer))
    }

    fn turn(&mut self, input: Input, answer: Option<oneshot::Sender<Result<Reply, StoreError>>>) -> bool {
        let mut records = Vec::new();
        let (mut reply, mut after) = (None, Vec::new());
        for effect in self.core.handle(self.outside.now(), input) {
            match effect {
                Effect::Append(appended) => records = appended,
                Effect::Reply(given) => reply = Some(given),
                other => after.push(other),
            }
        }
        let outside = Arc::clone(&self.outside);
        let release = move || {
            for effect in after {
                outside.effect(effect);
            }
            if let (Some(answer), Some(reply)) = (answer, reply) {
                // Who asked may be gone; what was asked is done all the same.
                let _ = answer.send(Ok(reply));
            }
        };
        self.submit(records, release)
    }

    fn submit(&self, records: Vec<Record>, release: impl FnOnce() + Send + 'static) -> bool {
        let bytes = records.iter().map(|record| record.state.len() + record.leaf.as_ref().map_or(0, Vec::len)).sum();
        let held = InFlight::enter(&self.in_flight, bytes, records.is_empty());
        let Some(held) = held else {
            // Nothing is on its way to the device, and nothing goes there now.
            release();
            return true;
        };
        let release = move |_: &Committed| {
            release();
            drop(held);
        };
        self.ledger.submit(records, Box::new(release)).is_ok()
    }

    fn snapshot(&mut self) -> bool {
        // The state is taken now; it is written when the journal has everything that stands in it.
        let (at, entries) = (self.core.next_position(), self.core.snapshot());
        self.last_snapshot = at;
        let ledger = self.ledger.clone();
        self.submit(Vec::new(), move || {
            let write = move || match ledger.snapshot(at, entries.into_iter()) {
                Ok(()) => tracing::info!(position = at.0, "snapshot written"),
                Err(error) => tracing::warn!(%error, "no snapshot; the next start only takes longer"),
            };
            if let Err(error) = std::thread::Builder::new().name("relay-snapshot".into()).spawn(write) {
                tracing::warn!(%error, "no thread for the snapshot; the next start only takes longer");
            }
        })
    }

    fn write_snapshot(&self) {
        let at = self.core.next_position();
        if at == self.last_snapshot {
            return;
        }
        if let Err(error) = self.ledger.snapshot(at, self.core.snapshot().into_iter()) {
            tracing::warn!(%error, "no snapshot at the stop; the next start only takes longer");
        }
    }
}

/// Counts what is on its way to the device.
#[derive(Default)]
pub(super) struct InFlight {
    counts: Mutex<(usize, usize)>,
    less: Condvar,
}

/// One submission on its way.
struct Held {
    counter: Arc<InFlight>,
    bytes: usize,
}

impl InFlight {
    /// Waits for room. Gives nothing when there is nothing to write and nothing to wait behind.
    fn enter(counter: &Arc<Self>, bytes: usize, empty: bool) -> Option<Held> {
        let mut counts = counter.lock();
        if empty && counts.0 == 0 {
            return None;
        }
        while counts.0 >= IN_FLIGHT_MAX || (counts.0 > 0 && counts.1 + bytes > IN_FLIGHT_BYTES_MAX) {
            counts = counter.less.wait(counts).unwrap_or_else(PoisonError::into_inner);
        }
        counts.0 += 1;
        counts.1 += bytes;
        Some(Held { counter: Arc::clone(counter), bytes })
    }

    fn wait_until_empty(&self) {
        let mut counts = self.lock();
        while counts.0 > 0 {
            counts = self.less.wait(counts).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, (usize, usize)> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.counter.lock();
        counts.0 -= 1;
        counts.1 -= self.bytes;
        self.counter.less.notify_all();
    }
}
