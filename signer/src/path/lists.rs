//! Whether a revocation list that came in is one to keep: whose it is, that it is signed, of now, and no step back.

use std::{fmt, time::Duration};

use truc_proto::{Digest, Timestamp, limits::FUTURE_SKEW_MAX_MS};
use x509_cert::ext::pkix::KeyUsage;

use super::TrustStore;
use crate::{certificate::Certificate, crl::Crl};

/// What a list that is kept is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKept {
    /// Newer than what was there, or the first of its issuer.
    New,
    /// The one that is there.
    Held,
}

/// Why a list is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListRefused {
    /// Nobody whom the store knows issued it.
    #[error(
        "no trusted authority has the name under which this revocation list is issued; check that it is the right file"
    )]
    UnknownIssuer,
    /// It is not whose it says it is.
    #[error(
        "the revocation list under the name of {issuer} is not signed by it: it is forged or damaged; fetch it again"
    )]
    NotSigned {
        /// Whose it claims to be.
        issuer: String,
    },
    /// Its clock or ours is wrong.
    #[error("the revocation list of {issuer} was issued on {this_update}, and it is {now}: a clock is wrong")]
    FromFuture {
        /// Whose it is.
        issuer: String,
        /// When it was issued, as it says.
        this_update: Timestamp,
        /// Our time.
        now: Timestamp,
    },
    /// Its successor is due.
    #[error("the revocation list of {issuer} was due to be replaced on {next_update}: fetch the newer one")]
    Stale {
        /// Whose it is.
        issuer: String,
        /// When its successor was due.
        next_update: Timestamp,
    },
    /// A step back.
    #[error("the revocation list of {issuer} of {given} is older than the one held, of {held}; the newer one stays")]
    Older {
        /// Whose it is.
        issuer: String,
        /// When the given one was issued.
        given: Timestamp,
        /// When the held one was.
        held: Timestamp,
    },
}

/// What one authority's lists are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListState {
    /// Whose it is.
    pub issuer: String,
    /// When the newest was issued.
    pub this_update: Timestamp,
    /// When a successor is due first.
    pub next_update: Option<Timestamp>,
}

impl TrustStore {
    /// The lists of each authority that has some signed by it, for those who watch over them.
    #[must_use]
    pub fn lists(&self) -> Vec<ListState> {
        let mut states: Vec<ListState> = Vec::new();
        for authority in self.anchors().iter().chain(self.intermediates()) {
            let own = self.crls().iter().filter(|list| list.issuer() == authority.subject_name());
            let own: Vec<&Crl> = own.map(AsRef::as_ref).filter(|list| self.is_signed(list, authority)).collect();
            let (issuer, newest) = (authority.subject(), own.iter().map(|list| list.this_update()).max());
            let known = states.iter().any(|state| state.issuer == issuer);
            if let Some(this_update) = newest.filter(|_| !known) {
                // Of lists of several scopes the one counts that is due first; of those of one scope, delta lists among them, the last.
                let of_scope = |list: &&&Crl| {
                    let same = own.iter().filter(|other| other.scope() == list.scope());
                    same.filter_map(|other| other.next_update()).max()
                };
                let next_update = own.iter().filter_map(|list| of_scope(&list)).min();
                states.push(ListState { issuer: issuer.to_owned(), this_update, next_update });
            }
        }
        states
    }
}

/// Something at hand that a verdict on revocation rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationSource {
    /// An OCSP answer, else a list.
    pub is_answer: bool,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// As of when it speaks.
    pub of: Timestamp,
}

impl fmt::Display for RevocationSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_answer { "OCSP answer" } else { "revocation list" };
        write!(f, "{what} {} of {}", self.sha256, self.of)
    }
}

impl TrustStore {
    /// What there is about a certificate: the lists under its issuer's name that no other replaces, and the newest OCSP answer.
    #[must_use]
    pub fn sources(&self, certificate: &Certificate) -> Vec<RevocationSource> {
        let of_issuer = |list: &&Crl| list.issuer() == certificate.issuer_name();
        let newest = |list: &&Crl| !self.crls().iter().any(|other| other.replaces(list));
        let lists = self.crls().iter().map(AsRef::as_ref).filter(of_issuer).filter(newest);
        let lists =
            lists.map(|list| RevocationSource { is_answer: false, sha256: list.sha256(), of: list.this_update() });
        let authorities = self.intermediates().iter().chain(self.anchors());
        let issuers = authorities.filter(|authority| certificate.names_issuer(authority));
        let answer = issuers.filter_map(|issuer| self.answers().newest(certificate, issuer)).next();
        let answer = answer.map(|(answer, said)| RevocationSource {
            is_answer: true,
            sha256: answer.sha256(),
            of: said.this_update,
        });
        lists.chain(answer).collect()
    }
}

/// Whether `list`, which came in at `now`, is to be kept beside those of `store`; and whose it is.
///
/// # Errors
/// When it is not.
pub fn keep_list(store: &TrustStore, list: &Crl, now: Timestamp) -> Result<(ListKept, String), ListRefused> {
    let named = |authority: &&Certificate| authority.subject_name() == list.issuer();
    let authorities = store.anchors().iter().chain(store.intermediates()).filter(named);
    let (mut issuer, mut signed) = (None, false);
    for authority in authorities {
        issuer = Some(authority.subject().to_owned());
        signed |= authority.key_usage().is_none_or(KeyUsage::crl_sign) && store.is_signed(list, authority);
    }
    let issuer = issuer.ok_or(ListRefused::UnknownIssuer)?;
    if !signed {
        return Err(ListRefused::NotSigned { issuer });
    }
    let this_update = list.this_update();
    if this_update > now + Duration::from_millis(FUTURE_SKEW_MAX_MS.unsigned_abs()) {
        return Err(ListRefused::FromFuture { issuer, this_update, now });
    }
    if store.crls().iter().any(|held| held.sha256() == list.sha256()) {
        return Ok((ListKept::Held, issuer));
    }
    if let Some(held) = store.crls().iter().find(|held| held.replaces(list)) {
        return Err(ListRefused::Older { issuer, given: this_update, held: held.this_update() });
    }
    match list.next_update() {
        Some(next_update) if next_update < now => Err(ListRefused::Stale { issuer, next_update }),
        _ => Ok((ListKept::New, issuer)),
    }
}
