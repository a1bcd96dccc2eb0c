//! The OpenAPI document and the node are held against each other by a foreign tool: whatever the description allows is answered as it
//! says, whatever it forbids is refused, and nothing ends in a 5xx.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::rest::started;

/// `schemathesis` of the path, or the one that `TRUC_SCHEMATHESIS` names.
fn tool() -> Option<PathBuf> {
    let named = std::env::var_os("TRUC_SCHEMATHESIS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = named.into_iter().chain(std::env::split_paths(&path).map(|folder| folder.join("schemathesis")));
    found.find(|file| file.is_file())
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_that_the_description_does_not_say() {
    let Some(tool) = tool() else {
        let why = "schemathesis is not there (pip install schemathesis); TRUC_SCHEMATHESIS names it";
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none_or(|wanted| wanted != "1"), "{why}");
        eprintln!("SKIPPED: {why}");
        return;
    };
    let world = started().await;
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/interop/schemathesis.toml");
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(tool);
    command.arg("--config-file").arg(config).arg("--no-color").arg("run");
    command.arg(format!("http://{}/api/v1/openapi.json", world.rest("N-A")));
    command.env("TRUC_TOKEN", world.token("N-A")).current_dir(folder.path());
    let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if std::env::var_os("TRUC_SCHEMATHESIS_SHOW").is_some() {
        eprintln!("{said}");
    }
    assert!(ran.status.success(), "{said}");
}
