//! What a verifier is given: anchors, the pinned operator, and what it remembers from one receipt to the next.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use truc_proto::{Digest, Policy, Timestamp, limits::ROOTS_CACHED_MAX};
use truc_signer::{
    CmsError, CmsSignature, TimeStamp, TimeStampError, TrustStore, timestamp::verify_token, verify_detached,
};

use crate::PinnedOperator;

type Verified = Result<CmsSignature, CmsError>;
type Stamped = Result<Arc<TimeStamp>, TimeStampError>;

/// Trust anchors, revocation lists, OCSP answers, the operator's pinned identity, and which witnesses count. Keep one for many receipts: it remembers directory roots and certificates checked before.
#[derive(Debug)]
pub struct ReceiptTrust {
    store: Arc<TrustStore>,
    operator: PinnedOperator,
    policy: Option<Policy>,
    roots: Mutex<HashMap<Digest, Verified>>,
    stamps: Mutex<HashMap<Digest, Stamped>>,
}

impl ReceiptTrust {
    /// From what was configured.
    #[must_use]
    pub fn new(store: impl Into<Arc<TrustStore>>, operator: PinnedOperator) -> Self {
        Self { store: store.into(), operator, policy: None, roots: Mutex::default(), stamps: Mutex::default() }
    }

    /// The same for one bundle, judged at `now`: the OCSP answers that it brings are added to those given, and count for nothing else.
    pub(crate) fn for_bundle(&self, now: Timestamp) -> Self {
        let answers = Arc::new(self.store.answers().as_of(now));
        let trust = Self::new(self.store.instead_with(answers), self.operator.clone());
        Self { policy: self.policy.clone(), ..trust }
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

    /// Anchors, intermediates, revocation lists and OCSP answers.
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
        remembered(&self.roots, cms, statement, || verify_detached(cms, statement, self.operator.certificates()))
    }

    /// A time-stamp over a signature: all receipts of one checkpoint or one directory carry the same.
    pub(super) fn time_stamp(&self, token: &[u8], signature: &[u8]) -> Stamped {
        remembered(&self.stamps, token, signature, || verify_token(token, signature).map(Arc::new))
    }
}

/// What was found about two things together, found once; a bounded number of answers is kept.
fn remembered<T: Clone>(known: &Mutex<HashMap<Digest, T>>, one: &[u8], other: &[u8], find: impl FnOnce() -> T) -> T {
    let key = Digest::of_parts(&[Digest::of(one).as_bytes(), Digest::of(other).as_bytes()]);
    let known = || known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = known().get(&key) {
        return answer.clone();
    }
    let answer = find();
    let mut known = known();
    if known.len() >= ROOTS_CACHED_MAX {
        known.clear();
    }
    known.insert(key, answer.clone());
    answer
}
