//! A container or a file of it, shown beside the receipt; and how long a verification takes.

use std::{
    io::{Cursor, Write as _},
    time::Instant,
};

use truc_evidence::{Check, Document, Outcome, ReceiptVerdict, verify_receipt};
use truc_signer::{asic::ContainerWriter, sign_detached};

use crate::{
    cases,
    world::{DAY_MS, PACKET, Recipe, WORLD, after, at},
};

#[test]
fn a_container_is_recognised_and_its_manifest_taken() {
    let mut bytes = Vec::new();
    let mut writer = ContainerWriter::new(&mut bytes).unwrap();
    writer.begin_entry("packet.edxml", "text/xml", None).unwrap();
    writer.write_all(PACKET).unwrap();
    writer.end_entry().unwrap();
    writer.finish(|manifest| sign_detached(&WORLD.service_g22.key, manifest, Some(at()))).unwrap();
    let document = Document::read(Cursor::new(&bytes)).unwrap();
    let manifest = document.manifest.unwrap();
    assert!(String::from_utf8(manifest).unwrap().contains("packet.edxml"));
    assert_eq!(document.digest, Document::of(&bytes).digest);
    // A damaged one is a file like any other.
    let cut = Document::read(Cursor::new(&bytes[..bytes.len() - 5])).unwrap();
    assert_eq!((cut.manifest, cut.digest), (None, Document::of(&bytes[..bytes.len() - 5]).digest));
}

#[test]
fn the_whole_container_is_proven_by_its_manifest() {
    let built = Recipe { with_opening: true, ..Recipe::default() }.build(&WORLD);
    let receipt = truc_proto::Receipt::parse(built.receipt.as_bytes()).unwrap();
    let body: truc_proto::ReceiptBody = serde_json::from_slice(&receipt.body).unwrap();
    let manifest = body.opening.unwrap().manifest;
    let shown = |manifest: Vec<u8>| {
        let document = Document { digest: truc_proto::Digest([0; 32]), manifest: Some(manifest) };
        let report = verify_receipt(built.receipt.as_bytes(), &built.trust(), Some(&document), after(DAY_MS));
        let step = report.steps.into_iter().find(|step| step.check == Check::Document).unwrap();
        (report.verdict, step.outcome)
    };
    assert_eq!(shown(manifest), (ReceiptVerdict::Valid, Outcome::Passed));
    assert_eq!(shown(b"another".to_vec()), (ReceiptVerdict::Invalid, Outcome::Failed));
}

#[test]
#[ignore = "measures; the figures mean something with --release"]
fn how_long_a_verification_takes() {
    for (name, recipe) in cases::valid() {
        let built = recipe.build(&WORLD);
        let document = built.document.as_deref().map(Document::of);
        let trusts: Vec<_> = (0..50).map(|_| built.trust()).collect();
        let per_receipt = |round: &mut dyn FnMut(usize)| {
            let start = Instant::now();
            (0..trusts.len()).for_each(round);
            start.elapsed() / 50
        };
        let verify = |trust| {
            let report = verify_receipt(built.receipt.as_bytes(), trust, document.as_ref(), built.now);
            assert_eq!(report.verdict, ReceiptVerdict::Valid);
        };
        let cold = per_receipt(&mut |round| verify(&trusts[round]));
        let cached = per_receipt(&mut |_| verify(&trusts[0]));
        println!("{name}: cold {cold:?}, cached {cached:?}");
    }
}
