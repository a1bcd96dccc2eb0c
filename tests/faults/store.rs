//! Stores in trouble: full, taken by another process, or put back from an old copy.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use tonic::Code;
use truc_tests::{
    child::Process,
    network::{Network, client::Document},
    wait::{PATIENCE, until_async},
};

use crate::{
    disk::CutDisk,
    mail::{RECIPIENT, SENDER, layout},
};

/// A file that leaves a disk no room for new work.
struct Filler(PathBuf);

impl Filler {
    /// Fills `folder`'s disk up to `left` bytes.
    fn fill(folder: &Path, left: u64) -> Self {
        let stat = rustix::fs::statvfs(folder).unwrap();
        let bytes = (stat.f_bavail * stat.f_frsize).saturating_sub(left);
        let path = folder.join("filler");
        let mut file = File::create(&path).unwrap();
        let mut rest = std::io::repeat(0xa5).take(bytes);
        match std::io::copy(&mut rest, &mut file) {
            // The file itself takes room for its extents.
            Err(error) if left == 0 && error.kind() == std::io::ErrorKind::StorageFull => {}
            other => _ = other.unwrap(),
        }
        file.sync_all().unwrap();
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn letter(key: &str) -> Document {
    Document::new(&key.replace(' ', "-"), "G22", &["H26"], 3_000)
}

async fn sent(network: &Network, key: &str) -> String {
    network.client("G22").send(&letter(key)).await.unwrap_or_else(|status| panic!("{key}: {status}")).envelope
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_new_work_and_still_takes_receipts() {
    let (Some(relay_disk), Some(sender_disk)) = (CutDisk::make(128), CutDisk::make(128)) else { return };
    let mut layout = layout();
    layout.relay = relay_disk.path().join("relay");
    layout.node_mut(SENDER).folder = sender_disk.path().join("node");
    let network = Network::start(layout).await;
    let first = sent(&network, "before").await;
    network.wait_consigned("G22", &first).await;

    // The sender's disk: its new work is refused, evidence of the old goes on arriving, receipts become final.
    let filler = Filler::fill(&sender_disk.path(), 8 << 20);
    let refusal = network.client("G22").send(&letter("too much")).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
    assert!(network.client("H26").confirm(&first, "H26").await.unwrap().first);
    let handed_over = |item: &truc_proto::node_v1::OutboxItem| {
        item.recipients.iter().all(|r| r.state == "handed-over" && r.ladder.iter().all(|step| step.r#final))
    };
    network.wait_sent("final receipts on a full disk", "G22", &first, handed_over).await;
    drop(filler);
    let second = sent(&network, "after").await;
    network.wait_consigned("G22", &second).await;

    // The relay's disk: what is sent meanwhile waits at the sender and goes when there is room.
    let filler = Filler::fill(&relay_disk.path(), 8 << 20);
    let waiting = sent(&network, "waits").await;
    let tried = |item: &truc_proto::node_v1::OutboxItem| !item.last_error.is_empty();
    let item = network.wait_sent("the relay to say that it is full", "G22", &waiting, tried).await;
    assert_eq!(item.state, "sending", "{item:?}");
    assert!(network.client("H26").confirm(&second, "H26").await.unwrap().first);
    network.wait_sent("evidence through a full relay", "G22", &second, handed_over).await;
    drop(filler);
    network.wait_consigned("G22", &waiting).await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_without_any_room_takes_the_document_when_there_is_some() {
    let Some(disk) = CutDisk::make(128) else { return };
    let mut layout = layout();
    layout.node_mut(RECIPIENT).folder = disk.path().join("node");
    let network = Network::start(layout).await;
    let filler = Filler::fill(&disk.path(), 0);
    // Too large to stand in the journal: its payload is a file.
    let large = Document::new("large", "G22", &["H26"], 400_000);
    let envelope = network.client("G22").send(&large).await.unwrap().envelope;
    network.wait_sent("the relay to have it", "G22", &envelope, |item| item.state == "relayed").await;
    until_async("the recipient's node to say that its disk is full", || async {
        let log = network.log(RECIPIENT);
        if log.contains("No space left") || log.contains("disk is full") { Ok(()) } else { Err(log) }
    })
    .await;
    drop(filler);
    network.wait_consigned("G22", &envelope).await;
    assert_eq!(network.client("H26").attachment(&envelope, "H26", "large.pdf").await.unwrap(), large.file);
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_a_store_ends_and_says_why() {
    let network = Network::start(layout()).await;
    let second = [
        (env!("CARGO_BIN_EXE_relay-process"), network.relay_folder().to_owned()),
        (env!("CARGO_BIN_EXE_node-process"), network.node_folder(SENDER).to_owned()),
    ];
    for (program, folder) in second {
        let mut process = Process::start(Command::new(program).arg(&folder));
        let status = process.wait(PATIENCE);
        assert!(!status.success(), "two processes on {}", folder.display());
        until_said(&process, "another process is using the store").await;
    }
    // The first ones do not mind.
    let envelope = sent(&network, "undisturbed").await;
    network.wait_consigned("G22", &envelope).await;
    network.stop().await;
}

async fn until_said(process: &Process, words: &str) {
    until_async(words, || async {
        let said = process.stderr();
        if said.contains(words) { Ok(()) } else { Err(said) }
    })
    .await;
}

/// Copies a folder as a backup does.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Puts an old copy of `folder`'s store in its place.
fn put_back(folder: &Path, old: &Path) {
    std::fs::remove_dir_all(folder.join("store")).unwrap();
    copy(old, &folder.join("store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_from_an_old_copy_learns_it_from_the_relay_and_signs_nothing() {
    let network = Network::start(layout()).await;
    let first = sent(&network, "in the copy").await;
    network.wait_final("G22", &first).await;
    network.stop_node(SENDER).await;
    let old = network.node_folder(SENDER).with_file_name("old-sender");
    copy(&network.node_folder(SENDER).join("store"), &old);
    network.start_node(SENDER);
    network.wait_connected(SENDER).await;
    let second = sent(&network, "after the copy").await;
    network.wait_final("G22", &second).await;
    network.stop_node(SENDER).await;
    put_back(network.node_folder(SENDER), &old);
    network.start_node(SENDER);

    let client = network.client_of(SENDER);
    let status = until_async("the node to see that it is behind", || {
        let mut client = client.clone();
        async move { client.status().await.ok().filter(|status| !status.alarms.is_empty()) }
    })
    .await;
    assert!(!status.connected, "{status:?}");
    // It may take work, but nothing that it signed gets out: nobody ever hears of it.
    let lost = network.client("G22").send(&letter("on the other branch")).await.map(|reply| reply.envelope);
    let inbox = network.client_of(RECIPIENT).inbox("H26", true).await.unwrap();
    assert!(inbox.iter().all(|item| lost.as_ref().map_or(true, |lost| *lost != item.envelope)), "{inbox:?}");
    assert_eq!(inbox.len(), 2, "{inbox:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_from_an_old_copy_is_found_out_and_signs_nothing() {
    let network = Network::start(layout()).await;
    let first = sent(&network, "in the copy").await;
    network.wait_final("G22", &first).await;
    network.stop_relay().await;
    let old = network.relay_folder().with_file_name("old-relay");
    copy(&network.relay_folder().join("store"), &old);
    network.start_relay();
    let second = sent(&network, "after the copy").await;
    network.wait_final("G22", &second).await;
    network.stop_relay().await;
    put_back(network.relay_folder(), &old);
    network.start_relay();

    let third = sent(&network, "to the old relay").await;
    let client = network.client_of(SENDER);
    until_async("a node to refuse the relay's older ledger", || {
        let mut client = client.clone();
        async move {
            client
                .status()
                .await
                .ok()
                .filter(|status| !status.connected && status.relay_state.contains("older copy"))
                .map(|_| ())
        }
    })
    .await;
    let item = network.client("G22").sent(&third).await.unwrap().unwrap();
    assert_eq!(item.state, "sending", "an old relay took work: {item:?}");
    assert!(item.recipients.iter().all(|r| r.ladder.iter().all(|step| step.role == "sender")), "{item:?}");
}
