//! Own leaves that others have still to hear about, by index and by what they are about.

use std::collections::{BTreeMap, BTreeSet};

use super::{Key, Unsent};

/// Both orders; the one by document says whether one may leave memory, without a walk through all that waits.
#[derive(Debug, Default)]
pub(super) struct UnsentLeaves {
    leaves: BTreeMap<u64, Unsent>,
    about: BTreeSet<(Key, u64)>,
}

impl UnsentLeaves {
    pub(super) const fn leaves(&self) -> &BTreeMap<u64, Unsent> {
        &self.leaves
    }

    pub(super) fn get(&self, index: u64) -> Option<&Unsent> {
        self.leaves.get(&index)
    }

    pub(super) fn insert(&mut self, index: u64, unsent: Unsent) {
        self.remove(index);
        self.about.insert((unsent.key.clone(), index));
        self.leaves.insert(index, unsent);
    }

    pub(super) fn remove(&mut self, index: u64) {
        if let Some(unsent) = self.leaves.remove(&index) {
            self.about.remove(&(unsent.key, index));
        }
    }

    /// The leaves about one document.
    pub(super) fn about(&self, key: &Key) -> impl Iterator<Item = u64> {
        self.about.range((key.clone(), 0)..=(key.clone(), u64::MAX)).map(|(_, index)| *index)
    }
}

#[cfg(test)]
mod tests {
    use truc_proto::{Digest, EnvelopeId, Timestamp};

    use super::*;
    use crate::core::Stage;

    #[test]
    fn a_leaf_is_found_by_its_document_until_it_is_removed_or_is_about_another() {
        let key = |sender: &str, n: u8| Key {
            sender: sender.parse().unwrap(),
            envelope: EnvelopeId::new(Timestamp::from_unix_ms(1), [n; 10]),
        };
        let unsent = |key: &Key| Unsent { key: key.clone(), leaf: Digest::of(b"l"), position: 1, stage: Stage::Leaf };
        let (one, other) = (key("G22", 1), key("G22", 2));
        let mut leaves = UnsentLeaves::default();
        leaves.insert(7, unsent(&one));
        leaves.insert(3, unsent(&one));
        leaves.insert(5, unsent(&other));
        leaves.insert(3, unsent(&one));
        assert_eq!(leaves.about(&one).collect::<Vec<_>>(), [3, 7]);
        leaves.insert(7, unsent(&other));
        leaves.remove(3);
        leaves.remove(3);
        assert_eq!(leaves.about(&one).count(), 0);
        assert_eq!(leaves.about(&other).collect::<Vec<_>>(), [5, 7]);
        assert_eq!(leaves.about(&key("H26", 2)).count(), 0);
        assert_eq!(leaves.leaves().len(), leaves.about.len());
    }
}
