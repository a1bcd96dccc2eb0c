//! Evidence as it comes from a peer.

use truc_evidence::{
    Directory, Entitlement, EvidenceError, ReceiptParts, ReceiptVerdict, item_of, receipt, sign_checkpoint,
    verify_batch, verify_checkpoint_cms, verify_leaf, verify_receipt,
};
use truc_ledger::merkle::{MemTree, leaf_hash};
use truc_proto::{
    Actor, Arrival, Checkpoint, Digest, Entry, EnvelopeId, Event, EventUri, Lane, NodeId, Role, SignedNote, Timestamp,
    wire_v1,
};

use crate::{cases::agency, world::*};

fn envelope() -> EnvelopeId {
    EnvelopeId::new(at(), [7; 10])
}

fn consignment(code_text: &str, node: &str, time: Timestamp) -> Event {
    Event {
        event: EventUri::ContentConsignment,
        actor: Actor { code: Some(code(code_text)), node: node_id(node), role: Role::Recipient },
        time,
        envelope: Some(envelope()),
        sender: code("G22"),
        recipient: Some(code(code_text)),
        submission: Some(Digest::of(b"submission")),
        preamble: Some(Digest::of(b"preamble")),
        payload: Some(Digest::of(b"payload")),
        commitment: Some(Digest::of(b"commitment")),
        key_envelope: None,
        reason: None,
        details: None,
        request: None,
        successor: None,
    }
}

/// A ledger with these leaves, its checkpoint signed by the ledger's key.
fn ledger(id: &str, seed: u8, leaves: &[Vec<u8>]) -> (MemTree, SignedNote) {
    let tree = MemTree::of(leaves);
    let origin = format!("truc/dev/ordinary/{id}/1");
    let checkpoint = Checkpoint::new(origin.clone(), tree.size(), tree.root()).unwrap();
    (tree, ledger_key(&origin, seed).sign(&checkpoint))
}

fn wire(id: &str, seed: u8, leaf: Vec<u8>) -> wire_v1::ProvenLeaf {
    let leaves = [b"first".to_vec(), leaf, b"third".to_vec()];
    let (tree, note) = ledger(id, seed, &leaves);
    wire_v1::ProvenLeaf {
        leaf: leaves[1].clone().into(),
        index: 1,
        proof: tree.inclusion(1, 3).unwrap().iter().map(|hash| hash.as_bytes().to_vec().into()).collect(),
        checkpoint: note.to_string().into_bytes().into(),
    }
}

fn refused(wire: &wire_v1::ProvenLeaf, directory: &Directory, from: Option<&NodeId>) -> EvidenceError {
    verify_leaf(wire, directory, from, at()).unwrap_err()
}

#[test]
fn evidence_of_the_right_node_is_proven() {
    let directory = WORLD.directory();
    let leaf = bytes_of(&consignment("H26", "N-H26", at()));
    let proven = verify_leaf(&wire("N-H26", 2, leaf.clone()), &directory, Some(&node_id("N-H26")), at()).unwrap();
    assert_eq!((proven.leaf_hash, proven.index, &proven.node), (leaf_hash(&leaf), 1, &node_id("N-H26")));
    assert_eq!(proven.leaf.envelope(), Some(envelope()));
    let arrival =
        Arrival { leaf: leaf_hash(&leaf), node: node_id("N-H26"), envelope: envelope(), time: at(), late: false };
    verify_leaf(&wire("R1", 4, bytes_of(&arrival)), &directory, None, at()).unwrap();
    assert!(matches!(refused(&wire("N-H26", 2, bytes_of(&arrival)), &directory, None), EvidenceError::Role { .. }));
}

#[test]
fn evidence_that_its_node_may_not_give_is_refused() {
    let directory = WORLD.directory();
    let of = |code, node, ledger, seed| wire(ledger, seed, bytes_of(&consignment(code, node, at())));
    let own = || of("H26", "N-H26", "N-H26", 2);
    assert!(matches!(refused(&of("H37", "N-H26", "N-H26", 2), &directory, None), EvidenceError::NotEntitled { .. }));
    assert!(matches!(refused(&of("H37", "N-H37", "N-H26", 2), &directory, None), EvidenceError::OtherActor { .. }));
    assert!(matches!(refused(&of("H26", "N-H26", "N-H26", 3), &directory, None), EvidenceError::Signature { .. }));
    assert!(matches!(refused(&of("H26", "N-X", "N-X", 3), &directory, None), EvidenceError::UnknownLedger { .. }));
    assert!(matches!(refused(&own(), &directory, Some(&node_id("N-H37"))), EvidenceError::OtherNode { .. }));
    assert!(matches!(refused(&of("H26", "R1", "R1", 4), &directory, None), EvidenceError::Role { .. }));
    assert!(matches!(
        refused(&wire_v1::ProvenLeaf { index: 2, ..own() }, &directory, None),
        EvidenceError::Inclusion(_)
    ));
    let future = wire("N-H26", 2, bytes_of(&consignment("H26", "N-H26", after(301_000))));
    assert!(matches!(refused(&future, &directory, None), EvidenceError::FromFuture { .. }));
    let just = wire("N-H26", 2, bytes_of(&consignment("H26", "N-H26", after(299_000))));
    assert!(verify_leaf(&just, &directory, None, at()).is_ok());
    let older = wire("N-H26", 2, bytes_of(&consignment("H26", "N-H26", after(-300 * DAY_MS))));
    assert!(verify_leaf(&older, &directory, None, at()).is_ok());
    assert!(matches!(refused(&wire("N-H26", 2, b"{}".to_vec()), &directory, None), EvidenceError::Leaf(_)));
}

#[test]
fn what_a_newer_directory_or_a_later_clock_may_mend_is_told_from_what_is_wrong_for_ever() {
    let older = {
        let mut entries = WORLD.entries();
        agency(&mut entries, "H26").valid_to = Some(after(-60 * DAY_MS));
        let bytes = entries.iter().map(|entry| bytes_of(entry).into()).collect();
        let signed = sign_directory(bytes, WORLD.root(), &WORLD.operator.key);
        Directory::verify(signed, &WORLD.pinned(), &WORLD.store(), &axis(), truc_proto::Lane::Ordinary, at()).unwrap()
    };
    let newer = WORLD.directory();
    let not_yet_bound = wire("N-H26", 2, bytes_of(&consignment("H26", "N-H26", at())));
    assert!(refused(&not_yet_bound, &older, None).may_pass());
    verify_leaf(&not_yet_bound, &newer, None, at()).unwrap();
    let ahead = wire("N-H26", 2, bytes_of(&consignment("H26", "N-H26", after(301_000))));
    assert!(refused(&ahead, &newer, None).may_pass());
    verify_leaf(&ahead, &newer, None, after(2_000)).unwrap();
    let unknown = wire("N-X", 3, bytes_of(&consignment("H26", "N-X", at())));
    assert!(refused(&unknown, &newer, None).may_pass());
    let of = |code, node, seed| wire("N-H26", seed, bytes_of(&consignment(code, node, at())));
    for never in
        [of("H37", "N-H37", 2), of("H26", "N-H26", 3), wire_v1::ProvenLeaf { index: 2, ..of("H26", "N-H26", 2) }]
    {
        assert!(!refused(&never, &newer, None).may_pass());
    }
}

#[test]
fn entitlement_counts_at_the_time_of_the_event() {
    let mut entries = WORLD.entries();
    agency(&mut entries, "H26").valid_to = Some(after(-60 * DAY_MS));
    let bytes = entries.iter().map(|entry| bytes_of(entry).into()).collect();
    let signed = sign_directory(bytes, WORLD.root(), &WORLD.operator.key);
    let directory =
        Directory::verify(signed, &WORLD.pinned(), &WORLD.store(), &axis(), truc_proto::Lane::Ordinary, at()).unwrap();
    let of = |time| wire("N-H26", 2, bytes_of(&consignment("H26", "N-H26", time)));
    assert!(verify_leaf(&of(after(-61 * DAY_MS)), &directory, None, at()).is_ok());
    // What it had taken comes to its end within the life of an envelope.
    assert!(verify_leaf(&of(after(-31 * DAY_MS)), &directory, None, at()).is_ok());
    assert!(matches!(refused(&of(after(-30 * DAY_MS)), &directory, None), EvidenceError::NotEntitled { .. }));
    assert!(matches!(refused(&of(at()), &directory, None), EvidenceError::NotEntitled { .. }));
}

fn batch(note: &SignedNote, tree: &MemTree, leaves: &[Vec<u8>], with_leaves: bool) -> wire_v1::EvidenceBatch {
    let item = |(index, leaf): (usize, &Vec<u8>)| {
        let proof = tree.inclusion(index as u64, tree.size()).unwrap();
        item_of(with_leaves.then_some(leaf), leaf_hash(leaf), index as u64, &proof, Some(envelope()))
    };
    wire_v1::EvidenceBatch {
        checkpoint: note.to_string().into_bytes().into(),
        items: leaves.iter().enumerate().map(item).collect(),
    }
}

#[test]
fn one_bad_item_of_a_batch_does_not_touch_the_others() {
    let directory = WORLD.directory();
    let leaves = [
        bytes_of(&consignment("H26", "N-H26", at())),
        bytes_of(&consignment("H37", "N-H26", at())),
        bytes_of(&consignment("H26.18", "N-H26", at())),
    ];
    let (tree, note) = ledger("N-H26", 2, &leaves);
    let mut sent = batch(&note, &tree, &leaves, true);
    sent.items[2].envelope = EnvelopeId::new(at(), [8; 10]).to_string();
    let proven = verify_batch(&sent, &directory, None, None, at()).unwrap();
    assert!(!proven.cms && proven.items[0].is_ok());
    assert!(matches!(proven.items[1], Err(EvidenceError::NotEntitled { .. })));
    assert!(matches!(proven.items[2], Err(EvidenceError::Envelope)));
    sent.items[0].leaf = b"another".as_slice().into();
    let proven = verify_batch(&sent, &directory, None, None, at()).unwrap();
    assert!(matches!(proven.items[0], Err(EvidenceError::LeafHash)));
}

#[test]
fn a_finalising_batch_needs_no_leaves_and_shows_the_certificate() {
    let directory = WORLD.directory();
    let leaves = [bytes_of(&consignment("H26", "N-H26", at()))];
    let (tree, mut note) = ledger("N-H26", 2, &leaves);
    sign_checkpoint(&mut note, &WORLD.node_h26.key, at()).unwrap();
    let sent = batch(&note, &tree, &leaves, false);
    let proven = verify_batch(&sent, &directory, None, Some(&WORLD.store()), at()).unwrap();
    assert!(proven.cms);
    let item = proven.items[0].as_ref().unwrap();
    assert_eq!((item.leaf.as_ref(), item.leaf_hash, item.envelope), (None, leaf_hash(&leaves[0]), Some(envelope())));
    // The same checkpoint under a certificate that the directory does not bind has no line that counts.
    let (_, mut note) = ledger("N-H26", 2, &leaves);
    sign_checkpoint(&mut note, &WORLD.node_h37.key, at()).unwrap();
    let sent = batch(&note, &tree, &leaves, false);
    assert!(!verify_batch(&sent, &directory, None, Some(&WORLD.store()), at()).unwrap().cms);
}

/// Whoever passes a checkpoint on may put lines under it, and whoever is told that it is cosigned puts it in the place of one that is not.
#[test]
fn a_checkpoint_is_cosigned_when_enough_of_those_whom_the_directory_lists_did_and_no_line_of_theirs_is_wrong() {
    let mut entries = WORLD.entries();
    for (id, (name, seed)) in [("R1", W_R1), ("N-G22", W_G22), ("N-H26", W_H26), ("N-H37", W_H37)] {
        let key = truc_proto::WitnessKey(*ledger_key(name, seed).public().public_key());
        crate::cases::node(&mut entries, id).witness_key = Some(key);
    }
    let directory = |entries: &[Entry]| {
        let bytes = entries.iter().map(|entry| bytes_of(entry).into()).collect();
        let signed = sign_directory(bytes, WORLD.root(), &WORLD.operator.key);
        Directory::verify(signed, &WORLD.pinned(), &WORLD.store(), &axis(), Lane::Ordinary, at()).unwrap()
    };
    let leaves = [bytes_of(&consignment("H26", "N-H26", at()))];
    let shown = |directory: &Directory, id: &str, lines: &[Cosigned]| {
        let (seed, party) = if id == "R1" { (4, &WORLD.relay) } else { (2, &WORLD.node_h26) };
        let (tree, mut note) = ledger(id, seed, &leaves);
        let uncertified = batch(&with(note.clone(), lines), &tree, &leaves, false);
        let proven = verify_batch(&uncertified, directory, None, Some(&WORLD.store()), at()).unwrap();
        assert!(!proven.cms && proven.attested.is_none(), "without the certificate's line it proves nothing");
        sign_checkpoint(&mut note, &party.key, at()).unwrap();
        let sent = batch(&with(note, lines), &tree, &leaves, false);
        let proven = verify_batch(&sent, directory, None, Some(&WORLD.store()), at()).unwrap();
        assert!(proven.cms && !proven.attested.stamped);
        assert!(verify_batch(&sent, directory, None, None, at()).unwrap().attested.is_none(), "nothing was verified");
        proven.attested.cosigned
    };
    let by = |by, bend: fn(&mut Cosigned)| {
        let mut line = Cosigned { after_ms: 0, ..cosigned_by(by) };
        bend(&mut line);
        line
    };
    let good = |who| by(who, |_| {});
    let all = directory(&entries);
    let (stranger, old_key) = (good(("somebody.example/witness", 77)), good((W_R1.0, 99)));
    let forged = |who| by(who, |line| line.really_by = Some(98));
    let (future, past) =
        (|who| by(who, |line| line.after_ms = HOUR_MS), |who| by(who, |line| line.after_ms = -HOUR_MS));
    for (id, lines, cosigned) in [
        ("N-H26", vec![good(W_R1)], true),
        ("N-H26", vec![], false),
        ("N-H26", vec![good(W_G22), good(W_H37)], false), // nodes do not stand in for the relay
        ("N-H26", vec![good(W_H26)], false),
        ("N-H26", vec![good(W_R1), stranger.clone()], true),
        ("N-H26", vec![stranger.clone(), old_key.clone()], false),
        ("N-H26", vec![forged(W_R1)], false),
        ("N-H26", vec![future(W_R1)], false),
        ("N-H26", vec![past(W_R1)], false),
        ("N-H26", vec![by(W_R1, |line| line.text = |text| text.replace("\n1\n", "\n2\n"))], false),
        ("N-H26", vec![good(W_R1), forged(W_G22)], false), // a policy of these witnesses would refuse it
        ("R1", vec![good(W_G22), good(W_H37)], true),
        ("R1", vec![good(W_G22), good(W_H26), good(W_H37)], true),
        ("R1", vec![good(W_G22)], false),
        ("R1", vec![good(W_G22), good(W_R1)], false),
        ("R1", vec![good(W_G22), good(W_H37), future(W_H26)], false),
    ] {
        let names: Vec<_> = lines.iter().map(|line| (line.by, line.really_by, line.after_ms)).collect();
        assert_eq!(shown(&all, id, &lines), cosigned, "{id} {names:?}");
    }
    // One node alone is enough where there is no other; where nobody is listed nobody can say it.
    for id in ["N-H26", "N-H37"] {
        crate::cases::node(&mut entries, id).witness_key = None;
    }
    assert!(shown(&directory(&entries), "R1", &[good(W_G22)]));
    assert!(!shown(&WORLD.directory(), "R1", &[good(W_G22)]));
    assert_eq!(WORLD.directory().cosigners_wanted(truc_evidence::NodeKind::Node), None);
}

fn with(mut note: SignedNote, lines: &[Cosigned]) -> SignedNote {
    lines.iter().for_each(|line| cosign(&mut note, line));
    note
}

#[test]
fn a_checkpoint_checked_before_is_remembered_by_its_very_bytes() {
    let directory = WORLD.directory();
    let leaves = [bytes_of(&consignment("H26", "N-H26", at()))];
    let (tree, note) = ledger("N-H26", 2, &leaves);
    let good = batch(&note, &tree, &leaves, true);
    assert!(verify_batch(&good, &directory, None, None, at()).is_ok());
    // One bit of the signature later it is another note, and is checked again.
    let mut forged = good.clone();
    let mut bytes = forged.checkpoint.to_vec();
    let place = bytes.len() - 10;
    bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
    forged.checkpoint = bytes.into();
    assert!(verify_batch(&forged, &directory, None, None, at()).is_err());
    assert!(verify_batch(&good, &directory, None, None, at()).is_ok());
}

#[test]
fn a_revoked_certificate_never_finalises() {
    let mut entries = WORLD.entries();
    crate::cases::node(&mut entries, "N-H26").certificates[0] = binding(&WORLD.revoked_node, truc_proto::KeyUse::Node);
    let entry = crate::cases::node(&mut entries, "N-H26").clone();
    let (_, mut note) = ledger("N-H26", 2, &[b"leaf".to_vec()]);
    sign_checkpoint(&mut note, &WORLD.revoked_node.key, at()).unwrap();
    assert!(verify_checkpoint_cms(&note, &entry, &WORLD.store(), at()).is_ok());
    let store = store_of(&WORLD.trust_pem(), &WORLD.crls_pem);
    let error = verify_checkpoint_cms(&note, &entry, &store, at()).unwrap_err();
    assert!(matches!(error, truc_evidence::CheckpointCmsError::Revoked { .. }), "{error}");
}

#[test]
fn a_certificate_stopped_today_cannot_sign_for_yesterday() {
    let mut entry = WORLD.node_entry("N-H26", 2, &WORLD.node_h26);
    let (_, mut note) = ledger("N-H26", 2, &[b"leaf".to_vec()]);
    sign_checkpoint(&mut note, &WORLD.node_h26.key, after(-DAY_MS)).unwrap();
    assert!(verify_checkpoint_cms(&note, &entry, &WORLD.store(), at()).is_ok());
    entry.certificates[0].status = truc_proto::KeyStatus::Suspended;
    entry.certificates[0].status_since = Some(after(-HOUR_MS));
    let error = verify_checkpoint_cms(&note, &entry, &WORLD.store(), at()).unwrap_err();
    assert!(matches!(error, truc_evidence::CheckpointCmsError::NotInForce { .. }), "{error}");
}

/// Whoever passes a signature on may put a time-stamp in: a wrong one would make the receipts of who keeps it invalid.
#[test]
fn a_wrong_time_stamp_is_refused_when_it_comes_and_one_that_proves_nothing_is_not() {
    let entry = WORLD.node_entry("N-H26", 2, &WORLD.node_h26);
    let (_, mut note) = ledger("N-H26", 2, &[b"leaf".to_vec()]);
    sign_checkpoint(&mut note, &WORLD.node_h26.key, at()).unwrap();
    let certificate = WORLD.node_h26.sha256();
    let signature = truc_evidence::checkpoint_signature(&note, &certificate).unwrap();
    let stamped = |token: &[u8]| {
        let mut note = note.clone();
        truc_evidence::stamp_checkpoint(&mut note, &certificate, token).unwrap();
        assert!(truc_evidence::is_stamped(&note));
        verify_checkpoint_cms(&note, &entry, &WORLD.store(), at()).map(drop)
    };
    assert!(!truc_evidence::is_stamped(&note));
    for (tsa, stamps, good) in [
        (&WORLD.tsa, signature.as_slice(), true),
        (&WORLD.foreign_tsa, &signature, true),
        (&WORLD.misused_tsa, &signature, false),
        (&WORLD.tsa, b"another signature", false),
    ] {
        let found = stamped(&token(tsa, stamps, 1_000));
        assert!(found.is_ok() == good, "{found:?}");
        assert!(good || matches!(found, Err(truc_evidence::CheckpointCmsError::TimeStamp { .. })));
    }
    assert!(stamped(&[0x30, 0]).is_err());

    let mut directory = WORLD.signed_directory();
    let verified = |directory| {
        truc_evidence::Directory::verify(
            directory,
            &WORLD.pinned(),
            &WORLD.store(),
            &axis(),
            truc_proto::Lane::Ordinary,
            at(),
        )
    };
    let cms = directory.cms.clone();
    directory.cms = stamped_by(&cms, &directory.statement, |world, value| vec![token(&world.tsa, value, -9 * DAY_MS)]);
    assert!(verified(directory.clone()).is_ok());
    directory.cms = stamped_by(&cms, &directory.statement, |world, _| vec![token(&world.tsa, b"another", -9 * DAY_MS)]);
    assert!(matches!(verified(directory), Err(truc_evidence::DirectoryError::TimeStamp(_))));
}

fn stamped_by(cms: &[u8], statement: &[u8], stamps: Stamps) -> bytes::Bytes {
    crate::world::stamped(&WORLD, cms.to_vec(), statement, stamps).into()
}

#[test]
fn a_receipt_is_written_from_evidence_and_the_directory_then_in_force() {
    let directory = WORLD.directory();
    let event = consignment("H26", "N-H26", at());
    let leaves = [bytes_of(&event)];
    let (tree, mut note) = ledger("N-H26", 2, &leaves);
    sign_checkpoint(&mut note, &WORLD.node_h26.key, after(1_000)).unwrap();
    let entitlement = directory.entitlement(&event.actor).unwrap().unwrap();
    let kept = Entitlement::from_bytes(&entitlement.to_bytes()).unwrap();
    assert_eq!(kept, entitlement);
    let text = receipt(ReceiptParts {
        leaf: &leaves[0],
        index: 0,
        proof: &tree.inclusion(0, 1).unwrap(),
        checkpoint: &note,
        entitlement: &kept,
        preamble: None,
        opening: None,
    })
    .unwrap();
    let trust = truc_evidence::ReceiptTrust::new(WORLD.store(), WORLD.pinned());
    let report = verify_receipt(text.as_bytes(), &trust, None, after(DAY_MS));
    assert_eq!((report.verdict, report.against().count()), (ReceiptVerdict::Valid, 0));
    let summary = report.summary.unwrap();
    assert_eq!((summary.actor, summary.actor_name.as_deref()), (Some(code("H26")), Some("Cơ quan H26")));
    assert_eq!(summary.directory_version, Some(3));
    let nobody = Actor { code: Some(code("A45")), ..event.actor };
    assert!(directory.entitlement(&nobody).unwrap().is_none());
}

/// A consignment by H26 as its node would send it.
pub(crate) fn consignment_on_the_wire() -> wire_v1::ProvenLeaf {
    wire("N-H26", 2, bytes_of(&consignment("H26", "N-H26", at())))
}
