//! How a writer's blocks reach the disk: delivery, syncs, what happens after an error, rotation, retention.
//!
//! One rule answers every error of a write, a sync or a preallocation: the segment is *suspect*. It is left as
//! it is; its successor's first block says up to where it counts; blocks that are still held and are not
//! certain to be in it are written into the successor. Nothing is written twice to the same place, so a sync
//! is never repeated on pages that one sync has already failed on.

use crate::journal::format::block::{Block, Definition};
use crate::journal::format::{
    BLOCK_LEN_MAX, BlockKind, EndReason, HEADER_LEN_MAX, Link, SPANS_MAX, SourceSpan, Totals,
};
use crate::journal::write::durability::Durability;
use crate::journal::write::ended::ClosedSegment;
use crate::journal::write::stop::Gone;

use crate::journal::format::Tail;
use crate::journal::format::names::segment_name;
use crate::journal::storage::uninterrupted;
use crate::journal::write::segment::{END_ROOM, JournalStamp, PAGE_LEN, Segment};
use crate::journal::write::writer::{JournalWriter, nanos};
use std::io;

/// Which step of a delivery failed.
enum Failure {
    /// No segment could be begun.
    Begin(io::Error),
    /// A block did not go into the segment.
    Write(io::Error),
    /// A sync failed: what it should have covered is in doubt.
    Sync(io::Error),
    /// A file of the writer was removed.
    Gone(Gone),
}

/// Segments already there by chance that are passed over when a new one is named.
const NAMES_TRIED_MAX: u32 = 1_000;

impl JournalWriter {
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
        if self.holds_until_synced() {
            doubt = Ok(doubt?);
        }
        self.end_segment(EndReason::Closed)?;
        if doubt.is_ok() {
            doubt = self.sync_segment();
        }
        match doubt {
            Ok(()) => self.durable = self.stored.clone(),
            Err(Failure::Gone(gone)) => return Err(Failure::Gone(gone)),
            // The records are held no longer, and were promised no sync: all that is lost is the certainty.
            Err(Failure::Begin(error) | Failure::Write(error) | Failure::Sync(error)) => {
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
        self.sync_ended().map_err(Failure::Sync)?;
        self.align_to_page()?;
        self.sync_segment()
    }

    /// Syncs the segments that have ended, not the directory.
    fn sync_ended(&mut self) -> io::Result<()> {
        for kept in self.kept.iter_mut().filter(|kept| !kept.synced) {
            if kept.doubtful {
                let why = "could not be synced when the journal was resumed";
                return Err(io::Error::other(format!("segment {} {why}", kept.number)));
            }
            for name in kept.names() {
                match self.storage.open(&name).and_then(|file| file.sync()) {
                    // Somebody has removed it: there is nothing to sync.
                    Err(error) if was_removed(&error) => {}
                    other => other?,
                }
            }
            kept.synced = true;
        }
        Ok(())
    }

    /// Begins a new segment when the one being written is older than the options allow.
    pub(super) fn rotate_if_old(&mut self) {
        let Some(limit) = self.options.rotate_after else { return };
        let old = |segment: &Segment| {
            segment.records > 0 && self.now_ns.saturating_sub(segment.opened_ns) >= nanos(limit)
        };
        if self.segment.as_ref().is_some_and(old)
            && let Err(failure) = self.rotate()
            && let Some(error) = self.leave_segment(failure)
        {
            self.enter_trouble(error);
        }
    }

    fn try_deliver(&mut self, sync: bool) -> Result<(), Failure> {
        let complete =
            |segment: &Segment| segment.definitions == self.definitions.len() && segment.loss_written;
        let nothing_new = self.queue.is_empty() && self.segment.as_ref().is_none_or(complete);
        let nothing_known = self.definitions.is_empty() && self.loss.is_empty();
        if nothing_new && (self.segment.is_some() || nothing_known && self.stall.is_none()) {
            return Ok(());
        }
        self.ensure_segment()?;
        while self.written < self.queue.len() {
            self.write_preamble()?;
            let len = self.queue.get(self.written).map_or(0, Block::len_max);
            if self.segment.as_ref().is_some_and(|segment| !segment.fits(len)) {
                self.rotate()?;
                continue;
            }
            let last = self.written + 1 == self.queue.len();
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
        let Some(segment) = &mut self.segment else { return Ok(()) };
        let Some(block) = self.queue.get_mut(self.written) else { return Ok(()) };
        segment.append(block, &stamp, &self.stored, end_align).map_err(Failure::Write)?;
        for span in block.spans() {
            self.stored.advance(span.source, span.last, u64::from(span.count));
        }
        self.account.stored += block.records() as u64;
        self.account.blocks += 1;
        self.written += 1;
        if !self.holds_until_synced() {
            self.release_written();
        }
        Ok(())
    }

    /// Writes the definitions and losses that are not yet in the segment.
    fn write_preamble(&mut self) -> Result<(), Failure> {
        loop {
            let Some(segment) = &self.segment else { return Ok(()) };
            let done = segment.definitions;
            let Some(rest) = self.definitions.get(done..).filter(|rest| !rest.is_empty()) else { break };
            let (body, taken) = definitions_body(rest, self.options.block_len);
            let mut block = Block::of_bytes(BlockKind::Definitions, &body);
            if segment.records > 0 && !segment.fits(block.len_max()) {
                self.rotate()?;
                continue;
            }
            self.write_block(&mut block, 1)?;
            if let Some(segment) = &mut self.segment {
                segment.definitions += taken;
            }
        }
        if self.segment.as_ref().is_some_and(|segment| !segment.loss_written) {
            let spans: Vec<SourceSpan> = self.loss.values().copied().collect();
            for spans in spans.chunks(SPANS_MAX) {
                self.write_block(&mut Block::of_spans(BlockKind::Loss, spans), 1)?;
            }
            if let Some(segment) = &mut self.segment {
                segment.loss_written = true;
            }
        }
        Ok(())
    }

    /// Fills the last page, so that no synced byte shares a page with a later write.
    fn align_to_page(&mut self) -> Result<(), Failure> {
        if self.segment.as_ref().is_some_and(|segment| !segment.offset.is_multiple_of(PAGE_LEN)) {
            self.write_block(&mut Block::of_bytes(BlockKind::Records, &[]), PAGE_LEN)?;
        }
        Ok(())
    }

    /// Makes what is written durable, whatever the durability. It counts as durable only if the file is still there.
    fn sync_segment(&mut self) -> Result<(), Failure> {
        let Some(segment) = &mut self.segment else { return Ok(()) };
        segment.sync(&*self.storage).map_err(Failure::Sync)?;
        self.still_there()?;
        self.confirm_sync();
        self.remove_retired();
        Ok(())
    }

    /// Takes what is in the segment for durable.
    fn confirm_sync(&mut self) {
        let Some(segment) = &mut self.segment else { return };
        segment.synced = segment.tail();
        self.account.syncs += 1;
        if self.kept.iter().all(|kept| kept.synced) {
            self.synced = self.synced.max(segment.synced.end);
        }
        while self.written > 0 {
            if let Some(block) = self.queue.front() {
                for span in block.spans() {
                    self.durable.advance(span.source, span.last, u64::from(span.count));
                }
            }
            self.release_front();
        }
    }

    /// Tells of a removed file as a failure.
    fn still_there(&self) -> Result<(), Failure> {
        self.gone().map_or(Ok(()), |gone| Err(Failure::Gone(gone)))
    }

    fn ensure_segment(&mut self) -> Result<(), Failure> {
        if self.segment.is_some() {
            return Ok(());
        }
        if !self.has_lock() {
            return Err(Failure::Gone(Gone::Lock));
        }
        self.begin_segment().map_err(Failure::Begin)
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let mut tried = 0;
        let (file, number) = loop {
            let number = self.next_segment;
            let created = uninterrupted(|| self.storage.create(&segment_name(number)));
            match created {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tried < NAMES_TRIED_MAX => {
                    tried += 1
                }
                other => break (other?, number),
            }
            self.next_segment = number.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        };
        self.next_segment = number.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        let previous_crc = self.tail.map_or(0, |tail| tail.crc);
        let limit = self.options.segment_len + self.definitions_room();
        let mut segment = Segment::new(file, number, limit, self.now_ns, previous_crc);
        segment.loss_written = self.loss.is_empty();
        self.choose_retired();
        let link = Link { previous_end: self.tail.map(|tail| tail.end), resumed: self.resumed };
        let mut open = Block::of_bytes(BlockKind::Open, &link.encode());
        let begun = uninterrupted(|| segment.file.preallocate(limit))
            .and_then(|()| segment.append(&mut open, &self.stamp(), &self.stored, 1));
        if let Err(error) = begun {
            // It holds nothing. If it cannot be removed, no other segment links to it, and readers pass it by.
            let _ = self.storage.remove(&segment.name);
            return Err(error);
        }
        self.account.blocks += 1;
        self.account.segments += 1;
        self.resumed = false;
        self.segment = Some(segment);
        if !self.holds_until_synced() {
            self.remove_retired();
        }
        Ok(())
    }

    /// Room for all definitions so far, in blocks of their own, and for a few more.
    fn definitions_room(&self) -> u64 {
        let losses = (self.loss.len() / SPANS_MAX + 1) * HEADER_LEN_MAX;
        let blocks =
            self.definitions_bytes / self.options.block_len as u64 + self.definitions.len() as u64 / 64 + 1;
        self.definitions_bytes + (blocks + 1) * HEADER_LEN_MAX as u64 + losses as u64
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
        let stamp = self.stamp();
        let Some(segment) = &mut self.segment else { return Ok(()) };
        segment.end(reason, &stamp, &self.stored).map_err(Failure::Write)?;
        self.account.blocks += 1;
        Ok(())
    }

    /// Closes the ended segment's file.
    fn retire_segment(&mut self) {
        let Some(segment) = self.segment.take() else { return };
        let tail = segment.tail();
        // What is cut off is zeros; a file that stays long is read just the same.
        if segment.file.set_len(segment.offset).is_err() {
            self.account.errors += 1;
        }
        self.tail = Some(tail);
        // It links to those before it, and stays.
        self.suspects.clear();
        self.kept.push_back(ClosedSegment {
            plain: true,
            len: segment.offset,
            synced: segment.synced == tail,
            to_compress: self.options.compress.is_some(),
            ..ClosedSegment::found(segment.number, self.now_ns)
        });
    }

    /// Leaves the segment after an error. Its successor will say up to where it counts. `None` when it was removed and the
    /// writer has stopped.
    fn leave_segment(&mut self, failure: Failure) -> Option<io::Error> {
        let (error, is_write) = match failure {
            Failure::Gone(gone) => {
                self.stop(gone);
                return None;
            }
            Failure::Begin(error) => {
                self.account.errors += 1;
                return Some(error);
            }
            Failure::Sync(error) => (error, false),
            Failure::Write(error) => (error, true),
        };
        self.account.errors += 1;
        // A failed write says nothing of the blocks before it: one sync may still make them certain.
        let synced = is_write && self.holds_until_synced() && self.sync_suspect();
        if let Some(gone) = self.gone() {
            self.stop(gone);
            return None;
        }
        if synced {
            self.confirm_sync();
        }
        let Some(mut segment) = self.segment.take() else { return Some(error) };
        self.account.segments_suspect += 1;
        let tail = self.counted_end(&segment, self.holds_until_synced() && !synced);
        if tail.end.offset > 0 {
            self.tail = Some(tail);
            self.kept.push_back(ClosedSegment {
                plain: true,
                len: segment.offset,
                synced: segment.synced == tail,
                ..ClosedSegment::found(segment.number, self.now_ns)
            });
        }
        // Gives back the space that was reserved; zeros beyond the last block are only unsightly.
        let _ = segment.cut();
        segment.offset = tail.end.offset;
        self.suspect(segment);
        Some(error)
    }

    /// Returns up to where a segment that is left counts; when it is `unsure`, that is what is synced, and what is held
    /// beyond it is to be written again.
    fn counted_end(&mut self, segment: &Segment, unsure: bool) -> Tail {
        if !unsure {
            return segment.tail();
        }
        self.forget_written();
        self.stored = self.durable.clone();
        segment.synced
    }

    /// Syncs a segment in which a write failed, without another write to it.
    fn sync_suspect(&mut self) -> bool {
        let Some(segment) = &mut self.segment else { return false };
        let synced = segment.sync(&*self.storage).is_ok();
        self.account.errors += u64::from(!synced);
        synced
    }

    /// Takes the held blocks that were written for not written.
    fn forget_written(&mut self) {
        let records: u64 = self.queue.iter().take(self.written).map(|block| block.records() as u64).sum();
        self.account.stored = self.account.stored.saturating_sub(records);
        self.written = 0;
    }

    pub(super) fn release_written(&mut self) {
        while self.written > 0 {
            self.release_front();
        }
    }

    fn release_front(&mut self) {
        self.written -= 1;
        if let Some(block) = self.queue.pop_front() {
            self.recycle(block);
        }
        if self.queue.is_empty() {
            self.unsynced_since_ns = None;
        }
    }

    fn write_block(&mut self, block: &mut Block, end_align: u64) -> Result<(), Failure> {
        let stamp = self.stamp();
        let Some(segment) = &mut self.segment else { return Ok(()) };
        segment.append(block, &stamp, &self.stored, end_align).map_err(Failure::Write)?;
        self.account.blocks += 1;
        Ok(())
    }

    fn stamp(&self) -> JournalStamp {
        JournalStamp {
            run: self.run,
            synced: self.synced,
            oldest_segment: self.oldest_segment,
            totals: Totals {
                records: self.base.records + self.stored.records(),
                lost: self.base.lost + self.account.lost,
                skipped: self.base.skipped + self.account.skipped,
                lost_upstream: self.base.lost_upstream + self.account.lost_upstream,
            },
            written_ns: self.now_ns,
        }
    }

    pub(super) fn holds_until_synced(&self) -> bool {
        matches!(self.options.durability, Durability::PowerLoss { .. })
    }

    /// Decides which segments go once the next one is there: its first block names the oldest that stays.
    fn choose_retired(&mut self) {
        let mut total: u64 = self.kept.iter().map(|kept| kept.len).sum::<u64>() + self.options.segment_len;
        self.retired = 0;
        for kept in &self.kept {
            let too_much = self.options.retain_bytes.is_some_and(|limit| total > limit);
            let too_old = self
                .options
                .retain_for
                .is_some_and(|limit| self.now_ns.saturating_sub(kept.ended_ns) > nanos(limit));
            if !too_much && !too_old {
                break;
            }
            total -= kept.len;
            self.retired += 1;
            self.oldest_segment = kept.number + 1;
        }
    }

    fn remove_retired(&mut self) {
        while self.retired > 0 {
            self.retired -= 1;
            let Some(kept) = self.kept.pop_front() else { return };
            #[cfg(feature = "zstd")]
            self.stop_compressing(kept.number);
            let errors = kept.names().filter_map(|name| self.storage.remove(&name).err());
            // Where somebody else was first, it is gone as it should be.
            match errors.filter(|error| !was_removed(error)).count() {
                0 => self.account.segments_retired += 1,
                errors => self.account.errors += errors as u64,
            }
        }
    }
}

/// Tells whether a file was removed, or its directory.
fn was_removed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Encodes as many of `definitions` as fit in a block of `len_max` bytes, at least one; returns how many.
fn definitions_body(definitions: &[Definition], len_max: usize) -> (Vec<u8>, usize) {
    let mut body = Vec::new();
    let mut taken = 0;
    for definition in definitions {
        if taken > 0 && body.len() + definition.encoded_len() + HEADER_LEN_MAX > len_max.min(BLOCK_LEN_MAX) {
            break;
        }
        definition.encode(&mut body);
        taken += 1;
    }
    (body, taken)
}

const _: () =
    assert!(END_ROOM >= 2 * PAGE_LEN && Definition::DETAIL_LEN_MAX + 2 * HEADER_LEN_MAX < BLOCK_LEN_MAX);
