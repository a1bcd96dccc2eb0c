//! `truc status`: what a node says of itself.

use serde_json::json;
use truc_proto::node_v1::StatusRequest;

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
            "open_inbox": state.open_inbox, "index": state.index_state,
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
            for alarm in &state.alarms {
                o.line(format!("{}  {alarm}", o.paint(Tone::Bad, "ALARM")));
            }
        });
        Ok(if state.alarms.is_empty() { Exit::Good } else { Exit::CannotTell })
    })
}
