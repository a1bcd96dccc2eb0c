//! Reading what an officer trusts: anchors, intermediates, revocation lists, OCSP answers, from files named on the command line.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use truc_proto::{Policy, Timestamp, limits::TRUST_STORE_ITEMS_MAX};
use truc_signer::{Certificate, Crl, OcspAnswer, OcspAnswers, TrustStore};

use crate::{
    clock,
    exit::{Exit, ExitContext as _, Failure},
};

/// Reads a whole small file; its size is bounded by the parser that gets it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).or_exit(Exit::BadData, format!("cannot read {}", path.display()))
}

/// Certificates of a PEM file, or one in DER.
pub(crate) fn certificates(path: &Path) -> Result<Vec<Certificate>, Failure> {
    Certificate::from_file_bytes(&read(path)?)
        .or_exit(Exit::BadData, format!("{} is not a file of certificates", path.display()))
}

/// OCSP answers, as evidence judged at `now`.
pub(crate) fn answers(paths: &[PathBuf], now: Timestamp) -> Result<Arc<OcspAnswers>, Failure> {
    if paths.len() > TRUST_STORE_ITEMS_MAX {
        return Err(Failure::new(Exit::BadData, anyhow!("at most {TRUST_STORE_ITEMS_MAX} OCSP answers are taken")));
    }
    let answer = |path: &PathBuf| {
        OcspAnswer::from_der(&read(path)?).or_exit(Exit::BadData, format!("{} is no OCSP answer", path.display()))
    };
    let answers = paths.iter().map(answer).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(OcspAnswers::of(answers).as_of(now)))
}

/// A witness policy.
pub(crate) fn policy(path: &Path) -> Result<Policy, Failure> {
    Policy::parse(&read(path)?).or_exit(Exit::BadData, format!("{} is no witness policy", path.display()))
}

/// A trust store: self-issued certificates of `trust` are anchors, the others intermediates.
pub(crate) fn store(trust: &Path, crls: &[PathBuf]) -> Result<TrustStore, Failure> {
    let (anchors, intermediates) = certificates(trust)?.into_iter().partition(Certificate::is_self_issued);
    let mut lists = Vec::new();
    for path in crls {
        lists.extend(
            revocation_lists(path).or_exit(Exit::BadData, format!("{} is not a revocation list", path.display()))?,
        );
    }
    TrustStore::new(anchors, intermediates, lists)
        .map(|store| store.as_of(clock::now()))
        .or_exit(Exit::BadData, format!("{} cannot be trusted", trust.display()))
}

fn revocation_lists(path: &Path) -> anyhow::Result<Vec<Crl>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Crl::from_file_bytes(&bytes)?)
}
