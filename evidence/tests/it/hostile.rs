//! Any bytes at all: no panic, and nothing bent is ever valid (I8, I9).

use truc_evidence::{
    Directory, Document, Entitlement, ReceiptTrust, ReceiptVerdict, encode_directory, verify_binding, verify_leaf,
    verify_receipt,
};
use truc_proto::{Lane, Raw, Receipt, SignedBinding};

use crate::{
    cases,
    world::{Built, WORLD, at, axis},
};

/// Small and deterministic: a failure is repeated by running the test again.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }

    /// One to four changes: a flipped bit, a byte, a cut, a stretch twice.
    pub(crate) fn bend(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bent = bytes.to_vec();
        for _ in 0..=self.next(4) {
            if bent.is_empty() {
                break;
            }
            let place = self.next(bent.len());
            match self.next(5) {
                0 => bent[place] ^= 1 << self.next(8),
                1 => bent[place] = b"{}[]\"\\,:0Az=\n \0\xff"[self.next(16)],
                2 => bent.truncate(place),
                3 => _ = bent.remove(place),
                _ => {
                    let end = (place + self.next(40)).min(bent.len());
                    let stretch = bent[place..end].to_vec();
                    bent.splice(place..place, stretch);
                }
            }
        }
        bent
    }
}

/// All that a receipt proves with. Outside of it lie only what nobody signs: the CMS's own bag of certificates and its encoding.
#[derive(PartialEq, Eq, Debug)]
struct Proof {
    index: u64,
    proof: Vec<truc_proto::Digest>,
    checkpoint: String,
    body: truc_proto::ReceiptBody,
}

impl Proof {
    fn of(receipt: &[u8]) -> Self {
        let receipt = Receipt::parse(receipt).unwrap();
        let mut body = Raw::<truc_proto::ReceiptBody>::parse(receipt.body).unwrap().into_value();
        body.directory_cms.clear();
        let checkpoint = truc_proto::SignedNote::parse(receipt.checkpoint.as_bytes()).unwrap().text().to_owned();
        Self { index: receipt.index, proof: receipt.proof, checkpoint, body }
    }
}

/// A bent receipt is refused, or the bend touched nothing that proves anything.
#[track_caller]
fn check_bent(bent: &[u8], built: &Built, trust: &ReceiptTrust, document: Option<&Document>) -> bool {
    let report = verify_receipt(bent, trust, document, built.now);
    let valid = report.verdict == ReceiptVerdict::Valid;
    if valid {
        let (mut bent, good) = (Proof::of(bent), Proof::of(built.receipt.as_bytes()));
        // A part that need not be there may get lost with its name: the receipt then proves less, and nothing else.
        if bent.body.preamble.is_empty() {
            bent.body.preamble.clone_from(&good.body.preamble);
        }
        if bent.body.opening.is_none() {
            bent.body.opening.clone_from(&good.body.opening);
        }
        assert_eq!(bent, good);
    }
    valid
}

#[test]
fn a_bent_receipt_is_never_valid_for_anything_else() {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let mut unharmed = 0;
    for (_, recipe) in cases::valid() {
        let built = recipe.build(&WORLD);
        let trust = built.trust();
        let document = built.document.as_deref().map(Document::of);
        for _ in 0..400 {
            let bent = random.bend(built.receipt.as_bytes());
            let same = bent == built.receipt.as_bytes();
            unharmed += usize::from(!same && check_bent(&bent, &built, &trust, document.as_ref()));
        }
    }
    assert!(
        unharmed < 180,
        "{unharmed} of 3,600 bent receipts stayed valid: more than the unsigned bytes of a receipt explain"
    );
}

/// The outer base64 hides most bends from what lies inside; here the inside is bent and wrapped again.
#[test]
fn a_receipt_with_a_bent_inside_is_never_valid_for_anything_else() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (_, recipe) = cases::valid().into_iter().find(|(name, _)| *name == "valid-with-document").unwrap();
    let built = recipe.build(&WORLD);
    let (trust, document) = (built.trust(), built.document.as_deref().map(Document::of));
    let receipt = Receipt::parse(built.receipt.as_bytes()).unwrap();
    for _ in 0..2_000 {
        let bent = random.bend(&receipt.body);
        let text = Receipt { body: bent.into(), ..receipt.clone() }.to_string();
        check_bent(text.as_bytes(), &built, &trust, document.as_ref());
    }
}

#[test]
fn a_bent_directory_is_refused_or_the_same() {
    let mut random = Random(0xD1B5_4A32_D192_ED03);
    let signed = WORLD.signed_directory();
    let bytes = encode_directory(&signed);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bent.directory");
    for _ in 0..1_500 {
        std::fs::write(&path, random.bend(&bytes)).unwrap();
        let Ok(bent) = Directory::open(&path, &WORLD.pinned(), &WORLD.store(), at()) else { continue };
        let bent = bent.read_signed().unwrap();
        assert!(bent.statement == signed.statement && bent.entries == signed.entries);
    }
}

#[test]
fn a_bent_binding_is_refused_or_says_the_same() {
    let mut random = Random(0xA076_1D64_78BD_642F);
    let good = crate::bindings::signed_by_own_keys();
    let trust = WORLD.store();
    for _ in 0..1_500 {
        let bent = random.bend(good.bytes());
        let Ok(read) = Raw::<SignedBinding>::parse(bent) else { continue };
        let verified = verify_binding(&read, None, &trust, &axis(), Lane::Ordinary, at());
        assert!(verified.is_err() || read.request == good.request);
    }
}

#[test]
fn bent_evidence_is_refused_or_the_same() {
    let mut random = Random(0x1234_5678_9ABC_DEF1);
    let directory = WORLD.directory();
    let good = crate::proofs::consignment_on_the_wire();
    for _ in 0..2_000 {
        let mut bent = good.clone();
        match random.next(4) {
            0 => bent.leaf = random.bend(&good.leaf).into(),
            1 => bent.checkpoint = random.bend(&good.checkpoint).into(),
            2 => bent.proof[0] = random.bend(&good.proof[0]).into(),
            _ => bent.index = random.next(1 << 20) as u64,
        }
        if let Ok(proven) = verify_leaf(&bent, &directory, None, at()) {
            assert_eq!((&proven.leaf.bytes()[..], proven.index), (&good.leaf[..], good.index));
        }
    }
}

#[test]
fn bent_kept_entitlements_do_not_panic() {
    let mut random = Random(0xFEDC_BA98_7654_3211);
    let actor = truc_proto::Actor { code: None, node: "R1".parse().unwrap(), role: truc_proto::Role::Relay };
    let good = WORLD.directory().entitlement(&actor).unwrap().unwrap();
    let bytes = good.to_bytes();
    for _ in 0..500 {
        let bent = random.bend(&bytes);
        let read = Entitlement::from_bytes(&bent);
        assert!(read.is_err() || bent != bytes || read.unwrap() == good);
    }
}
