//! What administrators do to this node stands in its ledger, with who and why.

use truc_proto::Digest;

use super::Error;
use crate::{
    core::{Answer, Deed, Input},
    shell::Shell,
};

/// Writes down what was done; gives back the position of its record, which is on the device then (I1). `note`: SHA-256 of the file that it was left as.
pub(crate) async fn record(shell: &Shell, deed: Deed, note: Option<Digest>) -> Result<u64, Error> {
    let deed = Box::new(deed);
    match shell.engine.call(|reply| Input::Administer { deed, note, reply }).await? {
        Answer::Administered { position } => Ok(position),
        Answer::Unfit(why) => Err(Error::invalid(format!("{why} / Nội dung ghi sổ chưa đúng: {why}"))),
        other => Err(Error::internal(format!("an unexpected answer of the core: {other:?}"))),
    }
}
