//! The index followed, closed, killed, damaged and deleted: it always ends up saying what the journal says.

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use truc_certs_dev::wait::{PATIENCE, until};
use truc_proto::limits::INDEX_LOOK_UPS_MAX;

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
    until_state("everything to be in it", index, |state| *state == IndexState::Ready { applied: Position(count) });
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

/// Holds whoever comes to it until it is opened.
#[derive(Default)]
struct Gate(Mutex<(usize, bool)>, Condvar);

impl Gate {
    fn pass(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 += 1;
        self.1.notify_all();
        drop(self.1.wait_while(state, |(_, open)| !*open).unwrap());
    }

    fn until_held(&self, count: usize) {
        let state = self.0.lock().unwrap();
        let (state, _) = self.1.wait_timeout_while(state, PATIENCE, |(held, _)| *held < count).unwrap();
        assert!(state.0 >= count, "{} of {count} came", state.0);
    }

    fn open(&self) {
        self.0.lock().unwrap().1 = true;
        self.1.notify_all();
    }
}

/// Waits until the index is as wanted.
#[track_caller]
fn until_state(what: &str, index: &SledIndex, wanted: impl Fn(&IndexState) -> bool) {
    until(what, || {
        index.advance();
        let state = index.state();
        if wanted(&state) { Ok(()) } else { Err(state) }
    });
}

#[test]
fn a_driver_that_blocks_while_it_follows_is_given_up_though_the_journal_grows_all_the_time() {
    let disk = SimDisk::default();
    let (ledger, mut driver, ..) = opened(&disk);
    append(&ledger, &mut driver, 100);
    let folder = tempfile::tempdir().unwrap();
    let (gate, blocked) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
    let (at_gate, once, plain) = (Arc::clone(&gate), Arc::clone(&blocked), extract());
    // The next generation waits until it was seen at work: it is whole sooner than anybody looks.
    let anew = Arc::new(Gate::default());
    let begins = Arc::clone(&anew);
    let blocking: Extract = Arc::new(move |position, record| {
        if position.0 == 120 && !once.swap(true, Ordering::SeqCst) {
            at_gate.pass();
        } else if position.0 == 0 && once.load(Ordering::SeqCst) {
            begins.pass();
        }
        plain(position, record)
    });
    let settings = IndexSettings { extract: blocking, ..settings(&ledger, folder.path()) };
    let index = SledIndex::follow(settings).unwrap();
    until_state("the index", &index, |state| *state == IndexState::Ready { applied: Position(100) });
    append(&ledger, &mut driver, 50);
    index.advance();
    gate.until_held(1);
    // Stuck for ever; look-ups are answered by what is there, and every commit wakes the watcher.
    assert_eq!(index.find(&key(7)).unwrap(), Some(Position(7)));
    until_state("another generation to be built", &index, |state| matches!(state, IndexState::Rebuilding { .. }));
    anew.open();
    until_state("it to be whole", &index, |state| *state == IndexState::Ready { applied: Position(150) });
    says_what_the_journal_says(&index, 150);
    gate.open();
    index.close();
}

#[test]
fn look_ups_that_never_return_hold_up_neither_others_nor_the_process() {
    let disk = SimDisk::default();
    let (ledger, mut driver, ..) = opened(&disk);
    append(&ledger, &mut driver, 60);
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::new(SledIndex::follow(settings(&ledger, folder.path())).unwrap());
    index.wait_applied();
    let gate = Arc::new(Gate::default());
    let stuck: Vec<_> = (0..INDEX_LOOK_UPS_MAX)
        .map(|_| {
            let (index, gate) = (Arc::clone(&index), Arc::clone(&gate));
            std::thread::spawn(move || {
                let looked = index.look_up(|_| {
                    gate.pass();
                    Ok(())
                });
                looked.is_ok()
            })
        })
        .collect();
    gate.until_held(INDEX_LOOK_UPS_MAX);
    // As many threads are lost as may be; one more is answered at once, and says how the index is.
    let error = index.find(&key(7)).unwrap_err();
    assert!(error.to_string().contains("try again later"), "{error}");
    until("another generation to answer", || match index.find(&key(7)) {
        Ok(Some(Position(7))) => Ok(()),
        other => Err(other),
    });
    assert!(!stuck.iter().any(std::thread::JoinHandle::is_finished), "they are stuck still");
    append(&ledger, &mut driver, 20);
    says_what_the_journal_says(&index, 80);
    gate.open();
    for thread in stuck {
        thread.join().unwrap();
    }
    says_what_the_journal_says(&index, 80);
    index.close();
}
