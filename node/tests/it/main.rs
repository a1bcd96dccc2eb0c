//! Nodes and a relay over real sockets, each with its folder, keys and journal.

mod flows;
mod world;
