//! Binding requests: what must be proven, what the operator must confirm, and the first version of a directory.

use truc_certs_dev::{Profile, Subject};
use truc_evidence::{
    BindingError, Confirmation, Directory, DirectoryDraft, DraftError, VerifiedBinding, ledger_origin, make_binding,
    verify_binding,
};
use truc_proto::{
    BindingRequest, CertificateBinding, Entry, KeyStatus, KeyUse, Lane, Raw, SealingAlgorithm, SignedBinding,
};
use truc_signer::{SigningKey, SoftKey};

use crate::{
    cases::{agency, node},
    world::*,
};

fn sealing(party: &Party) -> CertificateBinding {
    CertificateBinding { algorithms: vec![SealingAlgorithm::EcdhP256], ..binding(party, KeyUse::Sealing) }
}

/// What H26's node asks for at its first start.
fn request() -> BindingRequest {
    let mut entries: Vec<Entry> =
        WORLD.entries().into_iter().filter(|e| ["agency/H26", "node/N-H26"].contains(&e.key().as_str())).collect();
    agency(&mut entries, "H26").certificates =
        vec![binding(&WORLD.service_h26, KeyUse::Service), sealing(&WORLD.sealing_h26)];
    BindingRequest { axis: axis(), lane: Lane::Ordinary, time: at(), entries }
}

fn signed(request: BindingRequest, keys: &[&SoftKey]) -> Raw<SignedBinding> {
    let keys: Vec<&dyn SigningKey> = keys.iter().map(|key| *key as &dyn SigningKey).collect();
    let origin = ledger_origin(&axis(), Lane::Ordinary, &node_id("N-H26"), 1);
    make_binding(request, &ledger_key(&origin, 2), &keys).unwrap()
}

fn judged(binding: &Raw<SignedBinding>, directory: Option<&Directory>) -> Result<VerifiedBinding, BindingError> {
    let read = Raw::<SignedBinding>::parse(binding.bytes().clone()).unwrap();
    verify_binding(&read, directory, &WORLD.store(), &axis(), Lane::Ordinary, at())
}

fn own_keys() -> [&'static SoftKey; 2] {
    [&WORLD.node_h26.key, &WORLD.service_h26.key]
}

#[test]
fn keys_that_signed_are_proven_and_sealing_follows_its_organisation() {
    let verified = judged(&signed(request(), &own_keys()), None).unwrap();
    assert_eq!(verified.unproven_sealing(), []);
    assert_eq!(verified.unendorsed(), ["agency/H26", "node/N-H26"]);
}

#[test]
fn a_signing_certificate_without_its_signature_is_refused() {
    for keys in [&own_keys()[..1], &own_keys()[1..]] {
        let error = judged(&signed(request(), keys), None).unwrap_err();
        assert!(matches!(error, BindingError::NotProven { .. }), "{error}");
    }
    let mut bent = signed(request(), &own_keys()).into_value();
    bent.possession[0].cms = bent.possession[1].cms.clone();
    let error = judged(&Raw::write(bent).unwrap(), None).unwrap_err();
    assert!(matches!(error, BindingError::Proof { .. }), "{error}");
    let mut bent = signed(request(), &own_keys()).into_value();
    bent.ledger_signature[0] ^= 1;
    let error = judged(&Raw::write(bent).unwrap(), None).unwrap_err();
    assert!(matches!(error, BindingError::LedgerKey { .. }), "{error}");
}

#[test]
fn a_sealing_certificate_of_another_organisation_needs_the_operator_s_word() {
    let stranger = WORLD.pki.issue(Profile::Sealing, Subject::new("Niêm").organization("Cơ quan khác")).unwrap();
    let mut asked = request();
    let mut other = sealing(&WORLD.sealing_h26);
    other.der = stranger.certificate_der.clone();
    other.sha256 = stranger.fingerprint();
    agency(&mut asked.entries, "H26").certificates[1] = other;
    let verified = judged(&signed(asked, &own_keys()), None).unwrap();
    assert_eq!(verified.unproven_sealing()[0].certificate, stranger.fingerprint());
    let mut draft = DirectoryDraft::new(axis(), Lane::Ordinary);
    let endorsed = Confirmation { sealing: false, endorsement: true };
    assert!(matches!(draft.add(&verified, endorsed).unwrap_err(), DraftError::SealingNotConfirmed(_)));
    assert_eq!(draft.entries().count(), 0);
    draft.add(&verified, Confirmation { sealing: true, endorsement: true }).unwrap();
    assert_eq!(draft.entries().count(), 2);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let refused = |bend: fn(&mut BindingRequest)| {
        let mut asked = request();
        bend(&mut asked);
        judged(&signed(asked, &own_keys()), None).unwrap_err()
    };
    assert!(matches!(refused(|asked| asked.lane = Lane::Classified), BindingError::Domain { .. }));
    assert!(matches!(refused(|asked| asked.axis = "vn".parse().unwrap()), BindingError::Domain { .. }));
    assert!(matches!(refused(|asked| asked.time = after(HOUR_MS)), BindingError::FromFuture { .. }));
    let elsewhere = refused(|asked| agency(&mut asked.entries, "H26").node = Some(node_id("N-H37")));
    assert!(matches!(elsewhere, BindingError::Shape { .. }));
    assert!(matches!(refused(|asked| node(&mut asked.entries, "N-H26").epoch = 2), BindingError::Shape { .. }));
    let unknown = refused(|asked| asked.entries.retain(|entry| entry.as_agency().is_some()));
    assert!(matches!(unknown, BindingError::Shape { .. }));
    let foreign = refused(|asked| {
        node(&mut asked.entries, "N-H26").certificates[0] = binding(&WORLD.foreign_node, KeyUse::Node);
    });
    assert!(matches!(foreign, BindingError::Path { .. }), "{foreign}");
    let long = refused(|asked| node(&mut asked.entries, "N-H26").certificates[1].valid_to = after(9_000 * DAY_MS));
    assert!(matches!(long, BindingError::Terms { .. }), "{long}");
    let algorithm = refused(|asked| {
        agency(&mut asked.entries, "H26").certificates[1].algorithms = vec![SealingAlgorithm::RsaOaepSha256];
    });
    assert!(matches!(algorithm, BindingError::Terms { .. }), "{algorithm}");
}

#[test]
fn a_known_code_is_bound_anew_only_with_its_current_or_parent_key() {
    let directory = WORLD.directory();
    let by_current = judged(&signed(request(), &own_keys()), Some(&directory)).unwrap();
    assert_eq!(by_current.unendorsed(), Vec::<String>::new());
    // Another service certificate, and nobody of today signs.
    let mut asked = request();
    agency(&mut asked.entries, "H26").certificates[0] = binding(&WORLD.service_g22, KeyUse::Service);
    let strangers = [&WORLD.node_h26.key, &WORLD.service_g22.key];
    let taken = judged(&signed(asked.clone(), &strangers), Some(&directory)).unwrap();
    assert_eq!(taken.unendorsed(), ["agency/H26"]);
    let mut draft = DirectoryDraft::following(&directory).unwrap();
    let error = draft.add(&taken, Confirmation::default()).unwrap_err();
    assert!(matches!(error, DraftError::EndorsementNotConfirmed(_)), "{error}");
    // With the current key beside the new one it is endorsed, and the old certificate stays beside the new.
    let with_current = [&WORLD.node_h26.key, &WORLD.service_g22.key, &WORLD.service_h26.key];
    let endorsed = judged(&signed(asked, &with_current), Some(&directory)).unwrap();
    draft.add(&endorsed, Confirmation::default()).unwrap();
    let bound = draft.entries().find(|entry| entry.key() == "agency/H26").unwrap().certificates().to_vec();
    let has = |party: &Party| bound.iter().any(|binding| binding.sha256 == party.sha256());
    assert!(has(&WORLD.service_g22) && has(&WORLD.service_h26) && has(&WORLD.sealing_h26));
}

#[test]
fn a_child_code_is_endorsed_by_its_parent() {
    let directory = WORLD.directory();
    let mut child = request();
    child.entries.retain(|entry| entry.as_agency().is_some());
    agency(&mut child.entries, "H26").code = code("H26.33");
    let verified = judged(&signed(child, &own_keys()), Some(&directory)).unwrap();
    assert_eq!(verified.unendorsed(), Vec::<String>::new());
}

#[test]
fn asking_again_lifts_no_revocation() {
    let mut draft = DirectoryDraft::following(&WORLD.directory()).unwrap();
    draft.set_status(&WORLD.service_h26.sha256(), KeyStatus::Revoked, at()).unwrap();
    let verified = judged(&signed(request(), &own_keys()), Some(&WORLD.directory())).unwrap();
    draft.add(&verified, Confirmation::default()).unwrap();
    let entry = draft.entries().find(|entry| entry.key() == "agency/H26").unwrap();
    let bound = entry.certificates().iter().find(|b| b.sha256 == WORLD.service_h26.sha256()).unwrap();
    assert_eq!(bound.status, KeyStatus::Revoked);
}

#[test]
fn the_first_version_is_made_of_bindings() {
    let mut draft = DirectoryDraft::new(axis(), Lane::Ordinary);
    let verified = judged(&signed(request(), &own_keys()), None).unwrap();
    draft.add(&verified, Confirmation { sealing: false, endorsement: true }).unwrap();
    for entry in WORLD.entries() {
        if matches!(entry, Entry::Relay(_) | Entry::Operator(_)) {
            draft.put(entry).unwrap();
        }
    }
    let version1 = draft.sign(&WORLD.operator.key, at(), after(30 * DAY_MS)).unwrap();
    let directory =
        Directory::verify(version1, &WORLD.pinned(), &WORLD.store(), &axis(), Lane::Ordinary, at()).unwrap();
    assert_eq!((directory.version(), directory.statement().previous), (1, None));
    assert_eq!(directory.codes_of(&node_id("N-H26")), [code("H26")]);
}

/// A request as H26's node would send it.
pub(crate) fn signed_by_own_keys() -> Raw<SignedBinding> {
    signed(request(), &own_keys())
}
