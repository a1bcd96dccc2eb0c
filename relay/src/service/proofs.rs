//! The relay's own leaves with their proofs, and what the journal holds of an envelope.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tonic::Status;
use truc_evidence::item_of;
use truc_ledger::{Committed, Position, ProofFailure};
use truc_proto::{Digest, Raw, limits::EVIDENCE_ITEMS_MAX, relay_v1 as wire, wire_v1};

use super::{Service, blocking, refuse::Refusal};
use crate::{
    core::{Acceptance, DeliveryItem, OfferOutcome, OwnProof},
    records::{Accepted, AcceptedBody, Body},
    store::{Store, StoreError},
};

impl<S: Store> Service<S> {
    /// A leaf of ours with its proof to the newest checkpoint.
    pub(super) fn prove(&self, at: &Acceptance) -> Result<wire_v1::ProvenLeaf, StoreError> {
        let leaf = match &at.leaf {
            Some(leaf) => leaf.clone(),
            None => self.leaf_at(at.position)?,
        };
        let head = self.store.head();
        let (_, proof) = self.store.proven_leaf(at.leaf_index, head.size).map_err(proof_failure)?;
        Ok(wire_v1::ProvenLeaf { leaf, index: at.leaf_index, proof: hashes(&proof), checkpoint: note_bytes(&head) })
    }

    pub(super) fn leaf_at(&self, position: Position) -> Result<Bytes, StoreError> {
        let record = self.store.read(position)?;
        record.leaf.ok_or_else(|| StoreError::Corrupt(format!("record {position} has no leaf")))
    }

    /// What an offer is answered.
    pub(super) async fn outcome(self: &Arc<Self>, outcome: OfferOutcome) -> Result<Answer, Status> {
        let service = Arc::clone(self);
        let made = blocking(move || match outcome {
            OfferOutcome::Accepted(at) => Ok(Answer::Accepted(service.prove(&at)?)),
            OfferOutcome::Rejected(at) => {
                let evidence = service.prove(&at)?;
                let event = Raw::<truc_proto::Event>::parse(evidence.leaf.clone());
                let event = event.map_err(|error| StoreError::Corrupt(error.to_string()))?.into_value();
                let reason = event.reason.unwrap_or(truc_proto::Reason::Invalid);
                Ok(Answer::Refused(Refusal::with_evidence(reason, event.successor, evidence).into_wire()))
            }
        });
        made.await?.map_err(|error: StoreError| Refusal::from(error).into())
    }

    /// The accepted record of an envelope, with its body.
    pub(super) fn accepted(&self, position: Position) -> Result<(Accepted, AcceptedBody, Option<Bytes>), StoreError> {
        let record = self.store.read(position)?;
        let Body::Accepted(accepted) = record.body else {
            return Err(StoreError::Corrupt(format!("record {position} accepts nothing")));
        };
        let body = AcceptedBody::decode(accepted.body.clone())
            .map_err(|error| StoreError::Corrupt(format!("record {position}: {error}")))?;
        Ok((accepted, body, record.leaf))
    }

    /// The next delivery of a page as it travels: what one peer showed under one checkpoint goes together, so that its reader checks one
    /// signature and answers once. None when the page is through. Reads the disk.
    pub(super) fn next_delivery(
        &self,
        page: &mut DeliveriesLeft,
    ) -> Result<Option<wire::EvidenceDelivery>, StoreError> {
        let Some(mut delivery) = page.next(self)? else { return Ok(None) };
        let mut bytes = delivery.encoded_len();
        while let Some(next) = page.next(self)? {
            bytes += next.encoded_len();
            if bytes > DELIVERY_BYTES_MAX || !go_together(&delivery, &next) {
                page.read = Some(next);
                break;
            }
            join(&mut delivery, next);
        }
        Ok(Some(delivery))
    }

    fn delivery(&self, number: u64, item: &DeliveryItem) -> Result<wire::EvidenceDelivery, StoreError> {
        let own = self.settings.relay.to_string();
        let (from, batch) = match item {
            DeliveryItem::Forwarded { from, position } => (from.to_string(), self.forwarded(*position)?),
            DeliveryItem::Own(proof) => (own, self.own_batch(proof)?),
            DeliveryItem::Final { signed, size, leaves } => (own, self.final_batch(*signed, *size, leaves)?),
        };
        Ok(wire::EvidenceDelivery { number, from, batch: Some(batch), also: Vec::new() })
    }

    fn forwarded(&self, position: Position) -> Result<wire_v1::EvidenceBatch, StoreError> {
        let batch = match self.store.read(position)?.body {
            Body::Evidence(evidence) => evidence.batch,
            Body::Finalisation(finalisation) => finalisation.batch,
            _ => return Err(StoreError::Corrupt(format!("record {position} holds no evidence"))),
        };
        wire_v1::EvidenceBatch::decode(batch).map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    fn own_batch(&self, own: &OwnProof) -> Result<wire_v1::EvidenceBatch, StoreError> {
        let head = self.store.head();
        let leaf = self.leaf_at(own.position)?;
        let (hash, proof) = self.store.proven_leaf(own.leaf_index, head.size).map_err(proof_failure)?;
        let item = item_of(Some(&leaf), hash, own.leaf_index, &proof, Some(own.envelope));
        Ok(wire_v1::EvidenceBatch { checkpoint: note_bytes(&head), items: vec![item] })
    }

    fn final_batch(
        &self,
        signed: Position,
        size: u64,
        leaves: &[OwnProof],
    ) -> Result<wire_v1::EvidenceBatch, StoreError> {
        let Body::Signed(note) = self.store.read(signed)?.body else {
            return Err(StoreError::Corrupt(format!("record {signed} holds no signed checkpoint")));
        };
        let mut items = Vec::with_capacity(leaves.len());
        for own in leaves {
            let (hash, proof) = self.store.proven_leaf(own.leaf_index, size).map_err(proof_failure)?;
            items.push(item_of(None, hash, own.leaf_index, &proof, Some(own.envelope)));
        }
        Ok(wire_v1::EvidenceBatch { checkpoint: note.note, items })
    }
}

/// Bytes of evidence in one delivery, unless a single piece is longer.
const DELIVERY_BYTES_MAX: usize = 1024 * 1024;

/// What of a page is still to be sent.
pub(super) struct DeliveriesLeft {
    items: std::vec::IntoIter<(u64, DeliveryItem)>,
    /// Read already, and not to go with the one before.
    read: Option<wire::EvidenceDelivery>,
}

impl DeliveriesLeft {
    pub(super) fn of(items: Vec<(u64, DeliveryItem)>) -> Self {
        Self { items: items.into_iter(), read: None }
    }

    fn next<S: Store>(&mut self, service: &Service<S>) -> Result<Option<wire::EvidenceDelivery>, StoreError> {
        if let Some(read) = self.read.take() {
            return Ok(Some(read));
        }
        self.items.next().map(|(number, item)| service.delivery(number, &item)).transpose()
    }
}

fn go_together(last: &wire::EvidenceDelivery, next: &wire::EvidenceDelivery) -> bool {
    let (Some(one), Some(other)) = (&last.batch, &next.batch) else { return false };
    last.from == next.from
        && one.checkpoint == other.checkpoint
        && one.items.len() + other.items.len() <= EVIDENCE_ITEMS_MAX
}

fn join(last: &mut wire::EvidenceDelivery, next: wire::EvidenceDelivery) {
    last.also.push(next.number);
    last.also.extend(next.also);
    if let (Some(batch), Some(more)) = (&mut last.batch, next.batch) {
        batch.items.extend(more.items);
    }
}

/// What [`Service::outcome`] gives.
pub(super) enum Answer {
    Accepted(wire_v1::ProvenLeaf),
    Refused(wire_v1::Refusal),
}

pub(super) fn hashes(proof: &[Digest]) -> Vec<Bytes> {
    proof.iter().map(|hash| Bytes::copy_from_slice(&hash.0)).collect()
}

pub(super) fn note_bytes(head: &Committed) -> Bytes {
    head.note.to_string().into_bytes().into()
}

pub(super) fn proof_failure(failure: ProofFailure) -> StoreError {
    StoreError::Corrupt(format!("no proof: {failure}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(number: u64, from: &str, checkpoint: &'static str, items: usize) -> wire::EvidenceDelivery {
        let batch = wire_v1::EvidenceBatch {
            checkpoint: Bytes::from_static(checkpoint.as_bytes()),
            items: vec![wire_v1::EvidenceItem::default(); items],
        };
        wire::EvidenceDelivery { number, from: from.into(), batch: Some(batch), also: Vec::new() }
    }

    #[test]
    fn what_stands_under_one_checkpoint_goes_together_with_every_number() {
        let mut first = delivery(3, "N-H26", "one", 1);
        let next = delivery(5, "N-H26", "one", 2);
        assert!(go_together(&first, &next));
        join(&mut first, next);
        join(&mut first, delivery(9, "N-H26", "one", 1));
        assert_eq!((first.number, first.also.as_slice()), (3, [5, 9].as_slice()));
        assert_eq!(first.batch.as_ref().map(|batch| batch.items.len()), Some(4));
        assert!(!go_together(&first, &delivery(10, "N-H26", "two", 1)), "another checkpoint");
        assert!(!go_together(&first, &delivery(10, "N-H37", "one", 1)), "another ledger");
        assert!(!go_together(&first, &delivery(10, "N-H26", "one", EVIDENCE_ITEMS_MAX)), "too many");
    }
}
