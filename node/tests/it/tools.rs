//! Foreign programs that tests hold the node against.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// Programs of this name in the virtual environment that `TRUC_TOOLS_VENV` names, and of the path.
fn named(name: &str) -> Vec<PathBuf> {
    let venv = std::env::var_os("TRUC_TOOLS_VENV").map(|venv| PathBuf::from(venv).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = venv.into_iter().chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(name)).filter(|file| file.is_file()).collect()
}

/// Without a tool a test skips, loudly; where `TRUC_REQUIRE_TOOLS` is 1 it fails.
fn required(found: Option<PathBuf>, what: &str) -> Option<PathBuf> {
    if found.is_none() {
        let why = format!("{what} is not there");
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none_or(|wanted| wanted != "1"), "{why}");
        eprintln!("SKIPPED: {why}");
    }
    found
}

/// A program.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    required(
        named(name).into_iter().next(),
        &format!("{name} (pip install {name}; TRUC_TOOLS_VENV names a virtual environment)"),
    )
}

/// A Python that has this module.
pub(crate) fn python(module: &str) -> Option<PathBuf> {
    let has = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    required(
        named("python3").into_iter().find(has),
        &format!(
            "the Python module {module} (pip install tuspy standardwebhooks; TRUC_TOOLS_VENV names a virtual environment)"
        ),
    )
}

/// Node.js with what the verify page is tried with, and the folder of the page's sources.
pub(crate) fn page_tools() -> Option<(PathBuf, PathBuf)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../verify");
    let modules = folder.join("node_modules").is_dir();
    let node = named("node").into_iter().next().filter(|_| modules && !named("chromium").is_empty());
    let node =
        required(node, "node, chromium or verify/node_modules (apt install nodejs npm chromium; npm ci in verify/)")?;
    Some((node, folder))
}
