//! One envelope while it is made: recipients with their certificates, container, sealing, key envelopes; all in one pass.

use std::{io::Write, sync::Arc};

use prost::Message as _;
use truc_evidence::{CertificateLookupError, Directory, Freshness, ResolveError};
use truc_proto::{
    AgencyId, AttachmentDigest, Digest, DirectoryRef, ENVELOPE_ENTRY, EnvelopeJson, KeyManifest, KeyUse, Preamble, Raw,
    SealedTo, SealingAlgorithm as DirectoryAlgorithm, Suite, Timestamp, TraceStamp,
    limits::{RECORD_BYTES_MAX, STATEMENT_BYTES_MAX},
};
use truc_signer::{
    Certificate, CertificateUse, PdfSignError, PdfSignature, SealingAlgorithm, SignError, SigningKey, Verdict,
    asic::{ContainerWriter, WrittenContainer, content_commitment},
    seal_key, sign_detached, sign_pdf,
    stream::{StreamSealer, StreamSummary},
    validate,
};
use zeroize::Zeroize as _;

use super::{Pipes, error::ComposeError, keys::ServiceKey, payload::PayloadSink, secrets::Secrets, takeover};
use crate::{
    core::Sealed,
    records::{About, Attachment, Change, KeyEnvelope, OpeningParts, Outgoing, Particulars, Payload},
};

/// A recipient, and what its copy of the key is sealed to.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    pub(super) code: AgencyId,
    /// None: the one it had is revoked or suspended, and there is no other yet.
    key: Option<(Certificate, SealingAlgorithm)>,
}

/// Recipients ready to be sealed to; sorted, each once.
#[derive(Debug)]
pub(super) struct Addressed {
    pub(super) recipients: Vec<Recipient>,
    /// Reached through today's axis: nothing is sealed to them. Sorted.
    pub(super) legacy: Vec<AgencyId>,
    pub(super) warnings: Vec<String>,
}

impl Addressed {
    /// Whether all can be sealed to now.
    pub(super) fn ready(&self) -> Result<(), ComposeError> {
        waits_for(&self.recipients).map_or(Ok(()), Err)
    }
}

impl Pipes {
    /// Finds every recipient in the directory, with a certificate in force that is believed, for content that was sealed when `sealed` says; a
    /// status or not. What was sealed before a code closed may be addressed to it still: the relay decides who opens it.
    pub(super) fn address(
        &self,
        sender: &AgencyId,
        codes: impl IntoIterator<Item = AgencyId>,
        directory: &Directory,
        sealed: (Timestamp, bool),
        now: Timestamp,
    ) -> Result<Addressed, ComposeError> {
        let mut codes: Vec<AgencyId> = codes.into_iter().collect();
        codes.sort();
        codes.dedup();
        let mut addressed =
            Addressed { recipients: Vec::with_capacity(codes.len()), legacy: Vec::new(), warnings: Vec::new() };
        let trust = self.trust();
        // All codes first: the asker hears of a wrong code before of anybody's certificate.
        let mut native = Vec::with_capacity(codes.len());
        for code in codes {
            match directory.resolve_sealed(&code, sealed.0, sealed.1, now) {
                Ok(_) => native.push(code),
                Err(ResolveError::Legacy { .. }) if self.passes_on_for(sender) => addressed.legacy.push(code),
                Err(ResolveError::Closed { closed, .. }) if sealed.0 < closed => native.push(code),
                // The answer to what came from there goes back there.
                Err(ResolveError::Unknown { .. })
                    if sealed.1 && takeover::is_unlisted(&code) && self.passes_on_for(sender) =>
                {
                    addressed.legacy.push(code);
                }
                Err(error) => return Err(error.into()),
            }
        }
        for code in native {
            let no_sealing = |source| match source {
                CertificateLookupError::Unread { source, .. } => ComposeError::Directory(source),
                source => ComposeError::NoSealing { code: code.clone(), source },
            };
            if directory.is_taken_away(&code, KeyUse::Sealing, now) {
                addressed.recipients.push(Recipient { code, key: None });
                continue;
            }
            let binding = directory.binding(&code, KeyUse::Sealing, now).map_err(no_sealing)?;
            let certificate = directory.certificate(&code, KeyUse::Sealing, now).map_err(no_sealing)?;
            let algorithm = binding
                .algorithms()
                .map(|algorithm| algorithm_of(&algorithm))
                .find(|algorithm| Some(*algorithm) == SealingAlgorithm::for_certificate(&certificate));
            let Some(algorithm) = algorithm else {
                return Err(ComposeError::request(
                    truc_proto::Reason::CertificateRefused,
                    format!(
                        "the directory states no sealing algorithm that fits the certificate of {code}; its operator must correct the entry"
                    ),
                    format!(
                        "Danh bạ không ghi thuật toán phù hợp với chứng thư mã hóa của {code}; đơn vị vận hành trục phải sửa."
                    ),
                ));
            };
            match validate(&trust, &certificate, CertificateUse::Sealing, now) {
                Ok(Verdict::Good) => {}
                Ok(Verdict::Unknown(why)) => addressed.warnings.push(format!("{code}: {why}")),
                Ok(Verdict::Revoked { .. }) => {
                    addressed.recipients.push(Recipient { code, key: None });
                    continue;
                }
                Err(source) => return Err(ComposeError::SealingPath { code, source }),
            }
            addressed.recipients.push(Recipient { code, key: Some((certificate, algorithm)) });
        }
        let without: Vec<AgencyId> =
            addressed.recipients.iter().filter(|to| to.key.is_none()).map(|to| to.code.clone()).collect();
        // One who has lost his key keeps nobody else waiting.
        if !without.is_empty() && without.len() < addressed.recipients.len() + addressed.legacy.len() {
            return Err(ComposeError::SomeWithoutKey { codes: without });
        }
        let waits =
            |code: &AgencyId| format!("{code}: {}", ComposeError::TakenAway { code: code.clone(), what: "sealing" });
        addressed.warnings.extend(without.iter().map(waits));
        Ok(addressed)
    }

    /// The key that signs for `sender` now; a reason to hold when the directory is too old.
    pub(super) fn signer(
        &self,
        sender: &AgencyId,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Signer, ComposeError> {
        let code = || sender.clone();
        let reference = directory.reference(sender).ok_or_else(|| ComposeError::OwnCertificate { code: code() })?;
        let key = match self.keys().service(sender, directory, now) {
            ServiceKey::InForce(key) => {
                match validate(&self.trust(), key.certificate(), CertificateUse::Service, now) {
                    Ok(Verdict::Good | Verdict::Unknown(_)) => Some(key),
                    Ok(Verdict::Revoked { .. }) => None,
                    Err(source) => return Err(ComposeError::OwnPath { code: code(), source }),
                }
            }
            ServiceKey::TakenAway => None,
            ServiceKey::None => return Err(ComposeError::OwnCertificate { code: code() }),
        };
        let stale = match directory.freshness(now) {
            Freshness::Fresh | Freshness::Grace { .. } => None,
            Freshness::Stale { since } => Some(since),
        };
        Ok(Signer { code: code(), key, at: now, reference, stale })
    }
}

const fn algorithm_of(algorithm: &DirectoryAlgorithm) -> SealingAlgorithm {
    match algorithm {
        DirectoryAlgorithm::RsaOaepSha256 => SealingAlgorithm::RsaOaepSha256,
        DirectoryAlgorithm::EcdhP256 => SealingAlgorithm::EcdhP256,
    }
}

/// Who signs the container.
pub(super) struct Signer {
    code: AgencyId,
    /// None: it is revoked, suspended, or declared stolen or lost, and there is no other yet.
    key: Option<Arc<dyn SigningKey>>,
    at: Timestamp,
    reference: DirectoryRef,
    stale: Option<Timestamp>,
}

impl Signer {
    fn key(&self) -> Result<&dyn SigningKey, ComposeError> {
        self.key.as_deref().ok_or_else(|| ComposeError::TakenAway { code: self.code.clone(), what: "service" })
    }

    /// Whether it can sign now, as far as that is known before it is tried.
    pub(super) fn ready(&self) -> Result<(), ComposeError> {
        match self.stale {
            Some(since) => Err(ComposeError::DirectoryStale { since }),
            None => self.key().map(drop),
        }
    }

    /// A detached CMS.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, ComposeError> {
        match sign_detached(self.key()?, bytes, Some(self.at)) {
            Err(error @ SignError::Away { .. }) => Err(ComposeError::Away(error)),
            other => other.map_err(ComposeError::Sign),
        }
    }

    /// A PDF with a signature behind it.
    pub(super) fn sign_pdf(&self, pdf: &[u8], options: &PdfSignature<'_>) -> Result<Vec<u8>, ComposeError> {
        match sign_pdf(pdf, self.key()?, options, self.at) {
            Err(PdfSignError::Key(error @ SignError::Away { .. })) => Err(ComposeError::Away(error)),
            Err(PdfSignError::Key(error)) => Err(ComposeError::Sign(error)),
            other => other.map_err(|_| ComposeError::Record("the report cannot be signed")),
        }
    }
}

/// What a request adds to the sealed parts of its record.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    pub(super) subject: String,
    pub(super) document_id: String,
    pub(super) change: Option<Change>,
    pub(super) particulars: Option<Particulars>,
    pub(super) warnings: Vec<String>,
    pub(super) idempotency_key: String,
    pub(super) request_hash: Vec<u8>,
    pub(super) status: Vec<u8>,
}

/// A finished envelope.
pub(super) enum Finished {
    Sealed(Box<Sealed>),
    /// Everything but the signature, sealed under a key of its own, as a blob.
    Draft(Box<Draft>),
}

/// A container without signature, on the device.
pub(super) struct Draft {
    pub(super) preamble: Raw<Preamble>,
    pub(super) manifest: Vec<u8>,
    pub(super) payload: Payload,
    pub(super) wrapped: Vec<u8>,
    pub(super) about: About,
    pub(super) labels: Labels,
    pub(super) why: ComposeError,
}

/// A container that nobody signed, sealed under a key of this node alone.
pub(super) struct Unsigned {
    pub(super) preamble: Raw<Preamble>,
    pub(super) manifest: Vec<u8>,
    pub(super) envelope: Vec<u8>,
    pub(super) payload: Payload,
    pub(super) wrapped: Vec<u8>,
    pub(super) about: About,
    pub(super) commitment: Digest,
}

/// An envelope while it is made. Entries are written through [`Assembly::container`].
pub(super) struct Assembly<'p> {
    pipes: &'p Pipes,
    preamble: Raw<Preamble>,
    recipients: Vec<Recipient>,
    secrets: Secrets,
    container: ContainerWriter<StreamSealer<PayloadSink>>,
}

impl<'p> Assembly<'p> {
    /// Starts container and sealing.
    pub(super) fn start(
        pipes: &'p Pipes,
        preamble: Raw<Preamble>,
        recipients: Vec<Recipient>,
    ) -> Result<Self, ComposeError> {
        let secrets = Secrets::generate()?;
        let sink = PayloadSink::new(Arc::clone(&pipes.blobs));
        let sealer = StreamSealer::new(&secrets.file_key, secrets.params, preamble.digest(), sink);
        let container = ContainerWriter::new(sealer)?;
        Ok(Self { pipes, preamble, recipients, secrets, container })
    }

    /// Where entries go.
    pub(super) const fn container(&mut self) -> &mut ContainerWriter<StreamSealer<PayloadSink>> {
        &mut self.container
    }

    /// One entry, whole.
    pub(super) fn entry(&mut self, name: &str, media_type: &str, bytes: &[u8]) -> Result<(), ComposeError> {
        self.container.begin_entry(name, media_type, None)?;
        self.container.write_all(bytes).map_err(super::error::of_write)?;
        self.container.end_entry()?;
        Ok(())
    }

    /// Writes `envelope.json`, signs, ends the sealing, seals the keys. With a key away, here or the recipient's, or the directory too old, what there
    /// is becomes a draft.
    pub(super) fn finish(
        mut self,
        attachments: Vec<AttachmentDigest>,
        trace: Vec<TraceStamp>,
        labels: Labels,
        signer: &Signer,
    ) -> Result<Finished, ComposeError> {
        let about = about(&labels, &attachments);
        let envelope = self.envelope_json(attachments, trace)?;
        self.entry(ENVELOPE_ENTRY, "application/json", envelope.bytes())?;
        let Self { pipes, preamble, recipients, secrets, container } = self;

        let mut held = signer.ready().err().or_else(|| waits_for(&recipients));
        let mut signature = Vec::new();
        let written = container.finish(|manifest| {
            sign_or_hold(manifest, signer, &mut held).inspect(|cms| {
                if !labels.status.is_empty() {
                    signature.clone_from(cms);
                }
            })
        })?;
        let WrittenContainer { sink, manifest, length, digest, .. } = written;
        let (sink, sealed) = sink.finish().map_err(ComposeError::Store)?;
        let payload = sink.finish(sealed.sealed_digest, held.is_some()).map_err(ComposeError::Store)?;
        let wrapped = secrets.wrap(pipes.storage.key(), &preamble.sender, preamble.envelope)?;
        let about = About { container_length: length, ..about };
        if let Some(why) = held {
            let draft = Draft { preamble, manifest, payload, wrapped, about, labels, why };
            return Ok(Finished::Draft(Box::new(draft)));
        }
        let key_envelopes = key_envelopes(&recipients, &preamble, &secrets, &sealed, digest)?;
        let commitment = content_commitment(&secrets.salt, &manifest);
        let outgoing = Outgoing {
            preamble: preamble.bytes().to_vec(),
            key_envelopes,
            payload,
            wrapped,
            about,
            idempotency_key: labels.idempotency_key,
            request_hash: labels.request_hash,
            status: labels.status,
            opening: Some(OpeningParts { manifest, envelope: envelope.bytes().to_vec(), signature }),
            index_keys: Vec::new(), // the core's
            held: None,             // likewise
            continues: String::new(),
        };
        if outgoing.encoded_len() + STATEMENT_BYTES_MAX > RECORD_BYTES_MAX {
            return Err(ComposeError::RecordTooLarge);
        }
        let sealed = Sealed { outgoing, commitment, directory: signer.reference.clone() };
        Ok(Finished::Sealed(Box::new(sealed)))
    }

    /// Writes `envelope.json` and ends the sealing, without a signature: for what came from where there is none.
    pub(super) fn finish_unsigned(
        mut self,
        attachments: Vec<AttachmentDigest>,
        trace: Vec<TraceStamp>,
        labels: &Labels,
    ) -> Result<Unsigned, ComposeError> {
        let about = about(labels, &attachments);
        let envelope = self.envelope_json(attachments, trace)?;
        self.entry(ENVELOPE_ENTRY, "application/json", envelope.bytes())?;
        let Self { pipes, preamble, secrets, container, .. } = self;
        let WrittenContainer { sink, manifest, length, .. } = container.finish(|_| Ok(Vec::new()))?;
        let (sink, sealed) = sink.finish().map_err(ComposeError::Store)?;
        let payload = sink.finish(sealed.sealed_digest, false).map_err(ComposeError::Store)?;
        let wrapped = secrets.wrap(pipes.storage.key(), &preamble.sender, preamble.envelope)?;
        let commitment = content_commitment(&secrets.salt, &manifest);
        let (about, envelope) = (About { container_length: length, ..about }, envelope.bytes().to_vec());
        Ok(Unsigned { preamble, manifest, envelope, payload, wrapped, about, commitment })
    }

    fn envelope_json(
        &self,
        attachments: Vec<AttachmentDigest>,
        trace: Vec<TraceStamp>,
    ) -> Result<Raw<EnvelopeJson>, ComposeError> {
        let preamble = &self.preamble;
        let sealed_to = |recipient: &Recipient| {
            let (certificate, _) = recipient.key.as_ref()?;
            Some(SealedTo { code: recipient.code.clone(), certificate: certificate.sha256() })
        };
        Ok(Raw::write(EnvelopeJson {
            preamble: preamble.digest(),
            axis: preamble.axis.clone(),
            envelope: preamble.envelope,
            lane: preamble.lane,
            level: preamble.level,
            kind: preamble.kind,
            sender: preamble.sender.clone(),
            recipients: self.recipients.iter().filter_map(sealed_to).collect(),
            supersedes: preamble.supersedes.clone(),
            trace,
            attachments,
        })?)
    }
}

fn waits_for(recipients: &[Recipient]) -> Option<ComposeError> {
    let without = recipients.iter().find(|recipient| recipient.key.is_none())?;
    Some(ComposeError::TakenAway { code: without.code.clone(), what: "sealing" })
}

/// The signature; nothing in its place when the content is to be held.
fn sign_or_hold(manifest: &[u8], signer: &Signer, held: &mut Option<ComposeError>) -> Result<Vec<u8>, SignError> {
    let (None, Some(key)) = (&held, &signer.key) else { return Ok(Vec::new()) };
    match sign_detached(&**key, manifest, Some(signer.at)) {
        Err(error @ SignError::Away { .. }) => {
            *held = Some(ComposeError::Away(error));
            Ok(Vec::new())
        }
        other => other,
    }
}

fn key_envelopes(
    recipients: &[Recipient],
    preamble: &Raw<Preamble>,
    secrets: &Secrets,
    sealed: &StreamSummary,
    container: Digest,
) -> Result<Vec<KeyEnvelope>, ComposeError> {
    let mut envelopes = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        let Some((certificate, algorithm)) = &recipient.key else {
            return Err(ComposeError::TakenAway { code: recipient.code.clone(), what: "sealing" });
        };
        let manifest = Raw::write(KeyManifest {
            recipient: recipient.code.clone(),
            suite: Suite::S1,
            preamble: preamble.digest(),
            file_key: *secrets.file_key.expose(),
            prefix: *secrets.params.prefix(),
            chunk_bytes: u32::try_from(secrets.params.chunk_bytes()).expect("a chunk has at most a mebibyte"),
            length: sealed.plain_len,
            container,
            salt: secrets.salt.0,
        })?;
        let cms = seal_key(manifest.bytes(), certificate, *algorithm);
        wipe(manifest);
        let cms = cms.map_err(|source| ComposeError::Seal { code: recipient.code.clone(), source })?;
        envelopes.push(KeyEnvelope { recipient: recipient.code.to_string(), cms });
    }
    Ok(envelopes)
}

/// The text form of a key manifest holds the file key.
fn wipe(manifest: Raw<KeyManifest>) {
    let bytes = manifest.bytes().clone();
    drop(manifest);
    if let Ok(mut bytes) = bytes.try_into_mut() {
        bytes.as_mut().zeroize();
    }
}

fn about(labels: &Labels, attachments: &[AttachmentDigest]) -> About {
    let attachment = |attachment: &AttachmentDigest| Attachment {
        name: attachment.name.clone(),
        length: attachment.length,
        sha256: attachment.sha256.as_bytes().to_vec(),
    };
    About {
        subject: labels.subject.clone(),
        document_id: labels.document_id.clone(),
        attachments: attachments.iter().map(attachment).collect(),
        container_length: 0,
        warnings: labels.warnings.clone(),
        change: labels.change.clone(),
        particulars: labels.particulars.clone(),
    }
}
