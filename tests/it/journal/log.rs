//! Promise: a pipeline's events are in its journal with their names; what is not is counted, exactly; and what an
//! earlier run journaled is a duplicate in the next.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::watched::{Call, Watched};
use crate::support::journal::{Model, Sample};
use panther_events::Shared;
use panther_events::clock::Clock;
use panther_events::domain::pipeline::DeliveryFailed;
use panther_events::domain::{DomainDef, KindDef, Schema};
use panther_events::event::{Domain, EventKind, Identity, KindSet, Payload, Record, Symbol, Symbols};
use panther_events::journal::storage::Storage;
use panther_events::journal::{
    Durability, JournalLog, JournalReader, JournalWorker, JournalWriter, Options, ReadOptions, RunId, Select,
};
use panther_events::observe::{Batch, Interest, Observer, Undelivered};
use panther_events::pipeline::{Builder, PipelineOptions, Snapshot, Topology};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const RUN: RunId = RunId(*b"a run of a test.");

panther_events::payload! {
    /// Refers to a name.
    struct Link [EventKind::new(Domain::FIRST_USER, 2)] { to: Symbol, value: u64 }
}

const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[
        KindDef::of::<Sample>("sample", Identity::Content),
        KindDef::of::<Link>("link", Identity::Occurrence),
    ]),
    states: None,
};

/// The directory in memory, of which the test can take the space away.
type Fickle = Watched<Model>;

/// A directory, and what takes its space away.
fn fickle() -> (Fickle, Arc<AtomicBool>) {
    let is_full: Arc<AtomicBool> = Arc::default();
    let twin = Arc::clone(&is_full);
    let storage = Watched::new(Model::default(), move |call| match call {
        Call::Create | Call::Write if twin.load(Ordering::Relaxed) => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
    (storage, is_full)
}

fn log(storage: &Fickle, select: Select, symbols: &Arc<Symbols>) -> JournalLog {
    let options = Options {
        select,
        block_len: 8 << 10,
        segment_len: 64 << 10,
        held_bytes_max: 64 << 10,
        ..Options::new(Durability::ProcessCrash)
    };
    let clock = Clock::cycles();
    let writer = JournalWriter::over(Box::new(storage.clone()), RUN, options, clock.now_ns()).unwrap();
    let worker = JournalWorker::start(writer, 4, move || clock.now_ns()).unwrap();
    let mut schema = Schema::new();
    schema.register(&LAB).unwrap();
    JournalLog::new(worker, select, symbols, &schema)
}

fn storage() -> Fickle {
    fickle().0
}

fn records(storage: &Fickle) -> Vec<Record> {
    let mut records = Vec::new();
    let mut reader = JournalReader::over(storage.clone(), ReadOptions::default()).unwrap();
    reader.for_each(|record| records.push(*record)).unwrap();
    assert!(reader.closed() && reader.findings().is_empty(), "{:?}", reader.findings());
    records
}

fn builder(topology: Topology, symbols: &Arc<Symbols>) -> Builder {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    builder.domain(&LAB).symbols(Arc::clone(symbols));
    builder
}

#[test]
fn selected_events_are_stored_with_the_names_they_refer_to() {
    let sample = EventKind::new(Domain::FIRST_USER, 1);
    for topology in [Topology::Inline, Topology::Fused, Topology::Staged { dedup: 2, workers: 3 }] {
        for (select, expected) in
            [(Select::ALL, 900), (Select::UNIQUE, 600), (Select::kinds(KindSet::of(&[sample])), 300)]
        {
            let (storage, symbols) = (storage(), Arc::new(Symbols::new()));
            let mut builder = builder(topology, &symbols);
            let mut log = Some(log(&storage, select, &symbols));
            let key = builder.observer("journal", move |setup| {
                log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
            });
            let pipeline = builder.start().unwrap();
            let mut emitter = pipeline.emitter("test").unwrap();
            for n in 0..300_u64 {
                let entity = symbols.intern(&format!("entity-{n}")).unwrap();
                let to = symbols.intern(&format!("target-{n}")).unwrap();
                emitter.emit(entity, &Sample { value: n, other: 0 }).unwrap();
                emitter.emit(entity, &Sample { value: n, other: 0 }).unwrap();
                emitter.emit(entity, &Link { to, value: n }).unwrap();
                pipeline.poll();
            }
            let snapshot = pipeline.shutdown();
            assert_eq!(snapshot.warnings, [""; 0]);
            let report = snapshot.report(key).unwrap();
            assert!(report.closed && report.account.stored == expected, "{report:?}");
            assert_eq!(report.watermark.get(0).records, expected);
            let records = records(&storage);
            assert_eq!(records.len() as u64, expected);
            assert!(records.is_sorted_by_key(Record::seq), "one source's order");
            let mut reader = JournalReader::over(storage.clone(), ReadOptions::default()).unwrap();
            while let Some(block) = reader.next_block().unwrap().map(|block| block.records().to_vec()) {
                for record in block {
                    assert!(reader.name(record.entity()).unwrap().starts_with("entity-"));
                    if let Some(link) = record.payload::<Link>() {
                        assert_eq!(reader.name(link.to).unwrap(), format!("target-{}", link.value));
                    }
                }
            }
        }
    }
}

#[test]
fn a_name_that_comes_after_its_first_event_is_defined_before_the_next() {
    let (storage, symbols) = (storage(), Arc::new(Symbols::new()));
    let mut builder = builder(Topology::Inline, &symbols);
    let mut log = Some(log(&storage, Select::ALL, &symbols));
    builder.observer("journal", move |setup| {
        log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    });
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("test").unwrap();
    let entities: Vec<_> = (0..5_000).map(|n| format!("entity-{n}")).collect();
    for round in 0..3 {
        for (n, name) in entities.iter().enumerate() {
            // The names of the first half come in the second round, those of the others in the third.
            if round == 1 + n / 2_500 {
                symbols.intern(name).unwrap();
            }
            emitter.emit(Symbol::of(name), &Sample { value: round as u64, other: 0 }).unwrap();
            if n % 64 == 0 {
                pipeline.poll();
            }
        }
        pipeline.poll();
    }
    drop(emitter);
    let snapshot = pipeline.shutdown();
    assert_eq!(snapshot.warnings, [""; 0]);
    assert_eq!(snapshot.account.unique, 15_000);
    let mut reader = JournalReader::over(storage.clone(), ReadOptions::default()).unwrap();
    while reader.next_block().unwrap().is_some() {}
    assert!(entities.iter().all(|name| reader.name(Symbol::of(name)) == Some(name)));
}

fn journal_delivery(snapshot: &Snapshot) -> (u64, u64, u64) {
    let (_, delivery) = snapshot.account.observers.iter().find(|(name, _)| &**name == "journal").unwrap();
    (delivery.handled, delivery.skipped, delivery.failed)
}

/// Keeps what the pipeline says of failed deliveries.
struct Witness(Arc<Mutex<Vec<DeliveryFailed>>>);

impl Observer for Witness {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest { kinds: KindSet::EMPTY.with(DeliveryFailed::KIND), ..Interest::ALL }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        self.0
            .lock()
            .unwrap()
            .extend(batch.iter().filter_map(|(record, _)| record.payload::<DeliveryFailed>()));
        Ok(())
    }

    fn report(&self) {}
}

#[test]
fn a_full_disk_does_not_stop_the_pipeline_and_every_event_is_counted() {
    for comes_back in [true, false] {
        let ((storage, is_full), symbols) = (fickle(), Arc::new(Symbols::new()));
        let mut builder = builder(Topology::Fused, &symbols);
        let mut log = Some(log(&storage, Select::ALL, &symbols));
        let key = builder.observer("journal", move |setup| {
            log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
        });
        let told: Arc<Mutex<Vec<DeliveryFailed>>> = Arc::default();
        let witness = Arc::clone(&told);
        builder.observer("witness", move |_| Witness(Arc::clone(&witness)));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("test").unwrap();
        let entity = symbols.intern("entity").unwrap();
        for n in 0..60_000_u64 {
            // Every event comes twice: what is lost is new ones and duplicates, mixed.
            for _ in 0..2 {
                emitter.emit(entity, &Sample { value: n, other: 0 }).unwrap();
            }
            if n == 20_000 {
                is_full.store(true, Ordering::Relaxed);
            }
            if n == 40_000 && comes_back {
                pipeline.drain(std::time::Duration::from_secs(10)).unwrap();
                is_full.store(false, Ordering::Relaxed);
                // Longer than a writer waits before it tries again.
                std::thread::sleep(std::time::Duration::from_millis(250));
            }
        }
        let snapshot = pipeline.shutdown();
        assert_eq!(snapshot.account.check(), Ok(()));
        let (handled, skipped, failed) = journal_delivery(&snapshot);
        let report = snapshot.report(key).unwrap();
        // Error events tell of it, more and more rarely; they are events like others.
        let told = told.lock().unwrap();
        let own = told.len() as u64;
        assert_eq!(snapshot.account.unique, 60_000 + own);
        assert!((1..=20).contains(&own), "{told:?}");
        assert!(told[0].failed > 0 && told.is_sorted_by(|a, b| a.failed * 2 <= b.failed), "{told:?}");
        assert!(told.iter().all(|event| symbols.name(event.message).is_some_and(|why| !why.is_empty())));
        assert_eq!((handled + failed, skipped), (60_000 + own, 0));
        assert_eq!(report.closed, comes_back, "{report:?}");
        is_full.store(false, Ordering::Relaxed);
        let mut stored = Vec::new();
        let mut reader = JournalReader::over(storage.clone(), ReadOptions::default()).unwrap();
        reader.for_each(|record| stored.push(*record)).unwrap();
        // By the oracle: a first sighting has an even number.
        let is_own = |record: &&Record| record.kind() == DeliveryFailed::KIND;
        let own_stored = stored.iter().filter(is_own).count() as u64;
        let first = |record: &&Record| !is_own(record) && record.seq().is_multiple_of(2);
        let new = stored.iter().filter(first).count() as u64 + own_stored;
        assert_eq!((new, failed > 0), (handled, true), "{report:?}");
        assert_eq!(stored.len() as u64, report.account.stored);
        if comes_back {
            assert!(stored.iter().any(|record| record.seq() > 110_000), "writing went on");
            let lost = reader.totals().lost + reader.totals().lost_upstream;
            // An event that tells of what was lost at the end comes when the journal is closed: it is not offered it.
            let too_late = 120_000 + own - report.account.offered - report.refused;
            assert!(too_late <= own, "{report:?}");
            assert_eq!(lost + too_late, 120_000 + own - stored.len() as u64);
        }
    }
}

#[test]
fn a_resumed_run_knows_what_the_first_one_saw_and_takes_no_occurrence_for_an_earlier_one() {
    for topology in [Topology::Inline, Topology::Staged { dedup: 2, workers: 1 }] {
        let (storage, symbols) = (storage(), Arc::new(Symbols::new()));
        let run = |values: std::ops::Range<u64>| {
            let earlier =
                if storage.list().is_ok_and(|names| !names.is_empty()) { records(&storage) } else { vec![] };
            let mut builder = builder(topology, &symbols);
            builder.preload(move |each| each(&earlier));
            let mut log = Some(log(&storage, Select::ALL, &symbols));
            builder.observer("journal", move |setup| {
                log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
            });
            let pipeline = builder.start().unwrap();
            let mut emitter = pipeline.emitter("test").unwrap();
            for value in values {
                let entity = symbols.intern(&format!("entity-{}", value % 7)).unwrap();
                // Content: the same event in every run. Occurrence: one of its own, though all else is equal.
                emitter.emit(entity, &Sample { value, other: 0 }).unwrap();
                emitter.emit(entity, &Link { to: entity, value: 1 }).unwrap();
                pipeline.poll();
            }
            pipeline.shutdown()
        };
        let first = run(0..500);
        assert_eq!((first.account.unique, first.account.duplicates, first.preloaded), (1_000, 0, 0));
        let second = run(250..750);
        assert_eq!((second.account.unique, second.account.duplicates), (750, 250));
        assert_eq!((second.account.offered, second.preloaded), (1_000, 1_000));
        assert_eq!(second.account.check(), Ok(()));
        let sources: std::collections::BTreeSet<_> = records(&storage).iter().map(Record::source).collect();
        assert_eq!(sources.len(), 2, "the second run has a source of its own");
    }
}

#[test]
fn a_replay_keeps_sources_numbers_and_verdicts() {
    let symbols = Arc::new(Symbols::new());
    let entity = symbols.intern("entity").unwrap();
    let link = |n: u32| {
        Record::new(Identity::Occurrence, 1, entity, &Link { to: entity, value: 1 })
            .numbered(n as u16 % 3, n / 3)
            .identified(crate::support::journal::ORIGIN)
    };
    // A gap, a redelivery, and three sources.
    let sent: Vec<Record> = (0..600).filter(|n| *n < 300 || *n > 330).chain(5..9).map(link).collect();
    for topology in [Topology::Inline, Topology::Staged { dedup: 2, workers: 2 }] {
        let storage = storage();
        let mut builder = builder(topology, &symbols);
        let mut log = Some(log(&storage, Select::ALL, &symbols));
        builder.observer("journal", move |setup| {
            log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
        });
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("replay").unwrap();
        for part in sent.chunks(100) {
            assert_eq!(emitter.emit_numbered(part.iter().copied()).accepted, part.len() as u64);
            pipeline.poll();
        }
        let unknown = Record::new(Identity::Content, 1, entity, &crate::support::journal::Other { value: 1 });
        let known_kind = Schema::new().name(unknown.kind()).is_some();
        let rejected = emitter.emit_numbered([unknown]).rejected;
        assert_eq!(rejected, u64::from(!known_kind));
        let snapshot = pipeline.shutdown();
        let account = &snapshot.account;
        assert_eq!(account.check(), Ok(()));
        assert_eq!((account.offered, account.duplicates), (sent.len() as u64 + 1, 4));
        let stored: Vec<(u16, u32)> = records(&storage).iter().map(|r| (r.source(), r.seq())).collect();
        let expected: Vec<(u16, u32)> = sent.iter().map(|r| (r.source(), r.seq())).collect();
        assert_eq!(stored[..expected.len()], expected);
    }
}
