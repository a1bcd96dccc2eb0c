//! CSV as RFC 4180 has it, with the mark by which Excel knows UTF-8.

use truc_proto::node_v1::StatisticsRow;

use super::table::{COLUMNS, Cell};

/// The table with its headings.
#[must_use]
pub fn write(rows: &[StatisticsRow]) -> String {
    let mut text = String::from('\u{feff}');
    line(&mut text, COLUMNS.iter().map(|(heading, _)| field(heading)));
    for row in rows {
        line(
            &mut text,
            COLUMNS.iter().map(|(_, cell)| match cell(row) {
                Cell::Text(text) => field(&text),
                Cell::Number(number) => number.to_string(),
            }),
        );
    }
    text
}

fn line(text: &mut String, fields: impl Iterator<Item = String>) {
    text.push_str(&fields.collect::<Vec<_>>().join(","));
    text.push_str("\r\n");
}

/// A name from the directory is a stranger's text: what a spreadsheet would take for a formula is made text by an apostrophe.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_be_a_formula_becomes_text() {
        for (given, wanted) in [
            ("UBND tỉnh", "UBND tỉnh"),
            ("=HYPERLINK(\"http://x\",1)", "\"'=HYPERLINK(\"\"http://x\"\",1)\""),
            ("+1", "'+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-1", "'-1"),
            ("Sở A, Sở B", "\"Sở A, Sở B\""),
            ("a\r\nb", "\"a\r\nb\""),
        ] {
            assert_eq!(field(given), wanted);
        }
    }
}
