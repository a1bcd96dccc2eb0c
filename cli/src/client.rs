//! The node's local API as the commands use it: connection, token, and refusals turned into words.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, anyhow};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use truc_custody::KeySource;
use truc_link::connect_local;
use truc_proto::{
    node_v1::{
        administration_client::AdministrationClient, node_client::NodeClient, oversight_client::OversightClient,
    },
    wire_v1::Refusal,
};

use crate::{
    args::NodeArgs,
    exit::{Exit, ExitContext as _, Failure},
};

/// A connected client.
pub(crate) type Node = NodeClient<InterceptedService<Channel, Bearer>>;

/// A connected client of what administrators and auditors ask.
pub(crate) type Oversight = OversightClient<InterceptedService<Channel, Bearer>>;

/// Adds the bearer token to every call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A connected client of the cipher administrator's calls.
pub(crate) type Administration = AdministrationClient<InterceptedService<Channel, Bearer>>;

/// Connects to the node named by the arguments.
pub(crate) async fn connect(args: &NodeArgs) -> Result<Node, Failure> {
    let (channel, bearer) = channel(args).await?;
    Ok(NodeClient::with_interceptor(channel, bearer))
}

/// As [`connect`], for administrators and auditors.
pub(crate) async fn connect_oversight(args: &NodeArgs) -> Result<Oversight, Failure> {
    let (channel, bearer) = channel(args).await?;
    Ok(OversightClient::with_interceptor(channel, bearer))
}

/// As [`connect`], for the cipher administrator's calls.
pub(crate) async fn administer(args: &NodeArgs) -> Result<Administration, Failure> {
    let (channel, bearer) = channel(args).await?;
    Ok(AdministrationClient::with_interceptor(channel, bearer))
}

async fn channel(args: &NodeArgs) -> Result<(Channel, Bearer), Failure> {
    let token = args.token_file.as_deref().map(read_token).transpose();
    let token = token.map_err(|error| Failure {
        vietnamese: Some(
            "Không đọc được tệp mã truy cập; kiểm tra đường dẫn ở --token-file, hoặc tạo mã mới bằng `truc-node token add`."
                .to_owned(),
        ),
        ..Failure::new(
            Exit::Usage,
            error.context(
                "the bearer token cannot be read; name its file with --token-file, or have `truc-node token add` make one",
            ),
        )
    })?;
    let not_one = || format!("`{}` is not an address such as http://127.0.0.1:7440", args.node);
    if !args.node.starts_with("http://") && !args.node.starts_with("https://") {
        return Err(Failure::new(Exit::Usage, anyhow!(not_one())));
    }
    if args.node.starts_with("https://") {
        return Ok((secure_channel(args).await?, Bearer(token)));
    }
    let endpoint = Endpoint::from_shared(args.node.clone())
        .or_exit(Exit::Usage, not_one())?
        .connect_timeout(Duration::from_secs(5));
    let channel = endpoint.connect().await.or_exit(
        Exit::Unavailable,
        format!("no node answers at {}; start `truc-node serve` or give its address with --node", args.node),
    )?;
    Ok((channel, Bearer(token)))
}

/// Over TLS, with a client certificate where one is named.
async fn secure_channel(args: &NodeArgs) -> Result<Channel, Failure> {
    let no_authority = "name whose certificates vouch for the node, with --node-ca FILE";
    let authorities = args.node_ca.as_deref().context("no authority is named").or_exit(Exit::Usage, no_authority)?;
    let authorities = truc_custody::read_certificates(authorities).or_exit(Exit::Usage, no_authority)?;
    let load = |path: &Path| -> anyhow::Result<_> { Ok(KeySource::beside(path)?.load_identity()?.1) };
    let identity = args.client_cert.as_deref().map(load).transpose();
    let identity = identity.or_exit(Exit::Usage, "the client certificate cannot be used")?;
    let connected = connect_local(&args.node, &authorities, identity.as_ref()).await;
    connected.or_exit(
        Exit::Unavailable,
        format!("no node answers at {}, or one side does not believe the other's certificate", args.node),
    )
}

fn read_token(file: &Path) -> anyhow::Result<MetadataValue<Ascii>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let token = text.lines().next().unwrap_or_default().trim();
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {token}").parse().map_err(|_| anyhow!("{} does not hold a token", file.display()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A call's refusal in words, with the exit code that fits.
pub(crate) fn failed(what: &str, status: &Status) -> Failure {
    let refusal: Option<Refusal> = prost_details(status);
    let exit = match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => Exit::Unavailable,
        Code::Unauthenticated | Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        Code::DataLoss => Exit::BadData,
        _ => Exit::Invalid,
    };
    match refusal {
        Some(refusal) => refused(what, &refusal, exit),
        None => {
            // The node says it in both languages, the Vietnamese last.
            let (english, vietnamese) = match status.message().rsplit_once(" / ") {
                Some((english, vietnamese)) if !vietnamese.is_ascii() => (english, Some(vietnamese.to_owned())),
                _ => (status.message(), None),
            };
            Failure { vietnamese, ..Failure::new(exit, anyhow!("{english}").context(what.to_owned())) }
        }
    }
}

/// A refusal that came as an answer.
pub(crate) fn refused(what: &str, refusal: &Refusal, exit: Exit) -> Failure {
    let mut text = refusal.english.clone();
    if !refusal.successor.is_empty() {
        text.push_str(&format!(" Successor: {}.", refusal.successor));
    }
    if !refusal.nearest.is_empty() {
        text.push_str(&format!(" Did you mean: {}?", refusal.nearest.join(", ")));
    }
    Failure {
        exit,
        source: anyhow!("{text}").context(what.to_owned()),
        vietnamese: Some(refusal.vietnamese.clone()).filter(|t| !t.is_empty()),
        reason: Some(refusal.reason.clone()),
    }
}

/// The refusal that a status carries in its details.
fn prost_details(status: &Status) -> Option<Refusal> {
    if status.details().is_empty() {
        return None;
    }
    prost::Message::decode(status.details()).ok()
}

/// Runs a command's async part.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .or_exit(Exit::Unavailable, "start the asynchronous runtime")?;
    runtime.block_on(work)
}
