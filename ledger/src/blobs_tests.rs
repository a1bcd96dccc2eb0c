//! Uploads broken at every kind of place.

use super::*;
use crate::simdisk::{SimDisk, SimRandom};

fn body(length: usize, seed: u64) -> (Vec<u8>, Announced) {
    let mut random = SimRandom::new(seed);
    let bytes: Vec<u8> = (0..length).map(|_| random.draw().to_le_bytes()[0]).collect();
    let announced = Announced { digest: Digest::of(&bytes), length: length as u64 };
    (bytes, announced)
}

fn store(disk: &SimDisk) -> Arc<BlobStore> {
    Arc::new(BlobStore::open(Arc::new(disk.clone())).unwrap())
}

#[track_caller]
fn holds(store: &BlobStore, bytes: &[u8]) {
    let reader = store.read(&Digest::of(bytes)).unwrap();
    let mut found = vec![0; bytes.len()];
    assert_eq!(reader.read_at(&mut found, 0).unwrap(), bytes.len());
    assert!(found == bytes);
    let mut middle = [0; 7];
    reader.read_at(&mut middle, 100).unwrap();
    assert_eq!(middle, bytes[100..107]);
}

#[test]
fn a_finished_blob_survives_any_cut() {
    for seed in 0..40 {
        let disk = SimDisk::default();
        let blobs = store(&disk);
        let (bytes, announced) = body(70_000, seed);
        let mut upload = blobs.begin("u-1", announced).unwrap();
        for (index, part) in bytes.chunks(9_000).enumerate() {
            upload.write(index as u64 * 9_000, part).unwrap();
        }
        let stored = upload.finish().unwrap();
        assert_eq!((stored.digest, stored.length), (announced.digest, announced.length));
        disk.crash(seed);
        holds(&store(&disk), &bytes);
    }
}

#[test]
fn a_broken_connection_goes_on_at_the_byte_where_it_broke() {
    let disk = SimDisk::default();
    let blobs = store(&disk);
    let (bytes, announced) = body(3_000_000, 1);
    let mut upload = blobs.begin("u", announced).unwrap();
    assert!(matches!(blobs.begin("u", announced), Err(BlobError::Busy { .. })));
    upload.write(0, &bytes[..1_234_567]).unwrap();
    assert!(matches!(upload.write(5, b"x"), Err(BlobError::WrongOffset { stands: 1_234_567, given: 5 })));
    drop(upload);
    assert_eq!(blobs.stands_at("u").unwrap(), 1_234_567);
    // The process ends in good order, or is killed: what was marked on the way out is there.
    disk.kill();
    let blobs = store(&disk);
    assert_eq!(blobs.stands_at("u").unwrap(), 1_234_567);
    let mut upload = blobs.begin("u", announced).unwrap();
    upload.write(1_234_567, &bytes[1_234_567..2_500_000]).unwrap();
    std::mem::forget(upload); // killed in the middle of it: no last mark
    disk.kill();
    let blobs = store(&disk);
    let stands = blobs.stands_at("u").unwrap();
    assert_eq!(stands, 2 * MARK_EVERY, "at most a MiB is sent twice");
    let mut upload = blobs.begin("u", announced).unwrap();
    upload.write(stands, &bytes[usize::try_from(stands).unwrap()..]).unwrap();
    upload.finish().unwrap();
    holds(&blobs, &bytes);
    assert_eq!(blobs.uploads().unwrap(), Vec::<String>::new());
}

#[test]
fn after_a_cut_only_what_the_disk_kept_counts_as_received() {
    for seed in 0..60 {
        let disk = SimDisk::default();
        let (bytes, announced) = body(2_600_000, 2);
        let mut random = SimRandom::new(seed);
        let mut sent = 0_usize;
        let mut cuts = 0;
        let blobs = loop {
            let blobs = store(&disk);
            let mut upload = blobs.begin("u", announced).unwrap();
            sent = sent.min(usize::try_from(upload.offset()).unwrap());
            let stop = if cuts < 3 { usize::try_from(random.below(announced.length)).unwrap() } else { bytes.len() };
            let from = usize::try_from(upload.offset()).unwrap();
            if stop > from {
                upload.write(from as u64, &bytes[from..stop]).unwrap();
            }
            if cuts == 3 {
                upload.finish().unwrap();
                break blobs;
            }
            drop(upload);
            disk.crash(random.draw());
            cuts += 1;
        };
        holds(&blobs, &bytes);
    }
}

#[test]
fn wrong_long_and_short_uploads_are_refused() {
    let blobs = store(&SimDisk::default());
    let (bytes, announced) = body(1_000, 3);
    let mut upload = blobs.begin("u", announced).unwrap();
    assert!(matches!(upload.write(0, &[0; 1_001]), Err(BlobError::TooLong { .. })));
    upload.write(0, &bytes[..999]).unwrap();
    assert!(matches!(upload.finish(), Err(BlobError::Incomplete { stands: 999, announced: 1_000 })));
    let mut upload = blobs.begin("u", announced).unwrap();
    upload.write(999, &[bytes[999] ^ 1]).unwrap();
    assert!(matches!(upload.finish(), Err(BlobError::WrongDigest { .. })));
    assert_eq!(blobs.stands_at("u").unwrap(), 0, "it starts over");
    assert!(matches!(blobs.read(&announced.digest), Err(BlobError::NotThere { .. })));
    for name in ["", "../x", "A", "a/b", &"a".repeat(97)] {
        assert!(matches!(blobs.begin(name, announced), Err(BlobError::BadName)), "{name}");
    }
    let endless = Announced { length: BLOB_BYTES_MAX + 1, ..announced };
    assert!(matches!(blobs.begin("u", endless), Err(BlobError::TooLong { .. })));
}

#[test]
fn a_full_disk_keeps_what_came_and_lets_the_upload_go_on_later() {
    let disk = SimDisk::new(50_000);
    let blobs = store(&disk);
    let (bytes, announced) = body(60_000, 4);
    let mut upload = blobs.begin("u", announced).unwrap();
    upload.write(0, &bytes[..40_000]).unwrap();
    assert!(
        matches!(upload.write(40_000, &bytes[40_000..]), Err(BlobError::Io(error)) if error.kind() == io::ErrorKind::StorageFull)
    );
    drop(upload);
    disk.set_capacity(100_000);
    let mut upload = blobs.begin("u", announced).unwrap();
    assert_eq!(upload.offset(), 40_000);
    upload.write(40_000, &bytes[40_000..]).unwrap();
    upload.finish().unwrap();
    holds(&blobs, &bytes);
}

#[test]
fn a_sweep_takes_only_what_had_no_record_twice_and_is_held_by_nobody() {
    let blobs = store(&SimDisk::default());
    let put = |name: &str, seed| {
        let (bytes, announced) = body(500, seed);
        let mut upload = blobs.begin(name, announced).unwrap();
        upload.write(0, &bytes).unwrap();
        upload.finish().unwrap()
    };
    let (recorded, held, orphan) = (put("a", 1), put("b", 2), put("c", 3));
    let (recorded_name, orphan_name, held_name) = (recorded.digest, orphan.digest, held.digest);
    drop((recorded, orphan));
    let sweep = || blobs.sweep(|digest| *digest == recorded_name).unwrap();
    assert_eq!(sweep(), 0, "the first sweep only looks");
    assert_eq!(sweep(), 1);
    assert_eq!(blobs.length(&orphan_name).unwrap(), None);
    assert_eq!((blobs.length(&recorded_name).unwrap(), blobs.length(&held_name).unwrap()), (Some(500), Some(500)));
    drop(held);
    assert_eq!(sweep(), 1);
    assert_eq!(blobs.length(&held_name).unwrap(), None);
}

#[test]
fn after_a_failed_sync_every_byte_is_written_again() {
    for seed in 0..20 {
        let disk = SimDisk::default();
        let blobs = store(&disk);
        let (bytes, announced) = body(70_000, seed);
        let mut upload = blobs.begin("u", announced).unwrap();
        upload.write(0, &bytes).unwrap();
        disk.fail_sync(1);
        assert!(matches!(upload.finish(), Err(BlobError::Io(_))));
        assert_eq!(blobs.length(&announced.digest).unwrap(), None);
        assert_eq!(blobs.stands_at("u").unwrap(), 0, "what is only in the cache does not count");
        let mut upload = blobs.begin("u", announced).unwrap();
        upload.write(0, &bytes).unwrap();
        upload.finish().unwrap();
        disk.crash(seed);
        holds(&store(&disk), &bytes);
    }
}

#[test]
fn a_blob_that_a_new_process_finds_under_its_name_keeps_it() {
    for seed in 0..20 {
        let disk = SimDisk::default();
        let blobs = store(&disk);
        let (bytes, announced) = body(5_000, seed);
        let mut upload = blobs.begin("u", announced).unwrap();
        upload.write(0, &bytes).unwrap();
        disk.fail_sync(2); // the bytes are on the device; the folder's sync never comes: as killed before it
        assert!(matches!(upload.finish(), Err(BlobError::Io(_))));
        disk.kill();
        let blobs = store(&disk);
        assert_eq!(blobs.length(&announced.digest).unwrap(), Some(5_000));
        disk.crash(seed);
        holds(&store(&disk), &bytes);
    }
}
