//! Journal, Merkle tree, checkpoints and proofs. Knows nothing of documents.
