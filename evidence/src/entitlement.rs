//! What entitles an actor, small enough to keep beside every receipt: its entries of one directory version, proven, and the signed root.
//!
//! A directory moves on while evidence waits for its final checkpoint, and a receipt must carry the root that was in force at the event:
//! whoever records evidence keeps this with it.

use serde::{Deserialize, Serialize};
use truc_proto::{Actor, ProvenEntry, Role, json::base64};

use crate::{Directory, DirectoryReadError};

/// Signed root, node entry and (but for the relay) agency entry of an actor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entitlement {
    /// Bytes of the root statement.
    #[serde(with = "base64")]
    pub directory: Vec<u8>,
    /// The operator's detached CMS over it.
    #[serde(with = "base64")]
    pub directory_cms: Vec<u8>,
    /// The node's or relay's entry.
    pub node: ProvenEntry,
    /// The agency's entry; absent for the relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<ProvenEntry>,
}

impl Entitlement {
    /// The form for keeping: JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and lists are always JSON")
    }

    /// Reads what [`Entitlement::to_bytes`] wrote. Believes nothing: a receipt is verified as a whole.
    ///
    /// # Errors
    /// When the bytes are not of that form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl Directory {
    /// What entitles `actor` in this version; none when it does not stand there.
    ///
    /// # Errors
    /// When the directory's copy on the disk cannot be read.
    pub fn entitlement(&self, actor: &Actor) -> Result<Option<Entitlement>, DirectoryReadError> {
        let node = match actor.role {
            Role::Relay => format!("relay/{}", actor.node),
            Role::Sender | Role::Recipient => format!("node/{}", actor.node),
        };
        let agency = match &actor.code {
            Some(code) => match self.proven(&format!("agency/{code}"))? {
                Some(agency) => Some(agency),
                None => return Ok(None),
            },
            None => None,
        };
        let entitled = |node| Entitlement {
            directory: self.statement().bytes().to_vec(),
            directory_cms: self.cms().to_vec(),
            node,
            agency,
        };
        Ok(self.proven(&node)?.map(entitled))
    }
}
