//! The published vectors (docs/FORMATS.md), made without us: signatures, key envelopes, certificates.

use std::{fs, path::Path};

use truc_proto::Timestamp;
use truc_signer::{
    Certificate, CertificateUse, SoftKey, TrustStore, Verdict, WhyUnknown, open_key, path::validate_with,
    verify_detached,
};

fn vector(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/testdata/formats").join(name)).unwrap()
}

#[test]
fn the_published_signatures_hold_and_their_certificates_fit_their_uses() {
    let pem = |name: &str| Certificate::from_pem(&vector(name)).unwrap();
    let store = TrustStore::new(pem("anchors.pem"), pem("sub.pem"), vec![]).unwrap();
    let expected = String::from_utf8(vector("expect.json")).unwrap();
    let at = expected.split("\"verify_at\": \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let at: Timestamp = at.parse().unwrap();
    for (signed, signature, certificate, wanted) in [
        ("ASiCManifest.xml", "ASiCManifest.p7s", "service.pem", CertificateUse::Service),
        ("directory-root.json", "directory-root.p7s", "operator.pem", CertificateUse::Operator),
    ] {
        let verified = verify_detached(&vector(signature), &vector(signed), &[]).unwrap();
        assert_eq!(verified.certificate, pem(certificate)[0]);
        assert!(verified.signing_time.is_some());
        let verdict = validate_with(&store, &verified.certificate, &verified.others, wanted, at).unwrap();
        assert!(matches!(verdict, Verdict::Unknown(WhyUnknown::MissingCrl { .. })), "{verdict:?}");
        assert!(verify_detached(&vector(signature), b"other", &[]).is_err());
    }
}

#[test]
fn the_published_key_envelopes_open_with_the_published_keys() {
    for (envelope, manifest, name) in
        [("key-H26.cms", "key-H26.json", "sealing-rsa"), ("key-H37.cms", "key-H37.json", "sealing-p256")]
    {
        let key = SoftKey::from_pem(&vector(&format!("{name}.pem")), &vector(&format!("{name}.key.pem"))).unwrap();
        assert_eq!(&**open_key(&vector(envelope), &key).unwrap(), vector(manifest));
    }
}
