//! Lock-free event pipeline for network tests.
#![deny(missing_docs)]

pub mod event;
#[cfg(feature = "journal")]
pub mod journal;
