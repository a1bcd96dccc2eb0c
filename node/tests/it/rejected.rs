//! Requests that the node refuses with evidence: the refusal is a receipt like any other.

use truc_evidence::{ReceiptTrust, ReceiptVerdict, verify_receipt};
use truc_proto::node_v1::{GetReceiptRequest, ListReceiptsRequest, ReceiptItem, SendReply, SendRequest, send_request};

use crate::{
    flows::{accepted, send, status},
    world::{Client, World, document, until},
};

fn at_level(mut parts: Vec<SendRequest>, level: &str) -> Vec<SendRequest> {
    if let Some(send_request::Part::Header(header)) = &mut parts[0].part {
        header.level = level.into();
    }
    parts
}

async fn of_request(world: &World, client: &Client, key: &str) -> Vec<ReceiptItem> {
    let request =
        ListReceiptsRequest { sender: "G22".into(), idempotency_key: key.into(), ..ListReceiptsRequest::default() };
    let reply = client.clone().list_receipts(world.ask("N-A", request)).await;
    reply.map(|reply| reply.into_inner().items).unwrap_or_default()
}

/// The rejection that the reply names, once it is final: found again by its request's key, and valid off line.
async fn check_rejection(world: &World, client: &Client, reply: SendReply, key: &str, reason: &str) {
    assert_eq!(reply.refused.as_ref().unwrap().reason, reason);
    let is_it = |item: &ReceiptItem| item.leaf_hash == reply.rejection;
    let list = || of_request(world, client, key);
    let items = until("its receipt is final", list, |items| items.iter().any(|i| is_it(i) && i.r#final)).await;
    let item = items.iter().find(|item| is_it(item)).unwrap();
    assert_eq!(
        (item.event.as_str(), item.role.as_str(), item.actor.as_str()),
        ("SubmissionRejection", "sender", "G22")
    );
    let request = GetReceiptRequest { leaf_hash: reply.rejection.clone(), with_opening: true };
    let receipt = client.clone().get_receipt(world.ask("N-A", request)).await.unwrap().into_inner();
    assert!(
        receipt.file_name.starts_with("request-")
            && receipt.file_name.ends_with("-SubmissionRejection-sender-G22.receipt")
    );
    let trust = ReceiptTrust::new(world.trust(), world.pinned());
    let report = verify_receipt(&receipt.receipt, &trust, None, truc_node::shell::clock::now());
    assert_eq!(report.verdict, ReceiptVerdict::Valid, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_with_evidence_is_a_receipt_reached_by_its_leaf_and_by_its_request() {
    let mut world = World::start().await;
    let mut a = world.client("N-A").await;
    let secret = || at_level(document("secret", "G22", &["H26"], "Mật", &[]), "tuyet-mat");
    let refused = send(&world, &mut a, secret()).await;
    check_rejection(&world, &a, refused.clone(), "secret", "level-refused").await;
    let again = send(&world, &mut a, secret()).await;
    assert_eq!(again.rejection, refused.rejection, "the same request, the same refusal");
    // A key that led to an envelope keeps it; what was refused under it stands beside.
    accepted(&world, &mut a, document("k", "G22", &["H26"], "Một", &[])).await;
    let reused = send(&world, &mut a, document("k", "G22", &["H26"], "Hai", &[])).await;
    check_rejection(&world, &a, reused, "k", "id-reused").await;
    let events: Vec<String> = of_request(&world, &a, "k").await.into_iter().map(|item| item.event).collect();
    assert!(events.contains(&"SubmissionAcceptance".to_owned()), "{events:?}");
    // After a start without index too, and for nobody else.
    world.stop_node("N-A").await;
    std::fs::remove_dir_all(world.node_folder("N-A").join("store/index")).unwrap();
    world.start_node("N-A").await;
    let a = world.client("N-A").await;
    until("the relay is there", || status(&world, "N-A"), |s| s.connected).await;
    check_rejection(&world, &a, refused.clone(), "secret", "level-refused").await;
    let b = world.client("N-B").await;
    let request = GetReceiptRequest { leaf_hash: refused.rejection, with_opening: false };
    assert_eq!(b.clone().get_receipt(world.ask("N-B", request)).await.unwrap_err().code(), tonic::Code::NotFound);
}
