//! One sighting of a packet.

use crate::event::Symbol;

/// One sighting.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) id: u128,
    pub(super) time_ns: u64,
    pub(super) flow: Symbol,
}
