//! What is one event and what are two: whatever happens twice is two events, and what is delivered twice is one.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "it/support"]
mod support {
    #![allow(dead_code, clippy::print_stdout, clippy::unwrap_used, reason = "each test uses its part")]
    pub(crate) mod random;
}

use crate::support::random::{Rng, seed};
use panther_events::Shared;
use panther_events::domain::{DomainDef, KindDef, TypedSink};
use panther_events::emit::EmitError;
use panther_events::event::{Domain, EventId, EventKind, Identity, Level, Origin, Record, Symbol, Value};
use panther_events::observe::{Batch, Interest, Observer, Report, Undelivered};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, ReportKey, Snapshot, Topology};
use std::collections::HashSet;

const TOPOLOGIES: [Topology; 3] =
    [Topology::Inline, Topology::Fused, Topology::Staged { dedup: 3, workers: 2 }];

panther_events::payload! {
    /// A sample that is often the same.
    struct Sample [EventKind::new(Domain::FIRST_USER, 0)] { value: u64 }
}

panther_events::payload! {
    /// Something whose content says all.
    struct Notice [EventKind::new(Domain::FIRST_USER, 1)] { value: u64 }
}

const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[
        KindDef::of::<Sample>("sample", Identity::Occurrence),
        KindDef::of::<Notice>("notice", Identity::Content),
    ]),
    states: None,
};

/// Keeps the new records.
#[derive(Default)]
struct Keep(Vec<Record>);

#[derive(Default, Clone)]
struct Kept(Vec<Record>);

impl Report for Kept {
    fn merge(&mut self, other: Kept) {
        self.0.extend(other.0);
    }
}

impl Observer for Keep {
    type Report = Kept;

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        self.0.extend(batch.iter().map(|(record, _)| *record));
        Ok(())
    }

    fn report(&self) -> Kept {
        Kept(self.0.clone())
    }
}

fn builder(topology: Topology) -> (Builder, ReportKey<Kept>) {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    builder.domain(&LAB);
    let key = builder.observer("keep", |_| Keep::default());
    (builder, key)
}

fn start(topology: Topology) -> (Pipeline, ReportKey<Kept>) {
    let (builder, key) = builder(topology);
    (builder.start().unwrap(), key)
}

/// Ends the pipeline; returns its new events and how many duplicates there were.
fn end(pipeline: Pipeline, key: ReportKey<Kept>) -> (Vec<Record>, u64) {
    let snapshot: Snapshot = pipeline.shutdown();
    snapshot.account.check().unwrap();
    (snapshot.report(key).unwrap().0.clone(), snapshot.account.duplicates)
}

fn ids(records: &[Record]) -> HashSet<EventId> {
    records.iter().map(|record| record.id().unwrap()).collect()
}

/// Each test runs a failing step "connect" with the same words; nothing tells them apart but that they happened.
#[test]
fn a_step_that_fails_alike_in_three_tests_fails_three_times() {
    for topology in TOPOLOGIES {
        for contexts in [true, false] {
            let (pipeline, key) = start(topology);
            let mut emitter = pipeline.emitter("runner").unwrap();
            for test in ["first", "second", "third"] {
                let fail = |emitter: &mut panther_events::emit::Emitter| {
                    let mut step = emitter.step("connect");
                    step.execution_started(Value::Null, "connect", Default::default()).unwrap();
                    step.execution_failed("no answer", 0, "connect", Default::default()).unwrap();
                };
                if contexts {
                    fail(&mut emitter.within(Level::Test, test).unwrap());
                } else {
                    fail(&mut emitter);
                }
            }
            drop(emitter);
            let (records, duplicates) = end(pipeline, key);
            let steps: Vec<Record> =
                records.into_iter().filter(|record| record.kind().domain() == Domain::STEP).collect();
            assert_eq!((steps.len(), duplicates, ids(&steps).len()), (6, 0, 6), "{topology} {contexts}");
        }
    }
}

#[test]
fn a_service_that_starts_again_is_ready_again_whichever_thread_says_so() {
    for topology in TOPOLOGIES {
        let (pipeline, key) = start(topology);
        for _ in 0..2 {
            let handle = pipeline.handle();
            let ready = move || {
                let mut emitter = handle.emitter("watcher").unwrap();
                emitter.service("server").ready("server", Default::default()).unwrap();
            };
            std::thread::spawn(ready).join().unwrap();
        }
        let (records, duplicates) = end(pipeline, key);
        assert_eq!((records.len(), duplicates), (2, 0), "{topology}");
    }
}

/// Sources and numbers begin at 0 in every process, and so do equal first samples.
#[test]
fn equal_first_samples_of_two_pipelines_are_two_events() {
    let runs: Vec<_> = (0..8)
        .map(|n| {
            let (pipeline, key) = start(TOPOLOGIES[n % 3]);
            let origin = pipeline.origin();
            let mut emitter = pipeline.emitter("sampler").unwrap();
            emitter.emit_at(1, Symbol::of("cpu"), &Sample { value: 5 }).unwrap();
            assert_eq!(emitter.source(), 0);
            drop(emitter);
            let (records, _) = end(pipeline, key);
            assert_eq!((records[0].source(), records[0].seq()), (0, 0));
            assert_eq!(records[0].id(), Some(stripped(&records[0]).id_in(origin)));
            (origin, records[0])
        })
        .collect();
    let origins: HashSet<Origin> = runs.iter().map(|(origin, _)| *origin).collect();
    assert_eq!(origins.len(), 8);
    // Where they meet, each is new once, and a duplicate when it comes again.
    let all: Vec<Record> = runs.iter().map(|(_, record)| *record).collect();
    let (pipeline, key) = start(Topology::Fused);
    let mut emitter = pipeline.emitter("replay").unwrap();
    assert_eq!(emitter.emit_numbered(all.iter().chain(&all).copied()).accepted, 16);
    drop(emitter);
    let (records, duplicates) = end(pipeline, key);
    assert_eq!((ids(&records), duplicates), (ids(&all), 8));
}

/// The record as it was emitted, without its id.
fn stripped(record: &Record) -> Record {
    let mut bytes = [0; 64];
    bytes.copy_from_slice(bytemuck::bytes_of(record));
    bytes[..16].fill(0);
    bytemuck::pod_read_unaligned(&bytes)
}

/// A run is resumed by what its journal holds; what the journal lost had numbers that now come again.
#[test]
fn what_a_resumed_run_says_under_numbers_of_a_lost_tail_is_new() {
    let mut rng = Rng::new(seed());
    for topology in TOPOLOGIES {
        for _ in 0..10 {
            let (pipeline, key) = start(topology);
            let mut emitters: Vec<_> = (0..3).map(|_| pipeline.emitter("e").unwrap()).collect();
            for n in 0..60_u64 {
                // Content says nothing: only the number in its source does.
                emitters[(n % 3) as usize].emit_at(n, Symbol::of("x"), &Sample { value: 1 }).unwrap();
                pipeline.poll();
            }
            drop(emitters);
            let (mut whole, _) = end(pipeline, key);
            whole.sort_by_key(Record::time_ns);
            // Of one source nothing may be left, so that its number is given again from 0 on.
            let kept = whole[..rng.below(60) as usize].to_vec();
            let (mut again, key) = builder(topology);
            let feed = kept.clone();
            again.preload(move |each| each(&feed));
            let pipeline = again.start().unwrap();
            let mut emitters: Vec<_> = (0..3).map(|_| pipeline.emitter("e").unwrap()).collect();
            for n in 0..60_u64 {
                emitters[(n % 3) as usize].emit_at(n, Symbol::of("x"), &Sample { value: 1 }).unwrap();
                pipeline.poll();
            }
            // What is delivered again of what was kept is known.
            assert_eq!(emitters[0].emit_numbered(kept.iter().copied()).accepted, kept.len() as u64);
            drop(emitters);
            let (resumed, duplicates) = end(pipeline, key);
            assert_eq!((resumed.len(), duplicates), (60, kept.len() as u64), "{topology}");
            // The lost tail turns up after all: nothing merges.
            assert!(ids(&whole).is_disjoint(&ids(&resumed)), "{topology}");
        }
    }
}

#[test]
fn a_replay_a_batch_sent_twice_and_a_copy_are_duplicates() {
    let (pipeline, key) = start(Topology::Fused);
    let mut emitter = pipeline.emitter("first").unwrap();
    let samples = (0..200).map(|n| (Symbol::of("x"), Sample { value: n % 3 }));
    assert_eq!(emitter.emit_batch(samples).accepted, 200);
    drop(emitter);
    let (records, duplicates) = end(pipeline, key);
    assert_eq!((records.len(), duplicates), (200, 0));
    for topology in TOPOLOGIES {
        let (pipeline, key) = start(topology);
        let mut emitter = pipeline.emitter("replay").unwrap();
        for round in 0..3 {
            for part in records.chunks(50) {
                // With their numbers, or under others: the ids are theirs.
                let sent = match round {
                    1 => emitter.emit_records(part.iter().copied()),
                    _ => emitter.emit_numbered(part.iter().copied()),
                };
                assert_eq!(sent.accepted, part.len() as u64);
                pipeline.poll();
            }
        }
        drop(emitter);
        let (again, duplicates) = end(pipeline, key);
        assert_eq!((ids(&again), duplicates), (ids(&records), 400), "{topology}");
    }
}

/// Records that no pipeline has seen are not taken for what another emitter sends under their source and number.
#[test]
fn foreign_numbers_without_ids_merge_with_nothing() {
    for topology in TOPOLOGIES {
        let (pipeline, key) = start(topology);
        let mut live = pipeline.emitter("live").unwrap();
        let mut replay = pipeline.emitter("replay").unwrap();
        let made = |seq| {
            Record::new(Identity::Occurrence, 1, Symbol::of("x"), &Sample { value: 1 })
                .numbered(live.source(), seq)
        };
        let foreign: Vec<Record> = (0..30).map(made).collect();
        for _ in 0..30 {
            live.emit_at(1, Symbol::of("x"), &Sample { value: 1 }).unwrap();
        }
        assert_eq!(replay.emit_numbered(foreign.iter().copied()).accepted, 30);
        drop((live, replay));
        let (records, duplicates) = end(pipeline, key);
        assert_eq!((records.len(), duplicates), (60, 0), "{topology}");
        let numbers = |record: &&Record| record.source() == 0;
        assert_eq!(records.iter().filter(numbers).count(), 60, "the numbers are what they were");
    }
}

#[test]
fn content_merges_by_choice_and_within_one_context() {
    for topology in TOPOLOGIES {
        let (pipeline, key) = start(topology);
        for _ in 0..2 {
            let mut emitter = pipeline.emitter("e").unwrap();
            let say = |emitter: &mut panther_events::emit::Emitter| {
                emitter.emit_at(1, Symbol::of("x"), &Notice { value: 1 }).unwrap();
                let batch = [(Symbol::of("x"), Notice { value: 1 }), (Symbol::of("y"), Notice { value: 1 })];
                assert_eq!(emitter.emit_batch(batch).accepted, 2);
                let record = Record::new(Identity::Content, 2, Symbol::of("x"), &Notice { value: 1 });
                assert_eq!(emitter.emit_records([record]).accepted, 1);
                pipeline.poll();
            };
            say(&mut emitter);
            say(&mut emitter.within(Level::Test, "a").unwrap());
            // The same name at another level, and the same test of another experiment: other contexts.
            say(&mut emitter.within(Level::Step, "a").unwrap());
            emitter.enter(Level::Experiment, "e").unwrap();
            say(&mut emitter.within(Level::Test, "a").unwrap());
        }
        let (records, duplicates) = end(pipeline, key);
        let notices: Vec<Record> =
            records.into_iter().filter(|record| record.payload::<Notice>().is_some()).collect();
        // x and y in each of four contexts, of 2 × 4 × 4 emissions.
        assert_eq!((notices.len(), duplicates), (8, 24), "{topology}");
    }
}

#[test]
fn a_fact_that_two_tell_of_is_one_by_their_key_and_by_nothing_else() {
    for topology in TOPOLOGIES {
        let (pipeline, key) = start(topology);
        let attempt = |n: u32, fact: &str| EventId::key(&["run 7", &format!("attempt {n}"), fact]);
        for teller in ["runner", "watcher"] {
            let mut emitter = pipeline.emitter(teller).unwrap();
            for n in 1..=2 {
                let mut told = emitter.keyed(attempt(n, "the server fails"));
                // Each in its own words.
                told.service("server").error("server", teller, Default::default()).unwrap();
                // Another fact is not taken for this one.
                let refused = told.service("server").error("server", "again", Default::default());
                assert!(matches!(refused, Err(EmitError::KeyUsed(_))), "{refused:?}");
                let mut told = emitter.keyed(attempt(n, "the client stops"));
                told.service("client").stopped("client", Default::default()).unwrap();
            }
        }
        let (records, duplicates) = end(pipeline, key);
        assert_eq!((records.len(), duplicates), (4, 4), "{topology}");
    }
}

#[test]
fn what_a_tester_finds_by_one_key_in_two_tests_is_found_in_each() {
    for topology in TOPOLOGIES {
        let (pipeline, key) = start(topology);
        let mut emitter = pipeline.emitter("runner").unwrap();
        for (test, passed) in [("a", true), ("b", false)] {
            let mut within = emitter.within(Level::Test, test).unwrap();
            let mut told = within.keyed(EventId::key(&["run 7", "what ivy found"]));
            told.service("ivy").test_results("ivy", Value::Null, passed, Default::default()).unwrap();
        }
        drop(emitter);
        let (records, duplicates) = end(pipeline, key);
        let found = records.iter().filter(|record| record.kind().domain() == Domain::SERVICE).count();
        assert_eq!((found, duplicates), (2, 0), "{topology}");
    }
}

#[test]
fn an_event_is_one_by_a_digest_whatever_its_kind() {
    for topology in TOPOLOGIES {
        let (pipeline, key) = start(topology);
        let (mut one, mut other) = (pipeline.emitter("one").unwrap(), pipeline.emitter("other").unwrap());
        for (n, emitter) in [&mut one, &mut other].into_iter().enumerate() {
            let fact = EventId::key(&["the link is up"]);
            emitter.emit_digest(fact, n as u64, Symbol::of("link"), &Sample { value: n as u64 }).unwrap();
            // Beside them, what each has seen for itself.
            emitter.emit_at(1, Symbol::of("link"), &Sample { value: 1 }).unwrap();
        }
        drop((one, other));
        let (records, duplicates) = end(pipeline, key);
        assert_eq!((records.len(), duplicates), (3, 1), "{topology}");
        assert!(records.iter().all(|record| !record.is_panthers()));
    }
}

#[test]
fn bytes_that_are_no_record_are_rejected_and_counted() {
    let (pipeline, key) = start(Topology::Inline);
    let mut emitter = pipeline.emitter("e").unwrap();
    let good = Record::new(Identity::Occurrence, 1, Symbol::of("x"), &Sample { value: 1 });
    let changed = |at: usize, to: u8| {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(bytemuck::bytes_of(&good));
        bytes[at] = to;
        bytemuck::pod_read_unaligned::<Record>(&bytes)
    };
    // An id that is none, an identity that is none, a digest without one, a spare bit.
    let bad = [changed(3, 1), changed(33, 0xc4), changed(33, 0x84), changed(33, 0x64)];
    assert_eq!(emitter.emit_records(bad).rejected, 4);
    assert_eq!(emitter.emit_numbered(bad).rejected, 4);
    assert_eq!(emitter.emit_records([good]).accepted, 1);
    drop(emitter);
    let snapshot = pipeline.shutdown();
    snapshot.account.check().unwrap();
    assert_eq!((snapshot.account.offered, snapshot.account.rejected), (9, 8));
    assert_eq!(snapshot.report(key).unwrap().0.len(), 1);
}

#[test]
fn a_kind_that_is_known_by_digests_is_not_emitted_without_one() {
    let (pipeline, _) = start(Topology::Inline);
    let mut emitter = pipeline.emitter("e").unwrap();
    let seen: panther_events::domain::packet::PacketSeen = bytemuck::Zeroable::zeroed();
    let refused = emitter.emit_at(1, Symbol::of("flow"), &seen);
    assert!(matches!(refused, Err(EmitError::WrongIdentity(_))), "{refused:?}");
}

/// State that a process keeps would be the same in a forked child.
#[cfg(unix)]
#[test]
#[allow(unsafe_code, reason = "a fork is what is tried")]
fn a_forked_child_draws_another_origin() {
    use std::io::Read;
    // Whatever is drawn once per thread or process has been drawn.
    let before = Origin::random();
    let (mut reader, writer) = std::io::pipe().unwrap();
    // SAFETY: the child only draws, writes to a pipe, and leaves without running anything else of this process's.
    match unsafe { libc::fork() } {
        0 => {
            use std::io::Write;
            let drawn = Origin::random().bits().to_le_bytes();
            let written = (&writer).write_all(&drawn).is_ok();
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(i32::from(!written)) }
        }
        child => {
            drop(writer);
            let mut drawn = [0; 16];
            reader.read_exact(&mut drawn).unwrap();
            let mut status = 0;
            // SAFETY: `status` is a valid place for the answer.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            let after = Origin::random();
            assert_ne!(Origin::from_bits(u128::from_le_bytes(drawn)), after);
            assert_ne!(before, after);
        }
    }
}

/// A run-wide key makes no two tests' steps one.
#[test]
fn a_key_leaves_steps_of_different_tests_apart() {
    for topology in TOPOLOGIES {
        let (pipeline, key) = start(topology);
        let run = EventId::key(&["run 7", "attempt 1", "no answer"]);
        for teller in ["runner", "watcher"] {
            let mut emitter = pipeline.emitter(teller).unwrap();
            for test in ["first", "second", "third"] {
                let mut emitter = emitter.within(Level::Test, test).unwrap();
                let mut told = emitter.keyed(run);
                told.step("connect").execution_failed(teller, 0, "connect", Default::default()).unwrap();
            }
        }
        let (records, duplicates) = end(pipeline, key);
        let steps = records.iter().filter(|record| record.kind().domain() == Domain::STEP).count();
        assert_eq!((steps, duplicates), (3, 3), "{topology}");
    }
}
