//! A relay that was restored from a backup signs nothing before every node that it knows has shown which of its checkpoints it holds: any of them
//! may hold a newer one.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use truc_evidence::{BackupError, Directory, forget_restored};
use truc_proto::NodeId;

/// Whom a restored relay has not heard yet.
#[derive(Debug)]
pub(super) struct Unheard {
    store: PathBuf,
    nodes: Mutex<BTreeSet<NodeId>>,
}

impl Unheard {
    /// Every node of the directory in force; the note that says that the relay was restored lies in `store`.
    pub(super) fn of(store: PathBuf, directory: &Directory) -> Self {
        let own = &directory.relay().id;
        let nodes = directory.nodes().map(|(_, node)| node.id.clone()).filter(|node| node != own).collect();
        Self { store, nodes: Mutex::new(nodes) }
    }

    /// Whom it still waits for.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// A node knows of nothing newer. True once none is left: then the relay goes on, and the note is gone.
    pub(super) fn heard(&self, node: &NodeId) -> Result<bool, BackupError> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.len() == 1 && nodes.contains(node) {
            forget_restored(&self.store)?;
        }
        nodes.remove(node);
        Ok(nodes.is_empty())
    }
}
