//! From a received envelope to a document: everything that can be checked without a private key is checked before one is used,
//! then one streaming pass opens, unpacks, hashes and parses. No plaintext is kept.
//!
//! What is wrong with an envelope is an outcome, told per code and with a reason of the closed list; only our own troubles are errors.

use std::io;

use truc_evidence::Directory;
use truc_proto::{
    AgencyId, Digest, ENVELOPE_ENTRY, EnvelopeId, EnvelopeJson, Event, KeyManifest, KeyUse, Preamble, Raw, Reason,
    Submission, Timestamp,
};
use truc_signer::{
    CertificateUse, OpenError, Verdict,
    asic::{ContainerError, ContainerReader, OpenedContainer, content_commitment},
    open_key,
    path::validate_settled,
    stream::{StreamError, StreamOpener},
    verify_detached,
};

use super::{
    Pipes,
    content::{Found, Inspection, Inspector},
    failed,
    payload::StoredPayload,
    secrets::Secrets,
};
use crate::{
    chain,
    core::Failure,
    pipeline::{Opened, PipelineError},
    records::{About, Attachment, Content, Incoming, KeyEnvelope, OpeningParts},
};

/// See [`crate::pipeline::Pipeline::open`].
pub(super) fn open(
    pipes: &Pipes,
    incoming: &Incoming,
    key_envelopes: &[KeyEnvelope],
    directory: &Directory,
    now: Timestamp,
) -> Result<Opened, PipelineError> {
    let codes = codes(key_envelopes)?;
    let announced = match Announced::check(pipes, incoming) {
        Ok(announced) => announced,
        Err(failure) => {
            let outcomes = codes.into_iter().map(|(code, _)| (code, Err(failure.clone()))).collect();
            return Ok(Opened { content: None, outcomes });
        }
    };
    let mut opened = Opened { content: None, outcomes: Vec::new() };
    let mut groups: Vec<Group> = Vec::new();
    let mut away = false;
    for (code, cms) in codes {
        match announced.unlock(pipes, &code, cms) {
            Ok((manifest, certificate)) => match groups.iter_mut().find(|group| group.holds(&manifest)) {
                Some(group) => group.codes.push((code, certificate)),
                None => groups.push(Group { manifest, codes: vec![(code, certificate)] }),
            },
            Err(Locked::Away) => away = true,
            Err(Locked::Failed(failure)) => opened.outcomes.push((code, Err(failure))),
        }
    }
    if away && groups.is_empty() && opened.outcomes.is_empty() {
        return Err(PipelineError::Failed {
            what: "the decryption key is away; connect the token or module".into(),
            key_away: true,
        });
    }
    // All codes got the same secrets, unless a sender means mischief: then at most one set of them opens what was committed to.
    for group in groups {
        match announced.read(pipes, &group.manifest, directory, now) {
            Ok(document) => {
                for (code, certificate) in group.codes {
                    let outcome = document.is_sealed_to(&code, &certificate);
                    opened.outcomes.push((code, outcome));
                }
                if opened.content.is_none() && opened.outcomes.iter().any(|(_, outcome)| outcome.is_ok()) {
                    opened.content = Some(document.content);
                }
            }
            Err(Unread::Refused(failure)) => {
                opened.outcomes.extend(group.codes.into_iter().map(|(code, _)| (code, Err(failure.clone()))));
            }
            Err(Unread::Ours(error)) => return Err(error),
        }
    }
    Ok(opened)
}

fn codes(key_envelopes: &[KeyEnvelope]) -> Result<Vec<(AgencyId, &[u8])>, PipelineError> {
    let parsed = key_envelopes.iter().map(|envelope| Ok((envelope.recipient.parse()?, envelope.cms.as_slice())));
    parsed
        .collect::<Result<_, truc_proto::AgencyIdError>>()
        .map_err(|error| failed("a key envelope is for no agency code", &error))
}

/// Codes that got the same secrets.
struct Group {
    manifest: Raw<KeyManifest>,
    codes: Vec<(AgencyId, Digest)>,
}

impl Group {
    fn holds(&self, other: &KeyManifest) -> bool {
        let own = self.manifest.value();
        // Which of the sender's own random numbers are equal gives nothing away to it.
        (own.file_key, own.prefix, own.chunk_bytes) == (other.file_key, other.prefix, other.chunk_bytes)
            && (own.length, own.container, own.salt) == (other.length, other.container, other.salt)
    }
}

fn refuse(reason: Reason, detail: impl Into<String>) -> Failure {
    Failure { reason, detail: detail.into() }
}

fn invalid(detail: impl Into<String>) -> Failure {
    refuse(Reason::Invalid, detail)
}

fn mismatch(detail: impl Into<String>) -> Failure {
    refuse(Reason::ContentMismatch, detail)
}

/// Why one code's key envelope gave nothing.
enum Locked {
    Away,
    Failed(Failure),
}

/// Why the content was not read.
enum Unread {
    Refused(Failure),
    Ours(PipelineError),
}

impl From<Failure> for Unread {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// What sender and relay said of an envelope, found to agree. No private key was used so far.
struct Announced<'i> {
    incoming: &'i Incoming,
    preamble: Raw<Preamble>,
    submission: Raw<Submission>,
    /// When the relay accepted it: the one moment that does not depend on the sender's word.
    accepted_at: Timestamp,
}

impl<'i> Announced<'i> {
    fn check(pipes: &Pipes, incoming: &'i Incoming) -> Result<Self, Failure> {
        let preamble = Raw::<Preamble>::parse(incoming.preamble.clone()).map_err(|e| invalid(e.to_string()))?;
        let submission =
            Raw::<Submission>::parse(incoming.submission.leaf.clone()).map_err(|e| invalid(e.to_string()))?;
        let acceptance =
            Raw::<Event>::parse(incoming.relay_acceptance.leaf.clone()).map_err(|e| invalid(e.to_string()))?;
        if preamble.axis != pipes.axis || preamble.lane != pipes.lane {
            return Err(refuse(
                Reason::WrongLane,
                format!(
                    "it is of the {} lane of axis {}; this node serves {} of {}",
                    preamble.lane, preamble.axis, pipes.lane, pipes.axis
                ),
            ));
        }
        preamble.secrecy().map_err(|error| refuse(Reason::LevelRefused, error.to_string()))?;
        let payload = Digest::from_slice(&incoming.payload.sha256).map_err(|e| invalid(e.to_string()))?;
        let agrees = [
            ("envelope id", submission.envelope == preamble.envelope),
            ("sender", submission.actor.code.as_ref() == Some(&preamble.sender)),
            ("preamble hash", submission.preamble == preamble.digest()),
            ("payload hash", submission.payload == payload),
            ("payload length", submission.payload_length == incoming.payload.length),
            ("recipients", submission.key_envelopes.keys().eq(preamble.recipients.iter())),
        ];
        if let Some((what, _)) = agrees.into_iter().find(|(_, agrees)| !agrees) {
            return Err(invalid(format!("submission and what was delivered differ in the {what}")));
        }
        Ok(Self { incoming, accepted_at: acceptance.time, preamble, submission })
    }

    /// Opens one code's key envelope. Gives what is in it and the SHA-256 of the certificate it was sealed to.
    fn unlock(&self, pipes: &Pipes, code: &AgencyId, cms: &[u8]) -> Result<(Raw<KeyManifest>, Digest), Locked> {
        let expected = self.submission.key_envelopes.get(code);
        if expected.is_none_or(|expected| *expected != Digest::of(cms)) {
            return Err(Locked::Failed(invalid("the key envelope is not the one of the submission")));
        }
        let mut away = false;
        let keys = pipes.keys();
        for key in keys.sealing(code) {
            match open_key(cms, &**key) {
                Ok(bytes) => {
                    let manifest = self.check_manifest(code, &bytes).map_err(Locked::Failed)?;
                    return Ok((manifest, key.certificate().sha256()));
                }
                Err(OpenError::NotForUs { .. }) => {}
                Err(OpenError::Away) => away = true,
                Err(error @ OpenError::Failed) => {
                    return Err(Locked::Failed(refuse(Reason::CannotOpen, error.to_string())));
                }
                Err(error @ (OpenError::TooLarge { .. } | OpenError::Malformed)) => {
                    return Err(Locked::Failed(invalid(error.to_string())));
                }
            }
        }
        if away {
            return Err(Locked::Away);
        }
        Err(Locked::Failed(refuse(Reason::CannotOpen, format!("no key of {code} at this node opens the key envelope"))))
    }

    fn check_manifest(&self, code: &AgencyId, bytes: &[u8]) -> Result<Raw<KeyManifest>, Failure> {
        let manifest = Raw::<KeyManifest>::parse(bytes.to_vec()).map_err(|e| invalid(e.to_string()))?;
        if manifest.recipient != *code {
            return Err(invalid(format!("the key envelope of {code} was made for {}", manifest.recipient)));
        }
        if manifest.preamble != self.preamble.digest() {
            return Err(invalid("the key envelope belongs to another envelope"));
        }
        let secrets = Secrets::of(&manifest).map_err(|error| invalid(error.to_string()))?;
        if secrets.params.sealed_len(manifest.length) != Some(self.incoming.payload.length) {
            return Err(mismatch("the payload is not as long as the key envelope says"));
        }
        Ok(manifest)
    }

    /// The one pass over the payload.
    fn read(
        &self,
        pipes: &Pipes,
        manifest: &KeyManifest,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Document, Unread> {
        let secrets = Secrets::of(manifest).map_err(|error| invalid(error.to_string()))?;
        let stored = StoredPayload::find(&self.incoming.payload, &pipes.blobs).map_err(|error| store_failed(&error))?;
        let mut stream = StreamOpener::new(&secrets.file_key, secrets.params, self.preamble.digest(), stored.reader());
        let (container, inspection) = Inspector::run(self.preamble.kind, |visitor| {
            ContainerReader::new(&mut stream).and_then(|reader| reader.read(visitor))
        });
        let container = container.map_err(|error| container_failed(error, &inspection))?;
        let summary = stream.finish().map_err(|error| mismatch(error.to_string()))?;
        if summary.sealed_digest != self.submission.payload {
            // The device gave other bytes than were stored, and they opened: impossible, so nothing of it is used.
            return Err(store_failed(&io::Error::from(io::ErrorKind::InvalidData)));
        }
        if container.digest != manifest.container || container.length != manifest.length {
            return Err(mismatch("the container is not the one that the key envelope names").into());
        }
        // I4, I7: all recipients got the same document, the one that the sender's ledger commits to.
        if content_commitment(&secrets.salt, container.manifest.bytes()) != self.submission.commitment {
            return Err(mismatch("the content is not what the submission commits to").into());
        }
        let signed = self.check_signature(pipes, &container, directory, now)?;
        let found = inspection.found(&container, &self.preamble, directory)?;
        let envelope = self.check_envelope(&found)?;
        found.check(&envelope, &self.preamble, directory)?;
        let wrapped = secrets
            .wrap(pipes.storage.key(), &self.preamble.sender, self.preamble.envelope)
            .map_err(|error| Unread::Ours(failed("the document's key cannot be wrapped", &error)))?;
        let content = content(&self.preamble, wrapped, container, found, signed);
        Ok(Document { envelope: envelope.into_value(), content })
    }

    /// By the sender's service certificate, in force when the relay took the envelope, and not stopped since.
    fn check_signature(
        &self,
        pipes: &Pipes,
        container: &OpenedContainer,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Signed, Unread> {
        let signature = verify_detached(&container.signature, container.manifest.bytes(), &[])
            .map_err(|error| invalid(format!("the container's signature: {}", chain(&error))))?;
        let (sender, certificate) = (&self.preamble.sender, &signature.certificate);
        let refused = |detail: String| refuse(Reason::CertificateRefused, detail);
        let Some(binding) = directory.binding_of(sender, &certificate.sha256()) else {
            let needed = self.submission.directory.version;
            if needed > directory.version() && now < self.preamble.expires {
                let what = format!(
                    "the sender relies on directory version {needed}, here is {}; it is fetched",
                    directory.version()
                );
                return Err(Unread::Ours(PipelineError::Failed { what, key_away: false }));
            }
            return Err(
                refused(format!("{} signed, whose certificate is not one of {sender}", certificate.subject())).into()
            );
        };
        let at = self.accepted_at.min(now);
        let stopped = binding.status_since.is_some_and(|since| since <= now);
        if stopped || !binding.serves(KeyUse::Service, at) {
            let subject = certificate.subject();
            return Err(
                refused(format!("the certificate of {subject} did not serve {sender} for signing at {at}")).into()
            );
        }
        // Without a time-stamp nobody can tell a signature made before a revocation from one made after (I11).
        match validate_settled(&pipes.trust(), certificate, &signature.others, CertificateUse::Service, at) {
            Ok(Verdict::Good) => Ok(Signed {
                verdict: "good",
                text: format!(
                    "{}: not revoked as of {at}, by {}; bound to {sender} in directory version {}",
                    certificate.subject(),
                    pipes.trust().sources(certificate).iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                    directory.version()
                ),
            }),
            Ok(Verdict::Unknown(why)) => Ok(Signed { verdict: "unknown", text: why.to_string() }),
            Ok(Verdict::Revoked { at, reason, subject }) => {
                Err(refused(format!("the certificate of {subject} is revoked since {at} ({})", reason.as_str())).into())
            }
            Err(error) => Err(refused(error.to_string()).into()),
        }
    }

    /// `envelope.json` repeats the preamble inside what is signed.
    fn check_envelope(&self, found: &Found) -> Result<Raw<EnvelopeJson>, Failure> {
        let envelope = Raw::<EnvelopeJson>::parse(found.envelope.clone())
            .map_err(|e| refuse(Reason::ContentRefused, e.to_string()))?;
        let preamble = &self.preamble;
        let agrees = [
            ("preamble", envelope.preamble == preamble.digest()),
            ("axis", envelope.axis == preamble.axis),
            ("envelope id", envelope.envelope == preamble.envelope),
            ("lane", envelope.lane == preamble.lane),
            ("level", envelope.level == preamble.level),
            ("kind", envelope.kind == preamble.kind),
            ("sender", envelope.sender == preamble.sender),
            ("recipients", envelope.recipients.iter().map(|to| &to.code).eq(&preamble.recipients)),
            ("superseded envelope", envelope.supersedes == preamble.supersedes),
        ];
        match agrees.into_iter().find(|(_, agrees)| !agrees) {
            Some((what, _)) => Err(mismatch(format!("{ENVELOPE_ENTRY} and preamble differ in the {what}"))),
            None => Ok(envelope),
        }
    }
}

fn store_failed(error: &io::Error) -> Unread {
    Unread::Ours(failed("the stored payload cannot be read", error))
}

/// Whose fault it is that the container was not read to its end.
fn container_failed(error: ContainerError, inspection: &Inspection) -> Unread {
    match error {
        ContainerError::Source(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<StreamError>()) {
            // The blob hashes to its name when it is taken, so this is how it was sent.
            Some(damage) => mismatch(damage.to_string()).into(),
            None => store_failed(&error),
        },
        ContainerError::Visitor(error) => {
            inspection.refusal().unwrap_or_else(|| refuse(Reason::ContentRefused, error.to_string())).into()
        }
        other => refuse(Reason::ContentRefused, chain(&other)).into(),
    }
}

/// Who signed, and what is known of the certificate.
struct Signed {
    verdict: &'static str,
    text: String,
}

/// An opened and checked document.
struct Document {
    envelope: EnvelopeJson,
    content: Content,
}

impl Document {
    /// The sender signed to whom it sealed: a key envelope passed on to another certificate is noticed.
    fn is_sealed_to(&self, code: &AgencyId, certificate: &Digest) -> Result<(), Failure> {
        let named = self.envelope.recipients.iter().find(|to| to.code == *code);
        if named.is_some_and(|to| to.certificate == *certificate) {
            return Ok(());
        }
        Err(mismatch(format!(
            "the sender signed another certificate of {code} than the one that opened the key envelope"
        )))
    }
}

fn content(preamble: &Preamble, wrapped: Vec<u8>, container: OpenedContainer, found: Found, signed: Signed) -> Content {
    let attachment = |attachment: &truc_proto::AttachmentDigest| Attachment {
        name: attachment.name.clone(),
        length: attachment.length,
        sha256: attachment.sha256.as_bytes().to_vec(),
    };
    let about = About {
        subject: found.subject,
        document_id: found.document_id,
        attachments: found.attachments.iter().map(attachment).collect(),
        container_length: container.length,
        warnings: found.warnings,
        change: found.change,
        particulars: found.particulars,
    };
    let envelope: EnvelopeId = preamble.envelope;
    let signature = if found.status.is_empty() { Vec::new() } else { container.signature };
    Content {
        sender: preamble.sender.to_string(),
        envelope: envelope.to_string(),
        wrapped,
        opening: OpeningParts { manifest: container.manifest.bytes().to_vec(), envelope: found.envelope, signature },
        about,
        verdict: signed.verdict.to_owned(),
        verdict_text: signed.text,
        status: found.status,
        index_keys: Vec::new(), // the core's
    }
}
