//! What receipts show together about those who made them: ledgers with two histories, and certificates that a later directory names as revoked.

use std::collections::{BTreeMap, BTreeSet};

use truc_proto::{AxisId, Checkpoint, Digest, Lane, Timestamp};

use super::read::names;
use crate::{Outcome, ReceiptReport, ReceiptSummary, ReceiptVerdict};

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
    pub fn of<'r>(receipts: impl IntoIterator<Item = (&'r str, &'r ReceiptReport)>) -> Self {
        let mut seen: BTreeMap<(&str, [u8; 32], u64), (&str, Digest)> = BTreeMap::new();
        let mut found = Self::default();
        // Both checkpoints of two histories carry the ledger key's signature, or their receipts are invalid.
        for (name, report) in receipts.into_iter().filter(|(_, report)| report.verdict != ReceiptVerdict::Invalid) {
            let Some(summary) = &report.summary else { continue };
            if report.verdict == ReceiptVerdict::Valid {
                found.note_ends(summary);
            }
            // Under another key it is another ledger, whatever it calls itself.
            let (Some(checkpoint), Some(key)) = (&summary.checkpoint, summary.ledger_key) else { continue };
            let (origin, size) = (checkpoint.origin(), checkpoint.size);
            let (first, root) = *seen.entry((origin, key, size)).or_insert((name, checkpoint.root));
            if root != checkpoint.root {
                found.forks.insert((origin.to_owned(), key, format!("{origin} at {size} leaves: {first}, {name}")));
            }
        }
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
