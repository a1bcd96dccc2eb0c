//! Bundles of receipts, exported by the nodes of both sides and verified with what an auditor has.

use std::{path::Path, process::Command};

use truc_evidence::{BundleReport, Document, ReceiptTrust, ReceiptVerdict, Standing, verify_bundle};

use crate::support::{Letter, World, world::now};

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
        assert_eq!(report.receipts.len(), 5);
        for folder in ["certificates/", "revocation/"] {
            assert!(report.others.iter().any(|(name, _)| name.starts_with(folder)), "{:?}", report.others);
        }
        openssl_agrees(&world, &bundle);
        the_verify_page_agrees(&world, &bundle, &letter.files[0].1);
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

/// The signature over the manifest, and every hash in it, without any program of ours.
fn openssl_agrees(world: &World, bundle: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.zip");
    std::fs::write(&path, bundle).unwrap();
    std::fs::write(folder.path().join("root.pem"), &world.pki.anchors_pem).unwrap();
    let run = |program: &str, arguments: &[&str]| match Command::new(program)
        .args(arguments)
        .current_dir(folder.path())
        .output()
    {
        Ok(done) => assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr)),
        Err(error) => assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none(), "{program}: {error}"),
    };
    run("unzip", &["-q", "bundle.zip"]);
    let signed = ["-in", "META-INF/signature001.p7s", "-content", "META-INF/ASiCManifest.xml"];
    run("pdfsig", &["-nocert", "report.pdf"]);
    run("pdftotext", &["-layout", "report.pdf", "report.txt"]);
    if let Ok(text) = std::fs::read_to_string(folder.path().join("report.txt")) {
        for words in [
            "BÁO CÁO CHỨNG CỨ",
            "H26 Cơ quan H26",
            "Nơi nhận không thể chối",
            "5 hợp lệ trong 5",
            "Kế hoạch kiểm thử bundle",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }
    let trusted = ["-CAfile", "root.pem", "-purpose", "any", "-out", "/dev/null"];
    run("openssl", &[&["cms", "-verify", "-binary", "-inform", "DER"], &signed[..], &trusted[..]].concat());
}

/// The second verifier, in a browser.
fn the_verify_page_agrees(world: &World, bundle: &[u8], document: &[u8]) {
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
    assert!(said.starts_with("H26 handed-over\n") && said.contains("5 trong 5"), "{said}");
}
