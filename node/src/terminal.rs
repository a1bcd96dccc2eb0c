//! Secrets from a person at a terminal, without showing them.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _},
    process::{Command, Stdio},
};

use truc_proto::limits::PIN_BYTES_MAX;
use zeroize::Zeroizing;

/// Asks at the terminal of this process; none where it has none, or where what is typed could not be hidden.
///
/// # Errors
/// When the terminal cannot be read.
pub fn ask(prompt: &str) -> io::Result<Option<Zeroizing<String>>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else { return Ok(None) };
    let Some(_hidden) = Hidden::new(&terminal) else { return Ok(None) };
    write!(terminal, "{prompt}: ")?;
    let line = read_line(terminal.try_clone()?);
    writeln!(terminal)?;
    line.map(Some)
}

/// One line without its end, of bounded length: from a terminal, or from what a script writes to standard input.
///
/// # Errors
/// When it cannot be read, or is no text.
pub fn read_line(from: impl io::Read) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::with_capacity(PIN_BYTES_MAX + 2));
    BufReader::new(from.take(u64::try_from(PIN_BYTES_MAX).unwrap_or(u64::MAX) + 2)).read_line(&mut line)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The terminal shows nothing of what is typed while this is there.
struct Hidden(File);

impl Hidden {
    fn new(terminal: &File) -> Option<Self> {
        let hidden = Self(terminal.try_clone().ok()?);
        hidden.echo(false).then_some(hidden)
    }

    fn echo(&self, shown: bool) -> bool {
        let Ok(terminal) = self.0.try_clone() else { return false };
        let how = if shown { "echo" } else { "-echo" };
        let run = Command::new("stty").arg(how).stdin(terminal).stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        self.echo(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_it_ends_and_is_bounded() {
        assert_eq!(read_line(&b"1234\r\nmore"[..]).unwrap().as_str(), "1234");
        assert_eq!(read_line(&b"12 34"[..]).unwrap().as_str(), "12 34");
        assert_eq!(read_line(&vec![b'7'; 100_000][..]).unwrap().len(), PIN_BYTES_MAX + 2);
        assert!(read_line(&[0xff, 0xfe][..]).is_err());
    }
}
