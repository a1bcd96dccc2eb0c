//! `truc`: the tool of officers and cipher administrators.

fn main() -> std::process::ExitCode {
    truc_cli::main()
}
