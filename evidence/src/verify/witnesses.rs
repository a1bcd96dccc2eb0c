//! What a policy asks of the checkpoint: that its ledger is one of those named, and that enough witnesses cosigned it.

use truc_proto::{Checkpoint, NoteKey, NoteVerifyError, Policy, SignedNote, Timestamp};

use crate::directory::skew;

/// Bytes of a cosignature of type `0x04`: eight of time, 64 of Ed25519.
const COSIGNATURE_BYTES: usize = 72;

/// What was found about the cosignatures.
pub(super) enum Witnessed {
    /// The quorum is met, by these.
    Met(String),
    /// The policy asks for no witness, and nothing stands against the receipt.
    NotAsked,
    /// A line does not hold, too few hold, or the ledger is none of the policy's.
    Failed(String),
}

/// Whether the checkpoint is as the policy demands. `leaf_time` is when the event happened: who cosigned its ledger with it inside did so later.
pub(super) fn judge(
    policy: &Policy,
    note: &SignedNote,
    checkpoint: &Checkpoint,
    leaf_time: Timestamp,
    now: Timestamp,
) -> Witnessed {
    let of_origin = |key: &&NoteKey| key.name() == checkpoint.origin();
    if !policy.logs().is_empty() && !policy.logs().iter().filter(of_origin).any(|key| key.verify(note).is_ok()) {
        return Witnessed::Failed(format!("the policy names no log {} whose key signed this", checkpoint.origin()));
    }
    let mut held = Vec::new();
    for (place, witness) in policy.witnesses().iter().enumerate() {
        // Nobody is a witness of its own ledger.
        if witness.name() == checkpoint.origin() {
            continue;
        }
        match witness.verify_cosignature(note) {
            Err(NoteVerifyError::NotSigned { .. }) => {}
            Err(NoteVerifyError::BadSignature { .. }) => {
                return Witnessed::Failed(format!("the cosignature by {} does not hold", witness.name()));
            }
            Ok(at) if at > now + skew() => {
                return Witnessed::Failed(format!("{} cosigned at {at}, which lies in the future", witness.name()));
            }
            Ok(at) if leaf_time > at + skew() => {
                return Witnessed::Failed(format!("{} cosigned at {at}, before the event", witness.name()));
            }
            Ok(at) => held.push((place, format!("{} {at}", witness.name()))),
        }
    }
    let who = held.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(", ");
    if !policy.is_met(|place| held.iter().any(|(found, _)| *found == place)) {
        let by = if held.is_empty() { String::new() } else { format!(": {who}") };
        return Witnessed::Failed(format!("quorum not met, {} witnesses of the policy cosigned{by}", held.len()));
    }
    if policy.asks_for_witnesses() { Witnessed::Met(who) } else { Witnessed::NotAsked }
}

/// Lines that look like cosignatures of others. Without a policy nobody's key is known: they prove nothing.
pub(super) fn unchecked(note: &SignedNote, checkpoint: &Checkpoint) -> usize {
    let lines = note.signatures().iter();
    lines.filter(|line| line.name != checkpoint.origin() && line.signature.len() == COSIGNATURE_BYTES).count()
}
