//! A client of the SDK's API down to the bytes, for what no well-meaning client would send.

use std::{collections::BTreeMap, net::SocketAddr};

use ring::hmac;
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use truc_proto::{Digest, sdk::unpadded_hex};
use truc_tests::wait::in_time;

use crate::PATH;

/// A reply as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A failure as the SDK's caller sees one: HTTP 200, three fields, none of them null.
    #[track_caller]
    pub(crate) fn failure(&self) -> Value {
        let json = self.json();
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(json["status"], "FAIL", "{json}");
        assert!(json["ErrorCode"].as_str().is_some_and(|code| code != "0"), "{json}");
        assert!(json["ErrorDesc"].as_str().is_some_and(|words| words.len() > 20 && !words.is_ascii()), "{json}");
        assert!(self.body.is_ascii() && !self.head.to_lowercase().contains("location:"), "{self:?}");
        json
    }
}

/// One service object: its map of headers is never cleared.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) secret: String,
    pub(crate) map: BTreeMap<String, String>,
}

impl Service {
    pub(crate) fn new(address: SocketAddr, system: &str, secret: &str) -> Self {
        // Days old, as that of a service object made when its program started.
        let map = [("systemid", system), ("timestamp", "01012020T073009+0983")];
        let map = map.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { address, secret: secret.to_owned(), map }
    }

    pub(crate) fn with(mut self, parameters: &[(&str, &str)]) -> Self {
        self.map.extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    /// What is signed: the map as JSON.
    pub(crate) fn signed(&self) -> String {
        let fields = self.map.iter().map(|(name, value)| (format!("XroadVnpt-{name}"), Value::from(value.as_str())));
        Value::Object(fields.collect::<Map<_, _>>()).to_string()
    }

    pub(crate) fn signature(&self, signed: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        data_encoding::HEXLOWER.encode(hmac::sign(&key, signed).as_ref())
    }

    /// The head of a request, signed, without the lines that end it.
    pub(crate) fn head(&self, method: &str, path: &str) -> Vec<u8> {
        let signed = self.signed();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address).into_bytes();
        for (name, value) in &self.map {
            head.extend_from_slice(format!("XroadVnpt-{name}: {value}\r\n").as_bytes());
        }
        head.extend_from_slice(format!("XroadVnpt-sign-header: {signed}\r\n").as_bytes());
        head.extend_from_slice(format!("XroadVnpt-hash-header: {}\r\n", self.signature(signed.as_bytes())).as_bytes());
        head
    }

    /// Any operation but sendEdoc.
    pub(crate) async fn call(&self, operation: &str) -> Answer {
        self.post(&format!("{PATH}/{operation}"), b"{}").await
    }

    pub(crate) async fn post(&self, path: &str, body: &[u8]) -> Answer {
        let mut request = self.head("POST", path);
        request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(body);
        exchange(self.address, &request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let mut request = self.head("GET", path);
        request.extend_from_slice(b"\r\n");
        exchange(self.address, &request).await
    }

    /// The bytes of a sendEdoc: the file with a line break behind it, its hash without leading zeros.
    pub(crate) fn packet(&self, from: &str, message: &str, to: Option<&str>, file: &[u8]) -> Vec<u8> {
        let hash = unpadded_hex(&Digest::of(file));
        let mut service = self.clone().with(&[("from", from), ("messagetype", message), ("hash-file", &hash)]);
        service = service.with(&[("servicetype", "eDoc"), ("Content-Type", "application/octet-stream")]);
        service.map.extend(to.map(|to| ("to".to_owned(), to.to_owned())));
        // As a client does whose endpoint ends with a slash.
        let mut request = service.head("POST", &format!("{PATH}//sendEdoc"));
        request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", file.len() + 2).as_bytes());
        [request.as_slice(), file, b"\r\n"].concat()
    }

    pub(crate) async fn send(&self, from: &str, message: &str, to: Option<&str>, file: &[u8]) -> Value {
        let answer = exchange(self.address, &self.packet(from, message, to, file)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.is_ascii(), "sendEdoc's reply is read as US-ASCII");
        answer.json()
    }

    /// What waits, as the client lists it.
    pub(crate) async fn list(&self, message: &str) -> Vec<Value> {
        let service = self.clone().with(&[("servicetype", "eDoc"), ("messagetype", message)]);
        let json = service.post(&format!("{PATH}/getReceivedEdocList"), b"").await.json();
        assert_eq!((&json["status"], &json["ErrorCode"]), (&Value::from("OK"), &Value::from("0")), "{json}");
        json["data"].as_array().expect("a list, empty or not").clone()
    }

    /// A packet, through getEdoc.
    pub(crate) async fn fetch(&self, doc_id: &str) -> Vec<u8> {
        let json = self.clone().with(&[("docId", doc_id), ("filePath", "/tmp/x")]).call("getEdoc").await.json();
        assert_eq!(json["status"], "OK", "{json}");
        data_encoding::BASE64.decode(json["data"].as_str().unwrap().as_bytes()).unwrap()
    }

    pub(crate) async fn update(&self, doc_id: &str, status: &str) -> Answer {
        self.clone().with(&[("status", status), ("docId", doc_id)]).call("updateStatus").await
    }
}

/// Sends bytes over a connection of its own and reads one answer.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    read(&mut stream).await
}

/// One answer, whatever way its length is told.
pub(crate) async fn read(stream: &mut TcpStream) -> Answer {
    in_time("an answer", read_answer(stream)).await
}

async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("the connection stays until there is an answer"));
        }
        if !head.starts_with(b"HTTP/1.1 100") {
            break;
        }
        head.clear();
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let field = |name: &str| head.lines().find_map(|line| line.to_lowercase().strip_prefix(name).map(str::to_owned));
    let mut body = Vec::new();
    if let Some(length) = field("content-length:") {
        body = vec![0; length.trim().parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
    } else if field("transfer-encoding:").is_some() {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(stream.read_u8().await.expect("a chunked answer comes to its end"));
            }
            let length = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            stream.read_exact(&mut chunk).await.unwrap();
            if length == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }
    Answer { status, head, body }
}
