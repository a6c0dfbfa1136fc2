//! Promise: on a file system that is full, or may only be read, a pipeline goes on, every event is counted, and what
//! was written can be read.
//!
//! Real ones: in a mount namespace of its own, a child mounts a small file system in memory, fills it, makes room, and
//! makes it read-only. The child is this test binary once more, under `unshare`; where a user may not make namespaces,
//! the tests say so and are left out.
#![cfg(all(feature = "journal", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

#[path = "it/support"]
mod support {
    #![allow(dead_code, clippy::print_stdout, clippy::unwrap_used, reason = "each test uses its part")]
    pub(crate) mod journal;
    pub(crate) mod random;
    pub(crate) mod skip;
}

use crate::support::journal::Sample;
use crate::support::skip::skip;
use panther_events::Shared;
use panther_events::clock::Clock;
use panther_events::domain::{DomainDef, KindDef, Schema};
use panther_events::emit::FullPolicy;
use panther_events::event::{Domain, Identity, Record, Symbols};
use panther_events::journal::storage::DirStorage;
use panther_events::journal::{
    Durability, JournalLog, JournalReader, JournalReport, JournalWriter, Options, ReadOptions, RunId, verify,
};
use panther_events::pipeline::{Builder, PipelineOptions};
use panther_events::recorder::{FlightRecorder, RecorderError, RecorderOptions, Recording};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RUN: RunId = RunId(*b"a run of a test.");
const JOB: &str = "JOURNAL_DISK_JOB";
const DIR: &str = "JOURNAL_DISK_DIR";

const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Content)]),
    states: None,
};

/// Runs `job` in a mount namespace of its own, with an empty directory to mount on.
fn alone(job: &str) {
    let dir = tempfile::tempdir().unwrap();
    // Root needs no user namespace, and others may not be allowed one.
    let namespaces: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let may = |namespace: &&&[&str]| {
        let mount = Command::new("unshare")
            .args(**namespace)
            .args(["mount", "-t", "tmpfs", "none"])
            .arg(dir.path())
            .output();
        mount.is_ok_and(|output| output.status.success())
    };
    let Some(namespace) = namespaces.iter().find(may) else {
        skip("mount", "mounts in a namespace of one's own are not allowed here");
        return;
    };
    let output = Command::new("unshare")
        .args(*namespace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(JOB, job)
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    println!("{text}");
    assert!(output.status.success() && text.contains("1 passed"), "the child failed");
}

/// What the child does; with no job, nothing.
#[test]
fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let dir = std::env::var(DIR).unwrap();
    match &*job {
        "full" => fill(Path::new(&dir)),
        "read-only" => read_only(Path::new(&dir)),
        other => panic!("no job {other}"),
    }
}

#[test]
fn a_full_disk_does_not_stop_the_pipeline_and_writing_goes_on_once_there_is_room() {
    alone("full");
}

#[test]
fn a_read_only_disk_is_an_error_for_writers_and_none_for_readers() {
    alone("read-only");
}

fn mount(dir: &Path, options: &str) {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(dir);
    assert!(mount.status().unwrap().success(), "{options}");
}

fn options() -> Options {
    Options {
        block_len: 16 << 10,
        segment_len: 1 << 20,
        held_bytes_max: 256 << 10,
        ..Options::new(Durability::ProcessCrash)
    }
}

fn fill(dir: &Path) {
    mount(dir, "size=8m");
    let path = dir.join("journal");
    let symbols = Arc::new(Symbols::new());
    let entity = symbols.intern("entity").unwrap();
    let mut schema = Schema::new();
    schema.register(&LAB).unwrap();
    let mut log = Some(JournalLog::open(&path, RUN, options(), Clock::cycles(), &symbols, &schema).unwrap());
    let mut builder = Builder::new(PipelineOptions {
        full_policy: FullPolicy::Block { timeout: Duration::from_secs(60) },
        ..PipelineOptions::default()
    });
    builder.domain(&LAB).symbols(Arc::clone(&symbols));
    let key = builder.observer("journal", move |setup| {
        log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    });
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("test").unwrap();
    let source = emitter.source();

    let mut emitted = 0;
    // Each event comes twice: what is lost is new ones and duplicates, mixed.
    let mut emit_until = |what: &str, done: &dyn Fn(&JournalReport) -> bool| {
        let start = Instant::now();
        loop {
            let report = pipeline.snapshot().report(key).unwrap().clone();
            if done(&report) {
                println!("{what} after {emitted} events: {report:?}");
                return report;
            }
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "not {what} after {emitted} events: {report:?}"
            );
            let values = emitted..emitted + 1_000;
            emitter.emit_batch(
                values.flat_map(|value| [value; 2]).map(|value| (entity, Sample { value, other: 0 })),
            );
            emitted += 1_000;
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let full = emit_until("full", &|report| report.stall.is_some() && report.account.lost > 10_000);
    let said = full.stall.unwrap();
    assert!(said.contains(path.to_str().unwrap()) && said.contains("No space left"), "{said}");
    // 8 MiB take so many, less what definitions, headers and a segment that did not fit would have taken.
    assert!((90_000..131_072).contains(&full.account.stored), "{:?}", full.account);
    assert_eq!((full.account.segments_suspect, full.closed), (0, false));
    mount(dir, "remount,size=64m");
    let before = full.account.stored;
    emit_until("going on", &|report| report.stall.is_none() && report.account.stored > before + 20_000);

    let snapshot = pipeline.shutdown();
    assert_eq!(snapshot.account.check(), Ok(()));
    let report = snapshot.report(key).unwrap();
    assert!(report.closed && report.stall.is_none(), "{report:?}");
    let (_, delivery) = snapshot.account.observers.iter().find(|(name, _)| &**name == "journal").unwrap();
    let (handled, failed) = (delivery.handled, delivery.failed);
    assert!(failed > 0 && handled + failed == snapshot.account.unique, "{delivery:?}");
    // On the disk, by another reader: what was said to be stored, and what was said to be lost.
    let mut reader = JournalReader::open(&path, ReadOptions::default()).unwrap();
    let mut stored: Vec<Record> = Vec::new();
    reader.for_each(|record| stored.push(*record)).unwrap();
    let totals = reader.totals();
    assert_eq!((stored.len() as u64, totals.lost), (report.account.stored, report.account.lost));
    let of = |record: &Record| record.payload::<Sample>().map(|sample| sample.value);
    // Each event that was accepted is on the disk, or there it says that it was lost, or it told of what was lost at the
    // end, when the journal was closed already: the pipeline counts those as failed, and the numbers of their source go
    // on behind the journal's.
    let own_lost: u64 =
        reader.losses().filter(|span| span.source != source).map(|span| u64::from(span.count)).sum();
    let own_in_journal = stored.iter().filter(|record| of(record).is_none()).count() as u64 + own_lost;
    let too_late = snapshot.account.unique - emitted - own_in_journal;
    let seen = snapshot.account.unique + snapshot.account.duplicates;
    assert_eq!((snapshot.account.duplicates, report.refused), (emitted, 0));
    assert_eq!(totals.records + totals.lost + totals.lost_upstream + too_late, seen);
    assert_eq!(failed, report.account.lost - report.account.lost_duplicates + too_late);
    let mut values: Vec<u64> = stored.iter().filter_map(of).collect();
    assert!(values.is_sorted() && values.last() == Some(&(emitted - 1)));
    // A value counts as handled when its first sighting is stored; behind a gap the second one alone may be there.
    values.dedup();
    let own = stored.iter().filter(|record| of(record).is_none()).count() as u64;
    let gaps = stored.windows(2).filter(|pair| pair[0].seq() + 1 != pair[1].seq()).count() as u64;
    let handled = handled - own;
    assert!((handled..=handled + gaps).contains(&(values.len() as u64)), "{} {handled} {gaps}", values.len());
    let report = verify(DirStorage::new(&path), ReadOptions::default()).unwrap();
    // What could not be written is no damage.
    assert!(report.is_sound(), "{report:?}");
}

fn read_only(dir: &Path) {
    mount(dir, "size=8m");
    let (path, recorder) = (dir.join("journal"), dir.join("recorder"));
    let batch: Vec<Record> = (0..1_000).map(|seq| crate::support::journal::record(1, seq, 0)).collect();
    let mut writer = JournalWriter::open(&path, RUN, options(), 0).unwrap();
    assert_eq!(writer.append(&batch).lost, 0);
    writer.close().unwrap();
    let recorder_options = RecorderOptions { slots: 1024, tracks: 4, ..RecorderOptions::default() };
    drop(FlightRecorder::create(&recorder, &recorder_options, 0).unwrap());
    mount(dir, "remount,ro");

    for path in [path.clone(), dir.join("another")] {
        let error = JournalWriter::open(&path, RUN, options(), 0).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("Read-only"), "{error}");
    }
    let error = FlightRecorder::create(&dir.join("another"), &recorder_options, 0).unwrap_err();
    let RecorderError::Io { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::ReadOnlyFilesystem);

    let report = verify(DirStorage::new(&path), ReadOptions::default()).unwrap();
    assert!(report.is_sound() && report.records == 1_000, "{report:?}");
    assert_eq!(Recording::read(&recorder).unwrap().tracks.len(), 0);

    // A recorder that does not fit is an error when it is made, and leaves nothing in the way.
    mount(dir, "remount,rw");
    let large = RecorderOptions { slots: 1 << 16, tracks: 4, ..RecorderOptions::default() };
    let error = FlightRecorder::create(&dir.join("another"), &large, 0).unwrap_err();
    let RecorderError::Io { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!((source.kind(), dir.join("another").exists()), (ErrorKind::StorageFull, false));
}
