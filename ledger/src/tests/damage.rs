//! A disk that gives back other bytes than it took: what was vouched for stops the start, nothing panics, nothing is silently lost.

use super::*;

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
