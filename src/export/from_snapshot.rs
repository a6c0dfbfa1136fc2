//! From a pipeline to the plain values that formats take: what of a snapshot goes into which file, and the observer that
//! writes events as they come.
//!
//! The only part of [`export`](crate::export) that knows the pipeline and its observers. Besides what stands here, it is
//! where `Summary` is made of a snapshot.

#[cfg(feature = "csv")]
mod entity_states;
#[cfg(feature = "json")]
mod event_file;
#[cfg(feature = "openmetrics")]
mod exposition;
#[cfg(feature = "json")]
mod results;
#[cfg(feature = "json")]
mod summary;

#[cfg(feature = "csv")]
pub use entity_states::write_entity_states;
#[cfg(feature = "json")]
pub use event_file::{CommitError, EventFile, EventLog};
#[cfg(feature = "openmetrics")]
pub use exposition::{InputCounts, write_exposition};
