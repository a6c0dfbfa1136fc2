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
//!   each time: by `execution_completed`, or by an end of its own each time. One that prepares for it when it has ended
//!   (`environment_setup_started`, `deployment_started`) has to end again. So it is where another process runs its steps again: each
//!   that does has to come to the end of it.
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
//! An emitter is one voice, by the number of its source; a process that makes more than 65,536 emitters gives numbers again, and two that
//! had one number are taken for one. Threads that share one (an [`EmitterPool`](crate::pipeline::EmitterPool)) and each do a step of one name are
//! not told apart, either, unless they are in different contexts.
//!
//! Of several who tell of one fact under a key ([`EventId::key`](crate::event::EventId::key)), the first is the event; where a later one
//! says worse, that counts as well, with a warning ([`ResultsReport::contrary`]). Whose first teller came before the observer, or with
//! an earlier run, is not looked at: the summary's doubts tell of that. What is the same by [`Identity::Content`] is one, by choice:
//! a second beginning of the same content is none.
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
//! Each execution of a test, in each of its runs, has the steps that it lists (`steps` of `execution_started`), by their ids or by the names that they tell of
//! themselves (`step_name`), and as many as it counts (`steps_completed`). No step stands for another. Lines of PANTHER's may list
//! descriptions instead of names: where no step has one of these, there have to be exactly as many.
//!
//! Each run of an experiment (`initialized` begins another) has the tests that it counts or names (`test_count`, `total_count`,
//! `test_names`: the names of their entities), and each of them has to have ended while the run lasted, by its first and last event's
//! times. A test that was run again is one, but where it is named as often. It is of the experiment that its context names; if it
//! names none and several experiments lasted then, of the only one that can have it, and otherwise of none.
//!
//! [`Identity::Content`]: crate::event::Identity::Content
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
mod intake;
mod judge;
mod keyed;
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

use crate::dedup::Verdict;
use crate::domain::Schema;
use crate::event::{Contexts, Domain, EventKind, KindSet, Symbols};
use crate::observe::{Batch, Interest, Observer, Scope, Undelivered};
use intake::Intake;
use keyed::is_keyed;
use std::sync::Arc;

/// Tests, steps, assertions and experiments that an instance follows, unless told otherwise.
pub const PARTS_MAX: usize = 1 << 20;

/// Follows tests, steps and assertions.
///
/// Each worker's instance has the parts whose events it sees; the merged report has all.
#[derive(Debug)]
pub struct Results {
    intake: Intake,
}

impl Results {
    /// Follows at most [`PARTS_MAX`] parts.
    #[must_use]
    pub fn new(schema: &Schema, symbols: &Arc<Symbols>, contexts: &Arc<Contexts>) -> Results {
        Results { intake: Intake::new(schema, symbols, contexts, PARTS_MAX) }
    }

    /// Follows at most `parts_max` parts. Events of more are counted as failed, and nothing passes.
    #[must_use]
    pub fn with_limit(mut self, parts_max: usize) -> Results {
        self.intake.parts_max = parts_max;
        self
    }
}

/// Domains whose entities are followed.
const DOMAINS: [Domain; 4] = [Domain::TEST, Domain::STEP, Domain::ASSERTION, Domain::EXPERIMENT];

impl Observer for Results {
    type Report = ResultsReport;

    fn interest(&self) -> Interest {
        let testers = KindSet::of(&[EventKind::TEST_RESULTS]);
        let kinds = DOMAINS.iter().fold(testers, |set, domain| set.union(&KindSet::domain(*domain)));
        // Duplicates by key, of which one may say worse than the first.
        Interest { kinds, duplicates: true, scope: Scope::Entity }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        let mut events = 0;
        for (record, verdict) in batch.iter() {
            let is_duplicate = *verdict != Verdict::New;
            if (!is_duplicate || is_keyed(record)) && !self.intake.take(record, is_duplicate) {
                self.intake.found.untracked += 1;
                // Of duplicates nobody keeps account.
                events += u64::from(!is_duplicate);
            }
        }
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
        self.intake.found.clone()
    }
}
