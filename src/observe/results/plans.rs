//! Whether the steps ran that a test says it has.
//!
//! A test lists its steps when it begins to run them. A step is one of the list if its id is there or the name that it tells of
//! itself, and each has to have been run as often as it is listed. PANTHER's logs may describe steps there instead: where none of
//! such a list is known, and for what is no name in any list, the number of steps counts. It has to be the number of those that are
//! listed: one more, and nobody knows which of them is not of the list.

use super::evidence::shown;
use super::fact::{Fact, More, Stage, Told};
use super::judge::Judged;
use super::test_runs::{ExecutionStart, ExecutionStarts, RunKey, TestRuns};
use crate::event::Symbol;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The steps that one execution of a test says that it has.
#[derive(Default)]
struct Plan {
    count: u64,
    completed: u64,
    /// How often it lists each.
    names: HashMap<Symbol, u64>,
    /// It has come to its end.
    has_ended: bool,
    /// What it lists are names: not all of it was told by PANTHER.
    has_names: bool,
}

/// How often each step was run, in one way to tell it.
type Came<'j> = HashMap<Symbol, (u64, &'j Judged)>;

/// What a test says of its steps, by run and by execution in it.
pub(super) struct Plans(Vec<((RunKey, usize), Plan)>);

impl Plans {
    /// Reads them from all that a test tells of itself, and when each execution began.
    pub(super) fn of(all: &[Told<'_>], runs: &TestRuns) -> (Plans, ExecutionStarts) {
        let mut of_run: BTreeMap<RunKey, Vec<Plan>> = BTreeMap::new();
        let mut starts = ExecutionStarts::default();
        for told in all {
            let begins = told.fact.executing == Some(Stage::Begins);
            let ends = told.fact.executing == Some(Stage::Ends) || told.ends != 0;
            let more = told.fact.more.as_deref();
            let count = |count: fn(&More) -> Option<u64>| more.and_then(count).unwrap_or(0);
            let (count, completed) = (count(|more| more.steps), count(|more| more.steps_completed));
            if !begins && !ends && count == 0 && completed == 0 {
                continue;
            }
            let seen = runs.of_origin(told.teller.origin());
            let run = seen.key(seen.at(told, |_| false));
            let plans = of_run.entry(run).or_default();
            // It may say again what it has said, as long as that goes on.
            let is_again = told.is_invalid && plans.last().is_some_and(|plan| !plan.has_ended);
            if begins {
                let Fact { time_ns, seq, .. } = *told.fact;
                let start = ExecutionStart { time_ns, emitter: told.teller.emitter(), seq };
                let of_run = starts.of_run.entry(run).or_default();
                if !of_run.is_empty() {
                    starts.again.push(start);
                }
                if !is_again {
                    of_run.push(start);
                    // What was told before the first is of the first.
                    plans.resize_with(plans.len().max(of_run.len()), Plan::default);
                }
            }
            if plans.is_empty() {
                plans.push(Plan::default());
            }
            let Some(plan) = plans.last_mut() else { continue };
            plan.take(told, count, completed, is_again);
            plan.has_ended = ends || plan.has_ended && !begins;
        }
        let numbered = |(run, plans): (RunKey, Vec<Plan>)| {
            plans.into_iter().enumerate().map(move |(at, plan)| ((run, at), plan))
        };
        (Plans(of_run.into_iter().flat_map(numbered).collect()), starts)
    }

    /// Says what is not known of these steps, given what is known of them.
    pub(super) fn lacks<'j>(&self, steps: impl Iterator<Item = (Symbol, &'j Judged)>) -> Option<String> {
        if !self.0.iter().any(|(_, plan)| plan.says_anything()) {
            return None;
        }
        // By execution and way.
        let mut came: HashMap<((RunKey, usize), usize), Came<'j>> = HashMap::new();
        let mut known = HashSet::new();
        for (step, judged) in steps {
            known.extend(names_of(step, judged));
            for (execution, times) in &judged.came {
                for way in 0..2 {
                    let (runs, _) =
                        came.entry((*execution, way)).or_default().entry(step).or_insert((0, judged));
                    *runs = runs.saturating_add(times.in_way(way));
                }
            }
        }
        let none = HashMap::new();
        self.0.iter().find_map(|(execution, plan)| {
            plan.lacks([0, 1].map(|way| came.get(&(*execution, way)).unwrap_or(&none)), &known)
        })
    }
}

fn names_of(step: Symbol, judged: &Judged) -> impl Iterator<Item = Symbol> {
    std::iter::once(step).chain(judged.names.iter().copied())
}

fn add(known: &mut u64, more: u64) {
    *known = known.saturating_add(more);
}

impl Plan {
    fn says_anything(&self) -> bool {
        self.count > 0 || self.completed > 0
    }

    /// Takes in what an event says of how many steps there are. What it says again is what it has said.
    fn take(&mut self, told: &Told<'_>, count: u64, completed: u64, is_again: bool) {
        self.has_names |= count > 0 && !told.teller.is_panthers;
        let add = |known: u64, more: u64| {
            if is_again { known.max(more) } else { known.saturating_add(more) }
        };
        self.count = add(self.count, count);
        self.completed = add(self.completed, completed);
        let mut names: HashMap<Symbol, u64> = HashMap::new();
        let listed = told.fact.more.iter().flat_map(|more| &more.step_names);
        listed.for_each(|name| *names.entry(*name).or_default() += 1);
        for (name, times) in names {
            let known = self.names.entry(name).or_default();
            *known = add(*known, times);
        }
    }

    fn lacks(&self, came: [&Came<'_>; 2], known: &HashSet<Symbol>) -> Option<String> {
        // Each step is one of the list: by its id or, if that is not there, by another name of it.
        let mut times: HashMap<Symbol, [u64; 2]> = HashMap::new();
        let (mut runs, mut others) = ([0; 2], [0; 2]);
        let ways = came.into_iter().zip(&mut runs).zip(&mut others).enumerate();
        for (way, ((came, runs), others)) in ways {
            for (step, (of_step, judged)) in came {
                add(runs, *of_step);
                match names_of(*step, judged).find(|name| self.names.contains_key(name)) {
                    Some(name) => times
                        .entry(name)
                        .or_default()
                        .get_mut(way)
                        .into_iter()
                        .for_each(|known| add(known, *of_step)),
                    // One that runs more often stands for no other.
                    None if !self.names.is_empty() => add(others, (*of_step).min(1)),
                    None => add(others, *of_step),
                }
            }
        }
        // What one way says of a step, another says again.
        let most = |ways: [u64; 2]| ways.into_iter().max().unwrap_or(0);
        let times = |name: &Symbol| times.get(name).copied().map_or(0, most);
        let (runs, others) = (most(runs), most(others));
        let named =
            self.names.iter().map(|(name, listed)| times(name).min(*listed)).fold(0, u64::saturating_add);
        let says = |needs: u64, has: u64| {
            (has < needs)
                .then(|| format!("it has {} steps, and {has} are known to have been run", shown(needs)))
        };
        let has_names = self.has_names || self.names.keys().any(|name| known.contains(name));
        let is_missing = |(name, listed): &(&Symbol, &u64)| times(name) < **listed;
        let missing = if has_names { self.names.iter().filter(is_missing).count() } else { 0 };
        let listed = if has_names { self.names.values().copied().fold(0, u64::saturating_add) } else { 0 };
        let without_name = self.count.saturating_sub(listed);
        says(self.count, named.saturating_add(others))
            .or_else(|| says(self.completed, runs))
            .or_else(|| {
                (missing > 0).then(|| {
                    format!(
                        "{missing} of the steps that it lists are not known to have been run, by id or by name"
                    )
                })
            })
            .or_else(|| {
                (without_name > 0 && others > without_name).then(|| {
                    format!(
                        "it lists {without_name} steps by what is no name of theirs, and {others} others were run: \
                         which of them it has is not known"
                    )
                })
            })
    }
}
