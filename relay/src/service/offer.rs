//! Offers: everything that can be checked without the content is checked before anything is stored.

use std::sync::Arc;

use prost::Message as _;
use tonic::Status;
use truc_evidence::{Agency, Directory, Leaf, ResolveError, verify_leaf};
use truc_proto::{
    AgencyId, Digest, EnvelopeKind, NodeId, Preamble, Raw, Reason, Submission, Timestamp, UnpackError,
    limits::{
        BLOB_BYTES_MAX, ENVELOPE_TTL_MAX_MS, FUTURE_SKEW_MAX_MS, INLINE_PAYLOAD_BYTES_MAX, KEY_ENVELOPE_BYTES_MAX,
        OFFER_BYTES_MAX, UPLOADS_MAX,
    },
    relay_v1::{self as wire, offer_reply::Outcome},
    unpack_key_envelopes,
};

use super::{PendingUpload, Service, blocking, lock, proofs::Answer, refuse::Refusal};
use crate::{
    core::{Acceptance, EnvelopeKey, Mark, OfferOutcome, OfferedRecipient, VerifiedOffer, content_identity},
    records::AcceptedBody,
    store::{Store, StoreError},
};

/// An offer whose signatures and hashes hold, and what the rules of time, level and directory say about it.
struct Checked {
    offer: VerifiedOffer,
    /// Its payload came along.
    inline: bool,
    verdict: Verdict,
}

enum Verdict {
    Accept,
    /// Refused with evidence.
    Reject(Reason),
    /// Refused without: nothing is journaled for it.
    Refuse(Box<Refusal>),
}

impl<S: Store> Service<S> {
    pub(super) async fn offer(
        self: &Arc<Self>,
        node: NodeId,
        request: wire::OfferRequest,
    ) -> Result<wire::OfferReply, Status> {
        let directory = self.current_directory()?;
        let (service, of) = (Arc::clone(self), node.clone());
        let checked = blocking(move || service.check_offer(&of, &directory, request)).await?;
        let outcome = match checked {
            Ok(checked) => self.decide_offer(node, checked).await?,
            Err(refusal) => Outcome::Refused(refusal.into_wire()),
        };
        Ok(wire::OfferReply { outcome: Some(outcome) })
    }

    async fn decide_offer(self: &Arc<Self>, node: NodeId, checked: Checked) -> Result<Outcome, Status> {
        let Checked { mut offer, inline, verdict } = checked;
        if inline && matches!(verdict, Verdict::Accept) {
            // Known or not: the core gives an id that stands for something the answer it got first.
            return self.answer(self.store.accept(offer).await?).await;
        }
        let key = offer.key.clone();
        let known = self.store.find(vec![key.clone()]).await?.into_iter().next().flatten();
        if known.is_some() {
            // Whatever the rules say today: an id that stands for something gets the one answer it got first, or is refused as reused.
            offer.blob = !inline;
            return self.answer(self.store.accept(offer).await?).await;
        }
        if let Some(original) = self.recalled(&offer).await? {
            return self.answer(original).await;
        }
        match verdict {
            Verdict::Refuse(refusal) => return Ok(Outcome::Refused(refusal.into_wire())),
            Verdict::Reject(reason) => {
                offer.body = bytes::Bytes::new();
                return self.answer(self.store.refuse(offer, reason, None).await?).await;
            }
            Verdict::Accept => {}
        }
        let closed = offer.recipients.iter().all(|recipient| matches!(recipient, OfferedRecipient::Closed { .. }));
        if closed {
            return self.answer(self.store.accept(offer).await?).await;
        }
        self.await_upload(node, offer).await
    }

    /// The payload must come first; says from where.
    async fn await_upload(self: &Arc<Self>, node: NodeId, mut offer: VerifiedOffer) -> Result<Outcome, Status> {
        offer.blob = true;
        let claim = self.store.claim(&offer.payload);
        let (blobs, payload, length) = (Arc::clone(self.store.blobs()), offer.payload, offer.payload_length);
        let stands = blocking(move || match blobs.length(&payload) {
            // The same bytes under another length would be a submission that contradicts itself.
            Ok(Some(there)) if there == length => Ok(None),
            Ok(Some(there)) => Err(truc_ledger::blobs::BlobError::Incomplete { stands: there, announced: length }),
            _ => blobs.stands_at(&payload.to_string()).map(Some),
        });
        let stands = match stands.await? {
            Ok(stands) => stands,
            Err(truc_ledger::blobs::BlobError::Busy { .. }) => return Err(Refusal::upload_busy().into()),
            Err(error) => return Err(super::upload::blob_refusal(&error).into()),
        };
        let Some(need_from) = stands else {
            // It is here already: a crash came between the payload and its record.
            let outcome = self.store.accept(offer).await?;
            drop(claim);
            return self.answer(outcome).await;
        };
        let mut uploads = lock(&self.uploads);
        if uploads.len() >= UPLOADS_MAX && !uploads.contains_key(&offer.key) {
            let oldest = uploads.iter().min_by_key(|(_, pending)| pending.since).map(|(key, _)| key.clone());
            oldest.and_then(|key| uploads.remove(&key));
        }
        uploads.insert(offer.key.clone(), PendingUpload { node, offer, since: self.now() });
        Ok(Outcome::NeedFrom(need_from))
    }

    async fn answer(self: &Arc<Self>, outcome: OfferOutcome) -> Result<Outcome, Status> {
        Ok(match self.outcome(outcome).await? {
            Answer::Accepted(leaf) => Outcome::Accepted(leaf),
            Answer::Refused(refusal) => Outcome::Refused(refusal),
        })
    }

    /// The answer to an id so old that only the journal remembers it.
    async fn recalled(self: &Arc<Self>, offer: &VerifiedOffer) -> Result<Option<OfferOutcome>, Status> {
        if !is_too_old(&offer.key, self.now()) {
            return Ok(None); // the fold would know it
        }
        let (service, key) = (Arc::clone(self), offer.key.clone());
        let content = content_identity(&offer.preamble, &offer.payload, &offer.commitment);
        blocking(move || {
            let Some(position) = service.store.look_up(&key)? else { return Ok(None) };
            let (accepted, _, leaf) = service.accepted(position)?;
            let known =
                [&accepted.preamble, &accepted.payload, &accepted.commitment].map(|bytes| Digest::from_slice(bytes));
            let same = matches!(known, [Ok(a), Ok(b), Ok(c)] if content_identity(&a, &b, &c) == content);
            let leaf_index = service.store.leaf_index(position)?;
            Ok(same.then_some(OfferOutcome::Accepted(Acceptance { position, leaf_index, leaf })))
        })
        .await?
        .map_err(|error: StoreError| Refusal::from(error).into())
    }

    fn check_offer(
        &self,
        node: &NodeId,
        directory: &Directory,
        mut request: wire::OfferRequest,
    ) -> Result<Checked, Refusal> {
        let now = self.now();
        unpack(&mut request)?;
        if request.encoded_len() > OFFER_BYTES_MAX {
            return Err(Refusal::because(Reason::TooLarge, format!("an offer has at most {OFFER_BYTES_MAX} bytes")));
        }
        let preamble = Raw::<Preamble>::parse(request.preamble.clone()).map_err(|error| Refusal::statement(&error))?;
        if (&preamble.axis, preamble.lane) != (&self.settings.axis, self.settings.lane) {
            let (axis, lane) = (&self.settings.axis, self.settings.lane);
            return Err(Refusal::because(Reason::WrongLane, format!("this is the {lane} lane of axis {axis}")));
        }
        let wire = request.submission.as_ref().ok_or_else(|| Refusal::invalid("no submission"))?;
        let proven = verify_leaf(wire, directory, Some(node), now)?;
        let Leaf::Submission(submission) = &proven.leaf else {
            return Err(Refusal::invalid("the leaf is not a submission"));
        };
        check_submission(submission, &preamble, &request)?;
        let inline = check_payload(submission, &request.payload)?;
        let (recipients, unresolved) = resolve(directory, &preamble, now);
        let rules = check_times(&preamble, now).and_then(|()| check_sender(directory, &preamble, submission.time));
        let verdict = match rules {
            _ if preamble.secrecy().is_err() => Verdict::Reject(Reason::LevelRefused),
            Err(verdict) => verdict,
            Ok(()) => unresolved.map_or(Verdict::Accept, |refusal| Verdict::Refuse(Box::new(refusal))),
        };
        if let Err(error) = preamble.secrecy() {
            tracing::warn!(%node, envelope = %preamble.envelope, %error, "refused");
        }
        let body = AcceptedBody {
            preamble: request.preamble,
            submission: request.submission.clone(),
            key_envelopes: request.key_envelopes,
            payload: request.payload,
        };
        let offer = VerifiedOffer {
            key: EnvelopeKey { sender: preamble.sender.clone(), envelope: preamble.envelope },
            sender_node: node.clone(),
            submission: proven.leaf_hash,
            preamble: submission.preamble,
            payload: submission.payload,
            commitment: submission.commitment,
            payload_length: submission.payload_length,
            blob: false,
            expires: preamble.expires,
            priority: preamble.priority.value(),
            status: preamble.kind == EnvelopeKind::Status,
            recipients,
            supersedes: preamble.supersedes.clone(),
            mark: Mark { size: proven.checkpoint.size, root: proven.checkpoint.root },
            note: wire.checkpoint.clone(),
            body: body.encode_to_vec().into(),
        };
        Ok(Checked { offer, inline, verdict })
    }

    /// Which envelopes the relay does not know.
    pub(super) async fn reconcile(
        self: &Arc<Self>,
        request: wire::ReconcileRequest,
    ) -> Result<wire::ReconcileReply, Status> {
        if request.open.len() > truc_proto::limits::RECONCILE_MAX {
            return Err(Refusal::because(Reason::TooLarge, "too many envelopes in one request").into());
        }
        let named = request.open.iter().map(|key| super::envelope_key(&key.sender, &key.envelope));
        let keys = named.collect::<Result<Vec<_>, _>>()?;
        let found = self.store.find(keys.clone()).await?;
        let missing: Vec<_> =
            keys.into_iter().zip(found).filter(|(_, found)| found.is_none()).map(|(key, _)| key).collect();
        let service = Arc::clone(self);
        let unknown = blocking(move || -> Result<Vec<_>, StoreError> {
            let mut unknown = Vec::new();
            for key in missing {
                if service.store.look_up(&key)?.is_none() {
                    unknown
                        .push(wire::EnvelopeKey { sender: key.sender.to_string(), envelope: key.envelope.to_string() });
                }
            }
            Ok(unknown)
        });
        Ok(wire::ReconcileReply { unknown: unknown.await?? })
    }
}

/// As if its key envelopes had come one by one.
fn unpack(request: &mut wire::OfferRequest) -> Result<(), Refusal> {
    let packed = std::mem::take(&mut request.packed_key_envelopes);
    if packed.is_empty() {
        return Ok(());
    }
    if !request.key_envelopes.is_empty() {
        return Err(Refusal::invalid("key envelopes come packed or one by one, not both ways"));
    }
    request.key_envelopes = unpack_key_envelopes(&packed).map_err(|error| match error {
        UnpackError::TooLong => Refusal::because(Reason::TooLarge, error.to_string()),
        UnpackError::Deflate | UnpackError::Content => Refusal::invalid(error.to_string()),
    })?;
    Ok(())
}

fn check_submission(
    submission: &Submission,
    preamble: &Raw<Preamble>,
    request: &wire::OfferRequest,
) -> Result<(), Refusal> {
    let refuse = |what: &str| Err(Refusal::invalid(what));
    if preamble.recipients.is_empty() {
        return refuse(
            "the envelope has no recipient on this axis: all of them are reached through today's axis by its own node",
        );
    }
    if submission.preamble != preamble.digest() || submission.envelope != preamble.envelope {
        return refuse("the submission is about another preamble");
    }
    if submission.actor.code.as_ref() != Some(&preamble.sender) {
        return refuse("the submission is by another sender than the preamble names");
    }
    if !submission.key_envelopes.keys().eq(&preamble.recipients) {
        return refuse("the submission does not have one key envelope for each recipient of the preamble");
    }
    if request.key_envelopes.len() != submission.key_envelopes.len() {
        return refuse("the key envelopes are not those of the submission");
    }
    for (key_envelope, (code, digest)) in request.key_envelopes.iter().zip(&submission.key_envelopes) {
        if key_envelope.cms.len() > KEY_ENVELOPE_BYTES_MAX {
            return Err(Refusal::because(
                Reason::TooLarge,
                format!("a key envelope has at most {KEY_ENVELOPE_BYTES_MAX} bytes"),
            ));
        }
        if key_envelope.recipient != code.as_str() || Digest::of(&key_envelope.cms) != *digest {
            return Err(Refusal::invalid(format!("the key envelope for {code} is not the one in the submission")));
        }
    }
    Ok(())
}

/// Whether the payload came along.
fn check_payload(submission: &Submission, payload: &[u8]) -> Result<bool, Refusal> {
    if submission.payload_length == 0 || submission.payload_length > BLOB_BYTES_MAX {
        return Err(Refusal::because(Reason::TooLarge, format!("a payload has 1 to {BLOB_BYTES_MAX} bytes")));
    }
    if payload.is_empty() {
        return Ok(false);
    }
    if payload.len() >= INLINE_PAYLOAD_BYTES_MAX {
        return Err(Refusal::because(Reason::TooLarge, "a payload of this length is uploaded, not sent along"));
    }
    let same = u64::try_from(payload.len()) == Ok(submission.payload_length);
    if same && Digest::of(payload) == submission.payload {
        Ok(true)
    } else {
        Err(Refusal::invalid("the payload is not the submission's"))
    }
}

fn check_times(preamble: &Preamble, now: Timestamp) -> Result<(), Verdict> {
    let ahead = preamble.created.max(preamble.envelope.made_at()).unix_ms() - now.unix_ms();
    if ahead > FUTURE_SKEW_MAX_MS {
        return Err(Verdict::Refuse(Box::new(Refusal::because(Reason::FromFuture, ""))));
    }
    if preamble.created.unix_ms().abs_diff(preamble.envelope.made_at().unix_ms()) > FUTURE_SKEW_MAX_MS.unsigned_abs() {
        let what = "the envelope's id and its preamble were not made at the same time";
        return Err(Verdict::Refuse(Box::new(Refusal::invalid(what))));
    }
    let key = EnvelopeKey { sender: preamble.sender.clone(), envelope: preamble.envelope };
    if is_too_old(&key, now) {
        return Err(Verdict::Refuse(Box::new(Refusal::because(Reason::TooOld, ""))));
    }
    if preamble.expires <= now {
        return Err(Verdict::Reject(Reason::Expired));
    }
    Ok(())
}

/// Ids beyond this age are not taken any more, which bounds what has to be remembered.
fn is_too_old(key: &EnvelopeKey, now: Timestamp) -> bool {
    key.envelope.made_at().unix_ms() + ENVELOPE_TTL_MAX_MS + FUTURE_SKEW_MAX_MS < now.unix_ms()
}

/// Where every recipient is served, and the refusal when one cannot be addressed at all.
fn resolve(directory: &Directory, preamble: &Preamble, now: Timestamp) -> (Vec<OfferedRecipient>, Option<Refusal>) {
    let (mut recipients, mut refusal) = (Vec::with_capacity(preamble.recipients.len()), None);
    let sealed = (preamble.created, preamble.kind == EnvelopeKind::Status);
    for code in &preamble.recipients {
        match offered_recipient(directory, code, sealed, now) {
            Ok(recipient) => recipients.push(recipient),
            Err(error) => {
                refusal.get_or_insert_with(|| Refusal::resolve(&error));
            }
        }
    }
    (recipients, refusal)
}

/// Where mail for a code goes at `now` that was sealed at `sealed`: what the relay makes of the directory for each recipient of an offer.
///
/// What was sealed before the code closed is still opened there while the code serves, and so are statuses; what was sealed later is rejected
/// with the successor, and the sender's node seals it anew.
///
/// # Errors
/// [`ResolveError`] when the code cannot be addressed at all.
pub fn offered_recipient(
    directory: &Directory,
    code: &AgencyId,
    (sealed, is_status): (Timestamp, bool),
    now: Timestamp,
) -> Result<OfferedRecipient, ResolveError> {
    let code = || code.clone();
    match directory.resolve_sealed(&code(), sealed, is_status, now) {
        Ok(Agency { node: Some(node), .. }) => Ok(OfferedRecipient::Open { code: code(), node: node.clone() }),
        Ok(_) => Err(ResolveError::NoNode { code: code() }),
        Err(ResolveError::Closed { successor, .. }) => Ok(OfferedRecipient::Closed { code: code(), successor }),
        Err(error) => Err(error),
    }
}

/// A closed code brings to an end what it began, and sends nothing new. Refused with evidence: its node, whose directory is an older one, need not
/// offer it again and again.
fn check_sender(directory: &Directory, preamble: &Preamble, submitted: Timestamp) -> Result<(), Verdict> {
    let status = preamble.kind == EnvelopeKind::Status;
    let may = |agency: &Agency| agency.may_send(preamble.created, status, preamble.supersedes.is_some(), submitted);
    // Who is unknown is not entitled at all, which was looked at before.
    if directory.agency(&preamble.sender).is_none_or(may) {
        return Ok(());
    }
    Err(Verdict::Reject(Reason::NotEntitled))
}
