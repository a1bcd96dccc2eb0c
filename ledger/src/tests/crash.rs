//! Power cuts and kills at every place: nothing acknowledged is missing (I1), nothing torn comes back, checkpoints stay consistent (I5).

use super::*;
use crate::simdisk::SimRandom;

/// What the world outside knows.
#[derive(Default)]
struct Outside {
    /// Records acknowledged: a prefix of what was submitted.
    acknowledged: Vec<Record>,
    /// Checkpoints given out.
    seen: Vec<Committed>,
}

/// One seed: a disk that is cut again and again while it is written, recovered, rebuilt and snapshotted.
fn live(seed: u64, lives: u64) {
    let mut random = SimRandom::new(seed);
    let disk = SimDisk::default();
    let mut outside = Outside::default();
    let mut number = 0;
    for life in 0..lives {
        let (ledger, mut driver, recovered, all) = opened(&disk);
        let kept = outside.acknowledged.len();
        assert!(
            all.records.len() >= kept,
            "seed {seed} life {life}: {} records, {kept} were acknowledged (I1)",
            all.records.len()
        );
        assert_eq!(
            all.records[..kept],
            outside.acknowledged[..],
            "seed {seed} life {life}: an acknowledged record changed"
        );
        let tree = all.tree();
        assert_eq!((recovered.head.size, recovered.head.root), (tree.size(), tree.root()), "seed {seed} life {life}");
        for old in &outside.seen {
            assert_eq!(
                tree.root_at(old.size),
                Some(old.root),
                "seed {seed} life {life}: a checkpoint given out is not a prefix (I5)"
            );
        }
        // What came back may be acknowledged from now on: it is on the device.
        let mut written = all.records;
        outside.acknowledged.clone_from(&written);
        outside.seen.push((*recovered.head).clone());
        for (position, expected) in (0..).map(Position).zip(&written) {
            if random.below(8) == 0 {
                assert_eq!(ledger.read(position).unwrap(), *expected, "seed {seed} life {life}");
            }
        }
        let acks = Acks::default();
        for _ in 0..random.below(12) {
            for _ in 0..=random.below(4) {
                let records: Vec<Record> = (0..=random.below(3)).map(|_| arbitrary(&mut random, &mut number)).collect();
                written.extend(records.iter().cloned());
                submit(&ledger, records, written.len() as u64, &acks);
            }
            if random.below(12) == 0 {
                break; // cut with work in the queue
            }
            assert!(driver.append());
            if random.below(8) == 0 {
                break; // cut before the sync
            }
            if random.below(10) == 0 {
                disk.fail_sync(1);
                assert!(!driver.sync());
                break;
            }
            assert!(driver.sync());
            if random.below(8) == 0 {
                break; // cut between sync and answer
            }
            driver.release();
            if random.below(6) == 0 {
                driver.idle();
            }
            if random.below(10) == 0 {
                let at = random.below(ledger.head().position.0 + 1);
                ledger.snapshot(Position(at), All::entries(&written[..usize::try_from(at).unwrap()])).unwrap();
            }
        }
        let acks = acks.lock().unwrap();
        if let Some((last, committed)) = acks.last() {
            outside.acknowledged = written[..usize::try_from(*last).unwrap()].to_vec();
            outside.seen.push(committed.clone());
        }
        if random.below(3) == 0 {
            disk.kill();
        } else {
            disk.crash(random.draw());
        }
        if random.below(5) == 0 {
            // Cut again while it recovers: whatever an interrupted start leaves must do as well.
            drop(try_open(&disk));
            disk.crash(random.draw());
        }
    }
}

fn arbitrary(random: &mut SimRandom, number: &mut u64) -> Record {
    *number += 1;
    let long = if random.below(20) == 0 { 60_000 } else { 900 };
    let mut state = number.to_le_bytes().to_vec();
    state.resize(usize::try_from(8 + random.below(long)).unwrap(), u8::try_from(random.below(256)).unwrap());
    let leaf = (random.below(3) > 0).then(|| number.to_le_bytes().to_vec());
    Record { state, leaf }
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SIM_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=count).collect(),
    }
}

#[test]
fn nothing_acknowledged_is_lost_over_thousands_of_cuts() {
    for seed in seeds(200) {
        live(seed, 12); // 2,400 lives
    }
}

#[test]
fn a_sync_that_lies_is_noticed_so_the_test_can_fail() {
    // The negative control: the same checks over a disk whose journal syncs do nothing must find losses.
    let mut lost = 0;
    for seed in 0..20 {
        let disk = SimDisk::default();
        let (ledger, mut driver, ..) = opened(&disk);
        let acks = Acks::default();
        for number in 0..5 {
            submit(&ledger, vec![record(number)], number + 1, &acks);
            assert!(driver.append()); // no sync
            driver.release();
        }
        assert_eq!(acks.lock().unwrap().len(), 5);
        disk.crash(seed);
        lost +=
            u64::from(!matches!(try_open(&disk), Ok((_, _, recovered, _)) if recovered.next_position == Position(5)));
    }
    assert!(lost > 5, "only {lost} of 20 cuts lost unsynced records");
}

#[test]
fn stale_frames_behind_a_torn_one_do_not_come_back() {
    let disk = SimDisk::default();
    let (ledger, mut driver, ..) = opened(&disk);
    let acks = Acks::default();
    submit(&ledger, vec![record(0)], 1, &acks);
    assert!(driver.step());
    let frame = |fill: u8| Record::state(vec![fill; 600]);
    // A batch of three equal frames, of which the first loses a sector and the others arrive.
    let segment = "journal/0000000000.seg";
    let before = disk.contents(segment).unwrap();
    for fill in [1, 2, 3] {
        submit(&ledger, vec![frame(fill)], 9, &acks);
    }
    assert!(driver.append());
    let mut after = disk.contents(segment).unwrap();
    let start = (0..after.len()).find(|at| after[*at] != before[*at]).unwrap();
    after[start + 200] ^= 0xff;
    disk.kill();
    disk.tamper(segment, Some(after));
    let (ledger, mut driver, recovered, all) = opened(&disk);
    assert_eq!((recovered.next_position, all.records.len()), (Position(1), 1));
    assert!(recovered.cut_bytes > 1_200);
    // Overwrite with one frame of the same size: the other two lie where they would continue it.
    submit(&ledger, vec![frame(7)], 2, &acks);
    assert!(driver.append());
    disk.kill();
    let (_, _, recovered, all) = opened(&disk);
    assert_eq!((recovered.next_position, all.records.last()), (Position(2), Some(&frame(7))));
}

#[test]
fn a_submission_torn_in_the_middle_is_gone_as_a_whole() {
    let disk = SimDisk::default();
    let (ledger, mut driver, ..) = opened(&disk);
    let acks = Acks::default();
    let records: Vec<Record> = (0..4).map(|fill| Record::with_leaf(vec![fill; 1_000], vec![fill])).collect();
    submit(&ledger, records[..1].to_vec(), 1, &acks);
    submit(&ledger, records[1..].to_vec(), 4, &acks);
    assert!(driver.append());
    let segment = "journal/0000000000.seg";
    let mut bytes = disk.contents(segment).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last - 100] ^= 1; // in the fourth record
    disk.kill();
    disk.tamper(segment, Some(bytes));
    let (_, _, recovered, all) = opened(&disk);
    assert_eq!((recovered.next_position, recovered.next_leaf), (Position(1), 1));
    assert_eq!(all.records, records[..1]);
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_on_the_device_before_it_is_believed() {
    let mut came_back = 0;
    for seed in 0..60 {
        let disk = SimDisk::default();
        let (ledger, mut driver, ..) = filled(&disk, 3);
        let acks = Acks::default();
        for number in 3..3 + 1 + seed % 5 {
            submit(&ledger, vec![record(number)], number + 1, &acks);
        }
        assert!(driver.append());
        disk.fail_sync(1);
        assert!(!driver.sync(), "the process ends");
        disk.kill();
        // The next one runs on the same kernel: it reads what the device does not have, and a sync does not write it.
        let (ledger, mut driver, recovered, all) = opened(&disk);
        let mut known = all.records;
        came_back += known.len() - 3;
        assert_eq!(recovered.next_position.0, known.len() as u64);
        let next = record(100);
        submit(&ledger, vec![next.clone()], known.len() as u64 + 1, &acks);
        assert!(driver.step());
        known.push(next);
        disk.crash(seed);
        let (.., all) = opened(&disk);
        assert_eq!(all.records, known, "seed {seed}: what was read at the start and built upon is gone (I1)");
    }
    assert!(
        came_back > 60,
        "only {came_back} records were read from the cache: the disk does not do what this test is about"
    );
}

#[test]
fn a_start_that_cannot_write_the_last_batch_again_does_not_happen() {
    let disk = SimDisk::default();
    let (ledger, mut driver, ..) = filled(&disk, 3);
    submit(&ledger, vec![record(3)], 4, &Acks::default());
    assert!(driver.append());
    disk.fail_sync(1);
    assert!(!driver.sync());
    // Whichever sync of a start fails: the start after it trusts nothing that is not on the device.
    let mut failed = 0;
    loop {
        disk.kill();
        disk.fail_sync(failed + 1);
        if try_open(&disk).is_ok() {
            break;
        }
        failed += 1;
        disk.kill();
        let believed = opened(&disk).3.records;
        disk.crash(failed);
        assert_eq!(opened(&disk).3.records, believed, "sync {failed}");
    }
    assert!(failed >= 3, "folder, segment and the empty batch at least, not {failed}");
}
