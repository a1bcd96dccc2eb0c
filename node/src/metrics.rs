//! The node's figures for monitoring (docs/DUTIES.md, "Metrics"): counts by agency code, nothing of documents.

use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering};

use truc_link::Figures;
use truc_proto::AgencyId;

use crate::{
    core::{Alarm, Core, Counters},
    duties::{Duty, Standing},
    service::certificates::days_left,
    shell::{Shell, clock},
};

/// What is read from the core in one look.
struct Seen {
    counters: BTreeMap<AgencyId, Counters>,
    duties: BTreeMap<(AgencyId, Duty, Standing), u64>,
    alarms: BTreeMap<&'static str, u64>,
    open: [(&'static str, u64); 2],
    queues: [(&'static str, u64); 3],
    records: u64,
    leaves: u64,
    signed: u64,
}

impl Seen {
    fn look(core: &Core) -> Self {
        let now = clock::now();
        let mut duties: BTreeMap<_, u64> = BTreeMap::new();
        for open in core.duties(now, |_| true) {
            let agency = if open.duty == Duty::Receipt { open.recipient } else { open.key.sender };
            *duties.entry((agency, open.duty, open.standing)).or_default() += 1;
        }
        let mut alarms: BTreeMap<_, u64> = Alarm::KINDS.into_iter().map(|kind| (kind, 0)).collect();
        for alarm in core.alarms().keys() {
            *alarms.entry(alarm.kind()).or_default() += 1;
        }
        let sent = core.sent().values().filter(|sent| !sent.is_settled()).count();
        let received = core.received().values().filter(|received| !received.is_settled()).count();
        Self {
            counters: core.counters(now, |_| true),
            duties,
            alarms,
            open: [("sent", sent as u64), ("received", received as u64)],
            queues: [
                ("evidence", core.unsent().len() as u64),
                ("unattested", core.unattested_leaves() as u64),
                ("announced", core.announced().count() as u64),
            ],
            records: core.next_position(),
            leaves: core.next_leaf(),
            signed: core.own_checkpoint().map_or(0, |own| own.size),
        }
    }
}

/// All figures as text; none when the node stops.
pub(crate) async fn figures(shell: Arc<Shell>) -> Option<String> {
    let mut seen = shell.engine.ask(Seen::look).await.ok()?;
    let directory = shell.directory();
    // An agency that nothing is counted for has its zeros, too.
    for code in directory.iter().flat_map(|directory| directory.codes_of(&shell.node)) {
        seen.counters.entry(code.clone()).or_default();
    }
    let mut out = Figures::default();
    out.gauges(
        "truc_node_info",
        "Always 1.",
        [(
            vec![("version", env!("CARGO_PKG_VERSION")), ("node", shell.node.as_str()), ("lane", shell.lane.as_str())],
            1,
        )],
    );
    let counted = seen.counters.iter().flat_map(|(code, counters)| {
        by_name(counters).map(|(counter, value)| (vec![("code", code.as_str()), ("counter", counter)], value))
    });
    out.gauges("truc_node_counted", "Pairs of document and recipient, as docs/DUTIES.md counts them.", counted);
    let duties = seen.duties.iter().map(|((code, duty, standing), count)| {
        (vec![("code", code.as_str()), ("duty", duty.as_str()), ("state", standing.as_str())], *count)
    });
    out.gauges("truc_node_duties", "Duties that are due or late.", duties);
    let alarms = seen.alarms.iter().map(|(kind, count)| (vec![("kind", *kind)], *count));
    out.gauges("truc_node_alarms", "What needs a person's attention.", alarms);
    let open = seen.open.iter().map(|(name, count)| (vec![("box", *name)], *count));
    out.gauges("truc_node_open_envelopes", "Envelopes that are not settled.", open);
    let queues = seen.queues.iter().map(|(name, count)| (vec![("queue", *name)], *count));
    out.gauges(
        "truc_node_queued",
        "Own evidence that others have still to hear of, or to be shown again with its time-stamp or cosignatures; envelopes that wait at the relay.",
        queues,
    );
    out.gauge("truc_node_ledger_records", "Records of the journal.", seen.records);
    out.gauge("truc_node_ledger_leaves", "Leaves of the ledger.", seen.leaves);
    out.gauge(
        "truc_node_signed_leaves",
        "Leaves under the newest checkpoint with the certificate's signature.",
        seen.signed,
    );
    let inner = Arc::clone(&shell);
    let days = shell.work("looking at certificates' ends", move || days_left(&inner)).await.unwrap_or_default();
    let ends = days.iter().map(|(key, days)| (vec![("key", key.as_str())], u64::try_from(*days).unwrap_or_default()));
    out.gauges(
        "truc_node_certificate_days_left",
        "Days until the certificate in force ends; 0: it ends today, or has.",
        ends,
    );
    let signed = u64::try_from(shell.signed_at_ms.load(Ordering::Relaxed)).unwrap_or_default();
    if signed > 0 {
        out.gauge(
            "truc_node_signed_time_seconds",
            "When the certificate last signed, since this start.",
            signed / 1_000,
        );
    }
    shell.signed.figures(&mut out, "truc_node", shell.stamper.as_ref(), shell.witness_states());
    let known = shell.settings.load().duties.rules.notice(clock::now()).is_none();
    let help = "1 while the holidays of this year, in its last month also those of the next, are known.";
    out.gauge("truc_node_calendar_known", help, u64::from(known));
    out.gauge("truc_node_relay_connected", "1 while the relay is there.", u64::from(shell.relay().is_some()));
    let index = shell.index_state().starts_with("ready");
    out.gauge("truc_node_index_ready", "1 while documents closed long ago can be looked up.", u64::from(index));
    if let Some(directory) = directory {
        out.gauge("truc_node_directory_version", "Version of the directory in force.", directory.version());
        let until = u64::try_from(directory.statement().valid_until.unix_s()).unwrap_or_default();
        out.gauge("truc_node_directory_valid_until_seconds", "Until when it is valid.", until);
    }
    let asked = shell.revocations.as_ref().map(|revocations| revocations.outcomes()).unwrap_or_default();
    out.revocation("truc_node", &shell.trust.load().lists(), &asked, clock::now());
    Some(out.into_text())
}

const fn by_name(counters: &Counters) -> [(&'static str, u64); 8] {
    [
        ("unsent", counters.unsent),
        ("failed", counters.failed),
        ("returned", counters.returned),
        ("withdrawn", counters.withdrawn),
        ("late", counters.late),
        ("unsent_late", counters.unsent_late),
        ("waiting", counters.waiting),
        ("waiting_late", counters.waiting_late),
    ]
}
