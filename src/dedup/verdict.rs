//! Verdicts: new, or a duplicate.

/// Records that are checked at once.
pub const BATCH: usize = 64;

/// When, and by which source, an event was first seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sighting {
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The emitter.
    pub source: u16,
}

/// Whether a record is a new event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Not remembered: the event is seen for the first time, or was forgotten.
    New,
    /// Seen before.
    Duplicate {
        /// The first sighting; `None` when sightings are not kept.
        first: Option<Sighting>,
    },
}
