//! Whatever a node says again and again with the same content, the relay writes once: no peer fills its disk.

use std::collections::BTreeSet;

use tokio_stream::StreamExt as _;
use truc_ledger::Position;
use truc_proto::{EventUri, Reason, relay_v1 as wire, relay_v1::watch_event::Event as Seen, wire_v1};

use crate::{
    client::{Draft, Node, draft},
    flows::{Client, accepted, lease_of, offer, push, refused, seen, take_keys},
    world::World,
};

/// The tests of the core say everything a thousand times; here each call checks signatures.
const TIMES: usize = 100;

/// The position behind the journal's last record. The relay must have stopped.
fn journal_end(world: &World) -> Position {
    let store = world.store();
    let end = store.recovered().next_position;
    store.close();
    end
}

/// What is said again and again; made once, so that it is the same every time.
struct Said {
    done: Draft,
    open: Draft,
    offers: Vec<wire::OfferRequest>,
    refused: Vec<wire::OfferRequest>,
    acceptance: wire_v1::EvidenceBatch,
    evidence: Vec<wire_v1::EvidenceBatch>,
    contradiction: wire_v1::EvidenceBatch,
    finals: Vec<(usize, wire_v1::EvidenceBatch)>,
}

impl Said {
    fn new(a: &Node, b: &Node) -> Self {
        let done = draft(1, &["H26"], b"one".to_vec());
        let open = draft(2, &["H26", "H37"], b"two".to_vec());
        let offers = vec![a.offer(&done), a.offer(&open)];
        let other = |payload: &[u8]| a.offer(&Draft { payload: payload.to_vec(), ..done.clone() });
        let refused = vec![other(b"other"), other(b"another"), a.offer(&draft(3, &["H02"], b"closed".to_vec()))];
        let events = [EventUri::ContentConsignment, EventUri::ContentHandover];
        let mut evidence = events.map(|event| b.says(&offers[0], "H26", event)).to_vec();
        let acceptance = b.says(&offers[1], "H26", EventUri::RelayAcceptance);
        evidence.push(b.says(&offers[1], "H37", EventUri::ContentConsignment));
        let contradiction = b.says_with(&offers[1], "H37", EventUri::ContentConsignmentFailure, |event| {
            event.reason = Some(Reason::CannotOpen);
        });
        let leaf_of = |batch: &wire_v1::EvidenceBatch| (batch.items[0].leaf.clone(), batch.items[0].index);
        let (leaf, index) = leaf_of(&evidence[1]);
        let submission = offers[0].submission.clone().unwrap();
        // Twice: under a later tree it says nothing more.
        let finals = (0..2).flat_map(|_| {
            b.append(b"something else");
            [
                (0, a.finalise(&submission.leaf, submission.index, done.envelope)),
                (1, b.finalise(&leaf, index, done.envelope)),
            ]
        });
        let finals = finals.collect();
        Self { done, open, offers, refused, acceptance, evidence, contradiction, finals }
    }

    /// How much evidence comes back to the sender's node of it all, whatever way it is put into deliveries.
    fn told_to_the_sender(&self) -> usize {
        // Each answer of the relay, proven into a tree that its certificate signed.
        let answers = self.offers.len() + self.refused.len();
        // What the recipients' node says, with an acceptance for each of the two envelopes that it took.
        let said = self.evidence.len() + 2;
        let proven = self.finals.iter().filter(|(node, _)| *node == 1).map(|(_, batch)| batch.items[0].index);
        answers + said + proven.collect::<BTreeSet<_>>().len()
    }

    /// Every call once.
    async fn say(&self, world: &World, nodes: &[Node], clients: &mut [Client], first: bool) {
        for (node, client) in nodes.iter().zip(&mut *clients) {
            client.hello(node.hello()).await.unwrap();
            client.undelivered(wire::UndeliveredRequest::default()).await.unwrap();
            client.checkpoint(wire::CheckpointRequest { from: 1, to: 0 }).await.unwrap();
            client.directory(wire::DirectoryRequest::default()).await.unwrap();
            client.watch(wire::WatchRequest {}).await.unwrap();
        }
        world.publish(world.directory.read_signed().unwrap()).await;
        for request in &self.offers {
            accepted(offer(&mut clients[0], request).await);
        }
        for request in &self.refused {
            refused(offer(&mut clients[0], request).await);
        }
        if first {
            consign_taken(&mut clients[1], &nodes[1], self).await;
        }
        clients[1].lease(lease_of(&self.open)).await.unwrap();
        let request = wire::PayloadRequest {
            sender: self.open.sender.clone(),
            envelope: self.open.envelope.to_string(),
            ..Default::default()
        };
        let mut payload = clients[1].payload(request).await.unwrap().into_inner();
        assert_eq!(payload.next().await.unwrap().unwrap().data, self.open.payload);
        take_keys(&mut clients[1], &self.open, self.acceptance.clone()).await.unwrap();
        for batch in &self.evidence {
            assert!(push(&mut clients[1], batch.clone()).await.is_empty());
        }
        assert_eq!(push(&mut clients[1], self.contradiction.clone()).await.len(), 1);
        for (client, batch) in &self.finals {
            assert!(push(&mut clients[*client], batch.clone()).await.is_empty());
        }
        let open = [&self.done, &self.open]
            .map(|draft| wire::EnvelopeKey { sender: draft.sender.clone(), envelope: draft.envelope.to_string() });
        clients[0].reconcile(wire::ReconcileRequest { open: open.to_vec() }).await.unwrap();
        // What comes of the first time is seen before it is acknowledged.
        if !first {
            let numbers = (0..40).chain(0..40).collect();
            clients[0].acknowledge_evidence(wire::AcknowledgeEvidenceRequest { numbers }).await.unwrap();
        }
        for (node, client) in nodes.iter().zip(clients) {
            let wanted = client.prove_history(node.history(&[])).await.unwrap().into_inner().wanted;
            client.prove_history(node.history(&wanted)).await.unwrap();
        }
    }
}

async fn consign_taken(client: &mut Client, node: &Node, said: &Said) {
    client.lease(lease_of(&said.done)).await.unwrap();
    let taken = node.says(&said.offers[0], "H26", EventUri::RelayAcceptance);
    take_keys(client, &said.done, taken).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_said_again_and_again_writes_nothing_more() {
    let (mut world, nodes, mut clients) = World::ready().await;
    let said = Said::new(&nodes[0], &nodes[1]);
    said.say(&world, &nodes, &mut clients, true).await;
    // Behind the certificate's signature over everything so far nothing is left that the relay would write by itself.
    let (mut numbers, mut came) = (Vec::new(), BTreeSet::new());
    seen(&mut clients[0], |event| {
        if let Seen::Evidence(delivery) = event {
            numbers.push(delivery.number);
            let items = &delivery.batch.as_ref().unwrap().items;
            let told = items.iter().map(|item| (delivery.from.clone(), item.index, item.leaf.is_empty()));
            came.extend(told);
        }
        came.len() == said.told_to_the_sender()
    })
    .await;
    clients[0].acknowledge_evidence(wire::AcknowledgeEvidenceRequest { numbers }).await.unwrap();
    drop(clients);
    world.stop().await;
    let before = journal_end(&world);

    world.start().await;
    let mut clients = world.greet(&nodes).await;
    for _ in 0..TIMES {
        said.say(&world, &nodes, &mut clients, false).await;
    }
    drop(clients);
    world.stop().await;
    assert_eq!(journal_end(&world), before);
}
