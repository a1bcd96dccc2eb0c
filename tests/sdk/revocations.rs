//! Packets that revoke earlier documents (BussinessDocType 1): a withdrawal at their recipients, whichever of the two they answer.

use truc_proto::{
    edxml::{Business, BusinessDocumentInfo, Receiver},
    node_v1::InboxItem,
};
use truc_tests::wait::until_async;

use crate::{Pair, packets};

const REASON: &str = "Ban hành nhầm thẩm quyền";

/// A revocation of document 7, which bears the number of what it revokes.
fn revocation(to: &[&str], only: &[&str]) -> Vec<u8> {
    let receiver = |code: &&str| Receiver { organ_id: Some(code.parse().unwrap()), receiver_type: Some("0".into()) };
    let info =
        BusinessDocumentInfo { receivers: only.iter().map(receiver).collect(), ..BusinessDocumentInfo::default() };
    let business = Business {
        doc_type: Some(1),
        reason: Some(REASON.into()),
        document_infos: if only.is_empty() { Vec::new() } else { vec![info] },
        ..Business::default()
    };
    packets::changing("G22", to, 7, "thu-hoi.pdf", b"%PDF-1.7 revocation", business)
}

/// Waits until the inbox of a code shows an envelope as wanted.
async fn seen(pair: &Pair, code: &str, envelope: &str, wanted: impl Fn(&InboxItem) -> bool) -> InboxItem {
    let what = format!("{envelope} to be as wanted for {code}");
    until_async(&what, || async {
        let inbox = pair.network.client(code).inbox(code, true).await.unwrap();
        inbox.into_iter().find(|item| item.envelope == envelope && item.recipient == code && wanted(item))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_asks_once_for_what_it_revokes_and_its_answer_closes_it() {
    let pair = Pair::start().await;
    let (one, two) = (pair.one(), pair.two());
    let (sent, _) = pair.delivered(&packets::document("G22", &["H26"], 7, "a.pdf", b"%PDF-1.7")).await;
    let revocation = revocation(&["H26"], &[]);
    let (revoking, _) = pair.delivered(&revocation).await;
    let again = one.send("G22", "edoc", None, &revocation).await;
    assert_eq!(again["DocId"], revoking.as_str(), "the same packet is the same request: {again}");
    let asked = seen(&pair, "H26", &sent, |item| item.withdrawal == "asked").await;
    assert_eq!(asked.withdrawal_reason, REASON);
    assert_eq!(asked.statuses.iter().filter(|note| note.code == "13").count(), 1, "{:?}", asked.statuses);
    assert_eq!((asked.changed_by.len(), asked.changed_by[0].kind.as_str()), (1, "revokes"), "{asked:?}");
    assert_eq!(asked.changed_by[0].envelope, revoking);
    let packet = seen(&pair, "H26", &revoking, |_| true).await;
    let change = packet.change.unwrap();
    assert_eq!((change.kind.as_str(), change.answer.as_str()), ("revokes", "asked"));
    assert_eq!(change.targets[0].envelope, sent, "not itself, though it bears the same number");
    assert!(packet.changed_by.is_empty() && packet.withdrawal.is_empty());

    // By number the newest is meant, which is the revocation: the answer is to what it asked for.
    let answer = packets::status("H26", "G22", 7, "15", "Đồng ý");
    let agreed = two.send("H26", "status", None, &answer).await;
    assert_eq!(agreed["status"], "OK", "{agreed}");
    assert_eq!(two.send("H26", "status", None, &answer).await["DocId"], agreed["DocId"], "said once");
    let closed = seen(&pair, "H26", &sent, |item| item.withdrawal == "agreed").await;
    assert!(!closed.withdrawn_at.is_empty());
    let current = pair.network.client("H26").inbox("H26", false).await.unwrap();
    assert!(current.iter().all(|item| item.envelope != sent), "it is no current document");
    assert!(current.iter().any(|item| item.envelope == revoking && item.change.as_ref().unwrap().answer == "agreed"));
    pair.network.wait_sent("the answer", "G22", &sent, |item| item.recipients[0].withdrawal == "agreed").await;
    let shown = |item: &truc_proto::node_v1::OutboxItem| item.recipients[0].change == "agreed";
    pair.network.wait_sent("the revocation to be answered", "G22", &revoking, shown).await;
    // Everything has been said: the same again, and another revocation, ask nobody.
    one.send("G22", "edoc", None, &revocation).await;
    let item = pair.network.client("G22").sent(&sent).await.unwrap().unwrap();
    assert_eq!(item.recipients[0].statuses.iter().filter(|note| note.code == "13").count(), 1);
    pair.network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_for_its_receivers_and_warns_of_what_was_never_sent() {
    let pair = Pair::start().await;
    let one = pair.one();
    let (sent, _) = pair.delivered(&packets::document("G22", &["H26", "H26.18"], 7, "a.pdf", b"%PDF-1.7")).await;
    let (revoking, _) = pair.delivered(&revocation(&["H26", "H26.18"], &["H26.18"])).await;
    seen(&pair, "H26.18", &sent, |item| item.withdrawal == "asked").await;
    let packet = seen(&pair, "H26", &revoking, |_| true).await.change.unwrap();
    assert_eq!((packet.receivers[0].code.as_str(), packet.receivers[0].what.as_str()), ("H26.18", "dropped"));
    assert_eq!(seen(&pair, "H26", &sent, |_| true).await.withdrawal, "", "it is not for H26");
    let item = pair.network.client("G22").sent(&revoking).await.unwrap().unwrap();
    assert!(item.warnings.is_empty(), "{:?}", item.warnings);

    // Number 9 never went anywhere: the packet goes all the same, and says so.
    let business = Business { doc_type: Some(1), reason: Some(REASON.into()), ..Business::default() };
    let unknown = packets::changing("G22", &["H26"], 9, "thu-hoi.pdf", b"%PDF-1.7", business);
    let (unknown, _) = pair.delivered(&unknown).await;
    let item = pair.network.client("G22").sent(&unknown).await.unwrap().unwrap();
    let [warning] = item.warnings.as_slice() else { panic!("{:?}", item.warnings) };
    assert!(warning.contains("has not sent") && warning.contains("chưa gửi") && warning.contains("H26"), "{warning}");
    assert_eq!(seen(&pair, "H26", &unknown, |_| true).await.change.unwrap().targets[0].envelope, "");
    // What is not here is answered on the revocation itself.
    let answer = packets::status("H26", "G22", 9, "15", "Không có văn bản này");
    assert_eq!(pair.two().send("H26", "status", None, &answer).await["status"], "OK");
    pair.network.wait_sent("the answer", "G22", &unknown, |item| item.recipients[0].change == "agreed").await;
    assert_eq!(one.list("status").await.len(), 1, "one answer came");
    pair.network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_left_when_it_is_revoked_never_leaves() {
    let pair = Pair::start().await;
    let one = pair.one();
    pair.network.stop_relay().await;
    pair.network.wait_disconnected("N-G22").await;
    let document = packets::document("G22", &["H26"], 7, "a.pdf", b"%PDF-1.7");
    let sent = one.send("G22", "edoc", None, &document).await["DocId"].as_str().unwrap().to_owned();
    let revoking = one.send("G22", "edoc", None, &revocation(&["H26"], &[])).await;
    let revoking = revoking["DocId"].as_str().unwrap().to_owned();
    let withdrawn = pair.network.client("G22").sent(&sent).await.unwrap().unwrap();
    let state = &withdrawn.recipients[0];
    assert_eq!((state.state.as_str(), state.reason.as_str()), ("failed", "withdrawn"));
    assert!(state.text.contains(REASON), "{}", state.text);
    pair.network.start_relay();
    pair.network.wait_connected("N-G22").await;
    pair.network.wait_consigned("G22", &revoking).await;
    let inbox = pair.network.client("H26").inbox("H26", true).await.unwrap();
    assert_eq!(inbox.iter().map(|item| item.envelope.as_str()).collect::<Vec<_>>(), [revoking.as_str()]);
    pair.network.stop().await;
}
