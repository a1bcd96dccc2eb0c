//! `truc directory import` and `search` as an operator and a clerk run them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test helper cannot do fails the test")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use truc_certs_dev::{
    Plan, Tree, Tsa, now,
    tsa::{Answer, TsaServer},
    write_tree,
};
use truc_evidence::{CodeList, DirectoryDraft, LEVEL1_CODES, encode_directory};
use truc_proto::{
    Administrator, BindingRequest, CallerRole, Entry, KeyUse, Lane, NodeEntry, Policy, Raw, SignedBinding, Timestamp,
    WitnessKey,
};
use truc_signer::{SoftKey, verify_detached};

/// An operator's folder with PKI.
struct Operator {
    folder: tempfile::TempDir,
    tree: Tree,
}

impl Operator {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = write_tree(&folder.path().join("pki"), &Plan { agencies: Vec::new(), ..Plan::default() }).unwrap();
        let anchors = [tree.anchors(), tree.intermediates()].map(|path| std::fs::read(path).unwrap()).concat();
        std::fs::write(folder.path().join("trust.pem"), anchors).unwrap();
        Self { folder, tree }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    /// `truc directory …` with the folder and what makes it believed; JSON and exit code.
    fn directory(&self, arguments: &[&str]) -> (Value, i32) {
        let output = self.command(arguments).arg("--json").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let code = output.status.code().unwrap();
        let value = serde_json::from_str(&text);
        (value.unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))), code)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_truc"));
        command.arg("directory").args(arguments).env_remove("TRUC_NODE").env_remove("TRUC_TOKEN_FILE");
        command.env("NO_COLOR", "1").arg("--dir").arg(self.path("operator"));
        command.arg("--trust").arg(self.path("trust.pem")).arg("--operator").arg(self.tree.operator_certificate());
        command
    }

    /// An empty draft, as the first binding request leaves it.
    fn begin(&self) {
        std::fs::create_dir_all(self.path("operator")).unwrap();
        std::fs::write(self.path("operator/draft"), "truc/draft/1 dev ordinary\n").unwrap();
    }

    /// The relay's entry.
    fn relay(&self) -> Entry {
        let tls = SoftKey::load_pem(&self.tree.relay("tls").certificate, &self.tree.relay("tls").key).unwrap();
        Entry::Relay(NodeEntry {
            id: "RELAY".parse().unwrap(),
            lane: Lane::Ordinary,
            origin: "truc/dev/ordinary/RELAY/1".into(),
            epoch: 1,
            ledger_key: [7; 32],
            witness_key: Some(WitnessKey([8; 32])),
            certificates: vec![truc_evidence::bind_certificate(tls.certificate(), vec![KeyUse::Tls])],
        })
    }

    fn draft(&self) -> String {
        std::fs::read_to_string(self.path("operator/draft")).unwrap()
    }

    /// A signed version with the level-1 codes and a relay.
    fn sign(&self) {
        let files = self.tree.operator();
        let key = SoftKey::load_pem(&files.certificate, &files.key).unwrap();
        let mut draft = DirectoryDraft::new("dev".parse().unwrap(), Lane::Ordinary);
        let plan = draft.plan_import(&CodeList::parse(LEVEL1_CODES.as_bytes()).unwrap());
        draft.import(&plan).unwrap();
        draft.put(self.relay()).unwrap();
        draft.put_operator(key.certificate()).unwrap();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap());
        let signed = draft.sign(&key, now, now + Duration::from_secs(86_400)).unwrap();
        std::fs::create_dir_all(self.path("operator")).unwrap();
        std::fs::write(self.path("operator/current.directory"), encode_directory(&signed)).unwrap();
    }
}

fn codes(found: &Value) -> Vec<&str> {
    found["entries"].as_array().unwrap().iter().map(|entry| entry["code"].as_str().unwrap()).collect()
}

#[test]
fn a_list_is_shown_first_and_taken_when_nothing_is_wrong() {
    let operator = Operator::new();
    operator.begin();
    let (plan, code) = operator.directory(&["import", "--level1", "--dry-run"]);
    assert_eq!((plan["changes"].as_array().unwrap().len(), plan["taken"].as_bool(), code), (201, Some(false), 0));
    assert_eq!(operator.draft().lines().count(), 1, "a dry run changes nothing");
    let (plan, code) = operator.directory(&["import", "--level1"]);
    assert_eq!((plan["taken"].as_bool(), code), (Some(true), 0));
    assert_eq!(operator.draft().lines().count(), 202);
    let (again, _) = operator.directory(&["import", "--level1"]);
    assert_eq!((again["taken"].as_bool(), again["unchanged"].as_u64()), (Some(false), Some(201)));

    let rows = "\u{FEFF}code,name,valid_from,valid_to,successor\r\n\
                H26,UBND TP. Hà Nội,,,\r\nH37,UBND tỉnh Lạng Sơn,,2027-01-01T00:00:00+07:00,H26\r\n\
                H26.1,\"Sở Nội vụ, Hà Nội\",2026-01-01T00:00:00+07:00,,\r\n";
    let file = operator.write("changes.csv", rows);
    let output = operator.command(&["import", &file]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for said in ["line 4: adds H26.1 Sở Nội vụ, Hà Nội", "Dòng 3: H37 đóng từ 01/01/2027", "line 2: renames H26"]
    {
        assert!(text.contains(said), "{text}");
    }
    assert_eq!(operator.draft().lines().count(), 203);
}

#[test]
fn a_signed_version_carries_a_time_stamp_where_authorities_are_named() {
    let operator = Operator::new();
    let files = operator.tree.operator();
    let (certificate, key) = (files.certificate.display().to_string(), files.key.display().to_string());
    let sign = |more: &[&str]| {
        operator.begin();
        let relay = Raw::write(operator.relay()).unwrap();
        let draft = [b"truc/draft/1 dev ordinary\n", relay.bytes().as_ref(), b"\n"].concat();
        std::fs::write(operator.path("operator/draft"), draft).unwrap();
        let output =
            operator.command(&["sign", "--certificate", &certificate, "--key", &key]).args(more).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let signed = std::fs::read(operator.path("operator/current.directory"));
        let _ = std::fs::remove_dir_all(operator.path("operator"));
        (output.status.code().unwrap(), said, signed.ok())
    };
    let stamps = |signed: Vec<u8>| {
        let text = String::from_utf8(signed).unwrap();
        let line = |number| data_encoding::BASE64.decode(text.lines().nth(number).unwrap().as_bytes()).unwrap();
        verify_detached(&line(2), &line(1), &[]).unwrap()
    };
    let tsa = Tsa::load(&operator.tree.files("services/tsa")).unwrap();
    let server = TsaServer::start(move |request| Answer::Reply(tsa.answer(request, now()).unwrap())).unwrap();
    let busy = TsaServer::start(|_| Answer::Status(503)).unwrap();

    let (code, said, signed) = sign(&["--tsa", &busy.url(), "--tsa", &server.url()]);
    assert!(code == 0 && said.contains("time-stamped"), "{said}");
    let cms = stamps(signed.unwrap());
    let [token] = cms.time_stamp_tokens.as_slice() else { panic!("{cms:?}") };
    assert!(truc_signer::timestamp::verify_token(token, &cms.signature).is_ok());

    let (code, said, signed) = sign(&["--tsa", &busy.url()]);
    assert!(code != 0 && said.contains("503") && said.contains("--tsa-optional"), "{said}");
    assert!(signed.is_none(), "nothing was signed");
    let (code, said, signed) = sign(&["--tsa", &busy.url(), "--tsa-optional"]);
    assert!(code == 0 && said.contains("without a time-stamp") && said.contains("503"), "{said}");
    assert!(stamps(signed.unwrap()).time_stamp_tokens.is_empty());
    let (code, said, _) = sign(&["--tsa", "ftp://tsa.example/"]);
    assert_eq!(code, 64, "{said}");
}

#[test]
fn a_policy_of_the_witnesses_in_the_signed_directory_is_written() {
    let operator = Operator::new();
    operator.sign();
    let output = operator.command(&["policy"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let policy = Policy::parse(&output.stdout).unwrap();
    assert_eq!(policy.witnesses()[0].name(), "truc/dev/ordinary/RELAY/1");
    assert!(policy.is_met(|place| place == 0) && !policy.is_met(|_| false));
    let (said, code) = operator.directory(&["policy", "--quorum", "2"]);
    assert_eq!((said["exit"].as_u64(), code), (Some(1), 1), "{said}");
    assert!(said["vietnamese"].as_str().unwrap().contains("bên chứng kiến"));
}

#[test]
fn a_list_with_mistakes_is_refused_as_a_whole_with_their_lines() {
    let operator = Operator::new();
    operator.begin();
    let rows = "code,name,valid_from,successor\nK01,A,2020-01-01T00:00:00Z,\nK01,B,2020-01-01T00:00:00Z,\n\
                K02,C,2020-01-01T00:00:00Z,K03\nK03,D,2020-01-01T00:00:00Z,K02\nK04,E,2020-01-01T00:00:00Z,Y99\nk5,F,,\n";
    let file = operator.write("wrong.csv", rows);
    let (plan, code) = operator.directory(&["import", &file]);
    assert_eq!((code, plan["taken"].as_bool()), (1, Some(false)));
    let problems: Vec<_> =
        plan["problems"].as_array().unwrap().iter().map(|p| (p["line"].as_u64(), p["kind"].as_str())).collect();
    let expected =
        [(3, "conflict"), (4, "cycle"), (6, "orphan"), (7, "unreadable")].map(|(line, kind)| (Some(line), Some(kind)));
    assert_eq!(problems, expected);
    assert_eq!(operator.draft().lines().count(), 1);
    let sheet = operator.write("sheet.csv", "mã;tên\n");
    let output = operator.command(&["import", &sheet]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(65));
    assert!(text.contains("there is no column") && text.contains("Không có cột"), "{text}");
    // Which list?
    assert_eq!(operator.command(&["import"]).output().unwrap().status.code(), Some(64));
}

#[test]
fn a_signed_version_is_searched_without_a_node() {
    let operator = Operator::new();
    operator.sign();
    let (found, code) = operator.directory(&["search", "bac", "giang", "ub"]);
    assert_eq!((codes(&found), code), (vec!["H02"], 0));
    let entry = &found["entries"][0];
    assert_eq!(
        (entry["successor"].as_str(), entry["unreachable"]["reason"].as_str()),
        (Some("H05"), Some("closed-code"))
    );
    assert!(entry["unreachable"]["vietnamese"].as_str().unwrap().contains("H05"));
    let (found, _) = operator.directory(&["search", "NOI ha"]);
    assert_eq!(codes(&found)[0], "H26");
    let (found, _) = operator.directory(&["search", "h26"]);
    assert_eq!(codes(&found), ["H26"]);
    let (found, code) = operator.directory(&["search", "không có đâu"]);
    assert_eq!((codes(&found).len(), code), (0, 1));
    let (found, _) = operator.directory(&["search", "ubnd", "--limit", "5"]);
    assert_eq!(codes(&found).len(), 5);
    assert!(found["total"].as_u64().unwrap() > 60);
    // Without what makes it believed a file is not looked into.
    let bare = Command::new(env!("CARGO_BIN_EXE_truc"))
        .args(["directory", "search", "ha", "--dir"])
        .arg(operator.path("operator"))
        .output();
    assert_eq!(bare.unwrap().status.code(), Some(64));
    let (shown, _) = operator.directory(&["show", "H26"]);
    assert_eq!(shown["entries"].as_array().unwrap().len(), 1);
    // A relay keeps each version in a folder of its number: the newest is shown.
    std::fs::create_dir_all(operator.path("operator/directory/10")).unwrap();
    std::fs::create_dir_all(operator.path("operator/directory/9")).unwrap();
    let newest = operator.path("operator/directory/10/current.directory");
    std::fs::rename(operator.path("operator/current.directory"), newest).unwrap();
    let (shown, code) = operator.directory(&["show", "H26"]);
    assert_eq!((shown["entries"].as_array().unwrap().len(), code), (1, 0));
    assert!(Path::new(&operator.path("operator")).is_dir());
}

/// A relay on a free port, until it is told to stop.
struct Relay {
    runtime: tokio::runtime::Runtime,
    stop: tokio::sync::oneshot::Sender<()>,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
    address: String,
}

impl Relay {
    fn start(folder: &Path) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let settings = truc_relay::Settings::load(folder).unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let running = runtime.spawn(truc_relay::run(settings, listener, async { _ = stopped.await }));
        Self { runtime, stop, running, address }
    }

    fn stop(self) {
        self.stop.send(()).unwrap();
        self.runtime.block_on(self.running).unwrap().unwrap();
    }
}

/// A relay's folder, as `truc-relay init` makes it.
fn init_relay(operator: &Operator) -> std::path::PathBuf {
    let source =
        |files: truc_certs_dev::KeyFiles| truc_relay::KeySource::Pem { certificate: files.certificate, key: files.key };
    let folder = operator.path("relay");
    let made = truc_relay::init(&truc_relay::InitOptions {
        dir: folder.clone(),
        axis: "dev".parse().unwrap(),
        lane: Lane::Ordinary,
        id: "RELAY".parse().unwrap(),
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: source(operator.tree.relay("tls")),
        node: source(operator.tree.relay("node")),
        anchors: operator.path("trust.pem"),
        operator: operator.tree.operator_certificate(),
        crls: operator.tree.crls().to_vec(),
        now: now(),
    });
    made.unwrap();
    folder
}

#[test]
fn the_request_of_a_relay_that_had_no_witness_key_is_taken_with_the_key() {
    let operator = Operator::new();
    let folder = init_relay(&operator);
    let settings = truc_relay::Settings::load(&folder).unwrap();
    std::fs::remove_file(folder.join("keys/witness.key")).unwrap();
    let who = Administrator { name: "lan".into(), role: CallerRole::CipherAdmin };
    let asked = truc_relay::bind(&settings, who, "làm chứng".into(), now()).unwrap();
    assert_eq!(asked.witness_made, Some(folder.join("keys/witness.key")));
    let binding = asked.file.to_str().unwrap();
    let (said, code) = operator.directory(&["add", "--codes", "level1", "--confirm-endorsement", binding]);
    assert_eq!(code, 0, "{said:#}");
    let signed = Raw::<SignedBinding>::parse(std::fs::read(&asked.file).unwrap()).unwrap();
    let entries = Raw::<BindingRequest>::parse(signed.request.clone()).unwrap().into_value().entries;
    let asked_for = entries.iter().find_map(Entry::as_node).unwrap().witness_key.clone();
    let draft = operator.draft();
    let relay =
        draft.lines().find_map(|line| Raw::<Entry>::parse(line.as_bytes().to_vec()).ok()?.value().as_node().cloned());
    assert!(asked_for.is_some());
    assert_eq!(relay.unwrap().witness_key, asked_for);
}

#[test]
fn versions_that_did_not_reach_the_relay_are_published_before_the_newest() {
    let operator = Operator::new();
    let folder = init_relay(&operator);
    let signing = operator.tree.operator();
    let [certificate, key] = [&signing.certificate, &signing.key].map(|path| path.to_str().unwrap());
    let sign = || operator.directory(&["sign", "--certificate", certificate, "--key", key]).1;
    let tls = operator.tree.relay("tls");
    let [tls_certificate, tls_key] = [&tls.certificate, &tls.key].map(|path| path.to_str().unwrap());
    let lists = operator.tree.crls();
    let publish = |relay: &Relay| {
        let connects = ["--relay", &relay.address, "--tls-certificate", tls_certificate, "--tls-key", tls_key];
        let crls: Vec<&str> = lists.iter().map(|path| path.to_str().unwrap()).collect();
        let arguments = [["publish"].as_slice(), &connects, &["--crl"], &crls].concat();
        let (said, code) = operator.directory(&arguments);
        assert_eq!(code, 0, "{said:#}");
        (said["version"].as_u64().unwrap(), said["before"].clone())
    };
    let binding = folder.join("RELAY.binding");
    let add = ["add", "--codes", "level1", "--confirm-endorsement", binding.to_str().unwrap()];
    assert_eq!((operator.directory(&add).1, sign()), (0, 0));
    let relay = Relay::start(&folder);
    assert_eq!(publish(&relay), (1, serde_json::json!([])));
    relay.stop();
    for _ in 0..3 {
        assert_eq!(sign(), 0, "the same once more, for another month");
    }
    let relay = Relay::start(&folder);
    assert_eq!(publish(&relay), (4, serde_json::json!([2, 3])));
    relay.stop();
}
