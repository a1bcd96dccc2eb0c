//! Takes an envelope from the relay: lease, payload once, our RelayAcceptance, key envelopes, open.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{info, warn};
use truc_evidence::{item_of, verify_leaf};
use truc_ledger::blobs::{Announced, StoredBlob};
use truc_proto::{
    AgencyId, Digest, EventUri, Preamble, Raw, Reason, Submission, Timestamp,
    limits::{BLOB_BYTES_MAX, FUTURE_SKEW_MAX_MS, KEY_ENVELOPE_BYTES_MAX},
    relay_v1, wire_v1,
};

use super::{Relay, Shell, clock, lock, offer::describe};
use crate::{
    core::{Alarm, Failure, Input, Key, Leased, OwnLeaf},
    pipeline::PipelineError,
    records::{Incoming, KeyEnvelope, Payload},
};

/// What became of an envelope for one of our codes.
type Outcome = (AgencyId, Result<(), Failure>);

struct Failed {
    error: String,
    gone: bool,
}

impl<E: ToString> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { error: error.to_string(), gone: false }
    }
}

/// Leases, downloads, checks what can be checked, and tells the core.
pub(super) async fn take(shell: Arc<Shell>, key: Key) {
    let input = match download(&shell, &key).await {
        Ok(incoming) => Input::Leased(Box::new(Leased { incoming })),
        Err(Failed { error, gone }) => {
            warn!(envelope = %key.envelope, error, gone, "not taken");
            Input::TakeFailed { key, error, jitter: clock::jitter(), gone }
        }
    };
    let _ = shell.engine.tell(input).await;
}

async fn lease(relay: &mut Relay, key: &Key) -> Result<relay_v1::LeaseReply, Failed> {
    let request = relay_v1::LeaseRequest { sender: key.sender.to_string(), envelope: key.envelope.to_string() };
    match relay.lease(request).await {
        Ok(reply) => Ok(reply.into_inner()),
        Err(status) => Err(refused(&status)),
    }
}

fn refused(status: &tonic::Status) -> Failed {
    Failed { error: describe(status), gone: status.code() == tonic::Code::NotFound }
}

async fn download(shell: &Arc<Shell>, key: &Key) -> Result<Incoming, Failed> {
    let mut relay = shell.relay().ok_or("the relay is away")?;
    let reply = lease(&mut relay, key).await?;
    let (inner, wanted) = (Arc::clone(shell), key.clone());
    let checked = shell.work("verifying a submission", move || check(&inner, &wanted, reply)).await?;
    let (mut incoming, actors, inline) = checked.map_err(Failed::from)?;
    if let Some(directory) = shell.directory() {
        for actor in actors {
            shell.note_entitlement(&actor, &directory).await?;
        }
    }
    let digest = Digest::from_slice(&incoming.payload.sha256)?;
    if inline.is_empty() {
        let stored = payload(shell, &mut relay, key, digest, incoming.payload.length).await?;
        lock(&shell.fresh_blobs).insert(key.clone(), stored);
    } else if Digest::of(&inline) == digest && inline.len() as u64 == incoming.payload.length {
        incoming.payload.inline = Some(inline.to_vec());
    } else {
        return Err("the payload is not the one that the submission names".into());
    }
    info!(envelope = %key.envelope, sender = %key.sender, length = incoming.payload.length, "taken");
    Ok(incoming)
}

type Checked = (Incoming, Vec<truc_proto::Actor>, bytes::Bytes);

/// The submission by its sender's ledger, the relay's acceptance by the relay's; both about this preamble.
fn check(shell: &Shell, key: &Key, reply: relay_v1::LeaseReply) -> Result<Checked, String> {
    let now = clock::now();
    let directory = shell.directory().ok_or("there is no directory yet")?;
    let submission_leaf = reply.submission.ok_or("the relay sent no submission")?;
    let acceptance_leaf = reply.relay_acceptance.ok_or("the relay sent no acceptance")?;
    let preamble = Raw::<Preamble>::parse(reply.preamble.clone()).map_err(|e| e.to_string())?;
    let proven = verify_leaf(&submission_leaf, &directory, None, now).map_err(|e| crate::chain(&e))?;
    let truc_evidence::Leaf::Submission(submission) = &proven.leaf else {
        return Err("the relay sent another leaf for the submission".into());
    };
    check_preamble(shell, key, &preamble, submission, now)?;
    let accepted =
        verify_leaf(&acceptance_leaf, &directory, Some(&shell.relay_id), now).map_err(|e| crate::chain(&e))?;
    let truc_evidence::Leaf::Event(acceptance) = &accepted.leaf else {
        return Err("the relay sent another leaf for its acceptance".into());
    };
    let about_this = acceptance.event == EventUri::RelayAcceptance
        && acceptance.submission == Some(proven.leaf_hash)
        && acceptance.preamble == Some(submission.preamble)
        && acceptance.payload == Some(submission.payload)
        && acceptance.commitment == Some(submission.commitment);
    if !about_this {
        return Err("the relay's acceptance is about something else".into());
    }
    shell.saw_checkpoint(&acceptance_leaf.checkpoint);
    let ours = directory.codes_of(&shell.node);
    let codes = reply.recipients.iter().filter_map(|code| code.parse::<AgencyId>().ok());
    let codes: Vec<AgencyId> =
        codes.filter(|code| ours.contains(code) && preamble.recipients.binary_search(code).is_ok()).collect();
    if codes.is_empty() {
        return Err("none of its recipients is served here".into());
    }
    let actors = [proven.leaf.actor().cloned(), accepted.leaf.actor().cloned()].into_iter().flatten().collect();
    let payload =
        Payload { sha256: submission.payload.as_bytes().to_vec(), length: submission.payload_length, inline: None };
    let codes = codes.iter().map(ToString::to_string).collect();
    let incoming = Incoming {
        preamble: reply.preamble.to_vec(),
        submission: submission_leaf,
        relay_acceptance: acceptance_leaf,
        payload,
        codes,
        at_ms: now.unix_ms(),
    };
    Ok((incoming, actors, reply.payload))
}

fn check_preamble(
    shell: &Shell,
    key: &Key,
    preamble: &Raw<Preamble>,
    submission: &Submission,
    now: Timestamp,
) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}; nothing was opened"));
    if preamble.digest() != submission.preamble || preamble.envelope != submission.envelope {
        return wrong("submission and preamble do not belong together");
    }
    if preamble.envelope != key.envelope
        || preamble.sender != key.sender
        || submission.actor.code.as_ref() != Some(&key.sender)
    {
        return wrong("the relay sent another envelope than the one asked for");
    }
    if preamble.axis != shell.axis || preamble.lane != shell.lane {
        return wrong("it belongs to another axis or lane");
    }
    if let Err(refused) = preamble.secrecy() {
        return Err(refused.to_string());
    }
    if !submission.key_envelopes.keys().eq(preamble.recipients.iter()) {
        return wrong("its key envelopes are for other codes than its recipients");
    }
    if submission.payload_length > BLOB_BYTES_MAX {
        return wrong("its payload is larger than any may be");
    }
    if submission.time.unix_ms() > now.unix_ms() + FUTURE_SKEW_MAX_MS {
        return wrong("it lies more than five minutes in the future");
    }
    Ok(())
}

/// The payload, from where an earlier download stopped.
async fn payload(
    shell: &Arc<Shell>,
    relay: &mut Relay,
    key: &Key,
    digest: Digest,
    length: u64,
) -> Result<StoredBlob, Failed> {
    let blobs = Arc::clone(&shell.blobs);
    if length == 0 {
        return Err("an empty payload is sealed by nobody".into());
    }
    let mut upload = shell
        .work("beginning a download", move || blobs.begin(&format!("in-{digest}"), Announced { digest, length }))
        .await??;
    let offset = upload.offset();
    let (sender, mut chunks) = mpsc::channel::<bytes::Bytes>(4);
    let writer = tokio::task::spawn_blocking(move || -> Result<StoredBlob, truc_ledger::blobs::BlobError> {
        let mut at = offset;
        while let Some(data) = chunks.blocking_recv() {
            upload.write(at, &data)?;
            at += data.len() as u64;
        }
        upload.finish()
    });
    let mut broken = None;
    if offset < length {
        let request = relay_v1::PayloadRequest {
            sender: key.sender.to_string(),
            envelope: key.envelope.to_string(),
            offset,
            length: 0,
        };
        match relay.payload(request).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(chunk)) => {
                            if sender.send(chunk.data).await.is_err() {
                                break; // the writer says why
                            }
                        }
                        Ok(None) => break,
                        Err(status) => {
                            broken = Some(describe(&status));
                            break;
                        }
                    }
                }
            }
            Err(status) => broken = Some(describe(&status)),
        }
    }
    drop(sender);
    let stored = writer.await.map_err(|_| Failed::from("writing the payload broke off"))?;
    match (stored, broken) {
        (Ok(stored), _) => Ok(stored),
        (Err(_), Some(broken)) => Err(broken.into()),
        (Err(error), None) => Err(crate::chain(&error).into()),
    }
}

/// Shows our acceptance, takes the key envelopes, opens.
pub(super) async fn open(shell: Arc<Shell>, key: Key, body: u64, acceptances: Vec<(AgencyId, OwnLeaf)>) {
    let input = match try_open(&shell, &key, body, acceptances).await {
        Ok(input) => input,
        Err(Failed { error, gone }) => {
            warn!(envelope = %key.envelope, error, "not opened");
            Input::TakeFailed { key, error, jitter: clock::jitter(), gone }
        }
    };
    let _ = shell.engine.tell(input).await;
}

async fn try_open(
    shell: &Arc<Shell>,
    key: &Key,
    body: u64,
    acceptances: Vec<(AgencyId, OwnLeaf)>,
) -> Result<Input, Failed> {
    let mut relay = shell.relay().ok_or("the relay is away")?;
    let directory = shell.directory().ok_or("there is no directory yet")?;
    // The directory moved a code to another node: the relay gives its key there.
    let ours = directory.codes_of(&shell.node);
    let (acceptances, moved): (Vec<_>, Vec<_>) = acceptances.into_iter().partition(|(code, _)| ours.contains(code));
    let detail = "the directory gives this code to another node now, which gets the envelope";
    let mut outcomes: Vec<Outcome> =
        moved.into_iter().map(|(code, _)| (code, Err(failure(Reason::NotEntitled, detail)))).collect();
    if acceptances.is_empty() {
        return Ok(Input::Opened { key: key.clone(), content: None, outcomes });
    }
    let leaves: Vec<OwnLeaf> = acceptances.iter().map(|(_, leaf)| leaf.clone()).collect();
    let inner = Arc::clone(shell);
    let (incoming, batch) = shell
        .work("preparing acceptances", move || -> Result<_, String> {
            let incoming = inner.bodies().incoming(body).map_err(|e| crate::chain(&e))?;
            Ok((incoming, inner.own_batch(&leaves)?))
        })
        .await??;
    let request = relay_v1::TakeKeysRequest {
        sender: key.sender.to_string(),
        envelope: key.envelope.to_string(),
        acceptances: Some(batch),
    };
    let reply = relay.take_keys(request).await.map_err(|status| refused(&status))?.into_inner();
    let asked = |name: &str| acceptances.iter().map(|(code, _)| code).find(|code| code.as_str() == name);
    let mut key_envelopes = Vec::new();
    for envelope in reply.key_envelopes {
        if asked(&envelope.recipient).is_some() && envelope.cms.len() <= KEY_ENVELOPE_BYTES_MAX {
            key_envelopes.push(KeyEnvelope { recipient: envelope.recipient, cms: envelope.cms.to_vec() });
        }
    }
    let given = |code: &AgencyId| key_envelopes.iter().any(|envelope| envelope.recipient == code.as_str());
    for too_late in reply.refused {
        let reason = too_late.refusal.and_then(|refusal| refusal.reason.parse().ok()).filter(is_too_late);
        if let (Some(code), Some(reason)) = (asked(&too_late.recipient).filter(|code| !given(code)), reason) {
            let detail = "the relay gives no key envelope any more: it has told the sender that it gave up";
            outcomes.push((code.clone(), Err(failure(reason, detail))));
        }
    }
    if key_envelopes.is_empty() {
        if outcomes.is_empty() {
            return Err("the relay gave no key envelope".into());
        }
        tell_failures(key, &outcomes);
        return Ok(Input::Opened { key: key.clone(), content: None, outcomes });
    }
    let pipeline = Arc::clone(&shell.pipeline);
    let work = move || pipeline.open(&incoming, &key_envelopes, &directory, clock::now());
    match shell.work("opening an envelope", work).await? {
        Ok(opened) => {
            outcomes.extend(opened.outcomes);
            tell_failures(key, &outcomes);
            let content = opened.content.map(Box::new);
            Ok(Input::Opened { key: key.clone(), content, outcomes })
        }
        Err(error) => {
            if matches!(error, PipelineError::Failed { key_away: true, .. }) {
                let text = Some(format!("a decryption key is away: {error}"));
                shell.engine.tell(Input::Alarm { alarm: Alarm::KeyAway, text }).await?;
            }
            Err(crate::chain(&error).into())
        }
    }
}

fn failure(reason: Reason, detail: &str) -> Failure {
    Failure { reason, detail: detail.to_owned() }
}

/// The relay's word on why it is too late; it may not speak for us about anything else.
const fn is_too_late(reason: &Reason) -> bool {
    matches!(reason, Reason::Expired | Reason::Superseded | Reason::ClosedCode)
}

fn tell_failures(key: &Key, outcomes: &[Outcome]) {
    for (code, outcome) in outcomes {
        if let Err(failure) = outcome {
            let (reason, detail) = (failure.reason, failure.detail.as_str());
            warn!(envelope = %key.envelope, %code, %reason, detail, "not consigned");
        }
    }
}

impl Shell {
    /// Own leaves with proofs to our newest checkpoint. Blocks.
    pub(super) fn own_batch(&self, leaves: &[OwnLeaf]) -> Result<wire_v1::EvidenceBatch, String> {
        let head = self.ledger.head();
        self.batch_under(leaves, head.note.to_string().into(), head.size)
    }

    pub(super) fn batch_under(
        &self,
        leaves: &[OwnLeaf],
        checkpoint: bytes::Bytes,
        size: u64,
    ) -> Result<wire_v1::EvidenceBatch, String> {
        if !self.may_sign() {
            return Err("checkpoints are not exchanged yet".into());
        }
        let bodies = self.bodies();
        let item = |leaf: &OwnLeaf| -> Result<wire_v1::EvidenceItem, String> {
            let proof = self.ledger.inclusion(leaf.index, size).map_err(|e| crate::chain(&e))?;
            let bytes = if leaf.known { None } else { Some(bodies.leaf(leaf).map_err(|e| crate::chain(&e))?) };
            Ok(item_of(bytes.as_deref(), leaf.leaf, leaf.index, &proof, Some(leaf.envelope)))
        };
        let items = leaves.iter().map(item).collect::<Result<_, _>>()?;
        Ok(wire_v1::EvidenceBatch { checkpoint, items })
    }
}
