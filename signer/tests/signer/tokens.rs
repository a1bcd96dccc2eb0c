//! Keys in a PKCS#11 token: as good as in files, and what becomes of them when the token goes, lies or refuses.

use truc_certs_dev::{Issued, KeyKind, Profile, SoftHsm, Trick, wait::until};
use truc_signer::{
    ObjectName, OpenError, OpeningKey as _, Pin, SealingAlgorithm, SignError, SignatureScheme, SigningKey as _, Token,
    TokenError, TokenKey, TokenWay, open_key, seal_key, sign_detached, verify_detached,
};
use zeroize::Zeroizing;

use crate::support::{Dice, KINDS, NOW, certificate, issue, mutate, soft};

const PIN: &str = "246810";
const MANIFEST: &[u8] = b"what is sealed";

fn pin(text: &str) -> Pin {
    Pin::new(&Zeroizing::new(text.to_owned()))
}

fn named(text: &str) -> ObjectName {
    text.parse().unwrap()
}

/// A token and its folder; none where SoftHSM is not installed.
fn hsm() -> Option<(tempfile::TempDir, SoftHsm)> {
    let folder = tempfile::tempdir().unwrap();
    let hsm = SoftHsm::or_skip(folder.path(), "truc test", PIN)?;
    Some((folder, hsm))
}

fn token(hsm: &SoftHsm) -> std::sync::Arc<Token> {
    Token::shared(&hsm.module(), hsm.label(), pin(PIN))
}

/// A key of this kind in the token and in a file.
fn put(hsm: &SoftHsm, profile: Profile, kind: KeyKind, id: &str) -> (Issued, TokenKey) {
    let issued = issue(profile, kind);
    hsm.import(&issued.key_pem, &format!("key {id}"), id).unwrap();
    let key = TokenKey::new(token(hsm), named(&format!("id:{id}")), certificate(&issued), Vec::new());
    (issued, key)
}

#[test]
fn a_key_in_a_token_signs_as_connections_want_it() {
    let Some((_folder, hsm)) = hsm() else { return };
    for (number, kind) in KINDS.into_iter().enumerate() {
        let (issued, key) = put(&hsm, Profile::Tls, kind, &format!("3{number}"));
        let (way, scheme, other) = match kind {
            KeyKind::P256 => (TokenWay::SignEcdsa, SignatureScheme::EcdsaP256Sha256, SignatureScheme::RsaPssSha256),
            _ => (TokenWay::HashAndSignPss, SignatureScheme::RsaPssSha256, SignatureScheme::EcdsaP256Sha256),
        };
        assert_eq!(key.try_connecting().unwrap(), way);
        let signature = key.sign_as(scheme, b"transcript").unwrap();
        certificate(&issued).public_key().verify(scheme, b"transcript", &signature).unwrap();
        assert!(matches!(key.sign_as(other, b"transcript"), Err(SignError::Failed { .. })), "{kind:?}");
        // What documents are signed with is another scheme of the same RSA key.
        let signature = key.sign(b"document").unwrap();
        certificate(&issued).public_key().verify(key.scheme(), b"document", &signature).unwrap();
    }
}

#[test]
fn a_key_in_a_token_signs_and_opens_as_one_in_a_file() {
    let Some((_folder, hsm)) = hsm() else { return };
    for (number, kind) in KINDS.into_iter().enumerate() {
        let (issued, key) = put(&hsm, Profile::Service, kind, &format!("1{number}"));
        let expected = if kind == KeyKind::P256 { TokenWay::SignEcdsa } else { TokenWay::HashAndSignRsa };
        assert_eq!(key.try_signing().unwrap(), expected);
        let cms = sign_detached(&key, b"content", Some(*NOW)).unwrap();
        assert_eq!(verify_detached(&cms, b"content", &[]).unwrap().certificate, certificate(&issued));

        let (issued, key) = put(&hsm, Profile::Sealing, kind, &format!("2{number}"));
        let way = key.try_opening().unwrap();
        match kind {
            KeyKind::P256 => assert_eq!(way, TokenWay::AgreePoint),
            _ => assert!(matches!(way, TokenWay::OpenOaep | TokenWay::OpenRaw), "{way:?}"),
        }
        let recipient = certificate(&issued);
        let sealed = seal_key(MANIFEST, &recipient, SealingAlgorithm::for_certificate(&recipient).unwrap()).unwrap();
        assert_eq!(&**open_key(&sealed, &key).unwrap(), MANIFEST);
        // Whatever a stranger makes of it gets the same answer from the token as from the file.
        let (in_file, mut dice) = (soft(&issued), Dice(7));
        for _ in 0..200 {
            let bent = mutate(&sealed, &mut dice);
            let (one, other) = (open_key(&bent, &key), open_key(&bent, &in_file));
            assert_eq!(one.as_ref().ok(), other.as_ref().ok());
            assert_eq!(one.err().map(|error| error.to_string()), other.err().map(|error| error.to_string()));
        }
        assert!(key.ecdh(&[4; 65]).is_err() && key.decrypt_oaep_sha256(&[1; 256]).is_err());
    }
}

#[test]
fn a_token_that_is_pulled_is_away_and_works_again_when_it_is_back() {
    let Some((_folder, hsm)) = hsm() else { return };
    let (issued, key) = put(&hsm, Profile::Sealing, KeyKind::Rsa2048, "01");
    let recipient = certificate(&issued);
    let sealed = seal_key(MANIFEST, &recipient, SealingAlgorithm::RsaOaepSha256).unwrap();
    key.try_signing().unwrap();
    assert_eq!(&**open_key(&sealed, &key).unwrap(), MANIFEST);

    hsm.play(Trick::Pulled).unwrap();
    let error = key.sign(b"x").unwrap_err();
    assert!(matches!(&error, SignError::Away { detail, .. } if detail.contains("truc test")), "{error}");
    assert!(matches!(open_key(&sealed, &key), Err(OpenError::Away)));
    hsm.undo(Trick::Pulled).unwrap();
    until("a signature", || key.sign(b"x")); // what was away is left alone for a moment
    assert_eq!(&**open_key(&sealed, &key).unwrap(), MANIFEST);

    // In the middle of a signature.
    hsm.play(Trick::PulledMidway).unwrap();
    assert!(matches!(key.sign(b"x"), Err(SignError::Away { .. })));
    hsm.undo(Trick::Pulled).unwrap();
    until("a signature", || key.sign(b"x")); // what was away is left alone for a moment
}

#[test]
fn a_wrong_pin_is_shown_once_and_never_again() {
    let Some((_folder, hsm)) = hsm() else { return };
    let (issued, good) = put(&hsm, Profile::Service, KeyKind::P256, "01");
    let with = |text: &str| {
        let token = Token::shared(&hsm.module(), hsm.label(), pin(text));
        TokenKey::new(token, named("id:01"), certificate(&issued), Vec::new())
    };
    for _ in 0..20 {
        let error = with("000000").sign(b"x").unwrap_err();
        assert!(matches!(&error, SignError::Away { detail, .. } if detail.contains("not tried again")), "{error}");
        assert!(matches!(with("000000").try_opening(), Err(TokenError::Pin { .. })));
    }
    assert_eq!(hsm.logins(), 1);
    // The right one is tried at once.
    let sign = || good.sign(b"x");
    until("a signature with the right PIN", sign);
    with(PIN).sign(b"x").unwrap();
    assert_eq!(hsm.logins(), 2);
}

#[test]
fn a_token_whose_pin_a_person_gives_is_away_until_then_and_a_wrong_one_is_shown_once() {
    let Some((_folder, hsm)) = hsm() else { return };
    let issued = issue(Profile::Service, KeyKind::P256);
    hsm.import(&issued.key_pem, "prompted", "0a").unwrap();
    let prompted = Token::prompted(&hsm.module(), hsm.label());
    assert!(std::sync::Arc::ptr_eq(&prompted, &Token::prompted(&hsm.module(), hsm.label())), "all keys share it");
    assert!(Token::all_prompted(hsm.label()).iter().any(|known| std::sync::Arc::ptr_eq(known, &prompted)));
    assert!(Token::all_prompted("another").is_empty());
    let key = TokenKey::new(std::sync::Arc::clone(&prompted), named("id:0a"), certificate(&issued), Vec::new());
    let away = key.sign(MANIFEST).unwrap_err();
    assert!(matches!(&away, SignError::Away { detail, .. } if detail.contains("truc pin")), "{away}");
    assert_eq!(hsm.logins(), 0);
    for _ in 0..3 {
        assert!(matches!(prompted.give_pin(pin("000000")), Err(TokenError::Pin { .. })));
    }
    assert_eq!(hsm.logins(), 1, "the wrong one, once");
    until("the right one is taken", || prompted.give_pin(pin(PIN)));
    key.sign(MANIFEST).unwrap();
    // While it is open another one changes nothing.
    prompted.give_pin(pin("000000")).unwrap();
    key.sign(MANIFEST).unwrap();
    assert_eq!(hsm.logins(), 2);
}

#[test]
fn what_a_token_says_it_can_is_tried_before_it_is_believed() {
    let Some((_folder, hsm)) = hsm() else { return };
    let (_, key) = put(&hsm, Profile::Service, KeyKind::Rsa2048, "01");
    hsm.play(Trick::NoHash).unwrap();
    assert_eq!(key.try_signing().unwrap(), TokenWay::SignRsa);
    let cms = sign_detached(&key, b"content", None).unwrap();
    verify_detached(&cms, b"content", &[]).unwrap();
    hsm.undo(Trick::NoHash).unwrap();

    let again = || TokenKey::new(token(&hsm), named("label:key 01"), key.certificate().clone(), Vec::new());
    hsm.play(Trick::Wrong).unwrap();
    assert!(matches!(again().try_signing(), Err(TokenError::Mismatch { .. })));
    assert!(matches!(again().sign(b"x"), Err(SignError::Failed { .. })));
    hsm.undo(Trick::Wrong).unwrap();
    again().try_signing().unwrap();
}

#[test]
fn what_is_not_there_or_does_not_fit_is_named() {
    let Some((folder, hsm)) = hsm() else { return };
    let (issued, _) = put(&hsm, Profile::Service, KeyKind::P256, "01");
    let other = certificate(&issue(Profile::Service, KeyKind::P256));
    let key = |name: &str, certificate| TokenKey::new(token(&hsm), named(name), certificate, Vec::new());
    let none = key("id:99", certificate(&issued)).try_signing().unwrap_err();
    assert!(matches!(&none, TokenError::Object { count: 0, .. }) && none.to_string().contains("id:99"), "{none}");
    assert!(matches!(key("id:01", other.clone()).try_signing(), Err(TokenError::Mismatch { .. })));
    assert!(matches!(key("id:01", other).try_opening(), Err(TokenError::Mismatch { .. })));
    hsm.import(&issue(Profile::Service, KeyKind::P256).key_pem, "key 01", "02").unwrap();
    let two = key("label:key 01", certificate(&issued)).try_signing().unwrap_err();
    assert!(matches!(two, TokenError::Object { count: 2, .. }), "{two}");
    let elsewhere = Token::shared(&hsm.module(), "another", pin(PIN)).connect().unwrap_err();
    assert!(matches!(&elsewhere, TokenError::Away { token, .. } if token == "another"), "{elsewhere}");
    let module = folder.path().join("softhsm2.conf");
    assert!(matches!(Token::shared(&module, "x", pin(PIN)).connect(), Err(TokenError::Module { .. })));
    for bad in ["id:", "id:0", "id:zz", "label:", "key", ""] {
        assert!(bad.parse::<ObjectName>().is_err(), "{bad}");
    }
    assert!(format!("{:?} {:?}", token(&hsm), pin(PIN)).contains("[redacted]"));
}

#[test]
fn the_certificate_may_lie_beside_the_key() {
    let Some((_folder, hsm)) = hsm() else { return };
    let (issued, key) = put(&hsm, Profile::Service, KeyKind::P256, "01");
    key.try_signing().unwrap();
    let none = TokenKey::with_own_certificate(token(&hsm), named("id:01")).unwrap_err();
    assert!(matches!(none, TokenError::Object { what: "certificate", count: 0, .. }), "{none}");
    hsm.import_certificate(&issued.certificate_der, "mine", "01").unwrap();
    hsm.import_certificate(&issue(Profile::Service, KeyKind::P256).certificate_der, "alone", "02").unwrap();
    let key = TokenKey::with_own_certificate(token(&hsm), named("id:01")).unwrap();
    assert_eq!(key.certificate(), &certificate(&issued));
    key.try_signing().unwrap();
    let alone = TokenKey::with_own_certificate(token(&hsm), named("id:02")).unwrap();
    assert!(matches!(alone.try_signing(), Err(TokenError::Object { what: "private key", count: 0, .. })));
}

#[test]
fn many_threads_use_one_token_at_once() {
    let Some((_folder, hsm)) = hsm() else { return };
    let (issued, key) = put(&hsm, Profile::Service, KeyKind::P256, "01");
    let certificate = certificate(&issued);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (key, certificate) = (&key, &certificate);
            scope.spawn(move || {
                for number in 0..50 {
                    let message = format!("{thread} {number}");
                    let signature = key.sign(message.as_bytes()).unwrap();
                    certificate.public_key().verify(key.scheme(), message.as_bytes(), &signature).unwrap();
                }
            });
        }
    });
    assert_eq!(hsm.logins(), 1);
}
