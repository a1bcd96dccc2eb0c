//! The REST face as its clients meet it: over sockets, in bytes.

use std::{
    num::NonZeroU32,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use truc_certs_dev::KeyFiles;
use truc_node::{
    quota::Quota,
    shell::clock,
    tokens::{add_certificate, limit_token},
};
use truc_proto::{CallerRole, limits::REST_STALL_MS_MAX};
use truc_signer::Certificate;

use crate::{
    http::{Answer, BOUNDARY, form, raw, request},
    tools::{named, required, tool},
    world::{World, until},
};

pub(crate) async fn get(world: &World, id: &str, path: &str) -> Answer {
    let bearer = format!("Bearer {}", world.token(id));
    request(world.rest(id), "GET", &format!("/api/v1{path}"), &[("authorization", &bearer)], b"").await
}

async fn post(world: &World, id: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let bearer = format!("Bearer {}", world.token(id));
    let headers = [headers, &[("authorization", bearer.as_str())]].concat();
    request(world.rest(id), "POST", &format!("/api/v1{path}"), &headers, body).await
}

pub(crate) async fn send(world: &World, key: &str, document: &Value, files: &[(&str, &[u8])]) -> Answer {
    let media = format!("multipart/form-data; boundary={BOUNDARY}");
    post(world, "N-A", "/documents", &[("content-type", &media), ("idempotency-key", key)], &form(document, files))
        .await
}

pub(crate) async fn post_json(world: &World, id: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let headers = [headers, &[("content-type", "application/json; charset=utf-8")]].concat();
    post(world, id, path, &headers, body.to_string().as_bytes()).await
}

pub(crate) fn letter(recipients: &[&str]) -> Value {
    json!({
        "sender": "G22", "recipients": recipients, "level": "ordinary", "subject": "Kế hoạch chuyển đổi số",
        "code_number": "15", "code_notation": "VPCP-KSTT", "promulgation_date": "2026/11/22", "place": "Hà Nội",
        "type_name": "Công văn",
    })
}

/// What of the inbox was not shown before, as soon as there is some.
async fn arrived(world: &World, id: &str, cursor: &str) -> (Vec<Value>, String) {
    let from = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
    let path = format!("/inbox/watch?wait_s=55{from}");
    let found = || async { get(world, id, &path).await.ok(200) };
    let found = until("something comes", found, |found| found["items"] != json!([])).await;
    (found["items"].as_array().unwrap().clone(), found["cursor"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_goes_from_one_document_system_to_another_over_rest() {
    let world = World::start().await;
    let scan: Vec<u8> = (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let files: [(&str, &[u8]); 2] = [("quét.pdf", &scan), ("phụ lục.txt", b"a,b")];
    let sent = send(&world, "first", &letter(&["H26"]), &files).await;
    let reply = sent.ok(201);
    let envelope = reply["envelope"].as_str().unwrap();
    assert_eq!(reply["state"], "accepted");
    assert_eq!(sent.header("location"), Some(format!("/api/v1/outbox/{envelope}").as_str()));

    // The same request under the same key is the same document; another one under it is refused with evidence.
    assert_eq!(send(&world, "\"first\"", &letter(&["H26"]), &files).await.ok(201)["envelope"], envelope);
    let other = send(&world, "first", &letter(&["H26"]), &files[1..]).await;
    assert_eq!(other.problem(422), "idempotency-key-reused");
    let rejection = other.json()["rejection"].as_str().unwrap().to_owned();
    let listed = get(&world, "N-A", "/receipts?sender=G22&idempotency_key=first").await.ok(200);
    assert!(listed["items"].as_array().unwrap().iter().any(|item| item["leaf_hash"] == rejection), "{listed:#}");

    let (items, cursor) = arrived(&world, "N-B", "").await;
    assert_eq!(items.len(), 1, "{items:#?}");
    let item = &items[0];
    assert_eq!(
        (&item["envelope"], &item["sender"], &item["recipient"]),
        (&reply["envelope"], &json!("G22"), &json!("H26"))
    );
    assert_eq!((&item["subject"], &item["verdict"]), (&json!("Kế hoạch chuyển đổi số"), &json!("good")));
    assert_eq!(item["attachments"][0]["length"], 3_000_000);

    let of = format!("/inbox/{envelope}");
    let file = get(&world, "N-B", &format!("{of}/attachments/qu%C3%A9t.pdf?recipient=H26")).await;
    assert!((file.status, &file.body) == (200, &scan));
    assert_eq!(file.header("content-type"), Some("application/octet-stream"));
    assert_eq!(file.header("content-disposition"), Some("attachment; filename*=UTF-8''qu%C3%A9t.pdf"));
    let packet = get(&world, "N-B", &format!("{of}/edxml?recipient=H26")).await;
    assert!(packet.status == 200 && packet.body.starts_with(b"<?xml"), "{}", packet.status);
    let container = get(&world, "N-B", &format!("{of}/container?recipient=H26")).await;
    assert_eq!((container.status, container.body.len() as u64), (200, item["container_length"].as_u64().unwrap()));
    let bearer = format!("Bearer {}", world.token("N-B"));
    let path = format!("/api/v1{of}/container?recipient=H26");
    let rest =
        request(world.rest("N-B"), "GET", &path, &[("authorization", &bearer), ("range", "bytes=100000-")], b"").await;
    assert_eq!(rest.status, 206);
    assert!(rest.body == container.body[100_000..]);
    let total = container.body.len();
    assert_eq!(rest.header("content-range"), Some(format!("bytes 100000-{}/{total}", total - 1).as_str()));

    let confirmation = json!({ "recipient": "H26" });
    let path = format!("{of}/confirmation");
    assert_eq!(post_json(&world, "N-B", &path, &[], &confirmation).await.ok(200)["first"], true);
    assert_eq!(post_json(&world, "N-B", &path, &[], &confirmation).await.ok(200)["first"], false);
    assert_eq!(get(&world, "N-B", "/inbox").await.ok(200)["items"], json!([]));
    assert_eq!(get(&world, "N-B", "/inbox?with_confirmed=true&code=H26").await.ok(200)["items"][0]["confirmed"], true);

    let status = json!({ "from": "H26", "code": "03", "staff": "Văn thư" });
    let path = format!("/documents/{envelope}/statuses");
    let set = post_json(&world, "N-B", &path, &[("idempotency-key", "s-1")], &status).await.ok(201);
    assert_eq!(set["sequence"], 1);
    let outbox = || async { get(&world, "N-A", &format!("/outbox/{envelope}")).await.ok(200) };
    let done = |item: &Value| {
        item["recipients"][0]["state"] == "handed-over" && item["recipients"][0]["business_status"] == "03"
    };
    let item = until("the sender sees the hand-over and the status", outbox, done).await;
    let events: Vec<_> =
        item["recipients"][0]["ladder"].as_array().unwrap().iter().map(|step| step["event"].clone()).collect();
    assert!(events.contains(&json!("ContentHandover")), "{events:?}");

    let receipts = get(&world, "N-A", &format!("/receipts?envelope={envelope}")).await.ok(200);
    // The status is an envelope with receipts of its own, on both sides.
    let said = &receipts["statuses"][0];
    assert_eq!(
        (&said["code"], &said["english"], &said["text"]),
        (&json!("03"), &json!("Accepted"), &json!("Đã tiếp nhận"))
    );
    assert_eq!((&said["staff"], &said["from"]), (&json!("Văn thư"), &json!("H26")));
    for id in ["N-A", "N-B"] {
        let of_status = format!("/receipts?envelope={}", said["envelope"].as_str().unwrap());
        let proofs = get(&world, id, &of_status).await.ok(200);
        assert!(
            proofs["items"].as_array().unwrap().iter().any(|item| item["event"] == "SubmissionAcceptance"),
            "{proofs:#}"
        );
    }
    let of_b = get(&world, "N-B", &format!("/receipts?envelope={envelope}")).await.ok(200);
    assert_eq!(of_b["statuses"], receipts["statuses"]);
    assert_eq!(item["recipients"][0]["ladder"][0]["text"], "Bên gửi đã ký, niêm phong và chịu trách nhiệm gửi");
    let leaf = receipts["items"][0]["leaf_hash"].as_str().unwrap();
    let receipt = get(&world, "N-A", &format!("/receipts/{leaf}?opening=true")).await;
    assert!(receipt.status == 200 && receipt.body.starts_with(b"c2sp.org/tlog-proof@v1"), "{}", receipt.status);
    assert!(receipt.header("content-disposition").unwrap().contains(".receipt"));

    // Nothing is shown twice to who gives the cursor back; the next one comes when it comes.
    let waiting = arrived(&world, "N-B", &cursor);
    let two = letter(&["H26", "H37"]);
    let sending = send(&world, "second", &two, &[]);
    let ((mut items, cursor), second) = tokio::join!(waiting, sending);
    if items.len() == 1 {
        items.extend(arrived(&world, "N-B", &cursor).await.0);
    }
    let second = second.ok(201)["envelope"].clone();
    let mut seen: Vec<_> = items.iter().map(|item| (item["envelope"].clone(), item["recipient"].clone())).collect();
    seen.sort_by_key(|(_, recipient)| recipient.to_string());
    seen.dedup();
    assert_eq!(seen, [(second.clone(), json!("H26")), (second, json!("H37"))]);

    let status = get(&world, "N-B", "/status").await.ok(200);
    assert_eq!((&status["node"], &status["connected"]), (&json!("N-B"), &json!(true)));
    let agency = get(&world, "N-A", "/directory/agencies/H02").await.ok(200);
    assert_eq!((&agency["successor"], &agency["reachable"]), (&json!("H05"), &json!(false)));
    assert_eq!(agency["unreachable"]["reason"], "closed-code");
    let found = get(&world, "N-A", "/directory/agencies?text=co%20quan%20h37&limit=1").await.ok(200);
    assert_eq!(
        (&found["items"][0]["code"], &found["items"][0]["reachable"]),
        (&json!("H37"), &json!(true)),
        "{found:#}"
    );
    assert_eq!(get(&world, "N-A", "/directory/agencies/X99").await.problem(404), "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_taken_back_over_rest() {
    let world = World::start().await;
    let envelope = send(&world, "back", &letter(&["H26"]), &[]).await.ok(201)["envelope"].clone();
    arrived(&world, "N-B", "").await;
    let path = format!("/documents/{}/withdrawal", envelope.as_str().unwrap());
    let key = [("idempotency-key", "w-1")];
    let ask = |body: Value| {
        let (world, path, key) = (&world, &path, &key);
        async move { post_json(world, "N-A", path, key, &body).await }
    };
    assert_eq!(ask(json!({ "reason": " " })).await.problem(400), "invalid-request");
    assert_eq!(ask(json!({})).await.problem(400), "invalid-request");
    let asked = ask(json!({ "reason": "Gửi nhầm", "recipients": ["H26"] })).await.ok(200);
    assert_eq!(
        (&asked["recipients"][0]["outcome"], &asked["recipients"][0]["recipient"]),
        (&json!("asked"), &json!("H26"))
    );
    let item = || async {
        let found = get(&world, "N-B", "/inbox").await.ok(200)["items"].clone();
        found.as_array().unwrap().iter().find(|item| item["envelope"] == envelope).cloned().unwrap_or_default()
    };
    let seen = until("the recipient sees it", item, |item| item["withdrawal"] == "asked").await;
    assert_eq!(seen["withdrawal_reason"], "Gửi nhầm");
    let status = json!({ "from": "H26", "code": "15" });
    let statuses = format!("/documents/{}/statuses", envelope.as_str().unwrap());
    post_json(&world, "N-B", &statuses, &[("idempotency-key", "s-15")], &status).await.ok(201);
    let outbox = format!("/outbox/{}", envelope.as_str().unwrap());
    let outbox = || async { get(&world, "N-A", &outbox).await.ok(200) };
    let item =
        until("the sender sees the answer", outbox, |item| item["recipients"][0]["withdrawal"] == "agreed").await;
    assert_eq!(item["recipients"][0]["statuses"][1]["code"], "15", "{item:#}");
    let fetch = format!("/inbox/{}/edxml?recipient=H26", envelope.as_str().unwrap());
    assert_eq!(get(&world, "N-B", &fetch).await.problem(409), "not-now");
    assert_eq!(get(&world, "N-B", &format!("{fetch}&even_withdrawn=true")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_is_sent_as_it_is() {
    let world = World::start().await;
    let envelope = send(&world, "letter", &letter(&["H26"]), &[("a.txt", b"text")]).await.ok(201)["envelope"].clone();
    arrived(&world, "N-B", "").await;
    let path = format!("/inbox/{}/edxml?recipient=H26", envelope.as_str().unwrap());
    let packet = get(&world, "N-B", &path).await.body;
    let xml = [("content-type", "application/xml"), ("idempotency-key", "packet")];
    let query = "/packets?sender=G22&recipient=H37&level=ordinary&priority=2";
    let reply = post(&world, "N-A", query, &xml, &packet).await.ok(201);
    assert_eq!(reply["recipients"][0]["recipient"], "H37");

    let broken = post(&world, "N-A", "/packets?sender=G22&recipient=H37&level=ordinary", &xml, b"<edXML").await;
    assert_eq!(broken.problem(422), "refused");
    let text = [("content-type", "text/xml"), ("idempotency-key", "packet")];
    assert_eq!(post(&world, "N-A", query, &text, &packet).await.problem(415), "unsupported-media-type");
    assert_eq!(post(&world, "N-A", "/packets?recipient=H37", &xml, &packet).await.problem(400), "invalid-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_a_problem_that_a_person_can_act_on() {
    let world = World::start().await;
    let (address, bearer) = (world.rest("N-A"), format!("Bearer {}", world.token("N-A")));
    let nobody = request(address, "GET", "/api/v1/inbox", &[("accept-language", "en")], b"").await;
    assert_eq!(nobody.problem(401), "unauthorised");
    assert_eq!(
        (nobody.header("www-authenticate"), nobody.header("content-language")),
        (Some("Bearer realm=\"truc\""), Some("en"))
    );
    let stranger = request(address, "GET", "/api/v1/inbox", &[("authorization", "Bearer truc_x")], b"").await;
    assert_eq!(stranger.problem(401), "unauthorised");
    assert_eq!(stranger.json()["detail"], stranger.json()["vi"]["detail"]);

    assert_eq!(get(&world, "N-A", "/nowhere").await.problem(404), "no-such-path");
    let method = request(address, "DELETE", "/api/v1/inbox", &[("authorization", &bearer)], b"").await;
    assert_eq!(method.problem(405), "method-not-allowed");
    assert!(method.header("allow").unwrap().contains("GET"));

    for query in ["code=H26x", "page_size=0", "page_token=x", "with_confirmed=1", "colour=red", "code=H26&code=H37"] {
        assert_eq!(get(&world, "N-B", &format!("/inbox?{query}")).await.problem(400), "invalid-request", "{query}");
    }
    assert_eq!(get(&world, "N-B", "/inbox?code=G22").await.status, 200, "a token of all codes reads nothing of others");
    assert_eq!(get(&world, "N-A", "/outbox/019373f0-5a00-7000-8000-000000000001").await.problem(404), "not-found");

    let closed = send(&world, "closed", &letter(&["H02"]), &[]).await;
    assert_eq!(closed.problem(422), "refused");
    assert_eq!((&closed.json()["reason"], &closed.json()["successor"]), (&json!("closed-code"), &json!("H05")));
    let mut foreign = letter(&["H26"]);
    foreign["sender"] = json!("H37");
    assert_eq!(send(&world, "foreign", &foreign, &[]).await.problem(403), "not-entitled");
    let mut strange = letter(&["H26"]);
    strange["colour"] = json!("red");
    assert_eq!(send(&world, "strange", &strange, &[]).await.problem(400), "invalid-request");
    let mut secret = letter(&["H26"]);
    secret["level"] = json!("mat");
    assert_eq!(send(&world, "secret", &secret, &[]).await.json()["reason"], "level-refused");
    strange["colour"] = json!("x".repeat(300_000));
    assert_eq!(send(&world, "long", &strange, &[]).await.problem(413), "too-large");
    let media = format!("multipart/form-data; boundary={BOUNDARY}");
    let no_key = post(&world, "N-A", "/documents", &[("content-type", &media)], &form(&letter(&["H26"]), &[])).await;
    assert_eq!(no_key.problem(400), "invalid-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_uses_no_more_than_its_limits_and_learns_all_the_same_what_its_requests_led_to() {
    let world = World::start().await;
    let limit = |quota: Quota| limit_token(&world.node_folder("N-A").join("keys/tokens"), "first", quota).unwrap();
    limit(Quota { documents_per_day: NonZeroU32::new(1), ..Quota::default() });
    let sent = send(&world, "one", &letter(&["H26"]), &[]).await.ok(201);
    let over = send(&world, "two", &letter(&["H26"]), &[]).await;
    assert_eq!(over.problem(429), "quota-exceeded");
    let wait: u64 = over.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_401).contains(&wait), "{wait}");
    assert!(over.json()["vi"]["detail"].as_str().unwrap().contains("1 văn bản mỗi ngày"), "{:#}", over.json());
    assert_eq!(send(&world, "one", &letter(&["H26"]), &[]).await.ok(201)["envelope"], sent["envelope"]);
    let token = get(&world, "N-A", "/token").await.ok(200);
    assert_eq!(token["limits"], json!([{ "what": "documents", "limit": 1, "period_s": 86_400, "left": 0 }]));

    limit(Quota::default());
    assert_eq!(send(&world, "two", &letter(&["H26"]), &[]).await.status, 201);
    limit(Quota { megabytes_per_day: NonZeroU32::new(1), ..Quota::default() });
    let large = vec![b'x'; 3_000_000];
    assert_eq!(
        send(&world, "three", &letter(&["H26"]), &[("a.txt", &large)]).await.status,
        201,
        "never cut off in the middle"
    );
    assert_eq!(send(&world, "four", &letter(&["H26"]), &[]).await.problem(429), "quota-exceeded");
    limit(Quota { requests_per_minute: NonZeroU32::new(2), ..Quota::default() });
    assert_eq!(get(&world, "N-A", "/inbox").await.status, 200);
    assert_eq!(get(&world, "N-A", "/inbox").await.status, 200);
    assert_eq!(get(&world, "N-A", "/inbox").await.problem(429), "quota-exceeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_end_within_limits_and_nothing_is_accepted() {
    let world = World::start().await;
    let (address, token) = (world.rest("N-A"), world.token("N-A").to_owned());
    let head = |length: usize, media: &str| {
        format!(
            "POST /api/v1/documents HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\nidempotency-key: h\r\ncontent-type: {media}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let media = format!("multipart/form-data; boundary={BOUNDARY}");
    let document = form(&letter(&["H26"]), &[("a", b"b")]);
    let cut = &document[..document.len() - 10];
    let unnamed = String::from_utf8(document.clone()).unwrap().replace("; filename=\"a\"", "");
    let endless = [format!("--{BOUNDARY}\r\n").into_bytes(), vec![b'x'; 8 << 20]].concat();
    let preamble = vec![b'x'; 8 << 20];
    for (what, body) in [
        ("cut", cut),
        ("a file without a name", unnamed.as_bytes()),
        ("no end of headers", &endless),
        ("no part", &preamble),
        ("nothing", b""),
    ] {
        let answer = raw(address, &[head(body.len(), &media).as_bytes(), body].concat()).await;
        assert_eq!(answer.problem(400), "invalid-request", "{what}");
    }
    let no_boundary = raw(address, &[head(2, "multipart/form-data").as_bytes(), b"{}"].concat()).await;
    assert_eq!(no_boundary.problem(400), "invalid-request");
    let long = format!("/inbox?code={}", "A".repeat(20_000));
    assert_eq!(get(&world, "N-A", &long).await.problem(400), "invalid-request");
    assert_eq!(raw(address, b"NONSENSE\r\n\r\n").await.status, 400);
    assert_eq!(get(&world, "N-A", "/outbox").await.ok(200)["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_kept_and_sent_to_over_rest() {
    let world = World::start().await;
    let path = "/groups/G22/S%E1%BB%9F%20ng%C3%A0nh";
    let call = |method: &'static str, body: Value| {
        let bearer = format!("Bearer {}", world.token("N-A"));
        let address = world.rest("N-A");
        async move {
            let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
            request(address, method, &format!("/api/v1{path}"), &headers, body.to_string().as_bytes()).await
        }
    };
    let made = call("PUT", json!({ "codes": ["H26", "H37"] })).await.ok(201);
    assert_eq!((&made["name"], &made["members"][1]["code"]), (&json!("Sở ngành"), &json!("H37")));
    call("PUT", json!({ "codes": ["H37", "H26"] })).await.ok(200);
    assert_eq!(call("PUT", json!({ "codes": ["X99"] })).await.problem(400), "invalid-request");
    assert_eq!(get(&world, "N-A", "/groups?owner=G22").await.ok(200)["items"][0]["count"], 2);
    let mut document = letter(&[]);
    document["groups"] = json!(["Sở ngành"]);
    let sent = send(&world, "group", &document, &[]).await.ok(201);
    assert_eq!(sent["recipients"].as_array().unwrap().len(), 2);
    assert_eq!(get(&world, "N-A", path).await.ok(200)["owner"], "G22");
    assert_eq!(call("DELETE", json!({})).await.status, 204);
    assert_eq!(get(&world, "N-A", path).await.problem(404), "not-found");
    assert_eq!(send(&world, "none", &document, &[]).await.problem(404), "not-found");
}

/// More than there are workers in the node of a test.
const SLOW: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_and_fetch_slowly_keep_nobody_else_waiting() {
    let world = World::start().await;
    let large = vec![b'x'; 8 << 20];
    let sent = send(&world, "large", &letter(&["H26"]), &[("a.txt", &large)]).await.ok(201);
    arrived(&world, "N-B", "").await;
    // They ask for a document and take nothing of it.
    let mut fetching = Vec::new();
    for _ in 0..SLOW {
        let mut stream = TcpStream::connect(world.rest("N-B")).await.unwrap();
        let path = format!("/api/v1/inbox/{}/attachments/a.txt?recipient=H26", sent["envelope"].as_str().unwrap());
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", world.token("N-B"));
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut begun = [0; 12];
        stream.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200");
        fetching.push(stream);
    }
    // They begin a document and go silent in its first file.
    let silent_since = Instant::now();
    let document = form(&letter(&["H26"]), &[("a.txt", b"begun, and")]);
    let mut sending = Vec::new();
    for n in 0..SLOW {
        let mut stream = TcpStream::connect(world.rest("N-A")).await.unwrap();
        let head = format!(
            "POST /api/v1/documents HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nidempotency-key: slow-{n}\r\ncontent-type: multipart/form-data; boundary={BOUNDARY}\r\ncontent-length: {}\r\n\r\n",
            world.token("N-A"),
            document.len()
        );
        stream.write_all(&[head.as_bytes(), &document[..document.len() - 20]].concat()).await.unwrap();
        sending.push(stream);
    }
    assert_eq!(send(&world, "prompt", &letter(&["H26"]), &[("b.txt", b"b")]).await.status, 201);
    let one = || async { get(&world, "N-B", "/inbox?code=H26").await.ok(200)["items"].as_array().unwrap().len() };
    until("N-B opens and shows it", one, |items| *items == 2).await;
    let waits = |stream: &TcpStream| {
        stream.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let all_wait = sending.iter().all(waits);
    // Where all of this took so long, they were silent for too long.
    let are_cut_off = silent_since.elapsed() >= Duration::from_millis(REST_STALL_MS_MAX);
    assert!(all_wait || are_cut_off, "the slow ones still wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_open_to_read_and_the_page_loads_nothing_from_elsewhere() {
    let world = World::start().await;
    let address = world.rest("N-A");
    let open = |path: &'static str| async move { request(address, "GET", path, &[], b"").await };
    let api = open("/api/v1/openapi.json").await.ok(200);
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for told in ["summary", "description", "operationId", "tags"] {
                assert!(!operation[told].is_null() && operation[told] != "", "{method} {path}: {told}");
            }
            let told = &operation["responses"]["4XX"]["content"]["application/problem+json"];
            assert!(method == "head" || !told.is_null(), "{path}");
            // Described is what is served: without a token each answers that one is missing.
            let real = path
                .replace("{upload}", &"0".repeat(32))
                .replace("{webhook}", &"0".repeat(32))
                .replace("{owner}", "G22");
            let path = &real;
            let real = path.replace("{envelope}", "019373f0-5a00-7000-8000-000000000001").replace("{leaf_hash}", "00");
            let real = real.replace("{name}", "a").replace("{code}", "H26");
            let answer = request(address, &method.to_uppercase(), &real, &[], b"").await;
            if method == "head" {
                assert_eq!(answer.status, 401, "{method} {path}");
                continue;
            }
            assert_eq!(answer.problem(401), "unauthorised", "{method} {path}");
        }
    }
    for path in ["/api/v1/docs", "/api/v1/docs/page.js", "/api/v1/docs/page.css"] {
        let answer = open(path).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        let text = String::from_utf8(answer.body).unwrap();
        assert!(!text.contains("//cdn") && !text.contains("https://") && !text.contains("http://"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verify_page_is_served_to_all_and_works_in_a_browser_from_there() {
    let world = World::start().await;
    let address = world.rest("N-A");
    let answer = request(address, "GET", "/verify", &[], b"").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-") && policy.ends_with("frame-ancestors 'none'"),
        "{policy}"
    );
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verify.html");
    assert_eq!(answer.body, std::fs::read(page).unwrap());
    let Some((node, folder)) = page_tools() else { return };
    let url = format!("http://{address}/verify");
    let mut command = std::process::Command::new(node);
    command.current_dir(folder).args(["test/served.mjs", &url]);
    let run = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
}

/// What the README tells its readers to type, over https as an old client would speak it.
#[tokio::test(flavor = "multi_thread")]
async fn curl_sends_a_form_over_tls_1_2() {
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none_or(|wanted| wanted != "1"), "curl is not there");
        eprintln!("SKIPPED: curl is not there");
        return;
    }
    let mut world = World::start().await;
    world.stop_node("N-A").await;
    world.set_rest_tls("N-A");
    world.start_node("N-A").await;
    let file = world.node_folder("N-A").join("cong-van.pdf");
    std::fs::write(&file, vec![7; 300_000]).unwrap();
    let mut command = std::process::Command::new("curl");
    // The development certificate is for no address, so it is not looked at.
    command.args(["--silent", "--show-error", "--insecure", "--tlsv1.2", "--tls-max", "1.2"]);
    command.arg("-H").arg(format!("Authorization: Bearer {}", world.token("N-A")));
    command.args(["-H", "Idempotency-Key: 15/VPCP-KSTT", "-H", "Expect: 100-continue", "-F"]);
    command.arg(format!("document={};type=application/json", letter(&["H26"])));
    command.arg("-F").arg(format!("file=@{}", file.display()));
    command.arg(format!("https://{}/api/v1/documents", world.rest("N-A")));
    let said = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let reply: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(reply["state"], "accepted", "{reply:#}");
}

/// In the role and for the codes that it was let in with; whoever shows another, or none, is nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_takes_a_tokens_place() {
    let Some(curl) = tool("curl") else { return };
    let mut world = World::start().await;
    world.stop_node("N-A").await;
    world.set_rest_tls("N-A");
    world.start_node("N-A").await;
    let asks = |files: Option<KeyFiles>, path: &str| {
        let mut command = std::process::Command::new(&curl);
        command.args(["--silent", "--show-error", "--insecure"]);
        if let Some(files) = files {
            command.arg("--cert").arg(files.certificate).arg("--key").arg(files.key);
        }
        command.arg(format!("https://{}/api/v1{path}", world.rest("N-A")));
        async move {
            let said = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            serde_json::from_slice::<Value>(&said.stdout).unwrap()
        }
    };
    let (let_in, stranger) = (world.tls_key("N-B"), world.relay_tls_key());
    let sha256 = Certificate::from_pem(&std::fs::read(&let_in.certificate).unwrap()).unwrap()[0].sha256();
    let tokens = &world.settings("N-A").tokens;
    add_certificate(tokens, "kt", sha256, CallerRole::Auditor, Default::default(), Quota::default(), clock::now())
        .unwrap();
    assert_eq!(asks(Some(let_in.clone()), "/token").await["name"], "kt");
    assert_eq!(asks(Some(let_in), "/counters").await["status"], 403, "an auditor sees no counters");
    for nobody in [Some(stranger), None] {
        assert_eq!(asks(nobody, "/token").await["status"], 401);
    }
}

/// Node.js with what the verify page is tried with, and the folder of the page's sources.
fn page_tools() -> Option<(PathBuf, PathBuf)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../verify");
    let modules = folder.join("node_modules").is_dir();
    let node = named("node").into_iter().next().filter(|_| modules && !named("chromium").is_empty());
    let node =
        required(node, "node, chromium or verify/node_modules (apt install nodejs npm chromium; npm ci in verify/)")?;
    Some((node, folder))
}
