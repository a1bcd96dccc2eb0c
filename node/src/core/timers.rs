//! What is due when. Entries are hints: whoever pops one looks at the document again, so that stale ones do no harm.

use std::collections::BTreeSet;

use truc_proto::Timestamp;

use super::Key;

/// What may fall due.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Due {
    /// An offer, or a held request, that failed is tried again.
    Retry(u64),
    /// Not consigned by the deadline.
    Deadline(u64),
    /// Past its life without the relay having taken it.
    Expiry(u64),
    /// An envelope announced by the relay is taken again.
    Take(Key),
    /// An envelope on our device is opened again.
    Open(u64),
    /// Documents for today's axis are tried again.
    Passage(u64),
    /// Today's axis as a whole is tried again.
    Outside,
    /// A replacement is tried again.
    Reseal(u64),
    /// A sent document may leave memory.
    CloseSent(u64),
    /// A received document may leave memory.
    CloseReceived(u64),
    /// A push that failed is tried again.
    Push,
    /// Own leaves that the relay did not take are shown again.
    Deferred,
    /// A duty about a sent document is near its deadline, or past it.
    SentDuty(u64),
    /// The same of a received one.
    ReceivedDuty(u64),
    /// More was due than one tick takes.
    More,
}

#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Timestamp, Due)>);

impl Timers {
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(super) fn set(&mut self, at: Timestamp, due: Due) {
        self.0.insert((at, due));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The next one that is due, taken out.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Due> {
        let first = self.0.first().filter(|(at, _)| *at <= now)?.clone();
        self.0.remove(&first);
        Some(first.1)
    }
}
