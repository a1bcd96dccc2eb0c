//! What goes through today's axis: once, or visibly not.

use super::*;
use crate::{
    core::{PassOutcome, Passage},
    records::TakenOver,
};

fn preamble_with(key: &Key, recipients: &[&str], legacy: &[&str]) -> Raw<Preamble> {
    let plain = preamble(key, &["H99"], EnvelopeKind::Document, None).into_value();
    let codes = |codes: &[&str]| codes.iter().map(|text| code(text)).collect();
    Raw::write(Preamble { recipients: codes(recipients), legacy: codes(legacy), ..plain }).unwrap()
}

/// A document of G22 for H26 on this axis (or nobody) and the others on today's.
fn accepted(n: u8, recipients: &[&str], legacy: &[&str]) -> (Live, Key, Vec<Effect>) {
    let (mut live, key) = (Live::new("N1"), key("G22", n));
    let sealed = sealed_as(&key, &preamble_with(&key, recipients, legacy), "a", b"a", Vec::new());
    let effects = prepare(&mut live, sealed);
    (live, key, effects)
}

fn passes(effects: &[Effect]) -> Vec<(String, bool)> {
    let pass = |effect: &Effect| match effect {
        Effect::Pass { recipient, since, .. } => Some((recipient.to_string(), since.is_some())),
        _ => None,
    };
    effects.iter().filter_map(pass).collect()
}

fn ends(live: &mut Live, at: Timestamp, key: &Key, to: &str, outcome: PassOutcome) -> Vec<Effect> {
    live.handle(at, Input::Passed { key: key.clone(), recipient: code(to), outcome, jitter: u32::MAX })
}

fn taken(doc_id: &str) -> PassOutcome {
    PassOutcome::Taken { doc_id: doc_id.into() }
}

fn no_answer() -> PassOutcome {
    PassOutcome::NoAnswer { error: "HTTP 502".into() }
}

fn passage<'l>(live: &'l Live, key: &Key, to: &str) -> &'l Passage {
    live.pair(key, to).passage.as_ref().unwrap()
}

/// All ticks until `until`; what they want done.
fn tick_until(live: &mut Live, until: Timestamp) -> Vec<Effect> {
    let mut effects = Vec::new();
    while let Some(due) = live.core.next_due().filter(|due| *due <= until) {
        effects.extend(live.handle(due, Input::Tick));
    }
    effects
}

#[test]
fn a_document_for_todays_axis_is_noted_before_it_leaves_and_ends_in_a_leaf() {
    let (mut live, key, effects) = accepted(1, &[], &["H37"]);
    assert_eq!(passes(&effects), [("H37".to_owned(), false)]);
    let last = NodeRecord::read(&live.journal.last().unwrap().1.state).unwrap();
    assert!(matches!(&last, Body::PassageNote(note) if note.what == 1), "{last:?}");
    assert!(live.core.unsent().is_empty(), "nobody on this axis hears of it");
    live.handle(after(1), Input::Connected);
    assert!(!live.handle(after(2), Input::Tick).iter().any(|effect| matches!(effect, Effect::Offer { .. })));
    let effects = ends(&mut live, after(10), &key, "H37", taken("2f1c"));
    assert!(effects.contains(&Effect::Sign));
    assert_eq!(
        (live.pair(&key, "H37").state, passage(&live, &key, "H37").doc_id.as_str()),
        (PairState::PassedOn, "2f1c")
    );
    let event = Raw::<Event>::parse(live.leaf(1)).unwrap();
    assert_eq!((event.event, event.actor.role), (EventUri::RelayToNonErds, Role::Sender));
    assert_eq!(event.recipient, Some(code("H37")));
    assert!(live.core.find_sent(&key).unwrap().is_settled());
    live.check_fold();
    // It leaves memory like any other.
    tick_until(&mut live, after(8 * 86_400_000));
    assert!(live.core.find_sent(&key).is_none());
}

#[test]
fn of_a_mixed_document_each_part_goes_its_way_and_the_relays_word_is_about_its_own() {
    let (mut live, key, effects) = accepted(2, &["H26"], &["H37", "H38"]);
    assert_eq!(passes(&effects).len(), 2);
    live.handle(after(1), Input::Connected);
    relay_accepts(&mut live, &key);
    assert_eq!(live.pair(&key, "H26").state, PairState::Relayed);
    assert_eq!(live.pair(&key, "H37").state, PairState::Sealed);
    // Nobody there can speak for H37.
    let foreign = event(&live, &key, EventUri::ContentConsignment, Some("H37"), |_| {});
    show(&mut live, &key, &foreign);
    assert_eq!(live.pair(&key, "H37").state, PairState::Sealed);
    ends(&mut live, after(10), &key, "H37", taken("a"));
    for _ in 0..3 {
        ends(&mut live, after(20), &key, "H38", PassOutcome::Refused { error: "15 unknown".into() });
        tick_until(&mut live, after(60_000));
    }
    let refused = live.pair(&key, "H38");
    assert_eq!((refused.state, refused.reason), (PairState::Failed, Some(Reason::RefusedByLegacy)));
    assert_eq!(passage(&live, &key, "H38").detail, "15 unknown");
    assert_eq!(live.pair(&key, "H26").state, PairState::Relayed, "the native part waits for its own evidence");
    live.check_fold();
}

#[test]
fn what_did_not_leave_whole_is_posted_again_later_and_one_at_a_time_while_that_axis_is_away() {
    let (mut live, first, _) = accepted(3, &[], &["H37"]);
    let second = key("G22", 4);
    let sealed = sealed_as(&second, &preamble_with(&second, &[], &["H38"]), "b", b"b", Vec::new());
    assert_eq!(passes(&prepare(&mut live, sealed)).len(), 1);
    let lost = || PassOutcome::NotSent { error: "connection refused".into() };
    assert!(passes(&ends(&mut live, after(10), &first, "H37", lost())).is_empty(), "not at once");
    assert!(live.core.alarms().contains_key(&Alarm::Gateway));
    ends(&mut live, after(11), &second, "H38", lost());
    let again = tick_until(&mut live, after(5_000));
    assert_eq!(passes(&again).len(), 1, "one attempt finds out");
    let (key, to) = if passes(&again)[0].0 == "H37" { (first, "H37") } else { (second, "H38") };
    let after_success = ends(&mut live, after(5_001), &key, to, taken("a"));
    assert_eq!(passes(&after_success).len(), 1, "the other one follows at once: {after_success:?}");
    assert!(!live.core.alarms().contains_key(&Alarm::Gateway));
    live.check_fold();
}

#[test]
fn after_a_lost_reply_it_is_looked_for_and_never_posted_again() {
    let (mut live, key, _) = accepted(5, &[], &["H37"]);
    assert!(passes(&ends(&mut live, after(10), &key, "H37", no_answer())).is_empty());
    let looks = tick_until(&mut live, after(5_000));
    assert_eq!(passes(&looks), [("H37".to_owned(), true)]);
    ends(&mut live, after(5_001), &key, "H37", taken("found"));
    assert_eq!(live.pair(&key, "H37").state, PairState::PassedOn);
    live.check_fold();
}

#[test]
fn a_process_that_ended_between_posting_and_noting_looks_first() {
    let (mut live, key, _) = accepted(6, &[], &["H37"]);
    live.restart();
    let effects = live.handle(after(10), Input::Tick);
    assert_eq!(passes(&effects), [("H37".to_owned(), true)]);
    // That axis cannot be asked: nothing is decided, whatever time passes within its life.
    ends(&mut live, after(20), &key, "H37", PassOutcome::NotAsked { error: "away".into() });
    assert_eq!(live.pair(&key, "H37").state, PairState::Sealed);
    let looks = tick_until(&mut live, after(200_000));
    assert_eq!(passes(&looks), [("H37".to_owned(), true)]);
    live.check_fold();
}

#[test]
fn what_that_axis_never_shows_ends_in_doubt_with_an_alarm() {
    let (mut live, key, _) = accepted(7, &[], &["H37"]);
    ends(&mut live, after(10), &key, "H37", no_answer());
    let (mut at, mut looked) = (10, 0);
    while !live.pair(&key, "H37").state.is_settled() {
        at += 100_000;
        let looks = passes(&tick_until(&mut live, after(at)));
        assert!(looks.iter().all(|(_, look)| *look), "never posted again");
        looked += looks.len();
        ends(&mut live, after(at), &key, "H37", PassOutcome::NotShown);
        assert!(looked < 10, "it ends");
    }
    assert_eq!(looked, live.core.policy.look_ups_max as usize);
    let pair = live.pair(&key, "H37");
    assert_eq!((pair.state, pair.reason), (PairState::Failed, Some(Reason::LegacyInDoubt)));
    assert!(live.core.alarms().contains_key(&Alarm::LegacyInDoubt(key.envelope, code("H37"))));
    live.check_fold();
}

#[test]
fn past_its_life_it_fails_and_what_may_have_arrived_is_in_doubt() {
    let (mut live, key, _) = accepted(8, &[], &["H37", "H38", "H39"]);
    ends(&mut live, after(10), &key, "H37", no_answer());
    ends(&mut live, after(10), &key, "H38", PassOutcome::NotSent { error: "away".into() });
    let expired = after(86_400_000);
    // Nobody answers the attempts in between.
    let mut effects = live.handle(expired, Input::Tick);
    effects.extend(tick_until(&mut live, expired));
    assert!(passes(&effects).is_empty(), "{effects:?}");
    assert_eq!(live.pair(&key, "H37").reason, Some(Reason::LegacyInDoubt));
    assert_eq!(live.pair(&key, "H38").reason, Some(Reason::Expired));
    assert_eq!(live.pair(&key, "H39").state, PairState::Sealed, "an attempt under way decides by its end");
    ends(&mut live, after(86_400_001), &key, "H39", taken("late"));
    assert_eq!(live.pair(&key, "H39").state, PairState::PassedOn);
    live.check_fold();
}

#[test]
fn an_answer_that_comes_twice_or_for_nothing_changes_nothing() {
    let (mut live, key, _) = accepted(9, &[], &["H37"]);
    ends(&mut live, after(10), &key, "H37", taken("a"));
    let records = live.journal.len();
    ends(&mut live, after(11), &key, "H37", taken("b"));
    ends(&mut live, after(12), &key, "H26", taken("b"));
    ends(&mut live, after(13), &super::key("G22", 99), "H37", taken("b"));
    assert_eq!((live.journal.len(), passage(&live, &key, "H37").doc_id.as_str()), (records, "a"));
}

fn from_there(doc_id: &str, n: u8) -> Box<TakenOver> {
    let key = key("H37", n);
    let plain = preamble(&key, &["H99"], EnvelopeKind::Document, None).into_value();
    let preamble = Raw::write(Preamble { recipients: vec![], legacy: vec![code("G22")], ..plain }).unwrap();
    Box::new(TakenOver {
        preamble: preamble.bytes().to_vec(),
        payload: Payload { sha256: Digest::of(doc_id.as_bytes()).0.to_vec(), length: 7, inline: None },
        content: content(&key, Vec::new()),
        doc_id: doc_id.into(),
        from: "000.00.00.H37".into(),
        to: "G22".into(),
        commitment: Digest::of(b"commitment").0.to_vec(),
        at_ms: 0,
    })
}

#[test]
fn what_comes_from_there_is_consigned_once_and_nobody_is_told_of_it() {
    let mut live = Live::new("N1");
    live.handle(start(), Input::Connected);
    let take = |live: &mut Live, doc_id: &str, n| {
        live.handle(after(5), Input::TakeOver { record: from_there(doc_id, n), reply: Some(Token(1)) })
    };
    let first = take(&mut live, "../x", 1);
    assert_eq!(answer(&first), &Answer::Accepted { key: key("H37", 1), first: true });
    assert!(first.contains(&Effect::Arrived { key: key("H37", 1), code: code("G22") }));
    let again = take(&mut live, "../x", 2);
    assert_eq!(answer(&again), &Answer::Accepted { key: key("H37", 1), first: false });
    live.restart();
    assert_eq!(answer(&take(&mut live, "../x", 3)), &Answer::Accepted { key: key("H37", 1), first: false });
    let event = Raw::<Event>::parse(live.leaf(0)).unwrap();
    assert_eq!((event.event, event.submission), (EventUri::ReceivedFromNonErds, None));
    assert_eq!(live.core.unread(&code("G22")).count(), 1);
    // The document system takes it: a leaf that names the first one, for whoever asks here.
    let confirm = Input::Confirm { key: key("H37", 1), code: code("G22"), refused: None, reply: Some(Token(2)) };
    live.handle(after(10), confirm);
    let handover = Raw::<Event>::parse(live.leaf(1)).unwrap();
    assert_eq!((handover.event, handover.submission), (EventUri::ContentHandover, Some(leaf_hash(&live.leaf(0)))));
    assert!(live.core.unsent().is_empty());
    live.check_fold();
    tick_until(&mut live, after(8 * 86_400_000));
    assert!(live.core.find_received(&key("H37", 1)).is_none(), "it leaves memory");
    assert!(live.core.taken_over("../x", &code("G22")).is_none(), "from here on the look-up index knows it");
}
