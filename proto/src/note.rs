//! C2SP signed notes: a text, then lines of signatures over exactly that text.
//!
//! Three kinds of lines are known here: `0x01` Ed25519 by a ledger key, `0x04` a timestamped cosignature by a witness key, `0xff` `truc/cms/1`,
//! a detached CMS by a certificate (checked by the signer crate, which this one does not know). Lines of other keys are kept, not judged.
//! Source: C2SP signed-note v1.0.0, tlog-cosignature v1.0.0.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, HEXLOWER};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::{
    Digest, Timestamp,
    json::base64,
    limits::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX},
};

/// Signature type of plain Ed25519 (C2SP signed-note).
const TYPE_ED25519: u8 = 0x01;
/// Signature type of a timestamped Ed25519 cosignature (C2SP tlog-cosignature).
const TYPE_COSIGNATURE: u8 = 0x04;
/// Signature type "named elsewhere" (C2SP signed-note); the name follows it in the key id.
const TYPE_NAMED: u8 = 0xff;
/// The name of our CMS lines, hashed into their key ids.
const CMS_TYPE_NAME: &[u8] = b"truc/cms/1";
/// Longest key name we read; an origin is at most as long.
const KEY_NAME_BYTES_MAX: usize = 255;

/// A text with its signature lines. `Display` writes exactly the bytes that `FromStr` accepts for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One line `— name base64(key id ‖ signature)`.
#[derive(Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name: for a ledger key, its origin.
    pub name: String,
    /// Which key, as a hint: the first four bytes of a hash over name, type and key.
    pub key_id: KeyId,
    /// What that key's type says: 64 bytes of Ed25519, a cosignature, or a detached CMS in DER.
    pub signature: Vec<u8>,
}

/// The short name of a key inside a note; a hint for finding it, never a proof.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

/// Why a text is not a signed note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES_MAX`].
    #[error("the note is longer than {NOTE_BYTES_MAX} bytes")]
    TooLong,
    /// Control characters, or bytes that are not UTF-8.
    #[error("the note is not UTF-8 text without control characters")]
    NotText,
    /// No blank line between text and signatures, or nothing before it.
    #[error("the note has no text ended by a blank line")]
    NoText,
    /// A line after the blank one that is not `— name base64`.
    #[error("line {line} of the signatures is not `— name base64(key id and signature)`")]
    BadSignatureLine {
        /// Counted from 1.
        line: usize,
    },
    /// More than [`NOTE_SIGNATURES_MAX`] lines.
    #[error("the note carries more than {NOTE_SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// Two lines by one key: a reader could not know which of them counts.
    #[error("the note carries two signatures by key {name}+{key_id}")]
    DuplicateSignature {
        /// The key's name.
        name: String,
        /// The key's id.
        key_id: KeyId,
    },
    /// A name with spaces, a plus sign, or nothing in it.
    #[error("{name:?} cannot name a key: it must be 1 to {KEY_NAME_BYTES_MAX} bytes without spaces and plus signs")]
    BadKeyName {
        /// The name refused.
        name: String,
    },
}

impl SignedNote {
    /// A note over `text` that carries no signature yet.
    ///
    /// # Errors
    /// When `text` is empty, does not end in a newline, holds control characters, or is too long.
    pub fn unsigned(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        check_text(&text)?;
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note from the bytes received. Strict: what is accepted, `Display` writes back byte for byte.
    ///
    /// # Errors
    /// [`NoteError`] says what was not as the format demands.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        let (body, lines) = whole.rsplit_once("\n\n").ok_or(NoteError::NoText)?;
        let mut note = Self::unsigned(format!("{body}\n"))?;
        for (index, line) in lines.split_terminator('\n').enumerate() {
            let bad = NoteError::BadSignatureLine { line: index + 1 };
            note.add_signature(parse_line(line).ok_or(bad)?)?;
        }
        // Ends in a newline, and has at least one line: `split_terminator` would forgive both.
        if note.signatures.is_empty() || !lines.ends_with('\n') {
            return Err(NoteError::BadSignatureLine { line: note.signatures.len().max(1) });
        }
        Ok(note)
    }

    /// The signed text, with its last newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, in order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The line by the key of this name and id.
    #[must_use]
    pub fn find(&self, name: &str, key_id: KeyId) -> Option<&NoteSignature> {
        self.signatures.iter().find(|line| line.key_id == key_id && line.name == name)
    }

    /// Adds a line.
    ///
    /// # Errors
    /// When that key has a line already, when the name cannot stand in a note, or when the note is full.
    pub fn add_signature(&mut self, line: NoteSignature) -> Result<(), NoteError> {
        check_name(&line.name)?;
        if self.find(&line.name, line.key_id).is_some() {
            return Err(NoteError::DuplicateSignature { name: line.name, key_id: line.key_id });
        }
        if self.signatures.len() >= NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        self.signatures.push(line);
        Ok(())
    }

    /// Puts another signature into the line of a key that has one, e.g. the same with a time-stamp; false where there is no such line.
    pub fn replace_signature(&mut self, name: &str, key_id: KeyId, signature: Vec<u8>) -> bool {
        let line = self.signatures.iter_mut().find(|line| line.key_id == key_id && line.name == name);
        line.map(|line| line.signature = signature).is_some()
    }

    /// The note with only the line that `keep` picks; for taking other keys' lines off before passing it on.
    #[must_use]
    pub fn with_only(&self, keep: impl Fn(&NoteSignature) -> bool) -> Self {
        let signatures = self.signatures.iter().filter(|line| keep(line)).cloned().collect();
        Self { text: self.text.clone(), signatures }
    }
}

impl FromStr for SignedNote {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [&self.key_id.0, self.signature.as_slice()].concat();
        write!(f, "— {} {}", self.name, BASE64.encode(&blob))
    }
}

impl fmt::Debug for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSignature({}+{}, {} bytes)", self.name, self.key_id, self.signature.len())
    }
}

impl KeyId {
    /// The id of an Ed25519 key (type `0x01`).
    #[must_use]
    pub fn ed25519(name: &str, public_key: &[u8; 32]) -> Self {
        Self::of(name, TYPE_ED25519, &[public_key])
    }

    /// The id of a witness's cosignature key (type `0x04`).
    #[must_use]
    pub fn cosignature(name: &str, public_key: &[u8; 32]) -> Self {
        Self::of(name, TYPE_COSIGNATURE, &[public_key])
    }

    /// The id of a certificate that signs by CMS (type `0xff`, `truc/cms/1`), from the SHA-256 of its DER.
    #[must_use]
    pub fn cms(name: &str, certificate: &Digest) -> Self {
        Self::of(name, TYPE_NAMED, &[CMS_TYPE_NAME, certificate.as_bytes()])
    }

    fn of(name: &str, kind: u8, key: &[&[u8]]) -> Self {
        let start: [&[u8]; 3] = [name.as_bytes(), b"\n", &[kind]];
        let Digest([a, b, c, d, ..]) = Digest::of_parts(&[&start, key].concat());
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// An Ed25519 key that checks notes. Text form (C2SP vkey): `name+key id+base64(0x01 ‖ key)`; as a witness's, with `0x04`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteKey {
    name: String,
    public_key: [u8; 32],
}

/// A text that is not a C2SP verification key of type Ed25519.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 note key `name+key id+base64`")]
pub struct NoteKeyParseError;

/// Why a note does not count as signed by a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteVerifyError {
    /// No line by this key.
    #[error("the note carries no signature by {key}")]
    NotSigned {
        /// The key asked for.
        key: String,
    },
    /// A line by this key that does not hold over the text.
    #[error("the signature by {key} does not hold over the note's text")]
    BadSignature {
        /// The key asked for.
        key: String,
    },
}

impl NoteKey {
    /// A key under its name.
    ///
    /// # Errors
    /// When the name cannot stand in a note.
    pub fn new(name: impl Into<String>, public_key: [u8; 32]) -> Result<Self, NoteError> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self { name, public_key })
    }

    /// The key's name: an origin, or a witness's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The raw Ed25519 key.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// The id that its plain lines carry.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::ed25519(&self.name, &self.public_key)
    }

    /// The id that its cosignature lines carry.
    #[must_use]
    pub fn cosignature_id(&self) -> KeyId {
        KeyId::cosignature(&self.name, &self.public_key)
    }

    /// The line of this key as a witness under `note`, of what such a line carries: eight bytes of time and the signature.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn cosignature(
        &self,
        note: &SignedNote,
        signature: Vec<u8>,
    ) -> Result<(NoteSignature, Timestamp), NoteVerifyError> {
        let line = NoteSignature { name: self.name.clone(), key_id: self.cosignature_id(), signature };
        let at = self.cosigned_at(note.text(), &line)?;
        Ok((line, at))
    }

    /// The text form of a witness's key (C2SP vkey of type `0x04`).
    #[must_use]
    pub fn cosignature_vkey(&self) -> String {
        self.vkey(TYPE_COSIGNATURE, self.cosignature_id())
    }

    /// Reads the text form of a witness's key.
    ///
    /// # Errors
    /// When it is not one of type `0x04`, or its key id is another's.
    pub fn from_cosignature_vkey(text: &str) -> Result<Self, NoteKeyParseError> {
        read_vkey(text, TYPE_COSIGNATURE, Self::cosignature_id)
    }

    fn vkey(&self, kind: u8, id: KeyId) -> String {
        let blob = [&[kind], self.public_key.as_slice()].concat();
        format!("{}+{id}+{}", self.name, BASE64.encode(&blob))
    }

    /// Checks this key's plain line (type `0x01`).
    ///
    /// # Errors
    /// When there is none, or it does not hold.
    pub fn verify(&self, note: &SignedNote) -> Result<(), NoteVerifyError> {
        let line =
            note.find(&self.name, self.key_id()).ok_or_else(|| NoteVerifyError::NotSigned { key: self.to_string() })?;
        self.holds(note.text.as_bytes(), &line.signature)
    }

    /// Checks this key's cosignature line (type `0x04`) and tells when the witness saw the note.
    ///
    /// # Errors
    /// When there is none, or it does not hold.
    pub fn verify_cosignature(&self, note: &SignedNote) -> Result<Timestamp, NoteVerifyError> {
        let line = note
            .find(&self.name, self.cosignature_id())
            .ok_or_else(|| NoteVerifyError::NotSigned { key: self.to_string() })?;
        self.cosigned_at(note.text(), line)
    }

    fn cosigned_at(&self, text: &str, line: &NoteSignature) -> Result<Timestamp, NoteVerifyError> {
        let bad = || NoteVerifyError::BadSignature { key: self.to_string() };
        let (seconds, signature) = line.signature.split_first_chunk::<8>().ok_or_else(bad)?;
        let seconds = u64::from_be_bytes(*seconds);
        self.holds(&cosigned_message(text, seconds), signature)?;
        Ok(Timestamp::from_unix_s(i64::try_from(seconds).map_err(|_| bad())?))
    }

    fn holds(&self, message: &[u8], signature: &[u8]) -> Result<(), NoteVerifyError> {
        let bad = |_| NoteVerifyError::BadSignature { key: self.to_string() };
        UnparsedPublicKey::new(&ED25519, self.public_key).verify(message, signature).map_err(bad)
    }
}

/// A witness's line, of its Ed25519 signature over [`cosigned_message`] and the time that stands in it.
#[must_use]
pub fn cosignature_line(key: &NoteKey, unix_seconds: u64, signature: &[u8; 64]) -> NoteSignature {
    let signature = [unix_seconds.to_be_bytes().as_slice(), signature].concat();
    NoteSignature { name: key.name.clone(), key_id: key.cosignature_id(), signature }
}

/// What a witness signs: C2SP tlog-cosignature, "cosignature/v1".
#[must_use]
pub fn cosigned_message(text: &str, unix_seconds: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {unix_seconds}\n{text}").into_bytes()
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.vkey(TYPE_ED25519, self.key_id()))
    }
}

impl FromStr for NoteKey {
    type Err = NoteKeyParseError;
    fn from_str(text: &str) -> Result<Self, NoteKeyParseError> {
        read_vkey(text, TYPE_ED25519, Self::key_id)
    }
}

fn read_vkey(text: &str, kind: u8, id_of: fn(&NoteKey) -> KeyId) -> Result<NoteKey, NoteKeyParseError> {
    let mut parts = text.splitn(3, '+'); // the base64 may hold plus signs, the first two parts may not
    let (name, id, key) = (parts.next(), parts.next(), parts.next());
    let (Some(name), Some(id), Some(key)) = (name, id, key) else { return Err(NoteKeyParseError) };
    let blob = base64::decode(key.as_bytes()).ok_or(NoteKeyParseError)?;
    let key = blob.split_first().filter(|(found, _)| **found == kind).ok_or(NoteKeyParseError)?.1;
    let key = NoteKey::new(name, key.try_into().map_err(|_| NoteKeyParseError)?).map_err(|_| NoteKeyParseError)?;
    if id_of(&key).to_string() == id { Ok(key) } else { Err(NoteKeyParseError) }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if text.len() > NOTE_BYTES_MAX {
        Err(NoteError::TooLong)
    } else if text.len() < 2 || !text.ends_with('\n') || text == "\n" {
        Err(NoteError::NoText)
    } else if text.chars().any(|c| c.is_control() && c != '\n') {
        Err(NoteError::NotText)
    } else {
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > KEY_NAME_BYTES_MAX || name.chars().any(bad) {
        return Err(NoteError::BadKeyName { name: name.chars().take(KEY_NAME_BYTES_MAX).collect() });
    }
    Ok(())
}

fn parse_line(line: &str) -> Option<NoteSignature> {
    let (name, blob) = line.strip_prefix("— ")?.split_once(' ')?;
    let blob = base64::decode(blob.as_bytes())?;
    let (key_id, signature) = blob.split_first_chunk::<4>()?;
    if signature.is_empty() {
        return None;
    }
    Some(NoteSignature { name: name.to_owned(), key_id: KeyId(*key_id), signature: signature.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    /// From the Go package golang.org/x/mod/sumdb/note: key, text and signature.
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn go_sumdb_note_vector_verifies_and_round_trips() {
        let key: NoteKey = GO_KEY.parse().unwrap();
        let note: SignedNote = GO_NOTE.parse().unwrap();
        assert_eq!(key.to_string(), GO_KEY);
        assert_eq!(note.to_string(), GO_NOTE);
        key.verify(&note).unwrap();
        let other: SignedNote = GO_NOTE.replace("answer", "Answer").parse().unwrap();
        assert!(matches!(key.verify(&other), Err(NoteVerifyError::BadSignature { .. })));
        let stranger = NoteKey::new("PeterNeumann", [7; 32]).unwrap();
        assert!(matches!(stranger.verify(&note), Err(NoteVerifyError::NotSigned { .. })));
    }

    #[track_caller]
    fn refused(text: &str) -> NoteError {
        text.parse::<SignedNote>().unwrap_err()
    }

    #[test]
    fn anything_but_the_one_written_form_is_refused() {
        let line = "— a AAAAAAE=\n";
        assert_eq!(format!("t\n\n{line}").parse::<SignedNote>().unwrap().signatures()[0].signature, [1]);
        assert_eq!(refused("t\n"), NoteError::NoText);
        assert_eq!(refused(&format!("\n\n{line}")), NoteError::NoText);
        assert_eq!(refused(&format!("t\r\n\n{line}")), NoteError::NotText);
        assert!(matches!(refused("t\n\n"), NoteError::BadSignatureLine { .. }));
        assert!(matches!(refused("t\n\n— a AAAAAAE="), NoteError::BadSignatureLine { .. }));
        assert!(matches!(refused("t\n\n- a AAAAAAE=\n"), NoteError::BadSignatureLine { .. }));
        assert!(matches!(refused("t\n\n— a AAAAAAF=\n"), NoteError::BadSignatureLine { .. }), "stray bits in base64");
        assert!(matches!(refused("t\n\n— a AAAAAA==\n"), NoteError::BadSignatureLine { .. }), "no signature bytes");
        assert!(matches!(refused("t\n\n— a+b AAAAAAE=\n"), NoteError::BadKeyName { .. }));
        assert!(matches!(refused(&format!("t\n\n{line}{line}")), NoteError::DuplicateSignature { .. }));
        let many: String = (0..=NOTE_SIGNATURES_MAX).map(|i| format!("— k{i} AAAAAAE=\n")).collect();
        assert_eq!(refused(&format!("t\n\n{many}")), NoteError::TooManySignatures);
    }

    #[test]
    fn blank_lines_belong_to_the_text_up_to_the_last_one() {
        let note: SignedNote = "a\n\nb\n\n— k AAAAAAE=\n".parse().unwrap();
        assert_eq!(note.text(), "a\n\nb\n");
    }

    #[test]
    fn cosignature_tells_its_time_and_binds_it() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        let key = NoteKey::new("witness.example", pair.public_key().as_ref().try_into().unwrap()).unwrap();
        let mut note = SignedNote::unsigned("o\n1\nx\n").unwrap();
        let signed = pair.sign(&cosigned_message(note.text(), 1_700_000_000));
        let mut line = cosignature_line(&key, 1_700_000_000, signed.as_ref().try_into().unwrap());
        note.add_signature(line.clone()).unwrap();
        assert_eq!(key.verify_cosignature(&note).unwrap().unix_s(), 1_700_000_000);
        line.signature[7] ^= 1;
        let mut moved = SignedNote::unsigned(note.text()).unwrap();
        moved.add_signature(line).unwrap();
        assert!(key.verify_cosignature(&moved).is_err());
    }

    #[test]
    fn a_witness_key_and_a_log_key_are_not_read_for_each_other() {
        let key = NoteKey::new("w.example", [3; 32]).unwrap();
        assert_eq!(NoteKey::from_cosignature_vkey(&key.cosignature_vkey()).unwrap(), key);
        assert!(key.cosignature_vkey().parse::<NoteKey>().is_err());
        assert!(NoteKey::from_cosignature_vkey(&key.to_string()).is_err());
    }

    #[test]
    fn key_ids_separate_the_types() {
        let ids = [KeyId::ed25519("k", &[1; 32]), KeyId::cosignature("k", &[1; 32]), KeyId::cms("k", &Digest([1; 32]))];
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        let expected = Digest::of_parts(&[b"k\n\xfftruc/cms/1", &[1; 32]]);
        assert_eq!(ids[2].0, expected.0[..4]);
    }
}
