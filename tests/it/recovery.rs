//! Machines that come back from a backup: they find out from their peers whether they are behind before they sign anything.

use std::path::{Path, PathBuf};

use truc_certs_dev::{KeyKind, Profile, Request, Subject};
use truc_evidence::{BackupFile, BackupHalf, restored};
use truc_proto::{Administrator, CallerRole, Raw};

use crate::support::{Letter, World, api::noise, until, world};

const NODES: [(&str, &[&str]); 2] = [("N-G22", &["G22"]), ("N-H26", &["H26"])];
const ADMINISTRATORS: [&str; 2] = ["admin-1", "admin-2"];

async fn started() -> World {
    let mut world = World::start(&NODES).await;
    for name in ADMINISTRATORS {
        world.issue(name, Request::new(Profile::Sealing, KeyKind::P256, Subject::new(name)));
    }
    world
}

fn certificates(world: &World) -> Vec<PathBuf> {
    ADMINISTRATORS.iter().map(|name| world.file(&format!("{name}.pem"))).collect()
}

fn back_up_node(world: &World, id: &str) -> PathBuf {
    let target = world.folder.path().join(format!("{id}.backup"));
    let settings = truc_node::Settings::load(&world.node_folder(id)).unwrap();
    truc_node::backup::make(&settings, &target, &certificates(world), true, world::now()).unwrap();
    target
}

fn back_up_relay(world: &World) -> PathBuf {
    let target = world.folder.path().join("relay.backup");
    let settings = truc_relay::Settings::load(&world.relay_folder()).unwrap();
    truc_relay::backup::make(&settings, &target, &certificates(world), true, world::now()).unwrap();
    target
}

/// The machine in `folder` is gone, and comes back from its backup.
fn restore(world: &World, backup: &Path, folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
    let file = BackupFile::open(backup).unwrap();
    let half = |name| BackupHalf::open(file.head(), &world.soft_key(name)).unwrap();
    let key = BackupHalf::join(file.head(), &half(ADMINISTRATORS[0]), &half(ADMINISTRATORS[1])).unwrap();
    file.restore(&key, folder, world::now()).unwrap();
    assert!(restored(&folder.join("store")).unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_backed_up_while_it_ran_comes_back_with_its_documents_and_goes_on() {
    let mut world = started().await;
    let first = world
        .api("N-G22")
        .accepted(&Letter::new("first", "G22", &["H26"]).with_file("lớn.bin", noise("first", 300_000)))
        .await;
    world.api("N-H26").until_consigned(&first, "H26").await;
    let backup = back_up_node(&world, "N-H26");
    world.stop_node("N-H26").await;
    let folder = world.node_folder("N-H26");
    restore(&world, &backup, &folder);

    // While the relay is away it says what it is waiting for, and gives no receipt.
    world.stop_relay().await;
    world.serve_node("N-H26").await;
    world.api("N-H26").until_alarm(&["restored from a backup", "khôi phục từ bản sao lưu"]).await;
    let receipts = world.api("N-H26").receipts(&first).await;
    assert!(!receipts.is_empty());
    world.serve_relay().await;
    world.api("N-H26").until_connected().await;
    world.api("N-H26").until_well().await;
    assert!(restored(&folder.join("store")).unwrap().is_none());
    assert_eq!(world.api("N-H26").attachment(&first, "H26", "lớn.bin").await, noise("first", 300_000));
    let second = world.api("N-G22").accepted(&Letter::new("second", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&second, "H26").await;
    world.all_receipts_valid("N-G22", &second, 4).await;
    // It is one history all the way: a restart finds nothing to complain of.
    world.stop_node("N-H26").await;
    world.serve_node("N-H26").await;
    world.api("N-H26").until_connected().await;
    world.api("N-H26").until_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_behind_a_rotation_of_the_storage_key_comes_back_and_opens_what_was_received_before() {
    let mut world = started().await;
    let bytes = noise("old", 300_000);
    let old =
        world.api("N-G22").accepted(&Letter::new("old", "G22", &["H26"]).with_file("lớn.bin", bytes.clone())).await;
    world.api("N-H26").until_consigned(&old, "H26").await;
    world.stop_node("N-H26").await;
    let folder = world.node_folder("N-H26");
    let settings = truc_node::Settings::load(&folder).unwrap();
    let who = Administrator { name: "Trần Thị Bình".into(), role: CallerRole::CipherAdmin };
    let rotated = truc_node::storage_key::rotate(&settings, who, "định kỳ".into(), world::now()).unwrap();
    assert_eq!((rotated.epoch, rotated.kept), (2, 1));
    world.serve_node("N-H26").await;
    world.api("N-H26").until_connected().await;
    let backup = back_up_node(&world, "N-H26");
    world.stop_node("N-H26").await;
    restore(&world, &backup, &folder);
    world.serve_node("N-H26").await;
    world.api("N-H26").until_connected().await;
    assert_eq!(world.api("N-H26").attachment(&old, "H26", "lớn.bin").await, bytes);
    let new = world.api("N-G22").accepted(&Letter::new("new", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&new, "H26").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_restored_from_a_backup_that_is_behind_signs_nothing_and_keeps_what_it_was_shown() {
    let mut world = started().await;
    let backup = back_up_node(&world, "N-G22");
    let lost = world.api("N-G22").accepted(&Letter::new("lost", "G22", &["H26"])).await;
    world.api("N-G22").until_state(&lost, "H26", "consigned").await;
    world.stop_node("N-G22").await;
    let folder = world.node_folder("N-G22");
    restore(&world, &backup, &folder);
    world.serve_node("N-G22").await;
    let api = world.api("N-G22");
    let told = api.until_alarm(&["newer history", "bản sao cũ"]).await;
    assert!(told.contains("RECOVERY.md"), "it says what to do: {told}");
    assert!(!api.status().await.unwrap().connected);
    let note = std::fs::read_to_string(folder.join("store/behind.note")).unwrap();
    assert!(note.starts_with("truc/dev-it/ordinary/N-G22/1\n"), "{note}");
    // Work is taken on, but nothing signed leaves, however often it is started.
    let kept = api.accepted(&Letter::new("kept", "G22", &["H26"])).await;
    world.stop_node("N-G22").await;
    world.serve_node("N-G22").await;
    let api = world.api("N-G22");
    api.until_alarm(&["newer history"]).await;
    let leaf = api.receipts(&kept).await.into_iter().next().unwrap().leaf_hash;
    let refused = api.try_receipt(&leaf, false).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert!(world.api("N-H26").item(&kept, "H26").await.is_none());
    assert!(restored(&folder.join("store")).unwrap().is_some(), "nobody has confirmed it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_behind_goes_on_under_a_new_origin_and_receipts_of_before_stay_valid() {
    let mut world = started().await;
    let first = world.api("N-G22").accepted(&Letter::new("first", "G22", &["H26"])).await;
    world.all_receipts_valid("N-G22", &first, 4).await;
    let backup = back_up_node(&world, "N-G22");
    let lost = world.api("N-G22").accepted(&Letter::new("lost", "G22", &["H26"])).await;
    world.all_receipts_valid("N-H26", &lost, 4).await;
    world.stop_node("N-G22").await;
    let folder = world.node_folder("N-G22");
    restore(&world, &backup, &folder);
    let begin = |without_peer| {
        let settings = truc_node::Settings::load(&folder).unwrap();
        let who = Administrator { name: "Trần Thị Bình".into(), role: CallerRole::CipherAdmin };
        truc_node::recovery::begin(&settings, without_peer, who, "hỏng ổ đĩa".into(), world::now())
    };
    let refused = begin(false).unwrap_err().to_string();
    assert!(refused.contains("no peer has shown"), "nothing says yet that it is behind: {refused}");
    world.serve_node("N-G22").await;
    world.api("N-G22").until_alarm(&["newer history"]).await;
    let running = format!("{:#}", begin(false).unwrap_err());
    assert!(running.contains("must not be running"), "{running}");
    world.stop_node("N-G22").await;

    let begun = begin(false).unwrap();
    assert_eq!(
        (begun.origin.as_str(), begun.known.origin()),
        ("truc/dev-it/ordinary/N-G22/2", "truc/dev-it/ordinary/N-G22/1")
    );
    assert!(begun.known.size > begun.kept, "{begun:?}");
    assert!(!folder.join("store/behind.note").exists() && restored(&folder.join("store")).unwrap().is_none());
    world.serve_node("N-G22").await;
    let waits = world.api("N-G22").until_alarm(&["new origin", "kỳ mới"]).await;
    assert!(waits.contains("binding request"), "it says what to do: {waits}");
    let waiting = world.api("N-G22").accepted(&Letter::new("waiting", "G22", &["H26"])).await;
    assert!(!world.api("N-G22").status().await.unwrap().connected);

    world.bind(Raw::parse(std::fs::read(&begun.binding).unwrap()).unwrap());
    world.publish().await;
    world.api("N-G22").until_connected().await;
    world.api("N-G22").until_well().await;
    world.all_receipts_valid("N-G22", &waiting, 4).await;
    let answer = world.api("N-H26").accepted(&Letter::new("answer", "H26", &["G22"])).await;
    world.all_receipts_valid("N-H26", &answer, 4).await;
    // Both sides' receipts of before, of what the store still has and of what it lost.
    world.all_receipts_valid("N-G22", &first, 4).await;
    world.all_receipts_valid("N-H26", &first, 4).await;
    world.all_receipts_valid("N-H26", &lost, 4).await;
    // What was done, and the last checkpoint known, stands in the new ledger.
    let notes =
        || async { std::fs::read_dir(folder.join("store/administration")).unwrap().next().is_none().then_some(()) };
    until("the note is in the ledger", notes).await;
    world.stop_node("N-G22").await;
    world.serve_node("N-G22").await;
    world.api("N-G22").until_connected().await;
    world.api("N-G22").until_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_relay_waits_for_every_node_and_then_goes_on() {
    let mut world = started().await;
    let first = world.api("N-G22").accepted(&Letter::new("first", "G22", &["H26"])).await;
    world.api("N-G22").until_state(&first, "H26", "consigned").await;
    for node in ["N-G22", "N-H26"] {
        world.stop_node(node).await;
    }
    // Running, with nobody connected.
    let backup = back_up_relay(&world);
    world.stop_relay().await;
    let folder = world.relay_folder();
    restore(&world, &backup, &folder);
    world.serve_relay().await;
    world.serve_node("N-H26").await;
    let api = world.api("N-H26");
    let waits = until("the relay says whom it waits for", || async {
        api.status().await.filter(|status| status.relay_state.contains("restored from a backup"))
    })
    .await;
    assert!(waits.relay_state.contains("N-G22") && !waits.relay_state.contains("N-H26"), "{waits:?}");
    let waiting = api.accepted(&Letter::new("waiting", "H26", &["G22"])).await;
    world.serve_node("N-G22").await;
    for node in ["N-G22", "N-H26"] {
        world.api(node).until_connected().await;
    }
    assert!(restored(&folder.join("store")).unwrap().is_none());
    world.api("N-G22").until_consigned(&waiting, "G22").await;
    world.all_receipts_valid("N-H26", &waiting, 4).await;
    world.stop_relay().await;
    world.serve_relay().await;
    world.api("N-H26").until_connected().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_relay_that_is_behind_never_signs_whoever_calls_first() {
    let mut world = started().await;
    let backup = back_up_relay(&world);
    let lost = world.api("N-G22").accepted(&Letter::new("lost", "G22", &["H26"])).await;
    world.api("N-G22").until_state(&lost, "H26", "consigned").await;
    // What they have seen is what they hold after their next Hello.
    for node in ["N-G22", "N-H26"] {
        world.stop_node(node).await;
        world.serve_node(node).await;
        world.api(node).until_connected().await;
        world.stop_node(node).await;
    }
    world.stop_relay().await;
    let folder = world.relay_folder();
    restore(&world, &backup, &folder);
    world.serve_relay().await;
    for node in ["N-H26", "N-G22"] {
        world.serve_node(node).await;
        let api = world.api(node);
        until("the relay says that it is behind", || async {
            api.status().await.filter(|status| !status.connected && status.relay_state.contains("older copy"))
        })
        .await;
    }
    assert!(restored(&folder.join("store")).unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_behind_goes_on_under_a_new_origin_and_is_handed_again_what_it_lost() {
    let mut world = started().await;
    let first = world.api("N-G22").accepted(&Letter::new("first", "G22", &["H26"])).await;
    world.all_receipts_valid("N-G22", &first, 4).await;
    let backup = back_up_relay(&world);
    world.stop_node("N-H26").await;
    let lost = world.api("N-G22").accepted(&Letter::new("lost", "G22", &["H26"])).await;
    world.api("N-G22").until_state(&lost, "H26", "relayed").await;
    world.stop_node("N-G22").await;
    world.serve_node("N-G22").await;
    world.api("N-G22").until_connected().await;
    world.stop_relay().await;
    let folder = world.relay_folder();
    restore(&world, &backup, &folder);
    let begin = || {
        let settings = truc_relay::Settings::load(&folder).unwrap();
        let who = Administrator { name: "Trần Thị Bình".into(), role: CallerRole::CipherAdmin };
        truc_relay::recovery::begin(&settings, false, who, "hỏng ổ đĩa".into(), world::now())
    };
    let refused = begin().unwrap_err().to_string();
    assert!(refused.contains("no node has shown"), "{refused}");
    world.serve_relay().await;
    until_said(&world, "older copy").await;
    let running = format!("{:#}", begin().unwrap_err());
    assert!(running.contains("must not be running"), "{running}");
    world.stop_relay().await;

    let begun = begin().unwrap();
    assert_eq!(
        (begun.origin.as_str(), begun.known.origin()),
        ("truc/dev-it/ordinary/RELAY/2", "truc/dev-it/ordinary/RELAY/1")
    );
    assert!(begun.known.size > begun.kept, "{begun:?}");
    world.serve_relay().await;
    until_said(&world, "new origin").await;
    world.serve_node("N-H26").await;
    world.bind(Raw::parse(std::fs::read(&begun.binding).unwrap()).unwrap());
    world.publish().await;
    for node in ["N-G22", "N-H26"] {
        world.api(node).until_connected().await;
    }
    world.api("N-H26").until_consigned(&lost, "H26").await;
    world.api("N-G22").until_state(&lost, "H26", "consigned").await;
    let answer = world.api("N-H26").accepted(&Letter::new("answer", "H26", &["G22"])).await;
    world.all_receipts_valid("N-H26", &answer, 4).await;
    // Receipts of before stay valid.
    world.all_receipts_valid("N-G22", &first, 4).await;
    world.stop_relay().await;
    world.serve_relay().await;
    world.api("N-H26").until_connected().await;
}

/// Waits until N-G22 says why the relay does not go on.
async fn until_said(world: &World, words: &str) {
    let api = world.api("N-G22");
    until(words, || async {
        api.status().await.filter(|status| !status.connected && status.relay_state.contains(words))
    })
    .await;
}
