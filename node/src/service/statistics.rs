//! Statistics on demand: goes through the documents of the days asked for, those in memory and those that left it, the newest first. What it
//! holds is a row per agency and day, however many documents there are.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use tokio::sync::mpsc;
use truc_proto::{AgencyId, limits::STATISTICS_DAYS_MAX, node_v1};

use super::{Error, duties::Viewer, inbox::Replies, pages, roles::May};
use crate::{
    core::{Core, Key, Received, Sent},
    duties::{Day, DutyRules},
    shell::{Shell, clock, lock},
    statistics::{self, RowName, Rows, Share},
    tokens::Grant,
};

/// Documents that are looked at in one step.
const STEP: usize = 500;
/// A received document counts on the day it came, a sent one on the day it was accepted; both follow the journal but for a clock that was set back
/// by less than this many days.
const SLACK_DAYS: i64 = 1;

/// Tokens whose statistics are being made: one at a time each.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<HashSet<String>>);

/// A place among them.
struct Turn<'r>(&'r Running, String);

impl Running {
    fn begin(&self, token: &str) -> Result<Turn<'_>, Error> {
        if lock(&self.0).insert(token.to_owned()) {
            return Ok(Turn(self, token.to_owned()));
        }
        Err(Error::busy(
            "statistics for this token are being made already; wait until they are there / Đang lập thống kê cho thẻ truy cập này; hãy đợi xong",
        ))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.0).remove(&self.1);
    }
}

/// The days asked for.
#[derive(Clone, Copy, Debug)]
struct Period {
    from: Day,
    to: Day,
}

impl Period {
    fn read(request: &node_v1::StatisticsRequest) -> Result<Self, Error> {
        let day = |text: &str, name: &str| {
            text.parse::<Day>().map_err(|error| {
                Error::invalid(format!("`{name}`: {error} / `{name}` là ngày dạng yyyy-MM-dd, ví dụ 2026-11-22"))
            })
        };
        let period = Self { from: day(&request.from, "from")?, to: day(&request.to, "to")? };
        if !(0..STATISTICS_DAYS_MAX).contains(&period.to.since(period.from)) {
            return Err(Error::invalid(format!(
                "`from` to `to` are 1 to {STATISTICS_DAYS_MAX} days / Từ `from` đến `to` là 1 đến {STATISTICS_DAYS_MAX} ngày"
            )));
        }
        Ok(period)
    }

    fn has(&self, day: Day) -> bool {
        (self.from..=self.to).contains(&day)
    }
}

/// What one document adds to which rows; and its day, whether or not it is asked for.
type Part = (Day, Vec<(RowName, Share)>);

/// All rows. Given up when the future is dropped.
pub(crate) async fn collect(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::StatisticsRequest,
) -> Result<Vec<node_v1::StatisticsRow>, Error> {
    grant.need(May::Statistics)?;
    let period = Period::read(&request)?;
    let viewer = Viewer::new(grant, &request.code)?;
    let _turn = shell.statistics.begin(&grant.name)?;
    let now = clock::now();
    let rules = shell.archive.duties();
    let mut rows = Rows::default();
    let of = Lens { rules, now, viewer };
    let lens = of.clone();
    let sent = move |sent: &Sent| lens.sent(sent);
    go_through(shell, period, true, Core::sent, sent, |archive, key| archive.sent(key), &mut rows).await?;
    let lens = of;
    let received = move |received: &Received| lens.received(received);
    go_through(shell, period, false, Core::received, received, |archive, key| archive.received(key), &mut rows).await?;
    let directory = shell.directory();
    let name_of = move |code: &AgencyId| {
        let agency = directory.as_ref().and_then(|directory| directory.agency(code));
        agency.map(|agency| agency.name().to_owned()).unwrap_or_default()
    };
    Ok(rows.finish(name_of).collect())
}

/// Who counts, and by what.
#[derive(Clone)]
struct Lens {
    rules: Option<Arc<DutyRules>>,
    now: truc_proto::Timestamp,
    viewer: Viewer,
}

impl Lens {
    fn sent(&self, sent: &Sent) -> Option<Part> {
        let day = Day::of(sent.accepted_at);
        let share = Some(sent).filter(|sent| self.viewer.sees(&sent.key.sender));
        let share = share.and_then(|sent| statistics::of_sent(self.rules.as_deref(), self.now, sent));
        Some((day, share.into_iter().collect()))
    }

    fn received(&self, received: &Received) -> Option<Part> {
        let shares = statistics::of_received(self.rules.as_deref(), self.now, received);
        let day = shares.iter().map(|((day, _), _)| *day).min()?;
        Some((day, shares.into_iter().filter(|((_, code), _)| self.viewer.sees(code)).collect()))
    }
}

async fn go_through<D: 'static>(
    shell: &Arc<Shell>,
    period: Period,
    sent: bool,
    open: impl Fn(&Core) -> &std::collections::BTreeMap<u64, D> + Copy + Send + 'static,
    part: impl Fn(&D) -> Option<Part> + Clone + Send + 'static,
    closed: impl Fn(&crate::archive::Archive, &Key) -> Option<D> + Copy + Send + 'static,
    rows: &mut Rows,
) -> Result<(), Error> {
    let mut before = u64::MAX;
    loop {
        let of_open = part.clone();
        let look = move |core: &Core| {
            pages::open(open(core), before, STEP, |document| of_open(document).into_iter().collect::<Vec<_>>())
        };
        let found_open = shell.engine.ask(look).await?;
        let (archive, of_closed) = (shell.archive.clone(), part.clone());
        let entries = move |key: &Key| {
            let document = closed(&archive, key);
            document.as_ref().and_then(&of_closed).into_iter().collect::<Vec<Part>>()
        };
        let found_closed = pages::closed(shell, sent, before, STEP, entries).await?;
        let (page, next) = pages::merge(found_open, Some(found_closed), STEP);
        let passed =
            page.iter().map(|(day, _)| *day).max().is_some_and(|newest| newest < period.from.plus(-SLACK_DAYS));
        for (name, share) in page.into_iter().flat_map(|(_, shares)| shares) {
            if period.has(name.0) {
                rows.add(name, &share).map_err(|error| Error::not_now(error.to_string()))?;
            }
        }
        match next {
            Some(next) if !passed => before = next,
            _ => return Ok(()),
        }
    }
}

/// The same, row by row. Given up when nobody takes them any more.
pub(crate) fn stream(
    shell: &Arc<Shell>,
    grant: Grant,
    request: node_v1::StatisticsRequest,
) -> Result<Replies<node_v1::StatisticsRow>, Error> {
    grant.need(May::Statistics)?;
    Period::read(&request)?;
    let (sender, rows) = mpsc::channel(64);
    let shell = Arc::clone(shell);
    tokio::spawn(async move {
        let collected = tokio::select! {
            collected = collect(&shell, &grant, request) => collected,
            () = sender.closed() => return,
        };
        match collected {
            Ok(collected) => {
                for row in collected {
                    if sender.send(Ok(row)).await.is_err() {
                        return; // the caller is gone
                    }
                }
            }
            Err(error) => _ = sender.send(Err(error)).await, // the caller may be gone
        }
    });
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::ErrorKind;

    #[test]
    fn a_token_has_one_table_made_at_a_time_and_others_have_theirs() {
        let running = Running::default();
        let first = running.begin("one").unwrap();
        assert_eq!(running.begin("one").map(drop).unwrap_err().kind(), ErrorKind::Busy);
        drop(running.begin("two").unwrap());
        drop(first);
        drop(running.begin("one").unwrap());
    }

    #[test]
    fn a_period_is_one_to_three_hundred_and_sixty_six_days_that_exist() {
        let read = |from: &str, to: &str| {
            let (from, to) = (from.to_owned(), to.to_owned());
            Period::read(&node_v1::StatisticsRequest { from, to, code: String::new() }).map(drop)
        };
        for (from, to) in [("2026-11-22", "2026-11-22"), ("2027-03-01", "2028-02-29")] {
            assert_eq!(read(from, to), Ok(()), "{from} {to}");
        }
        for (from, to) in [
            ("2026-11-22", "2026-11-21"),
            ("2027-01-01", "2028-01-02"),
            ("2026-02-30", "2026-03-01"),
            ("", "2026-11-22"),
        ] {
            assert_eq!(read(from, to).unwrap_err().kind(), ErrorKind::Invalid, "{from} {to}");
        }
    }
}
