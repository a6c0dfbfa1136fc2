//! What following states costs: nanoseconds an event, with few entities and with a million.
//!
//! `moves` are events of which each moves its entity; `stays` change nothing. `asked` has a second thread that asks
//! for states without a pause, which is the worst that queries can do to a worker. `lock` is what a batch of 64
//! events pays for being open to questions. Each stream's result is checked before it is timed.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use panther_events::Shared;
use panther_events::dedup::{BATCH, Verdict};
use panther_events::domain::machine::{StateTable, TransitionPath, states};
use panther_events::domain::{DomainDef, KindDef, Schema};
use panther_events::event::{Domain, EventKind, Identity, Record, Symbol};
use panther_events::observe::state::{StateOptions, States};
use panther_events::observe::{Batch, Observer};
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const LINK: Domain = Domain::FIRST_USER;

panther_events::payload! {
    struct Up [EventKind::new(LINK, 0)] {}
}
panther_events::payload! {
    struct Down [EventKind::new(LINK, 1)] {}
}
panther_events::payload! {
    struct Checked [EventKind::new(LINK, 2)] {}
}

const LINKS: DomainDef = DomainDef {
    domain: LINK,
    name: Shared::Static("link"),
    kinds: Shared::Static(&[
        KindDef::of::<Up>("up", Identity::Content),
        KindDef::of::<Down>("down", Identity::Content),
        KindDef::of::<Checked>("checked", Identity::Content),
    ]),
    states: Some(Shared::Static(&StateTable {
        domain: LINK,
        states: Shared::Static(&[Shared::Static("down"), Shared::Static("rising"), Shared::Static("up")]),
        initial: 0,
        terminal: 0,
        next: Shared::Static(&[states(&[1]), states(&[0, 2]), states(&[0])]),
        paths: Shared::Static(&[
            TransitionPath::To(Shared::Static(&[1, 2])),
            TransitionPath::To(Shared::Static(&[0])),
            TransitionPath::Stay,
        ]),
    })),
};

/// Every entity of `used`, in an order of its own for each pass, goes up and down in turn.
fn moves(used: u64, step: u64, passes: u64) -> Vec<Record> {
    (0..passes).flat_map(|pass| shuffled(used, step, pass).map(move |entity| moved(pass, entity))).collect()
}

fn moved(pass: u64, entity: Symbol) -> Record {
    match pass % 2 {
        0 => Record::new(Identity::Content, pass, entity, &Up {}),
        _ => Record::new(Identity::Content, pass, entity, &Down {}),
    }
}

fn stays(used: u64, passes: u64) -> Vec<Record> {
    let checked = |pass, entity| Record::new(Identity::Content, pass, entity, &Checked {});
    (0..passes).flat_map(|pass| shuffled(used, 1, pass).map(move |entity| checked(pass, entity))).collect()
}

/// Entities `0, step, 2 * step, …` in an order that jumps about.
fn shuffled(used: u64, step: u64, pass: u64) -> impl Iterator<Item = Symbol> {
    // Primes above every size, so that each entity comes once a pass.
    let stride = [2_654_435_761, 2_654_435_789][pass as usize / 2 % 2];
    (0..used).map(move |n| entity((n * stride % used) * step))
}

fn entity(n: u64) -> Symbol {
    Symbol::of(&n.to_string())
}

fn feed(observer: &mut States, records: &[Record]) {
    for records in records.chunks(BATCH) {
        if let Err(lost) = observer.observe(&Batch::new(records, &[Verdict::New; BATCH], u64::MAX)) {
            panic!("{lost:?}");
        }
    }
}

/// An observer that knows `entities`, all of them down.
fn prepared(entities: u64) -> States {
    let mut schema = Schema::new();
    if let Err(error) = schema.register(&LINKS) {
        panic!("{error}");
    }
    let mut observer =
        States::new(&schema, &Default::default(), &Default::default(), StateOptions::default());
    for pass in 0..2 {
        let all: Vec<_> = (0..entities).map(|n| moved(pass, entity(n))).collect();
        feed(&mut observer, &all);
    }
    observer
}

fn check(observer: &mut States, records: &[Record], entities: u64, moves: bool) {
    let links =
        |observer: &States| observer.query().domain(LINK).unwrap_or_else(|| panic!("links have states"));
    let before = links(observer);
    feed(observer, records);
    let after = links(observer);
    assert_eq!(after.count("down"), entities, "an even number of passes leaves all down");
    let (moved, unchanged) = (after.moved - before.moved, after.unchanged - before.unchanged);
    let n = records.len() as u64;
    assert_eq!((moved, unchanged), if moves { (n, 0) } else { (0, n) });
    assert_eq!(after.invalid, 0);
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("state");
    let streams = [
        ("moves/1k", 1_000, moves(1_000, 1, 8), true),
        ("stays/1k", 1_000, stays(1_000, 8), false),
        ("moves/1M", 1_000_000, moves(1 << 17, 7, 2), true),
    ];
    for (name, entities, records, is_moves) in &streams {
        let mut observer = prepared(*entities);
        check(&mut observer, records, *entities, *is_moves);
        group.throughput(Throughput::Elements(records.len() as u64));
        group.bench_function(*name, |b| b.iter(|| feed(&mut observer, black_box(records))));
    }
    let records = &streams[0].2;
    let mut observer = prepared(1_000);
    let (query, stop) = (observer.query(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                assert!(query.state(LINK, entity(asked % 1_000)).is_some());
                asked += 1;
            }
            asked
        });
        group.throughput(Throughput::Elements(records.len() as u64));
        let start = std::time::Instant::now();
        group.bench_function("asked/1k", |b| b.iter(|| feed(&mut observer, black_box(records))));
        stop.store(true, Ordering::Relaxed);
        let asked = asking.join().unwrap_or(0);
        println!("{:.0} answers a second meanwhile", asked as f64 / start.elapsed().as_secs_f64());
    });
    let new = streams[2].2.get(..100_000).unwrap_or_default();
    group.throughput(Throughput::Elements(new.len() as u64));
    group.sample_size(20).bench_function("new/100k", |b| {
        b.iter_batched_ref(|| prepared(0), |observer| feed(observer, new), BatchSize::PerIteration);
    });
    group.finish();
    let lock = Mutex::new(0_u64);
    c.bench_function("state/lock", |b| {
        b.iter(|| *lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += 1);
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).warm_up_time(std::time::Duration::from_millis(500)).measurement_time(std::time::Duration::from_secs(2));
    targets = bench
}
criterion_main!(benches);
