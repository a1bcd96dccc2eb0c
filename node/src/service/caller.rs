//! Who calls, by the bearer token, and whether it may go on: every request counts against the token's limits.

use tokio::time::Instant;

use super::Error;
use crate::{
    quota::{Exhausted, Measure},
    tokens::{Grant, LiveTokens},
};

/// The caller with this token; one request is taken out of its bucket.
pub(crate) fn admit(tokens: &LiveTokens, bearer: Option<&str>) -> Result<Grant, Error> {
    let bearer = bearer.ok_or_else(|| {
        Error::unknown_caller(
            "send `authorization: Bearer <token>`; the node's administrator makes tokens with `truc-node token add` / Thiếu thẻ truy cập: gửi kèm `authorization: Bearer <thẻ>`; quản trị viên của nút tạo thẻ bằng `truc-node token add`",
        )
    })?;
    match tokens.authorise(bearer) {
        Ok(Some(grant)) => {
            grant.meter.take(Instant::now(), Measure::Requests)?;
            Ok(grant)
        }
        Ok(None) => Err(Error::unknown_caller(
            "this token is unknown or was revoked; ask the node's administrator for a new one / Thẻ truy cập không đúng hoặc đã bị thu hồi; xin quản trị viên của nút cấp thẻ mới",
        )),
        Err(error) => {
            tracing::error!(error = crate::chain(&error), "tokens cannot be read; nobody is let in");
            Err(Error::unknown_caller(
                "the node cannot read its tokens; its administrator finds the reason in the log / Nút không đọc được các thẻ truy cập; quản trị viên xem nhật ký",
            ))
        }
    }
}

impl From<Exhausted> for Error {
    fn from(exhausted: Exhausted) -> Self {
        Self::exhausted(&exhausted)
    }
}
