//! What a journal promises, as a type; and up to where the promise holds, by source.

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

/// One source's part of a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// The number of the source's last record; `None` when there is no record of it.
    pub last: Option<u32>,
    /// Records of the source.
    pub records: u64,
}

/// Marks by source: a watermark. Everything of a source up to its mark is safe in the sense of the journal's
/// [`Durability`], unless somebody removes files ([`JournalAccount::removed`]).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    by_source: Vec<Mark>,
    records: u64,
}

impl Marks {
    pub(crate) const NONE: Marks = Marks { by_source: Vec::new(), records: 0 };

    /// Returns the mark of `source`.
    #[must_use]
    pub fn get(&self, source: u16) -> Mark {
        self.by_source.get(usize::from(source)).copied().unwrap_or_default()
    }

    /// Returns the records of all sources.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Iterates over the sources that have records.
    pub fn iter(&self) -> impl Iterator<Item = (u16, Mark)> + '_ {
        self.by_source
            .iter()
            .enumerate()
            .filter(|(_, mark)| mark.records > 0)
            .map(|(at, mark)| (at as u16, *mark))
    }

    /// Adds `count` records of `source`, the last of them numbered `last`.
    pub(crate) fn advance(&mut self, source: u16, last: u32, count: u64) {
        let mark = self.entry(source);
        mark.last = Some(last);
        mark.records += count;
        self.records += count;
    }

    /// Sets the mark of a source.
    pub(crate) fn set(&mut self, source: u16, last: u32, records: u64) {
        let mark = self.entry(source);
        let old = std::mem::replace(mark, Mark { last: Some(last), records });
        self.records = self.records.saturating_sub(old.records) + records;
    }

    fn entry(&mut self, source: u16) -> &mut Mark {
        let at = usize::from(source);
        if at >= self.by_source.len() {
            self.by_source.resize(at + 1, Mark::default());
        }
        &mut self.by_source[at]
    }
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
    /// Of the lost records, those that this writer has written into files that somebody else has removed; as far as it was
    /// noticed, which is within a second.
    pub removed: u64,
    /// Records lost before they reached the journal, as the caller told.
    pub lost_upstream: u64,
    /// Names and details taken.
    pub definitions: u64,
    /// Names and details refused.
    pub definitions_refused: u64,
    /// Blocks written, of all kinds.
    pub blocks: u64,
    /// Segments begun.
    pub segments: u64,
    /// Segments left after an error, their end cut to what was certain.
    pub segments_suspect: u64,
    /// Segments removed by retention.
    pub segments_retired: u64,
    /// Segments that somebody else has removed, as far as it was noticed.
    pub segments_removed: u64,
    /// Segments compressed.
    pub segments_compressed: u64,
    /// Syncs of what was written that succeeded.
    pub syncs: u64,
    /// Operations on the disk that failed; interrupted calls that went through on repetition are not counted.
    pub errors: u64,
}
