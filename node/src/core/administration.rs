//! What administrators did to this node: a leaf each, and in its record where the one before stands. So the whole log is read backwards from the newest
//! one, and the fold keeps no more than where that is.

use serde::{Deserialize, Serialize};
pub use truc_custody::deeds::Deed;
use truc_proto::{Digest, Timestamp};

use super::{Answer, Core, Effect, Token, digest};
use crate::records::{self, Body, Place, RecordError};

/// The end of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Newest {
    /// Position of its record.
    position: Option<u64>,
    /// The note that was taken last, and the position of what it became.
    note: Option<(Digest, u64)>,
}

/// What a leaf stands for beside itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Something was done.
    Done {
        /// It was left as this note.
        note: Option<Digest>,
        /// It was this wish, which a second administrator agreed to.
        wish: Option<u64>,
    },
    /// A second administrator answered.
    Answered {
        /// This wish.
        wish: u64,
        /// He agreed.
        approved: bool,
    },
}

impl Core {
    /// Position of the newest record about what an administrator did; each names the one before.
    #[must_use]
    pub const fn newest_deed(&self) -> Option<u64> {
        self.deeds.position
    }

    /// Writes it down; one taken from the note that was taken last is written already. The answer leaves once it is on the device (I1).
    pub(super) fn administer(
        &mut self,
        now: Timestamp,
        deed: Deed,
        note: Option<Digest>,
        wish: Option<u64>,
        reply: Option<Token>,
    ) {
        if let Some((known, position)) = self.deeds.note
            && note == Some(known)
        {
            return self.reply(reply, Answer::Administered { position });
        }
        self.write_deed(now, deed, Step::Done { note, wish }, reply);
    }

    pub(super) fn write_deed(&mut self, now: Timestamp, deed: Deed, step: Step, reply: Option<Token>) {
        let leaf = match deed.stated(self.policy.node.clone(), now) {
            Ok(leaf) => leaf,
            Err(error) => return self.reply(reply, Answer::Unfit(error.to_string())),
        };
        let (note, wish, approved) = match step {
            Step::Done { note, wish } => (note, wish, None),
            Step::Answered { wish, approved } => (None, Some(wish), Some(approved)),
        };
        let note = note.map(|note| note.as_bytes().to_vec()).unwrap_or_default();
        let record = records::Administered { previous: self.deeds.position, note, wish, approved };
        if let Some(place) = self.commit(Body::Administered(record), Some(leaf.bytes().clone())) {
            self.effects.push(Effect::Sign);
            self.reply(reply, Answer::Administered { position: place.position });
        }
    }

    pub(super) fn fold_administered(
        &mut self,
        place: Place,
        record: &records::Administered,
        leaf: Option<&[u8]>,
    ) -> Result<(), RecordError> {
        let note = Some(&record.note).filter(|note| !note.is_empty()).map(|note| digest(note, "note")).transpose()?;
        let step = match (record.wish, record.approved) {
            (Some(wish), Some(approved)) => Step::Answered { wish, approved },
            (wish, _) => Step::Done { note, wish },
        };
        self.fold_step(step, leaf)?;
        let note = note.map(|note| (note, place.position)).or(self.deeds.note);
        self.deeds = Newest { position: Some(place.position), note };
        Ok(())
    }
}
