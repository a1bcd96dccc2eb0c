//! RFC 4180: fields between commas, quoted where they hold commas, quotes or line breaks.

use truc_proto::limits::{CODE_LIST_BYTES_MAX, CODE_LIST_COLUMNS_MAX, CODE_LIST_FIELD_BYTES_MAX};

use super::{CodeListError, CodeProblem, CodeProblems};

/// One line of a file, or several where a quoted field runs on.
pub(super) struct Record {
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) fields: Vec<String>,
}

pub(super) struct Records<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Records<'a> {
    pub(super) fn over(bytes: &'a [u8]) -> Result<Self, CodeListError> {
        if bytes.len() > CODE_LIST_BYTES_MAX {
            return Err(CodeListError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| CodeListError::NotUtf8 {
            line: bytes.get(..error.valid_up_to()).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count()
                + 1,
        })?;
        Ok(Self { rest: text.strip_prefix('\u{FEFF}').unwrap_or(text), line: 1 })
    }

    /// The next line that is neither empty nor a comment. One that is no CSV is told and passed over.
    pub(super) fn next_record(&mut self, problems: &mut CodeProblems) -> Option<Record> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let line = self.line;
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            let first = self.rest.get(..end).unwrap_or_default();
            if first.trim().is_empty() || first.starts_with('#') {
                self.advance(end);
                continue;
            }
            match self.fields() {
                Ok(fields) => return Some(Record { line, fields }),
                Err(why) => {
                    problems.add(CodeProblem::Csv { line, why });
                    // What follows an open quote cannot be told from its content: go on behind the line that it began on.
                    if self.line == line {
                        self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
                    }
                }
            }
        }
    }

    /// Behind the line feed at `end`, or to the end.
    fn advance(&mut self, end: usize) {
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        self.line += 1;
    }

    /// Takes one record off the rest; on an error nothing is taken.
    fn fields(&mut self) -> Result<Vec<String>, &'static str> {
        let (mut rest, mut lines, mut fields) = (self.rest, 0, Vec::new());
        loop {
            let (field, behind) = match rest.strip_prefix('"') {
                Some(quoted) => quoted_field(quoted)?,
                None => plain_field(rest)?,
            };
            if field.len() > CODE_LIST_FIELD_BYTES_MAX || fields.len() == CODE_LIST_COLUMNS_MAX {
                return Err("a field is too long, or there are too many");
            }
            lines += field.matches('\n').count();
            fields.push(field);
            if let Some(next) = behind.strip_prefix(',') {
                rest = next;
                continue;
            }
            let end = behind.strip_prefix("\r\n").or_else(|| behind.strip_prefix('\n'));
            let end = end.or_else(|| matches!(behind, "" | "\r").then_some(""));
            self.rest = end.ok_or("something stands between a closing quote and the next comma")?;
            self.line += lines + 1;
            return Ok(fields);
        }
    }
}

/// Up to the next comma or line end.
fn plain_field(text: &str) -> Result<(String, &str), &'static str> {
    let end = text.find([',', '\n']).unwrap_or(text.len());
    let (mut field, mut rest) = text.split_at_checked(end).unwrap_or((text, ""));
    if !rest.starts_with(',')
        && let Some(stripped) = field.strip_suffix('\r')
    {
        rest = text.get(end - 1..).unwrap_or_default();
        field = stripped;
    }
    if field.contains('"') {
        Err("a quote stands inside a field that does not begin with one")
    } else {
        Ok((field.to_owned(), rest))
    }
}

/// Up to the closing quote; two quotes are one.
fn quoted_field(text: &str) -> Result<(String, &str), &'static str> {
    let (mut field, mut rest) = (String::new(), text);
    loop {
        let (before, behind) = rest.split_once('"').ok_or("a quote is not closed")?;
        field.push_str(before);
        if field.len() > CODE_LIST_FIELD_BYTES_MAX {
            return Err("a field is too long, or a quote is not closed");
        }
        match behind.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((field, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(usize, &[&str])], wrong: usize) {
        let (mut records, mut problems) = (Records::over(text.as_bytes()).unwrap(), CodeProblems::default());
        let mut found = Vec::new();
        while let Some(record) = records.next_record(&mut problems) {
            found.push((record.line, record.fields));
        }
        let expected: Vec<(usize, Vec<String>)> =
            expected.iter().map(|(line, fields)| (*line, fields.iter().map(ToString::to_string).collect())).collect();
        assert_eq!((found, problems.count()), (expected, wrong), "{text:?}");
    }

    #[test]
    fn fields_are_read_as_rfc_4180_says() {
        check("a,b\r\nc,d\r\n", &[(1, &["a", "b"]), (2, &["c", "d"])], 0);
        check("\u{FEFF}a,b\nc,", &[(1, &["a", "b"]), (2, &["c", ""])], 0);
        check("a\r", &[(1, &["a"])], 0);
        check("# note\n\n a ,\"b, \"\"c\"\"\"\n", &[(3, &[" a ", "b, \"c\""])], 0);
        check("\"a\r\nb\",c\nd,e", &[(1, &["a\r\nb", "c"]), (3, &["d", "e"])], 0);
        check(",\n", &[(1, &["", ""])], 0);
        check("\"\",\"\"\r\n", &[(1, &["", ""])], 0);
    }

    #[test]
    fn a_line_that_is_no_csv_is_told_and_the_next_one_read() {
        check("a\"b,c\nd,e\n", &[(2, &["d", "e"])], 1);
        check("\"a\"b,c\nd,e\n", &[(2, &["d", "e"])], 1);
        check("\"a,b\nd,e\n", &[(2, &["d", "e"])], 1);
        check(&format!("{},b\nd,e\n", "a".repeat(CODE_LIST_FIELD_BYTES_MAX + 1)), &[(2, &["d", "e"])], 1);
        check(&format!("{}\nd,e\n", ",".repeat(CODE_LIST_COLUMNS_MAX)), &[(2, &["d", "e"])], 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_named_by_their_line() {
        let error = Records::over(b"a,b\nc\xFF").map(|_| ()).unwrap_err();
        assert!(matches!(error, CodeListError::NotUtf8 { line: 2 }));
    }
}
