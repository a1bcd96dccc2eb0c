//! Time-stamps (RFC 3161): receipts come out stamped and outlive their signers' certificates; nothing waits for an authority that is away.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use truc_certs_dev::{
    KeyKind, Profile, Request, Responder, Subject, TokenPlan, Tsa,
    ocsp::{OcspServer, Status},
    server,
    tsa::{Answer, TsaServer},
};
use truc_evidence::{
    BundleCheck, BundleReport, Check, EvidenceLevel, Outcome, ReceiptReport, ReceiptTrust, ReceiptVerdict,
    verify_bundle, verify_receipt,
};
use truc_proto::{Digest, Lane, SignedDirectory, Timestamp, node_v1::StatusReply};
use truc_signer::{
    Certificate, TrustStore,
    cms::{embed_time_stamp, signature_value},
};

use crate::support::{Letter, World, until, world::edit_file, world::now};

const NODES: [(&str, &[&str]); 2] = [("N-G22", &["G22"]), ("N-H26", &["H26"])];
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// An authority that can be taken away: then it takes questions and never answers.
struct Authority {
    server: TsaServer,
    tsa: Arc<Tsa>,
    away: Arc<AtomicBool>,
}

impl Authority {
    /// Its certificate outlives those that it stamps for.
    fn start(world: &mut World) -> Self {
        let subject = Subject::new("Dịch vụ cấp dấu thời gian").organization("Trục DEV");
        let mut request = Request::new(Profile::TimeStamping, KeyKind::P256, subject);
        request.not_after = Some(now() + 10 * YEAR);
        let tsa = Arc::new(Tsa::new(world.issue("tsa", request)).unwrap());
        let answering = Arc::clone(&tsa);
        let away = Arc::new(AtomicBool::new(false));
        let is_away = Arc::clone(&away);
        let answer = move |request: &[u8]| match is_away.load(Ordering::SeqCst) {
            true => Answer::Silence,
            false => Answer::Reply(answering.answer(request, now()).unwrap()),
        };
        Self { server: TsaServer::start(answer).unwrap(), tsa, away }
    }

    /// The draft as the operator signs it with `--tsa`.
    fn stamped(&self, mut signed: SignedDirectory) -> SignedDirectory {
        let imprint = Digest::of(&signature_value(&signed.cms).unwrap());
        let token = self.tsa.token(&imprint, &TokenPlan::at(now())).unwrap();
        signed.cms = embed_time_stamp(&signed.cms, &token).unwrap().into();
        signed
    }

    fn certificate(&self, world: &World) -> Certificate {
        Certificate::from_der(&world.issued("tsa").certificate_der).unwrap()
    }

    fn settings(&self) -> String {
        format!(
            "\n[time_stamps]\nservers = [{{ url = \"{}\", policy = \"1.3.6.1.4.1.32473.1\" }}]\n",
            self.server.url()
        )
    }
}

async fn start(world: &mut World, authority: &Authority) {
    edit_file(&world.relay_folder().join(truc_relay::SETTINGS_FILE), |text| text + &authority.settings());
    world.serve_relay().await;
    world.publish_signed(authority.stamped(world.sign())).await;
    for (id, _) in NODES {
        edit_file(&world.node_folder(id).join(truc_node::settings::SETTINGS_FILE), |text| text + &authority.settings());
        world.serve_node(id).await;
    }
    for (id, _) in NODES {
        world.api(id).until_connected().await;
    }
}

/// What an auditor has long after: no revocation list, for they have run out by then.
fn auditor(world: &World) -> ReceiptTrust {
    let read = |pem: &str| Certificate::from_pem(pem.as_bytes()).unwrap();
    let store = TrustStore::new(read(&world.pki.anchors_pem), read(&world.pki.intermediates_pem), vec![]).unwrap();
    ReceiptTrust::new(store, world.pinned())
}

/// The detail of a check that passed.
#[track_caller]
fn passed(report: &ReceiptReport, check: Check) -> String {
    let step = report.steps.iter().find(|step| step.check == check).unwrap();
    assert_eq!(step.outcome, Outcome::Passed, "{:?}", report.steps);
    step.detail.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_both_nodes_and_the_relay_are_stamped_and_outlive_their_certificates() {
    let mut world = World::make(Lane::Ordinary, &NODES).await;
    let authority = Authority::start(&mut world);
    start(&mut world, &authority).await;
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    let envelope = sender.accepted(&Letter::new("stamped", "G22", &["H26"])).await;
    recipient.until_consigned(&envelope, "H26").await;
    recipient.confirm(&envelope, "H26").await;
    sender.until_state(&envelope, "H26", "handed-over").await;
    for id in ["N-G22", "N-H26"] {
        world.all_receipts_valid(id, &envelope, 5).await;
        until_stamped(&world, id, &envelope).await;
        for item in world.api(id).receipts(&envelope).await {
            let receipt = world.api(id).receipt(&item.leaf_hash, false).await;
            let levels = world.assert_valid(&receipt).summary.unwrap().levels;
            assert!(levels.contains(&EvidenceLevel::Stamped), "{} at {id}: {levels:?}", item.event);
            // Six years later every certificate of today has expired, but that of the authority.
            let later = verify_receipt(&receipt, &auditor(&world), None, now() + 6 * YEAR);
            assert_eq!(later.verdict, ReceiptVerdict::Valid, "{:?}", later.steps);
            for check in [Check::CertificateExpiry, Check::OperatorExpiry] {
                assert!(passed(&later, check).contains("by the time-stamp of"), "{later:?}");
            }
        }
        let (_, report) = stamped_bundle(&world, id, &envelope, now() + 6 * YEAR).await;
        let signer = report.steps.iter().find(|step| step.check == BundleCheck::Signer).unwrap();
        assert!(signer.detail.contains("by the time-stamp of"), "{signer:?}");
        until_quiet(&world, id).await;
    }
}

/// Waits until every receipt about a document is stamped: on a busy machine the authority's first answer may come too late.
async fn until_stamped(world: &World, id: &str, envelope: &str) {
    let stamped = || async {
        let levels = levels(world, id, envelope).await;
        if levels.iter().all(|(_, levels)| levels.contains(&EvidenceLevel::Stamped)) { Ok(()) } else { Err(levels) }
    };
    until("every receipt is stamped, whoever made it", stamped).await;
}

/// Waits until nothing is wrong with time-stamps.
async fn until_quiet(world: &World, id: &str) {
    let quiet = |status: &StatusReply| status.alarms.iter().all(|text| !text.contains("time-stamp"));
    world.api(id).until_status("no alarm is about time-stamps", quiet).await;
}

/// A bundle that is valid at that time, with a stamped report; asked for again where the authority's answer came too late for one.
async fn stamped_bundle(world: &World, id: &str, envelope: &str, at: Timestamp) -> (Vec<u8>, BundleReport) {
    until("a bundle that is stamped throughout", || async {
        let bundle = world.api(id).bundle(envelope).await.unwrap();
        let report = verify_bundle(bundle.as_slice(), &auditor(world), None, at);
        let stamped = report.verdict == ReceiptVerdict::Valid && is_report_stamped(&bundle);
        if stamped { Ok((bundle, report)) } else { Err(report.steps) }
    })
    .await
}

/// The signature of the report for people holds a token, too (PAdES-B-T): its bytes stand in the PDF in hexadecimal digits.
fn is_report_stamped(bundle: &[u8]) -> bool {
    const SIGNATURE_TIME_STAMP: &[u8] = b"2A864886F70D010910020E";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bundle.zip"), bundle).unwrap();
    let unpacked = Command::new("unzip").args(["-p", "bundle.zip", "report.pdf"]).current_dir(folder.path()).output();
    match unpacked {
        Ok(report) => {
            assert!(report.stdout.starts_with(b"%PDF-"));
            let mut places = report.stdout.windows(SIGNATURE_TIME_STAMP.len());
            places.any(|digits| digits == SIGNATURE_TIME_STAMP)
        }
        Err(error) => {
            assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none(), "unzip: {error}");
            true
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_brings_what_a_responder_says_of_the_time_stamping_authority() {
    let mut world = World::make(Lane::Ordinary, &NODES).await;
    let authority = Authority::start(&mut world);
    let subject = Subject::new("Dịch vụ OCSP").organization("Trục DEV");
    let issued = world.issue("ocsp", Request::new(Profile::Ocsp, KeyKind::P256, subject));
    let responder = Responder::new(&issued).unwrap();
    let good = |_: &[u8]| Status::Good;
    let server =
        OcspServer::start(move |asked| server::Answer::Reply(responder.reply(asked, now(), good).unwrap())).unwrap();
    let tsa = authority.certificate(&world);
    let issuer = Certificate::from_pem(world.pki.intermediates_pem.as_bytes()).unwrap().remove(0);
    assert!(tsa.names_issuer(&issuer));
    let asks = format!(
        "\n[revocation]\nresponders = [{{ issuer = \"{}\", url = \"{}\" }}]\nbudget_ms = 10000\n",
        issuer.subject(),
        server.url()
    );
    edit_file(&world.node_folder("N-G22").join(truc_node::settings::SETTINGS_FILE), |text| text + &asks);
    start(&mut world, &authority).await;
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    let envelope = sender.accepted(&Letter::new("answered", "G22", &["H26"])).await;
    recipient.until_consigned(&envelope, "H26").await;
    world.all_receipts_valid("N-G22", &envelope, 4).await;
    until_stamped(&world, "N-G22", &envelope).await;
    let (bundle, report) = stamped_bundle(&world, "N-G22", &envelope, now()).await;
    let name = format!("revocation/{}.ocsp", tsa.sha256());
    assert!(report.others.iter().any(|(other, _)| *other == name), "{name} in {:?}", report.others);
    let place = |name: &str| bundle.windows(name.len()).position(|window| window == name.as_bytes());
    assert!(place(&name) < place("report.pdf"), "it stands among the receipts, for which it counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_goes_on_while_the_authority_is_away_and_every_copy_of_every_receipt_is_stamped_once_it_is_back() {
    let mut world = World::make(Lane::Ordinary, &NODES).await;
    let authority = Authority::start(&mut world);
    authority.away.store(true, Ordering::SeqCst);
    start(&mut world, &authority).await;
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    let envelope = sender.accepted(&Letter::new("meanwhile", "G22", &["H26"])).await;
    recipient.until_consigned(&envelope, "H26").await;
    world.all_receipts_valid("N-G22", &envelope, 4).await;
    let said = sender.until_alarm(&["time-stamps", "no answer"]).await;
    assert!(said.contains("dấu thời gian"), "{said}");
    // Signed by their makers, without a stamp, and that for good if nobody showed them again.
    world.all_receipts_valid("N-H26", &envelope, 4).await;
    for id in ["N-G22", "N-H26"] {
        let levels = levels(&world, id, &envelope).await;
        assert!(levels.iter().all(|(_, levels)| *levels == [EvidenceLevel::Signed]), "{id}: {levels:?}");
    }

    // Nothing new is sent: the authority's return is enough.
    authority.away.store(false, Ordering::SeqCst);
    for id in ["N-G22", "N-H26"] {
        until_stamped(&world, id, &envelope).await;
        until_quiet(&world, id).await;
        for item in world.api(id).receipts(&envelope).await {
            let receipt = world.api(id).receipt(&item.leaf_hash, false).await;
            let later = verify_receipt(&receipt, &auditor(&world), None, now() + 6 * YEAR);
            assert!(passed(&later, Check::CertificateExpiry).contains("by the time-stamp of"), "{later:?}");
        }
    }
}

/// What every receipt about a document that a node hands out reaches.
async fn levels(world: &World, id: &str, envelope: &str) -> Vec<(String, Vec<EvidenceLevel>)> {
    let mut all = Vec::new();
    for item in world.api(id).receipts(envelope).await {
        let receipt = world.api(id).receipt(&item.leaf_hash, false).await;
        all.push((item.event, world.assert_valid(&receipt).summary.unwrap().levels));
    }
    all
}
