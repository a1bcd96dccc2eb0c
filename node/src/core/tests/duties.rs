//! Deadlines with a simulated clock. The tests begin on a Sunday at 08:00 in Vietnam.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    duties::{Duty, DutyRules, Standing},
    records::DutyTold,
};

fn at(text: &str) -> Timestamp {
    format!("{text}:00+07:00").parse().unwrap()
}

/// What the journal says of deadlines: duty, lateness, and about whom.
fn told(live: &Live) -> Vec<(Duty, bool, String)> {
    let read = |(_, record): &(Place, Record)| match NodeRecord::read(&record.state).unwrap() {
        Body::DutyTold(DutyTold { duty, late, codes, .. }) => {
            Some((Duty::of_number(duty).unwrap(), late, codes.join(" ")))
        }
        _ => None,
    };
    live.journal.iter().filter_map(read).collect()
}

/// The node at work until then: every timer that falls due ticks.
fn run(live: &mut Live, until: Timestamp) {
    while let Some(due) = live.core.next_due().filter(|due| *due <= until) {
        live.handle(due, Input::Tick);
    }
    live.handle(until, Input::Tick);
}

fn open(live: &Live, now: Timestamp) -> Vec<(Duty, Standing, String)> {
    let duties = live.core.duties(now, |_| true).into_iter();
    duties.map(|open| (open.duty, open.standing, open.recipient.to_string())).collect()
}

/// A sender with one document of this urgency to H26 and H37.
fn urgent(priority: u8) -> (Live, Key) {
    let (mut live, key) = (Live::new("N1"), key("G22", 1));
    let mut preamble = preamble(&key, &["H26", "H37"], EnvelopeKind::Document, None).value().clone();
    (preamble.priority, preamble.expires) = (Priority::try_from(priority).unwrap(), after(20 * 86_400_000));
    let preamble = Raw::write(preamble).unwrap();
    prepare(&mut live, sealed_as(&key, &preamble, "a", b"a", Vec::new()));
    (live, key)
}

#[test]
fn what_is_not_sent_is_told_two_hours_ahead_and_at_its_deadline_once_each() {
    let (mut live, _) = urgent(0);
    run(&mut live, at("2026-11-23T09:59"));
    assert_eq!(told(&live), []);
    run(&mut live, at("2026-11-23T10:00"));
    let both = "H26 H37".to_owned();
    assert_eq!(told(&live), [(Duty::Send, false, both.clone())]);
    assert_eq!(open(&live, at("2026-11-23T10:00"))[0].1, Standing::Due);
    // A restart repeats nothing and forgets nothing.
    live.restart();
    run(&mut live, at("2026-11-23T11:59"));
    assert_eq!(told(&live).len(), 1);
    live.restart();
    run(&mut live, at("2026-11-25T12:00"));
    assert_eq!(told(&live), [(Duty::Send, false, both.clone()), (Duty::Send, true, both)]);
    let late = open(&live, at("2026-11-25T12:00"));
    assert_eq!(late, ["H26", "H37"].map(|code| (Duty::Send, Standing::Late, code.to_owned())));
    let counters = live.core.counters(at("2026-11-25T12:00"), |_| true)[&code("G22")];
    assert_eq!((counters.unsent, counters.unsent_late, counters.late), (2, 2, 0));
    live.check_fold();
}

#[test]
fn a_node_that_was_away_says_that_it_is_late_and_not_that_it_will_be() {
    let (mut live, _) = urgent(0);
    live.restart();
    live.handle(at("2026-11-24T08:00"), Input::Tick);
    assert_eq!(told(&live), [(Duty::Send, true, "H26 H37".to_owned())]);
}

#[test]
fn what_is_done_just_in_time_is_told_of_no_more() {
    let (mut live, key) = urgent(0);
    run(&mut live, at("2026-11-23T10:00"));
    relay_accepts(&mut live, &key);
    run(&mut live, at("2026-11-23T12:01"));
    assert_eq!(told(&live).len(), 1, "no word of lateness");
    assert_eq!(open(&live, at("2026-11-23T12:01")), []);
    // The recipients' time counts from the relay's acceptance, a Sunday: till Monday evening.
    let handed = event(&live, &key, EventUri::ContentHandover, Some("H26"), |e| e.time = at("2026-11-23T14:00"));
    show(&mut live, &key, &handed);
    run(&mut live, at("2026-11-23T17:00"));
    let recipients: Vec<_> = told(&live).into_iter().filter(|(duty, ..)| *duty == Duty::Recipients).collect();
    let of_h37 = |late| (Duty::Recipients, late, "H37".to_owned());
    assert_eq!(recipients, [of_h37(false), of_h37(true)]);
    assert_eq!(live.core.counters(at("2026-11-23T17:00"), |_| true)[&code("G22")].late, 1);
    // An answer is as good as a hand-over.
    hear(&mut live, 50, "H37", status("H37", "G22", key.envelope, StatusCode::Accepted, 1));
    assert_eq!(open(&live, at("2026-11-23T17:00")), []);
    assert_eq!(live.core.counters(at("2026-11-23T17:00"), |_| true).get(&code("G22")), None);
    live.check_fold();
}

#[test]
fn an_urgent_document_is_a_matter_of_minutes_on_any_day() {
    let (mut live, _) = urgent(3);
    run(&mut live, start() + Duration::from_secs(7 * 60));
    assert_eq!(told(&live), []);
    run(&mut live, start() + Duration::from_secs(8 * 60));
    assert_eq!(told(&live).len(), 1, "at half of a quarter of an hour");
    run(&mut live, start() + Duration::from_secs(15 * 60));
    assert_eq!(told(&live).last().unwrap(), &(Duty::Send, true, "H26 H37".to_owned()));
}

#[test]
fn what_came_has_to_be_taken_and_answered_the_same_day() {
    let (_, mut receiver, document) = delivered();
    let evening = at("2026-11-23T17:00");
    run(&mut receiver, at("2026-11-23T15:00"));
    assert_eq!(told(&receiver), [(Duty::Receipt, false, "H26 H37".to_owned())]);
    let counters = |receiver: &Live, now| receiver.core.counters(now, |_| true);
    assert_eq!(counters(&receiver, evening)[&code("H26")].waiting, 1);
    // Taken is not answered yet.
    let confirm = Input::Confirm { key: document.clone(), code: code("H26"), refused: None, reply: None };
    receiver.handle(at("2026-11-23T15:01"), confirm);
    // Refused by the document system: the sender knows.
    let refuse =
        Input::Confirm {
            key: document, code: code("H37"), refused: Some("không đọc được".into()), reply: None
        };
    receiver.handle(at("2026-11-23T15:02"), refuse);
    run(&mut receiver, evening);
    assert_eq!(told(&receiver).last().unwrap(), &(Duty::Receipt, true, "H26".to_owned()));
    let h26 = counters(&receiver, evening)[&code("H26")];
    assert_eq!((h26.waiting, h26.waiting_late), (0, 1));
    receiver.check_fold();
    // Where no answer is asked for, it was done.
    let rules = DutyRules { receipt_status: false, ..DutyRules::default() };
    receiver.core.policy.duties = Some(Arc::new(rules));
    assert_eq!(open(&receiver, evening), []);
}

#[test]
fn what_was_refused_with_status_02_waits_for_nobody() {
    let (_, mut receiver, document) = delivered();
    let waiting = |receiver: &Live| receiver.core.counters(start(), |_| true)[&code("H26")].waiting;
    assert_eq!(waiting(&receiver), 1);
    // By the agency itself; its document system never fetched it.
    let own = key("H26", 90);
    let preamble = preamble(&own, &["G22"], EnvelopeKind::Status, None);
    let bytes = status("H26", "G22", document.envelope, StatusCode::Refused, 1);
    prepare(&mut receiver, sealed_as(&own, &preamble, "refused", b"refused", bytes));
    let counters = receiver.core.counters(start(), |_| true);
    assert_eq!(counters.get(&code("H26")).map_or(0, |counters| counters.waiting), 0);
    assert_eq!(counters[&code("H37")].waiting, 1, "the other one's still does");
    receiver.check_fold();
}

#[test]
fn other_rules_of_a_later_start_are_kept_from_there_on() {
    let (mut live, key) = urgent(0);
    live.core.policy.duties = None;
    live.restart();
    run(&mut live, at("2026-11-24T12:00"));
    assert_eq!(told(&live), []);
    assert_eq!(open(&live, at("2026-11-24T12:00")), []);
    live.core.policy.duties = Some(Arc::default());
    live.restart();
    live.handle(at("2026-11-24T12:01"), Input::Tick);
    assert_eq!(told(&live).len(), 1);
    // What was told is not told again under rules that give more time, and is not called late by them.
    let rules =
        DutyRules { send: Some(crate::duties::Rule::Within(Duration::from_secs(5 * 86_400))), ..DutyRules::default() };
    live.core.policy.duties = Some(Arc::new(rules));
    live.restart();
    run(&mut live, at("2026-11-25T12:00"));
    assert_eq!((told(&live).len(), open(&live, at("2026-11-25T12:00"))), (1, vec![]));
    relay_accepts(&mut live, &key);
    live.check_fold();
}

#[test]
fn every_recipient_belongs_to_at_most_one_counter() {
    let (mut live, key) = urgent(0);
    let count = |live: &Live| live.core.counters(start(), |_| true).get(&code("G22")).copied().unwrap_or_default();
    assert_eq!(count(&live).unsent, 2);
    relay_accepts(&mut live, &key);
    assert_eq!(count(&live), Counters::default());
    let failed = event(&live, &key, EventUri::ContentConsignmentFailure, Some("H26"), |_| {});
    show(&mut live, &key, &failed);
    let refused =
        event(&live, &key, EventUri::ContentHandoverFailure, Some("H37"), |e| e.reason = Some(Reason::RefusedBySystem));
    show(&mut live, &key, &refused);
    assert_eq!(count(&live), Counters { failed: 1, returned: 1, ..Counters::default() });
    assert!(live.core.counters(start(), |code| code.as_str() == "H01").is_empty(), "others' are nobody's business");
    let sent = live.core.find_sent(&key).unwrap();
    let counted =
        |which: Counted| sent.pairs.iter().filter(|(c, p)| live.core.counts(start(), which, sent, c, p)).count();
    assert_eq!(Counted::ALL.map(counted), [0, 1, 1, 0, 0]);
    // 02 from a recipient that has it, and a withdrawal by agreement.
    let (mut other, _, document) = delivered();
    relay_accepts(&mut other, &document);
    hear(&mut other, 50, "H26", status("H26", "G22", document.envelope, StatusCode::Refused, 1));
    assert_eq!(count(&other), Counters { returned: 1, ..Counters::default() });
}
