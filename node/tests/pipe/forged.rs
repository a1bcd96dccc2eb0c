//! What a recipient refuses, each with the reason that goes into the evidence.

use std::{sync::atomic::Ordering, time::Duration};

use truc_certs_dev::{KeyKind, Profile};
use truc_node::pipeline::{Pipeline, PipelineError};
use truc_proto::{AttachmentDigest, Digest, EnvelopeKind, KeyStatus, Reason, WireLevel};
use truc_signer::Certificate;

use crate::{
    forge::Forge,
    packets::{PacketOf, document_header, file, noise, packet_header, pieces},
    world::{Bucket, World, code, soft},
};

#[track_caller]
fn check(forge: &Forge<'_>, reason: Reason, words: &str) {
    let failure = forge.refusal();
    assert!(failure.reason == reason && failure.detail.contains(words), "{failure:?}");
}

#[test]
fn what_the_forge_makes_is_good_until_something_is_changed() {
    let world = World::new();
    let outcomes = Forge::new(&world).outcomes();
    assert_eq!(outcomes, [(code("H37"), Ok(()))]);
}

#[test]
fn a_container_signed_by_another_agency_is_refused() {
    let world = World::new();
    let mut forge = Forge::new(&world);
    forge.signer = &*world.agencies[&code("H49")].service;
    check(&forge, Reason::CertificateRefused, "not one of H26");
    // Nor by the agency's own sealing key, though it is H26's.
    forge.signer = &*world.agencies[&code("H26")].sealing;
    check(&forge, Reason::CertificateRefused, "did not serve H26 for signing");
}

#[test]
fn a_signature_over_something_else_is_refused() {
    let world = World::new();
    let mut forge = Forge::new(&world);
    forge.signed = Some(b"another manifest".to_vec());
    check(&forge, Reason::Invalid, "signature");
}

#[test]
fn a_revoked_certificate_is_refused_whoever_says_so() {
    let mut world = World::new();
    let service = world.agencies[&code("H26")].service_issued.fingerprint();
    world.draft.set_status(&service, KeyStatus::Revoked, world.now.before(Duration::from_secs(60))).unwrap();
    world.publish();
    check(&Forge::new(&world), Reason::CertificateRefused, "did not serve H26");

    let mut world = World::new();
    let issued = world.agencies[&code("H26")].service_issued.clone();
    world.pki.revoke(&issued, world.now, truc_certs_dev::RevocationReason::KeyCompromise);
    world.nodes["N-H37"].pipes.set_trust(crate::world::trust_of(&world.pki));
    check(&Forge::new(&world), Reason::CertificateRefused, "is revoked since");
}

#[test]
fn a_certificate_whose_revocation_cannot_be_told_is_shown_as_unknown_and_consigned() {
    let world = World::new();
    let pem = |text: &str| Certificate::from_pem(text.as_bytes()).unwrap();
    let trust =
        truc_signer::TrustStore::new(pem(&world.pki.anchors_pem), pem(&world.pki.intermediates_pem), Vec::new());
    world.nodes["N-H37"].pipes.set_trust(std::sync::Arc::new(trust.unwrap()));
    let (incoming, envelopes) = Forge::new(&world).arrive();
    let content = world.open("N-H37", &incoming, &envelopes).content.unwrap();
    assert_eq!(content.verdict, "unknown");
    assert!(content.verdict_text.contains("no revocation list"), "{}", content.verdict_text);
}

#[test]
fn another_content_than_the_submission_commits_to_is_refused() {
    let world = World::new();
    let mut forge = Forge::new(&world);
    forge.submission = Box::new(|submission| submission.commitment = Digest::of(b"what the others got"));
    check(&forge, Reason::ContentMismatch, "commits to");
    let mut forge = Forge::new(&world);
    forge.manifest = Box::new(|_, manifest| manifest.salt = [9; 32]);
    check(&forge, Reason::ContentMismatch, "commits to");
}

#[test]
fn of_two_codes_with_other_secrets_only_the_one_with_the_committed_content_is_consigned() {
    let world = World::new();
    let mut forge = Forge::new(&world);
    forge.recipients = vec!["H37", "H37.DN.001"];
    forge.manifest = Box::new(|code, manifest| {
        if code.as_str() == "H37.DN.001" {
            manifest.file_key = [8; 32];
        }
    });
    let outcomes = forge.outcomes();
    let of = |name: &str| outcomes.iter().find(|(found, _)| *found == code(name)).unwrap().1.clone();
    assert_eq!(of("H37"), Ok(()));
    assert_eq!(of("H37.DN.001").unwrap_err().reason, Reason::ContentMismatch);
}

#[test]
fn a_swapped_key_envelope_is_refused_before_a_private_key_is_used() {
    let world = World::new();
    let mut forge = Forge::new(&world);
    forge.recipients = vec!["H37", "H37.DN.001"];
    forge.key_envelopes = Box::new(|envelopes| {
        let (a, b) = (envelopes[0].cms.clone(), envelopes[1].cms.clone());
        (envelopes[0].cms, envelopes[1].cms) = (b, a);
    });
    for name in ["H37", "H37.DN.001"] {
        world.agencies[&code(name)].sealing.away.store(true, Ordering::Relaxed); // a use would be told as Away
    }
    for (_, outcome) in forge.outcomes() {
        let failure = outcome.unwrap_err();
        assert!(
            failure.reason == Reason::Invalid && failure.detail.contains("not the one of the submission"),
            "{failure:?}"
        );
    }
}

#[test]
fn what_does_not_open_is_told_as_such_and_a_missing_key_is_only_waited_for() {
    let world = World::new();
    let other = world.issue(Profile::Sealing, KeyKind::P256, "khóa cũ đã mất");
    let mut forge = Forge::new(&world);
    forge.seal_to.insert(code("H37"), Certificate::from_der(&other.certificate_der).unwrap());
    check(&forge, Reason::CannotOpen, "no key of H37");

    let forge = Forge::new(&world);
    world.agencies[&code("H37")].sealing.away.store(true, Ordering::Relaxed);
    let (incoming, envelopes) = forge.arrive();
    let error = world.nodes["N-H37"].pipes.open(&incoming, &envelopes, &world.directory, world.now).unwrap_err();
    assert!(matches!(error, PipelineError::Failed { key_away: true, .. }), "{error}");
}

#[test]
fn a_manifest_for_another_code_envelope_or_length_is_refused() {
    let world = World::new();
    let changed = |change: fn(&mut truc_proto::KeyManifest)| {
        let mut forge = Forge::new(&world);
        forge.manifest = Box::new(move |_, manifest| change(manifest));
        forge.refusal()
    };
    assert!(changed(|m| m.recipient = code("H49")).detail.contains("made for H49"));
    assert!(changed(|m| m.preamble = Digest::of(b"another")).detail.contains("another envelope"));
    assert!(changed(|m| m.length += 1).detail.contains("not as long"));
    assert!(
        changed(|m| m.container = Digest::of(b"another")).detail.contains("not the one that the key envelope names")
    );
    assert_eq!(changed(|m| m.chunk_bytes = 1 << 30).reason, Reason::Invalid);
}

#[test]
fn ciphertext_that_was_flipped_cut_extended_or_reordered_is_refused() {
    let world = World::new();
    let tampered = |change: fn(&mut Vec<u8>)| {
        let mut forge = Forge::new(&world);
        // Larger than a chunk, so that there is something to reorder.
        let big = noise(2_500_000, 5);
        forge.entries =
            vec![("packet.edxml".into(), PacketOf { to: &["H37"], ..PacketOf::default() }.bytes(&[("a.zip", &big)]))];
        forge.attachments =
            vec![AttachmentDigest { name: "a.zip".into(), length: big.len() as u64, sha256: Digest::of(&big) }];
        forge.payload = Box::new(change);
        forge.refusal()
    };
    let chunk = (1 << 20) + 16;
    assert_eq!(chunk, 1_048_592);
    for (what, change) in [
        ("flipped", (|payload| payload[1_000_000] ^= 1) as fn(&mut Vec<u8>)),
        ("cut", |payload| payload.truncate(payload.len() - 7)),
        ("cut between chunks", |payload| payload.truncate(2 * 1_048_592)),
        ("extended", |payload| payload.push(0)),
        ("reordered", |payload| {
            let (one, two) = payload.split_at_mut(1_048_592);
            one.swap_with_slice(&mut two[..1_048_592]);
        }),
    ] {
        let failure = tampered(change);
        assert_eq!(failure.reason, Reason::ContentMismatch, "{what}: {failure:?}");
    }
}

#[test]
fn an_envelope_json_that_disagrees_with_the_preamble_is_refused_by_field() {
    let world = World::new();
    let changed = |change: fn(&mut truc_proto::EnvelopeJson)| {
        let mut forge = Forge::new(&world);
        forge.envelope = Box::new(change);
        forge.refusal()
    };
    for (field, change) in [
        ("preamble", (|e| e.preamble = Digest::of(b"x")) as fn(&mut truc_proto::EnvelopeJson)),
        ("axis", |e| e.axis = "vn".parse().unwrap()),
        ("level", |e| e.level = WireLevel::Mat),
        ("lane", |e| e.lane = truc_proto::Lane::Classified),
        ("sender", |e| e.sender = code("H49")),
        ("kind", |e| e.kind = EnvelopeKind::Status),
        ("recipients", |e| e.recipients[0].code = code("H49")),
    ] {
        let failure = changed(change);
        assert_eq!(failure.reason, Reason::ContentMismatch);
        assert!(failure.detail.ends_with(&format!("differ in the {field}")), "{failure:?}");
    }
    let failure = changed(|e| e.recipients[0].certificate = Digest::of(b"another certificate"));
    assert!(
        failure.reason == Reason::ContentMismatch && failure.detail.contains("another certificate of H37"),
        "{failure:?}"
    );
}

#[test]
fn a_submission_that_disagrees_with_what_came_is_refused_by_field() {
    let world = World::new();
    let changed = |change: fn(&mut truc_proto::Submission)| {
        let mut forge = Forge::new(&world);
        forge.submission = Box::new(change);
        forge.refusal()
    };
    for (field, change) in [
        ("preamble hash", (|s| s.preamble = Digest::of(b"x")) as fn(&mut truc_proto::Submission)),
        ("payload hash", |s| s.payload = Digest::of(b"x")),
        ("payload length", |s| s.payload_length += 1),
        ("sender", |s| s.actor.code = Some(code("H49"))),
        ("recipients", |s| _ = s.key_envelopes.insert(code("H49"), Digest::of(b"x"))),
    ] {
        let failure = changed(change);
        assert_eq!(failure.reason, Reason::Invalid);
        assert!(failure.detail.ends_with(&format!("differ in the {field}")), "{failure:?}");
    }
}

#[test]
fn another_axis_lane_or_a_secret_level_is_refused() {
    let world = World::new();
    let mut forge = Forge::new(&world);
    forge.preamble = Box::new(|preamble| preamble.axis = "vn".parse().unwrap());
    check(&forge, Reason::WrongLane, "axis vn");
    forge.preamble = Box::new(|preamble| preamble.lane = truc_proto::Lane::Classified);
    check(&forge, Reason::WrongLane, "classified lane");
    forge.preamble = Box::new(|preamble| preamble.level = WireLevel::Mat);
    check(&forge, Reason::LevelRefused, "classified lane");
}

#[test]
fn entries_that_are_not_covered_or_do_not_belong_are_refused() {
    let world = World::new();
    let mut forge = Forge::new(&world);
    forge.uncovered = vec![("attachments/x.pdf".into(), b"x".to_vec())];
    assert_eq!(forge.refusal().reason, Reason::ContentRefused);
    let mut forge = Forge::new(&world);
    forge.entries.push(("extra.exe".into(), b"MZ".to_vec()));
    check(&forge, Reason::ContentRefused, "extra.exe does not belong");
    let mut forge = Forge::new(&world);
    forge.entries.clear();
    check(&forge, Reason::ContentRefused, "make no document");
    let mut forge = Forge::new(&world);
    forge.entries = vec![("status.json".into(), b"{}".to_vec())];
    check(&forge, Reason::ContentRefused, "status.json does not belong");
}

#[test]
fn a_packet_with_other_attachments_or_another_from_is_refused() {
    let world = World::new();
    let mut forge = Forge::new(&world);
    forge.attachments[0].sha256 = Digest::of(b"another file");
    check(&forge, Reason::ContentMismatch, "\"a.pdf\"");
    let mut forge = Forge::new(&world);
    forge.attachments.clear();
    check(&forge, Reason::ContentMismatch, "names 0 attachments, 1 came");
    let mut forge = Forge::new(&world);
    forge.entries =
        vec![("packet.edxml".into(), PacketOf { from: "H49", to: &["H37"], ..PacketOf::default() }.bytes(&[]))];
    forge.attachments.clear();
    check(&forge, Reason::ContentMismatch, "From is not H26");
}

#[test]
fn hostile_xml_is_refused_short_or_long() {
    let world = World::new();
    for padding in [0, 600_000] {
        let mut forge = Forge::new(&world);
        let bomb = format!("<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"c\">]><a>{}</a>", " ".repeat(padding));
        forge.entries = vec![("packet.edxml".into(), bomb.into_bytes())];
        forge.attachments.clear();
        check(&forge, Reason::ContentRefused, "the packet: refused at");
    }
}

#[test]
fn a_certificate_bound_in_a_version_not_seen_yet_is_waited_for_until_the_envelope_expires() {
    let world = World::new();
    let newer = world.issue(Profile::Service, KeyKind::P256, "chứng thư mới");
    let signer = soft(&newer);
    let mut forge = Forge::new(&world);
    forge.signer = &signer;
    forge.submission = Box::new(|submission| submission.directory.version = 2);
    let (incoming, envelopes) = forge.arrive();
    let pipes = &world.nodes["N-H37"].pipes;
    let error = pipes.open(&incoming, &envelopes, &world.directory, world.now).unwrap_err();
    assert!(matches!(error, PipelineError::Failed { key_away: false, .. }), "{error}");
    let late = world.now + Duration::from_secs(2 * 86_400);
    let opened = pipes.open(&incoming, &envelopes, &world.directory, late).unwrap();
    assert_eq!(opened.outcomes[0].1.as_ref().unwrap_err().reason, Reason::CertificateRefused);
}

#[test]
fn a_stored_payload_that_was_changed_is_not_given_out_as_the_document() {
    let world = World::new();
    let sealed = world.sealed(packet_header("k"), pieces(&PacketOf::default().bytes(&[("a.pdf", b"x")])));
    let other = world.sealed(document_header("l", &["H37"]), file("a.pdf", b"y"));
    let (mut incoming, envelopes) = world.deliver(&sealed, "N-H37");
    let content = world.open("N-H37", &incoming, &envelopes).content.unwrap();
    incoming.payload = other.outgoing.payload;
    for what in [
        truc_node::pipeline::FetchWhat::Container { offset: 0 },
        truc_node::pipeline::FetchWhat::Edxml { stamps: Vec::new() },
        truc_node::pipeline::FetchWhat::Attachment("a.pdf".into()),
    ] {
        let fetched = world.nodes["N-H37"].pipes.fetch(&incoming, &content, &what, &mut Bucket::default());
        assert!(matches!(fetched, Err(PipelineError::Failed { .. })), "{what:?}");
    }
}
