//! How a writer's blocks reach the disk: delivery, syncs, what happens after an error, rotation, retention.
//!
//! One rule answers every error of a write, a sync or a preallocation: the segment is *suspect*. It is left as
//! it is; its successor's first block says up to where it counts; blocks that are still held and are not
//! certain to be in it are written into the successor. Nothing is written twice to the same place, so a sync
//! is never repeated on pages that one sync has already failed on.

use crate::journal::format::block::Block;
use crate::journal::format::definition::Definition;
use crate::journal::format::{BlockKind, EndReason, Tail, Totals};
use crate::journal::storage::uninterrupted;
use crate::journal::write::definitions;
use crate::journal::write::durability::Durability;
use crate::journal::write::options::nanos;
use crate::journal::write::segment::{END_ROOM, JournalStamp, PAGE_LEN, Segment};
use crate::journal::write::segments::Gone;
use crate::journal::write::writer::{JournalWriter, Progress};
use std::io;
use std::sync::Arc;

/// Which step of a delivery failed.
enum Failure {
    /// It failed before anything was written: no segment could be begun, or there was no memory for a block.
    Before(io::Error),
    /// A block did not go into the segment.
    Write(io::Error),
    /// A sync failed: what it should have covered is in doubt.
    Sync(io::Error),
    /// A file of the writer was removed.
    Gone(Gone),
}

impl JournalWriter {
    /// Begins the first segment of a run that is resumed, and syncs it whatever the durability: the journal may have been closed in
    /// order, and must not seem so any more, whatever becomes of this writer.
    pub(super) fn begin_resumed(&mut self) -> io::Result<()> {
        if !self.segments.link().resumed {
            return Ok(());
        }
        self.begin_segment()?;
        let Some(segment) = &mut self.segments.open else { return Ok(()) };
        if let Err(error) = segment.sync(&*self.segments.storage) {
            // What a sync has failed on may be gone though a later one succeeds: nobody is to go on behind it.
            let _ = self.segments.storage.remove(&segment.name);
            return Err(error);
        }
        self.confirm_sync();
        Ok(())
    }

    /// Writes what is queued, and syncs it when `sync`. After an error it tries once more, in a new segment.
    /// Leaves the writer in or out of trouble.
    pub(super) fn deliver(&mut self, sync: bool) {
        let mut trouble = None;
        for _ in 0..2 {
            if self.is_stopped() {
                return;
            }
            match self.try_deliver(sync) {
                Ok(()) => {
                    self.stall = None;
                    return;
                }
                Err(failure) => trouble = self.leave_segment(failure),
            }
        }
        if let Some(error) = trouble {
            self.enter_trouble(error);
        }
    }

    /// Writes all, syncs all, and ends the journal. After an error it tries once more.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.look();
        for _ in 0..2 {
            self.deliver(self.holds_until_synced());
            if self.stall.is_some() {
                break;
            }
            match self.try_finish() {
                Ok(()) => break,
                Err(failure) => {
                    if let Some(error) = self.leave_segment(failure) {
                        self.enter_trouble(error);
                    }
                }
            }
        }
        match self.stall.take() {
            None => Ok(()),
            Some(stall) => Err(stall.source),
        }
    }

    fn try_finish(&mut self) -> Result<(), Failure> {
        self.ensure_segment()?;
        let mut doubt = self.sync_all();
        if self.holds_until_synced() || matches!(doubt, Err(Failure::Before(_))) {
            doubt = Ok(doubt?);
        }
        self.end_segment(EndReason::Closed)?;
        if doubt.is_ok() {
            doubt = self.sync_segment();
        }
        match doubt {
            // There is room for as many as in the other.
            Ok(()) => self.progress.durable.clone_from(&self.progress.stored),
            Err(Failure::Gone(gone)) => return Err(Failure::Gone(gone)),
            // The records are held no longer, and were promised no sync: all that is lost is the certainty.
            Err(Failure::Before(error) | Failure::Write(error) | Failure::Sync(error)) => {
                if self.holds_until_synced() {
                    return Err(Failure::Sync(error));
                }
                self.still_there()?;
                self.account.errors += 1;
                self.enter_trouble(error);
            }
        }
        self.retire_segment();
        Ok(())
    }

    fn sync_all(&mut self) -> Result<(), Failure> {
        self.segments.sync_ended().map_err(Failure::Sync)?;
        self.align_to_page()?;
        self.sync_segment()
    }

    /// Begins a new segment when the one being written is older than the options allow.
    pub(super) fn rotate_if_old(&mut self) {
        let Some(limit) = self.options.rotate_after else { return };
        let old = |segment: &Segment| {
            segment.records > 0 && self.now_ns.saturating_sub(segment.opened_ns) >= nanos(limit)
        };
        if self.segments.open.as_ref().is_some_and(old)
            && let Err(failure) = self.rotate()
            && let Some(error) = self.leave_segment(failure)
        {
            self.enter_trouble(error);
        }
    }

    fn try_deliver(&mut self, sync: bool) -> Result<(), Failure> {
        let complete = |segment: &Segment| segment.notes == self.definitions.notes() && segment.loss_written;
        let open = &self.segments.open;
        let nothing_new = self.queue.is_empty() && open.as_ref().is_none_or(complete);
        let nothing_known = self.definitions.notes() == 0 && self.losses.is_empty();
        if nothing_new && (open.is_some() || nothing_known && self.stall.is_none()) {
            return Ok(());
        }
        self.ensure_segment()?;
        while self.queue.unwritten() > 0 {
            self.write_preamble()?;
            let needed = self.needed().map_err(Failure::Before)?;
            let len = self.queue.first_unwritten().map_or(0, |block| block.len_max());
            let needed_len = needed.iter().map(|definition| definition.encoded_len() as u64).sum();
            let len = match needed.len() {
                0 => len,
                count => len + definitions::room(needed_len, count, self.options.block_len),
            };
            if self.segments.open.as_ref().is_some_and(|segment| segment.records > 0 && !segment.fits(len)) {
                self.rotate()?;
                continue;
            }
            self.write_definitions(&needed)?;
            let last = self.queue.unwritten() == 1;
            self.write_queued(if sync && last { PAGE_LEN } else { 1 })?;
        }
        self.write_preamble()?;
        if sync {
            self.align_to_page()?;
            self.sync_segment()?;
        }
        Ok(())
    }

    /// Writes the first queued block that is not yet written.
    fn write_queued(&mut self, end_align: u64) -> Result<(), Failure> {
        let stamp = self.stamp();
        let Some(segment) = &mut self.segments.open else { return Ok(()) };
        let Some(block) = self.queue.first_unwritten() else { return Ok(()) };
        self.progress.reserve(block).map_err(Failure::Before)?;
        segment.append(block, &stamp, &self.progress.stored, end_align).map_err(Failure::Write)?;
        self.steps.beat();
        for span in block.spans() {
            self.progress.stored.advance(span.source, span.last, u64::from(span.count));
        }
        segment.told.take(block);
        self.account.stored += block.records() as u64;
        self.account.blocks += 1;
        self.queue.mark_written();
        if !self.holds_until_synced() {
            self.queue.release_written(|_| {});
        }
        Ok(())
    }

    /// Returns what the first block that is not written needs and the segment does not have.
    fn needed(&mut self) -> io::Result<Vec<Arc<Definition>>> {
        let mut needed = Vec::new();
        let (Some(segment), Some(block)) = (&self.segments.open, self.queue.first_unwritten()) else {
            return Ok(needed);
        };
        let missing = block.definitions().iter().filter(|used| !segment.defined.contains(&used.key()));
        for definition in missing.chain(segment.told.lacks(block)) {
            needed.try_reserve(1)?;
            needed.push(Arc::clone(definition));
        }
        Ok(needed)
    }

    /// Writes definitions of records.
    fn write_definitions(&mut self, mut definitions: &[Arc<Definition>]) -> Result<(), Failure> {
        while let Some((mut block, taken)) =
            definitions::block_of(definitions.iter().map(|definition| &**definition), self.options.block_len)
                .map_err(Failure::Before)?
        {
            self.write_block(&mut block, 1)?;
            let (written, rest) = definitions.split_at(taken.min(definitions.len()));
            if let Some(segment) = &mut self.segments.open {
                segment.note_defined(written);
            }
            definitions = rest;
        }
        Ok(())
    }

    /// Writes the journal's own documents and the losses that are not yet in the segment.
    fn write_preamble(&mut self) -> Result<(), Failure> {
        loop {
            let Some(segment) = &self.segments.open else { return Ok(()) };
            let done = segment.notes;
            let block = self.definitions.notes_behind(done, self.options.block_len);
            let Some((mut block, taken)) = block.map_err(Failure::Before)? else { break };
            if segment.records > 0 && !segment.fits(block.len_max()) {
                self.rotate()?;
                continue;
            }
            self.write_block(&mut block, 1)?;
            if let Some(segment) = &mut self.segments.open {
                segment.notes += taken;
            }
        }
        if self.segments.open.as_ref().is_some_and(|segment| !segment.loss_written) {
            let mut told = None;
            while let Some((mut block, last)) = self.losses.block_behind(told).map_err(Failure::Before)? {
                self.write_block(&mut block, 1)?;
                told = Some(last);
            }
            if let Some(segment) = &mut self.segments.open {
                segment.loss_written = true;
            }
        }
        Ok(())
    }

    /// Fills the last page, so that no synced byte shares a page with a later write.
    fn align_to_page(&mut self) -> Result<(), Failure> {
        if self.segments.open.as_ref().is_some_and(|segment| !segment.offset.is_multiple_of(PAGE_LEN)) {
            let mut block = Block::of_bytes(BlockKind::Records, &[]).map_err(Failure::Before)?;
            self.write_block(&mut block, PAGE_LEN)?;
        }
        Ok(())
    }

    /// Makes what is written durable, whatever the durability. It counts as durable only if the file is still there.
    fn sync_segment(&mut self) -> Result<(), Failure> {
        let Some(segment) = &mut self.segments.open else { return Ok(()) };
        segment.sync(&*self.segments.storage).map_err(Failure::Sync)?;
        self.steps.beat();
        self.still_there()?;
        self.confirm_sync();
        self.segments.remove_retired(&mut self.account);
        Ok(())
    }

    /// Takes what is in the segment for durable.
    fn confirm_sync(&mut self) {
        let Some(segment) = &mut self.segments.open else { return };
        segment.synced = segment.tail();
        self.account.syncs += 1;
        let (progress, end) = (&mut self.progress, segment.synced.end);
        if self.segments.all_synced() {
            progress.synced = progress.synced.max(end);
        }
        self.queue.release_written(|block| {
            for span in block.spans() {
                progress.durable.advance(span.source, span.last, u64::from(span.count));
            }
        });
    }

    /// Tells of a removed file as a failure.
    fn still_there(&self) -> Result<(), Failure> {
        self.segments.gone().map_or(Ok(()), |gone| Err(Failure::Gone(gone)))
    }

    fn ensure_segment(&mut self) -> Result<(), Failure> {
        if self.segments.open.is_some() {
            return Ok(());
        }
        if !self.segments.has_lock() {
            return Err(Failure::Gone(Gone::Lock));
        }
        self.begin_segment().map_err(Failure::Before)
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let block_len = self.options.block_len;
        // The first block fits, with all that it refers to.
        let first = self.queue.first_unwritten().map_or(0, |block| {
            let (bytes, count) = block.needs();
            block.len_max() + definitions::room(bytes, count, block_len) + END_ROOM
        });
        let limit =
            self.options.segment_len.max(first) + self.definitions.room(block_len) + self.losses.room();
        let mut open = Block::of_bytes(BlockKind::Open, &self.segments.link().encode())?;
        let mut segment = self.segments.create(limit, self.now_ns)?;
        segment.loss_written = self.losses.is_empty();
        self.segments.choose_retired(&self.options, self.now_ns);
        let begun = uninterrupted(|| segment.file.preallocate(limit))
            .and_then(|()| segment.append(&mut open, &self.stamp(), &self.progress.stored, 1));
        if let Err(error) = begun {
            // It holds nothing. If it cannot be removed, no other segment links to it, and readers pass it by.
            let _ = self.segments.storage.remove(&segment.name);
            return Err(error);
        }
        self.account.blocks += 1;
        self.account.segments += 1;
        self.segments.begun(segment);
        if !self.holds_until_synced() {
            self.segments.remove_retired(&mut self.account);
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), Failure> {
        self.end_segment(EndReason::Rotated)?;
        if self.holds_until_synced() {
            // The end is durable before the next segment exists, so a reader never has to guess.
            self.sync_segment()?;
        }
        // Once it has ended, nobody looks any more.
        self.still_there()?;
        self.retire_segment();
        self.ensure_segment()
    }

    fn end_segment(&mut self, reason: EndReason) -> Result<(), Failure> {
        let mut block = Block::of_bytes(BlockKind::End, &reason.encode()).map_err(Failure::Before)?;
        self.write_block(&mut block, 1)
    }

    /// Closes the ended segment's file.
    fn retire_segment(&mut self) {
        let to_compress = self.options.compress.is_some();
        self.segments.close_open(self.now_ns, to_compress, &mut self.account);
    }

    /// Leaves the segment after an error. Its successor will say up to where it counts. `None` when it was removed and the
    /// writer has stopped.
    fn leave_segment(&mut self, failure: Failure) -> Option<io::Error> {
        let (error, is_write) = match failure {
            Failure::Gone(gone) => {
                self.stop(gone);
                return None;
            }
            Failure::Before(error) => {
                self.account.errors += 1;
                return Some(error);
            }
            Failure::Sync(error) => (error, false),
            Failure::Write(error) => (error, true),
        };
        self.account.errors += 1;
        // A failed write says nothing of the blocks before it: one sync may still make them certain.
        let synced = is_write && self.holds_until_synced() && self.sync_suspect();
        if let Some(gone) = self.segments.gone() {
            self.stop(gone);
            return None;
        }
        if synced {
            self.confirm_sync();
        }
        let unsure = self.holds_until_synced() && !synced;
        if let Some(tail) = self.counted_end(unsure) {
            self.segments.leave_open(tail, self.now_ns, &mut self.account);
        }
        Some(error)
    }

    /// Returns up to where the open segment counts, which is left; when it is `unsure`, that is what is synced, and what is
    /// held beyond it is to be written again.
    fn counted_end(&mut self, unsure: bool) -> Option<Tail> {
        let segment = self.segments.open.as_ref()?;
        if !unsure {
            return Some(segment.tail());
        }
        self.account.stored = self.account.stored.saturating_sub(self.queue.forget_written());
        self.progress.stored.clone_from(&self.progress.durable);
        Some(segment.synced)
    }

    /// Syncs a segment in which a write failed, without another write to it.
    fn sync_suspect(&mut self) -> bool {
        let Some(segment) = &mut self.segments.open else { return false };
        let synced = segment.sync(&*self.segments.storage).is_ok();
        self.account.errors += u64::from(!synced);
        synced
    }

    fn write_block(&mut self, block: &mut Block, end_align: u64) -> Result<(), Failure> {
        let stamp = self.stamp();
        let Some(segment) = &mut self.segments.open else { return Ok(()) };
        segment.append(block, &stamp, &self.progress.stored, end_align).map_err(Failure::Write)?;
        self.account.blocks += 1;
        Ok(())
    }

    fn stamp(&self) -> JournalStamp {
        let Progress { base, stored, synced, .. } = &self.progress;
        JournalStamp {
            run: self.run,
            synced: *synced,
            oldest_segment: self.segments.oldest(),
            totals: Totals {
                records: base.records + stored.records(),
                lost: base.lost + self.account.lost,
                skipped: base.skipped + self.account.skipped,
                lost_upstream: base.lost_upstream + self.account.lost_upstream,
            },
            written_ns: self.now_ns,
        }
    }

    pub(super) fn holds_until_synced(&self) -> bool {
        matches!(self.options.durability, Durability::PowerLoss { .. })
    }
}

const _: () = assert!(END_ROOM >= 2 * PAGE_LEN);
