//! A ledger of ten million events: how long it takes to open, and to prove one of them.

use std::{path::Path, time::Instant};

use anyhow::{Context, ensure};
use truc_ledger::{
    Record, SubmitError,
    merkle::{leaf_hash, verify_consistency, verify_inclusion},
};

use crate::{
    append::{Nothing, open_ledger},
    report::{Figure, Report, Target, median, milliseconds, scaled},
    start::forget,
};

const EVENTS: u64 = 10_000_000;
const PROOFS: u64 = 1_000;
/// Submitted at once: what a batch takes.
const AT_ONCE: u64 = 512;
const OPEN_SECONDS: f64 = 2.0;
const PROVE_MS: f64 = 5.0;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let count = scaled(EVENTS, 10_000);
    let folder = tempfile::tempdir().context("make a folder")?;
    fill(folder.path(), count)?;
    for part in ["journal", "snapshots", "tree"] {
        forget(&folder.path().join(part))?;
    }
    let start = Instant::now();
    let ledger = open_ledger(folder.path(), &mut Nothing)?;
    let seconds = start.elapsed().as_secs_f64();
    let head = ledger.head();
    ensure!(head.size == count, "{} of {count} leaves are there", head.size);
    let (mut inclusions, mut consistencies) = (Vec::new(), Vec::new());
    for number in 0..PROOFS.min(count) {
        // All over the tree, each far from the one before.
        let index = number.wrapping_mul(7_919_777) % count;
        let start = Instant::now();
        let proof = ledger.inclusion(index, count)?;
        inclusions.push(milliseconds(start.elapsed()));
        verify_inclusion(&leaf_hash(&event(index)), index, count, &proof, &head.root)?;
        let from = index + 1;
        let start = Instant::now();
        let proof = ledger.consistency(from, count)?;
        consistencies.push(milliseconds(start.elapsed()));
        let before = ledger.root_at(from)?;
        verify_consistency(from, &before, count, &head.root, &proof)?;
    }
    ledger.close();
    let from = |first: f64| vec![("events", count.to_string()), ("first", format!("{first:.2} ms"))];
    let (first, first_consistency) = (inclusions.first().copied(), consistencies.first().copied());
    report.add(Figure {
        id: "ledger",
        what: "ledger opened from its snapshot, disk not cached".into(),
        value: seconds,
        unit: "s",
        target: Some(Target::AtMost(OPEN_SECONDS)),
        from: vec![("events", count.to_string())],
    });
    for (what, times, first) in [
        ("event proven", inclusions, first.unwrap_or_default()),
        ("older checkpoint proven consistent", consistencies, first_consistency.unwrap_or_default()),
    ] {
        report.add(Figure {
            id: "ledger",
            what: what.into(),
            value: median(times),
            unit: "ms",
            target: Some(Target::AtMost(PROVE_MS)),
            from: from(first),
        });
    }
    Ok(())
}

fn event(number: u64) -> Vec<u8> {
    format!("event {number:060}").into_bytes()
}

/// So many events, and the snapshot of a stop in good order.
fn fill(folder: &Path, count: u64) -> anyhow::Result<()> {
    let ledger = open_ledger(folder, &mut Nothing)?;
    for first in (0..count).step_by(usize::try_from(AT_ONCE)?) {
        let records = || (first..(first + AT_ONCE).min(count)).map(|n| Record::with_leaf(vec![1], event(n))).collect();
        while let Err(refused) = ledger.submit(records(), Box::new(|_| ())) {
            ensure!(refused == SubmitError::Busy, "the ledger refused: {refused}");
            std::thread::yield_now();
        }
    }
    let all = ledger.clone();
    ledger.close();
    all.snapshot(all.head().position, std::iter::empty())?;
    Ok(())
}
