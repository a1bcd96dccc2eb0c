//! The connection to the relay: dial with back-off, Hello, then what the relay pushes, until it breaks.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use tracing::{info, warn};
use truc_evidence::{EvidenceError, verify_batch};
use truc_link::ConnectSettings;
use truc_proto::{Actor, limits::EVIDENCE_LATER_MAX, relay_v1, relay_v1::watch_event::Event};

use super::{Relay, Shell, clock, peer::PeerError};
use crate::core::{Alarm, Input, Key, ReceivedItem, ReceivedLeaves, Waiting};

/// Back-off of the connection, first and longest.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// Largest message taken from the relay: a lease with 1,000 key hashes, an evidence batch, a run of directory entries.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Between two checks of the checkpoints seen under evidence.
const PROVE_EVERY: Duration = Duration::from_secs(60);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("the relay cannot be reached")]
    Connect(#[from] truc_link::ConnectError),
    #[error("the relay broke off")]
    Call(#[from] tonic::Status),
    #[error(
        "the key of the TLS certificate was declared stolen or lost, and there is no other yet: `truc cert status` says what to do"
    )]
    OwnKey,
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Directory(#[from] super::directory::TakeDirectoryError),
    #[error("the relay has no directory yet, nor has this node: the axis operator must publish one")]
    NoDirectory,
    #[error("the relay calls itself {found}, not {expected}: check `relay` in the settings")]
    OtherRelay { found: String, expected: String },
    #[error(transparent)]
    Stopped(#[from] super::engine::Stopped),
    #[error(transparent)]
    Work(#[from] super::WorkFailed),
}

/// Runs until the node stops.
pub async fn run_link(shell: Arc<Shell>) {
    let mut stopping = shell.stopping.clone();
    let mut keys = shell.keys_changed.subscribe();
    let mut wait = RECONNECT.0;
    while !*stopping.borrow() {
        let mut greeted = false;
        let ended = tokio::select! {
            ended = session(&shell, &mut greeted) => ended,
            _ = stopping.changed() => Ok(()),
        };
        shell.relay.send_replace(None);
        if shell.engine.tell(Input::Disconnected).await.is_err() {
            return;
        }
        let why = ended.err().map_or("the relay closed the connection".into(), |error| crate::chain(&error));
        shell.relay_state.store(Arc::new(why.clone()));
        say_whether_the_key_is_away(&shell).await;
        if *stopping.borrow() {
            return;
        }
        warn!(relay = %shell.relay_address, why, "not connected");
        if greeted {
            wait = RECONNECT.0;
        }
        let half = wait / 2;
        let jitter = half.mul_f64(f64::from(clock::jitter()) / f64::from(u32::MAX));
        tokio::select! {
            () = tokio::time::sleep(half + jitter) => wait = (wait * 2).min(RECONNECT.1),
            // With another key there is no reason to wait. The sender is the shell's own, and here.
            _ = keys.changed() => wait = RECONNECT.0,
            _ = stopping.changed() => return,
        }
    }
}

async fn session(shell: &Arc<Shell>, greeted: &mut bool) -> Result<(), LinkError> {
    if shell.is_declared(&shell.link.fingerprint()) {
        return Err(LinkError::OwnKey);
    }
    let connected = shell.link.connect(&shell.relay_address, &shell.relay_id, ConnectSettings::default()).await?;
    let mut relay = Relay::new(connected.channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    hello(shell, &mut relay).await?;
    let mut watch = relay.watch(relay_v1::WatchRequest {}).await?.into_inner();
    *greeted = true;
    info!(relay = %shell.relay_id, address = %shell.relay_address, "connected");
    shell.relay_state.store(Arc::new(format!("connected to {} at {}", shell.relay_id, shell.relay_address)));
    shell.witness_is_back();
    shell.relay.send_replace(Some(relay.clone()));
    shell.engine.tell(Input::Connected).await?;
    say_whether_the_key_is_away(shell).await;
    note_own_checkpoint(shell).await;
    let mut prove = tokio::time::interval(PROVE_EVERY);
    prove.tick().await; // the first one is at once
    let mut later = Later::default();
    loop {
        tokio::select! {
            event = watch.message() => match event? {
                Some(event) => take_event(shell, &mut relay, event, &mut later).await?,
                None => return Ok(()),
            },
            _ = prove.tick() => {
                look_again(shell, &mut relay, &mut later).await?;
                if later.asks_again() {
                    return Ok(());
                }
                if let Some(directory) = shell.directory() {
                    shell.prove_seen(&mut relay, &directory).await?;
                    shell.prove_own_history(&mut relay).await?;
                    note_own_checkpoint(shell).await;
                }
                shell.check_freshness().await?;
            }
        }
    }
}

/// A TLS key in a token may not sign: an alarm until it does.
async fn say_whether_the_key_is_away(shell: &Arc<Shell>) {
    let text = shell.link.key_fault().map(|fault| format!("no connection to the relay can be made: {fault}"));
    let _ = shell.engine.tell(Input::Alarm { alarm: Alarm::TlsKeyAway, text }).await; // the node is stopping
}

/// That the relay does not note it now is no reason to break off.
async fn note_own_checkpoint(shell: &Arc<Shell>) {
    if let Err(error) = shell.show_own_checkpoint().await {
        warn!(error = crate::chain(&error), "the relay did not note this node's checkpoint");
    }
}

/// Checkpoints are exchanged before anything signed leaves (docs/ARCHITECTURE.md, No fork).
async fn hello(shell: &Arc<Shell>, relay: &mut Relay) -> Result<(), LinkError> {
    let newest = shell.newest_of_relay().await?;
    let mine = if shell.may_sign() { shell.ledger.head().note.to_string().into() } else { Bytes::new() };
    let directory_version = shell.directory().map_or(0, |directory| directory.version());
    let request = relay_v1::HelloRequest {
        axis: shell.axis.to_string(),
        lane: shell.lane.to_string(),
        node: shell.node.to_string(),
        held_of_you: newest.clone().unwrap_or_default(),
        mine,
        directory_version,
    };
    let reply = relay.hello(request).await?.into_inner();
    if reply.relay != shell.relay_id.as_str() {
        return Err(LinkError::OtherRelay { found: reply.relay, expected: shell.relay_id.to_string() });
    }
    // A first start has nothing to check the checkpoint's signature against but the directory that comes now.
    if let Err(error) = shell.update_directory(relay, reply.directory_version).await {
        if shell.directory().is_none() {
            return Err(error.into());
        }
        warn!(error = crate::chain(&error), "the directory held stays in force");
    }
    let directory = shell.directory().ok_or(LinkError::NoDirectory)?;
    shell.take_greeting(relay, newest, &reply, &directory).await?;
    shell.check_own_history(&reply.held_of_you).await?;
    shell.prove_own_history(relay).await?;
    shell.note_own_entitlements(&directory).await?;
    shell.check_freshness().await?;
    if !reply.undelivered.is_empty() {
        shell.check_undelivered(relay.clone(), reply.undelivered);
    }
    Ok(())
}

async fn take_event(
    shell: &Arc<Shell>,
    relay: &mut Relay,
    event: relay_v1::WatchEvent,
    later: &mut Later,
) -> Result<(), LinkError> {
    match event.event {
        Some(Event::Waiting(waiting)) => {
            if let Some(waiting) = read_waiting(&waiting) {
                shell.engine.tell(Input::Waiting(vec![waiting])).await?;
            }
        }
        Some(Event::Evidence(delivery)) => take_evidence(shell, relay, delivery, later).await?,
        Some(Event::Undelivered(note)) => shell.check_undelivered(relay.clone(), note),
        Some(Event::DirectoryVersion(version)) => {
            if let Err(error) = shell.update_directory(relay, version).await {
                warn!(error = crate::chain(&error), "the directory held stays in force");
            }
            look_again(shell, relay, later).await?;
        }
        Some(Event::Checkpoint(note)) => shell.saw_checkpoint(&note),
        Some(Event::Cosign(note)) => _ = shell.to_cosign.send_replace(Some(note)),
        None => {}
    }
    Ok(())
}

fn read_waiting(waiting: &relay_v1::Waiting) -> Option<Waiting> {
    let priority = u8::try_from(waiting.priority).ok()?;
    Some(Waiting {
        key: Key { sender: waiting.sender.parse().ok()?, envelope: waiting.envelope.parse().ok()? },
        priority: priority.try_into().ok()?,
        payload_length: waiting.payload_length,
        kind: waiting.kind.parse().ok()?,
    })
}

/// Evidence that may hold later: it is looked at again when the directory changes and every minute. It is not acknowledged meanwhile, so that the
/// relay keeps it, whatever becomes of this node.
#[derive(Default)]
struct Later {
    deliveries: VecDeque<relay_v1::EvidenceDelivery>,
    /// More came than is kept: the relay shows it again over a new connection.
    more: bool,
}

impl Later {
    fn keep(&mut self, delivery: relay_v1::EvidenceDelivery) {
        if self.deliveries.len() < EVIDENCE_LATER_MAX {
            self.deliveries.push_back(delivery);
        } else {
            self.more = true;
        }
    }

    /// Everything kept, for another look; what still does not hold is kept again.
    fn take(&mut self) -> VecDeque<relay_v1::EvidenceDelivery> {
        std::mem::take(&mut self.deliveries)
    }

    /// Whether what was not kept is to be asked for now.
    fn asks_again(&self) -> bool {
        self.more && self.deliveries.is_empty()
    }
}

/// Looks at everything again that did not hold before.
async fn look_again(shell: &Arc<Shell>, relay: &mut Relay, later: &mut Later) -> Result<(), LinkError> {
    let looked_at = later.take();
    let mut settled: Vec<String> = looked_at.iter().map(|delivery| delivery.from.clone()).collect();
    for delivery in looked_at {
        take_evidence(shell, relay, delivery, later).await?;
    }
    settled.sort_unstable();
    settled.dedup();
    settled.retain(|from| !later.deliveries.iter().any(|delivery| delivery.from == *from));
    for node in settled.iter().filter_map(|from| from.parse().ok()) {
        shell.engine.tell(Input::Alarm { alarm: Alarm::EvidenceHeld(node), text: None }).await?;
    }
    Ok(())
}

/// Evidence is verified before the core sees it. What may hold later waits ([`Later`]), with an alarm; what is wrong is acknowledged with an alarm,
/// else it would come for ever.
async fn take_evidence(
    shell: &Arc<Shell>,
    relay: &mut Relay,
    delivery: relay_v1::EvidenceDelivery,
    later: &mut Later,
) -> Result<(), LinkError> {
    let from = delivery.from.clone();
    let node = from.parse().ok();
    let alarm = async |alarm: Option<Alarm>, text| match alarm {
        Some(alarm) => shell.engine.tell(Input::Alarm { alarm, text: Some(text) }).await,
        None => Ok(()),
    };
    let numbers = || delivery.also.iter().copied().chain([delivery.number]).collect::<Vec<_>>();
    let Some(batch) = delivery.batch.clone() else { return Ok(()) };
    let waits = match verified(shell, batch, &from).await? {
        Ok(Examined { leaves, actors, waits, wrong }) => {
            if let Some(directory) = shell.directory() {
                for actor in actors {
                    shell.note_entitlement(&actor, &directory).await?;
                }
            }
            let numbers = if waits.is_some() { Vec::new() } else { numbers() };
            shell.engine.tell(Input::Evidence { numbers, leaves }).await?;
            if let Some(error) = wrong {
                let text = format!("evidence of {from} does not hold: {}", crate::chain(&error));
                alarm(node.clone().map(Alarm::BadEvidence), text).await?;
            }
            waits
        }
        Err(error) if error.may_pass() => Some(error),
        Err(error) => {
            let text = format!("evidence of {from} does not hold: {}", crate::chain(&error));
            warn!(from, text, "evidence refused");
            alarm(node.map(Alarm::BadEvidence), text).await?;
            relay.acknowledge_evidence(relay_v1::AcknowledgeEvidenceRequest { numbers: numbers() }).await?;
            return Ok(());
        }
    };
    if let Some(error) = waits {
        let text = format!("evidence of {from} does not hold yet and waits: {}", crate::chain(&error));
        warn!(from, text, "evidence waits");
        alarm(node.map(Alarm::EvidenceHeld), text).await?;
        later.keep(delivery);
    }
    Ok(())
}

/// A batch whose checkpoint holds.
pub(super) struct Examined {
    /// What holds.
    pub(super) leaves: ReceivedLeaves,
    actors: Vec<Actor>,
    /// Why an item does not hold now and may later.
    waits: Option<EvidenceError>,
    /// Why an item does not hold and never will.
    wrong: Option<EvidenceError>,
}

type Verified = Result<Examined, EvidenceError>;

/// Signature, inclusion, entitlement and time of every item; what fails of a batch is left out, and the first of it is named.
pub(super) async fn verified(
    shell: &Arc<Shell>,
    batch: truc_proto::wire_v1::EvidenceBatch,
    from: &str,
) -> Result<Verified, super::WorkFailed> {
    let (inner, from) = (Arc::clone(shell), from.to_owned());
    let work = move || -> Verified {
        let directory = inner.directory().ok_or_else(|| EvidenceError::UnknownLedger { origin: from.clone() })?;
        let node = from.parse().ok();
        let trust = inner.trust.load();
        let checkpoint = batch.checkpoint.clone();
        let proven = verify_batch(&batch, &directory, node.as_ref(), Some(&trust), clock::now())?;
        if proven.node == inner.relay_id {
            inner.saw_checkpoint(&checkpoint);
        }
        let (mut items, mut actors, mut waits, mut wrong) = (Vec::new(), Vec::new(), None, None);
        for item in proven.items {
            let item = match item {
                Ok(item) => item,
                Err(error) => {
                    warn!(from, error = crate::chain(&error), "one item of evidence does not hold");
                    (if error.may_pass() { &mut waits } else { &mut wrong }).get_or_insert(error);
                    continue;
                }
            };
            let Some(envelope) = item.envelope else { continue };
            actors.extend(item.leaf.as_ref().and_then(|leaf| leaf.actor()).cloned());
            items.push(ReceivedItem {
                leaf: item.leaf.map(|leaf| leaf.bytes().clone()),
                leaf_hash: item.leaf_hash,
                index: item.index,
                proof: item.proof,
                envelope,
            });
        }
        actors.dedup();
        let (cms, attested) = (proven.cms, proven.attested);
        let leaves = ReceivedLeaves { from: proven.node, checkpoint, cms, attested, items };
        Ok(Examined { leaves, actors, waits, wrong })
    };
    shell.work("verifying evidence", work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(number: u64) -> relay_v1::EvidenceDelivery {
        relay_v1::EvidenceDelivery { number, ..Default::default() }
    }

    #[test]
    fn evidence_that_waits_is_bounded_and_what_was_not_kept_is_asked_for_when_the_rest_is_done() {
        let mut later = Later::default();
        for number in 0..EVIDENCE_LATER_MAX as u64 {
            later.keep(delivery(number));
        }
        assert!(!later.asks_again());
        later.keep(delivery(1_000));
        assert_eq!(later.deliveries.len(), EVIDENCE_LATER_MAX, "the relay keeps the rest");
        assert!(!later.asks_again(), "what is here comes first");
        let looked_at: Vec<u64> = later.take().iter().map(|delivery| delivery.number).collect();
        assert_eq!(looked_at, (0..EVIDENCE_LATER_MAX as u64).collect::<Vec<_>>());
        assert!(later.asks_again());
        later.keep(delivery(7));
        assert!(!later.asks_again());
    }
}
