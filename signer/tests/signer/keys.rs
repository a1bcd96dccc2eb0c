//! Keys and certificates from files.

use truc_certs_dev::{KeyKind, Pki, Profile, Request, Subject};
use truc_proto::{Timestamp, limits::CERTIFICATE_BYTES_MAX};
use truc_signer::{Certificate, CertificateError, FileError, PemError, SigningKey, SoftKey, SoftKeyError, verify_raw};

use crate::support::{Bench, Dice, KINDS, NOW, certificate, issue, mutate, set_mode, soft};

#[test]
fn a_certificate_tells_what_stands_in_it() {
    let issued = issue(Profile::Service, KeyKind::P256);
    let certificate = certificate(&issued);
    assert_eq!(certificate.subject(), "CN=UBND THÀNH PHỐ HÀ NỘI DEV,O=UBND\\, thành phố \\\"Hà Nội\\\",L=Hà Nội,C=VN");
    assert!(certificate.issuer().starts_with("CN=CA DEV phục vụ các cơ quan Nhà nước,"));
    assert_eq!(certificate.sha256(), issued.fingerprint());
    assert_eq!(certificate.serial_text().len(), 32);
    assert!(certificate.not_before() < *NOW && *NOW < certificate.not_after());
    assert_eq!(certificate.not_after().unix_ms() % 1_000, 0);
    assert!(certificate.key_usage().unwrap().digital_signature());
    assert!(!certificate.is_ca() && !certificate.is_self_issued());
    let chain = Certificate::from_pem(issued.certificate_pem.as_bytes()).unwrap();
    assert!(chain[0].names_issuer(&chain[1]) && chain[1].is_ca());
    assert_eq!(Certificate::from_pem(certificate.to_pem().as_bytes()).unwrap(), [certificate]);
}

#[test]
fn damaged_certificates_are_refused_without_panic() {
    let issued = issue(Profile::Service, KeyKind::P256);
    let mut dice = Dice(1);
    for _ in 0..20_000 {
        let _ = Certificate::from_der(&mutate(&issued.certificate_der, &mut dice));
    }
    assert_eq!(
        Certificate::from_der(&vec![0; CERTIFICATE_BYTES_MAX + 1]),
        Err(CertificateError::TooLarge { bytes: CERTIFICATE_BYTES_MAX + 1 })
    );
    assert!(matches!(Certificate::from_pem(b"hello"), Err(PemError::Empty { .. })));
    assert!(matches!(Certificate::from_pem(b"-----BEGIN CERTIFICATE-----\nnever ended"), Err(PemError::Malformed)));
}

#[test]
fn every_kind_of_key_signs_from_pem_and_from_pkcs12() {
    for kind in KINDS {
        let issued = issue(Profile::Service, kind);
        let pkcs12 = issued.pkcs12("Mật1234").unwrap();
        for key in [soft(&issued), SoftKey::from_pkcs12(&pkcs12, "Mật1234").unwrap()] {
            let signature = key.sign(b"message").unwrap();
            let spki = key.certificate().public_key().spki_der().to_vec();
            assert_eq!(verify_raw(&spki, key.scheme(), b"message", &signature), Ok(()));
            assert!(verify_raw(&spki, key.scheme(), b"other", &signature).is_err());
            assert_eq!(key.chain().len(), 1);
            assert_eq!(key.tls_identity().0.len(), 2);
            assert!(format!("{key:?}").ends_with("key [redacted])"));
        }
        assert!(matches!(SoftKey::from_pkcs12(&pkcs12, "mật1234"), Err(SoftKeyError::WrongPassword)));
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (one, other) = (issue(Profile::Service, KeyKind::P256), issue(Profile::Service, KeyKind::P256));
    let result = SoftKey::from_pem(one.certificate_pem.as_bytes(), other.key_pem.as_bytes());
    assert!(matches!(result, Err(SoftKeyError::Mismatch { .. })));
    let rsa = issue(Profile::Service, KeyKind::Rsa2048);
    let result = SoftKey::from_pem(one.certificate_pem.as_bytes(), rsa.key_pem.as_bytes());
    assert!(matches!(result, Err(SoftKeyError::Mismatch { .. })));
}

#[test]
fn a_key_file_others_may_read_is_refused_with_the_command_that_mends_it() {
    let bench = Bench::new();
    let issued = issue(Profile::Service, KeyKind::P256);
    let chain = bench.put("chain.pem", &issued.certificate_pem);
    let key = bench.put("key.pem", &issued.key_pem);
    for mode in [0o640, 0o604, 0o660, 0o620] {
        set_mode(&key, mode);
        let error = SoftKey::load_pem(&chain, &key).unwrap_err();
        assert!(matches!(error, SoftKeyError::File(FileError::Exposed { .. })));
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    set_mode(&key, 0o600);
    assert!(SoftKey::load_pem(&chain, &key).is_ok());
}

#[test]
fn certificates_not_version_3_weak_or_foreign_keys_are_named() {
    let root = Pki::new(KeyKind::Rsa2048, *NOW).unwrap();
    let request = Request::new(Profile::Service, KeyKind::P256, Subject::new("x"));
    let issued = root.issue_with(request).unwrap();
    // sha256WithRSAEncryption → sha1WithRSAEncryption, in both places.
    let changed = replace_all(
        &issued.certificate_der,
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b",
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05",
    );
    let error = Certificate::from_der(&changed).unwrap_err();
    assert!(matches!(error, CertificateError::WeakSignature { algorithm: "SHA-1", .. }), "{error}");
    let changed = replace_all(
        &issued.certificate_der,
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b",
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04",
    );
    assert!(matches!(Certificate::from_der(&changed), Err(CertificateError::WeakSignature { algorithm: "MD5", .. })));
    // prime256v1 → secp256k1-like unknown curve of the same length
    let changed =
        replace_all(&issued.certificate_der, b"\x2a\x86\x48\xce\x3d\x03\x01\x07", b"\x2a\x86\x48\xce\x3d\x03\x01\x06");
    assert!(matches!(Certificate::from_der(&changed), Err(CertificateError::Key { .. })));
    assert_eq!(Timestamp::EPOCH.unix_s(), 0);
}

fn replace_all(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    for at in 0..=out.len() - from.len() {
        if &out[at..at + from.len()] == from {
            out[at..at + from.len()].copy_from_slice(to);
        }
    }
    assert_ne!(out, bytes);
    out
}
