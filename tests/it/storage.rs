//! Stores: one process each; what is only for speed may be deleted; an old copy is found out.

use std::path::Path;

use crate::support::{Letter, World, until};

const NODES: [(&str, &[&str]); 2] = [("N-G22", &["G22"]), ("N-H26", &["H26"])];

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_a_store_does_not_start_and_says_why() {
    let world = World::start(&NODES).await;
    for said in [world.relay_refuses_to_start().await, world.node_refuses_to_start("N-H26").await] {
        assert!(said.contains("in use") || said.contains("another process") || said.contains("lock"), "{said}");
    }
    // The first ones go on.
    let envelope = world.api("N-G22").accepted(&Letter::new("on", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&envelope, "H26").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_index_and_snapshots_everything_is_answered_as_before() {
    let mut world = World::start(&NODES).await;
    let mut envelopes = Vec::new();
    for number in 0..4 {
        let envelope = world.api("N-G22").accepted(&Letter::new(&format!("n{number}"), "G22", &["H26"])).await;
        world.api("N-H26").until_consigned(&envelope, "H26").await;
        envelopes.push(envelope);
    }
    world.api("N-H26").confirm(&envelopes[0], "H26").await;
    let status = world.api("N-H26").set_status(&envelopes[0], "H26", "03", "s3").await.unwrap().envelope;
    // What is still on its way would come between the answers before and those after.
    for id in ["N-G22", "N-H26"] {
        for (place, envelope) in envelopes.iter().enumerate() {
            let events = if place == 0 { 5 } else { 4 };
            world.all_receipts_valid(id, envelope, events).await;
        }
        world.all_receipts_valid(id, &status, 4).await;
    }
    until("the status is there", || async {
        world.api("N-G22").recipient(&envelopes[0], "H26").await.filter(|state| state.business_status == "03")
    })
    .await;
    let before = answers(&world, &envelopes).await;
    for node in ["N-G22", "N-H26"] {
        world.stop_node(node).await;
    }
    world.stop_relay().await;
    let mut removed = 0;
    for folder in [world.relay_folder(), world.node_folder("N-G22"), world.node_folder("N-H26")] {
        removed += remove(&folder, &["index", "snapshots"]);
    }
    assert!(removed >= 6, "only {removed} folders of index and snapshots were there");
    world.serve_relay().await;
    for node in ["N-G22", "N-H26"] {
        world.serve_node(node).await;
        world.api(node).until_connected().await;
    }
    let after = answers(&world, &envelopes).await;
    assert_eq!(before, after);
    // And work goes on where it was.
    assert!(!world.api("N-H26").confirm(&envelopes[0], "H26").await.first);
    assert_eq!(world.api("N-G22").accepted(&Letter::new("n0", "G22", &["H26"])).await, envelopes[0]);
    let next = world.api("N-G22").accepted(&Letter::new("next", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&next, "H26").await;
}

async fn answers(world: &World, envelopes: &[String]) -> String {
    let mut text = String::new();
    for node in ["N-G22", "N-H26"] {
        let api = world.api(node);
        let mut outbox = api.outbox().await;
        let mut inbox = api.inbox("", true).await;
        outbox.sort_by(|a, b| a.envelope.cmp(&b.envelope));
        inbox.sort_by(|a, b| a.envelope.cmp(&b.envelope));
        for item in &mut outbox {
            item.bytes_sent = 0; // progress, for people
        }
        text.push_str(&format!("{outbox:#?}\n{inbox:#?}\n"));
        for envelope in envelopes {
            let mut receipts = api.receipts(envelope).await;
            receipts.sort_by(|a, b| a.leaf_hash.cmp(&b.leaf_hash));
            for receipt in &mut receipts {
                // The recipient's copy of the relay's word may become final at any time.
                receipt.r#final |= receipt.role == "relay";
            }
            text.push_str(&format!("{receipts:#?}\n"));
        }
    }
    text
}

/// Removes folders of these names, wherever they stand.
fn remove(folder: &Path, names: &[&str]) -> usize {
    let mut removed = 0;
    for entry in std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        if names.contains(&entry.file_name().to_str().unwrap()) {
            std::fs::remove_dir_all(entry.path()).unwrap();
            removed += 1;
        } else {
            removed += remove(&entry.path(), names);
        }
    }
    removed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_put_back_from_an_old_copy_is_found_out_before_it_signs_anything() {
    let mut world = World::start(&NODES).await;
    let first = world.api("N-G22").accepted(&Letter::new("first", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&first, "H26").await;
    world.stop_relay().await;
    let old = world.folder.path().join("old-copy");
    copy(&world.relay_folder(), &old);
    world.serve_relay().await;
    world.api("N-H26").until_connected().await;
    let second = world.api("N-G22").accepted(&Letter::new("second", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&second, "H26").await;
    // The nodes have seen the longer ledger: it stands in what they hold after their next Hello.
    for node in ["N-G22", "N-H26"] {
        world.stop_node(node).await;
        world.serve_node(node).await;
        world.api(node).until_connected().await;
    }
    world.stop_relay().await;
    std::fs::remove_dir_all(world.relay_folder()).unwrap();
    std::fs::rename(&old, world.relay_folder()).unwrap();
    world.serve_relay().await;
    let api = world.api("N-G22");
    until("the relay says that it is behind", || async {
        api.status().await.filter(|s| !s.connected && s.relay_state.contains("older copy"))
    })
    .await;
    // What is sent meanwhile is accepted here and waits; nothing is lost.
    world.api("N-G22").accepted(&Letter::new("third", "G22", &["H26"])).await;
    assert!(!api.status().await.unwrap().connected);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}
