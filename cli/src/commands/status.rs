//! `truc status`: what a node says of itself.

use serde_json::{Value, json};
use truc_proto::node_v1::{AgencyCounters, StatusRequest};

use crate::{
    args::NodeArgs,
    client::{block_on, connect, failed},
    exit::{Exit, Outcome},
    output::{Output, Tone},
};

pub(crate) fn run(args: &NodeArgs, output: &Output) -> Outcome {
    block_on(async {
        let mut node = connect(args).await?;
        let state =
            node.status(StatusRequest {}).await.map_err(|s| failed("ask the node for its state", &s))?.into_inner();
        let value = json!({
            "node": state.node, "axis": state.axis, "lane": state.lane, "codes": state.codes, "connected": state.connected,
            "relay": state.relay_state, "directory_version": state.directory_version,
            "directory_valid_until": state.directory_valid_until, "alarms": state.alarms, "open_outbox": state.open_outbox,
            "open_inbox": state.open_inbox, "index": state.index_state, "duties_notice": state.duties_notice,
            "counters": state.counters.iter().map(counters_json).collect::<Vec<_>>(),
        });
        output.show(&value, |o| {
            let tone = if state.connected { Tone::Good } else { Tone::Unsure };
            o.line(format!("node       {} on axis {}, lane {}", state.node, state.axis, state.lane));
            o.line(format!("codes      {}", state.codes.join(" ")));
            o.line(format!("relay      {}", o.paint(tone, &state.relay_state)));
            o.line(format!(
                "directory  version {}, valid until {}",
                state.directory_version, state.directory_valid_until
            ));
            o.line(format!("open       {} sent, {} received", state.open_outbox, state.open_inbox));
            o.line(format!("index      {}", state.index_state));
            for counters in &state.counters {
                o.line(counters_text(counters, o));
            }
            if !state.duties_notice.is_empty() {
                o.line(format!("{}  {}", o.paint(Tone::Unsure, "NOTE"), state.duties_notice));
            }
            for alarm in &state.alarms {
                o.line(format!("{}  {alarm}", o.paint(Tone::Bad, "ALARM")));
            }
        });
        Ok(if state.alarms.is_empty() { Exit::Good } else { Exit::CannotTell })
    })
}

/// One line per agency: what waits for an officer.
fn counters_text(counters: &AgencyCounters, output: &Output) -> String {
    let part = |name: &str, count: u64, late: u64| {
        let late = if late > 0 { format!(" ({late} quá hạn)") } else { String::new() };
        let text = format!("{name} {count}{late}");
        if count > 0 { output.paint(Tone::Unsure, text) } else { text }
    };
    [
        format!("{:<10}", counters.code),
        part("chưa gửi", counters.unsent, counters.unsent_late),
        part("gửi lỗi", counters.failed, 0),
        part("bị trả lại", counters.returned, 0),
        part("lấy lại", counters.withdrawn, 0),
        part("chậm tiếp nhận", counters.late, 0),
        part("chờ tiếp nhận", counters.waiting, counters.waiting_late),
    ]
    .join("  ")
}

fn counters_json(counters: &AgencyCounters) -> Value {
    json!({
        "code": counters.code, "unsent": counters.unsent, "failed": counters.failed, "returned": counters.returned,
        "withdrawn": counters.withdrawn, "late": counters.late, "unsent_late": counters.unsent_late,
        "waiting": counters.waiting, "waiting_late": counters.waiting_late,
    })
}
