//! One entry out of a container that was checked before.

use std::io::{Read, Write};

use truc_proto::{Digest, Hasher};

use super::{ContainerError, Entry, EntryName, local::Entries, name::Kind};

/// Why an entry cannot be taken out.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The container is refused, its source failed, or the sink did ([`ContainerError::Visitor`]).
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// There is no such entry.
    #[error("the container holds no file named {name}")]
    Absent {
        /// As asked for.
        name: EntryName,
    },
    /// The entry is not what it was when the container was verified.
    #[error("{name} is not what was verified on arrival; the stored container was exchanged or damaged")]
    Altered {
        /// The entry.
        name: EntryName,
    },
}

/// Writes the content of the entry `name` to `sink`, reading from the front and no further than its end.
///
/// For a container that [`super::ContainerReader`] and the signature have passed before: `digest` is the one found then. What was
/// written is to be used only when this returns without an error.
///
/// # Errors
/// [`ExtractError`].
pub fn extract<R: Read>(
    source: R,
    name: &EntryName,
    digest: &Digest,
    sink: &mut dyn Write,
) -> Result<Entry, ExtractError> {
    let absent = || ExtractError::Absent { name: name.clone() };
    if name.kind() != Kind::Content {
        return Err(absent());
    }
    let mut entries = Entries::new(source)?;
    while let Some(local) = entries.next()? {
        if local.record.name != *name {
            entries.body(local, &mut |_| Ok(()))?;
            continue;
        }
        let (mut hasher, mut length) = (Hasher::default(), 0_u64);
        entries.body(local, &mut |bytes| {
            hasher.update(bytes);
            length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            sink.write_all(bytes).map_err(|error| ContainerError::Visitor(error.into()))
        })?;
        let entry = Entry { name: name.clone(), length, digest: hasher.finish() };
        return if entry.digest == *digest { Ok(entry) } else { Err(ExtractError::Altered { name: name.clone() }) };
    }
    Err(absent())
}
