//! A packet of 50 MB through sendEdoc, and back through downloadEdoc, in constant memory: sender's node, relay and recipient's node in one process,
//! and the client streams, too.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use data_encoding::{BASE64, HEXLOWER};
use ring::hmac;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use truc_proto::{Digest, Hasher};
use truc_tests::{
    network::{Layout, Network},
    seed::Seed,
};

/// Bytes of the attachment in one piece; of three, so that pieces of base64 go behind one another.
const PIECE_BYTES: usize = 3 * 16 * 1024;
/// Pieces of the attachment: 38 MB, 51 MB as base64.
const PIECES: usize = 780;
/// What the process may need above what it needed for a small packet. Each of three parties holds some chunks of a megabyte.
const GROWTH_KIB_MAX: u64 = 40 * 1024;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<edXML xmlns=\"http://www.mic.gov.vn/TBT/QCVN_102_2016\">\
    <edXML:edXMLEnvelope xmlns:edXML=\"http://www.mic.gov.vn/TBT/QCVN_102_2016\"><edXML:edXMLHeader><edXML:MessageHeader>\
    <edXML:From><edXML:OrganId>G22</edXML:OrganId><edXML:OrganName>Cơ quan G22</edXML:OrganName></edXML:From>\
    <edXML:To><edXML:OrganId>H26</edXML:OrganId><edXML:OrganName>Cơ quan H26</edXML:OrganName></edXML:To>\
    <edXML:DocumentId>G22,2026/11/20,SIZE/KH</edXML:DocumentId>\
    <edXML:Code><edXML:CodeNumber>45</edXML:CodeNumber><edXML:CodeNotation>KH</edXML:CodeNotation></edXML:Code>\
    <edXML:PromulgationInfo><edXML:Place>Hà Nội</edXML:Place><edXML:PromulgationDate>2026/11/20</edXML:PromulgationDate></edXML:PromulgationInfo>\
    <edXML:DocumentType><edXML:Type>1</edXML:Type><edXML:TypeName>Công văn</edXML:TypeName></edXML:DocumentType>\
    <edXML:Subject>Lớn</edXML:Subject></edXML:MessageHeader>\
    <edXML:TraceHeaderList><edXML:Bussiness><edXML:BussinessDocType>0</edXML:BussinessDocType></edXML:Bussiness></edXML:TraceHeaderList>\
    </edXML:edXMLHeader><edXML:edXMLBody><edXML:edXMLManifest version=\"1.0\"><edXML:Reference>\
    <edXML:ContentId>cid:a</edXML:ContentId><edXML:ContentType>application/zip</edXML:ContentType>\
    <edXML:AttachmentName>a.pdf</edXML:AttachmentName></edXML:Reference></edXML:edXMLManifest></edXML:edXMLBody>\
    </edXML:edXMLEnvelope><AttachmentEncoded><Attachment><ContentId>cid:a</ContentId>\
    <AttachmentName>a.pdf</AttachmentName><ContentType>application/pdf</ContentType><ContentTransferEncoded>";
const TAIL: &str = "</ContentTransferEncoded></Attachment></AttachmentEncoded></edXML>";

/// The packet with so many pieces, one part at a time.
fn parts(pieces: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut seed = Seed::of(11);
    let piece = move |_| {
        let bytes: Vec<u8> = (0..PIECE_BYTES / 8).flat_map(|_| seed.draw().to_le_bytes()).collect();
        BASE64.encode(&bytes).into_bytes()
    };
    let head = HEAD.replace("SIZE", &pieces.to_string()).into_bytes();
    std::iter::once(head).chain((0..pieces).map(piece)).chain([TAIL.as_bytes().to_vec()])
}

fn head(secret: &str, system: &str, method: &str, operation: &str, parameters: &[(&str, String)]) -> String {
    let fields = parameters.iter().map(|(name, value)| (format!("XroadVnpt-{name}"), value.clone().into()));
    let mut signed: serde_json::Map<String, serde_json::Value> = fields.collect();
    signed.insert("XroadVnpt-systemid".into(), system.into());
    let signed = serde_json::Value::Object(signed).to_string();
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!(
        "{method} /{operation} HTTP/1.1\r\nHost: x\r\nXroadVnpt-sign-header: {signed}\r\nXroadVnpt-hash-header: {}\r\n",
        HEXLOWER.encode(mac.as_ref())
    )
}

/// Sends a packet as it is made, waits until it is there, and reads it back; gives the length of what came.
async fn there_and_back(network: &Network, secrets: &[String; 2], pieces: usize) -> usize {
    let (mut hasher, mut length) = (Hasher::default(), 0);
    for part in parts(pieces) {
        hasher.update(&part);
        length += part.len();
    }
    let hash: Digest = hasher.finish();
    let told =
        [("from", "G22".into()), ("messagetype", "edoc".into()), ("hash-file", truc_proto::sdk::unpadded_hex(&hash))];
    let mut stream = TcpStream::connect(network.sdk_address("N-G22")).await.unwrap();
    stream.write_all(head(&secrets[0], "one", "POST", "sendEdoc", &told).as_bytes()).await.unwrap();
    stream.write_all(format!("Connection: close\r\nContent-Length: {}\r\n\r\n", length + 2).as_bytes()).await.unwrap();
    for part in parts(pieces) {
        stream.write_all(&part).await.unwrap();
    }
    stream.write_all(b"\r\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(json["status"], "OK", "{json}");
    let doc_id = json["DocId"].as_str().unwrap();
    network.wait_consigned("G22", doc_id).await;

    let sent: truc_proto::EnvelopeId = doc_id.parse().unwrap();
    let key = truc_node::core::Key { envelope: sent, sender: "G22".parse().unwrap() };
    let told = [("docId", truc_node::sdk::doc_id(&key, &"H26".parse().unwrap()))];
    let mut stream = TcpStream::connect(network.sdk_address("N-H26")).await.unwrap();
    let request = head(&secrets[1], "two", "GET", "downloadEdoc", &told) + "Connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut buffer, mut came) = (vec![0; 64 * 1024], 0);
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => return came,
            read => came += read,
        }
    }
}

/// Most memory that the process has needed since it was last asked to forget that, in KiB.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").trim().parse();
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    peak.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_of_50_mb_goes_there_and_back_in_constant_memory() {
    let layout = Layout::new(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).with_sdk("");
    let network = Network::make(layout).await;
    let secrets = [network.add_system("N-G22", "one", &["G22"]), network.add_system("N-H26", "two", &["H26"])];
    network.start_all().await;
    let Some(_) = peak_kib() else {
        assert!(
            std::env::var_os("TRUC_REQUIRE_TOOLS").is_none_or(|v| v != "1"),
            "this system does not tell its peak of memory"
        );
        return eprintln!("SKIPPED: this system does not tell its peak of memory");
    };
    // 5 MB: everything that streams has all its buffers.
    there_and_back(&network, &secrets, 80).await;
    let before = peak_kib().unwrap();
    let came = there_and_back(&network, &secrets, PIECES).await;
    let after = peak_kib().unwrap();
    assert!(came > 50_000_000, "{came}");
    println!("peak before {before} KiB, with {came} bytes {after} KiB");
    assert!(after < before + GROWTH_KIB_MAX, "{before} KiB before, {after} KiB with a packet of {came} bytes");
    network.stop().await;
}
