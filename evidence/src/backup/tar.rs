//! The few words of POSIX ustar (IEEE 1003.1 pax, "ustar Interchange Format") that backups are written in: regular files, one after the other.

use std::io::{self, Read, Write};

use truc_proto::limits::{BACKUP_DEPTH_MAX, BACKUP_FILE_BYTES_MAX, BACKUP_PATH_BYTES_MAX};

const BLOCK: usize = 512;
/// Names longer than this are cut in two at a slash.
const NAME: usize = 100;
const PREFIX: usize = 155;

/// What stands before a file's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// Relative, with `/` between parts.
    pub(super) path: String,
    /// Permission bits.
    pub(super) mode: u32,
    /// Length in bytes.
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) modified: u64,
}

impl Header {
    /// Whether a path is one that a backup writes: relative, without `.` and `..`, not deeper or longer than the bounds.
    pub(super) fn is_path(path: &str) -> bool {
        let parts = path.split('/').count();
        path.len() <= BACKUP_PATH_BYTES_MAX
            && parts <= BACKUP_DEPTH_MAX
            && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
            && !path.contains(['\0', '\n', '\\'])
    }

    fn encode(&self) -> Option<[u8; BLOCK]> {
        let (prefix, name) = split(&self.path)?;
        if self.size > BACKUP_FILE_BYTES_MAX {
            return None;
        }
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| {
            for (to, from) in block.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
        };
        put(0, name.as_bytes());
        put(100, format!("{:07o}", self.mode & 0o7777).as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", self.size).as_bytes());
        put(136, format!("{:011o}", self.modified.min(0o77_777_777_777)).as_bytes());
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        put(345, prefix.as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        let sum = format!("{sum:06o}\0 ");
        for (to, from) in block.iter_mut().skip(148).zip(sum.as_bytes()) {
            *to = *from;
        }
        Some(block)
    }

    /// None for the block of zeroes at the end.
    fn decode(block: &[u8; BLOCK]) -> io::Result<Option<Self>> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let field = |at: usize, length: usize| {
            let bytes = block.get(at..at + length).unwrap_or_default();
            bytes.split(|byte| *byte == 0).next().unwrap_or_default()
        };
        let text = |at, length| std::str::from_utf8(field(at, length)).map_err(|_| bad("a name is not UTF-8"));
        let octal = |at, length| {
            let digits = std::str::from_utf8(field(at, length)).unwrap_or_default().trim_matches(' ');
            u64::from_str_radix(digits, 8).map_err(|_| bad("a number is not octal"))
        };
        let sum: u64 =
            (0..).zip(block).map(|(at, byte)| u64::from(if (148..156).contains(&at) { b' ' } else { *byte })).sum();
        if octal(148, 8)? != sum {
            return Err(bad("a header's sum does not hold"));
        }
        if block.get(156) != Some(&b'0') || block.get(257..262) != Some(b"ustar") {
            return Err(bad("something else than a file"));
        }
        let (prefix, name) = (text(345, PREFIX)?, text(0, NAME)?);
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        if !Self::is_path(&path) {
            return Err(bad("a path that leads elsewhere"));
        }
        let mode = u32::try_from(octal(100, 8)?).unwrap_or_default() & 0o7777;
        Ok(Some(Self { path, mode, size: octal(124, 12)?, modified: octal(136, 12)? }))
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive in the backup holds {what}"))
}

/// Prefix and name; none when the path does not fit.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= NAME {
        return Some(("", path));
    }
    let cuts = path.match_indices('/').filter_map(|(at, _)| path.split_at_checked(at));
    let mut cuts = cuts.filter_map(|(prefix, rest)| Some((prefix, rest.strip_prefix('/')?)));
    cuts.find(|(prefix, name)| prefix.len() <= PREFIX && name.len() <= NAME)
}

fn padding(size: u64) -> usize {
    let inside = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    (BLOCK - inside) % BLOCK
}

/// Writes a file's header, then exactly its bytes from `from`.
///
/// # Errors
/// The sink's and the source's; `UnexpectedEof` when the source ends early.
pub(super) fn write_file(
    to: &mut impl Write,
    header: &Header,
    from: &mut impl Read,
    mut see: impl FnMut(&[u8]),
) -> io::Result<()> {
    let block = header.encode().ok_or_else(|| {
        io::Error::other(format!("the path {} or its length does not fit into the archive", header.path))
    })?;
    to.write_all(&block)?;
    copy(from, header.size, |bytes| {
        see(bytes);
        to.write_all(bytes)
    })?;
    to.write_all([0; BLOCK].get(..padding(header.size)).unwrap_or_default())
}

/// Writes the end of the archive.
pub(super) fn write_end(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[0; 2 * BLOCK])
}

/// Reads the next file's header; none at the end. After it exactly its bytes are read with [`copy`], then [`skip_padding`].
pub(super) fn read_header(from: &mut impl Read) -> io::Result<Option<Header>> {
    let mut block = [0; BLOCK];
    from.read_exact(&mut block)?;
    let header = Header::decode(&block)?;
    if header.is_none() {
        // A second block of zeroes, and nothing behind it.
        from.read_exact(&mut block)?;
        if block != [0; BLOCK] || from.read(&mut [0])? != 0 {
            return Err(bad("something behind its end"));
        }
    }
    Ok(header)
}

pub(super) fn skip_padding(from: &mut impl Read, size: u64) -> io::Result<()> {
    let mut block = [0; BLOCK];
    from.read_exact(block.get_mut(..padding(size)).unwrap_or_default())
}

/// Passes on exactly `size` bytes.
pub(super) fn copy(
    from: &mut (impl Read + ?Sized),
    size: u64,
    mut see: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut left = size;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let got = match from.read(buffer.get_mut(..wanted).unwrap_or_default()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            got => got?,
        };
        see(buffer.get(..got).unwrap_or_default())?;
        left -= got as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (path, bytes) in files {
            let header = Header { path: (*path).into(), mode: 0o600, size: bytes.len() as u64, modified: 7 };
            write_file(&mut out, &header, &mut &**bytes, |_| {}).unwrap();
        }
        write_end(&mut out).unwrap();
        out
    }

    fn read(mut bytes: &[u8]) -> io::Result<Vec<(Header, Vec<u8>)>> {
        let mut files = Vec::new();
        while let Some(header) = read_header(&mut bytes)? {
            let mut body = Vec::new();
            copy(&mut bytes, header.size, |part| body.write_all(part))?;
            skip_padding(&mut bytes, header.size)?;
            files.push((header, body));
        }
        Ok(files)
    }

    #[test]
    fn files_come_back_and_tar_reads_them() {
        let long = format!("{}/{}", "thư-mục/".repeat(9).trim_end_matches('/'), "a".repeat(90));
        let files: [(&str, &[u8]); 4] =
            [("a", b""), ("keys/ledger.pk8", b"key"), (&long, &[7; 512]), ("store/b/ab/x", &[9; 1_025])];
        let bytes = written(&files);
        let back = read(&bytes).unwrap();
        assert_eq!(back.len(), files.len());
        for ((header, body), (path, wanted)) in back.iter().zip(files) {
            assert_eq!((header.path.as_str(), body.as_slice()), (path, wanted));
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.tar"), &bytes).unwrap();
        let listed = std::process::Command::new("tar").arg("-tf").arg(folder.path().join("x.tar")).output().unwrap();
        assert!(listed.status.success(), "{listed:?}");
        assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), files.len());
    }

    #[test]
    fn what_leads_elsewhere_or_was_changed_is_refused() {
        for path in ["../x", "/etc/passwd", "a//b", "a/./b", "a/", "", "a\nb", "1/2/3/4/5/6/7/8/9/10/11/12/13"] {
            assert!(!Header::is_path(path), "{path}");
        }
        let good = written(&[("a", b"b")]);
        // The last byte of the field of the sum is a filler.
        for at in (0..BLOCK).filter(|at| *at != 155).chain(2 * BLOCK..good.len()) {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert!(read(&changed).is_err(), "byte {at}");
        }
        for length in 0..good.len() {
            assert!(read(&good[..length]).is_err(), "{length}");
        }
        assert!(read(&[good, vec![0]].concat()).is_err());
        let header = Header { path: "x".repeat(101), mode: 0, size: 0, modified: 0 };
        assert!(header.encode().is_none(), "a name that does not fit");
    }
}
