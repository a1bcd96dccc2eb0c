//! The pipelines over real keys: a request becomes a sealed envelope, a sealed envelope becomes a document, a document is rendered.
//!
//! Everything streams in constant memory and blocks, so it runs on threads of its own. Plaintext never reaches the disk. What the
//! journal holds, and what may be done next, is [`crate::core`]'s business; the network is the shell's.

mod assembly;
mod compose;
mod content;
mod error;
mod fetch;
mod files;
mod keys;
mod marks;
mod open;
mod payload;
mod pump;
mod repack;
mod request;
mod secrets;
mod spool;
mod takeover;

pub(crate) use compose::is_code;
pub(crate) use fetch::status_packet;
pub(crate) use repack::held_secrets;
pub(crate) use secrets::{Carried, DOCUMENT_BYTES, Holder, document_name, entry_id};
pub(crate) use spool::Spool;
pub use spool::Stored;
pub(crate) use takeover::{is_unlisted, sender_of};

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use truc_evidence::Directory;
use truc_ledger::blobs::{BlobError, BlobStore};
use truc_proto::{AgencyId, AxisId, BusinessStatus, Digest, EnvelopeId, Lane, Timestamp, WireLevel, node_v1};
use truc_signer::{PdfSignature, TrustStore};

use crate::{
    core::Sealed,
    pipeline::{Composed, FetchSink, FetchWhat, Listed, Moment, Opened, Parts, Pipeline, PipelineError, Resolved},
    records::{Content, Held, Incoming, KeyEnvelope, Outgoing, TakenOver},
    settings::{MaterialError, Settings},
    vault::{Vault, VaultError},
};

pub use keys::{AgencyKeys, Keys};

/// The pipelines, with all they need besides the directory in force.
#[derive(Debug)]
pub struct Pipes {
    axis: AxisId,
    lane: Lane,
    /// Life of an envelope whose request does not say.
    ttl: Duration,
    /// Folder for what does not fit into memory; nothing in it has a name for longer than a moment.
    spool: PathBuf,
    keys: RwLock<Arc<Keys>>,
    storage: Vault,
    trust: RwLock<Arc<TrustStore>>,
    blobs: Arc<BlobStore>,
    /// Codes of this node for which documents go through today's axis to those who are still there.
    gateway: BTreeSet<AgencyId>,
}

/// Why the pipelines cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PipesError {
    /// A key or certificate.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// The storage key.
    #[error(transparent)]
    Storage(#[from] VaultError),
    /// Left-overs in the blob store.
    #[error("cannot clear what an earlier run left unfinished in the blob store")]
    Blobs(#[from] BlobError),
}

impl Pipes {
    /// Loads keys and storage key as settings say.
    ///
    /// # Errors
    /// When a file is missing, exposed or unusable.
    pub fn load(settings: &Settings, trust: Arc<TrustStore>, blobs: Arc<BlobStore>) -> Result<Self, PipesError> {
        let storage = Vault::open(settings)?;
        Self::new(settings, Keys::load(settings)?, storage, trust, blobs)
    }

    /// With keys from elsewhere.
    ///
    /// # Errors
    /// When the blob store cannot be cleared of what an earlier run left unfinished.
    pub fn new(
        settings: &Settings,
        keys: Keys,
        storage: impl Into<Vault>,
        trust: Arc<TrustStore>,
        blobs: Arc<BlobStore>,
    ) -> Result<Self, PipesError> {
        payload::clear_left_overs(&blobs)?;
        Ok(Self {
            axis: settings.axis.clone(),
            lane: settings.lane,
            ttl: settings.ttl,
            spool: settings.spool(),
            keys: RwLock::new(Arc::new(keys)),
            storage: storage.into(),
            trust: RwLock::new(trust),
            blobs,
            gateway: settings.gateway.as_ref().map(|gateway| gateway.codes.clone()).unwrap_or_default(),
        })
    }

    /// Whether documents of this code may go through today's axis; never on the classified lane (I10).
    fn passes_on_for(&self, sender: &AgencyId) -> bool {
        self.lane == Lane::Ordinary && self.gateway.contains(sender)
    }

    /// Takes newer anchors and revocation lists into use.
    pub fn set_trust(&self, trust: Arc<TrustStore>) {
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = trust;
    }

    /// Reads the agencies' keys again; the old ones stay when one cannot be read.
    ///
    /// # Errors
    /// When a file is missing, exposed or unusable.
    pub fn reload_keys(&self, settings: &Settings) -> Result<(), MaterialError> {
        let keys = Arc::new(Keys::load(settings)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn trust(&self) -> Arc<TrustStore> {
        Arc::clone(&self.trust.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pipeline for Pipes {
    fn compose(
        &self,
        header: node_v1::SendHeader,
        resolved: &Resolved,
        parts: &mut dyn Parts,
        directory: &Directory,
        moment: Moment,
    ) -> Result<Composed, PipelineError> {
        Ok(compose::compose(self, header, resolved, parts, directory, moment)?)
    }

    fn compose_status(
        &self,
        status: BusinessStatus,
        level: WireLevel,
        idempotency_key: &str,
        request_hash: Digest,
        directory: &Directory,
        moment: Moment,
    ) -> Result<Composed, PipelineError> {
        Ok(compose::compose_status(self, status, level, idempotency_key, request_hash, directory, moment)?)
    }

    fn reseal(
        &self,
        old: &Outgoing,
        recipient: &AgencyId,
        to: &AgencyId,
        directory: &Directory,
        moment: Moment,
    ) -> Result<Composed, PipelineError> {
        Ok(repack::reseal(self, old, recipient, to, directory, moment)?)
    }

    fn sign(
        &self,
        agency: &AgencyId,
        bytes: &[u8],
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Vec<u8>, PipelineError> {
        Ok(self.signer(agency, directory, now)?.sign(bytes)?)
    }

    fn sign_pdf(
        &self,
        agency: &AgencyId,
        pdf: &[u8],
        options: &PdfSignature<'_>,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Vec<u8>, PipelineError> {
        Ok(self.signer(agency, directory, now)?.sign_pdf(pdf, options)?)
    }

    fn divide(
        &self,
        old: &Outgoing,
        recipients: &[AgencyId],
        directory: &Directory,
        moment: Moment,
    ) -> Result<Composed, PipelineError> {
        Ok(repack::divide(self, old, recipients, directory, moment)?)
    }

    fn finish(
        &self,
        held: &Held,
        recipients: &[AgencyId],
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Sealed, PipelineError> {
        Ok(repack::finish(self, held, recipients, directory, now)?)
    }

    fn open(
        &self,
        incoming: &Incoming,
        key_envelopes: &[KeyEnvelope],
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Opened, PipelineError> {
        open::open(self, incoming, key_envelopes, directory, now)
    }

    fn fetch(
        &self,
        incoming: &Incoming,
        content: &Content,
        what: &FetchWhat,
        sink: &mut dyn FetchSink,
    ) -> Result<(), PipelineError> {
        fetch::fetch(self, incoming, content, what, sink)
    }

    fn take_over(
        &self,
        packet: &mut Stored,
        listed: &Listed,
        directory: &Directory,
        moment: Moment,
    ) -> Result<TakenOver, PipelineError> {
        takeover::take_over(self, packet, listed, directory, moment)
    }

    fn take_over_status(
        &self,
        status: BusinessStatus,
        listed: &Listed,
        moment: Moment,
    ) -> Result<TakenOver, PipelineError> {
        takeover::take_over_status(self, status, listed, moment)
    }

    fn salt(&self, wrapped: &[u8], sender: &AgencyId, envelope: EnvelopeId) -> Result<[u8; 32], PipelineError> {
        let salt = secrets::salt(wrapped, &self.storage, sender, envelope)
            .map_err(|error| failed("the document's salt cannot be unwrapped", &error))?;
        Ok(salt.0)
    }
}

/// Ours: trying again may help.
fn failed(what: &str, error: &dyn std::error::Error) -> PipelineError {
    PipelineError::Failed { what: format!("{what}: {}", crate::chain(error)), key_away: false }
}
