//! How a writer stops for good when somebody removes what it writes into: its open segment, or its lock.
//!
//! A file that was removed takes writes as before. So the writer asks of the open file whether the directory still names
//! it: about once a second, after every write error, and always before a segment counts as ended or a sync is told as a
//! promise. What was in a removed segment counts as lost and removed; what is held, or given later, as lost. Without its lock
//! it writes nothing more, since another writer may have come. Ended segments that are removed are not looked for: a
//! reader tells that they are missing.

use crate::journal::storage::lock::Lock;
use crate::journal::write::segment::Segment;
use crate::journal::write::writer::JournalWriter;
use std::io;

/// How often the writer looks for its files.
const LOOK_EVERY_NS: u64 = 1_000_000_000;

/// Segments left after errors whose files are kept open, at most.
const SUSPECTS_MAX: usize = 16;

/// What was removed while it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gone {
    Segment,
    Lock,
}

impl JournalWriter {
    /// Says what of the writer's files is gone.
    pub(super) fn gone(&self) -> Option<Gone> {
        let is_gone = |segment: &Segment| !segment.is_linked();
        match &self.segment {
            Some(segment) if is_gone(segment) => Some(Gone::Segment),
            _ => (!self.has_lock()).then_some(Gone::Lock),
        }
    }

    /// Tells whether the lock lies in the directory; a writer in memory needs none.
    pub(super) fn has_lock(&self) -> bool {
        self.lock.as_ref().is_none_or(|lock: &Lock| lock.is_in(self.storage.path()))
    }

    /// Looks for the files, now and then.
    pub(super) fn look_now_and_then(&mut self) {
        if self.now_ns.saturating_sub(self.looked_ns) >= LOOK_EVERY_NS {
            self.look();
        }
    }

    /// Looks for the files, and stops when one is gone.
    pub(super) fn look(&mut self) {
        self.looked_ns = self.now_ns;
        if self.is_stopped() {
            return;
        }
        if let Some(gone) = self.gone() {
            self.stop(gone);
        }
    }

    /// Tells whether nothing will be written any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stall.as_ref().is_some_and(|stall| stall.for_good)
    }

    /// Stops for good.
    pub(super) fn stop(&mut self, gone: Gone) {
        let segment = self.segment.take();
        let name = segment.as_ref().map_or("its segment", |segment| &*segment.name);
        let what = match gone {
            Gone::Segment => format!("{name} was removed while it was written"),
            Gone::Lock => "its lock file was removed, or the directory moved".to_owned(),
        };
        let remedy = "begin another journal, and keep others out of its directory";
        if let (Gone::Segment, Some(segment)) = (gone, &segment) {
            self.account.stored = self.account.stored.saturating_sub(segment.records);
            self.account.lost += segment.records;
            self.account.lost_duplicates += segment.duplicates;
            self.account.removed += segment.records;
        }
        self.enter_trouble(io::Error::other(format!("{what}; {remedy}")));
        if let Some(stall) = &mut self.stall {
            stall.for_good = true;
        }
        self.lose_held();
        self.cut_suspects();
    }

    /// Keeps a segment that was left after an error, `segment.offset` being up to where it counts, for as long as only the
    /// segment behind it tells so.
    pub(super) fn suspect(&mut self, segment: Segment) {
        if segment.offset > 0 {
            // Its first block counts, and says where the one before it ends.
            self.suspects.clear();
        } else if self.suspects.len() >= SUSPECTS_MAX {
            // Nothing links to one of which nothing counts.
            let old = self.suspects.iter().position(|old| old.offset == 0);
            if let Some(old) = old {
                let old = self.suspects.remove(old);
                self.account.errors += u64::from(old.cut().is_err());
            }
        }
        self.suspects.push(segment);
    }

    /// Cuts suspect segments that no other follows to what is counted as stored. Without the lock they are another writer's
    /// matter.
    pub(super) fn cut_suspects(&mut self) {
        if self.suspects.is_empty() {
            return;
        }
        if !self.has_lock() {
            self.suspects.clear();
            return;
        }
        let before = self.suspects.len();
        self.suspects.retain(|segment| segment.cut().is_err());
        debug_assert!(self.suspects.len() <= before);
        self.account.errors += self.suspects.len() as u64;
    }
}
