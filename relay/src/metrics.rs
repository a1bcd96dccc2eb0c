//! The relay's figures for monitoring: counts, nothing of documents or of who writes to whom.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use truc_custody::{SignedCheckpoints, WitnessStates};
use truc_link::{Figures, Stamper, revocation::AskOutcome};
use truc_signer::path::ListState;

use crate::store::{Embedded, Store};

/// What the relay is, besides its store, at one moment.
pub(crate) struct Around<'a> {
    /// Nodes that are connected.
    pub(crate) nodes: usize,
    /// Version of the directory in force; 0: none yet.
    pub(crate) directory: u64,
    /// A peer has shown that this ledger is an old copy.
    pub(crate) silenced: bool,
    /// The TLS key did not sign when it was last wanted.
    pub(crate) key_away: bool,
    /// The newest revocation list of each authority.
    pub(crate) lists: Vec<ListState>,
    /// What became of questions to OCSP responders.
    pub(crate) answers: BTreeMap<AskOutcome, u64>,
    /// What became of the checkpoints that the certificate signed.
    pub(crate) signed: &'a SignedCheckpoints,
    /// Time-stamping authorities, where settings name any.
    pub(crate) stamper: Option<&'a Stamper>,
    /// Nodes that may cosign.
    pub(crate) witnesses: WitnessStates,
}

/// Figures that the core's thread leaves behind after every turn.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) open: AtomicU64,
    pub(crate) signed: AtomicU64,
    /// In seconds since 1970; 0: not since this start.
    pub(crate) signed_at: AtomicU64,
}

/// All figures as text.
pub(crate) fn figures(store: &Embedded, relay: &str, lane: &str, around: &Around<'_>) -> String {
    let (head, gauges) = (store.head(), store.gauges());
    let read = |gauge: &AtomicU64| gauge.load(Ordering::Relaxed);
    let mut out = Figures::default();
    let info = vec![("version", env!("CARGO_PKG_VERSION")), ("relay", relay), ("lane", lane)];
    out.gauges("truc_relay_info", "Always 1.", [(info, 1)]);
    out.gauge("truc_relay_open_envelopes", "Envelopes with a recipient that is not served.", read(&gauges.open));
    out.gauge("truc_relay_connected_nodes", "Nodes that are connected.", around.nodes as u64);
    out.gauge("truc_relay_ledger_records", "Records of the journal.", head.position.0);
    out.gauge("truc_relay_ledger_leaves", "Leaves of the ledger.", head.size);
    let signed = "Leaves under the newest checkpoint with the certificate's signature.";
    out.gauge("truc_relay_signed_leaves", signed, read(&gauges.signed));
    out.gauge("truc_relay_unsigned_leaves", "Leaves that a node wants the certificate's word about.", store.unsigned());
    out.gauge(
        "truc_relay_unattested_leaves",
        "Leaves to be shown to nodes again with their time-stamp or cosignatures.",
        store.unattested(),
    );
    if read(&gauges.signed_at) > 0 {
        let help = "When the certificate last signed, since this start.";
        out.gauge("truc_relay_signed_time_seconds", help, read(&gauges.signed_at));
    }
    around.signed.figures(&mut out, "truc_relay", around.stamper, around.witnesses);
    let index = store.index_state().starts_with("ready");
    out.gauge("truc_relay_index_ready", "1 while envelopes closed long ago can be looked up.", u64::from(index));
    out.gauge("truc_relay_directory_version", "Version of the directory in force; 0: none yet.", around.directory);
    let silenced = "1 once a node has shown that this ledger is an old copy: nothing signed leaves.";
    out.gauge("truc_relay_silenced", silenced, u64::from(around.silenced));
    let away = "1 while the TLS key does not sign: no new connection is made, those that are open go on.";
    out.gauge("truc_relay_tls_key_away", away, u64::from(around.key_away));
    out.revocation("truc_relay", &around.lists, &around.answers, crate::run::clock());
    out.into_text()
}
