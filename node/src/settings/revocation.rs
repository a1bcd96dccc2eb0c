//! Section `[revocation]`: where revocation lists are fetched and OCSP responders asked. The form is the link's, the same for the relay.

use std::path::Path;

use toml::{Table, Value};
use truc_link::{RevocationFile, RevocationSettings};

use super::read::Reader;

impl Reader<'_> {
    /// None: something is wrong. Some(None): no such section.
    #[expect(clippy::option_option, reason = "absent and wrong are told apart")]
    pub(super) fn revocation(&mut self, table: &mut Table) -> Option<Option<RevocationSettings>> {
        let Some(section) = table.remove("revocation") else { return Some(None) };
        match section.try_into::<RevocationFile>() {
            Ok(file) => Some(Some(file.read(self.folder, &mut self.mistakes))),
            Err(error) => {
                self.mistakes.push(format!("revocation: {}", error.message()));
                None
            }
        }
    }
}

/// As it stands in the settings file; `shown` writes paths.
pub(super) fn to_value(settings: &RevocationSettings, shown: impl Fn(&Path) -> Value) -> Option<Value> {
    let shown = |path: &Path| shown(path).as_str().map_or_else(|| path.to_owned(), Into::into);
    Value::try_from(RevocationFile::of(settings, shown)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Option<RevocationSettings>>, Vec<String>) {
        let mut reader = Reader::new(Path::new("/n"));
        let settings = reader.revocation(&mut text.parse().unwrap());
        (settings, reader.into_mistakes())
    }

    #[test]
    fn what_is_written_is_read_back_and_what_is_wrong_is_told() {
        let text = "[revocation]\nlists = [\"http://crl/a\"]\nallow = [\"http://ocsp/\"]\nbudget_ms = 300\n";
        let (settings, mistakes) = read(text);
        let settings = settings.unwrap().unwrap();
        assert_eq!((settings.ocsp, settings.lists.len(), mistakes.len()), (true, 1, 0));
        let section = to_value(&settings, |path| path.display().to_string().into()).unwrap();
        let table = Table::from_iter([("revocation".to_owned(), section)]);
        assert_eq!(read(&table.to_string()).0, Some(Some(settings)));
        assert_eq!(read("").0, Some(None));
        for (wrong, said) in [
            ("[revocation]\ncolour = 1\n", "colour"),
            ("revocation = 7\n", "revocation: "),
            ("[revocation]\nlists = [\"ftp://a/\"]\n", "revocation.lists: "),
        ] {
            let (_, mistakes) = read(wrong);
            assert!(mistakes.iter().any(|mistake| mistake.contains(said)), "{said}: {mistakes:?}");
        }
    }
}
