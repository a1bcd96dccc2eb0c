//! The connection to the relay: dial with back-off, Hello, then what the relay pushes, until it breaks.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tracing::{info, warn};
use truc_evidence::{EvidenceError, verify_batch};
use truc_link::ConnectSettings;
use truc_proto::{Actor, relay_v1, relay_v1::watch_event::Event};

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
            () = tokio::time::sleep(half + jitter) => {}
            _ = stopping.changed() => return,
        }
        wait = (wait * 2).min(RECONNECT.1);
    }
}

async fn session(shell: &Arc<Shell>, greeted: &mut bool) -> Result<(), LinkError> {
    let connected = shell.link.connect(&shell.relay_address, &shell.relay_id, ConnectSettings::default()).await?;
    let mut relay = Relay::new(connected.channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    hello(shell, &mut relay).await?;
    let mut watch = relay.watch(relay_v1::WatchRequest {}).await?.into_inner();
    *greeted = true;
    info!(relay = %shell.relay_id, address = %shell.relay_address, "connected");
    shell.relay_state.store(Arc::new(format!("connected to {} at {}", shell.relay_id, shell.relay_address)));
    shell.relay.send_replace(Some(relay.clone()));
    shell.engine.tell(Input::Connected).await?;
    note_own_checkpoint(shell).await;
    let mut prove = tokio::time::interval(PROVE_EVERY);
    prove.tick().await; // the first one is at once
    loop {
        tokio::select! {
            event = watch.message() => match event? {
                Some(event) => take_event(shell, &mut relay, event).await?,
                None => return Ok(()),
            },
            _ = prove.tick() => {
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

async fn take_event(shell: &Arc<Shell>, relay: &mut Relay, event: relay_v1::WatchEvent) -> Result<(), LinkError> {
    match event.event {
        Some(Event::Waiting(waiting)) => {
            if let Some(waiting) = read_waiting(&waiting) {
                shell.engine.tell(Input::Waiting(vec![waiting])).await?;
            }
        }
        Some(Event::Evidence(delivery)) => take_evidence(shell, relay, delivery).await?,
        Some(Event::Undelivered(note)) => shell.check_undelivered(relay.clone(), note),
        Some(Event::DirectoryVersion(version)) => {
            if let Err(error) = shell.update_directory(relay, version).await {
                warn!(error = crate::chain(&error), "the directory held stays in force");
            }
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

/// Evidence is verified before the core sees it. What cannot be verified now, for want of a newer directory, is not
/// acknowledged and comes again; what is wrong is acknowledged with an alarm, else it would come for ever.
async fn take_evidence(
    shell: &Arc<Shell>,
    relay: &mut Relay,
    delivery: relay_v1::EvidenceDelivery,
) -> Result<(), LinkError> {
    let from = delivery.from;
    let mut numbers = delivery.also;
    numbers.push(delivery.number);
    let Some(batch) = delivery.batch else { return Ok(()) };
    match verified(shell, batch, &from).await? {
        Ok((leaves, actors)) => {
            if let Some(directory) = shell.directory() {
                for actor in actors {
                    shell.note_entitlement(&actor, &directory).await?;
                }
            }
            shell.engine.tell(Input::Evidence { numbers, leaves }).await?;
        }
        Err(EvidenceError::UnknownLedger { origin }) => {
            warn!(origin, from, "evidence of an unknown ledger; it waits for a newer directory");
            let newest = relay.checkpoint(relay_v1::CheckpointRequest { from: 0, to: 0 }).await;
            drop(newest);
        }
        Err(error) => {
            let text = format!("evidence of {from} does not hold: {}", crate::chain(&error));
            warn!(from, text, "evidence refused");
            if let Ok(node) = from.parse() {
                shell.engine.tell(Input::Alarm { alarm: Alarm::BadEvidence(node), text: Some(text) }).await?;
            }
            relay.acknowledge_evidence(relay_v1::AcknowledgeEvidenceRequest { numbers }).await?;
        }
    }
    Ok(())
}

type Verified = Result<(ReceivedLeaves, Vec<Actor>), EvidenceError>;

/// Signature, inclusion, entitlement and time of every item; what fails of a batch is left out and named in the log.
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
        let (mut items, mut actors) = (Vec::new(), Vec::new());
        for item in proven.items {
            let item = match item {
                Ok(item) => item,
                Err(error) => {
                    warn!(from, error = crate::chain(&error), "one item of evidence refused");
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
        Ok((ReceivedLeaves { from: proven.node, checkpoint, cms: proven.cms, items }, actors))
    };
    shell.work("verifying evidence", work).await
}
