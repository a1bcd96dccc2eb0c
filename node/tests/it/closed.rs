//! Documents that left memory: still listed, found and fetched.

use std::time::Duration;

use truc_proto::node_v1::{self, InboxItem, ListInboxRequest, ListOutboxRequest, OutboxItem};

use crate::{
    flows::{accepted, attachment, big, check_receipts, confirm, final_receipts_of_own, reached, send, status},
    world::{Client, World, document, until},
};

/// The whole list, page by page.
async fn inbox(world: &World, client: &Client, with_confirmed: bool, page_size: u32) -> Vec<InboxItem> {
    let (mut items, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListInboxRequest { with_confirmed, page_size, page_token, ..Default::default() };
        let reply = client.clone().list_inbox(world.ask("N-B", request)).await.unwrap().into_inner();
        items.extend(reply.items);
        page_token = reply.next_page_token;
        if page_token.is_empty() {
            return items;
        }
    }
}

async fn outbox(world: &World, client: &Client, with_final: bool, page_size: u32) -> Vec<OutboxItem> {
    let (mut items, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListOutboxRequest { with_final, page_size, page_token, ..Default::default() };
        let reply = client.clone().list_outbox(world.ask("N-A", request)).await.unwrap().into_inner();
        items.extend(reply.items);
        page_token = reply.next_page_token;
        if page_token.is_empty() {
            return items;
        }
    }
}

/// Both nodes begin anew with what was settled out of memory; without their indices when `bare`.
pub(crate) async fn a_month_later(world: &mut World, bare: bool) {
    for id in ["N-A", "N-B"] {
        world.stop_node(id).await;
        if bare {
            std::fs::remove_dir_all(world.node_folder(id).join("store/index")).unwrap();
        } else {
            world.close_settled(id).await;
        }
        world.start_node(id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_documents_stay_in_the_lists_newest_first_with_or_without_their_index() {
    let mut world = World::start().await;
    let (mut a, b) = (world.client("N-A").await, world.client("N-B").await);
    let mut envelopes = Vec::new();
    for n in 0..5 {
        let parts = document(&format!("c{n}"), "G22", &["H26", "H37"], &format!("Văn bản {n}"), &[("a.txt", b"a")]);
        let envelope = accepted(&world, &mut a, parts).await;
        reached(&world, &a, &envelope, "consigned").await;
        for code in ["H26", "H37"] {
            confirm(&world, &b, &envelope, code).await;
        }
        reached(&world, &a, &envelope, "handed-over").await;
        envelopes.insert(0, envelope);
    }
    for id in ["N-A", "N-B"] {
        world.until_all_is_told(id).await;
    }
    a_month_later(&mut world, false).await;
    let mut a = world.client("N-A").await;
    until("the directory is there", || status(&world, "N-A"), |s| s.directory_version == 1).await;
    let open = accepted(&world, &mut a, document("open", "G22", &["H26"], "Mới", &[])).await;
    reached(&world, &a, &open, "consigned").await;
    for bare in [false, true] {
        if bare {
            a_month_later(&mut world, true).await;
        }
        let (a, b) = (world.client("N-A").await, world.client("N-B").await);
        // An index that is being built answers that it cannot answer now, and never that there is nothing.
        let listed = || async {
            let request = ListInboxRequest { with_confirmed: true, ..Default::default() };
            let answer = b.clone().list_inbox(world.ask("N-B", request)).await;
            if let Err(error) = &answer {
                assert_eq!(error.code(), tonic::Code::Unavailable, "{error:?}");
                assert!(error.message().contains("dựng lại"), "{error:?}");
            }
            answer.is_ok()
        };
        until("the index answers", listed, |listed| *listed).await;
        let wanted: Vec<(&str, &str)> = [(open.as_str(), "H26")]
            .into_iter()
            .chain(envelopes.iter().flat_map(|envelope| [(envelope.as_str(), "H26"), (envelope.as_str(), "H37")]))
            .collect();
        for page_size in [0, 1, 2, 3] {
            let items = inbox(&world, &b, true, page_size).await;
            let seen: Vec<(&str, &str)> =
                items.iter().map(|item| (item.envelope.as_str(), item.recipient.as_str())).collect();
            assert_eq!(seen, wanted, "pages of {page_size}");
            assert!(items.iter().skip(1).all(|item| item.confirmed && item.subject.starts_with("Văn bản")));
        }
        let waiting = inbox(&world, &b, false, 0).await;
        assert_eq!(waiting.iter().map(|item| &item.envelope).collect::<Vec<_>>(), [&open], "not yet confirmed");
        assert_eq!(attachment(&world, &b, &envelopes[4], "H37", "a.txt").await, b"a");
        let wanted: Vec<&String> = [&open].into_iter().chain(&envelopes).collect();
        let listed = || async { a.clone().list_outbox(world.ask("N-A", all_sent())).await.is_ok() };
        until("the sender's index answers", listed, |listed| *listed).await;
        for page_size in [0, 1, 4] {
            let items = outbox(&world, &a, true, page_size).await;
            assert_eq!(items.iter().map(|item| &item.envelope).collect::<Vec<_>>(), wanted, "pages of {page_size}");
            assert!(items.iter().skip(1).all(|i| i.state == "final" && i.recipients.len() == 2));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_past_its_retention_is_removed_and_its_receipts_stay() {
    let mut world = World::start().await;
    let (mut a, b) = (world.client("N-A").await, world.client("N-B").await);
    let file = big(7);
    let envelope = accepted(&world, &mut a, document("old", "G22", &["H26", "H37"], "Cũ", &[("a.pdf", &file)])).await;
    reached(&world, &a, &envelope, "consigned").await;
    for code in ["H26", "H37"] {
        confirm(&world, &b, &envelope, code).await;
    }
    reached(&world, &a, &envelope, "handed-over").await;
    world.until_all_is_told("N-B").await;
    world.stop_node("N-B").await;
    world.close_settled("N-B").await;
    world.set_retention("N-B", Duration::from_secs(86_400));
    world.start_node("N-B").await;
    world.until_indexed("N-B").await;
    assert_eq!(truc_node::retention::pass(world.shell("N-B")).await, 0, "not a day old");
    let b = world.client("N-B").await;
    assert_eq!(attachment(&world, &b, &envelope, "H26", "a.pdf").await, file);
    world.stop_node("N-B").await;
    world.set_retention("N-B", Duration::from_millis(1));
    world.start_node("N-B").await;
    assert_eq!(world.blobs("N-B"), 1);
    world.until_forgotten("N-B", 1).await;
    until("the blob is gone", || async { world.blobs("N-B") }, |blobs| *blobs == 0).await;
    let b = world.client("N-B").await;
    let request = node_v1::FetchRequest {
        envelope: envelope.clone(),
        recipient: "H26".into(),
        what: Some(node_v1::fetch_request::What::Container(true)),
        ..Default::default()
    };
    let fetch = || async { b.clone().fetch(world.ask("N-B", request.clone())).await.map(|_| ()).err() };
    let refused = until("the index knows", fetch, Option::is_some).await.unwrap();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    for words in ["0 days after it was handed over", "receipts stay", "biên nhận vẫn còn"] {
        assert!(refused.message().contains(words), "{words}: {refused:?}");
    }
    let items = inbox(&world, &b, true, 0).await;
    assert!(items.len() == 2 && items.iter().all(|item| !item.payload_removed_at.is_empty()), "{items:#?}");
    check_receipts(&world, &final_receipts_of_own(&world, &b, &envelope).await);
    assert_eq!(truc_node::retention::pass(world.shell("N-B")).await, 0, "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_leaves_no_second_payload_behind() {
    let mut world = World::start().await;
    let mut a = world.client("N-A").await;
    world.stop_relay().await;
    let file = big(11);
    let parts = |subject: &str| document("again", "G22", &["H26"], subject, &[("a.pdf", &file)]);
    let envelope = accepted(&world, &mut a, parts("Một")).await;
    assert_eq!(world.blobs("N-A"), 1);
    assert_eq!(accepted(&world, &mut a, parts("Một")).await, envelope);
    assert_eq!(world.blobs("N-A"), 1, "the same request");
    assert_eq!(send(&world, &mut a, parts("Hai")).await.refused.unwrap().reason, "id-reused");
    assert_eq!(world.blobs("N-A"), 1, "another request under its key");
}

fn all_sent() -> node_v1::ListOutboxRequest {
    ListOutboxRequest { with_final: true, ..Default::default() }
}
