//! The way to a token: its module, a login, and sessions that are used again.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::TokenError;

/// Idle sessions that are kept; tokens have few.
const SESSIONS_KEPT: usize = 8;
/// After a failure the token is left alone for so long: many may be waiting for it.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// A token's PIN, wiped when dropped.
#[derive(Clone)]
pub struct Pin(AuthPin);

impl Pin {
    /// From its text.
    #[must_use]
    pub fn new(text: &Zeroizing<String>) -> Self {
        Self(AuthPin::new(text.as_str().into()))
    }

    fn is(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin([redacted])")
    }
}

/// A token by its label, in whichever slot of the module it is. Connected to when first used, and again when it is back.
pub struct Token {
    module: PathBuf,
    label: String,
    pin: PinFrom,
    state: Mutex<State>,
}

/// Where a PIN comes from.
enum PinFrom {
    /// It was known when the token was named.
    Settings(Pin),
    /// A person gives it while the process runs; none yet: the token is away.
    Person(Mutex<Option<Pin>>),
}

type Tokens = HashMap<(PathBuf, String), Vec<Arc<Token>>>;

fn tokens() -> MutexGuard<'static, Tokens> {
    static TOKENS: OnceLock<Mutex<Tokens>> = OnceLock::new();
    TOKENS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// Counts connections: handles of objects belong to one.
    generation: u64,
    /// The PIN was shown and refused: never shown again.
    refused: Option<TokenError>,
    failed: Option<(Instant, TokenError)>,
}

struct Connection {
    module: Pkcs11,
    slot: Slot,
    /// Stays open, and with it the login.
    _first: Session,
    idle: Vec<Session>,
}

/// No connection was made.
struct Unmade {
    error: TokenError,
    /// The token saw the PIN and did not take it.
    pin_shown: bool,
}

impl From<TokenError> for Unmade {
    fn from(error: TokenError) -> Self {
        Self { error, pin_shown: false }
    }
}

/// What an operation in a session came to nothing for.
pub(super) enum Failure {
    /// No session: see there.
    Token(TokenError),
    /// The token answered, and this.
    Operation(Error),
}

impl Token {
    /// The token of this label, nobody having looked for it yet. All keys in it share one connection, and with it what became of the PIN: the same
    /// PIN gives the same token, one that was refused included; another PIN is tried.
    #[must_use]
    pub fn shared(module: &Path, label: &str, pin: Pin) -> Arc<Self> {
        let same = |from: &PinFrom| matches!(from, PinFrom::Settings(known) if known.is(&pin));
        Self::known_or(module, label, same, || PinFrom::Settings(pin.clone()))
    }

    /// As [`Token::shared`], of which a person gives the PIN later ([`Token::give_pin`]); until then it is away.
    #[must_use]
    pub fn prompted(module: &Path, label: &str) -> Arc<Self> {
        let same = |from: &PinFrom| matches!(from, PinFrom::Person(_));
        Self::known_or(module, label, same, || PinFrom::Person(Mutex::default()))
    }

    /// Those of this label whose PIN a person gives: one for each module that was named for it.
    #[must_use]
    pub fn all_prompted(label: &str) -> Vec<Arc<Self>> {
        let tokens = tokens();
        let named = tokens.iter().filter(|((_, known), _)| known == label).flat_map(|(_, tokens)| tokens);
        named.filter(|token| matches!(token.pin, PinFrom::Person(_))).map(Arc::clone).collect()
    }

    fn known_or(
        module: &Path,
        label: &str,
        same: impl Fn(&PinFrom) -> bool,
        pin: impl FnOnce() -> PinFrom,
    ) -> Arc<Self> {
        let mut tokens = tokens();
        let name = (module.to_owned(), label.to_owned());
        let known = tokens.entry(name.clone()).or_default();
        if let Some(token) = known.iter().find(|token| same(&token.pin)) {
            return Arc::clone(token);
        }
        let token = Arc::new(Self { module: name.0, label: name.1, pin: pin(), state: Mutex::default() });
        known.push(Arc::clone(&token));
        token
    }

    /// Takes a PIN from a person and shows it to the token. One that was refused is not shown again; while the token is open, none is needed.
    ///
    /// # Errors
    /// When the token is away, or does not take it.
    pub fn give_pin(&self, pin: Pin) -> Result<(), TokenError> {
        if let PinFrom::Person(given) = &self.pin
            && self.lock().connection.is_none()
        {
            let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
            if !given.as_ref().is_some_and(|known| known.is(&pin)) {
                *given = Some(pin);
                drop(given);
                let mut state = self.lock();
                (state.refused, state.failed) = (None, None);
            }
        }
        self.connect()
    }

    fn pin(&self) -> Option<Pin> {
        match &self.pin {
            PinFrom::Settings(pin) => Some(pin.clone()),
            PinFrom::Person(given) => given.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Its label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Connects and logs in, if that is not done yet.
    ///
    /// # Errors
    /// When the module, the token or its PIN is not of use now.
    pub fn connect(&self) -> Result<(), TokenError> {
        self.session().map(|(session, generation)| self.give_back(session, generation))
    }

    /// Runs `operate` in a session of its own. When the connection turns out to be gone, it is made anew and `operate` runs once more: it must be
    /// something that may happen twice.
    pub(super) fn with<T>(&self, operate: impl Fn(&Session, u64) -> Result<T, Error>) -> Result<T, Failure> {
        let mut again = true;
        loop {
            let (session, generation) = self.session().map_err(Failure::Token)?;
            match operate(&session, generation) {
                Ok(value) => {
                    self.give_back(session, generation);
                    return Ok(value);
                }
                Err(error) if is_gone(&error) || (may_be_gone(&error) && session.get_session_info().is_err()) => {
                    drop(session);
                    let away = self.away(&error);
                    self.lost(generation, (!again).then(|| away.clone()));
                    if !again {
                        return Err(Failure::Token(away));
                    }
                    again = false;
                }
                Err(error) => {
                    self.give_back(session, generation);
                    return Err(Failure::Operation(error));
                }
            }
        }
    }

    fn session(&self) -> Result<(Session, u64), TokenError> {
        let mut state = self.lock();
        if let Some(refused) = &state.refused {
            return Err(refused.clone());
        }
        if let Some(connection) = &mut state.connection {
            let idle = connection.idle.pop();
            let session = idle.map_or_else(|| connection.module.open_ro_session(connection.slot), Ok);
            match session {
                Ok(session) => return Ok((session, state.generation)),
                // Sessions ran out: others give theirs back.
                Err(error @ Error::Pkcs11(RvError::SessionCount, _)) => return Err(self.away(&error)),
                Err(_) => state.connection = None,
            }
        }
        if let Some((at, error)) = &state.failed
            && at.elapsed() < LEFT_ALONE
        {
            return Err(error.clone());
        }
        match self.make() {
            Ok((connection, session)) => {
                state.connection = Some(connection);
                state.failed = None;
                state.generation += 1;
                Ok((session, state.generation))
            }
            Err(Unmade { error, pin_shown }) => {
                if pin_shown {
                    state.refused = Some(error.clone());
                }
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn make(&self) -> Result<(Connection, Session), Unmade> {
        let Some(pin) = self.pin() else {
            let why = format!(
                "nobody has given its PIN since the start; a cipher administrator does, with `truc pin {:?}`",
                self.label
            );
            return Err(TokenError::Away { token: self.label.clone(), why }.into());
        };
        let away = |error: Error| Unmade::from(self.away(&error));
        let module = module(&self.module)?;
        let slots = module.get_slots_with_token().map_err(away)?;
        let ours = |slot: &Slot| module.get_token_info(*slot).is_ok_and(|info| info.label() == self.label);
        let slots: Vec<Slot> = slots.into_iter().filter(ours).collect();
        let [slot] = slots.as_slice() else {
            if slots.is_empty() {
                return Err(TokenError::Away { token: self.label.clone(), why: "no slot holds it".into() }.into());
            }
            return Err(TokenError::Ambiguous { token: self.label.clone(), count: slots.len() }.into());
        };
        let info = module.get_token_info(*slot).map_err(away)?;
        let refused = |why: String| TokenError::Pin { token: self.label.clone(), why };
        if info.user_pin_locked() {
            let why = "it is locked after too many wrong PINs; its administrator unlocks it with the SO PIN";
            return Err(refused(why.into()).into());
        }
        if info.user_pin_final_try() {
            return Err(
                refused("one wrong PIN more would lock it; log in by hand with the right one first".into()).into()
            );
        }
        let session = module.open_ro_session(*slot).map_err(away)?;
        match session.login(UserType::User, Some(&pin.0)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(error) if is_gone(&error) => return Err(away(error)),
            Err(error) => return Err(Unmade { error: refused(error.to_string()), pin_shown: true }),
        }
        let first = module.open_ro_session(*slot).map_err(away)?;
        Ok((Connection { module, slot: *slot, _first: first, idle: Vec::new() }, session))
    }

    fn give_back(&self, session: Session, generation: u64) {
        let mut state = self.lock();
        let current = state.generation == generation;
        if let Some(connection) = state.connection.as_mut().filter(|_| current)
            && connection.idle.len() < SESSIONS_KEPT
        {
            connection.idle.push(session);
        }
    }

    /// The connection is no more; with `error` it is left alone for a while, else made anew at once.
    fn lost(&self, generation: u64, error: Option<TokenError>) {
        let mut state = self.lock();
        if state.generation == generation {
            state.connection = None;
            state.failed = error.map(|error| (Instant::now(), error));
        }
    }

    pub(super) fn away(&self, error: &Error) -> TokenError {
        TokenError::Away { token: self.label.clone(), why: error.to_string() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, PIN [redacted])", self.label)
    }
}

/// Whether the token, or the way to it, is gone; everything else is an answer.
fn is_gone(error: &Error) -> bool {
    use RvError as E;
    let Error::Pkcs11(code, _) = error else { return false };
    matches!(
        code,
        E::DeviceRemoved
            | E::TokenNotPresent
            | E::TokenNotRecognized
            | E::SlotIdInvalid
            | E::SessionClosed
            | E::SessionHandleInvalid
            | E::UserNotLoggedIn
            | E::CryptokiNotInitialized
            | E::ObjectHandleInvalid
            | E::KeyHandleInvalid
    )
}

/// What tokens also say to a ciphertext that a stranger made up: only whether the session lives tells.
const fn may_be_gone(error: &Error) -> bool {
    use RvError as E;
    matches!(error, Error::Pkcs11(E::GeneralError | E::FunctionFailed | E::DeviceError | E::DeviceMemory, _))
}

/// A module is loaded and initialised once in a process, and stays.
fn module(path: &Path) -> Result<Pkcs11, TokenError> {
    static MODULES: OnceLock<Mutex<HashMap<PathBuf, Pkcs11>>> = OnceLock::new();
    let mut modules = MODULES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let refused = |error: Error| TokenError::Module { path: path.to_owned(), why: error.to_string() };
    let module = Pkcs11::new(path).map_err(refused)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(refused(error)),
    }
    modules.insert(path.to_owned(), module.clone());
    Ok(module)
}
