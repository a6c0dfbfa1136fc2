//! One sighting of a packet.

use crate::event::Symbol;

/// One sighting.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) id: u128,
    /// By the common clock.
    pub(super) time_ns: u64,
    /// By the vantage point's own clock.
    pub(super) stamp_ns: u64,
    pub(super) flow: Symbol,
    /// See [`crate::domain::packet::flags`].
    pub(super) flags: u32,
}
