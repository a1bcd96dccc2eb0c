//! `truc send`: hands a packet, or files with their particulars, to the node.

use std::{
    fs::File,
    io::{IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use truc_proto::{
    Hasher,
    edxml::Date,
    node_v1::{
        DocumentForm, FileHeader, ListOutboxRequest, OutboxItem, PacketForm, SendHeader, SendReply, SendRequest,
        send_header::Form, send_reply::State, send_request::Part,
    },
};

use crate::{
    args::SendArgs,
    client::{Node, block_on, connect, failed, refused},
    clock::now,
    commands::outbox,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone},
};

/// Bytes per message; the node takes at most 1 MiB.
const CHUNK_BYTES: usize = 256 * 1024;

pub(crate) fn run(args: &SendArgs, output: &Output) -> Outcome {
    block_on(send(args, output))
}

async fn send(args: &SendArgs, output: &Output) -> Outcome {
    let files: Vec<PathBuf> = args.packet.iter().chain(&args.file).cloned().collect();
    let mut lengths = Vec::new();
    for file in &files {
        let about = std::fs::metadata(file).or_exit(Exit::BadData, format!("cannot read {}", file.display()))?;
        lengths.push(about.len());
    }
    let header = header(args, &files, &lengths)?;
    let key = header.idempotency_key.clone();
    let mut node = connect(&args.node).await?;
    let progress = progress(lengths.iter().sum(), output);
    let reply = stream(&mut node, header, files, &progress).await;
    progress.finish_and_clear();
    let reply = reply?;
    if let Some(refusal) = &reply.refused {
        let mut failure = refused("the document is refused", refusal, Exit::Invalid);
        if !reply.rejection.is_empty() {
            let get = format!("truc receipt get --sender {} --idempotency-key {key}", args.from);
            failure.source =
                anyhow!("{} The signed refusal: {get}", failure.source.root_cause()).context("the document is refused");
            failure.vietnamese = failure.vietnamese.map(|text| format!("{text} Biên nhận từ chối: {get}"));
        }
        return Err(failure);
    }
    let held = reply.state() == State::Held;
    let item = if args.wait && !held { Some(wait(&mut node, &reply.envelope).await?) } else { None };
    let value = json!({
        "envelope": reply.envelope, "state": if held { "held" } else { "accepted" }, "warnings": reply.warnings,
        "recipients": item.as_ref().map(outbox::recipients_json),
    });
    output.show(&value, |o| {
        let (tone, text) = if held {
            (Tone::Unsure, "held: on the device; it is signed and sent when the signing key and the directory allow")
        } else {
            (Tone::Good, "accepted: on the device and signed")
        };
        o.line(format!("{}  {}", reply.envelope, o.paint(tone, text)));
        // The ladder shows them, too.
        for warning in reply.warnings.iter().filter(|_| item.is_none()) {
            o.line(format!("  {} {warning}", o.paint(Tone::Unsure, "warning:")));
        }
        if let Some(item) = &item {
            outbox::ladder(item, o);
        }
    });
    let all_good = item.is_none_or(|i| i.recipients.iter().all(|r| r.state != "failed"));
    Ok(if all_good { Exit::Good } else { Exit::Invalid })
}

fn header(args: &SendArgs, files: &[PathBuf], lengths: &[u64]) -> Result<SendHeader, Failure> {
    let form = match &args.subject {
        None => Form::Packet(PacketForm { length: lengths.first().copied().unwrap_or(0) }),
        Some(subject) => Form::Document(DocumentForm {
            subject: subject.clone(),
            code_number: args.number.clone().unwrap_or_default(),
            code_notation: args.notation.clone().unwrap_or_default(),
            promulgation_date: args.date.clone().unwrap_or_else(|| Date::of(now()).to_string()),
            place: args.place.clone().unwrap_or_default(),
            type_name: args.type_name.clone().unwrap_or_default(),
            updates: args.updates.clone().unwrap_or_default(),
            replaces: args.replaces.clone(),
            change_reason: args.reason.clone().unwrap_or_default(),
            ..DocumentForm::default()
        }),
    };
    let idempotency_key = match &args.idempotency_key {
        Some(key) => key.clone(),
        None => derived_key(args, files).or_exit(Exit::BadData, "cannot read what is to be sent")?,
    };
    Ok(SendHeader {
        idempotency_key,
        sender: args.from.to_string(),
        recipients: args.to.iter().map(ToString::to_string).collect(),
        groups: args.to_group.clone(),
        priority: u32::from(args.priority.unwrap_or(0)),
        priority_from_packet: args.priority.is_none() && args.packet.is_some(),
        level: args.level.to_string(),
        ttl_s: args.ttl_days.unwrap_or(0).saturating_mul(86_400),
        form: Some(form),
    })
}

/// The same document from the same agency to the same recipients has the same key: sending it twice sends it once.
fn derived_key(args: &SendArgs, files: &[PathBuf]) -> anyhow::Result<String> {
    let mut hasher = Hasher::default();
    hasher.update(format!("{}\n{:?}\n{:?}\n{:?}\n", args.from, args.to, args.level, args.subject).as_bytes());
    hasher.update(format!("{:?}\n{:?}\n{:?}\n", args.number, args.notation, args.date).as_bytes());
    if !args.to_group.is_empty() {
        hasher.update(format!("{:?}\n", args.to_group).as_bytes());
    }
    if args.updates.is_some() || !args.replaces.is_empty() {
        hasher.update(format!("{:?}\n{:?}\n{:?}\n", args.updates, args.replaces, args.reason).as_bytes());
    }
    let mut buffer = vec![0; CHUNK_BYTES];
    for path in files {
        let mut file = File::open(path)?;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
        }
    }
    Ok(format!("sha256-{}", hasher.finish()))
}

fn progress(bytes: u64, output: &Output) -> ProgressBar {
    if output.json || bytes < 4 << 20 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Streams a request with its packet or files to a node, a bounded part of them in memory.
pub(crate) async fn stream(
    node: &mut Node,
    header: SendHeader,
    files: Vec<PathBuf>,
    progress: &ProgressBar,
) -> Result<SendReply, Failure> {
    let (messages, stream) = mpsc::channel(4);
    let progress = progress.clone();
    let feed = tokio::task::spawn_blocking(move || feed(&messages, header, &files, &progress));
    let reply = node.send(ReceiverStream::new(stream)).await;
    let fed = feed.await.or_exit(Exit::Unavailable, "read the files")?;
    match (reply, fed) {
        // The node's refusal says more than the pipe that it closed.
        (Err(status), _) => Err(failed("the node does not take the document", &status)),
        (Ok(_), Err(failure)) => Err(failure),
        (Ok(reply), Ok(())) => Ok(reply.into_inner()),
    }
}

/// Reads the files and passes them on; stops quietly when the node has stopped listening.
fn feed(
    messages: &mpsc::Sender<SendRequest>,
    header: SendHeader,
    files: &[PathBuf],
    progress: &ProgressBar,
) -> Result<(), Failure> {
    let packet = matches!(header.form, Some(Form::Packet(_)));
    let pass = |part| messages.blocking_send(SendRequest { part: Some(part) }).is_ok();
    if !pass(Part::Header(header)) {
        return Ok(());
    }
    let mut buffer = vec![0; CHUNK_BYTES];
    for path in files {
        let gone = |e: std::io::Error| {
            Failure::new(Exit::BadData, anyhow!(e).context(format!("cannot read {}", path.display())))
        };
        let mut file = File::open(path).map_err(gone)?;
        let length = file.metadata().map_err(gone)?.len();
        if !packet && !pass(Part::File(FileHeader { name: file_name(path), content_type: String::new(), length })) {
            return Ok(());
        }
        loop {
            let read = file.read(&mut buffer).map_err(gone)?;
            if read == 0 {
                break;
            }
            progress.inc(read as u64);
            if !pass(Part::Data(buffer.get(..read).unwrap_or_default().to_vec().into())) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Follows one envelope until every recipient has consigned or failed.
async fn wait(node: &mut Node, envelope: &str) -> Result<OutboxItem, Failure> {
    let mut pause = Duration::from_millis(50);
    loop {
        let request =
            ListOutboxRequest { envelope: envelope.to_owned(), with_final: true, ..ListOutboxRequest::default() };
        let reply =
            node.list_outbox(request).await.map_err(|s| failed("ask for the state of the document", &s))?.into_inner();
        let item = reply
            .items
            .into_iter()
            .next()
            .ok_or_else(|| Failure::new(Exit::Invalid, anyhow!("the node does not know envelope {envelope}")))?;
        let open = item
            .recipients
            .iter()
            .filter(|r| !matches!(r.state.as_str(), "consigned" | "handed-over" | "passed-on" | "failed"))
            .count();
        if open == 0 {
            return Ok(item);
        }
        tracing::info!(%envelope, open, "waiting");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}
