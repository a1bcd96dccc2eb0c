//! From a document system's request to a sealed envelope, in one pass and constant memory.
//!
//! A packet's bytes go into the container unchanged while they are being read for what they say; until the header is known they
//! are spooled. Fields and files become a header that the node writes, and the files beside it.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::{self, Read, Write as _},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use truc_evidence::Directory;
use truc_proto::{
    AgencyId, AttachmentDigest, BusinessStatus, DOCUMENT_ENTRY, Digest, EnvelopeId, EnvelopeKind, ForeignCode,
    PACKET_ENTRY, Preamble, Priority, Raw, Reason, STATUS_ENTRY, Suite, Supersedes, Timestamp, TraceStamp, WireLevel,
    edxml::{
        self, Attachment, AttachmentSink, AttachmentStart, Business, BusinessDocumentInfo, BusinessKind, Date, Dated,
        DocumentId, FieldLengths, IssueError, IssueProblem, Message, MessageHeader, Organization, OtherInfo, Packet,
        Parsed, ReadError, Receiver, ReplacementInfo, SignerInfo, TraceHeaderList,
    },
    limits::{CHANGE_TARGETS_MAX, PARTICULAR_CHARS_MAX, RECIPIENTS_MAX},
    node_v1,
    node_v1::send_header::Form,
};

use super::{
    Pipes,
    assembly::{Addressed, Assembly, Finished, Labels, Signer},
    error::{ComposeError, of_write},
    files::files,
    marks, repack,
    request::{Request, header_hash},
    spool::Spool,
};
use crate::{
    pipeline::{Changing, Composed, Moment, Part, Parts, Resolved, Target},
    records::{Change, ChangeReceiver, Particulars},
};

const XML: &str = "application/xml";

/// See [`crate::pipeline::Pipeline::compose`].
pub(super) fn compose(
    pipes: &Pipes,
    header: node_v1::SendHeader,
    resolved: &Resolved,
    parts: &mut dyn Parts,
    directory: &Directory,
    moment: Moment,
) -> Result<Composed, ComposeError> {
    let request = Request::read(pipes, header, &resolved.grouped)?;
    let signer = pipes.signer(&request.sender, directory, moment.now)?;
    let run = Run { pipes, request: &request, resolved, directory, moment, signer: &signer };
    let finished = match &request.header.form {
        Some(Form::Packet(form)) => run.packet(form.length, parts)?,
        Some(Form::Document(form)) => run.document(form, parts)?,
        None => {
            return Err(ComposeError::request(
                Reason::Invalid,
                "the request names neither a packet nor fields and files; name one",
                "Yêu cầu không cho biết là gói tin hay văn bản kèm tệp; phải chọn một.",
            ));
        }
    };
    composed(finished)
}

/// See [`crate::pipeline::Pipeline::compose_status`].
pub(super) fn compose_status(
    pipes: &Pipes,
    status: BusinessStatus,
    level: WireLevel,
    idempotency_key: &str,
    request_hash: Digest,
    directory: &Directory,
    moment: Moment,
) -> Result<Composed, ComposeError> {
    let signer = pipes.signer(&status.from, directory, moment.now)?;
    let addressed = pipes.address(&status.from, [status.to.clone()], directory, (moment.now, true), moment.now)?;
    let sender = status.from.clone();
    let labels = Labels {
        document_id: status.document_id.clone().unwrap_or_default(),
        warnings: addressed.warnings.clone(),
        idempotency_key: idempotency_key.to_owned(),
        request_hash: request_hash.as_bytes().to_vec(),
        ..Labels::default()
    };
    let status = Raw::write(status)?;
    let shape =
        Shape { kind: EnvelopeKind::Status, level, priority: Priority::ORDINARY, ttl: pipes.ttl, supersedes: None };
    let preamble = preamble(pipes, &sender, &addressed, shape, moment)?;
    let mut assembly = Assembly::start(pipes, preamble, addressed.recipients)?;
    assembly.entry(STATUS_ENTRY, "application/json", status.bytes())?;
    let labels = Labels { status: status.bytes().to_vec(), ..labels };
    composed(assembly.finish(Vec::new(), trace(&sender, moment.now), labels, &signer)?)
}

fn composed(finished: Finished) -> Result<Composed, ComposeError> {
    match finished {
        Finished::Sealed(sealed) => Ok(Composed::Sealed(sealed)),
        Finished::Draft(draft) => Ok(Composed::Held(Box::new(repack::hold(*draft)))),
    }
}

/// What a preamble needs besides its addresses.
pub(super) struct Shape {
    pub(super) kind: EnvelopeKind,
    pub(super) level: WireLevel,
    pub(super) priority: Priority,
    pub(super) ttl: Duration,
    pub(super) supersedes: Option<Supersedes>,
}

pub(super) fn preamble(
    pipes: &Pipes,
    sender: &AgencyId,
    addressed: &Addressed,
    shape: Shape,
    moment: Moment,
) -> Result<Raw<Preamble>, ComposeError> {
    Ok(Raw::write(Preamble {
        axis: pipes.axis.clone(),
        suite: Suite::S1,
        envelope: EnvelopeId::new(moment.now, moment.random),
        lane: pipes.lane,
        level: shape.level,
        sender: sender.clone(),
        recipients: addressed.recipients.iter().map(|recipient| recipient.code.clone()).collect(),
        legacy: addressed.legacy.clone(),
        kind: shape.kind,
        priority: shape.priority,
        created: moment.now,
        expires: moment.now + shape.ttl,
        supersedes: shape.supersedes,
    })?)
}

fn trace(sender: &AgencyId, now: Timestamp) -> Vec<TraceStamp> {
    vec![TraceStamp { organ: sender.clone(), time: now }]
}

/// One request under way.
struct Run<'p, 'r> {
    pipes: &'p Pipes,
    request: &'r Request,
    resolved: &'r Resolved,
    directory: &'r Directory,
    moment: Moment,
    signer: &'r Signer,
}

impl<'p> Run<'p, '_> {
    fn packet(&self, declared: u64, parts: &mut dyn Parts) -> Result<Finished, ComposeError> {
        let lengths = FieldLengths::default();
        let intake = RefCell::new(Intake {
            run: self,
            declared: (declared > 0).then_some(declared),
            stage: Stage::Before(Box::new(Spool::new(&self.pipes.spool))),
            warnings: Vec::new(),
            failure: None,
        });
        let mut tee = Tee { parts, piece: Bytes::new(), intake: &intake, length: 0 };
        let read = edxml::read_with(&mut tee, &mut HeaderSink(&intake), &lengths);
        // Nothing should be left behind the root element but white space, which the reader has seen; the bytes are kept whole anyway.
        let drained = if read.is_ok() { io::copy(&mut tee, &mut io::sink()) } else { Ok(0) };
        let length = tee.length;
        let Intake { stage, warnings, failure, .. } = intake.into_inner();
        if let Some(failure) = failure {
            return Err(failure);
        }
        let parsed = read.map_err(|error| match error {
            ReadError::Source(error) => ComposeError::Source(error),
            other => ComposeError::Packet(other),
        })?;
        drained.map_err(ComposeError::Source)?;
        let Stage::After(mut assembly) = stage else {
            return Err(ComposeError::Record("a packet was read without a header"));
        };
        if declared > 0 && declared != length {
            return Err(other_length("packet", declared, length));
        }
        let entry = assembly.container().end_entry()?;
        let issue = issue_warnings(&parsed, &lengths)?;
        let (subject, document_id) = titles(&parsed.message);
        let change = change_of(&parsed.message);
        let foreign = foreign_targets(change.as_ref(), &self.request.sender, self.directory);
        let read = parsed.warnings.iter().map(ToString::to_string);
        let packet = AttachmentDigest { name: PACKET_ENTRY.to_owned(), length: entry.length, sha256: entry.digest };
        let labels = Labels {
            subject,
            document_id,
            warnings: read.chain(issue).chain(warnings).chain(foreign).collect(),
            change,
            particulars: particulars_of(&parsed.message),
            idempotency_key: self.request.header.idempotency_key.clone(),
            request_hash: self.request.hash([packet]).as_bytes().to_vec(),
            status: Vec::new(),
        };
        let attachments = parsed.attachments.iter().map(digest_of).collect();
        assembly.finish(attachments, trace(&self.request.sender, self.moment.now), labels, self.signer)
    }

    fn document(&self, form: &node_v1::DocumentForm, parts: &mut dyn Parts) -> Result<Finished, ComposeError> {
        if self.request.recipients.is_empty() {
            return Err(no_recipient());
        }
        let addressed = self.address(self.request.recipients.clone())?;
        let priority = self.request.priority.unwrap_or(Priority::ORDINARY);
        let message = Message::Document(Box::new(self.header(form, priority)));
        self.check_marks(&message)?;
        let mut header = Vec::new();
        edxml::write_packet(&message, &mut [], &FieldLengths::default(), &mut header).map_err(ComposeError::Header)?;
        let warnings = addressed.warnings.iter().cloned().chain(self.unknown_targets()).collect();
        let mut assembly = self.start(addressed, priority)?;
        assembly.entry(DOCUMENT_ENTRY, XML, &header)?;
        let attachments = files(&mut assembly, &message, parts)?;
        let (subject, document_id) = titles(&message);
        let labels = Labels {
            subject,
            document_id,
            change: change_of(&message),
            particulars: particulars_of(&message),
            warnings,
            idempotency_key: self.request.header.idempotency_key.clone(),
            request_hash: self.request.hash(attachments.iter().cloned()).as_bytes().to_vec(),
            status: Vec::new(),
        };
        assembly.finish(attachments, trace(&self.request.sender, self.moment.now), labels, self.signer)
    }

    /// No code takes it that had closed when it was first asked for; asked again, it is what it was.
    fn address(&self, codes: Vec<AgencyId>) -> Result<Addressed, ComposeError> {
        self.pipes.address(&self.request.sender, codes, self.directory, (self.moment.asked, false), self.moment.now)
    }

    fn start(&self, addressed: Addressed, priority: Priority) -> Result<Assembly<'p>, ComposeError> {
        let Request { sender, level, ttl, .. } = self.request;
        let shape = Shape { kind: EnvelopeKind::Document, level: *level, priority, ttl: *ttl, supersedes: None };
        let preamble = preamble(self.pipes, sender, &addressed, shape, self.moment)?;
        Assembly::start(self.pipes, preamble, addressed.recipients)
    }

    /// The header of a document given by fields.
    fn header(&self, form: &node_v1::DocumentForm, priority: Priority) -> Packet {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let organization = |code: &AgencyId| Organization {
            organ_id: Some(ForeignCode::from(code.clone())),
            organ_name: self.directory.agency(code).map(|agency| agency.name().to_owned()),
            ..Organization::default()
        };
        let date = given(&form.promulgation_date).map(|date| Dated::<Date>::read(&date));
        let (number, notation) = (given(&form.code_number), given(&form.code_notation));
        let composed = || {
            let date = date.as_ref()?.value?;
            Some(DocumentId::compose(&self.request.sender, date, number.as_deref()?, notation.as_deref()?))
        };
        let document_id = given(&form.document_id).or_else(composed);
        let header = MessageHeader {
            from: organization(&self.request.sender),
            to: self.request.recipients.iter().map(organization).collect(),
            document_id,
            code_number: number,
            code_notation: notation,
            place: given(&form.place),
            promulgation_date: date,
            type_name: given(&form.type_name),
            subject: given(&form.subject),
            content: given(&form.content),
            signer: SignerInfo {
                position: given(&form.signer_position),
                full_name: given(&form.signer_name),
                ..SignerInfo::default()
            },
            other: OtherInfo { priority: Some(i32::from(priority.value())), ..OtherInfo::default() },
            ..MessageHeader::default()
        };
        let business = self.business();
        let trace = TraceHeaderList { business: Some(business), ..TraceHeaderList::default() };
        Packet { header, trace, ..Packet::default() }
    }

    /// What it does to earlier documents, where the reader looks for it.
    fn business(&self) -> Business {
        let Some(Changing { kind, targets, reason }) = &self.resolved.change else {
            return Business { doc_type: Some(BusinessKind::New.number()), ..Business::default() };
        };
        let recipients = &self.request.recipients;
        let business = Business { doc_type: Some(kind.number()), reason: Some(reason.clone()), ..Business::default() };
        if *kind == BusinessKind::Replace {
            // Replaced for those whom this one goes to.
            let for_them: Vec<ForeignCode> = recipients.iter().cloned().map(ForeignCode::from).collect();
            let replaced = |target: &Target| ReplacementInfo {
                document_id: Some(target.document_id.clone()),
                organ_ids: for_them.clone(),
            };
            return Business { replacements: targets.iter().map(replaced).collect(), ..business };
        }
        let target = targets.first();
        let before = target.and_then(|target| target.recipients.as_ref());
        let added = recipients.iter().filter(|code| before.is_some_and(|before| !before.contains(code)));
        let receivers: Vec<Receiver> = added
            .map(|code| Receiver { organ_id: Some(code.clone().into()), receiver_type: Some("1".into()) })
            .collect();
        let info = BusinessDocumentInfo {
            document_info: Some("1".into()),
            document_receiver: Some(if receivers.is_empty() { "0" } else { "1" }.into()),
            receivers,
        };
        let document_id = target.map(|target| target.document_id.clone());
        Business { document_id, document_infos: vec![info], ..business }
    }

    /// A warning for each earlier document that this node does not know.
    fn unknown_targets(&self) -> impl Iterator<Item = String> {
        let targets = self.resolved.change.iter().flat_map(|change| &change.targets);
        targets.filter(|target| target.recipients.is_none()).map(|target| not_known(&target.document_id))
    }

    /// The ordinary node refuses what is marked secret by field (docs/ARCHITECTURE.md, I10).
    fn check_marks(&self, message: &Message) -> Result<(), ComposeError> {
        let (truc_proto::Lane::Ordinary, Some(mark)) = (self.pipes.lane, marks::secret_mark(message)) else {
            return Ok(());
        };
        let what = format!(
            "{} of the document says {:?}, and the ordinary lane carries no state secret; send it from the classified node, or correct the field",
            mark.field, mark.text
        );
        Err(ComposeError::Level { what, request: header_hash(&self.request.header) })
    }

    /// Everything that a packet's header decides.
    fn open(&self, message: &Message, warnings: &mut Vec<String>) -> Result<Assembly<'p>, ComposeError> {
        let Message::Document(packet) = message else {
            return Err(ComposeError::request(
                Reason::Invalid,
                "this is a status packet; set statuses on the document itself",
                "Đây là gói trạng thái; hãy cập nhật trạng thái trên chính văn bản.",
            ));
        };
        self.check_from(&packet.header.from)?;
        self.check_marks(message)?;
        let codes = if self.request.recipients.is_empty() {
            self.recipients_of(packet, warnings)?
        } else {
            self.request.recipients.clone()
        };
        let addressed = self.address(codes)?;
        warnings.extend(addressed.warnings.iter().cloned());
        let priority = self.request.priority.unwrap_or_else(|| {
            let number = packet.header.other.priority.and_then(|number| u8::try_from(number).ok());
            number.and_then(|number| Priority::try_from(number).ok()).unwrap_or(Priority::ORDINARY)
        });
        self.start(addressed, priority)
    }

    fn check_from(&self, from: &Organization) -> Result<(), ComposeError> {
        let sender = &self.request.sender;
        if from.organ_id.as_ref().is_some_and(|code| is_code(code, sender, self.directory)) {
            return Ok(());
        }
        let written = from.organ_id.as_ref().map_or_else(String::new, ToString::to_string);
        Err(ComposeError::request(
            Reason::NotEntitled,
            format!(
                "the packet's From is {written:?} and it is sent as {sender}; a packet is never changed: correct it where it was made"
            ),
            format!(
                "Gói tin ghi nơi gửi {written:?} nhưng được gửi với mã {sender}; gói tin không bị sửa, hãy tạo lại cho đúng."
            ),
        ))
    }

    fn recipients_of(&self, packet: &Packet, warnings: &mut Vec<String>) -> Result<Vec<AgencyId>, ComposeError> {
        let mut codes = BTreeSet::new();
        for to in &packet.header.to {
            let Some(written) = &to.organ_id else { continue };
            let code = match self.directory.agency_by_any_code(written) {
                Some(agency) => agency.code.clone(),
                None => written.as_agency().ok_or_else(|| self.unknown(written))?,
            };
            if code == self.request.sender {
                warnings.push(format!("To names {code}, which sends; nothing is sent to it"));
            } else {
                codes.insert(code);
            }
        }
        if codes.is_empty() {
            return Err(no_recipient());
        }
        Ok(codes.into_iter().collect())
    }

    fn unknown(&self, written: &ForeignCode) -> ComposeError {
        ComposeError::UnknownForeign {
            code: written.clone(),
            nearest: self.directory.nearest_codes(written, self.moment.now),
        }
    }
}

/// Said of a document that is named and not known here.
fn not_known(document_id: &str) -> String {
    format!(
        "{document_id} is not known to this node: it may have been sent before the node existed; check its number / Nút này không biết văn bản {document_id}: có thể đã gửi trước khi có nút; hãy kiểm tra lại số, ký hiệu"
    )
}

fn no_recipient() -> ComposeError {
    ComposeError::request(
        Reason::Invalid,
        "the document names no recipient; name at least one agency",
        "Văn bản không ghi nơi nhận; hãy ghi ít nhất một cơ quan.",
    )
}

pub(super) fn other_length(what: &str, declared: u64, found: u64) -> ComposeError {
    ComposeError::request(
        Reason::Invalid,
        format!("the {what} was to have {declared} bytes, {found} came; send it again whole"),
        format!("Dữ liệu phải dài {declared} byte nhưng chỉ nhận {found} byte; hãy gửi lại đầy đủ."),
    )
}

/// Whether a code as written, in its present or an older form, is this one.
pub(crate) fn is_code(written: &ForeignCode, code: &AgencyId, directory: &Directory) -> bool {
    directory.agency_by_any_code(written).is_some_and(|agency| agency.code == *code)
        || written.as_agency().as_ref() == Some(code)
}

pub(super) fn titles(message: &Message) -> (String, String) {
    let Message::Document(packet) = message else { return (String::new(), String::new()) };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (text(&packet.header.subject), text(&packet.header.document_id))
}

/// What a document does to earlier ones. A revocation means its own DocumentId, unless it names another.
pub(super) fn change_of(message: &Message) -> Option<Change> {
    let Message::Document(packet) = message else { return None };
    let business = packet.trace.business.as_ref()?;
    let named = || business.document_id.clone();
    let (kind, document_ids): (u32, Vec<String>) = match business.kind()? {
        BusinessKind::New => return None,
        BusinessKind::Revoke => (1, named().or_else(|| packet.header.document_id.clone()).into_iter().collect()),
        BusinessKind::Update => (2, named().into_iter().collect()),
        BusinessKind::Replace => {
            let replaced = business.replacements.iter().filter_map(|replaced| replaced.document_id.clone());
            (3, replaced.take(CHANGE_TARGETS_MAX).collect())
        }
    };
    let reason = business.reason.clone().unwrap_or_default();
    Some(Change { kind, document_ids, reason, receivers: receivers_of(business) })
}

/// Whom a change is for: ReceiverList of an update, OrganIdList of a replacement; each code once.
fn receivers_of(business: &Business) -> Vec<ChangeReceiver> {
    let listed = business.document_infos.iter().flat_map(|info| &info.receivers).filter_map(|receiver| {
        let added = receiver.receiver_type.as_deref().map(str::trim).filter(|text| matches!(*text, "0" | "1"));
        Some((receiver.organ_id.as_ref()?, added.map(|text| text == "1")))
    });
    let replaced = business.replacements.iter().flat_map(|replaced| &replaced.organ_ids).map(|code| (code, None));
    let mut seen = BTreeSet::new();
    let once = listed.chain(replaced).filter(|(code, _)| seen.insert(code.as_str()));
    let receiver = |(code, added): (&ForeignCode, _)| ChangeReceiver { code: code.to_string(), added };
    once.take(RECIPIENTS_MAX).map(receiver).collect()
}

/// A warning for each document that a change names as another agency's.
pub(super) fn foreign_targets(change: Option<&Change>, sender: &AgencyId, directory: &Directory) -> Vec<String> {
    let named = change.into_iter().flat_map(|change| &change.document_ids);
    let foreign = named.filter(
        |id| matches!(DocumentId::read(id), DocumentId::Parts { organ, .. } if !is_code(&organ, sender, directory)),
    );
    let warning = |id: &String| {
        format!(
            "{id} is another agency's document, which {sender} can neither update nor replace nor revoke: nothing is changed / Văn bản {id} là của cơ quan khác, {sender} không được cập nhật, thay thế hay thu hồi: không có gì thay đổi"
        )
    };
    foreign.map(warning).collect()
}

/// What people ask for a document by, besides its subject.
pub(super) fn particulars_of(message: &Message) -> Option<Particulars> {
    let Message::Document(packet) = message else { return None };
    let bounded = |text: String| text.chars().take(PARTICULAR_CHARS_MAX).collect();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let header = &packet.header;
    let code = (text(&header.code_number), text(&header.code_notation));
    let number = match (code.0.is_empty(), code.1.is_empty()) {
        (false, false) => format!("{}/{}", code.0, code.1),
        _ => String::new(), // the DocumentId may say it
    };
    let date = header.promulgation_date.as_ref().and_then(|date| date.value);
    Some(Particulars {
        number: bounded(number),
        type_name: bounded(text(&header.type_name)),
        date: date.map(|date| date.to_string()).unwrap_or_default(),
    })
}

pub(super) fn digest_of(attachment: &Attachment) -> AttachmentDigest {
    AttachmentDigest { name: attachment.name.clone(), length: attachment.bytes, sha256: attachment.sha256 }
}

/// What may be received may not all be issued. Older forms of codes may: the packet's bytes are its system's, and the directory
/// knows whom they mean.
fn issue_warnings(parsed: &Parsed, lengths: &FieldLengths) -> Result<Vec<String>, ComposeError> {
    let Err(IssueError { problems }) = edxml::issue_check_received(parsed, lengths) else { return Ok(Vec::new()) };
    let (codes, refused): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|problem| matches!(problem, IssueProblem::Code { .. }));
    if refused.is_empty() {
        Ok(codes.iter().map(ToString::to_string).collect())
    } else {
        Err(IssueError { problems: refused }.into())
    }
}

/// A packet on its way into the container.
struct Intake<'i, 'p, 'r> {
    run: &'i Run<'p, 'r>,
    declared: Option<u64>,
    stage: Stage<'p>,
    warnings: Vec<String>,
    /// Why reading was stopped, where the reader only knows that it was.
    failure: Option<ComposeError>,
}

enum Stage<'p> {
    /// The header is not known yet.
    Before(Box<Spool>),
    After(Box<Assembly<'p>>),
}

impl Intake<'_, '_, '_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), ComposeError> {
        match &mut self.stage {
            Stage::Before(spool) => spool.push(bytes).map_err(ComposeError::Store),
            Stage::After(assembly) => assembly.container().write_all(bytes).map_err(of_write),
        }
    }

    fn header(&mut self, message: &Message) -> Result<(), ComposeError> {
        let mut assembly = self.run.open(message, &mut self.warnings)?;
        assembly.container().begin_entry(PACKET_ENTRY, XML, self.declared)?;
        let stage = std::mem::replace(&mut self.stage, Stage::After(Box::new(assembly)));
        if let (Stage::Before(spool), Stage::After(assembly)) = (stage, &mut self.stage) {
            spool.drain_to(assembly.container()).map_err(of_write)?;
        }
        Ok(())
    }

    fn note(&mut self, outcome: Result<(), ComposeError>) -> io::Result<()> {
        outcome.map_err(|failure| {
            self.failure.get_or_insert(failure);
            io::Error::other("the packet was not taken further")
        })
    }
}

/// Reads the parts, and lets every byte read go into the container.
struct Tee<'t, 'i, 'p, 'r> {
    parts: &'t mut dyn Parts,
    piece: Bytes,
    intake: &'t RefCell<Intake<'i, 'p, 'r>>,
    length: u64,
}

impl Read for Tee<'_, '_, '_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.parts.next()? {
                None => return Ok(0),
                Some(Part::Data(bytes)) => self.piece = bytes,
                Some(Part::File(_)) => {
                    let failure = ComposeError::request(
                        Reason::Invalid,
                        "a packet carries its files inside; none may follow it",
                        "Gói tin đã chứa tệp bên trong; không gửi kèm tệp riêng.",
                    );
                    self.intake.borrow_mut().note(Err(failure))?;
                }
            }
        }
        let count = self.piece.len().min(out.len());
        let (target, _) = out.split_at_mut(count);
        self.piece.copy_to_slice(target);
        let mut intake = self.intake.borrow_mut();
        let taken = intake.take(target);
        intake.note(taken)?;
        self.length += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }
}

/// Wants the header; the attachments themselves are in the packet's bytes already.
struct HeaderSink<'t, 'i, 'p, 'r>(&'t RefCell<Intake<'i, 'p, 'r>>);

impl AttachmentSink for HeaderSink<'_, '_, '_, '_> {
    fn header(&mut self, message: &Message) -> io::Result<()> {
        let mut intake = self.0.borrow_mut();
        let outcome = intake.header(message);
        intake.note(outcome)
    }
    fn begin(&mut self, _: &AttachmentStart) -> io::Result<()> {
        Ok(())
    }
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn finish(&mut self, _: &Attachment) -> io::Result<()> {
        Ok(())
    }
    fn reset(&mut self) -> io::Result<()> {
        Ok(())
    }
}
