//! Leaves of this node: each is shown under the first checkpoint behind it that its certificate signed and of which others said all that was wanted. The
//! earlier it was signed, the more it proves: a later one would say that the event was stated long after its time, and by a certificate that the directory
//! of that time may not bind.

use truc_evidence::{Attestation, Attestations, Attested, Entitlement, find_cms_line, is_stamped};
use truc_proto::{
    Checkpoint, Digest, KeyUse, NodeEntry, SignedNote, Timestamp, limits::ATTESTED_LOOKED_FOR_MAX, wire_v1,
};
use truc_signer::{Certificate, verify_detached};

use super::{Entitled, Shown};
use crate::{core::OwnCheckpoint, records::Body, shell::Shell};

/// The leaf at `position` of the journal, proven, with the note that it is proven into and what entitled us under that ledger.
pub(super) fn proven(
    shell: &Shell,
    position: u64,
    newest: Option<OwnCheckpoint>,
    leaf: wire_v1::ProvenLeaf,
    entitled: &Entitled,
) -> Result<(wire_v1::ProvenLeaf, SignedNote, Option<Entitlement>), String> {
    let index = leaf.index;
    let Some(newest) = newest.filter(|own| index < own.size) else {
        // No certificate has signed it: provisional.
        let head = shell.ledger.head();
        let shown = entitled.under(shell.ledger.public_key().name())?;
        return under(shell, leaf, head.note.clone(), head.size, shown.map(|shown| shown.entitlement));
    };
    let mut search = Search { index, entitled, asked: asked(newest.said), shown: None, best: None };
    search.behind(position, newest.position)?;
    let found = search.best.ok_or("our signed checkpoint is not where it should be")?;
    under(shell, leaf, found.note, found.size, found.entitlement)
}

/// Proven into a checkpoint of this size.
fn under(
    shell: &Shell,
    mut leaf: wire_v1::ProvenLeaf,
    note: SignedNote,
    size: u64,
    entitlement: Option<Entitlement>,
) -> Result<(wire_v1::ProvenLeaf, SignedNote, Option<Entitlement>), String> {
    let proof = shell.ledger.inclusion(leaf.index, size).map_err(|e| crate::chain(&e))?;
    leaf.proof = proof.iter().map(|hash: &Digest| hash.as_bytes().to_vec().into()).collect();
    Ok((leaf, note, entitlement))
}

/// What others are asked to say. Nobody is waited for who is not there.
fn asked(said: Attestations) -> Attested {
    let wanted = said.wanted();
    Attested { cosigned: wanted.cosigned && said.cosignature != Attestation::NobodyYet, ..wanted }
}

/// For the best of the signed checkpoints behind a leaf.
struct Search<'a> {
    index: u64,
    entitled: &'a Entitled,
    /// What others are asked for today.
    asked: Attested,
    /// By the origin of the checkpoint before: it changes with a recovery alone.
    shown: Option<(String, Option<Shown>)>,
    best: Option<Found>,
}

struct Found {
    note: SignedNote,
    size: u64,
    /// The entry that is shown with it binds its certificate.
    stands: bool,
    there: Attested,
    entitlement: Option<Entitlement>,
}

impl Search<'_> {
    /// Looks from a leaf's record on, and stops at the first that has everything. Where there is none soon after it (others were away, or the key), the
    /// newest of all is looked at, too.
    fn behind(&mut self, position: u64, newest: u64) -> Result<(), String> {
        let soon = newest.min(position + ATTESTED_LOOKED_FOR_MAX as u64);
        for later in (position + 1..=soon).chain((soon < newest).then_some(newest)) {
            // What cannot be read is not shown; another one may be.
            let Ok((Body::OwnCheckpoint(record), _)) = self.entitled.bodies.body(later) else { continue };
            let Ok((note, checkpoint)) = Checkpoint::parse_note(&record.note) else { continue };
            if checkpoint.size <= self.index {
                continue;
            }
            let said = record.said();
            let cosigned = said.cosignature == Attestation::There;
            let there = Attested { stamped: is_stamped(&note), cosigned };
            self.consider(note, &checkpoint, there)?;
            let wanted = asked(said);
            let wanted = Attested {
                stamped: wanted.stamped || self.asked.stamped,
                cosigned: wanted.cosigned || self.asked.cosigned,
            };
            if self.best.as_ref().is_some_and(|best| best.stands && best.there.covers(wanted)) {
                break;
            }
        }
        Ok(())
    }

    /// Takes what is better than the best before it: one whose line stands before others, then the one of which others said more.
    fn consider(&mut self, note: SignedNote, checkpoint: &Checkpoint, there: Attested) -> Result<(), String> {
        let says_more = self.best.as_ref().is_none_or(|best| there.exceeds(best.there));
        let stood = self.best.as_ref().is_some_and(|best| best.stands);
        if stood && !says_more {
            return Ok(());
        }
        let (at, origin) = (self.entitled.at, checkpoint.origin());
        let shown = self.shown(origin)?;
        let stands = shown.is_some_and(|shown| stands(&note, origin, &shown.node, at, there.stamped));
        if (stands && !stood) || (stands == stood && says_more) {
            let entitlement = self.shown(origin)?.map(|shown| shown.entitlement.clone());
            self.best = Some(Found { note, size: checkpoint.size, stands, there, entitlement });
        }
        Ok(())
    }

    fn shown(&mut self, origin: &str) -> Result<Option<&Shown>, String> {
        if self.shown.as_ref().is_none_or(|(of, _)| of != origin) {
            self.shown = Some((origin.to_owned(), self.entitled.under(origin)?));
        }
        Ok(self.shown.as_ref().and_then(|(_, shown)| shown.as_ref()))
    }
}

/// Whether the certificate's line is one that an entry binds for the moment it was signed at. A certificate that the entry names as stopped counts where
/// a time-stamp may show that it had signed before.
fn stands(note: &SignedNote, origin: &str, node: &NodeEntry, at: Timestamp, stamped: bool) -> bool {
    let Some(line) = find_cms_line(note, origin, node, at).filter(|_| node.origin == origin) else { return false };
    if line.binding.status_since.is_some() && !stamped {
        return false;
    }
    let bound: Vec<Certificate> = Certificate::from_der(&line.binding.der).into_iter().collect();
    verify_detached(line.cms, note.text().as_bytes(), &bound)
        .is_ok_and(|cms| line.binding.serves(KeyUse::Node, cms.signing_time.unwrap_or(at)))
}
