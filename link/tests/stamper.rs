//! Time-stamping authorities over real sockets: honest, away, slow, and lying in every way; several with fall-back.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    process::Command,
    sync::{Arc, LazyLock},
    time::Duration,
};

use truc_certs_dev::{
    ExtendedKeyUsagePurpose, HeldPort, KeyKind, Pki, Profile, Request, Subject, TokenPlan, Tsa, now,
    tsa::{Answer, Asked, TsaServer, granted, refusal},
    wait::{PATIENCE, in_time, until_async},
};
use truc_link::{
    StampError, StampServer, Stamped, Stamper,
    stamper::{ServerError, StampTimes},
};
use truc_proto::Digest;
use truc_signer::{Certificate, TimeStampError, TrustStore};

const SIGNATURE: &[u8] = b"a signature value";
const POLICY: &str = "1.3.6.1.4.1.32473.1";

static PKI: LazyLock<Pki> = LazyLock::new(|| Pki::new(KeyKind::P256, now()).unwrap());

fn trust() -> TrustStore {
    let read = |pem: &str| Certificate::from_pem(pem.as_bytes()).unwrap();
    TrustStore::new(read(&PKI.anchors_pem), read(&PKI.intermediates_pem), vec![]).unwrap()
}

fn tsa(edit: impl FnOnce(&mut Request)) -> Tsa {
    let mut request = Request::new(Profile::TimeStamping, KeyKind::P256, Subject::new("TSA").organization("Trục DEV"));
    edit(&mut request);
    Tsa::new(PKI.issue_with(request).unwrap()).unwrap()
}

/// An authority that answers what `plan` makes of the honest answer.
fn serving(tsa: Tsa, plan: impl Fn(&mut TokenPlan) + Send + Sync + 'static) -> TsaServer {
    let answer = move |request: &[u8]| {
        let asked = Asked::read(request).unwrap();
        let mut token = TokenPlan { nonce: asked.nonce, ..TokenPlan::at(now()) };
        plan(&mut token);
        Answer::Reply(granted(&tsa.token(&asked.imprint, &token).unwrap()))
    };
    TsaServer::start(answer).unwrap()
}

fn honest() -> TsaServer {
    serving(tsa(|_| {}), |_| {})
}

/// No answer comes too late, however busy the machine is, but of those that never answer; and who failed is not asked again before the test is over.
const PATIENT: StampTimes = StampTimes { whole: PATIENCE, one: Duration::from_secs(2), pause: (PATIENCE, PATIENCE) };

fn stamper(urls: &[String], times: StampTimes) -> Stamper {
    let servers = urls.iter().map(|url| url.parse::<StampServer>().unwrap());
    Stamper::with_times(servers, &[], "truc-test", times).unwrap()
}

async fn stamp(urls: &[String]) -> Result<Stamped, StampError> {
    stamper(urls, PATIENT).stamp(SIGNATURE, &trust()).await
}

/// Waits until it has read the one request that was sent to it: it may be slower than who gives it up.
async fn until_asked(server: &TsaServer) {
    until_async("a request", || std::future::ready((server.asked() == 1).then_some(()))).await;
}

/// What one authority alone did.
async fn fault(server: &TsaServer) -> ServerError {
    match stamp(&[server.url()]).await {
        Err(StampError::NoneGave(mut failed)) => failed.pop().unwrap().1,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn is_refused(error: &ServerError, why: impl FnOnce(&TimeStampError) -> bool) {
    assert!(matches!(error, ServerError::Answer(error) if why(error)), "{error:?}");
}

#[tokio::test]
async fn an_honest_authority_stamps_in_time_and_under_the_policy_asked_for() {
    let server = honest();
    let stamped = stamp(&[format!("{}={POLICY}", server.url())]).await.unwrap();
    assert_eq!((stamped.stamp.policy.as_str(), server.asked()), (POLICY, 1));
    assert!(truc_signer::timestamp::verify_token(&stamped.token, SIGNATURE).is_ok());
}

#[tokio::test]
async fn every_lie_over_the_wire_is_called_what_it_is() {
    use TimeStampError as E;
    const DAY: Duration = Duration::from_secs(86_400);
    is_refused(&fault(&serving(tsa(|_| {}), |plan| plan.nonce = Some(vec![0x41; 16]))).await, |e| {
        matches!(e, E::OtherNonce)
    });
    is_refused(&fault(&serving(tsa(|_| {}), |plan| plan.time = plan.time + DAY)).await, |e| {
        matches!(e, E::Clock { .. })
    });
    is_refused(&fault(&serving(tsa(|_| {}), |plan| plan.time = plan.time.before(DAY / 2))).await, |e| {
        matches!(e, E::Clock { .. })
    });
    is_refused(&fault(&serving(tsa(|_| {}), |plan| plan.accuracy_s = Some(90))).await, |e| {
        matches!(e, E::Vague { .. })
    });
    let both = vec![ExtendedKeyUsagePurpose::TimeStamping, ExtendedKeyUsagePurpose::EmailProtection];
    for purposes in [vec![ExtendedKeyUsagePurpose::TimeStamping], both] {
        let misused = tsa(|request| request.extended_key_usages = Some(purposes));
        is_refused(&fault(&serving(misused, |_| {})).await, |e| matches!(e, E::Certificate(_)));
    }
    let stranger = Pki::unrelated(KeyKind::P256, now()).unwrap();
    let stranger = Tsa::new(stranger.issue(Profile::TimeStamping, Subject::new("TSA lạ")).unwrap()).unwrap();
    is_refused(&fault(&serving(stranger, |_| {})).await, |e| matches!(e, E::Nothing(_)));

    let other = tsa(|_| {});
    let of_another = TsaServer::start(move |request| {
        let plan = TokenPlan { nonce: Asked::read(request).unwrap().nonce, ..TokenPlan::at(now()) };
        Answer::Reply(granted(&other.token(&Digest::of(b"another signature"), &plan).unwrap()))
    });
    is_refused(&fault(&of_another.unwrap()).await, |e| matches!(e, E::OtherImprint));
    let answering = |bytes: Vec<u8>| TsaServer::start(move |_| Answer::Reply(bytes.clone())).unwrap();
    is_refused(
        &fault(&answering(refusal(14))).await,
        |e| matches!(e, E::Refused { said: Some(said), .. } if said == "timeNotAvailable"),
    );
    is_refused(&fault(&answering(b"<html>".to_vec())).await, |e| matches!(e, E::Malformed { .. }));
    assert!(matches!(fault(&answering(vec![0x30; 70_000])).await, ServerError::Http(_)));
    assert!(matches!(fault(&TsaServer::start(|_| Answer::Status(503)).unwrap()).await, ServerError::Status(503)));
    let stubborn = serving(tsa(|_| {}), |_| {});
    let under_another = stamp(&[format!("{}=1.2.3", stubborn.url())]).await.unwrap_err();
    assert!(under_another.to_string().contains("under policy"), "{under_another}");
}

#[tokio::test]
async fn the_next_one_stamps_where_one_is_away_or_slow_and_who_failed_is_left_in_peace_for_a_while() {
    let port = HeldPort::take().unwrap();
    let away = format!("http://{}/", port.address().unwrap());
    let slow = TsaServer::start(|_| Answer::Silence).unwrap();
    let good = honest();
    let urls = [away, slow.url(), good.url()];
    let stamper = stamper(&urls, PATIENT);
    let trust = trust();
    stamper.stamp(SIGNATURE, &trust).await.unwrap();
    until_asked(&slow).await;
    assert_eq!(good.asked(), 1);
    stamper.stamp(SIGNATURE, &trust).await.unwrap();
    assert_eq!((slow.asked(), good.asked()), (1, 2), "the slow one is passed over");
    let records = stamper.records();
    let failures: Vec<_> = urls.iter().map(|url| records[url].failures).collect();
    assert_eq!(failures, [1, 1, 0], "who is passed over is not asked");
    let stamped: Vec<_> = urls.iter().map(|url| records[url].last_success.is_some()).collect();
    assert_eq!(stamped, [false, false, true]);
}

#[tokio::test]
async fn where_all_are_away_or_slow_each_is_asked_once_and_then_nothing_is_waited_for() {
    let slow: Vec<_> = (0..2).map(|_| TsaServer::start(|_| Answer::Silence).unwrap()).collect();
    let broken = TsaServer::start(|_| Answer::Status(500)).unwrap();
    let all = || slow.iter().chain([&broken]);
    let urls: Vec<_> = all().map(TsaServer::url).collect();
    let (stamper, trust) = (stamper(&urls, PATIENT), trust());
    let error = stamper.stamp(SIGNATURE, &trust).await.unwrap_err();
    assert!(matches!(&error, StampError::NoneGave(failed) if failed.len() == 3), "{error}");
    assert!(matches!(stamper.stamp(SIGNATURE, &trust).await, Err(StampError::Resting)));
    for server in all() {
        until_asked(server).await;
    }
}

#[tokio::test]
async fn who_is_slow_uses_the_budget_up_for_all_and_the_last_one_may_take_what_is_left() {
    let slow: Vec<_> = (0..3).map(|_| TsaServer::start(|_| Answer::Silence).unwrap()).collect();
    let urls: Vec<_> = slow.iter().map(TsaServer::url).collect();
    let whole = Duration::from_millis(500);
    let asked = async |urls: &[String], one: Duration| {
        let stamper = stamper(urls, StampTimes { whole, one, ..PATIENT });
        let trust = trust();
        let error = in_time("the budget to be over", stamper.stamp(SIGNATURE, &trust)).await.unwrap_err();
        let StampError::NoneGave(failed) = error else { panic!("{error}") };
        failed
    };
    // The first takes all of it: nobody is left to be asked.
    assert_eq!(asked(&urls, whole).await.len(), 1);
    assert_eq!((slow[1].asked(), slow[2].asked()), (0, 0));
    let last = asked(&urls[..1], Duration::ZERO).await;
    assert!(!matches!(&last[0].1, ServerError::Slow(took) if took.is_zero()), "{last:?}");
}

#[tokio::test]
async fn openssl_ts_behind_http_is_believed() {
    if !Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none(), "openssl is missing and TRUC_REQUIRE_TOOLS is set");
        eprintln!("SKIPPED: openssl is not installed");
        return;
    }
    let request = Request::new(Profile::TimeStamping, KeyKind::Rsa2048, Subject::new("TSA").organization("Trục DEV"));
    let issued = PKI.issue_with(request).unwrap();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("tsa.pem", &issued.leaf_pem());
    put("tsa.key", &issued.key_pem);
    put("sub.pem", &PKI.intermediates_pem);
    put("serial", "01\n");
    put(
        "ts.cnf",
        &format!(
            "[tsa]\ndefault_tsa = t\n[t]\nserial = serial\nsigner_cert = tsa.pem\ncerts = sub.pem\nsigner_key = tsa.key\n\
             default_policy = {POLICY}\ndigests = sha256\naccuracy = secs:1\nsigner_digest = sha512\ness_cert_id_alg = sha256\n"
        ),
    );
    let place = Arc::clone(&folder);
    let server = TsaServer::start(move |request| {
        std::fs::write(place.path().join("query"), request).unwrap();
        let arguments = ["ts", "-reply", "-config", "ts.cnf", "-queryfile", "query", "-out", "reply"];
        let done = Command::new("openssl").args(arguments).current_dir(place.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Answer::Reply(std::fs::read(place.path().join("reply")).unwrap())
    });
    let stamped = stamp(&[server.unwrap().url()]).await.unwrap();
    assert_eq!(stamped.stamp.certificate.sha256(), issued.fingerprint());
}

#[test]
fn authorities_are_written_as_an_address_with_a_policy_behind_it() {
    let read = |text: &str| text.parse::<StampServer>().map(|server| server.to_string());
    assert_eq!(read("http://tsa.example.gov.vn").as_deref(), Ok("http://tsa.example.gov.vn:80/"));
    assert_eq!(read("https://a/x?y=z").as_deref(), Ok("https://a:443/x?y=z"));
    assert_eq!(read("https://a/x=1.2.3").as_deref(), Ok("https://a:443/x=1.2.3"));
    for bad in ["", "tsa", "ftp://a/", "http://u:p@a/", "http://a/=1.", "http://a/=9.1"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
