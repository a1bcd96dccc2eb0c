//! Signatures, key envelopes, paths and key files as other crates use them, and as `openssl` sees them.

mod cms;
mod envelope;
mod keys;
mod openssl;
mod paths;
mod support;
