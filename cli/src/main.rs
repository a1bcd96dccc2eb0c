//! `truc`: the tool of officers and cipher administrators.
fn main() {}
