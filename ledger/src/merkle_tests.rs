//! The tree against a second implementation, written from the recursive definitions of RFC 6962 2.1, against known vectors and against Python.

use std::process::{Command, Stdio};

use super::*;

/// RFC 6962 2.1, word by word.
fn mth(leaves: &[Vec<u8>]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [one] => Digest::of(&[&[0], one.as_slice()].concat()),
        _ => {
            let k = largest_power_below(leaves.len());
            let joined = [&[1], mth(&leaves[..k]).0.as_slice(), mth(&leaves[k..]).0.as_slice()].concat();
            Digest::of(&joined)
        }
    }
}

fn largest_power_below(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// RFC 6962 2.1.1.
fn path(m: usize, leaves: &[Vec<u8>]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = largest_power_below(leaves.len());
    let (mut proof, last) =
        if m < k { (path(m, &leaves[..k]), mth(&leaves[k..])) } else { (path(m - k, &leaves[k..]), mth(&leaves[..k])) };
    proof.push(last);
    proof
}

/// RFC 6962 2.1.2.
fn subproof(m: usize, leaves: &[Vec<u8>], whole: bool) -> Vec<Digest> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = largest_power_below(leaves.len());
    let (mut proof, last) = if m <= k {
        (subproof(m, &leaves[..k], whole), mth(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
    };
    proof.push(last);
    proof
}

fn leaves(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| vec![u8::try_from(i).unwrap(); i % 7]).collect()
}

#[test]
fn roots_and_proofs_agree_with_the_rfc_definition() {
    let all = leaves(70);
    let tree = MemTree::of(&all);
    for size in 0..=all.len() {
        let root = mth(&all[..size]);
        assert_eq!(tree.root_at(size as u64), Some(root), "root of {size}");
        for index in 0..size {
            let proof = tree.inclusion(index as u64, size as u64).unwrap();
            assert_eq!(proof, path(index, &all[..size]), "inclusion of {index} in {size}");
            verify_inclusion(&leaf_hash(&all[index]), index as u64, size as u64, &proof, &root).unwrap();
        }
        for from in 0..=size {
            let proof = tree.consistency(from as u64, size as u64).unwrap();
            let expected = if from == 0 { Vec::new() } else { subproof(from, &all[..size], true) };
            assert_eq!(proof, expected, "consistency {from} to {size}");
            verify_consistency(from as u64, &mth(&all[..from]), size as u64, &root, &proof).unwrap();
        }
    }
    assert_eq!((tree.root_at(71), tree.inclusion(70, 70), tree.consistency(5, 71)), (None, None, None));
}

#[test]
fn every_altered_proof_is_refused() {
    let all = leaves(40);
    let tree = MemTree::of(&all);
    for size in [1_u64, 2, 3, 7, 8, 9, 31, 32, 33, 40] {
        let root = tree.root_at(size).unwrap();
        for index in 0..size {
            let leaf = leaf_hash(&all[usize::try_from(index).unwrap()]);
            let proof = tree.inclusion(index, size).unwrap();
            let bad =
                |i, s, p: &[Digest], r| assert!(verify_inclusion(&leaf, i, s, p, r).is_err(), "{index} of {size}");
            for at in 0..proof.len() {
                let mut altered = proof.clone();
                altered[at].0[3] ^= 1;
                bad(index, size, &altered, &root);
                altered.remove(at);
                bad(index, size, &altered, &root);
            }
            let longer = [proof.as_slice(), &[root]].concat();
            bad(index, size, &longer, &root);
            bad(size, size, &proof, &root);
            bad(index, size, &proof, &Digest([1; 32]));
            if size > 1 {
                bad((index + 1) % size, size, &proof, &root);
            }
        }
        for from in 1..size {
            let old = tree.root_at(from).unwrap();
            let proof = tree.consistency(from, size).unwrap();
            for at in 0..proof.len() {
                let mut altered = proof.clone();
                altered[at].0[3] ^= 1;
                assert!(verify_consistency(from, &old, size, &root, &altered).is_err());
                altered.remove(at);
                assert!(verify_consistency(from, &old, size, &root, &altered).is_err());
            }
            assert!(verify_consistency(from, &Digest([1; 32]), size, &root, &proof).is_err());
            assert!(verify_consistency(from, &old, size, &Digest([1; 32]), &proof).is_err());
            assert_eq!(
                verify_consistency(size, &root, from, &old, &proof),
                Err(ProofError::Shrunk { from: size, to: from })
            );
        }
    }
    assert!(verify_consistency(0, &Digest([1; 32]), 5, &tree.root_at(5).unwrap(), &[]).is_err());
    assert!(verify_inclusion(&empty_root(), 0, 0, &[], &empty_root()).is_err());
    let endless = vec![Digest([0; 32]); 10_000];
    assert_eq!(
        verify_inclusion(&empty_root(), 0, i64::MAX as u64, &endless, &empty_root()),
        Err(ProofError::WrongLength)
    );
}

/// The eight leaves that the Certificate Transparency code (merkletree tests) has used since RFC 6962, and their roots.
#[test]
fn certificate_transparency_vectors_hold() {
    let inputs: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let tree = MemTree::of(inputs);
    let known = [
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ];
    for (size, root) in known {
        assert_eq!(tree.root_at(size).unwrap().to_string(), root, "{size} leaves");
    }
}

const PYTHON: &str = r"
import hashlib, sys
H = lambda b: hashlib.sha256(b).digest()
def root(level):
    if not level: return H(b'')
    while len(level) > 1:
        pairs = [H(b'\x01' + level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) - len(level) % 2:]
    return level[0]
for n in range(0, 70):
    print(root([H(b'\x00' + bytes([i]) * (i % 7)) for i in range(n)]).hex())
";

#[test]
fn python_computes_the_same_roots() {
    let run = Command::new("python3").args(["-c", PYTHON]).stderr(Stdio::inherit()).output();
    let Ok(run) = run else {
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none(), "python3 is required here");
        eprintln!("SKIPPED: python3 is not installed");
        return;
    };
    let tree = MemTree::of(leaves(70));
    let ours: String = (0..70).map(|size| format!("{}\n", tree.root_at(size).unwrap())).collect();
    assert_eq!(String::from_utf8(run.stdout).unwrap(), ours);
}
