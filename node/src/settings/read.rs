//! Reads the settings file, noting everything that is wrong instead of stopping at the first.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::Path,
    time::Duration,
};

use toml::{Table, Value};
use truc_custody::Away;
use truc_link::endpoint::Endpoint;
use truc_proto::{
    AdminAction, AgencyId, Lane,
    limits::{ENVELOPE_TTL_MAX_MS, NODE_AGENCIES_MAX},
};
use truc_signer::PolicySettings;

use super::{
    AgencySettings, KeySource, RestSettings, SdkSettings, Settings, TTL_DAYS_DEFAULT, TrustFiles, check_address,
};
use crate::service::administration::WITH_TWO_PERSONS;

/// Takes the tables apart and notes everything that is wrong.
pub(super) struct Reader<'f>(truc_custody::Reader<'f>);

impl<'f> Reader<'f> {
    pub(super) fn new(folder: &'f Path) -> Self {
        Self(truc_custody::Reader::new(folder))
    }

    /// What was read, and what is wrong with it.
    pub(super) fn into_mistakes(self) -> Vec<String> {
        self.0.mistakes
    }
}

impl<'f> Deref for Reader<'f> {
    type Target = truc_custody::Reader<'f>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Reader<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Reader<'_> {
    pub(super) fn settings(&mut self, mut table: Table) -> Option<Settings> {
        let axis = self.parsed(&mut table, "axis", "");
        let lane = self.parsed(&mut table, "lane", "");
        let id = self.parsed(&mut table, "id", "");
        let epoch = self.number(&mut table, "epoch", "", 1..=u64::from(u32::MAX)).unwrap_or(Some(1));

        let mut local = self.section(&mut table, "local");
        let (listen, local_tls) = self.listener(&mut local, "local.", "read the tokens");
        self.nothing_else(&local, "local.");

        let mut relay = self.section(&mut table, "relay");
        let address = self.text(&mut relay, "address", "relay.").filter(|address| self.is_address(address));
        let relay_id = self.parsed(&mut relay, "id", "relay.");
        self.nothing_else(&relay, "relay.");

        let sdk = self.sdk(&mut table, lane);
        let rest = self.rest(&mut table);
        let gateway = self.gateway(&mut table, lane);
        let duties = self.duties(&mut table);
        let metrics = if table.contains_key("metrics") {
            let mut section = self.optional_section(&mut table, "metrics");
            let listen = self.parsed::<SocketAddr>(&mut section, "listen", "metrics.");
            self.nothing_else(&section, "metrics.");
            listen.map(Some)
        } else {
            Some(None)
        };
        let two_persons = self.two_persons(&mut table);
        let time_stamps = self.time_stamps(&mut table);
        let revocation = self.revocation(&mut table);

        let mut documents = self.optional_section(&mut table, "documents");
        let days_max = u64::try_from(ENVELOPE_TTL_MAX_MS / 86_400_000).unwrap_or_default();
        let ttl = self.number(&mut documents, "ttl_days", "documents.", 1..=days_max).unwrap_or(Some(TTL_DAYS_DEFAULT));
        let retention = self.number(&mut documents, "retention_days", "documents.", 0..=36_500);
        self.nothing_else(&documents, "documents.");

        let mut keys = self.section(&mut table, "keys");
        let ledger_key = self.path(&mut keys, "ledger", "keys.");
        let witness_key = self.place(&mut keys, "witness", "keys.", "keys/witness.pk8");
        let storage_key = self.path(&mut keys, "storage", "keys.");
        let tokens = self.path(&mut keys, "tokens", "keys.");
        let tls_keys = self.own_keys(keys.remove("tls"), "keys.tls", Away::MayNot);
        let node_keys = self.own_keys(keys.remove("node"), "keys.node", Away::May);
        self.nothing_else(&keys, "keys.");

        let trust = self.trust(&mut table);
        let agencies = self.agencies(&mut table);
        if let (Some(agencies), Some(Some(gateway))) = (&agencies, &gateway) {
            let own = |code: &&AgencyId| agencies.iter().any(|agency| agency.code == **code);
            for foreign in gateway.codes.iter().filter(|code| !own(code)) {
                self.mistakes.push(format!("gateway.codes: this node does not serve {foreign}"));
            }
        }
        self.nothing_else(&table, "");
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Some(Settings {
            folder: self.folder.to_owned(),
            axis: axis?,
            lane: lane?,
            id: id?,
            epoch: epoch?,
            local: listen?,
            local_tls: local_tls?,
            relay: address?,
            relay_id: relay_id?,
            agencies: agencies?,
            tls_keys,
            node_keys,
            ledger_key: ledger_key?,
            witness_key: witness_key?,
            storage_key: storage_key?,
            tokens: tokens?,
            trust: trust?,
            sdk: sdk?,
            rest: rest?,
            gateway: gateway?,
            duties: duties?,
            metrics: metrics?,
            two_persons,
            time_stamps: time_stamps?,
            revocation: revocation?,
            stopped: std::sync::Arc::default(),
            ttl: days(ttl?),
            retention: match retention {
                // 0: for ever.
                Some(kept) => Some(kept?).filter(|kept| *kept > 0).map(days),
                None => None,
            },
        })
    }

    /// What a second administrator has to agree to; what is wrong is a mistake, and left out.
    fn two_persons(&mut self, table: &mut Table) -> BTreeSet<AdminAction> {
        let mut section = self.optional_section(table, "administration");
        let listed = section.remove("two_persons");
        let listed = self.array(listed, "administration.two_persons");
        self.nothing_else(&section, "administration.");
        let mut actions = BTreeSet::new();
        for value in listed {
            match value.as_str().and_then(|text| text.parse().ok()).filter(|action| WITH_TWO_PERSONS.contains(action)) {
                Some(action) => _ = actions.insert(action),
                None => {
                    let known: Vec<&str> = WITH_TWO_PERSONS.iter().map(|action| action.as_str()).collect();
                    self.mistakes.push(format!(
                        "administration.two_persons: {value} is none of what is asked of a running node: {}",
                        known.join(", ")
                    ));
                }
            }
        }
        actions
    }

    /// None: something is wrong. Some(None): no such section.
    #[expect(clippy::option_option, reason = "absent and wrong are told apart")]
    fn sdk(&mut self, table: &mut Table, lane: Option<Lane>) -> Option<Option<SdkSettings>> {
        if !table.contains_key("sdk") {
            return Some(None);
        }
        let mut section = self.optional_section(table, "sdk");
        if lane == Some(Lane::Classified) {
            // A packet of the SDK names no level, and its clients are of the ordinary network.
            self.mistakes.push("sdk: document systems of the axis SDK connect on the ordinary lane alone".to_owned());
        }
        let (listen, tls) = self.listener(&mut section, "sdk.", "act for the document systems");
        let path =
            if section.contains_key("path") { self.text(&mut section, "path", "sdk.") } else { Some(String::new()) };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
        let path = path.filter(|path| {
            let good = path.len() <= 200 && path.chars().all(plain);
            if !good {
                self.mistakes.push(format!("sdk.path: {path:?} is no path such as /api/v1"));
            }
            good
        });
        self.nothing_else(&section, "sdk.");
        Some(Some(SdkSettings { listen: listen?, path: path?, tls: tls? }))
    }

    /// Where a door for document systems listens, and with which certificate; none: wrong. In the clear on this machine alone.
    #[expect(clippy::option_option, reason = "absent and wrong are told apart")]
    fn listener(
        &mut self,
        section: &mut Table,
        prefix: &str,
        harm: &str,
    ) -> (Option<SocketAddr>, Option<Option<KeySource>>) {
        let listen = self.parsed::<SocketAddr>(section, "listen", prefix);
        let tls = match section.remove("tls") {
            Some(value) => self.key(Some(value), &format!("{prefix}tls")).map(Some),
            None => Some(None),
        };
        if let (Some(address), Some(None)) = (listen.filter(|address| !address.ip().is_loopback()), &tls) {
            self.mistakes.push(format!(
                "{prefix}listen: {address} is not a loopback address; without a certificate ({prefix}tls) others on the network could {harm}"
            ));
        }
        (listen, tls)
    }

    /// As above.
    #[expect(clippy::option_option, reason = "absent and wrong are told apart")]
    fn rest(&mut self, table: &mut Table) -> Option<Option<RestSettings>> {
        if !table.contains_key("rest") {
            return Some(None);
        }
        let mut section = self.optional_section(table, "rest");
        let (listen, tls) = self.listener(&mut section, "rest.", "read the tokens");
        let allowed = section.remove("webhooks");
        let mut webhooks = Vec::new();
        for value in self.array(allowed, "rest.webhooks") {
            let Value::String(text) = &value else {
                self.mistakes.push(format!("rest.webhooks: {value}: an address in quotes is wanted"));
                continue;
            };
            match text.parse::<Endpoint>() {
                Ok(endpoint) => webhooks.push(endpoint),
                Err(error) => self.mistakes.push(format!("rest.webhooks: {text:?}: {error}")),
            }
        }
        let anchors = if section.contains_key("webhook_anchors") || webhooks.iter().any(|to| to.tls) {
            self.path(&mut section, "webhook_anchors", "rest.").map(Some)
        } else {
            Some(None)
        };
        self.nothing_else(&section, "rest.");
        Some(Some(RestSettings { listen: listen?, tls: tls?, webhooks, webhook_anchors: anchors? }))
    }

    fn trust(&mut self, table: &mut Table) -> Option<TrustFiles> {
        let mut trust = self.section(table, "trust");
        let anchors = self.path(&mut trust, "anchors", "trust.");
        let intermediates = if trust.contains_key("intermediates") {
            self.path(&mut trust, "intermediates", "trust.").map(Some)
        } else {
            Some(None)
        };
        let mut crls = Vec::new();
        for (n, value) in self.array(trust.remove("crls"), "trust.crls").into_iter().enumerate() {
            crls.extend(self.path_of(value, &format!("trust.crls[{}]", n + 1)));
        }
        let policies = self.policies(trust.remove("policies"));
        let operator = self.path(&mut trust, "operator", "trust.");
        self.nothing_else(&trust, "trust.");
        Some(TrustFiles {
            anchors: anchors?,
            intermediates: intermediates?,
            crls,
            policies: policies?,
            operator: operator?,
        })
    }

    fn policies(&mut self, value: Option<Value>) -> Option<PolicySettings> {
        let named = self.array(value, "trust.policies");
        // What is no text is named as it is written.
        let texts: Vec<String> =
            named.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect();
        match PolicySettings::demanding(texts.iter().map(String::as_str)) {
            Ok(policies) => Some(policies),
            Err(error) => {
                self.mistakes.push(format!("trust.policies: {error}"));
                None
            }
        }
    }

    fn agencies(&mut self, table: &mut Table) -> Option<Vec<AgencySettings>> {
        let given = self.array(table.remove("agency"), "agency");
        if given.is_empty() || given.len() > NODE_AGENCIES_MAX {
            self.mistakes
                .push(format!("agency: a node serves 1 to {NODE_AGENCIES_MAX} agencies, given are {}", given.len()));
            return None;
        }
        let mut seen = BTreeSet::new();
        let mut agencies = Vec::new();
        for (n, value) in given.into_iter().enumerate() {
            let name = format!("agency[{}]", n + 1);
            let Value::Table(mut table) = value else {
                self.mistakes.push(format!("{name}: a table is wanted"));
                continue;
            };
            let prefix = format!("{name}.");
            let code = self.parsed::<AgencyId>(&mut table, "code", &prefix);
            if let Some(code) = code.as_ref().filter(|code| !seen.insert((*code).clone())) {
                self.mistakes.push(format!("{name}: {code} stands twice"));
            }
            let service = self.keys(table.remove("service"), &format!("{prefix}service"), Away::May);
            let sealing = self.keys(table.remove("sealing"), &format!("{prefix}sealing"), Away::MayNot);
            self.nothing_else(&table, &prefix);
            agencies.extend(code.map(|code| AgencySettings { code, service, sealing }));
        }
        Some(agencies)
    }

    fn is_address(&mut self, address: &str) -> bool {
        let good = check_address(address);
        if !good {
            self.mistakes.push(format!("relay.address: {address:?} is not host:port"));
        }
        good
    }
}
