//! Lists against a plain model of them: in memory, on the disk, after a restart, after a crash in the middle.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use truc_proto::Digest;

use super::{
    Common, Effort, Extract, Index, IndexChange, IndexSettings, SledIndex,
    sled_driver::{Generation, generation_folder},
};
use crate::{
    Driver, Ledger, Position, Record,
    simdisk::SimDisk,
    tests::{Acks, opened, record, submit},
};

const LISTS: u64 = 120;
const ALL: Effort = Effort { hits: usize::MAX, blocks: usize::MAX };

/// Whether a record is on a list: on list 0 all are, on the last ones few.
fn is_on(list: u64, position: u64) -> bool {
    let Digest([a, b, ..]) = Digest::of_parts(&[&list.to_le_bytes(), &position.to_le_bytes()]);
    u64::from(u16::from_le_bytes([a, b])) * LISTS >= 65_536 * list
}

fn extract() -> Extract {
    Arc::new(|position, _: &Record| {
        let key = format!("id:{position}").into_bytes();
        let posts = (0..LISTS).filter(|list| is_on(*list, position.0)).map(|list| IndexChange::Post { list });
        posts.chain([IndexChange::Put { key, position }]).collect()
    })
}

fn settings(ledger: &Ledger, folder: &Path) -> IndexSettings {
    let folder = folder.to_owned();
    IndexSettings { ledger: ledger.clone(), folder, cache_bytes: 1 << 20, extract: extract(), schema: 1 }
}

fn append(ledger: &Ledger, driver: &mut Driver, count: u64) {
    let start = ledger.head().position.0;
    for number in start..start + count {
        submit(ledger, vec![record(number)], 0, &Acks::default());
        if number % 200 == 199 || number + 1 == start + count {
            assert!(driver.step());
        }
    }
}

fn expected(groups: &[Vec<u64>], below: u64) -> Vec<Position> {
    let fits = |position: &u64| groups.iter().all(|lists| lists.iter().any(|list| is_on(*list, *position)));
    (0..below).rev().filter(fits).map(Position).collect()
}

#[track_caller]
fn says_what_the_records_say(index: &SledIndex, count: u64) {
    index.wait_applied();
    let questions: [&[&[u64]]; 8] = [
        &[&[0]],
        &[&[118]],
        &[&[0], &[60], &[115]],
        &[&[117, 118, 119], &[3]],
        &[&[40, 41], &[80, 119], &[7]],
        &[&[1], &[1_000_000]],
        &[&[1_000_000, 119]],
        &[&[59], &[61], &[62], &[63]],
    ];
    for question in questions {
        let groups: Vec<Vec<u64>> = question.iter().map(|lists| lists.to_vec()).collect();
        for below in [count, count / 2, 300, 1, 0] {
            let found = index.common(&groups, Position(below), ALL).unwrap();
            let wanted = expected(&groups, below);
            assert_eq!(found.positions[..], wanted[..wanted.len().min(1_000)], "{question:?} below {below} of {count}");
        }
        // In small steps: nothing twice, nothing left out.
        for effort in [Effort { hits: 7, blocks: 1_000 }, Effort { hits: 1_000, blocks: 1 }] {
            let (mut seen, mut below) = (Vec::new(), Position(count));
            loop {
                let Common { positions, next, .. } = index.common(&groups, below, effort).unwrap();
                assert!(positions.len() <= effort.hits);
                seen.extend(positions);
                match next {
                    Some(next) => assert!(std::mem::replace(&mut below, next) > next, "it goes on"),
                    None => break,
                }
            }
            assert_eq!(seen, expected(&groups, count), "{question:?} {effort:?}");
        }
    }
    assert_eq!(index.common(&[], Position(count), ALL).unwrap().positions, []);
}

#[test]
fn lists_say_what_the_records_say_in_memory_on_the_disk_and_after_a_restart() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
    let (ledger, mut driver, ..) = opened(&disk);
    let index = SledIndex::follow(settings(&ledger, folder.path())).unwrap();
    // The second part is more than stays in memory.
    for count in [500, 2_700, 2_800] {
        append(&ledger, &mut driver, count - ledger.head().position.0);
        says_what_the_records_say(&index, count);
    }
    let on_disk = index.common(&[vec![0]], Position(2_800), ALL).unwrap();
    assert!(on_disk.blocks > 0, "what is old is on the disk");
    index.close();
    append(&ledger, &mut driver, 50);
    let index = SledIndex::follow(settings(&ledger, folder.path())).unwrap();
    says_what_the_records_say(&index, 2_850);
    assert!(generation_folder(folder.path(), 1).exists(), "it was not built again");
    index.close();
    // Built from nothing it is the same.
    std::fs::remove_dir_all(folder.path()).unwrap();
    let index = SledIndex::follow(settings(&ledger, folder.path())).unwrap();
    says_what_the_records_say(&index, 2_850);
    index.close();
}

#[test]
fn what_was_only_in_memory_at_a_crash_is_found_again_from_the_journal() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
    let (ledger, mut driver, ..) = opened(&disk);
    append(&ledger, &mut driver, 400);
    let settings = settings(&ledger, folder.path());
    let mut generation = Generation::open(&settings, 1, &|| ()).unwrap();
    while generation.advance(&settings, &|| ()).unwrap() {}
    generation.view.db.flush().unwrap();
    // Dropped, not closed: the lists were in memory alone.
    drop(generation);
    assert!(generation_folder(folder.path(), 1).join("DIRTY").exists());
    let index = SledIndex::follow(settings).unwrap();
    says_what_the_records_say(&index, 400);
    assert!(generation_folder(folder.path(), 1).exists(), "it was not built again");
    index.close();
}

#[test]
fn a_crash_while_lists_go_to_the_disk_leaves_an_index_that_goes_on() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
    let (ledger, mut driver, ..) = opened(&disk);
    append(&ledger, &mut driver, 400);
    let settings = settings(&ledger, folder.path());
    for changes in [0, 1, 15, 16, 17, 40] {
        let _ = std::fs::remove_dir_all(folder.path());
        let mut generation = Generation::open(&settings, 1, &|| ()).unwrap();
        while generation.advance(&settings, &|| ()).unwrap() {}
        generation.post_some(changes).unwrap();
        generation.view.db.flush().unwrap();
        drop(generation);
        let index = SledIndex::follow(settings.clone()).unwrap();
        says_what_the_records_say(&index, 400);
        assert!(generation_folder(folder.path(), 1).exists(), "it was not built again after {changes}");
        index.close();
    }
}

#[test]
fn a_block_reads_as_it_was_written_and_a_damaged_one_is_refused() {
    use super::postings::{decode, encode};
    let blocks: [&[u64]; 4] = [&[0], &[5, 6, 7], &[1, 128, 20_000, u64::from(u32::MAX), u64::MAX - 1], &[u64::MAX]];
    for block in blocks {
        let (key, value) = encode(9, block).unwrap();
        assert_eq!(decode(9, &key, &value).unwrap(), block);
        assert_eq!(decode(8, &key, &value), None, "another list's");
        for length in 0..value.len() {
            let cut = decode(9, &key, &value[..length]);
            assert!(cut.is_none_or(|cut| cut.len() < block.len()));
        }
        assert_eq!(decode(9, &key, &[value.as_slice(), &[0xff; 12]].concat()), None);
    }
    let keys: BTreeSet<_> = [7_u64, 3, 300].iter().map(|first| encode(1, &[*first]).unwrap().0).collect();
    let order: Vec<_> = keys.iter().map(|key| decode(1, key, &[]).unwrap()[0]).collect();
    assert_eq!(order, [300, 7, 3], "the newest first");
}
