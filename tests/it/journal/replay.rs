//! Promise: a journal alone gives a run again: the same events with their documents, the same verdicts, states and
//! metrics.
#![cfg(all(feature = "journal", feature = "panther", feature = "json"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use panther_events::clock::Clock;
use panther_events::domain::Schema;
use panther_events::event::{Detail, Record, Symbol, Symbols};
use panther_events::export::jsonl::EventLines;
use panther_events::ingest::panther::{Limits, PantherEvent, PantherRecords, PythonVersion};
use panther_events::journal::{Durability, JournalLog, JournalReader, Options, ReadOptions, RunId};
use panther_events::observe::metrics::{Metrics, MetricsReport};
use panther_events::observe::state::{StateOptions, StateQuery, StateReport};
use panther_events::pipeline::{Builder, PipelineOptions, ReportKey, Snapshot, Topology};
use std::path::Path;
use std::sync::Arc;

/// A whole experiment and one event of each class, with documents; every third event comes again.
fn sent(symbols: &Arc<Symbols>) -> Vec<Record> {
    let mut records = PantherRecords::new(Arc::clone(symbols), PythonVersion::default());
    let mut sent = Vec::new();
    for name in ["panther-lifecycle.jsonl", "panther-dev.jsonl"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
        for (n, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
            let event = PantherEvent::from_json(line.as_bytes(), &Limits::default()).unwrap();
            let record = records.record(&event).unwrap();
            sent.extend(std::iter::repeat_n(record, if n % 3 == 0 { 2 } else { 1 }));
        }
    }
    sent
}

type Keys = (ReportKey<StateReport>, ReportKey<MetricsReport>);

fn builder(topology: Topology, symbols: &Arc<Symbols>) -> (Builder, Keys) {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    builder.symbols(Arc::clone(symbols));
    let query = StateQuery::new(StateOptions::default());
    let states =
        builder.observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
    let metrics = builder.observer("metrics", |setup| Metrics::new(setup.schema));
    (builder, (states, metrics))
}

/// What two runs must have in common.
fn found(snapshot: &Snapshot, (states, metrics): Keys) -> String {
    assert_eq!(snapshot.account.check(), Ok(()));
    let (states, metrics) = (snapshot.report(states).unwrap(), snapshot.report(metrics).unwrap());
    assert!(
        states.entities_total() > 20 && !states.invalid().is_empty() && snapshot.account.duplicates > 100
    );
    let account = (snapshot.account.offered, snapshot.account.unique, snapshot.account.duplicates);
    // Those of one moment come in the order of the workers that found them.
    let mut invalid: Vec<String> = states.invalid().iter().map(|invalid| format!("{invalid:?}")).collect();
    invalid.sort();
    let moved: Vec<_> = states.domains().iter().map(|d| (&d.name, d.moved, d.unchanged, d.invalid)).collect();
    let measures = metrics.measures.iter().map(|measure| {
        let values = measure.histogram.iter_recorded();
        let values: Vec<_> =
            values.map(|value| (value.value_iterated_to(), value.count_at_value())).collect();
        (measure.kind, measure.field.name.clone(), measure.sum, measure.refused, values)
    });
    let measures: Vec<_> = measures.collect();
    assert!(measures.len() > 3 && measures.iter().any(|(_, _, sum, ..)| *sum > 0));
    format!("{account:?} {:?} {moved:?} {invalid:?} {:?} {measures:?}", states.by_state(), metrics.kinds)
}

fn lines(records: &[Record], symbols: &Symbols) -> String {
    let schema = Schema::new();
    let mut lines = EventLines::new(Vec::new(), |kind| Some((schema.name(kind)?, schema.fields(kind)?)));
    for record in records {
        lines.write(record, None, symbols).unwrap();
    }
    String::from_utf8(lines.into_inner()).unwrap()
}

#[test]
fn a_journal_read_alone_gives_events_documents_verdicts_states_and_metrics() {
    for (topology, again) in [
        (Topology::Inline, Topology::Fused),
        (Topology::Fused, Topology::Inline),
        (Topology::Staged { dedup: 2, workers: 2 }, Topology::Staged { dedup: 1, workers: 2 }),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let symbols = Arc::new(Symbols::new());
        let records = sent(&symbols);
        let (mut first, keys) = builder(topology, &symbols);
        let schema = Schema::new();
        let (options, clock) = (Options::new(Durability::ProcessCrash), Clock::cycles());
        let log = JournalLog::open(dir.path(), RunId([7; 16]), options, clock, &symbols, &schema);
        let mut log = Some(log.unwrap());
        let journal = first.observer("journal", move |setup| {
            log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
        });
        let pipeline = first.start().unwrap();
        let mut emitter = pipeline.emitter("first").unwrap();
        for part in records.chunks(64) {
            assert_eq!(emitter.emit_records(part.iter().copied()).accepted, part.len() as u64);
            pipeline.poll();
        }
        let first = pipeline.shutdown();
        assert!(first.report(journal).unwrap().closed);

        // From here on, nothing but the journal.
        let symbols_read = Arc::new(Symbols::new());
        let mut reader = JournalReader::open(dir.path(), ReadOptions::default()).unwrap();
        let mut read = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            read.extend_from_slice(block.records());
            let block: Vec<Record> = block.records().to_vec();
            // What a block refers to is defined before it.
            for record in &block {
                assert!(reader.name(record.entity()).is_some(), "{:?}", symbols.name(record.entity()));
            }
        }
        for (symbol, name) in reader.names() {
            assert_eq!(symbols_read.intern(name), Ok(symbol));
        }
        // What is above 64 bits is the journal's own.
        for (key, text) in reader.details().filter(|(key, _)| u64::try_from(*key).is_ok()) {
            let detail = symbols_read.details().intern(std::str::from_utf8(text).unwrap());
            assert_eq!(detail, Ok(Detail::from_bits(u64::try_from(key).unwrap())));
        }
        assert!(symbols_read.details().len() > 50, "documents: {}", symbols_read.details().len());
        let numbered = |record: &Record| (record.source(), record.seq());
        let mut expected = records.clone();
        for (seq, record) in (0..).zip(&mut expected) {
            *record = record.numbered(0, seq);
        }
        assert_eq!(
            read.iter().map(numbered).collect::<Vec<_>>(),
            expected.iter().map(numbered).collect::<Vec<_>>()
        );
        let (ours, theirs) = (lines(&read, &symbols_read), lines(&expected, &symbols));
        assert!(ours == theirs, "an export of the journal is not what was sent");
        assert!(ours.contains("\"detail\":{") && symbols_read.name(Symbol::of("no such")).is_none());

        let (second, keys_again) = builder(again, &symbols_read);
        let pipeline = second.start().unwrap();
        let mut emitter = pipeline.emitter("replay").unwrap();
        for part in read.chunks(64) {
            assert_eq!(emitter.emit_numbered(part.iter().copied()).accepted, part.len() as u64);
            pipeline.poll();
        }
        let second = pipeline.shutdown();
        assert_eq!(found(&first, keys), found(&second, keys_again), "{topology:?} {again:?}");
    }
}
