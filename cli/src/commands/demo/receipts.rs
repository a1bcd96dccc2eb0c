//! The demo's receipts: got from the sender's node, written as files, verified off line.

use std::{
    fs::File,
    io::{BufReader, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use truc_evidence::{
    BundleReport, Document, PinnedOperator, ReceiptTrust, ReceiptVerdict, verify_bundle, verify_receipt,
};
use truc_proto::{
    Policy, Timestamp,
    node_v1::{ExportBundleRequest, GetReceiptRequest, ListReceiptsRequest},
};
use truc_signer::{Certificate, TrustStore};

use crate::{client::Node, clock::now};

/// What verification gave.
pub(super) struct Verified {
    pub(super) valid: usize,
}

/// Writes every receipt of the envelopes, with what proves single files of the documents.
pub(super) async fn write(node: &mut Node, envelopes: &[&str], folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    let mut files = Vec::new();
    for envelope in envelopes {
        let request = ListReceiptsRequest { envelope: (*envelope).to_owned(), ..Default::default() };
        for item in node.list_receipts(request).await?.into_inner().items {
            ensure!(item.r#final, "the receipt {} of {envelope} is not final", item.event);
            let request = GetReceiptRequest { leaf_hash: item.leaf_hash, with_opening: true };
            let reply = node.get_receipt(request).await?.into_inner();
            let name = Path::new(&reply.file_name).file_name().context("a receipt without a name")?;
            let path = folder.join(name);
            ensure!(!path.exists(), "two receipts are named {}", path.display());
            std::fs::write(&path, &reply.receipt)?;
            files.push(path);
        }
    }
    Ok(files)
}

/// Verifies receipt files as `truc receipt verify` does.
pub(super) fn verify(
    files: &[PathBuf],
    anchors: &Path,
    operator: &Path,
    document: Option<&Path>,
) -> anyhow::Result<Verified> {
    let trust = trust(anchors, operator)?;
    let document = document.map(Document::open).transpose()?;
    let mut valid = 0;
    for file in files {
        let report = verify_receipt(&std::fs::read(file)?, &trust, document.as_ref(), now());
        if report.verdict == ReceiptVerdict::Valid {
            valid += 1;
        } else {
            tracing::warn!(file = %file.display(), against = ?report.against().collect::<Vec<_>>(), "receipt not valid");
        }
    }
    Ok(Verified { valid })
}

fn trust(anchors: &Path, operator: &Path) -> anyhow::Result<ReceiptTrust> {
    let store = TrustStore::new(Certificate::from_pem(&std::fs::read(anchors)?)?, Vec::new(), Vec::new())?;
    Ok(ReceiptTrust::new(store, PinnedOperator::from_file_bytes(&std::fs::read(operator)?)?))
}

/// Gets the bundle of a document, as `truc receipt export --opening` does.
pub(super) async fn export(node: &mut Node, envelope: &str, to: &Path) -> anyhow::Result<()> {
    let request = ExportBundleRequest { envelope: envelope.to_owned(), with_opening: true, ..Default::default() };
    let mut chunks = node.export_bundle(request).await?.into_inner();
    let mut file = File::create(to)?;
    while let Some(chunk) = chunks.message().await? {
        file.write_all(&chunk.data)?;
    }
    Ok(())
}

/// Who has nothing but the root and the operator's certificate: no relay, no node, no revocation list.
pub(super) struct Auditor<'a> {
    pub(super) anchors: &'a Path,
    pub(super) operator: &'a Path,
}

impl Auditor<'_> {
    /// What a bundle says at a time, with the document beside it if it is at hand; under a policy only what enough witnesses cosigned holds.
    pub(super) fn judge(
        &self,
        bundle: &Path,
        document: Option<&Path>,
        policy: Option<Policy>,
        at: Timestamp,
    ) -> anyhow::Result<BundleReport> {
        let trust = policy.into_iter().fold(trust(self.anchors, self.operator)?, ReceiptTrust::with_policy);
        let document = document.map(Document::open).transpose()?;
        Ok(verify_bundle(BufReader::new(File::open(bundle)?), &trust, document.as_ref(), at))
    }
}
