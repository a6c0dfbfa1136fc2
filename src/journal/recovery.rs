//! What a reader does with what it finds: the decision table, and where a resumed run begins.
//!
//! A block that is not what it should be can mean two things. Either it was synced once, and something damaged
//! it since: then what follows is good, and reading goes on behind the gap. Or it was never synced, and a crash
//! kept a part of what was written after it: then what follows came later than what is missing, and the journal
//! ends here, so that it stays a prefix of what each source sent. Every block's header says how far the writer
//! had synced, which tells the two apart.

use crate::journal::delivery::ClosedSegment;
use crate::journal::format::{Position, RunId, Totals};
use crate::journal::options::OpenError;
use crate::journal::reader::{JournalReader, ReadError, ReadOptions};
use crate::journal::segment::{Form, Tail, parse_name};
use crate::journal::storage::Storage;
use std::collections::{BTreeMap, VecDeque};
use std::io;

/// What is where the next block should be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Found {
    /// An intact block that belongs there.
    Block,
    /// The end that the segment's end block, or the next segment's link, has announced.
    AnnouncedEnd,
    /// Nothing: the file's end, or zeros up to it.
    Nothing,
    /// Bytes that are no intact block.
    Damaged,
    /// An intact block of another run, another place, or another past.
    Foreign,
    /// An intact header of a version that this reader does not know.
    UnknownVersion,
    /// A segment of length 0, or of zeros only.
    EmptyFile,
    /// No file where a later segment says there is one.
    MissingSegment,
}

impl Found {
    /// All of them.
    pub const ALL: [Found; 8] = [
        Found::Block,
        Found::AnnouncedEnd,
        Found::Nothing,
        Found::Damaged,
        Found::Foreign,
        Found::UnknownVersion,
        Found::EmptyFile,
        Found::MissingSegment,
    ];
}

/// What is known of the place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// It was synced: some intact block says so.
    Synced,
    /// Nothing says that it was ever synced.
    Unsynced,
    /// The end of the last segment of a journal that a live process is writing.
    Growing,
}

impl Place {
    /// All of them.
    pub const ALL: [Place; 3] = [Place::Synced, Place::Unsynced, Place::Growing];
}

/// What follows in the journal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Behind {
    /// No intact block.
    Nothing,
    /// An intact block of this journal.
    Blocks,
}

impl Behind {
    /// All of them.
    pub const ALL: [Behind; 2] = [Behind::Nothing, Behind::Blocks];
}

/// What the reader does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Hands the block out.
    Read,
    /// Goes on to the next segment; after the last one the journal has ended in order.
    NextSegment,
    /// Ends: the writer did not close the journal, but the last block is whole. Reported.
    EndUnclosed,
    /// Ends: what is here and behind is cut off. Reported, with the count of intact blocks that were cut.
    CutTail,
    /// Skips to the next intact block and names the gap by source and sequence range. Reported.
    Quarantine,
    /// Waits: a live writer will put a block here.
    Wait,
}

/// Decides what a reader does: the decision table.
///
/// [`ReadOptions::salvage`] makes every place count as synced.
#[must_use]
pub const fn decide(found: Found, place: Place, behind: Behind) -> Action {
    use {Action as A, Behind as B, Found as F, Place as P};
    match (found, place, behind) {
        (F::Block, _, _) => A::Read,
        (F::AnnouncedEnd, _, _) => A::NextSegment,

        // A writer that lives has not come here yet. What it wrote, it wrote in order: with an intact block
        // behind, this is damage that no crash explains.
        (_, P::Growing, B::Nothing) => A::Wait,
        (_, P::Growing, B::Blocks) => A::Quarantine,

        // The end of a journal that was not closed. A synced place cannot hold nothing: it was cut or zeroed.
        (F::Nothing, P::Unsynced, B::Nothing) => A::EndUnclosed,
        (F::EmptyFile, P::Unsynced, B::Nothing) => A::EndUnclosed,
        (F::Nothing | F::EmptyFile, P::Synced, B::Nothing) => A::CutTail,

        // A torn tail.
        (F::Damaged | F::Foreign | F::UnknownVersion | F::MissingSegment, _, B::Nothing) => A::CutTail,

        // Damage in the middle, by what is known of the place.
        (_, P::Synced, B::Blocks) => A::Quarantine,
        (_, P::Unsynced, B::Blocks) => A::CutTail,
    }
}

/// Where a run goes on.
pub(super) struct Resume {
    pub(super) tail: Option<Tail>,
    pub(super) next_segment: u32,
    pub(super) totals: Totals,
    pub(super) synced: Position,
    pub(super) kept: VecDeque<ClosedSegment>,
    pub(super) oldest_segment: u32,
}

/// Finds the end of the journal in `storage`, and syncs what is there: what comes before a new segment must not
/// be less certain than what is in it.
pub(super) fn resume(storage: &dyn Storage, run: RunId, now_ns: u64) -> Result<Resume, OpenError> {
    #[cfg_attr(not(feature = "zstd"), allow(unused_mut, reason = "nothing to tidy"))]
    let mut resume = find_end(storage, run, now_ns)?;
    #[cfg(feature = "zstd")]
    crate::journal::compress::tidy(storage, &mut resume.kept);
    Ok(resume)
}

fn find_end(storage: &dyn Storage, run: RunId, now_ns: u64) -> Result<Resume, OpenError> {
    let io = |action: &'static str, name: &str| {
        let path = storage.path().join(name);
        move |source: io::Error| OpenError::Io { action, path, source }
    };
    let names = match storage.list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(io("list", ""))?,
    };
    let mut segments: BTreeMap<u32, ClosedSegment> = BTreeMap::new();
    for (number, form) in names.iter().filter_map(|name| parse_name(name)) {
        let kept = segments.entry(number).or_insert_with(|| ClosedSegment::found(number, now_ns));
        match form {
            Form::Plain => kept.plain = true,
            Form::Compressed => kept.compressed = true,
        }
    }
    let mut resume = Resume {
        tail: None,
        next_segment: segments.last_key_value().map_or(0, |(number, _)| number.saturating_add(1)),
        totals: Totals::default(),
        synced: Position::default(),
        kept: VecDeque::new(),
        oldest_segment: 0,
    };
    if segments.is_empty() {
        return Ok(resume);
    }
    let unreadable =
        |error: ReadError| OpenError::Unreadable { path: storage.path().to_owned(), why: error.to_string() };
    let mut reader = JournalReader::over(storage, ReadOptions::default()).map_err(unreadable)?;
    let Some(found) = reader.run() else {
        // Without a single intact block there is nothing to continue: a run that died while it began. What a later
        // version wrote is another matter.
        return if reader.unknown_version() {
            let why = "it was written by another version of the format".to_owned();
            Err(OpenError::Unreadable { path: storage.path().to_owned(), why })
        } else {
            Ok(resume)
        };
    };
    if found != run {
        return Err(OpenError::AnotherRun { path: storage.path().to_owned(), found, wanted: run });
    }
    // A journal that was closed is continued behind its end; any other where a reader stops, and what the reader
    // cuts off stays cut off.
    reader.go_to_step(reader.steps().saturating_sub(1));
    while reader.next_block().map_err(unreadable)?.is_some() {}
    if !reader.closed() {
        reader.go_to_step(0);
        while reader.next_block().map_err(unreadable)?.is_some() {}
    }
    resume.tail = reader.tail();
    resume.totals = reader.totals();
    resume.oldest_segment = reader.oldest_segment();
    let mut all_synced = true;
    for mut kept in segments.into_values() {
        kept.synced = true;
        for name in kept.names() {
            let file = storage.open(&name).map_err(io("open", &name))?;
            kept.synced &= file.sync().is_ok();
            kept.len += file.size().map_err(io("measure", &name))?;
        }
        all_synced &= kept.synced;
        resume.kept.push_back(kept);
    }
    if let Some(tail) = resume.tail.filter(|_| all_synced && storage.sync_dir().is_ok()) {
        resume.synced = tail.end;
    }
    Ok(resume)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// The table once more, row by row, as prose would have it.
    #[test]
    fn every_cell_of_the_decision_table_is_as_documented() {
        use {Action as A, Found as F};
        // Columns: (synced, nothing) (synced, blocks) (unsynced, nothing) (unsynced, blocks) (growing, nothing)
        // (growing, blocks).
        let rows: [(Found, [Action; 6]); 8] = [
            (F::Block, [A::Read; 6]),
            (F::AnnouncedEnd, [A::NextSegment; 6]),
            (F::Nothing, [A::CutTail, A::Quarantine, A::EndUnclosed, A::CutTail, A::Wait, A::Quarantine]),
            (F::Damaged, [A::CutTail, A::Quarantine, A::CutTail, A::CutTail, A::Wait, A::Quarantine]),
            (F::Foreign, [A::CutTail, A::Quarantine, A::CutTail, A::CutTail, A::Wait, A::Quarantine]),
            (F::UnknownVersion, [A::CutTail, A::Quarantine, A::CutTail, A::CutTail, A::Wait, A::Quarantine]),
            (F::EmptyFile, [A::CutTail, A::Quarantine, A::EndUnclosed, A::CutTail, A::Wait, A::Quarantine]),
            (F::MissingSegment, [A::CutTail, A::Quarantine, A::CutTail, A::CutTail, A::Wait, A::Quarantine]),
        ];
        let mut asserted = HashMap::new();
        for (found, row) in rows {
            let columns = Place::ALL.into_iter().flat_map(|place| Behind::ALL.map(|behind| (place, behind)));
            for ((place, behind), action) in columns.zip(row) {
                assert_eq!(decide(found, place, behind), action, "{found:?} {place:?} {behind:?}");
                asserted.insert((found, place, behind), action);
            }
        }
        assert_eq!(asserted.len(), Found::ALL.len() * Place::ALL.len() * Behind::ALL.len());
    }

    #[test]
    fn nothing_intact_is_skipped_and_nothing_damaged_is_read() {
        for found in Found::ALL {
            for place in Place::ALL {
                for behind in Behind::ALL {
                    let reads = decide(found, place, behind) == Action::Read;
                    assert_eq!(reads, found == Found::Block);
                }
            }
        }
    }
}
