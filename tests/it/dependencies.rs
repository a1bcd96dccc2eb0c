//! The shape of the workspace: dependencies point downward only, and nothing banned is in the tree.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;

/// Which of our crates each crate may name in `[dependencies]`. Tests may look anywhere.
const MAY_USE: &[(&str, &[&str])] = &[
    ("truc-proto", &[]),
    ("truc-certs-dev", &["truc-proto"]),
    ("truc-report", &["truc-proto"]),
    ("truc-ledger", &["truc-proto"]),
    ("truc-signer", &["truc-proto"]),
    ("truc-evidence", &["truc-proto", "truc-ledger", "truc-signer"]),
    ("truc-link", &["truc-proto", "truc-signer"]),
    ("truc-custody", &["truc-proto", "truc-ledger", "truc-signer", "truc-evidence", "truc-link"]),
    ("truc-relay", &["truc-proto", "truc-ledger", "truc-signer", "truc-evidence", "truc-link", "truc-custody"]),
    (
        "truc-node",
        &["truc-proto", "truc-ledger", "truc-signer", "truc-evidence", "truc-link", "truc-custody", "truc-report"],
    ),
    (
        "truc-cli",
        &[
            "truc-proto",
            "truc-ledger",
            "truc-signer",
            "truc-evidence",
            "truc-link",
            "truc-custody",
            "truc-relay",
            "truc-node",
            "truc-report",
            "truc-certs-dev",
        ],
    ),
];

/// Packages of tests alone.
const TESTS: &[&str] = &["truc-tests", "truc-sim"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Normal dependencies by crate, among our own.
fn declared() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let ours = |package: &Value| {
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
        let names = normal.map(|d| d["name"].as_str().unwrap().to_owned());
        names.filter(|n| n.starts_with("truc-")).collect::<Vec<_>>()
    };
    packages.iter().map(|p| (p["name"].as_str().unwrap().to_owned(), ours(p))).collect()
}

#[test]
fn dependencies_point_downward_only() {
    let declared = declared();
    for (package, names) in declared.iter().filter(|(p, _)| !TESTS.contains(&p.as_str())) {
        let (_, allowed) =
            MAY_USE.iter().find(|(p, _)| p == package).unwrap_or_else(|| panic!("{package} has no place in the table"));
        for name in names {
            assert!(allowed.contains(&name.as_str()), "{package} must not depend on {name}");
        }
    }
    assert_eq!(declared.len(), MAY_USE.len() + TESTS.len(), "a crate of the table is missing");
}

#[test]
fn nothing_banned_and_no_git_source_is_in_the_lock_file() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let deny = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let banned: Vec<_> = deny
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ crate = \""))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(banned.contains(&"rsa") && banned.contains(&"openssl-sys"), "deny.toml lost its bans: {banned:?}");
    for name in banned {
        assert!(
            !lock.contains(&format!("\nname = \"{name}\"\n")),
            "{name} is banned by deny.toml and stands in Cargo.lock"
        );
    }
    assert!(!lock.contains("source = \"git+"), "a git source stands in Cargo.lock");
}

#[test]
fn every_version_stands_in_the_workspace_table() {
    for (package, _) in MAY_USE {
        let folder = package.strip_prefix("truc-").unwrap();
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let mut section = String::new();
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line.to_owned();
            } else if section.contains("dependencies]") && !line.trim().is_empty() && !line.starts_with('#') {
                assert!(line.contains("workspace = true"), "{folder}/Cargo.toml: `{line}` names its own version");
            }
        }
    }
}

/// The cores decide; clocks, randomness, I/O and threads are the shell's (docs/ARCHITECTURE.md, "core and shell").
#[test]
fn the_cores_know_no_clock_no_randomness_and_no_io() {
    const BANNED: &[&str] = &[
        "SystemTime",
        "Instant",
        "SystemRandom",
        "getrandom",
        "tokio",
        "std::fs",
        "std::net",
        "std::thread",
        "std::env",
        "println!",
    ];
    let mut folders = vec![root().join("node/src/core"), root().join("relay/src/core")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // Tests of a core may look at the world; its code may not.
            if path.extension().is_none_or(|e| e != "rs") || path.to_string_lossy().contains("tests") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for word in BANNED {
                assert!(!text.contains(word), "{} names {word}", path.display());
            }
            read += 1;
        }
    }
    assert!(read > 10, "only {read} files of the cores were found");
}
