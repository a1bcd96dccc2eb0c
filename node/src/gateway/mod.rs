//! The gateway: this node as a client of today's axis, in both directions, for codes that are still reached there.
//!
//! What happens to a document there is decided by [`crate::core`]; here is the protocol's client side, with bounds on everything
//! that comes from it. Nothing that axis says becomes a file's name.

mod axis;
mod pass;
mod poll;
mod secret;
mod status;

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, bail};
use truc_proto::Lane;
use truc_signer::StorageKey;

use crate::settings::Settings;

pub use axis::{Axis, CallFailed, Posting, WritePacket};
pub use secret::{SecretError, forget_secret, keep_secret};

pub(crate) use pass::pass;
pub(crate) use poll::run;
pub(crate) use secret::rewrapped;

/// The gateway of a running node.
#[derive(Debug)]
pub struct Gateway {
    /// Today's axis.
    pub axis: Axis,
    /// The section of the settings.
    pub settings: crate::settings::GatewaySettings,
    /// Folder for what does not fit into memory.
    pub spool: PathBuf,
}

impl Gateway {
    /// Opens the gateway that settings name; none when they name none.
    ///
    /// # Errors
    /// When the secret or the anchors cannot be read, or the lane is not the ordinary one.
    pub fn open(settings: &Settings) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(section) = settings.gateway.clone() else { return Ok(None) };
        if settings.lane != Lane::Ordinary {
            bail!("nothing of the classified lane goes through today's axis: remove [gateway] from the settings");
        }
        let key = StorageKey::load(&settings.storage_key).context("load the storage key")?;
        let secret = secret::read(&settings.gateway_secret(), &key, &section.system)?;
        let anchors = section.trust().context("read the authorities of today's axis")?;
        let axis = Axis::new(section.endpoint.clone(), &section.system, &secret, &anchors, section.timeout)
            .context("prepare the gateway")?;
        Ok(Some(Arc::new(Self { axis, settings: section, spool: settings.spool() })))
    }
}
