//! The local API's rules: tokens, codes, recipients, levels, forms. Refused is refused before anything is stored.

use std::collections::BTreeSet;

use tonic::Code;
use truc_node::tokens::add_token;
use truc_proto::node_v1::{
    ConfirmRequest, FetchRequest, GetReceiptRequest, ListInboxRequest, ListOutboxRequest, ListReceiptsRequest,
    StatusRequest, WatchInboxRequest, fetch_request::What,
};

use crate::support::{Api, Letter, World, forger::from_now, in_time, refusal_in, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_it_covers_and_nothing_else() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26", "H26.18"])]).await;
    let address = world.node_address("N-H26");
    for token in [None, Some("truc_wrong"), Some("")] {
        let refused = Api::new(address, token).raw.status(StatusRequest {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{token:?}");
        assert!(refused.message().contains("token") && !refused.message().is_ascii(), "in both languages: {refused:?}");
    }
    let codes = BTreeSet::from(["H26.18".parse().unwrap()]);
    let text = add_token(
        &world.node_folder("N-H26").join("keys/tokens"),
        "department",
        truc_proto::CallerRole::Officer,
        codes,
        truc_node::quota::Quota::default(),
        world::now(),
    )
    .unwrap();
    let department = Api::new(address, Some(text.expose()));
    assert_eq!(department.status().await.unwrap().codes, ["H26.18"]);

    let refusal = refusal_in(&department.send(&Letter::new("x", "H26", &["G22"])).await.unwrap_err());
    assert_eq!(refusal.reason, "not-entitled");
    assert!(refusal.english.contains("department") && refusal.english.contains("H26"), "{refusal:?}");
    let foreign = world.api("N-H26").send(&Letter::new("x", "G22", &["H26"])).await;
    let reason = match foreign {
        Ok(reply) => reply.refused.unwrap().reason,
        Err(status) => refusal_in(&status).reason,
    };
    assert_eq!(reason, "not-entitled", "a code that the directory gives to another node");

    // What came for the other code of the same node is not there for this token.
    let envelope = world.api("N-G22").accepted(&Letter::new("both", "G22", &["H26", "H26.18"])).await;
    let only = world.api("N-G22").accepted(&Letter::new("one", "G22", &["H26"])).await;
    let all = world.api("N-H26");
    for (envelope, code) in [(&envelope, "H26"), (&envelope, "H26.18"), (&only, "H26")] {
        all.until_consigned(envelope, code).await;
    }
    let seen = department.inbox("", true).await;
    assert_eq!(
        seen.iter().map(|item| (item.envelope.as_str(), item.recipient.as_str())).collect::<Vec<_>>(),
        [(envelope.as_str(), "H26.18")]
    );
    let denied = department
        .raw
        .clone()
        .list_inbox(ListInboxRequest { code: "H26".into(), ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(refusal_in(&denied).reason, "not-entitled");
    let what = truc_proto::node_v1::fetch_request::What::Container(true);
    assert_eq!(department.fetch(&only, "H26", what.clone()).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(department.fetch(&only, "H26.18", what).await.unwrap_err().code(), Code::NotFound);
    let receipts =
        department.raw.clone().list_receipts(ListReceiptsRequest { envelope: only, ..Default::default() }).await;
    assert!(receipts.map_or(true, |reply| reply.into_inner().items.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_that_fit_together_and_a_forged_page_token_is_refused() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    let mut sent = BTreeSet::new();
    for number in 0..7 {
        sent.insert(sender.accepted(&Letter::new(&format!("n{number}"), "G22", &["H26"])).await);
    }
    for envelope in &sent {
        recipient.until_consigned(envelope, "H26").await;
    }
    let (mut paged, mut pages, mut token) = (Vec::new(), 0, String::new());
    loop {
        let request = ListInboxRequest { page_size: 3, page_token: token, ..Default::default() };
        let reply = recipient.raw.clone().list_inbox(request).await.unwrap().into_inner();
        assert!(reply.items.len() <= 3);
        paged.extend(reply.items.into_iter().map(|item| item.envelope));
        (pages, token) = (pages + 1, reply.next_page_token);
        if token.is_empty() {
            break;
        }
    }
    assert!(pages >= 3);
    assert_eq!((paged.len(), paged.iter().cloned().collect::<BTreeSet<_>>()), (7, sent));
    for forged in ["x", "////", "AAAAAAAAAAAAAAAA"] {
        let inbox = ListInboxRequest { page_token: forged.into(), ..Default::default() };
        assert_eq!(recipient.raw.clone().list_inbox(inbox).await.unwrap_err().code(), Code::InvalidArgument);
        let outbox = ListOutboxRequest { page_token: forged.into(), ..Default::default() };
        assert_eq!(recipient.raw.clone().list_outbox(outbox).await.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_closed_recipients_are_refused_naming_the_nearest_and_the_successor() {
    let mut world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26", "H02"])]).await;
    let (closed, successor) = ("H02".parse().unwrap(), "H26".parse().unwrap());
    world.draft.close(&closed, from_now(0), None, Some(successor)).unwrap();
    world.publish_to(&["N-G22", "N-H26"]).await;
    let sender = world.api("N-G22");
    let refusal = sender.refused(&Letter::new("u", "G22", &["H27"]), "unknown-code").await;
    assert!(refusal.nearest.contains(&"H26".to_owned()), "{refusal:?}");
    assert!(refusal.english.contains("H27") && refusal.vietnamese.contains("H27"), "{refusal:?}");
    let refusal = sender.refused(&Letter::new("c", "G22", &["H26", "H02"]), "closed-code").await;
    assert_eq!(refusal.successor, "H26", "{refusal:?}");
    assert!(refusal.english.contains("H02") && refusal.vietnamese.contains("H26"), "{refusal:?}");
    // The refused keys are free for the corrected request.
    let envelope = sender.accepted(&Letter::new("c", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&envelope, "H26").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_are_refused_and_say_what_to_do() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    let sender = world.api("N-G22");
    let good = || Letter::new("good", "G22", &["H26"]);
    for (level, what) in [("mat", "ordinary lane"), ("toi-mat", "ordinary lane"), ("tuyet-mat", "neither")] {
        let refusal =
            sender.refused(&Letter { key: format!("l-{level}"), ..good() }.level(level), "level-refused").await;
        assert!(!refusal.english.is_empty(), "{what}: {refusal:?}");
    }
    let no_level = sender.send(&Letter { key: "no-level".into(), ..good() }.level("")).await;
    assert!(no_level.map_or(true, |reply| reply.refused.is_some()), "nobody may forget to choose a level");

    for (key, packet, reason) in [
        ("from", crate::support::forger::packet("H26", &["H26"], "x"), "not-entitled"),
        ("doctype", b"<!DOCTYPE a [<!ENTITY b \"c\">]><edXML>&b;</edXML>".to_vec(), "content-refused"),
        ("empty", b" ".to_vec(), "content-refused"),
        ("html", b"<html><body>x</body></html>".to_vec(), "content-refused"),
    ] {
        let letter = Letter { key: key.into(), ..good() }.packet(packet);
        let reply = sender.send(&letter).await.unwrap();
        let refusal = reply.refused.unwrap_or_else(|| panic!("{key} was not refused"));
        crate::support::check_refusal(&refusal);
        assert!([reason, "invalid"].contains(&refusal.reason.as_str()), "{key}: {refusal:?}");
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/testdata/edxml/refused");
    let mut tried = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "xml") {
            let letter = Letter { key: format!("v{tried}"), ..good() }.packet(std::fs::read(&path).unwrap());
            let reply = sender.send(&letter).await.unwrap();
            let refusal = reply.refused.unwrap_or_else(|| panic!("{} was not refused", path.display()));
            crate::support::check_refusal(&refusal);
            tried += 1;
        }
    }
    assert!(tried > 30);

    for name in ["../x.pdf", "/etc/passwd", "a/../../b", "", "con\u{0}trol", "META-INF/x"] {
        let letter = Letter { key: "name".into(), ..good() }.with_file(name, vec![1; 10]);
        let reply = sender.send(&letter).await.unwrap();
        let refusal = reply.refused.unwrap_or_else(|| panic!("a file named {name:?} was accepted"));
        assert_eq!(refusal.reason, "invalid", "{name:?}: {refusal:?}");
    }
    for key in ["", "có dấu", &"k".repeat(129)] {
        let status = sender.send(&Letter { key: key.into(), ..good() }).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{key:?}");
    }
    let to_self = sender.send(&Letter::new("self", "G22", &["G22"])).await.unwrap();
    assert!(to_self.refused.is_some());
    assert!(sender.outbox().await.is_empty(), "nothing of all this was stored");
    // And the node is as well as before.
    sender.accepted(&good()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_what_is_not_confirmed_and_then_what_comes_each_once() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26", "H26.18"])]).await;
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    let done = sender.accepted(&Letter::new("done", "G22", &["H26"])).await;
    let open = sender.accepted(&Letter::new("open", "G22", &["H26", "H26.18"])).await;
    for (envelope, code) in [(&done, "H26"), (&open, "H26"), (&open, "H26.18")] {
        recipient.until_consigned(envelope, code).await;
    }
    recipient.confirm(&done, "H26").await;
    let request = WatchInboxRequest { code: "H26".into() };
    let mut items = recipient.raw.clone().watch_inbox(request).await.unwrap().into_inner();
    let mut next = async || {
        let item = in_time("an item", items.message()).await;
        item.unwrap().map(|item| (item.envelope, item.recipient)).unwrap()
    };
    assert_eq!(next().await, (open, "H26".to_owned()));
    for key in ["new-1", "new-2"] {
        sender.accepted(&Letter::new(&format!("{key}-other-code"), "G22", &["H26.18"])).await;
        let envelope = sender.accepted(&Letter::new(key, "G22", &["H26"])).await;
        assert_eq!(next().await, (envelope, "H26".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_fetched_on_from_any_byte_and_what_is_not_there_is_not_found() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    let api = world.api("N-H26");
    let letter = Letter::new("long", "G22", &["H26"]).with_file("a.bin", crate::support::api::noise("long", 2_500_000));
    let envelope = world.api("N-G22").accepted(&letter).await;
    api.until_consigned(&envelope, "H26").await;
    let whole = api.fetch(&envelope, "H26", What::Container(true)).await.unwrap();
    for offset in [1, 65_535, 1 << 20, (1 << 20) + 1, whole.len() - 1, whole.len()] {
        let request = FetchRequest {
            envelope: envelope.clone(),
            recipient: "H26".into(),
            what: Some(What::Container(true)),
            offset: offset as u64,
            ..FetchRequest::default()
        };
        let mut stream = api.raw.clone().fetch(request).await.unwrap().into_inner();
        let mut rest = Vec::new();
        while let Some(chunk) = stream.message().await.unwrap() {
            rest.extend_from_slice(&chunk.data);
        }
        assert!(rest == whole[offset..], "from byte {offset}");
    }
    for missing in ["b.bin", "../a.bin", ""] {
        let refused = api.fetch(&envelope, "H26", What::Attachment(missing.into())).await.unwrap_err();
        assert!([Code::NotFound, Code::InvalidArgument].contains(&refused.code()), "{missing:?}: {refused:?}");
    }
    let unknown = "01890000-0000-7000-8000-000000000000";
    assert_eq!(api.fetch(unknown, "H26", What::Container(true)).await.unwrap_err().code(), Code::NotFound);
    let receipt = GetReceiptRequest { leaf_hash: vec![7; 32].into(), with_opening: false };
    assert_eq!(api.raw.clone().get_receipt(receipt).await.unwrap_err().code(), Code::NotFound);
    let short = GetReceiptRequest { leaf_hash: vec![7; 31].into(), with_opening: false };
    assert_eq!(api.raw.clone().get_receipt(short).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_system_that_refuses_a_document_says_why_and_the_sender_sees_it() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    let (sender, api) = (world.api("N-G22"), world.api("N-H26"));
    let envelope = sender.accepted(&Letter::new("unwanted", "G22", &["H26"])).await;
    api.until_consigned(&envelope, "H26").await;
    let refuse = |reason: &str| ConfirmRequest {
        envelope: envelope.clone(),
        recipient: "H26".into(),
        refused: true,
        reason: reason.into(),
        ..ConfirmRequest::default()
    };
    assert_eq!(
        api.raw.clone().confirm(refuse(" ")).await.unwrap_err().code(),
        Code::InvalidArgument,
        "a reason is needed"
    );
    assert!(api.raw.clone().confirm(refuse("Trùng văn bản đã nhận")).await.unwrap().into_inner().first);
    assert!(!api.raw.clone().confirm(refuse("Trùng văn bản đã nhận")).await.unwrap().into_inner().first);
    let state = sender.until_state(&envelope, "H26", "failed").await;
    assert_eq!(state.reason, "refused-by-system");
    let receipts = world.all_receipts_valid("N-G22", &envelope, 5).await;
    assert!(receipts.iter().any(|(event, ..)| event == "ContentHandoverFailure"));
    // It may still be taken: then both stay, and it is handed over.
    assert!(api.confirm(&envelope, "H26").await.first);
    sender.until_state(&envelope, "H26", "handed-over").await;
}
