//! Reading a backup back: what can be checked without keys, what is in it, and a machine's folder made of it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use truc_proto::{
    BackupHead, Digest, Hasher, Raw, Restored, Timestamp,
    json::base64,
    limits::{BACKUP_FILES_MAX, STATEMENT_BYTES_MAX},
};
use truc_signer::stream::{StreamOpener, StreamParams};

use super::{
    BackupError, BackupKey, MAGIC, MANIFEST, OUTSIDE, RESTORED, failed, manifest_line, sync_folder,
    tar::{self, Header},
    write_private,
};

/// Length of the hash at the end.
const TRAILER: u64 = 32;

/// A backup, opened: its head was read, nothing else.
#[derive(Debug)]
pub struct BackupFile {
    path: PathBuf,
    file: File,
    head: Raw<BackupHead>,
    /// Where the sealed archive begins.
    start: u64,
    /// Where it ends.
    end: u64,
}

/// What a backup holds, every hash checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BackupContents {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl BackupFile {
    /// Opens a backup and reads its head.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let no = |why: &str| BackupError::Form { path: path.to_owned(), why: why.to_owned() };
        let file = File::open(path).map_err(failed("read", path))?;
        let length = file.metadata().map_err(failed("read", path))?.len();
        let mut reader = BufReader::new(&file).take(2 * STATEMENT_BYTES_MAX as u64);
        let mut line = |line: &mut Vec<u8>| -> Result<(), BackupError> {
            line.clear();
            reader.read_until(b'\n', line).map_err(failed("read", path))?;
            if line.pop() == Some(b'\n') { Ok(()) } else { Err(no("its first lines are cut or too long")) }
        };
        let (mut magic, mut head) = (Vec::new(), Vec::new());
        line(&mut magic)?;
        if magic != MAGIC.as_bytes() {
            return Err(no("its first line is not `truc/backup/1`"));
        }
        line(&mut head)?;
        let start = (magic.len() + head.len() + 2) as u64;
        let head = base64::decode(&head).ok_or_else(|| no("its second line is not base64"))?;
        let head: Raw<BackupHead> =
            Raw::parse(head).map_err(|source| BackupError::Head { path: path.to_owned(), source })?;
        let end = length.checked_sub(TRAILER).filter(|end| *end > start).ok_or_else(|| no("it is cut"))?;
        let params = StreamParams::s1(head.value().prefix);
        if params.plain_len(end - start).is_none() {
            return Err(BackupError::Changed { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), file, head, start, end })
    }

    /// What it says of itself. Believed once [`BackupFile::verify`] or [`BackupFile::restore`] succeeded: the archive is bound to it.
    #[must_use]
    pub fn head(&self) -> &BackupHead {
        self.head.value()
    }

    /// SHA-256 of the statement in it.
    #[must_use]
    pub fn head_digest(&self) -> Digest {
        self.head.digest()
    }

    /// Checks without keys that its bytes are those that were written: the hash at its end. That tells accidents, not attacks.
    ///
    /// # Errors
    /// [`BackupError::Changed`].
    pub fn check(&self) -> Result<(), BackupError> {
        let (mut hasher, mut buffer, mut at) = (Hasher::default(), vec![0; 256 * 1024], 0);
        while at < self.end {
            let wanted = usize::try_from(self.end - at).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.get_mut(..wanted).unwrap_or_default();
            let got = self.file.read_at(part, at).map_err(failed("read", &self.path))?;
            if got == 0 {
                return Err(BackupError::Changed { path: self.path.clone() });
            }
            hasher.update(part.get(..got).unwrap_or_default());
            at += got as u64;
        }
        let mut trailer = [0; 32];
        self.file.read_exact_at(&mut trailer, self.end).map_err(failed("read", &self.path))?;
        if hasher.finish() == Digest(trailer) { Ok(()) } else { Err(BackupError::Changed { path: self.path.clone() }) }
    }

    /// Opens everything in it and compares every hash with the manifest.
    ///
    /// # Errors
    /// When anything does not hold.
    pub fn verify(&self, key: &BackupKey) -> Result<BackupContents, BackupError> {
        self.read(key, &mut |_, from, size| tar::copy(from, size, |_| Ok(())))
    }

    /// Makes the machine's folder of it: whole or not at all. The machine keeps a note that it was restored ([`super::restored`]). Gives what was
    /// in the backup, and the files that settings name outside the folder: where they lie now, and where they belong.
    ///
    /// # Errors
    /// When something stands in its place, or anything in the backup does not hold; nothing is left behind then.
    pub fn restore(
        &self,
        key: &BackupKey,
        folder: &Path,
        now: Timestamp,
    ) -> Result<(BackupContents, Vec<(PathBuf, PathBuf)>), BackupError> {
        let occupied = || BackupError::Occupied { path: folder.to_owned() };
        let free = match fs::read_dir(folder) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if !free {
            return Err(occupied());
        }
        let name = folder.file_name().ok_or_else(occupied)?.to_string_lossy();
        let draft = Draft(folder.with_file_name(format!(".{name}.restore-{}", std::process::id())));
        make_folder(&draft.0)?;
        let contents = self.read(key, &mut |header, from, size| draft.file(header, from, size))?;
        let head = self.head();
        let note = Restored {
            backup: head.id,
            made: head.made,
            restored: now,
            origin: head.origin.clone(),
            leaves: head.leaves,
            root: head.root,
        };
        let note = Raw::write(note).map_err(|source| BackupError::Head { path: self.path.clone(), source })?;
        let store = draft.0.join("store");
        make_folder(&store)?;
        // A backup of a machine that was itself restored holds the note of that time.
        super::forget_restored(&store)?;
        write_private(&store.join(RESTORED), note.bytes())?;
        let outside = outside(&draft.0, folder)?;
        sync_all(&draft.0)?;
        fs::rename(&draft.0, folder).map_err(failed("write", folder))?;
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_folder(parent)?;
        Ok((contents, outside))
    }

    /// Hands every file but the manifest to `take`, which must read all of it; then the manifest is compared, and the archive's end.
    fn read(
        &self,
        key: &BackupKey,
        take: &mut dyn FnMut(&Header, &mut dyn Read, u64) -> io::Result<()>,
    ) -> Result<BackupContents, BackupError> {
        let damaged = |source: io::Error| match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                BackupError::Content { path: self.path.clone(), why: source.to_string() }
            }
            _ => failed("read", &self.path)(source),
        };
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.start)).map_err(damaged)?;
        let sealed = BufReader::new(file).take(self.end - self.start);
        let params = StreamParams::s1(self.head().prefix);
        let mut archive = StreamOpener::new(&key.0, params, self.head.digest(), sealed);
        let (mut contents, mut lines, mut listed) = (BackupContents::default(), Hasher::default(), None);
        while let Some(header) = tar::read_header(&mut archive).map_err(damaged)? {
            let wrong = |why: &str| BackupError::Content { path: self.path.clone(), why: why.to_owned() };
            if listed.is_some() {
                return Err(wrong("something stands behind its manifest"));
            }
            let mut hashing = Hashing { from: &mut archive, hasher: Hasher::default() };
            if header.path == MANIFEST {
                tar::copy(&mut hashing, header.size, |_| Ok(())).map_err(damaged)?;
                listed = Some(hashing.hasher.finish());
            } else {
                take(&header, &mut hashing, header.size).map_err(damaged)?;
                lines.update(manifest_line(&hashing.hasher.finish(), &header.path).as_bytes());
                contents.files += 1;
                contents.bytes = contents.bytes.saturating_add(header.size);
                if contents.files > BACKUP_FILES_MAX {
                    return Err(wrong("it has more files than any machine"));
                }
            }
            tar::skip_padding(&mut archive, header.size).map_err(damaged)?;
        }
        archive.finish().map_err(|error| BackupError::Content { path: self.path.clone(), why: error.to_string() })?;
        if listed != Some(lines.finish()) {
            let why = "its manifest is missing, or tells of other files".to_owned();
            return Err(BackupError::Content { path: self.path.clone(), why });
        }
        Ok(contents)
    }
}

struct Hashing<'a, R: Read> {
    from: &'a mut R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.from.read(buffer)?;
        self.hasher.update(buffer.get(..got).unwrap_or_default());
        Ok(got)
    }
}

/// The folder that is being filled, beside the final one; removed when dropped before it took its place.
struct Draft(PathBuf);

impl Draft {
    fn file(&self, header: &Header, mut from: &mut dyn Read, size: u64) -> io::Result<()> {
        let at = self.0.join(&header.path);
        let parent = at.parent().unwrap_or(&self.0);
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(header.mode & 0o755 | 0o600).open(&at)?;
        tar::copy(&mut from, size, |bytes| file.write_all(bytes))?;
        file.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // gone already when it took its place
    }
}

fn make_folder(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make", path))
}

/// Where files that settings name outside the folder will lie, and where they belong.
fn outside(draft: &Path, folder: &Path) -> Result<Vec<(PathBuf, PathBuf)>, BackupError> {
    let list = draft.join(OUTSIDE).join("LIST");
    let text = match fs::read_to_string(&list) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(failed("read", &list))?,
    };
    Ok(text.lines().filter_map(|line| line.split_once('\t')).map(|(at, to)| (folder.join(at), to.into())).collect())
}

/// Folders' names on the device; the files are there already.
fn sync_all(folder: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        if entry.file_type().map_err(failed("list", folder))?.is_dir() {
            sync_all(&entry.path())?;
        }
    }
    sync_folder(folder)
}
