//! A document system: a node's local API with a bearer token, and documents to send.

use std::net::SocketAddr;

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use truc_proto::node_v1::{
    ConfirmReply, ConfirmRequest, DocumentForm, DocumentFound, ExportBundleRequest, FetchRequest, FileHeader,
    GetReceiptRequest, InboxItem, ListInboxRequest, ListOutboxRequest, ListReceiptsRequest, OutboxItem, PacketForm,
    ReceiptItem, RecipientState, SearchDocumentsRequest, SendHeader, SendReply, SendRequest, SetStatusReply,
    SetStatusRequest, StatusReply, StatusRequest, fetch_request::What, node_client::NodeClient, send_header::Form,
    send_reply::State, send_request::Part,
};
use truc_tests::wait::PATIENCE;

use super::{check_refusal, until};

/// Bytes of a file in one message.
const PIECE_BYTES: usize = 256 * 1024;

/// Something to send.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) key: String,
    pub(crate) sender: String,
    pub(crate) recipients: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) level: String,
    pub(crate) ttl_s: u64,
    pub(crate) priority: u32,
    pub(crate) subject: String,
    pub(crate) number: String,
    /// Of a document given by fields: what it does to earlier ones, and why.
    pub(crate) updates: String,
    pub(crate) replaces: Vec<String>,
    pub(crate) reason: String,
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// A packet instead of fields and files.
    pub(crate) packet: Option<Vec<u8>>,
}

impl Letter {
    pub(crate) fn new(key: &str, sender: &str, recipients: &[&str]) -> Self {
        Self {
            key: key.into(),
            sender: sender.into(),
            recipients: recipients.iter().map(|&code| code.into()).collect(),
            groups: Vec::new(),
            level: "ordinary".into(),
            ttl_s: 0,
            priority: 0,
            subject: format!("Kế hoạch kiểm thử {key}"),
            number: "12".into(),
            updates: String::new(),
            replaces: Vec::new(),
            reason: String::new(),
            files: vec![(format!("{key}.pdf"), noise(key, 3_000))],
            packet: None,
        }
    }

    pub(crate) fn with_file(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.files = vec![(name.into(), bytes)];
        self
    }

    pub(crate) fn level(mut self, level: &str) -> Self {
        self.level = level.into();
        self
    }

    pub(crate) fn number(mut self, number: &str) -> Self {
        self.number = number.into();
        self
    }

    pub(crate) fn updates(mut self, document: &str, reason: &str) -> Self {
        (self.updates, self.reason) = (document.into(), reason.into());
        self
    }

    pub(crate) fn replaces(mut self, documents: &[&str], reason: &str) -> Self {
        (self.replaces, self.reason) = (documents.iter().map(|&name| name.into()).collect(), reason.into());
        self
    }

    pub(crate) fn packet(mut self, bytes: Vec<u8>) -> Self {
        self.packet = Some(bytes);
        self
    }

    pub(crate) fn requests(&self) -> Vec<SendRequest> {
        let form = match &self.packet {
            Some(packet) => Form::Packet(PacketForm { length: packet.len() as u64 }),
            None => Form::Document(DocumentForm {
                subject: self.subject.clone(),
                code_number: self.number.clone(),
                code_notation: "KH-THU".into(),
                promulgation_date: "2026/11/20".into(),
                place: "Hà Nội".into(),
                type_name: "Kế hoạch".into(),
                content: "Để thực hiện".into(),
                signer_name: "Nguyễn Văn Mẫu".into(),
                signer_position: "Chánh Văn phòng".into(),
                updates: self.updates.clone(),
                replaces: self.replaces.clone(),
                change_reason: self.reason.clone(),
                ..DocumentForm::default()
            }),
        };
        let header = SendHeader {
            idempotency_key: self.key.clone(),
            sender: self.sender.clone(),
            recipients: self.recipients.clone(),
            groups: self.groups.clone(),
            priority: self.priority,
            priority_from_packet: false,
            level: self.level.clone(),
            ttl_s: self.ttl_s,
            form: Some(form),
        };
        let mut parts = vec![Part::Header(header)];
        let pieces =
            |bytes: &[u8]| bytes.chunks(PIECE_BYTES).map(|p| Part::Data(p.to_vec().into())).collect::<Vec<_>>();
        match &self.packet {
            Some(packet) => parts.extend(pieces(packet)),
            None => {
                for (name, bytes) in &self.files {
                    let length = bytes.len() as u64;
                    parts.push(Part::File(FileHeader {
                        name: name.clone(),
                        content_type: "application/pdf".into(),
                        length,
                    }));
                    parts.extend(pieces(bytes));
                }
            }
        }
        parts.into_iter().map(|part| SendRequest { part: Some(part) }).collect()
    }
}

/// Bytes that do not compress, always the same for a seed.
pub(crate) fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut state = seed
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        | 1;
    let mut bytes = b"%PDF-1.7\n".to_vec();
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Adds the token to every call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A connection to a node's local API.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) raw: NodeClient<InterceptedService<Channel, Bearer>>,
}

impl Api {
    pub(crate) fn new(address: SocketAddr, token: Option<&str>) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap().timeout(PATIENCE);
        let bearer = Bearer(token.map(|token| format!("Bearer {token}").parse().unwrap()));
        let raw = NodeClient::with_interceptor(endpoint.connect_lazy(), bearer).max_decoding_message_size(16 << 20);
        Self { raw }
    }

    pub(crate) async fn send(&self, letter: &Letter) -> Result<SendReply, Status> {
        Ok(self.raw.clone().send(tokio_stream::iter(letter.requests())).await?.into_inner())
    }

    /// Sends what must be accepted; gives the envelope's id.
    pub(crate) async fn accepted(&self, letter: &Letter) -> String {
        let reply = self.send(letter).await.unwrap();
        assert_eq!(reply.state(), State::Accepted, "{reply:?}");
        assert!(!reply.envelope.is_empty(), "{reply:?}");
        reply.envelope
    }

    /// Sends what must be refused; checks that nothing stands in the outbox for it.
    pub(crate) async fn refused(&self, letter: &Letter, reason: &str) -> truc_proto::wire_v1::Refusal {
        let before = self.outbox().await.len();
        let reply = self.send(letter).await.unwrap();
        assert_eq!(reply.state(), State::Refused, "{reply:?}");
        let refusal = reply.refused.unwrap();
        check_refusal(&refusal);
        assert_eq!(refusal.reason, reason, "{refusal:?}");
        assert_eq!(self.outbox().await.len(), before, "something was stored");
        refusal
    }

    pub(crate) async fn outbox(&self) -> Vec<OutboxItem> {
        let request = ListOutboxRequest { with_final: true, page_size: 500, ..ListOutboxRequest::default() };
        self.raw.clone().list_outbox(request).await.unwrap().into_inner().items
    }

    pub(crate) async fn sent(&self, envelope: &str) -> Option<OutboxItem> {
        let request = ListOutboxRequest {
            envelope: envelope.into(),
            with_final: true,
            page_size: 1,
            ..ListOutboxRequest::default()
        };
        self.raw.clone().list_outbox(request).await.ok()?.into_inner().items.into_iter().next()
    }

    pub(crate) async fn recipient(&self, envelope: &str, code: &str) -> Option<RecipientState> {
        self.sent(envelope).await?.recipients.into_iter().find(|state| state.recipient == code)
    }

    /// Waits until the sender sees this state for a recipient.
    pub(crate) async fn until_state(&self, envelope: &str, code: &str, state: &str) -> RecipientState {
        let what = format!("{envelope} is {state} for {code}");
        let fact = || async {
            match self.recipient(envelope, code).await {
                Some(found) if found.state == state => Ok(found),
                other => Err(other),
            }
        };
        until(&what, fact).await
    }

    pub(crate) async fn search(&self, text: &str) -> Vec<DocumentFound> {
        let request = SearchDocumentsRequest { text: text.into(), ..SearchDocumentsRequest::default() };
        self.raw.clone().search_documents(request).await.unwrap().into_inner().items
    }

    pub(crate) async fn inbox(&self, code: &str, with_confirmed: bool) -> Vec<InboxItem> {
        let request =
            ListInboxRequest { code: code.into(), with_confirmed, page_size: 500, ..ListInboxRequest::default() };
        match self.raw.clone().list_inbox(request).await {
            Ok(reply) => reply.into_inner().items,
            Err(_) => Vec::new(),
        }
    }

    pub(crate) async fn item(&self, envelope: &str, code: &str) -> Option<InboxItem> {
        self.inbox(code, true).await.into_iter().find(|item| item.envelope == envelope)
    }

    /// Waits until a document is in the inbox of a code.
    pub(crate) async fn until_consigned(&self, envelope: &str, code: &str) -> InboxItem {
        let fact = || async {
            let items = self.inbox(code, true).await;
            let found = items.iter().find(|item| item.envelope == envelope).cloned();
            found.ok_or_else(|| items.into_iter().map(|item| item.envelope).collect::<Vec<_>>())
        };
        until(&format!("{envelope} is in the inbox of {code}"), fact).await
    }

    pub(crate) async fn fetch(&self, envelope: &str, code: &str, what: What) -> Result<Vec<u8>, Status> {
        let request = FetchRequest {
            envelope: envelope.into(),
            recipient: code.into(),
            what: Some(what),
            ..FetchRequest::default()
        };
        let mut stream = self.raw.clone().fetch(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.message().await? {
            bytes.extend_from_slice(&chunk.data);
        }
        Ok(bytes)
    }

    pub(crate) async fn bundle(&self, envelope: &str) -> Result<Vec<u8>, Status> {
        self.bundle_with(envelope, true).await
    }

    pub(crate) async fn bundle_without_openings(&self, envelope: &str) -> Result<Vec<u8>, Status> {
        self.bundle_with(envelope, false).await
    }

    async fn bundle_with(&self, envelope: &str, with_opening: bool) -> Result<Vec<u8>, Status> {
        let request = ExportBundleRequest { envelope: envelope.into(), with_opening, ..ExportBundleRequest::default() };
        let mut stream = self.raw.clone().export_bundle(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.message().await? {
            bytes.extend_from_slice(&chunk.data);
        }
        Ok(bytes)
    }

    pub(crate) async fn attachment(&self, envelope: &str, code: &str, name: &str) -> Vec<u8> {
        self.fetch(envelope, code, What::Attachment(name.into())).await.unwrap()
    }

    pub(crate) async fn confirm(&self, envelope: &str, code: &str) -> ConfirmReply {
        let request = ConfirmRequest { envelope: envelope.into(), recipient: code.into(), ..ConfirmRequest::default() };
        self.raw.clone().confirm(request).await.unwrap().into_inner()
    }

    pub(crate) async fn set_status(
        &self,
        document: &str,
        from: &str,
        code: &str,
        key: &str,
    ) -> Result<SetStatusReply, Status> {
        let request = SetStatusRequest {
            envelope: document.into(),
            from: from.into(),
            code: code.into(),
            reason: if code == "02" { "Sai thẩm quyền".into() } else { String::new() },
            idempotency_key: key.into(),
            ..SetStatusRequest::default()
        };
        Ok(self.raw.clone().set_status(request).await?.into_inner())
    }

    pub(crate) async fn receipts(&self, envelope: &str) -> Vec<ReceiptItem> {
        let request = ListReceiptsRequest { envelope: envelope.into(), ..Default::default() };
        self.raw.clone().list_receipts(request).await.map(|reply| reply.into_inner().items).unwrap_or_default()
    }

    pub(crate) async fn receipt(&self, leaf_hash: &[u8], with_opening: bool) -> Vec<u8> {
        self.try_receipt(leaf_hash, with_opening).await.unwrap()
    }

    pub(crate) async fn try_receipt(&self, leaf_hash: &[u8], with_opening: bool) -> Result<Vec<u8>, Status> {
        let request = GetReceiptRequest { leaf_hash: leaf_hash.to_vec().into(), with_opening };
        Ok(self.raw.clone().get_receipt(request).await?.into_inner().receipt.into())
    }

    pub(crate) async fn status(&self) -> Option<StatusReply> {
        self.raw.clone().status(StatusRequest {}).await.ok().map(tonic::Response::into_inner)
    }

    /// Waits for an alarm whose text contains all of `words`.
    pub(crate) async fn until_alarm(&self, words: &[&str]) -> String {
        let fact = || async {
            let alarms = self.status().await.map(|status| status.alarms).unwrap_or_default();
            let found = alarms.iter().find(|text| words.iter().all(|word| text.contains(word))).cloned();
            found.ok_or(alarms)
        };
        until(&format!("an alarm about {words:?}"), fact).await
    }

    pub(crate) async fn until_connected(&self) -> StatusReply {
        self.until_status("the node is connected", |s| s.connected && s.directory_version > 0).await
    }

    pub(crate) async fn until_disconnected(&self) -> StatusReply {
        self.until_status("the node is not connected", |s| !s.connected).await
    }

    /// Waits until nothing is wrong any more: an alarm ends behind what ends its cause.
    pub(crate) async fn until_well(&self) -> StatusReply {
        self.until_status("the node has no alarm", |s| s.alarms.is_empty()).await
    }

    /// Waits until the node says this of itself.
    pub(crate) async fn until_status(&self, what: &str, wanted: impl Fn(&StatusReply) -> bool) -> StatusReply {
        let fact = || async {
            match self.status().await {
                Some(status) if wanted(&status) => Ok(status),
                other => Err(other),
            }
        };
        until(what, fact).await
    }
}
