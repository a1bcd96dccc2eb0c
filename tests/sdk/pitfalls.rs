//! Each known trap of the vendor's client, by its number in the API's description, section 8, and those of sections 3 and 6.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use truc_proto::{
    Digest,
    edxml::{Discard, read as read_packet},
};

use crate::{
    PATH, Pair,
    client::{Service, exchange, read},
    packets,
};

fn packet(n: u32) -> Vec<u8> {
    packets::document("G22", &["H26"], n, "a.pdf", b"%PDF-1.7")
}

async fn ok(pair: &Pair, service: &Service) {
    assert_eq!(service.call("countReceiveEdoc").await.json()["status"], "OK");
    assert!(pair.network.local_address("N-G22").port() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pitfalls_1_to_4_parameters_are_what_was_signed_and_nothing_else() {
    let pair = Pair::start().await;
    let (_, first) = pair.delivered(&packet(1)).await;
    let (_, second) = pair.delivered(&packet(2)).await;
    let two = pair.two();
    let (first, second) = (first["docId"].as_str().unwrap(), second["docId"].as_str().unwrap());

    // 1. A body says nothing, whatever is in it; Content-Type says JSON.
    for body in [b"".as_slice(), b"{}", b"not JSON", b"{\"messagetype\":\"status\"}"] {
        let service = two.clone().with(&[("servicetype", "eDoc"), ("messagetype", "edoc")]);
        let listed = service.post(&format!("{PATH}/getReceivedEdocList"), body).await.json();
        assert_eq!(listed["data"].as_array().unwrap().len(), 2, "{listed}");
    }

    // 2. Headers of earlier calls come along for ever: the path alone says what is to be done.
    let stale = two.clone().with(&[("docId", first), ("status", "done"), ("from", "G22"), ("hash-file", "00")]);
    assert_eq!(stale.list("edoc").await.len(), 2, "a list is a list");
    assert!(stale.fetch(second).await.starts_with(b"<?xml"));
    assert_eq!(stale.list("edoc").await.len(), 2, "fetching with `done` in the headers takes nothing");
    // A captured getEdoc is no updateStatus: what was not signed is not there.
    let captured = two.clone().with(&[("docId", first), ("filePath", "/tmp/x")]);
    let mut request = captured.head("POST", &format!("{PATH}/updateStatus"));
    request.extend_from_slice(b"XroadVnpt-status: done\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(exchange(two.address, &request).await.failure()["ErrorCode"], "1");
    assert_eq!(two.list("edoc").await.len(), 2);
    // Nor do single headers change what was signed.
    let mut request =
        two.clone().with(&[("docId", "no such"), ("filePath", "")]).head("POST", &format!("{PATH}/getEdoc"));
    request.extend_from_slice(format!("XroadVnpt-docid: {first}\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes());
    assert_eq!(exchange(two.address, &request).await.failure()["ErrorCode"], "6");
    // Two signed headers: nobody can say which counts.
    let mut request = captured.head("POST", &format!("{PATH}/getEdoc"));
    request.extend_from_slice(b"XroadVnpt-sign-header: {}\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(exchange(two.address, &request).await.failure()["ErrorCode"], "2");

    // 3. docId and docid with different values: updateStatus means docid, getEdoc docId.
    let both = two.clone().with(&[("docId", second), ("docid", first), ("status", "done")]);
    assert_eq!(both.call("updateStatus").await.json()["status"], "OK");
    let left = two.list("edoc").await;
    assert_eq!((left.len(), left[0]["docId"].as_str()), (1, Some(second)));
    let only = two.clone().with(&[("docid", second), ("status", "done")]);
    assert_eq!(only.call("updateStatus").await.json()["status"], "OK");
    assert!(two.list("edoc").await.is_empty());

    // 4. The timestamp is that of years ago, and the same call again is the same call: no nonce, no window.
    for _ in 0..2 {
        assert_eq!(both.call("updateStatus").await.json()["status"], "OK");
    }
    pair.network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pitfalls_5_and_6_files_their_hashes_and_letters_with_diacritics() {
    let pair = Pair::start().await;
    let one = pair.one();
    // 5. A hash without leading zeros: `packet` sends it so; take a file whose hash has such a byte.
    let file = (1..).map(packet).find(|file| Digest::of(file).as_bytes().iter().any(|byte| *byte < 16)).unwrap();
    assert_eq!(one.send("G22", "edoc", None, &file).await["ErrorCode"], "0");
    // A body without the line break, and a hash with all its zeros.
    let bare = packet(900);
    let service =
        one.clone().with(&[("from", "G22"), ("messagetype", "edoc"), ("hash-file", &Digest::of(&bare).to_string())]);
    let reply = service.post(&format!("{PATH}/sendEdoc"), &bare).await.json();
    assert_eq!(reply["ErrorCode"], "0", "{reply}");
    // Another file than the one signed: refused in ASCII, with a DocId and words.
    let mut request = one.packet("G22", "edoc", None, &packet(901));
    let last = request.len() - 20;
    request[last] ^= 1;
    let answer = exchange(one.address, &request).await;
    let json = answer.failure();
    assert_eq!((&json["ErrorCode"], &json["DocId"]), (&Value::from("4"), &Value::from("")), "{json}");
    assert!(String::from_utf8(answer.body).unwrap().contains(r"\u1ec7"), "escaped, and read as what it says: {json}");

    // 6. Over http the client cuts letters to bytes: control characters, or bytes beyond ASCII. Both are answered in words.
    for path in ["C:\\T\u{e0}i li\u{10}u", "C:\\T\u{e0}i"] {
        let signed_by_client = one.clone().with(&[("docId", "x"), ("filePath", "C:\\Tài liệu")]);
        let signed = signed_by_client.signed();
        let signature = signed_by_client.signature(signed.as_bytes());
        let cut: Vec<u8> =
            signed.replace("C:\\\\Tài liệu", path).chars().map(|c| u32::from(c).to_le_bytes()[0]).collect();
        let mut request = format!("POST {PATH}/getEdoc HTTP/1.1\r\nHost: x\r\nXroadVnpt-sign-header: ").into_bytes();
        request.extend_from_slice(&cut);
        request.extend_from_slice(
            format!("\r\nXroadVnpt-hash-header: {signature}\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes(),
        );
        let json = exchange(one.address, &request).await.failure();
        assert_eq!(json["ErrorCode"], "2");
        assert!(json["ErrorDesc"].as_str().unwrap().contains("https"), "{json}");
    }
    // As UTF-8, as over https, they are what was signed.
    let json = one.clone().with(&[("docId", "x"), ("filePath", "C:\\Tài liệu")]).call("getEdoc").await.failure();
    assert_eq!(json["ErrorCode"], "6");
    pair.network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pitfalls_7_8_and_12_every_failure_has_its_three_fields_and_no_id_is_a_path() {
    let pair = Pair::start().await;
    let (one, two) = (pair.one(), pair.two());
    // 7. Ids that are no ids.
    for id in ["../../etc/passwd", "a/b", "a,b:c", "%2e%2e", "0", "2f1c0d1e-0000-4000-8000-000000000001"] {
        assert_eq!(
            two.clone().with(&[("docId", id), ("filePath", "x")]).call("getEdoc").await.failure()["ErrorCode"],
            "6"
        );
        assert_eq!(two.update(id, "done").await.failure()["ErrorCode"], "6");
        let listed = two.clone().with(&[("docId", id)]).call("getSentEdocList").await;
        assert_eq!(listed.failure()["data"], Value::Array(Vec::new()));
    }
    // 8, 12. Whatever is wrong, the three fields say so; 3: HTTP 200 always, and no redirect.
    let wrong_secret = Service { secret: "wrong".into(), ..two.clone() };
    let stranger = Service::new(two.address, "nobody", &two.secret);
    let failures = [
        (wrong_secret.call("countReceiveEdoc").await, "2"),
        (stranger.call("countReceiveEdoc").await, "2"),
        (two.post(&format!("{PATH}/noSuchThing"), b"{}").await, "9"),
        (two.post("/", b"{}").await, "9"),
        (two.post("/sendEdoc", b"x").await, "9"),
        (two.get(&format!("{PATH}/updateStatus")).await, "9"),
        (two.post(&format!("{PATH}/countReceiveEdoc"), &vec![b' '; 200_000]).await, "1"),
        (two.call("getEdoc").await, "1"),
        (two.call("updateStatus").await, "1"),
        (two.clone().with(&[("docId", "x"), ("status", "eaten")]).call("updateStatus").await, "1"),
        (two.call("getReceivedEdocList").await, "1"),
        (two.call("deleteAgency").await, "1"),
        (two.clone().with(&[("AgencyCode", "h 26")]).call("deleteAgency").await, "1"),
        (two.clone().with(&[("level", "one")]).call("getAgenciesListQD20").await, "1"),
        (
            exchange(
                two.address,
                format!("POST {PATH}/getEdoc HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes(),
            )
            .await,
            "2",
        ),
    ];
    for (answer, code) in &failures {
        assert_eq!(answer.failure()["ErrorCode"], *code, "{answer:?}");
    }
    // Of sendEdoc, with a DocId: not its code, an unknown one, not a packet, nothing at all.
    for (from, to, file) in [
        ("H26", None, packet(1)),
        ("G22", Some("[\"H99\"]"), packet(1)),
        ("X", None, packet(1)),
        ("G22", None, b"this is no packet".to_vec()),
        ("G22", None, Vec::new()),
    ] {
        let reply = one.send(from, "edoc", to, &file).await;
        assert_eq!((&reply["status"], &reply["DocId"]), (&"FAIL".into(), &"".into()), "{from}: {reply}");
        assert!(reply["ErrorDesc"].as_str().is_some_and(|words| words.len() > 20), "{reply}");
    }
    // downloadEdoc: whatever is not empty is saved as a document, so a failure is empty. downloadEdoc2 sends no identity.
    for answer in [
        two.clone().with(&[("docId", "x")]).get(&format!("{PATH}/downloadEdoc")).await,
        exchange(two.address, format!("GET {PATH}/downloadEdoc HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await,
    ] {
        assert_eq!((answer.status, answer.body.as_slice()), (404, b"".as_slice()), "{answer:?}");
        assert!(answer.head.to_lowercase().contains("content-length: 0"), "{answer:?}");
    }
    // 3. An empty list is a list.
    assert!(two.list("edoc").await.is_empty() && two.list("status").await.is_empty());
    pair.network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pitfalls_9_and_10_many_idle_connections_slow_and_broken_clients_hold_up_nobody() {
    let pair = Pair::start().await;
    let one = pair.one();
    // 9. A client leaves one connection open for each list; here are thousands, silent and half spoken.
    // Each costs two open files here, its client's and the node's.
    let files = truc_node::sdk::raise_file_limit();
    let mut idle = Vec::new();
    for n in 0..5_000.min(files / 8) {
        let mut stream = TcpStream::connect(one.address).await.unwrap();
        if n % 3 == 0 {
            stream.write_all(b"POST /api/v1/getEdoc HTTP/1.1\r\nXroadVnpt-").await.unwrap();
        }
        idle.push(stream);
    }
    ok(&pair, &one).await;
    // sendEdoc uses its connection again.
    let mut kept = TcpStream::connect(one.address).await.unwrap();
    for n in 1..=3 {
        kept.write_all(&one.packet("G22", "edoc", None, &packet(n))).await.unwrap();
        assert_eq!(read(&mut kept).await.json()["status"], "OK");
    }
    // 10. A body that never comes, one cut off, one longer than was said: the next client is served.
    let mut never = TcpStream::connect(one.address).await.unwrap();
    let request = one.packet("G22", "edoc", None, &packet(5));
    never.write_all(&request[..request.len() - 100]).await.unwrap();
    let mut cut = TcpStream::connect(one.address).await.unwrap();
    cut.write_all(&request[..request.len() - 100]).await.unwrap();
    cut.shutdown().await.unwrap();
    let mut long = TcpStream::connect(one.address).await.unwrap();
    long.write_all(&[one.packet("G22", "edoc", None, &packet(6)), b"and more of it\r\n\r\n".to_vec()].concat())
        .await
        .unwrap();
    assert_eq!(read(&mut long).await.json()["status"], "OK", "what was announced is what counts");
    ok(&pair, &one).await;
    // What was cut off is no document.
    let sent =
        one.clone().with(&[("messagetype", "edoc"), ("servicetype", "eDoc")]).call("getSentEdocList").await.json();
    assert_eq!(sent["data"].as_array().unwrap().len(), 4, "{sent}");
    drop((idle, never));
    pair.network.stop().await;
}

/// Sends a packet and goes away without hearing the answer.
async fn send_and_leave(address: SocketAddr, request: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn section_6_a_lost_reply_makes_no_second_document_and_an_early_failure_is_still_heard() {
    let pair = Pair::start().await;
    let (one, two) = (pair.one(), pair.two());
    let request = one.packet("G22", "edoc", None, &packet(1));
    // The client's HTTP library sends the same bytes again by itself, perhaps while the first are being dealt with.
    send_and_leave(one.address, &request).await;
    let (first, second) = tokio::join!(exchange(one.address, &request), exchange(one.address, &request));
    let (first, second) = (first.json(), second.json());
    assert_eq!((&first["status"], &first["DocId"]), (&"OK".into(), &second["DocId"]), "{first} {second}");
    pair.network.wait_consigned("G22", first["DocId"].as_str().unwrap()).await;
    assert_eq!(two.list("edoc").await.len(), 1);
    // The same file for others is another sending.
    let other = one.send("G22", "edoc", Some("[\"H26.18\"]"), &packet(1)).await;
    assert_eq!(other["status"], "OK", "{other}");
    assert_ne!(other["DocId"], first["DocId"]);
    pair.network.wait_consigned("G22", other["DocId"].as_str().unwrap()).await;
    let to: Vec<_> = two.list("edoc").await.iter().map(|item| item["to"].clone()).collect();
    assert_eq!(to, ["H26", "H26.18"], "recipients are those of `to`, where it is given");

    // A failure known before the body has come is told after it: else the client sees none.
    let stranger = Service { secret: "wrong".into(), ..one.clone() };
    let large = vec![b'x'; 8 << 20];
    let mut stream = TcpStream::connect(one.address).await.unwrap();
    stream.write_all(&stranger.packet("G22", "edoc", None, &large)).await.unwrap();
    let json = read(&mut stream).await.failure();
    assert_eq!((&json["ErrorCode"], &json["DocId"]), (&Value::from("2"), &Value::from("")));
    // And the connection goes on.
    stream.write_all(&request).await.unwrap();
    assert_eq!(read(&mut stream).await.json()["DocId"], first["DocId"]);
    // A hand-over is recorded once, a failure after it is refused, and a document refused first can still be taken.
    let listed = two.list("edoc").await;
    let id = |n: usize| listed[n]["docId"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        assert_eq!(two.update(&id(0), "done").await.json()["status"], "OK");
    }
    assert_eq!(two.update(&id(0), "fail").await.failure()["ErrorCode"], "7");
    for _ in 0..2 {
        assert_eq!(two.update(&id(1), "fail").await.json()["status"], "OK");
    }
    assert!(two.list("edoc").await.is_empty());
    let envelope = other["DocId"].as_str().unwrap();
    let failed = |item: &truc_proto::node_v1::OutboxItem| {
        item.recipients[0].ladder.iter().any(|step| step.event == "ContentHandoverFailure")
    };
    pair.network.wait_sent("the failed hand-over to be known", "G22", envelope, failed).await;
    assert!(two.fetch(&id(0)).await.starts_with(b"<?xml"), "what was taken can be fetched again");
    pair.network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pitfalls_11_and_13_large_packets_pass_and_unsafe_ones_never_reach_the_clients_parser() {
    let pair = Pair::start().await;
    let (one, two) = (pair.one(), pair.two());
    // 11. 12 MB of what does not compress, there and back, byte for byte but for the trace.
    let mut seed = truc_tests::seed::Seed::of(7);
    let file: Vec<u8> = (0..1_500_000).flat_map(|_| seed.draw().to_le_bytes()).collect();
    let large = packets::document("G22", &["H26"], 1, "lớn.pdf", &file);
    let (_, item) = pair.delivered(&large).await;
    let id = item["docId"].as_str().unwrap();
    let came = two.fetch(id).await;
    assert_eq!(read_packet(came.as_slice(), &mut Discard).unwrap().attachments[0].sha256, Digest::of(&file));
    let downloaded = two.clone().with(&[("docId", id)]).get(&format!("{PATH}/downloadEdoc")).await;
    assert_eq!((downloaded.status, downloaded.body == came), (200, true));

    // 13. What the client's parser would act on: a DOCTYPE, a path in a ZIP's entry, two entries, a path in Format.
    let text = String::from_utf8(packet(2)).unwrap();
    let doctype = text.replacen("?>", "?>\r\n<!DOCTYPE edXML [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>", 1);
    assert_ne!(doctype, text);
    let zipped = packets::document("G22", &["H26"], 3, "a.txt", b"text");
    let slip = in_its_zip(&zipped, |zip| rename_entry(zip, b"../"));
    let backslash = in_its_zip(&zipped, |zip| rename_entry(zip, b"..\\"));
    let format = text.replacen("<AttachmentName>", "<Format>../../x</Format><AttachmentName>", 1);
    let format =
        format.replacen("<edXML:AttachmentName>", "<edXML:Format>../../x</edXML:Format><edXML:AttachmentName>", 2);
    assert_ne!(format, text);
    for (what, packet) in
        [("DOCTYPE", doctype.into_bytes()), ("slip", slip), ("backslash", backslash), ("Format", format.into_bytes())]
    {
        let reply = one.send("G22", "edoc", None, &packet).await;
        assert_eq!((&reply["status"], &reply["DocId"]), (&"FAIL".into(), &"".into()), "{what}: {reply}");
    }
    assert_eq!(two.list("edoc").await.len(), 1);
    pair.network.stop().await;
}

/// Changes the ZIP in which an attachment travels.
fn in_its_zip(packet: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let text = std::str::from_utf8(packet).unwrap();
    let tag = "ContentTransferEncoded";
    let open = text.find(tag).map(|at| at + text[at..].find('>').unwrap() + 1).unwrap();
    let close = open + text[open..].find("</").unwrap();
    let mut zip = data_encoding::BASE64.decode(text[open..close].trim().as_bytes()).unwrap();
    assert!(zip.starts_with(b"PK\x03\x04"));
    change(&mut zip);
    format!("{}{}{}", &text[..open], data_encoding::BASE64.encode(&zip), &text[close..]).into_bytes()
}

/// Puts a path at the beginning of the entry's name, in the local header and in the directory.
fn rename_entry(zip: &mut [u8], path: &[u8]) {
    let length = usize::from(u16::from_le_bytes([zip[26], zip[27]]));
    let name = zip[30..30 + length].to_vec();
    let places: Vec<usize> = zip.windows(length).enumerate().filter(|(_, w)| *w == name).map(|(at, _)| at).collect();
    assert_eq!(places.len(), 2);
    for at in places {
        zip[at..at + path.len()].copy_from_slice(path);
    }
}
