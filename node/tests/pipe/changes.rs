//! Documents given by fields that update or replace earlier ones: what they compose is what our reader, and another one, read.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use truc_node::{
    pipeline::{Changing, Composed, FetchWhat, Pipeline, Resolved, Target},
    records::Change,
};
use truc_proto::edxml::{self, Business, BusinessKind, Discard, Message};

use crate::{
    packets::{document_header, file},
    world::{Bucket, World, code},
};

const REASON: &str = "Điều chỉnh phụ lục <2> & bảng biểu";
const OLD: &str = "H26,2026/11/01,5/KH-UBND";
const OLDER: &str = "000.00.00.H26,2019/01/31,1234/QĐ-UBND/2";

fn target(document_id: &str, recipients: Option<&[&str]>) -> Target {
    Target {
        document_id: document_id.to_owned(),
        recipients: recipients.map(|codes| codes.iter().map(|text| code(text)).collect()),
    }
}

/// As the recipient's node shows it, what its packet says, and that packet.
#[track_caller]
fn composed(world: &World, kind: BusinessKind, targets: Vec<Target>) -> (Change, Vec<String>, Business, Vec<u8>) {
    let change = Some(Changing { kind, targets, reason: REASON.to_owned() });
    let resolved = Resolved { change, ..Resolved::default() };
    let header = document_header("k", &["H37", "H49"]);
    let made = world.compose_resolved(header, &resolved, file("a.pdf", b"%PDF-1.7")).unwrap();
    let Composed::Sealed(sealed) = made else { panic!("held") };
    let (incoming, envelopes) = world.deliver(&sealed, "N-H37");
    let content = world.open("N-H37", &incoming, &envelopes).content.unwrap();
    assert_eq!(content.about.change, sealed.outgoing.about.change, "both sides read the same");
    let mut packet = Bucket::default();
    let what = FetchWhat::Edxml { stamps: Vec::new() };
    world.nodes["N-H37"].pipes.fetch(&incoming, &content, &what, &mut packet).unwrap();
    let parsed = edxml::read(packet.bytes.as_slice(), &mut Discard).unwrap();
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    let Message::Document(read) = parsed.message else { panic!("a document") };
    (content.about.change.unwrap(), sealed.outgoing.about.warnings.clone(), read.trace.business.unwrap(), packet.bytes)
}

/// The names of all elements below Bussiness, as Python's expat reads them; none without python3.
fn as_python_reads(packet: &[u8]) -> Option<String> {
    const SCRIPT: &str = "import sys, xml.etree.ElementTree as e
b = next(x for x in e.parse(sys.stdin.buffer).iter() if x.tag.endswith('}Bussiness'))
print(' '.join(x.tag.split('}')[1] for x in b.iter()))";
    let child = Command::new("python3").args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none_or(|wanted| wanted != "1"), "python3 is missing");
        eprintln!("SKIPPED: python3 is missing");
        return None;
    };
    child.stdin.take().unwrap().write_all(packet).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "no well-formed XML: {}", String::from_utf8_lossy(packet));
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[test]
fn an_update_names_its_document_and_whom_it_adds() {
    let world = World::new();
    let (change, warnings, business, packet) =
        composed(&world, BusinessKind::Update, vec![target(OLD, Some(&["H37", "H37.DN.001"]))]);
    assert_eq!((change.kind, change.document_ids, change.reason.as_str()), (2, vec![OLD.to_owned()], REASON));
    assert_eq!((business.doc_type, business.document_id.as_deref()), (Some(2), Some(OLD)));
    let [info] = business.document_infos.as_slice() else { panic!("{business:?}") };
    assert_eq!((info.document_info.as_deref(), info.document_receiver.as_deref()), (Some("1"), Some("1")));
    let added: Vec<_> =
        info.receivers.iter().map(|r| (r.organ_id.clone().unwrap().to_string(), r.receiver_type.clone())).collect();
    assert_eq!(added, [("H49".to_owned(), Some("1".to_owned()))], "who has the earlier one is not added");
    assert!(warnings.is_empty(), "{warnings:?}");
    let names = "Bussiness DocumentId BussinessDocType BussinessDocReason BussinessDocumentInfo DocumentInfo DocumentReceiver ReceiverList Receiver OrganId ReceiverType";
    assert!(as_python_reads(&packet).is_none_or(|read| read == names), "{:?}", as_python_reads(&packet));
}

#[test]
fn a_replacement_names_every_document_and_for_whom() {
    let world = World::new();
    let targets = vec![target(OLD, Some(&["H37"])), target(OLDER, None)];
    let (change, warnings, business, packet) = composed(&world, BusinessKind::Replace, targets);
    assert_eq!((change.kind, change.document_ids), (3, vec![OLD.to_owned(), OLDER.to_owned()]));
    assert_eq!((business.doc_type, business.document_id, business.reason.as_deref()), (Some(3), None, Some(REASON)));
    for replaced in &business.replacements {
        let codes: Vec<&str> = replaced.organ_ids.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes, ["H37", "H49"]);
    }
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.contains(OLDER) && warning.contains("not known") && warning.contains("không biết"), "{warning}");
    let one = "ReplacementInfo DocumentId OrganIdList OrganId OrganId";
    let names = format!("Bussiness BussinessDocType BussinessDocReason ReplacementInfoList {one} {one}");
    assert!(as_python_reads(&packet).is_none_or(|read| read == names), "{:?}", as_python_reads(&packet));
}

#[test]
fn an_update_of_a_document_that_is_not_known_says_nothing_of_recipients() {
    let world = World::new();
    let (change, warnings, business, _) = composed(&world, BusinessKind::Update, vec![target(OLDER, None)]);
    assert_eq!(change.document_ids, [OLDER]);
    assert_eq!(business.document_infos[0].document_receiver.as_deref(), Some("0"));
    assert!(business.document_infos[0].receivers.is_empty());
    assert_eq!(warnings.len(), 1);
}
