//! Requests for certificates: openssl reads them and finds them signed by their own key; what an authority makes of them fits the key.

use truc_certs_dev::{Profile, Request, Subject};
use truc_signer::{NewKey, NewKeyKind, SoftKey};

use crate::support::{Bench, KINDS, PKI, certificate, issue, openssl_is_there};

#[test]
fn openssl_finds_a_request_signed_by_its_own_key_with_the_subject_and_a_usage_that_fits() {
    if !openssl_is_there() {
        return;
    }
    for (kind, usage) in [(NewKeyKind::Rsa3072, "Key Encipherment"), (NewKeyKind::P256, "Key Agreement")] {
        for before in KINDS {
            let like = certificate(&issue(Profile::Sealing, before));
            let pem = NewKey::generate(kind).unwrap().request_pem(&like).unwrap();
            let bench = Bench::new();
            bench.put("csr.pem", pem.as_bytes());
            bench.openssl_succeeds("req -in csr.pem -verify -noout");
            bench.openssl_succeeds("req -in csr.pem -noout -text -nameopt RFC2253,utf8,-esc_msb -out text");
            let text = String::from_utf8(bench.read("text")).unwrap();
            assert!(text.contains(usage) && text.contains("UBND THÀNH PHỐ HÀ NỘI"), "{text}");
        }
    }
}

#[test]
fn a_new_key_is_never_weaker_and_takes_the_certificate_made_from_its_request() {
    for before in KINDS {
        let like = certificate(&issue(Profile::Tls, before));
        let kind = NewKeyKind::after(&like);
        let key = NewKey::generate(kind).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.key");
        key.store(&path).unwrap();
        assert!(key.store(&path).is_err(), "keys are never overwritten");
        let request = Request::new(Profile::Tls, before, Subject::endpoint("N-H26"));
        let answer = PKI.answer(&key.request_pem(&like).unwrap(), &request).unwrap();
        std::fs::write(folder.path().join("new.pem"), &answer).unwrap();
        SoftKey::load_pem(&folder.path().join("new.pem"), &path).unwrap();
    }
    let altered = NewKey::generate(NewKeyKind::P256).unwrap();
    let mut der = altered.request(&certificate(&issue(Profile::Tls, KINDS[2]))).unwrap();
    let last = der.len() - 1;
    der[last] ^= 1;
    let request = Request::new(Profile::Tls, KINDS[2], Subject::endpoint("N-H26"));
    assert!(PKI.answer(&truc_signer::pem_text("CERTIFICATE REQUEST", &der), &request).is_err());
}
