//! Revocation lists and OCSP answers on the disk: each replaced whole or not at all, gone at the price of fetching it again.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use truc_proto::{
    Timestamp,
    limits::{CRL_BYTES_MAX, OCSP_ANSWERS_MAX, OCSP_BYTES_MAX, TRUST_STORE_ITEMS_MAX},
};
use truc_signer::{
    Certificate, Crl, CrlError, OcspAnswer, TrustStore,
    path::{ListKept, ListRefused, keep_list},
};

const LIST: &str = "crl";
const ANSWER: &str = "ocsp";
/// How long after it was signed an answer is still loaded at a start.
const ANSWER_KEPT_MS: i64 = 30 * 86_400_000;

/// Why a list was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is none that can be read.
    #[error("the revocation list cannot be read")]
    Read(#[from] CrlError),
    /// It is none to be kept.
    #[error(transparent)]
    Refused(#[from] ListRefused),
    /// The disk.
    #[error("the revocation list cannot be stored")]
    Disk(#[from] io::Error),
}

/// A list that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whose it is.
    pub issuer: String,
    /// When it was issued.
    pub this_update: Timestamp,
    /// When its successor is due.
    pub next_update: Option<Timestamp>,
    /// How many certificates it names.
    pub revoked: usize,
    /// Whether it was there already.
    pub kept: ListKept,
}

impl Taken {
    /// What was done, for people, in both languages: `process` is `node` or `relay`.
    #[must_use]
    pub fn told(&self, process: &str) -> String {
        let due = self.next_update.map_or_else(|| "-".to_owned(), |due| due.to_string());
        let Self { issuer, this_update, revoked, .. } = self;
        match self.kept {
            ListKept::New => format!(
                "taken: revocation list of {issuer}, issued {this_update}, next due {due}, {revoked} revoked; a running {process} uses it within half a minute, or at once on SIGHUP\n\
                 đã nhận: danh sách thu hồi của {issuer}, phát hành {this_update}, bản tiếp theo {due}, {revoked} chứng thư bị thu hồi; truc-{process} đang chạy dùng trong nửa phút, hoặc ngay khi nhận SIGHUP"
            ),
            ListKept::Held => format!(
                "held already: revocation list of {issuer}, issued {this_update}; nothing was changed\n\
                 đã có: danh sách thu hồi của {issuer}, phát hành {this_update}; không thay đổi gì"
            ),
        }
    }
}

/// A folder of lists and answers.
#[derive(Debug, Clone)]
pub struct RevocationFolder(PathBuf);

impl RevocationFolder {
    /// Opens it, and makes it where it is not there.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// The lists in `path`; none where there is no such folder. What cannot be read is passed over and said: it is fetched again.
    #[must_use]
    pub fn lists(path: &Path) -> Vec<Crl> {
        let read = |path: PathBuf| {
            let list = bounded(&path, CRL_BYTES_MAX).ok().and_then(|bytes| Crl::from_der(&bytes).ok());
            if list.is_none() {
                tracing::warn!(file = %path.display(), "a stored revocation list cannot be read; it is fetched again");
            }
            list
        };
        files(path, LIST).into_iter().take(TRUST_STORE_ITEMS_MAX).filter_map(read).collect()
    }

    /// The bytes of the lists in `path`, by file name.
    #[must_use]
    pub fn list_files(path: &Path) -> Vec<PathBuf> {
        files(path, LIST)
    }

    /// Takes a list, PEM or DER, that is signed by an authority of `store`, of now, and not older than what `store` or the folder holds.
    ///
    /// # Errors
    /// When it is not; nothing is stored then.
    pub fn take(&self, bytes: &[u8], store: &TrustStore, now: Timestamp) -> Result<Vec<Taken>, FolderError> {
        let lists = Crl::from_file_bytes(bytes)?;
        let ders = crate::revocation::lists::ders(bytes)?;
        let kept: Vec<_> = lists.iter().map(|list| keep_list(store, list, now)).collect::<Result<_, _>>()?;
        let mut taken = Vec::new();
        for ((list, der), (kept, issuer)) in lists.iter().zip(&ders).zip(kept) {
            if kept == ListKept::New {
                self.put(&format!("{}.{LIST}", list.sha256()), der)?;
                self.drop_replaced(list);
            }
            let (this_update, next_update) = (list.this_update(), list.next_update());
            taken.push(Taken { issuer, this_update, next_update, revoked: list.revoked_count(), kept });
        }
        Ok(taken)
    }

    /// Removes the lists in whose place another came. One that stays by mistake costs room only: the newest counts.
    fn drop_replaced(&self, list: &Crl) {
        for path in files(&self.0, LIST) {
            let held = bounded(&path, CRL_BYTES_MAX).ok().and_then(|bytes| Crl::from_der(&bytes).ok());
            if held.is_some_and(|held| list.replaces(&held)) {
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Keeps an answer about a certificate, in place of the one before.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn keep_answer(&self, certificate: &Certificate, answer: &OcspAnswer) -> io::Result<()> {
        self.put(&format!("{}.{ANSWER}", certificate.sha256()), answer.der())
    }

    /// The answers of an earlier run; those that nobody would use any more are removed.
    pub(super) fn answers(&self, now: Timestamp) -> Vec<OcspAnswer> {
        let mut answers = Vec::new();
        for path in files(&self.0, ANSWER) {
            let answer = bounded(&path, OCSP_BYTES_MAX).ok().and_then(|bytes| OcspAnswer::from_der(&bytes).ok());
            let young = |answer: &OcspAnswer| now.unix_ms() - answer.produced_at().unix_ms() < ANSWER_KEPT_MS;
            match answer.filter(|answer| young(answer) && answers.len() < OCSP_ANSWERS_MAX) {
                Some(answer) => answers.push(answer),
                // Whoever needs it asks again.
                None => drop(fs::remove_file(&path)),
            }
        }
        answers
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let whole = self.0.join(name);
        let part = whole.with_extension("part");
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&part, &whole)?;
        File::open(&self.0)?.sync_all()
    }
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension() == Some(OsStr::new(extension))).collect();
    files.sort();
    files
}

fn bounded(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    if usize::try_from(fs::metadata(path)?.len()).unwrap_or(usize::MAX) > bytes_max {
        return Err(io::Error::other("too large"));
    }
    fs::read(path)
}
