//! Shows own leaves to the relay, who passes them on: first the leaf, later its place under the certificate's signature.

use std::{collections::HashSet, sync::Arc};

use tracing::{error, warn};
use truc_proto::{Checkpoint, relay_v1, wire_v1};

use super::{Shell, offer::describe};
use crate::{
    core::{Input, OwnLeaf},
    records::Body,
};

/// Runs one push to its end and tells the core.
pub(super) async fn push(shell: Arc<Shell>, leaves: Vec<OwnLeaf>, finals: Option<(u64, Vec<OwnLeaf>)>) {
    let indices = |leaves: &[OwnLeaf]| leaves.iter().map(|leaf| leaf.index).collect::<Vec<_>>();
    let mut pushed = indices(&leaves);
    // A leaf that went together with its place under the certificate counts as shown only: had the relay known it before (its answer was lost
    // when one of us stopped), it passed nothing on, and the sender would wait for the certificate for ever.
    let (known, first): (Vec<OwnLeaf>, Vec<OwnLeaf>) =
        finals.iter().flat_map(|(_, leaves)| leaves).cloned().partition(|leaf| leaf.known);
    pushed.extend(indices(&first));
    let finally = indices(&known);
    match try_push(&shell, leaves, finals).await {
        Ok(()) => {
            for (leaves, finally) in [(pushed, false), (finally, true)] {
                if !leaves.is_empty() && shell.engine.tell(Input::Pushed { leaves, finally }).await.is_err() {
                    return;
                }
            }
        }
        Err(error) => {
            warn!(error, "evidence not pushed; it is tried again");
            let _ = shell.engine.tell(Input::PushFailed).await;
        }
    }
}

async fn try_push(shell: &Arc<Shell>, leaves: Vec<OwnLeaf>, finals: Option<(u64, Vec<OwnLeaf>)>) -> Result<(), String> {
    let mut relay = shell.relay().ok_or("the relay is away")?;
    let inner = Arc::clone(shell);
    let batches = shell
        .work("proving own leaves", move || batches(&inner, &leaves, finals))
        .await
        .map_err(|e| e.to_string())??;
    if batches.is_empty() {
        return Ok(());
    }
    let reply = relay.push_evidence(relay_v1::PushEvidenceRequest { batches }).await;
    let rejected = reply.map_err(|status| describe(&status))?.into_inner().rejected;
    let mut named = HashSet::new();
    for item in rejected {
        // The same bytes would be rejected again: said aloud, not tried for ever.
        let reason = item.refusal.map(|refusal| format!("{}: {}", refusal.reason, refusal.english)).unwrap_or_default();
        if named.insert(item.leaf_hash.clone()) {
            error!(leaf = %data_encoding::HEXLOWER.encode(&item.leaf_hash), reason, "the relay rejects our evidence");
        }
    }
    Ok(())
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
