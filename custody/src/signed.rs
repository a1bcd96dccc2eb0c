//! What became of the checkpoints that the certificate signed since the start, for monitoring: time-stamps, cosignatures, witnesses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use truc_evidence::{Attestation, Attestations, stamp_checkpoint};
use truc_link::{Figures, Stamper};
use truc_proto::{Checkpoint, Digest, SignedNote, Timestamp, chain};

/// Whether a signed checkpoint has its time-stamp, as a label says it.
const STAMPS: [(Attestation, &str); 3] =
    [(Attestation::There, "stamped"), (Attestation::Awaited, "missing"), (Attestation::NotAsked, "not-asked")];

/// Embeds the token that a time-stamping authority gave over this certificate's signature into a signed checkpoint, and says what became of it since `before`;
/// `asked`: settings name authorities.
pub fn put_stamp(
    note: &mut SignedNote,
    certificate: &Digest,
    before: Attestation,
    asked: bool,
    token: Option<Vec<u8>>,
) -> Attestation {
    if before == Attestation::There {
        return before;
    }
    match token.map(|token| stamp_checkpoint(note, certificate, &token)) {
        Some(Ok(())) => Attestation::There,
        Some(Err(error)) => {
            tracing::warn!(error = chain(&error), "the time-stamp could not be embedded");
            Attestation::Awaited
        }
        None if asked => Attestation::Awaited,
        None => Attestation::NotAsked,
    }
}

/// How many lines others put under a checkpoint.
#[must_use]
pub fn cosignatures(note: &SignedNote) -> usize {
    let own = Checkpoint::of_note(note).map(|checkpoint| checkpoint.origin().to_owned()).unwrap_or_default();
    note.signatures().iter().filter(|line| line.name != own).count()
}

/// Counts of signed checkpoints.
#[derive(Debug, Default)]
pub struct SignedCheckpoints {
    counts: [AtomicU64; STAMPS.len()],
    cosignatures: AtomicU64,
    stamp_missing: AtomicBool,
    cosignature_missing: AtomicBool,
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
    /// One more was signed and is on the device, with so many cosignatures.
    pub fn add(&self, said: Attestations, cosignatures: usize) {
        for ((of, _), count) in STAMPS.iter().zip(&self.counts) {
            count.fetch_add(u64::from(*of == said.stamp), Ordering::Relaxed);
        }
        self.completed(said, cosignatures);
    }

    /// The newest of them stands on the device with this now.
    pub fn completed(&self, said: Attestations, cosignatures: usize) {
        self.cosignatures.store(cosignatures as u64, Ordering::Relaxed);
        self.stamp_missing.store(said.stamp == Attestation::Awaited, Ordering::Relaxed);
        self.cosignature_missing.store(said.cosignature == Attestation::Awaited, Ordering::Relaxed);
    }

    /// What became of them, what time-stamping authorities did since the start, and how many witnesses answer; names begin with `prefix`
    /// (docs/DUTIES.md, "Metrics").
    pub fn figures(&self, out: &mut Figures, prefix: &str, stamper: Option<&Stamper>, witnesses: WitnessStates) {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let labelled = STAMPS.iter().zip(counts).map(|((_, stamp), count)| (vec![("time_stamp", *stamp)], count));
        let help = "Checkpoints that the certificate signed since the start.";
        out.counters(&format!("{prefix}_checkpoints_signed_total"), help, labelled);
        let help = "1 while the newest of them lacks the time-stamp that settings want.";
        out.gauge(&format!("{prefix}_time_stamp_missing"), help, u64::from(self.stamp_missing.load(Ordering::Relaxed)));
        let missing = u64::from(self.cosignature_missing.load(Ordering::Relaxed));
        let help = "1 while the newest of them lacks cosignatures of witnesses that the directory lists.";
        out.gauge(&format!("{prefix}_cosignature_missing"), help, missing);
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
        assert!(before.contains("\np_time_stamp_missing 0\n") && !before.contains("_cosignatures"), "{before}");
        let said = |stamp, cosignature| Attestations { stamp, cosignature };
        signed.add(said(Attestation::There, Attestation::There), 3);
        signed.add(said(Attestation::Awaited, Attestation::Awaited), 1);
        let after = text(&signed);
        for line in [
            "# TYPE p_checkpoints_signed_total counter",
            "p_checkpoints_signed_total{time_stamp=\"stamped\"} 1",
            "p_checkpoints_signed_total{time_stamp=\"missing\"} 1",
            "p_checkpoints_signed_total{time_stamp=\"not-asked\"} 0",
            "p_time_stamp_missing 1",
            "p_cosignature_missing 1",
            "p_checkpoint_cosignatures 1",
            "p_witnesses{state=\"answering\"} 2",
            "p_witnesses{state=\"silent\"} 1",
        ] {
            assert!(after.lines().any(|found| found == line), "{line}: {after}");
        }
        signed.completed(said(Attestation::There, Attestation::NobodyYet), 0);
        let completed = text(&signed);
        for line in [
            "p_checkpoints_signed_total{time_stamp=\"stamped\"} 1",
            "p_time_stamp_missing 0",
            "p_cosignature_missing 0",
        ] {
            assert!(completed.lines().any(|found| found == line), "{line}: {completed}");
        }
    }
}
