//! Power cuts under the relay and the nodes of a running network: every answer that document systems got stays true, whichever store loses its power.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use truc_tests::{
    network::{Layout, Network, RELAY},
    seed::Seed,
};

use crate::{
    disk::CutDisk,
    kill::reach,
    mail::{Mail, RECIPIENT, SENDER, layout},
};

const DOCUMENTS: usize = 120;
const CUTS: usize = 12;

/// Each on a disk of its own.
struct Disks {
    relay: CutDisk,
    sender: CutDisk,
    recipient: CutDisk,
}

impl Disks {
    fn make() -> Option<Self> {
        Some(Self { relay: CutDisk::make(512)?, sender: CutDisk::make(512)?, recipient: CutDisk::make(512)? })
    }

    fn under(&self, mut layout: Layout) -> Layout {
        layout.relay = self.relay.path().join("relay");
        layout.node_mut(SENDER).folder = self.sender.path().join("node");
        layout.node_mut(RECIPIENT).folder = self.recipient.path().join("node");
        layout
    }

    fn of(&self, id: &str) -> &CutDisk {
        match id {
            RELAY => &self.relay,
            SENDER => &self.sender,
            _ => &self.recipient,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_stay_true_over_twelve_power_cuts_of_relay_and_nodes() {
    let Some(disks) = Disks::make() else { return };
    let mut seed = Seed::from_env(20_261_122);
    let mail = Mail::new(Network::start(disks.under(layout())).await, DOCUMENTS);
    let tasks = mail.start();
    let step = mail.whole() / (CUTS + 1);
    for cut in 1..=CUTS {
        let moment = cut * step - usize::try_from(seed.between(0, step as u64)).unwrap();
        reach(&mail, moment).await;
        let victim = [RELAY, SENDER, RECIPIENT][cut % 3];
        cut_and_restart(&mail.network, disks.of(victim), victim);
        let complaints = match victim {
            SENDER => mail.check_sender().await,
            RECIPIENT => mail.check_recipient().await,
            // What the relay answered shows in what the nodes hold of it: they would see a shorter or another ledger.
            _ => Vec::new(),
        };
        assert!(complaints.is_empty(), "cut {cut}, of {victim}: {complaints:#?}\n{}", mail.logs());
    }
    tasks.join_all().await;
    mail.check_all().await;
}

fn cut_and_restart(network: &Network, disk: &CutDisk, victim: &str) {
    disk.cut();
    if victim == RELAY {
        network.kill_relay();
        disk.power_on();
        network.start_relay();
    } else {
        network.kill_node(victim);
        disk.power_on();
        network.start_node(victim);
    }
}

/// The same with a node that never syncs: if this kept its answers, the test above would prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_sync_loses_answers_in_a_power_cut() {
    let Some(disk) = CutDisk::make(512) else { return };
    let mut layout = layout();
    layout.node_mut(SENDER).folder = disk.path().join("node");
    let library = build_no_sync(layout.root.path());
    let mail = Mail::new(Network::start(layout).await, 30);
    mail.network.stop_node(SENDER).await;
    mail.network.start_node_with(SENDER, |command| _ = command.env("LD_PRELOAD", &library));
    let mut tasks = mail.start();
    reach(&mail, 20).await;
    tasks.shutdown().await;
    disk.cut();
    mail.network.kill_node(SENDER);
    disk.power_on();
    // That it does not even start would be a loss as well; what is on the disk is what was synced before, so it does.
    mail.network.start_node(SENDER);
    let complaints = mail.check_sender().await;
    eprintln!("without sync: {complaints:#?}");
    assert!(!complaints.is_empty(), "a power cut without one sync lost nothing: the harness does not cut");
}

/// A library that makes every sync of a process do nothing.
fn build_no_sync(folder: &Path) -> PathBuf {
    const SOURCE: &str = "int fsync(int f) { return 0; }\nint fdatasync(int f) { return 0; }\n\
        int sync_file_range(int f, long long o, long long n, unsigned g) { return 0; }\nint msync(void *a, unsigned long n, int g) { return 0; }\n";
    let (source, library) = (folder.join("no_sync.c"), folder.join("no_sync.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-w", "-fno-builtin", "-o"])
        .arg(&library)
        .arg(&source)
        .status()
        .unwrap();
    assert!(built.success(), "the C compiler that builds the product builds this too");
    library
}
