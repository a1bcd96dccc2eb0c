//! A bundle: all receipts about one envelope in one file, put together and signed by one of its parties (docs/FORMATS.md, "Bundle").

use serde::{Deserialize, Serialize};

use crate::{AgencyId, AxisId, EnvelopeId, Lane, NodeId, Statement, Timestamp};

/// Name of [`BundleJson`] in a bundle.
pub const BUNDLE_ENTRY: &str = "bundle.json";
/// Folder of the receipts in a bundle.
pub const BUNDLE_RECEIPTS: &str = "receipts/";
/// Folder of the business statuses in a bundle, a folder each.
pub const BUNDLE_STATUSES: &str = "statuses/";
/// Name of a status's signature in its folder.
pub const STATUS_SIGNATURE: &str = "signature001.p7s";

/// Whether an entry of this name is an OCSP answer.
#[must_use]
pub fn is_bundled_answer(name: &str) -> bool {
    name.starts_with("revocation/") && name.ends_with(".ocsp")
}
/// Name of the report for people in a bundle.
pub const BUNDLE_REPORT: &str = "report.pdf";
/// Name of the report of what was checked when the bundle was made.
pub const BUNDLE_CHECKED: &str = "checked.json";

/// `bundle.json`: what a bundle is about, and who put it together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BundleJson {
    /// Trust domain.
    pub axis: AxisId,
    /// Lane.
    pub lane: Lane,
    /// The envelope that every receipt in it is about.
    pub envelope: EnvelopeId,
    /// That envelope's sender.
    pub sender: AgencyId,
    /// The agency whose certificate signed the bundle.
    pub by: AgencyId,
    /// The node that put it together.
    pub node: NodeId,
    /// When.
    pub made: Timestamp,
    /// Business statuses that the node knows of and that are not in it: too many, or not to be shown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub statuses_left_out: u64,
}

const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Statement for BundleJson {
    const TYPE: &'static str = "bundle";

    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}
