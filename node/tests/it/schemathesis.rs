//! The OpenAPI document and the node are held against each other by a foreign tool: whatever the description allows is answered as it
//! says, whatever it forbids is refused, and nothing ends in a 5xx.

use std::{path::Path, process::Command};

use crate::{tools::tool, world::World};

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_that_the_description_does_not_say() {
    let Some(tool) = tool("schemathesis") else { return };
    let world = World::start().await;
    let interop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/interop");
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(tool);
    command.arg("--config-file").arg(interop.join("schemathesis.toml")).arg("--no-color").arg("run");
    command.arg(format!("http://{}/api/v1/openapi.json", world.rest("N-A")));
    command.env("SCHEMATHESIS_HOOKS", interop.join("schemathesis_hooks.py"));
    command.env("TRUC_TOKEN", world.token("N-A")).current_dir(folder.path());
    let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if std::env::var_os("TRUC_SCHEMATHESIS_SHOW").is_some() {
        eprintln!("{said}");
    }
    assert!(ran.status.success(), "{said}");
}
