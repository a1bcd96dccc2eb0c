//! BetterTLS path building (tests/vectors/bettertls): cross certificates, dead ends, path lengths that force a search to turn back.

use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use truc_proto::Timestamp;
use truc_signer::{Certificate, PathError, TrustStore, Verdict, validate_for_any_use};

use crate::pkits::vectors;

/// One test of the suite.
pub(crate) struct BetterTls {
    pub(crate) id: String,
    /// DER: the anchors, what came along, and the certificate asked about.
    pub(crate) anchors: Vec<Vec<u8>>,
    pub(crate) intermediates: Vec<Vec<u8>>,
    pub(crate) peer: Vec<u8>,
    pub(crate) at: Timestamp,
    pub(crate) is_valid: bool,
}

/// All tests of the suite.
pub(crate) fn all() -> Vec<BetterTls> {
    let read = |test: &Value| {
        let certificates = |what: &str| -> Vec<Vec<u8>> {
            let blocks = CertificateDer::pem_slice_iter(test[what].as_str().unwrap().as_bytes());
            blocks.map(|block| block.unwrap().to_vec()).collect()
        };
        BetterTls {
            id: test["id"].as_str().unwrap().to_owned(),
            anchors: certificates("anchors"),
            intermediates: certificates("intermediates"),
            peer: certificates("peer").remove(0),
            at: test["at"].as_str().unwrap().parse().unwrap(),
            is_valid: test["valid"].as_bool().unwrap(),
        }
    };
    vectors("bettertls/pathbuilding.json.gz").as_array().unwrap().iter().map(read).collect()
}

/// What is said of a test. Of the certificates that came along those that cannot be read are passed over, as in a CMS.
fn outcome(test: &BetterTls) -> Result<Verdict, PathError> {
    let read = |ders: &[Vec<u8>]| ders.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
    let store = TrustStore::new(read(&test.anchors), read(&test.intermediates), vec![]).unwrap();
    validate_for_any_use(&store, &Certificate::from_der(&test.peer).unwrap(), &[], test.at)
}

#[test]
fn every_path_of_bettertls_is_found_or_refused_as_the_suite_says() {
    let all = all();
    let wrong: Vec<String> = all
        .iter()
        .map(|test| (test, outcome(test)))
        .filter(|(test, outcome)| outcome.is_ok() != test.is_valid)
        .map(|(test, outcome)| format!("{}: {outcome:?}", test.id))
        .collect();
    println!("BetterTLS: {} run, {} agree, 0 justified", all.len(), all.len() - wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(all.len(), 25);
}
