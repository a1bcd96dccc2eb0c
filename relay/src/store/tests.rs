use std::sync::Arc;

use bytes::Bytes;
use truc_certs_dev::wait::{in_time, until_async};
use truc_evidence::Attestations;
use truc_ledger::{
    LedgerKey, Settings, StoreTag,
    simdisk::SimDisk,
    volume::{DirVolume, Volume},
};
use truc_proto::{Digest, EnvelopeId, Timestamp};

use super::{Embedded, EmbeddedSettings, Store, StoreError};
use crate::core::{
    CoreSettings, EnvelopeKey, EvidenceOutcome, Fact, Mark, OfferOutcome, OfferedRecipient, VerifiedEvidence,
    VerifiedOffer,
};

const ORIGIN: &str = "truc/vn-test/ordinary/R1/1";

fn start() -> Timestamp {
    "2026-11-22T02:00:00Z".parse().unwrap()
}

fn open_as(
    volume: Arc<dyn Volume>,
    id: &str,
    index: Option<std::path::PathBuf>,
) -> Result<Embedded, super::OpenStoreError> {
    let core = CoreSettings { relay: id.parse().unwrap(), open_envelopes_max: 1_000_000, lease_ms: 600_000 };
    let tag = StoreTag { axis: "vn-test".into(), lane: "ordinary".into(), kind: "relay".into(), id: id.into() };
    // A simulated disk that was cut must not take the test with it.
    let ledger = Settings { on_fatal: Arc::new(|_| ()), ..Settings::default() };
    let settings =
        EmbeddedSettings { core, tag, origin: ORIGIN.into(), snapshot_every: 100, clock: start, ledger, index };
    Embedded::open(volume, LedgerKey::from_seed(ORIGIN, &[7; 32]).unwrap(), settings)
}

fn open(volume: &SimDisk) -> Embedded {
    open_as(Arc::new(volume.clone()), "R1", None).unwrap()
}

fn key(n: u64) -> EnvelopeKey {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    EnvelopeKey { sender: "G22".parse().unwrap(), envelope: EnvelopeId::new(start(), random) }
}

fn offer(n: u64) -> VerifiedOffer {
    let digest = |what: &str| Digest::of(format!("{what} {n}").as_bytes());
    VerifiedOffer {
        key: key(n),
        sender_node: "N-A".parse().unwrap(),
        submission: digest("submission"),
        preamble: digest("preamble"),
        payload: digest("payload"),
        commitment: digest("commitment"),
        payload_length: 4,
        blob: false,
        expires: start() + std::time::Duration::from_secs(3_600),
        priority: 0,
        status: false,
        recipients: vec![OfferedRecipient::Open { code: "H26".parse().unwrap(), node: "N-B".parse().unwrap() }],
        supersedes: None,
        mark: Mark { size: n + 1, root: digest("root") },
        note: Bytes::from_static(b"note"),
        body: Bytes::from(vec![0x5a; 2_000]),
    }
}

async fn accepted(store: &Embedded, n: u64) -> u64 {
    match store.accept(offer(n)).await.unwrap() {
        OfferOutcome::Accepted(at) => at.leaf_index,
        OfferOutcome::Rejected(at) => panic!("{at:?}"),
    }
}

async fn consign(store: &Embedded, n: u64) {
    let item = VerifiedEvidence {
        key: key(n),
        recipient: "H26".parse().unwrap(),
        fact: Fact::Consigned,
        leaf: Digest::of(format!("consigned {n}").as_bytes()),
        to: "N-A".parse().unwrap(),
        mark: Mark { size: n + 1, root: Digest::of(b"b") },
        batch: Bytes::from_static(b"batch"),
        recalled: None,
    };
    let outcomes = store.append_evidence("N-B".parse().unwrap(), vec![item]).await.unwrap();
    assert_eq!(outcomes, [EvidenceOutcome::Taken]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_any_power_cut() {
    let disk = SimDisk::new(1 << 30);
    let mut leaves = Vec::new();
    for seed in 0..25_u64 {
        let store = Arc::new(open(&disk));
        for (n, leaf) in leaves.iter().enumerate() {
            let n = u64::try_from(n).unwrap();
            assert_eq!(accepted(&store, n).await, *leaf, "seed {seed}: the original acceptance of {n}");
        }
        let first = u64::try_from(leaves.len()).unwrap();
        let offers = (first..first + 20).map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { accepted(&store, n).await })
        });
        let offers: Vec<_> = offers.collect();
        for offer in offers {
            leaves.push(offer.await.unwrap());
        }
        // Work goes on while the power goes.
        let late = Arc::clone(&store);
        let late = tokio::spawn(async move { late.accept(offer(1_000_000 + seed)).await });
        disk.crash(seed);
        let _ = late.await;
        store.close();
    }
    let mut sorted = leaves.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), leaves.len(), "every envelope has a leaf of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_takes_no_new_work_and_still_takes_evidence() {
    let disk = SimDisk::new(64 << 20);
    let store = open(&disk);
    accepted(&store, 1).await;
    // The next segment is made ready meanwhile; cut off in the middle it would give its room back.
    let segments = |files: &[String]| files.iter().filter(|name| name.ends_with(".seg")).count();
    until_async("the next segment", || async {
        let files = disk.files();
        if segments(&files) < 2 { Err(files) } else { Ok(()) }
    })
    .await;
    disk.set_capacity(disk.used() + disk.used() / 20); // less than a tenth is free
    assert_eq!(store.accept(offer(2)).await.unwrap_err(), StoreError::Full);
    consign(&store, 1).await;
    store.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_journal_cannot_be_synced_answers_nothing_more() {
    let disk = SimDisk::new(64 << 20);
    let store = open(&disk);
    accepted(&store, 1).await;
    let journal = disk.files().into_iter().find(|name| name.ends_with(".seg")).unwrap();
    disk.fail_syncs_of(&journal);
    assert_eq!(store.accept(offer(2)).await.unwrap_err(), StoreError::Indeterminate);
    assert!(store.accept(offer(3)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_relays_folder_does_not_open_and_says_whose_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let volume = || Arc::new(DirVolume::create(folder.path()).unwrap());
    let store = open_as(volume(), "R1", None).unwrap();
    assert!(open_as(volume(), "R1", None).is_err(), "two processes on one store");
    accepted(&store, 1).await;
    store.close();
    drop(store);
    let error = open_as(volume(), "R2", None).err().unwrap().to_string();
    assert!(error.contains("R1") && error.contains("R2"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_finds_what_the_fold_forgot_and_is_built_again_when_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (store_dir, index) = (folder.path().join("store"), folder.path().join("index"));
    let volume = || Arc::new(DirVolume::create(&store_dir).unwrap());
    let store = open_as(volume(), "R1", Some(index.clone())).unwrap();
    for n in 0..50 {
        accepted(&store, n).await;
    }
    store.wait_indexed();
    let at = store.look_up(&key(7)).unwrap().unwrap();
    assert_eq!(store.leaf_index(at).unwrap(), 7);
    assert_eq!(store.look_up(&key(99)).unwrap(), None);
    // A relay that runs on takes in what comes after its start.
    accepted(&store, 8).await;
    store.advance_index();
    until_async("the index to follow the journal", || async { store.look_up(&key(8)).unwrap() }).await;
    store.close();
    drop(store);
    std::fs::remove_dir_all(&index).unwrap();
    let store = open_as(volume(), "R1", Some(index)).unwrap();
    store.wait_indexed();
    assert_eq!(store.look_up(&key(7)).unwrap(), Some(at));
    store.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_reaches_the_node_and_a_signature_is_wanted_until_it_is_there() {
    let disk = SimDisk::new(64 << 20);
    let store = open(&disk);
    let mut news = store.news(&"N-B".parse().unwrap());
    accepted(&store, 1).await;
    in_time("the wake", news.changed()).await.unwrap();
    in_time("the wish for a signature", store.to_sign()).await;
    store.signed(store.head().size, Bytes::from_static(b"note"), Attestations::default()).await.unwrap();
    let page = store.pull("N-A".parse().unwrap(), crate::core::Cursor::default(), 10).await.unwrap();
    assert_eq!(page.deliveries.len(), 1);
    store.close();
}
