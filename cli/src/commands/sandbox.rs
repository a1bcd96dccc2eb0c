//! `truc sandbox`: an axis of one's own on one machine, to develop a document system against. The same relay and nodes as everywhere;
//! partners with test codes that answer by themselves, each in its own way.

mod partner;

use anyhow::Context as _;
use serde_json::json;
use truc_node::settings::RestSettings;

use super::demo::{
    Folder,
    network::{Cast, Network, NodePlan},
};
use crate::{
    args::SandboxArgs,
    client::block_on,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone},
};

/// The node that the document system connects to.
const OWN: &str = "SANDBOX";
/// The node of the partners.
const PARTNERS: &str = "PARTNERS";

/// Codes of the document system.
const OWN_CODES: [(&str, &str); 2] =
    [("Z99.1", "Cơ quan thử nghiệm của bạn"), ("Z99.2", "Cơ quan thử nghiệm thứ hai của bạn")];

/// The closed code, and what the codes hang below. Columns: docs/DIRECTORY.md.
const CODES: &str = "code,name,valid_from,valid_to,successor,basis\n\
    Z99,Trục thử nghiệm,2020-09-15T00:00:00+07:00,,,thử nghiệm\n\
    Z99.CU,Đối tác đã sáp nhập,2020-09-15T00:00:00+07:00,2025-06-30T19:00:00+07:00,Z99.NHAN,thử nghiệm\n";

pub(crate) fn run(args: SandboxArgs, output: &Output) -> Outcome {
    let folder = Folder::prepare("truc-sandbox-", args.dir.as_deref(), false)
        .or_exit(Exit::Usage, "the sandbox needs a folder of its own")?;
    block_on(async {
        play(args, folder.path(), output)
            .await
            .map_err(|error| Failure::new(Exit::Invalid, error.context("the sandbox stopped")))
    })?;
    Ok(Exit::Good)
}

async fn play(args: SandboxArgs, dir: &std::path::Path, output: &Output) -> anyhow::Result<()> {
    let rest = RestSettings { listen: args.rest, tls: None, webhooks: args.webhooks, webhook_anchors: None };
    let partners = partner::ALL.map(|partner| (partner.code(), partner.name()));
    let nodes = vec![
        NodePlan { local: args.local, rest: Some(rest), ..NodePlan::new(OWN, OWN_CODES.to_vec()) },
        NodePlan::new(PARTNERS, partners.to_vec()),
    ];
    let network =
        Network::start(dir, Cast { axis: "vn-sandbox", nodes, codes: CODES, changes: None, stamps: false }).await?;
    let mut tasks = tokio::task::JoinSet::new();
    for partner in partner::ALL {
        tasks.spawn(partner::play(partner, network.node(PARTNERS).await?));
    }
    let (api, rest) = network.doors(OWN)?;
    let rest = rest.context("the sandbox has a REST listener")?;
    let token = network.token_file(OWN);
    let account = json!({
        "dir": dir,
        "rest": format!("http://{rest}/api/v1"),
        "docs": format!("http://{rest}/api/v1/docs"),
        "grpc": api.node,
        "token_file": token,
        "codes": OWN_CODES.map(|(code, _)| code),
        "partners": partner::ALL.map(|partner| json!({ "code": partner.code(), "does": partner.says() })),
        "anchors": network.anchors(),
        "operator": network.operator(),
    });
    output.show(&account, |o| {
        o.line(
            o.paint(Tone::Strong, "Sandbox: a relay and two nodes on this machine; nothing in it reaches a real axis."),
        );
        o.line(format!("  REST    http://{rest}/api/v1        page to read and try: http://{rest}/api/v1/docs"));
        o.line(format!("  gRPC    {}", api.node));
        o.line(format!("  token   {}", token.display()));
        o.line(format!("  trust   {} and {}", network.anchors().display(), network.operator().display()));
        o.line(o.paint(Tone::Strong, "Your codes"));
        for (code, name) in OWN_CODES {
            o.line(format!("  {code:<10} {name}"));
        }
        o.line(o.paint(Tone::Strong, "Partners"));
        for partner in partner::ALL {
            o.line(format!("  {:<10} {}", partner.code(), partner.says()));
        }
        o.line(format!("  {:<10} closed on 30/6/2025; a send is refused and names its successor Z99.NHAN", "Z99.CU"));
        o.line("Ctrl-C ends it.");
    });
    tokio::select! {
        // Whatever ends the wait ends the sandbox.
        _ = tokio::signal::ctrl_c() => {}
        Some(ended) = tasks.join_next() => ended.context("a partner panicked")??,
    }
    tasks.shutdown().await;
    network.stop().await;
    Ok(())
}
