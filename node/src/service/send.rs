//! Send: a request becomes a sealed envelope on the device, or is refused before anything is stored.

use std::{io, sync::Arc};

use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    time::Instant,
};
use tracing::{info, warn};
use truc_evidence::Directory;
use truc_ledger::{Ledger, SpaceLeft};
use truc_proto::{
    AgencyId, Digest, Reason, Timestamp,
    limits::IDEMPOTENCY_KEY_CHARS_MAX,
    node_v1::{self, send_header::Form, send_reply::State},
};

use super::{Error, ErrorKind, busy, changes, groups, revocations, roles::May, view};
use crate::{
    core::{Answer, Core, Input, Key, Sent},
    pipeline::{Composed, Part, Parts, PipelineError, Refusal, Resolved},
    quota::{Measure, Meter},
    records::Payload,
    shell::{Shell, Worker, clock},
    tokens::Grant,
};

/// What follows the header of a Send, as its face reads it.
pub(crate) type SendParts = mpsc::Receiver<io::Result<Part>>;

pub(crate) async fn send(
    shell: &Arc<Shell>,
    grant: &Grant,
    header: node_v1::SendHeader,
    parts: SendParts,
) -> Result<node_v1::SendReply, Error> {
    grant.need(May::Send)?;
    let sender = super::code(grant, &header.sender, "sender")?;
    check_idempotency_key(&header.idempotency_key)?;
    let request = (sender.clone(), header.idempotency_key.clone());
    let before = move |core: &Core| {
        let sent = core.sent_by_request(&request.0, &request.1)?;
        Some((sent.accepted_at, sent.pairs.keys().cloned().collect::<Vec<_>>()))
    };
    let asked = shell.engine.ask(before).await?;
    let allowance = match Allowance::take(grant) {
        // Who asks again what its request led to is not told to wait.
        Err(_) if asked.is_some() || left_memory(shell, &sender, &header.idempotency_key).await? => Allowance(None),
        allowance => allowance?,
    };
    let directory = shell.directory().ok_or_else(no_directory)?;
    if !directory.codes_of(&shell.node).contains(&sender) {
        let detail =
            format!("the directory does not bind {sender} to node {}; the axis operator must publish it", shell.node);
        return Ok(refusal_reply(&Refusal::new(Reason::NotEntitled, detail), None));
    }
    if shell.engine.is_full() {
        return Err(busy());
    }
    let idempotency_key = header.idempotency_key.clone();
    let form = match &header.form {
        Some(Form::Document(form)) => form,
        _ => &node_v1::DocumentForm::default(),
    };
    let change = match changes::of_form(shell, &sender, form, &directory).await? {
        Ok(change) => change,
        Err(refusal) => return Ok(refusal_reply(&refusal, None)),
    };
    let grouped = match &asked {
        _ if header.groups.is_empty() => Vec::new(),
        // Asked again: the groups may have changed since, what was accepted has not.
        Some((_, recipients)) => recipients.clone(),
        None => match groups::expand(shell, &sender, &header.groups, &directory, clock::now()).await? {
            Ok(codes) => codes,
            Err(refusal) => return Ok(refusal_reply(&refusal, None)),
        },
    };
    let (resolved, current) = (Resolved { grouped, change }, Arc::clone(&directory));
    let (pipeline, archive) = (Arc::clone(&shell.pipeline), shell.archive.clone());
    let (of, name) = (sender.clone(), idempotency_key.clone());
    let (ledger, meter) = (shell.ledger.clone(), Arc::clone(&grant.meter));
    let work = move |worker: &mut Worker| {
        check_disk(&ledger)?; // before a byte of the content is read
        let before = archive.request(&of, &name);
        // Asked again, it is answered as before, although codes may have closed since.
        let asked = asked.map(|(at, _)| at).or_else(|| before.as_ref().map(|(key, _)| key.envelope.made_at()));
        let mut moment = clock::moment();
        moment.asked = asked.unwrap_or(moment.now);
        let composed = match closed_sender(&directory, &of, moment.asked) {
            Some(refusal) => Err(PipelineError::Refused(Box::new(refusal))),
            None => pipeline.compose(header, &resolved, &mut ChannelParts { parts, meter, worker }, &directory, moment),
        };
        let before = before.or_else(|| archive.request(&of, &name)); // it may have left memory meanwhile
        Ok::<_, Error>((composed, before))
    };
    let (mut composed, before) = shell.work_with_client("sealing a document", work).await.ok_or_else(busy)???;
    if let Ok(composed) = &mut composed {
        let hash = before.as_ref().map(|(_, hash)| *hash);
        revocations::carry_out(shell, grant, composed, &idempotency_key, hash, &current).await?;
    }
    let (reply, first) = finish(shell, &sender, idempotency_key, composed, before).await?;
    if first {
        allowance.keep();
    }
    Ok(reply)
}

/// Whether this request was accepted so long ago that its document left memory.
async fn left_memory(shell: &Shell, sender: &AgencyId, idempotency_key: &str) -> Result<bool, Error> {
    let (archive, of, name) = (shell.archive.clone(), sender.clone(), idempotency_key.to_owned());
    Ok(shell.work("looking a request up", move || archive.request(&of, &name).is_some()).await?)
}

/// A document out of the token's bucket: put back unless it led to something new.
struct Allowance(Option<Arc<Meter>>);

impl Allowance {
    fn take(grant: &Grant) -> Result<Self, Error> {
        let now = Instant::now();
        grant.meter.check(now, Measure::Bytes)?;
        grant.meter.take(now, Measure::Documents)?;
        Ok(Self(Some(Arc::clone(&grant.meter))))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        if let Some(meter) = self.0.take() {
            meter.give_back(Measure::Documents);
        }
    }
}

/// Hands the outcome of a pipeline to the core and waits for the device; says whether something new was accepted. `before`: what this idempotency key led to, when that has left memory.
pub(crate) async fn finish(
    shell: &Arc<Shell>,
    sender: &AgencyId,
    idempotency_key: String,
    composed: Result<Composed, PipelineError>,
    before: Option<(Key, Digest)>,
) -> Result<(node_v1::SendReply, bool), Error> {
    let (of, name) = (sender.clone(), idempotency_key.clone());
    let of_key = name.clone();
    let shown = move |core: &Core| core.sent_by_request(&of, &of_key).map(|sent| Shown::of(core, sent));
    let made;
    let ((answer, shown), hash, warnings) = match composed {
        Ok(Composed::Sealed(sealed)) => {
            let hash = Digest::from_slice(&sealed.outgoing.request_hash).ok();
            made = blob_of(&sealed.outgoing.payload);
            let warnings = sealed.outgoing.about.warnings.clone();
            if let Some((key, before)) = before {
                forget(shell, made).await;
                return match hash {
                    Some(hash) if hash == before => Ok((Shown::default().reply(key, State::Accepted, warnings), false)),
                    _ => Ok((reused(shell, sender, idempotency_key, hash).await?, false)),
                };
            }
            let input = |reply| Input::Prepared { sealed, reply };
            (shell.engine.call_and_see(input, shown).await?, hash, warnings)
        }
        Ok(Composed::Held(request)) => {
            let hash = Digest::from_slice(&request.held.request_hash).ok();
            made = Digest::from_slice(&request.held.blob).ok();
            let warnings = request.held.about.warnings.clone();
            let input = |reply| Input::Held { request, reply };
            (shell.engine.call_and_see(input, shown).await?, hash, warnings)
        }
        Err(PipelineError::Refused(refusal)) => {
            return Ok((refuse(shell, sender, (idempotency_key, false), *refusal).await?, false));
        }
        Err(error) => {
            warn!(%sender, error = crate::chain(&error), "a request failed");
            return Err(Error::unavailable(format!("{}; nothing was accepted, send again", crate::chain(&error))));
        }
    };
    if !matches!(answer, Answer::Accepted { first: true, .. } | Answer::Held { first: true, .. }) {
        forget(shell, made).await;
    }
    match answer {
        Answer::Accepted { key, first } => {
            info!(envelope = %key.envelope, %sender, first, "accepted");
            Ok((shown.unwrap_or_default().reply(key, State::Accepted, warnings), first))
        }
        Answer::Held { key, first } => {
            info!(envelope = %key.envelope, %sender, first, "held");
            Ok((shown.unwrap_or_default().reply(key, State::Held, warnings), first))
        }
        Answer::Refused { reason, leaf } => Ok((refusal_reply(&Refusal::new(reason, reason.english()), leaf), false)),
        Answer::RequestReused => Ok((reused(shell, sender, name, hash).await?, false)),
        Answer::Busy => Err(busy()),
        other => Err(Error::internal(format!("an unexpected answer of the core: {other:?}"))),
    }
}

/// A closed code sends nothing new. What it sent before goes on, and it still answers.
fn closed_sender(directory: &Directory, sender: &AgencyId, now: Timestamp) -> Option<Refusal> {
    let agency = directory.agency(sender).filter(|agency| !agency.is_open(now))?;
    let Some(closed) = agency.valid_to.filter(|closed| *closed <= now) else {
        let from = agency.valid_from;
        return Some(Refusal {
            vietnamese: format!("Mã gửi {sender} có hiệu lực từ {}; hãy gửi sau thời điểm đó.", from.in_vietnam()),
            ..Refusal::new(Reason::NotEntitled, format!("{sender} is in force from {from} on; send then"))
        });
    };
    let successor = directory.successor_of(agency, now);
    let (english, vietnamese) = match &successor {
        Some(to) => (format!("send as its successor {to}"), format!("hãy gửi bằng mã kế thừa {to}")),
        None => (
            "it has no successor; ask the axis operator".into(),
            "mã không có mã kế thừa; hãy hỏi đơn vị vận hành trục".into(),
        ),
    };
    Some(Refusal {
        vietnamese: format!("Mã gửi {sender} đã đóng ngày {}; {vietnamese}.", closed.in_vietnam()),
        successor,
        ..Refusal::new(Reason::NotEntitled, format!("{sender} closed on {closed}; {english}"))
    })
}

fn blob_of(payload: &Payload) -> Option<Digest> {
    payload.inline.is_none().then(|| Digest::from_slice(&payload.sha256).ok()).flatten()
}

/// What was sealed for a request that was answered before: its key was drawn for it alone, so no record names it.
async fn forget(shell: &Shell, made: Option<Digest>) {
    let Some(payload) = made else { return };
    let blobs = Arc::clone(&shell.blobs);
    if !matches!(shell.work("removing a payload", move || blobs.remove(&payload)).await, Ok(Ok(()))) {
        warn!(%payload, "a payload that nobody needs could not be removed; the next sweep takes it");
    }
}

/// Refused with evidence, under no key of its own: the first request keeps its answer (I4).
async fn reused(
    shell: &Shell,
    sender: &AgencyId,
    idempotency_key: String,
    hash: Option<Digest>,
) -> Result<node_v1::SendReply, Error> {
    let detail = "this idempotency key was used for another request; send under a new key";
    let mut refusal = Refusal::new(Reason::IdReused, detail);
    refusal.evidence = hash;
    refuse(shell, sender, (idempotency_key, true), refusal).await
}

async fn refuse(
    shell: &Shell,
    sender: &AgencyId,
    (idempotency_key, reused): (String, bool),
    refusal: Refusal,
) -> Result<node_v1::SendReply, Error> {
    warn!(%sender, refusal = refusal.reason.as_str(), "refused");
    let mut rejection = None;
    if let Some(request_hash) = refusal.evidence {
        let (sender, reason) = (sender.clone(), refusal.reason);
        let input = |reply| Input::Refused { sender, idempotency_key, reused, request_hash, reason, reply };
        if let Answer::Refused { leaf, .. } = shell.engine.call(input).await? {
            rejection = leaf;
        }
    }
    Ok(refusal_reply(&refusal, rejection))
}

fn refusal_reply(refusal: &Refusal, rejection: Option<Digest>) -> node_v1::SendReply {
    node_v1::SendReply {
        state: State::Refused.into(),
        refused: Some(refusal.to_wire()),
        rejection: rejection.map(|leaf| leaf.as_bytes().to_vec()).unwrap_or_default().into(),
        ..node_v1::SendReply::default()
    }
}

/// What a request stands for right behind its decision.
#[derive(Default)]
struct Shown {
    held: bool,
    recipients: Vec<node_v1::RecipientState>,
}

impl Shown {
    fn of(core: &Core, sent: &Sent) -> Self {
        Self { held: sent.is_held(), recipients: view::recipients(core.own_checkpoint(), sent) }
    }

    fn reply(self, key: Key, state: State, warnings: Vec<String>) -> node_v1::SendReply {
        let state = if self.held { State::Held } else { state };
        node_v1::SendReply {
            envelope: key.envelope.to_string(),
            state: state.into(),
            refused: None,
            recipients: self.recipients,
            warnings,
            rejection: bytes::Bytes::new(),
        }
    }
}

/// Refused before a byte is read: no room on the disk, or too much open.
pub(crate) async fn check_room(shell: &Shell) -> Result<(), Error> {
    if shell.engine.is_full() {
        return Err(busy());
    }
    let ledger = shell.ledger.clone();
    shell.work("looking at the disk", move || check_disk(&ledger)).await?
}

/// Blocks.
fn check_disk(ledger: &Ledger) -> Result<(), Error> {
    if ledger.space() == SpaceLeft::Ample {
        return Ok(());
    }
    Err(Error::busy(
        "less than a tenth of the node's disk is free: its administrator must make room, then send again / Ổ đĩa của nút gần đầy; quản trị viên phải giải phóng dung lượng rồi gửi lại",
    ))
}

pub(crate) fn check_idempotency_key(key: &str) -> Result<(), Error> {
    let good = (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if good {
        return Ok(());
    }
    let text = format!(
        "`idempotency_key` has 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters; use the document's own id"
    );
    Err(Error::invalid(text))
}

pub(crate) fn no_directory() -> Error {
    let detail = "this node has no directory yet; it comes from the relay once the axis operator has published one";
    Error::refused(ErrorKind::Unavailable, &Refusal::new(Reason::HeldTooLong, detail))
}

struct ChannelParts<'w> {
    parts: SendParts,
    meter: Arc<Meter>,
    worker: &'w mut Worker,
}

impl Parts for ChannelParts<'_> {
    fn next(&mut self) -> io::Result<Option<Part>> {
        let part = match self.parts.try_recv() {
            Ok(part) => Some(part),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => self.worker.wait(|| self.parts.blocking_recv()),
        };
        let part = part.transpose()?;
        if let Some(Part::Data(data)) = &part {
            self.meter.use_up(Instant::now(), Measure::Bytes, u64::try_from(data.len()).unwrap_or(u64::MAX));
        }
        Ok(part)
    }
}
