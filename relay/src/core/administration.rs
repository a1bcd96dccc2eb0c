//! What administrators did to the relay: a leaf each. The fold keeps no more than which note it took last, should its file come back.

use truc_custody::deeds::Deed;
use truc_proto::{AdminAction, AdminSubject, Administrator, CallerRole, Digest, Timestamp};

use super::{
    Core, Turn,
    apply::{ApplyError, digest},
    input::{NewDirectory, Refused},
};
use crate::records::{self, Body};

impl Core {
    /// Writes it down; one taken from the note that was taken last is written already. Nothing stands before the first directory's root (leaf 0).
    pub(super) fn administer(
        &mut self,
        now: Timestamp,
        deed: Deed,
        note: Option<Digest>,
        turn: &mut Turn,
    ) -> Result<(), Refused> {
        if note.is_some() && note == self.noted {
            return Ok(());
        }
        if self.directory.is_none() {
            return Err(Refused::NoDirectory);
        }
        let leaf = deed.stated(self.settings.relay.clone(), now);
        let leaf = leaf.map_err(|error| Refused::UnfitDeed { why: error.to_string() })?;
        let note = note.map(|note| note.as_bytes().to_vec()).unwrap_or_default();
        let record = records::Administered { time_ms: now.unix_ms(), note };
        self.append(Body::Administered(record), Some(leaf.bytes().to_vec()), turn);
        Ok(())
    }

    pub(super) fn apply_administered(&mut self, record: &records::Administered) -> Result<(), ApplyError> {
        self.advance(record.time_ms);
        if !record.note.is_empty() {
            self.noted = Some(digest(&record.note)?);
        }
        Ok(())
    }

    /// The operator's own deed at the relay.
    pub(super) fn note_publication(&mut self, now: Timestamp, directory: &NewDirectory, turn: &mut Turn) {
        let Some(by) = &directory.published_by else { return };
        let deed = Deed {
            action: AdminAction::DirectoryPublished,
            subject: AdminSubject::with_hash(
                format!("directory version {}", directory.version),
                Digest::of(&directory.statement),
            ),
            who: Administrator { name: by.to_string(), role: CallerRole::CipherAdmin },
            approved_by: None,
            why: "signed by the axis operator / đơn vị vận hành trục đã ký".to_owned(),
            done: None,
        };
        self.administer(now, deed, None, turn).expect("a version is in force, and these words stand in a ledger");
    }
}
