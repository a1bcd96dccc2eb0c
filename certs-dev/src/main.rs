//! `truc-certs-dev`
fn main() {}
