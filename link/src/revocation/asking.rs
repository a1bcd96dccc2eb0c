//! Asking OCSP responders over HTTP (RFC 6960 appendix A) what validation would have liked to know.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use truc_proto::{
    Digest, chain,
    limits::{OCSP_ANSWERS_MAX, OCSP_BYTES_MAX},
};
use truc_signer::{
    Certificate, OcspAnswer, OcspError, OcspNonce, OcspRequest, OcspStatus, ocsp::OcspStatement, path::OcspWish,
};

use super::{ASK_WITHIN, Learnt, Revocations, lock, now};
use crate::{
    endpoint::Endpoint,
    http::{HttpError, Method, Outgoing},
};

/// Questions on their way at once.
const AT_ONCE_MAX: usize = 8;
/// After a failure; doubles up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(900));
/// Least and longest time until an answer in use is asked for anew.
const RENEWED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3_600));
/// When nothing is due.
const IDLE: Duration = Duration::from_secs(3_600);
const REQUEST: &str = "application/ocsp-request";
const RESPONSE: &str = "application/ocsp-response";

/// What became of a question.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AskOutcome {
    /// Not revoked.
    Good,
    /// Revoked or suspended.
    Revoked,
    /// The responder does not know the certificate.
    Unknown,
    /// An answer that is not to be believed, or an error instead of one.
    Refused,
    /// No answer came.
    Unreachable,
    /// None in time.
    Slow,
}

impl AskOutcome {
    /// All.
    pub const ALL: [Self; 6] = [Self::Good, Self::Revoked, Self::Unknown, Self::Refused, Self::Unreachable, Self::Slow];

    /// As a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("{0} cannot be asked")]
    Http(Endpoint, #[source] HttpError),
    #[error("{0} answered with HTTP status {1}")]
    Status(Endpoint, u16),
    #[error("{0} gave no answer within {s} s", s = ASK_WITHIN.as_secs())]
    Slow(Endpoint),
    #[error("what {0} answered is not accepted")]
    Answer(Endpoint, #[source] OcspError),
    #[error("{0} failed a moment ago and is left in peace for a while")]
    Resting(Endpoint),
    #[error("the operating system gave no random bytes")]
    Random,
}

impl AskError {
    /// None: nobody was asked.
    const fn outcome(&self) -> Option<AskOutcome> {
        match self {
            Self::Http(..) | Self::Status(..) => Some(AskOutcome::Unreachable),
            Self::Slow(..) => Some(AskOutcome::Slow),
            Self::Answer(..) => Some(AskOutcome::Refused),
            Self::Resting(_) | Self::Random => None,
        }
    }
}

/// A certificate that is in use, and when somebody is asked about it next.
struct Subject {
    wish: OcspWish,
    due: Instant,
    pause: Duration,
    /// Somebody looked since it was last asked about.
    used: bool,
    asking: bool,
}

type Said = Result<(OcspAnswer, OcspStatement), AskError>;

impl Revocations {
    pub(super) async fn follow_wishes(self: Arc<Self>, learnt: &(impl Fn(Learnt) + Send + Sync)) {
        let mut subjects: HashMap<Digest, Subject> = HashMap::new();
        let mut running: JoinSet<(Digest, Said)> = JoinSet::new();
        loop {
            self.take_wishes(&mut subjects);
            self.drop_unused(&mut subjects);
            for (sha256, subject) in &mut subjects {
                if running.len() >= AT_ONCE_MAX {
                    break;
                }
                if subject.asking || subject.due > Instant::now() {
                    continue;
                }
                let Some(endpoint) = self.responder_for(&subject.wish) else { continue };
                (subject.asking, subject.used) = (true, false);
                let (this, wish, sha256) = (Arc::clone(&self), subject.wish.clone(), *sha256);
                running.spawn(async move { (sha256, this.ask(&wish, endpoint).await) });
            }
            let waiting = subjects.values().filter(|subject| !subject.asking).map(|subject| subject.due).min();
            let next = waiting.filter(|_| running.len() < AT_ONCE_MAX).unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                () = self.bell.wished.notified() => {}
                () = tokio::time::sleep_until(next) => {}
                Some(done) = running.join_next() => {
                    // A panic leaves its subject as one being asked about: nobody is waited for longer than the budget.
                    if let Ok((sha256, said)) = done
                        && let Some(subject) = subjects.get_mut(&sha256)
                    {
                        self.hear(subject, said, learnt).await;
                    }
                }
            }
        }
    }

    fn take_wishes(&self, subjects: &mut HashMap<Digest, Subject>) {
        for wish in self.answers.take_wishes() {
            self.note_lists_of(&wish.certificate);
            let sha256 = wish.certificate.sha256();
            if let Some(subject) = subjects.get_mut(&sha256) {
                subject.used = true;
                // It is asked about already, or was and did not help: nobody need wait for the next time.
                if !subject.asking && subject.due > Instant::now() {
                    self.answers.leave(&wish.certificate);
                }
            } else if self.responder_for(&wish).is_some() && subjects.len() < OCSP_ANSWERS_MAX {
                // What is current already, from an earlier run, is renewed when it was used once more.
                let due = if wish.urgent { Instant::now() } else { Instant::now() + RENEWED.0 };
                subjects.insert(sha256, Subject { wish, due, pause: Duration::ZERO, used: true, asking: false });
            } else {
                self.answers.leave(&wish.certificate);
            }
        }
        self.bell.ring();
    }

    /// What nobody looked at since it was asked about is forgotten when it is due.
    fn drop_unused(&self, subjects: &mut HashMap<Digest, Subject>) {
        let now = Instant::now();
        subjects.retain(|_, subject| {
            let kept = subject.asking || subject.used || subject.due > now;
            if !kept {
                self.answers.forget_failure(&subject.wish.certificate);
            }
            kept
        });
    }

    /// Whom to ask: by the settings, or where the certificate says and the settings allow.
    fn responder_for(&self, wish: &OcspWish) -> Option<Endpoint> {
        if !self.settings.ocsp {
            return None;
        }
        let set = self.settings.responders.iter().find(|responder| responder.issuer == wish.issuer.subject());
        set.map(|responder| responder.endpoint.clone())
            .or_else(|| wish.certificate.ocsp_addresses().iter().find_map(|address| self.allowed(address)))
    }

    async fn hear(&self, subject: &mut Subject, said: Said, learnt: &(impl Fn(Learnt) + Send + Sync)) {
        subject.asking = false;
        let certificate = &subject.wish.certificate;
        let outcome = match &said {
            Ok((_, statement)) => Some(outcome_of(statement.status)),
            Err(error) => error.outcome(),
        };
        if let Some(outcome) = outcome {
            *lock(&self.outcomes).entry(outcome).or_default() += 1;
        }
        match said {
            Ok((answer, statement)) => {
                let left = statement.until().since(now());
                subject.pause = Duration::ZERO;
                subject.due = Instant::now() + (left * 3 / 4).clamp(RENEWED.0, RENEWED.1);
                if let Err(error) = self.folder.keep_answer(certificate, &answer) {
                    tracing::warn!(%error, "an OCSP answer was not stored; it is asked for again after a start");
                }
                self.answers.answered(certificate, answer);
                match statement.status {
                    OcspStatus::Revoked { at, reason } => {
                        tracing::warn!(certificate = certificate.subject(), %at, reason = reason.as_str(), "alarm: revoked, by OCSP");
                        learnt(Learnt::Revoked);
                    }
                    OcspStatus::Unknown => {
                        self.answers.failed(certificate, "its OCSP responder does not know the certificate".to_owned());
                    }
                    OcspStatus::Good => {}
                }
            }
            Err(error) => {
                subject.pause = (subject.pause * 2).clamp(PAUSE.0, PAUSE.1);
                subject.due = Instant::now() + subject.pause;
                let why = chain(&error);
                tracing::warn!(certificate = certificate.subject(), error = why, "OCSP did not tell");
                self.answers.failed(certificate, why);
            }
        }
        self.bell.ring();
    }

    async fn ask(&self, wish: &OcspWish, endpoint: Endpoint) -> Said {
        if self.rests(&endpoint) {
            return Err(AskError::Resting(endpoint));
        }
        let mut random = [0; 32];
        SystemRandom::new().fill(&mut random).map_err(|_| AskError::Random)?;
        let (certificate, issuer): (Certificate, Certificate) = (wish.certificate.clone(), wish.issuer.clone());
        let request = OcspRequest::new(certificate, issuer, Some(OcspNonce::from_random(random)));
        let asked = timeout(ASK_WITHIN, self.exchange(&request, &endpoint)).await;
        let said = asked.unwrap_or_else(|_| Err(AskError::Slow(endpoint.clone())));
        // Who answers at all is not left in peace, whatever it says.
        self.went(&endpoint, !matches!(said, Err(AskError::Http(..) | AskError::Status(..) | AskError::Slow(..))));
        said
    }

    async fn exchange(&self, request: &OcspRequest, endpoint: &Endpoint) -> Said {
        let failed = |error| AskError::Http(endpoint.clone(), error);
        let headers = [("content-type".to_owned(), REQUEST.to_owned()), ("accept".to_owned(), RESPONSE.to_owned())];
        let body = Outgoing::whole(request.to_der());
        let answer = self.asking.call(Method::POST, endpoint, &endpoint.path, &headers, body).await.map_err(failed)?;
        if answer.status() != 200 {
            return Err(AskError::Status(endpoint.clone(), answer.status()));
        }
        let answer = answer.whole(OCSP_BYTES_MAX).await.map_err(failed)?;
        let accepted = request.accept(&answer, self.settings.require_nonce, now());
        accepted.map_err(|error| AskError::Answer(endpoint.clone(), error))
    }
}

const fn outcome_of(status: OcspStatus) -> AskOutcome {
    match status {
        OcspStatus::Good => AskOutcome::Good,
        OcspStatus::Revoked { .. } => AskOutcome::Revoked,
        OcspStatus::Unknown => AskOutcome::Unknown,
    }
}
