//! Keys in PKCS#11 tokens and HSMs (OASIS PKCS #11 v2.40 and later): for signing and for opening, beside keys in files.
//!
//! A token may be pulled, locked, or answer for what it cannot do. So: it is connected to when it is needed and again when it is back; what it
//! really does is found out by trying ([`TokenKey::try_signing`], [`TokenKey::try_opening`]), not by what it says; a PIN that was refused once is
//! never shown again, since tokens lock after a few wrong ones.

mod connection;
mod key;
mod oaep;

pub use connection::{Pin, Token};
pub use key::{ObjectName, ObjectNameError, TokenKey, TokenWay};

use std::path::PathBuf;

/// Why a token or a key in it is not of use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The module's library.
    #[error("the PKCS#11 module {} cannot be used: {why}; install the token's driver, or correct the path", path.display())]
    Module {
        /// Which library.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Not there now; what waits for it goes on when it is.
    #[error("the token `{token}` is away: {why}; connect it, nothing was lost")]
    Away {
        /// Its label.
        token: String,
        /// What the module said.
        why: String,
    },
    /// Two tokens of one name.
    #[error("{count} tokens are labelled `{token}`; unplug one, or give one another label")]
    Ambiguous {
        /// The label.
        token: String,
        /// How many.
        count: usize,
    },
    /// Its PIN.
    #[error(
        "the token `{token}` does not take the PIN: {why}. It is not tried again, so that the token does not lock: correct the PIN, then have the keys loaded again"
    )]
    Pin {
        /// Its label.
        token: String,
        /// What it said.
        why: String,
    },
    /// No such key, or several.
    #[error("the token `{token}` holds {count} objects {what} named {object}, exactly one is expected")]
    Object {
        /// Its label.
        token: String,
        /// `private key` or `certificate`.
        what: &'static str,
        /// The name looked for.
        object: String,
        /// How many there are.
        count: usize,
    },
    /// The key wants a PIN for every signature, which nobody is there to give.
    #[error(
        "the key {object} in the token `{token}` asks for its PIN at every use, so a service cannot use it; have the key made without that"
    )]
    EveryTime {
        /// Its label.
        token: String,
        /// The key.
        object: String,
    },
    /// It does not do what is needed, whatever its list of mechanisms says.
    #[error("the token `{token}` cannot {what} with the key {object}: {why}")]
    Unable {
        /// Its label.
        token: String,
        /// `sign` or `open`.
        what: &'static str,
        /// The key.
        object: String,
        /// What was tried and what came of it.
        why: String,
    },
    /// The key does not belong to the certificate.
    #[error("the key {object} in the token `{token}` does not belong to the certificate of {subject}")]
    Mismatch {
        /// Its label.
        token: String,
        /// The key.
        object: String,
        /// Whose certificate.
        subject: String,
    },
    /// The certificate beside the key.
    #[error("the certificate {object} in the token `{token}` cannot be used: {why}")]
    Certificate {
        /// Its label.
        token: String,
        /// Its name.
        object: String,
        /// What is wrong.
        why: String,
    },
}
