//! What one code was bound to in every version of the directory, proven from the versions kept and this relay's ledger.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use truc_evidence::{AuditLines, VersionFile};
use truc_proto::{AgencyId, DirectoryAuditHead, relay_v1 as wire};

use super::{Service, Streamed, directory::unreadable, proofs::proof_failure, refuse::Refusal};
use crate::store::{Store, StoreError};

/// Bytes of one message, at most.
const CHUNK_BYTES: usize = 256 * 1024;

impl<S: Store> Service<S> {
    pub(super) fn audit_directory(self: &Arc<Self>, code: &str) -> Result<Streamed<wire::AuditChunk>, Status> {
        let code: AgencyId =
            code.parse().map_err(|error| Refusal::invalid(format!("`code` is no agency code: {error}")))?;
        self.current_directory()?;
        let one = Arc::clone(&self.audits).try_acquire_owned().map_err(|_| Refusal::from(StoreError::Busy))?;
        let (sender, stream) = mpsc::channel(2);
        let service = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let _one = one;
            let send = |data: Vec<u8>| {
                let data = Bytes::from(data);
                let mut pieces = (0..data.len()).step_by(CHUNK_BYTES);
                pieces.all(|at| {
                    let data = data.slice(at..data.len().min(at + CHUNK_BYTES));
                    sender.blocking_send(Ok(wire::AuditChunk { data })).is_ok()
                })
            };
            if let Err(status) = service.write_audit(code, &send) {
                // The asker may be gone.
                let _ = sender.blocking_send(Err(status));
            }
        });
        Ok(Box::pin(ReceiverStream::new(stream)))
    }

    /// Gives `send` line by line, until it says no.
    fn write_audit(&self, code: AgencyId, send: &dyn Fn(Vec<u8>) -> bool) -> Result<(), Status> {
        // Before the checkpoint, which then covers them all.
        let published = self.published(None)?;
        let (settings, head) = (&self.settings, self.store.head());
        let about = DirectoryAuditHead {
            axis: settings.axis.clone(),
            lane: settings.lane,
            code,
            relay: settings.relay.clone(),
            made: self.now(),
            checkpoint: head.note.to_string(),
        };
        let (mut lines, text) = AuditLines::start(about).map_err(|error| unreadable(&error))?;
        if !send(text) {
            return Ok(());
        }
        let mut last = None;
        for mark in published {
            let folder = settings.directories.join(mark.version.to_string());
            let version = VersionFile::open(&folder).map_err(|error| unreadable(&error))?;
            let (_, proof) = self.store.proven_leaf(mark.leaf_index, head.size).map_err(proof_failure)?;
            let line = lines.version(&version, mark.leaf_index, proof).map_err(|error| unreadable(&error))?;
            if !send(line) {
                return Ok(());
            }
            last = Some(version);
        }
        let last = last.ok_or_else(Refusal::no_directory)?;
        let line = lines.end(&last, &settings.statements).map_err(|error| unreadable(&error))?;
        send(line);
        Ok(())
    }
}
