//! How a writer stops for good when somebody removes what it writes into: its open segment, or its lock.
//!
//! A file that was removed takes writes as before. So the writer asks of the open file whether the directory still names
//! it: about once a second, after every write error, and always before a segment counts as ended or a sync is told as a
//! promise. What was in a removed segment counts as lost and removed; what is held, or given later, as lost. Without its lock
//! it writes nothing more, since another writer may have come. Ended segments that are removed are not looked for: a
//! reader tells that they are missing.

use crate::journal::write::segments::Gone;
use crate::journal::write::writer::JournalWriter;
use std::io;

/// How often the writer looks for its files.
const LOOK_EVERY_NS: u64 = 1_000_000_000;

impl JournalWriter {
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
        if let Some(gone) = self.segments.gone() {
            self.stop(gone);
        }
    }

    /// Tells whether nothing will be written any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stall.as_ref().is_some_and(|stall| stall.for_good)
    }

    /// Stops for good.
    pub(super) fn stop(&mut self, gone: Gone) {
        let segment = self.segments.open.take();
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
        self.segments.cut_suspects(&mut self.account);
    }
}
