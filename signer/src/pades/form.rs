//! The form of a PDF: the field that carries a signature, and the locks that earlier signatures put on it.

use lopdf::{Dictionary, Document, IncrementalDocument, Object, ObjectId, dictionary};
use truc_proto::limits::PDF_FIELDS_MAX;

use super::{PdfSignError, malformed};

/// Print and Locked (ISO 32000-1 12.5.3).
const WIDGET_FLAGS: i64 = 4 | 128;
/// SignaturesExist and AppendOnly (ISO 32000-1 12.7.2).
const SIGNATURE_FLAGS: i64 = 1 | 2;

/// The object of page `number`, from 1.
pub(super) fn page(document: &Document, number: usize) -> Result<ObjectId, PdfSignError> {
    let mut pages = document.page_iter();
    let page = number.checked_sub(1).and_then(|before| pages.nth(before));
    page.filter(|page| document.get_dictionary(*page).is_ok())
        .ok_or_else(|| PdfSignError::NoSuchPage { page: number, pages: document.page_iter().count() })
}

/// Refuses what another signature would break or what readers do not agree on.
pub(super) fn refuse_locked(document: &Document) -> Result<(), PdfSignError> {
    let catalog = document.catalog().map_err(malformed)?;
    if let Ok(certification) =
        dictionary_at(document, catalog, b"Perms").and_then(|p| dictionary_at(document, p, b"DocMDP"))
    {
        refuse_if_final(document, certification)?;
    }
    let Ok(form) = dictionary_at(document, catalog, b"AcroForm") else { return Ok(()) };
    if form.has(b"XFA") {
        return Err(PdfSignError::DynamicForm);
    }
    for field in fields(document, form)? {
        let Ok(value) = dictionary_at(document, field, b"V") else { continue };
        refuse_if_final(document, value)?;
        // A lock asked for by the field that was signed (ISO 32000-2 12.7.5.5).
        if dictionary_at(document, field, b"Lock").is_ok_and(|lock| integer(document, lock, b"P") == Some(1)) {
            return Err(PdfSignError::Locked);
        }
    }
    Ok(())
}

/// A DocMDP transform with P = 1 allows nothing more; 2 and 3 allow signing (ISO 32000-1 12.8.2.2).
fn refuse_if_final(document: &Document, signature: &Dictionary) -> Result<(), PdfSignError> {
    let Ok(references) = signature.get_deref(b"Reference", document).and_then(Object::as_array) else { return Ok(()) };
    for reference in references.iter().take(PDF_FIELDS_MAX) {
        let Ok(reference) = document.dereference(reference).and_then(|(_, object)| object.as_dict()) else { continue };
        let method = reference.get_deref(b"TransformMethod", document).and_then(Object::as_name);
        let parameters = dictionary_at(document, reference, b"TransformParams");
        if method.is_ok_and(|name| name == b"DocMDP")
            && parameters.is_ok_and(|parameters| integer(document, parameters, b"P") == Some(1))
        {
            return Err(PdfSignError::Locked);
        }
    }
    Ok(())
}

/// All fields of the form, kids included.
fn fields<'a>(document: &'a Document, form: &'a Dictionary) -> Result<Vec<&'a Dictionary>, PdfSignError> {
    let mut found = Vec::new();
    let mut open: Vec<&Object> = children(document, form, b"Fields");
    while let Some(object) = open.pop() {
        let Ok(field) = document.dereference(object).and_then(|(_, object)| object.as_dict()) else { continue };
        found.push(field);
        open.extend(children(document, field, b"Kids"));
        // Bounds a form whose kids lead back to themselves too.
        if found.len() + open.len() > PDF_FIELDS_MAX {
            return Err(PdfSignError::Malformed { detail: format!("its form has more than {PDF_FIELDS_MAX} fields") });
        }
    }
    Ok(found)
}

fn children<'a>(document: &'a Document, dictionary: &'a Dictionary, key: &[u8]) -> Vec<&'a Object> {
    let list = dictionary.get_deref(key, document).and_then(Object::as_array);
    list.map(|list| list.iter().collect()).unwrap_or_default()
}

/// Adds a signature field, with its widget on `page`, and says which object it is.
pub(super) fn add_field(
    update: &mut IncrementalDocument,
    page: ObjectId,
    rectangle: Vec<Object>,
    drawn: Option<ObjectId>,
) -> Result<ObjectId, PdfSignError> {
    let mut widget = dictionary! {
        "Type" => "Annot",
        "Subtype" => "Widget",
        "FT" => "Sig",
        "T" => Object::string_literal(unused_name(update.get_prev_documents())?),
        "F" => WIDGET_FLAGS,
        "Rect" => rectangle,
        "P" => page,
    };
    if let Some(drawn) = drawn {
        widget.set("AP", dictionary! { "N" => drawn });
    }
    let field = update.new_document.try_add_object(widget).map_err(malformed)?;

    update.opt_clone_object_to_new_document(page).map_err(malformed)?;
    append(update, page, b"Annots", field)?;

    let root = update.new_document.trailer.get(b"Root").and_then(Object::as_reference).map_err(malformed)?;
    update.opt_clone_object_to_new_document(root).map_err(malformed)?;
    let form = form_object(update, root)?;
    append(update, form, b"Fields", field)?;
    let form = update.new_document.get_dictionary_mut(form).map_err(malformed)?;
    let flags = form.get(b"SigFlags").and_then(Object::as_i64).unwrap_or(0);
    form.set("SigFlags", flags | SIGNATURE_FLAGS);
    Ok(field)
}

/// Names the object that the field's signature is.
pub(super) fn set_value(
    update: &mut IncrementalDocument,
    field: ObjectId,
    signature: ObjectId,
) -> Result<(), PdfSignError> {
    update.new_document.get_dictionary_mut(field).map_err(malformed)?.set("V", signature);
    Ok(())
}

/// The form's dictionary as an object of the update. One that stood in the catalog itself becomes an object of its own.
fn form_object(update: &mut IncrementalDocument, root: ObjectId) -> Result<ObjectId, PdfSignError> {
    let form = update.new_document.get_dictionary(root).map_err(malformed)?.get(b"AcroForm").ok().cloned();
    let id = match form {
        Some(Object::Reference(id)) => {
            update.opt_clone_object_to_new_document(id).map_err(malformed)?;
            return Ok(id);
        }
        Some(Object::Dictionary(form)) => update.new_document.try_add_object(form),
        _ => update.new_document.try_add_object(dictionary! { "Fields" => Vec::<Object>::new() }),
    }
    .map_err(malformed)?;
    update.new_document.get_dictionary_mut(root).map_err(malformed)?.set("AcroForm", id);
    Ok(id)
}

/// Appends `item` to the array under `key` of an object of the update, wherever that array stands.
fn append(update: &mut IncrementalDocument, id: ObjectId, key: &[u8], item: ObjectId) -> Result<(), PdfSignError> {
    let list = update.new_document.get_dictionary(id).map_err(malformed)?.get(key).ok().cloned();
    if let Some(Object::Reference(list)) = list {
        update.opt_clone_object_to_new_document(list).map_err(malformed)?;
        let list = update.new_document.get_object_mut(list).and_then(Object::as_array_mut).map_err(malformed)?;
        list.push(item.into());
        return Ok(());
    }
    let mut list = match list {
        Some(Object::Array(list)) => list,
        _ => Vec::new(),
    };
    list.push(item.into());
    update.new_document.get_dictionary_mut(id).map_err(malformed)?.set(key, list);
    Ok(())
}

/// `Signature1`, or the first number that no field of the form has.
fn unused_name(document: &Document) -> Result<String, PdfSignError> {
    let form = document.catalog().and_then(|catalog| dictionary_at(document, catalog, b"AcroForm"));
    let taken: Vec<&[u8]> = match form {
        Ok(form) => {
            fields(document, form)?.into_iter().filter_map(|field| field.get(b"T").ok()?.as_str().ok()).collect()
        }
        Err(_) => Vec::new(),
    };
    let mut names = (1..).map(|number| format!("Signature{number}"));
    Ok(names.find(|name| !taken.contains(&name.as_bytes())).expect("there are more numbers than fields"))
}

fn dictionary_at<'a>(document: &'a Document, dictionary: &'a Dictionary, key: &[u8]) -> lopdf::Result<&'a Dictionary> {
    dictionary.get_deref(key, document).and_then(Object::as_dict)
}

fn integer(document: &Document, dictionary: &Dictionary, key: &[u8]) -> Option<i64> {
    dictionary.get_deref(key, document).and_then(Object::as_i64).ok()
}
