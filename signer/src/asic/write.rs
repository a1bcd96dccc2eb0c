//! Writing a container in one pass, without seeking.

use std::{
    collections::HashSet,
    io::{self, Write},
};

use flate2::{Compress, Compression, Crc, FlushCompress};
use truc_proto::{
    Digest, Hasher,
    limits::{
        ASIC_MANIFEST_BYTES_MAX, ASIC_SIGNATURE_BYTES_MAX, CONTAINER_BYTES_MAX, CONTAINER_ENTRIES_MAX,
        CONTAINER_RATIO_GRACE_BYTES, CONTAINER_RATIO_MAX, MEDIA_TYPE_BYTES_MAX,
    },
};

use super::{
    AsicManifest, DataObjectReference, Entry, EntryName, EntryNameError, MANIFEST_NAME, MIMETYPE, MIMETYPE_NAME,
    SIGNATURE_NAME,
    pack::{Counted, Packing, deflate, store},
    zip::{Record, end_records},
};

/// Numbers from here on need zip64: 2^32 - 1 itself means "see the zip64 field".
const ZIP64_FROM: u64 = 0xffff_ffff;
/// How much shorter than [`ZIP64_FROM`] an entry may be declared and still go without zip64. DEFLATE makes what it cannot
/// shorten longer, by less than a thousandth (zlib's `deflateBound`).
const ZIP64_MARGIN: u64 = 8 * 1024 * 1024;
/// Bytes handed to the compressor at once; one stored block holds no more than 65,535.
const PIECE_BYTES: usize = 32 * 1024;

/// Writes a container into `W`: entries one after the other, each through [`Write`], then manifest and signature.
///
/// A sink that fails leaves a container that cannot be finished; every later call says so.
pub struct ContainerWriter<W: Write> {
    sink: Counted<W>,
    open: Option<OpenEntry>,
    records: Vec<Record>,
    references: Vec<DataObjectReference>,
    entries: Vec<Entry>,
    names: HashSet<EntryName>,
    entries_max: usize,
    /// Bytes before compression, of all entries.
    decoded: u64,
    failed: bool,
    zip64_from: u64,
    /// Scratch for the compressor.
    packed: Vec<u8>,
    /// The compressor of the entry before: to make one takes longer than to pack a short entry.
    spare: Option<Compress>,
}

/// A container that was written to its end.
#[derive(Debug)]
pub struct WrittenContainer<W> {
    /// The sink, flushed.
    pub sink: W,
    /// The bytes of `META-INF/ASiCManifest.xml`: what was signed.
    pub manifest: Vec<u8>,
    /// The content entries, in order.
    pub entries: Vec<Entry>,
    /// Bytes of the container.
    pub length: u64,
    /// SHA-256 of the container.
    pub digest: Digest,
}

/// Why a container cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ContainerWriteError {
    /// The sink failed.
    #[error("the container cannot be written")]
    Sink(#[source] io::Error),
    /// A name no container may hold.
    #[error("{name:?} cannot be the name of an entry; give the file another name")]
    Name {
        /// As given.
        name: String,
        /// Which rule.
        source: EntryNameError,
    },
    /// A name the format itself uses.
    #[error("{name} is a name of the container format; give the file another name")]
    Reserved {
        /// As given.
        name: EntryName,
    },
    /// A name for the second time.
    #[error("two files are named {name}; rename one")]
    Duplicate {
        /// The name.
        name: EntryName,
    },
    /// A media type that is not printable ASCII of bounded length.
    #[error("{media_type:?} is no media type")]
    MediaType {
        /// As given.
        media_type: String,
    },
    /// An entry reached 4 GiB and was not declared to be that long, so no space was left for longer numbers.
    #[error("{name} reached 4 GiB and was not declared to be that long; give its length beforehand")]
    LengthNotDeclared {
        /// The entry.
        name: EntryName,
    },
    /// More entries than allowed, more than [`CONTAINER_BYTES_MAX`] bytes, or too large a manifest or signature.
    #[error("the document is too large for one container: more than {what}; split it")]
    TooLarge {
        /// Which bound.
        what: &'static str,
    },
    /// The caller's mistake: an entry is open that should not be, or none is.
    #[error("entries are written one after the other: {0}")]
    Order(&'static str),
    /// The writer had failed before.
    #[error("this container has failed before and cannot be finished")]
    Spent,
}

/// Why a container cannot be finished.
#[derive(Debug, thiserror::Error)]
pub enum FinishError<E: std::error::Error + 'static> {
    /// The writing failed.
    #[error(transparent)]
    Write(#[from] ContainerWriteError),
    /// The signature could not be made.
    #[error("the container's manifest cannot be signed")]
    Sign(#[source] E),
}

impl<W: Write> ContainerWriter<W> {
    /// Starts a container: writes the `mimetype` entry.
    ///
    /// # Errors
    /// The sink's.
    pub fn new(sink: W) -> Result<Self, ContainerWriteError> {
        Self::with_zip64_from(sink, ZIP64_FROM)
    }

    /// The same with another bound than [`CONTAINER_ENTRIES_MAX`] on the entries, below 65,000.
    #[must_use]
    pub const fn with_entries_max(mut self, entries_max: usize) -> Self {
        self.entries_max = entries_max;
        self
    }

    /// For tests: zip64 from a number that a test can reach.
    pub(super) fn with_zip64_from(sink: W, zip64_from: u64) -> Result<Self, ContainerWriteError> {
        let mut writer = Self {
            sink: Counted { sink, length: 0, hasher: Hasher::default() },
            open: None,
            records: Vec::new(),
            references: Vec::new(),
            entries: Vec::new(),
            names: HashSet::new(),
            entries_max: CONTAINER_ENTRIES_MAX,
            decoded: 0,
            failed: false,
            zip64_from,
            packed: vec![0; PIECE_BYTES],
            spare: None,
        };
        writer.mimetype()?;
        Ok(writer)
    }

    /// Opens the next entry. `length` is its length where it is known: needed for 4 GiB and more only.
    ///
    /// # Errors
    /// A name that is unsafe, reserved or used; too many entries; the sink's.
    pub fn begin_entry(
        &mut self,
        name: &str,
        media_type: &str,
        length: Option<u64>,
    ) -> Result<(), ContainerWriteError> {
        self.usable()?;
        if self.open.is_some() {
            return Err(ContainerWriteError::Order("the entry before is still open"));
        }
        let name: EntryName =
            name.parse().map_err(|source| ContainerWriteError::Name { name: name.to_owned(), source })?;
        if name.is_reserved() {
            return Err(ContainerWriteError::Reserved { name });
        }
        let printable = media_type.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !printable || media_type.is_empty() || media_type.len() > MEDIA_TYPE_BYTES_MAX {
            return Err(ContainerWriteError::MediaType { media_type: media_type.to_owned() });
        }
        if self.records.len() + 2 >= self.entries_max {
            return Err(ContainerWriteError::TooLarge { what: "the number of entries allowed" });
        }
        if !self.names.insert(name.clone()) {
            return Err(ContainerWriteError::Duplicate { name });
        }
        self.begin(name, Some(media_type.into()), length.unwrap_or(0))
    }

    /// Closes the open entry.
    ///
    /// # Errors
    /// No entry is open, it outgrew its declared length, or the sink failed.
    pub fn end_entry(&mut self) -> Result<Entry, ContainerWriteError> {
        let (entry, media_type) = self.end()?;
        let (name, digest) = (entry.name.clone(), entry.digest);
        self.references.push(DataObjectReference { name, media_type, digest });
        self.entries.push(entry.clone());
        Ok(entry)
    }

    /// Writes the manifest, lets `sign` make the detached signature over its bytes, writes that and the central directory.
    ///
    /// # Errors
    /// [`FinishError::Sign`] with what `sign` returned; else as [`ContainerWriter::begin_entry`].
    pub fn finish<E: std::error::Error + 'static>(
        mut self,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<WrittenContainer<W>, FinishError<E>> {
        self.usable()?;
        if self.open.is_some() {
            return Err(ContainerWriteError::Order("an entry is still open").into());
        }
        let manifest = AsicManifest::write(&self.references);
        if manifest.len() > ASIC_MANIFEST_BYTES_MAX {
            return Err(ContainerWriteError::TooLarge { what: "a manifest of 4 MiB" }.into());
        }
        self.whole_entry(MANIFEST_NAME, &manifest)?;
        let signature = sign(&manifest).map_err(FinishError::Sign)?;
        if signature.len() > ASIC_SIGNATURE_BYTES_MAX {
            return Err(ContainerWriteError::TooLarge { what: "a signature of 256 KiB" }.into());
        }
        self.whole_entry(SIGNATURE_NAME, &signature)?;
        self.directory()?;
        self.sink.sink.flush().map_err(ContainerWriteError::Sink)?;
        let Counted { sink, length, hasher } = self.sink;
        Ok(WrittenContainer { sink, manifest, entries: self.entries, length, digest: hasher.finish() })
    }

    /// The sink; for one that is emptied from outside.
    pub fn sink_mut(&mut self) -> &mut W {
        &mut self.sink.sink
    }

    fn mimetype(&mut self) -> Result<(), ContainerWriteError> {
        let mut crc = Crc::new();
        crc.update(MIMETYPE.as_bytes());
        let name = MIMETYPE_NAME.parse().expect("a name without anything special");
        let record = Record::stored(name, crc.sum(), crc.amount());
        self.put(&record.local_header(false))?;
        self.put(MIMETYPE.as_bytes())?;
        self.records.push(record);
        Ok(())
    }

    fn whole_entry(&mut self, name: &'static str, bytes: &[u8]) -> Result<(), ContainerWriteError> {
        self.begin(name.parse().expect("a name without anything special"), None, 0)?;
        self.append(bytes)?;
        self.end().map(drop)
    }

    fn begin(
        &mut self,
        name: EntryName,
        media_type: Option<Box<str>>,
        declared: u64,
    ) -> Result<(), ContainerWriteError> {
        let zip64 = declared >= self.zip64_from.saturating_sub(ZIP64_MARGIN.min(self.zip64_from / 8));
        let record = Record::streamed(name, self.sink.length, zip64);
        self.put(&record.local_header(zip64))?;
        let compress = match self.spare.take() {
            Some(mut compress) => {
                compress.reset();
                compress
            }
            // Level 1: a faster pass serves better than a few per cent less.
            None => Compress::new(Compression::fast(), false),
        };
        self.open = Some(OpenEntry {
            record,
            media_type,
            zip64,
            compress,
            packing: Packing::default(),
            crc: Crc::new(),
            hasher: Hasher::default(),
            data_offset: self.sink.length,
        });
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ContainerWriteError> {
        self.usable()?;
        for piece in bytes.chunks(PIECE_BYTES) {
            let outcome = self.append_piece(piece);
            self.failed |= outcome.is_err();
            outcome?;
        }
        Ok(())
    }

    fn append_piece(&mut self, piece: &[u8]) -> Result<(), ContainerWriteError> {
        let open = self.open.as_mut().ok_or(ContainerWriteError::Order("no entry is open"))?;
        let len = u64::try_from(piece.len()).expect("usize has at most 64 bits");
        open.record.length += len;
        self.decoded += len;
        if !open.zip64 && open.record.length >= self.zip64_from {
            return Err(ContainerWriteError::LengthNotDeclared { name: open.record.name.clone() });
        }
        if self.decoded > CONTAINER_BYTES_MAX || self.sink.length > CONTAINER_BYTES_MAX {
            return Err(ContainerWriteError::TooLarge { what: "8 GiB" });
        }
        open.crc.update(piece);
        open.hasher.update(piece);
        // Half of what a reader allows: what compresses too well is stored from time to time, so that nothing we write looks
        // like a zip bomb.
        if self.decoded > CONTAINER_RATIO_GRACE_BYTES / 2 && self.decoded > self.sink.length * (CONTAINER_RATIO_MAX / 2)
        {
            store(&mut open.compress, piece, &mut self.packed, &mut self.sink)
        } else {
            open.packing.pack(&mut open.compress, piece, &mut self.packed, &mut self.sink)
        }
        .map_err(ContainerWriteError::Sink)
    }

    fn end(&mut self) -> Result<(Entry, Option<Box<str>>), ContainerWriteError> {
        self.usable()?;
        let mut open = self.open.take().ok_or(ContainerWriteError::Order("no entry is open"))?;
        let flushed = deflate(&mut open.compress, &[], FlushCompress::Finish, &mut self.packed, &mut self.sink);
        self.failed |= flushed.is_err();
        flushed.map_err(ContainerWriteError::Sink)?;
        let mut record = open.record;
        record.crc = open.crc.sum();
        record.packed = self.sink.length - open.data_offset;
        if !open.zip64 && record.packed >= self.zip64_from {
            self.failed = true;
            return Err(ContainerWriteError::LengthNotDeclared { name: record.name });
        }
        self.spare = Some(open.compress);
        self.put(&record.descriptor(open.zip64))?;
        let entry = Entry { name: record.name.clone(), length: record.length, digest: open.hasher.finish() };
        self.records.push(record);
        Ok((entry, open.media_type))
    }

    fn directory(&mut self) -> Result<(), ContainerWriteError> {
        let offset = self.sink.length;
        for record in std::mem::take(&mut self.records) {
            self.put(&record.central_header(self.zip64_from))?;
        }
        let count = u16::try_from(self.entries.len() + 3).expect("fewer than 65,000 entries were begun");
        self.put(&end_records(count, self.sink.length - offset, offset, self.zip64_from))
    }

    fn usable(&self) -> Result<(), ContainerWriteError> {
        if self.failed { Err(ContainerWriteError::Spent) } else { Ok(()) }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ContainerWriteError> {
        let written = self.sink.write_all(bytes);
        self.failed |= written.is_err();
        written.map_err(ContainerWriteError::Sink)
    }
}

/// Writes into the open entry. Errors hold a [`ContainerWriteError`], except the sink's own.
impl<W: Write> Write for ContainerWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.append(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(ContainerWriteError::Sink(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.sink.flush()
    }
}

struct OpenEntry {
    record: Record,
    media_type: Option<Box<str>>,
    zip64: bool,
    compress: Compress,
    packing: Packing,
    crc: Crc,
    hasher: Hasher,
    data_offset: u64,
}
