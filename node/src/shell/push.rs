//! Shows own leaves to the relay, who passes them on: first the leaf, later its place under the certificate's signature.

use std::{collections::HashMap, sync::Arc};

use tracing::{error, warn};
use truc_proto::{Checkpoint, Digest, Reason, relay_v1, wire_v1};

use super::{Shell, engine::Stopped, offer::describe};
use crate::{
    core::{Input, OwnLeaf, RefusedLeaf, Rejection},
    records::Body,
};

/// The relay's word for an envelope that it may have lost (docs/FORMATS.md, Reasons).
const UNKNOWN_ENVELOPE: &str = "unknown-envelope";

/// Runs one push to its end and tells the core.
pub(super) async fn push(shell: Arc<Shell>, leaves: Vec<OwnLeaf>, finals: Option<(u64, Vec<OwnLeaf>)>) {
    // A leaf that went together with its place under the certificate counts as shown only: had the relay known it before (its answer was lost
    // when one of us stopped), it passed nothing on, and the sender would wait for the certificate for ever.
    let (finally, first): (Vec<OwnLeaf>, Vec<OwnLeaf>) =
        finals.iter().flat_map(|(_, leaves)| leaves).cloned().partition(|leaf| leaf.known);
    let pushed: Vec<OwnLeaf> = leaves.iter().cloned().chain(first).collect();
    let told = match try_push(&shell, leaves, finals).await {
        Ok(refusals) => tell(&shell, &pushed, &finally, refusals).await,
        Err(error) => {
            warn!(error, "evidence not pushed; it is tried again");
            shell.engine.tell(Input::PushFailed).await
        }
    };
    let _ = told; // the node may be stopping
}

/// What was refused first: with the last word the next push may begin.
async fn tell(
    shell: &Shell,
    pushed: &[OwnLeaf],
    finally: &[OwnLeaf],
    refusals: HashMap<Digest, (Rejection, String)>,
) -> Result<(), Stopped> {
    let refused = pushed.iter().chain(finally).filter_map(|leaf| {
        let (kind, why) = refusals.get(&leaf.leaf)?.clone();
        Some(RefusedLeaf { index: leaf.index, kind, why })
    });
    let refused: Vec<RefusedLeaf> = refused.collect();
    if !refused.is_empty() {
        shell.engine.tell(Input::PushRefused { leaves: refused }).await?;
    }
    for (leaves, finally) in [(pushed, false), (finally, true)] {
        let taken = leaves.iter().filter(|leaf| !refusals.contains_key(&leaf.leaf));
        let leaves: Vec<u64> = taken.map(|leaf| leaf.index).collect();
        if !leaves.is_empty() {
            shell.engine.tell(Input::Pushed { leaves, finally }).await?;
        }
    }
    Ok(())
}

/// Gives what the relay did not take, and why.
async fn try_push(
    shell: &Arc<Shell>,
    leaves: Vec<OwnLeaf>,
    finals: Option<(u64, Vec<OwnLeaf>)>,
) -> Result<HashMap<Digest, (Rejection, String)>, String> {
    let mut relay = shell.relay().ok_or("the relay is away")?;
    let inner = Arc::clone(shell);
    let batches = shell
        .work("proving own leaves", move || batches(&inner, &leaves, finals))
        .await
        .map_err(|e| e.to_string())??;
    if batches.is_empty() {
        return Ok(HashMap::new());
    }
    let reply = relay.push_evidence(relay_v1::PushEvidenceRequest { batches }).await;
    let rejected = reply.map_err(|status| describe(&status))?.into_inner().rejected;
    let mut refusals = HashMap::new();
    for item in rejected {
        let Ok(leaf) = Digest::from_slice(&item.leaf_hash) else { continue };
        let refusal = item.refusal.unwrap_or_default();
        let (kind, why) = (kind_of(&refusal.reason), format!("{}: {}", refusal.reason, refusal.english));
        error!(%leaf, why, ?kind, "the relay does not take our evidence");
        refusals.entry(leaf).or_insert((kind, why));
    }
    Ok(refusals)
}

/// Reasons of the closed list are about what was shown, and stay, but for a clock that is set right one day; the others are about the relay's state.
fn kind_of(reason: &str) -> Rejection {
    match reason.parse() {
        Ok(Reason::FromFuture) => Rejection::NotNow,
        Ok(_) => Rejection::Final,
        Err(_) if reason == UNKNOWN_ENVELOPE => Rejection::UnknownEnvelope,
        Err(_) => Rejection::NotNow,
    }
}

fn batches(
    shell: &Shell,
    leaves: &[OwnLeaf],
    finals: Option<(u64, Vec<OwnLeaf>)>,
) -> Result<Vec<wire_v1::EvidenceBatch>, String> {
    let mut batches = Vec::new();
    if !leaves.is_empty() {
        batches.push(shell.own_batch(leaves)?);
    }
    if let Some((position, finals)) = finals {
        let (body, _) = shell.bodies().body(position).map_err(|e| crate::chain(&e))?;
        let Body::OwnCheckpoint(note) = body else {
            return Err("our signed checkpoint is not where it should be".into());
        };
        let (_, checkpoint) = Checkpoint::parse_note(&note.note).map_err(|e| e.to_string())?;
        batches.push(shell.batch_under(&finals, note.note.into(), checkpoint.size)?);
    }
    Ok(batches)
}
