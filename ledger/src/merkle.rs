//! RFC 6962 hashing, inclusion and consistency proofs (RFC 9162 2.1 for their checking), and a small tree held in memory.

use truc_proto::{Digest, limits::PROOF_HASHES_MAX};

/// The hash of a leaf: SHA-256(0x00 ‖ leaf).
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest::of_parts(&[&[0], leaf])
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of_parts(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// The root of the tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf's index is not below the tree's size, or a tree is larger than 2^63.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    OutOfTree {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A smaller tree was asked to contain a larger one.
    #[error("a tree of {to} leaves cannot have grown from one of {from}")]
    Shrunk {
        /// The older size.
        from: u64,
        /// The newer size.
        to: u64,
    },
    /// More or fewer hashes than such a proof has.
    #[error("the proof has another number of hashes than a proof of this place in this tree")]
    WrongLength,
    /// The hashes lead to another root.
    #[error("the proof leads to another root than the one stated")]
    WrongRoot,
}

/// Checks that the leaf with this hash stands at `index` in the tree of `size` leaves under `root` (RFC 9162 2.1.3.2).
///
/// # Errors
/// [`ProofError`] says what does not hold.
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    if index >= size || i64::try_from(size).is_err() {
        return Err(ProofError::OutOfTree { index, size });
    }
    if proof.len() > PROOF_HASHES_MAX {
        return Err(ProofError::WrongLength);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (last, hash == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::WrongRoot),
        _ => Err(ProofError::WrongLength),
    }
}

/// Checks that the tree (`to`, `to_root`) begins with all leaves of the tree (`from`, `from_root`) (RFC 9162 2.1.4.2).
///
/// # Errors
/// [`ProofError`] says what does not hold.
pub fn verify_consistency(
    from: u64,
    from_root: &Digest,
    to: u64,
    to_root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if from > to || i64::try_from(to).is_err() {
        return Err(ProofError::Shrunk { from, to });
    }
    if proof.len() > PROOF_HASHES_MAX {
        return Err(ProofError::WrongLength);
    }
    if from == 0 || from == to {
        let old_holds = if from == 0 { *from_root == empty_root() } else { from_root == to_root };
        let new_holds = to != 0 || *to_root == empty_root();
        return match (proof.is_empty(), old_holds && new_holds) {
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::WrongRoot),
            (false, _) => Err(ProofError::WrongLength),
        };
    }
    let (mut node, mut last) = (from - 1, to - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    // A whole power of two is a node of the newer tree, and its root starts the path unsaid.
    let (start, path) = match proof.split_first() {
        _ if from.is_power_of_two() => (*from_root, proof),
        Some((first, rest)) => (*first, rest),
        None => return Err(ProofError::WrongLength),
    };
    let (mut old, mut new) = (start, start);
    for sibling in path {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            (old, new) = (node_hash(sibling, &old), node_hash(sibling, &new));
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            new = node_hash(&new, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (last, old == *from_root && new == *to_root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::WrongRoot),
        _ => Err(ProofError::WrongLength),
    }
}

/// Where the hashes of complete subtrees come from: level 0 holds leaves, entry `index` of `level` covers leaves `index << level ..`.
pub(crate) trait Nodes {
    type Error;
    fn node(&self, level: u32, index: u64) -> Result<Digest, Self::Error>;
}

/// The root over leaves `start .. start + size`, `size` > 0, `start` a multiple of the largest subtree in it.
pub(crate) fn subtree_root<N: Nodes>(nodes: &N, start: u64, size: u64) -> Result<Digest, N::Error> {
    if size.is_power_of_two() {
        return nodes.node(size.trailing_zeros(), start >> size.trailing_zeros());
    }
    let left = split(size);
    Ok(node_hash(&subtree_root(nodes, start, left)?, &subtree_root(nodes, start + left, size - left)?))
}

/// The audit path of leaf `index` in the first `size` leaves (RFC 6962 2.1.1); `index < size`.
pub(crate) fn inclusion_path<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Digest>, N::Error> {
    let (mut start, mut width, mut path) = (0, size, Vec::new());
    while width > 1 {
        let left = split(width);
        if index - start < left {
            path.push(subtree_root(nodes, start + left, width - left)?);
            width = left;
        } else {
            path.push(subtree_root(nodes, start, left)?);
            (start, width) = (start + left, width - left);
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the first `to` leaves begin with the first `from` (RFC 6962 2.1.2); `from <= to`.
pub(crate) fn consistency_path<N: Nodes>(nodes: &N, from: u64, to: u64) -> Result<Vec<Digest>, N::Error> {
    if from == 0 || from == to {
        return Ok(Vec::new());
    }
    let (mut start, mut width, mut old, mut whole, mut path) = (0, to, from, true, Vec::new());
    while old != width {
        let left = split(width);
        if old <= left {
            path.push(subtree_root(nodes, start + left, width - left)?);
            width = left;
        } else {
            path.push(subtree_root(nodes, start, left)?);
            (start, width, old, whole) = (start + left, width - left, old - left, false);
        }
    }
    if !whole {
        path.push(subtree_root(nodes, start, width)?);
    }
    path.reverse();
    Ok(path)
}

/// The largest power of two below `size` (RFC 6962: k), `size` > 1.
const fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// The right edge of a growing tree: one root per complete subtree, largest first. All that is needed to append and to know the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frontier {
    size: u64,
    roots: Vec<Digest>,
}

impl Frontier {
    /// From the roots of the complete subtrees of a tree of `size` leaves; `None` when their number does not fit.
    pub(crate) fn from_roots(size: u64, roots: Vec<Digest>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn roots(&self) -> &[Digest] {
        &self.roots
    }

    /// Takes the next leaf's hash and tells each complete subtree that it closes: (level, root), the leaf itself first.
    pub(crate) fn push(&mut self, leaf: Digest, mut closed: impl FnMut(u32, Digest)) {
        let (mut hash, mut level) = (leaf, 0);
        closed(level, hash);
        while self.size >> level & 1 == 1 {
            let left = self.roots.pop().expect("one root per bit of the size");
            hash = node_hash(&left, &hash);
            level += 1;
            closed(level, hash);
        }
        self.roots.push(hash);
        self.size += 1;
    }

    pub(crate) fn root(&self) -> Digest {
        let mut roots = self.roots.iter().rev();
        let Some(&smallest) = roots.next() else { return empty_root() };
        roots.fold(smallest, |right, left| node_hash(left, &right))
    }
}

/// A tree held in memory, for small ones such as the directory's.
#[derive(Debug, Clone, Default)]
pub struct MemTree {
    levels: Vec<Vec<Digest>>,
    frontier: Frontier,
}

impl MemTree {
    /// The tree over these leaves.
    #[must_use]
    pub fn of<L: AsRef<[u8]>>(leaves: impl IntoIterator<Item = L>) -> Self {
        let mut tree = Self::default();
        for leaf in leaves {
            tree.push(leaf.as_ref());
        }
        tree
    }

    /// Appends a leaf and tells its index.
    pub fn push(&mut self, leaf: &[u8]) -> u64 {
        self.push_hash(leaf_hash(leaf))
    }

    /// Appends a leaf by its hash and tells its index.
    pub fn push_hash(&mut self, hash: Digest) -> u64 {
        let Self { levels, frontier } = self;
        let index = frontier.size();
        frontier.push(hash, |level, root| {
            let level = level as usize;
            levels.resize_with(levels.len().max(level + 1), Vec::new);
            if let Some(row) = levels.get_mut(level) {
                row.push(root);
            }
        });
        index
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The hash of the leaf at `index`.
    #[must_use]
    pub fn leaf(&self, index: u64) -> Option<Digest> {
        self.levels.first()?.get(usize::try_from(index).ok()?).copied()
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.frontier.root()
    }

    /// The root over the first `size` leaves; `None` when there are fewer.
    #[must_use]
    pub fn root_at(&self, size: u64) -> Option<Digest> {
        match size {
            0 => Some(empty_root()),
            _ if size > self.size() => None,
            _ => subtree_root(self, 0, size).ok(),
        }
    }

    /// Proof that leaf `index` is among the first `size`; `None` when it is not, or there are fewer.
    #[must_use]
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Digest>> {
        if index >= size || size > self.size() {
            return None;
        }
        inclusion_path(self, index, size).ok()
    }

    /// Proof that the first `to` leaves begin with the first `from`; `None` when there are fewer, or `from` is larger.
    #[must_use]
    pub fn consistency(&self, from: u64, to: u64) -> Option<Vec<Digest>> {
        if from > to || to > self.size() {
            return None;
        }
        consistency_path(self, from, to).ok()
    }
}

/// A node that the tree does not have; cannot happen below its size.
#[derive(Debug)]
pub(crate) struct NoSuchNode;

impl Nodes for MemTree {
    type Error = NoSuchNode;
    fn node(&self, level: u32, index: u64) -> Result<Digest, NoSuchNode> {
        let row = self.levels.get(level as usize).ok_or(NoSuchNode)?;
        usize::try_from(index).ok().and_then(|index| row.get(index)).copied().ok_or(NoSuchNode)
    }
}

#[cfg(test)]
#[path = "merkle_tests.rs"]
mod tests;
