//! Foreign programs that tests hold our work against; other crates' tests take this file too.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// Programs of this name in the virtual environment that `TRUC_TOOLS_VENV` names, and of the path.
pub(crate) fn named(name: &str) -> Vec<PathBuf> {
    let venv = std::env::var_os("TRUC_TOOLS_VENV").map(|venv| PathBuf::from(venv).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = venv.into_iter().chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(name)).filter(|file| file.is_file()).collect()
}

/// Without a tool a test skips, loudly; where `TRUC_REQUIRE_TOOLS` is 1 it fails.
pub(crate) fn required(found: Option<PathBuf>, what: &str) -> Option<PathBuf> {
    if found.is_none() {
        let why = format!("{what} is not there (`.ci/run` installs it)");
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none_or(|wanted| wanted != "1"), "{why}");
        eprintln!("SKIPPED: {why}");
    }
    found
}

/// A program.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    required(named(name).into_iter().next(), name)
}

/// A Python that has this module.
pub(crate) fn python(module: &str) -> Option<PathBuf> {
    let has = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let what = format!("the Python module {module}, also in the virtual environment TRUC_TOOLS_VENV,");
    required(named("python3").into_iter().find(has), &what)
}
