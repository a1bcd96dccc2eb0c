//! 30 June 2025, 19:00: 63 provinces become 34, under load, with everything else going wrong as well.
//!
//! The directory is the built-in list of level-1 codes as a signed version. The clock closes the codes; here and there the version that says so comes
//! only after the second, and a machine loses its power at it.

use std::{collections::BTreeMap, time::Duration};

use truc_certs_dev::{KeyKind, Pki, Profile, Request, Subject};
use truc_evidence::{Agency, CodeList, Directory, DirectoryDraft, LEVEL1_CODES, PinnedOperator};
use truc_node::core::{CodeState, Key, Pair, PairState, Sent};
use truc_proto::{AgencyId, Entry, EventUri, Lane, NodeEntry, Reason, Timestamp, limits::ENVELOPE_TTL_MAX_MS};
use truc_signer::{Certificate, SoftKey, TrustStore};

use crate::{
    REST,
    context::{Context, Event, Faults, Map, Provinces, RELAY, Sabotage},
    node::Pending,
    quiet::state_at,
    world::{Steps, World},
};

/// When the provinces close.
const CUT: &str = "2025-06-30T19:00:00+07:00";
/// Seeds of worlds in which things go wrong.
const SEEDS: u64 = 3;

fn cut() -> Timestamp {
    CUT.parse().unwrap()
}

/// So many seconds after the cut.
fn shifted(seconds: i64) -> Timestamp {
    Timestamp::from_unix_ms(cut().unix_ms() + 1_000 * seconds)
}

/// What the operator does with a code that closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policy {
    /// Its node still opens what was sealed to it before.
    ServesOn,
    /// What was not taken by then goes to the successor.
    EndsAtOnce,
}

/// The built-in list, provinces at three nodes in turn; and the version before, in which none of them closes.
fn provinces(policy: Policy) -> [Directory; 2] {
    // A directory of 2025, signed by a certificate of today: what is asked here is the time of codes.
    let now = truc_certs_dev::now();
    let pki = Pki::new(KeyKind::P256, now).unwrap();
    let operator =
        pki.issue_with(Request::new(Profile::Operator, KeyKind::P256, Subject::new("Vận hành trục"))).unwrap();
    let key = SoftKey::from_pem(operator.certificate_pem.as_bytes(), operator.key_pem.as_bytes()).unwrap();
    let pinned = PinnedOperator::from_file_bytes(operator.leaf_pem().as_bytes()).unwrap();
    let certificates = |pem: &str| Certificate::from_pem(pem.as_bytes()).unwrap();
    let trust = TrustStore::new(certificates(&pki.anchors_pem), certificates(&pki.intermediates_pem), vec![]).unwrap();
    let mut list = DirectoryDraft::new("sim".parse().unwrap(), Lane::Ordinary);
    list.import(&list.plan_import(&CodeList::parse(LEVEL1_CODES.as_bytes()).unwrap())).unwrap();
    let codes: Vec<_> = list.entries().filter_map(Entry::as_agency).cloned().collect();
    let map = Map::new();
    [false, true].map(|closes| {
        let mut draft = DirectoryDraft::new("sim".parse().unwrap(), Lane::Ordinary);
        let provinces = codes.iter().filter(|agency| agency.code.as_str().starts_with('H'));
        for (number, mut agency) in provinces.cloned().enumerate() {
            agency.node = Some(map.nodes[number % map.nodes.len()].clone());
            let life = Duration::from_millis(ENVELOPE_TTL_MAX_MS.unsigned_abs());
            agency.valid_to = agency.valid_to.filter(|_| closes);
            agency.serves_until = agency.valid_to.filter(|_| policy == Policy::ServesOn).map(|end| end + life);
            draft.put(Entry::Agency(agency)).unwrap();
        }
        for (machine, id) in std::iter::once(&map.relay).chain(&map.nodes).enumerate() {
            let entry = NodeEntry {
                id: id.clone(),
                lane: Lane::Ordinary,
                origin: crate::context::origin(machine),
                epoch: 1,
                ledger_key: *map.key(machine).public_key(),
                witness_key: None,
                certificates: Vec::new(),
            };
            draft.put(if machine == 0 { Entry::Relay(entry) } else { Entry::Node(entry) }).unwrap();
        }
        let signed = draft.sign(&key, now, now + Duration::from_secs(86_400)).unwrap();
        Directory::verify(signed, &pinned, &trust, &"sim".parse().unwrap(), Lane::Ordinary, now).unwrap()
    })
}

/// Everybody has the later version, but for machines to which it comes so many seconds after the cut.
fn map(policy: Policy, late: [Option<i64>; 4]) -> Map {
    let [before, after] = provinces(policy);
    let comes = late.map(|seconds| seconds.map_or(Timestamp::EPOCH, shifted)).to_vec();
    Map::provinces(Provinces { before, after, comes })
}

/// How far documents for codes that close had come at the cut, and what became of them.
#[derive(Default, Debug)]
struct Seen {
    before: usize,
    after: usize,
    held: usize,
    accepted: usize,
    uploading: usize,
    waiting: usize,
    leased: usize,
    taken: usize,
    consigned: usize,
    /// Opened by the old code's node after the cut.
    served: usize,
    sent_on: usize,
    /// Refused, and the successor has the document anyway.
    there_already: usize,
}

fn sent(world: &World) -> impl Iterator<Item = &Sent> {
    world.nodes.iter().filter_map(|node| node.live.as_ref()).flat_map(|live| live.store.core.sent().values())
}

/// Does the directory that is to be in force close it?
fn closes(world: &World, code: &AgencyId) -> bool {
    !world.cx.map.is_open(RELAY, code, shifted(3_600))
}

/// At the cut: how far has it come?
fn look_at_cut(world: &World, seen: &mut Seen) {
    let calls = || world.nodes.iter().filter_map(|node| node.live.as_ref()).flat_map(|live| live.calls.values());
    for sent in sent(world) {
        let uploading = calls().any(|call| matches!(call, Pending::Offer(key) if *key == sent.key));
        let leased = calls().any(|call| matches!(call, Pending::Take(key) if *key == sent.key));
        for (code, pair) in sent.pairs.iter().filter(|(code, _)| closes(world, code)) {
            let at_recipient = state_at(world, &sent.key, code);
            let count = match (pair.state, at_recipient) {
                (PairState::Held, _) => &mut seen.held,
                (_, Some(CodeState::Taken)) => &mut seen.taken,
                (_, Some(_)) => &mut seen.consigned,
                (PairState::Sealed, None) if uploading => &mut seen.uploading,
                (PairState::Sealed, None) => &mut seen.accepted,
                (_, None) if leased => &mut seen.leased,
                (_, None) => &mut seen.waiting,
            };
            *count += 1;
        }
    }
}

/// At rest: whom did it reach?
fn look_at_rest(world: &World, seen: &mut Seen) {
    let by_key: BTreeMap<&Key, &Sent> = sent(world).map(|sent| (&sent.key, sent)).collect();
    for sent in by_key.values().filter(|sent| sent.supersedes.is_none() && sent.continues.is_none()) {
        let made = sent.key.envelope.made_at();
        *(if made < cut() { &mut seen.before } else { &mut seen.after }) += 1;
        let mut reached = Vec::new();
        for (code, pair) in &sent.pairs {
            follow(world, &by_key, (sent, code, pair), &mut reached, seen);
        }
        let times = reached.len();
        reached.sort();
        reached.dedup();
        assert_eq!(times, reached.len(), "{} was delivered twice to one of {reached:?}", sent.key);
    }
}

/// Where a document for a code ended, by way of all envelopes that stand in.
fn follow(
    world: &World,
    by_key: &BTreeMap<&Key, &Sent>,
    (sent, code, pair): (&Sent, &AgencyId, &Pair),
    reached: &mut Vec<AgencyId>,
    seen: &mut Seen,
) {
    let key = &sent.key;
    if matches!(pair.state, PairState::Consigned | PairState::HandedOver) {
        reached.push(code.clone());
        let late = sent.steps.iter().any(|step| {
            (step.event, step.actor.as_ref()) == (EventUri::ContentConsignment, Some(code)) && step.time >= cut()
        });
        seen.served += usize::from(late && closes(world, code));
    }
    if pair.reason == Some(Reason::ClosedCode) {
        assert!(key.envelope.made_at() >= shifted(-600) && closes(world, code), "{key} to {code} was refused");
        let successor = pair.successor.as_ref().unwrap_or_else(|| panic!("{key} to {code}: refused without successor"));
        assert!(!closes(world, successor), "{successor} of {code} is closed itself");
        match (pair.superseded_by, sent.has(successor)) {
            (Some(_), _) => seen.sent_on += 1,
            (None, Some(_)) => seen.there_already += 1,
            (None, None) => assert_eq!(*successor, key.sender, "{key} to {code} was refused, nothing went on"),
        }
    }
    if let Some(envelope) = pair.superseded_by {
        let next = by_key[&Key { sender: key.sender.clone(), envelope }];
        // What goes on for several recipients is followed for each of them alone.
        let same = next.pairs.contains_key(code);
        for (code, pair) in next.pairs.iter().filter(|(next, _)| !same || *next == code) {
            follow(world, by_key, (next, code, pair), reached, seen);
        }
    }
}

fn live_through(seed: u64, faults: Faults, policy: Policy, seen: &mut Seen) {
    // Once in a while the later version comes only when it is in force already: to the relay, or to nodes.
    let late = match seed % 4 {
        1 => [None, None, Some(9), None],
        2 => [Some(4), Some(4), Some(7), Some(10)],
        3 => [None, Some(5), Some(5), Some(5)],
        _ => [None; 4],
    };
    let cx = Context::over(map(policy, late), shifted(-45), seed, faults, Sabotage::None);
    let mut world = World::over(seed, cx);
    while world.cx.now < shifted(-8) {
        world.run_checked(Steps(1));
    }
    // What comes to one node now is held until after the cut.
    let node = usize::try_from(seed % 3).unwrap();
    world.nodes[node].key_away = true;
    world.cx.after(12_000, Event::KeyBack { node: node + 1 });
    while world.cx.now < cut() {
        world.run_checked(Steps(1));
    }
    look_at_cut(&world, seen);
    if faults.blow_every_ms > 0 {
        // Power goes at the very second, at the relay or at a node.
        world.cut_power(usize::try_from(seed % 4).unwrap());
    }
    while world.cx.now < shifted(60) {
        world.run_checked(Steps(200));
    }
    world.heal();
    world.run_until_quiet(REST);
    look_at_rest(&world, seen);
}

fn cut_over(policy: Policy) -> Seen {
    let mut seen = Seen::default();
    live_through(4, Faults::none(), policy, &mut seen);
    for seed in 1..=SEEDS {
        live_through(seed, Faults::all(), policy, &mut seen);
    }
    eprintln!("{policy:?}: {seen:?}");
    // A cut that nobody crosses proves nothing.
    let phases = [seen.accepted + seen.uploading, seen.waiting + seen.leased, seen.taken, seen.consigned, seen.held];
    assert!(phases.iter().all(|phase| *phase > 0) && seen.before > 100 && seen.after > 100, "{seen:?}");
    seen
}

#[test]
fn the_cut_over_loses_and_doubles_nothing_where_codes_serve_on() {
    let seen = cut_over(Policy::ServesOn);
    assert!(seen.served > 0 && seen.sent_on > 50, "{seen:?}");
}

#[test]
fn the_cut_over_loses_and_doubles_nothing_where_codes_end_at_once() {
    let seen = cut_over(Policy::EndsAtOnce);
    assert!(seen.sent_on > 50 && seen.there_already > 0, "{seen:?}");
}

#[test]
fn codes_open_and_close_at_their_second_without_a_new_version() {
    use truc_relay::core::OfferedRecipient::{Closed, Open};
    let [_, directory] = provinces(Policy::ServesOn);
    let codes = || directory.agencies().iter();
    let count = |at: Timestamp| codes().filter(|agency| agency.is_open(at)).count();
    assert_eq!([count(shifted(-1)), count(cut()), count(shifted(1))], [63, 34, 34]);
    let life = Duration::from_millis(ENVELOPE_TTL_MAX_MS.unsigned_abs());
    let (before, now, end) = (shifted(-1), cut(), cut() + life);
    let offered = |code: &AgencyId, sealed, is_status, at| {
        truc_relay::service::offered_recipient(&directory, code, (sealed, is_status), at).unwrap()
    };
    for Agency { code, .. } in codes().filter(|agency| !agency.is_open(cut())) {
        assert!(matches!(offered(code, before, false, before), Open { .. }));
        // On the way at the cut: opened by whom it was sealed to, and so are answers. New mail: to the successor.
        assert!(matches!(offered(code, before, false, now), Open { .. }));
        assert!(matches!(offered(code, now, true, now), Open { .. }));
        assert!(matches!(offered(code, now, false, now), Closed { successor: Some(_), .. }));
        assert!(matches!(offered(code, before, false, end), Closed { successor: Some(_), .. }));
    }
    let out = |at| directory.out_of_service(at);
    assert_eq!((out(before).0.len(), out(now).0.len(), out(now).1), (0, 0, Some(end)));
    assert_eq!((out(end).0.len(), out(end).1), (29, None));
    assert_eq!(provinces(Policy::EndsAtOnce)[1].out_of_service(now).0.len(), 29);
}
