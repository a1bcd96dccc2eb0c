//! A document system: what it calls of a node's local API.

use std::net::SocketAddr;

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use truc_proto::node_v1::{
    ConfirmReply, ConfirmRequest, DocumentForm, DocumentFound, FetchRequest, FileHeader, GetReceiptRequest, InboxItem,
    ListInboxRequest, ListOutboxRequest, ListReceiptsRequest, OutboxItem, ReceiptItem, SearchDocumentsRequest,
    SendHeader, SendReply, SendRequest, SetStatusReply, SetStatusRequest, StatusReply, StatusRequest,
    fetch_request::What, node_client::NodeClient, send_header::Form, send_request::Part,
};

/// Bytes of a file in one message.
const PIECE_BYTES: usize = 256 * 1024;

/// A document to be sent: fields and one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Idempotency key.
    pub key: String,
    /// Sending code.
    pub sender: String,
    /// Receiving codes.
    pub recipients: Vec<String>,
    /// Subject.
    pub subject: String,
    /// Name of the file.
    pub file_name: String,
    /// Its bytes.
    pub file: Vec<u8>,
    /// 0 to 4.
    pub priority: u32,
}

impl Document {
    /// A document from `sender` to `recipients` with a file of `length` bytes, all made from `key`.
    #[must_use]
    pub fn new(key: &str, sender: &str, recipients: &[&str], length: usize) -> Self {
        let start = key
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut seed = crate::seed::Seed::of(start);
        let mut file = b"%PDF-1.7\n".to_vec();
        while file.len() < length {
            file.extend_from_slice(&seed.draw().to_le_bytes());
        }
        file.truncate(length);
        Self {
            key: key.into(),
            sender: sender.into(),
            recipients: recipients.iter().map(|&code| code.into()).collect(),
            subject: format!("Văn bản thử {key}"),
            file_name: format!("{key}.pdf"),
            file,
            priority: 0,
        }
    }

    fn requests(&self) -> Vec<SendRequest> {
        let form = DocumentForm {
            subject: self.subject.clone(),
            code_number: "12".into(),
            code_notation: "KH-THU".into(),
            promulgation_date: "2026/11/20".into(),
            place: "Hà Nội".into(),
            type_name: "Kế hoạch".into(),
            signer_name: "Nguyễn Văn An".into(),
            signer_position: "Chánh Văn phòng".into(),
            ..DocumentForm::default()
        };
        let header = SendHeader {
            idempotency_key: self.key.clone(),
            sender: self.sender.clone(),
            recipients: self.recipients.clone(),
            priority: self.priority,
            level: "ordinary".into(),
            form: Some(Form::Document(form)),
            ..SendHeader::default()
        };
        let file = FileHeader {
            name: self.file_name.clone(),
            content_type: "application/pdf".into(),
            length: self.file.len() as u64,
        };
        let data = self.file.chunks(PIECE_BYTES).map(|piece| Part::Data(piece.to_vec().into()));
        let parts = [Part::Header(header), Part::File(file)].into_iter().chain(data);
        parts.map(|part| SendRequest { part: Some(part) }).collect()
    }
}

/// A connection with a bearer token.
#[derive(Clone)]
pub struct Client(NodeClient<InterceptedService<Channel, Bearer>>);

/// Adds the token to every call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Answer<T> = Result<T, Status>;

impl Client {
    /// A client of the node at `address`; connects at the first call and again after a break.
    ///
    /// # Panics
    /// When the token is no token.
    #[must_use]
    pub fn new(address: SocketAddr, token: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address and port");
        let token = format!("Bearer {token}").parse().expect("a token is printable ASCII");
        let client = NodeClient::with_interceptor(endpoint.connect_lazy(), Bearer(token));
        Self(client.max_decoding_message_size(16 << 20))
    }

    /// Sends a document.
    ///
    /// # Errors
    /// The call's.
    pub async fn send(&mut self, document: &Document) -> Answer<SendReply> {
        Ok(self.0.send(tokio_stream::iter(document.requests())).await?.into_inner())
    }

    /// Sends exactly these messages.
    ///
    /// # Errors
    /// The call's.
    pub async fn send_raw(&mut self, requests: Vec<SendRequest>) -> Answer<SendReply> {
        Ok(self.0.send(tokio_stream::iter(requests)).await?.into_inner())
    }

    /// One document of the outbox.
    ///
    /// # Errors
    /// The call's.
    pub async fn sent(&mut self, envelope: &str) -> Answer<Option<OutboxItem>> {
        let request = ListOutboxRequest {
            envelope: envelope.into(),
            with_final: true,
            page_size: 1,
            ..ListOutboxRequest::default()
        };
        Ok(self.0.list_outbox(request).await?.into_inner().items.into_iter().next())
    }

    /// The whole outbox of a code, final documents included.
    ///
    /// # Errors
    /// The call's.
    pub async fn outbox(&mut self, code: &str) -> Answer<Vec<OutboxItem>> {
        let mut request =
            ListOutboxRequest { code: code.into(), with_final: true, page_size: 500, ..ListOutboxRequest::default() };
        let mut all = Vec::new();
        loop {
            let reply = self.0.list_outbox(request.clone()).await?.into_inner();
            all.extend(reply.items);
            if reply.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = reply.next_page_token;
        }
    }

    /// The whole inbox of a code.
    ///
    /// # Errors
    /// The call's.
    pub async fn inbox(&mut self, code: &str, with_confirmed: bool) -> Answer<Vec<InboxItem>> {
        let mut request =
            ListInboxRequest { code: code.into(), with_confirmed, page_size: 500, ..ListInboxRequest::default() };
        let mut all = Vec::new();
        loop {
            let reply = self.0.list_inbox(request.clone()).await?.into_inner();
            all.extend(reply.items);
            if reply.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = reply.next_page_token;
        }
    }

    /// Documents sent and received that have all of these words: the first page.
    ///
    /// # Errors
    /// The call's.
    pub async fn search(&mut self, text: &str) -> Answer<Vec<DocumentFound>> {
        let request = SearchDocumentsRequest { text: text.into(), page_size: 500, ..SearchDocumentsRequest::default() };
        Ok(self.0.search_documents(request).await?.into_inner().items)
    }

    /// An attachment of a received document.
    ///
    /// # Errors
    /// The call's.
    pub async fn attachment(&mut self, envelope: &str, recipient: &str, name: &str) -> Answer<Vec<u8>> {
        self.fetch(envelope, recipient, What::Attachment(name.into())).await
    }

    /// A received document in any form.
    ///
    /// # Errors
    /// The call's.
    pub async fn fetch(&mut self, envelope: &str, recipient: &str, what: What) -> Answer<Vec<u8>> {
        let request = FetchRequest {
            envelope: envelope.into(),
            recipient: recipient.into(),
            what: Some(what),
            ..FetchRequest::default()
        };
        let mut stream = self.0.fetch(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.message().await? {
            bytes.extend_from_slice(&chunk.data);
        }
        Ok(bytes)
    }

    /// Confirms that a document was taken.
    ///
    /// # Errors
    /// The call's.
    pub async fn confirm(&mut self, envelope: &str, recipient: &str) -> Answer<ConfirmReply> {
        let request =
            ConfirmRequest { envelope: envelope.into(), recipient: recipient.into(), ..ConfirmRequest::default() };
        Ok(self.0.confirm(request).await?.into_inner())
    }

    /// Sets a business status.
    ///
    /// # Errors
    /// The call's.
    pub async fn set_status(&mut self, request: SetStatusRequest) -> Answer<SetStatusReply> {
        Ok(self.0.set_status(request).await?.into_inner())
    }

    /// The receipts of an envelope.
    ///
    /// # Errors
    /// The call's.
    pub async fn receipts(&mut self, envelope: &str) -> Answer<Vec<ReceiptItem>> {
        Ok(self
            .0
            .list_receipts(ListReceiptsRequest { envelope: envelope.into(), ..Default::default() })
            .await?
            .into_inner()
            .items)
    }

    /// A receipt file.
    ///
    /// # Errors
    /// The call's.
    pub async fn receipt(&mut self, leaf_hash: &[u8]) -> Answer<Vec<u8>> {
        let request = GetReceiptRequest { leaf_hash: leaf_hash.to_vec().into(), with_opening: false };
        Ok(self.0.get_receipt(request).await?.into_inner().receipt.into())
    }

    /// The node's own state.
    ///
    /// # Errors
    /// The call's.
    pub async fn status(&mut self) -> Answer<StatusReply> {
        Ok(self.0.status(StatusRequest {}).await?.into_inner())
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}
