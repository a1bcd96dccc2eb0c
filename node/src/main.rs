//! `truc-node`: makes, runs and repairs an agency's node.

fn main() -> std::process::ExitCode {
    truc_node::command::main()
}
