//! Signed PDFs: what holds, what is refused, and what PDF tools say of them.

use lopdf::{Dictionary, Document, Object, SaveOptions, Stream, dictionary};
use truc_certs_dev::{Issued, KeyKind, Profile, TokenPlan, Tsa};
use truc_proto::{
    Digest,
    limits::{PDF_SIGN_BYTES_MAX, PDF_SIGNATURE_BYTES_MAX},
};
use truc_signer::{
    AddTimeStamp, PdfSignError, PdfSignature, SignatureBox,
    cms::{embed_time_stamp, signature_value, verify_detached},
    sign_pdf,
    timestamp::verify_token,
};

use crate::{
    support::{Bench, Dice, NOW, PKI, certificate, issue, mutate, soft},
    tools,
};

const FONT: &[u8] = include_bytes!("../../../report/fonts/LiberationSerif-Regular.ttf");
const KEYS: [KeyKind; 2] = [KeyKind::P256, KeyKind::Rsa3072];

/// A document of two pages; what `change` does to its catalog and first page stands in it too.
fn document(change: impl FnOnce(&mut Document)) -> Document {
    let mut document = Document::with_version("1.7");
    let pages = document.new_object_id();
    let mut kids = Vec::new();
    for number in 1..=2 {
        let content = document.add_object(Stream::new(dictionary! {}, format!("{number} w 10 10 m 90 90 l S").into()));
        let page = dictionary! { "Type" => "Page", "Parent" => pages, "Contents" => content };
        kids.push(Object::Reference(document.add_object(page)));
    }
    let media = [0, 0, 595, 842].map(Object::Integer).to_vec();
    document.set_object(
        pages,
        dictionary! { "Type" => "Pages", "Count" => 2, "Kids" => kids, "MediaBox" => media, "Resources" => dictionary! {} },
    );
    let root = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages });
    document.trailer.set("Root", root);
    change(&mut document);
    document
}

/// With a cross-reference table.
fn plain(change: impl FnOnce(&mut Document)) -> Vec<u8> {
    let mut document = document(change);
    document.reference_table.cross_reference_type = lopdf::xref::XrefType::CrossReferenceTable;
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).unwrap();
    bytes
}

/// With object streams and a cross-reference stream.
fn packed() -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = SaveOptions::builder().use_object_streams(true).use_xref_streams(true).build();
    document(|_| {}).save_with_options(&mut bytes, options).unwrap();
    bytes
}

fn visible() -> PdfSignature<'static> {
    PdfSignature {
        name: Some("UBND thành phố Hà Nội".into()),
        reason: Some("Báo cáo kiểm tra biên nhận".into()),
        location: Some("Hà Nội".into()),
        visible: Some(SignatureBox {
            page: 2,
            left_pt: 300.0,
            bottom_pt: 60.0,
            width_pt: 240.0,
            height_pt: 60.0,
            lines: vec![
                "Ký bởi: ỦY BAN NHÂN DÂN THÀNH PHỐ HÀ NỘI".into(),
                "Ngày ký: 22/11/2026 08:30:00 +07:00".into(),
            ],
            font: FONT,
        }),
        time_stamp: None,
    }
}

fn sign(pdf: &[u8], options: &PdfSignature<'_>) -> Result<Vec<u8>, PdfSignError> {
    sign_pdf(pdf, &soft(&issue(Profile::Service, KeyKind::P256)), options, *NOW)
}

/// The signatures in a file: what each covers, and its CMS.
fn signatures(pdf: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let document = Document::load_mem(pdf).unwrap();
    let form = document.catalog().unwrap().get_deref(b"AcroForm", &document).and_then(Object::as_dict).unwrap();
    assert_eq!(form.get(b"SigFlags").unwrap(), &Object::Integer(3));
    let fields = form.get_deref(b"Fields", &document).and_then(Object::as_array).unwrap();
    let fields = fields.iter().map(|field| document.dereference(field).unwrap().1.as_dict().unwrap());
    let values = fields.map(|field| field.get_deref(b"V", &document).and_then(Object::as_dict).unwrap());
    let parts = |value: &Dictionary| {
        assert_eq!(value.get(b"SubFilter").and_then(Object::as_name).unwrap(), b"ETSI.CAdES.detached");
        let range = value.get(b"ByteRange").and_then(Object::as_array).unwrap();
        let range: Vec<_> = range.iter().map(|n| usize::try_from(n.as_i64().unwrap()).unwrap()).collect();
        let (end, rest) = (range[0] + range[1], range[2]..range[2] + range[3]);
        assert_eq!((range[0], pdf[end], pdf[rest.start - 1]), (0, b'<', b'>'), "all but the signature is covered");
        let cms = value.get(b"Contents").and_then(Object::as_str).unwrap();
        let length = 4 + usize::from(u16::from_be_bytes([cms[2], cms[3]]));
        assert!(cms[length..].iter().all(|byte| *byte == 0));
        ([&pdf[..end], &pdf[rest]].concat(), cms[..length].to_vec())
    };
    values.map(parts).collect()
}

#[test]
fn a_signature_covers_all_bytes_but_itself_and_leaves_those_before_as_they_were() {
    for kind in KEYS {
        let issued = issue(Profile::Service, kind);
        for pdf in [plain(|_| {}), packed()] {
            for options in [PdfSignature::default(), visible()] {
                let signed = sign_pdf(&pdf, &soft(&issued), &options, *NOW).unwrap();
                assert!(signed.starts_with(&pdf));
                let [(covered, cms)] = signatures(&signed).try_into().unwrap();
                assert_eq!(covered.len() + 2 * PDF_SIGNATURE_BYTES_MAX + 2, signed.len());
                let signature = verify_detached(&cms, &covered, &[]).unwrap();
                assert_eq!(signature.certificate, certificate(&issued));
                assert_eq!(signature.signing_time, None, "PAdES says the time in /M");
            }
        }
    }
}

#[test]
fn a_time_stamp_goes_into_the_room_of_the_signature_and_one_too_long_is_left_out() {
    let tsa = Tsa::new(issue(Profile::TimeStamping, KeyKind::Rsa3072)).unwrap();
    let stamp = |cms: &[u8]| {
        let imprint = Digest::of(&signature_value(cms).unwrap());
        Some(embed_time_stamp(cms, &tsa.token(&imprint, &TokenPlan::at(*NOW)).unwrap()).unwrap())
    };
    let too_long = |cms: &[u8]| Some([cms, &[0; PDF_SIGNATURE_BYTES_MAX]].concat());
    let none = |_: &[u8]| None;
    for (add, count) in [(&stamp as &dyn Fn(&[u8]) -> Option<Vec<u8>>, 1), (&too_long, 0), (&none, 0)] {
        let signed = sign(&plain(|_| {}), &PdfSignature { time_stamp: Some(AddTimeStamp(add)), ..visible() }).unwrap();
        let [(covered, cms)] = signatures(&signed).try_into().unwrap();
        let signature = verify_detached(&cms, &covered, &[]).unwrap();
        assert_eq!(signature.time_stamp_tokens.len(), count);
        for token in &signature.time_stamp_tokens {
            verify_token(token, &signature.signature).unwrap();
        }
        let Some(pdfsig) = tools::tool("pdfsig") else { continue };
        let (_, said) =
            bench(&issue(Profile::Service, KeyKind::P256), &signed).run(&pdfsig, &["-nocert", "signed.pdf"]);
        assert!(said.contains("Signature is Valid."), "{said}");
    }
}

#[test]
fn a_second_signature_leaves_the_first_whole() {
    for pdf in [plain(|_| {}), packed()] {
        let once = sign(&pdf, &PdfSignature::default()).unwrap();
        let twice = sign(&once, &visible()).unwrap();
        assert!(twice.starts_with(&once));
        let [first, second] = signatures(&twice).try_into().unwrap();
        assert_eq!(first, signatures(&once)[0]);
        verify_detached(&first.1, &first.0, &[]).unwrap();
        verify_detached(&second.1, &second.0, &[]).unwrap();
    }
}

#[test]
fn text_of_the_file_that_looks_like_a_signature_misleads_nobody() {
    // The numbers that the update's objects will get, at every place that the update repeats.
    let bait: String =
        (1..40).map(|n| format!("\n{n} 0 obj\n<</ByteRange[0 9 9 9999999999]/Contents<00000000>>>")).collect();
    let pdf = plain(|document| {
        let bait = || Object::string_literal(bait.clone());
        document.trailer.set("ID", vec![bait(), bait()]);
        document.trailer.set("Bait", bait());
        let page = document.page_iter().next().unwrap();
        document.get_dictionary_mut(page).unwrap().set("Bait", bait());
        document.catalog_mut().unwrap().set("Bait", bait());
    });
    let signed = sign(&pdf, &PdfSignature::default()).unwrap();
    let [(covered, cms)] = signatures(&signed).try_into().unwrap();
    verify_detached(&cms, &covered, &[]).unwrap();
}

#[test]
fn a_file_that_readers_would_have_to_repair_is_refused() {
    let pdf = plain(|_| {});
    let junk_before = [b"junk\n".as_slice(), &pdf].concat();
    assert!(matches!(sign(&junk_before, &PdfSignature::default()), Err(PdfSignError::NotPdf)));
    let text = String::from_utf8_lossy(&pdf).into_owned();
    let start = text.rfind("startxref").unwrap();
    let wrong_start = [&pdf[..start], b"startxref\n7\n%%EOF"].concat();
    let junk_behind = [pdf.as_slice(), &[b'x'; 2_000]].concat();
    for broken in [&pdf[..start], &wrong_start, &junk_behind, b"%PDF-1.7\n"] {
        let result = sign(broken, &PdfSignature::default());
        assert!(matches!(result, Err(PdfSignError::Malformed { .. })), "{:?}", result.map(|pdf| pdf.len()));
    }
    let large = vec![b' '; PDF_SIGN_BYTES_MAX + 1];
    assert!(matches!(sign(&large, &PdfSignature::default()), Err(PdfSignError::TooLarge { .. })));
}

#[test]
fn an_encrypted_file_is_refused_though_the_empty_password_opens_it() {
    let pdf = {
        let mut document = document(|document| {
            let id = || Object::string_literal("0123456789abcdef");
            document.trailer.set("ID", vec![id(), id()]);
        });
        let version = lopdf::EncryptionVersion::V2 {
            document: &document,
            owner_password: "owner",
            user_password: "",
            key_length: 128,
            permissions: lopdf::Permissions::all(),
        };
        let state = lopdf::EncryptionState::try_from(version).unwrap();
        document.encrypt(&state).unwrap();
        let mut bytes = Vec::new();
        document.save_to(&mut bytes).unwrap();
        bytes
    };
    assert!(matches!(sign(&pdf, &PdfSignature::default()), Err(PdfSignError::Encrypted)));
}

#[test]
fn a_certified_document_that_allows_no_change_is_refused() {
    let certified = |p: i64| {
        let pdf = plain(|document| {
            let reference =
                dictionary! { "TransformMethod" => "DocMDP", "TransformParams" => dictionary! { "P" => p } };
            let signature = document.add_object(dictionary! { "Reference" => vec![Object::Dictionary(reference)] });
            let field = document.add_object(
                dictionary! { "FT" => "Sig", "T" => Object::string_literal("Signature1"), "V" => signature },
            );
            document.catalog_mut().unwrap().set("AcroForm", dictionary! { "Fields" => vec![Object::Reference(field)] });
        });
        sign(&pdf, &PdfSignature::default())
    };
    assert!(matches!(certified(1), Err(PdfSignError::Locked)));
    assert!(certified(2).is_ok());
    let dynamic = plain(|document| {
        document.catalog_mut().unwrap().set("AcroForm", dictionary! { "XFA" => Object::string_literal("") });
    });
    assert!(matches!(sign(&dynamic, &PdfSignature::default()), Err(PdfSignError::DynamicForm)));
}

#[test]
fn kids_that_lead_in_a_circle_are_refused() {
    let pdf = plain(|document| {
        let field = document.new_object_id();
        document.set_object(field, dictionary! { "Kids" => vec![Object::Reference(field); 2] });
        document.catalog_mut().unwrap().set("AcroForm", dictionary! { "Fields" => vec![Object::Reference(field)] });
    });
    assert!(matches!(sign(&pdf, &PdfSignature::default()), Err(PdfSignError::Malformed { .. })));
}

#[test]
fn a_box_that_cannot_be_shown_is_refused_with_the_reason() {
    let refused = |change: fn(&mut SignatureBox<'_>)| {
        let mut options = visible();
        change(options.visible.as_mut().unwrap());
        sign(&plain(|_| {}), &options).unwrap_err().to_string()
    };
    assert!(refused(|b| b.page = 3).contains("on page 3, and the PDF has 2"));
    assert!(refused(|b| b.page = 0).contains("on page 0"));
    assert!(refused(|b| b.left_pt = 400.0).contains("does not lie within page 2"));
    assert!(refused(|b| b.width_pt = f32::NAN).contains("does not lie within page 2"));
    assert!(refused(|b| b.height_pt = 12.0).contains("fits only in letters under 4 points"));
    assert!(refused(|b| b.lines.push("語".into())).contains("has no '語'"));
    assert!(refused(|b| b.font = b"no font").contains("its font cannot be read"));
    let turned = plain(|document| {
        let page = document.page_iter().nth(1).unwrap();
        document.get_dictionary_mut(page).unwrap().set("Rotate", 90);
    });
    assert!(sign(&turned, &visible()).unwrap_err().to_string().contains("page 2 is shown turned"));
}

#[test]
fn damaged_files_are_signed_or_refused_and_never_more() {
    let key = soft(&issue(Profile::Service, KeyKind::P256));
    let mut dice = Dice(7);
    let originals = [plain(|_| {}), packed(), sign(&packed(), &visible()).unwrap()];
    for original in &originals {
        for _ in 0..150 {
            let damaged = mutate(original, &mut dice);
            if let Ok(signed) = sign_pdf(&damaged, &key, &visible(), *NOW) {
                assert!(signed.starts_with(&damaged));
            }
        }
    }
}

/// Prints one line for each signature of a PDF, as pyHanko sees it with these anchors and lists.
const PYHANKO: &str = r#"
import sys
from asn1crypto import crl, pem, x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
load = lambda path, kind: [kind.load(der) for _, _, der in pem.unarmor(open(path, 'rb').read(), multiple=True)]
context = ValidationContext(trust_roots=load('anchors.pem', x509.Certificate), other_certs=load('sub.pem', x509.Certificate),
    crls=load('crls.pem', crl.CertificateList), revocation_mode='require', allow_fetching=False)
for signature in PdfFileReader(open(sys.argv[1], 'rb'), strict=True).embedded_signatures:
    status = validate_pdf_signature(signature, context)
    print(signature.field_name, 'intact' if status.intact else 'broken', 'valid' if status.valid else 'invalid',
          'trusted' if status.trusted else 'untrusted', status.coverage.name, 'good' if status.bottom_line else 'bad')
"#;

fn bench(issued: &Issued, pdf: &[u8]) -> Bench {
    let bench = Bench::new();
    bench.put("anchors.pem", &PKI.anchors_pem);
    bench.put("sub.pem", &PKI.intermediates_pem);
    bench.put("crls.pem", PKI.crls_pem().unwrap());
    bench.put("leaf.pem", issued.leaf_pem());
    bench.put("signed.pdf", pdf);
    bench
}

/// Good for the tools with one byte as it was, and not with another.
fn with_one_byte_changed(signed: &[u8]) -> Vec<u8> {
    let mut changed = signed.to_vec();
    // The width of the first page's line: a file that is as good as before, with another picture.
    let at = changed.windows(3).position(|window| window == b"1 w").unwrap();
    changed[at] = b'7';
    changed
}

#[test]
fn pyhanko_trusts_our_signatures_and_finds_a_changed_byte() {
    let Some(python) = tools::python("pyhanko.sign") else { return };
    for kind in KEYS {
        let issued = issue(Profile::Service, kind);
        for pdf in [plain(|_| {}), packed()] {
            let first = sign_pdf(&pdf, &soft(&issued), &visible(), *NOW).unwrap();
            let second = sign_pdf(&first, &soft(&issued), &PdfSignature::default(), *NOW).unwrap();
            let see = |pdf: &[u8]| bench(&issued, pdf).run(&python, &["-c", PYHANKO, "signed.pdf"]).1;
            let good = "Signature1 intact valid trusted ENTIRE_FILE good\n";
            assert_eq!(see(&first), good);
            let both = see(&second);
            assert!(both.contains("Signature2 intact valid trusted ENTIRE_FILE good"), "{both}");
            assert!(both.contains("Signature1 intact valid trusted ENTIRE_REVISION good"), "{both}");
        }
        let signed = sign_pdf(&plain(|_| {}), &soft(&issued), &visible(), *NOW).unwrap();
        let (_, said) = bench(&issued, &with_one_byte_changed(&signed)).run(&python, &["-c", PYHANKO, "signed.pdf"]);
        assert!(said.contains("Signature1 broken"), "{said}");
    }
}

#[test]
fn pdfsig_finds_our_signatures_valid_and_a_changed_byte() {
    let Some(pdfsig) = tools::tool("pdfsig") else { return };
    for kind in KEYS {
        let issued = issue(Profile::Service, kind);
        for pdf in [plain(|_| {}), packed()] {
            for options in [PdfSignature::default(), visible()] {
                let signed = sign_pdf(&pdf, &soft(&issued), &options, *NOW).unwrap();
                let (_, said) = bench(&issued, &signed).run(&pdfsig, &["-nocert", "signed.pdf"]);
                for line in ["Signature is Valid.", "ETSI.CAdES.detached", "Total document signed"] {
                    assert!(said.contains(line), "{line}: {said}");
                }
            }
        }
        let signed = sign_pdf(&plain(|_| {}), &soft(&issued), &visible(), *NOW).unwrap();
        let (_, said) = bench(&issued, &with_one_byte_changed(&signed)).run(&pdfsig, &["-nocert", "signed.pdf"]);
        assert!(said.contains("Digest Mismatch"), "{said}");
    }
}

#[test]
fn qpdf_finds_nothing_wrong_and_the_box_says_its_text() {
    let (Some(qpdf), Some(pdftotext)) = (tools::tool("qpdf"), tools::tool("pdftotext")) else { return };
    let issued = issue(Profile::Service, KeyKind::P256);
    for pdf in [plain(|_| {}), packed()] {
        let once = sign_pdf(&pdf, &soft(&issued), &visible(), *NOW).unwrap();
        let twice = sign_pdf(&once, &soft(&issued), &PdfSignature::default(), *NOW).unwrap();
        for signed in [once, twice] {
            let bench = bench(&issued, &signed);
            let (good, said) = bench.run(&qpdf, &["--check", "signed.pdf"]);
            assert!(good && !said.contains("WARNING"), "{said}");
            let (_, text) = bench.run(&pdftotext, &["-layout", "signed.pdf", "-"]);
            assert!(text.contains("Ký bởi: ỦY BAN NHÂN DÂN THÀNH PHỐ HÀ NỘI"), "{text}");
        }
    }
}
