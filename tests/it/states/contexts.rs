//! Promise: steps, assertions and tests of one name are told apart by the context that they belong to, under every
//! topology; services and all others are shared.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --test it states::contexts`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::random::Rng;
use crate::support::states::record;
use panther_events::domain::{Schema, StepOutcome, TypedSink};
use panther_events::emit::{EmitError, Emitter};
use panther_events::event::{Context, Domain, EventKind, Identity, KindSet, Level, Record, Symbol, Value};
use panther_events::observe::state::{EntityState, StateOptions, StateQuery, StateReport, States, WaitError};
use panther_events::observe::{Batch, Interest, Observer, Scope, Undelivered};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, ReportKey, Topology, Validated};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const TOPOLOGIES: [Topology; 4] = [
    Topology::Inline,
    Topology::Fused,
    Topology::Staged { dedup: 1, workers: 1 },
    Topology::Staged { dedup: 2, workers: 2 },
];

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(30);

fn start(topology: Topology) -> (Pipeline, StateQuery, ReportKey<StateReport>) {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    let states = StateQuery::new(StateOptions { invalid_max: 1 << 16, ..StateOptions::default() });
    let query = states.clone();
    let key =
        builder.observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
    (builder.start().unwrap(), states, key)
}

/// Runs the step "connect", with a text of its own for each time.
fn connect(emitter: &mut Emitter, text: &str, fails: bool) {
    emitter.step("connect").execution_started(Value::Null, text, Default::default()).unwrap();
    let mut step = emitter.step("connect");
    if fails {
        step.execution_failed("no answer", 0, text, Default::default()).unwrap();
    } else {
        step.execution_completed(text, Default::default()).unwrap();
    }
}

fn test(name: &str) -> Context {
    Context::of(Level::Test, name)
}

const CONNECT: &str = "connect";

#[test]
fn three_tests_that_run_a_step_of_one_name_have_three_steps() {
    for topology in TOPOLOGIES {
        let (pipeline, query, key) = start(topology);
        let mut emitter = pipeline.emitter("runner").unwrap();
        for name in ["t1", "t2", "t3"] {
            let mut within = emitter.within(Level::Test, name).unwrap();
            connect(&mut within, name, name == "t2");
            let mut step = within.within(Level::Step, CONNECT).unwrap();
            step.assertion("rtt").validation_started(name, Default::default()).unwrap();
            step.assertion("rtt").result(name == "t3", "", name, Default::default()).unwrap();
        }
        let settled = pipeline.settled(&query, LONG).unwrap();
        let state = |name| settled.state_within(Domain::STEP, Symbol::of(CONNECT), &test(name)).unwrap();
        assert_eq!(["t1", "t2", "t3"].map(|name| state(name).state), ["completed", "failed", "completed"]);
        assert_eq!(["t1", "t2", "t3"].map(|name| state(name).context), ["t1", "t2", "t3"].map(test));
        let step = |name: &'static str| test(name).entered(Level::Step, Symbol::of(CONNECT));
        let rtt = |name: &'static str| {
            settled.state_within(Domain::ASSERTION, Symbol::of("rtt"), &step(name)).unwrap()
        };
        assert_eq!(["t1", "t2", "t3"].map(|name| rtt(name).state), ["failed", "failed", "passed"]);
        assert_eq!(rtt("t1").context, step("t1"));
        // Without a context it is the one that changed last.
        assert_eq!(settled.state(Domain::STEP, Symbol::of(CONNECT)), Some(state("t3")));
        assert_eq!(settled.state(Domain::ASSERTION, Symbol::of("rtt")), Some(rtt("t3")));
        assert_eq!(settled.state_within(Domain::STEP, Symbol::of(CONNECT), &test("t4")), None);
        let all = settled.within(pipeline.contexts(), &test("t2"));
        let all: BTreeMap<_, _> =
            all.iter().map(|one| ((one.domain, one.entity), one.state.clone())).collect();
        assert_eq!(all[&(Domain::STEP, Symbol::of(CONNECT))], "failed");
        assert_eq!(all[&(Domain::ASSERTION, Symbol::of("rtt"))], "failed");
        let snapshot = pipeline.shutdown();
        let report = snapshot.report(key).unwrap();
        let steps = report.domain(Domain::STEP).unwrap();
        assert_eq!((steps.count("completed"), steps.count("failed"), steps.invalid), (2, 1, 0), "{topology}");
        assert_eq!((report.invalid_total(), report.entities_total()), (0, 6), "{topology}");
    }
}

#[test]
fn a_service_is_one_for_all_tests() {
    let (pipeline, query, key) = start(Topology::Inline);
    let mut emitter = pipeline.emitter("runner").unwrap();
    let mut within = emitter.within(Level::Test, "t1").unwrap();
    within.service("s").preparation_started("s", Value::Null).unwrap();
    drop(within);
    let mut within = emitter.within(Level::Test, "t2").unwrap();
    within.service("s").preparation_completed("s", Default::default()).unwrap();
    drop(within);
    let settled = pipeline.settled(&query, LONG).unwrap();
    let state = settled.state(Domain::SERVICE, Symbol::of("s")).unwrap();
    assert_eq!((&*state.state, state.transitions, state.context), ("prepared", 2, Context::NONE));
    let within = settled.state_within(Domain::SERVICE, Symbol::of("s"), &test("t9"));
    assert_eq!(within, Some(state));
    let snapshot = pipeline.shutdown();
    assert_eq!(snapshot.report(key).unwrap().entities_total(), 1);
}

#[test]
fn a_wait_without_a_context_is_met_by_any_machine_and_one_with_a_context_by_its_own() {
    for topology in TOPOLOGIES {
        let (pipeline, query, _) = start(topology);
        let mut emitter = pipeline.emitter("runner").unwrap();
        let step = Symbol::of(CONNECT);
        let point = query.point(Domain::STEP, step);
        std::thread::scope(|scope| {
            let any = scope.spawn(|| query.wait_until(Domain::STEP, step, &["completed"], LONG));
            let second = scope
                .spawn(|| query.wait_until_within(Domain::STEP, step, &test("t2"), &["completed"], LONG));
            let failed = scope
                .spawn(|| query.wait_until_within(Domain::STEP, step, &test("t3"), &["completed"], LONG));
            for (name, fails) in [("t3", true), ("t1", false), ("t2", false)] {
                connect(&mut emitter.within(Level::Test, name).unwrap(), name, fails);
                pipeline.drain(LONG).unwrap();
            }
            let any = any.join().unwrap().unwrap();
            assert!(any.now.context == test("t1") || any.now.context == test("t2"), "{any:?}");
            assert_eq!(second.join().unwrap().unwrap().now.context, test("t2"));
            // A failed step may be tried again, by its table.
            drop(pipeline);
            assert!(matches!(failed.join().unwrap(), Err(WaitError::Ended { last: Some(_) })));
        });
        let first = query.wait_until_after(&point, &["completed"], Duration::ZERO).unwrap();
        assert_eq!((first.now.context, first.transition, first.unknown), (test("t1"), 2, 0));
    }
}

#[test]
fn a_wait_is_hopeless_only_when_no_other_machine_can_come() {
    let (pipeline, query, _) = start(Topology::Fused);
    let step = Symbol::of(CONNECT);
    let mut emitter = pipeline.emitter("runner").unwrap();
    connect(&mut emitter.within(Level::Test, "t1").unwrap(), "t1", false);
    connect(&mut emitter, "none", false);
    pipeline.drain(LONG).unwrap();
    let wait = |context: &Context, timeout| {
        query.wait_until_within(Domain::STEP, step, context, &["skipped"], timeout)
    };
    assert!(matches!(wait(&test("t1"), LONG), Err(WaitError::Unreachable { .. })));
    assert!(matches!(wait(&Context::NONE, SHORT), Err(WaitError::Timeout { .. })));
    assert!(matches!(wait(&test("t2"), SHORT), Err(WaitError::Timeout { last: None, .. })));
    // While it waits, too.
    std::thread::scope(|scope| {
        let own = scope.spawn(|| wait(&test("t2"), LONG));
        let any = scope.spawn(|| wait(&Context::NONE, LONG));
        std::thread::sleep(SHORT);
        connect(&mut emitter.within(Level::Test, "t2").unwrap(), "t2", false);
        assert!(matches!(own.join().unwrap(), Err(WaitError::Unreachable { .. })));
        let mut third = emitter.within(Level::Test, "t3").unwrap();
        third.step(CONNECT).skipped("enough", "t3", Default::default()).unwrap();
        assert_eq!(any.join().unwrap().unwrap().now.context, test("t3"));
    });
}

#[test]
fn a_point_tells_machines_that_came_to_be_after_it() {
    let (pipeline, query, _) = start(Topology::Inline);
    let step = Symbol::of(CONNECT);
    let mut emitter = pipeline.emitter("runner").unwrap();
    connect(&mut emitter.within(Level::Test, "t1").unwrap(), "t1", false);
    let settled = pipeline.settled(&query, LONG).unwrap();
    let (any, first, second) = (
        settled.point(Domain::STEP, step),
        settled.point_within(Domain::STEP, step, &test("t1")),
        settled.point_within(Domain::STEP, step, &test("t2")),
    );
    let now = |point, states: &[&str]| query.wait_until_after(point, states, Duration::ZERO);
    for point in [&any, &second] {
        assert!(matches!(now(point, &["completed", "created"]), Err(WaitError::Timeout { .. })));
    }
    assert!(matches!(now(&first, &["completed"]), Err(WaitError::Unreachable { .. })));
    connect(&mut emitter.within(Level::Test, "t2").unwrap(), "t2", true);
    pipeline.drain(LONG).unwrap();
    for point in [&any, &second] {
        let reached = now(point, &["failed", "created"]).unwrap();
        assert_eq!((&*reached.state, reached.transition, &*reached.now.state), ("created", 0, "failed"));
        assert_eq!(reached.now.context, test("t2"));
        let reached = now(point, &["executing"]).unwrap();
        assert_eq!((&*reached.state, reached.transition, &*reached.now.state), ("executing", 1, "failed"));
    }
    assert!(matches!(now(&first, &["failed"]), Err(WaitError::Unreachable { .. })));
}

/// What is emitted without a context is apart from what is emitted within one.
#[test]
fn what_has_no_context_is_a_machine_of_its_own() {
    let (pipeline, query, _) = start(Topology::Inline);
    let mut emitter = pipeline.emitter("runner").unwrap();
    connect(&mut emitter, "none", true);
    connect(&mut emitter.within(Level::Experiment, "e").unwrap(), "e", false);
    let settled = pipeline.settled(&query, LONG).unwrap();
    let steps: BTreeMap<String, Context> = settled
        .entities()
        .filter(|one| one.domain == Domain::STEP)
        .map(|one| (one.state.to_string(), one.context))
        .collect();
    let experiment = Context::of(Level::Experiment, "e");
    assert_eq!(steps, BTreeMap::from([("failed".into(), Context::NONE), ("completed".into(), experiment)]));
}

#[test]
fn a_check_before_emission_knows_the_steps_of_each_test() {
    let (pipeline, query, _) = start(Topology::Fused);
    let mut emitter = pipeline.emitter("runner").unwrap();
    for (round, name) in ["t1", "t2", "t1"].into_iter().enumerate() {
        let within = &mut *emitter.within(Level::Test, name).unwrap();
        let mut checked = Validated::new(within, query.clone(), &pipeline);
        let started = checked.step(CONNECT).execution_started(Value::Null, name, Default::default());
        if round == 2 {
            assert!(matches!(started, Err(EmitError::NotAllowed(_))), "{started:?}");
            continue;
        }
        started.unwrap();
        checked.step(CONNECT).execution_completed(name, Default::default()).unwrap();
        pipeline.drain(LONG).unwrap();
    }
    // One check over all tests: it follows each step apart.
    let mut checked = Validated::new(emitter, query, &pipeline);
    for name in ["t3", "t4"] {
        checked.get_mut().enter(Level::Test, name).unwrap();
        checked.step(CONNECT).execution_started(Value::Null, name, Default::default()).unwrap();
        checked.step(CONNECT).execution_completed(name, Default::default()).unwrap();
    }
    assert_eq!(checked.refused(), 0);
}

#[cfg(feature = "csv")]
#[test]
fn the_table_of_states_has_the_context() {
    let (pipeline, _, key) = start(Topology::Inline);
    let mut emitter = pipeline.emitter("runner").unwrap();
    emitter.enter(Level::Experiment, "e").unwrap();
    for name in ["t2", "t1"] {
        let mut within = emitter.within(Level::Test, name).unwrap();
        connect(&mut within, name, false);
        let mut step = within.within(Level::Step, CONNECT).unwrap();
        step.assertion("rtt").validation_started(name, Default::default()).unwrap();
        step.test(name).created(name, Value::Null, Default::default()).unwrap();
        step.service("s").preparation_started("s", Value::Null).unwrap();
    }
    let snapshot = pipeline.shutdown();
    let mut table = Vec::new();
    panther_events::export::from_snapshot::write_entity_states(
        &mut table,
        snapshot.report(key).unwrap(),
        &snapshot,
    )
    .unwrap();
    let table = String::from_utf8(table).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    let rows: Vec<_> = rows.iter().map(|row| (row[1], row[0], row[2], row[4], row[5], row[6])).collect();
    assert_eq!(
        rows,
        [
            ("domain", "entity", "state", "experiment", "test", "step"),
            ("test", "t1", "created", "e", "", ""),
            ("test", "t2", "created", "e", "", ""),
            ("service", "s", "preparing", "", "", ""),
            ("step", "connect", "completed", "e", "t1", ""),
            ("step", "connect", "completed", "e", "t2", ""),
            ("assertion", "rtt", "validating", "e", "t1", "connect"),
            ("assertion", "rtt", "validating", "e", "t2", "connect"),
        ]
    );
}

/// What a naive interpreter makes of events: a machine under a text that says what it is and where.
#[derive(Default)]
struct Oracle {
    machines: HashMap<String, Machine>,
    /// By domain and entity: the machine that changed last.
    last: HashMap<(Domain, Symbol), String>,
    invalid: Vec<(String, u64)>,
}

struct Machine {
    domain: Domain,
    state: u8,
    since: u64,
    moves: Vec<(u8, u8, u64)>,
}

/// Where an emitter is, as names; each within the one before.
type Places = [Option<&'static str>; 3];

fn label(domain: Domain, entity: Symbol, places: Places) -> String {
    let [experiment, test, step] = places.map(|place| place.unwrap_or("-"));
    match domain {
        Domain::TEST => format!("{entity} test of {experiment}"),
        Domain::STEP => format!("{entity} step of {experiment} {test}"),
        Domain::ASSERTION => format!("{entity} assertion of {experiment} {test} {step}"),
        _ => format!("{entity} in {}", domain.number()),
    }
}

impl Oracle {
    fn take(&mut self, schema: &Schema, record: &Record, places: Places) {
        let (domain, entity) = (record.kind().domain(), record.entity());
        let (label, table) = (label(domain, entity, places), schema.states(domain).unwrap());
        let mut changed = !self.machines.contains_key(&label);
        let machine = self.machines.entry(label.clone()).or_insert(Machine {
            domain,
            state: table.initial,
            since: record.time_ns(),
            moves: Vec::new(),
        });
        match table.step(machine.state, record.kind().code(), record.payload_bytes()) {
            StepOutcome::Moved(to) => {
                machine.moves.push((machine.state, to, record.time_ns()));
                (machine.state, machine.since, changed) = (to, record.time_ns(), true);
            }
            StepOutcome::Unchanged => {}
            StepOutcome::Invalid { .. } => self.invalid.push((label.clone(), record.time_ns())),
        }
        if changed {
            self.last.insert((domain, entity), label);
        }
    }
}

fn label_of(one: &EntityState, names: &HashMap<Symbol, &'static str>) -> String {
    let places = [Level::Experiment, Level::Test, Level::Step]
        .map(|level| one.context.get(level).map(|symbol| names[&symbol]));
    label(one.domain, one.entity, places)
}

#[test]
fn random_contexts_end_where_a_naive_interpreter_ends() {
    let seed = crate::support::random::seed();
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    let names: HashMap<Symbol, &'static str> = NAMES.map(|name| (Symbol::of(name), name)).into();
    let domains = [Domain::STEP, Domain::ASSERTION, Domain::TEST, Domain::SERVICE];
    for (round, topology) in TOPOLOGIES.into_iter().cycle().take(12).enumerate() {
        let mut rng = Rng::new(seed ^ round as u64);
        let about = format!("{topology} round {round} seed {seed}");
        let (pipeline, query, key) = start(topology);
        let schema = pipeline.schema();
        let kinds: Vec<EventKind> =
            schema.kinds().map(|(kind, _)| kind).filter(|kind| domains.contains(&kind.domain())).collect();
        // Nothing is promised across emitters: each has entities of its own, in the same contexts.
        let mut emitters: Vec<(Emitter, Places)> =
            (0..3).map(|n| (pipeline.emitter(&n.to_string()).unwrap(), [None; 3])).collect();
        let mut oracle = Oracle::default();
        for time_ns in 1..=4_000 {
            let at = rng.below(3) as usize;
            let (emitter, places) = &mut emitters[at];
            if rng.below(6) == 0 {
                let level = rng.below(4) as usize;
                if level == 3 {
                    emitter.set_context(Context::NONE).unwrap();
                    *places = [None; 3];
                } else {
                    let name = NAMES[rng.below(4) as usize];
                    emitter.enter(Level::ALL[level], name).unwrap();
                    places[level] = Some(name);
                    places[level + 1..].fill(None);
                }
            }
            let kind = kinds[rng.below(kinds.len() as u64) as usize];
            let mut payload = [0; 24];
            payload[8..16].copy_from_slice(&rng.next().to_ne_bytes());
            payload[16..24].copy_from_slice(&(rng.next() * rng.below(2)).to_ne_bytes());
            let entity = Symbol::of(&format!("{at}.{}", rng.below(3)));
            let record = record(kind, Identity::Content, time_ns, entity, payload);
            assert_eq!(emitter.emit_records([record]).accepted, 1);
            oracle.take(schema, &record, *places);
            if time_ns % 50 == 0 {
                while pipeline.poll() > 0 {}
            }
        }
        let settled = pipeline.settled(&query, LONG).unwrap();
        let mut seen = 0;
        for one in settled.entities() {
            let machine = &oracle.machines[&label_of(&one, &names)];
            let table = settled.table(one.domain).unwrap();
            let expected = (table.name(machine.state).unwrap(), machine.since, machine.moves.len());
            assert_eq!((&one.state, one.since_ns, one.transitions as usize), expected, "{about} {one:?}");
            // Asked with all parts it is this one; as a filter, one of those within.
            if one.context.parts().count() == 3 || one.context.is_none() && one.domain == Domain::SERVICE {
                let again = settled.state_within(one.domain, one.entity, &one.context);
                assert_eq!(again.as_ref(), Some(&one), "{about}");
                let trail = settled.transitions_within(one.domain, one.entity, &one.context).unwrap();
                let moves: Vec<_> = trail.kept.iter().map(|one| (&one.from, &one.to, one.time_ns)).collect();
                let name = |state| table.name(state).unwrap();
                let expected: Vec<_> =
                    machine.moves.iter().map(|(from, to, time)| (name(*from), name(*to), *time)).collect();
                assert_eq!((moves, trail.earlier), (expected, 0), "{about}");
            }
            seen += 1;
        }
        assert_eq!(seen, oracle.machines.len(), "{about}");
        for ((domain, entity), label) in &oracle.last {
            let one = settled.state(*domain, *entity).unwrap();
            assert_eq!(label_of(&one, &names), *label, "{about}");
        }
        let mut invalid: Vec<_> = settled
            .invalid()
            .iter()
            .map(|one| {
                let places = [Level::Experiment, Level::Test, Level::Step]
                    .map(|level| one.context.get(level).map(|symbol| names[&symbol]));
                (label(one.domain, one.entity, places), one.time_ns)
            })
            .collect();
        invalid.sort_by_key(|(_, time_ns)| *time_ns);
        assert!(invalid == oracle.invalid, "{about}");
        let snapshot = pipeline.shutdown();
        let report = snapshot.report(key).unwrap();
        for counts in report.domains() {
            let of = oracle.machines.values().filter(|machine| machine.domain == counts.domain);
            let mut by_state = vec![0; counts.table.states.len()];
            of.for_each(|machine| by_state[usize::from(machine.state)] += 1);
            assert_eq!(counts.by_state, by_state, "{about} {}", counts.name);
        }
        assert_eq!(report.invalid_total(), oracle.invalid.len() as u64, "{about}");
    }
}

/// Sees some of a domain's kinds whole.
struct Whole;

impl Observer for Whole {
    type Report = ();

    fn interest(&self) -> Interest {
        let kinds = KindSet::of(&[EventKind::new(Domain::SERVICE, 1)]);
        Interest { kinds, duplicates: false, scope: Scope::Whole }
    }

    fn observe(&mut self, _: &Batch<'_>) -> Result<(), Undelivered> {
        Ok(())
    }

    fn report(&self) {}
}

#[test]
fn an_entity_is_one_machine_although_an_observer_sees_some_of_its_kinds_whole() {
    let topology = Topology::Staged { dedup: 2, workers: 3 };
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    let query = StateQuery::new(StateOptions::default());
    let states = query.clone();
    builder.observer("whole", |_| Whole);
    let key =
        builder.observer("state", move |setup| states.observer(setup.schema, setup.symbols, setup.contexts));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    for n in 0..100 {
        let name = format!("service-{n}");
        emitter.service(&name).preparation_started(&name, Value::Null).unwrap();
        emitter.service(&name).preparation_completed(&name, Default::default()).unwrap();
    }
    let snapshot = pipeline.shutdown();
    let services = snapshot.report(key).unwrap().domain(Domain::SERVICE).unwrap();
    assert_eq!((services.count("prepared"), services.entities(), services.invalid), (100, 100, 0));
}

/// Machines are bounded by `entities_max`, whatever their contexts are.
#[test]
fn contexts_do_not_get_around_the_limit() {
    let options = StateOptions { entities_max: 5, ..StateOptions::default() };
    let contexts = Default::default();
    let mut observer = States::new(&Schema::new(), &Default::default(), &contexts, options);
    let mut untracked = 0;
    for n in 0..8_u32 {
        contexts.restore(0, n, Some(&format!(r#"{{"test":"t{n}"}}"#))).unwrap();
        let payload = [0; 24];
        let kind = EventKind::new(Domain::STEP, 0);
        let mut bytes: [u8; 64] =
            bytemuck::cast(record(kind, Identity::Content, u64::from(n), Symbol::of(CONNECT), payload));
        bytes[36..40].copy_from_slice(&n.to_ne_bytes());
        let records: [Record; 1] = [bytemuck::pod_read_unaligned(&bytes)];
        let batch = Batch::new(&records, &[panther_events::dedup::Verdict::New], 1);
        untracked += observer.observe(&batch).map_or_else(|lost| lost.events, |()| 0);
    }
    assert_eq!((untracked, observer.report().entities_total(), observer.report().untracked()), (3, 5, 3));
    assert_eq!(observer.query().entities().count(), 5);
}

/// A state that a machine came into: where, which, and by which of its transitions.
type Entered<'a> = (Option<&'static str>, &'a str, u32);

#[test]
fn random_points_in_random_contexts_answer_as_a_naive_oracle_does() {
    let seed = crate::support::random::seed();
    const TESTS: [Option<&str>; 4] = [None, Some("t1"), Some("t2"), Some("t3")];
    for round in 0..200 {
        let mut rng = Rng::new(seed ^ round);
        let about = format!("round {round} seed {seed}");
        let capacity = [1 << 16, 4, 9][round as usize % 3];
        let query = StateQuery::new(StateOptions { transitions_max: capacity, ..StateOptions::default() });
        let mut builder = Builder::new(PipelineOptions { topology: Topology::Inline, ..Default::default() });
        let states = query.clone();
        builder.observer("state", move |setup| states.observer(setup.schema, setup.symbols, setup.contexts));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("random").unwrap();
        let (entity, table) = (Symbol::of(CONNECT), query.table(Domain::STEP).unwrap());
        let name = |state: u8| &*table.states[usize::from(state)];
        // By test: the state, and how many transitions led there. In order: what was come into.
        let mut now: HashMap<Option<&str>, (u8, u32)> = HashMap::new();
        let (mut entered, mut moved): (Vec<Entered<'_>>, usize) = (Vec::new(), 0);
        let mut points = Vec::new();
        for time_ns in 1..=60 {
            let test = TESTS[rng.below(4) as usize];
            let context = test.map_or(Context::NONE, self::test);
            emitter.set_context(context).unwrap();
            if rng.below(5) == 0 {
                let point = query.point_within(Domain::STEP, entity, &context);
                points.push((point, test, entered.len(), moved));
            }
            let kind = EventKind::new(Domain::STEP, rng.below(6) as u8);
            let event = record(kind, Identity::Occurrence, time_ns, entity, [0; 24]);
            emitter.emit_records([event]);
            while pipeline.poll() > 0 {}
            let (from, number) = *now.entry(test).or_insert_with(|| {
                entered.push((test, name(table.initial), 0));
                (table.initial, 0)
            });
            if let StepOutcome::Moved(to) = table.step(from, kind.code(), &[0; 24]) {
                let mut at = from;
                for state in table.path(from, kind.code(), &[0; 24]) {
                    if std::mem::replace(&mut at, *state) != *state {
                        entered.push((test, name(*state), number + 1));
                    }
                }
                now.insert(test, (to, number + 1));
                moved += 1;
            }
            if points.is_empty() {
                continue;
            }
            let (point, test, seen, moved_then) = points[rng.below(points.len() as u64) as usize];
            let wanted: Vec<&str> =
                table.states.iter().map(|state| &**state).filter(|_| rng.below(3) == 0).collect();
            let since = &entered[seen..];
            let hits: Vec<Entered<'_>> = since
                .iter()
                .copied()
                .filter(|(of, state, _)| wanted.contains(state) && (test.is_none() || test == *of))
                .collect();
            match query.wait_until_after(&point, &wanted, Duration::ZERO) {
                Ok(reached) => {
                    let of =
                        TESTS.iter().find(|of| of.map_or(Context::NONE, self::test) == reached.now.context);
                    let hit = (*of.unwrap(), &*reached.state, reached.transition);
                    assert!(hits.contains(&hit), "{about} {reached:?} of {since:?}");
                    let first = moved - moved_then > capacity || hits[0] == hit;
                    assert!(reached.unknown > 0 || first, "{about} {reached:?} of {since:?}");
                    assert_eq!(now[&hit.0].1, reached.now.transitions, "{about}");
                }
                Err(WaitError::Overwritten { .. }) => {
                    assert!(moved - moved_then > capacity, "{about} {since:?}");
                    let moved =
                        |(of, _, number): &Entered<'_>| *number > 0 && (test.is_none() || test == *of);
                    assert!(since.iter().any(moved), "{about} {since:?}");
                }
                Err(WaitError::Timeout { .. } | WaitError::Unreachable { .. }) => {
                    assert_eq!(hits, [], "{about} {wanted:?} of {since:?}");
                }
                Err(other) => panic!("{about}: {other}"),
            }
        }
    }
}
