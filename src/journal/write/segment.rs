//! A segment while it is written: a preallocated file and the place of its next block.

use crate::journal::format::Tail;
use crate::journal::format::block::{Block, Stamp};
use crate::journal::format::definition::{Definition, DefinitionKey};
use crate::journal::format::marks::Marks;
use crate::journal::format::names::segment_name;
use crate::journal::format::{BlockHeader, Position, RunId, Totals};
use crate::journal::storage::{Storage, StorageFile, write_all_at};
use crate::journal::write::sources::ToldSources;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;

/// What synced bytes never share with later writes: a page.
pub(crate) const PAGE_LEN: u64 = 4096;

/// Room kept in every segment for its end block.
pub(crate) const END_ROOM: u64 = 2 * PAGE_LEN;

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
    /// How many of the journal's own documents are in this segment.
    pub(crate) notes: usize,
    /// The definitions of records that are in this segment.
    pub(crate) defined: HashSet<DefinitionKey>,
    /// What is in this segment of sources.
    pub(crate) told: ToldSources,
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
            notes: 0,
            defined: HashSet::new(),
            told: ToldSources::default(),
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

    /// Remembers definitions that are in the segment. What there is no memory for may be written once more.
    pub(crate) fn note_defined(&mut self, definitions: &[Arc<Definition>]) {
        if self.defined.try_reserve(definitions.len()).is_ok() {
            let by_content = definitions.iter().filter(|definition| !definition.is_of_source());
            self.defined.extend(by_content.map(|definition| definition.key()));
        }
    }

    /// Makes what is written, and the file's name, durable.
    pub(crate) fn sync(&mut self, storage: &dyn Storage) -> io::Result<()> {
        self.file.sync()?;
        if !self.dir_synced {
            storage.sync_dir()?;
            self.dir_synced = true;
        }
        Ok(())
    }

    /// Tells whether the directory still names the file; it does where that cannot be found out.
    pub(crate) fn is_linked(&self) -> bool {
        self.file.is_linked().unwrap_or(true)
    }

    /// Cuts off what is behind `offset`.
    pub(crate) fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.offset)
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
