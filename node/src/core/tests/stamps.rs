//! What went out without the time-stamp that was asked for is shown once more under it.

use super::*;

type Push = (Vec<OwnLeaf>, Option<(u64, Vec<OwnLeaf>)>);

/// The leaves and finals of the push that is to be done.
fn push(effects: &[Effect]) -> Option<Push> {
    effects.iter().find_map(|effect| match effect {
        Effect::Push { leaves, finals } => Some((leaves.clone(), finals.clone())),
        _ => None,
    })
}

#[track_caller]
fn finals(effects: &[Effect]) -> Vec<u64> {
    let (leaves, finals) = push(effects).expect("something to push");
    let (_, finals) = finals.expect("under the signed checkpoint");
    assert!(leaves.is_empty() && finals.iter().all(|leaf| leaf.known), "{leaves:?} {finals:?}");
    finals.iter().map(|leaf| leaf.index).collect()
}

/// A node that has shown its leaves, and signed a checkpoint over them for which no authority gave a time-stamp.
fn unstamped() -> (Live, Vec<u64>) {
    let (_, mut receiver, _) = delivered();
    let (shown, _) = push(&receiver.handle(after(300), Input::Connected)).expect("two consignments");
    let leaves = shown.iter().map(|leaf| leaf.index).collect();
    receiver.handle(after(310), Input::Pushed { leaves, finally: false });
    let note = signed_note(receiver.core.next_leaf());
    let effects = receiver.handle(after(400), Input::CheckpointSigned { note, stamp: CheckpointStamp::Awaited });
    let leaves = finals(&effects);
    let effects = receiver.handle(after(500), Input::Pushed { leaves: leaves.clone(), finally: true });
    assert!(push(&effects).is_none(), "nothing is better than before");
    assert!(receiver.core.unsent().is_empty(), "what it is about may leave memory");
    assert_eq!(receiver.core.unstamped_leaves(), leaves.len());
    receiver.check_fold();
    (receiver, leaves)
}

fn sign(live: &mut Live, ms: u64, stamp: CheckpointStamp) -> Vec<Effect> {
    let note = signed_note(live.core.next_leaf());
    live.handle(after(ms), Input::CheckpointSigned { note, stamp })
}

#[test]
fn what_went_out_without_time_stamp_goes_again_under_it_also_after_a_restart() {
    let (mut live, leaves) = unstamped();
    assert!(push(&sign(&mut live, 600, CheckpointStamp::Awaited)).is_none());
    live.restart();
    assert!(push(&live.handle(after(700), Input::Connected)).is_none());
    // The very same tree, time-stamped at last.
    let effects = sign(&mut live, 800, CheckpointStamp::There);
    assert_eq!(finals(&effects), leaves);
    live.handle(after(810), Input::PushFailed);
    assert_eq!(finals(&live.handle(after(5_000), Input::Tick)), leaves, "the relay was away");
    live.handle(after(5_100), Input::Pushed { leaves, finally: true });
    assert_eq!(live.core.unstamped_leaves(), 0);
    assert!(push(&sign(&mut live, 5_200, CheckpointStamp::There)).is_none(), "once is enough");
    live.check_fold();
}

#[test]
fn nobody_is_told_when_the_relay_does_not_take_a_late_time_stamp() {
    for (kind, left) in [(Rejection::Final, 0), (Rejection::UnknownEnvelope, 0), (Rejection::NotNow, 1)] {
        let (mut live, leaves) = unstamped();
        assert_eq!(finals(&sign(&mut live, 600, CheckpointStamp::There)), leaves);
        let refused = |index: &u64| RefusedLeaf { index: *index, kind, why: "so it says".into() };
        let effects = live.handle(after(700), Input::PushRefused { leaves: leaves.iter().map(refused).collect() });
        assert!(push(&effects).is_none(), "{kind:?}: not at once again");
        assert_eq!(live.core.unstamped_leaves(), left * leaves.len(), "{kind:?}");
        assert!(live.core.alarms().is_empty(), "{kind:?}: {:?}", live.core.alarms());
        if left > 0 {
            assert_eq!(finals(&live.handle(after(120_000), Input::Tick)), leaves);
        }
        live.check_fold();
    }
}

#[test]
fn authorities_that_are_taken_out_of_the_settings_are_not_waited_for() {
    let (mut live, _) = unstamped();
    let confirm = Input::Confirm { key: key("G22", 1), code: code("H26"), refused: None, reply: Some(Token(9)) };
    live.handle(after(550), confirm);
    sign(&mut live, 600, CheckpointStamp::NotAsked);
    assert_eq!(live.core.unstamped_leaves(), 0);
    live.check_fold();
}

#[test]
fn a_stamped_proof_takes_the_place_of_an_unstamped_one_and_never_the_other_way() {
    let (mut live, key) = (Live::new("N1"), key("G22", 1));
    prepare(&mut live, sealed(&key, &["H26"], "a", b"a"));
    relay_accepts(&mut live, &key);
    let leaf = event(&live, &key, EventUri::ContentConsignment, Some("H26"), |_| {});
    show(&mut live, &key, &leaf);
    let hash = leaf_hash(&leaf);
    let mut shown = |stamped, number| {
        let before = live.journal.len();
        let leaves = ReceivedLeaves { stamped, ..leaves("N2", true, key.envelope, None, hash) };
        let effects = live.handle(after(1_000), Input::Evidence { numbers: vec![number], leaves });
        assert!(effects.contains(&Effect::Acknowledge(vec![number])), "{effects:?}");
        let at = live.core.find_sent(&key).unwrap().finals[&hash];
        (live.journal.len() - before, at.stamped)
    };
    assert_eq!(shown(false, 1), (1, false));
    assert_eq!(shown(false, 2), (0, false), "another tree says nothing more");
    assert_eq!(shown(true, 3), (1, true));
    assert_eq!(shown(true, 4), (0, true));
    assert_eq!(shown(false, 5), (0, true));
    live.check_fold();
}
