//! What was sent and received, by agency and day. Everything about a document counts on its own day, so that a row can be read as: of what was
//! sent on that day, this became of it since. Pure; [`crate::service`] goes through the documents.

mod csv;
mod table;
mod xlsx;

use std::collections::BTreeMap;

use truc_proto::{
    AgencyId, EnvelopeKind, EventUri, Role, Timestamp, limits::STATISTICS_ROWS_MAX, node_v1::StatisticsRow,
};

use crate::{
    core::{CodeState, Counted, PairState, Received, Sent},
    duties::{Course, Day, Duty, DutyRules},
};

pub use csv::write as write_csv;
pub use xlsx::{XlsxError, write as write_xlsx};

/// What one document adds to a row. The times to hand-over are sums of milliseconds here.
#[derive(Clone, Debug, Default)]
pub struct Share {
    sent_ms: u64,
    received_ms: u64,
    row: StatisticsRow,
}

/// Which row.
pub type RowName = (Day, AgencyId);

/// More rows than one answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "these are more than {STATISTICS_ROWS_MAX} rows of agencies and days; ask for fewer days, or one agency / Quá {STATISTICS_ROWS_MAX} dòng; hãy chọn ít ngày hơn hoặc một cơ quan"
)]
pub struct TooManyRows;

/// Rows as they come together.
#[derive(Debug, Default)]
pub struct Rows(BTreeMap<RowName, Share>);

impl Rows {
    /// Adds what a document adds.
    ///
    /// # Errors
    /// When there are too many.
    pub fn add(&mut self, name: RowName, share: &Share) -> Result<(), TooManyRows> {
        if self.0.len() >= STATISTICS_ROWS_MAX && !self.0.contains_key(&name) {
            return Err(TooManyRows);
        }
        self.0.entry(name).or_default().add(share);
        Ok(())
    }

    /// The finished rows, the oldest day first.
    pub fn finish(self, name_of: impl Fn(&AgencyId) -> String) -> impl Iterator<Item = StatisticsRow> {
        self.0.into_iter().map(move |((day, code), share)| share.finish(day, &code, name_of(&code)))
    }
}

impl Share {
    fn add(&mut self, other: &Self) {
        self.sent_ms += other.sent_ms;
        self.received_ms += other.received_ms;
        add(&mut self.row, &other.row);
    }

    fn finish(self, day: Day, code: &AgencyId, agency_name: String) -> StatisticsRow {
        let mean = |sum_ms: u64, count: u64| sum_ms.checked_div(count).unwrap_or_default() / 1_000;
        StatisticsRow {
            code: code.to_string(),
            agency_name,
            day: day.to_string(),
            sent_handover_s: mean(self.sent_ms, self.row.sent_handed_over),
            received_handover_s: mean(self.received_ms, self.row.received_handed_over),
            ..self.row
        }
    }
}

/// Adds the counts of `other`; what is no count stays.
fn add(row: &mut StatisticsRow, other: &StatisticsRow) {
    row.sent_documents += other.sent_documents;
    row.sent_recipients += other.sent_recipients;
    row.sent_urgent += other.sent_urgent;
    row.sent_bytes += other.sent_bytes;
    row.sent_handed_over += other.sent_handed_over;
    row.sent_failed += other.sent_failed;
    row.sent_returned += other.sent_returned;
    row.sent_withdrawn += other.sent_withdrawn;
    row.sent_unsent += other.sent_unsent;
    row.sent_late += other.sent_late;
    row.recipients_late += other.recipients_late;
    row.received_documents += other.received_documents;
    row.received_urgent += other.received_urgent;
    row.received_bytes += other.received_bytes;
    row.received_handed_over += other.received_handed_over;
    row.received_refused += other.received_refused;
    row.received_failed += other.received_failed;
    row.received_withdrawn += other.received_withdrawn;
    row.received_late += other.received_late;
    row.statuses_sent += other.statuses_sent;
}

fn ms(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}

/// What a sent document adds, and to which row; none: it is no document.
#[must_use]
pub fn of_sent(rules: Option<&DutyRules>, now: Timestamp, sent: &Sent) -> Option<(RowName, Share)> {
    if sent.kind != EnvelopeKind::Document {
        return None;
    }
    // One that goes on for another of the same document: that one counted document and recipient, this one says what became of them.
    let first = u64::from(sent.continues.is_none() && sent.supersedes.is_none());
    let was_late =
        |duty: Duty, course: Course| rules.is_some_and(|rules| rules.was_late(duty, course, sent.priority, now)) as u64;
    let mut share = Share::default();
    share.row.sent_documents = first;
    share.row.sent_urgent = first * u64::from(sent.priority.value() > 0);
    share.row.sent_bytes = sent.payload_length;
    for (code, pair) in &sent.pairs {
        let row = &mut share.row;
        row.sent_recipients += first;
        let recipients = sent.course(code, pair, Duty::Recipients);
        row.sent_late += was_late(Duty::Send, sent.course(code, pair, Duty::Send));
        row.recipients_late += was_late(Duty::Recipients, recipients);
        match sent.counted(pair) {
            Some(Counted::Unsent) => row.sent_unsent += 1,
            Some(Counted::Failed) => row.sent_failed += 1,
            Some(Counted::Returned) => row.sent_returned += 1,
            Some(Counted::Withdrawn) => row.sent_withdrawn += 1,
            Some(Counted::Late) | None => {}
        }
        if pair.state == PairState::HandedOver {
            row.sent_handed_over += 1;
            let handed = |step: &&crate::core::Step| {
                step.event == EventUri::ContentHandover && step.recipient.as_ref() == Some(code)
            };
            let at = sent.steps.iter().find(handed).map(|step| step.time);
            share.sent_ms += at.map_or(0, |at| ms(sent.accepted_at, at));
        }
    }
    Some(((Day::of(sent.accepted_at), sent.key.sender.clone()), share))
}

/// What a received document adds for each of our codes, and to which rows.
#[must_use]
pub fn of_received(rules: Option<&DutyRules>, now: Timestamp, received: &Received) -> Vec<(RowName, Share)> {
    if received.kind != EnvelopeKind::Document {
        return Vec::new();
    }
    let of_code = |(code, entry): (&AgencyId, &crate::core::Code)| {
        let ours = |step: &&crate::core::Step| {
            step.role == Role::Recipient
                && step.actor.as_ref() == Some(code)
                && matches!(step.event, EventUri::RelayAcceptance | EventUri::ReceivedFromNonErds)
        };
        let came = received.steps.iter().find(ours).map(|step| step.time)?;
        let mut share = Share::default();
        let row = &mut share.row;
        row.received_documents = 1;
        row.received_urgent = u64::from(received.priority.value() > 0);
        row.received_bytes = received.payload_length;
        let course = received.course(entry, rules.is_some_and(|rules| rules.receipt_status));
        let late = rules.is_some_and(|rules| rules.was_late(Duty::Receipt, course, received.priority, now));
        row.received_late = u64::from(late);
        row.received_withdrawn = u64::from(entry.business.is_withdrawn());
        row.received_failed = u64::from(entry.state == CodeState::Failed);
        let refused = entry.state == CodeState::HandoverFailed
            || entry.business.progress == Some(truc_proto::StatusCode::Refused);
        row.received_refused = u64::from(refused);
        row.statuses_sent = entry.business.notes.iter().filter(|note| note.from == *code).count() as u64;
        if entry.state == CodeState::HandedOver {
            row.received_handed_over = 1;
            let times = entry.consigned_at.zip(entry.confirmed_at);
            share.received_ms = times.map_or(0, |(from, to)| ms(from, to));
        }
        Some(((Day::of(came), code.clone()), share))
    };
    received.codes.iter().filter_map(of_code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sent_handed_over: u64, sent_handover_s: u64, code: &str, day: &str) -> StatisticsRow {
        let (code, day) = (code.to_owned(), day.to_owned());
        StatisticsRow { code, day, sent_documents: 1, sent_handed_over, sent_handover_s, ..StatisticsRow::default() }
    }

    #[test]
    fn agencies_add_up_and_means_by_their_weights() {
        let rows = [row(1, 100, "H26", "2026-11-20"), row(3, 20, "H26", "2026-11-21"), row(0, 0, "H01", "2026-11-21")];
        let totals = table::totals(&rows);
        let shown: Vec<_> = totals.iter().map(|t| (t.code.as_str(), t.sent_documents, t.sent_handover_s)).collect();
        assert_eq!(shown, [("H01", 1, 0), ("H26", 2, 40)]);
    }

    #[test]
    fn there_are_never_more_rows_than_the_bound() {
        let (mut rows, first) = (Rows::default(), "2000-01-01".parse::<Day>().unwrap());
        let code: AgencyId = "H26".parse().unwrap();
        for n in 0..STATISTICS_ROWS_MAX {
            rows.add((first.plus(i64::try_from(n).unwrap()), code.clone()), &Share::default()).unwrap();
        }
        let next = first.plus(i64::try_from(STATISTICS_ROWS_MAX).unwrap());
        assert_eq!(rows.add((next, code.clone()), &Share::default()), Err(TooManyRows));
        rows.add((first, code), &Share::default()).unwrap();
    }

    #[test]
    fn no_column_stands_twice_and_each_count_has_one() {
        let mut headings: Vec<_> = table::COLUMNS.iter().map(|(heading, _)| *heading).collect();
        headings.sort_unstable();
        headings.dedup();
        assert_eq!(headings.len(), table::COLUMNS.len());
    }
}
