//! Opening a ledger: lock, identity, snapshot, fold of the tail, cutting of a torn end; and making a new one.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
        mpsc::{Receiver, sync_channel},
    },
};

use ring::rand::{SecureRandom, SystemRandom};
use truc_proto::{Checkpoint, CheckpointError, limits::COMMIT_QUEUE_MAX};

use crate::{
    Committed, Driver, Fold, Ledger, LedgerKey, Position, ScanError, Settings, StoreTag,
    committer::{Committer, Job, sign, start},
    frame::{BATCH_HEADER, BatchHeader, SEGMENT_HEADER, SEGMENT_PAGE, SegmentHeader},
    journal::{Anchor, Anchors, End, Identity, Journal, JournalReader},
    ledger::Shared,
    merkle::{Frontier, empty_root, leaf_hash},
    scan::{Scan, sync_segments},
    segment::{JOURNAL_DIR, Segment, SegmentFiles, make_segment, remove_unfinished, segment_name, segment_numbers},
    snapshot::{self, Snapshot, SnapshotHead},
    tree::{Growth, TreeFiles},
    volume::{LockError, Open, Volume, read_exact_at},
};

/// Why a ledger does not open. Nothing was changed, except that a torn tail may have been cut.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works in it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The journal is another store's.
    #[error(
        "this is the store of {found}, not of {expected}: name the right folder, or the right identity in the settings"
    )]
    ForeignStore {
        /// Whose it is.
        found: Box<StoreTag>,
        /// Whose it should be.
        expected: Box<StoreTag>,
    },
    /// A part of the store's name does not fit.
    #[error("axis, lane, kind and identifier of a store are 1 to 255 bytes each, not `{tag}`")]
    BadTag {
        /// The tag refused.
        tag: Box<StoreTag>,
    },
    /// A segment whose first page is not readable, or of another format.
    #[error(
        "the first page of journal segment {segment} is damaged or of a format that this version does not know: restore the store from its backup"
    )]
    BadSegment {
        /// Which segment.
        segment: u32,
    },
    /// Segments of two journals in one folder.
    #[error(
        "journal segment {segment} belongs to another journal than segment 0: somebody mixed two stores; put the right file back"
    )]
    MixedSegments {
        /// Which segment.
        segment: u32,
    },
    /// A segment file is gone.
    #[error("journal segment {segment} is missing, though later ones are there: put the file back from the backup")]
    MissingSegment {
        /// Which segment.
        segment: u32,
    },
    /// A snapshot knows of durable records that the journal does not have any more.
    #[error(
        "the journal ends at {end}, but a snapshot of the same journal shows that {snapshot} records were on the device: the journal lost records; \
         restore it from its backup (or, to go on with the older journal as a restored copy, remove the folder `snapshots`)"
    )]
    JournalBehindSnapshot {
        /// Where the journal ends.
        end: Position,
        /// What the snapshot covers.
        snapshot: Position,
    },
    /// Reading the journal failed, or showed damage.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The origin cannot stand in a checkpoint.
    #[error(transparent)]
    Origin(#[from] CheckpointError),
    /// The key is another ledger's.
    #[error("the ledger key is named {key}, but the ledger's origin is {origin}")]
    KeyName {
        /// The key's name.
        key: String,
        /// The origin asked for.
        origin: String,
    },
    /// The disk does not do what is asked.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the file system said.
        source: io::Error,
    },
}

/// What recovery found.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The position that the first record submitted will have.
    pub next_position: Position,
    /// The index that the first leaf submitted will have.
    pub next_leaf: u64,
    /// The newest checkpoint, signed anew. Whether it may leave the process is the owner's to say (no fork).
    pub head: Arc<Committed>,
    /// The snapshot that the fold started from.
    pub from_snapshot: Option<Position>,
    /// Bytes of a torn end that were cut: nothing in them had been answered.
    pub cut_bytes: u64,
    /// The journal's identity.
    pub journal_id: [u8; 16],
}

/// Opens the ledger in `volume`, or makes it, and folds what it holds into `fold`; then starts its threads.
///
/// # Errors
/// [`OpenError`].
pub fn open(
    volume: Arc<dyn Volume>,
    tag: StoreTag,
    origin: String,
    key: LedgerKey,
    settings: Settings,
    fold: &mut dyn Fold,
) -> Result<(Ledger, Recovered), OpenError> {
    let (ledger, committer, queue, recovered) = recover(volume, tag, &origin, key, settings, fold)?;
    let workers =
        start(committer, queue).map_err(|source| OpenError::Io { what: "start the ledger's threads", source })?;
    ledger.workers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(workers);
    Ok((ledger, recovered))
}

/// As [`open`], but without threads: [`Driver`] does their work when told.
///
/// # Errors
/// [`OpenError`].
pub fn open_stepped(
    volume: Arc<dyn Volume>,
    tag: StoreTag,
    origin: String,
    key: LedgerKey,
    settings: Settings,
    fold: &mut dyn Fold,
) -> Result<(Ledger, Driver, Recovered), OpenError> {
    let (ledger, committer, queue, recovered) = recover(volume, tag, &origin, key, settings, fold)?;
    Ok((ledger, Driver::new(committer, queue), recovered))
}

fn recover(
    volume: Arc<dyn Volume>,
    tag: StoreTag,
    origin: &str,
    key: LedgerKey,
    settings: Settings,
    fold: &mut dyn Fold,
) -> Result<(Ledger, Committer, Receiver<Job>, Recovered), OpenError> {
    check_names(&tag, origin, &key)?;
    let lock = volume.lock()?;
    let identity = identify(volume.as_ref(), tag, &settings)?;
    let numbers = segment_numbers(volume.as_ref()).map_err(io("list the journal's folder"))?;
    sync_segments(volume.as_ref(), &numbers)?;

    let files = Arc::new(SegmentFiles::new(Arc::clone(&volume)));
    let tree = TreeFiles::open(Arc::clone(&volume)).map_err(io("open the tree files"))?;
    let last = numbers.last().copied().unwrap_or(0);
    let Folded { segment, end, anchors, frontier, from_snapshot, cut_bytes } =
        fold_journal(volume.as_ref(), &identity, &files, &tree, last, fold)?;

    let (file, length) = open_segment(volume.as_ref(), segment)?;
    let mut journal = Journal::new(
        Arc::clone(&volume),
        identity.clone(),
        Segment { number: segment, file, length },
        end,
        Arc::clone(&anchors),
    );
    vouch(&mut journal)?;
    if segment < last {
        let (file, length) = open_segment(volume.as_ref(), segment + 1)?;
        journal.give_segment(Segment { number: segment + 1, file, length });
    }

    let head = Arc::new(sign(&key, &frontier, Position(end.position)));
    let shared = Arc::new(Shared {
        volume,
        journal_id: identity.journal,
        public: key.public().clone(),
        reader: JournalReader { files, anchors },
        tree,
        head: RwLock::new(Arc::clone(&head)),
        recent: Mutex::new(VecDeque::from([(head.size, head.root)])),
        queued_bytes: AtomicUsize::new(0),
        exhausted: AtomicBool::new(false),
        room: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
        settings,
        snapshots: Mutex::default(),
        rebuilding: Mutex::default(),
        lock: Mutex::new(Some(lock)),
    });
    let (sender, queue) = sync_channel(COMMIT_QUEUE_MAX);
    let recovered = Recovered {
        next_position: Position(end.position),
        next_leaf: end.leaf,
        head,
        from_snapshot,
        cut_bytes,
        journal_id: identity.journal,
    };
    let committer = Committer::new(Arc::clone(&shared), journal, frontier, key);
    Ok((Ledger { shared, queue: sender, workers: Arc::default() }, committer, queue, recovered))
}

pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { what, source }
}

fn check_names(tag: &StoreTag, origin: &str, key: &LedgerKey) -> Result<(), OpenError> {
    if [&tag.axis, &tag.lane, &tag.kind, &tag.id].iter().any(|part| part.is_empty() || part.len() > 255) {
        return Err(OpenError::BadTag { tag: Box::new(tag.clone()) });
    }
    Checkpoint::new(origin, 0, empty_root())?;
    if key.public().name() != origin {
        return Err(OpenError::KeyName { key: key.public().name().to_owned(), origin: origin.to_owned() });
    }
    Ok(())
}

/// Reads whose journal this is from every segment's first page, or makes segment 0 of a new one.
fn identify(volume: &dyn Volume, tag: StoreTag, settings: &Settings) -> Result<Identity, OpenError> {
    volume.create_dir(JOURNAL_DIR).map_err(io("make the journal's folder"))?;
    remove_unfinished(volume).map_err(io("remove an unfinished segment"))?;
    let numbers = segment_numbers(volume).map_err(io("list the journal's folder"))?;
    if numbers.is_empty() {
        let identity = Identity { journal: settings.journal_id.map_or_else(draw_id, Ok)?, tag };
        make_segment(volume, &identity.header(0), 0).map_err(io("make the first journal segment"))?;
        return Ok(identity);
    }
    find_identity(volume, &tag, &numbers)
}

/// Reads whose journal this is from every segment's first page.
pub(crate) fn find_identity(volume: &dyn Volume, tag: &StoreTag, numbers: &[u32]) -> Result<Identity, OpenError> {
    let mut journal = None;
    for (expected, &segment) in (0..).zip(numbers) {
        if segment != expected {
            return Err(OpenError::MissingSegment { segment: expected });
        }
        let file = volume.open(&segment_name(segment), Open::Read).map_err(io("open a journal segment"))?;
        let mut page = vec![0; SEGMENT_PAGE];
        let header = read_exact_at(file.as_ref(), &mut page, 0).ok().and_then(|()| SegmentHeader::decode(&page));
        let header = header.filter(|header| header.number == segment).ok_or(OpenError::BadSegment { segment })?;
        if header.tag != *tag {
            return Err(OpenError::ForeignStore { found: Box::new(header.tag), expected: Box::new(tag.clone()) });
        }
        if *journal.get_or_insert(header.journal) != header.journal {
            return Err(OpenError::MixedSegments { segment });
        }
    }
    Ok(Identity { journal: journal.ok_or(OpenError::MissingSegment { segment: 0 })?, tag: tag.clone() })
}

fn draw_id() -> Result<[u8; 16], OpenError> {
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).map_err(|_| OpenError::Io {
        what: "draw the journal's identity",
        source: io::Error::other("no randomness"),
    })?;
    Ok(id)
}

fn open_segment(volume: &dyn Volume, number: u32) -> Result<(Arc<dyn crate::volume::VolumeFile>, u64), OpenError> {
    let file = volume.open(&segment_name(number), Open::Write).map_err(io("open a journal segment"))?;
    let length = file.len().map_err(io("measure a journal segment"))?;
    Ok((file, length))
}

/// After a start everything read is on the device: an empty batch says so, that later damage to it is never taken for a torn end.
fn vouch(journal: &mut Journal) -> Result<(), OpenError> {
    if journal.end().position > 0 && journal.room() >= BATCH_HEADER as u64 {
        journal.append(std::iter::empty()).map_err(io("write to the journal"))?;
        journal.file().sync_data().map_err(io("sync the journal"))?;
    }
    Ok(())
}

struct Folded {
    segment: u32,
    end: End,
    anchors: Arc<Anchors>,
    frontier: Frontier,
    from_snapshot: Option<Position>,
    cut_bytes: u64,
}

/// Where a fold starts: behind a snapshot, or at the beginning.
struct Start {
    segment: u32,
    end: End,
    anchors: Arc<Anchors>,
    frontier: Frontier,
    /// Records before this are in the fold already.
    folded: u64,
}

fn fold_journal(
    volume: &dyn Volume,
    identity: &Identity,
    files: &Arc<SegmentFiles>,
    tree: &TreeFiles,
    last: u32,
    fold: &mut dyn Fold,
) -> Result<Folded, OpenError> {
    let snapshots = snapshot::list(volume).map_err(io("list the snapshots"))?;
    let mut covered = 0;
    let mut start = None;
    for position in snapshots {
        let snapshot = match Snapshot::open(volume, position) {
            Ok(snapshot) if snapshot.head.journal == identity.journal => snapshot,
            Ok(_) => {
                tracing::warn!(position, "snapshot of another journal passed over");
                continue;
            }
            Err(why) => {
                tracing::warn!(position, %why, "snapshot passed over");
                continue;
            }
        };
        covered = covered.max(snapshot.head.position);
        start = start_behind(files, &snapshot.head).filter(|_| load(&snapshot, fold));
        if start.is_some() {
            break;
        }
    }
    let from_snapshot = start.as_ref().map(|start| Position(start.folded));
    let Start { segment, end, anchors, mut frontier, folded } = start.unwrap_or_else(|| {
        fold.reset();
        let end = End { offset: SEGMENT_HEADER, sequence: 0, position: 0, leaf: 0, chain: 0 };
        Start { segment: 0, end, anchors: Arc::default(), frontier: Frontier::default(), folded: 0 }
    });

    let mut growth = Growth::default();
    let mut scan = Scan::new(files, identity, &anchors, last, segment, end);
    scan.run(&mut |record| {
        if record.position.0 < folded {
            return Ok(());
        }
        if let Some(leaf) = record.leaf {
            growth.push(&mut frontier, leaf_hash(leaf));
            if frontier.size() % 1024 == 0 {
                tree.write(&mut growth);
            }
        }
        fold.apply(record)
    })?;
    tree.write(&mut growth);
    if scan.end.position < covered {
        return Err(OpenError::JournalBehindSnapshot { end: Position(scan.end.position), snapshot: Position(covered) });
    }
    let cut_bytes = scan.zero_tail(volume)?;
    scan.write_last_again(volume)?;
    let (segment, end) = (scan.segment, scan.end);
    Ok(Folded { segment, end, anchors, frontier, from_snapshot, cut_bytes })
}

/// The place behind a snapshot, if the journal there is the one that the snapshot was taken of.
fn start_behind(files: &Arc<SegmentFiles>, head: &SnapshotHead) -> Option<Start> {
    let mut bytes = [0; BATCH_HEADER];
    let file = files.get(head.segment).ok()?;
    read_exact_at(file.as_ref(), &mut bytes, u64::from(head.batch)).ok()?;
    let batch = BatchHeader::decode(&bytes)
        .filter(|batch| batch.journal == head.journal && batch.first_position < head.position)?;
    let anchors = Arc::new(Anchors::of(head.anchors.clone()));
    let reader = JournalReader { files: Arc::clone(files), anchors: Arc::clone(&anchors) };
    let mut run = reader.run(Position(head.position - 1), 4096).ok()?;
    run.next()?.ok()?;
    let Anchor { chain, leaf, .. } = run.place();
    if chain != head.chain || leaf != head.frontier.size() {
        return None;
    }
    let end = End {
        offset: u64::from(head.batch),
        sequence: batch.sequence,
        position: batch.first_position,
        leaf: batch.first_leaf,
        chain: batch.chain_before,
    };
    Some(Start { segment: head.segment, end, anchors, frontier: head.frontier.clone(), folded: head.position })
}

/// Loads a snapshot into the fold; false when the owner cannot read it.
fn load(snapshot: &Snapshot, fold: &mut dyn Fold) -> bool {
    fold.reset();
    let mut entries = snapshot.entries();
    let loaded = fold.load_snapshot(&mut entries);
    let rest = entries.next(); // a fold that knows its own end has not met the snapshot's
    match &loaded {
        Ok(()) if rest.is_none() && entries.complete => true,
        Ok(()) => {
            tracing::warn!(position = snapshot.head.position, "snapshot passed over: it was not read to its end");
            false
        }
        Err(error) => {
            tracing::warn!(position = snapshot.head.position, %error, "snapshot passed over: its entries cannot be read");
            false
        }
    }
}
