//! What of a packet comes before its header: kept in memory while short, then in a nameless file, encrypted under a key that
//! exists in memory only. So a packet with its attachments in front costs disk, not memory, and no plaintext reaches the disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom, SystemRandom};
use truc_proto::{
    Digest,
    limits::{PACKET_BYTES_MAX, SPOOL_MEMORY_BYTES_MAX},
};
use truc_signer::stream::{FileKey, StreamOpener, StreamParams, StreamSealer};
use zeroize::Zeroizing;

/// Takes bytes, gives them back once.
pub(crate) struct Spool {
    folder: PathBuf,
    memory: Zeroizing<Vec<u8>>,
    file: Option<OnDisk>,
    length: u64,
    memory_bytes_max: usize,
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct OnDisk {
    key: FileKey,
    params: StreamParams,
    sealer: StreamSealer<File>,
}

impl Spool {
    pub(crate) fn new(folder: &Path) -> Self {
        Self::with_memory(folder, SPOOL_MEMORY_BYTES_MAX)
    }

    fn with_memory(folder: &Path, memory_bytes_max: usize) -> Self {
        Self { folder: folder.to_owned(), memory: Zeroizing::default(), file: None, length: 0, memory_bytes_max }
    }

    /// Takes more.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.length > PACKET_BYTES_MAX {
            return Err(io::Error::other("the packet is longer than any packet may be"));
        }
        if self.file.is_none() && self.memory.len() + bytes.len() <= self.memory_bytes_max {
            // Grown by hand: a vector that grows by itself leaves copies of plaintext behind.
            if self.memory.capacity() < self.memory.len() + bytes.len() {
                let mut larger = Zeroizing::new(Vec::with_capacity((self.memory.len() + bytes.len()) * 2));
                larger.extend_from_slice(&self.memory);
                self.memory = larger;
            }
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        self.on_disk()?.sealer.write_all(bytes)
    }

    /// Gives everything back, in order.
    pub(crate) fn drain_to(self, out: &mut dyn Write) -> io::Result<()> {
        self.store()?.write_to(out)
    }

    /// Nothing more comes; what is here can be read as often as needed.
    pub(crate) fn store(self) -> io::Result<Stored> {
        let file = match self.file {
            Some(OnDisk { key, params, sealer }) => Some((key, params, sealer.finish()?.0)),
            None => None,
        };
        Ok(Stored { memory: self.memory, file, length: self.length })
    }
}

/// What a spool took, whole.
pub struct Stored {
    memory: Zeroizing<Vec<u8>>,
    file: Option<(FileKey, StreamParams, File)>,
    length: u64,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stored({} bytes)", self.length)
    }
}

impl Stored {
    /// Its length in bytes.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Gives everything back, in order.
    pub(crate) fn write_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.memory)?;
        let Some((key, params, file)) = &mut self.file else { return Ok(()) };
        file.rewind()?;
        let mut opener = StreamOpener::new(key, *params, context(), file);
        let mut buffer = Zeroizing::new(vec![0; 64 * 1024]);
        loop {
            let read = opener.read(&mut buffer)?;
            if read == 0 {
                opener.finish().map_err(io::Error::other)?;
                return Ok(());
            }
            out.write_all(buffer.get(..read).unwrap_or_default())?;
        }
    }
}

impl Spool {
    fn on_disk(&mut self) -> io::Result<&mut OnDisk> {
        if self.file.is_none() {
            let random = SystemRandom::new();
            let key = FileKey::generate(&random).map_err(io::Error::other)?;
            let params = StreamParams::generate(&random).map_err(io::Error::other)?;
            let sealer = StreamSealer::new(&key, params, context(), nameless_file(&self.folder)?);
            self.file = Some(OnDisk { key, params, sealer });
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::Other.into())
    }
}

fn context() -> Digest {
    Digest::of(b"truc/spool/1")
}

/// A file that goes with its handle, whatever happens to the process.
fn nameless_file(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system gave no random bytes"))?;
    let path = folder.join(format!("spool-{}", HEXLOWER.encode(&random)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_memory_comes_back_from_a_file_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::with_memory(folder.path(), 1_000);
        let mut expected = Vec::new();
        for n in 0..5_000_u32 {
            let piece = format!("piece {n};");
            spool.push(piece.as_bytes()).unwrap();
            expected.extend_from_slice(piece.as_bytes());
        }
        assert!((900..=1_000).contains(&spool.memory.len()), "memory stays within its bound");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing has a name");
        let mut found = Vec::new();
        spool.drain_to(&mut found).unwrap();
        assert_eq!(found, expected);
    }
}
