//! Statuses as packets: which document they mean, what is refused, and that each is taken exactly once.

use crate::{Pair, packets};

#[tokio::test(flavor = "multi_thread")]
async fn a_status_finds_its_document_by_id_and_both_agencies_and_says_what_is_wrong_otherwise() {
    let pair = Pair::start().await;
    let (doc_id, _) = pair.delivered(&packets::document("G22", &["H26"], 7, "a.pdf", b"%PDF-1.7")).await;
    let two = pair.two();
    let refused = |packet: Vec<u8>, from: &'static str| {
        let two = two.clone();
        async move {
            let reply = two.send(from, "status", Some("[\"G22\"]"), &packet).await;
            assert_eq!((&reply["status"], &reply["DocId"]), (&"FAIL".into(), &"".into()), "{reply}");
            (reply["ErrorCode"].as_str().unwrap().to_owned(), reply["ErrorDesc"].as_str().unwrap().to_owned())
        }
    };
    // No such document; another code's; another's name; an unknown code; a refusal without a reason; a document for a status.
    assert_eq!(refused(packets::status("H26", "G22", 8, "03", "x"), "H26").await.0, "6");
    assert_eq!(refused(packets::status("H26.18", "G22", 7, "03", "x"), "H26.18").await.0, "6");
    assert!(refused(packets::status("H26.18", "G22", 7, "03", "x"), "H26").await.1.contains("H26.18"));
    assert!(refused(packets::status("H26", "G22", 7, "99", "x"), "H26").await.1.contains("99"));
    assert!(refused(packets::document("H26", &["G22"], 9, "a.pdf", b"x"), "H26").await.1.contains("edoc"));
    // The other way round: a status packet sent as a document.
    let reply = two.send("H26", "edoc", None, &packets::status("H26", "G22", 7, "03", "x")).await;
    assert_eq!((&reply["status"], &reply["DocId"]), (&"FAIL".into(), &"".into()), "{reply}");

    let status = packets::status("H26", "G22", 7, "03", "Đã tiếp nhận");
    let said = two.send("H26", "status", Some("[\"G22\"]"), &status).await;
    assert_eq!(said["status"], "OK", "{said}");
    let again = two.send("H26", "status", Some("[\"G22\"]"), &status).await;
    assert_eq!(again["DocId"], said["DocId"], "the same packet is the same status");
    pair.network.wait_consigned("H26", said["DocId"].as_str().unwrap()).await;
    let item = pair.network.wait_sent("the status", "G22", &doc_id, |i| i.recipients[0].business_status == "03").await;
    assert_eq!(item.recipients[0].business_status, "03");

    // The sender asks for it back: one status per recipient, found by its own document.
    let one = pair.one();
    let asked = one.send("G22", "status", None, &packets::status("G22", "G22", 7, "13", "Gửi nhầm")).await;
    assert_eq!(asked["status"], "OK", "{asked}");
    pair.network.wait_consigned("G22", asked["DocId"].as_str().unwrap()).await;
    let at_two = two.list("status").await;
    assert_eq!((at_two.len(), &at_two[0]["to"], &at_two[0]["messageType"]), (1, &"H26".into(), &"status".into()));
    pair.network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_stays_listed_until_it_is_taken_and_never_comes_back_not_even_after_a_restart() {
    let pair = Pair::start().await;
    pair.delivered(&packets::document("G22", &["H26"], 7, "a.pdf", b"%PDF-1.7")).await;
    let two = pair.two();
    for (code, words) in [("01", "Đã đến"), ("03", "Đã tiếp nhận")] {
        let said = two.send("H26", "status", Some("G22"), &packets::status("H26", "G22", 7, code, words)).await;
        assert_eq!(said["status"], "OK", "{said}");
        pair.network.wait_consigned("H26", said["DocId"].as_str().unwrap()).await;
    }
    let one = pair.one();
    let listed = one.list("status").await;
    assert_eq!(listed.len(), 2);
    let ids: Vec<&str> = listed.iter().map(|item| item["docId"].as_str().unwrap()).collect();
    assert!(one.fetch(ids[0]).await.starts_with(b"<?xml"));
    assert_eq!(one.update(ids[0], "processing").await.json()["status"], "OK");
    assert_eq!(one.list("status").await.len(), 2, "fetching and claiming take nothing");
    assert_eq!(one.update(ids[0], "done").await.json()["status"], "OK");
    assert_eq!(one.update(ids[1], "fail").await.json()["status"], "OK");
    assert!(one.list("status").await.is_empty());
    pair.network.stop_node("N-G22").await;
    pair.network.start_node("N-G22");
    pair.network.wait_connected("N-G22").await;
    assert!(one.list("status").await.is_empty(), "the mark is in the journal");
    assert_eq!(one.update(ids[0], "done").await.json()["status"], "OK", "saying so again changes nothing");
    assert_eq!(one.clone().call("countReceiveStatus").await.json()["count"], 0);
    pair.network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_that_takes_back_what_never_left_withdraws_it_and_asks_nobody() {
    let pair = Pair::start().await;
    let one = pair.one();
    pair.network.stop_relay().await;
    pair.network.wait_disconnected("N-G22").await;
    let sent = one.send("G22", "edoc", None, &packets::document("G22", &["H26"], 7, "a.pdf", b"%PDF-1.7")).await;
    assert_eq!(sent["status"], "OK", "{sent}");
    let back = packets::status("G22", "G22", 7, "13", "Gửi nhầm");
    let reply = one.send("G22", "status", None, &back).await;
    assert_eq!((&reply["status"], &reply["DocId"]), (&"OK".into(), &sent["DocId"]), "{reply}");
    assert_eq!(
        one.send("G22", "status", None, &back).await["DocId"],
        reply["DocId"],
        "saying so again changes nothing"
    );
    let listed = one.clone().with(&[("docId", sent["DocId"].as_str().unwrap()), ("messagetype", "edoc")]);
    let listed = listed.call("getSentEdocList").await.json();
    let item = &listed["data"][0];
    assert_eq!(item["sendStatus"], "failed", "{listed}");
    assert!(item["sendStatusDesc"].as_str().unwrap().contains("lấy lại"), "{listed}");
    pair.network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_by_agreement_is_not_given_out_any_more() {
    let pair = Pair::start().await;
    let (sent, item) = pair.delivered(&packets::document("G22", &["H26"], 7, "a.pdf", b"%PDF-1.7")).await;
    let doc_id = item["docId"].as_str().unwrap();
    let (one, two) = (pair.one(), pair.two());
    let back = packets::status("G22", "G22", 7, "13", "Gửi nhầm");
    let asked = one.send("G22", "status", None, &back).await;
    assert_eq!(one.send("G22", "status", None, &back).await, asked, "the client's second sending is the same request");
    pair.network.wait_consigned("G22", asked["DocId"].as_str().unwrap()).await;
    assert_eq!(two.list("edoc").await.len(), 1, "asked is not yet agreed");
    let agreed = two.send("H26", "status", None, &packets::status("H26", "G22", 7, "15", "Đồng ý")).await;
    assert_eq!(agreed["status"], "OK", "{agreed}");
    assert!(two.list("edoc").await.is_empty());
    let refused = two.clone().with(&[("docId", doc_id), ("filePath", "/tmp/x")]).call("getEdoc").await.failure();
    assert!(refused["ErrorDesc"].as_str().unwrap().contains("lấy lại"), "{refused}");
    pair.network.wait_sent("the answer", "G22", &sent, |item| item.recipients[0].withdrawal == "agreed").await;
    pair.network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_is_given_out_with_a_trace_header_of_every_hop_it_took() {
    use truc_proto::edxml::{Discard, Message, read};
    let pair = Pair::start().await;
    let (_, item) = pair.delivered(&packets::document("G22", &["H26"], 7, "a.pdf", b"%PDF-1.7")).await;
    let given = pair.two().fetch(item["docId"].as_str().unwrap()).await;
    let Message::Document(packet) = read(given.as_slice(), &mut Discard).unwrap().message else { panic!("a document") };
    let hops: Vec<&str> = packet.trace.traces.iter().map(|hop| hop.organ_id.as_ref().unwrap().as_str()).collect();
    assert_eq!(hops, ["G22", truc_tests::network::RELAY, "H26"], "sender, relay by its own acceptance, recipient");
    let times: Vec<_> = packet.trace.traces.iter().map(|hop| hop.timestamp.as_ref().unwrap().value.unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    pair.network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_says_what_it_updates_and_is_answered_with_15() {
    let pair = Pair::start().await;
    let (first, _) = pair.delivered(&packets::document("G22", &["H26"], 7, "a.pdf", b"%PDF-1.7")).await;
    let business = truc_proto::edxml::Business {
        document_id: Some(packets::document_id("G22", 7)),
        doc_type: Some(2),
        reason: Some("Bổ sung phụ lục".into()),
        ..truc_proto::edxml::Business::default()
    };
    let packet = packets::changing("G22", &["H26"], 8, "a.pdf", b"%PDF-1.7", business);
    let (update, _) = pair.delivered(&packet).await;
    let inbox = pair.network.client("H26").inbox("H26", false).await.unwrap();
    let change = inbox.iter().find(|item| item.envelope == update).unwrap().change.clone().unwrap();
    assert_eq!((change.kind.as_str(), change.answer.as_str()), ("updates", "asked"));
    assert_eq!(
        (change.document_ids, change.reason.as_str()),
        (vec![packets::document_id("G22", 7)], "Bổ sung phụ lục")
    );
    assert!(inbox.iter().filter(|item| item.envelope != update).all(|item| item.change.is_none()));
    // Of a document of another agency it says so, and changes nothing.
    let business = truc_proto::edxml::Business {
        doc_type: Some(3),
        reason: Some("Thay thế".into()),
        replacements: vec![truc_proto::edxml::ReplacementInfo {
            document_id: Some(packets::document_id("G22", 7)),
            organ_ids: vec!["G22".parse().unwrap()],
        }],
        ..truc_proto::edxml::Business::default()
    };
    let claim = packets::changing("H26", &["G22"], 9, "a.pdf", b"%PDF-1.7", business);
    let claim = pair.two().send("H26", "edoc", None, &claim).await["DocId"].as_str().unwrap().to_owned();
    pair.network.wait_consigned("H26", &claim).await;
    let inbox = pair.network.client("G22").inbox("G22", false).await.unwrap();
    let item = inbox.iter().find(|item| item.envelope == claim).unwrap();
    assert!(item.warnings.iter().any(|text| text.contains("another agency") && text.contains("khác")), "{item:?}");
    assert_eq!(item.change.as_ref().unwrap().targets[0].envelope, "");
    let sent = pair.network.wait_sent("the list", "G22", &first, |_| true).await;
    assert_eq!(sent.changed_by.iter().map(|later| &later.envelope).collect::<Vec<_>>(), [&update]);
    let two = pair.two();
    let answer = |n| packets::status("H26", "G22", n, "15", "Đồng ý");
    let nothing = two.send("H26", "status", None, &answer(7)).await;
    assert_eq!(nothing["status"], "FAIL", "nothing was asked about the document itself: {nothing}");
    let agreed = two.send("H26", "status", None, &answer(8)).await;
    assert_eq!(agreed["status"], "OK", "{agreed}");
    let sent = pair.network.wait_sent("the answer", "G22", &update, |item| item.recipients[0].change == "agreed").await;
    assert_eq!(sent.recipients[0].withdrawal, "", "an update is not given back");
    assert_eq!(two.list("edoc").await.len(), 2, "both are current documents");
    pair.network.stop().await;
}
