//! Speed and memory of the parts and of the whole, as ratios within one run: a machine's own speed cancels out.
//!
//! `cargo bench -p truc-tests --bench speed [-- P1a P8 …] [--json]`. `TRUC_BENCH_PERCENT` (100) scales how much is done; CI runs it at 1, so that
//! nothing here rots. Times are never asserted: a figure below its target is printed as such, and only what is broken ends with an error.
#![expect(clippy::print_stdout, reason = "a bench says what it measured")]

mod accept;
mod append;
mod axis;
mod bundle;
mod circular;
mod directory;
mod end_to_end;
mod ledger;
mod memory;
mod polling;
mod queued;
mod receipts;
mod report;
mod resume;
mod search;
mod start;
mod streams;

use anyhow::bail;

use report::Report;

/// A group of measures, and the names under which it is asked for.
struct Bench {
    names: &'static [&'static str],
    run: fn(&mut Report) -> anyhow::Result<()>,
}

const BENCHES: &[Bench] = &[
    Bench { names: &["P1a"], run: append::run },
    Bench { names: &["P1b"], run: accept::run },
    Bench { names: &["P2"], run: end_to_end::run },
    Bench { names: &["P3"], run: memory::run },
    Bench { names: &["P4"], run: circular::run },
    Bench { names: &["P5"], run: queued::run },
    Bench { names: &["P6"], run: resume::run },
    Bench { names: &["P7"], run: directory::run },
    Bench { names: &["P8"], run: receipts::run },
    Bench { names: &["P9"], run: start::run },
    Bench { names: &["bundle"], run: bundle::run },
    Bench { names: &["ledger"], run: ledger::run },
    Bench { names: &["polling"], run: polling::run },
    Bench { names: &["search"], run: search::run },
    Bench { names: &["streams"], run: streams::run },
];

fn main() -> anyhow::Result<()> {
    if std::env::var_os("RUST_LOG").is_some() {
        truc_tests::child::log_to_stderr();
    }
    if directory::measured()? || polling::asked()? {
        return Ok(());
    }
    let mut report = Report::default();
    let mut wanted = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--bench" => {} // cargo says so to every bench
            "--json" => report.json = true,
            name if BENCHES.iter().any(|bench| bench.is_named(name)) => wanted.push(argument),
            _ => bail!("unknown `{argument}`: name some of {}, or nothing for all", names().join(", ")),
        }
    }
    for bench in BENCHES.iter().filter(|bench| wanted.is_empty() || wanted.iter().any(|name| bench.is_named(name))) {
        (bench.run)(&mut report)?;
    }
    report.finish();
    Ok(())
}

impl Bench {
    fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

fn names() -> Vec<&'static str> {
    BENCHES.iter().flat_map(|bench| bench.names).copied().collect()
}
