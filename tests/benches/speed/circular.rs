//! P4: one document of 2 MB to 500 agencies against the same to one: bytes that leave the sender's node, and the time until the relay has accepted
//! it. Verdicts on all certificates are cached: a first circular went to everybody.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use truc_proto::{
    Timestamp,
    node_v1::{OutboxItem, send_reply},
};
use truc_tests::network::{
    Layout, Network,
    client::{Client, Document},
};

use crate::{
    end_to_end::settled,
    report::{Figure, Report, Target, median, scaled, short},
    resume::{Proxy, through},
};

const DOCUMENT_BYTES: usize = 2_000_000;
const RECIPIENTS: u64 = 500;
const BYTES_RATIO: f64 = 1.2;
const TIME_RATIO: f64 = 4.0;
const SENDER: &str = "N-G22";
/// Codes of one node: a binding request has room for some forty.
const CODES_PER_NODE: usize = 36;

/// What one document took.
struct Sent {
    bytes: f64,
    /// Until the relay's RelayAcceptance.
    accepted_ms: f64,
    /// Until the last recipient's.
    taken_ms: f64,
}

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let recipients = scaled(RECIPIENTS, 10);
    let runtime = tokio::runtime::Runtime::new()?;
    let (one, many) = runtime.block_on(measure(recipients, scaled(9, 1)))?;
    let middle = |of: fn(&Sent) -> f64, sent: &[Sent]| median(sent.iter().map(of).collect());
    let mut figure = |what: &str, of: fn(&Sent) -> f64, target: Option<f64>, unit: fn(f64) -> String| {
        let (one, many) = (middle(of, &one), middle(of, &many));
        report.add(Figure {
            id: "P4",
            what: format!("2 MB to {recipients} against one, {what}"),
            value: many / one,
            unit: "ratio",
            target: target.map(Target::AtMost),
            from: vec![("one", unit(one)), ("all", unit(many))],
        });
    };
    let milliseconds = |ms: f64| format!("{} ms", short(ms));
    let size = |bytes: f64| format!("{} MB", short(bytes / 1e6));
    figure("bytes sent", |sent| sent.bytes, Some(BYTES_RATIO), size);
    figure("until the relay accepted", |sent| sent.accepted_ms, Some(TIME_RATIO), milliseconds);
    figure("until the last recipient accepted", |sent| sent.taken_ms, None, milliseconds);
    Ok(())
}

async fn measure(recipients: u64, rounds: u64) -> anyhow::Result<(Vec<Sent>, Vec<Sent>)> {
    let codes: Vec<String> = (1..=recipients).map(|number| format!("H26.{number}")).collect();
    let parts: Vec<Vec<&str>> =
        codes.chunks(CODES_PER_NODE).map(|part| part.iter().map(String::as_str).collect()).collect();
    let ids: Vec<String> = (0..parts.len()).map(|node| format!("N-H26-{node}")).collect();
    let mut nodes: Vec<(&str, &[&str])> = vec![(SENDER, &["G22"])];
    nodes.extend(ids.iter().map(String::as_str).zip(parts.iter().map(Vec::as_slice)));
    let network = Network::make(Layout::new(&nodes)).await;
    let proxy = through(&network, SENDER).await?;
    network.start_all().await;
    let all: Vec<&str> = codes.iter().map(String::as_str).collect();
    let mut client = network.client("G22");
    send(&mut client, &proxy, "warm-up", &all).await?;
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        one.push(send(&mut client, &proxy, &format!("one-{round}"), all.get(..1).unwrap_or_default()).await?);
        many.push(send(&mut client, &proxy, &format!("all-{round}"), &all).await?);
    }
    network.stop().await;
    Ok((one, many))
}

/// Sends a document and waits until everybody has it.
async fn send(client: &mut Client, proxy: &Proxy, name: &str, to: &[&str]) -> anyhow::Result<Sent> {
    let document = Document::new(name, "G22", to, DOCUMENT_BYTES);
    let (before, start) = (proxy.passed(), SystemTime::now());
    let reply = client.send(&document).await?;
    ensure!(reply.state() == send_reply::State::Accepted, "not accepted: {reply:?}");
    settled(client).await?;
    let sent = client.sent(&reply.envelope).await?.context("what was sent is in the outbox")?;
    let since = |role: &str| -> anyhow::Result<f64> {
        let last = acceptances(&sent, role).max().context("it was accepted")?;
        let last = UNIX_EPOCH + Duration::from_millis(last.unix_ms().unsigned_abs());
        Ok(last.duration_since(start).unwrap_or_default().as_secs_f64() * 1e3)
    };
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let bytes = (proxy.passed() - before) as f64;
    Ok(Sent { bytes, accepted_ms: since("relay")?, taken_ms: since("recipient")? })
}

/// When the sealed envelope was accepted in that role, by the acceptors' clocks: the same one here.
fn acceptances<'a>(sent: &'a OutboxItem, role: &'a str) -> impl Iterator<Item = Timestamp> + 'a {
    let steps = sent.recipients.iter().flat_map(|recipient| &recipient.ladder);
    let accepted = steps.filter(move |step| step.event == "RelayAcceptance" && step.role == role);
    accepted.filter_map(|step| step.time.parse().ok())
}
