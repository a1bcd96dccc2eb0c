//! Foreign programs that tests hold the node against.

use std::path::PathBuf;

/// A program of the virtual environment that `TRUC_TOOLS_VENV` names, or of the path. Without it a test skips, loudly; where
/// `TRUC_REQUIRE_TOOLS` is 1 it fails.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("TRUC_TOOLS_VENV").map(|venv| PathBuf::from(venv).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = named.into_iter().chain(std::env::split_paths(&path));
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()));
    if found.is_none() {
        let why = format!(
            "{name} is not there (pip install schemathesis tuspy); TRUC_TOOLS_VENV names a virtual environment"
        );
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none_or(|wanted| wanted != "1"), "{why}");
        eprintln!("SKIPPED: {why}");
    }
    found
}
