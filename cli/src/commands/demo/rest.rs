//! A document system that speaks REST.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use truc_link::{
    endpoint::Endpoint,
    http::{Bounds, Client, Method, Outgoing},
};

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
const BOUNDARY: &str = "truc-demo-part";

/// One with its token.
pub(super) struct RestSystem {
    client: Client,
    endpoint: Endpoint,
    authorization: String,
}

impl RestSystem {
    /// A client of the REST API at `base`.
    pub(super) fn new(base: &str, token: &Path) -> anyhow::Result<Self> {
        let token = std::fs::read_to_string(token).context("read the document system's token")?;
        let bounds = Bounds { stall: Duration::from_secs(10), whole: Duration::from_secs(60), head: 64 * 1024 };
        let client = Client::new(&[], "truc demo", bounds)?;
        Ok(Self { client, endpoint: base.parse()?, authorization: format!("Bearer {}", token.trim()) })
    }

    /// GET of a JSON value.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.call(Method::GET, path, &[], Outgoing::Nothing).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// GET of anything.
    pub(super) async fn fetch(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.call(Method::GET, path, &[], Outgoing::Nothing).await
    }

    /// POST of a JSON value.
    pub(super) async fn post(&self, path: &str, value: &Value) -> anyhow::Result<Value> {
        let headers = [("content-type", "application/json".to_owned())];
        let answer = self.call(Method::POST, path, &headers, Outgoing::whole(value.to_string())).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Sends a document of fields and one file.
    pub(super) async fn send(&self, key: &str, document: &Value, name: &str, file: &[u8]) -> anyhow::Result<Value> {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"document\"\r\nContent-Type: application/json\r\n\r\n{document}\r\n\
             --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: text/plain\r\n\r\n"
        );
        let tail = format!("\r\n--{BOUNDARY}--\r\n");
        let body = [head.as_bytes(), file, tail.as_bytes()].concat();
        let headers = [
            ("content-type", format!("multipart/form-data; boundary={BOUNDARY}")),
            ("idempotency-key", key.to_owned()),
        ];
        let answer = self.call(Method::POST, "/documents", &headers, Outgoing::whole(body)).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: Outgoing,
    ) -> anyhow::Result<Vec<u8>> {
        let authorization = ("authorization", self.authorization.clone());
        let headers = headers.iter().cloned().chain([authorization]);
        let headers: Vec<_> = headers.map(|(name, value)| (name.to_owned(), value)).collect();
        let whole_path = format!("{}{path}", self.endpoint.path);
        let answer = self.client.call(method, &self.endpoint, &whole_path, &headers, body).await?;
        let status = answer.status();
        let body = answer.whole(ANSWER_BYTES_MAX).await?;
        ensure!((200..300).contains(&status), "{path}: HTTP {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}
