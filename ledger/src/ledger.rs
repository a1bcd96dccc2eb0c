//! The ledger: what others hold of it. (Signatures first; the body follows.)
#![expect(missing_docs, clippy::todo, unused_variables, dead_code, reason = "published for the others to compile against; the body comes within the hour")]

use crate::{record::*, volume::*};
use std::{io, sync::Arc};
use truc_proto::Digest;

/// Runs on the committer's thread once the submission is on the device; must not block.
pub type Release = Box<dyn FnOnce(&Committed) + Send>;

/// What the process cannot live on after: a failed sync or write of the journal.
#[derive(Debug, Clone)]
pub struct Fatal { pub what: String }

#[derive(Clone)]
pub struct Settings {
    /// The journal's identity at its first start; none: drawn from the system.
    pub journal_id: Option<[u8; 16]>,
    /// What happens when a sync fails; by default the process aborts.
    pub on_fatal: Arc<dyn Fn(&Fatal) + Send + Sync>,
}
impl Default for Settings {
    fn default() -> Self { todo!() }
}

#[derive(Debug, Clone)]
pub struct Recovered {
    pub next_position: Position,
    pub next_leaf: u64,
    pub head: Arc<Committed>,
    pub from_snapshot: Option<Position>,
    /// Bytes of a torn last batch that were cut.
    pub cut_bytes: u64,
    pub journal_id: [u8; 16],
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError { #[error("to come")] ToCome }
#[derive(Debug, thiserror::Error)]
pub enum SubmitError { #[error("busy")] Busy, #[error("full")] Full, #[error("too large")] TooLarge, #[error("stopped")] Stopped }
#[derive(Debug, thiserror::Error)]
pub enum ReadError { #[error("to come")] ToCome }
#[derive(Debug, thiserror::Error)]
pub enum ProofFailure { #[error("to come")] ToCome }
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError { #[error("to come")] ToCome }
#[derive(Debug, thiserror::Error)]
pub enum CloseError { #[error("to come")] ToCome }

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceLeft { Ample, /** below 10 %: refuse new work */ Low }

/// Clone handle.
#[derive(Clone)]
pub struct Ledger(Arc<()>);

impl Ledger {
    pub fn submit(&self, records: Vec<Record>, release: Release) -> Result<(), SubmitError> { todo!() }
    pub fn read(&self, position: Position) -> Result<Record, ReadError> { todo!() }
    pub fn head(&self) -> Arc<Committed> { todo!() }
    pub fn inclusion(&self, leaf_index: u64, size: u64) -> Result<Vec<Digest>, ProofFailure> { todo!() }
    pub fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, ProofFailure> { todo!() }
    pub fn root_at(&self, size: u64) -> Result<Digest, ProofFailure> { todo!() }
    pub fn snapshot(&self, at: Position, entries: impl Iterator<Item = Vec<u8>>) -> Result<(), SnapshotError> { todo!() }
    pub fn space(&self) -> SpaceLeft { todo!() }
    pub fn public_key(&self) -> truc_proto::NoteKey { todo!() }
    pub fn close(self) -> Result<(), CloseError> { todo!() }
}

/// Drives a ledger opened by `open_stepped`, without threads.
pub struct Driver(());
impl Driver {
    /// Commits what is queued, at most one batch; false when nothing was.
    pub fn step(&mut self) -> bool { todo!() }
    /// The empty vouching batch that an idle ledger writes.
    pub fn idle(&mut self) { todo!() }
}

pub fn open(volume: Arc<dyn Volume>, tag: StoreTag, origin: String, key: LedgerKey, settings: Settings, fold: &mut dyn Fold) -> Result<(Ledger, Recovered), OpenError> { todo!() }
pub fn open_stepped(volume: Arc<dyn Volume>, tag: StoreTag, origin: String, key: LedgerKey, settings: Settings, fold: &mut dyn Fold) -> Result<(Ledger, Driver, Recovered), OpenError> { todo!() }
