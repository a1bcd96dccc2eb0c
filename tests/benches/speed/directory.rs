//! P7: a directory of 125,000 codes with two certificates each: look-up, search without diacritics, memory with the certificates on the disk.
//!
//! A process of its own opens the file, so that what making it took is not counted.

use std::{
    env, fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use truc_certs_dev::{KeyKind, Pki, Profile, Subject};
use truc_evidence::{Directory, DirectoryQuery, DirectoryWriter, PinnedOperator};
use truc_ledger::merkle::MemTree;
use truc_proto::{
    AgencyEntry, AgencyId, CertificateBinding, Digest, Entry, KeyUse, Lane, NodeEntry, OperatorEntry, Raw,
    RootStatement, Route, SealingAlgorithm, Timestamp,
};
use truc_signer::{Certificate, TrustStore, sign_detached};

use crate::{
    axis::{Party, axis},
    report::{Figure, Report, Target, median, milliseconds, scaled, short},
    resume::mebibytes,
};

const CODES: u64 = 125_000;
const NODES: u64 = 1_000;
const LOOKUP_MS: f64 = 1.0;
const SEARCH_MS: f64 = 20.0;
const MEMORY_MEBIBYTES: f64 = 150.0;
/// Set for the process that measures: the folder with the directory.
const FOLDER: &str = "TRUC_BENCH_DIRECTORY";
/// As people ask: a province's department, a ministry, a code, an old code, one letter, everything, words in another order, nothing that fits.
const SEARCHES: [&str; 9] = [
    "so y te 17",
    "ubnd xa",
    "H17.4",
    "000.03",
    "u",
    "",
    "nhan dan uy ban 29 xa phuong",
    "trung hoc co so",
    "khong co dau",
];
const KINDS: [&str; 8] = [
    "Ủy ban nhân dân xã",
    "Ủy ban nhân dân phường",
    "Sở Y tế",
    "Sở Giáo dục và Đào tạo",
    "Trường Trung học cơ sở",
    "Trung tâm Y tế",
    "Phòng Kinh tế, Hạ tầng và Đô thị",
    "Ban Quản lý dự án đầu tư xây dựng",
];
const PLACES: [&str; 8] =
    ["Đắk Nông", "Thừa Thiên Huế", "Hoàn Kiếm", "Bà Rịa", "Quảng Trị", "Cầu Giấy", "Mường Nhé", "Phú Quốc"];

/// The whole bench, but in the process that measures: that prints its figures and is done.
pub(crate) fn measured() -> anyhow::Result<bool> {
    let Some(folder) = env::var_os(FOLDER) else { return Ok(false) };
    println!("{}", measure(&PathBuf::from(folder))?);
    Ok(true)
}

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    if !Path::new("/proc/self/status").exists() {
        report.skip("P7", "memory is read from /proc, which this system has not");
        return Ok(());
    }
    let folder = tempfile::tempdir().context("make a folder")?;
    let codes = scaled(CODES, 100);
    make(folder.path(), codes, scaled(NODES, 10))?;
    let output = Command::new(env::current_exe()?).env(FOLDER, folder.path()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let measured: Value = serde_json::from_slice(&output.stdout).context("what the measuring process says")?;
    let number = |name: &str| measured.get(name).and_then(Value::as_f64).context("a figure is missing");
    let size = fs::metadata(folder.path().join("current.directory"))?.len();
    let from = || vec![("codes", codes.to_string()), ("file", format!("{} MB", size / 1_000_000))];
    for (what, name, unit, target) in [
        ("look-up of a code and its certificate's facts", "lookup_ms", "ms", LOOKUP_MS),
        ("look-up with the entry read from the disk", "entry_ms", "ms", LOOKUP_MS),
        ("like codes for one that is not there", "unknown_ms", "ms", f64::INFINITY),
        ("search, slowest of all kinds", "search_ms", "ms", SEARCH_MS),
        ("memory with the search index", "memory_mib", "MiB", MEMORY_MEBIBYTES),
    ] {
        let mut from = from();
        if name == "search_ms" {
            from.push(("slowest", measured.get("slowest").map(ToString::to_string).unwrap_or_default()));
        }
        if name == "memory_mib" {
            from.push(("verified in", format!("{} s", short(number("open_s")?))));
            from.push(("index in", format!("{} ms", short(number("index_ms")?))));
        }
        report.add(Figure {
            id: "P7",
            what: what.to_owned(),
            value: number(name)?,
            unit,
            target: Some(target).filter(|target| target.is_finite()).map(Target::AtMost),
            from,
        });
    }
    Ok(())
}

fn measure(folder: &Path) -> anyhow::Result<Value> {
    let before = resident()?;
    let anchors = Certificate::from_pem(&fs::read(folder.join("anchors.pem"))?)?;
    let trust = TrustStore::new(anchors, Certificate::from_pem(&fs::read(folder.join("intermediates.pem"))?)?, vec![])?;
    let operator = PinnedOperator::from_file_bytes(&fs::read(folder.join("operator.pem"))?)?;
    let now = truc_certs_dev::now();
    let start = Instant::now();
    let directory = Directory::open(&folder.join("current.directory"), &operator, &trust, now)?;
    let open_s = start.elapsed().as_secs_f64();
    let start = Instant::now();
    directory.prepare_search();
    let index_ms = milliseconds(start.elapsed());
    let memory = resident()?.saturating_sub(before);

    let all = directory.agencies();
    let some: Vec<&AgencyId> = all.iter().step_by((all.len() / 500).max(1)).map(|agency| &agency.code).collect();
    let mut times = Vec::new();
    for code in &some {
        let start = Instant::now();
        black_box(directory.resolve(code, now)?);
        black_box(directory.binding(code, KeyUse::Sealing, now)?);
        times.push(milliseconds(start.elapsed()));
    }
    let lookup_ms = median(times);
    let mut times = Vec::new();
    for code in &some {
        let start = Instant::now();
        let entry = directory.read_entry(&format!("agency/{code}"))?.context("a code of the directory")?;
        for binding in entry.certificates() {
            black_box(Certificate::from_der(&binding.der)?);
        }
        times.push(milliseconds(start.elapsed()));
    }
    let entry_ms = median(times);
    let mut unknown_ms: f64 = 0.0;
    for code in ["H17.9999.99", "Y99.1", "H17"] {
        let code = format!("{code}0").parse::<AgencyId>().or_else(|_| "Y98".parse())?;
        let mut times = Vec::new();
        for _ in 0..9 {
            let start = Instant::now();
            ensure!(black_box(directory.resolve(&code, now)).is_err(), "{code} is not there");
            times.push(milliseconds(start.elapsed()));
        }
        unknown_ms = unknown_ms.max(median(times));
    }
    let (mut search_ms, mut slowest) = (0.0, "");
    for text in SEARCHES {
        let mut times = Vec::new();
        for _ in 0..9 {
            let start = Instant::now();
            black_box(directory.search(&DirectoryQuery { text, under: None, limit: 50, at: now }));
            times.push(milliseconds(start.elapsed()));
        }
        let time = median(times);
        if time > search_ms {
            (search_ms, slowest) = (time, text);
        }
    }
    Ok(json!({
        "open_s": open_s, "index_ms": index_ms, "memory_mib": mebibytes(memory), "lookup_ms": lookup_ms,
        "entry_ms": entry_ms, "unknown_ms": unknown_ms, "search_ms": search_ms, "slowest": slowest,
    }))
}

/// Bytes of this process in memory.
fn resident() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

/// Writes a signed directory, entry by entry: first for the root, then into the file.
fn make(folder: &Path, codes: u64, nodes: u64) -> anyhow::Result<()> {
    let now = truc_certs_dev::now();
    let pki = Pki::new(KeyKind::P256, now)?;
    let operator = Party::new(&pki, Profile::Operator, KeyKind::P256, Subject::new("Vận hành trục"))?;
    let service = Party::new(&pki, Profile::Service, KeyKind::Rsa3072, Subject::new("Dịch vụ"))?;
    let made = Made {
        codes,
        nodes,
        now,
        service: service.binding(KeyUse::Service)?,
        sealing: sealing_of(&service)?,
        operator: operator.binding(KeyUse::Operator)?,
    };
    let mut tree = MemTree::default();
    made.each(|bytes| {
        tree.push(&bytes);
        Ok(())
    })?;
    let statement = Raw::write(RootStatement {
        axis: axis()?,
        lane: Lane::Ordinary,
        version: 1,
        issued: now,
        valid_until: Timestamp::from_unix_ms(now.unix_ms() + 30 * 86_400_000),
        size: tree.size(),
        root: tree.root(),
        previous: None,
    })?;
    let cms = sign_detached(&operator.key, statement.bytes(), Some(now))?;
    fs::write(folder.join("anchors.pem"), &pki.anchors_pem)?;
    fs::write(folder.join("intermediates.pem"), &pki.intermediates_pem)?;
    fs::write(folder.join("operator.pem"), operator.issued.leaf_pem())?;
    let mut writer = DirectoryWriter::create(folder, statement.bytes(), &cms)?;
    made.each(|bytes| Ok(writer.entry(&bytes)?))?;
    let pinned = PinnedOperator::from_file_bytes(operator.issued.leaf_pem().as_bytes())?;
    let anchors = Certificate::from_pem(pki.anchors_pem.as_bytes())?;
    let trust = TrustStore::new(anchors, Certificate::from_pem(pki.intermediates_pem.as_bytes())?, vec![])?;
    writer.finish(&pinned, &trust, &axis()?, Lane::Ordinary, now)?.save(folder)?;
    Ok(())
}

fn sealing_of(party: &Party) -> anyhow::Result<CertificateBinding> {
    Ok(CertificateBinding { algorithms: vec![SealingAlgorithm::RsaOaepSha256], ..party.binding(KeyUse::Sealing)? })
}

/// What the entries are made of.
struct Made {
    codes: u64,
    nodes: u64,
    now: Timestamp,
    service: CertificateBinding,
    sealing: CertificateBinding,
    operator: CertificateBinding,
}

impl Made {
    /// Every entry's bytes, sorted by key.
    fn each(&self, mut take: impl FnMut(Bytes) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut numbers: Vec<(String, u64)> = (0..self.codes).map(|number| (code(number), number)).collect();
        numbers.sort_unstable();
        for (code, number) in numbers {
            take(written(Entry::Agency(self.agency(&code, number)?))?)?;
        }
        for number in 0..self.nodes {
            take(written(Entry::Node(self.node(&format!("N-{number:06}"), number)?))?)?;
        }
        let name = "Vận hành trục".to_owned();
        take(written(Entry::Operator(OperatorEntry { name, certificates: vec![self.operator.clone()] }))?)?;
        take(written(Entry::Relay(self.node("R1", self.nodes)?))?)
    }

    fn agency(&self, code: &str, number: u64) -> anyhow::Result<AgencyEntry> {
        let (kind, place) = (pick(&KINDS, number)?, pick(&PLACES, number / 8)?);
        Ok(AgencyEntry {
            code: code.parse()?,
            names: vec![format!("{kind} {place} {}", number % 977)],
            parent: None,
            old_codes: vec![
                format!(
                    "{:03}.{:02}.{:02}.H{:02}",
                    number / 3_400 % 1_000,
                    number / 34 % 100,
                    number % 7,
                    number % 34 + 10 + 34 * (number / 3_400_000)
                )
                .parse()?,
            ],
            valid_from: Timestamp::from_unix_ms(self.now.unix_ms() - 86_400_000),
            valid_to: None,
            serves_until: None,
            successor: None,
            route: Route::Native,
            node: Some(format!("N-{:06}", number % self.nodes).parse()?),
            lanes: vec![Lane::Ordinary],
            certificates: vec![self.service.clone(), self.sealing.clone()],
        })
    }

    fn node(&self, id: &str, number: u64) -> anyhow::Result<NodeEntry> {
        // As long as one of the authority's, and no two alike.
        let certificate = |key_use| {
            let mut der = crate::streams::noise(1_600);
            der.extend_from_slice(format!("{id} {key_use:?}").as_bytes());
            let sha256 = Digest::of(&der);
            CertificateBinding { uses: vec![key_use], der, sha256, algorithms: vec![], ..self.service.clone() }
        };
        Ok(NodeEntry {
            id: id.parse()?,
            lane: Lane::Ordinary,
            origin: format!("truc/dev/ordinary/{id}/1"),
            epoch: 1,
            ledger_key: *Digest::of(&number.to_le_bytes()).as_bytes(),
            witness_key: None,
            certificates: vec![certificate(KeyUse::Node), certificate(KeyUse::Tls)],
        })
    }
}

/// Some codes of level 1, more of level 2, most of level 3.
fn code(number: u64) -> String {
    let (level1, rest) = (number % 34 + 10, number / 34);
    match (rest, rest % 40) {
        (0, _) => format!("H{level1}"),
        (_, 0) => format!("H{level1}.{}", rest / 40),
        (_, third) => format!("H{level1}.{}.{third}", rest / 40),
    }
}

fn pick<'a>(list: &[&'a str], number: u64) -> anyhow::Result<&'a str> {
    let place = usize::try_from(number)? % list.len();
    match list.get(place) {
        Some(one) => Ok(one),
        None => bail!("the list is empty"),
    }
}

fn written(entry: Entry) -> anyhow::Result<Bytes> {
    Ok(Raw::write(entry)?.bytes().clone())
}
