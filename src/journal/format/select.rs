//! Which records a journal is to hold: it tells its readers where these are not all.

use crate::event::KindSet;

/// Which records are stored. What is not is counted as skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Select {
    /// Whether second sightings of an event are stored too.
    pub duplicates: bool,
    /// The kinds that are stored.
    pub kinds: KindSet,
}

impl Select {
    /// All events, every sighting.
    pub const ALL: Select = Select { duplicates: true, kinds: KindSet::ALL };
    /// Unique events: first sightings only.
    pub const UNIQUE: Select = Select { duplicates: false, kinds: KindSet::ALL };

    /// First sightings of `kinds`.
    #[must_use]
    pub const fn kinds(kinds: KindSet) -> Select {
        Select { duplicates: false, kinds }
    }
}
