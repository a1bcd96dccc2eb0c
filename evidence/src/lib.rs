//! Builds and verifies submissions, events, receipts and directory roots: where ledger and signer meet.
