//! P1a: appending to the ledger, with tree and signed checkpoint, against the least that durability costs: records copied into a pre-zeroed file,
//! one `fdatasync` for all that queued during the last.
//!
//! Both sides are driven by the same closed loop: one thread submits, and submits again for every answer, so that a fixed number is in flight.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use truc_ledger::{Fold, FoldError, Ledger, LedgerKey, Record, Replayed, Settings, StoreTag, volume::DirVolume};

use crate::report::{Figure, Report, Target, median, rate, round};

/// State and leaf of each record: 2 KB together.
const STATE_BYTES: usize = 1_024;
const LEAF_BYTES: usize = 1_024;
const BARE_FILE_BYTES: u64 = 512 * 1024 * 1024;
const BARE_BATCH_BYTES: usize = 4 * 1024 * 1024;
const ROUNDS: usize = 5;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    for (in_flight, target) in [(1, None), (16, Some(0.7)), (128, Some(0.35))] {
        // Pair by pair, so that a machine that is busy for a while slows both of a pair.
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let bare = bare_rate(in_flight)?;
            rounds.push((ledger_rate(in_flight)?, bare));
        }
        let (ours, bare): (Vec<_>, Vec<_>) = rounds.iter().copied().unzip();
        report.add(Figure {
            id: "P1a",
            what: format!("ledger append, {in_flight} in flight"),
            value: median(rounds.iter().map(|(ours, bare)| ours / bare).collect()),
            unit: "ratio",
            target: target.map(Target::AtLeast),
            from: vec![("ours", rate(median(ours))), ("bare", rate(median(bare)))],
        });
    }
    Ok(())
}

fn ledger_rate(in_flight: usize) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let ledger = open_ledger(folder.path(), &mut Nothing)?;
    let per_second = closed_loop(in_flight, |answered| {
        let record = Record::with_leaf(vec![1; STATE_BYTES], vec![2; LEAF_BYTES]);
        let answered = answered.clone();
        ledger.submit(vec![record], Box::new(move |_| _ = answered.send(()))).context("submit")
    })?;
    ledger.close();
    Ok(per_second)
}

/// The ledger in `folder`, as a process would open it.
pub(crate) fn open_ledger(folder: &Path, fold: &mut dyn Fold) -> anyhow::Result<Ledger> {
    let origin = "truc/dev/ordinary/R1/1";
    let tag = StoreTag { axis: "dev".into(), lane: "ordinary".into(), kind: "relay".into(), id: "R1".into() };
    let key = LedgerKey::from_seed(origin, &[7; 32])?;
    let volume = Arc::new(DirVolume::create(folder)?);
    let (ledger, _) = truc_ledger::open(volume, tag, origin.to_owned(), key, Settings::default(), fold)?;
    Ok(ledger)
}

/// A fold that keeps nothing.
pub(crate) struct Nothing;

impl Fold for Nothing {
    fn reset(&mut self) {}
    fn load_snapshot(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        entries.for_each(drop);
        Ok(())
    }
    fn apply(&mut self, _: Replayed<'_>) -> Result<(), FoldError> {
        Ok(())
    }
}

fn bare_rate(in_flight: usize) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let file = zeroed(&folder.path().join("bare"))?;
    let (queue, queued) = channel::<(Vec<u8>, Sender<()>)>();
    let committer = thread::spawn(move || commit_bare(&file, &queued));
    let per_second = closed_loop(in_flight, |answered| {
        queue.send((vec![1; STATE_BYTES + LEAF_BYTES], answered.clone())).context("the bare committer stopped")
    })?;
    drop(queue);
    committer.join().map_err(|_| anyhow::anyhow!("the bare committer panicked"))??;
    Ok(per_second)
}

fn zeroed(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    let zeroes = vec![0; 1024 * 1024];
    for at in (0..BARE_FILE_BYTES).step_by(zeroes.len()) {
        file.write_all_at(&zeroes, at)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// The file is written round and round.
fn commit_bare(file: &File, queued: &Receiver<(Vec<u8>, Sender<()>)>) -> std::io::Result<()> {
    let (mut at, mut bytes, mut waiting) = (0, Vec::with_capacity(2 * BARE_BATCH_BYTES), Vec::new());
    while let Ok(first) = queued.recv() {
        let mut next = Some(first);
        while let Some((record, answer)) = next {
            bytes.extend_from_slice(&record);
            waiting.push(answer);
            next = (bytes.len() < BARE_BATCH_BYTES).then(|| queued.try_recv().ok()).flatten();
        }
        if at + bytes.len() as u64 > BARE_FILE_BYTES {
            at = 0;
        }
        file.write_all_at(&bytes, at)?;
        at += bytes.len() as u64;
        file.sync_data()?;
        bytes.clear();
        for answer in waiting.drain(..) {
            let _ = answer.send(());
        }
    }
    Ok(())
}

/// Answers per second, with `in_flight` asked for at any time, after a fifth of the round to warm up.
fn closed_loop(in_flight: usize, mut submit: impl FnMut(&Sender<()>) -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let (answered, answers) = channel();
    for _ in 0..in_flight {
        submit(&answered)?;
    }
    pump(round() / 5, &answered, &answers, &mut submit)?;
    let per_second = pump(round(), &answered, &answers, &mut submit)?;
    for _ in 0..in_flight {
        answers.recv()?;
    }
    Ok(per_second)
}

fn pump(
    time: Duration,
    answered: &Sender<()>,
    answers: &Receiver<()>,
    submit: &mut impl FnMut(&Sender<()>) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < time {
        answers.recv()?;
        submit(answered)?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}
