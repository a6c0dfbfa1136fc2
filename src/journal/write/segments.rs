//! The files of a journal while it is written: the open segment, those that ended before it, those left after errors, and the
//! lock.

use crate::journal::format::names::segment_name;
use crate::journal::format::{Link, Tail};
use crate::journal::storage::lock::Lock;
use crate::journal::storage::{Storage, uninterrupted};
use crate::journal::write::durability::JournalAccount;
use crate::journal::write::ended::ClosedSegment;
use crate::journal::write::options::{Options, nanos};
use crate::journal::write::resume::Resume;
use crate::journal::write::segment::Segment;
use std::collections::VecDeque;
use std::io;

/// Segments already there by chance that are passed over when a new one is named.
const NAMES_TRIED_MAX: u32 = 1_000;

/// Segments left after errors whose files are kept open, at most.
const SUSPECTS_MAX: usize = 16;

/// What was removed while it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gone {
    Segment,
    Lock,
}

pub(super) struct Segments {
    pub(super) storage: Box<dyn Storage>,
    lock: Option<Lock>,
    /// The one being written.
    pub(super) open: Option<Segment>,
    next_number: u32,
    /// The last block of the last segment that counts.
    tail: Option<Tail>,
    /// The next segment is the first of a resumed run.
    resumed: bool,
    /// Segments left after errors, cut to what counts if it comes to it: as long as only the open segment says up to where
    /// they count.
    suspects: Vec<Segment>,
    /// Segments that ended before the open one, oldest first.
    pub(super) ended: VecDeque<ClosedSegment>,
    /// The oldest that stays.
    oldest: u32,
    /// How many of `ended` are to be removed.
    pub(super) retired: usize,
    #[cfg(feature = "zstd")]
    pub(super) compression: Option<crate::journal::write::compress::Compression>,
}

impl Segments {
    /// Goes on behind what is there.
    pub(super) fn behind(storage: Box<dyn Storage>, resume: Resume, to_compress: bool) -> Segments {
        let Resume { tail, next_segment, mut kept, oldest_segment, .. } = resume;
        for kept in &mut kept {
            kept.to_compress = to_compress && !kept.compressed;
            kept.doubtful = !kept.synced;
        }
        Segments {
            storage,
            lock: None,
            open: None,
            next_number: next_segment,
            tail,
            resumed: tail.is_some(),
            suspects: Vec::new(),
            ended: kept,
            oldest: oldest_segment,
            retired: 0,
            #[cfg(feature = "zstd")]
            compression: None,
        }
    }

    pub(super) fn hold(&mut self, lock: Lock) {
        self.lock = Some(lock);
    }

    /// Returns the number of the oldest segment that stays.
    pub(super) fn oldest(&self) -> u32 {
        self.oldest
    }

    /// Tells whether all that ended are synced.
    pub(super) fn all_synced(&self) -> bool {
        self.ended.iter().all(|ended| ended.synced)
    }

    /// Tells whether one that ended before this writer could not be synced.
    pub(super) fn has_doubtful(&self) -> bool {
        self.ended.iter().any(|ended| ended.doubtful)
    }

    /// Makes the file of the next segment, with room for `limit` bytes. It is not the open one yet.
    pub(super) fn create(&mut self, limit: u64, now_ns: u64) -> io::Result<Segment> {
        // There is room for it wherever it goes, so that it can always be left.
        self.ended.try_reserve(1)?;
        self.suspects.try_reserve(1)?;
        let mut tried = 0;
        let (file, number) = loop {
            let number = self.next_number;
            let created = uninterrupted(|| self.storage.create(&segment_name(number)));
            match created {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tried < NAMES_TRIED_MAX => {
                    tried += 1
                }
                other => break (other?, number),
            }
            self.next_number = number.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        };
        self.next_number = number.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(Segment::new(file, number, limit, now_ns, self.tail.map_or(0, |tail| tail.crc)))
    }

    /// Returns what the first block of a segment says of the one before it.
    pub(super) fn link(&self) -> Link {
        Link { previous_end: self.tail.map(|tail| tail.end), resumed: self.resumed }
    }

    /// Takes a segment, of which the first block is written, for the open one.
    pub(super) fn begun(&mut self, segment: Segment) {
        self.resumed = false;
        self.open = Some(segment);
    }

    /// Closes the open segment's file, of which the last block is written.
    pub(super) fn close_open(&mut self, now_ns: u64, to_compress: bool, account: &mut JournalAccount) {
        let Some(segment) = self.open.take() else { return };
        // What is truncated is zeros; a file that stays long is read just the same.
        account.errors += u64::from(segment.cut().is_err());
        // It links to those before it, and stays.
        self.suspects.clear();
        self.push_ended(&segment, segment.tail(), to_compress, now_ns);
    }

    /// Leaves the open segment after an error; it counts up to `tail`.
    pub(super) fn leave_open(&mut self, tail: Tail, now_ns: u64, account: &mut JournalAccount) {
        let Some(mut segment) = self.open.take() else { return };
        account.segments_suspect += 1;
        if tail.end.offset > 0 {
            self.push_ended(&segment, tail, false, now_ns);
        }
        // Gives back the space that was reserved; zeros beyond the last block are only unsightly.
        let _ = segment.cut();
        segment.offset = tail.end.offset;
        self.suspect(segment, account);
    }

    fn push_ended(&mut self, segment: &Segment, tail: Tail, to_compress: bool, now_ns: u64) {
        self.tail = Some(tail);
        self.ended.push_back(ClosedSegment {
            plain: true,
            len: segment.offset,
            synced: segment.synced == tail,
            to_compress,
            ..ClosedSegment::found(segment.number, now_ns)
        });
    }

    /// Syncs those that ended, not the directory.
    pub(super) fn sync_ended(&mut self) -> io::Result<()> {
        for ended in self.ended.iter_mut().filter(|ended| !ended.synced) {
            if ended.doubtful {
                let why = "could not be synced when the journal was resumed";
                return Err(io::Error::other(format!("segment {} {why}", ended.number)));
            }
            for name in ended.names() {
                match self.storage.open(&name).and_then(|file| file.sync()) {
                    // Somebody has removed it: there is nothing to sync.
                    Err(error) if was_removed(&error) => {}
                    other => other?,
                }
            }
            ended.synced = true;
        }
        Ok(())
    }

    /// Decides which segments go once the next one is there: its first block names the oldest that stays.
    pub(super) fn choose_retired(&mut self, options: &Options, now_ns: u64) {
        let mut total: u64 = self.ended.iter().map(|ended| ended.len).sum::<u64>() + options.segment_len;
        self.retired = 0;
        for ended in &self.ended {
            let too_much = options.retain_bytes.is_some_and(|limit| total > limit);
            let age_ns = now_ns.saturating_sub(ended.ended_ns);
            let too_old = options.retain_for.is_some_and(|limit| age_ns > nanos(limit));
            if !too_much && !too_old {
                break;
            }
            total -= ended.len;
            self.retired += 1;
            self.oldest = ended.number + 1;
        }
    }

    /// Removes those that were chosen.
    pub(super) fn remove_retired(&mut self, account: &mut JournalAccount) {
        while self.retired > 0 {
            self.retired -= 1;
            let Some(ended) = self.ended.pop_front() else { return };
            #[cfg(feature = "zstd")]
            self.stop_compressing(ended.number);
            let errors = ended.names().filter_map(|name| self.storage.remove(&name).err());
            // Where somebody else was first, it is gone as it should be.
            match errors.filter(|error| !was_removed(error)).count() {
                0 => account.segments_retired += 1,
                errors => account.errors += errors as u64,
            }
        }
    }

    /// Says what of the writer's files is gone.
    pub(super) fn gone(&self) -> Option<Gone> {
        match &self.open {
            Some(segment) if !segment.is_linked() => Some(Gone::Segment),
            _ => (!self.has_lock()).then_some(Gone::Lock),
        }
    }

    /// Tells whether the lock lies in the directory; a writer in memory needs none.
    pub(super) fn has_lock(&self) -> bool {
        self.lock.as_ref().is_none_or(|lock| lock.is_in(self.storage.path()))
    }

    /// Keeps a segment that was left after an error, `segment.offset` being up to where it counts, for as long as only the
    /// segment behind it tells so.
    fn suspect(&mut self, segment: Segment, account: &mut JournalAccount) {
        if segment.offset > 0 {
            // Its first block counts, and says where the one before it ends.
            self.suspects.clear();
        } else if self.suspects.len() >= SUSPECTS_MAX {
            // Nothing links to one of which nothing counts.
            let old = self.suspects.iter().position(|old| old.offset == 0);
            if let Some(old) = old {
                let old = self.suspects.remove(old);
                account.errors += u64::from(old.cut().is_err());
            }
        }
        self.suspects.push(segment);
    }

    /// Cuts suspect segments that no other follows to what is counted as stored. Without the lock they are another writer's
    /// matter.
    pub(super) fn cut_suspects(&mut self, account: &mut JournalAccount) {
        if self.suspects.is_empty() {
            return;
        }
        if !self.has_lock() {
            self.suspects.clear();
            return;
        }
        self.suspects.retain(|segment| segment.cut().is_err());
        account.errors += self.suspects.len() as u64;
    }
}

/// Tells whether a file was removed, or its directory.
fn was_removed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
