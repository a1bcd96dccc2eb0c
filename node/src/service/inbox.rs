//! The inbox: list, watch, fetch, confirm.

use std::{
    collections::HashSet,
    io::{self, Write},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use tokio::sync::{
    broadcast::error::RecvError,
    mpsc::{self, error::TrySendError},
};
use tracing::info;
use truc_proto::{AgencyId, EventUri, Preamble, Raw, Role, node_v1};

use super::{
    Error, ErrorKind, envelope_id, links, not_found, pages,
    roles::May,
    view::{self, Statuses},
};
use crate::{
    core::{Answer, CodeState, Core, Input, Key, Received, Removal},
    pipeline::{FetchSink, FetchWhat, PipelineError},
    shell::{Bodies, BodyError, Shell, Worker},
    tokens::Grant,
};

/// What comes one by one, until the sending side is done or says why not.
pub(crate) type Replies<T> = mpsc::Receiver<Result<T, Error>>;

/// Bytes of one message of a Fetch.
const FETCH_BYTES: usize = 256 * 1024;

/// Entries that a watch reads at once.
const WATCH_PAGE: usize = 500;

/// An entry and where its bodies stand.
pub(crate) struct Found {
    item: node_v1::InboxItem,
    body: u64,
    content: u64,
    statuses: Statuses,
}

pub(crate) async fn list(
    shell: &Arc<Shell>,
    grant: Grant,
    request: node_v1::ListInboxRequest,
) -> Result<node_v1::ListInboxReply, Error> {
    grant.need(May::List)?;
    let only = if request.code.is_empty() { None } else { Some(super::code(&grant, &request.code, "code")?) };
    let (before, size) = (pages::read_token(&request.page_token)?, pages::size(request.page_size));
    let with_confirmed = request.with_confirmed;
    let (granted, code) = (grant.clone(), only.clone());
    let open = shell.engine.ask(move |core| {
        pages::open(core.received(), before, size, |received| shown(received, &granted, code.as_ref(), with_confirmed))
    });
    let open = open.await?;
    // What left memory was confirmed, or is not to be.
    let closed = if with_confirmed {
        let archive = shell.archive.clone();
        let entries = move |key: &Key| {
            archive.received(key).map(|received| shown(&received, &grant, only.as_ref(), true)).unwrap_or_default()
        };
        Some(pages::closed(shell, false, before, size, entries).await?)
    } else {
        None
    };
    let (found, next) = pages::merge(open, closed, size);
    if !found.is_empty() {
        links::catch_up(shell).await?;
    }
    let items = fill(shell, found).await?;
    Ok(node_v1::ListInboxReply { items, next_page_token: next.map(pages::token).unwrap_or_default() })
}

/// For those who watch: what is open, oldest first.
fn page(core: &Core, grant: &Grant, only: Option<&AgencyId>, from: u64) -> (Vec<Found>, Option<u64>) {
    let mut found = Vec::new();
    for (position, received) in core.received().range(from..) {
        if found.len() >= WATCH_PAGE {
            return (found, Some(*position));
        }
        found.extend(shown(received, grant, only, false));
    }
    (found, None)
}

/// The entries of one envelope, per code that the caller may see.
pub(crate) fn shown(received: &Received, grant: &Grant, only: Option<&AgencyId>, with_confirmed: bool) -> Vec<Found> {
    let Some(content) = received.content else { return Vec::new() };
    let visible = |(code, entry): &(&AgencyId, &crate::core::Code)| {
        let wanted = match entry.state {
            CodeState::Taken | CodeState::Failed => false,
            // What was withdrawn is no current document.
            CodeState::Consigned | CodeState::HandoverFailed => with_confirmed || !entry.business.is_withdrawn(),
            CodeState::HandedOver => with_confirmed,
        };
        wanted && grant.allows(code) && only.is_none_or(|only| only == *code)
    };
    let entries = received.codes.iter().filter(visible);
    entries
        .map(|(code, entry)| Found {
            item: view::inbox_item(received, code, entry),
            body: received.body,
            content,
            statuses: Statuses::of(&entry.business, &received.key, code),
        })
        .collect()
}

/// Adds what stands in the journal.
pub(crate) async fn fill(shell: &Arc<Shell>, found: Vec<Found>) -> Result<Vec<node_v1::InboxItem>, Error> {
    let bodies = shell.bodies();
    let work = move || found.into_iter().map(|found| fill_one(&bodies, found)).collect::<Result<Vec<_>, BodyError>>();
    let mut items = shell.work("reading the inbox", work).await?.map_err(|e| Error::internal(crate::chain(&e)))?;
    links::of_received(shell, &mut items).await?;
    Ok(items)
}

fn fill_one(bodies: &Bodies, found: Found) -> Result<node_v1::InboxItem, BodyError> {
    let Found { mut item, body, content, statuses } = found;
    let preamble = Raw::<Preamble>::parse(bodies.incoming(body)?.preamble);
    let level = preamble.map(|preamble| preamble.level.to_string()).unwrap_or_default();
    view::add_content(&mut item, &bodies.content(content)?, level);
    item.statuses = statuses.read(bodies)?;
    (item.withdrawal_reason, item.withdrawn_at) = view::withdrawal_words(&item.statuses);
    Ok(item)
}

/// First what is not confirmed, then what comes.
pub(crate) fn watch(
    shell: Arc<Shell>,
    grant: Grant,
    request: &node_v1::WatchInboxRequest,
) -> Result<Replies<node_v1::InboxItem>, Error> {
    grant.need(May::List)?;
    let only = if request.code.is_empty() { None } else { Some(super::code(&grant, &request.code, "code")?) };
    let (sender, items) = mpsc::channel(16);
    tokio::spawn(async move {
        if let Err(status) = follow(&shell, &grant, only.as_ref(), &sender).await {
            let _ = sender.send(Err(status)).await; // the caller may be gone
        }
    });
    Ok(items)
}

async fn follow(
    shell: &Arc<Shell>,
    grant: &Grant,
    only: Option<&AgencyId>,
    sender: &mpsc::Sender<Result<node_v1::InboxItem, Error>>,
) -> Result<(), Error> {
    // Listened to before the list is read, so that nothing falls between.
    let mut arrivals = shell.arrivals.subscribe();
    let mut stopping = shell.stopping.clone();
    let mut told = HashSet::new();
    loop {
        let mut from = 0;
        loop {
            let (granted, code) = (grant.clone(), only.cloned());
            let page = shell.engine.ask(move |core| page(core, &granted, code.as_ref(), from));
            let (found, next) = page.await?;
            for item in fill(shell, found).await? {
                if told.insert((item.sender.clone(), item.envelope.clone(), item.recipient.clone()))
                    && sender.send(Ok(item)).await.is_err()
                {
                    return Ok(());
                }
            }
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        loop {
            let arrival = tokio::select! {
                arrival = arrivals.recv() => arrival,
                () = sender.closed() => return Ok(()),
                _ = stopping.changed() => return Err(Error::unavailable("the node is stopping; connect again")),
            };
            match arrival {
                Ok((key, code)) if grant.allows(&code) && only.is_none_or(|only| *only == code) => {
                    let (granted, wanted) = (grant.clone(), key.clone());
                    let found = shell.engine.ask(move |core| {
                        core.find_received(&wanted).map(|received| shown(received, &granted, Some(&code), true))
                    });
                    for item in fill(shell, found.await?.unwrap_or_default()).await? {
                        if told.insert((item.sender.clone(), item.envelope.clone(), item.recipient.clone()))
                            && sender.send(Ok(item)).await.is_err()
                        {
                            return Ok(());
                        }
                    }
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => break, // too slow for the channel: the list has it all
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}

pub(crate) async fn confirm(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::ConfirmRequest,
) -> Result<node_v1::ConfirmReply, Error> {
    grant.need(May::Receive)?;
    let (envelope, code) = (envelope_id(&request.envelope)?, super::code(grant, &request.recipient, "recipient")?);
    if request.refused && request.reason.trim().is_empty() {
        return Err(Error::invalid("`reason` says why the document was not taken"));
    }
    if request.reason.chars().count() > truc_proto::limits::STATUS_TEXT_CHARS_MAX {
        return Err(Error::invalid("`reason` is too long"));
    }
    let sender = super::found::sender_of(&request.sender)?;
    let found = super::found::received_for(shell, envelope, &code, sender.as_ref()).await?.ok_or_else(not_found)?;
    let key = found.key;
    // What left memory was handed over before.
    let before =
        found.codes.get(&code).filter(|code| code.state == CodeState::HandedOver).and_then(|code| code.confirmed_at);
    let refused = request.refused.then_some(request.reason);
    let recipient = code.clone();
    let answer = shell.engine.call(|reply| Input::Confirm { key, code, refused, reply }).await?;
    match answer {
        Answer::Confirmed { at, first } => {
            info!(%envelope, %recipient, first, "handed over");
            Ok(node_v1::ConfirmReply { confirmed_at: at.to_string(), first })
        }
        Answer::NotNow(why) => Err(Error::not_now(why)),
        _ => match before.filter(|_| !request.refused) {
            Some(at) => Ok(node_v1::ConfirmReply { confirmed_at: at.to_string(), first: false }),
            None => Err(not_found()),
        },
    }
}

pub(crate) async fn fetch(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::FetchRequest,
) -> Result<Replies<node_v1::FetchChunk>, Error> {
    grant.need(May::Receive)?;
    use node_v1::fetch_request::What;
    let (envelope, code) = (envelope_id(&request.envelope)?, super::code(grant, &request.recipient, "recipient")?);
    let sender = super::found::sender_of(&request.sender)?;
    let received = super::found::received_for(shell, envelope, &code, sender.as_ref()).await?.ok_or_else(not_found)?;
    let readable = received.codes.get(&code).is_some_and(|code| code.consigned_at.is_some());
    if let Some(removal) = received.removed {
        return Err(removed(&removal));
    }
    let (body, content) = (received.body, received.content.filter(|_| readable).ok_or_else(not_found)?);
    let entry = received.codes.get(&code);
    if !request.even_withdrawn && entry.is_some_and(|entry| entry.business.is_withdrawn()) {
        return Err(withdrawn());
    }
    let by_relay = |step: &&crate::core::Step| (step.event, step.role) == (EventUri::RelayAcceptance, Role::Relay);
    let relayed = received.steps.iter().find(by_relay).map(|step| step.time);
    let what = match request.what {
        Some(What::Container(true)) => FetchWhat::Container { offset: request.offset },
        Some(What::Edxml(true)) => {
            let relay = relayed.map(|at| (shell.relay_id.to_string(), at));
            let own = entry.and_then(|entry| entry.consigned_at).map(|at| (code.to_string(), at));
            FetchWhat::Edxml { stamps: relay.into_iter().chain(own).collect() }
        }
        Some(What::Attachment(name)) => FetchWhat::Attachment(name),
        _ => return Err(Error::invalid("say what to fetch: `container`, `edxml` or `attachment`")),
    };
    if request.offset > 0 && !matches!(what, FetchWhat::Container { .. }) {
        return Err(Error::invalid("`offset` resumes a container alone"));
    }
    let (sender, chunks) = mpsc::channel(4);
    let (bodies, pipeline, inner) = (shell.bodies(), Arc::clone(&shell.pipeline), Arc::clone(shell));
    tokio::spawn(async move {
        let broken = sender.clone();
        let work = move |worker: &mut Worker| {
            let mut sink = ChannelSink::new(sender, worker);
            let read = || -> Result<_, BodyError> { Ok((bodies.incoming(body)?, bodies.content(content)?)) };
            let done = match read() {
                Ok((incoming, content)) => pipeline
                    .fetch(&incoming, &content, &what, &mut sink)
                    .and_then(|()| sink.flush().map_err(PipelineError::Sink))
                    .map_err(|error| to_status(&error)),
                Err(error) => Err(Error::internal(crate::chain(&error))),
            };
            if let Err(status) = done {
                sink.fail(status);
            }
        };
        let failed = match inner.work_with_client("fetching a document", work).await {
            Some(Ok(())) => return,
            Some(Err(error)) => error.into(),
            None => super::busy(),
        };
        let _ = broken.send(Err(failed)).await; // as above
    });
    Ok(chunks)
}

fn withdrawn() -> Error {
    Error::not_now(
        "the document was withdrawn by agreement (15) and is no current document any more; its kept copy is for records alone (`even_withdrawn`; truc: --withdrawn) / Văn bản đã được lấy lại theo thỏa thuận (15), không còn hiệu lực tại nơi nhận; bản lưu chỉ dùng cho lưu trữ, kiểm tra (`even_withdrawn`; truc: --withdrawn)",
    )
}

fn removed(removal: &Removal) -> Error {
    let days = removal.kept_ms / 86_400_000;
    Error::not_now(format!(
        "the document's payload was removed on {at}, {days} days after it was handed over, as this node's `retention_days` says; its receipts stay. Ask the document system that took it, or the sender / Nội dung văn bản đã được xóa khỏi nút lúc {at}, {days} ngày sau khi bàn giao, theo `retention_days`; các biên nhận vẫn còn. Hãy lấy từ hệ thống quản lý văn bản đã nhận, hoặc hỏi bên gửi",
        at = removal.at
    ))
}

fn to_status(error: &PipelineError) -> Error {
    match error {
        PipelineError::NotInDocument(_) => Error::not_found(error.to_string()),
        PipelineError::Sink(_) => Error::gone(error.to_string()),
        PipelineError::Refused(refusal) => Error::refused(ErrorKind::NotNow, refusal),
        PipelineError::Failed { .. } => Error::unavailable(crate::chain(error)),
    }
}

/// Passes decrypted bytes on in messages of one size; holds one message at most.
pub(super) struct ChannelSink<'w> {
    sender: mpsc::Sender<Result<node_v1::FetchChunk, Error>>,
    buffer: BytesMut,
    length: u64,
    worker: &'w mut Worker,
}

impl<'w> ChannelSink<'w> {
    pub(super) fn new(sender: mpsc::Sender<Result<node_v1::FetchChunk, Error>>, worker: &'w mut Worker) -> Self {
        Self { sender, buffer: BytesMut::with_capacity(FETCH_BYTES), length: 0, worker }
    }

    /// As [`Worker::wait`].
    pub(super) fn wait<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        self.worker.wait(wait)
    }

    /// Tells the caller, who may be gone.
    pub(super) fn fail(&self, error: Error) {
        let _ = self.sender.blocking_send(Err(error));
    }

    fn pass(&mut self, data: Bytes) -> io::Result<()> {
        let chunk = node_v1::FetchChunk { length: std::mem::take(&mut self.length), data };
        let sent = match self.sender.try_send(Ok(chunk)) {
            Err(TrySendError::Full(chunk)) => self.worker.wait(|| self.sender.blocking_send(chunk)).is_ok(),
            sent => sent.is_ok(),
        };
        if sent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

impl Write for ChannelSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(FETCH_BYTES - self.buffer.len());
        let (part, _) = bytes.split_at(taken);
        self.buffer.extend_from_slice(part);
        if self.buffer.len() == FETCH_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() && self.length == 0 {
            return Ok(());
        }
        let data = self.buffer.split().freeze();
        self.buffer.reserve(FETCH_BYTES);
        self.pass(data)
    }
}

impl FetchSink for ChannelSink<'_> {
    fn length(&mut self, bytes: u64) {
        self.length = bytes;
    }
}
