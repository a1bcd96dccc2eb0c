//! `truc-process …`: the officers' tool under another name, for tests that call it as its users do.

fn main() -> std::process::ExitCode {
    truc_cli::main()
}
