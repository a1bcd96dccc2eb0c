//! Two histories of one ledger, end to end: what an auditor's receipts or the relay find out becomes a file, and `truc fork show` judges it for anybody,
//! under the directory that nodes and relay have.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use serde_json::Value;
use truc_evidence::{fork_file_name, ledger_origin, sign_checkpoint};
use truc_ledger::{LedgerKey, merkle::MemTree};
use truc_proto::{Checkpoint, Digest, Raw, Receipt, ReceiptBody, relay_v1 as wire};

use crate::support::{
    Letter, World,
    forger::Forger,
    until,
    world::{self, now},
};

const NODES: [(&str, &[&str]); 2] = [("N-G22", &["G22"]), ("N-H26", &["H26", "H26.18"])];

/// `truc` as its users call it: exit code, and what it says.
fn truc(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_truc-process"));
    command.args(arguments).env_remove("TRUC_NODE").env_remove("TRUC_TOKEN_FILE").env("NO_COLOR", "1");
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), said)
}

#[track_caller]
fn check(arguments: &[&str], exit: i32, says: &[&str]) -> String {
    let (code, said) = truc(arguments);
    assert_eq!(code, exit, "{arguments:?}\n{said}");
    for words in says {
        assert!(said.contains(words), "{arguments:?} does not say `{words}`:\n{said}");
    }
    said
}

/// What an auditor was given, as options.
fn trust(world: &World) -> Vec<String> {
    let file = |name: &str| world.folder.path().join("keys").join(name).display().to_string();
    ["--trust", &file("anchors.pem"), "--operator", &file("operator.pem"), "--crl", &file("lists.pem")]
        .map(str::to_owned)
        .to_vec()
}

fn with<'a>(before: &[&'a str], trust: &'a [String], behind: &[&'a str]) -> Vec<&'a str> {
    before.iter().copied().chain(trust.iter().map(String::as_str)).chain(behind.iter().copied()).collect()
}

fn ledger_key(world: &World, id: &str) -> LedgerKey {
    let origin = ledger_origin(&world::AXIS.parse().unwrap(), world.lane, &id.parse().unwrap(), 1);
    LedgerKey::from_file(&origin, &world.node_folder(id).join("keys/ledger.pk8")).unwrap()
}

/// The same event out of another history of the same length, signed with the node's true keys: right in every line.
fn of_another_history(world: &World, id: &str, receipt: &[u8]) -> Receipt {
    let receipt = Receipt::parse(receipt).unwrap();
    let size = Checkpoint::parse_note(receipt.checkpoint.as_bytes()).unwrap().1.size;
    let leaf = Raw::<ReceiptBody>::parse(receipt.body.clone()).unwrap().leaf.clone();
    let another = |n: u64| if n == receipt.index { leaf.clone() } else { format!("another history {n}").into_bytes() };
    let tree = MemTree::of((0..size).map(another));
    let key = ledger_key(world, id);
    let mut note = key.sign(&Checkpoint::new(key.public().name(), size, tree.root()).unwrap());
    sign_checkpoint(&mut note, &world.soft_key(&format!("{id}.node")), now()).unwrap();
    let proof = tree.inclusion(receipt.index, size).unwrap();
    Receipt { proof, checkpoint: note.to_string(), ..receipt }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_two_histories_are_found_out_and_what_proves_it_is_judged_for_anybody() {
    let world = World::start(&NODES).await;
    let sender = world.api("N-G22");
    let mut receipts = Vec::new();
    for key in ["one", "two"] {
        let envelope = sender.accepted(&Letter::new(key, "G22", &["H26"])).await;
        world.api("N-H26").until_consigned(&envelope, "H26").await;
        world.all_receipts_valid("N-G22", &envelope, 4).await;
        let items = sender.receipts(&envelope).await;
        let item = items.iter().find(|item| item.event == "SubmissionAcceptance").unwrap();
        receipts.push(sender.receipt(&item.leaf_hash, false).await);
    }
    let shown_to_another = of_another_history(&world, "N-G22", &receipts[1]).to_string();
    world.assert_valid(shown_to_another.as_bytes());

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let before = write("before.receipt", &receipts[0]);
    let one = write("one.receipt", &receipts[1]);
    let other = write("other.receipt", shown_to_another.as_bytes());
    let proof = folder.path().join("proof.fork");
    let (trust, out) = (trust(&world), proof.display().to_string());
    let verify = |files: &[&str], more: &[&str], exit, says: &[&str]| {
        check(&with(&[&["receipt", "verify"], files].concat(), &trust, more), exit, says)
    };
    // Each is right by itself; receipts of one history prove nothing against anybody, and write nothing.
    verify(&[&other], &[], 0, &["VALID / HỢP LỆ"]);
    let said = verify(&[&before, &one], &["--fork-out", &out], 0, &["2 of 2 files are valid"]);
    assert!(!said.contains("TWO HISTORIES") && !proof.exists(), "{said}");
    let found =
        ["2 of 2 files are valid", "TWO HISTORIES of truc/", "HAI LỊCH SỬ của truc/", "cannot deny what it signed"];
    let said = verify(&[&one, &other], &[], 1, &found);
    assert!(said.contains("không thể chối điều đã ký") && said.contains("--fork-out"), "{said}");
    assert!(!proof.exists(), "nobody asked for it");

    let says = ["TWO HISTORIES of", "HAI LỊCH SỬ của", "`truc fork show ", "cả hai điểm chốt nằm trong"];
    verify(&[&before, &one, &other], &["--fork-out", &out], 1, &says);
    let kept = std::fs::read(&proof).unwrap();
    verify(&[&one, &other], &["--fork-out", &out], 65, &["TWO HISTORIES of", "is not written over"]);
    assert_eq!(std::fs::read(&proof).unwrap(), kept, "the first proof stays");
    let again = folder.path().join("again.fork").display().to_string();
    let json = verify(&[&one, &other], &["--fork-out", &again, "--json"], 1, &[]);
    let told: Value = serde_json::from_str(&json).unwrap();
    let forked = told.as_array().unwrap().last().unwrap();
    assert_eq!((&forked["verdict"], &forked["file"]), (&Value::from("invalid"), &Value::Null));
    assert_eq!(forked["two_histories"]["ledger"], ledger_key(&world, "N-G22").public().name());

    // Anybody who has the signed directory: another node, the relay.
    for dir in [world.node_folder("N-H26"), world.relay_folder()] {
        judged(&dir, &trust, &proof);
    }
    // With the ledger's key alone there is nothing to say about the certificate.
    let vkey = ledger_key(&world, "N-G22").public().to_string();
    check(&["fork", "show", &out, "--key", &vkey], 0, &["TWO HISTORIES", "not checked (--key)"]);
    // Notes that another key signed accuse nobody.
    let stranger = ledger_key(&world, "N-H26").public().to_string();
    check(&["fork", "show", &out, "--key", &stranger], 1, &["It accuses nobody", "Không buộc lỗi được ai"]);
}

/// `truc fork show --dir`: the two histories of N-G22, in both languages and as JSON.
#[track_caller]
fn judged(dir: &Path, trust: &[String], file: &Path) {
    let (dir, file) = (dir.display().to_string(), file.display().to_string());
    let show = ["fork", "show", &file, "--dir", &dir];
    let says = [
        "HAI LỊCH SỬ: cùng một sổ cái",
        "TWO HISTORIES: one ledger, one size, two roots",
        "N-G22 G22",
        "khóa sổ cái / ledger key: ký đúng / signed",
        "gửi tệp này cho đơn vị vận hành trục",
        "believe nothing of it in its own favour",
    ];
    check(&with(&show, trust, &[]), 0, &says);
    let told: Value = serde_json::from_str(&check(&with(&show, trust, &["--json"]), 0, &[])).unwrap();
    assert_eq!((&told["verdict"], &told["node"]), (&Value::from("two-histories"), &Value::from("N-G22")), "{told:#}");
    let [first, second] = told["checkpoints"].as_array().unwrap().as_slice() else { panic!("{told:#}") };
    assert_eq!(first["size"], second["size"]);
    assert_ne!(first["root"], second["root"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_shows_the_relay_two_histories_is_caught_and_the_relay_s_file_proves_it() {
    let mut world = World::start(&NODES).await;
    let envelope = world.api("N-G22").accepted(&Letter::new("before", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&envelope, "H26").await;
    world.all_receipts_valid("N-G22", &envelope, 4).await;
    world.stop_node("N-G22").await;

    // Who holds its keys asks what the relay has seen, and shows it another tree of the same size.
    let mut relay = Forger::dial(&world, "N-G22.tls").await.unwrap();
    let hello = |mine: Bytes| wire::HelloRequest {
        axis: world::AXIS.into(),
        lane: world.lane.to_string(),
        node: "N-G22".into(),
        held_of_you: Bytes::new(),
        mine,
        directory_version: world.directory().version(),
    };
    let held = relay.hello(hello(Bytes::new())).await.unwrap().into_inner().held_of_you;
    let (_, held) = Checkpoint::parse_note(&held).unwrap();
    let key = ledger_key(&world, "N-G22");
    let forged = Checkpoint::new(key.public().name(), held.size, Digest::of(b"another history")).unwrap();
    let refused = relay.hello(hello(key.sign(&forged).to_string().into_bytes().into())).await.unwrap_err();
    assert!(refused.message().contains("hai lịch sử"), "in both languages: {}", refused.message());

    let name = fork_file_name(key.public().name());
    let file: PathBuf = world.relay_folder().join("store/forks").join(name);
    until("the relay keeps the proof", || async { file.is_file().then_some(()) }).await;
    let trust = trust(&world);
    for dir in [world.relay_folder(), world.node_folder("N-H26")] {
        judged(&dir, &trust, &file);
    }
}
