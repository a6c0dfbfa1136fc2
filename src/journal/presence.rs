//! What a writer does when somebody removes its files: segments, the lock, or the directory with all of them.
//!
//! A file that was removed takes writes as before. So the writer looks for its files once a second and at the close, for the
//! segment that it is writing also before it ends it, and for the lock when it begins one. Segments are known by their names.
//! Records that were in removed files count as lost, and as removed; the next segment links to the removed
//! one, so that readers tell what is missing. A lock that was removed is made anew; one that another writer has made since is
//! respected for good, since nothing is known any more of what is in the directory.

use crate::journal::delivery::ClosedSegment;
use crate::journal::format::Position;
use crate::journal::lock;
use crate::journal::segment::Segment;
use crate::journal::storage::Storage;
use crate::journal::writer::JournalWriter;
use std::collections::HashSet;
use std::io;

/// How often the writer looks for its files.
const PRESENCE_NS: u64 = 1_000_000_000;

impl JournalWriter {
    /// Looks for the files, now and then.
    pub(super) fn check_presence(&mut self) {
        if self.now_ns.saturating_sub(self.checked_ns) >= PRESENCE_NS {
            self.look_for_files();
        }
    }

    /// Notices which of the segments were removed, and leaves the one being written when another writer has the journal.
    pub(super) fn look_for_files(&mut self) {
        self.find_missing();
        self.find_missing_ended();
        // Without a lock, but with a segment that takes writes, writing goes on until the lock can be made.
        if self.segment.is_some()
            && let Err(error) = self.hold_lock()
            && self.superseded.is_some()
        {
            self.leave_to(error);
        }
    }

    /// Notices when the segment being written was removed.
    pub(super) fn find_missing(&mut self) {
        self.checked_ns = self.now_ns;
        let gone = |segment: &Segment| is_gone(&*self.storage, &segment.name);
        if !self.segment.as_ref().is_some_and(gone) {
            return;
        }
        let Some(segment) = self.segment.take() else { return };
        self.account.segments_removed += 1;
        // What is held is written again; the rest of the segment's records went with it.
        let (tail, records, duplicates) = self.keep_of(&segment, self.holds_until_synced());
        self.count_removed(records, duplicates);
        self.find_missing_ended();
        if tail.end.offset > 0 && self.pass_over(segment.number) {
            self.tail = Some(tail);
        }
    }

    /// Notices which of the segments that have ended were removed.
    fn find_missing_ended(&mut self) {
        let there: HashSet<String> = match self.storage.list() {
            Ok(names) => names.into_iter().collect(),
            Err(error) if was_removed(&error) => HashSet::new(),
            Err(_) => return,
        };
        let mut last = None;
        for at in 0..self.kept.len() {
            let Some(kept) = self.kept.get(at) else { return };
            let mut names = kept.names().peekable();
            if names.peek().is_none() || names.any(|name| there.contains(&name)) {
                continue;
            }
            #[cfg(feature = "zstd")]
            self.stop_compressing(self.kept[at].number);
            let kept = &mut self.kept[at];
            let (records, duplicates) = (kept.records, kept.duplicates);
            *kept = ClosedSegment { synced: true, ..ClosedSegment::found(kept.number, kept.ended_ns) };
            last = Some(kept.number);
            self.account.segments_removed += 1;
            self.count_removed(records, duplicates);
        }
        if let Some(last) = last {
            self.pass_over(last);
        }
    }

    /// Makes what comes before a removed segment certain, and says so in the headers to come: only then do readers take the
    /// gap for damage and read on, rather than for the end that a crash has left.
    fn pass_over(&mut self, number: u32) -> bool {
        match self.sync_ended(number).and_then(|()| self.storage.sync_dir()) {
            // Without a directory there is nothing left to sync.
            Err(error) if !was_removed(&error) => {
                self.account.errors += 1;
                return false;
            }
            _ => {}
        }
        self.synced = self.synced.max(Position { segment: number.saturating_add(1), offset: 0 });
        true
    }

    pub(super) fn count_removed(&mut self, records: u64, duplicates: u64) {
        self.account.stored = self.account.stored.saturating_sub(records);
        self.account.lost += records;
        self.account.lost_duplicates += duplicates;
        self.account.removed += records;
    }

    /// Sees to it that the lock lies in the directory and is this writer's.
    pub(super) fn hold_lock(&mut self) -> io::Result<()> {
        let Some(lock) = &self.lock else { return Ok(()) };
        let path = self.storage.path();
        if self.superseded.is_none() {
            if lock.is_in(path) {
                return Ok(());
            }
            std::fs::create_dir_all(path)?;
            match lock::retake(path, self.now_ns, lock)? {
                Ok(None) => return Ok(()),
                Ok(lock) => {
                    self.lock = lock;
                    self.find_missing_ended();
                    return Ok(());
                }
                Err(holder) => self.superseded = Some(holder),
            }
            // The end of a segment that was left is the other's matter now.
            self.suspect = None;
        }
        let holder = self.superseded.as_deref().unwrap_or_default();
        let why = "its lock was removed, and another writer has taken its place";
        Err(io::Error::other(format!("{why} ({holder}); write another journal in another directory")))
    }
}

/// Tells whether a file was removed, or its directory.
pub(super) fn was_removed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_gone(storage: &dyn Storage, name: &str) -> bool {
    storage.open(name).is_err_and(|error| was_removed(&error))
}
