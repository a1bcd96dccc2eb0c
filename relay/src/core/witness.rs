//! The relay as witness to nodes' ledgers: which checkpoint it may cosign, and which it notes in its own ledger.

use bytes::Bytes;
use truc_ledger::merkle::verify_consistency;
use truc_proto::{Digest, LoggedCheckpoint, NodeId, Timestamp, limits::CHECKPOINT_LOGGED_EVERY_MS};

use super::{
    Core, Turn,
    decide::record_mark,
    input::{CosignOutcome, Mark, Refused},
    state::Peer,
    statement,
};
use crate::records::{self, Body};

/// A node's checkpoint, its key's line verified.
pub(super) struct Shown<'a> {
    pub(super) node: &'a NodeId,
    pub(super) origin: String,
    pub(super) mark: &'a Mark,
    pub(super) note: Bytes,
}

impl Core {
    /// A witness never goes back: what it cosigns continues everything that it saw before, and is not smaller than what it cosigned before. The record
    /// that says so is on the device before the answer leaves (I1, I5).
    pub(super) fn cosign(
        &mut self,
        now: Timestamp,
        shown: Shown<'_>,
        proofs: &[(u64, Vec<Digest>)],
        turn: &mut Turn,
    ) -> Result<CosignOutcome, Refused> {
        let Shown { node, origin, mark, note } = shown;
        self.check_peer(node, mark, || note.clone(), turn)?;
        let known = self.book.known_node(node).and_then(|node| self.peers.get(&node));
        if let Some(peer) = known {
            if is_behind(peer, mark) {
                return Ok(CosignOutcome::Behind);
            }
            match judge(peer, mark, proofs) {
                Judged::Continues => {}
                Judged::Wanted(from) => return Ok(CosignOutcome::Wanted(from)),
                Judged::Contradicts(held_at) => return Err(self.forked(node, held_at, mark, note, turn)),
            }
        }
        let before = known.and_then(|peer| peer.cosigned);
        let logged = before.and_then(|before| before.logged);
        let logs = logged.is_none_or(|(size, at)| {
            size < mark.size && now.unix_ms().saturating_sub(at) >= CHECKPOINT_LOGGED_EVERY_MS
        });
        if logs || before.is_none_or(|before| before.size < mark.size) {
            let leaf = logs.then(|| {
                let (size, root) = (mark.size, mark.root);
                statement(LoggedCheckpoint { node: node.clone(), origin, size, root, time: now })
            });
            let record = records::Cosigned {
                time_ms: now.unix_ms(),
                node: node.to_string(),
                mark: Some(record_mark(mark)),
                note,
            };
            self.append(Body::Cosigned(record), leaf, turn);
        }
        Ok(CosignOutcome::Granted)
    }
}

/// Smaller than what was cosigned, or than what is proven: then nothing can be proven about it from what is held.
fn is_behind(peer: &Peer, mark: &Mark) -> bool {
    let cosigned = peer
        .cosigned
        .is_some_and(|before| before.size > mark.size || (before.size == mark.size && before.root != mark.root));
    cosigned || peer.proven.size > mark.size
}

/// How a checkpoint stands to those that were seen before.
pub(super) enum Judged {
    Continues,
    /// Sizes from which a proof is missing.
    Wanted(Vec<u64>),
    /// The record with the note that it does not continue.
    Contradicts(truc_ledger::Position),
}

pub(super) fn judge(peer: &Peer, mark: &Mark, proofs: &[(u64, Vec<Digest>)]) -> Judged {
    let mut wanted = Vec::new();
    for seen in peer.all().filter(|seen| seen.size > 0 && seen.size < mark.size) {
        let Some((_, proof)) = proofs.iter().find(|(from, _)| *from == seen.size) else {
            wanted.push(seen.size);
            continue;
        };
        if verify_consistency(seen.size, &seen.root, mark.size, &mark.root, proof).is_err() {
            return Judged::Contradicts(seen.position);
        }
    }
    if wanted.is_empty() { Judged::Continues } else { Judged::Wanted(wanted) }
}
