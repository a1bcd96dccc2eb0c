//! Name constraints (RFC 5280 4.2.1.10): which names the certificates below an authority may bear.
//!
//! Directory, DNS, e-mail, URI and IP names are compared; a name of another form is refused where that form is constrained.

use std::net::IpAddr;

use truc_proto::limits::NAME_COMPARISONS_MAX;

use super::rules::Broken;
use crate::{
    asn1::{Malformed, Reader, SEQUENCE, Tlv, context, context_primitive},
    certificate::Certificate,
    extension::Extension,
    general_name::GeneralName,
    name::{ComparableName, email_addresses},
    oid,
};

/// All constraints that stand above a certificate.
#[derive(Default)]
pub(super) struct NameConstraints {
    /// Of each authority: a name of a form that stands here must be within one of that form.
    permitted: Vec<Vec<Subtree>>,
    excluded: Vec<Subtree>,
    compared: usize,
}

enum Subtree {
    Directory(ComparableName),
    Dns(String),
    Email(String),
    Uri(String),
    Ip(Box<[u8]>),
    Other(u8),
}

/// A name of a certificate, ready for comparison.
enum Name<'a> {
    Directory(&'a ComparableName),
    Dns(&'a str),
    Email(&'a str),
    Uri(&'a str),
    Ip(&'a [u8]),
    Other(u8),
}

impl NameConstraints {
    /// Adds the nameConstraints of an authority.
    pub(super) fn add(&mut self, value: &[u8]) -> Result<(), Broken> {
        let mut fields = Tlv::parse(value, SEQUENCE)?.reader();
        let permitted = fields.optional(context(0))?;
        let excluded = fields.optional(context(1))?;
        fields.finish()?;
        if permitted.is_none() && excluded.is_none() {
            return Err(Broken("its name constraints are empty".into()));
        }
        if let Some(subtrees) = permitted {
            self.permitted.push(read_subtrees(subtrees.reader())?);
        }
        if let Some(subtrees) = excluded {
            self.excluded.extend(read_subtrees(subtrees.reader())?);
        }
        Ok(())
    }

    /// Checks every name of a certificate below.
    pub(super) fn check(&mut self, certificate: &Certificate, extensions: &[Extension<'_>]) -> Result<(), Broken> {
        if self.permitted.is_empty() && self.excluded.is_empty() {
            return Ok(());
        }
        if !certificate.subject_name().is_empty() {
            self.check_name(&Name::Directory(certificate.subject_name()))?;
        }
        // Stricter than RFC 5280 4.2.1.10, which looks at them only where there is no subjectAltName.
        for address in email_addresses(certificate.subject_der())? {
            self.check_name(&Name::Email(&address))?;
        }
        let Some(alternative) = extensions.iter().find(|one| one.is(oid::SUBJECT_ALT_NAME)) else { return Ok(()) };
        for name in GeneralName::all(Tlv::parse(alternative.value, SEQUENCE)?.content)? {
            match name {
                GeneralName::Directory(der) => self.check_name(&Name::Directory(&ComparableName::of(der)?))?,
                GeneralName::Dns(name) => self.check_name(&Name::Dns(name))?,
                GeneralName::Email(name) => self.check_name(&Name::Email(name))?,
                GeneralName::Uri(name) => self.check_name(&Name::Uri(name))?,
                GeneralName::Ip(octets) => self.check_name(&Name::Ip(octets))?,
                GeneralName::Other(tag) => self.check_name(&Name::Other(tag))?,
            }
        }
        Ok(())
    }

    fn check_name(&mut self, name: &Name<'_>) -> Result<(), Broken> {
        self.compared += self.excluded.len() + self.permitted.iter().map(Vec::len).sum::<usize>();
        if self.compared > NAME_COMPARISONS_MAX {
            return Err(Broken("there are too many names and constraints on names to compare".into()));
        }
        for subtree in self.excluded.iter().filter(|subtree| subtree.is_of_form(name)) {
            if subtree.holds(name, true)? {
                return Err(Broken(format!("its {} is one that an authority above it excludes", name.what())));
            }
            if matches!(name, Name::Directory(directory) if directory.has_look_alikes()) {
                // Whether it is excluded rests on letters that nobody can tell apart.
                return Err(Broken(
                    "its name mixes alphabets or has invisible characters, so it cannot be told whether it is excluded"
                        .into(),
                ));
            }
        }
        for authority in &self.permitted {
            let mut of_form = authority.iter().filter(|subtree| subtree.is_of_form(name)).peekable();
            if of_form.peek().is_none() {
                continue;
            }
            let mut within = false;
            for subtree in of_form {
                within = within || subtree.holds(name, false)?;
            }
            if !within {
                return Err(Broken(format!("its {} is none of those that an authority above it permits", name.what())));
            }
        }
        Ok(())
    }
}

impl Name<'_> {
    const fn what(&self) -> &'static str {
        match self {
            Self::Directory(_) => "directory name",
            Self::Dns(_) => "DNS name",
            Self::Email(_) => "e-mail address",
            Self::Uri(_) => "URI",
            Self::Ip(_) => "IP address",
            Self::Other(_) => "name of another form",
        }
    }
}

impl Subtree {
    fn of(base: GeneralName<'_>) -> Result<Self, Broken> {
        Ok(match base {
            GeneralName::Directory(der) => Self::Directory(ComparableName::of(der)?),
            GeneralName::Dns(name) => Self::Dns(name.to_ascii_lowercase()),
            GeneralName::Email(name) => Self::Email(name.to_owned()),
            GeneralName::Uri(name) => Self::Uri(name.to_ascii_lowercase()),
            GeneralName::Ip(octets) if is_network(octets) => Self::Ip(octets.into()),
            GeneralName::Ip(_) => return Err(Broken("its constraint on IP addresses is no network".into())),
            GeneralName::Other(tag) => Self::Other(tag),
        })
    }

    const fn is_of_form(&self, name: &Name<'_>) -> bool {
        match (self, name) {
            (Self::Other(subtree), Name::Other(tag)) => *subtree == *tag,
            (Self::Directory(_), Name::Directory(_))
            | (Self::Dns(_), Name::Dns(_))
            | (Self::Email(_), Name::Email(_))
            | (Self::Uri(_), Name::Uri(_))
            | (Self::Ip(_), Name::Ip(_)) => true,
            _ => false,
        }
    }

    /// Whether the name is within it; a name that cannot be compared is an error. `excluded`: a wildcard counts for all that it may stand for.
    fn holds(&self, name: &Name<'_>, excluded: bool) -> Result<bool, Broken> {
        let cannot =
            || Broken(format!("its {} cannot be compared with a constraint that stands above it", name.what()));
        match (self, name) {
            (Self::Directory(subtree), Name::Directory(name)) => Ok(name.is_within(subtree)),
            (Self::Dns(subtree), Name::Dns(name)) => dns_holds(subtree, name, excluded).ok_or_else(cannot),
            (Self::Email(subtree), Name::Email(name)) => email_holds(subtree, name).ok_or_else(cannot),
            (Self::Uri(subtree), Name::Uri(name)) => uri_holds(subtree, name).ok_or_else(cannot),
            (Self::Ip(subtree), Name::Ip(octets)) => ip_holds(subtree, octets).ok_or_else(cannot),
            _ => Err(cannot()),
        }
    }
}

/// GeneralSubtrees. minimum and maximum are fixed by RFC 5280: 0 and absent.
fn read_subtrees(mut subtrees: Reader<'_>) -> Result<Vec<Subtree>, Broken> {
    let mut read = Vec::new();
    while !subtrees.is_empty() {
        let mut fields = subtrees.sequence()?;
        let base = GeneralName::of(fields.any()?)?;
        let minimum = fields.optional(context_primitive(0))?;
        if minimum.is_some_and(|minimum| minimum.content != [0]) || !fields.is_empty() {
            return Err(Broken("its name constraints state a minimum or a maximum, which is not supported".into()));
        }
        read.push(Subtree::of(base)?);
    }
    if read.is_empty() { Err(Malformed.into()) } else { Ok(read) }
}

/// `None` where the name is no DNS name.
fn dns_holds(subtree: &str, name: &str, excluded: bool) -> Option<bool> {
    let name = name.to_ascii_lowercase();
    let (is_wildcard, host) = match name.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, name.as_str()),
    };
    if !is_host(host) || !(subtree.is_empty() || is_host(subtree.strip_prefix('.').unwrap_or(subtree))) {
        return None;
    }
    let within = if is_wildcard {
        // One label more than what follows the asterisk.
        is_below(host, subtree) || host == subtree.strip_prefix('.').unwrap_or(subtree)
    } else {
        is_at_or_below(host, subtree)
    };
    // "*.example.vn" may stand for "a.example.vn".
    let parent = subtree.strip_prefix('.').unwrap_or(subtree).split_once('.').map(|(_, parent)| parent);
    Some(within || (excluded && is_wildcard && parent == Some(host)))
}

/// A constraint with a dot in front holds for what is below, one without for the host itself, too.
fn is_at_or_below(host: &str, subtree: &str) -> bool {
    host == subtree || is_below(host, subtree)
}

fn is_below(host: &str, subtree: &str) -> bool {
    let domain = subtree.strip_prefix('.').unwrap_or(subtree);
    domain.is_empty() || host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

/// `None` where the name is no address.
fn email_holds(subtree: &str, address: &str) -> Option<bool> {
    let (local, host) = address.rsplit_once('@').filter(|(local, host)| !local.is_empty() && is_host(host))?;
    if let Some((wanted, domain)) = subtree.rsplit_once('@') {
        return Some(local == wanted && host.eq_ignore_ascii_case(domain));
    }
    let (host, subtree) = (host.to_ascii_lowercase(), subtree.to_ascii_lowercase());
    Some(host_holds(&subtree, &host))
}

/// For e-mail and URIs: one host, or with a dot in front all that is below.
fn host_holds(subtree: &str, host: &str) -> bool {
    if subtree.starts_with('.') || subtree.is_empty() { is_below(host, subtree) } else { host == subtree }
}

/// `None` where the URI has no host name (RFC 5280 4.2.1.10 refuses such a one).
fn uri_holds(subtree: &str, uri: &str) -> Option<bool> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|c| c.is_ascii_digit())).map_or(host, |(h, _)| h);
    let host = host.to_ascii_lowercase();
    let is_name = is_host(&host) && host.parse::<IpAddr>().is_err();
    is_name.then(|| host_holds(subtree, &host))
}

/// Address and mask, the mask's ones in front.
fn is_network(octets: &[u8]) -> bool {
    let (_, mask) = octets.split_at(octets.len() / 2);
    let bits = mask.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    matches!(octets.len(), 8 | 32) && bits.is_sorted_by(|a, b| a >= b)
}

/// `None` where it is no address.
fn ip_holds(network: &[u8], address: &[u8]) -> Option<bool> {
    if !matches!(address.len(), 4 | 16) {
        return None;
    }
    let (base, mask) = network.split_at(network.len() / 2);
    let within = base.iter().zip(mask).zip(address).all(|((base, mask), octet)| base & mask == octet & mask);
    Some(base.len() == address.len() && within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_are_within_their_domain_label_by_label() {
        for (subtree, name, within) in [
            ("example.vn", "example.vn", true),
            ("example.vn", "a.b.Example.VN", true),
            ("example.vn", "badexample.vn", false),
            (".example.vn", "example.vn", false),
            (".example.vn", "a.example.vn", true),
            ("", "any.vn", true),
            ("example.vn", "*.example.vn", true),
            ("a.example.vn", "*.example.vn", false),
        ] {
            assert_eq!(dns_holds(subtree, name, false), Some(within), "{name} within {subtree}");
        }
        assert_eq!(dns_holds("a.example.vn", "*.example.vn", true), Some(true), "a wildcard may stand for it");
        for no_name in ["a..vn", "", ".vn", "a b.vn", "*"] {
            assert_eq!(dns_holds("vn", no_name, true), None, "{no_name:?}");
        }
    }

    #[test]
    fn addresses_uris_and_networks_are_compared_by_their_own_rules() {
        assert_eq!(email_holds("example.vn", "Ab@EXAMPLE.vn"), Some(true));
        assert_eq!(email_holds("example.vn", "ab@mail.example.vn"), Some(false));
        assert_eq!(email_holds(".example.vn", "ab@mail.example.vn"), Some(true));
        assert_eq!(
            email_holds("ab@example.vn", "AB@example.vn"),
            Some(false),
            "the part before @ is compared as it is"
        );
        assert_eq!(email_holds("example.vn", "example.vn"), None);
        assert_eq!(uri_holds("www.example.vn", "http://u@WWW.example.vn:80/x"), Some(true));
        assert_eq!(uri_holds(".example.vn", "ldap://a.example.vn/cn=x?y"), Some(true));
        for no_host in ["urn:x:y", "http://10.0.0.1/", "http://[::1]/", "http:///x", "mailto:a@b.vn"] {
            assert_eq!(uri_holds("vn", no_host), None, "{no_host}");
        }
        assert_eq!(ip_holds(&[10, 1, 0, 0, 255, 255, 0, 0], &[10, 1, 2, 3]), Some(true));
        assert_eq!(ip_holds(&[10, 1, 0, 0, 255, 255, 0, 0], &[10, 2, 2, 3]), Some(false));
        assert_eq!(ip_holds(&[10, 1, 0, 0, 255, 255, 0, 0], &[10, 1]), None);
        assert!(is_network(&[0; 8]) && !is_network(&[10, 0, 0, 0, 255, 0, 255, 0]) && !is_network(&[1; 5]));
    }
}
