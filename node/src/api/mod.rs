//! The local gRPC API `truc.node.v1`, for document systems and the `truc` tool: a thin face over [`crate::service`]. It knows
//! who calls, and puts errors into gRPC's words.

mod administration;
mod oversight;

use std::{io, pin::Pin, sync::Arc};

use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming};
use truc_proto::{
    limits::STREAM_CHUNK_BYTES,
    node_v1::{self, node_server::Node, send_request},
};

use crate::{
    door::Client,
    pipeline::Part,
    service::{
        Error, ErrorKind, bundle, caller, directory, duties, groups, inbox, outbox, receipts, roles::May, search, send,
        statistics, status, withdraw,
    },
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

    /// Who calls, by the bearer token or the client certificate.
    fn grant<T>(&self, request: &Request<T>) -> Result<Grant, Status> {
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let bearer = header.and_then(|value| value.strip_prefix("Bearer "));
        let presented = request.extensions().get::<Client>().and_then(|client| client.0.as_ref());
        Ok(caller::admit(&self.tokens, &self.shell.trust.load(), bearer, presented)?)
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
    type ExportBundleStream = Replies<node_v1::FetchChunk>;
    type AuditDirectoryStream = Replies<node_v1::AuditDirectoryReply>;
    type StatisticsStream = Replies<node_v1::StatisticsRow>;

    async fn send(
        &self,
        request: Request<Streaming<node_v1::SendRequest>>,
    ) -> Result<Response<node_v1::SendReply>, Status> {
        let grant = self.grant(&request)?;
        let mut stream = request.into_inner();
        let Some(send_request::Part::Header(header)) = stream.message().await?.and_then(|first| first.part) else {
            return Err(Error::invalid("the first message of a Send is its header").into());
        };
        let (sender, parts) = mpsc::channel(4);
        tokio::spawn(pump(stream, sender));
        Ok(Response::new(send::send(&self.shell, &grant, header, parts).await?))
    }

    async fn list_inbox(
        &self,
        request: Request<node_v1::ListInboxRequest>,
    ) -> Result<Response<node_v1::ListInboxReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(inbox::list(&self.shell, grant, request.into_inner()).await?))
    }

    async fn watch_inbox(
        &self,
        request: Request<node_v1::WatchInboxRequest>,
    ) -> Result<Response<Self::WatchInboxStream>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(replies(inbox::watch(Arc::clone(&self.shell), grant, &request.into_inner())?)))
    }

    async fn fetch(&self, request: Request<node_v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(replies(inbox::fetch(&self.shell, &grant, request.into_inner()).await?)))
    }

    async fn confirm(
        &self,
        request: Request<node_v1::ConfirmRequest>,
    ) -> Result<Response<node_v1::ConfirmReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(inbox::confirm(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn set_status(
        &self,
        request: Request<node_v1::SetStatusRequest>,
    ) -> Result<Response<node_v1::SetStatusReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(status::set(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn withdraw(
        &self,
        request: Request<node_v1::WithdrawRequest>,
    ) -> Result<Response<node_v1::WithdrawReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(withdraw::withdraw(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn list_outbox(
        &self,
        request: Request<node_v1::ListOutboxRequest>,
    ) -> Result<Response<node_v1::ListOutboxReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(outbox::list(&self.shell, grant, request.into_inner()).await?))
    }

    async fn search_documents(
        &self,
        request: Request<node_v1::SearchDocumentsRequest>,
    ) -> Result<Response<node_v1::SearchDocumentsReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(search::search(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn list_receipts(
        &self,
        request: Request<node_v1::ListReceiptsRequest>,
    ) -> Result<Response<node_v1::ListReceiptsReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(receipts::list(&self.shell, grant, &request.into_inner()).await?))
    }

    async fn get_receipt(
        &self,
        request: Request<node_v1::GetReceiptRequest>,
    ) -> Result<Response<node_v1::GetReceiptReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(receipts::fetch(&self.shell, grant, &request.into_inner()).await?))
    }

    async fn export_bundle(
        &self,
        request: Request<node_v1::ExportBundleRequest>,
    ) -> Result<Response<Self::ExportBundleStream>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(replies(bundle::export(&self.shell, grant, request.into_inner()).await?)))
    }

    async fn search_directory(
        &self,
        request: Request<node_v1::SearchDirectoryRequest>,
    ) -> Result<Response<node_v1::SearchDirectoryReply>, Status> {
        // Whoever may use the node at all may look up whom to write to.
        self.grant(&request)?.need(May::Directory)?;
        Ok(Response::new(directory::search(&self.shell, request.into_inner()).await?))
    }

    async fn audit_directory(
        &self,
        request: Request<node_v1::AuditDirectoryRequest>,
    ) -> Result<Response<Self::AuditDirectoryStream>, Status> {
        // The directory is no secret among agencies.
        self.grant(&request)?.need(May::Directory)?;
        Ok(Response::new(replies(directory::audit(&self.shell, request.into_inner()).await?)))
    }

    async fn list_groups(
        &self,
        request: Request<node_v1::ListGroupsRequest>,
    ) -> Result<Response<node_v1::ListGroupsReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(groups::list(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn put_group(
        &self,
        request: Request<node_v1::PutGroupRequest>,
    ) -> Result<Response<node_v1::PutGroupReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(groups::put(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn delete_group(
        &self,
        request: Request<node_v1::DeleteGroupRequest>,
    ) -> Result<Response<node_v1::DeleteGroupReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(groups::delete(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn counters(
        &self,
        request: Request<node_v1::CountersRequest>,
    ) -> Result<Response<node_v1::CountersReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(duties::counters(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn list_duties(
        &self,
        request: Request<node_v1::ListDutiesRequest>,
    ) -> Result<Response<node_v1::ListDutiesReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(duties::list(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn statistics(
        &self,
        request: Request<node_v1::StatisticsRequest>,
    ) -> Result<Response<Self::StatisticsStream>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(replies(statistics::stream(&self.shell, grant, request.into_inner())?)))
    }

    async fn status(&self, request: Request<node_v1::StatusRequest>) -> Result<Response<node_v1::StatusReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(status::of_node(&self.shell, &grant).await?))
    }
}

/// A service's error as gRPC says it; a refusal goes along for programs.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Invalid => Code::InvalidArgument,
            ErrorKind::Unknown => Code::Unauthenticated,
            ErrorKind::NotEntitled | ErrorKind::WrongRole => Code::PermissionDenied,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::NotNow => Code::FailedPrecondition,
            ErrorKind::Reused => Code::AlreadyExists,
            ErrorKind::Busy | ErrorKind::Exhausted => Code::ResourceExhausted,
            ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::Gone => Code::Cancelled,
            ErrorKind::Internal => Code::Internal,
        };
        match error.refusal() {
            Some(refusal) => Self::with_details(code, error.text(), refusal.encode_to_vec().into()),
            None => Self::new(code, error.text()),
        }
    }
}

fn replies<T: Send + 'static>(items: inbox::Replies<T>) -> Replies<T> {
    Box::pin(ReceiverStream::new(items).map(|item| item.map_err(Status::from)))
}

/// Reads the caller's stream as fast as the pipeline takes it.
async fn pump(mut stream: Streaming<node_v1::SendRequest>, parts: mpsc::Sender<io::Result<Part>>) {
    loop {
        let part = match stream.message().await {
            Ok(Some(message)) => match message.part {
                Some(send_request::Part::Data(data)) if data.len() <= STREAM_CHUNK_BYTES => Ok(Part::Data(data)),
                Some(send_request::Part::File(file)) => Ok(Part::File(file)),
                Some(send_request::Part::Data(_)) => Err(io::Error::other("a message carries at most 1 MiB of data")),
                Some(send_request::Part::Header(_)) | None => Err(io::Error::other("one header, then files and data")),
            },
            Ok(None) => return,
            Err(status) => Err(io::Error::other(format!("the caller broke off: {}", status.message()))),
        };
        let failed = part.is_err();
        if parts.send(part).await.is_err() || failed {
            return;
        }
    }
}
