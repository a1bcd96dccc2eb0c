//! Copies of a journal that is being written.

use super::*;
use crate::{
    cut::{journal_cut, read_journal},
    simdisk::SimRandom,
};

const SEGMENT: &str = "journal/0000000000.seg";

/// A disk that holds what a copy of `disk` up to `cut` holds.
fn copied(disk: &SimDisk, cut: &JournalCut) -> SimDisk {
    let copy = disk.copy();
    for (name, length) in &cut.segments {
        let mut bytes = disk.contents(name).unwrap();
        bytes.truncate(usize::try_from(*length).unwrap());
        copy.tamper(name, Some(bytes));
    }
    copy
}

#[test]
fn a_copy_up_to_a_cut_of_a_running_ledger_opens_with_all_that_was_there_and_goes_on() {
    for count in [0, 1, 7, 40] {
        let disk = SimDisk::default();
        let (_ledger, _driver, _, all) = filled(&disk, count);
        let cut = journal_cut(&volume(&disk), &tag()).unwrap();
        assert_eq!((cut.next_position, cut.leaves, cut.root), (Position(count), all.tree().size(), all.tree().root()));
        let copy = copied(&disk, &cut);
        copy.kill();
        let (ledger, mut driver, recovered, read) = opened(&copy);
        assert_eq!((read.records, recovered.cut_bytes), (all.records, 0));
        let acks = Acks::default();
        submit(&ledger, vec![record(count)], count + 1, &acks);
        assert!(driver.step());
        assert_eq!(acks.lock().unwrap().len(), 1, "it takes records as before");
    }
}

#[test]
fn a_batch_that_is_half_written_is_left_out_and_never_taken_for_damage() {
    let disk = SimDisk::default();
    let (ledger, mut driver, _, all) = filled(&disk, 9);
    let before = journal_cut(&volume(&disk), &tag()).unwrap();
    let acks = Acks::default();
    submit(&ledger, (9..12).map(record).collect(), 12, &acks);
    assert!(driver.step());
    let after = journal_cut(&volume(&disk), &tag()).unwrap();
    assert_eq!(after.next_position, Position(12));
    let whole = disk.contents(SEGMENT).unwrap();
    let (from, to) = (before.segments[0].1, after.segments[0].1);
    for written in from..to {
        let half = disk.copy();
        let mut bytes = whole.clone();
        bytes[usize::try_from(written).unwrap()..].fill(0);
        half.tamper(SEGMENT, Some(bytes));
        let (cut, read) = read_journal(&volume(&half), &tag(), |record| Some(record.position)).unwrap();
        assert_eq!(
            read,
            (0..cut.next_position.0).map(Position).collect::<Vec<_>>(),
            "nothing of a batch that is half there"
        );
        // The last bytes of a batch may be zeroes themselves.
        assert!(cut == before || cut == after, "{written}: {cut:?}");
        assert!(cut == before || written + 16 > to, "{written} of {from}..{to}");
    }
    assert_eq!(before.root, all.tree().root());
}

#[test]
fn what_is_damaged_is_not_copied_as_if_it_were_whole() {
    let disk = SimDisk::default();
    let (_ledger, _driver, ..) = filled(&disk, 20);
    let used = journal_cut(&volume(&disk), &tag()).unwrap().segments[0].1;
    let whole = disk.contents(SEGMENT).unwrap();
    let mut random = SimRandom::new(3);
    let (mut refused, mut shorter) = (0, 0);
    for _ in 0..400 {
        let at = usize::try_from(4096 + random.below(used - 4096)).unwrap();
        let hurt = disk.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << random.below(8);
        hurt.tamper(SEGMENT, Some(bytes));
        match journal_cut(&volume(&hurt), &tag()) {
            Err(OpenError::Scan(ScanError::Damaged { .. })) => refused += 1,
            // Nothing vouches for the last batch: it may as well be half written.
            Ok(cut) => {
                assert!(cut.next_position >= Position(18), "byte {at}: {cut:?}");
                shorter += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(refused > 300 && shorter > 0, "{refused} refused, {shorter} shorter");
    let other = StoreTag { id: "R2".into(), ..tag() };
    assert!(matches!(journal_cut(&volume(&disk), &other), Err(OpenError::ForeignStore { .. })));
}
