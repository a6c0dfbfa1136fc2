//! The observer `results`: tests, their steps and their assertions, in one tree with durations and failures.
//!
//! ```text
//!  test "handshake"      failed    1.8 s
//!  ├─ step "connect"     passed    12 ms
//!  │  └─ assertion "rtt" passed
//!  └─ step "migrate"     failed    1.2 s   no answer on the new path
//! ```
//!
//! All events of a part (a test, a step, an assertion, an experiment) are kept, as facts with their times and with who told them,
//! and are judged when the tree is made. So it does not matter in which order they came.
//!
//! Which test a step or an assertion belongs to is taken from its context, or else from the members `test_case_id` and
//! `step_id` of its document, or else from the only test that has a step of that name. What belongs to no known test, or may
//! belong to several, is in the tree all the same, beside the tests. Tests of one name in two experiments are two, where the
//! context names the experiment.
//!
//! # What fails a part
//! Whatever says that something failed, when it comes and whether the state table allows it or not: events named `…failed`, an
//! `error` of an assertion, flags that say so (`assertion_passed`, `all_passed`, `assertions_passed`, `passed`), numbers of
//! what failed. A failure and a passing end of one part make a failure in either order. An assertion of which two results
//! differ has failed: at least one time it did not hold.
//!
//! One thing undoes a failure: a step that began, failed, began again and completed has passed. One emitter has to tell all four, in
//! one context and in the order of their times, and nothing in between that is no part of it. Failure and new beginning have to lie
//! in one run of the test. In all other cases the failure counts: nobody knows that what passed is what had failed.
//!
//! # What passes
//! Tests and experiments pass by events that their [state tables](crate::domain::StateTable) allow, in the order of time. A
//! beginning that the table does not allow begins another run.
//!
//! Steps and assertions pass if all that began came to a passing end behind that, by the times of both, and no later than the test
//! in a run of which it began. An end at the same time is in time. In detail:
//!
//! - Each beginning needs an end (`created` and `setup_started` of a test are one beginning, what a step and its test tell
//!   of it are one). An end may be told in several ways (`result` and `validation_completed` of an assertion, `completed` and
//!   `result` of a test, by a step and by its test): one of these ways has to have all ends.
//! - An end belongs to what its emitter began, in the same context before others. Where that has ended, it is told again, and ends
//!   nothing else. Who has begun nothing of that name tells the end of what another began.
//! - What was begun in one context is not ended in another that differs from it (another service, say); a context that says less
//!   may be the same, and who began something in one step may end it in another. What was skipped ends nothing that
//!   tells of itself that it began.
//! - What a step or an assertion tells of itself passes only if it began. What a test tells of its step, or a service of what it
//!   found, needs no beginning; but it does not pass after its test has ended.
//! - What one process began, another does not end. A run of a test is one for all processes, while no other runs the test; where
//!   several run it at one time, what each tells is judged by its own run.
//! - What begins again is as good as the worst of its runs.
//! - A test that runs its steps again without a beginning of its own (`execution_started` twice in one run) has to come to the end of
//!   each time: by `execution_completed`, or by an end of its own each time.
//! - What is still running when a run of its test ends is incomplete, and its message says by how much it was late. A step that
//!   began when its test had ended, or ended before it began, is judged for itself.
//!
//! Events of one emitter at one time are in the order in which it told them; but a beginning that a line of PANTHER's tells at the time
//! of a failure is no retry, since its times are coarse and its lines come from several threads. Of events of several at one time nobody knows the
//! order: those of emitters that begin something then are taken to be first.
//!
//! So threads that begin and end what others began and end, each by an emitter of its own, are told from one another by nothing; let
//! what belongs together be told by one emitter, or in a context of its own. What a test says of assertions without a name
//! (`assertion_checked`) counts whenever it is told.
//!
//! An emitter is one voice: threads that share one (an [`EmitterPool`](crate::pipeline::EmitterPool)) and each do a step of one name are
//! not told apart, unless they are in different contexts.
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
//! successes than tests and no failure, or of which not all tests came that it has or names (below), a test of which not the steps ran
//! that it has (below), fewer assertions looked at than were begun, counts that cannot be read, a flag that can
//! be read neither as true nor as false,
//! a test that began a step without a name, and whatever may have a part beyond the limit of what is followed: a test, and
//! the whole.
//!
//! Each run of a test has the steps that it lists (`steps` of `execution_started`), by their ids or by the names that they tell of
//! themselves (`step_name`), and as many as it counts (`steps_completed`). No step stands for another. Lines of PANTHER's may list
//! descriptions instead of names: where no step has one of these, there have to be exactly as many.
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
//!     builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
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
mod executions;
mod experiments;
mod fact;
mod judge;
mod lifecycle;
mod part;
mod places;
mod plans;
mod report;
mod retries;
mod sweep;
mod test_runs;
mod tests;
mod tree;
mod verdict;

pub use part::Part;
pub use report::ResultsReport;
pub use tree::{AssertionResult, ExperimentResult, ResultTree, StepResult, TestResult};
pub use verdict::{Outcome, Tally};

use crate::domain::{Schema, TransitionPath};
use crate::event::json::{Members, beginning, unquoted};
use crate::event::{Context, Contexts, Detail, Domain, EventKind, KindSet, Level, Record, Symbol, Symbols};
use crate::observe::{Batch, Interest, Observer, Scope, Undelivered};
use evidence::Evidence;
use fact::{Fact, Stage, Teller};
use report::TestKey;
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;

/// Tests, steps, assertions and experiments that an instance follows, unless told otherwise.
pub const PARTS_MAX: usize = 1 << 20;

/// Events of these that an instance keeps: some 64 bytes each, and their messages.
const EVENTS_MAX: usize = 1 << 22;

/// Bytes of a test's name that are kept, to be shown.
const NAME_LEN_MAX: usize = 256;

/// Follows tests, steps and assertions.
///
/// Each worker's instance has the parts whose events it sees; the merged report has all.
#[derive(Debug)]
pub struct Results {
    symbols: Arc<Symbols>,
    contexts: Arc<Contexts>,
    parts_max: usize,
    found: ResultsReport,
}

impl Results {
    /// Follows at most [`PARTS_MAX`] parts.
    #[must_use]
    pub fn new(schema: &Schema, symbols: &Arc<Symbols>, contexts: &Arc<Contexts>) -> Results {
        Results {
            symbols: Arc::clone(symbols),
            contexts: Arc::clone(contexts),
            parts_max: PARTS_MAX,
            found: ResultsReport {
                test_table: schema.states(Domain::TEST).cloned(),
                experiment_table: schema.states(Domain::EXPERIMENT).cloned(),
                ..ResultsReport::default()
            },
        }
    }

    /// Follows at most `parts_max` parts. Events of more are counted as failed, and nothing passes.
    #[must_use]
    pub fn with_limit(mut self, parts_max: usize) -> Results {
        self.parts_max = parts_max;
        self
    }

    /// False when there is no room for it.
    fn take(&mut self, record: &Record) -> bool {
        let domain = record.kind().domain();
        let table = match domain {
            Domain::TEST => self.found.test_table.as_deref(),
            Domain::EXPERIMENT => self.found.experiment_table.as_deref(),
            _ => None,
        };
        let has_table = matches!(domain, Domain::TEST | Domain::EXPERIMENT);
        if has_table && table.is_none() {
            return true;
        }
        let path = table.and_then(|table| table.paths.get(usize::from(record.kind().code())));
        let stays = has_table && matches!(path, None | Some(TransitionPath::Stay));
        let forks = matches!(path, Some(TransitionPath::By { .. }));
        let context = self.contexts.of(record);
        let has_room = self.found.log.facts < EVENTS_MAX;
        let may_add = self.found.len() < self.parts_max;
        let (symbols, found, parts_max) = (&self.symbols, &mut self.found, self.parts_max);
        let detail = evidence::detail(record);
        let teller = Teller {
            numbering: self.contexts.numbering(),
            source: record.source(),
            is_panthers: record.is_panthers(),
            place: context.within_test().around_itself(Level::enclosed(domain), record.entity()),
        };
        symbols.details().with_text(detail, |document| {
            // What it may have said nobody knows.
            let is_unknown = document.is_none() && detail != Detail::NONE;
            let document = Members::of(document.unwrap_or_default());
            let mut evidence = Evidence::of(record, document);
            if is_unknown {
                evidence.says(Outcome::Unknown, || "its document is not known".to_owned());
                evidence.found = evidence.found.map(|found| match found {
                    Outcome::Failed => found,
                    _ => Outcome::Unknown,
                });
            }
            if evidence.executing == Some(Stage::Begins) {
                evidence.more.step_names = names(document, "steps").map(|name| Symbol::of(&name)).collect();
            }
            if domain == Domain::STEP && evidence.begins.is_some() {
                let name = document.raw("step_name").and_then(name).map(|name| Symbol::of(&name));
                evidence.more.step_names = name.filter(|name| *name != record.entity()).into_iter().collect();
            }
            if domain == Domain::EXPERIMENT {
                let shown = |name: Cow<'_, str>| (Symbol::of(&name), beginning(&name, NAME_LEN_MAX).into());
                evidence.more.test_names = names(document, "test_names").map(shown).collect();
            }
            if stays {
                evidence.ends = 0;
            } else if forks {
                evidence.more.payload = Some(*record.payload_bytes());
            }
            let event =
                Event { record, evidence, context, document, symbols, teller, has_room, may_add, parts_max };
            match domain {
                Domain::TEST => found.take_of_test(event),
                Domain::STEP => found.take_of_step(event),
                Domain::ASSERTION => found.take_of_assertion(event),
                Domain::EXPERIMENT => found.take_of_experiment(event),
                _ => found.take_of_service(event),
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
    teller: Teller,
    /// Whether there is room for one more event, and for one more part.
    has_room: bool,
    may_add: bool,
    parts_max: usize,
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

    /// Which assertion it is of.
    fn assertion(&self) -> (TestKey, Symbol, Symbol) {
        (self.test(), self.place(Level::Step, "step_id"), self.record.entity())
    }

    /// Finds or adds; `None` when there is no room.
    fn entry<'m, K: Hash + Eq, V: Default>(&self, map: &'m mut HashMap<K, V>, key: K) -> Option<&'m mut V> {
        match map.entry(key) {
            _ if !self.has_room => None,
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(place) => self.may_add.then(|| {
                self.keep_names();
                place.insert(V::default())
            }),
        }
    }

    /// Keeps the names by which the tree tells of a part.
    fn keep_names(&self) {
        let (TestKey { experiment, test }, step, part) = self.assertion();
        for name in [experiment, test, step, part] {
            self.symbols.keep(name);
        }
    }

    /// Makes a fact of what it says.
    fn fact(&self, evidence: Evidence) -> Fact {
        report::fact(self.record, self.test().test != Symbol::NONE, evidence)
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

/// Domains whose entities are followed.
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
            reason: "the limit of tests, steps and assertions, or of their events, is reached; raise it"
                .into(),
        })
    }

    fn report(&self) -> ResultsReport {
        self.found.clone()
    }
}

impl ResultsReport {
    fn take_of_test(&mut self, mut event: Event<'_>) -> bool {
        let key = TestKey { experiment: event.experiment(), test: event.record.entity() };
        let (checking, check, step) = (event.evidence.checking, event.evidence.check, event.evidence.step);
        let Some(test) = event.entry(&mut self.tests, key) else { return false };
        if let Some(check) = check {
            test.checks.add(check);
        }
        if let Some(checking) = checking {
            let fact = event.fact(event.evidence.of_checks(checking));
            self.log.keep(&mut test.checking, event.teller, Fact { by_other: true, ..fact });
        }
        let name = step.and_then(|_| event.name("step_name"));
        let mut own = event.evidence.clone();
        match step {
            None => {}
            // Nobody knows which, so it is the test that failed, or of which nobody knows whether the step ended.
            Some(Outcome::Failed) if name.is_none() => own.outcome = step,
            Some(outcome) if name.is_none() && outcome != Outcome::Passed => {
                own.says(Outcome::Unknown, || "a step without a name began".to_owned());
            }
            Some(_) if own.outcome.is_none() => own.more.message = None,
            Some(_) => {}
        }
        // Wherever a test tells of itself, it is one.
        let teller = Teller { place: Context::NONE, ..event.teller };
        self.log.keep(&mut test.facts, teller, event.fact(own));
        let (Some(outcome), Some(name)) = (step, name) else { return true };
        event.may_add = self.len() < event.parts_max;
        let Some(step) = event.entry(&mut self.steps, (key, name)) else { return false };
        let evidence = std::mem::take(&mut event.evidence).of_step(outcome);
        let fact = event.fact(evidence);
        self.log.keep(
            step,
            event.teller,
            Fact { by_other: true, names_test: true, is_of_step: true, ..fact },
        );
        true
    }

    fn take_of_step(&mut self, mut event: Event<'_>) -> bool {
        let key = (event.test(), event.record.entity());
        let Some(step) = event.entry(&mut self.steps, key) else { return false };
        let evidence = std::mem::take(&mut event.evidence);
        let fact = event.fact(evidence);
        self.log.keep(step, event.teller, fact);
        true
    }

    fn take_of_assertion(&mut self, mut event: Event<'_>) -> bool {
        let key = event.assertion();
        let Some(known) = event.entry(&mut self.assertions, key) else { return false };
        let evidence = std::mem::take(&mut event.evidence);
        let fact = event.fact(evidence);
        self.log.keep(&mut known.own, event.teller, fact);
        true
    }

    /// What a service finds that tests others is an assertion under its name.
    fn take_of_service(&mut self, mut event: Event<'_>) -> bool {
        let Some(outcome) = event.evidence.found else { return true };
        let key = event.assertion();
        let Some(known) = event.entry(&mut self.assertions, key) else { return false };
        let evidence = std::mem::take(&mut event.evidence).of_assertion(outcome);
        let fact = event.fact(evidence);
        self.log.keep(&mut known.found, event.teller, Fact { by_other: true, ..fact });
        true
    }

    fn take_of_experiment(&mut self, mut event: Event<'_>) -> bool {
        let key = event.record.entity();
        let Some(experiment) = event.entry(&mut self.experiments, key) else { return false };
        let evidence = std::mem::take(&mut event.evidence);
        let teller = Teller { place: Context::NONE, ..event.teller };
        self.log.keep(experiment, teller, event.fact(evidence));
        true
    }
}
