//! Section `[revocation]`, the same for node and relay.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use truc_proto::limits::{REVOCATION_BUDGET_MS_MAX, REVOCATION_SOURCES_MAX};

use crate::endpoint::Endpoint;

/// Where revocation is found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevocationSettings {
    /// Whether responders are asked.
    pub ocsp: bool,
    /// Answers without the nonce asked with are refused.
    pub require_nonce: bool,
    /// Whom to ask about what one authority issued, whatever its certificates say.
    pub responders: Vec<ResponderOf>,
    /// Where lists are fetched.
    pub lists: Vec<Endpoint>,
    /// Where certificates may send us.
    pub allowed: Vec<Endpoint>,
    /// How long anything may wait for an answer.
    pub budget: Duration,
    /// Whom servers over https are trusted by; none: the trust anchors. Lists and answers are always judged by those.
    pub anchors: Option<PathBuf>,
}

/// Who answers about what one authority issued.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResponderOf {
    /// The authority, as `openssl x509 -subject -nameopt rfc2253` prints it.
    pub issuer: String,
    /// Where it answers.
    pub endpoint: Endpoint,
}

/// The section as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationFile {
    #[serde(default = "yes")]
    ocsp: bool,
    #[serde(default)]
    require_nonce: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    responders: Vec<ResponderFile>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lists: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(default = "budget_ms")]
    budget_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchors: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResponderFile {
    issuer: String,
    url: String,
}

const fn yes() -> bool {
    true
}

const fn budget_ms() -> u64 {
    2_000
}

impl RevocationFile {
    /// As settings; what is wrong is noted. Paths are below `folder`.
    pub fn read(self, folder: &Path, mistakes: &mut Vec<String>) -> RevocationSettings {
        if !(1..=REVOCATION_BUDGET_MS_MAX).contains(&self.budget_ms) {
            mistakes.push(format!(
                "revocation.budget_ms: a number from 1 to {REVOCATION_BUDGET_MS_MAX} is wanted, not {}",
                self.budget_ms
            ));
        }
        let counts = [("responders", self.responders.len()), ("lists", self.lists.len()), ("allow", self.allow.len())];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > REVOCATION_SOURCES_MAX) {
            mistakes
                .push(format!("revocation.{name}: at most {REVOCATION_SOURCES_MAX} addresses are taken, not {count}"));
        }
        let anchors = self.anchors.map(|path| folder.join(path));
        if let Some(path) = anchors.as_ref().filter(|path| !path.is_file()) {
            mistakes.push(format!("revocation.anchors: there is no file {}", path.display()));
        }
        let mut endpoint = |name: &str, url: &str| match Endpoint::clear_too(url) {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                mistakes.push(format!("revocation.{name}: {url:?}: {error}"));
                None
            }
        };
        let lists = self.lists.iter().filter_map(|url| endpoint("lists", url)).collect();
        let allowed = self.allow.iter().filter_map(|url| endpoint("allow", url)).collect();
        let responders = self.responders.into_iter();
        let responders = responders.filter_map(|ResponderFile { issuer, url }| {
            endpoint("responders", &url).map(|endpoint| ResponderOf { issuer, endpoint })
        });
        RevocationSettings {
            ocsp: self.ocsp,
            require_nonce: self.require_nonce,
            responders: responders.collect(),
            lists,
            allowed,
            budget: Duration::from_millis(self.budget_ms),
            anchors,
        }
    }

    /// As it stands in a settings file; `shown` writes paths.
    #[must_use]
    pub fn of(settings: &RevocationSettings, shown: impl Fn(&Path) -> PathBuf) -> Self {
        let responder = |one: &ResponderOf| ResponderFile { issuer: one.issuer.clone(), url: one.endpoint.to_string() };
        Self {
            ocsp: settings.ocsp,
            require_nonce: settings.require_nonce,
            responders: settings.responders.iter().map(responder).collect(),
            lists: settings.lists.iter().map(ToString::to_string).collect(),
            allow: settings.allowed.iter().map(ToString::to_string).collect(),
            budget_ms: u64::try_from(settings.budget.as_millis()).unwrap_or(u64::MAX),
            anchors: settings.anchors.as_deref().map(shown),
        }
    }
}
