//! Receipts that contradict each other: each is right by itself, together they accuse who made them.

use std::{fmt, fs::File, io::BufReader, path::Path};

use anyhow::anyhow;
use truc_evidence::{ForkFile, Outcome, ReceiptReport, Together, TwoHistories, bundled_receipt, two_histories};
use truc_proto::{BUNDLE_RECEIPTS, BUNDLE_STATUSES, Receipt, Timestamp};

use super::verify::{Verified, disagreeing, receipt_bytes};
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

/// What files hold against each other, beyond what is found of each.
pub(super) struct Contradictions<'r> {
    /// What the receipts of all files show together.
    pub(super) together: Together,
    /// The first two that contradict each other.
    pub(super) forked: Option<TwoHistories<'r, Place<'r>>>,
    /// What single files say of one envelope id that does not agree, for people.
    pub(super) disagreeing: Vec<String>,
    /// Those that a later directory in one of the files speaks against: where each is, what that comes to, and since when.
    pub(super) stopped: Vec<(Place<'r>, Outcome, Timestamp)>,
}

impl<'r> Contradictions<'r> {
    pub(super) fn of(reports: &'r [(&Path, Verified)]) -> Self {
        let receipts = || reports.iter().flat_map(|(file, verified)| all(file, verified));
        let together = Together::of(receipts());
        let stopped = receipts().filter_map(|(place, report)| {
            let (outcome, since) = together.ended(report)?;
            Some((place, outcome, since))
        });
        Self {
            stopped: stopped.collect(),
            forked: two_histories(receipts()).next(),
            disagreeing: disagreeing(reports),
            together,
        }
    }
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

/// Writes both checkpoints; the file must not exist.
pub(super) fn write_fork(forked: &TwoHistories<'_, Place<'_>>, out: &Path) -> Result<(), Failure> {
    let fork = ForkFile::new(forked.first.checkpoint()?.as_bytes(), forked.second.checkpoint()?.as_bytes());
    write_new(out, fork.to_string().as_bytes())
}

/// For people.
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.entry.map_or(Ok(()), |entry| write!(f, ": {}", entry.name()))
    }
}

impl Place<'_> {
    fn checkpoint(self) -> Result<String, Failure> {
        let cannot = || format!("cannot read {self} again");
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
