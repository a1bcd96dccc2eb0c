//! `truc-relay`: the relay of a document axis.

use std::process::ExitCode;

fn main() -> ExitCode {
    truc_relay::command::main()
}
