//! A packet from today's axis becomes a document of ours: read whole by our own reader, put into a container that nobody signs, and
//! kept sealed under a key that this node alone has. Nothing is claimed of it but that it came from there.

use std::io::Write as _;

use truc_evidence::Directory;
use truc_proto::{
    AgencyId, BusinessStatus, Digest, EnvelopeId, EnvelopeKind, ForeignCode, PACKET_ENTRY, Preamble, Priority, Raw,
    Reason, STATUS_ENTRY, Suite, TraceStamp, WireLevel,
    edxml::{Message, Organization, Parsed, ReadError},
};

use super::{
    Pipes,
    assembly::{Assembly, Labels, Unsigned},
    compose::{change_of, digest_of, foreign_targets, is_code, particulars_of, titles},
    error::{ComposeError, of_write},
    marks, pump,
    spool::Stored,
};
use crate::{
    pipeline::{Listed, Moment, PipelineError, Refusal},
    records::{Content, OpeningParts, TakenOver},
};

/// Stands before the code of a sender that the directory does not know and that has no form of ours.
const UNLISTED: &str = "Z00.";

/// See [`crate::pipeline::Pipeline::take_over`].
pub(super) fn take_over(
    pipes: &Pipes,
    packet: &mut Stored,
    listed: &Listed,
    directory: &Directory,
    moment: Moment,
) -> Result<TakenOver, PipelineError> {
    let parsed = read(packet)?;
    let Message::Document(document) = &parsed.message else {
        return Err(refused(Reason::ContentRefused, "it is a status packet that was listed as a document"));
    };
    if let Some(mark) = marks::secret_mark(&parsed.message) {
        let why = format!("{} says {:?}, and the ordinary lane carries no state secret", mark.field, mark.text);
        return Err(refused(Reason::LevelRefused, why));
    }
    let written = written_sender(&document.header.from, listed, directory)?;
    let (sender, mut warnings) = (sender_of(&written, directory), Vec::new());
    if sender.as_str() != written {
        warnings.push(format!("From is written {written:?}; shown as {sender}"));
    }
    let addressed = document.header.to.iter().filter_map(|to| to.organ_id.as_ref());
    if !addressed.into_iter().any(|code| is_code(code, &listed.to, directory)) {
        warnings.push(format!("today's axis gave it to {}, which its To does not name", listed.to));
    }
    let priority = document.header.other.priority.and_then(|number| u8::try_from(number).ok());
    let priority = priority.and_then(|number| Priority::try_from(number).ok()).unwrap_or(Priority::ORDINARY);
    let preamble = preamble(pipes, &sender, &listed.to, EnvelopeKind::Document, priority, moment)?;
    let (subject, document_id) = titles(&parsed.message);
    let change = change_of(&parsed.message);
    warnings.extend(foreign_targets(change.as_ref(), &sender, directory));
    let labels = Labels {
        subject,
        document_id,
        change,
        particulars: particulars_of(&parsed.message),
        warnings: parsed.warnings.iter().map(ToString::to_string).chain(warnings).collect(),
        ..Labels::default()
    };
    let attachments = parsed.attachments.iter().map(digest_of).collect();
    let trace = vec![TraceStamp { organ: listed.to.clone(), time: moment.now }];
    let sealed = seal(pipes, packet, preamble, attachments, trace, &labels)?;
    Ok(record(sealed, &sender, listed, written, Vec::new()))
}

/// See [`crate::pipeline::Pipeline::take_over_status`].
pub(super) fn take_over_status(
    pipes: &Pipes,
    status: BusinessStatus,
    listed: &Listed,
    moment: Moment,
) -> Result<TakenOver, PipelineError> {
    let sender = status.from.clone();
    let preamble = preamble(pipes, &sender, &listed.to, EnvelopeKind::Status, Priority::ORDINARY, moment)?;
    let labels = Labels { document_id: status.document_id.clone().unwrap_or_default(), ..Labels::default() };
    let status = Raw::write(status).map_err(|error| refused(Reason::Invalid, error.to_string()))?;
    let mut assembly = Assembly::start(pipes, preamble, Vec::new())?;
    assembly.entry(STATUS_ENTRY, "application/json", status.bytes())?;
    let sealed = assembly.finish_unsigned(Vec::new(), Vec::new(), &labels)?;
    Ok(record(sealed, &sender, listed, listed.from.clone(), status.bytes().to_vec()))
}

/// A preamble for ourselves: nobody there wrote one.
fn preamble(
    pipes: &Pipes,
    sender: &AgencyId,
    to: &AgencyId,
    kind: EnvelopeKind,
    priority: Priority,
    moment: Moment,
) -> Result<Raw<Preamble>, PipelineError> {
    Raw::write(Preamble {
        axis: pipes.axis.clone(),
        suite: Suite::S1,
        envelope: EnvelopeId::new(moment.now, moment.random),
        lane: pipes.lane,
        level: WireLevel::Ordinary,
        sender: sender.clone(),
        recipients: Vec::new(),
        legacy: vec![to.clone()],
        kind,
        priority,
        created: moment.now,
        expires: moment.now + pipes.ttl,
        supersedes: None,
    })
    .map_err(|error| refused(Reason::Invalid, error.to_string()))
}

fn record(sealed: Unsigned, sender: &AgencyId, listed: &Listed, from: String, status: Vec<u8>) -> TakenOver {
    let Unsigned { preamble, manifest, envelope, payload, wrapped, about, commitment } = sealed;
    TakenOver {
        preamble: preamble.bytes().to_vec(),
        payload,
        content: Content {
            sender: sender.to_string(),
            envelope: preamble.envelope.to_string(),
            wrapped,
            opening: OpeningParts { manifest, envelope, signature: Vec::new() },
            about,
            verdict: "unknown".to_owned(),
            verdict_text: crate::service::came_from_today(),
            status,
            index_keys: Vec::new(), // the core's
        },
        doc_id: listed.doc_id.clone(),
        from,
        to: listed.to.to_string(),
        commitment: commitment.as_bytes().to_vec(),
        at_ms: 0, // the core's
    }
}

/// Reads it to its end.
fn read(packet: &mut Stored) -> Result<Parsed, PipelineError> {
    let (written, parsed) = pump::joined(|writer| packet.write_to(writer), |reader| pump::parse(reader));
    match (parsed, written) {
        (Some(Ok(parsed)), Some(Ok(()))) => Ok(parsed),
        (Some(Err(ReadError::Source(error))), _) | (Some(Ok(_)), Some(Err(error))) => {
            Err(super::failed("the packet cannot be read back", &error))
        }
        (Some(Err(error)), _) => Err(refused(Reason::ContentRefused, crate::chain(&error))),
        (None, _) | (_, None) => Err(refused(Reason::ContentRefused, "the packet makes the reader fail")),
    }
}

fn seal(
    pipes: &Pipes,
    packet: &mut Stored,
    preamble: Raw<Preamble>,
    attachments: Vec<truc_proto::AttachmentDigest>,
    trace: Vec<TraceStamp>,
    labels: &Labels,
) -> Result<Unsigned, PipelineError> {
    let mut assembly = Assembly::start(pipes, preamble, Vec::new())?;
    let begun = assembly.container().begin_entry(PACKET_ENTRY, "application/xml", Some(packet.length()));
    begun.map_err(ComposeError::from)?;
    packet.write_to(assembly.container()).map_err(of_write)?;
    assembly.container().flush().map_err(of_write)?;
    assembly.container().end_entry().map_err(ComposeError::from)?;
    Ok(assembly.finish_unsigned(attachments, trace, labels)?)
}

/// The sender as the packet writes it, which must be the one that the axis lists.
fn written_sender(from: &Organization, listed: &Listed, directory: &Directory) -> Result<String, PipelineError> {
    let inside = from.organ_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let outside = listed.from.trim();
    let same = inside == outside || sender_of(&inside, directory) == sender_of(outside, directory);
    match (inside.is_empty(), outside.is_empty()) {
        (true, true) => Err(refused(Reason::Invalid, "neither the packet nor the axis says who sent it")),
        (true, false) => Ok(outside.to_owned()),
        (false, true) => Ok(inside),
        (false, false) if same => Ok(inside),
        (false, false) => {
            let why = format!("its From is {inside:?}, and today's axis says that {outside:?} sent it");
            Err(refused(Reason::NotEntitled, why))
        }
    }
}

/// Whether this is how [`sender_of`] names a sender that the directory does not know.
pub(crate) fn is_unlisted(code: &AgencyId) -> bool {
    code.as_str().starts_with(UNLISTED)
}

/// A sender's code among ours: as the directory knows it, as it is, or behind `Z00.`, what can be kept of it.
pub(crate) fn sender_of(written: &str, directory: &Directory) -> AgencyId {
    let known = written.parse::<ForeignCode>().ok().and_then(|code| directory.present_code(&code));
    known.unwrap_or_else(|| {
        let plain = written.to_uppercase();
        let groups = plain.split(|c: char| !c.is_ascii_alphanumeric()).filter(|group| !group.is_empty());
        let mut text = UNLISTED.to_owned() + &groups.collect::<Vec<_>>().join(".");
        text.truncate(35);
        let text = text.trim_end_matches('.');
        // Two that differ in what was left out keep apart by their hash.
        let hashed = || format!("{UNLISTED}{}", Digest::of(written.as_bytes()).to_string().to_uppercase());
        text.parse().unwrap_or_else(|_| {
            let hashed: String = hashed().chars().take(30).collect();
            hashed.parse().expect("upper-case hexadecimal digits behind Z00. are a code")
        })
    })
}

fn refused(reason: Reason, why: impl Into<String>) -> PipelineError {
    PipelineError::Refused(Box::new(Refusal::new(reason, why)))
}
