//! Promise: entities are in the states that the tables say, under every topology, and questions about them are
//! answered while they change.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --test it states::machines`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::random::Rng;
use crate::support::states::{Oracle, random_domain, record};
use panther_events::Shared;
use panther_events::dedup::{BATCH, Verdict};
use panther_events::domain::machine::{StateTable, TransitionPath, states};
use panther_events::domain::{DomainDef, KindDef, Schema};
use panther_events::event::{Domain, EventKind, Identity, Record, Symbol};
use panther_events::observe::state::{Phase, StateOptions, StateQuery, StateReport, States, WaitError};
use panther_events::observe::{Batch, Observer};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, ReportKey, Topology};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const TOPOLOGIES: [Topology; 4] = [
    Topology::Inline,
    Topology::Fused,
    Topology::Staged { dedup: 1, workers: 1 },
    Topology::Staged { dedup: 2, workers: 3 },
];

const LAMP: Domain = Domain::FIRST_USER;
const OFF: u8 = 0;
const WARMING: u8 = 1;
const ON: u8 = 2;
const BROKEN: u8 = 3;
const SWITCH_ON: EventKind = EventKind::new(LAMP, 0);
const SWITCH_OFF: EventKind = EventKind::new(LAMP, 1);
const BREAK: EventKind = EventKind::new(LAMP, 2);
const SWAP: EventKind = EventKind::new(LAMP, 3);

const LAMP_TABLE: StateTable = StateTable {
    domain: LAMP,
    states: Shared::Static(&[
        Shared::Static("off"),
        Shared::Static("warming"),
        Shared::Static("on"),
        Shared::Static("broken"),
        Shared::Static("replaced"),
    ]),
    initial: OFF,
    terminal: states(&[4]),
    next: Shared::Static(&[
        states(&[WARMING]),
        states(&[OFF, ON, BROKEN]),
        states(&[OFF, BROKEN]),
        states(&[4]),
        states(&[]),
    ]),
    paths: Shared::Static(&[
        TransitionPath::To(Shared::Static(&[WARMING, ON])),
        TransitionPath::To(Shared::Static(&[OFF])),
        TransitionPath::To(Shared::Static(&[BROKEN])),
        TransitionPath::To(Shared::Static(&[4])),
    ]),
};

const fn kind(kind: EventKind, name: &'static str) -> KindDef {
    KindDef {
        kind,
        name: Shared::Static(name),
        identity: Identity::Content,
        sampled: false,
        fields: Shared::Static(&[]),
    }
}

/// A domain of a user's, with states of its own.
const LAMPS: DomainDef = DomainDef {
    domain: LAMP,
    name: Shared::Static("lamp"),
    kinds: Shared::Static(&[
        kind(SWITCH_ON, "switched_on"),
        kind(SWITCH_OFF, "switched_off"),
        kind(BREAK, "broke"),
        kind(SWAP, "swapped"),
    ]),
    states: Some(Shared::Static(&LAMP_TABLE)),
};

/// An event of which each `number` makes another one.
fn lamp(kind: EventKind, time_ns: u64, entity: Symbol, number: u64) -> Record {
    let mut payload = [0; 24];
    payload[8..16].copy_from_slice(&number.to_ne_bytes());
    record(kind, Identity::Content, time_ns, entity, payload)
}

fn lamps() -> Schema {
    let mut schema = Schema::new();
    schema.register(&LAMPS).unwrap();
    schema
}

fn start(
    topology: Topology,
    domains: &[DomainDef],
    options: StateOptions,
) -> (Pipeline, StateQuery, ReportKey<StateReport>) {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    for domain in domains {
        builder.domain(domain);
    }
    let states = StateQuery::new(options);
    let query = states.clone();
    let key =
        builder.observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
    (builder.start().unwrap(), states, key)
}

/// Emits all, and waits until they have gone through.
fn emit(pipeline: &Pipeline, records: &[Record]) {
    let mut emitter = pipeline.emitter("states").unwrap();
    for chunk in records.chunks(1000) {
        assert_eq!(emitter.emit_records(chunk.iter().copied()).accepted, chunk.len() as u64);
        while pipeline.poll() > 0 {}
    }
    pipeline.drain(Duration::from_secs(20)).unwrap();
}

fn feed(observer: &mut States, records: &[Record]) {
    for records in records.chunks(BATCH) {
        observer.observe(&Batch::new(records, &[Verdict::New; BATCH], u64::MAX)).unwrap();
    }
}

#[test]
fn random_events_on_random_tables_end_where_a_naive_interpreter_ends() {
    let seed = crate::support::random::seed();
    for topology in TOPOLOGIES {
        for round in 0..6 {
            let label = format!("{topology} round {round} seed {seed}");
            let mut rng = Rng::new(seed ^ round);
            let domains: Vec<DomainDef> = (0..3).map(|number| random_domain(&mut rng, number)).collect();
            let (pipeline, query, key) = start(topology, &domains, StateOptions::default());
            let records = random_records(&mut rng, &domains);
            emit(&pipeline, &records);
            let mut oracle = Oracle::default();
            let mut seen = HashSet::new();
            let origin = pipeline.origin();
            for record in records.iter().filter(|record| seen.insert(record.id_in(origin))) {
                oracle.take(pipeline.schema(), record);
            }
            check_queries(&query, &oracle, &label);
            let snapshot = pipeline.shutdown();
            assert_eq!(snapshot.account.unique, seen.len() as u64, "{label}");
            check_report(snapshot.report(key).unwrap(), &oracle, seen.len() as u64, &label);
        }
    }
}

fn random_records(rng: &mut Rng, domains: &[DomainDef]) -> Vec<Record> {
    let entities: Vec<Symbol> = (0..60).map(|n| Symbol::of(&format!("entity-{n}"))).collect();
    let mut records: Vec<Record> = Vec::new();
    for time_ns in 1..=6_000 {
        if rng.below(5) == 0 && !records.is_empty() {
            // A duplicate, of whatever age.
            records.push(records[rng.below(records.len() as u64) as usize]);
            continue;
        }
        let domain = &domains[rng.below(domains.len() as u64) as usize];
        let kind = domain.kinds[rng.below(domain.kinds.len() as u64) as usize].kind;
        let mut payload = [0; 24];
        payload[0] = rng.below(2) as u8 * rng.below(256) as u8;
        payload[8..16].copy_from_slice(&rng.below(4).to_ne_bytes());
        let entity = entities[rng.below(entities.len() as u64) as usize];
        records.push(record(kind, Identity::Content, time_ns, entity, payload));
    }
    records
}

fn check_queries(query: &StateQuery, oracle: &Oracle, label: &str) {
    for ((domain, entity), state) in &oracle.states {
        let known = query.state(*domain, *entity).unwrap();
        let moves = oracle.moves.get(&(*domain, *entity)).map_or(&[][..], Vec::as_slice);
        assert_eq!((&known.state, known.transitions as usize), (state, moves.len()), "{label}");
        assert_eq!(known.since_ns, oracle.since[&(*domain, *entity)], "{label}");
        assert_eq!(known.in_state_ns(known.since_ns + 5), 5);
        let trail = query.transitions(*domain, *entity).unwrap();
        let kept: Vec<_> =
            trail.kept.iter().map(|one| (one.from.clone(), one.to.clone(), one.time_ns)).collect();
        assert_eq!((&*kept, trail.earlier), (moves, 0), "{label}");
    }
    assert_eq!(query.state(Domain::FIRST_USER, Symbol::of("nobody")), None);
    assert_eq!(query.transitions(Domain::FIRST_USER, Symbol::of("nobody")), None);
}

fn check_report(report: &StateReport, oracle: &Oracle, unique: u64, label: &str) {
    let mut by_state: HashMap<(Domain, Shared<str>), u64> = HashMap::new();
    for ((domain, _), state) in &oracle.states {
        *by_state.entry((*domain, state.clone())).or_default() += 1;
    }
    for domain in report.domains() {
        for state in &domain.table.states {
            let expected = by_state.remove(&(domain.domain, state.clone())).unwrap_or(0);
            assert_eq!(domain.count(state), expected, "{label} {}.{state}", domain.name);
        }
        let invalid = oracle.invalid.iter().filter(|invalid| invalid.0 == domain.domain).count();
        assert_eq!(domain.invalid, invalid as u64, "{label} {}", domain.name);
    }
    assert!(by_state.is_empty());
    let events: u64 =
        report.domains().iter().map(|domain| domain.moved + domain.unchanged + domain.invalid).sum();
    assert_eq!((events, report.untracked()), (unique, 0), "{label}");
    assert_eq!(report.entities_total(), oracle.states.len() as u64);
    let listed: HashMap<_, _> =
        report.entities().map(|entity| ((entity.domain, entity.entity), entity.state.clone())).collect();
    assert_eq!(listed, oracle.states, "{label}");
    assert_eq!(report.entities().count(), listed.len(), "{label}");
    let known: Vec<_> = report
        .invalid()
        .iter()
        .map(|one| (one.domain, one.entity, one.state.clone(), one.kind, one.time_ns))
        .collect();
    let bound = known.len().min(StateOptions::default().invalid_max);
    assert_eq!(known, oracle.invalid[..bound], "{label}");
    assert_eq!(known.len(), oracle.invalid.len().min(StateOptions::default().invalid_max), "{label}");
}

/// A whole experiment with faults, written by PANTHER's own classes, and the states that it must end in.
#[test]
fn an_experiment_ends_in_the_states_that_it_must() {
    let lines = include_str!("../../data/panther-lifecycle.jsonl");
    let expected: Value =
        serde_json::from_str(include_str!("../../data/panther-lifecycle.expected.json")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(expected["lines"], lines.len());
    for topology in TOPOLOGIES {
        let (pipeline, query, key) = start(topology, &[], StateOptions::default());
        let schema = pipeline.schema();
        let kinds: HashMap<&str, EventKind> = schema.kinds().map(|(kind, name)| (name, kind)).collect();
        let records: Vec<Record> =
            (0..).zip(&lines).map(|(time_ns, line)| panther_record(schema, &kinds, time_ns, line)).collect();
        emit(&pipeline, &records);
        let states = expected["states"].as_object().unwrap();
        for (entity, state) in states {
            let (domain, name) = entity.split_once(':').unwrap();
            let domain =
                kinds.iter().find(|(kind, _)| kind.split('.').next() == Some(domain)).unwrap().1.domain();
            let known = query.state(domain, Symbol::of(name));
            assert_eq!(known.as_ref().map(|known| &*known.state), state.as_str(), "{topology} {entity}");
        }
        let workflow = query.workflow();
        assert_eq!(workflow.phase(), Phase::Ended);
        assert_eq!(workflow.experiments.len(), 1);
        // Steps that failed may be tried again, and metrics go on; everything else has come to its end.
        assert_eq!(workflow.open(), 60 + 7, "{workflow}");
        let snapshot = pipeline.shutdown();
        assert_eq!(expected["unique"], snapshot.account.unique, "{topology}");
        assert_eq!(expected["duplicates"], snapshot.account.duplicates, "{topology}");
        let report = snapshot.report(key).unwrap();
        assert_eq!(expected["entities"], report.entities_total(), "{topology}");
        assert_eq!(expected["final"], serde_json::to_value(report.by_state()).unwrap(), "{topology}");
        let invalid = report.domains().iter().filter(|domain| domain.invalid > 0);
        let invalid: HashMap<_, _> =
            invalid.map(|domain| (domain.name.to_string(), domain.invalid)).collect();
        assert_eq!(expected["invalid_transitions"], serde_json::to_value(invalid).unwrap(), "{topology}");
        assert_eq!(report.invalid().len() as u64, report.invalid_total());
        assert_eq!(report.entities().count(), states.len());
    }
}

/// Makes a record with the line's content: its PANTHER id stands for what the payload has no place for, and what paths
/// fork by stands in its place.
fn panther_record(schema: &Schema, kinds: &HashMap<&str, EventKind>, time_ns: u64, line: &Value) -> Record {
    let kind = kinds[line["type"].as_str().unwrap()];
    let mut payload = [0; 24];
    payload[..8].copy_from_slice(&Symbol::of(line["id"].as_str().unwrap()).bits().to_ne_bytes());
    if let Some(table) = schema.states(kind.domain())
        && let TransitionPath::By { field, .. } = &table.paths[usize::from(kind.code())]
    {
        let value = match &line["data"][&*field.name] {
            Value::Bool(flag) => u8::from(*flag),
            number => number.as_u64().and_then(|number| u8::try_from(number).ok()).unwrap(),
        };
        payload[field.offset..field.offset + field.ty.size()].fill(0);
        payload[field.offset] = value;
    }
    record(kind, Identity::Content, time_ns, Symbol::of(line["entity_id"].as_str().unwrap()), payload)
}

#[test]
fn a_million_entities_take_at_most_64_bytes_each() {
    let schema = lamps();
    let mut observer =
        States::new(&schema, &Default::default(), &Default::default(), StateOptions::default());
    let n = 1_000_000;
    for first in (0..n).step_by(BATCH) {
        let records: Vec<_> = (first..n.min(first + BATCH as u64))
            .map(|entity| lamp(SWITCH_ON, entity, Symbol::from_bits(entity + 1), 0))
            .collect();
        feed(&mut observer, &records);
    }
    let report = observer.report();
    assert_eq!(report.domain(LAMP).unwrap().count("on"), n);
    let bytes_each = report.memory_bytes() as f64 / n as f64;
    println!("{bytes_each:.1} bytes an entity");
    assert!(bytes_each <= 64.0, "{bytes_each}");
    let mut next = 0;
    for entity in report.entities() {
        assert_eq!((entity.entity.bits(), entity.since_ns), (next + 1, next));
        next += 1;
    }
    assert_eq!(next, n);
}

#[test]
fn what_does_not_fit_is_counted() {
    let options =
        StateOptions { entities_max: 10, transitions_max: 4, invalid_max: 3, ..StateOptions::default() };
    let (pipeline, query, key) = start(Topology::Inline, &[LAMPS], options);
    let names: Vec<Symbol> = (0..12).map(|n| Symbol::of(&format!("lamp-{n}"))).collect();
    let mut records = Vec::new();
    for (time_ns, name) in (0..).zip(&names) {
        records.push(lamp(BREAK, time_ns, *name, 0));
    }
    for (number, kind) in [SWITCH_ON, SWITCH_OFF, SWITCH_ON, SWITCH_OFF, SWITCH_ON].into_iter().enumerate() {
        records.push(lamp(kind, 100 + number as u64, names[0], number as u64));
    }
    emit(&pipeline, &records);
    let trail = query.transitions(LAMP, names[0]).unwrap();
    assert_eq!(trail.kept.iter().map(|one| one.time_ns).collect::<Vec<_>>(), [101, 102, 103, 104]);
    assert_eq!((trail.earlier, &*trail.kept[0].from, &*trail.kept[0].to), (1, "on", "off"));
    assert_eq!(query.state(LAMP, names[10]), None);
    let snapshot = pipeline.shutdown();
    let report = snapshot.report(key).unwrap();
    assert_eq!((report.entities_total(), report.untracked(), report.invalid_total()), (10, 2, 10));
    let kept: Vec<_> =
        report.invalid().iter().map(|one| (one.entity, &*one.state, &*one.at, &*one.wanted)).collect();
    assert_eq!(kept, [0, 1, 2].map(|n| (names[n], "off", "off", "broken")));
    let (_, delivery) = snapshot.account.observers[0];
    assert_eq!((delivery.handled, delivery.failed), (15, 2));
    assert!(snapshot.warnings.iter().any(|warning| warning.contains("entities_max")));
}

#[test]
fn the_workflow_shows_the_whole() {
    let (pipeline, query, _) = start(Topology::Inline, &[LAMPS], StateOptions::default());
    assert_eq!(query.workflow().phase(), Phase::Waiting);
    let names = ["a", "b", "c"].map(Symbol::of);
    let mut records = vec![lamp(SWITCH_ON, 5, names[0], 0), lamp(SWITCH_ON, 4, names[1], 0)];
    records.extend([lamp(BREAK, 6, names[1], 0), lamp(SWAP, 7, names[1], 0), lamp(SWAP, 8, names[2], 0)]);
    emit(&pipeline, &records);
    let workflow = query.workflow();
    assert_eq!((workflow.phase(), workflow.span_ns), (Phase::Running, Some((4, 8))));
    assert_eq!((workflow.open(), workflow.invalid_total()), (2, 1));
    let lamps = query.domain(LAMP).unwrap();
    assert_eq!(lamps.occupied().collect::<Vec<_>>(), [("off", 1), ("on", 1), ("replaced", 1)]);
    assert_eq!((lamps.ended(), lamps.moved), (1, 4));
    assert_eq!(
        workflow.to_string(),
        "running: 2 open, 1 invalid transitions\n3 lamp: 1 off, 1 on, 1 replaced"
    );
}

#[test]
fn a_wait_ends_in_the_state_or_says_why_not() {
    let second = Duration::from_secs(20);
    let nothing = StateQuery::new(StateOptions::default());
    let lamp_1 = Symbol::of("lamp-1");
    assert_eq!(nothing.wait_until(LAMP, lamp_1, &["on"], second), Err(WaitError::NotStarted));
    let (pipeline, query, _) = start(Topology::Fused, &[LAMPS], StateOptions::default());
    let wait = |states: &[&str], timeout| query.wait_until(LAMP, lamp_1, states, timeout);
    assert!(
        matches!(wait(&["lit"], second), Err(WaitError::UnknownState { domain, .. }) if domain == "lamp")
    );
    let other = query.wait_until(Domain::PACKET, lamp_1, &["on"], second);
    assert_eq!(other, Err(WaitError::NoStates(Domain::PACKET)));
    let short = Duration::from_millis(30);
    let began = Instant::now();
    assert_eq!(wait(&["on"], short), Err(WaitError::Timeout { timeout: short, last: None }));
    assert!(began.elapsed() >= short);
    emit(&pipeline, &[lamp(SWITCH_ON, 1, lamp_1, 0)]);
    let state = wait(&["broken", "on"], Duration::ZERO).unwrap();
    assert_eq!((&*state.state, state.now.since_ns, state.now.ended), ("on", 1, false));
    assert!(matches!(wait(&["off"], short), Err(WaitError::Timeout { last: Some(_), .. })));
    emit(&pipeline, &[lamp(BREAK, 2, lamp_1, 0)]);
    assert_eq!(
        wait(&["on"], second).map_err(|error| matches!(error, WaitError::Unreachable { .. })),
        Err(true)
    );
    std::thread::scope(|scope| {
        let replaced = scope.spawn(|| wait(&["replaced"], second));
        let hopeless = scope.spawn(|| query.wait_until(LAMP, Symbol::of("lamp-2"), &["on"], second));
        std::thread::sleep(short);
        drop(pipeline);
        assert!(matches!(replaced.join().unwrap(), Err(WaitError::Ended { last: Some(_) })));
        assert_eq!(hopeless.join().unwrap(), Err(WaitError::Ended { last: None }));
    });
    assert!(matches!(wait(&["replaced"], second), Err(WaitError::Ended { .. })));
    assert_eq!(wait(&["broken"], second).map(|state| state.state), Ok("broken".into()));
    assert!(began.elapsed() < second);
}

/// Two threads wait for an entity while a third one moves it, at the same moment, many times.
#[test]
fn no_wake_up_is_lost() {
    let seed = crate::support::random::seed();
    const ROUNDS: u64 = 600;
    for topology in [Topology::Fused, Topology::Staged { dedup: 1, workers: 2 }] {
        let (pipeline, query, _) = start(topology, &[LAMPS], StateOptions::default());
        let barrier = Barrier::new(3);
        let pause = |rng: &mut Rng| {
            for _ in 0..rng.below(3_000) {
                std::hint::spin_loop();
            }
        };
        std::thread::scope(|scope| {
            for waiter in 0..2 {
                let (query, barrier) = (&query, &barrier);
                scope.spawn(move || {
                    let mut rng = Rng::new(seed ^ waiter);
                    for round in 0..ROUNDS {
                        barrier.wait();
                        pause(&mut rng);
                        let entity = Symbol::from_bits(1 + round / 2);
                        // In every other round a state that is only passed through, and found when it was missed.
                        let wanted: &[&str] = if round % 2 == 0 { &["warming", "on"] } else { &["broken"] };
                        let state = query.wait_until(LAMP, entity, wanted, Duration::from_secs(20));
                        assert!(state.is_ok(), "{topology} round {round} seed {seed}: {state:?}");
                    }
                });
            }
            let mut emitter = pipeline.emitter("mover").unwrap();
            let mut rng = Rng::new(seed ^ 99);
            for round in 0..ROUNDS {
                barrier.wait();
                pause(&mut rng);
                let kind = if round % 2 == 0 { SWITCH_ON } else { BREAK };
                emitter.emit_records([lamp(kind, round, Symbol::from_bits(1 + round / 2), 0)]);
            }
        });
    }
}

/// The same without a pipeline between, so that look and event meet within nanoseconds of each other.
#[test]
fn no_wake_up_is_lost_between_look_and_sleep() {
    let seed = crate::support::random::seed();
    let mut observer =
        States::new(&lamps(), &Default::default(), &Default::default(), StateOptions::default());
    let query = observer.query();
    let (started, finished) = (AtomicU64::new(0), AtomicU64::new(0));
    let await_round = |counter: &AtomicU64, round: u64| {
        let mut looks = 0_u32;
        while counter.load(Ordering::Acquire) < round {
            looks += 1;
            if looks.is_multiple_of(1_000) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    };
    let last = 1 << 40;
    let end = AtomicU64::new(last);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng::new(seed);
            for round in 1.. {
                await_round(&started, round);
                if end.load(Ordering::Acquire) < round {
                    return;
                }
                (0..rng.below(100)).for_each(|_| std::hint::spin_loop());
                let state = query.wait_until(LAMP, Symbol::from_bits(round), &["on"], Duration::from_secs(5));
                if state.is_err() {
                    end.store(0, Ordering::Release);
                }
                finished.store(round, Ordering::Release);
                assert!(state.is_ok(), "round {round} seed {seed}: {state:?}");
            }
        });
        let mut rng = Rng::new(seed ^ 1);
        let began = Instant::now();
        let mut round = 0;
        while began.elapsed() < Duration::from_secs(2) && end.load(Ordering::Acquire) == last {
            round += 1;
            started.store(round, Ordering::Release);
            (0..rng.below(100)).for_each(|_| std::hint::spin_loop());
            feed(&mut observer, &[lamp(SWITCH_ON, round, Symbol::from_bits(round), 0)]);
            await_round(&finished, round);
        }
        end.fetch_min(round, Ordering::Release);
        started.store(round + 1, Ordering::Release);
        println!("{round} rounds");
        assert!(round > 100);
    });
}

#[test]
fn a_state_that_is_passed_through_counts_for_who_waits() {
    let (pipeline, query, _) = start(Topology::Inline, &[LAMPS], StateOptions::default());
    let entity = Symbol::of("lamp");
    let mut emitter = pipeline.emitter("lamp").unwrap();
    std::thread::scope(|scope| {
        let warming = scope.spawn(|| query.wait_until(LAMP, entity, &["warming"], Duration::from_secs(20)));
        let off = scope.spawn(|| query.wait_until(LAMP, entity, &["off"], Duration::from_secs(20)));
        std::thread::sleep(Duration::from_millis(50));
        emitter.emit_records([lamp(SWITCH_ON, 1, entity, 0)]);
        pipeline.poll();
        let warming = warming.join().unwrap().unwrap();
        assert_eq!((&*warming.state, warming.transition, &*warming.now.state), ("warming", 1, "on"));
        let off = off.join().unwrap().unwrap();
        assert_eq!((&*off.state, off.transition, off.time_ns, &*off.now.state), ("off", 0, Some(1), "on"));
    });
}
