//! Large files in pieces, as tus clients bring them.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    http::{Answer, request},
    rest::{get, letter, post_json},
    tools::python,
    world::{World, until},
};

const VERSION: (&str, &str) = ("tus-resumable", "1.0.0");

async fn call(world: &World, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let bearer = format!("Bearer {}", world.token("N-A"));
    let headers = [headers, &[("authorization", bearer.as_str())]].concat();
    request(world.rest("N-A"), method, path, &headers, body).await
}

async fn begin(world: &World, length: usize, name: &str) -> String {
    let (length, metadata) =
        (length.to_string(), format!("filename {}", data_encoding::BASE64.encode(name.as_bytes())));
    let headers = [VERSION, ("upload-length", &length), ("upload-metadata", &metadata)];
    let begun = call(world, "POST", "/api/v1/uploads", &headers, b"").await;
    assert_eq!((begun.status, begun.header("tus-resumable")), (201, Some("1.0.0")));
    begun.header("location").unwrap().to_owned()
}

async fn patch(world: &World, upload: &str, offset: usize, body: &[u8]) -> Answer {
    let offset = offset.to_string();
    let headers = [VERSION, ("content-type", "application/offset+octet-stream"), ("upload-offset", &offset)];
    call(world, "PATCH", upload, &headers, body).await
}

async fn offset(world: &World, upload: &str) -> usize {
    let head = call(world, "HEAD", upload, &[VERSION], b"").await;
    assert_eq!((head.status, head.header("cache-control")), (200, Some("no-store")));
    head.header("upload-offset").unwrap().parse().unwrap()
}

fn id(upload: &str) -> Value {
    json!(upload.rsplit('/').next().unwrap())
}

fn bytes(length: u32) -> Vec<u8> {
    (0..length).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

async fn received(world: &World, envelope: &Value, name: &str) -> Vec<u8> {
    let path = format!("/inbox/{}/attachments/{name}?recipient=H26", envelope.as_str().unwrap());
    let fetched = || get(world, "N-B", &path);
    until("the document is there", fetched, |answer| answer.status == 200).await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_where_it_broke_off_over_a_restart_and_becomes_a_document() {
    let mut world = World::start().await;
    let file = bytes(3_500_000);
    let upload = begin(&world, file.len(), "bản vẽ.dwg").await;
    assert_eq!(patch(&world, &upload, 0, &file[..1_200_000]).await.header("upload-offset"), Some("1200000"));

    // A client whose line breaks in the middle of a body: all that came is kept.
    let begin = |from: usize| {
        format!(
            "PATCH {upload} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ntus-resumable: 1.0.0\r\ncontent-type: application/offset+octet-stream\r\nupload-offset: {from}\r\ncontent-length: {}\r\n\r\n",
            world.token("N-A"),
            3_500_000 - from
        )
    };
    let parts = world.node_folder("N-A").join(format!("store/uploads/{}.parts", id(&upload).as_str().unwrap()));
    let on_disk = || std::future::ready(std::fs::metadata(&parts).unwrap().len());
    let before = on_disk().await;
    let mut breaking = TcpStream::connect(world.rest("N-A")).await.unwrap();
    breaking.write_all(begin(1_200_000).as_bytes()).await.unwrap();
    breaking.write_all(&file[1_200_000..1_900_000]).await.unwrap();
    drop(breaking);
    until("what came is on the disk", on_disk, |length| *length > before).await;
    assert_eq!(offset(&world, &upload).await, 1_900_000);

    // One that comes back while its old request still hangs takes the upload over.
    let mut hanging = TcpStream::connect(world.rest("N-A")).await.unwrap();
    hanging.write_all(begin(1_900_000).as_bytes()).await.unwrap();
    hanging.write_all(&file[1_900_000..2_200_000]).await.unwrap();
    let told = offset(&world, &upload).await;
    assert!((1_900_000..=2_200_000).contains(&told), "{told}");

    world.stop_node("N-A").await;
    drop(hanging);
    world.start_node("N-A").await;
    let at = offset(&world, &upload).await;
    assert!((told..=2_200_000).contains(&at), "what was told is there: {at}");
    let wrong = patch(&world, &upload, 0, &file).await;
    assert_eq!(wrong.problem(409), "not-now");
    assert!(wrong.json()["en"]["detail"].as_str().unwrap().contains("goes on at "));
    let mut document = letter(&["H26"]);
    document["uploads"] = json!([id(&upload)]);
    let key = [("idempotency-key", "drawing")];
    assert_eq!(
        post_json(&world, "N-A", "/documents", &key, &document).await.problem(409),
        "not-now",
        "it is not whole"
    );
    assert_eq!(patch(&world, &upload, at, &[&file[at..], b"x"].concat()).await.problem(400), "invalid-request");
    let at = offset(&world, &upload).await;
    assert_eq!(patch(&world, &upload, at, &file[at..]).await.status, 204);

    let sent = post_json(&world, "N-A", "/documents", &key, &document).await.ok(201);
    assert_eq!(post_json(&world, "N-A", "/documents", &key, &document).await.ok(201)["envelope"], sent["envelope"]);
    assert!(received(&world, &sent["envelope"], "b%E1%BA%A3n%20v%E1%BA%BD.dwg").await == file);

    let folder = world.node_folder("N-A").join("store/uploads");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    assert_eq!(call(&world, "DELETE", &upload, &[VERSION], b"").await.status, 204);
    assert_eq!(call(&world, "DELETE", &upload, &[VERSION], b"").await.problem(404), "not-found");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    assert_eq!(post_json(&world, "N-A", "/documents", &key, &document).await.problem(404), "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_can_be_an_upload_and_files_come_beside_uploads() {
    let world = World::start().await;
    let upload = begin(&world, 4, "một.txt").await;
    patch(&world, &upload, 0, b"1234").await;
    let mut document = letter(&["H26"]);
    document["uploads"] = json!([id(&upload)]);
    let sent = crate::rest::send(&world, "both", &document, &[("hai.txt", b"5678")]).await.ok(201);
    assert_eq!(received(&world, &sent["envelope"], "m%E1%BB%99t.txt").await, b"1234");
    assert_eq!(received(&world, &sent["envelope"], "hai.txt").await, b"5678");

    let path = format!("/inbox/{}/edxml?recipient=H26", sent["envelope"].as_str().unwrap());
    let packet = get(&world, "N-B", &path).await.body;
    let upload = begin(&world, packet.len(), "").await;
    patch(&world, &upload, 0, &packet).await;
    let query =
        format!("/api/v1/packets?sender=G22&recipient=H26&level=ordinary&upload={}", id(&upload).as_str().unwrap());
    let headers = [("content-type", "application/xml"), ("idempotency-key", "packet")];
    let again = call(&world, "POST", &query, &headers, b"").await.ok(201);
    assert_eq!(received(&world, &again["envelope"], "hai.txt").await, b"5678");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_protocol_is_refused_and_others_uploads_are_not_there() {
    let world = World::start().await;
    let length = ("upload-length", "10");
    let none = call(&world, "POST", "/api/v1/uploads", &[length], b"").await;
    assert_eq!((none.problem(412), none.header("tus-version")), ("upload-protocol".into(), Some("1.0.0")));
    for headers in [
        vec![VERSION],
        vec![VERSION, ("upload-length", "-1")],
        vec![VERSION, ("upload-length", "+1")],
        vec![VERSION, length, ("upload-metadata", "filename ?")],
    ] {
        assert_eq!(call(&world, "POST", "/api/v1/uploads", &headers, b"").await.problem(400), "invalid-request");
    }
    let huge = [VERSION, ("upload-length", "99999999999999")];
    assert_eq!(call(&world, "POST", "/api/v1/uploads", &huge, b"").await.problem(413), "too-large");
    let upload = begin(&world, 10, "a.txt").await;
    let json = [VERSION, ("content-type", "application/json"), ("upload-offset", "0")];
    assert_eq!(call(&world, "PATCH", &upload, &json, b"1").await.problem(415), "unsupported-media-type");
    let options = request(world.rest("N-A"), "OPTIONS", "/api/v1/uploads", &[], b"").await;
    assert_eq!((options.status, options.header("tus-extension")), (204, Some("creation,termination")));

    let other = truc_node::tokens::add_token(
        &world.node_folder("N-A").join("keys/tokens"),
        "other",
        truc_proto::CallerRole::Officer,
        Default::default(),
        Default::default(),
        "2026-11-22T00:00:00Z".parse().unwrap(),
    );
    let bearer = format!("Bearer {}", other.unwrap().expose());
    let headers = [VERSION, ("authorization", bearer.as_str())];
    assert_eq!(request(world.rest("N-A"), "HEAD", &upload, &headers, b"").await.status, 404);
}

/// A client of the protocol that knows nothing of this project.
#[tokio::test(flavor = "multi_thread")]
async fn tuspy_uploads_in_pieces() {
    let Some(python) = python("tusclient") else { return };
    let world = World::start().await;
    let (script, file) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/interop/tus_client.py"), bytes(2_600_000));
    let source = world.node_folder("N-A").join("source.bin");
    std::fs::write(&source, &file).unwrap();
    let mut command = Command::new(python);
    command.arg(script).arg(format!("http://{}/api/v1/uploads", world.rest("N-A"))).arg(&source);
    command.env("TRUC_TOKEN", world.token("N-A"));
    let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let upload = String::from_utf8(ran.stdout).unwrap();
    let mut document = letter(&["H26"]);
    document["uploads"] = json!([id(upload.trim())]);
    let sent = post_json(&world, "N-A", "/documents", &[("idempotency-key", "tus")], &document).await.ok(201);
    assert!(received(&world, &sent["envelope"], "tuspy.bin").await == file);
}
