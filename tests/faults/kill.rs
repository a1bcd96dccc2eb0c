//! kill -9 of any process at seeded moments of a run of 200 documents.

use truc_tests::{
    network::{Network, RELAY},
    seed::Seed,
    wait::until_async,
};

use crate::mail::{Mail, RECIPIENT, SENDER, layout};

const DOCUMENTS: usize = 200;
const KILLS: usize = 18;

#[tokio::test(flavor = "multi_thread")]
async fn processes_killed_at_any_moment_lose_and_double_nothing() {
    let mut seed = Seed::from_env(4_711);
    let mail = Mail::new(Network::start(layout()).await, DOCUMENTS);
    let tasks = mail.start();
    let step = mail.whole() / (KILLS + 1);
    for kill in 1..=KILLS {
        let moment = kill * step - usize::try_from(seed.between(0, step as u64)).unwrap();
        reach(&mail, moment).await;
        // Each of the three in turn, so that none is spared, in an order that nobody arranged.
        let victim = [RELAY, SENDER, RECIPIENT][usize::try_from(seed.between(0, 3)).unwrap()];
        if victim == RELAY {
            mail.network.kill_relay();
            mail.network.start_relay();
        } else {
            mail.network.kill_node(victim);
            mail.network.start_node(victim);
        }
    }
    tasks.join_all().await;
    mail.check_all().await;
}

/// Waits until so much has been acknowledged.
pub(crate) async fn reach(mail: &Mail, moment: usize) {
    let what = format!("{moment} acknowledgements");
    until_async(&what, || async {
        let progress = mail.progress();
        if progress >= moment { Ok(()) } else { Err(progress) }
    })
    .await;
}
