//! Lock-free event pipeline for network tests.
#![deny(missing_docs)]

pub mod clock;
pub mod dedup;
pub mod domain;
pub mod emit;
pub mod event;
mod fence;
pub mod observe;
pub mod pipeline;
mod ring;
mod sync;
mod wait;
