//! Reads tables of settings, noting everything that is wrong instead of stopping at the first.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use toml::{Table, Value};
use truc_proto::limits::AGENCY_KEYS_MAX;

use crate::{KeySource, PinSource, TokenSource};

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file system.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not TOML.
    #[error("{} is not TOML: {why}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
    /// Everything that is wrong with it.
    #[error("{} has {}:{}", path.display(), count(mistakes), Listed(mistakes))]
    Mistakes {
        /// Which file.
        path: PathBuf,
        /// One each.
        mistakes: Vec<String>,
    },
}

fn count(mistakes: &[String]) -> String {
    if mistakes.len() == 1 { "a mistake".to_owned() } else { format!("{} mistakes", mistakes.len()) }
}

struct Listed<'a>(&'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

/// Whether a key's own file may be somewhere else at the moment, on a stick or a share.
#[derive(Clone, Copy, Debug)]
pub enum Away {
    /// It is waited for.
    May,
    /// It has to be there.
    MayNot,
}

/// Takes tables apart; paths are as seen from its folder.
#[derive(Debug)]
pub struct Reader<'f> {
    /// Where paths begin.
    pub folder: &'f Path,
    /// What is wrong, one each.
    pub mistakes: Vec<String>,
}

impl<'f> Reader<'f> {
    /// Nothing is wrong yet.
    #[must_use]
    pub const fn new(folder: &'f Path) -> Self {
        Self { folder, mistakes: Vec::new() }
    }
}

impl Reader<'_> {
    /// A list of certificates with keys.
    pub fn keys(&mut self, value: Option<Value>, name: &str, away: Away) -> Vec<KeySource> {
        let given = self.array(value, name);
        if given.is_empty() || given.len() > AGENCY_KEYS_MAX {
            self.mistakes.push(format!(
                "{name}: 1 to {AGENCY_KEYS_MAX} certificates with keys are wanted, given are {}",
                given.len()
            ));
            return Vec::new();
        }
        let named = given.into_iter().enumerate().map(|(n, value)| (format!("{name}[{}]", n + 1), value));
        named.filter_map(|(name, value)| self.key_away(Some(value), &name, away)).collect()
    }

    /// One, or a list while one takes over from another.
    pub fn own_keys(&mut self, value: Option<Value>, name: &str, away: Away) -> Vec<KeySource> {
        match value {
            list @ Some(Value::Array(_)) => self.keys(list, name, away),
            one => self.key_away(one, name, away).into_iter().collect(),
        }
    }

    /// One certificate with its key.
    pub fn key(&mut self, value: Option<Value>, name: &str) -> Option<KeySource> {
        self.key_away(value, name, Away::MayNot)
    }

    fn key_away(&mut self, value: Option<Value>, name: &str, away: Away) -> Option<KeySource> {
        let prefix = format!("{name}.");
        let Some(Value::Table(mut table)) = value else {
            self.mistakes.push(format!(
                "{name}: {{ certificate = \"…\", key = \"…\" }}, {{ pkcs12 = \"…\", password_file = \"…\" }} or {{ pkcs11 = \"…\", token = \"…\", object = \"id:…\", pin_file = \"…\" }} is wanted"
            ));
            return None;
        };
        let source = if table.contains_key("pkcs11") {
            self.token_key(&mut table, &prefix)
        } else if table.contains_key("pkcs12") {
            let file = self.path(&mut table, "pkcs12", &prefix);
            let password_file = self.path(&mut table, "password_file", &prefix);
            Some((file, password_file)).and_then(|(file, password_file)| {
                Some(KeySource::Pkcs12 { file: file?, password_file: password_file? })
            })
        } else {
            let certificate = self.path(&mut table, "certificate", &prefix);
            let key = match away {
                Away::MayNot => self.path(&mut table, "key", &prefix),
                Away::May => self.text(&mut table, "key", &prefix).map(|text| self.folder.join(text)),
            };
            Some((certificate, key))
                .and_then(|(certificate, key)| Some(KeySource::Pem { certificate: certificate?, key: key? }))
        };
        self.nothing_else(&table, &prefix);
        source
    }

    fn token_key(&mut self, table: &mut Table, prefix: &str) -> Option<KeySource> {
        let module = self.path(table, "pkcs11", prefix);
        let token = self.text(table, "token", prefix);
        let object = self.parsed(table, "object", prefix);
        let pin = if table.contains_key("pin_credential") {
            let name = self.text(table, "pin_credential", prefix);
            // A name, no way out of the folder of credentials.
            let fits = |name: &String| !name.is_empty() && name != "." && name != ".." && !name.contains('/');
            if name.as_ref().is_some_and(|name| !fits(name)) {
                self.mistakes.push(format!("{prefix}pin_credential: the name of a service's credential is wanted"));
            }
            name.filter(fits).map(PinSource::Credential)
        } else if table.contains_key("pin") {
            let prompt = self.text(table, "pin", prefix).filter(|text| text == "prompt");
            if prompt.is_none() {
                self.mistakes.push(format!(
                    "{prefix}pin: \"prompt\" is wanted, for a person to be asked; a PIN itself does not stand in settings: name a pin_file"
                ));
            }
            if !table.contains_key("certificate") {
                self.mistakes.push(format!(
                    "{prefix}certificate is missing: a token whose PIN is asked for later shows no certificate at the start"
                ));
            }
            prompt.map(|_| PinSource::Prompt)
        } else {
            self.path(table, "pin_file", prefix).map(PinSource::File)
        };
        let certificate = if table.contains_key("certificate") {
            self.path(table, "certificate", prefix).map(Some)
        } else {
            Some(None)
        };
        let (module, token, object, pin, certificate) = (module?, token?, object?, pin?, certificate?);
        Some(KeySource::Token(Box::new(TokenSource { module, token, object, pin, certificate })))
    }

    /// A section that must be there.
    pub fn section(&mut self, table: &mut Table, name: &str) -> Table {
        if !table.contains_key(name) {
            self.mistakes.push(format!("[{name}] is missing"));
        }
        self.optional_section(table, name)
    }

    /// A section, empty where it is not there.
    pub fn optional_section(&mut self, table: &mut Table, name: &str) -> Table {
        match table.remove(name) {
            Some(Value::Table(section)) => section,
            None => Table::new(),
            Some(_) => {
                self.mistakes.push(format!("{name}: a section [{name}] is wanted"));
                Table::new()
            }
        }
    }

    /// A list, empty where it is not there.
    pub fn array(&mut self, value: Option<Value>, name: &str) -> Vec<Value> {
        match value {
            Some(Value::Array(values)) => values,
            None => Vec::new(),
            Some(_) => {
                self.mistakes.push(format!("{name}: a list is wanted"));
                Vec::new()
            }
        }
    }

    /// A text that must be there.
    pub fn text(&mut self, table: &mut Table, key: &str, prefix: &str) -> Option<String> {
        match table.remove(key) {
            Some(Value::String(text)) => Some(text),
            None => {
                self.mistakes.push(format!("{prefix}{key} is missing"));
                None
            }
            Some(_) => {
                self.mistakes.push(format!("{prefix}{key}: a text in quotes is wanted"));
                None
            }
        }
    }

    /// A text that must be there and be read.
    pub fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, table: &mut Table, key: &str, prefix: &str) -> Option<T> {
        let text = self.text(table, key, prefix)?;
        text.parse().map_err(|error| self.mistakes.push(format!("{prefix}{key}: {error}"))).ok()
    }

    /// None: not there. Some(None): there and wrong.
    pub fn number(
        &mut self,
        table: &mut Table,
        key: &str,
        prefix: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<Option<u64>> {
        let value = table.remove(key)?;
        let number =
            value.as_integer().and_then(|number| u64::try_from(number).ok()).filter(|number| range.contains(number));
        if number.is_none() {
            let (from, to) = (range.start(), range.end());
            self.mistakes.push(format!("{prefix}{key}: a number from {from} to {to} is wanted"));
        }
        Some(number)
    }

    /// A file that must be there.
    pub fn path(&mut self, table: &mut Table, key: &str, prefix: &str) -> Option<PathBuf> {
        let text = self.text(table, key, prefix)?;
        self.path_of(Value::String(text), &format!("{prefix}{key}"))
    }

    /// The same of a value.
    pub fn path_of(&mut self, value: Value, name: &str) -> Option<PathBuf> {
        let Value::String(text) = value else {
            self.mistakes.push(format!("{name}: a path in quotes is wanted"));
            return None;
        };
        let path = self.folder.join(&text);
        if !path.is_file() {
            self.mistakes.push(format!("{name}: there is no file {}", path.display()));
            return None;
        }
        Some(path)
    }

    /// A place for a file that need not be there; without the setting, the one called `default`.
    pub fn place(&mut self, table: &mut Table, key: &str, prefix: &str, default: &str) -> Option<PathBuf> {
        if !table.contains_key(key) {
            return Some(self.folder.join(default));
        }
        self.text(table, key, prefix).map(|text| self.folder.join(text))
    }

    /// Whatever is left is no setting.
    pub fn nothing_else(&mut self, table: &Table, prefix: &str) {
        self.mistakes.extend(table.keys().map(|key| format!("{prefix}{key}: there is no such setting")));
    }
}
