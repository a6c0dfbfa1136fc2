//! What a reader does with what it finds: the decision table.
//!
//! A block that is not what it should be can mean two things. Either it was synced once, and something damaged
//! it since: then what follows is good, and reading goes on behind the gap. Or it was never synced, and a crash
//! kept a part of what was written after it: then what follows came later than what is missing, and the journal
//! ends here, so that it stays a prefix of what each source sent. Every block's header says how far the writer
//! had synced, which tells the two apart.

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
pub(crate) enum Place {
    /// It was synced: some intact block says so.
    Synced,
    /// Nothing says that it was ever synced.
    Unsynced,
    /// The end of the last segment of a journal that a live process is writing.
    Growing,
}

impl Place {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Place; 3] = [Place::Synced, Place::Unsynced, Place::Growing];
}

/// What follows in the journal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Behind {
    /// No intact block.
    Nothing,
    /// An intact block of this journal.
    Blocks,
}

impl Behind {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Behind; 2] = [Behind::Nothing, Behind::Blocks];
}

/// What was found when everything behind a damaged place was looked at.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Surveyed {
    /// The last segment that has an intact block.
    pub(crate) last_with_blocks: Option<u32>,
}

/// What the reader does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Action {
    /// Hands the block out.
    Read,
    /// Goes on to the next segment; after the last one the journal has ended in order.
    NextSegment,
    /// Ends: the writer did not close the journal, but the last block is whole. Reported.
    EndUnclosed,
    /// Ends: what is here and behind is truncated. Reported, with the count of intact blocks among it.
    CutTail,
    /// Skips to the next intact block and names the gap by source and sequence range. Reported.
    Quarantine,
    /// Waits: a live writer will put a block here.
    Wait,
}

/// Decides what a reader does: the decision table.
///
/// [`ReadOptions::salvage`](crate::journal::ReadOptions::salvage) makes every place count as synced.
#[must_use]
pub(crate) const fn decide(found: Found, place: Place, behind: Behind) -> Action {
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
