//! The index followed, closed, killed, damaged and deleted: it always ends up saying what the journal says.

use std::{fs, path::Path, sync::Arc};

use super::*;
use crate::{
    Driver,
    simdisk::SimDisk,
    tests::{Acks, opened, record, submit},
};

/// `id:<n>` → the record's position; every fifth record removes the id three before it.
fn extract() -> Extract {
    Arc::new(|position, _| {
        let mut changes = vec![IndexChange::Put { key: key(position.0), position }];
        if position.0 % 5 == 4 {
            changes.push(IndexChange::Remove { key: key(position.0 - 3) });
        }
        changes
    })
}

fn key(number: u64) -> Vec<u8> {
    format!("id:{number:08}").into_bytes()
}

fn settings(ledger: &Ledger, folder: &Path) -> IndexSettings {
    IndexSettings {
        ledger: ledger.clone(),
        folder: folder.to_owned(),
        cache_bytes: 1 << 20,
        extract: extract(),
        schema: 1,
    }
}

fn append(ledger: &Ledger, driver: &mut Driver, count: u64) {
    let start = ledger.head().position.0;
    for number in start..start + count {
        submit(ledger, vec![record(number)], 0, &Acks::default());
        if number % 50 == 49 || number + 1 == start + count {
            assert!(driver.step());
        }
    }
}

#[track_caller]
fn says_what_the_journal_says(index: &SledIndex, count: u64) {
    index.wait_applied();
    assert_eq!(index.state(), IndexState::Ready { applied: Position(count) });
    let there = |number: u64| !(number % 5 == 1 && number + 3 < count);
    for number in 0..count + 2 {
        let expected = (number < count && there(number)).then_some(Position(number));
        assert_eq!(index.find(&key(number)).unwrap(), expected, "id {number} of {count}");
    }
    let all: Vec<_> =
        (0..count).filter(|number| there(*number)).map(|number| (key(number), Position(number))).collect();
    let first = index.scan(b"id:", None, 7).unwrap();
    assert_eq!(first, all[..7]);
    assert_eq!(index.scan(b"id:", Some(&first[6].0), usize::MAX).unwrap(), all[7..all.len().min(7 + 1_000)]);
    assert_eq!(index.scan(b"ie", None, 5).unwrap(), []);
}

#[test]
fn it_follows_closes_and_opens_again_without_a_rebuild() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
    let (ledger, mut driver, ..) = opened(&disk);
    let index = SledIndex::follow(settings(&ledger, folder.path())).unwrap();
    for count in [100, 250, 900] {
        append(&ledger, &mut driver, count - ledger.head().position.0);
        says_what_the_journal_says(&index, count);
    }
    assert!(folder.path().join("gen-000001/DIRTY").exists());
    index.close();
    assert_eq!(index.state(), IndexState::Closed);
    assert!(matches!(index.find(b"x"), Err(IndexError::Unavailable { state: IndexState::Closed })));
    assert!(!folder.path().join("gen-000001/DIRTY").exists());
    append(&ledger, &mut driver, 20);
    let index = SledIndex::follow(settings(&ledger, folder.path())).unwrap();
    says_what_the_journal_says(&index, 920);
    assert!(folder.path().join("gen-000001").exists());
}

#[test]
fn it_may_be_deleted_damaged_or_another_journals_at_any_time() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
    let (ledger, mut driver, ..) = opened(&disk);
    append(&ledger, &mut driver, 300);
    let index = SledIndex::follow(settings(&ledger, folder.path())).unwrap();
    says_what_the_journal_says(&index, 300);
    index.close();
    let healthy = fs::read(folder.path().join("gen-000001/db")).unwrap();
    for round in 0..12_usize {
        let newest = super::sled_driver::generations(folder.path()).unwrap().last().copied().unwrap_or(1);
        let db = super::sled_driver::generation_folder(folder.path(), newest).join("db");
        match round % 4 {
            0 => fs::remove_dir_all(folder.path()).unwrap(),
            1 => {
                let mut bytes = healthy.clone();
                let at = bytes.len() * (round + 1) / 16;
                bytes[at..at + 40].fill(0x55);
                fs::write(&db, bytes).unwrap();
                fs::write(db.with_file_name("DIRTY"), b"").unwrap();
            }
            2 => fs::write(&db, &healthy[..healthy.len() / 3]).unwrap(),
            _ => {
                let other = IndexSettings { schema: 2, ..settings(&ledger, folder.path()) };
                let index = SledIndex::follow(other).unwrap();
                says_what_the_journal_says(&index, 300);
            }
        }
        let index = SledIndex::follow(settings(&ledger, folder.path())).unwrap();
        says_what_the_journal_says(&index, 300);
    }
}

#[test]
fn an_index_of_lost_records_is_thrown_away() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
    let (ledger, mut driver, ..) = opened(&disk);
    append(&ledger, &mut driver, 100);
    let older = disk.copy();
    append(&ledger, &mut driver, 100);
    let index = SledIndex::follow(settings(&ledger, folder.path())).unwrap();
    says_what_the_journal_says(&index, 200);
    index.close();
    let (ledger, mut driver, ..) = opened(&older);
    let index = SledIndex::follow(settings(&ledger, folder.path())).unwrap();
    says_what_the_journal_says(&index, 100);
    index.close();
    // The older journal went on differently: same positions, other records.
    append(&ledger, &mut driver, 150);
    let index = SledIndex::follow(settings(&ledger, folder.path())).unwrap();
    says_what_the_journal_says(&index, 250);
}

#[test]
fn a_long_journal_is_built_in_sorted_runs() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
    let (ledger, mut driver, ..) = opened(&disk);
    append(&ledger, &mut driver, 6_000);
    let index = SledIndex::follow(settings(&ledger, folder.path())).unwrap();
    says_what_the_journal_says(&index, 6_000);
}
