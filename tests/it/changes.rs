//! Documents that update, replace or revoke earlier ones: sent by fields or as packets, linked both ways.

use truc_proto::node_v1::{InboxItem, send_reply::State};

use crate::support::{Api, Letter, World};

const REASON: &str = "Điều chỉnh chỉ tiêu";

fn document_id(sender: &str, number: &str) -> String {
    format!("{sender},2026/11/20,{number}/KH-THU")
}

async fn change(api: &Api, envelope: &str, code: &str) -> (InboxItem, truc_proto::node_v1::Change) {
    let item = api.until_consigned(envelope, code).await;
    let change = item.change.clone().unwrap();
    (item, change)
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_say_what_a_document_updates_or_replaces_by_envelope_or_document_id() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    let (sender, receiver) = (world.api("N-G22"), world.api("N-H26"));
    let first = sender.accepted(&Letter::new("first", "G22", &["H26"]).number("1")).await;
    let update = Letter::new("update", "G22", &["H26"]).number("2").updates(&first, REASON);
    let reply = sender.send(&update).await.unwrap();
    assert_eq!((reply.state(), reply.warnings.len()), (State::Accepted, 0), "{reply:?}");
    assert_eq!(sender.send(&update).await.unwrap().envelope, reply.envelope, "the same request");
    let (_, said) = change(&receiver, &reply.envelope, "H26").await;
    assert_eq!((said.kind.as_str(), said.reason.as_str(), said.answer.as_str()), ("updates", REASON, "asked"));
    assert_eq!(said.document_ids, [document_id("G22", "1")]);
    // By DocumentId, one of them from before this node's time: a warning, not a refusal.
    let old = "G22,2019/01/02,9/QĐ".to_owned();
    let (one, two) = (document_id("G22", "1"), document_id("G22", "2"));
    let replaces = Letter::new("replaces", "G22", &["H26"]).number("3").replaces(&[&one, &old, &two, &one], REASON);
    let reply = sender.send(&replaces).await.unwrap();
    assert_eq!(reply.state(), State::Accepted, "{reply:?}");
    let [warning] = reply.warnings.as_slice() else { panic!("{reply:?}") };
    assert!(warning.contains(&old) && warning.contains("Nút này không biết"), "{warning}");
    let (_, said) = change(&receiver, &reply.envelope, "H26").await;
    assert_eq!((said.kind.as_str(), said.document_ids), ("replaces", vec![one, old, two]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ones_own_or_says_too_much_or_too_little_is_refused_in_both_languages() {
    let world = World::start(&[("N-G22", &["G22", "G22.1"]), ("N-H26", &["H26"])]).await;
    let (sender, other) = (world.api("N-G22"), world.api("N-H26"));
    let received = other.accepted(&Letter::new("theirs", "H26", &["G22"])).await;
    sender.until_consigned(&received, "G22").await;
    let neighbours = sender.accepted(&Letter::new("neighbour", "G22.1", &["H26"]).number("7")).await;
    let own = sender.accepted(&Letter::new("own", "G22", &["H26"])).await;
    let letter = |key: &str| Letter::new(key, "G22", &["H26"]).number("8");
    let foreign = document_id("H26", "12");
    let not_own = [received.as_str(), neighbours.as_str(), foreign.as_str(), "không có", "", &"9".repeat(5_000)];
    for (n, name) in not_own.into_iter().enumerate() {
        let refusal = sender.refused(&letter(&format!("r{n}")).replaces(&[&own, name], REASON), "not-entitled").await;
        assert!(refusal.english.len() < 1_000, "{refusal:?}");
    }
    sender.refused(&letter("u").updates(&foreign, REASON), "not-entitled").await;
    sender.refused(&letter("no-reason").updates(&own, "  "), "invalid").await;
    sender.refused(&letter("long-reason").updates(&own, &"x".repeat(501)), "invalid").await;
    sender.refused(&letter("no-target").updates("", REASON), "invalid").await;
    let both = letter("both").updates(&own, REASON);
    sender.refused(&Letter { replaces: vec![own.clone()], ..both }, "invalid").await;
    let many: Vec<String> = (0..65).map(|n| document_id("G22", &n.to_string())).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    sender.refused(&letter("many").replaces(&many, REASON), "too-large").await;
    sender.accepted(&letter("most").replaces(&many[..64], REASON)).await;
}

/// The later documents that an inbox item shows, as kind and envelope.
fn later(changed_by: &[truc_proto::node_v1::ChangedBy]) -> Vec<(&str, &str)> {
    changed_by.iter().map(|later| (later.kind.as_str(), later.envelope.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_new_show_each_other_whichever_came_first_and_after_a_restart() {
    let mut world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26", "H26.18"])]).await;
    let (sender, receiver) = (world.api("N-G22"), world.api("N-H26"));
    let letter = |key: &str, number: &str| Letter::new(key, "G22", &["H26"]).number(number);
    // The update comes before what it updates.
    let update = sender.accepted(&letter("update", "2").updates(&document_id("G22", "1"), REASON)).await;
    let (_, said) = change(&receiver, &update, "H26").await;
    assert_eq!((said.targets.len(), said.targets[0].envelope.as_str()), (1, ""), "not known yet: {said:?}");
    let only_theirs = Letter { recipients: vec!["H26.18".into()], ..letter("elsewhere", "3") };
    let elsewhere = sender.accepted(&only_theirs).await;
    receiver.until_consigned(&elsewhere, "H26.18").await;
    let first = sender.accepted(&letter("first", "1")).await;
    let replaces = letter("replaces", "4").replaces(&[&first, &elsewhere], REASON);
    let replacement = sender.accepted(&replaces).await;
    receiver.until_consigned(&first, "H26").await;
    receiver.until_consigned(&replacement, "H26").await;
    for restarted in [false, true] {
        if restarted {
            for id in ["N-G22", "N-H26"] {
                world.stop_node(id).await;
                world.serve_node(id).await;
            }
        }
        let (sender, receiver) = (world.api("N-G22"), world.api("N-H26"));
        let old = receiver.item(&first, "H26").await.unwrap();
        assert_eq!(later(&old.changed_by), [("replaces", replacement.as_str()), ("updates", update.as_str())]);
        assert_eq!(old.changed_by[0].reason, REASON);
        assert_eq!((old.withdrawal.as_str(), old.confirmed), ("", false), "it stays a current document");
        let new = receiver.item(&update, "H26").await.unwrap();
        assert_eq!(new.change.unwrap().targets[0].envelope, first, "what came later is linked, too");
        let new = receiver.item(&replacement, "H26").await.unwrap().change.unwrap();
        let targets: Vec<&str> = new.targets.iter().map(|target| target.envelope.as_str()).collect();
        assert_eq!(targets, [first.as_str(), ""], "H26 has no copy of what H26.18 got");
        let receivers: Vec<_> = new.receivers.iter().map(|r| (r.code.as_str(), r.what.as_str())).collect();
        assert_eq!(receivers, [("H26", "")]);
        let neighbour = receiver.item(&elsewhere, "H26.18").await.unwrap();
        assert!(neighbour.changed_by.is_empty(), "H26.18 did not get the replacement: {neighbour:?}");
        // The sender sees the same of what it sent.
        let sent = sender.sent(&first).await.unwrap();
        assert_eq!(later(&sent.changed_by), [("replaces", replacement.as_str()), ("updates", update.as_str())]);
        assert_eq!(sent.document_id, document_id("G22", "1"));
        let sent = sender.sent(&replacement).await.unwrap().change.unwrap();
        let targets: Vec<&str> = sent.targets.iter().map(|target| target.envelope.as_str()).collect();
        assert_eq!(targets, [first.as_str(), elsewhere.as_str()]);
        let sent = sender.sent(&update).await.unwrap();
        assert_eq!(sent.change.unwrap().targets[0].envelope, first);
        assert!(sent.warnings[0].contains("not known"), "the warning stays with it: {:?}", sent.warnings);
    }
    assert!(
        !world.api("N-H26").attachment(&first, "H26", "first.pdf").await.is_empty(),
        "replacing takes nothing away"
    );
}
