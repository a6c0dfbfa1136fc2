//! What the bytes of a journal mean: blocks and their headers, checksums, names of files, compressed segments.
//!
//! [`crate::journal`] has the byte diagrams. Nothing here opens, reads or writes a file.

pub(super) mod block;
pub(super) mod compressed;
mod header;
pub(super) mod marks;
pub(super) mod names;
#[cfg(feature = "zstd")]
pub(super) mod seekable;
pub(super) mod select;

pub use header::*;
