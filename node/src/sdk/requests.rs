//! What document systems ask of the axis operator: a new agency, the end of one. Kept durably and shown to people; never carried out here, since
//! who exists is the directory's matter, and the body of a registration is not signed.
//!
//! The file grows by whole lines of JSON, each synced before the answer; what was dealt with is another line.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};
use truc_proto::{
    Timestamp,
    limits::{SDK_REQUEST_FILE_BYTES_MAX, SDK_REQUESTS_MAX},
};

use crate::shell::lock;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// A new agency, or other particulars of one.
    Register,
    /// The end of one.
    Delete,
}

impl std::fmt::Display for RequestKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Register => "register",
            Self::Delete => "delete",
        })
    }
}

/// What a document system says of the agency. Texts as they came, bounded.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AgencyText {
    /// The agency's code.
    pub code: String,
    /// The superior agency's code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pcode: String,
    /// Name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Mail address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mail: String,
    /// Mobile number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mobile: String,
    /// Fax number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fax: String,
}

/// One request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AgencyRequest {
    /// Counts up; names it.
    pub number: u64,
    /// What is asked.
    pub kind: RequestKind,
    /// By which document system.
    pub system: String,
    /// When it came.
    pub at: Timestamp,
    /// About which agency.
    pub agency: AgencyText,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Asked(AgencyRequest),
    Done { number: u64, at: Timestamp },
}

/// Why a request was not kept or shown.
#[derive(Debug, thiserror::Error)]
pub enum RequestsError {
    /// The file system.
    #[error("cannot read or write the requests to the axis operator in {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line that cannot be read, other than one that was cut off at the end.
    #[error("line {line} of {} cannot be read; restore the file, or move it away", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
    },
    /// As many as may be.
    #[error("{SDK_REQUESTS_MAX} requests wait for the axis operator already; deal with them first")]
    Full,
    /// No such request is open.
    #[error("no open request has the number {number}; list them to see the numbers")]
    Unknown {
        /// As given.
        number: u64,
    },
}

/// The file.
#[derive(Debug)]
pub struct AgencyRequests {
    path: PathBuf,
    /// One writer at a time in this process; lines of another process go in whole, too.
    writing: Mutex<()>,
}

impl AgencyRequests {
    /// The requests in a file, which need not be there yet.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), writing: Mutex::default() }
    }

    /// Those not yet dealt with, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(&self) -> Result<Vec<AgencyRequest>, RequestsError> {
        Ok(self.read()?.0)
    }

    /// Keeps a request; one that says the same and is still open is kept once. Blocks on the disk.
    ///
    /// # Errors
    /// When the file cannot be read or written, or too many are open.
    pub fn ask(
        &self,
        kind: RequestKind,
        system: &str,
        agency: AgencyText,
        now: Timestamp,
    ) -> Result<AgencyRequest, RequestsError> {
        let _writing = lock(&self.writing);
        let (open, next) = self.read()?;
        let same = |known: &&AgencyRequest| known.kind == kind && known.system == system && known.agency == agency;
        if let Some(known) = open.iter().find(same) {
            return Ok(known.clone());
        }
        if open.len() >= SDK_REQUESTS_MAX {
            return Err(RequestsError::Full);
        }
        let request = AgencyRequest { number: next, kind, system: system.to_owned(), at: now, agency };
        self.append(&Line::Asked(request.clone()))?;
        Ok(request)
    }

    /// Notes that a request was dealt with: it is not shown any more, and the same may be asked again.
    ///
    /// # Errors
    /// When no such request is open, or the file cannot be read or written.
    pub fn done(&self, number: u64, now: Timestamp) -> Result<(), RequestsError> {
        let _writing = lock(&self.writing);
        if !self.read()?.0.iter().any(|request| request.number == number) {
            return Err(RequestsError::Unknown { number });
        }
        self.append(&Line::Done { number, at: now })
    }

    fn read(&self) -> Result<(Vec<AgencyRequest>, u64), RequestsError> {
        let failed = |source| RequestsError::Io { path: self.path.clone(), source };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 1)),
            Err(error) => return Err(failed(error)),
        };
        let mut text = String::new();
        let length = file.take(SDK_REQUEST_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if u64::try_from(length).unwrap_or(u64::MAX) > SDK_REQUEST_FILE_BYTES_MAX {
            return Err(failed(io::Error::other(format!(
                "longer than {SDK_REQUEST_FILE_BYTES_MAX} bytes; move it away"
            ))));
        }
        let (mut open, mut next) = (Vec::<AgencyRequest>::new(), 1);
        // A line without its end was being written when the power went; nobody was told that it is kept.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for (n, line) in whole.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            match serde_json::from_str(line) {
                Ok(Line::Asked(request)) => {
                    next = next.max(request.number.saturating_add(1));
                    open.push(request);
                }
                Ok(Line::Done { number, .. }) => open.retain(|request| request.number != number),
                Err(_) => return Err(RequestsError::Malformed { path: self.path.clone(), line: n + 1 }),
            }
        }
        Ok((open, next))
    }

    fn append(&self, line: &Line) -> Result<(), RequestsError> {
        let failed = |source| RequestsError::Io { path: self.path.clone(), source };
        let mut bytes = serde_json::to_vec(line).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        let existed = self.path.exists();
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&self.path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        // What a power cut left of a line must not become part of this one.
        let torn = length > 0 && !ends_with_newline(&self.path).map_err(failed)?;
        if torn {
            let text = fs::read(&self.path).map_err(failed)?;
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            file.set_len(u64::try_from(whole).unwrap_or(u64::MAX)).map_err(failed)?;
        }
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        if !existed && let Some(folder) = self.path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Ok(())
    }
}

fn ends_with_newline(path: &Path) -> io::Result<bool> {
    use std::io::{Seek as _, SeekFrom};
    let mut file = File::open(path)?;
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agency(code: &str) -> AgencyText {
        AgencyText { code: code.into(), name: "Sở thử nghiệm".into(), ..AgencyText::default() }
    }

    #[test]
    fn a_request_is_kept_once_until_it_is_dealt_with() {
        let folder = tempfile::tempdir().unwrap();
        let requests = AgencyRequests::of(&folder.path().join("requests.jsonl"));
        assert_eq!(requests.open().unwrap(), []);
        let now = Timestamp::from_unix_s(5);
        let first = requests.ask(RequestKind::Register, "a", agency("H26.99"), now).unwrap();
        assert_eq!(
            requests.ask(RequestKind::Register, "a", agency("H26.99"), Timestamp::from_unix_s(9)).unwrap(),
            first
        );
        let second = requests.ask(RequestKind::Delete, "a", agency("H26.99"), now).unwrap();
        assert_eq!((first.number, second.number), (1, 2));
        assert_eq!(requests.open().unwrap(), [first, second.clone()]);
        requests.done(1, now).unwrap();
        assert_eq!(requests.open().unwrap(), [second]);
        assert!(matches!(requests.done(1, now), Err(RequestsError::Unknown { number: 1 })));
        // Asked again after it was dealt with: a new request.
        assert_eq!(requests.ask(RequestKind::Register, "a", agency("H26.99"), now).unwrap().number, 3);
    }

    #[test]
    fn a_line_cut_off_by_a_power_cut_is_none_and_harms_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.jsonl");
        let requests = AgencyRequests::of(&path);
        requests.ask(RequestKind::Delete, "a", agency("H26.1"), Timestamp::EPOCH).unwrap();
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"asked\":{\"num");
        fs::write(&path, &text).unwrap();
        assert_eq!(requests.open().unwrap().len(), 1);
        requests.ask(RequestKind::Delete, "a", agency("H26.2"), Timestamp::EPOCH).unwrap();
        assert_eq!(requests.open().unwrap().len(), 2);
        fs::write(&path, "nonsense\n").unwrap();
        assert!(matches!(requests.open(), Err(RequestsError::Malformed { line: 1, .. })));
    }
}
