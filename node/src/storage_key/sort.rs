//! Sorting more rows of one size than fit into memory: in runs, through files that have no name.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

/// Takes rows in any order.
pub(super) struct Sorter<const N: usize> {
    folder: PathBuf,
    rows: Vec<[u8; N]>,
    /// How many are held in memory.
    most: usize,
    runs: Vec<File>,
}

/// Gives them back in order, each once.
pub(super) struct Sorted<const N: usize> {
    runs: Vec<BufReader<File>>,
    next: BinaryHeap<Reverse<([u8; N], usize)>>,
    last: Option<[u8; N]>,
}

impl<const N: usize> Sorter<N> {
    /// Holds at most so many bytes in memory; what is more goes into `folder`.
    pub(super) const fn new(folder: PathBuf, bytes: usize) -> Self {
        let most = if bytes < N { 1 } else { bytes / N };
        Self { folder, rows: Vec::new(), most, runs: Vec::new() }
    }

    pub(super) fn push(&mut self, row: [u8; N]) -> io::Result<()> {
        self.rows.push(row);
        if self.rows.len() >= self.most { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.rows.sort_unstable();
        let path = self.folder.join("run.tmp");
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        let mut out = BufWriter::new(file);
        for row in self.rows.drain(..) {
            out.write_all(&row)?;
        }
        let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.runs.push(file);
        Ok(())
    }

    pub(super) fn sorted(mut self) -> io::Result<Sorted<N>> {
        self.spill()?;
        let runs = self.runs.into_iter().map(BufReader::new).collect();
        let mut sorted = Sorted { runs, next: BinaryHeap::new(), last: None };
        for run in 0..sorted.runs.len() {
            sorted.refill(run)?;
        }
        Ok(sorted)
    }
}

impl<const N: usize> Sorted<N> {
    fn refill(&mut self, run: usize) -> io::Result<()> {
        let mut row = [0; N];
        match self.runs.get_mut(run).map_or(Ok(()), |from| from.read_exact(&mut row)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                self.next.push(Reverse((row, run)));
                Ok(())
            }
        }
    }
}

impl<const N: usize> Iterator for Sorted<N> {
    type Item = io::Result<[u8; N]>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Reverse((row, run)) = self.next.pop()?;
            if let Err(error) = self.refill(run) {
                return Some(Err(error));
            }
            if self.last.replace(row) != Some(row) {
                return Some(Ok(row));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order_and_once_however_little_memory_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<[u8; 4]> = (0..1_000u32).map(|n| (n.wrapping_mul(2_654_435_761) % 700).to_be_bytes()).collect();
        let mut wanted = rows.clone();
        wanted.sort_unstable();
        wanted.dedup();
        for bytes in [0, 4, 40, 396, 1 << 20] {
            let mut sorter = Sorter::new(folder.path().to_owned(), bytes);
            for row in &rows {
                sorter.push(*row).unwrap();
            }
            let found: Vec<[u8; 4]> = sorter.sorted().unwrap().map(|row| row.unwrap()).collect();
            assert_eq!(found, wanted, "{bytes} bytes");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(Sorter::<4>::new(folder.path().to_owned(), 99).sorted().unwrap().count(), 0);
    }
}
