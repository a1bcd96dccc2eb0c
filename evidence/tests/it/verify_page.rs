//! The verify page (`docs/verify.html`) is a second verifier, written from docs/FORMATS.md in another language. Both are held against each other over the
//! whole corpus of receipts and of bundles, and over both bent at random: the same verdict, and the same outcome of every single check.

use std::{
    cell::RefCell,
    io::{Cursor, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use data_encoding::BASE64;
use serde_json::{Value, json};
use truc_certs_dev::KeyKind;
use truc_evidence::{
    BundleCheck, Check, Document, ProvenEvent, ProvenStatus, StatusCheck, StatusReport, verify_receipt,
};
use truc_proto::{Actor, Digest, Event, EventUri, Reason, Receipt, Role, SignedNote};
use truc_signer::{asic::ContainerWriter, sign_detached};

use crate::{
    answers,
    bundle_cases::{self, BundleCase, Plan},
    cases::{self, by_the_sender, receive},
    hostile::Random,
    status_cases,
    world::{Built, DAY_MS, PACKET, Recipe, WORLD, Who, World, after, at, code, ledger_of, node_id},
};

/// What the page is shown, and what this verifier says of it.
struct Shown {
    name: String,
    built: Built,
    receipt: Vec<u8>,
    /// At random: where each reader gives up reading is its own affair.
    bent: bool,
}

impl Shown {
    fn new(name: impl Into<String>, built: Built) -> Self {
        Self { name: name.into(), receipt: built.receipt.clone().into_bytes(), built, bent: false }
    }

    fn to_json(&self) -> Value {
        let document = self.built.document.as_deref();
        let read = document.map(|bytes| Document::read(Cursor::new(bytes)).unwrap());
        let report = verify_receipt(&self.receipt, &self.built.trust(), read.as_ref(), self.built.now);
        let steps: Vec<&str> = report.steps.iter().map(|step| step.outcome.as_str()).collect();
        let levels: Option<Vec<&str>> =
            report.summary.as_ref().map(|summary| summary.levels.iter().map(|level| level.as_str()).collect());
        json!({
            "name": self.name, "receipt": BASE64.encode(&self.receipt), "trust": self.built.trust_pem,
            "operator": self.built.operator_pem, "lists": self.built.crls_pem, "document": document.map(|d| BASE64.encode(d)),
            "answers": encoded(&self.built.answers), "policy": self.built.policy, "levels": levels, "now": self.built.now.unix_ms(), "bent": self.bent, "verdict": report.verdict.as_str(), "steps": steps,
        })
    }
}

fn encoded(answers: &[Vec<u8>]) -> Vec<String> {
    answers.iter().map(|answer| BASE64.encode(answer)).collect()
}

/// Every event in every role in which it may be stated, besides those of [`cases::valid`].
fn kinds() -> Vec<(&'static str, Recipe)> {
    let base = Recipe::default;
    let relay = || Recipe { who: Who::Relay, ..base() };
    vec![
        ("relay-rejection", Recipe { event: |event| refuse(event, EventUri::RelayRejection), ..relay() }),
        ("relay-failure", Recipe { event: |event| refuse(event, EventUri::RelayFailure), ..relay() }),
        ("acceptance-by-the-recipient", Recipe { event: |event| event.event = EventUri::RelayAcceptance, ..base() }),
        ("consignment-failure", Recipe { event: |event| refuse(event, EventUri::ContentConsignmentFailure), ..base() }),
        ("handover-failure", Recipe { event: |event| refuse(event, EventUri::ContentHandoverFailure), ..base() }),
        ("received-by-the-recipient", Recipe { event: receive, ..base() }),
        (
            "submission-rejection",
            by_the_sender!(|event| {
                refuse(event, EventUri::SubmissionRejection);
                event.request = Some(Digest::of(b"the refused request"));
            }),
        ),
        (
            "passed-on-by-the-sender",
            Recipe {
                preamble: |preamble| preamble.legacy = vec![code("H50")],
                ..by_the_sender!(|event| {
                    event.event = EventUri::RelayToNonErds;
                    event.recipient = Some(code("H50"));
                })
            },
        ),
        (
            "agency-with-a-hostile-name",
            Recipe {
                entries: |_, entries| {
                    cases::agency(entries, "H26").names[0] = "<script>alert(1)</script>\u{202e}fdp".into();
                },
                ..base()
            },
        ),
    ]
}

fn refuse(event: &mut Event, kind: EventUri) {
    event.event = kind;
    event.reason = Some(Reason::Expired);
}

thread_local! {
    /// The container of the recipe that is being built; hooks are functions and carry nothing with them.
    static CONTAINER: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// A receipt about a container that is there, and the container.
fn with_container() -> (Built, Vec<u8>) {
    let recipe = Recipe {
        with_opening: true,
        envelope_bytes: |bytes| {
            CONTAINER.with_borrow_mut(|(envelope, _)| envelope.clone_from(&bytes));
            bytes
        },
        manifest_bytes: |_| CONTAINER.with_borrow_mut(|(envelope, container)| pack(envelope, container)),
        ..Recipe::default()
    };
    let built = recipe.build(&WORLD);
    (built, CONTAINER.take().1)
}

/// Makes the container, and gives its manifest.
fn pack(envelope: &[u8], container: &mut Vec<u8>) -> Vec<u8> {
    let mut manifest_bytes = Vec::new();
    let mut writer = ContainerWriter::new(&mut *container).unwrap();
    for (name, content) in [("packet.edxml", PACKET), ("envelope.json", envelope)] {
        writer.begin_entry(name, "text/xml", None).unwrap();
        writer.write_all(content).unwrap();
        writer.end_entry().unwrap();
    }
    writer
        .finish(|manifest| {
            manifest_bytes = manifest.to_vec();
            sign_detached(&WORLD.service_g22.key, manifest, Some(at()))
        })
        .unwrap();
    manifest_bytes
}

fn containers() -> Vec<Shown> {
    let (built, container) = with_container();
    let shown = |name: &str, document: Vec<u8>| Shown::new(name, Built { document: Some(document), ..built.clone() });
    let mut longer = container.clone();
    longer.push(0);
    let mut all = vec![
        shown("the-container", container.clone()),
        shown("the-packet-of-the-container", PACKET.to_vec()),
        shown("a-container-cut-short", container[..container.len() - 5].to_vec()),
        shown("a-container-and-a-byte", longer),
    ];
    let mut random = Random(0x51_7C_C1_B7_27_22_0A_95);
    let bent = |n| Shown { bent: true, ..shown(&format!("bent-container-{n}"), random.bend(&container)) };
    all.extend((0..bends() / 2).map(bent));
    all
}

fn wanted(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// How many of each kind are bent: as many as take a few seconds, or as somebody wants who looks for more.
fn bends() -> u64 {
    wanted("TRUC_BENT_RECEIPTS").unwrap_or(90)
}

/// Receipts bent at random, from `TRUC_BENT_SEED`.
fn bent() -> Vec<Shown> {
    let mut random = Random(wanted("TRUC_BENT_SEED").unwrap_or(0x2545_F491_4F6C_DD1D));
    let mut all = Vec::new();
    for (name, recipe) in cases::valid() {
        if !["valid-with-document", "valid-submission", "valid-relay-acceptance"].contains(&name) {
            continue;
        }
        let built = recipe.build(&WORLD);
        for n in 0..bends() {
            let receipt = match n % 3 {
                0 => random.bend(built.receipt.as_bytes()),
                1 => bend_body(&built.receipt, &mut random),
                _ => bend_inside(&built.receipt, &mut random),
            };
            all.push(Shown { name: format!("bent-{name}-{n}"), receipt, built: built.clone(), bent: true });
        }
    }
    all
}

/// The outer base64 hides most bends from what lies inside; here the statement inside is bent and wrapped again.
fn bend_body(receipt: &str, random: &mut Random) -> Vec<u8> {
    let receipt = Receipt::parse(receipt.as_bytes()).unwrap();
    let body = random.bend(&receipt.body).into();
    Receipt { body, ..receipt }.to_string().into_bytes()
}

/// Deeper still: a leaf, a directory entry, a CMS, the signature of the certificate under the checkpoint.
fn bend_inside(receipt: &str, random: &mut Random) -> Vec<u8> {
    const PLACES: [&str; 8] = [
        "/leaf",
        "/preamble",
        "/directory",
        "/directory_cms",
        "/node/bytes",
        "/agency/bytes",
        "/opening/manifest",
        "/opening/envelope",
    ];
    let mut receipt = Receipt::parse(receipt.as_bytes()).unwrap();
    let mut body: Value = serde_json::from_slice(&receipt.body).unwrap();
    let place = random.next(PLACES.len() + 1);
    match PLACES.get(place).map(|place| body.pointer_mut(place)) {
        Some(Some(found)) => {
            let bent = random.bend(&BASE64.decode(found.as_str().unwrap().as_bytes()).unwrap());
            *found = BASE64.encode(&bent).into();
            receipt.body = serde_json::to_vec(&body).unwrap().into();
        }
        _ => {
            let note: SignedNote = receipt.checkpoint.parse().unwrap();
            let mut bent = SignedNote::unsigned(note.text()).unwrap();
            for line in note.signatures() {
                let mut line = line.clone();
                line.signature = random.bend(&line.signature);
                if !line.signature.is_empty() {
                    bent.add_signature(line).unwrap();
                }
            }
            receipt.checkpoint = bent.to_string();
        }
    }
    receipt.to_string().into_bytes()
}

/// The receipt that the Python writer of the vectors made.
fn vectors() -> Vec<Shown> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../proto/testdata/formats");
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let expect: Value = serde_json::from_str(&text("expect.json")).unwrap();
    let of = |name: &str, document: Option<Vec<u8>>| {
        let built = Built {
            receipt: text(name),
            now: expect["verify_at"].as_str().unwrap().parse().unwrap(),
            trust_pem: text("anchors.pem"),
            operator_pem: text("operator.pem"),
            crls_pem: String::new(),
            document,
            policy: None,
            answers: vec![],
        };
        Shown::new(format!("vector-{name}"), built)
    };
    let file = std::fs::read(folder.join("cong-van.txt")).unwrap();
    vec![of("receipt.receipt", Some(file)), of("receipt-provisional.receipt", None)]
}

fn all() -> Vec<Shown> {
    let rsa = World::new(KeyKind::Rsa2048);
    let mut all = vectors();
    for (name, recipe) in cases::valid().into_iter().chain(kinds()) {
        all.push(Shown::new(name, recipe.build(&WORLD)));
        all.push(Shown::new(format!("{name}-rsa"), recipe.build(&rsa)));
    }
    for case in cases::all() {
        all.push(Shown::new(case.name, case.recipe.build(&WORLD)));
    }
    for (case, _) in answers::receipts() {
        all.push(Shown::new(case.0, case.1.build(&WORLD)));
    }
    all.extend(answers::of_openssl().into_iter().map(|(name, built, _)| Shown::new(name, built)));
    all.extend(containers());
    all.push(Shown::new("cosigned-twice-by-one-key", cosigned_twice()));
    all.extend(bent());
    all
}

/// The last line stands there twice: no note at all.
fn cosigned_twice() -> Built {
    let (_, witnessed) = cases::valid().into_iter().find(|(name, _)| *name == "valid-witnessed").unwrap();
    let mut built = witnessed.build(&WORLD);
    let last = built.receipt.lines().last().unwrap().to_owned();
    built.receipt.push_str(&format!("{last}\n"));
    built
}

#[test]
fn a_witness_that_stands_there_twice_counts_for_nothing() {
    let built = cosigned_twice();
    let report = verify_receipt(built.receipt.as_bytes(), &built.trust(), None, built.now);
    assert_eq!(report.verdict, truc_evidence::ReceiptVerdict::Invalid);
    assert_eq!(report.against().map(|step| step.check).collect::<Vec<_>>(), [Check::ReceiptForm]);
}

/// A bundle, and what this verifier says of it, of the receipts in it, and of the recipients.
fn bundle_json(case: &BundleCase, bent: bool) -> Value {
    let report = case.report();
    let steps: Vec<&str> = report.steps.iter().map(|step| step.outcome.as_str()).collect();
    let receipts: Vec<Value> =
        report.receipts.iter().map(|(name, report)| json!([name, report.verdict.as_str()])).collect();
    let conclusions: Vec<Value> = report
        .conclusions
        .iter()
        .map(|found| {
            let remarks: Vec<&str> = found.remarks.iter().map(|remark| remark.as_str()).collect();
            let events: Vec<_> = found.events.iter().map(event_told).collect();
            let statuses: Vec<_> = found.statuses.iter().map(status_told).collect();
            json!([found.recipient, found.name, found.standing.as_str(), remarks, events, statuses])
        })
        .collect();
    let signed_at = report.signer.as_ref().map(|signer| signer.signed_at.map(|at| at.unix_ms()));
    json!({
        "name": case.name, "bundle": BASE64.encode(&case.bundle), "trust": format!("{}{}", WORLD.trust_pem(), case.trusted),
        "operator": WORLD.operator.issued.leaf_pem(), "lists": if case.with_crls { WORLD.crls_pem.as_str() } else { "" },
        "answers": encoded(&case.given), "document": case.document.map(|bytes| BASE64.encode(bytes)), "now": case.now.unix_ms(), "bent": bent,
        "verdict": report.verdict.as_str(), "steps": steps, "receipts": receipts, "conclusions": conclusions,
        "others": report.others, "signed_at": signed_at, "statuses": report.statuses.iter().map(status_json).collect::<Vec<_>>(),
    })
}

fn event_told(event: &ProvenEvent) -> Value {
    let [signed, proven] = [event.signed_at, event.proven_by].map(|time| time.map(|time| time.unix_ms()));
    let remarks: Vec<&str> = event.remarks.iter().map(|remark| remark.as_str()).collect();
    json!([event.event.name(), event.role, event.time.unix_ms(), signed, proven, remarks])
}

fn status_told(status: &ProvenStatus) -> Value {
    let ProvenStatus { code, from, to, time, stated, sequence, reason, staff, envelope, basis, received, remarks } =
        status;
    let remarks: Vec<&str> = remarks.iter().map(|remark| remark.as_str()).collect();
    let received = received.map(|at| at.unix_ms());
    json!([
        code,
        from,
        to,
        time.unix_ms(),
        stated.unix_ms(),
        remarks,
        sequence,
        reason,
        staff,
        envelope,
        basis.as_str(),
        received
    ])
}

fn status_json(status: &StatusReport) -> Value {
    let steps: Vec<&str> = status.steps.iter().map(|step| step.outcome.as_str()).collect();
    let receipts: Vec<Value> =
        status.receipts.iter().map(|(name, report)| json!([name, report.verdict.as_str()])).collect();
    json!([status.name, status.verdict.as_str(), steps, receipts])
}

/// Those of the corpus, one of every kind of event, and right ones bent at random.
fn bundles() -> Vec<Value> {
    let mut all: Vec<Value> = bundle_cases::all().iter().map(|case| bundle_json(case, false)).collect();
    let case = |name: String, bundle: Vec<u8>, document| BundleCase {
        name,
        bundle,
        with_crls: false,
        document,
        given: vec![],
        trusted: String::new(),
        against: vec![],
        now: after(DAY_MS),
    };
    for (name, recipe) in cases::valid().into_iter().chain(kinds()) {
        let alone = vec![("a.receipt", recipe.build(&WORLD).receipt)];
        let submitted = vec![
            alone[0].clone(),
            ("submission.receipt", Recipe { who: Who::Sender, ..Recipe::default() }.build(&WORLD).receipt),
        ];
        all.push(bundle_json(&case(format!("of-{name}"), Plan::of(alone).build(), None), false));
        all.push(bundle_json(&case(format!("of-{name}-and-its-submission"), Plan::of(submitted).build(), None), false));
    }
    let plan = Plan::default();
    let bundle = plan.build();
    let mut random = Random(wanted("TRUC_BENT_SEED").unwrap_or(0x9E37_79B9_7F4A_7C15));
    for n in 0..bends() {
        let bent = match n % 6 {
            0 => random.bend(&bundle),
            // Inside, where the container around is right.
            1 => {
                let mut files = plan.files();
                files[0].1 = random.bend(&files[0].1);
                plan.packed(files, |manifest| manifest, |_| ())
            }
            2 => {
                let bend = |manifest: String| String::from_utf8_lossy(&random.bend(manifest.as_bytes())).into_owned();
                plan.packed(plan.files(), bend, |_| ())
            }
            3 => answers::with_one_bent(|answer| random.bend(&answer)),
            4 => status_cases::with_one_bent(n / 6, |file| random.bend(&file)),
            _ => bundle_cases::signed_with(&plan, |signature| random.bend(&signature)),
        };
        all.push(bundle_json(&case(format!("bent-bundle-{n}"), bent, Some(PACKET)), true));
    }
    all
}

/// What the page is tried with is there, or the test says loudly that it is not.
fn tools_are_there(folder: &Path) -> bool {
    let runs = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success());
    let why = if !runs("node") {
        "node is not there (apt install nodejs)"
    } else if !runs("chromium") {
        "chromium is not there (apt install chromium)"
    } else if !folder.join("node_modules").is_dir() {
        "verify/node_modules is not there (npm ci in verify/)"
    } else {
        return true;
    };
    assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none_or(|wanted| wanted != "1"), "{why}");
    eprintln!("SKIPPED: {why}");
    false
}

#[test]
fn receipts_of_every_event_are_valid() {
    for (name, recipe) in kinds() {
        let built = recipe.build(&WORLD);
        let report = verify_receipt(built.receipt.as_bytes(), &built.trust(), None, built.now);
        assert_eq!(report.against().collect::<Vec<_>>(), Vec::<&truc_evidence::Step>::new(), "{name}");
    }
}

#[test]
fn the_verify_page_finds_what_this_verifier_finds_in_every_check_of_every_receipt_and_bundle() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../verify");
    if !tools_are_there(&page) {
        return;
    }
    let checks: Vec<&str> = Check::ALL.iter().map(|check| check.id()).collect();
    let cases: Vec<Value> = all().iter().map(Shown::to_json).collect();
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("corpus.json");
    let bundle_checks: Vec<&str> = BundleCheck::ALL.iter().map(|check| check.id()).collect();
    let status_checks: Vec<&str> = StatusCheck::ALL.iter().map(|check| check.id()).collect();
    let all = json!({ "checks": checks, "cases": cases, "bundleChecks": bundle_checks, "statusChecks": status_checks, "bundles": bundles() });
    std::fs::write(&corpus, all.to_string()).unwrap();
    let run = Command::new("node").arg(page.join("test/corpus.mjs")).arg(&corpus).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}");
    println!("{said}");
}

#[test]
fn the_page_is_what_its_sources_make() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../verify");
    if !tools_are_there(&folder) {
        return;
    }
    for arguments in [&["build.mjs", "--check"][..], &["--test", "test/parts.test.mjs"]] {
        let run = Command::new("node").current_dir(&folder).args(arguments).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{said}");
    }
}
