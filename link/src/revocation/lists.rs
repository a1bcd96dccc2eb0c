//! Fetching revocation lists, each before its next update.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject};
use tokio::time::Instant;
use truc_proto::{
    Timestamp, chain,
    limits::{CRL_BYTES_MAX, REVOCATION_SOURCES_MAX},
};
use truc_signer::{CrlError, TrustStore, path::ListKept};

use super::{FolderError, Learnt, Revocations, Taken, lock, now};
use crate::{
    endpoint::Endpoint,
    http::{HttpError, Method, Outgoing},
};

/// Least and longest time between two fetches from one place.
const EVERY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));
/// How often it is looked whether there are new places.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Why a list was not fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("it answered with HTTP status {0}")]
    Status(u16),
    #[error("what it gave is not taken")]
    Taking(#[from] FolderError),
    #[error("the work ended in a panic")]
    Panic,
}

struct Source {
    endpoint: Endpoint,
    due: Instant,
    pause: Duration,
}

impl Revocations {
    pub(super) async fn follow_lists(
        self: &Arc<Self>,
        trust: &(impl Fn() -> Arc<TrustStore> + Send + Sync),
        learnt: &(impl Fn(Learnt) + Send + Sync),
    ) {
        let mut sources: BTreeMap<String, Source> = BTreeMap::new();
        loop {
            let store = trust();
            store.intermediates().iter().for_each(|authority| self.note_lists_of(authority));
            let named: Vec<_> = lock(&self.named).iter().filter_map(|url| Endpoint::clear_too(url).ok()).collect();
            for endpoint in self.settings.lists.iter().cloned().chain(named) {
                if sources.len() < 2 * REVOCATION_SOURCES_MAX {
                    let fresh = || Source { endpoint: endpoint.clone(), due: Instant::now(), pause: Duration::ZERO };
                    sources.entry(endpoint.to_string()).or_insert_with(fresh);
                }
            }
            for source in sources.values_mut().filter(|source| source.due <= Instant::now()) {
                match self.fetch(&source.endpoint, &store).await {
                    Ok(taken) => {
                        if taken.iter().any(|list| list.kept == ListKept::New) {
                            learnt(Learnt::List);
                        }
                        source.pause = Duration::ZERO;
                        source.due = Instant::now() + next(&taken, now());
                    }
                    Err(error) => {
                        source.pause = (source.pause * 2).clamp(EVERY.0, EVERY.1);
                        source.due = Instant::now() + source.pause;
                        let retry_s = source.pause.as_secs();
                        tracing::warn!(from = %source.endpoint, error = chain(&error), retry_s, "alarm: a revocation list was not fetched; the one before stays in force");
                    }
                }
            }
            let next = sources.values().map(|source| source.due).min();
            let look = Instant::now() + LOOK_EVERY;
            tokio::time::sleep_until(next.map_or(look, |next| next.min(look))).await;
        }
    }

    async fn fetch(self: &Arc<Self>, endpoint: &Endpoint, store: &Arc<TrustStore>) -> Result<Vec<Taken>, FetchError> {
        let answer = self.fetching.call(Method::GET, endpoint, &endpoint.path, &[], Outgoing::Nothing).await?;
        if answer.status() != 200 {
            return Err(FetchError::Status(answer.status()));
        }
        let bytes = answer.whole(CRL_BYTES_MAX).await?;
        let (this, store) = (Arc::clone(self), Arc::clone(store));
        let taking = tokio::task::spawn_blocking(move || this.folder.take(&bytes, &store, now()));
        Ok(taking.await.map_err(|_| FetchError::Panic)??)
    }
}

/// Half of what is left, so that there is time to try again.
fn next(taken: &[Taken], now: Timestamp) -> Duration {
    let left = taken.iter().filter_map(|list| list.next_update).map(|due| due.since(now)).min();
    (left.unwrap_or(EVERY.1) / 2).clamp(EVERY.0, EVERY.1)
}

/// The DER of each list of a file.
pub(super) fn ders(bytes: &[u8]) -> Result<Vec<Vec<u8>>, CrlError> {
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.to_vec()]);
    }
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let lists = lists.map_err(|_| CrlError::Pem(truc_signer::PemError::Malformed))?;
    Ok(lists.into_iter().map(|list| list.as_ref().to_vec()).collect())
}
