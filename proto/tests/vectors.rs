//! The vectors of docs/FORMATS.md, made by `testdata/formats/make_vectors.py` with openssl and the Python standard
//! library: what somebody else writes from the document is what this crate reads and would itself write.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what a test helper cannot do fails the test"
)]

use std::{fs, path::PathBuf};

use data_encoding::BASE64;
use truc_proto::{
    Administration, BusinessStatus, Digest, Entry, EnvelopeJson, Event, KeyManifest, Preamble, Raw, Receipt,
    ReceiptBody, RootStatement, SignedNote, Statement, Submission,
};

fn vector(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/formats").join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn expected(field: &str) -> String {
    let expect: serde_json::Value = serde_json::from_slice(&vector("expect.json")).unwrap();
    expect[field].as_str().unwrap().to_owned()
}

/// Reads a vector, wants that we would write the same bytes, and that no other statement type takes it.
#[track_caller]
fn reads_and_rewrites<T: Statement + Clone>(name: &str) -> Raw<T> {
    let bytes = vector(name);
    let raw = Raw::<T>::parse(bytes.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let written = Raw::write(raw.value().clone()).unwrap();
    assert_eq!(written.bytes().as_ref(), bytes, "{name}: what we write differs");
    if T::TYPE != BusinessStatus::TYPE {
        assert!(Raw::<BusinessStatus>::parse(bytes).is_err());
    }
    raw
}

#[test]
fn every_statement_vector_reads_and_is_written_byte_for_byte() {
    let preamble = reads_and_rewrites::<Preamble>("preamble.json");
    assert_eq!(preamble.digest().to_string(), expected("preamble"));
    assert_eq!(preamble.envelope.to_string(), expected("envelope"));
    assert_eq!(preamble.envelope.made_at(), preamble.created);

    let submission = reads_and_rewrites::<Submission>("submission.json");
    assert_eq!(submission.preamble, preamble.digest());
    assert_eq!(submission.commitment.to_string(), expected("commitment"));
    for event in ["relay-acceptance", "content-consignment", "consignment-failure"] {
        let event = reads_and_rewrites::<Event>(&format!("event-{event}.json"));
        assert_eq!(event.envelope, Some(preamble.envelope));
    }
    let done = reads_and_rewrites::<Administration>("administration.json");
    assert_eq!(done.approved_by.as_ref().unwrap().name, "minh");
    reads_and_rewrites::<EnvelopeJson>("envelope.json");
    reads_and_rewrites::<RootStatement>("directory-root.json");
    for recipient in ["H26", "H37"] {
        let manifest = reads_and_rewrites::<KeyManifest>(&format!("key-{recipient}.json"));
        assert_eq!(manifest.recipient.to_string(), recipient);
        let sealed = Digest::of(&vector(&format!("key-{recipient}.cms")));
        assert_eq!(submission.key_envelopes[&manifest.recipient], sealed);
    }
}

#[test]
fn entries_sort_by_key_and_carry_their_certificates() {
    let names = ["agency-G22", "agency-H02", "agency-H26", "agency-H37", "node-N-G22", "operator"];
    let entries: Vec<_> = names.iter().map(|n| reads_and_rewrites::<Entry>(&format!("entry-{n}.json"))).collect();
    assert!(entries.iter().map(|e| e.key()).is_sorted());
    assert_eq!(entries[1].as_agency().unwrap().successor.as_ref().unwrap().to_string(), "H05");
}

#[test]
fn receipts_are_tlog_proofs_around_the_same_statements() {
    for (name, lines) in [("receipt.receipt", 2), ("receipt-provisional.receipt", 1)] {
        let text = vector(name);
        let receipt = Receipt::parse(&text).unwrap();
        assert_eq!(receipt.to_string().into_bytes(), text, "{name}");
        let body = Raw::<ReceiptBody>::parse(receipt.body.clone()).unwrap();
        assert_eq!(body.leaf, vector("submission.json"));
        assert_eq!(body.preamble, vector("preamble.json"));
        let note: SignedNote = receipt.checkpoint.parse().unwrap();
        assert_eq!(note.signatures().len(), lines);
        assert_eq!(note.text().as_bytes(), vector("checkpoint.txt"));
        let root = Digest::from_base64(note.text().lines().nth(2).unwrap()).unwrap();
        assert_eq!(root.to_string(), expected("ledger_root"));
        assert_eq!(BASE64.decode(note.text().lines().nth(2).unwrap().as_bytes()).unwrap(), root.as_bytes());
    }
}

#[test]
fn a_bent_vector_is_refused() {
    let text = String::from_utf8(vector("preamble.json")).unwrap();
    for (from, to) in [
        (r#""recipients":["H26","H37"]"#, r#""recipients":["H37","H26"]"#),
        (r#""recipients":["H26","H37"]"#, r#""recipients":["H26","H26"]"#),
        (r#""recipients":["H26","H37"]"#, r#""recipients":[]"#),
        (r#""sender":"G22""#, r#""sender":"H26""#),
        (r#""suite":"S1""#, r#""suite":"S0""#),
        (r#""level":"ordinary""#, r#""level":"secret""#),
        (r#""lane":"ordinary""#, r#""lane":"Ordinary""#),
        (r#""priority":2"#, r#""priority":5"#),
        (r#""kind":"document""#, r#""kind":"status""#),
        (r#""v":1"#, r#""v":1,"v":1"#),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(Raw::<Preamble>::parse(text.replacen(from, to, 1).into_bytes()).is_err(), "{from} -> {to}");
    }
}

/// Rows of a table of `docs/FORMATS.md` that begin with a code.
fn table(heading: &str) -> Vec<Vec<String>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/FORMATS.md");
    let text = fs::read_to_string(path).unwrap();
    let section = text.split_once(&format!("\n## {heading}\n")).unwrap().1;
    let rows =
        section.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    let cells =
        |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
    rows.map(cells).collect()
}

#[test]
fn the_document_has_every_reason_and_status_in_the_words_that_people_read() {
    let reasons =
        truc_proto::Reason::ALL.iter().map(|r| vec![r.to_string(), r.english().into(), r.vietnamese().into()]);
    assert_eq!(table("Reasons"), reasons.collect::<Vec<_>>());
    let actions = truc_proto::AdminAction::ALL.iter();
    let actions: Vec<_> = actions.map(|a| vec![a.to_string(), a.english().into(), a.vietnamese().into()]).collect();
    assert_eq!(table("Administration: actions"), actions);
    let said = |code: &truc_proto::StatusCode| if code.is_from_sender() { "sender" } else { "receiver" };
    let known = truc_proto::StatusCode::ALL.iter().filter(|code| code.is_known());
    let statuses = known.map(|c| vec![c.to_string(), c.english().into(), c.vietnamese().into(), said(c).into()]);
    assert_eq!(table("Business status"), statuses.collect::<Vec<_>>());
}
