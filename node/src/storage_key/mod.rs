//! `truc-node storage-key`: a new epoch of the storage key. What is to stay readable is wrapped anew, what is not is left out; then the old key is
//! destroyed, and with it every key that was left out, wherever a copy of its wrapped form may lie.
//!
//! | step | on the disk | a crash there |
//! |---|---|---|
//! | prepare | `store/rotation.staged`: the new key, the key file, a list of replacements | is undone by the next start |
//! | commit | the folder is renamed `store/rotation` | |
//! | put in place | key file, other secrets, then the storage key: the old one is overwritten first | is finished by the next start |
//! | end | the folder is renamed `store/rotation.done`, its copy of the key overwritten, and removed | is swept up by the next start |
//!
//! The node must not be running: everything in it that opens something holds the key. Backups, and commands that wrap secrets, hold the epoch
//! (`guard`), so that none of them mixes two.

mod changes;
mod gather;
pub(crate) mod guard;
mod install;
mod rotate;
mod sort;
mod status;

#[cfg(test)]
mod tests;

pub use changes::Others;
pub(crate) use install::is_unfinished;
pub use install::{LeftOver, finish, left_over};
pub use rotate::{Rotated, rotate, rotate_in_steps};
pub use status::{Status, status};

use crate::{administration::at_the_machine, command::StorageKeyAction, settings::Settings};
use truc_custody::deeds::Reasoned;

/// A step of a rotation that is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The new key is on the device, in what is prepared.
    KeyMade,
    /// The journal was read.
    Gathered,
    /// The new key file is there.
    KeyFileWritten,
    /// All other secrets are written down under the new key.
    SecretsWritten,
    /// Everything opens with the new key.
    Checked,
    /// From here on it counts.
    Committed,
    /// The new key file serves.
    KeyFileInPlace,
    /// All other secrets lie under the new key.
    SecretsInPlace,
    /// The old key is gone.
    OldKeyDestroyed,
    /// The new key serves.
    NewKeyInPlace,
    /// What is left is to sweep up.
    Ended,
}

impl Step {
    /// All, in order.
    pub const ALL: [Self; 11] = [
        Self::KeyMade,
        Self::Gathered,
        Self::KeyFileWritten,
        Self::SecretsWritten,
        Self::Checked,
        Self::Committed,
        Self::KeyFileInPlace,
        Self::SecretsInPlace,
        Self::OldKeyDestroyed,
        Self::NewKeyInPlace,
        Self::Ended,
    ];

    /// For logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyMade => "new key made",
            Self::Gathered => "journal read",
            Self::KeyFileWritten => "key file written",
            Self::SecretsWritten => "other secrets written",
            Self::Checked => "everything opens with the new key",
            Self::Committed => "committed",
            Self::KeyFileInPlace => "key file in place",
            Self::SecretsInPlace => "other secrets in place",
            Self::OldKeyDestroyed => "old key destroyed",
            Self::NewKeyInPlace => "new key in place",
            Self::Ended => "ended",
        }
    }
}

/// Carries out `truc-node storage-key`.
///
/// # Errors
/// What stands against it.
#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
pub(crate) fn carry_out(settings: &Settings, action: StorageKeyAction) -> anyhow::Result<()> {
    match action {
        StorageKeyAction::Status => println!("{}", status(settings)?),
        StorageKeyAction::Rotate { reason: Reasoned { why, who } } => {
            let rotated = rotate(settings, at_the_machine(who), why, crate::shell::clock::now())?;
            println!("{rotated}");
        }
    }
    Ok(())
}

impl std::fmt::Display for Rotated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { epoch, kept, erased, destroyed, others } = self;
        let Others { systems, webhooks, gateway, uploads } = others;
        let gateway = u8::from(*gateway);
        write!(
            f,
            "The storage key is of epoch {epoch}; the one before is destroyed. Documents that open: {kept}; without their content, for receipts alone: \
             {erased}; keys destroyed now: {destroyed}. Under the new key, too: document systems {systems}, webhooks {webhooks}, gateway secrets \
             {gateway}, uploads {uploads}.\n\
             1. Make a backup now: those of before hold the old key, and open what was destroyed for as long as they are kept.\n\
             2. Start the node: its ledger then says who did this and why.\n\
             Khóa lưu trữ đã sang kỳ {epoch}; khóa cũ đã hủy. Văn bản còn mở được: {kept}; chỉ còn phần để chứng minh biên nhận: {erased}; số khóa \
             văn bản bị hủy lần này: {destroyed}. Cũng đã chuyển sang khóa mới: hệ thống văn bản {systems}, webhook {webhooks}, bí mật cổng nối \
             {gateway}, tệp tải lên dở {uploads}.\n\
             1. Sao lưu ngay: các bản sao lưu trước đây chứa khóa cũ, còn giữ chúng thì những gì vừa hủy vẫn mở được từ đó.\n\
             2. Khởi động nút: sổ của nút sẽ ghi ai đã làm việc này và vì sao."
        )
    }
}
