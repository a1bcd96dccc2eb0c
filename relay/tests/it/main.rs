//! A relay with real sockets and a hand-made client: what nodes may rely on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod client;
mod flows;
mod histories;
mod packed;
mod repeated;
mod unreadable;
mod world;

/// Scripts rely on the code; people read why in both languages.
#[test]
fn a_command_line_that_is_not_understood_ends_with_64() {
    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_truc-relay")).args(["serve"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(said.contains("--dir <DIR>") && said.contains("thiếu tham số bắt buộc"), "{said}");
}
