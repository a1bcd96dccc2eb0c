//! Webhooks as a document system meets them: signed messages, in order, until they are taken.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    http::request,
    rest::{get, letter, post_json, send},
    tools::python,
    world::{World, until},
};

/// One delivery as it came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Came {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A document system's door: keeps what comes, and answers what it is told to.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
    answer: Arc<Mutex<&'static str>>,
}

impl Receiver {
    pub(crate) async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            came: Arc::default(),
            answer: Arc::new(Mutex::new(answer)),
        };
        let inner = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(inner.clone().take(stream));
            }
        });
        receiver
    }

    /// Takes one delivery; whoever hangs up before everything is said, as a node that stops, has said nothing.
    async fn take(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        while !whole(&bytes) {
            if !stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                return;
            }
        }
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned())).collect();
        self.came.lock().unwrap().push(Came { headers, body: body.to_owned() });
        let answer = *self.answer.lock().unwrap();
        let _ = stream.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks/truc", self.address)
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    fn say(&self, answer: &'static str) {
        *self.answer.lock().unwrap() = answer;
    }
}

fn whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// Both nodes may call the receiver.
async fn world(receiver: &Receiver) -> World {
    let mut world = World::start().await;
    for id in ["N-A", "N-B"] {
        world.stop_node(id).await;
        world.allow_webhooks(id, &format!("http://{}/hooks", receiver.address));
        world.start_node(id).await;
    }
    world
}

async fn register(world: &World, id: &str, hook: &Value) -> Value {
    post_json(world, id, "/webhooks", &[], hook).await.ok(201)
}

async fn shown(world: &World, id: &str) -> Value {
    get(world, id, "/webhooks").await.ok(200)["items"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_are_told_what_happens_signed_and_in_order() {
    let receiver = Receiver::start("200 OK").await;
    let world = world(&receiver).await;
    let hook = json!({ "url": receiver.url(), "events": ["document.received"], "codes": ["H26"] });
    let of_b = register(&world, "N-B", &hook).await;
    assert!(of_b["secret"].as_str().unwrap().starts_with("whsec_"));
    register(&world, "N-A", &json!({ "url": receiver.url() })).await;
    let ping = format!("/webhooks/{}/ping", of_b["webhook"]["id"].as_str().unwrap());
    assert_eq!(post_json(&world, "N-B", &ping, &[], &json!({})).await.ok(200), json!({ "taken": true }));
    assert_eq!(receiver.came()[0].json()["type"], "ping");

    let sent = send(&world, "one", &letter(&["H26", "H37"]), &[]).await.ok(201);
    let of = |kind: &'static str| {
        let receiver = receiver.clone();
        move || {
            std::future::ready(
                receiver.came().into_iter().filter(|came| came.json()["type"] == kind).collect::<Vec<_>>(),
            )
        }
    };
    let arrived = until("N-B is told", of("document.received"), |came| !came.is_empty()).await;
    let data = &arrived[0].json()["data"];
    assert_eq!(
        (&data["envelope"], &data["sender"], &data["recipient"]),
        (&sent["envelope"], &json!("G22"), &json!("H26"))
    );
    assert!(!arrived[0].body.contains("chuyển đổi số"), "no content");

    let path = format!("/documents/{}/statuses", sent["envelope"].as_str().unwrap());
    let status = json!({ "from": "H26", "code": "03" });
    post_json(&world, "N-B", &path, &[("idempotency-key", "s")], &status).await.ok(201);
    let told = until("N-A is told of the status", of("status.received"), |came| !came.is_empty()).await;
    let data = &told[0].json()["data"];
    assert_eq!((&data["document"], &data["code"], &data["sender"]), (&sent["envelope"], &json!("03"), &json!("H26")));
    let events = |came: &[Came]| -> Vec<String> {
        came.iter().map(|came| came.json()["data"]["event"].as_str().unwrap().to_owned()).collect()
    };
    let wanted = |came: &Vec<Came>| events(came).iter().filter(|event| *event == "ContentConsignment").count() == 2;
    let changed = until("N-A is told of the consignments", of("delivery.changed"), wanted).await;
    assert!(
        changed.iter().all(|came| came.json()["data"]["envelope"] == sent["envelope"]),
        "statuses have no news of their own"
    );
    assert_eq!(events(&changed)[0], "RelayAcceptance");
    // The hook for H26 says nothing of H37.
    assert_eq!(of("document.received")().await.len(), 1);
    let ids: std::collections::BTreeSet<_> =
        receiver.came().iter().map(|came| came.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), receiver.came().len(), "each message has an id of its own");

    // A library that knows nothing of this project finds the signature good, and a changed body's bad.
    let Some(python) = python("standardwebhooks") else { return };
    let mut command = Command::new(python);
    command.arg("-c").arg(CHECK).arg(of_b["secret"].as_str().unwrap()).arg(&arrived[0].body);
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        command.arg(arrived[0].header(name));
    }
    let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

const CHECK: &str = r"
import sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
secret, body, id, timestamp, signature = sys.argv[1:]
headers = {'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature}
Webhook(secret).verify(body, headers)
try:
    Webhook(secret).verify(body.replace('H26', 'H27'), headers)
except WebhookVerificationError:
    sys.exit(0)
sys.exit('a changed body was taken')
";

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_away_gets_everything_also_over_a_restart() {
    let receiver = Receiver::start("503 Service Unavailable").await;
    let mut world = world(&receiver).await;
    let hook = json!({ "url": receiver.url(), "events": ["document.received"] });
    let id = register(&world, "N-B", &hook).await["webhook"]["id"].as_str().unwrap().to_owned();
    let mut sent = Vec::new();
    for n in 0..3 {
        sent.push(send(&world, &format!("d{n}"), &letter(&["H26"]), &[]).await.ok(201)["envelope"].clone());
    }
    let failing = || shown(&world, "N-B");
    let item = until("it fails", failing, |item| item["failing_since"].is_string()).await;
    assert!(item["last_error"].as_str().unwrap().contains("503"), "{item:#}");
    until("it is tried again", || std::future::ready(receiver.came()), |came| came.len() > 1).await;
    let first: std::collections::BTreeSet<_> =
        receiver.came().iter().map(|came| came.header("webhook-id").to_owned()).collect();
    assert_eq!(first.len(), 1, "the same message again");

    world.stop_node("N-B").await;
    world.start_node("N-B").await;
    receiver.say("204 No Content");
    assert_eq!(post_json(&world, "N-B", &format!("/webhooks/{id}/resumption"), &[], &json!({})).await.status, 204);
    until("all are delivered", || shown(&world, "N-B"), |item| item["delivered"] == 3).await;
    let taken: Vec<Value> = receiver.came().iter().map(|came| came.json()["data"]["envelope"].clone()).fold(
        Vec::new(),
        |mut seen, envelope| {
            if !seen.contains(&envelope) {
                seen.push(envelope);
            }
            seen
        },
    );
    assert_eq!(taken.len(), 3);
    assert!(sent.iter().all(|envelope| taken.contains(envelope)));
    assert_eq!(shown(&world, "N-B").await["suspended"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_addresses_are_called_and_a_webhook_ends_with_its_token() {
    let receiver = Receiver::start("200 OK").await;
    let world = world(&receiver).await;
    let elsewhere = Receiver::start("200 OK").await;
    for (url, problem, status) in [
        (elsewhere.url(), "not-entitled", 403),
        (format!("http://{}/other", receiver.address), "not-entitled", 403),
        (format!("http://{}/hooks/../other", receiver.address), "invalid-request", 400),
        ("http://10.1.2.3/hooks".to_owned(), "invalid-request", 400),
        ("file:///etc/passwd".to_owned(), "invalid-request", 400),
    ] {
        let answer = post_json(&world, "N-B", "/webhooks", &[], &json!({ "url": url })).await;
        assert_eq!(answer.problem(status), problem, "{url}");
    }
    let foreign = json!({ "url": receiver.url(), "events": ["anything"] });
    assert_eq!(post_json(&world, "N-B", "/webhooks", &[], &foreign).await.problem(400), "invalid-request");

    let tokens = world.node_folder("N-B").join("keys/tokens");
    let now = "2026-11-22T00:00:00Z".parse().unwrap();
    let other = truc_node::tokens::add_token(
        &tokens,
        "other",
        truc_proto::CallerRole::Officer,
        Default::default(),
        Default::default(),
        now,
    )
    .unwrap();
    let bearer = format!("Bearer {}", other.expose());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({ "url": receiver.url() }).to_string();
    let made = request(world.rest("N-B"), "POST", "/api/v1/webhooks", &headers, body.as_bytes()).await.ok(201);
    let id = made["webhook"]["id"].as_str().unwrap();
    for (method, path) in
        [("DELETE", format!("/api/v1/webhooks/{id}")), ("POST", format!("/api/v1/webhooks/{id}/ping"))]
    {
        let bearer = format!("Bearer {}", world.token("N-B"));
        let answer = request(world.rest("N-B"), method, &path, &[("authorization", &bearer)], b"").await;
        assert_eq!(answer.problem(404), "not-found", "another token's");
    }
    let list = || async { request(world.rest("N-B"), "GET", "/api/v1/webhooks", &headers[..1], b"").await.ok(200) };
    assert_eq!(list().await["items"].as_array().unwrap().len(), 1);

    truc_node::tokens::revoke_token(&tokens, "other").unwrap();
    let hook = register(&world, "N-B", &json!({ "url": receiver.url() })).await;
    let sent = send(&world, "after", &letter(&["H26"]), &[]).await.ok(201);
    let told = || std::future::ready(receiver.came());
    let came = until("the other webhook is told", told, |came| !came.is_empty()).await;
    assert!(came.iter().all(|came| came.header("webhook-id").starts_with(hook["webhook"]["id"].as_str().unwrap())));
    assert_eq!(came[0].json()["data"]["envelope"], sent["envelope"]);
    let kept = || async { std::fs::read_to_string(world.node_folder("N-B").join("webhooks.toml")).unwrap() };
    until("the webhook is gone with its token", kept, |text| !text.contains("other")).await;
    let path = format!("/api/v1/webhooks/{}", hook["webhook"]["id"].as_str().unwrap());
    let bearer = format!("Bearer {}", world.token("N-B"));
    let removed = request(world.rest("N-B"), "DELETE", &path, &[("authorization", &bearer)], b"").await;
    assert_eq!(removed.status, 204);
    assert_eq!(get(&world, "N-B", "/webhooks").await.ok(200)["items"], json!([]));
}
