//! The observer `results`: tests, their steps and their assertions, in one tree with durations and failures.
//!
//! ```text
//!  test "handshake"      failed    1.8 s
//!  ├─ step "connect"     passed    12 ms
//!  │  └─ assertion "rtt" passed
//!  └─ step "migrate"     failed    1.2 s   no answer on the new path
//! ```
//!
//! A part goes through the states of its domain's table, as in [`state`](crate::observe::state): it passes only by events
//! that the table allows. Which test a step or an assertion belongs to is taken from its context, or else from the
//! members `test_case_id` and `step_id` of its document, or else from the only test that has a step of that name. What
//! belongs to no known test, or may belong to several, is in the tree all the same, beside the tests. Tests of one name
//! in two experiments are two, where the context names the experiment.
//!
//! # What fails a part
//! Whatever says that something failed, when it comes and whether the table allows it or not: events named `…failed`, an
//! `error` of an assertion, flags that say so (`assertion_passed`, `all_passed`, `assertions_passed`, `passed`), numbers of
//! what failed. A failure and a passing end of one part make a failure in either order. An assertion of which two results
//! differ has failed: at least one time it did not hold.
//!
//! One thing undoes a failure: a step that failed, began again and completed has passed, as its table has it; until it has
//! completed, it has failed. It has to have begun again behind the failure in the order in which events came, and by
//! their times not before it and not after the end of its test, by the word of the emitter that told the failure and in the same
//! context. Where it is not known that it was the same step of the same run of a test (the test was run twice, or it failed before
//! the test began, or the step names no test and there are several), the failure counts.
//!
//! A part that begins again after an end (`created` or `setup_started` of a test, `execution_started` of a step,
//! `validation_started` of an assertion) is run again. It is as good as the worst of its runs; a run that ended only by
//! the next one is incomplete. What began twice and ended once is incomplete too. An end may be told in several ways
//! (`result` and `validation_completed` of an assertion, `completed` and `result` of a test): told once in each, it is one.
//!
//! An end is that of what began before it, by the times of both: what passed at a time before its last change, in whichever order
//! these came, is incomplete, since a later run may be going on.
//!
//! What is still running when its test ends has not passed, whatever comes later: it is incomplete if it passes after its test
//! did, by the times of both, and its message says by how much. An end at the same time is in time.
//!
//! A service or an environment that fails is no failed test: its test may want that. But what a tester finds
//! (`service.test_results`) is an assertion under the tester's name; it failed where it names failed checks.
//!
//! # Verdicts
//! The verdict on a test follows from what it says of itself and from its steps, assertions and checks; that on a step
//! from what is said of it and from its assertions ([`Outcome::with_parts`]). The first row that fits counts:
//!
//! | it says of itself | | of its parts | verdict |
//! |---|---|---|---|
//! | failed | or | one failed | failed |
//! | running: it never ended | and | | running |
//! | incomplete | or | one is running or incomplete | incomplete |
//! | unknown | or | one is unknown | unknown |
//! | unsupported | or | one is unsupported | unsupported |
//! | skipped | or | some were skipped, none passed | skipped |
//! | passed | and | | passed |
//!
//! A test that began to check assertions (`assertions_started`) and did not come to the end of it (`assertions_completed`,
//! `assertions_failed`) has a check that is running. Unknown are also: an assertion that was checked and of which no
//! result is told, assertions of which not all passed and none is told to have failed, an experiment that counts fewer
//! successes than tests and no failure, or of which not all tests came that it has or names (below), a test of which fewer steps ran
//! than it has (`steps`, `steps_completed`), fewer assertions looked at than were begun, counts that cannot be read, a flag that can
//! be read neither as true nor as false,
//! a test that began a step without a name, and whatever may have a part beyond the limit of what is followed: a test, and
//! the whole.
//!
//! Each run of an experiment (`initialized` begins another) has the tests that it counts or names (`test_count`, `total_count`,
//! `test_names`: the names of their entities), and each of them has to have ended while the run lasted, by its first and last event's
//! times. A test that was run again is one, but where it is named as often. It is of the experiment that its context names; if it
//! names none and several experiments lasted then, of the only one that can have it, and otherwise of none.
//!
//! [`ResultTree::outcome`] is the verdict on everything, what stands beside the tests and the experiments included; without
//! a test it is unknown.
//!
//! Events that never came (dropped, refused) say nothing in the tree: look at the [account](crate::pipeline::Account). In a summary
//! (feature `json`) they are doubts, and the outcome is unknown.
//!
//! # Example
//! ```
//! use panther_events::event::{Level, Value};
//! use panther_events::observe::results::{Outcome, Results};
//! use panther_events::pipeline::Pipeline;
//!
//! let mut builder = Pipeline::builder();
//! let results =
//!     builder.observer("results", |setup| Results::new(setup.catalogue, setup.symbols, setup.contexts));
//! let pipeline = builder.start()?;
//! let mut emitter = pipeline.emitter("runner")?;
//! let mut test = emitter.within(Level::Test, "handshake")?;
//! test.test("handshake").setup_started(Value::from(&["server"]), Default::default())?;
//! test.step("connect").execution_started(Value::Null, "connect", Default::default())?;
//! test.step("connect").execution_failed("no answer", 0, "connect", Default::default())?;
//! drop(test);
//! let snapshot = pipeline.shutdown();
//! let tree = snapshot.report(results).ok_or("results panicked")?.tree();
//! assert_eq!(tree.tests[0].outcome(), Outcome::Failed);
//! assert_eq!(tree.tests[0].steps[0].part.message.as_deref(), Some("no answer"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod evidence;
mod experiments;
mod part;
mod places;
mod report;
mod runs;
mod tree;
mod verdict;

pub use part::Part;
pub use report::ResultsReport;
pub use tree::{AssertionResult, ExperimentResult, ResultTree, StepResult, TestResult};
pub use verdict::{Outcome, Tally};

use crate::domain::{Catalogue, StateTable};
use crate::event::json::{Members, unquoted};
use crate::event::{Context, Contexts, Detail, Domain, EventKind, KindSet, Level, Record, Symbol, Symbols};
use crate::observe::{Batch, Interest, Observer, Scope, Undelivered};
use evidence::Evidence;
use experiments::Experiment;
use part::View;
use report::{Known, Test, TestKey};
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Tests, steps and assertions that an instance follows, unless told otherwise.
pub const PARTS_MAX: usize = 1 << 20;

/// Follows tests, steps and assertions.
///
/// Each worker's instance has the parts whose events it sees; the merged report has all.
#[derive(Debug)]
pub struct Results {
    symbols: Arc<Symbols>,
    contexts: Arc<Contexts>,
    tables: [Option<&'static StateTable>; DOMAINS.len()],
    parts_max: usize,
    found: ResultsReport,
}

impl Results {
    /// Follows at most [`PARTS_MAX`] parts.
    #[must_use]
    pub fn new(catalogue: &Catalogue, symbols: &Arc<Symbols>, contexts: &Arc<Contexts>) -> Results {
        Results {
            symbols: Arc::clone(symbols),
            contexts: Arc::clone(contexts),
            tables: DOMAINS.map(|domain| catalogue.states(domain)),
            parts_max: PARTS_MAX,
            found: ResultsReport::default(),
        }
    }

    /// Follows at most `parts_max` parts. Events of more are counted as failed.
    #[must_use]
    pub fn with_limit(mut self, parts_max: usize) -> Results {
        self.parts_max = parts_max;
        self
    }

    /// False when there is no room for the part.
    fn take(&mut self, record: &Record) -> bool {
        let domain = record.kind().domain();
        let table = DOMAINS.iter().zip(self.tables).find(|(known, _)| **known == domain);
        let table = table.and_then(|(_, table)| table);
        let context = self.contexts.of(record);
        let room = self.found.len() < self.parts_max;
        let (symbols, found) = (&self.symbols, &mut self.found);
        let detail = evidence::detail(record);
        symbols.details().with_text(detail, |document| {
            // What it may have said nobody knows.
            let is_unknown = document.is_none() && detail != Detail::NONE;
            let document = Members::of(document.unwrap_or_default());
            let place = Some(context.within_test());
            let numbering = self.contexts.numbering();
            let mut evidence = Evidence { place, numbering, ..Evidence::of(record, document) };
            if is_unknown {
                evidence.says(Outcome::Unknown, || "its document is not known".to_owned());
            }
            if evidence.executes {
                evidence.step_names = names(document, "steps").map(|name| Symbol::of(&name)).collect();
            }
            let event = Event { record, evidence, context, document, symbols, room };
            match (domain, table) {
                (Domain::TEST, Some(table)) => found.take_of_test(&event, table),
                (Domain::STEP, Some(table)) => found.take_of_step(&event, table),
                (Domain::ASSERTION, Some(table)) => found.take_of_assertion(&event, table),
                (Domain::EXPERIMENT, Some(table)) => found.take_of_experiment(&event, table),
                (Domain::SERVICE, _) => found.take_of_service(&event),
                _ => true,
            }
        })
    }
}

/// An event with what is known of it.
struct Event<'a> {
    record: &'a Record,
    evidence: Evidence,
    context: Context,
    document: Members<'a>,
    symbols: &'a Symbols,
    /// Whether there is room for one more part.
    room: bool,
}

impl Event<'_> {
    /// The test that its context or document names.
    fn test(&self) -> TestKey {
        TestKey { experiment: self.experiment(), test: self.place(Level::Test, "test_case_id") }
    }

    fn experiment(&self) -> Symbol {
        self.context.get(Level::Experiment).unwrap_or(Symbol::NONE)
    }

    /// Where a part belongs, by its context or by a member of its document.
    fn place(&self, level: Level, member: &str) -> Symbol {
        self.context.get(level).or_else(|| self.name(member)).unwrap_or(Symbol::NONE)
    }

    /// The name that stands in a member of the document. One that the table refuses goes by number.
    fn name(&self, member: &str) -> Option<Symbol> {
        let name = name(self.document.raw(member)?)?;
        Some(self.symbols.intern(&name).unwrap_or(Symbol::of(&name)))
    }
}

/// The names that a member of the document lists.
fn names<'a>(document: Members<'a>, member: &str) -> impl Iterator<Item = Cow<'a, str>> {
    document.values(member).filter_map(name)
}

/// Reads a name that is written so.
fn name(raw: &str) -> Option<Cow<'_, str>> {
    let name = unquoted(raw)?;
    // Halves of surrogate pairs are read as one sign; as they are written they are several.
    let has_halves = name.contains(char::REPLACEMENT_CHARACTER) && raw.contains("\\ud");
    // No other name begins with that sign and reads like an escape.
    Some(if has_halves { format!("{}{raw}", char::REPLACEMENT_CHARACTER).into() } else { name })
}

/// Domains whose entities are followed through their tables.
const DOMAINS: [Domain; 4] = [Domain::TEST, Domain::STEP, Domain::ASSERTION, Domain::EXPERIMENT];

impl Observer for Results {
    type Report = ResultsReport;

    fn interest(&self) -> Interest {
        let testers = KindSet::of(&[EventKind::TEST_RESULTS]);
        let kinds = DOMAINS.iter().fold(testers, |set, domain| set.union(&KindSet::domain(*domain)));
        Interest { kinds, duplicates: false, scope: Scope::Entity }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        let events = batch.iter().filter(|(record, _)| !self.take(record)).count() as u64;
        self.found.untracked += events;
        if events == 0 {
            return Ok(());
        }
        Err(Undelivered {
            events,
            reason: "the limit of tests, steps and assertions is reached; raise it".into(),
        })
    }

    fn report(&self) -> ResultsReport {
        self.found.clone()
    }
}

impl ResultsReport {
    fn take_of_test(&mut self, event: &Event<'_>, table: &StateTable) -> bool {
        let (record, evidence) = (event.record, &event.evidence);
        let key = TestKey { experiment: event.experiment(), test: record.entity() };
        let new = || Test::new(table);
        let Some(test) = entry(&mut self.tests, key, event.room, new) else { return false };
        if let Some(checking) = evidence.checking {
            test.take_checking(checking, record.time_ns());
        }
        if let Some(check) = evidence.check {
            test.checks.add(check);
        }
        let Some(outcome) = evidence.step else {
            test.view.take(table, record, evidence);
            return true;
        };
        let step = event.name("step_name");
        if step.is_none() && outcome != Outcome::Passed {
            // Nobody knows which, so it is the test that failed, or of which nobody knows whether the step ended.
            let outcome = if outcome == Outcome::Failed { outcome } else { Outcome::Unknown };
            test.view.take(table, record, &Evidence { outcome: Some(outcome), ..evidence.clone() });
            return true;
        }
        test.view.take(table, record, evidence);
        let Some(step) = step else { return true };
        let Some(step) = entry(&mut self.steps, (key, step), event.room, Known::default) else {
            return false;
        };
        step.told.get_or_insert_default().told(outcome, record, evidence, true);
        true
    }

    fn take_of_step(&mut self, event: &Event<'_>, table: &StateTable) -> bool {
        let key = (event.test(), event.record.entity());
        let Some(step) = entry(&mut self.steps, key, event.room, Known::default) else { return false };
        step.own.get_or_insert_with(|| View::new(table)).take(table, event.record, &event.evidence);
        true
    }

    fn take_of_assertion(&mut self, event: &Event<'_>, table: &StateTable) -> bool {
        let Some(known) = self.assertion(event) else { return false };
        known.own.get_or_insert_with(|| View::new(table)).take(table, event.record, &event.evidence);
        true
    }

    /// What a service finds that tests others is an assertion under its name.
    fn take_of_service(&mut self, event: &Event<'_>) -> bool {
        let Some(outcome) = event.evidence.found else { return true };
        let Some(known) = self.assertion(event) else { return false };
        known.told.get_or_insert_default().told(outcome, event.record, &event.evidence, false);
        true
    }

    fn take_of_experiment(&mut self, event: &Event<'_>, table: &StateTable) -> bool {
        let (record, evidence) = (event.record, &event.evidence);
        let key = record.entity();
        let new = || Experiment::new(table);
        let Some(experiment) = entry(&mut self.experiments, key, event.room, new) else { return false };
        experiment.view.take(table, record, evidence);
        experiment.take(
            evidence.begins,
            record.time_ns(),
            evidence.tests.unwrap_or(0),
            names(event.document, "test_names"),
        );
        true
    }

    fn assertion(&mut self, event: &Event<'_>) -> Option<&mut Known> {
        let key = (event.test(), event.place(Level::Step, "step_id"), event.record.entity());
        entry(&mut self.assertions, key, event.room, Known::default)
    }
}

/// Finds or adds; `None` when it is not there and there is no room.
fn entry<K: Hash + Eq, V>(
    map: &mut HashMap<K, V>,
    key: K,
    room: bool,
    new: impl FnOnce() -> V,
) -> Option<&mut V> {
    if room {
        return Some(map.entry(key).or_insert_with(new));
    }
    map.get_mut(&key)
}
