//! `truc completion SHELL`.

use clap::CommandFactory as _;

use crate::{
    args::Cli,
    exit::{Exit, Outcome},
};

pub(crate) fn run(shell: clap_complete::Shell) -> Outcome {
    clap_complete::generate(shell, &mut Cli::command(), "truc", &mut std::io::stdout());
    Ok(Exit::Good)
}
