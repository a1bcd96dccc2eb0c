//! What administrators did.

use truc_proto::{AdminAction, AdminSubject, Administration, Administrator, CallerRole};

use super::*;

fn deed(why: &str) -> Deed {
    Deed {
        action: AdminAction::TokenMade,
        subject: AdminSubject::named("vpcp"),
        who: Administrator { name: "lan".into(), role: CallerRole::CipherAdmin },
        approved_by: None,
        why: why.into(),
        done: None,
    }
}

fn administer(live: &mut Live, why: &str, note: Option<Digest>) -> Answer {
    let input = Input::Administer { deed: Box::new(deed(why)), note, wish: None, reply: Some(Token(1)) };
    answer(&live.handle(after(900), input)).clone()
}

#[track_caller]
fn written(answer: &Answer) -> u64 {
    let Answer::Administered { position } = answer else { panic!("{answer:?}") };
    *position
}

/// What stands at these positions, read backwards from the newest.
fn log(live: &Live) -> Vec<String> {
    let mut next = live.core.newest_deed();
    let mut found = Vec::new();
    while let Some(position) = next {
        let (_, record) = live.journal.iter().find(|(place, _)| place.position == position).unwrap();
        let Body::Administered(administered) = NodeRecord::read(&record.state).unwrap() else { panic!("another") };
        let leaf = Raw::<Administration>::parse(record.leaf.clone().unwrap()).unwrap();
        assert_eq!((leaf.node.clone(), leaf.time), (node("N1"), after(900)));
        found.push(leaf.why.clone());
        next = administered.previous;
    }
    found
}

#[test]
fn what_was_done_is_a_leaf_and_each_record_names_the_one_before() {
    let mut live = Live::new("N1");
    assert_eq!(live.core.newest_deed(), None);
    let input = Input::Administer { deed: Box::new(deed("first")), note: None, wish: None, reply: Some(Token(1)) };
    let effects = live.handle(after(900), input);
    assert!(effects.contains(&Effect::Sign), "a leaf waits for the certificate's signature");
    administer(&mut live, "second", None);
    live.restart();
    administer(&mut live, "third", None);
    assert_eq!(log(&live), ["third", "second", "first"]);
    live.check_fold();
    assert_eq!(live.journal.iter().filter(|(place, _)| place.leaf.is_some()).count(), 3);
}

#[test]
fn a_note_is_written_down_once_also_when_its_file_comes_back_after_a_crash() {
    let mut live = Live::new("N1");
    let note = Some(Digest::of(b"note"));
    let position = written(&administer(&mut live, "noted", note));
    administer(&mut live, "said meanwhile", None);
    live.restart();
    assert_eq!(written(&administer(&mut live, "noted", note)), position);
    assert_eq!(log(&live), ["said meanwhile", "noted"]);
    written(&administer(&mut live, "another", Some(Digest::of(b"another note"))));
    assert_eq!(log(&live).len(), 3);
    live.check_fold();
}

#[test]
fn what_could_not_be_read_later_is_not_written() {
    let mut live = Live::new("N1");
    assert!(matches!(administer(&mut live, "", None), Answer::Unfit(why) if why.contains("`why`")));
    assert!(live.journal.is_empty());
}

fn asked(live: &mut Live, ms: u64, who: &str) -> Answer {
    let person = Administrator { name: who.into(), role: CallerRole::CipherAdmin };
    let deed = Box::new(Deed { action: AdminAction::TokenWithdrawn, who: person, ..deed("lost") });
    answer(&live.handle(after(ms), Input::AskFor { deed, reply: Some(Token(1)) })).clone()
}

fn answered(live: &mut Live, ms: u64, wish: u64, approved: bool, who: &str) -> Answer {
    let who = Administrator { name: who.into(), role: CallerRole::CipherAdmin };
    let input = Input::AnswerWish { wish, approved, who, why: "checked".into(), reply: Some(Token(1)) };
    answer(&live.handle(after(ms), input)).clone()
}

#[track_caller]
fn waits(answer: &Answer, is_again: bool) -> u64 {
    let Answer::Asked(Asked::Waits { wish, again, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(*again, is_again);
    *wish
}

#[test]
fn what_two_have_to_agree_to_is_carried_out_after_another_approved_and_is_then_gone() {
    let mut live = Live::new("N1");
    let wish = waits(&asked(&mut live, 1, "lan"), false);
    assert_eq!(waits(&asked(&mut live, 2, "lan"), true), wish, "asked again, it is the same");
    assert!(matches!(answered(&mut live, 3, wish, true, "lan"), Answer::NotNow(why) if why.contains("himself")));
    assert_eq!(answered(&mut live, 3, wish + 100, true, "minh"), Answer::NotFound);
    live.restart();
    written(&answered(&mut live, 4, wish, true, "minh"));
    live.check_fold();
    live.restart();
    let Answer::Asked(Asked::Approved { wish: number, by }) = asked(&mut live, 5, "lan") else { panic!("approved") };
    assert_eq!((number, by.name.as_str()), (wish, "minh"));
    // Who approved does not carry it out under the other's name: for him it is another wish.
    let other = waits(&asked(&mut live, 5, "minh"), false);
    let done = Deed { approved_by: Some(by), ..deed("lost") };
    let input = Input::Administer { deed: Box::new(done), note: None, wish: Some(wish), reply: Some(Token(1)) };
    written(answer(&live.handle(after(900), input)));
    assert_eq!(live.core.wishes().keys().collect::<Vec<_>>(), [&other]);
    assert_ne!(waits(&asked(&mut live, 7, "lan"), false), wish, "an approval holds once");
    live.check_fold();
}

#[test]
fn a_refusal_holds_as_long_as_the_wish_would_have_and_an_approval_can_be_taken_back() {
    let day = truc_proto::limits::ADMINISTRATION_WISH_MS_MAX;
    let mut live = Live::new("N1");
    let wish = waits(&asked(&mut live, 0, "lan"), false);
    written(&answered(&mut live, 1, wish, true, "minh"));
    written(&answered(&mut live, 2, wish, false, "minh"));
    assert!(matches!(answered(&mut live, 3, wish, true, "hoa"), Answer::NotNow(_)), "it was answered");
    let refused = asked(&mut live, 3, "lan");
    assert!(matches!(&refused, Answer::Asked(Asked::Refused(answer, _)) if answer.who.name == "minh"), "{refused:?}");
    live.restart();
    let anew = waits(&asked(&mut live, day + 2, "lan"), false);
    assert_ne!(anew, wish);
    live.check_fold();
}

#[test]
fn a_wish_that_nobody_answers_expires_and_is_forgotten_later_and_their_number_is_bounded() {
    let day = truc_proto::limits::ADMINISTRATION_WISH_MS_MAX;
    let mut live = Live::new("N1");
    let wish = waits(&asked(&mut live, 0, "lan"), false);
    let state = |live: &Live, ms| live.core.wishes()[&wish].state(after(ms));
    assert_eq!((state(&live, day - 1), state(&live, day)), (WishState::Waits, WishState::Expired));
    assert!(matches!(answered(&mut live, day, wish, true, "minh"), Answer::NotNow(_)));
    waits(&asked(&mut live, day, "lan"), false);
    assert_eq!(live.core.wishes().len(), 2, "what became of the first is still shown");
    waits(&asked(&mut live, 2 * day, "hoa"), false);
    assert!(!live.core.wishes().contains_key(&wish));
    for n in 0..truc_proto::limits::ADMINISTRATION_WISHES_MAX - 2 {
        waits(&asked(&mut live, 2 * day, &n.to_string()), false);
    }
    assert!(matches!(asked(&mut live, 2 * day, "one more"), Answer::NotNow(why) if why.contains(" / ")));
    live.check_fold();
}
