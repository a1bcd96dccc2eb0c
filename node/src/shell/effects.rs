//! Carries out what the core wants done, each in a task of its own; and the timer that wakes the core.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};
use truc_proto::{AgencyId, Digest, Timestamp, relay_v1};

use super::{Shell, clock, offer, push, take};
use crate::{
    core::{Effect, Input, Key},
    pipeline::{Composed, PipelineError},
};

/// Most deliveries acknowledged in one call.
const ACKNOWLEDGED_TOGETHER_MAX: usize = 1_000;
/// Most envelopes in one Reconcile call.
const RECONCILE_KEYS_MAX: usize = 1_000;

/// Runs until the core's thread ends.
pub async fn run_effects(shell: Arc<Shell>, mut effects: mpsc::UnboundedReceiver<Effect>) {
    let (acknowledgements, to_acknowledge) = mpsc::unbounded_channel();
    tokio::spawn(acknowledge(Arc::clone(&shell), to_acknowledge));
    while let Some(effect) = effects.recv().await {
        shell.archive.advance(); // every effect stands behind records
        let shell = Arc::clone(&shell);
        match effect {
            Effect::Append(_) | Effect::Reply { .. } | Effect::Broken(_) => {} // the engine's
            Effect::Offer { key, body, index } => _ = tokio::spawn(offer::offer(shell, key, body, index)),
            Effect::Pass { key, recipient, body, since } => {
                _ = tokio::spawn(crate::gateway::pass(shell, key, recipient, body, since));
            }
            Effect::Take { key } => _ = tokio::spawn(take::take(shell, key)),
            Effect::Open { key, body, acceptances } => {
                // Its record is on the device now: the blob is known to the sweep.
                drop(super::lock(&shell.fresh_blobs).remove(&key));
                _ = tokio::spawn(take::open(shell, key, body, acceptances));
            }
            Effect::Push { leaves, finals } => _ = tokio::spawn(push::push(shell, leaves, finals)),
            Effect::Sign => shell.sign.notify_one(),
            Effect::Acknowledge(numbers) => _ = acknowledgements.send(numbers), // closed only when the node stops
            Effect::Reconcile(keys) => _ = tokio::spawn(reconcile(shell, keys)),
            Effect::Arrived { key, code } => {
                info!(envelope = %key.envelope, sender = %key.sender, recipient = %code, "consigned");
                let _ = shell.arrivals.send((key, code)); // nobody may be watching
            }
            Effect::Reseal { key, body, recipient, to } => {
                _ = tokio::spawn(reseal(shell, key, body, recipient, to));
            }
            Effect::Divide { key, body, recipients } => _ = tokio::spawn(divide(shell, key, body, recipients)),
            Effect::FinishHeld { key, body, recipients } => {
                _ = tokio::spawn(finish_held(shell, key, body, recipients));
            }
            Effect::Closed { payload: Some(payload), .. } => _ = tokio::spawn(drop_payload(shell, payload)),
            Effect::Closed { payload: None, .. } => {}
        }
    }
}

/// Longest sleep of the timer: a clock that was set back must not put off for ever what is due.
const NAP_MAX: Duration = Duration::from_secs(60);
/// After a tick that moved nothing the timer looks again.
const AGAIN: Duration = Duration::from_secs(1);

/// Wakes the core at the next due moment; sleeps as long as nothing is.
pub async fn run_timer(shell: Arc<Shell>) {
    let tick = || {
        let engine = shell.engine.clone();
        async move { engine.tell(Input::Tick).await.is_ok() }
    };
    keep_time(shell.engine.due(), shell.stopping.clone(), clock::now, tick).await;
}

/// Calls `tick` when `now` has reached what is due, until that fails or the node stops. Sleeps by the machine's own count, `now` may jump.
async fn keep_time<F: Future<Output = bool>>(
    mut due: watch::Receiver<Option<Timestamp>>,
    mut stopping: watch::Receiver<bool>,
    now: impl Fn() -> Timestamp,
    tick: impl Fn() -> F,
) {
    while !*stopping.borrow() {
        let next = *due.borrow_and_update();
        let sleep = next.map_or(NAP_MAX, |at| at.since(now()).min(NAP_MAX));
        tokio::select! {
            () = tokio::time::sleep(sleep) => {
                if next.is_none_or(|at| at > now()) {
                    continue; // the end of a nap, or the clock was set back
                }
                if !tick().await {
                    return;
                }
                tokio::select! {
                    changed = due.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(AGAIN) => {}
                    _ = stopping.changed() => {}
                }
            }
            changed = due.changed() => if changed.is_err() { return },
            _ = stopping.changed() => {}
        }
    }
}

/// One call at a time; what comes to the device meanwhile goes with the next.
async fn acknowledge(shell: Arc<Shell>, mut waiting: mpsc::UnboundedReceiver<Vec<u64>>) {
    let mut together = Vec::new();
    while waiting.recv_many(&mut together, ACKNOWLEDGED_TOGETHER_MAX).await > 0 {
        let numbers: Vec<u64> = together.drain(..).flatten().collect();
        for numbers in numbers.chunks(ACKNOWLEDGED_TOGETHER_MAX) {
            let Some(mut relay) = shell.relay() else { break }; // it comes again, and is known then
            let request = relay_v1::AcknowledgeEvidenceRequest { numbers: numbers.to_vec() };
            if let Err(status) = relay.acknowledge_evidence(request).await {
                warn!(%status, "evidence not acknowledged");
            }
        }
    }
}

async fn reconcile(shell: Arc<Shell>, keys: Vec<Key>) {
    for part in keys.chunks(RECONCILE_KEYS_MAX) {
        let Some(mut relay) = shell.relay() else { return };
        let open = part.iter().map(to_wire).collect();
        match relay.reconcile(relay_v1::ReconcileRequest { open }).await {
            Ok(reply) => {
                let lost: Vec<Key> = reply.into_inner().unknown.iter().filter_map(from_wire).collect();
                if !lost.is_empty() {
                    warn!(count = lost.len(), "the relay lost envelopes; they are uploaded again");
                    let _ = shell.engine.tell(Input::LostByRelay(lost)).await;
                }
            }
            Err(status) => return warn!(%status, "open envelopes not compared with the relay"),
        }
    }
}

fn to_wire(key: &Key) -> relay_v1::EnvelopeKey {
    relay_v1::EnvelopeKey { sender: key.sender.to_string(), envelope: key.envelope.to_string() }
}

fn from_wire(key: &relay_v1::EnvelopeKey) -> Option<Key> {
    Some(Key { sender: key.sender.parse().ok()?, envelope: key.envelope.parse().ok()? })
}

async fn reseal(shell: Arc<Shell>, key: Key, body: u64, recipient: AgencyId, to: AgencyId) {
    let failed = |error: String| Input::ResealFailed { key: key.clone(), recipient: recipient.clone(), error };
    let Some(directory) = shell.directory() else {
        let _ = shell.engine.tell(failed("there is no directory yet".into())).await;
        return;
    };
    let (bodies, pipeline) = (shell.bodies(), Arc::clone(&shell.pipeline));
    let (old, new) = (recipient.clone(), to.clone());
    let work = move || {
        let outgoing = bodies.outgoing(body).map_err(|error| error.to_string())?;
        pipeline.reseal(&outgoing, &old, &new, &directory, clock::moment()).map_err(|error| error.to_string())
    };
    let input = match shell.work("sealing anew", work).await {
        Ok(Ok(Composed::Sealed(sealed))) => {
            info!(envelope = %key.envelope, %recipient, %to, "sealed anew for a recipient that failed");
            Input::Prepared { sealed, reply: None }
        }
        Ok(Ok(Composed::Held(_))) => failed("the signing key is away, or the directory does not allow sending".into()),
        Ok(Err(error)) => failed(error),
        Err(error) => failed(error.to_string()),
    };
    let _ = shell.engine.tell(input).await;
}

async fn divide(shell: Arc<Shell>, key: Key, body: u64, recipients: Vec<AgencyId>) {
    let failed = |error: String| Input::DivideFailed { key: key.clone(), error };
    let Some(directory) = shell.directory() else {
        let _ = shell.engine.tell(failed("there is no directory yet".into())).await;
        return;
    };
    let (bodies, pipeline) = (shell.bodies(), Arc::clone(&shell.pipeline));
    let count = recipients.len();
    let work = move || {
        let outgoing = bodies.outgoing(body).map_err(|error| error.to_string())?;
        pipeline.divide(&outgoing, &recipients, &directory, clock::moment()).map_err(|error| error.to_string())
    };
    let input = match shell.work("sealing for the recipients that are left", work).await {
        Ok(Ok(Composed::Sealed(sealed))) => {
            info!(envelope = %key.envelope, count, "sealed anew for the recipients that are left");
            Input::Prepared { sealed, reply: None }
        }
        Ok(Ok(Composed::Held(_))) => failed("the signing key is away, or the directory does not allow sending".into()),
        Ok(Err(error)) => failed(error),
        Err(error) => failed(error.to_string()),
    };
    let _ = shell.engine.tell(input).await;
}

async fn finish_held(shell: Arc<Shell>, key: Key, body: u64, recipients: Vec<AgencyId>) {
    let failed = |error: String| Input::HeldFailed { key: key.clone(), error, jitter: clock::jitter() };
    let Some(directory) = shell.directory() else {
        let _ = shell.engine.tell(failed("there is no directory yet".into())).await;
        return;
    };
    let (bodies, pipeline) = (shell.bodies(), Arc::clone(&shell.pipeline));
    let work = move || {
        let held = bodies.held(body).map_err(|error| error.to_string())?;
        pipeline.finish(&held, &recipients, &directory, clock::now()).map_err(|error: PipelineError| error.to_string())
    };
    let input = match shell.work("sealing what was held", work).await {
        Ok(Ok(sealed)) => Input::Prepared { sealed: Box::new(sealed), reply: None },
        Ok(Err(error)) => failed(error),
        Err(error) => failed(error.to_string()),
    };
    let _ = shell.engine.tell(input).await;
}

/// The exact bytes were kept until every recipient was settled; now they may go.
async fn drop_payload(shell: Arc<Shell>, payload: Digest) {
    let blobs = Arc::clone(&shell.blobs);
    let removed = shell.work("removing a payload", move || blobs.remove(&payload)).await;
    if !matches!(removed, Ok(Ok(()))) {
        error!(%payload, "a payload could not be removed; the next sweep takes it");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// A clock that was set back, and a core that the first tick came too early for: both get another one.
    #[tokio::test]
    async fn what_is_due_is_due_although_the_clock_was_set_back_and_a_tick_moved_nothing() {
        let at = |ms| Timestamp::from_unix_ms(1_800_000_000_000 + ms);
        let (_due, receiver) = watch::channel(Some(at(20)));
        let (_stop, stopping) = watch::channel(false);
        // Set back while the timer sleeps; from then on it runs as fast as it is looked at.
        let looks = AtomicI64::new(0);
        let now = || match looks.fetch_add(1, Ordering::SeqCst) {
            0 => at(0),
            look => at((look - 20) * 2),
        };
        let (ticks, mut ticked) = mpsc::unbounded_channel();
        let tick = || std::future::ready(ticks.send(()).is_ok());
        let timer = keep_time(receiver, stopping, now, tick);
        tokio::select! {
            () = timer => panic!("the timer ended"),
            () = async {
                for _ in 0..2 {
                    truc_certs_dev::wait::in_time("a tick", ticked.recv()).await.unwrap();
                }
            } => {}
        }
        assert!(looks.load(Ordering::SeqCst) > 20, "no tick before the clock had come so far again");
    }
}
