//! Exact deduplication, held against sets of the standard library.

mod oracle;
mod set;
mod spill;
mod windows;
