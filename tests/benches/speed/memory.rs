//! P3: how much memory one document of 4 GiB takes in each process that it passes, above what the process has when idle.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use tonic::transport::Endpoint;
use truc_proto::node_v1::{
    DocumentForm, FileHeader, SendHeader, SendRequest, node_client::NodeClient, send_header::Form, send_reply,
    send_request::Part,
};
use truc_tests::network::{Layout, Network, Programs};

use crate::{
    report::{Figure, Report, Target, scaled, short},
    resume::mebibytes,
    streams::noise,
};

const DOCUMENT_MEBIBYTES: u64 = 4 * 1024;
const TARGET_MEBIBYTES: f64 = 64.0;
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that wait between the bench and the node.
const PIECES_AHEAD: usize = 4;
const PATIENCE: Duration = Duration::from_secs(1_800);

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    if !Path::new("/proc/self/clear_refs").exists() {
        report.skip("P3", "peak memory is read from /proc, which this system has not");
        return Ok(());
    }
    let runtime = tokio::runtime::Runtime::new()?;
    for (name, peak, idle, seconds, length) in runtime.block_on(measure(scaled(DOCUMENT_MEBIBYTES, 32) << 20))? {
        report.add(Figure {
            id: "P3",
            what: format!("peak memory above idle, {name}"),
            value: mebibytes(peak.saturating_sub(idle)),
            unit: "MiB",
            target: Some(Target::AtMost(TARGET_MEBIBYTES)),
            from: vec![
                ("document", format!("{} MiB", length >> 20)),
                ("idle", format!("{} MiB", short(mebibytes(idle)))),
                ("peak", format!("{} MiB", short(mebibytes(peak)))),
                ("end to end", format!("{} MB/s", short(mebibytes(length) * 1.048_576 / seconds))),
            ],
        });
    }
    Ok(())
}

/// Name, peak and idle memory in bytes, seconds until consigned, length.
type Measured = (&'static str, u64, u64, f64, u64);

async fn measure(length: u64) -> anyhow::Result<Vec<Measured>> {
    let programs =
        Programs { relay: env!("CARGO_BIN_EXE_relay-process").into(), node: env!("CARGO_BIN_EXE_node-process").into() };
    let network = Network::start(Layout::new(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).of_processes(programs)).await;
    send(&network, "warm-up", 1 << 20).await?;
    let processes = [
        ("sender's node", process_of(network.node_folder("N-G22"))?),
        ("relay", process_of(network.relay_folder())?),
        ("recipient's node", process_of(network.node_folder("N-H26"))?),
    ];
    let mut idle = Vec::new();
    for (_, process) in processes {
        fs::write(format!("/proc/{process}/clear_refs"), "5").context("reset the peak")?;
        idle.push(memory(process, "VmRSS:")?);
    }
    let start = Instant::now();
    send(&network, "large", length).await?;
    let seconds = start.elapsed().as_secs_f64();
    let mut measured = Vec::new();
    for ((name, process), idle) in processes.into_iter().zip(idle) {
        measured.push((name, memory(process, "VmHWM:")?, idle, seconds, length));
    }
    network.stop().await;
    Ok(measured)
}

/// Sends a document with one file of that length, made while it is sent, and waits until the sender knows that it was consigned.
async fn send(network: &Network, key: &str, length: u64) -> anyhow::Result<()> {
    let header = SendHeader {
        idempotency_key: key.into(),
        sender: "G22".into(),
        recipients: vec!["H26".into()],
        level: "ordinary".into(),
        form: Some(Form::Document(DocumentForm {
            subject: format!("Văn bản thử {key}"),
            code_number: "12".into(),
            code_notation: "KH-THU".into(),
            promulgation_date: "2026/11/20".into(),
            place: "Hà Nội".into(),
            type_name: "Kế hoạch".into(),
            ..DocumentForm::default()
        })),
        ..SendHeader::default()
    };
    let file = FileHeader { name: format!("{key}.pdf"), content_type: "application/pdf".into(), length };
    let (parts, stream) = tokio::sync::mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        for part in [Part::Header(header), Part::File(file)] {
            let _ = parts.send(SendRequest { part: Some(part) }).await;
        }
        let (piece, mut left) = (Bytes::from(noise(PIECE_BYTES)), usize::try_from(length).unwrap_or(usize::MAX));
        while left > 0 {
            let data = piece.slice(..left.min(PIECE_BYTES));
            left -= data.len();
            if parts.send(SendRequest { part: Some(Part::Data(data)) }).await.is_err() {
                return; // the node has answered already
            }
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{}", network.local_address("N-G22")))?;
    let mut request = tonic::Request::new(tokio_stream::wrappers::ReceiverStream::new(stream));
    request.metadata_mut().insert("authorization", format!("Bearer {}", network.token("N-G22")).parse()?);
    let reply = NodeClient::new(endpoint.connect().await?).send(request).await?.into_inner();
    ensure!(reply.state() == send_reply::State::Accepted, "not accepted: {reply:?}");
    let (mut client, start) = (network.client("G22"), Instant::now());
    while client.status().await?.open_outbox > 0 {
        ensure!(start.elapsed() < PATIENCE, "the document stays open:\n{}", network.log("N-H26"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The child of this process that has `folder` for its argument.
fn process_of(folder: &Path) -> anyhow::Result<u32> {
    let folder = folder.to_str().context("a folder with a readable name")?;
    for task in fs::read_dir("/proc/self/task")? {
        let children = fs::read_to_string(task?.path().join("children"))?;
        for child in children.split_whitespace() {
            let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
            if line.split('\0').any(|argument| argument == folder) {
                return Ok(child.parse()?);
            }
        }
    }
    anyhow::bail!("no process runs on {folder}")
}

/// A line of /proc/…/status, in bytes.
fn memory(process: u32, name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no line {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
