//! What a revocation list covers: its issuing distribution point (RFC 5280 5.2.5), and the points a certificate names (4.2.1.13).

use crate::{
    asn1::{Malformed, Reader, SEQUENCE, Tlv, context, context_primitive},
    general_name::GeneralName,
    name::ComparableName,
};

/// A set of reasons for revocation: bit n is bit n of ReasonFlags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reasons(u16);

impl Reasons {
    /// keyCompromise to aACompromise.
    pub(crate) const ALL: Self = Self(0b1_1111_1110);
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// From the content of a BIT STRING.
    fn of_flags(content: &[u8]) -> Result<Self, Malformed> {
        let (unused, bytes) = content.split_first().ok_or(Malformed)?;
        if *unused > 7 || bytes.len() > 2 {
            return Err(Malformed);
        }
        let [first, second] = [0, 1].map(|at| bytes.get(at).copied().unwrap_or(0));
        // The first bit of the string is the highest of its first byte.
        Ok(Self(u16::from_be_bytes([first, second]).reverse_bits()).and(Self::ALL))
    }
}

/// One of the names by which certificate and list say that they belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PointName {
    /// A directory name.
    Directory(ComparableName),
    /// Any other name: tag and content, which must be the same.
    Other(Box<[u8]>),
}

/// Which of an issuer's certificates a list covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The list's own names, where it is of one distribution point.
    pub(crate) point: Option<Vec<PointName>>,
    pub(crate) only_users: bool,
    pub(crate) only_authorities: bool,
    pub(crate) only_attributes: bool,
    pub(crate) reasons: Reasons,
    /// It lists certificates of other issuers, too.
    pub(crate) indirect: bool,
}

impl Scope {
    /// A list without issuingDistributionPoint covers all that its issuer issued.
    pub(crate) const WHOLE: Self = Self {
        point: None,
        only_users: false,
        only_authorities: false,
        only_attributes: false,
        reasons: Reasons::ALL,
        indirect: false,
    };

    /// From the issuingDistributionPoint of a list of `issuer`.
    pub(crate) fn of(value: &[u8], issuer: &ComparableName) -> Result<Self, Malformed> {
        let mut fields = Tlv::parse(value, SEQUENCE)?.reader();
        let point = match fields.optional(context(0))? {
            Some(point) => Some(point_names(point, issuer)?),
            None => None,
        };
        let only_users = fields.tagged_default_false(1)?;
        let only_authorities = fields.tagged_default_false(2)?;
        let reasons = reasons(&mut fields, 3)?;
        let indirect = fields.tagged_default_false(4)?;
        let only_attributes = fields.tagged_default_false(5)?;
        fields.finish()?;
        Ok(Self { point, only_users, only_authorities, only_attributes, reasons, indirect })
    }

    /// Whether certificates of this kind are in it at all.
    pub(crate) const fn covers_kind(&self, is_authority: bool) -> bool {
        !self.only_attributes && !(if is_authority { self.only_users } else { self.only_authorities })
    }
}

/// Where a certificate says that its revocation is published.
pub(crate) struct DistributionPoint {
    pub(crate) names: Option<Vec<PointName>>,
    pub(crate) reasons: Reasons,
    /// Who issues that list, where it is another than the certificate's issuer.
    pub(crate) issuers: Option<Vec<ComparableName>>,
}

impl DistributionPoint {
    /// All points of a cRLDistributionPoints value in a certificate of `issuer`.
    pub(crate) fn all(value: &[u8], issuer: &ComparableName) -> Result<Vec<Self>, Malformed> {
        let mut reader = Tlv::parse(value, SEQUENCE)?.reader();
        let mut points = Vec::new();
        while !reader.is_empty() {
            let mut fields = reader.sequence()?;
            let point = fields.optional(context(0))?;
            let reasons = reasons(&mut fields, 1)?;
            let issuers = match fields.optional(context(2))? {
                Some(names) => Some(directories(names.content)?),
                None => None,
            };
            fields.finish()?;
            let relative_to = issuers.as_ref().and_then(|names| names.first()).unwrap_or(issuer);
            let names = point.map(|point| point_names(point, relative_to)).transpose()?;
            points.push(Self { names, reasons, issuers });
        }
        if points.is_empty() { Err(Malformed) } else { Ok(points) }
    }

    /// The point that every certificate has: its issuer's own list (RFC 5280 6.3.3, last paragraph).
    pub(crate) fn implied(issuer: &ComparableName) -> Self {
        let names = Some(vec![PointName::Directory(issuer.clone())]);
        Self { names, reasons: Reasons::ALL, issuers: None }
    }

    /// Whether a list of these names is one of this point (RFC 5280 6.3.3 (b) (2) (i)).
    pub(crate) fn is_of(&self, list: &[PointName]) -> bool {
        match (&self.names, &self.issuers) {
            (Some(names), _) => names.iter().any(|name| list.contains(name)),
            (None, Some(issuers)) => issuers.iter().any(|name| list.contains(&PointName::Directory(name.clone()))),
            (None, None) => false,
        }
    }
}

/// `[n]` ReasonFlags OPTIONAL: absent means all.
fn reasons(fields: &mut Reader<'_>, n: u8) -> Result<Reasons, Malformed> {
    match fields.optional(context_primitive(n))? {
        Some(flags) => Reasons::of_flags(flags.content),
        None => Ok(Reasons::ALL),
    }
}

/// DistributionPointName, under its explicit tag: fullName, or a part that is to be put behind the issuer's name.
fn point_names(point: Tlv<'_>, issuer: &ComparableName) -> Result<Vec<PointName>, Malformed> {
    let mut inside = point.reader();
    let choice = inside.any()?;
    inside.finish()?;
    if choice.tag == context(1) {
        return Ok(vec![PointName::Directory(issuer.with(choice.content)?)]);
    }
    if choice.tag != context(0) {
        return Err(Malformed);
    }
    let mut names = Vec::new();
    let mut reader = choice.reader();
    while !reader.is_empty() {
        let name = reader.any()?;
        names.push(match GeneralName::of(name)? {
            GeneralName::Directory(der) => PointName::Directory(ComparableName::of(der)?),
            _ => PointName::Other(name.whole.into()),
        });
    }
    if names.is_empty() { Err(Malformed) } else { Ok(names) }
}

/// The directory names among GeneralNames.
pub(crate) fn directories(content: &[u8]) -> Result<Vec<ComparableName>, Malformed> {
    let names = GeneralName::all(content)?.into_iter().filter_map(|name| match name {
        GeneralName::Directory(der) => Some(ComparableName::of(der)),
        _ => None,
    });
    names.collect()
}
