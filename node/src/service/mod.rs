//! What document systems may ask of a node, whatever protocol they ask in: send, list, fetch, confirm, statuses, receipts. The
//! faces (`api`: gRPC; `rest`: REST/JSON; `sdk`: the axis SDK's) find out who calls and translate; what is done, and for whom, is decided here, over
//! the core. Requests and replies are the messages of `truc.node.v1`.

pub(crate) mod administration;
mod alarms;
pub(crate) mod arrivals;
pub(crate) mod bundle;
pub(crate) mod caller;
pub(crate) mod certificates;
mod changes;
pub(crate) mod directory;
pub(crate) mod duties;
mod error;
pub(crate) mod found;
pub(crate) mod groups;
pub(crate) mod inbox;
mod links;
pub(crate) mod outbox;
mod pages;
pub(crate) mod pins;
pub(crate) mod receipts;
pub(crate) mod revocations;
pub mod roles;
pub(crate) mod search;
pub(crate) mod send;
pub(crate) mod statistics;
pub(crate) mod status;
pub(crate) mod uploads;
mod view;
pub(crate) mod webhooks;
pub(crate) mod withdraw;

use truc_proto::{AgencyId, EnvelopeId, Reason};

pub use error::{Error, ErrorKind};

/// What people read of a document from today's axis, in both languages.
pub(crate) fn came_from_today() -> String {
    view::border(truc_proto::EventUri::ReceivedFromNonErds)
}

use crate::{pipeline::Refusal, tokens::Grant};

/// A code that the caller may act for.
pub(crate) fn code(grant: &Grant, text: &str, field: &str) -> Result<AgencyId, Error> {
    let code: AgencyId = text.parse().map_err(|error| Error::invalid(format!("`{field}`: {error}")))?;
    if grant.allows(&code) {
        return Ok(code);
    }
    let detail = format!("the token `{}` may not act for {code}; use one that covers this code", grant.name);
    Err(Error::refused(ErrorKind::NotEntitled, &Refusal::new(Reason::NotEntitled, detail)))
}

fn envelope_id(text: &str) -> Result<EnvelopeId, Error> {
    text.parse().map_err(|error| Error::invalid(format!("`envelope`: {error}")))
}

fn busy() -> Error {
    Error::busy(
        "too much is open on this node; wait until documents are taken and confirmed, then try again / Nút đang quá tải; hãy thử lại sau",
    )
}

fn not_found() -> Error {
    Error::not_found(
        "this node knows no such envelope for the codes of this token / Không có gói tin này cho các mã của thẻ truy cập",
    )
}
