//! The relay's own keys while it runs. Settings name them, the directory in force says which serve.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use anyhow::Context as _;
use truc_custody::{Asked, Keyring, OwnEntry};
use truc_evidence::Directory;
use truc_ledger::LedgerKey;
use truc_link::{Identity, Link};
use truc_proto::{Administrator, Digest, KeyUse, Timestamp};
use truc_signer::{Certificate, SigningKey};

use crate::Settings;

/// The keys that are here, and those that serve now.
pub(crate) struct OwnKeys(RwLock<Held>);

struct Held {
    ring: Keyring,
    signs: Arc<dyn SigningKey>,
}

impl OwnKeys {
    /// These keys, and what is presented on connections.
    pub(crate) fn new(ring: Keyring, directory: Option<&Directory>, at: Timestamp) -> anyhow::Result<(Self, Identity)> {
        let entry = directory.map(Directory::relay);
        let identity = ring.tls(entry, at).context("choose a TLS key")?.clone();
        let signs = Arc::clone(ring.node(entry, at).context("choose a node key")?);
        Ok((Self(RwLock::new(Held { ring, signs })), identity))
    }

    /// Signs checkpoints now.
    pub(crate) fn signing(&self) -> Arc<dyn SigningKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).signs)
    }

    /// Whether a certificate for connections is one of the relay's own.
    pub(crate) fn presents(&self, fingerprint: &Digest) -> bool {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        held.ring.certificates(KeyUse::Tls).iter().any(|certificate| certificate.sha256() == *fingerprint)
    }

    /// These are here from now on.
    pub(crate) fn replace(&self, ring: Keyring) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).ring = ring;
    }

    /// Takes those into use that serve at `at`, and says which took over from others; open connections go on.
    pub(crate) fn use_those_in_force(
        &self,
        directory: Option<&Directory>,
        at: Timestamp,
        link: &Link,
    ) -> Vec<(KeyUse, Certificate)> {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let entry = directory.map(Directory::relay);
        let mut took_over = Vec::new();
        if let Some(identity) = held.ring.tls(entry, at)
            && !link.presents(identity)
        {
            if link.fingerprint() != identity.fingerprint() {
                let new = held.ring.certificates(KeyUse::Tls);
                let new = new.into_iter().find(|certificate| certificate.sha256() == identity.fingerprint());
                took_over.extend(new.map(|certificate| (KeyUse::Tls, certificate)));
            }
            link.replace_identity(identity.clone());
        }
        if let Some(signs) = held.ring.node(entry, at).map(Arc::clone) {
            if held.signs.certificate() != signs.certificate() {
                took_over.push((KeyUse::Node, signs.certificate().clone()));
            }
            held.signs = signs;
        }
        for (key_use, certificate) in &took_over {
            tracing::info!(%key_use, subject = certificate.subject(), "another key serves from now on");
        }
        took_over
    }
}

/// `truc-relay bind`: writes the request by which the operator binds the keys that settings name, signed by all of them that sign checkpoints, and makes
/// the witness key where there is none. Nothing changes before the directory binds them.
///
/// # Errors
/// When a key cannot be used, or the file not be written.
pub fn bind(settings: &Settings, who: Administrator, why: String, now: Timestamp) -> anyhow::Result<Asked> {
    entry(settings).bind(who, why, now)
}

/// The same entry under another epoch and ledger key, as a request to be bound.
pub(crate) fn write_request(
    settings: &Settings,
    epoch: u64,
    ledger: &LedgerKey,
    file: &Path,
    now: Timestamp,
) -> anyhow::Result<()> {
    OwnEntry { epoch, ..entry(settings) }.write_request(ledger, file, now)
}

fn entry(settings: &Settings) -> OwnEntry<'_> {
    OwnEntry {
        axis: &settings.axis,
        lane: settings.lane,
        id: &settings.id,
        relay: true,
        epoch: settings.epoch,
        folder: &settings.dir,
        ledger_key: settings.ledger_key(),
        witness_key: settings.witness_key(),
        node_keys: &settings.node_keys,
        tls_keys: &settings.tls_keys,
        stopped: None,
    }
}
