//! The rules of a path beyond what the published vectors look at: look-alikes, loops, bounds, policies demanded by settings, lists from the future.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints,
};
use truc_proto::limits::{PATH_SIGNATURES_MAX, TRUST_STORE_ITEMS_MAX};
use truc_signer::{
    Certificate, CertificateUse, PathError, PolicySettings, TrustStore, Verdict, WhyUnknown, validate, validate_with,
};

use crate::support::{NOW, PKI, certificate, issue, store};
use truc_certs_dev::{KeyKind, Profile};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn params(organization: &str, common: &str, is_authority: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, common);
    let usages = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = usages[..2].to_vec();
    } else {
        params.key_usages = usages[2..].to_vec();
    }
    params
}

fn root() -> Authority {
    CertifiedIssuer::self_signed(params("Trục", "Root", true), KeyPair::generate().unwrap()).unwrap()
}

fn below(issuer: &Authority, params: CertificateParams) -> Authority {
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

fn read(authority: &Authority) -> Certificate {
    Certificate::from_der(authority.der()).unwrap()
}

fn leaf(issuer: &Authority, organization: &str) -> Certificate {
    let signed = params(organization, "x", false).signed_by(&KeyPair::generate().unwrap(), issuer).unwrap();
    Certificate::from_der(signed.der()).unwrap()
}

/// Under `anchor` and with these intermediates; `Err` is what was refused, revocation is not looked at.
fn judged(anchor: &Authority, intermediates: Vec<Certificate>, leaf: &Certificate) -> Result<(), PathError> {
    let store = TrustStore::new(vec![read(anchor)], intermediates, vec![]).unwrap();
    validate(&store, leaf, CertificateUse::Service, *NOW).map(drop)
}

#[track_caller]
fn refused_for(result: Result<(), PathError>, words: &str) {
    match result {
        Err(PathError::Refused { detail, .. }) => assert!(detail.contains(words), "{detail}"),
        other => panic!("{other:?}"),
    }
}

fn organization(name: &str) -> GeneralSubtree {
    let mut directory = rcgen::DistinguishedName::new();
    directory.push(DnType::OrganizationName, name);
    GeneralSubtree::DirectoryName(directory)
}

#[test]
fn an_excluded_name_is_excluded_in_any_case_and_look_alikes_do_not_slip_through() {
    let root = root();
    let mut constrained = params("Trục", "Sub", true);
    constrained.name_constraints =
        Some(NameConstraints { permitted_subtrees: vec![], excluded_subtrees: vec![organization("Ban Cơ yếu")] });
    let sub = below(&root, constrained);
    let with = |name: &str| judged(&root, vec![read(&sub)], &leaf(&sub, name));
    assert_eq!(with("Bộ Tư pháp"), Ok(()));
    refused_for(with("Ban Cơ yếu"), "excludes");
    refused_for(with("BAN  cơ YẾU"), "excludes");
    for posing in ["Ваn Cơ yếu", "Ban Cơ yếu\u{200b}", "Ban\u{a0}Cơ yếu", "Ｂan Cơ yếu"] {
        refused_for(with(posing), "mixes alphabets");
    }
}

#[test]
fn only_permitted_names_pass_and_every_authority_above_counts() {
    let root = root();
    let mut constrained = params("Trục", "Sub", true);
    constrained.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![organization("Bộ Tư pháp"), organization("Trục")],
        excluded_subtrees: vec![],
    });
    let sub = below(&root, constrained);
    let next = below(&sub, params("Trục", "Next", true));
    let with = |name: &str| judged(&root, vec![read(&sub), read(&next)], &leaf(&next, name));
    assert_eq!(with("BỘ TƯ PHÁP"), Ok(()));
    refused_for(with("Bộ Y tế"), "permits");
    // The letter о in "Bо" is Cyrillic: another name, so none that is permitted.
    refused_for(with("Bо Tư pháp"), "permits");
}

#[test]
fn a_path_is_found_around_a_loop_and_a_loop_alone_ends() {
    let root = root();
    let (a, b) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let by_root = |key: &KeyPair, name: &str| params("Trục", name, true).signed_by(key, &root).unwrap();
    let (of_a, of_b) = (params("Trục", "A", true), params("Trục", "B", true));
    let (issuer_a, issuer_b) = (rcgen::Issuer::from_params(&of_a, &a), rcgen::Issuer::from_params(&of_b, &b));
    let crossed_b = params("Trục", "B", true).signed_by(&b, &issuer_a).unwrap();
    let crossed_a = params("Trục", "A", true).signed_by(&a, &issuer_b).unwrap();
    let end = params("Bộ", "x", false).signed_by(&KeyPair::generate().unwrap(), &issuer_a).unwrap();
    let read = |signed: &rcgen::Certificate| Certificate::from_der(signed.der()).unwrap();
    let end = read(&end);
    let loop_alone = vec![read(&crossed_a), read(&crossed_b)];
    assert!(matches!(judged(&root, loop_alone.clone(), &end), Err(PathError::UnknownIssuer { .. })));
    let around = [loop_alone, vec![read(&by_root(&b, "B"))]].concat();
    assert_eq!(judged(&root, around, &end), Ok(()));
}

#[test]
fn a_search_among_namesakes_ends_at_its_bound_and_says_so() {
    let root = root();
    let sub = below(&root, params("Trục", "Sub", true));
    let leaf = leaf(&sub, "Bộ");
    let namesakes = || (0..TRUST_STORE_ITEMS_MAX - 1).map(|_| read(&below(&root, params("Trục", "Sub", true))));
    const { assert!(TRUST_STORE_ITEMS_MAX > PATH_SIGNATURES_MAX) };
    let mut all: Vec<Certificate> = namesakes().collect();
    refused_for(judged(&root, all.clone(), &leaf), "the search for a path was ended");
    // The one that the certificate names by its key is looked at first.
    let mut keyed = params("Bộ", "x", false);
    keyed.use_authority_key_identifier_extension = true;
    let keyed = keyed.signed_by(&KeyPair::generate().unwrap(), &sub).unwrap();
    all.push(read(&sub));
    assert_eq!(judged(&root, all, &Certificate::from_der(keyed.der()).unwrap()), Ok(()));
}

#[test]
fn critical_extensions_that_are_not_known_and_twisted_constraints_are_refused() {
    let root = root();
    let with = |id: &[u64], value: &[u8]| {
        let mut twisted = params("Trục", "Sub", true);
        let mut extension = CustomExtension::from_oid_content(id, value.to_vec());
        extension.set_criticality(true);
        twisted.custom_extensions.push(extension);
        let sub = below(&root, twisted);
        judged(&root, vec![read(&sub)], &leaf(&sub, "Bộ"))
    };
    refused_for(with(&[1, 2, 3, 4], &[5, 0]), "1.2.3.4 is not understood");
    let constraints = &[2, 5, 29, 30];
    refused_for(with(constraints, &[0x30, 0]), "empty");
    // excludedSubtrees { dNSName "vn", minimum 1 }
    refused_for(with(constraints, &[0x30, 11, 0xa1, 9, 0x30, 7, 0x82, 2, b'v', b'n', 0x80, 1, 1]), "minimum");
    // permittedSubtrees { iPAddress with a mask that has a gap }
    let gap = [0x30, 14, 0xa0, 12, 0x30, 10, 0x87, 8, 10, 0, 0, 0, 255, 0, 255, 0];
    refused_for(with(constraints, &gap), "no network");
    refused_for(with(&[2, 5, 29, 36], &[0x30, 0]), "policy constraints are empty");
    // policyMappings { anyPolicy to 1.2.3 }
    let mapping = [0x30, 12, 0x30, 10, 6, 4, 0x55, 0x1d, 0x20, 0, 6, 2, 0x2a, 3];
    refused_for(with(&[2, 5, 29, 33], &mapping), "must not be mapped");
}

#[test]
fn a_store_that_demands_a_policy_refuses_paths_without_one() {
    let store = store(&PKI, vec![]);
    let certificate = certificate(&issue(Profile::Service, KeyKind::P256));
    let ask = |store: &TrustStore| validate_with(store, &certificate, &[], CertificateUse::Service, *NOW);
    assert!(ask(&store).is_ok());
    let store = store.under_policies(PolicySettings { require: true, ..PolicySettings::default() });
    // What was remembered under the other settings is forgotten.
    refused_for(ask(&store).map(drop), "not under a certificate policy");
    assert_eq!(PolicySettings::demanding([]), Ok(PolicySettings::default()));
    let named = PolicySettings::demanding(["2.16.704.1.1"]).unwrap();
    assert!(named.require && named.named().eq(["2.16.704.1.1"]));
    refused_for(ask(&store.under_policies(named)).map(drop), "not under a certificate policy");
    assert!(PolicySettings::demanding(["2.16.704.1.1", "x"]).unwrap_err().to_string().contains("\"x\""));
}

#[test]
fn a_list_from_the_future_is_not_used_and_said_to_be_one() {
    const DAY: Duration = Duration::from_secs(86_400);
    let certificate = certificate(&issue(Profile::Service, KeyKind::P256));
    let lists = |this_update| {
        let lists = PKI.crls(this_update, this_update + DAY * 9).unwrap();
        lists.iter().map(|der| truc_signer::Crl::from_der(der).unwrap()).collect::<Vec<_>>()
    };
    let ask = |lists| validate(&store(&PKI, lists).as_of(*NOW), &certificate, CertificateUse::Service, *NOW);
    assert_eq!(ask(lists(*NOW + Duration::from_secs(240))), Ok(Verdict::Good), "a clock may be some minutes ahead");
    let next_week = *NOW + DAY * 7;
    assert!(matches!(
        ask(lists(next_week)),
        Ok(Verdict::Unknown(WhyUnknown::FutureCrl { this_update, .. })) if this_update == next_week
    ));
    let both = lists(NOW.before(DAY)).into_iter().chain(lists(next_week)).collect();
    assert_eq!(ask(both), Ok(Verdict::Good), "the one of today answers");
}
