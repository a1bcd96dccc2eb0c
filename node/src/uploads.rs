//! Large files that come in pieces: what a broken connection has brought is kept, and the next piece goes on where it ended.
//!
//! A piece lies on the disk as segments of at most 1 MiB, each sealed under a key of its own that the storage key wraps: no plaintext on the
//! disk, no key used twice, and a segment that was torn, moved or belongs to another upload does not open. What is told as
//! received is on the device (I1). An upload becomes part of a document when a Send names it.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as Turn, MutexGuard, watch};
use truc_proto::{
    Digest,
    limits::{REST_UPLOAD_SEGMENTS_MAX, REST_UPLOADS_MAX, REST_UPLOADS_PER_TOKEN_MAX, STREAM_CHUNK_BYTES},
};
use truc_signer::{
    storage::{StorageKey, WRAP_OVERHEAD_BYTES},
    stream::{FileKey, StreamOpener, StreamParams, StreamSealer, TAG_BYTES},
};
use zeroize::Zeroizing;

use crate::{
    shell::{Shell, lock},
    tokens::write_private,
};

/// How long an upload that nobody goes on with is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3_600);
/// How long one is kept that a document was made of: its request may be repeated.
pub const KEPT_AFTER_USE: Duration = Duration::from_secs(3_600);

const KEY_BYTES: usize = 32 + WRAP_OVERHEAD_BYTES;
/// Length of the plaintext, wrapped key, prefix of the nonces.
const HEAD_BYTES: usize = 4 + KEY_BYTES + 7;
const ABOUT: &str = "about";
const PARTS: &str = "parts";

/// Names an upload: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId([u8; 16]);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for UploadId {
    type Err = NoUploadId;

    fn from_str(text: &str) -> Result<Self, NoUploadId> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NoUploadId)?;
        bytes.try_into().map(Self).map_err(|_| NoUploadId)
    }
}

/// Not the id of an upload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an upload is named by 32 hexadecimal digits")]
pub struct NoUploadId;

/// What an upload will be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Name of the token that may go on with it.
    pub owner: String,
    /// Length of the whole in bytes.
    pub length: u64,
    /// Name of the file; empty for a packet.
    pub name: String,
    /// Its media type; may be empty.
    pub content_type: String,
}

/// Why an upload was not begun.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Too many.
    #[error("there are too many uploads already")]
    TooMany,
    /// Its name is too long.
    #[error("name and media type are too long")]
    About,
    /// Disk or random source.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// All uploads of a node, in one folder.
pub struct Uploads {
    folder: PathBuf,
    key: Arc<StorageKey>,
    known: Mutex<BTreeMap<UploadId, Arc<Upload>>>,
}

impl Uploads {
    /// Takes up what lies in `folder`. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path, key: Arc<StorageKey>) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let id = path.file_stem().and_then(|stem| stem.to_str()?.parse::<UploadId>().ok());
            let Some(id) = id.filter(|_| path.extension().is_some_and(|extension| extension == ABOUT)) else {
                continue;
            };
            match Upload::reopen(folder, id, Arc::clone(&key)) {
                Ok(upload) => {
                    known.insert(id, Arc::new(upload));
                }
                Err(error) => {
                    tracing::warn!(upload = %id, %error, "an upload cannot be taken up again and is removed");
                    remove_files(folder, id)?;
                }
            }
        }
        remove_strays(folder, &known)?;
        Ok(Self { folder: folder.to_owned(), key, known: Mutex::new(known) })
    }

    /// Begins an upload. Blocks; it is on the device behind that.
    ///
    /// # Errors
    /// When there are too many, or it cannot be written.
    pub fn create(&self, about: About) -> Result<Arc<Upload>, CreateError> {
        let mut known = self.known();
        let of_owner = known.values().filter(|upload| upload.about.owner == about.owner).count();
        if known.len() >= REST_UPLOADS_MAX || of_owner >= REST_UPLOADS_PER_TOKEN_MAX {
            return Err(CreateError::TooMany);
        }
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| io::Error::other("the system gave no random bytes"))?;
        let id = UploadId(id);
        let text = serde_json::to_vec(&about).map_err(io::Error::other)?;
        let wrapped = self.key.wrap(&text, &context(id, ABOUT)).map_err(|_| CreateError::About)?;
        let file = parts_file().create_new(true).open(path(&self.folder, id, PARTS))?;
        write_private(&path(&self.folder, id, ABOUT), &wrapped)?;
        File::open(&self.folder)?.sync_all()?;
        let upload = Arc::new(Upload::new(id, about, file, Arc::clone(&self.key), true)?);
        known.insert(id, Arc::clone(&upload));
        Ok(upload)
    }

    /// The upload of this id, when it is `owner`'s.
    #[must_use]
    pub fn find(&self, id: UploadId, owner: &str) -> Option<Arc<Upload>> {
        self.known().get(&id).filter(|upload| upload.about.owner == owner).cloned()
    }

    /// Forgets an upload and removes its files; who is reading it reads on. Blocks.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove(&self, id: UploadId) -> io::Result<()> {
        self.known().remove(&id);
        remove_files(&self.folder, id)
    }

    /// Removes what nobody went on with. Blocks.
    pub fn sweep(&self, now: SystemTime) {
        let late: Vec<UploadId> = {
            let known = self.known();
            known.iter().filter(|(_, upload)| upload.is_late(now)).map(|(id, _)| *id).collect()
        };
        for id in late {
            match self.remove(id) {
                Ok(()) => tracing::info!(upload = %id, "an upload that nobody went on with was removed"),
                Err(error) => tracing::warn!(upload = %id, %error, "an upload cannot be removed"),
            }
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<UploadId, Arc<Upload>>> {
        lock(&self.known)
    }
}

impl fmt::Debug for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uploads({})", self.folder.display())
    }
}

/// How often uploads that nobody goes on with are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Removes what nobody goes on with, until the node stops.
pub(crate) async fn sweep_on(uploads: Arc<Uploads>, shell: Arc<Shell>) {
    let mut stopping = shell.stopping.clone();
    loop {
        let inner = Arc::clone(&uploads);
        if shell.work("removing old uploads", move || inner.sweep(SystemTime::now())).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            _ = stopping.changed() => return,
        }
    }
}

/// One upload.
pub struct Upload {
    id: UploadId,
    about: About,
    key: Arc<StorageKey>,
    /// Held by who appends.
    turn: Turn<()>,
    /// Grows when somebody else wants the turn.
    wanted: watch::Sender<u64>,
    state: Mutex<State>,
}

struct State {
    file: File,
    /// Plaintext bytes received.
    received: u64,
    /// Bytes of the file that hold them.
    end: u64,
    segments: usize,
    /// False behind a start, until the segments were opened: what was not synced then may be torn.
    checked: bool,
    touched: SystemTime,
    used: bool,
    /// A sync failed: what the system shows of the file and what the device holds may differ from then on.
    broken: bool,
}

/// Where a segment begins: in the plaintext and in the file.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Place {
    plain: u64,
    sealed: u64,
}

/// The right to append. Whoever wants it next interrupts who has it: a client that comes back finds its own broken request still open.
#[derive(Debug)]
pub struct Appending<'u> {
    _turn: MutexGuard<'u, ()>,
    wanted: watch::Receiver<u64>,
}

impl Appending<'_> {
    /// Completes when somebody else wants to go on with the upload.
    pub async fn interrupted(&mut self) {
        if self.wanted.changed().await.is_err() {
            std::future::pending::<()>().await; // the sender lives in the upload, which is borrowed
        }
    }
}

impl Upload {
    fn new(id: UploadId, about: About, file: File, key: Arc<StorageKey>, checked: bool) -> io::Result<Self> {
        let touched = file.metadata()?.modified()?;
        let state = State { file, received: 0, end: 0, segments: 0, checked, touched, used: false, broken: false };
        Ok(Self { id, about, key, turn: Turn::default(), wanted: watch::Sender::new(0), state: Mutex::new(state) })
    }

    fn reopen(folder: &Path, id: UploadId, key: Arc<StorageKey>) -> io::Result<Self> {
        let wrapped = fs::read(path(folder, id, ABOUT))?;
        let text = key.unwrap(&wrapped, &context(id, ABOUT)).map_err(io::Error::other)?;
        let about: About = serde_json::from_slice(&text)?;
        let file = parts_file().open(path(folder, id, PARTS))?;
        Self::new(id, about, file, key, false)
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> UploadId {
        self.id
    }

    /// What it will be.
    #[must_use]
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// The right to append, taken from who has it.
    pub async fn appending(&self) -> Appending<'_> {
        self.wanted.send_modify(|wanted| *wanted += 1);
        let turn = self.turn.lock().await;
        let mut wanted = self.wanted.subscribe();
        wanted.mark_unchanged();
        Appending { _turn: turn, wanted }
    }

    /// How many bytes are on the device. Blocks; behind a start this opens every segment once.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn received(&self) -> io::Result<u64> {
        let mut state = self.state();
        self.check(&mut state)?;
        Ok(state.received)
    }

    /// Appends at most 1 MiB; on the device behind [`Upload::sync`]. Blocks.
    ///
    /// # Errors
    /// When it would grow beyond its length or in too many small pieces, or cannot be written.
    pub fn append(&self, plain: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        self.check(&mut state)?;
        let length = to_u64(plain.len());
        if plain.len() > STREAM_CHUNK_BYTES || length > self.about.length - state.received {
            return Err(io::Error::other("more than the upload's length"));
        }
        if state.segments >= REST_UPLOAD_SEGMENTS_MAX {
            return Err(io::Error::other("too many small pieces; send pieces of a megabyte or more"));
        }
        if plain.is_empty() {
            return Ok(());
        }
        let sealed = self.seal(state.received, plain)?;
        let at = state.end;
        // From where the last whole segment ends: what a failed write left behind is written over.
        state.file.seek(SeekFrom::Start(at))?;
        state.file.write_all(&sealed)?;
        state.end += to_u64(sealed.len());
        state.received += length;
        state.segments += 1;
        state.touched = SystemTime::now();
        Ok(())
    }

    /// Everything appended is on the device behind this. Blocks.
    ///
    /// # Errors
    /// When it is not: the upload is of no use any more, and has to be begun anew.
    pub fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        let synced = state.file.sync_data();
        state.broken |= synced.is_err();
        synced
    }

    /// A document was made of it.
    pub fn mark_used(&self) {
        let mut state = self.state();
        (state.used, state.touched) = (true, SystemTime::now());
    }

    /// The segment that begins at `from`, of an upload that is all there; none behind the last. Blocks.
    ///
    /// # Errors
    /// When it is not whole, or cannot be read.
    pub fn segment(&self, from: Place) -> io::Result<Option<(Zeroizing<Vec<u8>>, Place)>> {
        let (file, end) = {
            let mut state = self.state();
            self.check(&mut state)?;
            if state.received != self.about.length {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the upload is not whole"));
            }
            (state.file.try_clone()?, state.end)
        };
        if from.plain == self.about.length {
            return Ok(None);
        }
        let mut plain = Zeroizing::new(Vec::with_capacity(STREAM_CHUNK_BYTES + TAG_BYTES));
        let segment = self.next_segment(&mut At { file, from: from.sealed, end }, from.plain, &mut plain)?;
        let bytes = segment.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the upload is damaged"))?;
        let next = Place { plain: from.plain + to_u64(plain.len()), sealed: from.sealed + bytes };
        Ok(Some((plain, next)))
    }

    fn is_late(&self, now: SystemTime) -> bool {
        let state = self.state();
        let kept = if state.used { KEPT_AFTER_USE } else { KEPT };
        now.duration_since(state.touched).is_ok_and(|idle| idle > kept)
    }

    /// Finds out, behind a start, how far whole segments reach; what is behind them is cut off.
    fn check(&self, state: &mut State) -> io::Result<()> {
        if state.broken {
            return Err(io::Error::other("the disk did not take a part of this upload; remove it and begin it anew"));
        }
        if state.checked {
            return Ok(());
        }
        let length = state.file.metadata()?.len();
        let file = state.file.try_clone()?;
        let mut reader = BufReader::with_capacity(64 * 1024, At { file, from: 0, end: length });
        let (mut received, mut end, mut segments) = (0, 0, 0);
        let mut plain = Zeroizing::new(Vec::with_capacity(STREAM_CHUNK_BYTES + TAG_BYTES));
        while let Some(bytes) = self.next_segment(&mut reader, received, &mut plain)? {
            received += to_u64(plain.len());
            end += bytes;
            segments += 1;
        }
        state.file.set_len(end)?;
        state.file.sync_all()?;
        (state.received, state.end, state.segments, state.checked) = (received, end, segments, true);
        Ok(())
    }

    fn seal(&self, at: u64, plain: &[u8]) -> io::Result<Vec<u8>> {
        let random = SystemRandom::new();
        let key = FileKey::generate(&random).map_err(io::Error::other)?;
        let params = StreamParams::generate(&random).map_err(io::Error::other)?;
        let context = context(self.id, &at.to_string());
        let wrapped = self.key.wrap(key.expose(), &context).map_err(io::Error::other)?;
        let mut sealed = Vec::with_capacity(HEAD_BYTES + plain.len() + TAG_BYTES);
        sealed.extend(u32::try_from(plain.len()).map_err(io::Error::other)?.to_be_bytes());
        sealed.extend(wrapped);
        sealed.extend(params.prefix());
        let mut sealer = StreamSealer::new(&key, params, Digest::of(&context), sealed);
        sealer.write_all(plain)?;
        Ok(sealer.finish()?.0)
    }

    /// The next segment's plaintext and its length on the disk; none where no whole one is.
    fn next_segment(&self, reader: &mut impl Read, at: u64, plain: &mut Vec<u8>) -> io::Result<Option<u64>> {
        let mut head = [0; HEAD_BYTES];
        if !read_whole(reader, &mut head)? {
            return Ok(None);
        }
        let (length, rest) = head.split_at(4);
        let (wrapped, prefix) = rest.split_at(KEY_BYTES);
        let length = u32::from_be_bytes(length.try_into().map_err(io::Error::other)?);
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let fits = (1..=STREAM_CHUNK_BYTES).contains(&length) && to_u64(length) <= self.about.length - at;
        let context = context(self.id, &at.to_string());
        let key = self.key.unwrap(wrapped, &context).ok().and_then(|key| FileKey::from_slice(&key));
        let (Some(key), true) = (key, fits) else { return Ok(None) };
        let params = StreamParams::s1(prefix.try_into().map_err(io::Error::other)?);
        let mut sealed = vec![0; length + TAG_BYTES];
        if !read_whole(reader, &mut sealed)? {
            return Ok(None);
        }
        let mut opener = StreamOpener::new(&key, params, Digest::of(&context), sealed.as_slice());
        plain.clear();
        let opened = opener.read_to_end(plain).is_ok() && opener.finish().is_ok() && plain.len() == length;
        Ok(opened.then(|| to_u64(HEAD_BYTES + length + TAG_BYTES)))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.id)
    }
}

/// Reads a file from a place of its own, whatever others do with the handle.
struct At {
    file: File,
    from: u64,
    end: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        let left = usize::try_from(self.end - self.from).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let read = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.from)?;
        self.from += to_u64(read);
        Ok(read)
    }
}

/// False at the end of the input.
fn read_whole(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A part of an upload that lies under the storage key, under another one.
pub(crate) enum Rewrapped {
    /// What the upload will be.
    About {
        /// Which.
        upload: UploadId,
        /// The whole file.
        bytes: Vec<u8>,
    },
    /// The key of a segment.
    Key {
        /// Of which upload.
        upload: UploadId,
        /// Where in the file of its parts.
        at: u64,
        /// In place of as many bytes there.
        bytes: Vec<u8>,
    },
}

/// Where it stands what an upload will be.
pub(crate) fn about_path(folder: &Path, upload: UploadId) -> PathBuf {
    path(folder, upload, ABOUT)
}

/// Where its segments lie.
pub(crate) fn parts_path(folder: &Path, upload: UploadId) -> PathBuf {
    path(folder, upload, PARTS)
}

/// All uploads' [`about_path`]s; none where there is no folder.
pub(crate) fn abouts(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == ABOUT) && id_of(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Shows what of the uploads in `folder` goes under another storage key, upload by upload, and says how many there are. What does not open is
/// passed over, as at a start; so is what stands behind a segment that does not.
pub(crate) fn rewrap(
    folder: &Path,
    old: &StorageKey,
    new: &StorageKey,
    see: &mut dyn FnMut(Rewrapped) -> io::Result<()>,
) -> io::Result<u64> {
    let mut count = 0;
    for about in abouts(folder)? {
        let Some(upload) = id_of(&about) else { continue };
        let Ok(bytes) = old.rewrap(&fs::read(&about)?, &context(upload, ABOUT), new) else { continue };
        see(Rewrapped::About { upload, bytes })?;
        count += 1;
        let file = match parts_file().open(path(folder, upload, PARTS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let (mut from, mut plain, end) = (0, 0, file.metadata()?.len());
        while from < end {
            let mut head = [0; HEAD_BYTES];
            if !read_whole(&mut At { file: file.try_clone()?, from, end }, &mut head)? {
                break;
            }
            let (length, rest) = head.split_at(4);
            let length = u64::from(u32::from_be_bytes(length.try_into().map_err(io::Error::other)?));
            let (wrapped, _) = rest.split_at(KEY_BYTES);
            let Ok(bytes) = old.rewrap(wrapped, &context(upload, &plain.to_string()), new) else { break };
            see(Rewrapped::Key { upload, at: from + 4, bytes })?;
            plain += length;
            from += to_u64(HEAD_BYTES + TAG_BYTES) + length;
        }
    }
    Ok(count)
}

fn context(id: UploadId, what: &str) -> Vec<u8> {
    format!("truc/upload/1\n{id}\n{what}").into_bytes()
}

fn path(folder: &Path, id: UploadId, what: &str) -> PathBuf {
    folder.join(format!("{id}.{what}"))
}

/// Whose file it is.
fn id_of(path: &Path) -> Option<UploadId> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn parts_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn remove_files(folder: &Path, id: UploadId) -> io::Result<()> {
    for what in [ABOUT, PARTS] {
        match fs::remove_file(path(folder, id, what)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What a crash left between two files.
fn remove_strays(folder: &Path, known: &BTreeMap<UploadId, Arc<Upload>>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if id_of(&path).is_none_or(|id| !known.contains_key(&id)) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(length: u64) -> About {
        About { owner: "first".into(), length, name: "quét.pdf".into(), content_type: String::new() }
    }

    /// The same key in every start of a test.
    fn key(folder: &Path) -> StorageKey {
        let path = folder.join("key");
        if path.exists() { StorageKey::load(&path).unwrap() } else { StorageKey::create(&path, 1).unwrap() }
    }

    fn start(folder: &Path) -> Uploads {
        Uploads::open(&folder.join("uploads"), Arc::new(key(folder))).unwrap()
    }

    fn read(upload: &Upload) -> io::Result<Vec<u8>> {
        let (mut found, mut at) = (Vec::new(), Place::default());
        while let Some((plain, next)) = upload.segment(at)? {
            found.extend_from_slice(&plain);
            at = next;
        }
        Ok(found)
    }

    #[test]
    fn an_upload_goes_on_behind_a_start_and_nothing_of_it_is_in_the_clear() {
        let folder = tempfile::tempdir().unwrap();
        let text: Vec<u8> = b"a line that can be found; ".repeat(100_000);
        let uploads = start(folder.path());
        let upload = uploads.create(about(to_u64(text.len()))).unwrap();
        upload.append(&text[..1_000_000]).unwrap();
        upload.append(&text[1_000_000..1_000_001]).unwrap();
        upload.sync().unwrap();
        assert!(read(&upload).is_err(), "it is not whole");
        let id = upload.id();
        drop((upload, uploads));

        let uploads = start(folder.path());
        assert!(uploads.find(id, "second").is_none());
        let upload = uploads.find(id, "first").unwrap();
        assert_eq!((upload.received().unwrap(), upload.about().name.as_str()), (1_000_001, "quét.pdf"));
        for piece in text[1_000_001..].chunks(STREAM_CHUNK_BYTES) {
            upload.append(piece).unwrap();
        }
        assert!(upload.append(b"x").is_err(), "beyond its length");
        assert!(read(&upload).unwrap() == text);
        for file in fs::read_dir(folder.path().join("uploads")).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            for needle in [&b"a line that can"[..], "quét".as_bytes(), b"first"] {
                assert!(!bytes.windows(needle.len()).any(|window| window == needle));
            }
        }
        uploads.remove(id).unwrap();
        assert!(uploads.find(id, "first").is_none());
        assert_eq!(fs::read_dir(folder.path().join("uploads")).unwrap().count(), 0);
    }

    #[test]
    fn a_torn_end_is_cut_off_and_a_segment_from_elsewhere_does_not_open() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = start(folder.path());
        let (one, two) = (uploads.create(about(6)).unwrap(), uploads.create(about(6)).unwrap());
        for upload in [&one, &two] {
            upload.append(b"abc").unwrap();
            upload.append(b"def").unwrap();
            upload.sync().unwrap();
        }
        let parts = |id| path(&folder.path().join("uploads"), id, PARTS);
        let (of_one, of_two) = (fs::read(parts(one.id())).unwrap(), fs::read(parts(two.id())).unwrap());
        let half = of_one.len() / 2;
        let (first, second) = of_one.split_at(half);
        let flipped: Vec<u8> = first.iter().copied().chain(second.iter().map(|byte| byte ^ 1)).collect();
        let zeros = [first, &vec![0; half][..]].concat();
        for (what, bytes, expected) in [
            ("cut", of_one[..of_one.len() - 1].to_vec(), 3),
            ("cut in the head", of_one[..half + 10].to_vec(), 3),
            ("flipped", flipped, 3),
            ("never written", zeros, 3),
            ("another upload's", [first, &of_two[half..]].concat(), 3),
            ("in another order", [second, first].concat(), 0),
            ("nothing", Vec::new(), 0),
        ] {
            fs::write(parts(one.id()), bytes).unwrap();
            let again = start(folder.path());
            let upload = again.find(one.id(), "first").unwrap();
            assert_eq!(upload.received().unwrap(), expected, "{what}");
            upload.append(&b"abcdef"[usize::try_from(expected).unwrap()..]).unwrap();
            assert_eq!(read(&upload).unwrap(), b"abcdef", "{what}");
        }
    }

    #[test]
    fn what_nobody_goes_on_with_goes_and_a_used_one_goes_soon() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = start(folder.path());
        let (idle, used) = (uploads.create(about(0)).unwrap(), uploads.create(about(0)).unwrap());
        used.mark_used();
        let now = SystemTime::now();
        uploads.sweep(now + KEPT_AFTER_USE - Duration::from_secs(60));
        assert!(uploads.find(used.id(), "first").is_some());
        uploads.sweep(now + KEPT_AFTER_USE + Duration::from_secs(60));
        assert!(uploads.find(used.id(), "first").is_none() && uploads.find(idle.id(), "first").is_some());
        uploads.sweep(now + KEPT + Duration::from_secs(60));
        assert!(uploads.find(idle.id(), "first").is_none());
        for _ in 0..REST_UPLOADS_PER_TOKEN_MAX {
            uploads.create(about(1)).unwrap();
        }
        assert!(matches!(uploads.create(about(1)), Err(CreateError::TooMany)));
        let long = About { name: "x".repeat(5_000), owner: "second".into(), ..about(1) };
        assert!(matches!(uploads.create(long), Err(CreateError::About)));
    }

    #[tokio::test]
    async fn who_comes_back_takes_over_from_a_request_that_hangs() {
        let folder = tempfile::tempdir().unwrap();
        let upload = start(folder.path()).create(about(1)).unwrap();
        let mut hanging = upload.appending().await;
        let next = async { upload.appending().await };
        let hangs = async {
            hanging.interrupted().await;
            drop(hanging);
        };
        let (mut next, ()) = tokio::join!(next, hangs);
        let idle = std::future::ready(());
        tokio::select! {
            biased;
            () = next.interrupted() => panic!("nobody wants it"),
            () = idle => {}
        }
    }
}
