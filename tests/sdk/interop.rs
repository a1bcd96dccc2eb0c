//! The client that was written from the API's description alone, in another language, against running nodes.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use truc_proto::edxml::{Discard, Message, read};

use crate::{PATH, Pair, client::Service, packets};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/axis_sdk_client.py");

/// Whether there is a Python; its absence is said loudly, or fails where tools are required.
fn python() -> bool {
    let found = Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !found {
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none_or(|v| v != "1"), "python3 is required and not there");
        eprintln!("SKIPPED: python3 is not there, so the client written from the API's description did not run");
    }
    found
}

/// Runs the client; its replies, and whether it found all of them good.
async fn run(service: &Service, folder: &Path, arguments: &[&str]) -> (Vec<Value>, bool) {
    let secret = folder.join(format!("secret-{}", service.map["systemid"]));
    std::fs::write(&secret, &service.secret).unwrap();
    let mut command = Command::new("python3");
    // A slash at the end, as people write it.
    command.arg(CLIENT).arg("--endpoint").arg(format!("http://{}{PATH}/", service.address));
    command.args(["--systemid", &service.map["systemid"], "--secret-file"]).arg(&secret).args(arguments);
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
    let Output { status, stdout, stderr } = ran.unwrap();
    let lines = String::from_utf8(stdout).unwrap();
    let replies = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(status.code().is_some_and(|code| code < 2), "{lines}\n{}", String::from_utf8_lossy(&stderr));
    (replies, status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_written_from_the_description_sends_lists_gets_acknowledges_and_answers() {
    if !python() {
        return;
    }
    let pair = Pair::start().await;
    let folder = tempfile::tempdir().unwrap();
    let packet = packets::document("G22", &["H26"], 45, "kế hoạch.docx", b"PK not really");
    let file = folder.path().join("van-ban.edxml");
    std::fs::write(&file, &packet).unwrap();
    let file = file.to_str().unwrap();

    // Sent, and sent again by a client that did not hear the answer: one document.
    let (sent, good) = run(&pair.one(), folder.path(), &["send", "G22", file]).await;
    assert!(good, "{sent:?}");
    let doc_id = sent[0]["DocId"].as_str().unwrap().to_owned();
    let (again, _) = run(&pair.one(), folder.path(), &["send", "G22", file]).await;
    assert_eq!(again[0]["DocId"], sent[0]["DocId"]);
    pair.network.wait_consigned("G22", &doc_id).await;
    let (counts, _) = run(&pair.two(), folder.path(), &["count"]).await;
    assert_eq!((&counts[0]["count"], &counts[1]["count"]), (&Value::from(1), &Value::from(0)));

    // Listed, fetched, acknowledged; the second time round there is nothing.
    let inbox = folder.path().join("inbox");
    let inbox = inbox.to_str().unwrap();
    let (taken, good) = run(&pair.two(), folder.path(), &["receive", inbox]).await;
    assert!(good && taken.len() == 2, "{taken:?}");
    assert_eq!((&taken[0]["item"]["from"], &taken[0]["item"]["to"]), (&Value::from("G22"), &Value::from("H26")));
    let saved = std::fs::read(taken[0]["file"].as_str().unwrap()).unwrap();
    let parsed = read(saved.as_slice(), &mut Discard).unwrap();
    assert_eq!((parsed.attachments[0].name.as_str(), parsed.attachments[0].bytes), ("kế hoạch.docx", 13));
    let Message::Document(document) = parsed.message else { panic!("a status came") };
    assert_eq!(document.header.document_id.as_deref(), Some(packets::document_id("G22", 45).as_str()));
    let (nothing, good) = run(&pair.two(), folder.path(), &["receive", inbox]).await;
    assert!(good && nothing[0]["received"] == 0, "{nothing:?}");
    pair.network
        .wait_sent("the hand-over to be known", "G22", &doc_id, |item| item.recipients[0].state == "handed-over")
        .await;

    // A status goes back as a packet and arrives as one.
    let status = folder.path().join("status.edxml");
    std::fs::write(&status, packets::status("H26", "G22", 45, "03", "Đã tiếp nhận")).unwrap();
    let status = ["send", "H26", status.to_str().unwrap(), "--messagetype", "status", "--to", "G22"];
    let (said, good) = run(&pair.two(), folder.path(), &status).await;
    assert!(good, "{said:?}");
    pair.network.wait_consigned("H26", said[0]["DocId"].as_str().unwrap()).await;
    let take = ["receive", inbox, "--messagetype", "status", "--download"];
    let (statuses, good) = run(&pair.one(), folder.path(), &take).await;
    assert!(good && statuses.len() == 2, "{statuses:?}");
    let saved = std::fs::read(statuses[0]["file"].as_str().unwrap()).unwrap();
    let Message::Status(came) = read(saved.as_slice(), &mut Discard).unwrap().message else {
        panic!("a document came")
    };
    assert_eq!((came.status_code.as_deref(), came.description.as_deref()), (Some("03"), Some("Đã tiếp nhận")));
    assert_eq!(came.response_for.document_id.as_deref(), Some(packets::document_id("G22", 45).as_str()));
    let (nothing, _) = run(&pair.one(), folder.path(), &take).await;
    assert_eq!(nothing[0]["received"], 0, "{nothing:?}");

    // Where it stands, for the one who sent it.
    let (list, good) = run(&pair.one(), folder.path(), &["sent", &doc_id]).await;
    assert!(good, "{list:?}");
    let item = &list[0]["data"][0];
    assert_eq!(item["title"], "V/v thử nghiệm số 45");
    assert_eq!((&item["notation"], &item["toCode"]), (&Value::from("45/KH-THỬ"), &Value::from("H26")));
    assert_eq!((&item["sendStatus"], &item["receiveStatus"]), (&Value::from("handed-over"), &Value::from("03")));
    assert_eq!(item["receiverDocId"], taken[0]["item"]["docId"]);

    // The directory.
    let (agencies, good) = run(&pair.one(), folder.path(), &["agencies"]).await;
    assert!(good, "{agencies:?}");
    let codes = |list: &Value| list["data"].as_array().unwrap().iter().map(|i| i["code"].clone()).collect::<Vec<_>>();
    assert_eq!(
        (codes(&agencies[0]), codes(&agencies[1])),
        (vec!["G22".into(), "H26".into(), "H26.18".into()], vec!["G22".into(), "H26".into()])
    );
    let (units, _) = run(&pair.one(), folder.path(), &["units"]).await;
    let unit = &units[0]["data"][2];
    assert_eq!((&unit["code"], &unit["centerCode"]), (&Value::from("H26.18"), &Value::from("H26")));
    assert_eq!((&unit["deleted"], &unit["version"], &unit["isAgency"]), (&false.into(), &1.into(), &true.into()));

    // Register and delete are kept for people and change nothing.
    let body = r#"{"id":"","pcode":"H26","code":"H26.77","name":"Sở Thử nghiệm","mail":"a@b.vn","mobile":"","fax":""}"#;
    let (registered, good) = run(&pair.two(), folder.path(), &["call", "registerAgency", "--body", body]).await;
    assert!(good, "{registered:?}");
    let (_, good) = run(&pair.two(), folder.path(), &["call", "registerAgency", "--body", body]).await;
    assert!(good, "asked twice is asked once");
    let (_, good) = run(&pair.two(), folder.path(), &["call", "deleteAgency", "AgencyCode=H26.18"]).await;
    assert!(good);
    let (wrong, good) = run(&pair.two(), folder.path(), &["call", "registerAgency", "--body", "{not json"]).await;
    assert!(!good && wrong[0]["status"] == "FAIL", "{wrong:?}");
    let settings = truc_node::Settings::load(pair.network.node_folder("N-H26")).unwrap();
    let requests = truc_node::sdk::AgencyRequests::of(&settings.sdk_requests()).open().unwrap();
    let asked: Vec<_> = requests.iter().map(|r| (r.kind, r.system.as_str(), r.agency.code.as_str())).collect();
    use truc_node::sdk::RequestKind::{Delete, Register};
    assert_eq!(asked, [(Register, "two", "H26.77"), (Delete, "two", "H26.18")]);
    let (units, _) = run(&pair.one(), folder.path(), &["units"]).await;
    assert_eq!(units[0]["data"].as_array().unwrap().len(), 3, "nothing was done by itself");
    pair.network.stop().await;
}
