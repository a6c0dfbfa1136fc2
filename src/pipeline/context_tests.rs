//! Contexts of emitters that come under another source.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use super::*;
use crate::emit::ContextEntered;
use crate::emit::ErrorRaised;
use crate::emit::source::SEQ_LAST;
use crate::event::{Context, Detail, Level, Record, Symbol};
use crate::observe::history::{History, HistoryReport};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(10);
const RING: usize = 64;

fn start() -> (Pipeline, ReportKey<HistoryReport>) {
    let mut builder = Builder::new(PipelineOptions {
        ring_capacity: RING,
        full_policy: FullPolicy::DropNewest,
        topology: Topology::Inline,
        ..PipelineOptions::default()
    });
    let key = builder.observer("history", |_| History::new(1 << 12));
    (builder.start().unwrap(), key)
}

fn emit(emitter: &mut Emitter) -> Result<(), EmitError> {
    emitter.emit(Symbol::NONE, &ErrorRaised { error: Detail::NONE, severity: 1, causes: 0 })
}

/// What a replay finds: source and context of each event that is no definition.
fn replayed(pipeline: &Pipeline, key: ReportKey<HistoryReport>) -> Vec<(u16, Context)> {
    pipeline.drain(LONG).unwrap();
    let (snapshot, contexts) = (pipeline.snapshot(), Contexts::default());
    let mut records: Vec<Record> = snapshot.report(key).unwrap().iter().copied().collect();
    records.sort_by_key(|record| (record.source(), record.seq()));
    let mut found = Vec::new();
    for record in &records {
        match record.payload::<ContextEntered>() {
            Some(entered) => {
                let text = pipeline.symbols().details().text(entered.context);
                contexts.restore(record.source(), record.seq(), text.as_deref()).unwrap();
            }
            None => {
                assert_eq!(contexts.of(record), pipeline.contexts().of(record), "{record:?}");
                found.push((record.source(), contexts.of(record)));
            }
        }
    }
    found
}

#[test]
fn a_new_source_begins_with_the_definition_of_the_context() {
    for is_full in [false, true] {
        let (pipeline, key) = start();
        let mut emitter = pipeline.emitter("long").unwrap();
        emitter.enter(Level::Test, "t").unwrap();
        let first = emitter.source();
        emitter.source.counts.next_seq.store(SEQ_LAST, Ordering::Relaxed);
        assert_eq!(emit(&mut emitter), Ok(()));
        if is_full {
            emitter.source.counts.next_seq.store(SEQ_LAST - RING as u64, Ordering::Relaxed);
            while emit(&mut emitter).is_ok() {}
            emitter.source.counts.next_seq.store(SEQ_LAST + 1, Ordering::Relaxed);
            assert_eq!(emit(&mut emitter), Err(EmitError::Full));
            assert_ne!(emitter.source(), first);
            pipeline.drain(LONG).unwrap();
        }
        assert_eq!(emit(&mut emitter), Ok(()));
        // And once more.
        emitter.source.counts.next_seq.store(SEQ_LAST + 1, Ordering::Relaxed);
        assert_eq!(emit(&mut emitter), Ok(()));
        let last = emitter.source();
        assert!(last != first);
        let found = replayed(&pipeline, key);
        assert!(found.iter().all(|(_, context)| *context == Context::of(Level::Test, "t")), "{found:?}");
        assert_eq!(found.last().map(|(source, _)| *source), Some(last));
    }
}

#[test]
fn an_emitter_under_a_number_that_was_anothers_is_in_no_context_of_that_one() {
    let (pipeline, key) = start();
    let mut emitter = pipeline.emitter("gone").unwrap();
    let number = emitter.source();
    emitter.enter(Level::Test, "t").unwrap();
    emit(&mut emitter).unwrap();
    let sources = &pipeline.shared.emit_shared.sources;
    let all: Vec<_> = std::iter::from_fn(|| sources.open("other")).collect();
    assert_eq!(all.len(), usize::from(u16::MAX));
    drop(emitter);
    let mut next = pipeline.emitter("next").unwrap();
    assert_eq!(next.source(), number);
    emit(&mut next).unwrap();
    assert_eq!(replayed(&pipeline, key), [(number, Context::of(Level::Test, "t")), (number, Context::NONE)]);
}
