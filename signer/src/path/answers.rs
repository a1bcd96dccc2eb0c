//! OCSP answers as one more source of revocation beside the lists, and which certificates somebody should ask about.
//!
//! Validation never asks anybody: it weighs the answers that are here, and notes what it would have liked to know. Whoever asks (another crate) takes the
//! wishes and teaches what it learnt.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use truc_proto::{
    Digest, Timestamp, chain,
    limits::{FUTURE_SKEW_MAX_MS, OCSP_ANSWERS_MAX, OCSP_ANSWERS_OF_ONE_MAX},
};

use super::{
    WhyUnknown,
    revocation::{Judge, One},
};
use crate::{
    certificate::Certificate,
    crl::{RevocationReason, minimal},
    ocsp::{NamedIn, OcspAnswer, OcspError, OcspStatement, OcspStatus},
};

/// Answers kept of one serial number: the newest, and any that names a revocation.
const OF_ONE_SERIAL_MAX: usize = 4;

/// What is known from OCSP responders; shared by the trust stores that follow one another.
#[derive(Default)]
pub struct OcspAnswers {
    known: Mutex<Known>,
    /// Counts what was learnt: a verdict reached before is reached again.
    generation: AtomicU64,
    /// Who asks; none: nobody does, and nothing is wished for.
    asker: Option<Box<dyn OcspAsker>>,
    /// Later answers do not count.
    last: Option<Timestamp>,
    /// Who signed an answer as a given issuer sees it: one signature is checked once.
    signed: Mutex<HashMap<(Digest, Digest), Result<NamedIn, OcspError>>>,
}

/// Whoever asks responders, as seen from here.
pub trait OcspAsker: Send + Sync {
    /// There are wishes to be taken. Must not block.
    fn wished(&self);
    /// Blocks until `settled` says so or something was learnt, but never longer than anybody may be kept waiting.
    fn wait(&self, settled: &dyn Fn() -> bool);
}

#[derive(Default)]
struct Known {
    by_serial: HashMap<Box<[u8]>, Vec<OcspAnswer>>,
    count: usize,
    wishes: HashMap<Digest, OcspWish>,
    /// What is being asked about, and whether that is an authority.
    asked: HashMap<Digest, bool>,
    /// Why nobody could tell, by the certificate's fingerprint.
    failures: HashMap<Digest, String>,
}

/// A certificate that somebody should ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspWish {
    /// About which.
    pub certificate: Certificate,
    /// Who issued it.
    pub issuer: Certificate,
    /// Nothing current is known of it. Otherwise it is only still in use.
    pub urgent: bool,
}

impl OcspAnswers {
    /// These, as evidence: nobody is asked for more, none is forgotten, and of many about one certificate the first count.
    #[must_use]
    pub fn of(answers: impl IntoIterator<Item = OcspAnswer>) -> Self {
        let these = Self::default();
        for answer in answers {
            these.add(answer);
        }
        these
    }

    /// The same, as evidence judged at `now`: what comes from after it, a skew allowed, does not count. One of these may be added to and the others are not.
    #[must_use]
    pub fn as_of(&self, now: Timestamp) -> Self {
        let last = Some(now + Duration::from_millis(FUTURE_SKEW_MAX_MS.unsigned_abs()));
        let known = self.lock();
        let known = Known { by_serial: known.by_serial.clone(), count: known.count, ..Known::default() };
        Self { known: Mutex::new(known), last, ..Self::default() }
    }

    /// Adds evidence, behind what is there.
    pub fn add(&self, answer: OcspAnswer) {
        let mut known = self.lock();
        for serial in answer.serials().collect::<BTreeSet<_>>() {
            known.by_serial.entry(serial.into()).or_default().push(answer.clone());
            known.count += 1;
        }
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// None yet; `asker` is told whenever somebody should be asked.
    #[must_use]
    pub fn asking(asker: impl OcspAsker + 'static) -> Self {
        Self { asker: Some(Box::new(asker)), ..Self::default() }
    }

    /// Keeps an answer. Whether it counts is seen when it is used.
    pub fn learn(&self, answer: OcspAnswer) {
        let mut known = self.lock();
        let serials: Vec<Box<[u8]>> = answer.serials().map(Into::into).collect();
        for serial in serials {
            if known.count >= OCSP_ANSWERS_MAX {
                known.forget_oldest();
            }
            let of_serial = known.by_serial.entry(serial).or_default();
            if of_serial.contains(&answer) {
                continue;
            }
            of_serial.push(answer.clone());
            of_serial.sort_by_key(|answer| std::cmp::Reverse(answer.produced_at()));
            if of_serial.len() > OF_ONE_SERIAL_MAX {
                let goes = of_serial.iter().rposition(|answer| !answer.revokes()).unwrap_or(OF_ONE_SERIAL_MAX);
                of_serial.remove(goes);
            } else {
                known.count += 1;
            }
        }
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Nobody is asked about it any more, or not for a while: who waits for it need not.
    pub fn leave(&self, certificate: &Certificate) {
        self.lock().asked.remove(&certificate.sha256());
    }

    /// Keeps what was learnt about a certificate that somebody was asked about.
    pub fn answered(&self, certificate: &Certificate, answer: OcspAnswer) {
        let _ = self.lock().failures.remove(&certificate.sha256());
        self.learn(answer);
        self.leave(certificate);
    }

    /// What failed before is forgotten: with the next look it is wished for again.
    pub fn forget_failure(&self, certificate: &Certificate) {
        if self.lock().failures.remove(&certificate.sha256()).is_some() {
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Notes why nobody could tell about a certificate: its verdict says so.
    pub fn failed(&self, certificate: &Certificate, why: String) {
        let mut known = self.lock();
        known.asked.remove(&certificate.sha256());
        if known.failures.len() >= OCSP_ANSWERS_MAX {
            known.failures.clear();
        }
        let before = known.failures.insert(certificate.sha256(), why.clone());
        if before.as_ref() != Some(&why) {
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Takes the certificates that somebody should ask about.
    #[must_use]
    pub fn take_wishes(&self) -> Vec<OcspWish> {
        let mut known = self.lock();
        let wishes: Vec<_> = known.wishes.drain().map(|(_, wish)| wish).collect();
        let urgent = wishes.iter().filter(|wish| wish.urgent);
        known.asked.extend(urgent.map(|wish| (wish.certificate.sha256(), wish.certificate.is_ca())));
        wishes
    }

    /// The newest answer about a certificate and what it says, whoever gave it.
    #[must_use]
    pub fn newest(&self, certificate: &Certificate, issuer: &Certificate) -> Option<(OcspAnswer, OcspStatement)> {
        let answers = self.about(certificate).into_iter();
        let said = answers.filter_map(|answer| answer.statement(certificate, issuer).map(|said| (answer, said)));
        said.max_by_key(|(_, said)| said.this_update)
    }

    /// How many are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().count
    }

    /// Waits until nobody is being asked about a certificate or an authority, as long as anybody may be kept waiting. Blocks. False: nobody asks.
    #[must_use]
    pub fn settle(&self, certificate: &Certificate) -> bool {
        let Some(asker) = &self.asker else { return false };
        let of = certificate.sha256();
        asker.wait(&|| {
            let known = self.lock();
            let wished = known.wishes.values().any(|wish| wish.urgent && wish.concerns(&of));
            !wished && !known.asked.iter().any(|(asked, is_ca)| *is_ca || *asked == of)
        });
        true
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn about(&self, certificate: &Certificate) -> Vec<OcspAnswer> {
        self.lock().by_serial.get(minimal(certificate.serial())).cloned().unwrap_or_default()
    }

    fn wish(&self, certificate: &Certificate, issuer: &Certificate, urgent: bool) {
        let Some(asker) = &self.asker else { return };
        let mut known = self.lock();
        if known.wishes.len() < OCSP_ANSWERS_MAX {
            let wish = OcspWish { certificate: certificate.clone(), issuer: issuer.clone(), urgent };
            known.wishes.entry(certificate.sha256()).or_insert(wish).urgent |= urgent;
        }
        drop(known);
        if urgent {
            asker.wished();
        }
    }

    /// Whose word an answer is as `issuer` sees it.
    fn signed_under(&self, answer: &OcspAnswer, issuer: &Certificate) -> Result<NamedIn, OcspError> {
        let known = || self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (answer.sha256(), issuer.sha256());
        if let Some(found) = known().get(&key) {
            return found.clone();
        }
        let found = answer.signed_under(issuer);
        let mut known = known();
        if known.len() >= OCSP_ANSWERS_MAX {
            known.clear();
        }
        known.insert(key, found.clone());
        found
    }

    fn failure(&self, certificate: &Certificate) -> Option<String> {
        self.lock().failures.get(&certificate.sha256()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OcspWish {
    fn concerns(&self, certificate: &Digest) -> bool {
        self.certificate.is_ca() || self.certificate.sha256() == *certificate
    }
}

impl Known {
    /// Of those that name no revocation, the oldest; of others, where there are no such.
    fn forget_oldest(&mut self) {
        let oldest = self.by_serial.iter().min_by_key(|(_, answers)| {
            let newest = answers.first();
            (newest.is_some_and(OcspAnswer::revokes), newest.map(OcspAnswer::produced_at))
        });
        if let Some(serial) = oldest.map(|(serial, _)| serial.clone()) {
            self.count -= self.by_serial.remove(&serial).map_or(0, |answers| answers.len());
        }
    }
}

impl fmt::Debug for OcspAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OcspAnswers({})", self.count())
    }
}

/// What lists and answers say together. Revoked by either is revoked, and good by either is good: a source that is late takes nothing from one that is not.
pub(super) fn judge_one(judge: &Judge<'_>, certificate: &Certificate, issuer: &Certificate) -> One {
    let lists = judge.by_lists(certificate, issuer);
    let answers = judge.store.answers();
    let (mut revoked, mut good, mut useless) = (None, None, None);
    let about = answers.about(certificate);
    let about = about.iter().filter_map(|answer| answer.statement(certificate, issuer).map(|said| (answer, said)));
    for (answer, said) in about.take(OCSP_ANSWERS_OF_ONE_MAX) {
        match weigh(judge, answer, said, issuer) {
            Ok(OcspStatus::Revoked { at: since, reason }) => revoked = earlier(revoked, (since, reason)),
            Ok(_) => good = good.max(Some(said.until())),
            Err(why) => _ = useless.get_or_insert(why),
        }
    }
    answers.wish(certificate, issuer, good.is_none() && revoked.is_none());
    let untold = |why| One::Unknown(WhyUnknown::NoAnswer { issuer: issuer.subject().to_owned(), why });
    match (lists, revoked, good) {
        (One::Revoked(since, reason), other, _) => {
            let (since, reason) = earlier(other, (since, reason)).unwrap_or((since, reason));
            One::Revoked(since, reason)
        }
        (_, Some((since, reason)), _) => One::Revoked(since, reason),
        (One::Good { until }, None, Some(other)) => One::Good { until: until.max(other) },
        (One::Unknown(_), None, Some(until)) => One::Good { until },
        (One::Unknown(why), None, None) => match (answers.failure(certificate), useless) {
            (Some(said), _) => untold(said),
            // Where there is no list, that an answer is of no use says more.
            (None, Some(said)) if matches!(why, WhyUnknown::MissingCrl { .. }) => untold(said),
            (None, _) => One::Unknown(why),
        },
        (lists @ One::Good { .. }, None, None) => lists,
    }
}

/// What an answer says of the time judged at: good, or revoked; else why it says neither.
fn weigh(
    judge: &Judge<'_>,
    answer: &OcspAnswer,
    said: OcspStatement,
    issuer: &Certificate,
) -> Result<OcspStatus, String> {
    let time = said.this_update.max(answer.produced_at());
    if judge.store.answers().last.is_some_and(|last| time > last) {
        return Err(format!("the OCSP answer is dated {time}, which is still to come"));
    }
    let signed = judge.store.answers().signed_under(answer, issuer).map_err(|error| chain(&error))?;
    may_answer(judge, &signed, issuer, answer.produced_at())?;
    let stale = || format!("the OCSP answer counted until {}", said.until());
    match said.status {
        // A suspension may have been lifted since; a revocation stands.
        OcspStatus::Revoked { reason, .. }
            if reason != RevocationReason::CertificateHold || judge.is_current(said.until()) =>
        {
            Ok(said.status)
        }
        OcspStatus::Good if judge.is_current(said.until()) => Ok(said.status),
        OcspStatus::Unknown => Err("the OCSP responder does not know the certificate".to_owned()),
        _ => Err(stale()),
    }
}

fn earlier(
    known: Option<(Timestamp, RevocationReason)>,
    found: (Timestamp, RevocationReason),
) -> Option<(Timestamp, RevocationReason)> {
    match known {
        Some(known) if known.0 <= found.0 => Some(known),
        _ => Some(found),
    }
}

/// An appointed responder may have been revoked itself. Where its certificate does not say that nobody need look, the issuer's list must clear it.
fn may_answer(judge: &Judge<'_>, signed: &NamedIn, issuer: &Certificate, at: Timestamp) -> Result<(), String> {
    let NamedIn::Appointed { certificate, no_check } = signed else { return Ok(()) };
    match judge.at(at).by_lists(certificate, issuer) {
        One::Good { .. } => Ok(()),
        One::Unknown(_) if *no_check => Ok(()),
        One::Revoked(..) => Err("the certificate of the OCSP responder is revoked".to_owned()),
        One::Unknown(why) => Err(format!("the certificate of the OCSP responder cannot be cleared: {why}")),
    }
}
