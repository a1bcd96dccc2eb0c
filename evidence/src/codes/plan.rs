//! A list against a draft: what would change, and what speaks against it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    time::Duration,
};

use truc_proto::{
    AgencyEntry, AgencyId, Entry, ForeignCode, Lane, Route, Statement as _, Timestamp,
    limits::{ENTRY_LIST_MAX, ENVELOPE_TTL_MAX_MS},
};

use super::{CodeList, CodeProblem, CodeProblems, CodeRow};

/// What an import would do. Made by [`crate::DirectoryDraft::plan_import`], taken by [`crate::DirectoryDraft::import`].
#[derive(Clone, Debug)]
pub struct ImportPlan {
    changes: Vec<CodeChange>,
    unchanged: usize,
    problems: CodeProblems,
    /// What to put into the draft: new and changed entries.
    pub(crate) entries: Vec<Entry>,
}

/// One difference that a line makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CodeChange {
    /// A code that the draft does not have.
    Added {
        /// Line of the file.
        line: usize,
        /// The code.
        code: AgencyId,
        /// Its name.
        name: String,
    },
    /// A code that closes or closed, or closes at another time than the draft says.
    Closes {
        /// Line of the file.
        line: usize,
        /// The code.
        code: AgencyId,
        /// When.
        at: Timestamp,
        /// Who takes over.
        successor: Option<AgencyId>,
    },
    /// A closed code that is open again.
    Reopens {
        /// Line of the file.
        line: usize,
        /// The code.
        code: AgencyId,
    },
    /// Another official name; the one before stays as a further name, so that it is still found.
    Renamed {
        /// Line of the file.
        line: usize,
        /// The code.
        code: AgencyId,
        /// The name before.
        from: String,
        /// The name now.
        to: String,
    },
    /// Anything else.
    Altered {
        /// Line of the file.
        line: usize,
        /// The code.
        code: AgencyId,
        /// Which column.
        column: &'static str,
        /// Before; empty for nothing.
        from: String,
        /// Now; empty for nothing.
        to: String,
    },
}

impl CodeChange {
    /// For programs: `addition`, `closing`, `reopening`, `renaming` or `alteration`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Added { .. } => "addition",
            Self::Closes { .. } => "closing",
            Self::Reopens { .. } => "reopening",
            Self::Renamed { .. } => "renaming",
            Self::Altered { .. } => "alteration",
        }
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> &AgencyId {
        match self {
            Self::Added { code, .. }
            | Self::Closes { code, .. }
            | Self::Reopens { code, .. }
            | Self::Renamed { code, .. }
            | Self::Altered { code, .. } => code,
        }
    }

    /// Line of the file.
    #[must_use]
    pub const fn line(&self) -> usize {
        match self {
            Self::Added { line, .. }
            | Self::Closes { line, .. }
            | Self::Reopens { line, .. }
            | Self::Renamed { line, .. }
            | Self::Altered { line, .. } => *line,
        }
    }

    /// The same sentence for a Vietnamese reader.
    #[must_use]
    pub fn vietnamese(&self) -> String {
        match self {
            Self::Added { line, code, name } => format!("Dòng {line}: thêm {code} {name}"),
            Self::Closes { line, code, at, successor: Some(successor) } => {
                format!("Dòng {line}: {code} đóng từ {}, mã kế thừa {successor}", at.in_vietnam())
            }
            Self::Closes { line, code, at, successor: None } => {
                format!("Dòng {line}: {code} đóng từ {}, không có mã kế thừa", at.in_vietnam())
            }
            Self::Reopens { line, code } => format!("Dòng {line}: {code} mở lại"),
            Self::Renamed { line, code, from, to } => format!("Dòng {line}: {code} đổi tên từ {from:?} thành {to:?}"),
            Self::Altered { line, code, column, from, to } => {
                format!("Dòng {line}: {code} đổi `{column}` từ {from:?} thành {to:?}")
            }
        }
    }
}

impl fmt::Display for CodeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { line, code, name } => write!(f, "line {line}: adds {code} {name}"),
            Self::Closes { line, code, at, successor: Some(successor) } => {
                write!(f, "line {line}: closes {code} from {}, successor {successor}", at.in_vietnam())
            }
            Self::Closes { line, code, at, successor: None } => {
                write!(f, "line {line}: closes {code} from {}, without a successor", at.in_vietnam())
            }
            Self::Reopens { line, code } => write!(f, "line {line}: opens {code} again"),
            Self::Renamed { line, code, from, to } => write!(f, "line {line}: renames {code} from {from:?} to {to:?}"),
            Self::Altered { line, code, column, from, to } => {
                write!(f, "line {line}: changes `{column}` of {code} from {from:?} to {to:?}")
            }
        }
    }
}

impl ImportPlan {
    /// Every difference, in the order of the file.
    #[must_use]
    pub fn changes(&self) -> &[CodeChange] {
        &self.changes
    }

    /// Codes that the draft has as the list says.
    #[must_use]
    pub const fn unchanged(&self) -> usize {
        self.unchanged
    }

    /// What speaks against the import: with any of these nothing is taken.
    #[must_use]
    pub const fn problems(&self) -> &CodeProblems {
        &self.problems
    }

    /// Leaves only what the draft does not have: entries that are there stay as they are.
    #[must_use]
    pub fn additions_only(mut self) -> Self {
        self.changes.retain(|change| matches!(change, CodeChange::Added { .. }));
        let added: HashSet<&AgencyId> = self.changes.iter().map(CodeChange::code).collect();
        self.entries.retain(|entry| entry.as_agency().is_some_and(|agency| added.contains(&agency.code)));
        self
    }

    /// Against the agencies of a draft.
    pub(crate) fn of<'a>(list: &CodeList, draft: impl Iterator<Item = &'a AgencyEntry>, lane: Lane) -> Self {
        let mut plan =
            Self { changes: Vec::new(), unchanged: 0, problems: list.problems().clone(), entries: Vec::new() };
        let known: BTreeMap<&AgencyId, &AgencyEntry> = draft.map(|agency| (&agency.code, agency)).collect();
        let mut merged = BTreeMap::new();
        let mut lines: HashMap<&AgencyId, &CodeRow> = HashMap::new();
        for row in list.rows() {
            if let Some(first) = lines.get(&row.code) {
                plan.problems.add(twice(row, first));
                continue;
            }
            lines.insert(&row.code, row);
            match plan.merge(row, known.get(&row.code).copied(), lane) {
                Ok(entry) => _ = merged.insert(&row.code, entry),
                Err(problem) => plan.problems.add(problem),
            }
        }
        let whole = Whole { known: &known, merged: &merged, lines: &lines };
        whole.check_old_codes(&mut plan.problems);
        whole.check_successors(&mut plan.problems);
        whole.check_parents(&mut plan.problems);
        plan.problems.sort();
        plan.entries = list
            .rows()
            .iter()
            .filter_map(|row| merged.remove(&row.code))
            .filter(|agency| known.get(&agency.code).is_none_or(|known| **known != *agency))
            .map(Entry::Agency)
            .collect();
        plan
    }

    /// The entry that a line makes of the one that is there, with the differences noted.
    fn merge(&mut self, row: &CodeRow, known: Option<&AgencyEntry>, lane: Lane) -> Result<AgencyEntry, CodeProblem> {
        let line = row.line;
        let entry = match known {
            Some(known) => altered(row, known),
            None => added(row, lane)?,
        };
        Entry::Agency(entry.clone()).check().map_err(|why| CodeProblem::Contradiction {
            line,
            code: row.code.clone(),
            why,
        })?;
        let before = self.changes.len();
        match known {
            Some(known) => self.compare(line, known, &entry),
            None => {
                let name = entry.names.first().cloned().unwrap_or_default();
                self.changes.push(CodeChange::Added { line, code: row.code.clone(), name });
            }
        }
        self.unchanged += usize::from(self.changes.len() == before);
        Ok(entry)
    }

    fn compare(&mut self, line: usize, known: &AgencyEntry, entry: &AgencyEntry) {
        let code = || entry.code.clone();
        let closing = |agency: &AgencyEntry| (agency.valid_to, agency.successor.clone());
        match entry.valid_to {
            Some(at) if closing(known) != closing(entry) => {
                self.changes.push(CodeChange::Closes { line, code: code(), at, successor: entry.successor.clone() });
            }
            None if known.valid_to.is_some() => self.changes.push(CodeChange::Reopens { line, code: code() }),
            _ => {}
        }
        let name = |agency: &AgencyEntry| agency.names.first().cloned().unwrap_or_default();
        if name(known) != name(entry) {
            self.changes.push(CodeChange::Renamed { line, code: code(), from: name(known), to: name(entry) });
        }
        let time = |time: Timestamp| time.in_vietnam().to_string();
        let id = |id: Option<&AgencyId>| id.map(ToString::to_string).unwrap_or_default();
        let old = |agency: &AgencyEntry| agency.old_codes.iter().map(ForeignCode::as_str).collect::<Vec<_>>().join(";");
        let columns = [
            ("valid_from", time(known.valid_from), time(entry.valid_from)),
            (
                "serves_until",
                known.serves_until.map(time).unwrap_or_default(),
                entry.serves_until.map(time).unwrap_or_default(),
            ),
            ("parent", id(known.parent.as_ref()), id(entry.parent.as_ref())),
            ("old_codes", old(known), old(entry)),
            ("route", known.route.to_string(), entry.route.to_string()),
        ];
        for (column, from, to) in columns {
            if from != to {
                self.changes.push(CodeChange::Altered { line, code: code(), column, from, to });
            }
        }
        // With `valid_to` a successor is part of the closing; on an open code it is an announcement.
        if entry.valid_to.is_none() && known.valid_to.is_none() && known.successor != entry.successor {
            let (from, to) = (id(known.successor.as_ref()), id(entry.successor.as_ref()));
            self.changes.push(CodeChange::Altered { line, code: code(), column: "successor", from, to });
        }
    }
}

fn twice(row: &CodeRow, first: &CodeRow) -> CodeProblem {
    let (line, code, first_line) = (row.line, row.code.clone(), first.line);
    match (row.successor.clone().flatten(), first.successor.clone().flatten()) {
        (Some(successor), Some(other)) if successor != other => {
            CodeProblem::TwoSuccessors { line, code, first: first_line, successor, other }
        }
        _ => CodeProblem::Twice { line, code, first: first_line },
    }
}

fn added(row: &CodeRow, lane: Lane) -> Result<AgencyEntry, CodeProblem> {
    let no_start = || CodeProblem::NoStart { line: row.line, code: row.code.clone() };
    Ok(AgencyEntry {
        code: row.code.clone(),
        names: vec![row.name.clone()],
        parent: row.parent.clone().flatten(),
        old_codes: row.old_codes.clone().unwrap_or_default(),
        valid_from: row.valid_from.ok_or_else(no_start)?,
        valid_to: row.valid_to.flatten(),
        serves_until: row.serves_until.flatten(),
        successor: row.successor.clone().flatten(),
        route: row.route.unwrap_or(Route::Native),
        node: None,
        lanes: vec![lane],
        certificates: Vec::new(),
    })
}

fn altered(row: &CodeRow, known: &AgencyEntry) -> AgencyEntry {
    let mut entry = known.clone();
    if entry.names.first() != Some(&row.name) {
        entry.names.retain(|name| *name != row.name);
        entry.names.insert(0, row.name.clone());
        entry.names.truncate(ENTRY_LIST_MAX);
    }
    entry.valid_from = row.valid_from.unwrap_or(entry.valid_from);
    entry.valid_to = row.valid_to.unwrap_or(entry.valid_to);
    entry.successor = row.successor.clone().unwrap_or(entry.successor);
    entry.serves_until = match row.serves_until {
        Some(until) => until,
        // What was sealed to it before the end may be on the way for as long as an envelope lives.
        None if entry.node.is_some() && entry.valid_to != known.valid_to => {
            entry.valid_to.map(|end| end + Duration::from_millis(ENVELOPE_TTL_MAX_MS.unsigned_abs()))
        }
        // A code that is open again serves without an end.
        None => entry.serves_until.filter(|_| entry.valid_to.is_some()),
    };
    entry.parent = row.parent.clone().unwrap_or(entry.parent);
    entry.old_codes = row.old_codes.clone().unwrap_or(entry.old_codes);
    entry.route = row.route.unwrap_or(entry.route);
    entry
}

/// The directory as it would be.
struct Whole<'a> {
    known: &'a BTreeMap<&'a AgencyId, &'a AgencyEntry>,
    merged: &'a BTreeMap<&'a AgencyId, AgencyEntry>,
    lines: &'a HashMap<&'a AgencyId, &'a CodeRow>,
}

impl<'a> Whole<'a> {
    fn agency(&self, code: &AgencyId) -> Option<&'a AgencyEntry> {
        self.merged.get(code).or_else(|| self.known.get(code).copied())
    }

    /// Also a line that is wrong in something else has its code: one mistake, one complaint.
    fn has(&self, code: &AgencyId) -> bool {
        self.lines.contains_key(code) || self.known.contains_key(code)
    }

    fn line(&self, code: &AgencyId) -> Option<usize> {
        self.lines.get(code).map(|row| row.line)
    }

    fn check_old_codes(&self, problems: &mut CodeProblems) {
        let untouched = self.known.values().copied().filter(|agency| !self.merged.contains_key(&agency.code));
        let all = untouched.chain(self.merged.values());
        let mut holders: HashMap<&ForeignCode, &AgencyId> = HashMap::new();
        for agency in all {
            for old in &agency.old_codes {
                let Some(other) = holders.insert(old, &agency.code) else { continue };
                let Some(line) = self.line(&agency.code).or_else(|| self.line(other)) else { continue };
                let (code, other) = (agency.code.clone(), other.clone());
                problems.add(CodeProblem::OldCodeTaken { line, code, old: old.clone(), other });
            }
        }
    }

    fn check_successors(&self, problems: &mut CodeProblems) {
        for agency in self.merged.values() {
            let (Some(successor), Some(line)) = (&agency.successor, self.line(&agency.code)) else { continue };
            if !self.has(successor) {
                let (code, successor) = (agency.code.clone(), successor.clone());
                problems.add(CodeProblem::UnknownSuccessor { line, code, successor });
            }
        }
        self.check_cycles(
            |agency| agency.successor.clone(),
            problems,
            |line, codes| CodeProblem::SuccessorCycle { line, codes },
        );
    }

    fn check_parents(&self, problems: &mut CodeProblems) {
        for agency in self.merged.values() {
            let Some(line) = self.line(&agency.code) else { continue };
            let orphan = match &agency.parent {
                Some(parent) => (!self.has(parent)).then(|| parent.clone()),
                // Codes may skip a level; where they begin must be there.
                None => {
                    let mut ancestors = std::iter::successors(agency.code.parent(), AgencyId::parent);
                    let level1 = agency.code.level1();
                    let known = level1 == agency.code || ancestors.any(|code| self.has(&code));
                    (!known).then_some(level1)
                }
            };
            if let Some(parent) = orphan {
                problems.add(CodeProblem::UnknownParent { line, code: agency.code.clone(), parent });
            }
        }
        self.check_cycles(AgencyEntry::superior, problems, |line, codes| CodeProblem::ParentCycle { line, codes });
    }

    /// Follows `next` from every line. A circle is told once, at the first of its lines.
    fn check_cycles(
        &self,
        next: impl Fn(&AgencyEntry) -> Option<AgencyId>,
        problems: &mut CodeProblems,
        problem: impl Fn(usize, Vec<AgencyId>) -> CodeProblem,
    ) {
        let mut done: HashSet<AgencyId> = HashSet::new();
        for start in self.merged.values() {
            let mut path: Vec<AgencyId> = Vec::new();
            let mut on_path: HashSet<AgencyId> = HashSet::new();
            let mut at = Some(start.code.clone());
            while let Some(code) = at.filter(|code| !done.contains(code)) {
                if !on_path.insert(code.clone()) {
                    let mut circle: Vec<AgencyId> = path.into_iter().skip_while(|one| *one != code).collect();
                    circle.push(code);
                    if let Some(line) = circle.iter().filter_map(|code| self.line(code)).min() {
                        problems.add(problem(line, circle));
                    }
                    break;
                }
                path.push(code.clone());
                at = self.agency(&code).and_then(&next);
            }
            done.extend(on_path);
        }
    }
}
