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
            Bounds::Sliding { keep_ns, epoch_ns, newest_ns, hot_ends_ns, due_ns, newest_of } => {
                let newest = records.iter().fold(*newest_ns, |newest, record| newest.max(record.time_ns()));
                *newest_ns = newest;
                if newest < *due_ns {
                    if let Some(hot) = newest_of.back_mut() {
                        *hot = newest;
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
                    *hot = newest;
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
}
