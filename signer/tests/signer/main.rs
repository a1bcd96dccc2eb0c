//! Signatures, key envelopes, paths and key files as other crates use them, and as `openssl` sees them.
// `cfg(test)` is always on here; clippy knows test helpers by it.

#[cfg(test)]
mod bettertls;
#[cfg(test)]
mod cms;
#[cfg(test)]
mod envelope;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod ocsp;
#[cfg(test)]
mod openssl;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod pades;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod pkits;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod support;
#[cfg(test)]
mod timestamps;
#[cfg(test)]
mod tokens;
#[cfg(test)]
#[path = "../../../node/tests/it/tools.rs"]
mod tools;
#[cfg(test)]
mod vectors;
