//! Envelopes of a sender that lies: like ours in everything but the one thing that a test changes.

use std::collections::BTreeMap;

use truc_node::{
    core::Failure,
    records::{Incoming, KeyEnvelope, Payload},
};
use truc_proto::{
    Actor, AgencyId, AttachmentDigest, Digest, EnvelopeId, EnvelopeJson, EnvelopeKind, Event, EventUri, KeyManifest,
    Lane, Preamble, Priority, Raw, Role, SealedTo, Submission, Suite, Timestamp, TraceStamp, WireLevel,
};
use truc_signer::{
    Certificate, SealingAlgorithm, SigningKey,
    asic::{ContentSalt, MANIFEST_NAME, MIMETYPE, SIGNATURE_NAME, content_commitment},
    seal_key, sign_detached,
    stream::{FileKey, StreamParams, StreamSealer},
};

use crate::{
    packets::PacketOf,
    world::{World, code, proven},
};

type Change<T> = Box<dyn Fn(&mut T)>;
type ChangeFor<T> = Box<dyn Fn(&AgencyId, &mut T)>;

/// What a test changes; everything else is as it should be.
pub(crate) struct Forge<'w> {
    world: &'w World,
    pub(crate) recipients: Vec<&'static str>,
    pub(crate) preamble: Change<Preamble>,
    /// Content entries but `envelope.json`.
    pub(crate) entries: Vec<(String, Vec<u8>)>,
    /// Entries that the manifest does not name.
    pub(crate) uncovered: Vec<(String, Vec<u8>)>,
    pub(crate) attachments: Vec<AttachmentDigest>,
    pub(crate) envelope: Change<EnvelopeJson>,
    pub(crate) signer: &'w dyn SigningKey,
    /// What is signed instead of the manifest.
    pub(crate) signed: Option<Vec<u8>>,
    /// The certificate that a recipient's key is sealed to.
    pub(crate) seal_to: BTreeMap<AgencyId, Certificate>,
    pub(crate) manifest: ChangeFor<KeyManifest>,
    pub(crate) payload: Change<Vec<u8>>,
    pub(crate) submission: Change<Submission>,
    pub(crate) key_envelopes: Change<Vec<KeyEnvelope>>,
    pub(crate) accepted_at: Timestamp,
}

impl<'w> Forge<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let packet = PacketOf { to: &["H37"], ..PacketOf::default() }.bytes(&[("a.pdf", b"%PDF a")]);
        let attachment = AttachmentDigest { name: "a.pdf".to_owned(), length: 6, sha256: Digest::of(b"%PDF a") };
        let agencies = &world.agencies;
        let seal_to = agencies.iter().map(|(code, agency)| {
            (code.clone(), Certificate::from_der(&agency.sealing_issued.certificate_der).unwrap())
        });
        Self {
            world,
            recipients: vec!["H37"],
            preamble: Box::new(|_| {}),
            entries: vec![("packet.edxml".to_owned(), packet)],
            uncovered: Vec::new(),
            attachments: vec![attachment],
            envelope: Box::new(|_| {}),
            signer: &*agencies[&code("H26")].service,
            signed: None,
            seal_to: seal_to.collect(),
            manifest: Box::new(|_, _| {}),
            payload: Box::new(|_| {}),
            submission: Box::new(|_| {}),
            key_envelopes: Box::new(|_| {}),
            accepted_at: world.now,
        }
    }

    fn preamble(&self) -> Raw<Preamble> {
        let mut preamble = Preamble {
            axis: "test".parse().unwrap(),
            suite: Suite::S1,
            envelope: EnvelopeId::new(self.world.now, [5; 10]),
            lane: Lane::Ordinary,
            level: WireLevel::Ordinary,
            sender: code("H26"),
            recipients: self.recipients.iter().map(|name| code(name)).collect(),
            legacy: Vec::new(),
            kind: EnvelopeKind::Document,
            priority: Priority::ORDINARY,
            created: self.world.now,
            expires: self.world.now + std::time::Duration::from_secs(86_400),
            supersedes: None,
        };
        (self.preamble)(&mut preamble);
        Raw::write(preamble).unwrap()
    }

    fn envelope_json(&self, preamble: &Raw<Preamble>) -> Vec<u8> {
        let world = self.world;
        let sealed_to = |code: &AgencyId| SealedTo {
            code: code.clone(),
            certificate: world.agencies[code].sealing_issued.fingerprint(),
        };
        let mut envelope = EnvelopeJson {
            preamble: preamble.digest(),
            axis: preamble.axis.clone(),
            envelope: preamble.envelope,
            lane: preamble.lane,
            level: preamble.level,
            kind: preamble.kind,
            sender: preamble.sender.clone(),
            recipients: preamble.recipients.iter().map(sealed_to).collect(),
            supersedes: preamble.supersedes.clone(),
            trace: vec![TraceStamp { organ: code("H26"), time: world.now }],
            attachments: self.attachments.clone(),
        };
        (self.envelope)(&mut envelope);
        Raw::write(envelope).unwrap().bytes().to_vec()
    }

    /// What arrives at N-H37.
    pub(crate) fn arrive(&self) -> (Incoming, Vec<KeyEnvelope>) {
        let preamble = self.preamble();
        let mut entries = self.entries.clone();
        entries.push(("envelope.json".to_owned(), self.envelope_json(&preamble)));
        let manifest = manifest(&entries);
        let signed = self.signed.as_ref().unwrap_or(&manifest);
        let signature = sign_detached(self.signer, signed, Some(self.world.now)).unwrap();
        let mut files = vec![("mimetype".to_owned(), MIMETYPE.as_bytes().to_vec())];
        files.extend(entries);
        files.extend(self.uncovered.iter().cloned());
        files.push((MANIFEST_NAME.to_owned(), manifest.clone()));
        files.push((SIGNATURE_NAME.to_owned(), signature));
        let container = zip(&files);

        let (key, salt, prefix) = ([1; 32], [2; 32], [3; 7]);
        let mut sealer = StreamSealer::new(
            &FileKey::from_slice(&key).unwrap(),
            StreamParams::s1(prefix),
            preamble.digest(),
            Vec::new(),
        );
        std::io::Write::write_all(&mut sealer, &container).unwrap();
        let (mut payload, _) = sealer.finish().unwrap();
        (self.payload)(&mut payload);

        let mut key_envelopes = Vec::new();
        for recipient in &preamble.recipients {
            let mut manifest = KeyManifest {
                recipient: recipient.clone(),
                suite: Suite::S1,
                preamble: preamble.digest(),
                file_key: key,
                prefix,
                chunk_bytes: 1 << 20,
                length: container.len() as u64,
                container: Digest::of(&container),
                salt,
            };
            (self.manifest)(recipient, &mut manifest);
            let certificate = &self.seal_to[recipient];
            let algorithm = SealingAlgorithm::for_certificate(certificate).unwrap();
            let cms = seal_key(Raw::write(manifest).unwrap().bytes(), certificate, algorithm).unwrap();
            key_envelopes.push(KeyEnvelope { recipient: recipient.to_string(), cms });
        }
        let commitment = content_commitment(&ContentSalt(salt), &manifest);
        let submission = self.submission(&preamble, &payload, commitment, &key_envelopes);
        (self.key_envelopes)(&mut key_envelopes);
        let incoming = Incoming {
            preamble: preamble.bytes().to_vec(),
            relay_acceptance: proven(self.acceptance(&preamble, &submission).bytes().clone()),
            submission: proven(submission.bytes().clone()),
            payload: Payload {
                sha256: Digest::of(&payload).as_bytes().to_vec(),
                length: payload.len() as u64,
                inline: Some(payload),
            },
            codes: self.recipients.iter().map(ToString::to_string).collect(),
            at_ms: self.world.now.unix_ms(),
        };
        (incoming, key_envelopes)
    }

    fn submission(
        &self,
        preamble: &Raw<Preamble>,
        payload: &[u8],
        commitment: Digest,
        key_envelopes: &[KeyEnvelope],
    ) -> Raw<Submission> {
        let mut submission = Submission {
            event: EventUri::SubmissionAcceptance,
            actor: Actor { code: Some(code("H26")), node: "N-H26".parse().unwrap(), role: Role::Sender },
            time: self.world.now,
            envelope: preamble.envelope,
            preamble: preamble.digest(),
            payload: Digest::of(payload),
            payload_length: payload.len() as u64,
            commitment,
            key_envelopes: key_envelopes.iter().map(|e| (code(&e.recipient), Digest::of(&e.cms))).collect(),
            directory: self.world.directory.reference(&code("H26")).unwrap(),
        };
        (self.submission)(&mut submission);
        Raw::write(submission).unwrap()
    }

    fn acceptance(&self, preamble: &Preamble, submission: &Raw<Submission>) -> Raw<Event> {
        Raw::write(Event {
            event: EventUri::RelayAcceptance,
            actor: Actor { code: None, node: "R1".parse().unwrap(), role: Role::Relay },
            time: self.accepted_at,
            envelope: Some(preamble.envelope),
            sender: preamble.sender.clone(),
            recipient: None,
            submission: Some(submission.digest()),
            preamble: Some(submission.preamble),
            payload: Some(submission.payload),
            commitment: Some(submission.commitment),
            key_envelope: None,
            reason: None,
            details: None,
            request: None,
            successor: None,
        })
        .unwrap()
    }

    /// Opened at N-H37: what became of every code.
    pub(crate) fn outcomes(&self) -> Vec<(AgencyId, Result<(), Failure>)> {
        let (incoming, key_envelopes) = self.arrive();
        let opened = self.world.open("N-H37", &incoming, &key_envelopes);
        let any = opened.outcomes.iter().any(|(_, outcome)| outcome.is_ok());
        assert_eq!(opened.content.is_some(), any, "content comes with a consignment, and only then");
        opened.outcomes
    }

    /// How H37, the only recipient, refuses it.
    #[track_caller]
    pub(crate) fn refusal(&self) -> Failure {
        match self.outcomes().as_slice() {
            [(_, Err(failure))] => failure.clone(),
            other => panic!("not refused: {other:?}"),
        }
    }
}

/// An ASiC manifest over these entries.
pub(crate) fn manifest(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut inside =
        r#"<a:SigReference URI="META-INF/signature001.p7s" MimeType="application/pkcs7-signature"/>"#.to_owned();
    for (name, content) in entries {
        let digest = Digest::of(content).to_base64();
        inside.push_str(&format!(
            r#"<a:DataObjectReference URI="{name}"><d:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><d:DigestValue>{digest}</d:DigestValue></a:DataObjectReference>"#
        ));
    }
    let spaces = r#"xmlns:a="http://uri.etsi.org/02918/v1.2.1#" xmlns:d="http://www.w3.org/2000/09/xmldsig#""#;
    format!("<a:ASiCManifest {spaces}>{inside}</a:ASiCManifest>").into_bytes()
}

/// A ZIP of stored entries.
fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let le16 = |numbers: &[u16]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
    let le32 = |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let offset = out.len() as u32;
        let flags = if name == "mimetype" { 0 } else { 1 << 11 };
        let length = content.len() as u32;
        let common =
            [le16(&[20, flags, 0, 0, 33]), le32(&[crc32(content), length, length]), le16(&[name.len() as u16, 0])]
                .concat();
        out.extend([&le32(&[0x0403_4b50])[..], &common, name.as_bytes(), content].concat());
        directory.extend(
            [&le32(&[0x0201_4b50])[..], &le16(&[20]), &common, &le16(&[0, 0, 0]), &le32(&[0, offset]), name.as_bytes()]
                .concat(),
        );
    }
    let (start, count) = (out.len() as u32, files.len() as u16);
    let length = directory.len() as u32;
    [out, directory, le32(&[0x0605_4b50]), le16(&[0, 0, count, count]), le32(&[length, start]), le16(&[0])].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
