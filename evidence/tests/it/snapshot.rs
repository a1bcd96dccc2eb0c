//! The corpus as files, for other verifiers: `evidence/testdata/receipts`. Written anew by
//! `cargo test -p truc-evidence --test it -- --ignored the_corpus_is_written_to_files`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use truc_evidence::{Document, PinnedOperator, ReceiptTrust, verify_receipt};
use truc_proto::{Digest, Policy, Timestamp};

use crate::{
    cases,
    world::{Built, WORLD, store_of},
};

/// One line of `expect.json`.
#[derive(Serialize, Deserialize)]
struct Expected {
    name: String,
    /// `valid`, `invalid` or `cannot-tell`.
    verdict: String,
    /// The check that stands against it; none for valid ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
    /// Verify as of this moment.
    now: Timestamp,
    /// File of the pinned operator's certificate.
    operator: String,
    /// Files of revocation lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revocation_lists: Vec<String>,
    /// File of the document shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    /// File of the witness policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/receipts")
}

#[test]
fn the_corpus_in_files_verifies_as_it_says() {
    let read = |name: &str| fs::read(folder().join(name)).unwrap();
    let text = |name: &str| String::from_utf8(read(name)).unwrap();
    let expected: Vec<Expected> = serde_json::from_slice(&read("expect.json")).unwrap();
    assert!(expected.len() >= 40, "the corpus in files has {} receipts", expected.len());
    for case in &expected {
        let lists: String = case.revocation_lists.iter().map(|name| text(name)).collect();
        let operator = PinnedOperator::from_file_bytes(&read(&case.operator)).unwrap();
        let trust = ReceiptTrust::new(store_of(&text("trust.pem"), &lists), operator);
        let trust = match &case.policy {
            Some(name) => trust.with_policy(Policy::parse(&read(name)).unwrap()),
            None => trust,
        };
        let document = case.document.as_ref().map(|name| Document::open(&folder().join(name)).unwrap());
        let receipt = read(&format!("{}.receipt", case.name));
        let report = verify_receipt(&receipt, &trust, document.as_ref(), case.now);
        let against: Vec<&str> = report.against().map(|step| step.check.id()).collect();
        assert_eq!(report.verdict.as_str(), case.verdict, "{}", case.name);
        assert_eq!(against, Vec::from_iter(case.check.as_deref()), "{}", case.name);
    }
    let receipts = fs::read_dir(folder())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "receipt"));
    assert_eq!(receipts.count(), expected.len(), "every receipt file stands in expect.json");
}

#[test]
#[ignore = "writes evidence/testdata/receipts with fresh keys"]
fn the_corpus_is_written_to_files() {
    let folder = folder();
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("README.md") {
            fs::remove_file(path).unwrap();
        }
    }
    let mut operators = BTreeMap::new();
    let mut expected = Vec::new();
    let mut write = |name: &str, built: &Built, verdict: &str, check: Option<String>| {
        fs::write(folder.join(format!("{name}.receipt")), &built.receipt).unwrap();
        let number = operators.len() + 1;
        let operator = operators
            .entry(Digest::of(built.operator_pem.as_bytes()))
            .or_insert_with(|| {
                let file = format!("operator-{number}.pem");
                fs::write(folder.join(&file), &built.operator_pem).unwrap();
                file
            })
            .clone();
        let document = built.document.as_ref().map(|bytes| {
            let file = format!("{name}.document");
            fs::write(folder.join(&file), bytes).unwrap();
            file
        });
        let policy = built.policy.as_ref().map(|text| {
            let file = format!("{name}.policy");
            fs::write(folder.join(&file), text).unwrap();
            file
        });
        let revocation_lists = if built.crls_pem.is_empty() { vec![] } else { vec!["crls.pem".to_owned()] };
        let (name, verdict, now) = (name.to_owned(), verdict.to_owned(), built.now);
        expected.push(Expected { name, verdict, check, now, operator, revocation_lists, document, policy });
    };
    for (name, recipe) in cases::valid() {
        write(name, &recipe.build(&WORLD), "valid", None);
    }
    for case in cases::all() {
        let verdict = if case.outcome == truc_evidence::Outcome::Failed { "invalid" } else { "cannot-tell" };
        write(case.name, &case.recipe.build(&WORLD), verdict, Some(case.against.id().to_owned()));
    }
    fs::write(folder.join("trust.pem"), WORLD.trust_pem()).unwrap();
    fs::write(folder.join("crls.pem"), &WORLD.crls_pem).unwrap();
    fs::write(folder.join("expect.json"), serde_json::to_vec_pretty(&expected).unwrap()).unwrap();
}
