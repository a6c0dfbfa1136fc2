//! Processors see new events before observers do; what they derive goes the way of all events, and is in the account.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests, and panics are what is tested"
)]

use crate::support::random::{Rng, seed};
use panther_events::Shared;
use panther_events::domain::pipeline::ProcessorFailed;
use panther_events::domain::{DomainDef, KindDef, TypedSink};
use panther_events::emit::{ContextEntered, FullPolicy};
use panther_events::event::{
    Context, Contexts, Domain, EventKind, Identity, KindSet, Level, Payload, Record, Symbol, Value,
};
use panther_events::observe::history::{History, HistoryReport};
use panther_events::observe::results::{Outcome, Results};
use panther_events::observe::state::{StateOptions, StateQuery};
use panther_events::pipeline::{Builder, PipelineOptions, ReportKey, Snapshot, StartError, Topology};
use panther_events::process::{DERIVED_MAX, Derived, Processing, Processor};
use std::collections::{BTreeMap, HashSet};

const TOPOLOGIES: [Topology; 4] = [
    Topology::Inline,
    Topology::Fused,
    Topology::Staged { dedup: 1, workers: 2 },
    Topology::Staged { dedup: 3, workers: 2 },
];

panther_events::payload! {
    /// What is emitted.
    struct Sample [EventKind::new(Domain::FIRST_USER, 0)] { value: u64 }
}
panther_events::payload! {
    /// What is derived of it, once for each value.
    struct Found [EventKind::new(Domain::FIRST_USER, 1)] { value: u64 }
}
panther_events::payload! {
    /// What no domain knows.
    struct Foreign [EventKind::new(Domain::FIRST_USER, 9)] { value: u64 }
}
const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[
        KindDef::of::<Sample>("sample", Identity::Occurrence),
        KindDef::of::<Found>("found", Identity::Content),
    ]),
    states: None,
};

/// Derives `value / 4` of each sample, about the same entity; refused and too many where the value says so.
struct Finder {
    panics_at: Option<u64>,
    seen: u64,
}

impl Processor for Finder {
    fn interest(&self) -> KindSet {
        KindSet::of(&[Sample::KIND])
    }

    fn process(&mut self, record: &Record, derived: &mut Derived<'_>) {
        let value = record.payload::<Sample>().unwrap().value;
        assert_eq!(derived.time_ns(), record.time_ns());
        derived.emit(record.entity(), &Found { value: value / 4 }).unwrap();
        if value % 16 == 1 {
            assert!(derived.emit(record.entity(), &Foreign { value }).is_err());
        }
        if value % 64 == 2 {
            for n in 1..DERIVED_MAX as u64 + 3 {
                let sent = derived.emit(record.entity(), &Found { value: 1 << 32 | n });
                assert_eq!(sent.is_ok(), n < DERIVED_MAX as u64);
            }
        }
        self.seen += 1;
        assert!(self.panics_at.is_none_or(|at| self.seen < at), "planted");
    }

    fn finish(&mut self, derived: &mut Derived<'_>) {
        derived.emit(Symbol::of("end"), &Found { value: u64::MAX }).unwrap();
    }
}

struct Run {
    snapshot: Snapshot,
    history: ReportKey<HistoryReport>,
}

fn run(topology: Topology, panics_at: Option<u64>, samples: &[(Symbol, u64)]) -> Run {
    let mut builder =
        Builder::new(PipelineOptions { topology, ring_capacity: 64, ..PipelineOptions::default() });
    builder.domain(&LAB);
    builder.processor("finder", move |_| Finder { panics_at, seen: 0 });
    let history = builder.observer("history", |_| History::new(1 << 20));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("e").unwrap();
    for (entity, value) in samples {
        emitter.emit(*entity, &Sample { value: *value }).unwrap();
        pipeline.poll();
        if value % 97 == 0 {
            let account = pipeline.snapshot().account;
            assert!(account.accepted >= account.unique + account.duplicates, "{account:?}");
        }
    }
    drop(emitter);
    Run { snapshot: pipeline.shutdown(), history }
}

fn samples(rng: &mut Rng) -> Vec<(Symbol, u64)> {
    let entities: Vec<Symbol> = (0..17).map(|n| Symbol::of(&format!("entity-{n}"))).collect();
    (0..3_000).map(|_| (entities[rng.below(17) as usize], rng.below(300))).collect()
}

#[test]
fn what_is_derived_is_deduplicated_observed_and_accounted_for() {
    let mut rng = Rng::new(seed());
    for topology in TOPOLOGIES {
        let samples = samples(&mut rng);
        let Run { snapshot, history } = run(topology, None, &samples);
        let account = &snapshot.account;
        account.check().unwrap();
        let (mut found, mut derived, mut rejected) = (HashSet::new(), 0, 0);
        for (entity, value) in &samples {
            found.insert((*entity, value / 4));
            derived += 1;
            rejected += u64::from(value % 16 == 1);
            if value % 64 == 2 {
                found.extend((1..DERIVED_MAX as u64).map(|n| (*entity, 1 << 32 | n)));
                derived += DERIVED_MAX as u64 - 1;
                rejected += 3;
            }
        }
        let shards = topology.shards() as u64;
        derived += shards;
        let processing = account.processors[0].1;
        assert_eq!(processing.seen, samples.len() as u64, "{topology}");
        assert_eq!((processing.derived, processing.failed), (derived, 0), "{topology}");
        assert_eq!(processing.rejected, rejected, "{topology}");
        assert_eq!(account.offered, samples.len() as u64 + derived + rejected, "{topology}");
        assert_eq!(account.rejected, rejected, "{topology}");
        // Each dedup thread says its own end.
        assert_eq!(account.unique, samples.len() as u64 + found.len() as u64 + shards, "{topology}");
        let seen: HashSet<(Symbol, u64)> = snapshot
            .report(history)
            .unwrap()
            .of_kinds(KindSet::of(&[Found::KIND]))
            .map(|record| (record.entity(), record.payload::<Found>().unwrap().value))
            .filter(|(_, value)| *value != u64::MAX)
            .collect();
        assert_eq!(seen, found, "{topology}");
        // Source and number together name one record, derived or not.
        let records = snapshot.report(history).unwrap();
        let numbers: HashSet<_> = records.iter().map(|record| (record.source(), record.seq())).collect();
        assert_eq!(numbers.len() as u64, account.unique);
    }
}

#[test]
fn one_that_panics_is_cut_off_and_told_of_and_all_sums_hold() {
    let mut rng = Rng::new(seed());
    for topology in TOPOLOGIES {
        let samples = samples(&mut rng);
        let Run { snapshot, history } = run(topology, Some(50), &samples);
        let account = &snapshot.account;
        account.check().unwrap();
        assert!(
            !snapshot.warnings.iter().any(|warning| warning.contains("add up")),
            "{:?}",
            snapshot.warnings
        );
        let Processing { seen, failed, .. } = account.processors[0].1;
        let shards = topology.shards() as u64;
        assert_eq!((seen, seen + failed), (49 * shards, samples.len() as u64), "{topology}");
        assert!(snapshot.warnings.iter().any(|warning| warning.contains("finder: panicked: planted")));
        let told: Vec<ProcessorFailed> =
            snapshot.report(history).unwrap().iter().filter_map(Record::payload).collect();
        assert_eq!(told.len() as u64, shards, "{topology}");
        for failed in told {
            assert_eq!(failed.seen, 49);
            assert_eq!(snapshot.symbols.name(failed.message).as_deref(), Some("panicked: planted"));
        }
    }
}

/// Emitters on threads of their own, with rings that are too small and no patience; snapshots meanwhile.
#[test]
fn the_account_holds_when_events_are_dropped_on_several_threads() {
    let seed = seed();
    for (at, topology) in TOPOLOGIES.into_iter().enumerate().skip(1) {
        let mut rng = Rng::new(seed ^ at as u64);
        let panics_at = (rng.below(2) == 0).then(|| 1 + rng.below(500));
        let full_policy = FullPolicy::DropNewest;
        let options =
            PipelineOptions { topology, ring_capacity: 64, full_policy, ..PipelineOptions::default() };
        let mut builder = Builder::new(options);
        builder.domain(&LAB);
        builder.processor("finder", move |_| Finder { panics_at, seen: 0 });
        builder.processor("second", |_| Finder { panics_at: None, seen: 0 });
        builder.observer("history", |_| History::new(16));
        let pipeline = builder.start().unwrap();
        let sent: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (samples, handle) = (samples(&mut rng), pipeline.handle());
                    scope.spawn(move || {
                        let mut emitter = handle.emitter("e").unwrap();
                        for (entity, value) in samples {
                            // Counted where it is dropped.
                            let _ = emitter.emit(entity, &Sample { value });
                        }
                        emitter.sent().offered()
                    })
                })
                .collect();
            for _ in 0..20 {
                let account = pipeline.snapshot().account;
                assert_eq!(account.offered, account.accepted + account.dropped_full + account.rejected);
                assert_eq!(account.accepted, account.unique + account.duplicates + account.in_flight);
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        let snapshot = pipeline.shutdown();
        let account = &snapshot.account;
        account.check().unwrap();
        assert_eq!(account.in_flight, 0);
        let works = account.processors.iter().map(|(_, processing)| processing);
        let derived: u64 = works.clone().map(|work| work.derived + work.rejected).sum();
        let told = snapshot.warnings.iter().filter(|warning| warning.contains("planted")).count() as u64;
        assert_eq!(account.offered, sent + derived + told, "{topology} {panics_at:?}");
        let rejected: u64 = works.clone().map(|work| work.rejected).sum();
        assert_eq!(account.rejected, rejected, "{topology} {panics_at:?}");
        // Both had the same events before them.
        let had: Vec<u64> = works.map(|work| work.seen + work.failed).collect();
        assert_eq!(had[0], had[1], "{topology}");
    }
}

/// Fails a test when its third step has failed: events of the schema, by typed emitters.
struct Judge(BTreeMap<Symbol, u32>);

impl Processor for Judge {
    fn interest(&self) -> KindSet {
        KindSet::domain(Domain::TEST)
    }

    fn process(&mut self, record: &Record, derived: &mut Derived<'_>) {
        let step_failed = panther_events::domain::test::KINDS[13].kind;
        if record.kind() == step_failed {
            let failed = self.0.entry(record.entity()).or_default();
            *failed += 1;
            if *failed == 3 {
                let name = derived.symbols().name(record.entity()).unwrap();
                derived.test(&name).failed(&name, "three steps failed", Default::default()).unwrap();
            }
        }
    }
}

#[test]
fn derived_events_of_the_catalogue_move_states() {
    for topology in TOPOLOGIES {
        let states = StateQuery::new(StateOptions::default());
        let query = states.clone();
        let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
        builder.processor("judge", |_| Judge(BTreeMap::new()));
        builder.observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        for test in ["a", "b"] {
            for step in 0..if test == "a" { 3 } else { 2 } {
                let step = format!("step-{step}");
                emitter.test(test).step_failed(&step, "no answer", Default::default()).unwrap();
            }
        }
        drop(emitter);
        let snapshot = pipeline.shutdown();
        snapshot.account.check().unwrap();
        let state = |test| states.state(Domain::TEST, Symbol::of(test)).unwrap().state;
        assert_eq!([state("a"), state("b")], ["failed", "created"], "{topology}");
        assert_eq!((snapshot.account.offered, snapshot.account.unique), (6, 6));
    }
}

/// Fails an assertion for each step that fails.
struct Asserts;

impl Processor for Asserts {
    fn interest(&self) -> KindSet {
        KindSet::of(&[panther_events::domain::step::KINDS[2].kind])
    }

    fn process(&mut self, record: &Record, derived: &mut Derived<'_>) {
        let name = derived.symbols().name(record.entity()).unwrap();
        derived.assertion(&name).validation_started("steps pass", Default::default()).unwrap();
        derived.assertion(&name).result(false, "derived", "steps pass", Default::default()).unwrap();
        let more = Default::default();
        derived.experiment("x").execution_completed(u64::MAX, 0, 0, more).unwrap();
    }
}

#[test]
fn what_is_derived_belongs_to_the_context_of_what_it_is_derived_from() {
    for topology in TOPOLOGIES {
        let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
        builder.processor("asserts", |_| Asserts);
        let key =
            builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
        let history = builder.observer("history", |_| History::new(1 << 10));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        for test in ["a", "b", "none", "a"] {
            let fail = |emitter: &mut panther_events::emit::Emitter| {
                let started = Default::default();
                emitter.step(&format!("of {test}")).execution_started(Value::Null, "s", started).unwrap();
                let failed = Default::default();
                emitter.step(&format!("of {test}")).execution_failed("no", 0, "s", failed).unwrap();
            };
            if test == "none" {
                fail(&mut emitter);
                continue;
            }
            let mut within = emitter.within(Level::Test, test).unwrap();
            within.test(test).setup_started(Value::Null, Default::default()).unwrap();
            fail(&mut within);
        }
        drop(emitter);
        let snapshot = pipeline.shutdown();
        snapshot.account.check().unwrap();
        let tree = snapshot.report(key).unwrap().tree();
        assert_eq!(tree.tests.len(), 2, "{topology}");
        for test in &tree.tests {
            let [assertion] = &test.assertions[..] else { panic!("{topology}: {test:?}") };
            let entity = snapshot.symbols.name(assertion.assertion).unwrap();
            assert_eq!(*entity, *format!("of {}", snapshot.symbols.name(test.test).unwrap()));
            assert_eq!((assertion.part.outcome, test.outcome()), (Outcome::Failed, Outcome::Failed));
        }
        assert_eq!(tree.assertions.len(), 1);
        // A number that only its document can hold, derived of each of four failures; one test fails twice in the same way.
        assert_eq!(snapshot.symbols.details().unplaced(), 4);
        // What a journal would hold says the same.
        let restored = Contexts::default();
        let mut records: Vec<Record> = snapshot.report(history).unwrap().iter().copied().collect();
        records.sort_by_key(|record| (record.source(), record.seq()));
        for record in &records {
            if let Some(entered) = record.payload::<ContextEntered>() {
                let document = snapshot.symbols.details().text(entered.context);
                restored.restore(record.source(), record.seq(), document.as_deref()).unwrap();
            }
        }
        assert!(records.iter().all(|record| restored.of(record) == snapshot.contexts.of(record)));
        let asserted = (Domain::ASSERTION, Symbol::of("of b"));
        assert!(snapshot.contexts.entities(&Context::of(Level::Test, "b")).contains(&asserted));
    }
}

#[test]
fn two_of_one_name_do_not_start() {
    let mut builder = Builder::default();
    builder.processor("judge", |_| Judge(BTreeMap::new())).processor("judge", |_| Judge(BTreeMap::new()));
    assert!(matches!(builder.start(), Err(StartError::ProcessorName(name)) if name == "judge"));
}

/// Nobody knows what it would have derived at the end.
#[cfg(feature = "json")]
#[test]
fn one_that_panics_at_the_end_leaves_no_verdict_that_all_passed() {
    use panther_events::export::summary::ResultsSummary;
    struct Ends {
        panics: bool,
    }
    impl Processor for Ends {
        fn interest(&self) -> KindSet {
            KindSet::domain(Domain::TEST)
        }
        fn process(&mut self, _: &Record, _: &mut Derived<'_>) {}
        fn finish(&mut self, _: &mut Derived<'_>) {
            assert!(!self.panics, "planted");
        }
    }
    for (topology, panics) in
        TOPOLOGIES.into_iter().flat_map(|topology| [(topology, false), (topology, true)])
    {
        let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
        builder.processor("ends", move |_| Ends { panics });
        let key =
            builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        crate::support::verdicts::begin(&mut emitter, "t").unwrap();
        crate::support::verdicts::end(&mut emitter, "t").unwrap();
        drop(emitter);
        let snapshot = pipeline.shutdown();
        let Processing { failed, panicked, .. } = snapshot.account.processors[0].1;
        assert_eq!((failed, panicked > 0), (0, panics), "{topology}");
        let summary = ResultsSummary::new(snapshot.report(key).unwrap(), &snapshot);
        assert_eq!(summary.outcome, if panics { "unknown" } else { "passed" }, "{topology}");
    }
}
