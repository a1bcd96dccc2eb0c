//! Around every request: its body is read under limits of time, what is left of it is thrown away after the answer, panics and
//! problems become answers in the client's language.

use std::{
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderValue,
        header::{CONNECTION, EXPECT},
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tracing::{error, info};
use truc_proto::limits::{REST_DISCARD_BYTES_MAX, REST_QUERY_BYTES_MAX, REST_STALL_MS_MAX};

use super::problem::{Kind, Problem};
use crate::shell::lock;

/// The outermost layer.
pub(super) async fn around(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let headers = parts.headers.clone();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    if parts.uri.query().is_some_and(|query| query.len() > REST_QUERY_BYTES_MAX) {
        return Problem::invalid(
            format!("the query is longer than {REST_QUERY_BYTES_MAX} bytes; shorten it"),
            format!("Chuỗi truy vấn dài quá {REST_QUERY_BYTES_MAX} byte; hãy rút ngắn"),
        )
        .render(&headers);
    }
    let shared = Arc::new(Mutex::new(Shared { body, late: false, begun: false }));
    let watched = Watched { shared: Arc::clone(&shared), stalled: None };
    let mut answer = Box::pin(next.run(Request::from_parts(parts, Body::new(watched))));
    let answered = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    });
    let mut response = answered.await.unwrap_or_else(|| {
        error!(%method, path, "a request panicked; this is a defect");
        Problem::of(Kind::Internal).into_response()
    });
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        info!(%method, path, problem = problem.kind().name(), "answered with a problem");
        let late = lock(&shared).late;
        let problem = if late { Problem::of(Kind::TooSlow) } else { problem };
        let mut rendered = problem.render(&headers);
        for (name, value) in response.headers() {
            // `Allow`, say; what describes the body is the problem's own.
            if !rendered.headers().contains_key(name) && name != "content-length" {
                rendered.headers_mut().append(name, value.clone());
            }
        }
        response = rendered;
    }
    // Who waits for "100 Continue" has sent nothing yet, and is spared it.
    let waits = headers.contains_key(EXPECT) && !lock(&shared).begun;
    if waits || !discard(&shared).await {
        // What of the body has not come cannot be told from a next request.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

struct Shared {
    body: Body,
    late: bool,
    begun: bool,
}

/// A client that is answered before it has sent everything may see no answer at all: the rest is read and thrown away, up to a limit.
async fn discard(shared: &Arc<Mutex<Shared>>) -> bool {
    let mut rest = Watched { shared: Arc::clone(shared), stalled: None };
    let mut left = REST_DISCARD_BYTES_MAX;
    while left > 0 {
        match poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                left = left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
            }
        }
    }
    false
}

/// A body that makes progress, or breaks off.
struct Watched {
    shared: Arc<Mutex<Shared>>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Self { shared, stalled } = &mut *self;
        let mut inner = lock(shared);
        if inner.late {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        if inner.body.is_end_stream() {
            return Poll::Ready(None);
        }
        inner.begun = true;
        if let Poll::Ready(frame) = Pin::new(&mut inner.body).poll_frame(cx) {
            *stalled = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        let until = || Box::pin(tokio::time::sleep_until(Instant::now() + Duration::from_millis(REST_STALL_MS_MAX)));
        match stalled.get_or_insert_with(until).as_mut().poll(cx) {
            Poll::Ready(()) => {
                inner.late = true;
                Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.shared).body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.shared).body.size_hint()
    }
}
