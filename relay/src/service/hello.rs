//! The first call on a connection: each side shows the last checkpoint it holds of the other, so that a ledger put back from an old copy is
//! noticed before anything signed leaves it.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use prost::Message as _;
use tonic::Status;
use truc_evidence::{keep_behind, ledger_origin};
use truc_ledger::fork::{ForkGuard, HeldCheckpoint, Standing};
use truc_link::Peer;
use truc_proto::{
    Checkpoint, Digest, NodeEntry, NodeId, NoteKey, Reason, SignedNote,
    limits::{NOTE_BYTES_MAX, PEER_MARKS_MAX, PROOF_HASHES_MAX},
    relay_v1 as wire, wire_v1,
};

use super::{
    Service, blocking,
    proofs::{hashes, note_bytes, proof_failure},
    refuse::Refusal,
};
use crate::{
    core::Mark,
    records::Body,
    store::{Store, StoreError},
};

impl<S: Store> Service<S> {
    pub(super) async fn hello(
        self: &Arc<Self>,
        peer: &Peer,
        request: wire::HelloRequest,
    ) -> Result<wire::HelloReply, Status> {
        if self.silenced.load(Ordering::Acquire) {
            return Err(Refusal::silenced().into());
        }
        let (axis, lane) = (&self.settings.axis, self.settings.lane);
        if request.axis != axis.as_str() || request.lane != lane.as_str() {
            let what = format!(
                "this is the {lane} lane of axis {axis}, you are on the {} lane of {}",
                request.lane, request.axis
            );
            return Err(Refusal::because(Reason::WrongLane, what).into());
        }
        if request.node != peer.name.as_str() {
            let what = format!("your certificate is of {}, you say that you are {}", peer.name, request.node);
            return Err(Refusal::because(Reason::NotEntitled, what).into());
        }
        let head = self.store.head();
        let service = Arc::clone(self);
        let (ours, theirs) = (head.note.clone(), request.held_of_you.clone());
        let standing = blocking(move || service.standing(&ours, &theirs)).await??;
        self.check_standing(peer, standing)?;
        self.hear(&peer.name).await?;
        if !self.is_listed() {
            return Err(self.why_silenced().into());
        }
        let held_size = held_size(&request.held_of_you, self.settings.ledger_key.name());
        if !request.mine.is_empty() {
            self.take_checkpoint(peer, &request.mine).await?;
        }
        let held_of_you = match self.store.held_of(peer.name.clone()).await? {
            Some((position, _)) => {
                let service = Arc::clone(self);
                blocking(move || service.held_note(position)).await?.map_err(Refusal::from)?
            }
            None => Bytes::new(),
        };
        let consistency = match held_size {
            Some(from) => self.store.consistency(from, head.size).map_err(|e| Refusal::from(proof_failure(e)))?,
            None => Vec::new(),
        };
        let undelivered = self.undelivered_note(&peer.name).await?;
        self.greet(peer);
        tracing::info!(node = %peer.name, address = %peer.address, "hello");
        Ok(wire::HelloReply {
            relay: self.settings.relay.to_string(),
            held_of_you,
            checkpoint: note_bytes(&head),
            consistency: hashes(&consistency),
            directory_version: self.directory.borrow().as_ref().map_or(0, |directory| directory.version()),
            undelivered,
        })
    }

    fn standing(&self, ours: &SignedNote, theirs: &[u8]) -> Result<Standing, Refusal> {
        if theirs.len() > NOTE_BYTES_MAX {
            return Err(Refusal::because(Reason::TooLarge, "a checkpoint of that length is none"));
        }
        let held = if theirs.is_empty() { None } else { Some(SignedNote::parse(theirs)) };
        let held = held.transpose().map_err(|error| Refusal::invalid(format!("held_of_you is no note: {error}")))?;
        // Of an origin that was given up: it counts for nothing since the directory names this one.
        let held = held.filter(|held| !self.is_of_before(held));
        // A node may hold a checkpoint with further lines: ours is the one that counts.
        let standing =
            ForkGuard::new(self.settings.ledger_key.clone()).exchange(ours, held, |size| self.store.root_at(size).ok());
        standing.map_err(|error| {
            use std::error::Error as _;
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            Refusal::invalid(format!("{error}{source}"))
        })
    }

    /// Whether a checkpoint is of an earlier origin of this relay's ledger.
    fn is_of_before(&self, note: &SignedNote) -> bool {
        let (axis, lane, relay) = (&self.settings.axis, self.settings.lane, &self.settings.relay);
        let Ok(checkpoint) = Checkpoint::of_note(note) else { return false };
        let epoch = checkpoint.origin().rsplit('/').next().and_then(|epoch| epoch.parse::<u64>().ok());
        epoch.is_some_and(|epoch| {
            epoch < self.settings.epoch && checkpoint.origin() == ledger_origin(axis, lane, relay, epoch)
        })
    }

    /// Whether our ledger continues what the peer holds. A peer cannot make us silent: only our own signature does.
    fn check_standing(&self, peer: &Peer, standing: Standing) -> Result<(), Refusal> {
        let (what, theirs) = match standing {
            Standing::NothingHeld | Standing::Consistent => return Ok(()),
            Standing::WeAreBehind { theirs } => ("an older copy than", theirs),
            Standing::Fork { theirs, .. } => ("another history than", theirs),
        };
        self.silenced.store(true, Ordering::Release);
        if let Err(error) = keep_behind(&self.settings.store, theirs.note()) {
            tracing::error!(%error, "what the peer holds of this ledger was not kept as a file");
        }
        let size = theirs.checkpoint().size;
        tracing::error!(node = %peer.name, size, note = %theirs.note(),
            "alarm: this ledger is {what} a peer has seen; nothing is signed any more until it is recovered under a new origin");
        Err(Refusal::silenced())
    }

    /// A restored relay goes on when all have been heard; until then nothing of it is shown to anybody.
    async fn hear(self: &Arc<Self>, node: &NodeId) -> Result<(), Status> {
        if self.unheard().is_empty() {
            return Ok(());
        }
        let (service, heard) = (Arc::clone(self), node.clone());
        let all = blocking(move || {
            service.unheard.as_ref().is_none_or(|unheard| match unheard.heard(&heard) {
                Ok(all) => all,
                Err(error) => {
                    tracing::error!(error = truc_proto::chain(&error), "the note that this relay was restored stays");
                    false
                }
            })
        });
        if !all.await? {
            tracing::info!(%node, waits_for = ?self.unheard(), "restored: this node knows of nothing newer");
            return Err(self.why_silenced().into());
        }
        tracing::info!("restored from a backup, and no node knows of anything newer: this relay goes on");
        Ok(())
    }

    async fn take_checkpoint(self: &Arc<Self>, peer: &Peer, mine: &Bytes) -> Result<(), Status> {
        let Ok(directory) = self.current_directory() else { return Ok(()) };
        let Some((_, entry)) = directory.node(&peer.name) else { return Ok(()) };
        let held = check_own(entry, mine)?;
        let mark = Mark { size: held.checkpoint().size, root: held.checkpoint().root };
        Ok(self.store.peer_seen(peer.name.clone(), mark, mine.clone()).await?)
    }

    /// The note with the newest checkpoint of a node, in whatever record it came.
    pub(super) fn held_note(&self, position: truc_ledger::Position) -> Result<Bytes, StoreError> {
        let batch =
            |bytes: Bytes| wire_v1::EvidenceBatch::decode(bytes).map(|batch| batch.checkpoint).unwrap_or_default();
        Ok(match self.store.read(position)?.body {
            Body::Accepted(_) => self.accepted(position)?.1.submission.map(|leaf| leaf.checkpoint).unwrap_or_default(),
            Body::Evidence(evidence) => batch(evidence.batch),
            Body::Finalisation(finalisation) => batch(finalisation.batch),
            Body::PeerCheckpoint(seen) => seen.note,
            Body::Cosigned(cosigned) => cosigned.note,
            _ => return Err(StoreError::Corrupt(format!("record {position} holds no checkpoint of a node"))),
        })
    }

    /// Nobody is believed to have one history because it says so: the node proves that its newest checkpoint continues those seen of it.
    pub(super) async fn prove_history(
        self: &Arc<Self>,
        node: NodeId,
        request: wire::ProveHistoryRequest,
    ) -> Result<wire::ProveHistoryReply, Status> {
        let proofs = request.proofs.iter().map(proof_of).collect::<Result<Vec<_>, _>>()?;
        if proofs.len() > PEER_MARKS_MAX {
            return Err(Refusal::because(Reason::TooLarge, format!("at most {PEER_MARKS_MAX} proofs at once")).into());
        }
        let directory = self.current_directory()?;
        let (_, entry) =
            directory.node(&node).ok_or_else(|| Refusal::because(Reason::NotEntitled, "you are in no directory"))?;
        let shown = check_own(entry, &request.checkpoint)?;
        let mark = Mark { size: shown.checkpoint().size, root: shown.checkpoint().root };
        let wanted = self.store.history_shown(node, mark, request.checkpoint, proofs).await?;
        Ok(wire::ProveHistoryReply { wanted })
    }

    pub(super) async fn checkpoint(
        self: &Arc<Self>,
        request: wire::CheckpointRequest,
    ) -> Result<wire::CheckpointReply, Status> {
        let head = self.store.head();
        let (from, to) = (request.from, if request.to == 0 { head.size } else { request.to });
        if from > to || to > head.size {
            return Err(Refusal::invalid(format!("the ledger has {} leaves", head.size)).into());
        }
        let service = Arc::clone(self);
        let consistency = if from == 0 {
            Vec::new()
        } else {
            blocking(move || service.store.consistency(from, to)).await?.map_err(|e| Refusal::from(proof_failure(e)))?
        };
        Ok(wire::CheckpointReply { checkpoint: note_bytes(&head), consistency: hashes(&consistency) })
    }
}

/// Leaves in the checkpoint that the peer holds of this origin, once it is known to be ours; none where there is nothing to prove.
fn held_size(held_of_you: &[u8], origin: &str) -> Option<u64> {
    let (_, checkpoint) = Checkpoint::parse_note(held_of_you).ok()?;
    Some(checkpoint.size).filter(|size| *size > 0 && checkpoint.origin() == origin)
}

pub(super) fn proof_of(proof: &wire::ConsistencyProof) -> Result<(u64, Vec<Digest>), Refusal> {
    if proof.hashes.len() > PROOF_HASHES_MAX {
        return Err(Refusal::because(Reason::TooLarge, format!("a proof has at most {PROOF_HASHES_MAX} hashes")));
    }
    let read = |hash: &Bytes| {
        Digest::from_slice(hash).map_err(|error| Refusal::invalid(format!("a hash of a proof: {error}")))
    };
    Ok((proof.from, proof.hashes.iter().map(read).collect::<Result<_, _>>()?))
}

pub(super) fn check_own(entry: &NodeEntry, mine: &Bytes) -> Result<HeldCheckpoint, Refusal> {
    let refused = |why: String| Refusal::invalid(format!("your own checkpoint does not hold: {why}"));
    if mine.len() > NOTE_BYTES_MAX {
        return Err(refused("too long".into()));
    }
    let note = SignedNote::parse(mine).map_err(|error| refused(error.to_string()))?;
    let key = NoteKey::new(entry.origin.as_str(), entry.ledger_key).map_err(|error| refused(error.to_string()))?;
    HeldCheckpoint::check(note, &key).map_err(|error| refused(error.to_string()))
}
