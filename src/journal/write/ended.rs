//! Segments that have ended: what retention, syncs and compression have to know of them.

use crate::journal::format::names::{compressed_name, segment_name};

/// An ended segment, for retention, and for the sync when the journal is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ClosedSegment {
    pub(super) number: u32,
    /// The file as it was written is there.
    pub(super) plain: bool,
    /// The compressed file is there, and whole.
    pub(super) compressed: bool,
    /// Bytes that it takes.
    pub(super) len: u64,
    pub(super) ended_ns: u64,
    pub(super) synced: bool,
    /// Its sync failed when the journal was resumed: whatever a later one says, it is not certain.
    pub(super) doubtful: bool,
    /// It is to be compressed.
    pub(super) to_compress: bool,
}

impl ClosedSegment {
    /// A segment that an earlier writer left.
    pub(super) fn found(number: u32, now_ns: u64) -> ClosedSegment {
        ClosedSegment {
            number,
            plain: false,
            compressed: false,
            len: 0,
            ended_ns: now_ns,
            synced: false,
            doubtful: false,
            to_compress: false,
        }
    }

    /// The names of its files.
    pub(super) fn names(&self) -> impl Iterator<Item = String> + use<> {
        let plain = self.plain.then(|| segment_name(self.number));
        let compressed = self.compressed.then(|| compressed_name(self.number));
        plain.into_iter().chain(compressed)
    }
}
