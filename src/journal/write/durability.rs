//! What a journal promises, as a type; and where the records are that its writer was given.

use crate::directory::size_hint;
use std::io;
use std::time::Duration;

/// What must happen before a record is safe.
///
/// | | the process is killed | the power is cut |
/// |---|---|---|
/// | [`Buffered`](Durability::Buffered) | loses up to a block, and what is in memory after write errors | loses any part |
/// | [`ProcessCrash`](Durability::ProcessCrash) | loses nothing that `append` took | loses any part |
/// | [`PowerLoss`](Durability::PowerLoss) | loses up to a block | loses what came after the last sync |
///
/// Whatever is lost is lost from the end: the journal read back is a prefix of each source's records. A journal
/// that was closed in order is synced under every durability, and loses nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Durability {
    /// Survives nothing but a clean end.
    ///
    /// *On a kill*: the block that was being filled is gone (at most
    /// [`block_len`](crate::journal::Options::block_len) bytes). *On a power cut*: everything since the journal
    /// was opened may be gone.
    Buffered,
    /// Survives the process: when `append` returns, its records are in the operating system's page cache.
    ///
    /// *On a kill*: nothing that `append` returned for is gone, unless the writer was
    /// [stalled](crate::journal::JournalWriter::stall). *On a power cut*: everything since the journal was
    /// opened may be gone.
    ProcessCrash,
    /// Survives the machine, up to the watermark: the journal is synced at least every `every`.
    ///
    /// *On a kill*: the block that was being filled is gone. *On a power cut*: everything after the
    /// [`watermark`](crate::journal::JournalWriter::watermark) may be gone, nothing before it. The promise needs
    /// a disk that tells the truth about its own cache.
    PowerLoss {
        /// The longest time between a record's `append` and its sync, given calls of
        /// [`tick`](crate::journal::JournalWriter::tick) at least every quarter of it.
        every: Duration,
    },
}

/// Where the records that a writer was given are now. At any moment
/// `offered = stored + pending + skipped + lost`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JournalAccount {
    /// Records given to `append`.
    pub offered: u64,
    /// Records written to the journal and readable from it, or removed by retention since.
    pub stored: u64,
    /// Records held in memory: the block being filled, and blocks that wait for the disk.
    pub pending: u64,
    /// Records that were not selected.
    pub skipped: u64,
    /// Records that could not be written and are no longer held, and those of `removed`.
    pub lost: u64,
    /// Of the lost records, those that were later sightings of an event.
    pub lost_duplicates: u64,
    /// Of the lost records, those that were in the segment that somebody removed while it was written.
    pub removed: u64,
    /// Of the lost records, those that the system gave no memory for.
    pub lost_out_of_memory: u64,
    /// Records lost before they reached the journal, as the caller told.
    pub lost_upstream: u64,
    /// Names and details taken.
    pub definitions: u64,
    /// Names and details refused: for what [`DefineError`](crate::journal::DefineError) says, and where there was no memory for them.
    pub definitions_refused: u64,
    /// Blocks written, of all kinds.
    pub blocks: u64,
    /// Segments begun.
    pub segments: u64,
    /// Segments left after an error, their end cut to what was certain.
    pub segments_suspect: u64,
    /// Segments removed by retention.
    pub segments_retired: u64,
    /// Segments compressed.
    pub segments_compressed: u64,
    /// Syncs of what was written that succeeded.
    pub syncs: u64,
    /// Operations on the disk that failed, and writes for which there was no memory; interrupted calls that went through on
    /// repetition are not counted.
    pub errors: u64,
}

/// Why [`JournalWriter::close`](crate::journal::JournalWriter::close) could not end the journal in order.
#[derive(Debug, thiserror::Error)]
#[error(
    "the journal was not closed in order: {source}{}; {} of its records are lost, the rest can be read",
    size_hint(source), account.lost
)]
pub struct CloseError {
    /// What the operating system said.
    pub source: io::Error,
    /// The final account.
    pub account: Box<JournalAccount>,
}
