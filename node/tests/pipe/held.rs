//! Held while the key is away or the directory too old; sealed again where a recipient could not open.

use std::{sync::atomic::Ordering, time::Duration};

use truc_node::{
    pipeline::{Composed, Moment, Pipeline, PipelineError, Resolved},
    records::Held,
};
use truc_proto::{AgencyId, KeyStatus, Preamble, Raw, Reason, edxml};

use crate::{
    packets::{PacketOf, document_header, file, packet_header, pieces},
    world::{Bucket, List, World, code, digest},
};

#[track_caller]
fn held(outcome: Result<Composed, PipelineError>) -> Held {
    match outcome.unwrap() {
        Composed::Held(request) => request.held,
        other @ Composed::Sealed(_) => panic!("not held: {other:?}"),
    }
}

#[test]
fn a_request_without_key_is_held_encrypted_and_finished_under_its_id_when_the_key_is_back() {
    let world = World::new();
    let away = &world.agencies[&code("H26")].service.away;
    away.store(true, Ordering::Relaxed);
    let packet = PacketOf::default().bytes(&[("a.pdf", b"%PDF held")]);
    let held = held(world.compose(packet_header("k1"), pieces(&packet)));
    assert_eq!((held.idempotency_key.as_str(), held.recipients.len()), ("k1", 3));
    assert_eq!(held.about.subject, "Công văn thử");
    let blob = world.sender().blobs.length(&digest(&held.blob)).unwrap();
    assert!(blob.is_some(), "it is on the device");

    let pipes = &world.sender().pipes;
    let later = world.now + Duration::from_secs(3_600);
    let to: Vec<AgencyId> = held.recipients.iter().map(|code| code.parse().unwrap()).collect();
    let error = pipes.finish(&held, &to, &world.directory, later).unwrap_err();
    assert!(matches!(error, PipelineError::Failed { key_away: true, .. }), "{error}");
    away.store(false, Ordering::Relaxed);
    let sealed = pipes.finish(&held, &to, &world.directory, later).unwrap();
    let preamble = Raw::<Preamble>::parse(sealed.outgoing.preamble.clone()).unwrap();
    assert_eq!(preamble.envelope.to_string(), held.envelope);
    assert_eq!(sealed.outgoing.request_hash, held.request_hash);
    assert_eq!(sealed.outgoing.idempotency_key, "k1");

    let (incoming, envelopes) = world.deliver(&sealed, "N-H49");
    let content = world.open("N-H49", &incoming, &envelopes).content.unwrap();
    let mut bucket = Bucket::default();
    let what = truc_node::pipeline::FetchWhat::Edxml { stamps: Vec::new() };
    world.nodes["N-H49"].pipes.fetch(&incoming, &content, &what, &mut bucket).unwrap();
    let mut contents = edxml::Collect::default();
    edxml::read(bucket.bytes.as_slice(), &mut contents).unwrap();
    assert_eq!(contents.0, [b"%PDF held"]);

    away.store(false, Ordering::Relaxed);
    let again = world.sealed(packet_header("k1"), pieces(&packet));
    assert_eq!(again.outgoing.request_hash, held.request_hash, "the same request is known again");
}

#[test]
fn of_a_held_or_sealed_document_that_was_withdrawn_from_some_the_others_get_the_same_content() {
    let world = World::new();
    let away = &world.agencies[&code("H26")].service.away;
    away.store(true, Ordering::Relaxed);
    let packet = PacketOf::default().bytes(&[("a.pdf", b"%PDF rest")]);
    let held = held(world.compose(packet_header("k1"), pieces(&packet)));
    away.store(false, Ordering::Relaxed);
    let pipes = &world.sender().pipes;
    let recipients: Vec<AgencyId> = held.recipients.iter().map(|code| code.parse().unwrap()).collect();
    let (gone, left) = recipients.split_first().unwrap();
    let sealed = pipes.finish(&held, left, &world.directory, world.now).unwrap();
    let whole = world.sealed(packet_header("k2"), pieces(&packet));
    let Composed::Sealed(divided) = pipes.divide(&whole.outgoing, left, &world.directory, world.moment(9)).unwrap()
    else {
        panic!("sealed")
    };
    let preamble = |sealed: &truc_node::core::Sealed| Raw::<Preamble>::parse(sealed.outgoing.preamble.clone()).unwrap();
    assert_eq!(preamble(&sealed).envelope.to_string(), held.envelope, "held, it keeps its id");
    assert_eq!(divided.outgoing.continues, preamble(&whole).envelope.to_string());
    assert_ne!(preamble(&divided).envelope, preamble(&whole).envelope);
    for rest in [&sealed, &*divided] {
        assert_eq!(preamble(rest).recipients, left);
        assert!(rest.outgoing.key_envelopes.iter().all(|envelope| envelope.recipient != gone.as_str()));
        let (incoming, envelopes) = world.deliver(rest, "N-H49");
        let opened = world.open("N-H49", &incoming, &envelopes);
        assert!(
            !opened.outcomes.is_empty() && opened.outcomes.iter().all(|(_, outcome)| outcome.is_ok()),
            "{opened:?}"
        );
        assert_eq!(opened.content.unwrap().about.attachments, whole.outgoing.about.attachments);
    }
}

#[test]
fn sending_waits_when_the_directory_is_past_its_grace() {
    let world = World::new();
    let late = world.now + Duration::from_secs((90 + 31) * 86_400);
    let moment = Moment { now: late, asked: late, random: [3; 10] };
    let mut parts = List(file("a.pdf", b"x").into_iter());
    let outcome = world.sender().pipes.compose(
        document_header("k", &["H37"]),
        &Resolved::default(),
        &mut parts,
        &world.directory,
        moment,
    );
    let held = held(outcome);
    let error = world.sender().pipes.finish(&held, &[code("H37")], &world.directory, late).unwrap_err();
    assert!(error.to_string().contains("past its time"), "{error}");
}

#[test]
fn a_document_is_sealed_again_for_one_recipient_with_the_same_content() {
    let mut world = World::new();
    let packet = PacketOf::default().bytes(&[("a.pdf", b"%PDF once")]);
    let first = world.sealed(packet_header("k"), pieces(&packet));
    let before = Raw::<Preamble>::parse(first.outgoing.preamble.clone()).unwrap();
    // The relay may name whom it likes: sealed is to whom the directory names.
    let error = world
        .sender()
        .pipes
        .reseal(&first.outgoing, &code("H37"), &code("A11"), &world.directory, world.moment(9))
        .unwrap_err();
    assert!(error.to_string().contains("A11 took over H37, and directory version 1 does not"), "{error}");
    assert!(matches!(error, PipelineError::Failed { key_away: false, .. }), "tried again with the next version");
    world.draft.close(&code("H37"), world.now, None, Some(code("A11"))).unwrap();
    world.publish();
    let pipes = &world.sender().pipes;
    let reseal =
        |to: &str| pipes.reseal(&first.outgoing, &code("H37"), &code(to), &world.directory, world.moment(9)).unwrap();
    let Composed::Sealed(second) = reseal("A11") else { panic!("sealed") };
    let after = Raw::<Preamble>::parse(second.outgoing.preamble.clone()).unwrap();
    let supersedes = after.supersedes.clone().unwrap();
    assert_eq!((supersedes.envelope, supersedes.recipient), (before.envelope, code("H37")));
    assert_eq!(after.recipients, [code("A11")]);
    assert_ne!((after.envelope, second.commitment), (before.envelope, first.commitment));
    assert!(second.outgoing.idempotency_key.is_empty());

    let (incoming, envelopes) = world.deliver(&second, "N-H49");
    let opened = world.open("N-H49", &incoming, &envelopes);
    assert_eq!(opened.outcomes, [(code("A11"), Ok(()))]);
    let content = opened.content.unwrap();
    assert_eq!(content.about.attachments, first.outgoing.about.attachments);

    world.agencies[&code("H26")].service.away.store(true, Ordering::Relaxed);
    let error =
        pipes.reseal(&first.outgoing, &code("H37"), &code("A11"), &world.directory, world.moment(8)).unwrap_err();
    assert!(matches!(error, PipelineError::Failed { key_away: true, .. }), "tried again when it is back: {error}");
}

#[test]
fn what_was_asked_before_a_code_closed_is_still_sealed_to_it() {
    let mut world = World::new();
    let packet = PacketOf::default().bytes(&[("a.pdf", b"%PDF once")]);
    world.agencies[&code("H26")].service.away.store(true, Ordering::Relaxed);
    let held = held(world.compose(packet_header("held"), pieces(&packet)));
    world.agencies[&code("H26")].service.away.store(false, Ordering::Relaxed);
    let before = world.moment(4);
    world.draft.close(&code("H37"), world.now + Duration::from_secs(1), None, Some(code("A11"))).unwrap();
    world.publish();
    // Held at that second: the relay lets the old code's node open it, or it goes to the successor.
    let later = world.now + Duration::from_secs(5);
    let pipes = &world.sender().pipes;
    let to: Vec<AgencyId> = held.recipients.iter().map(|code| code.parse().unwrap()).collect();
    let finished = pipes.finish(&held, &to, &world.directory, later).unwrap();
    let preamble = Raw::<Preamble>::parse(finished.outgoing.preamble.clone()).unwrap();
    assert!(preamble.recipients.contains(&code("H37")));
    // Asked again because the answer was lost: the same hash, so the core answers as before. New: refused.
    let compose = |asked| {
        let moment = Moment { now: later, asked, random: [5; 10] };
        pipes.compose(
            packet_header("k"),
            &Resolved::default(),
            &mut List(pieces(&packet).into_iter()),
            &world.directory,
            moment,
        )
    };
    let Composed::Sealed(again) = compose(before.now).unwrap() else { panic!("sealed") };
    assert!(!again.outgoing.request_hash.is_empty());
    let Err(PipelineError::Refused(refused)) = compose(later) else { panic!("refused") };
    assert_eq!((refused.reason, refused.successor), (Reason::ClosedCode, Some(code("A11"))));
}

/// Whoever said so, authority or operator, and whosever key it is: nothing is refused for it, nothing lost.
#[test]
fn what_needs_a_key_that_was_taken_away_is_held_until_there_is_another() {
    for (whose, by_list) in [("H26", true), ("H26", false), ("H37", true), ("H37", false)] {
        let mut world = World::new();
        let agency = &world.agencies[&code(whose)];
        let issued = if whose == "H26" { agency.service_issued.clone() } else { agency.sealing_issued.clone() };
        let since = world.now.before(Duration::from_secs(60));
        if by_list {
            world.pki.revoke(&issued, since, truc_certs_dev::RevocationReason::KeyCompromise);
            world.sender().pipes.set_trust(crate::world::trust_of(&world.pki));
        } else {
            world.draft.set_status(&issued.fingerprint(), KeyStatus::Suspended, since).unwrap();
            world.publish();
        }
        let held = held(world.compose(document_header("k", &["H37"]), file("a.pdf", b"%PDF held")));
        let warned = held.about.warnings.iter().any(|warning| warning.starts_with("H37"));
        assert_eq!(warned, whose == "H37", "{:?}", held.about.warnings);
        let (pipes, to) = (&world.sender().pipes, [code("H37")]);
        let still = pipes.finish(&held, &to, &world.directory, world.now).unwrap_err();
        assert!(
            matches!(&still, PipelineError::Failed { key_away: true, what } if what.contains(whose) && what.contains("revoked or suspended")),
            "{still}"
        );
        if by_list {
            continue;
        }
        world.draft.set_status(&issued.fingerprint(), KeyStatus::Good, since).unwrap();
        world.publish();
        let sealed = world.sender().pipes.finish(&held, &to, &world.directory, world.now).unwrap();
        let (incoming, envelopes) = world.deliver(&sealed, "N-H37");
        assert!(world.open("N-H37", &incoming, &envelopes).content.is_some(), "{whose}");
    }
}
