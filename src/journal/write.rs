//! Writing a journal: the writer, its thread, and the observer that hands it a pipeline's events.

#[cfg(feature = "zstd")]
mod compress;
#[cfg(feature = "zstd")]
mod compressing;
mod delivery;
pub(super) mod durability;
mod ended;
pub(super) mod log;
pub(super) mod options;
mod resume;
mod segment;
mod stop;
pub(super) mod worker;
pub(super) mod writer;
