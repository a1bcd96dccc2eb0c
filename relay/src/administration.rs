//! What administrators did to the relay: notes that commands leave are taken into its ledger, and `truc-relay admin log` reads them there.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use truc_custody::deeds::{self, Deed};
use truc_ledger::volume::{DirVolume, Volume};
use truc_proto::{
    AdminAction, AdminSubject, Administration, Administrator, Digest, KeyUse, NodeId, Raw, Timestamp,
    limits::ADMINISTRATION_LOGGED_MAX,
};
use truc_signer::Certificate;

use crate::{
    Settings,
    core::Refused,
    records::RelayRecord,
    store::{Store, StoreError},
};

/// How often notes are looked for.
const EVERY: Duration = Duration::from_secs(5);

/// Writes notes that wait into the ledger, until the relay stops.
pub(crate) async fn take_notes<S: Store>(store: Arc<S>, folder: PathBuf) {
    loop {
        if let Err(error) = take(store.as_ref(), &folder).await {
            tracing::warn!(error = format!("{error:#}"), "notes for the ledger wait");
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn take<S: Store>(store: &S, folder: &std::path::Path) -> anyhow::Result<()> {
    let listing = folder.to_owned();
    for name in tokio::task::spawn_blocking(move || deeds::names(&listing)).await?.context("look for notes")? {
        // One after the other: the core knows the last one again, should its file come back.
        let file = folder.join(&name);
        let reading = file.clone();
        let written = match tokio::task::spawn_blocking(move || deeds::read(&reading)).await? {
            Ok(note) => store.administer(note.deed, Some(note.digest)).await,
            Err(error) => Err(StoreError::Refused(Refused::UnfitDeed { why: error.to_string() })),
        };
        let put_away = match written {
            Ok(()) => {
                tracing::info!(note = name, "written into the ledger");
                deeds::take_away(&file)
            }
            // The first leaf is the first directory's root.
            Err(StoreError::Refused(Refused::NoDirectory)) => return Ok(()),
            Err(StoreError::Refused(Refused::UnfitDeed { why })) => {
                tracing::error!(
                    note = name,
                    why,
                    "a note for the ledger cannot be used; it is put aside as .refused: read it and say it anew"
                );
                deeds::put_aside(&file).map(drop)
            }
            Err(error) => return Err(error.into()),
        };
        put_away.context("remove a note; it stands in the ledger once")?;
    }
    Ok(())
}

/// The directory has given another key its turn.
pub(crate) fn took_over(relay: &NodeId, key_use: KeyUse, certificate: &Certificate) -> Deed {
    Deed {
        action: AdminAction::CertificateRotated,
        subject: AdminSubject::with_hash(format!("{key_use}: {}", certificate.subject()), certificate.sha256()),
        who: Administrator::node(relay),
        approved_by: None,
        why: "the directory in force binds it / danh bạ đang hiệu lực gắn chứng thư này".to_owned(),
        done: None,
    }
}

/// What administrators did since then, the newest last: read from the journal, whether the relay runs or not.
///
/// # Errors
/// When the journal cannot be read.
pub fn log(settings: &Settings, since: Timestamp) -> anyhow::Result<Vec<Raw<Administration>>> {
    if !settings.store_dir().join("journal").exists() {
        return Ok(Vec::new()); // it has never run
    }
    let volume: Arc<dyn Volume> = Arc::new(DirVolume::create(settings.store_dir()).context("open the store's folder")?);
    let mut newest = VecDeque::new();
    let read = truc_ledger::read_journal(&volume, &settings.store_tag(), |record| {
        let leaf = record.leaf.filter(|_| RelayRecord::is_administered(record.state))?;
        Raw::<Administration>::parse(leaf.to_vec()).ok().filter(|leaf| leaf.time >= since)
    });
    for leaf in read.context("read the journal")?.1 {
        newest.push_back(leaf);
        if newest.len() > ADMINISTRATION_LOGGED_MAX {
            newest.pop_front();
        }
    }
    Ok(newest.into())
}

/// One line for people: when, what in both languages, to what, who, why.
#[must_use]
pub fn told(leaf: &Administration) -> String {
    let Administration { time, action, subject, who, approved_by, why, done, .. } = leaf;
    let hash = subject.sha256.map(|hash: Digest| format!(" ({hash})")).unwrap_or_default();
    let approved = approved_by.as_ref().map(|by| format!(", {} ({})", by.name, by.role)).unwrap_or_default();
    format!(
        "{}  {} / {}: {}{hash}  {} ({}){approved}: {why}",
        done.unwrap_or(*time).in_vietnam(),
        action.english(),
        action.vietnamese(),
        subject.name,
        who.name,
        who.role
    )
}
