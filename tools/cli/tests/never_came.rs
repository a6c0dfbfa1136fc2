//! Promise: a replay knows what never came into its journal: dropped, refused, before it was there or after it was gone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod replay_support;

use crate::replay_support::*;
use panther_events::domain::TypedSink;
use panther_events::emit::{Emitter, FullPolicy};
use panther_events::event::{Domain, EventId, KindSet, Level, Record, Symbols, Value};
use panther_events::journal::{JournalLog, JournalWorker, JournalWriter, Options, RunId, Select};
use panther_events::observe::state::{StateOptions, StateQuery};
use panther_events::pipeline::{Builder, ObserverOptions, Pipeline, PipelineOptions, Topology, Validated};
use panther_events::process::{Derived, Processor};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A pipeline that drops what finds its ring full.
fn that_drops(symbols: &Arc<Symbols>) -> Builder {
    let mut builder = Builder::new(PipelineOptions {
        topology: Topology::Inline,
        ring_capacity: 64,
        full_policy: FullPolicy::DropNewest,
        ..PipelineOptions::default()
    });
    builder.symbols(Arc::clone(symbols));
    builder
}

/// Runs what `emit` emits through a pipeline that drops events, with a journal of this selection, added when `late` has been
/// emitted.
fn journaled(
    path: &Path,
    select: Select,
    late: impl FnOnce(&mut Emitter),
    emit: impl FnOnce(&mut Emitter),
) -> u64 {
    let symbols = Arc::new(Symbols::new());
    let builder = that_drops(&symbols);
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    late(&mut emitter);
    pipeline.poll();
    let options = Options { select, ..small() };
    let writer = JournalWriter::open(path, RunId([7; 16]), options, 7).unwrap();
    let worker = JournalWorker::start(writer, 16, || 7).unwrap();
    let schema = panther_events::domain::Schema::new();
    let mut log = Some(JournalLog::new(worker, select, &symbols, &schema));
    pipeline
        .add_observer("journal", move |setup| {
            log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
        })
        .unwrap();
    emit(&mut emitter);
    drop(emitter);
    let account = pipeline.shutdown().account;
    account.check().unwrap();
    account.dropped_full
}

fn fails(emitter: &mut Emitter) {
    let _ = emitter.step("lone").execution_failed("boom", 0, "lone", Default::default());
}

#[test]
fn what_never_came_into_the_journal_may_have_failed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert_eq!(journaled(&dir.join("whole"), Select::ALL, |_| {}, one_that_passes), 0);
    assert_passed(dir, "whole");
    journaled(&dir.join("late"), Select::ALL, fails, one_that_passes);
    assert_unknown(dir, "late", 3, "1 events never came into the journal");
    assert_eq!(run(&["repair", "late", "--out", "late-repaired"], dir).status.code(), Some(0));
    assert_unknown(dir, "late-repaired", 3, "1 events never came into the journal");
    // The ring is full, and then it is not: the journal's last event is a later one.
    let pipeline = dropping(&dir.join("dropped"), true);
    let mut emitter = pipeline.emitter("runner").unwrap();
    fill(&mut emitter);
    fails(&mut emitter);
    pipeline.poll();
    one_that_passes(&mut emitter);
    drop(emitter);
    assert_eq!(pipeline.shutdown().account.dropped_full, 2);
    assert_unknown(dir, "dropped", 3, "2 events never came into the journal");
}

/// Such a pipeline with a journal at `path`, which learns of the pipeline's account if it
/// is `told`.
fn dropping(path: &Path, told: bool) -> Pipeline {
    let symbols = Arc::new(Symbols::new());
    let mut builder = that_drops(&symbols);
    let writer = JournalWriter::open(path, RunId([8; 16]), small(), 7).unwrap();
    let worker = JournalWorker::start(writer, 16, || 7).unwrap();
    let schema = panther_events::domain::Schema::new();
    let mut log = Some(JournalLog::new(worker, Select::ALL, &symbols, &schema));
    builder.observer(
        ObserverOptions { scope: Some("files".into()), ..ObserverOptions::from("journal") },
        move |setup| match log.take() {
            Some(log) if told => log.of(setup.origin, setup.totals),
            Some(log) => log,
            None => JournalLog::closed(),
        },
    );
    builder.start().unwrap()
}

fn fill(emitter: &mut Emitter) {
    while emitter.service("server").ready("server", Default::default()).is_ok() {}
}

/// After the last event of a source there is no number that would show a gap.
#[test]
fn what_was_dropped_at_the_end_and_all_that_a_source_sent_may_have_failed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let pipeline = dropping(&dir.join("last"), true);
    let mut emitter = pipeline.emitter("runner").unwrap();
    one_that_passes(&mut emitter);
    fill(&mut emitter);
    fails(&mut emitter);
    drop(emitter);
    assert_eq!(pipeline.shutdown().account.dropped_full, 2);
    assert_unknown(dir, "last", 3, "2 events never came into the journal");
    assert_eq!(run(&["repair", "last", "--out", "last-repaired"], dir).status.code(), Some(0));
    assert_unknown(dir, "last-repaired", 3, "2 events never came into the journal");
    // All that the source has sent was refused, since its state does not allow it.
    let pipeline = dropping(&dir.join("refused"), true);
    one_that_passes(&mut pipeline.emitter("runner").unwrap());
    pipeline.poll();
    let states = StateQuery::new(StateOptions::default());
    let mut other = Validated::new(pipeline.emitter("other").unwrap(), states, &pipeline);
    other.step("lone").execution_failed("boom", 0, "lone", Default::default()).unwrap_err();
    drop(other);
    assert_eq!(pipeline.shutdown().account.rejected, 1);
    assert_unknown(dir, "refused", 3, "1 events never came into the journal");
}

#[test]
fn a_journal_that_was_not_there_to_the_end_may_lack_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let pipeline = dropping(&dir.join("removed"), true);
    let mut emitter = pipeline.emitter("runner").unwrap();
    one_that_passes(&mut emitter);
    pipeline.poll();
    assert_eq!(pipeline.remove_scope("files"), Ok(1));
    fails(&mut emitter);
    drop(emitter);
    drop(pipeline.shutdown());
    assert_unknown(dir, "removed", 3, "it was closed while its pipeline went on");
    // All that came before it was of a source that sent nothing later.
    let early = |emitter: &mut Emitter| fails(&mut emitter.within(Level::Test, "early").unwrap());
    let pipeline = dropping(&dir.join("unused"), true);
    early(&mut pipeline.emitter("early").unwrap());
    pipeline.poll();
    let late = late_journal(&pipeline, &dir.join("added"));
    one_that_passes(&mut pipeline.emitter("runner").unwrap());
    drop(pipeline.shutdown());
    assert!(late);
    assert_unknown(dir, "added", 3, "3 events of its pipeline came before it was there");
    // Nobody has told it what its pipeline drops.
    let pipeline = dropping(&dir.join("untold"), false);
    one_that_passes(&mut pipeline.emitter("runner").unwrap());
    drop(pipeline.shutdown());
    assert_unknown(dir, "untold", 3, "who wrote it did not know its pipeline");
}

/// Adds a journal to a pipeline that runs.
fn late_journal(pipeline: &Pipeline, path: &Path) -> bool {
    let writer = JournalWriter::open(path, RunId([9; 16]), small(), 7).unwrap();
    let worker = JournalWorker::start(writer, 16, || 7).unwrap();
    let mut log = Some(JournalLog::new(worker, Select::ALL, pipeline.symbols(), pipeline.schema()));
    let added = pipeline.add_observer("late", move |setup| {
        log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    });
    added.is_ok()
}

#[test]
fn a_processor_that_failed_may_have_derived_a_failure() {
    struct Fails;
    impl Processor for Fails {
        fn interest(&self) -> KindSet {
            KindSet::domain(Domain::TEST)
        }
        fn process(&mut self, _: &Record, _: &mut Derived<'_>) {
            panic!("planted")
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let symbols = Arc::new(Symbols::new());
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    builder.symbols(Arc::clone(&symbols)).processor("finder", |_| Fails);
    let pipeline = builder.start().unwrap();
    assert!(late_journal(&pipeline, &dir.join("journal")));
    one_that_passes(&mut pipeline.emitter("runner").unwrap());
    assert!(pipeline.shutdown().account.processors[0].1.failed > 0);
    assert_unknown(dir, "journal", 3, "a processor failed 1 times");
}

#[test]
fn numbers_of_duplicates_that_were_not_to_be_stored_are_not_missing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let twice = |emitter: &mut Emitter| {
        for _ in 0..2 {
            let ready = EventId::key(&["ready"]);
            emitter.keyed(ready).service("server").ready("server", Default::default()).unwrap();
        }
        one_that_passes(emitter);
    };
    journaled(&dir.join("unique"), Select::UNIQUE, |_| {}, twice);
    assert_passed(dir, "unique");
    journaled(&dir.join("all"), Select::ALL, |_| {}, twice);
    assert_passed(dir, "all");
}

#[test]
fn what_was_refused_when_a_journal_was_written_is_not_forgotten_by_its_replay() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut lines = passing("t");
    lines.push("{\"name\": \"failed\", \"ty".to_owned());
    let output = ingest(dir, &lines, &["--journal", "journal", "--require-passed"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert_unknown(dir, "journal", 3, "1 of the records of events.jsonl were refused");
    assert_eq!(run(&["repair", "journal", "--out", "repaired"], dir).status.code(), Some(0));
    assert_unknown(dir, "repaired", 3, "1 of the records of events.jsonl were refused");
}

#[test]
fn a_journal_that_is_resumed_may_have_held_what_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    passed(dir);
    // Of its records nothing is left.
    let segment = segments(&dir.join("journal")).pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes.iter_mut().skip(200).for_each(|byte| *byte ^= 0x55);
    fs::write(&segment, bytes).unwrap();
    let output = ingest(dir, &passing("u"), &["--journal", "journal", "--resume", "--require-passed"]);
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
    let results = results(dir, "ingested");
    assert_eq!(results["outcome"], "unknown");
    assert!(results["doubts"].to_string().contains("the earlier journal: "), "{results}");
}

/// While a journal is added, another thread emits: as if it did so at the worst moment.
#[test]
fn what_came_while_the_journal_was_added_may_have_failed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let pipeline = that_drops(&Arc::new(Symbols::new())).start().unwrap();
    let mut early = pipeline.emitter("early").unwrap();
    let writer = JournalWriter::open(&dir.join("journal"), RunId([9; 16]), small(), 7).unwrap();
    let worker = JournalWorker::start(writer, 16, || 7).unwrap();
    let mut log = Some(JournalLog::new(worker, Select::ALL, pipeline.symbols(), pipeline.schema()));
    pipeline
        .add_observer("journal", |setup| {
            let log = log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals));
            fails(&mut early);
            pipeline.poll();
            log
        })
        .unwrap();
    drop(early);
    one_that_passes(&mut pipeline.emitter("runner").unwrap());
    drop(pipeline.shutdown());
    assert_unknown(dir, "journal", 3, "1 events of its pipeline came before it was there");
}

/// The second process has the first one's source number, and is another emitter.
#[test]
fn a_failure_that_one_process_told_of_is_not_retried_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let parts: [fn(&mut Emitter); 2] = [
        |emitter| {
            begins(emitter, "t");
            let mut step = emitter.step("connect");
            step.execution_started(Value::Null, "connect", Default::default()).unwrap();
            step.execution_failed("no answer", 0, "connect", Default::default()).unwrap();
        },
        |emitter| {
            let mut step = emitter.step("connect");
            step.execution_started(Value::Null, "connect", Default::default()).unwrap();
            step.execution_completed("connect", Default::default()).unwrap();
            emitter.test("t").step_started("work", Default::default()).unwrap();
            emitter.test("t").step_completed("work", Default::default()).unwrap();
            ends(emitter, "t");
        },
    ];
    let pipeline = dropping(&dir.join("one"), true);
    let mut emitter = pipeline.emitter("runner").unwrap();
    parts.iter().for_each(|part| part(&mut emitter));
    drop(emitter);
    drop(pipeline.shutdown());
    assert_passed(dir, "one");
    for part in parts {
        let pipeline = dropping(&dir.join("two"), true);
        part(&mut pipeline.emitter("runner").unwrap());
        drop(pipeline.shutdown());
    }
    let (code, told, results) = replay(dir, "two");
    assert_eq!((code, &results["outcome"]), (3, &"failed".into()), "{told}");
}
