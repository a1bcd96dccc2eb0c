//! Fetches directory versions from the relay, believes them only when proven, and keeps a verified copy.

use std::sync::Arc;

use bytes::Bytes;
use tracing::{info, warn};
use truc_evidence::{BindingChange, Directory, Freshness};
use truc_proto::{
    Actor, AgencyId, Digest, NodeId, Role, SignedDirectory,
    limits::{DIRECTORY_ENTRIES_MAX, STATEMENT_BYTES_MAX},
    relay_v1, wire_v1,
};

use super::{Relay, Shell, clock, peer::lock};
use crate::{
    core::{Alarm, Input},
    records::Entitled,
};

/// Most bytes of a directory in transit: the national one has about 300 MB with certificates.
const DIRECTORY_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Why a version is not taken into use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeDirectoryError {
    #[error("the relay does not send the directory")]
    Call(#[from] tonic::Status),
    #[error("the directory is refused")]
    Refused(#[from] truc_evidence::DirectoryError),
    #[error("the directory that the relay sends is larger than any may be, or not complete")]
    Form,
    #[error("the verified copy of the directory cannot be kept")]
    Keep(#[from] truc_evidence::DirectoryFileError),
    #[error(transparent)]
    Work(#[from] super::WorkFailed),
    #[error(transparent)]
    Stopped(#[from] super::engine::Stopped),
}

impl Shell {
    /// Fetches the relay's newest directory when ours is older, and takes it into use.
    pub(crate) async fn update_directory(
        self: &Arc<Self>,
        relay: &mut Relay,
        offered: u64,
    ) -> Result<(), TakeDirectoryError> {
        let held = self.directory();
        if held.as_ref().is_some_and(|directory| directory.version() >= offered) || offered == 0 {
            return Ok(());
        }
        let verified = match fetch(relay).await {
            Ok((signed, logged)) => {
                let shell = Arc::clone(self);
                self.work("verifying a directory", move || shell.verify(signed, &logged, held)).await?
            }
            Err(error) => Err(error),
        };
        match verified {
            Ok((directory, changes)) => self.use_directory(directory, changes).await,
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

    /// Operator's signature, place in the relay's ledger, growth: in this order.
    fn verify(
        &self,
        signed: SignedDirectory,
        logged: &wire_v1::ProvenLeaf,
        held: Option<Arc<Directory>>,
    ) -> Result<(Directory, Vec<BindingChange>), TakeDirectoryError> {
        let trust = self.trust.load();
        let directory = Directory::verify(signed, &self.operator, &trust, &self.axis, self.lane, clock::now())?;
        directory.verify_logged(logged)?;
        let mut changes = Vec::new();
        if let Some(held) = held {
            let before = held.statement();
            directory.check_follows(before, &before.digest())?;
            changes = directory.changes_for(&held, &self.node);
        }
        directory.save(&self.directory_folder)?;
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
        self.work("reviewing links", move || shell.link.review()).await?;
        info!(version, entries = directory.entries().len(), "directory in use");
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
                    if self.own_certificates.load().contains(certificate) {
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
        if let Some(entitlement) = directory.entitlement(actor) {
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

async fn fetch(relay: &mut Relay) -> Result<(SignedDirectory, wire_v1::ProvenLeaf), TakeDirectoryError> {
    let mut stream = relay.directory(relay_v1::DirectoryRequest { version: 0 }).await?.into_inner();
    let (mut statement, mut cms, mut entries, mut logged) = (Bytes::new(), Bytes::new(), Vec::new(), None);
    let mut bytes = 0usize;
    while let Some(chunk) = stream.message().await? {
        if statement.is_empty() {
            (statement, cms) = (chunk.statement, chunk.cms);
        }
        bytes = chunk.entries.iter().fold(bytes, |sum, entry| sum.saturating_add(entry.len()));
        entries.extend(chunk.entries);
        if entries.len() > DIRECTORY_ENTRIES_MAX || bytes > DIRECTORY_BYTES_MAX || statement.len() > STATEMENT_BYTES_MAX
        {
            return Err(TakeDirectoryError::Form);
        }
        logged = chunk.logged.or(logged);
    }
    Ok((SignedDirectory { statement, cms, entries }, logged.ok_or(TakeDirectoryError::Form)?))
}
