//! What a rotation replaces besides the key file and the storage key: written down first, line by line as JSON, then carried out. Carried out
//! again, after a crash, it comes to the same.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use truc_proto::limits::STORAGE_KEY_CHANGE_BYTES_MAX;
use truc_signer::StorageKey;

use crate::{
    administration, gateway, sdk,
    settings::Settings,
    tokens::replace_private,
    uploads::{self, Rewrapped, UploadId},
    webhooks,
};

/// One replacement. Where it goes, settings say: a folder may lie elsewhere when it is finished.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
enum Change {
    /// The file of document systems.
    Systems { text: String },
    /// The file of webhooks.
    Webhooks { text: String },
    /// The gateway's secret.
    Gateway { text: String },
    /// What an upload will be.
    UploadAbout { upload: String, bytes: String },
    /// The key of one segment of an upload.
    UploadKey { upload: String, at: u64, bytes: String },
    /// The note for the ledger.
    Note { name: String, text: String },
    /// That is all: so many before it.
    End { changes: u64 },
}

/// How much lay under the old epoch beside documents.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Others {
    /// Document systems that speak the axis SDK.
    pub systems: u64,
    /// Webhooks.
    pub webhooks: u64,
    /// Whether there is a gateway's secret.
    pub gateway: bool,
    /// Uploads in pieces.
    pub uploads: u64,
}

struct Writer {
    out: BufWriter<File>,
    changes: u64,
}

impl Writer {
    fn put(&mut self, change: &Change) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, change)?;
        self.out.write_all(b"\n")?;
        self.changes += 1;
        Ok(())
    }
}

/// Writes down what is to be replaced; on the device when this returns.
pub(super) fn write(
    path: &Path,
    settings: &Settings,
    (old, new): (&StorageKey, &StorageKey),
    (name, note): (String, &[u8]),
) -> anyhow::Result<Others> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut writer = Writer { out: BufWriter::new(file.context("write down what changes")?), changes: 0 };
    let mut others = Others::default();
    if let Some((text, systems)) = sdk::rewrapped(&settings.sdk_systems(), old, new)? {
        others.systems = systems;
        writer.put(&Change::Systems { text })?;
    }
    if let Some((text, hooks)) = webhooks::rewrapped(&settings.webhooks(), old, new)? {
        others.webhooks = hooks;
        writer.put(&Change::Webhooks { text })?;
    }
    let secret = settings.gateway_secret();
    match &settings.gateway {
        Some(section) => {
            if let Some(text) = gateway::rewrapped(&secret, old, new, &section.system)? {
                others.gateway = true;
                writer.put(&Change::Gateway { text })?;
            }
        }
        None if secret.exists() => bail!(
            "{} is there, but the settings have no section [gateway] to say of which system it is: put the section back, or remove the secret with `truc-node gateway forget`",
            secret.display()
        ),
        None => {}
    }
    others.uploads = uploads::rewrap(&settings.uploads(), old, new, &mut |rewrapped| {
        writer.put(&match rewrapped {
            Rewrapped::About { upload, bytes } => {
                Change::UploadAbout { upload: upload.to_string(), bytes: BASE64.encode(&bytes) }
            }
            Rewrapped::Key { upload, at, bytes } => {
                Change::UploadKey { upload: upload.to_string(), at, bytes: BASE64.encode(&bytes) }
            }
        })
    })
    .context("read the uploads")?;
    writer.put(&Change::Note { name, text: String::from_utf8(note.to_vec())? })?;
    writer.put(&Change::End { changes: writer.changes })?;
    let file = writer.out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all().context("write down what changes")?;
    Ok(others)
}

/// Shows every change that was written down.
fn read(path: &Path, see: &mut dyn FnMut(Change) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let damaged = || format!("{} is damaged: restore the node from its backup", path.display());
    let mut from = BufReader::new(File::open(path).with_context(|| format!("read {}", path.display()))?);
    let (mut line, mut seen) = (Vec::new(), 0);
    loop {
        line.clear();
        (&mut from).take(STORAGE_KEY_CHANGE_BYTES_MAX).read_until(b'\n', &mut line)?;
        match serde_json::from_slice(&line).with_context(damaged)? {
            Change::End { changes } if changes == seen => return Ok(()),
            Change::End { .. } => bail!(damaged()),
            change => see(change)?,
        }
        seen += 1;
    }
}

/// Carries out what was written down; on the device when this returns. Everything is read once before anything is changed.
pub(super) fn apply(path: &Path, settings: &Settings) -> anyhow::Result<()> {
    read(path, &mut |_| Ok(()))?;
    let mut parts = Parts::default();
    read(path, &mut |change| {
        parts.leave(&change)?;
        carry_out(change, settings, &mut parts)
    })?;
    parts.close()
}

fn carry_out(change: Change, settings: &Settings, parts: &mut Parts) -> anyhow::Result<()> {
    let replace = |path: PathBuf, bytes: &[u8]| {
        replace_private(&path, bytes).with_context(|| format!("write {}", path.display()))
    };
    match change {
        Change::Systems { text } => replace(settings.sdk_systems(), text.as_bytes()),
        Change::Webhooks { text } => replace(settings.webhooks(), text.as_bytes()),
        Change::Gateway { text } => replace(settings.gateway_secret(), text.as_bytes()),
        Change::UploadAbout { upload, bytes } => {
            let upload: UploadId = upload.parse()?;
            replace(uploads::about_path(&settings.uploads(), upload), &BASE64.decode(bytes.as_bytes())?)
        }
        Change::UploadKey { upload, at, bytes } => {
            let upload: UploadId = upload.parse()?;
            let file = parts.open(&uploads::parts_path(&settings.uploads(), upload), upload)?;
            Ok(file.write_all_at(&BASE64.decode(bytes.as_bytes())?, at)?)
        }
        Change::Note { name, text } => {
            administration::put(&settings.notes(), &name, text.as_bytes()).context("leave a note for the ledger")
        }
        Change::End { .. } => Ok(()),
    }
}

/// The upload whose segments get their keys.
#[derive(Default)]
struct Parts(Option<(UploadId, File)>);

impl Parts {
    fn open(&mut self, path: &Path, upload: UploadId) -> io::Result<&File> {
        if self.0.as_ref().is_none_or(|(open, _)| *open != upload) {
            self.0 = Some((upload, OpenOptions::new().write(true).open(path)?));
        }
        match &self.0 {
            Some((_, file)) => Ok(file),
            None => Err(io::Error::other("no upload is open")),
        }
    }

    /// Syncs what was written, unless the next change goes on with it.
    fn leave(&mut self, next: &Change) -> io::Result<()> {
        let goes_on = matches!((next, &self.0), (Change::UploadKey { upload, .. }, Some((open, _))) if *upload == open.to_string());
        if goes_on { Ok(()) } else { self.sync() }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.take().map_or(Ok(()), |(_, file)| file.sync_all())
    }

    fn close(mut self) -> anyhow::Result<()> {
        self.sync().context("write the keys of uploads")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_list_that_was_cut_anywhere_is_noticed_before_anything_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changes");
        let lines = [
            Change::Systems { text: "a\nb".into() },
            Change::UploadKey { upload: "00".repeat(16), at: 7, bytes: "AA==".into() },
            Change::End { changes: 2 },
        ];
        let text: String = lines.iter().map(|line| format!("{}\n", serde_json::to_string(line).unwrap())).collect();
        fs::write(&path, &text).unwrap();
        let mut found = Vec::new();
        read(&path, &mut |change| {
            found.push(change);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, lines[..2]);
        for end in 0..text.len() - 1 {
            fs::write(&path, &text[..end]).unwrap();
            assert!(read(&path, &mut |_| Ok(())).is_err(), "cut at {end}");
        }
    }
}
