//! Mutual TLS with hot-swapped identities, accept loop and drain; shared by node and relay.
