//! A sender's node that lies: what the relay can see, the relay refuses before anything is stored; what only the recipient can see, the
//! recipient refuses with evidence, and nothing of it reaches the inbox.

use truc_certs_dev::{ExtendedKeyUsagePurpose, KeyKind, KeyUsagePurpose, Profile, Request, Subject};
use truc_proto::{
    AgencyId, CertificateBinding, Digest, Entry, KeyStatus, KeyUse,
    node_v1::{ConfirmRequest, FetchRequest, ListReceiptsRequest, SetStatusRequest, fetch_request::What},
    relay_v1::offer_reply::Outcome,
};
use truc_signer::Certificate;

use crate::support::{
    World,
    api::Api,
    forger::{Forger, Forgery, from_now, packet},
};

const NODES: [(&str, &[&str]); 2] = [("N-G22", &["G22"]), ("N-H26", &["H26", "H26.18"])];

/// The sender is a forger, the recipient a real node.
async fn start() -> (World, Forger) {
    let mut world = World::make(truc_proto::Lane::Ordinary, &NODES).await;
    world.serve_relay().await;
    world.publish().await;
    world.serve_node("N-H26").await;
    world.api("N-H26").until_connected().await;
    let forger = Forger::connect(&world, "N-G22").await;
    (world, forger)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_relay_can_see_it_refuses_before_anything_is_stored() {
    let (world, mut forger) = start().await;
    let good = || Forgery::new(&world, "G22", &["H26"]);

    let mut other = good();
    other.preamble.axis = "dev-other".parse().unwrap();
    forger.refused(&other.seal(&world), "wrong-lane").await;
    let mut other = good();
    other.preamble.lane = truc_proto::Lane::Classified;
    forger.refused(&other.seal(&world), "wrong-lane").await;

    for level in ["mat", "toi-mat", "tuyet-mat"] {
        let mut secret = good();
        secret.preamble.level = level.parse().unwrap();
        let refusal = forger.refused(&secret.seal(&world), "level-refused").await;
        assert!(refusal.evidence.is_some(), "{level}: refused with evidence");
    }

    let other_preamble = Digest::of(b"another preamble");
    let mut torn = good();
    torn.submission = Some(Box::new(move |submission| submission.preamble = other_preamble));
    forger.refused(&torn.seal(&world), "invalid").await;

    let mut shorter = good().seal(&world);
    shorter.payload.pop();
    forger.refused(&shorter, "invalid").await;
    let mut swapped = good().seal(&world);
    swapped.key_envelopes = good().seal(&world).key_envelopes;
    forger.refused(&swapped, "invalid").await;
    let mut missing = good().seal(&world);
    missing.key_envelopes.clear();
    forger.refused(&missing, "invalid").await;

    // Another's code: its node in the actor, or its own.
    let mut foreign = good();
    foreign.submission = Some(Box::new(|submission| submission.actor.code = Some("H26".parse().unwrap())));
    forger.refused(&foreign.seal(&world), "not-entitled").await;

    for (ms, reason) in [(10 * 60_000, "from-future"), (-400 * 86_400_000, "too-old")] {
        let mut untimely = good();
        untimely.preamble.envelope = truc_proto::EnvelopeId::new(from_now(ms), [7; 10]);
        (untimely.preamble.created, untimely.preamble.expires) = (from_now(ms), from_now(ms + 3_600_000));
        forger.refused(&untimely.seal(&world), reason).await;
    }

    // A submission that is not in the ledger it claims to be in.
    let sealed = good().seal(&world);
    let mut request = forger.request(&sealed).await;
    let leaf = request.submission.as_mut().unwrap();
    leaf.index += 1;
    let outcome = forger.offer_request(request).await;
    assert!(matches!(&outcome, Outcome::Refused(refusal) if refusal.reason == "invalid"), "{outcome:?}");

    // The last word: the relay holds nothing for the recipient.
    let page =
        forger.relay.undelivered(truc_proto::relay_v1::UndeliveredRequest::default()).await.unwrap().into_inner();
    assert!(page.envelopes.is_empty());
    assert!(world.api("N-H26").inbox("", true).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_made_again_gets_the_original_receipt_and_the_same_id_with_other_content_is_refused_with_evidence() {
    let (world, mut forger) = start().await;
    let sealed = Forgery::new(&world, "G22", &["H26"]).seal(&world);
    let first = forger.deliver(&sealed).await;
    for _ in 0..3 {
        let again = forger.deliver(&sealed).await;
        assert_eq!((again.leaf, again.index), (first.leaf.clone(), first.index), "the original acceptance");
    }
    assert_eq!(forger.outcome(&sealed, "H26").await, None);

    let mut other = Forgery::new(&world, "G22", &["H26"]);
    other.preamble = sealed.preamble.value().clone();
    let refusal = forger.refused(&other.seal(&world), "id-reused").await;
    let evidence = refusal.evidence.expect("evidence of the reuse");
    truc_evidence::verify_leaf(&evidence, &world.directory(), None, from_now(0)).unwrap();
    // Also after it was delivered, and a second delivery never happened.
    let again = forger.deliver(&sealed).await;
    assert_eq!(again.leaf, first.leaf);
    assert_eq!(world.api("N-H26").inbox("H26", true).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_poisons_the_id_of_another_sender() {
    let nodes: [(&str, &[&str]); 3] = [("N-G22", &["G22"]), ("N-G23", &["G23"]), ("N-H26", &["H26"])];
    let mut world = World::make(truc_proto::Lane::Ordinary, &nodes).await;
    world.serve_relay().await;
    world.publish().await;
    world.serve_node("N-H26").await;
    world.api("N-H26").until_connected().await;
    let mut victim = Forger::connect(&world, "N-G22").await;
    let mut thief = Forger::connect(&world, "N-G23").await;
    let honest = Forgery::new(&world, "G22", &["H26"]).seal(&world);
    let mut same_id = Forgery::new(&world, "G23", &["H26"]);
    same_id.preamble.envelope = honest.preamble.envelope;
    same_id.preamble.created = honest.preamble.created;
    let same_id = same_id.seal(&world);
    thief.deliver(&same_id).await;
    victim.deliver(&honest).await;
    assert_eq!(thief.outcome(&same_id, "H26").await, None);
    assert_eq!(victim.outcome(&honest, "H26").await, None);
    let mut senders: Vec<_> = world.api("N-H26").inbox("H26", true).await.into_iter().map(|item| item.sender).collect();
    senders.sort();
    assert_eq!(senders, ["G22", "G23"]);
    each_is_reached_by_its_senders_name(&world.api("N-H26"), &honest.preamble.envelope.to_string()).await;
    // And a submission under the other's code is not the thief's to make.
    let mut foreign = Forgery::new(&world, "G22", &["H26"]);
    foreign.submission = Some(Box::new(|submission| submission.actor.node = "N-G23".parse().unwrap()));
    thief.refused(&foreign.seal(&world), "not-entitled").await;
}

/// One envelope id of two senders: no call guesses which is meant.
async fn each_is_reached_by_its_senders_name(api: &Api, envelope: &str) {
    let fetch = |sender: &str| FetchRequest {
        envelope: envelope.into(),
        recipient: "H26".into(),
        sender: sender.into(),
        what: Some(What::Container(true)),
        ..FetchRequest::default()
    };
    let confirm = |sender: &str| ConfirmRequest {
        envelope: envelope.into(),
        recipient: "H26".into(),
        sender: sender.into(),
        ..ConfirmRequest::default()
    };
    let status = |sender: &str, to: &str| SetStatusRequest {
        envelope: envelope.into(),
        from: "H26".into(),
        to: to.into(),
        code: "01".into(),
        idempotency_key: format!("01-{sender}-{to}"),
        sender: sender.into(),
        ..SetStatusRequest::default()
    };
    let receipts = |sender: &str| ListReceiptsRequest {
        envelope: envelope.into(),
        sender: sender.into(),
        ..ListReceiptsRequest::default()
    };
    for unclear in [
        api.raw.clone().fetch(fetch("")).await.map(|_| ()).unwrap_err(),
        api.raw.clone().confirm(confirm("")).await.map(|_| ()).unwrap_err(),
        api.raw.clone().set_status(status("", "")).await.map(|_| ()).unwrap_err(),
        api.raw.clone().list_receipts(receipts("")).await.map(|_| ()).unwrap_err(),
    ] {
        assert_eq!(unclear.code(), tonic::Code::FailedPrecondition, "{unclear:?}");
        for words in ["G22, G23", "`sender`", "bên gửi"] {
            assert!(unclear.message().contains(words), "{words}: {}", unclear.message());
        }
    }
    let nobody = api.raw.clone().confirm(confirm("H37")).await.unwrap_err();
    assert_eq!(nobody.code(), tonic::Code::NotFound, "{nobody:?}");
    let mut containers = Vec::new();
    for sender in ["G22", "G23"] {
        let mut stream = api.raw.clone().fetch(fetch(sender)).await.unwrap().into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.message().await.unwrap() {
            bytes.extend_from_slice(&chunk.data);
        }
        containers.push(bytes);
        assert!(api.raw.clone().confirm(confirm(sender)).await.unwrap().into_inner().first, "{sender}: once each");
        let said = api.raw.clone().set_status(status(sender, "")).await.unwrap().into_inner();
        assert_eq!(said.sequence, 1, "numbered per document");
        let items = api.raw.clone().list_receipts(receipts(sender)).await.unwrap().into_inner().items;
        let submissions = items.iter().filter(|item| item.event == "SubmissionAcceptance");
        assert_eq!(submissions.map(|item| item.actor.as_str()).collect::<Vec<_>>(), [sender]);
    }
    assert_ne!(containers[0], containers[1]);
    // The counterpart names the document as well; 01 was said to it before, so 01 again goes backwards.
    let again = api.raw.clone().set_status(status("", "G23")).await.unwrap_err();
    assert!(again.message().contains("backwards"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_recipients_given_different_content_find_out() {
    let (world, mut forger) = start().await;
    // H26.18 gets another salt: what it recomputes is not what the sender's ledger commits to.
    let mut split = Forgery::new(&world, "G22", &["H26", "H26.18"]);
    split.manifest = Some(Box::new(|manifest| {
        if manifest.recipient.as_str() == "H26.18" {
            manifest.salt = [9; 32];
        }
    }));
    let split = split.seal(&world);
    forger.deliver(&split).await;
    assert_eq!(forger.outcome(&split, "H26.18").await.as_deref(), Some("content-mismatch"));
    assert_eq!(forger.outcome(&split, "H26").await, None, "one recipient's failure does not block another's");
    let api = world.api("N-H26");
    api.until_consigned(&split.id(), "H26").await;
    assert!(api.item(&split.id(), "H26.18").await.is_none());
}

/// Adds a certificate to an agency's entry, as an operator in error or in league would.
fn bind(world: &mut World, code: &str, name: &str, key_use: KeyUse) {
    let certificate = Certificate::from_der(&world.issued(name).certificate_der).unwrap();
    let code: AgencyId = code.parse().unwrap();
    let known = world.draft.entries().find(|entry| entry.key() == format!("agency/{code}")).and_then(Entry::as_agency);
    let mut agency = known.unwrap().clone();
    agency.certificates.push(CertificateBinding {
        uses: vec![key_use],
        der: certificate.der().to_vec(),
        sha256: certificate.sha256(),
        algorithms: Vec::new(),
        valid_from: from_now(-30 * 86_400_000),
        valid_to: from_now(30 * 86_400_000),
        status: KeyStatus::Good,
        status_since: None,
    });
    world.draft.put(Entry::Agency(agency)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_recipient_can_see_it_refuses_with_evidence_and_nothing_reaches_the_inbox() {
    let (mut world, mut forger) = start().await;
    let subject = || Subject::new("Dịch vụ G22").organization("Cơ quan G22 DEV");
    let with = |profile, edit: &dyn Fn(&mut Request)| {
        let mut request = Request::new(profile, KeyKind::P256, subject());
        edit(&mut request);
        request
    };
    world.issue(
        "expired",
        with(Profile::Service, &|request| {
            (request.not_before, request.not_after) = (Some(from_now(-30 * 86_400_000)), Some(from_now(-3_600_000)));
        }),
    );
    world.issue(
        "wrong-use",
        with(Profile::Tls, &|request| {
            request.key_usages = Some(vec![KeyUsagePurpose::KeyEncipherment]);
            request.extended_key_usages = Some(vec![ExtendedKeyUsagePurpose::ServerAuth]);
        }),
    );
    world.issue("revoked", with(Profile::Service, &|_| {}));
    world.issue("stopped", with(Profile::Service, &|_| {}));
    world.revoke("revoked", from_now(-3_600_000));
    for name in ["expired", "wrong-use", "revoked", "stopped"] {
        bind(&mut world, "G22", name, KeyUse::Service);
    }
    let stopped = world.issued("stopped").fingerprint();
    world.draft.set_status(&stopped, KeyStatus::Revoked, from_now(-1_000)).unwrap();
    // The new lists and the new directory reach the node by its restart and its connection.
    world.stop_node("N-H26").await;
    world.push_lists_to_node("N-H26");
    world.publish().await;
    world.serve_node("N-H26").await;
    world.api("N-H26").until_connected().await;

    let world = world;
    let good = || Forgery::new(&world, "G22", &["H26"]);
    let signed_by = |name: &str| Forgery { service: world.soft_key(name), ..good() };
    let mut cases: Vec<(&str, Forgery, &str)> = vec![
        ("signed by another agency's certificate", signed_by("H26.service"), "certificate-refused"),
        ("signed by an expired certificate", signed_by("expired"), "certificate-refused"),
        ("signed by a certificate for another use", signed_by("wrong-use"), "certificate-refused"),
        ("signed by a revoked certificate", signed_by("revoked"), "certificate-refused"),
        ("signed by a certificate that the directory stopped", signed_by("stopped"), "certificate-refused"),
        ("another From in the packet", Forgery { packet: packet("H37", &["H26"], "x"), ..good() }, "content-mismatch"),
        (
            "hostile XML",
            Forgery { packet: b"<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>".to_vec(), ..good() },
            "content-refused",
        ),
        ("no XML at all", Forgery { packet: vec![0; 100], ..good() }, "content-refused"),
        (
            "an entry that belongs nowhere",
            Forgery { more: vec![("run.sh".into(), b"#!/bin/sh\n".to_vec())], ..good() },
            "content-refused",
        ),
        (
            "an attachment beside a packet",
            Forgery { more: vec![("attachments/a.pdf".into(), vec![1; 9])], ..good() },
            "content-refused",
        ),
    ];
    let mut edited = |what, reason, edit: &dyn Fn(&mut Forgery)| {
        let mut forgery = good();
        edit(&mut forgery);
        cases.push((what, forgery, reason));
    };
    edited("another level in envelope.json", "content-mismatch", &|f| {
        f.envelope = Some(Box::new(|envelope| envelope.level = "mat".parse().unwrap()));
    });
    edited("another sender in envelope.json", "content-mismatch", &|f| {
        f.envelope = Some(Box::new(|envelope| envelope.sender = "H37".parse().unwrap()));
    });
    edited("another preamble in envelope.json", "content-mismatch", &|f| {
        f.envelope = Some(Box::new(|envelope| envelope.preamble = Digest::of(b"")));
    });
    edited("other recipients in envelope.json", "content-mismatch", &|f| {
        f.envelope = Some(Box::new(|envelope| envelope.recipients[0].code = "H26.18".parse().unwrap()));
    });
    edited("another certificate in envelope.json", "content-mismatch", &|f| {
        f.envelope = Some(Box::new(|envelope| envelope.recipients[0].certificate = Digest::of(b"")));
    });
    edited("an attachment only in envelope.json", "content-mismatch", &|f| {
        f.envelope = Some(Box::new(|envelope| {
            envelope.attachments.push(truc_proto::AttachmentDigest {
                name: "a.pdf".into(),
                length: 1,
                sha256: Digest::of(b"a"),
            });
        }));
    });
    edited("a key envelope made for another code", "invalid", &|f| {
        f.manifest = Some(Box::new(|manifest| manifest.recipient = "H26.18".parse().unwrap()));
    });
    edited("a key envelope of another envelope", "invalid", &|f| {
        f.manifest = Some(Box::new(|manifest| manifest.preamble = Digest::of(b"")));
    });
    edited("another file key", "content-mismatch", &|f| {
        f.manifest = Some(Box::new(|manifest| manifest.file_key = [1; 32]))
    });
    edited("another container", "content-mismatch", &|f| {
        f.manifest = Some(Box::new(|manifest| manifest.container = Digest::of(b"")))
    });
    edited("another length", "content-mismatch", &|f| f.manifest = Some(Box::new(|manifest| manifest.length += 1)));
    edited("another salt", "content-mismatch", &|f| f.manifest = Some(Box::new(|manifest| manifest.salt = [1; 32])));
    edited("another commitment", "content-mismatch", &|f| {
        f.submission = Some(Box::new(|submission| submission.commitment = Digest::of(b"")));
    });
    edited("sealed to a certificate whose key the recipient does not have", "cannot-open", &|f| {
        let stranger = Certificate::from_der(&world.issued("G22.sealing").certificate_der).unwrap();
        f.sealing.insert("H26".parse().unwrap(), stranger);
    });
    edited("a container of zeros", "content-refused", &|f| f.container = Some(Box::new(|container| container.fill(0))));
    edited("a container cut short", "content-refused", &|f| {
        f.container = Some(Box::new(|container| container.truncate(200)))
    });
    edited("a flipped bit in the payload", "content-mismatch", &|f| {
        f.payload = Some(Box::new(|payload| payload[100] ^= 1))
    });
    edited("a payload with its tail exchanged", "content-mismatch", &|f| {
        f.payload = Some(Box::new(|payload| payload.reverse()))
    });

    let api = world.api("N-H26");
    let mut sealed = Vec::new();
    for (what, forgery, reason) in cases {
        let forged = forgery.seal(&world);
        forger.deliver(&forged).await;
        sealed.push((what, forged, reason));
    }
    let honest = good().seal(&world);
    forger.deliver(&honest).await;
    for (what, forged, reason) in &sealed {
        assert_eq!(forger.outcome(forged, "H26").await.as_deref(), Some(*reason), "{what}");
        assert!(api.item(&forged.id(), "H26").await.is_none(), "{what}: nothing of it is in the inbox");
    }
    assert_eq!(forger.outcome(&honest, "H26").await, None);
    assert_eq!(api.inbox("H26", true).await.len(), 1, "the honest document alone arrived");
}
