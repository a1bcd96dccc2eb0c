//! The look-up indexes and snapshots of relay and nodes may be deleted at any time (I12): it costs time and changes nothing else.

use std::{collections::BTreeMap, path::Path};

use truc_proto::node_v1::{DocumentFound, InboxItem, OutboxItem};
use truc_tests::network::{Network, client::Document};
use truc_tests::wait::until_async;

use crate::mail::{RECIPIENT, SENDER, layout};

const DOCUMENTS: usize = 12;
/// Of the subjects of [`Document`], as people type them.
const WORDS: &str = "van ban thu kept";

/// All that document systems can see of a network's past.
#[derive(Debug, PartialEq)]
struct Seen {
    outbox: Vec<OutboxItem>,
    inbox: Vec<InboxItem>,
    found: Vec<DocumentFound>,
    /// By leaf hash.
    receipts: BTreeMap<Vec<u8>, Vec<u8>>,
    files: Vec<Vec<u8>>,
}

async fn see(network: &Network, envelopes: &[String]) -> Seen {
    let (mut sender, mut recipient) = (network.client("G22"), network.client("H26"));
    let mut outbox = sender.outbox("G22").await.unwrap();
    let mut inbox = recipient.inbox("H26", true).await.unwrap();
    outbox.sort_by(|a, b| a.envelope.cmp(&b.envelope));
    inbox.sort_by(|a, b| a.envelope.cmp(&b.envelope));
    let (mut receipts, mut files) = (BTreeMap::new(), Vec::new());
    for envelope in envelopes {
        for (item, file) in network.receipts("G22", envelope).await.unwrap() {
            network.assert_valid(&file);
            receipts.insert(item.leaf_hash.to_vec(), file);
        }
        let item = inbox.iter().find(|item| item.envelope == *envelope).unwrap();
        files.push(recipient.attachment(envelope, "H26", &item.attachments[0].name).await.unwrap());
    }
    for item in &mut outbox {
        // Counts of this process's life, not of the document's.
        item.bytes_sent = 0;
    }
    let mut found = sender.search(WORDS).await.unwrap();
    found.extend(recipient.search(WORDS).await.unwrap());
    assert_eq!(found.len(), 2 * envelopes.len(), "each once on each side");
    Seen { outbox, inbox, found, receipts, files }
}

/// Removes what may be removed; tells whether it was there.
fn remove(folder: &Path) -> bool {
    let there = folder.is_dir();
    if there {
        std::fs::remove_dir_all(folder).unwrap();
    }
    there
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_indexes_and_snapshots_changes_nothing_but_time() {
    let network = Network::start(layout()).await;
    let mut envelopes = Vec::new();
    for number in 0..DOCUMENTS {
        let document =
            Document::new(&format!("kept-{number}"), "G22", &["H26"], if number == 3 { 150_000 } else { 2_000 });
        envelopes.push(network.client("G22").send(&document).await.unwrap().envelope);
    }
    for envelope in &envelopes {
        network.wait_consigned("G22", envelope).await;
        assert!(network.client("H26").confirm(envelope, "H26").await.unwrap().first);
    }
    for envelope in &envelopes {
        let final_at_last = |item: &OutboxItem| {
            item.recipients.iter().all(|r| r.state == "handed-over" && r.ladder.iter().all(|s| s.r#final))
        };
        network.wait_sent("final receipts", "G22", envelope, final_at_last).await;
    }
    let before = see(&network, &envelopes).await;

    for id in [SENDER, RECIPIENT] {
        network.stop_node(id).await;
    }
    network.stop_relay().await;
    for id in [SENDER, RECIPIENT] {
        let store = network.node_folder(id).join("store");
        assert!(remove(&store.join("index")), "{id} has no index: has its place changed?");
        assert!(remove(&store.join("snapshots")), "{id} has no snapshot: has its place changed?");
    }
    assert!(remove(&network.relay_folder().join("index")), "the relay has no index: has its place changed?");
    assert!(
        remove(&network.relay_folder().join("store/snapshots")),
        "the relay has no snapshot: has its place changed?"
    );
    network.start_relay();
    for id in [SENDER, RECIPIENT] {
        network.start_node(id);
    }
    for id in [SENDER, RECIPIENT] {
        network.wait_connected(id).await;
        let client = network.client_of(id);
        until_async("the index to be whole again", || {
            let mut client = client.clone();
            async move {
                let status = client.status().await;
                let ready = status.as_ref().is_ok_and(|status| status.index_state.starts_with("ready"));
                if ready { Ok(()) } else { Err(status) }
            }
        })
        .await;
    }

    let after = see(&network, &envelopes).await;
    assert_eq!(before, after);
    // What was sent and handed over is known: no second delivery, no second hand-over.
    for (number, envelope) in envelopes.iter().enumerate() {
        let document =
            Document::new(&format!("kept-{number}"), "G22", &["H26"], if number == 3 { 150_000 } else { 2_000 });
        assert_eq!(&network.client("G22").send(&document).await.unwrap().envelope, envelope);
        assert!(!network.client("H26").confirm(envelope, "H26").await.unwrap().first);
    }
    // And it goes on.
    let reply = network.client("G22").send(&Document::new("next", "G22", &["H26"], 2_000)).await.unwrap();
    network.wait_final("G22", &reply.envelope).await;
    network.stop().await;
}
