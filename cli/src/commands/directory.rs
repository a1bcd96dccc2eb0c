//! `truc directory`: show a signed version, search in it; for the operator: add, import, sign, publish.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use truc_evidence::{
    Confirmation, Directory, DirectoryFileError, DirectoryQuery, DirectoryReadError, Freshness, LEVEL1_CODES,
    PinnedOperator,
};
use truc_link::Stamper;
use truc_proto::{
    AgencyEntry, Entry, NodeEntry, Raw, SignedBinding, Timestamp, fold_for_search, limits::DIRECTORY_HITS_MAX,
};
use truc_signer::{Certificate, SoftKey};

use crate::{
    args::{CertificateState, DirectoryCommand, OperatorTrust, StampArgs},
    client::block_on,
    clock::now,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    operator::{OperatorFolder, Trust},
    output::{Output, Tone, printable},
    trust,
};

mod audit;
mod certificate;
mod import;
mod publish;
mod search;

pub(crate) use certificate::state as state_as_asked;
pub(crate) use publish::publish_to;

pub(crate) fn run(command: &DirectoryCommand, output: &Output) -> Outcome {
    match command {
        DirectoryCommand::Show { dir, trust, query } => show(dir, trust, query.as_deref(), output),
        DirectoryCommand::Add { dir, bindings, trust, codes, confirm_sealing, confirm_endorsement } => {
            let confirmed = Confirmation { sealing: *confirm_sealing, endorsement: *confirm_endorsement };
            add(dir, bindings, trust, codes.as_deref(), confirmed, output)
        }
        DirectoryCommand::Sign { dir, trust, certificate, key, valid_days, stamps } => {
            sign(dir, trust, (certificate, key), *valid_days, stamps, output)
        }
        DirectoryCommand::Certificate {
            dir, trust, state: CertificateState { from: Some(from), .. }, confirm, ..
        } => self::certificate::take(dir, trust, from, *confirm, output),
        DirectoryCommand::Certificate { dir, trust, certificate, state, .. } => {
            let none = || Failure::new(Exit::Usage, anyhow!("name a certificate, or a request with --from"));
            self::certificate::run(dir, trust, certificate.as_ref().ok_or_else(none)?, state, output)
        }
        DirectoryCommand::Policy { dir, trust, quorum } => policy(dir, trust, *quorum, output),
        DirectoryCommand::Publish(args) => publish::run(args, output),
        DirectoryCommand::Search(args) => search::run(args, output),
        DirectoryCommand::Audit(args) => audit::run(args, output),
        DirectoryCommand::Import(args) => import::run(args, output),
    }
}

pub(crate) fn load_trust(args: &OperatorTrust) -> Result<Trust, Failure> {
    let store = trust::store(&args.trust, &args.crl)?;
    let operator = PinnedOperator::from_file_bytes(&trust::read(&args.operator)?);
    let operator = operator
        .or_exit(Exit::BadData, format!("{} does not hold the operator's certificate", args.operator.display()))?;
    Ok(Trust { store, operator })
}

/// The newest version in a file, or in the folder of an operator, a node or a relay.
fn find(path: &Path) -> Result<PathBuf, Failure> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let places = [path.join("current.directory"), path.join("directory/current.directory")];
    // A relay keeps each version in a folder of its number.
    let numbers = std::fs::read_dir(path.join("directory")).into_iter().flatten().flatten();
    let newest = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok()).max();
    let newest = newest.map(|version| path.join(format!("directory/{version}/current.directory")));
    places
        .into_iter()
        .chain(newest)
        .find(|p| p.is_file())
        .ok_or_else(|| Failure {
            vietnamese: Some("Không có danh bạ ở đó: hãy đưa tệp *.directory, thư mục của đơn vị vận hành sau khi `truc directory sign`, hoặc thư mục của nút hay trục đã từng kết nối.".to_owned()),
            ..Failure::new(Exit::BadData, anyhow!(
            "{} is no directory file and holds none: give a `*.directory` file, the operator's folder after `truc directory sign`, or the folder of a node or relay that has been connected",
            path.display()
        ))
        })
}

/// The version in a file, or the newest in a folder, verified.
pub(crate) fn open_at(path: &Path, args: &OperatorTrust) -> Result<Directory, Failure> {
    open(&find(path)?, &load_trust(args)?)
}

/// Opens and verifies a `*.directory` file of whichever axis it says.
fn open(path: &Path, trust: &Trust) -> Result<Directory, Failure> {
    Directory::open(path, &trust.operator, &trust.store, now()).map_err(|error| {
        let (exit, what) = match &error {
            DirectoryFileError::Refused { .. } => (Exit::Invalid, "is not a directory of this operator"),
            DirectoryFileError::Io { .. } | DirectoryFileError::Malformed { .. } | DirectoryFileError::Held(_) => {
                (Exit::BadData, "is not readable")
            }
        };
        Failure::new(exit, anyhow!(error).context(format!("{} {what}", path.display())))
    })
}

fn show(path: &Path, args: &OperatorTrust, query: Option<&str>, output: &Output) -> Outcome {
    let path = find(path)?;
    let trust = load_trust(args)?;
    let now = now();
    let directory = open(&path, &trust)?;
    let statement = directory.statement();
    let chosen = choose(&directory, query, now)
        .or_exit(Exit::BadData, format!("{} cannot be read to its end", path.display()))?;
    let value = json!({
        "axis": statement.axis, "lane": statement.lane, "version": statement.version, "issued": statement.issued,
        "valid_until": statement.valid_until, "root": statement.root, "size": statement.size,
        "entries": chosen.iter().map(entry_json).collect::<Vec<_>>(),
    });
    output.show(&value, |o| {
        o.line(format!(
            "axis {}, lane {}, version {}, {} entries",
            statement.axis, statement.lane, statement.version, statement.size
        ));
        o.line(format!("issued {}, valid until {}", statement.issued.in_vietnam(), statement.valid_until.in_vietnam()));
        match directory.freshness(now) {
            Freshness::Fresh => {}
            _ => o.line(o.paint(Tone::Unsure, "a newer version should be there: ask the axis operator")),
        }
        o.line(format!("root {}", statement.root));
        let rows: Vec<_> = chosen.iter().map(|e| row(e, now)).collect();
        o.table(["ENTRY", "NAME", "NODE", "STATE", "CERTIFICATES"], &rows, "nothing fits");
    });
    Ok(if chosen.is_empty() { Exit::Invalid } else { Exit::Good })
}

/// The policy goes to standard output, as it is to stand in a file.
fn policy(path: &Path, args: &OperatorTrust, quorum: Option<u64>, output: &Output) -> Outcome {
    let directory = open_at(path, args)?;
    let quorum = quorum.map(|wanted| usize::try_from(wanted).unwrap_or(usize::MAX));
    let text = directory.witness_policy(quorum).map_err(|error| Failure {
        vietnamese: Some(
            "Danh bạ không có đủ bên chứng kiến: hãy chọn --quorum nhỏ hơn, hoặc hỏi đơn vị vận hành trục.".to_owned(),
        ),
        ..Failure::new(Exit::Invalid, anyhow!(error))
    })?;
    output.show(&json!({ "policy": text }), |o| o.line(text.trim_end()));
    Ok(Exit::Good)
}

/// All entries; or by code or id exactly, by node, or the agencies that a search finds.
fn choose(directory: &Directory, query: Option<&str>, at: Timestamp) -> Result<Vec<Entry>, DirectoryReadError> {
    let Some(query) = query else {
        let parse = |bytes| Raw::<Entry>::parse(bytes).map(Raw::into_value);
        return directory.read_all().filter_map(|bytes| bytes.map(|bytes| parse(bytes).ok()).transpose()).collect();
    };
    let exact = ["", "agency/", "node/", "relay/"].iter().find_map(|kind| {
        let read = directory.read_entry(&format!("{kind}{query}"));
        read.transpose()
    });
    if let Some(entry) = exact {
        return Ok(vec![entry?]);
    }
    let words = DirectoryQuery { text: query, under: None, limit: DIRECTORY_HITS_MAX, at };
    let agencies = directory.search(&words).0.into_iter().map(|hit| format!("agency/{}", hit.agency.code));
    let folded = fold_for_search(query);
    let named = |text: &str| !folded.is_empty() && fold_for_search(text).contains(&folded);
    let nodes =
        directory.nodes().filter(|(_, node)| named(&node.id.to_string())).map(|(kind, node)| kind.key(&node.id));
    let operator = directory.operator_entry().filter(|operator| named(&operator.name)).map(|_| "operator".to_owned());
    let keys: Vec<String> = agencies.chain(nodes).chain(operator).collect();
    keys.iter().filter_map(|key| directory.read_entry(key).transpose()).collect()
}

fn row(entry: &Entry, now: Timestamp) -> [String; 5] {
    let certificates = entry
        .certificates()
        .iter()
        .map(|c| format!("{}:{}", c.uses.iter().map(|u| u.as_str()).collect::<Vec<_>>().join("+"), c.status));
    let certificates = certificates.collect::<Vec<_>>().join(" ");
    match entry {
        Entry::Agency(agency) => [
            agency.code.to_string(),
            agency.names.first().cloned().unwrap_or_default(),
            agency.node.as_ref().map_or("-".into(), ToString::to_string),
            state(agency, now),
            certificates,
        ],
        Entry::Node(node) => node_row("node", node, certificates),
        Entry::Relay(relay) => node_row("relay", relay, certificates),
        Entry::Operator(operator) => ["operator".into(), operator.name.clone(), "-".into(), "-".into(), certificates],
    }
}

fn node_row(kind: &str, node: &NodeEntry, certificates: String) -> [String; 5] {
    [
        format!("{kind}/{}", node.id),
        node.origin.clone(),
        node.id.to_string(),
        format!("epoch {}", node.epoch),
        certificates,
    ]
}

fn state(agency: &AgencyEntry, now: Timestamp) -> String {
    match (&agency.successor, agency.valid_to) {
        _ if agency.is_open(now) => "open".into(),
        (Some(successor), Some(end)) => format!("closed {}, successor {successor}", end.in_vietnam()),
        (None, Some(end)) => format!("closed {}", end.in_vietnam()),
        _ => format!("from {}", agency.valid_from.in_vietnam()),
    }
}

/// The entry without its certificates' bytes, which nobody reads in JSON.
fn entry_json(entry: &Entry) -> Value {
    let mut value = json!(entry);
    if let Some(certificates) = value.get_mut("certificates").and_then(Value::as_array_mut) {
        for certificate in certificates.iter_mut().filter_map(Value::as_object_mut) {
            certificate.remove("der");
        }
    }
    value
}

fn add(
    dir: &Path,
    bindings: &[PathBuf],
    args: &OperatorTrust,
    codes: Option<&str>,
    confirmed: Confirmation,
    output: &Output,
) -> Outcome {
    let trust = load_trust(args)?;
    let mut requests = Vec::new();
    for path in bindings {
        let request = Raw::<SignedBinding>::parse(trust::read(path)?);
        requests.push(request.or_exit(Exit::BadData, format!("{} is not a binding request", path.display()))?);
    }
    let codes = match codes {
        Some("level1") => Some(import::read_list("the built-in list", LEVEL1_CODES.as_bytes())?),
        Some(path) => Some(import::read_list(path, &trust::read(Path::new(path))?)?),
        None => None,
    };
    let folder = OperatorFolder::open(dir).or_exit(Exit::Unavailable, "open the operator's folder")?;
    let taken = folder
        .add(&requests, codes.as_ref(), confirmed, &trust, now())
        .or_exit(Exit::Invalid, "the draft is unchanged")?;
    let listed = taken.codes;
    let taken = taken.keys;
    output.show(&json!({ "taken": taken }), |o| {
        o.line(format!("{} entries are in the draft; sign it with `truc directory sign`", taken.len()));
        // A code list is long and was just given; what the requests ask for is what the operator must look at.
        let asked = taken.len().saturating_sub(listed);
        for key in taken.iter().take(asked) {
            o.line(format!("  {}", printable(key)));
        }
        if listed > 0 {
            o.line(format!("  and {listed} codes of the list"));
        }
    });
    Ok(Exit::Good)
}

fn open_stamper(args: &StampArgs, trust: &Trust) -> Result<Option<Stamper>, Failure> {
    if args.tsa.is_empty() {
        return Ok(None);
    }
    let anchors = args.tsa_anchors.as_deref().map(|path| {
        let pem = trust::read(path)?;
        Certificate::from_pem(&pem).or_exit(Exit::BadData, format!("{} does not hold certificates", path.display()))
    });
    let anchors = anchors.transpose()?;
    let anchors = anchors.as_deref().unwrap_or(trust.store.anchors());
    let agent = concat!("truc/", env!("CARGO_PKG_VERSION"));
    Stamper::new(args.tsa.iter().cloned(), anchors, agent)
        .map(Some)
        .or_exit(Exit::BadData, "open the way to time-stamping authorities")
}

fn sign(
    dir: &Path,
    args: &OperatorTrust,
    (certificate, key): (&Path, &Path),
    valid_days: u64,
    stamps: &StampArgs,
    output: &Output,
) -> Outcome {
    let trust = load_trust(args)?;
    let stamper = open_stamper(stamps, &trust)?;
    let mut by = Ok(None);
    let stamp = |signature: &[u8]| {
        let Some(stamper) = stamper else { return Ok(None) };
        let asked = block_on(async { Ok(stamper.stamp(signature, &trust.store).await) });
        match asked.map_err(|failure| failure.source)? {
            Ok(stamped) => {
                by = Ok(Some((stamped.stamp.time, stamped.stamp.certificate.subject().to_owned())));
                Ok(Some(stamped.token))
            }
            Err(error) if stamps.tsa_optional => {
                by = Err(error.to_string());
                Ok(None)
            }
            Err(error) => Err(anyhow::Error::new(error).context("ask again later, or sign with --tsa-optional")),
        }
    };
    let key = SoftKey::load_pem(certificate, key).or_exit(Exit::BadData, "load the operator's key")?;
    let folder = OperatorFolder::open(dir).or_exit(Exit::Unavailable, "open the operator's folder")?;
    let directory = folder
        .sign(&key, &trust, valid_days, now(), stamp)
        .context("nothing was signed")
        .map_err(|e| Failure::new(Exit::Invalid, e))?;
    let statement = directory.statement();
    output.show(
        &json!({ "version": statement.version, "root": statement.root, "valid_until": statement.valid_until, "time_stamp": by.as_ref().ok().and_then(|by| by.as_ref()).map(|(time, _)| time) }),
        |o| {
            let text = format!(
                "signed version {}, {} entries, valid until {}",
                statement.version,
                statement.size,
                statement.valid_until.in_vietnam()
            );
            o.line(o.paint(Tone::Good, text));
            match &by {
                Ok(Some((time, by))) => o.line(format!("time-stamped {} by {}", time.in_vietnam(), printable(by))),
                Ok(None) => {}
                Err(why) => o.line(o.paint(Tone::Unsure, format!("signed without a time-stamp: {}", printable(why)))),
            }
            o.line("publish it with `truc directory publish`");
        },
    );
    Ok(Exit::Good)
}
