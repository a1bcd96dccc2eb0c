//! Business statuses 01 … 16 between the two ends of a document: sealed, numbered, never backwards, none of its own.

use tonic::{Code, Status};

use crate::support::{Api, Letter, World, until};

async fn start() -> (World, Api, Api, String) {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    let envelope = sender.accepted(&Letter::new("document", "G22", &["H26"])).await;
    recipient.until_consigned(&envelope, "H26").await;
    sender.until_state(&envelope, "H26", "consigned").await;
    (world, sender, recipient, envelope)
}

async fn until_business(sender: &Api, envelope: &str, status: &str) {
    until(&format!("the sender sees {status}"), || async {
        sender.recipient(envelope, "H26").await.filter(|state| state.business_status == status)
    })
    .await;
}

#[track_caller]
fn is_refused(answer: Result<truc_proto::node_v1::SetStatusReply, Status>, words: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains(words), "{words:?} in {:?}", status.message());
    assert!(!status.message().is_ascii(), "also in Vietnamese: {:?}", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_travel_back_in_order_and_never_backwards() {
    let (world, sender, recipient, envelope) = start().await;
    for (number, code) in (1..).zip(["01", "03", "04", "05", "06"]) {
        let reply = recipient.set_status(&envelope, "H26", code, &format!("s{code}")).await.unwrap();
        assert_eq!(reply.sequence, number);
        let again = recipient.set_status(&envelope, "H26", code, &format!("s{code}")).await.unwrap();
        assert_eq!((again.envelope, again.sequence), (reply.envelope.clone(), number), "the same request again");
        until_business(&sender, &envelope, code).await;
        // It is an envelope of its own, with receipts of its own, and ends at consignment.
        let receipts = world.all_receipts_valid("N-H26", &reply.envelope, 4).await;
        assert!(receipts.iter().all(|(event, ..)| event != "ContentHandover"), "{receipts:?}");
    }
    is_refused(recipient.set_status(&envelope, "H26", "03", "late").await, "never go backwards");
    is_refused(recipient.set_status(&envelope, "H26", "02", "refuse").await, "06");
    is_refused(recipient.set_status(&envelope, "H26", "15", "nothing-asked").await, "none is open");
    is_refused(recipient.set_status(&envelope, "H26", "13", "wrong-side").await, "by its sender");
    is_refused(sender.set_status(&envelope, "G22", "03", "wrong-side").await, "by the other side");
    is_refused(recipient.set_status(&envelope, "H26", "07", "nobody-knows").await, "no meaning");
    let unknown = recipient.set_status("01890000-0000-7000-8000-000000000000", "H26", "01", "unknown").await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    // The statuses stand on the document, at both ends; a status is no document in the sender's inbox to be confirmed.
    let item = recipient.item(&envelope, "H26").await.unwrap();
    let codes: Vec<_> = item.statuses.iter().map(|note| note.code.as_str()).collect();
    assert_eq!(codes, ["01", "03", "04", "05", "06"]);
    assert!(item.statuses.iter().all(|note| !note.late && !note.text.is_empty()), "{:?}", item.statuses);
    let at_sender = sender.recipient(&envelope, "H26").await.unwrap();
    assert_eq!(at_sender.statuses, item.statuses, "both ends show the same");
    assert!(sender.inbox("G22", true).await.iter().all(|item| item.kind == "status"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_needs_a_reason_and_is_final() {
    let (_world, sender, recipient, envelope) = start().await;
    let request = truc_proto::node_v1::SetStatusRequest {
        envelope: envelope.clone(),
        from: "H26".into(),
        code: "02".into(),
        idempotency_key: "no-reason".into(),
        ..Default::default()
    };
    let status = recipient.raw.clone().set_status(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("reason"), "{status:?}");
    recipient.set_status(&envelope, "H26", "02", "with-reason").await.unwrap();
    until_business(&sender, &envelope, "02").await;
    let note = sender.recipient(&envelope, "H26").await.unwrap().statuses.pop().unwrap();
    assert_eq!((note.code.as_str(), note.text.as_str()), ("02", "Từ chối tiếp nhận"));
    assert!(!note.reason.is_empty(), "the reason comes along");
    is_refused(recipient.set_status(&envelope, "H26", "03", "after").await, "final");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_asked_refused_asked_again_and_agreed_and_then_the_document_is_closed() {
    let (mut world, sender, recipient, envelope) = start().await;
    recipient.set_status(&envelope, "H26", "01", "s01").await.unwrap();
    until_business(&sender, &envelope, "01").await;
    sender.set_status(&envelope, "G22", "13", "ask").await.unwrap();
    is_refused(sender.set_status(&envelope, "G22", "13", "ask-twice").await, "already");
    until("the recipient sees 13", || async {
        recipient.item(&envelope, "H26").await.filter(|item| item.statuses.iter().any(|note| note.code == "13"))
    })
    .await;
    recipient.set_status(&envelope, "H26", "16", "no").await.unwrap();
    until_business(&sender, &envelope, "16").await;
    let second = sender.set_status(&envelope, "G22", "13", "ask-again").await.unwrap();
    assert_eq!(second.sequence, 2);
    until("the recipient sees the second 13", || async {
        recipient
            .item(&envelope, "H26")
            .await
            .filter(|item| item.statuses.iter().filter(|note| note.code == "13").count() == 2)
    })
    .await;
    // The numbers outlive a restart of both ends.
    for node in ["N-G22", "N-H26"] {
        world.stop_node(node).await;
        world.serve_node(node).await;
    }
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    sender.until_connected().await;
    recipient.until_connected().await;
    let agreed = recipient.set_status(&envelope, "H26", "15", "yes").await.unwrap();
    assert_eq!(agreed.sequence, 3);
    until_business(&sender, &envelope, "15").await;
    is_refused(recipient.set_status(&envelope, "H26", "03", "after").await, "withdrawn");
    is_refused(sender.set_status(&envelope, "G22", "13", "after").await, "withdrawn");
}
