//! What several tests need.
#![allow(dead_code, reason = "what needs a feature uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests are tests")]

#[cfg(feature = "pcap")]
pub(crate) mod captures;
pub(crate) mod dedup;
#[cfg(feature = "journal")]
pub(crate) mod journal;
pub(crate) mod random;
pub(crate) mod skip;
pub(crate) mod states;
pub(crate) mod verdicts;
