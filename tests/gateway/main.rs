//! The gateway to today's axis, against one that is played, faults included.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod inward;
mod out;
#[path = "../sdk/packets.rs"]
mod packets;

use truc_tests::{
    network::{Layout, Network},
    old_axis::{self, OldAxis},
    wait::until_async,
};

/// N-G22 is the gateway of G22; N-H26 is on this axis alone; H37 and H38 are on today's.
fn layout() -> Layout {
    Layout::new(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).with_legacy(&["H37", "H38"])
}

async fn start() -> (Network, OldAxis) {
    let (network, axis) = (Network::make(layout()).await, OldAxis::start());
    axis.connect(network.node_folder("N-G22"));
    network.start_all().await;
    (network, axis)
}

/// Waits for something that the played axis shows.
async fn until(what: &str, axis: &OldAxis, seen: impl Fn(&old_axis::State) -> bool) {
    until_async(what, || async {
        let state = axis.state();
        if seen(&state) { Ok(()) } else { Err(state.told()) }
    })
    .await;
}
