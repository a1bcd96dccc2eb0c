//! Receipts that show two histories of one ledger: each is right by itself, together they accuse who made them.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufReader, Write as _},
    path::Path,
};

use anyhow::anyhow;
use truc_evidence::{ForkFile, ReceiptReport, ReceiptVerdict, bundled_receipt};
use truc_proto::{Digest, Receipt};

use super::verify::{Verified, receipt_bytes};
use crate::exit::{Exit, ExitContext as _, Failure};

/// Where a receipt is: a file, or a name in a bundle.
#[derive(Clone, Copy)]
pub(super) struct Place<'r> {
    file: &'r Path,
    name: Option<&'r str>,
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
    let mut seen: BTreeMap<(&str, u64), (Digest, Place<'_>)> = BTreeMap::new();
    for (place, report) in reports.iter().flat_map(|(file, verified)| all(file, verified)) {
        let checkpoint = report.summary.as_ref().and_then(|summary| summary.checkpoint.as_ref());
        let Some(checkpoint) = checkpoint.filter(|_| report.verdict != ReceiptVerdict::Invalid) else { continue };
        let (origin, size) = (checkpoint.origin(), checkpoint.size);
        let (root, first) = *seen.entry((origin, size)).or_insert((checkpoint.root, place));
        if root != checkpoint.root {
            return Some(TwoHistories { origin, size, first, second: place });
        }
    }
    None
}

fn all<'r>(file: &'r Path, verified: &'r Verified) -> Vec<(Place<'r>, &'r ReceiptReport)> {
    match verified {
        Verified::Receipt(report) => vec![(Place { file, name: None }, report)],
        Verified::Bundle(bundle) => {
            let receipts = bundle.receipts.iter();
            receipts.map(|(name, report)| (Place { file, name: Some(name) }, report)).collect()
        }
    }
}

impl TwoHistories<'_> {
    /// Writes both checkpoints; the file must not exist.
    pub(super) fn write(&self, out: &Path) -> Result<(), Failure> {
        let fork = ForkFile::new(self.first.checkpoint()?.as_bytes(), self.second.checkpoint()?.as_bytes());
        let cannot = || format!("cannot write {} (it must not exist yet)", out.display());
        let mut file = OpenOptions::new().write(true).create_new(true).open(out).or_exit(Exit::BadData, cannot())?;
        file.write_all(fork.to_string().as_bytes()).or_exit(Exit::BadData, cannot())
    }
}

impl Place<'_> {
    /// For people.
    pub(super) fn text(self) -> String {
        self.name.map_or_else(|| self.file.display().to_string(), |name| format!("{}: {name}", self.file.display()))
    }

    fn checkpoint(self) -> Result<String, Failure> {
        let cannot = || format!("cannot read {} again", self.text());
        let bytes = match self.name {
            None => receipt_bytes(self.file)?,
            Some(name) => {
                let file = File::open(self.file).or_exit(Exit::BadData, cannot())?;
                let found = bundled_receipt(BufReader::new(file), name).or_exit(Exit::BadData, cannot())?;
                found.ok_or_else(|| Failure::new(Exit::BadData, anyhow!(cannot())))?
            }
        };
        Ok(Receipt::parse(&bytes).or_exit(Exit::BadData, cannot())?.checkpoint)
    }
}
