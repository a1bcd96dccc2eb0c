//! P6: how much of a payload goes twice over the line when its upload breaks in the middle: what a proxy between node and relay counts, with a
//! break and without.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use truc_proto::node_v1::send_reply;
use truc_tests::network::{Layout, Network, client::Document};

use crate::{
    end_to_end::settled,
    report::{Figure, Report, Target, scaled, short},
};

const MEBIBYTE: u64 = 1 << 20;
const SENDER: &str = "N-G22";

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let length = scaled(64, 8) * MEBIBYTE;
    let runtime = tokio::runtime::Runtime::new()?;
    let (whole, broken) = runtime.block_on(sent(length))?;
    report.add(Figure {
        id: "P6",
        what: "broken upload resumed, sent twice".into(),
        value: mebibytes(broken.saturating_sub(whole)),
        unit: "MiB",
        target: Some(Target::AtMost(1.0)),
        from: vec![
            ("of", format!("{} MiB", length / MEBIBYTE)),
            ("unbroken", format!("{} MiB", short(mebibytes(whole)))),
            ("broken", format!("{} MiB", short(mebibytes(broken)))),
        ],
    });
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}

/// Bytes from the node to the relay for a document of that length: sent in one go, and with one break half-way.
async fn sent(length: u64) -> anyhow::Result<(u64, u64)> {
    let network = Network::make(Layout::new(&[(SENDER, &["G22"]), ("N-H26", &["H26"])])).await;
    let proxy = through(&network, SENDER).await?;
    network.start_all().await;
    let mut client = network.client("G22");
    let mut counts = Vec::new();
    for cut_at in [None, Some(length / 2)] {
        let before = proxy.passed();
        let name = if cut_at.is_some() { "broken" } else { "whole" };
        let reply = client.send(&Document::new(name, "G22", &["H26"], usize::try_from(length)?)).await?;
        ensure!(reply.state() == send_reply::State::Accepted, "not accepted: {reply:?}");
        if let Some(cut_at) = cut_at {
            proxy.wait_for(before + cut_at).await?;
            proxy.cut();
        }
        settled(&client).await?;
        counts.push(proxy.passed() - before);
    }
    network.stop().await;
    let [whole, broken] = counts.as_slice() else { anyhow::bail!("two documents were sent") };
    Ok((*whole, *broken))
}

/// Puts a proxy between a node that does not run yet and the relay.
pub(crate) async fn through(network: &Network, node: &str) -> anyhow::Result<Proxy> {
    let proxy = Proxy::open(network.relay_address()).await?;
    let settings = network.node_folder(node).join("truc-node.toml");
    let text = std::fs::read_to_string(&settings)?;
    let redirected = text.replace(&network.relay_address().to_string(), &proxy.address.to_string());
    ensure!(redirected != text, "the settings name the relay's address");
    std::fs::write(&settings, redirected)?;
    Ok(proxy)
}

/// Passes bytes on and counts those that go to the relay.
pub(crate) struct Proxy {
    address: SocketAddr,
    passed: Arc<AtomicU64>,
    cut: watch::Sender<u64>,
}

impl Proxy {
    async fn open(relay: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let proxy = Self { address: listener.local_addr()?, passed: Arc::default(), cut: watch::Sender::new(0) };
        let (passed, cut) = (Arc::clone(&proxy.passed), proxy.cut.subscribe());
        tokio::spawn(async move {
            while let Ok((node, _)) = listener.accept().await {
                let (passed, mut cut) = (Arc::clone(&passed), cut.clone());
                cut.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = pass_on(node, relay, &passed) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Ok(proxy)
    }

    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Acquire)
    }

    /// Breaks every connection there is.
    fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }

    async fn wait_for(&self, bytes: u64) -> anyhow::Result<()> {
        let start = Instant::now();
        while self.passed() < bytes {
            ensure!(start.elapsed() < Duration::from_secs(120), "the upload does not come that far");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

async fn pass_on(node: TcpStream, relay: SocketAddr, passed: &AtomicU64) -> anyhow::Result<()> {
    let relay = TcpStream::connect(relay).await.context("reach the relay")?;
    relay.set_nodelay(true)?;
    node.set_nodelay(true)?;
    let ((mut from_node, mut to_node), (mut from_relay, mut to_relay)) = (node.into_split(), relay.into_split());
    let back = tokio::io::copy(&mut from_relay, &mut to_node);
    let forth = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let got = from_node.read(&mut buffer).await?;
            if got == 0 {
                return to_relay.shutdown().await;
            }
            passed.fetch_add(got as u64, Ordering::AcqRel);
            to_relay.write_all(buffer.get(..got).unwrap_or_default()).await?;
        }
    };
    tokio::try_join!(back, forth)?;
    Ok(())
}
