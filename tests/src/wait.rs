//! Waiting for what must become true: never for a time, always for a fact, and never for ever.

use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `fact` gives something.
///
/// # Panics
/// When it gave nothing within `limit`; says what was waited for.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut fact: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(start.elapsed() < limit, "after {} s still waiting: {what}", limit.as_secs());
        std::thread::sleep(PAUSE);
    }
}

/// As [`until`], for facts that are asked for over the network.
///
/// # Panics
/// When it gave nothing within `limit`; says what was waited for.
pub async fn until_async<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut fact: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = fact().await {
            return found;
        }
        assert!(start.elapsed() < limit, "after {} s still waiting: {what}", limit.as_secs());
        tokio::time::sleep(PAUSE).await;
    }
}
