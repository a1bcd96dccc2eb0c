//! Every bound on what comes from outside, in one place (I9). Units stand last in each name.
//!
//! Nothing here is configuration: these are the sizes the formats and the code are built for.

/// Most bytes of one signed JSON statement (preamble, submission, event, entry, root): 500 recipients with long codes fit.
pub const STATEMENT_BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting of a JSON statement.
pub const JSON_DEPTH_MAX: usize = 16;
/// Most recipients of one envelope (QĐ 28/2018 circulars reach about 500).
pub const RECIPIENTS_MAX: usize = 1_000;
/// Longest text of one signed note (a checkpoint or a statement note) with all its signature lines.
pub const NOTE_BYTES_MAX: usize = 512 * 1024;
/// Most signature lines on one note (Go's sumdb/note stops at the same number).
pub const NOTE_SIGNATURES_MAX: usize = 100;
/// Longest origin line of a checkpoint (C2SP tlog-cosignature).
pub const ORIGIN_BYTES_MAX: usize = 255;
/// Most hashes in one inclusion or consistency proof: a tree of 2^63 leaves has no longer one.
pub const PROOF_HASHES_MAX: usize = 64;
