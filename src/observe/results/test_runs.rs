//! When the runs of a test were.

use super::fact::{EmitterKey, Origin, Told};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Runs that began at one time, of which it is looked for the one in which something was told.
const TIES_MAX: usize = 64;

/// Runs by process times processes, of which each gets a list of its own. Of more, each process has its own runs only.
const LISTED_MAX: usize = 1 << 20;

/// The runs of a test, in the order of time.
#[derive(Clone, Debug, Default)]
pub(super) struct TestRuns {
    runs: Vec<TestRun>,
    /// The ends of all, in the order of time.
    ends_ns: Vec<u64>,
    /// As each of the processes sees them that ran it at the same time as others.
    of_origins: Vec<(Origin, TestRuns)>,
    /// The ends of which each process tells, where several ran it.
    own_ends: Vec<(Origin, u64)>,
    /// When steps began to be run, in whichever process.
    executions: Arc<ExecutionStarts>,
}

/// When a test began to run its steps.
#[derive(Debug, Default)]
pub(super) struct ExecutionStarts {
    /// All that any process tells but the first of each run, in the order of time: at each, the test was run again.
    pub(super) again: Vec<ExecutionStart>,
    /// By run, those that are no repetition of what goes on, in the order of time.
    pub(super) of_run: HashMap<RunKey, Vec<ExecutionStart>>,
}

impl ExecutionStarts {
    /// Tells whether the test may have been run again between both.
    fn are_between(&self, one: &Told<'_>, other: &Told<'_>) -> bool {
        let (first, last) = if one.fact.time_ns <= other.fact.time_ns { (one, other) } else { (other, one) };
        let from = self.again.partition_point(|start| start.time_ns < first.fact.time_ns);
        let within = self.again.iter().skip(from).take_while(|start| start.time_ns <= last.fact.time_ns);
        // At the time of one of them, what its own emitter told before or after is not between. Of very many, nobody looks at all.
        within.take(TIES_MAX).enumerate().any(|(at, start)| {
            let is_before = start.emitter == first.teller.emitter()
                && start.time_ns == first.fact.time_ns
                && start.seq < first.fact.seq;
            let is_after = start.emitter == last.teller.emitter()
                && start.time_ns == last.fact.time_ns
                && start.seq > last.fact.seq;
            at + 1 == TIES_MAX || !is_before && !is_after
        })
    }
}

/// When a test began to run its steps, and who told it, in which of its events.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExecutionStart {
    pub(super) time_ns: u64,
    pub(super) emitter: EmitterKey,
    pub(super) seq: u32,
}

/// A run of a test, or several that overlap.
#[derive(Clone, Debug, Default)]
pub(super) struct TestRun {
    /// When it began; the first, when anything was told of it.
    pub(super) began_ns: u64,
    /// Who told that, and in which of its events.
    pub(super) began_by: Option<(EmitterKey, u32)>,
    /// When the runs ended that did, in the order of time.
    pub(super) ends_ns: Vec<u64>,
    /// How many there are.
    pub(super) runs: u64,
    pub(super) key: RunKey,
}

/// Which run of a test, and of which process, where others ran it at the same time.
pub(super) type RunKey = (Option<Origin>, usize);

impl TestRuns {
    /// Takes runs by their beginnings.
    pub(super) fn new(mut runs: Vec<TestRun>) -> TestRuns {
        for (number, run) in runs.iter_mut().enumerate() {
            run.key = (None, number);
        }
        TestRuns::of(runs)
    }

    /// Takes runs that know which they are.
    fn of(runs: Vec<TestRun>) -> TestRuns {
        let mut ends_ns: Vec<u64> = runs.iter().flat_map(|run| run.ends_ns.iter().copied()).collect();
        ends_ns.sort_unstable();
        TestRuns { runs, ends_ns, ..TestRuns::default() }
    }

    /// Puts together the runs in several processes, in the order of these.
    ///
    /// A run while no other process ran the test is one for all: who helps in it is judged by it, whichever runs it leads itself.
    /// Of runs that overlap, a process knows its own; of what another one tells, nobody knows in which of them it was.
    pub(super) fn of_origins(mut all: Vec<(Origin, TestRuns)>) -> TestRuns {
        if let [_] = *all {
            return all.pop().map(|(_, runs)| runs).unwrap_or_default();
        }
        let mut runs: Vec<(Origin, &TestRun)> =
            all.iter().flat_map(|(origin, own)| own.runs.iter().map(move |run| (*origin, run))).collect();
        runs.sort_by_key(|(_, run)| run.began_ns);
        let mut groups: Vec<Vec<(Origin, &TestRun)>> = Vec::new();
        let mut last_end_ns = 0;
        for (origin, run) in runs {
            let end_ns = match run.ends_ns.last() {
                Some(end_ns) if run.ends_ns.len() as u64 == run.runs => *end_ns,
                _ => u64::MAX,
            };
            match groups.last_mut().filter(|_| run.began_ns < last_end_ns) {
                Some(last) => {
                    last.push((origin, run));
                    last_end_ns = last_end_ns.max(end_ns);
                }
                None => {
                    groups.push(vec![(origin, run)]);
                    last_end_ns = end_ns;
                }
            }
        }
        let mut of_all = TestRuns::new(groups.iter().filter_map(|group| together(group)).collect());
        let is_shared = |group: &Vec<(Origin, &TestRun)>| {
            group.first().is_some_and(|(first, _)| group.iter().any(|(origin, _)| origin != first))
        };
        let shared: Vec<bool> = groups.iter().map(is_shared).collect();
        // What each process ran while others did, and in which group.
        let mut sharing: BTreeMap<Origin, Vec<(usize, &TestRun)>> = BTreeMap::new();
        for (at, group) in groups.iter().enumerate().filter(|(at, _)| shared.get(*at) == Some(&true)) {
            for (origin, run) in group {
                sharing.entry(*origin).or_default().push((at, run));
            }
        }
        let lists_all = sharing.len().saturating_mul(groups.len()) <= LISTED_MAX;
        let seen_by = |(origin, own): (&Origin, &Vec<(usize, &TestRun)>)| {
            let mut own = own.iter().peekable();
            let mut seen = Vec::new();
            for (group, of_group) in of_all.runs.iter().enumerate().filter(|_| lists_all) {
                let before = seen.len();
                while let Some((_, run)) = own.next_if(|(at, _)| *at == group) {
                    seen.push(TestRun { key: (Some(*origin), seen.len()), ..(*run).clone() });
                }
                if seen.len() == before {
                    seen.push(of_group.clone());
                }
            }
            for (_, run) in own {
                seen.push(TestRun { key: (Some(*origin), seen.len()), ..(*run).clone() });
            }
            (*origin, TestRuns::of(seen))
        };
        of_all.of_origins = sharing.iter().map(seen_by).collect();
        let own_ends = |(origin, own): &'_ (Origin, TestRuns)| {
            let origin = *origin;
            own.ends_ns.iter().map(move |end_ns| (origin, *end_ns)).collect::<Vec<_>>()
        };
        of_all.own_ends = all.iter().flat_map(own_ends).collect();
        of_all
    }

    /// Returns the runs as that process sees them.
    pub(super) fn of_origin(&self, origin: Origin) -> &TestRuns {
        let known = self.of_origins.binary_search_by_key(&origin, |(known, _)| *known).ok();
        known.and_then(|at| self.of_origins.get(at)).map_or(self, |(_, runs)| runs)
    }

    /// Returns which run that is, for all that see it.
    pub(super) fn key(&self, run: usize) -> RunKey {
        self.runs.get(run).map_or((None, run), |run| run.key)
    }

    /// Iterates over the ends of all runs, with the process that tells of each.
    pub(super) fn ends(&self) -> impl Iterator<Item = (Origin, u64)> {
        let of_one = self.runs.iter().filter(|_| self.own_ends.is_empty());
        let of_one = of_one.filter_map(|run| Some((run.began_by?.0.0, run)));
        let of_one = of_one.flat_map(|(origin, run)| run.ends_ns.iter().map(move |end_ns| (origin, *end_ns)));
        of_one.chain(self.own_ends.iter().copied())
    }

    /// Returns the ends of that run, or of those that overlap.
    pub(super) fn ends_of(&self, run: usize) -> &[u64] {
        self.runs.get(run).map_or(&[], |run| &run.ends_ns)
    }

    /// Returns which run it was at that time: before the first, it is the first.
    fn at_time(&self, time_ns: u64) -> usize {
        self.runs.partition_point(|run| run.began_ns <= time_ns).saturating_sub(1)
    }

    /// Returns in which run something was told. At the time at which a run began it is that one, unless who began it told this
    /// before, or `is_of_last` says of the run before that it is.
    pub(super) fn at(&self, told: &Told<'_>, is_of_last: impl Fn(usize) -> bool) -> usize {
        let at = self.at_time(told.fact.time_ns);
        let first = self.runs.partition_point(|run| run.began_ns < told.fact.time_ns).max(1);
        let tie = self.runs.get(first..=at).unwrap_or_default();
        let is_own =
            |run: &TestRun| run.began_by.is_some_and(|(emitter, _)| emitter == told.teller.emitter());
        if tie.first().is_some_and(is_own) && tie.last().is_some_and(is_own) {
            // One emitter's are in the order of its events.
            let is_before = |run: &TestRun| run.began_by.is_some_and(|(_, seq)| seq <= told.fact.seq);
            return (first + tie.partition_point(is_before)).saturating_sub(1);
        }
        let is_before = |at: &usize| {
            let began_by = self.runs.get(*at).and_then(|run| run.began_by);
            match began_by {
                Some((emitter, seq)) if emitter == told.teller.emitter() => told.fact.seq < seq,
                _ => is_of_last(at - 1),
            }
        };
        // Who knows more runs that began at one time knows nothing of their order.
        let earlier = (first..=at).rev().take(TIES_MAX).take_while(is_before).count();
        at - earlier
    }

    /// Returns in which run it is certain that something was told.
    fn certainly_at(&self, told: &Told<'_>) -> Option<usize> {
        let at = self.at(told, |_| false);
        let run = self.runs.get(at)?;
        let by_another = |(emitter, _)| emitter != told.teller.emitter();
        let is_tie = at > 0 && run.began_ns == told.fact.time_ns && run.began_by.is_none_or(by_another);
        (!is_tie).then_some(at)
    }

    /// Takes in when the test began to run its steps: more than once in a run, it was run again without a beginning of its own.
    pub(super) fn set_executions(&mut self, executions: ExecutionStarts) {
        self.executions = Arc::new(executions);
        for (_, seen) in &mut self.of_origins {
            seen.executions = Arc::clone(&self.executions);
        }
    }

    /// Returns in which execution of that run something was told: before the first, it is the first.
    pub(super) fn execution(&self, run: usize, told: &Told<'_>) -> usize {
        let starts = self.executions.of_run.get(&self.key(run)).map_or(&[][..], Vec::as_slice);
        let time_ns = told.fact.time_ns;
        let first = starts.partition_point(|start| start.time_ns < time_ns);
        let tie = starts.iter().skip(first).take(TIES_MAX).take_while(|start| start.time_ns == time_ns);
        // One emitter's are in the order of its events.
        let is_before =
            |start: &&ExecutionStart| start.emitter != told.teller.emitter() || start.seq <= told.fact.seq;
        (first + tie.take_while(is_before).count()).saturating_sub(1)
    }

    /// Tells whether both are known to lie in one run: not before it began, nor after it ended.
    pub(super) fn are_in_one(&self, one: &Told<'_>, other: &Told<'_>) -> bool {
        let (first_ns, last_ns) =
            (one.fact.time_ns.min(other.fact.time_ns), one.fact.time_ns.max(other.fact.time_ns));
        let (at, other_at) = (self.certainly_at(one), self.certainly_at(other));
        let Some(run) = at.filter(|_| at == other_at).and_then(|at| self.runs.get(at)) else { return false };
        let ended_ns = run.ends_ns.first().copied().unwrap_or(u64::MAX);
        run.runs <= 1
            && (run.began_ns..=ended_ns).contains(&first_ns)
            && (run.began_ns..=ended_ns).contains(&last_ns)
            && !self.executions.are_between(one, other)
    }

    /// Returns when the run ended that was the last before that time, if no other had begun.
    pub(super) fn ended_before(&self, time_ns: u64) -> Option<u64> {
        let last = self.ends_ns.partition_point(|end_ns| *end_ns < time_ns).checked_sub(1)?;
        let end_ns = self.ends_ns.get(last).copied()?;
        let run = self.runs.get(self.at_time(time_ns))?;
        let is_going_on = (run.ends_ns.len() as u64) < run.runs || run.ends_ns.last() >= Some(&time_ns);
        let has_begun_since = run.began_ns > end_ns && run.began_ns <= time_ns;
        (!has_begun_since && !is_going_on).then_some(end_ns)
    }
}

/// Puts together runs that overlap.
fn together(group: &[(Origin, &TestRun)]) -> Option<TestRun> {
    let mut runs = group.iter().map(|(_, run)| *run);
    let mut all = runs.next()?.clone();
    for run in runs {
        all.runs += run.runs;
        all.ends_ns.extend(&run.ends_ns);
    }
    all.ends_ns.sort_unstable();
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Context;
    use crate::observe::results::fact::{Fact, Teller};

    fn runs() -> TestRuns {
        let run = |began_ns, ends_ns: &[u64]| TestRun {
            began_ns,
            began_by: None,
            ends_ns: ends_ns.to_vec(),
            runs: ends_ns.len() as u64,
            ..TestRun::default()
        };
        let mut runs = TestRuns::new(vec![run(10, &[20]), run(30, &[50, 60]), run(70, &[90])]);
        let again = |time_ns| ExecutionStart { time_ns, emitter: ((7, false), 7), seq: 0 };
        runs.set_executions(ExecutionStarts {
            again: vec![again(32), again(80)],
            ..ExecutionStarts::default()
        });
        runs
    }

    #[test]
    fn two_times_are_in_one_run_where_nothing_says_that_another_began_between() {
        let runs = runs();
        let teller = Teller { numbering: 0, source: 0, is_panthers: false, place: Context::NONE };
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
            // Whether it was told before or after the run began, nobody knows.
            (70, 75, false),
        ] {
            let facts = [one_ns, other_ns].map(|time_ns| Fact { time_ns, ..Fact::default() });
            let [one, other] = [&facts[0], &facts[1]].map(|fact| Told::of(fact, teller));
            assert_eq!(runs.are_in_one(&one, &other), right, "{one_ns} {other_ns}");
            assert_eq!(runs.are_in_one(&other, &one), right, "{other_ns} {one_ns}");
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
