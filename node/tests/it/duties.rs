//! Deadlines, counters and statistics as officers and their document systems meet them: over sockets, and in foreign spreadsheets.

use std::{path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use truc_node::duties::{Day, DutyRules, Rule};
use truc_proto::node_v1;

use crate::{
    rest::{get, letter, post_json, send},
    tools::python,
    webhooks::Receiver,
    world::{World, until},
};

/// Urgent documents are late as soon as they are there, others by no hour that comes while a test runs, such as the end of the working day.
async fn strict(receiver: &Receiver) -> World {
    let mut world = World::start().await;
    for id in ["N-A", "N-B"] {
        world.stop_node(id).await;
        world.allow_webhooks(id, &format!("http://{}/hooks", receiver.address));
        let far = Some(Rule::Within(Duration::from_secs(86_400)));
        let rules = DutyRules {
            send: None,
            receipt: far,
            recipients: far,
            urgent: [Duration::ZERO; 4],
            ..DutyRules::default()
        };
        world.set_duties(id, rules);
        world.start_node(id).await;
    }
    world
}

async fn late(world: &World, id: &str) -> Vec<Value> {
    get(world, id, "/duties?state=late").await.ok(200)["items"].as_array().unwrap().clone()
}

/// What a foreign program makes of a table.
fn rows_by(script: &str, module: &str, file: &Path) -> Option<Value> {
    let ran = Command::new(python(module)?).args(["-c", script]).arg(file).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Some(serde_json::from_slice(&ran.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_is_told_listed_counted_and_in_the_months_table() {
    let receiver = Receiver::start("200 OK").await;
    let mut world = strict(&receiver).await;
    let hook = json!({ "url": receiver.url(), "events": ["duty.late"] });
    for id in ["N-A", "N-B"] {
        post_json(&world, id, "/webhooks", &[], &hook).await.ok(201);
    }
    let mut urgent = letter(&["H26", "H37"]);
    urgent["priority"] = json!(2);
    let envelope = send(&world, "urgent", &urgent, &[("a.txt", b"abc")]).await.ok(201)["envelope"].clone();
    send(&world, "plain", &letter(&["H26"]), &[]).await.ok(201);

    // Both sides are told: the sender that nobody took it, each recipient that it has to.
    let of = |kept: &'static str| {
        let receiver = receiver.clone();
        move || {
            let came = receiver.came().into_iter().map(|came| came.json());
            let codes =
                came.filter(|body| body["type"] == "duty.late" && body["data"]["box"] == kept).flat_map(|body| {
                    body["data"]["recipients"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|c| c.as_str().unwrap().to_owned())
                        .collect::<Vec<_>>()
                });
            let mut codes: Vec<String> = codes.collect();
            codes.sort();
            std::future::ready(codes)
        }
    };
    until("the sender is told", of("sent"), |codes| codes == &["H26", "H37"]).await;
    until("the recipients are told", of("received"), |codes| codes == &["H26", "H37"]).await;
    let data = receiver.came()[0].json()["data"].clone();
    assert_eq!((&data["envelope"], &data["sender"]), (&envelope, &json!("G22")), "{data}");

    let of_a = late(&world, "N-A").await;
    let shown: Vec<_> = of_a.iter().map(|item| (item["recipient"].clone(), item["duty"].clone())).collect();
    assert_eq!(shown, [(json!("H26"), json!("recipients")), (json!("H37"), json!("recipients"))]);
    assert_eq!((&of_a[0]["subject"], &of_a[0]["priority"]), (&json!("Kế hoạch chuyển đổi số"), &json!(2)));
    let counted = get(&world, "N-A", "/counters").await.ok(200);
    assert_eq!((&counted["whole"]["late"], &counted["items"][0]["code"]), (&json!(2), &json!("G22")), "{counted:#}");
    let waiting = || async { get(&world, "N-B", "/counters?code=H26").await.ok(200)["whole"].clone() };
    let whole = until("both documents came", waiting, |whole| whole["waiting"] == 2).await;
    assert_eq!((&whole["waiting_late"], &whole["unsent"]), (&json!(1), &json!(0)));
    let listed = get(&world, "N-A", "/outbox?counted=late").await.ok(200);
    assert_eq!((&listed["items"][0]["envelope"], listed["items"].as_array().unwrap().len()), (&envelope, 1));
    assert_eq!(get(&world, "N-A", "/outbox?counted=all").await.problem(400), "invalid-request");
    assert_eq!(get(&world, "N-A", "/duties?box=received").await.ok(200)["total"], 0);

    // H26 takes and answers it; the sender hears of that.
    let path = format!("/inbox/{}/confirmation", envelope.as_str().unwrap());
    post_json(&world, "N-B", &path, &[], &json!({ "recipient": "H26" })).await.ok(200);
    let statuses = format!("/documents/{}/statuses", envelope.as_str().unwrap());
    let status = json!({ "from": "H26", "code": "03" });
    post_json(&world, "N-B", &statuses, &[("idempotency-key", "s")], &status).await.ok(201);
    let codes = |id: &'static str| {
        let world = &world;
        move || async move { late(world, id).await.iter().map(|item| item["recipient"].clone()).collect::<Vec<_>>() }
    };
    for id in ["N-A", "N-B"] {
        until("only H37 is late", codes(id), |codes| codes == &[json!("H37")]).await;
    }

    // The month's table, on both sides.
    let today = Day::of(truc_node::shell::clock::now());
    let period = format!("from={}&to={today}", today.plus(-30));
    let rows = |id: &'static str, period: String| {
        let world = &world;
        async move { get(world, id, &format!("/statistics?{period}")).await.ok(200)["rows"].clone() }
    };
    let of_g22 = total(&rows("N-A", period.clone()).await, "G22");
    let wanted = json!({ "sent_documents": 2, "sent_recipients": 3, "sent_urgent": 1, "sent_handed_over": 1, "sent_failed": 0, "recipients_late": 2, "received_documents": 0 });
    check(&of_g22, &wanted);
    let at_b = rows("N-B", period.clone()).await;
    assert!(at_b[0]["agency_name"].as_str().unwrap().starts_with("Cơ quan H26"), "{at_b:#}");
    let wanted = json!({ "received_documents": 2, "received_urgent": 1, "received_handed_over": 1, "received_late": 1, "statuses_sent": 1, "sent_documents": 0 });
    check(&total(&at_b, "H26"), &wanted);
    let before = format!("from={}&to={}", today.plus(-40), today.plus(-35));
    assert_eq!(rows("N-A", before).await, json!([]));
    for bad in ["from=2026-11-01", "from=2026-11-02&to=2026-11-01", "from=2025-01-01&to=2026-11-01", "from=1/1&to=2/1"]
    {
        assert_eq!(get(&world, "N-A", &format!("/statistics?{bad}")).await.problem(400), "invalid-request", "{bad}");
    }

    // What left memory counts like what did not.
    let states = || async {
        let sent = get(&world, "N-A", "/outbox?with_final=true").await.ok(200);
        let of = |item: &Value| item["recipients"].as_array().unwrap().iter().map(|r| r["state"].clone()).collect();
        sent["items"].as_array().unwrap().iter().flat_map(|item| -> Vec<Value> { of(item) }).collect::<Vec<_>>()
    };
    let settled = |states: &Vec<Value>| states.iter().all(|state| *state == "consigned" || *state == "handed-over");
    until("the sender knows that everybody has it", states, settled).await;
    world.until_all_is_told("N-A").await;
    world.stop_node("N-A").await;
    world.close_settled("N-A").await;
    world.start_node("N-A").await;
    let again = || async {
        let found = get(&world, "N-A", &format!("/statistics?{period}")).await;
        if found.status == 200 { total(&found.json()["rows"], "G22") } else { Value::Null }
    };
    until("the index has them", again, |found| *found == of_g22).await;
    // And over gRPC, row by row.
    let (from, to) = (today.plus(-30).to_string(), today.to_string());
    let request = node_v1::StatisticsRequest { from, to, code: "G22".into() };
    let mut stream = world.client("N-A").await.statistics(world.ask("N-A", request)).await.unwrap().into_inner();
    let mut late = 0;
    while let Some(row) = stream.message().await.unwrap() {
        late += row.recipients_late;
    }
    assert_eq!(late, 2);

    // Foreign programs read the tables.
    let folder = tempfile::tempdir().unwrap();
    let file = |format: &str| folder.path().join(format!("table.{format}"));
    for format in ["csv", "xlsx"] {
        let answer = get(&world, "N-B", &format!("/statistics?{period}&format={format}")).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-disposition").unwrap().contains(&format!(".{format}\"")));
        std::fs::write(file(format), &answer.body).unwrap();
    }
    let script = "import csv,json,sys; print(json.dumps(list(csv.DictReader(open(sys.argv[1], encoding='utf-8-sig', newline=''), strict=True))))";
    let Some(by_csv) = rows_by(script, "csv", &file("csv")) else { return };
    let of_h26 = by_csv.as_array().unwrap().iter().filter(|row| row["Mã cơ quan"] == "H26");
    let came: u64 = of_h26.map(|row| row["Văn bản đến"].as_str().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(came, 2, "{by_csv:#}");
    assert!(by_csv[0]["Ngày"].as_str().unwrap().parse::<Day>().is_ok());
    let script = "import json,sys,openpyxl; b=openpyxl.load_workbook(sys.argv[1]); print(json.dumps([[[c.value for c in r] for r in s.iter_rows()] for s in b]))";
    let Some(sheets) = rows_by(script, "openpyxl", &file("xlsx")) else { return };
    // The second sheet adds up by agency.
    let column = |name: &str| sheets[1][0].as_array().unwrap().iter().position(|head| head == name).unwrap();
    assert_eq!((&sheets[1][1][0], &sheets[1][2][0]), (&json!("H26"), &json!("H37")), "{sheets:#}");
    assert_eq!((&sheets[1][1][column("Văn bản đến")], &sheets[1][1][column("Tiếp nhận chậm")]), (&json!(2), &json!(1)));
}

/// All rows of an agency together: a test may run over midnight.
fn total(rows: &Value, code: &str) -> Value {
    let mut sums = serde_json::Map::new();
    for row in rows.as_array().unwrap().iter().filter(|row| row["code"] == code) {
        for (name, value) in row.as_object().unwrap() {
            if let Some(number) = value.as_u64() {
                let before = sums.get(name).and_then(Value::as_u64).unwrap_or_default();
                sums.insert(name.clone(), json!(before + number));
            }
        }
    }
    Value::Object(sums)
}

#[track_caller]
fn check(found: &Value, wanted: &Value) {
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&found[name], value, "{name}: {found:#}");
    }
}
