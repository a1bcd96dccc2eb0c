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
    let input = Input::Administer { deed: Box::new(deed(why)), note, reply: Some(Token(1)) };
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
    let input = Input::Administer { deed: Box::new(deed("first")), note: None, reply: Some(Token(1)) };
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
