//! What document systems have still to take.

use super::*;

fn unread(live: &Live, recipient: &str) -> Vec<Key> {
    live.core.unread(&code(recipient)).map(|received| received.key.clone()).collect()
}

fn taken(key: &Key, recipient: &str, failed: bool) -> Input {
    Input::StatusTaken { key: key.clone(), code: code(recipient), failed, reply: Some(Token(1)) }
}

#[test]
fn a_document_is_unread_per_code_until_it_is_handed_over_or_refused() {
    let (_, mut receiver, document) = delivered();
    let confirm = |recipient: &str, refused: Option<&str>| Input::Confirm {
        key: document.clone(),
        code: code(recipient),
        refused: refused.map(str::to_owned),
        reply: Some(Token(1)),
    };
    assert_eq!((unread(&receiver, "H26"), unread(&receiver, "H37")), (vec![document.clone()], vec![document.clone()]));
    receiver.handle(after(700), confirm("H26", None));
    assert_eq!((unread(&receiver, "H26"), unread(&receiver, "H37")), (vec![], vec![document.clone()]));
    receiver.handle(after(700), confirm("H37", Some("no")));
    assert_eq!(unread(&receiver, "H37"), []);
    assert!(receiver.core.unread.is_empty(), "{:?}", receiver.core.unread);
    receiver.check_fold();
    receiver.restart();
    assert!(receiver.core.unread.is_empty(), "{:?}", receiver.core.unread);
}

#[test]
fn a_status_is_taken_once_and_the_mark_outlives_a_restart() {
    let (mut sender, _, document) = delivered();
    hear(&mut sender, 50, "H26", status("H26", "G22", document.envelope, StatusCode::Arrived, 1));
    let first = key("H26", 50);
    assert_eq!(unread(&sender, "G22"), std::slice::from_ref(&first));
    let effects = sender.handle(after(700), taken(&first, "G22", false));
    assert_eq!(answer(&effects), &Answer::Confirmed { at: after(700), first: true });
    sender.check_fold();
    sender.restart();
    assert_eq!(unread(&sender, "G22"), []);
    let records = sender.journal.len();
    let effects = sender.handle(after(900), taken(&first, "G22", true));
    assert_eq!(answer(&effects), &Answer::Confirmed { at: after(700), first: false });
    assert_eq!(sender.journal.len(), records, "recorded once");
    for (unknown, of) in [(key("H26", 51), "G22"), (first, "H37"), (document, "G22")] {
        let effects = sender.handle(after(900), taken(&unknown, of, false));
        assert_eq!(answer(&effects), &Answer::NotFound, "{unknown} {of}");
    }
}

#[test]
fn a_status_waits_in_memory_for_the_system_that_takes_it_and_not_for_ever() {
    const DAY: u64 = 86_400_000;
    let closed = |live: &Live| live.core.received().is_empty();
    let heard = || {
        let (mut sender, _, document) = delivered();
        hear(&mut sender, 50, "H26", status("H26", "G22", document.envelope, StatusCode::Arrived, 1));
        sender.handle(after(700), Input::Connected);
        let leaves: Vec<u64> = sender.core.unsent().keys().copied().collect();
        sender.handle(after(700), Input::Pushed { leaves, finally: true });
        sender
    };
    let readers = || Input::StatusReaders(BTreeSet::from([code("G22")]));
    // Nobody reads them one by one: it goes after a week.
    let mut nobody = heard();
    nobody.handle(after(8 * DAY), Input::Tick);
    assert!(closed(&nobody));
    // Somebody does: it stays until it is taken.
    let mut reader = heard();
    reader.handle(after(800), readers());
    reader.handle(after(80 * DAY), Input::Tick);
    assert_eq!(unread(&reader, "G22"), [key("H26", 50)]);
    reader.handle(after(80 * DAY), taken(&key("H26", 50), "G22", false));
    reader.handle(after(80 * DAY + 1), Input::Tick);
    reader.handle(after(88 * DAY), Input::Tick);
    assert!(closed(&reader));
    reader.check_fold();
    // Never taken: 90 days.
    let mut silent = heard();
    silent.handle(after(800), readers());
    for day in 1..=89 {
        silent.handle(after(day * DAY), Input::Tick);
    }
    assert!(!closed(&silent));
    for day in 90..=91 {
        silent.handle(after(day * DAY), Input::Tick);
    }
    assert!(closed(&silent) && unread(&silent, "G22").is_empty());
    silent.check_fold();
}

#[test]
fn envelopes_are_found_by_the_millisecond_they_were_made_in() {
    let (_, receiver, document) = delivered();
    let found = |at| receiver.core.received_made_at(at).map(|received| received.key.clone()).collect::<Vec<_>>();
    assert_eq!(found(start()), [document]);
    assert_eq!((found(after(1)), found(start().before(std::time::Duration::from_millis(1)))), (vec![], vec![]));
}

#[test]
fn what_is_closed_is_found_by_the_moment_it_was_made_in_and_by_its_document_id() {
    let (mut sender, mut receiver, first) = (Live::new("N1"), Live::new("N1"), key("G22", 1));
    let described = |key: &Key| {
        let mut described = content(key, Vec::new());
        described.about.document_id = "G22,2026/11/20,45/KH-THỬ".into();
        Some(Box::new(described))
    };
    prepare(&mut sender, sealed(&first, &["H26"], "a", b"a"));
    let leased = Leased { incoming: incoming(&sender, &first, &["H26"]) };
    receiver.handle(after(100), Input::Leased(Box::new(leased)));
    let outcomes = vec![(code("H26"), Ok(()))];
    receiver.handle(after(200), Input::Opened { key: first.clone(), content: described(&first), outcomes });
    let confirm = Input::Confirm { key: first.clone(), code: code("H26"), refused: None, reply: None };
    receiver.handle(after(300), confirm);
    let leaves: Vec<u64> = receiver.core.unsent().keys().copied().collect();
    receiver.handle(after(400), Input::Pushed { leaves, finally: true });
    receiver.handle(after(9 * 86_400_000), Input::Tick);
    assert!(receiver.core.received().is_empty());

    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger_of(&receiver, folder.path());
    let index = folder.path().join("index");
    let archive = crate::archive::Archive::open(ledger.clone(), index, Policy::new(node("N1")), word_key()).unwrap();
    archive.wait();
    assert_eq!(archive.received_made_at(start()).unwrap(), std::slice::from_ref(&first));
    assert_eq!(archive.received_made_at(after(1)).unwrap(), []);
    let named = |sent, sender: &str, id: &str| archive.of_document_id(sent, &code(sender), id).unwrap();
    assert_eq!(named(false, "G22", "G22,2026/11/20,45/KH-THỬ"), [first.envelope]);
    for (sent, sender, id) in [
        (true, "G22", "G22,2026/11/20,45/KH-THỬ"),
        (false, "G23", "G22,2026/11/20,45/KH-THỬ"),
        (false, "G22", "G22,2026/11/20,45/KH-THU"),
        (false, "G22", ""),
    ] {
        assert_eq!(named(sent, sender, id), [], "{sent} {sender} {id}");
    }
    archive.close();
    ledger.close();
}
