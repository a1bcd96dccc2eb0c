//! The thread that owns the core. Inputs come in one after the other; records go to the journal; what the core wants done
//! behind them is released by the journal, in order, once they are on the device (I1).

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, warn};
use truc_ledger::{Committed, Ledger, Position, Record, SubmitError};
use truc_proto::{
    Timestamp,
    limits::{COMMIT_QUEUE_BYTES_MAX, COMMIT_QUEUE_MAX, SUBMISSION_RECORDS_BYTES_MAX, SUBMISSION_RECORDS_MAX},
};

use super::{clock, lock};
use crate::core::{Answer, Core, Effect, Input, Token};

/// Most inputs that wait for the core.
const INPUTS_MAX: usize = 4_096;
/// A snapshot is written after so many records.
const SNAPSHOT_EVERY_RECORDS: u64 = 100_000;

/// Looks at the core, and gives back what hands the answer over.
type Question = Box<dyn FnOnce(&Core) -> Box<dyn FnOnce() + Send> + Send>;

enum Message {
    /// And a look at the core right behind it, where somebody wants it.
    Input(Box<Input>, Option<Question>),
    Ask(Question),
    Stop,
}

/// A handle to the core; clones share it.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    inputs: mpsc::Sender<Message>,
    waiting: Mutex<HashMap<Token, oneshot::Sender<Answer>>>,
    tokens: AtomicU64,
    due: watch::Receiver<Option<Timestamp>>,
    full: Arc<AtomicBool>,
    grown: watch::Receiver<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The node stops, or its journal cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping; try again when it is back")]
pub struct Stopped;

impl Engine {
    /// Starts the thread. Effects other than answers go to `effects`; `on_dead` is called when the journal refuses.
    pub fn start(
        core: Core,
        ledger: Ledger,
        effects: mpsc::UnboundedSender<Effect>,
        on_dead: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
        let (due_sender, due) = watch::channel(core.next_due());
        let full = Arc::new(AtomicBool::new(core.is_full()));
        let (grown, growing) = watch::channel(());
        let shared = Arc::new(Shared {
            inputs,
            waiting: Mutex::default(),
            tokens: AtomicU64::new(0),
            due,
            full: Arc::clone(&full),
            grown: growing,
            thread: Mutex::default(),
        });
        let mut run = Run {
            core,
            ledger,
            effects,
            due: due_sender,
            full,
            grown,
            engine: Arc::downgrade(&shared),
            flow: Arc::default(),
            on_dead: Box::new(on_dead),
            snapshot_at: None,
        };
        let thread = std::thread::Builder::new().name("core".into()).spawn(move || run.run(receiver))?;
        *lock(&shared.thread) = Some(thread);
        Ok(Self(shared))
    }

    /// Changes whenever the journal has grown on the device.
    #[must_use]
    pub fn grown(&self) -> watch::Receiver<()> {
        self.0.grown.clone()
    }

    /// Hands the core something that happened.
    ///
    /// # Errors
    /// When the node stops.
    pub async fn tell(&self, input: Input) -> Result<(), Stopped> {
        self.0.inputs.send(Message::Input(Box::new(input), None)).await.map_err(|_| Stopped)
    }

    /// As [`Engine::tell`], from a thread that may block.
    ///
    /// # Errors
    /// When the node stops.
    pub fn tell_blocking(&self, input: Input) -> Result<(), Stopped> {
        self.0.inputs.blocking_send(Message::Input(Box::new(input), None)).map_err(|_| Stopped)
    }

    /// Hands the core a request, and waits for its answer, which comes once everything it rests on is on the device.
    ///
    /// # Errors
    /// When the node stops.
    pub async fn call(&self, input: impl FnOnce(Option<Token>) -> Input) -> Result<Answer, Stopped> {
        let token = Token(self.0.tokens.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        lock(&self.0.waiting).insert(token, sender);
        if let Err(stopped) = self.tell(input(Some(token))).await {
            lock(&self.0.waiting).remove(&token);
            return Err(stopped);
        }
        answer.await.map_err(|_| Stopped)
    }

    /// As [`Engine::call`], with what `question` sees right behind the request; both come once all of it is on the device.
    ///
    /// # Errors
    /// When the node stops.
    pub async fn call_and_see<T: Send + 'static>(
        &self,
        input: impl FnOnce(Option<Token>) -> Input,
        question: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<(Answer, T), Stopped> {
        let token = Token(self.0.tokens.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        lock(&self.0.waiting).insert(token, sender);
        let (sender, seen) = oneshot::channel();
        let message = Message::Input(Box::new(input(Some(token))), Some(ask(question, sender)));
        if self.0.inputs.send(message).await.is_err() {
            lock(&self.0.waiting).remove(&token);
            return Err(Stopped);
        }
        Ok((answer.await.map_err(|_| Stopped)?, seen.await.map_err(|_| Stopped)?))
    }

    /// Whether as much is open as may be; what it was when the core last decided something.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.full.load(Ordering::Acquire)
    }

    /// Reads from the core. The answer comes once everything that it shows is on the device (I1).
    ///
    /// # Errors
    /// When the node stops.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (sender, answer) = oneshot::channel();
        self.0.inputs.send(Message::Ask(ask(question, sender))).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn due(&self) -> watch::Receiver<Option<Timestamp>> {
        self.0.due.clone()
    }

    /// Answers a caller.
    pub fn answer(&self, token: Token, answer: Answer) {
        if let Some(sender) = lock(&self.0.waiting).remove(&token) {
            let _ = sender.send(answer); // the caller may be gone
        }
    }

    /// Ends the thread after what was told before, with a snapshot. Blocks.
    pub fn stop(&self) {
        let _ = self.0.inputs.blocking_send(Message::Stop);
        let thread = lock(&self.0.thread).take();
        if let Some(Err(_)) = thread.map(JoinHandle::join) {
            error!("the core's thread had panicked");
        }
        lock(&self.0.waiting).clear();
    }
}

fn ask<T: Send + 'static>(question: impl FnOnce(&Core) -> T + Send + 'static, sender: oneshot::Sender<T>) -> Question {
    Box::new(move |core| {
        let seen = question(core);
        Box::new(move || _ = sender.send(seen)) // the asker may be gone
    })
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

/// How much the journal has been given and not yet put on the device; the core waits instead of being refused.
#[derive(Default)]
struct Flow {
    outstanding: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Flow {
    fn enter(&self, bytes: usize) {
        let mut outstanding = lock(&self.outstanding);
        while outstanding.0 > 0
            && (outstanding.0 >= COMMIT_QUEUE_MAX / 2 || outstanding.1 + bytes > COMMIT_QUEUE_BYTES_MAX / 2)
        {
            outstanding = self.changed.wait(outstanding).unwrap_or_else(PoisonError::into_inner);
        }
        outstanding.0 += 1;
        outstanding.1 += bytes;
    }

    fn is_idle(&self) -> bool {
        lock(&self.outstanding).0 == 0
    }

    fn leave(&self, bytes: usize) {
        let mut outstanding = lock(&self.outstanding);
        outstanding.0 = outstanding.0.saturating_sub(1);
        outstanding.1 = outstanding.1.saturating_sub(bytes);
        self.changed.notify_all();
    }

    fn drain(&self) {
        let mut outstanding = lock(&self.outstanding);
        while outstanding.0 > 0 {
            outstanding = self.changed.wait(outstanding).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Run {
    core: Core,
    ledger: Ledger,
    effects: mpsc::UnboundedSender<Effect>,
    due: watch::Sender<Option<Timestamp>>,
    full: Arc<AtomicBool>,
    grown: watch::Sender<()>,
    engine: std::sync::Weak<Shared>,
    flow: Arc<Flow>,
    on_dead: Box<dyn Fn() + Send>,
    snapshot_at: Option<u64>,
}

impl Run {
    fn run(&mut self, mut inputs: mpsc::Receiver<Message>) {
        while let Some(message) = inputs.blocking_recv() {
            match message {
                Message::Stop => break,
                Message::Ask(question) => {
                    let hand_over = question(&self.core);
                    if let Err(error) = self.behind_everything(hand_over) {
                        error!(%error, "the journal refused a barrier; the node stops");
                        (self.on_dead)();
                        return;
                    }
                }
                Message::Input(input, question) => {
                    let effects = self.core.handle(clock::now(), *input);
                    let hand_over = question.map(|question| question(&self.core));
                    let carried = self.carry_out(effects).and_then(|()| match hand_over {
                        Some(hand_over) => self.behind_everything(hand_over),
                        None => Ok(()),
                    });
                    if let Err(error) = carried {
                        // The core is ahead of the journal: only a restart, which folds the journal, makes them one again.
                        error!(%error, "the journal refused records; the node stops");
                        (self.on_dead)();
                        return;
                    }
                    self.after();
                }
            }
        }
        self.flow.drain();
        self.write_snapshot();
    }

    /// The first effect is the append; what follows is released behind it. Large steps are cut to what the journal takes at once.
    fn carry_out(&self, effects: Vec<Effect>) -> Result<(), SubmitError> {
        let mut effects = effects.into_iter();
        let Some(Effect::Append(records)) = effects.next() else { return Ok(()) };
        let rest: Vec<Effect> = effects.collect();
        let mut parts = split(records).into_iter().peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_some() {
                self.submit(part, Vec::new())?;
            } else {
                return self.submit(part, rest);
            }
        }
        Ok(())
    }

    fn submit(&self, records: Vec<Record>, effects: Vec<Effect>) -> Result<(), SubmitError> {
        let bytes = bytes_of(&records);
        self.flow.enter(bytes);
        let (flow, sink, engine) = (Arc::clone(&self.flow), self.effects.clone(), self.engine.clone());
        let grown = self.grown.clone();
        let release = Box::new(move |_: &Committed| {
            flow.leave(bytes);
            grown.send_replace(());
            for effect in effects {
                match effect {
                    Effect::Reply { token, answer } => {
                        if let Some(shared) = engine.upgrade() {
                            Engine(shared).answer(token, answer);
                        }
                    }
                    Effect::Broken(what) => error!(what, "a defect of this program; please report it"),
                    other => _ = sink.send(other), // closed only when the node stops
                }
            }
        });
        self.ledger.submit(records, release).inspect_err(|_| self.flow.leave(bytes))
    }

    /// What was read may rest on records that are still on their way to the device.
    fn behind_everything(&self, hand_over: Box<dyn FnOnce() + Send>) -> Result<(), SubmitError> {
        if self.flow.is_idle() {
            hand_over();
            return Ok(());
        }
        self.flow.enter(0);
        let flow = Arc::clone(&self.flow);
        let release = Box::new(move |_: &Committed| {
            flow.leave(0);
            hand_over();
        });
        self.ledger.submit(Vec::new(), release).inspect_err(|_| self.flow.leave(0))
    }

    fn after(&mut self) {
        let due = self.core.next_due();
        self.full.store(self.core.is_full(), Ordering::Release);
        self.due.send_if_modified(|before| std::mem::replace(before, due) != due);
        let position = self.core.next_position();
        let last = *self.snapshot_at.get_or_insert(position);
        if position.saturating_sub(last) >= SNAPSHOT_EVERY_RECORDS {
            self.flow.drain();
            self.write_snapshot();
        }
    }

    fn write_snapshot(&mut self) {
        let position = self.core.next_position();
        self.snapshot_at = Some(position);
        if let Err(error) = self.ledger.snapshot(Position(position), self.core.snapshot()) {
            // Only the next start takes longer.
            warn!(error = %error, "no snapshot written");
        }
    }
}

fn split(records: Vec<Record>) -> Vec<Vec<Record>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for record in records {
        let size = bytes_of(std::slice::from_ref(&record));
        let last = parts.last().map_or(0, Vec::len);
        if last > 0 && (last >= SUBMISSION_RECORDS_MAX / 2 || bytes + size > SUBMISSION_RECORDS_BYTES_MAX / 2) {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.push(record);
        }
    }
    parts
}

fn bytes_of(records: &[Record]) -> usize {
    records.iter().map(|record| record.state.len() + record.leaf.as_ref().map_or(0, Vec::len) + 64).sum()
}
