//! What others say of a checkpoint that a certificate signed, beside its owner: a time-stamp, cosignatures. What goes out without is kept in mind and shown
//! once more when there is more to show; whoever holds a proof puts only one in its place under which others say strictly more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use truc_proto::limits::UNATTESTED_WITHOUT_WITNESS;

/// What became of one thing that others were to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Attestation {
    /// Nobody was to be asked: settings name no authority, or a version wrote this that asked nobody.
    #[default]
    NotAsked,
    /// Somebody is to be asked and has not said it yet: what it proves is to be shown again once that has come.
    Awaited,
    /// It is there.
    There,
    /// Nobody can say it yet: the directory lists no witness. Waited for as if awaited, but for fewer leaves.
    NobodyYet,
}

impl Attestation {
    /// As it stands in journals.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::NotAsked => 0,
            Self::Awaited => 1,
            Self::There => 2,
            Self::NobodyYet => 3,
        }
    }

    /// From a journal; what is not known there is taken as not asked.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Awaited,
            2 => Self::There,
            3 => Self::NobodyYet,
            _ => Self::NotAsked,
        }
    }

    const fn is_wanted(self) -> bool {
        !matches!(self, Self::NotAsked)
    }
}

/// What became of all that others were to say of one checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Attestations {
    /// A time-stamp on the certificate's signature.
    pub stamp: Attestation,
    /// Cosignatures: the relay's under a node's checkpoint, under the relay's as many as [`crate::Directory::cosigners_wanted`].
    pub cosignature: Attestation,
}

impl Attestations {
    /// From the numbers of a journal.
    #[must_use]
    pub const fn from_numbers(stamp: u32, cosignature: u32) -> Self {
        Self { stamp: Attestation::from_number(stamp), cosignature: Attestation::from_number(cosignature) }
    }

    /// What is there.
    #[must_use]
    pub fn there(self) -> Attested {
        let is = |one| one == Attestation::There;
        Attested { stamped: is(self.stamp), cosigned: is(self.cosignature) }
    }

    /// What was wanted, there or not.
    #[must_use]
    pub const fn wanted(self) -> Attested {
        Attested { stamped: self.stamp.is_wanted(), cosigned: self.cosignature.is_wanted() }
    }

    /// Whether something that was wanted is missing.
    #[must_use]
    pub fn lacks(self) -> bool {
        self.wanted().exceeds(self.there())
    }

    /// How many leaves may wait for what is missing, of at most `most`: fewer while all of it can be said by nobody yet.
    #[must_use]
    pub fn waiting_max(self, most: usize) -> usize {
        let for_nobody = self.cosignature == Attestation::NobodyYet && self.stamp != Attestation::Awaited;
        if for_nobody { most / UNATTESTED_WITHOUT_WITNESS } else { most }
    }

    /// Whether there is somebody to ask now for what is missing, of those who stamp and of those who cosign.
    #[must_use]
    pub fn may_gain(self, may_stamp: impl FnOnce() -> bool, may_cosign: impl FnOnce() -> bool) -> bool {
        (self.stamp == Attestation::Awaited && may_stamp()) || (self.cosignature != Attestation::There && may_cosign())
    }
}

/// What others said: a set of two. The order of the derive is for maps; which of two says more is [`Attested::exceeds`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Attested {
    /// The certificate's signature carries a time-stamp.
    pub stamped: bool,
    /// Enough of the witnesses that the directory lists cosigned.
    pub cosigned: bool,
}

impl Attested {
    /// Nothing.
    pub const NONE: Self = Self { stamped: false, cosigned: false };
    /// Every set.
    pub const ALL: [Self; 4] = [
        Self::NONE,
        Self { stamped: true, cosigned: false },
        Self { stamped: false, cosigned: true },
        Self { stamped: true, cosigned: true },
    ];

    /// Whether this says all that `other` says.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        (self.stamped || !other.stamped) && (self.cosigned || !other.cosigned)
    }

    /// Whether this says all that `other` says, and more.
    #[must_use]
    pub const fn exceeds(self, other: Self) -> bool {
        self.covers(other) && !other.covers(self)
    }

    /// True for the empty set.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        !self.stamped && !self.cosigned
    }
}

/// Own leaves by their index that others hold finally, but with less than was wanted, each under the set that it went out with. A leaf goes out again only
/// with strictly more, so at most twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unattested<T> {
    by_set: BTreeMap<Attested, BTreeMap<u64, T>>,
}

impl<T> Default for Unattested<T> {
    fn default() -> Self {
        Self { by_set: BTreeMap::new() }
    }
}

impl<T> Unattested<T> {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_set.values().map(BTreeMap::len).sum()
    }

    /// True when none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_set.values().all(BTreeMap::is_empty)
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<&T> {
        self.by_set.values().find_map(|leaves| leaves.get(&index))
    }

    /// All, with what they went out with.
    pub fn iter(&self) -> impl Iterator<Item = (Attested, u64, &T)> {
        self.by_set.iter().flat_map(|(had, leaves)| leaves.iter().map(move |(index, leaf)| (*had, *index, leaf)))
    }

    /// A leaf went out with this.
    pub fn insert(&mut self, had: Attested, index: u64, leaf: T) {
        self.remove(index);
        self.by_set.entry(had).or_default().insert(index, leaf);
    }

    /// Nobody waits for it any more.
    pub fn remove(&mut self, index: u64) -> Option<T> {
        self.by_set.values_mut().find_map(|leaves| leaves.remove(&index))
    }

    /// The leaves about which a checkpoint over `size` leaves with this says more than they went out with.
    pub fn bettered(&self, there: Attested, size: u64) -> impl Iterator<Item = &u64> {
        let sets = self.by_set.iter().filter(move |(had, _)| there.exceeds(**had));
        sets.flat_map(move |(_, leaves)| leaves.range(..size).map(|(index, _)| index))
    }

    /// The same, taken out, in rising order.
    pub fn take_bettered(&mut self, there: Attested, size: u64) -> BTreeMap<u64, T> {
        let mut taken = BTreeMap::new();
        for (_, leaves) in self.by_set.iter_mut().filter(|(had, _)| there.exceeds(**had)) {
            let later = leaves.split_off(&size);
            taken.append(&mut std::mem::replace(leaves, later));
        }
        taken
    }

    /// Forgets those that nothing better will come for: no more is wanted than they went out with.
    pub fn keep_those_that_may_gain(&mut self, wanted: Attested) {
        self.by_set.retain(|had, leaves| wanted.exceeds(*had) && !leaves.is_empty());
    }

    /// Takes the oldest out: what others say proves the less, the later they say it.
    pub fn pop_first(&mut self) -> Option<(u64, T)> {
        let first = |leaves: &BTreeMap<u64, T>| leaves.first_key_value().map(|(index, _)| *index);
        let oldest = self.by_set.values_mut().filter(|leaves| !leaves.is_empty()).min_by_key(|leaves| first(leaves))?;
        oldest.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMPED: Attested = Attested { stamped: true, cosigned: false };
    const COSIGNED: Attested = Attested { stamped: false, cosigned: true };
    const BOTH: Attested = Attested { stamped: true, cosigned: true };

    #[test]
    fn more_is_all_of_the_other_and_something_beside() {
        for (more, less) in [(STAMPED, Attested::NONE), (COSIGNED, Attested::NONE), (BOTH, STAMPED), (BOTH, COSIGNED)] {
            assert!(more.exceeds(less) && !less.exceeds(more), "{more:?} {less:?}");
        }
        assert!(!STAMPED.exceeds(COSIGNED) && !COSIGNED.exceeds(STAMPED));
        assert!(Attested::ALL.iter().all(|set| !set.exceeds(*set)));
    }

    #[test]
    fn what_journals_hold_is_read_again_and_what_they_do_not_know_was_not_asked() {
        for one in [Attestation::NotAsked, Attestation::Awaited, Attestation::There, Attestation::NobodyYet] {
            assert_eq!(Attestation::from_number(one.number()), one);
        }
        assert_eq!(Attestations::from_numbers(0, 9), Attestations::default());
        assert!(!Attestations::default().lacks() && !Attestations::from_numbers(2, 2).lacks());
        assert!(Attestations::from_numbers(0, 3).lacks() && Attestations::from_numbers(2, 1).lacks());
    }

    #[test]
    fn a_leaf_gains_at_most_twice_and_the_oldest_go_first() {
        let mut waiting = Unattested::default();
        for (index, had) in [(3, Attested::NONE), (1, STAMPED), (2, COSIGNED), (9, Attested::NONE)] {
            waiting.insert(had, index, index);
        }
        let bettered = |waiting: &Unattested<u64>, there, size| {
            let mut all: Vec<u64> = waiting.bettered(there, size).copied().collect();
            all.sort_unstable();
            all
        };
        assert!(bettered(&waiting, Attested::NONE, 10).is_empty());
        assert_eq!(bettered(&waiting, STAMPED, 9), [3], "not what the tree does not cover, not what another set has");
        assert_eq!(bettered(&waiting, BOTH, 10), [1, 2, 3, 9]);
        let again = waiting.take_bettered(COSIGNED, 9);
        assert_eq!(again.keys().copied().collect::<Vec<_>>(), [3]);
        waiting.insert(COSIGNED, 3, 3);
        assert_eq!((waiting.len(), waiting.get(3)), (4, Some(&3)));
        assert_eq!(waiting.pop_first(), Some((1, 1)));
        // No time-stamp is wanted any more: what has the cosignature has all.
        waiting.keep_those_that_may_gain(COSIGNED);
        assert_eq!(waiting.iter().map(|(_, index, _)| index).collect::<Vec<_>>(), [9]);
        waiting.keep_those_that_may_gain(Attested::NONE);
        assert!(waiting.is_empty());
    }
}
