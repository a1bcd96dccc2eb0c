//! Bundles: what holds of a right one, and every way to bend one, each refused by the check it names.

use truc_evidence::{
    BundleCheck, BundleReport, BundleWriter, Document, Outcome, ReceiptTrust, ReceiptVerdict, Standing, is_bundle,
    verify_bundle,
};
use truc_proto::{BundleJson, EnvelopeId, EventUri, Lane, Timestamp, limits::RECEIPT_BYTES_MAX};
use truc_signer::{SignError, asic::ContainerWriter, sign_detached};

use crate::world::*;

/// A bundle to build: what is put in under which name, and who signs.
struct Plan {
    receipts: Vec<(&'static str, String)>,
    about: fn(&mut BundleJson),
    signer: fn(&World) -> &Party,
    signed_at: Timestamp,
}

fn receipt(who: Who, bend: impl FnOnce(&mut Recipe)) -> String {
    let mut recipe = Recipe { who, with_opening: true, ..Recipe::default() };
    bend(&mut recipe);
    recipe.build(&WORLD).receipt
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            receipts: vec![
                ("submission.receipt", receipt(Who::Sender, |_| {})),
                ("relay.receipt", receipt(Who::Relay, |_| {})),
                ("consignment.receipt", receipt(Who::Recipient, |_| {})),
            ],
            about: |_| {},
            signer: |world| &world.service_g22,
            signed_at: after(HOUR_MS),
        }
    }
}

impl Plan {
    fn writer(&self) -> BundleWriter<Vec<u8>> {
        let mut about = about();
        (self.about)(&mut about);
        let mut writer = BundleWriter::new(Vec::new(), about).unwrap();
        for (name, receipt) in &self.receipts {
            writer.receipt(name, receipt.as_bytes()).unwrap();
        }
        writer.checked(b"{}").unwrap();
        writer
    }

    fn sign(&self, manifest: &[u8]) -> Result<Vec<u8>, SignError> {
        sign_detached(&(self.signer)(&WORLD).key, manifest, Some(self.signed_at))
    }

    fn build(&self) -> Vec<u8> {
        self.writer().finish(|manifest| self.sign(manifest)).unwrap()
    }
}

fn about() -> BundleJson {
    let report = verify(&Plan::receipt_alone());
    BundleJson {
        axis: axis(),
        lane: Lane::Ordinary,
        envelope: report.summary.as_ref().and_then(|summary| summary.envelope).unwrap(),
        sender: code("G22"),
        by: code("G22"),
        node: node_id("N-G22"),
        made: after(HOUR_MS),
    }
}

impl Plan {
    fn receipt_alone() -> String {
        receipt(Who::Sender, |_| {})
    }
}

fn verify(receipt: &str) -> truc_evidence::ReceiptReport {
    truc_evidence::verify_receipt(receipt.as_bytes(), &trust(false), None, after(DAY_MS))
}

fn trust(with_crls: bool) -> ReceiptTrust {
    let crls = if with_crls { WORLD.crls_pem.as_str() } else { "" };
    ReceiptTrust::new(store_of(&WORLD.trust_pem(), crls), WORLD.pinned())
}

fn judged(bundle: &[u8]) -> BundleReport {
    verify_bundle(bundle, &trust(false), None, after(DAY_MS))
}

/// What stands against it.
fn against(report: &BundleReport) -> Vec<(BundleCheck, Outcome)> {
    let bad = |outcome| matches!(outcome, Outcome::Failed | Outcome::Unknown);
    report.steps.iter().filter(|step| bad(step.outcome)).map(|step| (step.check, step.outcome)).collect()
}

#[track_caller]
fn refused(bundle: &[u8], check: BundleCheck) {
    let report = judged(bundle);
    assert_eq!(against(&report), [(check, Outcome::Failed)], "{:?}", report.steps);
    assert_eq!(report.verdict, ReceiptVerdict::Invalid);
}

#[test]
fn a_right_bundle_says_who_received_what_and_whether_they_can_deny_it() {
    let bundle = Plan::default().build();
    assert!(is_bundle(&bundle));
    let report = verify_bundle(bundle.as_slice(), &trust(false), Some(&Document::of(PACKET)), after(DAY_MS));
    assert_eq!(against(&report), [], "{:?}", report.steps);
    assert_eq!(report.verdict, ReceiptVerdict::Valid);
    assert_eq!((report.receipts.len(), report.signer.as_ref().unwrap().signed_at), (3, Some(after(HOUR_MS))));
    assert_eq!(report.others.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["README.txt", "checked.json"]);
    let standing: Vec<_> =
        report.conclusions.iter().map(|found| (found.recipient.as_str(), found.standing, found.events.len())).collect();
    // H26 stated it itself; of the other the relay alone speaks.
    assert_eq!(standing, [("H26", Standing::Consigned, 3), ("H37", Standing::Relayed, 2)]);
    let h26 = &report.conclusions[0];
    assert_eq!(h26.name.as_deref(), Some("Cơ quan H26"));
    assert_eq!(h26.shown_by.as_ref().unwrap().actor, Some(code("H26")));
    assert!(h26.standing.english().contains("cannot deny") && h26.standing.vietnamese().contains("không thể chối"));
}

#[test]
fn a_file_that_is_not_whole_proves_nothing() {
    let bundle = Plan::default().build();
    refused(&bundle[..bundle.len() - 1], BundleCheck::Form);
    refused(&[bundle.as_slice(), b"more"].concat(), BundleCheck::Form);
    refused(b"PK\x03\x04", BundleCheck::Form);
    // One bit anywhere: nothing of it counts, unless it says nothing (a file attribute in the directory).
    let whole = judged(&bundle);
    for at in (0..bundle.len()).step_by(97) {
        let mut bent = bundle.clone();
        bent[at] ^= 1;
        let report = judged(&bent);
        assert!(report.verdict == ReceiptVerdict::Invalid || report == whole, "byte {at}: {:?}", report.steps);
    }
    assert!(!is_bundle(Plan::receipt_alone().as_bytes()));
}

#[test]
fn without_its_statement_or_with_an_entry_too_long_it_is_no_bundle() {
    let plan = Plan::default();
    let container = |name: &str, bytes: &[u8]| {
        let mut writer = ContainerWriter::new(Vec::new()).unwrap();
        writer.begin_entry(name, "text/plain", None).unwrap();
        std::io::Write::write_all(&mut writer, bytes).unwrap();
        writer.end_entry().unwrap();
        writer.finish(|manifest| plan.sign(manifest)).unwrap().sink
    };
    let report = judged(&container("receipts/a.receipt", plan.receipts[0].1.as_bytes()));
    assert_eq!(report.verdict, ReceiptVerdict::Invalid);
    assert!(against(&report).contains(&(BundleCheck::Form, Outcome::Failed)));
    let noise: Vec<u8> = (0..=RECEIPT_BYTES_MAX).map(|at| (at * at / 7).to_le_bytes()[0]).collect();
    refused(&container("receipts/long.receipt", &noise), BundleCheck::Form);
}

#[test]
fn a_receipt_put_in_or_left_out_after_signing_breaks_the_signature() {
    let (whole, mut less) = (Plan::default(), Plan::default());
    less.receipts.pop();
    let mut signature = Vec::new();
    less.writer()
        .finish(|manifest| {
            signature = less.sign(manifest)?;
            Ok::<_, SignError>(signature.clone())
        })
        .unwrap();
    let taken_over = whole.writer().finish(|_| Ok::<_, SignError>(signature)).unwrap();
    let report = judged(&taken_over);
    assert_eq!(report.verdict, ReceiptVerdict::Invalid);
    assert!(against(&report).contains(&(BundleCheck::Signature, Outcome::Failed)), "{:?}", report.steps);
}

#[test]
fn its_signer_must_be_somebody() {
    refused(&Plan { signer: |world| &world.foreign_node, ..Plan::default() }.build(), BundleCheck::Signer);
    refused(&Plan { signer: |world| &world.sealing_h26, ..Plan::default() }.build(), BundleCheck::Signer);
    refused(&Plan { signed_at: after(-3_000 * DAY_MS), ..Plan::default() }.build(), BundleCheck::Signer);
}

#[test]
fn a_receipt_of_another_document_does_not_pass_among_the_others() {
    let mut plan = Plan::default();
    let other = |preamble: &mut truc_proto::Preamble| preamble.envelope = EnvelopeId::new(preamble.created, [9; 10]);
    plan.receipts[2].1 = receipt(Who::Recipient, |recipe| recipe.preamble = other);
    refused(&plan.build(), BundleCheck::OneDocument);
    refused(&Plan { about: |about| about.sender = code("H99"), ..Plan::default() }.build(), BundleCheck::OneDocument);
}

#[test]
fn a_ledger_that_shows_two_histories_is_found() {
    let mut plan = Plan::default();
    // The same place in H26's ledger, and another leaf there.
    let handover = receipt(Who::Recipient, |recipe| recipe.event = |event| event.event = EventUri::ContentHandover);
    plan.receipts.push(("handover.receipt", handover));
    let bundle = plan.build();
    refused(&bundle, BundleCheck::NoFork);
    let report = judged(&bundle);
    let fork = report.steps.iter().find(|step| step.check == BundleCheck::NoFork).unwrap();
    assert!(fork.detail.contains("consignment.receipt") && fork.detail.contains("handover.receipt"), "{}", fork.detail);
}

#[test]
fn what_one_receipt_does_not_prove_the_bundle_does_not() {
    let mut bent = Plan::default();
    bent.receipts[2].1 = receipt(Who::Recipient, |recipe| {
        recipe.leaf_shown = |leaf| String::from_utf8(leaf).unwrap().replace("H26", "H37").into_bytes()
    });
    let report = judged(&bent.build());
    assert_eq!(report.verdict, ReceiptVerdict::Invalid);
    assert!(report.conclusions.iter().all(|found| found.standing == Standing::Relayed), "{:?}", report.conclusions);
    let mut provisional = Plan::default();
    provisional.receipts[2].1 = receipt(Who::Recipient, |recipe| recipe.cms = |_, cms| cms.key = None);
    let report = judged(&provisional.build());
    assert_eq!(
        (report.verdict, against(&report)),
        (ReceiptVerdict::CannotTell, vec![(BundleCheck::Receipts, Outcome::Unknown)])
    );
    refused(&Plan { receipts: Vec::new(), ..Plan::default() }.build(), BundleCheck::Receipts);
}
