use std::fs;

use truc_node::{
    pipeline::{FetchWhat, Pipeline, PipelineError},
    records::{Content, Incoming},
};
use truc_proto::{
    BusinessStatus, Digest, EnvelopeJson, EnvelopeKind, Preamble, Raw, StatusCode,
    edxml::{self, Collect, Discard, Message},
};
use truc_signer::asic;

use crate::{
    packets::{PacketOf, document_header, file, noise, packet_header, pieces},
    world::{Bucket, World, code, digest},
};

fn fetch(world: &World, node: &str, incoming: &Incoming, content: &Content, what: &FetchWhat) -> Bucket {
    let mut bucket = Bucket::default();
    world.nodes[node].pipes.fetch(incoming, content, what, &mut bucket).unwrap();
    bucket
}

fn edxml_form() -> FetchWhat {
    FetchWhat::Edxml { stamps: Vec::new() }
}

#[track_caller]
fn content_of(opened: truc_node::pipeline::Opened, codes: &[&str]) -> Content {
    let all: Vec<_> = codes.iter().map(|name| (code(name), true)).collect();
    let found: Vec<_> = opened.outcomes.iter().map(|(code, outcome)| (code.clone(), outcome.is_ok())).collect();
    assert_eq!(found, all, "{:?}", opened.outcomes);
    opened.content.unwrap()
}

#[test]
fn a_packet_reaches_every_code_of_every_node_with_its_bytes_unchanged() {
    let world = World::new();
    let scan = noise(300_000, 7);
    let files: [(&str, &[u8]); 2] = [("Công văn.pdf", b"%PDF-1.7 x"), ("bản quét.tif", &scan)];
    let packet = PacketOf::default().bytes(&files);
    let sealed = world.sealed(packet_header("k1"), pieces(&packet));
    assert_eq!(sealed.outgoing.payload.inline, None, "this long, it is a blob");
    let preamble = Raw::<Preamble>::parse(sealed.outgoing.preamble.clone()).unwrap();
    assert_eq!(preamble.recipients, [code("H37"), code("H37.DN.001"), code("H49")]);
    assert_eq!((preamble.kind, preamble.priority.value()), (EnvelopeKind::Document, 3));
    assert_eq!(sealed.outgoing.about.subject, "Công văn thử");

    let (incoming, envelopes) = world.deliver(&sealed, "N-H37");
    let content = content_of(world.open("N-H37", &incoming, &envelopes), &["H37", "H37.DN.001"]);
    assert_eq!((content.verdict.as_str(), content.about.document_id.as_str()), ("good", "H26,2026/11/22,1/CV"));
    assert_eq!(content.about.container_length, sealed.outgoing.about.container_length);

    let container = fetch(&world, "N-H37", &incoming, &content, &FetchWhat::Container { offset: 0 });
    assert_eq!(container.length, Some(content.about.container_length));
    let entries = asic::list(container.bytes.as_slice()).unwrap();
    let found = entries.iter().find(|entry| entry.name.as_str() == "packet.edxml").unwrap();
    assert_eq!(found.digest, Digest::of(&packet), "byte for byte");
    let resumed = fetch(&world, "N-H37", &incoming, &content, &FetchWhat::Container { offset: 1_234 });
    assert_eq!(resumed.bytes, &container.bytes[1_234..]);

    let stamped = FetchWhat::Edxml { stamps: vec![("R1".to_owned(), world.now)] };
    let delivered = fetch(&world, "N-H37", &incoming, &content, &stamped).bytes;
    let mut contents = Collect::default();
    let parsed = edxml::read(delivered.as_slice(), &mut contents).unwrap();
    assert_eq!(contents.0, [files[0].1, files[1].1]);
    let Message::Document(read) = parsed.message else { panic!("a document") };
    let organs: Vec<String> = read.trace.traces.iter().map(|t| t.organ_id.as_ref().unwrap().to_string()).collect();
    assert_eq!(organs, ["H26", "R1"]);

    let one = fetch(&world, "N-H37", &incoming, &content, &FetchWhat::Attachment("bản quét.tif".to_owned()));
    assert_eq!((one.length, one.bytes), (Some(scan.len() as u64), scan.clone()));
    let error = world.nodes["N-H37"]
        .pipes
        .fetch(&incoming, &content, &FetchWhat::Attachment("none.pdf".to_owned()), &mut Bucket::default())
        .unwrap_err();
    assert!(matches!(error, PipelineError::NotInDocument(_)), "{error}");

    let (incoming, envelopes) = world.deliver(&sealed, "N-H49");
    let other = content_of(world.open("N-H49", &incoming, &envelopes), &["H49"]);
    assert_eq!(other.opening, content.opening, "everybody got the same");
}

#[test]
fn fields_and_files_become_a_document_that_is_rendered_as_a_packet() {
    let world = World::new();
    let table = noise(20_000, 3);
    let parts: Vec<_> = [file("Kế hoạch.docx", b"PK plan"), file("Phụ lục.xlsx", &table)].concat();
    let sealed = world.sealed(document_header("k2", &["H37", "H49", "A11"]), parts);
    assert!(sealed.outgoing.payload.inline.is_some(), "short ones stay in the record");
    let (incoming, envelopes) = world.deliver(&sealed, "N-H49");
    let content = content_of(world.open("N-H49", &incoming, &envelopes), &["A11", "H49"]);
    assert_eq!(content.about.document_id, "H26,2026/11/22,17/KH-UBND");
    let names: Vec<&str> = content.about.attachments.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["Kế hoạch.docx", "Phụ lục.xlsx"]);

    let one = fetch(&world, "N-H49", &incoming, &content, &FetchWhat::Attachment("Phụ lục.xlsx".to_owned()));
    assert_eq!(one.bytes, table);
    let rendered = fetch(&world, "N-H49", &incoming, &content, &edxml_form()).bytes;
    let mut contents = Collect::default();
    let parsed = edxml::read(rendered.as_slice(), &mut contents).unwrap();
    assert_eq!(contents.0, [b"PK plan".as_slice(), &table]);
    let Message::Document(packet) = parsed.message else { panic!("a document") };
    assert_eq!(packet.header.from.organ_id.unwrap().as_str(), "H26");
    assert_eq!(packet.header.to.len(), 3);
    assert_eq!((packet.header.other.priority, packet.trace.traces.len()), (Some(2), 1));
}

#[test]
fn attachments_in_front_of_the_header_are_spooled_and_change_nothing() {
    let world = World::new();
    let scan = noise(3_000_000, 9);
    let packet = PacketOf::default().attachments_first(&[("scan.pdf", &scan)]);
    let sealed = world.sealed(packet_header("k3"), pieces(&packet));
    let (incoming, envelopes) = world.deliver(&sealed, "N-H37");
    let content = content_of(world.open("N-H37", &incoming, &envelopes), &["H37", "H37.DN.001"]);
    let one = fetch(&world, "N-H37", &incoming, &content, &FetchWhat::Attachment("scan.pdf".to_owned()));
    assert_eq!(Digest::of(&one.bytes), Digest::of(&scan));
    let spool = world.sender().folder.path().join("store/spool");
    assert_eq!(fs::read_dir(spool).unwrap().count(), 0, "nothing stays");
}

#[test]
fn no_file_of_either_node_holds_plaintext() {
    let world = World::new();
    let secret = "bí mật công tác, chỉ người nhận được đọc: ".repeat(10_000);
    // Beside it something that does not compress, so that the payload is long enough to be a file.
    let files: [(&str, &[u8]); 2] = [("a.zip", secret.as_bytes()), ("b.zip", &noise(200_000, 1))];
    let packet = PacketOf::default().attachments_first(&files);
    let sealed = world.sealed(packet_header("k4"), pieces(&packet));
    let (incoming, envelopes) = world.deliver(&sealed, "N-H37");
    content_of(world.open("N-H37", &incoming, &envelopes), &["H37", "H37.DN.001"]);
    let mut folders: Vec<_> = ["N-H26", "N-H37"].map(|node| world.nodes[node].folder.path().to_owned()).to_vec();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            seen += 1;
            let bytes = fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            for plain in ["AttachmentEncoded", "packet.edxml", "bí mật công tác"] {
                assert!(!text.contains(plain), "{plain} in {}", entry.path().display());
            }
        }
    }
    assert!(seen >= 2, "both payloads were looked at");
}

#[test]
fn a_packet_of_an_older_form_of_code_is_sent_with_a_warning_and_unchanged() {
    let world = World::new();
    let packet = PacketOf { from: "000.00.00.H26", to: &["H37"], ..PacketOf::default() }.bytes(&[]);
    let sealed = world.sealed(packet_header("k5"), pieces(&packet));
    assert!(sealed.outgoing.about.warnings.iter().any(|warning| warning.contains("000.00.00.H26")));
    let (incoming, envelopes) = world.deliver(&sealed, "N-H37");
    content_of(world.open("N-H37", &incoming, &envelopes), &["H37"]);
}

#[test]
fn a_status_is_sealed_to_its_counterpart_and_rendered_as_a_status_packet() {
    let world = World::new();
    let document = truc_proto::EnvelopeId::new(world.now, [9; 10]);
    let status = BusinessStatus {
        status: StatusCode::Refused.uri(),
        code: StatusCode::Refused,
        from: code("H26"),
        to: code("H37"),
        document,
        document_id: Some("H37,2026/11/20,5/BC".to_owned()),
        reason: Some("Sai nơi nhận".to_owned()),
        staff: Some("Nguyễn Văn A".to_owned()),
        sequence: 1,
        time: world.now,
    };
    let hash = Digest::of(b"request");
    let composed = world
        .sender()
        .pipes
        .compose_status(status, truc_proto::WireLevel::Ordinary, "s1", hash, &world.directory, world.moment(4))
        .unwrap();
    let truc_node::pipeline::Composed::Sealed(sealed) = composed else { panic!("sealed") };
    assert_eq!((digest(&sealed.outgoing.request_hash), sealed.outgoing.status.is_empty()), (hash, false));
    let (incoming, envelopes) = world.deliver(&sealed, "N-H37");
    let content = content_of(world.open("N-H37", &incoming, &envelopes), &["H37"]);
    assert_eq!(content.status, sealed.outgoing.status);
    let rendered = fetch(&world, "N-H37", &incoming, &content, &edxml_form()).bytes;
    let Message::Status(packet) = edxml::read(rendered.as_slice(), &mut Discard).unwrap().message else {
        panic!("a status")
    };
    assert_eq!(packet.status_code.as_deref(), Some("02"));
    assert_eq!(packet.description.as_deref(), Some("Sai nơi nhận"));
    assert_eq!(packet.response_for.code.as_deref(), Some("5/BC"));
}

#[test]
fn one_request_has_one_hash_and_another_content_another() {
    let world = World::new();
    let hash = |header, bytes: &[u8]| digest(&world.sealed(header, pieces(bytes)).outgoing.request_hash);
    let (one, other) = (PacketOf::default().bytes(&[("a.pdf", b"1")]), PacketOf::default().bytes(&[("a.pdf", b"2")]));
    assert_eq!(hash(packet_header("k"), &one), hash(packet_header("k"), &one));
    assert_ne!(hash(packet_header("k"), &one), hash(packet_header("k"), &other));
    let ordinary = truc_proto::node_v1::SendHeader { ttl_s: 86_400, ..packet_header("k") };
    assert_ne!(hash(packet_header("k"), &one), hash(ordinary, &one));
}

#[test]
fn the_salt_and_the_recorded_parts_open_the_commitment() {
    let world = World::new();
    let sealed = world.sealed(document_header("k6", &["H37"]), file("a.pdf", b"content"));
    let preamble = Raw::<Preamble>::parse(sealed.outgoing.preamble.clone()).unwrap();
    let salt = world.sender().pipes.salt(&sealed.outgoing.wrapped, &preamble.sender, preamble.envelope).unwrap();
    let opening = sealed.outgoing.opening.unwrap();
    assert_eq!(asic::content_commitment(&asic::ContentSalt(salt), &opening.manifest), sealed.commitment);
    let envelope = Raw::<EnvelopeJson>::parse(opening.envelope).unwrap();
    assert_eq!((envelope.preamble, envelope.trace.len()), (preamble.digest(), 1));
    assert_eq!(envelope.attachments[0].sha256, Digest::of(b"content"));
}
