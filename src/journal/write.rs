//! Writing a journal: the writer, its thread, and the observer that hands it a pipeline's events.

mod batch;
#[cfg(feature = "zstd")]
mod compress;
#[cfg(feature = "zstd")]
mod compressing;
mod definitions;
mod delivery;
pub(super) mod durability;
mod ended;
pub(super) mod log;
mod losses;
pub(super) mod options;
mod queue;
mod references;
mod resume;
mod schema;
mod segment;
mod segments;
mod sources;
mod stop;
pub(super) mod worker;
pub(super) mod writer;
