//! What the tables of tests and experiments allow: these end only by events that their table allows.

use super::fact::{ALL_WAYS, Told};
use super::verdict::Outcome;
use crate::domain::{StateTable, StepOutcome};
use std::collections::HashMap;

/// Leads an entity through its table, for each origin that tells of it, and says of each event, in the order of time, whether it is
/// allowed and whether a run ends by it. A beginning that is not allowed begins another run.
pub(super) fn follow(table: &StateTable, all: &mut [Told<'_>]) {
    let mut states = HashMap::new();
    for told in all {
        let state = states.entry(told.teller.origin()).or_insert(table.initial);
        let (code, payload) = (told.fact.code, told.fact.more.as_ref().and_then(|more| more.payload));
        let payload = payload.unwrap_or_default();
        let is_invalid = |step| matches!(step, StepOutcome::Invalid { .. });
        let mut step = table.step(*state, code, &payload);
        if told.fact.begins.is_some() && is_invalid(step) {
            *state = table.initial;
            step = table.step(*state, code, &payload);
        }
        told.is_invalid = is_invalid(step);
        let reached = match step {
            StepOutcome::Moved(to) => {
                *state = to;
                Some(to)
            }
            StepOutcome::Unchanged => table.path(*state, code, &payload).last().copied(),
            StepOutcome::Invalid { .. } => None,
        };
        let reached = reached.and_then(|state| table.name(state)).map(|name| Outcome::of_state(name));
        told.ends = match reached {
            None | Some(Outcome::Running) => 0,
            Some(Outcome::Passed) => told.fact.ends,
            Some(outcome) => {
                told.outcome = told.outcome.or(Some(outcome));
                ALL_WAYS
            }
        };
    }
}
