//! The ledger alone under power cuts: many threads, blobs, snapshots; every answer read before the cut must be true after it.

use std::{path::Path, process::Command};

use truc_tests::{
    child::Process,
    ledger_load::{Ack, complaints},
    seed::Seed,
    wait::PATIENCE,
};

use crate::disk::CutDisk;

/// Runs the worker until `answers` were read, cuts the power, and tells what is wrong with the store afterwards.
fn cut_after(disk: &CutDisk, answers: u64, worker_arguments: &[&str], acks: &mut Vec<Ack>) -> Vec<String> {
    let store = disk.path().join("store");
    let mut worker = start(&store, worker_arguments);
    let before = acks.len() as u64;
    while acks.len() as u64 - before < answers {
        let line = worker.line(PATIENCE).unwrap_or_else(|| panic!("the worker stopped answering: {}", worker.stderr()));
        acks.extend(Ack::read(&line));
    }
    acks.extend(worker.lines_so_far().filter_map(|line| Ack::read(&line)));
    disk.cut();
    worker.kill();
    disk.power_on();
    complaints(&store, acks).unwrap()
}

fn start(store: &Path, arguments: &[&str]) -> Process {
    Process::start(Command::new(env!("CARGO_BIN_EXE_ledger-worker")).arg(store).args(arguments))
}

#[test]
fn the_ledger_keeps_every_answer_over_power_cuts() {
    let Some(disk) = CutDisk::make(512) else { return };
    let mut seed = Seed::from_env(20_261_122);
    let mut acks = Vec::new();
    // The first cuts fall into the making of the store and into recovery. The store is never wiped: each round recovers what the one before left.
    for round in 0..6 {
        let answers = if round % 3 == 0 { seed.between(0, 3) } else { seed.between(100, 1_500) };
        let found = cut_after(&disk, answers, &[], &mut acks);
        assert!(
            found.is_empty(),
            "round {round}, {} answers: {} complaints, first {:#?}",
            acks.len(),
            found.len(),
            &found[..found.len().min(5)]
        );
    }
    assert!(acks.len() > 300, "too few answers to mean anything: {}", acks.len());
}

/// If this passed the checks, the cuts above would prove nothing.
#[test]
fn without_sync_the_same_cuts_lose_answers() {
    let Some(disk) = CutDisk::make(256) else { return };
    let mut acks = Vec::new();
    // The store itself is made in order, so that it opens; only what was answered later never got to the device.
    let found = cut_after(&disk, 50, &[], &mut acks);
    assert!(found.is_empty(), "{found:#?}");
    let found = cut_after(&disk, 500, &["--ignore-sync"], &mut acks);
    let lost = found.iter().filter(|line| line.starts_with("acknowledged and lost")).count();
    assert!(
        lost > 100,
        "only {lost} of {} answers lost by a power cut without one sync: the harness does not cut",
        acks.len()
    );
}
