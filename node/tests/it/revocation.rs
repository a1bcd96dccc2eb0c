//! Revocation that a node finds out by itself, or is brought: from responders that answer, are silent, or name somebody revoked, and from list files.

use std::{
    collections::BTreeSet,
    process::{Command, Output},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio_stream::StreamExt as _;
use truc_certs_dev::{
    KeyFiles, Responder, RevocationReason,
    ocsp::{OcspServer, Status},
    server::{Answer, DevServer},
};
use truc_link::{RevocationSettings, endpoint::Endpoint, revocation::ResponderOf};
use truc_node::shell::clock::now;
use truc_proto::{
    AdminAction,
    node_v1::{self, send_reply::State},
};
use truc_signer::Certificate;

use crate::{
    administration::log,
    flows::status,
    world::{Client, World, document, until},
};

const HOUR: Duration = Duration::from_secs(3_600);

fn certificate(files: &KeyFiles) -> Certificate {
    Certificate::from_pem(&std::fs::read(&files.certificate).unwrap()).unwrap().remove(0)
}

/// Serial numbers that the responder calls revoked; of the others it says that they are good.
#[derive(Clone, Default)]
struct Revoked(Arc<Mutex<BTreeSet<Vec<u8>>>>);

impl Revoked {
    fn add(&self, files: &KeyFiles) {
        self.0.lock().unwrap().insert(certificate(files).serial().to_vec());
    }

    fn serve(&self, world: &World) -> OcspServer {
        let responder = Responder::load(&world.tree.files("services/ocsp")).unwrap();
        let revoked = self.clone();
        let status = move |serial: &[u8]| {
            let revoked = revoked.0.lock().unwrap().contains(serial);
            if revoked { Status::Revoked(now().before(HOUR), RevocationReason::KeyCompromise) } else { Status::Good }
        };
        OcspServer::start(move |request| Answer::Reply(responder.reply(request, now(), &status).unwrap())).unwrap()
    }
}

/// The node asks this one about what the sub-CA issued, and has no list of it.
fn asks(world: &mut World, id: &str, server: &OcspServer, budget: Duration) {
    let sub = std::fs::read(world.tree.intermediates()).unwrap();
    let issuer = Certificate::from_pem(&sub).unwrap()[0].subject().to_owned();
    let endpoint = Endpoint::clear_too(&server.url()).unwrap();
    world.set(id, |settings| {
        settings.trust.crls.truncate(1);
        settings.revocation = Some(RevocationSettings {
            ocsp: true,
            require_nonce: true,
            responders: vec![ResponderOf { issuer, endpoint }],
            lists: Vec::new(),
            allowed: Vec::new(),
            budget,
            anchors: None,
        });
    });
}

/// Sends from N-B to G22 of N-A, and waits until that is settled.
async fn sent(world: &World, from: &str, key: &str) -> String {
    let mut client = world.client("N-B").await;
    until("the directory is there", || status(world, "N-B"), |s| s.directory_version == 1).await;
    let parts = document(key, from, &["G22"], "Công văn", &[]);
    let reply = client.send(world.ask("N-B", tokio_stream::iter(parts))).await.unwrap().into_inner();
    assert_eq!(reply.state, i32::from(State::Accepted), "{reply:#?}");
    let outbox = || async {
        let request = node_v1::ListOutboxRequest { envelope: reply.envelope.clone(), ..Default::default() };
        let found = client.clone().list_outbox(world.ask("N-B", request)).await.unwrap().into_inner();
        found.items[0].recipients[0].state.clone()
    };
    until("it is settled", outbox, |state| ["consigned", "failed", "rejected"].contains(&state.as_str())).await
}

async fn verdicts(world: &World, client: &Client) -> Vec<(String, String)> {
    let request = node_v1::ListInboxRequest::default();
    let items = client.clone().list_inbox(world.ask("N-A", request)).await.unwrap().into_inner().items;
    items.into_iter().map(|item| (item.sender, item.verdict)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_a_responder_clears_is_good_whom_it_names_is_refused_and_a_silent_one_stops_no_mail() {
    let mut world = World::start().await;
    let revoked = Revoked::default();
    revoked.add(&world.tree.agency("H37", "service"));
    let server = revoked.serve(&world);
    world.stop_node("N-A").await;
    asks(&mut world, "N-A", &server, Duration::from_secs(60));
    world.start_node("N-A").await;
    assert_eq!(sent(&world, "H26", "good").await, "consigned");
    let a = world.client("N-A").await;
    assert_eq!(verdicts(&world, &a).await, [("H26".to_owned(), "good".to_owned())]);
    let listed = a.clone().list_inbox(world.ask("N-A", node_v1::ListInboxRequest::default())).await.unwrap();
    let item = listed.into_inner().items.remove(0);
    assert!(item.verdict_text.contains("by OCSP answer"), "what it rests on is kept: {}", item.verdict_text);
    // Whoever gets the evidence gets the answer with it.
    let request = node_v1::ExportBundleRequest { envelope: item.envelope, ..Default::default() };
    let mut parts = a.clone().export_bundle(world.ask("N-A", request)).await.unwrap().into_inner();
    let mut bundle = Vec::new();
    while let Some(part) = parts.next().await {
        bundle.extend_from_slice(&part.unwrap().data);
    }
    let signer = certificate(&world.tree.agency("H26", "service")).sha256();
    let name = format!("revocation/{signer}.ocsp");
    let place = |name: &str| bundle.windows(name.len()).position(|window| window == name.as_bytes());
    let (answer, report) = (place(&name), place("report.pdf"));
    assert!(answer.is_some() && answer < report, "{name} stands among the receipts, for which it counts");
    assert_eq!(sent(&world, "H37", "revoked").await, "failed");
    assert_eq!(verdicts(&world, &a).await.len(), 1, "what a revoked certificate signed is shown to nobody");

    // Nobody answers: the mail goes on, and its verdict is unknown.
    world.stop_node("N-A").await;
    let silent = OcspServer::start(|_| Answer::Silence).unwrap();
    asks(&mut world, "N-A", &silent, Duration::from_millis(50));
    std::fs::remove_dir_all(world.settings("N-A").revocations()).unwrap();
    world.start_node("N-A").await;
    assert_eq!(sent(&world, "H26", "unknown").await, "consigned");
    let a = world.client("N-A").await;
    let seen = verdicts(&world, &a).await;
    assert!(seen.contains(&("H26".to_owned(), "unknown".to_owned())), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_a_responder_names_is_left_though_no_list_names_it() {
    let mut world = World::start().await;
    let revoked = Revoked::default();
    revoked.add(&world.tree.relay("tls"));
    let server = revoked.serve(&world);
    world.stop_node("N-A").await;
    asks(&mut world, "N-A", &server, Duration::from_secs(60));
    world.start_node("N-A").await;
    let told = |s: &node_v1::StatusReply| s.relay_state.contains("certificate is revoked");
    until("the relay is refused", || status(&world, "N-A"), told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_the_relay_fetches_closes_the_connection_of_whom_it_names() {
    let mut world = World::start().await;
    let connected = |s: &node_v1::StatusReply| s.relay_state.contains("connected to R1");
    until("it is connected", || status(&world, "N-A"), connected).await;
    let revoked = certificate(&world.tree.node("N-A", "tls"));
    let list = world.tree.sub_list(&[(revoked.serial(), now().before(HOUR))], now(), now() + HOUR).unwrap();
    let server = DevServer::start("application/pkix-crl", move |_| Answer::Reply(list.clone())).unwrap();
    world.stop_relay().await;
    let file = world.node_folder("relay").join("truc-relay.toml");
    let section = format!("\n[revocation]\nlists = [\"{}\"]\n", server.url("/sub.crl"));
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + &section).unwrap();
    world.start_relay().await;
    let told = |s: &node_v1::StatusReply| s.relay_state.contains("holds our TLS certificate for revoked");
    until("it is shut out", || status(&world, "N-A"), told).await;
    until("the other is not", || status(&world, "N-B"), connected).await;
}

fn truc_node(world: &World, id: &str, arguments: &[&str]) -> Output {
    let dir = world.node_folder(id);
    Command::new(env!("CARGO_BIN_EXE_truc-node"))
        .arg("crl")
        .arg("--dir")
        .arg(dir)
        .args(arguments)
        .args(["--why", "bản mới của CA", "--who", "lan"])
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_brought_in_a_file_to_a_node_that_then_finds_its_own_certificate_on_it() {
    let world = World::start().await;
    let own = certificate(&world.tree.node("N-A", "node"));
    let list = world.node_folder("N-A").join("new.crl");
    let path = list.to_str().unwrap();
    let put = |revoked: &[(&[u8], truc_proto::Timestamp)], from| {
        std::fs::write(&list, world.tree.sub_list(revoked, from, now() + HOUR).unwrap()).unwrap();
    };
    put(&[(own.serial(), now().before(HOUR))], now());
    let done = truc_node(&world, "N-A", &["import", path]);
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 revoked") && said.contains("đã nhận"), "{done:?}");
    let again = truc_node(&world, "N-A", &["import", path]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("held already"), "{again:?}");
    let written = until("it is in the ledger", || log(&world, "N-A"), |log| !log.is_empty()).await;
    let deeds: Vec<_> = written.iter().map(|deed| (deed.action, deed.subject.name.as_str())).collect();
    assert_eq!(deeds, [(AdminAction::RevocationListImported, "new.crl")]);
    world.reload("N-A");
    let told = |s: &node_v1::StatusReply| {
        s.alarms.iter().any(|alarm| alarm.contains("own certificates are revoked") && alarm.contains("keyCompromise"))
    };
    until("it is told", || status(&world, "N-A"), told).await;

    put(&[], now().before(HOUR));
    let older = truc_node(&world, "N-A", &["import", path]);
    let said = String::from_utf8_lossy(&older.stderr);
    assert!(!older.status.success() && said.contains("older than the one held"), "{older:?}");
    std::fs::write(&list, "<html>").unwrap();
    assert!(!truc_node(&world, "N-A", &["import", path]).status.success());
}
