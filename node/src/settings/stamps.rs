//! Section `[time_stamps]`: authorities that stamp this node's signed checkpoints (RFC 3161).

use std::{path::PathBuf, time::Duration};

use toml::{Table, Value};
use truc_link::StampServer;
use truc_proto::limits::{TIME_STAMP_EVERY_S_MAX, TIME_STAMP_SERVERS_MAX};
use truc_signer::Certificate;

use super::{MaterialError, read::Reader};

/// Where time-stamps come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StampSettings {
    /// Authorities, in the order in which they are asked.
    pub servers: Vec<StampServer>,
    /// How often a checkpoint is signed and stamped while there is something new.
    pub every: Duration,
    /// Whom servers over https are trusted by; none: the anchors of `[trust]`. Tokens are always judged by those.
    pub anchors: Option<PathBuf>,
}

impl StampSettings {
    /// Whom servers over https are trusted by, where that is said here.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn trust(&self) -> Result<Option<Vec<Certificate>>, MaterialError> {
        self.anchors.as_deref().map(truc_custody::read_certificates).transpose()
    }

    /// As it stands in the settings file; `shown` writes paths.
    pub(super) fn to_table(&self, shown: impl Fn(&std::path::Path) -> Value) -> Table {
        let server = |server: &StampServer| {
            let mut table = Table::from_iter([("url".to_owned(), Value::from(server.endpoint.to_string()))]);
            table.extend(server.policy.map(|policy| ("policy".to_owned(), Value::from(policy.to_string()))));
            Value::from(table)
        };
        let mut table = Table::new();
        table.insert("servers".into(), self.servers.iter().map(server).collect::<Vec<_>>().into());
        table.insert("every_s".into(), super::integer(self.every.as_secs()));
        table.extend(self.anchors.iter().map(|path| ("anchors".to_owned(), shown(path))));
        table
    }
}

impl Reader<'_> {
    /// None: something is wrong. Some(None): no such section.
    #[expect(clippy::option_option, reason = "absent and wrong are told apart")]
    pub(super) fn time_stamps(&mut self, table: &mut Table) -> Option<Option<StampSettings>> {
        if !table.contains_key("time_stamps") {
            return Some(None);
        }
        let mut section = self.optional_section(table, "time_stamps");
        let given = self.array(section.remove("servers"), "time_stamps.servers");
        if given.is_empty() || given.len() > TIME_STAMP_SERVERS_MAX {
            self.mistakes.push(format!(
                "time_stamps.servers: 1 to {TIME_STAMP_SERVERS_MAX} authorities are wanted, given are {}; without any remove the section",
                given.len()
            ));
        }
        let given = given.into_iter().enumerate();
        let servers: Vec<_> = given.filter_map(|(n, value)| self.stamp_server(value, n + 1)).collect();
        let every = self.number(&mut section, "every_s", "time_stamps.", 1..=TIME_STAMP_EVERY_S_MAX).unwrap_or(Some(1));
        let anchors = if section.contains_key("anchors") {
            self.path(&mut section, "anchors", "time_stamps.").map(Some)
        } else {
            Some(None)
        };
        self.nothing_else(&section, "time_stamps.");
        Some(Some(StampSettings { servers, every: Duration::from_secs(every?), anchors: anchors? }))
    }

    fn stamp_server(&mut self, value: Value, number: usize) -> Option<StampServer> {
        let name = format!("time_stamps.servers[{number}]");
        let Value::Table(mut table) = value else {
            self.mistakes.push(format!("{name}: {{ url = \"http://tsa.example/\", policy = \"1.2.3\" }} is wanted, policy where one is asked for"));
            return None;
        };
        let prefix = format!("{name}.");
        let url = self.text(&mut table, "url", &prefix);
        let policy = if table.contains_key("policy") { self.text(&mut table, "policy", &prefix) } else { None };
        self.nothing_else(&table, &prefix);
        let read = StampServer::new(&url?, policy.as_deref());
        read.map_err(|error| self.mistakes.push(format!("{name}: {error}"))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let text = "[time_stamps]\nservers = [{ url = \"http://a/x\", policy = \"1.2.3\" }, { url = \"https://b:8443/\" }]\nevery_s = 5\n";
        let read = |text: &str| {
            let mut reader = Reader::new(std::path::Path::new("/n"));
            let settings = reader.time_stamps(&mut text.parse().unwrap());
            assert_eq!(reader.mistakes, Vec::<String>::new());
            settings.unwrap().unwrap()
        };
        let settings = read(text);
        assert_eq!(
            settings.servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["http://a:80/x=1.2.3", "https://b:8443/"]
        );
        assert_eq!(settings.every, Duration::from_secs(5));
        let table = Table::from_iter([(
            "time_stamps".to_owned(),
            settings.to_table(|path| path.display().to_string().into()).into(),
        )]);
        assert_eq!(read(&table.to_string()), settings);
    }
}
