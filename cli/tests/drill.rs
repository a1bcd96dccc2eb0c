//! The drill as an administrator runs it.

use std::process::Command;

use serde_json::Value;

#[test]
fn the_drill_ends_well_and_says_how_long_each_part_took() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_truc"));
    let output = command.args(["drill", "--json", "--rate", "5"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
    let account: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(account["held"], true);
    let (steps, promises) = (account["steps"].as_array().unwrap(), account["promises"].as_array().unwrap());
    assert!(steps.len() >= 10 && promises.len() >= 10, "{account:#}");
    assert!(steps.iter().all(|step| step["ms"].is_u64() && !step["vietnamese"].as_str().unwrap().is_empty()));
    assert!(!std::path::Path::new(account["dir"].as_str().unwrap()).exists(), "the folder is removed");
}
