//! Lock-free event pipeline for network tests.
#![deny(missing_docs)]

pub mod event;
pub mod ingest;
