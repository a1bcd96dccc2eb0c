//! CAdES signatures among ourselves: what holds, and what must not.

use truc_certs_dev::{KeyKind, Profile};
use truc_proto::{Digest, limits::CMS_BYTES_MAX};
use truc_signer::{
    CmsError, CmsSignature, SigningKey,
    cms::{sign_detached, sign_detached_digest, verify_attached, verify_detached, verify_detached_digest},
};

use crate::support::{Dice, KINDS, NOW, certificate, issue, mutate, soft};

const CONTENT: &[u8] = "Kính gửi: Ủy ban nhân dân".as_bytes();

#[test]
fn a_signature_holds_over_its_content_and_names_its_certificate() {
    for kind in KINDS {
        let issued = issue(Profile::Service, kind);
        let key = soft(&issued);
        let cms = sign_detached(&key, CONTENT, Some(*NOW)).unwrap();
        let signature = verify_detached(&cms, CONTENT, &[]).unwrap();
        assert_eq!(signature.certificate, certificate(&issued));
        assert_eq!(signature.others.len(), 1, "the sub-CA travels along");
        assert_eq!(signature.signing_time, Some(*NOW));
        assert_eq!(signature.scheme, key.scheme());
        assert_eq!(signature.content, Digest::of(CONTENT));
        assert_eq!(verify_detached_digest(&cms, Digest::of(CONTENT), &[]), Ok(signature));
        assert!(matches!(verify_detached(&cms, b"other", &[]), Err(CmsError::ContentMismatch { .. })));
        assert_eq!(verify_attached(&cms, &[]), Err(CmsError::ContentMissing));
    }
}

#[test]
fn the_signing_time_is_left_out_where_it_is_not_wanted() {
    let key = soft(&issue(Profile::Service, KeyKind::P256));
    let cms = sign_detached_digest(&key, Digest::of(CONTENT), None).unwrap();
    assert_eq!(verify_detached(&cms, CONTENT, &[]).unwrap().signing_time, None);
}

#[test]
fn a_certificate_exchanged_for_another_of_the_same_key_is_noticed() {
    // Same key, name and serial number would fit the SignerInfo; the signed certificate hash does not.
    let issued = issue(Profile::Service, KeyKind::P256);
    let cms = sign_detached(&soft(&issued), CONTENT, None).unwrap();
    let position =
        cms.windows(issued.certificate_der.len()).position(|window| window == issued.certificate_der).unwrap();
    let mut changed = cms.clone();
    // The last byte of the certificate is inside its signature, which CMS verification does not look at.
    changed[position + issued.certificate_der.len() - 1] ^= 1;
    assert!(matches!(verify_detached(&changed, CONTENT, &[]), Err(CmsError::CertificateMismatch { .. })));
}

#[test]
fn a_certificate_under_the_signers_name_beside_the_right_one_changes_nothing() {
    let issued = issue(Profile::Service, KeyKind::P256);
    let key = soft(&issued);
    let cms = sign_detached(&key, CONTENT, None).unwrap();
    let position =
        cms.windows(issued.certificate_der.len()).position(|window| window == issued.certificate_der).unwrap();
    let mut changed = cms.clone();
    changed[position + issued.certificate_der.len() - 1] ^= 1;
    let found = verify_detached(&changed, CONTENT, std::slice::from_ref(key.certificate())).unwrap();
    assert_eq!(found.certificate, *key.certificate());
}

#[test]
fn no_changed_bit_makes_a_signature_say_something_else() {
    for kind in [KeyKind::Rsa2048, KeyKind::P256] {
        let cms = sign_detached(&soft(&issue(Profile::Service, kind)), CONTENT, Some(*NOW)).unwrap();
        let original = verify_detached(&cms, CONTENT, &[]).unwrap();
        for bit in 0..cms.len() * 8 {
            let mut changed = cms.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            check_same_or_refused(&changed, &original);
        }
    }
}

#[test]
fn no_random_damage_panics_or_makes_a_signature_say_something_else() {
    let cms = sign_detached(&soft(&issue(Profile::Service, KeyKind::P256)), CONTENT, Some(*NOW)).unwrap();
    let original = verify_detached(&cms, CONTENT, &[]).unwrap();
    let mut dice = Dice(2);
    for _ in 0..20_000 {
        check_same_or_refused(&mutate(&cms, &mut dice), &original);
    }
}

#[track_caller]
fn check_same_or_refused(changed: &[u8], original: &CmsSignature) {
    // Unsigned parts (versions, NULL parameters, other certificates) may change without consequence; what is said may not.
    if let Ok(signature) = verify_detached(changed, CONTENT, &[]) {
        assert_eq!(signature.certificate, original.certificate);
        assert_eq!(signature.signing_time, original.signing_time);
        assert_eq!(signature.content, original.content);
        assert_eq!(signature.scheme, original.scheme);
        assert_eq!(signature.signature, original.signature);
        assert!(verify_detached(changed, b"other content", &[]).is_err());
    }
}

#[test]
fn bombs_end_at_the_bounds() {
    assert!(matches!(verify_detached(&vec![0x30; CMS_BYTES_MAX + 1], CONTENT, &[]), Err(CmsError::TooLarge { .. })));
    for bomb in [[0x30, 0x80], [0x24, 0x80], [0xa0, 0x80], [0x30, 0x84], [0x30, 0xff]] {
        let nested = bomb.repeat(CMS_BYTES_MAX / 2);
        assert!(matches!(verify_detached(&nested, CONTENT, &[]), Err(CmsError::Malformed { .. })));
    }
    for bytes in [&[][..], &[0x30], &[0x30, 0], &[0x30, 0x80, 0, 0]] {
        assert!(verify_detached(bytes, CONTENT, &[]).is_err());
    }
}
