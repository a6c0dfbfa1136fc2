//! When the runs of a test were.

/// The runs of a test, in the order of time.
#[derive(Clone, Debug, Default)]
pub(super) struct TestRuns {
    runs: Vec<TestRun>,
    /// The ends of all, in the order of time.
    ends_ns: Vec<u64>,
}

/// A run of a test, or several that overlap.
#[derive(Clone, Debug, Default)]
pub(super) struct TestRun {
    /// When it began; the first, when anything was told of it.
    pub(super) began_ns: u64,
    /// When the runs ended that did.
    pub(super) ends_ns: Vec<u64>,
    /// How many there are.
    pub(super) runs: u64,
    /// When it began to run its steps; more than once, it was run again without saying so.
    pub(super) executes_ns: Vec<u64>,
}

impl TestRuns {
    /// Takes runs by their beginnings.
    pub(super) fn new(runs: Vec<TestRun>) -> TestRuns {
        let mut ends_ns: Vec<u64> = runs.iter().flat_map(|run| run.ends_ns.iter().copied()).collect();
        ends_ns.sort_unstable();
        TestRuns { runs, ends_ns }
    }

    /// Returns the ends of all runs.
    pub(super) fn ends_ns(&self) -> &[u64] {
        &self.ends_ns
    }

    /// Returns the ends of that run, or of those that overlap.
    pub(super) fn ends_of(&self, run: usize) -> &[u64] {
        self.runs.get(run).map_or(&[], |run| &run.ends_ns)
    }

    /// Returns which run it was at that time: before the first, it is the first.
    pub(super) fn at(&self, time_ns: u64) -> usize {
        self.runs.partition_point(|run| run.began_ns <= time_ns).saturating_sub(1)
    }

    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Tells whether both times are known to lie in one run: not before it began, nor after it ended.
    pub(super) fn are_in_one(&self, one_ns: u64, other_ns: u64) -> bool {
        let (first_ns, last_ns) = (one_ns.min(other_ns), one_ns.max(other_ns));
        let at = self.at(last_ns);
        let Some(run) = self.runs.get(at) else { return false };
        let ended_ns = run.ends_ns.first().copied().unwrap_or(u64::MAX);
        // The first beginning of steps is that of the run.
        let again = run.executes_ns.get(1..).unwrap_or_default();
        let up_to = |time_ns: u64| again.partition_point(|began_ns| *began_ns <= time_ns);
        run.runs <= 1
            && self.at(first_ns) == at
            && (run.began_ns..=ended_ns).contains(&first_ns)
            && (run.began_ns..=ended_ns).contains(&last_ns)
            && up_to(first_ns.saturating_sub(1)) == up_to(last_ns)
    }

    /// Returns when the run ended that was the last before that time, if no other had begun.
    pub(super) fn ended_before(&self, time_ns: u64) -> Option<u64> {
        let last = self.ends_ns.partition_point(|end_ns| *end_ns < time_ns).checked_sub(1)?;
        let end_ns = self.ends_ns.get(last).copied()?;
        let run = self.runs.get(self.at(time_ns))?;
        let is_going_on = (run.ends_ns.len() as u64) < run.runs || run.ends_ns.last() >= Some(&time_ns);
        let has_begun_since = run.began_ns > end_ns && run.began_ns <= time_ns;
        (!has_begun_since && !is_going_on).then_some(end_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs() -> TestRuns {
        let run = |began_ns, ends_ns: &[u64], executes_ns: &[u64]| TestRun {
            began_ns,
            ends_ns: ends_ns.to_vec(),
            runs: ends_ns.len() as u64,
            executes_ns: executes_ns.to_vec(),
        };
        TestRuns::new(vec![run(10, &[20], &[12]), run(30, &[50, 60], &[31, 32]), run(70, &[90], &[71, 80])])
    }

    #[test]
    fn two_times_are_in_one_run_where_nothing_says_that_another_began_between() {
        let runs = runs();
        for (one_ns, other_ns, right) in [
            (10, 20, true),
            (11, 13, true),
            (9, 15, false),
            (15, 21, false),
            (15, 30, false),
            (35, 40, false),
            (71, 79, true),
            (79, 80, false),
            (81, 90, true),
            (81, 91, false),
        ] {
            assert_eq!(runs.are_in_one(one_ns, other_ns), right, "{one_ns} {other_ns}");
            assert_eq!(runs.are_in_one(other_ns, one_ns), right, "{other_ns} {one_ns}");
        }
    }

    #[test]
    fn what_is_told_between_two_runs_is_after_the_first() {
        let runs = runs();
        for (time_ns, right) in [
            (5, None),
            (15, None),
            (20, None),
            (21, Some(20)),
            (29, Some(20)),
            (30, None),
            (55, None),
            (60, None),
            (61, Some(60)),
            (75, None),
            (100, Some(90)),
        ] {
            assert_eq!(runs.ended_before(time_ns), right, "{time_ns}");
        }
    }
}
