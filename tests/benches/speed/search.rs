//! Search of a million documents by words: rare ones, frequent ones, both, and the worst there is: two words that every other document has, and no document both.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use truc_ledger::{Ledger, Record, SubmitError, index::Effort};
use truc_node::{
    archive::Archive,
    core::Policy,
    records::{About, Body, Content, OpeningParts, Particulars},
    words::{DocumentQuery, WordKey},
};
use truc_proto::{
    Digest, EnvelopeId, Timestamp,
    limits::{INDEX_BLOCKS_MAX, SEARCH_READ_MAX},
};
use truc_signer::storage::StorageKey;

use crate::{
    append::{Nothing, open_ledger},
    report::{Figure, Report, Target, median, milliseconds, scaled, short},
};

const DOCUMENTS: u64 = 1_000_000;
/// Syllables that subjects are made of; the first are the most frequent.
const SYLLABLES: u64 = 2_500;
/// Words of a subject besides those that are asked for.
const SUBJECT_WORDS: u64 = 16;
const PAGE: usize = 50;
/// A page, whatever is asked.
const PAGE_MS: f64 = 50.0;
const BATCH: u64 = 512;
const REPEATS: usize = 9;
/// A million documents take minutes to index.
const OPENS_WITHIN: Duration = Duration::from_secs(1_800);

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let documents = scaled(DOCUMENTS, 2_000);
    let folder = tempfile::tempdir().context("make a folder")?;
    let ledger = open_ledger(folder.path(), &mut Nothing)?;
    write(&ledger, documents)?;
    let (index, key) = (folder.path().join("index"), WordKey::of(&StorageKey::generate(1)?));
    let policy = Policy::new("N-G22".parse()?);
    let open = || Archive::open(ledger.clone(), index.clone(), policy.clone(), key.clone());
    let start = Instant::now();
    let archive = open_with(open)?;
    let built = start.elapsed();
    archive.close();
    let megabytes = bytes_below(&index)? / 1_000_000;
    let start = Instant::now();
    let archive = open_with(open)?;
    let opened = start.elapsed();
    report.add(Figure {
        id: "search",
        what: "index of documents built anew".into(),
        value: built.as_secs_f64(),
        unit: "s",
        target: None,
        from: vec![
            ("documents", documents.to_string()),
            ("on the disk", format!("{megabytes} MB")),
            ("opened again in", format!("{} s", short(opened.as_secs_f64()))),
        ],
    });
    // A multiple of six: an even one about `triển khai`.
    let middle = documents / 12 * 6;
    for (what, text) in [
        ("one document by its number", format!("{middle}/VPCP-KSTT")),
        ("a rare word and a frequent one", format!("trien khai {middle}")),
        ("three frequent words", "cong van trien".to_owned()),
        ("a whole subject, pasted", subject(middle)),
        ("frequent words of one month", "cong van trien khai".to_owned()),
        ("two frequent words, never together", "chan le".to_owned()),
    ] {
        let from = if what.ends_with("month") { "2019-04" } else { "" };
        let query = DocumentQuery::read(&text, from, from, None)?;
        let (mut times, mut last) = (Vec::new(), Page::default());
        for _ in 0..REPEATS {
            let start = Instant::now();
            last = page(&archive, &query)?;
            times.push(milliseconds(start.elapsed()));
        }
        ensure!(last.found > 0 || last.goes_on || text == "chan le", "{what}: nothing found");
        report.add(Figure {
            id: "search",
            what: what.into(),
            value: median(times),
            unit: "ms",
            target: Some(Target::AtMost(PAGE_MS)),
            from: vec![
                ("found", format!("{}{}", last.found, if last.goes_on { ", goes on" } else { "" })),
                ("read", last.read.to_string()),
                ("blocks", last.blocks.to_string()),
            ],
        });
    }
    archive.close();
    ledger.close();
    Ok(())
}

/// Until it answers. An index whose disk stands still is given up and built again by itself: that is slow, and no failure of the bench.
fn open_with(open: impl Fn() -> std::io::Result<Archive>) -> anyhow::Result<Archive> {
    let (archive, deadline) = (open()?, Instant::now() + OPENS_WITHIN);
    loop {
        archive.wait();
        match archive.closed_before(false, u64::MAX, 1) {
            Ok(_) => return Ok(archive),
            Err(error) => ensure!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[derive(Default)]
struct Page {
    found: usize,
    read: usize,
    blocks: usize,
    goes_on: bool,
}

/// As the service asks.
fn page(archive: &Archive, query: &DocumentQuery) -> anyhow::Result<Page> {
    let (mut page, mut below) = (Page::default(), u64::MAX);
    loop {
        let effort = Effort {
            hits: (PAGE - page.found).min(SEARCH_READ_MAX - page.read),
            blocks: INDEX_BLOCKS_MAX.saturating_sub(page.blocks),
        };
        let found = archive.search(query, below, effort)?;
        page.found += found.hits.len();
        page.read += found.looked_at;
        page.blocks += found.blocks;
        page.goes_on = found.next.is_some();
        match found.next {
            Some(next) if page.found < PAGE && page.read < SEARCH_READ_MAX && page.blocks < INDEX_BLOCKS_MAX => {
                below = next
            }
            _ => return Ok(page),
        }
    }
}

fn write(ledger: &Ledger, documents: u64) -> anyhow::Result<()> {
    for first in (0..documents).step_by(usize::try_from(BATCH)?) {
        let records = (first..documents.min(first + BATCH))
            .map(|number| record(number, documents))
            .collect::<anyhow::Result<Vec<_>>>()?;
        while let Err(refused) = ledger.submit(records.clone(), Box::new(|_| ())) {
            ensure!(refused == SubmitError::Busy, "the ledger refused: {refused}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while ledger.head().position.0 < documents {
        ensure!(Instant::now() < deadline, "the journal takes nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A received document; they are spread over ten years.
fn record(number: u64, documents: u64) -> anyhow::Result<Record> {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    let envelope = EnvelopeId::new(Timestamp::from_unix_s(1_480_000_000), [0, 0, a, b, c, d, e, f, g, h]);
    let (year, month, day) = (2017 + number * 10 / documents, 1 + number % 12, 1 + number % 28);
    let date = format!("{year:04}/{month:02}/{day:02}");
    let about = About {
        subject: subject(number),
        document_id: format!("H26,{date},{number}/VPCP-KSTT"),
        particulars: Some(Particulars { number: format!("{number}/VPCP-KSTT"), type_name: "Công văn".into(), date }),
        ..About::default()
    };
    let content = Content {
        sender: "H26".into(),
        envelope: envelope.to_string(),
        wrapped: Vec::new(),
        opening: OpeningParts::default(),
        about,
        verdict: "good".into(),
        verdict_text: String::new(),
        status: Vec::new(),
        index_keys: Vec::new(),
    };
    Ok(Record::state(Body::Content(content).write()))
}

/// Every other document is `chẵn`, the others `lẻ`; every third is about `triển khai`.
fn subject(number: u64) -> String {
    let parity = if number.is_multiple_of(2) { "chẵn" } else { "lẻ" };
    let third = if number.is_multiple_of(3) { " triển khai" } else { "" };
    let Digest(bytes) = Digest::of(&number.to_le_bytes());
    let mut words = format!("Về việc {parity}{third}");
    for (index, byte) in (0..SUBJECT_WORDS).zip(bytes) {
        let random = (u64::from(byte) << 8) | (index * 37 % 256);
        // The square makes the first ones frequent.
        words.push_str(&format!(" từ{}", (random * random * SYLLABLES) >> 32));
    }
    words
}

fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}
