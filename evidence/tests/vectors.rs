//! A receipt that an independent writer made from docs/FORMATS.md (openssl and the Python standard library, no code of
//! ours) verifies here; a provisional one cannot be told; a file of the document is proven by its opening.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::{fs, path::PathBuf};

use truc_evidence::{Document, Outcome, PinnedOperator, ReceiptTrust, ReceiptVerdict, verify_receipt};
use truc_proto::Timestamp;
use truc_signer::{Certificate, TrustStore};

fn vector(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../proto/testdata/formats").join(name)).unwrap()
}

fn at() -> Timestamp {
    let expect: serde_json::Value = serde_json::from_slice(&vector("expect.json")).unwrap();
    expect["verify_at"].as_str().unwrap().parse().unwrap()
}

fn trust() -> ReceiptTrust {
    let anchors = Certificate::from_pem(&vector("anchors.pem")).unwrap();
    let store = TrustStore::new(anchors, Vec::new(), Vec::new()).unwrap();
    ReceiptTrust::new(store, PinnedOperator::from_file_bytes(&vector("operator.pem")).unwrap())
}

#[track_caller]
fn check(receipt: &str, document: Option<&[u8]>, expected: ReceiptVerdict) {
    let report = verify_receipt(&vector(receipt), &trust(), document.map(Document::of).as_ref(), at());
    let against: Vec<_> = report.against().collect();
    assert_eq!(report.verdict, expected, "{against:#?}");
}

#[test]
fn an_independently_made_receipt_is_valid() {
    check("receipt.receipt", None, ReceiptVerdict::Valid);
}

#[test]
fn a_receipt_without_the_certificates_signature_cannot_be_told() {
    check("receipt-provisional.receipt", None, ReceiptVerdict::CannotTell);
}

#[test]
fn the_opening_proves_a_file_of_the_document_and_no_other() {
    check("receipt.receipt", Some(&vector("cong-van.txt")), ReceiptVerdict::Valid);
    check("receipt.receipt", Some(b"another file"), ReceiptVerdict::Invalid);
}

#[test]
fn after_the_certificates_end_it_cannot_be_told_and_says_why() {
    let later = at() + std::time::Duration::from_secs(120 * 365 * 86_400);
    let report = verify_receipt(&vector("receipt.receipt"), &trust(), None, later);
    assert_eq!(report.verdict, ReceiptVerdict::CannotTell);
    assert!(report.against().all(|s| s.outcome == Outcome::Unknown));
}
