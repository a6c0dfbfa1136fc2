//! What became of the events that were offered.

/// What became of the events of one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EmitStats {
    /// Events that will reach the dedup stage.
    pub accepted: u64,
    /// Events for which the ring had no room.
    pub dropped_full: u64,
    /// Events refused: pipeline closed, kind unknown.
    pub rejected: u64,
}

impl EmitStats {
    /// Returns how many events the call offered.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.accepted + self.dropped_full + self.rejected
    }

    pub(crate) fn add(&mut self, other: EmitStats) {
        self.accepted += other.accepted;
        self.dropped_full += other.dropped_full;
        self.rejected += other.rejected;
    }
}
