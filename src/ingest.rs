//! Readers of other programs' files: one module per input format.

#[cfg(feature = "panther")]
pub mod panther;
