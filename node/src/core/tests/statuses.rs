//! Business statuses in the fold: which change something, which do not, and which come before or after their document is in memory.

use super::*;

#[test]
fn statuses_are_told_apart_by_number_and_late_ones_change_nothing() {
    let (mut sender, _, document) = delivered();
    hear(&mut sender, 50, "H26", status("H26", "G22", document.envelope, StatusCode::Accepted, 2));
    hear(&mut sender, 51, "H26", status("H26", "G22", document.envelope, StatusCode::Arrived, 1));
    hear(&mut sender, 52, "H26", status("H26", "G22", document.envelope, StatusCode::Done, 2));
    let business = &sender.pair(&document, "H26").business;
    assert_eq!((business.current, business.notes.len()), (Some(StatusCode::Accepted), 2), "{business:?}");
    assert!(business.notes[1].late && !business.notes[0].late);
    assert_eq!(sender.pair(&document, "H37").business.current, None, "the other recipient has its own");
    // A status envelope needs no confirmation.
    assert!(sender.core.find_received(&key("H26", 50)).unwrap().is_settled());
    sender.check_fold();
}

#[test]
fn a_withdrawal_goes_from_the_sender_and_closes_the_document_when_agreed() {
    let (mut sender, mut receiver, document) = delivered();
    let reserve = |live: &mut Live, from: &str, to: Option<&str>, code: StatusCode, idempotency_key: &str| {
        let request = StatusRequest {
            sender: None,
            document: document.envelope,
            from: self::code(from),
            to: to.map(self::code),
            code,
            idempotency_key: idempotency_key.into(),
            request_hash: Digest::of(idempotency_key.as_bytes()),
        };
        let effects = live.handle(after(700), Input::ReserveStatus { request, reply: Some(Token(1)) });
        answer(&effects).clone()
    };
    let refused = reserve(&mut receiver, "H26", None, StatusCode::WithdrawalAgreed, "x");
    assert!(matches!(refused, Answer::StatusRefused(StatusRefused::NothingAsked(_))));
    let ambiguous = reserve(&mut sender, "G22", None, StatusCode::WithdrawalRequested, "x");
    assert_eq!(ambiguous, Answer::StatusRefused(StatusRefused::NoSuchDocument), "two recipients: say which");
    let asked = reserve(&mut sender, "G22", Some("H26"), StatusCode::WithdrawalRequested, "w");
    let Answer::StatusReserved { sequence: 1, .. } = asked else { panic!("{asked:?}") };
    let bytes = status("G22", "H26", document.envelope, StatusCode::WithdrawalRequested, 1);
    let own = key("G22", 60);
    let preamble = preamble(&own, &["H26"], EnvelopeKind::Status, None);
    prepare(&mut sender, sealed_as(&own, &preamble, "w", b"w", bytes.clone()));
    assert_eq!(
        reserve(&mut sender, "G22", Some("H26"), StatusCode::WithdrawalRequested, "w"),
        Answer::StatusKnown { key: own.clone(), sequence: 1 }
    );
    hear(&mut receiver, 60, "G22", bytes);
    let agreed = reserve(&mut receiver, "H26", None, StatusCode::WithdrawalAgreed, "y");
    assert!(matches!(agreed, Answer::StatusReserved { sequence: 1, .. }), "{agreed:?}");
    let answer_bytes = status("H26", "G22", document.envelope, StatusCode::WithdrawalAgreed, 1);
    hear(&mut sender, 61, "H26", answer_bytes);
    assert_eq!(sender.pair(&document, "H26").business.withdrawal, Asking::Agreed);
    let after = reserve(&mut sender, "G22", Some("H26"), StatusCode::WithdrawalRequested, "z");
    assert_eq!(after, Answer::StatusRefused(StatusRefused::Closed));
    sender.check_fold();
    receiver.check_fold();
}

/// A request to withdraw `document`, as `G22` sets it.
fn asked_back(document: &Key, to: &str, sequence: u64) -> Vec<u8> {
    status("G22", to, document.envelope, StatusCode::WithdrawalRequested, sequence)
}

#[test]
fn what_the_other_side_may_not_say_is_kept_and_changes_nothing() {
    let (mut sender, _, document) = delivered();
    let say = |code, sequence| status("H26", "G22", document.envelope, code, sequence);
    use StatusCode as C;
    // The number rises; the state does not go backwards, and nobody agrees to what was not asked.
    let said = [C::InProgress, C::Accepted, C::WithdrawalAgreed, C::Unknown09, C::Done, C::Refused];
    for (n, code) in (1_u8..).zip(said) {
        hear(&mut sender, 50 + n, "H26", say(code, u64::from(n)));
    }
    let business = &sender.pair(&document, "H26").business;
    let late: Vec<bool> = business.notes.iter().map(|note| note.late).collect();
    assert_eq!(late, [false, true, true, true, false, true]);
    assert_eq!((business.current, business.progress), (Some(C::Done), Some(C::Done)));
    assert_eq!(business.withdrawal, Asking::None);
    sender.check_fold();
}

#[test]
fn no_more_statuses_are_kept_in_sight_than_anybody_needs() {
    let (mut sender, _, document) = delivered();
    for n in 0..200 {
        let bytes = status("H26", "G22", document.envelope, StatusCode::Unknown07, n + 1);
        hear(&mut sender, u8::try_from(n).unwrap(), "H26", bytes);
    }
    let notes = &sender.pair(&document, "H26").business.notes;
    assert_eq!(notes.len(), truc_proto::limits::STATUS_NOTES_MAX);
}

#[test]
fn a_request_to_withdraw_that_overtakes_its_document_waits_for_it() {
    let (mut sender, mut receiver, document) = (Live::new("N1"), Live::new("N2"), key("G22", 1));
    prepare(&mut sender, sealed(&document, &["H26", "H37"], "a", b"a"));
    hear(&mut receiver, 60, "G22", asked_back(&document, "H26", 1));
    hear(&mut receiver, 61, "G22", asked_back(&document, "H26", 1));
    receiver.check_fold();
    receiver.restart();
    let leased = Leased { incoming: incoming(&sender, &document, &["H26", "H37"]) };
    receiver.handle(after(700), Input::Leased(Box::new(leased)));
    let outcomes = vec![(code("H26"), Ok(())), (code("H37"), Ok(()))];
    let content = Some(Box::new(content(&document, Vec::new())));
    receiver.handle(after(800), Input::Opened { key: document.clone(), content, outcomes });
    let received = receiver.core.find_received(&document).unwrap();
    assert_eq!(received.codes[&code("H26")].business.withdrawal, Asking::Asked);
    assert_eq!(received.codes[&code("H37")].business.withdrawal, Asking::None);
    receiver.check_fold();
}

#[test]
fn of_too_many_requests_about_documents_that_never_came_the_oldest_go() {
    let mut receiver = Live::new("N2");
    let mut documents = Vec::new();
    let max = truc_proto::limits::EARLY_STATUSES_MAX;
    for n in 0..max + 3 {
        let envelope = EnvelopeId::new(after(u64::try_from(n).unwrap()), [7; 10]);
        let document = Key { sender: code("G22"), envelope };
        let place = Place { position: u64::try_from(n).unwrap(), leaf: None };
        receiver.core.note_status(&asked_back(&document, "H26", 1), place, false, id(9)).unwrap();
        documents.push(document);
    }
    assert_eq!(receiver.core.early.len(), max);
    assert!(!receiver.core.early.contains_key(&(documents[2].clone(), code("H26"))));
    assert!(receiver.core.early.contains_key(&(documents[3].clone(), code("H26"))));
}

/// A receiver's node with a document that was handed over, answered and closed.
#[test]
fn statuses_of_a_document_that_left_memory_are_found_with_it_those_set_later_too() {
    let (mut receiver, document) = handed_over();
    let set = |live: &mut Live, n: u8, status_code, sequence| {
        let own = key("H26", n);
        let preamble = preamble(&own, &["G22"], EnvelopeKind::Status, None);
        let bytes = status("H26", "G22", document.envelope, status_code, sequence);
        let name = n.to_string();
        prepare(live, sealed_as(&own, &preamble, &name, &[n], bytes));
    };
    set(&mut receiver, 50, StatusCode::Accepted, 1);
    receiver.handle(after(2), Input::Connected);
    let leaves: Vec<u64> = receiver.core.unsent().keys().copied().collect();
    receiver.handle(after(3), Input::Pushed { leaves, finally: true });
    receiver.handle(after(9 * 86_400_000), Input::Tick);
    assert!(receiver.core.find_received(&document).is_none(), "it left memory");
    set(&mut receiver, 51, StatusCode::Done, 2);
    hear(&mut receiver, 52, "G22", asked_back(&document, "H26", 1));

    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger_of(&receiver, folder.path());
    let index = folder.path().join("index");
    let archive = crate::archive::Archive::open(ledger.clone(), index, Policy::new(node("N2")), word_key()).unwrap();
    archive.wait();
    let found = archive.received(&document).expect("found through the index");
    let business = &found.codes[&code("H26")].business;
    let codes: Vec<&str> = business.notes.iter().map(|note| note.code.as_str()).collect();
    assert_eq!(codes, ["03", "06", "13"]);
    assert_eq!((business.said, business.heard, business.withdrawal), (2, 1, Asking::Asked));
    archive.close();
    ledger.close();
}

#[test]
fn a_document_that_changes_an_earlier_one_is_answered_like_a_request_and_stays_open() {
    let (mut sender, mut receiver, update) = (Live::new("N1"), Live::new("N2"), key("G22", 1));
    let change = crate::records::Change {
        kind: 2,
        document_ids: vec!["G22,2026/11/01,5/KH".into()],
        reason: "x".into(),
        receivers: Vec::new(),
    };
    let about = About { change: Some(change), ..About::default() };
    let mut document = sealed(&update, &["H26"], "a", b"a");
    document.outgoing.about = about.clone();
    prepare(&mut sender, document);
    let leased = Leased { incoming: incoming(&sender, &update, &["H26"]) };
    receiver.handle(after(100), Input::Leased(Box::new(leased)));
    let opened = Content { about, ..content(&update, Vec::new()) };
    let outcomes = vec![(code("H26"), Ok(()))];
    receiver.handle(after(200), Input::Opened { key: update.clone(), content: Some(Box::new(opened)), outcomes });
    assert_eq!(sender.pair(&update, "H26").business.change, Asking::Asked);
    let at_receiver = |live: &Live| live.core.find_received(&update).unwrap().codes[&code("H26")].business.clone();
    assert_eq!(at_receiver(&receiver).change, Asking::Asked);
    let agreed = status("H26", "G22", update.envelope, StatusCode::WithdrawalAgreed, 1);
    let own = key("H26", 60);
    let preamble = preamble(&own, &["G22"], EnvelopeKind::Status, None);
    prepare(&mut receiver, sealed_as(&own, &preamble, "y", b"y", agreed.clone()));
    hear(&mut sender, 60, "H26", agreed);
    for business in [at_receiver(&receiver), sender.pair(&update, "H26").business.clone()] {
        assert_eq!((business.change, business.withdrawal), (Asking::Agreed, Asking::None));
        assert!(!business.is_withdrawn(), "the update itself stays a current document");
    }
    assert_eq!(receiver.core.unread(&code("H26")).count(), 1);
    sender.check_fold();
    receiver.check_fold();
}
