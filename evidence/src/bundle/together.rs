//! What receipts show together about those who made them: ledgers with two histories, and certificates that a later directory names as revoked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use truc_proto::{AxisId, Checkpoint, Digest, Lane, Timestamp};

use super::read::names;
use crate::{Outcome, ReceiptReport, ReceiptSummary, ReceiptVerdict};

/// Two receipts with checkpoints of one ledger and size, and different roots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TwoHistories<'r, N> {
    /// What the ledger calls itself.
    pub origin: &'r str,
    /// Its key, which signed both (Ed25519).
    pub ledger_key: [u8; 32],
    /// Of how many leaves both speak.
    pub size: u64,
    /// The one that was read first, as it was named.
    pub first: N,
    /// The one that contradicts it.
    pub second: N,
}

/// All that contradict the first of their ledger and size among these receipts, in their order.
pub fn two_histories<'r, N: Copy>(
    receipts: impl IntoIterator<Item = (N, &'r ReceiptReport)>,
) -> impl Iterator<Item = TwoHistories<'r, N>> {
    let mut seen: BTreeMap<(&str, [u8; 32], u64), (N, Digest)> = BTreeMap::new();
    // Both checkpoints carry the ledger key's signature, or their receipts are invalid.
    let stated = receipts.into_iter().filter(|(_, report)| report.verdict != ReceiptVerdict::Invalid);
    stated.filter_map(move |(second, report)| {
        let summary = report.summary.as_ref()?;
        // Under another key it is another ledger, whatever it calls itself.
        let (checkpoint, ledger_key) = summary.checkpoint.as_ref().zip(summary.ledger_key)?;
        let (origin, size) = (checkpoint.origin(), checkpoint.size);
        let (first, root) = *seen.entry((origin, ledger_key, size)).or_insert((second, checkpoint.root));
        (root != checkpoint.root).then_some(TwoHistories { origin, ledger_key, size, first, second })
    })
}

/// What receipts that are given together show against each other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Together {
    /// Ledgers with two histories: origin and key, and where, for people.
    forks: BTreeSet<(String, [u8; 32], String)>,
    /// By axis, lane and certificate: per directory version that binds it to its node, since when it is revoked or suspended there.
    ends: BTreeMap<(AxisId, Lane, Digest), BTreeMap<u64, Option<Timestamp>>>,
}

impl Together {
    /// Reads the receipts, with their names, that are to be held against each other.
    pub fn of<'r, N: Copy + fmt::Display>(
        receipts: impl IntoIterator<Item = (N, &'r ReceiptReport), IntoIter: Clone>,
    ) -> Self {
        let receipts = receipts.into_iter();
        let mut found = Self::default();
        for (_, report) in receipts.clone().filter(|(_, report)| report.verdict == ReceiptVerdict::Valid) {
            if let Some(summary) = &report.summary {
                found.note_ends(summary);
            }
        }
        let forks = two_histories(receipts).map(|TwoHistories { origin, ledger_key, size, first, second }| {
            (origin.to_owned(), ledger_key, format!("{origin} at {size} leaves: {first}, {second}"))
        });
        found.forks = forks.collect();
        found
    }

    fn note_ends(&mut self, summary: &ReceiptSummary) {
        let (Some(version), Some((axis, lane))) = (summary.directory_version, &summary.domain) else { return };
        for bound in &summary.node_certificates {
            let versions = self.ends.entry((axis.clone(), *lane, bound.sha256)).or_default();
            let of_it = versions.entry(version).or_default();
            *of_it = [*of_it, bound.ended].into_iter().flatten().min();
        }
    }

    /// Whether the receipt counts: it is valid, and nothing later stops its certificate.
    #[must_use]
    pub fn counts(&self, report: &ReceiptReport) -> bool {
        report.verdict == ReceiptVerdict::Valid && self.ended(report).is_none()
    }

    /// Whether its ledger shows two histories. Who signed both can deny neither.
    #[must_use]
    pub fn is_forked(&self, report: &ReceiptReport) -> bool {
        let Some(summary) = &report.summary else { return false };
        let origin = summary.checkpoint.as_ref().map(Checkpoint::origin);
        self.forks.iter().any(|(forked, key, _)| Some(forked.as_str()) == origin && Some(*key) == summary.ledger_key)
    }

    /// What a later version of the directory among them says against the certificate that signed it: failed, or cannot be told; none: nothing.
    #[must_use]
    pub fn ended(&self, report: &ReceiptReport) -> Option<(Outcome, Timestamp)> {
        let summary = report.summary.as_ref().filter(|_| report.verdict == ReceiptVerdict::Valid)?;
        let (axis, lane) = summary.domain.clone()?;
        let versions = self.ends.get(&(axis, lane, summary.certificate?))?;
        let (newest, ended) = versions.last_key_value()?;
        let since = ended.filter(|_| Some(*newest) > summary.directory_version)?;
        let signed = summary.signed_at.unwrap_or(summary.time);
        match summary.proven_by {
            _ if since <= signed => Some((Outcome::Failed, since)),
            Some(by) if by < since => None,
            Some(_) => Some((Outcome::Failed, since)),
            None => Some((Outcome::Unknown, since)),
        }
    }

    /// Which ledgers show two histories, and where, for people; none where there are none.
    pub(super) fn histories(&self) -> Option<String> {
        names(self.forks.iter().map(|(_, _, place)| place.as_str()))
    }

    /// Which of these rest on a certificate that a later directory among them stops.
    pub(super) fn stopped<'r>(
        &self,
        receipts: impl Iterator<Item = (&'r str, &'r ReceiptReport)> + Clone,
    ) -> (Outcome, String) {
        let of = |wanted: Outcome| {
            let stopped = receipts.clone().filter_map(|(name, report)| {
                let (_, since) = self.ended(report).filter(|(outcome, _)| *outcome == wanted)?;
                Some(format!("{name}: revoked or suspended since {since}"))
            });
            let stopped: Vec<_> = stopped.collect();
            names(stopped.iter().map(String::as_str))
        };
        let found = of(Outcome::Failed).map(|told| (Outcome::Failed, told));
        let unknown = || of(Outcome::Unknown).map(|told| (Outcome::Unknown, told));
        found.or_else(unknown).unwrap_or((Outcome::Passed, String::new()))
    }
}
