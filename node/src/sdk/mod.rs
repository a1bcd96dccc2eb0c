//! The face for document systems that speak the axis SDK (SDKVXP 2.0.x): they move to this node by editing endpoint, system id and
//! secret in their configuration. The wire form stands in [`truc_proto::sdk`], what is done in [`crate::service`]; here is the
//! listener, who calls, and which operation means what.
//!
//! Traps of that client, and where they are answered: it reads failures from three JSON fields alone, so every answer is HTTP 200
//! with JSON (`http`); it re-sends a packet by itself when a connection ends without a reply, so a packet is accepted once by what it is
//! (`send`); it waits for ever, so every call ends (`listener`, `body`); its parser of packets is unsafe, so only packets that
//! our own reader has passed are given out (`fetch`).

mod agencies;
mod body;
mod doc_id;
mod fetch;
mod http;
mod listener;
mod lists;
mod requests;
mod send;
mod systems;
mod update;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::Semaphore;
use truc_proto::{
    AgencyId, ForeignCode,
    limits::SDK_PACKETS_MAX,
    sdk::{ErrorCode, Reply},
};
use truc_signer::storage::StorageKey;

pub use doc_id::doc_id;
pub use listener::raise_file_limit;
pub(crate) use listener::{MANNERS, serve};
pub use requests::{AgencyRequest, AgencyRequests, AgencyText, RequestKind, RequestsError};
pub(crate) use systems::rewrapped;
pub use systems::{
    LiveSystems, SecretText, System, SystemEntry, Systems, SystemsError, add_system, list_systems, remove_system,
};

use crate::{
    service::{Error, ErrorKind, send::no_directory},
    shell::Shell,
};

/// The face over a running node.
#[derive(Debug)]
pub struct Face {
    shell: Arc<Shell>,
    systems: LiveSystems,
    requests: AgencyRequests,
    /// Path before an operation's name.
    prefix: String,
    /// Where packets wait, encrypted, while they come in.
    spool: PathBuf,
    packets: Semaphore,
}

/// Files of the face.
#[derive(Clone, Debug)]
pub struct FaceFiles {
    /// The document systems; need not be there yet.
    pub systems: PathBuf,
    /// What they ask of the axis operator; need not be there yet.
    pub requests: PathBuf,
    /// Folder for packets while they come in.
    pub spool: PathBuf,
}

impl Face {
    /// Opens the face.
    ///
    /// # Errors
    /// When the systems cannot be read.
    pub fn open(shell: Arc<Shell>, files: FaceFiles, prefix: String, key: StorageKey) -> Result<Self, SystemsError> {
        Ok(Self {
            shell,
            systems: LiveSystems::open(&files.systems, key)?,
            requests: AgencyRequests::of(&files.requests),
            prefix,
            spool: files.spool,
            packets: Semaphore::new(SDK_PACKETS_MAX),
        })
    }

    /// The systems as they are now.
    ///
    /// # Errors
    /// When their file cannot be read.
    pub fn systems(&self) -> Result<Arc<Systems>, SystemsError> {
        self.systems.current()
    }

    /// The agency of a code as a client or a packet writes it, old forms included.
    fn agency(&self, written: &str) -> Result<Option<AgencyId>, Error> {
        let Ok(code) = written.parse::<ForeignCode>() else { return Ok(None) };
        let directory = self.shell.directory().ok_or_else(no_directory)?;
        Ok(directory.present_code(&code))
    }

    /// The agency that a status is for: also one that the directory does not list, whose document came from today's axis.
    fn counterpart(&self, written: &str) -> Result<Option<AgencyId>, Error> {
        if written.trim().is_empty() {
            return Ok(None);
        }
        let directory = self.shell.directory().ok_or_else(no_directory)?;
        Ok(Some(crate::pipe::sender_of(written, &directory)))
    }
}

/// A service's error in the client's words.
fn failed(error: &Error) -> Reply {
    let code = match error.kind() {
        ErrorKind::Invalid => ErrorCode::Parameter,
        ErrorKind::NotEntitled | ErrorKind::WrongRole | ErrorKind::Unknown => ErrorCode::NotEntitled,
        ErrorKind::NotFound => ErrorCode::NotFound,
        ErrorKind::NotNow | ErrorKind::Reused => ErrorCode::NotNow,
        ErrorKind::Busy | ErrorKind::Exhausted | ErrorKind::Unavailable | ErrorKind::Gone => ErrorCode::TryAgain,
        ErrorKind::Internal => ErrorCode::Internal,
    };
    Reply::fail(code, error.vietnamese())
}

fn parameter_missing(name: &str) -> Reply {
    Reply::fail(
        ErrorCode::Parameter,
        format!(
            "Thiếu tham số {name} trong lời gọi, hoặc giá trị không đọc được; hãy kiểm tra phần mềm quản lý văn bản."
        ),
    )
}

fn no_such_document() -> Reply {
    Reply::fail(
        ErrorCode::NotFound,
        "Không có văn bản nào mang docId này cho các mã của hệ thống; hãy lấy lại danh sách rồi thử lại.",
    )
}
