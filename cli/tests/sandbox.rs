//! The sandbox as a developer meets it: started as a program, spoken to over REST.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what a test helper cannot do fails the test")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use serde_json::{Value, json};
use truc_certs_dev::wait::{self, PATIENCE};

/// The program, ended when the test is.
struct Sandbox {
    child: Child,
    account: Value,
    token: String,
}

impl Sandbox {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_truc"));
        command.args(["sandbox", "--json", "--rest", "127.0.0.1:0", "--local", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // One JSON value, then silence until it is ended.
        let (tell, told) = mpsc::channel();
        let said = child.stdout.take().unwrap();
        thread::spawn(move || tell.send(serde_json::Deserializer::from_reader(said).into_iter::<Value>().next()));
        let mut sandbox = Self { child, account: Value::Null, token: String::new() };
        let account = told.recv_timeout(PATIENCE).unwrap().unwrap().unwrap();
        let token = std::fs::read_to_string(account["token_file"].as_str().unwrap()).unwrap().trim().to_owned();
        (sandbox.account, sandbox.token) = (account, token);
        sandbox
    }

    fn call(&self, method: &str, path: &str, more: &str, body: &str) -> (u16, Value) {
        let base = self.account["rest"].as_str().unwrap().strip_prefix("http://").unwrap();
        let (address, prefix) = base.split_once('/').unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "{method} /{prefix}{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n{more}content-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap())
    }

    fn send(&self, to: &str) -> (u16, Value) {
        let document = json!({
            "sender": "Z99.1", "recipients": [to], "level": "ordinary", "subject": "Thử nghiệm", "code_number": "1",
            "code_notation": "TN", "promulgation_date": "2026/11/22",
        });
        let more = format!("content-type: application/json\r\nidempotency-key: to-{to}\r\n");
        self.call("POST", "/documents", &more, &document.to_string())
    }

    /// Asks until it is as wanted.
    #[track_caller]
    fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait::until(path, || {
            let (status, answer) = self.call("GET", path, "", "");
            if status == 200 && wanted(&answer) { Ok(answer) } else { Err(answer) }
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // As Ctrl-C does.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-INT", &id]).status();
        if thread::panicking() {
            let _ = self.child.kill();
        }
        wait::until("the sandbox to end", || self.child.try_wait().unwrap());
    }
}

#[test]
fn each_partner_answers_in_its_way() {
    let sandbox = Sandbox::start();
    let ends = |to: &str, state: &str, status: &str| {
        let (code, sent) = sandbox.send(to);
        assert_eq!(code, 201, "{sent:#}");
        let path = format!("/outbox/{}", sent["envelope"].as_str().unwrap());
        let as_wanted = |item: &Value| {
            let recipient = &item["recipients"][0];
            recipient["state"] == state && recipient["business_status"].as_str().unwrap_or_default() == status
        };
        sandbox.until(&path, as_wanted);
    };
    ends("Z99.NHAN", "handed-over", "06");
    ends("Z99.TUCHOI", "handed-over", "02");
    ends("Z99.IM", "consigned", "");
    ends("Z99.TRALOI", "handed-over", "03");
    let inbox = sandbox.until("/inbox?code=Z99.1", |inbox| {
        inbox["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|item| item["sender"] == "Z99.TRALOI" && item["kind"] == "document")
    });
    assert!(inbox.to_string().contains("Trả lời: Thử nghiệm"));
    let (code, refused) = sandbox.send("Z99.CU");
    assert_eq!((code, &refused["successor"]), (422, &json!("Z99.NHAN")));
}

#[test]
fn what_was_bound_to_a_code_is_proven_by_the_node_and_again_off_line() {
    let sandbox = Sandbox::start();
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("Z99.1.audit").display().to_string();
    let text = |name: &str| sandbox.account[name].as_str().unwrap().to_owned();
    let audit = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_truc"));
        command.args(["directory", "audit", "--trust", &text("anchors"), "--operator", &text("operator")]);
        let ended = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
        (ended.status.code().unwrap(), said)
    };
    let (node, token) = (text("grpc"), text("token_file"));
    let at_node = ["Z99.1", "--node", &node, "--token-file", &token, "--out", &kept];
    let (code, said) = audit(&at_node);
    assert!(code == 0 && said.contains("none left out") && said.contains("yes / có"), "{said}");
    let (code, said) = audit(&at_node);
    assert!(code == 65 && said.contains("is not written over") && said.contains("đã có"), "{said}");
    let (code, said) = audit(&["--file", &kept, "--at", "2100-01-01T00:00:00Z", "--json"]);
    let value: Value = serde_json::from_str(&said).unwrap();
    // Of what came after it was made it says nothing.
    assert_eq!((code, &value["code"], &value["versions"]), (2, &json!("Z99.1"), &json!(1)), "{said}");
    assert_eq!(value["in_force"]["covered"], json!(false));
    let (code, said) = audit(&["--file", &kept, "--at", value["made"].as_str().unwrap(), "--json"]);
    let value: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &value["in_force"]["covered"]), (0, &json!(true)), "{said}");
    assert_eq!(value["in_force"]["service"].as_array().map(Vec::len), Some(1), "{said}");
    assert_eq!(value["bindings"][0]["until"], Value::Null);
    let (code, said) = audit(&["Z99.NHAN", "--file", &kept]);
    assert!(code == 1 && said.contains("không phải Z99.NHAN"), "{said}");
    // A word of another version's line: nothing of it is believed.
    let bent = std::fs::read_to_string(&kept).unwrap().replacen("\nversion ", "\nversions ", 1);
    std::fs::write(&kept, bent).unwrap();
    let (code, said) = audit(&["--file", &kept]);
    assert!(code == 65 && said.contains("nguyên vẹn"), "{said}");
}

#[test]
fn a_sandbox_that_cannot_open_its_door_says_why() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_truc"));
    let ended = command.args(["sandbox", "--rest", "0.0.0.0:0", "--local", "127.0.0.1:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("without a certificate; set `rest.tls`"), "{said}");
}

#[test]
fn a_load_says_what_was_accepted_and_that_all_arrived_with_receipts() {
    let sandbox = Sandbox::start();
    let (node, token) = (sandbox.account["grpc"].as_str().unwrap(), sandbox.account["token_file"].as_str().unwrap());
    let load = |to: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_truc"));
        command.args(["load", "--json", "--node", node, "--token-file", token, "--from", "Z99.1", "--to", to]);
        command.args(["--rate", "10", "--for", "1"]).output().unwrap()
    };
    let output = load("Z99.IM");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{said:#}");
    let count = said["accepted"].as_u64().unwrap();
    assert!(count > 0 && said["arrived"] == count && said["receipts_final"] == count, "{said:#}");
    assert_eq!((&said["doubled"], &said["missing"]), (&json!(0), &json!([])));
    let output = load("Z99.CU");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success() && said.contains("the node took nothing"), "{said}");
}
