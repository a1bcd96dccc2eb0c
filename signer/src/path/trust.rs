//! What is trusted: anchors, intermediates and revocation lists, fixed when built (a new list makes a new store), and the OCSP answers learnt since.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use truc_proto::{
    Digest, Timestamp,
    limits::{FUTURE_SKEW_MAX_MS, TRUST_STORE_ITEMS_MAX, VERDICTS_CACHED_MAX},
};

use super::{CertificateUse, OcspAnswers, PolicySettings, Verdict};
use crate::{certificate::Certificate, crl::Crl, name::ComparableName};

/// Why a trust store could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustStoreError {
    /// Without an anchor nothing can be believed.
    #[error("the trust store has no anchor; the administrator must configure the root certificate of the axis")]
    NoAnchor,
    /// More than the bound.
    #[error("the trust store has {count} {what}, at most {TRUST_STORE_ITEMS_MAX} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// An anchor that cannot serve as one.
    #[error("the certificate of {subject} cannot serve as an anchor: {detail}")]
    Anchor {
        /// Whose certificate.
        subject: String,
        /// Why not.
        detail: String,
    },
}

/// Anchors, intermediates and revocation lists, and the verdicts reached with them.
///
/// Immutable but for the OCSP answers, so a verdict once reached stays right within the time it was reached for (certificates on the path valid,
/// lists current) as long as no further answer is learnt. To load a new list, build a new store and swap it in.
pub struct TrustStore {
    anchors: Vec<Certificate>,
    intermediates: Vec<Certificate>,
    crls: Vec<Arc<Crl>>,
    /// Issuer and date of lists that were left out because they come from the future.
    early: Vec<(ComparableName, Timestamp)>,
    answers: Arc<OcspAnswers>,
    policies: PolicySettings,
    verdicts: Mutex<HashMap<(Digest, CertificateUse), Remembered>>,
    signed: Arc<Mutex<HashMap<(Digest, Digest), bool>>>,
}

/// A verdict and the span of time, both ends included, in which it is what validation would say again.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    pub(super) verdict: Verdict,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// Which OCSP answers were known.
    pub(super) generation: u64,
}

impl TrustStore {
    /// Puts a store together.
    ///
    /// # Errors
    /// When there is no anchor, an unusable one, or too many of anything.
    pub fn new(
        anchors: Vec<Certificate>,
        intermediates: Vec<Certificate>,
        crls: Vec<Crl>,
    ) -> Result<Self, TrustStoreError> {
        if anchors.is_empty() {
            return Err(TrustStoreError::NoAnchor);
        }
        let counts =
            [("anchors", anchors.len()), ("intermediates", intermediates.len()), ("revocation lists", crls.len())];
        if let Some((what, count)) = counts.into_iter().find(|(_, count)| *count > TRUST_STORE_ITEMS_MAX) {
            return Err(TrustStoreError::TooMany { what, count });
        }
        if let Some(unusable) = anchors.iter().find(|anchor| !super::may_issue(anchor)) {
            let detail = "it is not the certificate of an authority (basicConstraints, keyCertSign)".into();
            return Err(TrustStoreError::Anchor { subject: unusable.subject().into(), detail });
        }
        Ok(Self {
            anchors,
            intermediates,
            crls: crls.into_iter().map(Arc::new).collect(),
            early: Vec::new(),
            answers: Arc::default(),
            policies: PolicySettings::default(),
            verdicts: Mutex::default(),
            signed: Arc::default(),
        })
    }

    /// The same store, asking this of the certificate policies of every path.
    #[must_use]
    pub fn under_policies(self, policies: PolicySettings) -> Self {
        Self { policies, verdicts: Mutex::default(), ..self }
    }

    /// The anchors.
    #[must_use]
    pub fn anchors(&self) -> &[Certificate] {
        &self.anchors
    }

    /// The intermediates.
    #[must_use]
    pub fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }

    /// The revocation lists.
    #[must_use]
    pub fn crls(&self) -> &[Arc<Crl>] {
        &self.crls
    }

    /// The same without the lists that are dated after `now`, a skew allowed: our clock or the authority's is wrong, and a list of next year would pass
    /// for current until then. `now` is the clock's time when the lists are loaded, not the time a certificate is judged at.
    #[must_use]
    pub fn as_of(mut self, now: Timestamp) -> Self {
        let last = Timestamp::from_unix_ms(now.unix_ms() + FUTURE_SKEW_MAX_MS);
        let (early, crls): (Vec<_>, Vec<_>) = self.crls.into_iter().partition(|list| list.this_update() > last);
        self.crls = crls;
        self.early.extend(early.into_iter().map(|list| (list.issuer().clone(), list.this_update())));
        Self { verdicts: Mutex::default(), ..self }
    }

    /// The date of a list of this issuer that was left out by [`Self::as_of`].
    pub(super) fn early_list_of(&self, issuer: &ComparableName) -> Option<Timestamp> {
        self.early.iter().find(|(name, _)| name == issuer).map(|(_, date)| *date)
    }

    /// The same, with OCSP answers beside the lists.
    #[must_use]
    pub fn with_answers(self, answers: Arc<OcspAnswers>) -> Self {
        Self { answers, verdicts: Mutex::default(), ..self }
    }

    /// Another store of the same certificates and lists, with these OCSP answers instead.
    #[must_use]
    pub fn instead_with(&self, answers: Arc<OcspAnswers>) -> Self {
        Self {
            anchors: self.anchors.clone(),
            intermediates: self.intermediates.clone(),
            crls: self.crls.clone(),
            early: self.early.clone(),
            answers,
            policies: self.policies.clone(),
            verdicts: Mutex::default(),
            signed: Arc::clone(&self.signed),
        }
    }

    /// The OCSP answers beside the lists.
    #[must_use]
    pub const fn answers(&self) -> &Arc<OcspAnswers> {
        &self.answers
    }

    /// What is asked of certificate policies.
    #[must_use]
    pub const fn policies(&self) -> &PolicySettings {
        &self.policies
    }

    /// Whether `issuer` signed `crl`; the answer is kept, a list may be megabytes long.
    pub(super) fn is_signed(&self, crl: &Crl, issuer: &Certificate) -> bool {
        let key = (crl.sha256(), Digest::of(issuer.public_key().spki_der()));
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = signed.get(&key) {
            return *known;
        }
        let holds = crl.is_signed_by(issuer.public_key());
        // Issuers may come along with a message, so the number of pairs is theirs to choose: bounded.
        if signed.len() >= VERDICTS_CACHED_MAX {
            signed.clear();
        }
        signed.insert(key, holds);
        holds
    }

    pub(super) fn recall(&self, certificate: &Certificate, wanted: CertificateUse, at: Timestamp) -> Option<Verdict> {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = verdicts.get(&(certificate.sha256(), wanted))?;
        let known = self.answers.generation();
        (remembered.from <= at && at <= remembered.to && remembered.generation == known)
            .then(|| remembered.verdict.clone())
    }

    pub(super) fn remember(&self, certificate: &Certificate, wanted: CertificateUse, verdict: Remembered) {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.len() >= VERDICTS_CACHED_MAX {
            verdicts.clear();
        }
        verdicts.insert((certificate.sha256(), wanted), verdict);
    }
}

impl std::fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustStore")
            .field("anchors", &self.anchors)
            .field("intermediates", &self.intermediates)
            .field("crls", &self.crls)
            .finish_non_exhaustive()
    }
}
