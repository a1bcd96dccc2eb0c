//! Proofs that a node showed two histories, as files that can be handed on. The journal has them in any case.

use std::{path::PathBuf, sync::Arc};

use truc_evidence::ForkFile;
use truc_ledger::Position;

use super::{Service, blocking};
use crate::{
    records::Body,
    store::{Store, StoreError},
};

impl<S: Store> Service<S> {
    /// Makes a file of each proof, those of earlier runs that have none among them, for as long as the relay runs.
    pub async fn keep_forks(self: Arc<Self>, folder: PathBuf) {
        let mut forked = self.store.forked();
        loop {
            forked.borrow_and_update();
            match self.store.forks().await {
                Ok(forks) => {
                    for (node, position) in forks {
                        let (service, folder) = (Arc::clone(&self), folder.clone());
                        let kept = blocking(move || service.keep_fork(position, folder)).await;
                        match kept {
                            Ok(Ok(Some(file))) => {
                                tracing::error!(%node, file = %file.display(), "alarm: two histories; both checkpoints are kept, `truc fork show` tells what they prove");
                            }
                            Ok(Ok(None)) => {
                                tracing::error!(%node, "alarm: two histories; both stand in the journal, there are too many files to make another")
                            }
                            Ok(Err(error)) => {
                                tracing::error!(%node, %error, "alarm: two histories; both stand in the journal, no file could be made of them")
                            }
                            Err(status) => {
                                tracing::error!(%node, %status, "alarm: two histories; both stand in the journal, no file was made of them")
                            }
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "proofs of two histories are made into files at the next start"),
            }
            if forked.changed().await.is_err() {
                return;
            }
        }
    }

    fn keep_fork(&self, position: Position, folder: PathBuf) -> Result<Option<PathBuf>, StoreError> {
        let Body::Forked(record) = self.store.read(position)?.body else {
            return Err(StoreError::Corrupt(format!("record {position} is no proof of two histories")));
        };
        let held = self.held_note(Position(record.held_at))?;
        let kept = ForkFile::new(&held, &record.shown).keep_in(&folder);
        kept.map_err(|error| StoreError::Corrupt(format!("{}: {error}", folder.display())))
    }
}
