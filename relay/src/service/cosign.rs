//! Witnesses: the relay cosigns nodes' checkpoints, and nodes those of the relay. Off the path of delivery: what nobody cosigns in time goes out without.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tonic::Status;
use truc_custody::{Witness, WitnessStates};
use truc_evidence::{Directory, NodeKind, witness_of};
use truc_ledger::LedgerKey;
use truc_link::Breaker;
use truc_proto::{
    NodeId, NoteSignature, Reason, SignedNote, Timestamp,
    limits::{COSIGN_GAP_MS, COSIGN_MISSES_MAX, COSIGN_WAIT_MS, COSIGNATURES_MAX, FUTURE_SKEW_MAX_MS, PEER_MARKS_MAX},
    relay_v1 as wire,
};

use super::{
    Service,
    hello::{check_own, proof_of},
    lock,
    refuse::Refusal,
};
use crate::{
    core::{CosignOutcome, Mark},
    store::Store,
};

/// Who is there to cosign, and what came in under the checkpoint that is asked about.
pub(super) struct Witnesses {
    asked: watch::Sender<Option<Bytes>>,
    collected: Mutex<Collected>,
    came: Notify,
}

#[derive(Default)]
struct Collected {
    /// What is asked about now.
    note: Option<(u64, SignedNote)>,
    lines: BTreeMap<NodeId, NoteSignature>,
    /// Watch streams by node.
    watching: HashMap<NodeId, usize>,
    misses: HashMap<NodeId, u32>,
    /// When the relay last cosigned for a node.
    granted: HashMap<NodeId, Timestamp>,
    /// Since too few cosigned: nothing is signed again for their sake.
    rest: Breaker,
    /// Who was asked and did not answer since: coming back does not end the rest.
    silent: HashSet<NodeId>,
}

impl Collected {
    /// Who comes back without having answered does not end the rest: else it could have a signature made each time.
    fn began_to_watch(&mut self, node: &NodeId, is_witness: bool) {
        if is_witness && !self.silent.contains(node) {
            self.rest = Breaker::default();
        }
    }

    /// Of those who were waited for, these gave lines.
    fn answered(&mut self, waited: &[NodeId], lines: &BTreeMap<NodeId, NoteSignature>, enough: usize) {
        self.silent.retain(|node| !lines.contains_key(node));
        if lines.len() >= enough {
            return;
        }
        for node in waited.iter().filter(|node| !lines.contains_key(*node)) {
            self.silent.insert(node.clone());
            let misses = self.misses.entry(node.clone()).or_default();
            *misses += 1;
            if *misses == COSIGN_MISSES_MAX {
                tracing::warn!(%node, misses, "a witness does not answer in time: it is asked on, and not waited for");
            }
        }
    }

    /// A checkpoint was shown to those who watch; `were_enough`: had they all cosigned, it would be cosigned.
    fn ended(&mut self, cosigned: bool, were_enough: bool, now: Instant) {
        if cosigned {
            self.rest = Breaker::default();
        } else if were_enough {
            self.rest.fail(now);
        }
    }
}

impl Default for Witnesses {
    fn default() -> Self {
        Self { asked: watch::Sender::new(None), collected: Mutex::default(), came: Notify::new() }
    }
}

/// A Watch stream that hears what is to be cosigned, as long as it lives.
pub(super) struct Watching<S: Store> {
    service: Arc<Service<S>>,
    node: NodeId,
    pub(super) asked: watch::Receiver<Option<Bytes>>,
}

impl<S: Store> Drop for Watching<S> {
    fn drop(&mut self) {
        let mut collected = lock(&self.service.witnesses.collected);
        if let Some(count) = collected.watching.get_mut(&self.node) {
            *count -= 1;
            if *count == 0 {
                collected.watching.remove(&self.node);
                collected.misses.remove(&self.node);
            }
        }
    }
}

impl<S: Store> Service<S> {
    /// From now on this node is one of those asked.
    pub(super) fn watching(self: &Arc<Self>, node: &NodeId) -> Watching<S> {
        let mut asked = self.witnesses.asked.subscribe();
        asked.mark_unchanged();
        let is_witness = self.directory.borrow().as_ref().is_some_and(|known| witness_key(known, node).is_some());
        let mut collected = lock(&self.witnesses.collected);
        *collected.watching.entry(node.clone()).or_default() += 1;
        collected.began_to_watch(node, is_witness);
        drop(collected);
        Watching { service: Arc::clone(self), node: node.clone(), asked }
    }

    /// The checkpoint with the lines of those nodes that cosigned it soon. Nobody there: at once, as it is. `urgent`: proofs wait for it, so that who was
    /// silent again and again is not waited for.
    pub async fn cosigned_by_nodes(&self, size: u64, mut note: SignedNote, urgent: bool) -> SignedNote {
        let Some(directory) = self.directory.borrow().clone() else { return note };
        let (wanted, asked) = {
            let mut collected = lock(&self.witnesses.collected);
            let able = |node: &&NodeId| witness_key(&directory, node).is_some();
            let misses = |node: &NodeId| collected.misses.get(node).copied().unwrap_or_default();
            let waited = |node: &&NodeId| !urgent || misses(node) < COSIGN_MISSES_MAX;
            let asked = collected.watching.keys().filter(able).count();
            let wanted: Vec<NodeId> = collected.watching.keys().filter(able).filter(waited).cloned().collect();
            if asked == 0 {
                return note;
            }
            collected.lines.clear();
            collected.note = Some((size, note.clone()));
            (wanted, asked)
        };
        self.witnesses.asked.send_replace(Some(note.to_string().into()));
        let enough = wanted.len().min(COSIGNATURES_MAX);
        // What does not come in time comes too late for this one.
        let _ = tokio::time::timeout(Duration::from_millis(COSIGN_WAIT_MS), self.lines_came(enough)).await;
        let mut collected = lock(&self.witnesses.collected);
        collected.note = None;
        let lines = std::mem::take(&mut collected.lines);
        collected.answered(&wanted, &lines, enough);
        for line in lines.into_values().take(COSIGNATURES_MAX) {
            // A note that takes no more lines is whole as it is.
            let _ = note.add_signature(line);
        }
        let were_enough = directory.cosigners_wanted(NodeKind::Relay).is_some_and(|wanted| wanted <= asked);
        let cosigned = directory.is_cosigned(NodeKind::Relay, &note, None, self.now());
        collected.ended(cosigned, were_enough, Instant::now());
        note
    }

    /// Whether as many witnesses are there as a checkpoint needs, and did not fail to cosign a moment ago.
    pub(crate) fn may_ask_witnesses(&self) -> bool {
        let Some(directory) = self.directory.borrow().clone() else { return false };
        let Some(wanted) = directory.cosigners_wanted(NodeKind::Relay) else { return false };
        let collected = lock(&self.witnesses.collected);
        let able = |node: &&NodeId| witness_key(&directory, node).is_some();
        !collected.rest.rests(Instant::now()) && collected.watching.keys().filter(able).take(wanted).count() == wanted
    }

    async fn lines_came(&self, enough: usize) {
        loop {
            let came = self.witnesses.came.notified();
            if lock(&self.witnesses.collected).lines.len() >= enough {
                return;
            }
            came.await;
        }
    }

    /// The nodes that may cosign, by what is heard of them.
    pub(crate) fn witness_states(&self) -> WitnessStates {
        let Some(directory) = self.directory.borrow().clone() else { return WitnessStates::default() };
        let collected = lock(&self.witnesses.collected);
        let mut states = WitnessStates::default();
        for (_, node) in directory.nodes().filter(|(kind, node)| *kind == NodeKind::Node && witness_of(node).is_some())
        {
            let misses = collected.misses.get(&node.id).copied().unwrap_or_default();
            *match (collected.watching.contains_key(&node.id), misses < COSIGN_MISSES_MAX) {
                (false, _) => &mut states.away,
                (true, true) => &mut states.answering,
                (true, false) => &mut states.silent,
            } += 1;
        }
        states
    }

    /// Looks for the witness key where there was none: it may have been made for the directory version that is in force now. Blocks.
    pub(crate) fn look_for_witness(&self) {
        let looked = self.settings.witness.as_ref().map(Witness::look);
        if let Some(Err(error)) = looked {
            tracing::warn!(
                error = truc_custody::chain(&error),
                "the witness key cannot be used; this relay does not cosign nodes' checkpoints"
            );
        }
    }

    /// A node hands in its line.
    pub(super) fn cosigned(
        &self,
        node: &NodeId,
        request: wire::CosignedRequest,
    ) -> Result<wire::CosignedReply, Status> {
        let directory = self.current_directory()?;
        let key = witness_key(&directory, node)
            .ok_or_else(|| Refusal::because(Reason::NotEntitled, "the directory lists no witness key of yours"))?;
        let mut collected = lock(&self.witnesses.collected);
        let Some((size, note)) = collected.note.as_ref() else { return Ok(wire::CosignedReply {}) };
        if *size != request.size {
            return Ok(wire::CosignedReply {}); // too late for that one
        }
        let (line, at) = key
            .cosignature(note, request.cosignature.to_vec())
            .map_err(|error| Refusal::invalid(format!("your cosignature: {error}")))?;
        if at.unix_ms().abs_diff(self.now().unix_ms()) > FUTURE_SKEW_MAX_MS.unsigned_abs() {
            return Err(Refusal::because(
                Reason::FromFuture,
                "your clock and the relay's are more than five minutes apart",
            )
            .into());
        }
        collected.lines.insert(node.clone(), line);
        collected.misses.remove(node);
        drop(collected);
        self.witnesses.came.notify_waiters();
        Ok(wire::CosignedReply {})
    }

    /// The relay as witness to a node's ledger.
    pub(super) async fn cosign(
        self: &Arc<Self>,
        node: NodeId,
        request: wire::CosignRequest,
    ) -> Result<wire::CosignReply, Status> {
        let nothing = wire::CosignReply::default();
        let directory = self.current_directory()?;
        let Some(witness) = self.own_witness(&directory) else { return Ok(nothing) };
        let proofs = request.proofs.iter().map(proof_of).collect::<Result<Vec<_>, _>>()?;
        if proofs.len() > PEER_MARKS_MAX {
            return Err(Refusal::because(Reason::TooLarge, format!("at most {PEER_MARKS_MAX} proofs at once")).into());
        }
        let (_, entry) =
            directory.node(&node).ok_or_else(|| Refusal::because(Reason::NotEntitled, "you are in no directory"))?;
        let shown = check_own(entry, &request.checkpoint)?;
        let mark = Mark { size: shown.checkpoint().size, root: shown.checkpoint().root };
        if !self.may_cosign_now(&node) {
            return Ok(nothing);
        }
        // The certificate's line is large and proves nothing here: the ledger key's is what binds.
        let kept = shown.note().with_only(|line| line.key_id == ledger_line(entry));
        let kept = Bytes::from(kept.to_string());
        match self.store.cosign(node.clone(), entry.origin.clone(), mark, kept, proofs).await? {
            CosignOutcome::Wanted(wanted) => Ok(wire::CosignReply { wanted, ..nothing }),
            CosignOutcome::Behind => Ok(nothing),
            CosignOutcome::Granted => {
                lock(&self.witnesses.collected).granted.insert(node, self.now());
                let line = witness.cosign(shown.note().text(), self.now());
                Ok(wire::CosignReply { cosignature: line.signature.into(), ..nothing })
            }
        }
    }

    /// The key, where the directory in force says that it is this relay's.
    fn own_witness(&self, directory: &Directory) -> Option<Arc<LedgerKey>> {
        let key = self.settings.witness.as_ref()?.key()?;
        let listed = witness_of(directory.relay())?;
        (listed == *key.public()).then_some(key)
    }

    fn may_cosign_now(&self, node: &NodeId) -> bool {
        let granted = lock(&self.witnesses.collected).granted.get(node).copied();
        granted.is_none_or(|at| at.unix_ms().abs_diff(self.now().unix_ms()) >= COSIGN_GAP_MS)
    }
}

fn witness_key(directory: &Directory, node: &NodeId) -> Option<truc_proto::NoteKey> {
    witness_of(directory.node(node)?.1)
}

fn ledger_line(entry: &truc_proto::NodeEntry) -> truc_proto::KeyId {
    truc_proto::KeyId::ed25519(&entry.origin, &entry.ledger_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn witnesses_that_never_answer_are_asked_less_and_less_and_coming_back_does_not_change_that() {
        let [silent, good]: [NodeId; 2] = ["N-A", "N-B"].map(|id| id.parse().unwrap());
        let (mut collected, mut now) = (Collected::default(), Instant::now());
        let line = NoteSignature { name: "w".into(), key_id: truc_proto::KeyId([0; 4]), signature: Vec::new() };
        let none = BTreeMap::new();
        collected.began_to_watch(&silent, true);
        let mut asked = 0;
        // A quarter of an hour, looked at every second, the witness coming anew each time.
        for _ in 0..900 {
            now += Duration::from_secs(1);
            collected.began_to_watch(&silent, true);
            if !collected.rest.rests(now) {
                asked += 1;
                collected.answered(std::slice::from_ref(&silent), &none, 1);
                collected.ended(false, true, now);
            }
        }
        assert!((3..20).contains(&asked), "{asked}");
        assert!(collected.rest.rests(now));
        // Neither does who is no witness; another witness does, and it when it has answered.
        collected.began_to_watch(&good, false);
        assert!(collected.rest.rests(now));
        collected.began_to_watch(&good, true);
        assert!(!collected.rest.rests(now));
        collected.answered(std::slice::from_ref(&silent), &BTreeMap::from([(silent.clone(), line)]), 1);
        collected.ended(false, true, now);
        assert!(collected.rest.rests(now));
        collected.began_to_watch(&silent, true);
        assert!(!collected.rest.rests(now));
        // Too few were there: nobody failed.
        collected.ended(false, false, now);
        assert!(!collected.rest.rests(now));
    }
}
