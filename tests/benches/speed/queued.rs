//! P5: how long a relay takes to accept an envelope of 2 KB while a million others wait in it, against a relay that is empty.
//!
//! Both are served side by side to one sender, a round each in turn. What waits was accepted by the relay's own store; signatures in those records are noise,
//! which nobody looks at.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tokio::task::JoinSet;
use truc_certs_dev::KeyKind;
use truc_ledger::merkle::MemTree;
use truc_proto::{AgencyId, Digest, EnvelopeId, NodeId};
use truc_relay::{
    clock,
    core::{EnvelopeKey, Input, Mark, OfferOutcome, OfferedRecipient, Reply, VerifiedOffer},
    store::{Embedded, Store as _},
};

use crate::{
    accept::{InForce, Offering, offers, open_store, publish, serve},
    axis::Axis,
    report::{Figure, Report, Target, median, milliseconds, scaled, short},
    streams::noise,
};

const QUEUED: u64 = 1_000_000;
/// As many as the store takes at once, about.
const FILLING: usize = 512;
/// Preamble, submission with proof and checkpoint, one key envelope.
const BODY_BYTES: usize = 1_500;
const OFFERS: u64 = 5_000;
const IN_FLIGHT: usize = 16;
const ROUNDS: usize = 5;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let axis = Arc::new(Axis::new(KeyKind::P256, 0)?);
    let runtime = tokio::runtime::Runtime::new()?;
    let queued = scaled(QUEUED, 1_000);
    let [empty, full] = [Relay::new(&axis, &runtime)?, Relay::new(&axis, &runtime)?];
    runtime.block_on(full.fill(queued))?;
    let mut tree = MemTree::default();
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut p99 = |relay: &Relay| {
            let offers = Arc::new(offers(&axis, &mut tree, scaled(OFFERS, 200))?);
            runtime.block_on(relay.p99(&axis, Offering { offers, in_flight: IN_FLIGHT }))
        };
        rounds.push((p99(&empty)?, p99(&full)?));
    }
    empty.store.close();
    full.store.close();
    let (of_empty, of_full): (Vec<_>, Vec<_>) = rounds.iter().copied().unzip();
    let shown = |values| format!("{} ms", short(median(values)));
    report.add(Figure {
        id: "P5",
        what: format!("accept p99 with {queued} queued, {IN_FLIGHT} in flight"),
        value: median(rounds.iter().map(|(empty, full)| full / empty).collect()),
        unit: "ratio",
        target: Some(Target::AtMost(1.5)),
        from: vec![("queued", shown(of_full)), ("empty", shown(of_empty))],
    });
    Ok(())
}

struct Relay {
    folder: TempDir,
    store: Arc<Embedded>,
    directory: InForce,
}

impl Relay {
    fn new(axis: &Axis, runtime: &tokio::runtime::Runtime) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let store = open_store(axis, folder.path())?;
        let (_, directory) = runtime.block_on(publish(axis, &store))?;
        Ok(Self { folder, store: Arc::new(store), directory })
    }

    /// Envelopes of another node's that wait for the same recipient.
    async fn fill(&self, count: u64) -> anyhow::Result<()> {
        let (next, body) = (Arc::new(AtomicU64::new(0)), bytes::Bytes::from(noise(BODY_BYTES)));
        let mut lanes = JoinSet::new();
        for _ in 0..FILLING {
            let (store, next, body) = (Arc::clone(&self.store), Arc::clone(&next), body.clone());
            lanes.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok(());
                    }
                    let offered = Input::Offered(Box::new(waiting(number, body.clone())?));
                    let reply = store.ask(offered).await?;
                    ensure!(matches!(reply, Reply::Offer(Ok(OfferOutcome::Accepted(_)))), "not accepted");
                }
            });
        }
        while let Some(lane) = lanes.join_next().await {
            lane??;
        }
        Ok(())
    }

    /// Milliseconds in which 99 of 100 were accepted.
    async fn p99(&self, axis: &Arc<Axis>, offering: Offering) -> anyhow::Result<f64> {
        let folder: &Path = self.folder.path();
        let mut times = serve(axis, &self.store, self.directory.clone(), folder, &offering).await?.times;
        times.sort_unstable();
        let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
        times.get(at).copied().map(milliseconds).context("something was offered")
    }
}

fn waiting(number: u64, body: bytes::Bytes) -> anyhow::Result<VerifiedOffer> {
    let (sender, sender_node, recipient): (AgencyId, NodeId, NodeId) =
        ("G23".parse()?, "N-G23".parse()?, "N-H26".parse()?);
    let digest = |what: u64| Digest::of_parts(&[&number.to_le_bytes(), &what.to_le_bytes()]);
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    let now = clock();
    Ok(VerifiedOffer {
        key: EnvelopeKey { sender, envelope: EnvelopeId::new(now, [1, 0, a, b, c, d, e, f, g, h]) },
        sender_node,
        submission: digest(1),
        preamble: digest(2),
        payload: digest(3),
        commitment: digest(4),
        payload_length: 2_048,
        blob: false,
        expires: now + Duration::from_secs(86_400),
        priority: u8::try_from(number % 5)?,
        status: false,
        recipients: vec![OfferedRecipient::Open { code: "H26".parse()?, node: recipient }],
        supersedes: None,
        mark: Mark { size: number + 1, root: digest(5) },
        note: bytes::Bytes::new(),
        body,
    })
}
