//! C2SP tlog-policy: which witnesses somebody relies on, and how many of them must have cosigned a checkpoint.
//!
//! Source: C2SP tlog-policy. Stricter in one thing: the file is UTF-8. Witness keys are those of Ed25519 cosignatures (type `0x04`), log keys Ed25519 (`0x01`).

use std::collections::{HashMap, HashSet};

use crate::{
    NoteKey,
    limits::{POLICY_BYTES_MAX, POLICY_LINES_MAX},
};

/// The name that stands for "no cosignature is asked for".
const NONE: &str = "none";

/// A policy. Invariant: members of groups and the quorum stand before what names them, so that one pass decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<NoteKey>,
    witnesses: Vec<NoteKey>,
    parts: Vec<Part>,
    quorum: Option<usize>,
}

/// What a name in the policy stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Place among the witnesses.
    Witness(usize),
    Group {
        /// How many of the members.
        threshold: usize,
        /// Places among the parts, all before this one.
        members: Vec<usize>,
    },
}

/// Why a text is no policy that can be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Longer than [`POLICY_BYTES_MAX`], or of more lines than [`POLICY_LINES_MAX`].
    #[error("the policy is longer than {POLICY_BYTES_MAX} bytes or {POLICY_LINES_MAX} lines")]
    TooLong,
    /// Not UTF-8, or with control characters beside tab and newline.
    #[error("the policy is not UTF-8 text, or holds control characters (Windows line ends, for one)")]
    NotText,
    /// A line that says nothing known, or what may not be said there.
    #[error("line {line} of the policy: {fault}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        fault: PolicyFault,
    },
    /// No `quorum` line.
    #[error("the policy has no quorum line: it does not say how many witnesses it asks for")]
    NoQuorum,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// Another first word, or too few or too many words.
    #[error(
        "expected `log <vkey> [<url>]`, `witness <name> <vkey> [<url>]`, `group <name> all|any|<k> <name>…` or `quorum <name>`"
    )]
    Form,
    /// Not an Ed25519 key of the type that belongs there.
    #[error("the key is no verification key of an Ed25519 {wanted} (name+key id+base64)")]
    Key {
        /// `log` or `witness cosignature`.
        wanted: &'static str,
    },
    /// A key that stands in an earlier line.
    #[error("the key stands in the policy already")]
    SameKey,
    /// A name that an earlier line defines, or `none`.
    #[error("the name is taken")]
    SameName,
    /// A name that no earlier line defines.
    #[error("no line before defines `{name}`")]
    Undefined {
        /// The name.
        name: String,
    },
    /// A member that is one of a group already.
    #[error("`{name}` is a member of a group already")]
    MemberTwice {
        /// The name.
        name: String,
    },
    /// A threshold below one or above the number of members.
    #[error("the threshold is no number from 1 to the number of members")]
    Threshold,
    /// A second quorum line.
    #[error("there is a quorum line already")]
    SecondQuorum,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`] says which line is not as the format demands.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PolicyError::NotText)?;
        if text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t' && byte != b'\n') {
            return Err(PolicyError::NotText);
        }
        let mut reader = Reader::default();
        for (index, line) in text.split('\n').enumerate() {
            if index >= POLICY_LINES_MAX {
                return Err(PolicyError::TooLong);
            }
            reader.line(line).map_err(|fault| PolicyError::Line { line: index + 1, fault })?;
        }
        let Reader { logs, witnesses, parts, quorum, .. } = reader;
        Ok(Self { logs, witnesses, parts, quorum: quorum.ok_or(PolicyError::NoQuorum)? })
    }

    /// The logs whose checkpoints alone are accepted; none: every log that is believed for other reasons.
    #[must_use]
    pub fn logs(&self) -> &[NoteKey] {
        &self.logs
    }

    /// The witnesses, in order.
    #[must_use]
    pub fn witnesses(&self) -> &[NoteKey] {
        &self.witnesses
    }

    /// Whether a cosignature is asked for at all.
    #[must_use]
    pub const fn asks_for_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Whether those witnesses (places in [`Policy::witnesses`]) are enough.
    #[must_use]
    pub fn is_met(&self, cosigned: impl Fn(usize) -> bool) -> bool {
        let mut met: Vec<bool> = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let is_met = match part {
                Part::Witness(place) => cosigned(*place),
                Part::Group { threshold, members } => {
                    let by = members.iter().filter(|member| met.get(**member) == Some(&true)).count();
                    by >= *threshold
                }
            };
            met.push(is_met);
        }
        self.quorum.is_none_or(|quorum| met.get(quorum) == Some(&true))
    }
}

#[derive(Default)]
struct Reader {
    logs: Vec<NoteKey>,
    witnesses: Vec<NoteKey>,
    parts: Vec<Part>,
    names: HashMap<String, usize>,
    members: HashSet<usize>,
    /// The quorum line: none before it; `Some(None)` asks for no witness.
    quorum: Option<Option<usize>>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), PolicyFault> {
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key] | ["log", key, _] => {
                let key = key.parse().map_err(|_| PolicyFault::Key { wanted: "log" })?;
                add_key(&mut self.logs, key)
            }
            ["witness", name, key] | ["witness", name, key, _] => {
                let key = NoteKey::from_cosignature_vkey(key)
                    .map_err(|_| PolicyFault::Key { wanted: "witness cosignature" })?;
                add_key(&mut self.witnesses, key)?;
                self.define(name, Part::Witness(self.witnesses.len() - 1))
            }
            ["group", name, threshold, members @ ..] if !members.is_empty() => {
                let threshold = read_threshold(threshold, members.len())?;
                let members = members.iter().map(|member| self.member(member)).collect::<Result<_, _>>()?;
                self.define(name, Part::Group { threshold, members })
            }
            ["quorum", name] => {
                let quorum = if *name == NONE { None } else { Some(self.defined(name)?) };
                if self.quorum.replace(quorum).is_some() {
                    return Err(PolicyFault::SecondQuorum);
                }
                Ok(())
            }
            _ => Err(PolicyFault::Form),
        }
    }

    fn define(&mut self, name: &str, part: Part) -> Result<(), PolicyFault> {
        if name == NONE || self.names.contains_key(name) {
            return Err(PolicyFault::SameName);
        }
        self.names.insert(name.to_owned(), self.parts.len());
        self.parts.push(part);
        Ok(())
    }

    fn defined(&self, name: &str) -> Result<usize, PolicyFault> {
        self.names.get(name).copied().ok_or_else(|| PolicyFault::Undefined { name: name.to_owned() })
    }

    /// Once only, so that each witness counts in one way.
    fn member(&mut self, name: &str) -> Result<usize, PolicyFault> {
        let place = self.defined(name)?;
        if self.members.insert(place) { Ok(place) } else { Err(PolicyFault::MemberTwice { name: name.to_owned() }) }
    }
}

/// The same key under two names would count twice.
fn add_key(keys: &mut Vec<NoteKey>, key: NoteKey) -> Result<(), PolicyFault> {
    if keys.iter().any(|known| known.public_key() == key.public_key()) {
        return Err(PolicyFault::SameKey);
    }
    keys.push(key);
    Ok(())
}

fn read_threshold(word: &str, members: usize) -> Result<usize, PolicyFault> {
    match word {
        "all" => Ok(members),
        "any" => Ok(1),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0') => {
            digits.parse().ok().filter(|threshold| *threshold <= members).ok_or(PolicyFault::Threshold)
        }
        _ => Err(PolicyFault::Threshold),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vkey(name: &str, seed: u8) -> String {
        NoteKey::new(name, [seed; 32]).unwrap().cosignature_vkey()
    }

    fn three() -> String {
        (1..=3).map(|n| format!("witness X{n} {}\n", vkey(&format!("x{n}.example"), n))).collect()
    }

    #[track_caller]
    fn refused(text: &str, line: usize, fault: PolicyFault) {
        assert_eq!(Policy::parse(text.as_bytes()), Err(PolicyError::Line { line, fault }), "{text}");
    }

    fn vectors() -> impl Iterator<Item = (String, Vec<u8>)> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/witness");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
    }

    #[test]
    fn the_vectors_of_another_writer_are_read_as_their_names_say() {
        let policies: Vec<_> = vectors().filter(|(name, _)| name.ends_with(".policy")).collect();
        assert!(policies.len() > 25);
        for (name, bytes) in policies {
            assert_eq!(
                Policy::parse(&bytes).is_err(),
                name.starts_with("refused-"),
                "{name}: {:?}",
                Policy::parse(&bytes)
            );
        }
    }

    #[test]
    fn cosignatures_of_another_writer_hold_and_meet_its_policy() {
        let read = |wanted: &str| vectors().find(|(name, _)| name == wanted).unwrap().1;
        let note = crate::SignedNote::parse(&read("cosigned.note")).unwrap();
        let policy = Policy::parse(&read("one-of-the-relay-or-two-nodes.policy")).unwrap();
        policy.logs()[0].verify(&note).unwrap();
        let found: Vec<_> = policy.witnesses().iter().map(|key| key.verify_cosignature(&note)).collect();
        assert!(matches!(&found[2], Err(crate::NoteVerifyError::NotSigned { .. })));
        assert_eq!(found[0].as_ref().unwrap().to_string(), "2026-11-22T02:00:00.000Z");
        assert_eq!(found[0], found[1]);
        assert!(policy.is_met(|place| found[place].is_ok()));
    }

    /// The example of the specification, with keys in it.
    #[test]
    fn two_of_three_and_any_of_the_others_is_what_the_specification_says() {
        let ys: String = (4..=6).map(|n| format!(" witness\tY{n} {} https://y.example/\n", vkey("y", n))).collect();
        let log = NoteKey::new("log.example", [9; 32]).unwrap();
        let text = format!(
            "# a policy\n\nlog {log}\n{}group X-witnesses 2 X1 X2 X3\n{ys}group Y-witnesses any Y4 Y5 Y6\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
            three()
        );
        let policy = Policy::parse(text.as_bytes()).unwrap();
        assert_eq!(policy.logs(), [log]);
        assert_eq!(policy.witnesses().len(), 6);
        let met = |by: &[usize]| policy.is_met(|place| by.contains(&place));
        assert!(met(&[0, 2, 4]) && met(&[0, 1, 2, 3, 4, 5]));
        assert!(!met(&[0, 1, 2]) && !met(&[0, 3, 4, 5]) && !met(&[]));
    }

    #[test]
    fn quorum_none_asks_for_nobody_and_a_quorum_line_must_be_there() {
        let policy = Policy::parse(b"quorum none").unwrap();
        assert!(policy.is_met(|_| false) && !policy.asks_for_witnesses());
        assert_eq!(Policy::parse(b""), Err(PolicyError::NoQuorum));
        assert_eq!(Policy::parse(three().as_bytes()), Err(PolicyError::NoQuorum));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let x = three();
        let plain = NoteKey::new("x1.example", [7; 32]).unwrap();
        refused(&format!("witness A {plain}\n"), 1, PolicyFault::Key { wanted: "witness cosignature" });
        refused(&format!("log {}\n", vkey("l", 1)), 1, PolicyFault::Key { wanted: "log" });
        refused(&format!("{x}witness A {}\n", vkey("other.name", 1)), 4, PolicyFault::SameKey);
        refused(&format!("{x}witness X1 {}\n", vkey("w", 8)), 4, PolicyFault::SameName);
        refused(&format!("witness none {}\n", vkey("w", 8)), 1, PolicyFault::SameName);
        refused(&format!("{x}group g 4 X1 X2 X3\n"), 4, PolicyFault::Threshold);
        for threshold in ["0", "-1", "+1", "01", "most"] {
            refused(&format!("{x}group g {threshold} X1 X2\n"), 4, PolicyFault::Threshold);
        }
        refused(&format!("{x}group g all X1 X9\n"), 4, PolicyFault::Undefined { name: "X9".into() });
        refused(&format!("{x}group g all g\n"), 4, PolicyFault::Undefined { name: "g".into() });
        refused(&format!("{x}group g all none\n"), 4, PolicyFault::Undefined { name: "none".into() });
        refused(&format!("{x}group g 2 X1 X1\n"), 4, PolicyFault::MemberTwice { name: "X1".into() });
        refused(&format!("{x}group g any X1\ngroup h any X1\n"), 5, PolicyFault::MemberTwice { name: "X1".into() });
        refused(&format!("{x}group g any\n"), 4, PolicyFault::Form);
        refused(&format!("{x}quorum X1 X2\n"), 4, PolicyFault::Form);
        refused("Quorum none\n", 1, PolicyFault::Form);
        refused("quorum none\nquorum none\n", 2, PolicyFault::SecondQuorum);
        for text in [&b"quorum none\r\n"[..], b"quorum\x0bnone\n", b"quorum none\n# \xff\n", b"quorum none\x7f\n"] {
            assert_eq!(Policy::parse(text), Err(PolicyError::NotText));
        }
        assert_eq!(Policy::parse(&vec![b'\n'; POLICY_LINES_MAX + 1]), Err(PolicyError::TooLong));
        // A no-break space separates nothing, and a name is what it is in bytes.
        refused("quorum\u{a0}none\n", 1, PolicyFault::Form);
    }
}
