//! Handing over: a document as fields and files, or an edXML packet; both are sealed while they stream in. Statuses about documents.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    Json,
    body::{Body, BodyDataStream},
    extract::State,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
    },
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use multer::{Constraints, Field, Multipart, SizeLimit};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};
use truc_proto::{
    limits::{
        ATTACHMENTS_MAX, CONTAINER_BYTES_MAX, NAME_BYTES_MAX, PACKET_BYTES_MAX, REST_JSON_BYTES_MAX,
        REST_PART_HEADER_BYTES_MAX, STREAM_CHUNK_BYTES,
    },
    node_v1::{self, PacketForm, SendHeader, send_header::Form, send_reply},
};

use super::{
    BASE, Rest,
    groups::GroupName,
    model::{
        AgencyCode, DocumentForm, DocumentRequest, Envelope, IdempotencyKey, Level, Sent, StatusRequest, StatusSent,
        WithdrawRequest, Withdrawal,
    },
    problem::{Kind, Problem},
    request::{
        Caller, InPath, NoQuery, Query, broken, idempotency_key, json, parse_json, require_media_type, too_long,
    },
    uploads::UploadName,
};
use crate::{
    pipeline::Part,
    service::{send, status, uploads, withdraw as withdrawals},
    tokens::Grant,
    uploads::Upload,
};

type Parts = mpsc::Sender<io::Result<Part>>;

/// Send a document
///
/// The body is `multipart/form-data`: first the part `document` (JSON), then each file as a part `file` with a `filename`. Files that
/// were uploaded before are named in `uploads` of the part `document`; with these alone the body may be that JSON. The answer comes when the document is signed, sealed and on the node's disk (201), or is kept until the node can sign (202). Send
/// the same request under the same `Idempotency-Key` as often as you like: it is sent once.
#[utoipa::path(
    post,
    path = "/documents",
    tag = "Send",
    params(("Idempotency-Key" = inline(IdempotencyKey), Header, description = "Names this request; use the document's own id")),
    request_body(content((DocumentForm = "multipart/form-data"), (DocumentRequest = "application/json"))),
    responses(
        (status = 201, description = "Accepted; `Location` leads to it in the outbox", body = Sent,
            headers(("Location" = String, description = "The document in the outbox"))),
        (status = 202, description = "Held: on the device, sent once the node can sign", body = Sent,
            headers(("Location" = String, description = "The document in the outbox"))),
    )
)]
pub(super) async fn send_document(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    headers: HeaderMap,
    _: NoQuery,
    body: Body,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    if require_media_type(&headers, "application/json").is_ok() {
        let mut document: DocumentRequest = json(&headers, body).await?;
        let chosen = choose(&rest, &grant, std::mem::take(&mut document.uploads)).await?;
        return hand_over(&rest, &grant, document.into_header(key), &chosen, async |_| None).await;
    }
    require_media_type(&headers, "multipart/form-data")?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(content_type).map_err(|error| broken(&error))?;
    let progress = Arc::new(AtomicUsize::new(0));
    let stream = Guarded { body: body.into_data_stream(), without: Arc::clone(&progress) };
    let constraints = Constraints::new().size_limit(SizeLimit::new().whole_stream(CONTAINER_BYTES_MAX));
    let mut form = Incoming { form: Multipart::with_constraints(stream, boundary, constraints), progress };
    let first = form.next().await?.ok_or_else(no_document)?;
    if first.name() != Some("document") {
        return Err(no_document());
    }
    let mut document: DocumentRequest = parse_json(&form.short(first).await?)?;
    let chosen = choose(&rest, &grant, std::mem::take(&mut document.uploads)).await?;
    let header = document.into_header(key);
    let files = async |parts: &Parts| {
        let problem = form.files(parts).await.err()?;
        // The pipeline must not take what came for everything.
        let told = io::Error::other("the multipart body is not valid, or did not come whole");
        let _ = parts.send(Err(told)).await; // the pipeline may have refused already
        Some(problem)
    };
    hand_over(&rest, &grant, header, &chosen, files).await
}

/// The caller's uploads of these ids, each whole.
async fn choose(rest: &Rest, grant: &Grant, ids: Vec<String>) -> Result<Vec<Arc<Upload>>, Problem> {
    if ids.len() > ATTACHMENTS_MAX {
        return Err(Problem::of(Kind::TooLarge));
    }
    let mut chosen = Vec::with_capacity(ids.len());
    for id in ids {
        let upload = uploads::find(&rest.uploads, grant, &id)?;
        uploads::whole(&upload).await?;
        chosen.push(upload);
    }
    Ok(chosen)
}

/// Send an edXML packet
///
/// The body is the packet itself. It is read, checked, signed and sealed as it streams in.
#[utoipa::path(
    post,
    path = "/packets",
    tag = "Send",
    params(
        ("Idempotency-Key" = inline(IdempotencyKey), Header, description = "Names this request; use the document's own id"),
        ("sender" = inline(AgencyCode), Query, description = "The sending agency; the token must cover it"),
        ("recipient" = inline(Option<Vec<AgencyCode>>), Query, description = "A receiving agency; may stand several times. None: the packet's To"),
        ("group" = inline(Option<Vec<GroupName>>), Query, description = "A receiver group of the sender; may stand several times"),
        ("level" = inline(Level), Query, description = "Secrecy level"),
        ("priority" = Option<u32>, Query, minimum = 0, maximum = 4, description = "Urgency; none: the packet's own"),
        ("ttl_s" = Option<u64>, Query, minimum = 0, maximum = 2_592_000, description = "How long it may be under way, in seconds; 0 or none: as the node's settings say"),
        ("upload" = inline(Option<UploadName>), Query, description = "The upload that is the packet; the body is empty then"),
    ),
    request_body(content = String, content_type = "application/xml", description = "The edXML packet"),
    responses(
        (status = 201, description = "Accepted; `Location` leads to it in the outbox", body = Sent,
            headers(("Location" = String, description = "The document in the outbox"))),
        (status = 202, description = "Held: on the device, sent once the node can sign", body = Sent,
            headers(("Location" = String, description = "The document in the outbox"))),
    )
)]
pub(super) async fn send_packet(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    headers: HeaderMap,
    mut query: Query,
    body: Body,
) -> Result<Response, Problem> {
    let (sender, recipients, groups) = (query.wanted("sender"), query.list("recipient"), query.list("group"));
    let level = query.wanted("level");
    let priority = query.number("priority", 0..=4);
    let ttl_s = query.number("ttl_s", 0..=2_592_000).unwrap_or_default();
    let uploaded = query.text("upload");
    query.end()?;
    let idempotency_key = idempotency_key(&headers)?;
    require_media_type(&headers, "application/xml")?;
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > PACKET_BYTES_MAX) {
        return Err(Problem::of(Kind::TooLarge));
    }
    let header = SendHeader {
        idempotency_key,
        sender,
        recipients,
        groups,
        priority: priority.and_then(|number| u32::try_from(number).ok()).unwrap_or_default(),
        priority_from_packet: priority.is_none(),
        level,
        ttl_s,
        // The length does not bind the key: the packet does.
        form: Some(Form::Packet(PacketForm { length: 0 })),
    };
    let uploaded = if uploaded.is_empty() { Vec::new() } else { vec![uploaded] };
    let chosen = choose(&rest, &grant, uploaded).await?;
    let packet = async |parts: &Parts| {
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let (part, problem) = match piece {
                Ok(data) => (Ok(Part::Data(data)), None),
                Err(error) => (Err(io::Error::other(error.to_string())), Some(broken(&error))),
            };
            if parts.send(part).await.is_err() || problem.is_some() {
                return problem;
            }
        }
        None
    };
    hand_over(&rest, &grant, header, &chosen, packet).await
}

/// The pipeline takes the uploads, and what `body` brings behind them; a fault of the body explains the pipeline's.
async fn hand_over(
    rest: &Rest,
    grant: &Grant,
    header: SendHeader,
    chosen: &[Arc<Upload>],
    body: impl AsyncFnOnce(&Parts) -> Option<Problem>,
) -> Result<Response, Problem> {
    let as_files = matches!(header.form, Some(Form::Document(_)));
    let (sender, parts) = mpsc::channel(4);
    let pump = async move {
        uploads::pass_on(chosen, as_files, &sender).await;
        body(&sender).await // and the channel closes
    };
    let sent = send::send(&rest.shell, grant, header, parts);
    let mut sent = std::pin::pin!(sent);
    let mut pump = std::pin::pin!(pump);
    let (mut fault, mut pumped) = (None, false);
    let reply = loop {
        tokio::select! {
            reply = &mut sent => break reply,
            found = &mut pump, if !pumped => (fault, pumped) = (found, true),
        }
    };
    let reply = match (reply, fault) {
        (Ok(reply), None) => reply,
        (_, Some(problem)) => return Err(problem),
        (Err(error), None) => return Err(error.into()),
    };
    if reply.state() == send_reply::State::Refused {
        return Err(Problem::refused(reply));
    }
    // They stay for a while, so that the request can be repeated.
    chosen.iter().for_each(|upload| upload.mark_used());
    let sent = Sent::of(reply.clone());
    let status = if sent.is_held() { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    let mut response = (status, Json(sent)).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("{BASE}/outbox/{}", reply.envelope)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

fn no_document() -> Problem {
    Problem::invalid(
        "the first part of the form is `document`, the fields as JSON; files follow as parts `file`",
        "Phần đầu tiên của biểu mẫu phải là `document` (các trường ở dạng JSON); sau đó là các tệp, mỗi tệp một phần `file`",
    )
}

/// A form that is read as it comes.
struct Incoming {
    form: Multipart<'static>,
    progress: Arc<AtomicUsize>,
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<Field<'static>>, Problem> {
        self.progress.store(0, Ordering::Relaxed);
        self.form.next_field().await.map_err(|error| of_form(&error))
    }

    /// The next bytes of a part.
    async fn piece(&self, field: &mut Field<'static>) -> Result<Option<Bytes>, Problem> {
        self.progress.store(0, Ordering::Relaxed);
        field.chunk().await.map_err(|error| of_form(&error))
    }

    async fn short(&mut self, mut field: Field<'static>) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(&mut field).await? {
            if bytes.len() + piece.len() > REST_JSON_BYTES_MAX {
                return Err(too_long());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Passes the files on; ends early, without a fault, when nobody wants them any more.
    async fn files(&mut self, parts: &Parts) -> Result<(), Problem> {
        while let Some(mut field) = self.next().await? {
            if parts.send(Ok(Part::File(file_header(&field)?))).await.is_err() {
                return Ok(());
            }
            while let Some(mut piece) = self.piece(&mut field).await? {
                while !piece.is_empty() {
                    let data = piece.split_to(piece.len().min(STREAM_CHUNK_BYTES));
                    if parts.send(Ok(Part::Data(data))).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

fn file_header(field: &Field<'_>) -> Result<node_v1::FileHeader, Problem> {
    let name = field.file_name().unwrap_or_default();
    if field.name() != Some("file") || name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Problem::invalid(
            format!(
                "each part behind `document` is named `file` and has a `filename` of at most {NAME_BYTES_MAX} bytes"
            ),
            format!("Mỗi phần sau `document` phải có tên `file` và có `filename` dài tối đa {NAME_BYTES_MAX} byte"),
        ));
    }
    let content_type = field.content_type().map(ToString::to_string).unwrap_or_default();
    let length = field.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(node_v1::FileHeader { name: name.to_owned(), content_type, length: length.unwrap_or_default() })
}

fn of_form(error: &multer::Error) -> Problem {
    match error {
        multer::Error::StreamSizeExceeded { .. } => Problem::of(Kind::TooLarge),
        error => broken(&crate::chain(error)),
    }
}

/// The form's parser keeps what it has not understood yet; this ends it where that grows out of bounds.
struct Guarded {
    body: BodyDataStream,
    /// Bytes given to the parser since it last found something.
    without: Arc<AtomicUsize>,
}

impl Stream for Guarded {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.without.load(Ordering::Relaxed) > REST_PART_HEADER_BYTES_MAX {
            return Poll::Ready(Some(Err(io::Error::other("no part begins where one should"))));
        }
        let piece = Pin::new(&mut self.body).poll_next(cx);
        if let Poll::Ready(Some(Ok(piece))) = &piece {
            self.without.fetch_add(piece.len(), Ordering::Relaxed);
        }
        piece.map(|piece| piece.map(|piece| piece.map_err(io::Error::other)))
    }
}

/// Send a business status
///
/// About a document that was received (01 … 06, 15, 16) or sent (13), to its counterpart. It travels signed and sealed like a document.
#[utoipa::path(
    post,
    path = "/documents/{envelope}/statuses",
    tag = "Statuses",
    params(
        ("envelope" = inline(Envelope), Path, description = "Envelope of the document"),
        ("Idempotency-Key" = inline(IdempotencyKey), Header, description = "Names this request"),
    ),
    request_body = StatusRequest,
    responses((status = 201, description = "On the device, signed and on its way", body = StatusSent))
)]
pub(super) async fn set_status(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    headers: HeaderMap,
    _: NoQuery,
    body: Body,
) -> Result<(StatusCode, Json<StatusSent>), Problem> {
    let idempotency_key = idempotency_key(&headers)?;
    let StatusRequest { from, to, code, reason, staff, sender } = json(&headers, body).await?;
    let envelope = path.take("envelope");
    let request = node_v1::SetStatusRequest { envelope, from, to, code, reason, staff, idempotency_key, sender };
    let reply = status::set(&rest.shell, &grant, request).await?;
    Ok((StatusCode::CREATED, Json(reply.into())))
}

/// Take a document back
///
/// From some recipients or all, with a reason. What has not left yet is withdrawn at once; every other recipient is asked (status 13)
/// and answers with 15, which closes its copy, or 16.
#[utoipa::path(
    post,
    path = "/documents/{envelope}/withdrawal",
    tag = "Send",
    params(
        ("envelope" = inline(Envelope), Path, description = "Envelope of the document"),
        ("Idempotency-Key" = inline(IdempotencyKey), Header, description = "Names this request: each recipient is asked once"),
    ),
    request_body = WithdrawRequest,
    responses((status = 200, description = "What becomes of each recipient", body = Withdrawal))
)]
pub(super) async fn withdraw(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    headers: HeaderMap,
    _: NoQuery,
    body: Body,
) -> Result<Json<Withdrawal>, Problem> {
    let idempotency_key = idempotency_key(&headers)?;
    let WithdrawRequest { from, recipients, reason, staff } = json(&headers, body).await?;
    let envelope = path.take("envelope");
    let request = node_v1::WithdrawRequest { envelope, from, recipients, reason, staff, idempotency_key };
    Ok(Json(withdrawals::withdraw(&rest.shell, &grant, request).await?.into()))
}
