//! What is told of a deduplication.

/// What a [`Dedup`](super::Dedup) holds and has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DedupStats {
    /// Ids remembered now.
    pub remembered: u64,
    /// Ids forgotten since the start because their window had passed.
    pub forgotten: u64,
    /// Records that came with a time older than what a sliding window remembers.
    pub late: u64,
    /// Records whose times were more than a sliding window ahead of all before, of which fewer than eight came one after the
    /// other: they moved no window. A wrong clock, or a damaged capture.
    pub wild: u64,
    /// Live epochs, the hot one included.
    pub epochs: u64,
    /// Bytes of memory held.
    pub memory_bytes: usize,
    /// Bytes of memory that the kernel holds in huge pages.
    pub huge_page_bytes: usize,
    /// Lookups that the filters answered with "certainly not on disk".
    pub filter_negatives: u64,
    /// Reads of a run for which a filter was the reason, and that found nothing.
    pub filter_false_positives: u64,
    /// Times ids began to move to a larger, smaller or cleaner table.
    pub growths: u64,
    /// Times no memory could be had to grow.
    pub growth_failures: u64,
    /// Ids that found their part of the table full and are kept beside it: a sign of crafted digests.
    pub overflowed: u64,
    /// Ids that lie on disk.
    pub spilled_ids: u64,
    /// Bytes on disk.
    pub spilled_bytes: u64,
    /// Duplicates that were found on disk, or on their way there.
    pub cold_hits: u64,
    /// Times cold ids could not be written; they stay in memory, over the budget.
    pub spill_write_failures: u64,
    /// Times cold ids could not be read: a duplicate may have passed as new.
    pub spill_read_failures: u64,
}
