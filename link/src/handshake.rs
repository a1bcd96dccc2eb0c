//! The TLS configuration of one handshake. Each has a verifier of its own, which keeps what it decided, and why.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    sign::SingleCertAndKey,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use truc_signer::PathError;

use crate::{
    identity::provider,
    lane_protocol,
    link::{Accepted, Inner},
    registry::Side,
    trust::PeerRefused,
};

/// Checks one peer and remembers the outcome, which rustls itself has no place for.
pub(crate) struct Verifier {
    link: Arc<Inner>,
    side: Side,
    outcome: Mutex<Option<Result<Accepted, PeerRefused>>>,
}

impl Verifier {
    pub(crate) fn new(link: &Arc<Inner>, side: Side) -> Arc<Self> {
        Arc::new(Self { link: Arc::clone(link), side, outcome: Mutex::new(None) })
    }

    /// What was decided; `None` when the handshake did not come that far.
    pub(crate) fn outcome(&self) -> Option<Result<Accepted, PeerRefused>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn verify(&self, leaf: &CertificateDer<'_>, sent: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let chain: Vec<_> = std::iter::once(leaf).chain(sent).cloned().map(CertificateDer::into_owned).collect();
        let outcome = self.link.authorize(chain, self.side, now);
        let told = outcome.as_ref().map(|_| ()).map_err(alert_for);
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        told
    }
}

/// What the peer hears: enough for its administrator, nothing about our lists.
fn alert_for(refused: &PeerRefused) -> Error {
    Error::InvalidCertificate(match refused {
        PeerRefused::Revoked => CertificateError::Revoked,
        PeerRefused::NoCertificate | PeerRefused::ChainTooLarge | PeerRefused::Malformed => {
            CertificateError::BadEncoding
        }
        PeerRefused::WrongUse { .. } => CertificateError::InvalidPurpose,
        PeerRefused::Path(error) => match error.as_ref() {
            PathError::Expired { .. } => CertificateError::Expired,
            PathError::NotYetValid { .. } => CertificateError::NotValidYet,
            PathError::UnknownIssuer { .. } => CertificateError::UnknownIssuer,
            PathError::WrongUse { .. } => CertificateError::InvalidPurpose,
            other => CertificateError::Other(OtherError(Arc::new(other.clone()))),
        },
        PeerRefused::NotAdmitted(_) | PeerRefused::WrongPeer { .. } => CertificateError::ApplicationVerificationFailure,
    })
}

/// What an alert about our certificate means to our administrator.
pub(crate) fn alert_meaning(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRevoked => "it holds our TLS certificate for revoked",
        AlertDescription::CertificateExpired => "it holds our TLS certificate for expired or not yet valid",
        AlertDescription::UnknownCA => "it does not know the authority of our TLS certificate",
        AlertDescription::AccessDenied => "the directory it has does not list our TLS certificate",
        AlertDescription::UnsupportedCertificate => "our certificate is not for TLS",
        AlertDescription::ProtocolVersion => "it does not speak TLS 1.3",
        AlertDescription::HandshakeFailure => "it shares no key exchange or signature with us",
        _ => "see its log",
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({:?}, {:?})", self.link.lane, self.side)
    }
}

/// For accepting: only our lane's name, a client certificate always, nothing resumed.
pub(crate) fn server_config(link: &Inner, verifier: Arc<Verifier>) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(link.identity())));
    config.alpn_protocols = vec![lane_protocol(link.lane).to_vec()];
    // A resumed session would carry an old verdict into a new connection.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// For dialling: the same from the other side.
pub(crate) fn client_config(link: &Inner, verifier: Arc<Verifier>) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(link.identity())));
    config.alpn_protocols = vec![lane_protocol(link.lane).to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What both sides' verifiers leave to the provider: the signature over the handshake.
macro_rules! signatures_are_checked_by_the_provider {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider().signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: there is one certificate to choose, and strangers need not learn whom we trust.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(leaf, sent, now).map(|()| ClientCertVerified::assertion())
    }

    signatures_are_checked_by_the_provider!();
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Not the DNS name: the directory binds this very certificate to the node that was called, which is narrower.
        self.verify(leaf, sent, now).map(|()| ServerCertVerified::assertion())
    }

    signatures_are_checked_by_the_provider!();
}
