//! What happens to keys by itself: warnings before they end, and the end of those that nothing needs any more.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use truc_proto::{AdminAction, Administrator, Digest, KeyUse, node_v1::key_state::State};

use super::{Held, retire, waiting_for};
use crate::{
    core::{Alarm, Deed, Input},
    service::administration::record,
    shell::{Shell, clock},
};

/// Days before the end at which it is told, each once; from the first on it is an alarm.
const WARNINGS: [i64; 4] = [90, 30, 7, 1];
/// The first of them.
pub(super) const FIRST_WARNING_DAYS: i64 = 90;
/// Between two looks.
const EVERY: Duration = Duration::from_secs(3_600);

/// Days until the key that serves a slot ends: of several in force, the one that lasts longest. By slot, for monitoring.
pub(crate) fn days_left(shell: &Shell) -> BTreeMap<String, i64> {
    let mut days = BTreeMap::new();
    for key in super::key_states(shell) {
        let serves = [State::InUse, State::Overlapping, State::Pending].contains(&key.state());
        if serves {
            let longest = days.entry(key.slot).or_insert(key.days_left);
            *longest = key.days_left.max(*longest);
        }
    }
    days
}

/// Runs until the node stops.
pub(crate) async fn watch(shell: Arc<Shell>) {
    let mut stopping = shell.stopping.clone();
    // Which warning was given last, by slot.
    let mut told: BTreeMap<String, i64> = BTreeMap::new();
    let mut directory = 0;
    loop {
        warn(&shell, &mut told).await;
        end_what_is_over(&shell).await;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shell.directory_taken.notified() => {
                let version = shell.directory().map_or(0, |directory| directory.version());
                if version == directory {
                    continue;
                }
                directory = version;
            }
            _ = stopping.changed() => return,
        }
    }
}

async fn warn(shell: &Arc<Shell>, told: &mut BTreeMap<String, i64>) {
    let inner = Arc::clone(shell);
    let Ok(days) = shell.work("looking at certificates' ends", move || days_left(&inner)).await else { return };
    let mut near = Vec::new();
    for (slot, left) in days {
        let due = WARNINGS.into_iter().filter(|warning| left < *warning).min();
        match due {
            None => _ = told.remove(&slot),
            Some(warning) => {
                if told.insert(slot.clone(), warning).is_none_or(|before| warning < before) {
                    tracing::warn!(key = slot, days = left, "a certificate ends soon; ask for a new one");
                }
                near.push(format!("{slot} in {left} days"));
            }
        }
    }
    let text = (!near.is_empty()).then(|| {
        format!(
            "certificates end: {}; `truc cert status` shows them, `truc cert request` asks for new ones",
            near.join(", ")
        )
    });
    let _ = shell.engine.tell(Input::Alarm { alarm: Alarm::CertificatesEnd, text }).await; // the node is stopping
}

/// Sealing keys to which nothing can arrive any more are destroyed; others wait for a person.
async fn end_what_is_over(shell: &Arc<Shell>) {
    let now = clock::now();
    let Some(directory) = shell.directory() else { return };
    let over = |key: &&Held| {
        let bound = key.bound(shell, &directory);
        let until = bound.as_ref().and_then(|bound| key.keep_until(bound));
        key.slot.key_use() == KeyUse::Sealing && until.is_some_and(|until| until <= now)
    };
    let over: Vec<Digest> = shell.held.load().iter().filter(over).map(|key| key.certificate.sha256()).collect();
    for sha256 in over {
        let _one = shell.changing_keys.lock().await;
        // Somebody may have retired it meanwhile.
        let key = shell.held.load().iter().find(|key| key.certificate.sha256() == sha256).cloned();
        let Some(key) = key else { continue };
        if waiting_for(shell, &key.certificate).await != Some(0) {
            continue; // asked again in an hour
        }
        let (slot, subject) = (key.slot.clone(), super::named(&key.slot, &key.certificate));
        let deed = Deed {
            action: AdminAction::CertificateRetired,
            subject,
            who: Administrator::node(&shell.node),
            approved_by: None,
            why: "nothing sealed to it can arrive any more".to_owned(),
            done: None,
        };
        let ended = match record(shell, deed.clone(), None).await {
            Ok(_) => retire::end_and_record(shell, key, deed).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(_) => {
                tracing::info!(%slot, certificate = %sha256, "nothing can arrive for this key any more: destroyed")
            }
            Err(error) => {
                tracing::warn!(%slot, certificate = %sha256, %error, "a key that is over could not be destroyed");
            }
        }
    }
}
