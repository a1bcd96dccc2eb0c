//! The relay's side of revocation: lists that were fetched or imported, what becomes of news, and alarms in the log.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::sync::Notify;
use truc_link::{Learnt, Link, RevocationFolder, Revocations, revocation::Taken};
use truc_signer::{Certificate, TrustStore};

use crate::{
    run::{clock, trust_of},
    service::Service,
    settings::Settings,
    store::Embedded,
};

/// How often lists are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// What it calls itself.
const AGENT: &str = concat!("truc-relay/", env!("CARGO_PKG_VERSION"));

/// Who fetches and asks, where settings have the section.
pub(crate) fn open(settings: &Settings) -> anyhow::Result<Option<Arc<Revocations>>> {
    let Some(section) = &settings.revocation else { return Ok(None) };
    let path = section.anchors.clone().unwrap_or_else(|| settings.trust("anchors.pem"));
    let pem = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let anchors =
        Certificate::from_pem(&pem).with_context(|| format!("read the certificates in {}", path.display()))?;
    let opened = Revocations::open(section.clone(), &anchors, settings.revocations_dir(), AGENT);
    opened.map(Some).context("open the way to revocation lists and OCSP responders")
}

/// `truc-relay crl import`: takes a list from a file into the relay's folder, for networks that fetch none.
///
/// # Errors
/// When the list is not one to be taken.
pub(crate) fn import(settings: &Settings, file: &Path) -> anyhow::Result<Vec<Taken>> {
    let store = trust_of(settings).context("load the trust files")?;
    let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let folder = RevocationFolder::create(settings.revocations_dir()).context("open the folder of revocation lists")?;
    folder.take(&bytes, &store, clock()).with_context(|| format!("{} is not taken", file.display()))
}

/// Fetches and asks until it is dropped. `lists_changed` is told when a newer list lies in the folder.
pub(crate) async fn fetch(
    revocations: Arc<Revocations>,
    service: Arc<Service<Embedded>>,
    link: Link,
    lists_changed: Arc<Notify>,
) {
    let learnt = move |what| match what {
        Learnt::List => lists_changed.notify_one(),
        Learnt::Revoked => {
            let link = link.clone();
            // Detached: who asks goes on asking meanwhile.
            tokio::task::spawn_blocking(move || {
                let closed = link.review();
                if closed > 0 {
                    tracing::warn!(closed, "links closed: a certificate is revoked");
                }
            });
        }
    };
    revocations.run(move || service.trust(), learnt).await;
}

/// Says again and again which lists are late.
pub(crate) async fn look(service: Arc<Service<Embedded>>) {
    loop {
        let trust = service.trust();
        for (issuer, due) in late(&trust) {
            tracing::warn!(issuer, %due, "alarm: a revocation list is past its next update: fetch the newer one, or import it (truc-relay crl import)");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn late(trust: &TrustStore) -> Vec<(String, truc_proto::Timestamp)> {
    let lists = trust.lists().into_iter();
    let due = lists.filter_map(|list| list.next_update.map(|due| (list.issuer, due)));
    due.filter(|(_, due)| *due < clock()).collect()
}
