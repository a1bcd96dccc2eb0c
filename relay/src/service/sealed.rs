//! Which certificates the envelopes that wait for a node are sealed to: read off their key envelopes, which nobody here can open.

use std::{collections::BTreeMap, sync::Arc};

use tonic::Status;
use truc_proto::{
    Digest, NodeId,
    limits::{CERTIFICATE_BYTES_MAX, NODE_KEYS_ASKED_MAX, SEALED_TO_LOOKED_MAX},
    relay_v1 as wire,
};
use truc_signer::{Certificate, is_sealed_to};

use super::{Service, blocking, refuse::Refusal};
use crate::{
    core::EnvelopeKey,
    store::{Store, StoreError},
};

impl<S: Store> Service<S> {
    pub(super) async fn sealed_to(
        self: &Arc<Self>,
        node: NodeId,
        request: wire::SealedToRequest,
    ) -> Result<wire::SealedToReply, Status> {
        let certificates = read(&request)?;
        let _one = Arc::clone(&self.audits).try_acquire_owned().map_err(|_| Refusal::from(StoreError::Busy))?;
        let list = self.store.undelivered(node).await?;
        let keys = list.envelopes.iter().take(SEALED_TO_LOOKED_MAX);
        let keys = keys.map(|(envelope, sender)| EnvelopeKey { sender: sender.clone(), envelope: *envelope }).collect();
        let found = self.store.find(keys).await?;
        let waiting: Vec<_> = list
            .envelopes
            .iter()
            .zip(found)
            .filter_map(|((_, sender), found)| Some((sender.clone(), found?.position)))
            .collect();
        let service = Arc::clone(self);
        let count = move || -> Result<_, StoreError> {
            let mut counts: BTreeMap<(Digest, String), u64> = BTreeMap::new();
            for (sender, position) in waiting {
                let (_, body, _) = service.accepted(position)?;
                for certificate in &certificates {
                    if body.key_envelopes.iter().any(|envelope| is_sealed_to(&envelope.cms, certificate)) {
                        *counts.entry((certificate.sha256(), sender.to_string())).or_default() += 1;
                    }
                }
            }
            Ok(counts)
        };
        let counts = blocking(count).await?.map_err(Refusal::from)?;
        let counts = counts.into_iter().map(|((certificate, sender), envelopes)| wire::SealedTo {
            certificate: certificate.as_bytes().to_vec().into(),
            sender,
            envelopes,
        });
        Ok(wire::SealedToReply { counts: counts.collect(), more: list.envelopes.len() > SEALED_TO_LOOKED_MAX })
    }
}

fn read(request: &wire::SealedToRequest) -> Result<Vec<Certificate>, Refusal> {
    if request.certificates.len() > NODE_KEYS_ASKED_MAX {
        return Err(Refusal::invalid(format!("at most {NODE_KEYS_ASKED_MAX} certificates at once")));
    }
    let certificate = |der: &bytes::Bytes| {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(Refusal::invalid("too long for a certificate"));
        }
        Certificate::from_der(der).map_err(|error| Refusal::invalid(format!("no certificate: {error}")))
    };
    request.certificates.iter().map(certificate).collect()
}
