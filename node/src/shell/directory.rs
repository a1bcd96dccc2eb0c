//! Fetches directory versions from the relay, believes them only when proven, and keeps a verified copy.

use std::sync::Arc;

use tracing::{info, warn};
use truc_evidence::{
    BindingChange, Directory, DirectoryDelta, DirectoryFileError, DirectoryReadError, DirectoryWriter, Freshness,
};
use truc_proto::{
    Actor, AgencyId, Digest, NodeId, Role,
    limits::{CMS_BYTES_MAX, STATEMENT_BYTES_MAX},
    relay_v1, wire_v1,
};

use super::{Relay, Shell, clock, lock};
use crate::{
    core::{Alarm, Input},
    records::Entitled,
};

/// Why a version is not taken into use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeDirectoryError {
    #[error("the relay does not send the directory")]
    Call(#[from] tonic::Status),
    #[error("the directory is refused")]
    Refused(#[from] truc_evidence::DirectoryError),
    #[error("the directory that the relay sends is not complete, or its parts do not fit each other")]
    Form,
    #[error("the directory that the relay sends cannot be kept and verified")]
    Keep(#[from] DirectoryFileError),
    #[error("the directory held cannot be read")]
    Read(#[from] DirectoryReadError),
    #[error(transparent)]
    Work(#[from] super::WorkFailed),
    #[error(transparent)]
    Stopped(#[from] super::engine::Stopped),
}

impl Shell {
    /// Fetches the relay's newest directory when ours is older, and takes it into use. Version by version, so that what was bound to our
    /// codes in none of them goes unseen.
    pub(crate) async fn update_directory(
        self: &Arc<Self>,
        relay: &mut Relay,
        offered: u64,
    ) -> Result<(), TakeDirectoryError> {
        loop {
            let held = self.directory();
            if held.as_ref().is_some_and(|directory| directory.version() >= offered) || offered == 0 {
                return Ok(());
            }
            self.next_directory(relay, held, offered).await?;
        }
    }

    /// The version after the one held, or the newest where the relay has not the steps between.
    async fn next_directory(
        self: &Arc<Self>,
        relay: &mut Relay,
        held: Option<Arc<Directory>>,
        offered: u64,
    ) -> Result<(), TakeDirectoryError> {
        let before = held.as_ref().map(|directory| (directory.version(), directory.statement().digest()));
        let mut verified = self.fetch(relay, held.clone(), true).await;
        if let Err(error) = &verified
            && held.is_some()
            && !matches!(error, TakeDirectoryError::Call(_))
        {
            // Our copy may be damaged, or the relay's difference wrong: the whole version needs neither.
            warn!(offered, error = crate::chain(error), "the difference makes no directory; fetching the whole");
            verified = self.fetch(relay, held, false).await;
        }
        match verified {
            Ok((directory, changes)) => {
                let gap = before.filter(|(_, digest)| directory.statement().previous != Some(*digest));
                if let Some((held, _)) = gap {
                    let text = format!(
                        "the directory went from version {held} to {} without those between: what they bound to this node's codes was not \
                         looked at; `truc directory audit` shows it",
                        directory.version()
                    );
                    warn!(text, "directory versions not seen");
                    self.engine.tell(Input::Alarm { alarm: Alarm::DirectoryGap, text: Some(text) }).await?;
                }
                self.use_directory(directory, changes).await
            }
            // The connection broke: nothing was shown that could be refused.
            Err(error @ TakeDirectoryError::Call(_)) => Err(error),
            Err(error) => {
                let text = format!("directory version {offered} is not used: {}", crate::chain(&error));
                warn!(offered, text, "directory refused");
                self.engine.tell(Input::Alarm { alarm: Alarm::DirectoryRefused, text: Some(text) }).await?;
                Err(error)
            }
        }
    }

    /// Takes a version as it comes, by difference from the one held where the relay offers that, and verifies it.
    async fn fetch(
        self: &Arc<Self>,
        relay: &mut Relay,
        held: Option<Arc<Directory>>,
        by_difference: bool,
    ) -> Result<(Directory, Vec<BindingChange>), TakeDirectoryError> {
        let version = held.as_ref().filter(|_| by_difference).map_or(0, |held| held.version());
        let request = relay_v1::DirectoryRequest { version: 0, held: version, step: true };
        let mut stream = relay.directory(request).await?.into_inner();
        let first = stream.message().await?.ok_or(TakeDirectoryError::Form)?;
        if first.statement.len() > STATEMENT_BYTES_MAX || first.cms.len() > CMS_BYTES_MAX {
            return Err(TakeDirectoryError::Form);
        }
        if first.base != 0 && first.base != version {
            return Err(TakeDirectoryError::Form);
        }
        let shell = Arc::clone(self);
        let base = if first.base == 0 { None } else { held.clone() };
        let mut coming = self
            .work("keeping a directory", move || {
                let writer = DirectoryWriter::create(&shell.directory_folder, &first.statement, &first.cms)?;
                let mut coming = Coming { writer, base, delta: DirectoryDelta::default(), logged: None };
                coming.take(relay_v1::DirectoryChunk { statement: bytes::Bytes::new(), ..first })?;
                Ok::<_, TakeDirectoryError>(coming)
            })
            .await??;
        while let Some(chunk) = stream.message().await? {
            coming = self
                .work("keeping a directory", move || {
                    coming.take(chunk)?;
                    Ok::<_, TakeDirectoryError>(coming)
                })
                .await??;
        }
        let shell = Arc::clone(self);
        self.work("verifying a directory", move || shell.verify(coming, held)).await?
    }

    /// Operator's signature, place in the relay's ledger, growth: in this order.
    fn verify(
        &self,
        coming: Coming,
        held: Option<Arc<Directory>>,
    ) -> Result<(Directory, Vec<BindingChange>), TakeDirectoryError> {
        let Coming { mut writer, base, delta, logged } = coming;
        let logged = logged.ok_or(TakeDirectoryError::Form)?;
        if let Some(base) = base {
            base.write_changed(&delta, &mut writer)?;
        }
        let trust = self.trust.load();
        let verified = writer.finish(&self.operator, &trust, &self.axis, self.lane, clock::now());
        let directory = verified.map_err(|error| match error {
            // The file is of no interest to anybody: it is gone already.
            DirectoryFileError::Refused { source, .. } => TakeDirectoryError::Refused(source),
            other => TakeDirectoryError::Keep(other),
        })?;
        directory.verify_logged(&logged)?;
        let mut changes = Vec::new();
        if let Some(held) = held {
            let before = held.statement();
            directory.check_follows(before, &before.digest())?;
            changes = directory.changes_for(&held, &self.node);
        }
        directory.save(&self.directory_folder)?;
        // Made now, not while somebody waits for the first search.
        directory.prepare_search();
        Ok((directory, changes))
    }

    async fn use_directory(
        self: &Arc<Self>,
        directory: Directory,
        changes: Vec<BindingChange>,
    ) -> Result<(), TakeDirectoryError> {
        let (version, statement) = (directory.version(), directory.statement().digest());
        let directory = Arc::new(directory);
        self.directory.store(Some(Arc::clone(&directory)));
        let shell = Arc::clone(self);
        // It may have been made for this version.
        if let Err(error) = self.work("looking for the witness key", move || shell.witness.look()).await? {
            warn!(error = crate::chain(&error), "the witness key cannot be used; this node does not cosign");
        }
        self.use_keys();
        self.keys_changed.send_replace(());
        self.directory_taken.notify_one();
        self.revocation_changed.notify_one(); // an own certificate may be revoked in it
        let shell = Arc::clone(self);
        self.work("reviewing links", move || shell.link.review()).await?;
        info!(version, entries = directory.size(), "directory in use");
        self.engine.tell(Input::DirectoryTaken { version, statement }).await?;
        self.engine.tell(Input::Alarm { alarm: Alarm::DirectoryRefused, text: None }).await?;
        for change in changes {
            let (alarm, text) = match &change {
                BindingChange::CodeMoved { code, to } => {
                    let to = to.as_ref().map_or("no node".into(), ToString::to_string);
                    (Alarm::ForeignBinding(code.clone()), format!("directory {version} gives {code} to {to}"))
                }
                BindingChange::CertificateAdded { entry, certificate } => {
                    let Some(code) = entry.strip_prefix("agency/").and_then(|code| code.parse::<AgencyId>().ok())
                    else {
                        continue;
                    };
                    if self.own_certificates().contains(certificate) {
                        continue;
                    }
                    let text = format!(
                        "directory {version} binds certificate {certificate} to {code}, which this node does not hold: \
                         if nobody here asked for it, call the axis operator at once"
                    );
                    (Alarm::ForeignBinding(code), text)
                }
                BindingChange::CodeGained { .. } | BindingChange::LedgerChanged { .. } => continue,
            };
            self.engine.tell(Input::Alarm { alarm, text: Some(text) }).await?;
        }
        self.note_own_entitlements(&directory).await?;
        self.check_freshness().await?;
        self.engine.tell(Input::KeyBack).await?;
        Ok(())
    }

    /// Past its end: an alarm; past the grace, new sends are held by the pipeline.
    pub(crate) async fn check_freshness(&self) -> Result<(), super::engine::Stopped> {
        let text = match self.directory().map(|directory| directory.freshness(clock::now())) {
            Some(Freshness::Fresh) => None,
            Some(Freshness::Grace { until }) => {
                Some(format!("the directory is past its end; it is used until {until}, then new sends are held"))
            }
            Some(Freshness::Stale { since }) => {
                Some(format!("the directory may not be used since {since}: new sends are held"))
            }
            None => Some("there is no directory yet: nothing can be sent or received".into()),
        };
        self.engine.tell(Input::Alarm { alarm: Alarm::DirectoryStale, text }).await
    }

    /// What entitles the relay and our own codes, for receipts.
    pub(crate) async fn note_own_entitlements(&self, directory: &Directory) -> Result<(), super::engine::Stopped> {
        let relay = Actor { code: None, node: directory.relay().id.clone(), role: Role::Relay };
        let own = directory.codes_of(&self.node).iter();
        let own = own.map(|code| Actor { code: Some(code.clone()), node: self.node.clone(), role: Role::Sender });
        for actor in std::iter::once(relay).chain(own) {
            self.note_entitlement(&actor, directory).await?;
        }
        Ok(())
    }

    /// Hands the core what entitles an actor, once per directory version.
    pub(crate) async fn note_entitlement(
        &self,
        actor: &Actor,
        directory: &Directory,
    ) -> Result<(), super::engine::Stopped> {
        let name: (NodeId, Option<AgencyId>) = (actor.node.clone(), actor.code.clone());
        if lock(&self.entitled).get(&name) == Some(&directory.version()) {
            return Ok(());
        }
        let entitlement = match directory.entitlement(actor) {
            Ok(entitlement) => entitlement,
            // Asked again with the next evidence of this actor; until then a receipt takes it from the directory in force.
            Err(error) => {
                warn!(%actor, error = crate::chain(&error), "an entitlement cannot be read");
                return Ok(());
            }
        };
        if let Some(entitlement) = entitlement {
            let statement = directory.statement();
            let agency = entitlement.agency.as_ref().map(|entry| entry.bytes.as_slice()).unwrap_or_default();
            let record = Entitled {
                node: actor.node.to_string(),
                code: actor.code.as_ref().map(ToString::to_string).unwrap_or_default(),
                issued_ms: statement.issued.unix_ms(),
                valid_until_ms: statement.valid_until.unix_ms(),
                entries: Digest::of_parts(&[&entitlement.node.bytes, b"\n", agency]).as_bytes().to_vec(),
                entitlement: entitlement.to_bytes(),
            };
            self.engine.tell(Input::Entitled(Box::new(record))).await?;
        }
        lock(&self.entitled).insert(name, directory.version());
        Ok(())
    }
}

/// A version while it comes in: its entries in a file of its own, or what differs from the version held.
struct Coming {
    writer: DirectoryWriter,
    base: Option<Arc<Directory>>,
    delta: DirectoryDelta,
    logged: Option<wire_v1::ProvenLeaf>,
}

impl Coming {
    fn take(&mut self, chunk: relay_v1::DirectoryChunk) -> Result<(), TakeDirectoryError> {
        if !chunk.statement.is_empty() || (self.base.is_none() && !chunk.removed.is_empty()) {
            return Err(TakeDirectoryError::Form);
        }
        for entry in chunk.entries {
            match &self.base {
                None => self.writer.entry(&entry)?,
                Some(_) => self.delta.change(entry)?,
            }
        }
        chunk.removed.into_iter().try_for_each(|key| self.delta.remove(key))?;
        self.logged = chunk.logged.or(self.logged.take());
        Ok(())
    }
}
