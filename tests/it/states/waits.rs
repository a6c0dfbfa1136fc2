//! Promise: a wait returns what was asked, a wait after a point returns the next time, and a settled read has everything
//! that was accepted before it.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --test it states::waits`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::random::Rng;
use crate::support::states::{random_domain, record};
use panther_events::domain::DomainDef;
use panther_events::domain::machine::TransitionPath;
use panther_events::domain::service::{Ready, Started};
use panther_events::emit::Emitter;
use panther_events::event::{Domain, EventKind, Identity, KindSet, Record, Symbol, Value};
use panther_events::observe::state::{Point, Reached, StateOptions, StateQuery, WaitError};
use panther_events::observe::{Batch, Interest, Observer, Undelivered};
use panther_events::pipeline::{
    Builder, DrainError, Handle, Pipeline, PipelineOptions, SettleError, Topology,
};
use panther_events::process::{Derived, Processor};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::time::Duration;

const TOPOLOGIES: [Topology; 4] = [
    Topology::Inline,
    Topology::Fused,
    Topology::Staged { dedup: 1, workers: 1 },
    Topology::Staged { dedup: 2, workers: 2 },
];

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(30);
const NOW: Duration = Duration::ZERO;

const LAMP: Domain = Domain::FIRST_USER;
const ON: EventKind = EventKind::new(LAMP, 0);
const OFF: EventKind = EventKind::new(LAMP, 1);
const BREAK: EventKind = EventKind::new(LAMP, 2);
const CHECK: EventKind = EventKind::new(LAMP, 3);

/// Both ways of a check lead to the same state.
fn lamps() -> DomainDef {
    let lamps = r#"{"number":16,"name":"lamp","initial":"off",
        "states":[{"name":"off","next":["warming","dim"],"terminal":false},
                  {"name":"warming","next":["off","on","broken"],"terminal":false},
                  {"name":"on","next":["off","broken"],"terminal":false},
                  {"name":"broken","next":[],"terminal":true},
                  {"name":"dim","next":["on"],"terminal":false}],
        "kinds":[{"code":0,"name":"switched_on","identity":"content","sampled":false,"fields":[],"path":["warming","on"]},
                 {"code":1,"name":"switched_off","identity":"content","sampled":false,"fields":[],"path":["off"]},
                 {"code":2,"name":"broke","identity":"content","sampled":false,"fields":[],"path":["broken"]},
                 {"code":3,"name":"checked","identity":"content","sampled":false,
                  "fields":[{"name":"flag","type":"u8","offset":0}],
                  "path":{"by":"flag","zero":["warming","on"],"other":["dim","on"]}}]}"#;
    DomainDef::from_json(lamps).unwrap()
}

/// Every `time_ns` makes another event.
fn lamp(kind: EventKind, time_ns: u64, entity: Symbol, flag: u8) -> Record {
    let mut payload = [0; 24];
    payload[0] = flag;
    payload[8..16].copy_from_slice(&time_ns.to_ne_bytes());
    record(kind, Identity::Content, time_ns, entity, payload)
}

fn name(n: u64) -> Symbol {
    Symbol::of(&format!("lamp-{n}"))
}

fn builder(topology: Topology, domains: &[DomainDef]) -> Builder {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    for domain in domains {
        builder.domain(domain);
    }
    builder
}

fn start(topology: Topology, options: StateOptions) -> (Pipeline, StateQuery) {
    let mut builder = builder(topology, &[lamps()]);
    let states = StateQuery::new(options);
    let query = states.clone();
    builder.observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
    (builder.start().unwrap(), states)
}

fn emit(pipeline: &Pipeline, records: impl IntoIterator<Item = Record>) {
    pipeline.emitter("lamps").unwrap().emit_records(records);
    pipeline.drain(LONG).unwrap();
}

fn short(reached: &Reached) -> (&str, u32, Option<u64>, u32, &str) {
    (&reached.state, reached.transition, reached.time_ns, reached.unknown, &reached.now.state)
}

/// Starts the server; `round` makes each start other events.
fn start_server(emitter: &mut Emitter, round: u64) {
    let mut server = emitter.service("server");
    server.started("server", Started { pid: Some(round), ..Default::default() }).unwrap();
    let readiness_checks = Some(Value::Unsigned(round));
    server.ready("server", Ready { readiness_checks }).unwrap();
}

#[test]
fn a_service_that_starts_again_is_waited_for_the_second_time() {
    for topology in TOPOLOGIES {
        let (pipeline, query) = start(topology, StateOptions::default());
        let (server, mut emitter) = (Symbol::of("server"), pipeline.emitter("server").unwrap());
        let mut service = emitter.service("server");
        service.preparation_started("server", Value::Null).unwrap();
        service.preparation_completed("server", Default::default()).unwrap();
        service.deployment_started("server", "lab", Default::default()).unwrap();
        service.deployment_completed("server", "lab", &[4433], Default::default()).unwrap();
        start_server(&mut emitter, 1);
        let point = pipeline.settled(&query, LONG).unwrap().point(Domain::SERVICE, server);
        let old = query.wait_until(Domain::SERVICE, server, &["ready"], NOW).unwrap();
        let next = |timeout| query.wait_until_after(&point, &["ready"], timeout);
        assert!(matches!(next(NOW), Err(WaitError::Timeout { last: Some(_), .. })));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| next(LONG));
            let again = scope.spawn(|| {
                let mut other = pipeline.emitter("other").unwrap();
                other.service("server").stopped("server", Default::default()).unwrap();
                pipeline.drain(LONG).unwrap();
                start_server(&mut other, 2);
                pipeline.drain(LONG).unwrap();
            });
            again.join().unwrap();
            let reached = waiting.join().unwrap().unwrap();
            assert!(reached.transition > old.transition, "{topology} {reached:?}");
            assert_eq!((&*reached.state, reached.unknown, &*reached.now.state), ("ready", 0, "ready"));
            assert_eq!(reached.transition, reached.now.transitions);
            assert_eq!(next(NOW), Ok(reached));
        });
    }
}

#[test]
fn what_came_between_point_and_call_counts() {
    for topology in TOPOLOGIES {
        let (pipeline, query) = start(topology, StateOptions::default());
        let (point, wait) = (query.point(LAMP, name(0)), |point: &Point, states: &[&str]| {
            query.wait_until_after(point, states, NOW)
        });
        emit(&pipeline, [lamp(ON, 1, name(0), 0), lamp(OFF, 2, name(0), 0)]);
        let of = |states: &[&str]| wait(&point, states);
        assert_eq!(of(&["on"]).as_ref().map(short), Ok(("on", 1, Some(1), 0, "off")));
        assert_eq!(of(&["warming"]).as_ref().map(short), Ok(("warming", 1, Some(1), 0, "off")));
        // The first of several, in the order in which they came.
        assert_eq!(of(&["on", "warming"]).as_ref().map(short), Ok(("warming", 1, Some(1), 0, "off")));
        assert_eq!(of(&["on", "off"]).as_ref().map(short), Ok(("off", 0, None, 0, "off")));
        let point = query.point(LAMP, name(0));
        assert!(matches!(wait(&point, &["off", "on"]), Err(WaitError::Timeout { .. })));
        emit(&pipeline, [lamp(ON, 3, name(0), 0), lamp(OFF, 4, name(0), 0), lamp(ON, 5, name(0), 0)]);
        assert_eq!(short(&wait(&point, &["on"]).unwrap()), ("on", 3, Some(3), 0, "on"));
        assert_eq!(short(&wait(&point, &["off"]).unwrap()), ("off", 4, Some(4), 0, "on"));
        // A plain wait knows what is, and not what was and went.
        let plain = |states: &[&str]| query.wait_until(LAMP, name(0), states, NOW);
        assert_eq!(short(&plain(&["off", "on"]).unwrap()), ("on", 5, Some(5), 0, "on"));
        assert!(matches!(plain(&["warming"]), Err(WaitError::Timeout { .. })));
    }
}

#[test]
fn a_state_at_the_point_counts_when_it_is_come_into_again() {
    let (pipeline, query) = start(Topology::Fused, StateOptions::default());
    emit(&pipeline, [lamp(ON, 1, name(0), 0)]);
    let point = query.point(LAMP, name(0));
    // An event that says what is known already brings nothing.
    emit(&pipeline, [lamp(ON, 2, name(0), 0)]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| query.wait_until_after(&point, &["on"], Duration::MAX));
        std::thread::sleep(SHORT);
        assert!(!waiting.is_finished());
        emit(&pipeline, [lamp(OFF, 3, name(0), 0), lamp(ON, 4, name(0), 0)]);
        assert_eq!(short(&waiting.join().unwrap().unwrap()), ("on", 3, Some(4), 0, "on"));
    });
    // From its end on, no state can be come into, the end included.
    emit(&pipeline, [lamp(BREAK, 5, name(0), 0)]);
    let point = query.point(LAMP, name(0));
    let wait = |states: &[&str]| query.wait_until_after(&point, states, LONG);
    assert!(matches!(wait(&["broken"]), Err(WaitError::Unreachable { .. })));
    assert!(matches!(wait(&["on"]), Err(WaitError::Unreachable { .. })));
    assert_eq!(query.wait_until(LAMP, name(0), &["broken"], NOW).unwrap().state, "broken");
}

#[test]
fn a_path_that_forks_passes_the_states_of_the_way_that_was_taken() {
    let (pipeline, query) = start(Topology::Inline, StateOptions::default());
    let point = query.point(LAMP, name(0));
    std::thread::scope(|scope| {
        let live = scope.spawn(|| query.wait_until(LAMP, name(1), &["warming"], SHORT * 4));
        std::thread::sleep(SHORT);
        emit(&pipeline, [lamp(CHECK, 1, name(0), 1), lamp(CHECK, 2, name(1), 1)]);
        assert!(matches!(live.join().unwrap(), Err(WaitError::Timeout { last: Some(_), .. })));
    });
    let wait = |states: &[&str]| query.wait_until_after(&point, states, NOW);
    assert!(matches!(wait(&["warming"]), Err(WaitError::Timeout { .. })));
    assert_eq!(short(&wait(&["dim"]).unwrap()), ("dim", 1, Some(1), 0, "on"));
}

#[test]
fn what_the_log_has_lost_is_said_and_not_guessed() {
    let options = StateOptions { transitions_max: 4, ..StateOptions::default() };
    let (pipeline, query) = start(Topology::Inline, options);
    emit(&pipeline, [lamp(ON, 1, name(2), 0)]);
    let points = [0, 1, 2].map(|n| query.point(LAMP, name(n)));
    let wait = |point: usize, states: &[&str]| query.wait_until_after(&points[point], states, NOW);
    emit(&pipeline, [lamp(ON, 2, name(0), 0), lamp(OFF, 3, name(0), 0)]);
    emit(&pipeline, (4..10).map(|n| lamp(if n % 2 == 0 { ON } else { OFF }, n, name(1), 0)));
    // Lamp 0: both transitions are lost; where it is tells of the last one.
    assert!(matches!(wait(0, &["on"]), Err(WaitError::Overwritten { last }) if last.state == "off"));
    assert_eq!(wait(0, &["off"]).unwrap().transition, 0);
    // Lamp 1: six transitions, of which four are there.
    assert_eq!(short(&wait(1, &["on"]).unwrap()), ("on", 3, Some(6), 2, "off"));
    assert!(matches!(wait(1, &["broken"]), Err(WaitError::Overwritten { .. })));
    // Lamp 2 has not moved, and that is known however much the log has lost.
    assert!(matches!(wait(2, &["on", "off"]), Err(WaitError::Timeout { .. })));
    let point = query.point(LAMP, name(0));
    emit(&pipeline, [lamp(ON, 20, name(0), 0), lamp(OFF, 21, name(0), 0)]);
    emit(&pipeline, (22..27).map(|n| lamp(if n % 2 == 0 { ON } else { OFF }, n, name(1), 0)));
    let off = query.wait_until_after(&point, &["off"], NOW).unwrap();
    assert_eq!(short(&off), ("off", 4, Some(21), 2, "off"));

    let (pipeline, query) = start(Topology::Inline, StateOptions { transitions_max: 0, ..options });
    emit(&pipeline, [lamp(ON, 1, name(0), 0)]);
    let point = query.point(LAMP, name(0));
    emit(&pipeline, [lamp(OFF, 2, name(0), 0)]);
    assert_eq!(query.wait_until_after(&point, &["off"], NOW).unwrap().unknown, 1);
    assert!(matches!(query.wait_until_after(&point, &["on"], NOW), Err(WaitError::Overwritten { .. })));
}

/// What a naive interpreter knows of an entity: every state that it came into, with the number of the transition.
type Entered<'a> = Vec<(&'a str, u32)>;

#[test]
fn random_histories_answer_as_a_naive_oracle_does() {
    let seed = crate::support::random::seed();
    for round in 0..300 {
        let mut rng = Rng::new(seed ^ round);
        let about = format!("round {round} seed {seed}");
        let domain = random_domain(&mut rng, 0);
        let capacity = [1 << 16, 3, 12][round as usize % 3];
        let options = StateOptions { transitions_max: capacity, ..StateOptions::default() };
        let mut builder = builder(Topology::Inline, std::slice::from_ref(&domain));
        let query = StateQuery::new(options);
        let states = query.clone();
        builder.observer("state", move |setup| states.observer(setup.schema, setup.symbols, setup.contexts));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("random").unwrap();
        let table = domain.states.as_ref().unwrap();
        let mut entered: Vec<Entered<'_>> = vec![Vec::new(); 4];
        let mut now: Vec<Option<(u8, u32)>> = vec![None; 4];
        let mut moved = 0_usize;
        let mut points: Vec<(Point, usize, usize, usize)> = Vec::new();
        for time_ns in 1..=200 {
            let at = rng.below(4) as usize;
            if rng.below(8) == 0 {
                points.push((query.point(LAMP, name(at as u64)), at, entered[at].len(), moved));
            }
            let kind = domain.kinds[rng.below(domain.kinds.len() as u64) as usize].kind;
            let event = lamp(kind, time_ns, name(at as u64), rng.below(2) as u8);
            emitter.emit_records([event]);
            pipeline.poll();
            let (from, number) = now[at].unwrap_or_else(|| {
                entered[at].push((&*table.states[usize::from(table.initial)], 0));
                (table.initial, 0)
            });
            now[at] = Some((from, number));
            let way: &[u8] = match &table.paths[usize::from(kind.code())] {
                TransitionPath::Stay => &[],
                TransitionPath::To(way) => way,
                TransitionPath::By { zero, other, .. } => {
                    if event.payload_bytes()[0] == 0 {
                        zero
                    } else {
                        other
                    }
                }
                TransitionPath::From { state, way, other } => {
                    if *state == from {
                        way
                    } else {
                        other
                    }
                }
            };
            let (mut here, mut came, mut allowed) =
                (from, Vec::new(), way.last().is_some_and(|to| *to != from));
            for state in way.iter() {
                if *state != here {
                    allowed &= table.next[usize::from(here)] & 1 << state != 0;
                    came.push((&*table.states[usize::from(*state)], number + 1));
                    here = *state;
                }
            }
            if allowed {
                entered[at].extend(came);
                (now[at], moved) = (Some((here, number + 1)), moved + 1);
            }
            if points.is_empty() {
                continue;
            }
            let (point, at, seen, moved_then) = points[rng.below(points.len() as u64) as usize];
            let wanted: Vec<&str> =
                table.states.iter().map(|state| &**state).filter(|_| rng.below(4) == 0).collect();
            let answer = query.wait_until_after(&point, &wanted, NOW);
            let since = &entered[at][seen..];
            let hits: Vec<_> = since.iter().filter(|(state, _)| wanted.contains(state)).collect();
            let here = now[at].map(|(state, number)| (&*table.states[usize::from(state)], number));
            match answer {
                Ok(reached) => {
                    let hit = (&*reached.state, reached.transition);
                    assert!(hits.contains(&&hit), "{about} {reached:?} of {since:?}");
                    assert!(reached.unknown > 0 || *hits[0] == hit, "{about} {reached:?} of {since:?}");
                    assert_eq!(Some((&*reached.now.state, reached.now.transitions)), here, "{about}");
                    // No more is unknown than lies between the point and what was found.
                    let first = since[0].1;
                    assert!(reached.unknown < hit.1 + 2 - first, "{about} {reached:?} of {since:?}");
                }
                Err(WaitError::Overwritten { .. }) => {
                    assert!(moved - moved_then > capacity, "{about} {since:?}");
                    let kept = here.filter(|(state, _)| wanted.contains(state));
                    assert!(!kept.is_some_and(|kept| since.contains(&kept)), "{about} {since:?}");
                }
                Err(WaitError::Timeout { .. }) | Err(WaitError::Unreachable { .. }) => {
                    assert!(hits.is_empty(), "{about} {answer:?} of {since:?}");
                }
                Err(other) => panic!("{about}: {other}"),
            }
        }
    }
}

/// Waiters take a point, and a mover moves the entity at that moment, through the state and out of it.
#[test]
fn no_time_is_missed_or_taken_for_another() {
    let seed = crate::support::random::seed();
    const ROUNDS: u32 = 300;
    for topology in [Topology::Fused, Topology::Staged { dedup: 2, workers: 2 }] {
        let (pipeline, query) = start(topology, StateOptions::default());
        let (ready, done) = (Barrier::new(3), Barrier::new(3));
        let pause = |rng: &mut Rng| (0..rng.below(3_000)).for_each(|_| std::hint::spin_loop());
        std::thread::scope(|scope| {
            for waiter in 0..2 {
                let (query, pipeline, ready, done) = (&query, &pipeline, &ready, &done);
                scope.spawn(move || {
                    let mut rng = Rng::new(seed ^ waiter);
                    for round in 0..ROUNDS {
                        let entity = name(u64::from(round % 3));
                        let point = pipeline.settled(query, LONG).unwrap().point(LAMP, entity);
                        ready.wait();
                        pause(&mut rng);
                        let reached = query.wait_until_after(&point, &["on"], LONG).unwrap();
                        let expected = ("on", round / 3 * 2 + 1, Some(u64::from(round) * 2 + 1), 0);
                        let found = (&*reached.state, reached.transition, reached.time_ns, reached.unknown);
                        assert_eq!(found, expected, "{topology} round {round} seed {seed}");
                        done.wait();
                    }
                });
            }
            let mut emitter = pipeline.emitter("mover").unwrap();
            let mut rng = Rng::new(seed ^ 99);
            for round in 0..ROUNDS {
                let (entity, time_ns) = (name(u64::from(round % 3)), u64::from(round) * 2);
                ready.wait();
                pause(&mut rng);
                emitter.emit_records([lamp(ON, time_ns + 1, entity, 0)]);
                pause(&mut rng);
                emitter.emit_records([lamp(OFF, time_ns + 2, entity, 0)]);
                done.wait();
            }
        });
    }
}

#[test]
fn an_observer_that_comes_late_or_again_is_waited_for_as_any() {
    let pipeline = builder(Topology::Fused, &[lamps()]).start().unwrap();
    let query = StateQuery::new(StateOptions::default());
    let early = query.point(LAMP, name(0));
    assert_eq!(query.wait_until_after(&early, &["on"], LONG), Err(WaitError::NotStarted));
    let add = || {
        let make = |setup: panther_events::pipeline::ObserverSetup<'_>| {
            query.observer(setup.schema, setup.symbols, setup.contexts)
        };
        pipeline.add_observer("state", make).unwrap()
    };
    let key = add();
    emit(&pipeline, [lamp(ON, 1, name(0), 0)]);
    assert_eq!(query.wait_until_after(&early, &["on"], LONG).unwrap().transition, 1);
    let first = query.point(LAMP, name(0));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| query.wait_until_after(&first, &["on"], LONG));
        std::thread::sleep(SHORT);
        assert!(pipeline.remove_observer(key).is_ok());
        assert!(matches!(waiting.join().unwrap(), Err(WaitError::Ended { last: Some(_) })));
    });
    // Missed by the observer, which is not there.
    emit(&pipeline, [lamp(OFF, 2, name(0), 0)]);
    add();
    assert_eq!(query.state(LAMP, name(0)), None);
    emit(&pipeline, [lamp(ON, 3, name(0), 0)]);
    let reached = query.wait_until_after(&first, &["on"], LONG).unwrap();
    assert_eq!(short(&reached), ("on", 1, Some(3), 0, "on"));
    assert_eq!(query.entities().count(), 1);
}

/// Calls back into its own pipeline, from where it is called.
struct CallsBack {
    handle: Arc<OnceLock<Handle>>,
    pipeline: Arc<OnceLock<Mutex<std::sync::Weak<Pipeline>>>>,
    query: StateQuery,
    told: Sender<(&'static str, Result<(), DrainError>, Option<WaitError>)>,
}

impl CallsBack {
    fn call(&self, who: &'static str) {
        let mut drained = self.handle.get().unwrap().drain(Duration::MAX);
        if let Some(pipeline) = self.pipeline.get().and_then(|pipeline| pipeline.lock().unwrap().upgrade()) {
            drained = drained.and(pipeline.drain(Duration::MAX));
            assert_eq!(pipeline.drain(Duration::MAX), Err(DrainError::OwnThread));
            assert_eq!(pipeline.poll(), 0);
        }
        let waited = self.query.wait_until(LAMP, name(9), &["broken"], Duration::MAX);
        self.told.send((who, drained, waited.err())).unwrap();
    }
}

impl Observer for CallsBack {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest { kinds: KindSet::of(&[ON]), ..Interest::ALL }
    }

    fn observe(&mut self, _: &Batch<'_>) -> Result<(), Undelivered> {
        self.call("observer");
        Ok(())
    }

    fn report(&self) {}
}

impl Processor for CallsBack {
    fn interest(&self) -> KindSet {
        KindSet::of(&[ON])
    }

    fn process(&mut self, _: &Record, _: &mut Derived<'_>) {
        self.call("processor");
    }
}

#[test]
fn calling_back_from_the_pipelines_own_threads_is_an_error_and_no_hang() {
    for topology in TOPOLOGIES {
        let (told, heard) = channel();
        let (handle, weak) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
        let query = StateQuery::new(StateOptions::default());
        let mut builder = builder(topology, &[lamps()]);
        let states = query.clone();
        builder.observer("state", move |setup| states.observer(setup.schema, setup.symbols, setup.contexts));
        let calls_back = {
            let (handle, pipeline, query) = (Arc::clone(&handle), Arc::clone(&weak), query.clone());
            move || CallsBack {
                handle: Arc::clone(&handle),
                pipeline: Arc::clone(&pipeline),
                query: query.clone(),
                told: told.clone(),
            }
        };
        let processor = calls_back.clone();
        builder.observer("calls back", move |_| calls_back());
        builder.processor("calls back", move |_| processor());
        let pipeline = Arc::new(builder.start().unwrap());
        handle.set(pipeline.handle()).unwrap();
        assert!(weak.set(Mutex::new(Arc::downgrade(&pipeline))).is_ok());
        emit(&pipeline, [lamp(ON, 1, name(0), 0)]);
        for who in ["processor", "observer"] {
            let own = (who, Err(DrainError::OwnThread), Some(WaitError::OwnThread));
            assert_eq!(heard.recv_timeout(LONG).unwrap(), own, "{topology}");
        }
        // Others go on.
        let elsewhere = pipeline.handle().drain(LONG);
        let inline = topology == Topology::Inline;
        assert_eq!(elsewhere, if inline { Err(DrainError::Inline) } else { Ok(()) }, "{topology}");
    }
}

/// Blocks until it is let go on.
struct Blocks(Receiver<()>);

impl Observer for Blocks {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest { kinds: KindSet::of(&[ON]), ..Interest::ALL }
    }

    fn observe(&mut self, _: &Batch<'_>) -> Result<(), Undelivered> {
        let _ = self.0.recv();
        Ok(())
    }

    fn report(&self) {}
}

#[test]
fn a_settled_read_ends_in_time_when_the_pipeline_does_not() {
    for topology in TOPOLOGIES {
        let mut builder = builder(topology, &[lamps()]);
        let query = StateQuery::new(StateOptions::default());
        let states = query.clone();
        builder.observer("state", move |setup| states.observer(setup.schema, setup.symbols, setup.contexts));
        let mut ends = Vec::new();
        let (gives, takes) = channel();
        builder.observer("blocks", move |_| {
            let (go_on, blocked) = channel();
            gives.send(go_on).unwrap();
            Blocks(blocked)
        });
        let pipeline = builder.start().unwrap();
        ends.extend(takes.try_iter());
        let mut emitter = pipeline.emitter("lamps").unwrap();
        emitter.emit_records([lamp(ON, 1, name(0), 0)]);
        std::thread::scope(|scope| {
            let polling = scope.spawn(|| pipeline.poll());
            // Once it has the event, it is blocked.
            query.wait_until(LAMP, name(0), &["on"], LONG).unwrap();
            let late = |timeout| pipeline.settled(&query, timeout).map(|_| ());
            assert_eq!(
                late(SHORT),
                Err(SettleError::Drain(DrainError::Timeout { timeout: SHORT })),
                "{topology}"
            );
            assert_eq!(
                late(NOW),
                Err(SettleError::Drain(DrainError::Timeout { timeout: NOW })),
                "{topology}"
            );
            ends.clear();
            polling.join().unwrap();
            assert_eq!(late(Duration::MAX), Ok(()), "{topology}");
        });
    }
}

#[test]
fn a_settled_read_has_everything_that_was_accepted_before_it() {
    for topology in TOPOLOGIES {
        for round in 0..20 {
            let (pipeline, query) = start(topology, StateOptions::default());
            let handle = pipeline.handle();
            std::thread::scope(|scope| {
                for thread in 0..2 {
                    let mut emitter = pipeline.emitter("lamps").unwrap();
                    scope.spawn(move || {
                        for n in 0..500 {
                            let kind = if n % 2 == 0 { ON } else { OFF };
                            let entity = name(thread * 10 + n / 2 % 7);
                            assert_eq!(emitter.emit_records([lamp(kind, n, entity, 0)]).accepted, 1);
                        }
                    });
                }
            });
            let settled = if topology == Topology::Inline || round % 2 == 0 {
                pipeline.settled(&query, LONG).unwrap()
            } else {
                handle.settled(&query, LONG).unwrap()
            };
            let lamps = settled.domain(LAMP).unwrap();
            assert_eq!((lamps.count("off"), lamps.moved, lamps.entities()), (14, 1000, 14), "{topology}");
            drop(pipeline);
            // After the end everything has gone through, whoever asks.
            let after = handle.settled(&query, LONG).map(|_| ());
            let inline = topology == Topology::Inline;
            assert_eq!(after, if inline { Err(SettleError::Drain(DrainError::Inline)) } else { Ok(()) });
        }
    }
}
