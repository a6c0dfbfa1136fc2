//! New names, documents and contexts for ever: memory stays where it is, the journal keeps what it is told to keep, every segment can be
//! read alone, and the account is exact.
//!
//! Short by default. `PANTHER_BOUNDED_EVENTS=200000000` and `PANTHER_BOUNDED_S=600` make it long; it ends when both are reached.
#![cfg(all(feature = "journal", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use panther_events::clock::Clock;
use panther_events::dedup::{DedupOptions, Window};
use panther_events::domain::{DomainDef, Schema};
use panther_events::event::{Detail, Domain, EventKind, Level, Symbol, Symbols};
use panther_events::journal::{Durability, JournalLog, JournalReader, Options, ReadOptions, RunId};
use panther_events::observe::history::History;
use panther_events::observe::metrics::Metrics;
use panther_events::pipeline::{Builder, PipelineOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FLAP: EventKind = EventKind::new(Domain::FIRST_USER, 0);

panther_events::payload! {
    struct Flap [FLAP] { number: u64, via: Symbol, why: Detail }
}

const RETAIN: u64 = 32 << 20;
const SEGMENT: u64 = 4 << 20;
/// Events that share a name, a document and a context.
const EACH: u64 = 10;

/// A figure of the environment's, or `default`.
fn figure(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |figure| figure.parse().unwrap())
}

/// Bytes of memory that the process has.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn lab() -> DomainDef {
    let lab = r#"{"number":16,"name":"lab","kinds":[{"code":0,"name":"flap","identity":"occurrence","sampled":true,
        "fields":[{"name":"number","type":"u64","offset":0},{"name":"via","type":"symbol","offset":8},
                  {"name":"why","type":"document","offset":16}]}]}"#;
    DomainDef::from_json(lab).unwrap()
}

fn name(number: u64) -> String {
    format!("link-{}", number / EACH)
}

fn document(number: u64) -> String {
    format!("{{\"of\":{},\"cause\":\"the carrier was lost and came back\"}}", number / EACH)
}

/// Emits until both are reached, and returns how many events that were, and how much memory there was at eight times of the second half.
fn emit(builder: &mut Builder, symbols: &Arc<Symbols>, events: u64, time: Duration) -> (u64, Vec<u64>) {
    let pipeline = std::mem::take(builder).start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    let (start, mut number, mut resident, mut told) = (Instant::now(), 0, Vec::new(), 0);
    loop {
        let by_time = start.elapsed().as_secs_f64() / time.as_secs_f64().max(1e-9);
        let done = by_time.min(number as f64 / events as f64);
        while told < 16 && done * 16.0 >= f64::from(told) {
            told += 1;
            if told > 8 {
                resident.push(resident_bytes());
            }
        }
        if done >= 1.0 {
            break;
        }
        let mut step = emitter.within(Level::Step, &format!("step-{}", number / 1000)).unwrap();
        for _ in 0..1000 / EACH {
            let entity = symbols.intern(&name(number)).unwrap();
            let via = symbols.intern(&format!("via {}", name(number))).unwrap();
            let why = symbols.details().intern(&document(number)).unwrap();
            for _ in 0..EACH {
                step.emit(entity, &Flap { number, via, why }).unwrap();
                number += 1;
            }
        }
    }
    drop(emitter);
    let snapshot = pipeline.shutdown();
    snapshot.account.check().unwrap();
    // Entering and leaving is told by an event each.
    let expected = number + 2 * (number / 1000);
    assert_eq!((snapshot.account.accepted, snapshot.account.unique), (expected, expected));
    assert!(
        snapshot.warnings.iter().all(|warning| warning.contains("`contexts_bytes`")),
        "{:?}",
        snapshot.warnings
    );
    (number, resident)
}

/// Reads the journal, and checks that each event has its name and its document; returns how many events it has.
fn check_journal(path: &Path) -> u64 {
    let mut reader = JournalReader::open(path, ReadOptions::default()).unwrap();
    let (mut flaps, mut last) = (0, None);
    while let Some(records) = reader.next_block().unwrap().map(|block| block.records().to_vec()) {
        for record in records.iter().filter(|record| record.kind() == FLAP) {
            let flap: Flap = record.payload().unwrap();
            assert_eq!(reader.name(record.entity()), Some(&*name(flap.number)));
            assert_eq!(reader.name(flap.via), Some(&*format!("via {}", name(flap.number))));
            let why = reader.detail(u128::from(flap.why.bits()));
            assert_eq!(why, Some(document(flap.number).as_bytes()));
            assert!(last.is_none_or(|last| flap.number == last + 1));
            (flaps, last) = (flaps + 1, Some(flap.number));
        }
    }
    assert!(reader.closed());
    flaps
}

#[test]
fn new_names_and_documents_for_ever_take_constant_memory() {
    let events = figure("PANTHER_BOUNDED_EVENTS", 2_000_000);
    let time = Duration::from_secs(figure("PANTHER_BOUNDED_S", 0));
    let (dir, symbols) = (tempfile::tempdir().unwrap(), Arc::new(Symbols::with_limits(8 << 20, 16 << 20)));
    let mut schema = Schema::new();
    schema.register(&lab()).unwrap();
    let options = Options {
        segment_len: SEGMENT,
        retain_bytes: Some(RETAIN),
        ..Options::new(Durability::ProcessCrash)
    };
    let path = dir.path().join("journal");
    let log = JournalLog::open(&path, RunId([1; 16]), options, Clock::cycles(), &symbols, &schema).unwrap();
    let mut log = Some(log);
    let window = DedupOptions { window: Window::Last(1 << 18), ..DedupOptions::default() };
    let options = PipelineOptions { contexts_bytes: 1 << 20, dedup: window, ..PipelineOptions::default() };
    let mut builder = Builder::new(options);
    builder.domain(&lab()).symbols(Arc::clone(&symbols));
    builder.observer("journal", move |setup| {
        log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    });
    builder.observer("metrics", |setup| Metrics::new(setup.schema));
    builder.observer("history", |_| History::new(1000));
    let (number, resident) = emit(&mut builder, &symbols, events, time);
    let disk: u64 =
        std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let mib = |bytes: &u64| bytes >> 20;
    println!(
        "{number} events, {} MiB on disk, resident MiB {:?}; names {} there and {} evicted, documents {} and {}",
        mib(&disk),
        resident.iter().map(mib).collect::<Vec<_>>(),
        symbols.len(),
        symbols.evicted(),
        symbols.details().len(),
        symbols.details().evicted(),
    );
    let came = number / EACH * 2 + number / 1000;
    assert_eq!((symbols.came(), symbols.len() as u64 + symbols.evicted()), (came, came));
    assert_eq!((symbols.evicted_early(), symbols.refused()), (0, 0));
    assert_eq!((symbols.details().evicted_early(), symbols.details().refused()), (0, 0));
    assert!(symbols.bytes() <= 8 << 20 && symbols.details().bytes() <= 16 << 20);
    assert!(disk <= RETAIN + SEGMENT, "{disk} bytes");
    let (first, last) = (resident.first().unwrap(), resident.iter().max().unwrap());
    // Up to 64 MiB wait for the journal's thread when it is behind.
    assert!(*last <= first + (80 << 20), "it grew from {first} to {last} bytes");
    assert!(check_journal(&path) > 50_000);
}
