//! The observer `results`: tests, their steps and their assertions, in one tree with durations and failures.
//!
//! ```text
//!  test "handshake"      failed    1.8 s
//!  ├─ step "connect"     passed    12 ms
//!  │  └─ assertion "rtt" passed
//!  └─ step "migrate"     failed    1.2 s   no answer on the new path
//! ```
//!
//! A part goes through the states of its domain's table, as in [`state`](crate::observe::state): an event that is not
//! allowed changes nothing. Which test a step or an assertion belongs to is taken from its context, or else from the
//! members `test_case_id` and `step_id` of its document, or else from a test that names the step. What belongs to no
//! known test is in the tree all the same, beside the tests.
//!
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

mod part;
mod tree;

pub use part::{Outcome, Part};
pub use tree::{AssertionResult, ResultTree, StepResult, Tally, TestResult};

use crate::domain::{Catalogue, StateTable};
use crate::event::members::Members;
use crate::event::payload::Value;
use crate::event::{Context, Contexts, Detail, Domain, KindSet, Level, Record, Symbol, Symbols};
use crate::observe::{Batch, Interest, Observer, Report, Scope, Undelivered};
use part::View;
use std::collections::HashMap;
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
    tables: [Option<&'static StateTable>; 3],
    parts_max: usize,
    found: ResultsReport,
}

/// What is known of tests, steps and assertions; [`ResultsReport::tree`] puts it in order.
#[derive(Clone, Debug, Default)]
pub struct ResultsReport {
    tests: HashMap<Symbol, Test>,
    /// By test, or [`Symbol::NONE`], and name.
    steps: HashMap<(Symbol, Symbol), Known>,
    /// By test and step, or [`Symbol::NONE`], and name.
    assertions: HashMap<(Symbol, Symbol, Symbol), Known>,
    untracked: u64,
}

#[derive(Clone, Debug, Default)]
struct Test {
    experiment: Option<Symbol>,
    known: Known,
    checks: Tally,
}

/// What a part's own events say, and what those of its test say of it.
#[derive(Clone, Debug, Default)]
struct Known {
    own: Option<View>,
    told: Option<View>,
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
        let (domain, entity) = (record.kind().domain(), record.entity());
        let Some(table) = DOMAINS.iter().zip(self.tables).find(|(known, _)| **known == domain) else {
            return true;
        };
        let Some(table) = table.1 else { return true };
        let fields = Fields::of(record);
        let context = self.contexts.of(record);
        let room = self.found.len() < self.parts_max;
        let symbols = Arc::clone(&self.symbols);
        symbols.details().with_text(fields.detail, |document| {
            let document = Members::of(document.unwrap_or_default());
            let found = &mut self.found;
            match domain {
                Domain::TEST => {
                    let Some(test) = found.test(entity, room) else { return false };
                    if let Some(experiment) = context.get(Level::Experiment) {
                        test.experiment = Some(experiment);
                    }
                    if let Some(passed) = fields.checked {
                        test.checks.add(if passed { Outcome::Passed } else { Outcome::Failed });
                    }
                    test.known.own.get_or_insert_with(|| View::new(table)).take(
                        table,
                        record,
                        fields.duration_ns,
                        document,
                    );
                    found.take_told_step(entity, record, &fields, document, &symbols, room)
                }
                Domain::STEP => {
                    let test = place(&context, Level::Test, document, "test_case_id", &symbols);
                    let Some(step) = entry(&mut found.steps, (test, entity), room) else { return false };
                    let view = step.own.get_or_insert_with(|| View::new(table));
                    view.take(table, record, fields.duration_ns, document);
                    true
                }
                _ => {
                    let test = place(&context, Level::Test, document, "test_case_id", &symbols);
                    let step = place(&context, Level::Step, document, "step_id", &symbols);
                    let key = (test, step, entity);
                    let Some(known) = entry(&mut found.assertions, key, room) else { return false };
                    let view = known.own.get_or_insert_with(|| View::new(table));
                    view.take(table, record, fields.duration_ns, document);
                    true
                }
            }
        })
    }
}

const DOMAINS: [Domain; 3] = [Domain::TEST, Domain::STEP, Domain::ASSERTION];

impl Observer for Results {
    type Report = ResultsReport;

    fn interest(&self) -> Interest {
        let kinds = DOMAINS.iter().fold(KindSet::EMPTY, |set, domain| set.union(&KindSet::domain(*domain)));
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
    /// Puts what is known in order: tests by their beginnings, and in them their steps and assertions.
    #[must_use]
    pub fn tree(&self) -> ResultTree {
        tree::build(self)
    }

    /// Returns how many events were of parts beyond the limit.
    #[must_use]
    pub fn untracked(&self) -> u64 {
        self.untracked
    }

    /// Tells whether no test, step or assertion is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.tests.len() + self.steps.len() + self.assertions.len()
    }

    fn test(&mut self, entity: Symbol, room: bool) -> Option<&mut Test> {
        entry(&mut self.tests, entity, room)
    }

    /// Takes what a test says of a step; false when there is no room for it.
    fn take_told_step(
        &mut self,
        test: Symbol,
        record: &Record,
        fields: &Fields,
        document: Members<'_>,
        symbols: &Symbols,
        room: bool,
    ) -> bool {
        let Some(outcome) = fields.step else { return true };
        let Some(name) = document.text("step_name") else { return true };
        // A name that the table refuses goes by number.
        let name = symbols.intern(&name).unwrap_or(Symbol::of(&name));
        let Some(step) = entry(&mut self.steps, (test, name), room) else { return false };
        step.told.get_or_insert_default().told(outcome, record.time_ns(), fields.duration_ns, document);
        true
    }
}

impl Report for ResultsReport {
    fn merge(&mut self, other: ResultsReport) {
        for (name, test) in other.tests {
            let known = self.tests.entry(name).or_default();
            known.experiment = known.experiment.or(test.experiment);
            known.checks.merge(test.checks);
            known.known.merge(test.known);
        }
        for (key, step) in other.steps {
            self.steps.entry(key).or_default().merge(step);
        }
        for (key, assertion) in other.assertions {
            self.assertions.entry(key).or_default().merge(assertion);
        }
        self.untracked += other.untracked;
    }
}

impl Known {
    /// All events of one entity come to one instance, so no two have the same view.
    fn merge(&mut self, other: Known) {
        self.own = self.own.take().or(other.own);
        self.told = match (self.told.take(), other.told) {
            (Some(one), Some(other)) => Some(one.later(other)),
            (one, other) => one.or(other),
        };
    }

    /// A failure counts whoever tells of it, and an end more than none; else the part's own events say it better.
    fn part(&self) -> Part {
        match (&self.own, &self.told) {
            (Some(own), Some(told)) => own.part().or_worse(told.part()),
            (Some(view), None) | (None, Some(view)) => view.part(),
            (None, None) => Part::default(),
        }
    }
}

/// What is read of the payload.
struct Fields {
    detail: Detail,
    duration_ns: Option<u64>,
    /// An assertion that a test has checked.
    checked: Option<bool>,
    /// What a test says of a step.
    step: Option<Outcome>,
}

impl Fields {
    fn of(record: &Record) -> Fields {
        use crate::domain::{assertion, step, test};
        let kinds = match record.kind().domain() {
            Domain::TEST => test::KINDS,
            Domain::STEP => step::KINDS,
            _ => assertion::KINDS,
        };
        let mut fields = Fields { detail: Detail::NONE, duration_ns: None, checked: None, step: None };
        let Some(kind) = kinds.get(usize::from(record.kind().code())) else { return fields };
        for field in kind.fields {
            match (field.name, field.read(record.payload_bytes())) {
                ("detail", Some(Value::Detail(detail))) => fields.detail = detail,
                ("duration_ns" | "total_duration_ns", Some(Value::Unsigned(ns))) => {
                    fields.duration_ns = Some(ns);
                }
                ("passed", Some(Value::Bool(passed))) => fields.checked = Some(passed),
                _ => {}
            }
        }
        fields.step = match (record.kind().domain(), kind.name) {
            (Domain::TEST, "step_started") => Some(Outcome::Running),
            (Domain::TEST, "step_completed") => Some(Outcome::Passed),
            (Domain::TEST, "step_failed") => Some(Outcome::Failed),
            _ => None,
        };
        fields
    }
}

/// Where a part belongs, by its context or by a member of its document.
fn place(context: &Context, level: Level, document: Members<'_>, member: &str, symbols: &Symbols) -> Symbol {
    if let Some(name) = context.get(level) {
        return name;
    }
    // A name that the table refuses goes by number.
    document.text(member).map_or(Symbol::NONE, |name| symbols.intern(&name).unwrap_or(Symbol::of(&name)))
}

/// Finds or adds; `None` when it is not there and there is no room.
fn entry<K: std::hash::Hash + Eq, V: Default>(map: &mut HashMap<K, V>, key: K, room: bool) -> Option<&mut V> {
    if room {
        return Some(map.entry(key).or_default());
    }
    map.get_mut(&key)
}
