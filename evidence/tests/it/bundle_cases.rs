//! Bundles, right ones and bent ones, and what stands against each: for the Rust verifier, and for the verify page to be held against it.

use std::io::Write as _;

use data_encoding::BASE64;
use truc_evidence::{
    BundleCheck::{self, *},
    BundleReport, BundleWriter, Document,
    Outcome::{self, *},
    ReceiptTrust, verify_bundle,
};
use truc_ledger::merkle::{MemTree, leaf_hash};
use truc_proto::{
    Actor, BundleJson, CertificateBinding, Digest, DirectoryRef, Entry, EnvelopeId, Event, EventUri, KeyStatus, Lane,
    Preamble, Priority, Raw, Reason, Role, RootStatement, Submission, Timestamp,
};
use truc_signer::{
    SignError, SoftKey, TrustStore,
    asic::{ContainerWriter, MANIFEST_NAME, MIMETYPE, SIGNATURE_NAME},
    sign_detached,
};

use crate::{
    cases::{agency, by_the_sender, node, receive},
    world::*,
    zips::{Zip, ZipEntry, crc32},
};

/// A bundle to build: what is put in under which name, and who signs.
pub(crate) struct Plan {
    pub(crate) receipts: Vec<(&'static str, String)>,
    pub(crate) about: fn(&mut BundleJson),
    pub(crate) signer: fn(&World) -> &Party,
    /// Instead of it.
    pub(crate) signed_by: Option<SoftKey>,
    pub(crate) signed_at: Option<Timestamp>,
    pub(crate) stamps: Stamps,
    /// OCSP answers, by entry name, before the receipts and behind them.
    pub(crate) answers: Vec<(String, Vec<u8>)>,
    pub(crate) late_answers: Vec<(String, Vec<u8>)>,
    /// Files of business statuses, by entry name, behind the receipts.
    pub(crate) statuses: Vec<(String, Vec<u8>)>,
}

pub(crate) fn receipt(who: Who, bend: impl FnOnce(&mut Recipe)) -> String {
    let mut recipe = Recipe { who, with_opening: true, ..Recipe::default() };
    bend(&mut recipe);
    recipe.build(&WORLD).receipt
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            receipts: vec![
                ("submission.receipt", receipt(Who::Sender, |_| {})),
                ("relay.receipt", receipt(Who::Relay, |_| {})),
                ("consignment.receipt", receipt(Who::Recipient, |_| {})),
            ],
            about: |_| {},
            signer: |world| &world.service_g22,
            signed_by: None,
            signed_at: Some(after(HOUR_MS)),
            stamps: |_, _| vec![],
            answers: vec![],
            late_answers: vec![],
            statuses: vec![],
        }
    }
}

impl Plan {
    pub(crate) fn of(receipts: Vec<(&'static str, String)>) -> Self {
        Self { receipts, ..Self::default() }
    }

    fn about(&self) -> BundleJson {
        let mut about = about();
        about.made = self.signed_at.unwrap_or(about.made);
        (self.about)(&mut about);
        about
    }

    pub(crate) fn writer(&self) -> BundleWriter<Vec<u8>> {
        let mut writer = BundleWriter::new(Vec::new(), self.about()).unwrap();
        let put = |writer: &mut BundleWriter<Vec<u8>>, answers: &[(String, Vec<u8>)]| {
            for (name, answer) in answers {
                writer.put(name, "application/ocsp-response", answer).unwrap();
            }
        };
        put(&mut writer, &self.answers);
        for (name, receipt) in &self.receipts {
            writer.receipt(name, receipt.as_bytes()).unwrap();
        }
        for (name, file) in &self.statuses {
            writer.put(name, "application/octet-stream", file).unwrap();
        }
        put(&mut writer, &self.late_answers);
        writer.checked(b"{}").unwrap();
        writer
    }

    pub(crate) fn sign(&self, manifest: &[u8]) -> Result<Vec<u8>, SignError> {
        let key = self.signed_by.as_ref().unwrap_or_else(|| &(self.signer)(&WORLD).key);
        let cms = sign_detached(key, manifest, self.signed_at)?;
        Ok(stamped(&WORLD, cms, manifest, self.stamps))
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        self.writer().finish(|manifest| self.sign(manifest)).unwrap()
    }

    /// What goes in, by name.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let about = Raw::write(self.about()).unwrap().bytes().to_vec();
        let receipts = self.receipts.iter();
        let receipts = receipts.map(|(name, text)| (format!("receipts/{name}"), text.clone().into_bytes()));
        [("bundle.json".to_owned(), about)].into_iter().chain(receipts).chain(self.statuses.clone()).collect()
    }

    /// Packed by another hand, with the manifest bent before it is signed and the file bent after.
    pub(crate) fn packed(
        &self,
        files: Vec<(String, Vec<u8>)>,
        manifest: impl FnOnce(String) -> String,
        zip: impl FnOnce(&mut Zip),
    ) -> Vec<u8> {
        let manifest = manifest(manifest_of(&files)).into_bytes();
        let signature = self.sign(&manifest).unwrap();
        let mimetype = ("mimetype".to_owned(), MIMETYPE.as_bytes().to_vec());
        let last = [(MANIFEST_NAME.to_owned(), manifest), (SIGNATURE_NAME.to_owned(), signature)];
        let all = [mimetype].into_iter().chain(files).chain(last);
        let entries = all.map(|(name, content)| ZipEntry::new(&name, content)).collect();
        let mut packed = Zip { entries, ..Zip::default() };
        zip(&mut packed);
        packed.bytes()
    }
}

/// `META-INF/ASiCManifest.xml` over these files.
fn manifest_of(files: &[(String, Vec<u8>)]) -> String {
    let escaped = |name: &str| {
        let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        name.bytes()
            .map(|byte| if kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect::<String>()
    };
    let reference = |(name, content): &(String, Vec<u8>)| {
        format!(
            r#"<asic:DataObjectReference URI="{}"><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><ds:DigestValue>{}</ds:DigestValue></asic:DataObjectReference>"#,
            escaped(name),
            BASE64.encode(&Digest::of(content).0),
        )
    };
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><asic:ASiCManifest xmlns:asic="http://uri.etsi.org/02918/v1.2.1#" xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><asic:SigReference URI="{SIGNATURE_NAME}" MimeType="application/pkcs7-signature"/>{}</asic:ASiCManifest>"#,
        files.iter().map(reference).collect::<String>(),
    )
}

pub(crate) fn about() -> BundleJson {
    let receipt = receipt(Who::Sender, |_| {});
    let report = truc_evidence::verify_receipt(receipt.as_bytes(), &trust(false), None, after(DAY_MS));
    BundleJson {
        axis: axis(),
        lane: Lane::Ordinary,
        envelope: report.summary.as_ref().and_then(|summary| summary.envelope).unwrap(),
        sender: code("G22"),
        by: code("G22"),
        node: node_id("N-G22"),
        made: after(HOUR_MS),
        statuses_left_out: 0,
    }
}

pub(crate) fn trust(with_crls: bool) -> ReceiptTrust {
    ReceiptTrust::new(store(with_crls, ""), WORLD.pinned())
}

fn store(with_crls: bool, more: &str) -> TrustStore {
    store_of(&format!("{}{more}", WORLD.trust_pem()), if with_crls { WORLD.crls_pem.as_str() } else { "" })
}

/// A bundle, what is shown with it, and what stands against it.
pub(crate) struct BundleCase {
    pub(crate) name: String,
    pub(crate) bundle: Vec<u8>,
    pub(crate) with_crls: bool,
    pub(crate) document: Option<&'static [u8]>,
    /// OCSP answers that the verifier is given beside it.
    pub(crate) given: Vec<Vec<u8>>,
    /// Authorities that are trusted, too, in PEM.
    pub(crate) trusted: String,
    pub(crate) against: Vec<(BundleCheck, Outcome)>,
    /// When it is judged.
    pub(crate) now: Timestamp,
}

impl BundleCase {
    pub(crate) fn new(name: impl Into<String>, bundle: Vec<u8>, against: &[(BundleCheck, Outcome)]) -> Self {
        Self {
            name: name.into(),
            bundle,
            with_crls: false,
            document: None,
            given: vec![],
            trusted: String::new(),
            against: against.to_vec(),
            now: after(DAY_MS),
        }
    }

    /// Judged then.
    pub(crate) fn at(self, ms: i64) -> Self {
        Self { now: after(ms), ..self }
    }

    pub(crate) fn with_crls(self) -> Self {
        Self { with_crls: true, ..self }
    }

    fn showing(self, document: &'static [u8]) -> Self {
        Self { document: Some(document), ..self }
    }

    pub(crate) fn report(&self) -> BundleReport {
        let document = self.document.map(Document::of);
        let store = store(self.with_crls, &self.trusted).with_answers(answers_of(&self.given, self.now));
        let trust = ReceiptTrust::new(store, WORLD.pinned());
        verify_bundle(self.bundle.as_slice(), &trust, document.as_ref(), self.now)
    }
}

/// H37 states that its document system took it.
fn handed_over_by_h37() -> String {
    receipt(Who::Recipient, |recipe| {
        *recipe = Recipe { with_opening: true, ..by_node_h37() };
        recipe.event = |event| {
            of_h37(event);
            event.event = EventUri::ContentHandover;
        };
    })
}

fn by_node_h37() -> Recipe {
    Recipe {
        event: of_h37,
        ledger: |ledger| *ledger = ledger_of("node/N-H37", "N-H37", 3),
        cms: |world, cms| cms.key = Some(&world.node_h37.key),
        agency_entry: Some("agency/H37"),
        ..Recipe::default()
    }
}

fn of_h37(event: &mut Event) {
    event.actor = Actor { code: Some(code("H37")), node: node_id("N-H37"), role: Role::Recipient };
    (event.recipient, event.key_envelope) = (Some(code("H37")), Some(Digest::of(b"H37")));
}

fn of_another_envelope(who: Who) -> String {
    receipt(who, |recipe| {
        recipe.preamble = |preamble| preamble.envelope = EnvelopeId::new(preamble.created, [9; 10]);
    })
}

fn bent_receipt() -> String {
    receipt(Who::Recipient, |recipe| {
        recipe.leaf_shown = |leaf| String::from_utf8(leaf).unwrap().replace("H26", "H37").into_bytes();
    })
}

fn provisional() -> String {
    receipt(Who::Recipient, |recipe| recipe.cms = |_, cms| cms.key = None)
}

/// The same place in H26's ledger as its consignment, and another leaf there.
fn handover_in_its_place() -> String {
    receipt(Who::Recipient, |recipe| recipe.event = |event| event.event = EventUri::ContentHandover)
}

/// Whatever is in it, in a container of our writer.
pub(crate) fn container(plan: &Plan, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ContainerWriter::new(Vec::new()).unwrap();
    for (name, bytes) in files {
        writer.begin_entry(name, "text/plain", None).unwrap();
        writer.write_all(bytes).unwrap();
        writer.end_entry().unwrap();
    }
    writer.finish(|manifest| plan.sign(manifest)).unwrap().sink
}

pub(crate) fn all() -> Vec<BundleCase> {
    let mut all = right();
    all.extend(bent_files());
    all.extend(bent_manifests());
    all.extend(bent_names());
    all.extend(bent_statements());
    all.extend(signatures());
    all.extend(stamps());
    all.extend(contents());
    all.extend(disagreements());
    all.extend(contradictions());
    all.extend(times());
    all.extend(makers());
    all.extend(stopped());
    all.extend(crate::answers::bundles());
    all.extend(crate::constrained::bundles());
    all.extend(crate::status_cases::bundles());
    all
}

fn right() -> Vec<BundleCase> {
    let plan = Plan::default();
    let mut two = Plan::default();
    two.receipts.push(("handover.receipt", handed_over_by_h37()));
    let mut hostile = plan.files();
    for name in ["certificates/<img src=x onerror=alert(1)>.cer", "revocation/Nghị định & \"thu hồi\".crl"] {
        hostile.push((name.to_owned(), b"of no weight".to_vec()));
    }
    let script = ("<script>alert(1)<script>.receipt", plan.receipts[0].1.clone());
    let of = |name: &str, bundle| BundleCase::new(name, bundle, &[]);
    vec![
        of("right", plan.build()),
        of("right-with-document", plan.build()).showing(PACKET),
        of("right-with-revocation-lists", plan.build()).with_crls(),
        of("two-recipients", two.build()).showing(PACKET),
        of("by-another-packer", plan.packed(plan.files(), |manifest| manifest, |_| ())),
        of("deflated-with-its-sizes-before-it", {
            let deflate = |zip: &mut Zip| {
                let entry = zip.entry("receipts/relay.receipt");
                *entry = ZipEntry::deflated("receipts/relay.receipt", &entry.content.clone());
            };
            plan.packed(plan.files(), |manifest| manifest, deflate)
        }),
        of("zeros-that-are-no-bomb-yet", with_zeros(&plan, 15 << 20)),
        of("by-the-recipient", by_h26().build()),
        of("without-signing-time", Plan { signed_at: None, ..Plan::default() }.build()),
        of("hostile-names-beside", plan.packed(hostile, |manifest| manifest, |_| ())),
        of("hostile-name-of-a-receipt", Plan::of(vec![script]).build()),
        of("receipts-in-folders", Plan::of(vec![("a/b/c.receipt", plan.receipts[0].1.clone())]).build()),
        of(
            "one-receipt-twice",
            Plan::of(vec![("a", plan.receipts[0].1.clone()), ("b", plan.receipts[0].1.clone())]).build(),
        ),
        BundleCase::new("another-document", plan.build(), &[(Receipts, Failed)]).showing(b"another document"),
    ]
}

/// So many zeros, covered by the manifest, packed as small as it goes.
fn with_zeros(plan: &Plan, count: usize) -> Vec<u8> {
    let mut files = plan.files();
    files.push(("zeros".to_owned(), vec![0; count]));
    let deflate = |zip: &mut Zip| *zip.entry("zeros") = ZipEntry::deflated("zeros", &vec![0; count]);
    plan.packed(files, |manifest| manifest, deflate)
}

/// What a file may be that is no whole container.
fn bent_files() -> Vec<BundleCase> {
    let plan = Plan::default();
    let whole = plan.build();
    let bytes = |name: &str, bundle: Vec<u8>| BundleCase::new(name, bundle, &[(Form, Failed)]);
    let zip = |name: &str, bend: &dyn Fn(&mut Zip)| bytes(name, plan.packed(plan.files(), |manifest| manifest, bend));
    let consignment = "receipts/consignment.receipt";
    let noise: Vec<u8> = (0..=truc_proto::limits::RECEIPT_BYTES_MAX).map(|at| (at * at / 7).to_le_bytes()[0]).collect();
    vec![
        bytes("nothing-but-a-signature", b"PK\x03\x04".to_vec()),
        bytes("cut-short", whole[..whole.len() - 1].to_vec()),
        bytes("cut-in-half", whole[..whole.len() / 2].to_vec()),
        bytes("a-byte-more", [whole.as_slice(), b"\0"].concat()),
        bytes("two-bundles-in-a-row", [whole.as_slice(), &whole].concat()),
        zip("bytes-before", &|zip| zip.before = b"PK\x03\x04and more".to_vec()),
        zip("bytes-before-the-directory", &|zip| zip.before_directory = b"PK".to_vec()),
        zip("bytes-behind", &|zip| zip.after = b"PK".to_vec()),
        zip("a-comment", &|zip| zip.comment = b"comment".to_vec()),
        zip("two-directories", &|zip| zip.directory_twice = true),
        zip("an-entry-more-than-there-are", &|zip| zip.count_shift = 1),
        zip("wrong-crc", &|zip| zip.entry(consignment).crc ^= 1),
        zip("wrong-size", &|zip| zip.entry(consignment).length -= 1),
        zip("an-entry-twice", &|zip| {
            let again = zip.entry(consignment).clone();
            zip.entries.insert(3, again);
        }),
        zip("an-entry-twice-and-once-in-the-directory", &|zip| {
            let again = ZipEntry { listed: false, ..zip.entry(consignment).clone() };
            zip.entries.insert(3, again);
        }),
        zip("an-entry-that-the-directory-leaves-out", &|zip| zip.entry(consignment).listed = false),
        zip("an-entry-under-two-names", &|zip| {
            zip.entry(consignment).listed_as = Some(b"receipts/else.receipt".to_vec())
        }),
        zip("an-entry-that-begins-elsewhere", &|zip| zip.entry(consignment).offset_shift = 1),
        zip("an-entry-put-in", &|zip| zip.entries.insert(2, ZipEntry::new("receipts/more.receipt", b"more".to_vec()))),
        zip("an-entry-left-out", &|zip| zip.entries.retain(|entry| entry.name != consignment.as_bytes())),
        zip("an-entry-exchanged", &|zip| *zip.entry(consignment) = ZipEntry::new(consignment, b"another".to_vec())),
        zip("two-entries-swapped", &|zip| {
            let (a, b) = (zip.entry(consignment).clone(), zip.entry("receipts/relay.receipt").clone());
            *zip.entry(consignment) = ZipEntry { name: a.name.clone(), ..b.clone() };
            *zip.entry("receipts/relay.receipt") = ZipEntry { name: b.name, ..a };
        }),
        zip("an-encrypted-entry", &|zip| zip.entry(consignment).flags |= 1),
        zip("another-compression", &|zip| zip.entry(consignment).method = 12),
        zip("deflate-that-is-none", &|zip| zip.entry(consignment).method = 8),
        zip("stored-with-a-descriptor", &|zip| zip.entry(consignment).flags |= 8),
        zip("a-newer-zip", &|zip| zip.entry(consignment).version = 46),
        zip("an-extra-field", &|zip| zip.entry(consignment).extra = b"UT\x01\0\0".to_vec()),
        zip("an-extra-field-in-the-directory", &|zip| zip.entry(consignment).listed_extra = b"UT\x01\0\0".to_vec()),
        zip("a-comment-on-an-entry", &|zip| zip.entry(consignment).comment = b"comment".to_vec()),
        zip("a-folder", &|zip| zip.entry(consignment).attributes = 0x10),
        zip("a-link", &|zip| zip.entry(consignment).attributes = 0o120_777 << 16),
        zip("no-mimetype", &|zip| _ = zip.entries.remove(0)),
        zip("another-mimetype", &|zip| zip.entries[0] = ZipEntry::new("mimetype", b"application/zip".to_vec())),
        zip("mimetype-not-first", &|zip| zip.entries.swap(0, 1)),
        zip("mimetype-with-effort-bits", &|zip| zip.entries[0].flags = 2),
        zip("no-manifest", &|zip| zip.entries.retain(|entry| entry.name != MANIFEST_NAME.as_bytes())),
        zip("no-signature", &|zip| zip.entries.retain(|entry| entry.name != SIGNATURE_NAME.as_bytes())),
        zip("a-second-signature", &|zip| zip.entries.push(ZipEntry::new("META-INF/signature002.p7s", vec![48]))),
        zip("too-many-entries", &|zip| {
            let more = (0..12_000).map(|n| ZipEntry::new(&format!("more/{n}"), vec![]));
            zip.entries.splice(2..2, more);
        }),
        bytes("deflate-bomb", with_zeros(&plan, 24 << 20)),
        zip("deflate-that-goes-on", &|zip| {
            let entry = zip.entry(consignment);
            *entry = ZipEntry::deflated(consignment, &entry.content.clone());
            entry.content.push(0);
            entry.packed += 1;
        }),
        zip("deflate-that-ends-early", &|zip| {
            let entry = zip.entry(consignment);
            *entry = ZipEntry::deflated(consignment, &entry.content.clone());
            entry.content.pop();
            entry.packed -= 1;
        }),
        zip("deflate-of-more-than-it-tells", &|zip| {
            let entry = zip.entry(consignment);
            *entry = ZipEntry::deflated(consignment, &entry.content.clone());
            entry.length -= 1;
        }),
        bytes("a-receipt-too-long", container(&plan, &[("receipts/long.receipt", &noise)])),
        bytes("a-statement-too-long", container(&plan, &[("bundle.json", &noise[..300_000])])),
    ]
}

fn bent_manifests() -> Vec<BundleCase> {
    let plan = Plan::default();
    let bent = |name: &str, bend: &dyn Fn(String) -> String| {
        BundleCase::new(name, plan.packed(plan.files(), bend, |_| ()), &[(Form, Failed)])
    };
    let reference = |text: &str| {
        let start = text.find("<asic:DataObjectReference").unwrap();
        let end =
            start + text[start..].find("</asic:DataObjectReference>").unwrap() + "</asic:DataObjectReference>".len();
        text[start..end].to_owned()
    };
    let before_end =
        |text: &str, more: &str| text.replace("</asic:ASiCManifest>", &format!("{more}</asic:ASiCManifest>"));
    let of_type = |name: &str, media_type: &str| {
        let typed = format!(r#"URI="bundle.json" MimeType="{media_type}""#);
        bent(&format!("manifest-with-{name}"), &|text| text.replace(r#"URI="bundle.json""#, &typed))
    };
    let declaring = |text: &str, what: &str| {
        text.replacen("<asic:DataObjectReference ", &format!("<asic:DataObjectReference {what} "), 1)
    };
    vec![
        bent("manifest-without-an-entry", &|text| text.replace(&reference(&text), "")),
        bent("manifest-with-an-entry-twice", &|text| before_end(&text, &reference(&text))),
        bent("manifest-with-an-entry-that-is-not-there", &|text| {
            before_end(&text, &reference(&text).replace("bundle.json", "else.json"))
        }),
        bent("manifest-over-itself", &|text| {
            before_end(&text, &reference(&text).replace("bundle.json", MANIFEST_NAME))
        }),
        bent("manifest-with-another-hash", &|text| text.replacen("2001/04/xmlenc#sha256", "2000/09/xmldsig#sha1", 1)),
        bent("manifest-with-another-signature", &|text| text.replace("signature001", "signature002")),
        bent("manifest-with-a-comment", &|text| before_end(&text, "<!-- -->")),
        bent("manifest-with-a-doctype", &|text| text.replace("?><", "?><!DOCTYPE a [<!ENTITY b 'c'>]><")),
        bent("manifest-with-more-behind", &|text| format!("{text}<more/>")),
        bent("manifest-cut-short", &|text| text[..text.len() - 2].to_owned()),
        bent("manifest-of-another-namespace", &|text| text.replace("02918/v1.2.1#", "02918/v1.1.1#")),
        bent("manifest-with-a-byte-order-mark", &|text| format!("\u{feff}{text}")),
        of_type("a-less-than", "a<b"),
        of_type("an-entity-that-is-not-there", "&nbsp;"),
        of_type("an-entity-named-like-a-member", "&constructor;"),
        of_type("an-entity-that-does-not-end", "a&amp"),
        of_type("a-number", "&#83;"),
        of_type("a-long-number", "&#00000000000000000083;"),
        of_type("half-a-character", "&#xD800;"),
        of_type("a-control-character", "a\u{1}"),
        of_type("nul", "a\0"),
        of_type("a-non-character", "a\u{fffe}"),
        of_type("entities", "a&lt;&gt;&amp;&quot;&apos;b").valid(),
        bent("manifest-that-declares-xml", &|text| declaring(&text, "xmlns:xml=\"urn:a\"")),
        bent("manifest-that-declares-xmlns", &|text| declaring(&text, "xmlns:xmlns=\"urn:a\"")),
        bent("manifest-that-declares-the-namespace-of-xml", &|text| {
            declaring(&text, "xmlns:z=\"http://www.w3.org/XML/1998/namespace\"")
        }),
        bent("manifest-that-declares-the-namespace-of-xmlns", &|text| {
            declaring(&text, "xmlns:z=\"http://www.w3.org/2000/xmlns/\"")
        }),
        bent("manifest-that-declares-xml-as-it-is", &|text| {
            declaring(&text, "xmlns:xml=\"http://www.w3.org/XML/1998/namespace\"")
        }),
        bent("manifest-that-declares-an-empty-prefix", &|text| declaring(&text, "xmlns:=\"urn:z\"")),
        bent("manifest-that-declares-another-alphabet", &|text| declaring(&text, "xmlns:é=\"urn:z\"")),
        bent("manifest-that-declares-a-digit", &|text| declaring(&text, "xmlns:1=\"urn:z\"")),
        bent("manifest-that-declares-with-an-entity", &|text| declaring(&text, "xmlns:z=\"urn:&amp;\"")),
        bent("manifest-whose-namespace-has-a-number", &|text| text.replacen("v1.2.1#", "v1.2.1&#35;", 1)),
        bent("manifest-that-declares-more", &|text| declaring(&text, "xmlns:z=\"urn:z\"")).valid(),
        bent("manifest-with-another-space-in-a-tag", &|text| text.replacen(" URI=", "\u{a0}URI=", 1)),
        bent("manifest-with-a-line-separator-in-a-tag", &|text| text.replacen(" URI=", " \u{2028}URI=", 1)),
        bent("manifest-that-declares-too-much", &|text| {
            let many: Vec<_> = (0..17).map(|n| format!("xmlns:a{n}=\"urn:a\"")).collect();
            declaring(&text, &many.join(" "))
        }),
        bent("manifest-that-declares-much", &|text| {
            let many: Vec<_> = (0..16).map(|n| format!("xmlns:a{n}=\"urn:a\"")).collect();
            declaring(&text, &many.join(" "))
        })
        .valid(),
        // A reader that looks for the end of white space from each of its places takes hours.
        bent("manifest-with-a-hash-full-of-white-space", &|text| {
            text.replacen("<ds:DigestValue>", &format!("<ds:DigestValue>a{}", " ".repeat(3_000_000)), 1)
        }),
        bent("manifest-with-another-space-in-a-hash", &|text| {
            text.replacen("<ds:DigestValue>", "<ds:DigestValue>\u{a0}", 1)
        }),
        bent("manifest-with-white-space-in-a-hash", &|text| {
            text.replacen("<ds:DigestValue>", "<ds:DigestValue>\r\n\t ", 1)
        })
        .valid(),
        bent("manifest-with-white-space", &|text| text.replace("><", ">\n  <")).valid(),
    ]
}

impl BundleCase {
    fn valid(self) -> Self {
        Self { against: vec![], ..self }
    }
}

/// Names that mean something to a file system, or look like others.
fn bent_names() -> Vec<BundleCase> {
    let plan = Plan::default();
    let names = [
        ("up", "../a.receipt"),
        ("up-inside", "receipts/../../a.receipt"),
        ("absolute", "/a.receipt"),
        ("drive", "C:a.receipt"),
        ("backslash", "receipts\\a.receipt"),
        ("empty-part", "receipts//a.receipt"),
        ("folder", "receipts/"),
        ("here", "receipts/./a.receipt"),
        ("nul", "receipts/a\0.receipt"),
        ("line-break", "receipts/a\n.receipt"),
        ("right-to-left", "receipts/a\u{202e}tpiecer"),
        ("not-composed", "receipts/Nghi\u{323} đi\u{323}nh.receipt"),
        ("in-meta-inf", "META-INF/a.receipt"),
        ("in-meta-inf-of-another-case", "meta-inf/a.receipt"),
        ("mimetype-again", "MimeType"),
    ];
    let mut all: Vec<BundleCase> = names
        .into_iter()
        .map(|(case, name)| {
            let mut files = plan.files();
            files.push((name.to_owned(), b"a".to_vec()));
            BundleCase::new(format!("name-{case}"), plan.packed(files, |manifest| manifest, |_| ()), &[(Form, Failed)])
        })
        .collect();
    let raw = |case: &str, bend: &dyn Fn(&mut ZipEntry)| {
        let zip = |zip: &mut Zip| bend(zip.entry("receipts/relay.receipt"));
        BundleCase::new(format!("name-{case}"), plan.packed(plan.files(), |manifest| manifest, zip), &[(Form, Failed)])
    };
    all.push(raw("not-utf-8", &|entry| entry.name = b"receipts/\xff.receipt".to_vec()));
    all.push(raw("empty", &|entry| entry.name.clear()));
    all.push(raw("too-long", &|entry| entry.name = vec![b'a'; 3_000]));
    let mut files = plan.files();
    files.push(("Nghị định".to_owned(), b"a".to_vec()));
    let without_flag = |zip: &mut Zip| zip.entry("Nghị định").flags = 0;
    let unknown_encoding = plan.packed(files, |manifest| manifest, without_flag);
    all.push(BundleCase::new("name-of-unknown-encoding", unknown_encoding, &[(Form, Failed)]));
    all
}

fn bent_statements() -> Vec<BundleCase> {
    let plan = Plan::default();
    let receipts = plan.files().split_off(1);
    let with = |name: &str, bend: &dyn Fn(String) -> Vec<u8>| {
        let about = String::from_utf8(plan.files().swap_remove(0).1).unwrap();
        let mut files = vec![("bundle.json".to_owned(), bend(about))];
        files.extend(receipts.clone());
        BundleCase::new(format!("statement-{name}"), plan.packed(files, |manifest| manifest, |_| ()), &[(Form, Failed)])
    };
    let swap = |from: &'static str, to: &'static str| {
        move |text: String| {
            assert!(text.contains(from), "{text}");
            text.replacen(from, to, 1).into_bytes()
        }
    };
    let without = plan.packed(receipts.clone(), |manifest| manifest, |_| ());
    let renamed = receipts.iter().cloned().chain([("Bundle.json".to_owned(), plan.files().swap_remove(0).1)]).collect();
    vec![
        BundleCase::new("without-its-statement", without, &[(Form, Failed)]),
        BundleCase::new(
            "statement-under-another-name",
            plan.packed(renamed, |manifest| manifest, |_| ()),
            &[(Form, Failed)],
        ),
        with("of-another-type", &swap(r#""type":"bundle""#, r#""type":"receipt""#)),
        with("of-another-version", &swap(r#""v":1"#, r#""v":2"#)),
        with("with-something-critical", &|text| with_critical(text.into_bytes())),
        with("with-a-double-name", &|text| with_double_name(text.into_bytes())),
        with("without-the-sender", &swap(r#""sender":"G22","#, "")),
        with("with-a-code-that-is-none", &swap(r#""by":"G22""#, r#""by":"g22""#)),
        with("with-a-lane-that-is-none", &swap(r#""lane":"ordinary""#, r#""lane":"fast""#)),
        with("with-null", &swap(r#""by":"G22""#, r#""by":null"#)),
        with("with-a-time-that-is-none", &swap("2026-11-22T", "2026-11-31T")),
        with("with-a-byte-order-mark", &|text| format!("\u{feff}{text}").into_bytes()),
        with("cut-short", &|text| text.as_bytes()[..text.len() - 1].to_vec()),
        with("not-utf-8", &|text| [text.as_bytes(), b"\xff"].concat()),
        with("empty", &|_| vec![]),
        with("with-more-in-it", &|text| text.replacen('{', r#"{"more":[1,{"a":"b"}],"#, 1).into_bytes()).valid(),
    ]
}

/// A packed bundle whose signature entry holds something else.
pub(crate) fn signed_with(plan: &Plan, signature: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    plan.packed(
        plan.files(),
        |manifest| manifest,
        |zip| {
            let entry = zip.entry(SIGNATURE_NAME);
            *entry = ZipEntry::new(SIGNATURE_NAME, signature(entry.content.clone()));
        },
    )
}

fn signatures() -> Vec<BundleCase> {
    let plan = Plan::default();
    let over = |text: &'static [u8]| move |_: Vec<u8>| Plan::default().sign(text).unwrap();
    let broken = |name: &str, signature: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        BundleCase::new(format!("signature-{name}"), signed_with(&plan, signature), &[(Signature, Failed)])
    };
    let by = |name: &str, signer: fn(&World) -> &Party, ms: i64, outcome: Option<Outcome>| {
        let plan = Plan { signer, signed_at: Some(after(ms)), ..Plan::default() };
        let against: Vec<_> = outcome.into_iter().map(|outcome| (Signer, outcome)).collect();
        BundleCase::new(format!("signed-{name}"), plan.build(), &against)
    };
    let mut truncated_plan = Plan::default();
    truncated_plan.receipts.pop();
    let mut taken_over = Vec::new();
    truncated_plan
        .writer()
        .finish(|manifest| {
            taken_over = truncated_plan.sign(manifest)?;
            Ok::<_, SignError>(taken_over.clone())
        })
        .unwrap();
    vec![
        broken("of-another-manifest", &over(b"another")),
        broken("of-fewer-receipts", &|_| taken_over.clone()),
        broken("empty", &|_| vec![]),
        broken("that-is-none", &|_| b"signature".to_vec()),
        broken("bent", &|mut signature| {
            *signature.last_mut().unwrap() ^= 1;
            signature
        }),
        broken("with-more-behind", &|signature| [signature.as_slice(), b"\0"].concat()),
        by("by-a-stranger", |world| &world.foreign_node, HOUR_MS, Some(Failed)),
        by("by-a-sealing-certificate", |world| &world.sealing_h26, HOUR_MS, Some(Failed)),
        by("in-the-future", |world| &world.service_g22, 2 * DAY_MS, Some(Failed)),
        // Nor was it bound then.
        BundleCase::new(
            "signed-before-its-certificate",
            Plan { signed_at: Some(after(-3_000 * DAY_MS)), ..Plan::default() }.build(),
            &[(Signer, Failed), (Maker, Failed)],
        ),
        by("after-its-certificate", |world| &world.expired_node, HOUR_MS, Some(Failed)),
        by("by-a-certificate-that-ended-since", |world| &world.short_node, HOUR_MS, None),
        by("by-the-revoked", |world| &world.revoked_node, HOUR_MS, Some(Failed)).with_crls(),
        by("by-the-revoked-without-lists", |world| &world.revoked_node, HOUR_MS, None),
        by("by-the-later-revoked", |world| &world.later_revoked_node, HOUR_MS, Some(Unknown)).with_crls(),
        by("past-the-revocation-lists", |world| &world.service_g22, 100 * DAY_MS, Some(Unknown))
            .with_crls()
            .at(101 * DAY_MS),
    ]
}

/// The packer's certificate ended, and a time-stamp says whether it had signed before.
fn stamps() -> Vec<BundleCase> {
    let of = |name: &str, signer: fn(&World) -> &Party, stamps: Stamps, outcome: Option<Outcome>| {
        let against: Vec<_> = outcome.into_iter().map(|outcome| (Signer, outcome)).collect();
        BundleCase::new(format!("stamped-{name}"), Plan { signer, stamps, ..Plan::default() }.build(), &against)
    };
    let early: Stamps = |world, signature| vec![token(&world.tsa, signature, 2 * HOUR_MS)];
    let late: Stamps = |world, signature| vec![token(&world.tsa, signature, 18 * HOUR_MS)];
    let strange: Stamps = |world, signature| vec![token(&world.foreign_tsa, signature, 2 * HOUR_MS)];
    vec![
        of("right", |world| &world.service_g22, early, None),
        of("right-with-revocation-lists", |world| &world.service_g22, early, None).with_crls(),
        of(
            "over-another-signature",
            |world| &world.service_g22,
            |world, _| vec![token(&world.tsa, b"another", 2 * HOUR_MS)],
            Some(Failed),
        ),
        of(
            "before-it-signed",
            |world| &world.service_g22,
            |world, signature| vec![token(&world.tsa, signature, -HOUR_MS)],
            Some(Failed),
        ),
        of(
            "by-no-authority",
            |world| &world.service_g22,
            |world, signature| vec![token(&world.misused_tsa, signature, 2 * HOUR_MS)],
            Some(Failed),
        ),
        of("by-a-strange-authority", |world| &world.service_g22, strange, None),
        of("before-its-certificate-ended", |world| &world.brief_node, early, None),
        of("after-its-certificate-ended", |world| &world.brief_node, late, Some(Failed)),
        of("before-it-was-revoked", |world| &world.soon_revoked_node, early, None).with_crls(),
        of("after-it-was-revoked", |world| &world.soon_revoked_node, late, Some(Failed)).with_crls(),
        of("by-a-strange-authority-before-it-was-revoked", |world| &world.soon_revoked_node, strange, Some(Unknown))
            .with_crls(),
    ]
}

/// Put together by who received it.
fn by_h26() -> Plan {
    Plan { signer: |world| &world.service_h26, about: |about| about.by = code("H26"), ..Plan::default() }
}

/// The usual receipts and these.
fn and(more: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    Plan::default().receipts.into_iter().chain(more).collect()
}

/// Those of the sender and the relay, and these.
fn sent_and(more: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    Plan::default().receipts.into_iter().take(2).chain(more).collect()
}

/// H26 states this, at so many leaves in its ledger.
fn by_recipient(fillers: u8, event: fn(&mut Event)) -> String {
    receipt(Who::Recipient, |recipe| (recipe.event, recipe.fillers) = (event, fillers))
}

/// The same without opening, whose commitment would have to fit.
fn bare(who: Who, bend: impl FnOnce(&mut Recipe)) -> String {
    receipt(who, |recipe| {
        recipe.with_opening = false;
        bend(recipe);
    })
}

fn refuses(event: &mut Event, kind: EventUri, reason: Reason) {
    (event.event, event.reason) = (kind, Some(reason));
}

/// About one number and not about one thing.
fn disagreements() -> Vec<BundleCase> {
    let of = |name: &str, receipts: Vec<(&'static str, String)>| {
        BundleCase::new(name, Plan::of(receipts).build(), &[(OneDocument, Failed)])
    };
    let another: fn(&mut Submission) =
        |submission| (submission.payload, submission.time) = (Digest::of(b"another payload"), after(500));
    let of_another = |who, fillers| bare(who, |recipe| (recipe.submission, recipe.fillers) = (another, fillers));
    let one_recipient: fn(&mut Preamble) = |preamble| preamble.recipients = vec![code("H26")];
    let not_for_h37 = receipt(Who::Recipient, |recipe| {
        *recipe = Recipe { with_opening: false, with_preamble: false, ..by_node_h37() };
        recipe.preamble = one_recipient;
        recipe.event = |event| {
            of_h37(event);
            event.key_envelope = None;
        };
    });
    let for_h26 = |who| receipt(who, |recipe| recipe.preamble = one_recipient);
    let to_a_native_one = bare(Who::Recipient, |recipe| {
        *recipe = Recipe {
            with_preamble: false,
            fillers: 9,
            ..by_the_sender!(|event| {
                event.event = EventUri::RelayToNonErds;
                event.key_envelope = None;
            })
        };
    });
    let elsewhere = |about| Plan { about, ..Plan::default() }.build();
    vec![
        of("another-content-under-the-same-number", sent_and(vec![("other.receipt", of_another(Who::Recipient, 5))])),
        of(
            "another-commitment",
            sent_and(vec![(
                "other.receipt",
                bare(Who::Recipient, |recipe| recipe.event = |event| event.commitment = Some(Digest::of(b"another"))),
            )]),
        ),
        of(
            "another-preamble",
            sent_and(vec![(
                "other.receipt",
                bare(Who::Recipient, |recipe| {
                    recipe.preamble = |preamble| preamble.priority = Priority::try_from(4).unwrap()
                }),
            )]),
        ),
        of(
            "another-key-envelope",
            sent_and(vec![("other.receipt", by_recipient(5, |event| event.key_envelope = Some(Digest::of(b"H37"))))]),
        ),
        of("taken-and-another-content-later", {
            let later = bare(Who::Recipient, |recipe| {
                (recipe.submission, recipe.fillers) = (another, 9);
                recipe.event = |event| (event.event, event.time) = (EventUri::ContentHandover, after(600));
            });
            and(vec![("later.receipt", later)])
        }),
        of("two-submissions-under-one-number", and(vec![("other.receipt", of_another(Who::Sender, 9))])),
        of("two-submissions-and-a-word-for-the-second", {
            let mut receipts = sent_and(vec![("second.receipt", of_another(Who::Sender, 9))]);
            receipts.push(("consignment.receipt", of_another(Who::Recipient, 5)));
            receipts
        }),
        of("a-stranger-with-another-content", {
            // H37 was sent nothing, and takes nothing from what H26 says.
            let made_up = receipt(Who::Recipient, |recipe| {
                *recipe = by_node_h37();
                recipe.submission = another;
                recipe.event = |event| {
                    of_h37(event);
                    event.event = EventUri::RelayAcceptance;
                };
            });
            vec![("made-up.receipt", made_up), ("consignment.receipt", receipt(Who::Recipient, |_| {}))]
        }),
        of(
            "no-submission-and-two-contents",
            vec![("relay.receipt", receipt(Who::Relay, |_| {})), ("other.receipt", of_another(Who::Recipient, 5))],
        ),
        of(
            "two-key-envelopes-without-a-submission",
            vec![
                ("consignment.receipt", receipt(Who::Recipient, |_| {})),
                (
                    "handover.receipt",
                    by_recipient(9, |event| {
                        (event.event, event.key_envelope) = (EventUri::ContentHandover, Some(Digest::of(b"H37")));
                    }),
                ),
            ],
        ),
        of(
            "a-recipient-that-it-is-not-for",
            vec![("submission.receipt", for_h26(Who::Sender)), ("consignment.receipt", not_for_h37)],
        ),
        of("passed-on-for-one-that-it-is-sealed-for", sent_and(vec![("passed-on.receipt", to_a_native_one)])),
        BundleCase::new(
            "of-another-axis",
            elsewhere(|about| about.axis = "other".parse().unwrap()),
            &[(OneDocument, Failed)],
        ),
        BundleCase::new("of-another-lane", elsewhere(|about| about.lane = Lane::Classified), &[(OneDocument, Failed)]),
    ]
}

/// Right receipts that do not go together: each counts as who says it, and what is strange is said.
fn contradictions() -> Vec<BundleCase> {
    let of = |name: &str, receipts: Vec<(&'static str, String)>| BundleCase::new(name, Plan::of(receipts).build(), &[]);
    let relay_fails = |fillers| {
        receipt(Who::Relay, |recipe| {
            recipe.fillers = fillers;
            recipe.event = |event| {
                refuses(event, EventUri::RelayFailure, Reason::Expired);
                event.recipient = Some(code("H26"));
                event.time = after(200_000);
            };
            recipe.cms = |_, cms| cms.signed_at = after(201_000);
        })
    };
    let takes = |fillers| by_recipient(fillers, |event| event.event = EventUri::RelayAcceptance);
    let hands_over = |fillers| by_recipient(fillers, |event| event.event = EventUri::ContentHandover);
    let refused_at = |fillers, later: bool| {
        receipt(Who::Recipient, |recipe| {
            recipe.fillers = fillers;
            recipe.event = |event| refuses(event, EventUri::ContentHandoverFailure, Reason::RefusedBySystem);
            if later {
                recipe.event = |event| {
                    refuses(event, EventUri::ContentHandoverFailure, Reason::RefusedBySystem);
                    event.time = after(60_000);
                };
                recipe.cms = |_, cms| cms.signed_at = after(61_000);
            }
        })
    };
    let cannot_open = |fillers| {
        by_recipient(fillers, |event| refuses(event, EventUri::ContentConsignmentFailure, Reason::CannotOpen))
    };
    let taken_over = receipt(Who::Recipient, |recipe| recipe.event = receive);
    let to_h50: fn(&mut Preamble) = |preamble| preamble.legacy = vec![code("H50")];
    let for_h50 = |who| receipt(who, |recipe| recipe.preamble = to_h50);
    let passed_on = receipt(Who::Recipient, |recipe| {
        *recipe = by_the_sender!(|event| {
            (event.event, event.recipient, event.key_envelope) = (EventUri::RelayToNonErds, Some(code("H50")), None);
        });
        (recipe.preamble, recipe.fillers) = (to_h50, 9);
    });
    let from_the_sender = bare(Who::Recipient, |recipe| *recipe = Recipe { fillers: 9, ..by_the_sender!(receive) });
    vec![
        of("rejected-and-sent", {
            let rejected = receipt(Who::Recipient, |recipe| {
                *recipe = by_the_sender!(|event| {
                    refuses(event, EventUri::SubmissionRejection, Reason::TooLarge);
                    event.request = Some(Digest::of(b"the refused request"));
                    (event.submission, event.preamble, event.payload, event.commitment) = (None, None, None, None);
                    event.key_envelope = None;
                });
                recipe.fillers = 9;
            });
            vec![Plan::default().receipts.remove(0), ("a", rejected), Plan::default().receipts.remove(1)]
        }),
        of("delivered-late", and(vec![("failure.receipt", relay_fails(9))])),
        of("the-relay-denies-it", {
            let refused = receipt(Who::Relay, |recipe| {
                recipe.fillers = 9;
                recipe.event = |event| {
                    refuses(event, EventUri::RelayRejection, Reason::UnknownCode);
                    event.recipient = Some(code("H26"));
                };
            });
            and(vec![("rejection.receipt", refused)])
        }),
        of("taken-late", sent_and(vec![("a", takes(5)), ("failure.receipt", relay_fails(9))])),
        of("the-relay-alone-says-that-it-failed", sent_and(vec![("failure.receipt", relay_fails(9))])),
        of("taken-and-refused-later", and(vec![("a", hands_over(9)), ("b", refused_at(12, true))])),
        of("refused-and-taken-then", and(vec![("a", hands_over(9)), ("b", refused_at(12, false))])),
        of("opened-and-not", and(vec![("a", cannot_open(9))])),
        of("not-opened", sent_and(vec![("a", cannot_open(9))])),
        of("taken-over-from-todays-axis", vec![("a", taken_over)]),
        of(
            "through-todays-axis",
            vec![
                ("submission.receipt", for_h50(Who::Sender)),
                ("relay.receipt", for_h50(Who::Relay)),
                ("passed-on.receipt", passed_on),
            ],
        ),
        // Only the sender's keys are in it: nothing of it is the recipient's word.
        BundleCase::new(
            "received-for-the-recipient-by-the-sender",
            Plan::of(sent_and(vec![("a", from_the_sender)])).build(),
            &[(Receipts, Failed)],
        ),
    ]
}

/// What an event says of its own time.
fn times() -> Vec<BundleCase> {
    let of = |name: &str, bend: fn(&mut Recipe)| {
        let receipts = sent_and(vec![("consignment.receipt", receipt(Who::Recipient, bend))]);
        BundleCase::new(name, Plan::of(receipts).build(), &[])
    };
    vec![
        of("consignment-before-the-submission", |recipe| recipe.event = |event| event.time = after(-800_000)),
        of("consignment-a-little-before-the-submission", |recipe| recipe.event = |event| event.time = after(-200_000)),
        BundleCase::new(
            "taken-by-the-relay-once-more",
            {
                let again = receipt(Who::Relay, |recipe| {
                    recipe.fillers = 9;
                    recipe.event = |event| event.time = after(HOUR_MS);
                    recipe.cms = |_, cms| cms.signed_at = after(HOUR_MS);
                });
                Plan::of(and(vec![("again.receipt", again)])).build()
            },
            &[],
        ),
        BundleCase::new(
            "proven-once-more-later",
            {
                let again = receipt(Who::Recipient, |recipe| {
                    recipe.fillers = 9;
                    recipe.cms = |_, cms| cms.signed_at = after(5 * HOUR_MS);
                });
                Plan::of(and(vec![("again.receipt", again)])).build()
            },
            &[],
        ),
        of("signed-days-later", |recipe| recipe.cms = |_, cms| cms.signed_at = after(2 * HOUR_MS)),
        of("stamped-days-later", |recipe| {
            recipe.stamps = |world, signature| vec![token(&world.tsa, signature, 3 * HOUR_MS)];
        }),
        of("stamped-at-once", |recipe| {
            recipe.stamps = |world, signature| vec![token(&world.tsa, signature, 2_000)];
        }),
    ]
}

/// What a bundle says of who made it, and when.
fn makers() -> Vec<BundleCase> {
    let of = |name: &str, plan: Plan, against: &[(BundleCheck, Outcome)]| BundleCase::new(name, plan.build(), against);
    let wrong = [(Maker, Failed)];
    let with = |about: fn(&mut BundleJson)| Plan { about, ..Plan::default() };
    let revoked = |ms: fn(&World, &mut Vec<Entry>)| {
        let submission = receipt(Who::Sender, |recipe| recipe.entries = ms);
        Plan::of(vec![("submission.receipt", submission)])
    };
    vec![
        of("by-another-than-it-says", with(|about| about.by = code("H26")), &wrong),
        of(
            "by-one-of-whom-nothing-is-in-it",
            Plan {
                signer: |world| &world.service_h26,
                ..Plan::of(Plan::default().receipts.into_iter().take(2).collect())
            },
            &[],
        ),
        of("made-after-it-was-signed", with(|about| about.made = after(2 * HOUR_MS)), &wrong),
        of("made-a-little-after-it-was-signed", with(|about| about.made = after(HOUR_MS + 200_000)), &[]),
        of("made-long-before-it-was-signed", with(|about| about.made = after(-24 * HOUR_MS)), &wrong),
        of("by-a-certificate-that-was-suspended-and-is-no-longer", suspended_once(), &[]),
        of("by-a-certificate-bound-later", bound(|binding| binding.valid_from = after(HOUR_MS + 1)), &wrong),
        of("by-a-certificate-no-longer-bound", bound(|binding| binding.valid_to = after(HOUR_MS - 1)), &wrong),
        of(
            "by-a-certificate-revoked-in-the-directory-before",
            revoked(|_, entries| revoke_g22(entries, -HOUR_MS)),
            &wrong,
        ),
        of(
            "by-a-certificate-revoked-in-the-directory-since",
            revoked(|_, entries| revoke_g22(entries, 3 * HOUR_MS)),
            &[(Maker, Unknown)],
        ),
    ]
}

/// A later directory in the bundle says of a certificate that signed another receipt in it that it was revoked.
fn stopped() -> Vec<BundleCase> {
    let later = |entries: fn(&World, &mut Vec<Entry>), root: fn(&mut RootStatement)| {
        receipt(Who::Recipient, |recipe| {
            recipe.fillers = 9;
            recipe.event = |event| {
                event.event = EventUri::ContentHandover;
                event.time = after(HOUR_MS / 2);
            };
            recipe.cms = |world, cms| {
                (cms.key, cms.signed_at) = (Some(&world.node_h37.key), after(HOUR_MS / 2));
            };
            (recipe.entries, recipe.root) = (entries, root);
            recipe.submission = |submission| submission.directory = relied_on();
        })
    };
    let newer: fn(&mut RootStatement) = |root| {
        (root.version, root.previous) = (root.version + 1, Some(Digest::of(b"the version before")));
    };
    let older: fn(&mut RootStatement) = |root| root.version -= 1;
    let by_first: Stamps = |world, signature| vec![token(&world.tsa, signature, 2_000)];
    let of = |name: &str, more: String, stamps: Option<Stamps>, outcome: Option<Outcome>| {
        let mut receipts = Plan::default().receipts;
        if let Some(stamps) = stamps {
            receipts[2].1 = receipt(Who::Recipient, |recipe| recipe.stamps = stamps);
        }
        receipts.push(("handover.receipt", more));
        let against: Vec<_> = outcome.into_iter().map(|outcome| (NoneStopped, outcome)).collect();
        BundleCase::new(
            format!("certificate-that-a-later-directory-stops-{name}"),
            Plan::of(receipts).build(),
            &against,
        )
    };
    vec![
        of("before", later(|world, entries| stop_h26(world, entries, -HOUR_MS), newer), None, Some(Failed)),
        of("since", later(|world, entries| stop_h26(world, entries, 20_000), newer), None, Some(Unknown)),
        of("since-with-a-stamp", later(|world, entries| stop_h26(world, entries, 20_000), newer), Some(by_first), None),
        of("before-in-an-earlier-one", later(|world, entries| stop_h26(world, entries, -HOUR_MS), older), None, None),
    ]
}

/// The directory that the usual submission relies on.
fn relied_on() -> DirectoryRef {
    let entries: Vec<Vec<u8>> = WORLD.entries().iter().map(bytes_of).collect();
    let entry = WORLD.entries().iter().position(|entry| entry.key() == "agency/G22").unwrap();
    let root = MemTree::of(&entries).root();
    DirectoryRef { version: WORLD.root().version, root, entry: leaf_hash(&entries[entry]) }
}

/// H26's node has another certificate now, and the one before was revoked.
fn stop_h26(world: &World, entries: &mut [Entry], ms: i64) {
    let node = node(entries, "N-H26");
    (node.certificates[0].status, node.certificates[0].status_since) = (KeyStatus::Revoked, Some(after(ms)));
    node.certificates.push(binding(&world.node_h37, truc_proto::KeyUse::Node));
}

/// In one version of the directory G22's certificate is suspended, in the next one it is good again.
fn suspended_once() -> Plan {
    let under = |versions: fn(&mut RootStatement), entries: fn(&World, &mut Vec<Entry>)| {
        receipt(Who::Sender, |recipe| {
            (recipe.root, recipe.entries) = (versions, entries);
            recipe.submission = |submission| submission.directory = relied_on();
        })
    };
    let suspended = under(
        |root| (root.version, root.previous) = (root.version + 1, Some(Digest::of(b"before"))),
        |_, entries| {
            let binding = &mut agency(entries, "G22").certificates[0];
            (binding.status, binding.status_since) = (KeyStatus::Suspended, Some(after(-HOUR_MS)));
        },
    );
    // The leaf hash of G22's entry is another one in the version with the suspension, which is no fault where the version is later.
    let restored =
        under(|root| (root.version, root.previous) = (root.version + 2, Some(Digest::of(b"before"))), |_, _| {});
    Plan::of(vec![("a.receipt", suspended), ("b.receipt", restored)])
}

/// G22's certificate is bound otherwise; hooks are functions and carry nothing with them.
fn bound(bend: fn(&mut CertificateBinding)) -> Plan {
    thread_local! { static BEND: std::cell::Cell<fn(&mut CertificateBinding)> = const { std::cell::Cell::new(|_| {}) }; }
    BEND.set(bend);
    let submission = receipt(Who::Sender, |recipe| {
        recipe.entries = |_, entries| BEND.get()(&mut agency(entries, "G22").certificates[0]);
    });
    Plan::of(vec![("submission.receipt", submission)])
}

fn revoke_g22(entries: &mut [Entry], ms: i64) {
    let binding = &mut agency(entries, "G22").certificates[0];
    (binding.status, binding.status_since) = (KeyStatus::Revoked, Some(after(ms)));
}

fn contents() -> Vec<BundleCase> {
    let of = |name: &str, receipts: Vec<(&'static str, String)>, against: &[(BundleCheck, Outcome)]| {
        BundleCase::new(name, Plan::of(receipts).build(), against)
    };
    let and = |name: &'static str, more: String| {
        let mut receipts = Plan::default().receipts;
        receipts.push((name, more));
        receipts
    };
    let instead = |other: String| {
        let mut receipts = Plan::default().receipts;
        receipts[2].1 = other;
        receipts
    };
    let other_sender = Plan { about: |about| about.sender = code("H99"), ..Plan::default() };
    let other_envelope =
        Plan { about: |about| about.envelope = EnvelopeId::new(about.made, [7; 10]), ..Plan::default() };
    let all_of_another = [("submission.receipt", Who::Sender), ("consignment.receipt", Who::Recipient)];
    let fork_in_doubt = vec![("a.receipt", provisional()), ("b.receipt", handover_in_its_place())];
    vec![
        of("no-receipts", vec![], &[(Receipts, Failed)]),
        of("a-receipt-of-another-document", instead(of_another_envelope(Who::Recipient)), &[(OneDocument, Failed)]),
        of(
            "all-receipts-of-another-document",
            all_of_another.map(|(name, who)| (name, of_another_envelope(who))).into(),
            &[(OneDocument, Failed)],
        ),
        BundleCase::new("of-another-sender", other_sender.build(), &[(OneDocument, Failed)]),
        BundleCase::new("of-another-envelope", other_envelope.build(), &[(OneDocument, Failed)]),
        of("two-histories", and("handover.receipt", handover_in_its_place()), &[(NoFork, Failed)]),
        of("two-histories-one-provisional", fork_in_doubt, &[(NoFork, Failed), (Receipts, Unknown)]),
        of("a-bent-receipt", instead(bent_receipt()), &[(Receipts, Failed)]),
        of("a-provisional-receipt", instead(provisional()), &[(Receipts, Unknown)]),
        of("no-receipt-at-all-under-its-name", and("a.receipt", "no receipt".into()), &[(Receipts, Failed)]),
        of("an-empty-receipt", and("a.receipt", String::new()), &[(Receipts, Failed)]),
        of(
            "provisional-and-bent",
            vec![("a.receipt", provisional()), ("b.receipt", bent_receipt())],
            &[(Receipts, Failed)],
        ),
        of("the-sender-alone", Plan::default().receipts.into_iter().take(1).collect(), &[]),
        of("the-relay-alone", Plan::default().receipts.into_iter().skip(1).take(1).collect(), &[]),
        of("the-recipient-alone", Plan::default().receipts.into_iter().skip(2).collect(), &[]),
    ]
}

/// That the packer of these cases packs as our writer does is seen by `by-another-packer`; its CRC by this.
#[test]
fn the_crc_is_that_of_zip() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}
