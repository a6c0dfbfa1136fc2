//! Windows: when an epoch ends, and when it is forgotten.

use crate::dedup::options::Window;
use crate::dedup::set::ExactSet;
use crate::dedup::verdict::BATCH;
use crate::event::record::Record;

/// Decides by how many records, or by what times, the epochs of a window are bounded.
pub(super) enum Bounds {
    /// One epoch for ever.
    Unbounded,
    /// By number.
    Last {
        /// Ids that stay at least.
        keep: u64,
        /// Ids after which an epoch ends; the last batch may bring `batch - 1` more.
        epoch: u64,
        /// Records that may be checked at once.
        batch: usize,
    },
    /// By time.
    Sliding {
        keep_ns: u64,
        epoch_ns: u64,
        newest_ns: u64,
        /// When the hot epoch ends.
        hot_ends_ns: u64,
        /// The time from which something is to be done: the hot epoch ends, or the oldest is to be forgotten.
        due_ns: u64,
        /// The newest time of each live epoch, oldest first.
        newest_of: std::collections::VecDeque<u64>,
        leap: Leap,
    },
}

impl Bounds {
    pub(super) fn new(window: Window, epochs: usize) -> Bounds {
        let epochs = epochs.max(1) as u64;
        match window {
            Window::Unbounded => Bounds::Unbounded,
            Window::Last(keep) => {
                // An epoch may grow by a batch less one beyond its end, and before the oldest is forgotten there may
                // be a batch less one beside them all. Epochs end early by both, so that there are never more than
                // `keep + keep / epochs` ids.
                let most = keep.div_ceil(epochs).max(1);
                let batch = (most / 8).clamp(1, BATCH as u64);
                Bounds::Last { keep, epoch: most - 2 * (batch - 1), batch: batch as usize }
            }
            Window::Sliding(keep) => {
                let keep_ns = u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX);
                Bounds::Sliding {
                    keep_ns,
                    epoch_ns: (keep_ns / epochs).max(1),
                    newest_ns: 0,
                    hot_ends_ns: 0,
                    due_ns: 0,
                    newest_of: std::collections::VecDeque::from([0]),
                    leap: Leap::default(),
                }
            }
        }
    }

    /// Returns the greatest number of ids that are ever remembered, where there is one.
    pub(super) fn most_ids(window: Window, epochs: usize) -> Option<u64> {
        match window {
            Window::Last(keep) => Some(keep.saturating_add(keep.div_ceil(epochs.max(1) as u64))),
            Window::Unbounded | Window::Sliding(_) => None,
        }
    }

    /// Returns how many of `records` may be checked before epochs are looked at again; at least one.
    #[inline]
    pub(super) fn span(&self, records: &[Record]) -> usize {
        match self {
            Bounds::Unbounded => records.len(),
            Bounds::Last { batch, .. } => records.len().min(*batch),
            Bounds::Sliding { due_ns, .. } => {
                let due = records.iter().position(|record| record.time_ns() >= *due_ns);
                due.unwrap_or(records.len()).max(1)
            }
        }
    }

    /// Opens and forgets epochs before `records` are checked; returns how many ids were forgotten.
    #[inline]
    pub(super) fn before(&mut self, records: &[Record], set: &mut ExactSet) -> u64 {
        match self {
            Bounds::Unbounded | Bounds::Last { .. } => 0,
            Bounds::Sliding { keep_ns, epoch_ns, newest_ns, hot_ends_ns, due_ns, newest_of, leap } => {
                let newest = records.iter().fold(*newest_ns, |newest, record| newest.max(record.time_ns()));
                let is_leap = newest.saturating_sub(*newest_ns) > *keep_ns && *newest_ns > 0;
                let newest = if !is_leap {
                    leap.ahead = 0;
                    newest
                } else if let Some(newest) = leap.goes_on(newest, *keep_ns) {
                    // Ids that came with these times are in the hot epoch.
                    if let Some(hot) = newest_of.back_mut() {
                        *hot = newest;
                    }
                    newest
                } else {
                    return 0;
                };
                *newest_ns = newest;
                if newest < *due_ns {
                    if let Some(hot) = newest_of.back_mut() {
                        *hot = newest.max(*hot);
                    }
                    return 0;
                }
                if newest >= *hot_ends_ns && (set.hot_len() == 0 || set.open_epoch()) {
                    *hot_ends_ns = newest.saturating_add(*epoch_ns);
                    if newest_of.len() < set.epochs() as usize {
                        newest_of.push_back(newest);
                    }
                }
                if let Some(hot) = newest_of.back_mut() {
                    *hot = newest.max(*hot);
                }
                let mut forgotten = 0;
                while newest_of.len() > 1
                    && newest_of.front().is_some_and(|last| last.saturating_add(*keep_ns) < newest)
                {
                    newest_of.pop_front();
                    forgotten += set.forget_oldest();
                }
                let oldest = newest_of.front().filter(|_| newest_of.len() > 1);
                let forget_ns =
                    oldest.map_or(u64::MAX, |last| last.saturating_add(*keep_ns).saturating_add(1));
                *due_ns = forget_ns.min(*hot_ends_ns);
                forgotten
            }
        }
    }

    /// Opens and forgets epochs after a span was checked; returns how many ids were forgotten.
    #[inline]
    pub(super) fn after(&mut self, set: &mut ExactSet) -> u64 {
        let Bounds::Last { keep, epoch, .. } = self else { return 0 };
        if set.hot_len() >= *epoch {
            set.open_epoch();
        }
        let mut forgotten = 0;
        while set.epochs() > 1 && set.len() - set.oldest_len() >= *keep {
            forgotten += set.forget_oldest();
        }
        forgotten
    }

    /// Counts those of `records` that are older than what a sliding window remembers when they come.
    #[inline]
    pub(super) fn count_late(&self, records: &[Record]) -> u64 {
        let Bounds::Sliding { keep_ns, newest_ns, .. } = self else { return 0 };
        let mut newest = *newest_ns;
        let mut late = 0;
        for record in records {
            newest = newest.max(record.time_ns());
            late += u64::from(record.time_ns() < newest.saturating_sub(*keep_ns));
        }
        late
    }

    /// Returns how many records had times beyond the window, of which not enough came one after the other to move it.
    pub(super) fn wild(&self) -> u64 {
        match self {
            Bounds::Unbounded | Bounds::Last { .. } => 0,
            Bounds::Sliding { leap, .. } => leap.wild,
        }
    }
}

/// Records that are a whole window ahead of all before them, one after the other, before a window goes where they are:
/// fewer are taken for wild, a wrong clock or a damaged capture.
const LEAP: usize = 8;

/// Records whose times are a leap.
#[derive(Default)]
pub(super) struct Leap {
    /// Those ahead, one after the other.
    ahead: u32,
    ahead_ns: [u64; LEAP],
    /// All that were ahead, less those that were followed.
    wild: u64,
}

impl Leap {
    /// Takes a time that is ahead. Once there are enough, returns where they are: at the latest that has another one within
    /// `keep_ns` before it, or in the middle.
    fn goes_on(&mut self, time_ns: u64, keep_ns: u64) -> Option<u64> {
        if let Some(place) = self.ahead_ns.get_mut(self.ahead as usize) {
            *place = time_ns;
        }
        self.ahead += 1;
        self.wild += 1;
        if (self.ahead as usize) < LEAP {
            return None;
        }
        self.wild -= u64::from(std::mem::take(&mut self.ahead));
        self.ahead_ns.sort_unstable();
        let near = self.ahead_ns.windows(2).rev().find_map(|pair| match pair {
            [before, time] if time - before <= keep_ns => Some(*time),
            _ => None,
        });
        near.or(self.ahead_ns.get(LEAP / 2).copied())
    }
}
