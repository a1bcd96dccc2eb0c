//! Document systems that speak the axis SDK, against running nodes and a relay: a client written from the API's description alone
//! (`interop/axis_sdk_client.py`), and each known trap of the vendor's client, by its number in that description.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests")]

mod client;
mod interop;
mod packets;
mod pitfalls;
mod revocations;
mod statuses;

use truc_tests::network::{Layout, Network};

/// Path of the API, as a client's configuration would have it.
const PATH: &str = "/api/v1";

/// Two nodes with a document system each: `one` for G22 at N-G22, `two` for H26 and H26.18 at N-H26.
struct Pair {
    network: Network,
    secrets: [String; 2],
}

impl Pair {
    async fn start() -> Self {
        let layout = Layout::new(&[("N-G22", &["G22"]), ("N-H26", &["H26", "H26.18"])]).with_sdk(PATH);
        let network = Network::make(layout).await;
        let secrets =
            [network.add_system("N-G22", "one", &["G22"]), network.add_system("N-H26", "two", &["H26", "H26.18"])];
        network.start_all().await;
        Self { network, secrets }
    }

    fn one(&self) -> client::Service {
        client::Service::new(self.network.sdk_address("N-G22"), "one", &self.secrets[0])
    }

    fn two(&self) -> client::Service {
        client::Service::new(self.network.sdk_address("N-H26"), "two", &self.secrets[1])
    }

    /// Sends a packet from `one` and waits until it stands in `two`'s list; gives DocId and the item.
    async fn delivered(&self, packet: &[u8]) -> (String, serde_json::Value) {
        let sent = self.one().send("G22", "edoc", None, packet).await;
        assert_eq!(sent["ErrorCode"], "0", "{sent}");
        let doc_id = sent["DocId"].as_str().unwrap().to_owned();
        self.network.wait_consigned("G22", &doc_id).await;
        let list = self.two().list("edoc").await;
        let item = list.last().expect("it is listed").clone();
        (doc_id, item)
    }
}
