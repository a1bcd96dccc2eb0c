//! What settings say about how long payloads are kept (`documents.retention_days`): the walk that finds them, and the sweep
//! of blobs that no record needs. Nothing is removed that a record needs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tracing::{info, warn};
use truc_proto::Digest;

use crate::{
    core::Input,
    shell::{Shell, clock},
};

/// How often payloads past their time, and blobs without a record, are looked for.
const EVERY: Duration = Duration::from_secs(3_600);
/// Documents looked at in one step.
const STEP: usize = 256;

/// Runs until the node stops.
pub(crate) async fn run(shell: Arc<Shell>) {
    let mut stopping = shell.stopping.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stopping.changed() => return,
        }
        let removed = pass(&shell).await;
        if removed > 0 {
            info!(removed, "payloads past their retention handed over for removal");
        }
        sweep(&shell).await;
    }
}

/// Shows the core every payload that may be past its time; says how many there were.
pub async fn pass(shell: &Arc<Shell>) -> usize {
    let Some(retention) = shell.archive.retention() else { return 0 };
    let until = clock::now().before(retention);
    let (mut after, mut count) = (None, 0);
    loop {
        let archive = shell.archive.clone();
        let page = match shell.work("looking for old payloads", move || archive.kept(until, after, STEP)).await {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => {
                warn!(%error, "old payloads not looked for; tried again in an hour");
                return count;
            }
            Err(error) => {
                warn!(%error, "old payloads not looked for; tried again in an hour");
                return count;
            }
        };
        for kept in page.kept.into_iter().filter(|kept| kept.changed_at <= until) {
            count += 1;
            if shell.engine.tell(Input::Kept(kept)).await.is_err() {
                return count; // the node stops
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return count,
        }
    }
}

/// Removes blobs that no record needs, such as those of requests that broke off.
async fn sweep(shell: &Arc<Shell>) {
    let live = shell.engine.ask(|core| {
        let sent = core.sent().values().filter_map(|sent| sent.held_blob.or(sent.hashes.map(|hashes| hashes.payload)));
        let received = core.received().values().map(|received| received.hashes.payload);
        sent.chain(received).collect::<BTreeSet<Digest>>()
    });
    let Ok(live) = live.await else { return };
    let (blobs, archive) = (Arc::clone(&shell.blobs), shell.archive.clone());
    let needed = move |digest: &Digest| live.contains(digest) || archive.needs_payload(digest);
    match shell.work("sweeping blobs", move || blobs.sweep(needed)).await {
        Ok(Ok(0)) => {}
        Ok(Ok(removed)) => info!(removed, "blobs without a record removed"),
        Ok(Err(error)) => warn!(%error, "blobs not swept"),
        Err(error) => warn!(%error, "blobs not swept"),
    }
}
