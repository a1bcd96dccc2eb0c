//! Revocation of a checked path, three-valued, over the lists loaded (RFC 5280 6.3.3) and the OCSP answers beside them ([`super::answers`]).
//!
//! Lists of one scope are taken together: the newest whole one, what a delta list changed since, and what older ones revoked for good. Lists of several
//! scopes (distribution points, reasons) together must cover a certificate for it to be good.

use std::{cell::Cell, time::Duration};

use truc_proto::Timestamp;
use x509_cert::ext::pkix::KeyUsage;

use super::{Remembered, TrustStore, Verdict, WhyUnknown, build, may_issue};
use crate::{
    asn1::Malformed,
    certificate::Certificate,
    crl::{Crl, DistributionPoint, Listed, Reasons, RevocationReason},
    oid,
};

/// Judges every certificate of the path but the anchor. Revoked outweighs unknown, unknown outweighs good (I11).
pub(super) fn judge(store: &TrustStore, path: &[Certificate], others: &[Certificate], at: Timestamp) -> Remembered {
    Judge { store, path, others, at, span: Cell::default(), may_look_for_signers: true }.judge()
}

/// One path to be judged, and where to look.
pub(super) struct Judge<'a> {
    pub(super) store: &'a TrustStore,
    path: &'a [Certificate],
    others: &'a [Certificate],
    pub(super) at: Timestamp,
    /// When the certificates of lists' own signers let themselves be relied on.
    span: Cell<Option<(Timestamp, Timestamp)>>,
    /// False while the certificate of a list's own signer is judged: one step is enough, and ends.
    may_look_for_signers: bool,
}

/// What is known of one certificate.
pub(super) enum One {
    /// Not listed; the lists, or an answer, are current until then.
    Good {
        until: Timestamp,
    },
    Revoked(Timestamp, RevocationReason),
    Unknown(WhyUnknown),
}

/// Lists of one issuer and one scope, all signed by who may.
struct Group<'a> {
    wholes: Vec<&'a Crl>,
    deltas: Vec<&'a Crl>,
    /// The reasons that they answer for, for this certificate.
    reasons: Reasons,
}

/// Who signed a list.
enum Signer {
    /// The issuer, or another whose certificate leads to the same anchor.
    Entitled,
    /// Another, of whose certificate it cannot be told whether it is revoked.
    Doubtful(WhyUnknown),
    /// Nobody who may.
    Nobody,
}

impl<'a> Judge<'a> {
    fn judge(&self) -> Remembered {
        // Read first: what is learnt meanwhile makes this verdict one to be reached again.
        let generation = self.store.answers().generation();
        let mut unknown = None;
        // The anchor's own time does not count: it is trusted because it is pinned.
        let checked = self.path.len().saturating_sub(1);
        let mut from = self.path.iter().take(checked).map(Certificate::not_before).max().unwrap_or(self.at);
        let mut to = self.path.iter().take(checked).map(Certificate::not_after).min().unwrap_or(self.at);
        for (certificate, issuer) in self.path.iter().zip(self.path.iter().skip(1)) {
            match super::answers::judge_one(self, certificate, issuer) {
                One::Good { until } => to = to.min(until),
                One::Revoked(at, reason) => {
                    (from, to) = self.within(from, to);
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
        (from, to) = self.within(from, to);
        // A span that misses `at` (clocks running backwards across a list's end) would only fail to be recalled.
        Remembered { verdict: unknown.map_or(Verdict::Good, Verdict::Unknown), from, to, generation }
    }

    /// As much of a span as the sources looked at allow.
    fn within(&self, from: Timestamp, to: Timestamp) -> (Timestamp, Timestamp) {
        self.span.get().map_or((from, to), |(since, until)| (from.max(since), to.min(until)))
    }

    fn narrow(&self, from: Timestamp, to: Timestamp) {
        let (since, until) = self.span.get().unwrap_or((from, to));
        self.span.set(Some((since.max(from), until.min(to))));
    }

    /// Whether what counts until then still does. The verdict holds on this side of that moment alone.
    pub(super) fn is_current(&self, until: Timestamp) -> bool {
        let current = self.at <= until;
        if current {
            self.narrow(Timestamp::from_unix_ms(0), until);
        } else {
            self.narrow(until + Duration::from_millis(1), Timestamp::from_unix_ms(i64::MAX));
        }
        current
    }

    /// The same at another time.
    pub(super) fn at(&self, at: Timestamp) -> Self {
        Self { at, span: Cell::default(), ..*self }
    }

    /// What the lists say of one certificate.
    pub(super) fn by_lists(&self, certificate: &Certificate, issuer: &Certificate) -> One {
        let name = || issuer.subject().to_owned();
        let Ok(points) = points(certificate) else {
            return One::Unknown(WhyUnknown::PartialCrl { issuer: name() });
        };
        let mut groups: Vec<Group<'a>> = Vec::new();
        let (mut is_named, mut is_signed, mut doubt) = (false, false, None);
        for list in self.store.crls() {
            let own = list.issuer() == issuer.subject_name();
            let reasons = covered(list, own, certificate, &points);
            is_named |= own || reasons != Reasons::NONE;
            if !own && reasons == Reasons::NONE {
                continue;
            }
            match self.signer(list, issuer) {
                Signer::Entitled if reasons == Reasons::NONE => is_signed = true,
                Signer::Entitled => {
                    is_signed = true;
                    put(&mut groups, list, reasons);
                }
                Signer::Doubtful(why) => doubt = Some(why),
                Signer::Nobody => {}
            }
        }
        match (answer(&groups, certificate, self.at), doubt) {
            (Some(Answer::Revoked(at, reason)), _) => One::Revoked(at, reason),
            (Some(Answer::Good { until }), _) => One::Good { until },
            (Some(Answer::Stale { next_update }), _) => {
                One::Unknown(WhyUnknown::StaleCrl { issuer: name(), next_update })
            }
            (None, Some(why)) => One::Unknown(why),
            (None, None) if is_signed => One::Unknown(WhyUnknown::PartialCrl { issuer: name() }),
            (None, None) if is_named => One::Unknown(WhyUnknown::ForeignCrl { issuer: name() }),
            (None, None) => One::Unknown(match self.store.early_list_of(issuer.subject_name()) {
                Some(this_update) => WhyUnknown::FutureCrl { issuer: name(), this_update },
                None => WhyUnknown::MissingCrl { issuer: name() },
            }),
        }
    }

    /// The issuer signs its lists with the key it signs certificates with, or with another that a certificate under the same anchor gives its name; the
    /// issuer of an indirect list likewise (RFC 5280 6.3.3 (f)).
    fn signer(&self, list: &Crl, issuer: &Certificate) -> Signer {
        let Some(anchor) = self.path.last() else { return Signer::Nobody };
        let may_sign = |one: &&Certificate| {
            one.subject_name() == list.issuer()
                && one.key_usage().is_none_or(KeyUsage::crl_sign)
                && self.store.is_signed(list, one)
        };
        // An authority without the cRLSign bit does not sign lists (RFC 5280 4.2.1.3).
        if Some(issuer).filter(may_sign).is_some() || self.path.iter().skip(1).any(|one| may_sign(&one)) {
            return Signer::Entitled;
        }
        if !self.may_look_for_signers {
            return Signer::Nobody;
        }
        let supplied = self.store.intermediates().iter().chain(self.others).filter(may_sign);
        let mut found = Signer::Nobody;
        for candidate in supplied {
            // Without keyUsage only an authority is believed to sign lists.
            if candidate.key_usage().is_none() && !may_issue(candidate) {
                continue;
            }
            let Ok(path) = build::build(self.store, candidate, self.others, self.at) else { continue };
            if path.last() != Some(anchor) {
                continue;
            }
            let signer = Judge { path: &path, span: Cell::default(), may_look_for_signers: false, ..*self }.judge();
            self.narrow(signer.from, signer.to);
            match signer.verdict {
                Verdict::Good => return Signer::Entitled,
                Verdict::Unknown(why) => found = Signer::Doubtful(why),
                Verdict::Revoked { .. } => {}
            }
        }
        found
    }
}

/// Where the certificate's revocation is published, by its own account, and its issuer's list.
fn points(certificate: &Certificate) -> Result<Vec<DistributionPoint>, Malformed> {
    let issuer = certificate.issuer_name();
    let extensions = certificate.extensions()?;
    let stated = extensions.iter().find(|one| one.is(oid::CRL_DISTRIBUTION_POINTS));
    let mut points = stated.map_or(Ok(Vec::new()), |stated| DistributionPoint::all(stated.value, issuer))?;
    points.push(DistributionPoint::implied(issuer));
    Ok(points)
}

/// For which reasons a list answers about this certificate (RFC 5280 6.3.3 (b), (d)). `own`: it is the issuer's.
fn covered(list: &Crl, own: bool, certificate: &Certificate, points: &[DistributionPoint]) -> Reasons {
    let scope = list.scope();
    if !scope.covers_kind(certificate.is_ca()) {
        return Reasons::NONE;
    }
    let is_of = |point: &&DistributionPoint| {
        let by_issuer = match &point.issuers {
            Some(issuers) => scope.indirect && issuers.contains(list.issuer()),
            None => own,
        };
        by_issuer && scope.point.as_ref().is_none_or(|names| point.is_of(names))
    };
    let of_points = points.iter().filter(is_of).fold(Reasons::NONE, |all, point| all.or(point.reasons));
    of_points.and(scope.reasons)
}

fn put<'a>(groups: &mut Vec<Group<'a>>, list: &'a Crl, reasons: Reasons) {
    let is_of = |group: &Group<'a>| {
        let first = group.wholes.first().or(group.deltas.first());
        first.is_some_and(|first| first.issuer() == list.issuer() && first.scope() == list.scope())
    };
    let known = groups.iter().position(is_of);
    let place = known.unwrap_or_else(|| {
        groups.push(Group { wholes: Vec::new(), deltas: Vec::new(), reasons });
        groups.len() - 1
    });
    let Some(group) = groups.get_mut(place) else { return };
    if list.is_delta() { &mut group.deltas } else { &mut group.wholes }.push(list);
}

enum Answer {
    Revoked(Timestamp, RevocationReason),
    Good { until: Timestamp },
    Stale { next_update: Timestamp },
}

/// What the groups say together; `None` where they do not cover the certificate.
fn answer(groups: &[Group<'_>], certificate: &Certificate, at: Timestamp) -> Option<Answer> {
    if let Some((at, reason)) = groups.iter().find_map(|group| group.revocation(certificate)) {
        return Some(Answer::Revoked(at, reason));
    }
    let (mut current, mut all) = (Reasons::NONE, Reasons::NONE);
    let (mut until, mut stale): (Option<Timestamp>, Option<Timestamp>) = (None, None);
    for group in groups {
        let Some(end) = group.end() else { continue };
        all = all.or(group.reasons);
        match end {
            End::At(end) if at <= end => {
                current = current.or(group.reasons);
                until = Some(until.map_or(end, |known| known.min(end)));
            }
            End::At(end) | End::Unstated(end) => stale = Some(stale.map_or(end, |known| known.max(end))),
        }
    }
    match (until, stale) {
        (Some(until), _) if current == Reasons::ALL => Some(Answer::Good { until }),
        (_, Some(next_update)) if all == Reasons::ALL => Some(Answer::Stale { next_update }),
        _ => None,
    }
}

/// Until when a group is current.
enum End {
    At(Timestamp),
    /// RFC 5280 5.1.2.5 demands nextUpdate; without it nobody can tell a current list from an old one. The list's own date.
    Unstated(Timestamp),
}

impl<'a> Group<'a> {
    fn newest(lists: impl Iterator<Item = &'a Crl>) -> Option<&'a Crl> {
        lists.reduce(|known, list| if list.is_newer_than(known) { list } else { known })
    }

    fn whole(&self) -> Option<&'a Crl> {
        Self::newest(self.wholes.iter().copied())
    }

    /// The newest delta list that continues the newest whole one.
    fn delta(&self) -> Option<&'a Crl> {
        let whole = self.whole()?;
        Self::newest(self.deltas.iter().copied().filter(|delta| delta.continues(whole)))
    }

    /// A delta list makes a whole one current again: together they are the list of the delta's date (RFC 5280 5.2.4).
    fn end(&self) -> Option<End> {
        let lists = [Some(self.whole()?), self.delta()];
        let end = lists.iter().flatten().filter_map(|list| list.next_update()).max();
        Some(
            end.map_or_else(
                || End::Unstated(self.whole().map_or(Timestamp::from_unix_s(0), Crl::this_update)),
                End::At,
            ),
        )
    }

    /// The newest word decides about suspensions, which may be lifted; a revocation stands once any list names it, even a stale one: issuers may drop
    /// expired certificates from later lists.
    fn revocation(&self, certificate: &Certificate) -> Option<(Timestamp, RevocationReason)> {
        let in_list = |list: &Crl| list.look_up(certificate.issuer_name(), certificate.serial());
        let newest = self.delta().and_then(in_list).or_else(|| self.whole().and_then(in_list));
        let standing = || {
            let listed = self.wholes.iter().chain(&self.deltas).filter_map(|list| in_list(list));
            listed
                .filter_map(|(at, state)| match state {
                    Listed::Revoked(RevocationReason::CertificateHold) | Listed::Removed => None,
                    Listed::Revoked(reason) => Some((at, reason)),
                })
                .min_by_key(|(at, _)| *at)
        };
        match newest {
            Some((at, Listed::Revoked(reason))) => Some((at, reason)),
            _ => standing(),
        }
    }
}
