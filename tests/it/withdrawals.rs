//! Taking documents back: at once what has not left, by asking for what has; from one recipient or from all.

use tonic::Code;
use truc_proto::node_v1::{
    ConfirmRequest, FetchRequest, SetStatusRequest, WithdrawReply, WithdrawRequest, fetch_request::What,
};

use crate::support::{Api, Letter, World, until};

const REASON: &str = "Gửi nhầm phụ lục";

async fn withdraw(api: &Api, key: &str, envelope: &str, recipients: &[&str]) -> WithdrawReply {
    let request = WithdrawRequest {
        envelope: envelope.into(),
        recipients: recipients.iter().map(|&code| code.into()).collect(),
        reason: REASON.into(),
        idempotency_key: key.into(),
        ..WithdrawRequest::default()
    };
    api.raw.clone().withdraw(request).await.unwrap().into_inner()
}

fn outcomes(reply: &WithdrawReply) -> Vec<(&str, &str)> {
    reply.recipients.iter().map(|r| (r.recipient.as_str(), r.outcome.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_left_never_leaves_and_the_other_recipients_get_it() {
    let mut world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26", "H26.18"]), ("N-H37", &["H37"])]).await;
    world.stop_relay().await;
    let sender = world.api("N-G22");
    until("the relay is away", || async { sender.status().await.filter(|status| !status.connected) }).await;
    let whole = sender.accepted(&Letter::new("whole", "G22", &["H26", "H37"])).await;
    let part = sender.accepted(&Letter::new("part", "G22", &["H26", "H26.18", "H37"])).await;
    let all = withdraw(&sender, "w1", &whole, &[]).await;
    assert_eq!(outcomes(&all), [("H26", "withdrawn"), ("H37", "withdrawn")]);
    assert!(all.recipients.iter().all(|r| !r.text.is_ascii() && r.status_envelope.is_empty()), "{all:?}");
    assert_eq!(outcomes(&withdraw(&sender, "w2", &part, &["H37"]).await), [("H37", "withdrawn")]);
    for (envelope, code) in [(&whole, "H26"), (&whole, "H37"), (&part, "H37")] {
        let state = sender.until_state(envelope, code, "failed").await;
        assert_eq!(state.reason, "withdrawn");
        assert!(state.text.contains(REASON), "the reason is in sight: {}", state.text);
    }
    world.serve_relay().await;
    sender.until_connected().await;
    // The rest goes on as an envelope of its own.
    let replaced = until("the rest is sealed anew", || async {
        let sent = sender.outbox().await;
        sent.into_iter().find(|item| item.envelope != whole && item.envelope != part && item.kind == "document")
    })
    .await;
    assert_eq!(replaced.recipients.iter().map(|r| r.recipient.as_str()).collect::<Vec<_>>(), ["H26", "H26.18"]);
    world.api("N-H26").until_consigned(&replaced.envelope, "H26").await;
    world.api("N-H26").until_consigned(&replaced.envelope, "H26.18").await;
    let state = sender.recipient(&part, "H26").await.unwrap();
    assert_eq!((state.state.as_str(), state.reason.as_str()), ("failed", "superseded"));
    assert!(state.text.contains(&replaced.envelope), "{}", state.text);
    // What follows later arrives, so whatever came before would have.
    let next = sender.accepted(&Letter::new("next", "G22", &["H26", "H37"])).await;
    world.api("N-H37").until_consigned(&next, "H37").await;
    world.api("N-H26").until_consigned(&next, "H26").await;
    for (node, code) in [("N-H26", "H26"), ("N-H37", "H37")] {
        let inbox = world.api(node).inbox(code, true).await;
        assert!(inbox.iter().all(|item| item.envelope != whole && item.envelope != part), "{code}: {inbox:?}");
    }
    // Asked again, it is still known, and what went on is asked back instead of what it replaced.
    assert_eq!(outcomes(&withdraw(&sender, "w3", &whole, &["H26"]).await), [("H26", "withdrawn")]);
    let followed = withdraw(&sender, "w4", &part, &[]).await;
    assert_eq!(outcomes(&followed), [("H26", "asked"), ("H26.18", "asked"), ("H37", "withdrawn")]);
    assert!(followed.recipients[..2].iter().all(|r| r.document == replaced.envelope), "{followed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_left_is_asked_back_per_recipient_and_closed_where_it_is_agreed() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"]), ("N-H37", &["H37"])]).await;
    let (sender, h26, h37) = (world.api("N-G22"), world.api("N-H26"), world.api("N-H37"));
    let envelope = sender.accepted(&Letter::new("document", "G22", &["H26", "H37"])).await;
    h26.until_consigned(&envelope, "H26").await;
    h37.until_consigned(&envelope, "H37").await;
    h37.confirm(&envelope, "H37").await;

    let request = WithdrawRequest {
        envelope: envelope.clone(),
        reason: "  ".into(),
        idempotency_key: "no-reason".into(),
        ..WithdrawRequest::default()
    };
    let refused = sender.raw.clone().withdraw(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let stranger = WithdrawRequest { reason: REASON.into(), recipients: vec!["H01".into()], ..request.clone() };
    assert_eq!(sender.raw.clone().withdraw(stranger).await.unwrap_err().code(), Code::NotFound);
    let not_ours = WithdrawRequest { reason: REASON.into(), ..request };
    assert_eq!(h26.raw.clone().withdraw(not_ours).await.unwrap_err().code(), Code::NotFound, "only its sender may");

    let first = withdraw(&sender, "w", &envelope, &["H26"]).await;
    assert_eq!(outcomes(&first), [("H26", "asked")]);
    let again = withdraw(&sender, "w", &envelope, &["H26"]).await;
    assert_eq!(again, WithdrawReply { recipients: vec![again.recipients[0].clone()] });
    assert_eq!(again.recipients[0].status_envelope, first.recipients[0].status_envelope, "asked once");
    let both = withdraw(&sender, "w-all", &envelope, &[]).await;
    assert_eq!(outcomes(&both), [("H26", "asked"), ("H37", "asked")]);

    let asked = until("H26 sees that it is asked", || async {
        h26.item(&envelope, "H26").await.filter(|item| item.withdrawal == "asked")
    })
    .await;
    assert_eq!(asked.withdrawal_reason, REASON);
    until("H37 sees it too", || async { h37.item(&envelope, "H37").await.filter(|i| i.withdrawal == "asked") }).await;
    h26.set_status(&envelope, "H26", "15", "yes").await.unwrap();
    let no = SetStatusRequest {
        envelope: envelope.clone(),
        from: "H37".into(),
        code: "16".into(),
        reason: "Đã ban hành văn bản thực hiện".into(),
        idempotency_key: "no".into(),
        ..SetStatusRequest::default()
    };
    h37.raw.clone().set_status(no).await.unwrap();
    let answer = |code: &'static str, wanted: &'static str| {
        let (sender, envelope) = (&sender, &envelope);
        until("the sender sees the answer", move || async move {
            sender.recipient(envelope, code).await.filter(|state| state.withdrawal == wanted)
        })
    };
    let agreed = answer("H26", "agreed").await;
    assert_eq!((agreed.state.as_str(), agreed.business_status.as_str()), ("consigned", "15"));
    let no = answer("H37", "refused").await;
    assert!(no.statuses.iter().any(|note| note.code == "16" && note.reason.contains("ban hành")), "{no:?}");

    // H26's copy is closed: not listed as current, not given out, not confirmed; kept and marked for the records.
    assert!(h26.inbox("H26", false).await.iter().all(|item| item.envelope != envelope));
    let kept = h26.item(&envelope, "H26").await.unwrap();
    assert_eq!((kept.withdrawal.as_str(), kept.withdrawal_reason.as_str()), ("agreed", REASON));
    assert!(!kept.withdrawn_at.is_empty() && !kept.confirmed);
    let refused = h26.fetch(&envelope, "H26", What::Edxml(true)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("withdrawn") && !refused.message().is_ascii(), "{refused:?}");
    let confirm = ConfirmRequest { envelope: envelope.clone(), recipient: "H26".into(), ..ConfirmRequest::default() };
    assert_eq!(h26.raw.clone().confirm(confirm).await.unwrap_err().code(), Code::FailedPrecondition);
    let for_records = FetchRequest {
        envelope: envelope.clone(),
        recipient: "H26".into(),
        what: Some(What::Edxml(true)),
        even_withdrawn: true,
        ..FetchRequest::default()
    };
    let mut stream = h26.raw.clone().fetch(for_records).await.unwrap().into_inner();
    assert!(!stream.message().await.unwrap().unwrap().data.is_empty(), "the kept copy");
    // H37 refused: its copy is as before, and it may be asked again in other words.
    assert!(!h37.fetch(&envelope, "H37", What::Edxml(true)).await.unwrap().is_empty());
    let third = withdraw(&sender, "w-again", &envelope, &[]).await;
    assert_eq!(outcomes(&third), [("H26", "agreed"), ("H37", "asked")]);
    assert_ne!(third.recipients[1].status_envelope, both.recipients[1].status_envelope);
}
