//! Revocation of a checked path, three-valued, over the whole lists loaded, and the OCSP answers beside them.

use std::time::Duration;

use truc_proto::Timestamp;

use super::{Remembered, TrustStore, Verdict, WhyUnknown};
use crate::{
    certificate::Certificate,
    crl::{Crl, RevocationReason},
};

/// Judges every certificate of the path but the anchor. Revoked outweighs unknown, unknown outweighs good (I11).
pub(super) fn judge(store: &TrustStore, path: &[Certificate], at: Timestamp) -> Remembered {
    // Read first: what is learnt meanwhile makes this verdict one to be reached again.
    let generation = store.answers().generation();
    let mut unknown = None;
    // The anchor's own time does not count: it is trusted because it is pinned.
    let checked = path.len().saturating_sub(1);
    let mut from = path.iter().take(checked).map(Certificate::not_before).max().unwrap_or(at);
    let mut to = path.iter().take(checked).map(Certificate::not_after).min().unwrap_or(at);
    for (certificate, issuer) in path.iter().zip(path.iter().skip(1)) {
        match super::answers::judge_one(store, certificate, issuer, at) {
            One::Good { until } => to = to.min(until),
            One::Revoked(at, reason) => {
                let verdict = Verdict::Revoked { at, reason, subject: certificate.subject().into() };
                return Remembered { verdict, from, to, generation };
            }
            One::Unknown(why) => {
                if let WhyUnknown::StaleCrl { next_update, .. } = &why {
                    from = from.max(*next_update + Duration::from_millis(1));
                }
                unknown.get_or_insert(why);
            }
        }
    }
    // A span that misses `at` (clocks running backwards across a list's end) would only fail to be recalled.
    Remembered { verdict: unknown.map_or(Verdict::Good, Verdict::Unknown), from, to, generation }
}

/// What is known of one certificate.
pub(super) enum One {
    /// Not listed; the list, or an answer, is current until then.
    Good {
        until: Timestamp,
    },
    Revoked(Timestamp, RevocationReason),
    Unknown(WhyUnknown),
}

pub(super) fn judge_by_lists(
    store: &TrustStore,
    certificate: &Certificate,
    issuer: &Certificate,
    at: Timestamp,
) -> One {
    let issuer_name = || issuer.subject().to_owned();
    let named: Vec<&Crl> = store.crls().iter().filter(|crl| crl.issuer_der() == issuer.subject_der()).collect();
    // An authority without the cRLSign bit does not sign lists (RFC 5280 4.2.1.3).
    let may_sign = issuer.key_usage().is_none_or(x509_cert::ext::pkix::KeyUsage::crl_sign);
    let mut lists: Vec<&Crl> = named.iter().copied().filter(|crl| may_sign && store.is_signed(crl, issuer)).collect();
    lists.sort_by_key(|crl| crl.this_update());
    let Some(newest) = lists.last() else {
        let issuer = issuer_name();
        let foreign = !named.is_empty();
        return One::Unknown(if foreign {
            WhyUnknown::ForeignCrl { issuer }
        } else {
            WhyUnknown::MissingCrl { issuer }
        });
    };
    // The newest list decides about suspensions, which may be lifted; a revocation stands once any list names it,
    // even a stale one: issuers may drop expired certificates from later lists.
    let revocation = newest.revocation(certificate.serial()).or_else(|| {
        let older = lists.iter().rev().skip(1);
        older
            .filter_map(|crl| crl.revocation(certificate.serial()))
            .find(|(_, reason)| *reason != RevocationReason::CertificateHold)
    });
    match (revocation, newest.next_update()) {
        (Some((at, reason)), _) => One::Revoked(at, reason),
        (None, Some(next_update)) if at > next_update => {
            One::Unknown(WhyUnknown::StaleCrl { issuer: issuer_name(), next_update })
        }
        (None, Some(next_update)) => One::Good { until: next_update },
        // RFC 5280 5.1.2.5 demands nextUpdate; without it nobody can tell a current list from an old one.
        (None, None) => One::Unknown(WhyUnknown::StaleCrl { issuer: issuer_name(), next_update: newest.this_update() }),
    }
}
