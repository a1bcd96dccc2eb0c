//! A second opinion on paths: `certval` over the same vectors, over their paths under other settings, and over paths made at random, whose signatures
//! hold and whose constraints do not always. It is asked about the path alone; revocation is compared by the vectors.

use certval::{
    CertificationPath, CertificationPathResults, CertificationPathSettings, Error, PDVCertificate,
    PDVTrustAnchorChoice, PathValidationStatus, PkiEnvironment, TimeOfInterest, validate_path_rfc5280,
};
use der::{
    Encode as _,
    asn1::{BitString, ObjectIdentifier},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair, SanType};
use truc_proto::Timestamp;
use truc_signer::{Certificate, PolicySettings, SignatureScheme, TrustStore, validate_for_any_use, verify_raw};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::{
    bettertls, pkits,
    support::{Dice, NOW, mutate},
};

/// A path in order, the anchor first, the certificate asked about last.
struct Asked<'a> {
    path: &'a [Vec<u8>],
    settings: &'a PolicySettings,
    at: Timestamp,
}

/// Ours: `Err` says why not.
fn ours(asked: &Asked<'_>) -> Result<(), String> {
    let read = |der: &Vec<u8>| Certificate::from_der(der).map_err(|error| format!("unreadable: {error}"));
    let (anchor, rest) = asked.path.split_first().unwrap();
    let (leaf, between) = rest.split_last().unwrap();
    let (anchor, leaf) = (read(anchor)?, read(leaf)?);
    // As in a CMS: what cannot be read among what came along is passed over.
    let between = between.iter().filter_map(|der| read(der).ok()).collect();
    let store = TrustStore::new(vec![anchor], between, vec![]).map_err(|error| error.to_string())?;
    let store = store.under_policies(asked.settings.clone());
    validate_for_any_use(&store, &leaf, &[], asked.at).map(drop).map_err(|error| error.to_string())
}

/// Theirs. RSA is verified for it: without its default features it has none, and with them it would bring the `rsa` crate.
fn theirs(environment: &PkiEnvironment, asked: &Asked<'_>) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Debug| format!("{error:?}");
    let read = |der: &Vec<u8>| PDVCertificate::try_from(der.as_slice()).map_err(|error| said(&error));
    let (anchor, rest) = asked.path.split_first().unwrap();
    let (leaf, between) = rest.split_last().unwrap();
    let anchor = PDVTrustAnchorChoice::try_from(anchor.as_slice()).map_err(|error| said(&error))?;
    let between = between.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let path = CertificationPath::new(anchor, between, read(leaf)?);
    let mut settings = CertificationPathSettings::new();
    let seconds = u64::try_from(asked.at.unix_s()).unwrap();
    settings.set_time_of_interest(TimeOfInterest::from_unix_secs(seconds).unwrap());
    settings.set_require_ta_store(false);
    settings.set_initial_explicit_policy_indicator(asked.settings.require);
    settings.set_initial_policy_mapping_inhibit_indicator(asked.settings.refuse_mapping);
    settings.set_initial_inhibit_any_policy_indicator(asked.settings.refuse_any);
    if let Some(accepted) = &asked.settings.accepted {
        settings.set_initial_policy_set(accepted.iter().map(ToString::to_string).collect());
    }
    let mut results = CertificationPathResults::new();
    validate_path_rfc5280(environment, &settings, &path, &mut results).map_err(|error| said(&error))
}

fn verify(
    _: &PkiEnvironment,
    message: &[u8],
    signature: &BitString,
    algorithm: &AlgorithmIdentifierOwned,
    key: &SubjectPublicKeyInfoOwned,
) -> certval::Result<()> {
    let scheme = match algorithm.oid.to_string().as_str() {
        "1.2.840.113549.1.1.11" => SignatureScheme::RsaPkcs1Sha256,
        "1.2.840.113549.1.1.12" => SignatureScheme::RsaPkcs1Sha384,
        "1.2.840.10045.4.3.2" => SignatureScheme::EcdsaP256Sha256,
        _ => return Err(Error::Unrecognized),
    };
    let holds = verify_raw(&key.to_der().unwrap(), scheme, message, signature.raw_bytes()).is_ok();
    let fails = Error::PathValidation(PathValidationStatus::SignatureVerificationFailure);
    if holds { Ok(()) } else { Err(fails) }
}

/// What was compared, and how it came out. No difference is excused: there is none.
#[derive(Default)]
struct Tally {
    run: usize,
    both_accept: usize,
    both_refuse: usize,
    differ: Vec<String>,
}

impl Tally {
    fn compare(&mut self, environment: &PkiEnvironment, name: &str, asked: &Asked<'_>) {
        self.add(name, &ours(asked), &theirs(environment, asked));
    }

    fn add(&mut self, name: &str, ours: &Result<(), String>, theirs: &Result<(), String>) {
        self.run += 1;
        match (ours, theirs) {
            (Ok(()), Ok(())) => self.both_accept += 1,
            (Err(_), Err(_)) => self.both_refuse += 1,
            _ => self.differ.push(format!("{name}: ours {ours:?}, certval {theirs:?}")),
        }
    }

    #[track_caller]
    fn finish(self, what: &str) {
        let (agree, accept) = (self.both_accept + self.both_refuse, self.both_accept);
        println!("certval, {what}: {} run, {agree} agree ({accept} accepted by both), 0 justified", self.run);
        let shown: Vec<_> = self.differ.iter().take(30).cloned().collect();
        assert!(self.differ.is_empty(), "{} differ, of which:\n{}", self.differ.len(), shown.join("\n"));
    }
}

fn environment() -> PkiEnvironment {
    let mut environment = PkiEnvironment::new();
    environment.add_verify_signature_message_callback(verify);
    environment
}

/// The self-issued certificate of these tests is that of the key which signs revocation lists, not a part of the path. By name it could be.
const WITH_SIGNER_OF_LISTS: [&str; 4] = ["4.5.4", "4.5.5", "4.5.6", "4.5.7"];

/// The certificates of a PKITS test that are a path: some bring those that sign revocation lists, too. certval takes a path as it is given, we search.
fn path_of(test: &pkits::Pkits) -> Vec<Vec<u8>> {
    let is_for_lists = WITH_SIGNER_OF_LISTS.iter().any(|number| test.name.starts_with(&format!("{number} ")));
    let name = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut wanted: Option<String> = None;
    for der in test.path.iter().skip(1).rev() {
        let Ok(certificate) = Certificate::from_der(der) else {
            kept.push(der.clone());
            continue;
        };
        if is_for_lists && certificate.is_self_issued() {
            continue;
        }
        if wanted.as_ref().is_none_or(|wanted| *wanted == name(certificate.subject())) {
            wanted = Some(name(certificate.issuer()));
            kept.push(der.clone());
        }
    }
    kept.push(test.path[0].clone());
    kept.reverse();
    kept
}

#[test]
fn certval_says_the_same_of_the_published_vectors() {
    let environment = environment();
    let mut tally = Tally::default();
    for test in pkits::all() {
        let path = path_of(&test);
        tally.compare(
            &environment,
            &test.name,
            &Asked { path: &path, settings: &test.settings, at: pkits::pkits_time() },
        );
    }
    tally.finish("PKITS");
    // certval is shown a path and does not look for one: of BetterTLS the smaller tests, with every order of every choice among what came along.
    let mut tally = Tally::default();
    for test in bettertls::all().into_iter().filter(|test| test.intermediates.len() <= 6) {
        let settings = PolicySettings::default();
        let together = [test.anchors.clone(), test.intermediates.clone(), vec![test.peer.clone()]].concat();
        let ours = ours(&Asked { path: &together, settings: &settings, at: test.at });
        let mut theirs = Err("no order of what came along is a path".to_owned());
        for between in choices(&test.intermediates) {
            let path = [test.anchors.clone(), between, vec![test.peer.clone()]].concat();
            theirs = theirs
                .or_else(|_| self::theirs(&environment, &Asked { path: &path, settings: &settings, at: test.at }));
        }
        tally.add(&test.id, &ours, &theirs);
    }
    tally.finish("BetterTLS");
}

/// Every order of every choice.
fn choices(among: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let mut all = vec![Vec::new()];
    for (place, first) in among.iter().enumerate() {
        let rest = [&among[..place], &among[place + 1..]].concat();
        all.extend(choices(&rest).into_iter().map(|choice| [vec![first.clone()], choice].concat()));
    }
    all
}

fn policy(number: usize) -> ObjectIdentifier {
    ObjectIdentifier::new(&format!("2.16.840.1.101.3.2.1.48.{number}")).unwrap()
}

fn settings(dice: &mut Dice) -> PolicySettings {
    let accepted = (dice.below(3) > 0).then(|| (0..=dice.below(3)).map(|_| policy(1 + dice.below(8))).collect());
    let [require, refuse_mapping, refuse_any] = [0; 3].map(|_| dice.below(2) == 1);
    PolicySettings { accepted, require, refuse_mapping, refuse_any }
}

#[test]
fn certval_says_the_same_of_pkits_under_other_policies_and_with_bytes_changed() {
    let environment = environment();
    let mut dice = Dice(48);
    let tests: Vec<_> = pkits::all().into_iter().map(|test| (path_of(&test), test)).collect();
    let mut tally = Tally::default();
    for (path, test) in &tests {
        for _ in 0..20 {
            let settings = settings(&mut dice);
            let name = format!("{} under {settings:?}", test.name);
            tally.compare(&environment, &name, &Asked { path, settings: &settings, at: pkits::pkits_time() });
        }
    }
    tally.finish("PKITS under other settings");
    let mut tally = Tally::default();
    for round in 0..2_000 {
        let (path, test) = &tests[dice.below(tests.len())];
        let mut path = path.clone();
        let place = 1 + dice.below(path.len() - 1);
        path[place] = mutate(&path[place], &mut dice);
        let name = format!("round {round}, {} with certificate {place} changed", test.name);
        tally.compare(&environment, &name, &Asked { path: &path, settings: &test.settings, at: pkits::pkits_time() });
    }
    tally.finish("PKITS with bytes changed");
}

fn tlv(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    [vec![tag, u8::try_from(content.len()).ok().filter(|n| *n < 128).unwrap()], content].concat()
}

fn oid(id: ObjectIdentifier) -> Vec<u8> {
    tlv(6, &[id.as_bytes().to_vec()])
}

/// "Any policy", or one of four.
fn any_policy_or(dice: &mut Dice) -> ObjectIdentifier {
    match dice.below(5) {
        0 => ObjectIdentifier::new_unwrap("2.5.29.32.0"),
        n => policy(n),
    }
}

const HOSTS: [&str; 5] = ["a.vn", "b.a.vn", "ba.vn", "vn", "a.com"];

/// A constraint on names of one of the forms that both know.
fn subtree(dice: &mut Dice) -> Vec<u8> {
    let host = HOSTS[dice.below(HOSTS.len())].as_bytes().to_vec();
    let base = match dice.below(4) {
        0 => tlv(0x82, &[host]),
        1 => tlv(0x81, &[host]),
        2 => tlv(0x87, &[vec![10, u8::try_from(dice.below(2)).unwrap(), 0, 0, 255, 255, 0, 0]]),
        _ => {
            let organization = ["Truc", "TRUC ", "Other"][dice.below(3)].as_bytes().to_vec();
            let value = tlv(0x30, &[oid(ObjectIdentifier::new_unwrap("2.5.4.10")), tlv(0x0c, &[organization])]);
            tlv(0xa4, &[tlv(0x30, &[tlv(0x31, &[value])])])
        }
    };
    tlv(0x30, &[base])
}

fn extensions(dice: &mut Dice) -> Vec<CustomExtension> {
    let mut made = Vec::new();
    let mut put = |last: u64, critical: bool, content: Vec<u8>| {
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, last], content);
        extension.set_criticality(critical);
        made.push(extension);
    };
    let number = |dice: &mut Dice| vec![u8::try_from(dice.below(3)).unwrap()];
    if dice.below(4) > 0 {
        let mut policies: Vec<_> = (0..=dice.below(3)).map(|_| any_policy_or(dice)).collect();
        policies.sort();
        policies.dedup();
        let policies: Vec<_> = policies.into_iter().map(|one| tlv(0x30, &[oid(one)])).collect();
        put(32, dice.below(2) == 0, tlv(0x30, &policies));
    }
    if dice.below(3) == 0 {
        let one = |dice: &mut Dice| tlv(0x30, &[oid(policy(1 + dice.below(4))), oid(policy(1 + dice.below(4)))]);
        let mappings: Vec<_> = (0..=dice.below(2)).map(|_| one(dice)).collect();
        put(33, true, tlv(0x30, &mappings));
    }
    if dice.below(3) == 0 {
        let explicit = if dice.below(2) == 0 { tlv(0x80, &[number(dice)]) } else { Vec::new() };
        let mapping = if explicit.is_empty() || dice.below(2) == 0 { tlv(0x81, &[number(dice)]) } else { Vec::new() };
        put(36, true, tlv(0x30, &[explicit, mapping]));
    }
    if dice.below(4) == 0 {
        put(54, true, tlv(2, &[number(dice)]));
    }
    if dice.below(3) == 0 {
        let permitted = if dice.below(2) == 0 { tlv(0xa0, &[subtree(dice)]) } else { Vec::new() };
        let excluded =
            if permitted.is_empty() || dice.below(2) == 0 { tlv(0xa1, &[subtree(dice)]) } else { Vec::new() };
        put(30, true, tlv(0x30, &[permitted, excluded]));
    }
    made
}

fn params(name: &str, dice: &mut Dice) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, ["Truc", "truc", "Other"][dice.below(3)]);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Root, one to three authorities, a leaf; what each says is left to chance.
fn random_path(dice: &mut Dice) -> Vec<Vec<u8>> {
    let authority = |name: &str, dice: &mut Dice| {
        let mut params = params(name, dice);
        let length = dice.below(6);
        let length = u8::try_from(length).ok().filter(|length| *length < 3);
        params.is_ca = IsCa::Ca(length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        params
    };
    let mut root = params("Root", dice);
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut issuer = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let mut path = vec![issuer.der().to_vec()];
    for step in 0..=dice.below(3) {
        let mut params = authority(&format!("Sub {step}"), dice);
        params.custom_extensions = extensions(dice);
        issuer = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &issuer).unwrap();
        path.push(issuer.der().to_vec());
    }
    let mut leaf = params("Leaf", dice);
    let host = HOSTS[dice.below(HOSTS.len())];
    leaf.subject_alt_names.push(match dice.below(3) {
        0 => SanType::DnsName(host.try_into().unwrap()),
        1 => SanType::Rfc822Name(format!("x@{host}").as_str().try_into().unwrap()),
        _ => SanType::IpAddress([10, u8::try_from(dice.below(2)).unwrap(), 3, 4].into()),
    });
    leaf.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    // What only authorities may say is passed over in a leaf by neither.
    let only_policies = extensions(dice).into_iter().take(1).filter(|one| one.oid_components().eq([2, 5, 29, 32]));
    leaf.custom_extensions = only_policies.collect();
    path.push(leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().to_vec());
    path
}

#[test]
fn certval_says_the_same_of_paths_made_at_random() {
    let environment = environment();
    let mut dice = Dice(5280);
    let mut tally = Tally::default();
    for round in 0..1_000 {
        let path = random_path(&mut dice);
        let settings = if dice.below(2) == 0 { PolicySettings::default() } else { settings(&mut dice) };
        let name = format!("round {round} under {settings:?}");
        tally.compare(&environment, &name, &Asked { path: &path, settings: &settings, at: *NOW });
    }
    tally.finish("paths made at random");
}
