//! Today's axis, played: its protocol over plain sockets, and everything that can be wrong with it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use ring::hmac;
use serde_json::{Value, json};
use truc_proto::{
    Digest,
    sdk::{Operation, Parameters, SIGNATURE_HEADER, SIGNED_HEADER, read_signature, unpadded_hex},
};

/// How it knows the gateway.
pub const SYSTEM: &str = "truc.gateway";
/// The gateway's secret there.
pub const SECRET: &str = "a secret of today's axis";
/// Where it answers.
pub const PATH: &str = "/api/v1";
/// How long the gateway waits for an answer: long enough for one that comes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What goes wrong with the next call of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A proxy's page; the call was carried out.
    Html,
    /// Nothing; the call was carried out.
    Empty,
    /// Half an answer; the call was carried out.
    Truncated,
    /// The connection ends without an answer; the call was carried out.
    HangsUp,
    /// No answer until the client gives up; the call was carried out.
    Silent,
    /// The protocol's no; nothing was carried out.
    Fails,
    /// The connection ends before the body; nothing was carried out.
    HangsUpEarly,
}

/// A packet that was posted.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Its name there.
    pub doc_id: String,
    /// Sending agency.
    pub from: String,
    /// Receiving agencies.
    pub to: String,
    /// `edoc` or `status`.
    pub message: String,
    /// The packet.
    pub file: Vec<u8>,
}

/// A packet that waits for the system.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its name there.
    pub doc_id: String,
    /// Sending agency.
    pub from: String,
    /// Receiving agency.
    pub to: String,
    /// `edoc` or `status`.
    pub message: String,
    /// The packet.
    pub packet: Vec<u8>,
}

/// What it holds, what was asked of it, and what is to go wrong.
#[derive(Debug, Default)]
pub struct State {
    /// What was posted to it.
    pub posted: Vec<Posted>,
    /// What it lists.
    pub waiting: Vec<Waiting>,
    /// docId and word, as they came.
    pub updates: Vec<(String, String)>,
    /// What goes wrong next.
    pub faults: Vec<(Operation, Fault)>,
    /// Every call so far.
    pub calls: Vec<Operation>,
    /// The list of what was sent stays empty.
    pub hides_sent: bool,
    /// Every waiting packet is listed twice.
    pub lists_twice: bool,
    /// What is done stays listed all the same.
    pub keeps_listed: bool,
}

impl State {
    /// How often it was asked for an operation.
    #[must_use]
    pub fn count(&self, operation: Operation) -> usize {
        self.calls.iter().filter(|call| **call == operation).count()
    }

    /// What there is, without the packets: for a failure's message.
    #[must_use]
    pub fn told(&self) -> String {
        let posted: Vec<_> = self.posted.iter().map(|posted| (&posted.doc_id, &posted.to, &posted.message)).collect();
        let waiting: Vec<_> = self.waiting.iter().map(|waiting| &waiting.doc_id).collect();
        let Self { updates, faults, calls, .. } = self;
        format!("posted {posted:?}, waiting {waiting:?}, updates {updates:?}, faults left {faults:?}, calls {calls:?}")
    }
}

/// A running one; it ends with the process.
#[derive(Clone, Debug)]
pub struct OldAxis {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl OldAxis {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let axis = Self { address: listener.local_addr().expect("it is bound"), state: Arc::default() };
        let inner = axis.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inner = inner.clone();
                thread::spawn(move || inner.serve(stream));
            }
        });
        axis
    }

    /// For the settings of a gateway.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}{PATH}/", self.address)
    }

    /// Makes the node of this folder a gateway to it, from its next start on.
    ///
    /// # Panics
    /// When the folder is no node's.
    pub fn connect(&self, folder: &Path) {
        let mut settings = truc_node::Settings::load(folder).expect("the node's settings");
        let key = truc_signer::StorageKey::load(&settings.storage_key).expect("the storage key");
        truc_node::gateway::keep_secret(&settings.gateway_secret(), &key, SYSTEM, SECRET).expect("keep the secret");
        settings.gateway = Some(truc_node::settings::GatewaySettings {
            endpoint: self.endpoint().parse().expect("an endpoint"),
            system: SYSTEM.to_owned(),
            codes: settings.codes().cloned().collect(),
            anchors: None,
            poll: Duration::from_secs(1),
            timeout: TIMEOUT,
        });
        std::fs::write(folder.join(truc_node::settings::SETTINGS_FILE), settings.to_toml())
            .expect("write the settings");
    }

    /// Looks at it.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next call of an operation goes wrong so.
    pub fn fault(&self, operation: Operation, fault: Fault) {
        self.state().faults.push((operation, fault));
    }

    /// Lays a packet into its list for the gateway.
    pub fn lay_down(&self, doc_id: &str, from: &str, to: &str, message: &str, packet: &[u8]) {
        let (doc_id, from, to) = (doc_id.to_owned(), from.to_owned(), to.to_owned());
        self.state().waiting.push(Waiting { doc_id, from, to, message: message.to_owned(), packet: packet.to_vec() });
    }

    fn serve(&self, stream: TcpStream) {
        let _ = self.exchange(stream); // the client may be gone
    }

    fn exchange(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let operation = Operation::of_path(&path, PATH).expect("an operation of the protocol");
        let fault = {
            let mut state = self.state();
            state.calls.push(operation);
            let place = state.faults.iter().position(|(of, _)| *of == operation);
            place.map(|place| state.faults.remove(place).1)
        };
        if fault == Some(Fault::HangsUpEarly) {
            return stream.shutdown(std::net::Shutdown::Both);
        }
        let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or_default();
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if fault == Some(Fault::Fails) {
            let no = json!({"status": "FAIL", "ErrorCode": "15", "ErrorDesc": "Mã đơn vị chưa đăng ký", "DocId": ""});
            return reply(&mut stream, no.to_string().as_bytes());
        }
        let answer = self.carry_out(operation, &headers, &body).to_string().into_bytes();
        match fault {
            Some(Fault::Html) => reply(&mut stream, b"<html><body><h1>502 Bad Gateway</h1></body></html>"),
            Some(Fault::Empty) => reply(&mut stream, b""),
            Some(Fault::Truncated) => {
                stream.write_all(head(answer.len()).as_bytes())?;
                stream.write_all(answer.split_at(answer.len() / 2).0)
            }
            Some(Fault::HangsUp) => stream.shutdown(std::net::Shutdown::Both),
            Some(Fault::Silent) => reader.read_to_end(&mut Vec::new()).map(drop),
            Some(Fault::Fails | Fault::HangsUpEarly) | None => reply(&mut stream, &answer),
        }
    }

    fn carry_out(&self, operation: Operation, headers: &BTreeMap<String, String>, body: &[u8]) -> Value {
        let signed = headers[SIGNED_HEADER].as_bytes();
        let signature = read_signature(headers[SIGNATURE_HEADER].as_bytes()).expect("a signature");
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed, &signature).expect("it holds");
        let parameters = Parameters::read(signed).expect("parameters");
        assert_eq!(parameters.text("systemid"), Some(SYSTEM));
        let text = |name: &str| parameters.text(name).unwrap_or_default().to_owned();
        let message = text("messagetype");
        let mut state = self.state();
        let ok = json!({"status": "OK", "ErrorCode": "0", "ErrorDesc": "Success"});
        let with = |name: &str, value: Value| {
            let mut object = ok.clone();
            object.as_object_mut().expect("an object").insert(name.to_owned(), value);
            object
        };
        match operation {
            Operation::SendEdoc => {
                let file = body.strip_suffix(b"\r\n").expect("two bytes behind the file").to_vec();
                assert_eq!(text("hash-file"), unpadded_hex(&Digest::of(&file)));
                let to = parameters.list("to").expect("a list").expect("recipients");
                let doc_id = format!("old-{}", state.posted.len() + 1);
                let posted = Posted { doc_id: doc_id.clone(), from: text("from"), to: to.join(","), message, file };
                state.posted.push(posted);
                with("DocId", doc_id.into())
            }
            Operation::SentEdocList => {
                let shown = state.posted.iter().filter(|posted| !state.hides_sent && posted.message == message);
                let item = |posted: &Posted| {
                    let text = String::from_utf8_lossy(&posted.file).into_owned();
                    json!({"senderDocId": posted.doc_id, "fromCode": posted.from, "toCode": posted.to,
                           "title": element(&text, "Subject"), "sentTime": Value::Null,
                           "notation": format!("{}/{}", element(&text, "CodeNumber"), element(&text, "CodeNotation"))})
                };
                with("data", shown.map(item).collect())
            }
            Operation::ReceivedEdocList => {
                let item = |waiting: &Waiting| {
                    json!({"docId": waiting.doc_id, "from": waiting.from, "to": waiting.to, "status": "initial",
                           "messageType": waiting.message, "created_time": Value::Null})
                };
                let times = if state.lists_twice { 2 } else { 1 };
                let of_kind = state.waiting.iter().filter(|waiting| waiting.message == message);
                with("data", of_kind.flat_map(|waiting| vec![item(waiting); times]).collect())
            }
            Operation::Edoc => match state.waiting.iter().find(|waiting| waiting.doc_id == text("docId")) {
                Some(waiting) => with("data", data_encoding::BASE64.encode(&waiting.packet).into()),
                None => json!({"status": "FAIL", "ErrorCode": "6", "ErrorDesc": "none", "data": ""}),
            },
            Operation::UpdateStatus => {
                let (doc_id, word) = (text("docId"), text("status"));
                if !state.keeps_listed && word != "processing" {
                    state.waiting.retain(|waiting| waiting.doc_id != doc_id);
                }
                state.updates.push((doc_id, word));
                ok
            }
            other => panic!("a gateway does not call {other:?}"),
        }
    }
}

fn head(length: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
}

fn reply(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(head(body.len()).as_bytes())?;
    stream.write_all(body)
}

/// The text of the first element of this name.
fn element(packet: &str, name: &str) -> String {
    let after = packet.split_once(&format!(":{name}>")).map_or("", |(_, after)| after);
    after.split('<').next().unwrap_or_default().to_owned()
}
