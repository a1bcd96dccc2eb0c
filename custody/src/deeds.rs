//! What was done to a node or a relay at its own machine, by commands that do not talk to a running one: each leaves a note, a file of its own, which is
//! written into the ledger at the next start, or within seconds where it runs, and removed then. A note becomes one leaf, whatever is cut off in between.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use truc_proto::{
    AdminAction, AdminSubject, Administration, Administrator, CallerRole, Digest, NodeId, Raw, StatementError,
    Timestamp,
    limits::{ADMINISTRATION_NOTE_BYTES_MAX, ADMINISTRATION_NOTES_MAX},
};

use crate::files::{read_private, replace_private, sync};

/// Where notes lie in a folder of a node or relay.
pub const NOTES: &str = "store/administration";
/// What a note's name ends with; that of one which cannot be used, and waits for a person.
const NOTE: &str = ".note";
const REFUSED: &str = "refused";

/// Something that was done, before it stands in the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Deed {
    /// What.
    pub action: AdminAction,
    /// To what.
    pub subject: AdminSubject,
    /// Who asked for it.
    pub who: Administrator,
    /// Who agreed to it, where two had to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<Administrator>,
    /// Why, in words.
    pub why: String,
    /// When, where it is written down later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Timestamp>,
}

impl Deed {
    /// Whether it could stand in the ledger.
    ///
    /// # Errors
    /// When a text is empty, too long or not one readable line.
    pub fn check(&self, node: &NodeId) -> Result<(), StatementError> {
        self.clone().stated(node.clone(), Timestamp::EPOCH).map(|_| ())
    }

    /// As it is written at `time`.
    ///
    /// # Errors
    /// As [`Deed::check`].
    pub fn stated(self, node: NodeId, time: Timestamp) -> Result<Raw<Administration>, StatementError> {
        let Self { action, subject, who, approved_by, why, done } = self;
        Raw::write(Administration { node, time, action, subject, who, approved_by, why, done })
    }
}

/// Why no note was left.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// It could not stand in the ledger.
    #[error("this cannot be written down; correct who, what or why")]
    Unfit(#[from] StatementError),
    /// The file system.
    #[error("cannot leave a note for the ledger in {}", folder.display())]
    Io {
        /// Where notes lie.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// As many as may be.
    #[error("{ADMINISTRATION_NOTES_MAX} notes wait in {} already; start the node, which writes them into its ledger", folder.display())]
    TooMany {
        /// Where notes lie.
        folder: PathBuf,
    },
}

/// Who does it, and why: stands in the ledger.
#[derive(clap::Args, Clone, Debug)]
pub struct Reasoned {
    /// Why, for the ledger.
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// Who asked for it. Default: the user of this session.
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
}

impl Reasoned {
    /// What is about to be done, in words that the ledger takes: found out before anything is changed.
    ///
    /// # Errors
    /// When it could not stand in the ledger.
    pub fn deed(
        self,
        node: &NodeId,
        action: AdminAction,
        subject: AdminSubject,
        now: Timestamp,
    ) -> anyhow::Result<Deed> {
        let deed = done(action, subject, at_the_machine(self.who), self.why, now);
        deed.check(node).context("nothing was done; correct --who or --why")?;
        Ok(deed)
    }
}

/// Who sits at the machine and may write the files: as given, or as the system knows him.
#[must_use]
pub fn at_the_machine(who: Option<String>) -> Administrator {
    let named = |name: &str| std::env::var(name).ok().filter(|user| !user.trim().is_empty());
    let system = || named("SUDO_USER").or_else(|| named("USER")).or_else(|| named("LOGNAME"));
    let name = who.or_else(system).unwrap_or_else(|| "the system's administrator".to_owned());
    Administrator { name, role: CallerRole::CipherAdmin }
}

/// What was done at the machine just now.
#[must_use]
pub fn done(action: AdminAction, subject: AdminSubject, who: Administrator, why: String, now: Timestamp) -> Deed {
    Deed { action, subject, who, approved_by: None, why, done: Some(now) }
}

/// Leaves a note for the ledger; it is on the device when this returns.
///
/// # Errors
/// When it could not stand in the ledger, or cannot be written.
pub fn leave(folder: &Path, node: &NodeId, deed: &Deed) -> Result<(), NoteError> {
    let Draft { name, bytes } = draft(folder, node, deed)?;
    put(folder, &name, &bytes).map_err(|source| NoteError::Io { folder: folder.to_owned(), source })
}

/// A note that is not left yet.
#[derive(Debug)]
pub struct Draft {
    /// Of its file.
    pub name: String,
    /// Its text.
    pub bytes: Vec<u8>,
}

/// A note to be left later, under its name: left twice, it is one.
///
/// # Errors
/// As [`leave`].
pub fn draft(folder: &Path, node: &NodeId, deed: &Deed) -> Result<Draft, NoteError> {
    deed.check(node)?;
    let failed = |source| NoteError::Io { folder: folder.to_owned(), source };
    if names(folder).map_err(failed)?.len() >= ADMINISTRATION_NOTES_MAX {
        return Err(NoteError::TooMany { folder: folder.to_owned() });
    }
    let bytes = serde_json::to_vec(deed).map_err(|error| failed(error.into()))?;
    let mut random = [0; 8];
    SystemRandom::new().fill(&mut random).map_err(|_| failed(io::Error::other("no random bytes")))?;
    let at = deed.done.map_or(0, Timestamp::unix_ms);
    // By time, so that they are taken in the order in which they were left.
    Ok(Draft { name: format!("{at:020}-{}{NOTE}", HEXLOWER.encode(&random)), bytes })
}

/// Leaves a note under its name; it is on the device when this returns.
///
/// # Errors
/// When it cannot be written.
pub fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    replace_private(&folder.join(name), bytes)?;
    folder.parent().map_or(Ok(()), sync)
}

/// A note that waits, as it was read.
#[derive(Debug)]
pub struct Note {
    /// What was done.
    pub deed: Deed,
    /// SHA-256 of its text: one that comes again is known by it.
    pub digest: Digest,
}

/// Reads one note.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn read(path: &Path) -> io::Result<Note> {
    let (text, _) = read_private(path, ADMINISTRATION_NOTE_BYTES_MAX)?;
    let deed = serde_json::from_str(&text)?;
    Ok(Note { deed, digest: Digest::of(text.as_bytes()) })
}

/// Takes a note away that stands in the ledger now.
///
/// # Errors
/// When it cannot be removed.
pub fn take_away(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    path.parent().map_or(Ok(()), sync)
}

/// Puts a note that cannot be used aside, for a person to read; returns where it is then.
///
/// # Errors
/// When it cannot be renamed.
pub fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = path.with_extension(REFUSED);
    fs::rename(path, &aside)?;
    path.parent().map_or(Ok(()), sync)?;
    Ok(aside)
}

/// Names of the notes that wait, the oldest first; none where there is no folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && name.ends_with(NOTE)
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, why: &str) -> Deed {
        let who = at_the_machine(Some("lan".into()));
        done(AdminAction::TokenMade, AdminSubject::named(name), who, why.into(), Timestamp::from_unix_s(5))
    }

    #[test]
    fn a_note_is_a_private_file_and_one_that_could_not_stand_in_the_ledger_is_not_left() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (notes, node) = (folder.path().join("store/administration"), "N-A".parse().unwrap());
        assert_eq!(names(&notes).unwrap(), Vec::<String>::new());
        leave(&notes, &node, &made("vpcp", "kết nối phần mềm mới")).unwrap();
        leave(&notes, &node, &made("other", "second")).unwrap();
        let left = names(&notes).unwrap();
        assert_eq!(left.len(), 2);
        let mode = fs::metadata(notes.join(&left[0])).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(leave(&notes, &node, &made("vpcp", "")), Err(NoteError::Unfit(_))));
        assert!(matches!(leave(&notes, &node, &made("vpcp", "two\nlines")), Err(NoteError::Unfit(_))));
        assert_eq!(names(&notes).unwrap(), left);
        let (text, _) = read_private(&notes.join(&left[0]), ADMINISTRATION_NOTE_BYTES_MAX).unwrap();
        let read: Deed = serde_json::from_str(&text).unwrap();
        assert_eq!(read.who.name, "lan");
    }
}
