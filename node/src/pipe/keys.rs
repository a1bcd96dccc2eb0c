//! The agencies' keys of this node.

use std::{collections::BTreeMap, sync::Arc};

use truc_evidence::Directory;
use truc_proto::{AgencyId, KeyUse, Timestamp};
use truc_signer::{OpeningKey, SigningKey};

use crate::settings::{MaterialError, Settings};

/// An agency's keys.
#[derive(Clone, Default)]
pub struct AgencyKeys {
    /// Sign containers.
    pub service: Vec<Arc<dyn SigningKey>>,
    /// Open what is sealed to their certificates; older ones stay until nothing sealed to them can arrive.
    pub sealing: Vec<Arc<dyn OpeningKey>>,
}

/// The keys of all agencies of this node.
#[derive(Clone, Default)]
pub struct Keys {
    agencies: BTreeMap<AgencyId, AgencyKeys>,
}

impl Keys {
    /// These keys.
    #[must_use]
    pub const fn new(agencies: BTreeMap<AgencyId, AgencyKeys>) -> Self {
        Self { agencies }
    }

    /// Loads what settings name.
    ///
    /// # Errors
    /// When a file is missing, exposed or unusable. A service key's own file may be away, and so may a token: it is used when it is back.
    pub fn load(settings: &Settings) -> Result<Self, MaterialError> {
        let mut agencies = BTreeMap::new();
        for agency in &settings.agencies {
            let mut keys = AgencyKeys::default();
            for source in &agency.service {
                keys.service.push(Arc::from(source.load_signing()?));
            }
            for source in &agency.sealing {
                keys.sealing.push(Arc::from(source.load_opening()?));
            }
            agencies.insert(agency.code.clone(), keys);
        }
        Ok(Self::new(agencies))
    }

    /// Whether the code is one of this node's.
    #[must_use]
    pub fn serves(&self, code: &AgencyId) -> bool {
        self.agencies.contains_key(code)
    }

    /// The service key whose certificate the directory binds to the code and that is in force; of several, the newest.
    pub(super) fn service(
        &self,
        code: &AgencyId,
        directory: &Directory,
        now: Timestamp,
    ) -> Option<Arc<dyn SigningKey>> {
        let in_force = self.agencies.get(code)?.service.iter().filter_map(|key| {
            let binding = directory.binding_of(code, &key.certificate().sha256())?;
            binding.serves(KeyUse::Service, now).then_some((binding.valid_from, key))
        });
        in_force.max_by_key(|(from, _)| *from).map(|(_, key)| Arc::clone(key))
    }

    pub(super) fn sealing(&self, code: &AgencyId) -> &[Arc<dyn OpeningKey>] {
        self.agencies.get(code).map_or(&[], |keys| &keys.sealing)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.agencies.keys()).finish()
    }
}
