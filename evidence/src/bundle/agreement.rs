//! Whether receipts of one envelope id are about the same thing (docs/FORMATS.md, "Receipts agree").

use std::collections::BTreeMap;

use truc_proto::{AgencyId, Digest, EventUri};

use super::read::names;
use crate::{ReceiptReport, ReceiptSummary, ReceiptVerdict};

/// What receipts are held against: the first submission among them, else the first of them that says what the envelope is.
struct Measure<'r> {
    name: &'r str,
    first: &'r ReceiptSummary,
    /// By recipient: those of the submission, or without one as first named.
    key_envelopes: BTreeMap<&'r AgencyId, Digest>,
}

impl<'r> Measure<'r> {
    fn of(receipts: &[(&'r str, &'r ReceiptSummary)]) -> Option<Self> {
        let submission = receipts.iter().find(|(_, summary)| is_submission(summary));
        let (name, first) = submission.or_else(|| receipts.iter().find(|(_, summary)| summary.hashes.is_some()))?;
        let mut key_envelopes: BTreeMap<&AgencyId, Digest> = BTreeMap::new();
        let named = receipts.iter().filter(|_| submission.is_none()).flat_map(|(_, summary)| &summary.key_envelopes);
        for (code, digest) in first.key_envelopes.iter().chain(named) {
            key_envelopes.entry(code).or_insert(*digest);
        }
        Some(Self { name, first, key_envelopes })
    }

    fn agrees(&self, summary: &ReceiptSummary) -> bool {
        let Some(hashes) = summary.hashes else { return true };
        let is_same = self.first.hashes == Some(hashes);
        let keys = |(code, digest): (&AgencyId, &Digest)| self.key_envelopes.get(code) == Some(digest);
        is_same && summary.key_envelopes.iter().all(keys) && self.is_for(summary)
    }

    /// Whether the envelope is for the recipient that is named, where its submission says for whom it is.
    fn is_for(&self, summary: &ReceiptSummary) -> bool {
        let Some(recipient) = &summary.recipient else { return true };
        let (sealed_for, passed_on_to) = (&self.first.recipients, &self.first.legacy);
        let is_told = !sealed_for.is_empty() || !passed_on_to.is_empty();
        !is_told
            || passed_on_to.contains(recipient)
            || (summary.event != EventUri::RelayToNonErds && sealed_for.contains(recipient))
    }
}

pub(super) fn is_submission(summary: &ReceiptSummary) -> bool {
    summary.event == EventUri::SubmissionAcceptance
}

/// What in these receipts about one envelope id does not agree, by their names, for people; none where all of it does. What is invalid, or cannot be
/// read, states nothing.
#[must_use]
pub fn disagreement<'r>(receipts: impl IntoIterator<Item = (&'r str, &'r ReceiptReport)>) -> Option<String> {
    let stated = receipts.into_iter().filter(|(_, report)| report.verdict != ReceiptVerdict::Invalid);
    let receipts: Vec<_> = stated.filter_map(|(name, report)| Some((name, report.summary.as_ref()?))).collect();
    let measure = Measure::of(&receipts)?;
    let others: Vec<_> = receipts.iter().filter(|(_, summary)| !measure.agrees(summary)).collect();
    let shown = names(others.iter().map(|(name, _)| *name))?;
    let twice = others.iter().any(|(_, summary)| is_submission(summary)) && is_submission(measure.first);
    let what = if twice { "two submissions under one envelope" } else { "not about what is stated in" };
    Some(format!("{shown}: {what}: {}", measure.name))
}
