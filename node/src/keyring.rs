//! The node's own keys, for its connections and for its checkpoints. Settings name one of each, or several while one takes over from another; which of
//! them serves is the directory's to say, so a certificate comes into use everywhere at the moment from which others believe it.

use std::sync::Arc;

use anyhow::Context as _;
use truc_evidence::Directory;
use truc_link::Identity;
use truc_proto::{Digest, KeyUse, NodeId, Timestamp};
use truc_signer::{Certificate, SigningKey, SoftKey, pem_text};

use crate::settings::Settings;

/// Keys with their certificates, as settings name them.
pub struct Keyring {
    tls: Vec<(Certificate, Identity)>,
    node: Vec<(Certificate, Arc<dyn SigningKey>)>,
}

impl Keyring {
    /// Loads what settings name.
    ///
    /// # Errors
    /// When there is none of a kind, or a file is missing, exposed or unusable.
    pub fn load(settings: &Settings) -> anyhow::Result<Self> {
        let (mut tls, mut node) = (Vec::new(), Vec::new());
        for source in &settings.tls_keys {
            let key = source.load().context("load the TLS key")?;
            tls.push((key.certificate().clone(), identity(&key)?));
        }
        for source in &settings.node_keys {
            let key: Arc<dyn SigningKey> = Arc::from(source.load_signing().context("load the node's key")?);
            node.push((key.certificate().clone(), key));
        }
        anyhow::ensure!(!tls.is_empty() && !node.is_empty(), "settings name no TLS key, or no node key");
        Ok(Self { tls, node })
    }

    /// What to present on connections at `at`.
    #[must_use]
    pub fn tls(&self, directory: Option<&Directory>, node: &NodeId, at: Timestamp) -> Option<&Identity> {
        in_force(&self.tls, directory, node, KeyUse::Tls, at)
    }

    /// What signs checkpoints at `at`.
    #[must_use]
    pub fn node(&self, directory: Option<&Directory>, node: &NodeId, at: Timestamp) -> Option<&Arc<dyn SigningKey>> {
        in_force(&self.node, directory, node, KeyUse::Node, at)
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

/// Of those that the directory binds to the node and that are in force, the newest; the first one where there is none such yet.
fn in_force<'k, K>(
    keys: &'k [(Certificate, K)],
    directory: Option<&Directory>,
    node: &NodeId,
    key_use: KeyUse,
    at: Timestamp,
) -> Option<&'k K> {
    let bound = directory.and_then(|directory| directory.node(node)).map(|(_, entry)| entry.certificates.as_slice());
    let since = |sha256: Digest| {
        let binding = bound?.iter().find(|binding| binding.sha256 == sha256)?;
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

fn identity(tls: &SoftKey) -> anyhow::Result<Identity> {
    let (chain, key) = tls.tls_identity();
    let chain: String = chain.iter().map(|certificate| pem_text("CERTIFICATE", certificate)).collect();
    let key = zeroize::Zeroizing::new(pem_text("PRIVATE KEY", key.secret_der()));
    Identity::from_pem(chain.as_bytes(), key.as_bytes()).context("use the TLS key")
}
