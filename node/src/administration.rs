//! What was done to a node at its own machine, by commands that do not talk to a running node: each leaves a note, a file of its own, which the node
//! writes into its ledger at its next start, or within seconds where it runs, and removes then. A note becomes one leaf, whatever is cut off in between.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom as _, SystemRandom};
use tracing::{error, info, warn};
use truc_proto::{
    AdminAction, AdminSubject, Administrator, CallerRole, Digest, NodeId, StatementError, Timestamp,
    limits::{ADMINISTRATION_NOTE_BYTES_MAX, ADMINISTRATION_NOTES_MAX},
};

use crate::{
    core::Deed,
    service::administration::record,
    shell::{Shell, blocking},
    tokens::{read_private, write_private},
};

/// How often notes are looked for.
const EVERY: Duration = Duration::from_secs(5);
/// What a note's name ends with; that of one which cannot be used, and waits for a person.
const NOTE: &str = ".note";
const REFUSED: &str = ".refused";

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

/// Who sits at the machine and may write the node's files: as given, or as the system knows him.
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

/// Leaves a note for the ledger of this node; it is on the device when this returns.
///
/// # Errors
/// When it could not stand in the ledger, or cannot be written.
pub fn leave(folder: &Path, node: &NodeId, deed: &Deed) -> Result<(), NoteError> {
    deed.check(node)?;
    let failed = |source| NoteError::Io { folder: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    if names(folder).map_err(failed)?.len() >= ADMINISTRATION_NOTES_MAX {
        return Err(NoteError::TooMany { folder: folder.to_owned() });
    }
    let bytes = serde_json::to_vec(deed).map_err(|error| failed(error.into()))?;
    let mut random = [0; 8];
    SystemRandom::new().fill(&mut random).map_err(|_| failed(io::Error::other("no random bytes")))?;
    let at = deed.done.map_or(0, Timestamp::unix_ms);
    // By time, so that they are taken in the order in which they were left.
    let name = format!("{at:020}-{}", HEXLOWER.encode(&random));
    let temporary = folder.join(format!("{name}.tmp"));
    write_private(&temporary, &bytes).map_err(failed)?;
    fs::rename(&temporary, folder.join(format!("{name}{NOTE}"))).map_err(failed)?;
    sync(folder).map_err(failed)?;
    folder.parent().map_or(Ok(()), sync).map_err(failed)
}

/// Runs until the node stops.
pub(crate) async fn run(shell: Arc<Shell>) {
    let mut stopping = shell.stopping.clone();
    loop {
        take(&shell).await;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stopping.changed() => return,
        }
    }
}

/// Writes all notes that wait into the ledger.
async fn take(shell: &Arc<Shell>) {
    let folder = shell.notes_folder.clone();
    let listed = match blocking("looking for notes", move || names(&folder)).await {
        Ok(Ok(listed)) => listed,
        Ok(Err(source)) => return warn!(error = %source, "notes for the ledger cannot be read"),
        Err(error) => return warn!(%error, "notes for the ledger cannot be read"),
    };
    for name in listed {
        // One after the other: the core knows the last one again, should its file come back.
        let file = shell.notes_folder.join(&name);
        let reading = file.clone();
        let read = blocking("reading a note", move || read_private(&reading, ADMINISTRATION_NOTE_BYTES_MAX));
        let taken = match read.await {
            Ok(Ok((text, _))) => match serde_json::from_str::<Deed>(&text) {
                Ok(deed) => {
                    let note = Some(Digest::of(text.as_bytes()));
                    record(shell, deed, note).await.map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            },
            Ok(Err(source)) => Err(source.to_string()),
            Err(error) => return warn!(note = name, %error, "a note for the ledger cannot be read"),
        };
        if *shell.stopping.borrow() && taken.is_err() {
            return;
        }
        let away = file.with_extension(REFUSED.trim_start_matches('.'));
        let put_away = match &taken {
            Ok(position) => {
                info!(note = name, position, "written into the ledger");
                None
            }
            Err(error) => {
                error!(note = name, error, renamed = %away.display(), "a note for the ledger cannot be used; read it and say it anew");
                Some(away)
            }
        };
        let done = move || -> io::Result<()> {
            match put_away {
                Some(away) => fs::rename(&file, away)?,
                None => fs::remove_file(&file)?,
            }
            file.parent().map_or(Ok(()), sync)
        };
        if let Ok(Err(error)) = blocking("removing a note", done).await {
            return warn!(%error, "a note for the ledger cannot be removed; it stands there once");
        }
    }
}

/// Names of the notes that wait, the oldest first; none where there is no folder.
fn names(folder: &Path) -> io::Result<Vec<String>> {
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

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
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
