//! Whether a path, its signatures and times in order, keeps the rules of RFC 5280 6.1: constraints on names, policies, what authorities must say.
//!
//! Signatures, times, names in a chain and path lengths are looked at while the path is searched ([`super::build`]); the use of the leaf is
//! [`super::usage`]'s.

use der::asn1::ObjectIdentifier;

use super::{
    PathError,
    constraints::NameConstraints,
    may_issue,
    policies::{Policies, PolicySettings},
};
use crate::{
    asn1::{Malformed, SEQUENCE, Tlv, context_primitive},
    certificate::Certificate,
    extension::Extension,
    oid,
};

/// What a critical extension may be.
const UNDERSTOOD: &[ObjectIdentifier] = &[
    oid::KEY_USAGE,
    oid::SUBJECT_ALT_NAME,
    oid::BASIC_CONSTRAINTS,
    oid::NAME_CONSTRAINTS,
    oid::CRL_DISTRIBUTION_POINTS,
    oid::CERTIFICATE_POLICIES,
    oid::POLICY_MAPPINGS,
    oid::POLICY_CONSTRAINTS,
    oid::EXTENDED_KEY_USAGE,
    oid::INHIBIT_ANY_POLICY,
];

/// Why one certificate of a path breaks the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken(pub(super) String);

impl From<Malformed> for Broken {
    fn from(Malformed: Malformed) -> Self {
        Self("an extension is not well-formed".into())
    }
}

/// Checks a whole path, the anchor last.
pub(super) fn check(path: &[Certificate], settings: &PolicySettings) -> Result<(), PathError> {
    let Some(((anchor, leaf), below)) =
        path.split_last().and_then(|(anchor, below)| below.first().map(|leaf| ((anchor, leaf), below)))
    else {
        return Ok(());
    };
    let refused = |certificate: &Certificate, Broken(why): Broken| PathError::Refused {
        subject: leaf.subject().into(),
        detail: if certificate == leaf {
            why
        } else {
            format!("{why} (in the certificate of {})", certificate.subject())
        },
    };
    let mut names = NameConstraints::default();
    let mut policies = Policies::new(settings, below.len());
    // An anchor's own constraints on names hold (RFC 5937); nothing else in it is looked at.
    add_constraints(&mut names, anchor).map_err(|broken| refused(anchor, broken))?;
    for (place, certificate) in below.iter().enumerate().rev() {
        check_one(&mut names, &mut policies, certificate, place == 0).map_err(|broken| refused(certificate, broken))?;
    }
    policies.finish().map_err(|broken| refused(leaf, broken))
}

/// RFC 5280 6.1.3 to 6.1.5 for one certificate, the anchor's neighbour first.
fn check_one<'a>(
    names: &mut NameConstraints,
    policies: &mut Policies<'a>,
    certificate: &'a Certificate,
    is_leaf: bool,
) -> Result<(), Broken> {
    let extensions = certificate.extensions()?;
    if let Some(unknown) = extensions.iter().find(|one| !one.is_passable(UNDERSTOOD)) {
        return Err(Broken(format!("the critical extension {} is not understood", unknown.name())));
    }
    let self_issued = is_self_issued(certificate);
    if is_leaf || !self_issued {
        names.check(certificate, &extensions)?;
    }
    let of = |id| value(&extensions, id);
    policies.add(of(oid::CERTIFICATE_POLICIES), self_issued, is_leaf)?;
    if is_leaf {
        policies.constrain_leaf(of(oid::POLICY_CONSTRAINTS))?;
        return Ok(());
    }
    if !may_issue(certificate) {
        return Err(Broken("it is not the certificate of an authority (basicConstraints, keyCertSign)".into()));
    }
    policies.map(of(oid::POLICY_MAPPINGS))?;
    policies.constrain(of(oid::POLICY_CONSTRAINTS), of(oid::INHIBIT_ANY_POLICY), self_issued)?;
    add_constraints(names, certificate)
}

fn add_constraints(names: &mut NameConstraints, authority: &Certificate) -> Result<(), Broken> {
    match value(&authority.extensions()?, oid::NAME_CONSTRAINTS) {
        Some(constraints) => names.add(constraints),
        None => Ok(()),
    }
}

fn value<'a>(extensions: &[Extension<'a>], id: ObjectIdentifier) -> Option<&'a [u8]> {
    extensions.iter().find(|one| one.is(id)).map(|one| one.value)
}

/// Issuer and subject are the same by comparison, as in a certificate with which an authority hands over to its next key.
pub(super) fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.subject_name() == certificate.issuer_name()
}

/// keyIdentifier of an authorityKeyIdentifier.
pub(super) fn key_identifier(value: &[u8]) -> Option<&[u8]> {
    let mut fields = Tlv::parse(value, SEQUENCE).ok()?.reader();
    fields.optional(context_primitive(0)).ok()?.map(|id| id.content)
}
