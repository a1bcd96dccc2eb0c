//! Documents that come in through today's axis.

use truc_evidence::{ReceiptVerdict, Remark, Standing, Together, conclude};
use truc_node::{
    core::PassOutcome,
    gateway::{Axis, Posting},
};
use truc_proto::{
    Digest, EventUri,
    node_v1::{InboxItem, OutboxItem, SetStatusRequest, fetch_request::What},
    sdk::{MessageType, Operation},
};
use truc_tests::{
    network::{Network, Programs},
    wait::{PATIENCE, until_async},
};

use crate::{
    OldAxis, layout,
    old_axis::Fault,
    out::{send_packet, well},
    packets, start, until,
};

const FROM: &str = "H37";

async fn inbox(network: &Network, code: &str, count: usize) -> Vec<InboxItem> {
    until_async(&format!("{count} documents of {code}"), || async {
        let items = network.client(code).inbox(code, true).await.unwrap();
        assert!(items.len() <= count, "{items:?}");
        (items.len() == count).then_some(items)
    })
    .await
}

/// Lets so many further polls pass.
async fn polls(axis: &OldAxis, count: usize) {
    let before = axis.state().count(Operation::ReceivedEdocList);
    until("further polls", axis, |state| state.count(Operation::ReceivedEdocList) > before + count).await;
}

fn done(axis: &OldAxis, doc_id: &str) -> usize {
    axis.state().updates.iter().filter(|(id, word)| id == doc_id && word == "done").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_from_there_is_in_the_inbox_and_says_what_it_is_not() {
    let (network, axis) = start().await;
    let packet = packets::document(FROM, &["G22"], 3, "công văn.pdf", b"%PDF-1.7 letter");
    axis.lay_down("7d0c-1", FROM, "G22", "edoc", &packet);
    let item = inbox(&network, "G22", 1).await.remove(0);
    assert_eq!((item.sender.as_str(), item.legacy, item.legacy_doc_id.as_str()), (FROM, true, "7d0c-1"));
    assert_eq!((item.verdict.as_str(), item.subject.as_str()), ("unknown", "V/v thử nghiệm số 3"));
    assert!(item.verdict_text.contains("no signed receipt") && item.verdict_text.contains("giấy báo nhận"));
    until("it to be acknowledged", &axis, |state| state.updates.contains(&("7d0c-1".into(), "done".into()))).await;
    let mut client = network.client("G22");
    let found = client.search("thu nghiem so 3").await.unwrap();
    assert_eq!((found.len(), &found[0].envelope, found[0].legacy), (1, &item.envelope, true), "{found:?}");
    let name = item.attachments[0].name.clone();
    assert_eq!(client.attachment(&item.envelope, "G22", &name).await.unwrap(), b"%PDF-1.7 letter");
    let rendered = client.fetch(&item.envelope, "G22", What::Edxml(true)).await.unwrap();
    let parsed = truc_proto::edxml::read(rendered.as_slice(), &mut truc_proto::edxml::Discard).unwrap();
    assert_eq!(parsed.attachments.len(), 1);
    client.confirm(&item.envelope, "G22").await.unwrap();
    // A status about it goes back the way it came.
    let status = SetStatusRequest {
        envelope: item.envelope.clone(),
        from: "G22".into(),
        code: "03".into(),
        idempotency_key: "taken".into(),
        ..SetStatusRequest::default()
    };
    client.set_status(status).await.unwrap();
    until("the status", &axis, |state| !state.posted.is_empty()).await;
    {
        let state = axis.state();
        let posted = &state.posted[0];
        assert_eq!((posted.to.as_str(), posted.message.as_str()), (FROM, "status"));
        let parsed = truc_proto::edxml::read(posted.file.as_slice(), &mut truc_proto::edxml::Discard).unwrap();
        let truc_proto::edxml::Message::Status(status) = parsed.message else { panic!("a status packet") };
        assert_eq!(status.status_code.as_deref(), Some("03"));
        assert_eq!(status.response_for.document_id, Some(packets::document_id(FROM, 3)));
        assert_eq!(status.response_for.organ_id.unwrap().as_str(), FROM);
    }
    // What there is to show of it: that it came from there, and that the document system took it.
    let events = until_async("final receipts", || async {
        let receipts = network.receipts("G22", &item.envelope).await.unwrap();
        let all = receipts.len() == 2 && receipts.iter().all(|(receipt, _)| receipt.r#final);
        all.then_some(receipts)
    })
    .await;
    let reports: Vec<_> = events.iter().map(|(_, file)| network.verify(file)).collect();
    for report in &reports {
        assert_eq!(report.verdict, ReceiptVerdict::Valid, "{:?}", report.against().collect::<Vec<_>>());
    }
    let seen: Vec<_> = reports.iter().map(|report| report.summary.as_ref().unwrap().event).collect();
    assert_eq!(seen, [EventUri::ReceivedFromNonErds, EventUri::ContentHandover]);
    // Both are the recipient's word about one thing; that the sender sent it nobody but G22 says.
    let concluded = conclude(&reports, &[], &Together::default());
    let told: Vec<_> =
        concluded.iter().map(|one| (one.recipient.as_str(), one.standing, one.remarks.as_slice())).collect();
    assert_eq!(told, [("G22", Standing::HandedOver, &[Remark::NoSubmission][..])]);
    // Nobody waits for evidence of it.
    well(&network).await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_that_axis_answers_a_document_is_shown_once() {
    let (network, axis) = start().await;
    axis.state().lists_twice = true;
    axis.state().keeps_listed = true;
    axis.fault(Operation::ReceivedEdocList, Fault::Html);
    for fault in [Fault::Truncated, Fault::Fails, Fault::Silent] {
        axis.fault(Operation::Edoc, fault);
    }
    for fault in [Fault::HangsUp, Fault::Empty] {
        axis.fault(Operation::UpdateStatus, fault);
    }
    let packet = packets::document(FROM, &["G22"], 4, "a.txt", b"text");
    axis.lay_down("../../etc/x", FROM, "G22", "edoc", &packet);
    inbox(&network, "G22", 1).await;
    until("all faults to be over", &axis, |state| state.faults.is_empty()).await;
    polls(&axis, 2).await;
    assert!(done(&axis, "../../etc/x") >= 2, "said again as long as it is listed");
    assert_eq!(inbox(&network, "G22", 1).await[0].legacy_doc_id, "../../etc/x");
    // Nothing of that name became a file.
    let found = std::process::Command::new("find").arg(network.node_folder("N-G22")).args(["-name", "x*"]).output();
    assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout), "");
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_refused_there_and_said_here() {
    let (network, axis) = start().await;
    let good = packets::document(FROM, &["G22"], 5, "a.txt", b"text");
    let text = String::from_utf8(good.clone()).unwrap();
    let hostile = text.replacen("?>", "?><!DOCTYPE edXML [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>", 1);
    let foreign = text.replace("<edXML:OrganId>H37<", "<edXML:OrganId>H38<");
    let secret = text.replace("V/v thử nghiệm số 5", "[TỐI MẬT] Kế hoạch");
    assert!(hostile != text && foreign != text && secret != text);
    axis.lay_down("doctype", FROM, "G22", "edoc", hostile.as_bytes());
    axis.lay_down("another-from", FROM, "G22", "edoc", foreign.as_bytes());
    axis.lay_down("secret", FROM, "G22", "edoc", secret.as_bytes());
    axis.lay_down("no-packet", FROM, "G22", "edoc", b"<html>not a packet</html>");
    axis.lay_down("elsewhere", FROM, "H99", "edoc", &good);
    axis.lay_down("good", FROM, "G22", "edoc", &good);
    until("five answers", &axis, |state| state.updates.len() >= 5).await;
    let updates = axis.state().updates.clone();
    for (doc_id, word) in
        [("doctype", "fail"), ("another-from", "fail"), ("secret", "fail"), ("no-packet", "fail"), ("good", "done")]
    {
        assert!(updates.contains(&(doc_id.into(), word.into())), "{doc_id}: {updates:?}");
    }
    assert!(updates.iter().all(|(doc_id, _)| doc_id != "elsewhere"), "not ours to answer for");
    assert_eq!(inbox(&network, "G22", 1).await[0].legacy_doc_id, "good");
    let alarms = network.client("G22").status().await.unwrap().alarms;
    assert!(alarms.iter().any(|alarm| alarm.contains("was refused") && alarm.contains("bị từ chối")), "{alarms:?}");
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_before_it_could_say_done_says_so_later_and_shows_it_once() {
    let programs =
        Programs { relay: env!("CARGO_BIN_EXE_relay-process").into(), node: env!("CARGO_BIN_EXE_node-process").into() };
    let (network, axis) = (Network::make(layout().of_processes(programs)).await, OldAxis::start());
    axis.connect(network.node_folder("N-G22"));
    axis.state().keeps_listed = true;
    // However often it is said before the node is killed.
    for _ in 0..1_000 {
        axis.fault(Operation::UpdateStatus, Fault::Silent);
    }
    network.start_all().await;
    let packet = packets::document(FROM, &["G22"], 6, "a.txt", &vec![b'x'; 200_000]);
    axis.lay_down("killed", FROM, "G22", "edoc", &packet);
    until("the first word", &axis, |state| state.count(Operation::UpdateStatus) >= 1).await;
    network.kill_node("N-G22");
    {
        let mut state = axis.state();
        state.updates.clear();
        state.faults.clear();
    }
    network.start_node("N-G22");
    network.wait_connected("N-G22").await;
    until("the word again", &axis, |state| state.updates.contains(&("killed".into(), "done".into()))).await;
    polls(&axis, 2).await;
    assert_eq!(inbox(&network, "G22", 1).await.len(), 1);
    assert_eq!(axis.state().count(Operation::Edoc), 1, "it was here already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_has_just_moved_and_its_old_mailbox_show_a_document_once() {
    let (network, axis) = (Network::make(layout()).await, OldAxis::start());
    axis.connect(network.node_folder("N-H26"));
    network.start_all().await;
    let packet = packets::document("G22", &["H26"], 8, "a.txt", b"text");
    let envelope = send_packet(&network, "native", &packet).await.envelope;
    network.wait_consigned("G22", &envelope).await;
    axis.lay_down("in-the-old-box", "G22", "H26", "edoc", &packet);
    until("it to be acknowledged", &axis, |state| state.updates.contains(&("in-the-old-box".into(), "done".into())))
        .await;
    assert_eq!(inbox(&network, "H26", 1).await[0].envelope, envelope);
    // The same number with another content is another document.
    let other = packets::document("G22", &["H26"], 8, "a.txt", b"another text");
    axis.lay_down("another", "G22", "H26", "edoc", &other);
    let items = inbox(&network, "H26", 2).await;
    assert!(items.iter().any(|item| item.legacy_doc_id == "another"));
    network.stop().await;
}

/// A sender that the directory does not list, as that axis writes it.
const UNLISTED: &str = "000.11.22.H17";

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_sender_that_the_directory_does_not_list_goes_back_under_its_own_code() {
    let (network, axis) = (Network::make(layout().with_sdk("/api/v1")).await, OldAxis::start());
    let secret = network.add_system("N-G22", "qlvb", &["G22"]);
    axis.connect(network.node_folder("N-G22"));
    network.start_all().await;
    let packet = packets::document("H17", &["G22"], 3, "công văn.pdf", b"%PDF-1.7 letter");
    let packet = String::from_utf8(packet).unwrap().replace("H17", UNLISTED).into_bytes();
    axis.lay_down("u-1", UNLISTED, "G22", "edoc", &packet);
    let item = inbox(&network, "G22", 1).await.remove(0);
    assert!(item.warnings.iter().any(|warning| warning.contains(UNLISTED)), "{item:?}");
    // A document system that speaks the SDK sees the code that the packet says, and answers it.
    let endpoint = format!("http://{}/api/v1", network.sdk_address("N-G22")).parse().unwrap();
    let system = Axis::new(endpoint, "qlvb", secret.as_bytes(), &[], PATIENCE).unwrap();
    let listed = system.received(MessageType::Document).await.unwrap();
    assert_eq!(listed.iter().map(|item| item.text("from")).collect::<Vec<_>>(), [UNLISTED]);
    let status = packets::status("G22", UNLISTED, 3, "03", "Đã tiếp nhận");
    let posting = Posting {
        from: "G22".into(),
        to: UNLISTED.into(),
        message: MessageType::Status,
        digest: Digest::of(&status),
        length: status.len() as u64,
        packet: Box::new(move |out| out.write_all(&status)),
    };
    let PassOutcome::Taken { doc_id } = system.post(posting).await else { panic!("the status is taken") };
    let passed = |item: &OutboxItem| item.recipients.iter().all(|recipient| recipient.state == "passed-on");
    network.wait_sent("the status to be passed on", "G22", &doc_id, passed).await;
    let state = axis.state();
    let posted: Vec<_> = state.posted.iter().map(|posted| (posted.to.as_str(), posted.message.as_str())).collect();
    assert_eq!(posted, [(UNLISTED, "status")]);
    let parsed = truc_proto::edxml::read(state.posted[0].file.as_slice(), &mut truc_proto::edxml::Discard).unwrap();
    let truc_proto::edxml::Message::Status(status) = parsed.message else { panic!("a status packet") };
    assert_eq!(status.status_code.as_deref(), Some("03"));
    assert_eq!(status.response_for.organ_id.unwrap().as_str(), UNLISTED);
    assert_eq!(status.response_for.document_id, Some(packets::document_id(UNLISTED, 3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_from_there_are_noted_with_their_document_and_never_go_back() {
    let (network, axis) = start().await;
    let packet = packets::document("G22", &[FROM], 12, "a.txt", b"x");
    let envelope = send_packet(&network, "sent", &packet).await.envelope;
    let passed = |item: &OutboxItem| item.recipients[0].state == "passed-on";
    network.wait_sent("it to be there", "G22", &envelope, passed).await;
    let lay_down = |name: &str, n, code: &str| {
        axis.lay_down(name, FROM, "G22", "status", &packets::status(FROM, "G22", n, code, "words"));
    };
    lay_down("s-03", 12, "03");
    let taken = |item: &OutboxItem| item.recipients[0].business_status == "03";
    network.wait_sent("the status", "G22", &envelope, taken).await;
    // Late, twice, about nothing that was ever sent, and no status at all.
    lay_down("s-01", 12, "01");
    lay_down("s-03-again", 12, "03");
    lay_down("s-none", 999, "03");
    axis.lay_down("s-packet", FROM, "G22", "status", &packet);
    lay_down("s-06", 12, "06");
    let finished = |item: &OutboxItem| item.recipients[0].business_status == "06";
    network.wait_sent("the last status", "G22", &envelope, finished).await;
    until("all to be answered", &axis, |state| state.waiting.is_empty()).await;
    let updates = axis.state().updates.clone();
    for (name, word) in [
        ("s-03", "done"),
        ("s-01", "done"),
        ("s-03-again", "done"),
        ("s-06", "done"),
        ("s-none", "fail"),
        ("s-packet", "fail"),
    ] {
        assert!(updates.contains(&(name.into(), word.into())), "{name}: {updates:?}");
    }
    network.stop_node("N-G22").await;
    network.start_node("N-G22");
    network.wait_connected("N-G22").await;
    network.wait_sent("the same after a restart", "G22", &envelope, finished).await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_from_there_asks_back_what_came_from_there_and_its_answer_closes_it() {
    use truc_proto::edxml::{Business, Discard, Message, read};
    let (network, axis) = start().await;
    axis.lay_down("first", FROM, "G22", "edoc", &packets::document(FROM, &["G22"], 7, "a.txt", b"text"));
    let document = inbox(&network, "G22", 1).await.remove(0).envelope;
    let business = Business { doc_type: Some(1), reason: Some("Ban hành nhầm".into()), ..Business::default() };
    // The same number, subject and file as what it revokes: today's systems send it so.
    let packet = packets::changing(FROM, &["G22"], 7, "a.txt", b"text", business);
    axis.state().keeps_listed = true;
    axis.lay_down("second", FROM, "G22", "edoc", &packet);
    until("it to be acknowledged twice", &axis, |state| {
        state.updates.iter().filter(|(id, word)| id == "second" && word == "done").count() >= 2
    })
    .await;
    axis.state().keeps_listed = false;
    let items = network.client("G22").inbox("G22", true).await.unwrap();
    let asked = items.iter().find(|item| item.envelope == document).unwrap();
    assert_eq!((asked.withdrawal.as_str(), asked.withdrawal_reason.as_str()), ("asked", "Ban hành nhầm"));
    assert_eq!(asked.statuses.len(), 1, "asked once, however often it is listed: {:?}", asked.statuses);
    let revoking = items.iter().find(|item| item.legacy_doc_id == "second").unwrap();
    let change = revoking.change.clone().unwrap();
    assert_eq!((change.kind.as_str(), change.answer.as_str()), ("revokes", "asked"));
    assert_eq!(change.targets[0].envelope, document);
    assert_eq!(asked.changed_by[0].envelope, revoking.envelope);
    let answer = SetStatusRequest {
        envelope: revoking.envelope.clone(),
        from: "G22".into(),
        code: "15".into(),
        idempotency_key: "agreed".into(),
        ..SetStatusRequest::default()
    };
    network.client("G22").set_status(answer).await.unwrap();
    let current = network.client("G22").inbox("G22", false).await.unwrap();
    assert!(current.iter().all(|item| item.envelope != document), "closed by the answer to the revocation");
    until("the answer", &axis, |state| !state.posted.is_empty()).await;
    {
        let state = axis.state();
        let Message::Status(status) = read(state.posted[0].file.as_slice(), &mut Discard).unwrap().message else {
            panic!("a status packet")
        };
        assert_eq!(status.status_code.as_deref(), Some("15"));
        assert_eq!(status.response_for.document_id, Some(packets::document_id(FROM, 7)));
    }
    network.stop().await;
}
