//! What went out without the time-stamp or the cosignatures that were wanted is shown once more with them.

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

const AWAITED: Attestations = said(Attestation::Awaited, Attestation::NotAsked);
const STAMPED: Attestations = said(Attestation::There, Attestation::NotAsked);
const BOTH: Attested = Attested { stamped: true, cosigned: true };

const fn said(stamp: Attestation, cosignature: Attestation) -> Attestations {
    Attestations { stamp, cosignature }
}

/// A node that has shown its leaves, and signed a checkpoint over them of which others said so much.
fn shown(said: Attestations) -> (Live, Vec<u64>) {
    let (_, mut receiver, _) = delivered();
    let (shown, _) = push(&receiver.handle(after(300), Input::Connected)).expect("two consignments");
    let leaves = shown.iter().map(|leaf| leaf.index).collect();
    receiver.handle(after(310), Input::Pushed { leaves, finally: false });
    let note = signed_note(receiver.core.next_leaf());
    let effects = receiver.handle(after(400), Input::CheckpointSigned { note, said });
    let leaves = finals(&effects);
    let effects = receiver.handle(after(500), Input::Pushed { leaves: leaves.clone(), finally: true });
    assert!(push(&effects).is_none(), "nothing is better than before");
    assert!(receiver.core.unsent().is_empty(), "what it is about may leave memory");
    assert_eq!(receiver.core.unattested_leaves(), if said.lacks() { leaves.len() } else { 0 });
    receiver.check_fold();
    (receiver, leaves)
}

fn sign(live: &mut Live, ms: u64, said: Attestations) -> Vec<Effect> {
    let note = signed_note(live.core.next_leaf());
    live.handle(after(ms), Input::CheckpointSigned { note, said })
}

fn pushed(live: &mut Live, ms: u64, leaves: &[u64]) {
    let effects = live.handle(after(ms), Input::Pushed { leaves: leaves.to_vec(), finally: true });
    assert!(push(&effects).is_none(), "{effects:?}");
}

#[test]
fn what_went_out_without_time_stamp_goes_again_under_it_also_after_a_restart() {
    let (mut live, leaves) = shown(AWAITED);
    assert!(push(&sign(&mut live, 600, AWAITED)).is_none());
    live.restart();
    assert!(push(&live.handle(after(700), Input::Connected)).is_none());
    // The very same tree, time-stamped at last.
    let effects = sign(&mut live, 800, STAMPED);
    assert_eq!(finals(&effects), leaves);
    live.handle(after(810), Input::PushFailed);
    assert_eq!(finals(&live.handle(after(5_000), Input::Tick)), leaves, "the relay was away");
    pushed(&mut live, 5_100, &leaves);
    assert_eq!(live.core.unattested_leaves(), 0);
    assert!(push(&sign(&mut live, 5_200, STAMPED)).is_none(), "once is enough");
    live.check_fold();
}

#[test]
fn what_lacks_both_goes_again_for_each_that_comes_and_never_for_less() {
    use Attestation::{Awaited, NobodyYet, There};
    for (first, second) in [(said(There, Awaited), said(There, There)), (said(Awaited, There), said(There, There))] {
        let (mut live, leaves) = shown(said(Awaited, NobodyYet));
        assert_eq!(finals(&sign(&mut live, 600, first)), leaves);
        pushed(&mut live, 610, &leaves);
        assert_eq!(live.core.unattested_leaves(), leaves.len());
        live.restart();
        live.handle(after(650), Input::Connected);
        // Another tree, of which others said the other thing alone.
        let confirm = Input::Confirm { key: key("G22", 1), code: code("H26"), refused: None, reply: Some(Token(9)) };
        live.handle(after(660), confirm);
        live.handle(after(670), Input::Pushed { leaves: vec![live.core.next_leaf() - 1], finally: false });
        let other = said(first.cosignature, first.stamp);
        let more = finals(&sign(&mut live, 700, other));
        assert!(more.iter().all(|index| !leaves.contains(index)), "{more:?} {leaves:?}");
        pushed(&mut live, 710, &more);
        let mut all = [leaves, more].concat();
        let mut again = finals(&sign(&mut live, 800, second));
        all.sort_unstable();
        again.sort_unstable();
        assert_eq!(again, all);
        pushed(&mut live, 810, &again);
        assert_eq!(live.core.unattested_leaves(), 0);
        live.check_fold();
    }
}

#[test]
fn a_witness_that_the_directory_lists_later_is_waited_for() {
    let nobody = said(Attestation::NotAsked, Attestation::NobodyYet);
    let (mut live, leaves) = shown(nobody);
    assert!(push(&sign(&mut live, 600, said(Attestation::NotAsked, Attestation::Awaited))).is_none());
    assert_eq!(finals(&sign(&mut live, 700, said(Attestation::NotAsked, Attestation::There))), leaves);
    live.check_fold();
}

#[test]
fn what_an_earlier_version_wrote_of_a_push_means_what_it_meant() {
    let unstamped = records::Pushed { leaves: vec![1], finally: true, unstamped: true, ..Default::default() };
    assert_eq!(unstamped.under(), AWAITED);
    let plain = records::Pushed { leaves: vec![1], finally: true, ..Default::default() };
    assert!(!plain.under().lacks());
}

#[test]
fn nobody_is_told_when_the_relay_does_not_take_what_came_late() {
    for (kind, left) in [(Rejection::Final, 0), (Rejection::UnknownEnvelope, 0), (Rejection::NotNow, 1)] {
        let (mut live, leaves) = shown(AWAITED);
        assert_eq!(finals(&sign(&mut live, 600, STAMPED)), leaves);
        let refused = |index: &u64| RefusedLeaf { index: *index, kind, why: "so it says".into() };
        let effects = live.handle(after(700), Input::PushRefused { leaves: leaves.iter().map(refused).collect() });
        assert!(push(&effects).is_none(), "{kind:?}: not at once again");
        assert_eq!(live.core.unattested_leaves(), left * leaves.len(), "{kind:?}");
        assert!(live.core.alarms().is_empty(), "{kind:?}: {:?}", live.core.alarms());
        if left > 0 {
            assert_eq!(finals(&live.handle(after(120_000), Input::Tick)), leaves);
        }
        live.check_fold();
    }
}

#[test]
fn authorities_that_are_taken_out_of_the_settings_are_not_waited_for() {
    let (mut live, _) = shown(AWAITED);
    let confirm = Input::Confirm { key: key("G22", 1), code: code("H26"), refused: None, reply: Some(Token(9)) };
    live.handle(after(550), confirm);
    sign(&mut live, 600, Attestations::default());
    assert_eq!(live.core.unattested_leaves(), 0);
    live.check_fold();
}

#[test]
fn a_proof_yields_only_to_one_of_which_others_say_strictly_more() {
    let stamped = Attested { stamped: true, ..Attested::NONE };
    let cosigned = Attested { cosigned: true, ..Attested::NONE };
    for (first, other) in [(stamped, cosigned), (cosigned, stamped)] {
        let (mut live, key) = (Live::new("N1"), key("G22", 1));
        prepare(&mut live, sealed(&key, &["H26"], "a", b"a"));
        relay_accepts(&mut live, &key);
        let leaf = event(&live, &key, EventUri::ContentConsignment, Some("H26"), |_| {});
        show(&mut live, &key, &leaf);
        let hash = leaf_hash(&leaf);
        let mut number = 0;
        let mut shown = |attested| {
            number += 1;
            let before = live.journal.len();
            let leaves = ReceivedLeaves { attested, ..leaves("N2", true, key.envelope, None, hash) };
            let effects = live.handle(after(1_000), Input::Evidence { numbers: vec![number], leaves });
            assert!(effects.contains(&Effect::Acknowledge(vec![number])), "{effects:?}");
            let at = live.core.find_sent(&key).unwrap().finals[&hash];
            (live.journal.len() - before, at.attested)
        };
        assert_eq!(shown(Attested::NONE), (1, Attested::NONE));
        assert_eq!(shown(Attested::NONE), (0, Attested::NONE), "another tree says nothing more");
        assert_eq!(shown(first), (1, first));
        assert_eq!(shown(first), (0, first));
        assert_eq!(shown(other), (0, first), "other is not more");
        assert_eq!(shown(Attested::NONE), (0, first));
        assert_eq!(shown(BOTH), (1, BOTH));
        for less in Attested::ALL {
            assert_eq!(shown(less), (0, BOTH));
        }
        live.check_fold();
    }
}
