//! How fast a journal is written and read, beside plain writes of the same size.
//!
//! `cargo bench --features journal --bench journal` measures at the default block size, and checks what is read
//! before it reports. `JOURNAL_SWEEP=1` measures other block sizes and batches too; `JOURNAL_DIR` says where.
//! Files are written anew in each round, and rounds alternate. Rates are medians, in million records a second; in
//! brackets the rate by the thread's time on a core, where the system tells it: it is what an idle machine gives,
//! whoever else is computing on this one.
//!
//! Then a whole pipeline with a journal beside one without, in alternating rounds: emitter, consumer and the journal's
//! thread share two cores. What the journal refused or lost would show.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints measurements"
)]

use panther_events::domain::{DomainDef, KindDef, Schema};
use panther_events::event::Symbols;
use panther_events::event::{Domain, EventKind, Identity, Origin, Record, Shared, Symbol};
use panther_events::journal::{
    Durability, JournalLog, JournalReader, JournalWriter, Options, ReadOptions, RunId, Select,
};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use support::{Plan, WORK, Way, events, options, run_plan, whole};

#[path = "support/mod.rs"]
mod support;

panther_events::payload! {
    /// A sample.
    struct Sample [EventKind::new(Domain::FIRST_USER, 1)] {
        value: u64,
    }
}

const SAMPLES: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("samples"),
    kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Occurrence)]),
    states: None,
};

fn schema(domain: &DomainDef) -> Schema {
    let mut schema = Schema::new();
    schema.register(domain).unwrap();
    schema
}

const RUN: RunId = RunId(*b"run of the bench");
const ORIGIN: Origin = Origin::from_bits(7);
/// 256 MiB of records: well below the kernel's limit of dirty pages, so the page cache is measured.
const RECORDS: usize = 4 << 20;
const ROUNDS: usize = 7;

fn main() {
    let sources = 4;
    let records: Vec<Record> = (0..RECORDS)
        .map(|n| {
            let source = (n / 512 % sources) as u16;
            let sample = Sample { value: n as u64 };
            Record::new(Identity::Occurrence, n as u64, Symbol::from_bits(7), &sample)
                .numbered(source, n as u32)
                .identified(ORIGIN) // as behind dedup
        })
        .collect();
    let base = std::env::var_os("JOURNAL_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(base).unwrap();
    let sweep = std::env::var_os("JOURNAL_SWEEP").is_some();
    let blocks: &[usize] = if sweep { &[16, 64, 128, 256, 512, 1024] } else { &[256] };
    let batches: &[usize] = if sweep { &[64, 1024, 4032] } else { &[4032] };
    println!("{RECORDS} records of 64 bytes, {ROUNDS} rounds, in {}", dir.path().display());
    println!("block KiB  batch  durability     write (on core)   plain (on core)   ratio   read (on core)");
    for block in blocks {
        for batch in batches {
            for durability in [Durability::ProcessCrash, Durability::Buffered] {
                measure(dir.path(), &records, block << 10, *batch, durability);
            }
        }
    }
    drop(records);
    pipelines(dir.path());
}

/// Prints the rates of a pipeline without and with a journal.
fn pipelines(dir: &Path) {
    let ids = whole(4_000_000);
    println!("\na pipeline of {ids} ids, {} events, {ROUNDS} rounds: M events/s", events(ids));
    println!("journal of            without      with   ratio");
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    for (name, select) in [("unique events", Select::UNIQUE), ("all events", Select::ALL)] {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (time, snapshot) = run_plan(ids, Plan::new(options(ids)), Way::Single);
            assert_eq!(snapshot.account.unique, ids);
            without.push(events(ids) as f64 / time.as_secs_f64() / 1e6);
            let path = dir.join("pipeline");
            let mut plan = Plan::new(options(ids));
            let symbols = Arc::new(Symbols::new());
            let schema = schema(&WORK);
            let journal = Options { select, ..Options::new(Durability::ProcessCrash) };
            let clock = panther_events::clock::Clock::cycles();
            let mut log = Some(JournalLog::open(&path, RUN, journal, clock, &symbols, &schema).unwrap());
            plan.builder.symbols(symbols);
            let key = plan.builder.observer("journal", move |setup| {
                log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
            });
            let (time, snapshot) = run_plan(ids, plan, Way::Single);
            let report = snapshot.report(key).unwrap();
            let stored = if select == Select::ALL { events(ids) } else { ids };
            assert_eq!(
                (report.account.stored, report.refused, report.closed),
                (stored, 0, true),
                "{report:?}"
            );
            with.push(events(ids) as f64 / time.as_secs_f64() / 1e6);
            std::fs::remove_dir_all(&path).unwrap();
        }
        if std::env::var_os("ROUNDS_SHOWN").is_some() {
            println!("{without:.1?}\n{with:.1?}");
        }
        let ratio = sorted(with.iter().zip(&without).map(|(with, without)| with / without).collect());
        let (without, with) = (sorted(without), sorted(with));
        let middle = ROUNDS / 2;
        println!("{name:18}  {:9.1} {:9.1}   {:5.2}", without[middle], with[middle], ratio[middle]);
    }
}

fn measure(dir: &Path, records: &[Record], block_len: usize, batch: usize, durability: Durability) {
    let (mut writes, mut plain, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(write_plain(dir, records, block_len));
        let path = dir.join("journal");
        let options = Options { block_len, ..Options::new(durability) };
        let mut writer = JournalWriter::open(&path, RUN, options, 0).unwrap();
        writer.set_schema(&schema(&SAMPLES));
        let clock = Clock::start();
        for batch in records.chunks(batch) {
            assert_eq!(writer.append(batch).lost, 0);
        }
        writer.flush().unwrap();
        writes.push(clock.rates());
        // Not closed: the sync would take the disk's time, not the page cache's.
        assert_eq!(writer.account().stored as usize, RECORDS);
        drop(writer);
        reads.push(read(&path, records));
        std::fs::remove_dir_all(&path).unwrap();
    }
    let (write, plain, read) = (medians(&writes), medians(&plain), medians(&reads));
    println!(
        "{:9}  {batch:5}  {:13}  {:6.1} ({:6.1})   {:6.1} ({:6.1})    {:4.2}   {:6.1} ({:6.1})",
        block_len >> 10,
        format!("{durability:?}"),
        write.0,
        write.1,
        plain.0,
        plain.1,
        write.1 / plain.1,
        read.0,
        read.1
    );
}

/// What `dd` does: the same bytes, in writes of the same size, into a new file.
fn write_plain(dir: &Path, records: &[Record], block_len: usize) -> (f64, f64) {
    let path = dir.join("plain");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).unwrap();
    let bytes: &[u8] = bytemuck::cast_slice(records);
    let clock = Clock::start();
    for block in bytes.chunks(block_len) {
        file.write_all(block).unwrap();
    }
    let rates = clock.rates();
    drop(file);
    std::fs::remove_file(&path).unwrap();
    rates
}

/// Compares what is read with what was written, then reads it all again on the clock, checksums included.
fn read(path: &Path, records: &[Record]) -> (f64, f64) {
    let mut check = JournalReader::open(path, ReadOptions::default()).unwrap();
    let mut at = 0;
    while let Some(block) = check.next_block().unwrap() {
        assert!(block.records() == &records[at..at + block.records().len()]);
        at += block.records().len();
    }
    assert_eq!(at, RECORDS);
    let mut reader = JournalReader::open(path, ReadOptions::default()).unwrap();
    let clock = Clock::start();
    let mut sum = 0u64;
    let mut count = 0;
    while let Some(block) = reader.next_block().unwrap() {
        for record in block.records() {
            sum = sum.wrapping_add(record.time_ns());
        }
        count += block.records().len();
    }
    let rates = clock.rates();
    assert_eq!(count, RECORDS);
    assert_eq!(sum, (0..RECORDS as u64).sum::<u64>());
    rates
}

struct Clock(Instant, Option<u64>);

impl Clock {
    fn start() -> Clock {
        Clock(Instant::now(), on_core_ns())
    }

    /// Returns the rate by the clock on the wall and by the thread's own.
    fn rates(&self) -> (f64, f64) {
        let own = self.1.and_then(|start| on_core_ns().map(|now| now - start));
        let wall = self.0.elapsed().as_secs_f64();
        let own = own.map_or(wall, |ns| ns as f64 / 1e9);
        (RECORDS as f64 / wall / 1e6, RECORDS as f64 / own / 1e6)
    }
}

fn on_core_ns() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

fn medians(rates: &[(f64, f64)]) -> (f64, f64) {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    (median(rates.iter().map(|rate| rate.0).collect()), median(rates.iter().map(|rate| rate.1).collect()))
}
