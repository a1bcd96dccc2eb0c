//! The container that is signed: ASiC-E with CAdES (ETSI EN 319 162-1), one profile of it.
//!
//! ```text
//! mimetype                     stored, first, no extra field, no descriptor
//! document.edxml …             DEFLATE with data descriptors, in the order written
//! META-INF/ASiCManifest.xml    SHA-256 of every entry above but mimetype
//! META-INF/signature001.p7s    detached CMS over the manifest's bytes
//! central directory
//! ```
//! `unzip`, Java's `ZipInputStream`, `openssl cms -verify` (over the manifest) and `sha256sum` (over the entries) check it
//! without us. Both directions run in one pass, without seeking, in constant memory.
//!
//! Left out: making and checking the signature (the caller gives a closure, and checks the bytes it gets back), and what the
//! entries mean.

mod commitment;
mod directory;
mod extract;
mod literals;
mod local;
mod manifest;
mod name;
mod pack;
mod read;
mod source;
#[cfg(test)]
mod tests;
mod write;
mod zip;

use truc_proto::Digest;

pub use commitment::{CONTENT_CONTEXT, ContentSalt, content_commitment};
pub use extract::{ExtractError, extract};
pub use manifest::{AsicManifest, DataObjectReference, ManifestError};
pub use name::{EntryName, EntryNameError};
pub use read::{ContainerError, ContainerReader, EntryHeader, OpenedContainer, Visitor, VisitorError, list};
pub use write::{ContainerWriteError, ContainerWriter, FinishError, WrittenContainer};

/// Content of the `mimetype` entry (ETSI EN 319 162-1 4.4.2).
pub const MIMETYPE: &str = "application/vnd.etsi.asic-e+zip";
/// Name of the first entry.
pub const MIMETYPE_NAME: &str = "mimetype";
/// Name of the manifest's entry.
pub const MANIFEST_NAME: &str = "META-INF/ASiCManifest.xml";
/// Name of the signature's entry.
pub const SIGNATURE_NAME: &str = "META-INF/signature001.p7s";

/// One content entry of a container: neither `mimetype` nor anything of `META-INF`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: EntryName,
    /// Decoded length in bytes.
    pub length: u64,
    /// SHA-256 of the decoded bytes; what the manifest holds.
    pub digest: Digest,
}
