//! The model to elements, in the order the SDK's builder writes them. Writer, checks and report all walk this.

use super::{element::Element, model::*};

/// The edXMLHeader.
#[must_use]
pub fn header_element(message: &Message) -> Element {
    let header = Element::new("edXMLHeader");
    match message {
        Message::Document(packet) => header
            .child(message_header(&packet.header))
            .child(trace_header_list(&packet.trace))
            .child(packet.signature.clone().unwrap_or_default()),
        Message::Status(status) => header.child(status_packet(status)),
    }
}

fn message_header(header: &MessageHeader) -> Element {
    let mut element = Element::new("MessageHeader").child(organization("From", &header.from));
    for to in &header.to {
        element = element.child(organization("To", to));
    }
    let code = Element::new("Code")
        .leaf("CodeNumber", header.code_number.as_ref())
        .leaf("CodeNotation", header.code_notation.as_ref());
    let promulgation = Element::new("PromulgationInfo")
        .leaf("Place", header.place.as_ref())
        .leaf("PromulgationDate", header.promulgation_date.as_ref());
    let kind = Element::new("DocumentType")
        .leaf("Type", header.document_type)
        .leaf("TypeDetail", header.type_detail)
        .leaf("TypeName", header.type_name.as_ref());
    let signer = Element::new("SignerInfo")
        .leaf("Competence", header.signer.competence.as_ref())
        .leaf("Position", header.signer.position.as_ref())
        .leaf("FullName", header.signer.full_name.as_ref());
    let element = element
        .leaf("DocumentId", header.document_id.as_ref())
        .child(code)
        .child(promulgation)
        .child(kind)
        .leaf("Subject", header.subject.as_ref())
        .leaf("Content", header.content.as_ref())
        .child(signer)
        .leaf("DueDate", header.due_date.as_ref())
        .child(other_info(&header.other));
    let responses = header.response_for.iter().map(response_for);
    responses
        .fold(element, Element::child)
        .leaf("SteeringType", header.steering_type)
        .child(Element::new("ResponseForTask").leaves("TaskCode", &header.task_codes))
        .leaf("ApplicationType", header.application_type.as_ref())
        .child(Element::new("ToPlaces").leaves("Place", &header.to_places))
}

fn organization(name: &str, organization: &Organization) -> Element {
    Element::new(name)
        .leaf("OrganId", organization.organ_id.as_ref())
        .leaf("OrganizationInCharge", organization.organization_in_charge.as_ref())
        .leaf("OrganName", organization.organ_name.as_ref())
        .leaf("OrganAdd", organization.organ_add.as_ref())
        .leaf("Email", organization.email.as_ref())
        .leaf("Telephone", organization.telephone.as_ref())
        .leaf("Fax", organization.fax.as_ref())
        .leaf("Website", organization.website.as_ref())
}

fn other_info(other: &OtherInfo) -> Element {
    Element::new("OtherInfo")
        .leaf("Priority", other.priority)
        .leaf("SphereOfPromulgation", other.sphere.as_ref())
        .leaf("TyperNotation", other.typer_notation.as_ref())
        .leaf("PromulgationAmount", other.promulgation_amount)
        .leaf("PageAmount", other.page_amount)
        .leaf("ReplyFors", other.reply_fors.as_ref())
        .leaf("Direction", other.direction)
        .leaf("ReferenceCodes", other.reference_codes.as_ref())
        .child(Element::new("Appendixes").leaves("Appendix", &other.appendixes))
}

fn response_for(response: &ResponseFor) -> Element {
    Element::new("ResponseFor")
        .leaf("OrganId", response.organ_id.as_ref())
        .leaf("Code", response.code.as_ref())
        .leaf("DocumentId", response.document_id.as_ref())
        .leaf("PromulgationDate", response.promulgation_date.as_ref())
}

fn trace_header_list(list: &TraceHeaderList) -> Element {
    let element = Element::new("TraceHeaderList")
        .attribute("id", list.id.as_deref())
        .attribute("version", list.version.as_deref())
        .leaf("Paper", list.paper.as_ref())
        .child(list.business.as_ref().map(business).unwrap_or_default());
    list.traces.iter().map(trace_header).fold(element, Element::child)
}

/// One TraceHeader.
#[must_use]
pub(super) fn trace_header(trace: &TraceHeader) -> Element {
    Element::new("TraceHeader").leaf("OrganId", trace.organ_id.as_ref()).leaf("Timestamp", trace.timestamp.as_ref())
}

fn business(business: &Business) -> Element {
    let element = Element::new("Bussiness")
        .leaf("DocumentId", business.document_id.as_ref())
        .leaf("BussinessDocType", business.doc_type)
        .leaf("BussinessDocReason", business.reason.as_ref())
        .leaf("Paper", business.paper.as_ref());
    let element = business.document_infos.iter().map(document_info).fold(element, Element::child);
    let replacements = business.replacements.iter().map(|replacement| {
        Element::new("ReplacementInfo")
            .leaf("DocumentId", replacement.document_id.as_ref())
            .child(Element::new("OrganIdList").leaves("OrganId", &replacement.organ_ids))
    });
    let element = element.child(replacements.fold(Element::new("ReplacementInfoList"), Element::child));
    business.staff.iter().map(staff_info).fold(element, Element::child)
}

fn document_info(info: &BusinessDocumentInfo) -> Element {
    let receivers = info.receivers.iter().map(|receiver| {
        Element::new("Receiver")
            .leaf("OrganId", receiver.organ_id.as_ref())
            .leaf("ReceiverType", receiver.receiver_type.as_ref())
    });
    Element::new("BussinessDocumentInfo")
        .leaf("DocumentInfo", info.document_info.as_ref())
        .leaf("DocumentReceiver", info.document_receiver.as_ref())
        .child(receivers.fold(Element::new("ReceiverList"), Element::child))
}

fn staff_info(staff: &StaffInfo) -> Element {
    Element::new("StaffInfo")
        .leaf("Department", staff.department.as_ref())
        .leaf("DepartmentId", staff.department_id.as_ref())
        .leaf("Staff", staff.staff.as_ref())
        .leaf("StaffId", staff.staff_id.as_ref())
        .leaf("Email", staff.email.as_ref())
        .leaf("Mobile", staff.mobile.as_ref())
}

fn status_packet(status: &StatusPacket) -> Element {
    Element::new("MessageHeader")
        .child(organization("From", &status.from))
        .child(response_for(&status.response_for))
        .child(staff_info(&status.staff))
        .leaf("StatusCode", status.status_code.as_ref())
        .leaf("Description", status.description.as_ref())
        .leaf("Timestamp", status.timestamp.as_ref())
}
