//! A journal on a slow disk: a pipeline that ends waits for it as long as it goes on.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::journal::watched::{Call, Watched};
use panther_events::clock::Clock;
use panther_events::emit::ErrorRaised;
use panther_events::event::Detail;
use panther_events::journal::storage::DirStorage;
use panther_events::journal::{Durability, JournalLog, JournalWorker, JournalWriter, Options, RunId, Select};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use std::time::Duration;

const STALL: Duration = Duration::from_millis(300);

/// Takes its time for each write: there is much to write at the end.
#[test]
fn a_pipeline_waits_for_a_journal_as_long_as_it_writes() {
    const EVENTS: u64 = 12_000;
    let dir = tempfile::tempdir().unwrap();
    let storage = Watched::new(DirStorage::new(dir.path().join("journal")), |call| {
        if call == Call::Write {
            std::thread::sleep(STALL / 4);
        }
        Ok(())
    });
    let options = Options { block_len: 1 << 16, ..Options::new(Durability::Buffered) };
    let writer = JournalWriter::over(Box::new(storage), RunId([1; 16]), options, 0).unwrap();
    let clock = Clock::cycles();
    let worker = JournalWorker::start(writer, 256, move || clock.now_ns()).unwrap();
    let mut worker = Some(worker);
    let mut builder = Builder::new(PipelineOptions {
        topology: Topology::Fused,
        stall_timeout: STALL,
        ..PipelineOptions::default()
    });
    let key = builder.observer("journal", move |setup| match worker.take() {
        Some(worker) => {
            JournalLog::new(worker, Select::ALL, setup.symbols, setup.schema).of(setup.origin, setup.totals)
        }
        None => JournalLog::closed(),
    });
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("one").unwrap();
    let name = emitter.symbols().intern("one").unwrap();
    for seq in 0..EVENTS {
        emitter.emit(name, &ErrorRaised { error: Detail::NONE, severity: 1, causes: seq as u32 }).unwrap();
    }
    drop(emitter);
    let start = std::time::Instant::now();
    let last = pipeline.shutdown();
    assert_eq!(last.unanswered, []);
    assert!(start.elapsed() > STALL, "{:?}: the disk was not slow", start.elapsed());
    let report = last.report(key).unwrap();
    assert!(report.closed && report.account.stored >= EVENTS, "{report:?}");
}
