//! Whether a test came to the end of each time that it ran its steps.
//!
//! A test may be prepared and executed again without telling a beginning of its own. It ends an execution by saying so, or by its own end, or by a
//! result behind that: where it was executed several times in one run, one of these ways has to have all ends. An execution that ends
//! when the test has ended was still running then.

use super::fact::{Fact, Origin, Stage, Tellers, Told};
use super::judge::judge;
use super::sweep::{ALONE, Law};
use super::test_runs::{RunKey, TestRuns};
use super::verdict::Outcome;
use crate::domain::StateTable;
use std::collections::BTreeMap;

/// What all processes tell of the executions in a run of a test.
#[derive(Default)]
struct OfAll {
    begun: u64,
    /// The test has ended.
    has_ended: bool,
    /// Behind that it prepared to be executed again, and nothing has ended since.
    goes_on: bool,
}

/// What one process tells of the executions in a run of a test.
#[derive(Default)]
struct Executions {
    begun: u64,
    /// By the ends of executions that it tells.
    own: Vec<Fact>,
    /// By the ends of the test.
    with_test: Vec<Fact>,
}

/// Says which execution did not come to its end, or not in time, given all that a test tells of itself in the order of time.
pub(super) fn unfinished(
    all: &[Told<'_>],
    table: Option<&StateTable>,
    tellers: &Tellers,
    runs: &TestRuns,
) -> Option<String> {
    let mut by_run: BTreeMap<(Origin, RunKey), Executions> = BTreeMap::new();
    // What all processes tell of a run: one may execute again what another did.
    let mut of_all: BTreeMap<RunKey, OfAll> = BTreeMap::new();
    for told in all {
        let ends_test = told.fact.executing.is_none() && ends_test(told, table);
        if told.fact.executing.is_none() && !ends_test {
            continue;
        }
        let origin = told.teller.origin();
        let seen = runs.of_origin(origin);
        let run = seen.key(seen.at(told, |_| false));
        let of_run = by_run.entry((origin, run)).or_default();
        let all = of_all.entry(run).or_default();
        let Fact { time_ns, seq, teller, ends, .. } = *told.fact;
        let fact = Fact { time_ns, seq, teller, by_other: true, ..Fact::default() };
        match told.fact.executing {
            Some(Stage::Begins) => {
                let fact = Fact { begins: Some(0), ..fact };
                all.begun += 1;
                of_run.begun += 1;
                of_run.with_test.push(fact.clone());
                of_run.own.push(fact);
            }
            Some(Stage::Prepares) => all.goes_on |= all.has_ended,
            Some(Stage::Ends) => {
                all.goes_on = false;
                of_run.own.push(Fact { ends: 1, ..fact });
            }
            None => {
                (all.has_ended, all.goes_on) = (true, false);
                of_run.with_test.push(Fact { ends, ..fact });
            }
        }
    }
    let again = "it was executed again, and did not come to the end of that";
    if of_all.values().any(|of_run| of_run.goes_on) {
        return Some(again.to_owned());
    }
    let lacks = |((_, run), executions): (&(Origin, RunKey), &Executions)| {
        let own = judge(executions.own.iter(), tellers, Law { test: Some(runs), ..ALONE });
        if own.open == 0 && own.part.outcome != Outcome::Running {
            // Where it says when each of them ended, that counts.
            let message = own.part.message.unwrap_or_else(|| "did not pass".into());
            return (own.part.outcome != Outcome::Passed).then(|| format!("its execution {message}"));
        }
        let with_test = || judge(executions.with_test.iter(), tellers, ALONE).part.outcome;
        let is_again = of_all.get(run).is_some_and(|all| all.begun > 1);
        (is_again && with_test() != Outcome::Passed).then(|| again.to_owned())
    };
    by_run.iter().filter(|(_, executions)| executions.begun > 0).find_map(lacks)
}

/// Whether a test that goes on ends by that, allowed or not: one that is executed again may tell its end again.
fn ends_test(told: &Told<'_>, table: Option<&StateTable>) -> bool {
    let payload = told.fact.more.as_ref().and_then(|more| more.payload).unwrap_or_default();
    let path = table.map_or(&[][..], |table| table.path(table.initial, told.fact.code, &payload));
    let reached = path.last().and_then(|state| table?.name(*state));
    reached.is_some_and(|state| Outcome::of_state(state) != Outcome::Running)
}
