//! NIST PKITS (tests/vectors/pkits): every test of the suite, with the policy settings of its section.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use der::asn1::ObjectIdentifier;
use flate2::read::GzDecoder;
use serde_json::Value;
use truc_proto::Timestamp;
use truc_signer::{Certificate, Crl, PolicySettings, TrustStore, Verdict, validate_for_any_use};

/// Tests whose outcome is another than the suite's, and why that is right here.
const JUSTIFIED: &[(&str, &str)] = &[
    ("4.1.4", "DSA is not among the signatures accepted (RSA, ECDSA): refused when read"),
    ("4.1.5", "DSA is not among the signatures accepted (RSA, ECDSA): refused when read"),
    ("4.2.3", "valid since 1950: no certificate is from before 1970, so it is refused when read"),
    (
        "4.14.30",
        "the only list that speaks of the list's signer is signed by itself: nobody clears himself, so it cannot be told",
    ),
];

/// A JSON file of tests/vectors.
pub(crate) fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// One test of the suite, read.
pub(crate) struct Pkits {
    pub(crate) name: String,
    /// The anchor first, the certificate asked about last; why one of them cannot be read.
    pub(crate) path: Vec<Vec<u8>>,
    pub(crate) lists: Vec<Vec<u8>>,
    pub(crate) settings: PolicySettings,
    pub(crate) is_valid: bool,
}

/// All tests of the suite.
pub(crate) fn all() -> Vec<Pkits> {
    let suite = vectors("pkits/pkits.json.gz");
    let bytes = |kind: &str, names: &Value| -> Vec<Vec<u8>> {
        let of = |name: &Value| suite[kind][name.as_str().unwrap()].as_str().unwrap().as_bytes().to_vec();
        let names = names.as_array().unwrap().iter();
        names.map(|name| data_encoding::BASE64.decode(&of(name)).unwrap()).collect()
    };
    let read = |test: &Value| {
        let set: Vec<&str> =
            test["InitialPolicySet"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let oid = |name: &&str| {
            let last = name.strip_prefix("NIST-test-policy-").unwrap();
            ObjectIdentifier::new(&format!("2.16.840.1.101.3.2.1.48.{last}")).unwrap()
        };
        let flag = |name: &str| test[name].as_bool().unwrap();
        Pkits {
            name: test["Name"].as_str().unwrap().to_owned(),
            path: bytes("certificates", &test["CertPath"]),
            lists: bytes("lists", &test["CRLPath"]),
            settings: PolicySettings {
                accepted: (set != ["anyPolicy"]).then(|| set.iter().map(oid).collect()),
                require: flag("InitialExplicitPolicy"),
                refuse_mapping: flag("InitialPolicyMappingInhibit"),
                refuse_any: flag("InitialAnyPolicyInhibit"),
            },
            is_valid: flag("ShouldValidate"),
        }
    };
    suite["tests"].as_array().unwrap().iter().map(read).collect()
}

/// When the suite is looked at: all its certificates but the expired ones are valid until 2030.
pub(crate) fn pkits_time() -> Timestamp {
    "2024-01-01T00:00:00Z".parse().unwrap()
}

/// What is said of a test: `Ok` where the path is valid and nothing on it revoked.
fn outcome(test: &Pkits) -> Result<(), String> {
    let read = |der: &Vec<u8>| Certificate::from_der(der).map_err(|error| error.to_string());
    let mut path = test.path.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let leaf = path.pop().unwrap();
    let anchor = path.remove(0);
    // A list that cannot be used is as good as none.
    let lists = test.lists.iter().filter_map(|der| Crl::from_der(der).ok()).collect();
    let store = TrustStore::new(vec![anchor], path, lists).unwrap().under_policies(test.settings.clone());
    match validate_for_any_use(&store, &leaf, &[], pkits_time()) {
        Ok(Verdict::Good) => Ok(()),
        Ok(Verdict::Revoked { reason, .. }) => Err(format!("revoked: {}", reason.as_str())),
        Ok(Verdict::Unknown(why)) => Err(format!("unknown: {why}")),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn every_test_of_pkits_comes_out_as_the_suite_says_or_is_justified() {
    let justified: BTreeMap<&str, &str> = JUSTIFIED.iter().copied().collect();
    let (mut run, mut agreed, mut excused, mut wrong) = (0, 0, Vec::new(), Vec::new());
    for test in all() {
        run += 1;
        let outcome = outcome(&test);
        let number = test.name.split(' ').next().unwrap();
        if outcome.is_ok() == test.is_valid {
            agreed += 1;
            if std::env::var_os("TRUC_VECTORS_SHOWN").is_some() {
                println!("{}: {outcome:?}", test.name);
            }
        } else if justified.contains_key(number) {
            excused.push(number.to_owned());
        } else {
            wrong.push(format!("{} (valid: {}): {outcome:?}", test.name, test.is_valid));
        }
    }
    println!("PKITS: {run} run, {agreed} agree, {} justified", excused.len());
    for number in &excused {
        println!("  {number}: {}", justified[number.as_str()]);
    }
    assert!(wrong.is_empty(), "{} other outcomes:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((run, excused.len()), (249, JUSTIFIED.len()), "a test is missing, or a justification is not needed");
}
