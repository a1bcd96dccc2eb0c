//! A node that is made has everything it needs to be bound and to start; one that cannot be made leaves nothing.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use truc_certs_dev::{AgencyPlan, KeyKind, Plan, Tree, write_tree};
use truc_evidence::verify_binding;
use truc_ledger::{LedgerKey, blobs::BlobStore, volume::DirVolume};
use truc_node::{
    InitError, InitRequest, Settings, init,
    init::AgencyInit,
    pipe::Pipes,
    settings::{KeySource, TrustFiles},
    tokens::LiveTokens,
};
use truc_proto::{Lane, Raw, SignedBinding};

use crate::world::code;

fn tree(folder: &Path) -> Tree {
    let agencies = ["H26", "H26.01"]
        .map(|name| AgencyPlan { node: "N-H26".to_owned(), ..AgencyPlan::new(name, &format!("UBND {name}")) });
    let plan = Plan {
        agencies: agencies.to_vec(),
        relay: "R1".to_owned(),
        keys: KeyKind::P256,
        authority_keys: KeyKind::P256,
    };
    write_tree(&folder.join("pki"), &plan).unwrap()
}

fn request(folder: &Path, tree: &Tree) -> InitRequest {
    let pem = |files: truc_certs_dev::KeyFiles| KeySource::Pem { certificate: files.certificate, key: files.key };
    let pkcs12 =
        |files: truc_certs_dev::KeyFiles| KeySource::Pkcs12 { file: files.pkcs12, password_file: files.password };
    let agency = |name: &str| AgencyInit {
        code: code(name),
        name: None,
        service: pkcs12(tree.agency(name, "service")),
        sealing: pem(tree.agency(name, "sealing")),
    };
    InitRequest {
        folder: folder.join("node"),
        axis: "test".parse().unwrap(),
        lane: Lane::Ordinary,
        id: "N-H26".parse().unwrap(),
        agencies: vec![agency("H26"), agency("H26.01")],
        tls: pem(tree.node("N-H26", "tls")),
        node_key: pkcs12(tree.node("N-H26", "node")),
        trust: TrustFiles {
            anchors: tree.anchors(),
            intermediates: Some(tree.intermediates()),
            crls: tree.crls().to_vec(),
            policies: truc_signer::PolicySettings::default(),
            operator: tree.operator_certificate(),
        },
        relay: "localhost:7443".to_owned(),
        relay_id: "R1".parse().unwrap(),
        local: "127.0.0.1:0".parse().unwrap(),
        now: truc_certs_dev::now(),
    }
}

#[test]
fn a_node_is_made_whole_and_its_binding_request_holds() {
    let folder = tempfile::tempdir().unwrap();
    let tree = tree(folder.path());
    let made = init(request(folder.path(), &tree)).unwrap();
    let settings = Settings::load(&folder.path().join("node")).unwrap();
    assert_eq!(settings, made.settings, "what was written reads the same");
    assert_eq!(settings.origin(), "truc/test/ordinary/N-H26/1");

    let trust = Arc::new(settings.trust.load().unwrap());
    assert_eq!(fs::read(&made.binding).unwrap(), made.binding_bytes);
    let binding = Raw::<SignedBinding>::parse(made.binding_bytes.clone()).unwrap();
    let now = truc_certs_dev::now();
    let verified = verify_binding(&binding, None, &trust, &settings.axis, settings.lane, now).unwrap();
    assert_eq!(verified.unproven_sealing(), []);
    let keys: Vec<String> = verified.request().entries.iter().map(truc_proto::Entry::key).collect();
    assert_eq!(keys, ["agency/H26", "agency/H26.01", "node/N-H26"]);
    let name = &verified.request().entries[0].as_agency().unwrap().names[0];
    assert!(name.contains("H26"), "{name}");
    let ledger = LedgerKey::from_file(&settings.origin(), &settings.ledger_key).unwrap();
    assert_eq!(verified.request().entries[2].as_node().unwrap().ledger_key, *ledger.public().public_key());

    let blobs = Arc::new(BlobStore::open(Arc::new(DirVolume::create(settings.store()).unwrap())).unwrap());
    Pipes::load(&settings, trust, blobs).unwrap();
    assert_eq!(settings.trust.operator().unwrap().certificates().len(), 1);
    settings.tls_keys[0].load_identity().unwrap();
    let grant = LiveTokens::open(&settings.tokens).unwrap().authorise(made.token.expose()).unwrap().unwrap();
    assert!(grant.allows(&code("H26.01")));
    for entry in fs::read_dir(folder.path().join("node/keys")).unwrap().map(Result::unwrap) {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", entry.path().display());
    }
    assert_eq!(fs::metadata(folder.path().join("node")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let tree = tree(folder.path());
    init(request(folder.path(), &tree)).unwrap();
    assert!(matches!(init(request(folder.path(), &tree)), Err(InitError::Occupied { .. })));

    let elsewhere = || InitRequest { folder: folder.path().join("other"), ..request(folder.path(), &tree) };
    let wrong_use = InitRequest { tls: elsewhere().node_key, ..elsewhere() };
    assert!(matches!(init(wrong_use), Err(InitError::Certificate { .. })));
    let mut twice = elsewhere();
    twice.agencies.push(twice.agencies[0].clone());
    assert!(matches!(init(twice), Err(InitError::Request { .. })));
    let revoked = tree.files("revoked/service");
    let mut agencies = elsewhere().agencies;
    agencies[0].service = KeySource::Pem { certificate: revoked.certificate, key: revoked.key };
    assert!(matches!(init(InitRequest { agencies, ..elsewhere() }), Err(InitError::Revoked { .. })));
    let outside = InitRequest { local: "0.0.0.0:1".parse().unwrap(), ..elsewhere() };
    assert!(matches!(init(outside), Err(InitError::Request { .. })));
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["node", "pki"]);
}

#[test]
fn an_agency_on_the_command_line_is_a_code_and_two_files() {
    let parsed: truc_node::init::AgencyArg = "H26=a/service.p12,a/sealing.pem".parse().unwrap();
    assert_eq!((parsed.code, parsed.sealing.to_str()), (code("H26"), Some("a/sealing.pem")));
    for wrong in ["H26", "H26=a", "H26=a,", "x=a,b", "=a,b"] {
        assert!(wrong.parse::<truc_node::init::AgencyArg>().is_err(), "{wrong}");
    }
}
