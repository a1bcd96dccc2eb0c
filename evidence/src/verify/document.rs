//! The document shown beside a receipt: the container, or any file of it.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::Path,
};

use truc_proto::{Digest, Hasher};
use truc_signer::asic::ContainerReader;

/// A document by what verification needs of it: its hash and, when it is a container, its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// The manifest inside, when it is a whole container of our profile.
    pub manifest: Option<Vec<u8>>,
}

impl Document {
    /// Reads a document from disk, in constant memory.
    ///
    /// # Errors
    /// As the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::read(File::open(path)?)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// As the source says.
    pub fn read(mut source: impl Read + Seek) -> io::Result<Self> {
        // A container whose entries are all what its manifest says: else it is taken as a plain file, which it may be.
        if let Ok(opened) = ContainerReader::new(BufReader::new(&mut source)).and_then(|reader| reader.read(&mut ())) {
            return Ok(Self { digest: opened.digest, manifest: Some(opened.manifest.bytes().to_vec()) });
        }
        source.rewind()?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(Self { digest: hasher.finish(), manifest: None }),
                Ok(count) => hasher.update(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A plain file's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), manifest: None }
    }
}
