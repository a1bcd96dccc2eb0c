//! May a certificate be believed: paths, uses, times, revocation.

use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use truc_certs_dev::{
    ExtendedKeyUsagePurpose, Issued, Issuer, KeyKind, KeyUsagePurpose, Pki, Profile, Request,
    RevocationReason as DevReason, Subject,
};
use truc_proto::Timestamp;
use truc_signer::{
    Certificate, CertificateUse, Crl, CrlError, PathError, RevocationReason, TrustStore, TrustStoreError, Verdict,
    WhyUnknown, validate, validate_with,
};

use crate::support::{Dice, NOW, PKI, certificate, issue, mutate, store};

const DAY: Duration = Duration::from_secs(86_400);

fn crls(pki: &Pki, this_update: Timestamp, next_update: Timestamp) -> Vec<Crl> {
    pki.crls(this_update, next_update).unwrap().iter().map(|der| Crl::from_der(der).unwrap()).collect()
}

fn current(pki: &Pki) -> TrustStore {
    store(pki, crls(pki, NOW.before(DAY), *NOW + DAY))
}

fn request(profile: Profile) -> Request {
    Request::new(profile, KeyKind::P256, Subject::new("SỞ TƯ PHÁP"))
}

#[test]
fn every_profile_is_good_for_its_own_use_and_refused_for_uses_it_does_not_state() {
    use CertificateUse as Use;
    let store = current(&PKI);
    let signing = [Use::Node, Use::Service, Use::Operator, Use::PersonSignature, Use::Seal];
    let allowed: [(Profile, &[Use]); 9] = [
        (Profile::Tls, &[Use::Tls]),
        (Profile::Node, &signing),
        (Profile::Service, &signing),
        (Profile::Sealing, &[Use::Sealing]),
        (Profile::Seal, &signing),
        (Profile::Person, &signing),
        (Profile::Operator, &signing),
        (Profile::TimeStamping, &[Use::TimeStamping]),
        (Profile::Ocsp, &[Use::Ocsp]),
    ];
    let all = [&signing[..], &[Use::Tls, Use::Sealing, Use::TimeStamping, Use::Ocsp]].concat();
    for key in [KeyKind::P256, KeyKind::Rsa2048] {
        for (profile, uses) in allowed {
            let certificate = certificate(&issue(profile, key));
            for wanted in &all {
                match validate(&store, &certificate, *wanted, *NOW) {
                    Ok(verdict) => {
                        assert!(uses.contains(wanted), "{profile:?} passed for {wanted:?}");
                        assert_eq!(verdict, Verdict::Good);
                    }
                    Err(error) => {
                        assert!(!uses.contains(wanted), "{profile:?} for {wanted:?}: {error}");
                        assert!(matches!(error, PathError::WrongUse { .. }), "{error}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_authority_or_a_certificate_without_key_usage_is_no_leaf() {
    let store = current(&PKI);
    let wrong = |certificate: &Certificate| {
        matches!(validate(&store, certificate, CertificateUse::Service, *NOW), Err(PathError::WrongUse { .. }))
    };
    assert!(wrong(&Certificate::from_der(PKI.sub_der()).unwrap()));
    let silent = PKI.issue_with(Request { key_usages: Some(vec![]), ..request(Profile::Service) }).unwrap();
    assert!(wrong(&certificate(&silent)));
    let stamping_and_more = PKI
        .issue_with(Request {
            extended_key_usages: Some(vec![
                ExtendedKeyUsagePurpose::TimeStamping,
                ExtendedKeyUsagePurpose::EmailProtection,
            ]),
            ..request(Profile::TimeStamping)
        })
        .unwrap();
    let result = validate(&store, &certificate(&stamping_and_more), CertificateUse::TimeStamping, *NOW);
    assert!(matches!(result, Err(PathError::WrongUse { .. })));
}

#[test]
fn both_key_usage_bits_in_one_certificate_serve_both_uses() {
    let both = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyAgreement];
    let both = PKI.issue_with(Request { key_usages: Some(both), ..request(Profile::Service) }).unwrap();
    for wanted in [CertificateUse::Service, CertificateUse::Sealing] {
        assert_eq!(validate(&current(&PKI), &certificate(&both), wanted, *NOW), Ok(Verdict::Good));
    }
}

#[test]
fn expired_and_not_yet_valid_are_told_apart() {
    let store = current(&PKI);
    let certificate = certificate(&issue(Profile::Service, KeyKind::P256));
    let (first, last) = (certificate.not_before(), certificate.not_after());
    let at = |at| validate(&store, &certificate, CertificateUse::Service, at);
    let millisecond = Duration::from_millis(1);
    assert_eq!(at(first), Ok(Verdict::Good));
    assert!(
        matches!(at(first.before(millisecond)), Err(PathError::NotYetValid { not_before, .. }) if not_before == first)
    );
    assert!(at(last).is_ok());
    assert!(matches!(at(last + millisecond), Err(PathError::Expired { not_after, .. }) if not_after == last));
}

#[test]
fn an_expired_authority_is_named() {
    let pki = Pki::new(KeyKind::P256, NOW.before(DAY * 365 * 21)).unwrap();
    let leaf = pki.issue_with(Request { not_after: Some(*NOW + DAY), ..request(Profile::Service) }).unwrap();
    match validate(&store(&pki, vec![]), &certificate(&leaf), CertificateUse::Service, *NOW) {
        Err(PathError::Expired { subject, .. }) => assert!(subject.contains("CA DEV phục vụ"), "{subject}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_authorities_and_forged_names_are_told_apart() {
    let store = current(&PKI);
    let stranger = Pki::unrelated(KeyKind::P256, *NOW).unwrap().issue(Profile::Service, Subject::new("x")).unwrap();
    let result = validate(&store, &certificate(&stranger), CertificateUse::Service, *NOW);
    assert!(matches!(result, Err(PathError::UnknownIssuer { .. })), "{result:?}");
    // Another PKI that gives itself the names of ours, bringing its own sub-CA along.
    let forger = Pki::new(KeyKind::P256, *NOW).unwrap();
    let forged = forger.issue(Profile::Service, Subject::new("x")).unwrap();
    let along = Certificate::from_der(forger.sub_der()).unwrap();
    for others in [&[][..], &[along]] {
        let result = validate_with(&store, &certificate(&forged), others, CertificateUse::Service, *NOW);
        assert!(matches!(result, Err(PathError::BadSignature { .. })), "{result:?}");
    }
}

#[test]
fn the_authority_in_between_may_come_along_with_the_message() {
    let root = Certificate::from_pem(PKI.anchors_pem.as_bytes()).unwrap();
    let store = TrustStore::new(root, vec![], crls(&PKI, NOW.before(DAY), *NOW + DAY)).unwrap();
    let certificate = certificate(&issue(Profile::Service, KeyKind::P256));
    let result = validate(&store, &certificate, CertificateUse::Service, *NOW);
    assert!(matches!(result, Err(PathError::UnknownIssuer { .. })));
    let sub = Certificate::from_der(PKI.sub_der()).unwrap();
    assert_eq!(validate_with(&store, &certificate, &[sub], CertificateUse::Service, *NOW), Ok(Verdict::Good));
}

fn revoked_service() -> (Pki, Issued, Timestamp) {
    let mut pki = Pki::new(KeyKind::P256, *NOW).unwrap();
    let issued = pki.issue(Profile::Service, Subject::new("x")).unwrap();
    let at = NOW.before(Duration::from_secs(3_600));
    pki.revoke(&issued, at, DevReason::KeyCompromise);
    (pki, issued, at)
}

#[test]
fn a_revoked_certificate_is_revoked_at_any_time_asked_and_on_a_stale_list_too() {
    let (pki, issued, revoked_at) = revoked_service();
    let stale = store(&pki, crls(&pki, NOW.before(DAY * 3), NOW.before(DAY)));
    for store in [current(&pki), stale] {
        for at in [NOW.before(Duration::from_secs(7_200)), *NOW, *NOW + DAY * 30] {
            match validate(&store, &certificate(&issued), CertificateUse::Service, at) {
                Ok(Verdict::Revoked { at, reason, subject }) => {
                    assert_eq!((at, reason), (revoked_at, RevocationReason::KeyCompromise));
                    assert_eq!(subject, certificate(&issued).subject());
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_revocation_stands_when_a_later_list_drops_it_and_a_suspension_does_not() {
    for (reason, stands) in [(DevReason::Superseded, true), (DevReason::CertificateHold, false)] {
        let mut pki = Pki::new(KeyKind::P256, *NOW).unwrap();
        let issued = pki.issue(Profile::Service, Subject::new("x")).unwrap();
        let later = crls(&pki, *NOW, *NOW + DAY);
        pki.revoke(&issued, NOW.before(DAY), reason);
        let earlier = crls(&pki, NOW.before(DAY), *NOW + DAY);
        let store = store(&pki, later.into_iter().chain(earlier).collect());
        let verdict = validate(&store, &certificate(&issued), CertificateUse::Service, *NOW).unwrap();
        assert_eq!(matches!(verdict, Verdict::Revoked { .. }), stands, "{verdict:?}");
    }
}

/// A second sub-CA of `pki` with these key usages, and a leaf it issued.
fn authority_and_leaf(pki: &Pki, key_usages: Vec<KeyUsagePurpose>) -> (Issued, Certificate) {
    let authority = pki
        .issue_with(Request {
            authority: true,
            issuer: Issuer::Root,
            key_usages: Some(key_usages),
            extended_key_usages: Some(vec![]),
            ..request(Profile::Service)
        })
        .unwrap();
    let key = KeyPair::try_from(authority.key_pkcs8_der.as_slice()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&authority.certificate_der.clone().into(), key).unwrap();
    let mut params = CertificateParams::default();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    let leaf = Certificate::from_der(leaf.der()).unwrap();
    (authority, leaf)
}

#[test]
fn a_revoked_authority_revokes_what_it_issued() {
    let mut pki = Pki::new(KeyKind::P256, *NOW).unwrap();
    let (authority, leaf) = authority_and_leaf(&pki, vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
    let others = [certificate(&authority)];
    let verdict = validate_with(&current(&pki), &leaf, &others, CertificateUse::Service, *NOW);
    assert!(matches!(verdict, Ok(Verdict::Unknown(WhyUnknown::MissingCrl { .. }))), "{verdict:?}");
    pki.revoke(&authority, *NOW, DevReason::CaCompromise);
    match validate_with(&current(&pki), &leaf, &others, CertificateUse::Service, *NOW) {
        Ok(Verdict::Revoked { reason, subject, .. }) => {
            assert_eq!(reason, RevocationReason::CaCompromise);
            assert_eq!(subject, others[0].subject());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_authority_whose_key_usage_forbids_it_issues_nothing() {
    let (authority, leaf) = authority_and_leaf(&PKI, vec![KeyUsagePurpose::DigitalSignature]);
    let others = [certificate(&authority)];
    assert!(others[0].is_ca());
    let result = validate_with(&current(&PKI), &leaf, &others, CertificateUse::Service, *NOW);
    assert!(matches!(result, Err(PathError::UnknownIssuer { .. })), "{result:?}");
    // A leaf that acts as an authority: no basicConstraints, though the usage bit is there.
    let posing = PKI.issue_with(Request {
        key_usages: Some(vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature]),
        ..request(Profile::Service)
    });
    let posing = certificate(&posing.unwrap());
    assert!(!posing.is_ca());
    assert!(matches!(TrustStore::new(vec![posing], vec![], vec![]), Err(TrustStoreError::Anchor { .. })));
}

#[test]
fn missing_stale_and_foreign_lists_are_unknown_never_good() {
    let certificate = certificate(&issue(Profile::Service, KeyKind::P256));
    let verdict = |crls| validate(&store(&PKI, crls), &certificate, CertificateUse::Service, *NOW);
    assert!(matches!(verdict(vec![]), Ok(Verdict::Unknown(WhyUnknown::MissingCrl { .. }))));
    let due = NOW.before(Duration::from_secs(1));
    let stale = crls(&PKI, NOW.before(DAY), due);
    assert!(matches!(
        verdict(stale),
        Ok(Verdict::Unknown(WhyUnknown::StaleCrl { next_update, .. })) if next_update == due
    ));
    // Same issuer names, other keys.
    let forger = Pki::new(KeyKind::P256, *NOW).unwrap();
    let foreign = crls(&forger, NOW.before(DAY), *NOW + DAY);
    assert!(matches!(verdict(foreign), Ok(Verdict::Unknown(WhyUnknown::ForeignCrl { .. }))));
    // One of two lists is not enough.
    let only_sub = crls(&PKI, NOW.before(DAY), *NOW + DAY).split_off(1);
    assert!(matches!(verdict(only_sub), Ok(Verdict::Unknown(WhyUnknown::MissingCrl { .. }))));
}

#[test]
fn a_remembered_verdict_ends_where_its_lists_and_certificates_do() {
    let next_update = *NOW + DAY;
    let store = store(&PKI, crls(&PKI, NOW.before(DAY), next_update));
    let certificate = certificate(&issue(Profile::Service, KeyKind::P256));
    let ask = |at| validate(&store, &certificate, CertificateUse::Service, at);
    let millisecond = Duration::from_millis(1);
    // In every order, twice: the answer depends on the time asked alone.
    for _ in 0..2 {
        assert!(matches!(ask(next_update + millisecond), Ok(Verdict::Unknown(WhyUnknown::StaleCrl { .. }))));
        assert_eq!(ask(*NOW), Ok(Verdict::Good));
        assert_eq!(ask(next_update), Ok(Verdict::Good));
        assert!(matches!(ask(next_update + millisecond), Ok(Verdict::Unknown(_))));
        assert!(matches!(ask(certificate.not_after() + millisecond), Err(PathError::Expired { .. })));
        assert!(matches!(ask(certificate.not_before().before(millisecond)), Err(PathError::NotYetValid { .. })));
    }
    assert!(matches!(validate(&store, &certificate, CertificateUse::Tls, *NOW), Err(PathError::WrongUse { .. })));
}

#[test]
fn damaged_lists_never_panic_and_changed_ones_lose_their_signature() {
    let (pki, issued, _) = revoked_service();
    let [_, sub] = pki.crls(NOW.before(DAY), *NOW + DAY).unwrap();
    let [root, _] = pki.crls(NOW.before(DAY), *NOW + DAY).unwrap();
    let certificate = certificate(&issued);
    for bit in 0..sub.len() * 8 {
        let mut changed = sub.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(list) = Crl::from_der(&changed) {
            let store = store(&pki, vec![Crl::from_der(&root).unwrap(), list]);
            let verdict = validate(&store, &certificate, CertificateUse::Service, *NOW);
            assert_ne!(verdict, Ok(Verdict::Good), "bit {bit}");
        }
    }
    assert_eq!(Crl::from_file_bytes(&sub).unwrap()[0].revoked_count(), 1);
    assert_eq!(Crl::from_file_bytes(pki.crls_pem().unwrap().as_bytes()).unwrap().len(), 2);
    let mut dice = Dice(5);
    for _ in 0..20_000 {
        let _ = Crl::from_der(&mutate(&sub, &mut dice));
    }
    assert!(matches!(Crl::from_der(&[0x30, 0x80].repeat(1_000_000)), Err(CrlError::Malformed)));
}

#[test]
fn a_store_without_anchor_or_with_a_leaf_as_anchor_is_refused() {
    assert!(matches!(TrustStore::new(vec![], vec![], vec![]), Err(TrustStoreError::NoAnchor)));
    let leaf = certificate(&issue(Profile::Service, KeyKind::P256));
    assert!(matches!(TrustStore::new(vec![leaf], vec![], vec![]), Err(TrustStoreError::Anchor { .. })));
}
