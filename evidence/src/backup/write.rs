//! Making a backup while the machine runs: the journal is cut behind its last whole batch, everything else is copied as it stands then.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Seek as _, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use ring::rand::{SecureRandom, SystemRandom};
use truc_ledger::{JournalCut, StoreTag, journal_cut, volume::DirVolume};
use truc_proto::{
    AxisId, BackupHead, BackupKind, Digest, Hasher, Lane, NodeId, Raw, Timestamp,
    limits::{BACKUP_DEPTH_MAX, STREAM_CHUNK_BYTES},
};
use truc_signer::{
    Certificate,
    stream::{StreamParams, StreamSealer},
};

use super::{
    BackupError, BackupFile, MAGIC, MANIFEST, OUTSIDE, create_private, failed, half, manifest_line, sync_folder,
    tar::{self, Header},
};

/// What is made again by itself, or is of one process only. Relative to the machine's folder.
const LEFT_OUT: [&str; 10] = [
    "index",
    "store/index",
    "store/journal",
    "store/lock",
    "store/snapshots",
    "store/spool",
    "store/storage-key.lock",
    "store/tmp",
    "store/tree",
    "store/uploads",
];
/// Sealed documents.
const DOCUMENTS: &str = "store/b";

/// The machine whose backup is made.
#[derive(Clone, Debug)]
pub struct BackupSource {
    /// What it is.
    pub kind: BackupKind,
    /// Trust domain.
    pub axis: AxisId,
    /// Lane.
    pub lane: Lane,
    /// Its id.
    pub id: NodeId,
    /// Origin of its ledger.
    pub origin: String,
    /// Whose its store is.
    pub tag: StoreTag,
    /// Its folder.
    pub folder: PathBuf,
    /// Files outside its folder that its settings name.
    pub outside: Vec<PathBuf>,
    /// Whether sealed documents are copied. Without them the ledger, all receipts and who had what remain.
    pub documents: bool,
}

/// A backup that was made and read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupMade {
    /// What it says of itself.
    pub head: BackupHead,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Sealed documents whose bytes on the disk are not those that were once received.
    pub damaged: Vec<String>,
}

/// Makes a backup of a machine, running or not, into the new file `target`, and reads it back. Memory stays at a few chunks, however large it is.
///
/// # Errors
/// [`BackupError`]; then there is no `target`.
pub fn make_backup(
    source: &BackupSource,
    target: &Path,
    administrators: [&Certificate; 2],
    now: Timestamp,
) -> Result<BackupMade, BackupError> {
    if target.exists() {
        return Err(BackupError::Occupied { path: target.to_owned() });
    }
    let place = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (place_at, own) = (fs::canonicalize(place), fs::canonicalize(&source.folder));
    let place_at = place_at.map_err(failed("find", place))?;
    if place_at.starts_with(own.map_err(failed("find", &source.folder))?) {
        let why = "it would lie in the folder that is backed up; name a place elsewhere".to_owned();
        return Err(BackupError::Form { path: target.to_owned(), why });
    }
    let temporary = Temporary(beside(target, "tmp"));
    let listing = Temporary(beside(target, "manifest.tmp"));
    for left in [&temporary, &listing] {
        left.remove();
    }
    let made = write(source, &temporary.0, &listing.0, administrators, now)?;
    // link, unlike rename, fails where the target exists.
    fs::hard_link(&temporary.0, target).map_err(failed("write", target))?;
    sync_folder(place)?;
    Ok(made)
}

fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{ending}"));
    target.with_file_name(name)
}

/// A file that does not outlive its use.
struct Temporary(PathBuf);

impl Temporary {
    fn remove(&self) {
        let _ = fs::remove_file(&self.0); // what is left of an earlier attempt, or not there
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.remove();
    }
}

fn write(
    source: &BackupSource,
    file: &Path,
    listing: &Path,
    administrators: [&Certificate; 2],
    now: Timestamp,
) -> Result<BackupMade, BackupError> {
    let store = source.folder.join("store");
    let volume = DirVolume::create(&store).map_err(failed("open", &store))?;
    let cut = journal_cut(&(Arc::new(volume) as _), &source.tag).map_err(Box::new)?;
    let random = SystemRandom::new();
    let (mut id, mut prefix) = ([0; 16], [0; 7]);
    random.fill(&mut id).and_then(|()| random.fill(&mut prefix)).map_err(|_| BackupError::Random)?;
    let (key, halves) = half::draw(id, administrators, now)?;
    let head = BackupHead {
        id,
        kind: source.kind,
        axis: source.axis.clone(),
        lane: source.lane,
        node: source.id.clone(),
        origin: source.origin.clone(),
        made: now,
        records: cut.next_position.0,
        leaves: cut.leaves,
        root: cut.root,
        documents: source.documents,
        prefix,
        chunk_bytes: STREAM_CHUNK_BYTES as u64,
        halves,
    };
    let head = Raw::write(head).map_err(|error| BackupError::Head { path: file.to_owned(), source: error })?;

    let mut sink = Sink { file: BufWriter::new(create_private(file)?), hasher: Hasher::default() };
    let line = format!("{MAGIC}\n{}\n", data_encoding::BASE64.encode(head.bytes()));
    sink.write_all(line.as_bytes()).map_err(failed("write", file))?;
    let sealer = StreamSealer::new(&key.0, StreamParams::s1(prefix), head.digest(), sink);
    let list = BufWriter::new(create_private(listing)?);
    let mut archive = Archive { sealer, at: file, list, files: 0, bytes: 0, damaged: Vec::new() };
    archive.everything(source, &cut)?;
    let Archive { files, bytes, damaged, sealer, .. } = archive.finish(listing)?;
    let (sink, _) = sealer.finish().map_err(failed("write", file))?;
    let sha256 = sink.close().map_err(failed("write", file))?;

    // What cannot be read back is no backup: from the disk, every hash.
    let read = BackupFile::open(file)?;
    read.check()?;
    let contents = read.verify(&key)?;
    if (contents.files, contents.bytes) != (files, bytes) {
        let why = format!("{} of {files} files are in it", contents.files);
        return Err(BackupError::Content { path: file.to_owned(), why });
    }
    Ok(BackupMade { head: head.value().clone(), sha256, files, bytes, damaged })
}

/// Where the file's bytes go, hashed as they pass.
struct Sink {
    file: BufWriter<File>,
    hasher: Hasher,
}

impl Sink {
    /// Writes the hash of everything at the end, and has it on the device. Gives the hash of the whole file.
    fn close(mut self) -> io::Result<Digest> {
        let all = std::mem::take(&mut self.hasher).finish();
        self.file.write_all(all.as_bytes())?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        hash_of(file)
    }
}

fn hash_of(mut file: File) -> io::Result<Digest> {
    file.rewind()?;
    let (mut hasher, mut buffer) = (Hasher::default(), vec![0; 256 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            got => hasher.update(buffer.get(..got).unwrap_or_default()),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The archive while it is written, and its manifest beside it: with ten million documents it has no place in memory.
struct Archive<'a> {
    sealer: StreamSealer<Sink>,
    at: &'a Path,
    list: BufWriter<File>,
    files: u64,
    bytes: u64,
    damaged: Vec<String>,
}

impl Archive<'_> {
    fn everything(&mut self, source: &BackupSource, cut: &JournalCut) -> Result<(), BackupError> {
        self.folder(&source.folder, "", 0)?;
        self.outside(&source.outside)?;
        let store = source.folder.join("store");
        for (name, length) in &cut.segments {
            self.file(&store.join(name), &format!("store/{name}"), Some(*length))?;
        }
        // After the journal: what a record names was there before the record.
        if source.documents && source.folder.join(DOCUMENTS).is_dir() {
            self.folder(&source.folder.join(DOCUMENTS), DOCUMENTS, 2)?;
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Path, path: &str, depth: usize) -> Result<(), BackupError> {
        if depth > BACKUP_DEPTH_MAX {
            let why = format!("folders lie deeper than {BACKUP_DEPTH_MAX} in each other: {}", folder.display());
            return Err(BackupError::Content { path: self.at.to_owned(), why });
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
            names.push(entry.map_err(failed("list", folder))?.file_name());
        }
        names.sort();
        for name in names {
            let at = folder.join(&name);
            let Some(name) = name.to_str() else {
                let why = "its name is not UTF-8; rename it".to_owned();
                return Err(BackupError::Form { path: at, why });
            };
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            let unfinished = Path::new(name).extension().is_some_and(|ending| ending == "tmp");
            let made_again = LEFT_OUT.contains(&path.as_str()) || path.starts_with("store/index");
            if unfinished || made_again || (path == DOCUMENTS && depth < 2) {
                continue;
            }
            match fs::metadata(&at) {
                // Gone since the folder was listed: a document that was delivered to all, a version of the directory that is past.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("read", &at)(error)),
                Ok(found) if found.is_dir() => self.folder(&at, &path, depth + 1)?,
                Ok(found) if found.is_file() => self.file(&at, &path, None)?,
                Ok(_) => {
                    let why = "it is neither a file nor a folder; move it away".to_owned();
                    return Err(BackupError::Form { path: at, why });
                }
            }
        }
        Ok(())
    }

    /// Files that settings name elsewhere, and a list of where they belong.
    fn outside(&mut self, outside: &[PathBuf]) -> Result<(), BackupError> {
        let mut list = String::new();
        for (number, at) in (1..).zip(outside) {
            let name = at.file_name().and_then(|name| name.to_str()).unwrap_or("file");
            let path = format!("{OUTSIDE}/{number}-{name}");
            self.file(at, &path, None)?;
            list.push_str(&format!("{path}\t{}\n", at.display()));
        }
        if list.is_empty() {
            return Ok(());
        }
        let header = Header { path: format!("{OUTSIDE}/LIST"), mode: 0o600, size: list.len() as u64, modified: 0 };
        self.put(&header, &mut list.as_bytes())
    }

    /// The first `length` bytes of a file, or all of them.
    fn file(&mut self, at: &Path, path: &str, length: Option<u64>) -> Result<(), BackupError> {
        let mut file = match File::open(at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && length.is_none() => return Ok(()),
            file => file.map_err(failed("read", at))?,
        };
        let found = file.metadata().map_err(failed("read", at))?;
        let modified = u64::try_from(found.mtime()).unwrap_or_default();
        let header =
            Header { path: path.to_owned(), mode: found.mode() & 0o777, size: length.unwrap_or(found.len()), modified };
        self.put(&header, &mut file).map_err(|error| match error {
            BackupError::Io { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof => {
                BackupError::Moved { path: at.to_owned() }
            }
            error => error,
        })
    }

    fn put(&mut self, header: &Header, from: &mut impl Read) -> Result<(), BackupError> {
        let mut hasher = Hasher::default();
        if !Header::is_path(&header.path) {
            let why = format!("the path {} is longer than an archive takes, or holds odd characters", header.path);
            return Err(BackupError::Content { path: self.at.to_owned(), why });
        }
        tar::write_file(&mut self.sealer, header, from, |bytes| hasher.update(bytes))
            .map_err(failed("write", self.at))?;
        let hash = hasher.finish();
        self.list.write_all(manifest_line(&hash, &header.path).as_bytes()).map_err(failed("write", self.at))?;
        self.files += 1;
        self.bytes += header.size;
        let named = header.path.strip_prefix(DOCUMENTS).and_then(|path| path.rsplit('/').next());
        if named.is_some_and(|named| named != hash.to_string()) {
            self.damaged.push(header.path.clone());
        }
        Ok(())
    }

    /// The manifest behind everything else, then the archive's end.
    fn finish(mut self, listing: &Path) -> Result<Self, BackupError> {
        let wrong = |error| failed("write", listing)(error);
        self.list.flush().map_err(wrong)?;
        let file = self.list.get_mut();
        file.rewind().map_err(failed("read", listing))?;
        let size = file.metadata().map_err(failed("read", listing))?.len();
        let header = Header { path: MANIFEST.into(), mode: 0o600, size, modified: 0 };
        let mut from = file.try_clone().map_err(failed("read", listing))?;
        tar::write_file(&mut self.sealer, &header, &mut from, |_| {})
            .and_then(|()| tar::write_end(&mut self.sealer))
            .map_err(failed("write", self.at))?;
        Ok(self)
    }
}
