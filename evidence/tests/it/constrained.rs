//! Authorities that restrict names and policies: bundles signed by certificates below them. Authorities of the development PKI restrict nothing; these are
//! made here, extension by extension.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use truc_evidence::{BundleCheck::Signer, Outcome::Failed, verify_bundle};
use truc_signer::SoftKey;

use crate::{
    bundle_cases::{BundleCase, Plan},
    world::*,
};

type Authority = CertifiedIssuer<'static, KeyPair>;

const NAME_CONSTRAINTS: u64 = 30;
const POLICIES: u64 = 32;
const MAPPINGS: u64 = 33;
const POLICY_CONSTRAINTS: u64 = 36;
const INHIBIT_ANY: u64 = 54;

/// Tags of GeneralName.
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const IP: u8 = 0x87;
const PERMITTED: u8 = 0xa0;
const EXCLUDED: u8 = 0xa1;

/// Policies by their last number: 1.2.3.n; 0 is "any policy".
const ANY: u8 = 0;

/// DER of one element, of less than 128 bytes.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 0x80, "short elements only");
    [&[tag, length], content.as_slice()].concat()
}

/// An extension below 2.5.29.
type Extension = (u64, Vec<u8>);

fn oid(policy: u8) -> Vec<u8> {
    if policy == ANY { tlv(6, &[&[0x55, 0x1d, 0x20, 0]]) } else { tlv(6, &[&[0x2a, 3, policy]]) }
}

fn policies(all: &[u8]) -> Extension {
    let all: Vec<u8> = all.iter().flat_map(|policy| tlv(0x30, &[&oid(*policy)])).collect();
    (POLICIES, tlv(0x30, &[&all]))
}

fn mapping(from: u8, to: u8) -> Extension {
    (MAPPINGS, tlv(0x30, &[&tlv(0x30, &[&oid(from), &oid(to)])]))
}

/// requireExplicitPolicy and inhibitPolicyMapping.
fn demands(explicit: Option<u8>, mapping: Option<u8>) -> Extension {
    let [explicit, mapping] =
        [(0x80, explicit), (0x81, mapping)].map(|(tag, skip)| skip.map_or_else(Vec::new, |skip| tlv(tag, &[&[skip]])));
    (POLICY_CONSTRAINTS, tlv(0x30, &[&explicit, &mapping]))
}

fn names(kind: u8, bases: &[Vec<u8>]) -> Extension {
    let subtrees: Vec<u8> = bases.iter().flat_map(|base| tlv(0x30, &[base])).collect();
    (NAME_CONSTRAINTS, tlv(0x30, &[&tlv(kind, &[&subtrees])]))
}

fn text(tag: u8, text: &str) -> Vec<u8> {
    tlv(tag, &[text.as_bytes()])
}

/// directoryName of one organization.
fn organization(name: &str) -> Vec<u8> {
    let attribute = tlv(0x30, &[&[6, 3, 0x55, 4, 10], &tlv(0x0c, &[name.as_bytes()])]);
    tlv(0xa4, &[&tlv(0x30, &[&tlv(0x31, &[&attribute])])])
}

fn params(common: &str, extensions: &[Extension]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Trục");
    params.distinguished_name.push(DnType::CommonName, common);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let custom = |(id, value): &Extension| CustomExtension::from_oid_content(&[2, 5, 29, *id], value.clone());
    params.custom_extensions = extensions.iter().map(custom).collect();
    params
}

/// A chain of authorities with these extensions, the anchor's first, and who signs at its end.
struct Chain {
    authorities: Vec<Vec<Extension>>,
    leaf: Vec<Extension>,
    subject: Vec<(DnType, &'static str)>,
    names: Vec<SanType>,
}

impl Chain {
    fn of(authority: Vec<Extension>) -> Self {
        Self { authorities: vec![vec![], authority], leaf: vec![], subject: vec![], names: vec![] }
    }

    fn then(mut self, authority: Vec<Extension>) -> Self {
        self.authorities.push(authority);
        self
    }

    fn leaf(self, leaf: Vec<Extension>) -> Self {
        Self { leaf, ..self }
    }

    fn organization(self, name: &'static str) -> Self {
        Self { subject: vec![(DnType::OrganizationName, name)], ..self }
    }

    fn with(self, name: SanType) -> Self {
        Self { names: vec![name], ..self }
    }

    /// What is trusted, in PEM, and the key at the end.
    fn make(&self) -> (String, SoftKey) {
        let mut made: Vec<Authority> = Vec::new();
        for (place, extensions) in self.authorities.iter().enumerate() {
            let (params, key) = (params(&format!("Authority {place}"), extensions), KeyPair::generate().unwrap());
            let next = match made.last() {
                None => CertifiedIssuer::self_signed(params, key),
                Some(issuer) => CertifiedIssuer::signed_by(params, key, issuer),
            };
            made.push(next.unwrap());
        }
        let mut end = params("x", &self.leaf);
        end.is_ca = IsCa::NoCa;
        end.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        end.distinguished_name = DistinguishedName::new();
        for (kind, value) in &self.subject {
            end.distinguished_name.push(kind.clone(), *value);
        }
        end.distinguished_name.push(DnType::CommonName, "x");
        end.subject_alt_names.clone_from(&self.names);
        let key = KeyPair::generate().unwrap();
        let signed = end.signed_by(&key, made.last().unwrap()).unwrap();
        let trusted = made.iter().map(|authority| authority.pem()).collect();
        (trusted, SoftKey::from_pem(signed.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap())
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn email(address: &str) -> SanType {
    SanType::Rfc822Name(address.try_into().unwrap())
}

fn uri(address: &str) -> SanType {
    SanType::URI(address.try_into().unwrap())
}

fn chains() -> Vec<(&'static str, Chain, bool)> {
    [constrained_names(), demanded_policies()].into_iter().flatten().collect()
}

fn constrained_names() -> Vec<(&'static str, Chain, bool)> {
    let only = |base| Chain::of(vec![names(PERMITTED, &[base])]);
    let but = |base| Chain::of(vec![names(EXCLUDED, &[base])]);
    let bo = || organization("Bộ Tư pháp");
    let ten = || tlv(IP, &[&[10, 0, 0, 0, 255, 0, 0, 0]]);
    let address = |last| SanType::IpAddress(std::net::IpAddr::from([last, 1, 2, 3]));
    let mail = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
    let of_anchor = |name| Chain {
        authorities: vec![vec![names(EXCLUDED, &[bo()])], vec![]],
        ..Chain::of(vec![]).organization(name)
    };
    vec![
        ("permitted-organization", only(bo()).organization("BỘ  Tư Pháp"), true),
        ("another-organization-than-permitted", only(bo()).organization("Bộ Y tế"), false),
        ("no-organization-where-one-is-permitted", only(bo()), false),
        (
            "one-of-two-permitted",
            Chain::of(vec![names(PERMITTED, &[organization("Bộ"), bo()])]).organization("Bộ Tư pháp"),
            true,
        ),
        (
            "authority-below-outside-of-what-is-permitted",
            only(bo()).then(vec![names(PERMITTED, &[organization("Bộ")])]),
            false,
        ),
        ("excluded-organization", but(bo()).organization("bộ tư pháp"), false),
        ("excluded-organization-is-another", but(bo()).organization("Bộ Y tế"), true),
        ("look-alike-of-an-excluded-organization", but(bo()).organization("Bộ Tư phаp"), false),
        ("invisible-in-what-might-be-excluded", but(bo()).organization("Bộ Tư pháp\u{200b}"), false),
        ("cyrillic-alone-is-no-look-alike", but(bo()).organization("Правительство"), true),
        ("excluded-by-the-anchor", of_anchor("Bộ Tư pháp"), false),
        ("not-excluded-by-the-anchor", of_anchor("Bộ Y tế"), true),
        ("constraint-on-names-it-does-not-bear", only(text(DNS, "vn")).organization("Bộ"), true),
        ("permitted-host", only(text(DNS, "gov.vn")).with(dns("a.GOV.vn")), true),
        ("another-host-than-permitted", only(text(DNS, "gov.vn")).with(dns("a.badgov.vn")), false),
        ("below-a-dot", only(text(DNS, ".gov.vn")).with(dns("gov.vn")), false),
        ("excluded-host", but(text(DNS, "gov.vn")).with(dns("gov.vn")), false),
        ("wildcard-that-may-stand-for-an-excluded-host", but(text(DNS, "a.gov.vn")).with(dns("*.gov.vn")), false),
        ("wildcard-that-may-stand-for-others-than-permitted", only(text(DNS, "a.gov.vn")).with(dns("*.gov.vn")), false),
        ("permitted-address", only(text(EMAIL, "gov.vn")).with(email("a@GOV.vn")), true),
        ("address-at-another-host", only(text(EMAIL, "gov.vn")).with(email("a@mail.gov.vn")), false),
        ("address-below-a-dot", only(text(EMAIL, ".gov.vn")).with(email("a@mail.gov.vn")), true),
        ("another-address-than-the-one-permitted", only(text(EMAIL, "a@gov.vn")).with(email("A@gov.vn")), false),
        (
            "excluded-address-in-its-subject",
            Chain { subject: vec![(mail, "a@gov.vn")], ..but(text(EMAIL, "gov.vn")) },
            false,
        ),
        ("permitted-uri", only(text(URI, ".gov.vn")).with(uri("https://u@a.gov.vn:8443/x?y")), true),
        ("uri-of-another-host", only(text(URI, ".gov.vn")).with(uri("https://gov.vn/a.gov.vn")), false),
        ("uri-without-host", only(text(URI, ".gov.vn")).with(uri("urn:x:y")), false),
        ("uri-of-a-number", but(text(URI, ".gov.vn")).with(uri("http://10.0.0.1/")), false),
        ("permitted-network", only(ten()).with(address(10)), true),
        ("another-network-than-permitted", only(ten()).with(address(11)), false),
        ("excluded-network", but(ten()).with(address(10)), false),
        ("network-with-a-gap", only(tlv(IP, &[&[10, 0, 0, 0, 255, 0, 255, 0]])).with(address(10)), false),
        ("constraints-that-are-empty", Chain::of(vec![(NAME_CONSTRAINTS, tlv(0x30, &[]))]), false),
        (
            "constraint-with-a-minimum",
            Chain::of(vec![(
                NAME_CONSTRAINTS,
                tlv(0x30, &[&tlv(EXCLUDED, &[&tlv(0x30, &[&text(DNS, "vn"), &tlv(0x80, &[&[1]])])])]),
            )]),
            false,
        ),
        ("constraint-of-no-form", but(tlv(0x89, &[b"x"])), false),
    ]
}

fn demanded_policies() -> Vec<(&'static str, Chain, bool)> {
    let demanding = |all: &[u8]| Chain::of(vec![policies(all), demands(Some(0), None)]);
    let mapped = |inhibit: Option<u8>| {
        let first = vec![policies(&[1]), demands(Some(0), inhibit)];
        Chain::of(first).then(vec![policies(&[1]), mapping(1, 2)])
    };
    let under_any =
        |skip: u8| Chain::of(vec![policies(&[ANY]), demands(Some(0), None), (INHIBIT_ANY, tlv(2, &[&[skip]]))]);
    vec![
        ("demanded-policy", demanding(&[1]).leaf(vec![policies(&[1])]), true),
        ("demanded-policy-missing", demanding(&[1]), false),
        ("another-policy-than-demanded", demanding(&[1]).leaf(vec![policies(&[2])]), false),
        ("any-policy-where-one-is-demanded", demanding(&[1]).leaf(vec![policies(&[ANY])]), true),
        ("a-policy-under-any", demanding(&[ANY]).leaf(vec![policies(&[7])]), true),
        (
            "authority-without-the-policy-it-demands",
            Chain::of(vec![demands(Some(0), None)]).leaf(vec![policies(&[1])]),
            false,
        ),
        ("demanded-only-further-down", Chain::of(vec![demands(Some(9), None)]), true),
        ("demanded-by-itself", Chain::of(vec![]).leaf(vec![demands(Some(0), None)]), false),
        ("not-demanded", Chain::of(vec![policies(&[1])]).leaf(vec![policies(&[2])]), true),
        ("mapped-policy", mapped(None).leaf(vec![policies(&[2])]), true),
        ("policy-that-was-mapped-away", mapped(None).leaf(vec![policies(&[1])]), false),
        ("mapping-inhibited", mapped(Some(0)).leaf(vec![policies(&[2])]), false),
        ("mapping-inhibited-and-the-old-policy", mapped(Some(0)).leaf(vec![policies(&[1])]), false),
        ("mapping-inhibited-further-down", mapped(Some(1)).leaf(vec![policies(&[2])]), true),
        ("any-policy-inhibited", under_any(0).leaf(vec![policies(&[ANY])]), false),
        ("any-policy-inhibited-and-one-stated", under_any(0).leaf(vec![policies(&[1])]), true),
        ("any-policy-inhibited-further-down", under_any(1).leaf(vec![policies(&[ANY])]), true),
        ("policy-twice", Chain::of(vec![policies(&[1, 1])]), false),
        ("policies-that-are-none", Chain::of(vec![]).leaf(vec![(POLICIES, tlv(0x30, &[]))]), false),
        ("any-policy-mapped", Chain::of(vec![mapping(ANY, 1)]), false),
        ("policy-constraints-that-are-empty", Chain::of(vec![demands(None, None)]), false),
        ("policy-constraint-that-is-negative", Chain::of(vec![demands(Some(0x80), None)]), false),
    ]
}

/// Bundles signed by who stands at the end of such a chain.
pub(crate) fn bundles() -> Vec<BundleCase> {
    let case = |(name, chain, is_right): (&str, Chain, bool)| {
        let (trusted, key) = chain.make();
        let against: &[_] = if is_right { &[] } else { &[(Signer, Failed)] };
        let bundle = Plan { signed_by: Some(key), ..Plan::default() }.build();
        BundleCase { trusted, ..BundleCase::new(format!("below-{name}"), bundle, against) }
    };
    chains().into_iter().map(case).collect()
}

#[test]
fn who_signs_below_an_authority_bears_the_names_and_policies_that_it_allows() {
    for case in bundles() {
        let found = case.report();
        let signer = found.steps.iter().find(|step| step.check == Signer).unwrap();
        assert_eq!(signer.outcome == Failed, !case.against.is_empty(), "{}: {}", case.name, signer.detail);
        // Who is not told of the authority knows nobody below it.
        let stranger = verify_bundle(case.bundle.as_slice(), &crate::bundle_cases::trust(false), None, after(DAY_MS));
        assert!(stranger.steps.iter().any(|step| (step.check, step.outcome) == (Signer, Failed)), "{}", case.name);
    }
}
