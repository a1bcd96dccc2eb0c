//! Notes on what was done to the node at its own machine, taken into its ledger.

use std::{sync::Arc, time::Duration};

use tracing::{error, info, warn};
use truc_custody::deeds;
pub use truc_custody::deeds::{NoteError, at_the_machine, done, draft, leave, put};

use crate::{
    service::administration::record,
    shell::{Shell, blocking},
};

/// How often notes are looked for.
const EVERY: Duration = Duration::from_secs(5);

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
    let listed = match blocking("looking for notes", move || deeds::names(&folder)).await {
        Ok(Ok(listed)) => listed,
        Ok(Err(source)) => return warn!(error = %source, "notes for the ledger cannot be read"),
        Err(error) => return warn!(%error, "notes for the ledger cannot be read"),
    };
    for name in listed {
        // One after the other: the core knows the last one again, should its file come back.
        let file = shell.notes_folder.join(&name);
        let reading = file.clone();
        let taken = match blocking("reading a note", move || deeds::read(&reading)).await {
            Ok(Ok(note)) => record(shell, note.deed, Some(note.digest)).await.map_err(|error| error.to_string()),
            Ok(Err(source)) => Err(source.to_string()),
            Err(error) => return warn!(note = name, %error, "a note for the ledger cannot be read"),
        };
        if *shell.stopping.borrow() && taken.is_err() {
            return;
        }
        match &taken {
            Ok(position) => info!(note = name, position, "written into the ledger"),
            Err(error) => error!(
                note = name,
                error, "a note for the ledger cannot be used; it is put aside as .refused: read it and say it anew"
            ),
        }
        let done = move || match taken {
            Ok(_) => deeds::take_away(&file),
            Err(_) => deeds::put_aside(&file).map(drop),
        };
        if let Ok(Err(error)) = blocking("removing a note", done).await {
            return warn!(%error, "a note for the ledger cannot be removed; it stands there once");
        }
    }
}
