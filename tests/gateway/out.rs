//! Documents that go out through today's axis.

use truc_evidence::{ReceiptVerdict, Standing, Together, conclude};
use truc_proto::{
    EventUri, Role,
    node_v1::{
        OutboxItem, PacketForm, RecipientState, SendHeader, SendReply, SendRequest, send_header::Form,
        send_request::Part,
    },
    sdk::Operation,
};
use truc_tests::{
    network::{Layout, Network, Programs, client::Document},
    wait::until_async,
};

use crate::{OldAxis, layout, old_axis::Fault, packets, start, until};

fn to<'i>(item: &'i OutboxItem, code: &str) -> &'i RecipientState {
    item.recipients.iter().find(|recipient| recipient.recipient == code).expect("a recipient")
}

fn ended(item: &OutboxItem, code: &str) -> bool {
    ["passed-on", "failed", "consigned"].contains(&to(item, code).state.as_str())
}

/// Bytes that no ZIP makes shorter.
fn noise(length: usize) -> Vec<u8> {
    let step = |seed: &mut u64| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((*seed >> 56).to_le_bytes()[0])
    };
    (0..length).scan(7_u64, |seed, _| step(seed)).collect()
}

/// Waits until the gateway has no alarm.
pub(crate) async fn well(network: &Network) {
    until_async("the alarms to be over", || async {
        let status = network.client("G22").status().await;
        if status.as_ref().is_ok_and(|status| status.alarms.is_empty()) { Ok(()) } else { Err(status) }
    })
    .await;
}

async fn ends(network: &Network, envelope: &str, code: &str) -> OutboxItem {
    network.wait_sent("its passage to end", "G22", envelope, |item| ended(item, code)).await
}

pub(crate) async fn send_packet(network: &Network, key: &str, packet: &[u8]) -> SendReply {
    let header = SendHeader {
        idempotency_key: key.into(),
        sender: "G22".into(),
        level: "ordinary".into(),
        form: Some(Form::Packet(PacketForm { length: packet.len() as u64 })),
        ..SendHeader::default()
    };
    let data = packet.chunks(256 * 1024).map(|piece| Part::Data(piece.to_vec().into()));
    let requests =
        std::iter::once(Part::Header(header)).chain(data).map(|part| SendRequest { part: Some(part) }).collect();
    let reply = network.client("G22").send_raw(requests).await.unwrap();
    assert!(!reply.envelope.is_empty(), "{reply:?}");
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_for_both_axes_goes_sealed_to_one_and_byte_for_byte_to_the_other() {
    let (network, axis) = start().await;
    let packet = packets::document("G22", &["H26", "H37"], 7, "kế hoạch.pdf", b"%PDF-1.7 plan");
    let envelope = send_packet(&network, "mixed", &packet).await.envelope;
    let item = network.wait_final("G22", &envelope).await;
    assert_eq!(to(&item, "H26").state, "consigned");
    let item = ends(&network, &envelope, "H37").await;
    let passed = to(&item, "H37");
    assert_eq!((passed.state.as_str(), passed.legacy, passed.legacy_doc_id.as_str()), ("passed-on", true, "old-1"));
    assert!(passed.text.contains("no signed receipt") && passed.text.contains("không được niêm phong"), "{passed:?}");
    {
        let state = axis.state();
        let posted = &state.posted;
        assert_eq!(posted.len(), 1);
        assert_eq!(
            (posted[0].from.as_str(), posted[0].to.as_str(), posted[0].message.as_str()),
            ("G22", "H37", "edoc")
        );
        assert_eq!(posted[0].file, packet, "as it came from the document system");
    }
    let inbox = network.client("H26").inbox("H26", false).await.unwrap();
    assert_eq!(inbox.len(), 1);
    // The receipts: acceptance by the sender, and the last one there is of H37.
    network
        .wait_sent("the passage's receipt to be final", "G22", &envelope, |item| {
            to(item, "H37").ladder.iter().any(|step| step.event == "RelayToNonERDS" && step.r#final)
        })
        .await;
    let mut events = Vec::new();
    let mut reports = Vec::new();
    for (_, file) in network.receipts("G22", &envelope).await.unwrap() {
        let report = network.verify(&file);
        let against: Vec<_> = report.against().collect();
        assert_eq!(report.verdict, ReceiptVerdict::Valid, "{against:?}");
        let summary = report.summary.clone().unwrap();
        events.push((summary.event, summary.recipient.map(|code| code.to_string())));
        reports.push(report);
    }
    // Of H37 there is the sender's word alone, and nothing of the relay.
    let concluded = conclude(&reports, &[], &Together::default());
    let outside = concluded.iter().find(|one| one.recipient.as_str() == "H37").unwrap();
    assert_eq!((outside.standing, outside.remarks.as_slice()), (Standing::PassedOn, &[][..]));
    assert!(outside.events.iter().all(|event| event.role == Role::Sender), "{:?}", outside.events);
    assert!(events.contains(&(EventUri::RelayToNonErds, Some("H37".to_owned()))), "{events:?}");
    assert!(events.iter().any(|(event, _)| *event == EventUri::SubmissionAcceptance));
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_made_of_fields_and_files_is_written_as_a_packet_for_it() {
    let (network, axis) = start().await;
    let document = Document::new("fields", "G22", &["H37", "H38"], 3_000_000);
    let envelope = network.client("G22").send(&document).await.unwrap().envelope;
    for code in ["H37", "H38"] {
        assert_eq!(to(&ends(&network, &envelope, code).await, code).state, "passed-on");
    }
    let posted = axis.state().posted.clone();
    assert_eq!(posted.len(), 2);
    for posted in posted {
        let parsed = truc_proto::edxml::read(posted.file.as_slice(), &mut truc_proto::edxml::Discard).unwrap();
        assert_eq!(parsed.attachments.len(), 1, "{:?}", posted.to);
        assert_eq!(parsed.attachments[0].bytes, 3_000_000);
    }
    // It never went to the relay.
    let receipts = network.receipts("G22", &envelope).await.unwrap();
    assert!(receipts.iter().all(|(_, file)| network.verify(file).verdict != ReceiptVerdict::Invalid));
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_old_axis_answers_a_document_is_posted_once() {
    let (network, axis) = start().await;
    let faults = [Fault::Html, Fault::Empty, Fault::Truncated, Fault::HangsUp, Fault::Silent];
    for (n, fault) in (1..).zip(faults) {
        let before = axis.state().posted.len();
        axis.fault(Operation::SendEdoc, fault);
        let packet = packets::document("G22", &["H37"], 100 + n, "a.txt", b"x");
        let envelope = send_packet(&network, &format!("{fault:?}"), &packet).await.envelope;
        let item = ends(&network, &envelope, "H37").await;
        assert_eq!(to(&item, "H37").state, "passed-on", "{fault:?}: {:?}", to(&item, "H37"));
        assert_eq!(axis.state().posted.len(), before + 1, "{fault:?}");
        assert_eq!(to(&item, "H37").legacy_doc_id, axis.state().posted[before].doc_id, "{fault:?}");
    }
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_broke_off_before_it_was_whole_is_posted_again_and_a_lasting_refusal_ends_it() {
    let (network, axis) = start().await;
    axis.fault(Operation::SendEdoc, Fault::HangsUpEarly);
    // Longer than what sockets hold: the end of it shows before it is whole.
    let packet = packets::document("G22", &["H37"], 1, "a.bin", &noise(20_000_000));
    let envelope = send_packet(&network, "early", &packet).await.envelope;
    assert_eq!(to(&ends(&network, &envelope, "H37").await, "H37").state, "passed-on");
    {
        let state = axis.state();
        assert_eq!((state.posted.len(), state.count(Operation::SendEdoc)), (1, 2));
    }
    for _ in 0..3 {
        axis.fault(Operation::SendEdoc, Fault::Fails);
    }
    let packet = packets::document("G22", &["H38"], 2, "a.txt", b"x");
    let envelope = send_packet(&network, "refused", &packet).await.envelope;
    let item = ends(&network, &envelope, "H38").await;
    let refused = to(&item, "H38");
    assert_eq!((refused.state.as_str(), refused.reason.as_str()), ("failed", "refused-by-legacy"));
    assert!(refused.text.contains("15 Mã đơn vị chưa đăng ký"), "{}", refused.text);
    assert_eq!(axis.state().posted.len(), 1);
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_away_documents_wait_with_an_alarm_and_a_node_without_a_gateway_refuses_them() {
    let (network, axis) = start().await;
    // As long as it takes to see it.
    for _ in 0..1_000 {
        axis.fault(Operation::SendEdoc, Fault::HangsUpEarly);
    }
    let packet = packets::document("G22", &["H37"], 1, "a.bin", &noise(20_000_000));
    let envelope = send_packet(&network, "away", &packet).await.envelope;
    until_async("an alarm", || async {
        let alarms = network.client("G22").status().await.unwrap().alarms;
        let said = alarms.iter().any(|alarm| alarm.contains("today's axis") && alarm.contains("Trục hiện hành"));
        if said { Ok(()) } else { Err(alarms) }
    })
    .await;
    // Now it is back.
    axis.state().faults.clear();
    assert_eq!(to(&ends(&network, &envelope, "H37").await, "H37").state, "passed-on");
    well(&network).await;
    let document = Document::new("none", "H26", &["H37"], 10);
    let refused = network.client("H26").send(&document).await;
    let text = format!("{refused:?}");
    assert!(text.contains("[gateway]") && text.contains("unknown-code"), "{text}");
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_after_posting_does_not_post_again() {
    let programs =
        Programs { relay: env!("CARGO_BIN_EXE_relay-process").into(), node: env!("CARGO_BIN_EXE_node-process").into() };
    let layout: Layout = layout().of_processes(programs);
    let (network, axis) = (Network::make(layout).await, OldAxis::start());
    axis.connect(network.node_folder("N-G22"));
    network.start_all().await;
    axis.fault(Operation::SendEdoc, Fault::Silent);
    let packet = packets::document("G22", &["H37"], 9, "a.txt", b"x");
    let envelope = send_packet(&network, "killed", &packet).await.envelope;
    until("the packet to be there", &axis, |state| state.posted.len() == 1).await;
    network.kill_node("N-G22");
    network.start_node("N-G22");
    network.wait_connected("N-G22").await;
    let item = ends(&network, &envelope, "H37").await;
    assert_eq!((to(&item, "H37").state.as_str(), to(&item, "H37").legacy_doc_id.as_str()), ("passed-on", "old-1"));
    let state = axis.state();
    assert_eq!((state.posted.len(), state.count(Operation::SendEdoc)), (1, 1));
    assert!(state.count(Operation::SentEdocList) >= 1);
}
