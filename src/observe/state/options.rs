//! What is kept of states.

/// What [`States`](super::States) keeps; each worker's instance keeps as much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateOptions {
    /// Entities that are tracked. Events of more are counted as failed.
    pub entities_max: usize,
    /// Entities to have room for from the start.
    pub entities_expected: usize,
    /// Transitions that are remembered, the last ones of all entities together, at 24 bytes each.
    pub transitions_max: usize,
    /// Invalid transitions that are kept: the first ones, which tend to be the cause of those after them.
    pub invalid_max: usize,
}

impl Default for StateOptions {
    fn default() -> StateOptions {
        StateOptions {
            entities_max: 1 << 24,
            entities_expected: 0,
            transitions_max: 1 << 16,
            invalid_max: 1024,
        }
    }
}
