//! What is remembered and how, and what of that is refused.

use std::path::PathBuf;
use std::time::Duration;

/// Bytes that a memory budget has at least.
pub const BUDGET_MIN: usize = 4 << 20;

/// Epochs that a window may have.
pub const EPOCHS_MAX: usize = 24;

/// How far back a [`Dedup`](super::Dedup) remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// Everything.
    Unbounded,
    /// At least the last so many distinct ids, counted when first seen, and at most one epoch more.
    Last(u64),
    /// Every id first seen within this duration of the newest time, by the records' own times, and at most one
    /// epoch more. Records that come late, with a time older than that, are remembered with the epoch they came
    /// in. So are those whose time is ahead of the newest by more than the window: it does not go there, unless eight such come
    /// one after the other, as after a gap in the traffic.
    Sliding(Duration),
}

/// When a filter is asked before the exact set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FilterUse {
    /// Where they pay: in front of what lies on disk.
    Auto,
    /// As `Auto`, and said so.
    On,
    /// Never: each run on disk is read for every id that is not in memory. See [`Dedup::set_filter`](super::Dedup::set_filter).
    Off,
}

/// What a [`Dedup`](super::Dedup) remembers, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DedupOptions {
    /// How far back it remembers.
    pub window: Window,
    /// Parts in which a window forgets, 1 to [`EPOCHS_MAX`]: more forget more smoothly.
    pub epochs: usize,
    /// Whether each id keeps when and by which source it was first seen, at 16 more bytes a slot.
    pub first_sightings: bool,
    /// Ids to have room for from the start, in memory that is touched at once.
    pub expected_ids: usize,
    /// Bytes of memory that may be held; what is more goes to `spill_dir`. `None` is no bound.
    ///
    /// An id on disk takes some 2.6 bytes of it; with less than that for all ids that are remembered, lookups become slow.
    /// Ids that are crafted to overflow together ([`DedupStats::overflowed`](super::DedupStats::overflowed)) stay in memory all the same.
    pub memory_budget_bytes: Option<usize>,
    /// When filters are used.
    pub filter: FilterUse,
    /// Where cold ids go when the memory budget is reached.
    pub spill_dir: Option<PathBuf>,
}

impl Default for DedupOptions {
    fn default() -> DedupOptions {
        DedupOptions {
            window: Window::Unbounded,
            epochs: 8,
            first_sightings: true,
            expected_ids: 4096,
            memory_budget_bytes: None,
            filter: FilterUse::Auto,
            spill_dir: None,
        }
    }
}

/// Why a [`Dedup`](super::Dedup) cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DedupError {
    /// A window of nothing.
    #[error("option `window` is {window:?}, which remembers nothing; give at least one id or one nanosecond")]
    EmptyWindow {
        /// The value given.
        window: Window,
    },
    /// More or fewer epochs than there can be.
    #[error("option `epochs` is {epochs}; give 1 to {EPOCHS_MAX}")]
    Epochs {
        /// The value given.
        epochs: usize,
    },
    /// A budget too small to work with.
    #[error("option `memory_budget_bytes` is {budget_bytes}; give at least {}", BUDGET_MIN)]
    Budget {
        /// The value given.
        budget_bytes: usize,
    },
    /// A budget, and nowhere to put what is more.
    #[error("option `memory_budget_bytes` is given without `spill_dir`; give a directory, or no budget")]
    NoSpillDir,
    /// The directory for cold ids cannot be made or written to.
    #[error(
        "option `spill_dir` is {path}, in which no file can be made; give a directory that can be written to"
    )]
    SpillDir {
        /// The value given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The memory for the expected ids cannot be had.
    #[error("option `expected_ids` is {expected_ids}, and the memory for that cannot be had; give fewer")]
    Memory {
        /// The value given.
        expected_ids: usize,
        /// What the system says.
        source: std::io::Error,
    },
}
