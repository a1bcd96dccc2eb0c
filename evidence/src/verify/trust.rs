//! What a verifier is given: anchors, the pinned operator, and what it remembers from one receipt to the next.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use truc_proto::{Digest, Policy, limits::ROOTS_CACHED_MAX};
use truc_signer::{CmsError, CmsSignature, TrustStore, verify_detached};

use crate::PinnedOperator;

type Verified = Result<CmsSignature, CmsError>;

/// Trust anchors, CRLs, the operator's pinned identity, and which witnesses count. Keep one for many receipts: it remembers directory roots and certificates checked before.
#[derive(Debug)]
pub struct ReceiptTrust {
    store: Arc<TrustStore>,
    operator: PinnedOperator,
    policy: Option<Policy>,
    roots: Mutex<HashMap<Digest, Verified>>,
}

impl ReceiptTrust {
    /// From what was configured.
    #[must_use]
    pub fn new(store: impl Into<Arc<TrustStore>>, operator: PinnedOperator) -> Self {
        Self { store: store.into(), operator, policy: None, roots: Mutex::default() }
    }

    /// And with a policy that says which witnesses must have cosigned. Without one no cosignature is looked at.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy: Some(policy), ..self }
    }

    /// The witness policy.
    #[must_use]
    pub const fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// Anchors, intermediates and CRLs.
    #[must_use]
    pub fn store(&self) -> &TrustStore {
        &self.store
    }

    /// The pinned operator.
    #[must_use]
    pub const fn operator(&self) -> &PinnedOperator {
        &self.operator
    }

    /// The signature over a directory root: many receipts carry the same.
    pub(super) fn root_signature(&self, cms: &[u8], statement: &[u8]) -> Verified {
        let key = Digest::of_parts(&[Digest::of(cms).as_bytes(), Digest::of(statement).as_bytes()]);
        let roots = || self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = roots().get(&key) {
            return known.clone();
        }
        let verified = verify_detached(cms, statement, self.operator.certificates());
        let mut roots = roots();
        if roots.len() >= ROOTS_CACHED_MAX {
            roots.clear();
        }
        roots.insert(key, verified.clone());
        verified
    }
}
