//! `truc-certs-dev`: writes a development PKI to a directory.
#![expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]

use std::{fs::File, io::Read as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use truc_certs_dev::{KeyKind, Plan, write_tree};

/// Longest agencies file read, in bytes.
const AGENCIES_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Makes a development PKI shaped like the Government Cipher Committee's: root, sub-CA, certificates for a relay, nodes and
/// agencies, revocation lists. Every subject says DEV. Never for production, never overwrites.
#[derive(Parser)]
#[command(name = "truc-certs-dev", version)]
struct Arguments {
    /// Directory to write to; created if missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Lines `code,name[,node]`; without it G22, H26, H37 and H05, each with a node of its own.
    #[arg(long, value_name = "FILE")]
    agencies: Option<PathBuf>,
    /// Kind of the subscribers' keys: rsa2048, rsa3072 or p256. Root and sub-CA are RSA-3072 always.
    #[arg(long, value_name = "KIND", default_value = "p256")]
    key: KeyKind,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("truc-certs-dev: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut plan = Plan { keys: arguments.key, ..Plan::default() };
    if let Some(path) = &arguments.agencies {
        let mut text = String::new();
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let read = file.take(AGENCIES_BYTES_MAX + 1).read_to_string(&mut text);
        let length = read.with_context(|| format!("read {} as UTF-8 text", path.display()))?;
        anyhow::ensure!(
            length as u64 <= AGENCIES_BYTES_MAX,
            "{} is longer than {AGENCIES_BYTES_MAX} bytes",
            path.display()
        );
        plan.agencies = Plan::read_agencies(&text).with_context(|| path.display().to_string())?;
    }
    let tree = write_tree(&arguments.out, &plan)?;
    println!(
        "{}: {} agencies on {} nodes, relay {}",
        tree.root.display(),
        plan.agencies.len(),
        plan.nodes().len(),
        plan.relay
    );
    println!("trust anchor  {}", tree.anchors().display());
    println!("operator      {}", tree.operator_certificate().display());
    println!("For development only: the keys lie unencrypted beside the certificates.");
    Ok(())
}
