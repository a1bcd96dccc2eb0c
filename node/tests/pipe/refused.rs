//! What a sender's node refuses before anything is stored.

use std::{fs, time::Duration};

use bytes::Bytes;
use truc_node::pipeline::{Part, Pipeline, PipelineError, Resolved};
use truc_proto::{KeyStatus, Reason, node_v1::SendHeader};

use crate::{
    packets::{PacketOf, document_header, file, packet_header, pieces},
    world::{List, World, code},
};

/// Nothing of a refused request stays on the device.
fn check_nothing_stored(world: &World) {
    let store = world.sender().folder.path().join("store");
    for folder in ["b", "tmp"] {
        assert_eq!(fs::read_dir(store.join(folder)).unwrap().count(), 0, "{folder}");
    }
}

#[test]
fn a_packet_from_somebody_else_is_refused() {
    let world = World::new();
    let packet = PacketOf { from: "H49", ..PacketOf::default() }.bytes(&[("a.pdf", &[7; 200_000])]);
    let refusal = world.refused(packet_header("k"), pieces(&packet));
    assert_eq!(refusal.reason, Reason::NotEntitled);
    assert!(refusal.english.contains("\"H49\"") && refusal.english.contains("H26"), "{}", refusal.english);
    check_nothing_stored(&world);
}

#[test]
fn an_unknown_code_is_refused_with_its_neighbours_and_a_closed_one_with_its_successor() {
    let mut world = World::new();
    let refusal = world.refused(document_header("k", &["H37.DN.002"]), []);
    assert_eq!((refusal.reason, refusal.nearest.first()), (Reason::UnknownCode, Some(&code("H37.DN.001"))));
    let packet = PacketOf { to: &["H37", "H94"], ..PacketOf::default() }.bytes(&[]);
    let refusal = world.refused(packet_header("k"), pieces(&packet));
    assert_eq!(refusal.reason, Reason::UnknownCode);

    world.draft.close(&code("H49"), world.now.before(Duration::from_secs(60)), None, Some(code("A11"))).unwrap();
    world.publish();
    let refusal = world.refused(document_header("k", &["H49"]), []);
    assert_eq!((refusal.reason, refusal.successor), (Reason::ClosedCode, Some(code("A11"))));
    assert!(refusal.vietnamese.contains("A11"), "{}", refusal.vietnamese);
    check_nothing_stored(&world);
}

#[test]
fn a_secret_level_or_mark_is_refused_on_the_ordinary_lane_as_evidence() {
    let world = World::new();
    for level in ["mat", "toi-mat", "tuyet-mat"] {
        let header = SendHeader { level: level.to_owned(), ..document_header("k", &["H37"]) };
        let refusal = world.refused(header, []);
        assert_eq!((refusal.reason, refusal.evidence.is_some()), (Reason::LevelRefused, true), "{level}");
    }
    let packet = PacketOf { type_name: "Tối mật", ..PacketOf::default() }.bytes(&[]);
    let refusal = world.refused(packet_header("k"), pieces(&packet));
    assert_eq!((refusal.reason, refusal.evidence.is_some()), (Reason::LevelRefused, true));
    let unnamed = SendHeader { level: String::new(), ..document_header("k", &["H37"]) };
    assert_eq!(world.refused(unnamed, []).reason, Reason::Invalid);
}

#[test]
fn the_classified_lane_takes_mat_and_still_not_tuyet_mat() {
    let world = World::on(truc_proto::Lane::Classified);
    let header = |level: &str| SendHeader { level: level.to_owned(), ..document_header("k", &["H37"]) };
    let sealed = world.sealed(header("toi-mat"), file("a.pdf", b"x"));
    let (incoming, envelopes) = world.deliver(&sealed, "N-H37");
    assert!(world.open("N-H37", &incoming, &envelopes).content.is_some());
    assert_eq!(world.refused(header("tuyet-mat"), []).reason, Reason::LevelRefused);
}

#[test]
fn of_several_recipients_one_without_a_key_is_named_so_that_the_others_need_not_wait() {
    let mut world = World::new();
    let sealing = world.agencies[&code("H37")].sealing_issued.clone();
    let since = world.now.before(Duration::from_secs(60));
    world.pki.revoke(&sealing, since, truc_certs_dev::RevocationReason::KeyCompromise);
    world.sender().pipes.set_trust(crate::world::trust_of(&world.pki));
    let refusal = world.refused(document_header("k", &["H37", "H49"]), []);
    assert_eq!(refusal.reason, Reason::CertificateRefused);
    assert!(refusal.english.starts_with("H37 cannot be sealed to now"), "{}", refusal.english);
    assert!(refusal.vietnamese.contains("H37"), "{}", refusal.vietnamese);
    world.draft.set_status(&sealing.fingerprint(), KeyStatus::Suspended, since).unwrap();
    world.publish();
    let refusal = world.refused(document_header("k", &["H37", "H49"]), []);
    assert!(refusal.english.starts_with("H37 cannot be sealed to now"), "{}", refusal.english);
}

#[test]
fn a_packet_that_is_cut_hostile_or_not_fit_to_be_issued_is_refused_and_leaves_nothing() {
    let world = World::new();
    let packet = PacketOf::default().bytes(&[("a.pdf", &[9; 500_000])]);
    let cut = world.refused(packet_header("k"), pieces(&packet[..packet.len() - 40]));
    assert_eq!(cut.reason, Reason::ContentRefused, "{}", cut.english);
    let declared = |length| SendHeader {
        form: Some(truc_proto::node_v1::send_header::Form::Packet(truc_proto::node_v1::PacketForm { length })),
        ..packet_header("k")
    };
    let refusal = world.refused(declared(packet.len() as u64 + 1), pieces(&packet));
    assert!(refusal.english.contains("was to have"), "{}", refusal.english);
    world.sealed(declared(packet.len() as u64), pieces(&packet));

    let world = World::new();
    let doctype = world.refused(packet_header("k"), pieces(b"<!DOCTYPE a><a/>"));
    assert_eq!(doctype.reason, Reason::ContentRefused);
    let untitled = PacketOf { subject: " ", ..PacketOf::default() };
    let text = String::from_utf8(PacketOf::default().bytes(&[])).unwrap().replace("Công văn thử", " ");
    assert_eq!(untitled.subject, " ");
    let refusal = world.refused(packet_header("k"), pieces(text.as_bytes()));
    assert!(refusal.english.contains("Subject is missing"), "{}", refusal.english);
    check_nothing_stored(&world);
}

#[test]
fn a_caller_that_goes_away_leaves_nothing() {
    struct Broken(usize);
    impl truc_node::pipeline::Parts for Broken {
        fn next(&mut self) -> std::io::Result<Option<Part>> {
            self.0 += 1;
            match self.0 {
                1 => Ok(Some(file("a.bin", b"x").remove(0))),
                2..50 => Ok(Some(Part::Data(Bytes::from(vec![self.0 as u8; 50_000])))),
                _ => Err(std::io::ErrorKind::ConnectionReset.into()),
            }
        }
    }
    let world = World::new();
    let mut header = document_header("k", &["H37"]);
    header.priority = 0;
    let outcome =
        world.sender().pipes.compose(header, &Resolved::default(), &mut Broken(0), &world.directory, world.moment(1));
    assert!(matches!(outcome, Err(PipelineError::Refused(_))), "{outcome:?}");
    check_nothing_stored(&world);
}

#[test]
fn names_fields_and_orders_that_cannot_be_are_refused() {
    let world = World::new();
    let refused = |parts: Vec<Part>| world.refused(document_header("k", &["H37"]), parts);
    for name in ["../a.pdf", "a/b.pdf", "noextension", " a.pdf", "a\u{202e}fdp.exe", ""] {
        assert_eq!(refused(file(name, b"x")).reason, Reason::Invalid, "{name:?}");
    }
    assert_eq!(refused([file("a.pdf", b"x"), file("a.pdf", b"y")].concat()).reason, Reason::Invalid);
    assert_eq!(refused(pieces(b"bytes of no file")).reason, Reason::Invalid);
    let packet = PacketOf::default().bytes(&[]);
    let and_a_file = [file("a.pdf", b"x"), pieces(&packet)].concat();
    assert_eq!(world.refused(packet_header("k"), and_a_file).reason, Reason::Invalid);

    let header = |change: fn(&mut SendHeader)| {
        let mut header = document_header("k", &["H37"]);
        change(&mut header);
        world.refused(header, [])
    };
    assert_eq!(header(|h| h.recipients = vec!["H26".into()]).reason, Reason::Invalid);
    assert_eq!(header(|h| h.recipients.clear()).reason, Reason::Invalid);
    assert_eq!(header(|h| h.recipients = vec!["nonsense".into()]).reason, Reason::UnknownCode);
    assert_eq!(header(|h| h.sender = "H49".into()).reason, Reason::NotEntitled);
    assert_eq!(header(|h| h.priority = 5).reason, Reason::Invalid);
    assert_eq!(header(|h| h.ttl_s = 31 * 86_400).reason, Reason::Invalid);
    assert_eq!(header(|h| h.idempotency_key = "ả".into()).reason, Reason::Invalid);
    assert_eq!(header(|h| h.form = None).reason, Reason::Invalid);
    let mut none = List(std::iter::empty());
    assert!(truc_node::pipeline::Parts::next(&mut none).unwrap().is_none());
    check_nothing_stored(&world);
}
