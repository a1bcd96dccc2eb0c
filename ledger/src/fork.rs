//! No fork: peers keep the last checkpoint they saw of each other and exchange them, so that a ledger put back from an old copy notices that it is
//! old before it signs, and a ledger that shows two histories leaves proof. Pure: notes and proofs come in, verdicts go out.

use truc_proto::{Checkpoint, CheckpointError, Digest, NoteKey, NoteVerifyError, SignedNote};

use crate::merkle::verify_consistency;

/// A note whose text is a checkpoint of the expected origin and whose line by the ledger's key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCheckpoint {
    note: SignedNote,
    checkpoint: Checkpoint,
}

/// Why a note is no checkpoint of a ledger. It accuses nobody: whoever sent it could have made it up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeldError {
    /// The note's text is something else.
    #[error(transparent)]
    Text(#[from] CheckpointError),
    /// Of another ledger.
    #[error("the checkpoint is of ledger {found}, not of {expected}")]
    OtherOrigin {
        /// What it says.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// Not signed by that ledger's key.
    #[error(transparent)]
    Signature(#[from] NoteVerifyError),
}

impl HeldCheckpoint {
    /// Checks a note against the ledger's key, whose name is the ledger's origin.
    ///
    /// # Errors
    /// [`HeldError`].
    pub fn check(note: SignedNote, key: &NoteKey) -> Result<Self, HeldError> {
        let checkpoint = Checkpoint::of_note(&note)?;
        if checkpoint.origin() != key.name() {
            return Err(HeldError::OtherOrigin {
                found: checkpoint.origin().to_owned(),
                expected: key.name().to_owned(),
            });
        }
        key.verify(&note)?;
        Ok(Self { note, checkpoint })
    }

    /// The note as it was received.
    #[must_use]
    pub const fn note(&self) -> &SignedNote {
        &self.note
    }

    /// What it states.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// How our own ledger stands to what a peer holds of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The peer holds nothing of us: it is our first meeting.
    NothingHeld,
    /// What the peer holds is a prefix of what we have.
    Consistent,
    /// The peer holds a later checkpoint with our own signature: we are an old copy. Nothing may be signed under this origin; see the recovery chapter.
    WeAreBehind {
        /// Our own signature over the later state.
        theirs: Box<HeldCheckpoint>,
    },
    /// The peer holds a checkpoint with our signature that is not a prefix of what we have: two processes sign for this ledger, or its journal changed.
    Fork {
        /// What we have.
        ours: Box<HeldCheckpoint>,
        /// What the peer holds.
        theirs: Box<HeldCheckpoint>,
    },
}

impl Standing {
    /// Whether signatures may leave the process as far as this peer is concerned.
    #[must_use]
    pub const fn may_sign(&self) -> bool {
        matches!(self, Self::NothingHeld | Self::Consistent)
    }
}

/// Our own side of the exchange.
#[derive(Debug, Clone)]
pub struct ForkGuard {
    key: NoteKey,
}

impl ForkGuard {
    /// For the ledger whose checkpoints `key` signs.
    #[must_use]
    pub const fn new(key: NoteKey) -> Self {
        Self { key }
    }

    /// Judges what a peer holds of us against `ours`, our newest checkpoint. `root_at` gives the root of our first `size` leaves, and is asked only
    /// for a size that we have; `None` means that it cannot be told now.
    ///
    /// # Errors
    /// [`ExchangeError`]: then nothing was learnt, and nothing may be signed yet.
    pub fn exchange(
        &self,
        ours: &SignedNote,
        held_by_peer: Option<SignedNote>,
        root_at: impl FnOnce(u64) -> Option<Digest>,
    ) -> Result<Standing, ExchangeError> {
        let Some(theirs) = held_by_peer else { return Ok(Standing::NothingHeld) };
        let theirs = HeldCheckpoint::check(theirs, &self.key).map_err(ExchangeError::Theirs)?;
        let ours = HeldCheckpoint::check(ours.clone(), &self.key).map_err(ExchangeError::Ours)?;
        let size = theirs.checkpoint.size;
        if size > ours.checkpoint.size {
            return Ok(Standing::WeAreBehind { theirs: Box::new(theirs) });
        }
        let root = if size == ours.checkpoint.size {
            ours.checkpoint.root
        } else {
            root_at(size).ok_or(ExchangeError::NoRoot { size })?
        };
        if root == theirs.checkpoint.root {
            return Ok(Standing::Consistent);
        }
        Ok(Standing::Fork { ours: Box::new(ours), theirs: Box::new(theirs) })
    }
}

/// Why an exchange told nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The peer sent something that is not a checkpoint of ours.
    #[error("what the peer holds as our checkpoint is none: the peer is at fault")]
    Theirs(#[source] HeldError),
    /// Our own head is not signed by our key.
    #[error("our own checkpoint does not hold")]
    Ours(#[source] HeldError),
    /// Our own tree does not answer.
    #[error("the root of our first {size} leaves cannot be told now, try again")]
    NoRoot {
        /// The size asked for.
        size: u64,
    },
}

/// What a newer checkpoint of a peer's ledger turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// It grew, or is the same; it is held from now on.
    Grown,
    /// Two signed checkpoints that cannot both be of one growing ledger. Both are kept: stop accepting from it, raise the alarm, show them.
    Fork {
        /// What was held.
        held: Box<HeldCheckpoint>,
        /// What came.
        theirs: Box<HeldCheckpoint>,
    },
    /// As its newest the peer shows a smaller tree than it signed before: it was truncated, or put back from an old copy.
    Truncated {
        /// What was held.
        held: Box<HeldCheckpoint>,
        /// What came.
        theirs: Box<HeldCheckpoint>,
    },
    /// A larger tree without a proof that it begins with the one held. Nothing may be accepted from it until it is proven; it is not held.
    Unproven {
        /// What was held.
        held: Box<HeldCheckpoint>,
        /// What came.
        theirs: Box<HeldCheckpoint>,
    },
}

/// What we know of one peer's ledger: the newest checkpoint that was proven to continue the ones before.
#[derive(Debug, Clone)]
pub struct PeerLog {
    key: NoteKey,
    held: Option<HeldCheckpoint>,
}

impl PeerLog {
    /// Of the ledger whose checkpoints `key` signs, with what was kept of it.
    ///
    /// # Errors
    /// [`HeldError`] when what was kept is no checkpoint of that ledger.
    pub fn new(key: NoteKey, held: Option<SignedNote>) -> Result<Self, HeldError> {
        let held = held.map(|note| HeldCheckpoint::check(note, &key)).transpose()?;
        Ok(Self { key, held })
    }

    /// The checkpoint held, for the exchange and for asking a proof from there.
    #[must_use]
    pub const fn held(&self) -> Option<&HeldCheckpoint> {
        self.held.as_ref()
    }

    /// Takes the checkpoint that the peer now shows as its newest, with the proof that it continues the one held (empty where none is needed).
    /// Anything but [`Observation::Grown`] leaves what is held as it was.
    ///
    /// # Errors
    /// [`HeldError`] when it is no checkpoint of that ledger at all.
    pub fn observe(&mut self, newest: SignedNote, proof: &[Digest]) -> Result<Observation, HeldError> {
        let theirs = HeldCheckpoint::check(newest, &self.key)?;
        let Some(held) = self.held.clone() else {
            self.held = Some(theirs);
            return Ok(Observation::Grown);
        };
        let (old, new) = (&held.checkpoint, &theirs.checkpoint);
        let (held, theirs) = (Box::new(held.clone()), Box::new(theirs.clone()));
        if new.size < old.size {
            return Ok(Observation::Truncated { held, theirs });
        }
        if new.size == old.size {
            return Ok(if new.root == old.root { Observation::Grown } else { Observation::Fork { held, theirs } });
        }
        if verify_consistency(old.size, &old.root, new.size, &new.root, proof).is_err() {
            return Ok(Observation::Unproven { held, theirs });
        }
        self.held = Some(*theirs);
        Ok(Observation::Grown)
    }

    /// Checks an older checkpoint of the peer (one inside a receipt, say) against the one held, with the proof from it to the held one.
    /// `None` when nothing is held yet.
    ///
    /// # Errors
    /// [`HeldError`] when it is no checkpoint of that ledger at all.
    pub fn check_older(&self, older: SignedNote, proof: &[Digest]) -> Result<Option<Observation>, HeldError> {
        let theirs = HeldCheckpoint::check(older, &self.key)?;
        let Some(held) = &self.held else { return Ok(None) };
        let (old, new) = (&theirs.checkpoint, &held.checkpoint);
        let both = || (Box::new(held.clone()), Box::new(theirs.clone()));
        Ok(Some(if verify_consistency(old.size, &old.root, new.size, &new.root, proof).is_ok() {
            Observation::Grown
        } else {
            let (held, theirs) = both();
            // Of one size with another root no proof can exist: that is a fork by itself.
            if old.size == new.size {
                Observation::Fork { held, theirs }
            } else {
                Observation::Unproven { held, theirs }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LedgerKey, merkle::MemTree};

    fn tree(count: u8, fork_at: u8) -> MemTree {
        MemTree::of((0..count).map(|n| [n, u8::from(n >= fork_at)]))
    }

    fn note(key: &LedgerKey, tree: &MemTree) -> SignedNote {
        key.sign(&Checkpoint::new(key.public().name(), tree.size(), tree.root()).unwrap())
    }

    fn key(seed: u8) -> LedgerKey {
        LedgerKey::from_seed("truc.dev/peer", &[seed; 32]).unwrap()
    }

    #[test]
    fn exchange_tells_first_meeting_prefix_old_copy_and_fork() {
        let key = key(1);
        let guard = ForkGuard::new(key.public().clone());
        let ours = tree(20, 255);
        let judge = |held| guard.exchange(&note(&key, &ours), held, |size| ours.root_at(size));
        assert_eq!(judge(None), Ok(Standing::NothingHeld));
        assert_eq!(judge(Some(note(&key, &tree(20, 255)))), Ok(Standing::Consistent));
        assert_eq!(judge(Some(note(&key, &tree(7, 255)))), Ok(Standing::Consistent));
        assert_eq!(judge(Some(note(&key, &tree(0, 255)))), Ok(Standing::Consistent));
        let behind = judge(Some(note(&key, &tree(21, 255)))).unwrap();
        assert!(
            matches!(&behind, Standing::WeAreBehind { theirs } if theirs.checkpoint().size == 21) && !behind.may_sign()
        );
        for size in [15, 20] {
            let fork = judge(Some(note(&key, &tree(size, 9)))).unwrap();
            assert!(
                matches!(&fork, Standing::Fork { ours, theirs } if ours.checkpoint().size == 20 && theirs.checkpoint().size == u64::from(size))
            );
            assert!(!fork.may_sign());
        }
        let stranger = LedgerKey::from_seed("truc.dev/peer", &[2; 32]).unwrap();
        assert!(matches!(
            judge(Some(note(&stranger, &tree(21, 255)))),
            Err(ExchangeError::Theirs(HeldError::Signature(_)))
        ));
        let other = LedgerKey::from_seed("truc.dev/other", &[1; 32]).unwrap();
        assert!(matches!(
            judge(Some(note(&other, &tree(21, 255)))),
            Err(ExchangeError::Theirs(HeldError::OtherOrigin { .. }))
        ));
        assert_eq!(
            guard.exchange(&note(&key, &ours), Some(note(&key, &tree(7, 255))), |_| None),
            Err(ExchangeError::NoRoot { size: 7 })
        );
    }

    #[test]
    fn a_peer_that_grows_is_followed_and_one_that_lies_leaves_both_checkpoints() {
        let key = key(1);
        let mut log = PeerLog::new(key.public().clone(), None).unwrap();
        assert_eq!(log.observe(note(&key, &tree(5, 255)), &[]), Ok(Observation::Grown));
        let grown = tree(12, 255);
        assert!(matches!(log.observe(note(&key, &grown), &[]), Ok(Observation::Unproven { .. })));
        assert_eq!(log.held().unwrap().checkpoint().size, 5);
        assert_eq!(log.observe(note(&key, &grown), &grown.consistency(5, 12).unwrap()), Ok(Observation::Grown));
        assert_eq!(log.observe(note(&key, &grown), &[]), Ok(Observation::Grown));
        let other = tree(12, 9);
        assert!(
            matches!(log.observe(note(&key, &other), &[]), Ok(Observation::Fork { held, theirs }) if held.checkpoint() != theirs.checkpoint())
        );
        let forked = tree(30, 9);
        let proof = forked.consistency(12, 30).unwrap();
        assert!(matches!(log.observe(note(&key, &forked), &proof), Ok(Observation::Unproven { .. })));
        assert!(matches!(log.observe(note(&key, &tree(11, 255)), &[]), Ok(Observation::Truncated { .. })));
        assert_eq!(log.held().unwrap().checkpoint().size, 12);
        let older =
            |count, fork, proof: &[Digest]| log.check_older(note(&key, &tree(count, fork)), proof).unwrap().unwrap();
        assert_eq!(older(7, 255, &grown.consistency(7, 12).unwrap()), Observation::Grown);
        assert!(matches!(older(11, 9, &grown.consistency(11, 12).unwrap()), Observation::Unproven { .. }));
        assert!(matches!(older(12, 9, &[]), Observation::Fork { .. }));
        // What it did not sign accuses it of nothing.
        let stranger = LedgerKey::from_seed("truc.dev/peer", &[2; 32]).unwrap();
        assert!(matches!(log.check_older(note(&stranger, &tree(7, 5)), &[]), Err(HeldError::Signature(_))));
    }
}
