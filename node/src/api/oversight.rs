//! What administrators did, and what they ask of each other.

use tonic::{Request, Response, Status};
use truc_proto::node_v1::{self, oversight_server::Oversight};

use super::Api;
use crate::service::{administration, pins};

#[tonic::async_trait]
impl Oversight for Api {
    async fn administration_log(
        &self,
        request: Request<node_v1::AdministrationLogRequest>,
    ) -> Result<Response<node_v1::AdministrationLogReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(administration::log(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn pending_approvals(
        &self,
        request: Request<node_v1::PendingApprovalsRequest>,
    ) -> Result<Response<node_v1::PendingApprovalsReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(administration::pending(&self.shell, &grant).await?))
    }

    async fn answer_approval(
        &self,
        request: Request<node_v1::AnswerApprovalRequest>,
    ) -> Result<Response<node_v1::AnswerApprovalReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(administration::answer(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn withdraw_token(
        &self,
        request: Request<node_v1::WithdrawTokenRequest>,
    ) -> Result<Response<node_v1::WithdrawTokenReply>, Status> {
        let grant = self.grant(&request)?;
        let withdrawn = administration::withdraw_token(&self.shell, &self.tokens, &grant, request.into_inner());
        Ok(Response::new(withdrawn.await?))
    }
    async fn give_pin(
        &self,
        request: Request<node_v1::GivePinRequest>,
    ) -> Result<Response<node_v1::GivePinReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(pins::give(&self.shell, &grant, request.into_inner()).await?))
    }
}
