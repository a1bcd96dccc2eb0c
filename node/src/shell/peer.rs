//! The relay's ledger only grows: every checkpoint it shows is compared with the one held (docs/ARCHITECTURE.md, No fork).

use std::{collections::BTreeMap, sync::atomic::Ordering};

use bytes::Bytes;
use tracing::{error, info};
use truc_evidence::{Directory, ForkFile};
use truc_ledger::fork::{ExchangeError, ForkGuard, HeldCheckpoint, HeldError, Observation, PeerLog, Standing};
use truc_proto::{
    Checkpoint, Digest, NoteKey, SignedNote,
    limits::{PEER_MARKS_MAX, PROOF_HASHES_MAX},
    relay_v1,
};

use super::{Relay, Shell, lock};
use crate::{
    core::{Alarm, Input},
    records::Body,
};

/// Most checkpoints seen under evidence that wait for their proof; the largest are kept.
const SEEN_MAX: usize = 256;

/// Checkpoints seen and not yet proven: size → note.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<u64, Bytes>);

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
        "the relay holds a newer history of this node than this node has: its store is a restored copy. It signs nothing: restore a newer backup, or begin a new origin with `truc-node recover` (docs/RECOVERY.md)"
    )]
    WeAreBehind,
    #[error(
        "this node was restored from a backup, and the relay holds no checkpoint of its ledger that could tell whether anything is newer: it signs nothing. Begin a new origin with `truc-node recover --without-peer` (docs/RECOVERY.md)"
    )]
    Unconfirmed,
    #[error(
        "this node's ledger has a new origin, and directory version {version} still names the one before: give the binding request of the new one to the axis operator. Nothing is signed until it is published"
    )]
    NotListed { version: u64 },
    #[error("the note that this node was restored cannot be removed")]
    Note(#[from] truc_evidence::BackupError),
    #[error("this node's own ledger cannot be compared with what the relay holds of it")]
    Own(#[source] ExchangeError),
    #[error("the relay does not answer")]
    Call(#[from] tonic::Status),
    #[error(transparent)]
    Stopped(#[from] super::engine::Stopped),
    #[error(transparent)]
    Work(#[from] super::WorkFailed),
}

pub(super) fn bad(error: impl ToString) -> PeerError {
    PeerError::Bad(error.to_string())
}

/// The key of the relay's ledger, as the directory in force says.
pub(super) fn relay_key(directory: &Directory) -> Result<NoteKey, PeerError> {
    let relay = directory.relay();
    NoteKey::new(relay.origin.as_str(), relay.ledger_key).map_err(bad)
}

/// What is known of the relay's ledger, given a checkpoint of it. One of an origin that is given up counts for nothing: a recovery starts
/// another, in a new directory version.
pub(super) fn log_of(directory: &Directory, held: Option<&Bytes>) -> Result<PeerLog, PeerError> {
    let key = relay_key(directory)?;
    let held = held.map(|note| SignedNote::parse(note)).transpose().map_err(bad)?;
    match PeerLog::new(key.clone(), held) {
        Err(HeldError::OtherOrigin { .. }) => PeerLog::new(key, None).map_err(bad),
        log => log.map_err(bad),
    }
}

pub(crate) fn proof_of(hashes: &[Bytes]) -> Result<Vec<Digest>, PeerError> {
    if hashes.len() > PROOF_HASHES_MAX {
        return Err(PeerError::Bad("its proof is too long".into()));
    }
    let read = |hash: &Bytes| Digest::from_slice(hash).map_err(bad);
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
        let Ok(log) = log_of(&directory, Some(&seen)) else { return Ok(held) };
        let newer = log.held().is_some_and(|seen| seen.checkpoint().size > size_of(held.as_ref()));
        Ok(if newer { Some(seen) } else { held })
    }

    /// Takes what the relay showed at Hello against `newest`, which it was shown.
    pub(crate) async fn take_greeting(
        &self,
        relay: &mut Relay,
        newest: Option<Bytes>,
        reply: &relay_v1::HelloReply,
        directory: &Directory,
    ) -> Result<(), PeerError> {
        let _comparing = self.comparing.lock().await;
        let held = self.held_of_relay().await?;
        let (Some(newest), Some(held)) = (newest.filter(|newest| Some(newest) != held.as_ref()), held) else {
            return self.take_checkpoint(reply.checkpoint.clone(), &reply.consistency, directory).await;
        };
        let shown = SignedNote::parse(&reply.checkpoint).map_err(bad)?;
        let observed = log_of(directory, Some(&newest))?.observe(shown, &proof_of(&reply.consistency)?);
        if observed.map_err(bad)? != Observation::Grown {
            return self.report_fork(newest, reply.checkpoint.clone()).await;
        }
        self.saw_checkpoint(&reply.checkpoint);
        let from = size_of(Some(&held));
        let proven = relay.checkpoint(relay_v1::CheckpointRequest { from, to: 0 }).await?.into_inner();
        self.take_checkpoint(proven.checkpoint, &proven.consistency, directory).await
    }

    /// Takes the relay's newest checkpoint, proven to continue the one held.
    pub(crate) async fn take_checkpoint(
        &self,
        note: Bytes,
        proof: &[Bytes],
        directory: &Directory,
    ) -> Result<(), PeerError> {
        let shown = SignedNote::parse(&note).map_err(bad)?;
        self.refuse_forked(HeldCheckpoint::check(shown.clone(), &relay_key(directory)?).map_err(bad)?.checkpoint())
            .await?;
        let held = self.held_of_relay().await?;
        let mut log = log_of(directory, held.as_ref())?;
        let before = log.held().map(|held| held.checkpoint().clone());
        let observed = log.observe(shown, &proof_of(proof)?).map_err(bad)?;
        if let (Some(held), false) = (held, observed == Observation::Grown) {
            return self.report_fork(held, note).await;
        }
        if before.is_some() && before.as_ref() == log.held().map(HeldCheckpoint::checkpoint) {
            return Ok(());
        }
        let node = self.relay_id.clone();
        Ok(self.engine.tell(Input::PeerCheckpoint { node, note }).await?)
    }

    /// Once a ledger was shown with two histories, it is not believed again: a recovery starts another origin.
    pub(super) async fn refuse_forked(&self, shown: &Checkpoint) -> Result<(), PeerError> {
        let relay = self.relay_id.clone();
        let Some(position) = self.engine.ask(move |core| core.fork_of(&relay)).await? else { return Ok(()) };
        let bodies = self.bodies();
        let body = self.work("reading a record", move || bodies.body(position)).await?;
        let forked = match body.map_err(|e| PeerError::Bad(crate::chain(&e)))?.0 {
            Body::PeerFork(record) => {
                let forked = Checkpoint::parse_note(&record.shown).map_err(bad)?.1;
                self.keep_fork(record.held, record.shown).await;
                forked
            }
            _ => return Err(PeerError::Bad("the record of its two histories is not where it should be".into())),
        };
        if forked.origin() == shown.origin() { Err(PeerError::Fork) } else { Ok(()) }
    }

    pub(crate) async fn report_fork(&self, held: Bytes, shown: Bytes) -> Result<(), PeerError> {
        error!(relay = %self.relay_id, "two histories shown; nothing is accepted from it any more");
        let (first, second) = (held.to_vec(), shown.to_vec());
        self.engine.tell(Input::PeerFork { node: self.relay_id.clone(), held, shown }).await?;
        self.keep_fork(first, second).await;
        Err(PeerError::Fork)
    }

    /// The proof as a file that can be handed on; the journal has it in any case.
    async fn keep_fork(&self, held: Vec<u8>, shown: Vec<u8>) {
        let folder = self.forks_folder.clone();
        let keep = move || ForkFile::new(&held, &shown).keep_in(&folder);
        match super::blocking("keeping a proof", keep).await {
            Ok(Ok(Some(file))) => {
                error!(file = %file.display(), "both checkpoints; `truc fork show` tells what they prove")
            }
            Ok(Ok(None)) => error!("both checkpoints stand in the journal; there are too many files to make another"),
            Ok(Err(error)) => error!(%error, "both checkpoints stand in the journal; no file could be made of them"),
            Err(error) => error!(%error, "both checkpoints stand in the journal; no file was made of them"),
        }
    }

    /// What the relay says it last held of us must be in our own tree.
    pub(crate) async fn check_own_history(&self, held_of_us: &[u8]) -> Result<(), PeerError> {
        self.check_listed().await?;
        let mut confirmed = lock(&self.restored).as_ref().is_none_or(|restored| restored.leaves == 0);
        if !held_of_us.is_empty() {
            let held = SignedNote::parse(held_of_us).map_err(bad)?;
            let guard = ForkGuard::new(self.ledger.public_key().clone());
            match guard.exchange(&self.ledger.head().note, Some(held), |size| self.ledger.root_at(size).ok()) {
                Ok(Standing::Consistent) => confirmed = true,
                // Not signed by us: the relay cannot make us believe that we said it.
                Ok(Standing::NothingHeld) | Err(ExchangeError::Theirs(_)) => {}
                Ok(Standing::WeAreBehind { theirs } | Standing::Fork { theirs, .. }) => {
                    return self.stay_silent(theirs.note()).await;
                }
                Err(error @ (ExchangeError::Ours(_) | ExchangeError::NoRoot { .. })) => {
                    return Err(PeerError::Own(error));
                }
            }
        }
        if !confirmed {
            let text = PeerError::Unconfirmed.to_string();
            self.engine.tell(Input::Alarm { alarm: Alarm::Restored, text: Some(text) }).await?;
            return Err(PeerError::Unconfirmed);
        }
        self.forget_restored().await?;
        if !self.may_sign.swap(true, Ordering::SeqCst) {
            info!("checkpoints exchanged with the relay: signatures may leave");
            self.sign.notify_one();
        }
        Ok(())
    }

    /// Nobody can believe what a ledger signs that the directory does not name.
    async fn check_listed(&self) -> Result<(), PeerError> {
        let Some(directory) = self.directory() else { return Ok(()) };
        let own = self.ledger.public_key().name();
        let other = directory.node(&self.node).is_some_and(|(_, entry)| entry.origin != own);
        let refused = other.then(|| PeerError::NotListed { version: directory.version() });
        let text = refused.as_ref().map(ToString::to_string);
        self.engine.tell(Input::Alarm { alarm: Alarm::NewOrigin, text }).await?;
        match refused {
            Some(refused) => {
                self.may_sign.store(false, Ordering::SeqCst);
                Err(refused)
            }
            None => Ok(()),
        }
    }

    /// The relay has shown what we signed and do not have any more: it is kept, since a recovery names it, and nothing is signed.
    async fn stay_silent(&self, theirs: &SignedNote) -> Result<(), PeerError> {
        self.may_sign.store(false, Ordering::SeqCst);
        let text = PeerError::WeAreBehind.to_string();
        self.engine.tell(Input::Alarm { alarm: Alarm::BehindOwnHistory, text: Some(text) }).await?;
        let (store, note) = (self.store_folder.clone(), theirs.clone());
        match self.work("keeping a checkpoint", move || truc_evidence::keep_behind(&store, &note)).await? {
            Ok(()) => {}
            Err(error) => error!(%error, "what the relay holds of this node's ledger was not kept as a file"),
        }
        Err(PeerError::WeAreBehind)
    }

    /// The relay knows of nothing newer: from here on this is the node as it was.
    async fn forget_restored(&self) -> Result<(), PeerError> {
        let Some(restored) = lock(&self.restored).clone() else { return Ok(()) };
        let store = self.store_folder.clone();
        self.work("removing a note", move || truc_evidence::forget_restored(&store)).await??;
        *lock(&self.restored) = None;
        self.engine.tell(Input::Alarm { alarm: Alarm::Restored, text: None }).await?;
        info!(made = %restored.made, leaves = restored.leaves, "restored from a backup, and the relay knows of nothing newer: this node goes on");
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

    pub(super) fn consistency_from(&self, from: u64, to: u64) -> Option<relay_v1::ConsistencyProof> {
        let proof = self.ledger.consistency(from, to);
        let proof = proof.inspect_err(|error| error!(from, to, %error, "cannot prove that the own ledger grew"));
        let hashes = proof.ok()?.iter().map(|hash| Bytes::copy_from_slice(&hash.0)).collect();
        Some(relay_v1::ConsistencyProof { from, hashes })
    }

    /// Remembers a checkpoint of the relay that came with evidence, for the next proof.
    pub(crate) fn saw_checkpoint(&self, note: &Bytes) {
        let Ok((_, checkpoint)) = Checkpoint::parse_note(note) else { return };
        let mut seen = lock(&self.seen);
        seen.0.entry(checkpoint.size).or_insert_with(|| note.clone());
        if seen.0.len() > SEEN_MAX {
            seen.0.pop_first();
        }
    }

    /// Proves every checkpoint seen to be of the one history of the relay's newest.
    pub(crate) async fn prove_seen(&self, relay: &mut Relay, directory: &Directory) -> Result<(), PeerError> {
        let _comparing = self.comparing.lock().await;
        let seen = std::mem::take(&mut lock(&self.seen).0);
        let from = size_of(self.held_of_relay().await?.as_ref());
        let reply = relay.checkpoint(relay_v1::CheckpointRequest { from, to: 0 }).await?.into_inner();
        self.take_checkpoint(reply.checkpoint, &reply.consistency, directory).await?;
        for (from, note) in seen {
            let reply = relay.checkpoint(relay_v1::CheckpointRequest { from, to: 0 }).await?.into_inner();
            let newest = SignedNote::parse(&reply.checkpoint).map_err(bad)?;
            let newest = PeerLog::new(relay_key(directory)?, Some(newest)).map_err(bad)?;
            let older = SignedNote::parse(&note).map_err(bad)?;
            match newest.check_older(older, &proof_of(&reply.consistency)?) {
                Ok(None | Some(Observation::Grown)) | Err(HeldError::OtherOrigin { .. }) => {}
                // Not signed by it, so it proves nothing against it.
                Err(error) => return Err(bad(error)),
                Ok(_) => return self.report_fork(note, reply.checkpoint).await,
            }
        }
        Ok(())
    }
}

/// Leaves in a checkpoint that is held; 0 for none.
fn size_of(note: Option<&Bytes>) -> u64 {
    note.and_then(|note| Checkpoint::parse_note(note).ok()).map_or(0, |(_, held)| held.size)
}
