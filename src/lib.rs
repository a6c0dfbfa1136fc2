//! Lock-free event pipeline for network tests.
#![deny(missing_docs)]

pub mod dedup;
pub mod event;
