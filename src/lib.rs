//! Lock-free event pipeline for network tests.
#![deny(missing_docs)]

pub mod clock;
pub mod dedup;
pub mod domain;
pub mod emit;
pub mod event;
pub mod export;
pub mod ingest;
pub mod observe;
pub mod pipeline;

mod fence;
mod hash;
mod ring;
mod sync;
mod wait;
