//! Receiver groups.

use truc_proto::limits::{GROUP_CODES_PER_NODE_MAX, GROUPS_PER_AGENCY_MAX, GROUPS_PER_NODE_MAX};

use super::*;

fn put(live: &mut Live, owner: &str, name: &str, codes: Vec<AgencyId>) -> Answer {
    let input = Input::PutGroup { owner: code(owner), name: name.into(), codes, reply: Some(Token(1)) };
    answer(&live.handle(after(700), input)).clone()
}

fn codes(names: &[&str]) -> Vec<AgencyId> {
    names.iter().map(|name| code(name)).collect()
}

fn numbered(count: usize) -> Vec<AgencyId> {
    let mut codes: Vec<AgencyId> = (0..count).map(|n| code(&format!("H26.{n}"))).collect();
    codes.sort();
    codes
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer, Answer::NotNow(why) if why.contains(" / "))
}

#[test]
fn a_group_is_put_changed_and_deleted_each_once_and_outlives_a_restart() {
    let mut live = Live::new("N1");
    let at = after(700);
    let made = codes(&["H02", "H26"]);
    assert_eq!(put(&mut live, "G22", "Sở, ban, ngành", made.clone()), Answer::Group { existed: false, at });
    assert_eq!(put(&mut live, "G22", "B", codes(&["H37"])), Answer::Group { existed: false, at });
    assert_eq!(put(&mut live, "G13", "B", codes(&["H05"])), Answer::Group { existed: false, at });
    let records = live.journal.len();
    assert_eq!(put(&mut live, "G22", "Sở, ban, ngành", made), Answer::Group { existed: true, at });
    assert_eq!(live.journal.len(), records, "what is so already is not written again");
    assert_eq!(put(&mut live, "G22", "B", codes(&["H05"])), Answer::Group { existed: true, at });
    live.restart();
    let names = |live: &Live| -> Vec<String> {
        let all = live.core.groups();
        all.map(|(owner, name, group)| format!("{owner} {name}: {}", group.codes.len())).collect()
    };
    assert_eq!(names(&live), ["G13 B: 1", "G22 B: 1", "G22 Sở, ban, ngành: 2"]);
    assert_eq!(*live.core.groups_of(&code("G22")).unwrap()["B"].codes, codes(&["H05"]));
    live.check_fold();
    assert_eq!(put(&mut live, "G22", "B", vec![]), Answer::Group { existed: true, at });
    assert_eq!(put(&mut live, "G22", "B", vec![]), Answer::Group { existed: false, at });
    assert_eq!(names(&live), ["G13 B: 1", "G22 Sở, ban, ngành: 2"]);
    live.check_fold();
}

#[test]
fn groups_and_their_codes_are_bounded_and_what_is_deleted_makes_room() {
    let mut live = Live::new("N1");
    for n in 0..GROUPS_PER_AGENCY_MAX {
        put(&mut live, "G22", &n.to_string(), codes(&["H26"]));
    }
    assert!(is_refused(&put(&mut live, "G22", "one more", codes(&["H26"]))));
    assert!(matches!(put(&mut live, "G22", "7", codes(&["H37"])), Answer::Group { existed: true, .. }), "a change");
    put(&mut live, "G22", "7", vec![]);
    assert!(matches!(put(&mut live, "G22", "one more", codes(&["H26"])), Answer::Group { .. }));

    let mut live = Live::new("N1");
    let whole = numbered(1_000);
    for n in 0..GROUP_CODES_PER_NODE_MAX / 1_000 {
        let owner = format!("G{}", 10 + n / GROUPS_PER_AGENCY_MAX);
        live.core.groups.put(code(&owner), n.to_string(), Group { codes: whole.clone().into(), changed_at: after(1) });
    }
    assert!(is_refused(&put(&mut live, "H01", "one more", codes(&["H26"]))));
    assert!(matches!(put(&mut live, "G10", "7", numbered(999)), Answer::Group { existed: true, .. }), "fewer codes");
    assert!(matches!(put(&mut live, "H01", "one more", codes(&["H26"])), Answer::Group { .. }));

    let mut live = Live::new("N1");
    for n in 0..GROUPS_PER_NODE_MAX {
        let owner = code(&format!("H{:02}", 1 + n / GROUPS_PER_AGENCY_MAX));
        live.core.groups.put(owner, n.to_string(), Group { codes: codes(&["H26"]).into(), changed_at: after(1) });
    }
    assert!(is_refused(&put(&mut live, "G22", "one more", codes(&["H26"]))));
}
