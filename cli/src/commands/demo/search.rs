//! Looks for plaintext in a folder: in every file's bytes, and in whatever inflates inside them.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::{Decompress, FlushDecompress, Status};

/// What to look for, by a name that people understand.
pub(super) type Needles<'a> = &'a [(&'a str, Vec<u8>)];

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Which needle.
    pub(super) what: String,
    /// In which file.
    pub(super) file: PathBuf,
    /// Whether it stood in compressed data.
    pub(super) inflated: bool,
}

/// Bytes read at a time; the longest needle must be shorter.
const BLOCK_BYTES: usize = 1 << 20;
/// First bytes of a ZIP local file header, and of what follows it in a DEFLATE entry (method 8 at offset 8).
const LOCAL_HEADER: &[u8] = b"PK\x03\x04";

/// Searches every file under `folder`. Files that vanish meanwhile are passed over.
pub(super) fn search(folder: &Path, needles: Needles<'_>) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            match std::fs::symlink_metadata(&path) {
                Ok(about) if about.is_dir() => folders.push(path),
                Ok(about) if about.is_file() => search_file(&path, needles, &mut found)?,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(found)
}

fn search_file(path: &Path, needles: Needles<'_>, found: &mut Vec<Found>) -> io::Result<()> {
    let mut note = |what: &str, inflated| {
        let item = Found { what: what.to_owned(), file: path.to_owned(), inflated };
        if !found.contains(&item) {
            found.push(item);
        }
    };
    let mut headers = Vec::new();
    let mut file = BufReader::new(match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    });
    scan(&mut file, needles, &mut |what| note(what, false), &mut |at| headers.push(at))?;
    for at in headers {
        inflate_from(path, at, needles, &mut |what| note(what, true))?;
    }
    Ok(())
}

/// Passes `source` once, overlapping blocks by the longest needle.
fn scan(
    mut source: impl Read,
    needles: Needles<'_>,
    hit: &mut dyn FnMut(&str),
    header: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let longest = needles.iter().map(|(_, n)| n.len()).max().unwrap_or(0).max(LOCAL_HEADER.len());
    let mut window = Vec::with_capacity(BLOCK_BYTES + longest);
    let mut start = 0_u64;
    loop {
        let before = window.len();
        let read = source.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut window)?;
        for (what, needle) in needles {
            if contains(&window, needle) {
                hit(what);
            }
        }
        for at in positions(&window, LOCAL_HEADER) {
            // Each header counts once: those that begin in the overlap were seen with the block before.
            if at + LOCAL_HEADER.len() > before {
                header(start + at as u64);
            }
        }
        if read == 0 {
            return Ok(());
        }
        let keep = window.len().saturating_sub(longest - 1);
        window.drain(..keep);
        start += keep as u64;
    }
}

/// Inflates what follows a local file header, as far as it is DEFLATE, and searches that.
fn inflate_from(path: &Path, at: u64, needles: Needles<'_>, hit: &mut dyn FnMut(&str)) -> io::Result<()> {
    use std::io::{Seek as _, SeekFrom};
    let mut file = BufReader::new(File::open(path)?);
    file.seek(SeekFrom::Start(at))?;
    let mut header = [0; 30];
    if file.read_exact(&mut header).is_err() || header.get(8..10) != Some(&[8, 0]) {
        return Ok(());
    }
    let two = |i: usize| {
        u64::from(u16::from_le_bytes([header.get(i).copied().unwrap_or(0), header.get(i + 1).copied().unwrap_or(0)]))
    };
    file.seek(SeekFrom::Current(i64::try_from(two(26) + two(28)).unwrap_or(0)))?;
    scan(
        Inflated { source: file, inflate: Decompress::new(false), input: Vec::new(), ended: false },
        needles,
        hit,
        &mut |_| {},
    )
}

/// DEFLATE until it ends or stops making sense; both are the end.
struct Inflated<R> {
    source: R,
    inflate: Decompress,
    input: Vec<u8>,
    ended: bool,
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            if self.input.is_empty() {
                self.source.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut self.input)?;
                self.ended = self.input.is_empty();
            }
            let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
            match self.inflate.decompress(&self.input, buffer, FlushDecompress::None) {
                Ok(Status::Ok | Status::BufError) => {}
                Ok(Status::StreamEnd) | Err(_) => self.ended = true,
            }
            let taken = usize::try_from(self.inflate.total_in() - taken).unwrap_or(self.input.len());
            self.input.drain(..taken);
            let given = usize::try_from(self.inflate.total_out() - given).unwrap_or(0);
            if given > 0 {
                return Ok(given);
            }
        }
        Ok(0)
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    positions(haystack, needle).next().is_some()
}

/// Where `needle` begins in `haystack`: looks for its first byte with the standard library's memchr-like search.
fn positions<'a>(haystack: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let first = needle.first().copied();
    let mut from = 0;
    std::iter::from_fn(move || {
        let first = first?;
        loop {
            let rest = haystack.get(from..)?;
            let at = from + rest.iter().position(|b| *b == first)?;
            from = at + 1;
            if haystack.get(at..).is_some_and(|tail| tail.starts_with(needle)) {
                return Some(at);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn plain_and_compressed_text_is_found_across_blocks_and_absent_text_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut plain = vec![b'.'; BLOCK_BYTES - 3];
        plain.extend_from_slice(b"needle in the open");
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        std::fs::write(folder.path().join("deep/plain"), plain).unwrap();
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        deflate.write_all(&b"compressed words, ".repeat(200_000)).unwrap();
        deflate.write_all(b"hidden needle").unwrap();
        let mut zip = b"PK\x03\x04\x14\0\0\x08\x08\0aaaabbbbccccdddd\x01\0\0\0x".to_vec();
        zip.extend(deflate.finish().unwrap());
        std::fs::write(folder.path().join("packed"), zip).unwrap();
        let needles = [
            ("open", b"needle in the open".to_vec()),
            ("hidden", b"hidden needle".to_vec()),
            ("absent", b"absent".to_vec()),
        ];
        let found = search(folder.path(), &needles).unwrap();
        let mut names: Vec<_> = found.iter().map(|f| (f.what.as_str(), f.inflated)).collect();
        names.sort_unstable();
        assert_eq!(names, [("hidden", true), ("open", false)]);
    }
}
