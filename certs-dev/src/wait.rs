//! Waiting for what must become true: never for a time, always for a fact, and never for ever. For the tests of all crates.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// How long anything may take before a test says that it does not happen: far more than it takes, on a slow machine that is busy with other things, too.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// One look: what was waited for, or what there was instead.
pub trait Look {
    /// What was waited for.
    type Found;
    /// What there was instead, for a failure's message.
    type Instead: fmt::Debug;

    /// Which of the two.
    ///
    /// # Errors
    /// What there was instead.
    fn found(self) -> Result<Self::Found, Self::Instead>;
}

/// There was nothing to be shown.
#[derive(Debug)]
pub struct Nothing;

impl<T> Look for Option<T> {
    type Found = T;
    type Instead = Nothing;

    fn found(self) -> Result<T, Nothing> {
        self.ok_or(Nothing)
    }
}

impl<T, S: fmt::Debug> Look for Result<T, S> {
    type Found = T;
    type Instead = S;

    fn found(self) -> Self {
        self
    }
}

/// Looks until `fact` gives something.
///
/// # Panics
/// When it gave nothing within [`PATIENCE`]; says what was waited for, and what was seen last.
#[track_caller]
pub fn until<L: Look>(what: &str, mut fact: impl FnMut() -> L) -> L::Found {
    let start = Instant::now();
    loop {
        match fact().found() {
            Ok(found) => return found,
            Err(instead) => give_up(start, what, &instead),
        }
        std::thread::sleep(PAUSE);
    }
}

/// As [`until`], for facts that are asked for over the network.
///
/// # Panics
/// As [`until`].
pub async fn until_async<L: Look, F: Future<Output = L>>(what: &str, mut fact: impl FnMut() -> F) -> L::Found {
    let start = Instant::now();
    loop {
        match fact().await.found() {
            Ok(found) => return found,
            Err(instead) => give_up(start, what, &instead),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What comes by itself, and nobody has to look for.
///
/// # Panics
/// When it did not come within [`PATIENCE`].
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let came = tokio::time::timeout(PATIENCE, future).await.ok();
    assert!(came.is_some(), "after {} s still waiting: {what}", PATIENCE.as_secs());
    came.expect("looked at in the line above")
}

#[track_caller]
fn give_up(start: Instant, what: &str, instead: &impl fmt::Debug) {
    assert!(start.elapsed() < PATIENCE, "after {} s still waiting: {what}; seen: {instead:#?}", PATIENCE.as_secs());
}
