//! A node whose storage key was rotated goes on as before, wherever the rotation was cut off.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use ring::hmac;
use serde_json::json;
use truc_node::storage_key::{self, Step};
use truc_proto::{
    Administrator, CallerRole,
    node_v1::{FetchRequest, SearchDocumentsRequest, fetch_request::What},
};

use crate::{
    flows::{accepted, attachment, big, check_receipts, confirm, final_receipts_of_own, reached, status},
    http::request,
    rest::post_json,
    webhooks::Receiver,
    world::{World, document, until},
};

fn rotate(world: &World, id: &str) -> storage_key::Rotated {
    let who = Administrator { name: "Nguyễn Thị Lan".into(), role: CallerRole::CipherAdmin };
    storage_key::rotate(world.settings(id), who, "hủy khóa định kỳ".into(), truc_node::shell::clock::now()).unwrap()
}

async fn rotate_all(world: &mut World) {
    for id in ["N-A", "N-B"] {
        world.stop_node(id).await;
        rotate(world, id);
        world.start_node(id).await;
    }
}

/// What a tus client says; the answer's header `upload-offset`.
async fn upload(world: &World, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let bearer = format!("Bearer {}", world.token("N-A"));
    let headers = [headers, &[("tus-resumable", "1.0.0"), ("authorization", bearer.as_str())]].concat();
    let answer = request(world.rest("N-A"), method, path, &headers, body).await;
    let said = ["location", "upload-offset"].into_iter().find_map(|name| answer.header(name));
    (answer.status, said.unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_on_under_its_new_storage_key_and_what_was_removed_is_gone_for_good() {
    let receiver = Receiver::start("200 OK").await;
    let mut world = World::start().await;
    world.stop_node("N-B").await;
    world.allow_webhooks("N-B", &format!("http://{}/hooks", receiver.address));
    world.start_node("N-B").await;
    let hook = json!({ "url": receiver.url(), "events": ["document.received"] });
    let hook = post_json(&world, "N-B", "/webhooks", &[], &hook).await.ok(201);
    let (mut a, b) = (world.client("N-A").await, world.client("N-B").await);

    // One short and one long document that are delivered and forgotten, and one that stays.
    let file = big(3);
    let mut forgotten = Vec::new();
    for (key, bytes) in [("short", &b"ngan"[..]), ("long", &file)] {
        let envelope = accepted(&world, &mut a, document(key, "G22", &["H26", "H37"], "Cũ", &[("a.pdf", bytes)])).await;
        reached(&world, &a, &envelope, "consigned").await;
        for code in ["H26", "H37"] {
            confirm(&world, &b, &envelope, code).await;
        }
        reached(&world, &a, &envelope, "handed-over").await;
        forgotten.push(envelope);
    }
    for id in ["N-A", "N-B"] {
        world.until_all_is_told(id).await;
        world.stop_node(id).await;
        world.close_settled(id).await;
    }
    world.set_retention("N-B", Duration::from_millis(1));
    for id in ["N-A", "N-B"] {
        world.start_node(id).await;
    }
    world.until_forgotten("N-B", 2).await; // short documents like long ones
    until("the directory is there", || status(&world, "N-A"), |s| s.directory_version == 1).await;
    let mut a = world.client("N-A").await;
    let kept = accepted(&world, &mut a, document("kept", "G22", &["H26"], "Còn dùng", &[("b.pdf", &file)])).await;
    reached(&world, &a, &kept, "consigned").await;

    let piece = vec![7; 300_000];
    let length = [("upload-length", "500000"), ("upload-metadata", "filename YS5wZGY=")];
    let (begun, at) = upload(&world, "POST", "/api/v1/uploads", &length, b"").await;
    assert_eq!(begun, 201);
    let patch = [("content-type", "application/offset+octet-stream"), ("upload-offset", "0")];
    assert_eq!(upload(&world, "PATCH", &at, &patch, &piece).await, (204, "300000".into()));

    for id in ["N-A", "N-B"] {
        world.stop_node(id).await;
    }
    let of_b = rotate(&world, "N-B");
    assert_eq!((of_b.epoch, of_b.kept, of_b.erased, of_b.destroyed, of_b.others.webhooks), (2, 1, 2, 2, 1));
    let of_a = rotate(&world, "N-A");
    assert_eq!((of_a.kept, of_a.erased, of_a.others.uploads), (1, 2, 1), "sent ones that ended are opened by nobody");
    for id in ["N-A", "N-B"] {
        world.start_node(id).await;
        let notes = world.settings(id).store().join("administration");
        let waiting = || std::future::ready(std::fs::read_dir(&notes).map_or(0, Iterator::count));
        until("the ledger says who and why", waiting, |waiting| *waiting == 0).await;
    }
    rotate_all(&mut world).await;

    let (mut a, b) = (world.client("N-A").await, world.client("N-B").await);
    until("the directory is there", || status(&world, "N-A"), |s| s.directory_version == 1).await;
    assert_eq!(attachment(&world, &b, &kept, "H26", "b.pdf").await, file, "what was received before opens");
    // The index is the one of before: a word finds what it found.
    let words = SearchDocumentsRequest { text: "Còn dùng".into(), ..Default::default() };
    let found = || async {
        b.clone().search_documents(world.ask("N-B", words.clone())).await.ok().map(|f| f.into_inner().items.len())
    };
    until("the index answers", found, |found| *found == Some(1)).await;
    for envelope in &forgotten {
        let what = Some(What::Container(true));
        let fetch = || FetchRequest {
            envelope: envelope.clone(),
            recipient: "H26".into(),
            what: what.clone(),
            ..Default::default()
        };
        let refused = b.clone().fetch(world.ask("N-B", fetch())).await.map(|_| ()).unwrap_err();
        assert!(refused.message().contains("receipts stay"), "{refused:?}");
        check_receipts(&world, &final_receipts_of_own(&world, &b, envelope).await);
    }
    let patch = [("content-type", "application/offset+octet-stream"), ("upload-offset", "300000")];
    assert_eq!(upload(&world, "HEAD", &at, &[], b"").await, (200, "300000".into()));
    assert_eq!(upload(&world, "PATCH", &at, &patch, &piece[..200_000]).await, (204, "500000".into()));
    let mut letter = crate::rest::letter(&["H26"]);
    letter["uploads"] = json!([at.rsplit('/').next().unwrap()]);
    let sent = post_json(&world, "N-A", "/documents", &[("idempotency-key", "upload")], &letter).await.ok(201);
    let sent = sent["envelope"].as_str().unwrap().to_owned();
    reached(&world, &a, &sent, "consigned").await;
    assert_eq!(attachment(&world, &b, &sent, "H26", "a.pdf").await, vec![7; 500_000]);
    // The document system's secret is the one that it was given.
    let told = || std::future::ready(receiver.came().into_iter().find(|came| came.json()["data"]["envelope"] == sent));
    let came = until("the webhook is called", told, Option::is_some).await.unwrap();
    let secret = data_encoding::BASE64.decode(&hook["secret"].as_str().unwrap().as_bytes()[6..]).unwrap();
    let text = format!("{}.{}.{}", came.header("webhook-id"), came.header("webhook-timestamp"), came.body);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), text.as_bytes());
    assert_eq!(came.header("webhook-signature"), format!("v1,{}", data_encoding::BASE64.encode(tag.as_ref())));
    let answer = accepted(&world, &mut a, document("after", "G22", &["H37"], "Mới", &[("c.pdf", &file)])).await;
    reached(&world, &a, &answer, "consigned").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_is_killed_anywhere_leaves_a_node_that_starts_and_opens_everything() {
    let mut world = World::start().await;
    let mut a = world.client("N-A").await;
    let file = big(5);
    let envelope = accepted(&world, &mut a, document("one", "G22", &["H26"], "Một", &[("a.pdf", &file)])).await;
    reached(&world, &a, &envelope, "consigned").await;
    for step in Step::ALL {
        world.stop_node("N-B").await;
        let folder = world.node_folder("N-B");
        let mut rotating = Command::new(env!("CARGO_BIN_EXE_truc-node"))
            .args(["storage-key", "--dir"])
            .arg(&folder)
            .args(["rotate", "--who", "lan", "--why", "thử cắt ngang"])
            .env("RUST_LOG", "info")
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // kill -9 as soon as it says that it is so far; how much farther it comes is its own luck.
        let lines = BufReader::new(rotating.stderr.take().unwrap()).lines().map_while(Result::ok);
        let said: Vec<String> = lines.take_while(|line| !line.contains(step.as_str())).collect();
        let _ = rotating.kill(); // it may be done
        rotating.wait().unwrap();
        assert!(said.iter().all(|line| !line.contains("ERROR")), "{said:#?}");
        world.start_node("N-B").await;
        assert!(storage_key::left_over(world.settings("N-B")).is_none());
        let b = world.client("N-B").await;
        assert_eq!(attachment(&world, &b, &envelope, "H26", "a.pdf").await, file, "{step:?}");
    }
    let seen = storage_key::status(world.settings("N-B")).unwrap();
    assert!(seen.epoch >= Some(6), "what was committed counts: {seen:?}");
    let (mut a, b) = (world.client("N-A").await, world.client("N-B").await);
    let second = accepted(&world, &mut a, document("two", "G22", &["H26"], "Hai", &[("a.pdf", &file)])).await;
    reached(&world, &a, &second, "consigned").await;
    assert_eq!(attachment(&world, &b, &second, "H26", "a.pdf").await, file);
}
