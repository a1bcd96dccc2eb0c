//! What became of the checkpoints that the certificate signed since the start, for monitoring: time-stamps, cosignatures, witnesses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use truc_evidence::{CheckpointStamp, stamp_checkpoint};
use truc_link::{Figures, Stamper};
use truc_proto::{Digest, SignedNote, Timestamp, chain};

/// Whether a signed checkpoint has its time-stamp, as a label says it.
const STAMPS: [(CheckpointStamp, &str); 3] = [
    (CheckpointStamp::There, "stamped"),
    (CheckpointStamp::Awaited, "missing"),
    (CheckpointStamp::NotAsked, "not-asked"),
];

/// Embeds the token that a time-stamping authority gave over this certificate's signature into a signed checkpoint, and says what became of it; `asked`:
/// settings name authorities.
pub fn put_stamp(note: &mut SignedNote, certificate: &Digest, asked: bool, token: Option<Vec<u8>>) -> CheckpointStamp {
    match token.map(|token| stamp_checkpoint(note, certificate, &token)) {
        Some(Ok(())) => CheckpointStamp::There,
        Some(Err(error)) => {
            tracing::warn!(error = chain(&error), "the time-stamp could not be embedded");
            CheckpointStamp::Awaited
        }
        None if asked => CheckpointStamp::Awaited,
        None => CheckpointStamp::NotAsked,
    }
}

/// Counts of signed checkpoints.
#[derive(Debug, Default)]
pub struct SignedCheckpoints {
    counts: [AtomicU64; STAMPS.len()],
    cosignatures: AtomicU64,
    missing: AtomicBool,
}

/// Witnesses that the directory lists, by what is heard of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WitnessStates {
    /// Connected, and answered one of the last questions in time.
    pub answering: u64,
    /// Connected, and did not answer so many questions in a row that nobody waits for them any more.
    pub silent: u64,
    /// Not connected.
    pub away: u64,
}

impl SignedCheckpoints {
    /// One more was signed and is on the device.
    pub fn add(&self, stamp: CheckpointStamp, cosignatures: usize) {
        for ((of, _), count) in STAMPS.iter().zip(&self.counts) {
            count.fetch_add(u64::from(*of == stamp), Ordering::Relaxed);
        }
        self.cosignatures.store(cosignatures as u64, Ordering::Relaxed);
        self.missing.store(stamp == CheckpointStamp::Awaited, Ordering::Relaxed);
    }

    /// What became of them, what time-stamping authorities did since the start, and how many witnesses answer; names begin with `prefix`
    /// (docs/DUTIES.md, "Metrics").
    pub fn figures(&self, out: &mut Figures, prefix: &str, stamper: Option<&Stamper>, witnesses: WitnessStates) {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let labelled = STAMPS.iter().zip(counts).map(|((_, stamp), count)| (vec![("time_stamp", *stamp)], count));
        let help = "Checkpoints that the certificate signed since the start.";
        out.counters(&format!("{prefix}_checkpoints_signed_total"), help, labelled);
        let help = "1 while the newest of them lacks the time-stamp that settings want.";
        out.gauge(&format!("{prefix}_time_stamp_missing"), help, u64::from(self.missing.load(Ordering::Relaxed)));
        if counts.iter().any(|count| *count > 0) {
            let help = "Cosignatures under the newest checkpoint that the certificate signed.";
            let count = self.cosignatures.load(Ordering::Relaxed);
            out.gauge(&format!("{prefix}_checkpoint_cosignatures"), help, count);
        }
        let WitnessStates { answering, silent, away } = witnesses;
        let states = [("answering", answering), ("silent", silent), ("away", away)];
        let states = states.map(|(state, count)| (vec![("state", state)], count));
        out.gauges(&format!("{prefix}_witnesses"), "Witnesses that the directory lists for this ledger.", states);
        let records = stamper.map(Stamper::records).unwrap_or_default();
        let seconds = |at: Timestamp| u64::try_from(at.unix_s()).unwrap_or_default();
        let last = records
            .iter()
            .filter_map(|(server, record)| Some((vec![("server", server.as_str())], seconds(record.last_success?))));
        let help = "When a time-stamping authority last gave a time-stamp, since this start.";
        out.gauges(&format!("{prefix}_time_stamp_success_time_seconds"), help, last);
        let failures = records.iter().map(|(server, record)| (vec![("server", server.as_str())], record.failures));
        let help = "Times that a time-stamping authority was asked and gave none, since the start.";
        out.counters(&format!("{prefix}_time_stamp_failures_total"), help, failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_newest_checkpoint_lacks_is_said_and_nothing_before_the_first() {
        let signed = SignedCheckpoints::default();
        let text = |signed: &SignedCheckpoints| {
            let mut figures = Figures::default();
            signed.figures(&mut figures, "p", None, WitnessStates { answering: 2, silent: 1, away: 0 });
            figures.into_text()
        };
        let before = text(&signed);
        assert!(before.contains("\np_time_stamp_missing 0\n") && !before.contains("cosignatures"), "{before}");
        for (stamp, cosignatures) in [(CheckpointStamp::There, 3), (CheckpointStamp::Awaited, 1)] {
            signed.add(stamp, cosignatures);
        }
        let after = text(&signed);
        for line in [
            "# TYPE p_checkpoints_signed_total counter",
            "p_checkpoints_signed_total{time_stamp=\"stamped\"} 1",
            "p_checkpoints_signed_total{time_stamp=\"missing\"} 1",
            "p_checkpoints_signed_total{time_stamp=\"not-asked\"} 0",
            "p_time_stamp_missing 1",
            "p_checkpoint_cosignatures 1",
            "p_witnesses{state=\"answering\"} 2",
            "p_witnesses{state=\"silent\"} 1",
        ] {
            assert!(after.lines().any(|found| found == line), "{line}: {after}");
        }
        signed.add(CheckpointStamp::There, 0);
        assert!(text(&signed).contains("\np_time_stamp_missing 0\n"));
    }
}
