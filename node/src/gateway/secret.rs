//! The gateway's secret on today's axis: encrypted under the storage key, bound to the system id, in a file of mode 0600.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use truc_signer::storage::{StorageKey, WrapError};
use zeroize::Zeroizing;

use crate::tokens::{read_private, replace_private};

const CONTEXT: &str = "truc/gateway-secret/1\n";
/// Longest secret, in bytes.
const SECRET_BYTES_MAX: usize = 1_024;

/// Why the secret cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file system.
    #[error("cannot {what} the gateway's secret in {}; set it with `truc-node gateway secret`", path.display())]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not open.
    #[error(
        "the gateway's secret does not open with this node's storage key and system id; set it anew with `truc-node gateway secret`"
    )]
    Sealed(#[source] WrapError),
    /// Not a secret.
    #[error("a secret has 1 to {SECRET_BYTES_MAX} bytes on one line")]
    Length,
}

fn context(system: &str) -> String {
    format!("{CONTEXT}{system}")
}

/// Keeps the secret that the axis gave this system.
///
/// # Errors
/// When it is none, or cannot be written.
pub fn keep_secret(path: &Path, key: &StorageKey, system: &str, secret: &str) -> Result<(), SecretError> {
    let secret = secret.trim();
    if secret.is_empty() || secret.len() > SECRET_BYTES_MAX || secret.chars().any(char::is_control) {
        return Err(SecretError::Length);
    }
    let wrapped = key.wrap(secret.as_bytes(), context(system).as_bytes()).map_err(SecretError::Sealed)?;
    let failed = |source| SecretError::Io { what: "write", path: path.to_owned(), source };
    replace_private(path, BASE64.encode(&wrapped).as_bytes()).map_err(failed)
}

/// Removes it.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn forget_secret(path: &Path) -> Result<(), SecretError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(SecretError::Io { what: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// The file with the secret under another storage key; none when there is no file.
pub(crate) fn rewrapped(
    path: &Path,
    old: &StorageKey,
    new: &StorageKey,
    system: &str,
) -> Result<Option<String>, SecretError> {
    if !path.exists() {
        return Ok(None);
    }
    let secret = read(path, old, system)?;
    let wrapped = new.wrap(&secret, context(system).as_bytes()).map_err(SecretError::Sealed)?;
    Ok(Some(BASE64.encode(&wrapped)))
}

pub(super) fn read(path: &Path, key: &StorageKey, system: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let failed = |source| SecretError::Io { what: "read", path: path.to_owned(), source };
    let (text, _) = read_private(path, 8 * 1_024).map_err(failed)?;
    let wrapped = BASE64.decode(text.trim().as_bytes()).map_err(|_| SecretError::Sealed(WrapError::Failed))?;
    key.unwrap(&wrapped, context(system).as_bytes()).map_err(SecretError::Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_opens_for_its_system_and_storage_key_alone_and_is_not_readable_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.secret");
        let key = StorageKey::generate(1).unwrap();
        keep_secret(&path, &key, "gw", " s3cret-of-the-axis\n").unwrap();
        assert!(!fs::read_to_string(&path).unwrap().contains("s3cret"));
        assert_eq!(read(&path, &key, "gw").unwrap().as_slice(), b"s3cret-of-the-axis");
        assert!(matches!(read(&path, &key, "other"), Err(SecretError::Sealed(_))));
        assert!(matches!(read(&path, &StorageKey::generate(1).unwrap(), "gw"), Err(SecretError::Sealed(_))));
        assert!(matches!(keep_secret(&path, &key, "gw", "a\nb"), Err(SecretError::Length)));
        forget_secret(&path).unwrap();
        assert!(matches!(read(&path, &key, "gw"), Err(SecretError::Io { .. })));
    }
}
