//! Both directions with the `openssl` program: what we write it reads, what it writes we read.

use truc_certs_dev::{Issued, KeyKind, Pki, Profile};
use truc_signer::{
    Certificate, CmsError, SealingAlgorithm, SignatureScheme, SoftKey, SoftKeyError,
    cms::{sign_detached, verify_attached, verify_detached},
    open_key, seal_key,
};

use crate::support::{Bench, KINDS, NOW, PKI, certificate, issue, openssl_is_there, set_mode, soft};

const CONTENT: &[u8] = "V/v triển khai Nghị định\r\n\0\u{1f4dc}".as_bytes();

/// Content, key, certificate and authorities as files.
fn bench(issued: &Issued) -> Bench {
    let bench = Bench::new();
    bench.put("content", CONTENT);
    bench.put("anchors.pem", &PKI.anchors_pem);
    bench.put("sub.pem", &PKI.intermediates_pem);
    bench.put("leaf.pem", issued.leaf_pem());
    bench.put("key.pem", &issued.key_pem);
    bench
}

#[test]
fn openssl_verifies_our_signatures_as_cades() {
    if !openssl_is_there() {
        return;
    }
    for (kind, profile) in KINDS.into_iter().flat_map(|kind| [(kind, Profile::Service), (kind, Profile::Node)]) {
        let issued = issue(profile, kind);
        let bench = bench(&issued);
        bench.put("signature", sign_detached(&soft(&issued), CONTENT, Some(*NOW)).unwrap());
        let verify = "cms -verify -binary -cades -inform DER -in signature -CAfile anchors.pem -out out -content";
        bench.openssl_succeeds(&format!("{verify} content"));
        assert_eq!(bench.read("out"), CONTENT);
        bench.put("other", b"other");
        let (accepted, _) = bench.openssl(&format!("{verify} other"));
        assert!(!accepted, "openssl must notice other content");
    }
}

#[test]
fn we_verify_the_cades_signatures_of_openssl() {
    if !openssl_is_there() {
        return;
    }
    let sign = "cms -sign -cades -binary -md sha256 -in content -signer leaf.pem -inkey key.pem -certfile sub.pem \
                -outform DER -out signature";
    for kind in KINDS {
        let issued = issue(Profile::Service, kind);
        let bench = bench(&issued);
        for form in ["", " -keyid"] {
            bench.openssl_succeeds(&format!("{sign}{form}"));
            let signature = verify_detached(&bench.read("signature"), CONTENT, &[]).unwrap();
            assert_eq!(signature.certificate, certificate(&issued));
            assert!(signature.signing_time.is_some());
            assert_eq!(signature.others.len(), 1);
        }
        // Inside, in definite and in streamed (BER) encoding; with -stream openssl always puts it inside.
        for form in [" -nodetach", " -nodetach -stream", " -stream"] {
            bench.openssl_succeeds(&format!("{sign}{form}"));
            let (signature, content) = verify_attached(&bench.read("signature"), &[]).unwrap();
            assert_eq!(content, CONTENT);
            assert_eq!(signature.certificate, certificate(&issued));
            assert_eq!(verify_detached(&bench.read("signature"), CONTENT, &[]), Err(CmsError::ContentAttached));
        }
        bench.openssl_succeeds(&format!("{sign} -nocerts"));
        let cms = bench.read("signature");
        assert_eq!(verify_detached(&cms, CONTENT, &[]), Err(CmsError::SignerCertificateMissing));
        assert!(verify_detached(&cms, CONTENT, &[certificate(&issued)]).is_ok());
    }
}

#[test]
fn a_large_streamed_attached_content_is_joined_rightly() {
    if !openssl_is_there() {
        return;
    }
    let bench = bench(&issue(Profile::Service, KeyKind::P256));
    let large: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    bench.put("content", &large);
    bench.openssl_succeeds(
        "cms -sign -cades -binary -stream -nodetach -in content -signer leaf.pem -inkey key.pem -outform DER -out signature",
    );
    assert_eq!(verify_attached(&bench.read("signature"), &[]).unwrap().1, large);
}

#[test]
fn pss_holds_with_a_salt_of_32_bytes_and_other_profiles_are_named() {
    if !openssl_is_there() {
        return;
    }
    let issued = issue(Profile::Service, KeyKind::Rsa2048);
    let bench = bench(&issued);
    let result = |options: &str| {
        bench.openssl_succeeds(&format!(
            "cms -sign -binary -in content -signer leaf.pem -inkey key.pem -outform DER -out signature {options}"
        ));
        verify_detached(&bench.read("signature"), CONTENT, &[])
    };
    let pss = result("-cades -md sha256 -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:-1").unwrap();
    assert_eq!(pss.scheme, SignatureScheme::RsaPssSha256);
    let longest = result("-cades -md sha256 -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:-2");
    assert!(matches!(longest, Err(CmsError::Algorithm { .. })), "{longest:?}");
    assert!(matches!(result("-cades -md sha512"), Err(CmsError::Algorithm { .. })));
    assert!(matches!(result("-cades -md sha1"), Err(CmsError::Algorithm { .. })));
    // Without -cades there is no signing-certificate-v2.
    assert_eq!(result("-md sha256"), Err(CmsError::Attribute { attribute: "signing-certificate-v2" }));
    assert!(matches!(result("-md sha256 -noattr"), Err(CmsError::Malformed { .. })));
}

#[test]
fn two_signers_are_refused() {
    if !openssl_is_there() {
        return;
    }
    let bench = bench(&issue(Profile::Service, KeyKind::P256));
    let second = issue(Profile::Service, KeyKind::P256);
    bench.put("leaf2.pem", second.leaf_pem());
    bench.put("key2.pem", &second.key_pem);
    bench.openssl_succeeds(
        "cms -sign -cades -binary -in content -signer leaf.pem -inkey key.pem -signer leaf2.pem -inkey key2.pem -outform DER -out signature",
    );
    let result = verify_detached(&bench.read("signature"), CONTENT, &[]);
    assert_eq!(result, Err(CmsError::NotOneSigner { signers: 2 }));
}

#[test]
fn openssl_opens_our_key_envelopes() {
    if !openssl_is_there() {
        return;
    }
    for kind in KINDS {
        let issued = issue(Profile::Sealing, kind);
        let bench = bench(&issued);
        let recipient = certificate(&issued);
        let algorithm = SealingAlgorithm::for_certificate(&recipient).unwrap();
        bench.put("envelope", seal_key(CONTENT, &recipient, algorithm).unwrap());
        bench.openssl_succeeds("cms -decrypt -binary -inform DER -in envelope -recip leaf.pem -inkey key.pem -out out");
        assert_eq!(bench.read("out"), CONTENT);
    }
}

#[test]
fn we_open_the_key_envelopes_of_openssl() {
    if !openssl_is_there() {
        return;
    }
    for kind in KINDS {
        let issued = issue(Profile::Sealing, kind);
        let bench = bench(&issued);
        let options = match kind {
            KeyKind::P256 => "-keyopt ecdh_kdf_md:sha256 -aes256-wrap",
            KeyKind::Rsa2048 | KeyKind::Rsa3072 => "-keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256",
        };
        let keyid = if kind == KeyKind::P256 { "" } else { " -keyid" };
        for form in ["", " -stream", keyid] {
            bench.openssl_succeeds(&format!(
                "cms -encrypt -aes-256-gcm -binary -in content -outform DER -out envelope{form} -recip leaf.pem {options}"
            ));
            assert_eq!(&**open_key(&bench.read("envelope"), &soft(&issued)).unwrap(), CONTENT);
        }
    }
}

#[test]
fn weaker_envelopes_of_openssl_are_refused() {
    if !openssl_is_there() {
        return;
    }
    let issued = issue(Profile::Sealing, KeyKind::Rsa2048);
    let bench = bench(&issued);
    for options in [
        "-aes-256-gcm -recip leaf.pem",                               // PKCS#1 v1.5
        "-aes-256-gcm -recip leaf.pem -keyopt rsa_padding_mode:oaep", // OAEP with SHA-1
        "-aes-128-gcm -recip leaf.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256", // a weaker suite
        "-aes-256-cbc -recip leaf.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256", // not authenticated
    ] {
        bench.openssl_succeeds(&format!("cms -encrypt -binary -in content -outform DER -out envelope {options}"));
        let result = open_key(&bench.read("envelope"), &soft(&issued));
        assert_eq!(result, Err(truc_signer::OpenError::Malformed), "{options}");
    }
}

#[test]
fn pkcs12_files_of_openssl_open_with_their_password() {
    if !openssl_is_there() {
        return;
    }
    for kind in KINDS {
        let issued = issue(Profile::Service, kind);
        let bench = bench(&issued);
        for form in ["", " -legacy"] {
            bench.openssl_succeeds(&format!(
                "pkcs12 -export -inkey key.pem -in leaf.pem -certfile sub.pem -out key.p12 -passout pass:Mật1234{form}"
            ));
            let path = bench.path("key.p12");
            set_mode(&path, 0o600);
            assert_eq!(SoftKey::pkcs12_is_old(&std::fs::read(&path).unwrap()), !form.is_empty(), "{form}");
            let key = SoftKey::load_pkcs12(&path, "Mật1234").unwrap();
            let cms = sign_detached(&key, CONTENT, None).unwrap();
            assert_eq!(verify_detached(&cms, CONTENT, &[]).unwrap().certificate, certificate(&issued));
            let wrong = SoftKey::load_pkcs12(&path, "sai").unwrap_err();
            assert!(matches!(wrong, SoftKeyError::WrongPassword), "{wrong}");
            set_mode(&path, 0o644);
            assert!(matches!(SoftKey::load_pkcs12(&path, "Mật1234"), Err(SoftKeyError::File(_))));
        }
        bench.openssl_succeeds("pkcs12 -export -nokeys -in leaf.pem -out key.p12 -passout pass:x");
        assert!(SoftKey::from_pkcs12(&bench.read("key.p12"), "x").is_err());
    }
}

#[test]
fn keys_made_by_openssl_are_read() {
    if !openssl_is_there() {
        return;
    }
    for algorithm in ["EC -pkeyopt ec_paramgen_curve:P-256", "RSA -pkeyopt rsa_keygen_bits:2048"] {
        let bench = Bench::new();
        bench.openssl_succeeds(&format!("genpkey -algorithm {algorithm} -out key.pem"));
        bench.openssl_succeeds("req -x509 -new -key key.pem -subj /CN=x -days 2 -out leaf.pem");
        let key = SoftKey::from_pem(&bench.read("leaf.pem"), &bench.read("key.pem")).unwrap();
        let cms = sign_detached(&key, CONTENT, None).unwrap();
        assert!(verify_detached(&cms, CONTENT, &[]).is_ok());
        // The older formats are refused with the command that converts them.
        bench.openssl_succeeds("pkey -in key.pem -traditional -out old.pem");
        let error = SoftKey::from_pem(&bench.read("leaf.pem"), &bench.read("old.pem")).unwrap_err();
        assert!(error.to_string().contains("openssl pkcs8 -topk8"), "{error}");
    }
}

#[test]
fn weak_keys_and_hashes_in_real_certificates_are_refused() {
    if !openssl_is_there() {
        return;
    }
    let bench = Bench::new();
    bench.openssl_succeeds("req -x509 -newkey rsa:1024 -nodes -keyout key.pem -subj /CN=x -out weak.pem");
    let error = Certificate::from_pem(&bench.read("weak.pem")).unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.contains("CN=x"), "{text}");
    let pki = Pki::new(KeyKind::Rsa2048, *NOW).unwrap();
    bench.put("sub.pem", &pki.intermediates_pem);
    bench.put("sub.key", &pki.authority_keys_pem()[1]);
    bench.openssl_succeeds("req -new -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=x -out request.pem");
    bench.put("extensions", "keyUsage=digitalSignature\n");
    let sign =
        "x509 -req -in request.pem -CA sub.pem -CAkey sub.key -set_serial 5 -days 2 -extfile extensions -out leaf.pem";
    bench.openssl_succeeds(&format!("{sign} -sha1"));
    let error = Certificate::from_pem(&bench.read("leaf.pem")).unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("SHA-1"), "{text}");
    bench.openssl_succeeds(&format!("{sign} -sha256"));
    assert_eq!(Certificate::from_pem(&bench.read("leaf.pem")).unwrap()[0].serial_text(), "05");
}
