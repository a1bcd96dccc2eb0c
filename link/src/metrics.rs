//! Figures for monitoring, as Prometheus reads them (text format 0.0.4), on a listener of their own: `GET /metrics`, in the clear, nothing
//! else. They name agencies by their codes and nothing of documents.

use std::{collections::BTreeMap, convert::Infallible, fmt::Write as _, sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};
use truc_proto::{
    Timestamp,
    limits::{METRICS_CALL_MS_MAX, METRICS_CONNECTIONS_MAX, METRICS_HEAD_BYTES_MAX},
};
use truc_signer::path::ListState;

use crate::revocation::AskOutcome;

const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// After a failed accept (no file descriptors left), before the next.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Figures as they are written down.
#[derive(Debug, Default)]
pub struct Figures(String);

impl Figures {
    /// One that may rise and fall, alone.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.gauges(name, help, [(Vec::new(), value)]);
    }

    /// Ones of one name that differ by their labels.
    pub fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'static str, &'l str)>, u64)>,
    ) {
        self.family("gauge", name, help, samples);
    }

    /// Ones that only rise, from the start on; `name` ends in `_total`.
    pub fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'static str, &'l str)>, u64)>,
    ) {
        self.family("counter", name, help, samples);
    }

    fn family<'l>(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'static str, &'l str)>, u64)>,
    ) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let labels: Vec<String> =
                labels.into_iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    /// What is known of revocation: the newest list of each authority, and what became of questions to OCSP responders since the start.
    pub fn revocation<'l>(
        &mut self,
        prefix: &str,
        lists: &'l [ListState],
        asked: &BTreeMap<AskOutcome, u64>,
        now: Timestamp,
    ) {
        let issuer = |list: &'l ListState| vec![("issuer", list.issuer.as_str())];
        let ages = lists.iter().map(|list| (issuer(list), now.since(list.this_update).as_secs()));
        let age = "How long ago the newest revocation list of an authority was issued.";
        self.gauges(&format!("{prefix}_revocation_list_age_seconds"), age, ages);
        let seconds = |at: Timestamp| u64::try_from(at.unix_s()).unwrap_or_default();
        let dues = lists.iter().filter_map(|list| Some((issuer(list), seconds(list.next_update?))));
        let due = "When its successor is due, in seconds since 1970.";
        self.gauges(&format!("{prefix}_revocation_list_next_update_seconds"), due, dues);
        let asked = asked.iter().map(|(outcome, count)| (vec![("outcome", outcome.as_str())], *count));
        self.gauges(&format!("{prefix}_ocsp_asked"), "Questions to OCSP responders since the start.", asked);
    }

    /// The whole text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Answers with what `figures` gives, until it is dropped. None: there are no figures now.
pub async fn serve_metrics<F>(listener: TcpListener, figures: impl Fn() -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = Option<String>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the metrics listener could not take a connection");
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        let figures = figures.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let figures = figures.clone();
            async move { Ok::<_, Infallible>(answer(&request, figures).await) }
        });
        tokio::spawn(async move {
            let _permit = permit;
            let limit = Duration::from_millis(METRICS_CALL_MS_MAX);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limit)
                .max_buf_size(METRICS_HEAD_BYTES_MAX)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            // Who is slow, or breaks off, asks again.
            let _ = tokio::time::timeout(limit, connection).await;
        });
    }
}

async fn answer<F: Future<Output = Option<String>>>(
    request: &Request<Incoming>,
    figures: impl Fn() -> F,
) -> Response<String> {
    let say = |status: StatusCode, media_type: &'static str, text: String| {
        let mut response = Response::new(text);
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(media_type));
        response
    };
    let plain = "text/plain; charset=utf-8";
    match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET) => match figures().await {
            Some(text) => say(StatusCode::OK, MEDIA_TYPE, text),
            None => say(StatusCode::SERVICE_UNAVAILABLE, plain, "stopping\n".to_owned()),
        },
        ("/metrics", _) => say(StatusCode::METHOD_NOT_ALLOWED, plain, "GET only\n".to_owned()),
        _ => say(StatusCode::NOT_FOUND, plain, "figures are at /metrics\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    #[test]
    fn figures_are_written_as_the_format_has_them() {
        let mut figures = Figures::default();
        figures.gauge("truc_a", "How many.", 7);
        figures.gauges("truc_b", "By code.", [(vec![("code", "H26"), ("kind", "a\"b\\c\nd")], 1)]);
        let wanted = "# HELP truc_a How many.\n# TYPE truc_a gauge\ntruc_a 7\n# HELP truc_b By code.\n# TYPE truc_b gauge\ntruc_b{code=\"H26\",kind=\"a\\\"b\\\\c\\nd\"} 1\n";
        assert_eq!(figures.into_text(), wanted);
        let mut figures = Figures::default();
        figures.counters("truc_c_total", "Since.", [(Vec::new(), 2)]);
        assert_eq!(figures.into_text(), "# HELP truc_c_total Since.\n# TYPE truc_c_total counter\ntruc_c_total 2\n");
    }

    async fn ask(address: std::net::SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await; // a reset ends it, too
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn nothing_but_the_figures_is_served_and_whoever_is_rude_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve_metrics(listener, || async { Some("truc_a 7\n".to_owned()) }));
        let got = ask(address, b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\ntruc_a 7\n"), "{got}");
        assert!(got.contains("content-type: text/plain; version=0.0.4"), "{got}");
        for (request, status) in [
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "404"),
            ("GET /metrics/../keys HTTP/1.1\r\nhost: a\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", "405"),
            ("nothing\r\n\r\n", "400"),
        ] {
            let got = ask(address, request.as_bytes()).await;
            assert!(got.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {got}");
        }
        let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(2 * METRICS_HEAD_BYTES_MAX));
        assert!(!ask(address, long.as_bytes()).await.contains("truc_a"));
        serving.abort();
    }
}
