//! Directory versions: taken from whoever brings them, believed for the operator's signature alone, recorded as leaves, served to nodes.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use truc_evidence::{Directory, DirectoryFileError, DirectoryReadError, DirectoryWriter, VersionFile};
use truc_ledger::Position;
use truc_proto::{
    AgencyId, Digest, NodeId, Reason,
    limits::{AUDIT_VERSIONS_MAX, CMS_BYTES_MAX, MOVED_CODES_MAX, STATEMENT_BYTES_MAX},
    relay_v1 as wire,
};

use super::{Service, Streamed, blocking, changes::Difference, refuse::Refusal};
use crate::{
    core::{Acceptance, DirectoryMark, NewDirectory},
    records::{Body, DirectoryBefore},
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
        let step = if request.step { super::lock(&self.changes).after(request.held) } else { None };
        let step = step.filter(|(version, _)| *version != current.version());
        let service = Arc::clone(self);
        let of = step.as_ref().map(|(version, _)| *version);
        let found = move || -> Result<_, StoreError> {
            let place = match of {
                Some(version) => service.published(Some(version))?.into_iter().find(|mark| mark.version == version),
                None => service.published_last(),
            };
            let place = place.ok_or_else(|| StoreError::Corrupt("no record of a directory version".into()))?;
            service.prove(&Acceptance { position: place.position, leaf_index: place.leaf_index, leaf: None })
        };
        let logged = blocking(found).await?.map_err(Refusal::from)?;
        let coming = match step {
            Some((version, difference)) => {
                let folder = self.settings.directories.join(version.to_string());
                let file = blocking(move || VersionFile::open(&folder)).await?;
                Coming::Step(Box::new(file.map_err(|error| not_kept(&error))?), difference)
            }
            None => match super::lock(&self.changes).since(request.held, &current) {
                Some(difference) => Coming::Difference(current, difference),
                None => Coming::Whole(current),
            },
        };
        let (sender, stream) = mpsc::channel(2);
        // Entries are read from the disk as they are sent.
        tokio::task::spawn_blocking(move || {
            let sent = coming.send(&mut |chunk| sender.blocking_send(Ok(chunk)).is_ok());
            let last = match sent {
                Ok(true) => Ok(wire::DirectoryChunk { logged: Some(logged), ..Default::default() }),
                // The asker went away.
                Ok(false) => return,
                Err(error) => Err(unreadable(&error)),
            };
            let _ = sender.blocking_send(last);
        });
        Ok(Box::pin(ReceiverStream::new(stream)))
    }

    pub(super) async fn publish(
        self: &Arc<Self>,
        from: &NodeId,
        chunks: Streaming<wire::DirectoryChunk>,
    ) -> Result<wire::PublishDirectoryReply, Status> {
        let coming = collect(chunks, &self.settings.directories).await?;
        // One at a time: each version names the one before.
        let _one = self.publishing.lock().await;
        let (service, publisher) = (Arc::clone(self), from.clone());
        let checked = blocking(move || {
            let directory = service.check_directory(coming)?;
            let new = NewDirectory { published_by: Some(publisher), ..service.changes(&directory) };
            Ok::<_, Refusal>((directory, new))
        });
        let refused = |refusal: Refusal| {
            let held = self.directory.borrow().as_ref().map_or(0, |directory| directory.version());
            wire::PublishDirectoryReply { refused: Some(refusal.into_wire()), held, logged: None }
        };
        let (directory, new) = match checked.await? {
            Ok(checked) => checked,
            Err(refusal) => return Ok(refused(refusal)),
        };
        if new.moved.len() > MOVED_CODES_MAX {
            let what = format!("at most {MOVED_CODES_MAX} codes change their node in one version; publish several");
            return Ok(refused(Refusal::because(Reason::TooLarge, what)));
        }
        let outcome = self.store.publish(new).await;
        let at = match outcome {
            Ok(at) => at,
            Err(error @ StoreError::Refused(_)) => return Ok(refused(Refusal::from(error))),
            Err(error) => return Err(error.into()),
        };
        let (service, version, leaf) = (Arc::clone(self), directory.version(), at.leaf_index);
        let logged = blocking(move || {
            service.put_in_force(directory, &at);
            service.prove(&at)
        });
        let logged = logged.await?.map_err(Refusal::from)?;
        tracing::info!(%from, version, leaf, "directory in force");
        Ok(wire::PublishDirectoryReply { logged: Some(logged), ..Default::default() })
    }

    fn check_directory(&self, coming: DirectoryWriter) -> Result<Arc<Directory>, Refusal> {
        let settings = &self.settings;
        let refused = |error: &dyn std::error::Error| {
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            Refusal::invalid(format!("{error}{source}"))
        };
        let now = self.now();
        let verified = coming.finish(&settings.operator, &self.trust(), &settings.axis, settings.lane, now);
        let directory = verified.map_err(|error| match &error {
            DirectoryFileError::Refused { source, .. } => refused(source),
            DirectoryFileError::Malformed { .. } => refused(&error),
            DirectoryFileError::Io { .. } | DirectoryFileError::Held(_) => not_kept(&error),
        })?;
        let relay = directory.relay();
        let own = relay.origin == settings.ledger_key.name() && relay.ledger_key == *settings.ledger_key.public_key();
        // Versions of before a recovery that this store lost: they are needed to go on from them.
        let of_before = !self.is_listed() && relay.epoch < settings.epoch;
        if relay.id != settings.relay || !(own || of_before) {
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
        let saved = directory.save(&folder).and_then(|()| directory.save_places(&folder));
        saved.map_err(|error| not_kept(&error))?;
        if let Some(current) = self.directory.borrow().clone() {
            super::changes::keep(&folder, &current, &directory);
        }
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
            published_by: None,
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
        super::lock(&self.changes).follow(&self.settings.directories, directory.version());
        *super::lock(&self.in_force) = Some(mark);
        self.directory.send_if_modified(|current| {
            let newer = current.as_ref().is_none_or(|current| current.version() < directory.version());
            if newer {
                *current = Some(directory);
            }
            newer
        });
    }

    /// Where the version in force stands.
    pub(super) fn published_last(&self) -> Option<DirectoryMark> {
        *super::lock(&self.in_force)
    }

    /// Where versions stand, oldest first: all that there ever were; or with `from` that one and those after it. Reads the journal.
    pub(super) fn published(&self, from: Option<u64>) -> Result<Vec<DirectoryMark>, StoreError> {
        let mut versions: Vec<DirectoryMark> = Vec::new();
        let newest = self.published_last();
        let mut next = newest.map(|mark| DirectoryBefore { position: mark.position.0, leaf_index: mark.leaf_index });
        while let Some(at) = next {
            let position = Position(at.position);
            let Body::Directory(record) = self.store.read(position)?.body else {
                return Err(StoreError::Corrupt(format!("record {position} publishes no directory")));
            };
            let statement = Digest::from_slice(&record.statement)
                .map_err(|_| StoreError::Corrupt(format!("record {position} names no root statement")))?;
            versions.push(DirectoryMark { version: record.version, statement, position, leaf_index: at.leaf_index });
            let far_enough = from.is_some_and(|from| record.version <= from);
            next = record.before.filter(|_| !far_enough && versions.len() as u64 <= AUDIT_VERSIONS_MAX);
        }
        versions.reverse();
        Ok(versions)
    }
}

fn moved_codes(before: &Directory, after: &Directory) -> Vec<(AgencyId, NodeId)> {
    let node_before = |code: &AgencyId| before.agency(code).and_then(|agency| agency.node.clone());
    let moved = after.agencies().iter().filter_map(|agency| {
        let node = agency.node.clone()?;
        (node_before(&agency.code).is_some_and(|old| old != node)).then(|| (agency.code.clone(), node))
    });
    moved.collect()
}

fn renewed_ledgers(before: &Directory, after: &Directory) -> Vec<NodeId> {
    let nodes = after.nodes().map(|(_, node)| node);
    let changed = nodes.filter(|node| before.node(&node.id).is_some_and(|(_, old)| old.origin != node.origin));
    changed.map(|node| node.id.clone()).collect()
}

/// What an asker gets.
enum Coming {
    /// The newest version.
    Whole(Arc<Directory>),
    /// The newest version, as what it changed.
    Difference(Arc<Directory>, Difference),
    /// The version after the one that the asker holds, as what it changed.
    Step(Box<VersionFile>, Difference),
}

impl Coming {
    /// Sends head and entries until `send` says no: false then.
    fn send(&self, send: &mut dyn FnMut(wire::DirectoryChunk) -> bool) -> Result<bool, DirectoryReadError> {
        let (statement, cms, difference) = match self {
            Self::Whole(directory) => (directory.statement().bytes(), directory.cms(), None),
            Self::Difference(directory, difference) => {
                (directory.statement().bytes(), directory.cms(), Some(difference))
            }
            Self::Step(version, difference) => (version.statement(), version.cms(), Some(difference)),
        };
        let base = difference.map_or(0, |difference| difference.base);
        if !send(wire::DirectoryChunk { statement: statement.clone(), cms: cms.clone(), base, ..Default::default() }) {
            return Ok(false);
        }
        let mut chunks = Chunks { send, chunk: wire::DirectoryChunk::default(), bytes: 0 };
        if let Self::Whole(directory) = self {
            for entry in directory.read_all() {
                if !chunks.entry(entry?) {
                    return Ok(false);
                }
            }
        }
        for key in difference.iter().flat_map(|difference| &difference.keys) {
            let goes_on = match self.read(key)? {
                Some(entry) => chunks.entry(entry),
                None => chunks.removed(key.clone()),
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(chunks.flush())
    }

    fn read(&self, key: &str) -> Result<Option<Bytes>, DirectoryReadError> {
        match self {
            Self::Whole(directory) | Self::Difference(directory, _) => directory.read_bytes(key),
            Self::Step(version, _) => version.read(key),
        }
    }
}

/// What who asked hears when a copy on the disk cannot be read.
pub(super) fn unreadable(error: &dyn std::error::Error) -> Status {
    tracing::error!(error = truc_proto::chain(error), "a directory cannot be sent");
    Status::internal(
        "the relay cannot read its copy of the directory; its operator must look at the disk / Trục không đọc được bản danh bạ đang lưu; đơn vị vận hành trục phải kiểm tra ổ đĩa",
    )
}

/// Gathers entries to messages.
struct Chunks<'a> {
    send: &'a mut dyn FnMut(wire::DirectoryChunk) -> bool,
    chunk: wire::DirectoryChunk,
    bytes: usize,
}

impl Chunks<'_> {
    fn entry(&mut self, entry: Bytes) -> bool {
        self.bytes += entry.len();
        self.chunk.entries.push(entry);
        self.bytes < CHUNK_BYTES || self.flush()
    }

    fn removed(&mut self, key: String) -> bool {
        self.bytes += key.len();
        self.chunk.removed.push(key);
        self.bytes < CHUNK_BYTES || self.flush()
    }

    fn flush(&mut self) -> bool {
        let chunk = std::mem::take(&mut self.chunk);
        self.bytes = 0;
        (chunk.entries.is_empty() && chunk.removed.is_empty()) || (self.send)(chunk)
    }
}

fn not_kept(error: &DirectoryFileError) -> Refusal {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(%error, source, "cannot keep the directory version");
    Refusal::from(StoreError::Indeterminate)
}

/// Writes what comes to a file of its own: a national directory is hundreds of megabytes, and anybody who may connect may bring one.
async fn collect(mut chunks: Streaming<wire::DirectoryChunk>, folder: &Path) -> Result<DirectoryWriter, Status> {
    let once = || Status::from(Refusal::invalid("statement and signature come once, in the first message"));
    let first = chunks.message().await?.ok_or_else(once)?;
    if first.statement.is_empty() || first.statement.len() > STATEMENT_BYTES_MAX || first.cms.len() > CMS_BYTES_MAX {
        return Err(once());
    }
    let folder = folder.to_owned();
    let mut writer = kept(move || {
        let mut writer = DirectoryWriter::create(&folder, &first.statement, &first.cms)?;
        first.entries.iter().try_for_each(|entry| writer.entry(entry))?;
        Ok(writer)
    })
    .await?;
    while let Some(chunk) = chunks.message().await? {
        if !chunk.statement.is_empty() {
            return Err(once());
        }
        writer = kept(move || {
            chunk.entries.iter().try_for_each(|entry| writer.entry(entry))?;
            Ok(writer)
        })
        .await?;
    }
    Ok(writer)
}

async fn kept<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DirectoryFileError> + Send + 'static,
) -> Result<T, Status> {
    let too_large = || Refusal::because(Reason::TooLarge, "a directory of that size is none");
    blocking(work).await?.map_err(|error| match &error {
        DirectoryFileError::Refused { .. } => too_large().into(),
        _ => not_kept(&error).into(),
    })
}

/// That the copy on the disk is the version which the journal says is in force.
pub(crate) fn is_the_one(directory: &Directory, mark: &DirectoryMark) -> bool {
    let statement: Digest = directory.statement().digest();
    (directory.version(), statement) == (mark.version, mark.statement)
}
