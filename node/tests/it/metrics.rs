//! Figures for monitoring, over sockets, read by the parser of Prometheus' own client library.

use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::net::TcpListener;

use crate::{
    http::request,
    rest::{get, letter, send, started},
    tools::python,
    world::until,
};

/// Every sample with its labels, as the foreign parser reads them; none: it is not there.
fn parsed(text: &str) -> Option<Value> {
    let script = "import json,sys\nfrom prometheus_client.parser import text_string_to_metric_families as families\nprint(json.dumps([[s.name, dict(s.labels), s.value] for f in families(sys.stdin.read()) for s in f.samples]))";
    let mut python = Command::new(python("prometheus_client")?);
    let mut child = python.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let ran = child.wait_with_output().unwrap();
    assert!(ran.status.success(), "{text}");
    Some(serde_json::from_slice(&ran.stdout).unwrap())
}

/// The value of one sample.
fn value(samples: &Value, name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Value| sample[0] == name && labels.iter().all(|(label, value)| sample[1][label] == *value);
    let mut found = samples.as_array().unwrap().iter().filter(fits);
    let one = found.next();
    assert!(one.is_some(), "no {name} {labels:?}: {samples:#}");
    let one = one.unwrap()[2].as_f64().unwrap();
    assert!(found.next().is_none(), "{name} stands once");
    one
}

#[tokio::test(flavor = "multi_thread")]
async fn monitoring_reads_how_node_and_relay_are_and_nothing_of_documents() {
    let mut world = started().await;
    // A free port, as `port 0` gave it.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    world.relay_metrics(free);
    world.stop_relay().await;
    world.start_relay().await;
    send(&world, "one", &letter(&["H26"]), &[("a.txt", b"abc")]).await.ok(201);
    let waiting = || async { get(&world, "N-B", "/counters?code=H26").await.ok(200)["whole"]["waiting"].clone() };
    until("it came", waiting, |waiting| *waiting == 1).await;
    let read = |address| async move { request(address, "GET", "/metrics", &[], b"").await };
    let of_node = read(world.metrics("N-B")).await;
    assert_eq!(of_node.status, 200);
    assert!(of_node.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(of_node.body).unwrap();
    assert!(!text.contains("chuyển đổi số") && !text.contains("G22"), "codes of this node alone: {text}");
    let Some(samples) = parsed(&text) else { return };
    assert_eq!(value(&samples, "truc_node_counted", &[("code", "H26"), ("counter", "waiting")]), 1.0);
    assert_eq!(value(&samples, "truc_node_counted", &[("code", "H37"), ("counter", "late")]), 0.0);
    assert_eq!(value(&samples, "truc_node_open_envelopes", &[("box", "received")]), 1.0);
    assert_eq!(value(&samples, "truc_node_relay_connected", &[]), 1.0);
    assert_eq!(value(&samples, "truc_node_alarms", &[("kind", "fork")]), 0.0);
    assert!(value(&samples, "truc_node_ledger_leaves", &[]) >= 2.0);

    // The relay signs when somebody waits for it; then both say so.
    let signed = || async {
        let text = String::from_utf8(read(free).await.body).unwrap();
        let samples = parsed(&text).unwrap();
        (value(&samples, "truc_relay_connected_nodes", &[]), value(&samples, "truc_relay_signed_leaves", &[]), samples)
    };
    let (.., samples) =
        until("both nodes are there and it has signed", signed, |(nodes, signed, _)| *nodes == 2.0 && *signed > 0.0)
            .await;
    assert!(value(&samples, "truc_relay_ledger_leaves", &[]) >= value(&samples, "truc_relay_signed_leaves", &[]));
    assert_eq!(value(&samples, "truc_relay_silenced", &[]), 0.0);
    assert_eq!(value(&samples, "truc_relay_directory_version", &[]), 1.0);
    assert_eq!(read(world.rest("N-B")).await.status, 404, "nowhere else");
}
