//! The relay's ledger only grows: every checkpoint it shows is compared with the one held (docs/ARCHITECTURE.md, No fork).

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use bytes::Bytes;
use tracing::{error, info};
use truc_evidence::Directory;
use truc_ledger::merkle::verify_consistency;
use truc_proto::{
    Checkpoint, Digest, NoteKey,
    limits::{PEER_MARKS_MAX, PROOF_HASHES_MAX},
    relay_v1,
};

use super::{Relay, Shell};
use crate::{
    core::{Alarm, Input},
    records::Body,
};

/// Most checkpoints seen under evidence that wait for their proof; the largest are kept.
const SEEN_MAX: usize = 256;

/// Checkpoints seen and not yet proven: size → root and note.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<u64, (Digest, Bytes)>);

/// What is wrong with a peer's checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("the relay's checkpoint cannot be believed: {0}")]
    Bad(String),
    #[error(
        "the relay shows another history than before; both checkpoints are kept, and nothing is accepted from it: call the axis operator"
    )]
    Fork,
    #[error(
        "the relay holds a newer history of this node than this node has: its store is a restored copy. It signs nothing; start a recovery with the axis operator"
    )]
    WeAreBehind,
    #[error("the relay does not answer")]
    Call(#[from] tonic::Status),
    #[error(transparent)]
    Stopped(#[from] super::engine::Stopped),
    #[error(transparent)]
    Work(#[from] super::WorkFailed),
}

/// Reads a checkpoint of the relay and checks the ledger key's line.
pub(crate) fn read_checkpoint(note: &[u8], directory: &Directory) -> Result<Checkpoint, PeerError> {
    let bad = |why: String| PeerError::Bad(why);
    let (note, checkpoint) = Checkpoint::parse_note(note).map_err(|e| bad(e.to_string()))?;
    let relay = directory.relay();
    if checkpoint.origin() != relay.origin {
        return Err(bad(format!("it is of {}, not of {}", checkpoint.origin(), relay.origin)));
    }
    let key = NoteKey::new(relay.origin.as_str(), relay.ledger_key).map_err(|e| bad(e.to_string()))?;
    key.verify(&note).map_err(|e| bad(e.to_string()))?;
    Ok(checkpoint)
}

pub(crate) fn proof_of(hashes: &[Bytes]) -> Result<Vec<Digest>, PeerError> {
    if hashes.len() > PROOF_HASHES_MAX {
        return Err(PeerError::Bad("its proof is too long".into()));
    }
    let read = |hash: &Bytes| Digest::from_slice(hash).map_err(|e| PeerError::Bad(e.to_string()));
    hashes.iter().map(read).collect()
}

impl Shell {
    /// The newest checkpoint held of the relay.
    pub(crate) async fn held_of_relay(&self) -> Result<Option<Bytes>, PeerError> {
        let relay = self.relay_id.clone();
        Ok(self.engine.ask(move |core| core.peer(&relay).cloned()).await?)
    }

    /// The newest checkpoint of the relay that it cannot take back: the one held, or a larger one that came with evidence.
    pub(crate) async fn newest_of_relay(&self) -> Result<Option<Bytes>, PeerError> {
        let relay = self.relay_id.clone();
        let (held, seen) =
            self.engine.ask(move |core| (core.peer(&relay).cloned(), core.seen_of(&relay).cloned())).await?;
        let (Some(seen), Some(directory)) = (seen, self.directory()) else { return Ok(held) };
        // Of an origin that is given up: what is held counts.
        let Ok(newest) = read_checkpoint(&seen, &directory) else { return Ok(held) };
        let size = held.as_deref().and_then(|note| Checkpoint::parse_note(note).ok()).map_or(0, |(_, held)| held.size);
        Ok(if newest.size > size { Some(seen) } else { held })
    }

    /// Takes what the relay showed at Hello against `newest`, which it was shown.
    pub(crate) async fn take_greeting(
        &self,
        relay: &mut Relay,
        newest: Option<Bytes>,
        reply: &relay_v1::HelloReply,
        directory: &Directory,
    ) -> Result<(), PeerError> {
        let held = self.held_of_relay().await?;
        let (Some(newest), Some(held)) = (newest.filter(|newest| Some(newest) != held.as_ref()), held) else {
            return self.take_checkpoint(reply.checkpoint.clone(), &reply.consistency, directory).await;
        };
        let before = read_checkpoint(&newest, directory)?;
        let shown = read_checkpoint(&reply.checkpoint, directory)?;
        let continues = (before.size == shown.size && before.root == shown.root)
            || (before.size < shown.size
                && verify_consistency(
                    before.size,
                    &before.root,
                    shown.size,
                    &shown.root,
                    &proof_of(&reply.consistency)?,
                )
                .is_ok());
        if !continues {
            return self.report_fork(newest, reply.checkpoint.clone()).await;
        }
        self.saw_checkpoint(&reply.checkpoint);
        let from = Checkpoint::parse_note(&held).map_err(|e| PeerError::Bad(e.to_string()))?.1.size;
        let proven = relay.checkpoint(relay_v1::CheckpointRequest { from }).await?.into_inner();
        self.take_checkpoint(proven.checkpoint, &proven.consistency, directory).await
    }

    /// Takes the relay's newest checkpoint, proven to continue the one held.
    pub(crate) async fn take_checkpoint(
        &self,
        note: Bytes,
        proof: &[Bytes],
        directory: &Directory,
    ) -> Result<(), PeerError> {
        let shown = read_checkpoint(&note, directory)?;
        self.refuse_forked(&shown).await?;
        if let Some(held) = self.held_of_relay().await? {
            let (_, before) = Checkpoint::parse_note(&held).map_err(|e| PeerError::Bad(e.to_string()))?;
            let same_origin = before.origin() == shown.origin(); // a recovery starts a new one, in a new directory version
            let continues = !same_origin
                || (before.size == shown.size && before.root == shown.root)
                || (before.size < shown.size
                    && verify_consistency(before.size, &before.root, shown.size, &shown.root, &proof_of(proof)?)
                        .is_ok());
            if !continues {
                return self.report_fork(held, note).await;
            }
            if before == shown {
                return Ok(());
            }
        }
        let node = self.relay_id.clone();
        Ok(self.engine.tell(Input::PeerCheckpoint { node, note }).await?)
    }

    /// Once a ledger was shown with two histories, it is not believed again: a recovery starts another origin.
    async fn refuse_forked(&self, shown: &Checkpoint) -> Result<(), PeerError> {
        let relay = self.relay_id.clone();
        let Some(position) = self.engine.ask(move |core| core.fork_of(&relay)).await? else { return Ok(()) };
        let bodies = self.bodies();
        let body = self.work("reading a record", move || bodies.body(position)).await?;
        let forked = match body.map_err(|e| PeerError::Bad(crate::chain(&e)))?.0 {
            Body::PeerFork(record) => {
                Checkpoint::parse_note(&record.shown).map_err(|e| PeerError::Bad(e.to_string()))?.1
            }
            _ => return Err(PeerError::Bad("the record of its two histories is not where it should be".into())),
        };
        if forked.origin() == shown.origin() { Err(PeerError::Fork) } else { Ok(()) }
    }

    pub(crate) async fn report_fork(&self, held: Bytes, shown: Bytes) -> Result<(), PeerError> {
        error!(relay = %self.relay_id, "two histories shown; nothing is accepted from it any more");
        self.engine.tell(Input::PeerFork { node: self.relay_id.clone(), held, shown }).await?;
        Err(PeerError::Fork)
    }

    /// What the relay says it last held of us must be in our own tree.
    pub(crate) async fn check_own_history(&self, held_of_us: &[u8]) -> Result<(), PeerError> {
        if !held_of_us.is_empty() {
            let (note, shown) = Checkpoint::parse_note(held_of_us).map_err(|e| PeerError::Bad(e.to_string()))?;
            let own = self.ledger.public_key();
            // Not signed by us: the relay cannot make us believe that we said it.
            let ours = shown.origin() == own.name() && own.verify(&note).is_ok();
            let in_our_tree = self.ledger.root_at(shown.size).is_ok_and(|root| root == shown.root);
            if ours && !in_our_tree {
                let text = PeerError::WeAreBehind.to_string();
                self.engine.tell(Input::Alarm { alarm: Alarm::BehindOwnHistory, text: Some(text) }).await?;
                self.may_sign.store(false, Ordering::SeqCst);
                return Err(PeerError::WeAreBehind);
            }
        }
        if !self.may_sign.swap(true, Ordering::SeqCst) {
            info!("checkpoints exchanged with the relay: signatures may leave");
            self.sign.notify_one();
        }
        Ok(())
    }

    /// Proves to the relay that this ledger's newest checkpoint continues those that the relay saw of it.
    pub(crate) async fn prove_own_history(&self, relay: &mut Relay) -> Result<(), PeerError> {
        if !self.may_sign() {
            return Ok(());
        }
        let head = self.ledger.head();
        let mut proofs = Vec::new();
        // Once to ask, once to answer; what this node pushes meanwhile is proven the next time.
        for _ in 0..2 {
            let checkpoint = head.note.to_string().into();
            let reply = match relay.prove_history(relay_v1::ProveHistoryRequest { checkpoint, proofs }).await {
                // A relay of an earlier version does not ask.
                Err(status) if status.code() == tonic::Code::Unimplemented => return Ok(()),
                reply => reply?.into_inner(),
            };
            let wanted = reply.wanted.into_iter().take(PEER_MARKS_MAX).filter(|from| *from <= head.size);
            proofs = wanted.filter_map(|from| self.consistency_from(from, head.size)).collect();
            if proofs.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn consistency_from(&self, from: u64, to: u64) -> Option<relay_v1::ConsistencyProof> {
        let proof = self.ledger.consistency(from, to);
        let proof = proof.inspect_err(|error| error!(from, to, %error, "cannot prove that the own ledger grew"));
        let hashes = proof.ok()?.iter().map(|hash| Bytes::copy_from_slice(&hash.0)).collect();
        Some(relay_v1::ConsistencyProof { from, hashes })
    }

    /// Remembers a checkpoint of the relay that came with evidence, for the next proof.
    pub(crate) fn saw_checkpoint(&self, note: &Bytes) {
        let Ok((_, checkpoint)) = Checkpoint::parse_note(note) else { return };
        let mut seen = lock(&self.seen);
        seen.0.entry(checkpoint.size).or_insert_with(|| (checkpoint.root, note.clone()));
        if seen.0.len() > SEEN_MAX {
            seen.0.pop_first();
        }
    }

    /// Proves every checkpoint seen to be of the one history of the relay's newest.
    pub(crate) async fn prove_seen(&self, relay: &mut Relay, directory: &Directory) -> Result<(), PeerError> {
        let seen = std::mem::take(&mut lock(&self.seen).0);
        let held = self.held_of_relay().await?;
        let from = match &held {
            Some(held) => Checkpoint::parse_note(held).map_err(|e| PeerError::Bad(e.to_string()))?.1.size,
            None => 0,
        };
        let reply = relay.checkpoint(relay_v1::CheckpointRequest { from }).await?.into_inner();
        self.take_checkpoint(reply.checkpoint, &reply.consistency, directory).await?;
        for (size, (root, note)) in seen {
            let reply = relay.checkpoint(relay_v1::CheckpointRequest { from: size }).await?.into_inner();
            let newest = read_checkpoint(&reply.checkpoint, directory)?;
            let same = if newest.size == size {
                newest.root == root
            } else {
                verify_consistency(size, &root, newest.size, &newest.root, &proof_of(&reply.consistency)?).is_ok()
            };
            if !same {
                return self.report_fork(note, reply.checkpoint).await;
            }
        }
        Ok(())
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
