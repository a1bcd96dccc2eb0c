//! A ledger that cannot go on under its name goes on under a new origin: what its peers know of the old one, and the request to be bound anew.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use truc_ledger::{
    LedgerKey,
    fork::{HeldCheckpoint, HeldError},
};
use truc_proto::{
    AxisId, BindingRequest, Checkpoint, Digest, Entry, KeyUse, Lane, NodeEntry, NodeId, NoteError, Raw, SignedBinding,
    SignedNote, Timestamp, WitnessKey, limits::NOTE_BYTES_MAX,
};
use truc_signer::{Certificate, SigningKey};

use crate::{MakeBindingError, bind_certificate, ledger_origin, make_binding};

/// A peer's newest checkpoint of this machine's ledger that the ledger itself does not reach any more; in the store.
const BEHIND: &str = "behind.note";

/// Why what a peer has shown cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum LastKnownError {
    /// The file system.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a note.
    #[error("it is no signed note")]
    Note(#[from] NoteError),
    /// Not this ledger's.
    #[error("it is no checkpoint of this ledger")]
    Held(#[from] HeldError),
}

/// Keeps what a peer has shown; it takes the place of an older one.
///
/// # Errors
/// When it cannot be written.
pub fn keep_behind(store: &Path, note: &SignedNote) -> io::Result<()> {
    let (path, temporary) = (store.join(BEHIND), store.join(format!("{BEHIND}.tmp")));
    let mut file = File::create(&temporary)?;
    file.write_all(note.to_string().as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(store)?.sync_all()
}

/// The last checkpoint that a peer has shown of the ledger with this key, beyond what the ledger has; and the hash of the note.
///
/// # Errors
/// When there is something that is no such checkpoint.
pub fn last_known(store: &Path, key: &LedgerKey) -> Result<Option<(Checkpoint, Digest)>, LastKnownError> {
    let path = store.join(BEHIND);
    let failed = |source| LastKnownError::Io { path: path.clone(), source };
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(file) if file.len() > NOTE_BYTES_MAX as u64 => return Err(failed(io::Error::other("too long for a note"))),
        Ok(_) => {}
    }
    let bytes = fs::read(&path).map_err(failed)?;
    let held = HeldCheckpoint::check(SignedNote::parse(&bytes)?, key.public())?;
    Ok(Some((held.checkpoint().clone(), Digest::of(&bytes))))
}

/// Removes it: the ledger goes on under a new origin.
///
/// # Errors
/// When it cannot be removed.
pub fn forget_behind(store: &Path) -> io::Result<()> {
    match fs::remove_file(store.join(BEHIND)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A machine whose ledger begins a new origin, or whose keys have changed: then the origin is the one it has.
pub struct NewOrigin<'a> {
    /// Trust domain.
    pub axis: &'a AxisId,
    /// Lane.
    pub lane: Lane,
    /// Its id.
    pub id: &'a NodeId,
    /// Whether it is the relay.
    pub relay: bool,
    /// The new epoch.
    pub epoch: u64,
    /// The new ledger key.
    pub ledger: &'a LedgerKey,
    /// The witness key, where it has one.
    pub witness: Option<&'a LedgerKey>,
    /// Sign checkpoints: one, or those that follow each other.
    pub nodes: &'a [&'a dyn SigningKey],
    /// Of the connections, likewise.
    pub tls: &'a [Certificate],
}

impl NewOrigin<'_> {
    /// The request to be bound, for the operator.
    ///
    /// # Errors
    /// When a key is away or refuses.
    pub fn request(&self, now: Timestamp) -> Result<Raw<SignedBinding>, MakeBindingError> {
        let signing = self.nodes.iter().map(|key| bind_certificate(key.certificate(), vec![KeyUse::Node]));
        let mut certificates: Vec<_> = signing.collect();
        for certificate in self.tls {
            match certificates.iter_mut().find(|bound| bound.sha256 == certificate.sha256()) {
                Some(both) => both.uses.push(KeyUse::Tls),
                None => certificates.push(bind_certificate(certificate, vec![KeyUse::Tls])),
            }
        }
        let entry = NodeEntry {
            id: self.id.clone(),
            lane: self.lane,
            origin: ledger_origin(self.axis, self.lane, self.id, self.epoch),
            epoch: self.epoch,
            ledger_key: *self.ledger.public().public_key(),
            witness_key: self.witness.map(|witness| WitnessKey(*witness.public().public_key())),
            certificates,
        };
        let entry = if self.relay { Entry::Relay(entry) } else { Entry::Node(entry) };
        let (axis, lane) = (self.axis.clone(), self.lane);
        let request = BindingRequest { axis, lane, time: now, entries: vec![entry] };
        make_binding(request, self.ledger, self.nodes)
    }
}

impl std::fmt::Debug for NewOrigin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewOrigin({}, epoch {})", self.id, self.epoch)
    }
}
