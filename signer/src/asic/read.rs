//! Reading a container in one pass: hostile until its last byte was seen.

use std::{collections::HashMap, io};

use truc_proto::{
    Digest, Hasher,
    limits::{ASIC_MANIFEST_BYTES_MAX, ASIC_SIGNATURE_BYTES_MAX},
};

use super::{
    AsicManifest, Entry, EntryName, EntryNameError, ManifestError, directory,
    local::{Entries, Local},
    name::Kind,
};

/// Takes a container's content while it is read.
///
/// Nothing of it is verified before [`ContainerReader::read`] has returned *and* the signature was checked: whatever a visitor
/// makes of the bytes must be thrown away when either fails.
pub trait Visitor {
    /// An entry begins.
    ///
    /// # Errors
    /// Whatever the visitor cannot accept; the reading stops with it.
    fn begin(&mut self, header: &EntryHeader) -> Result<(), VisitorError>;

    /// The entry's next decoded bytes.
    ///
    /// # Errors
    /// As [`Visitor::begin`].
    fn data(&mut self, bytes: &[u8]) -> Result<(), VisitorError>;

    /// The entry ended.
    ///
    /// # Errors
    /// As [`Visitor::begin`].
    fn end(&mut self, entry: &Entry) -> Result<(), VisitorError>;
}

/// What a visitor stops with.
pub type VisitorError = Box<dyn std::error::Error + Send + Sync>;

/// Looks at nothing: for a check of the container alone.
impl Visitor for () {
    fn begin(&mut self, _: &EntryHeader) -> Result<(), VisitorError> {
        Ok(())
    }
    fn data(&mut self, _: &[u8]) -> Result<(), VisitorError> {
        Ok(())
    }
    fn end(&mut self, _: &Entry) -> Result<(), VisitorError> {
        Ok(())
    }
}

/// What is known of an entry before its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryHeader {
    /// Its name.
    pub name: EntryName,
    /// Its decoded length where the header tells it; we ourselves write it behind the data.
    pub length: Option<u64>,
}

/// A container that was read to its end and found whole: every entry is in the manifest with its digest, and the central
/// directory says what the entries say. **The signature is not checked**: `signature` must verify over `manifest.bytes()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedContainer {
    /// What the signature is over.
    pub manifest: AsicManifest,
    /// The bytes of `META-INF/signature001.p7s`.
    pub signature: Vec<u8>,
    /// The content entries, in order.
    pub entries: Vec<Entry>,
    /// Bytes of the container.
    pub length: u64,
    /// SHA-256 of the container.
    pub digest: Digest,
}

/// Why a container is refused. Except for [`ContainerError::Source`] and [`ContainerError::Visitor`] the sender's software must
/// be corrected; reading again cannot help.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The bytes could not be read, or the sealed stream they come from did not open.
    #[error("the container cannot be read")]
    Source(#[source] io::Error),
    /// The visitor stopped.
    #[error("the content of the container was not taken")]
    Visitor(#[source] VisitorError),
    /// The bytes end inside the container.
    #[error("the container is cut short at byte {offset}")]
    Truncated {
        /// Where.
        offset: u64,
    },
    /// A bound of `truc_proto::limits` is passed.
    #[error("the container holds more than {what}")]
    TooLarge {
        /// Which.
        what: &'static str,
    },
    /// Far more comes out than went in.
    #[error("the container unpacks to more than {} times its size", truc_proto::limits::CONTAINER_RATIO_MAX)]
    Bomb,
    /// The first entry is not the `mimetype` of ASiC-E.
    #[error("this is no ASiC-E container: it {what}")]
    Mimetype {
        /// How so.
        what: &'static str,
    },
    /// A name that is not safe to use.
    #[error("the entry at byte {offset} of the container has an unsafe name")]
    Name {
        /// Where.
        offset: u64,
        /// Which rule.
        source: EntryNameError,
    },
    /// Two entries of one name.
    #[error("the container holds {name} twice")]
    Duplicate {
        /// The name.
        name: EntryName,
    },
    /// Something in `META-INF` that is neither the manifest nor the signature.
    #[error("the container holds {name}, which is not of this profile")]
    Reserved {
        /// The name.
        name: EntryName,
    },
    /// A feature of zip that this profile does not have.
    #[error("{name} uses {what}, which is not of this profile")]
    Feature {
        /// The entry.
        name: EntryName,
        /// The feature.
        what: &'static str,
    },
    /// An extra field other than zip64, or a zip64 field where none belongs or that is not so.
    #[error("{name} has an extra field that is not of this profile")]
    Extra {
        /// The entry.
        name: EntryName,
    },
    /// Compressed data that is not DEFLATE.
    #[error("the compressed data of {name} is damaged")]
    Deflate {
        /// The entry.
        name: EntryName,
    },
    /// The data is not followed by its descriptor.
    #[error("the data of {name} is not followed by its descriptor")]
    Descriptor {
        /// The entry.
        name: EntryName,
    },
    /// Header or descriptor tell other sizes.
    #[error("{name} has another size than the container says")]
    Sizes {
        /// The entry.
        name: EntryName,
    },
    /// Header or descriptor tell another CRC.
    #[error("{name} has another checksum than the container says")]
    Checksum {
        /// The entry.
        name: EntryName,
    },
    /// Neither an entry nor the directory.
    #[error("at byte {offset} of the container stands neither an entry nor the directory")]
    UnknownRecord {
        /// Where.
        offset: u64,
    },
    /// The central directory and an entry tell different things.
    #[error("the directory of the container {what}: {name}")]
    DirectoryDisagrees {
        /// The entry.
        name: EntryName,
        /// In what.
        what: &'static str,
    },
    /// The directory's end is wrong.
    #[error("the directory of the container {what}")]
    DirectoryEnd {
        /// How.
        what: &'static str,
    },
    /// Something follows the container.
    #[error("something follows the container from byte {offset} on")]
    TrailingBytes {
        /// Where.
        offset: u64,
    },
    /// There is no manifest or no signature.
    #[error("the container has no {name}")]
    Missing {
        /// Which entry.
        name: &'static str,
    },
    /// The manifest is refused.
    #[error("the container's manifest is refused")]
    Manifest(#[source] ManifestError),
    /// An entry that is not in the manifest: nobody signed it.
    #[error("{name} is not covered by the signature")]
    Uncovered {
        /// The entry.
        name: EntryName,
    },
    /// The manifest names an entry that is not there.
    #[error("the manifest names {name}, which the container does not hold")]
    Absent {
        /// The entry.
        name: EntryName,
    },
    /// An entry is not what was signed.
    #[error("{name} is not what the manifest says: it was changed after signing")]
    Altered {
        /// The entry.
        name: EntryName,
    },
}

/// Reads one container.
pub struct ContainerReader<R: io::Read> {
    entries: Entries<R>,
    manifest: Option<Vec<u8>>,
    signature: Option<Vec<u8>>,
    content: Vec<Entry>,
}

impl<R: io::Read> ContainerReader<R> {
    /// Starts reading: checks that `source` begins as a container does.
    ///
    /// # Errors
    /// [`ContainerError::Mimetype`], and what goes wrong with the source.
    pub fn new(source: R) -> Result<Self, ContainerError> {
        Ok(Self { entries: Entries::new(source)?, manifest: None, signature: None, content: Vec::new() })
    }

    /// The same with another bound than [`CONTAINER_ENTRIES_MAX`](truc_proto::limits::CONTAINER_ENTRIES_MAX) on the entries.
    #[must_use]
    pub const fn with_entries_max(mut self, entries_max: usize) -> Self {
        self.entries.entries_max = entries_max;
        self
    }

    /// Reads to the end of the source, showing `visitor` the content.
    ///
    /// # Errors
    /// [`ContainerError`], by rule; what the visitor was shown is then worth nothing.
    pub fn read(mut self, visitor: &mut dyn Visitor) -> Result<OpenedContainer, ContainerError> {
        while let Some(local) = self.entries.next()? {
            self.entry(local, visitor)?;
        }
        directory::check(&mut self.entries.source, &self.entries.records)?;
        let (length, digest) = self.entries.source.finish()?;
        let manifest = self.manifest.ok_or(ContainerError::Missing { name: super::MANIFEST_NAME })?;
        let signature = self.signature.ok_or(ContainerError::Missing { name: super::SIGNATURE_NAME })?;
        let manifest =
            AsicManifest::parse_with(manifest, self.entries.entries_max).map_err(ContainerError::Manifest)?;
        check_coverage(&manifest, &self.content)?;
        Ok(OpenedContainer { manifest, signature, entries: self.content, length, digest })
    }

    fn entry(&mut self, local: Local, visitor: &mut dyn Visitor) -> Result<(), ContainerError> {
        match local.record.name.kind() {
            Kind::Manifest => {
                self.manifest = Some(self.small(local, ASIC_MANIFEST_BYTES_MAX, "a manifest of 4 MiB")?);
            }
            Kind::Signature => {
                self.signature = Some(self.small(local, ASIC_SIGNATURE_BYTES_MAX, "a signature of 256 KiB")?);
            }
            Kind::Content => self.shown(local, visitor)?,
            Kind::Mimetype | Kind::Unknown => return Err(ContainerError::Reserved { name: local.record.name }),
        }
        Ok(())
    }

    fn small(&mut self, local: Local, bytes_max: usize, what: &'static str) -> Result<Vec<u8>, ContainerError> {
        let mut content = Vec::new();
        self.entries.body(local, &mut |bytes| {
            if content.len() + bytes.len() > bytes_max {
                return Err(ContainerError::TooLarge { what });
            }
            content.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(content)
    }

    fn shown(&mut self, local: Local, visitor: &mut dyn Visitor) -> Result<(), ContainerError> {
        let name = local.record.name.clone();
        let header = EntryHeader { name: name.clone(), length: local.length() };
        visitor.begin(&header).map_err(ContainerError::Visitor)?;
        let (mut hasher, mut length) = (Hasher::default(), 0_u64);
        self.entries.body(local, &mut |bytes| {
            hasher.update(bytes);
            length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            visitor.data(bytes).map_err(ContainerError::Visitor)
        })?;
        let entry = Entry { name, length, digest: hasher.finish() };
        visitor.end(&entry).map_err(ContainerError::Visitor)?;
        self.content.push(entry);
        Ok(())
    }
}

/// Reads a container and tells its entries; the signature is not checked.
///
/// # Errors
/// As [`ContainerReader::read`].
pub fn list<R: io::Read>(source: R) -> Result<Vec<Entry>, ContainerError> {
    Ok(ContainerReader::new(source)?.read(&mut ())?.entries)
}

/// Every entry in the manifest with its digest, and every reference an entry. No name stands twice on either side.
fn check_coverage(manifest: &AsicManifest, entries: &[Entry]) -> Result<(), ContainerError> {
    let mut signed: HashMap<&EntryName, &Digest> =
        manifest.references().iter().map(|reference| (&reference.name, &reference.digest)).collect();
    for Entry { name, digest, .. } in entries {
        match signed.remove(name) {
            None => return Err(ContainerError::Uncovered { name: name.clone() }),
            Some(signed) if signed != digest => return Err(ContainerError::Altered { name: name.clone() }),
            Some(_) => {}
        }
    }
    match signed.into_keys().min() {
        Some(name) => Err(ContainerError::Absent { name: name.clone() }),
        None => Ok(()),
    }
}
