//! A node's or a relay's own keys, for its connections and for its checkpoints. Settings name one of each, or several while one takes over from another; which of
//! them serves is the directory's to say, so a certificate comes into use everywhere at the moment from which others believe it.

use std::sync::Arc;

use anyhow::Context as _;
use truc_link::Identity;
use truc_proto::{Digest, KeyUse, NodeEntry, Timestamp};
use truc_signer::{Certificate, SigningKey};

use crate::KeySource;

/// Keys with their certificates, as settings name them.
pub struct Keyring {
    tls: Vec<(Certificate, Identity)>,
    node: Vec<(Certificate, Arc<dyn SigningKey>)>,
}

impl Keyring {
    /// Loads what settings name for either use.
    ///
    /// # Errors
    /// When there is none of a kind, or a file is missing, exposed or unusable.
    pub fn load(tls_keys: &[KeySource], node_keys: &[KeySource]) -> anyhow::Result<Self> {
        let (mut tls, mut node) = (Vec::new(), Vec::new());
        for source in tls_keys {
            tls.push(source.load_identity().context("load the TLS key")?);
        }
        for source in node_keys {
            let key: Arc<dyn SigningKey> = Arc::from(source.load_signing().context("load the node's key")?);
            node.push((key.certificate().clone(), key));
        }
        anyhow::ensure!(!tls.is_empty() && !node.is_empty(), "settings name no TLS key, or no node key");
        Ok(Self { tls, node })
    }

    /// What to present on connections at `at`, by its entry in the directory.
    #[must_use]
    pub fn tls(&self, entry: Option<&NodeEntry>, at: Timestamp) -> Option<&Identity> {
        in_force(&self.tls, entry, KeyUse::Tls, at)
    }

    /// What signs checkpoints at `at`, by its entry in the directory.
    #[must_use]
    pub fn node(&self, entry: Option<&NodeEntry>, at: Timestamp) -> Option<&Arc<dyn SigningKey>> {
        in_force(&self.node, entry, KeyUse::Node, at)
    }

    /// The certificates of a kind.
    pub fn certificates(&self, key_use: KeyUse) -> Vec<Certificate> {
        match key_use {
            KeyUse::Tls => self.tls.iter().map(|(certificate, _)| certificate.clone()).collect(),
            KeyUse::Node => self.node.iter().map(|(certificate, _)| certificate.clone()).collect(),
            KeyUse::Service | KeyUse::Sealing | KeyUse::Operator => Vec::new(),
        }
    }
}

/// Of those that the entry binds and that are in force, the newest; the first one where there is none such yet.
fn in_force<'k, K>(
    keys: &'k [(Certificate, K)],
    entry: Option<&NodeEntry>,
    key_use: KeyUse,
    at: Timestamp,
) -> Option<&'k K> {
    let since = |sha256: Digest| {
        let binding = entry?.certificates.iter().find(|binding| binding.sha256 == sha256)?;
        binding.serves(key_use, at).then_some(binding.valid_from)
    };
    let serving = keys.iter().filter_map(|(certificate, key)| Some((since(certificate.sha256())?, key)));
    let newest = serving.max_by_key(|(from, _)| *from).map(|(_, key)| key);
    newest.or_else(|| keys.first().map(|(_, key)| key))
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({} for connections, {} for checkpoints)", self.tls.len(), self.node.len())
    }
}
