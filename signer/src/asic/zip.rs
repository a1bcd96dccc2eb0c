//! The zip structures of the profile (PKWARE APPNOTE.TXT 6.3.10), to bytes and back. Numbers are little endian.

use super::name::EntryName;

pub(super) const LOCAL: u32 = 0x0403_4b50;
pub(super) const DESCRIPTOR: u32 = 0x0807_4b50;
pub(super) const CENTRAL: u32 = 0x0201_4b50;
pub(super) const END: u32 = 0x0605_4b50;
pub(super) const END64: u32 = 0x0606_4b50;
pub(super) const LOCATOR64: u32 = 0x0706_4b50;

pub(super) const STORED: u16 = 0;
pub(super) const DEFLATE: u16 = 8;

/// Bits 1 and 2 tell how hard the packer tried (4.4.4).
pub(super) const FLAG_EFFORT: u16 = 0b110;
/// CRC and sizes follow the data.
pub(super) const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// The name is UTF-8.
pub(super) const FLAG_UTF8: u16 = 1 << 11;

/// Extra field with 64-bit sizes and offset (4.5.3).
pub(super) const EXTRA_ZIP64: u16 = 1;
/// In a 32-bit field: the number stands in the zip64 field.
pub(super) const SEE_ZIP64: u32 = u32::MAX;
const SEE_ZIP64_COUNT: u16 = u16::MAX;

/// Zip version that knows folders and DEFLATE, and zip64 (4.4.3.2).
const VERSION_DEFLATE: u16 = 20;
pub(super) const VERSION_ZIP64: u16 = 45;
/// "Made by" 3: Unix, so that the mode is in the external attributes (4.4.2).
const MADE_BY_UNIX: u16 = 3 << 8;
/// A regular file, `rw-r--r--`.
const MODE_FILE: u32 = 0o100_644 << 16;
/// 1980-01-01, the first date zip knows: containers with the same content are the same bytes; the time stands in the signature.
const DATE: u16 = 0b10_0001;

/// Length after the signature of a local header, a central header and the ends, without what varies.
pub(super) const LOCAL_BYTES: usize = 26;
pub(super) const CENTRAL_BYTES: usize = 42;
pub(super) const END_BYTES: usize = 18;
pub(super) const END64_BYTES: usize = 52;
pub(super) const LOCATOR64_BYTES: usize = 16;

/// What zip says of an entry, in local header, descriptor and central directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) version: u16,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) time: u16,
    pub(super) date: u16,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) length: u64,
    pub(super) name: EntryName,
    /// Where the local header stands.
    pub(super) offset: u64,
}

impl Record {
    /// The `mimetype` entry: nothing in it is left for later.
    pub(super) fn stored(name: EntryName, crc: u32, length: u32) -> Self {
        let length = u64::from(length);
        let (version, method) = (10, STORED);
        Self { version, flags: 0, method, time: 0, date: DATE, crc, packed: length, length, name, offset: 0 }
    }

    /// An entry whose sizes come after it.
    pub(super) fn streamed(name: EntryName, offset: u64, zip64: bool) -> Self {
        let version = if zip64 { VERSION_ZIP64 } else { VERSION_DEFLATE };
        let (flags, method) = (FLAG_DESCRIPTOR | FLAG_UTF8, DEFLATE);
        Self { version, flags, method, time: 0, date: DATE, crc: 0, packed: 0, length: 0, name, offset }
    }

    pub(super) fn local_header(&self, zip64: bool) -> Vec<u8> {
        let mut out = Bytes::default();
        out.u32(LOCAL);
        self.common(&mut out, if zip64 { [SEE_ZIP64; 2] } else { [low(self.packed), low(self.length)] });
        out.u16(if zip64 { 20 } else { 0 });
        out.text(&self.name);
        if zip64 {
            out.u16(EXTRA_ZIP64).u16(16).u64(self.length).u64(self.packed);
        }
        out.0
    }

    pub(super) fn descriptor(&self, zip64: bool) -> Vec<u8> {
        let mut out = Bytes::default();
        out.u32(DESCRIPTOR).u32(self.crc);
        if zip64 {
            out.u64(self.packed).u64(self.length);
        } else {
            out.u32(low(self.packed)).u32(low(self.length));
        }
        out.0
    }

    /// `zip64_from`: the smallest number that is written as zip64.
    pub(super) fn central_header(&self, zip64_from: u64) -> Vec<u8> {
        let mut extra = Bytes::default();
        let mut field = |number: u64| {
            if number >= zip64_from {
                extra.u64(number);
                SEE_ZIP64
            } else {
                low(number)
            }
        };
        // In the extra field the order is length, packed, offset (4.5.3).
        let (length, packed, offset) = (field(self.length), field(self.packed), field(self.offset));
        let version = if extra.0.is_empty() { self.version } else { VERSION_ZIP64 };
        let extra_len = u16::try_from(extra.0.len()).expect("three numbers");
        let mut out = Bytes::default();
        out.u32(CENTRAL).u16(MADE_BY_UNIX | version);
        self.common(&mut out, [packed, length]);
        out.u16(if extra_len == 0 { 0 } else { extra_len + 4 });
        out.u16(0).u16(0).u16(0).u32(MODE_FILE).u32(offset); // no comment, disk 0, no internal attributes
        out.text(&self.name);
        if extra_len != 0 {
            out.u16(EXTRA_ZIP64).u16(extra_len).raw(&extra.0);
        }
        out.0
    }

    /// The fields that stand in both headers in the same order, up to the name's length.
    fn common(&self, out: &mut Bytes, [packed, length]: [u32; 2]) {
        out.u16(self.version).u16(self.flags).u16(self.method).u16(self.time).u16(self.date).u32(self.crc);
        out.u32(packed).u32(length);
        out.u16(u16::try_from(self.name.as_str().len()).expect("an EntryName is shorter than 64 KiB"));
    }
}

/// End of central directory, with the zip64 records before it where a number needs them.
pub(super) fn end_records(count: u16, directory_len: u64, directory_offset: u64, zip64_from: u64) -> Vec<u8> {
    let mut out = Bytes::default();
    let zip64 = directory_len >= zip64_from || directory_offset >= zip64_from;
    if zip64 {
        out.u32(END64).u64(44).u16(MADE_BY_UNIX | VERSION_ZIP64).u16(VERSION_ZIP64).u32(0).u32(0);
        out.u64(u64::from(count)).u64(u64::from(count)).u64(directory_len).u64(directory_offset);
        out.u32(LOCATOR64).u32(0).u64(directory_offset + directory_len).u32(1);
    }
    let field = |number: u64| if number >= zip64_from { SEE_ZIP64 } else { low(number) };
    out.u32(END).u16(0).u16(0).u16(count).u16(count).u32(field(directory_len)).u32(field(directory_offset)).u16(0);
    out.0
}

/// The end of central directory as read: each number exact, or "see zip64" where zip64 records stood before it.
pub(super) fn end_agrees(end: &[u8; END_BYTES], count: u64, len: u64, offset: u64, zip64: bool) -> bool {
    let mut fields = Fields(end);
    let short = |read: Option<u16>, true_value: u64| {
        read.is_some_and(|n| u64::from(n) == true_value || (zip64 && n == SEE_ZIP64_COUNT))
    };
    let disks = fields.u16() == Some(0) && fields.u16() == Some(0);
    let counts = short(fields.u16(), count) && short(fields.u16(), count);
    let mut long =
        |true_value: u64| fields.u32().is_some_and(|n| u64::from(n) == true_value || (zip64 && n == SEE_ZIP64));
    disks && counts && long(len) && long(offset)
}

/// The zip64 end record as read, after its signature.
pub(super) fn end64_agrees(end: &[u8; END64_BYTES], count: u64, len: u64, offset: u64) -> bool {
    let mut fields = Fields(end);
    let fixed = fields.u64() == Some(44) && fields.u16().is_some() && fields.u16().is_some_and(|v| v <= VERSION_ZIP64);
    let disks = fields.u32() == Some(0) && fields.u32() == Some(0);
    let counts = fields.u64() == Some(count) && fields.u64() == Some(count);
    fixed && disks && counts && fields.u64() == Some(len) && fields.u64() == Some(offset)
}

/// The zip64 locator as read, after its signature.
pub(super) fn locator64_agrees(locator: &[u8; LOCATOR64_BYTES], end64_offset: u64) -> bool {
    let mut fields = Fields(locator);
    fields.u32() == Some(0) && fields.u64() == Some(end64_offset) && fields.u32() == Some(1)
}

/// Takes numbers off the front; `None` when too few bytes are left.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }
}

#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(&mut self, number: u16) -> &mut Self {
        self.raw(&number.to_le_bytes())
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.raw(&number.to_le_bytes())
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.raw(&number.to_le_bytes())
    }

    fn text(&mut self, name: &EntryName) -> &mut Self {
        self.raw(name.as_str().as_bytes())
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// The number in 32 bits; the callers have made sure that it fits.
fn low(number: u64) -> u32 {
    u32::try_from(number).expect("what needs 64 bits is written as zip64")
}
