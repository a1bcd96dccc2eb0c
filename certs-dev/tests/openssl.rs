//! What we issue, `openssl` accepts; what we revoke, it refuses.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use truc_certs_dev::{AgencyPlan, KeyFiles, KeyKind, Plan, Tree, TreeError, write_tree};

fn openssl(arguments: &[&str]) -> Option<Output> {
    match Command::new("openssl").args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if std::env::var_os("TRUC_REQUIRE_TOOLS").is_none() => {
            eprintln!("SKIPPED: openssl does not run: {error}");
            None
        }
        Err(error) => panic!("TRUC_REQUIRE_TOOLS is set and openssl does not run: {error}"),
    }
}

fn plan(keys: KeyKind) -> Plan {
    Plan {
        agencies: vec![AgencyPlan::new("H26.18", "UBND thành phố Hà Nội")],
        keys,
        authority_keys: KeyKind::P256,
        ..Plan::default()
    }
}

/// Every `X.pem` that stands beside an `X.p12`.
fn leaves(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(leaves(&path));
        } else if path.extension().is_some_and(|end| end == "p12") {
            found.push(path.with_extension("pem"));
        }
    }
    found.sort();
    found
}

fn verify(tree: &Tree, crls: &Path, leaf: &Path) -> Option<(bool, String)> {
    let (anchors, intermediates) = (tree.anchors(), tree.intermediates());
    let output = openssl(&[
        "verify",
        "-crl_check_all",
        "-x509_strict",
        "-CAfile",
        anchors.to_str()?,
        "-CRLfile",
        crls.to_str()?,
        "-untrusted",
        intermediates.to_str()?,
        leaf.to_str()?,
    ])?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some((output.status.success(), text))
}

#[track_caller]
fn check(plan: &Plan, expected_leaves: usize) {
    let directory = tempfile::tempdir().unwrap();
    let tree = write_tree(&directory.path().join("pki"), plan).unwrap();
    let crls = directory.path().join("crls.pem");
    fs::write(&crls, tree.crls().map(|path| fs::read_to_string(path).unwrap()).concat()).unwrap();

    let leaves = leaves(&tree.root);
    assert_eq!(leaves.len(), expected_leaves);
    for leaf in leaves {
        let Some((good, said)) = verify(&tree, &crls, &leaf) else { return };
        let revoked = leaf.starts_with(tree.root.join("revoked"));
        assert_eq!(good, !revoked, "{}: {said}", leaf.display());
        assert_eq!(revoked, said.contains("certificate revoked"), "{said}");
        check_forms(&leaf);
    }
}

/// DEV in the subject, key and certificate belong together, PKCS#12 opens with its password.
fn check_forms(leaf: &Path) {
    let text = |arguments: &[&str]| {
        let output = openssl(arguments).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        // Not all UTF-8: `openssl pkcs12` prints BMPString names as it likes.
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (leaf_name, key, p12) = (leaf.to_str().unwrap(), leaf.with_extension("key"), leaf.with_extension("p12"));
    let subject = text(&["x509", "-in", leaf_name, "-noout", "-subject", "-nameopt", "utf8,sep_comma_plus"]);
    assert!(subject.contains(" DEV"), "{subject}");
    let public = text(&["x509", "-in", leaf_name, "-noout", "-pubkey"]);
    assert_eq!(public, text(&["pkey", "-in", key.to_str().unwrap(), "-pubout"]));

    let password = format!("file:{}", leaf.with_extension("password").display());
    let opened = text(&["pkcs12", "-in", p12.to_str().unwrap(), "-passin", &password, "-nodes"]);
    assert_eq!(opened.matches("BEGIN CERTIFICATE").count(), 2, "leaf and sub-CA");
    let key_text = fs::read_to_string(&key).unwrap();
    let key_der = |text: &str| text.split("-----").nth(2).unwrap().replace('\n', "");
    let in_p12 = opened.split("-----BEGIN PRIVATE KEY").nth(1).unwrap();
    assert_eq!(key_der(&format!("-----BEGIN PRIVATE KEY{in_p12}")), key_der(&key_text));
}

#[test]
fn openssl_accepts_every_p256_leaf_and_refuses_the_revoked_one() {
    check(&plan(KeyKind::P256), 12);
}

#[test]
fn openssl_accepts_every_rsa_leaf_under_rsa_authorities() {
    check(&Plan { authority_keys: KeyKind::Rsa3072, ..plan(KeyKind::Rsa2048) }, 12);
}

#[test]
fn time_stamping_is_critical_and_alone_and_names_are_vietnamese() {
    let directory = tempfile::tempdir().unwrap();
    let tree = write_tree(directory.path(), &plan(KeyKind::P256)).unwrap();
    let show = |stem: &str| {
        let path = tree.files(stem).certificate;
        let output = openssl(&["x509", "-in", path.to_str()?, "-noout", "-text", "-nameopt", "utf8,sep_comma_plus"])?;
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let Some(tsa) = show("services/tsa") else { return };
    assert!(tsa.contains("X509v3 Extended Key Usage: critical\n                Time Stamping\n"), "{tsa}");
    let ocsp = show("services/ocsp").unwrap();
    assert!(ocsp.contains("OCSP Signing\n") && ocsp.contains("OCSP No Check"), "{ocsp}");
    assert!(
        ocsp.contains("OCSP - URI:http://ocsp.dev.invalid/") && ocsp.contains("URI:http://crl.dev.invalid/sub.crl")
    );
    let seal = show("agencies/H26.18/seal").unwrap();
    assert!(seal.contains("CN=UBND THÀNH PHỐ HÀ NỘI DEV"), "{seal}");
    assert!(seal.contains("CN=CA DEV phục vụ các cơ quan Nhà nước"), "{seal}");
    assert!(show("agencies/H26.18/sealing").unwrap().contains("Key Usage: critical\n                Key Agreement\n"));
    let tls = show("nodes/H26-18/tls").unwrap();
    assert!(tls.contains("DNS:h26-18, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1"), "{tls}");
}

#[test]
fn keys_are_for_their_owner_and_nothing_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("new");
    let tree = write_tree(&out, &plan(KeyKind::P256)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let KeyFiles { key, pkcs12, password, .. } = tree.agency("H26.18", "service");
    for secret in [key.clone(), pkcs12, password, out.join("ca/root.key"), out.join("ca/sub.key")] {
        assert_eq!(mode(&secret), 0o600, "{}", secret.display());
    }
    for folder in [out.clone(), out.join("ca"), out.join("agencies/H26.18")] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
    }

    let before = fs::read(&key).unwrap();
    let error = write_tree(&out, &plan(KeyKind::P256)).unwrap_err();
    assert!(matches!(&error, TreeError::Occupied(path) if *path == tree.anchors()), "{error}");
    assert!(error.to_string().contains("anchors.pem is there already and nothing was written"), "{error}");
    assert_eq!(fs::read(&key).unwrap(), before);

    // One left-over folder is enough to refuse, and nothing is added to it.
    let other = directory.path().join("other");
    fs::create_dir_all(other.join("revoked")).unwrap();
    assert!(matches!(write_tree(&other, &plan(KeyKind::P256)), Err(TreeError::Occupied(_))));
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
}

#[test]
fn a_code_that_leaves_its_folder_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut hostile = plan(KeyKind::P256);
    hostile.agencies.push(AgencyPlan { code: "../H26".into(), name: "x".into(), node: "H26".into() });
    assert!(matches!(write_tree(directory.path(), &hostile), Err(TreeError::Name(name)) if name == "../H26"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
