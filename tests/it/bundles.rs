//! Bundles of receipts, exported by the nodes of both sides and verified with what an auditor has.

use std::{path::Path, process::Command};

use truc_evidence::{
    BundleCheck, BundleReport, Document, Outcome, ReceiptTrust, ReceiptVerdict, Standing, StatusBasis, bundled_receipt,
    verify_bundle,
};
use truc_proto::{Raw, Receipt, ReceiptBody, node_v1::SetStatusRequest};

use crate::support::{Letter, World, until, world::now};

const NODES: [(&str, &[&str]); 3] = [("N-G22", &["G22"]), ("N-H26", &["H26"]), ("N-H37", &["H37"])];

fn judged(world: &World, bundle: &[u8], document: Option<&Document>) -> BundleReport {
    verify_bundle(bundle, &ReceiptTrust::new(world.trust(), world.pinned()), document, now())
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_exports_what_proves_who_received_it_and_nobody_else_does() {
    let world = World::start(&NODES).await;
    let (sender, recipient, stranger) = (world.api("N-G22"), world.api("N-H26"), world.api("N-H37"));
    let letter = Letter::new("bundle", "G22", &["H26"]);
    let envelope = sender.accepted(&letter).await;
    recipient.until_consigned(&envelope, "H26").await;
    recipient.confirm(&envelope, "H26").await;
    sender.until_state(&envelope, "H26", "handed-over").await;
    world.all_receipts_valid("N-G22", &envelope, 5).await;
    world.all_receipts_valid("N-H26", &envelope, 5).await;
    let file = Document::of(&letter.files[0].1);
    for (api, code) in [(&sender, "G22"), (&recipient, "H26")] {
        let bundle = api.bundle(&envelope).await.unwrap();
        let report = judged(&world, &bundle, Some(&file));
        assert_eq!(report.verdict, ReceiptVerdict::Valid, "{:?} {:?}", report.steps, report.receipts);
        let about = report.about.unwrap();
        assert_eq!((about.envelope.to_string(), about.by.as_str()), (envelope.clone(), code));
        assert!(report.signer.unwrap().signed_at.is_some());
        let found: Vec<_> = report.conclusions.iter().map(|found| (found.recipient.as_str(), found.standing)).collect();
        assert_eq!(found, [("H26", Standing::HandedOver)]);
        let concluded = &report.conclusions[0];
        assert!(concluded.remarks.is_empty() && concluded.events.iter().all(|event| event.remarks.is_empty()));
        let maker = report.steps.iter().find(|step| step.check == BundleCheck::Maker).unwrap();
        assert_eq!(maker.outcome, Outcome::Passed, "{}", maker.detail);
        assert_eq!(report.receipts.len(), 5);
        for folder in ["certificates/", "revocation/"] {
            assert!(report.others.iter().any(|(name, _)| name.starts_with(folder)), "{:?}", report.others);
        }
        openssl_agrees(&world, &bundle, &["5 hợp lệ trong 5"]);
        the_verify_page_agrees(&world, &bundle, &letter.files[0].1, "H26 handed-over");
    }
    assert_eq!(stranger.bundle(&envelope).await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_what_is_still_on_its_way_says_how_far_it_is() {
    let mut world = World::start(&NODES[..2]).await;
    world.stop_node("N-H26").await;
    let sender = world.api("N-G22");
    let envelope = sender.accepted(&Letter::new("waiting", "G22", &["H26"])).await;
    sender.until_state(&envelope, "H26", "relayed").await;
    world.all_receipts_valid("N-G22", &envelope, 2).await;
    let report = judged(&world, &sender.bundle(&envelope).await.unwrap(), None);
    assert_eq!(report.verdict, ReceiptVerdict::Valid);
    assert_eq!(report.conclusions[0].standing, Standing::Relayed);
    assert!(report.conclusions[0].standing.english().contains("not proven"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_says_what_each_side_said_of_the_document_and_proves_it() {
    let world = World::start(&NODES[..2]).await;
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    let letter = Letter::new("said", "G22", &["H26"]);
    let envelope = sender.accepted(&letter).await;
    recipient.until_consigned(&envelope, "H26").await;
    sender.until_state(&envelope, "H26", "consigned").await;
    let mut said = Vec::new();
    for (code, reason) in [("01", ""), ("03", "Đã vào sổ số 12")] {
        let request = SetStatusRequest {
            envelope: envelope.clone(),
            from: "H26".into(),
            code: code.into(),
            reason: reason.into(),
            staff: "Nguyễn Thị Bình".into(),
            idempotency_key: format!("said-{code}"),
            ..SetStatusRequest::default()
        };
        said.push(recipient.raw.clone().set_status(request).await.unwrap().into_inner().envelope);
    }
    said.push(sender.set_status(&envelope, "G22", "13", "said-13").await.unwrap().envelope);
    let has_all = |state: &truc_proto::node_v1::RecipientState| state.statuses.len() == 3;
    until("the sender has all", || async { sender.recipient(&envelope, "H26").await.filter(has_all) }).await;
    let item = || async { recipient.item(&envelope, "H26").await.filter(|item| item.statuses.len() == 3) };
    until("the recipient has all", item).await;
    world.all_receipts_valid("N-G22", &envelope, 4).await;
    world.all_receipts_valid("N-H26", &envelope, 4).await;
    for status in &said {
        world.all_receipts_valid("N-G22", status, 4).await;
        world.all_receipts_valid("N-H26", status, 4).await;
    }
    let lines = ["Trạng thái 03: Đã tiếp nhận (Accepted)", "Đã vào sổ số 12", "Nguyễn Thị Bình", "3 hợp lệ trong 3"];
    for api in [&sender, &recipient] {
        let bundle = api.bundle(&envelope).await.unwrap();
        let report = judged(&world, &bundle, Some(&Document::of(&letter.files[0].1)));
        assert_eq!(report.verdict, ReceiptVerdict::Valid, "{:?} {:?}", report.steps, report.statuses);
        assert_eq!(report.about.as_ref().unwrap().statuses_left_out, 0);
        let found = &report.conclusions[0].statuses;
        let told: Vec<_> = found.iter().map(|status| (status.code.as_str(), status.from.as_str())).collect();
        assert_eq!(told, [("01", "H26"), ("03", "H26"), ("13", "G22")]);
        assert!(found.iter().all(|status| status.basis == StatusBasis::Signed && status.received.is_some()));
        assert_eq!(found[1].reason.as_deref(), Some("Đã vào sổ số 12"));
        openssl_agrees(&world, &bundle, &lines);
        openssl_agrees_on_a_status(&world, &bundle, &format!("statuses/H26/{}", said[1]));
        the_verify_page_agrees(&world, &bundle, &letter.files[0].1, "H26 consigned 01 03 13");
        // What a status says is seen in its opening: without openings there are none, and that is said.
        let closed = judged(&world, &api.bundle_without_openings(&envelope).await.unwrap(), None);
        assert_eq!((closed.verdict, closed.statuses.len()), (ReceiptVerdict::Valid, 0));
        assert_eq!(closed.about.unwrap().statuses_left_out, 3);
    }
}

/// The agency's signature over a status, with the manifest out of its receipt, without any program of ours.
fn openssl_agrees_on_a_status(world: &World, bundle: &[u8], status: &str) {
    let receipt = bundled_receipt(bundle, &format!("{status}/SubmissionAcceptance.receipt")).unwrap().unwrap();
    let body = Raw::<ReceiptBody>::parse(Receipt::parse(&receipt).unwrap().body).unwrap().into_value();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bundle.zip"), bundle).unwrap();
    std::fs::write(folder.path().join("manifest.xml"), body.opening.unwrap().manifest).unwrap();
    std::fs::write(folder.path().join("root.pem"), &world.pki.anchors_pem).unwrap();
    let signature = format!("{status}/signature001.p7s");
    let run = |program: &str, arguments: &[&str]| run_in(folder.path(), program, arguments);
    run("unzip", &["-q", "bundle.zip"]);
    let signed = ["-in", &signature, "-content", "manifest.xml", "-CAfile", "root.pem", "-purpose", "any"];
    run("openssl", &[&["cms", "-verify", "-binary", "-inform", "DER", "-out", "/dev/null"], &signed[..]].concat());
}

/// A program that must succeed where it is installed.
fn run_in(folder: &Path, program: &str, arguments: &[&str]) {
    match Command::new(program).args(arguments).current_dir(folder).output() {
        Ok(done) => assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr)),
        Err(error) => assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none(), "{program}: {error}"),
    }
}

/// The signature over the manifest, and every hash in it, without any program of ours; and the report holds these words.
fn openssl_agrees(world: &World, bundle: &[u8], more: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.zip");
    std::fs::write(&path, bundle).unwrap();
    std::fs::write(folder.path().join("root.pem"), &world.pki.anchors_pem).unwrap();
    let run = |program: &str, arguments: &[&str]| run_in(folder.path(), program, arguments);
    run("unzip", &["-q", "bundle.zip"]);
    let signed = ["-in", "META-INF/signature001.p7s", "-content", "META-INF/ASiCManifest.xml"];
    run("pdfsig", &["-nocert", "report.pdf"]);
    run("pdftotext", &["-layout", "report.pdf", "report.txt"]);
    if let Ok(text) = std::fs::read_to_string(folder.path().join("report.txt")) {
        let always = ["BÁO CÁO CHỨNG CỨ", "H26 Cơ quan H26", "Nơi nhận không thể chối", "Kế hoạch kiểm thử"];
        for words in always.iter().chain(more) {
            assert!(text.contains(words), "{words} in {text}");
        }
    }
    let trusted = ["-CAfile", "root.pem", "-purpose", "any", "-out", "/dev/null"];
    run("openssl", &[&["cms", "-verify", "-binary", "-inform", "DER"], &signed[..], &trusted[..]].concat());
}

/// The second verifier, in a browser.
fn the_verify_page_agrees(world: &World, bundle: &[u8], document: &[u8], concluded: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verify");
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !is_there("node") || !is_there("chromium") || !page.join("node_modules").is_dir() {
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none(), "node, chromium or verify/node_modules is not there");
        eprintln!("SKIPPED: node, chromium or verify/node_modules is not there");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let trust = format!("{}{}", world.pki.anchors_pem, world.pki.intermediates_pem);
    let operator = world.pinned_der();
    let files = [
        ("bundle.zip", bundle),
        ("trust.pem", trust.as_bytes()),
        ("operator.cer", operator.as_slice()),
        ("document", document),
    ];
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let names = files.map(|(name, _)| name);
    let run =
        Command::new("node").arg(page.join("test/bundle.mjs")).args(names).current_dir(folder.path()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}");
    assert!(said.starts_with(&format!("{concluded}\n")), "{said}");
    assert!(said.contains("5 trong 5") || said.contains("4 trong 4"), "{said}");
}
