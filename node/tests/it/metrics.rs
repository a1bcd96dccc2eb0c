//! Figures for monitoring, over sockets, read by the parser of Prometheus' own client library.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use truc_certs_dev::{
    HeldPort, Tsa, now,
    tsa::{Answer, TsaServer},
};
use truc_link::StampServer;
use truc_node::settings::StampSettings;

use crate::{
    http::request,
    rest::{get, letter, send},
    tools::python,
    world::{World, until},
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
    let mut world = World::start().await;
    let port = HeldPort::take().unwrap();
    let free = port.address().unwrap();
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
    // As `truc status` says it.
    let notice = get(&world, "N-B", "/status").await.ok(200)["duties_notice"].clone();
    let known = notice.as_str().is_none_or(str::is_empty);
    assert_eq!(value(&samples, "truc_node_calendar_known", &[]), f64::from(u8::from(known)));
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

/// An authority with the tree's certificate that can be taken away: then it answers 503.
fn authority(world: &World, away: &Arc<AtomicBool>) -> TsaServer {
    let tsa = Tsa::load(&world.tree.files("services/tsa")).unwrap();
    let is_away = Arc::clone(away);
    let answer = move |request: &[u8]| match is_away.load(Ordering::SeqCst) {
        true => Answer::Status(503),
        false => Answer::Reply(tsa.answer(request, now()).unwrap()),
    };
    TsaServer::start(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn monitoring_reads_which_authorities_stamp_and_which_witnesses_answer() {
    let mut world = World::start().await;
    let port = HeldPort::take().unwrap();
    let free = port.address().unwrap();
    let away = Arc::new(AtomicBool::new(false));
    let (broken, honest) = (TsaServer::start(|_| Answer::Status(500)).unwrap(), authority(&world, &away));
    let servers: Vec<StampServer> =
        [format!("{}?key=secret", broken.url()), honest.url()].iter().map(|url| url.parse().unwrap()).collect();
    world.relay_metrics(free);
    let of_relay = servers.clone();
    let every = Duration::from_secs(1);
    world.relay_stamps(truc_relay::StampSettings { servers: of_relay, every, anchors: None });
    world.stop_relay().await;
    world.start_relay().await;
    world.stop_node("N-A").await;
    world.set("N-A", move |settings| settings.time_stamps = Some(StampSettings { servers, every, anchors: None }));
    world.start_node("N-A").await;
    let (relay, node) = (free, world.metrics("N-A"));
    if parsed("").is_none() {
        return;
    }
    let sent = AtomicUsize::new(0);
    let (refusing, stamping) = (broken.url(), honest.url());
    for (address, prefix, witnesses) in [(node, "truc_node", 1.0), (relay, "truc_relay", 2.0)] {
        let name = |rest: &str| format!("{prefix}_{rest}");
        let stamped = |samples: &Value| {
            has(samples, &name("checkpoint_cosignatures"), |value| value >= 1.0)
                && value(samples, &name("checkpoints_signed_total"), &[("time_stamp", "stamped")]) >= 1.0
                && value(samples, &name("time_stamp_missing"), &[]) == 0.0
                && value(samples, &name("witnesses"), &[("state", "answering")]) == witnesses
        };
        let samples = until("it is stamped and cosigned", || after_another(&world, &sent, address), stamped).await;
        assert_eq!(value(&samples, &name("checkpoints_signed_total"), &[("time_stamp", "not-asked")]), 0.0);
        let success = name("time_stamp_success_time_seconds");
        assert!(value(&samples, &success, &[("server", &stamping)]) > 1_700_000_000.0);
        assert!(!samples.to_string().contains("secret"), "{samples:#}");
        let servers = samples.as_array().unwrap().iter().filter(|sample| sample[0] == *success).count();
        assert_eq!(servers, 1, "the other one never gave any");
        assert!(value(&samples, &name("time_stamp_failures_total"), &[("server", &refusing)]) >= 1.0);
        // Only on a busy machine does its answer come too late for a checkpoint.
        let late = value(&samples, &name("time_stamp_failures_total"), &[("server", &stamping)]);
        assert!(late <= value(&samples, &name("checkpoints_signed_total"), &[("time_stamp", "missing")]));
        assert_eq!(value(&samples, &name("witnesses"), &[("state", "silent")]), 0.0);
    }

    away.store(true, Ordering::SeqCst);
    for (address, prefix) in [(node, "truc_node"), (relay, "truc_relay")] {
        let name = |rest: &str| format!("{prefix}_{rest}");
        let missing = |samples: &Value| value(samples, &name("time_stamp_missing"), &[]) == 1.0;
        let samples = until("the lack is said", || after_another(&world, &sent, address), missing).await;
        assert!(value(&samples, &name("checkpoints_signed_total"), &[("time_stamp", "missing")]) >= 1.0);
        assert!(value(&samples, &name("time_stamp_failures_total"), &[("server", &stamping)]) >= 1.0);
    }
    let samples = figures(node).await;
    assert_eq!(value(&samples, "truc_node_alarms", &[("kind", "time-stamps")]), 1.0);
    let alarms = get(&world, "N-A", "/status").await.ok(200)["alarms"].clone();
    assert!(alarms.to_string().contains("time-stamps"), "{alarms}");

    // A node that is gone is a witness that is away.
    world.stop_node("N-B").await;
    let one_each = |samples: &Value| {
        ["away", "answering"].iter().all(|state| value(samples, "truc_relay_witnesses", &[("state", state)]) == 1.0)
    };
    until("the relay says so, and that the other is there", || after_another(&world, &sent, relay), one_each).await;
}

/// A checkpoint is signed when there is something new: the figures behind another document.
async fn after_another(world: &World, sent: &AtomicUsize, address: SocketAddr) -> Value {
    let number = sent.fetch_add(1, Ordering::SeqCst).to_string();
    send(world, &number, &letter(&["H26"]), &[("a.txt", b"abc")]).await.ok(201);
    figures(address).await
}

async fn figures(address: SocketAddr) -> Value {
    let read = request(address, "GET", "/metrics", &[], b"").await;
    parsed(&String::from_utf8(read.body).unwrap()).unwrap()
}

/// Whether there is a sample of this name whose value is as wanted.
fn has(samples: &Value, name: &str, wanted: impl Fn(f64) -> bool) -> bool {
    let mut named = samples.as_array().unwrap().iter().filter(|sample| sample[0] == name);
    named.any(|sample| wanted(sample[2].as_f64().unwrap()))
}
