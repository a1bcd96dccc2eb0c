//! A ledger's ordinary life: order, proofs, snapshots, a full disk, threads on a real folder.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::channel,
    },
    thread,
};

use truc_certs_dev::wait::PATIENCE;

use super::*;
use crate::volume::{DirVolume, LockError};

#[test]
fn answers_come_in_order_with_the_positions_counted_beforehand() {
    let disk = SimDisk::default();
    let (ledger, mut driver, recovered, _) = opened(&disk);
    assert_eq!((recovered.next_position, recovered.next_leaf, recovered.head.size), (Position(0), 0, 0));
    let acks = Acks::default();
    for number in 0..10 {
        submit(&ledger, vec![record(number)], number + 1, &acks);
    }
    submit(&ledger, vec![], 99, &acks);
    assert_eq!(ledger.head().position, Position(0), "nothing is known before the sync");
    assert!(matches!(ledger.read(Position(0)), Err(ReadError::NotThere { .. })));
    assert!(driver.append());
    assert!(acks.lock().unwrap().is_empty(), "I1: written is not durable");
    assert!(driver.sync());
    driver.release();
    let acks = acks.lock().unwrap();
    assert_eq!(acks.iter().map(|(last, _)| *last).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 99]);
    assert_eq!((acks[0].1.position, acks[0].1.size), (Position(10), 6));
    for number in 0..10 {
        assert_eq!(ledger.read(Position(number)).unwrap(), record(number));
    }
}

#[test]
fn an_empty_submission_waits_for_what_was_submitted_before() {
    let disk = SimDisk::default();
    let (ledger, mut driver, ..) = opened(&disk);
    let acks = Acks::default();
    submit(&ledger, vec![], 1, &acks);
    assert!(driver.step());
    assert_eq!(acks.lock().unwrap()[0].1, *ledger.head());
}

#[test]
fn every_proof_holds_and_checkpoints_are_consistent() {
    let disk = SimDisk::default();
    let (ledger, _driver, _, all) = filled(&disk, 100);
    let tree = all.tree();
    let head = ledger.head();
    assert_eq!((head.size, head.root), (tree.size(), tree.root()));
    ledger.public_key().verify(&head.note).unwrap();
    for size in 0..=tree.size() {
        assert_eq!(Some(ledger.root_at(size).unwrap()), tree.root_at(size));
        assert_eq!(Some(ledger.consistency(size, head.size).unwrap()), tree.consistency(size, head.size));
        for index in 0..size {
            assert_eq!(Some(ledger.inclusion(index, size).unwrap()), tree.inclusion(index, size));
        }
    }
    assert!(matches!(ledger.inclusion(0, head.size + 1), Err(ProofFailure::NotThere { .. })));
    assert!(matches!(ledger.inclusion(5, 5), Err(ProofFailure::NoSuchProof(_))));
    assert!(matches!(ledger.consistency(6, 5), Err(ProofFailure::NoSuchProof(_))));
}

#[test]
fn tree_files_may_be_deleted_or_damaged_at_any_time() {
    let disk = SimDisk::default();
    let (ledger, mut driver, _, all) = filled(&disk, 90);
    ledger.snapshot(Position(90), All::entries(&all.records)).unwrap();
    driver.idle();
    drop((ledger, driver));
    for damage in ["gone", "zeroes", "flipped", "short"] {
        let disk = disk.copy();
        for name in disk.files().into_iter().filter(|name| name.starts_with("tree/")) {
            let mut bytes = disk.contents(&name).unwrap();
            match damage {
                "gone" => disk.tamper(&name, None),
                "zeroes" => disk.tamper(&name, Some(vec![0; bytes.len()])),
                "short" => disk.tamper(&name, Some(bytes[..bytes.len() / 2].to_vec())),
                _ => {
                    bytes[3] ^= 1;
                    disk.tamper(&name, Some(bytes));
                }
            }
        }
        let (ledger, ..) = opened(&disk);
        let tree = all.tree();
        for index in 0..tree.size() {
            assert_eq!(
                ledger.inclusion(index, tree.size()).unwrap(),
                tree.inclusion(index, tree.size()).unwrap(),
                "{damage}"
            );
        }
        assert_eq!(ledger.consistency(7, 50).unwrap(), tree.consistency(7, 50).unwrap());
    }
}

#[test]
fn a_snapshot_shortens_the_start_and_may_be_deleted_or_damaged() {
    let disk = SimDisk::default();
    let (ledger, mut driver, _, all) = filled(&disk, 60);
    for at in [20, 40, 55] {
        ledger.snapshot(Position(at), All::entries(&all.records[..usize::try_from(at).unwrap()])).unwrap();
    }
    assert!(matches!(ledger.snapshot(Position(61), std::iter::empty()), Err(SnapshotError::NotDurable { .. })));
    driver.idle();
    drop((ledger, driver));
    let snapshots: Vec<String> = disk.files().into_iter().filter(|name| name.starts_with("snapshots/")).collect();
    assert_eq!(snapshots, ["snapshots/00000000000000000040.snap", "snapshots/00000000000000000055.snap"]);
    let start = |disk: &SimDisk, expected: Option<u64>| {
        let (ledger, _, recovered, found) = opened(disk);
        assert_eq!(recovered.from_snapshot, expected.map(Position));
        assert_eq!((found.records, found.applied), (all.records.clone(), 60 - expected.unwrap_or(0)));
        assert_eq!((recovered.next_position, recovered.head.root), (Position(60), all.tree().root()));
        for number in 0..60 {
            assert_eq!(ledger.read(Position(number)).unwrap(), record(number));
        }
    };
    start(&disk.copy(), Some(55));
    let newest = disk.contents(&snapshots[1]).unwrap();
    for at in (0..newest.len()).step_by(97) {
        let (disk, mut bytes) = (disk.copy(), newest.clone());
        bytes[at] ^= 0x10;
        disk.tamper(&snapshots[1], Some(bytes));
        start(&disk, Some(40));
    }
    let short = disk.copy();
    short.tamper(&snapshots[1], Some(newest[..newest.len() - 1].to_vec()));
    start(&short, Some(40));
    disk.tamper(&snapshots[0], Some(vec![]));
    disk.tamper(&snapshots[1], None);
    start(&disk, None);
}

#[test]
fn a_snapshot_ahead_of_the_journal_shows_that_records_were_lost() {
    let disk = SimDisk::default();
    let (ledger, _driver, _, all) = filled(&disk, 30);
    let older = disk.copy();
    drop(ledger);
    drop(_driver);
    let (ledger, ..) = filled(&disk, 50);
    ledger.snapshot(Position(50), std::iter::empty()).unwrap();
    let name = "snapshots/00000000000000000050.snap";
    // The journal of before, the snapshot of now: a backup put back by halves.
    drop(all);
    older.create_dir("snapshots").unwrap();
    older.open(name, crate::volume::Open::Create).unwrap().write_at(&disk.contents(name).unwrap(), 0).unwrap();
    assert!(matches!(
        try_open(&older),
        Err(OpenError::JournalBehindSnapshot { end: Position(30), snapshot: Position(50) })
    ));
    older.tamper(name, None);
    assert_eq!(opened(&older).2.next_position, Position(30));
}

#[test]
fn segments_follow_each_other_and_reads_find_every_record() {
    let disk = SimDisk::default();
    let (ledger, mut driver, _, _) = opened(&disk);
    let acks = Acks::default();
    let big = |number: u64| Record::with_leaf(vec![u8::try_from(number).unwrap(); 300_000], vec![1]);
    for number in 0..60 {
        submit(&ledger, vec![big(number)], number + 1, &acks);
        assert!(driver.step());
        if number % 7 == 0 {
            driver.idle();
        }
    }
    let segments = disk.files().into_iter().filter(|name| name.ends_with(".seg")).count();
    assert!(segments >= 5, "{segments} segments");
    for number in (0..60).rev() {
        assert_eq!(ledger.read(Position(number)).unwrap(), big(number));
    }
    let mut seen = Vec::new();
    assert_eq!(
        ledger.read_on(Position(3), 100, |position, leaf, record| seen.push((position.0, leaf, record))).unwrap(),
        Position(60)
    );
    assert_eq!(seen, (3..60).map(|number| (number, Some(number), big(number))).collect::<Vec<_>>());
    disk.kill();
    let (ledger, ..) = opened(&disk);
    assert_eq!(ledger.read(Position(59)).unwrap(), big(59));
}

#[test]
fn a_full_disk_refuses_loses_nothing_and_goes_on() {
    let disk = SimDisk::new(3 * 1024 * 1024);
    let (ledger, mut driver, ..) = opened(&disk);
    assert_eq!(ledger.space(), SpaceLeft::Ample);
    let acks = Acks::default();
    let mut taken = 0_u64;
    let refusal = loop {
        let acks = Arc::clone(&acks);
        let last = taken + 1;
        let release: Release = Box::new(move |committed| acks.lock().unwrap().push((last, committed.clone())));
        match ledger.submit(vec![Record::state(vec![3; 100_000])], release) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        driver.idle();
        if !driver.step() {
            assert!(taken < 1_000, "the disk never fills");
        }
    };
    assert_eq!(refusal, SubmitError::Full);
    assert_eq!(ledger.space(), SpaceLeft::Low);
    let answered = acks.lock().unwrap().len() as u64;
    assert!(answered > 5 && answered <= taken);
    disk.set_capacity(64 * 1024 * 1024);
    while driver.step() {}
    assert_eq!(acks.lock().unwrap().len() as u64, taken, "what was taken is answered once there is room");
    submit(&ledger, vec![record(1)], taken + 1, &acks);
    assert!(driver.step());
    disk.kill();
    assert_eq!(opened(&disk).2.next_position, Position(taken + 1));
}

#[test]
fn a_failed_sync_stops_everything_and_answers_nothing() {
    let disk = SimDisk::default();
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let settings =
        Settings { journal_id: None, on_fatal: Arc::new(move |_| _ = counted.fetch_add(1, Ordering::Relaxed)) };
    let (ledger, mut driver, _) =
        open_stepped(volume(&disk), tag(), ORIGIN.into(), key(), settings, &mut All::default()).unwrap();
    let acks = Acks::default();
    submit(&ledger, vec![record(1)], 1, &acks);
    disk.fail_sync(1);
    assert!(!driver.step());
    assert!(!driver.step());
    assert_eq!((calls.load(Ordering::Relaxed), acks.lock().unwrap().len()), (1, 0));
    assert_eq!(ledger.submit(vec![], Box::new(|_| {})), Err(SubmitError::Stopped));
}

#[test]
fn too_large_submissions_are_refused_before_anything_happens() {
    let disk = SimDisk::default();
    let (ledger, ..) = opened(&disk);
    let limit = truc_proto::limits::RECORD_BYTES_MAX;
    assert_eq!(ledger.submit(vec![Record::state(vec![0; limit + 1])], Box::new(|_| {})), Err(SubmitError::TooLarge));
    assert_eq!(ledger.submit(vec![Record::state(vec![0; limit]); 3], Box::new(|_| {})), Err(SubmitError::TooLarge));
    assert_eq!(ledger.submit(vec![Record::default(); 5_000], Box::new(|_| {})), Err(SubmitError::TooLarge));
}

#[test]
fn another_store_or_key_does_not_open() {
    let disk = SimDisk::default();
    drop(opened(&disk));
    let other = StoreTag { lane: "classified".into(), ..tag() };
    let open = |tag, origin: &str, key| {
        open_stepped(volume(&disk), tag, origin.into(), key, settings(), &mut All::default()).map(|_| ())
    };
    let error = open(other.clone(), ORIGIN, key()).unwrap_err();
    assert!(matches!(error, OpenError::ForeignStore { .. }));
    assert!(error.to_string().contains("ordinary lane") && error.to_string().contains("classified lane"), "{error}");
    assert!(matches!(open(tag(), "another", key()), Err(OpenError::KeyName { .. })));
    assert!(matches!(open(StoreTag { id: String::new(), ..tag() }, ORIGIN, key()), Err(OpenError::BadTag { .. })));
    open(tag(), ORIGIN, key()).unwrap();
}

#[test]
fn a_second_opening_of_a_real_folder_is_told_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Arc::new(DirVolume::create(folder.path().join("a/b")).unwrap());
    let open = || {
        open(Arc::<DirVolume>::clone(&volume), tag(), ORIGIN.into(), key(), Settings::default(), &mut All::default())
    };
    let (ledger, _) = open().unwrap();
    let second = open().map(|_| ()).unwrap_err();
    assert!(matches!(&second, OpenError::Lock(LockError::Held { .. })), "{second}");
    // A reader that still has a handle does not keep a closed store from being opened again.
    let reader = ledger.clone();
    ledger.close();
    open().unwrap().0.close();
    drop(reader);
}

#[test]
fn many_threads_on_a_real_folder_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Arc::new(DirVolume::create(folder.path()).unwrap());
    let (ledger, _) =
        open(Arc::<DirVolume>::clone(&volume), tag(), ORIGIN.into(), key(), Settings::default(), &mut All::default())
            .unwrap();
    let (threads, each) = (8_u64, 300_u64);
    let order = Arc::new(Mutex::new(0_u64));
    thread::scope(|scope| {
        for worker in 0..threads {
            let (ledger, order) = (ledger.clone(), Arc::clone(&order));
            scope.spawn(move || {
                for number in 0..each {
                    let (done, wait) = channel();
                    let order = Arc::clone(&order);
                    let release: Release = Box::new(move |committed| {
                        let mut last = order.lock().unwrap();
                        assert!(committed.position.0 >= *last, "I5: heads only grow");
                        *last = committed.position.0;
                        done.send(committed.clone()).unwrap();
                    });
                    let leaf = format!("{worker}/{number}").into_bytes();
                    ledger.submit(vec![Record::with_leaf(vec![9; 2_000], leaf)], release).unwrap();
                    let committed = wait.recv_timeout(PATIENCE).unwrap();
                    ledger.public_key().verify(&committed.note).unwrap();
                    if number % 50 == 0 {
                        ledger.consistency(1, committed.size).unwrap();
                        ledger.inclusion(0, committed.size).unwrap();
                    }
                }
            });
        }
    });
    let head = ledger.head();
    assert_eq!(head.size, threads * each);
    ledger.clone().close();
    assert_eq!(ledger.submit(vec![], Box::new(|_| {})), Err(SubmitError::Stopped));
    drop(ledger);
    let mut all = All::default();
    let (again, recovered) = open(volume, tag(), ORIGIN.into(), key(), Settings::default(), &mut all).unwrap();
    assert_eq!((recovered.head.size, recovered.head.root, recovered.cut_bytes), (head.size, head.root, 0));
    assert_eq!(recovered.head.note, head.note, "Ed25519 is deterministic: the same checkpoint");
    assert_eq!(all.tree().root(), head.root);
    again.close();
}
