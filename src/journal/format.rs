//! What the bytes of a journal mean: blocks and their headers, checksums, names of files, compressed segments.
//!
//! The byte diagram of segments and blocks is in [`crate::journal`]. Nothing here opens or writes a file.
//!
//! # Compressed segments
//!
//! `00000007.journal.zst` holds the bytes of `00000007.journal`, without the zeros behind its end, as Zstandard frames
//! in the [seekable format](https://github.com/facebook/zstd/blob/dev/contrib/seekable_format/zstd_seekable_compression_format.md):
//! `zstd -d` gives the segment back. Numbers are little-endian.
//!
//! ```text
//! file        ┌───────┬───────┬ ─ ─ ┬───────┬────────┬────────────┐
//!             │ frame │ frame │     │ frame │ checks │ seek table │
//!             └───────┴───────┴ ─ ─ ┴───────┴────────┴────────────┘
//!
//! checks       0  magic 0x184d2a5d 4,  4  bytes that follow 4,  8  CRC-32C of each frame as it lies in the file 4 each,
//!              at the end  CRC-32C of these and the seek table 4
//!
//! seek table   0  magic 0x184d2a5e 4,  4  bytes that follow 4,
//!              8  an entry for each frame: its bytes in the file 4, unpacked 4; the last one is that of the checks, which
//!                 unpack to nothing
//!              at the end  entries 4, 0 1, magic 0x8f92eab1 4
//! ```
//!
//! - A block of 64 KiB or more begins a frame that holds its first 4,096 bytes, header and table included, and has
//!   another for the rest: a seek unpacks the headers alone. Smaller blocks share frames of some 256 KiB.
//! - Every frame says how long it is unpacked: at most 8 MiB, and at most 1,024 times what it takes in the file. One that
//!   says anything else is refused before a byte is allocated for it.
//! - A frame that cannot be unpacked reads as bytes of 0xff, which are no block: its reader finds damage at that place,
//!   says so by the table in [`crate::journal`], and goes on behind it.
//! - Without a sound seek table the frames are found one after another from the start. What is left of the file then
//!   reads as damage too.

pub(super) mod block;
pub(super) mod compressed;
pub(super) mod definition;
mod header;
pub(super) mod marks;
pub(super) mod names;
#[cfg(feature = "zstd")]
pub(super) mod seekable;
pub(super) mod select;

pub use header::*;
