//! The way to a node's local API over TLS, with a client certificate where one is wanted.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, sign::SingleCertAndKey};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use truc_proto::limits::HANDSHAKE_MS_MAX;
use truc_signer::Certificate;

use crate::{Identity, identity::provider};

/// Why a node is not reached over TLS.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Not an address.
    #[error("{0} is not an address such as https://node.example:7440")]
    Address(String),
    /// Nobody is named whom the node's certificate could be trusted by.
    #[error("an authority's certificate cannot be used")]
    Authority(#[source] rustls::Error),
    /// No connection.
    #[error("no connection")]
    Connect(#[from] tonic::transport::Error),
}

/// Connects to `address`, whose certificate these authorities vouch for.
///
/// # Errors
/// When nobody is there, or either side does not believe the other's certificate.
pub async fn connect_local(
    address: &str,
    authorities: &[Certificate],
    identity: Option<&Identity>,
) -> Result<Channel, LocalError> {
    let wrong = || LocalError::Address(address.to_owned());
    let uri: Uri = address.parse().map_err(|_| wrong())?;
    let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
    let place = (host, uri.port_u16().unwrap_or(443));
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(CertificateDer::from(authority.der().to_vec())).map_err(LocalError::Authority)?;
    }
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(LocalError::Authority)?.with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified()))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(Arc::new(config));
    let connector = tower::service_fn(move |_: Uri| {
        let (tls, name, place) = (tls.clone(), name.clone(), place.clone());
        async move {
            let shaken = async { tls.connect(name, TcpStream::connect(place).await?).await };
            let shaken = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MS_MAX), shaken);
            shaken.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(TokioIo::new)
        }
    });
    // The connector speaks TLS itself.
    let plain = address.replacen("https://", "http://", 1);
    Ok(Endpoint::from_shared(plain).map_err(|_| wrong())?.connect_with_connector(connector).await?)
}
