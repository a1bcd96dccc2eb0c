use std::collections::BTreeMap;

use tokio_stream::StreamExt as _;
use truc_certs_dev::wait::in_time;
use truc_evidence::{ReceiptTrust, ReceiptVerdict, verify_receipt};
use truc_proto::node_v1::{self, fetch_request::What, send_reply::State};

use crate::world::{Client, World, code, document, until};

pub(crate) async fn send(world: &World, client: &mut Client, parts: Vec<node_v1::SendRequest>) -> node_v1::SendReply {
    client.send(world.ask("N-A", tokio_stream::iter(parts))).await.unwrap().into_inner()
}

pub(crate) async fn accepted(world: &World, client: &mut Client, parts: Vec<node_v1::SendRequest>) -> String {
    let reply = send(world, client, parts).await;
    assert_eq!(reply.state, i32::from(State::Accepted), "{reply:#?}");
    reply.envelope
}

async fn outbox(world: &World, client: &Client, envelope: &str) -> node_v1::OutboxItem {
    let request = node_v1::ListOutboxRequest { envelope: envelope.into(), ..Default::default() };
    let reply = client.clone().list_outbox(world.ask("N-A", request)).await.unwrap().into_inner();
    reply.items.into_iter().next().expect("the node knows what it accepted")
}

pub(crate) async fn inbox(world: &World, client: &Client, with_confirmed: bool) -> Vec<node_v1::InboxItem> {
    let request = node_v1::ListInboxRequest { with_confirmed, ..Default::default() };
    client.clone().list_inbox(world.ask("N-B", request)).await.unwrap().into_inner().items
}

fn states(item: &node_v1::OutboxItem) -> BTreeMap<String, String> {
    item.recipients.iter().map(|r| (r.recipient.clone(), r.state.clone())).collect()
}

pub(crate) async fn reached(world: &World, client: &Client, envelope: &str, state: &str) -> node_v1::OutboxItem {
    let all = |item: &node_v1::OutboxItem| item.recipients.iter().all(|r| r.state == state);
    until(&format!("{envelope} reaches {state}"), || outbox(world, client, envelope), all).await
}

pub(crate) async fn confirm(world: &World, client: &Client, envelope: &str, recipient: &str) -> node_v1::ConfirmReply {
    let request =
        node_v1::ConfirmRequest { envelope: envelope.into(), recipient: recipient.into(), ..Default::default() };
    client.clone().confirm(world.ask("N-B", request)).await.unwrap().into_inner()
}

pub(crate) async fn attachment(world: &World, client: &Client, envelope: &str, recipient: &str, name: &str) -> Vec<u8> {
    let request = node_v1::FetchRequest {
        envelope: envelope.into(),
        recipient: recipient.into(),
        what: Some(What::Attachment(name.into())),
        ..Default::default()
    };
    let mut stream = client.clone().fetch(world.ask("N-B", request)).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap().data);
    }
    bytes
}

/// All receipts of an envelope at a node, once they are final.
async fn final_receipts(
    world: &World,
    id: &str,
    client: &Client,
    envelope: &str,
    count: usize,
) -> Vec<(String, Vec<u8>)> {
    let list = || async {
        let request = node_v1::ListReceiptsRequest { envelope: envelope.into(), ..Default::default() };
        client.clone().list_receipts(world.ask(id, request)).await.unwrap().into_inner().items
    };
    let all = |items: &Vec<node_v1::ReceiptItem>| items.len() >= count && items.iter().all(|item| item.r#final);
    let mut receipts = Vec::new();
    for item in until(&format!("{count} final receipts at {id}"), list, all).await {
        let request = node_v1::GetReceiptRequest { leaf_hash: item.leaf_hash, with_opening: true };
        let reply = client.clone().get_receipt(world.ask(id, request)).await.unwrap().into_inner();
        receipts.push((reply.file_name, reply.receipt.to_vec()));
    }
    receipts
}

pub(crate) fn check_receipts(world: &World, receipts: &[(String, Vec<u8>)]) {
    let trust = ReceiptTrust::new(world.trust(), world.pinned());
    for (name, bytes) in receipts {
        let report = verify_receipt(bytes, &trust, None, truc_node::shell::clock::now());
        assert_eq!(report.verdict, ReceiptVerdict::Valid, "{name}: {report:#?}");
    }
}

pub(crate) fn big(seed: u32) -> Vec<u8> {
    (0..800_000_u32).flat_map(|n| n.wrapping_mul(seed).to_le_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_goes_to_many_codes_is_fetched_confirmed_and_its_receipts_verify_offline() {
    let world = World::start().await;
    let (mut a, b) = (world.client("N-A").await, world.client("N-B").await);
    let file = big(2_654_435_761);
    let parts = || document("one", "G22", &["H26", "H37"], "Kế hoạch chuyển đổi số", &[("ke-hoach.pdf", &file)]);
    let envelope = accepted(&world, &mut a, parts()).await;
    assert_eq!(accepted(&world, &mut a, parts()).await, envelope, "the same request, the same envelope");
    reached(&world, &a, &envelope, "consigned").await;
    let items = inbox(&world, &b, false).await;
    assert_eq!(items.iter().map(|item| item.recipient.as_str()).collect::<Vec<_>>(), ["H26", "H37"]);
    for item in &items {
        assert_eq!(
            (item.subject.as_str(), item.sender.as_str(), item.verdict.as_str()),
            ("Kế hoạch chuyển đổi số", "G22", "good")
        );
        assert_eq!(item.attachments.len(), 1);
        assert_eq!(attachment(&world, &b, &envelope, &item.recipient, "ke-hoach.pdf").await, file);
        assert!(confirm(&world, &b, &envelope, &item.recipient).await.first);
        assert!(!confirm(&world, &b, &envelope, &item.recipient).await.first, "handed over once");
    }
    assert!(inbox(&world, &b, false).await.is_empty());
    reached(&world, &a, &envelope, "handed-over").await;
    // Sender: submission, relay's acceptance, and of each recipient acceptance, consignment and hand-over.
    let receipts = final_receipts(&world, "N-A", &a, &envelope, 8).await;
    assert_eq!(receipts.len(), 8);
    check_receipts(&world, &receipts);
    let own = final_receipts_of_own(&world, &b, &envelope).await;
    check_receipts(&world, &own);
}

/// At the recipient the relay's acceptance stays provisional: its finalisation goes to the sender.
pub(crate) async fn final_receipts_of_own(world: &World, client: &Client, envelope: &str) -> Vec<(String, Vec<u8>)> {
    let list = || async {
        let request = node_v1::ListReceiptsRequest { envelope: envelope.into(), ..Default::default() };
        let items = client.clone().list_receipts(world.ask("N-B", request)).await.unwrap().into_inner().items;
        items.into_iter().filter(|item| item.role != "relay").collect::<Vec<_>>()
    };
    let all = |items: &Vec<node_v1::ReceiptItem>| items.len() == 7 && items.iter().all(|item| item.r#final);
    let mut receipts = Vec::new();
    for item in until("seven final receipts at N-B", list, all).await {
        let request = node_v1::GetReceiptRequest { leaf_hash: item.leaf_hash, with_opening: true };
        let reply = client.clone().get_receipt(world.ask("N-B", request)).await.unwrap().into_inner();
        receipts.push((reply.file_name, reply.receipt.to_vec()));
    }
    receipts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_and_closed_codes_and_foreign_senders_are_refused_before_anything_is_stored() {
    let world = World::start().await;
    let mut a = world.client("N-A").await;
    let closed = send(&world, &mut a, document("c", "G22", &["H02"], "S", &[])).await.refused.unwrap();
    assert_eq!((closed.reason.as_str(), closed.successor.as_str()), ("closed-code", "H05"));
    let unknown = send(&world, &mut a, document("u", "G22", &["H27"], "S", &[])).await.refused.unwrap();
    assert_eq!(unknown.reason, "unknown-code");
    assert!(unknown.nearest.contains(&"H26".to_owned()), "{unknown:?}");
    let foreign = send(&world, &mut a, document("f", "H26", &["H37"], "S", &[])).await.refused.unwrap();
    assert_eq!(foreign.reason, "not-entitled");
    let request = node_v1::ListOutboxRequest { with_final: true, ..Default::default() };
    assert!(a.list_outbox(world.ask("N-A", request)).await.unwrap().into_inner().items.is_empty());
    let no_token = a.status(node_v1::StatusRequest {}).await.unwrap_err();
    assert_eq!(no_token.code(), tonic::Code::Unauthenticated);
}

pub(crate) async fn status(world: &World, id: &str) -> node_v1::StatusReply {
    let mut client = world.client(id).await;
    client.status(world.ask(id, node_v1::StatusRequest {})).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_for_another_request_is_refused() {
    let world = World::start().await;
    let mut a = world.client("N-A").await;
    accepted(&world, &mut a, document("k", "G22", &["H26"], "Một", &[])).await;
    let other = send(&world, &mut a, document("k", "G22", &["H26"], "Hai", &[])).await.refused.unwrap();
    assert_eq!(other.reason, "id-reused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_of_relay_and_nodes_lose_and_double_nothing() {
    let mut world = World::start().await;
    let mut a = world.client("N-A").await;
    world.stop_relay().await;
    let file = big(97);
    let mut envelopes = Vec::new();
    for n in 0..6 {
        let parts = document(&format!("r{n}"), "G22", &["H26", "H26.18"], &format!("Văn bản {n}"), &[("a.pdf", &file)]);
        envelopes.push(accepted(&world, &mut a, parts).await);
    }
    for envelope in &envelopes {
        assert!(outbox(&world, &a, envelope).await.recipients.iter().all(|r| r.state == "sealed"));
    }
    world.stop_node("N-A").await;
    world.start_node("N-A").await;
    world.start_relay().await;
    let a = world.client("N-A").await;
    reached(&world, &a, &envelopes[0], "consigned").await;
    world.stop_node("N-B").await;
    // Index and snapshots may go at any time (I12).
    for folder in ["store/index", "store/snapshots"] {
        std::fs::remove_dir_all(world.node_folder("N-B").join(folder)).unwrap();
    }
    world.start_node("N-B").await;
    for envelope in &envelopes {
        reached(&world, &a, envelope, "consigned").await;
    }
    let b = world.client("N-B").await;
    let mut seen = inbox(&world, &b, false).await;
    seen.sort_by(|x, y| (&x.subject, &x.recipient).cmp(&(&y.subject, &y.recipient)));
    let shown: Vec<(&str, &str)> = seen.iter().map(|i| (i.envelope.as_str(), i.recipient.as_str())).collect();
    let wanted: Vec<(&str, &str)> =
        envelopes.iter().flat_map(|e| [(e.as_str(), "H26"), (e.as_str(), "H26.18")]).collect();
    assert_eq!(shown, wanted, "each once");
    assert_eq!(attachment(&world, &b, &envelopes[5], "H26", "a.pdf").await, file);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_go_both_ways_and_a_withdrawal_is_agreed() {
    let world = World::start().await;
    let (mut a, mut b) = (world.client("N-A").await, world.client("N-B").await);
    let envelope = accepted(&world, &mut a, document("s", "G22", &["H26", "H37"], "Công văn", &[])).await;
    reached(&world, &a, &envelope, "consigned").await;
    let set = |from: &str, to: &str, status: &str, reason: &str| node_v1::SetStatusRequest {
        envelope: envelope.clone(),
        from: from.into(),
        to: to.into(),
        code: status.into(),
        reason: reason.into(),
        staff: "Văn thư".into(),
        idempotency_key: format!("{from}-{status}"),
        ..Default::default()
    };
    for (number, status) in [(1, "01"), (2, "03")] {
        let first = b.set_status(world.ask("N-B", set("H26", "", status, ""))).await.unwrap().into_inner();
        let again = b.set_status(world.ask("N-B", set("H26", "", status, ""))).await.unwrap().into_inner();
        assert_eq!((first.sequence, &first.envelope), (number, &again.envelope));
    }
    let back = b.set_status(world.ask("N-B", set("H26", "", "02", "muộn"))).await.unwrap_err();
    assert_eq!(back.code(), tonic::Code::FailedPrecondition, "{back}");
    let business = |item: &node_v1::OutboxItem, code: &str| {
        item.recipients.iter().find(|r| r.recipient == code).unwrap().business_status.clone()
    };
    until("status 03 at the sender", || outbox(&world, &a, &envelope), |item| business(item, "H26") == "03").await;
    assert_eq!(business(&outbox(&world, &a, &envelope).await, "H37"), "");
    a.set_status(world.ask("N-A", set("G22", "H26", "13", "Gửi nhầm"))).await.unwrap();
    let last = |items: &Vec<node_v1::InboxItem>| {
        let document = items.iter().find(|item| item.envelope == envelope && item.recipient == "H26");
        document.and_then(|item| item.statuses.last().map(|status| status.code.clone())).unwrap_or_default()
    };
    until("13 at the receiver", || inbox(&world, &b, true), |items| last(items) == "13").await;
    b.set_status(world.ask("N-B", set("H26", "", "15", ""))).await.unwrap();
    until("15 at the sender", || outbox(&world, &a, &envelope), |item| business(item, "H26") == "15").await;
    let closed = a.set_status(world.ask("N-A", set("G22", "H26", "13", "Lần nữa"))).await;
    // The first 13 is known by its key; another one is refused.
    assert!(closed.is_err() || closed.is_ok_and(|reply| reply.into_inner().sequence == 1));
    let mut another = set("G22", "H26", "13", "Lần nữa");
    another.idempotency_key = "another".into();
    let refused = a.set_status(world.ask("N-A", another)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_what_waits_and_what_comes_each_once() {
    let world = World::start().await;
    let (mut a, mut b) = (world.client("N-A").await, world.client("N-B").await);
    let first = accepted(&world, &mut a, document("w1", "G22", &["H26"], "Trước", &[])).await;
    reached(&world, &a, &first, "consigned").await;
    let mut watch = b.watch_inbox(world.ask("N-B", node_v1::WatchInboxRequest::default())).await.unwrap().into_inner();
    let second = accepted(&world, &mut a, document("w2", "G22", &["H26"], "Sau", &[])).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let item = in_time("an item", watch.next()).await.unwrap().unwrap();
        seen.push(item.envelope);
    }
    assert_eq!(seen, [first, second]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_closes_in_flight_leads_to_a_new_envelope_for_its_successor() {
    let mut world = World::start().await;
    let mut a = world.client("N-A").await;
    // Accepted while the relay is away; when the node is back, the code is closed there.
    world.stop_relay().await;
    let old = accepted(&world, &mut a, document("z", "G22", &["H37"], "Đổi mã", &[])).await;
    world.stop_node("N-A").await;
    world.start_relay().await;
    let now = truc_node::shell::clock::now();
    world.publish_next(|draft| draft.close(&code("H37"), now, None, Some(code("H26"))).unwrap()).await;
    world.start_node("N-A").await;
    let mut a = world.client("N-A").await;
    let item = reached(&world, &a, &old, "failed").await;
    assert_eq!(item.recipients[0].reason, "closed-code");
    let b = world.client("N-B").await;
    let arrived = |items: &Vec<node_v1::InboxItem>| !items.is_empty();
    let items = until("the new envelope", || inbox(&world, &b, false), arrived).await;
    assert_eq!((items.len(), items[0].recipient.as_str(), items[0].subject.as_str()), (1, "H26", "Đổi mã"));
    assert_ne!(items[0].envelope, old);
    reached(&world, &a, &items[0].envelope, "consigned").await;
    assert!(
        outbox(&world, &a, &old).await.recipients[0].text.contains(&items[0].envelope),
        "it names what replaced it"
    );
    let closed = send(&world, &mut a, document("z2", "G22", &["H37"], "Đổi mã", &[])).await.refused.unwrap();
    assert_eq!((closed.reason.as_str(), closed.successor.as_str()), ("closed-code", "H26"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_are_those_of_the_ladder() {
    let world = World::start().await;
    let mut a = world.client("N-A").await;
    let envelope = accepted(&world, &mut a, document("l", "G22", &["H26"], "Bậc thang", &[])).await;
    let item = reached(&world, &a, &envelope, "consigned").await;
    assert_eq!(states(&item), BTreeMap::from([("H26".to_owned(), "consigned".to_owned())]));
    let steps: Vec<(&str, &str)> =
        item.recipients[0].ladder.iter().map(|step| (step.event.as_str(), step.role.as_str())).collect();
    for wanted in [
        ("SubmissionAcceptance", "sender"),
        ("RelayAcceptance", "relay"),
        ("RelayAcceptance", "recipient"),
        ("ContentConsignment", "recipient"),
    ] {
        assert!(steps.contains(&wanted), "{wanted:?} in {steps:?}");
    }
}

/// Copies a store as a careless backup would.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn restore(backup: &std::path::Path, store: &std::path::Path) {
    std::fs::remove_dir_all(store).unwrap();
    copy(backup, store);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_restored_from_an_old_copy_signs_nothing_and_says_so() {
    let mut world = World::start().await;
    let mut a = world.client("N-A").await;
    let first = accepted(&world, &mut a, document("b1", "G22", &["H26"], "Trước", &[])).await;
    reached(&world, &a, &first, "consigned").await;
    world.stop_node("N-A").await;
    let (store, backup) = (world.node_folder("N-A").join("store"), world.node_folder("backup"));
    copy(&store, &backup);
    world.start_node("N-A").await;
    let mut a = world.client("N-A").await;
    let second = accepted(&world, &mut a, document("b2", "G22", &["H26"], "Sau", &[])).await;
    reached(&world, &a, &second, "consigned").await;
    world.stop_node("N-A").await;
    restore(&backup, &store);
    world.start_node("N-A").await;
    let told = |s: &node_v1::StatusReply| s.alarms.iter().any(|alarm| alarm.contains("restored copy"));
    let seen = until("the alarm", || status(&world, "N-A"), told).await;
    assert!(!seen.connected);
    // Work is still taken on, but no signature leaves: no receipt, no upload.
    let mut a = world.client("N-A").await;
    let third = accepted(&world, &mut a, document("b3", "G22", &["H26"], "Nữa", &[])).await;
    let item = outbox(&world, &a, &third).await;
    assert_eq!(item.state, "sending");
    let leaf_hash = item.recipients[0].ladder[0].leaf_hash.clone();
    let request = node_v1::GetReceiptRequest { leaf_hash, with_opening: false };
    let refused = a.get_receipt(world.ask("N-A", request)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_shows_an_older_history_is_accepted_no_more() {
    let mut world = World::start().await;
    let mut a = world.client("N-A").await;
    let first = accepted(&world, &mut a, document("f1", "G22", &["H26"], "Trước", &[])).await;
    reached(&world, &a, &first, "consigned").await;
    world.stop_relay().await;
    let (store, backup) = (world.node_folder("relay").join("store"), world.node_folder("backup"));
    copy(&store, &backup);
    world.start_relay().await;
    let second = accepted(&world, &mut a, document("f2", "G22", &["H26"], "Sau", &[])).await;
    reached(&world, &a, &second, "consigned").await;
    // A reconnect makes the node hold the relay's newest checkpoint.
    world.stop_node("N-A").await;
    world.start_node("N-A").await;
    until("connected", || status(&world, "N-A"), |s| s.connected).await;
    world.stop_relay().await;
    restore(&backup, &store);
    world.start_relay().await;
    let mut a = world.client("N-A").await;
    let third = accepted(&world, &mut a, document("f3", "G22", &["H26"], "Nữa", &[])).await;
    // An honest relay notices first and falls silent; the node says why it is not connected.
    let told = |s: &node_v1::StatusReply| !s.connected && s.relay_state.contains("older copy");
    let seen = until("the reason", || status(&world, "N-A"), told).await;
    assert_eq!(outbox(&world, &a, &third).await.state, "sending", "{seen:#?}");
}
