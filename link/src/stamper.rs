//! Asks time-stamping authorities over HTTP (RFC 3161 3.4): several with fall-back, each passed over for a while once it failed.
//!
//! Whatever is handed back was verified and will be believed by whoever trusts the same authorities. Nothing here waits longer than the budget.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;
use truc_proto::{
    Timestamp, chain,
    limits::{TIME_STAMP_BYTES_MAX, TIME_STAMP_SERVERS_MAX},
};
use truc_signer::{
    Certificate, TimeStamp, TimeStampError, TimeStampNonce, TimeStampPolicy, TimeStampRequest, TrustStore,
};

use crate::{
    breaker::{Breaker, PAUSE},
    endpoint::{Endpoint, EndpointError},
    http::{Bounds, Client, HttpError, Method, Outgoing},
};

const HEAD_BYTES_MAX: usize = 16 * 1024;
const QUERY: &str = "application/timestamp-query";
const REPLY: &str = "application/timestamp-reply";

/// A time-stamping authority, as configured: `http://tsa.example/`, with `=1.2.704.1.1` behind it where it is to stamp under a policy.
///
/// In the clear over the network is no harm here: tokens are signed, and what is asked about is a hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StampServer {
    /// Where it answers.
    pub endpoint: Endpoint,
    /// The policy asked for; none: its own.
    pub policy: Option<TimeStampPolicy>,
}

/// Why a text names no time-stamping authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StampServerError {
    /// The address.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] truc_signer::timestamp::TimeStampPolicyError),
}

impl StampServer {
    /// From its address and a policy.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn new(url: &str, policy: Option<&str>) -> Result<Self, StampServerError> {
        Ok(Self { endpoint: Endpoint::clear_too(url)?, policy: policy.map(str::parse).transpose()? })
    }
}

impl FromStr for StampServer {
    type Err = StampServerError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once('=') {
            Some((url, policy)) if policy.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
                Self::new(url, Some(policy))
            }
            _ => Self::new(text, None),
        }
    }
}

impl fmt::Display for StampServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)?;
        self.policy.map_or(Ok(()), |policy| write!(f, "={policy}"))
    }
}

/// Why there is no time-stamp.
#[derive(Debug, thiserror::Error)]
pub enum StampError {
    /// None of them gave one.
    #[error("no time-stamp: {}", .0.iter().map(|(server, why)| format!("{server}: {}", chain(why))).collect::<Vec<_>>().join("; "))]
    NoneGave(Vec<(Endpoint, ServerError)>),
    /// They failed a moment ago and are left in peace.
    #[error("no time-stamp: every authority failed a moment ago")]
    Resting,
    /// The operating system.
    #[error("the operating system gave no random bytes")]
    Random,
}

/// What one authority did.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Not reached, or broke off.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Another status than 200.
    #[error("it answered with HTTP status {0}")]
    Status(u16),
    /// Too slow.
    #[error("no answer within {} ms", .0.as_millis())]
    Slow(Duration),
    /// What it answered is not to be believed.
    #[error("its answer is not accepted")]
    Answer(#[source] TimeStampError),
}

/// A token that was verified, to be embedded.
#[derive(Debug, Clone)]
pub struct Stamped {
    /// Its DER.
    pub token: Vec<u8>,
    /// What it says.
    pub stamp: TimeStamp,
}

/// How long authorities are waited for, and left in peace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StampTimes {
    /// How long one time-stamp may take altogether, all authorities tried.
    pub whole: Duration,
    /// How long one authority may take while others are left.
    pub one: Duration,
    /// How long an authority that failed is passed over; doubles up to the second.
    pub pause: (Duration, Duration),
}

impl Default for StampTimes {
    fn default() -> Self {
        Self { whole: Duration::from_secs(3), one: Duration::from_millis(1_200), pause: PAUSE }
    }
}

/// The authorities of one process, in the order in which they are asked.
pub struct Stamper {
    client: Client,
    times: StampTimes,
    servers: Vec<(StampServer, Mutex<State>)>,
}

#[derive(Default)]
struct State {
    breaker: Breaker,
    record: ServerRecord,
}

/// What an authority did since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ServerRecord {
    /// When it last gave a time-stamp.
    pub last_success: Option<Timestamp>,
    /// How often it was asked and gave none.
    pub failures: u64,
}

impl Stamper {
    /// Asks these, those over https under the certificates `anchors`.
    ///
    /// # Errors
    /// When one of the anchors cannot be used.
    pub fn new(
        servers: impl IntoIterator<Item = StampServer>,
        anchors: &[Certificate],
        agent: &'static str,
    ) -> Result<Self, rustls::Error> {
        Self::with_times(servers, anchors, agent, StampTimes::default())
    }

    /// As [`Stamper::new`], with other times.
    ///
    /// # Errors
    /// As [`Stamper::new`].
    pub fn with_times(
        servers: impl IntoIterator<Item = StampServer>,
        anchors: &[Certificate],
        agent: &'static str,
        times: StampTimes,
    ) -> Result<Self, rustls::Error> {
        let bounds = Bounds { stall: times.whole, whole: times.whole, head: HEAD_BYTES_MAX };
        let servers = servers.into_iter().take(TIME_STAMP_SERVERS_MAX).map(|server| (server, Mutex::default()));
        Ok(Self { client: Client::new(anchors, agent, bounds)?, times, servers: servers.collect() })
    }

    /// A time-stamp over a signature value that those who trust `trust` believe.
    ///
    /// # Errors
    /// When none gave one within the budget, with what each did.
    pub async fn stamp(&self, signature: &[u8], trust: &TrustStore) -> Result<Stamped, StampError> {
        let until = Instant::now() + self.times.whole;
        let mut failed = Vec::new();
        for (n, (server, state)) in self.servers.iter().enumerate() {
            let now = Instant::now();
            if now >= until {
                break;
            }
            let state = || state.lock().unwrap_or_else(PoisonError::into_inner);
            if state().breaker.rests(now) {
                continue;
            }
            // The last one left may take what is left.
            let within = if n + 1 == self.servers.len() { until - now } else { self.times.one.min(until - now) };
            let mut random = [0; 16];
            SystemRandom::new().fill(&mut random).map_err(|_| StampError::Random)?;
            let request = TimeStampRequest::of_signature(signature, TimeStampNonce::from_random(random), server.policy);
            let asked = tokio::time::timeout(within, self.ask(server, &request, trust)).await;
            match asked.unwrap_or(Err(ServerError::Slow(within))) {
                Ok(stamped) => {
                    let mut state = state();
                    state.breaker = Breaker::default();
                    state.record.last_success = Some(self::now());
                    return Ok(stamped);
                }
                Err(error) => {
                    let mut state = state();
                    state.breaker.fail_within(Instant::now(), self.times.pause);
                    state.record.failures += 1;
                    failed.push((server.endpoint.clone(), error));
                }
            }
        }
        Err(if failed.is_empty() { StampError::Resting } else { StampError::NoneGave(failed) })
    }

    /// Whether all of them failed a moment ago and are left in peace: asking now would give nothing.
    #[must_use]
    pub fn rests(&self) -> bool {
        let now = Instant::now();
        self.servers.iter().all(|(_, state)| state.lock().unwrap_or_else(PoisonError::into_inner).breaker.rests(now))
    }

    /// What each did since the start, by its address without query, with the policy that is asked for.
    #[must_use]
    pub fn records(&self) -> BTreeMap<String, ServerRecord> {
        let mut records = BTreeMap::<String, ServerRecord>::new();
        for (server, state) in &self.servers {
            let (mut server, one) = (server.clone(), state.lock().unwrap_or_else(PoisonError::into_inner).record);
            // What stands behind `?` may be a secret between it and us.
            server.endpoint.path.truncate(server.endpoint.path.find('?').unwrap_or(server.endpoint.path.len()));
            let all = records.entry(server.to_string()).or_default();
            all.last_success = all.last_success.max(one.last_success);
            all.failures += one.failures;
        }
        records
    }

    async fn ask(
        &self,
        server: &StampServer,
        request: &TimeStampRequest,
        trust: &TrustStore,
    ) -> Result<Stamped, ServerError> {
        let headers = [("content-type".to_owned(), QUERY.to_owned()), ("accept".to_owned(), REPLY.to_owned())];
        let endpoint = &server.endpoint;
        let body = Outgoing::whole(request.to_der());
        let answer = self.client.call(Method::POST, endpoint, &endpoint.path, &headers, body).await?;
        if answer.status() != 200 {
            return Err(ServerError::Status(answer.status()));
        }
        let answer = answer.whole(TIME_STAMP_BYTES_MAX).await?;
        let (token, stamp) = request.accept(&answer, trust, now()).map_err(ServerError::Answer)?;
        Ok(Stamped { token, stamp })
    }
}

impl fmt::Debug for Stamper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.servers.iter().map(|(server, _)| server.to_string())).finish()
    }
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
