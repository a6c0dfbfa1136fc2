//! What a machine is found by.

use crate::event::{Domain, Symbol};

/// The name of what a machine is about, which may be several in several contexts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub(super) domain: Domain,
    pub(super) entity: Symbol,
}
