//! Signs the newest durable checkpoint with the node's certificate: off the path, at most once a second, held while the
//! key is away (docs/FORMATS.md, ledger and checkpoint).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use tracing::warn;
use truc_custody::put_stamp;
use truc_evidence::{CheckpointStamp, checkpoint_signature, sign_checkpoint};
use truc_link::StampError;
use truc_proto::{Digest, SignedNote};
use truc_signer::{CertificateUse, Verdict, validate};

use super::{Shell, clock};
use crate::core::{Alarm, Input, OwnCheckpoint};

/// Between two signatures, where settings do not say.
pub const SIGN_EVERY: Duration = Duration::from_secs(1);
/// Between two tries while the key is away; doubles up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Runs until the node stops.
pub async fn run_signer(shell: Arc<Shell>) {
    let mut stopping = shell.stopping.clone();
    let mut relay = shell.relay.subscribe();
    let mut keys = shell.keys_changed.subscribe();
    let mut retry = RETRY.0;
    while !*stopping.borrow() {
        tokio::select! {
            () = shell.sign.notified() => {}
            _ = stopping.changed() => return,
            // A first Hello lifts the ban on signing.
            changed = relay.changed() => if changed.is_err() { return },
            () = stamp_due(&shell) => {}
        }
        if !shell.may_sign() {
            continue;
        }
        match sign_newest(&shell).await {
            Ok(()) => {
                retry = RETRY.0;
                tokio::select! {
                    () = tokio::time::sleep(shell.sign_every) => {}
                    _ = stopping.changed() => return,
                }
            }
            Err(error) => {
                warn!(error, "checkpoint not signed; receipts stay provisional until the key is back");
                let text = format!("the node certificate's key does not sign: {error}");
                let _ = shell.engine.tell(Input::Alarm { alarm: Alarm::KeyAway, text: Some(text) }).await;
                tokio::select! {
                    () = tokio::time::sleep(retry) => {}
                    // The sender is the shell's own, and here.
                    _ = keys.changed() => {}
                    _ = stopping.changed() => return,
                }
                retry = (retry * 2).min(RETRY.1);
                shell.sign.notify_one();
            }
        }
    }
}

async fn sign_newest(shell: &Arc<Shell>) -> Result<(), String> {
    let signed = shell.engine.ask(|core| core.own_checkpoint()).await.map_err(|error| error.to_string())?;
    let head = shell.ledger.head();
    if signed.is_some_and(|own| head.size <= own.size && !may_stamp(shell, own.stamp)) || head.size == 0 {
        return Ok(());
    }
    let key = shell.node_key();
    // What a revoked certificate signs nobody believes; the ledger key's line stands.
    if shell.is_taken_away(&key.certificate().sha256()) {
        return Err(
            "the directory has its certificate revoked or suspended; `truc cert request node` asks for a new one"
                .into(),
        );
    }
    if let Ok(Verdict::Revoked { at, reason, .. }) =
        validate(&shell.trust.load(), key.certificate(), CertificateUse::Node, clock::now())
    {
        return Err(format!("its certificate is revoked since {at} ({}); install a new one", reason.as_str()));
    }
    let certificate = key.certificate().sha256();
    let mut note = head.note.clone();
    let work = move || sign_checkpoint(&mut note, key.as_ref(), clock::now()).map(|()| note);
    let note = shell.work("signing a checkpoint", work).await.map_err(|error| error.to_string())?;
    let note = note.map_err(|error| crate::chain(&error))?;
    let (note, stamp, cosignatures) = with_what_others_say(shell, note, &certificate).await;
    let note = Bytes::from(note.to_string());
    let clear = Input::Alarm { alarm: Alarm::KeyAway, text: None };
    for input in [Input::CheckpointSigned { note, stamp }, clear] {
        shell.engine.tell(input).await.map_err(|error| error.to_string())?;
    }
    shell.signed_at_ms.store(clock::now().unix_ms(), Ordering::Relaxed);
    shell.signed.add(stamp, cosignatures);
    Ok(())
}

/// What others add to a signed checkpoint before it is published: all are asked at once, each within a budget of its own. Whatever does not come in time is
/// left out; nothing waits for it, and neither acceptance nor delivery waits for any of this. With it goes what became of the time-stamp, and how many
/// cosigned.
async fn with_what_others_say(
    shell: &Shell,
    note: SignedNote,
    certificate: &Digest,
) -> (SignedNote, CheckpointStamp, usize) {
    let own = note.signatures().len();
    let stamping = async { time_stamp(shell, &checkpoint_signature(&note, certificate)?).await };
    let (mut cosigned, token) = tokio::join!(shell.cosigned_by_relay(note.clone()), stamping);
    let cosignatures = cosigned.signatures().len() - own;
    let stamp = put_stamp(&mut cosigned, certificate, shell.stamper.is_some(), token);
    (cosigned, stamp, cosignatures)
}

/// Whether the same tree is signed again: its time-stamp is missing, and there is somebody to ask.
fn may_stamp(shell: &Shell, stamp: CheckpointStamp) -> bool {
    stamp == CheckpointStamp::Awaited && shell.stamper.as_ref().is_some_and(|stamper| !stamper.rests())
}

/// Completes when the time-stamp that the newest checkpoint lacks may be asked for: what was shown to others without it is shown again under it.
async fn stamp_due(shell: &Shell) {
    let Some(stamper) = &shell.stamper else { return std::future::pending().await };
    let is_missing = |own: Option<OwnCheckpoint>| own.is_some_and(|own| own.stamp == CheckpointStamp::Awaited);
    // An engine that stopped asks for none.
    stamper.due(|| async { shell.engine.ask(|core| core.own_checkpoint()).await.is_ok_and(is_missing) }).await;
}

/// A time-stamp over a signature of this node's, where settings name authorities and one answers within the budget; the alarm says when none does.
pub(crate) async fn time_stamp(shell: &Shell, signature: &[u8]) -> Option<Vec<u8>> {
    let stamper = shell.stamper.as_ref()?;
    let trust = shell.trust.load_full();
    let (token, text) = match stamper.stamp(signature, &trust).await {
        Ok(stamped) => (Some(stamped.token), None),
        // Said before, and the alarm stands.
        Err(StampError::Resting) => return None,
        Err(error) => {
            warn!(%error, "no time-stamp; receipts and bundles go out without");
            (None, Some(format!("receipts go out without time-stamps: {error}")))
        }
    };
    let _ = shell.engine.tell(Input::Alarm { alarm: Alarm::TimeStamps, text }).await; // the node is stopping
    token
}
