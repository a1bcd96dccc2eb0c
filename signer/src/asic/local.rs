//! The entries themselves: local headers, data and descriptors, one after the other from the first byte on.

use std::{collections::HashSet, io::Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};
use truc_proto::limits::{
    CONTAINER_BYTES_MAX, CONTAINER_ENTRIES_MAX, CONTAINER_RATIO_GRACE_BYTES, CONTAINER_RATIO_MAX,
};

use super::{
    ContainerError, EntryName, MIMETYPE, MIMETYPE_NAME,
    source::Source,
    zip::{
        CENTRAL, DEFLATE, DESCRIPTOR, EXTRA_ZIP64, FLAG_DESCRIPTOR, FLAG_EFFORT, FLAG_UTF8, Fields, LOCAL, LOCAL_BYTES,
        Record, SEE_ZIP64, STORED, VERSION_ZIP64,
    },
};

/// Decoded bytes given out at once.
const OUT_BYTES: usize = 64 * 1024;

/// Walks the entries of a container.
pub(super) struct Entries<R> {
    pub(super) source: Source<R>,
    /// What the entries said of themselves, for the central directory to be held against.
    pub(super) records: Vec<Record>,
    names: HashSet<EntryName>,
    pub(super) entries_max: usize,
    inflate: Decompress,
    out: Vec<u8>,
    /// Decoded bytes of all entries so far.
    decoded: u64,
}

/// A local header that was read and whose data comes next.
pub(super) struct Local {
    pub(super) record: Record,
    zip64: bool,
}

/// Takes decoded bytes.
pub(super) type Take<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), ContainerError>;

impl Local {
    fn has_descriptor(&self) -> bool {
        self.record.flags & FLAG_DESCRIPTOR != 0
    }

    /// The decoded length, where the header tells it.
    pub(super) fn length(&self) -> Option<u64> {
        (!self.has_descriptor()).then_some(self.record.length)
    }
}

impl<R: Read> Entries<R> {
    /// Checks the `mimetype` entry, which must be the first (ETSI EN 319 162-1 4.4.2).
    pub(super) fn new(reader: R) -> Result<Self, ContainerError> {
        let mut entries = Self {
            source: Source::new(reader),
            records: Vec::new(),
            names: HashSet::new(),
            entries_max: CONTAINER_ENTRIES_MAX,
            inflate: Decompress::new(false),
            out: vec![0; OUT_BYTES],
            decoded: 0,
        };
        entries.mimetype()?;
        Ok(entries)
    }

    /// The next entry's header; `None` when the central directory's first signature was read instead.
    pub(super) fn next(&mut self) -> Result<Option<Local>, ContainerError> {
        let offset = self.source.position();
        match self.source.take_u32()? {
            LOCAL => {}
            CENTRAL => return Ok(None),
            _ => return Err(ContainerError::UnknownRecord { offset }),
        }
        if self.records.len() == self.entries_max {
            return Err(ContainerError::TooLarge { what: "the number of entries allowed" });
        }
        let local = self.header(offset)?;
        if !self.names.insert(local.record.name.clone()) {
            return Err(ContainerError::Duplicate { name: local.record.name });
        }
        Ok(Some(local))
    }

    /// Decodes the data of the entry whose header was read last, and checks sizes and CRC.
    pub(super) fn body(&mut self, local: Local, take: Take<'_>) -> Result<(), ContainerError> {
        let mut crc = Crc::new();
        let mut summed = |bytes: &[u8]| {
            crc.update(bytes);
            take(bytes)
        };
        let name = &local.record.name;
        let (packed, length) = match local.record.method {
            STORED => self.stored(&local, &mut summed)?,
            _ => self.inflated(&local, &mut summed)?,
        };
        let (said_crc, said_packed, said_length) = if local.has_descriptor() {
            self.descriptor(name, local.zip64)?
        } else {
            (local.record.crc, local.record.packed, local.record.length)
        };
        if (said_packed, said_length) != (packed, length) {
            return Err(ContainerError::Sizes { name: name.clone() });
        }
        if said_crc != crc.sum() {
            return Err(ContainerError::Checksum { name: name.clone() });
        }
        self.records.push(Record { crc: said_crc, packed, length, ..local.record });
        Ok(())
    }

    fn mimetype(&mut self) -> Result<(), ContainerError> {
        let refused = |what| ContainerError::Mimetype { what };
        let local = match self.next() {
            Ok(Some(local)) => local,
            Err(error @ (ContainerError::Source(_) | ContainerError::Truncated { .. })) => return Err(error),
            _ => return Err(refused("does not begin with a plain `mimetype` entry")),
        };
        let record = &local.record;
        if record.name.as_str() != MIMETYPE_NAME {
            return Err(refused("begins with another entry"));
        }
        if record.method != STORED || record.flags & !FLAG_UTF8 != 0 || local.zip64 {
            return Err(refused("has a `mimetype` that is packed or not plain"));
        }
        let mut content = Vec::with_capacity(MIMETYPE.len());
        self.body(local, &mut |bytes| {
            if content.len() + bytes.len() > MIMETYPE.len() {
                return Err(refused("says it is something else"));
            }
            content.extend_from_slice(bytes);
            Ok(())
        })?;
        if content == MIMETYPE.as_bytes() { Ok(()) } else { Err(refused("says it is something else")) }
    }

    fn header(&mut self, offset: u64) -> Result<Local, ContainerError> {
        let bytes = self.source.take::<LOCAL_BYTES>()?;
        let (mut record, sizes, name_len, extra_len) = fixed_part(&bytes).expect("LOCAL_BYTES hold the fixed part");
        let name = self.source.take_vec(name_len)?;
        record.name = EntryName::from_bytes(&name).map_err(|source| ContainerError::Name { offset, source })?;
        record.offset = offset;
        let extra = self.source.take_vec(extra_len)?;
        let zip64 = local_zip64(&extra, sizes, &mut record)?;
        check_profile(&record)?;
        Ok(Local { record, zip64 })
    }

    fn stored(&mut self, local: &Local, take: Take<'_>) -> Result<(u64, u64), ContainerError> {
        let length = local.record.packed;
        let mut left = length;
        while left > 0 {
            let offset = self.source.position();
            let next = self.source.peek()?;
            if next.is_empty() {
                return Err(ContainerError::Truncated { offset });
            }
            let count = next.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            take(next.split_at(count).0)?;
            self.source.consume(count);
            left -= u64::try_from(count).unwrap_or(left);
            self.count_decoded(count)?;
        }
        Ok((length, length))
    }

    fn inflated(&mut self, local: &Local, take: Take<'_>) -> Result<(u64, u64), ContainerError> {
        let broken = || ContainerError::Deflate { name: local.record.name.clone() };
        let may_take = if local.has_descriptor() { u64::MAX } else { local.record.packed };
        self.inflate.reset(false);
        loop {
            let offset = self.source.position();
            let (taken_before, made_before) = (self.inflate.total_in(), self.inflate.total_out());
            let next = self.source.peek()?;
            let at_end = next.is_empty();
            let room = usize::try_from(may_take - taken_before).unwrap_or(usize::MAX);
            let input = next.split_at(next.len().min(room)).0;
            let status = self.inflate.decompress(input, &mut self.out, FlushDecompress::None).map_err(|_| broken())?;
            let taken = usize::try_from(self.inflate.total_in() - taken_before).map_err(|_| broken())?;
            let made = usize::try_from(self.inflate.total_out() - made_before).map_err(|_| broken())?;
            self.source.consume(taken);
            self.count_decoded(made)?;
            take(self.out.get(..made).unwrap_or_default())?;
            match status {
                Status::StreamEnd => return Ok((self.inflate.total_in(), self.inflate.total_out())),
                _ if taken == 0 && made == 0 && at_end => return Err(ContainerError::Truncated { offset }),
                _ if taken == 0 && made == 0 => return Err(broken()),
                _ => {}
            }
        }
    }

    fn descriptor(&mut self, name: &EntryName, zip64: bool) -> Result<(u32, u64, u64), ContainerError> {
        if self.source.take_u32()? != DESCRIPTOR {
            return Err(ContainerError::Descriptor { name: name.clone() });
        }
        let crc = self.source.take_u32()?;
        if zip64 {
            Ok((crc, self.source.take().map(u64::from_le_bytes)?, self.source.take().map(u64::from_le_bytes)?))
        } else {
            Ok((crc, self.source.take_u32()?.into(), self.source.take_u32()?.into()))
        }
    }

    /// Bounds what comes out, in all and against what went in.
    fn count_decoded(&mut self, count: usize) -> Result<(), ContainerError> {
        self.decoded = self.decoded.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if self.decoded > CONTAINER_BYTES_MAX {
            return Err(ContainerError::TooLarge { what: "8 GiB" });
        }
        if self.decoded > CONTAINER_RATIO_GRACE_BYTES && self.decoded / CONTAINER_RATIO_MAX > self.source.position() {
            return Err(ContainerError::Bomb);
        }
        Ok(())
    }
}

/// The header up to the name, with the 32-bit sizes as they stand there (packed, length); name and offset are filled in later.
fn fixed_part(bytes: &[u8; LOCAL_BYTES]) -> Option<(Record, [u32; 2], u16, u16)> {
    let mut fields = Fields(bytes);
    let (version, flags, method) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let (time, date, crc) = (fields.u16()?, fields.u16()?, fields.u32()?);
    let sizes = [fields.u32()?, fields.u32()?];
    let name = MIMETYPE_NAME.parse().ok()?;
    let record = Record {
        version,
        flags,
        method,
        time,
        date,
        crc,
        packed: sizes[0].into(),
        length: sizes[1].into(),
        name,
        offset: 0,
    };
    Some((record, sizes, fields.u16()?, fields.u16()?))
}

/// The only extra field that is accepted, and only where both sizes send the reader to it.
fn local_zip64(extra: &[u8], sizes: [u32; 2], record: &mut Record) -> Result<bool, ContainerError> {
    let refused = || ContainerError::Extra { name: record.name.clone() };
    if extra.is_empty() {
        return if sizes.contains(&SEE_ZIP64) { Err(refused()) } else { Ok(false) };
    }
    let mut fields = Fields(extra);
    let header = (fields.u16(), fields.u16());
    let (Some(length), Some(packed), 20) = (fields.u64(), fields.u64(), extra.len()) else {
        return Err(refused());
    };
    if header != (Some(EXTRA_ZIP64), Some(16)) || sizes != [SEE_ZIP64; 2] {
        return Err(refused());
    }
    (record.length, record.packed) = (length, packed);
    Ok(true)
}

fn check_profile(record: &Record) -> Result<(), ContainerError> {
    let refused = |what| ContainerError::Feature { name: record.name.clone(), what };
    if record.flags & !(FLAG_DESCRIPTOR | FLAG_EFFORT | FLAG_UTF8) != 0 {
        return Err(refused("encryption, patching or another feature of zip"));
    }
    if record.version > VERSION_ZIP64 {
        return Err(refused("a newer version of zip"));
    }
    if record.flags & FLAG_UTF8 == 0 && !record.name.as_str().is_ascii() {
        return Err(refused("a name in an unknown encoding"));
    }
    let descriptor = record.flags & FLAG_DESCRIPTOR != 0;
    match record.method {
        DEFLATE => {}
        // Nothing says where such an entry ends.
        STORED if descriptor => return Err(refused("stored data of unknown length")),
        STORED if record.packed == record.length => {}
        STORED => return Err(ContainerError::Sizes { name: record.name.clone() }),
        _ => return Err(refused("another compression than DEFLATE")),
    }
    if descriptor && (record.crc, record.packed, record.length) != (0, 0, 0) {
        return Err(refused("sizes both before and after its data"));
    }
    Ok(())
}
