//! The two halves of a backup's key: the key is the exclusive or of both, so that one says nothing of it.

use std::{fmt, path::Path};

use data_encoding::{BASE64, HEXLOWER};
use ring::rand::{SecureRandom, SystemRandom};
use truc_proto::{BackupHead, SealedHalf, Timestamp, limits::BACKUP_HALF_BYTES_MAX};
use truc_signer::{Certificate, OpeningKey, SealingAlgorithm, open_key, seal_key, stream::FileKey};
use zeroize::Zeroizing;

use super::{BackupError, create_private, failed};

const HEADER: &str = "truc backup half v1";

/// Half of a backup's key, opened. Zeroised when dropped, never printed.
#[derive(Clone)]
pub struct BackupHalf {
    backup: [u8; 16],
    number: u8,
    key: Zeroizing<[u8; 32]>,
}

/// The whole key of one backup.
#[derive(Clone)]
pub struct BackupKey(pub(super) FileKey);

impl fmt::Debug for BackupHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupHalf({} of {}, [redacted])", self.number, HEXLOWER.encode(&self.backup))
    }
}

impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupKey([redacted])")
    }
}

impl BackupHalf {
    /// Opens the half that is sealed to the certificate of `key`.
    ///
    /// # Errors
    /// When none is, or it does not open.
    pub fn open(head: &BackupHead, key: &dyn OpeningKey) -> Result<Self, BackupError> {
        let certificate = key.certificate();
        let half = head.halves.iter().find(|half| half.certificate == certificate.sha256());
        let half = half.ok_or_else(|| BackupError::NotHolder {
            subject: certificate.subject().to_owned(),
            holders: head.halves.iter().map(|half| half.subject.clone()).collect(),
        })?;
        let text = open_key(&half.envelope, key)
            .map_err(|source| BackupError::Open { subject: half.subject.clone(), source })?;
        let path = Path::new(&half.subject);
        Self::of_text(path, &text)
    }

    /// Reads a half that [`BackupHalf::save`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read or is no half.
    pub fn load(path: &Path) -> Result<Self, BackupError> {
        let length = std::fs::metadata(path).map_err(failed("read", path))?.len();
        if length > BACKUP_HALF_BYTES_MAX as u64 {
            return Err(BackupError::NoHalf { path: path.to_owned(), why: "too long".into() });
        }
        let text = Zeroizing::new(std::fs::read(path).map_err(failed("read", path))?);
        Self::of_text(path, &text)
    }

    /// Writes it into a new file that its owner alone may read, to be carried to the machine that is restored, and deleted after that.
    ///
    /// # Errors
    /// When the file is there or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), BackupError> {
        use std::io::Write as _;
        let mut file = create_private(path)?;
        file.write_all(self.to_text().as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write", path))
    }

    /// The key that both halves make.
    ///
    /// # Errors
    /// When they are not the two halves of this backup.
    pub fn join(head: &BackupHead, one: &Self, other: &Self) -> Result<BackupKey, BackupError> {
        if one.backup != head.id || other.backup != head.id {
            return Err(BackupError::Halves { why: "one is of another backup" });
        }
        if one.number == other.number {
            return Err(BackupError::Halves { why: "it is the same half twice; the other administrator's is wanted" });
        }
        Ok(BackupKey(xor(&one.key, &other.key)))
    }

    fn to_text(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(BASE64.encode(&*self.key));
        let backup = HEXLOWER.encode(&self.backup);
        Zeroizing::new(format!("{HEADER}\nbackup {backup}\nhalf {}\nkey {}\n", self.number, *key))
    }

    fn of_text(path: &Path, text: &[u8]) -> Result<Self, BackupError> {
        let read = || {
            let mut lines = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.split('\n');
            (lines.next()? == HEADER).then_some(())?;
            let backup = HEXLOWER.decode(lines.next()?.strip_prefix("backup ")?.as_bytes()).ok()?.try_into().ok()?;
            let number = lines.next()?.strip_prefix("half ")?.parse().ok().filter(|number| (1..=2).contains(number))?;
            let decoded = Zeroizing::new(BASE64.decode(lines.next()?.strip_prefix("key ")?.as_bytes()).ok()?);
            lines.next().is_none().then_some(())?;
            let mut key = Zeroizing::new([0; 32]);
            (decoded.len() == key.len()).then(|| key.copy_from_slice(&decoded))?;
            Some(Self { backup, number, key })
        };
        read().ok_or_else(|| BackupError::NoHalf { path: path.to_owned(), why: "not of the form v1".into() })
    }
}

fn xor(one: &[u8; 32], other: &[u8; 32]) -> FileKey {
    let mut key = Zeroizing::new([0; 32]);
    for (to, (one, other)) in key.iter_mut().zip(one.iter().zip(other)) {
        *to = one ^ other;
    }
    FileKey::from_slice(&*key).expect("the key has 32 bytes")
}

/// A fresh key, and its halves sealed to two administrators.
pub(super) fn draw(
    backup: [u8; 16],
    administrators: [&Certificate; 2],
    now: Timestamp,
) -> Result<(BackupKey, Vec<SealedHalf>), BackupError> {
    let [first, second] = administrators;
    if first.public_key().spki_der() == second.public_key().spki_der() {
        let why = "both certificates are of one key; two persons are to hold one half each".to_owned();
        return Err(BackupError::Administrator { subject: first.subject().to_owned(), why });
    }
    let random = SystemRandom::new();
    let mut halves = [Zeroizing::new([0; 32]), Zeroizing::new([0; 32])];
    for half in &mut halves {
        random.fill(half.as_mut_slice()).map_err(|_| BackupError::Random)?;
    }
    let [one, other] = &halves;
    let key = BackupKey(xor(one, other));
    let mut sealed = Vec::new();
    for ((number, half), certificate) in (1..).zip(halves).zip(administrators) {
        let unfit = |why: String| BackupError::Administrator { subject: certificate.subject().to_owned(), why };
        if now < certificate.not_before() || now > certificate.not_after() {
            let (from, to) = (certificate.not_before(), certificate.not_after());
            return Err(unfit(format!("the certificate is valid from {from} to {to}")));
        }
        let algorithm = SealingAlgorithm::for_certificate(certificate)
            .ok_or_else(|| unfit("its key is neither RSA nor P-256".into()))?;
        let half = BackupHalf { backup, number, key: half };
        sealed.push(SealedHalf {
            subject: certificate.subject().to_owned(),
            certificate: certificate.sha256(),
            envelope: seal_key(half.to_text().as_bytes(), certificate, algorithm)?,
        });
    }
    Ok((key, sealed))
}
