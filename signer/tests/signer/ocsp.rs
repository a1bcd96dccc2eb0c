//! OCSP: what `openssl ocsp` answers we believe, what we answer it believes, every lie is called what it is, and answers stand beside lists.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use truc_certs_dev::{
    ExtendedKeyUsagePurpose, Issued, Issuer, KeyKind, OcspPlan, Pki, Profile, Request, Responder,
    RevocationReason as DevReason, Subject,
    ocsp::{self, Asked, Status},
};
use truc_proto::{Timestamp, limits::OCSP_BYTES_MAX};
use truc_signer::{
    Certificate, CertificateUse, Crl, OcspAnswer, OcspAnswers, OcspError, OcspNonce, OcspRequest, OcspStatus,
    RevocationReason, TrustStore, Verdict, WhyUnknown, path::OcspAsker, validate,
};

use crate::support::{Bench, Dice, NOW, PKI, certificate, issue, mutate, openssl_is_there, store};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

static LEAF: LazyLock<Issued> = LazyLock::new(|| issue(Profile::Service, KeyKind::P256));
static DELEGATE: LazyLock<Issued> = LazyLock::new(|| issue(Profile::Ocsp, KeyKind::P256));

fn sub(pki: &Pki) -> Certificate {
    Certificate::from_der(pki.sub_der()).unwrap()
}

fn request() -> OcspRequest {
    request_about(&LEAF)
}

fn request_about(issued: &Issued) -> OcspRequest {
    let nonce = OcspNonce::from_random(std::array::from_fn(|n| u8::try_from(n * 7).unwrap()));
    OcspRequest::new(certificate(issued), sub(&PKI), Some(nonce))
}

fn delegate() -> Responder {
    Responder::new(&DELEGATE).unwrap()
}

/// An answer to a request, honest but for what `edit` makes of it.
fn answer_by(responder: &Responder, request: &OcspRequest, edit: impl FnOnce(&mut OcspPlan)) -> Vec<u8> {
    let asked = Asked::read(&request.to_der()).unwrap();
    let mut plan = OcspPlan { nonce: asked.nonce, ..OcspPlan::at(*NOW, Status::Good) };
    edit(&mut plan);
    responder.answer(&asked.certificates[0], &plan).unwrap()
}

#[track_caller]
fn refused(response: &[u8], why: impl FnOnce(&OcspError) -> bool) {
    let error = request().accept(response, false, *NOW).expect_err("it is refused");
    assert!(why(&error), "{error:?}");
}

fn answers(der: &[&[u8]]) -> Arc<OcspAnswers> {
    Arc::new(OcspAnswers::of(der.iter().map(|der| OcspAnswer::from_der(der).unwrap())))
}

/// Only the root's list is there, so all that is known of what the sub-CA issued comes from answers.
fn with_answers(der: &[&[u8]]) -> TrustStore {
    let [root, _] = PKI.crls(NOW.before(DAY), *NOW + DAY).unwrap();
    store(&PKI, vec![Crl::from_der(&root).unwrap()]).with_answers(answers(der))
}

fn verdict(store: &TrustStore, at: Timestamp) -> Verdict {
    validate(store, &certificate(&LEAF), CertificateUse::Service, at).unwrap()
}

#[test]
fn the_issuer_and_whom_it_appointed_are_believed_by_name_and_by_key() {
    let own = PKI.own_responder().unwrap();
    for (responder, bare) in [(&delegate(), false), (&own, false), (&own, true)] {
        for by_key in [false, true] {
            let response = answer_by(responder, &request(), |plan| (plan.by_key, plan.bare) = (by_key, bare));
            let (answer, said) = request().accept(&response, true, *NOW).unwrap();
            assert_eq!((said.status, said.this_update, said.next_update), (OcspStatus::Good, *NOW, Some(*NOW + HOUR)));
            assert_eq!(answer.der(), response);
        }
    }
    let since = NOW.before(DAY);
    let status = Status::Revoked(since, DevReason::KeyCompromise);
    let response = answer_by(&delegate(), &request(), |plan| plan.status = status);
    let (_, said) = request().accept(&response, true, *NOW).unwrap();
    assert_eq!(said.status, OcspStatus::Revoked { at: since, reason: RevocationReason::KeyCompromise });
    let response = answer_by(&delegate(), &request(), |plan| plan.status = Status::Unknown);
    assert_eq!(request().accept(&response, true, *NOW).unwrap().1.status, OcspStatus::Unknown);
}

#[test]
fn every_lie_is_called_what_it_is() {
    use OcspError as E;
    let of = |edit: &dyn Fn(&mut OcspPlan)| answer_by(&delegate(), &request(), edit);
    refused(&of(&|plan| plan.nonce = Some(vec![7; 32])), |e| matches!(e, E::OtherNonce));
    let late = *NOW + DAY;
    refused(
        &of(&|plan| *plan = OcspPlan { nonce: plan.nonce.clone(), ..OcspPlan::at(late, Status::Good) }),
        |e| matches!(e, E::FromFuture { time, .. } if *time == late),
    );
    refused(&of(&|plan| plan.produced_at = late), |e| matches!(e, E::FromFuture { .. }));
    let old = NOW.before(DAY);
    refused(
        &of(&|plan| *plan = OcspPlan { nonce: plan.nonce.clone(), ..OcspPlan::at(old, Status::Good) }),
        |e| matches!(e, E::Stale { until, .. } if *until == old + HOUR),
    );
    refused(&of(&|plan| (plan.this_update, plan.next_update) = (old, None)), |e| matches!(e, E::Stale { .. }));

    let other = answer_by(&delegate(), &request_about(&issue(Profile::Service, KeyKind::P256)), |_| {});
    refused(&other, |e| matches!(e, E::OtherCertificate { .. }));
    let stranger = Pki::unrelated(KeyKind::P256, *NOW).unwrap();
    let theirs = Responder::new(&stranger.issue(Profile::Ocsp, Subject::new("OCSP lạ")).unwrap()).unwrap();
    refused(&answer_by(&theirs, &request(), |_| {}), |e| matches!(e, E::Responder { .. }));
    // The same names, other keys.
    let forger = Pki::new(KeyKind::P256, *NOW).unwrap();
    for forged in [
        forger.own_responder().unwrap(),
        Responder::new(&forger.issue(Profile::Ocsp, Subject::new("x")).unwrap()).unwrap(),
    ] {
        refused(&answer_by(&forged, &request(), |_| {}), |e| matches!(e, E::Responder { .. }));
    }
    refused(&of(&|plan| plan.bare = true), |e| matches!(e, E::Responder { .. }));

    for (status, name) in [(1, "malformedRequest"), (3, "tryLater"), (6, "unauthorized")] {
        refused(&ocsp::refusal(status), |e| matches!(e, E::Refused { status } if *status == name));
    }
    refused(&ocsp::refusal(9), |e| matches!(e, E::Malformed { .. }));
    refused(b"<html>busy</html>", |e| matches!(e, E::Malformed { .. }));
    refused(b"", |e| matches!(e, E::Malformed { .. }));
    refused(&vec![0x30; OCSP_BYTES_MAX + 1], |e| matches!(e, E::TooLarge { .. }));
}

#[test]
fn a_certificate_that_is_not_for_answering_or_not_the_issuers_own_answers_nothing() {
    let subject = || Subject::new("OCSP");
    let with = |edit: &dyn Fn(&mut Request)| {
        let mut request = Request::new(Profile::Ocsp, KeyKind::P256, subject());
        edit(&mut request);
        Responder::new(&PKI.issue_with(request).unwrap()).unwrap()
    };
    let misused = [
        with(&|request| request.extended_key_usages = Some(vec![ExtendedKeyUsagePurpose::EmailProtection])),
        with(&|request| request.extended_key_usages = Some(vec![])),
        with(&|request| request.key_usages = Some(vec![])),
        // Appointed by the root, which did not issue the certificate asked about.
        with(&|request| request.issuer = Issuer::Root),
        with(&|request| request.not_after = Some(NOW.before(HOUR))),
        with(&|request| request.not_before = Some(*NOW + HOUR)),
        Responder::new(&LEAF).unwrap(),
    ];
    for responder in misused {
        refused(&answer_by(&responder, &request(), |_| {}), |e| matches!(e, OcspError::Responder { .. }));
    }
}

#[test]
fn a_responder_may_leave_the_nonce_out_unless_it_is_required() {
    let response = answer_by(&delegate(), &request(), |plan| plan.nonce = None);
    assert!(request().accept(&response, false, *NOW).is_ok());
    assert!(matches!(request().accept(&response, true, *NOW), Err(OcspError::NoNonce)));
    // An hour and the five minutes that clocks may differ later.
    let skew = Duration::from_secs(300);
    assert!(request().accept(&response, false, *NOW + HOUR + skew).is_ok());
    let late = *NOW + HOUR + skew + Duration::from_secs(1);
    assert!(matches!(request().accept(&response, false, late), Err(OcspError::Stale { .. })));
}

#[test]
fn answers_and_lists_stand_beside_each_other() {
    let since = NOW.before(DAY);
    let good = answer_by(&delegate(), &request(), |_| {});
    assert_eq!(verdict(&with_answers(&[&good]), *NOW), Verdict::Good);
    assert!(matches!(
        verdict(&with_answers(&[&good]), *NOW + HOUR * 2),
        Verdict::Unknown(WhyUnknown::NoAnswer { why, .. }) if why.contains("counted until")
    ));
    let unknown = answer_by(&delegate(), &request(), |plan| plan.status = Status::Unknown);
    let said = verdict(&with_answers(&[&unknown]), *NOW);
    assert!(matches!(&said, Verdict::Unknown(WhyUnknown::NoAnswer { why, .. }) if why.contains("does not know")));

    let revoked = |reason| {
        let status = Status::Revoked(since, reason);
        answer_by(&delegate(), &request(), |plan| plan.status = status)
    };
    let is_revoked = |verdict: Verdict| matches!(verdict, Verdict::Revoked { at, .. } if at == since);
    let compromised = revoked(DevReason::KeyCompromise);
    // Whatever else is said, in any order, and when the answer itself is old.
    for order in [[&good, &compromised], [&compromised, &good]] {
        let store = with_answers(&order.map(Vec::as_slice));
        assert!(is_revoked(verdict(&store, *NOW)));
        assert!(is_revoked(verdict(&store, *NOW + HOUR * 2)));
    }
    let lists = PKI.crls(NOW.before(DAY), *NOW + DAY).unwrap().map(|list| Crl::from_der(&list).unwrap());
    let with_lists = store(&PKI, lists.into()).with_answers(answers(&[&compromised]));
    assert!(is_revoked(verdict(&with_lists, *NOW)), "a list that came earlier does not clear it");
    let held = revoked(DevReason::CertificateHold);
    assert!(is_revoked(verdict(&with_answers(&[&held]), *NOW)));
    let store = with_answers(&[&held]);
    for (at, suspended) in [(*NOW + HOUR * 2, false), (*NOW, true), (*NOW + HOUR * 2, false)] {
        assert_eq!(
            is_revoked(verdict(&store, at)),
            suspended,
            "a suspension may have been lifted; whatever was asked before"
        );
    }
}

#[test]
fn an_earlier_revocation_counts_whoever_names_it_and_answers_from_the_future_do_not() {
    let mut pki = Pki::new(KeyKind::P256, *NOW).unwrap();
    let leaf = pki.issue(Profile::Service, Subject::new("x")).unwrap();
    pki.revoke(&leaf, NOW.before(HOUR), DevReason::KeyCompromise);
    let lists = pki.crls(NOW.before(DAY), *NOW + DAY).unwrap().map(|list| Crl::from_der(&list).unwrap());
    let asked = Asked::read(&OcspRequest::new(certificate(&leaf), sub(&pki), None).to_der()).unwrap();
    let plan = OcspPlan::at(*NOW, Status::Revoked(NOW.before(DAY), DevReason::KeyCompromise));
    let response = pki.own_responder().unwrap().answer(&asked.certificates[0], &plan).unwrap();
    let store = store(&pki, lists.into());
    let since = |now: Timestamp| {
        let store = store.instead_with(Arc::new(answers(&[&response]).as_of(now)));
        match validate(&store, &certificate(&leaf), CertificateUse::Service, *NOW).unwrap() {
            Verdict::Revoked { at, .. } => at,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(since(*NOW), NOW.before(DAY));
    assert_eq!(since(NOW.before(HOUR)), NOW.before(HOUR), "the list alone");
}

#[test]
fn an_answer_of_another_issuer_or_about_another_certificate_changes_no_verdict() {
    let forger = Pki::new(KeyKind::P256, *NOW).unwrap();
    let forged = answer_by(&forger.own_responder().unwrap(), &request(), |_| {});
    let other = answer_by(&delegate(), &request_about(&issue(Profile::Service, KeyKind::P256)), |_| {});
    for answer in [forged, other] {
        assert!(matches!(verdict(&with_answers(&[&answer]), *NOW), Verdict::Unknown(_)));
    }
}

#[test]
fn an_appointed_responder_that_is_revoked_clears_nobody_and_one_that_must_be_looked_up_needs_a_list() {
    let mut pki = Pki::new(KeyKind::P256, *NOW).unwrap();
    let leaf = pki.issue(Profile::Service, Subject::new("x")).unwrap();
    let asked = Asked::read(&OcspRequest::new(certificate(&leaf), sub(&pki), None).to_der()).unwrap();
    let ask = |pki: &Pki, issued: &Issued, lists: &[&[u8]]| {
        let plan = OcspPlan::at(*NOW, Status::Good);
        let response = Responder::new(issued).unwrap().answer(&asked.certificates[0], &plan).unwrap();
        let lists = lists.iter().map(|list| Crl::from_der(list).unwrap()).collect();
        let store = store(pki, lists).with_answers(answers(&[&response]));
        validate(&store, &certificate(&leaf), CertificateUse::Service, *NOW).unwrap()
    };
    let no_check = pki.issue(Profile::Ocsp, Subject::new("a")).unwrap();
    let request = Request {
        extended_key_usages: Some(vec![ExtendedKeyUsagePurpose::OcspSigning]),
        ..Request::new(Profile::Service, KeyKind::P256, Subject::new("b"))
    };
    let to_check = pki.issue_with(request).unwrap();
    let [root, stale] = pki.crls(NOW.before(DAY), NOW.before(HOUR)).unwrap();
    let [root_now, current] = pki.crls(NOW.before(DAY), *NOW + DAY).unwrap();
    assert!(matches!(ask(&pki, &no_check, &[&root]), Verdict::Unknown(_)), "the root's own list is stale");
    assert_eq!(ask(&pki, &no_check, &[&root_now]), Verdict::Good);
    assert!(matches!(ask(&pki, &to_check, &[&root_now]), Verdict::Unknown(_)));
    assert!(matches!(ask(&pki, &to_check, &[&root_now, &stale]), Verdict::Unknown(_)));
    assert_eq!(ask(&pki, &to_check, &[&root_now, &current]), Verdict::Good);

    pki.revoke(&no_check, NOW.before(HOUR * 2), DevReason::KeyCompromise);
    let [_, stale] = pki.crls(NOW.before(HOUR), NOW.before(Duration::from_secs(1))).unwrap();
    let told = ask(&pki, &no_check, &[&root_now, &stale]);
    assert!(matches!(told, Verdict::Unknown(WhyUnknown::StaleCrl { .. })), "{told:?}");
}

/// Counts how often it was told of wishes.
struct Counting(Arc<AtomicUsize>);

impl OcspAsker for Counting {
    fn wished(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn wait(&self, settled: &dyn Fn() -> bool) {
        assert!(!settled(), "who waits waits for something");
    }
}

#[test]
fn what_nobody_knows_is_wished_for_once_it_is_learnt_the_verdict_changes_and_a_failure_is_said() {
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let known = Arc::new(OcspAnswers::asking(Counting(count)));
    let [root, _] = PKI.crls(NOW.before(DAY), *NOW + DAY).unwrap();
    let store = store(&PKI, vec![Crl::from_der(&root).unwrap()]).with_answers(Arc::clone(&known));
    assert!(matches!(verdict(&store, *NOW), Verdict::Unknown(WhyUnknown::MissingCrl { .. })));
    assert!(known.settle(&certificate(&LEAF)), "it is being asked about");
    let wishes = known.take_wishes();
    let wish = wishes.iter().find(|wish| wish.certificate == certificate(&LEAF)).unwrap();
    assert_eq!((&wish.issuer, told.load(Ordering::SeqCst) >= 1), (&sub(&PKI), true));
    assert!(known.take_wishes().is_empty(), "a remembered verdict wishes for nothing again");

    known.failed(&certificate(&LEAF), "no answer within 2000 ms".to_owned());
    let said = verdict(&store, *NOW);
    assert!(matches!(&said, Verdict::Unknown(WhyUnknown::NoAnswer { why, .. }) if why.contains("2000 ms")), "{said:?}");
    let good = answer_by(&delegate(), &request(), |_| {});
    known.learn(OcspAnswer::from_der(&good).unwrap());
    assert_eq!(verdict(&store, *NOW), Verdict::Good);
    assert!(known.newest(&certificate(&LEAF), &sub(&PKI)).is_some());
}

#[test]
fn what_a_certificate_says_of_responders_and_lists_is_read() {
    let address = |host: &str| Some(format!("http://{host}.example/"));
    let request = Request {
        ocsp_address: address("ocsp"),
        crl_address: address("crl"),
        ..Request::new(Profile::Service, KeyKind::P256, Subject::new("x"))
    };
    let certificate = certificate(&PKI.issue_with(request).unwrap());
    assert_eq!(certificate.ocsp_addresses(), ["http://ocsp.example/"]);
    assert_eq!(certificate.crl_addresses(), ["http://crl.example/"]);
    let root = Certificate::from_der(PKI.root_der()).unwrap();
    assert_eq!((root.ocsp_addresses(), root.crl_addresses()), (vec![], vec![]));
}

#[test]
fn an_answer_bent_anywhere_is_not_believed_and_never_panics() {
    let response = answer_by(&delegate(), &request(), |_| {});
    let unbent = OcspAnswer::from_der(&response).unwrap();
    for bit in 0..response.len() * 8 {
        let mut bent = response.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        if let Ok((answer, said)) = request().accept(&bent, true, *NOW) {
            // Certificates that came along beside the responder's are signed by nobody; nothing else may change.
            assert_eq!((said.status, answer.produced_at()), (OcspStatus::Good, unbent.produced_at()), "bit {bit}");
        }
    }
    let mut dice = Dice(6);
    for _ in 0..20_000 {
        let _ = OcspAnswer::from_der(&mutate(&response, &mut dice));
    }
}

#[test]
fn openssl_answers_what_we_ask_and_reads_what_we_answer() {
    if !openssl_is_there() {
        return;
    }
    let mut pki = Pki::new(KeyKind::P256, *NOW).unwrap();
    let [good, revoked] = [0, 1].map(|_| pki.issue(Profile::Service, Subject::new("x")).unwrap());
    pki.revoke(&revoked, NOW.before(DAY), DevReason::KeyCompromise);
    let responder = pki.issue(Profile::Ocsp, Subject::new("OCSP")).unwrap();
    let bench = Bench::new();
    bench.put("root.pem", &pki.anchors_pem);
    bench.put("sub.pem", &pki.intermediates_pem);
    bench.put("chain.pem", format!("{}{}", pki.anchors_pem, pki.intermediates_pem));
    bench.put("ocsp.pem", responder.leaf_pem());
    bench.put("ocsp.key", &responder.key_pem);
    let serial = |issued: &Issued| certificate(issued).serial_text().to_uppercase();
    bench.put(
        "index.txt",
        format!(
            "V\t361231235959Z\t\t{}\tunknown\t/CN=a\nR\t361231235959Z\t250101000000Z,keyCompromise\t{}\tunknown\t/CN=b\n",
            serial(&good),
            serial(&revoked)
        ),
    );
    let now = truc_certs_dev::now();
    for (issued, expected) in [(&good, "good"), (&revoked, "revoked")] {
        let nonce = OcspNonce::from_random([9; 32]);
        let request = OcspRequest::new(certificate(issued), sub(&pki), Some(nonce));
        bench.put("request.der", request.to_der());
        bench.openssl_succeeds(
            "ocsp -index index.txt -CA sub.pem -rsigner ocsp.pem -rkey ocsp.key -reqin request.der -respout answer.der -nmin 60 -rmd sha256",
        );
        let (_, said) = request.accept(&bench.read("answer.der"), true, now).unwrap();
        match said.status {
            OcspStatus::Good => assert_eq!(expected, "good"),
            OcspStatus::Revoked { reason, .. } => {
                assert_eq!((expected, reason), ("revoked", RevocationReason::KeyCompromise));
            }
            OcspStatus::Unknown => panic!("openssl does not know it"),
        }
        // And the other way, under SHA-256 as well as SHA-1.
        bench.put("leaf.pem", issued.leaf_pem());
        for hash in ["-sha1", "-sha256"] {
            bench.openssl_succeeds(&format!("ocsp {hash} -issuer sub.pem -cert leaf.pem -reqout theirs.der"));
            let status = |serial: &[u8]| match *serial == *certificate(&revoked).serial() {
                true => Status::Revoked(NOW.before(DAY), DevReason::KeyCompromise),
                false => Status::Good,
            };
            let ours = Responder::new(&responder).unwrap().reply(&bench.read("theirs.der"), now, status).unwrap();
            bench.put("ours.der", &ours);
            let arguments = format!(
                "ocsp {hash} -no_nonce -issuer sub.pem -cert leaf.pem -reqin theirs.der -respin ours.der -CAfile chain.pem -out said.txt"
            );
            let (success, said) = bench.openssl(&arguments);
            assert!(success && said.contains("Response verify OK"), "{said}");
            let said = String::from_utf8(bench.read("said.txt")).unwrap();
            assert!(said.contains(&format!("leaf.pem: {expected}")), "{said}");
            let unnumbered = OcspRequest::new(certificate(issued), sub(&pki), None);
            assert!(unnumbered.accept(&ours, false, now).is_ok(), "under {hash} it is the same certificate");
        }
    }
}
