//! The node's side of revocation: the trust store with what was fetched and learnt, what becomes of news, and alarms when lists are late or one of the
//! node's own certificates is revoked. Fetching and asking is [`Revocations`]'.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use tracing::warn;
use truc_link::{Learnt, RevocationFolder, Revocations, revocation::Taken};
use truc_signer::{TrustStore, Verdict, validate};

use crate::{
    core::{Alarm, Input},
    settings::{MaterialError, Settings},
    shell::{Shell, clock},
};

/// How often lists and own certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// What it calls itself.
const AGENT: &str = concat!("truc-node/", env!("CARGO_PKG_VERSION"));

/// Who fetches and asks, where settings have the section.
pub(crate) fn open(settings: &Settings) -> anyhow::Result<Option<Arc<Revocations>>> {
    let Some(section) = &settings.revocation else { return Ok(None) };
    let anchors = section.anchors.as_deref().unwrap_or(&settings.trust.anchors);
    let anchors = truc_custody::read_certificates(anchors).context("load revocation.anchors")?;
    let opened = Revocations::open(section.clone(), &anchors, settings.revocations(), AGENT);
    opened.map(Some).context("open the way to revocation lists and OCSP responders")
}

/// The trust store of the files as they are now, with the lists that were fetched or imported, and the answers beside.
pub(crate) fn trust(settings: &Settings, revocations: Option<&Arc<Revocations>>) -> Result<TrustStore, MaterialError> {
    let store = settings.trust.load_with(RevocationFolder::lists(&settings.revocations()))?.as_of(clock::now());
    Ok(match revocations {
        Some(revocations) => store.with_answers(Arc::clone(revocations.answers())),
        None => store,
    })
}

/// Takes a list into the node's folder, for networks that fetch none. What was taken.
///
/// # Errors
/// When the list is not one to be taken.
pub(crate) fn import(settings: &Settings, bytes: &[u8]) -> anyhow::Result<Vec<Taken>> {
    let store = trust(settings, None).context("load the trust files")?;
    let folder = RevocationFolder::create(settings.revocations()).context("open the folder of revocation lists")?;
    Ok(folder.take(bytes, &store, clock::now())?)
}

/// Runs until the node stops.
pub(crate) async fn run(shell: Arc<Shell>) {
    let mut stopping = shell.stopping.clone();
    tokio::select! {
        () = fetch(&shell) => {}
        () = look(&shell) => {}
        _ = stopping.changed() => {}
    }
}

async fn fetch(shell: &Arc<Shell>) {
    let Some(revocations) = &shell.revocations else { return std::future::pending().await };
    let learnt = |what| match what {
        Learnt::List => shell.lists_changed.notify_one(),
        Learnt::Revoked => {
            let shell = Arc::clone(shell);
            // Detached: who asks goes on asking meanwhile.
            tokio::task::spawn_blocking(move || {
                let closed = shell.link.review();
                if closed > 0 {
                    warn!(closed, "links closed: a certificate is revoked");
                }
                shell.revocation_changed.notify_one();
            });
        }
    };
    Arc::clone(revocations).run(|| shell.trust.load_full(), learnt).await;
}

/// Raises and ends the alarms about late lists and own certificates.
async fn look(shell: &Arc<Shell>) {
    loop {
        let inner = Arc::clone(shell);
        let found = shell.work("looking at revocation", move || {
            let trust = inner.trust.load_full();
            (late(&trust), revoked(&inner, &trust))
        });
        if let Ok((late, revoked)) = found.await {
            let _ = shell.engine.tell(Input::Alarm { alarm: Alarm::RevocationLate, text: late }).await;
            let _ = shell.engine.tell(Input::Alarm { alarm: Alarm::OwnRevoked, text: revoked }).await;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shell.revocation_changed.notified() => {}
        }
    }
}

/// Lists whose successors did not come.
fn late(trust: &TrustStore) -> Option<String> {
    let now = clock::now();
    let lists = trust.lists();
    let late = lists.iter().filter_map(|list| list.next_update.filter(|due| *due < now).map(|due| (&list.issuer, due)));
    let late: Vec<_> = late.map(|(issuer, due)| format!("{issuer} (due {due})")).collect();
    (!late.is_empty()).then(|| {
        format!("revocation lists are past their next update, so what they do not name is unknown: {}", late.join("; "))
    })
}

/// Own certificates that are revoked or suspended, or whose keys were declared stolen or lost.
fn revoked(shell: &Shell, trust: &TrustStore) -> Option<String> {
    let (held, settings) = (shell.held.load(), shell.settings.load());
    let judged = held.iter().filter_map(|key| {
        let (certificate, wanted) = (&key.certificate, key.slot.certificate_use());
        if let Some(declared) = settings.stopped.declared(&certificate.sha256()) {
            return Some(format!(
                "{} ({wanted}) declared stolen or lost since {}",
                certificate.subject(),
                declared.since
            ));
        }
        if let Some(since) = shell.stopped_in_directory(&certificate.sha256()) {
            return Some(format!("{} ({wanted}) since {since}, as the directory says", certificate.subject()));
        }
        match validate(trust, certificate, wanted, clock::now()) {
            Ok(Verdict::Revoked { at, reason, .. }) => {
                Some(format!("{} ({wanted}) since {at}, {}", certificate.subject(), reason.as_str()))
            }
            _ => None,
        }
    });
    let judged: Vec<_> = judged.collect();
    (!judged.is_empty()).then(|| {
        format!(
            "own certificates are revoked or suspended and sign nothing, `truc cert status` says what to do: {}",
            judged.join("; ")
        )
    })
}
