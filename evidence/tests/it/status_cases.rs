//! Business statuses in bundles, right ones and bent ones, and what stands against each.

use truc_evidence::{
    BundleCheck, Outcome, ReceiptVerdict, Standing, StatusBasis,
    StatusCheck::{self, *},
    StepRemark, ledger_origin,
};
use truc_proto::{
    Actor, AxisId, BusinessStatus, Digest, Entry, EnvelopeId, EnvelopeKind, Event, EventUri, KeyStatus, Lane, Preamble,
    Raw, Receipt, ReceiptBody, Role, StatusCode, Submission, Timestamp,
};
use truc_signer::{SoftKey, sign_detached};

use crate::{
    bundle_cases::{BundleCase, Plan, about},
    cases::{agency, node},
    world::*,
};

/// A status to build: what it says, by what it is stated, who signs.
#[derive(Clone)]
struct Said<'k> {
    status: BusinessStatus,
    /// Before it is committed to.
    bytes: fn(Vec<u8>) -> Vec<u8>,
    /// In the bundle.
    shown: fn(Vec<u8>) -> Option<Vec<u8>>,
    key: Option<&'k SoftKey>,
    signed_at: Option<Timestamp>,
    signature: fn(Vec<u8>) -> Vec<u8>,
    receipts: Vec<(&'static str, Recipe)>,
}

/// H26 says this of G22's document; stated by its node, received by G22.
fn by_h26(code: StatusCode, sequence: u64) -> Said<'static> {
    let stated = Recipe { fillers: 10 + u8::try_from(sequence).unwrap(), ..submitted_by_h26() };
    let consigned = Recipe { fillers: 20 + u8::try_from(sequence).unwrap(), ..consigned_by_g22() };
    Said {
        status: BusinessStatus {
            status: code.uri(),
            code,
            from: crate::world::code("H26"),
            to: crate::world::code("G22"),
            document: about().envelope,
            document_id: Some("H26,2026/11/20,15/KH".into()),
            reason: (code == StatusCode::Refused).then(|| "không đúng thẩm quyền".into()),
            staff: Some("Nguyễn Văn A".into()),
            sequence,
            time: after(-1_000),
        },
        bytes: |bytes| bytes,
        shown: Some,
        key: Some(&WORLD.service_h26.key),
        signed_at: Some(at()),
        signature: |cms| cms,
        receipts: vec![("submission.receipt", stated), ("consignment.receipt", consigned)],
    }
}

fn of_h26(preamble: &mut Preamble) {
    preamble.envelope = EnvelopeId::new(after(-600_000), [8; 10]);
    (preamble.sender, preamble.recipients, preamble.kind) = (code("H26"), vec![code("G22")], EnvelopeKind::Status);
}

fn stated_by_h26(submission: &mut Submission) {
    submission.actor = Actor { code: Some(code("H26")), node: node_id("N-H26"), role: Role::Sender };
    submission.directory.entry = entry_of_h26(|_| {});
}

/// The leaf hash of H26's entry, bent.
fn entry_of_h26(bend: fn(&mut Vec<Entry>)) -> Digest {
    let mut entries = WORLD.entries();
    bend(&mut entries);
    let entry = entries.iter().find(|entry| entry.key() == "agency/H26").unwrap();
    truc_ledger::merkle::leaf_hash(&bytes_of(entry))
}

fn submitted_by_h26() -> Recipe {
    Recipe {
        who: Who::Sender,
        with_opening: true,
        preamble: of_h26,
        submission: stated_by_h26,
        ledger: |ledger| *ledger = ledger_of("node/N-H26", "N-H26", 2),
        cms: |world, cms| cms.key = Some(&world.node_h26.key),
        agency_entry: Some("agency/H26"),
        ..Recipe::default()
    }
}

fn by_g22(event: &mut Event) {
    event.actor = Actor { code: Some(code("G22")), node: node_id("N-G22"), role: Role::Recipient };
    (event.sender, event.recipient) = (code("H26"), Some(code("G22")));
    event.key_envelope = Some(Digest::of(b"G22"));
}

fn consigned_by_g22() -> Recipe {
    Recipe {
        with_opening: true,
        preamble: of_h26,
        submission: stated_by_h26,
        event: by_g22,
        ledger: |ledger| *ledger = ledger_of("node/N-G22", "N-G22", 1),
        cms: |world, cms| cms.key = Some(&world.node_g22.key),
        agency_entry: Some("agency/G22"),
        ..Recipe::default()
    }
}

/// G22 took it from today's axis: nobody signed it.
fn taken_over() -> Said<'static> {
    let recipe = Recipe {
        fillers: 40,
        preamble: |preamble| {
            of_h26(preamble);
            (preamble.sender, preamble.recipients, preamble.legacy) = (code("H37"), vec![], vec![code("G22")]);
        },
        event: |event| {
            by_g22(event);
            (event.event, event.submission, event.sender) = (EventUri::ReceivedFromNonErds, None, code("H37"));
            event.key_envelope = None;
        },
        ..consigned_by_g22()
    };
    let mut said = by_h26(StatusCode::Accepted, 1);
    said.status.from = code("H37");
    Said { key: None, receipts: vec![("taken.receipt", recipe)], ..said }
}

impl Said<'_> {
    fn with(mut self, bend: impl FnOnce(&mut Self)) -> Self {
        bend(&mut self);
        self
    }

    fn recipe(self, at: usize, bend: impl FnOnce(&mut Recipe)) -> Self {
        self.with(|said| bend(&mut said.receipts[at].1))
    }

    /// Its files, below this folder.
    fn files(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let status = (self.bytes)(bytes_of(&self.status));
        let file = |name: &str| format!("statuses/{folder}/{name}");
        let built = self.receipts.iter().map(|(name, recipe)| {
            let files = vec![("status.json", status.clone())];
            let receipt = Recipe { files, ..recipe.clone() }.build(&WORLD).receipt.into_bytes();
            (file(name), receipt)
        });
        let receipts: Vec<_> = built.collect();
        let shown = (self.shown)(status).map(|status| (file("status.json"), status));
        let signature = self.key.map(|key| {
            let manifest = receipts.first().and_then(|(_, receipt)| manifest_of(receipt)).unwrap_or_default();
            (file("signature001.p7s"), (self.signature)(sign_detached(key, &manifest, self.signed_at).unwrap()))
        });
        shown.into_iter().chain(signature).chain(receipts).collect()
    }
}

fn manifest_of(receipt: &[u8]) -> Option<Vec<u8>> {
    let body = Raw::<ReceiptBody>::parse(Receipt::parse(receipt).ok()?.body).ok()?.into_value();
    Some(body.opening?.manifest)
}

fn bundle(statuses: Vec<(String, Vec<u8>)>) -> Vec<u8> {
    Plan { statuses, ..Plan::default() }.build()
}

/// Another axis under the same operator.
fn elsewhere() -> AxisId {
    "elsewhere".parse().unwrap()
}

fn there(plan: LedgerPlan) -> LedgerPlan {
    LedgerPlan { origin: plan.origin.replace("truc/dev/", "truc/elsewhere/"), ..plan }
}

/// A right bundle, but for one file of its status.
pub(crate) fn with_one_bent(which: u64, bend: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let mut files = by_h26(StatusCode::Accepted, 1).files("H26/1");
    let count = files.len() as u64;
    let (_, file) = &mut files[usize::try_from(which % count).unwrap()];
    *file = bend(std::mem::take(file));
    bundle(files)
}

/// What stands against the statuses of a case, in their order.
type Against = Vec<(StatusCheck, Outcome)>;

pub(crate) fn bundles() -> Vec<BundleCase> {
    all().into_iter().map(|(case, _)| case).collect()
}

fn all() -> Vec<(BundleCase, Against)> {
    right().into_iter().map(|case| (case, vec![])).chain(bent()).chain(misplaced()).collect()
}

fn right() -> Vec<BundleCase> {
    let done = by_h26(StatusCode::Done, 2);
    let several = [by_h26(StatusCode::Accepted, 1).files("H26/1"), done.files("H26/2"), taken_over().files("H37/3")];
    let of = |name: &str, files| BundleCase::new(name, bundle(files), &[]);
    let alone = |name: &str, said: Said<'_>| of(name, said.files("a"));
    let accepted = || by_h26(StatusCode::Accepted, 1);
    vec![
        of("with-statuses", several.concat()),
        of("with-statuses-and-revocation-lists", several.concat()).with_crls(),
        alone("a-status-that-nobody-signed", accepted().with(|said| said.key = None)),
        alone("a-status-that-has-not-arrived", accepted().with(|said| _ = said.receipts.pop())),
        alone("a-status-signed-without-time", accepted().with(|said| said.signed_at = None)),
        alone("a-status-taken-over", taken_over()),
        alone("a-status-set-long-before-it-was-stated", accepted().with(|said| said.status.time = after(-2 * HOUR_MS))),
        alone("a-status-taken-over-and-set-tomorrow", taken_over().with(|said| said.status.time = after(DAY_MS))),
        alone("a-status-for-the-other-side-to-set", done_by_g22()),
        alone("a-status-set-a-little-later", accepted().with(|said| said.status.time = after(200_000))),
        alone("a-status-that-nobody-knows", by_h26(StatusCode::Unknown09, 1)),
        alone("a-status-with-hostile-words", accepted().with(|said| said.status.reason = Some("<b>\u{202e}x".into()))),
        of(
            "a-status-in-no-folder",
            accepted().files("a").into_iter().map(|(name, file)| (name.replace("/a/", "/"), file)).collect(),
        ),
    ]
}

/// G22, whose document it is, says that it is done with it.
fn done_by_g22() -> Said<'static> {
    let mut said = by_h26(StatusCode::Done, 1);
    (said.status.from, said.status.to) = (code("G22"), code("H26"));
    let of_g22: fn(&mut Preamble) = |preamble| {
        of_h26(preamble);
        (preamble.sender, preamble.recipients) = (code("G22"), vec![code("H26")]);
    };
    let stated = Recipe { who: Who::Sender, with_opening: true, preamble: of_g22, fillers: 50, ..Recipe::default() };
    Said { key: None, receipts: vec![("submission.receipt", stated)], ..said }
}

fn case(name: &str, said: &Said<'_>, against: &[(StatusCheck, Outcome)]) -> (BundleCase, Against) {
    let failed = against.iter().any(|(_, outcome)| *outcome == Outcome::Failed);
    let outcome = if failed { Outcome::Failed } else { Outcome::Unknown };
    let bundle = bundle(said.files("H26/1"));
    (BundleCase::new(name, bundle, &[(BundleCheck::Statuses, outcome)]), against.to_vec())
}

fn bent() -> Vec<(BundleCase, Against)> {
    use Outcome::{Failed, NotReached};
    let of = |name: &str, check: StatusCheck, bend: &dyn Fn(&mut Said<'static>)| {
        case(name, &by_h26(StatusCode::Accepted, 1).with(|said| bend(said)), &[(check, Failed)])
    };
    let with = |name: &str, against: &[(StatusCheck, Outcome)], bend: &dyn Fn(&mut Said<'static>)| {
        case(name, &by_h26(StatusCode::Accepted, 1).with(|said| bend(said)), against)
    };
    let read_by_nobody = [(Form, Failed), (Parties, NotReached), (Time, NotReached), (Document, NotReached)];
    vec![
        of("a-status-altered", Content, &|said| {
            said.shown = |bytes| Some(String::from_utf8(bytes).unwrap().replace("Nguyễn Văn A", "Nguyễn Văn B").into());
        }),
        of("a-status-of-another-code", Content, &|said| {
            said.shown = |bytes| {
                let text = String::from_utf8(bytes).unwrap();
                Some(text.replace("status:03", "status:06").replace(r#""03""#, r#""06""#).into())
            };
        }),
        of("a-status-set-after-it-was-stated", Time, &|said| said.status.time = after(HOUR_MS)),
        of("a-status-of-another-axis", Document, &|said| {
            for (place, (_, recipe)) in said.receipts.iter_mut().enumerate() {
                recipe.root = |root| root.axis = elsewhere();
                recipe.entries = |_, entries| {
                    for id in ["N-H26", "N-G22"] {
                        node(entries, id).origin = ledger_origin(&elsewhere(), Lane::Ordinary, &node_id(id), 1);
                    }
                };
                recipe.preamble = |preamble| {
                    of_h26(preamble);
                    preamble.axis = elsewhere();
                };
                recipe.ledger = match place {
                    0 => |plan| *plan = there(ledger_of("node/N-H26", "N-H26", 2)),
                    _ => |plan| *plan = there(ledger_of("node/N-G22", "N-G22", 1)),
                };
            }
        }),
        of("a-status-of-another-document", Document, &|said| said.status.document = EnvelopeId::new(at(), [6; 10])),
        of("a-status-that-speaks-for-another", Parties, &|said| said.status.from = code("H37")),
        with("a-status-for-another", &[(Parties, Failed), (Document, Failed)], &|said| said.status.to = code("H37")),
        of("a-status-signed-by-another-agency", Signer, &|said| said.key = Some(&WORLD.service_g22.key)),
        case(
            "a-status-taken-over-and-signed-by-who-took-it",
            &taken_over().with(|said| said.key = Some(&WORLD.service_g22.key)),
            &[(Signer, Failed)],
        ),
        of("a-status-signed-by-its-node", Signer, &|said| said.key = Some(&WORLD.node_h26.key)),
        of("a-status-signed-by-a-stranger", Signer, &|said| said.key = Some(&WORLD.foreign_node.key)),
        of("a-status-signed-with-a-sealing-key", Signer, &|said| said.key = Some(&WORLD.sealing_h26.key)),
        of("a-status-signed-before-its-binding", Signer, &|said| said.signed_at = Some(after(-55 * DAY_MS))),
        of("a-status-signed-later", Signer, &|said| said.signed_at = Some(after(HOUR_MS))),
        of("a-status-with-another-signature", Signature, &|said| {
            said.signature = |_| sign_detached(&WORLD.service_h26.key, b"another", Some(at())).unwrap();
        })
        .and(Signer, NotReached),
        of("a-status-with-a-signature-that-is-none", Signature, &|said| said.signature = |_| b"none".to_vec())
            .and(Signer, NotReached),
        of("a-status-by-a-certificate-revoked-before", Signer, &|said| {
            for (_, recipe) in &mut said.receipts {
                recipe.entries = |_, entries| revoke(entries, -HOUR_MS);
                recipe.submission = |submission| {
                    stated_by_h26(submission);
                    submission.directory.entry = entry_of_h26(|entries| revoke(entries, -HOUR_MS));
                };
            }
        }),
        with("a-status-by-a-certificate-revoked-since", &[(Signer, Outcome::Unknown)], &|said| {
            for (_, recipe) in &mut said.receipts {
                recipe.entries = |_, entries| revoke(entries, HOUR_MS);
                recipe.submission = |submission| {
                    stated_by_h26(submission);
                    submission.directory.entry = entry_of_h26(|entries| revoke(entries, HOUR_MS));
                };
            }
        }),
        with("a-status-that-can-be-read-twice", &read_by_nobody, &|said| said.bytes = with_double_name),
        with("a-status-with-something-critical", &read_by_nobody, &|said| said.bytes = with_critical),
        with("a-status-of-no-sequence", &read_by_nobody, &|said| said.status.sequence = 0),
        with("a-status-of-two-codes", &read_by_nobody, &|said| said.status.status = StatusCode::Done.uri()),
        with("a-status-to-itself", &read_by_nobody, &|said| said.status.to = code("H26")),
        with("a-status-with-too-many-words", &read_by_nobody, &|said| said.status.reason = Some("ă".repeat(1_001))),
        with("a-refusal-without-a-reason", &read_by_nobody, &|said| {
            (said.status.status, said.status.code) = (StatusCode::Refused.uri(), StatusCode::Refused);
            said.status.reason = Some(" \u{a0}\u{3000}".into());
        }),
        with(
            "a-status-without-its-statement",
            &[(Form, Failed), (Content, NotReached), (Parties, NotReached), (Time, NotReached), (Document, NotReached)],
            &|said| said.shown = |_| None,
        ),
        of("a-status-with-a-bent-receipt", Receipts, &|said| {
            said.receipts[1].1.leaf_shown = |leaf| String::from_utf8(leaf).unwrap().replace("H26", "H37").into_bytes();
        })
        .and(Envelope, Failed),
        with("a-status-that-nobody-states", &nothing_stated(Failed), &|said| _ = said.receipts.remove(0)),
        with("a-status-without-receipts", &nothing_stated(Failed), &|said| {
            said.receipts.clear();
            said.key = Some(&WORLD.service_h26.key);
        }),
        with("a-status-stated-provisionally", &nothing_stated(Outcome::Unknown), &|said| {
            said.receipts[0].1.cms = |_, cms| cms.key = None;
        }),
        with(
            "a-status-without-opening",
            &[(Content, Outcome::Unknown), (Signature, NotReached), (Signer, NotReached)],
            &|said| said.receipts[0].1.with_opening = false,
        ),
        of("a-status-with-a-receipt-of-another-envelope", Envelope, &|said| {
            said.receipts[1].1.preamble = |preamble| {
                of_h26(preamble);
                preamble.envelope = EnvelopeId::new(preamble.created, [5; 10]);
            };
        }),
        of("a-status-in-an-envelope-of-a-document", Envelope, &|said| {
            for (_, recipe) in &mut said.receipts {
                recipe.preamble = |preamble| {
                    of_h26(preamble);
                    preamble.kind = EnvelopeKind::Document;
                };
            }
        }),
    ]
}

trait And {
    fn and(self, check: StatusCheck, outcome: Outcome) -> Self;
}

impl And for (BundleCase, Against) {
    fn and(mut self, check: StatusCheck, outcome: Outcome) -> Self {
        self.1.push((check, outcome));
        self.1.sort();
        self
    }
}

fn nothing_stated(outcome: Outcome) -> [(StatusCheck, Outcome); 7] {
    let rest = [Envelope, Content, Parties, Time, Signature, Signer].map(|check| (check, Outcome::NotReached));
    [(Receipts, outcome), rest[0], rest[1], rest[2], rest[3], rest[4], rest[5]]
}

fn revoke(entries: &mut [Entry], ms: i64) {
    let binding = &mut agency(entries, "H26").certificates[0];
    (binding.status, binding.status_since) = (KeyStatus::Revoked, Some(after(ms)));
}

/// What is right by itself, and stands where it does not belong.
fn misplaced() -> Vec<(BundleCase, Against)> {
    let one = by_h26(StatusCode::Accepted, 1).files("H26/1");
    let two = by_h26(StatusCode::Done, 2).files("H26/2");
    let torn = [&one[..2], &two, &one[2..]].concat();
    let forked = by_h26(StatusCode::Accepted, 1).recipe(0, |recipe| recipe.fillers = 5).files("H26/1");
    let long = vec![b' '; truc_proto::limits::STATUS_BYTES_MAX + 1];
    let of = |name: &str, files, check| BundleCase::new(name, bundle(files), &[(check, Outcome::Failed)]);
    let behind = [(Form, Outcome::Failed), (Content, Outcome::NotReached)].into_iter().chain([
        (Parties, Outcome::NotReached),
        (Time, Outcome::NotReached),
        (Document, Outcome::NotReached),
    ]);
    vec![
        (
            of("a-status-torn-apart", torn, BundleCheck::Statuses),
            nothing_stated(Outcome::Failed).into_iter().chain(behind).collect(),
        ),
        (of("two-histories-with-a-status", forked, BundleCheck::NoFork), vec![]),
        (
            BundleCase::new(
                "a-status-too-long",
                bundle(vec![("statuses/a/status.json".into(), long)]),
                &[(BundleCheck::Form, Outcome::Failed)],
            ),
            vec![],
        ),
    ]
}

#[test]
fn every_status_is_refused_by_exactly_the_checks_that_it_names() {
    let mut complaints = Vec::new();
    for (case, wanted) in all() {
        let report = case.report();
        let bad = |outcome: &Outcome| matches!(outcome, Outcome::Failed | Outcome::Unknown | Outcome::NotReached);
        let steps = report.statuses.iter().flat_map(|status| &status.steps);
        let found: Against = steps.filter(|step| bad(&step.outcome)).map(|step| (step.check, step.outcome)).collect();
        if found != wanted {
            complaints.push(format!("{}: {found:?}, not {wanted:?}; {:?}", case.name, report.statuses));
        }
    }
    assert_eq!(complaints, Vec::<String>::new());
    let covered: std::collections::BTreeSet<_> = all().iter().flat_map(|(_, against)| against.clone()).collect();
    let missing = StatusCheck::ALL.iter().filter(|check| !covered.contains(&(**check, Outcome::Failed)));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&StatusCheck>::new());
}

#[test]
fn what_agencies_provably_said_stands_with_the_recipient_and_changes_nothing_of_where_it_is() {
    let case = bundles().into_iter().find(|case| case.name == "with-statuses").unwrap();
    let report = case.report();
    assert_eq!(report.verdict, ReceiptVerdict::Valid, "{:?}", report.statuses);
    let h26 = &report.conclusions[0];
    assert_eq!((h26.recipient.as_str(), h26.standing), ("H26", Standing::Consigned));
    let said: Vec<_> = h26.statuses.iter().map(|status| (status.code, status.basis, status.received)).collect();
    let (signed, arrived) = (StatusBasis::Signed, Some(at()));
    assert_eq!(said, [(StatusCode::Accepted, signed, arrived), (StatusCode::Done, signed, arrived)]);
    let h37: Vec<_> = report.conclusions[1].statuses.iter().map(|status| status.basis).collect();
    assert_eq!(h37, [StatusBasis::TakenOver], "nobody signed what came from today's axis");
    assert!(report.others.iter().all(|(name, _)| !name.starts_with("statuses/")));
}

#[test]
fn what_is_strange_about_a_status_is_said() {
    let cases = bundles();
    let remarks = |name: &str| {
        let report = cases.iter().find(|case| case.name == name).unwrap().report();
        let status =
            report.conclusions[0].statuses.first().or(report.conclusions[1].statuses.first()).cloned().unwrap();
        assert_eq!(status.stated, at(), "{name}");
        status.remarks
    };
    assert_eq!(remarks("a-status-set-long-before-it-was-stated"), [StepRemark::ProvenLate]);
    assert_eq!(remarks("a-status-set-a-little-later"), []);
    assert_eq!(remarks("a-status-for-the-other-side-to-set"), [StepRemark::WrongSide]);
    assert_eq!(remarks("a-status-taken-over-and-set-tomorrow"), []);
}

#[test]
fn a_status_that_is_not_valid_says_nothing_and_one_of_two_histories_says_so() {
    for (case, _) in bent().into_iter().chain(misplaced()) {
        let report = case.report();
        let said: Vec<_> = report.conclusions.iter().flat_map(|found| &found.statuses).collect();
        // Of a ledger with two histories it is said that it is.
        let is_forked = case.name == "two-histories-with-a-status";
        let wanted = usize::from(case.name == "a-status-torn-apart" || is_forked);
        assert_eq!(said.len(), wanted, "{}: {said:?}", case.name);
        assert_eq!(said.iter().any(|one| one.remarks.contains(&StepRemark::TwoHistories)), is_forked, "{}", case.name);
    }
}
