//! Changes which keys the settings' file names, and leaves everything else in it as people wrote it.

use std::{fmt, fs, io, path::Path, str::FromStr};

use toml_edit::{Array, DocumentMut, InlineTable, Item, Value};
use truc_proto::{AgencyId, KeyUse};
use truc_signer::CertificateUse;

use super::{KeySource, SETTINGS_FILE, Settings, SettingsError};
use crate::tokens::replace_private;

/// What a key is for: the place in the settings that names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeySlot {
    /// The node's checkpoints.
    Node,
    /// The connection to the relay.
    Tls,
    /// An agency's containers.
    Service(AgencyId),
    /// What is sealed to an agency.
    Sealing(AgencyId),
}

/// Not the name of a slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no key of a node: `node`, `tls`, `service:<code>` or `sealing:<code>` is wanted / Không phải khóa của nút: cần `node`, `tls`, `service:<mã>` hoặc `sealing:<mã>`"
)]
pub struct KeySlotError(String);

impl KeySlot {
    /// The use that the directory binds it for.
    #[must_use]
    pub const fn key_use(&self) -> KeyUse {
        match self {
            Self::Node => KeyUse::Node,
            Self::Tls => KeyUse::Tls,
            Self::Service(_) => KeyUse::Service,
            Self::Sealing(_) => KeyUse::Sealing,
        }
    }

    /// The use that its certificate must allow.
    #[must_use]
    pub const fn certificate_use(&self) -> CertificateUse {
        match self {
            Self::Node => CertificateUse::Node,
            Self::Tls => CertificateUse::Tls,
            Self::Service(_) => CertificateUse::Service,
            Self::Sealing(_) => CertificateUse::Sealing,
        }
    }

    /// The code, of an agency's key.
    #[must_use]
    pub const fn code(&self) -> Option<&AgencyId> {
        match self {
            Self::Node | Self::Tls => None,
            Self::Service(code) | Self::Sealing(code) => Some(code),
        }
    }

    /// For a file's name.
    #[must_use]
    pub fn file_stem(&self) -> String {
        self.to_string().replace(':', "-")
    }

    /// The sources that settings name for it.
    #[must_use]
    pub fn sources<'s>(&self, settings: &'s Settings) -> &'s [KeySource] {
        let agency = |code: &AgencyId| settings.agencies.iter().find(|agency| agency.code == *code);
        match self {
            Self::Node => &settings.node_keys,
            Self::Tls => &settings.tls_keys,
            Self::Service(code) => agency(code).map_or(&[], |agency| &agency.service),
            Self::Sealing(code) => agency(code).map_or(&[], |agency| &agency.sealing),
        }
    }

    /// The slots of a node.
    #[must_use]
    pub fn all(settings: &Settings) -> Vec<Self> {
        let agencies = settings.agencies.iter();
        let of = |code: &AgencyId| [Self::Service(code.clone()), Self::Sealing(code.clone())];
        [Self::Tls, Self::Node].into_iter().chain(agencies.flat_map(|agency| of(&agency.code))).collect()
    }
}

impl fmt::Display for KeySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Tls => f.write_str("tls"),
            Self::Service(code) => write!(f, "service:{code}"),
            Self::Sealing(code) => write!(f, "sealing:{code}"),
        }
    }
}

impl FromStr for KeySlot {
    type Err = KeySlotError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || KeySlotError(text.chars().take(60).collect());
        let code = |code: &str| code.parse::<AgencyId>().map_err(|_| wrong());
        match text.split_once(':') {
            None if text == "node" => Ok(Self::Node),
            None if text == "tls" => Ok(Self::Tls),
            Some(("service", of)) => Ok(Self::Service(code(of)?)),
            Some(("sealing", of)) => Ok(Self::Sealing(code(of)?)),
            _ => Err(wrong()),
        }
    }
}

/// Why the settings' file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It cannot be read, or would not be right afterwards.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// What people wrote there is in a form that is not changed by itself.
    #[error(
        "{SETTINGS_FILE} names the keys of {slot} in a form that is not changed by itself; change it by hand and send SIGHUP"
    )]
    Form {
        /// Which key.
        slot: KeySlot,
    },
    /// The file system.
    #[error("cannot write {SETTINGS_FILE}")]
    Write(#[source] io::Error),
}

/// Adds a key behind those of its slot. Nothing is changed where it is there already.
///
/// # Errors
/// When the file cannot be read or written, or what it would say is not right.
pub fn add_key(settings: &Settings, slot: &KeySlot, source: &KeySource) -> Result<(), EditError> {
    change(settings, slot, |held, keys| {
        if !held.contains(source) {
            keys.push(inline(settings, source));
        }
    })
}

/// Takes a key out of its slot. Nothing is changed where it is not there.
///
/// # Errors
/// As [`add_key`]; also when it is the only one.
pub fn remove_key(settings: &Settings, slot: &KeySlot, source: &KeySource) -> Result<(), EditError> {
    change(settings, slot, |held, keys| {
        if let Some(place) = held.iter().position(|other| other == source) {
            keys.remove(place);
        }
    })
}

fn change(
    settings: &Settings,
    slot: &KeySlot,
    with: impl FnOnce(&[KeySource], &mut Vec<Value>),
) -> Result<(), EditError> {
    let path = settings.folder.join(SETTINGS_FILE);
    let read = |source| SettingsError::Read { path: path.clone(), source };
    let text = fs::read_to_string(&path).map_err(read)?;
    let held = Settings::parse(&settings.folder, &text)?;
    let form = || EditError::Form { slot: slot.clone() };
    let mut document: DocumentMut = text.parse().map_err(|_| form())?;
    let place = place_of(&mut document, slot).ok_or_else(form)?;
    let mut keys = taken(std::mem::take(place)).ok_or_else(form)?;
    with(slot.sources(&held), &mut keys);
    let mut list = Array::new();
    for mut key in keys {
        key.decor_mut().clear();
        list.push_formatted(key);
    }
    if list.len() > 1 {
        list.iter_mut().for_each(|key| key.decor_mut().set_prefix("\n    "));
        list.set_trailing("\n");
        list.set_trailing_comma(true);
    }
    list.decor_mut().set_prefix(" ");
    *place = Item::Value(Value::Array(list));
    let text = document.to_string();
    Settings::parse(&settings.folder, &text)?;
    replace_private(&path, text.as_bytes()).map_err(EditError::Write)
}

fn place_of<'d>(document: &'d mut DocumentMut, slot: &KeySlot) -> Option<&'d mut Item> {
    let name = slot.key_use().as_str();
    let Some(code) = slot.code() else { return document.get_mut("keys")?.get_mut(name) };
    let named = |item: Option<&Item>| item.and_then(Item::as_str) == Some(code.as_str());
    match document.get_mut("agency")? {
        Item::ArrayOfTables(agencies) => {
            let mut own = agencies.iter_mut().filter(|agency| named(agency.get("code")));
            own.next()?.get_mut(name)
        }
        _ => None,
    }
}

/// The keys of a slot, in whichever way TOML writes one or several tables.
fn taken(item: Item) -> Option<Vec<Value>> {
    match item.into_value().ok()? {
        Value::Array(list) => Some(list.into_iter().collect()),
        table @ Value::InlineTable(_) => Some(vec![table]),
        _ => None,
    }
}

fn inline(settings: &Settings, source: &KeySource) -> Value {
    let mut table = InlineTable::new();
    for (name, value) in source.pairs(&settings.folder) {
        table.insert(&name, value.into());
    }
    Value::InlineTable(table)
}

/// The files of a key that are its own: what destroying it means.
#[must_use]
pub fn files_of(source: &KeySource) -> Vec<&Path> {
    match source {
        KeySource::Pem { certificate, key } => vec![key, certificate],
        KeySource::Pkcs12 { file, password_file } => vec![file, password_file],
        // The key is the token's; its PIN may be that of others.
        KeySource::Token(source) => source.certificate.iter().map(std::path::PathBuf::as_path).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path, keys: &str) -> Settings {
        let touch = |name: &str| fs::write(folder.join(name), "x").unwrap();
        [
            "a", "l", "w", "s", "t", "op", "n.pem", "n.key", "t.pem", "t.key", "s.pem", "e.pem", "e.key", "2.pem",
            "2.key",
        ]
        .into_iter()
        .for_each(touch);
        let text = format!(
            "# Nút của Văn phòng\naxis = \"vn-test\"\nlane = \"ordinary\"\nid = \"N-H26\"\n\n[local]\nlisten = \"127.0.0.1:1\" # cổng\n\
             [relay]\nid = \"R1\"\naddress = \"localhost:1\"\n[keys]\nledger = \"l\"\nwitness = \"w\"\nstorage = \"s\"\ntokens = \"t\"\n{keys}\
             [trust]\nanchors = \"a\"\ncrls = []\noperator = \"op\"\n[[agency]]\ncode = \"G22\"\n\
             service = [{{ certificate = \"s.pem\", key = \"s.key\" }}] # trên khóa USB\n\
             [[agency.sealing]]\ncertificate = \"e.pem\"\nkey = \"e.key\"\n"
        );
        fs::write(folder.join(SETTINGS_FILE), text).unwrap();
        Settings::load(folder).unwrap()
    }

    #[test]
    fn a_key_is_added_and_taken_out_and_what_people_wrote_stays() {
        let folder = tempfile::tempdir().unwrap();
        let keys = "tls = { certificate = \"t.pem\", key = \"t.key\" }\nnode = [{ certificate = \"n.pem\", key = \"n.key\" }]\n";
        let before = settings(folder.path(), keys);
        let second = KeySource::Pem { certificate: folder.path().join("2.pem"), key: folder.path().join("2.key") };
        for slot in KeySlot::all(&before) {
            add_key(&before, &slot, &second).unwrap();
            add_key(&before, &slot, &second).unwrap(); // once is enough
            let after = Settings::load(folder.path()).unwrap();
            let first = slot.sources(&before).first().unwrap().clone();
            assert_eq!(slot.sources(&after), [first.clone(), second.clone()], "{slot}");
            remove_key(&before, &slot, &first).unwrap();
            let after = Settings::load(folder.path()).unwrap();
            assert_eq!(slot.sources(&after), std::slice::from_ref(&second), "{slot}");
            assert!(matches!(remove_key(&before, &slot, &second), Err(EditError::Settings(_))), "{slot}: none is left");
            assert_eq!(slot.to_string().parse(), Ok(slot));
        }
        let text = fs::read_to_string(folder.path().join(SETTINGS_FILE)).unwrap();
        assert!(text.starts_with("# Nút của Văn phòng\n") && text.contains("# cổng"), "{text}");
    }

    #[test]
    fn what_is_no_slot_is_refused() {
        for text in ["", "service", "sealing:", "node:H26", "service:không", "service:H26:1"] {
            assert!(text.parse::<KeySlot>().is_err(), "{text:?}");
        }
    }
}
