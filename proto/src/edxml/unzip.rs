//! Unzips a one-entry ZIP as it streams by, descriptors included, and refuses every other kind of ZIP.
//!
//! Nothing is trusted that is not checked: the entry's name holds no path, sizes and CRC of local header, descriptor
//! and directory agree, the directory has exactly one entry, nothing follows. Growth is bounded by ratio and size.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::error::ZipDefect;
use crate::limits::{
    ATTACHMENT_BYTES_MAX, ZIP_NAME_BYTES_MAX, ZIP_RATIO_FREE_BYTES, ZIP_RATIO_MAX, ZIP_TAIL_BYTES_MAX,
};

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const DESCRIPTOR: &[u8] = b"PK\x07\x08";
const LOCAL_BYTES: usize = 30;
const OUT_BYTES: usize = 64 * 1024;

/// The fixed part of a local header and the entry's name.
#[derive(Debug, Clone)]
pub(super) struct LocalHeader {
    pub(super) name: Vec<u8>,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    plain: u32,
    extra_bytes: usize,
}

impl LocalHeader {
    /// Reads it from the first bytes; none while too few are there.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let name_bytes = usize::from(u16_at(bytes, 26)?);
        let name = bytes.get(LOCAL_BYTES..LOCAL_BYTES + name_bytes)?.to_vec();
        Some(Self {
            name,
            flags: u16_at(bytes, 6)?,
            method: u16_at(bytes, 8)?,
            crc: u32_at(bytes, 14)?,
            packed: u32_at(bytes, 18)?,
            plain: u32_at(bytes, 22)?,
            extra_bytes: usize::from(u16_at(bytes, 28)?),
        })
    }

    /// The entry's extension in lower case.
    pub(super) fn extension(&self) -> Option<String> {
        let name = String::from_utf8_lossy(&self.name);
        name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase())
    }

    fn has_descriptor(&self) -> bool {
        self.flags & 8 != 0
    }

    /// Whether the entry's name is a file's and no path.
    pub(super) fn is_plainly_named(&self) -> bool {
        let name = String::from_utf8_lossy(&self.name);
        let bad = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
        let long = name.len() > ZIP_NAME_BYTES_MAX;
        !(name.is_empty() || long || name.contains(bad) || name.contains("..") || name == ".")
    }

    fn check(&self) -> Result<(), ZipDefect> {
        if !self.is_plainly_named() {
            return Err(ZipDefect::Path);
        }
        // Bit 0: encrypted; 6: strongly; 13: masked headers (APPNOTE 4.4.4).
        if self.flags & 0x2041 != 0 {
            return Err(ZipDefect::Encrypted);
        }
        // A stored entry with a descriptor has no end that all readers agree on.
        match self.method {
            8 => Ok(()),
            0 if !self.has_descriptor() && self.packed != u32::MAX => Ok(()),
            _ => Err(ZipDefect::Method),
        }
    }
}

enum Stage {
    Header(Vec<u8>),
    Deflated(Box<Decompress>),
    Stored(u64),
    Tail,
}

pub(super) struct Unzip {
    stage: Stage,
    header: Option<LocalHeader>,
    crc: Crc,
    packed: u64,
    plain: u64,
    tail: Vec<u8>,
    out: Vec<u8>,
}

impl Unzip {
    pub(super) fn new() -> Self {
        let (packed, plain, tail) = (0, 0, Vec::new());
        Self {
            stage: Stage::Header(Vec::new()),
            header: None,
            crc: Crc::new(),
            packed,
            plain,
            tail,
            out: vec![0; OUT_BYTES],
        }
    }

    /// The entry's name, once known.
    pub(super) fn entry_name(&self) -> Option<String> {
        self.header.as_ref().map(|header| String::from_utf8_lossy(&header.name).into_owned())
    }

    /// Takes the next bytes of the ZIP; `take` gets the entry's.
    pub(super) fn push<E: From<ZipDefect>>(
        &mut self,
        mut bytes: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            bytes = match &mut self.stage {
                Stage::Header(_) => self.header(bytes)?,
                Stage::Deflated(_) => self.inflate(bytes, take)?,
                Stage::Stored(_) => self.copy(bytes, take)?,
                Stage::Tail => {
                    self.tail.extend_from_slice(bytes);
                    if self.tail.len() > ZIP_TAIL_BYTES_MAX {
                        return Err(self.tail_defect().into());
                    }
                    &[]
                }
            };
        }
        Ok(())
    }

    fn header<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], ZipDefect> {
        let Stage::Header(held) = &mut self.stage else { return Ok(bytes) };
        // Names and extra fields are at most 65,535 bytes each, so what is held stays small.
        let room = LOCAL_BYTES + 2 * usize::from(u16::MAX) - held.len();
        let (now, later) = bytes.split_at(bytes.len().min(room));
        held.extend_from_slice(now);
        if held.len() >= 4 && held.starts_with(END) {
            return Err(ZipDefect::NoEntry);
        }
        let Some(header) = LocalHeader::parse(held) else { return Ok(later) };
        let start = LOCAL_BYTES + header.name.len() + header.extra_bytes;
        if held.len() < start {
            return Ok(later);
        }
        header.check()?;
        let used_before = held.len() - now.len();
        let stage = match header.method {
            8 => Stage::Deflated(Box::new(Decompress::new(false))),
            _ => Stage::Stored(u64::from(header.packed)),
        };
        self.header = Some(header);
        self.stage = stage;
        // `start` lies within this piece, since the piece before was too short.
        Ok(bytes.get(start.saturating_sub(used_before)..).unwrap_or_default())
    }

    fn inflate<'b, E: From<ZipDefect>>(
        &mut self,
        mut bytes: &'b [u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<&'b [u8], E> {
        let Stage::Deflated(inflater) = &mut self.stage else { return Ok(bytes) };
        loop {
            let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(bytes, &mut self.out, FlushDecompress::None);
            let status = status.map_err(|_| ZipDefect::Damaged)?;
            let used = usize::try_from(inflater.total_in() - before_in).unwrap_or(usize::MAX);
            let made = usize::try_from(inflater.total_out() - before_out).unwrap_or(usize::MAX);
            bytes = bytes.get(used..).unwrap_or_default();
            (self.packed, self.plain) = (inflater.total_in(), inflater.total_out());
            if self.plain > ATTACHMENT_BYTES_MAX
                || self.plain > ZIP_RATIO_FREE_BYTES && self.plain / ZIP_RATIO_MAX > self.packed
            {
                return Err(ZipDefect::Bomb.into());
            }
            let plain = self.out.get(..made).unwrap_or_default();
            self.crc.update(plain);
            if !plain.is_empty() {
                take(plain)?;
            }
            if matches!(status, Status::StreamEnd) {
                self.stage = Stage::Tail;
                return Ok(bytes);
            }
            if used == 0 && made == 0 || bytes.is_empty() && made < self.out.len() {
                return if bytes.is_empty() { Ok(bytes) } else { Err(ZipDefect::Damaged.into()) };
            }
        }
    }

    fn copy<'b, E: From<ZipDefect>>(
        &mut self,
        bytes: &'b [u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<&'b [u8], E> {
        let Stage::Stored(left) = &mut self.stage else { return Ok(bytes) };
        let now = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        let (now, later) = bytes.split_at(now);
        let length = u64::try_from(now.len()).unwrap_or(u64::MAX);
        *left -= length;
        (self.packed, self.plain) = (self.packed + length, self.plain + length);
        if *left == 0 {
            self.stage = Stage::Tail;
        }
        self.crc.update(now);
        if !now.is_empty() {
            take(now)?;
        }
        Ok(later)
    }

    /// A tail too long is a second entry as a rule.
    fn tail_defect(&self) -> ZipDefect {
        match self.after_descriptor() {
            Err(defect) => defect,
            Ok(_) => ZipDefect::Damaged,
        }
    }

    /// Checks everything behind the data.
    pub(super) fn finish(mut self) -> Result<(), ZipDefect> {
        if let Stage::Stored(0) = self.stage {
            self.stage = Stage::Tail;
        }
        if !matches!(self.stage, Stage::Tail) {
            return Err(ZipDefect::Truncated);
        }
        let rest = self.after_central(self.after_descriptor()?)?;
        check_end(rest)
    }

    /// Skips the descriptor, if there is one, and checks what it or the local header says.
    fn after_descriptor(&self) -> Result<&[u8], ZipDefect> {
        let header = self.header.as_ref().ok_or(ZipDefect::Truncated)?;
        let tail = self.tail.as_slice();
        if !header.has_descriptor() {
            let known = [(header.packed, self.packed), (header.plain, self.plain)];
            if header.crc != self.crc.sum() || known.iter().any(|(said, is)| !size_fits(*said, *is)) {
                return Err(ZipDefect::Damaged);
            }
            return directory(tail).ok_or(self.not_directory(tail));
        }
        let signed = tail.strip_prefix(DESCRIPTOR);
        for body in [signed, Some(tail)].into_iter().flatten() {
            for (width, rest) in [(4, body.get(12..)), (8, body.get(20..))] {
                let Some(rest) = rest else { continue };
                let next = rest.get(..4);
                if next != Some(CENTRAL) && next != Some(LOCAL) {
                    continue;
                }
                let fits = u32_at(body, 0) == Some(self.crc.sum())
                    && uint_at(body, 4, width) == Some(self.packed)
                    && uint_at(body, 4 + width, width) == Some(self.plain);
                if fits {
                    return directory(rest).ok_or(self.not_directory(rest));
                }
                return Err(ZipDefect::Damaged);
            }
        }
        Err(if tail.len() < 24 { ZipDefect::Truncated } else { ZipDefect::Damaged })
    }

    fn not_directory(&self, rest: &[u8]) -> ZipDefect {
        match rest.get(..4) {
            Some(LOCAL) => ZipDefect::SeveralEntries,
            None => ZipDefect::Truncated,
            Some(_) => ZipDefect::Damaged,
        }
    }

    /// Checks the one directory entry and skips it.
    fn after_central<'t>(&self, central: &'t [u8]) -> Result<&'t [u8], ZipDefect> {
        let header = self.header.as_ref().ok_or(ZipDefect::Truncated)?;
        let length = |at| u16_at(central, at).map(usize::from).ok_or(ZipDefect::Truncated);
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        let held = central.get(46..46 + name).ok_or(ZipDefect::Truncated)?;
        let rest = central.get(46 + name + extra + comment..).ok_or(ZipDefect::Truncated)?;
        let fits = held == header.name
            && u16_at(central, 10) == Some(header.method)
            && u32_at(central, 16) == Some(self.crc.sum())
            && u32_at(central, 20).is_some_and(|said| size_fits(said, self.packed))
            && u32_at(central, 24).is_some_and(|said| size_fits(said, self.plain))
            && matches!(u32_at(central, 42), Some(0 | u32::MAX));
        match rest.get(..4) {
            Some(CENTRAL) => Err(ZipDefect::SeveralEntries),
            _ if fits => Ok(rest),
            _ => Err(ZipDefect::Damaged),
        }
    }
}

fn directory(bytes: &[u8]) -> Option<&[u8]> {
    bytes.starts_with(CENTRAL).then_some(bytes)
}

/// 0xFFFFFFFF says "see the zip64 field"; the true size is known by then anyway.
fn size_fits(said: u32, is: u64) -> bool {
    said == u32::MAX || u64::from(said) == is
}

/// The end of the directory: zip64 records may stand before it, a comment after, nothing else.
fn check_end(mut rest: &[u8]) -> Result<(), ZipDefect> {
    if rest.starts_with(b"PK\x06\x06") {
        let size = uint_at(rest, 4, 8).and_then(|size| usize::try_from(size).ok()).ok_or(ZipDefect::Truncated)?;
        rest = size.checked_add(12).and_then(|end| rest.get(end..)).ok_or(ZipDefect::Truncated)?;
    }
    if rest.starts_with(b"PK\x06\x07") {
        rest = rest.get(20..).ok_or(ZipDefect::Truncated)?;
    }
    let comment = u16_at(rest, 20).ok_or(ZipDefect::Truncated)?;
    let one = |at| matches!(u16_at(rest, at), Some(1 | u16::MAX));
    match rest.starts_with(END) && rest.len() == 22 + usize::from(comment) {
        true if one(8) && one(10) => Ok(()),
        true => Err(ZipDefect::SeveralEntries),
        false => Err(ZipDefect::Damaged),
    }
}

fn uint_at(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let field = bytes.get(at..at + width)?;
    Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}
