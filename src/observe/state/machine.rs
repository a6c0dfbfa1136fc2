//! One state machine.

use crate::event::{Domain, Symbol};

/// One entity's state: two to a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Machine {
    /// The entity; where one name is several machines, the number of the entry in [`Scoped`](super::scoped::Scoped).
    pub(super) entity: Symbol,
    /// When it came into its state.
    pub(super) since_ns: u64,
    /// Transitions so far.
    pub(super) moves: u32,
    /// Where in the log the last transition is, if it is still there.
    pub(super) last: u32,
    /// Invalid transitions so far.
    pub(super) invalid: u32,
    pub(super) domain: Domain,
    pub(super) state: u8,
}

const _: () = assert!(size_of::<Machine>() == 32);
