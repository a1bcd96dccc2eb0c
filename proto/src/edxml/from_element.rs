//! Elements to the model: the names the SDK's parser knows, in any order.

use super::{
    element::Element,
    model::*,
    picker::Picker,
    warning::{Notes, WarningKind},
};

/// Reads a whole edXMLHeader; none when it has no MessageHeader. A MessageHeader with a StatusCode is a status packet.
pub(super) fn message(header: Element, notes: &mut Notes) -> Option<Message> {
    let mut pick = Picker::new(header, "edXMLHeader", notes);
    let message = pick.child("MessageHeader")?;
    let trace = pick.child("TraceHeaderList");
    let signature = pick.child("Signature").filter(|signature| !signature.is_empty());
    pick.finish();
    if !is_status(&message) {
        let header = message_header(message, "MessageHeader", notes);
        let trace = trace.map(|list| trace_header_list(list, "TraceHeaderList", notes)).unwrap_or_default();
        return Some(Message::Document(Box::new(Packet { header, trace, signature, references: Vec::new() })));
    }
    if message.last("To").is_some() || trace.is_some() {
        notes.add("MessageHeader", WarningKind::MixedKinds);
    }
    Some(Message::Status(Box::new(status_packet(message, "MessageHeader", notes))))
}

fn is_status(message: &Element) -> bool {
    message.last("StatusCode").is_some_and(|code| !code.text.trim().is_empty())
}

fn message_header(element: Element, path: &str, notes: &mut Notes) -> MessageHeader {
    let mut pick = Picker::new(element, path, notes);
    let mut header = MessageHeader {
        from: pick.with("From", organization).unwrap_or_default(),
        to: pick.map("To", organization),
        document_id: pick.text("DocumentId"),
        subject: pick.text("Subject"),
        content: pick.text("Content"),
        signer: pick.with("SignerInfo", signer_info).unwrap_or_default(),
        due_date: pick.date("DueDate"),
        other: pick.with("OtherInfo", other_info).unwrap_or_default(),
        response_for: pick.map("ResponseFor", response_for),
        steering_type: pick.number("SteeringType"),
        task_codes: pick.with("ResponseForTask", |e, p, n| list(e, p, n, "TaskCode")).unwrap_or_default(),
        application_type: pick.text("ApplicationType"),
        to_places: pick.with("ToPlaces", |e, p, n| list(e, p, n, "Place")).unwrap_or_default(),
        ..MessageHeader::default()
    };
    if let Some((number, notation)) = pick.with("Code", code) {
        (header.code_number, header.code_notation) = (number, notation);
    }
    if let Some((place, date)) = pick.with("PromulgationInfo", promulgation_info) {
        (header.place, header.promulgation_date) = (place, date);
    }
    if let Some((kind, detail, name)) = pick.with("DocumentType", document_type) {
        (header.document_type, header.type_detail, header.type_name) = (kind, detail, name);
    }
    pick.finish();
    header
}

fn status_packet(element: Element, path: &str, notes: &mut Notes) -> StatusPacket {
    let mut pick = Picker::new(element, path, notes);
    let packet = StatusPacket {
        from: pick.with("From", organization).unwrap_or_default(),
        response_for: pick.with("ResponseFor", response_for).unwrap_or_default(),
        staff: pick.with("StaffInfo", staff_info).unwrap_or_default(),
        status_code: pick.trimmed("StatusCode"),
        description: pick.text("Description"),
        timestamp: pick.time("Timestamp"),
    };
    pick.finish();
    packet
}

fn organization(element: Element, path: &str, notes: &mut Notes) -> Organization {
    let mut pick = Picker::new(element, path, notes);
    let organization = Organization {
        organ_id: pick.code("OrganId"),
        organization_in_charge: pick.trimmed("OrganizationInCharge"),
        organ_name: pick.trimmed("OrganName"),
        organ_add: pick.trimmed("OrganAdd"),
        email: pick.trimmed("Email"),
        telephone: pick.trimmed("Telephone"),
        fax: pick.trimmed("Fax"),
        website: pick.trimmed("Website"),
    };
    pick.finish();
    organization
}

fn code(element: Element, path: &str, notes: &mut Notes) -> (Option<String>, Option<String>) {
    let mut pick = Picker::new(element, path, notes);
    let code = (pick.text("CodeNumber"), pick.text("CodeNotation"));
    pick.finish();
    code
}

type Promulgation = (Option<String>, Option<super::Dated<super::Date>>);

fn promulgation_info(element: Element, path: &str, notes: &mut Notes) -> Promulgation {
    let mut pick = Picker::new(element, path, notes);
    let info = (pick.text("Place"), pick.date("PromulgationDate"));
    pick.finish();
    info
}

fn document_type(element: Element, path: &str, notes: &mut Notes) -> (Option<i32>, Option<i32>, Option<String>) {
    let mut pick = Picker::new(element, path, notes);
    let kind = (pick.number("Type"), pick.number("TypeDetail"), pick.text("TypeName"));
    pick.finish();
    kind
}

fn signer_info(element: Element, path: &str, notes: &mut Notes) -> SignerInfo {
    let mut pick = Picker::new(element, path, notes);
    let signer = SignerInfo {
        competence: pick.text("Competence"),
        position: pick.text("Position"),
        full_name: pick.text("FullName"),
    };
    pick.finish();
    signer
}

fn other_info(element: Element, path: &str, notes: &mut Notes) -> OtherInfo {
    let mut pick = Picker::new(element, path, notes);
    let other = OtherInfo {
        priority: pick.number("Priority"),
        sphere: pick.text("SphereOfPromulgation"),
        typer_notation: pick.text("TyperNotation"),
        promulgation_amount: pick.number("PromulgationAmount"),
        page_amount: pick.number("PageAmount"),
        reply_fors: pick.text("ReplyFors"),
        // Only "true", in any case, counts as true, as in the SDK.
        direction: pick.trimmed("Direction").map(|text| text.eq_ignore_ascii_case("true")),
        reference_codes: pick.text("ReferenceCodes"),
        appendixes: pick.with("Appendixes", |e, p, n| list(e, p, n, "Appendix")).unwrap_or_default(),
    };
    pick.finish();
    other
}

fn response_for(element: Element, path: &str, notes: &mut Notes) -> ResponseFor {
    let mut pick = Picker::new(element, path, notes);
    let response = ResponseFor {
        organ_id: pick.code("OrganId"),
        code: pick.text("Code"),
        document_id: pick.text("DocumentId"),
        promulgation_date: pick.date("PromulgationDate"),
    };
    pick.finish();
    response
}

fn list(element: Element, path: &str, notes: &mut Notes, name: &str) -> Vec<String> {
    let mut pick = Picker::new(element, path, notes);
    let texts = pick.texts(name);
    pick.finish();
    texts
}

fn trace_header_list(element: Element, path: &str, notes: &mut Notes) -> TraceHeaderList {
    let (id, version) = (element.attribute_value("id"), element.attribute_value("version"));
    let (id, version) = (id.map(str::to_owned), version.map(str::to_owned));
    let mut pick = Picker::new(element, path, notes);
    let paper = pick.text("Paper");
    let business = pick.with("Bussiness", business);
    let traces = pick.map("TraceHeader", trace_header);
    pick.finish();
    TraceHeaderList { id, version, paper, business, traces }
}

fn trace_header(element: Element, path: &str, notes: &mut Notes) -> TraceHeader {
    let mut pick = Picker::new(element, path, notes);
    let trace = TraceHeader { organ_id: pick.code("OrganId"), timestamp: pick.time("Timestamp") };
    pick.finish();
    trace
}

fn business(element: Element, path: &str, notes: &mut Notes) -> Business {
    let mut pick = Picker::new(element, path, notes);
    let business = Business {
        document_id: pick.text("DocumentId"),
        doc_type: pick.number("BussinessDocType"),
        reason: pick.text("BussinessDocReason"),
        paper: pick.text("Paper"),
        document_infos: pick.map("BussinessDocumentInfo", document_info),
        replacements: pick.map("ReplacementInfoList", replacement_list).into_iter().flatten().collect(),
        staff: pick.map("StaffInfo", staff_info),
    };
    pick.finish();
    business
}

fn document_info(element: Element, path: &str, notes: &mut Notes) -> BusinessDocumentInfo {
    let mut pick = Picker::new(element, path, notes);
    let info = BusinessDocumentInfo {
        document_info: pick.text("DocumentInfo"),
        document_receiver: pick.text("DocumentReceiver"),
        receivers: pick.map("ReceiverList", receiver_list).into_iter().flatten().collect(),
    };
    pick.finish();
    info
}

fn receiver_list(element: Element, path: &str, notes: &mut Notes) -> Vec<Receiver> {
    let mut pick = Picker::new(element, path, notes);
    let receivers = pick.map("Receiver", |element, path, notes| {
        let mut pick = Picker::new(element, path, notes);
        let receiver = Receiver { organ_id: pick.code("OrganId"), receiver_type: pick.text("ReceiverType") };
        pick.finish();
        receiver
    });
    pick.finish();
    receivers
}

fn replacement_list(element: Element, path: &str, notes: &mut Notes) -> Vec<ReplacementInfo> {
    let mut pick = Picker::new(element, path, notes);
    let replacements = pick.map("ReplacementInfo", |element, path, notes| {
        let mut pick = Picker::new(element, path, notes);
        let document_id = pick.text("DocumentId");
        let organ_ids = pick.with("OrganIdList", |element, path, notes| {
            let mut pick = Picker::new(element, path, notes);
            let codes = pick.codes("OrganId");
            pick.finish();
            codes
        });
        pick.finish();
        ReplacementInfo { document_id, organ_ids: organ_ids.unwrap_or_default() }
    });
    pick.finish();
    replacements
}

fn staff_info(element: Element, path: &str, notes: &mut Notes) -> StaffInfo {
    let mut pick = Picker::new(element, path, notes);
    let staff = StaffInfo {
        department: pick.text("Department"),
        department_id: pick.text("DepartmentId"),
        staff: pick.text("Staff"),
        staff_id: pick.text("StaffId"),
        email: pick.text("Email"),
        mobile: pick.text("Mobile"),
    };
    pick.finish();
    staff
}

/// Reads an edXMLBody's manifest.
pub(super) fn references(body: Element, notes: &mut Notes) -> Vec<Reference> {
    let mut pick = Picker::new(body, "edXMLBody", notes);
    let references = pick.with("edXMLManifest", |element, path, notes| {
        let mut pick = Picker::new(element, path, notes);
        let references = pick.map("Reference", reference);
        pick.finish();
        references
    });
    pick.finish();
    references.unwrap_or_default()
}

fn reference(element: Element, path: &str, notes: &mut Notes) -> Reference {
    let mut pick = Picker::new(element, path, notes);
    let reference = Reference {
        content_id: pick.content_id(),
        content_type: pick.trimmed("ContentType"),
        description: pick.text("Description"),
        name: pick.trimmed("AttachmentName"),
    };
    pick.finish();
    reference
}
