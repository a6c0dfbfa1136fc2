//! Which failures of a step were undone by a retry.
//!
//! One emitter at one place has to have told all of it, in the order of its events and of their times: that the step began, that it
//! failed, that it began again behind that, and that it then completed. The failure and the new beginning have to lie in one run of
//! the test, where there is one. Whatever is told in between, or by another, undoes nothing.

use super::fact::{Origin, Teller, Told};
use super::test_runs::TestRuns;
use super::verdict::Outcome;
use std::collections::HashMap;

/// When a failure can be undone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Retries<'a> {
    Never,
    /// There is no test.
    Always,
    /// In one run of this test.
    Within(&'a TestRuns),
    /// In one run of this test, if the step names it: there are others.
    OfNamed(&'a TestRuns),
}

impl<'a> Retries<'a> {
    fn allows(self, failed: &Told<'_>, began: &Told<'_>) -> bool {
        match self {
            Retries::Never => false,
            Retries::OfNamed(_) if !failed.fact.names_test => false,
            Retries::Always => true,
            Retries::Within(runs) | Retries::OfNamed(runs) => runs.are_in_one(failed, began),
        }
    }

    /// Returns these for what is told by one process.
    pub(super) fn of_origin(self, origin: Origin) -> Retries<'a> {
        match self {
            Retries::Within(runs) => Retries::Within(runs.of_origin(origin)),
            Retries::OfNamed(runs) => Retries::OfNamed(runs.of_origin(origin)),
            Retries::Never | Retries::Always => self,
        }
    }
}

/// Where one emitter is in its story of one step.
#[derive(Default)]
struct Story {
    /// How many runs of it are going on. Of several nobody knows which of them fails.
    open: u32,
    is_tangled: bool,
    /// The last thing that it told is a failure, of what had begun.
    has_failed: bool,
    /// Failures that the next end may undo: where they stand.
    pending: Vec<usize>,
    last: Option<u32>,
}

impl Story {
    fn begins(&mut self, is_retry: bool) {
        if !is_retry {
            self.pending.clear();
        }
        self.is_tangled |= self.open > 0;
        self.open += 1;
        self.has_failed = false;
    }

    /// Takes in an end, and returns whether it is that of a run that it had begun.
    fn ends(&mut self) -> bool {
        let is_own = self.open > 0;
        self.open = self.open.saturating_sub(1);
        self.has_failed = false;
        is_own
    }
}

/// Marks the failures that were undone, and the ends of what their own emitters began.
pub(super) fn mark(all: &mut [Told<'_>], retries: Retries<'_>) {
    let mut stories: HashMap<(Teller, bool, bool), Story> = HashMap::new();
    for at in 0..all.len() {
        let Some(told) = all.get(at).copied() else { continue };
        let fact = told.fact;
        if fact.begins.is_none() && told.ends == 0 {
            continue;
        }
        let story = stories.entry((told.teller, fact.by_other, fact.names_test)).or_default();
        // Told in another order than that of the times, nobody knows which is right.
        if story.last.is_some_and(|last| last > fact.seq) {
            story.pending.clear();
        }
        story.last = Some(fact.seq);
        if fact.begins.is_some() {
            let failed = story.pending.last().and_then(|at| all.get(*at));
            let is_retry = failed.is_some_and(|failed| {
                let is_tie = told.teller.is_panthers && failed.fact.time_ns == fact.time_ns;
                story.has_failed && !is_tie && retries.allows(failed, &told)
            });
            story.begins(is_retry);
            continue;
        }
        if told.outcome == Some(Outcome::Skipped) {
            // What was left out never began.
            story.pending.clear();
            continue;
        }
        let ends_own = story.ends();
        match told.outcome {
            Some(Outcome::Failed) if ends_own && !story.is_tangled => {
                story.pending.push(at);
                story.has_failed = true;
            }
            None if ends_own && !story.is_tangled => {
                for at in story.pending.drain(..) {
                    if let Some(failure) = all.get_mut(at) {
                        failure.is_undone = true;
                    }
                }
            }
            _ => story.pending.clear(),
        }
        story.is_tangled &= story.open > 0;
        if let Some(told) = all.get_mut(at) {
            told.ends_own = ends_own;
        }
    }
}
