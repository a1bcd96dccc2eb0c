//! One module per command.

mod admin;
mod cert;
mod completion;
mod container;
mod demo;
mod directory;
mod drill;
mod duties;
mod edxml;
mod fork;
mod group;
mod inbox;
mod load;
mod outbox;
mod receipt;
mod sandbox;
mod search;
mod send;
mod stats;
mod status;

use crate::{
    args::{Command, ReceiptCommand},
    exit::Outcome,
    output::Output,
};

/// Runs one command.
pub(crate) fn run(command: Command, output: &Output) -> Outcome {
    match command {
        Command::Demo(args) => demo::run(&args, output),
        Command::Drill(args) => drill::run(&args, output),
        Command::Load(args) => load::run(&args, output),
        Command::Sandbox(args) => sandbox::run(args, output),
        Command::Send(args) => send::run(&args, output),
        Command::Inbox(command) => inbox::run(&command, output),
        Command::Outbox(args) => outbox::run(&args, output),
        Command::Admin(command) => admin::run(&command, output),
        Command::Pin(args) => admin::pin(&args, output),
        Command::Duties(args) => duties::run(&args, output),
        Command::Stats(args) => stats::run(&args, output),
        Command::Search(args) => search::run(&args, output),
        Command::Receipt(ReceiptCommand::Verify(args)) => receipt::verify(&args, output),
        Command::Receipt(command) => receipt::from_node(&command, output),
        Command::Container(command) => container::run(&command, output),
        Command::Edxml(command) => edxml::run(&command, output),
        Command::Directory(command) => directory::run(&command, output),
        Command::Fork(command) => fork::run(&command, output),
        Command::Group(command) => group::run(&command, output),
        Command::Cert(command) => cert::run(&command, output),
        Command::Status(args) => status::run(&args, output),
        Command::Completion { shell } => completion::run(shell),
    }
}
