//! What of the command `panther-events` can be tried without running it: what its options say.

pub mod filters;
