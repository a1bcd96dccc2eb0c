//! Finding a path (RFC 4158): depth-first from the certificate to an anchor, over several candidates, cross certificates and loops.
//!
//! Everything is bounded: authorities on a path, candidates looked at, signatures checked. The first path that keeps the rules ([`super::rules`]) is
//! taken; where there is none, the failure that came furthest is told.

use std::collections::HashMap;

use truc_proto::{
    Digest, Timestamp,
    limits::{PATH_AUTHORITIES_MAX, PATH_SIGNATURES_MAX, PATH_STEPS_MAX},
};

use super::{Path, PathError, TrustStore, check_time, may_issue, rules};
use crate::{certificate::Certificate, extension::Extension, oid};

/// The path from `certificate` to an anchor of `store`, the anchor last.
pub(super) fn build(
    store: &TrustStore,
    certificate: &Certificate,
    others: &[Certificate],
    at: Timestamp,
) -> Result<Path, PathError> {
    let supplied = store.intermediates().iter().chain(others).filter(|candidate| may_issue(candidate)).collect();
    let mut search = Search {
        store,
        supplied,
        at,
        steps_left: PATH_STEPS_MAX,
        signatures_left: PATH_SIGNATURES_MAX,
        signed: HashMap::new(),
        worst: None,
    };
    let mut path = vec![certificate.clone()];
    if search.extend(&mut path) {
        return Ok(path);
    }
    let unknown =
        || PathError::UnknownIssuer { subject: certificate.subject().into(), issuer: certificate.issuer().into() };
    Err(search.worst.map_or_else(unknown, |(_, error)| error))
}

struct Search<'a> {
    store: &'a TrustStore,
    supplied: Vec<&'a Certificate>,
    at: Timestamp,
    steps_left: usize,
    signatures_left: usize,
    /// By certificate and key: the same signature is checked once.
    signed: HashMap<(Digest, Digest), bool>,
    worst: Option<(Depth, PathError)>,
}

/// How far an attempt came; the furthest is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    Signature,
    Authority,
    Rules,
    Bound,
}

impl<'a> Search<'a> {
    /// Completes the path, or leaves it as it was.
    fn extend(&mut self, path: &mut Path) -> bool {
        let Some(head) = path.last().cloned() else { return false };
        let store = self.store;
        for anchor in store.anchors() {
            if !self.issued(path, &head, anchor) {
                continue;
            }
            path.push(anchor.clone());
            match rules::check(path, store.policies()) {
                Ok(()) => return true,
                Err(error) => self.note(Depth::Rules, error),
            }
            path.pop();
        }
        for candidate in self.candidates(&head) {
            let is_on_path = path.iter().any(|known| is_same_authority(known, candidate));
            if is_on_path || !self.may_continue(path, candidate) || !self.issued(path, &head, candidate) {
                continue;
            }
            path.push(candidate.clone());
            if self.extend(path) {
                return true;
            }
            path.pop();
        }
        false
    }

    /// Who may have issued `head`, those that it names by key first.
    fn candidates(&self, head: &Certificate) -> Vec<&'a Certificate> {
        let named: Vec<&Certificate> =
            self.supplied.iter().copied().filter(|one| one.subject_name() == head.issuer_name()).collect();
        let wanted = authority_key_id(head);
        let is_wanted = |one: &&Certificate| wanted.is_some() && one.subject_key_id() == wanted;
        let (first, last): (Vec<_>, Vec<_>) = named.into_iter().partition(is_wanted);
        [first, last].concat()
    }

    /// What can be told of an authority before its signature is looked at.
    fn may_continue(&mut self, path: &[Certificate], candidate: &Certificate) -> bool {
        let subject = || path.first().map(|leaf| leaf.subject().to_owned()).unwrap_or_default();
        // Authorities are judged by the second, as X.509 states their times.
        if let Err(error) = check_time(candidate, Timestamp::from_unix_s(self.at.unix_s())) {
            self.note(Depth::Authority, error);
            return false;
        }
        if path.len() > PATH_AUTHORITIES_MAX {
            let detail = format!("there are more than {PATH_AUTHORITIES_MAX} authorities between it and an anchor");
            self.note(Depth::Authority, PathError::Refused { subject: subject(), detail });
            return false;
        }
        // RFC 5280 6.1.4 (l): self-issued authorities do not count.
        let below = path.iter().skip(1).filter(|authority| !rules::is_self_issued(authority)).count();
        if candidate.path_length().is_some_and(|length| below > usize::from(length)) {
            let detail = format!("the path length that {} allows below it is exceeded", candidate.subject());
            self.note(Depth::Authority, PathError::Refused { subject: subject(), detail });
            return false;
        }
        true
    }

    /// Whether `issuer` bears the name and made the signature.
    fn issued(&mut self, path: &[Certificate], head: &Certificate, issuer: &Certificate) -> bool {
        if head.issuer_name() != issuer.subject_name() {
            return false;
        }
        let subject = || path.first().map(|leaf| leaf.subject().to_owned()).unwrap_or_default();
        if self.steps_left == 0 || self.signatures_left == 0 {
            let detail = "too many authorities bear the same names: the search for a path was ended".into();
            self.note(Depth::Bound, PathError::Refused { subject: subject(), detail });
            return false;
        }
        self.steps_left -= 1;
        let key = (head.sha256(), Digest::of(issuer.public_key().spki_der()));
        let signed = self.signed.get(&key).copied().unwrap_or_else(|| {
            self.signatures_left -= 1;
            head.is_signed_by(issuer)
        });
        self.signed.insert(key, signed);
        if !signed {
            let error = match head.signature_kind() {
                Some(_) => PathError::BadSignature { subject: subject() },
                None => {
                    let detail =
                        format!("the certificate of {} is signed with a broken or unknown algorithm", head.subject());
                    PathError::Refused { subject: subject(), detail }
                }
            };
            self.note(Depth::Signature, error);
        }
        signed
    }

    fn note(&mut self, depth: Depth, error: PathError) {
        if self.worst.as_ref().is_none_or(|(known, _)| *known < depth) {
            self.worst = Some((depth, error));
        }
    }
}

/// A path that comes by the same name and key again is a loop, whatever the certificates say.
fn is_same_authority(one: &Certificate, other: &Certificate) -> bool {
    one.public_key() == other.public_key() && one.subject_name() == other.subject_name()
}

/// keyIdentifier of authorityKeyIdentifier: a hint, so whatever cannot be read is none.
fn authority_key_id(certificate: &Certificate) -> Option<&[u8]> {
    let extensions = certificate.extensions().ok()?;
    let value = extensions.iter().find(|one: &&Extension<'_>| one.is(oid::AUTHORITY_KEY_IDENTIFIER))?.value;
    rules::key_identifier(value)
}
