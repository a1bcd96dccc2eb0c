//! Code generated from `proto/truc/**/*.proto`; the comments there are the documentation.

#![expect(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

// The nesting mirrors the schema's packages, by which generated code names its neighbours.
pub mod wire {
    pub mod v1 {
        tonic::include_proto!("truc.wire.v1");
    }
}
pub mod relay {
    pub mod v1 {
        tonic::include_proto!("truc.relay.v1");
    }
}
pub mod node {
    pub mod v1 {
        tonic::include_proto!("truc.node.v1");
    }
}
pub use {node::v1 as node_v1, relay::v1 as relay_v1, wire::v1 as wire_v1};

/// The encoded `FileDescriptorSet` of all schemas, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/truc.descriptors"));
