//! Verifying a bundle, in one pass and in memory bounded by one receipt and its verdicts.

use std::{collections::BTreeMap, io::Read, time::Duration};

use truc_proto::{
    AgencyId, BUNDLE_ENTRY, BUNDLE_RECEIPTS, BundleJson, Raw, STATUS_ENTRY, STATUS_SIGNATURE, Timestamp, chain,
    is_bundled_answer,
    limits::{
        ASIC_SIGNATURE_BYTES_MAX, BUNDLE_ANSWERS_MAX, BUNDLE_ENTRIES_MAX, BUNDLE_MADE_MS_MAX, OCSP_BYTES_MAX,
        RECEIPT_BYTES_MAX, STATEMENT_BYTES_MAX, STATUS_BYTES_MAX,
    },
};
use truc_signer::{
    CertificateUse, CmsSignature, OcspAnswer, Verdict, WhyUnknown,
    asic::{ContainerError, ContainerReader, Entry, EntryHeader, Visitor, VisitorError},
    validate_with, verify_detached,
};

use super::{
    BundleCheck, Conclusion, StatusJudge, StatusReport, Together,
    agreement::disagreement,
    conclude,
    status::{JudgedStatus, place},
};
use crate::{
    BoundDigest, Document, Outcome, ReceiptReport, ReceiptSummary, ReceiptTrust, ReceiptVerdict, Step, directory::skew,
    verify::stamps::Stamps, verify_receipt,
};

/// Who put the bundle together, by its signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BundleSigner {
    /// Subject of the certificate.
    pub subject: String,
    /// When it signed, as it says.
    pub signed_at: Option<Timestamp>,
}

/// The verdict on a bundle with every step, every receipt, and what they prove together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BundleReport {
    /// Invalid when any check or receipt is; cannot tell when any cannot be told.
    pub verdict: ReceiptVerdict,
    /// The checks of the bundle itself, in order.
    pub steps: Vec<Step<BundleCheck>>,
    /// `bundle.json`, where it can be read.
    pub about: Option<BundleJson>,
    /// Who signed, where the signature holds.
    pub signer: Option<BundleSigner>,
    /// The receipts with their reports, in the bundle's order.
    pub receipts: Vec<(String, ReceiptReport)>,
    /// The business statuses with their reports, in the bundle's order.
    pub statuses: Vec<StatusReport>,
    /// Names and lengths of what else the signature covers.
    pub others: Vec<(String, u64)>,
    /// Per recipient, what the valid receipts prove.
    pub conclusions: Vec<Conclusion>,
}

/// Whether a file is to be read as a bundle: it begins as a ZIP does.
#[must_use]
pub fn is_bundle(first: &[u8]) -> bool {
    first.starts_with(b"PK\x03\x04")
}

/// The bytes of one receipt of a bundle that was verified, by its entry's name (`receipts/…`, `statuses/…`); none where it is not there.
///
/// # Errors
/// When the container cannot be read.
pub fn bundled_receipt(source: impl Read, name: &str) -> Result<Option<Vec<u8>>, ContainerError> {
    let mut one = One { wanted: name.to_owned(), taking: false, bytes: None };
    ContainerReader::new(source)?.with_entries_max(BUNDLE_ENTRIES_MAX).read(&mut one)?;
    Ok(one.bytes)
}

/// One entry of a container.
struct One {
    wanted: String,
    taking: bool,
    bytes: Option<Vec<u8>>,
}

impl Visitor for One {
    fn begin(&mut self, header: &EntryHeader) -> Result<(), VisitorError> {
        self.taking = header.name.as_str() == self.wanted;
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), VisitorError> {
        if self.taking {
            let kept = self.bytes.get_or_insert_default();
            if kept.len() + bytes.len() > RECEIPT_BYTES_MAX {
                return Err(format!("a receipt is longer than {RECEIPT_BYTES_MAX} bytes").into());
            }
            kept.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn end(&mut self, _: &Entry) -> Result<(), VisitorError> {
        Ok(())
    }
}

/// Verifies a bundle as of `now`, with the document if one is shown.
#[must_use]
pub fn verify_bundle(
    source: impl Read,
    trust: &ReceiptTrust,
    document: Option<&Document>,
    now: Timestamp,
) -> BundleReport {
    let trust = &trust.for_bundle(now);
    let mut found = Found {
        trust,
        document,
        now,
        current: Current::None,
        about: None,
        receipts: Vec::new(),
        status: None,
        statuses: Vec::new(),
        others: Vec::new(),
        answers: 0,
    };
    let read = ContainerReader::new(source)
        .map(|reader| reader.with_entries_max(BUNDLE_ENTRIES_MAX))
        .and_then(|reader| reader.read(&mut found));
    let opened = match read {
        Ok(opened) => opened,
        Err(error) => return no_bundle(&error),
    };
    let about = match found.about.take().map(Raw::<BundleJson>::parse) {
        Some(Ok(about)) => Ok(about.into_value()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(format!("there is no {BUNDLE_ENTRY}")),
    };
    let signature = verify_detached(&opened.signature, opened.manifest.bytes(), trust.store().intermediates());
    found.end_status();
    let statuses = std::mem::take(&mut found.statuses).into_iter();
    let statuses: Vec<_> = statuses.map(|judged| judged.about(about.as_ref().ok())).collect();
    let of_statuses = statuses.iter().flat_map(|status| &status.receipts);
    let all = || found.receipts.iter().chain(of_statuses.clone()).map(|(name, report)| (name.as_str(), report));
    let together = Together::of(all());
    let form = about.as_ref().map_or_else(|why| (Outcome::Failed, why.clone()), |_| (Outcome::Passed, String::new()));
    let signed = match &signature {
        Ok(_) => (Outcome::Passed, String::new()),
        Err(error) => (Outcome::Failed, chain(error)),
    };
    let steps = vec![
        step(BundleCheck::Form, form),
        step(BundleCheck::Signature, signed),
        step(
            BundleCheck::Signer,
            signature.as_ref().map_or((Outcome::NotReached, String::new()), |cms| {
                signer(cms, cms.signing_time.unwrap_or(cms.certificate.not_before()), trust, now)
            }),
        ),
        step(
            BundleCheck::Maker,
            match (&about, &signature) {
                (Ok(about), Ok(cms)) => maker(about, cms, all(), trust, now),
                _ => (Outcome::NotReached, String::new()),
            },
        ),
        step(BundleCheck::OneDocument, one_document(about.as_ref().ok(), &found.receipts)),
        step(BundleCheck::NoFork, no_fork(&together)),
        step(BundleCheck::NoneStopped, together.stopped(all())),
        step(BundleCheck::Receipts, receipts_are_valid(&found.receipts)),
        step(BundleCheck::Statuses, statuses_are_valid(&statuses)),
    ];
    let signer = signature
        .ok()
        .map(|cms| BundleSigner { subject: cms.certificate.subject().to_owned(), signed_at: cms.signing_time });
    let mut report = BundleReport {
        verdict: ReceiptVerdict::of(&steps),
        steps,
        about: about.ok(),
        signer,
        receipts: found.receipts,
        statuses,
        others: found.others,
        conclusions: Vec::new(),
    };
    report.conclusions = report.conclude(&together);
    report
}

impl BundleReport {
    /// Per recipient, what is proven where more than this bundle is held against its receipts.
    #[must_use]
    pub fn conclude(&self, together: &Together) -> Vec<Conclusion> {
        // What is said of another envelope says nothing of this one's recipients.
        let of_it =
            |report: &&ReceiptReport| self.about.as_ref().is_some_and(|about| is_about(report, about) == Some(true));
        conclude(self.receipts.iter().map(|(_, report)| report).filter(of_it), &self.statuses, together)
    }
}

fn step(check: BundleCheck, (outcome, detail): (Outcome, String)) -> Step<BundleCheck> {
    Step { check, outcome, detail }
}

/// Of a container that is not whole nothing is believed, however much of it could be read.
fn no_bundle(error: &ContainerError) -> BundleReport {
    let steps = BundleCheck::ALL.iter().map(|check| match check {
        BundleCheck::Form => step(*check, (Outcome::Failed, chain(error))),
        _ => step(*check, (Outcome::NotReached, String::new())),
    });
    BundleReport {
        verdict: ReceiptVerdict::Invalid,
        steps: steps.collect(),
        about: None,
        signer: None,
        receipts: Vec::new(),
        statuses: Vec::new(),
        others: Vec::new(),
        conclusions: Vec::new(),
    }
}

/// An agency's certificate that signed at `signed`. The receipts stand by themselves: that nobody says whether it was revoked is said, and takes nothing from
/// them.
pub(super) fn signer(cms: &CmsSignature, signed: Timestamp, trust: &ReceiptTrust, now: Timestamp) -> (Outcome, String) {
    let certificate = &cms.certificate;
    let at = signed.min(certificate.not_after()).max(certificate.not_before());
    let stamps = Stamps::of(cms, signed, trust, now);
    let (outcome, detail) = match validate_with(trust.store(), certificate, &cms.others, CertificateUse::Service, at) {
        Err(error) => (Outcome::Failed, chain(&error)),
        Ok(_) if signed != at => (Outcome::Failed, "signed outside the certificate's validity".to_owned()),
        Ok(_) if signed > now + skew() => (Outcome::Failed, format!("signed {signed}, and it is {now}")),
        Ok(Verdict::Revoked { at: since, .. }) => stamps.revoked(since, signed),
        Ok(verdict) => match stamps.finding() {
            Some(wrong @ (Outcome::Failed, _)) => wrong,
            Some(_) if now > certificate.not_after() && stamps.prove() => stamps.expired(certificate),
            found => not_revoked(&verdict, found.map(|(_, detail)| detail)),
        },
    };
    let name = certificate.subject();
    (outcome, if detail.is_empty() { name.to_owned() } else { format!("{name}: {detail}") })
}

fn not_revoked(verdict: &Verdict, stamped: Option<String>) -> (Outcome, String) {
    match verdict {
        Verdict::Unknown(WhyUnknown::MissingCrl { .. }) => {
            let unchecked = "whether it was revoked was not checked: there is no revocation list and no OCSP answer";
            (Outcome::Passed, stamped.map_or_else(|| unchecked.to_owned(), |stamped| format!("{stamped}; {unchecked}")))
        }
        Verdict::Unknown(why) => (Outcome::Unknown, why.to_string()),
        Verdict::Good | Verdict::Revoked { .. } => (Outcome::Passed, stamped.unwrap_or_default()),
    }
}

/// Whether who is said to have put it together, and when, is who signed, and when it was.
fn maker<'r>(
    about: &BundleJson,
    cms: &CmsSignature,
    receipts: impl Iterator<Item = (&'r str, &'r ReceiptReport)>,
    trust: &ReceiptTrust,
    now: Timestamp,
) -> (Outcome, String) {
    let most = Duration::from_millis(u64::try_from(BUNDLE_MADE_MS_MAX).unwrap_or_default());
    if let Some(signed) = cms.signing_time
        && (about.made > signed + skew() || signed > about.made + most)
    {
        return (Outcome::Failed, format!("made {}, signed {signed}", about.made));
    }
    let sha256 = cms.certificate.sha256();
    // The newest version in which the certificate is bound to an agency says how it is bound.
    let mut bound: BTreeMap<&AgencyId, (u64, &BoundDigest)> = BTreeMap::new();
    for (_, report) in receipts.filter(|(_, report)| report.verdict == ReceiptVerdict::Valid) {
        let summary = report.summary.as_ref().filter(|summary| is_of_domain(summary, about));
        let Some((actor, summary)) = summary.and_then(|found| found.actor.as_ref().zip(Some(found))) else {
            continue;
        };
        let binding = summary.service_certificates.iter().find(|binding| binding.sha256 == sha256);
        if let Some((binding, version)) = binding.zip(summary.directory_version) {
            let newest = bound.entry(actor).or_insert((version, binding));
            if version > newest.0 {
                *newest = (version, binding);
            }
        }
    }
    let subject = cms.certificate.subject();
    let signed = cms.signing_time.unwrap_or(cms.certificate.not_before());
    let at = cms.signing_time.unwrap_or(about.made);
    match bound.get(&about.by).map(|(_, binding)| *binding) {
        Some(BoundDigest { valid_from, valid_to, .. }) if !(*valid_from <= at && at < *valid_to) => {
            (Outcome::Failed, format!("bound from {valid_from} to {valid_to}, signed {at}"))
        }
        Some(BoundDigest { ended: Some(since), .. }) => Stamps::of(cms, signed, trust, now).revoked(*since, signed),
        Some(_) => (Outcome::Passed, format!("{}: {subject}", about.by)),
        None => match names(bound.keys().map(|code| code.as_str())) {
            Some(others) => (Outcome::Failed, format!("{subject} is of {others}, not of {}", about.by)),
            None => {
                let why = "no receipt in it shows whose certificate signed: this is its own word";
                (Outcome::NotApplicable, format!("{}: {why}", about.by))
            }
        },
    }
}

/// Whether what can be read of its directory is of the bundle's axis and lane.
pub(super) fn is_of_domain(summary: &ReceiptSummary, about: &BundleJson) -> bool {
    summary.domain.as_ref().is_none_or(|(axis, lane)| *axis == about.axis && *lane == about.lane)
}

/// Whether a receipt is about the bundle's envelope; none where it cannot be read.
fn is_about(report: &ReceiptReport, about: &BundleJson) -> Option<bool> {
    let summary = report.summary.as_ref()?;
    Some(
        is_of_domain(summary, about)
            && summary.envelope == Some(about.envelope)
            && summary.sender.as_ref() == Some(&about.sender),
    )
}

fn one_document(about: Option<&BundleJson>, receipts: &[(String, ReceiptReport)]) -> (Outcome, String) {
    let Some(about) = about else { return (Outcome::NotReached, String::new()) };
    let other = receipts.iter().filter(|(_, report)| is_about(report, about) == Some(false));
    if let Some(names) = names(other.map(|(name, _)| name.as_str())) {
        return (Outcome::Failed, names);
    }
    match disagreement(receipts.iter().map(|(name, report)| (name.as_str(), report))) {
        None => (Outcome::Passed, format!("{} of {}", about.envelope, about.sender)),
        Some(told) => (Outcome::Failed, told),
    }
}

fn no_fork(together: &Together) -> (Outcome, String) {
    together.histories().map_or((Outcome::Passed, String::new()), |told| (Outcome::Failed, told))
}

pub(super) fn receipts_are_valid(receipts: &[(String, ReceiptReport)]) -> (Outcome, String) {
    if receipts.is_empty() {
        return (Outcome::Failed, "there is no receipt in it".to_owned());
    }
    each_is_valid(receipts.iter().map(|(name, report)| (name.as_str(), report.verdict)))
}

fn statuses_are_valid(statuses: &[StatusReport]) -> (Outcome, String) {
    if statuses.is_empty() {
        return (Outcome::NotApplicable, String::new());
    }
    each_is_valid(statuses.iter().map(|status| (status.name.as_str(), status.verdict)))
}

fn each_is_valid<'n>(all: impl ExactSizeIterator<Item = (&'n str, ReceiptVerdict)> + Clone) -> (Outcome, String) {
    let of = |wanted| all.clone().filter(move |(_, verdict)| *verdict == wanted).map(|(name, _)| name);
    match (names(of(ReceiptVerdict::Invalid)), names(of(ReceiptVerdict::CannotTell))) {
        (Some(names), _) => (Outcome::Failed, names),
        (None, Some(names)) => (Outcome::Unknown, names),
        (None, None) => (Outcome::Passed, all.len().to_string()),
    }
}

/// The first few, and how many more; none where there are none.
pub(super) fn names<'n>(names: impl Iterator<Item = &'n str>) -> Option<String> {
    const SHOWN: usize = 5;
    let names: Vec<&str> = names.collect();
    let more = names.len().checked_sub(SHOWN).filter(|more| *more > 0);
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match more {
        _ if names.is_empty() => None,
        None => Some(shown),
        Some(more) => Some(format!("{shown} and {more} more")),
    }
}

/// What comes by while the container is read; believed by nobody before it was read whole.
struct Found<'t> {
    trust: &'t ReceiptTrust,
    document: Option<&'t Document>,
    now: Timestamp,
    current: Current,
    about: Option<Vec<u8>>,
    receipts: Vec<(String, ReceiptReport)>,
    /// The folder of a status that is being read, and those that were.
    status: Option<StatusJudge>,
    statuses: Vec<JudgedStatus>,
    others: Vec<(String, u64)>,
    /// How many OCSP answers count.
    answers: usize,
}

enum Current {
    None,
    /// An OCSP answer: it counts for the receipts behind it and for the bundle's signature.
    Answer(Vec<u8>),
    About(Vec<u8>),
    Receipt(Vec<u8>),
    /// A file of a status, and how long such a one may be.
    OfStatus(Vec<u8>, usize),
}

impl Found<'_> {
    fn of_status(&mut self, folder: &str, file: &str, bytes: Vec<u8>) {
        if self.status.as_ref().is_some_and(|open| open.name() != folder) {
            self.end_status();
        }
        let open = self.status.get_or_insert_with(|| StatusJudge::new(folder.to_owned()));
        open.take(file, bytes, self.trust, self.now);
    }

    fn end_status(&mut self) {
        self.statuses.extend(self.status.take().map(|open| open.judge(self.trust, self.now)));
    }
}

/// Longest file of a status, by its name.
fn status_bytes_max(file: &str) -> usize {
    match file {
        STATUS_ENTRY => STATUS_BYTES_MAX,
        STATUS_SIGNATURE => ASIC_SIGNATURE_BYTES_MAX,
        _ => RECEIPT_BYTES_MAX,
    }
}

impl Visitor for Found<'_> {
    fn begin(&mut self, header: &EntryHeader) -> Result<(), VisitorError> {
        if let Some((_, file)) = place(header.name.as_str()) {
            self.current = Current::OfStatus(Vec::new(), status_bytes_max(file));
            return Ok(());
        }
        self.current = match header.name.as_str() {
            BUNDLE_ENTRY => Current::About(Vec::new()),
            name if name.starts_with(BUNDLE_RECEIPTS) => Current::Receipt(Vec::new()),
            name if is_bundled_answer(name) => Current::Answer(Vec::new()),
            _ => Current::None,
        };
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), VisitorError> {
        let (kept, bytes_max) = match &mut self.current {
            Current::None => return Ok(()),
            Current::About(kept) => (kept, STATEMENT_BYTES_MAX),
            Current::Receipt(kept) => (kept, RECEIPT_BYTES_MAX),
            Current::Answer(kept) => (kept, OCSP_BYTES_MAX),
            Current::OfStatus(kept, bytes_max) => (kept, *bytes_max),
        };
        if kept.len() + bytes.len() > bytes_max {
            return Err(format!("an entry is longer than the {bytes_max} bytes that such a thing has").into());
        }
        kept.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, entry: &Entry) -> Result<(), VisitorError> {
        let name = entry.name.as_str();
        match std::mem::replace(&mut self.current, Current::None) {
            Current::None => self.others.push((name.to_owned(), entry.length)),
            Current::About(bytes) => self.about = Some(bytes),
            Current::Answer(bytes) => {
                self.others.push((name.to_owned(), entry.length));
                // One that cannot be read says nothing, as if it were not there.
                if let Some(answer) = OcspAnswer::from_der(&bytes).ok().filter(|_| self.answers < BUNDLE_ANSWERS_MAX) {
                    self.answers += 1;
                    self.trust.store().answers().add(answer);
                }
            }
            Current::OfStatus(bytes, _) => {
                if let Some((folder, file)) = place(name) {
                    self.of_status(folder, file, bytes);
                }
            }
            Current::Receipt(bytes) => {
                let name = name.strip_prefix(BUNDLE_RECEIPTS).unwrap_or(name).to_owned();
                self.receipts.push((name, verify_receipt(&bytes, self.trust, self.document, self.now)));
            }
        }
        Ok(())
    }
}
