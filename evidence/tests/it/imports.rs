//! Lists of codes: read, compared with a draft, taken or refused as a whole.

use truc_evidence::{CodeList, CodeListError, CodeProblem, DirectoryDraft, DraftError, ImportPlan, LEVEL1_CODES};
use truc_proto::{AgencyEntry, AxisId, Entry, Lane, limits::CODE_LIST_PROBLEMS_MAX};

use crate::world::{WORLD, code};

const HEADER: &str = "code,name,valid_from,valid_to,successor,parent,old_codes";

fn draft() -> DirectoryDraft {
    DirectoryDraft::following(&WORLD.directory()).unwrap()
}

fn plan(draft: &DirectoryDraft, lines: &str) -> ImportPlan {
    draft.plan_import(&CodeList::parse(format!("{HEADER}\n{lines}").as_bytes()).unwrap())
}

#[track_caller]
fn problems(lines: &str) -> Vec<String> {
    let draft = draft();
    let plan = plan(&draft, lines);
    let named = plan.problems().named();
    assert_eq!(named.len(), plan.problems().count());
    for problem in named {
        assert!(problem.vietnamese().starts_with(&format!("Dòng {}: ", problem.line())), "{}", problem.vietnamese());
        assert!(problem.to_string().starts_with(&format!("line {}: ", problem.line())), "{problem}");
    }
    // Nothing of a list with a mistake is taken.
    let before: Vec<Entry> = draft.entries().cloned().collect();
    let mut after = draft;
    assert_eq!(after.import(&plan).is_err(), !named.is_empty());
    assert!(named.is_empty() || after.entries().eq(&before));
    named.iter().map(|problem| format!("{}@{}", problem.kind(), problem.line())).collect()
}

fn agency(draft: &DirectoryDraft, text: &str) -> AgencyEntry {
    draft.entries().filter_map(Entry::as_agency).find(|agency| agency.code == code(text)).unwrap().clone()
}

const START: &str = "2020-09-15T00:00:00+07:00";

#[test]
fn a_plan_lists_additions_closings_and_renamings() {
    let mut draft = draft();
    let list = format!(
        "H26,Hà Nội,,,,,\nH37,Cơ quan H37,,2026-12-30T19:00:00+07:00,H26,,\nH26.18,Cơ quan H26.18,,,,,\n\
         K01,\"Sở, ban\",{START},,,H26,000.00.01.H26;01.H26\n"
    );
    let plan = plan(&draft, &list);
    let changes: Vec<String> = plan.changes().iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "line 2: renames H26 from \"Cơ quan H26\" to \"Hà Nội\"",
            "line 3: closes H37 from 30/12/2026 19:00:00 +07:00, successor H26",
            // What is on the way at that moment is still opened.
            "line 3: changes `serves_until` of H37 from \"\" to \"29/01/2027 19:00:00 +07:00\"",
            "line 5: adds K01 Sở, ban",
        ]
    );
    assert_eq!(plan.changes()[1].vietnamese(), "Dòng 3: H37 đóng từ 30/12/2026 19:00:00 +07:00, mã kế thừa H26");
    assert!(plan.problems().is_empty());
    assert_eq!(plan.unchanged(), 1);
    let (h26, untouched) = (agency(&draft, "H26"), agency(&draft, "G22"));
    draft.import(&plan).unwrap();
    // Node and certificates are not a list's business; the former name is still found.
    let renamed = agency(&draft, "H26");
    assert_eq!((&renamed.node, &renamed.certificates), (&h26.node, &h26.certificates));
    assert_eq!(renamed.names, ["Hà Nội", "Cơ quan H26"]);
    assert_eq!(agency(&draft, "H37").successor, Some(code("H26")));
    assert_eq!(agency(&draft, "G22"), untouched);
    let k01 = agency(&draft, "K01");
    assert_eq!((k01.parent, k01.node, k01.old_codes.len()), (Some(code("H26")), None, 2));
}

#[test]
fn what_a_list_has_no_column_for_stays() {
    let mut draft = draft();
    let closing = "code,name,valid_to,serves_until,successor\n\
                   H37,Cơ quan H37,2026-12-30T19:00:00+07:00,2027-06-30T00:00:00+07:00,H26\n";
    let plan = draft.plan_import(&CodeList::parse(closing.as_bytes()).unwrap());
    draft.import(&plan).unwrap();
    let names = CodeList::parse(b"code,name\nH37,H\n").unwrap();
    let plan = draft.plan_import(&names);
    assert_eq!(plan.changes().len(), 1);
    draft.import(&plan).unwrap();
    assert_eq!(agency(&draft, "H37").successor, Some(code("H26")));
    // An empty field says that there is none.
    let reopening = CodeList::parse(b"code,name,valid_to,successor\nH37,H,,\n").unwrap();
    let plan = draft.plan_import(&reopening);
    assert_eq!(plan.changes()[0].kind(), "reopening");
    draft.import(&plan).unwrap();
    let open = agency(&draft, "H37");
    assert_eq!((open.valid_to, open.serves_until, open.successor), (None, None, None));
}

#[test]
fn conflicts_cycles_and_orphans_are_named_with_their_lines() {
    let row = |code: &str, rest: &str| format!("{code},Tên {code},{START},{rest}\n");
    let closed = |successor: &str| format!("2025-06-30T19:00:00+07:00,{successor},,");
    assert_eq!(problems(&row("K01", ",,,")), Vec::<String>::new());
    // The same code twice; with two successors.
    assert_eq!(problems(&(row("K01", ",,,") + &row("K01", ",,,"))), ["conflict@3"]);
    assert_eq!(problems(&(row("K01", &closed("H26")) + &row("K01", &closed("G22")))), ["conflict@3"]);
    // An old code of two agencies.
    assert_eq!(problems(&(row("K01", ",,,1.K") + &row("K02", ",,,1.K"))), ["conflict@3"]);
    // Times that contradict each other; a code that succeeds itself.
    assert_eq!(problems(&row("K01", "2019-01-01T00:00:00+07:00,,,")), ["conflict@2"]);
    assert_eq!(problems(&row("K01", &closed("K01"))), ["conflict@2"]);
    // Successors and parents that run in a circle, each told once.
    let circle = row("K01", &closed("K02")) + &row("K02", &closed("K03")) + &row("K03", &closed("K01"));
    assert_eq!(problems(&circle), ["cycle@2"]);
    assert_eq!(problems(&(row("K01", ",,K02,") + &row("K02", ",,K01,"))), ["cycle@2"]);
    // A parent that is below by its form.
    assert_eq!(problems(&(row("K01", ",,K01.1,") + &row("K01.1", ",,,"))), ["cycle@2"]);
    // Through an entry that the draft has.
    assert_eq!(problems(&row("H26", ",,H26.18,")), ["cycle@2"]);
    // Nobody has the successor's or the parent's code.
    assert_eq!(problems(&row("K01", &closed("K77"))), ["orphan@2"]);
    assert_eq!(problems(&row("K01", ",,K77,")), ["orphan@2"]);
    assert_eq!(problems(&row("K77.1", ",,,")), ["orphan@2"]);
    assert_eq!(problems(&row("H26.7.4", ",,,")), Vec::<String>::new());
    // Lines that cannot be read.
    assert_eq!(problems("K01,Tên\n"), ["unreadable@2"]);
    assert_eq!(problems("K01,Tên,,,,,\n"), ["unreadable@2"]);
    assert_eq!(problems("k1,Tên,,,,,\nK01,Tên,hôm qua,,,,\n"), ["unreadable@2", "unreadable@3"]);
    assert_eq!(problems("K01,\"Tên,,,,,\n"), ["unreadable@2"]);
    assert_eq!(problems(&row("K01", ",,,").replace("Tên K01", " \u{200B} ")), ["conflict@2"]);
    assert_eq!(problems(&row("K01", ",,,").replace("Tên K01", &"a".repeat(501))), ["conflict@2"]);
}

#[test]
fn a_long_list_of_mistakes_is_bounded_and_counted() {
    let lines = "k,Tên,,,,,\n".repeat(CODE_LIST_PROBLEMS_MAX + 5);
    let plan = plan(&draft(), &lines);
    assert_eq!(
        (plan.problems().named().len(), plan.problems().count()),
        (CODE_LIST_PROBLEMS_MAX, CODE_LIST_PROBLEMS_MAX + 5)
    );
    let refused = draft().import(&plan).unwrap_err();
    assert!(matches!(refused, DraftError::ImportRefused { problems } if problems == CODE_LIST_PROBLEMS_MAX + 5));
}

#[test]
fn a_file_that_is_no_list_is_refused_with_the_reason() {
    let refused = |bytes: &[u8]| CodeList::parse(bytes).unwrap_err();
    assert_eq!(refused(b""), CodeListError::Empty);
    assert_eq!(refused(b"# only a note\n"), CodeListError::Empty);
    assert_eq!(refused(b"code;name\n"), CodeListError::UnknownColumn { name: "code;name".into() });
    assert_eq!(refused(b"code,name,code\n"), CodeListError::ColumnTwice { name: "code".into() });
    assert_eq!(refused(b"name\n"), CodeListError::MissingColumn { name: "code" });
    assert_eq!(refused(b"code,name\nH26,\xFF\n"), CodeListError::NotUtf8 { line: 2 });
    for bytes in [b"".as_slice(), b"name\n", b"code,x\n"] {
        assert!(refused(bytes).vietnamese().ends_with('.'));
    }
    // As spreadsheets write it.
    let sheet = CodeList::parse("\u{FEFF}Code,Name\r\nK01,\"Sở \"\"A\"\"\"\r\n".as_bytes()).unwrap();
    assert_eq!(sheet.rows()[0].name, "Sở \"A\"");
}

#[test]
fn the_built_in_codes_are_right_and_every_closed_one_leads_to_an_open_one() {
    let list = CodeList::parse(LEVEL1_CODES.as_bytes()).unwrap();
    let mut draft = DirectoryDraft::new("dev".parse::<AxisId>().unwrap(), Lane::Ordinary);
    let plan = draft.plan_import(&list);
    assert!(plan.problems().is_empty(), "{:?}", plan.problems().named());
    assert_eq!((plan.changes().len(), list.rows().len()), (201, 201));
    draft.import(&plan).unwrap();
    let h02 = agency(&draft, "H02");
    assert_eq!(h02.successor, Some(code("H05")));
    assert_eq!(h02.valid_to, Some("2025-06-30T19:00:00+07:00".parse().unwrap()));
    let agencies: Vec<&AgencyEntry> = draft.entries().filter_map(Entry::as_agency).collect();
    for agency in &agencies {
        let Some(successor) = &agency.successor else { continue };
        let successor = agencies.iter().find(|other| other.code == *successor).unwrap();
        assert_eq!(successor.valid_to, None, "{} -> {}", agency.code, successor.code);
    }
    // The provinces: 63 until 30/6/2025 19:00, 34 from then on.
    let provinces = |at: &str| {
        let at = at.parse().unwrap();
        agencies.iter().filter(|agency| agency.code.as_str().starts_with('H') && agency.is_open(at)).count()
    };
    assert_eq!(provinces("2025-06-30T18:59:59+07:00"), 63);
    assert_eq!(provinces("2025-06-30T19:00:00+07:00"), 34);
    // Taken again it changes nothing.
    let again = draft.plan_import(&list);
    assert_eq!((again.changes().len(), again.unchanged()), (0, 201));
}

#[test]
fn only_additions_may_be_taken() {
    let mut draft = draft();
    let plan = plan(&draft, &format!("H26,Khác,,,,,\nK01,Mới,{START},,,,\n")).additions_only();
    assert_eq!(plan.changes().len(), 1);
    draft.import(&plan).unwrap();
    assert_eq!(agency(&draft, "H26").names, ["Cơ quan H26"]);
    assert_eq!(agency(&draft, "K01").names, ["Mới"]);
    assert!(matches!(CodeProblem::NoStart { line: 1, code: code("K01") }.kind(), "unreadable"));
}
