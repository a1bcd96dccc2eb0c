//! Directory versions: taken from whoever brings them, believed for the operator's signature alone, recorded as leaves, served to nodes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use truc_evidence::Directory;
use truc_proto::{
    AgencyId, Digest, NodeId, Reason, SignedDirectory,
    limits::{CMS_BYTES_MAX, DIRECTORY_BYTES_MAX, DIRECTORY_ENTRIES_MAX, MOVED_CODES_MAX, STATEMENT_BYTES_MAX},
    relay_v1 as wire,
};

use super::{Service, Streamed, blocking, refuse::Refusal};
use crate::{
    core::{Acceptance, DirectoryMark, NewDirectory},
    store::{Store, StoreError},
};

/// Bytes of entries in one message, about.
const CHUNK_BYTES: usize = 512 * 1024;

impl<S: Store> Service<S> {
    pub(super) async fn serve_directory(
        self: &Arc<Self>,
        request: wire::DirectoryRequest,
    ) -> Result<Streamed<wire::DirectoryChunk>, Status> {
        let current = self.current_directory()?;
        if request.version != 0 && request.version != current.version() {
            let what = format!("the relay serves version {}, the newest", current.version());
            return Err(Refusal::because(Reason::Invalid, what).into());
        }
        let mark = self.in_force()?;
        let service = Arc::clone(self);
        let at = Acceptance { position: mark.position, leaf_index: mark.leaf_index, leaf: None };
        let logged = blocking(move || service.prove(&at)).await?.map_err(Refusal::from)?;
        let (sender, stream) = mpsc::channel(2);
        tokio::spawn(async move {
            let signed = current.signed();
            let head = wire::DirectoryChunk {
                statement: signed.statement.clone(),
                cms: signed.cms.clone(),
                ..Default::default()
            };
            if sender.send(Ok(head)).await.is_err() {
                return;
            }
            for entries in chunks(&signed.entries) {
                if sender.send(Ok(wire::DirectoryChunk { entries, ..Default::default() })).await.is_err() {
                    return;
                }
            }
            let _ = sender.send(Ok(wire::DirectoryChunk { logged: Some(logged), ..Default::default() })).await;
        });
        Ok(Box::pin(ReceiverStream::new(stream)))
    }

    pub(super) async fn publish(
        self: &Arc<Self>,
        from: &NodeId,
        chunks: Streaming<wire::DirectoryChunk>,
    ) -> Result<wire::PublishDirectoryReply, Status> {
        let signed = collect(chunks).await?;
        // One at a time: each version names the one before.
        let _one = self.publishing.lock().await;
        let service = Arc::clone(self);
        let checked = blocking(move || service.check_directory(signed)).await?;
        let directory = match checked {
            Ok(directory) => directory,
            Err(refusal) => {
                return Ok(wire::PublishDirectoryReply { refused: Some(refusal.into_wire()), logged: None });
            }
        };
        let new = self.changes(&directory);
        if new.moved.len() > MOVED_CODES_MAX {
            let what = format!("at most {MOVED_CODES_MAX} codes change their node in one version; publish several");
            let refused = Some(Refusal::because(Reason::TooLarge, what).into_wire());
            return Ok(wire::PublishDirectoryReply { refused, logged: None });
        }
        let outcome = self.store.publish(new).await;
        let at = match outcome {
            Ok(at) => at,
            Err(StoreError::Refused(refused)) => {
                let refusal = Refusal::from(StoreError::Refused(refused));
                return Ok(wire::PublishDirectoryReply { refused: Some(refusal.into_wire()), logged: None });
            }
            Err(error) => return Err(error.into()),
        };
        self.put_in_force(directory, &at);
        tracing::info!(%from, version = self.directory.borrow().as_ref().map(|d| d.version()), leaf = at.leaf_index, "directory in force");
        let service = Arc::clone(self);
        let logged = blocking(move || service.prove(&at)).await?.map_err(Refusal::from)?;
        Ok(wire::PublishDirectoryReply { logged: Some(logged), refused: None })
    }

    fn check_directory(&self, signed: SignedDirectory) -> Result<Arc<Directory>, Refusal> {
        let settings = &self.settings;
        let refused = |error: &dyn std::error::Error| {
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            Refusal::invalid(format!("{error}{source}"))
        };
        let directory =
            Directory::verify(signed, &settings.operator, &self.trust(), &settings.axis, settings.lane, self.now())
                .map_err(|error| refused(&error))?;
        let relay = directory.relay();
        if relay.id != settings.relay
            || relay.origin != settings.ledger_key.name()
            || relay.ledger_key != *settings.ledger_key.public_key()
        {
            let what = format!(
                "the version binds relay {} with ledger {}, this is {} with {}",
                relay.id,
                relay.origin,
                settings.relay,
                settings.ledger_key.name()
            );
            return Err(Refusal::because(Reason::NotEntitled, what));
        }
        if let Some(current) = self.directory.borrow().as_ref()
            && current.statement().digest() != directory.statement().digest()
        {
            directory
                .check_follows(current.statement(), &current.statement().digest())
                .map_err(|error| refused(&error))?;
        }
        // On the disk before the journal says that it is in force: a crash between leaves a copy that nobody asks for.
        let folder = settings.directories.join(directory.version().to_string());
        directory.save(&folder).map_err(|error| {
            tracing::error!(%error, "cannot keep the directory version");
            Refusal::from(StoreError::Indeterminate)
        })?;
        Ok(Arc::new(directory))
    }

    fn changes(&self, directory: &Directory) -> NewDirectory {
        let before = self.directory.borrow().clone();
        let statement = directory.statement();
        let (mut moved, mut renewed) = (Vec::new(), Vec::new());
        if let Some(before) = before {
            moved = moved_codes(&before, directory);
            renewed = renewed_ledgers(&before, directory);
        }
        NewDirectory {
            version: statement.version,
            statement: statement.bytes().clone(),
            previous: statement.previous,
            moved,
            renewed,
        }
    }

    fn put_in_force(&self, directory: Arc<Directory>, at: &Acceptance) {
        let statement = directory.statement().digest();
        let mark =
            DirectoryMark { version: directory.version(), statement, position: at.position, leaf_index: at.leaf_index };
        *super::lock(&self.in_force) = Some(mark);
        self.directory.send_if_modified(|current| {
            let newer = current.as_ref().is_none_or(|current| current.version() < directory.version());
            if newer {
                *current = Some(directory);
            }
            newer
        });
    }

    fn in_force(&self) -> Result<DirectoryMark, Refusal> {
        super::lock(&self.in_force).ok_or_else(Refusal::no_directory)
    }
}

fn moved_codes(before: &Directory, after: &Directory) -> Vec<(AgencyId, NodeId)> {
    let node_before = |code: &AgencyId| before.agency(code).and_then(|agency| agency.node.clone());
    let moved = after.agencies().filter_map(|agency| {
        let node = agency.node.clone()?;
        (node_before(&agency.code).is_some_and(|old| old != node)).then(|| (agency.code.clone(), node))
    });
    moved.collect()
}

fn renewed_ledgers(before: &Directory, after: &Directory) -> Vec<NodeId> {
    let nodes = after.entries().iter().filter_map(truc_proto::Entry::as_node);
    let changed = nodes.filter(|node| before.node(&node.id).is_some_and(|(_, old)| old.origin != node.origin));
    changed.map(|node| node.id.clone()).collect()
}

fn chunks(entries: &[Bytes]) -> Vec<Vec<Bytes>> {
    let (mut all, mut chunk, mut bytes) = (Vec::new(), Vec::new(), 0);
    for entry in entries {
        bytes += entry.len();
        chunk.push(entry.clone());
        if bytes >= CHUNK_BYTES {
            all.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
    }
    if !chunk.is_empty() {
        all.push(chunk);
    }
    all
}

async fn collect(mut chunks: Streaming<wire::DirectoryChunk>) -> Result<SignedDirectory, Status> {
    let too_large = || Refusal::because(Reason::TooLarge, "a directory of that size is none");
    let mut signed = SignedDirectory { statement: Bytes::new(), cms: Bytes::new(), entries: Vec::new() };
    let mut bytes = 0_usize;
    while let Some(chunk) = chunks.message().await? {
        if !chunk.statement.is_empty() {
            if !signed.statement.is_empty()
                || chunk.statement.len() > STATEMENT_BYTES_MAX
                || chunk.cms.len() > CMS_BYTES_MAX
            {
                return Err(Refusal::invalid("statement and signature come once, in the first message").into());
            }
            (signed.statement, signed.cms) = (chunk.statement, chunk.cms);
        }
        bytes += chunk.entries.iter().map(Bytes::len).sum::<usize>();
        if bytes > DIRECTORY_BYTES_MAX || signed.entries.len() + chunk.entries.len() > DIRECTORY_ENTRIES_MAX {
            return Err(too_large().into());
        }
        signed.entries.extend(chunk.entries);
    }
    Ok(signed)
}

/// That the copy on the disk is the version which the journal says is in force.
pub(crate) fn is_the_one(directory: &Directory, mark: &DirectoryMark) -> bool {
    let statement: Digest = directory.statement().digest();
    (directory.version(), statement) == (mark.version, mark.statement)
}
