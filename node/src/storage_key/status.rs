//! `truc-node storage-key status`: which epoch, since when, and what lies under it. Takes no lock: the node may be running.

use std::{collections::BTreeMap, fmt, fs, io, path::Path, sync::Arc};

use anyhow::Context as _;
use data_encoding::BASE64;
use truc_ledger::{read_journal, volume::DirVolume};
use truc_proto::{Timestamp, limits::TOKEN_FILE_BYTES_MAX};
use truc_signer::storage::wrapped_epoch;

use super::{
    LeftOver,
    gather::{Mark, Says, says},
    left_over,
};
use crate::{sdk, settings::Settings, tokens::read_private, uploads, vault::Vault, webhooks};

/// What lies under the storage key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The epoch in force; none while an interrupted rotation waits for the next start.
    pub epoch: Option<u32>,
    /// Since when; none: since the node was made.
    pub since: Option<Timestamp>,
    /// Documents of earlier epochs that open through the key file.
    pub carried: u64,
    /// Entries of the key file for receipts alone.
    pub erased: u64,
    /// Documents' secrets in the journal under the epoch in force.
    pub current: u64,
    /// Those under earlier ones: dead letters, the key file has what was to be kept.
    pub earlier: u64,
    /// Documents that were removed or closed in this epoch: a rotation would destroy their keys.
    pub to_destroy: u64,
    /// Other secrets, by kind and epoch.
    pub others: BTreeMap<(&'static str, u32), u64>,
    /// What an interrupted rotation left.
    pub left_over: Option<LeftOver>,
}

/// Looks. Reads the whole journal.
///
/// # Errors
/// When something cannot be read.
pub fn status(settings: &Settings) -> anyhow::Result<Status> {
    let left_over = left_over(settings);
    let vault = if left_over.is_some() { None } else { Some(Vault::open(settings)?) };
    let epoch = vault.as_ref().map(|vault| vault.key().epoch());
    let file = vault.as_ref().and_then(Vault::carried);
    let from = file.map_or(0, |file| file.head().position);
    let mut status = Status {
        epoch,
        since: file.map(|file| file.head().made),
        carried: file.map_or(0, |file| file.whole()),
        erased: file.map_or(0, |file| file.len() - file.whole()),
        current: 0,
        earlier: 0,
        to_destroy: 0,
        others: others(settings)?,
        left_over,
    };
    let volume = Arc::new(DirVolume::create(settings.store()).context("open the store's folder")?);
    let (mut failed, mut unseen) = (None, 0);
    // A batch that the node is just writing may be shown again.
    let seen = read_journal(&(volume as _), &settings.store_tag(), |record| {
        let position = record.position.0;
        if position >= unseen {
            unseen = position + 1;
            match says(record.state) {
                Ok(said) => said.iter().for_each(|said| status.count(said, position >= from)),
                Err(error) => _ = failed.get_or_insert(error),
            }
        }
        None::<()>
    });
    seen.context("read the journal")?;
    failed.map_or(Ok(status), Err)
}

impl Status {
    fn count(&mut self, said: &Says, of_this_epoch: bool) {
        match said {
            Says::Secret { wrapped, .. } if wrapped.is_empty() => {}
            Says::Secret { .. } if of_this_epoch => self.current += 1,
            Says::Secret { .. } => self.earlier += 1,
            Says::Mark { mark: Mark::SentClosed | Mark::Removed, .. } => self.to_destroy += u64::from(of_this_epoch),
            Says::Mark { .. } => {}
        }
    }
}

/// Secrets beside documents', by what they are and the epoch that wrapped them.
fn others(settings: &Settings) -> anyhow::Result<BTreeMap<(&'static str, u32), u64>> {
    let mut found = BTreeMap::new();
    let mut count = |what: &'static str, wrapped: Option<Vec<u8>>| {
        let epoch = wrapped.as_deref().and_then(wrapped_epoch).unwrap_or_default();
        *found.entry((what, epoch)).or_default() += 1;
    };
    for system in sdk::list_systems(&settings.sdk_systems())? {
        count("document systems", BASE64.decode(system.secret.as_bytes()).ok());
    }
    for hook in webhooks::list(&settings.webhooks())? {
        count("webhooks", BASE64.decode(hook.secret.as_bytes()).ok());
    }
    let secret = settings.gateway_secret();
    if secret.exists() {
        let (text, _) = read_private(&secret, TOKEN_FILE_BYTES_MAX).context("read the gateway's secret")?;
        count("gateway secrets", BASE64.decode(text.trim().as_bytes()).ok());
    }
    for about in uploads::abouts(&settings.uploads()).context("list the uploads")? {
        match read_bounded(&about) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // it ended meanwhile
            read => count("uploads", Some(read.context("read an upload")?)),
        }
    }
    Ok(found)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(TOKEN_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.left_over {
            Some(LeftOver::Staged) => return f.write_str(
                "a rotation was interrupted before it counted: the next start of the node undoes it, by itself / \
                 một lần thay khóa bị gián đoạn trước khi có hiệu lực: lần khởi động tới nút tự hủy bỏ",
            ),
            Some(LeftOver::Committed | LeftOver::Done) => return f.write_str(
                "a rotation was interrupted when it counted already: the next start of the node finishes it, by itself / \
                 một lần thay khóa bị gián đoạn khi đã có hiệu lực: lần khởi động tới nút tự hoàn tất",
            ),
            None => {}
        }
        let epoch = self.epoch.unwrap_or_default();
        match self.since {
            Some(since) => writeln!(f, "epoch {epoch}, since {0} / kỳ {epoch}, từ {0}", since.in_vietnam())?,
            None => writeln!(f, "epoch {epoch}, since the node was made / kỳ {epoch}, từ khi lập nút")?,
        }
        let Self { carried, erased, current, earlier, to_destroy, .. } = self;
        writeln!(
            f,
            "documents' keys in the journal, of this epoch: {current} / khóa văn bản trong nhật ký, kỳ này: {current}"
        )?;
        writeln!(
            f,
            "carried over from earlier ones: {carried} that open, {erased} for receipts alone / chuyển từ kỳ trước: {carried} mở được, {erased} chỉ cho biên nhận"
        )?;
        writeln!(
            f,
            "under keys that are destroyed, in the journal: {earlier} / dưới khóa đã hủy, trong nhật ký: {earlier}"
        )?;
        writeln!(
            f,
            "removed or closed since, whose keys a rotation destroys: {to_destroy} / đã xóa hoặc kết thúc trong kỳ này, sẽ mất khóa khi thay: {to_destroy}"
        )?;
        for ((what, of), count) in &self.others {
            writeln!(f, "{what}, epoch {of}: {count}")?;
        }
        let late: u64 = self.others.iter().filter(|((_, of), _)| *of != epoch).map(|(_, count)| count).sum();
        match late {
            0 => f.write_str("under an older epoch: nothing / dưới kỳ cũ hơn: không còn gì"),
            late => write!(
                f,
                "under an older epoch: {late}, which do not open: remove them and add them anew / dưới kỳ cũ hơn: {late}, không mở được: hãy xóa và thêm lại"
            ),
        }
    }
}
