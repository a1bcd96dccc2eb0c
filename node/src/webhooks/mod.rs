//! Webhooks: the node posts what happens to a document system, signed as Standard Webhooks have it, until it is taken.
//!
//! A webhook is a place in the journal; its task reads on from there. What was posted may be posted again after a crash, under the same
//! id; nothing is left out. Messages of one webhook go one after the other, in the journal's order.

mod call;
mod events;
mod store;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use ring::hmac;
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tracing::{info, warn};
use truc_link::endpoint::Endpoint;
use truc_proto::{
    Timestamp,
    limits::{WEBHOOK_PATIENCE_MS, WEBHOOK_REFUSALS_MAX, WEBHOOK_RETRY_MS_MAX},
};

use crate::{
    service::roles::May,
    shell::{Shell, blocking, clock, lock},
    tokens::LiveTokens,
};
use call::Caller;
use events::Seen;

pub use call::Outcome;
pub use events::Message;
pub use store::{EventType, Hook, Progress, Secret, Store, StoreError};
pub(crate) use store::{list, rewrapped};

/// First wait behind a failure, in milliseconds; it doubles with each.
const RETRY_MS_MIN: u64 = 500;
/// Between two looks, when something that is no failure of the receiver stands in the way.
const AGAIN: Duration = Duration::from_secs(5);

/// What a webhook does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// The next message.
    GoOn,
    /// The same one, later.
    Wait(Duration),
    /// Nothing, until somebody asks for it.
    Stop,
}

impl Progress {
    /// What follows from an attempt.
    fn after(&mut self, outcome: Outcome, now: Timestamp) -> Next {
        match outcome {
            Outcome::Taken => {
                self.delivered += 1;
                self.settled();
                Next::GoOn
            }
            Outcome::Gone => {
                self.last_error = "the receiver answered 410 Gone: it wants nothing more".to_owned();
                self.suspended = true;
                Next::Stop
            }
            Outcome::Refused(error) if self.attempts + 1 >= WEBHOOK_REFUSALS_MAX => {
                self.passed_over += 1;
                self.settled();
                self.last_error = error;
                Next::GoOn
            }
            Outcome::Refused(error) | Outcome::Failed(error) => {
                let since = *self.failing_since.get_or_insert(now);
                self.last_error = error;
                self.attempts = self.attempts.saturating_add(1);
                if now.since(since) > Duration::from_millis(WEBHOOK_PATIENCE_MS) {
                    self.suspended = true;
                    return Next::Stop;
                }
                let wait = RETRY_MS_MIN.saturating_mul(1 << (self.attempts - 1).min(20)).min(WEBHOOK_RETRY_MS_MAX);
                Next::Wait(Duration::from_millis(wait))
            }
        }
    }

    fn settled(&mut self) {
        (self.attempts, self.failing_since) = (0, None);
        self.last_error.clear();
    }

    /// Goes on at once, whatever went wrong before.
    fn resumed(&mut self) {
        self.settled();
        self.suspended = false;
    }
}

/// The webhooks of a running node.
pub struct Webhooks {
    store: Arc<Store>,
    caller: Caller,
    allowed: Vec<Endpoint>,
    tokens: Arc<LiveTokens>,
    shell: Arc<Shell>,
    running: Mutex<HashMap<String, Running>>,
}

struct Running {
    progress: Arc<Mutex<Progress>>,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Webhooks {
    /// Takes up all that are registered. Blocks.
    ///
    /// # Errors
    /// When their file cannot be read, or an anchor not used.
    pub fn open(
        store: Store,
        allowed: Vec<Endpoint>,
        anchors: &[truc_signer::Certificate],
        tokens: Arc<LiveTokens>,
        shell: Arc<Shell>,
    ) -> anyhow::Result<Arc<Self>> {
        let hooks = store.list()?;
        let (store, caller) = (Arc::new(store), Caller::new(anchors)?);
        let webhooks = Arc::new(Self { store, caller, allowed, tokens, shell, running: Mutex::default() });
        for hook in hooks {
            webhooks.start(hook)?;
        }
        Ok(webhooks)
    }

    /// Whether the settings allow to call there.
    #[must_use]
    pub fn allows(&self, endpoint: &Endpoint) -> bool {
        self.allowed.iter().any(|allowed| endpoint.is_below(allowed))
    }

    /// Those of a token, with how far each got. Blocks.
    ///
    /// # Errors
    /// When their file cannot be read.
    pub fn list(&self, owner: &str) -> Result<Vec<(Hook, Progress)>, StoreError> {
        let hooks = self.store.list()?.into_iter().filter(|hook| hook.owner == owner);
        let running = self.running();
        Ok(hooks
            .map(|hook| {
                let progress = running.get(&hook.id).map(|running| lock(&running.progress).clone());
                (hook, progress.unwrap_or_default())
            })
            .collect())
    }

    /// Registers one, from here in the journal on. Blocks.
    ///
    /// # Errors
    /// When there are too many, or it cannot be written.
    pub fn add(self: &Arc<Self>, hook: Hook) -> Result<(Hook, Secret), StoreError> {
        let mut running = self.running(); // one change of the file at a time
        let (hook, secret) = self.store.add(Hook { from: self.shell.ledger.head().position.0, ..hook })?;
        running.insert(hook.id.clone(), self.spawn(hook.clone())?);
        Ok((hook, secret))
    }

    /// Forgets one; false: there was none. Blocks.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn remove(&self, id: &str) -> Result<bool, StoreError> {
        let mut running = self.running();
        if let Some(running) = running.remove(id) {
            running.task.abort();
        }
        self.store.remove(id)
    }

    /// Goes on with one that fails or is suspended. Blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn resume(self: &Arc<Self>, hook: &Hook) -> Result<(), StoreError> {
        let mut running = self.running();
        if let Some(running) = running.get(&hook.id) {
            let mut progress = lock(&running.progress);
            progress.resumed();
            self.store.save_progress(&hook.id, &progress)?;
        }
        let ended = running.get(&hook.id).is_none_or(|running| running.task.is_finished());
        if ended {
            let fresh = self.spawn(hook.clone())?;
            running.insert(hook.id.clone(), fresh);
        } else if let Some(running) = running.get(&hook.id) {
            running.wake.notify_one();
        }
        Ok(())
    }

    /// Posts a `ping` now, outside the order, and says what came of it.
    pub async fn ping(&self, hook: &Hook) -> Result<Outcome, StoreError> {
        let endpoint: Endpoint = match hook.url.parse() {
            Ok(endpoint) if self.allows(&endpoint) => endpoint,
            _ => return Ok(Outcome::Failed("the settings do not allow this address".to_owned())),
        };
        let now = clock::now();
        let body = events::body("ping", now, &json!({ "webhook": hook.id }));
        let id = format!("{}.ping.{}", hook.id, now.unix_ms());
        let message = Message::signed(id, body, now, &self.store.secret(hook)?.key());
        Ok(self.caller.post(&endpoint, &message).await)
    }

    fn start(self: &Arc<Self>, hook: Hook) -> Result<(), StoreError> {
        let running = self.spawn(hook.clone())?;
        self.running().insert(hook.id, running);
        Ok(())
    }

    fn spawn(self: &Arc<Self>, hook: Hook) -> Result<Running, StoreError> {
        let key = self.store.secret(&hook)?.key();
        let progress = Arc::new(Mutex::new(self.store.progress(&hook)?));
        let wake = Arc::new(Notify::new());
        let teller =
            Teller { webhooks: Arc::clone(self), hook, key, progress: Arc::clone(&progress), wake: Arc::clone(&wake) };
        Ok(Running { progress, wake, task: tokio::spawn(teller.run()) })
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, Running>> {
        lock(&self.running)
    }
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhooks")
    }
}

/// The task of one webhook.
struct Teller {
    webhooks: Arc<Webhooks>,
    hook: Hook,
    key: hmac::Key,
    progress: Arc<Mutex<Progress>>,
    wake: Arc<Notify>,
}

impl Teller {
    async fn run(self) {
        let shell = Arc::clone(&self.webhooks.shell);
        let mut stopping = shell.stopping.clone();
        let mut grown = shell.engine.grown();
        loop {
            let done = tokio::select! {
                done = self.tell_all(&mut grown) => done,
                _ = stopping.wait_for(|stop| *stop) => return,
            };
            if let Err(why) = done {
                warn!(webhook = self.hook.id, why, "a webhook waits");
                tokio::select! {
                    () = tokio::time::sleep(AGAIN) => {}
                    _ = stopping.wait_for(|stop| *stop) => return,
                }
            } else {
                info!(webhook = self.hook.id, "a webhook is suspended until it is resumed, or gone");
                return;
            }
        }
    }

    /// Tells everything there is, then waits for more. Ends when the webhook is suspended.
    async fn tell_all(&self, grown: &mut watch::Receiver<()>) -> Result<(), String> {
        loop {
            grown.mark_unchanged();
            let (ledger, from) = (self.webhooks.shell.ledger.clone(), lock(&self.progress).next);
            if lock(&self.progress).suspended {
                return Ok(());
            }
            let look = move || events::look(&ledger, from);
            let looked = self.webhooks.shell.work("looking for what webhooks tell", look).await;
            let (seen, next) = looked.map_err(|error| error.to_string())?.map_err(|error| crate::chain(&error))?;
            let told = !seen.is_empty();
            for seen in &seen {
                lock(&self.progress).next = seen.position;
                if !self.tell(seen).await? {
                    return Ok(());
                }
            }
            lock(&self.progress).next = next;
            if told {
                self.save().await?;
            }
            if next == from {
                let _ = grown.changed().await; // the node stops
            }
        }
    }

    /// Posts one message until it is taken or passed over; false: the webhook is suspended.
    async fn tell(&self, seen: &Seen) -> Result<bool, String> {
        let mut wait = Duration::ZERO;
        loop {
            if !wait.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.wake.notified() => {}
                }
            }
            // Each time anew: the token may have been revoked, or limited, meanwhile.
            let grant = self.webhooks.tokens.by_name(&self.hook.owner).map_err(|error| crate::chain(&error))?;
            let Some(grant) = grant.filter(|grant| grant.need(May::Webhooks).is_ok()) else {
                info!(webhook = self.hook.id, owner = self.hook.owner, "a webhook ends with its token");
                let (webhooks, id) = (Arc::clone(&self.webhooks), self.hook.id.clone());
                // Ends this task, too.
                let _ = blocking("removing a webhook", move || webhooks.remove(&id)).await; // the next start tries again
                return Ok(false);
            };
            let told = events::tell(&self.webhooks.shell, &self.hook, &grant, seen).await;
            let Some((kind, data)) = told.map_err(|error| error.text().to_owned())? else { return Ok(true) };
            let endpoint = match self.hook.url.parse::<Endpoint>() {
                Ok(endpoint) if self.webhooks.allows(&endpoint) => endpoint,
                _ => {
                    self.suspend("the settings do not allow its address any more").await?;
                    return Ok(false);
                }
            };
            let now = clock::now();
            let id = format!("{}.{}.{}", self.hook.id, seen.position, seen.n);
            let message = Message::signed(id, events::body(kind, now, &data), now, &self.key);
            let outcome = self.webhooks.caller.post(&endpoint, &message).await;
            let next = lock(&self.progress).after(outcome, now);
            match next {
                Next::GoOn => return Ok(true),
                Next::Stop => {
                    self.save().await?;
                    return Ok(false);
                }
                Next::Wait(delay) => {
                    self.save().await?;
                    wait = delay;
                }
            }
        }
    }

    async fn suspend(&self, why: &str) -> Result<(), String> {
        {
            let mut progress = lock(&self.progress);
            (progress.suspended, progress.last_error) = (true, why.to_owned());
        }
        self.save().await
    }

    async fn save(&self) -> Result<(), String> {
        let (store, id) = (Arc::clone(&self.webhooks.store), self.hook.id.clone());
        let progress = lock(&self.progress).clone();
        let save = move || store.save_progress(&id, &progress);
        let saved = self.webhooks.shell.work("keeping how far a webhook got", save).await;
        saved.map_err(|error| error.to_string())?.map_err(|error| crate::chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Outcome {
        Outcome::Failed("no".into())
    }

    #[test]
    fn what_is_not_taken_is_tried_later_and_later_for_three_days() {
        let (mut progress, start) = (Progress::default(), Timestamp::from_unix_s(1_000_000));
        let mut waits = Vec::new();
        let mut now = start;
        let stopped = loop {
            match progress.after(failed(), now) {
                Next::Wait(wait) => {
                    waits.push(wait);
                    now = now + wait;
                }
                next => break next,
            }
        };
        assert_eq!(stopped, Next::Stop);
        assert_eq!(waits[..3], [500, 1_000, 2_000].map(Duration::from_millis));
        assert_eq!(waits.last(), Some(&Duration::from_millis(WEBHOOK_RETRY_MS_MAX)));
        assert!(now.since(start) > Duration::from_millis(WEBHOOK_PATIENCE_MS));
        assert!(progress.suspended && progress.failing_since == Some(start));
        progress.resumed();
        assert_eq!(progress.after(Outcome::Taken, now), Next::GoOn);
        assert_eq!((progress.delivered, progress.attempts, progress.suspended), (1, 0, false));
    }

    #[test]
    fn a_message_that_is_refused_again_and_again_does_not_stop_those_behind_it() {
        let (mut progress, now) = (Progress::default(), Timestamp::EPOCH);
        for _ in 1..WEBHOOK_REFUSALS_MAX {
            assert!(matches!(progress.after(Outcome::Refused("400".into()), now), Next::Wait(_)));
        }
        assert_eq!(progress.after(Outcome::Refused("400".into()), now), Next::GoOn);
        assert_eq!((progress.passed_over, progress.attempts, progress.last_error.as_str()), (1, 0, "400"));
        assert_eq!(progress.after(Outcome::Gone, now), Next::Stop);
        assert!(progress.suspended);
    }
}
