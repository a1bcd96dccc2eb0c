//! Key envelopes and storage keys among ourselves.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use truc_certs_dev::{KeyKind, Profile};
use truc_proto::limits::{KEY_ENVELOPE_BYTES_MAX, KEY_MANIFEST_BYTES_MAX};
use truc_signer::{
    Certificate, OpenError, OpeningKey, OpeningKeyError, SealError, SealingAlgorithm, SoftKey, StorageKey,
    StorageKeyError, open_key, seal_key,
};

use crate::support::{Bench, Dice, KINDS, certificate, issue, mutate, set_mode, soft};

const MANIFEST: &[u8] = br#"{"suite":"S1","file_key":"..."}"#;

fn seal(manifest: &[u8], recipient: &Certificate) -> Vec<u8> {
    seal_key(manifest, recipient, SealingAlgorithm::for_certificate(recipient).unwrap()).unwrap()
}

#[test]
fn the_recipient_opens_what_was_sealed_and_nobody_else() {
    for kind in KINDS {
        let (ours, other) = (issue(Profile::Sealing, kind), issue(Profile::Sealing, kind));
        let largest = vec![7; KEY_MANIFEST_BYTES_MAX];
        for manifest in [MANIFEST, b"", &largest] {
            let envelope = seal(manifest, &certificate(&ours));
            assert!(envelope.len() <= KEY_ENVELOPE_BYTES_MAX);
            assert_eq!(&**open_key(&envelope, &soft(&ours)).unwrap(), manifest);
            assert!(matches!(open_key(&envelope, &soft(&other)), Err(OpenError::NotForUs { .. })));
        }
    }
}

#[test]
fn an_algorithm_that_does_not_fit_and_an_oversized_manifest_are_refused() {
    let rsa = certificate(&issue(Profile::Sealing, KeyKind::Rsa2048));
    assert!(matches!(seal_key(MANIFEST, &rsa, SealingAlgorithm::EcdhP256), Err(SealError::Algorithm { .. })));
    let large = vec![0; KEY_MANIFEST_BYTES_MAX + 1];
    assert!(matches!(seal_key(&large, &rsa, SealingAlgorithm::RsaOaepSha256), Err(SealError::TooLarge { .. })));
}

/// Counts how often the private key is touched.
struct Counting<'a>(&'a SoftKey, AtomicUsize);

impl OpeningKey for Counting<'_> {
    fn certificate(&self) -> &Certificate {
        OpeningKey::certificate(self.0)
    }
    fn decrypt_oaep_sha256(&self, ciphertext: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, OpeningKeyError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.decrypt_oaep_sha256(ciphertext)
    }
    fn ecdh(&self, peer_point: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, OpeningKeyError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.ecdh(peer_point)
    }
}

#[test]
fn the_private_key_is_not_touched_for_what_is_not_ours() {
    for kind in [KeyKind::Rsa2048, KeyKind::P256] {
        let (ours, other) = (issue(Profile::Sealing, kind), issue(Profile::Sealing, kind));
        let key = soft(&ours);
        let counting = Counting(&key, AtomicUsize::new(0));
        assert!(open_key(&seal(MANIFEST, &certificate(&other)), &counting).is_err());
        assert_eq!(counting.1.load(Ordering::Relaxed), 0);
        assert!(open_key(&seal(MANIFEST, &certificate(&ours)), &counting).is_ok());
        assert_eq!(counting.1.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_key_that_is_away_is_told_apart_from_an_envelope_that_does_not_open() {
    struct Away(Certificate);
    impl OpeningKey for Away {
        fn certificate(&self) -> &Certificate {
            &self.0
        }
        fn decrypt_oaep_sha256(&self, _: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, OpeningKeyError> {
            Err(OpeningKeyError::Away)
        }
        fn ecdh(&self, _: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, OpeningKeyError> {
            Err(OpeningKeyError::Away)
        }
    }
    let ours = certificate(&issue(Profile::Sealing, KeyKind::P256));
    assert_eq!(open_key(&seal(MANIFEST, &ours), &Away(ours.clone())), Err(OpenError::Away));
}

#[test]
fn no_changed_bit_opens_to_something_else_and_after_the_key_is_used_every_failure_is_the_same() {
    for kind in [KeyKind::Rsa2048, KeyKind::P256] {
        let ours = issue(Profile::Sealing, kind);
        let key = soft(&ours);
        let counting = Counting(&key, AtomicUsize::new(0));
        let envelope = seal(MANIFEST, &certificate(&ours));
        let failures = Cell::new(0);
        let check = |changed: &[u8]| {
            let before = counting.1.load(Ordering::Relaxed);
            let result = open_key(changed, &counting);
            let touched = counting.1.load(Ordering::Relaxed) > before;
            match result {
                Ok(opened) => assert_eq!(&**opened, MANIFEST),
                Err(error) => {
                    assert_eq!(touched, error == OpenError::Failed, "{error}");
                    failures.set(failures.get() + 1);
                }
            }
        };
        for bit in 0..envelope.len() * 8 {
            let mut changed = envelope.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            check(&changed);
        }
        let mut dice = Dice(3);
        for _ in 0..3_000 {
            check(&mutate(&envelope, &mut dice));
        }
        assert!(failures.get() > envelope.len() * 8 - 64, "all but a few bits (attributes nobody reads) must matter");
    }
}

#[test]
fn oversized_envelopes_and_bombs_are_refused() {
    let key = soft(&issue(Profile::Sealing, KeyKind::P256));
    assert!(matches!(open_key(&vec![0x30; KEY_ENVELOPE_BYTES_MAX + 1], &key), Err(OpenError::TooLarge { .. })));
    for bomb in [[0x30, 0x80], [0x24, 0x80], [0xa0, 0x80]] {
        assert_eq!(open_key(&bomb.repeat(KEY_ENVELOPE_BYTES_MAX / 2), &key), Err(OpenError::Malformed));
    }
}

#[test]
fn a_storage_key_comes_back_from_its_file_or_through_the_decryption_key() {
    let bench = Bench::new();
    let (plain, sealed) = (bench.path("storage.key"), bench.path("storage.p7m"));
    let secret = |key: &StorageKey| key.wrap(b"x", b"y").unwrap();

    let created = StorageKey::create(&plain, 4).unwrap();
    let wrapped = secret(&created);
    let loaded = StorageKey::load(&plain).unwrap();
    assert_eq!(loaded.epoch(), 4);
    assert_eq!(&**loaded.unwrap(&wrapped, b"y").unwrap(), b"x");
    assert!(StorageKey::create(&plain, 5).is_err(), "an existing key is never replaced");
    assert!(StorageKey::load(&plain).unwrap().unwrap(&wrapped, b"y").is_ok());
    set_mode(&plain, 0o640);
    let exposed = StorageKey::load(&plain).unwrap_err();
    assert!(matches!(exposed, StorageKeyError::File(truc_signer::FileError::Exposed { mode: 0o640, .. })), "{exposed}");

    let ours = issue(Profile::Sealing, KeyKind::Rsa2048);
    let created = StorageKey::create_sealed(&sealed, 5, &certificate(&ours)).unwrap();
    let loaded = StorageKey::load_sealed(&sealed, &soft(&ours)).unwrap();
    assert_eq!(&**loaded.unwrap(&secret(&created), b"y").unwrap(), b"x");
    let other = soft(&issue(Profile::Sealing, KeyKind::Rsa2048));
    assert!(matches!(StorageKey::load_sealed(&sealed, &other), Err(StorageKeyError::Open(_))));
}
