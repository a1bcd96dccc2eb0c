//! `truc-relay`
fn main() {}
