//! Who calls, by the bearer token or the client certificate, and whether it may go on: every request counts against the token's limits.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use truc_proto::limits::CHAIN_CERTIFICATES_MAX;
use truc_signer::{Certificate, CertificateUse, TrustStore, Verdict, path::validate_with};

use super::Error;
use crate::{
    quota::{Exhausted, Measure},
    shell::clock,
    tokens::{Grant, LiveTokens, TokenError},
};

/// A client certificate whose key the handshake has proven. Whether it is believed is asked at every request: it may be revoked while a connection lasts.
#[derive(Clone, Debug)]
pub(crate) struct Presented(Arc<[Certificate]>);

impl Presented {
    /// What came in a handshake; none: nothing, or nothing that can be read.
    pub(crate) fn of(chain: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let read = |one: &CertificateDer<'_>| Certificate::from_der(one).ok();
        let chain: Vec<_> = chain?.iter().take(CHAIN_CERTIFICATES_MAX).map_while(read).collect();
        (!chain.is_empty()).then(|| Self(chain.into()))
    }

    /// The certificate, if it is believed now.
    fn believed(&self, trust: &TrustStore) -> Result<&Certificate, Error> {
        let Some((own, above)) = self.0.split_first() else { return Err(no_token()) };
        match validate_with(trust, own, above, CertificateUse::Tls, clock::now()) {
            Ok(Verdict::Good) => Ok(own),
            Ok(Verdict::Revoked { at, .. }) => Err(Error::unknown_caller(format!(
                "your client certificate is revoked since {at}; use a new one / Chứng thư của bạn đã bị thu hồi từ {}; hãy dùng chứng thư mới",
                at.in_vietnam()
            ))),
            Ok(Verdict::Unknown(why)) => {
                tracing::warn!(certificate = %own.sha256(), %why, "whether a client certificate is revoked cannot be told; it is let in");
                Ok(own)
            }
            Err(error) => Err(Error::unknown_caller(format!(
                "your client certificate is not believed: {error} / Chứng thư của bạn không được tin cậy hoặc đã hết hạn"
            ))),
        }
    }
}

/// The caller with this token, else with this client certificate; one request is taken out of its bucket.
pub(crate) fn admit(
    tokens: &LiveTokens,
    trust: &TrustStore,
    bearer: Option<&str>,
    presented: Option<&Presented>,
) -> Result<Grant, Error> {
    let (found, unknown) = match (bearer, presented) {
        (Some(bearer), _) => (
            tokens.authorise(bearer),
            "this token is unknown or was revoked; ask the node's administrator for a new one / Thẻ truy cập không đúng hoặc đã bị thu hồi; xin quản trị viên của nút cấp thẻ mới",
        ),
        (None, Some(presented)) => (
            tokens.by_certificate(&presented.believed(trust)?.sha256()),
            "this client certificate is not let in; the node's administrator does that with `truc-node token add --certificate` / Chứng thư này chưa được phép; quản trị viên của nút cho phép bằng `truc-node token add --certificate`",
        ),
        (None, None) => return Err(no_token()),
    };
    let grant = found.map_err(|error| unreadable(&error))?.ok_or_else(|| Error::unknown_caller(unknown))?;
    grant.meter.take(Instant::now(), Measure::Requests)?;
    Ok(grant)
}

fn no_token() -> Error {
    Error::unknown_caller(
        "send `authorization: Bearer <token>`; the node's administrator makes tokens with `truc-node token add` / Thiếu thẻ truy cập: gửi kèm `authorization: Bearer <thẻ>`; quản trị viên của nút tạo thẻ bằng `truc-node token add`",
    )
}

fn unreadable(error: &TokenError) -> Error {
    tracing::error!(error = crate::chain(error), "tokens cannot be read; nobody is let in");
    Error::unknown_caller(
        "the node cannot read its tokens; its administrator finds the reason in the log / Nút không đọc được các thẻ truy cập; quản trị viên xem nhật ký",
    )
}

impl From<Exhausted> for Error {
    fn from(exhausted: Exhausted) -> Self {
        Self::exhausted(&exhausted)
    }
}
