//! P2: documents of 10 KB from one node through the relay to another, all on this machine, until the sender's ledger holds every piece of
//! evidence; against what the cores could do if a document cost one signature and one decryption and nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;
use truc_certs_dev::{KeyKind, Pki, Profile, Request, Subject};
use truc_proto::node_v1::send_reply;
use truc_signer::{SealingAlgorithm, SigningKey, SoftKey, keyenvelope::open_key, keyenvelope::seal_key};
use truc_tests::{
    network::{
        Layout, Network,
        client::{Client, Document},
    },
    wait::PATIENCE,
};

use crate::{
    polling::own_seconds,
    report::{Figure, Report, Target, rate, scaled, short},
};

const DOCUMENT_BYTES: usize = 10_000;
/// Sends that wait for their answer at any time.
const IN_FLIGHT: u64 = 64;
const WARM_UP: u64 = 16;
/// Signatures and decryptions that are timed alone.
const ALONE: u32 = 200;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    for (kind, documents) in [(KeyKind::P256, 4_000), (KeyKind::Rsa3072, 1_500)] {
        let documents = scaled(documents, 10);
        let per_document = alone(kind)?;
        let cores = cores();
        let bound = cores / per_document.as_secs_f64();
        let runtime = tokio::runtime::Runtime::new()?;
        let measured = runtime.block_on(throughput(kind, documents)).with_context(|| format!("with {kind} keys"))?;
        let Throughput { per_second, cpu_ms } = measured;
        let from = vec![
            ("documents/s", short(per_second)),
            ("CPU ms/document", cpu_ms.map_or_else(|| "unknown".to_owned(), short)),
            ("cores ÷ (signature + decryption)", rate(bound)),
            ("documents", documents.to_string()),
        ];
        let (value, unit, target) = match kind {
            KeyKind::P256 => (per_second, "docs/s", Target::AtLeast(1_000.0)),
            KeyKind::Rsa2048 | KeyKind::Rsa3072 => (per_second / bound, "ratio", Target::AtLeast(0.5)),
        };
        let what = format!("end to end, 10 KB documents, {kind}");
        report.add(Figure { id: "P2", what, value, unit, target: Some(target), from });
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a handful of cores")]
fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1, usize::from) as f64
}

/// One signature and one decryption with keys of that kind, on one core.
fn alone(kind: KeyKind) -> anyhow::Result<Duration> {
    let pki = Pki::new(KeyKind::P256, truc_certs_dev::now())?;
    let key = |profile| -> anyhow::Result<SoftKey> {
        let issued = pki.issue_with(Request::new(profile, kind, Subject::new("Bench")))?;
        Ok(SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes())?)
    };
    let (service, sealing) = (key(Profile::Service)?, key(Profile::Sealing)?);
    let algorithm = SealingAlgorithm::for_certificate(sealing.certificate()).context("a key that can be sealed to")?;
    let sealed = seal_key(&[7; 400], sealing.certificate(), algorithm)?;
    let start = Instant::now();
    for _ in 0..ALONE {
        service.sign(&[9; 300])?;
        open_key(&sealed, &sealing)?;
    }
    Ok(start.elapsed() / ALONE)
}

/// How fast documents went through, and what each of them took.
struct Throughput {
    per_second: f64,
    /// User and system time of all parties and their client, where the system tells it: it does not depend on what else the machine does.
    cpu_ms: Option<f64>,
}

/// From the first document that is sent to the last whose consignment the sender holds.
async fn throughput(kind: KeyKind, documents: u64) -> anyhow::Result<Throughput> {
    let layout = Layout { keys: kind, ..Layout::new(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]) };
    let network = Network::start(layout).await;
    let client = network.client("G22");
    send_all(&client, "warm-up", WARM_UP).await?;
    let (start, used) = (Instant::now(), own_seconds().ok());
    send_all(&client, "document", documents).await?;
    let seconds = start.elapsed().as_secs_f64();
    let used = used.and_then(|before| Some(own_seconds().ok()? - before));
    network.stop().await;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let documents = documents as f64;
    Ok(Throughput { per_second: documents / seconds, cpu_ms: used.map(|used| used * 1e3 / documents) })
}

async fn send_all(client: &Client, name: &str, documents: u64) -> anyhow::Result<()> {
    let mut senders = JoinSet::new();
    for lane in 0..IN_FLIGHT.min(documents) {
        let (mut client, name) = (client.clone(), name.to_owned());
        senders.spawn(async move {
            for number in (lane..documents).step_by(usize::try_from(IN_FLIGHT)?) {
                let document = Document::new(&format!("{name}-{number}"), "G22", &["H26"], DOCUMENT_BYTES);
                let reply = client.send(&document).await?;
                ensure!(reply.state() == send_reply::State::Accepted, "not accepted: {reply:?}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    settled(client).await
}

/// Waits until every recipient of everything sent has it, as the sender's ledger knows.
pub(crate) async fn settled(client: &Client) -> anyhow::Result<()> {
    let (mut client, mut least, mut since) = (client.clone(), u64::MAX, Instant::now());
    loop {
        let status = client.status().await?;
        if status.open_outbox == 0 {
            return Ok(());
        }
        if status.open_outbox < least {
            (least, since) = (status.open_outbox, Instant::now());
        }
        ensure!(since.elapsed() < PATIENCE, "documents stay open: {status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
