//! What a writer does when somebody removes its files: segments, the lock, or the directory with all of them.
//!
//! A file that was removed takes writes as before. So the writer looks for the segment that it is writing once a second, and
//! before it ends it; and for the lock whenever it begins one. Records that were in removed files count as lost, and as
//! removed. Readers meet a missing segment.

use crate::journal::delivery::Kept;
use crate::journal::lock;
use crate::journal::segment::Segment;
use crate::journal::storage::Storage;
use crate::journal::writer::JournalWriter;
use std::io;

/// How often the writer looks for its files.
const PRESENCE_NS: u64 = 1_000_000_000;

impl JournalWriter {
    /// Looks for the files, now and then; leaves the segment when another writer has the journal.
    pub(super) fn check_presence(&mut self) {
        if self.now_ns.saturating_sub(self.checked_ns) < PRESENCE_NS {
            return;
        }
        self.find_missing();
        if self.segment.is_some()
            && let Err(error) = self.hold_lock()
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
        if tail.end.offset > 0 {
            self.tail = Some(tail);
        }
        self.count_removed(records, duplicates);
        self.find_missing_ended();
    }

    /// Notices which of the segments that have ended were removed.
    pub(super) fn find_missing_ended(&mut self) {
        for at in 0..self.kept.len() {
            let Some(kept) = self.kept.get(at) else { return };
            let mut names = kept.names().peekable();
            if names.peek().is_none() || !names.all(|name| is_gone(&*self.storage, &name)) {
                continue;
            }
            #[cfg(feature = "zstd")]
            self.stop_compressing(self.kept[at].number);
            let kept = &mut self.kept[at];
            let (records, duplicates) = (kept.records, kept.duplicates);
            *kept = Kept { synced: true, ..Kept::found(kept.number, kept.ended_ns) };
            self.account.segments_removed += 1;
            self.count_removed(records, duplicates);
        }
    }

    fn count_removed(&mut self, records: u64, duplicates: u64) {
        self.account.stored = self.account.stored.saturating_sub(records);
        self.account.lost += records;
        self.account.lost_duplicates += duplicates;
        self.account.removed += records;
    }

    /// Sees to it that the lock lies in the directory and is this writer's.
    pub(super) fn hold_lock(&mut self) -> io::Result<()> {
        let path = self.storage.path();
        if !self.locked || self.lock.as_ref().is_some_and(|lock| lock.is_in(path)) {
            return Ok(());
        }
        // Removed: nobody else may have taken the new one.
        std::fs::create_dir_all(path)?;
        self.lock = match lock::acquire(path, self.now_ns)? {
            Ok(lock) => Some(lock),
            Err(holder) => {
                return Err(io::Error::other(format!("the journal is now being written by {holder}")));
            }
        };
        self.find_missing_ended();
        Ok(())
    }
}

fn is_gone(storage: &dyn Storage, name: &str) -> bool {
    matches!(storage.open(name), Err(error) if error.kind() == io::ErrorKind::NotFound)
}
