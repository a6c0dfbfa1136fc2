//! When the runs of a part were: what was still running when its test ended has not passed.

use std::collections::VecDeque;

/// Runs of one part that are kept, the last ones; of those before only the time from the first to the last is.
const RUNS_KEPT: usize = 1024;

/// Runs that ended, in the order in which that was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    kept: VecDeque<Run>,
    /// From the beginning of the first that is not kept to the end of the last.
    forgotten: Option<Run>,
}

/// A run, from its beginning to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) started_ns: u64,
    pub(super) ended_ns: u64,
}

/// How the runs of a part lie to the ends of its test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outlasts {
    /// Each had ended when the test did, or began later.
    No,
    /// One ended so many nanoseconds after the test, within which it began.
    By(u64),
    /// There were more runs than are kept, at times at which the test ended.
    Unknown,
}

impl Runs {
    pub(super) fn push(&mut self, started_ns: u64, ended_ns: u64) {
        self.kept.push_back(Run { started_ns, ended_ns });
        self.forget();
    }

    /// Returns the last of them.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Run> {
        self.kept.iter()
    }

    pub(super) fn merge(&mut self, other: Runs) {
        self.kept.extend(other.kept);
        self.forgotten = match (self.forgotten, other.forgotten) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.or(other),
        };
        self.forget();
    }

    /// Tells whether one of these was still running at one of the ends of the test. An end at the same time is in time.
    pub(super) fn outlasts(&self, test: &Runs) -> Outlasts {
        let mut ends: Vec<u64> = test.kept.iter().map(|run| run.ended_ns).collect();
        ends.sort_unstable();
        let first_end_after = |run: &Run| {
            let at = ends.partition_point(|end_ns| *end_ns < run.started_ns);
            ends.get(at).copied().filter(|end_ns| *end_ns < run.ended_ns)
        };
        let by = |run: &Run| Some(run.ended_ns - first_end_after(run)?);
        if let Some(by_ns) = self.kept.iter().filter_map(by).max() {
            return Outlasts::By(by_ns);
        }
        // An end of the test that is not kept was somewhere in that time, and so was a run.
        let may = |run: &Run| test.forgotten.is_some_and(|ends| run.overlaps(ends));
        let unknown = self.forgotten.is_some_and(|run| first_end_after(&run).is_some() || may(&run));
        if unknown || self.kept.iter().any(may) { Outlasts::Unknown } else { Outlasts::No }
    }

    fn forget(&mut self) {
        while self.kept.len() > RUNS_KEPT {
            let Some(run) = self.kept.pop_front() else { return };
            self.forgotten = Some(self.forgotten.map_or(run, |forgotten| forgotten.and(run)));
        }
    }
}

impl Run {
    pub(super) fn at(time_ns: u64) -> Run {
        Run { started_ns: time_ns, ended_ns: time_ns }
    }

    /// Returns the time from the first beginning to the last end of both.
    pub(super) fn and(self, other: Run) -> Run {
        Run { started_ns: self.started_ns.min(other.started_ns), ended_ns: self.ended_ns.max(other.ended_ns) }
    }

    fn overlaps(self, other: Run) -> bool {
        self.started_ns < other.ended_ns && other.started_ns < self.ended_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(runs: &[(u64, u64)]) -> Runs {
        let mut made = Runs::default();
        runs.iter().for_each(|(started_ns, ended_ns)| made.push(*started_ns, *ended_ns));
        made
    }

    #[test]
    fn what_ends_after_an_end_of_its_test_outlasts_it() {
        let test = runs(&[(0, 100), (200, 300)]);
        for (part, outlasts) in [
            (vec![], Outlasts::No),
            (vec![(10, 100)], Outlasts::No),
            (vec![(10, 101)], Outlasts::By(1)),
            (vec![(100, 102)], Outlasts::By(2)),
            (vec![(101, 150)], Outlasts::No),
            (vec![(101, 300)], Outlasts::No),
            (vec![(101, 303), (304, 305)], Outlasts::By(3)),
            (vec![(10, 110), (210, 290)], Outlasts::By(10)),
            (vec![(301, 400)], Outlasts::No),
        ] {
            assert_eq!(runs(&part).outlasts(&test), outlasts, "{part:?}");
        }
    }

    #[test]
    fn runs_that_are_not_kept_are_not_taken_to_have_ended_in_time() {
        let many = || (0..2000).map(|at| (at * 10, at * 10 + 5)).collect::<Vec<_>>();
        assert_eq!(runs(&many()).outlasts(&runs(&[(0, 30_000)])), Outlasts::No);
        assert_eq!(runs(&many()).outlasts(&runs(&[(0, 1007)])), Outlasts::Unknown);
        assert_eq!(runs(&many()).outlasts(&runs(&[(0, 19_998)])), Outlasts::No);
        assert_eq!(runs(&[(100, 110)]).outlasts(&runs(&many())), Outlasts::Unknown);
        assert_eq!(runs(&[(19_991, 19_996)]).outlasts(&runs(&many())), Outlasts::By(1));
        let mut merged = runs(&many());
        merged.merge(runs(&many()));
        assert_eq!((merged.kept.len(), merged.outlasts(&runs(&[(0, 9_000)]))), (1024, Outlasts::Unknown));
    }
}
