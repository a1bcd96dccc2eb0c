//! Time-stamps: what `openssl ts` makes we believe, what we make it believes, and every lie is called what it is.

use std::{sync::LazyLock, time::Duration};

use truc_certs_dev::{
    ExtendedKeyUsagePurpose, Issued, KeyKind, Pki, Profile, Request, RevocationReason, Subject, TokenPlan, Tsa, tsa,
};
use truc_proto::{Digest, Timestamp};
use truc_signer::{
    Crl, TimeStamp, TimeStampError, TimeStampNonce, TimeStampPolicy, TimeStampRequest, TrustStore, Worth,
    cms::{embed_time_stamp, sign_detached, verify_detached},
    timestamp::{WhyNothing, verify_token},
};

use crate::support::{Bench, Dice, KINDS, NOW, PKI, certificate, issue, mutate, openssl_is_there, soft, store};

const CONTENT: &[u8] = b"truc/dev/ordinary/N-H26/1\n7\n";
const DAY: Duration = Duration::from_secs(86_400);

static SIGNED: LazyLock<Vec<u8>> =
    LazyLock::new(|| sign_detached(&soft(&issue(Profile::Node, KeyKind::P256)), CONTENT, Some(*NOW)).unwrap());

fn signature() -> Vec<u8> {
    verify_detached(&SIGNED, CONTENT, &[]).unwrap().signature
}

fn imprint() -> Digest {
    Digest::of(&signature())
}

fn tsa() -> Tsa {
    Tsa::new(issue(Profile::TimeStamping, KeyKind::P256)).unwrap()
}

fn tsa_with(purposes: Vec<ExtendedKeyUsagePurpose>) -> Tsa {
    let subject = Subject::new("TSA").organization("Trục DEV");
    let request =
        Request { extended_key_usages: Some(purposes), ..Request::new(Profile::TimeStamping, KeyKind::P256, subject) };
    Tsa::new(PKI.issue_with(request).unwrap()).unwrap()
}

fn request(policy: Option<&str>) -> TimeStampRequest {
    let nonce = TimeStampNonce::from_random(std::array::from_fn(|n| u8::try_from(n * 17).unwrap()));
    TimeStampRequest::of_signature(&signature(), nonce, policy.map(|policy| policy.parse().unwrap()))
}

fn trust() -> TrustStore {
    store(&PKI, vec![])
}

/// The answer of an authority that says what the plan, made from the honest one, says.
fn answer(tsa: &Tsa, request: &TimeStampRequest, lie: impl FnOnce(&mut TokenPlan)) -> Vec<u8> {
    let asked = tsa::Asked::read(&request.to_der()).unwrap();
    let mut plan = TokenPlan { nonce: asked.nonce.clone(), ..TokenPlan::at(*NOW) };
    lie(&mut plan);
    tsa::granted(&tsa.token(&asked.imprint, &plan).unwrap())
}

#[track_caller]
fn refused(response: &[u8], why: impl FnOnce(&TimeStampError) -> bool) {
    let error = request(None).accept(response, &trust(), *NOW).unwrap_err();
    assert!(why(&error), "{error:?}");
}

#[test]
fn an_honest_answer_is_accepted_and_becomes_part_of_the_signature() {
    for kind in KINDS {
        for old_identifier in [false, true] {
            let tsa = Tsa::new(issue(Profile::TimeStamping, kind)).unwrap();
            let response = answer(&tsa, &request(None), |plan| plan.old_identifier = old_identifier);
            let (token, stamp) = request(None).accept(&response, &trust(), *NOW).unwrap();
            assert_eq!((stamp.time, stamp.latest()), (*NOW, *NOW + Duration::from_secs(1)));
            let stamped = embed_time_stamp(&SIGNED, &token).unwrap();
            let read = verify_detached(&stamped, CONTENT, &[]).unwrap();
            let before = verify_detached(&SIGNED, CONTENT, &[]).unwrap();
            assert_eq!(
                (&read.signature, &read.certificate, read.signing_time),
                (&before.signature, &before.certificate, before.signing_time)
            );
            assert_eq!(read.time_stamp_tokens, std::slice::from_ref(&token));
            let twice = verify_detached(&embed_time_stamp(&stamped, &token).unwrap(), CONTENT, &[]).unwrap();
            assert_eq!(twice.time_stamp_tokens, [token.clone(), token]);
        }
    }
}

#[test]
fn every_lie_is_called_what_it_is() {
    use TimeStampError as E;
    let tsa = tsa();
    let of = |lie: fn(&mut TokenPlan)| answer(&tsa, &request(None), lie);
    refused(&of(|plan| plan.nonce = Some(vec![0x42; 16])), |e| matches!(e, E::OtherNonce));
    refused(&of(|plan| plan.nonce = None), |e| matches!(e, E::OtherNonce));
    refused(&of(|plan| plan.time = *NOW + DAY), |e| matches!(e, E::Clock { .. }));
    refused(&of(|plan| plan.time = NOW.before(DAY / 2)), |e| matches!(e, E::Clock { .. }));
    refused(&of(|plan| plan.accuracy_s = Some(61)), |e| matches!(e, E::Vague { .. }));
    let other = TokenPlan { nonce: tsa::Asked::read(&request(None).to_der()).unwrap().nonce, ..TokenPlan::at(*NOW) };
    let other = tsa.token(&Digest::of(b"another signature"), &other).unwrap();
    refused(&tsa::granted(&other), |e| matches!(e, E::OtherImprint));
    refused(
        &tsa::refusal(15),
        |e| matches!(e, E::Refused { status: 2, said: Some(said) } if said == "unacceptedPolicy"),
    );
    refused(b"<html>busy</html>", |e| matches!(e, E::Malformed { .. }));
    refused(b"", |e| matches!(e, E::Malformed { .. }));
    refused(&vec![0x30; 64 * 1024 + 1], |e| matches!(e, E::TooLarge { .. }));
    let policy = request(Some("1.3.6.1.4.1.32473.7")).accept(&of(|_| {}), &trust(), *NOW).unwrap_err();
    assert!(
        matches!(&policy, E::OtherPolicy { wanted, found } if wanted == "1.3.6.1.4.1.32473.7" && found == "1.3.6.1.4.1.32473.1"),
        "{policy}"
    );
    assert!(request(Some("1.3.6.1.4.1.32473.1")).accept(&of(|_| {}), &trust(), *NOW).is_ok());
    assert!("1.3.6.1.4.1.32473.".parse::<TimeStampPolicy>().is_err());
}

#[test]
fn only_a_certificate_for_time_stamps_alone_and_critically_so_makes_them() {
    use ExtendedKeyUsagePurpose as P;
    let misused = [
        tsa_with(vec![P::TimeStamping]), // right, and not critical
        tsa_with(vec![P::TimeStamping, P::EmailProtection]),
        tsa_with(vec![P::EmailProtection]),
        tsa_with(vec![]),
        Tsa::new(issue(Profile::Service, KeyKind::P256)).unwrap(),
    ];
    for tsa in misused {
        let response = answer(&tsa, &request(None), |_| {});
        refused(&response, |error| matches!(error, TimeStampError::Certificate(_)));
    }
}

#[test]
fn a_signature_bent_anywhere_is_not_believed() {
    let response = answer(&tsa(), &request(None), |_| {});
    let trust = trust();
    let mut dice = Dice(7);
    for _ in 0..2_000 {
        let bent = mutate(&response, &mut dice);
        if bent != response
            && let Ok((_, stamp)) = request(None).accept(&bent, &trust, *NOW)
        {
            // What is left may differ in what nobody signs: certificates beside the authority's own, the answer's status.
            assert_eq!((stamp.time, stamp.nonce), (*NOW, tsa::Asked::read(&request(None).to_der()).unwrap().nonce));
        }
    }
}

/// What a token of then is worth now.
fn worth(
    issued: Issued,
    time: Timestamp,
    crls: Vec<Crl>,
    made: Timestamp,
    now: Timestamp,
) -> Result<Worth, TimeStampError> {
    let token = Tsa::new(issued).unwrap().token(&imprint(), &TokenPlan::at(time)).unwrap();
    stamp_of(&token).worth(&store(&PKI, crls), made, now)
}

fn stamp_of(token: &[u8]) -> TimeStamp {
    verify_token(token, &signature()).unwrap()
}

#[test]
fn what_became_of_the_authority_since_decides_what_its_stamps_are_worth() {
    use TimeStampError as E;
    let now = *NOW;
    let honest = || issue(Profile::TimeStamping, KeyKind::P256);
    assert_eq!(worth(honest(), now, vec![], now, now), Ok(Worth::Proves));
    assert_eq!(worth(honest(), now, vec![], now, now + DAY * 365), Ok(Worth::Proves));
    let expired = worth(honest(), now, vec![], now, now + DAY * 365 * 6);
    assert!(matches!(expired, Ok(Worth::Nothing(WhyNothing::Expired { .. }))), "{expired:?}");
    assert!(matches!(worth(honest(), now + DAY, vec![], now, now), Err(E::Clock { .. })));
    assert!(matches!(worth(honest(), now, vec![], now + DAY, now + DAY), Err(E::BeforeSigning { .. })));
    let old = now.before(DAY * 3);
    assert!(matches!(worth(honest(), old, vec![], old, now), Err(E::NotValidThen { .. })));

    let mut pki = Pki::new(KeyKind::P256, now.before(DAY * 10)).unwrap();
    let issued = pki.issue(Profile::TimeStamping, Subject::new("TSA")).unwrap();
    let stamp = |time| {
        let token = Tsa::new(issued.clone()).unwrap().token(&imprint(), &TokenPlan::at(time)).unwrap();
        stamp_of(&token)
    };
    let untrusted = stamp(now).worth(&trust(), now, now);
    assert!(matches!(untrusted, Ok(Worth::Nothing(WhyNothing::Untrusted(_)))), "{untrusted:?}");
    pki.revoke(&issued, now.before(DAY), RevocationReason::KeyCompromise);
    let lists = pki.crls(now, now + DAY).unwrap().map(|list| Crl::from_der(&list).unwrap());
    let revoked = store(&pki, lists.into());
    let before = now.before(DAY * 2);
    assert!(matches!(stamp(now).worth(&revoked, now, now), Err(E::Revoked { .. })));
    let since = stamp(before).worth(&revoked, before, now);
    assert!(matches!(since, Ok(Worth::Nothing(WhyNothing::RevokedSince { .. }))), "{since:?}");
}

/// An authority played by `openssl ts`: its answer to the request, made with this hash.
fn openssl_answers(issued: &Issued, request: &TimeStampRequest, settings: &str) -> (Bench, Vec<u8>) {
    let bench = Bench::new();
    bench.put("anchors.pem", &PKI.anchors_pem);
    bench.put("sub.pem", &PKI.intermediates_pem);
    bench.put("tsa.pem", issued.leaf_pem());
    bench.put("tsa.key", &issued.key_pem);
    bench.put("serial", "01\n");
    bench.put(
        "ts.cnf",
        format!(
            "[tsa]\ndefault_tsa = t\n[t]\nserial = serial\nsigner_cert = tsa.pem\ncerts = sub.pem\nsigner_key = tsa.key\n\
             default_policy = 1.3.6.1.4.1.32473.1\nother_policies = 1.3.6.1.4.1.32473.7\ndigests = sha256, sha384, sha512\naccuracy = secs:1, millisecs:500\n\
             ordering = yes\ntsa_name = yes\ness_cert_id_chain = yes\n{settings}\n"
        ),
    );
    bench.put("query", request.to_der());
    bench.openssl_succeeds("ts -reply -config ts.cnf -queryfile query -out reply");
    let reply = bench.read("reply");
    (bench, reply)
}

#[test]
fn what_openssl_ts_stamps_is_believed_and_foreign_tools_read_the_stamped_signature() {
    if !openssl_is_there() {
        return;
    }
    let node = issue(Profile::Node, KeyKind::P256);
    let cases = [
        (KeyKind::P256, "signer_digest = sha256\ness_cert_id_alg = sha256"),
        (KeyKind::Rsa2048, "signer_digest = sha512\ness_cert_id_alg = sha256"),
        (KeyKind::Rsa2048, "signer_digest = sha384\ness_cert_id_alg = sha1"),
        (KeyKind::Rsa3072, "signer_digest = sha512\ness_cert_id_alg = sha512"),
    ];
    for (kind, settings) in cases {
        let signed = sign_detached(&soft(&node), CONTENT, Some(*NOW)).unwrap();
        let signature = verify_detached(&signed, CONTENT, &[]).unwrap().signature;
        let nonce = TimeStampNonce::from_random([9; 16]);
        let request = TimeStampRequest::of_signature(&signature, nonce, Some("1.3.6.1.4.1.32473.7".parse().unwrap()));
        let issued = issue(Profile::TimeStamping, kind);
        let (bench, reply) = openssl_answers(&issued, &request, settings);
        let now = Timestamp::from_unix_s(truc_certs_dev::now().unix_s());
        let (token, stamp) =
            request.accept(&reply, &trust(), now).unwrap_or_else(|error| panic!("{settings}: {error:?}"));
        assert_eq!(stamp.certificate, certificate(&issued));
        assert_eq!((stamp.accuracy, stamp.policy.as_str()), (Duration::from_millis(1_500), "1.3.6.1.4.1.32473.7"));
        bench.put("token", &token);
        bench.put("signature", &signature);
        bench.openssl_succeeds("ts -verify -data signature -in token -token_in -CAfile anchors.pem -untrusted sub.pem");
        bench.put("content", CONTENT);
        bench.put("stamped", embed_time_stamp(&signed, &token).unwrap());
        bench.openssl_succeeds(
            "cms -verify -binary -cades -inform DER -in stamped -CAfile anchors.pem -content content -out out",
        );
        assert_eq!(bench.read("out"), CONTENT);
    }
}

#[test]
fn openssl_ts_believes_the_development_authority() {
    if !openssl_is_there() {
        return;
    }
    for kind in KINDS {
        for old_identifier in [false, true] {
            let bench = Bench::new();
            bench.put("anchors.pem", &PKI.anchors_pem);
            bench.put("sub.pem", &PKI.intermediates_pem);
            bench.put("signature", signature());
            bench.put("query", request(None).to_der());
            let tsa = Tsa::new(issue(Profile::TimeStamping, kind)).unwrap();
            bench.put("reply", answer(&tsa, &request(None), |plan| plan.old_identifier = old_identifier));
            bench.openssl_succeeds("ts -verify -queryfile query -in reply -CAfile anchors.pem -untrusted sub.pem");
            bench.openssl_succeeds("ts -verify -data signature -in reply -CAfile anchors.pem -untrusted sub.pem");
        }
    }
}
