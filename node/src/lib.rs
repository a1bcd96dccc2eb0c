//! The agency's node: stamps, signs, seals, sends and receives; local gRPC API.
