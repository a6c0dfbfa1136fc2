//! Blocks of records on their way to the disk: one being filled, full ones in order, and empty ones to be used again.

use crate::event::{Origin, Record};
use crate::journal::format::block::{Block, Slots};
use crate::journal::write::definitions::Definitions;
use std::collections::VecDeque;
use std::io;

/// Empty blocks that are kept.
const SPARE_MAX: usize = 8;

/// The records that a writer holds.
pub(super) struct BlockQueue {
    block_len: usize,
    filling: Block,
    filling_since_ns: u64,
    slots: Slots,
    /// Full blocks, oldest first. The first `written` of them are in a segment and wait for their sync.
    full: VecDeque<Block>,
    written: usize,
    /// Since when the oldest of the full blocks waits.
    full_since_ns: Option<u64>,
    spare: Vec<Block>,
}

impl BlockQueue {
    pub(super) fn new(block_len: usize) -> io::Result<BlockQueue> {
        let mut spare = Vec::new();
        spare.try_reserve_exact(SPARE_MAX)?;
        // One is filled while another is written: who writes at once never needs a third.
        spare.push(Block::of_records(block_len)?);
        Ok(BlockQueue {
            block_len,
            filling: Block::of_records(block_len)?,
            filling_since_ns: 0,
            slots: Slots::new()?,
            full: VecDeque::new(),
            written: 0,
            full_since_ns: None,
            spare,
        })
    }

    /// Fills in as many of `records` as go into the block being filled, and returns how many; `is_duplicate` tells, by index,
    /// which are later sightings of an event. The block takes along what they refer to of `definitions`.
    pub(super) fn fill(
        &mut self,
        records: &[Record],
        origin: Origin,
        now_ns: u64,
        definitions: &mut Definitions,
        is_duplicate: impl Fn(usize) -> bool,
    ) -> usize {
        if self.filling.records() == 0 {
            self.filling_since_ns = now_ns;
            definitions.begin_block();
        }
        let taken = self.filling.push(&mut self.slots, origin, records, definitions);
        self.filling.duplicates += (0..taken).filter(|at| is_duplicate(*at)).count() as u64;
        taken
    }

    /// Tells whether the block being filled has records.
    pub(super) fn is_filling(&self) -> bool {
        self.filling.records() > 0
    }

    /// Tells whether the block being filled has records of `source`.
    pub(super) fn is_filling_of(&self, source: u16) -> bool {
        self.filling.spans().iter().any(|span| span.source == source)
    }

    /// Tells whether the block being filled has no room for another record.
    pub(super) fn is_filled(&self) -> bool {
        self.filling.is_full()
    }

    /// Ends the block being filled, if it has records; tells whether it had.
    ///
    /// # Errors
    /// When there is no memory for another one; nothing is changed then.
    pub(super) fn seal(&mut self) -> io::Result<bool> {
        if !self.is_filling() {
            return Ok(false);
        }
        self.full.try_reserve(1)?;
        let empty = match self.spare.pop() {
            Some(spare) => spare,
            None => Block::of_records(self.block_len)?,
        };
        self.full.push_back(std::mem::replace(&mut self.filling, empty));
        self.full_since_ns.get_or_insert(self.filling_since_ns);
        Ok(true)
    }

    /// Shows the block being filled, and empties it.
    pub(super) fn drop_filling(&mut self, dropped: impl FnOnce(&Block)) {
        dropped(&self.filling);
        self.filling.clear();
    }

    /// Returns since when the oldest records wait to be written, or to be synced.
    pub(super) fn waits_since_ns(&self) -> Option<u64> {
        let filling = self.is_filling().then_some(self.filling_since_ns);
        filling.into_iter().chain(self.full_since_ns).min()
    }

    /// Counts the records that are not written.
    pub(super) fn pending(&self) -> u64 {
        let full: usize = self.full.iter().skip(self.written).map(Block::records).sum();
        (full + self.filling.records()) as u64
    }

    /// Returns how much memory the full blocks take.
    pub(super) fn held_bytes(&self) -> usize {
        self.full.iter().map(Block::memory_bytes).sum()
    }

    /// Tells whether there is no full block.
    pub(super) fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// Returns how many full blocks are not written.
    pub(super) fn unwritten(&self) -> usize {
        self.full.len() - self.written
    }

    /// Tells whether blocks are written and wait for their sync.
    pub(super) fn has_written(&self) -> bool {
        self.written > 0
    }

    /// Returns the oldest block that is not written.
    pub(super) fn first_unwritten(&mut self) -> Option<&mut Block> {
        self.full.get_mut(self.written)
    }

    /// Takes in that the oldest block that was not written is so now.
    pub(super) fn mark_written(&mut self) {
        self.written = self.full.len().min(self.written + 1);
    }

    /// Takes the written blocks for not written, and returns how many records they have.
    pub(super) fn forget_written(&mut self) -> u64 {
        let written = std::mem::take(&mut self.written);
        self.full.iter().take(written).map(|block| block.records() as u64).sum()
    }

    /// Lets go of the written blocks, oldest first, and shows each.
    pub(super) fn release_written(&mut self, mut released: impl FnMut(&Block)) {
        while self.written > 0 {
            self.written -= 1;
            if let Some(block) = self.full.pop_front() {
                released(&block);
                self.recycle(block);
            }
        }
        if self.full.is_empty() {
            self.full_since_ns = None;
        }
    }

    /// Lets go of the newest full block, if it is not written, and shows it. False when there is none.
    pub(super) fn drop_newest(&mut self, dropped: impl FnOnce(&Block)) -> bool {
        let Some(block) = (self.unwritten() > 0).then(|| self.full.pop_back()).flatten() else {
            return false;
        };
        dropped(&block);
        self.recycle(block);
        if self.full.is_empty() {
            self.full_since_ns = None;
        }
        true
    }

    fn recycle(&mut self, mut block: Block) {
        if self.spare.len() < SPARE_MAX {
            block.clear();
            self.spare.push(block);
        }
    }
}
