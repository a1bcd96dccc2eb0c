//! A node's or a relay's own keys, for its connections and for its checkpoints. Settings name one of each, or several while one takes over from another; which of
//! them serves is the directory's to say, so a certificate comes into use everywhere at the moment from which others believe it.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::Context as _;
use truc_link::Identity;
use truc_proto::{Digest, KeyUse, NodeEntry, Timestamp};
use truc_signer::{Certificate, SigningKey};

use crate::{
    KeySource,
    stopped::{Guarded, Stopped},
};

/// Keys with their certificates, as settings name them.
pub struct Keyring {
    tls: Vec<(Certificate, Identity)>,
    node: Vec<(Certificate, Arc<dyn SigningKey>)>,
    stopped: Arc<Stopped>,
}

impl Keyring {
    /// Loads what settings name for either use. What is declared in `stopped`, now or later, is not used.
    ///
    /// # Errors
    /// When there is none of a kind, or a file is missing, exposed or unusable.
    pub fn load(tls_keys: &[KeySource], node_keys: &[KeySource], stopped: &Arc<Stopped>) -> anyhow::Result<Self> {
        let (mut tls, mut node) = (Vec::new(), Vec::<(Certificate, Arc<dyn SigningKey>)>::new());
        for source in tls_keys {
            tls.push(source.load_identity().context("load the TLS key")?);
        }
        for source in node_keys {
            let key = Guarded::new(source.load_signing().context("load the node's key")?, stopped);
            node.push((key.certificate().clone(), Arc::new(key)));
        }
        anyhow::ensure!(!tls.is_empty() && !node.is_empty(), "settings name no TLS key, or no node key");
        Ok(Self { tls, node, stopped: Arc::clone(stopped) })
    }

    /// What to present on connections at `at`, by its entry in the directory.
    #[must_use]
    pub fn tls(&self, entry: Option<&NodeEntry>, at: Timestamp) -> Option<&Identity> {
        self.in_force(&self.tls, entry, KeyUse::Tls, at)
    }

    /// What signs checkpoints at `at`, by its entry in the directory.
    #[must_use]
    pub fn node(&self, entry: Option<&NodeEntry>, at: Timestamp) -> Option<&Arc<dyn SigningKey>> {
        self.in_force(&self.node, entry, KeyUse::Node, at)
    }

    /// The certificates of a kind.
    pub fn certificates(&self, key_use: KeyUse) -> Vec<Certificate> {
        match key_use {
            KeyUse::Tls => self.tls.iter().map(|(certificate, _)| certificate.clone()).collect(),
            KeyUse::Node => self.node.iter().map(|(certificate, _)| certificate.clone()).collect(),
            KeyUse::Service | KeyUse::Sealing | KeyUse::Operator => Vec::new(),
        }
    }

    /// TLS certificates whose keys were declared stolen or lost.
    #[must_use]
    pub fn stopped_tls(&self) -> BTreeSet<Digest> {
        let all = self.tls.iter().map(|(certificate, _)| certificate.sha256());
        all.filter(|sha256| self.stopped.contains(sha256)).collect()
    }

    /// Of those that the entry binds and that are in force, the newest. Where there is none such, one that the entry does not have yet: the version that
    /// binds it may be waiting behind the connection. What was declared stolen or lost comes last; nobody uses it.
    fn in_force<'k, K>(
        &self,
        keys: &'k [(Certificate, K)],
        entry: Option<&NodeEntry>,
        key_use: KeyUse,
        at: Timestamp,
    ) -> Option<&'k K> {
        let binding = |sha256: Digest| entry?.certificates.iter().find(|binding| binding.sha256 == sha256);
        let usable = || keys.iter().filter(|(certificate, _)| !self.stopped.contains(&certificate.sha256()));
        let serving = usable().filter_map(|(certificate, key)| {
            let binding = binding(certificate.sha256()).filter(|binding| binding.serves(key_use, at))?;
            Some((binding.valid_from, key))
        });
        if let Some((_, newest)) = serving.max_by_key(|(from, _)| *from) {
            return Some(newest);
        }
        let mut unknown =
            usable().filter(|(certificate, _)| entry.is_some() && binding(certificate.sha256()).is_none());
        unknown.next_back().or_else(|| usable().next()).or(keys.first()).map(|(_, key)| key)
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({} for connections, {} for checkpoints)", self.tls.len(), self.node.len())
    }
}
