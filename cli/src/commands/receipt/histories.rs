//! Receipts that show two histories of one ledger: each is right by itself, together they accuse who made them.

use std::{collections::BTreeMap, fs::File, io::BufReader, path::Path};

use anyhow::anyhow;
use truc_evidence::{ForkFile, Outcome, ReceiptReport, ReceiptVerdict, Together, bundled_receipt};
use truc_proto::{BUNDLE_RECEIPTS, BUNDLE_STATUSES, Digest, Receipt, Timestamp};

use super::verify::{Verified, receipt_bytes};
use crate::{
    exit::{Exit, ExitContext as _, Failure},
    partial::write_new,
};

/// Where a receipt is: a file, or an entry of a bundle.
#[derive(Clone, Copy)]
pub(super) struct Place<'r> {
    file: &'r Path,
    entry: Option<Entry<'r>>,
}

/// A receipt about the document, by its name; or about a status, by that one's folder and its name.
#[derive(Clone, Copy)]
enum Entry<'r> {
    Receipt(&'r str),
    OfStatus(&'r str, &'r str),
}

impl Entry<'_> {
    fn name(self) -> String {
        match self {
            Self::Receipt(name) => format!("{BUNDLE_RECEIPTS}{name}"),
            Self::OfStatus("", name) => format!("{BUNDLE_STATUSES}{name}"),
            Self::OfStatus(folder, name) => format!("{BUNDLE_STATUSES}{folder}/{name}"),
        }
    }
}

/// Two receipts with checkpoints of one ledger and size, and different roots.
pub(super) struct TwoHistories<'r> {
    pub(super) origin: &'r str,
    pub(super) size: u64,
    pub(super) first: Place<'r>,
    pub(super) second: Place<'r>,
}

/// The first two that contradict each other. Both checkpoints carry the ledger key's signature, or their receipts are invalid anyway.
pub(super) fn find<'r>(reports: &'r [(&Path, Verified)]) -> Option<TwoHistories<'r>> {
    let mut seen: BTreeMap<(&str, [u8; 32], u64), (Digest, Place<'_>)> = BTreeMap::new();
    for (place, report) in reports.iter().flat_map(|(file, verified)| all(file, verified)) {
        let summary = report.summary.as_ref().filter(|_| report.verdict != ReceiptVerdict::Invalid);
        let of_ledger = summary.and_then(|summary| summary.checkpoint.as_ref().zip(summary.ledger_key));
        let Some((checkpoint, key)) = of_ledger else { continue };
        let (origin, size) = (checkpoint.origin(), checkpoint.size);
        let (root, first) = *seen.entry((origin, key, size)).or_insert((checkpoint.root, place));
        if root != checkpoint.root {
            return Some(TwoHistories { origin, size, first, second: place });
        }
    }
    None
}

/// What the receipts of all files show against each other.
pub(super) fn together(reports: &[(&Path, Verified)]) -> Together {
    let receipts = reports.iter().flat_map(|(file, verified)| all(file, verified));
    Together::of(receipts.map(|(_, report)| ("", report)))
}

/// Those that a later directory in one of the files speaks against: where each is, and what that comes to.
pub(super) fn stopped<'r>(
    reports: &'r [(&Path, Verified)],
    together: &Together,
) -> Vec<(Place<'r>, Outcome, Timestamp)> {
    let receipts = reports.iter().flat_map(|(file, verified)| all(file, verified));
    let stopped = receipts.filter_map(|(place, report)| {
        let (outcome, since) = together.ended(report)?;
        Some((place, outcome, since))
    });
    stopped.collect()
}

fn all<'r>(file: &'r Path, verified: &'r Verified) -> Vec<(Place<'r>, &'r ReceiptReport)> {
    match verified {
        Verified::Receipt(report) => vec![(Place { file, entry: None }, report)],
        Verified::Bundle(bundle) => {
            let receipts = bundle.receipts.iter().map(|(name, report)| (Entry::Receipt(name), report));
            let of_statuses = bundle.statuses.iter().flat_map(|status| {
                status.receipts.iter().map(|(name, report)| (Entry::OfStatus(&status.name, name), report))
            });
            let all = receipts.chain(of_statuses);
            all.map(|(entry, report)| (Place { file, entry: Some(entry) }, report)).collect()
        }
        Verified::Unread(_) => Vec::new(),
    }
}

impl TwoHistories<'_> {
    /// Writes both checkpoints; the file must not exist.
    pub(super) fn write(&self, out: &Path) -> Result<(), Failure> {
        let fork = ForkFile::new(self.first.checkpoint()?.as_bytes(), self.second.checkpoint()?.as_bytes());
        write_new(out, fork.to_string().as_bytes())
    }
}

impl Place<'_> {
    /// For people.
    pub(super) fn text(self) -> String {
        let file = self.file.display();
        self.entry.map_or_else(|| file.to_string(), |entry| format!("{file}: {}", entry.name()))
    }

    fn checkpoint(self) -> Result<String, Failure> {
        let cannot = || format!("cannot read {} again", self.text());
        let bytes = match self.entry {
            None => receipt_bytes(self.file)?,
            Some(entry) => {
                let file = File::open(self.file).or_exit(Exit::BadData, cannot())?;
                let found = bundled_receipt(BufReader::new(file), &entry.name()).or_exit(Exit::BadData, cannot())?;
                found.ok_or_else(|| Failure::new(Exit::BadData, anyhow!(cannot())))?
            }
        };
        Ok(Receipt::parse(&bytes).or_exit(Exit::BadData, cannot())?.checkpoint)
    }
}
