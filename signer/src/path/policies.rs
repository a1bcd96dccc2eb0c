//! Certificate policies (RFC 5280 6.1 as amended by RFC 9618): under which policies a path may be believed.
//!
//! Of the policy graph only the newest level is kept, each node with the policies of the anchor's own domain that lead to it. That is all the outcome
//! rests on, and it cannot grow beyond the policies that the certificates name.

use std::collections::{BTreeMap, BTreeSet};

use der::asn1::ObjectIdentifier;
use truc_proto::limits::CERTIFICATE_POLICIES_MAX;

use super::rules::Broken;
use crate::{
    asn1::{INTEGER, Malformed, OID, Reader, SEQUENCE, Tlv, context_primitive},
    oid,
};

/// What is asked of the policies of a path (RFC 5280 6.1.1). The default asks nothing: any policy will do, and none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicySettings {
    /// One of these must hold for the whole path; `None`: any.
    pub accepted: Option<Vec<ObjectIdentifier>>,
    /// A path must be under some policy even if its authorities do not ask for it. With [`Self::accepted`] alone a path without policies passes.
    pub require: bool,
    /// An authority may not declare its policy to be another authority's.
    pub refuse_mapping: bool,
    /// An authority may not issue under "any policy".
    pub refuse_any: bool,
}

/// Not an object identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a policy is an OID, as \"2.16.704.1.1\", and {0:?} is none")]
pub struct NoPolicy(String);

impl PolicySettings {
    /// One of these must hold for the whole path, as settings name them; none named: nothing is asked.
    ///
    /// # Errors
    /// When one is no object identifier.
    pub fn demanding<'a>(policies: impl IntoIterator<Item = &'a str>) -> Result<Self, NoPolicy> {
        let oid = |text: &'a str| ObjectIdentifier::new(text).map_err(|_| NoPolicy(text.to_owned()));
        let accepted = policies.into_iter().map(oid).collect::<Result<Vec<_>, _>>()?;
        let require = !accepted.is_empty();
        Ok(Self { accepted: require.then_some(accepted), require, ..Self::default() })
    }

    /// Those that settings name, in dotted form.
    pub fn named(&self) -> impl Iterator<Item = String> + '_ {
        self.accepted.iter().flatten().map(ToString::to_string)
    }
}

type Policy<'a> = &'a [u8];

/// A node of the newest level.
struct Node<'a> {
    /// What certificates below must state to be under it.
    expected: BTreeSet<Policy<'a>>,
    /// The policies in terms of the anchor from which it comes; empty under "any policy" itself.
    roots: BTreeSet<Policy<'a>>,
}

/// The policies of a path, from the anchor to where it has been read.
pub(super) struct Policies<'a> {
    settings: &'a PolicySettings,
    /// `None` once no policy is left.
    level: Option<BTreeMap<Policy<'a>, Node<'a>>>,
    /// Certificates that may still come before the respective rule holds; RFC 5280's state variables.
    explicit: usize,
    mapping: usize,
    any: usize,
}

impl<'a> Policies<'a> {
    /// Before a path of so many certificates below the anchor.
    pub(super) fn new(settings: &'a PolicySettings, certificates: usize) -> Self {
        let unless = |set: bool| if set { 0 } else { certificates + 1 };
        let any = Node { expected: BTreeSet::from([ANY]), roots: BTreeSet::new() };
        Self {
            settings,
            level: Some(BTreeMap::from([(ANY, any)])),
            explicit: unless(settings.require),
            mapping: unless(settings.refuse_mapping),
            any: unless(settings.refuse_any),
        }
    }

    /// certificatePolicies of the next certificate (6.1.3 (d) to (f)).
    pub(super) fn add(&mut self, value: Option<&'a [u8]>, self_issued: bool, is_leaf: bool) -> Result<(), Broken> {
        let stated = value.map(read_policies).transpose()?;
        let any_counts = self.any > 0 || (self_issued && !is_leaf);
        let above = self.level.take();
        self.level = match (above, stated) {
            (Some(above), Some(stated)) => next_level(&above, &stated, any_counts),
            _ => None,
        };
        self.must_be_under_one()
    }

    /// policyMappings of an authority (6.1.4 (a), (b)).
    pub(super) fn map(&mut self, value: Option<&'a [u8]>) -> Result<(), Broken> {
        let Some(value) = value else { return Ok(()) };
        let mappings = read_mappings(value)?;
        let Some(level) = &mut self.level else { return Ok(()) };
        for (from, to) in mappings {
            if self.mapping == 0 {
                level.remove(from);
            } else if let Some(node) = level.get_mut(from) {
                node.expected = to;
            } else if level.contains_key(ANY) {
                level.insert(from, Node { expected: to, roots: BTreeSet::from([from]) });
            }
        }
        if level.is_empty() {
            self.level = None;
        }
        Ok(())
    }

    /// policyConstraints and inhibitAnyPolicy of an authority (6.1.4 (h) to (j)).
    pub(super) fn constrain(
        &mut self,
        constraints: Option<&[u8]>,
        inhibit_any: Option<&[u8]>,
        self_issued: bool,
    ) -> Result<(), Broken> {
        if !self_issued {
            for count in [&mut self.explicit, &mut self.mapping, &mut self.any] {
                *count = count.saturating_sub(1);
            }
        }
        let (explicit, mapping) = read_constraints(constraints)?;
        self.explicit = self.explicit.min(explicit.unwrap_or(usize::MAX));
        self.mapping = self.mapping.min(mapping.unwrap_or(usize::MAX));
        if let Some(value) = inhibit_any {
            self.any = self.any.min(skip(Tlv::parse(value, INTEGER)?)?);
        }
        Ok(())
    }

    /// What the last certificate adds (6.1.5 (a), (b)).
    pub(super) fn constrain_leaf(&mut self, constraints: Option<&[u8]>) -> Result<(), Broken> {
        self.explicit = self.explicit.saturating_sub(1);
        if read_constraints(constraints)?.0 == Some(0) {
            self.explicit = 0;
        }
        Ok(())
    }

    /// Whether the path is under an accepted policy, where it has to be (6.1.5 (g)).
    pub(super) fn finish(mut self) -> Result<(), Broken> {
        if let (Some(accepted), Some(level)) = (&self.settings.accepted, &mut self.level) {
            let is_accepted = |policy: Policy<'_>| accepted.iter().any(|one| one.as_bytes() == policy);
            // "Any policy" at the end stands for each of those accepted.
            level.retain(|policy, node| {
                (*policy == ANY && !accepted.is_empty()) || node.roots.iter().any(|root| is_accepted(root))
            });
            if level.is_empty() {
                self.level = None;
            }
        }
        self.must_be_under_one()
    }

    fn must_be_under_one(&self) -> Result<(), Broken> {
        if self.explicit == 0 && self.level.is_none() {
            return Err(Broken(
                "it is not under a certificate policy, as an authority above it or the settings demand".into(),
            ));
        }
        Ok(())
    }
}

const ANY: Policy<'static> = oid::ANY_POLICY.as_bytes();

/// RFC 5280 6.1.3 (d): what of the level above goes on under the policies stated.
fn next_level<'a>(
    above: &BTreeMap<Policy<'a>, Node<'a>>,
    stated: &BTreeSet<Policy<'a>>,
    any_counts: bool,
) -> Option<BTreeMap<Policy<'a>, Node<'a>>> {
    let mut level: BTreeMap<Policy<'a>, Node<'a>> = BTreeMap::new();
    let mut put = |policy: Policy<'a>, roots: BTreeSet<Policy<'a>>| {
        let fresh = || Node { expected: BTreeSet::from([policy]), roots: BTreeSet::new() };
        level.entry(policy).or_insert_with(fresh).roots.extend(roots);
    };
    // Who expects what: one pass instead of all pairs.
    let mut expecting: BTreeMap<Policy<'a>, BTreeSet<Policy<'a>>> = BTreeMap::new();
    for (valid, node) in above {
        let roots = if *valid == ANY { BTreeSet::new() } else { node.roots.clone() };
        for policy in &node.expected {
            expecting.entry(policy).or_default().extend(&roots);
        }
    }
    for policy in stated.iter().copied().filter(|policy| *policy != ANY) {
        match expecting.get(policy) {
            Some(roots) => put(policy, roots.clone()),
            None if above.contains_key(ANY) => put(policy, BTreeSet::from([policy])),
            None => {}
        }
    }
    if stated.contains(ANY) && any_counts {
        for (policy, roots) in expecting.into_iter().filter(|(policy, _)| *policy == ANY || !stated.contains(policy)) {
            put(policy, roots);
        }
    }
    (!level.is_empty()).then_some(level)
}

/// certificatePolicies: the OIDs; qualifiers are for people.
fn read_policies(value: &[u8]) -> Result<BTreeSet<Policy<'_>>, Broken> {
    let mut reader = Tlv::parse(value, SEQUENCE)?.reader();
    let mut policies = BTreeSet::new();
    while !reader.is_empty() {
        if policies.len() == CERTIFICATE_POLICIES_MAX {
            return Err(Broken(format!("it names more than {CERTIFICATE_POLICIES_MAX} policies")));
        }
        let mut fields = reader.sequence()?;
        let policy = fields.expect(OID)?.content;
        fields.optional(SEQUENCE)?;
        fields.finish()?;
        if !policies.insert(policy) {
            return Err(Broken("it names a policy twice".into()));
        }
    }
    if policies.is_empty() { Err(Malformed.into()) } else { Ok(policies) }
}

type Mappings<'a> = BTreeMap<Policy<'a>, BTreeSet<Policy<'a>>>;

fn read_mappings(value: &[u8]) -> Result<Mappings<'_>, Broken> {
    let mut reader = Tlv::parse(value, SEQUENCE)?.reader();
    let mut mappings = Mappings::new();
    let mut count = 0;
    while !reader.is_empty() {
        count += 1;
        if count > CERTIFICATE_POLICIES_MAX {
            return Err(Broken(format!("it maps more than {CERTIFICATE_POLICIES_MAX} policies")));
        }
        let mut fields = reader.sequence()?;
        let (from, to) = (fields.expect(OID)?.content, fields.expect(OID)?.content);
        fields.finish()?;
        if from == ANY || to == ANY {
            return Err(Broken("it maps \"any policy\", which must not be mapped".into()));
        }
        mappings.entry(from).or_default().insert(to);
    }
    Ok(mappings)
}

/// requireExplicitPolicy and inhibitPolicyMapping.
fn read_constraints(value: Option<&[u8]>) -> Result<(Option<usize>, Option<usize>), Broken> {
    let Some(value) = value else { return Ok((None, None)) };
    let mut fields: Reader<'_> = Tlv::parse(value, SEQUENCE)?.reader();
    let explicit = fields.optional(context_primitive(0))?.map(skip).transpose()?;
    let mapping = fields.optional(context_primitive(1))?.map(skip).transpose()?;
    fields.finish()?;
    if explicit.is_none() && mapping.is_none() {
        return Err(Broken("its policy constraints are empty".into()));
    }
    Ok((explicit, mapping))
}

/// SkipCerts: beyond what a path can be long it does not matter how much.
fn skip(count: Tlv<'_>) -> Result<usize, Malformed> {
    match count.content {
        [one] if *one < 0x80 => Ok(usize::from(*one)),
        [first, ..] if *first < 0x80 => Ok(usize::MAX),
        _ => Err(Malformed),
    }
}
