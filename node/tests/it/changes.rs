//! Documents that update or replace earlier ones, over REST.

use serde_json::{Value, json};

use crate::{
    rest::{get, letter, send, started},
    world::until,
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
    let world = started().await;
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
