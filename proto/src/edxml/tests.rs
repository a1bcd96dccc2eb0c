//! Walks the folders of vectors, so that none is forgotten, and tries what no file can show.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::*;
use crate::{Digest, Timestamp, limits::XML_PIECE_BYTES_MAX};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/edxml").join(name)
}

/// Every vector of a folder: its name, its bytes, what is expected.
fn vectors(name: &str, extension: &str) -> Vec<(String, Vec<u8>, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == extension));
    paths.sort();
    let read = |path: &PathBuf| {
        let expected = fs::read_to_string(path.with_extension("expect")).unwrap();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap(), expected)
    };
    paths.iter().map(read).collect()
}

fn parsed(name: &str) -> Parsed {
    read(fs::read(folder("accepted").join(name)).unwrap().as_slice(), &mut Discard).unwrap()
}

fn document(name: &str) -> Packet {
    match parsed(name).message {
        Message::Document(packet) => *packet,
        Message::Status(_) => panic!("{name} is a status packet"),
    }
}

#[test]
fn every_accepted_vector_is_read_as_expected() {
    let vectors = vectors("accepted", "edxml");
    assert!(vectors.len() >= 50, "{}", vectors.len());
    for (name, bytes, expected) in vectors {
        let mut sink = Collect::default();
        let parsed = read(bytes.as_slice(), &mut sink).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut lines = vec![format!("kind {}", Report::of(&parsed).kind)];
        for (attachment, content) in parsed.attachments.iter().zip(&sink.0) {
            assert_eq!(Digest::of(content), attachment.sha256, "{name}");
            assert_eq!(content.len() as u64, attachment.bytes, "{name}");
            let form = if attachment.form == Form::Raw { "raw" } else { "zip" };
            lines.push(format!("attachment {} {} {form} {}", attachment.sha256, attachment.bytes, attachment.name));
        }
        assert_eq!(sink.0.len(), parsed.attachments.len(), "{name}");
        lines.extend(parsed.warnings.iter().map(|warning| format!("warning {} {}", warning.kind.key(), warning.path)));
        let mut wanted: Vec<&str> = expected.lines().collect();
        lines.sort();
        wanted.sort_unstable();
        assert_eq!(lines, wanted, "{name}");
    }
}

#[test]
fn every_refused_vector_is_refused_for_its_reason() {
    let vectors = vectors("refused", "xml");
    assert!(vectors.len() >= 60, "{}", vectors.len());
    for (name, bytes, expected) in vectors {
        let error = read(bytes.as_slice(), &mut Discard).err().unwrap_or_else(|| panic!("{name} was accepted"));
        let defect = error.defect().unwrap_or_else(|| panic!("{name}: {error}"));
        assert_eq!(defect.full_key(), expected.trim(), "{name}: {error}");
        assert!(error.to_string().contains("line "), "{name}: {error}");
        assert!(error.vietnamese().starts_with("Bị từ chối tại dòng "), "{name}");
    }
}

/// Gives one byte at a time, so that every boundary falls everywhere.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.0.len().min(out.len()).min(1);
        let (now, later) = self.0.split_at(length);
        out[..length].copy_from_slice(now);
        self.0 = later;
        Ok(length)
    }
}

#[test]
fn how_the_bytes_arrive_does_not_matter() {
    for (name, bytes, _) in vectors("accepted", "edxml") {
        let whole = read(bytes.as_slice(), &mut Discard).unwrap();
        assert_eq!(read(Drip(&bytes), &mut Discard).unwrap(), whole, "{name}");
    }
    for (name, bytes, expected) in vectors("refused", "xml").into_iter().filter(|(_, bytes, _)| bytes.len() < 20_000) {
        let error = read(Drip(&bytes), &mut Discard).unwrap_err();
        assert_eq!(error.defect().unwrap().full_key(), expected.trim(), "{name}");
    }
}

#[test]
fn a_document_is_read_field_by_field() {
    let packet = document("update.edxml");
    let header = &packet.header;
    assert_eq!(header.from.organ_id.as_ref().unwrap().as_str(), "H98.1");
    assert_eq!(header.from.organ_name.as_deref(), Some("Ủy ban nhân dân Ví Dụ"));
    assert_eq!(header.to[0].organ_id.as_ref().unwrap().as_str(), "H98.2");
    assert_eq!(header.document_id.as_deref(), Some("H98.1,2031/02/03,45/UBND-VX"));
    assert_eq!((header.code_number.as_deref(), header.code_notation.as_deref()), (Some("45"), Some("UBND-VX")));
    assert_eq!(header.promulgation_date, Some(Date::new(2031, 2, 3).unwrap().into()));
    assert_eq!((header.document_type, header.type_name.as_deref()), (Some(1), Some("Công văn")));
    assert_eq!(header.subject.as_deref(), Some("V/v lấy ví dụ <&> Đ"));
    assert_eq!((header.other.priority, header.other.page_amount), (Some(1), Some(2)));
    let business = packet.trace.business.as_ref().unwrap();
    assert_eq!(business.kind(), Some(BusinessKind::Update));
    assert_eq!(business.reason.as_deref(), Some("Bổ sung nơi nhận"));
    assert_eq!(business.document_infos[0].receivers[0].organ_id.as_ref().unwrap().as_str(), "H98.3");
    assert_eq!(business.staff[0].staff.as_deref(), Some("Lê Thị Ví Dụ"));
    let hop = packet.trace.traces[0].timestamp.as_ref().unwrap();
    assert_eq!(hop.value.unwrap().to_string(), "2031-02-03T01:09:10.000Z");
    assert_eq!(packet.references[0].content_id.as_deref(), Some("a1"));

    let replaced = document("replace.edxml").trace.business.unwrap().replacements;
    assert_eq!(replaced[0].document_id.as_deref(), Some("H98.1,2031/01/05,12/UBND-VX"));
    assert_eq!(replaced[0].organ_ids.len(), 2);
    assert_eq!(document("comments-pi-cdata.edxml").header.subject.as_deref(), Some("V/v lấy <ví dụ> Đ"));
    assert_eq!(document("duplicates.edxml").header.subject.as_deref(), Some("Bản sau"));
    assert_eq!(document("zero-width.edxml").header.to[0].organ_id.as_ref().unwrap().as_str(), "H98.2");
}

#[test]
fn a_status_is_read_field_by_field() {
    let Message::Status(status) = parsed("status-02.edxml").message else { panic!("not a status") };
    assert_eq!(status.status_code.as_deref(), Some("02"));
    assert_eq!(status.description.as_deref(), Some("mô tả ví dụ"));
    assert_eq!(status.response_for.document_id.as_deref(), Some("H98.1,2031/02/03,45/UBND-VX"));
    assert_eq!(status.from.organization_in_charge.as_deref(), Some("Bộ Giả Định"));
    assert_eq!(status.timestamp.unwrap().value.unwrap().to_string(), "2031-02-04T03:11:12.000Z");
}

#[test]
fn only_the_right_namespace_is_readable_by_existing_clients() {
    assert!(parsed("new.edxml").readable_by_sdk && parsed("no-prefix.edxml").readable_by_sdk);
    assert!(!parsed("edoc-namespace.edxml").readable_by_sdk);
}

#[test]
fn positions_count_lines_and_characters() {
    let error = read("<a>\n  <b>Đ&x;</b></a>".as_bytes(), &mut Discard).unwrap_err();
    let ReadError::Refused { at, .. } = &error else { panic!("{error}") };
    assert_eq!(*at, Position { byte: 11, line: 2, column: 7 });
    assert!(error.to_string().starts_with("refused at line 2, column 7 (byte 11): the reference &x; names nothing"));
}

/// What goes into a round trip: two files the SDK would wrap, one it would not.
fn files() -> [(&'static str, Vec<u8>); 4] {
    let noise: Vec<u8> =
        (0..75_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n % 32).to_le_bytes()).collect();
    [("Công văn.pdf", noise.clone()), ("Bảng.xlsx", noise), ("ghi chú.txt", b"a\r\nb".to_vec()), ("trong.bin", vec![])]
}

fn written(message: &Message, files: &[(&str, Vec<u8>)]) -> Result<Vec<u8>, WriteError> {
    let mut readers: Vec<&[u8]> = files.iter().map(|(_, content)| content.as_slice()).collect();
    let mut attachments: Vec<OutgoingAttachment<'_>> = readers
        .iter_mut()
        .zip(files)
        .enumerate()
        .map(|(n, (content, (name, _)))| OutgoingAttachment {
            content_id: format!("id-{n}"),
            name: (*name).to_owned(),
            description: (n == 1).then(|| "mô tả <1>".to_owned()),
            content,
        })
        .collect();
    let mut out = Vec::new();
    write_packet(message, &mut attachments, &FieldLengths::default(), &mut out)?;
    Ok(out)
}

#[test]
fn what_is_written_is_read_back_the_same() {
    for name in ["new", "revoke", "update", "replace", "comments-pi-cdata"] {
        let packet = document(&format!("{name}.edxml"));
        let bytes = written(&Message::Document(Box::new(packet.clone())), &files()).unwrap();
        let mut sink = Collect::default();
        let back = read(bytes.as_slice(), &mut sink).unwrap();
        assert_eq!(sink.0, files().map(|(_, content)| content), "{name}");
        assert_eq!(back.warnings, [], "{name}");
        assert!(back.readable_by_sdk);
        assert_eq!(back.attachments[0].form, Form::Raw);
        assert_eq!(back.attachments[1].form, Form::Zipped { entry: "id-1.xlsx".into() });
        let Message::Document(mut back) = back.message else { panic!("{name}") };
        assert_eq!(back.references.len(), 4);
        back.references = packet.references.clone();
        assert_eq!(*back, packet, "{name}");
    }
    for name in ["status-01", "status-02", "status-13"] {
        let message = parsed(&format!("{name}.edxml")).message;
        let back = read(written(&message, &[]).unwrap().as_slice(), &mut Discard).unwrap();
        assert_eq!((back.message, back.warnings), (message, vec![]), "{name}");
    }
}

#[test]
fn the_written_form_is_the_sdks() {
    let text = String::from_utf8(written(&parsed("status-13.edxml").message, &[]).unwrap()).unwrap();
    let start = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
        <edXML xmlns=\"http://www.mic.gov.vn/TBT/QCVN_102_2016\">\r\n  \
        <edXML:edXMLEnvelope xmlns:edXML=\"http://www.mic.gov.vn/TBT/QCVN_102_2016\">\r\n    \
        <edXML:edXMLHeader>\r\n      <edXML:MessageHeader>\r\n        <edXML:From>\r\n          \
        <edXML:OrganId>H98.1</edXML:OrganId>\r\n          <edXML:OrganizationInCharge>";
    assert!(text.starts_with(start), "{text}");
    assert!(text.ends_with("</edXML:edXMLHeader>\r\n  </edXML:edXMLEnvelope>\r\n</edXML>\r\n"), "{text}");
}

#[test]
fn every_problem_of_an_unfit_packet_is_listed_before_a_byte_is_written() {
    let mut packet = document("old-codes.edxml");
    packet.header.to.push(packet.header.to[0].clone());
    packet.header.subject = Some("x".repeat(501));
    packet.header.code_number = None;
    packet.header.due_date = Some(Dated::<Date>::read("2014/02/30"));
    packet.header.content = Some("a\u{7}b".into());
    packet.trace.business = Some(Business { doc_type: Some(3), reason: Some("r".into()), ..Business::default() });
    let error = written(&Message::Document(Box::new(packet)), &[]).unwrap_err();
    let WriteError::Refused(error) = error else { panic!("{error}") };
    let text = error.to_string();
    for part in [
        "MessageHeader/Code/CodeNumber is missing",
        "MessageHeader/Subject has 501",
        "MessageHeader/Content holds a control",
        "From/OrganId is 000.00.01.H98",
        "To[1]/OrganId is 14.00.W00",
        "14.00.W00 is addressed twice",
        "DueDate is \"2014/02/30\"",
        "ReplacementInfo is missing",
    ] {
        assert!(text.contains(part), "{part} not in: {text}");
    }
    assert!(error.vietnamese().contains("hãy rút ngắn"));
}

#[test]
fn unfit_statuses_and_files_are_not_issued() {
    let Message::Status(status) = parsed("status-02.edxml").message else { panic!("not a status") };
    let problems = |status: StatusPacket| {
        issue_check(&Message::Status(Box::new(status)), &FieldLengths::default()).unwrap_err().problems
    };
    assert_eq!(
        problems(StatusPacket { description: None, ..*status.clone() }),
        [IssueProblem::Reason("Description".into())]
    );
    let unknown = StatusPacket { status_code: Some("07".into()), ..*status.clone() };
    assert_eq!(problems(unknown), [IssueProblem::Status("07".into())]);
    let file = [("a.pdf", vec![1])];
    assert!(matches!(written(&Message::Status(status), &file), Err(WriteError::Count(1))));
    for name in ["a/b.pdf", "a", "a.", " a.pdf", "a\n.pdf", "..\\a.pdf"] {
        let error = written(&parsed("new.edxml").message, &[(name, vec![1])]).unwrap_err();
        assert!(matches!(error, WriteError::Attachment { number: 1, .. }), "{name}: {error}");
    }
    let unlisted = issue_check_received(&parsed("unlisted.edxml"), &FieldLengths::default()).unwrap_err();
    assert_eq!(unlisted.problems, [IssueProblem::Unlisted("Cong van 45.pdf".into())]);
    assert_eq!(issue_check_received(&parsed("new.edxml"), &FieldLengths::default()), Ok(()));
}

fn hop(code: &str) -> TraceHeader {
    let at: Timestamp = "2031-02-03T09:00:00+07:00".parse().unwrap();
    TraceHeader { organ_id: Some(code.parse().unwrap()), timestamp: Some(at.into()) }
}

#[test]
fn delivery_adds_hops_and_touches_nothing_else() {
    for (name, bytes, _) in vectors("accepted", "edxml") {
        let before = read(bytes.as_slice(), &mut Discard).unwrap();
        let mut delivered = Vec::new();
        render_delivery(Drip(&bytes), &[hop("H98.1"), hop("H98.2")], &mut delivered).unwrap();
        let after = read(delivered.as_slice(), &mut Discard).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut wanted = before.clone();
        wanted.warnings.retain(|warning| warning.kind != WarningKind::Utf16);
        if let Message::Document(packet) = &mut wanted.message {
            packet.trace.traces.extend([hop("H98.1"), hop("H98.2")]);
        }
        assert_eq!(after.message, wanted.message, "{name}");
        assert_eq!(after.attachments, wanted.attachments, "{name}");
        assert_eq!(after.warnings.len(), wanted.warnings.len(), "{name}");
        if !name.starts_with("utf16") {
            assert!(is_original_with_insertions(&bytes, &delivered), "{name}");
        }
        let mut same = Vec::new();
        render_delivery(bytes.as_slice(), &[], &mut same).unwrap();
        assert!(name.starts_with("utf16") || same == bytes, "{name}");
    }
}

/// The original but for one inserted stretch (an empty list's `/` may go).
fn is_original_with_insertions(original: &[u8], delivered: &[u8]) -> bool {
    let same = original.iter().zip(delivered).take_while(|(a, b)| a == b).count();
    let tail = original.iter().rev().zip(delivered.iter().rev()).take_while(|(a, b)| a == b).count();
    same + tail + 2 >= original.len()
}

#[test]
fn delivery_holds_hostile_packets_to_the_same_bounds() {
    for name in ["doctype", "too-deep", "cut-in-content", "long-text", "trailing-element", "not-utf8"] {
        let bytes = fs::read(folder("refused").join(format!("{name}.xml"))).unwrap();
        let error = render_delivery(bytes.as_slice(), &[hop("H98.1")], &mut io::sink()).unwrap_err();
        assert!(matches!(error, DeliveryError::Read(ReadError::Refused { .. })), "{name}: {error}");
    }
}

/// A packet whose one attachment is as long as wanted, made while it is read.
fn endless(bytes: u64) -> impl Read {
    let new = String::from_utf8(fs::read(folder("accepted").join("new.edxml")).unwrap()).unwrap();
    let start = new.find("<edXML:ContentTransferEncoded").unwrap();
    let start = start + new[start..].find('>').unwrap() + 1;
    let end = new.find("</edXML:ContentTransferEncoded").unwrap();
    let (head, tail) = (new.as_bytes()[..start].to_vec(), new.as_bytes()[end..].to_vec());
    io::Cursor::new(head).chain(io::repeat(b'A').take(bytes / 3 * 4)).chain(io::Cursor::new(tail))
}

#[test]
fn a_large_attachment_streams() {
    struct Largest(usize, u64);
    impl AttachmentSink for Largest {
        fn begin(&mut self, _: &AttachmentStart) -> io::Result<()> {
            Ok(())
        }
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0 = self.0.max(bytes.len());
            self.1 += bytes.len() as u64;
            Ok(())
        }
        fn finish(&mut self, _: &Attachment) -> io::Result<()> {
            Ok(())
        }
        fn reset(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Largest(0, 0);
    let parsed = read(endless(30_000_000), &mut sink).unwrap();
    assert_eq!((parsed.attachments[0].bytes, sink.1), (30_000_000, 30_000_000));
    assert!(sink.0 <= XML_PIECE_BYTES_MAX, "{}", sink.0);
    let mut copied = Counter(0);
    render_delivery(endless(30_000_000), &[hop("H98.1")], &mut copied).unwrap();
    assert!(copied.0 > 40_000_000);
}

struct Counter(u64);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn faults_of_source_and_sink_are_not_blamed_on_the_packet() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("cable"))
        }
    }
    impl AttachmentSink for Broken {
        fn begin(&mut self, _: &AttachmentStart) -> io::Result<()> {
            Ok(())
        }
        fn write(&mut self, _: &[u8]) -> io::Result<()> {
            Err(io::Error::other("disk full"))
        }
        fn finish(&mut self, _: &Attachment) -> io::Result<()> {
            Ok(())
        }
        fn reset(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let bytes = fs::read(folder("accepted").join("new.edxml")).unwrap();
    assert!(matches!(read(bytes[..500].chain(Broken), &mut Discard), Err(ReadError::Source(_))));
    assert!(matches!(read(bytes.as_slice(), &mut Broken), Err(ReadError::Sink(_))));
}

#[test]
fn a_report_lists_every_field_in_order_for_people_and_tools() {
    let report = Report::of(&parsed("bad-dates.edxml"));
    let paths: Vec<&str> = report.fields.iter().map(|field| field.path.as_str()).collect();
    assert_eq!(paths[0], "MessageHeader/From/OrganId");
    assert!(paths.contains(&"Attachment/sha256") && paths.contains(&"Reference/ContentId"));
    let text = report.to_string();
    assert!(
        text.starts_with("kind ") && text.contains("warning  MessageHeader/DueDate: \"2031-03-01\" is no day"),
        "{text}"
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["warnings"][0]["kind"], "bad-date");
    assert_eq!(json["fields"][0]["value"], "H98.1");
}

/// Small and repeatable: a mutation that fails prints its seed and round.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides.max(1)
    }
}

#[test]
fn any_bytes_end_within_limits_and_never_panic() {
    let seeds: Vec<Vec<u8>> = vectors("accepted", "edxml").into_iter().map(|(_, bytes, _)| bytes).collect();
    let pieces: Vec<&[u8]> = vec![
        b"<",
        b">",
        b"&",
        b"]]>",
        b"<![CDATA[",
        b"<!--",
        b"-->",
        b"<?",
        b"/",
        b"\"",
        b"\0",
        b"\xff",
        b"&#x;",
        b"PK\x03\x04",
        b"=",
    ];
    let (mut read_well, mut dice) = (0, Dice(42));
    for round in 0..4_000 {
        let mut bytes = seeds[dice.roll(seeds.len())].clone();
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(bytes.len());
            match dice.roll(5) {
                0 => bytes[at] ^= 1 << dice.roll(8),
                1 => drop(bytes.drain(at..(at + dice.roll(60)).min(bytes.len()))),
                2 => drop(bytes.splice(at..at, pieces[dice.roll(pieces.len())].iter().copied())),
                3 => bytes.truncate(at.max(1)),
                _ => {
                    let from = dice.roll(bytes.len());
                    let piece = bytes[from..(from + dice.roll(200)).min(bytes.len())].to_vec();
                    drop(bytes.splice(at..at, piece));
                }
            }
            if bytes.is_empty() {
                bytes.push(b'<');
            }
        }
        let Ok(parsed) = read(bytes.as_slice(), &mut Discard) else { continue };
        read_well += 1;
        let _ = Report::of(&parsed).to_string();
        let mut delivered = Vec::new();
        render_delivery(bytes.as_slice(), &[hop("H98.1")], &mut delivered).unwrap();
        let again = read(delivered.as_slice(), &mut Discard).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(again.attachments, parsed.attachments, "round {round}");
        // What we would issue reads back the same.
        if let Message::Document(packet) = &parsed.message
            && let Ok(written) = written(&parsed.message, &[])
        {
            let Message::Document(mut back) = read(written.as_slice(), &mut Discard).unwrap().message else {
                panic!("round {round}")
            };
            back.references = packet.references.clone();
            assert_eq!(back, *packet, "round {round}");
        }
    }
    assert!(read_well > 100, "{read_well}");
}

#[test]
fn unzip_reads_the_zip_that_wraps_an_attachment() {
    let bytes = written(&parsed("new.edxml").message, &files()[1..2]).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let start = text.find("<edXML:ContentTransferEncoded").unwrap();
    let start = start + text[start..].find('>').unwrap() + 1;
    let end = start + text[start..].find('<').unwrap();
    let zip = data_encoding::BASE64.decode(&text.as_bytes()[start..end]).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    io::Write::write_all(&mut file, &zip).unwrap();
    let Ok(output) = std::process::Command::new("unzip").arg("-p").arg(file.path()).output() else {
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none(), "unzip is missing");
        eprintln!("SKIPPED: unzip is missing");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, files()[1].1);
}
