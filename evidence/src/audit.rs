//! The audit of a directory: what one code was bound to in every version there ever was, written by the relay, verified by anybody off line
//! (docs/FORMATS.md, "Directory audit").

use std::io::{self, BufRead, Read as _};

use bytes::Bytes;
use data_encoding::BASE64;
use ring::signature::{ED25519, UnparsedPublicKey};
use truc_ledger::{
    LedgerKey,
    merkle::{leaf_hash, verify_inclusion},
};
use truc_proto::{
    AuditEnd, AuditedVersion, CertificateBinding, Checkpoint, Digest, DirectoryAuditHead, Entry, Hasher, KeyUse,
    NodeId, NoteKey, ProvenEntry, Raw, RootStatement, SignedNote, Statement, StatementError, Timestamp,
    json::base64,
    limits::{AUDIT_BINDINGS_MAX, AUDIT_STATEMENT_BYTES_MAX, AUDIT_VERSIONS_MAX},
};
use truc_signer::TrustStore;

use crate::{
    DirectoryError, DirectoryReadError, PinnedOperator, VersionFile,
    directory::{check_domain, skew, verify_operator},
};

const HEADER: &str = "truc/directory-audit/1";
/// Longest line: a word, base64 of the longest statement, a line feed.
const LINE_BYTES_MAX: u64 = AUDIT_STATEMENT_BYTES_MAX as u64 / 3 * 4 + 64;

/// Writes the lines of an audit, one by one.
#[derive(Debug)]
pub struct AuditLines {
    key: String,
    relay: NodeId,
    versions: u64,
    /// Of all lines so far.
    hash: Hasher,
}

/// Why a line of an audit cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum AuditWriteError {
    /// The version's copy on the disk.
    #[error("a version of the directory cannot be read")]
    Read(#[from] DirectoryReadError),
    /// Longer than a line may be.
    #[error("a version's part is too long for an audit")]
    Statement(#[from] StatementError),
    /// The version names no such relay.
    #[error("the last version has no entry of relay {0}")]
    NoRelay(NodeId),
}

impl AuditLines {
    /// Begins: gives the first lines.
    ///
    /// # Errors
    /// When the checkpoint is longer than a statement may be.
    pub fn start(head: DirectoryAuditHead) -> Result<(Self, Vec<u8>), AuditWriteError> {
        let (key, relay) = (format!("agency/{}", head.code), head.relay.clone());
        let mut text = format!("{HEADER}\n").into_bytes();
        text.extend(line("head", head)?);
        let mut hash = Hasher::default();
        hash.update(&text);
        Ok((Self { key, relay, versions: 0, hash }, text))
    }

    /// The line of the next version, whose root statement is leaf `index` of the relay's ledger with `proof` to the head's checkpoint.
    ///
    /// # Errors
    /// When the version's copy cannot be read.
    pub fn version(
        &mut self,
        version: &VersionFile,
        index: u64,
        proof: Vec<Digest>,
    ) -> Result<Vec<u8>, AuditWriteError> {
        let (entry, before, after) = match version.proven(&self.key)? {
            Ok(entry) => (Some(entry), None, None),
            Err(neighbours) => (None, neighbours.before, neighbours.after),
        };
        self.versions += 1;
        let (root, cms) = (version.statement().to_vec(), version.cms().to_vec());
        let line = line("version", AuditedVersion { root, cms, index, proof, entry, before, after })?;
        self.hash.update(&line);
        Ok(line)
    }

    /// The last line; `last` is the last version shown, `ledger` the relay's key, which signs all of it.
    ///
    /// # Errors
    /// When the version's copy cannot be read or names no such relay.
    pub fn end(self, last: &VersionFile, ledger: &LedgerKey) -> Result<Vec<u8>, AuditWriteError> {
        let relay = last.proven(&format!("relay/{}", self.relay))?.map_err(|_| AuditWriteError::NoRelay(self.relay))?;
        let ledger_signature = ledger.sign_message(HEADER, signed_text(self.hash).as_bytes());
        line("end", AuditEnd { versions: self.versions, relay, ledger_signature })
    }
}

/// What the relay signs of the lines before the last one.
fn signed_text(lines: Hasher) -> String {
    format!("sha256 {}", lines.finish())
}

fn line<T: Statement>(word: &str, statement: T) -> Result<Vec<u8>, AuditWriteError> {
    let statement = Raw::write(statement)?;
    Ok(format!("{word} {}\n", BASE64.encode(statement.bytes())).into_bytes())
}

/// A directory version by its number and when it was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionAt {
    /// Its number.
    pub version: u64,
    /// When the operator issued it.
    pub issued: Timestamp,
}

/// A certificate that was bound to the code, unchanged over a run of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedBinding {
    /// The binding as it stood.
    pub binding: CertificateBinding,
    /// The code's node then.
    pub node: Option<NodeId>,
    /// The first version that says so.
    pub from: VersionAt,
    /// The version that no longer says so; none where the last one shown still does.
    pub until: Option<VersionAt>,
}

/// A verified audit: every version from the first to the last, none left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryAudit {
    /// What it is about.
    pub head: DirectoryAuditHead,
    /// The relay's checkpoint, whose ledger key's line holds.
    pub checkpoint: Checkpoint,
    /// How many versions there are.
    pub versions: u64,
    /// The first one.
    pub first: VersionAt,
    /// The last one.
    pub last: VersionAt,
    /// SHA-256 of the last one's root statement.
    pub last_statement: Digest,
    /// The code's names in the last version that has it.
    pub names: Vec<String>,
    /// Every binding there ever was, in the order in which they began.
    pub bindings: Vec<AuditedBinding>,
}

/// Why an audit does not hold. Nothing of it may then be believed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file.
    #[error("the audit cannot be read")]
    Io(#[from] io::Error),
    /// Not its form.
    #[error("line {line} of the audit is refused: {why}")]
    Form {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// A version's signature or domain.
    #[error("version {version} of the directory is refused")]
    Version {
        /// Which.
        version: u64,
        /// Why.
        source: DirectoryError,
    },
    /// The versions are no whole chain.
    #[error("version {version} does not continue the versions before: {why}")]
    Chain {
        /// Which.
        version: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A proof.
    #[error("version {version}: {what} is not proven: {why}")]
    Unproven {
        /// Which version.
        version: u64,
        /// What was to be proven.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The relay's checkpoint.
    #[error("the relay's checkpoint is refused: {0}")]
    Checkpoint(String),
    /// When it says that it was made.
    #[error("it says that it was made {made}: before its last version, of {issued}, or after now, {now}")]
    Made {
        /// Its word.
        made: Timestamp,
        /// Of its last version.
        issued: Timestamp,
        /// When it was looked at.
        now: Timestamp,
    },
    /// The relay's signature over all of it.
    #[error("the relay's ledger key did not sign these lines: something was left out, put in or changed")]
    Signature,
}

impl DirectoryAudit {
    /// Verifies an audit line by line, in little memory.
    ///
    /// # Errors
    /// [`AuditError`]: the first thing that does not hold.
    pub fn verify(
        audit: impl BufRead,
        operator: &PinnedOperator,
        trust: &TrustStore,
        now: Timestamp,
    ) -> Result<Self, AuditError> {
        let mut lines = Lines { from: audit, number: 0, line: Vec::new(), hash: Hasher::default() };
        if !lines.next()? || lines.line != HEADER.as_bytes() {
            return Err(lines.refused("it is not `truc/directory-audit/1`"));
        }
        if !lines.next()? {
            return Err(lines.refused("there is no head"));
        }
        let head = lines.statement::<DirectoryAuditHead>("head")?;
        let (note, checkpoint) = Checkpoint::parse_note(head.checkpoint.as_bytes())
            .map_err(|error| AuditError::Checkpoint(error.to_string()))?;
        let mut reading = Reading { head, note, checkpoint, operator, trust, now, at: None, audit: Found::default() };
        loop {
            if !lines.next()? {
                return Err(lines.refused("it is cut: its last line is missing"));
            }
            if !lines.line.starts_with(b"version ") {
                break;
            }
            if reading.audit.versions == AUDIT_VERSIONS_MAX {
                return Err(lines.refused("there are more versions than an audit may have"));
            }
            let version = lines.statement::<AuditedVersion>("version")?;
            reading.take(&version)?;
        }
        let end = lines.statement::<AuditEnd>("end")?;
        let signed = signed_text(lines.hash_before());
        if lines.next()? {
            return Err(lines.refused("something follows the end"));
        }
        reading.finish(&end, &signed)
    }

    /// The bindings that the version in force at `at` stated; none when there was no version yet.
    pub fn stated_at(&self, at: Timestamp) -> impl Iterator<Item = &AuditedBinding> {
        let stated = move |binding: &&AuditedBinding| {
            binding.from.issued <= at && binding.until.is_none_or(|until| at < until.issued)
        };
        self.bindings.iter().filter(stated)
    }

    /// Those of [`DirectoryAudit::stated_at`] that could be used at `at` for `key_use`, as the directory says.
    pub fn in_force_at(&self, key_use: KeyUse, at: Timestamp) -> impl Iterator<Item = &AuditedBinding> {
        self.stated_at(at).filter(move |bound| bound.binding.serves(key_use, at))
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    versions: u64,
    first: Option<VersionAt>,
    names: Vec<String>,
    bindings: Vec<AuditedBinding>,
}

struct Reading<'a> {
    head: DirectoryAuditHead,
    note: SignedNote,
    checkpoint: Checkpoint,
    operator: &'a PinnedOperator,
    trust: &'a TrustStore,
    now: Timestamp,
    /// The version before, and its leaf's index.
    at: Option<(Raw<RootStatement>, u64)>,
    audit: Found,
}

impl Reading<'_> {
    fn take(&mut self, version: &AuditedVersion) -> Result<(), AuditError> {
        let number = self.audit.versions + 1;
        let form = |source: StatementError| AuditError::Version { version: number, source: source.into() };
        let root = Raw::<RootStatement>::parse(version.root.clone()).map_err(form)?;
        let refused = |source| AuditError::Version { version: root.version, source };
        check_domain(&root, &self.head.axis, self.head.lane, self.now).map_err(refused)?;
        verify_operator(&root, &version.cms, self.operator, self.trust, self.now).map_err(refused)?;
        self.check_chain(&root, version.index)?;
        let unproven = |what, why: String| AuditError::Unproven { version: root.version, what, why };
        let leaf = leaf_hash(&version.root);
        let Checkpoint { size, root: tree, .. } = &self.checkpoint;
        verify_inclusion(&leaf, version.index, *size, &version.proof, tree)
            .map_err(|error| unproven("its place in the relay's ledger", error.to_string()))?;
        let (node, certificates) = match &version.entry {
            Some(entry) => self.entry(&root, entry)?,
            None => {
                self.absent(&root, version)?;
                (None, Vec::new())
            }
        };
        let here = VersionAt { version: root.version, issued: root.issued };
        self.audit.versions = number;
        self.audit.first.get_or_insert(here);
        self.note_bindings(here, node.as_ref(), certificates)?;
        self.at = Some((root, version.index));
        Ok(())
    }

    /// Hash chain from the first version on: none is left out.
    fn check_chain(&self, root: &Raw<RootStatement>, index: u64) -> Result<(), AuditError> {
        let broken = |why| Err(AuditError::Chain { version: root.version, why });
        match &self.at {
            None if root.version != 1 => broken("the audit does not begin with version 1"),
            None if index != 0 => broken("version 1 is not the first leaf of the relay's ledger"),
            None => Ok(()),
            Some((before, _)) if root.previous != Some(before.digest()) => broken("it names another one before it"),
            Some((before, _)) if root.version <= before.version || root.issued < before.issued => {
                broken("it is no later one")
            }
            Some((_, at)) if index <= *at => broken("its leaf stands before the earlier version's"),
            Some(_) => Ok(()),
        }
    }

    fn entry(
        &mut self,
        root: &RootStatement,
        entry: &ProvenEntry,
    ) -> Result<(Option<NodeId>, Vec<CertificateBinding>), AuditError> {
        match in_tree(root, entry)? {
            Entry::Agency(agency) if agency.code == self.head.code => {
                self.audit.names = agency.names;
                Ok((agency.node, agency.certificates))
            }
            other => {
                let why = format!("{} is shown", other.key());
                Err(AuditError::Unproven { version: root.version, what: "the code's entry", why })
            }
        }
    }

    /// Neighbours that leave no room between them.
    fn absent(&self, root: &RootStatement, version: &AuditedVersion) -> Result<(), AuditError> {
        let key = format!("agency/{}", self.head.code);
        let unproven = |why: &str| AuditError::Unproven {
            version: root.version,
            what: "that the code has no entry",
            why: why.to_owned(),
        };
        let behind = match &version.before {
            Some(before) => {
                if in_tree(root, before)?.key() >= key {
                    return Err(unproven("the entry before its place lies behind it"));
                }
                before.index + 1
            }
            None => 0,
        };
        match &version.after {
            Some(after) => {
                if in_tree(root, after)?.key() <= key {
                    return Err(unproven("the entry behind its place lies before it"));
                }
                if after.index != behind {
                    return Err(unproven("the entries shown are no neighbours"));
                }
            }
            None if behind != root.size => return Err(unproven("the entry before its place is not the last one")),
            None => {}
        }
        Ok(())
    }

    fn note_bindings(
        &mut self,
        here: VersionAt,
        node: Option<&NodeId>,
        certificates: Vec<CertificateBinding>,
    ) -> Result<(), AuditError> {
        let same = |bound: &AuditedBinding, binding: &CertificateBinding| {
            bound.until.is_none() && bound.binding == *binding && bound.node.as_ref() == node
        };
        for bound in self.audit.bindings.iter_mut().filter(|bound| bound.until.is_none()) {
            if !certificates.iter().any(|binding| same(bound, binding)) {
                bound.until = Some(here);
            }
        }
        for binding in certificates {
            if self.audit.bindings.iter().any(|bound| same(bound, &binding)) {
                continue;
            }
            if self.audit.bindings.len() == AUDIT_BINDINGS_MAX {
                let why = "the code's bindings changed more often than an audit tells".into();
                return Err(AuditError::Unproven { version: here.version, what: "the code's bindings", why });
            }
            self.audit.bindings.push(AuditedBinding { binding, node: node.cloned(), from: here, until: None });
        }
        Ok(())
    }

    fn finish(self, end: &AuditEnd, signed: &str) -> Result<DirectoryAudit, AuditError> {
        let Self { head, note, checkpoint, at, now, audit: Found { versions, first, names, bindings }, .. } = self;
        let (Some((root, _)), Some(first)) = (at, first) else {
            return Err(AuditError::Chain { version: 1, why: "there is none" });
        };
        if versions != end.versions {
            return Err(AuditError::Chain { version: root.version, why: "the audit names another number of versions" });
        }
        let unfit = |why: String| AuditError::Checkpoint(why);
        let relay = match in_tree(&root, &end.relay)? {
            Entry::Relay(relay) if relay.id == head.relay => relay,
            other => return Err(unfit(format!("it is to be of {}, shown is {}", head.relay, other.key()))),
        };
        if checkpoint.origin() != relay.origin {
            return Err(unfit(format!("it is of {}, not of {}", checkpoint.origin(), relay.origin)));
        }
        let key = NoteKey::new(relay.origin.as_str(), relay.ledger_key).map_err(|error| unfit(error.to_string()))?;
        key.verify(&note).map_err(|error| unfit(error.to_string()))?;
        UnparsedPublicKey::new(&ED25519, relay.ledger_key)
            .verify(&[HEADER.as_bytes(), b"\n", signed.as_bytes()].concat(), &end.ledger_signature)
            .map_err(|_| AuditError::Signature)?;
        let last = VersionAt { version: root.version, issued: root.issued };
        if head.made > now + skew() || head.made + skew() < last.issued {
            return Err(AuditError::Made { made: head.made, issued: last.issued, now });
        }
        Ok(DirectoryAudit { head, checkpoint, versions, first, last, last_statement: root.digest(), names, bindings })
    }
}

/// An entry that stands in the tree of a root.
fn in_tree(root: &RootStatement, entry: &ProvenEntry) -> Result<Entry, AuditError> {
    let unproven = |why: String| AuditError::Unproven { version: root.version, what: "an entry", why };
    verify_inclusion(&leaf_hash(&entry.bytes), entry.index, root.size, &entry.proof, &root.root)
        .map_err(|error| unproven(error.to_string()))?;
    let entry = Raw::<Entry>::parse(entry.bytes.clone()).map_err(|error| unproven(error.to_string()))?;
    Ok(entry.into_value())
}

struct Lines<R> {
    from: R,
    /// Of the line read last, counted from 1.
    number: u64,
    line: Vec<u8>,
    /// Of all lines before this one, each with its line feed.
    hash: Hasher,
}

impl<R: BufRead> Lines<R> {
    /// The hash of all lines before the one read last.
    fn hash_before(&self) -> Hasher {
        self.hash.clone()
    }

    /// Reads a line without its line feed; false at the end.
    fn next(&mut self) -> Result<bool, AuditError> {
        if self.number > 0 {
            self.hash.update(&self.line);
            self.hash.update(b"\n");
        }
        self.line.clear();
        self.number += 1;
        if self.from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(false);
        }
        if self.line.pop() != Some(b'\n') {
            return Err(self.refused("it is cut or too long"));
        }
        Ok(true)
    }

    fn statement<T: Statement>(&self, word: &str) -> Result<T, AuditError> {
        let text = self.line.strip_prefix(word.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
        let text = text.ok_or_else(|| self.refused(&format!("it should be `{word}`")))?;
        let bytes: Bytes = base64::decode(text).ok_or_else(|| self.refused("it is not base64"))?.into();
        let read = Raw::<T>::parse(bytes).map_err(|error| self.refused(&error.to_string()))?;
        Ok(read.into_value())
    }

    fn refused(&self, why: &str) -> AuditError {
        AuditError::Form { line: self.number, why: why.to_owned() }
    }
}
