//! Evidence of nodes: verified, matched with the envelope it is about, taken once, passed on to the other side.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use prost::Message as _;
use tonic::Status;
use truc_evidence::{Leaf, ProvenBatch, ProvenItem, verify_batch};
use truc_proto::{
    Checkpoint, Digest, EnvelopeId, Event, NodeId, Raw, Reason, Role, Submission,
    limits::{EVIDENCE_ITEMS_MAX, OFFER_BYTES_MAX, SUBMISSION_RECORDS_BYTES_MAX},
    relay_v1 as wire, wire_v1,
};

use super::{Service, blocking, refuse::Refusal};
use crate::{
    core::{
        EnvelopeKey, EvidenceOutcome, Fact, FinalisedLeaf, Found, Mark, Recall, VerifiedEvidence, VerifiedFinalisation,
    },
    records::{AcceptedBody, Body},
    store::{Store, StoreError},
};

/// Bytes that go into the journal at once: half of what it takes.
const PART_BYTES_MAX: usize = SUBMISSION_RECORDS_BYTES_MAX / 2;
/// Records that go into the journal at once.
const PART_ITEMS_MAX: usize = 1_024;

/// At most this much does the record of a finalisation say about one leaf: sender's code, envelope's id, eight bytes of hash, tags.
const FINAL_LEAF_BYTES: usize = 96;

/// One item that was refused.
type Refused = (Digest, Refusal);

/// The nodes at both ends of an envelope.
struct Ends {
    sender: NodeId,
    recipients: Vec<NodeId>,
}

impl<S: Store> Service<S> {
    pub(super) async fn push_evidence(
        self: &Arc<Self>,
        node: NodeId,
        request: wire::PushEvidenceRequest,
    ) -> Result<wire::PushEvidenceReply, Status> {
        let items: usize = request.batches.iter().map(|batch| batch.items.len()).sum();
        if items > EVIDENCE_ITEMS_MAX {
            let what = format!("at most {EVIDENCE_ITEMS_MAX} pieces of evidence in one request");
            return Err(Refusal::because(Reason::TooLarge, what).into());
        }
        if request.encoded_len() > OFFER_BYTES_MAX {
            let what = format!("at most {OFFER_BYTES_MAX} bytes of evidence in one request");
            return Err(Refusal::because(Reason::TooLarge, what).into());
        }
        let mut rejected = Vec::new();
        for batch in request.batches {
            self.push_batch(&node, batch, &mut rejected).await?;
        }
        let rejected = rejected.into_iter().map(|(leaf, refusal): Refused| wire::RejectedItem {
            leaf_hash: Bytes::copy_from_slice(&leaf.0),
            refusal: Some(refusal.into_wire()),
        });
        Ok(wire::PushEvidenceReply { rejected: rejected.collect() })
    }

    async fn push_batch(
        self: &Arc<Self>,
        node: &NodeId,
        batch: wire_v1::EvidenceBatch,
        rejected: &mut Vec<Refused>,
    ) -> Result<(), Status> {
        let (directory, trust, now) = (self.current_directory()?, self.trust(), self.now());
        let (of, batch) = (node.clone(), Arc::new(batch));
        let wire = Arc::clone(&batch);
        let proven = blocking(move || verify_batch(&wire, &directory, Some(&of), Some(&trust), now)).await?;
        let mut proven = proven.map_err(Refusal::from)?;
        let items = std::mem::take(&mut proven.items);
        let (mut events, mut finals) = (Vec::new(), Vec::new());
        for (item, wire_item) in items.into_iter().zip(&batch.items) {
            match item {
                Ok(item) if item.leaf.is_some() => events.push((item, wire_item.clone())),
                Ok(item) => finals.push((item, wire_item.clone())),
                Err(error) => rejected.push((stated(wire_item), error.into())),
            }
        }
        self.push_events(node, &batch.checkpoint, &proven.checkpoint, events, rejected).await?;
        self.push_finals(node, &batch.checkpoint, &proven, finals, rejected).await
    }

    async fn push_events(
        self: &Arc<Self>,
        node: &NodeId,
        note: &Bytes,
        checkpoint: &Checkpoint,
        items: Vec<(ProvenItem, wire_v1::EvidenceItem)>,
        rejected: &mut Vec<Refused>,
    ) -> Result<(), Status> {
        let mut keyed = Vec::new();
        for (item, wire_item) in items {
            match event_key(&item) {
                Some(key) => keyed.push((key, item, wire_item)),
                None => rejected.push((item.leaf_hash, Refusal::invalid("not an event of a recipient"))),
            }
        }
        if keyed.is_empty() {
            return Ok(());
        }
        let found = self.store.find(keyed.iter().map(|(key, ..)| key.clone()).collect()).await?;
        let service = Arc::clone(self);
        let (note, checkpoint) = (note.clone(), checkpoint.clone());
        let judged = blocking(move || {
            let judge =
                |((key, item, wire_item), found): ((EnvelopeKey, ProvenItem, wire_v1::EvidenceItem), Option<Found>)| {
                    let judged = service.judge_event(&key, found, &item, &note, &wire_item, &checkpoint);
                    judged.map_err(|refusal| (item.leaf_hash, refusal))
                };
            keyed.into_iter().zip(found).map(judge).collect::<Vec<_>>()
        });
        let mut taken = Vec::new();
        for outcome in judged.await? {
            match outcome {
                Ok(evidence) => taken.push(evidence),
                Err(refused) => rejected.push(refused),
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        let leaves: Vec<Digest> = taken.iter().map(|item: &VerifiedEvidence| item.leaf).collect();
        let outcomes = self.append_in_parts(node, taken).await?;
        for (leaf, outcome) in leaves.into_iter().zip(outcomes) {
            match outcome {
                EvidenceOutcome::Taken => {}
                EvidenceOutcome::Contradiction => rejected.push((leaf, Refusal::invalid(
                    "it contradicts what this node signed before about the envelope, or the envelope is not this node's",
                ))),
                EvidenceOutcome::UnknownEnvelope => rejected.push((leaf, Refusal::unknown_envelope())),
                EvidenceOutcome::TooMuch => rejected.push((leaf, Refusal::because(Reason::TooLarge,
                    "this node has said so much about the recipient that says nothing new that no more of it is kept",
                ))),
            }
        }
        Ok(())
    }

    /// Appends in parts that fit into the journal at once: each piece of evidence carries its checkpoint, so a small request may become a long one.
    pub(super) async fn append_in_parts(
        &self,
        node: &NodeId,
        items: Vec<VerifiedEvidence>,
    ) -> Result<Vec<EvidenceOutcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(items.len());
        for part in parts(items, |item| item.batch.len()) {
            outcomes.extend(self.store.append_evidence(node.clone(), part).await?);
        }
        Ok(outcomes)
    }

    fn judge_event(
        &self,
        key: &EnvelopeKey,
        found: Option<Found>,
        item: &ProvenItem,
        note: &Bytes,
        wire_item: &wire_v1::EvidenceItem,
        checkpoint: &Checkpoint,
    ) -> Result<VerifiedEvidence, Refusal> {
        let Some(Leaf::Event(event)) = &item.leaf else { return Err(Refusal::invalid("not an event")) };
        let (found, recalled) = match found {
            Some(found) => (found, None),
            None => {
                let position = self.store.look_up(key)?.ok_or_else(Refusal::unknown_envelope)?;
                let found = Found {
                    position,
                    leaf_index: 0,
                    accepted: true,
                    content: Digest([0; 32]),
                    reused: Vec::new(),
                    live: None,
                };
                (found, Some(Recall { position }))
            }
        };
        let mut evidence = self.evidence_item(key, &found, None, event, item, note, wire_item, checkpoint)?;
        evidence.recalled = recalled;
        Ok(evidence)
    }

    /// One event of a recipient against the envelope as it was accepted; `body` where its record was read already.
    #[expect(clippy::too_many_arguments, reason = "the event, its proof and its subject, each from another place")]
    pub(super) fn evidence_item(
        &self,
        key: &EnvelopeKey,
        found: &Found,
        body: Option<&AcceptedBody>,
        event: &Event,
        item: &ProvenItem,
        note: &Bytes,
        wire_item: &wire_v1::EvidenceItem,
        checkpoint: &Checkpoint,
    ) -> Result<VerifiedEvidence, Refusal> {
        let fact = Fact::of_recipient(event.event).filter(|_| event.actor.role == Role::Recipient);
        let fact = fact.ok_or_else(|| Refusal::invalid("not an event of a recipient"))?;
        let recipient = event.recipient.clone().ok_or_else(|| Refusal::invalid("the event names no recipient"))?;
        if (&event.sender, event.envelope) != (&key.sender, Some(key.envelope)) {
            return Err(Refusal::invalid("the event is about another envelope"));
        }
        if !found.accepted {
            return Err(Refusal::invalid("the envelope was refused, so nobody can have received it"));
        }
        let to = match &found.live {
            Some(live) => {
                let stated = [event.submission, event.preamble, event.payload, event.commitment];
                let known = [live.submission, live.preamble, live.payload, live.commitment].map(Some);
                if stated != known {
                    return Err(other_content());
                }
                live.sender_node.clone()
            }
            None => self.check_recalled(found, event, &recipient)?,
        };
        if fact == Fact::Taken {
            let read = if body.is_none() { Some(self.accepted(found.position)?.1) } else { None };
            let submission = body.or(read.as_ref()).and_then(|body| body.submission.as_ref());
            check_key_envelope(submission, event, &recipient)?;
        }
        let batch = wire_v1::EvidenceBatch { checkpoint: note.clone(), items: vec![wire_item.clone()] };
        Ok(VerifiedEvidence {
            key: key.clone(),
            recipient,
            fact,
            leaf: item.leaf_hash,
            to,
            mark: Mark { size: checkpoint.size, root: checkpoint.root },
            batch: batch.encode_to_vec().into(),
            recalled: None,
        })
    }

    /// The same for an envelope of which only the journal knows the hashes; gives the sender's node.
    fn check_recalled(
        &self,
        found: &Found,
        event: &Event,
        recipient: &truc_proto::AgencyId,
    ) -> Result<NodeId, Refusal> {
        let (record, ..) = self.accepted(found.position)?;
        let stated = [event.submission, event.preamble, event.payload, event.commitment];
        let known = [&record.submission, &record.preamble, &record.payload, &record.commitment];
        let same =
            stated.iter().zip(known).all(|(stated, known)| stated.is_some_and(|digest| digest.0 == known.as_slice()));
        if !same {
            return Err(other_content());
        }
        let served = record.recipients.iter().any(|one| one.code == recipient.as_str() && !one.node.is_empty());
        if !served {
            return Err(Refusal::invalid("the envelope was not for this recipient"));
        }
        let broken = |_| Refusal::from(StoreError::Corrupt("a record names no node".into()));
        record.sender_node.parse().map_err(broken)
    }

    async fn push_finals(
        self: &Arc<Self>,
        node: &NodeId,
        note: &Bytes,
        proven: &ProvenBatch,
        items: Vec<(ProvenItem, wire_v1::EvidenceItem)>,
        rejected: &mut Vec<Refused>,
    ) -> Result<(), Status> {
        if items.is_empty() {
            return Ok(());
        }
        if !proven.cms {
            let refusal = || {
                Refusal::because(Reason::CertificateRefused, "the checkpoint carries no line of the node's certificate")
            };
            rejected.extend(items.iter().map(|(item, _)| (item.leaf_hash, refusal())));
            return Ok(());
        }
        let ids: Vec<EnvelopeId> = items.iter().filter_map(|(item, _)| item.envelope).collect();
        let found = self.store.find_ids(ids).await?;
        let mut found = found.into_iter();
        let mut asked = Vec::new();
        for (item, wire_item) in items {
            let known = if item.envelope.is_some() { found.next().unwrap_or_default() } else { Vec::new() };
            asked.push((item, wire_item, known));
        }
        let (service, of) = (Arc::clone(self), node.clone());
        let routed = blocking(move || {
            let route = |(item, wire_item, known): (ProvenItem, _, Vec<(EnvelopeKey, Found)>)| {
                let is_known = !known.is_empty();
                (item.leaf_hash, wire_item, service.other_sides(&of, known), is_known)
            };
            asked.into_iter().map(route).collect::<Vec<_>>()
        });
        let mut batches: BTreeMap<NodeId, Vec<FinalisedLeaf>> = BTreeMap::new();
        for (leaf, wire_item, nodes, is_known) in routed.await? {
            let nodes = match nodes {
                Ok(nodes) => nodes,
                // Not a word about the evidence: it is to be shown again.
                Err(error) => {
                    rejected.push((leaf, error.into()));
                    continue;
                }
            };
            if nodes.is_empty() {
                rejected.push((leaf, if is_known { nobody_waits() } else { Refusal::unknown_envelope() }));
            }
            for (to, keys) in nodes {
                batches.entry(to).or_default().push(FinalisedLeaf { keys, leaf, item: wire_item.clone() });
            }
        }
        let mark = Mark { size: proven.checkpoint.size, root: proven.checkpoint.root };
        let attested = proven.attested;
        let all = batches.into_iter();
        let items = all.map(|(to, items)| VerifiedFinalisation { to, mark, note: note.clone(), attested, items });
        for part in parts(items.collect(), finalisation_bytes) {
            self.store.append_finalisations(node.clone(), part).await?;
        }
        Ok(())
    }

    /// The nodes that hold leaves of `node` about these envelopes: the recipients of what it sent, the sender of what it received.
    fn other_sides(
        &self,
        node: &NodeId,
        known: Vec<(EnvelopeKey, Found)>,
    ) -> Result<BTreeMap<NodeId, Vec<EnvelopeKey>>, StoreError> {
        let mut nodes: BTreeMap<NodeId, Vec<EnvelopeKey>> = BTreeMap::new();
        for (key, found) in known {
            let Some(ends) = self.ends(&found)? else { continue };
            let mut others = BTreeSet::new();
            if ends.recipients.contains(node) {
                others.insert(ends.sender.clone());
            }
            if ends.sender == *node {
                others.extend(ends.recipients);
            }
            for other in others {
                nodes.entry(other).or_default().push(key.clone());
            }
        }
        Ok(nodes)
    }

    /// None for an envelope that was refused: nobody but its sender has leaves about it.
    fn ends(&self, found: &Found) -> Result<Option<Ends>, StoreError> {
        if let Some(live) = &found.live {
            let recipients = live.pairs.iter().filter_map(|pair| pair.node.clone()).collect();
            return Ok(Some(Ends { sender: live.sender_node.clone(), recipients }));
        }
        match self.store.read(found.position)?.body {
            Body::Accepted(record) => {
                let sender =
                    record.sender_node.parse().map_err(|_| StoreError::Corrupt("a record names no node".into()))?;
                let recipients = record.recipients.iter().filter_map(|one| one.node.parse().ok()).collect();
                Ok(Some(Ends { sender, recipients }))
            }
            _ => Ok(None),
        }
    }
}

/// Cuts a list so that each part fits into one submission to the journal.
fn parts<T>(items: Vec<T>, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut all, mut part, mut length) = (Vec::new(), Vec::new(), 0);
    for item in items {
        // What a record adds to the batch: names, hashes, the arrival's leaf.
        let adds = bytes(&item) + 2_048;
        if !part.is_empty() && (length + adds > PART_BYTES_MAX || part.len() == PART_ITEMS_MAX) {
            all.push(std::mem::take(&mut part));
            length = 0;
        }
        length += adds;
        part.push(item);
    }
    if !part.is_empty() {
        all.push(part);
    }
    all
}

/// What a finalisation takes in the journal: its batch, and for each leaf a line that says what it is about.
fn finalisation_bytes(item: &VerifiedFinalisation) -> usize {
    let leaf = |leaf: &FinalisedLeaf| leaf.item.encoded_len() + 16 + leaf.keys.len() * FINAL_LEAF_BYTES;
    item.note.len() + item.items.iter().map(leaf).sum::<usize>()
}

/// A recipient takes exactly the key envelope that the sender made for it.
fn check_key_envelope(
    submission: Option<&wire_v1::ProvenLeaf>,
    event: &Event,
    recipient: &truc_proto::AgencyId,
) -> Result<(), Refusal> {
    let leaf = submission.map(|proven| proven.leaf.clone()).unwrap_or_default();
    let submission = Raw::<Submission>::parse(leaf);
    let submission = submission.map_err(|error| Refusal::from(StoreError::Corrupt(error.to_string())))?;
    let expected = submission.key_envelopes.get(recipient);
    if event.key_envelope.is_some() && event.key_envelope.as_ref() == expected {
        return Ok(());
    }
    Err(Refusal::invalid("the acceptance does not name the key envelope made for this recipient"))
}

fn event_key(item: &ProvenItem) -> Option<EnvelopeKey> {
    let Some(Leaf::Event(event)) = &item.leaf else { return None };
    Fact::of_recipient(event.event).filter(|_| event.actor.role == Role::Recipient)?;
    Some(EnvelopeKey { sender: event.sender.clone(), envelope: event.envelope? })
}

fn stated(item: &wire_v1::EvidenceItem) -> Digest {
    Digest::from_slice(&item.leaf_hash).unwrap_or(Digest([0; 32]))
}

fn nobody_waits() -> Refusal {
    Refusal::invalid("the envelope was refused, or this node is at neither end of it; nobody holds the leaf")
}

fn other_content() -> Refusal {
    Refusal::because(Reason::Invalid, "the event is about other content than the relay accepted under this id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_request_with_a_long_checkpoint_is_cut_into_parts_that_the_journal_takes() {
        let items = vec![512 * 1024_usize; 4_000];
        let cut = parts(items, |bytes| *bytes);
        assert_eq!(cut.iter().map(Vec::len).sum::<usize>(), 4_000);
        assert!(cut.iter().all(|part| part.iter().sum::<usize>() <= PART_BYTES_MAX && !part.is_empty()));
        assert!(parts(vec![1_usize; 5_000], |bytes| *bytes).iter().all(|part| part.len() <= PART_ITEMS_MAX));
        assert!(parts(Vec::<usize>::new(), |bytes| *bytes).is_empty());
    }
}
