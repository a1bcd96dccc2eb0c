//! A file that comes piece by piece and has its name only when it is whole.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use tempfile::NamedTempFile;

use crate::exit::{Exit, ExitContext as _, Failure};

pub(crate) struct Partial {
    file: BufWriter<File>,
    name: NamedTempFile,
    out: PathBuf,
    length: u64,
}

impl Partial {
    /// Refuses a name that is taken: before anybody is asked for what would go there.
    pub(crate) fn free(out: &Path) -> Result<(), Failure> {
        if out.exists() { Err(taken(out)) } else { Ok(()) }
    }

    pub(crate) fn create(out: &Path) -> Result<Self, Failure> {
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let made = || -> io::Result<_> {
            let name = NamedTempFile::new_in(folder)?;
            Ok((BufWriter::new(name.reopen()?), name))
        };
        let (file, name) = made().or_exit(Exit::BadData, cannot(out))?;
        Ok(Self { file, name, out: out.to_owned(), length: 0 })
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.length += u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.file.write_all(data).or_exit(Exit::BadData, cannot(&self.out))
    }

    /// Gives it its name, whole and on the device; tells its length in bytes.
    pub(crate) fn finish(self) -> Result<u64, Failure> {
        let Self { file, name, out, length } = self;
        let synced = || -> io::Result<()> { file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all() };
        synced().or_exit(Exit::BadData, cannot(&out))?;
        match name.persist_noclobber(&out) {
            Ok(_) => Ok(length),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(taken(&out)),
            Err(error) => Err(error).or_exit(Exit::BadData, cannot(&out)),
        }
    }
}

/// A whole file in one go.
pub(crate) fn write_new(out: &Path, bytes: &[u8]) -> Result<(), Failure> {
    Partial::free(out)?;
    let mut file = Partial::create(out)?;
    file.write(bytes)?;
    file.finish().map(|_| ())
}

fn cannot(out: &Path) -> String {
    format!("cannot write {}", out.display())
}

/// What is there is never written over.
pub(crate) fn taken(out: &Path) -> Failure {
    Failure {
        vietnamese: Some(format!("Tệp {} đã có và không bị ghi đè; hãy chọn tên khác.", out.display())),
        ..Failure::new(
            Exit::BadData,
            anyhow!("{} exists already and is not written over; choose another name", out.display()),
        )
    }
}
