//! What the time-stamps on a signature come to: one question about three signatures, a checkpoint's, a directory root's and a bundle's.

use truc_proto::{Timestamp, chain};
use truc_signer::{Certificate, CmsSignature, Worth};

use super::ReceiptTrust;
use crate::Outcome;

/// The time-stamps of one CMS, judged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Stamps {
    /// The latest moment at which the signature came into being, by the believed time-stamp that puts it earliest.
    before: Option<Proven>,
    /// What is wrong with the first one that cannot be right.
    wrong: Option<String>,
    /// Why the first of the others proves nothing.
    nothing: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Proven {
    latest: Timestamp,
    by: String,
}

impl Stamps {
    /// Judges those of `cms`, which was made at `made` by its own account or later.
    pub(crate) fn of(cms: &CmsSignature, made: Timestamp, trust: &ReceiptTrust, now: Timestamp) -> Self {
        let mut all = Self::default();
        for token in &cms.time_stamp_tokens {
            let stamp = trust.time_stamp(token, &cms.signature);
            let worth = stamp.and_then(|stamp| stamp.worth(trust.store(), made, now).map(|worth| (stamp, worth)));
            match worth {
                Err(error) => _ = all.wrong.get_or_insert_with(|| chain(&error)),
                Ok((_, Worth::Nothing(why))) => _ = all.nothing.get_or_insert_with(|| why.to_string()),
                Ok((stamp, Worth::Proves)) => {
                    let latest = stamp.latest();
                    if all.before.as_ref().is_none_or(|known| latest < known.latest) {
                        all.before = Some(Proven { latest, by: stamp.certificate.subject().to_owned() });
                    }
                }
            }
        }
        all
    }

    /// What the check of the time-stamps finds; none where there are none.
    pub(crate) fn finding(&self) -> Option<(Outcome, String)> {
        if let Some(wrong) = &self.wrong {
            return Some((Outcome::Failed, wrong.clone()));
        }
        if let Some(Proven { latest, by }) = &self.before {
            return Some((Outcome::Passed, format!("before {latest}, by {by}")));
        }
        self.nothing.as_ref().map(|why| (Outcome::NotApplicable, format!("it proves no time: {why}")))
    }

    /// The moment by which the signature was there, where one is believed.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        self.before.as_ref().map(|proven| proven.latest)
    }

    /// Whether one is believed.
    pub(crate) const fn prove(&self) -> bool {
        self.before.is_some()
    }

    /// Of a certificate whose validity is over: whether it was not when it signed.
    pub(crate) fn expired(&self, certificate: &Certificate) -> (Outcome, String) {
        let end = certificate.not_after();
        match &self.before {
            Some(Proven { latest, by }) if *latest <= end => {
                (Outcome::Passed, format!("expired {end}; signed before {latest}, by the time-stamp of {by}"))
            }
            Some(Proven { latest, by }) => {
                (Outcome::Failed, format!("expired {end}; that it had signed is shown from {latest} on only, by {by}"))
            }
            None => (Outcome::Unknown, format!("expired {end}; {}", self.missing())),
        }
    }

    /// Of a certificate that was revoked or suspended: whether it was not when it signed, by its own account at `signed`.
    pub(crate) fn revoked(&self, since: Timestamp, signed: Timestamp) -> (Outcome, String) {
        if since <= signed {
            return (Outcome::Failed, format!("revoked or suspended since {since}, signed {signed}"));
        }
        match &self.before {
            Some(Proven { latest, by }) if *latest < since => (
                Outcome::Passed,
                format!("revoked or suspended since {since}; signed before {latest}, by the time-stamp of {by}"),
            ),
            Some(Proven { latest, by }) => (
                Outcome::Failed,
                format!(
                    "revoked or suspended since {since}; that it had signed is shown from {latest} on only, by {by}"
                ),
            ),
            None => (
                Outcome::Unknown,
                format!("revoked or suspended since {since}; says it signed {signed}, and {}", self.missing()),
            ),
        }
    }

    fn missing(&self) -> String {
        match (&self.wrong, &self.nothing) {
            (Some(why), _) | (None, Some(why)) => format!("no time-stamp shows it: {why}"),
            (None, None) => "no time-stamp shows it".to_owned(),
        }
    }
}
