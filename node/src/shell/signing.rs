//! Signs the newest durable checkpoint with the node's certificate: off the path, at most once a second, held while the
//! key is away (docs/FORMATS.md, ledger and checkpoint).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use tracing::warn;
use truc_custody::{cosignatures, put_stamp};
use truc_evidence::{Attestation, Attestations, NodeKind, checkpoint_signature, find_cms_line, sign_checkpoint};
use truc_link::{StampError, due};
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
            () = gain_due(&shell) => {}
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

/// Signs what is new. Where nothing is, adds to the newest signed checkpoint what others did not say when it went out: the same lines and more, so that
/// nothing is lost by it, and no key is wanted.
async fn sign_newest(shell: &Arc<Shell>) -> Result<(), String> {
    let signed = shell.engine.ask(|core| core.own_checkpoint()).await.map_err(|error| error.to_string())?;
    let head = shell.ledger.head();
    if head.size == 0 {
        return Ok(());
    }
    if let Some(own) = signed.filter(|own| head.size <= own.size) {
        return complete(shell, own).await;
    }
    let key = shell.node_key();
    let certificate = key.certificate().sha256();
    // What a revoked certificate signs nobody believes; the ledger key's line stands.
    if shell.is_taken_away(&certificate) {
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
    let mut note = head.note.clone();
    let work = move || sign_checkpoint(&mut note, key.as_ref(), clock::now()).map(|()| note);
    let note = shell.work("signing a checkpoint", work).await.map_err(|error| error.to_string())?;
    let note = note.map_err(|error| crate::chain(&error))?;
    let (note, said) = with_what_others_say(shell, note, &certificate, Attestation::NotAsked).await;
    let cosignatures = cosignatures(&note);
    let note = Bytes::from(note.to_string());
    let clear = Input::Alarm { alarm: Alarm::KeyAway, text: None };
    for input in [Input::CheckpointSigned { note, said }, clear] {
        shell.engine.tell(input).await.map_err(|error| error.to_string())?;
    }
    shell.signed_at_ms.store(clock::now().unix_ms(), Ordering::Relaxed);
    shell.signed.add(said, cosignatures);
    Ok(())
}

async fn complete(shell: &Shell, own: OwnCheckpoint) -> Result<(), String> {
    if !may_gain(shell, own.said) {
        return Ok(());
    }
    let Some(note) = shell.own_note(own).await.map_err(|error| crate::chain(&error))? else { return Ok(()) };
    // Another key may have taken over since.
    let Some(certificate) = signed_by(shell, &note) else { return Ok(()) };
    let (note, said) = with_what_others_say(shell, note, &certificate, own.said.stamp).await;
    if said.there().exceeds(own.said.there()) {
        let cosignatures = cosignatures(&note);
        let note = Bytes::from(note.to_string());
        let signed = Input::CheckpointSigned { note, said };
        shell.engine.tell(signed).await.map_err(|error| error.to_string())?;
        shell.signed.completed(said, cosignatures);
    }
    Ok(())
}

/// What others add to a signed checkpoint before it is published: all are asked at once for what is not there, each within a budget of its own. Whatever does
/// not come in time is left out; nothing waits for it, and neither acceptance nor delivery waits for any of this. With it goes what became of all.
async fn with_what_others_say(
    shell: &Shell,
    note: SignedNote,
    certificate: &Digest,
    stamp: Attestation,
) -> (SignedNote, Attestations) {
    let stamping = async {
        if stamp == Attestation::There {
            return None;
        }
        time_stamp(shell, &checkpoint_signature(&note, certificate)?).await
    };
    let (mut cosigned, token) = tokio::join!(shell.cosigned_by_relay(note.clone()), stamping);
    let stamp = put_stamp(&mut cosigned, certificate, stamp, shell.stamper.is_some(), token);
    let cosignature = shell
        .directory()
        .map_or(Attestation::NobodyYet, |directory| directory.cosignature(NodeKind::Node, &cosigned, clock::now()));
    (cosigned, Attestations { stamp, cosignature })
}

/// The certificate of ours whose line a checkpoint carries.
fn signed_by(shell: &Shell, note: &SignedNote) -> Option<Digest> {
    let directory = shell.directory()?;
    let (_, entry) = directory.node(&shell.node)?;
    find_cms_line(note, &entry.origin, entry, clock::now()).map(|line| line.binding.sha256)
}

/// Whether there is somebody to ask now for what the newest checkpoint lacks.
fn may_gain(shell: &Shell, said: Attestations) -> bool {
    let may_stamp = || shell.stamper.as_ref().is_some_and(|stamper| !stamper.rests());
    said.may_gain(may_stamp, || shell.may_ask_witness())
}

/// Completes when there is: what was shown to others without it is shown again with it.
async fn gain_due(shell: &Shell) {
    due(|| async {
        // Where nobody is there to ask the core need not be.
        let all = Attestations { stamp: Attestation::Awaited, cosignature: Attestation::Awaited };
        let gains = |own: Option<OwnCheckpoint>| own.is_some_and(|own| may_gain(shell, own.said));
        // An engine that stopped asks for none.
        may_gain(shell, all) && shell.engine.ask(|core| core.own_checkpoint()).await.is_ok_and(gains)
    })
    .await;
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
