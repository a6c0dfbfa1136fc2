//! A segment while it is written: a preallocated file and the place of its next block.

use crate::journal::block::{Block, Stamp};
use crate::journal::durability::Marks;
use crate::journal::format::{BlockHeader, BlockKind, EndReason, Position, RunId, Totals};
use crate::journal::storage::{StorageFile, write_all_at};
use std::io;

/// What synced bytes never share with later writes: a page.
pub(crate) const PAGE_LEN: u64 = 4096;

/// Room kept in every segment for its end block.
pub(crate) const END_ROOM: u64 = 2 * PAGE_LEN;

/// The end of a segment that the next one links to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tail {
    pub(crate) end: Position,
    /// The last block's header checksum.
    pub(crate) crc: u32,
}

/// The parts of a stamp that are the journal's, not the segment's.
pub(crate) struct JournalStamp {
    pub(crate) run: RunId,
    pub(crate) synced: Position,
    pub(crate) oldest_segment: u32,
    pub(crate) totals: Totals,
    pub(crate) written_ns: u64,
}

/// An open segment.
pub(crate) struct Segment {
    pub(crate) file: Box<dyn StorageFile>,
    pub(crate) name: String,
    pub(crate) number: u32,
    /// Where the next block goes.
    pub(crate) offset: u64,
    /// Bytes reserved for blocks, the end block included.
    pub(crate) limit: u64,
    pub(crate) opened_ns: u64,
    pub(crate) records: u64,
    /// Of these, later sightings of an event.
    pub(crate) duplicates: u64,
    /// How many of the journal's definitions are in this segment.
    pub(crate) definitions: usize,
    /// Whether the losses so far are in this segment.
    pub(crate) loss_written: bool,
    /// Whether the file's name survives a power cut.
    pub(crate) dir_synced: bool,
    /// The end of what is synced; offset 0 when nothing is.
    pub(crate) synced: Tail,
    blocks: u32,
    last_crc: u32,
}

impl Segment {
    pub(crate) fn new(
        file: Box<dyn StorageFile>,
        number: u32,
        limit: u64,
        now_ns: u64,
        previous_crc: u32,
    ) -> Segment {
        Segment {
            file,
            name: segment_name(number),
            number,
            offset: 0,
            limit,
            opened_ns: now_ns,
            records: 0,
            duplicates: 0,
            definitions: 0,
            loss_written: false,
            dir_synced: false,
            synced: Tail { end: Position { segment: number, offset: 0 }, crc: previous_crc },
            blocks: 0,
            last_crc: previous_crc,
        }
    }

    /// Writes `block` as the segment's next, its end brought to a multiple of `end_align`.
    pub(crate) fn append(
        &mut self,
        block: &mut Block,
        stamp: &JournalStamp,
        marks: &Marks,
        end_align: u64,
    ) -> io::Result<BlockHeader> {
        let stamp = Stamp {
            run: stamp.run,
            at: Position { segment: self.number, offset: self.offset },
            block: self.blocks,
            previous: self.last_crc,
            synced: stamp.synced,
            oldest_segment: stamp.oldest_segment,
            totals: stamp.totals,
            written_ns: stamp.written_ns,
            end_align,
        };
        let (header, bytes) = block.encode(&stamp, marks);
        write_all_at(&*self.file, bytes, self.offset)?;
        self.offset += u64::from(header.len);
        self.blocks += 1;
        self.records += u64::from(header.records);
        self.duplicates += block.duplicates;
        self.last_crc = header.header_crc;
        Ok(header)
    }

    /// Writes the end block.
    pub(crate) fn end(&mut self, reason: EndReason, stamp: &JournalStamp, marks: &Marks) -> io::Result<()> {
        self.append(&mut Block::of_bytes(BlockKind::End, &reason.encode()), stamp, marks, 1).map(drop)
    }

    /// Returns the end of what is written.
    pub(crate) fn tail(&self) -> Tail {
        Tail { end: Position { segment: self.number, offset: self.offset }, crc: self.last_crc }
    }

    /// Tells whether a block of `len` bytes fits, with room left for the end block.
    pub(crate) fn fits(&self, len: u64) -> bool {
        self.offset + len + END_ROOM <= self.limit
    }
}

const SUFFIX: &str = ".journal";
const COMPRESSED_SUFFIX: &str = ".zst";
#[cfg(feature = "zstd")]
const PARTIAL_SUFFIX: &str = ".partial";

/// In which form a file holds a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// As it was written.
    Plain,
    /// As [`crate::journal::compressed`] has it.
    Compressed,
}

/// Returns the file name of segment `number`.
pub(super) fn segment_name(number: u32) -> String {
    format!("{number:08}{SUFFIX}")
}

/// Returns the file name of segment `number` once it is compressed.
pub(super) fn compressed_name(number: u32) -> String {
    segment_name(number) + COMPRESSED_SUFFIX
}

/// Returns the name that the compressed file of segment `number` has until it is whole.
#[cfg(feature = "zstd")]
pub(super) fn partial_name(number: u32) -> String {
    compressed_name(number) + PARTIAL_SUFFIX
}

/// Tells whether a file of this name is the beginning of a compressed one.
#[cfg(feature = "zstd")]
pub(super) fn is_partial(name: &str) -> bool {
    let whole = name.strip_suffix(PARTIAL_SUFFIX).and_then(parse_name);
    whole.is_some_and(|(_, form)| form == Form::Compressed)
}

/// Returns the number of the segment that a file of this name holds, and in which form.
pub(super) fn parse_name(name: &str) -> Option<(u32, Form)> {
    let (plain, form) = match name.strip_suffix(COMPRESSED_SUFFIX) {
        Some(plain) => (plain, Form::Compressed),
        None => (name, Form::Plain),
    };
    let number = plain.strip_suffix(SUFFIX)?.parse().ok()?;
    (plain == segment_name(number)).then_some((number, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_other_names_are_none() {
        for number in [0, 7, 99_999_999, 100_000_000, u32::MAX] {
            assert_eq!(parse_name(&segment_name(number)), Some((number, Form::Plain)));
            assert_eq!(parse_name(&compressed_name(number)), Some((number, Form::Compressed)));
        }
        for name in [
            "LOCK",
            "1.journal",
            "00000001.journal.tmp",
            "+0000001.journal",
            "00000001",
            "00000001.zst",
            "00000001.journal.zst.zst",
            "00000001.journal.zst.partial",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }
}
