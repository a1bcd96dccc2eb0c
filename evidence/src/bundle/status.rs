//! Business statuses in a bundle: each is an envelope of its own, whose receipts say who stated it and when, and whose opening shows what was stated.

use truc_proto::{
    AgencyId, BUNDLE_STATUSES, BundleJson, BusinessStatus, CertificateBinding, Digest, Entry, EnvelopeId, EnvelopeKind,
    EventUri, KeyUse, Preamble, Raw, Receipt, ReceiptBody, STATUS_ENTRY, STATUS_SIGNATURE, StatusCode, Timestamp,
    chain,
};
use truc_signer::{CmsSignature, asic::AsicManifest, verify_detached};

use super::{
    StepRemark,
    conclusion::is_late,
    disagreement,
    read::{is_of_domain, names, receipts_are_valid, signer},
};
use crate::{
    Outcome, ReceiptReport, ReceiptTrust, ReceiptVerdict, Step,
    directory::skew,
    verify::{check::checks, stamps::Stamps},
    verify_receipt,
};

checks! {
    /// One thing that must hold of a business status in a bundle.
    StatusCheck;
    /// `status.json` is there, and a statement `status`.
    Form = "status-form",
        en: "the business status is well-formed", vi: "trạng thái xử lý đúng định dạng",
        fix_en: "The status is missing or can be read in more than one way; ask its holder for the original.",
        fix_vi: "Trạng thái thiếu hoặc có thể hiểu nhiều cách; đề nghị nơi giữ cung cấp bản gốc.";
    /// Each of its receipts is valid, and one of them states it.
    Receipts = "status-receipts",
        en: "its receipts are valid, and one of them states it", vi: "các biên nhận của trạng thái hợp lệ, trong đó có biên nhận của bên nêu",
        fix_en: "See the receipts that are not valid: without them nobody has provably said this.",
        fix_vi: "Xem các biên nhận không hợp lệ: thiếu chúng thì chưa chứng minh được ai đã nêu trạng thái này.";
    /// They are about one envelope, and that is a status's.
    Envelope = "status-envelope",
        en: "its receipts are about one envelope, that of a status", vi: "các biên nhận đều về cùng một gói tin, là gói tin trạng thái",
        fix_en: "Receipts of another envelope were put beside it; they do not prove it.",
        fix_vi: "Có biên nhận của gói tin khác lẫn vào; chúng không chứng minh trạng thái này.";
    /// The opened manifest names it with its hash.
    Content = "status-content",
        en: "it is what the sealed content was committed to", vi: "đúng với nội dung đã cam kết khi niêm phong",
        fix_en: "The status was changed, or is another than the one that was sent; it proves nothing.",
        fix_vi: "Trạng thái đã bị sửa hoặc không phải trạng thái đã gửi; không có giá trị chứng minh.";
    /// Its parties are those of its envelope.
    Parties = "status-parties",
        en: "who sent it is who says it, and it went to whom it is for", vi: "bên gửi gói tin đúng là bên nêu, nơi nhận đúng là bên được báo",
        fix_en: "It speaks for an agency that did not send it; ask that agency for its own status.",
        fix_vi: "Trạng thái nêu thay cho cơ quan không gửi nó; hãy yêu cầu trạng thái của chính cơ quan đó.";
    /// It is no later than when its agency's node stated it.
    Time = "status-time",
        en: "it was set no later than it was stated", vi: "lúc đặt trạng thái không muộn hơn lúc nút nêu",
        fix_en: "It says that it was set after it had been stated, which cannot be: do not rely on its time; ask the agency.",
        fix_vi: "Trạng thái ghi lúc đặt muộn hơn lúc đã được nêu, điều không thể có: không dựa vào giờ đó; hãy hỏi cơ quan nêu.";
    /// It is about the bundle's document.
    Document = "status-document",
        en: "it is about this document", vi: "trạng thái về đúng văn bản này",
        fix_en: "It is about another document and says nothing of this one.",
        fix_vi: "Trạng thái của văn bản khác, không nói gì về văn bản này.";
    /// The container's signature holds over the manifest, where it is there.
    Signature = "status-signature",
        en: "the agency's signature over it holds", vi: "chữ ký của cơ quan trên trạng thái đúng",
        fix_en: "The signature does not belong to this status; it proves nothing.",
        fix_vi: "Chữ ký không thuộc trạng thái này; không có giá trị chứng minh.";
    /// It was made by a service certificate that the directory binds to the agency.
    Signer = "status-signer",
        en: "the signer is a certificate of that agency, of a trusted authority", vi: "người ký là chứng thư của chính cơ quan đó, do cơ quan chứng thực tin cậy cấp",
        fix_en: "Somebody else signed it, or with a certificate that does not count; ask the agency that is said to have set it.",
        fix_vi: "Bên khác đã ký, hoặc chứng thư ký không còn giá trị; hãy hỏi cơ quan được nêu là bên lập trạng thái.";
}

/// What a status rests on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StatusBasis {
    /// It came from today's axis, where nothing is signed: the node that took it says so.
    TakenOver,
    /// The node of the agency that says it states it in its ledger.
    Stated,
    /// That, and the agency's own certificate signed it.
    Signed,
}

impl StatusBasis {
    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TakenOver => "taken-over",
            Self::Stated => "stated",
            Self::Signed => "signed",
        }
    }

    /// What it means, in English.
    #[must_use]
    pub const fn english(self) -> &'static str {
        match self {
            Self::TakenOver => "came from today's axis, where nothing is signed: the receiving node alone says so",
            Self::Stated => "stated by the agency's node; its own signature is not in the bundle",
            Self::Signed => "signed by the agency",
        }
    }

    /// What it means, in Vietnamese.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::TakenOver => "đến từ trục hiện hành, nơi không có chữ ký số: chỉ nút nhận nêu",
            Self::Stated => "nút của cơ quan nêu; bộ chứng cứ không kèm chữ ký của chính cơ quan",
            Self::Signed => "cơ quan đã ký số",
        }
    }
}

/// A business status that is proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvenStatus {
    /// What is said.
    pub code: StatusCode,
    /// Who says it.
    pub from: AgencyId,
    /// To whom.
    pub to: AgencyId,
    /// When it was set, by the sender of the status.
    pub time: Timestamp,
    /// When its agency's node stated it, or whoever took it from today's axis that it came.
    pub stated: Timestamp,
    /// What is strange about its time.
    pub remarks: Vec<StepRemark>,
    /// Counts per document and agency: one that comes late has a number below an earlier one's.
    pub sequence: u64,
    /// In its words.
    pub reason: Option<String>,
    /// The officer.
    pub staff: Option<String>,
    /// The status's own envelope.
    pub envelope: EnvelopeId,
    /// What it rests on.
    pub basis: StatusBasis,
    /// When the other agency had it, by its own word; none where that is not proven.
    pub received: Option<Timestamp>,
}

/// What was found about a status in a bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatusReport {
    /// Its folder in the bundle, below `statuses/`.
    pub name: String,
    /// Invalid when a check failed, else cannot tell when one is unknown or not reached.
    pub verdict: ReceiptVerdict,
    /// The checks, in order.
    pub steps: Vec<Step<StatusCheck>>,
    /// What it says, as far as it can be read. Worth believing only when the verdict is valid.
    pub status: Option<BusinessStatus>,
    /// What it rests on, where it is valid.
    pub proven: Option<ProvenStatus>,
    /// Its receipts.
    pub receipts: Vec<(String, ReceiptReport)>,
}

impl StatusReport {
    /// The steps that stand against it: failed or unknown, in order.
    pub fn against(&self) -> impl Iterator<Item = &Step<StatusCheck>> {
        self.steps.iter().filter(|step| matches!(step.outcome, Outcome::Failed | Outcome::Unknown))
    }
}

/// The folder and the file's name of an entry under `statuses/`; none of any other entry.
pub(super) fn place(name: &str) -> Option<(&str, &str)> {
    let inner = name.strip_prefix(BUNDLE_STATUSES)?;
    Some(inner.rsplit_once('/').unwrap_or(("", inner)))
}

/// A status whose files come one after the other. It holds one receipt's opening, whatever comes.
pub struct StatusJudge {
    name: String,
    status: Option<Vec<u8>>,
    signature: Option<Vec<u8>>,
    receipts: Vec<(String, ReceiptReport)>,
    stated: Option<Stated>,
}

/// What the receipt that states it shows. Read of a receipt that is valid, and of nothing else.
struct Stated {
    event: EventUri,
    time: Timestamp,
    envelope: Option<EnvelopeId>,
    sender: Option<AgencyId>,
    preamble: Option<Preamble>,
    manifest: Option<Vec<u8>>,
    bindings: Vec<CertificateBinding>,
}

/// A status of which only the document is left to be asked for: which one a bundle is about may stand behind it.
pub struct JudgedStatus(StatusReport);

impl JudgedStatus {
    /// What is found of it in a bundle about `about`; none: nobody can tell about what.
    #[must_use]
    pub fn about(self, about: Option<&BundleJson>) -> StatusReport {
        let mut report = self.0;
        for step in report.steps.iter_mut().filter(|step| step.check == StatusCheck::Document) {
            (step.outcome, step.detail) = of_document(report.status.as_ref(), &report.receipts, about);
        }
        report.verdict = ReceiptVerdict::of(&report.steps);
        report.proven = report.proven.filter(|_| report.verdict == ReceiptVerdict::Valid);
        if let (Some(proven), Some(about)) = (&mut report.proven, about)
            && proven.code.is_known()
            && proven.code.is_from_sender() != (proven.from == about.sender)
        {
            proven.remarks.push(StepRemark::WrongSide);
        }
        report
    }
}

impl Stated {
    fn of(bytes: &[u8], report: &ReceiptReport) -> Option<Self> {
        let summary = report.summary.as_ref()?;
        let states = matches!(summary.event, EventUri::SubmissionAcceptance | EventUri::ReceivedFromNonErds);
        if !states || report.verdict != ReceiptVerdict::Valid {
            return None;
        }
        let body = Raw::<ReceiptBody>::parse(Receipt::parse(bytes).ok()?.body).ok()?.into_value();
        let agency = body.agency.and_then(|agency| Raw::<Entry>::parse(agency.bytes).ok());
        Some(Self {
            event: summary.event,
            time: summary.time,
            envelope: summary.envelope,
            sender: summary.sender.clone(),
            preamble: Raw::<Preamble>::parse(body.preamble).ok().map(Raw::into_value),
            manifest: body.opening.map(|opening| opening.manifest),
            bindings: agency.map(|entry| entry.certificates().to_vec()).unwrap_or_default(),
        })
    }
}

impl StatusJudge {
    /// Of this folder.
    #[must_use]
    pub const fn new(name: String) -> Self {
        Self { name, status: None, signature: None, receipts: Vec::new(), stated: None }
    }

    /// Its folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the next file of the folder.
    pub fn take(&mut self, file: &str, bytes: Vec<u8>, trust: &ReceiptTrust, now: Timestamp) {
        match file {
            STATUS_ENTRY => self.status = Some(bytes),
            STATUS_SIGNATURE => self.signature = Some(bytes),
            _ => {
                // What document was shown beside the bundle is no question to a status's receipts.
                let report = verify_receipt(&bytes, trust, None, now);
                if self.stated.is_none() {
                    self.stated = Stated::of(&bytes, &report);
                }
                self.receipts.push((file.to_owned(), report));
            }
        }
    }

    /// What is found of it, but for which document it is about.
    #[must_use]
    pub fn judge(self, trust: &ReceiptTrust, now: Timestamp) -> JudgedStatus {
        let read = self.status.as_ref().map(|bytes| Raw::<BusinessStatus>::parse(bytes.clone()));
        let (status, form) = match read {
            Some(Ok(status)) => (Some(status.into_value()), passed(String::new())),
            Some(Err(error)) => (None, failed(error.to_string())),
            None => (None, failed(format!("there is no {STATUS_ENTRY}"))),
        };
        let cms = self.cms(trust);
        let signature = match &cms {
            None => not_applicable(),
            Some(None) => not_reached(),
            Some(Some(Ok(_))) => passed(String::new()),
            Some(Some(Err(why))) => failed(why.clone()),
        };
        let signer = match (&cms, &self.stated) {
            (None, _) => not_applicable(),
            (Some(Some(Ok(cms))), Some(stated)) => signed_by(cms, stated, trust, now),
            _ => not_reached(),
        };
        let steps = [
            (StatusCheck::Form, form),
            (StatusCheck::Receipts, self.receipts()),
            (StatusCheck::Envelope, self.envelope()),
            (StatusCheck::Content, self.content()),
            (StatusCheck::Parties, self.parties(status.as_ref())),
            (StatusCheck::Time, self.time(status.as_ref())),
            (StatusCheck::Document, not_reached()),
            (StatusCheck::Signature, signature),
            (StatusCheck::Signer, signer),
        ];
        let steps = steps.map(|(check, (outcome, detail))| Step { check, outcome, detail }).to_vec();
        let proven = status.as_ref().and_then(|status| self.proven(status, cms.is_some()));
        let Self { name, receipts, .. } = self;
        let verdict = ReceiptVerdict::of(&steps);
        JudgedStatus(StatusReport { name, verdict, steps, status, proven, receipts })
    }

    /// The signature, verified: none where it is not there; none inside where nothing shows over what it is.
    fn cms(&self, trust: &ReceiptTrust) -> Option<Option<Result<CmsSignature, String>>> {
        let signature = self.signature.as_ref()?;
        let manifest = self.stated.as_ref().and_then(|stated| stated.manifest.as_ref());
        let verified = |manifest: &Vec<u8>| {
            verify_detached(signature, manifest, trust.store().intermediates()).map_err(|error| chain(&error))
        };
        Some(manifest.map(verified))
    }

    fn receipts(&self) -> (Outcome, String) {
        match receipts_are_valid(&self.receipts) {
            (Outcome::Passed, _) if self.stated.is_none() => failed("none of them states it".to_owned()),
            found => found,
        }
    }

    fn envelope(&self) -> (Outcome, String) {
        let Some(stated) = &self.stated else { return not_reached() };
        let is_other = |report: &ReceiptReport| {
            let summary = report.summary.as_ref();
            summary.is_some_and(|summary| (summary.envelope, &summary.sender) != (stated.envelope, &stated.sender))
        };
        let others = self.receipts.iter().filter(|(_, report)| is_other(report)).map(|(name, _)| name.as_str());
        match (
            names(others).or_else(|| disagreement(self.receipts.iter().map(|(name, report)| (name.as_str(), report)))),
            &stated.preamble,
        ) {
            (Some(told), _) => failed(told),
            (None, Some(preamble)) if preamble.kind == EnvelopeKind::Status => passed(preamble.envelope.to_string()),
            (None, Some(preamble)) => failed(format!("envelope {} is no status", preamble.envelope)),
            (None, None) => failed("the receipt that states it has no preamble".to_owned()),
        }
    }

    fn content(&self) -> (Outcome, String) {
        let (Some(status), Some(stated)) = (&self.status, &self.stated) else { return not_reached() };
        let Some(manifest) = &stated.manifest else {
            return (Outcome::Unknown, "the receipt that states it carries no opening".to_owned());
        };
        let digest = Digest::of(status);
        let manifest = AsicManifest::parse(manifest.clone());
        let names = |manifest: &AsicManifest| {
            manifest.references().iter().any(|found| found.name.as_str() == STATUS_ENTRY && found.digest == digest)
        };
        if manifest.as_ref().is_ok_and(names) {
            return passed(digest.to_string());
        }
        failed(format!("the content has no {STATUS_ENTRY} with {digest}"))
    }

    fn parties(&self, status: Option<&BusinessStatus>) -> (Outcome, String) {
        let preamble = self.stated.as_ref().and_then(|stated| stated.preamble.as_ref());
        let (Some(status), Some(preamble)) = (status, preamble) else { return not_reached() };
        let is_for = preamble.recipients.iter().chain(&preamble.legacy).eq([&status.to]);
        let detail = format!("{} to {}", status.from, status.to);
        if status.from == preamble.sender && is_for { passed(detail) } else { failed(detail) }
    }

    fn time(&self, status: Option<&BusinessStatus>) -> (Outcome, String) {
        let (Some(status), Some(stated)) = (status, &self.stated) else { return not_reached() };
        let detail = format!("set {}, stated {}", status.time, stated.time);
        match stated.event {
            // Its time is today's axis's, by whatever clock.
            EventUri::ReceivedFromNonErds => (Outcome::NotApplicable, detail),
            _ if status.time > stated.time + skew() => failed(detail),
            _ => passed(detail),
        }
    }

    fn proven(&self, status: &BusinessStatus, is_signed: bool) -> Option<ProvenStatus> {
        let stated = self.stated.as_ref()?;
        let basis = match stated.event {
            EventUri::ReceivedFromNonErds => StatusBasis::TakenOver,
            _ if is_signed => StatusBasis::Signed,
            _ => StatusBasis::Stated,
        };
        let arrived = |event| matches!(event, EventUri::ContentConsignment | EventUri::ReceivedFromNonErds);
        let summaries = self.receipts.iter().filter_map(|(_, report)| report.summary.as_ref());
        Some(ProvenStatus {
            code: status.code,
            from: status.from.clone(),
            to: status.to.clone(),
            time: status.time,
            stated: stated.time,
            remarks: if basis != StatusBasis::TakenOver && is_late(status.time, Some(stated.time)) {
                vec![StepRemark::ProvenLate]
            } else {
                vec![]
            },
            sequence: status.sequence,
            reason: status.reason.clone(),
            staff: status.staff.clone(),
            envelope: stated.envelope?,
            basis,
            received: summaries.filter(|summary| arrived(summary.event)).map(|summary| summary.time).min(),
        })
    }
}

fn of_document(
    status: Option<&BusinessStatus>,
    receipts: &[(String, ReceiptReport)],
    about: Option<&BundleJson>,
) -> (Outcome, String) {
    let (Some(status), Some(about)) = (status, about) else { return not_reached() };
    let elsewhere = |report: &ReceiptReport| report.summary.as_ref().is_some_and(|found| !is_of_domain(found, about));
    let others = receipts.iter().filter(|(_, report)| elsewhere(report)).map(|(name, _)| name.as_str());
    if let Some(names) = names(others) {
        return failed(format!("of another axis or lane: {names}"));
    }
    let is_party = status.from == about.sender || status.to == about.sender;
    if status.document == about.envelope && is_party {
        return passed(String::new());
    }
    failed(format!("about {}, between {} and {}", status.document, status.from, status.to))
}

/// The certificate is one that the directory binds to the agency for this, and counts.
fn signed_by(cms: &CmsSignature, stated: &Stated, trust: &ReceiptTrust, now: Timestamp) -> (Outcome, String) {
    let certificate = &cms.certificate;
    if stated.event == EventUri::ReceivedFromNonErds {
        // The entry beside it is that of who took it.
        return failed("nobody signs what comes from today's axis".to_owned());
    }
    let (sha256, signed) = (certificate.sha256(), cms.signing_time.unwrap_or(stated.time));
    let is_it = |binding: &&CertificateBinding| binding.uses.contains(&KeyUse::Service) && binding.sha256 == sha256;
    let Some(binding) = stated.bindings.iter().find(is_it) else {
        return failed(format!("{}: not a service certificate of the agency in the directory", certificate.subject()));
    };
    if signed > stated.time + skew() {
        return failed(format!("signed {signed}, after it was stated, {}", stated.time));
    }
    if !(binding.valid_from <= signed && signed < binding.valid_to) {
        return failed(format!("signed {signed}, bound from {} to {}", binding.valid_from, binding.valid_to));
    }
    let found = signer(cms, signed, trust, now);
    match binding.status_since {
        Some(since) if found.0 != Outcome::Failed => Stamps::of(cms, signed, trust, now).revoked(since, signed),
        _ => found,
    }
}

const fn passed(detail: String) -> (Outcome, String) {
    (Outcome::Passed, detail)
}

const fn failed(detail: String) -> (Outcome, String) {
    (Outcome::Failed, detail)
}

const fn not_applicable() -> (Outcome, String) {
    (Outcome::NotApplicable, String::new())
}

const fn not_reached() -> (Outcome, String) {
    (Outcome::NotReached, String::new())
}
