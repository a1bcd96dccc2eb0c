//! The command line. Every help text is true: `--help` is part of the documentation.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use truc_link::StampServer;
use truc_proto::{AgencyId, Digest, EnvelopeId, NodeId, NoteKey, StatusCode, Timestamp};

use crate::output::Colour;

/// The national document axis: send, receive and verify official documents.
///
/// Exit codes: 0 good, 1 invalid or refused, 2 cannot tell, 64 wrong usage, 65 bad data, 69 not available.
#[derive(Parser, Debug)]
#[command(name = "truc", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Print one JSON value instead of text for people.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Colour the output.
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto)]
    pub(crate) colour: Colour,
    /// Log more, on standard error (-v info, -vv debug, -vvv trace). TRUC_LOG overrides.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Show the whole thing on this machine: a relay, three nodes, real codes, a restart in the middle, receipts verified.
    Demo(DemoArgs),
    /// Run an axis of one's own to develop a document system against: test codes that answer by themselves, REST and gRPC open.
    Sandbox(SandboxArgs),
    /// Play the loss of keys on a network of one's own, and say how long each part took and whether each promise held.
    Drill(DrillArgs),
    /// Send many small documents at an even pace, then look whether all arrived with receipts: while keys are exchanged, or a node is restored.
    Load(LoadArgs),
    /// Send a document: an edXML packet, or files with their particulars.
    Send(SendArgs),
    /// Documents received (đến).
    #[command(subcommand)]
    Inbox(InboxCommand),
    /// Documents sent (đi), with the state of every recipient.
    Outbox(OutboxArgs),
    /// Find documents again, sent and received, however long ago: by number and notation, type and subject.
    Search(DocumentSearchArgs),
    /// Deadlines that are near or have passed: what has not been sent, not been taken here, not been taken there.
    Duties(DutiesArgs),
    /// Statistics by agency and day, as a table, CSV or an Excel workbook.
    Stats(StatsArgs),
    /// Receipts: list and get them from a node, verify them anywhere.
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// Signed containers (ASiC-E).
    #[command(subcommand)]
    Container(ContainerCommand),
    /// edXML packets (QCVN 102:2016/BTTTT).
    #[command(subcommand)]
    Edxml(EdxmlCommand),
    /// The directory of agency codes, nodes and certificates.
    #[command(subcommand)]
    Directory(DirectoryCommand),
    /// Proofs that somebody showed two histories of one ledger (`*.fork`), as nodes, the relay and `truc receipt verify --fork-out` keep them.
    #[command(subcommand)]
    Fork(ForkCommand),
    /// Receiver groups: an agency's named lists of codes, kept by its node, for `truc send --to-group`.
    #[command(subcommand)]
    Group(GroupCommand),
    /// What administrators did to a node, with who and why.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Give the PIN of a PKCS#11 token to a node whose settings say `pin = "prompt"`: asked for at the terminal, else read from standard input.
    Pin(PinArgs),
    /// Keys and certificates of a node: until when, who still needs them, new ones, rotation (cipher administrator).
    #[command(subcommand)]
    Cert(CertCommand),
    /// State of a node: connection, directory, alarms.
    Status(NodeArgs),
    /// Write a completion script for a shell to standard output.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Needs a token of the role `cipher-admin` or `auditor` (`truc-node token add --role`, docs/ROLES.md).
#[derive(Subcommand, Debug)]
pub(crate) enum AdminCommand {
    /// What was done, the newest first: keys and certificates, backups, tokens.
    Log {
        #[command(flatten)]
        node: NodeArgs,
        /// Only what was written down from this time on (RFC 3339, as `2026-11-22T00:00:00+07:00`).
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        /// Most entries shown.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// What waits for a second administrator, and what became of what waited in the last two days.
    Pending(NodeArgs),
    /// Approve what another administrator asked for; he gives his command again then, and it is carried out.
    Approve(AnswerArgs),
    /// Refuse what another administrator asked for, or take back what one asked for oneself.
    Refuse(AnswerArgs),
    /// Have a bearer token let in no more, from its next call on.
    WithdrawToken {
        #[command(flatten)]
        node: NodeArgs,
        /// The token's name.
        name: String,
        /// Why, for the ledger.
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
}

/// Needs a token of the role `cipher-admin`. A wrong PIN is shown to the token once and never again.
#[derive(Args, Debug)]
pub(crate) struct PinArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// The PKCS#11 token's label.
    pub(crate) token: String,
    /// Why, for the ledger.
    #[arg(long, value_name = "TEXT", default_value = "the node started again")]
    pub(crate) why: String,
}

#[derive(Args, Debug)]
pub(crate) struct AnswerArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// The request's number, from `truc admin pending`.
    pub(crate) number: u64,
    /// Why, for the ledger.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
}

/// How to reach a node's local API.
#[derive(Args, Debug, Clone)]
pub(crate) struct NodeArgs {
    /// The node's local API.
    #[arg(long, env = "TRUC_NODE", value_name = "URL", default_value = "http://127.0.0.1:7440")]
    pub(crate) node: String,
    /// File that holds the bearer token.
    #[arg(long, env = "TRUC_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Client certificate instead of a token, for a node at https://: X.pem with X.key, X.p12 with X.password beside it, or X.token.
    #[arg(long, env = "TRUC_CLIENT_CERT", value_name = "FILE")]
    pub(crate) client_cert: Option<PathBuf>,
    /// Authorities that vouch for the certificate of a node at https://, PEM.
    #[arg(long, env = "TRUC_NODE_CA", value_name = "FILE")]
    pub(crate) node_ca: Option<PathBuf>,
}

impl NodeArgs {
    /// A node on this machine, with a token.
    pub(crate) const fn local(node: String, token_file: PathBuf) -> Self {
        Self { node, token_file: Some(token_file), client_cert: None, node_ca: None }
    }
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Where to put everything; a new folder, or an empty one. Default: a temporary folder, removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Leave relay and nodes running at the end and print how to talk to them (Ctrl-C ends them).
    #[arg(long)]
    pub(crate) keep: bool,
}

/// A development PKI, a relay and two nodes in this process, mail both ways; then H26's keys are stolen, and later its sealing key is lost.
///
/// It exits with 0 only if every promise held. Times are shown, not judged.
#[derive(Args, Debug)]
pub(crate) struct DrillArgs {
    /// Where to put everything; a new folder, or an empty one. Default: a temporary folder, removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Leave the folder where it is.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Documents per second, each way.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) rate: u32,
}

/// A node that is away is asked again under the same key, as document systems do: so this may go on while it is restarted or restored.
#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// The sending agency's code.
    #[arg(long, value_name = "CODE")]
    pub(crate) from: AgencyId,
    /// The receiving agency's code.
    #[arg(long, value_name = "CODE")]
    pub(crate) to: AgencyId,
    /// Documents per second.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rate: u32,
    /// For how many seconds.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,
    /// How many seconds to wait at the end until all have arrived with receipts.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) patience: u64,
}

/// Nothing in it can reach a real axis: the sandbox has a trust domain, certificates and a relay of its own.
#[derive(Args, Debug)]
pub(crate) struct SandboxArgs {
    /// Where to put everything; a new folder, or an empty one. Default: a temporary folder, removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Where REST listens; port 0: a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7450")]
    pub(crate) rest: SocketAddr,
    /// Where the local gRPC API listens; port 0: a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7440")]
    pub(crate) local: SocketAddr,
    /// Where webhooks may be posted to: http on this machine; repeat for several.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000/")]
    pub(crate) webhooks: Vec<truc_link::endpoint::Endpoint>,
}

#[derive(Args, Debug)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// The sending agency's code.
    #[arg(long, value_name = "CODE")]
    pub(crate) from: AgencyId,
    /// A receiving agency's code; repeat for several. Without it a packet's own To is used.
    #[arg(long, value_name = "CODE")]
    pub(crate) to: Vec<AgencyId>,
    /// A receiver group of the sending agency (`truc group list`); repeat for several, also beside --to. It means who is in it now.
    #[arg(long, value_name = "NAME")]
    pub(crate) to_group: Vec<String>,
    /// Secrecy level: ordinary, mat or toi-mat. The last two go over the classified lane alone.
    #[arg(long, default_value = "ordinary")]
    pub(crate) level: truc_proto::WireLevel,
    /// Urgency, 0 thường to 4 hỏa tốc hẹn giờ. Default: the packet's, or 0.
    #[arg(long)]
    pub(crate) priority: Option<u8>,
    /// Days until the relay stops trying, at most 30.
    #[arg(long, value_name = "DAYS")]
    pub(crate) ttl_days: Option<u64>,
    /// Names this request, so that sending it again cannot send it twice. Default: derived from what is sent.
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// The edXML packet to send.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["subject", "file"], required_unless_present = "subject")]
    pub(crate) packet: Option<PathBuf>,
    /// Subject (trích yếu) of a document given as files.
    #[arg(long, requires_all = ["file", "number", "notation"])]
    pub(crate) subject: Option<String>,
    /// Number (số).
    #[arg(long, requires = "subject")]
    pub(crate) number: Option<String>,
    /// Notation (ký hiệu).
    #[arg(long, requires = "subject")]
    pub(crate) notation: Option<String>,
    /// Date of promulgation, yyyy/MM/dd. Default: today in Vietnam.
    #[arg(long, requires = "subject")]
    pub(crate) date: Option<String>,
    /// Place of promulgation.
    #[arg(long, requires = "subject")]
    pub(crate) place: Option<String>,
    /// Type of document in words, e.g. "Công văn".
    #[arg(long, requires = "subject")]
    pub(crate) type_name: Option<String>,
    /// The earlier document of the sending agency that this one updates: its envelope id, or its edXML DocumentId such as
    /// "H26,2026/11/20,12/KH-UBND". It stays readable; `truc outbox withdraw` takes a document back.
    #[arg(long, value_name = "DOCUMENT", requires_all = ["subject", "reason"], conflicts_with = "replaces")]
    pub(crate) updates: Option<String>,
    /// An earlier document that this one replaces, named likewise; repeat for several. They stay readable.
    #[arg(long, value_name = "DOCUMENT", requires_all = ["subject", "reason"])]
    pub(crate) replaces: Vec<String>,
    /// Why they are updated or replaced.
    #[arg(long, value_name = "TEXT", requires = "subject")]
    pub(crate) reason: Option<String>,
    /// A file of the document; repeat for several.
    #[arg(long, value_name = "FILE", requires = "subject")]
    pub(crate) file: Vec<PathBuf>,
    /// Wait until every recipient has it, or has failed.
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Keys are named `node`, `tls`, `service:CODE` or `sealing:CODE`; certificates by their SHA-256, as `truc cert status --json` shows it.
#[derive(Subcommand, Debug)]
pub(crate) enum CertCommand {
    /// Every key: what for, until when, where, what the directory says, what still needs it, what to do next.
    Status {
        #[command(flatten)]
        node: NodeArgs,
        /// Say of every key what is said of it.
        #[arg(long)]
        notes: bool,
    },
    /// Make a new key in the node's folder, and the request for its certificate (PKCS#10).
    Request(CertRequestArgs),
    /// Take what the authority gave: a certificate for a key requested here, a PKCS#12 file, or a key in a token.
    ///
    /// It is not used before the directory binds it.
    Import(CertImportArgs),
    /// Write the request by which the axis operator binds the keys that are here and not bound yet.
    ///
    /// Nothing changes before the operator's next version: then they come into use by themselves, everywhere, beside those before.
    Rotate(CertRotateArgs),
    /// Take a key out of use and destroy it, once nothing needs it any more.
    Retire {
        #[command(flatten)]
        node: NodeArgs,
        /// SHA-256 of its certificate, or the beginning of it that `truc cert status` shows.
        #[arg(value_name = "SHA256")]
        certificate: String,
        /// Although something sealed to it may still arrive: its senders seal it anew by themselves.
        #[arg(long)]
        now: bool,
        /// Why; it stands in the node's ledger.
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Declare a key stolen, lost, or suspected to be: the node does nothing more with it from the answer on.
    ///
    /// Nothing that is under way is lost: what needs the key is held until another one is bound. Writes the request by which the axis operator
    /// states it for everybody, and what the authority's form asks for, and says what to do next.
    Revoke(CertRevokeArgs),
}

#[derive(Args, Debug)]
pub(crate) struct CertRevokeArgs {
    /// SHA-256 of its certificate, or the beginning of it that `truc cert status` shows.
    #[arg(value_name = "SHA256")]
    pub(crate) certificate: String,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// It may prove wrong: the operator is asked to suspend the certificate, not to revoke it for ever.
    #[arg(long, conflicts_with = "undo")]
    pub(crate) suspected: bool,
    /// Since when, where that is known: a moment such as 2026-11-22T08:00:00+07:00. Default: now.
    #[arg(long, value_name = "TIME", conflicts_with = "undo")]
    pub(crate) since: Option<String>,
    /// It was a mistake: use the key again. Only while the operator has not acted, or has restored it.
    #[arg(long)]
    pub(crate) undo: bool,
    /// Where the operator's request goes; what the authority's form asks for goes beside it, as FILE.revocation.txt.
    #[arg(long, value_name = "FILE.revocation", required_unless_present = "undo", conflicts_with = "undo")]
    pub(crate) out: Option<PathBuf>,
    /// Why; it stands in the node's ledger.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
}

#[derive(Args, Debug)]
pub(crate) struct CertRequestArgs {
    /// `node`, `tls`, `service:CODE` or `sealing:CODE`.
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Kind of the new key: rsa-3072 or p-256. Default: as strong as the one that it follows.
    #[arg(long, value_name = "KIND")]
    pub(crate) algorithm: Option<String>,
    /// Where the request goes, PEM; what the authority's form asks for goes beside it, as .txt.
    #[arg(long, value_name = "FILE.csr")]
    pub(crate) out: PathBuf,
    /// Why; it stands in the node's ledger.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
}

#[derive(Args, Debug)]
pub(crate) struct CertImportArgs {
    /// The certificate with those above it, PEM, for a key that was requested here.
    #[arg(value_name = "FILE.pem", required_unless_present_any = ["pkcs12", "token"], conflicts_with_all = ["pkcs12", "token", "key"])]
    pub(crate) certificate: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// For which key: `node`, `tls`, `service:CODE` or `sealing:CODE`; with --pkcs12 and --token.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Certificate and key in a PKCS#12 file.
    #[arg(long, value_name = "FILE.p12", requires_all = ["password_file", "key"], conflicts_with = "token")]
    pub(crate) pkcs12: Option<PathBuf>,
    /// File that holds its password.
    #[arg(long, value_name = "FILE", requires = "pkcs12")]
    pub(crate) password_file: Option<PathBuf>,
    /// A file that says where in a PKCS#11 token the key is (README, keys in a token).
    #[arg(long, value_name = "FILE.token", requires = "key")]
    pub(crate) token: Option<PathBuf>,
    /// Why; it stands in the node's ledger.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
}

#[derive(Args, Debug)]
pub(crate) struct CertRotateArgs {
    /// SHA-256 of the certificates; default: all that the directory does not bind yet.
    #[arg(value_name = "SHA256")]
    pub(crate) certificates: Vec<String>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Only say what would happen, and when.
    #[arg(long)]
    pub(crate) plan: bool,
    /// How many days those before stay in force beside the new ones; 0: as long as they are bound now.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=366))]
    pub(crate) overlap_days: u32,
    /// Where the operator's request goes.
    #[arg(long, value_name = "FILE.binding", required_unless_present = "plan")]
    pub(crate) out: Option<PathBuf>,
    /// Why; it stands in the node's ledger.
    #[arg(long, value_name = "TEXT", required_unless_present = "plan")]
    pub(crate) why: Option<String>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum GroupCommand {
    /// List groups; with a name, the members of one and whom nothing can be sent to now.
    List {
        #[command(flatten)]
        node: NodeArgs,
        /// Only this agency's. Default: of all codes that the token covers.
        #[arg(long, value_name = "CODE")]
        owner: Option<AgencyId>,
        /// The group to look into.
        #[arg(requires = "owner")]
        name: Option<String>,
    },
    /// Make a group, or put another list of codes in its place.
    Set {
        #[command(flatten)]
        node: NodeArgs,
        /// The agency that sends to it.
        #[arg(long, value_name = "CODE")]
        owner: AgencyId,
        /// Its name, such as "Sở, ban, ngành".
        name: String,
        /// Its members: codes of the directory, in their present or an older form.
        #[arg(value_name = "CODE", required_unless_present = "codes_file")]
        codes: Vec<String>,
        /// A file with its members, one code a line; what follows a space, a comma or # is not read. Instead of CODE.
        #[arg(long, value_name = "FILE", conflicts_with = "codes")]
        codes_file: Option<PathBuf>,
    },
    /// Delete a group.
    Delete {
        #[command(flatten)]
        node: NodeArgs,
        /// The agency that sends to it.
        #[arg(long, value_name = "CODE")]
        owner: AgencyId,
        /// Its name.
        name: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum InboxCommand {
    /// List received documents, newest first.
    List {
        #[command(flatten)]
        node: NodeArgs,
        /// Only this agency's.
        #[arg(long)]
        code: Option<AgencyId>,
        /// Those too that the document system has confirmed.
        #[arg(long)]
        all: bool,
        /// Keep listing as documents come.
        #[arg(long)]
        watch: bool,
    },
    /// Fetch a document.
    Fetch {
        #[command(flatten)]
        node: NodeArgs,
        /// The envelope.
        envelope: EnvelopeId,
        /// The receiving agency's code.
        #[arg(long)]
        code: AgencyId,
        /// What to fetch: the signed container, the edXML packet, or one attachment by its name.
        #[arg(long, value_name = "container|edxml|NAME", default_value = "edxml")]
        what: String,
        /// The sending agency's code; needed where several senders used this envelope id.
        #[arg(long, value_name = "CODE")]
        sender: Option<AgencyId>,
        /// The kept copy of a document that was withdrawn by agreement: for records and auditors.
        #[arg(long)]
        withdrawn: bool,
        /// Where to write it; a file that does not exist yet.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Record that the document was taken (ContentHandover).
    Confirm {
        #[command(flatten)]
        node: NodeArgs,
        /// The envelope.
        envelope: EnvelopeId,
        /// The receiving agency's code.
        #[arg(long)]
        code: AgencyId,
        /// The sending agency's code; needed where several senders used this envelope id.
        #[arg(long, value_name = "CODE")]
        sender: Option<AgencyId>,
        /// It could not be taken, and why (ContentHandoverFailure).
        #[arg(long, value_name = "REASON")]
        refuse: Option<String>,
    },
    /// Send a business status about a document: 01 to 06, 15, 16 to its sender, 13 to a recipient.
    Status {
        #[command(flatten)]
        node: NodeArgs,
        /// The document's envelope.
        envelope: EnvelopeId,
        /// The code that speaks.
        #[arg(long)]
        from: AgencyId,
        /// The counterpart; needed where a document has several recipients.
        #[arg(long)]
        to: Option<AgencyId>,
        /// The code of the agency that sent the document; needed where several senders used this envelope id.
        #[arg(long, value_name = "CODE")]
        sender: Option<AgencyId>,
        /// The status.
        code: StatusCode,
        /// Reason in words; required with 02.
        #[arg(long, default_value = "")]
        reason: String,
        /// The officer.
        #[arg(long, default_value = "")]
        staff: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum OutboxCommand {
    /// Take a sent document back, from some recipients or all.
    ///
    /// What has not left yet is withdrawn at once; every other recipient is asked (status 13) and answers with 15, which closes its copy,
    /// or 16. `truc outbox ENVELOPE` shows how each one stands.
    Withdraw {
        #[command(flatten)]
        node: NodeArgs,
        /// The document's envelope.
        envelope: EnvelopeId,
        /// Why, for the recipients and the records.
        #[arg(long)]
        reason: String,
        /// Only from this recipient; repeat for several. Without it from all.
        #[arg(long, value_name = "CODE")]
        to: Vec<AgencyId>,
        /// The code of the agency that sent it; needed where the token covers several.
        #[arg(long, value_name = "CODE")]
        from: Option<AgencyId>,
        /// The officer.
        #[arg(long, default_value = "")]
        staff: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct DutiesArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Only of this agency.
    #[arg(long)]
    pub(crate) code: Option<AgencyId>,
    /// Only of documents sent (đi), or received (đến).
    #[arg(long = "box", value_name = "BOX", value_parser = ["sent", "received"])]
    pub(crate) of: Option<String>,
    /// Only what is due (sắp đến hạn), or late (quá hạn).
    #[arg(long, value_parser = ["due", "late"])]
    pub(crate) state: Option<String>,
    /// Most entries, at most 5000.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(crate) limit: u32,
}

#[derive(Args, Debug)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// The first day, yyyy-MM-dd. Everything about a document counts on the day that it was sent on, or came on.
    #[arg(long, value_name = "DAY")]
    pub(crate) from: truc_node::duties::Day,
    /// The last day; at most 366 days in all.
    #[arg(long, value_name = "DAY")]
    pub(crate) to: truc_node::duties::Day,
    /// Only this agency's.
    #[arg(long)]
    pub(crate) code: Option<AgencyId>,
    /// Write the table as CSV; a file that does not exist yet.
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write it as an Excel workbook; a file that does not exist yet.
    #[arg(long, value_name = "FILE")]
    pub(crate) xlsx: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct OutboxArgs {
    #[command(subcommand)]
    pub(crate) command: Option<OutboxCommand>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Only this envelope, with every step of every recipient.
    pub(crate) envelope: Option<EnvelopeId>,
    /// Only this agency's.
    #[arg(long)]
    pub(crate) code: Option<AgencyId>,
    /// Only documents with a recipient that this counter of `truc status` counts, of those still in memory (docs/DUTIES.md).
    #[arg(long, value_name = "COUNTER", conflicts_with = "all", value_parser = ["unsent", "failed", "returned", "withdrawn", "late"])]
    pub(crate) state: Option<String>,
    /// Those too whose recipients are all final.
    #[arg(long)]
    pub(crate) all: bool,
}

/// All words must be in the document; with or without diacritics, in any order, whole words. A number as it is written, or its beginning:
/// `15/VPCP-KSTT`, `15/VPCP`. The year is a word, too: `nghi dinh 30 2020`. Exit code 1: none found.
#[derive(Args, Debug)]
pub(crate) struct DocumentSearchArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// What the document has in its number and notation, type, subject or year.
    #[arg(required_unless_present_any = ["from", "to"])]
    pub(crate) words: Vec<String>,
    /// Only this agency's, as sender or recipient.
    #[arg(long)]
    pub(crate) code: Option<AgencyId>,
    /// From this year, month or day of the document on: 2023, 2023-05 or 2023-05-17.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// To the end of this year, month or day.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Only what was received (đến).
    #[arg(long = "in", conflicts_with = "sent")]
    pub(crate) received: bool,
    /// Only what was sent (đi).
    #[arg(long = "out")]
    pub(crate) sent: bool,
    /// Received documents too that were withdrawn by agreement.
    #[arg(long)]
    pub(crate) withdrawn: bool,
    /// At most so many, the newest.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

#[derive(Subcommand, Debug)]
pub(crate) enum ReceiptCommand {
    /// List the receipts a node holds of an envelope, or of a request (also one that the node refused).
    List {
        #[command(flatten)]
        node: NodeArgs,
        #[command(flatten)]
        about: ReceiptsOf,
    },
    /// Get one receipt, or all of an envelope or a request, as files.
    Get {
        #[command(flatten)]
        node: NodeArgs,
        #[command(flatten)]
        about: ReceiptsOf,
        /// Only this one, by its leaf hash as `receipt list` shows it (its first digits are enough).
        #[arg(long, value_name = "HASH")]
        leaf: Option<String>,
        /// Add what proves single files of the document.
        #[arg(long)]
        opening: bool,
        /// Folder to write to.
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
    /// Get all receipts about a document as one signed bundle, with business statuses, certificates, revocation lists and what was checked.
    Export(ExportArgs),
    /// Verify receipt files and bundles. Needs no node, no network and no configuration.
    Verify(VerifyArgs),
    /// Draw what receipts and bundles prove as a timeline for each recipient. Verifies them first: what does not hold is left out and said.
    Show(VerifyArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// The document's envelope.
    #[arg(long, value_name = "ENVELOPE")]
    pub(crate) document: EnvelopeId,
    /// Its sending agency's code; needed where several senders used this envelope id.
    #[arg(long, value_name = "CODE")]
    pub(crate) sender: Option<AgencyId>,
    /// Add what proves single files of the document, and the business statuses about it.
    #[arg(long)]
    pub(crate) opening: bool,
    /// File to write.
    #[arg(short, long, value_name = "FILE.zip")]
    pub(crate) out: PathBuf,
}

/// What receipts are about.
#[derive(Args, Debug)]
pub(crate) struct ReceiptsOf {
    /// The envelope.
    #[arg(required_unless_present = "idempotency_key")]
    pub(crate) envelope: Option<EnvelopeId>,
    /// The sending agency's code; needed with --idempotency-key, and where several senders used this envelope id.
    #[arg(long, value_name = "CODE")]
    pub(crate) sender: Option<AgencyId>,
    /// Instead of the envelope: the key of the request to send it, as `truc send` shows it when a request is refused.
    #[arg(long, value_name = "KEY", conflicts_with = "envelope", requires = "sender")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Receipt files and bundles.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Trust anchors (root certificates, with or without sub-CAs), PEM, or one in DER.
    #[arg(long, value_name = "ANCHORS.pem", required = true)]
    pub(crate) trust: PathBuf,
    /// The axis operator's certificate, PEM or DER.
    #[arg(long, value_name = "CERT.pem", required = true)]
    pub(crate) operator: PathBuf,
    /// Certificate revocation lists, PEM or DER; override the directory's status.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) crl: Vec<PathBuf>,
    /// OCSP answers (an OCSPResponse each, DER), as `openssl ocsp -respout` writes them; count beside those of a bundle.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) ocsp: Vec<PathBuf>,
    /// Which witnesses count and how many must have cosigned (C2SP tlog-policy); `truc directory policy` writes one.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// The container, or any file of it where the receipt carries its opening: proves that this is what was received.
    #[arg(long, value_name = "FILE")]
    pub(crate) document: Option<PathBuf>,
    /// Verify as of this time instead of now (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
    /// Where two of these receipts, in bundles or not, show two histories of one ledger: write both checkpoints there, for `truc fork show`.
    #[arg(long, value_name = "FILE.fork")]
    pub(crate) fork_out: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum ForkCommand {
    /// Verify both checkpoints and say who showed two histories, when each was signed, what that proves and what to do.
    Show(ForkShowArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ForkShowArgs {
    /// The file (*.fork).
    pub(crate) file: PathBuf,
    /// The signed directory that lists the ledger: a `*.directory` file, or the folder of a node, a relay or the operator that holds one.
    #[arg(long, value_name = "FILE|DIR", requires_all = ["trust", "operator"], required_unless_present = "key")]
    pub(crate) dir: Option<PathBuf>,
    /// With --dir: trust anchors, PEM, or one in DER.
    #[arg(long, value_name = "ANCHORS.pem", requires = "dir")]
    pub(crate) trust: Option<PathBuf>,
    /// With --dir: the axis operator's certificate, PEM or DER.
    #[arg(long, value_name = "CERT.pem", requires = "dir")]
    pub(crate) operator: Option<PathBuf>,
    /// With --dir: certificate revocation lists, PEM or DER.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "dir")]
    pub(crate) crl: Vec<PathBuf>,
    /// Instead of a directory: the ledger's key, known from elsewhere (`name+id+base64`, C2SP vkey).
    #[arg(long, value_name = "VKEY", conflicts_with = "dir")]
    pub(crate) key: Option<NoteKey>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum ContainerCommand {
    /// Check a container: form, digests, signature, certificate.
    Verify {
        /// The container (.asice).
        file: PathBuf,
        /// Trust anchors, PEM, or one in DER.
        #[arg(long, value_name = "ANCHORS.pem", required = true)]
        trust: PathBuf,
        /// Certificate revocation lists, PEM or DER.
        #[arg(long, value_name = "FILE", num_args = 1..)]
        crl: Vec<PathBuf>,
        /// Verify as of this time instead of the signing time (RFC 3339).
        #[arg(long, value_name = "TIME")]
        at: Option<Timestamp>,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum EdxmlCommand {
    /// Print every field read and each warning.
    Check {
        /// The packet.
        file: PathBuf,
    },
}

/// A time-stamp on what is signed.
#[derive(Args, Debug)]
pub(crate) struct StampArgs {
    /// Time-stamping authority (RFC 3161), asked in turn where there are several; with `=OID` behind it a policy is asked for. Receipts under this
    /// version then outlive the operator's certificate.
    #[arg(long = "tsa", value_name = "URL[=OID]")]
    pub(crate) tsa: Vec<StampServer>,
    /// Certificates that authorities over https are trusted by, PEM. Default: those of `--trust`, which time-stamps are judged by always.
    #[arg(long, value_name = "FILE", requires = "tsa")]
    pub(crate) tsa_anchors: Option<PathBuf>,
    /// Sign without a time-stamp where no authority gives one.
    #[arg(long, requires = "tsa")]
    pub(crate) tsa_optional: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum DirectoryCommand {
    /// Show a signed directory, or what it says of one code, node or name.
    Show {
        /// A `*.directory` file, or the folder of a node, a relay or the operator that holds one.
        #[arg(long, value_name = "FILE|DIR")]
        dir: PathBuf,
        #[command(flatten)]
        trust: OperatorTrust,
        /// An agency code, node id, or words of a name (with or without diacritics).
        query: Option<String>,
    },
    /// Add binding requests to the draft of the next version (operator).
    Add {
        /// The operator's directory folder; made when absent.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Binding requests that `truc-node init` and `truc-relay init` wrote.
        #[arg(value_name = "FILE.binding", required_unless_present = "codes")]
        bindings: Vec<PathBuf>,
        #[command(flatten)]
        trust: OperatorTrust,
        /// Codes without a node: a CSV file as `truc directory import` takes it, or `level1` for the built-in list of
        /// level-1 codes. Codes that the draft holds already stay as they are.
        #[arg(long, value_name = "FILE.csv|level1")]
        codes: Option<String>,
        /// You have checked with the agencies that sealing certificates no signature proves are theirs.
        #[arg(long)]
        confirm_sealing: bool,
        /// You have checked with the agencies that requests no current or parent key signed are theirs (always so in version 1).
        #[arg(long)]
        confirm_endorsement: bool,
    },
    /// Say in the draft that a certificate is revoked or suspended, good again, or over from a day on (operator).
    Certificate {
        /// The operator's directory folder.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        #[command(flatten)]
        trust: OperatorTrust,
        /// SHA-256 of the certificate; every entry that has it is changed.
        #[arg(value_name = "SHA256", required_unless_present = "from", conflicts_with = "from")]
        certificate: Option<Digest>,
        #[command(flatten)]
        state: CertificateState,
        /// The request is signed by the node's ledger key alone, and it was made sure by other means who asks.
        #[arg(long, requires = "from")]
        confirm: bool,
    },
    /// Sign the draft as the next version (operator's key).
    Sign {
        /// The operator's directory folder.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        #[command(flatten)]
        trust: OperatorTrust,
        /// The operator's certificate and chain, PEM.
        #[arg(long, value_name = "CERT.pem")]
        certificate: PathBuf,
        /// The operator's private key, PEM (PKCS#8, mode 0600).
        #[arg(long, value_name = "KEY.pem")]
        key: PathBuf,
        /// Days until a newer version must be there.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=400))]
        valid_days: u64,
        #[command(flatten)]
        stamps: StampArgs,
    },
    /// Write a policy of the witnesses that a signed directory lists, for `truc receipt verify --policy` and the verify page.
    ///
    /// Enough are the relay, or so many nodes; nobody counts for its own ledger. Read it before you rely on it: it is you who says whom you believe.
    Policy {
        /// A `*.directory` file, or the folder of a node, a relay or the operator that holds one.
        #[arg(long, value_name = "FILE|DIR")]
        dir: PathBuf,
        #[command(flatten)]
        trust: OperatorTrust,
        /// How many nodes are asked for under what the relay signed. Default: 2.
        #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=1_000))]
        quorum: Option<u64>,
    },
    /// Publish the newest signed version to the relay, behind those that it does not have yet.
    Publish(PublishArgs),
    /// Find agencies by code, old code or words of their names.
    ///
    /// Words may stand in any order, without diacritics, and need only their beginnings: `so y te ha noi`. Asks a node, or
    /// looks into a file with --dir.
    Search(SearchArgs),
    /// Prove which certificates were ever bound to a code, and which one at a time.
    ///
    /// Asks a node, which asks the relay, for every version of the directory there ever was, and verifies them: operator's signatures, the chain
    /// that leaves none out, each one's place in the relay's ledger. With --out what was proven is kept as a file; --file verifies such a file,
    /// off line.
    Audit(AuditArgs),
    /// Take a CSV list of codes into the draft of the next version (operator).
    ///
    /// Shows additions, closings, renamings and other changes, and what is wrong with the list, by line. The draft changes
    /// only when nothing is wrong. Columns: docs/DIRECTORY.md.
    Import(ImportArgs),
}

#[derive(Args, Debug)]
#[group(id = "state", required = true, multiple = false)]
pub(crate) struct CertificateState {
    /// For ever, since this moment: `now`, or a time such as 2026-11-22T08:00:00+07:00. What was signed before stays good.
    #[arg(long, value_name = "SINCE")]
    pub(crate) revoked: Option<String>,
    /// Until it is restored, since this moment.
    #[arg(long, value_name = "SINCE")]
    pub(crate) suspended: Option<String>,
    /// Good again, after a suspension.
    #[arg(long)]
    pub(crate) restored: bool,
    /// Over from this moment on, as after a rotation; not before now.
    #[arg(long, value_name = "TIME")]
    pub(crate) ends: Option<String>,
    /// What a node's `*.revocation` file asks for (`truc cert revoke`): its signatures are checked first.
    #[arg(long, value_name = "FILE.revocation")]
    pub(crate) from: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct SearchArgs {
    /// Words: beginnings of a code, of an old code, or of words of the name. None: all agencies, with --under a part.
    #[arg(value_name = "WORD")]
    pub(crate) words: Vec<String>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Only this code and the codes below it.
    #[arg(long, value_name = "CODE")]
    pub(crate) under: Option<AgencyId>,
    /// Most agencies to show.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) limit: u32,
    /// Look into this `*.directory` file, or the folder of a node or the operator that holds one, instead of asking a node.
    #[arg(long, value_name = "FILE|DIR", requires_all = ["trust", "operator"])]
    pub(crate) dir: Option<PathBuf>,
    /// With --dir: trust anchors, PEM, or one in DER.
    #[arg(long, value_name = "ANCHORS.pem", requires = "dir")]
    pub(crate) trust: Option<PathBuf>,
    /// With --dir: the axis operator's certificate, PEM or DER.
    #[arg(long, value_name = "CERT.pem", requires = "dir")]
    pub(crate) operator: Option<PathBuf>,
    /// With --dir: certificate revocation lists, PEM or DER.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "dir")]
    pub(crate) crl: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// The code. With --file it must be the file's.
    #[arg(value_name = "CODE", required_unless_present = "file")]
    pub(crate) code: Option<AgencyId>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) trust: OperatorTrust,
    /// Verify this audit instead of asking a node.
    #[arg(long, value_name = "FILE.audit", conflicts_with = "out")]
    pub(crate) file: Option<PathBuf>,
    /// Keep the audit in this file (it must not exist yet).
    #[arg(short, long, value_name = "FILE.audit")]
    pub(crate) out: Option<PathBuf>,
    /// Say what was bound to the code at this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
}

#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// The list: CSV (RFC 4180), UTF-8; its first line names the columns.
    #[arg(value_name = "FILE.csv", required_unless_present = "level1", conflicts_with = "level1")]
    pub(crate) file: Option<PathBuf>,
    /// The built-in list of level-1 codes, with their closings and successors.
    #[arg(long)]
    pub(crate) level1: bool,
    /// The operator's directory folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) trust: OperatorTrust,
    /// Show what would change, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// The operator's directory folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) trust: OperatorTrust,
    /// The relay's address, host:port.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) relay: String,
    /// The relay's id. Default: the relay that the version names.
    #[arg(long, value_name = "ID")]
    pub(crate) relay_id: Option<NodeId>,
    /// TLS certificate and chain to connect with: the operator's, a node's or the relay's own, PEM.
    #[arg(long, value_name = "CERT.pem")]
    pub(crate) tls_certificate: PathBuf,
    /// Its private key, PEM.
    #[arg(long, value_name = "KEY.pem")]
    pub(crate) tls_key: PathBuf,
}

/// What makes a directory believable.
#[derive(Args, Debug, Clone)]
pub(crate) struct OperatorTrust {
    /// Trust anchors (root certificates, with or without sub-CAs), PEM.
    #[arg(long, value_name = "ANCHORS.pem", required = true)]
    pub(crate) trust: PathBuf,
    /// The axis operator's certificate, PEM.
    #[arg(long, value_name = "CERT.pem", required = true)]
    pub(crate) operator: PathBuf,
    /// Certificate revocation lists, PEM or DER.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) crl: Vec<PathBuf>,
}
