//! A disk that gives back other bytes than it took: what was vouched for stops the start, nothing panics, nothing is silently lost.

use super::*;
use crate::simdisk::SimRandom;

const SEGMENT: &str = "journal/0000000000.seg";

/// A small journal: 12 records in batches of one to three, and the vouching batch of an idle ledger.
fn small() -> (SimDisk, Vec<Record>) {
    let disk = SimDisk::default();
    let (ledger, mut driver, ..) = opened(&disk);
    let acks = Acks::default();
    let records: Vec<Record> =
        (0..12).map(|n| Record { state: vec![n; 20], leaf: (n % 2 == 0).then(|| vec![n; 9]) }).collect();
    for (index, part) in records.chunks(3).enumerate() {
        if index % 2 == 0 {
            submit(&ledger, part.to_vec(), 0, &acks);
        } else {
            part.iter().for_each(|record| submit(&ledger, vec![record.clone()], 0, &acks));
        }
        assert!(driver.step());
    }
    driver.committer_vouch();
    disk.kill();
    (disk, records)
}

#[test]
fn any_flipped_bit_in_vouched_records_stops_the_start() {
    let (disk, records) = small();
    let whole = disk.contents(SEGMENT).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let last_header = used - crate::frame::BATCH_HEADER + 4; // its last four bytes are reserved zeroes
    let (mut stopped, mut passed) = (0, 0);
    for at in (0..used + 200).filter(|at| *at < 400 || *at >= 4096) {
        for bit in [0, 3, 7] {
            let disk = disk.copy();
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            disk.tamper(SEGMENT, Some(bytes));
            match try_open(&disk) {
                Err(OpenError::Scan(ScanError::Damaged { .. }) | OpenError::BadSegment { .. }) => stopped += 1,
                Err(other) => panic!("byte {at}: {other}"),
                Ok((_, _, _, all)) => {
                    // Only the vouching batch itself, or the zeroes behind it, may be hurt without a record's loss.
                    assert!(at + 1 >= last_header.saturating_sub(8), "byte {at} of {used}: damage went unnoticed");
                    assert_eq!(all.records, records, "byte {at}");
                    passed += 1;
                }
            }
        }
    }
    assert!(stopped > 1_000 && passed > 500, "{stopped} stopped, {passed} passed");
}

#[test]
fn damage_in_the_last_batch_cuts_it_and_says_how_much() {
    let disk = SimDisk::default();
    let (_ledger, _driver, _, all) = filled(&disk, 5);
    disk.kill();
    let mut bytes = disk.contents(SEGMENT).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last] ^= 1;
    disk.tamper(SEGMENT, Some(bytes));
    let (_, _, recovered, found) = opened(&disk);
    assert_eq!((recovered.next_position, recovered.cut_bytes > 100), (Position(4), true));
    assert_eq!(found.records, all.records[..4]);
    // And from then on the same damage would be noticed: the start itself vouched for what it kept.
    disk.kill();
    let mut bytes = disk.contents(SEGMENT).unwrap();
    let at = (4096..bytes.len()).find(|at| bytes[*at..].starts_with(&record(3).state)).unwrap();
    bytes[at] ^= 1;
    disk.tamper(SEGMENT, Some(bytes));
    let error = try_open(&disk).map(|_| ()).unwrap_err();
    assert!(matches!(&error, OpenError::Scan(ScanError::Damaged { position: Position(3), .. })), "{error}");
    assert!(error.to_string().contains("restore the store from its backup"), "{error}");
}

#[test]
fn damage_met_while_reading_is_told_and_never_served() {
    let disk = SimDisk::default();
    let (ledger, _driver, ..) = filled(&disk, 40);
    let mut bytes = disk.contents(SEGMENT).unwrap();
    let at = (4096..bytes.len()).find(|at| bytes[*at..].starts_with(&record(20).state)).unwrap();
    bytes[at + 3] ^= 1;
    disk.tamper(SEGMENT, Some(bytes));
    assert!(matches!(ledger.read(Position(20)), Err(ReadError::Damaged { position: Position(20), .. })));
    assert_eq!(ledger.read(Position(19)).unwrap(), record(19));
    assert_eq!(ledger.read(Position(21)).unwrap(), record(21));
}

#[test]
fn missing_and_foreign_segments_are_named() {
    let disk = SimDisk::default();
    let (ledger, mut driver, ..) = opened(&disk);
    let acks = Acks::default();
    for _ in 0..20 {
        submit(&ledger, vec![Record::state(vec![1; 400_000])], 0, &acks);
        assert!(driver.step());
    }
    disk.kill();
    let second = "journal/0000000001.seg";
    let gone = disk.copy();
    gone.tamper(second, None);
    assert!(matches!(try_open(&gone), Err(OpenError::MissingSegment { segment: 1 })));
    let foreign = disk.copy();
    let mut bytes = disk.contents(second).unwrap();
    let header = crate::frame::SegmentHeader { journal: [9; 16], number: 1, tag: tag() }.encode();
    bytes[..header.len()].copy_from_slice(&header);
    foreign.tamper(second, Some(bytes));
    assert!(matches!(try_open(&foreign), Err(OpenError::MixedSegments { segment: 1 })));
    let emptied = disk.copy();
    let mut bytes = disk.contents(second).unwrap();
    bytes[4096..].fill(0);
    emptied.tamper(second, Some(bytes));
    assert!(matches!(try_open(&emptied), Err(OpenError::Scan(ScanError::Damaged { .. }))));
}

#[test]
fn the_last_segment_cut_short_is_noticed_when_vouched() {
    let (disk, _) = small();
    let whole = disk.contents(SEGMENT).unwrap();
    for length in [0, 100, 4096, 4200] {
        let disk = disk.copy();
        disk.tamper(SEGMENT, Some(whole[..length].to_vec()));
        match try_open(&disk) {
            Err(OpenError::BadSegment { segment: 0 }) => assert!(length < 4096),
            // Cut off together with all that vouched for it: only the exchange with a peer can tell (no fork).
            Ok((_, _, recovered, _)) => assert!(length >= 4096 && recovered.next_position == Position(0)),
            Err(other) => panic!("{length}: {other}"),
        }
    }
}

/// Some random damage behind the first page, in one place and shorter than a batch header: bytes changed, zeroed, replaced by others or by noise.
fn bend(bytes: &mut [u8], used: usize, random: &mut SimRandom) {
    let mut below = |bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
    let (at, from) = (4096 + below(used - 4096), 4096 + below(used - 4096));
    let length = (1 + below(40)).min(used - at.max(from));
    match below(4) {
        0 => bytes[at] ^= 1 << below(8),
        1 => bytes[at..at + length].fill(0),
        2 => bytes.copy_within(from..from + length, at),
        _ => bytes[at..at + length].iter_mut().for_each(|byte| *byte = u8::try_from(below(256)).unwrap()),
    }
}

#[test]
fn any_bytes_in_a_segment_stop_the_start_or_leave_a_true_beginning() {
    let (vouched, records) = small();
    // The same with a last batch that nothing vouches for: there damage is cut, not refused.
    let open_end = vouched.copy();
    let (ledger, mut driver, ..) = opened(&open_end);
    let last = [Record::state(vec![99; 300]), Record::state(vec![98; 300])];
    last.iter().for_each(|record| submit(&ledger, vec![record.clone()], 0, &Acks::default()));
    assert!(driver.append());
    open_end.kill();
    let all: Vec<Record> = records.iter().chain(&last).cloned().collect();
    let (mut stopped, mut cut) = (0, 0);
    // Damage that takes the vouching header together with the end of the batch before it leaves what looks like a torn end.
    for (disk, surely) in [(vouched, records.len() - 3), (open_end, records.len())] {
        let whole = disk.contents(SEGMENT).unwrap();
        let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for seed in 0..1_500 {
            let disk = disk.copy();
            let mut bytes = whole.clone();
            bend(&mut bytes, used, &mut SimRandom::new(seed));
            disk.tamper(SEGMENT, Some(bytes));
            match try_open(&disk) {
                Err(OpenError::Scan(ScanError::Damaged { .. })) => stopped += 1,
                Err(other) => panic!("seed {seed}: {other}"),
                Ok((_, _, recovered, found)) => {
                    let count = found.records.len();
                    assert!(count >= surely, "seed {seed}: {count} records, {surely} were vouched for");
                    assert_eq!(found.records, all[..count], "seed {seed}");
                    cut += u64::from(recovered.cut_bytes > 0);
                }
            }
        }
    }
    assert!(stopped > 500 && cut > 100, "{stopped} stopped, {cut} were cut: the test does not reach both");
}
