//! OCSP answers as evidence: given beside a receipt, and in a bundle. Made by the development responder, whom one can tell to lie, and by `openssl ocsp`.

use std::{fs, path::Path, process::Command, sync::LazyLock, time::Duration};

use truc_certs_dev::{
    ExtendedKeyUsagePurpose, Issued, Issuer, KeyKind, OcspPlan, Pki, Profile, Request, Responder, RevocationReason,
    Subject, Tsa,
    ocsp::{Asked, Status},
};
use truc_evidence::{
    BundleCheck::{self, Form, Receipts, Signer},
    Check::{self, CertificateRevocation, OperatorRevocation, TimeStamps},
    Outcome::{self, Failed, Passed, Unknown},
    ReceiptVerdict, verify_receipt,
};
use truc_proto::{Timestamp, limits::OCSP_BYTES_MAX};
use truc_signer::{Certificate, OcspRequest};

use crate::{
    bundle_cases::{BundleCase, Plan},
    world::*,
};

/// Who answers.
struct Responders {
    /// Appointed by the issuer, whose certificate says that nobody need look whether it was revoked.
    appointed: Responder,
    /// The issuer itself.
    issuer: Responder,
    /// Appointed, with a certificate that must be looked up.
    to_check: Responder,
    /// Appointed, and revoked.
    revoked: Responder,
    /// The issuer gave it a certificate for something else.
    misused: Responder,
    /// Appointed by the root: for what the root issued.
    of_root: Responder,
    /// Appointed by another authority.
    stranger: Responder,
    /// An authority of the issuer's name and another key.
    forger: Responder,
    /// Appointed for a time that is over.
    ended: Responder,
}

static BY: LazyLock<Responders> = LazyLock::new(|| {
    let pki = &WORLD.pki;
    let of = |issued: &Issued| Responder::new(issued).unwrap();
    let request = |profile| Request::new(profile, KeyKind::P256, Subject::new("OCSP"));
    let with = |request| of(&pki.issue_with(request).unwrap());
    let made = after(-60 * DAY_MS);
    let stranger = Pki::unrelated(KeyKind::P256, made).unwrap();
    Responders {
        appointed: of(&APPOINTED),
        issuer: pki.own_responder().unwrap(),
        to_check: with(Request {
            extended_key_usages: Some(vec![ExtendedKeyUsagePurpose::OcspSigning]),
            ..request(Profile::Service)
        }),
        revoked: of(&WORLD.revoked_responder),
        misused: with(request(Profile::Service)),
        of_root: with(Request { issuer: Issuer::Root, ..request(Profile::Ocsp) }),
        stranger: of(&stranger.issue(Profile::Ocsp, Subject::new("OCSP lạ")).unwrap()),
        forger: Pki::new(KeyKind::P256, made).unwrap().own_responder().unwrap(),
        ended: with(Request { not_after: Some(after(-DAY_MS)), ..request(Profile::Ocsp) }),
    }
});

static APPOINTED: LazyLock<Issued> = LazyLock::new(|| WORLD.pki.issue(Profile::Ocsp, Subject::new("OCSP")).unwrap());

/// A time-stamping authority that is asked about, and its certificate.
static ASKED_ABOUT: LazyLock<(Tsa, Certificate)> = LazyLock::new(|| {
    let issued = WORLD.pki.issue(Profile::TimeStamping, Subject::new("TSA")).unwrap();
    let certificate = Certificate::from_der(&issued.certificate_der).unwrap();
    (Tsa::new(issued).unwrap(), certificate)
});

fn sub_ca() -> Certificate {
    Certificate::from_der(WORLD.pki.sub_der()).unwrap()
}

/// An answer about a certificate, made two hours after the event and good for an hour, but for what `edit` makes of it.
fn answer_about(
    about: &Certificate,
    issuer: &Certificate,
    by: &Responder,
    status: Status,
    edit: impl FnOnce(&mut OcspPlan),
) -> Vec<u8> {
    let asked = OcspRequest::new(about.clone(), issuer.clone(), None).to_der();
    let mut plan = OcspPlan::at(after(2 * HOUR_MS), status);
    edit(&mut plan);
    by.answer(&Asked::read(&asked).unwrap().certificates[0], &plan).unwrap()
}

fn answer(about: &Party, by: &Responder, status: Status, edit: impl FnOnce(&mut OcspPlan)) -> Vec<u8> {
    answer_about(about.key_certificate(), &sub_ca(), by, status, edit)
}

impl Party {
    fn key_certificate(&self) -> &Certificate {
        self.key.certificate()
    }
}

fn revoked(ms: i64) -> Status {
    Status::Revoked(after(ms), RevocationReason::KeyCompromise)
}

fn held(ms: i64) -> Status {
    Status::Revoked(after(ms), RevocationReason::CertificateHold)
}

/// The signature's last byte is another.
fn altered(mut answer: Vec<u8>) -> Vec<u8> {
    // Of a bare answer, which brings no certificate along, it is the signature's.
    *answer.last_mut().unwrap() ^= 1;
    answer
}

type Against = Option<(Check, Outcome)>;

/// Receipts with the answers that are given beside them, and what stands against each.
pub(crate) fn receipts() -> Vec<((&'static str, Recipe), Against)> {
    let node = &WORLD.node_h26;
    let of = |name, answers, against| ((name, Recipe { answers, ..Recipe::default() }), against);
    let none = |_: &mut OcspPlan| ();
    let failed = Some((CertificateRevocation, Failed));
    let before = revoked(-HOUR_MS);
    let stamped: Stamps = |world, signature| vec![token(&world.tsa, signature, 2_000)];
    let late_stamp: Stamps = |world, signature| vec![token(&world.tsa, signature, 18 * HOUR_MS)];
    let since = || vec![answer(node, &BY.appointed, revoked(12 * HOUR_MS), none)];
    let asked_about: Stamps = |_, signature| vec![token(&ASKED_ABOUT.0, signature, 2_000)];
    let tsa = |status| vec![answer_about(&ASKED_ABOUT.1, &sub_ca(), &BY.appointed, status, none)];
    let root = Certificate::from_der(WORLD.pki.root_der()).unwrap();
    vec![
        of("answered-good", vec![answer(node, &BY.appointed, Status::Good, none)], None),
        of("revoked-by-its-issuer-before", vec![answer(node, &BY.issuer, before, none)], failed),
        of("revoked-by-the-appointed-before", vec![answer(node, &BY.appointed, before, none)], failed),
        of(
            "revoked-by-the-appointed-by-key",
            vec![answer(node, &BY.appointed, before, |plan| plan.by_key = true)],
            failed,
        ),
        of(
            "revoked-in-an-old-answer",
            vec![answer(node, &BY.appointed, before, |plan| {
                plan.this_update = after(-HOUR_MS / 2);
                plan.next_update = Some(after(-HOUR_MS / 3));
            })],
            failed,
        ),
        of(
            "revoked-and-good",
            vec![answer(node, &BY.appointed, Status::Good, none), answer(node, &BY.issuer, before, none)],
            failed,
        ),
        of("revoked-since-by-answer", since(), Some((CertificateRevocation, Unknown))),
        (
            ("revoked-since-by-answer-and-stamped", Recipe { answers: since(), stamps: stamped, ..Recipe::default() }),
            None,
        ),
        (
            (
                "revoked-since-by-answer-and-stamped-later",
                Recipe { answers: since(), stamps: late_stamp, ..Recipe::default() },
            ),
            failed,
        ),
        of("revoked-is-another-certificate", vec![answer(&WORLD.node_g22, &BY.appointed, before, none)], None),
        of("revoked-by-a-stranger", vec![answer(node, &BY.stranger, before, none)], None),
        of("revoked-by-who-bears-the-issuer's-name", vec![answer(node, &BY.forger, before, none)], None),
        of("revoked-by-who-may-not-answer", vec![answer(node, &BY.misused, before, none)], None),
        of("revoked-by-whom-the-root-appointed", vec![answer(node, &BY.of_root, before, none)], None),
        of("revoked-by-who-was-appointed-once", vec![answer(node, &BY.ended, before, none)], None),
        of("revoked-by-who-must-be-looked-up", vec![answer(node, &BY.to_check, before, none)], None),
        (
            (
                "revoked-by-who-was-looked-up",
                Recipe {
                    answers: vec![answer(node, &BY.to_check, before, none)],
                    with_crls: true,
                    now: after(20 * DAY_MS),
                    ..Recipe::default()
                },
            ),
            failed,
        ),
        (
            (
                "revoked-by-a-revoked-responder",
                Recipe {
                    answers: vec![answer(node, &BY.revoked, before, none)],
                    with_crls: true,
                    now: after(20 * DAY_MS),
                    ..Recipe::default()
                },
            ),
            None,
        ),
        of(
            "revoked-in-an-altered-answer",
            vec![altered(answer(node, &BY.issuer, before, |plan| plan.bare = true))],
            None,
        ),
        of(
            "revoked-in-an-answer-of-tomorrow",
            vec![answer(node, &BY.appointed, before, |plan| plan.produced_at = after(2 * DAY_MS))],
            None,
        ),
        of(
            "revoked-as-of-tomorrow",
            vec![answer(node, &BY.appointed, before, |plan| plan.this_update = after(2 * DAY_MS))],
            None,
        ),
        of("suspended-before", vec![answer(node, &BY.appointed, held(-HOUR_MS), none)], failed),
        of(
            "suspended-once",
            vec![answer(node, &BY.appointed, held(-3 * HOUR_MS), |plan| {
                plan.this_update = after(-2 * HOUR_MS);
                plan.next_update = Some(after(-HOUR_MS));
            })],
            None,
        ),
        of("unknown-to-the-responder", vec![answer(node, &BY.appointed, Status::Unknown, none)], None),
        of(
            "operator-revoked-by-answer",
            vec![answer(&WORLD.operator, &BY.appointed, revoked(-12 * DAY_MS), none)],
            Some((OperatorRevocation, Failed)),
        ),
        (
            (
                "stamped-by-who-was-revoked-by-answer",
                Recipe { answers: tsa(revoked(-HOUR_MS)), stamps: asked_about, ..Recipe::default() },
            ),
            Some((TimeStamps, Failed)),
        ),
        (
            (
                "stamped-by-who-was-answered-good",
                Recipe { answers: tsa(Status::Good), stamps: asked_about, ..Recipe::default() },
            ),
            None,
        ),
        of(
            "the-root's-responder-about-the-sub-ca",
            vec![answer_about(&sub_ca(), &root, &BY.of_root, Status::Good, none)],
            None,
        ),
    ]
}

fn named(answers: Vec<Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    answers.into_iter().enumerate().map(|(n, der)| (format!("revocation/{n}.ocsp"), der)).collect()
}

/// A bundle that holds one answer about its signer, bent.
pub(crate) fn with_one_bent(bend: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let made = answer(&WORLD.service_g22, &BY.appointed, revoked(-HOUR_MS), |_| ());
    Plan { answers: named(vec![bend(made)]), ..Plan::default() }.build()
}

/// Bundles with answers in them, most of them about who put the bundle together.
pub(crate) fn bundles() -> Vec<BundleCase> {
    let by = &WORLD.service_g22;
    let of = |name: &str, answers: Vec<Vec<u8>>, all: &[(BundleCheck, Outcome)]| {
        let plan = Plan { answers: named(answers), ..Plan::default() };
        BundleCase::new(format!("answers-{name}"), plan.build(), all)
    };
    let no_use = |name: &str, der: Vec<u8>| of(&format!("of-no-use-{name}"), vec![der], &[(Signer, Unknown)]);
    let none = |_: &mut OcspPlan| ();
    let good = || answer(by, &BY.appointed, Status::Good, none);
    let before = || answer(by, &BY.appointed, revoked(0), none);
    let forged = || answer(by, &BY.stranger, Status::Good, none);
    let about_h26 = || answer(&WORLD.node_h26, &BY.appointed, revoked(-HOUR_MS), none);
    let late = |ms: i64| Plan { signed_at: Some(after(ms)), ..Plan::default() };
    let since = |stamps: Stamps| Plan {
        answers: named(vec![answer(by, &BY.appointed, revoked(12 * HOUR_MS), none)]),
        stamps,
        ..Plan::default()
    };
    let root = Certificate::from_der(WORLD.pki.root_der()).unwrap();
    let sub_revoked = answer_about(&sub_ca(), &root, &BY.of_root, revoked(-HOUR_MS), none);
    let entries = |entries: Vec<(&str, Vec<u8>)>| Plan {
        answers: entries.into_iter().map(|(name, der)| (name.to_owned(), der)).collect(),
        ..Plan::default()
    };
    let case = |name: &str, plan: &Plan, all: &[(BundleCheck, Outcome)]| {
        BundleCase::new(format!("answers-{name}"), plan.build(), all)
    };
    let fresh = answer(by, &BY.issuer, Status::Good, |plan| {
        *plan = OcspPlan::at(after(100 * DAY_MS), Status::Good);
    });
    // Past the lists' next update; judged at the end of the day it comes from the future.
    let past = Plan { answers: named(vec![fresh]), ..late(100 * DAY_MS) };
    let nearly = answer(by, &BY.appointed, Status::Good, |plan| plan.next_update = Some(after(HOUR_MS)));
    let many = |last: Vec<u8>| (0..8).map(|_| forged()).chain([last]).collect::<Vec<_>>();
    let outgiven = BundleCase { given: vec![before()], ..of("given-count-first", many(good()), &[(Signer, Failed)]) };
    vec![
        of("good", vec![good()], &[]),
        of("good-with-revocation-lists", vec![good()], &[]).with_crls(),
        of("good-until-it-signed", vec![nearly], &[]),
        of("revoked-before", vec![before()], &[(Signer, Failed)]),
        of("revoked-before-and-lists-that-do-not-say-so", vec![before()], &[(Signer, Failed)]).with_crls(),
        case("revoked-since", &since(|_, _| vec![]), &[(Signer, Unknown)]),
        case(
            "revoked-since-and-stamped-before",
            &since(|world, signature| vec![token(&world.tsa, signature, 2 * HOUR_MS)]),
            &[],
        ),
        case(
            "revoked-since-and-stamped-after",
            &since(|world, signature| vec![token(&world.tsa, signature, 18 * HOUR_MS)]),
            &[(Signer, Failed)],
        ),
        of("suspended", vec![answer(by, &BY.appointed, held(0), none)], &[(Signer, Failed)]),
        no_use("unknown", answer(by, &BY.appointed, Status::Unknown, none)),
        no_use(
            "stale",
            answer(by, &BY.appointed, Status::Good, |plan| {
                plan.this_update = after(-2 * HOUR_MS);
                plan.next_update = Some(after(-HOUR_MS));
            }),
        ),
        no_use(
            "stale-for-want-of-a-next-one",
            answer(by, &BY.appointed, Status::Good, |plan| {
                plan.this_update = after(-HOUR_MS);
                plan.next_update = None;
            }),
        ),
        no_use(
            "suspended-once",
            answer(by, &BY.appointed, held(-3 * HOUR_MS), |plan| {
                plan.this_update = after(-2 * HOUR_MS);
                plan.next_update = Some(after(-HOUR_MS));
            }),
        ),
        no_use("from-the-future", answer(by, &BY.appointed, Status::Good, |plan| plan.produced_at = after(2 * DAY_MS))),
        no_use("by-a-stranger", forged()),
        no_use("by-who-bears-the-issuer's-name", answer(by, &BY.forger, Status::Good, none)),
        no_use("by-who-may-not-answer", answer(by, &BY.misused, Status::Good, none)),
        no_use("by-whom-the-root-appointed", answer(by, &BY.of_root, Status::Good, none)),
        no_use("by-who-was-appointed-once", answer(by, &BY.ended, Status::Good, none)),
        no_use("by-who-must-be-looked-up", answer(by, &BY.to_check, Status::Good, none)),
        no_use("without-its-responder", answer(by, &BY.appointed, Status::Good, |plan| plan.bare = true)),
        no_use("altered", altered(answer(by, &BY.issuer, Status::Good, |plan| plan.bare = true))),
        of("by-who-was-looked-up", vec![answer(by, &BY.to_check, revoked(0), none)], &[(Signer, Failed)]).with_crls(),
        of("by-who-was-revoked", vec![answer(by, &BY.revoked, revoked(0), none)], &[]).with_crls(),
        of("about-another-certificate", vec![answer(&WORLD.service_h26, &BY.appointed, revoked(0), none)], &[]),
        case("past-the-revocation-lists", &past, &[(Signer, Unknown)]).with_crls().at(101 * DAY_MS),
        of("eight-forged-and-a-good-one", many(good()), &[(Signer, Unknown)]),
        of("seven-forged-and-a-good-one", many(good()).split_off(1), &[]),
        outgiven,
        of("before-the-receipts", vec![about_h26()], &[(Receipts, Failed)]),
        case("behind-the-receipts", &Plan { late_answers: named(vec![about_h26()]), ..Plan::default() }, &[]),
        case(
            "behind-the-receipts-about-the-signer",
            &Plan { late_answers: named(vec![before()]), ..Plan::default() },
            &[(Signer, Failed)],
        ),
        of("the-authority-revoked", vec![sub_revoked], &[(Signer, Failed), (Receipts, Failed)]),
        case("elsewhere", &entries(vec![("ocsp/0.ocsp", before()), ("revocation/0.der", before())]), &[]),
        case("in-a-folder", &entries(vec![("revocation/a/b.ocsp", before())]), &[(Signer, Failed)]),
        case(
            "that-are-none",
            &entries(vec![
                ("revocation/empty.ocsp", vec![]),
                ("revocation/text.ocsp", b"no answer".to_vec()),
                ("revocation/refusal.ocsp", truc_certs_dev::ocsp::refusal(3)),
                ("revocation/more.ocsp", [before(), vec![0]].concat()),
                ("revocation/cut.ocsp", before().split_off(1)),
            ]),
            &[],
        ),
        case("as-long-as-may-be", &entries(vec![("revocation/a.ocsp", vec![0x30; OCSP_BYTES_MAX])]), &[]),
        case("too-long", &entries(vec![("revocation/a.ocsp", vec![0x30; OCSP_BYTES_MAX + 1])]), &[(Form, Failed)]),
    ]
}

/// What `openssl ocsp` answers, at this machine's time, about the certificate of a receipt: with what the check of its revocation finds.
pub(crate) fn of_openssl() -> Vec<(&'static str, Built, Outcome)> {
    let present = Command::new("openssl").arg("version").output().is_ok_and(|out| out.status.success());
    if !present {
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none_or(|wanted| wanted != "1"), "openssl is not there");
        eprintln!("SKIPPED: openssl is not there");
        return vec![];
    }
    let node = &WORLD.node_h26;
    let hour = Duration::from_millis(u64::try_from(HOUR_MS).unwrap());
    let now = (truc_certs_dev::now() + hour).max(after(20 * DAY_MS));
    let built = |answer| Built { answers: vec![answer], ..Recipe { now, ..Recipe::default() }.build(&WORLD) };
    let line = |since: Option<Timestamp>| {
        let digits = |at: Timestamp| at.to_string().chars().filter(char::is_ascii_digit).collect::<String>();
        let since = since.map(|at| format!("{}Z,keyCompromise", &digits(at)[2..14]));
        let serial: String = node.key_certificate().serial().iter().map(|byte| format!("{byte:02X}")).collect();
        let kind = if since.is_some() { "R" } else { "V" };
        format!("{kind}\t20991231235959Z\t{}\t{serial}\tunknown\t/CN=a\n", since.unwrap_or_default())
    };
    let appointed = openssl_responder();
    [
        ("answered-by-openssl-good", line(None), "-sha1", "", Passed),
        ("answered-by-openssl-revoked-before", line(Some(after(-HOUR_MS))), "-sha256", "", Failed),
        ("answered-by-openssl-revoked-since", line(Some(after(12 * HOUR_MS))), "-sha256", "-resp_key_id", Unknown),
        ("answered-by-openssl-unknown", String::new(), "-sha1", "", Passed),
    ]
    .map(|(name, index, hash, more, outcome)| (name, built(ask_openssl(&appointed, &index, hash, more)), outcome))
    .into()
}

/// Whose certificate is valid whenever this machine says it is.
fn openssl_responder() -> Issued {
    let request = Request::new(Profile::Ocsp, KeyKind::P256, Subject::new("OCSP của openssl"));
    let (from, to) = ("2020-01-01T00:00:00Z".parse().unwrap(), "2099-01-01T00:00:00Z".parse().unwrap());
    WORLD.pki.issue_with(Request { not_before: Some(from), not_after: Some(to), ..request }).unwrap()
}

fn ask_openssl(responder: &Issued, index: &str, hash: &str, more: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    put("sub.pem", &WORLD.pki.intermediates_pem);
    put("ocsp.pem", &responder.leaf_pem());
    put("ocsp.key", &responder.key_pem);
    put("leaf.pem", &WORLD.node_h26.issued.leaf_pem());
    put("index.txt", index);
    let arguments = format!(
        "ocsp {hash} -issuer sub.pem -cert leaf.pem -index index.txt -CA sub.pem -rsigner ocsp.pem -rkey ocsp.key -respout answer.der -ndays 2 -rmd sha256 {more}"
    );
    run_openssl(folder.path(), &arguments);
    fs::read(folder.path().join("answer.der")).unwrap()
}

fn run_openssl(folder: &Path, arguments: &str) {
    let run = Command::new("openssl").current_dir(folder).args(arguments.split_whitespace()).output().unwrap();
    assert!(run.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn an_answer_given_beside_a_receipt_decides_as_a_list_does() {
    for ((name, recipe), expected) in receipts() {
        let built = recipe.build(&WORLD);
        let report = verify_receipt(built.receipt.as_bytes(), &built.trust(), None, built.now);
        let against: Vec<_> = report.against().map(|step| (step.check, step.outcome)).collect();
        assert_eq!(against, expected.into_iter().collect::<Vec<_>>(), "{name}");
        let verdict = match expected {
            None => ReceiptVerdict::Valid,
            Some((_, Failed)) => ReceiptVerdict::Invalid,
            Some(_) => ReceiptVerdict::CannotTell,
        };
        assert_eq!(report.verdict, verdict, "{name}");
    }
}

#[test]
fn what_openssl_answers_decides() {
    for (name, built, expected) in of_openssl() {
        let report = verify_receipt(built.receipt.as_bytes(), &built.trust(), None, built.now);
        let found = report.steps.iter().find(|step| step.check == CertificateRevocation).unwrap();
        assert_eq!(found.outcome, expected, "{name}: {}", found.detail);
    }
}

#[test]
fn what_one_bundle_brings_counts_for_no_other() {
    let cases = bundles();
    let trust = crate::bundle_cases::trust(false);
    let verdict = |name: &str| {
        let case = cases.iter().find(|case| case.name == name).unwrap();
        truc_evidence::verify_bundle(case.bundle.as_slice(), &trust, None, after(DAY_MS)).verdict
    };
    assert_eq!(verdict("answers-good"), ReceiptVerdict::Valid);
    assert_eq!(verdict("answers-revoked-before"), ReceiptVerdict::Invalid);
    assert_eq!(verdict("answers-good"), ReceiptVerdict::Valid);
}
