//! Uploads of sealed payloads: from the offset that is on the device, hashed while they come, no more than one chunk lost when they break off.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use truc_ledger::blobs::{Announced, BlobError, StoredBlob};
use truc_proto::{
    NodeId, Reason,
    limits::STREAM_CHUNK_BYTES,
    relay_v1::{self as wire, upload_reply::Outcome},
};

use super::{Service, envelope_key, lock, proofs::Answer, refuse::Refusal};
use crate::{core::VerifiedOffer, store::Store};

/// Chunks that may wait for the disk.
const CHUNKS_AHEAD: usize = 4;

enum Written {
    Whole(StoredBlob),
    Part(u64),
}

impl<S: Store> Service<S> {
    pub(super) async fn upload(
        self: &Arc<Self>,
        node: NodeId,
        mut chunks: Streaming<wire::UploadChunk>,
    ) -> Result<wire::UploadReply, Status> {
        let Some(first) = chunks.message().await? else { return Err(Refusal::offer_first().into()) };
        let key = envelope_key(&first.sender, &first.envelope)?;
        let pending = lock(&self.uploads).get(&key).filter(|pending| pending.node == node).map(|p| p.offer.clone());
        let offer = pending.ok_or_else(Refusal::offer_first)?;
        // From here on nobody takes the payload away again before the core has decided.
        let claim = self.store.claim(&offer.payload);
        let outcome = match self.receive(&offer, first, chunks).await? {
            Ok(Written::Whole(blob)) => {
                let outcome = self.store.accept(offer).await;
                drop(blob);
                lock(&self.uploads).remove(&key);
                match self.outcome(outcome?).await? {
                    Answer::Accepted(leaf) => Outcome::Accepted(leaf),
                    Answer::Refused(refusal) => Outcome::Refused(refusal),
                }
            }
            Ok(Written::Part(need_from)) => Outcome::NeedFrom(need_from),
            Err(BlobError::WrongOffset { stands, .. }) => Outcome::NeedFrom(stands),
            Err(BlobError::Busy { .. }) => return Err(Refusal::upload_busy().into()),
            Err(error) => Outcome::Refused(blob_refusal(&error).into_wire()),
        };
        drop(claim);
        Ok(wire::UploadReply { outcome: Some(outcome) })
    }

    /// Hands chunks to a thread that may wait for the disk; a full queue stops the peer.
    async fn receive(
        &self,
        offer: &VerifiedOffer,
        first: wire::UploadChunk,
        mut chunks: Streaming<wire::UploadChunk>,
    ) -> Result<Result<Written, BlobError>, Status> {
        let announced = Announced { digest: offer.payload, length: offer.payload_length };
        let blobs = Arc::clone(self.store.blobs());
        let (sender, mut receiver) = mpsc::channel::<Bytes>(CHUNKS_AHEAD);
        let mut at = first.offset;
        let writer = tokio::task::spawn_blocking(move || -> Result<Written, BlobError> {
            let mut upload = blobs.begin(&announced.digest.to_string(), announced)?;
            while let Some(data) = receiver.blocking_recv() {
                upload.write(at, &data)?;
                at += u64::try_from(data.len()).unwrap_or(u64::MAX);
            }
            match upload.offset() {
                whole if whole == announced.length => upload.finish().map(Written::Whole),
                part => Ok(Written::Part(part)),
            }
        });
        let mut next = Some(first);
        while let Some(chunk) = next {
            if chunk.data.len() > STREAM_CHUNK_BYTES {
                return Err(Refusal::because(Reason::TooLarge, "a chunk has at most 1 MiB").into());
            }
            if sender.send(chunk.data).await.is_err() {
                break; // the writer has ended and says why
            }
            // A connection that breaks here leaves what came: the writer's end keeps it for the next upload.
            next = match chunks.message().await {
                Ok(next) => next,
                Err(status) => {
                    drop(sender);
                    let _ = writer.await;
                    return Err(status);
                }
            };
        }
        drop(sender);
        writer.await.map_err(|_| {
            Status::internal("the upload ended in a panic; the relay's operator finds the cause in its log")
        })
    }
}

pub(super) fn blob_refusal(error: &BlobError) -> Refusal {
    match error {
        BlobError::TooLong { .. } => Refusal::because(Reason::TooLarge, error.to_string()),
        BlobError::Io(source) => {
            tracing::error!(%source, "cannot store a payload");
            let full = source.kind() == std::io::ErrorKind::StorageFull;
            if full { crate::store::StoreError::Full.into() } else { crate::store::StoreError::Indeterminate.into() }
        }
        _ => Refusal::invalid(error.to_string()),
    }
}
