//! What a tree is made for: agencies, the nodes that serve them, kinds of keys.

use std::collections::BTreeSet;

use crate::profile::KeyKind;

/// Most agencies of one plan: every code of today's axis would be too slow to certify, and nobody needs that.
pub const AGENCIES_MAX: usize = 10_000;

/// One agency to make certificates for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgencyPlan {
    /// Its code, e.g. `H26`; also the name of its folder.
    pub code: String,
    /// Its name in Vietnamese.
    pub name: String,
    /// The id of the node that serves it.
    pub node: String,
}

impl AgencyPlan {
    /// An agency with a node of its own.
    #[must_use]
    pub fn new(code: &str, name: &str) -> Self {
        Self { code: code.to_owned(), name: name.to_owned(), node: code.replace('.', "-") }
    }
}

/// What a tree is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The agencies; their nodes follow from them.
    pub agencies: Vec<AgencyPlan>,
    /// The relay's id.
    pub relay: String,
    /// Kind of every subscriber's key.
    pub keys: KeyKind,
    /// Kind of the root's and the sub-CA's keys.
    pub authority_keys: KeyKind,
}

/// A line of an agencies file that says nothing usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A line without a code or without a name.
    #[error(
        "line {line} of the agencies file is not `code,name` or `code,name,node`; write e.g. H26,UBND thành phố Hà Nội"
    )]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// A code that could not be a folder's name.
    #[error("line {line}: {code:?} is not a code of at most 35 characters from 0-9, A-Z and dots between groups")]
    Code {
        /// Counted from 1.
        line: usize,
        /// As written.
        code: String,
    },
    /// A node id that could not stand in a host name.
    #[error("line {line}: {node:?} is not a node id of at most 40 characters from 0-9, A-Z and inner hyphens")]
    Node {
        /// Counted from 1.
        line: usize,
        /// As written.
        node: String,
    },
    /// One code twice.
    #[error("line {line}: {code} stands in the file twice; delete one line")]
    Twice {
        /// Counted from 1.
        line: usize,
        /// As written.
        code: String,
    },
    /// None at all.
    #[error("the agencies file names no agency")]
    Empty,
    /// More than [`AGENCIES_MAX`].
    #[error("the agencies file names more than {AGENCIES_MAX} agencies")]
    TooMany,
}

impl Default for Plan {
    /// The Government Office, Hà Nội, Lạng Sơn and Bắc Ninh, P-256 keys under RSA-3072 authorities.
    fn default() -> Self {
        let agencies = [
            ("G22", "Văn phòng Chính phủ"),
            ("H26", "UBND thành phố Hà Nội"),
            ("H37", "UBND tỉnh Lạng Sơn"),
            ("H05", "UBND tỉnh Bắc Ninh"),
        ];
        Self {
            agencies: agencies.iter().map(|(code, name)| AgencyPlan::new(code, name)).collect(),
            relay: "RELAY".to_owned(),
            keys: KeyKind::P256,
            authority_keys: KeyKind::Rsa3072,
        }
    }
}

impl Plan {
    /// The ids of all nodes, each once, in order.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<&str> {
        self.agencies.iter().map(|agency| agency.node.as_str()).collect()
    }

    /// Reads `code,name[,node]` lines. Empty lines, lines that start with `#` and a heading `code,…` are skipped; a name with
    /// a comma stands in double quotes.
    ///
    /// # Errors
    /// At the first line that cannot be used.
    pub fn read_agencies(text: &str) -> Result<Vec<AgencyPlan>, PlanError> {
        let mut agencies = Vec::new();
        let mut seen = BTreeSet::new();
        for (line, content) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') || (agencies.is_empty() && content.starts_with("code,")) {
                continue;
            }
            let agency = read_line(line, content)?;
            if !seen.insert(agency.code.clone()) {
                return Err(PlanError::Twice { line, code: agency.code });
            }
            agencies.push(agency);
            if agencies.len() > AGENCIES_MAX {
                return Err(PlanError::TooMany);
            }
        }
        if agencies.is_empty() { Err(PlanError::Empty) } else { Ok(agencies) }
    }
}

fn read_line(line: usize, content: &str) -> Result<AgencyPlan, PlanError> {
    let (code, rest) = content.split_once(',').ok_or(PlanError::Line { line })?;
    let (name, node) = match rest.trim_start().strip_prefix('"') {
        Some(quoted) => {
            let (name, after) = quoted.split_once('"').ok_or(PlanError::Line { line })?;
            (name, after.trim_start().strip_prefix(',').unwrap_or(""))
        }
        None => rest.split_once(',').unwrap_or((rest, "")),
    };
    let (code, name, node) = (code.trim(), name.trim(), node.trim());
    if name.is_empty() {
        return Err(PlanError::Line { line });
    }
    if !is_groups(code, '.', 35) {
        return Err(PlanError::Code { line, code: code.to_owned() });
    }
    let mut agency = AgencyPlan::new(code, name);
    if !node.is_empty() {
        agency.node = node.to_owned();
    }
    if !is_groups(&agency.node, '-', 40) {
        return Err(PlanError::Node { line, node: agency.node });
    }
    Ok(agency)
}

/// Also what keeps a code or id from leaving its folder.
pub(crate) fn is_groups(text: &str, separator: char, longest: usize) -> bool {
    let group = |g: &str| !g.is_empty() && g.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    text.len() <= longest && text.split(separator).all(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agencies_are_read_with_and_without_nodes() {
        let text = "\u{feff}code,name,node\r\n# ghi chú\n\nH26,UBND thành phố Hà Nội\nH26.18,\"Sở A, Hà Nội\",H26\n";
        let agencies = Plan::read_agencies(text).unwrap();
        assert_eq!(agencies[0], AgencyPlan::new("H26", "UBND thành phố Hà Nội"));
        assert_eq!((agencies[1].name.as_str(), agencies[1].node.as_str()), ("Sở A, Hà Nội", "H26"));
        assert_eq!(AgencyPlan::new("H26.18", "x").node, "H26-18");
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named() {
        #[track_caller]
        fn check(text: &str, expected: &PlanError) {
            assert_eq!(&Plan::read_agencies(text).unwrap_err(), expected);
        }
        check("H26", &PlanError::Line { line: 1 });
        check("H26, ", &PlanError::Line { line: 1 });
        check("../x,A", &PlanError::Code { line: 1, code: "../x".into() });
        check("H26,A\nH26,B", &PlanError::Twice { line: 2, code: "H26".into() });
        check("H26,A,-H26", &PlanError::Node { line: 1, node: "-H26".into() });
        check("# none", &PlanError::Empty);
    }
}
