//! A journal on a slow disk: a pipeline that ends waits for it as long as it goes on.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::clock::Clock;
use panther_events::emit::ErrorRaised;
use panther_events::event::Detail;
use panther_events::journal::storage::{DirStorage, Storage, StorageFile};
use panther_events::journal::{Durability, JournalLog, JournalWorker, JournalWriter, Options, RunId, Select};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use std::io;
use std::path::Path;
use std::time::Duration;

const STALL: Duration = Duration::from_millis(300);

struct Slow(DirStorage);
struct SlowFile(Box<dyn StorageFile>);

impl Storage for Slow {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(SlowFile(self.0.create(name)?)))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.0.open(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
    fn writer(&self) -> Option<String> {
        self.0.writer()
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl StorageFile for SlowFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::thread::sleep(STALL / 4);
        self.0.write_at(bytes, offset)
    }
    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.0.preallocate(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

/// Takes its time for each write: there is much to write at the end.
#[test]
fn a_pipeline_waits_for_a_journal_as_long_as_it_writes() {
    const EVENTS: u64 = 12_000;
    let dir = tempfile::tempdir().unwrap();
    let storage = Slow(DirStorage::new(dir.path().join("journal")));
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
