//! Section `[gateway]`: this node is a client of today's axis for codes that are still reached there.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use toml::{Table, Value};
use truc_link::endpoint::Endpoint;
use truc_proto::{AgencyId, Lane, limits::SDK_SYSTEM_ID_CHARS_MAX};
use truc_signer::Certificate;

use super::{MaterialError, read::Reader};

const POLL_S: u64 = 60;
const TIMEOUT_S: u64 = 60;

/// The gateway to today's axis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewaySettings {
    /// Where that axis answers.
    pub endpoint: Endpoint,
    /// What it calls this node.
    pub system: String,
    /// Codes of this node that it speaks for there.
    pub codes: BTreeSet<AgencyId>,
    /// Authorities that its certificate must lead to (https).
    pub anchors: Option<PathBuf>,
    /// How often it is asked for mail.
    pub poll: Duration,
    /// How long it may be silent in the middle of a call.
    pub timeout: Duration,
}

impl GatewaySettings {
    /// Whom that axis is trusted by.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn trust(&self) -> Result<Vec<Certificate>, MaterialError> {
        self.anchors.as_deref().map_or(Ok(Vec::new()), truc_custody::read_certificates)
    }

    /// As it stands in the settings file; `shown` writes paths.
    pub(super) fn to_table(&self, shown: impl Fn(&std::path::Path) -> Value) -> Table {
        let mut table = Table::new();
        table.insert("endpoint".into(), self.endpoint.to_string().into());
        table.insert("system".into(), self.system.clone().into());
        table.insert(
            "codes".into(),
            self.codes.iter().map(|code| Value::from(code.as_str())).collect::<Vec<_>>().into(),
        );
        table.extend(self.anchors.iter().map(|path| ("anchors".to_owned(), shown(path))));
        table.insert("poll_s".into(), super::integer(self.poll.as_secs()));
        table.insert("timeout_s".into(), super::integer(self.timeout.as_secs()));
        table
    }
}

impl Reader<'_> {
    /// None: something is wrong. Some(None): no such section.
    #[expect(clippy::option_option, reason = "absent and wrong are told apart")]
    pub(super) fn gateway(&mut self, table: &mut Table, lane: Option<Lane>) -> Option<Option<GatewaySettings>> {
        if !table.contains_key("gateway") {
            return Some(None);
        }
        let mut section = self.optional_section(table, "gateway");
        if lane == Some(Lane::Classified) {
            // I10: that axis carries no state secret.
            self.mistakes.push("gateway: nothing of the classified lane goes through today's axis; remove the section / luồng mật không được nối với trục hiện hành".to_owned());
        }
        let endpoint = self.parsed::<Endpoint>(&mut section, "endpoint", "gateway.").filter(|endpoint| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
            let good = endpoint.path.len() <= 500 && endpoint.path.chars().all(plain);
            if !good {
                self.mistakes
                    .push(format!("gateway.endpoint: {endpoint} is no address such as https://axis.example/api/v1"));
            }
            good
        });
        let system = self.text(&mut section, "system", "gateway.").filter(|system| {
            let good = (1..=SDK_SYSTEM_ID_CHARS_MAX).contains(&system.len())
                && system.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
            if !good {
                self.mistakes.push(format!("gateway.system: {system:?} is no system id"));
            }
            good
        });
        let mut codes = BTreeSet::new();
        for value in self.array(section.remove("codes"), "gateway.codes") {
            match value.as_str().and_then(|code| code.parse::<AgencyId>().ok()) {
                Some(code) => _ = codes.insert(code),
                None => self.mistakes.push(format!("gateway.codes: {value} is no agency code")),
            }
        }
        if codes.is_empty() {
            self.mistakes.push("gateway.codes: name the codes that this node speaks for on today's axis".to_owned());
        }
        let anchors = if section.contains_key("anchors") {
            self.path(&mut section, "anchors", "gateway.").map(Some)
        } else {
            Some(None)
        };
        if let (Some(endpoint), Some(None)) = (endpoint.as_ref().filter(|endpoint| endpoint.tls), &anchors) {
            self.mistakes.push(format!(
                "gateway.anchors: the certificate of {} must lead to an authority; name the file that holds it",
                endpoint.host
            ));
        }
        let poll = self.number(&mut section, "poll_s", "gateway.", 1..=86_400).unwrap_or(Some(POLL_S));
        let timeout = self.number(&mut section, "timeout_s", "gateway.", 1..=3_600).unwrap_or(Some(TIMEOUT_S));
        self.nothing_else(&section, "gateway.");
        Some(Some(GatewaySettings {
            endpoint: endpoint?,
            system: system?,
            codes,
            anchors: anchors?,
            poll: Duration::from_secs(poll?),
            timeout: Duration::from_secs(timeout?),
        }))
    }
}
