//! OCSP answers as one more source of revocation beside the lists, and which certificates somebody should ask about.
//!
//! Validation never asks anybody: it weighs the answers that are here, and notes what it would have liked to know. Whoever asks (another crate) takes the
//! wishes and teaches what it learnt.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use truc_proto::{Digest, Timestamp, limits::OCSP_ANSWERS_MAX};

use super::{
    WhyUnknown,
    revocation::{Judge, One},
};
use crate::{
    certificate::{Certificate, significant},
    crl::RevocationReason,
    ocsp::{NamedIn, OcspAnswer, OcspStatement, OcspStatus},
};

/// Answers kept of one serial number: the newest, and any that names a revocation.
const OF_ONE_SERIAL_MAX: usize = 4;

/// What is known from OCSP responders; shared by the trust stores that follow one another.
#[derive(Default)]
pub struct OcspAnswers {
    known: Mutex<Known>,
    /// Counts what was learnt: a verdict reached before is reached again.
    generation: AtomicU64,
    /// Told of each wish; none: nobody asks, and nothing is wished for.
    wake: Option<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Known {
    by_serial: HashMap<Box<[u8]>, Vec<OcspAnswer>>,
    count: usize,
    wishes: HashMap<Digest, OcspWish>,
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
}

impl OcspAnswers {
    /// These, as evidence: nobody is asked for more.
    #[must_use]
    pub fn of(answers: impl IntoIterator<Item = OcspAnswer>) -> Self {
        let these = Self::default();
        for answer in answers {
            these.learn(answer);
        }
        these
    }

    /// None yet; `wake` is told whenever somebody should be asked. It must not block.
    #[must_use]
    pub fn asking(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { wake: Some(Box::new(wake)), ..Self::default() }
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

    /// Notes why nobody could tell about a certificate: its verdict says so.
    pub fn failed(&self, certificate: &Certificate, why: String) {
        let mut known = self.lock();
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
        self.lock().wishes.drain().map(|(_, wish)| wish).collect()
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

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn about(&self, certificate: &Certificate) -> Vec<OcspAnswer> {
        self.lock().by_serial.get(significant(certificate.serial())).cloned().unwrap_or_default()
    }

    fn wish(&self, certificate: &Certificate, issuer: &Certificate) {
        let Some(wake) = &self.wake else { return };
        let mut known = self.lock();
        if known.wishes.len() < OCSP_ANSWERS_MAX {
            let wish = OcspWish { certificate: certificate.clone(), issuer: issuer.clone() };
            known.wishes.insert(certificate.sha256(), wish);
        }
        drop(known);
        wake();
    }

    fn failure(&self, certificate: &Certificate) -> Option<String> {
        self.lock().failures.get(&certificate.sha256()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
    let (answers, at) = (judge.store.answers(), judge.at);
    let (mut revoked, mut good) = (None, None);
    for answer in answers.about(certificate) {
        let Ok((said, signed)) = answer.says(certificate, issuer) else { continue };
        if !may_answer(judge, &signed, issuer, answer.produced_at()) {
            continue;
        }
        match said.status {
            // A suspension may have been lifted since; a revocation stands.
            OcspStatus::Revoked { at: since, reason }
                if reason != RevocationReason::CertificateHold || at <= said.until() =>
            {
                revoked = earlier(revoked, (since, reason));
            }
            OcspStatus::Good if at <= said.until() => good = good.max(Some(said.until())),
            _ => {}
        }
    }
    if good.is_none() && revoked.is_none() {
        answers.wish(certificate, issuer);
    }
    match (lists, revoked, good) {
        (revoked @ One::Revoked(..), ..) => revoked,
        (_, Some((since, reason)), _) => One::Revoked(since, reason),
        (One::Good { until }, None, Some(other)) => One::Good { until: until.max(other) },
        (One::Unknown(_), None, Some(until)) => One::Good { until },
        (One::Unknown(why), None, None) => match answers.failure(certificate) {
            Some(said) => One::Unknown(WhyUnknown::NoAnswer { issuer: issuer.subject().to_owned(), why: said }),
            None => One::Unknown(why),
        },
        (lists, None, None) => lists,
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
fn may_answer(judge: &Judge<'_>, signed: &NamedIn, issuer: &Certificate, at: Timestamp) -> bool {
    match signed {
        NamedIn::Issuer => true,
        NamedIn::Appointed { certificate, no_check } => match judge.at(at).by_lists(certificate, issuer) {
            One::Good { .. } => true,
            One::Revoked(..) => false,
            One::Unknown(_) => *no_check,
        },
    }
}
