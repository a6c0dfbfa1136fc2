//! Promise: whatever a process was told to be durable is there after `kill -9`, at any moment; and a kill during a
//! resume or a repair loses nothing either.
//!
//! The child is this test binary once more. It tells over a pipe what its watermark says; the parent kills it at a
//! random moment, reads what was told to the end, and then the journal. `JOURNAL_KILLS=10000 cargo test --release
//! --all-features --test journal_kill` runs ten thousand.
#![cfg(all(feature = "journal", unix))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

#[path = "it/support"]
mod support {
    #![allow(dead_code, clippy::print_stdout, clippy::unwrap_used, reason = "each test uses its part")]
    pub(crate) mod journal;
    pub(crate) mod random;
}

use crate::support::journal::{Rng, Sample, entity_name, env_count, record, seed};
use panther_events::Shared;
use panther_events::clock::Clock;
use panther_events::domain::{DomainDef, KindDef, Schema};
use panther_events::event::{Domain, Identity, Record, Symbol, Symbols};
use panther_events::journal::storage::DirStorage;
use panther_events::journal::{
    Durability, JournalLog, JournalReader, JournalWriter, Marks, Options, ReadOptions, RunId, repair, verify,
};
use panther_events::pipeline::Builder;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const RUN: RunId = RunId(*b"a run for kills.");
const JOB: &str = "JOURNAL_KILL_JOB";
const DIR: &str = "JOURNAL_KILL_DIR";

const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Occurrence)]),
    states: None,
};

fn kills() -> u64 {
    let usual = if std::env::var_os("CI").is_some() { 200 } else { 60 };
    env_count("JOURNAL_KILLS", usual)
}

fn options(durability: Durability) -> Options {
    // Small, so that kills meet full blocks and new segments.
    Options {
        block_len: 16 << 10,
        segment_len: 128 << 10,
        held_bytes_max: 8 << 20,
        // Kills fall between all the steps by which a compressed segment takes the place of what it was.
        compress: cfg!(feature = "zstd").then_some(1),
        flush_after: Duration::from_millis(2),
        ..Options::new(durability)
    }
}

/// By source: how many records, all from number 0 on.
type Told = BTreeMap<u16, u64>;

fn tell(marks: &Marks) {
    let mut out = std::io::stdout().lock();
    // The test harness leaves a line begun.
    writeln!(out).unwrap();
    for (source, mark) in marks.iter() {
        writeln!(out, "durable {source} {} {}", mark.last.unwrap(), mark.records).unwrap();
    }
    writeln!(out, "told").unwrap();
    out.flush().unwrap();
}

/// What the child does; with no job, nothing.
#[test]
fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let dir = std::env::var(DIR).unwrap();
    match &*job {
        "process-crash" => write(Path::new(&dir), Durability::ProcessCrash),
        "power-loss" => write(Path::new(&dir), Durability::PowerLoss { every: Duration::from_millis(4) }),
        "pipeline" => emit(Path::new(&dir)),
        "repair" => {
            tell(&Marks::default());
            let new = Box::new(DirStorage::new(Path::new(&dir).join("repaired")));
            repair(DirStorage::new(Path::new(&dir).join("old")), new, ReadOptions::default(), 0).unwrap();
        }
        other => panic!("no job {other}"),
    }
}

/// Three sources, by a writer on this thread; a resumed run has three sources of its own.
fn write(dir: &Path, durability: Durability) {
    let first = env_count("JOURNAL_KILL_SOURCE", 0) as u16;
    let clock = Clock::cycles();
    let mut writer = JournalWriter::open(dir, RUN, options(durability), clock.now_ns()).unwrap();
    tell(writer.watermark());
    for source in first..first + 3 {
        let name = entity_name(u64::from(source));
        writer.define(Symbol::of(&name), &name).unwrap();
    }
    for seq in (0_u32..).step_by(7) {
        for source in first..first + 3 {
            let batch: Vec<Record> = (seq..seq + 7).map(|seq| record(source, seq, u64::from(seq))).collect();
            assert_eq!(writer.append(&batch).lost, 0);
        }
        writer.tick(clock.now_ns());
        writer.compress_some();
        if seq % 21 == 0 {
            tell(writer.watermark());
        }
    }
}

/// One source through a pipeline with the observer.
fn emit(dir: &Path) {
    let symbols = Arc::new(Symbols::new());
    let entity = symbols.intern("entity").unwrap();
    let mut schema = Schema::new();
    schema.register(&LAB).unwrap();
    let durability = Durability::ProcessCrash;
    let log = JournalLog::open(dir, RUN, options(durability), Clock::cycles(), &symbols, &schema).unwrap();
    let mut builder = Builder::default();
    builder.domain(&LAB).symbols(Arc::clone(&symbols));
    let mut log = Some(log);
    let key = builder.observer("journal", move |setup| {
        log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    });
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("child").unwrap();
    tell(&Marks::default());
    for value in (0_u64..).step_by(64) {
        let sent =
            emitter.emit_batch((value..value + 64).map(|value| (entity, Sample { value, other: !value })));
        assert_eq!(sent.accepted, 64);
        if value % 4096 == 0 {
            tell(&pipeline.snapshot().report(key).unwrap().watermark);
        }
    }
}

/// Starts the job, kills it at a random moment after its first word, and returns what it told.
fn kill(job: &str, dir: &Path, first_source: u16, longest_us: u64, rng: &mut Rng) -> Told {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(JOB, job)
        .env(DIR, dir)
        .env("JOURNAL_KILL_SOURCE", first_source.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while lines.next().unwrap().unwrap() != "told" {}
    // Read on while the child works, or it would wait for room in the pipe.
    let reader = std::thread::spawn(move || {
        let (mut told, mut pending) = (Told::new(), Told::new());
        for line in lines.map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            match *words {
                ["durable", source, last, records] => {
                    let (last, records): (u64, u64) = (last.parse().unwrap(), records.parse().unwrap());
                    assert_eq!(last + 1, records, "the watermark counts from number 0 on");
                    pending.insert(source.parse().unwrap(), records);
                }
                // Words that the kill cut off count for nothing.
                ["told"] => told.append(&mut pending),
                _ => {}
            }
        }
        told
    });
    std::thread::sleep(Duration::from_micros(rng.below(longest_us)));
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// Reads the journal and compares every record with what was sent; returns how many there are of each source.
fn read(dir: &Path, is_right: impl Fn(&Record) -> bool) -> Told {
    let mut reader = JournalReader::open(dir, ReadOptions::default()).unwrap();
    let mut found = Told::new();
    reader
        .for_each(|record| {
            let next = found.entry(record.source()).or_default();
            assert_eq!(u64::from(record.seq()), *next, "source {}: no prefix", record.source());
            assert!(is_right(record), "not what was sent: {record:?}");
            *next += 1;
        })
        .unwrap();
    assert!(found.is_empty() || reader.names().count() > 0, "records without names");
    found
}

/// All files of a directory.
fn bytes(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
}

fn assert_holds(found: &Told, told: &Told) {
    for (source, records) in told {
        let there = found.get(source).copied().unwrap_or(0);
        assert!(there >= *records, "source {source}: {records} were told durable, {there} are there");
    }
}

fn as_written(found: &Record) -> bool {
    *found == record(found.source(), found.seq(), u64::from(found.seq()))
}

#[test]
fn what_was_told_durable_survives_kills_and_resumed_runs() {
    let mut rng = Rng::new(seed());
    let (mut done, mut told_total) = (0, 0);
    while done < kills() {
        let dir = tempfile::tempdir().unwrap();
        // One journal is killed up to four times: each run but the first resumes.
        let mut told = Told::new();
        for run in 0..4 {
            let job = if rng.chance(70) { "process-crash" } else { "power-loss" };
            told.append(&mut kill(job, dir.path(), run * 3, 40_000, &mut rng));
            let found = read(dir.path(), as_written);
            assert_holds(&found, &told);
            done += 1;
        }
        told_total += told.values().sum::<u64>();
    }
    println!("{done} kills, {told_total} records were told durable");
    assert!(told_total > done, "the children told next to nothing: the test has no teeth");
}

#[test]
fn what_a_pipeline_told_durable_survives_kills() {
    let mut rng = Rng::new(seed());
    let mut told_total = 0;
    for _ in 0..kills().div_ceil(4) {
        let dir = tempfile::tempdir().unwrap();
        let told = kill("pipeline", dir.path(), 0, 100_000, &mut rng);
        let found = read(dir.path(), |record| {
            let value = u64::from(record.seq());
            record.payload::<Sample>().is_some_and(|sample| sample.value == value && sample.other == !value)
        });
        assert_holds(&found, &told);
        told_total += told.values().sum::<u64>();
    }
    println!("{told_total} records were told durable");
    assert!(told_total > 0, "the children told nothing: the test has no teeth");
}

#[test]
fn a_kill_during_repair_leaves_the_old_journal_as_it_was() {
    let mut rng = Rng::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("old");
    std::fs::create_dir(&old).unwrap();
    // Some runs, each killed, until there is enough for a repair to take its time.
    for run in 0.. {
        kill("process-crash", &old, run * 3, 20_000, &mut rng);
        if bytes(&old).values().map(Vec::len).sum::<usize>() > 512 << 10 {
            break;
        }
    }
    let (before, bytes_before) = (read(&old, as_written), bytes(&old));
    // The time that a repair takes here, so that kills fall into it.
    let start = std::time::Instant::now();
    let new = Box::new(DirStorage::new(dir.path().join("whole")));
    repair(DirStorage::new(&old), new, ReadOptions::default(), 0).unwrap();
    assert_eq!(read(&dir.path().join("whole"), as_written), before);
    let longest_us = start.elapsed().as_micros() as u64 + 1;
    let mut unfinished = 0;
    for _ in 0..kills() {
        kill("repair", dir.path(), 0, longest_us, &mut rng);
        let repaired = dir.path().join("repaired");
        if repaired.is_dir() {
            let part = read(&repaired, as_written);
            assert!(part.iter().all(|(source, records)| before.get(source) >= Some(records)));
            let report = verify(DirStorage::new(&repaired), ReadOptions::default()).unwrap();
            assert!(!report.closed || part == before, "closed, and not whole");
            unfinished += u64::from(!report.closed);
            std::fs::remove_dir_all(&repaired).unwrap();
        }
        assert!(bytes(&old) == bytes_before, "the old journal was changed");
    }
    println!("{unfinished} of {} repairs were killed under way", kills());
}
