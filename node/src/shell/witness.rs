//! Witnesses: this node cosigns what the relay's certificate signed, and has its own checkpoints cosigned by the relay. Bounded in time and in how often;
//! whoever is away delays nothing (docs/ARCHITECTURE.md, Witnesses).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{debug, warn};
use truc_custody::WitnessStates;
use truc_evidence::{Attestation, Directory, witness_of};
use truc_ledger::fork::{HeldCheckpoint, Observation};
use truc_link::Breaker;
use truc_proto::{
    Checkpoint, NoteKey, SignedNote,
    limits::{COSIGN_GAP_MS, COSIGN_MISSES_MAX, COSIGN_WAIT_MS, FUTURE_SKEW_MAX_MS, PEER_MARKS_MAX},
    relay_v1,
};

use super::{
    Relay, Shell, clock, lock,
    peer::{PeerError, bad, log_of, proof_of, relay_key},
};
use crate::{
    core::{Answer, Input, OwnCheckpoint},
    records::Body,
};

/// Answers what the relay asks to be cosigned, until the node stops. Of what comes while one is at work only the newest counts.
pub async fn run_witness(shell: Arc<Shell>) {
    let mut asked = shell.to_cosign.subscribe();
    let mut stopping = shell.stopping.clone();
    while !*stopping.borrow() {
        tokio::select! {
            changed = asked.changed() => if changed.is_err() { return },
            _ = stopping.changed() => return,
        }
        let Some(note) = asked.borrow_and_update().clone() else { continue };
        if let Err(error) = shell.cosign_for_relay(&note).await {
            warn!(error = crate::chain(&error), "the relay's checkpoint is not cosigned");
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(COSIGN_GAP_MS)) => {}
            _ = stopping.changed() => return,
        }
    }
}

impl Shell {
    async fn cosign_for_relay(&self, note: &Bytes) -> Result<(), PeerError> {
        let (Some(mut relay), Some(directory)) = (self.relay(), self.directory()) else { return Ok(()) };
        let Some(witness) = self.witness.key() else { return Ok(()) };
        let listed = directory.node(&self.node).and_then(|(_, entry)| witness_of(entry));
        if !self.may_sign() || listed.as_ref() != Some(witness.public()) {
            return Ok(());
        }
        let shown = SignedNote::parse(note).map_err(bad)?;
        let shown = HeldCheckpoint::check(shown, &relay_key(&directory)?).map_err(bad)?;
        let checked = self.check_shown(&mut relay, &shown, &directory);
        // A relay that does not answer must not hold up the comparisons of the link itself.
        let Ok(checked) = tokio::time::timeout(Duration::from_millis(COSIGN_WAIT_MS), checked).await else {
            return Ok(());
        };
        checked?;
        let (node, checkpoint) = (self.relay_id.clone(), shown.checkpoint().clone());
        match self.engine.call(move |reply| Input::Cosign { node, checkpoint, reply }).await? {
            Answer::Cosigned => {}
            refused => {
                debug!(?refused, "not cosigned");
                return Ok(());
            }
        }
        let line = witness.cosign(shown.note().text(), clock::now());
        let request = relay_v1::CosignedRequest { size: shown.checkpoint().size, cosignature: line.signature.into() };
        relay.cosigned(request).await?;
        Ok(())
    }

    /// That it is of the one history of all that this node has seen of the relay. What it holds moves on with a larger one.
    async fn check_shown(
        &self,
        relay: &mut Relay,
        shown: &HeldCheckpoint,
        directory: &Directory,
    ) -> Result<(), PeerError> {
        let _comparing = self.comparing.lock().await;
        // Without the certificate's line, which binds nothing here and is long.
        let key = relay_key(directory)?;
        let plain = shown.note().with_only(|line| line.key_id == key.key_id());
        let plain_bytes = Bytes::from(plain.to_string());
        let kept = self.held_of_relay().await?;
        let log = log_of(directory, kept.as_ref())?;
        let to = shown.checkpoint().size;
        let held = log.held().map_or(0, |held| held.checkpoint().size);
        if held < to {
            let proof = if held == 0 { Vec::new() } else { consistency(relay, held, to).await? };
            return self.take_checkpoint(plain_bytes, &proof, directory).await;
        }
        self.refuse_forked(shown.checkpoint()).await?;
        let proof = if to == held || to == 0 { Vec::new() } else { consistency(relay, to, held).await? };
        match log.check_older(plain, &proof_of(&proof)?).map_err(bad)? {
            None | Some(Observation::Grown) => Ok(()),
            Some(_) => self.report_fork(kept.unwrap_or_default(), shown.note().to_string().into()).await,
        }
    }

    /// The note with the relay's line, where the relay is there and gives it in time.
    pub(super) async fn cosigned_by_relay(&self, note: SignedNote) -> SignedNote {
        let Some(key) = self.relay_witness() else { return note };
        // Who is away is not asked, nor who has cosigned it.
        if self.relay().is_none() || key.verify_cosignature(&note).is_ok() {
            return note;
        }
        let before = note.signatures().len();
        let note = self.asked_in_time(note, &key).await;
        if note.signatures().len() > before {
            self.witness_misses.store(0, Ordering::Relaxed);
            *lock(&self.witness_rests) = Breaker::default();
        } else {
            self.witness_misses.fetch_add(1, Ordering::Relaxed);
            lock(&self.witness_rests).fail(Instant::now());
        }
        note
    }

    /// Whether the relay may be asked for the line that a checkpoint lacks: it is there, is a witness, and did not fail to give one a moment ago.
    pub(super) fn may_ask_witness(&self) -> bool {
        self.relay().is_some() && !lock(&self.witness_rests).rests(Instant::now()) && self.relay_witness().is_some()
    }

    /// A new connection: what it did not say before it may say now.
    pub(super) fn witness_is_back(&self) {
        *lock(&self.witness_rests) = Breaker::default();
    }

    /// The relay as this node's witness, by what is heard of it.
    pub(crate) fn witness_states(&self) -> WitnessStates {
        let mut states = WitnessStates::default();
        if self.relay_witness().is_some() {
            let answers = self.witness_misses.load(Ordering::Relaxed) < COSIGN_MISSES_MAX;
            *match (self.relay().is_some(), answers) {
                (false, _) => &mut states.away,
                (true, true) => &mut states.answering,
                (true, false) => &mut states.silent,
            } = 1;
        }
        states
    }

    async fn asked_in_time(&self, mut note: SignedNote, key: &NoteKey) -> SignedNote {
        let wait = Duration::from_millis(COSIGN_WAIT_MS);
        let signature = match tokio::time::timeout(wait, self.ask_relay(&note)).await {
            Ok(Ok(Some(signature))) => signature,
            Ok(Ok(None)) => return note,
            Ok(Err(error)) => {
                warn!(error = crate::chain(&error), "the relay does not cosign this node's checkpoint");
                return note;
            }
            Err(_) => {
                warn!("the relay did not cosign this node's checkpoint in time");
                return note;
            }
        };
        match key.cosignature(&note, signature.to_vec()) {
            Ok((_, at)) if at.unix_ms().abs_diff(clock::now().unix_ms()) > FUTURE_SKEW_MAX_MS.unsigned_abs() => {
                warn!(%at, "the relay's cosignature is not taken: its clock and this node's are more than five minutes apart");
            }
            // A note that takes no more lines is whole as it is.
            Ok((line, _)) => drop(note.add_signature(line)),
            Err(error) => warn!(%error, "the relay's cosignature does not hold"),
        }
        note
    }

    /// Has the newest checkpoint that the certificate signed noted in the relay's ledger, after a connection and from time to time.
    pub(super) async fn show_own_checkpoint(&self) -> Result<(), PeerError> {
        if self.relay_witness().is_none() || !self.may_sign() {
            return Ok(());
        }
        let Some(own) = self.engine.ask(|core| core.own_checkpoint()).await? else { return Ok(()) };
        // The signer shows it soon, to have it cosigned; asked twice at once, the relay says nothing.
        if own.said.cosignature != Attestation::There && self.may_ask_witness() {
            return Ok(());
        }
        if let Some(note) = self.own_note(own).await? {
            self.ask_relay(&note).await?;
        }
        Ok(())
    }

    /// Our newest signed checkpoint as it stands in the journal.
    pub(super) async fn own_note(&self, own: OwnCheckpoint) -> Result<Option<SignedNote>, PeerError> {
        let bodies = self.bodies();
        let body = self.work("reading a record", move || bodies.body(own.position)).await?;
        let Ok((Body::OwnCheckpoint(record), _)) = body else { return Ok(None) };
        SignedNote::parse(&record.note).map(Some).map_err(bad)
    }

    /// The relay's key as a witness, as the directory in force lists it.
    fn relay_witness(&self) -> Option<NoteKey> {
        witness_of(self.directory()?.relay())
    }

    /// Time and signature of the relay; none where it is away, or does not cosign.
    async fn ask_relay(&self, note: &SignedNote) -> Result<Option<Bytes>, PeerError> {
        let Some(mut relay) = self.relay() else { return Ok(None) };
        let size = Checkpoint::of_note(note).map_err(bad)?.size;
        let mut proofs = Vec::new();
        // Once to ask, once to prove; what it sees meanwhile is proven the next time.
        for _ in 0..2 {
            let request = relay_v1::CosignRequest { checkpoint: note.to_string().into(), proofs };
            let reply = match relay.cosign(request).await {
                // A relay of an earlier version is no witness.
                Err(status) if status.code() == tonic::Code::Unimplemented => return Ok(None),
                reply => reply?.into_inner(),
            };
            if !reply.cosignature.is_empty() {
                return Ok(Some(reply.cosignature));
            }
            let wanted = reply.wanted.into_iter().take(PEER_MARKS_MAX).filter(|from| *from <= size);
            proofs = wanted.filter_map(|from| self.consistency_from(from, size)).collect();
            if proofs.is_empty() {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

async fn consistency(relay: &mut Relay, from: u64, to: u64) -> Result<Vec<Bytes>, PeerError> {
    Ok(relay.checkpoint(relay_v1::CheckpointRequest { from, to }).await?.into_inner().consistency)
}
