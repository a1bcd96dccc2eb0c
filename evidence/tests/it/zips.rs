//! ZIP files with anything in them wrong: each number as somebody wants it.

use std::io::Write as _;

use flate2::{Compression, write::DeflateEncoder};

/// One entry, as its own header and as the directory tells it.
#[derive(Clone)]
pub(crate) struct ZipEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) version: u16,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) crc: u32,
    /// As told; what lies there is as long as it is.
    pub(crate) packed: u32,
    /// As told.
    pub(crate) length: u32,
    pub(crate) extra: Vec<u8>,
    /// In the directory alone; none: the same name.
    pub(crate) listed_as: Option<Vec<u8>>,
    pub(crate) listed_extra: Vec<u8>,
    pub(crate) comment: Vec<u8>,
    pub(crate) attributes: u32,
    pub(crate) listed: bool,
    pub(crate) offset_shift: u32,
}

impl ZipEntry {
    pub(crate) fn new(name: &str, content: Vec<u8>) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            version: 20,
            flags: 0x0800,
            method: 0,
            crc: crc32(&content),
            packed: u32::try_from(content.len()).unwrap(),
            length: u32::try_from(content.len()).unwrap(),
            content,
            extra: vec![],
            listed_as: None,
            listed_extra: vec![],
            comment: vec![],
            attributes: 0,
            listed: true,
            offset_shift: 0,
        }
    }

    /// Packed as small as it goes.
    pub(crate) fn deflated(name: &str, content: &[u8]) -> Self {
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::best());
        packer.write_all(content).unwrap();
        let packed = packer.finish().unwrap();
        let told = u32::try_from(packed.len()).unwrap();
        let length = u32::try_from(content.len()).unwrap();
        Self { method: 8, crc: crc32(content), packed: told, length, ..Self::new(name, packed) }
    }

    fn common(&self) -> Vec<u8> {
        let shorts = [self.version, self.flags, self.method, 0, 0x21].into_iter().flat_map(u16::to_le_bytes);
        shorts.chain([self.crc, self.packed, self.length].into_iter().flat_map(u32::to_le_bytes)).collect()
    }
}

/// A whole file.
#[derive(Clone, Default)]
pub(crate) struct Zip {
    pub(crate) entries: Vec<ZipEntry>,
    pub(crate) before: Vec<u8>,
    pub(crate) before_directory: Vec<u8>,
    pub(crate) after: Vec<u8>,
    pub(crate) comment: Vec<u8>,
    pub(crate) count_shift: u16,
    pub(crate) directory_twice: bool,
}

impl Zip {
    pub(crate) fn entry(&mut self, name: &str) -> &mut ZipEntry {
        self.entries.iter_mut().find(|entry| entry.name == name.as_bytes()).unwrap()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.before.clone();
        let mut directory = Vec::new();
        for entry in &self.entries {
            let offset = u32::try_from(out.len()).unwrap() + entry.offset_shift;
            out.extend(b"PK\x03\x04");
            out.extend(entry.common());
            out.extend(short(&entry.name).into_iter().chain(short(&entry.extra)));
            out.extend(entry.name.iter().chain(&entry.extra).chain(&entry.content));
            if entry.listed {
                let name = entry.listed_as.as_ref().unwrap_or(&entry.name);
                directory.extend(b"PK\x01\x02\x14\x03");
                directory.extend(entry.common());
                directory.extend([name, &entry.listed_extra, &entry.comment].into_iter().flat_map(|part| short(part)));
                directory.extend([0; 4]);
                directory.extend([entry.attributes, offset].into_iter().flat_map(u32::to_le_bytes));
                directory.extend(name.iter().chain(&entry.listed_extra).chain(&entry.comment));
            }
        }
        let count = u16::try_from(self.entries.iter().filter(|entry| entry.listed).count()).unwrap() + self.count_shift;
        out.extend(&self.before_directory);
        for _ in 0..=usize::from(self.directory_twice) {
            let start = u32::try_from(out.len()).unwrap();
            out.extend(&directory);
            out.extend(b"PK\x05\x06\0\0\0\0");
            out.extend([count; 2].into_iter().flat_map(u16::to_le_bytes));
            out.extend([u32::try_from(directory.len()).unwrap(), start].into_iter().flat_map(u32::to_le_bytes));
            out.extend(short(&self.comment).iter().chain(&self.comment));
        }
        out.extend(&self.after);
        out
    }
}

fn short(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap().to_le_bytes()
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
