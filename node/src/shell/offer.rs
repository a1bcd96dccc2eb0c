//! Offers a sealed envelope to the relay and uploads what it needs, from where a broken upload stopped.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{info, warn};
use truc_evidence::prove;
use truc_ledger::blobs::BlobStore;
use truc_proto::{
    Digest, pack_key_envelopes,
    relay_v1::{self, offer_reply, upload_reply},
    wire_v1,
};

use super::{Relay, Shell, clock, relay_link, relay_link::Examined};
use crate::{
    core::{Input, Key},
    records::Outgoing,
};

/// Bytes of one message of an upload: of a message that a break cuts nothing arrives, so it goes again.
const UPLOAD_BYTES: usize = 256 * 1024;
/// From so many recipients on their key envelopes go packed.
const PACKED_FROM: usize = 8;
/// An upload that the relay asks to go on is tried so often before the back-off takes over.
const UPLOADS_MAX: usize = 4;

/// Runs one offer to its end and tells the core.
pub(super) async fn offer(shell: Arc<Shell>, key: Key, body: u64, index: u64) {
    let input = match decide(&shell, &key, body, index).await {
        Ok(input) => input,
        Err(error) => {
            warn!(envelope = %key.envelope, error, "not uploaded");
            Input::OfferFailed { key, error, jitter: clock::jitter() }
        }
    };
    let _ = shell.engine.tell(input).await;
}

enum Outcome {
    Accepted(wire_v1::ProvenLeaf),
    NeedFrom(u64),
    Refused(wire_v1::Refusal),
}

async fn decide(shell: &Arc<Shell>, key: &Key, body: u64, index: u64) -> Result<Input, String> {
    let mut relay = shell.relay().ok_or("the relay is away")?;
    let (request, outgoing) = request(shell, body, index).await?;
    let reply = relay.offer(request).await.map_err(|status| describe(&status))?.into_inner();
    let mut outcome = match reply.outcome {
        Some(offer_reply::Outcome::Accepted(leaf)) => Outcome::Accepted(leaf),
        Some(offer_reply::Outcome::NeedFrom(offset)) => Outcome::NeedFrom(offset),
        Some(offer_reply::Outcome::Refused(refusal)) => Outcome::Refused(refusal),
        None => return Err("the relay answered nothing".into()),
    };
    for _ in 0..UPLOADS_MAX {
        match outcome {
            Outcome::Accepted(leaf) => return accepted(shell, key, leaf).await,
            Outcome::Refused(refusal) => return refused(shell, key, refusal).await,
            Outcome::NeedFrom(offset) => outcome = upload(shell, &mut relay, key, &outgoing, offset).await?,
        }
    }
    match outcome {
        Outcome::Accepted(leaf) => accepted(shell, key, leaf).await,
        Outcome::Refused(refusal) => refused(shell, key, refusal).await,
        Outcome::NeedFrom(offset) => Err(format!("the upload broke off at byte {offset}")),
    }
}

/// Submission with proof to our newest checkpoint, key envelopes, and a short payload.
async fn request(shell: &Arc<Shell>, body: u64, index: u64) -> Result<(relay_v1::OfferRequest, Outgoing), String> {
    if !shell.may_sign() {
        return Err("checkpoints are not exchanged yet".into());
    }
    let (bodies, ledger) = (shell.bodies(), shell.ledger.clone());
    let work = move || -> Result<_, String> {
        let (record, leaf) = bodies.body(body).map_err(|e| crate::chain(&e))?;
        let (crate::records::Body::Outgoing(outgoing), Some(leaf)) = (record, leaf) else {
            return Err("its record is not where it should be".into());
        };
        let submission = prove(&ledger, leaf, index, &ledger.head()).map_err(|e| crate::chain(&e))?;
        Ok((outgoing, submission))
    };
    let (outgoing, submission) = shell.work("preparing an offer", work).await.map_err(|e| e.to_string())??;
    let key_envelope = |envelope: &crate::records::KeyEnvelope| relay_v1::KeyEnvelope {
        recipient: envelope.recipient.clone(),
        cms: envelope.cms.clone().into(),
    };
    let key_envelopes: Vec<_> = outgoing.key_envelopes.iter().map(key_envelope).collect();
    let mut request = relay_v1::OfferRequest {
        preamble: outgoing.preamble.clone().into(),
        submission: Some(submission),
        payload: outgoing.payload.inline.clone().unwrap_or_default().into(),
        ..relay_v1::OfferRequest::default()
    };
    if key_envelopes.len() < PACKED_FROM {
        request.key_envelopes = key_envelopes;
    } else {
        let pack = move || pack_key_envelopes(key_envelopes);
        request.packed_key_envelopes = shell.work("packing key envelopes", pack).await.map_err(|e| e.to_string())?;
    }
    Ok((request, outgoing))
}

async fn upload(
    shell: &Arc<Shell>,
    relay: &mut Relay,
    key: &Key,
    outgoing: &Outgoing,
    offset: u64,
) -> Result<Outcome, String> {
    let digest = Digest::from_slice(&outgoing.payload.sha256).map_err(|e| e.to_string())?;
    let inline = outgoing.payload.inline.clone().map(Bytes::from);
    let (sender, chunks) = mpsc::channel(4);
    let first = relay_v1::UploadChunk {
        sender: key.sender.to_string(),
        envelope: key.envelope.to_string(),
        offset,
        data: Bytes::new(),
    };
    info!(envelope = %key.envelope, offset, length = outgoing.payload.length, "uploading");
    let (blobs, engine, progress) = (Arc::clone(&shell.blobs), shell.engine.clone(), key.clone());
    let reader = tokio::task::spawn_blocking(move || -> Result<(), String> {
        if sender.blocking_send(first).is_err() {
            return Ok(()); // the relay ended the call: its reply says why
        }
        let report = |bytes| _ = engine.tell_blocking(Input::Uploaded { key: progress.clone(), bytes });
        match inline {
            Some(bytes) => {
                let rest =
                    usize::try_from(offset).ok().filter(|from| *from <= bytes.len()).map(|from| bytes.slice(from..));
                let data = rest.ok_or("the relay asks for bytes behind the payload's end")?;
                _ = sender.blocking_send(relay_v1::UploadChunk { data, ..Default::default() });
                Ok(())
            }
            None => send_blob(&blobs, &digest, offset, &sender, report),
        }
    });
    let reply = relay.upload(ReceiverStream::new(chunks)).await;
    let read = reader.await.map_err(|_| "reading the payload broke off".to_owned())?;
    let reply = reply.map_err(|status| describe(&status))?.into_inner();
    match reply.outcome {
        Some(upload_reply::Outcome::Accepted(leaf)) => Ok(Outcome::Accepted(leaf)),
        Some(upload_reply::Outcome::NeedFrom(from)) => read.map(|()| Outcome::NeedFrom(from)),
        Some(upload_reply::Outcome::Refused(refusal)) => Ok(Outcome::Refused(refusal)),
        None => Err("the relay answered nothing".into()),
    }
}

fn send_blob(
    blobs: &BlobStore,
    digest: &Digest,
    mut offset: u64,
    sender: &mpsc::Sender<relay_v1::UploadChunk>,
    report: impl Fn(u64),
) -> Result<(), String> {
    let blob = blobs.read(digest).map_err(|e| crate::chain(&e))?;
    loop {
        let mut buffer = vec![0; UPLOAD_BYTES];
        let got = blob.read_at(&mut buffer, offset).map_err(|e| crate::chain(&e))?;
        if got == 0 {
            return Ok(());
        }
        buffer.truncate(got);
        offset += got as u64;
        if sender.blocking_send(relay_v1::UploadChunk { data: buffer.into(), ..Default::default() }).is_err() {
            return Ok(());
        }
        report(offset);
    }
}

async fn accepted(shell: &Arc<Shell>, key: &Key, leaf: wire_v1::ProvenLeaf) -> Result<Input, String> {
    let batch = batch_of(&leaf, key);
    let verified = relay_link::verified(shell, batch, shell.relay_id.as_str()).await.map_err(|e| e.to_string())?;
    let Examined { leaves: acceptance, .. } =
        verified.map_err(|e| format!("the relay's answer does not hold: {}", crate::chain(&e)))?;
    if acceptance.items.is_empty() {
        return Err("the relay's answer does not hold; see the log".into());
    }
    Ok(Input::Offered { key: key.clone(), acceptance })
}

/// A refusal with evidence is the end for whom it names; one without is tried again until the envelope expires.
async fn refused(shell: &Arc<Shell>, key: &Key, refusal: wire_v1::Refusal) -> Result<Input, String> {
    warn!(envelope = %key.envelope, refusal = refusal.reason, "the relay refuses");
    match refusal.evidence {
        Some(leaf) => accepted(shell, key, leaf).await,
        None => Err(format!("{}: {}", refusal.reason, refusal.english)),
    }
}

fn batch_of(leaf: &wire_v1::ProvenLeaf, key: &Key) -> wire_v1::EvidenceBatch {
    wire_v1::EvidenceBatch {
        checkpoint: leaf.checkpoint.clone(),
        items: vec![wire_v1::EvidenceItem {
            leaf: leaf.leaf.clone(),
            leaf_hash: truc_ledger::merkle::leaf_hash(&leaf.leaf).as_bytes().to_vec().into(),
            index: leaf.index,
            proof: leaf.proof.clone(),
            envelope: key.envelope.to_string(),
        }],
    }
}

/// A gRPC status as people read it, with the refusal in its details where there is one.
pub(crate) fn describe(status: &tonic::Status) -> String {
    use prost::Message as _;
    match wire_v1::Refusal::decode(status.details()) {
        Ok(refusal) if !refusal.reason.is_empty() => format!("{}: {}", refusal.reason, refusal.english),
        _ => format!("the relay says {}: {}", status.code(), status.message()),
    }
}
