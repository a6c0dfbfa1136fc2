//! The command `panther-events`.
fn main() {}
