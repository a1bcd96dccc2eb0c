//! What the journal has of documents' secrets, sorted: those that the epoch in force wrapped, and what has become needless since. In memory that
//! does not grow with the journal.

use std::{io, path::Path};

use anyhow::{Context as _, anyhow, bail};
use truc_ledger::{Ledger, Position};
use truc_proto::{AgencyId, Digest, EnvelopeId, Preamble, Raw, limits::STORAGE_KEY_SORT_BYTES};
use truc_signer::{StorageKey, keyfile::SECRET_BYTES, storage::WRAP_OVERHEAD_BYTES};

use super::sort::{Sorted, Sorter};
use crate::{
    pipe::{Carried, DOCUMENT_BYTES, Holder, document_name, entry_id, held_secrets},
    records::{Body, NodeRecord},
};

/// Records read in one go.
const STEP: u64 = 1_024;
const ID: usize = 32;
/// Id, and the secret under the key of this run.
const ROW: usize = ID + SECRET_BYTES + WRAP_OVERHEAD_BYTES;
/// Document, and what happened to it.
const MARK: usize = DOCUMENT_BYTES + 1;

/// What happened to a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// Ours, and delivered or failed: nobody opens its payload any more.
    SentClosed = 1,
    /// Received, and its payload removed by retention.
    Removed = 2,
    /// A draft of it became the document.
    Sealed = 3,
}

/// What a record says of secrets.
pub(super) enum Says {
    /// It holds a document's.
    Secret { holder: Holder, wrapped: Vec<u8>, sender: AgencyId, envelope: EnvelopeId },
    /// Something happened to one.
    Mark { mark: Mark, sender: AgencyId, envelope: EnvelopeId },
}

/// What a record of the journal says of secrets.
pub(super) fn says(state: &[u8]) -> anyhow::Result<Vec<Says>> {
    let secret = |holder, wrapped, sender: &str, envelope: &str| -> anyhow::Result<Says> {
        Ok(Says::Secret { holder, wrapped, sender: sender.parse()?, envelope: envelope.parse()? })
    };
    let mark = |mark, sender: &str, envelope: &str| -> anyhow::Result<Says> {
        Ok(Says::Mark { mark, sender: sender.parse()?, envelope: envelope.parse()? })
    };
    let said = match NodeRecord::read(state)? {
        Body::Outgoing(outgoing) => {
            let preamble = Raw::<Preamble>::parse(outgoing.preamble)?;
            let (sender, envelope) = (preamble.sender.clone(), preamble.envelope);
            let sealed = Says::Mark { mark: Mark::Sealed, sender: sender.clone(), envelope };
            vec![Says::Secret { holder: Holder::Sent, wrapped: outgoing.wrapped, sender, envelope }, sealed]
        }
        Body::Held(held) => {
            let wrapped = held_secrets(&held).context("a held request cannot be read")?;
            vec![secret(Holder::Held, wrapped, &held.sender, &held.envelope)?]
        }
        Body::Content(content) => {
            vec![secret(Holder::Received, content.wrapped, &content.sender, &content.envelope)?]
        }
        Body::TakenOver(taken) => {
            let content = taken.content;
            vec![secret(Holder::Received, content.wrapped, &content.sender, &content.envelope)?]
        }
        Body::Closed(closed) if closed.sent => vec![mark(Mark::SentClosed, &closed.sender, &closed.envelope)?],
        Body::PayloadRemoved(removed) => vec![mark(Mark::Removed, &removed.sender, &removed.envelope)?],
        _ => Vec::new(),
    };
    Ok(said)
}

/// Everything that the journal says of secrets, in the order of a key file.
pub(super) struct Gathered {
    secrets: Sorted<ROW>,
    marks: Marks,
    transit: StorageKey,
    /// Where the journal ends.
    pub(super) position: u64,
}

/// Reads the journal from `from` on; every secret in it must open with `key`.
pub(super) fn gather(ledger: &Ledger, from: u64, key: &StorageKey, folder: &Path) -> anyhow::Result<Gathered> {
    // What turns out needless must not lie on the disk under a key that outlives this run.
    let transit = StorageKey::generate(0)?;
    let mut secrets = Sorter::<ROW>::new(folder.to_owned(), STORAGE_KEY_SORT_BYTES);
    let mut marks = Sorter::<MARK>::new(folder.to_owned(), STORAGE_KEY_SORT_BYTES);
    let mut take = |position: Position, state: &[u8]| -> anyhow::Result<()> {
        for said in says(state).with_context(|| format!("journal record {position}"))? {
            match said {
                // Where there is none, nothing is lost.
                Says::Secret { wrapped, .. } if wrapped.is_empty() => {}
                Says::Secret { holder, wrapped, sender, envelope } => {
                    let carried = Carried::of_record(holder, &wrapped, key, &sender, envelope);
                    let carried = carried.with_context(|| {
                        format!("the secrets of {sender}/{envelope} in journal record {position} do not open with the storage key: nothing was changed; restore store and storage key from one backup")
                    })?;
                    let id = entry_id(&sender, envelope, &wrapped);
                    let under_way = transit.wrap(carried.bytes(), id.as_bytes())?;
                    secrets.push(joined(&[id.as_bytes(), &under_way])?)?;
                }
                Says::Mark { mark, sender, envelope } => {
                    marks.push(joined(&[&document_name(&sender, envelope), &[mark as u8]])?)?;
                }
            }
        }
        Ok(())
    };
    let mut at = Position(from);
    loop {
        let mut taken = Ok(());
        let next = ledger.read_on(at, STEP, |position, _, record| {
            if taken.is_ok() {
                taken = take(position, &record.state);
            }
        })?;
        taken?;
        if next == at {
            break;
        }
        at = next;
    }
    let marks = Marks { rows: marks.sorted()?, next: None, of: None, marks: Vec::new() };
    Ok(Gathered { secrets: secrets.sorted()?, marks, transit, position: at.0 })
}

fn joined<const N: usize>(parts: &[&[u8]]) -> anyhow::Result<[u8; N]> {
    parts.concat().try_into().map_err(|_| anyhow!("a row of another length"))
}

impl Gathered {
    /// The next secret that the journal has, and its id.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<(Digest, Carried)>> {
        let Some(row) = self.secrets.next().transpose()? else { return Ok(None) };
        let (id, wrapped) = row.split_first_chunk::<ID>().context("a row without an id")?;
        let carried = Carried::read(&self.transit.unwrap(wrapped, id)?).context("a row that is no secret")?;
        Ok(Some((Digest(*id), carried)))
    }

    /// What happened to the document of this entry. Entries must be asked about in rising order.
    pub(super) fn marks_of(&mut self, id: Digest) -> anyhow::Result<&[Mark]> {
        let document = id.0.first_chunk::<DOCUMENT_BYTES>().context("an id without a document")?;
        Ok(self.marks.of(document)?)
    }
}

struct Marks {
    rows: Sorted<MARK>,
    next: Option<[u8; MARK]>,
    of: Option<[u8; DOCUMENT_BYTES]>,
    marks: Vec<Mark>,
}

impl Marks {
    fn of(&mut self, document: &[u8; DOCUMENT_BYTES]) -> io::Result<&[Mark]> {
        if self.of != Some(*document) {
            self.of = Some(*document);
            self.marks.clear();
            while let Some(row) = self.next.take().map_or_else(|| self.rows.next().transpose(), |row| Ok(Some(row)))? {
                match row.first_chunk() {
                    Some(of) if of < document => {}
                    Some(of) if of == document => self.marks.extend(mark_of(row.last())),
                    _ => {
                        self.next = Some(row);
                        break;
                    }
                }
            }
        }
        Ok(&self.marks)
    }
}

fn mark_of(byte: Option<&u8>) -> Option<Mark> {
    [Mark::SentClosed, Mark::Removed, Mark::Sealed].into_iter().find(|mark| byte == Some(&(*mark as u8)))
}

/// What becomes of a document's secrets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Carried over.
    Kept,
    /// Carried over without what opens the content.
    Erased,
    /// Left out.
    Dropped,
}

/// What becomes of these secrets after what happened to their document.
pub(super) fn fate(carried: &Carried, marks: &[Mark]) -> anyhow::Result<Fate> {
    let has = |mark| marks.contains(&mark);
    Ok(match carried.holder() {
        Some(Holder::Held) if has(Mark::Sealed) || has(Mark::SentClosed) => Fate::Dropped,
        Some(Holder::Sent) if has(Mark::SentClosed) => Fate::Erased,
        Some(Holder::Received) if has(Mark::Removed) => Fate::Erased,
        Some(_) => Fate::Kept,
        None => bail!("an entry of the key file is of no kind that this version knows"),
    })
}
