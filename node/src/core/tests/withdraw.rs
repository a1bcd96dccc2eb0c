//! Taking documents back before they left, per recipient: what never goes, what goes on, and what is sealed in vain.

use super::*;

fn withdraw(live: &mut Live, document: &Key, recipients: &[&str]) -> (BTreeMap<AgencyId, Withdrawing>, Vec<Effect>) {
    let recipients = recipients.iter().map(|text| code(text)).collect();
    let text = "gửi nhầm".to_owned();
    let input = Input::Withdraw { key: document.clone(), recipients, text, reply: Some(Token(1)) };
    let effects = live.handle(after(900), input);
    let Answer::Withdrawing(outcomes) = answer(&effects).clone() else { panic!("{effects:?}") };
    (outcomes, effects)
}

fn is_failed_as(live: &Live, document: &Key, recipient: &str, reason: Reason) {
    let pair = live.pair(document, recipient);
    assert_eq!((pair.state, pair.reason), (PairState::Failed, Some(reason)), "{recipient}");
}

#[test]
fn what_has_not_left_is_withdrawn_at_once_and_is_never_offered() {
    let (mut live, document) = (Live::new("N1"), key("G22", 1));
    prepare(&mut live, sealed(&document, &["H26", "H37"], "a", b"a"));
    let (outcomes, _) = withdraw(&mut live, &document, &[]);
    assert!(outcomes.values().all(|outcome| *outcome == Withdrawing::Withdrawn) && outcomes.len() == 2);
    is_failed_as(&live, &document, "H26", Reason::Withdrawn);
    is_failed_as(&live, &document, "H37", Reason::Withdrawn);
    let records = live.journal.len();
    assert_eq!(withdraw(&mut live, &document, &["H26"]).0[&code("H26")], Withdrawing::Withdrawn);
    assert_eq!(live.journal.len(), records, "recorded once");
    for _ in 0..2 {
        let effects = live.handle(after(1_000), Input::Connected);
        assert!(
            !effects.iter().any(|effect| matches!(effect, Effect::Offer { .. } | Effect::Divide { .. })),
            "{effects:?}"
        );
        live.restart();
    }
    assert!(live.core.unsent().is_empty(), "nobody is shown its submission");
    assert_eq!(
        prepare(&mut live, sealed(&key("G22", 9), &["H26"], "a", b"a")).len(),
        1,
        "the request keeps its answer"
    );
    live.check_fold();
}

#[test]
fn a_stranger_to_the_document_and_an_unknown_document_are_not_found() {
    let (mut live, document) = (Live::new("N1"), key("G22", 1));
    prepare(&mut live, sealed(&document, &["H26"], "a", b"a"));
    for (key, recipients) in [(document.clone(), vec![code("H37")]), (key("G22", 2), vec![]), (key("G09", 1), vec![])] {
        let input = Input::Withdraw { key, recipients, text: "x".into(), reply: Some(Token(1)) };
        assert_eq!(answer(&live.handle(after(900), input)), &Answer::NotFound);
    }
    assert_eq!(live.pair(&document, "H26").state, PairState::Sealed);
}

#[test]
fn what_was_offered_counts_as_gone_and_so_does_what_a_restart_makes_uncertain() {
    let (mut live, document) = (Live::new("N1"), key("G22", 1));
    prepare(&mut live, sealed(&document, &["H26"], "a", b"a"));
    live.restart();
    assert_eq!(
        withdraw(&mut live, &document, &[]).0[&code("H26")],
        Withdrawing::Ask,
        "it may have been offered before"
    );
    let fresh = key("G22", 2);
    live.handle(after(1_000), Input::Connected);
    prepare(&mut live, sealed(&fresh, &["H26"], "b", b"b"));
    let asked = withdraw(&mut live, &fresh, &[]).0;
    assert_eq!(asked[&code("H26")], Withdrawing::Ask, "its offer is under way");
    live.check_fold();
}

#[test]
fn the_other_recipients_of_a_sealed_envelope_get_one_of_their_own() {
    let (mut live, document) = (Live::new("N1"), key("G22", 1));
    prepare(&mut live, sealed(&document, &["H01", "H26", "H37"], "a", b"a"));
    let (outcomes, effects) = withdraw(&mut live, &document, &["H37"]);
    assert_eq!(outcomes, BTreeMap::from([(code("H37"), Withdrawing::Withdrawn)]));
    let left = vec![code("H01"), code("H26")];
    let divide = Effect::Divide { key: document.clone(), body: 0, recipients: left };
    assert!(effects.contains(&divide), "{effects:?}");
    // The whole envelope stays here, also over a restart.
    live.check_fold();
    live.restart();
    let effects = live.handle(after(1_000), Input::Connected);
    assert!(effects.contains(&divide) && !effects.iter().any(|e| matches!(e, Effect::Offer { .. })), "{effects:?}");
    // What is sealed for others than are left by now is thrown away, and done again.
    withdraw(&mut live, &document, &["H01"]);
    let continued = |n: u8, recipients: &[&str]| {
        let mut sealed = sealed(&key("G22", n), recipients, "", b"divide");
        sealed.outgoing.continues = document.envelope.to_string();
        sealed
    };
    let records = live.journal.len();
    let vain =
        live.handle(after(1_100), Input::Prepared { sealed: Box::new(continued(2, &["H01", "H26"])), reply: None });
    assert!(matches!(vain.as_slice(), [Effect::Closed { payload: Some(_), .. }, ..]), "{vain:?}");
    assert_eq!(live.journal.len(), records);
    let again = live.handle(after(1_200), Input::Tick);
    assert!(
        again.contains(&Effect::Divide { key: document.clone(), body: 0, recipients: vec![code("H26")] }),
        "{again:?}"
    );
    let failed = Input::DivideFailed { key: document.clone(), error: "the key is away".into() };
    live.handle(after(1_300), failed);
    assert!(live.core.alarms().contains_key(&Alarm::Reseal(document.envelope, code("H26"))));

    let effects = live.handle(after(1_400), Input::Prepared { sealed: Box::new(continued(3, &["H26"])), reply: None });
    assert!(
        effects.iter().any(|e| matches!(e, Effect::Offer { key, .. } if *key == self::key("G22", 3))),
        "{effects:?}"
    );
    is_failed_as(&live, &document, "H26", Reason::Superseded);
    assert_eq!(live.pair(&document, "H26").superseded_by, Some(id(3)));
    assert!(live.core.alarms().is_empty() && live.core.find_sent(&document).unwrap().is_settled());
    let followed = withdraw(&mut live, &document, &[]).0;
    assert_eq!(followed[&code("H26")], Withdrawing::Replaced(id(3)));
    live.check_fold();
    live.restart();
    assert!(!live.handle(after(1_500), Input::Connected).iter().any(|e| matches!(e, Effect::Divide { .. })));
}

#[test]
fn a_divided_envelope_that_nobody_can_seal_gives_up_when_its_time_is_over() {
    let (mut live, document) = (Live::new("N1"), key("G22", 1));
    prepare(&mut live, sealed(&document, &["H26", "H37"], "a", b"a"));
    withdraw(&mut live, &document, &["H37"]);
    live.handle(after(2 * 86_400_000), Input::Tick);
    is_failed_as(&live, &document, "H26", Reason::Expired);
    is_failed_as(&live, &document, "H37", Reason::Withdrawn);
    let mut late = sealed(&key("G22", 2), &["H26"], "", b"divide");
    late.outgoing.continues = document.envelope.to_string();
    let effects = live.handle(after(2 * 86_400_000 + 1), Input::Prepared { sealed: Box::new(late), reply: None });
    assert!(matches!(effects.as_slice(), [Effect::Closed { .. }, ..]), "it comes too late: {effects:?}");
    assert!(live.core.find_sent(&key("G22", 2)).is_none());
    live.check_fold();
}

fn hold(live: &mut Live, document: &Key, recipients: &[&str]) {
    let held = crate::records::Held {
        envelope: document.envelope.to_string(),
        sender: document.sender.to_string(),
        recipients: recipients.iter().map(ToString::to_string).collect(),
        expires_ms: after(86_400_000).unix_ms(),
        idempotency_key: "a".into(),
        request_hash: Digest::of(b"a").0.to_vec(),
        ..crate::records::Held::default()
    };
    live.handle(start(), Input::Held { request: Box::new(HeldRequest { held }), reply: None });
}

#[test]
fn what_is_held_is_sealed_for_those_who_are_left_and_keeps_the_others_in_sight() {
    let (mut live, document) = (Live::new("N1"), key("G22", 1));
    hold(&mut live, &document, &["H26", "H37"]);
    live.restart();
    assert_eq!(withdraw(&mut live, &document, &["H37"]).0[&code("H37")], Withdrawing::Withdrawn, "held, it never left");
    let effects = live.handle(after(1_000), Input::KeyBack);
    let finish = Effect::FinishHeld { key: document.clone(), body: 0, recipients: vec![code("H26")] };
    assert!(effects.contains(&finish), "{effects:?}");
    // Sealed for both, as it was begun before: never so.
    let vain = prepare(&mut live, sealed(&document, &["H26", "H37"], "a", b"a"));
    assert!(matches!(vain.as_slice(), [Effect::Closed { .. }, ..]), "{vain:?}");
    assert!(live.handle(after(1_100), Input::Tick).contains(&finish));
    prepare(&mut live, sealed(&document, &["H26"], "a", b"a"));
    assert_eq!(live.pair(&document, "H26").state, PairState::Sealed);
    is_failed_as(&live, &document, "H37", Reason::Withdrawn);
    live.check_fold();
}

#[test]
fn what_was_withdrawn_while_it_was_held_is_not_sealed_any_more() {
    let (mut live, document) = (Live::new("N1"), key("G22", 1));
    hold(&mut live, &document, &["H26"]);
    withdraw(&mut live, &document, &[]);
    assert!(!live.handle(after(1_000), Input::KeyBack).iter().any(|e| matches!(e, Effect::FinishHeld { .. })));
    let vain = prepare(&mut live, sealed(&document, &["H26"], "a", b"a"));
    assert!(matches!(vain.as_slice(), [Effect::Closed { .. }, ..]), "{vain:?}");
    is_failed_as(&live, &document, "H26", Reason::Withdrawn);
    live.check_fold();
}

#[test]
fn a_replacement_in_the_making_is_withdrawn_with_its_document() {
    let (mut live, document) = (Live::new("N1"), key("G22", 1));
    prepare(&mut live, sealed(&document, &["H26"], "a", b"a"));
    live.handle(after(1), Input::Connected);
    let refused = event(&live, &document, EventUri::RelayRejection, Some("H26"), |event| {
        event.reason = Some(Reason::ClosedCode);
        event.successor = Some(code("H37"));
    });
    let effects = show(&mut live, &document, &refused);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Reseal { .. })), "{effects:?}");
    assert_eq!(withdraw(&mut live, &document, &[]).0[&code("H26")], Withdrawing::Withdrawn);
    let supersedes = truc_proto::Supersedes { envelope: document.envelope, recipient: code("H26") };
    let replacement = preamble(&key("G22", 2), &["H37"], EnvelopeKind::Document, Some(supersedes));
    let vain = prepare(&mut live, sealed_as(&key("G22", 2), &replacement, "", b"r", Vec::new()));
    assert!(matches!(vain.as_slice(), [Effect::Closed { .. }, ..]), "{vain:?}");
    assert!(!live.handle(after(5_000), Input::Tick).iter().any(|effect| matches!(effect, Effect::Reseal { .. })));
    assert!(live.core.find_sent(&key("G22", 2)).is_none());
    live.check_fold();
}

#[test]
fn an_agreed_withdrawal_closes_the_recipients_copy() {
    let (_, mut receiver, document) = delivered();
    let asked = status("G22", "H26", document.envelope, StatusCode::WithdrawalRequested, 1);
    hear(&mut receiver, 60, "G22", asked);
    let documents = |live: &Live, to: &str| {
        let to = code(to);
        live.core.unread(&to).filter(|received| received.kind == EnvelopeKind::Document).count()
    };
    assert_eq!(documents(&receiver, "H26"), 1, "asked is not yet agreed");
    let own = key("H26", 61);
    let preamble = preamble(&own, &["G22"], EnvelopeKind::Status, None);
    let agreed = status("H26", "G22", document.envelope, StatusCode::WithdrawalAgreed, 1);
    prepare(&mut receiver, sealed_as(&own, &preamble, "y", b"y", agreed));
    assert_eq!(documents(&receiver, "H26"), 0, "no current document");
    assert_eq!(documents(&receiver, "H37"), 1, "the other agency has its own");
    let confirm =
        |code_: &str| Input::Confirm { key: document.clone(), code: code(code_), refused: None, reply: Some(Token(1)) };
    let effects = receiver.handle(after(1_000), confirm("H26"));
    assert!(matches!(answer(&effects), Answer::NotNow(why) if why.contains("withdrawn")), "{effects:?}");
    receiver.handle(after(1_100), confirm("H37"));
    assert!(receiver.core.find_received(&document).unwrap().is_settled(), "nothing more is expected of it");
    receiver.check_fold();
}
