//! What a node shows of its own events: each under the first checkpoint behind it that was signed and witnessed, whatever was signed since.

use std::{collections::BTreeMap, time::Duration};

use truc_evidence::{Confirmation, ReceiptSummary, ReceiptTrust, ReceiptVerdict, verify_bundle};
use truc_proto::{
    Receipt, SignedNote,
    limits::FUTURE_SKEW_MAX_MS,
    node_v1::{ReceiptItem, key_state::State},
};

use crate::{
    rotation::{keys, of_slot},
    stolen::successor,
    support::{Letter, World, until, world::now},
};

const NODES: [(&str, &[&str]); 2] = [("N-G22", &["G22"]), ("N-H26", &["H26"])];
const BOTH: [(&str, &str); 2] = [("N-G22", "G22"), ("N-H26", "H26")];

/// A document from one code to another, all its receipts final at both.
async fn delivered(world: &World, name: &str, from: usize) -> String {
    let ((sender, of), (recipient, code)) = (BOTH[from], BOTH[1 - from]);
    let envelope = world.api(sender).accepted(&Letter::new(name, of, &[code])).await;
    world.api(recipient).until_consigned(&envelope, code).await;
    for (id, _) in BOTH {
        world.all_receipts_valid(id, &envelope, 4).await;
    }
    envelope
}

/// What a node shows of its own events about a document, once the relay has cosigned all of it.
async fn own(world: &World, (id, code): (&str, &str), envelope: &str) -> BTreeMap<Vec<u8>, ReceiptSummary> {
    until("receipts that the relay cosigned", || async {
        let items = world.api(id).receipts(envelope).await;
        let of_own = items.into_iter().filter(|item: &ReceiptItem| item.actor == code);
        let mut shown = BTreeMap::new();
        for item in of_own {
            let receipt = world.api(id).receipt(&item.leaf_hash, false).await;
            if !is_cosigned(&receipt) {
                return Err(item.event);
            }
            shown.insert(item.leaf_hash.to_vec(), world.assert_valid(&receipt).summary.unwrap());
        }
        assert!(!shown.is_empty(), "{id} wrote nothing about {envelope}");
        Ok(shown)
    })
    .await
}

fn is_cosigned(receipt: &[u8]) -> bool {
    let receipt = Receipt::parse(receipt).unwrap();
    let note: SignedNote = receipt.checkpoint.parse().unwrap();
    let origin = note.text().lines().next().unwrap().to_owned();
    note.signatures().iter().any(|line| line.name != origin)
}

fn size(summary: &ReceiptSummary) -> u64 {
    summary.checkpoint.as_ref().unwrap().size
}

fn largest(shown: &BTreeMap<Vec<u8>, ReceiptSummary>) -> u64 {
    shown.values().map(size).max().unwrap()
}

/// Both sides' bundles about a document are valid, and nothing is remarked.
async fn bundles_are_without_remark(world: &World, envelope: &str) {
    let trust = ReceiptTrust::new(world.trust(), world.pinned());
    for (id, _) in BOTH {
        let bundle = world.api(id).bundle(envelope).await.unwrap();
        let report = verify_bundle(bundle.as_slice(), &trust, None, now());
        assert_eq!(report.verdict, ReceiptVerdict::Valid, "{id}: {:?} {:?}", report.steps, report.receipts);
        for concluded in &report.conclusions {
            assert!(concluded.remarks.is_empty(), "{id}: {:?}", concluded.remarks);
            assert!(concluded.events.iter().all(|event| event.remarks.is_empty()), "{id}: {:?}", concluded.events);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_events_stay_under_the_checkpoint_that_was_signed_right_behind_them() {
    let world = World::start(&NODES).await;
    let first = delivered(&world, "first", 0).await;
    let mut before = Vec::new();
    for node in BOTH {
        before.push(own(&world, node, &first).await);
    }
    let mut last = String::new();
    for n in 0..3 {
        last = delivered(&world, &format!("later-{n}"), n % 2).await;
    }
    for (node, before) in BOTH.into_iter().zip(before) {
        let newest = own(&world, node, &last).await;
        assert!(largest(&newest) > largest(&before), "{node:?} has signed since");
        let again = own(&world, node, &first).await;
        assert_eq!(again.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        for (leaf, summary) in &again {
            let before = &before[leaf];
            assert_eq!((size(summary), summary.signed_at), (size(before), before.signed_at), "{node:?} {summary:?}");
        }
    }
    bundles_are_without_remark(&world, &first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn own_events_from_before_and_behind_a_renewal_of_the_nodes_certificate_are_valid() {
    let mut world = World::start(&NODES).await;
    let first = delivered(&world, "first", 1).await;
    let mut admin = world.administration("N-H26").await;
    let certificate = of_slot(&keys(&mut admin).await, "node", State::InUse).certificate.clone();
    let binding = successor(&world, &mut admin, "node").await;
    world.take(&binding, Confirmation::default());
    // A version that no event from before may be shown under: it was issued just later than clocks may differ.
    let newest = own(&world, BOTH[1], &first).await.values().map(|summary| summary.time).max().unwrap();
    let issued = newest + Duration::from_millis(FUTURE_SKEW_MAX_MS.unsigned_abs() + 1);
    let signed = until("the clock to go on", || async { (newest < now()).then(|| world.sign_as_of(issued)) }).await;
    world.publish_signed_to(signed, &["N-G22", "N-H26"]).await;
    assert_ne!(of_slot(&keys(&mut admin).await, "node", State::InUse).certificate, certificate);

    let second = delivered(&world, "second", 1).await;
    for (envelope, is_old) in [(&first, true), (&second, false)] {
        world.all_receipts_valid("N-H26", envelope, 4).await;
        for summary in own(&world, BOTH[1], envelope).await.values() {
            assert_eq!(summary.certificate.unwrap().to_string() == certificate, is_old, "{summary:?}");
        }
        bundles_are_without_remark(&world, envelope).await;
    }
}
