//! Directory versions: what is verified, what is refused, what is answered.

use bytes::Bytes;
use truc_evidence::{
    AdmissionError, BindingChange, CertificateLookupError, Confirmation, Directory, DirectoryDraft, DirectoryError,
    DirectoryFileError, Freshness, NodeKind, PinnedOperator, ResolveError, WitnessPolicyError, encode_directory,
};
use truc_ledger::merkle::{MemTree, leaf_hash, verify_inclusion};
use truc_proto::{
    Checkpoint, Entry, EventUri, KeyStatus, KeyUse, Lane, NoteKey, Policy, Reason, Role, RootStatement, Route,
    SignedDirectory, WitnessKey, wire_v1,
};

use crate::{
    cases::{agency, node},
    world::*,
};

fn verified(signed: SignedDirectory) -> Result<Directory, DirectoryError> {
    Directory::verify(signed, &WORLD.pinned(), &WORLD.store(), &axis(), Lane::Ordinary, at())
}

/// The directory with other entries or another root, signed by the operator.
fn bent(entries: fn(&mut Vec<Entry>), root: fn(&mut RootStatement)) -> Result<Directory, DirectoryError> {
    let mut all = WORLD.entries();
    entries(&mut all);
    let mut statement = WORLD.root();
    root(&mut statement);
    let bytes = all.iter().map(|entry| Bytes::from(bytes_of(entry))).collect();
    verified(sign_directory(bytes, statement, &WORLD.operator.key))
}

#[test]
fn a_verified_directory_answers_from_its_entries() {
    let directory = WORLD.directory();
    assert_eq!(directory.version(), 3);
    assert_eq!(directory.agency(&code("H26")).unwrap().node, Some(node_id("N-H26")));
    assert_eq!(directory.codes_of(&node_id("N-H26")), [code("H26"), code("H26.18")]);
    assert_eq!(directory.relay().id, node_id("R1"));
    assert_eq!(directory.node(&node_id("R1")).unwrap().0, NodeKind::Relay);
    assert_eq!(directory.by_origin("truc/dev/ordinary/N-H37/1").unwrap().1.id, node_id("N-H37"));
    assert!(directory.operator_entry().is_some() && directory.agency(&code("A45")).is_none());
    let service = directory.certificate(&code("H26"), KeyUse::Service, at()).unwrap();
    assert_eq!(service.sha256(), WORLD.service_h26.sha256());
    assert!(directory.binding_of(&code("H26"), &WORLD.sealing_h26.sha256()).is_some());
    let none = directory.certificate(&code("H37"), KeyUse::Sealing, at()).unwrap_err();
    assert!(matches!(none, CertificateLookupError::None { .. }), "{none}");
}

#[test]
fn an_entry_is_proven_to_the_signed_root() {
    let directory = WORLD.directory();
    for key in ["agency/G22", "node/N-H37", "operator", "relay/R1"] {
        let proven = directory.proven(key).unwrap().unwrap();
        let root = directory.statement();
        verify_inclusion(&leaf_hash(&proven.bytes), proven.index, root.size, &proven.proof, &root.root).unwrap();
    }
    let reference = directory.reference(&code("G22")).unwrap();
    assert_eq!(reference.entry, leaf_hash(&directory.proven("agency/G22").unwrap().unwrap().bytes));
    assert!(directory.proven("agency/A45").unwrap().is_none());
}

#[test]
fn a_policy_of_its_witnesses_is_met_by_the_relay_or_by_nodes() {
    let key = |(name, seed): (&str, u8)| WitnessKey(*ledger_key(name, seed).public().public_key());
    let mut entries = WORLD.entries();
    let listed = |entries: &[Entry]| {
        let bytes = entries.iter().map(|entry| Bytes::from(bytes_of(entry))).collect();
        verified(sign_directory(bytes, WORLD.root(), &WORLD.operator.key)).unwrap()
    };
    assert_eq!(listed(&entries).witness_policy(None), Err(WitnessPolicyError::NoWitness));
    for (id, witness) in [("R1", W_R1), ("N-G22", W_G22), ("N-H37", W_H37)] {
        node(&mut entries, id).witness_key = Some(key(witness));
    }
    let directory = listed(&entries);
    let policy = Policy::parse(directory.witness_policy(None).unwrap().as_bytes()).unwrap();
    let names: Vec<&str> = policy.witnesses().iter().map(NoteKey::name).collect();
    assert_eq!(names, [W_R1.0, W_G22.0, W_H37.0]);
    let met = |by: &[usize]| policy.is_met(|place| by.contains(&place));
    assert!(met(&[0]) && met(&[1, 2]) && !met(&[1]) && !met(&[]));
    let one = Policy::parse(directory.witness_policy(Some(1)).unwrap().as_bytes()).unwrap();
    assert!(one.is_met(|place| place == 2) && !one.is_met(|_| false));
    assert_eq!(directory.witness_policy(Some(3)), Err(WitnessPolicyError::TooFew { found: 2, wanted: 3 }));
    for id in ["N-G22", "N-H37"] {
        node(&mut entries, id).witness_key = None;
    }
    let relay_alone = Policy::parse(listed(&entries).witness_policy(None).unwrap().as_bytes()).unwrap();
    assert!(relay_alone.is_met(|place| place == 0) && !relay_alone.is_met(|_| false));
}

#[test]
fn codes_that_mail_cannot_go_to_are_refused_with_what_to_do() {
    let directory = bent(
        |entries| {
            let h37 = agency(entries, "H37");
            h37.valid_to = Some(after(-DAY_MS));
            h37.successor = Some(code("H26"));
            agency(entries, "H26.18").lanes = vec![Lane::Classified];
            agency(entries, "G22").route = Route::Legacy;
        },
        |_| {},
    )
    .unwrap();
    let refused = |text: &str| directory.resolve(&code(text), at()).unwrap_err();
    assert_eq!(directory.resolve(&code("H26"), at()).unwrap().code, code("H26"));
    let closed = refused("H37");
    assert_eq!(
        closed,
        ResolveError::Closed { code: code("H37"), closed: after(-DAY_MS), successor: Some(code("H26")) }
    );
    assert_eq!(closed.reason(), Reason::ClosedCode);
    assert!(closed.to_string().contains("send to its successor H26") && closed.vietnamese().contains("mã kế thừa H26"));
    assert!(directory.resolve(&code("H37"), after(-2 * DAY_MS)).is_ok());
    let unknown = refused("H28");
    assert!(unknown.to_string().contains("did you mean H26"), "{unknown}");
    assert!(matches!(refused("H26.18"), ResolveError::WrongLane { .. }));
    assert!(matches!(refused("G22"), ResolveError::Legacy { .. }));
    let before = directory.resolve(&code("H26"), after(-500 * DAY_MS)).unwrap_err();
    assert!(matches!(before, ResolveError::NotYet { .. }));
}

#[test]
fn a_closed_code_takes_what_was_sealed_before_and_brings_to_an_end_what_it_began() {
    let (closed, served) = (after(-DAY_MS), after(DAY_MS));
    let directory = bent(
        |entries| {
            let h37 = agency(entries, "H37");
            (h37.valid_to, h37.serves_until) = (Some(after(-DAY_MS)), Some(after(DAY_MS)));
            h37.successor = Some(code("H26"));
            let g22 = agency(entries, "G22");
            (g22.valid_to, g22.successor) = (Some(after(0)), Some(code("H37")));
        },
        |_| {},
    )
    .unwrap();
    let (h37, g22) = (directory.agency(&code("H37")).unwrap(), directory.agency(&code("G22")).unwrap());
    let (before, later) = (after(-DAY_MS - 1), after(DAY_MS - 1));
    for (sealed, is_status, at, takes) in [
        (before, false, before, true),
        (before, false, later, true),
        (closed, false, closed, false),
        (closed, true, later, true),
        (before, false, served, false),
        (before, true, served, false),
    ] {
        assert_eq!(h37.takes(sealed, is_status, at), takes, "{sealed} {is_status} {at}");
        assert_eq!(directory.resolve_sealed(&code("H37"), sealed, is_status, at).is_ok(), takes);
    }
    // As a sender: nothing new, but answers, replacements, and what was held; for as long as an envelope may be on the way.
    let end = after(DAY_MS + truc_proto::limits::ENVELOPE_TTL_MAX_MS);
    let last = after(DAY_MS + truc_proto::limits::ENVELOPE_TTL_MAX_MS - 1);
    let may = |created, is_status, supersedes, at| h37.may_send(created, is_status, supersedes, at);
    assert!(may(before, false, false, before) && may(before, false, false, last));
    assert!(may(closed, true, false, last) && may(closed, false, true, last));
    assert!(!may(closed, false, false, closed) && !may(closed, true, true, end) && !may(before, false, false, end));
    // As a recipient: what it took it accounts for; handed over whenever its agency comes for it.
    let says = |event, at| h37.may_state(Role::Recipient, Some(event), at);
    assert!(says(EventUri::ContentConsignment, last) && !says(EventUri::ContentConsignment, end));
    assert!(says(EventUri::ContentHandover, after(1_000 * DAY_MS)));
    assert!(!says(EventUri::ContentHandover, after(-1_000 * DAY_MS)), "never before it opened");
    // Who has the mail: the last in the chain that is open.
    assert_eq!(directory.successor_of(g22, after(0)), Some(code("H26")));
    assert_eq!(directory.successor_of(g22, after(-2 * DAY_MS)), Some(code("H37")));
    let took_over = |from: &str, to: &str, at| directory.took_over(&code(from), &code(to), at);
    assert!(took_over("G22", "H26", after(0)) && took_over("G22", "H37", after(0)));
    assert!(took_over("G22", "H37", after(-299_000)), "by a clock that is allowed");
    assert!(!took_over("G22", "H37", after(-301_000)) && !took_over("H26", "H37", later));
    assert!(!took_over("G22", "G22", later));
    let out = |at| directory.out_of_service(at);
    assert_eq!(out(after(-2 * DAY_MS)), (vec![], Some(after(0))));
    assert_eq!(out(after(0)), (vec![(code("G22"), Some(code("H26")))], Some(served)));
    assert_eq!((out(served).0.len(), out(served).1), (2, None));
}

#[test]
fn old_forms_of_a_code_are_found() {
    let directory =
        bent(|entries| agency(entries, "H26").old_codes = vec!["000.00.00.H26".parse().unwrap()], |_| {}).unwrap();
    let found = |text: &str| directory.agency_by_any_code(&text.parse().unwrap()).map(|agency| agency.code.to_string());
    assert_eq!(found("000.00.00.H26").as_deref(), Some("H26"));
    assert_eq!(found("H37").as_deref(), Some("H37"));
    assert_eq!(found("000.00.00.H37"), None);
}

#[test]
fn only_tls_certificates_in_force_are_admitted() {
    let tls = WORLD.tls_of("N-H26").sha256();
    let directory = WORLD.directory();
    assert_eq!(directory.admit(&tls, at()).unwrap().1.id, node_id("N-H26"));
    let unknown = WORLD.service_h26.sha256();
    assert_eq!(directory.admit(&unknown, at()).unwrap_err(), AdmissionError::Unknown { certificate: unknown });
    let revoked = bent(
        |entries| {
            let binding = &mut node(entries, "N-H26").certificates[1];
            binding.status = KeyStatus::Revoked;
            binding.status_since = Some(after(-1));
        },
        |_| {},
    )
    .unwrap();
    assert_eq!(revoked.admit(&tls, at()).unwrap_err(), AdmissionError::NotInForce { node: node_id("N-H26") });
    assert!(revoked.by_tls(&tls).is_some());
}

#[test]
fn what_does_not_hold_is_named() {
    let refused = |entries: fn(&mut Vec<Entry>), root: fn(&mut RootStatement)| bent(entries, root).unwrap_err();
    let domain = refused(|_| {}, |root| root.axis = "vn".parse().unwrap());
    assert!(matches!(domain, DirectoryError::Domain { .. }));
    assert!(matches!(refused(|_| {}, |root| root.lane = Lane::Classified), DirectoryError::Domain { .. }));
    let future = refused(|_| {}, |root| root.issued = after(HOUR_MS));
    assert!(matches!(future, DirectoryError::FromFuture { .. }));
    assert!(matches!(refused(|entries| entries.reverse(), |_| {}), DirectoryError::Order { .. }));
    assert!(matches!(refused(|entries| entries.insert(0, entries[0].clone()), |_| {}), DirectoryError::Order { .. }));
    assert!(matches!(refused(|entries| _ = entries.pop(), |_| {}), DirectoryError::Relays { count: 0 }));
    let lane = refused(|entries| node(entries, "N-H26").lane = Lane::Classified, |_| {});
    assert!(matches!(lane, DirectoryError::NodeLane { .. }));
    let origin = refused(|entries| node(entries, "N-H37").origin = "truc/dev/ordinary/N-H26/1".into(), |_| {});
    assert!(matches!(origin, DirectoryError::Ambiguous { .. }));
    let tls = refused(
        |entries| node(entries, "N-H37").certificates = vec![binding(WORLD.tls_of("N-H26"), KeyUse::Tls)],
        |_| {},
    );
    assert!(matches!(tls, DirectoryError::Ambiguous { .. }));
    let nowhere = refused(|entries| agency(entries, "H26").node = Some(node_id("N-X")), |_| {});
    assert!(matches!(nowhere, DirectoryError::UnknownNode { .. }));
}

#[test]
fn entries_that_the_operator_did_not_sign_are_refused() {
    let mut signed = WORLD.signed_directory();
    signed.entries[1] = signed.entries[1].slice(..signed.entries[1].len() - 1);
    assert!(matches!(verified(signed).unwrap_err(), DirectoryError::Entry { number: 1, .. }));
    let mut signed = WORLD.signed_directory();
    _ = signed.entries.remove(2);
    assert!(matches!(verified(signed).unwrap_err(), DirectoryError::Size { .. }));
    let mut entries = WORLD.entries();
    agency(&mut entries, "H37").node = Some(node_id("N-H26"));
    let mut signed = WORLD.signed_directory();
    signed.entries = entries.iter().map(|entry| Bytes::from(bytes_of(entry))).collect();
    assert!(matches!(verified(signed).unwrap_err(), DirectoryError::Root { .. }));
}

#[test]
fn only_the_pinned_operator_counts() {
    let entries = || WORLD.signed_directory().entries;
    let by = |party: &Party| verified(sign_directory(entries(), WORLD.root(), &party.key)).unwrap_err();
    assert!(matches!(by(&WORLD.other_operator), DirectoryError::NotOperator { .. }));
    let mut signed = WORLD.signed_directory();
    signed.cms = sign_directory(
        entries(),
        {
            let mut root = WORLD.root();
            root.version = 4;
            root
        },
        &WORLD.operator.key,
    )
    .cms;
    assert!(matches!(verified(signed).unwrap_err(), DirectoryError::Signature(_)));
    let pinned = |party: &Party, lists: &str| {
        let operator = PinnedOperator::from_file_bytes(party.issued.leaf_pem().as_bytes()).unwrap();
        let signed = sign_directory(entries(), WORLD.root(), &party.key);
        let store = store_of(&WORLD.trust_pem(), lists);
        Directory::verify(signed, &operator, &store, &axis(), Lane::Ordinary, at()).unwrap_err()
    };
    assert!(matches!(pinned(&WORLD.foreign_operator, ""), DirectoryError::OperatorPath(_)));
    assert!(matches!(pinned(&WORLD.early_operator, ""), DirectoryError::OperatorPath(_)));
    assert!(matches!(pinned(&WORLD.revoked_operator, &WORLD.crls_pem), DirectoryError::OperatorRevoked { .. }));
}

#[test]
fn versions_only_grow_and_chain() {
    let old = WORLD.directory();
    let statement = old.statement();
    let next = |version: u64, previous| {
        let mut root = WORLD.root();
        (root.version, root.previous) = (version, Some(previous));
        verified(sign_directory(WORLD.signed_directory().entries, root, &WORLD.operator.key)).unwrap()
    };
    next(4, statement.digest()).check_follows(statement, &statement.digest()).unwrap();
    next(9, truc_proto::Digest::of(b"version 8")).check_follows(statement, &statement.digest()).unwrap();
    let forked = next(4, truc_proto::Digest::of(b"another history"));
    assert!(matches!(
        forked.check_follows(statement, &statement.digest()).unwrap_err(),
        DirectoryError::Chain { version: 4 }
    ));
    let same = old.check_follows(statement, &statement.digest()).unwrap_err();
    assert!(matches!(same, DirectoryError::NotGrowing { held: 3, offered: 3 }));
}

#[test]
fn a_directory_ages() {
    let directory = WORLD.directory();
    assert_eq!(directory.freshness(after(20 * DAY_MS)), Freshness::Fresh);
    assert_eq!(directory.freshness(after(21 * DAY_MS)), Freshness::Grace { until: after(50 * DAY_MS) });
    assert_eq!(directory.freshness(after(51 * DAY_MS)), Freshness::Stale { since: after(50 * DAY_MS) });
}

#[test]
fn a_binding_nobody_asked_for_shows_as_a_change() {
    let (old, own) = (WORLD.directory(), node_id("N-H26"));
    assert_eq!(old.changes_for(&old, &own), []);
    let new = bent(
        |entries| {
            agency(entries, "H26.18").node = Some(node_id("N-H37"));
            agency(entries, "H26").certificates.push(binding(&WORLD.service_g22, KeyUse::Service));
            node(entries, "N-H26").ledger_key = [1; 32];
        },
        |_| {},
    )
    .unwrap();
    let certificate = WORLD.service_g22.sha256();
    let expected = [
        BindingChange::CodeMoved { code: code("H26.18"), to: Some(node_id("N-H37")) },
        BindingChange::CertificateAdded { entry: "agency/H26".into(), certificate },
        BindingChange::LedgerChanged { node: own.clone() },
    ];
    assert_eq!(new.changes_for(&old, &own), expected);
    assert_eq!(new.changes_for(&old, &node_id("N-H37")), [BindingChange::CodeGained { code: code("H26.18") }]);
}

#[test]
fn the_copy_on_disk_is_whole_and_verified_again() {
    let folder = tempfile::tempdir().unwrap();
    let load = |now| Directory::load(folder.path(), &WORLD.pinned(), &WORLD.store(), &axis(), Lane::Ordinary, now);
    assert!(load(at()).unwrap().is_none());
    let directory = WORLD.directory();
    directory.save(folder.path()).unwrap();
    directory.save(folder.path()).unwrap();
    let loaded = load(at()).unwrap().unwrap();
    assert_eq!(loaded.read_signed().unwrap(), directory.read_signed().unwrap());
    let path = folder.path().join("current.directory");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.trim_end()).unwrap();
    assert!(matches!(load(at()).unwrap_err(), DirectoryFileError::Malformed { .. }));
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&path, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    assert!(matches!(load(at()).unwrap_err(), DirectoryFileError::Refused { .. }));
    let other = Directory::load(folder.path(), &WORLD.pinned(), &WORLD.store(), &axis(), Lane::Classified, at());
    assert!(other.is_err());
    std::fs::write(&path, encode_directory(&directory.read_signed().unwrap())).unwrap();
    assert_eq!(load(at()).unwrap().unwrap().read_signed().unwrap(), directory.read_signed().unwrap());
}

#[test]
fn a_version_must_be_proven_in_the_relay_s_ledger() {
    let directory = WORLD.directory();
    let origin = directory.relay().origin.clone();
    let logged = |leaf: &[u8], origin: &str, seed| {
        let mut tree = MemTree::of([b"root 1", b"root 2"]);
        let index = tree.push(leaf);
        let checkpoint = Checkpoint::new(origin, tree.size(), tree.root()).unwrap();
        wire_v1::ProvenLeaf {
            leaf: leaf.to_vec().into(),
            index,
            proof: tree.inclusion(index, tree.size()).unwrap().iter().map(|h| h.as_bytes().to_vec().into()).collect(),
            checkpoint: ledger_key(origin, seed).sign(&checkpoint).to_string().into_bytes().into(),
        }
    };
    let statement = directory.statement().bytes().clone();
    let good = logged(&statement, &origin, 4);
    assert_eq!(directory.verify_logged(&good).unwrap().size, 3);
    let refused =
        |wire: &wire_v1::ProvenLeaf| matches!(directory.verify_logged(wire), Err(DirectoryError::NotLogged { .. }));
    assert!(refused(&logged(&statement, &origin, 5)));
    assert!(refused(&logged(&statement, "truc/dev/ordinary/N-H26/1", 2)));
    assert!(refused(&logged(b"another leaf", &origin, 4)));
    assert!(refused(&wire_v1::ProvenLeaf { index: 1, ..good }));
}

#[test]
fn the_operator_makes_the_next_version() {
    let directory = WORLD.directory();
    let mut draft = DirectoryDraft::following(&directory).unwrap();
    draft.close(&code("H37"), after(-DAY_MS), Some(after(DAY_MS)), Some(code("H26"))).unwrap();
    draft.set_status(&WORLD.service_h26.sha256(), KeyStatus::Revoked, after(-DAY_MS)).unwrap();
    assert!(draft.close(&code("A45"), at(), None, None).is_err());
    assert!(draft.set_status(&truc_proto::Digest::of(b"none"), KeyStatus::Revoked, at()).is_err());
    let signed = draft.sign(&WORLD.operator.key, at(), after(30 * DAY_MS)).unwrap();
    let next = verified(signed).unwrap();
    assert_eq!(next.version(), 4);
    next.check_follows(directory.statement(), &directory.statement().digest()).unwrap();
    assert!(matches!(next.resolve(&code("H37"), at()).unwrap_err(), ResolveError::Closed { successor: Some(_), .. }));
    assert!(next.certificate(&code("H26"), KeyUse::Service, at()).is_err());
    assert!(next.certificate(&code("H26"), KeyUse::Service, after(-2 * DAY_MS)).is_ok());
    // What did not change keeps its bytes.
    assert_eq!(
        next.proven("agency/G22").unwrap().unwrap().bytes,
        directory.proven("agency/G22").unwrap().unwrap().bytes
    );
    assert_eq!(Confirmation::default(), Confirmation { sealing: false, endorsement: false });
}
