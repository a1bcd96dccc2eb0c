//! P1b: the relay accepting envelopes with a payload of 2 KB over gRPC and mutual TLS, against the same service whose store answers at once and
//! keeps nothing. Both verify every offer; what differs is journal, tree, checkpoint and disk.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use tokio::{net::TcpListener, task::JoinSet};
use truc_certs_dev::KeyKind;
use truc_evidence::Directory;
use truc_ledger::{Committed, Position, ProofFailure, StoreTag, blobs::BlobStore, merkle::MemTree, volume::DirVolume};
use truc_link::{AcceptSettings, ConnectSettings, Identity, Link, LinkServer, LinkTrust, NotAdmitted};
use truc_proto::{
    Actor, AgencyId, Checkpoint, Digest, DirectoryRef, EnvelopeId, EnvelopeKind, EventUri, Lane, NodeId, Preamble,
    Priority, Raw, Role, Submission, Suite, WireLevel,
    relay_v1::{self as wire, offer_reply::Outcome, relay_client::RelayClient},
    wire_v1,
};
use truc_relay::{
    clock,
    core::{Acceptance, CoreSettings, DirectoryMark, EnvelopeKey, Input, NewDirectory, OfferOutcome, Reply},
    service::{Service, ServiceSettings},
    store::{Claim, Embedded, EmbeddedSettings, Store, StoreError, StoredRecord},
};

use crate::{
    axis::{Axis, NodeParty},
    report::{Figure, Report, Target, median, rate, scaled},
    streams::noise,
};

const PAYLOAD_BYTES: usize = 2_048;
const OFFERS: u64 = 20_000;
const IN_FLIGHT: usize = 128;
/// Offers whose submissions a node proves into one checkpoint.
const OFFERS_PER_CHECKPOINT: u64 = 16;
const ROUNDS: usize = 3;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let axis = Arc::new(Axis::new(KeyKind::P256, 0)?);
    let runtime = tokio::runtime::Runtime::new()?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let offers = Arc::new(offers(&axis, &mut MemTree::default(), scaled(OFFERS, 200))?);
        let bare = runtime.block_on(rate_of(&axis, &offers, false))?;
        rounds.push((runtime.block_on(rate_of(&axis, &offers, true))?, bare));
    }
    let (ours, bare): (Vec<_>, Vec<_>) = rounds.iter().copied().unzip();
    report.add(Figure {
        id: "P1b",
        what: format!("relay accept over gRPC, 2 KB, {IN_FLIGHT} in flight"),
        value: median(rounds.iter().map(|(ours, bare)| ours / bare).collect()),
        unit: "ratio",
        target: Some(Target::AtLeast(0.5)),
        from: vec![("ours", rate(median(ours))), ("without storage", rate(median(bare)))],
    });
    Ok(())
}

/// Offers as a node makes them, their submissions behind what is in its ledger.
pub(crate) fn offers(axis: &Axis, tree: &mut MemTree, count: u64) -> anyhow::Result<Vec<wire::OfferRequest>> {
    let (key, origin) = (axis.sender.ledger_key()?, axis.sender.origin()?);
    let (mut offers, mut waiting) = (Vec::new(), Vec::new());
    for number in 0..count {
        let offer = offer(axis, number)?;
        let leaf = offer.submission.as_ref().map(|submission| submission.leaf.clone()).unwrap_or_default();
        waiting.push((tree.push(&leaf), offer));
        if waiting.len() as u64 == OFFERS_PER_CHECKPOINT || number + 1 == count {
            let note: Bytes =
                key.sign(&Checkpoint::new(origin.clone(), tree.size(), tree.root())?).to_string().into_bytes().into();
            for (index, mut offer) in waiting.drain(..) {
                let proof = tree.inclusion(index, tree.size()).context("the leaf is in the tree")?;
                if let Some(submission) = &mut offer.submission {
                    submission.index = index;
                    submission.proof = proof.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect();
                    submission.checkpoint = note.clone();
                }
                offers.push(offer);
            }
        }
    }
    Ok(offers)
}

fn offer(axis: &Axis, number: u64) -> anyhow::Result<wire::OfferRequest> {
    let (sender, recipient): (AgencyId, AgencyId) = ("G22".parse()?, "H26".parse()?);
    let now = clock();
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    let envelope = EnvelopeId::new(now, [0, 0, a, b, c, d, e, f, g, h]);
    let preamble = Raw::write(Preamble {
        axis: crate::axis::axis()?,
        suite: Suite::S1,
        envelope,
        lane: Lane::Ordinary,
        level: WireLevel::Ordinary,
        sender: sender.clone(),
        recipients: vec![recipient.clone()],
        legacy: Vec::new(),
        kind: EnvelopeKind::Document,
        priority: Priority::ORDINARY,
        created: now,
        expires: now + Duration::from_secs(3_600),
        supersedes: None,
    })?;
    let mut payload = noise(PAYLOAD_BYTES);
    payload.iter_mut().zip(number.to_le_bytes()).for_each(|(byte, own)| *byte ^= own);
    let key_envelope = noise(600);
    let submission = Raw::write(Submission {
        event: EventUri::SubmissionAcceptance,
        actor: Actor { code: Some(sender), node: axis.sender.id.clone(), role: Role::Sender },
        time: now,
        envelope,
        preamble: preamble.digest(),
        payload: Digest::of(&payload),
        payload_length: PAYLOAD_BYTES as u64,
        commitment: Digest::of(b"commitment"),
        key_envelopes: [(recipient.clone(), Digest::of(&key_envelope))].into(),
        directory: DirectoryRef { version: 1, root: Digest::of(b"root"), entry: Digest::of(b"entry") },
    })?;
    Ok(wire::OfferRequest {
        packed_key_envelopes: Default::default(),
        preamble: preamble.bytes().clone(),
        submission: Some(wire_v1::ProvenLeaf { leaf: submission.bytes().clone(), ..Default::default() }),
        key_envelopes: vec![wire::KeyEnvelope { recipient: recipient.to_string(), cms: key_envelope.into() }],
        payload: payload.into(),
    })
}

/// Offers accepted per second.
async fn rate_of(axis: &Arc<Axis>, offers: &Arc<Vec<wire::OfferRequest>>, stored: bool) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let store = open_store(axis, folder.path())?;
    let (published, directory) = publish(axis, &store).await?;
    let offering = Offering { offers: Arc::clone(offers), in_flight: IN_FLIGHT };
    if stored {
        let store = Arc::new(store);
        let accepted = serve(axis, &store, directory, folder.path(), &offering).await?;
        store.close();
        Ok(accepted.per_second)
    } else {
        let leaf = Some(axis.directory.statement().bytes().clone());
        let store = Arc::new(Unstored { inner: store, acceptance: Acceptance { leaf, ..published } });
        let accepted = serve(axis, &store, directory, folder.path(), &offering).await?;
        store.inner.close();
        Ok(accepted.per_second)
    }
}

/// The axis' directory, in force at a new relay.
pub(crate) async fn publish(axis: &Axis, store: &Embedded) -> anyhow::Result<(Acceptance, InForce)> {
    let root = axis.directory.statement().bytes();
    let published = store.publish(NewDirectory {
        version: axis.directory.version(),
        statement: root.clone(),
        previous: None,
        moved: Vec::new(),
        renewed: Vec::new(),
        published_by: None,
    });
    let published = published.await?;
    let mark = DirectoryMark {
        version: axis.directory.version(),
        statement: Digest::of(root),
        position: published.position,
        leaf_index: published.leaf_index,
    };
    Ok((published, Some((Arc::clone(&axis.directory), mark))))
}

pub(crate) fn open_store(axis: &Axis, folder: &Path) -> anyhow::Result<Embedded> {
    let id = axis.relay.id.clone();
    let tag = StoreTag { axis: "dev".into(), lane: "ordinary".into(), kind: "relay".into(), id: id.to_string() };
    let settings = EmbeddedSettings {
        core: CoreSettings { relay: id, open_envelopes_max: usize::MAX, lease_ms: 600_000 },
        tag,
        origin: axis.relay.origin()?,
        snapshot_every: u64::MAX,
        clock,
        ledger: truc_ledger::Settings::default(),
        index: Some(folder.join("index")),
    };
    let volume = Arc::new(DirVolume::create(folder.join("store"))?);
    Ok(Embedded::open(volume, axis.relay.ledger_key()?, settings)?)
}

pub(crate) type InForce = Option<(Arc<Directory>, DirectoryMark)>;

/// What is offered, and how many at once.
pub(crate) struct Offering {
    pub(crate) offers: Arc<Vec<wire::OfferRequest>>,
    pub(crate) in_flight: usize,
}

/// How fast all of it was accepted.
pub(crate) struct Accepted {
    per_second: f64,
    /// From each call to its answer.
    pub(crate) times: Vec<Duration>,
}

/// Serves `store` as the relay does, and offers everything to it.
pub(crate) async fn serve<S: Store>(
    axis: &Arc<Axis>,
    store: &Arc<S>,
    directory: InForce,
    folder: &Path,
    offering: &Offering,
) -> anyhow::Result<Accepted> {
    let settings = ServiceSettings {
        axis: crate::axis::axis()?,
        lane: Lane::Ordinary,
        relay: axis.relay.id.clone(),
        ledger_key: axis.relay.ledger_key()?.public().clone(),
        statements: axis.relay.ledger_key()?,
        witness: None,
        operator: axis.pinned()?,
        restored: None,
        store: folder.to_owned(),
        epoch: 1,
        directories: folder.join("directories"),
        lease_ms: 600_000,
        statement_every: Duration::from_secs(60),
        clock,
    };
    let service = Service::new(settings, Arc::clone(store), Arc::new(axis.trust()?), directory);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (server, incoming) = link(axis, &axis.relay)?.listen(listener, AcceptSettings::default());
    let draining = server.draining();
    let serving = LinkServer::http().add_service(service.server()).serve_with_incoming_shutdown(incoming, draining);
    let serving = tokio::spawn(serving);
    let accepted = offer_all(axis, address, offering).await;
    service.stop();
    server.drain(Duration::from_secs(5)).await;
    serving.await??;
    accepted
}

/// Everybody of the axis may connect.
fn link(axis: &Arc<Axis>, of: &NodeParty) -> anyhow::Result<Link> {
    let identity = Identity::from_pem(of.tls.issued.certificate_pem.as_bytes(), of.tls.issued.key_pem.as_bytes())?;
    let trust = LinkTrust::from_pem(axis.pki.anchors_pem.as_bytes(), axis.pki.intermediates_pem.as_bytes(), &[])?;
    let parties = Arc::clone(axis);
    let admission = move |fingerprint: &Digest| {
        let all = [&parties.relay, &parties.sender, &parties.recipient];
        let known = all.into_iter().find(|party| party.tls.issued.fingerprint() == *fingerprint);
        known.map(|party| party.id.clone()).ok_or(NotAdmitted::Unlisted(*fingerprint))
    };
    Ok(Link::new(Lane::Ordinary, identity, trust, admission))
}

async fn offer_all(axis: &Arc<Axis>, address: SocketAddr, offering: &Offering) -> anyhow::Result<Accepted> {
    let link = link(axis, &axis.sender)?;
    let connected = link.connect(&address.to_string(), &axis.relay.id, ConnectSettings::default()).await?;
    let mut client = RelayClient::new(connected.channel);
    let mine = axis.sender.ledger_key()?.sign(&Checkpoint::new(axis.sender.origin()?, 0, MemTree::default().root())?);
    let hello = wire::HelloRequest {
        axis: crate::axis::axis()?.to_string(),
        lane: "ordinary".into(),
        node: axis.sender.id.to_string(),
        mine: mine.to_string().into_bytes().into(),
        ..Default::default()
    };
    client.hello(hello).await?;
    let (next, start) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut lanes = JoinSet::new();
    for _ in 0..offering.in_flight {
        let (mut client, next, offers) = (client.clone(), Arc::clone(&next), Arc::clone(&offering.offers));
        lanes.spawn(async move {
            let mut times = Vec::new();
            while let Some(offer) = offers.get(next.fetch_add(1, Ordering::Relaxed)) {
                let called = Instant::now();
                let reply = client.offer(offer.clone()).await?.into_inner();
                times.push(called.elapsed());
                ensure!(matches!(reply.outcome, Some(Outcome::Accepted(_))), "not accepted: {:?}", reply.outcome);
            }
            Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        times.extend(lane??);
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let per_second = times.len() as f64 / start.elapsed().as_secs_f64();
    Ok(Accepted { per_second, times })
}

/// A store that says yes to every offer, with the proof of a leaf that stands in it already, and keeps nothing.
struct Unstored {
    inner: Embedded,
    acceptance: Acceptance,
}

impl Store for Unstored {
    async fn ask(&self, input: Input) -> Result<Reply, StoreError> {
        match input {
            Input::Offered(_) => Ok(Reply::Offer(Ok(OfferOutcome::Accepted(self.acceptance.clone())))),
            Input::Find(keys) => Ok(Reply::Found(vec![None; keys.len()])),
            other => self.inner.ask(other).await,
        }
    }
    fn read(&self, position: Position) -> Result<StoredRecord, StoreError> {
        self.inner.read(position)
    }
    fn look_up(&self, key: &EnvelopeKey) -> Result<Option<Position>, StoreError> {
        self.inner.look_up(key)
    }
    fn leaf_index(&self, position: Position) -> Result<u64, StoreError> {
        self.inner.leaf_index(position)
    }
    fn head(&self) -> Arc<Committed> {
        self.inner.head()
    }
    fn proven_leaf(&self, leaf_index: u64, size: u64) -> Result<(Digest, Vec<Digest>), ProofFailure> {
        self.inner.proven_leaf(leaf_index, size)
    }
    fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, ProofFailure> {
        self.inner.consistency(from, to)
    }
    fn root_at(&self, size: u64) -> Result<Digest, ProofFailure> {
        self.inner.root_at(size)
    }
    fn blobs(&self) -> &Arc<BlobStore> {
        self.inner.blobs()
    }
    fn claim(&self, payload: &Digest) -> Claim {
        self.inner.claim(payload)
    }
    fn news(&self, node: &NodeId) -> tokio::sync::watch::Receiver<u64> {
        self.inner.news(node)
    }

    fn forked(&self) -> tokio::sync::watch::Receiver<u64> {
        self.inner.forked()
    }
}
