//! The relay: stores what nodes seal and hands it on. It sees who, when, how large and how urgent, and nothing of what is inside.
//!
//! [`core`] decides and knows no I/O; the shell around it owns sockets, journal, blobs and clocks.

pub mod core;
pub mod records;
