//! All files that settings name, wherever they lie: a backup takes along what is not in the node's folder.

use std::path::{Path, PathBuf};

use super::Settings;

impl Settings {
    /// The files that they name outside the node's folder, each once. A token's driver belongs to the machine and is none of them.
    #[must_use]
    pub fn files_outside(&self) -> Vec<PathBuf> {
        let mut all: Vec<&Path> = vec![&self.ledger_key, &self.storage_key, &self.tokens, &self.trust.anchors];
        all.push(&self.trust.operator);
        all.extend(Some(self.witness_key.as_path()).filter(|path| path.exists()));
        all.extend(self.trust.intermediates.iter().chain(&self.trust.crls).map(PathBuf::as_path));
        let agencies = self.agencies.iter().flat_map(|agency| agency.service.iter().chain(&agency.sealing));
        let doors = self.sdk.iter().filter_map(|sdk| sdk.tls.as_ref());
        let doors = doors.chain(&self.local_tls).chain(self.rest.iter().filter_map(|rest| rest.tls.as_ref()));
        for key in self.tls_keys.iter().chain(&self.node_keys).chain(agencies).chain(doors) {
            all.extend(key.files());
        }
        let anchors = [
            self.rest.as_ref().and_then(|rest| rest.webhook_anchors.as_ref()),
            self.gateway.as_ref().and_then(|gateway| gateway.anchors.as_ref()),
            self.time_stamps.as_ref().and_then(|stamps| stamps.anchors.as_ref()),
            self.revocation.as_ref().and_then(|revocation| revocation.anchors.as_ref()),
            self.duties.calendar.as_ref(),
        ];
        all.extend(anchors.into_iter().flatten().map(PathBuf::as_path));
        let mut outside: Vec<PathBuf> =
            all.into_iter().filter(|path| !path.starts_with(&self.folder)).map(Path::to_owned).collect();
        outside.sort();
        outside.dedup();
        outside
    }
}
