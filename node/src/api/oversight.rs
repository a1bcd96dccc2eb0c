//! What administrators did, and what they ask of each other.

use tonic::{Request, Response, Status};
use truc_proto::node_v1::{self, oversight_server::Oversight};

use super::Api;
use crate::service::administration;

#[tonic::async_trait]
impl Oversight for Api {
    async fn administration_log(
        &self,
        request: Request<node_v1::AdministrationLogRequest>,
    ) -> Result<Response<node_v1::AdministrationLogReply>, Status> {
        let grant = self.grant(request.metadata())?;
        Ok(Response::new(administration::log(&self.shell, &grant, request.into_inner()).await?))
    }
}
