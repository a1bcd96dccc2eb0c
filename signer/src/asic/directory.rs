//! The central directory and the end records, held against what the entries themselves said: a container that looks
//! different from its end than from its front is refused.

use std::io::Read;

use super::{
    ContainerError, EntryName,
    source::Source,
    zip::{
        CENTRAL, CENTRAL_BYTES, END, END_BYTES, END64, END64_BYTES, EXTRA_ZIP64, Fields, LOCATOR64, LOCATOR64_BYTES,
        Record, SEE_ZIP64, VERSION_ZIP64, end_agrees, end64_agrees, locator64_agrees,
    },
};

/// Checks everything after the first central header's signature, which has just been taken, up to the end record.
pub(super) fn check<R: Read>(source: &mut Source<R>, records: &[Record]) -> Result<(), ContainerError> {
    let start = source.position() - 4;
    let mut signature = CENTRAL;
    for record in records {
        if signature != CENTRAL {
            return Err(disagrees(record, "leaves it out"));
        }
        central_header(source, record)?;
        signature = source.take_u32()?;
    }
    let offset = source.position() - 4;
    if signature == CENTRAL {
        return Err(ContainerError::DirectoryEnd { what: "names an entry that is not there" });
    }
    end(source, signature, records.len(), start, offset)
}

fn central_header<R: Read>(source: &mut Source<R>, record: &Record) -> Result<(), ContainerError> {
    let bytes = source.take::<CENTRAL_BYTES>()?;
    let central = Central::read(&bytes).expect("CENTRAL_BYTES hold the fixed part");
    let name = source.take_vec(central.name_len)?;
    if name != record.name.as_str().as_bytes() {
        return Err(disagrees(record, "has another name for it"));
    }
    let extra = source.take_vec(central.extra_len)?;
    let (length, packed, offset) =
        central.wide(&extra).ok_or_else(|| ContainerError::Extra { name: record.name.clone() })?;
    central.check_kind(&record.name)?;
    let what = if central.version < record.version || central.version > VERSION_ZIP64 {
        "has another version for it"
    } else if central.flags != record.flags || central.method != record.method {
        "has other flags or another method for it"
    } else if (central.time, central.date) != (record.time, record.date) {
        "has another time for it"
    } else if central.crc != record.crc {
        "has another CRC for it"
    } else if (length, packed) != (record.length, record.packed) {
        "has other sizes for it"
    } else if offset != record.offset {
        "says it begins elsewhere"
    } else {
        return Ok(());
    };
    Err(disagrees(record, what))
}

fn end<R: Read>(
    source: &mut Source<R>,
    mut signature: u32,
    count: usize,
    start: u64,
    offset: u64,
) -> Result<(), ContainerError> {
    let wrong = |what| ContainerError::DirectoryEnd { what };
    let (count, len) = (u64::try_from(count).unwrap_or(u64::MAX), offset - start);
    let zip64 = signature == END64;
    if zip64 {
        if !end64_agrees(&source.take::<END64_BYTES>()?, count, len, start) {
            return Err(wrong("has zip64 counts or places that are not so"));
        }
        if source.take_u32()? != LOCATOR64 || !locator64_agrees(&source.take::<LOCATOR64_BYTES>()?, offset) {
            return Err(wrong("has a zip64 locator that is not so"));
        }
        signature = source.take_u32()?;
    }
    if signature != END {
        return Err(wrong("is followed by something else"));
    }
    let bytes = source.take::<END_BYTES>()?;
    if !end_agrees(&bytes, count, len, start, zip64) {
        return Err(wrong("has counts or places that are not so"));
    }
    // The last two bytes are the length of the comment.
    if bytes.last_chunk::<2>() != Some(&[0, 0]) {
        return Err(wrong("has a comment"));
    }
    Ok(())
}

/// A central header's numbers as they stand there.
struct Central {
    version: u16,
    flags: u16,
    method: u16,
    time: u16,
    date: u16,
    crc: u32,
    packed: u32,
    length: u32,
    name_len: u16,
    extra_len: u16,
    comment_len: u16,
    disk: u16,
    attributes: u32,
    offset: u32,
}

impl Central {
    fn read(bytes: &[u8; CENTRAL_BYTES]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let _made_by = fields.u16()?;
        let (version, flags, method) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let (time, date, crc) = (fields.u16()?, fields.u16()?, fields.u32()?);
        let (packed, length) = (fields.u32()?, fields.u32()?);
        let (name_len, extra_len, comment_len, disk) = (fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?);
        let _text_or_binary = fields.u16()?;
        let (attributes, offset) = (fields.u32()?, fields.u32()?);
        Some(Self {
            version,
            flags,
            method,
            time,
            date,
            crc,
            packed,
            length,
            name_len,
            extra_len,
            comment_len,
            disk,
            attributes,
            offset,
        })
    }

    /// Length, packed length and offset; each number stands in the zip64 field exactly where its own field says so.
    fn wide(&self, extra: &[u8]) -> Option<(u64, u64, u64)> {
        let short = [self.length, self.packed, self.offset];
        let wide = short.iter().filter(|number| **number == SEE_ZIP64).count();
        let mut fields = Fields(extra);
        if wide > 0 {
            let header = (fields.u16()?, fields.u16()?);
            if header != (EXTRA_ZIP64, u16::try_from(8 * wide).ok()?) {
                return None;
            }
        }
        let mut number = |short: u32| if short == SEE_ZIP64 { fields.u64() } else { Some(short.into()) };
        let [length, packed, offset] = [number(short[0])?, number(short[1])?, number(short[2])?];
        fields.0.is_empty().then_some((length, packed, offset))
    }

    /// A plain file without comment on this disk: no folder, no link (upper half: Unix mode; 0x10: DOS folder).
    fn check_kind(&self, name: &EntryName) -> Result<(), ContainerError> {
        let unix_type = (self.attributes >> 16) & 0o170_000;
        if self.attributes & 0x10 != 0 || !matches!(unix_type, 0 | 0o100_000) {
            return Err(ContainerError::Feature { name: name.clone(), what: "a folder, a link or a device" });
        }
        if self.comment_len != 0 || self.disk != 0 {
            return Err(ContainerError::Feature { name: name.clone(), what: "a comment or a second disk" });
        }
        Ok(())
    }
}

fn disagrees(record: &Record, what: &'static str) -> ContainerError {
    ContainerError::DirectoryDisagrees { name: record.name.clone(), what }
}
