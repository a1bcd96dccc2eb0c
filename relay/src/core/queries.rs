//! What the core can be asked. Nothing here changes anything.

use truc_ledger::Position;
use truc_proto::{EnvelopeId, NodeId};

use super::{
    Core,
    decide::after,
    input::{
        Cursor, DeliveryItem, DeliveryPage, EnvelopeKey, Found, FoundPair, LiveFacts, OwnProof, Undelivered,
        WaitingItem,
    },
    state::{AgencyRef, Delivery, Envelope, KeyRef, OwnLeaf, Queue, Remembered},
};

impl Core {
    pub(super) fn key_of(&self, key: &EnvelopeKey) -> Option<KeyRef> {
        Some(KeyRef { envelope: key.envelope, sender: self.book.known_agency(&key.sender)? })
    }

    fn key_name(&self, key: KeyRef) -> EnvelopeKey {
        EnvelopeKey { sender: self.book.agency_name(key.sender).clone(), envelope: key.envelope }
    }

    pub(super) fn find(&self, keys: &[EnvelopeKey]) -> Vec<Option<Found>> {
        keys.iter().map(|key| self.find_one(key)).collect()
    }

    pub(super) fn find_one(&self, key: &EnvelopeKey) -> Option<Found> {
        let key = self.key_of(key)?;
        let refused = |refused: &Remembered| (refused.content, refused.position, refused.leaf_index);
        let reused = self.reused.get(&key).into_iter().flatten().map(refused).collect();
        if let Some(envelope) = self.envelopes.get(&key) {
            return Some(Found {
                position: envelope.position,
                leaf_index: envelope.leaf_index,
                accepted: true,
                content: envelope.content(),
                reused,
                live: Some(Box::new(self.live(envelope))),
            });
        }
        let remembered = self.remembered.get(&key)?;
        Some(Found {
            position: remembered.position,
            leaf_index: remembered.leaf_index,
            accepted: remembered.accepted,
            content: remembered.content,
            reused,
            live: None,
        })
    }

    fn live(&self, envelope: &Envelope) -> LiveFacts {
        let pairs = envelope.pairs.iter().map(|pair| FoundPair {
            recipient: self.book.agency_name(pair.recipient).clone(),
            node: pair.node.map(|node| self.book.node_name(node).clone()),
            state: pair.state,
        });
        LiveFacts {
            sender_node: self.book.node_name(envelope.sender_node).clone(),
            submission: envelope.submission,
            preamble: envelope.preamble,
            payload: envelope.payload,
            commitment: envelope.commitment,
            payload_length: envelope.payload_length,
            blob: envelope.blob,
            pairs: pairs.collect(),
        }
    }

    /// All envelopes with this id, whoever sent them.
    pub(super) fn with_id(&self, envelope: EnvelopeId) -> Vec<(EnvelopeKey, Found)> {
        let range = KeyRef { envelope, sender: AgencyRef(0) }..=KeyRef { envelope, sender: AgencyRef(u32::MAX) };
        let live = self.envelopes.range(range.clone()).map(|(key, _)| *key);
        let remembered = self.remembered.range(range).map(|(key, _)| *key);
        let keys: Vec<_> = live.chain(remembered).map(|key| self.key_name(key)).collect();
        keys.into_iter().filter_map(|key| self.find_one(&key).map(|found| (key, found))).collect()
    }

    pub(super) fn pull(&self, node: &NodeId, cursor: &Cursor, limit: usize) -> DeliveryPage {
        let mut page = DeliveryPage { cursor: *cursor, ..DeliveryPage::default() };
        let Some(queue) = self.book.known_node(node).and_then(|node| self.queues.get(&node)) else { return page };
        self.pull_waiting(queue, limit, &mut page);
        let beyond = (std::ops::Bound::Excluded(cursor.delivery), std::ops::Bound::Unbounded);
        for (number, delivery) in queue.deliveries.range(beyond) {
            if page.deliveries.len() == limit {
                page.more = true;
                break;
            }
            page.deliveries.push((*number, self.item(delivery)));
            page.cursor.delivery = *number;
        }
        page
    }

    fn pull_waiting(&self, queue: &Queue, limit: usize, page: &mut DeliveryPage) {
        for (rank, seen) in (0_u8..).zip(&mut page.cursor.waiting) {
            let range = (rank, truc_ledger::Position(*seen))..(rank + 1, truc_ledger::Position(0));
            for ((_, position), key) in queue.waiting.range(range) {
                if page.waiting.len() == limit {
                    page.more = true;
                    return;
                }
                *seen = after(*position);
                let Some(envelope) = self.envelopes.get(key) else { continue };
                page.waiting.push(WaitingItem {
                    key: self.key_name(*key),
                    priority: envelope.priority,
                    payload_length: envelope.payload_length,
                    status: envelope.status,
                });
            }
        }
    }

    fn item(&self, delivery: &Delivery) -> DeliveryItem {
        match delivery {
            Delivery::Forwarded { from, position } => {
                DeliveryItem::Forwarded { from: self.book.node_name(*from).clone(), position: *position }
            }
            Delivery::Own { position, leaf_index, envelope } => {
                DeliveryItem::Own(proof(*leaf_index, OwnLeaf { position: *position, envelope: *envelope }))
            }
            Delivery::Final { signed, size, leaves } => DeliveryItem::Final {
                signed: *signed,
                size: *size,
                leaves: leaves.iter().map(|(index, leaf)| proof(*index, *leaf)).collect(),
            },
        }
    }

    pub(super) fn forks(&self) -> Vec<(NodeId, Position)> {
        let forked = self.peers.iter().filter_map(|(node, peer)| Some((node, peer.fork?)));
        forked.map(|(node, position)| (self.book.node_name(*node).clone(), position)).collect()
    }

    pub(super) fn undelivered(&self, node: &NodeId) -> Undelivered {
        let Some(queue) = self.book.known_node(node).and_then(|node| self.queues.get(&node)) else {
            return Undelivered::default();
        };
        let named = |key: &KeyRef| (key.envelope, self.book.agency_name(key.sender).clone());
        Undelivered { envelopes: queue.undelivered.iter().map(named).collect(), changes: queue.changes }
    }
}

const fn proof(leaf_index: u64, leaf: OwnLeaf) -> OwnProof {
    OwnProof { position: leaf.position, leaf_index, envelope: leaf.envelope }
}
