//! The local gRPC API of cipher administrators: a thin face over [`crate::service::certificates`].

use tonic::{Request, Response, Status};
use truc_proto::node_v1::{self, administration_server::Administration};

use super::Api;
use crate::service::certificates;

#[tonic::async_trait]
impl Administration for Api {
    async fn certificates(
        &self,
        request: Request<node_v1::CertificatesRequest>,
    ) -> Result<Response<node_v1::CertificatesReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(certificates::list(&self.shell, &grant).await?))
    }

    async fn request_certificate(
        &self,
        request: Request<node_v1::RequestCertificateRequest>,
    ) -> Result<Response<node_v1::RequestCertificateReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(certificates::request(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn import_certificate(
        &self,
        request: Request<node_v1::ImportCertificateRequest>,
    ) -> Result<Response<node_v1::ImportCertificateReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(certificates::import(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn plan_rotation(
        &self,
        request: Request<node_v1::RotateRequest>,
    ) -> Result<Response<node_v1::RotationPlan>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(certificates::plan(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn rotate(&self, request: Request<node_v1::RotateRequest>) -> Result<Response<node_v1::RotateReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(certificates::rotate(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn retire_certificate(
        &self,
        request: Request<node_v1::RetireCertificateRequest>,
    ) -> Result<Response<node_v1::RetireCertificateReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(certificates::retire(&self.shell, &grant, request.into_inner()).await?))
    }

    async fn revoke_certificate(
        &self,
        request: Request<node_v1::RevokeCertificateRequest>,
    ) -> Result<Response<node_v1::RevokeCertificateReply>, Status> {
        let grant = self.grant(&request)?;
        Ok(Response::new(certificates::revoke(&self.shell, &grant, request.into_inner()).await?))
    }
}
