//! Bundles: what holds of a right one, and every way to bend one, each refused by the check it names.

use truc_evidence::{
    BundleCheck, BundleReport, Document, ForkFile, ForkKind, Outcome, ReceiptVerdict, Remark, Standing,
    bundled_receipt, is_bundle, verify_bundle,
};
use truc_proto::{EventUri, Receipt};

use crate::{
    bundle_cases::{self, Plan, receipt, trust},
    world::*,
};

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
    assert!(!is_bundle(receipt(Who::Sender, |_| {}).as_bytes()));
}

#[test]
fn every_bundle_is_refused_by_exactly_the_checks_that_it_names() {
    let mut complaints = Vec::new();
    for case in bundle_cases::all() {
        let report = case.report();
        let verdict = match case.against.iter().map(|(_, outcome)| *outcome).min() {
            None => ReceiptVerdict::Valid,
            Some(Outcome::Failed) => ReceiptVerdict::Invalid,
            Some(_) => ReceiptVerdict::CannotTell,
        };
        if against(&report) != case.against || report.verdict != verdict {
            complaints.push(format!("{}: {:?} {:?}", case.name, report.verdict, report.steps));
        }
    }
    assert_eq!(complaints, Vec::<String>::new());
}

#[test]
fn receipts_of_another_document_say_nothing_of_this_ones_recipients() {
    let cases = bundle_cases::all();
    let case = |name: &str| cases.iter().find(|case| case.name == name).unwrap().report();
    let report = case("a-receipt-of-another-document");
    let standing: Vec<_> = report.conclusions.iter().map(|found| (found.recipient.as_str(), found.standing)).collect();
    assert_eq!(standing, [("H26", Standing::Relayed), ("H37", Standing::Relayed)]);
    assert_eq!(case("all-receipts-of-another-document").conclusions, []);
    assert_eq!(case("without-its-statement").conclusions, []);
}

/// Recipient, standing, remarks; then each event's remarks, in the order of their times.
type Told = (&'static str, &'static str, &'static str, &'static [&'static str]);

#[test]
fn nobody_is_held_to_anothers_word_and_what_does_not_go_together_is_said() {
    let expected: &[(&str, &[Told])] = &[
        ("right", &[("H26", "consigned", "", &[]), ("H37", "relayed", "", &[])]),
        (
            "another-content-under-the-same-number",
            &[("H26", "consigned", "other-content", &[]), ("H37", "relayed", "", &[])],
        ),
        ("another-commitment", &[("H26", "consigned", "other-content", &[]), ("H37", "relayed", "", &[])]),
        ("another-preamble", &[("H26", "consigned", "other-content", &[]), ("H37", "relayed", "", &[])]),
        ("another-key-envelope", &[("H26", "consigned", "", &[]), ("H37", "relayed", "", &[])]),
        (
            "two-submissions-under-one-number",
            &[("H26", "consigned", "two-submissions", &[]), ("H37", "relayed", "two-submissions", &[])],
        ),
        (
            "two-submissions-and-a-word-for-the-second",
            &[("H26", "consigned", "two-submissions", &[]), ("H37", "relayed", "two-submissions", &[])],
        ),
        (
            "a-stranger-with-another-content",
            &[("H26", "consigned", "no-submission", &[]), ("H37", "taken", "no-submission", &[])],
        ),
        ("no-submission-and-two-contents", &[("H26", "consigned", "no-submission", &[])]),
        ("two-key-envelopes-without-a-submission", &[("H26", "handed-over", "no-submission", &[])]),
        ("a-recipient-that-it-is-not-for", &[("H26", "sent", "", &[]), ("H37", "consigned", "not-addressed", &[])]),
        ("passed-on-for-one-that-it-is-sealed-for", &[("H26", "relayed", "", &[]), ("H37", "relayed", "", &[])]),
        ("of-another-axis", &[]),
        ("of-another-lane", &[]),
        ("delivered-late", &[("H26", "consigned", "delivered-late", &[]), ("H37", "relayed", "", &[])]),
        ("taken-late", &[("H26", "taken", "delivered-late", &[]), ("H37", "relayed", "", &[])]),
        ("the-relay-denies-it", &[("H26", "consigned", "relay-denies", &[]), ("H37", "relayed", "", &[])]),
        ("the-relay-alone-says-that-it-failed", &[("H26", "failed", "", &[]), ("H37", "relayed", "", &[])]),
        ("taken-and-refused-later", &[("H26", "handed-over", "took-and-refused", &[]), ("H37", "relayed", "", &[])]),
        ("refused-and-taken-then", &[("H26", "handed-over", "", &[]), ("H37", "relayed", "", &[])]),
        ("opened-and-not", &[("H26", "consigned", "opened-and-not", &[]), ("H37", "relayed", "", &[])]),
        ("not-opened", &[("H26", "not-opened", "", &[]), ("H37", "relayed", "", &[])]),
        ("rejected-and-sent", &[("H26", "relayed", "", &[]), ("H37", "relayed", "", &[])]),
        ("taken-and-another-content-later", &[("H26", "consigned", "other-content", &[]), ("H37", "relayed", "", &[])]),
        ("taken-over-from-todays-axis", &[("H26", "consigned", "no-submission", &[])]),
        // What the relay has is not for who is reached through today's axis.
        (
            "through-todays-axis",
            &[("H26", "relayed", "", &[]), ("H37", "relayed", "", &[]), ("H50", "passed-on", "", &[])],
        ),
        ("received-for-the-recipient-by-the-sender", &[("H26", "relayed", "", &[]), ("H37", "relayed", "", &[])]),
        (
            "consignment-before-the-submission",
            &[("H26", "consigned", "", &["out-of-order"]), ("H37", "relayed", "", &[])],
        ),
        ("consignment-a-little-before-the-submission", &[("H26", "consigned", "", &[]), ("H37", "relayed", "", &[])]),
        ("signed-days-later", &[("H26", "consigned", "", &["proven-late"]), ("H37", "relayed", "", &[])]),
        ("stamped-days-later", &[("H26", "consigned", "", &["proven-late"]), ("H37", "relayed", "", &[])]),
        (
            "certificate-that-a-later-directory-stops-before",
            &[("H26", "handed-over", "", &[]), ("H37", "relayed", "", &[])],
        ),
        // The relay that was recovered took it once more, days later: nobody is blamed for having been earlier.
        ("taken-by-the-relay-once-more", &[("H26", "consigned", "", &[]), ("H37", "relayed", "", &[])]),
        // The earliest proof of an event counts, whoever adds a later one.
        ("proven-once-more-later", &[("H26", "consigned", "", &[]), ("H37", "relayed", "", &[])]),
        ("stamped-at-once", &[("H26", "consigned", "", &[]), ("H37", "relayed", "", &[])]),
    ];
    let cases = bundle_cases::all();
    let mut complaints = Vec::new();
    for (name, expected) in expected {
        let report = cases.iter().find(|case| case.name == *name).unwrap().report();
        let found = report.conclusions.iter().map(|found| {
            let remarks = found.remarks.iter().map(|remark| remark.as_str()).collect::<Vec<_>>().join(" ");
            let times = found.events.iter().flat_map(|event| &event.remarks).map(|remark| remark.as_str());
            (found.recipient.to_string(), found.standing.as_str(), remarks, times.collect::<Vec<_>>())
        });
        let wanted = expected.iter().map(|(recipient, standing, remarks, times)| {
            ((*recipient).to_owned(), *standing, (*remarks).to_owned(), times.to_vec())
        });
        let (found, wanted) = (found.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
        if found != wanted {
            complaints.push(format!("{name}: {found:?}, not {wanted:?}"));
        }
    }
    assert_eq!(complaints, Vec::<String>::new());
    // An event counts once, however often its receipt lies in it: nobody makes work of copies.
    let twice = cases.iter().find(|case| case.name == "one-receipt-twice").unwrap().report();
    assert_eq!((twice.receipts.len(), twice.conclusions[0].events.len()), (2, 1));
    let stamped = cases.iter().find(|case| case.name == "stamped-at-once").unwrap().report();
    let shown = stamped.conclusions[0].shown_by.clone().unwrap();
    assert!(shown.proven_by.is_some_and(|by| by >= after(2_000)) && shown.time == at(), "{shown:?}");
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
    // Both checkpoints out of it are the proof that is handed on.
    let checkpoint = |name: &str| {
        let bytes = bundled_receipt(bundle.as_slice(), &format!("receipts/{name}")).unwrap().unwrap();
        Receipt::parse(&bytes).unwrap().checkpoint.into_bytes()
    };
    let proof = ForkFile::new(&checkpoint("consignment.receipt"), &checkpoint("handover.receipt"));
    let key = ledger_key(&proof.origin().unwrap(), 2);
    assert_eq!(proof.judge(key.public()).unwrap().kind, ForkKind::TwoHistories);
    assert_eq!(bundled_receipt(bundle.as_slice(), "nothing.receipt").unwrap(), None);
    // It cannot deny what it signed, by having signed something else, too.
    let h26 = report.conclusions.iter().find(|found| found.recipient == code("H26")).unwrap();
    assert_eq!((h26.standing, h26.remarks.as_slice()), (Standing::HandedOver, &[Remark::TwoHistories][..]));
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
