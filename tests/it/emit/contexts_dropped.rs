//! Promise: an event that was accepted has, in a replay of what was stored, the context that its emitter was in, also where
//! rings were full when the context was entered; and the account is exact.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --all-features --test it emit::contexts_dropped`.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::random::{Rng, seed};
use panther_events::clock::Clock;
use panther_events::domain::{Schema, step};
use panther_events::emit::{ContextEntered, ContextError, EmitError, Emitter, EventSink, FullPolicy};
use panther_events::event::{
    Context, Contexts, Detail, DetailError, Details, EventKind, Identity, Level, Payload, Record, Symbol,
    Symbols,
};
use panther_events::journal::{Durability, JournalLog, JournalReader, Options, ReadOptions, RunId};
use panther_events::observe::history::{History, HistoryReport};
use panther_events::observe::{Batch, Interest, Observer, Undelivered};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, ReportKey, Topology};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const TOPOLOGIES: [Topology; 4] = [
    Topology::Inline,
    Topology::Fused,
    Topology::Staged { dedup: 1, workers: 1 },
    Topology::Staged { dedup: 3, workers: 2 },
];

/// The smallest that there is.
const RING: usize = 64;
const LONG: Duration = Duration::from_secs(20);
const DROPS: FullPolicy = FullPolicy::DropNewest;

/// Takes its time, so that rings fill.
struct Slow;

impl Observer for Slow {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn observe(&mut self, _: &Batch<'_>) -> Result<(), Undelivered> {
        std::thread::sleep(Duration::from_micros(300));
        Ok(())
    }

    fn report(&self) {}
}

fn builder(topology: Topology) -> Builder {
    let mut builder =
        Builder::new(PipelineOptions { topology, ring_capacity: RING, ..PipelineOptions::default() });
    builder.observer("slow", |_| Slow);
    builder
}

fn keep_journal(builder: &mut Builder, dir: &Path, symbols: &Arc<Symbols>) {
    let (options, schema) = (Options::new(Durability::ProcessCrash), Schema::new());
    let log = JournalLog::open(dir, RunId([7; 16]), options, Clock::cycles(), symbols, &schema);
    let mut log = Some(log.unwrap());
    builder.symbols(Arc::clone(symbols));
    builder.observer("journal", move |setup| {
        log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    });
}

/// Reads a journal, and nothing else: its records, and the context of each.
fn replay(dir: &Path) -> Vec<(Record, Context)> {
    let mut reader = JournalReader::open(dir, ReadOptions::default()).unwrap();
    let mut records = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        records.extend_from_slice(block.records());
    }
    let details = Details::new();
    // What is longer than 64 bits is the journal's own.
    for (_, text) in reader.details().filter(|(key, _)| u64::try_from(*key).is_ok()) {
        details.intern(std::str::from_utf8(text).unwrap()).unwrap();
    }
    restored(records, &details)
}

fn restored(records: Vec<Record>, details: &Details) -> Vec<(Record, Context)> {
    let contexts = Contexts::default();
    let mut found = Vec::new();
    for record in records {
        if let Some(entered) = record.payload::<ContextEntered>() {
            let document = details.text(entered.context);
            assert!(document.is_some() || entered.context == Detail::NONE);
            contexts.restore(record.source(), record.seq(), document.as_deref()).unwrap();
        }
        found.push((record, contexts.of(&record)));
    }
    found
}

fn kind() -> EventKind {
    step::KINDS[3].kind
}

/// An event that its time stamp tells from all others.
fn event(number: u64) -> Record {
    let entity = Symbol::of(["one", "two", "three", "four", "five"][number as usize % 5]);
    crate::support::states::record(kind(), Identity::Occurrence, number, entity, [0; 24])
}

fn within(test: &str) -> Context {
    Context::of(Level::Test, test)
}

#[test]
fn an_event_after_a_definition_that_was_dropped_is_in_no_other_test() {
    let (dir, symbols) = (tempfile::tempdir().unwrap(), Arc::new(Symbols::new()));
    let mut builder = builder(Topology::Inline);
    keep_journal(&mut builder, dir.path(), &symbols);
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter_with("runner", DROPS).unwrap();
    emitter.enter(Level::Test, "a").unwrap();
    let offered = (0..RING as u64).map(event);
    assert_eq!(emitter.emit_records(offered).dropped_full, 1, "the definition of a takes a place");
    // Counted, as any other that found no room.
    emitter.enter(Level::Test, "b").unwrap();
    assert_eq!(emitter.sent().dropped_full, 2);
    assert_eq!(emitter.emit_record(event(1000)), Err(EmitError::Full));
    assert_eq!(emitter.emit_records((1001..1004).map(event)).dropped_full, 3);
    assert_eq!(emitter.sent().offered(), RING as u64 + 6, "what is offered again counts once it is accepted");
    pipeline.drain(LONG).unwrap();
    assert_eq!(emitter.emit_record(event(1004)), Ok(()));
    let mut step = emitter.within(Level::Step, "1").unwrap();
    assert_eq!(step.emit_record(event(1005)), Ok(()));
    drop(step);
    assert_eq!(emitter.emit_records((1006..1008).map(event)).accepted, 2);
    let sent = emitter.sent();
    drop(emitter);
    let account = pipeline.shutdown().account;
    account.check().unwrap();
    assert_eq!((account.offered, account.dropped_full, account.rejected), (sent.offered(), 6, 0));
    let read = replay(dir.path());
    let mut oracle: Vec<_> = (0..RING as u64 - 1).map(|number| (number, within("a"))).collect();
    oracle.push((1004, within("b")));
    oracle.push((1005, within("b").entered(Level::Step, Symbol::of("1"))));
    oracle.extend((1006..1008).map(|number| (number, within("b"))));
    let of_kind = read.iter().filter(|(record, _)| record.kind() == kind());
    assert_eq!(of_kind.map(|(record, context)| (record.time_ns(), *context)).collect::<Vec<_>>(), oracle);
    let definitions = read.len() - oracle.len();
    assert_eq!(definitions, 4, "of a, of b, of the step in it, and of b again");
}

#[test]
fn what_is_left_without_room_is_left_in_the_replay_too() {
    for ends in [false, true] {
        let (dir, symbols) = (tempfile::tempdir().unwrap(), Arc::new(Symbols::new()));
        let mut builder = builder(Topology::Inline);
        keep_journal(&mut builder, dir.path(), &symbols);
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter_with("runner", DROPS).unwrap();
        let mut step = emitter.within(Level::Test, "a").unwrap();
        assert_eq!(step.emit_records((0..RING as u64).map(event)).dropped_full, 1);
        drop(step);
        assert_eq!(emitter.emit_record(event(500)), Err(EmitError::Full));
        if ends {
            // Nobody comes after it, so there is nothing to tell.
            drop(emitter);
        } else {
            pipeline.drain(LONG).unwrap();
            assert_eq!(emitter.emit_record(event(501)), Ok(()));
            // One definition, and the way is the fast one again.
            assert_eq!(emitter.emit_records((502..520).map(event)).accepted, 18);
        }
        pipeline.shutdown().account.check().unwrap();
        for (record, context) in replay(dir.path()) {
            let is_within = record.time_ns() < 500
                || record.payload::<ContextEntered>().is_some_and(|e| e.context != Detail::NONE);
            assert_eq!(context, if is_within { within("a") } else { Context::NONE }, "{record:?}");
        }
    }
}

#[test]
fn a_definition_that_waits_is_waited_for_as_any_event() {
    let pipeline = builder(Topology::Inline).start().unwrap();
    let policy = FullPolicy::Block { timeout: Duration::from_millis(5) };
    let mut emitter = pipeline.emitter_with("runner", policy).unwrap();
    assert_eq!(emitter.emit_records((0..RING as u64).map(event)).dropped_full, 0);
    emitter.enter(Level::Test, "a").unwrap();
    assert_eq!(emitter.emit_record(event(100)), Err(EmitError::Full));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            for number in 101..1000 {
                if emitter.emit_record(event(number)).is_ok() {
                    return number;
                }
            }
            0
        });
        pipeline.drain(LONG).unwrap();
        while !waits.is_finished() {
            pipeline.poll();
        }
        assert!(waits.join().unwrap() > 100);
    });
    assert_eq!(emitter.sent().accepted, RING as u64 + 2, "the definition, and the event behind it");
    drop(emitter);
    pipeline.shutdown().account.check().unwrap();
}

#[test]
fn a_context_that_cannot_be_told_is_not_entered() {
    let mut builder = builder(Topology::Inline);
    let symbols = Arc::new(Symbols::with_limits(1 << 16, 150));
    builder.symbols(Arc::clone(&symbols));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    emitter.enter(Level::Test, "a").unwrap();
    let sent = emitter.sent();
    // The document that tells of it does not fit.
    let long = "b".repeat(100);
    let refused =
        |result| matches!(result, Err(ContextError::Detail(DetailError::Full { len: 111.., limit: 150 })));
    assert!(refused(emitter.enter(Level::Test, &long)));
    assert!(refused(emitter.within(Level::Step, &long).map(drop)));
    assert!(refused(emitter.set_context(within(&long))));
    assert_eq!((emitter.context(), emitter.sent()), (within("a"), sent), "it stays where it was");
    assert_eq!(pipeline.contexts().entities(&within(&long)), []);
    let next = event(1).numbered(emitter.source(), sent.offered() as u32);
    assert_eq!(pipeline.contexts().of(&next), within("a"));
    assert_eq!(emitter.emit_record(event(1)), Ok(()));
    // Leaving needs no document.
    emitter.set_context(Context::NONE).unwrap();
    drop(emitter);
    pipeline.shutdown().account.check().unwrap();
}

struct Run {
    pipeline: Pipeline,
    history: ReportKey<HistoryReport>,
    journal: Option<tempfile::TempDir>,
    symbols: Arc<Symbols>,
}

fn start(topology: Topology, with_journal: bool) -> Run {
    let (mut builder, symbols) = (builder(topology), Arc::new(Symbols::new()));
    builder.symbols(Arc::clone(&symbols));
    let history = builder.observer("history", |_| History::new(1 << 20));
    let journal = with_journal.then(|| tempfile::tempdir().unwrap());
    if let Some(dir) = &journal {
        keep_journal(&mut builder, dir.path(), &symbols);
    }
    Run { pipeline: builder.start().unwrap(), history, journal, symbols }
}

/// What an emitter does at random; what it offers is noted with the context in which that was.
fn act(emitter: &mut Emitter, rng: &mut Rng, next: &mut u64, oracle: &mut HashMap<u64, Context>, depth: u64) {
    let mut offer = |emitter: &mut Emitter, many: u64| -> Vec<Record> {
        let context = emitter.context();
        let numbers = *next..*next + many;
        *next += many;
        numbers
            .map(|number| {
                oracle.insert(number, context);
                event(number)
            })
            .collect()
    };
    match rng.below(8 + depth) {
        0 => emitter.enter(Level::Test, &format!("t{}", rng.below(3))).unwrap(),
        1 => emitter.enter(Level::Step, &format!("s{}", rng.below(3))).unwrap(),
        2 if rng.below(4) == 0 => emitter.set_context(Context::NONE).unwrap(),
        3 => {
            let mut inner = emitter.within(Level::Step, &format!("s{}", rng.below(3))).unwrap();
            for _ in 0..rng.below(4) {
                act(&mut inner, rng, next, oracle, depth + 4);
            }
        }
        4 | 5 => {
            let events = offer(emitter, rng.below(100));
            emitter.emit_records(events);
        }
        _ => {
            for record in offer(emitter, 1 + rng.below(20)) {
                // Counted where it is dropped.
                let _ = emitter.emit_record(record);
            }
        }
    }
}

#[test]
fn each_event_has_in_a_replay_the_context_that_it_had_when_it_was_emitted() {
    let mut rng = Rng::new(seed());
    let (mut lost, mut kept) = (0, 0);
    for (topology, with_journal) in
        TOPOLOGIES.into_iter().flat_map(|topology| [(topology, true), (topology, false)])
    {
        let run = start(topology, with_journal);
        let seeds: Vec<u64> = (0..3).map(|_| rng.next()).collect();
        let (mut oracle, pipeline) = (HashMap::new(), &run.pipeline);
        std::thread::scope(|scope| {
            let work = |which: usize, seed: u64| {
                let (mut rng, mut next) = (Rng::new(seed), which as u64 * 1_000_000);
                let mut noted = HashMap::new();
                let policies = [DROPS, FullPolicy::Block { timeout: Duration::from_micros(50) }];
                let open =
                    |rng: &mut Rng| pipeline.emitter_with("e", policies[rng.below(2) as usize]).unwrap();
                let mut emitter = open(&mut rng);
                for _ in 0..300 {
                    if rng.below(40) == 0 {
                        emitter = open(&mut rng);
                    }
                    act(&mut emitter, &mut rng, &mut next, &mut noted, 0);
                    match rng.below(4) {
                        0 => drop(pipeline.poll()),
                        1 => std::thread::sleep(Duration::from_micros(rng.below(300))),
                        _ => {}
                    }
                }
                noted
            };
            let threads: Vec<_> =
                (0..).zip(seeds).map(|(which, seed)| scope.spawn(move || work(which, seed))).collect();
            for thread in threads {
                oracle.extend(thread.join().unwrap());
            }
        });
        let Run { pipeline, history, journal, symbols } = run;
        let contexts = Arc::clone(pipeline.contexts());
        let snapshot = pipeline.shutdown();
        let account = &snapshot.account;
        account.check().unwrap();
        assert_eq!(account.offered, account.accepted + account.dropped_full);
        (lost, kept) = (lost + account.dropped_full, kept + account.accepted);
        let history = snapshot.report(history).unwrap();
        assert_eq!(history.forgotten(), 0);
        let mut records: Vec<Record> = history.iter().copied().collect();
        records.sort_by_key(|record| (record.source(), record.seq()));
        let mut views = vec![restored(records, symbols.details())];
        views.extend(journal.iter().map(|dir| replay(dir.path())));
        for view in views {
            assert_eq!(view.len() as u64, account.accepted, "{topology}");
            let mut sources: HashMap<u16, Context> = HashMap::new();
            for (record, context) in view {
                assert_eq!(contexts.of(&record), context, "live: {topology} {record:?}");
                if record.kind() == kind() {
                    assert_eq!(Some(&context), oracle.get(&record.time_ns()), "{topology} {record:?}");
                    assert_eq!(sources.get(&record.source()).copied().unwrap_or_default(), context);
                } else {
                    assert_eq!(record.kind(), ContextEntered::KIND);
                    sources.insert(record.source(), context);
                }
            }
        }
    }
    assert!(lost > 1000 && kept > 1000, "{lost} lost, {kept} kept: it was not told what is promised");
}
