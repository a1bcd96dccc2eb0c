//! Keeps what is known of revocation current: fetches revocation lists before they run out and asks OCSP responders, over HTTP, within a budget.
//!
//! Validation itself asks nobody. What it would have liked to know it leaves as wishes with the [`OcspAnswers`] of its trust store; here they are asked
//! about. Lists go into a folder ([`RevocationFolder`]) from which whoever owns the trust store loads them. Nobody is called whom the settings do not name:
//! an address that a certificate carries counts only where it is below one that is allowed.

mod asking;
mod folder;
mod lists;
mod settings;

pub use asking::AskOutcome;
pub use folder::{FolderError, RevocationFolder, Taken};
pub use settings::{ResponderOf, RevocationFile, RevocationSettings};

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use truc_proto::limits::{REVOCATION_BUDGET_MS_MAX, REVOCATION_SOURCES_MAX};
use truc_signer::{Certificate, OcspAnswers, TrustStore, path::OcspAsker};

use crate::{
    breaker::Breaker,
    endpoint::Endpoint,
    http::{Bounds, Client},
    stamper::now,
};

const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long one question may take. Who waits for it does so for the settings' budget at most; what comes later is known the next time.
const ASK_WITHIN: Duration = Duration::from_millis(REVOCATION_BUDGET_MS_MAX);
/// Bounds of fetching a list, which nobody waits for: it may be megabytes over a slow line.
const LIST_STALL: Duration = Duration::from_secs(10);
const LIST_WHOLE: Duration = Duration::from_secs(300);

/// What was learnt that others should act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learnt {
    /// A newer list lies in the folder.
    List,
    /// A responder names a certificate revoked: connections want a review.
    Revoked,
}

/// Whoever cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// A certificate that servers over https are to be trusted by.
    #[error("the certificates for servers over https cannot be used")]
    Tls(#[from] rustls::Error),
    /// The folder.
    #[error("the folder of revocation lists and OCSP answers cannot be opened")]
    Folder(#[from] io::Error),
}

/// The one who fetches and asks, for one process.
pub struct Revocations {
    settings: RevocationSettings,
    asking: Client,
    fetching: Client,
    folder: RevocationFolder,
    answers: Arc<OcspAnswers>,
    bell: Arc<Bell>,
    breakers: Mutex<BTreeMap<String, Breaker>>,
    /// Where certificates that are in use say their lists are, as far as that is allowed.
    named: Mutex<BTreeSet<String>>,
    outcomes: Mutex<BTreeMap<AskOutcome, u64>>,
}

/// Wakes who asks, and those who wait for answers.
struct Bell {
    wished: Notify,
    changes: Mutex<u64>,
    changed: Condvar,
    budget: Duration,
}

/// The bell as validation sees it.
struct AtTheBell(Arc<Bell>);

impl OcspAsker for AtTheBell {
    fn wished(&self) {
        self.0.wished.notify_one();
    }

    fn wait(&self, settled: &dyn Fn() -> bool) {
        let until = Instant::now() + self.0.budget;
        let mut changes = lock(&self.0.changes);
        loop {
            let seen = *changes;
            drop(changes);
            // Not under the lock: who learns rings while holding nothing, and may be learning now.
            if settled() {
                return;
            }
            changes = lock(&self.0.changes);
            while *changes == seen {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                changes = self.0.changed.wait_timeout(changes, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl Bell {
    fn ring(&self) {
        *lock(&self.changes) += 1;
        self.changed.notify_all();
    }
}

impl Revocations {
    /// With what an earlier run left in `folder`; servers over https are trusted by `anchors`.
    ///
    /// # Errors
    /// When one of the anchors cannot be used, or the folder cannot be made.
    pub fn open(
        settings: RevocationSettings,
        anchors: &[Certificate],
        folder: PathBuf,
        agent: &'static str,
    ) -> Result<Arc<Self>, RevocationError> {
        let bounds = Bounds { stall: ASK_WITHIN, whole: ASK_WITHIN, head: HEAD_BYTES_MAX };
        let of_lists = Bounds { stall: LIST_STALL, whole: LIST_WHOLE, head: HEAD_BYTES_MAX };
        let bell = Arc::new(Bell {
            wished: Notify::new(),
            changes: Mutex::default(),
            changed: Condvar::new(),
            budget: settings.budget,
        });
        let folder = RevocationFolder::create(folder)?;
        let answers = Arc::new(OcspAnswers::asking(AtTheBell(Arc::clone(&bell))));
        for answer in folder.answers(now()) {
            answers.learn(answer);
        }
        Ok(Arc::new(Self {
            asking: Client::new(anchors, agent, bounds)?,
            fetching: Client::new(anchors, agent, of_lists)?,
            settings,
            folder,
            answers,
            bell,
            breakers: Mutex::default(),
            named: Mutex::default(),
            outcomes: Mutex::default(),
        }))
    }

    /// The answers, to be put beside the lists of every trust store.
    #[must_use]
    pub const fn answers(&self) -> &Arc<OcspAnswers> {
        &self.answers
    }

    /// Fetches and asks until it is dropped. `trust` gives the trust store in force; `learnt` must not block.
    pub async fn run(
        self: Arc<Self>,
        trust: impl Fn() -> Arc<TrustStore> + Send + Sync,
        learnt: impl Fn(Learnt) + Send + Sync,
    ) {
        tokio::join!(self.follow_lists(&trust, &learnt), Arc::clone(&self).follow_wishes(&learnt));
    }

    /// What became of questions so far, by outcome; all of them, to be read as counters.
    #[must_use]
    pub fn outcomes(&self) -> BTreeMap<AskOutcome, u64> {
        let counted = lock(&self.outcomes);
        AskOutcome::ALL
            .into_iter()
            .map(|outcome| (outcome, counted.get(&outcome).copied().unwrap_or_default()))
            .collect()
    }

    /// An address that a certificate carries, where the settings allow to call it.
    fn allowed(&self, address: &str) -> Option<Endpoint> {
        let endpoint = Endpoint::clear_too(address).ok()?;
        self.settings.allowed.iter().any(|allowed| endpoint.is_below(allowed)).then_some(endpoint)
    }

    /// Notes where the lists about a certificate are.
    fn note_lists_of(&self, certificate: &Certificate) {
        let mut named = lock(&self.named);
        for endpoint in certificate.crl_addresses().iter().filter_map(|address| self.allowed(address)) {
            if named.len() < REVOCATION_SOURCES_MAX {
                named.insert(endpoint.to_string());
            }
        }
    }

    fn rests(&self, endpoint: &Endpoint) -> bool {
        lock(&self.breakers).get(&server(endpoint)).is_some_and(|breaker| breaker.rests(tokio::time::Instant::now()))
    }

    fn went(&self, endpoint: &Endpoint, well: bool) {
        let mut breakers = lock(&self.breakers);
        if well {
            breakers.remove(&server(endpoint));
        } else if breakers.len() < REVOCATION_SOURCES_MAX || breakers.contains_key(&server(endpoint)) {
            breakers.entry(server(endpoint)).or_default().fail(tokio::time::Instant::now());
        }
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocations({:?}, {:?})", self.settings, self.answers)
    }
}

fn server(endpoint: &Endpoint) -> String {
    format!("{}:{}", endpoint.host, endpoint.port)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
