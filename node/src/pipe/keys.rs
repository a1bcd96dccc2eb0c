//! The agencies' keys of this node.

use std::{collections::BTreeMap, sync::Arc};

use truc_evidence::Directory;
use truc_proto::{AgencyId, KeyStatus, KeyUse, Timestamp};
use truc_signer::{OpeningKey, SigningKey};

use truc_custody::stopped::{Guarded, Stopped};

use crate::settings::{MaterialError, Settings};

/// An agency's keys.
#[derive(Clone, Default)]
pub struct AgencyKeys {
    /// Sign containers.
    pub service: Vec<Arc<dyn SigningKey>>,
    /// Open what is sealed to their certificates; older ones stay until nothing sealed to them can arrive.
    pub sealing: Vec<Arc<dyn OpeningKey>>,
}

/// What signs for an agency now.
pub(super) enum ServiceKey {
    /// This.
    InForce(Arc<dyn SigningKey>),
    /// What did is revoked, suspended, or declared stolen or lost: what is to be signed waits for another one.
    TakenAway,
    /// Nothing does.
    None,
}

/// The keys of all agencies of this node.
#[derive(Clone, Default)]
pub struct Keys {
    agencies: BTreeMap<AgencyId, AgencyKeys>,
    stopped: Arc<Stopped>,
}

impl Keys {
    /// These keys.
    #[must_use]
    pub fn new(agencies: BTreeMap<AgencyId, AgencyKeys>) -> Self {
        Self { agencies, stopped: Arc::default() }
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
                keys.service.push(Arc::new(Guarded::new(source.load_signing()?, &settings.stopped)));
            }
            for source in &agency.sealing {
                keys.sealing.push(Arc::from(source.load_opening()?));
            }
            agencies.insert(agency.code.clone(), keys);
        }
        Ok(Self { agencies, stopped: Arc::clone(&settings.stopped) })
    }

    /// Whether the code is one of this node's.
    #[must_use]
    pub fn serves(&self, code: &AgencyId) -> bool {
        self.agencies.contains_key(code)
    }

    /// The service key whose certificate the directory binds to the code and that is in force; of several, the newest.
    pub(super) fn service(&self, code: &AgencyId, directory: &Directory, now: Timestamp) -> ServiceKey {
        let keys = self.agencies.get(code).map_or(&[][..], |keys| &keys.service);
        let bound = |key: &Arc<dyn SigningKey>| directory.binding_of(code, &key.certificate().sha256());
        let stopped = |key: &Arc<dyn SigningKey>| self.stopped.contains(&key.certificate().sha256());
        let in_force = keys.iter().filter(|key| !stopped(key)).filter_map(|key| {
            let binding = bound(key)?;
            binding.serves(KeyUse::Service, now).then_some((binding.valid_from, key))
        });
        if let Some((_, key)) = in_force.max_by_key(|(from, _)| *from) {
            return ServiceKey::InForce(Arc::clone(key));
        }
        let taken_away = |key| stopped(key) || bound(key).is_some_and(|bound| bound.status != KeyStatus::Good);
        if keys.iter().any(taken_away) { ServiceKey::TakenAway } else { ServiceKey::None }
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
