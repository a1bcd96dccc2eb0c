//! The commands that need no node, run as their users run them: output, exit codes, JSON.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what a test helper cannot do fails the test")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn formats(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/testdata/formats").join(name)
}

fn packets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/testdata/edxml").join(name)
}

fn truc(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_truc"));
    command.args(arguments).env_remove("TRUC_NODE").env_remove("TRUC_TOKEN_FILE").env("NO_COLOR", "1");
    command.output().unwrap()
}

#[track_caller]
fn check(arguments: &[&str], exit: i32, says: &[&str]) -> String {
    let output = truc(arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}\n{text}");
    for words in says {
        assert!(text.contains(words), "{arguments:?} does not say `{words}`:\n{text}");
    }
    text
}

fn verify(receipt: &str, more: &[&str]) -> Vec<String> {
    let at: Value = serde_json::from_slice(&std::fs::read(formats("expect.json")).unwrap()).unwrap();
    let mut arguments = vec!["receipt".to_owned(), "verify".into(), formats(receipt).display().to_string()];
    for (flag, file) in [("--trust", "anchors.pem"), ("--operator", "operator.pem")] {
        arguments.extend([flag.to_owned(), formats(file).display().to_string()]);
    }
    arguments.extend(["--at".to_owned(), at["verify_at"].as_str().unwrap().to_owned()]);
    arguments.extend(more.iter().map(|&m| m.to_owned()));
    arguments
}

#[track_caller]
fn check_verify(receipt: &str, more: &[&str], exit: i32, says: &[&str]) -> String {
    let arguments = verify(receipt, more);
    check(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), exit, says)
}

#[test]
fn a_receipt_is_valid_and_every_step_is_told() {
    check_verify(
        "receipt.receipt",
        &[],
        0,
        &[
            "VALID / HỢP LỆ",
            "SubmissionAcceptance by G22 Văn phòng Chính phủ",
            "the pinned operator signed the directory root",
        ],
    );
}

#[test]
fn a_provisional_receipt_cannot_be_told_in_both_languages() {
    check_verify(
        "receipt-provisional.receipt",
        &[],
        2,
        &["CANNOT TELL / CHƯA KẾT LUẬN ĐƯỢC", "provisional", "Biên nhận tạm thời"],
    );
}

#[test]
fn a_document_is_proven_by_the_opening_and_another_is_not() {
    let document = formats("cong-van.txt").display().to_string();
    check_verify(
        "receipt.receipt",
        &["--document", &document],
        0,
        &["the document shown is part of what was received (attachments/cong-van.txt)"],
    );
    let other = formats("preamble.json").display().to_string();
    check_verify("receipt.receipt", &["--document", &other], 1, &["INVALID / KHÔNG HỢP LỆ"]);
}

#[test]
fn a_policy_that_nobody_meets_makes_it_invalid_and_a_wrong_one_is_refused() {
    let vector = |name: &str| formats(&format!("../witness/{name}.policy")).display().to_string();
    let met = check_verify("receipt.receipt", &["--policy", &vector("nobody")], 0, &["the policy asks for no witness"]);
    assert!(met.contains("signed by the node's certificate / ký bằng chứng thư số của nút"), "{met}");
    check_verify(
        "receipt.receipt",
        &["--policy", &vector("one-of-the-relay-or-two-nodes")],
        1,
        &["FAILED", "the policy names no log", "Chưa đủ bên chứng kiến"],
    );
    let refused = verify("receipt.receipt", &["--policy", &vector("refused-two-quorums")]);
    let output = Command::new(env!("CARGO_BIN_EXE_truc")).args(&refused).output().unwrap();
    assert_eq!(output.status.code(), Some(65));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("line 5 of the policy: there is a quorum line already"), "{said}");
}

#[test]
fn a_fork_file_says_what_it_proves_in_both_languages_and_one_that_was_made_up_accuses_nobody() {
    let file = |name: &str| formats(&format!("../witness/{name}")).display().to_string();
    let policy = std::fs::read_to_string(file("one-of-the-relay-or-two-nodes.policy")).unwrap();
    let key = policy.lines().find_map(|line| line.strip_prefix("log ")).unwrap().split(' ').next().unwrap().to_owned();
    let shown = |name: &str, exit, says: &[&str]| check(&["fork", "show", &file(name), "--key", &key], exit, says);
    shown(
        "two-histories.fork",
        0,
        &["TWO HISTORIES", "HAI LỊCH SỬ", "truc/dev/ordinary/N-H26/1", "give this file to the axis operator"],
    );
    shown("unproven.fork", 2, &["NO PROOF BY ITSELF", "CHƯA ĐỦ CHỨNG MINH"]);
    shown("made-up.fork", 1, &["It accuses nobody", "Không buộc lỗi được ai"]);
    shown("cosigned.note", 65, &[]);
    check(&["fork", "show", &file("two-histories.fork")], 64, &[]);
    let json = check(&["fork", "show", &file("two-histories.fork"), "--key", &key, "--json"], 0, &[]);
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&value["verdict"], value["checkpoints"][1]["size"].as_u64()), (&Value::from("two-histories"), Some(7)));
}

#[test]
fn json_carries_verdict_and_steps() {
    let text = check_verify("receipt.receipt", &["--json"], 0, &[]);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value[0]["verdict"], "valid");
    assert_eq!(value[0]["summary"]["actor"], "G22");
    assert!(value[0]["steps"].as_array().unwrap().len() > 40);
}

#[test]
fn another_operator_and_other_anchors_are_not_believed() {
    let at: Value = serde_json::from_slice(&std::fs::read(formats("expect.json")).unwrap()).unwrap();
    let (receipt, anchors) =
        (formats("receipt.receipt").display().to_string(), formats("anchors.pem").display().to_string());
    let (node, at) = (formats("node.pem").display().to_string(), at["verify_at"].as_str().unwrap().to_owned());
    check(&["receipt", "verify", &receipt, "--trust", &anchors, "--operator", &node, "--at", &at], 1, &["INVALID"]);
}

#[test]
fn what_is_no_receipt_is_invalid_and_what_is_not_there_is_bad_data() {
    let (anchors, operator) =
        (formats("anchors.pem").display().to_string(), formats("operator.pem").display().to_string());
    let preamble = formats("preamble.json").display().to_string();
    check(&["receipt", "verify", &preamble, "--trust", &anchors, "--operator", &operator], 1, &["INVALID"]);
    check(
        &["receipt", "verify", "no-such-file", "--trust", &anchors, "--operator", &operator],
        65,
        &["cannot read no-such-file"],
    );
    check(&["receipt", "verify", &preamble, "--trust", &preamble, "--operator", &operator], 65, &["PEM"]);
}

#[test]
fn wrong_usage_is_64_and_help_is_good() {
    check(&["receipt", "verify"], 64, &["--trust", "thiếu tham số bắt buộc"]);
    check(&["no-such-command"], 64, &["Không có lệnh hoặc tham số"]);
    check(&["inbox", "fetch", "not-a-uuid", "--code", "H26", "-o", "x"], 64, &["UUID", "không hợp lệ"]);
    check(&["--help"], 0, &["64 wrong usage"]);
    check(&["--version"], 0, &["truc "]);
}

#[test]
fn a_node_that_is_not_there_is_69() {
    // Port 9 (discard) on loopback: nothing of ours listens there, and the connection is refused at once.
    check(&["inbox", "list", "--node", "http://127.0.0.1:9"], 69, &["no node answers at http://127.0.0.1:9"]);
}

#[test]
fn every_packet_of_the_fixtures_is_told_field_by_field_or_refused_in_both_languages() {
    let mut read = 0;
    for entry in std::fs::read_dir(packets("accepted")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "xml" || e == "edxml") {
            let text = check(&["edxml", "check", "--json", path.to_str().unwrap()], 0, &[]);
            let value: Value = serde_json::from_str(&text).unwrap();
            assert!(!value["fields"].as_array().unwrap().is_empty(), "{}", path.display());
            read += 1;
        }
    }
    for entry in std::fs::read_dir(packets("refused")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "xml" || e == "edxml") {
            check(&["edxml", "check", path.to_str().unwrap()], 65, &["refused at line", "Bị từ chối tại dòng"]);
            read += 1;
        }
    }
    assert!(read > 50, "only {read} fixtures found");
}

#[test]
fn completion_is_written_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        check(&["completion", shell], 0, &["receipt"]);
    }
}

#[test]
fn wrong_input_is_told_in_both_languages_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (text, empty, missing) = (path("hello.txt"), path("empty"), path("missing"));
    std::fs::write(&text, "hello").unwrap();
    std::fs::create_dir(&empty).unwrap();
    let (anchors, operator) =
        (formats("anchors.pem").display().to_string(), formats("operator.pem").display().to_string());
    let trust = ["--trust", &anchors, "--operator", &operator];
    let cases: [(Vec<&str>, i32, &[&str]); 9] = [
        (
            [&["directory", "show", "--dir", &empty], trust.as_slice()].concat(),
            65,
            &["holds none: give a `*.directory` file", "Không có danh bạ ở đó"],
        ),
        (
            [&["directory", "show", "--dir", &missing], trust.as_slice()].concat(),
            65,
            &["holds none", "thư mục của nút hay trục"],
        ),
        (
            [&["directory", "show", "--dir", &text], trust.as_slice()].concat(),
            65,
            &["not readable", "Tệp không đọc được"],
        ),
        (
            vec!["container", "verify", &text, "--trust", &anchors],
            1,
            &["no whole container; give an .asice file", "không phải gói văn bản"],
        ),
        (vec!["container", "verify", &missing, "--trust", &anchors], 65, &["cannot read", "kiểm tra lại đường dẫn"]),
        (vec!["edxml", "check", &missing], 65, &["cannot read", "kiểm tra lại đường dẫn"]),
        (vec!["status", "--node", "foo"], 64, &["is not an address such as http://", "--help"]),
        (
            vec!["status", "--token-file", &missing],
            64,
            &["--token-file", "token add", "Không đọc được tệp mã truy cập"],
        ),
        (vec!["status", "--node", "http://127.0.0.1:1"], 69, &["start `truc-node serve`", "Chưa kết nối được"]),
    ];
    for (arguments, exit, says) in cases {
        check(&arguments, exit, says);
        let json: Vec<&str> = ["--json"].into_iter().chain(arguments).collect();
        let told: Value = serde_json::from_slice(&truc(&json).stdout).unwrap();
        assert!(told["vietnamese"].as_str().is_some_and(|text| !text.is_ascii()), "{told}");
    }
}

#[test]
fn a_file_that_cannot_be_read_takes_nothing_from_the_others_and_trust_comes_in_either_form() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let at: Value = serde_json::from_slice(&std::fs::read(formats("expect.json")).unwrap()).unwrap();
    let at = at["verify_at"].as_str().unwrap();
    // As an editor on Windows keeps it, and as an authority publishes it.
    let (marked, der) = (path("anchors.pem"), path("operator.cer"));
    std::fs::write(&marked, [b"\xef\xbb\xbf".to_vec(), std::fs::read(formats("anchors.pem")).unwrap()].concat())
        .unwrap();
    let operator = std::fs::read(formats("operator.pem")).unwrap();
    let operator = truc_signer::Certificate::from_pem(&operator).unwrap();
    std::fs::write(&der, operator[0].der()).unwrap();
    let (good, missing, long) = (formats("receipt.receipt").display().to_string(), path("missing"), path("long"));
    std::fs::write(&long, vec![b'x'; 5 << 20]).unwrap();
    let trust = ["--trust", &marked, "--operator", &der, "--at", at];
    let told = |files: &[&str], exit: i32, says: &[&str]| {
        check(&[&["receipt", "verify"], files, trust.as_slice()].concat(), exit, says)
    };
    told(&[&good], 0, &["VALID / HỢP LỆ", "axis ", "luồng thường", "no independent time"]);
    told(&[&missing, &good], 65, &["KHÔNG ĐỌC ĐƯỢC", "VALID / HỢP LỆ", "1 of 2 files are valid"]);
    told(&[&long, &good], 1, &["INVALID / KHÔNG HỢP LỆ", "1 of 2 files are valid"]);
    told(&[&missing], 65, &["cannot read"]);
    let show: Vec<&str> = [&["receipt", "show", &good, &missing], trust.as_slice()].concat();
    check(&show, 65, &["KHÔNG ĐỌC ĐƯỢC", "The sender alone says that it was sent", "signed "]);
}

#[test]
fn groups_are_asked_of_a_node_and_a_list_that_cannot_be_read_is_told_before() {
    let text = check(&["group", "set", "--help"], 0, &["--owner", "--codes-file", "one code a line"]);
    assert!(text.contains("Sở, ban, ngành"), "{text}");
    check(&["send", "--help"], 0, &["--to-group"]);
    check(&["group", "set", "--owner", "G22", "a"], 64, &["CODE"]);
    check(&["group", "set", "--owner", "G22", "a", "H26", "--codes-file", "x"], 64, &["cannot be used with"]);
    check(&["group", "list", "a"], 64, &["--owner"]);
    check(&["group", "set", "--owner", "G22", "a", "--codes-file", "/nonexistent"], 65, &["cannot read /nonexistent"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    use std::{io::Read as _, process::Stdio};
    let packet = packets("accepted/any-order.edxml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_truc"));
    command.args(["--json", "edxml", "check"]).arg(packet).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let (mut said, done) = (String::new(), child.wait().unwrap());
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(done.success() && said.is_empty(), "{done:?}: {said}");
}
