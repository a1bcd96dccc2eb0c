//! The local gRPC API `truc.node.v1`, for document systems and the `truc` tool. It decides nothing: it reads the core,
//! hands requests to it, and streams.

mod alarms;
mod directory;
mod found;
mod inbox;
mod outbox;
mod pages;
mod receipts;
mod send;
mod status;
mod view;

use std::{pin::Pin, sync::Arc};

use prost::Message as _;
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status, Streaming, metadata::MetadataMap};
use truc_proto::{
    AgencyId, EnvelopeId, Reason,
    node_v1::{self, node_server::Node},
};

use crate::{
    pipeline::Refusal,
    shell::Shell,
    tokens::{Grant, LiveTokens},
};

/// The service.
#[derive(Clone)]
pub struct Api {
    shell: Arc<Shell>,
    tokens: Arc<LiveTokens>,
}

impl Api {
    /// Over a running node.
    #[must_use]
    pub const fn new(shell: Arc<Shell>, tokens: Arc<LiveTokens>) -> Self {
        Self { shell, tokens }
    }

    /// Who calls, by the bearer token.
    fn grant(&self, metadata: &MetadataMap) -> Result<Grant, Status> {
        let header = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let bearer = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(|| {
            Status::unauthenticated(
                "send the metadata `authorization: Bearer <token>`; `truc-node token add` makes one / Thiếu thẻ truy cập",
            )
        })?;
        match self.tokens.authorise(bearer) {
            Ok(Some(grant)) => Ok(grant),
            Ok(None) => Err(Status::unauthenticated(
                "this token is unknown or was revoked; ask the node's administrator for a new one / Thẻ truy cập không đúng hoặc đã bị thu hồi; xin quản trị viên của nút cấp thẻ mới",
            )),
            Err(error) => {
                tracing::error!(error = crate::chain(&error), "tokens cannot be read; nobody is let in");
                Err(Status::unauthenticated(
                    "the node cannot read its tokens; its administrator finds the reason in the log / Nút không đọc được các thẻ truy cập; quản trị viên xem nhật ký",
                ))
            }
        }
    }

    /// A code that the token covers.
    fn code(grant: &Grant, text: &str, field: &str) -> Result<AgencyId, Status> {
        let code: AgencyId = text.parse().map_err(|error| Status::invalid_argument(format!("`{field}`: {error}")))?;
        if grant.allows(&code) {
            return Ok(code);
        }
        let detail = format!("the token `{}` may not act for {code}; use one that covers this code", grant.name);
        Err(refused(Code::PermissionDenied, &Refusal::new(Reason::NotEntitled, detail)))
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api")
    }
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Node for Api {
    type WatchInboxStream = Replies<node_v1::InboxItem>;
    type FetchStream = Replies<node_v1::FetchChunk>;

    async fn send(
        &self,
        request: Request<Streaming<node_v1::SendRequest>>,
    ) -> Result<Response<node_v1::SendReply>, Status> {
        let grant = self.grant(request.metadata())?;
        send::send(&self.shell, &grant, request.into_inner()).await.map(Response::new)
    }

    async fn list_inbox(
        &self,
        request: Request<node_v1::ListInboxRequest>,
    ) -> Result<Response<node_v1::ListInboxReply>, Status> {
        let grant = self.grant(request.metadata())?;
        inbox::list(&self.shell, grant, request.into_inner()).await.map(Response::new)
    }

    async fn watch_inbox(
        &self,
        request: Request<node_v1::WatchInboxRequest>,
    ) -> Result<Response<Self::WatchInboxStream>, Status> {
        let grant = self.grant(request.metadata())?;
        inbox::watch(Arc::clone(&self.shell), grant, &request.into_inner()).map(Response::new)
    }

    async fn fetch(&self, request: Request<node_v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let grant = self.grant(request.metadata())?;
        inbox::fetch(&self.shell, &grant, request.into_inner()).await.map(Response::new)
    }

    async fn confirm(
        &self,
        request: Request<node_v1::ConfirmRequest>,
    ) -> Result<Response<node_v1::ConfirmReply>, Status> {
        let grant = self.grant(request.metadata())?;
        inbox::confirm(&self.shell, &grant, request.into_inner()).await.map(Response::new)
    }

    async fn set_status(
        &self,
        request: Request<node_v1::SetStatusRequest>,
    ) -> Result<Response<node_v1::SetStatusReply>, Status> {
        let grant = self.grant(request.metadata())?;
        status::set(&self.shell, &grant, request.into_inner()).await.map(Response::new)
    }

    async fn list_outbox(
        &self,
        request: Request<node_v1::ListOutboxRequest>,
    ) -> Result<Response<node_v1::ListOutboxReply>, Status> {
        let grant = self.grant(request.metadata())?;
        outbox::list(&self.shell, grant, request.into_inner()).await.map(Response::new)
    }

    async fn list_receipts(
        &self,
        request: Request<node_v1::ListReceiptsRequest>,
    ) -> Result<Response<node_v1::ListReceiptsReply>, Status> {
        let grant = self.grant(request.metadata())?;
        receipts::list(&self.shell, grant, &request.into_inner()).await.map(Response::new)
    }

    async fn get_receipt(
        &self,
        request: Request<node_v1::GetReceiptRequest>,
    ) -> Result<Response<node_v1::GetReceiptReply>, Status> {
        let grant = self.grant(request.metadata())?;
        receipts::fetch(&self.shell, grant, &request.into_inner()).await.map(Response::new)
    }

    async fn search_directory(
        &self,
        request: Request<node_v1::SearchDirectoryRequest>,
    ) -> Result<Response<node_v1::SearchDirectoryReply>, Status> {
        // Whoever may use the node at all may look up whom to write to.
        self.grant(request.metadata())?;
        directory::search(&self.shell, request.into_inner()).await.map(Response::new)
    }

    async fn status(&self, request: Request<node_v1::StatusRequest>) -> Result<Response<node_v1::StatusReply>, Status> {
        let grant = self.grant(request.metadata())?;
        status::of_node(&self.shell, &grant).await.map(Response::new)
    }
}

/// A status that carries the refusal for programs, and both languages for people.
pub(crate) fn refused(code: Code, refusal: &Refusal) -> Status {
    let text = format!("{} / {}", refusal.english, refusal.vietnamese);
    Status::with_details(code, text, refusal.to_wire().encode_to_vec().into())
}

fn stopped(error: crate::shell::engine::Stopped) -> Status {
    Status::unavailable(error.to_string())
}

fn broke_off(error: crate::shell::WorkFailed) -> Status {
    Status::internal(error.to_string())
}

fn envelope_id(text: &str) -> Result<EnvelopeId, Status> {
    text.parse().map_err(|error| Status::invalid_argument(format!("`envelope`: {error}")))
}

fn busy() -> Status {
    Status::resource_exhausted(
        "too much is open on this node; wait until documents are taken and confirmed, then try again / Nút đang quá tải; hãy thử lại sau",
    )
}

fn not_found() -> Status {
    Status::not_found(
        "this node knows no such envelope for the codes of this token / Không có gói tin này cho các mã của thẻ truy cập",
    )
}
