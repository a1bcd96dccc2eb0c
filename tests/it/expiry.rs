//! What is not delivered in time fails visibly; what is delivered late is shown late, and both stay.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::support::{
    Letter, World,
    liar::{Liar, Lie},
    until,
};

const NODES: [(&str, &[&str]); 2] = [("N-G22", &["G22"]), ("N-H26", &["H26"])];
/// So long a document lives that is to expire: enough for what must happen before, on a machine that is busy with other things, too.
const LIFE_S: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_envelope_fails_with_evidence_of_the_relay_and_is_not_delivered_any_more() {
    let mut world = World::start(&NODES).await;
    world.stop_node("N-H26").await;
    let sender = world.api("N-G22");
    let letter = Letter { ttl_s: LIFE_S, ..Letter::new("short-lived", "G22", &["H26"]) };
    let envelope = sender.accepted(&letter).await;
    let state = sender.until_state(&envelope, "H26", "failed").await;
    assert_eq!((state.reason.as_str(), state.late), ("expired", false));
    assert!(!state.text.is_empty());
    let receipts = world.all_receipts_valid("N-G22", &envelope, 3).await;
    assert!(receipts.iter().any(|(event, role, recipient)| (event.as_str(), role.as_str(), recipient.as_str())
        == ("RelayFailure", "relay", "H26")));
    // The recipient comes too late; the next document shows that it is there.
    world.serve_node("N-H26").await;
    let next = sender.accepted(&Letter::new("next", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&next, "H26").await;
    assert!(world.api("N-H26").item(&envelope, "H26").await.is_none());
}

/// Evidence does not get through while it is set.
struct Cut(AtomicBool);

impl Lie for Cut {
    fn blocks_evidence(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consignment_that_comes_after_the_failure_is_shown_late_and_both_stay() {
    let world = World::start_with(truc_proto::Lane::Ordinary, &NODES, |settings| {
        settings.replace("lease_s = 600", "lease_s = 10")
    })
    .await;
    let cut = Arc::new(Cut(AtomicBool::new(true)));
    let _liar = Liar::between(&world, &["N-G22", "N-H26"], Arc::clone(&cut)).await;
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    sender.until_connected().await;
    recipient.until_connected().await;
    let envelope = sender.accepted(&Letter { ttl_s: LIFE_S, ..Letter::new("late", "G22", &["H26"]) }).await;
    // Opened in time, but its evidence does not reach the relay before lease and life of the envelope are over.
    recipient.until_consigned(&envelope, "H26").await;
    let failed = sender.until_state(&envelope, "H26", "failed").await;
    assert_eq!(failed.reason, "expired");
    cut.0.store(false, Ordering::SeqCst);
    let late = until("the consignment is shown late", || async {
        sender.recipient(&envelope, "H26").await.filter(|state| state.state == "consigned" && state.late)
    })
    .await;
    let events: Vec<_> = late.ladder.iter().map(|step| step.event.as_str()).collect();
    assert!(events.contains(&"RelayFailure") && events.contains(&"ContentConsignment"), "{events:?}");
}

/// Keys are not to be had while it is set.
struct NoKeys(AtomicBool);

impl Lie for NoKeys {
    fn blocks_keys(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_between_a_nodes_acceptance_and_its_keys_fails_on_both_sides_and_is_not_asked_for_again() {
    let world = World::start_with(truc_proto::Lane::Ordinary, &NODES, |settings| {
        settings.replace("lease_s = 600", "lease_s = 10")
    })
    .await;
    let lie = Arc::new(NoKeys(AtomicBool::new(true)));
    let _liar = Liar::between(&world, &["N-G22", "N-H26"], Arc::clone(&lie)).await;
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    sender.until_connected().await;
    recipient.until_connected().await;
    let envelope = sender.accepted(&Letter { ttl_s: LIFE_S, ..Letter::new("no-keys", "G22", &["H26"]) }).await;
    // The node has answered for the sealed envelope, and cannot open it until lease and life are over.
    sender.until_state(&envelope, "H26", "taken").await;
    recipient.until_alarm(&["cannot be taken"]).await;
    let failed = sender.until_state(&envelope, "H26", "failed").await;
    assert_eq!(failed.reason, "expired");
    lie.0.store(false, Ordering::SeqCst);
    let ladder = until("the recipient says that it failed", || async {
        let state = sender.recipient(&envelope, "H26").await?;
        let said = |event: &str| state.ladder.iter().any(|step| step.event == event && step.role == "recipient");
        said("ContentConsignmentFailure").then_some(state.ladder)
    })
    .await;
    let failures: Vec<_> = ladder.iter().filter(|step| !step.reason.is_empty()).map(|step| &step.reason).collect();
    assert_eq!(failures, ["expired", "expired"], "by the relay and by the recipient: {ladder:?}");
    assert!(recipient.item(&envelope, "H26").await.is_none());
    // Nothing is left to be tried.
    recipient.until_well().await;
    // Submission, acceptances of relay and recipient, failures of relay and recipient.
    let receipts = world.all_receipts_valid("N-G22", &envelope, 5).await;
    assert_eq!(receipts.iter().filter(|(_, role, _)| role == "recipient").count(), 2, "{receipts:?}");
}
