//! Documents that update or replace earlier ones, over REST, while they are open and long after.

use serde_json::{Value, json};

use crate::{
    closed::a_month_later,
    rest::{get, letter, post_json, send},
    world::{World, until},
};

const REASON: &str = "Điều chỉnh chỉ tiêu";

fn numbered(number: &str, more: Value) -> Value {
    let mut document = letter(&["H26"]);
    document["code_number"] = json!(number);
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_replaces_another_by_its_fields() {
    let world = World::start().await;
    let file: [(&str, &[u8]); 1] = [("a.pdf", b"%PDF-1.7")];
    let first = send(&world, "1", &numbered("1", json!({})), &file).await.ok(201);
    let replaces = json!({ "replaces": [first["envelope"], "G22,2019/01/02,9/QĐ"], "change_reason": REASON });
    let second = send(&world, "2", &numbered("2", replaces), &file).await.ok(201);
    assert!(second["warnings"][0].as_str().unwrap().contains("G22,2019/01/02,9/QĐ"), "{second:#}");
    let inbox = || async { get(&world, "N-B", "/inbox").await.ok(200)["items"].clone() };
    let items = until("both came", inbox, |items| items.as_array().unwrap().len() == 2).await;
    let item = items.as_array().unwrap().iter().find(|item| item["envelope"] == second["envelope"]).unwrap();
    assert_eq!(item["change"]["kind"], "replaces");
    assert_eq!(item["change"]["document_ids"], json!(["G22,2026/11/22,1/VPCP-KSTT", "G22,2019/01/02,9/QĐ"]));
    assert_eq!(item["change"]["reason"], REASON);
    let foreign = json!({ "updates": "H26,2026/11/22,1/UBND", "change_reason": REASON });
    let refused = send(&world, "3", &numbered("3", foreign), &file).await;
    assert_eq!(refused.problem(403), "not-entitled");
    let no_reason = json!({ "updates": first["envelope"] });
    assert_eq!(send(&world, "4", &numbered("4", no_reason), &file).await.problem(422), "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_left_memory_are_linked_with_or_without_their_index() {
    let mut world = World::start().await;
    let file: [(&str, &[u8]); 1] = [("a.pdf", b"%PDF-1.7")];
    let first = send(&world, "1", &numbered("1", json!({})), &file).await.ok(201)["envelope"].clone();
    let updates = json!({ "updates": "G22,2026/11/22,1/VPCP-KSTT", "change_reason": REASON });
    let second = send(&world, "2", &numbered("2", updates), &file).await.ok(201)["envelope"].clone();
    for envelope in [&first, &second] {
        let path = format!("/inbox/{}/confirmation", envelope.as_str().unwrap());
        let confirm = || async { post_json(&world, "N-B", &path, &[], &json!({ "recipient": "H26" })).await.status };
        until("it can be confirmed", confirm, |status| *status == 200).await;
        let path = format!("/outbox/{}", envelope.as_str().unwrap());
        let sent = || async { get(&world, "N-A", &path).await.ok(200) };
        until("the sender hears of it", sent, |sent| sent["recipients"][0]["state"] == "handed-over").await;
    }
    for id in ["N-A", "N-B"] {
        world.until_all_is_told(id).await;
    }
    // Open, then out of memory, then without their index too.
    for next in [Some(false), Some(true), None] {
        for (id, path) in [("N-A", "/outbox?with_final=true"), ("N-B", "/inbox?with_confirmed=true")] {
            // While the index is built anew lists of what left memory say that they cannot answer.
            let list = || async { get(&world, id, path).await };
            let items = until("the list answers", list, |answer| answer.status == 200).await.ok(200)["items"].clone();
            let of =
                |envelope: &Value| items.as_array().unwrap().iter().find(|item| item["envelope"] == *envelope).unwrap();
            let later = &of(&first)["changed_by"];
            assert_eq!((&later[0]["kind"], &later[0]["envelope"]), (&json!("updates"), &second), "{items:#}");
            assert_eq!((later.as_array().unwrap().len(), &later[0]["reason"]), (1, &json!(REASON)));
            assert_eq!(of(&second)["change"]["targets"][0]["envelope"], first, "{items:#}");
        }
        if let Some(bare) = next {
            a_month_later(&mut world, bare).await;
        }
    }
}
