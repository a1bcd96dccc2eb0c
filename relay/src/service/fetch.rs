//! What a recipient's node fetches: the lease, the sealed payload by range, and, against its own RelayAcceptance alone, the key envelopes.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use truc_evidence::{Leaf, verify_batch};
use truc_ledger::blobs::BlobReader;
use truc_proto::{
    AgencyId, NodeId, Reason,
    relay_v1::{self as wire},
};

use super::{Service, Streamed, blocking, envelope_key, refuse::Refusal};
use crate::{
    core::{Acceptance, EnvelopeKey, EvidenceOutcome, Fact, Found, Refused, VerifiedEvidence},
    store::{Store, StoreError},
};

/// Bytes of one message of a download.
const CHUNK_BYTES: usize = 256 * 1024;
/// Messages that wait for the reader.
const CHUNKS_AHEAD: usize = 4;
/// After so many bytes a download shows again that it is alive.
const LEASE_EVERY_BYTES: u64 = 64 * 1024 * 1024;

impl<S: Store> Service<S> {
    pub(super) async fn lease(
        self: &Arc<Self>,
        node: NodeId,
        request: wire::LeaseRequest,
    ) -> Result<wire::LeaseReply, Status> {
        let key = envelope_key(&request.sender, &request.envelope)?;
        let found = self.store.lease(node.clone(), key).await?;
        let service = Arc::clone(self);
        let reply = blocking(move || service.lease_reply(&node, &found)).await?;
        Ok(reply.map_err(Refusal::from)?)
    }

    fn lease_reply(&self, node: &NodeId, found: &Found) -> Result<wire::LeaseReply, StoreError> {
        let (_, body, leaf) = self.accepted(found.position)?;
        let at = Acceptance { position: found.position, leaf_index: found.leaf_index, leaf };
        Ok(wire::LeaseReply {
            preamble: body.preamble,
            submission: body.submission,
            relay_acceptance: Some(self.prove(&at)?),
            recipients: open_codes(found, node).iter().map(ToString::to_string).collect(),
            payload: body.payload,
            lease_ms: self.settings.lease_ms,
        })
    }

    pub(super) async fn payload(
        self: &Arc<Self>,
        node: NodeId,
        request: wire::PayloadRequest,
    ) -> Result<Streamed<wire::PayloadChunk>, Status> {
        let key = envelope_key(&request.sender, &request.envelope)?;
        let found = self.store.lease(node.clone(), key.clone()).await?;
        let live = found.live.as_ref().ok_or_else(Refusal::not_waiting)?;
        let end = match request.length {
            0 => live.payload_length,
            length => request.offset.saturating_add(length).min(live.payload_length),
        };
        if request.offset > end {
            return Err(Refusal::invalid(format!("the payload has {} bytes", live.payload_length)).into());
        }
        let (sender, stream) = mpsc::channel(CHUNKS_AHEAD);
        let service = Arc::clone(self);
        if live.blob {
            let (blobs, digest) = (Arc::clone(self.store.blobs()), live.payload);
            let reader = blocking(move || blobs.read(&digest)).await?;
            let reader = reader.map_err(|error| Refusal::from(StoreError::Corrupt(error.to_string())))?;
            tokio::spawn(async move { service.stream_blob(reader, request.offset..end, node, key, sender).await });
        } else {
            let position = found.position;
            let body = blocking(move || service.accepted(position)).await?.map_err(Refusal::from)?.1;
            let range = usize::try_from(request.offset).ok().zip(usize::try_from(end).ok());
            let part = range.and_then(|(from, to)| (to <= body.payload.len()).then(|| body.payload.slice(from..to)));
            let data = part.ok_or_else(|| Refusal::from(StoreError::Corrupt("an inline payload is short".into())))?;
            let _ = sender.send(Ok(wire::PayloadChunk { data })).await;
        }
        Ok(Box::pin(ReceiverStream::new(stream)))
    }

    async fn stream_blob(
        self: Arc<Self>,
        reader: BlobReader,
        range: std::ops::Range<u64>,
        node: NodeId,
        key: EnvelopeKey,
        sender: mpsc::Sender<Result<wire::PayloadChunk, Status>>,
    ) {
        let (mut at, mut leased_at) = (range.start, range.start);
        while at < range.end {
            let length = usize::try_from(range.end - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let file = reader.clone();
            let read = blocking(move || {
                let mut buffer = vec![0; length];
                file.read_at(&mut buffer, at).map(|got| {
                    buffer.truncate(got);
                    buffer
                })
            });
            let chunk = match read.await {
                Ok(Ok(data)) if !data.is_empty() => Ok(data),
                Ok(Ok(_)) => {
                    Err(Refusal::from(StoreError::Corrupt("a payload is shorter than its record says".into())).into())
                }
                Ok(Err(error)) => Err(Refusal::from(StoreError::Corrupt(error.to_string())).into()),
                Err(status) => Err(status),
            };
            let failed = chunk.is_err();
            let message = chunk.map(|data| {
                at += u64::try_from(data.len()).unwrap_or(u64::MAX);
                wire::PayloadChunk { data: data.into() }
            });
            if sender.send(message).await.is_err() || failed {
                return;
            }
            if at - leased_at >= LEASE_EVERY_BYTES {
                leased_at = at;
                // When it is refused the envelope was settled meanwhile; the reader may finish.
                let _ = self.store.lease(node.clone(), key.clone()).await;
            }
        }
    }

    pub(super) async fn take_keys(
        self: &Arc<Self>,
        node: NodeId,
        request: wire::TakeKeysRequest,
    ) -> Result<wire::TakeKeysReply, Status> {
        let key = envelope_key(&request.sender, &request.envelope)?;
        let found = self.leased_or_known(&node, &key).await?;
        let directory = self.current_directory()?;
        let service = Arc::clone(self);
        let (of, position, asked) = (node.clone(), found.position, key.clone());
        let checked = blocking(move || -> Result<_, Refusal> {
            let batch = request.acceptances.ok_or_else(no_acceptance)?;
            let proven = verify_batch(&batch, &directory, Some(&of), None, service.now())?;
            let (_, body, _) = service.accepted(position)?;
            let mut items = Vec::new();
            for (item, wire_item) in proven.items.into_iter().zip(&batch.items) {
                let item = item?;
                let Some(Leaf::Event(event)) = &item.leaf else { return Err(no_acceptance()) };
                let evidence = service.evidence_item(
                    &key,
                    &found,
                    Some(&body),
                    event,
                    &item,
                    &batch.checkpoint,
                    wire_item,
                    &proven.checkpoint,
                )?;
                if evidence.fact != Fact::Taken {
                    return Err(no_acceptance());
                }
                items.push(evidence);
            }
            if items.is_empty() { Err(no_acceptance()) } else { Ok((items, body)) }
        });
        let (items, body) = checked.await??;
        let codes: Vec<AgencyId> = items.iter().map(|item: &VerifiedEvidence| item.recipient.clone()).collect();
        // Only when the acceptances are on the device does a key envelope leave: nobody reads and stays silent.
        let outcomes = self.append_in_parts(&node, items).await.map_err(Refusal::from)?;
        let taken = |code: &str| {
            let position = codes.iter().position(|known| known.as_str() == code);
            position.and_then(|at| outcomes.get(at)) == Some(&EvidenceOutcome::Taken)
        };
        // Asked again behind the acceptances: a code that was superseded or given up meanwhile gets no key, even where the
        // envelope is still open for another code of the same node.
        let found = self.leased_or_known(&node, &asked).await?;
        let open = open_codes(&found, &node);
        let is_open = |code: &str| open.iter().any(|known| known.as_str() == code);
        let handed_out = |envelope: &wire::KeyEnvelope| taken(&envelope.recipient) && is_open(&envelope.recipient);
        let key_envelopes: Vec<_> = body.key_envelopes.into_iter().filter(handed_out).collect();
        let refused: Vec<_> = codes.iter().filter_map(|code| given_up(&found, &node, code)).collect();
        if key_envelopes.is_empty() && refused.is_empty() {
            return Err(Refusal::not_waiting().into());
        }
        Ok(wire::TakeKeysReply { key_envelopes, refused })
    }

    /// With a lease where the envelope still waits for the node; else as it is known: whoever answered for it hears why there are no keys.
    async fn leased_or_known(&self, node: &NodeId, key: &EnvelopeKey) -> Result<Found, Refusal> {
        match self.store.lease(node.clone(), key.clone()).await {
            Err(StoreError::Refused(Refused::NotWaiting)) => {
                let found = self.store.find(vec![key.clone()]).await?.into_iter().next().flatten();
                let is_theirs = |found: &Found| {
                    let mut pairs = found.live.iter().flat_map(|live| &live.pairs);
                    pairs.any(|pair| pair.node.as_ref() == Some(node))
                };
                found.filter(is_theirs).ok_or_else(Refusal::not_waiting)
            }
            leased => Ok(leased?),
        }
    }
}

/// Says that it is too late for a code, and why: so its node need not ask again.
fn given_up(found: &Found, node: &NodeId, code: &AgencyId) -> Option<wire::RefusedCode> {
    let reason = found.state_for(node, code)?.given_up()?;
    let refusal = Refusal::because(reason, "").into_wire();
    Some(wire::RefusedCode { recipient: code.to_string(), refusal: Some(refusal) })
}

/// The codes of a node for which an envelope is still open.
fn open_codes(found: &Found, node: &NodeId) -> Vec<AgencyId> {
    let pairs = found.live.iter().flat_map(|live| &live.pairs);
    let own = pairs.filter(|pair| pair.node.as_ref() == Some(node) && pair.state.is_open());
    own.map(|pair| pair.recipient.clone()).collect()
}

fn no_acceptance() -> Refusal {
    Refusal::because(Reason::Invalid, "key envelopes are handed out against the recipient's RelayAcceptance alone")
}
