//! Putting a bundle together, in one pass.

use std::io::Write;

use truc_proto::{
    BUNDLE_CHECKED, BUNDLE_ENTRY, BUNDLE_RECEIPTS, BUNDLE_STATUSES, BundleJson, Raw, STATUS_ENTRY, STATUS_SIGNATURE,
    StatementError, limits::BUNDLE_ENTRIES_MAX,
};
use truc_signer::asic::{ContainerWriteError, ContainerWriter, FinishError};

const README: &str = include_str!("README.txt");

/// Why a bundle cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleWriteError {
    /// The container.
    #[error(transparent)]
    Container(#[from] ContainerWriteError),
    /// The sink.
    #[error("the bundle cannot be written")]
    Sink(#[from] std::io::Error),
    /// `bundle.json`.
    #[error(transparent)]
    Statement(#[from] StatementError),
}

/// Writes a bundle into `W`, entry after entry; holds none of them.
pub struct BundleWriter<W: Write>(ContainerWriter<W>);

impl<W: Write> BundleWriter<W> {
    /// Starts one.
    ///
    /// # Errors
    /// The sink's.
    pub fn new(sink: W, about: BundleJson) -> Result<Self, BundleWriteError> {
        let mut writer = Self(ContainerWriter::new(sink)?.with_entries_max(BUNDLE_ENTRIES_MAX));
        writer.put(BUNDLE_ENTRY, "application/json", Raw::write(about)?.bytes())?;
        writer.put("README.txt", "text/plain; charset=utf-8", README.as_bytes())?;
        Ok(writer)
    }

    /// Adds a receipt under its file name.
    ///
    /// # Errors
    /// When there are too many, two of one name, or the sink fails.
    pub fn receipt(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleWriteError> {
        self.put(&format!("{BUNDLE_RECEIPTS}{name}"), "text/plain; charset=utf-8", bytes)
    }

    /// Adds a file of a business status to its folder: `status.json` first, then the signature, then receipts.
    ///
    /// # Errors
    /// As [`BundleWriter::receipt`].
    pub fn of_status(&mut self, folder: &str, file: &str, bytes: &[u8]) -> Result<(), BundleWriteError> {
        let media_type = match file {
            STATUS_ENTRY => "application/json",
            STATUS_SIGNATURE => "application/pkcs7-signature",
            _ => "text/plain; charset=utf-8",
        };
        self.put(&format!("{BUNDLE_STATUSES}{folder}/{file}"), media_type, bytes)
    }

    /// Adds the report of what was checked while it was put together.
    ///
    /// # Errors
    /// As [`BundleWriter::receipt`].
    pub fn checked(&mut self, report: &[u8]) -> Result<(), BundleWriteError> {
        self.put(BUNDLE_CHECKED, "application/json", report)
    }

    /// Adds what readers may want beside the receipts: certificates, revocation lists, a report.
    ///
    /// # Errors
    /// As [`BundleWriter::receipt`].
    pub fn put(&mut self, name: &str, media_type: &str, bytes: &[u8]) -> Result<(), BundleWriteError> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.0.begin_entry(name, media_type, Some(length))?;
        self.0.write_all(bytes)?;
        self.0.end_entry()?;
        Ok(())
    }

    /// The sink.
    pub fn sink_mut(&mut self) -> &mut W {
        self.0.sink_mut()
    }

    /// Lets `sign` make the detached signature over the manifest, and ends the file.
    ///
    /// # Errors
    /// What `sign` returned, or the sink's.
    pub fn finish<E: std::error::Error + 'static>(
        self,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<W, FinishError<E>> {
        Ok(self.0.finish(sign)?.sink)
    }
}
