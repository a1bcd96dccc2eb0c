//! `truc-node`
fn main() {}
