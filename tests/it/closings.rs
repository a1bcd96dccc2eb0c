//! Codes that close at their second, by the clock alone: relay and nodes run on, nobody restarts, no version comes then.

use std::time::Duration;

use truc_proto::{Entry, Route, Timestamp, node_v1::send_reply::State};
use truc_tests::old_axis::OldAxis;

use crate::support::{Api, Letter, World, until, world::now};

const NODES: [(&str, &[&str]); 3] = [("N-G22", &["G22"]), ("N-H02", &["H02"]), ("N-H05", &["H05"])];
/// So soon after it was published a code closes here.
const SOON: Duration = Duration::from_secs(3);

/// H02 closes soon in favour of H05.
async fn close_soon(world: &mut World, serves: Option<Duration>, nodes: &[&str]) -> Timestamp {
    let closes = now() + SOON;
    let h02 = world.draft.entries().filter_map(Entry::as_agency).find(|agency| agency.code.as_str() == "H02");
    let mut h02 = h02.unwrap().clone();
    h02.valid_to = Some(closes);
    h02.serves_until = serves.map(|serves| closes + serves);
    h02.successor = Some("H05".parse().unwrap());
    world.draft.put(Entry::Agency(h02)).unwrap();
    world.publish_to(nodes).await;
    closes
}

/// Sends until that is refused because the code has closed; gives the refusal.
async fn until_closed(world: &World, sender: &str, to: &str) -> truc_proto::wire_v1::Refusal {
    let (api, tries) = (world.api(sender), std::sync::atomic::AtomicU32::new(0));
    let from = &sender[2..];
    until("the code has closed", || async {
        let n = tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let reply = api.send(&Letter::new(&format!("try-{n}"), from, &[to])).await.unwrap();
        (reply.state() == State::Refused).then(|| reply.refused.unwrap())
    })
    .await
}

/// How often H05 has a document.
async fn copies(api: &Api, subject: &str) -> usize {
    api.inbox("H05", true).await.into_iter().filter(|item| item.subject == subject).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_code_that_ends_goes_to_its_successor_at_that_second() {
    let mut world = World::start(&NODES).await;
    world.stop_node("N-H02").await;
    let (sender, successor) = (world.api("N-G22"), world.api("N-H05"));
    let waiting = sender.accepted(&Letter::new("waiting", "G22", &["H02"])).await;
    let both = sender.accepted(&Letter::new("both", "G22", &["H02", "H05"])).await;
    sender.until_state(&waiting, "H02", "relayed").await;
    successor.until_consigned(&both, "H05").await;
    let closes = close_soon(&mut world, None, &["N-G22", "N-H05"]).await;
    let refusal = until_closed(&world, "N-G22", "H02").await;
    assert_eq!((refusal.reason.as_str(), refusal.successor.as_str()), ("closed-code", "H05"));
    assert!(now() >= closes);
    // What waited at the relay was refused there, and went on by itself.
    let state = sender.until_state(&waiting, "H02", "failed").await;
    assert_eq!(state.reason, "closed-code");
    until("the successor has it", || async {
        (copies(&successor, "Kế hoạch kiểm thử waiting").await == 1).then_some(())
    })
    .await;
    let replaced = until("the sender shows where it went", || async {
        let state = sender.recipient(&waiting, "H02").await?;
        state.text.split_once("→ ").map(|(_, envelope)| envelope.to_owned())
    })
    .await;
    successor.until_consigned(&replaced, "H05").await;
    sender.until_state(&replaced, "H05", "consigned").await;
    // The successor had this one: it is not sent again.
    let state = sender.until_state(&both, "H02", "failed").await;
    assert!(state.text.contains(&both), "{}", state.text);
    assert_eq!(copies(&successor, "Kế hoạch kiểm thử both").await, 1);
    // The old node comes back too late: nothing is there for it.
    world.serve_node("N-H02").await;
    let old = world.api("N-H02");
    old.until_connected().await;
    assert!(old.item(&waiting, "H02").await.is_none());
    world.all_receipts_valid("N-G22", &waiting, 3).await;
    // As a sender it is refused, and told as whom it sends now.
    let refusal = old.refused(&Letter::new("new", "H02", &["G22"]), "not-entitled").await;
    assert_eq!(refusal.successor, "H05");
    assert!(refusal.english.contains("send as its successor H05") && refusal.vietnamese.contains("mã kế thừa H05"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_serves_on_opens_what_was_on_the_way_and_answers() {
    let mut world = World::start(&NODES).await;
    world.stop_node("N-H02").await;
    let sender = world.api("N-G22");
    let letter = Letter::new("on-the-way", "G22", &["H02"]);
    let waiting = sender.accepted(&letter).await;
    sender.until_state(&waiting, "H02", "relayed").await;
    close_soon(&mut world, Some(Duration::from_secs(86_400)), &["N-G22", "N-H05"]).await;
    let refusal = until_closed(&world, "N-G22", "H02").await;
    assert_eq!(refusal.successor, "H05");
    // Asked again because its answer was lost: what was accepted before stays accepted.
    assert_eq!(sender.accepted(&letter).await, waiting);
    let other = Letter { subject: "Văn bản khác".into(), ..letter };
    assert_eq!(sender.send(&other).await.unwrap().refused.unwrap().reason, "id-reused");
    world.serve_node("N-H02").await;
    let old = world.api("N-H02");
    old.until_consigned(&waiting, "H02").await;
    old.confirm(&waiting, "H02").await;
    sender.until_state(&waiting, "H02", "handed-over").await;
    old.set_status(&waiting, "H02", "03", "taken-in").await.unwrap();
    until("the status is there", || async {
        sender.recipient(&waiting, "H02").await.filter(|state| state.business_status == "03")
    })
    .await;
    world.all_receipts_valid("N-G22", &waiting, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_code_whose_successor_is_on_todays_axis_is_handed_over_there_once() {
    let (mut world, axis) = (World::start(&NODES).await, OldAxis::start());
    let route = |world: &mut World, route| {
        let h05 = world.draft.entries().filter_map(Entry::as_agency).find(|agency| agency.code.as_str() == "H05");
        let mut h05 = h05.unwrap().clone();
        h05.route = route;
        world.draft.put(Entry::Agency(h05)).unwrap();
    };
    world.stop_node("N-H05").await;
    world.stop_node("N-G22").await;
    axis.connect(&world.node_folder("N-G22"));
    world.serve_node("N-G22").await;
    world.api("N-G22").until_connected().await;
    world.stop_node("N-H02").await;
    let sender = world.api("N-G22");
    let waiting = sender.accepted(&Letter::new("waiting", "G22", &["H02"])).await;
    sender.until_state(&waiting, "H02", "relayed").await;
    route(&mut world, Route::Legacy);
    close_soon(&mut world, None, &["N-G22"]).await;
    let state = sender.until_state(&waiting, "H02", "failed").await;
    assert_eq!(state.reason, "closed-code");
    let replaced = until("the sender shows where it went", || async {
        let state = sender.recipient(&waiting, "H02").await?;
        state.text.split_once("→ ").map(|(_, envelope)| envelope.to_owned())
    })
    .await;
    let state = sender.until_state(&replaced, "H05", "passed-on").await;
    assert!(state.legacy && state.text.contains("no signed receipt beyond this point"), "{state:?}");
    let posted: Vec<_> = axis.state().posted.iter().map(|posted| (posted.from.clone(), posted.to.clone())).collect();
    assert_eq!(posted, [("G22".to_owned(), "H05".to_owned())]);
}
