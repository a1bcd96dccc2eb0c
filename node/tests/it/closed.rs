//! Documents that left memory: still listed, found and fetched.

use truc_proto::node_v1::{self, InboxItem, ListInboxRequest, ListOutboxRequest, OutboxItem};

use crate::{
    flows::{accepted, attachment, confirm, reached, status},
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
async fn a_month_later(world: &mut World, bare: bool) {
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
    until("the directory is there", || status(&world, "N-A"), |s| s.directory_version == 1).await;
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

fn all_sent() -> node_v1::ListOutboxRequest {
    ListOutboxRequest { with_final: true, ..Default::default() }
}
