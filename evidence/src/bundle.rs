//! Bundles: all receipts about one envelope, and the business statuses about it, in one signed file, and what they prove together.
//!
//! A bundle is a container of the document's own profile (ASiC-E with CAdES), so that `unzip`, `openssl` and every reader of ours open
//! it. Its signature says who put it together; what the receipts prove stands in the receipts, each verified by itself.

mod agreement;
mod check;
mod conclusion;
mod read;
mod remarks;
mod status;
mod together;
mod write;

pub use agreement::disagreement;
pub use check::BundleCheck;
pub use conclusion::{Conclusion, ProvenEvent, Standing, conclude};
pub use read::{BundleReport, BundleSigner, bundled_receipt, is_bundle, verify_bundle};
pub use remarks::{Remark, StepRemark};
pub use status::{JudgedStatus, ProvenStatus, StatusBasis, StatusCheck, StatusJudge, StatusReport};
pub use together::{Together, TwoHistories, two_histories};
pub use write::{BundleWriteError, BundleWriter};
