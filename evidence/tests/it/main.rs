//! Evidence as a whole: the corpus of bent receipts, directories, bindings, evidence from peers, hostile bytes.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod answers;
mod audits;
mod backups;
mod bindings;
mod bundle_cases;
mod bundles;
mod cases;
mod constrained;
mod corpus;
mod directories;
mod documents;
mod forks;
mod hostile;
mod imports;
mod ledgers;
mod proofs;
mod searches;
mod snapshot;
mod status_cases;
mod verify_page;
mod world;
mod zips;
