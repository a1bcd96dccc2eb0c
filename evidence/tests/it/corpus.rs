//! Every case of the corpus is refused by exactly the check it names, and by nothing else.

use std::collections::BTreeSet;

use truc_evidence::{
    Check, Checks, Document, EvidenceLevel, Outcome, ReceiptReport, ReceiptVerdict, verify_receipt_with,
};

use crate::{
    cases::{self, Case},
    world::{Built, WORLD},
};

fn verify(built: &Built, checks: Checks) -> ReceiptReport {
    let document = built.document.as_deref().map(Document::of);
    verify_receipt_with(built.receipt.as_bytes(), &built.trust(), document.as_ref(), built.now, checks)
}

fn against(report: &ReceiptReport) -> Vec<(Check, Outcome, String)> {
    let bad = |outcome| matches!(outcome, Outcome::Failed | Outcome::Unknown | Outcome::NotReached);
    report
        .steps
        .iter()
        .filter(|step| bad(step.outcome))
        .map(|step| (step.check, step.outcome, step.detail.clone()))
        .collect()
}

/// Nothing, or what is wrong with the report about a bent receipt.
fn complaint(case: &Case, report: &ReceiptReport) -> Option<String> {
    let found = against(report);
    let alone = matches!(found.as_slice(), [(check, outcome, _)] if (*check, *outcome) == (case.against, case.outcome));
    let verdict = if case.outcome == Outcome::Failed { ReceiptVerdict::Invalid } else { ReceiptVerdict::CannotTell };
    (!alone || report.verdict != verdict).then(|| {
        format!("{}: expected {:?} {:?}, found {:?} {found:?}", case.name, case.outcome, case.against, report.verdict)
    })
}

#[test]
fn receipts_that_are_right_are_valid() {
    for (name, recipe) in cases::valid() {
        let report = verify(&recipe.build(&WORLD), Checks::all());
        assert_eq!(against(&report), [], "{name}");
        assert_eq!(report.verdict, ReceiptVerdict::Valid, "{name}");
        assert_eq!(report.steps.len(), Check::ALL.len());
    }
}

#[test]
fn a_receipt_says_what_it_rests_on() {
    let levels = |name: &str| {
        let (_, recipe) = cases::valid().into_iter().find(|(found, _)| *found == name).unwrap();
        verify(&recipe.build(&WORLD), Checks::all()).summary.unwrap().levels
    };
    assert_eq!(levels("valid-consignment"), [EvidenceLevel::Signed]);
    assert_eq!(levels("valid-cosigned-and-no-policy"), [EvidenceLevel::Signed], "nobody said whose word counts");
    assert_eq!(levels("valid-where-the-policy-asks-for-its-ledger-alone"), [EvidenceLevel::Signed]);
    assert_eq!(levels("valid-witnessed"), [EvidenceLevel::Signed, EvidenceLevel::Witnessed]);
    let provisional = cases::all().into_iter().find(|case| case.name == "provisional").unwrap();
    assert_eq!(verify(&provisional.recipe.build(&WORLD), Checks::all()).summary.unwrap().levels, []);
}

#[test]
fn cosignatures_without_a_policy_are_counted_and_prove_nothing() {
    let (_, recipe) = cases::valid().into_iter().find(|(name, _)| *name == "valid-cosigned-and-no-policy").unwrap();
    let report = verify(&recipe.build(&WORLD), Checks::all());
    let step = report.steps.iter().find(|step| step.check == Check::Witnesses).unwrap();
    assert_eq!(step.outcome, Outcome::NotApplicable);
    assert_eq!(step.detail, "witnessed by 1, not checked: no policy given");
}

#[test]
fn every_bent_receipt_is_refused_by_the_named_check_alone() {
    let cases = cases::all();
    let complaints: Vec<String> =
        cases.iter().filter_map(|case| complaint(case, &verify(&case.recipe.build(&WORLD), Checks::all()))).collect();
    assert_eq!(complaints, Vec::<String>::new());
}

#[test]
fn switching_a_check_off_lets_exactly_its_cases_pass() {
    let cases: Vec<(Case, Built)> = cases::all()
        .into_iter()
        .map(|case| (case.recipe.build(&WORLD), case))
        .map(|(built, case)| (case, built))
        .collect();
    for off in Check::ALL {
        for (case, built) in &cases {
            let report = verify(built, Checks::all().without(*off));
            if case.against == *off {
                assert_eq!(against(&report), [], "{} without {off}", case.name);
                assert_eq!(report.verdict, ReceiptVerdict::Valid, "{} without {off}", case.name);
            } else {
                assert_eq!(complaint(case, &report), None, "without {off}");
            }
        }
    }
}

#[test]
fn every_check_has_a_case_and_every_case_a_name_of_its_own() {
    let cases = cases::all();
    let covered: BTreeSet<Check> = cases.iter().map(|case| case.against).collect();
    let missing: Vec<&Check> = Check::ALL.iter().filter(|check| !covered.contains(check)).collect();
    assert_eq!(missing, Vec::<&Check>::new());
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len());
    let ids: BTreeSet<&str> = Check::ALL.iter().map(|check| check.id()).collect();
    assert_eq!(ids.len(), Check::ALL.len());
}
