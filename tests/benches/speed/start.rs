//! P9: how long a relay takes to start: from a snapshot with a million open envelopes, and from nothing but a journal of ten million records.
//!
//! The journals are written by the relay's own core; signatures in the bodies are noise, since the fold does not look at them.

use std::{
    fs::{self, File},
    path::Path,
    time::Instant,
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use rustix::fs::{Advice, fadvise};
use truc_ledger::{Fold, FoldError, Ledger, Position, Replayed, SubmitError};
use truc_proto::{Digest, EnvelopeId, NodeId, Timestamp};
use truc_relay::core::{
    Core, CoreSettings, Effect, EnvelopeKey, Fact, Input, Mark, OfferedRecipient, VerifiedEvidence, VerifiedOffer,
};

use crate::{
    append::open_ledger,
    report::{Figure, Report, Target, percent, scaled, short},
    streams::noise,
};

const OPEN_ENVELOPES: u64 = 1_000_000;
const RECORDS: u64 = 10_000_000;
/// Records of one envelope that is handed over: accepted, taken, consigned, handed over, and the sender's acknowledgement.
const RECORDS_PER_ENVELOPE: u64 = 5;
/// Preamble, submission with proof and checkpoint, one key envelope.
const OFFER_BODY_BYTES: usize = 1_500;
/// One leaf with proof and checkpoint.
const EVIDENCE_BODY_BYTES: usize = 1_000;
const SNAPSHOT_SECONDS: f64 = 5.0;
const FOLD_SECONDS: f64 = 60.0;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    from_snapshot(report)?;
    whole_fold(report)
}

fn from_snapshot(report: &mut Report) -> anyhow::Result<()> {
    let count = scaled(OPEN_ENVELOPES, 1_000);
    let folder = tempfile::tempdir().context("make a folder")?;
    let mut relay = Relay::new(folder.path())?;
    for number in 0..count {
        relay.offer(number)?;
    }
    let (position, entries) = (relay.core.next_position(), relay.core.snapshot());
    let ledger = relay.close()?;
    ledger.snapshot(position, entries.into_iter())?;
    drop(ledger);
    let (seconds, fold) = reopened(folder.path())?;
    ensure!(fold.core.open_envelopes() as u64 == count, "all envelopes are open after the start");
    ensure!(fold.applied == 0, "nothing behind the snapshot is folded");
    report.add(figure("start from a snapshot, open envelopes", seconds, SNAPSHOT_SECONDS, count, folder.path())?);
    Ok(())
}

fn whole_fold(report: &mut Report) -> anyhow::Result<()> {
    let envelopes = scaled(RECORDS, 1_000) / RECORDS_PER_ENVELOPE;
    let folder = tempfile::tempdir().context("make a folder")?;
    let mut relay = Relay::new(folder.path())?;
    for number in 0..envelopes {
        relay.whole_life(number)?;
    }
    let records = relay.core.next_position().0;
    drop(relay.close()?);
    let (seconds, fold) = reopened(folder.path())?;
    ensure!(fold.applied == records, "all records are folded");
    report.add(figure("whole fold, records", seconds, FOLD_SECONDS, records, folder.path())?);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn figure(what: &str, seconds: f64, target: f64, count: u64, folder: &Path) -> anyhow::Result<Figure> {
    Ok(Figure {
        id: "P9",
        what: what.to_owned(),
        value: seconds,
        unit: "s",
        target: Some(Target::AtMost(target * percent() as f64 / 100.0)),
        from: vec![
            ("count", count.to_string()),
            ("per second", short(count as f64 / seconds)),
            ("journal", format!("{} MB", bytes_below(&folder.join("journal"))? / 1_000_000)),
            ("snapshot", format!("{} MB", bytes_below(&folder.join("snapshots"))? / 1_000_000)),
        ],
    })
}

/// A relay without sockets: core and ledger.
struct Relay {
    core: Core,
    ledger: Ledger,
    now: Timestamp,
    names: Names,
}

/// Parsed once.
struct Names {
    sender: NodeId,
    recipient: NodeId,
    offer_body: Bytes,
    evidence_body: Bytes,
}

impl Relay {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let names = Names {
            sender: "N-G22".parse()?,
            recipient: "N-H26".parse()?,
            offer_body: noise(OFFER_BODY_BYTES).into(),
            evidence_body: noise(EVIDENCE_BODY_BYTES).into(),
        };
        let ledger = open_ledger(folder, &mut Folding::new()?)?;
        Ok(Self { core: Core::new(settings()?), ledger, now: "2026-11-22T02:00:00Z".parse()?, names })
    }

    fn offer(&mut self, number: u64) -> anyhow::Result<()> {
        let digest = |what: u64| Digest::of_parts(&[&number.to_le_bytes(), &what.to_le_bytes()]);
        let offer = VerifiedOffer {
            key: self.key(number)?,
            sender_node: self.names.sender.clone(),
            submission: digest(1),
            preamble: digest(2),
            payload: digest(3),
            commitment: digest(4),
            payload_length: 100_000,
            blob: true,
            expires: Timestamp::from_unix_ms(self.now.unix_ms() + 86_400_000),
            priority: u8::try_from(number % 5)?,
            status: false,
            recipients: vec![OfferedRecipient::Open { code: "H26".parse()?, node: self.names.recipient.clone() }],
            supersedes: None,
            mark: Mark { size: number + 1, root: digest(5) },
            note: Bytes::new(),
            body: self.names.offer_body.clone(),
        };
        self.give(Input::Offered(Box::new(offer)))
    }

    fn whole_life(&mut self, number: u64) -> anyhow::Result<()> {
        self.offer(number)?;
        for (step, fact) in [Fact::Taken, Fact::Consigned, Fact::HandedOver].into_iter().enumerate() {
            let item = VerifiedEvidence {
                key: self.key(number)?,
                recipient: "H26".parse()?,
                fact,
                leaf: Digest::of_parts(&[&number.to_le_bytes(), &step.to_le_bytes()]),
                to: self.names.sender.clone(),
                mark: Mark { size: 4 * number + step as u64 + 1, root: Digest::of(&number.to_le_bytes()) },
                batch: self.names.evidence_body.clone(),
                recalled: None,
            };
            self.give(Input::Evidence { from: self.names.recipient.clone(), items: vec![item] })?;
        }
        let numbers = (3 * number + 1..=3 * number + 3).collect();
        self.give(Input::Acknowledged { node: self.names.sender.clone(), numbers })
    }

    fn key(&self, number: u64) -> anyhow::Result<EnvelopeKey> {
        let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
        let envelope = EnvelopeId::new(self.now, [0, 0, a, b, c, d, e, f, g, h]);
        Ok(EnvelopeKey { sender: "G22".parse()?, envelope })
    }

    fn give(&mut self, input: Input) -> anyhow::Result<()> {
        for effect in self.core.handle(self.now, input) {
            let Effect::Append(records) = effect else { continue };
            while let Err(refused) = self.ledger.submit(records.clone(), Box::new(|_| ())) {
                ensure!(refused == SubmitError::Busy, "the ledger refused: {refused}");
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// Everything is on the device then.
    fn close(self) -> anyhow::Result<Ledger> {
        let ledger = self.ledger.clone();
        self.ledger.close();
        ensure!(ledger.head().position == self.core.next_position(), "everything is durable");
        Ok(ledger)
    }
}

/// Seconds until the ledger is open and its state folded, with nothing of it in the page cache.
fn reopened(folder: &Path) -> anyhow::Result<(f64, Folding)> {
    forget(&folder.join("journal"))?;
    forget(&folder.join("snapshots"))?;
    let mut fold = Folding::new()?;
    let start = Instant::now();
    let ledger = open_ledger(folder, &mut fold)?;
    let seconds = start.elapsed().as_secs_f64();
    ledger.close();
    Ok((seconds, fold))
}

/// Asks the system to drop the files' pages, as after a power cut.
pub(crate) fn forget(folder: &Path) -> anyhow::Result<()> {
    for path in files(folder)? {
        let file = File::open(path)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    files(folder)?.iter().try_fold(0, |sum, path| Ok(sum + fs::metadata(path)?.len()))
}

fn files(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn settings() -> anyhow::Result<CoreSettings> {
    Ok(CoreSettings { relay: "R1".parse()?, open_envelopes_max: usize::MAX, lease_ms: 600_000 })
}

/// The core as a fold, as the relay's shell has it.
struct Folding {
    core: Core,
    settings: CoreSettings,
    applied: u64,
}

impl Folding {
    fn new() -> anyhow::Result<Self> {
        let settings = settings()?;
        Ok(Self { core: Core::new(settings.clone()), settings, applied: 0 })
    }
}

impl Fold for Folding {
    fn reset(&mut self) {
        self.core = Core::new(self.settings.clone());
        self.applied = 0;
    }

    fn load_snapshot(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        Ok(self.core.load_snapshot(entries)?)
    }

    fn apply(&mut self, record: Replayed<'_>) -> Result<(), FoldError> {
        self.applied += 1;
        Ok(self.core.apply(Position(record.position.0), record.leaf_index, record.state)?)
    }
}
